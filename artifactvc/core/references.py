"""References: addresses of data that stays where it is, and what is known of it (design, section 5).

An address is read here and nowhere else. What its storage says of an object is a ``Target``,
which becomes one entry of kind ``"r"``: URI, size, identity and version, never bytes.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote_plus, urlsplit

from artifactvc.core.model import Entry
from artifactvc.errors import BadValue
from artifactvc.util.text import escape, is_uri

#: How many objects one prefix may bring unless more are allowed.
MAX_OBJECTS: Final = 10_000

#: What an identity may be: the entry's ``identity_kind``. None, with no identity: the URI alone (``checksum=False``).
ETAG: Final = "etag"  # S3, Azure, HTTP: without quotes
WEAK: Final = "weak-etag"  # HTTP: an ETag that began with ``W/``, without that; other bytes may have the same
GENERATION: Final = "generation"  # Google Cloud Storage
MODIFIED: Final = "last-modified"  # HTTP without ETag: the header, as it is; the length is the entry's size
BLAKE3: Final = "blake3"  # file://: digest of the bytes


class Target(NamedTuple):
    """One object that a reference leads to, as its storage describes it."""

    uri: str  # without a version, without credentials
    name: str  # path below the prefix that was asked for; of a single object its last component
    size: int | None  # bytes; None where it is not known
    identity_kind: str | None = None
    identity: str | None = None
    version_id: str | None = None  # S3 and Azure: a version's id; Google: the generation

    def entry(self, path: str) -> Entry:
        """The entry that stands for it at *path*."""
        return Entry(path, "r", self.size, None, None, self.uri, self.identity_kind, self.identity, self.version_id)


def is_resumable(target: Target) -> bool:
    """Whether a read may go on where an earlier one ended: equal identities mean equal bytes."""
    return target.identity_kind is not None and target.identity_kind != WEAK


def target_of(entry: Entry) -> Target:
    """What a reference entry says."""
    assert entry.uri is not None
    name = entry.path.rpartition("/")[2]
    return Target(entry.uri, name, entry.size, entry.identity_kind, entry.identity, entry.version_id)


# ---- addresses -----------------------------------------------------------------------------------

_SCHEMES: Final = {
    "s3": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure",
    "http": "http", "https": "http", "file": "file", "avc": "avc",
}  # fmt: skip
#: Azure's own clouds: ``ACCOUNT.blob.core.windows.net`` and what other countries have.
_AZURE_HOST: Final = re.compile(
    r"[a-z0-9]{3,24}\.blob\.core\.(windows\.net|chinacloudapi\.cn|usgovcloudapi\.net|cloudapi\.de)"
)
#: Query fields that let whoever has the address in: signatures, keys and tokens. Rather one too many: a field that
#: only looks like one (``?key=`` of a harmless server) costs an error, one that is missed is recorded for ever.
_SECRET_FIELDS: Final = re.compile(
    r"(x-(amz|goog|oss|cos|ms)-|q-|hdn).*|sig|sas|sid|pwd|pass|jwt|bearer|hmac|policy|auth|authorization|session|"
    r".*access[_-]?(key|id)(id)?|(.*[_-])?(api)?key([_-]?pair)?([_-]?id)?|.*api[_-]?key|.*secret.*|.*"
    r"(token|signature|password|passwd|passphrase|credentials?)",
    re.IGNORECASE,
)
_BUCKET: Final = re.compile(r"[A-Za-z0-9._$-]+")
_ACCOUNT: Final = re.compile(r"[A-Za-z0-9$-]+(@[A-Za-z0-9.-]+(:\d+)?)?")  # ``container@account…``
_SERVER: Final = re.compile(r"(\[[0-9a-f:.]+(%25[a-z0-9]+)?\]|[a-z0-9._-]+)(:\d+)?")


class Address(NamedTuple):
    """Where a reference leads, taken apart. Keys and paths are as they are, never percent-encoded but in ``http``."""

    uri: str  # as it is recorded: without a version
    kind: str  # "s3", "gcs", "azure", "http", "file" or "avc"
    place: str  # what a source belongs to, and consent is given for: "s3://bucket", "https://host", "file://"
    path: str  # key, or path with query of "http", or absolute path of "file"; without a leading "/" but in "file"
    version_id: str | None = None


def is_azure_host(text: str) -> bool:
    """Whether *text* names an account of Azure's blob storage: ``ACCOUNT.blob.core.windows.net``."""
    return _AZURE_HOST.fullmatch(text.lower()) is not None


