"""Object stores through fsspec's file systems: what they have in common, and S3 by s3fs.

Their own retries are off: who asks decides (``objectclient.again``), and what may be sent
only once is sent once (protocol P8). Under them is aiohttp, which by itself repeats a PUT
when the connection breaks, so it is given sessions that do not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, Final, TypeVar

from artifactvc.errors import AvcError, MissingExtra
from artifactvc.storage.credentials import aws_trouble, s3_access
from artifactvc.storage.objectclient import IMMUTABLE, LANES, Client, ClientError, Trouble, again, allowed
from artifactvc.storage.objectplace import ObjectPlace
from artifactvc.storage.obstoreclient import detail_of, trouble_of
from artifactvc.storage.transport import RemoteOptions
from artifactvc.util.lanes import Lanes

T = TypeVar("T")

_POOL: Final = 32
_CREDENTIALS: Final = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "ProfileNotFound",
    "TokenRetrievalError",
    "SSOTokenLoadError",
    "UnauthorizedSSOTokenError",
    "NoAuthTokenError",
)


class FsspecClient:
    """What is alike: one loop in a thread of its own, time-outs, and errors; parts of an upload in a few lanes."""

    def __init__(self, options: RemoteOptions) -> None:
        self.options = options
        self._lanes = Lanes(2 * LANES)

    def run(self, work: Callable[[], Coroutine[Any, Any, T]], size: int = 0) -> T:
        """Do *work*, which sends *size* bytes; a server that takes it and says nothing is given up."""
        from fsspec.asyn import get_loop, sync

        async def bounded() -> T:
            await self.opened()
            return await asyncio.wait_for(work(), allowed(self.options, size))

        try:
            result: T = sync(get_loop(), bounded)
        except (AvcError, ClientError):
            raise
        except Exception as error:
            raise self.trouble(error) from error
        return result

    async def opened(self) -> None:
        """What has to be done in the loop before the first request."""

    def trouble(self, error: BaseException) -> ClientError:
        """What an error of the library means."""
        raise NotImplementedError

    def in_lanes(self, parts: Iterator[bytes], send: Callable[[int, bytes], T]) -> list[T]:
        """Send numbered parts, each again where no answer came, a few at a time; what *send* gave, in order."""
        sent: dict[int, T] = {}

        def one(number: int, data: bytes) -> None:
            sent[number] = again(self.options, lambda: send(number, data))

        works = ((1, lambda number=number, data=data: one(number, data)) for number, data in enumerate(parts))
        for _ in self._lanes.each(works, LANES):
            pass
        return [sent[number] for number in range(len(sent))]


class S3fsClient(FsspecClient):
    """One S3 bucket, by s3fs."""

    def __init__(self, place: ObjectPlace, options: RemoteOptions) -> None:
        super().__init__(options)
        self._bucket = place.bucket
        self._fs = _open_s3fs(options, self.trouble)

    def _call(self, method: str, **values: Any) -> Any:
        size = len(values.get("Body", b""))
        return self.run(lambda: self._fs._call_s3(method, Bucket=self._bucket, **values), size)

    def _get(self, key: str, most: int, **values: Any) -> bytes:
        async def get() -> bytes:
            answer = await self._fs._call_s3("get_object", Bucket=self._bucket, Key=key, **values)
            try:
                if int(answer.get("ContentLength") or 0) > most:
                    raise ClientError(Trouble.TOO_LARGE, str(most))
                data: bytes = await answer["Body"].read()
            finally:
                answer["Body"].close()
            return data

        return self.run(get, most)

    def read(self, key: str, limit: int) -> bytes:
        """A whole object."""
        return self._get(key, limit)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """A part of an object."""
        return self._get(key, length, Range=f"bytes={start}-{start + length - 1}")

    def write(self, key: str, data: bytes) -> None:
        """One PUT."""
        self._call("put_object", Key=key, Body=data, CacheControl=IMMUTABLE)

    def write_parts(self, key: str, parts: Iterator[bytes], step: int) -> None:
        """An upload in parts; those that were sent are dropped if one fails."""
        begun = again(self.options, lambda: self._call("create_multipart_upload", Key=key, CacheControl=IMMUTABLE))
        upload = {"Key": key, "UploadId": begun["UploadId"]}

        def send(number: int, data: bytes) -> dict[str, Any]:
            answer = self._call("upload_part", PartNumber=number + 1, Body=data, **upload)
            return {"PartNumber": number + 1, "ETag": answer["ETag"]}

        try:
            whole = {"Parts": self.in_lanes(parts, send)}
            again(self.options, lambda: self._call("complete_multipart_upload", MultipartUpload=whole, **upload))
        except BaseException:
            try:
                self._call("abort_multipart_upload", **upload)
            except ClientError as error:
                del error  # the first error is the one to show; gc aborts old uploads
            raise

    def create(self, key: str, data: bytes) -> None:
        """One conditional PUT."""
        self._call("put_object", Key=key, Body=data, IfNoneMatch="*", CacheControl=IMMUTABLE)

    def remove(self, key: str) -> None:
        """One DELETE."""
        self._call("delete_object", Key=key)

    def list(self, prefix: str) -> Iterable[tuple[str, int, float]]:
        """A thousand objects a request."""
        more: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", Prefix=prefix, **more)
            for item in page.get("Contents", ()):
                yield str(item["Key"]), int(item["Size"]), item["LastModified"].timestamp()
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def drop_unfinished(self, prefix: str, before: float) -> int:
        """Abort uploads in parts."""
        dropped = 0
        more: dict[str, str] = {}
        while True:
            page = self._call("list_multipart_uploads", Prefix=prefix, **more)
            for item in page.get("Uploads", ()):
                if item["Initiated"].timestamp() < before:
                    self._call("abort_multipart_upload", Key=item["Key"], UploadId=item["UploadId"])
                    dropped += 1
            if not page.get("IsTruncated"):
                return dropped
            more = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def trouble(self, error: BaseException) -> ClientError:
        """By status and code of whichever error in the chain has them: s3fs wraps botocore's."""
        root = error
        while root.__cause__ is not None:
            root = root.__cause__
        if type(root).__name__ in _CREDENTIALS:
            return aws_trouble(root)
        status, code, message = _answer(error)
        if status is not None:
            return ClientError(trouble_of(status, code), detail_of(status, code, message))
        if isinstance(error, FileExistsError):
            return ClientError(Trouble.TAKEN)
        if isinstance(error, FileNotFoundError):
            return ClientError(Trouble.MISSING)
        if isinstance(error, PermissionError):
            return ClientError(Trouble.REFUSED)
        if connection_failed(error):
            return ClientError(Trouble.SILENT, type(root).__name__)
        return ClientError(Trouble.OTHER, str(root))


