"""Connections to one server over HTTP, kept open between requests, through the proxies of the environment."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from artifactvc.storage.transport import RemoteOptions
from artifactvc.util.rate import Rate
from artifactvc.util.text import escape

_REASONS: Final = {
    "NewConnectionError": "connection refused",
    "NameResolutionError": "no such host",
    "ConnectTimeoutError": "no answer in time",
    "ReadTimeoutError": "no answer in time",
    "IncompleteRead": "the connection was cut",
}


class _Held(NamedTuple):
    """Connections, and the process that they belong to."""

    pid: int
    managers: dict[str | None, Any]  # by the proxy that they go through


class Pools:
    """urllib3's connections for the server at *url*, *at_once* of them kept. Any number of threads may use them.

    With *judged*, only to addresses that ``judged.py`` lets pass.
    """

    def __init__(self, url: str, options: RemoteOptions, at_once: int, *, judged: bool = False) -> None:
        self._url, self._options, self._at_once, self._judged = url, options, at_once, judged
        self._lock = threading.Lock()
        self._held = _Held(0, {})

    def manager(self, address: str | None = None) -> Any:
        """The connections for *address*, to which the server may have redirected; else for the server itself.

        They belong to this process, not to one that it was forked from.
        """
        address = address or self._url
        proxy = _proxy_for(address)
        if self._judged and proxy is not None:
            from artifactvc.storage.judged import judge_for_proxy

            judge_for_proxy(address, self._options.named)
        with self._lock:
            if self._held.pid != os.getpid():
                self._held = _Held(os.getpid(), {})
            managers = self._held.managers
            if proxy not in managers:
                managers[proxy] = self._opened(proxy)
            return managers[proxy]

    def _opened(self, proxy: str | None) -> Any:
        import urllib3

        wait = urllib3.Timeout(connect=min(10.0, self._options.timeout), read=self._options.timeout)
        settings: dict[str, Any] = {"maxsize": self._at_once, "timeout": wait, "retries": False}
        if proxy is not None:
            login = urlsplit(proxy).netloc.rpartition("@")[0]
            headers = urllib3.make_headers(proxy_basic_auth=unquote(login)) if login else None
            return urllib3.ProxyManager(proxy, proxy_headers=headers, **settings)
        manager = urllib3.PoolManager(**settings)
        if self._judged:
            from artifactvc.storage.judged import pools

            manager.pool_classes_by_scheme = pools(self._options.named)
        return manager


def _proxy_for(address: str) -> str | None:
    """The proxy that the environment names for *address*."""
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(address)
    proxy = getproxies().get(parts.scheme)
    return proxy if proxy and not proxy_bypass(parts.netloc) else None


def pieces(answer: Any, rate: Rate | None, most: int) -> Iterator[bytes]:
    """The bytes of an answer as they come, *most* at once, at the rate that is allowed."""
    while True:
        if rate is not None:
            rate.take(min(most, answer.length_remaining or most))
        data: bytes = answer.read(most)
        if not data:
            return
        yield data


def let_go(answer: Any) -> None:
    """Give the connection of *answer* back: to be used again if all was read, else to be closed."""
    if answer.length_remaining == 0:
        answer.drain_conn()  # or the connection would not be ready for the next
    elif not answer.closed:
        answer.close()  # what is not wanted is not waited for
    answer.release_conn()


def reason(error: BaseException) -> str:
    """What went wrong with a connection, without the objects that urllib3 writes into its text."""
    for kind in type(error).__mro__:
        if kind.__name__ in _REASONS:
            return _REASONS[kind.__name__]
    inner = error.args[-1] if error.args else error
    if type(inner).__name__ in _REASONS:
        return _REASONS[type(inner).__name__]
    text = getattr(inner, "strerror", None) or getattr(inner, "reason", None) or str(inner)
    return escape(str(text)[:200])
