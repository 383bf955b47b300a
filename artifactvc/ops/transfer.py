"""Bring objects from remotes into the local store: only those asked for, by ranges where that is less.

Every object is checked against its digest before it is used. A pack of which most is
needed is fetched whole; of others, the ranges that are needed, neighbours together.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from artifactvc.core.model import Digest
from artifactvc.errors import AvcError, DigestMismatch, MissingObject, RemoteMissing, RemoteUnavailable, StorageError
from artifactvc.ops.session import Session, storing
from artifactvc.storage.packs import decode_object, whole_size
from artifactvc.storage.remote import Remote
from artifactvc.storage.remote_index import Place
from artifactvc.util.files import temporary
from artifactvc.util.hashing import digest_bytes

#: Ranges with a smaller gap between them are read as one.
_GAP: Final = 64 << 10
_RUN: Final = 16 << 20


def fetch_objects(session: Session, digests: Iterable[Digest]) -> set[Digest]:
    """Fetch *digests* from whichever remotes hold them, origin first; return those that are here now.

    A remote that cannot be reached is passed over, unless it was the last hope.
    """
    wanted = set(digests)
    got: set[Digest] = set()
    failed: AvcError | None = None
    origin = session.avc.origin
    for name in sorted(session.avc.remotes, key=lambda name: name != origin):
        left = wanted - got
        if not left:
            break
        if name in session.unreachable:
            failed = session.unreachable[name]
            continue
        try:
            got |= _from_remote(session, session.remote(name), left)
        except RemoteUnavailable as error:
            failed = session.unreachable[name] = error
        except StorageError as error:
            failed = error
    if failed is not None and wanted - got:
        raise failed
    return got


def require_objects(session: Session, digests: Sequence[Digest], what: str) -> None:
    """Fetch *digests*, all of them; MissingObject names what no remote has."""
    back = session.avc.store.bring_back(digests) if digests else set()
    digests = [digest for digest in digests if digest not in back]
    if not digests:
        return
    if not session.avc.remotes:
        raise MissingObject(
            digests[0],
            f"here, and no remote is configured: {what} needs it",
            hint="run 'avc fsck' to see what is missing",
        )
    got = fetch_objects(session, digests)
    lacking = [digest for digest in digests if digest not in got]
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise MissingObject(lacking[0], f"here nor on any remote: {what} needs it{more}")


def _from_remote(session: Session, remote: Remote, wanted: set[Digest]) -> set[Digest]:
    """Those of *wanted* that *remote* had; where gc has removed a file meanwhile, its log says where they are now."""
    remote.catch_up()
    while True:
        places = remote.locate(wanted)
        try:
            got = _take(session, remote, places)
            break
        except RemoteMissing:
            if not remote.fetch():
                raise
    for place in remote.locate_condemned(wanted - got).values():
        with contextlib.suppress(RemoteMissing):  # it may be gone, and is nowhere else
            got |= _take(session, remote, {place.digest: place})
    return got


def _take(session: Session, remote: Remote, places: Mapping[Digest, Place]) -> set[Digest]:
    by_file: dict[str, list[Place]] = {}
    for place in places.values():
        by_file.setdefault(place.file, []).append(place)
    if not by_file:
        return set()
    session.progress.start("Downloading", total=sum(p.stored for p in places.values()), unit="bytes")
    with storing(session) as writer:
        ranged: list[Place] = []
        for file, held in sorted(by_file.items()):
            total, count = remote.file_extent(file)
            needed = sum(place.stored for place in held)
            if count == 1 and held[0].codec == 0 and held[0].offset == 0:
                _take_whole(session, remote, writer, held[0])
                _count(session, held)
            elif needed * 2 >= total and total <= 256 << 20:
                _take_pack(session, remote, writer, file, held, whole_size(total, count))
                session.brought_objects += count
                session.brought_bytes += total
            else:
                ranged += held
        _take_ranges(session, remote, writer, ranged)
        _count(session, ranged)
    session.progress.finish()
    return set(places)


def _count(session: Session, places: Sequence[Place]) -> None:
    session.brought_objects += len(places)
    session.brought_bytes += sum(place.stored for place in places)


def _take_whole(session: Session, remote: Remote, writer: Any, place: Place) -> None:
    """A larger object: streamed to a file of its own, checked, then given its name."""
    staged = temporary(session.avc.tmp, "down")
    try:
        remote.transport.download(f"packs/{place.file}", staged, place.length)
        writer.adopt_object(staged, place.digest)
    finally:
        staged.unlink(missing_ok=True)
    session.progress.advance(place.stored)


def _take_pack(session: Session, remote: Remote, writer: Any, file: str, held: Sequence[Place], size: int) -> None:
    """A pack of which most is needed: fetched whole, every object in it checked."""
    staged: Path = temporary(session.avc.tmp, "down")
    try:
        remote.transport.download(f"packs/{file}", staged, size)
        writer.adopt_pack(staged)
    finally:
        staged.unlink(missing_ok=True)
    session.progress.advance(sum(place.stored for place in held))


def _take_ranges(session: Session, remote: Remote, writer: Any, places: Sequence[Place]) -> None:
    """Parts of packs: neighbours in one request, each object checked and stored."""
    runs: list[list[Place]] = []
    for place in sorted(places, key=lambda p: (p.file, p.offset)):
        last = runs[-1][-1] if runs else None
        near = last is not None and last.file == place.file and place.offset - (last.offset + last.stored) <= _GAP
        if near and place.offset + place.stored - runs[-1][0].offset <= _RUN:
            runs[-1].append(place)
        else:
            runs.append([place])
    wanted = [(f"packs/{run[0].file}", run[0].offset, run[-1].offset + run[-1].stored - run[0].offset) for run in runs]
    for position, data in remote.transport.read_ranges(wanted):
        run = runs[position]
        for place in run:
            start = place.offset - run[0].offset
            stored = memoryview(data)[start : start + place.stored]
            where = f"'{place.file}' of remote '{remote.name}'"
            unpacked = decode_object(stored, place.codec, place.length, where)
            actual = digest_bytes(unpacked)
            if actual != place.digest:
                raise DigestMismatch(place.digest, actual, where)
            writer.put(unpacked)
            session.progress.advance(place.stored)


def clean_downloads(tmp: Path, older_than: float) -> None:
    """Remove downloads that a killed command left, older than *older_than* (epoch seconds)."""
    for entry in os.scandir(tmp):
        if entry.name.startswith("down-") and entry.stat().st_mtime < older_than:
            Path(entry.path).unlink(missing_ok=True)
