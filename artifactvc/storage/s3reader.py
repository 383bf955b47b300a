"""An S3 bucket, read: requests signed by "Signature Version 4", listings with versions where the bucket keeps them."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from artifactvc.core.references import ETAG
from artifactvc.storage.bucketlink import (
    Found,
    Link,
    Query,
    Request,
    bare_etag,
    encode_key,
    encode_query,
    whole_size,
)
from artifactvc.storage.credentials import S3Access, s3_access
from artifactvc.storage.objectclient import ClientError, Trouble, again
from artifactvc.storage.objectplace import ObjectPlace
from artifactvc.storage.transport import RemoteOptions
from artifactvc.util.text import now

_EMPTY: Final = hashlib.sha256(b"").hexdigest()
_REGION: Final = re.compile(r"[a-z]{2}(-[a-z]{2,12})+-[0-9]{1,2}")
_CODE: Final = re.compile(rb"<Code>([A-Za-z0-9]{1,80})</Code>")
_MESSAGE: Final = re.compile(rb"<Message>([^<]{1,300})</Message>")


# ---- signing -------------------------------------------------------------------------------------


def sign_v4(request: Request, keys: Mapping[str, Any], region: str, stamp: str) -> dict[str, str]:
    """The headers that let a request in (AWS, "Create a signed AWS API request"); *stamp* as ``20260131T235959Z``."""
    added = {"x-amz-date": stamp, "x-amz-content-sha256": _EMPTY}
    if keys["token"]:
        added["x-amz-security-token"] = keys["token"]
    signed = {name.lower(): value for name, value in added.items()} | {"host": request.headers["Host"]}
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    asked = f"{request.method}\n{request.path}\n{encode_query(request.query)}\n{lines}\n{names}\n{_EMPTY}"
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(asked.encode()).hexdigest()}"
    key = f"AWS4{keys['secret_access_key']}".encode()
    for part in (*scope.split("/"), text):
        key = hmac.digest(key, part.encode(), "sha256")
    added["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={keys['access_key_id']}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
    )
    return added


# ---- the bucket ----------------------------------------------------------------------------------


def _base(access: S3Access, bucket: str, region: str) -> str:
    """AWS itself gives each bucket a host of its own; other servers have one address for all."""
    if access.endpoint is not None:
        return f"{access.endpoint}/{bucket}"
    domain = f"s3.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")
    return f"https://{domain}/{bucket}" if "." in bucket else f"https://{bucket}.{domain}"


class S3Reader:
    """One bucket."""

    identity_kind = ETAG

    def __init__(self, place: ObjectPlace, options: RemoteOptions, access: S3Access) -> None:
        self._access, self._options, self._region, self._bucket = access, options, access.region, place.bucket
        self.in_order = not place.bucket.endswith("--x-s3")  # AWS's "directory buckets" list as they please
        self._link = Link(_base(access, place.bucket, self._region), options, self._sign, said_in_xml, moved=self._move)
        self._conditions = ['"{}"', "{}", ""]  # ways to say If-Match: radosgw 16 takes only the second

    def _sign(self, request: Request) -> Mapping[str, str]:
        stamp = now()[:19].replace("-", "").replace(":", "") + "Z"
        return sign_v4(request, self._access.provide(), self._region, stamp)

    def _move(self, region: str) -> str | None:
        """Where AWS has the bucket, if it is AWS that was asked: its own servers are all that credentials may go to."""
        if self._access.endpoint is not None or region == self._region or not _REGION.fullmatch(region):
            return None
        self._region = region
        return _base(self._access, self._bucket, region)

    def head(self, key: str, version: str | None) -> Found | None:
        """One HEAD; what it does not say of a refusal is asked for by a GET."""
        path, query = f"/{encode_key(key)}", [("versionId", version)] if version else []
        try:
            with self._link.ask("HEAD", path, query) as answer:
                return _found(key, answer, 0)
        except ClientError as error:
            if error.trouble is Trouble.MISSING:
                return None
            if error.trouble is Trouble.SILENT:
                raise
            refused = error
        try:
            with self._link.ask("GET", path, query, {"Range": "bytes=0-0"}) as answer:
                return _found(key, answer, 0)
        except ClientError as told:
            if told.trouble is Trouble.MISSING:
                return None
            raise refused if told.trouble is Trouble.PAST_END else told from None

    @contextlib.contextmanager
    def get(
        self, key: str, version: str | None, identity: str | None, start: int
    ) -> Iterator[tuple[Found, Iterator[bytes]]]:
        """One GET, of a version or on condition of the ETag."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        if not version and identity and self._conditions[0]:
            headers["If-Match"] = self._conditions[0].format(identity)
        query = [("versionId", version)] if version else []
        with self._link.ask("GET", f"/{encode_key(key)}", query, headers) as answer:
            yield _found(key, answer, start), self._link.pieces(answer)

    def loosen(self) -> bool:
        """To the next way of saying If-Match."""
        if len(self._conditions) > 1:
            del self._conditions[0]
            return True
        return False

    # ---- listing -------------------------------------------------------------------------------

    def pages(self, prefix: str) -> Iterator[Sequence[Found]]:
        """A thousand keys a request, with their versions where the bucket keeps them and these credentials may ask."""
        versions = self._keeps_versions()
        if versions is not False:
            pages = self._versions(prefix)
            try:
                yield next(pages)
            except ClientError as error:
                if versions or error.trouble not in (Trouble.REFUSED, Trouble.OTHER):
                    raise
            else:
                yield from pages
                return
        yield from self._plain(prefix)

    def _keeps_versions(self) -> bool | None:
        """Whether the bucket keeps or kept versions; None where that may not be asked."""
        try:
            return self._page([("versioning", "")]).text("Status") != ""
        except ClientError as error:
            if error.trouble not in (Trouble.REFUSED, Trouble.OTHER):
                raise
            return None

    def _plain(self, prefix: str) -> Iterator[Sequence[Found]]:
        query = [("list-type", "2"), ("prefix", prefix), ("encoding-type", "url"), ("max-keys", "1000")]
        more: list[tuple[str, str]] = []
        while True:
            page = self._page([*query, *more])
            key = page.key
            yield [_listed(key(row[0]), *row[1:]) for row in page.rows("Contents", ("Key", "Size", "ETag"))]
            if page.text("IsTruncated") != "true":
                return
            more = [("continuation-token", page.text("NextContinuationToken"))]

    def _versions(self, prefix: str) -> Iterator[Sequence[Found]]:
        """The current versions; those before them come by in the same pages and are passed over."""
        query = [("versions", ""), ("prefix", prefix), ("encoding-type", "url"), ("max-keys", "1000")]
        fields = ("Key", "Size", "ETag", "VersionId", "IsLatest")
        more: list[tuple[str, str]] = []
        while True:
            page = self._page([*query, *more])
            key = page.key
            yield [_listed(key(row[0]), *row[1:4]) for row in page.rows("Version", fields) if row[4] == "true"]
            if page.text("IsTruncated") != "true":
                return
            more = [
                ("key-marker", page.marker("NextKeyMarker")),
                ("version-id-marker", page.text("NextVersionIdMarker")),
            ]

    def _page(self, query: Query) -> Page:
        return Page(again(self._options, lambda: self._link.page("/", query)))


