"""Object stores through obstore: S3 and Azure Blob.

obstore is Rust's ``object_store``: small requests take a fifth of the processor time that
the Python clients need, and it is loaded in 20 ms (docs/benchmarks.md, "transports"). Left
alone it would ask a cloud's metadata address for credentials, so it is always given a provider.

Its errors are texts, with the server's answer inside; only status, code and message are
taken from them, for an address in them may hold a signature.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from threading import Lock
from typing import Any, Final

from artifactvc.errors import MissingExtra
from artifactvc.storage.credentials import Provider, azure_access, s3_access
from artifactvc.storage.objectclient import IMMUTABLE, LANES, MIB, Client, ClientError, Trouble, allowed
from artifactvc.storage.objectplace import ObjectPlace
from artifactvc.storage.transport import RemoteOptions

_STATUS: Final = re.compile(r"(?:status code|\(code): (\d{3})")
_CODE: Final = re.compile(r"<Code>([A-Za-z0-9]{1,80})</Code>")
_MESSAGE: Final = re.compile(r"<Message>([^<]{1,300})</Message>")
_DAY: Final = timedelta(days=1)
_ATTRIBUTES: Final = {"Cache-Control": IMMUTABLE}
_CODES: Final = {
    **dict.fromkeys(("NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"), Trouble.NO_BUCKET),
    **dict.fromkeys(("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"), Trouble.WRONG),  # S3
    **dict.fromkeys(("RequestTimeTooSkewed", "AuthenticationFailed", "authError"), Trouble.WRONG),  # S3, Azure, Google
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"), Trouble.EXPIRED),
    **dict.fromkeys(("SlowDown", "RequestTimeout", "Throttling", "ServerBusy", "InternalError"), Trouble.SILENT),
    "BlobAlreadyExists": Trouble.TAKEN,
}
_STATUSES: Final = {
    **dict.fromkeys((401, 403), Trouble.REFUSED),
    **dict.fromkeys((301, 307), Trouble.ELSEWHERE),
    **dict.fromkeys((408, 429), Trouble.SILENT),
    404: Trouble.MISSING,
    409: Trouble.CONFLICT,
    412: Trouble.TAKEN,
    416: Trouble.PAST_END,
}


_used_by: int | None = None  # the process whose threads obstore has


def lost_in_a_fork() -> bool:
    """Whether this is a child of a process that used obstore: its threads are not here, and it would wait for ever."""
    return _used_by not in (None, os.getpid())


class ObstoreClient:
    """One bucket. *make* opens it with what is said of connections and of tries."""

    def __init__(
        self,
        make: Callable[[dict[str, Any], dict[str, Any]], Any],
        options: RemoteOptions,
        provider: Provider,
        *,
        other: Callable[[], Client] | None = None,
    ) -> None:
        self._make, self._options, self._provider, self._other = make, options, provider, other
        self._stores: dict[tuple[int, int], Any] = {}
        global _used_by
        _used_by = os.getpid()
        self._lock = Lock()

    def _store(self, sends: int = 0, tries: int = 1) -> Any:
        """The bucket, for requests that send up to so many bytes, rounded up to a power of two."""
        sends = 1 << (max(sends, MIB) - 1).bit_length() if sends else 0
        with self._lock:
            if (sends, tries) not in self._stores:
                client: dict[str, Any] = {
                    "allow_http": True,
                    "connect_timeout": timedelta(seconds=min(10.0, self._options.timeout)),
                    "timeout": timedelta(seconds=allowed(self._options, sends)) if sends else _DAY,
                }
                if not sends:
                    client["read_timeout"] = timedelta(seconds=self._options.timeout)
                self._stores[sends, tries] = self._make(client, {"max_retries": tries - 1, "retry_timeout": _DAY})
            return self._stores[sends, tries]

    def _asked(self, deed: Callable[[], Any]) -> Any:
        import obstore

        try:
            return deed()
        except (obstore.exceptions.BaseError, FileNotFoundError) as error:
            raise self._trouble(error) from error

    def read(self, key: str, limit: int) -> bytes:
        """A whole object."""

        def deed() -> bytes:
            found = self._store().get(key)
            if found.meta["size"] > limit:
                raise ClientError(Trouble.TOO_LARGE, str(limit))
            return bytes(found.bytes())

        data: bytes = self._asked(deed)
        return data

    def read_range(self, key: str, start: int, length: int) -> memoryview:
        """A part of an object."""
        return memoryview(self._asked(lambda: self._store().get_range(key, start=start, length=length)))

    def write(self, key: str, data: bytes) -> None:
        """One PUT."""
        store = self._store(len(data) or 1)
        self._asked(lambda: store.put(key, data, attributes=_ATTRIBUTES, use_multipart=False))

    def write_parts(self, key: str, parts: Iterator[bytes], step: int) -> None:
        """An upload in parts, which obstore sends again and aborts by itself."""
        store = self._store(step, max(1, self._options.retries))
        self._asked(
            lambda: store.put(
                key, parts, attributes=_ATTRIBUTES, use_multipart=True, chunk_size=step, max_concurrency=LANES
            )
        )

    def create(self, key: str, data: bytes) -> None:
        """One conditional PUT."""
        store = self._store(len(data) or 1)
        self._asked(lambda: store.put(key, data, attributes=_ATTRIBUTES, mode="create"))

    def remove(self, key: str) -> None:
        """One DELETE."""
        self._asked(lambda: self._store().delete(key))

    def list(self, prefix: str) -> Iterator[tuple[str, int, float]]:
        """A thousand objects a request."""
        pages = self._asked(lambda: iter(self._store().list(prefix, chunk_size=1000)))
        while (page := self._asked(lambda: next(pages, None))) is not None:
            for row in page:
                yield row["path"], row["size"], row["last_modified"].timestamp()

    def drop_unfinished(self, prefix: str, before: float) -> int:
        """By another library: obstore cannot list uploads. Azure forgets them after a week."""
        return self._other().drop_unfinished(prefix, before) if self._other is not None else 0

    def _trouble(self, error: BaseException) -> ClientError:
        import obstore

        if self._provider.failed is not None and isinstance(error, obstore.exceptions.UnauthenticatedError):
            return self._provider.failed
        text = str(error).partition("\n\nDebug source")[0]
        status = int(found[1]) if (found := _STATUS.search(text)) else None
        code = found[1] if (found := _CODE.search(text)) else ""
        if "The specified container does not exist" in text:  # a bulk deletion tells no code
            code = "ContainerNotFound"
        message = found[1] if (found := _MESSAGE.search(text)) else ""
        if status is not None:
            return ClientError(trouble_of(status, code), detail_of(status, code, message))
        if "redirect without LOCATION" in text:
            return ClientError(Trouble.ELSEWHERE)
        if "non-partial response" in text or "different range" in text or "requested range" in text.lower():
            return ClientError(Trouble.OTHER, "it does not give the part of a file that was asked for")
        if isinstance(error, FileNotFoundError):
            return ClientError(Trouble.MISSING)
        return ClientError(Trouble.SILENT, "timed out" if "timed out" in text else "connection failed")


def trouble_of(status: int, code: str) -> Trouble:
    """What an answer of S3 or Azure means: the code, where it is known, else the status."""
    if code in _CODES:
        return _CODES[code]
    return _STATUSES.get(status, Trouble.SILENT if status >= 500 else Trouble.OTHER)


def detail_of(status: int, code: str, message: str) -> str:
    """What is shown of it: the code, or what the server says where nobody knows the code."""
    known = trouble_of(status, code) is not Trouble.OTHER
    return (code or str(status)) if known else f"{message or 'the server refuses the request'} ({code or status})"


def open_s3(place: ObjectPlace, options: RemoteOptions, other: Callable[[], Client]) -> Client:
    """An S3 bucket."""
    try:
        import obstore.store
    except ImportError as error:
        raise MissingExtra("a remote at s3://", "s3") from error
    access = s3_access(options)
    provider = Provider(access.provide)
    provider()  # so that missing credentials end here, once

    # AWS itself gives each bucket a host of its own; other servers have one address for all.
    own_host = access.endpoint is None and "." not in place.bucket
    address: dict[str, Any] = {"virtual_hosted_style_request": own_host, "region": access.region}
    if access.endpoint is not None:
        address |= {"endpoint": access.endpoint, "aws_endpoint_url_s3": access.endpoint}

    kind: Any = obstore.store.S3Store

    def make(client: dict[str, Any], tries: dict[str, Any]) -> Any:
        return kind(
            place.bucket,
            client_options=client,
            retry_config=tries,
            credential_provider=provider,
            disable_bulk_delete=True,
            **address,
        )

    return ObstoreClient(make, options, provider, other=other)


def open_azure(place: ObjectPlace, options: RemoteOptions) -> Client:
    """An Azure container."""
    try:
        import obstore.store
    except ImportError as error:
        raise MissingExtra("a remote in Azure", "azure") from error
    access = azure_access(place, options)
    provider = Provider(access.provide)
    provider()  # so that missing credentials end here, once
    kind: Any = obstore.store.AzureStore

    def make(client: dict[str, Any], tries: dict[str, Any]) -> Any:
        return kind(
            place.bucket,
            account_name=access.account,
            endpoint=access.endpoint,
            client_options=client,
            retry_config=tries,
            credential_provider=provider,
        )

    return ObstoreClient(make, options, provider)
