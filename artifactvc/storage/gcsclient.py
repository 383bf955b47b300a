"""Google Cloud Storage: its JSON API, over the session and the credentials of fsspec's gcsfs.

gcsfs sends a failed request again by itself up to five times, a conditional one too, so the
requests are made here, one a call (protocol P8). obstore speaks Google's other interface
(XML), which no server for tests has; so it is not used.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final
from urllib.parse import quote, urlsplit

from artifactvc.errors import MissingExtra
from artifactvc.storage.credentials import GcsAccess, gcs_access
from artifactvc.storage.fsspecclient import FsspecClient, connection_failed
from artifactvc.storage.objectclient import IMMUTABLE, Client, ClientError, Trouble, again
from artifactvc.storage.objectplace import ObjectPlace
from artifactvc.storage.obstoreclient import detail_of, trouble_of
from artifactvc.storage.transport import RemoteOptions

_FIELDS: Final = "items(name,size,updated),nextPageToken"
_MORE: Final = 308  # "Resume Incomplete": the part is there, the next is awaited


class _Answer(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status)
        self.status, self.body = status, body


class GcsClient(FsspecClient):
    """One bucket."""

    def __init__(self, place: ObjectPlace, options: RemoteOptions, access: GcsAccess) -> None:
        super().__init__(options)
        from aiohttp import ClientTimeout
        from gcsfs.core import GCSFileSystem

        self._bucket = quote(place.bucket, safe="")
        self._endpoint = access.endpoint
        self._fs = GCSFileSystem(
            token=access.credentials or "anon",
            endpoint_url=access.endpoint,
            skip_instance_cache=True,
            use_listings_cache=False,
        )
        self._timeout = ClientTimeout(total=None, sock_connect=min(10.0, options.timeout), sock_read=None, connect=None)
        self._reading = ClientTimeout(total=None, sock_connect=min(10.0, options.timeout), sock_read=options.timeout)

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        most: int | None = None,
    ) -> tuple[int, Any, bytes]:
        """One request: status, headers and bytes of the answer, *most* bytes at most."""
        from yarl import URL

        session = await self._session()
        url = URL(path if "://" in path else f"{self._endpoint}{path}", encoded=True)
        async with session.request(
            method,
            url.update_query(query) if query else url,
            data=data,
            headers=self._fs._get_headers(dict(headers or {})),
            timeout=self._timeout if data else self._reading,
            allow_redirects=False,
        ) as answer:
            if answer.status >= 400:
                raise _Answer(answer.status, await answer.content.read(1 << 16))
            if most is not None and (answer.content_length or 0) > most:
                raise ClientError(Trouble.TOO_LARGE, str(most))
            return answer.status, answer.headers, await answer.read()

    async def _session(self) -> Any:
        await self._fs._set_session()
        session = self._fs.session
        session._retry_connection = False  # aiohttp has no public setting for it
        return session

    def _object(self, key: str) -> str:
        return f"/storage/v1/b/{self._bucket}/o/{quote(key, safe='')}"

    def read(self, key: str, limit: int) -> bytes:
        """A whole object."""
        return self.run(lambda: self._ask("GET", self._object(key), query={"alt": "media"}, most=limit), limit)[2]

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """A part of an object."""
        part = {"Range": f"bytes={start}-{start + length - 1}"}
        return self.run(
            lambda: self._ask("GET", self._object(key), query={"alt": "media"}, headers=part, most=length), length
        )[2]

    def _send(self, key: str, data: bytes, **conditions: str) -> None:
        mark = secrets.token_hex(16)
        said = json.dumps({"name": key, "cacheControl": IMMUTABLE})
        body = (
            f"--{mark}\r\nContent-Type: application/json\r\n\r\n{said}\r\n"
            f"--{mark}\r\nContent-Type: application/octet-stream\r\n\r\n"
        ).encode() + data + f"\r\n--{mark}--\r\n".encode()  # fmt: skip
        query = {"uploadType": "multipart", **conditions}
        headers = {"Content-Type": f"multipart/related; boundary={mark}"}
        path = f"/upload/storage/v1/b/{self._bucket}/o"
        self.run(lambda: self._ask("POST", path, query=query, headers=headers, data=body), len(data))

    def write(self, key: str, data: bytes) -> None:
        """One request with the object and what is said of it."""
        self._send(key, data)

    def create(self, key: str, data: bytes) -> None:
        """The same, on condition that there is no generation yet."""
        self._send(key, data, ifGenerationMatch="0")

    def write_parts(self, key: str, parts: Iterator[bytes], step: int) -> None:
        """A resumable upload, part by part; one that is not ended is forgotten by Google after a week."""
        said = json.dumps({"name": key, "cacheControl": IMMUTABLE}).encode()
        path, query = f"/upload/storage/v1/b/{self._bucket}/o", {"uploadType": "resumable"}
        headers = {"Content-Type": "application/json"}
        begun = again(
            self.options,
            lambda: self.run(lambda: self._ask("POST", path, query=query, headers=headers, data=said)),
        )
        address = str(begun[1].get("Location", ""))
        if urlsplit(address).netloc != urlsplit(self._endpoint).netloc:  # credentials go nowhere else
            raise ClientError(Trouble.OTHER, "the upload is to go to another server")
        at, part = 0, next(parts, b"")
        while part:
            following = next(parts, b"")
            whole = "*" if following else str(at + len(part))
            self._send_part(address, part, at, whole)
            at, part = at + len(part), following

    def _send_part(self, address: str, part: bytes, at: int, whole: str) -> None:
        """Send what of *part* is not there yet, until all of it is."""
        there = 0
        asked = False

        def send() -> None:
            nonlocal there, asked
            if asked:  # an answer was lost: how far did it come?
                there = self._there(address, whole, at)
                if there >= len(part):
                    return
            asked = True
            data = part[there:]
            span = {"Content-Range": f"bytes {at + there}-{at + len(part) - 1}/{whole}"}
            status, headers, _ = self.run(lambda: self._ask("PUT", address, headers=span, data=data), len(data))
            if status == _MORE and _end(headers) < at + len(part):
                raise ClientError(Trouble.SILENT, "took a part of what was sent")

        again(self.options, send)

    def _there(self, address: str, whole: str, at: int) -> int:
        span = {"Content-Range": f"bytes */{whole}"}
        status, headers, _ = self.run(lambda: self._ask("PUT", address, headers=span, data=b""))
        return max(0, _end(headers) - at) if status == _MORE else 1 << 62  # it is complete

    def remove(self, key: str) -> None:
        """One DELETE."""
        self.run(lambda: self._ask("DELETE", self._object(key)))

    def list(self, prefix: str) -> Iterable[tuple[str, int, float]]:
        """A thousand objects a request."""
        query = {"prefix": prefix, "fields": _FIELDS, "maxResults": "1000"}
        path = f"/storage/v1/b/{self._bucket}/o"
        while True:
            answer = self.run(partial(self._ask, "GET", path, query=query))[2]
            page = json.loads(answer)
            for item in page.get("items", ()):
                yield str(item["name"]), int(item["size"]), datetime.fromisoformat(item["updated"]).timestamp()
            if not page.get("nextPageToken"):
                return
            query = query | {"pageToken": str(page["nextPageToken"])}

    def drop_unfinished(self, prefix: str, before: float) -> int:
        """Google forgets uploads after a week by itself."""
        return 0

    def trouble(self, error: BaseException) -> ClientError:
        """By status and reason of the answer."""
        if isinstance(error, _Answer):
            reason, message = said_in_json(error.body)
            if error.status == 404 and "specified bucket does not exist" in message:
                return ClientError(Trouble.NO_BUCKET)
            return ClientError(trouble_of(error.status, reason), detail_of(error.status, reason, message))
        name = type(error).__name__
        if name == "RefreshError":
            return ClientError(Trouble.EXPIRED)
        if connection_failed(error) or name == "TransportError":
            return ClientError(Trouble.SILENT, name)
        return ClientError(Trouble.OTHER, " ".join(str(error).split())[:300])


def _end(headers: Any) -> int:
    """How many bytes of an upload are there, by the answer to a part of it."""
    held = str(headers.get("Range", ""))
    return int(held.rpartition("-")[2]) + 1 if held else 0


def said_in_json(body: bytes) -> tuple[str, str]:
    """Reason and message of an error of Google's."""
    try:
        said = json.loads(body)["error"]
        return str(said["errors"][0]["reason"])[:80], str(said["message"])[:300]
    except (ValueError, KeyError, IndexError, TypeError):
        return "", body.decode(errors="replace")[:300]


def open_gcs(place: ObjectPlace, options: RemoteOptions) -> Client:
    """A bucket of Google Cloud Storage."""
    try:
        import gcsfs.core  # noqa: F401
    except ImportError as error:
        raise MissingExtra("a remote at gs://", "gcs") from error
    return GcsClient(place, options, gcs_access(options))
