"""Requests of a source to an object store: GET and HEAD alone, signed, over urllib3.

The libraries of the transports do not serve here: obstore takes a key as a path, so that
``a//b`` or ``a/./b`` cannot be asked for, and lists no versions; the Python clients need
five times the processor time a listing takes (docs/benchmarks.md, "references").

Redirects are not followed: credentials go to the endpoint that was configured, and nowhere else.
But a bucket of AWS may be in another region of AWS (``Link``, *moved*).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import quote, urlsplit

from artifactvc.storage.objectclient import ClientError, Trouble
from artifactvc.storage.obstoreclient import detail_of, trouble_of
from artifactvc.storage.pools import Pools, let_go, pieces, reason
from artifactvc.storage.transport import RemoteOptions

AT_ONCE: Final = 16  # connections that are kept
PIECE: Final = 1 << 20
_SAID: Final = 1 << 16  # bytes of an error that are read
_PAGE: Final = 64 << 20  # bytes of a page of a listing: of 5,000 keys of 1,024 bytes, encoded, and more

Query = Sequence[tuple[str, str]]


class Found(NamedTuple):
    """One object in one version, as an object store describes it."""

    key: str
    size: int | None
    identity: str | None
    version_id: str | None = None
    is_directory: bool = False  # a stub that some tools put where a directory is


class Reader(Protocol):
    """One bucket, of which is only read. Any number of threads may use it at once. Raises ClientError."""

    identity_kind: str
    in_order: bool  # whether ``pages`` come in the order of the keys' UTF-8 bytes

    def head(self, key: str, version: str | None) -> Found | None:
        """An object in a version, or as it is now; None if it is not there."""

    def pages(self, prefix: str) -> Iterator[Sequence[Found]]:
        """All objects whose key begins with *prefix*, as they are now, a request each page."""

    def get(
        self, key: str, version: str | None, identity: str | None, start: int
    ) -> contextlib.AbstractContextManager[tuple[Found, Iterator[bytes]]]:
        """The bytes of that version from *start* on; without a version, TAKEN unless it is *identity* still."""

    def loosen(self) -> bool:
        """Put the condition of ``get`` in another way, for this server refuses what is true; False if there is none."""


def encode_query(query: Query) -> str:
    """Fields as they are sent and signed: sorted, everything encoded but letters, digits and ``-._~``."""
    encoded = sorted((quote(name, safe=""), quote(value, safe="")) for name, value in query)
    return "&".join(f"{name}={value}" for name, value in encoded)


def encode_key(key: str) -> str:
    """A key as it stands in a path."""
    return quote(key, safe="/~")


def bare_etag(text: str) -> str:
    """An ETag without ``W/`` and quotes."""
    return text.removeprefix("W/").strip('"')


class Request(NamedTuple):
    """A request without a body, as it is sent: the path encoded, ``Host`` among the headers."""

    method: str
    path: str
    query: Query
    headers: Mapping[str, str]


#: The headers that let a request in.
Sign = Callable[[Request], Mapping[str, str]]
#: Code and message of an answer that is no success.
Said = Callable[[bytes], tuple[str, str]]


class _Elsewhere(ClientError):
    """The bucket is in another region, which the answer names."""

    def __init__(self, region: str) -> None:
        super().__init__(Trouble.ELSEWHERE)
        self.region = region


class Link:
    """One server. *base* is what all paths begin with; *moved* tells where a region's server is, if it may be asked."""

    def __init__(
        self,
        base: str,
        options: RemoteOptions,
        sign: Sign,
        said: Said,
        *,
        moved: Callable[[str], str | None] = lambda region: None,
    ) -> None:
        self._options, self._sign, self._said, self._moved = options, sign, said, moved
        self._begin(base)

    def _begin(self, base: str) -> None:
        parts = urlsplit(base)
        self._origin, self._path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
        self._host = parts.netloc.lower().removesuffix(":443" if parts.scheme == "https" else ":80")
        self._pools = Pools(self._origin, self._options, AT_ONCE)

    @contextlib.contextmanager
    def ask(self, method: str, path: str, query: Query = (), headers: Mapping[str, str] | None = None) -> Iterator[Any]:
        """The answer to one request, with its bytes still to come; ClientError for one that is no success.

        *path* is encoded, and begins with a slash. What fails in the block is told as ClientError, too.
        """
        with contextlib.ExitStack() as opened:
            try:
                answer = opened.enter_context(self._once(method, path, query, headers or {}))
            except _Elsewhere as error:
                base = self._moved(error.region)
                if base is None:
                    raise
                self._begin(base)
                answer = opened.enter_context(self._once(method, path, query, headers or {}))
            yield answer

    @contextlib.contextmanager
    def _once(self, method: str, path: str, query: Query, headers: Mapping[str, str]) -> Iterator[Any]:
        import urllib3

        path = self._path + path
        asked = {"Host": self._host, "Accept-Encoding": "identity", "User-Agent": "artifactvc", **headers}
        asked |= self._sign(Request(method, path, query, asked))
        target = f"{path}?{encode_query(query)}" if query else path
        answer = None
        try:
            manager = self._pools.manager()
            pool: Any = manager.connection_from_url(self._origin)
            if manager.proxy is not None and self._origin.startswith("http:"):
                target = self._origin + target  # a proxy without a tunnel is told the whole address
            answer = pool.urlopen(
                method, target, headers=asked, redirect=False, assert_same_host=False,
                preload_content=False, decode_content=False,
            )  # fmt: skip
            if answer.status not in (200, 206):
                raise self._refused(answer)
            yield answer
        except urllib3.exceptions.HTTPError as error:
            raise ClientError(Trouble.SILENT, reason(error)) from error
        finally:
            if answer is not None:
                let_go(answer)

    def _refused(self, answer: Any) -> ClientError:
        code, message = self._said(answer.read(_SAID))
        code = code or answer.headers.get("x-ms-error-code", "")[:80]
        region = answer.headers.get("x-amz-bucket-region")
        if region and (answer.status in (301, 307) or code == "AuthorizationHeaderMalformed"):
            return _Elsewhere(region)
        if answer.status == 405:  # S3: what was asked for is the mark of a deletion
            return ClientError(Trouble.MISSING)
        if answer.status == 501:  # a server that does not know the request will not know it later
            return ClientError(Trouble.OTHER, detail_of(answer.status, code, message))
        return ClientError(trouble_of(answer.status, code), detail_of(answer.status, code, message))

    def page(self, path: str, query: Query) -> bytes:
        """The whole of a short answer."""
        with self.ask("GET", path, query) as answer:
            data: bytes = answer.read(_PAGE)
            if answer.length_remaining or len(data) == _PAGE:
                raise ClientError(Trouble.OTHER, "a page of its listing is larger than pages are")
            return data

    def pieces(self, answer: Any) -> Iterator[bytes]:
        """The bytes of an answer as they come, at the rate that is allowed."""
        return pieces(answer, self._options.rate, PIECE)


def whole_size(answer: Any, start: int) -> int | None:
    """The size in bytes of the object that an answer is of, or is a part of that begins at *start*."""
    headers = answer.headers
    if answer.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", headers.get("Content-Range", ""))
        if found is None or int(found[1]) != start:
            raise ClientError(Trouble.OTHER, "it does not give the part of an object that was asked for")
        return int(found[2])
    if start:
        raise ClientError(Trouble.OTHER, "it does not give the part of an object that was asked for")
    length = headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None
