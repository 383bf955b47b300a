"""Azure Blob through Azure's own library, in fsspec's loop: what fsspec's adlfs stands on.

adlfs itself takes a connection string from the environment whatever account it was told of,
and does not let its requests be sent once; so its library is used without it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import weakref
from collections.abc import Iterable, Iterator
from typing import Any, Final

from artifactvc.errors import MissingExtra
from artifactvc.storage.credentials import AzureAccess, azure_access
from artifactvc.storage.fsspecclient import FsspecClient, connection_failed
from artifactvc.storage.objectclient import IMMUTABLE, Client, ClientError, Trouble, again
from artifactvc.storage.objectplace import ObjectPlace
from artifactvc.storage.obstoreclient import detail_of, trouble_of
from artifactvc.storage.transport import RemoteOptions

_ONCE: Final = {"retry_total": 0}


class AzureClient(FsspecClient):
    """One container."""

    def __init__(self, place: ObjectPlace, options: RemoteOptions, access: AzureAccess) -> None:
        super().__init__(options)
        self._container, self._access = place.bucket, access
        self._service: Any = None
        self._opening = asyncio.Lock()

    async def opened(self) -> None:
        """The client is made in the loop that it runs in."""
        async with self._opening:
            if self._service is not None:
                return
            from azure.storage.blob.aio import BlobServiceClient

            service: Any = BlobServiceClient(
                self._access.endpoint,
                credential=_credential(self._access),
                connection_timeout=min(10.0, self.options.timeout),
                read_timeout=self.options.timeout,
                max_single_get_size=1 << 40,  # one request for each part: the transport cuts files
            )
            transport = service._pipeline._transport
            await transport.open()
            transport.session._retry_connection = False  # aiohttp has no public setting for it
            self._service = service
            weakref.finalize(self, _close, service, asyncio.get_running_loop(), os.getpid())

    def _blob(self, key: str) -> Any:
        return self._service.get_blob_client(self._container, key)

    def read(self, key: str, limit: int) -> bytes:
        """A whole object."""

        async def get() -> bytes:
            found = await self._blob(key).download_blob(**_ONCE)
            if found.size > limit:
                raise ClientError(Trouble.TOO_LARGE, str(limit))
            data: bytes = await found.readall()
            return data

        return self.run(get)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """A part of an object."""

        async def get() -> bytes:
            data: bytes = await (await self._blob(key).download_blob(offset=start, length=length, **_ONCE)).readall()
            return data

        return self.run(get, length)

    async def _put(self, key: str, data: bytes, *, overwrite: bool) -> None:
        from azure.storage.blob import ContentSettings

        settings = ContentSettings(cache_control=IMMUTABLE)
        # Without a length that is known to be small it would be sent in blocks, several requests.
        blob = self._blob(key)
        blob._config.max_single_put_size = max(len(data), 1)
        await blob.upload_blob(data, length=len(data), overwrite=overwrite, content_settings=settings, **_ONCE)

    def write(self, key: str, data: bytes) -> None:
        """One PUT."""
        self.run(lambda: self._put(key, data, overwrite=True), len(data))

    def write_parts(self, key: str, parts: Iterator[bytes], step: int) -> None:
        """Blocks, and the list of them; blocks that no list names are forgotten by Azure after a week."""
        from azure.storage.blob import BlobBlock, ContentSettings

        def send(number: int, data: bytes) -> str:
            block = base64.b64encode(b"%08d" % number).decode()
            self.run(lambda: self._blob(key).stage_block(block, data, length=len(data), **_ONCE), len(data))
            return block

        blocks = [BlobBlock(block) for block in self.in_lanes(parts, send)]
        settings = ContentSettings(cache_control=IMMUTABLE)
        again(
            self.options,
            lambda: self.run(
                lambda: self._blob(key).commit_block_list(blocks, content_settings=settings, **_ONCE), len(blocks)
            ),
        )

    def create(self, key: str, data: bytes) -> None:
        """One conditional PUT."""
        self.run(lambda: self._put(key, data, overwrite=False), len(data))

    def remove(self, key: str) -> None:
        """One DELETE."""
        self.run(lambda: self._blob(key).delete_blob(**_ONCE))

    def list(self, prefix: str) -> Iterable[tuple[str, int, float]]:
        """Five thousand objects a request."""

        async def found() -> list[tuple[str, int, float]]:
            container = self._service.get_container_client(self._container)
            return [
                (blob.name, blob.size, blob.last_modified.timestamp())
                async for blob in container.list_blobs(name_starts_with=prefix, **_ONCE)
            ]

        return self.run(found)

    def drop_unfinished(self, prefix: str, before: float) -> int:
        """Azure forgets blocks after a week by itself."""
        return 0

    def trouble(self, error: BaseException) -> ClientError:
        """By status and code of the answer."""
        if error.__cause__ is not None and isinstance(error.__cause__, ClientError):
            return error.__cause__
        status = getattr(error, "status_code", None)
        if status:
            code = str(getattr(error, "error_code", "") or "").rpartition(".")[2]
            code = getattr(getattr(error, "error_code", None), "value", code)
            message = str(getattr(error, "reason", "") or "")
            return ClientError(trouble_of(status, code), detail_of(status, code, message))
        name = type(error).__name__
        if connection_failed(error) or name.startswith("Service") or name == "IncompleteReadError":
            return ClientError(Trouble.SILENT, name)
        return ClientError(Trouble.OTHER, " ".join(str(error).split())[:300])


def _close(service: Any, loop: asyncio.AbstractEventLoop, process: int) -> None:
    """At the latest when the interpreter ends: aiohttp complains of what is left open."""
    if os.getpid() == process:
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(service.close(), loop).result(1)


def _credential(access: AzureAccess) -> Any:
    keys = access.provide()
    if "access_key" in keys:
        return {"account_name": access.account, "account_key": keys["access_key"]}
    if "sas_token" in keys:
        return keys["sas_token"]
    return _Tokens(access)


class _Tokens:
    """Tokens for the asynchronous client, from what gives them to others."""

    def __init__(self, access: AzureAccess) -> None:
        self._access = access

    async def get_token(self, *_: str, **__: Any) -> Any:
        from azure.core.credentials import AccessToken

        keys = await asyncio.to_thread(self._access.provide)
        return AccessToken(keys["token"], int(keys["expires_at"].timestamp()))

    async def close(self) -> None:
        """Nothing is held."""


def open_azure_sdk(place: ObjectPlace, options: RemoteOptions) -> Client:
    """An Azure container."""
    try:
        import aiohttp  # noqa: F401  the library loads it late, and fails with what nobody understands
        import azure.storage.blob.aio  # noqa: F401
    except ImportError as error:
        raise MissingExtra("a remote in Azure", "azure") from error
    return AzureClient(place, options, azure_access(place, options))