def parse_address(text: str) -> Address:
    """Take an address apart.

    Raises BadValue for one without a scheme that is known, one that holds a secret (which
    the message does not repeat), and one that names no place.
    """
    scheme, separator, rest = text.partition("://")
    if not separator or not is_uri(text):
        raise BadValue(
            f"'{_shown(text)}' has no scheme: a reference is a URI",
            hint="for a path of this machine write 'file://' and the absolute path, as in file:///data/images",
        )
    kind = _SCHEMES.get(scheme.lower())
    if kind is None:
        raise BadValue(
            f"'{escape(scheme[:40])}://' cannot be referred to", hint=f"addresses begin with {', '.join(_SCHEMES)}"
        )
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in text) or len(text) > 4096:
        raise BadValue("an address has no control characters, and at most 4,096 of others")
    if kind == "http":
        return _http(scheme.lower(), text, rest)
    if kind == "file":
        return _file(text, rest)
    host = rest.partition("/")[0]
    if not host:
        raise BadValue(f"'{_shown(text)}' names no {_holder(kind)}", hint=f"write {scheme}://{_holder(kind)}/path")
    if kind != "avc":
        _check_holder(scheme.lower(), kind, host)
        if _has_secret(rest.partition("?")[2]):
            raise _secret()
    plain, version = _split_version(kind, rest)
    scheme = "gs" if kind == "gcs" else scheme.lower()
    return Address(f"{scheme}://{plain}", kind, f"{scheme}://{host}", plain.partition("/")[2], version)


def _check_holder(scheme: str, kind: str, host: str) -> None:
    """Refuse what names no bucket or container: most of all a name and password before it."""
    good = _ACCOUNT if scheme in ("abfs", "abfss") else _BUCKET
    host = host.partition("?")[0]
    if good.fullmatch(host) is None:
        if set(unicodedata.normalize("NFKC", host)) & set(":@%"):
            raise _secret()
        raise BadValue(f"'{_shown(host)}' is no {_holder(kind)}", hint=f"write {scheme}://{_holder(kind)}/path")


def _holder(kind: str) -> str:
    return {"azure": "container", "avc": "artifact"}.get(kind, "bucket")


def _split_version(kind: str, rest: str) -> tuple[str, str | None]:
    """The address without its version, and that: ``?versionId=`` or, of Google's, ``#generation``."""
    if kind == "gcs":
        plain, separator, version = rest.rpartition("#")
        return (plain, version) if separator and version.isdecimal() else (rest, None)
    plain, separator, query = rest.rpartition("?")
    if not separator or kind == "avc":
        return rest, None
    fields = parse_qsl(query, keep_blank_values=True)
    if len(fields) == 1 and fields[0][0].lower() == "versionid" and fields[0][1]:
        return plain, fields[0][1]
    return rest, None  # a key may have a "?" in it


def _http(scheme: str, text: str, rest: str) -> Address:
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if set(unicodedata.normalize("NFKC", host)) & {"@"} or re.search("%(?!25)", host):
        raise _secret()
    try:
        host = host if host.isascii() else host.encode("idna").decode()
        parts = urlsplit(f"{scheme}://{host.lower()}{rest[len(re.split(r'[/?#]', rest, maxsplit=1)[0]) :]}")
        good = bool(parts.hostname) and parts.port != 0 and _SERVER.fullmatch(parts.netloc) is not None
    except ValueError:
        good = False
    if not good:  # what stands there may be a password with a "/" in it
        raise BadValue("the address names no server", hint="write https://host/path")
    if _has_secret(parts.query) or _has_secret(parts.path.partition(";")[2]):
        raise _secret()
    host, path = parts.netloc, parts.path.lstrip("/") + (f"?{parts.query}" if parts.query else "")
    if _AZURE_HOST.fullmatch(host):
        plain, version = _split_version("azure", path)
        container, _, key = plain.partition("/")
        if not container:
            raise BadValue(f"'{_shown(text)}' names no container", hint=f"write https://{host}/container/path")
        return Address(f"https://{host}/{plain}", "azure", f"https://{host}/{container}", key, version)
    return Address(f"{scheme}://{host}/{path}", "http", f"{scheme}://{host}", path)


def _file(text: str, rest: str) -> Address:
    if not rest.startswith("/"):
        raise BadValue(
            f"'{_shown(text)}' has two slashes, so '{_shown(rest.partition('/')[0])}' would be a machine",
            hint=f"write three for a path of this machine: file:///{_shown(rest)}",
        )
    path = "/" + "/".join(part for part in rest.split("/") if part not in ("", "."))
    if ".." in path.split("/"):
        raise BadValue(f"'{_shown(text)}' climbs", hint="write the path without '..'")
    return Address(f"file://{path}", "file", "file://", path)


def _has_secret(query: str) -> bool:
    """Whether a field of *query* is named like a secret, however fields are separated and names encoded."""
    names = (unquote_plus(field.partition("=")[0]).strip() for field in re.split("[&;?]", query))
    return any(_SECRET_FIELDS.fullmatch(name) for name in names)


def _shown(text: str) -> str:
    """The beginning of an address for a message, without what may be a secret: a query, and what stands before "@"."""
    plain = re.split(r"[?#;]", unicodedata.normalize("NFKC", text), maxsplit=1)[0]
    before, separator, after = re.sub("%40", "@", plain, flags=re.IGNORECASE).rpartition("@")
    return escape(f"…@{after}"[:200] if separator or ":" in before else plain[:200])


def _secret() -> BadValue:
    return BadValue(
        "the address holds a password, key, token or signature, which would be recorded with it",
        hint="give it without; credentials come from each cloud's usual places (for http: ~/.netrc)",
    )
