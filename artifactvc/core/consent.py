"""Whether a reference may be followed (protocol H4): decisions on values, without a file or a network.

Consent is given for a *place*: a bucket (``s3://bucket``), a server (``https://host:port``),
or, of this machine, a file or a directory with all below it (``file:///mnt/data``).
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Collection, Iterable
from typing import Final
from urllib.parse import urlsplit

from artifactvc.core.references import Address, is_azure_host, parse_address
from artifactvc.errors import BadValue
from artifactvc.util.text import escape

FILE: Final = "file://"
_SHOWN: Final = 20  # places that one hint proposes to allow
_WILD: Final = re.compile(r"(s3|gs|gcs|az|abfss?|https?)://\*/?", re.IGNORECASE)
_WILD_HOST: Final = re.compile(r"(https?)://\*((\.[a-z0-9-]+)+)/?", re.IGNORECASE)
_PORTS: Final = {"http": ":80", "https": ":443"}
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


def place_of(address: Address) -> str:
    """What consent has to be given for before *address* is followed."""
    if address.kind == "file":
        return address.uri
    scheme, _, rest = address.place.partition("://")
    return normal_place("abfs" if scheme == "abfss" else scheme, rest)


def normal_place(scheme: str, host: str) -> str:
    """The place of one server or bucket, written one way: a port that is usual and a last dot say nothing."""
    if scheme in _PORTS:
        host, slash, rest = host.lower().removesuffix(_PORTS[scheme]).partition("/")
        name, colon, port = host.rpartition(":") if re.search(r":\d+$", host) else (host, "", "")
        host = f"{name.rstrip('.')}{colon}{port}{slash}{rest}"
    return f"{scheme}://{host}"


class Allowed:
    """The places that somebody here consented to.

    *named* are places as ``place_of`` writes them; *wild* stands for all of a scheme, or all
    hosts below a domain: (scheme, end of the host's name).
    """

    def __init__(self, named: Iterable[str] = (), wild: Iterable[tuple[str, str]] = ()) -> None:
        self.named, self._wild = frozenset(named), frozenset(wild)

    def __or__(self, other: Allowed) -> Allowed:
        """What either allows."""
        return Allowed(self.named | other.named, self._wild | other._wild)

    def covers(self, place: str) -> bool:
        """Whether *place* may be followed; whether its addresses may be private is another question (``names``)."""
        if self.names(place):
            return True
        scheme, _, host = place.partition("://")
        name = _host_name(host) if scheme in _PORTS else host
        if scheme == "file" or (scheme in _PORTS and _is_private_name(name)):
            return False
        return any(scheme == one and name.endswith(end) for one, end in self._wild)

    def names(self, place: str) -> bool:
        """Whether *place* itself, or what holds it, is in the list: that covers private addresses, too."""
        if not place.startswith(FILE):
            scheme, _, host = place.partition("://")
            return place in self.named or f"{scheme}://{host.partition('/')[0]}" in self.named
        path = place.removeprefix(FILE)
        while path not in ("", "/"):
            if FILE + path in self.named:
                return True
            path = path.rpartition("/")[0]
        return FILE + "/" in self.named


def parse_allowed(text: str) -> Allowed:
    """The places of setting ``refs.allow``: separated by commas.

    Raises BadValue for what is no place: a bucket, a server or a path, not one object of it.
    """
    named: list[str] = []
    wild: list[tuple[str, str]] = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        if match := _WILD.fullmatch(item):
            scheme = match[1].lower()
            wild.append(({"gcs": "gs", "abfss": "abfs"}.get(scheme, scheme), ""))
        elif match := _WILD_HOST.fullmatch(item):
            wild.append((match[1].lower(), match[2].lower()))
        else:
            named.append(_named(item))
    return Allowed(named, wild)


def _named(item: str) -> str:
    scheme, _, rest = item.partition("://")
    if scheme.lower() != "file" and "*" in item:
        raise BadValue(
            f"'{escape(item[:200])}' is no place to allow",
            hint="write s3://*, https://* or https://*.example.org, or name the place",
        )
    if scheme.lower() == "https" and is_azure_host(rest.rstrip("/")):
        return f"https://{rest.rstrip('/').lower()}"  # all containers of an account
    address = parse_address(item)
    if address.kind == "avc":
        raise BadValue(f"'{escape(item[:200])}' needs no consent", hint="leave it out: its bytes are versioned here")
    if address.kind != "file" and address.path.strip("/"):
        raise BadValue(
            f"'{escape(item[:200])}' is more than a place", hint=f"consent is for all of it: write {address.place}"
        )
    return place_of(address)


# ---- what to tell people ---------------------------------------------------------------------------


def proposal(current: str, refused: Iterable[str]) -> str:
    """The command that allows the *refused* places, too, where ``refs.allow`` is *current* now; safe to be copied."""
    wanted = [item.strip() for item in current.split(",") if item.strip()]
    asked = dict.fromkeys(_directory_of(place) if place.startswith(FILE) else place for place in refused)
    directories = Allowed(item for item in asked if item.startswith(FILE))
    shown = 0
    for item in asked:
        within = item.startswith(FILE) and item != FILE + "/" and directories.names(item.rpartition("/")[0])
        if item not in wanted and not within and shown < _SHOWN:
            wanted.append(item)
            shown += 1
    return f"avc config set refs.allow {shlex.quote(', '.join(wanted))}"


def _directory_of(place: str) -> str:
    """The directory to allow for a file: one whose path says nothing else in a list with commas."""
    path = place.removeprefix(FILE).rpartition("/")[0]
    while "," in path or path != path.strip() or escape(path) != path:
        path = path.rpartition("/")[0]
    return FILE + (path or "/")


# ---- addresses of machines ---------------------------------------------------------------------------


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet at large: not loopback, private, link-local, unspecified or so.

    An IPv4 address inside an IPv6 one (mapped, NAT64, 6to4, Teredo) is judged by itself.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner: list[ipaddress.IPv4Address | None] = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        inner.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None)
        found = [one for one in inner if one is not None]
        if found:
            return all(_is_global(one) for one in found)
    return _is_global(ip)


def _is_global(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _host_name(host: str) -> str:
    """The name in what a place has for its host, without port and path."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_private_name(name: str) -> bool:
    """Whether a host's name says by itself that it is private; what names stand for is found out later."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return not is_public(name)
    except ValueError:
        return False


def public_only(addresses: Collection[str]) -> list[str]:
    """Those of a host's *addresses* that a host which nobody named may have."""
    return [address for address in addresses if is_public(address)]
