"""Google Cloud Storage's JSON API, as we read its documentation: no registry has a server with its preconditions.

::

    python -m tests.servers.gcs [--port N]

So it shows that avc and its library speak the API as documented, not that Google runs it so.

- Buckets; objects by media, multipart and resumable upload, whole or in ranges, listed in pages,
  composed, rewritten, removed. Every write gives the object a new generation.
- ``ifGenerationMatch`` and its kin are checked in one step with the change that they guard.
- A bucket made with ``{"versioning": {"enabled": true}}`` keeps replaced and removed generations, which are
  found by ``generation=`` and listed by nobody.
- Every request needs ``Authorization: Bearer TOKEN``: another token is a 401, and with READONLY_TOKEN
  a change is a 403.
- ``PUT /_faults`` makes requests fail (``faults.py``).

Data is in memory.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import re
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from werkzeug.serving import make_server

from tests.servers.faults import SAID, Faults, Quiet

TOKEN = "avc-tests-writer"
READONLY_TOKEN = "avc-tests-reader"
_KEPT = ("cacheControl", "contentType", "contentEncoding", "metadata")

Query = dict[str, str]
Answer = tuple[int, list[tuple[str, str]], bytes]


class Refused(Exception):
    """A request that is answered with an error, as Google words them."""

    def __init__(self, status: int, reason: str, message: str = "") -> None:
        super().__init__(message or reason)
        self.status, self.reason = status, reason


def _stamp(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03}Z"


@dataclass
class Object:
    """One object as it stands."""

    data: bytes
    meta: dict[str, Any]

    @property
    def generation(self) -> int:
        return int(self.meta["generation"])


@dataclass
class Upload:
    """A resumable upload that is not over."""

    bucket: str
    meta: dict[str, Any]
    query: Query
    data: bytearray = field(default_factory=bytearray)
    done: Answer | None = None


def _json(value: Any, status: int = 200) -> Answer:
    return status, [("Content-Type", "application/json; charset=UTF-8")], json.dumps(value).encode()


def _error(status: int, reason: str, message: str) -> Answer:
    errors = [{"domain": "global", "reason": reason, "message": message}]
    return _json({"error": {"code": status, "message": message, "errors": errors}}, status)


def check(query: Query, standing: Object | None) -> None:
    """Refuse what the preconditions of a request rule out; no object has the generation 0."""
    generation = standing.generation if standing else 0
    version = int(standing.meta["metageneration"]) if standing else 0
    wanted = {
        "ifGenerationMatch": generation,
        "ifGenerationNotMatch": generation,
        "ifMetagenerationMatch": version,
        "ifMetagenerationNotMatch": version,
    }
    for name, value in wanted.items():
        if name in query and (int(query[name]) == value) is ("Not" in name):
            raise Refused(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")


class Store:
    """The buckets. One change at a time, with the check of its preconditions."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._buckets: dict[str, dict[str, Object]] = {}
        self._kept: dict[str, dict[tuple[str, int], Object]] = {}  # of the buckets that keep versions
        self._uploads: dict[str, Upload] = {}
        self._generation = time.time_ns() // 1000

    def bucket(self, name: str) -> dict[str, Object]:
        if name not in self._buckets:
            raise Refused(404, "notFound", "The specified bucket does not exist.")
        return self._buckets[name]

    def find(self, bucket: str, name: str, query: Query) -> Object:
        found = self.bucket(bucket).get(name)
        wanted = int(query.get("generation") or 0)
        if wanted and (found is None or found.generation != wanted):
            found = self._kept.get(bucket, {}).get((name, wanted))
        if found is None:
            raise Refused(404, "notFound", f"No such object: {bucket}/{name}")
        return found

    def put(self, bucket: str, meta: dict[str, Any], data: bytes, query: Query) -> Answer:
        name = meta.get("name") or query.get("name") or ""
        if not name:
            raise Refused(400, "required", "Required object name")
        digest = base64.b64encode(hashlib.md5(data).digest()).decode()
        if meta.get("md5Hash", digest) != digest:
            raise Refused(400, "invalid", "Provided MD5 hash does not match the calculated one.")
        with self._lock:
            objects = self.bucket(bucket)
            check(query, objects.get(name))
            self._generation = max(self._generation + 1, time.time_ns() // 1000)
            now = _stamp(time.time())
            made = {
                "kind": "storage#object",
                "id": f"{bucket}/{name}/{self._generation}",
                "bucket": bucket,
                "name": name,
                "generation": str(self._generation),
                "metageneration": "1",
                "size": str(len(data)),
                "md5Hash": digest,
                "etag": base64.b64encode(b"%d" % self._generation).decode(),
                "storageClass": "STANDARD",
                "timeCreated": now,
                "updated": now,
                "contentType": "application/octet-stream",
                **{key: meta[key] for key in _KEPT if meta.get(key)},
            }
            self._keep(bucket, name)
            objects[name] = Object(data, made)
            return _json(made)

    def remove(self, bucket: str, name: str, query: Query) -> Answer:
        with self._lock:
            check(query, self.find(bucket, name, query))
            if "generation" in query and self._kept.get(bucket, {}).pop((name, int(query["generation"])), None):
                return 204, [], b""
            self._keep(bucket, name)
            del self.bucket(bucket)[name]
        return 204, [], b""

    def _keep(self, bucket: str, name: str) -> None:
        """Put the object that stands at a name, if any, aside, where the bucket keeps versions."""
        if bucket in self._kept and (found := self.bucket(bucket).get(name)):
            self._kept[bucket][name, found.generation] = found

    def compose(self, bucket: str, name: str, body: dict[str, Any], query: Query) -> Answer:
        with self._lock:
            parts = [self.find(bucket, source["name"], {}).data for source in body["sourceObjects"]]
            return self.put(bucket, {**body.get("destination", {}), "name": name}, b"".join(parts), query)

    def rewrite(self, source: tuple[str, str], target: tuple[str, str], query: Query) -> Answer:
        with self._lock:
            found = self.find(*source, {})
            kept = {key: found.meta[key] for key in _KEPT if key in found.meta}
            _, headers, made = self.put(target[0], {**kept, "name": target[1]}, found.data, query)
            size = str(len(found.data))
            whole = {"done": True, "resource": json.loads(made), "totalBytesRewritten": size, "objectSize": size}
            return 200, headers, json.dumps({"kind": "storage#rewriteResponse", **whole}).encode()

    def list(self, bucket: str, query: Query) -> Answer:
        """A page of names below a prefix; with a delimiter, names up to it stand for all that begin so."""
        prefix, delimiter, after = query.get("prefix", ""), query.get("delimiter", ""), query.get("pageToken", "")
        most = min(int(query.get("maxResults") or 1000), 1000)
        found: dict[str, Object | None] = {}
        with self._lock:
            objects = dict(self.bucket(bucket))
        for name in sorted(objects):
            if not name.startswith(prefix) or name < query.get("startOffset", ""):
                continue
            cut = name.find(delimiter, len(prefix)) if delimiter else -1
            shown = name[: cut + len(delimiter)] if cut >= 0 else name
            if shown > after:
                found[shown] = None if cut >= 0 else objects[name]
        page = dict(list(found.items())[:most])
        answer: dict[str, Any] = {"kind": "storage#objects"}
        answer |= {"items": [one.meta for one in page.values() if one]} if any(page.values()) else {}
        answer |= {"prefixes": [name for name, one in page.items() if one is None]} if None in page.values() else {}
        answer |= {"nextPageToken": list(page)[-1]} if len(found) > len(page) else {}
        return _json(answer)

    # ---- resumable uploads -------------------------------------------------------------------------

    def begin(self, bucket: str, meta: dict[str, Any], query: Query, host: str) -> Answer:
        with self._lock:
            meta.setdefault("name", query.get("name"))
            check(query, self.bucket(bucket).get(meta["name"]))
            token = secrets.token_hex(12)
            self._uploads[token] = Upload(bucket, meta, query)
        address = f"http://{host}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={token}"
        return 200, [("Location", address), ("X-GUploader-UploadID", token)], b""

    def resume(self, token: str, span: str, data: bytes) -> Answer:
        """Take a piece, or tell how far the upload is; 308 until it is whole."""
        with self._lock:
            upload = self._uploads.get(token)
            if upload is None:
                raise Refused(410, "gone", "The requested upload session does not exist.")
            if upload.done:
                return upload.done
            piece, asked = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", span), re.fullmatch(r"bytes \*/(\d+|\*)", span)
            if piece:
                if int(piece[1]) > len(upload.data):
                    raise Refused(503, "backendError", "Invalid request. There is a gap before these bytes.")
                upload.data[int(piece[1]) :] = data
            elif not asked:
                upload.data[:] = data
            total = piece[2] if piece else asked[1] if asked else str(len(data))
            if total == str(len(upload.data)):
                upload.done = self.put(upload.bucket, upload.meta, bytes(upload.data), upload.query)
                return upload.done
            return 308, [("Range", f"bytes=0-{len(upload.data) - 1}")] if upload.data else [], b""

    def abandon(self, token: str) -> Answer:
        if self._uploads.pop(token, None) is None:
            raise Refused(410, "gone", "The requested upload session does not exist.")
        return 499, [], b""

    def make(self, name: str, *, versions: bool = False) -> Answer:
        with self._lock:
            if name in self._buckets:
                raise Refused(409, "conflict", "Your previous request to create the named bucket succeeded.")
            self._buckets[name] = {}
            if versions:
                self._kept[name] = {}
        return self.described(name)

    def described(self, name: str) -> Answer:
        self.bucket(name)
        about = {"kind": "storage#bucket", "id": name, "name": name, "location": "US", "storageClass": "STANDARD"}
        return _json({**about, "locationType": "region", "metageneration": "1"})


def _media(found: Object, span: str) -> Answer:
    """An object's bytes, or the range of them that was asked for."""
    size = len(found.data)
    headers = [
        ("Content-Type", found.meta["contentType"]),
        ("ETag", found.meta["etag"]),
        ("x-goog-generation", found.meta["generation"]),
        ("x-goog-hash", f"md5={found.meta['md5Hash']}"),
        ("x-goog-stored-content-length", str(size)),
        ("Accept-Ranges", "bytes"),
    ]
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", span)
    if not wanted or not (wanted[1] or wanted[2]):
        return 200, headers, found.data
    start = int(wanted[1]) if wanted[1] else max(size - int(wanted[2]), 0)
    end = min(int(wanted[2]), size - 1) if wanted[1] and wanted[2] else size - 1
    if start >= size:
        return 416, [("Content-Range", f"bytes */{size}")], b""
    return 206, [*headers, ("Content-Range", f"bytes {start}-{end}/{size}")], found.data[start : end + 1]


def _parts(kind: str, body: bytes) -> tuple[dict[str, Any], bytes]:
    """Metadata and bytes of a multipart upload: the bytes may hold anything, the boundary's look-alikes too."""
    found = re.search(r"""boundary=['"]?([^'";]+)""", kind)
    if found is None:
        raise Refused(400, "badRequest", "no boundary")
    line = b"--" + found[1].encode()
    first = body.index(line) + len(line)
    second = body.index(line, first)
    head, _, described = body[first:second].partition(b"\r\n\r\n")
    if not described:
        head, _, described = body[first:second].partition(b"\n\n")
    rest = body[second + len(line) :]
    gap = b"\r\n\r\n" if b"\r\n\r\n" in rest[:1024] else b"\n\n"
    head, _, data = rest.partition(gap)
    data = data[: data.rindex(line)]
    meta = json.loads(described)
    type_ = re.search(rb"(?i)content-type:\s*([^\r\n]+)", head)
    if type_:
        meta.setdefault("contentType", type_[1].decode())
    return meta, data.removesuffix(b"\n").removesuffix(b"\r")


class Api:
    """The API as a WSGI application."""

    def __init__(self) -> None:
        self._store = Store()

    def __call__(self, env: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        body = env["wsgi.input"].read(int(env["CONTENT_LENGTH"])) if env.get("CONTENT_LENGTH") else b""
        if not body and env.get("wsgi.input_terminated"):
            body = env["wsgi.input"].read()
        try:
            status, headers, data = self._answer(env, body)
        except Refused as error:
            status, headers, data = _error(error.status, error.reason, str(error))
        if status != 204:
            headers = [*headers, ("Content-Length", str(len(data)))]
        start(f"{status} {'OK' if status < 300 else 'Answer'}", headers)
        return [data if env["REQUEST_METHOD"] != "HEAD" else b""]

    def _answer(self, env: dict[str, Any], body: bytes) -> Answer:
        method = env["REQUEST_METHOD"]
        token = env.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
        if token not in (TOKEN, READONLY_TOKEN):
            raise Refused(401, "authError", "Invalid Credentials")
        if token == READONLY_TOKEN and method not in ("GET", "HEAD"):
            raise Refused(403, "forbidden", "The caller does not have permission.")
        query = dict(parse_qsl(env.get("QUERY_STRING", ""), keep_blank_values=True))
        path = env["REQUEST_URI"].partition("?")[0]  # names of objects come with their slashes quoted
        found = re.fullmatch(r"(/upload|/resumable/upload|/download)?/storage/v1/b(?:/(.*))?", path)
        if found is None:
            raise Refused(404, "notFound")
        where, rest = found[1] or "", [unquote(part) for part in (found[2] or "").split("/") if part]
        if where.endswith("upload"):
            return self._upload(env, rest[0], query, body)
        if where == "/download":
            query["alt"] = "media"
        return self._plain(env, rest, query, body)

    def _upload(self, env: dict[str, Any], bucket: str, query: Query, body: bytes) -> Answer:
        store, kind = self._store, query.get("uploadType")
        if "upload_id" in query:
            if env["REQUEST_METHOD"] == "DELETE":
                return store.abandon(query["upload_id"])
            return store.resume(query["upload_id"], env.get("HTTP_CONTENT_RANGE", ""), body)
        if kind == "media":
            return store.put(bucket, {"contentType": env.get("CONTENT_TYPE")}, body, query)
        if kind == "multipart":
            meta, data = _parts(env.get("CONTENT_TYPE", ""), body)
            return store.put(bucket, meta, data, query)
        return store.begin(bucket, json.loads(body or b"{}"), query, env["HTTP_HOST"])

    def _plain(self, env: dict[str, Any], rest: list[str], query: Query, body: bytes) -> Answer:
        store, method = self._store, env["REQUEST_METHOD"]
        match rest:
            case [] if method == "POST":
                asked = json.loads(body)
                return store.make(asked["name"], versions=asked.get("versioning", {}).get("enabled", False))
            case [bucket]:
                return store.described(bucket)
            case [bucket, "storageLayout"]:
                store.bucket(bucket)
                return _json({"bucket": bucket, "location": "US", "hierarchicalNamespace": {"enabled": False}})
            case [bucket, "o"]:
                return store.list(bucket, query)
            case [bucket, "o", name] if method == "DELETE":
                return store.remove(bucket, name, query)
            case [bucket, "o", name]:
                found = store.find(bucket, name, query)
                check(query, found)
                return _media(found, env.get("HTTP_RANGE", "")) if query.get("alt") == "media" else _json(found.meta)
            case [bucket, "o", name, "compose"]:
                return store.compose(bucket, name, json.loads(body), query)
            case [bucket, "o", name, "rewriteTo" | "copyTo", "b", other, "o", new]:
                return store.rewrite((bucket, name), (other, new), query)
        raise Refused(404, "notFound")


def _document(status: int, code: str) -> tuple[str, bytes]:
    _, headers, body = _error(status, code, SAID)
    return headers[0][1], body


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))  # the data is in memory: nothing is left behind
    server = make_server("127.0.0.1", options.port, Faults(Api(), _document), threaded=True, request_handler=Quiet)
    server.daemon_threads = True
    print(f"STORAGE_EMULATOR_HOST=http://127.0.0.1:{server.server_port}\nTOKEN={TOKEN}")
    print(f"READONLY_TOKEN={READONLY_TOKEN}\nSERVER_PID={os.getpid()}\nREADY", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
