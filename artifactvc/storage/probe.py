"""The transport for an address, and what its storage can do."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from artifactvc.errors import (
    AvcError,
    OutcomeUnknown,
    ReadOnly,
    RemoteMissing,
    RemoteRefused,
    UnsafeRemote,
    UsageError,
)
from artifactvc.storage.objectplace import parse_place
from artifactvc.storage.transport import RemoteOptions, Transport
from artifactvc.util.text import escape

_RACERS: Final = 4
_ROUNDS: Final = 3


@dataclass(frozen=True)
class Probe:
    """What a remote's storage can do."""

    read_only: bool = False
    notes: tuple[str, ...] = ()


def open_transport(url: str, options: RemoteOptions) -> Transport:
    """The transport for *url*: a directory, or an object store (``objectplace.py``)."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme == "file":
        from artifactvc.storage.directory import DirectoryTransport

        return DirectoryTransport(Path(rest if separator else url), options)
    place = parse_place(url)
    if place is not None:
        from artifactvc.storage.objectstore import open_store

        return open_store(place, options)
    raise UsageError(
        f"'{escape(scheme)}://' is not a kind of remote that this version can reach",
        hint="use a directory, or s3://, gs:// or az:// with bucket and path",
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
    if standing not in made:
        # Somebody who was not told "yes" has written. With nobody told so, an answer was lost, and one winner it is.
        return len(made) + 1
    return len(made)
