"""Requests over HTTP: one at a time, and what is wrong with its answer.

- Redirects are followed, five at most, to http and https, never from https to http.
- A name and password from ``~/.netrc`` go to the host that they are for and to no other;
  what it has for all others (``default``) goes nowhere.
- Proxies are those of the environment, as other programs use them, for each host its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from artifactvc.errors import ReferenceRefused, RemoteMissing, RemoteRefused, RemoteUnavailable, StorageError
from artifactvc.storage.pools import Pools, let_go, pieces, reason
from artifactvc.storage.transport import RemoteOptions
from artifactvc.util.text import escape

AT_ONCE: Final = 8  # requests
_REDIRECTS: Final = 5
_PIECE: Final = 256 << 10
_MOVED: Final = (301, 302, 303, 307, 308)


class NoAnswer(Exception):
    """No answer, or one that says to try again: why."""


class HttpClient:
    """The server at *url*. Any number of threads may use it at once.

    With *judged*, somebody else chose it: it may be reached at a public address only, unless
    ``RemoteOptions.named`` has it, and so may the servers that it redirects to (protocol H4).
    """

    def __init__(self, url: str, options: RemoteOptions, *, judged: bool = False) -> None:
        self.url, self._options = url, options
        self._pools = Pools(url, options, AT_ONCE, judged=judged)

    def called(self, name: str) -> str:
        """What messages call a file."""
        return f"'{name}' at '{self.url}'"

    @cached_property
    def _netrc(self) -> Any:
        import netrc

        try:
            return netrc.netrc()
        except FileNotFoundError:
            return None
        except (netrc.NetrcParseError, OSError) as error:
            raise StorageError(f"cannot read ~/.netrc: {error}", hint="mend it, or take it away") from error

    def _credentials(self, address: str) -> dict[str, str]:
        """What ``~/.netrc`` has for the host of *address*."""
        host = urlsplit(address).hostname
        found = self._netrc.hosts.get(host) if self._netrc is not None and host != "default" else None
        if found is None or not found[2]:
            return {}
        import urllib3

        made: dict[str, str] = urllib3.make_headers(basic_auth=f"{found[0]}:{found[2]}")
        return made

    @contextlib.contextmanager
    def request(self, name: str, headers: Mapping[str, str], method: str = "GET") -> Iterator[Any]:
        """The answer to one request, redirects followed, with its bytes still to come. NoAnswer in the block, too."""
        import urllib3

        address = f"{self.url}/{name}"
        answer = None
        try:
            for _ in range(_REDIRECTS + 1):
                asked = {"Accept-Encoding": "identity", "User-Agent": "artifactvc", **headers}
                answer = self._pools.manager(address).request(
                    method, address, headers=asked | self._credentials(address), redirect=False,
                    preload_content=False, decode_content=False,
                )  # fmt: skip
                if answer.status not in _MOVED:
                    yield answer
                    return
                address = self._moved(name, address, answer.headers.get("Location", ""))
                if (answer.length_remaining or _PIECE) < _PIECE:  # what is longer, or endless, is not waited for
                    answer.drain_conn()
                let_go(answer)
            raise StorageError(f"{self.called(name)} is redirected without end", hint="check the address")
        except ReferenceRefused as error:
            raise ReferenceRefused(f"{self.called(name)}: {error.message}", hint=error.hint) from error
        except urllib3.exceptions.SSLError as error:
            raise RemoteUnavailable(
                f"'{self.url}' cannot be trusted: {reason(error)}", hint="check the address, and this machine's clock"
            ) from error
        except urllib3.exceptions.HTTPError as error:
            raise NoAnswer(reason(error)) from error
        finally:
            if answer is not None:
                let_go(answer)

    def pieces(self, answer: Any) -> Iterator[bytes]:
        """The bytes of an answer as they come, at the rate that is allowed."""
        return pieces(answer, self._options.rate, _PIECE)

    def _moved(self, name: str, address: str, location: str) -> str:
        target = urljoin(address, location)
        old, new = urlsplit(address).scheme, urlsplit(target).scheme
        if new not in ("http", "https") or (old, new) == ("https", "http") or not urlsplit(target).hostname:
            raise StorageError(
                f"{self.called(name)} is redirected to '{_plain(target)}', which is not followed",
                hint="ask who keeps that server; from https only https is followed",
            )
        return target

    def check(self, answer: Any, name: str, *, hidden: bool) -> None:
        """The error for an answer that brings no bytes; with *hidden*, 403 is how this server says 404."""
        status, reason = answer.status, answer.reason or ""
        what = self.called(name)
        if status == 429 or status >= 500:
            raise NoAnswer(f"{status} {reason}".strip())
        if status in (404, 410) or (hidden and status == 403):
            raise RemoteMissing(f"'{name}' is not at '{self.url}'")
        if status in (401, 403, 407):
            netrc = "~/.netrc has" if self._credentials(self.url) else "~/.netrc has not"
            raise RemoteRefused(
                f"{what} may not be read: the server says {status} ({netrc} a name and password for its host)",
                hint="put them into ~/.netrc, or ask who keeps that server",
            )
        if status not in (200, 206, 416):
            raise StorageError(f"{what} is answered with {status} {reason}".strip(), hint="check the address")
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            raise StorageError(
                f"{what} comes compressed, though it was asked not to",
                hint="ask who keeps that server to serve these files as they are",
            )


def _plain(address: str) -> str:
    """An address that a server gave, for messages: without what might be a secret."""
    parts = urlsplit(address)
    return escape(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:200])
