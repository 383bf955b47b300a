"""How a remote is reached: the few deeds that every kind of storage offers alike.

A transport moves bytes under names and knows nothing of logs or objects. ``create`` is the
one promise that sharing rests on: of any number of racing calls for one name, exactly one
makes the file, and nobody ever sees half of it (protocol R1). ``probe`` finds out whether
the storage keeps it.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from artifactvc.errors import (
    AvcError,
    Corrupt,
    OutcomeUnknown,
    ReadOnly,
    RemoteMissing,
    RemoteRefused,
    UnsafeRemote,
    UsageError,
)
from artifactvc.util.text import escape

_NAME: Final = re.compile(r"[a-z]+(?:[./_-]?[0-9A-Za-z]+)*(?:/[0-9A-Za-z]+(?:[._-][0-9A-Za-z]+)*)*")
_RACERS: Final = 4
_ROUNDS: Final = 3


@dataclass(frozen=True)
class RemoteOptions:
    """What is said of a remote besides its address. Credentials are never among it."""

    endpoint_url: str | None = None
    profile: str | None = None
    region: str | None = None
    timeout: float = 30.0  # seconds without a byte, after which a request is given up and tried again
    retries: int = 4
    read_only: bool = False


@dataclass(frozen=True)
class Probe:
    """What a remote's storage can do."""

    read_only: bool = False
    notes: tuple[str, ...] = ()


class Transport(Protocol):
    """One remote's storage. Names are relative, checked by ``check_name``.

    Raises RemoteMissing, RemoteRefused, RemoteUnavailable, ReadOnly, NoSpace.
    """

    url: str
    kind: str
    read_only: bool

    def read(self, name: str, *, limit: int) -> bytes:
        """A whole file of at most *limit* bytes."""

    def read_many(self, names: Sequence[str], *, limit: int) -> list[bytes | None]:
        """Files of at most *limit* bytes each; None for one that is not there, or may not be asked for (R2)."""

    def read_ranges(self, wanted: Sequence[tuple[str, int, int]]) -> Iterator[tuple[int, bytes]]:
        """(position in *wanted*, bytes) of each (name, start, length), in any order, each of exactly that length."""

    def download(self, name: str, target: Path, size: int) -> None:
        """Write a file of *size* bytes to *target*, which is not there yet."""

    def upload(self, name: str, source: Path | bytes) -> None:
        """Store a file under a name that is used once; durable when this returns."""

    def create(self, name: str, data: bytes) -> bool:
        """Create a small file unless it exists; say whether this call made it. OutcomeUnknown if no answer came."""

    def remove(self, name: str) -> None:
        """Remove a file; no error if it is not there."""


def check_name(name: str) -> str:
    """Return *name* if it is one that remotes have (protocol H3), before any path or URL is made of it."""
    if len(name) > 300 or _NAME.fullmatch(name) is None:
        raise Corrupt(f"bad name '{escape(name[:80])}' of a file on a remote")
    return name


def open_transport(url: str, options: RemoteOptions) -> Transport:
    """The transport for *url*: a directory, or ``s3://bucket/path``."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme == "file":
        from artifactvc.storage.directory import DirectoryTransport

        return DirectoryTransport(Path(rest if separator else url), options)
    if scheme == "s3":
        from artifactvc.storage.s3 import S3Transport

        return S3Transport(rest, options)
    raise UsageError(
        f"'{escape(scheme)}://' is not a kind of remote that this version can reach",
        hint="use a directory or s3://bucket/path",
    )


def probe(transport: Transport, *, single_writer: bool = False) -> Probe:
    """Find out whether the storage can be written, and whether ``create`` has one winner in a race.

    UnsafeRemote if it has more, unless only one clone will ever write (*single_writer*).
    """
    notes: list[str] = []
    if transport.read_only:
        return Probe(read_only=True)
    try:
        for _ in range(_ROUNDS):
            winners = _race(transport, notes)
            if winners == 1:
                continue
            if not single_writer:
                raise UnsafeRemote(
                    f"'{transport.url}' let {winners} of {_RACERS} writers create one file",
                    hint="if only one clone will ever push there, add it with --single-writer",
                )
            notes.append("cannot create a file once: only one clone may push")
            break
    except (RemoteRefused, ReadOnly):
        try:
            transport.read("avc.json", limit=1 << 16)
        except RemoteMissing:
            pass
        else:
            return Probe(read_only=True, notes=("these credentials may only read",))
        raise
    return Probe(notes=tuple(dict.fromkeys(notes)))


def _race(transport: Transport, notes: list[str]) -> int:
    name = f"probe/{secrets.token_hex(16)}"
    barrier = threading.Barrier(_RACERS)
    made: list[bytes] = []
    failed: list[AvcError] = []

    def run(mark: bytes) -> None:
        barrier.wait()
        try:
            if transport.create(name, mark):
                made.append(mark)
        except OutcomeUnknown:
            pass  # what stands there is looked at below
        except AvcError as error:  # raised again below, in the caller's thread
            failed.append(error)

    threads = [threading.Thread(target=run, args=(b"probe %d" % i,)) for i in range(_RACERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    standing = transport.read(name, limit=64)
    try:
        transport.remove(name)
    except AvcError:
        notes.append("files cannot be removed: gc will not work with these credentials")
    if made and standing not in made:
        return len(made) + 1  # somebody who was told "no" has written
    return len(made)
