"""A remote in an object store: S3, Google Cloud Storage or Azure Blob.

One path for all of them, over a client for each kind and library (``objectclient.py``):

- ``create`` is one conditional request that nothing sends again: a lost answer is told as
  such (protocol P8, R1).
- Larger files go and come in parts of 8 MiB, a few at a time, so memory stays bounded by
  about 64 MiB whatever the sizes, and however many threads share the transport.
- Every length is checked: a server that ignores the range that was asked for, or ends
  early, does not pass.
- Credentials come from each cloud's usual places (``credentials.py``); they are never stored
  and never shown.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Final, TypeVar

from artifactvc.errors import (
    AvcError,
    BucketMissing,
    Corrupt,
    OutcomeUnknown,
    ReadOnly,
    RemoteMissing,
    RemoteRefused,
    RemoteUnavailable,
    StorageError,
)
from artifactvc.storage.objectclient import MIB, Client, ClientError, Trouble, again
from artifactvc.storage.objectplace import ObjectPlace
from artifactvc.storage.transport import Advance, Listing, RemoteOptions, Stored, check_name, is_name, no_advance
from artifactvc.util.backoff import after_no_answer
from artifactvc.util.lanes import Lanes

T = TypeVar("T")

PART: Final = 8 * MIB
_PARTS: Final = 9_000  # S3 takes 10,000 of one object
_PARTS_AT_ONCE: Final = 4
_UPLOADS_AT_ONCE: Final = 2  # each of which holds up to four parts
_SMALL_AT_ONCE: Final = 16
_HELD: Final = 64 * MIB
_CONFLICTS: Final = 5
_MEANS: Final = {"s3": "If-None-Match: *", "azure": "If-None-Match: *", "gcs": "ifGenerationMatch=0"}


class ObjectStore(Listing):
    """The keys below ``bucket/prefix``."""

    def __init__(self, place: ObjectPlace, options: RemoteOptions, connect: Callable[[], Client]) -> None:
        self.kind, self.url, self.read_only = place.kind, place.url, options.read_only
        self.means = _MEANS[place.kind]
        self._place, self._options, self._connect = place, options, connect
        self._held = _Held(connect)

    @property
    def _now(self) -> _Held:
        """Threads and connections, new ones in a forked child: those of its parent are not there."""
        if self._held.pid != os.getpid():
            self._held = _Held(self._connect)
        return self._held

    # ---- names, tries, errors --------------------------------------------------------------------

    def _key(self, name: str) -> str:
        check_name(name)
        return f"{self._place.prefix}/{name}" if self._place.prefix else name

    def _take(self, count: int) -> None:
        if self._options.rate is not None:
            self._options.rate.take(count)

    def _asked(self, name: str, deed: Callable[[Client, str], T], *, once: bool = False) -> T:
        """What *deed* gives, tried again where that does no harm, its failure as people are told of it."""
        key = self._key(name)
        try:
            client = self._now.client()
            return deed(client, key) if once else again(self._options, partial(deed, client, key))
        except ClientError as error:
            raise explain(self._place, error, name) from error

    def _change(self) -> None:
        if self.read_only:
            raise ReadOnly(f"the remote '{self.url}' is read-only")

    # ---- reading ---------------------------------------------------------------------------------

    def _whole(self, name: str, limit: int) -> bytes:
        return self._asked(name, lambda client, key: client.read(key, limit))

    def read(self, name: str, *, limit: int) -> bytes:
        """A whole file."""
        return self._now.small.run(lambda: self._whole(name, limit))

    def read_many(self, names: Sequence[str], *, limit: int) -> list[bytes | None]:
        """Whole files; 403 means "not there" to who may not list (protocol R2), unless it is the credentials' fault."""

        def one(name: str) -> bytes | None:
            try:
                return self._whole(name, limit)
            except BucketMissing:
                raise
            except RemoteMissing:
                return None
            except RemoteRefused as error:
                if isinstance(error.__cause__, ClientError) and error.__cause__.trouble is Trouble.REFUSED:
                    return None
                raise

        return self._now.small.all([partial(one, name) for name in names])

    def _range(self, name: str, start: int, length: int) -> bytes | memoryview:
        """Exactly *length* bytes at *start*."""
        self._take(length)
        data = self._asked(name, lambda client, key: client.read_range(key, start, length)) if length else b""
        if len(data) > length:
            raise Corrupt(f"'{name}' at '{self.url}' answers with more than the {length} bytes asked for")
        if len(data) < length:
            raise Corrupt(f"'{name}' at '{self.url}' is cut short")
        return data

    def read_ranges(self, wanted: Sequence[tuple[str, int, int]]) -> Iterator[tuple[int, bytes | memoryview]]:
        """Parts of files, some at a time: at most 64 MiB are held."""

        def one(position: int) -> tuple[int, bytes | memoryview]:
            return position, self._range(*wanted[position])

        yield from self._now.small.each(((wanted[n][2], partial(one, n)) for n in range(len(wanted))), _HELD)

    def download(self, name: str, target: Path, size: int, *, advance: Advance = no_advance) -> None:
        """Write a file in parts, each to its place."""
        self._key(name)
        file = _Target(target)

        def part(start: int) -> None:
            data = self._range(name, start, min(PART, size - start))
            written = 0
            while written < len(data):
                written += os.pwrite(file.fd, data[written:], start + written)
            advance(len(data))

        for _ in self._now.parts.each(((PART, partial(part, start)) for start in range(0, size, PART)), _HELD):
            pass
        if size == 0:
            self._whole(name, 0)

    def list_files(self, prefix: str) -> list[Stored]:
        """The objects below a prefix."""
        base = len(self._place.prefix) + 1 if self._place.prefix else 0
        found = self._now.small.run(lambda: self._asked(prefix, lambda client, key: list(client.list(f"{key}/"))))
        stored = [Stored(key[base:], size, modified) for key, size, modified in found]
        return sorted(file for file in stored if is_name(file.name) and file.name.startswith(f"{prefix}/"))

    # ---- writing ---------------------------------------------------------------------------------

    def upload(self, name: str, source: Path | bytes, *, advance: Advance = no_advance) -> None:
        """Store a file: in one request up to 8 MiB, else in parts."""
        self._change()
        self._key(name)
        with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            if size <= PART:
                self._send(name, file.read(), advance)
                return
            given_up = threading.Event()
            try:
                self._now.uploads.run(lambda: self._send_parts(name, file, size, advance, given_up))
            except BaseException:
                given_up.set()  # Ctrl-C ends the waiting: the upload is to end, too
                raise

    def _send(self, name: str, data: bytes, advance: Advance) -> None:
        def put(client: Client, key: str) -> None:
            self._take(len(data))
            client.write(key, data)

        self._now.small.run(lambda: self._asked(name, put))
        advance(len(data))

    def _send_parts(self, name: str, file: IO[bytes], size: int, advance: Advance, given_up: threading.Event) -> None:
        step = max(PART, -(-size // (_PARTS * MIB)) * MIB)
        told = 0

        def parts() -> Iterator[bytes]:
            nonlocal told
            while (data := file.read(step)) and not given_up.is_set():
                self._take(len(data))
                yield data
                advance(told)
                told = len(data)
            if given_up.is_set():
                raise InterruptedError(f"the upload of '{name}' was given up")

        self._asked(name, lambda client, key: client.write_parts(key, parts(), step), once=True)
        advance(told)

    def create(self, name: str, data: bytes) -> bool:
        """One request that fails if the object is there."""
        self._change()
        self._key(name)

        def once() -> bool:
            for attempt in range(_CONFLICTS):
                try:
                    self._asked(name, lambda client, key: client.create(key, data), once=True)
                except AvcError as error:
                    cause = error.__cause__
                    trouble = cause.trouble if isinstance(cause, ClientError) else None
                    if trouble is Trouble.TAKEN:
                        return False
                    if trouble is Trouble.SILENT:
                        raise OutcomeUnknown(error.message, hint=error.hint) from error
                    if trouble is not Trouble.CONFLICT:
                        raise
                else:
                    return True
                after_no_answer(attempt - 2)  # the winner is known when the other request is over, so soon
            raise OutcomeUnknown(f"'{name}' at '{self.url}' is being created by others, again and again")

        return self._now.small.run(once)

    def remove(self, name: str) -> None:
        """Remove an object."""
        self._change()
        self._key(name)

        def delete(client: Client, key: str) -> None:
            try:
                client.remove(key)
            except ClientError as error:
                if error.trouble is not Trouble.MISSING:
                    raise

        self._now.small.run(lambda: self._asked(name, delete))

    def drop_unfinished(self, before: float) -> int:
        """Abort uploads in parts that began before *before*, where the store does not forget them by itself."""
        self._change()
        return self._now.small.run(
            lambda: self._asked("packs", lambda client, key: client.drop_unfinished(f"{key}/", before))
        )


class _Held:
    """What belongs to one process."""

    def __init__(self, connect: Callable[[], Client]) -> None:
        self.pid = os.getpid()
        self.small, self.parts, self.uploads = Lanes(_SMALL_AT_ONCE), Lanes(_PARTS_AT_ONCE), Lanes(_UPLOADS_AT_ONCE)
        self._connect, self._lock = connect, threading.Lock()

    @cached_property
    def _client(self) -> Client:
        return self._connect()

    def client(self) -> Client:
        """The connection, made when it is first asked for."""
        with self._lock:
            return self._client


class _Target:
    """The file that a download writes; closed when the last part that may still come has let go of it."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)


_NETWORK: Final = "check the network and the address, and try again"


def explain(place: ObjectPlace, error: ClientError, name: str = "") -> AvcError:
    """What to tell people about a request that failed."""
    what = f"'{name}' at '{place.url}'" if name else f"'{place.url}'"
    said = error.detail
    more = f" ({said})" if said else ""
    kind: type[AvcError]
    match error.trouble:
        case Trouble.NO_BUCKET:
            kind, text = BucketMissing, f"{place.holder} '{place.bucket}' does not exist"
            hint = "make it, or check the address"
        case Trouble.MISSING:
            kind, text = RemoteMissing, f"{what} is not there"
            hint = "check the address; 'avc fsck' tells what a version lacks"
        case Trouble.NO_CREDENTIALS:
            kind, text, hint = RemoteRefused, f"there are no credentials for '{place.url}': {said}", place.sign_in
        case Trouble.EXPIRED:
            kind, text = RemoteRefused, f"the credentials for '{place.url}' have expired{more}"
            hint = place.sign_in_again
        case Trouble.REFUSED | Trouble.WRONG:
            kind, text = RemoteRefused, f"{what} refuses these credentials{more}"
            hint = f"check the credentials and the {place.holder}'s policy"
        case Trouble.SILENT:
            kind, text, hint = RemoteUnavailable, f"{what} does not answer{more}", _NETWORK
        case Trouble.ELSEWHERE:
            kind, text = StorageError, f"{what} is in another region"
            hint = "name it: 'avc remote add … --region R'"
        case Trouble.PAST_END:
            kind, text, hint = Corrupt, f"{what} is cut short", ""
        case Trouble.TOO_LARGE:
            kind, text = Corrupt, f"{what} is larger than {said} bytes"
            hint = "whoever may write there damaged it"
        case _:
            kind, text, hint = StorageError, f"{what} failed: {said[:300]}", ""
    return kind(text, hint=hint)


def open_store(place: ObjectPlace, options: RemoteOptions) -> ObjectStore:
    """The transport to *place*, by the library that ``RemoteOptions.client`` asks for. Nothing is asked of it yet."""

    def connect() -> Client:
        if place.kind == "gcs":
            from artifactvc.storage import gcsclient

            return gcsclient.open_gcs(place, options)
        from artifactvc.storage import obstoreclient

        by_fsspec = options.client == "fsspec" or obstoreclient.lost_in_a_fork()
        if place.kind == "s3":

            def other() -> Client:
                from artifactvc.storage import fsspecclient  # and with it asyncio

                return fsspecclient.open_s3fs(place, options)

            return other() if by_fsspec else obstoreclient.open_s3(place, options, other)
        if by_fsspec:
            from artifactvc.storage import azureclient

            return azureclient.open_azure_sdk(place, options)
        return obstoreclient.open_azure(place, options)

    return ObjectStore(place, options, connect)
