"""A container of Azure Blob storage, read: requests signed by the account's key, a shared signature, or a token."""

from __future__ import annotations

import base64
import contextlib
import hmac
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from email.utils import formatdate
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from artifactvc.core.references import ETAG
from artifactvc.storage.bucketlink import Found, Link, Query, Request, bare_etag, encode_key, whole_size
from artifactvc.storage.credentials import AzureAccess, azure_access
from artifactvc.storage.objectclient import ClientError, Trouble, again
from artifactvc.storage.objectplace import ObjectPlace
from artifactvc.storage.s3reader import Page, said_in_xml
from artifactvc.storage.transport import RemoteOptions

_VERSION: Final = "2021-08-06"  # of the interface: the first ones with versions, and with encoded names, are older
_PAGE: Final = 5_000  # blobs of a request: what Azure gives at most
_STUBS: Final = ("hdi_isfolder", "is_directory")  # what tools write to a blob that stands for a directory
#: What of a request an account's key signs besides method, ``x-ms-`` headers and address, in this order.
_SIGNED: Final = (
    "Content-Encoding", "Content-Language", "Content-Length", "Content-MD5", "Content-Type", "Date",
    "If-Modified-Since", "If-Match", "If-None-Match", "If-Unmodified-Since", "Range",
)  # fmt: skip


def sign_shared_key(request: Request, account: str, key: str) -> str:
    """The header that lets a request without a body in (Azure, "Authorize with Shared Key")."""
    ours = sorted((name, value) for name, value in request.headers.items() if name.startswith("x-ms-"))
    lines = [request.method, *(request.headers.get(name, "") for name in _SIGNED)]
    lines += [f"{name}:{value}" for name, value in ours]
    lines += [f"/{account}{request.path}", *(f"{name}:{value}" for name, value in sorted(request.query))]
    digest = hmac.digest(base64.b64decode(key), "\n".join(lines).encode(), "sha256")
    return f"SharedKey {account}:{base64.b64encode(digest).decode()}"


class AzureReader:
    """One container."""

    identity_kind = ETAG
    in_order = False  # accounts with a hierarchy put what is below a directory before its neighbours

    def __init__(self, place: ObjectPlace, options: RemoteOptions, access: AzureAccess) -> None:
        self._options, self._access = options, access
        self._link = Link(f"{access.endpoint}/{place.bucket}", options, self._sign, said_in_xml)
        self._lock = threading.Lock()
        self._keys: dict[str, Any] = {}

    def _known(self) -> dict[str, Any]:
        """Keys; a token is asked for again shortly before it is over, since some of its givers start a program."""
        with self._lock:
            end = self._keys.get("expires_at")
            if not self._keys or (end is not None and end.timestamp() < time.time() + 300):
                self._keys = self._access.provide()
            return self._keys

    def _sign(self, request: Request) -> Mapping[str, str]:
        keys = self._known()
        added = {"x-ms-version": _VERSION, "x-ms-date": formatdate(usegmt=True)}
        if "token" in keys:
            added["Authorization"] = f"Bearer {keys['token']}"
        elif "access_key" in keys:
            signed = request._replace(headers={**request.headers, **added})
            added["Authorization"] = sign_shared_key(signed, self._access.account, keys["access_key"])
        return added

    def _query(self, *fields: tuple[str, str]) -> Query:
        """The fields of a request, and the shared signature where that is what lets it in."""
        return [*fields, *parse_qsl(self._known().get("sas_token", ""))]

    def head(self, key: str, version: str | None) -> Found | None:
        """One HEAD."""
        try:
            with self._link.ask("HEAD", f"/{encode_key(key)}", self._query(*_version(version))) as answer:
                return _found(key, answer, 0)
        except ClientError as error:
            if error.trouble is Trouble.MISSING:
                return None
            raise

    @contextlib.contextmanager
    def get(
        self, key: str, version: str | None, identity: str | None, start: int
    ) -> Iterator[tuple[Found, Iterator[bytes]]]:
        """One GET, of a version or on condition of the ETag."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        if not version and identity:
            headers["If-Match"] = f'"{identity}"'
        with self._link.ask("GET", f"/{encode_key(key)}", self._query(*_version(version)), headers) as answer:
            yield _found(key, answer, start), self._link.pieces(answer)

    def loosen(self) -> bool:
        """Azure knows one way to put the condition."""
        return False

    def pages(self, prefix: str) -> Iterator[Sequence[Found]]:
        """Five thousand blobs a request, with their versions where the account keeps them."""
        fields = [("restype", "container"), ("comp", "list"), ("prefix", prefix), ("include", "metadata")]
        fields.append(("maxresults", str(_PAGE)))
        marker = ""
        while True:
            query = self._query(*fields, *([("marker", marker)] if marker else []))
            page = Page(again(self._options, lambda: self._link.page("", query)))  # noqa: B023  asked at once
            yield [_listed(item) for item in page.items("Blobs/Blob")]
            marker = page.text("NextMarker")
            if not marker:
                return


def _version(version: str | None) -> list[tuple[str, str]]:
    return [("versionid", version)] if version else []


def _found(key: str, answer: Any, start: int) -> Found:
    headers = answer.headers
    is_directory = headers.get("x-ms-resource-type") == "directory" or any(
        headers.get(f"x-ms-meta-{name}", "").lower() == "true" for name in _STUBS
    )
    etag = bare_etag(headers.get("ETag", "")) or None
    return Found(key, whole_size(answer, start), etag, headers.get("x-ms-version-id"), is_directory)


def _listed(item: Any) -> Found:
    name = item.find("Name")
    key = name.text or ""
    if name.get("Encoded") == "true":  # it has characters that XML has not
        key = unquote(key)
    metadata = item.find("Metadata")
    is_directory = item.findtext("Properties/ResourceType") == "directory" or (
        metadata is not None
        and any(one.tag.lower() in _STUBS and (one.text or "").lower() == "true" for one in metadata)
    )
    return Found(
        key,
        int(item.findtext("Properties/Content-Length") or 0),
        bare_etag(item.findtext("Properties/Etag") or "") or None,
        item.findtext("VersionId") or None,
        is_directory,
    )


def open_azure_reader(place: ObjectPlace, options: RemoteOptions) -> AzureReader:
    """The container, with credentials at hand."""
    access = azure_access(place, options)
    reader = AzureReader(place, options, access)
    access.provide()  # so that missing credentials end here, once
    return reader
