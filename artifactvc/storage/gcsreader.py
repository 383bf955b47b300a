"""A bucket of Google Cloud Storage, read by its JSON API. What identifies an object is its generation."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from artifactvc.core.references import GENERATION
from artifactvc.errors import MissingExtra
from artifactvc.storage.bucketlink import Found, Link, Query, Request, whole_size
from artifactvc.storage.credentials import GcsAccess, gcs_access
from artifactvc.storage.gcsclient import said_in_json
from artifactvc.storage.objectclient import ClientError, Trouble, again
from artifactvc.storage.objectplace import ObjectPlace
from artifactvc.storage.transport import RemoteOptions

_FIELDS: Final = "name,size,generation"


class GcsReader:
    """One bucket."""

    identity_kind = GENERATION
    in_order = True

    def __init__(self, place: ObjectPlace, options: RemoteOptions, access: GcsAccess) -> None:
        self._options, self._credentials, self._endpoint = options, access.credentials, access.endpoint
        self._link = Link(access.endpoint, options, self._sign, _said)
        self._objects = f"/storage/v1/b/{quote(place.bucket, safe='')}/o"

    def _sign(self, request: Request) -> Mapping[str, str]:
        """The token, renewed by google-auth where it is over."""
        if self._credentials is None:
            return {}
        from google.auth.exceptions import RefreshError, TransportError
        from google.auth.transport import urllib3 as transport

        headers: dict[str, str] = {}
        try:
            renew: Any = transport
            self._credentials.before_request(renew.Request(_pool()), request.method, self._endpoint, headers)
        except RefreshError as error:
            raise ClientError(Trouble.EXPIRED) from error
        except TransportError as error:
            raise ClientError(Trouble.SILENT, type(error).__name__) from error
        return headers

    def _object(self, key: str) -> str:
        return f"{self._objects}/{quote(key, safe='')}"

    def head(self, key: str, version: str | None) -> Found | None:
        """What is said of an object in a generation."""
        query = [("fields", _FIELDS), *_generation(version)]
        try:
            return _listed(json.loads(self._link.page(self._object(key), query)))
        except ClientError as error:
            if error.trouble is Trouble.MISSING:
                return None
            raise

    @contextlib.contextmanager
    def get(
        self, key: str, version: str | None, identity: str | None, start: int
    ) -> Iterator[tuple[Found, Iterator[bytes]]]:
        """One GET of a generation. As it is stored: what is kept compressed would be unpacked for who takes no gzip."""
        headers = {"Accept-Encoding": "gzip"} | ({"Range": f"bytes={start}-"} if start else {})
        query: Query = [("alt", "media"), *_generation(version or identity)]
        with self._link.ask("GET", self._object(key), query, headers) as answer:
            generation = answer.headers.get("x-goog-generation")
            yield Found(key, whole_size(answer, start), generation, generation), self._link.pieces(answer)

    def loosen(self) -> bool:
        """There is no condition: a generation says all."""
        return False

    def pages(self, prefix: str) -> Iterator[Sequence[Found]]:
        """A thousand objects a request."""
        query = [("prefix", prefix), ("fields", f"items({_FIELDS}),nextPageToken"), ("maxResults", "1000")]
        more: list[tuple[str, str]] = []
        while True:
            page = json.loads(again(self._options, lambda: self._link.page(self._objects, [*query, *more])))  # noqa: B023  asked at once
            yield [_listed(item) for item in page.get("items", ())]
            if not page.get("nextPageToken"):
                return
            more = [("pageToken", str(page["nextPageToken"]))]


def _generation(version: str | None) -> list[tuple[str, str]]:
    return [("generation", version)] if version else []


def _listed(item: Mapping[str, Any]) -> Found:
    return Found(item["name"], int(item["size"]), str(item["generation"]), str(item["generation"]))


def _said(body: bytes) -> tuple[str, str]:
    code, message = said_in_json(body)
    return ("NoSuchBucket" if "specified bucket does not exist" in message else code), message


def _pool() -> Any:
    """Connections for renewing a token: to who gives it, not to the bucket."""
    import urllib3

    return urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(10))


def open_gcs_reader(place: ObjectPlace, options: RemoteOptions) -> GcsReader:
    """The bucket, with credentials at hand."""
    try:
        import google.auth  # noqa: F401
    except ImportError as error:
        raise MissingExtra("a reference to gs://", "gcs") from error
    return GcsReader(place, options, gcs_access(options))
