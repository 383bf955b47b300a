"""The transport for an address, and what its storage can do."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field
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

#: What an address may look like, for hints.
KINDS: Final = "a directory, s3://, gs:// or az:// with bucket and path, sftp://HOST/PATH, or https:// to read only"
_KINDS: Final = {
    "directory": "a directory",
    "s3": "S3",
    "gcs": "Google Cloud Storage",
    "azure": "Azure Blob storage",
    "sftp": "a directory by SFTP",
    "http": "files over HTTP",
}
_RACERS: Final = 4
_ROUNDS: Final = 3


@dataclass(frozen=True)
class Probe:
    """What a remote's storage can do; *found* says it in one line, *notes* what will not work."""

    read_only: bool = False
    notes: tuple[str, ...] = ()
    found: str = field(default="", compare=False)


def open_transport(url: str, options: RemoteOptions) -> Transport:
    """The transport for *url*: a directory, or an address of one of the kinds in README, "Share"."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme == "file":
        from artifactvc.storage.directory import DirectoryTransport

        return DirectoryTransport(Path(rest if separator else url), options)
    if scheme in ("sftp", "ssh"):
        from artifactvc.storage.sftp import SftpTransport

        return SftpTransport(url, options)
    place = parse_place(url)
    if place is not None:
        from artifactvc.storage.objectstore import open_store

        return open_store(place, options)
    if scheme in ("http", "https"):
        from artifactvc.storage.http import HttpTransport

        return HttpTransport(url, options)
    raise UsageError(
        f"'{escape(scheme)}://' is not a kind of remote that this version can reach",
        hint=f"use {KINDS}",
    )


def probe(transport: Transport, *, single_writer: bool = False, listing: bool = True) -> Probe:
    """Find out whether the storage can be written, and whether ``create`` has one winner in a race.

    UnsafeRemote if it has more, unless only one clone will ever write (*single_writer*). With *listing*,
    whether files can be listed, too.
    """
    notes: list[str] = []
    kind = _KINDS.get(transport.kind, transport.kind)
    if transport.read_only:
        return Probe(read_only=True, found=f"found {kind}, to be read only")
    try:
        once = _creates_once(transport, notes, single_writer=single_writer)
    except (RemoteRefused, ReadOnly):
        try:
            transport.read("avc.json", limit=1 << 16)
        except RemoteMissing:
            pass
        else:
            note = "these credentials may only read"
            return Probe(read_only=True, notes=(note,), found=f"found {kind}, to be read only")
        raise
    removes = not notes
    lists = not listing or _lists(transport)
    if not lists:
        notes.append("files cannot be listed: gc and fsck of this remote will not work with these credentials")
    if not once:
        notes.append("cannot create a file once: only one clone may push")
    able = [
        f"creates a file once{f' ({transport.means})' if transport.means else ''}" if once else "overwrites files",
        *(["lists" if lists else "does not list"] if listing else []),
        "removes" if removes else "does not remove",
    ]
    return Probe(notes=tuple(dict.fromkeys(notes)), found=f"found {kind}: {', '.join(able)}")


def _creates_once(transport: Transport, notes: list[str], *, single_writer: bool) -> bool:
    """Whether each of a few races had one winner; UnsafeRemote if not, unless one clone alone will write."""
    fault = ""
    for _ in range(_ROUNDS):
        winners = _race(transport, notes)
        if winners != 1:
            fault = f"let {winners} of {_RACERS} writers create one file"
        elif transport.doubt:
            fault = f"may let two writers create one file: {transport.doubt}"
        if fault:
            break
    if fault and not single_writer:
        raise UnsafeRemote(
            f"'{transport.url}' {fault}", hint="if only one clone will ever push there, add it with --single-writer"
        )
    return not fault


def _lists(transport: Transport) -> bool:
    try:
        transport.list_names("probe")
    except RemoteRefused:
        return False
    return True


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