def connection_failed(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is of the network."""
    while error is not None:
        module, name = type(error).__module__.partition(".")[0], type(error).__name__
        if isinstance(error, ConnectionError | TimeoutError) or module in ("aiohttp", "urllib3"):
            return True
        if module == "botocore" and ("Connect" in name or "Timeout" in name or "Read" in name or "HTTP" in name):
            return True
        if name in ("FSTimeoutError", "ResponseStreamingError"):
            return True
        error = error.__cause__
    return False


def _answer(error: BaseException | None) -> tuple[int | None, str, str]:
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            said = response.get("Error", {})
            return (int(status) if status else None), str(said.get("Code", "")), str(said.get("Message", ""))
        error = error.__cause__
    return None, "", ""


def _open_s3fs(options: RemoteOptions, trouble: Callable[[BaseException], ClientError]) -> Any:
    try:
        import s3fs
    except ImportError as error:
        raise MissingExtra("a remote at s3://", "s3") from error
    access = s3_access(options)
    access.provide()  # so that missing credentials end here, once
    config = {
        "connect_timeout": min(10.0, options.timeout),
        "read_timeout": options.timeout,
        "max_pool_connections": _POOL,
        "retries": {"total_max_attempts": 1, "mode": "standard"},
        "http_session_cls": _once_session(),
    }
    try:
        fs = s3fs.S3FileSystem(
            anon=False,
            endpoint_url=access.endpoint,
            profile=options.profile,
            client_kwargs={"region_name": access.region},
            config_kwargs=config,
            skip_instance_cache=True,
            use_listings_cache=False,
        )
    except Exception as error:
        raise trouble(error) from error
    fs.retries = 1
    return fs


def _once_session() -> Any:
    """A session that never sends a request twice by itself: aiohttp repeats a PUT when the connection breaks."""
    from aiobotocore.httpsession import AIOHTTPSession

    class Once(AIOHTTPSession):  # type: ignore[misc]
        async def _get_session(self, proxy_url: Any) -> Any:
            session = await super()._get_session(proxy_url)
            session._retry_connection = False  # aiohttp has no public setting for it
            return session

    return Once


def open_s3fs(place: ObjectPlace, options: RemoteOptions) -> Client:
    """An S3 bucket."""
    return S3fsClient(place, options)
