"""A remote in an S3 bucket, through s3fs.

Credentials, region and endpoint come from the usual places (environment, profile,
``AWS_ENDPOINT_URL``); they are never stored and never shown. ``create`` is one PUT with
``If-None-Match: *``, through a client whose own retries are off (protocol P8, R1): some
servers answer a conflict without naming the condition, so the status of the cause tells.
Larger files go and come in parts, a few at a time, so memory stays bounded.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

from artifactvc.errors import (
    AvcError,
    BucketMissing,
    Corrupt,
    MissingExtra,
    OutcomeUnknown,
    ReadOnly,
    RemoteMissing,
    RemoteRefused,
    RemoteUnavailable,
    StorageError,
    UsageError,
)
from artifactvc.storage.transport import Advance, Listing, RemoteOptions, Stored, check_name, is_name, no_advance

T = TypeVar("T")

_PART: Final = 16 << 20
_PARTS: Final = 9_000  # S3 takes 10,000
_AT_ONCE: Final = 4  # parts: 64 MiB in memory
_SMALL_AT_ONCE: Final = 16
_CONFLICTS: Final = 5
_SLOWEST: Final = 64 << 10  # bytes a second, below which a connection counts as dead
_IMMUTABLE: Final = "max-age=31536000, immutable"


class S3Transport(Listing):
    """The keys below ``bucket/prefix``."""

    kind = "s3"

    def __init__(self, place: str, options: RemoteOptions) -> None:
        self.bucket, _, prefix = place.partition("/")
        self.prefix = prefix.strip("/")
        if not self.bucket:
            raise UsageError("an S3 remote needs a bucket", hint="write s3://bucket/path")
        self.url = "s3://" + "/".join(part for part in (self.bucket, self.prefix) if part)
        self.read_only = options.read_only
        self._options = options

    # ---- the clients ---------------------------------------------------------------------------

    @cached_property
    def _fs(self) -> Any:
        return _open(self.url, self._options, self._options.retries)

    @cached_property
    def _once(self) -> Any:
        """For log entries: what was sent is never sent again behind our back."""
        return _open(self.url, self._options, 1)

    def _run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        from fsspec.asyn import get_loop, sync

        try:
            result: T = sync(get_loop(), work)
        except AvcError:
            raise
        except Exception as error:
            raise _explain(self.url, error) from error
        return result

    def _key(self, name: str) -> str:
        check_name(name)
        return f"{self.prefix}/{name}" if self.prefix else name

    async def _call(self, method: str, name: str, fs: Any = None, **values: Any) -> Any:
        """One request. A server that takes it and says nothing is given up after a while that follows its size."""
        key, size = self._key(name), len(values.get("Body", b""))
        limit = 2 * self._options.timeout + size / _SLOWEST
        what = {} if "Prefix" in values else {"Key": key}  # a listing is about no one key
        return await asyncio.wait_for((fs or self._fs)._call_s3(method, Bucket=self.bucket, **what, **values), limit)

    async def _again(self, method: str, name: str, **values: Any) -> Any:
        """A request that may be sent more than once, tried again when the connection fails."""
        for attempt in range(self._options.retries):
            try:
                return await self._call(method, name, **values)
            except AvcError:
                raise
            except Exception as error:
                if not _connection_failed(error) or attempt + 1 == self._options.retries:
                    raise _explain(self.url, error, name) from error
                await asyncio.sleep(random.uniform(0.05, 0.2) * 2**attempt)
        raise AssertionError("unreachable")

    # ---- reading ---------------------------------------------------------------------------------

    async def _get(self, name: str, start: int, length: int) -> bytes:
        """Up to *length* bytes at *start*, tried again when the connection breaks while they come."""
        for attempt in range(self._options.retries):
            try:
                answer = await self._call("get_object", name, Range=f"bytes={start}-{start + length - 1}")
                try:
                    if int(answer.get("ContentLength") or 0) > length:
                        raise Corrupt(f"'{name}' at '{self.url}' answers with more than the {length} bytes asked for")
                    data: bytes = await answer["Body"].read()
                finally:
                    answer["Body"].close()
                return data
            except AvcError:
                raise
            except Exception as error:
                if _status(error)[0] == 416:
                    return b""
                if not _connection_failed(error) or attempt + 1 == self._options.retries:
                    raise _explain(self.url, error, name) from error
                await asyncio.sleep(random.uniform(0.05, 0.2) * 2**attempt)
        raise AssertionError("unreachable")

    async def _whole(self, name: str, limit: int) -> bytes:
        data = await self._get(name, 0, limit + 1)
        if len(data) > limit:
            raise Corrupt(
                f"'{name}' at '{self.url}' is larger than {limit} bytes", hint="whoever may write there damaged it"
            )
        return data

    def read(self, name: str, *, limit: int) -> bytes:
        """A whole file."""
        return self._run(lambda: self._whole(name, limit))

    def read_many(self, names: Sequence[str], *, limit: int) -> list[bytes | None]:
        """Whole files; 403 means "not there" to who may not list (protocol R2)."""

        async def one(name: str) -> bytes | None:
            try:
                return await self._whole(name, limit)
            except BucketMissing:
                raise
            except (RemoteMissing, RemoteRefused):
                return None

        return self._run(lambda: _gather([lambda name=name: one(name) for name in names], _SMALL_AT_ONCE))  # type: ignore[misc]

    def read_ranges(self, wanted: Sequence[tuple[str, int, int]]) -> Iterator[tuple[int, bytes]]:
        """Parts of files, some at a time: at most 64 MiB are held."""

        async def one(position: int) -> tuple[int, bytes]:
            name, start, length = wanted[position]
            data = await self._get(name, start, length)
            if len(data) != length:
                raise Corrupt(f"'{name}' at '{self.url}' is cut short")
            return position, data

        lot: list[int] = []
        held = 0
        for position, (_, _, length) in enumerate(wanted):
            lot.append(position)
            held += length
            if held >= _PART * _AT_ONCE or len(lot) >= 256 or position + 1 == len(wanted):
                work = [lambda position=position: one(position) for position in lot]
                yield from self._run(lambda work=work: _gather(work, _SMALL_AT_ONCE))  # type: ignore[misc]
                lot, held = [], 0

    def download(self, name: str, target: Path, size: int, *, advance: Advance = no_advance) -> None:
        """Write a file in parts, each to its place."""
        fd = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)

        async def part(start: int) -> None:
            length = min(_PART, size - start)
            data = await self._get(name, start, length)
            if len(data) != length:
                raise Corrupt(f"'{name}' at '{self.url}' is cut short")
            os.pwrite(fd, data, start)
            advance(length)

        try:
            work = [lambda start=start: part(start) for start in range(0, size, _PART)]
            self._run(lambda: _gather(work, _AT_ONCE))
        finally:
            os.close(fd)

    def list_files(self, prefix: str) -> list[Stored]:
        """The keys below a prefix."""
        return self._run(lambda: _listed(self, prefix))

    def drop_unfinished(self, before: float) -> int:
        """Abort multipart uploads that began before *before*."""
        if self.read_only:
            raise ReadOnly(f"the remote '{self.url}' is read-only")
        return self._run(lambda: _abort_old(self, before))

    # ---- writing ---------------------------------------------------------------------------------

    def upload(self, name: str, source: Path | bytes, *, advance: Advance = no_advance) -> None:
        """Store a file: in one request up to 16 MiB, else in parts."""
        if self.read_only:
            raise ReadOnly(f"the remote '{self.url}' is read-only")
        if isinstance(source, bytes):
            self._run(lambda: self._again("put_object", name, Body=source, CacheControl=_IMMUTABLE))
            advance(len(source))
            return
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            if size <= _PART:
                data = os.pread(fd, size, 0)
                self._run(lambda: self._again("put_object", name, Body=data, CacheControl=_IMMUTABLE))
                advance(size)
            else:
                self._run(lambda: self._in_parts(name, fd, size, advance))
        finally:
            os.close(fd)

    async def _in_parts(self, name: str, fd: int, size: int, advance: Advance) -> None:
        step = max(_PART, -(-size // _PARTS))
        begun = await self._again("create_multipart_upload", name, CacheControl=_IMMUTABLE)
        upload = begun["UploadId"]

        async def part(number: int) -> dict[str, Any]:
            data = os.pread(fd, step, number * step)
            answer = await self._again("upload_part", name, UploadId=upload, PartNumber=number + 1, Body=data)
            advance(len(data))
            return {"PartNumber": number + 1, "ETag": answer["ETag"]}

        try:
            work = [lambda number=number: part(number) for number in range(-(-size // step))]
            parts = await _gather(work, _AT_ONCE)
            await self._again("complete_multipart_upload", name, UploadId=upload, MultipartUpload={"Parts": parts})
        except BaseException:
            try:
                await self._call("abort_multipart_upload", name, UploadId=upload)
            except Exception as error:  # noqa: BLE001  the first error is the one to show; gc aborts old uploads
                del error
            raise

    def create(self, name: str, data: bytes) -> bool:
        """One PUT that fails if the key is there."""
        if self.read_only:
            raise ReadOnly(f"the remote '{self.url}' is read-only")

        async def put() -> bool:
            for attempt in range(_CONFLICTS):
                try:
                    await self._call(
                        "put_object",
                        name,
                        fs=self._once,
                        Body=data,
                        IfNoneMatch="*",
                        CacheControl=_IMMUTABLE,
                    )
                except AvcError:
                    raise
                except Exception as error:
                    status, _ = _status(error)
                    if status == 412 or isinstance(error, FileExistsError):
                        return False
                    if status != 409:
                        explained = _explain(self.url, error, name)
                        if isinstance(explained, RemoteUnavailable):
                            raise OutcomeUnknown(explained.message, hint=explained.hint) from error
                        raise explained from error
                    # Another PUT of this key is under way: the winner is known when it is over.
                    await asyncio.sleep(random.uniform(0.02, 0.1) * 2**attempt)
                else:
                    return True
            raise OutcomeUnknown(f"'{name}' at '{self.url}' is being created by others, again and again")

        return self._run(put)

    def remove(self, name: str) -> None:
        """Remove a key."""
        if self.read_only:
            raise ReadOnly(f"the remote '{self.url}' is read-only")
        self._run(lambda: self._again("delete_object", name))


def _open(url: str, options: RemoteOptions, retries: int) -> Any:
    try:
        import s3fs
    except ImportError as error:
        raise MissingExtra("a remote at s3://", "s3") from error
    config = {
        "connect_timeout": min(10.0, options.timeout),
        "read_timeout": options.timeout,
        "max_pool_connections": 2 * _SMALL_AT_ONCE,
        "retries": {"total_max_attempts": 1, "mode": "standard"},
    }
    if retries == 1:
        config["http_session_cls"] = _once_session()
    try:
        fs = s3fs.S3FileSystem(
            anon=False,
            endpoint_url=options.endpoint_url,
            profile=options.profile,
            client_kwargs={"region_name": options.region} if options.region else {},
            config_kwargs=config,
            skip_instance_cache=True,
            use_listings_cache=False,
        )
    except Exception as error:
        raise _explain(url, error) from error
    fs.retries = retries
    return fs


async def _listed(transport: S3Transport, prefix: str) -> list[Stored]:
    """The names below *prefix*, a thousand a request."""
    base = len(transport.prefix) + 1 if transport.prefix else 0
    found: list[Stored] = []
    more: dict[str, str] = {}
    while True:
        page = await transport._again("list_objects_v2", prefix, Prefix=f"{transport._key(prefix)}/", **more)
        for item in page.get("Contents", ()):
            if is_name(name := str(item["Key"])[base:]):
                found.append(Stored(name, int(item["Size"]), item["LastModified"].timestamp()))
        if not page.get("IsTruncated"):
            return sorted(found)
        more = {"ContinuationToken": page["NextContinuationToken"]}


async def _abort_old(transport: S3Transport, before: float) -> int:
    base = f"{transport.prefix}/" if transport.prefix else ""
    page = await transport._again("list_multipart_uploads", "packs", Prefix=f"{base}packs/")
    dropped = 0
    for item in page.get("Uploads", ()):
        name = str(item["Key"])[len(base) :]
        if is_name(name) and item["Initiated"].timestamp() < before:
            await transport._again("abort_multipart_upload", name, UploadId=item["UploadId"])
            dropped += 1
    return dropped


def _explain(url: str, error: BaseException, name: str = "") -> AvcError:
    """What to tell people about an error of s3fs, botocore or the connection."""
    status, code = _status(error)
    kind = type(_root(error)).__name__
    what = f"'{name}' at '{url}'" if name else f"'{url}'"
    wrong = re.fullmatch("Invalid endpoint: (.*)", str(_root(error)))
    if wrong is not None:
        return UsageError(
            f"'{wrong[1]}' is no address of an S3 server",
            hint="write --endpoint-url, or AWS_ENDPOINT_URL, as https://HOST or http://HOST:PORT",
        )
    if code == "NoSuchBucket":
        return BucketMissing(f"bucket '{url.split('/')[2]}' does not exist", hint="make it, or check the address")
    if status == 404 or isinstance(error, FileNotFoundError):
        return RemoteMissing(f"{what} is not there", hint="check the address; 'avc fsck' tells what a version lacks")
    if kind in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound"):
        return RemoteRefused(
            f"there are no credentials for {what}: {_root(error)}",
            hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile with --profile",
        )
    if status in (401, 403) or isinstance(error, PermissionError):
        return RemoteRefused(
            f"{what} refuses these credentials{f' ({code})' if code else ''}",
            hint="check the credentials and the bucket's policy",
        )
    if status in (301, 307):
        return StorageError(f"{what} is in another region", hint="name it: 'avc remote add … --region R'")
    if _connection_failed(error) or (status or 0) >= 500:
        detail = code or kind
        return RemoteUnavailable(
            f"{what} does not answer ({detail})", hint="check the network and the address, and try again"
        )
    return StorageError(f"{what} failed: {str(_root(error))[:300]}")


async def _gather(work: Sequence[Callable[[], Coroutine[Any, Any, T]]], at_once: int) -> list[T]:
    """Results in order; the first error ends all the rest."""
    slots = asyncio.Semaphore(at_once)

    async def one(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async with slots:
            return await make()

    tasks = [asyncio.ensure_future(one(make)) for make in work]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def _root(error: BaseException) -> BaseException:
    """The error that began it: s3fs wraps botocore's."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _status(error: BaseException | None) -> tuple[int | None, str]:
    """HTTP status and S3 error code, of whichever error in the chain has them."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            return (int(status) if status else None), str(response.get("Error", {}).get("Code", ""))
        error = error.__cause__
    return None, ""


def _connection_failed(error: BaseException | None) -> bool:
    while error is not None:
        module = type(error).__module__.partition(".")[0]
        if isinstance(error, (ConnectionError, TimeoutError, asyncio.TimeoutError)) or module in ("aiohttp", "urllib3"):
            return True
        name = type(error).__name__
        if module == "botocore" and (
            "Connect" in name
            or "Timeout" in name
            or name in ("HTTPClientError", "IncompleteReadError", "ResponseStreamingError")
        ):
            return True
        if name == "FSTimeoutError":
            return True
        error = error.__cause__
    return False


def _once_session() -> Any:
    """A session that never sends a request twice by itself: aiohttp repeats a PUT when the connection breaks."""
    from aiobotocore.httpsession import AIOHTTPSession

    class Once(AIOHTTPSession):  # type: ignore[misc]
        async def _get_session(self, proxy_url: Any) -> Any:
            session = await super()._get_session(proxy_url)
            session._retry_connection = False  # aiohttp has no public setting for it
            return session

    return Once
