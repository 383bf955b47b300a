"""Connections to servers that somebody else chose, made only to addresses that were judged before (protocol H4).

A host's name is looked up once, and the connection is made to the very address that was
judged: a name that stands for something else the next moment gains nothing. Who named a
host meant whatever addresses it has; any other host may have public ones only.
"""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NameResolutionError

from artifactvc.core.consent import normal_place, public_only
from artifactvc.errors import ReferenceRefused
from artifactvc.util.text import escape


def pools(named: frozenset[str]) -> dict[str, Any]:
    """urllib3's classes of pools, by scheme, for judged connections; places in *named* may be private."""

    class Plain(_Judged, HTTPConnection):
        scheme, named_places = "http", named

    class Secure(_Judged, HTTPSConnection):
        scheme, named_places = "https", named

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


class _Judged(HTTPConnection):
    """A connection that looks the name up itself."""

    scheme: str
    named_places: frozenset[str]

    def _new_conn(self) -> socket.socket:
        host, failure = self.host, None
        try:
            found = _addresses(host, self.port)
        except OSError as error:
            raise NameResolutionError(host, self, error) from error  # type: ignore[arg-type]
        for address in _allowed(_place(self.scheme, host, self.port), found, self.named_places):
            self.host = address  # for this moment: the certificate and the request are for the name
            try:
                return super()._new_conn()
            except HTTPError as error:
                failure = error
            finally:
                self.host = host
        assert failure is not None
        raise failure


def judge_for_proxy(address: str, named: frozenset[str]) -> None:
    """Judge the host of a URL that a proxy will be asked for. The proxy looks the name up itself: no more can be done.

    Raises ReferenceRefused for a host whose addresses cannot be found out here, too, unless it was named.
    """
    parts = urlsplit(address)
    place = normal_place(parts.scheme, parts.netloc)
    if place in named:
        return
    try:
        found = _addresses(parts.hostname or "", parts.port)
    except OSError as error:
        raise ReferenceRefused(
            f"'{escape(place)}' cannot be judged: its address is not known here, only to the proxy", hint=_hint(place)
        ) from error
    _allowed(place, found, named)


def _addresses(host: str, port: int | None) -> list[str]:
    """All addresses of *host*, in the order in which they are to be tried; OSError if it has none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # no name at all
        raise OSError(f"no such host: {error}") from error
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def _allowed(place: str, addresses: list[str], named: frozenset[str]) -> list[str]:
    if place in named:
        return addresses
    public = public_only(addresses)
    if not public:
        raise ReferenceRefused(
            f"'{escape(place)}' is not asked: its address {escape(addresses[0])} is private, and nobody here named it",
            hint=_hint(place),
        )
    return public


def _place(scheme: str, host: str, port: int) -> str:
    return normal_place(scheme, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def _hint(place: str) -> str:
    return f"if that is meant, add {escape(place)} to the list of setting refs.allow"
