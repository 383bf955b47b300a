"""Files of a version written from the local store, by more than one process where that pays.

Small files come out of their packs in the order in which they lie there, are checked
against their digests, and are written; creating a file is mostly system time, so with
many files forked children do it side by side.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Generator, Sequence
from typing import Final, NamedTuple

from blake3 import blake3

from artifactvc.core.model import EMPTY, Digest
from artifactvc.errors import BadManifest, DigestMismatch, MissingObject
from artifactvc.storage.packs import RAW, PackRow, decode_object, iter_stored
from artifactvc.storage.place import Placer
from artifactvc.storage.statcache import WIDTH
from artifactvc.storage.store import Store
from artifactvc.util.pool import Children, Send, workers

#: Below so many files the fork costs more than it saves.
FORK_FILES: Final = 1500
_LOT: Final = 500


class File(NamedTuple):
    """One file to write: its path below the destination."""

    path: str
    digest: Digest
    size: int
    executable: bool
    replace: bool


class _Packed(NamedTuple):
    """Files of one pack, in the order of their bytes; objects that several files share come once."""

    serial: int
    rows: list[PackRow]


class Located(NamedTuple):
    """Files by where their objects are."""

    packed: dict[int, list[PackRow]]  # serial number of a pack -> rows wanted of it
    own: list[File]  # objects with a file of their own
    by_digest: dict[Digest, list[File]]
    empty: list[File]  # files without a byte, whose object no store holds


def locate(store: Store, files: Sequence[File]) -> Located:
    """Find the objects of *files*, all of which are here; one question for all."""
    by_digest: dict[Digest, list[File]] = {}
    for file in files:
        by_digest.setdefault(file.digest, []).append(file)
    packed = store.places.in_packs(by_digest)
    names = store.packs.names()
    found = {row.digest for serial, rows in packed.items() if serial in names for row in rows}
    own = [file for file in files if file.digest not in found and file.digest != EMPTY]
    here = {serial: rows for serial, rows in packed.items() if serial in names}
    return Located(here, own, by_digest, by_digest.get(EMPTY, []))


def write_packed(
    store: Store, placer: Placer, located: Located, advance: Callable[[int], None], *, stats: bool
) -> Generator[tuple[list[str], array[int]], None, None]:
    """Write the files whose objects are in packs.

    With *stats*, gives paths and five numbers each (``FileStat``) of those written: as they
    were when written, with size -1 where the file has been changed since.
    """
    lots = []
    for serial, rows in located.packed.items():
        rows.sort(key=_offset)
        lots += [_Packed(serial, rows[i : i + _LOT]) for i in range(0, len(rows), _LOT)]
    by_digest = located.by_digest
    if located.empty:
        if any(file.size for file in located.empty):
            raise wrong_size(EMPTY)
        yield _write_each(placer, located.empty, b"", stats=stats)
    count = min(workers(), len(lots))
    if count < 2 or sum(len(lot.rows) for lot in lots) < FORK_FILES:
        for lot in lots:
            yield _write(store, placer, lot, by_digest, stats=stats)
            advance(len(lot.rows))
        return
    for lot in lots:
        store.packs.fd(lot.serial)
    share = -(-len(lots) // count)  # neighbours to one child, so that a directory has one writer
    shares = [lots[number * share : (number + 1) * share] for number in range(count)]

    def work(number: int, send: Send) -> None:
        placer.forget()
        done = []
        for lot in shares[number]:
            written = _write(store, placer, lot, by_digest, stats=stats)
            done += [written] if stats else []
            send(len(lot.rows))
        for paths, numbers in done:
            confirm(placer, paths, numbers)
            send((paths, numbers.tobytes()))

    with Children(count, work) as children:
        for position in range(share):
            for number, mine in enumerate(shares):
                if position < len(mine):
                    advance(children.report(number))
        for number, mine in enumerate(shares):
            for _ in mine if stats else ():
                paths, raw = children.report(number)
                numbers = array("q")
                numbers.frombytes(raw)
                yield paths, numbers


def _offset(row: PackRow) -> int:
    return row.offset


def _write(
    store: Store, placer: Placer, lot: _Packed, by_digest: dict[Digest, list[File]], *, stats: bool
) -> tuple[list[str], array[int]]:
    paths: list[str] = []
    numbers = array("q")
    where = f"pack '{store.packs.name(lot.serial)}'"
    for row, stored in iter_stored(store.packs.fd(lot.serial), lot.rows):
        data = stored if row.codec == RAW else memoryview(decode_object(stored, row.codec, row.length, where))
        actual = blake3(data).hexdigest()
        if actual != row.digest:
            raise DigestMismatch(row.digest, actual, where)
        files = by_digest[row.digest]
        if files[0].size != row.length or (len(files) > 1 and any(file.size != row.length for file in files)):
            raise wrong_size(row.digest)
        written, more = _write_each(placer, files, data, stats=stats)
        paths += written
        numbers += more
    return paths, numbers


def _write_each(
    placer: Placer, files: Sequence[File], data: bytes | memoryview, *, stats: bool
) -> tuple[list[str], array[int]]:
    """Write the same bytes to each of *files*; with *stats*, the paths written and their numbers."""
    numbers = array("q")
    for file in files:
        s = placer.write(file.path, data, executable=file.executable, replace=file.replace, stat=stats)
        if s is not None:
            numbers.extend((s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_mode))
    return [file.path for file in files] if stats else [], numbers


def confirm(placer: Placer, paths: Sequence[str], stats: array[int]) -> None:
    """Look at written files again: one that is not as it was written gets size -1, and is not recorded."""
    for position, path in enumerate(paths):
        at = position * WIDTH
        now = placer.lstat(path)
        if now is None or (now.st_size, now.st_mtime_ns, now.st_ino) != (stats[at], stats[at + 1], stats[at + 3]):
            stats[at] = -1
        else:
            stats[at + 2] = now.st_ctime_ns


def wrong_size(digest: Digest) -> BadManifest:
    """A manifest that says another size than the object has."""
    return BadManifest(f"a manifest is damaged: object '{digest:.12}' has not the size that it says")


def write_own(store: Store, placer: Placer, file: File, link: str | None) -> str:
    """Write or link one larger file; ``linked`` or ``copied``."""
    source = store.own_path(file.digest)
    if source is None:
        raise MissingObject(file.digest)
    if source.stat().st_size != file.size:
        raise wrong_size(file.digest)
    wanted = link is not None and not file.executable
    if wanted and placer.link(file.path, source, hard=link == "hardlink", replace=file.replace):
        if link == "hardlink":
            store.restamp(file.digest)
        return "linked"
    placer.copy(file.path, source, file.size, executable=file.executable, replace=file.replace)
    return "copied"


def is_beginning(store: Store, digest: Digest, path: str | os.PathLike[str], size: int) -> bool:
    """Whether the *size* bytes of the file at *path* are how the object *digest* begins."""
    left = size
    with open(path, "rb") as file:
        for chunk in store.chunks(digest):
            want = bytes(chunk[:left])
            if file.read(len(want)) != want:
                return False
            left -= len(want)
            if left == 0:
                return True
    return left == 0