def _found(key: str, answer: Any, start: int) -> Found:
    headers = answer.headers
    version = headers.get("x-amz-version-id")
    return Found(
        key,
        whole_size(answer, start),
        bare_etag(headers.get("ETag", "")) or None,
        None if version == "null" else version,
        "x-directory" in headers.get("Content-Type", ""),
    )


def _listed(key: str, size: str, etag: str, version: str = "") -> Found:
    return Found(
        key,
        int(size),
        bare_etag(etag) or None,
        None if version in ("", "null") else version,
    )


class Page:
    """A document of XML as a listing has it. ClientError for anything else."""

    def __init__(self, data: bytes) -> None:
        try:
            if b"<!DOCTYPE" in data[:4096]:
                raise ElementTree.ParseError("it declares entities")
            self._root = ElementTree.fromstring(data)
        except ElementTree.ParseError as error:
            raise ClientError(Trouble.OTHER, f"its listing cannot be read: {error}") from error
        self._space = self._root.tag.rpartition("}")[0] + "}" if self._root.tag.startswith("{") else ""
        self._encoded = self.text("EncodingType") == "url"

    def text(self, name: str) -> str:
        """The text of an element at the top."""
        return self._root.findtext(self._space + name) or ""

    def items(self, path: str) -> Iterator[ElementTree.Element]:
        """The elements at *path*, of a document without name spaces."""
        return self._root.iterfind(path)

    def key(self, text: str) -> str:
        """A key as it is: it was asked for encoded, which some servers do in some listings."""
        if not self._encoded:
            return text
        plain = text.replace("%2F", "/")  # most need no more, and some servers encode each slash
        return unquote_plus(text) if "%" in plain or "+" in plain else plain

    def marker(self, name: str) -> str:
        """A key at the top, the last of the page. Some servers do not encode it as they do the others."""
        text, kinds = self.text(name), {self._space + kind for kind in ("Version", "DeleteMarker")}
        last = next((item for item in reversed(self._root) if item.tag in kinds), None)
        same = last is not None and self.key(last.findtext(f"{self._space}Key") or "") == text
        return text if same else self.key(text)

    def rows(self, name: str, fields: Sequence[str]) -> Iterator[list[str]]:
        """Of each element *name* at the top, the texts of the elements *fields* in it."""
        inner = [self._space + field for field in fields]
        for item in self._root.iterfind(self._space + name):
            yield [item.findtext(field) or "" for field in inner]


def said_in_xml(body: bytes) -> tuple[str, str]:
    """Code and message of an error of S3 or Azure."""
    code, message = _CODE.search(body), _MESSAGE.search(body)
    return code[1].decode() if code else "", message[1].decode(errors="replace") if message else ""


def open_s3_reader(place: ObjectPlace, options: RemoteOptions) -> S3Reader:
    """The bucket, with credentials at hand."""
    access = s3_access(options)
    access.provide()  # so that missing credentials end here, once
    return S3Reader(place, options, access)
