"""References: addresses of data that stays where it is, and what is known of it (design, section 5).

An address is read here and nowhere else. What its storage says of an object is a ``Target``,
which becomes one entry of kind ``"r"``: URI, size, identity and version, never bytes.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from artifactvc.core.model import Entry
from artifactvc.errors import BadValue
from artifactvc.util.text import escape

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
#: Query fields that let whoever has the address in: signatures, keys and tokens.
_SECRET_FIELDS: Final = re.compile(
    r"(x-amz-|x-goog-).*|signature|sig|awsaccesskeyid|googleaccessid|policy|key-pair-id|"
    r"(access|auth|api|id|refresh|private|security|session|client)?[_-]?(token|key|secret|password|passwd|credential)",
    re.IGNORECASE,
)


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


def is_uri(text: str) -> bool:
    """Whether *text* is meant as an address, rather than as a path of this machine."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.\-]*://", text) is not None


def parse_address(text: str) -> Address:
    """Take an address apart.

    Raises BadValue for one without a scheme that is known, one that holds a secret (which
    the message does not repeat), and one that names no place.
    """
    scheme, separator, rest = text.partition("://")
    if not separator or not is_uri(text):
        raise BadValue(
            f"'{escape(text[:200])}' has no scheme: a reference is a URI",
            hint=f"for a path of this machine write 'file://' and the absolute path, as in file:///data/{text[:40]}",
        )
    kind = _SCHEMES.get(scheme.lower())
    if kind is None:
        raise BadValue(
            f"'{escape(scheme[:40])}://' cannot be referred to", hint=f"addresses begin with {', '.join(_SCHEMES)}"
        )
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in text) or len(text) > 4096:
        raise BadValue("an address has no control characters, and at most 4,096 of others")
    host = rest.partition("/")[0]
    if kind == "http":
        return _http(scheme.lower(), text, rest)
    if kind == "file":
        return _file(text, rest)
    _refuse_login(scheme, host, azure=kind == "azure")
    if not host:
        raise BadValue(
            f"'{escape(text[:200])}' names no {_holder(kind)}", hint=f"write {scheme}://{_holder(kind)}/path"
        )
    plain, version = _split_version(kind, rest)
    scheme = "gs" if kind == "gcs" else scheme.lower()
    return Address(f"{scheme}://{plain}", kind, f"{scheme}://{host}", plain.partition("/")[2], version)


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
    if any(_SECRET_FIELDS.fullmatch(name) for name, _ in fields):
        raise _secret()
    if len(fields) == 1 and fields[0][0].lower() == "versionid" and fields[0][1]:
        return plain, fields[0][1]
    return rest, None  # a key may have a "?" in it


def _http(scheme: str, text: str, rest: str) -> Address:
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        good = bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise BadValue(
            f"'{escape(text.partition('@')[2] or text)[:200]}' names no server", hint="write https://host/path"
        )
    if parts.username is not None or parts.password is not None:
        raise _secret()
    host = parts.netloc.lower()
    if _AZURE_HOST.fullmatch(host):
        plain, version = _split_version("azure", parts.path.lstrip("/") + (f"?{parts.query}" if parts.query else ""))
        container, _, key = plain.partition("/")
        if not container:
            raise BadValue(f"'{escape(text[:200])}' names no container", hint=f"write https://{host}/container/path")
        return Address(f"https://{host}/{plain}", "azure", f"https://{host}/{container}", key, version)
    if any(_SECRET_FIELDS.fullmatch(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        raise _secret()
    path = parts.path.lstrip("/") + (f"?{parts.query}" if parts.query else "")
    return Address(f"{scheme}://{host}/{path}", "http", f"{scheme}://{host}", path)


def _file(text: str, rest: str) -> Address:
    if not rest.startswith("/"):
        raise BadValue(
            f"'{escape(text[:200])}' has two slashes, so '{escape(rest.partition('/')[0][:80])}' would be a machine",
            hint=f"write three for a path of this machine: file:///{rest[:80]}",
        )
    path = "/" + "/".join(part for part in rest.split("/") if part not in ("", "."))
    if ".." in path.split("/"):
        raise BadValue(f"'{escape(text[:200])}' climbs", hint="write the path without '..'")
    return Address(f"file://{path}", "file", "file://", path)


def _refuse_login(scheme: str, host: str, *, azure: bool) -> None:
    before, separator, _ = host.rpartition("@")
    if separator and (":" in before or not (azure and scheme.lower() in ("abfs", "abfss"))):
        raise _secret()


def _secret() -> BadValue:
    return BadValue(
        "the address holds a password, key, token or signature, which would be recorded with it",
        hint="give it without; credentials come from each cloud's usual places (for http: ~/.netrc)",
    )
