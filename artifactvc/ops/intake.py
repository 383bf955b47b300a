"""What ``add`` takes: looks at the workspace become stored objects and changes of a manifest.

Only what differs from the stat cache is read, each file once, hashed while it is stored.
The cache saves a hash, never the question whether the store has the object (protocol L6).
"""

from __future__ import annotations

import contextlib
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from artifactvc.core.manifest import find_many, walk
from artifactvc.core.model import EMPTY, Digest, Entry
from artifactvc.errors import MissingObject, PathConflict
from artifactvc.ops import look
from artifactvc.ops.look import Look
from artifactvc.ops.session import Session
from artifactvc.ops.stand_ins import known, unmodified
from artifactvc.storage.bindings import Binding
from artifactvc.storage.bulk import Batch, BatchRead, put_batches
from artifactvc.storage.followed import key_of
from artifactvc.storage.statcache import WIDTH, FileStat, Recorded, StatCache
from artifactvc.storage.workspace import DirScan, file_stat, kind_of
from artifactvc.storage.writer import StoreWriter
from artifactvc.util.hashing import digest_bytes
from artifactvc.util.text import escape

_NONE: Final = bytes(32)


@dataclass
class _Directory:
    """One directory being taken: its files with the digests that are known, and which must be read."""

    found: Look
    scan: DirScan
    stats: array[int]
    digests: bytearray
    pending: list[int] = field(default_factory=list)

    def key(self, position: int) -> bytes:
        return bytes(self.digests[position * 32 : position * 32 + 32])

    def by_itself(self, position: int) -> bool:
        """Whether it is a link, whatever it counts as: not read with the other files."""
        name = self.scan.names[position]
        return _is_link(self, position) or name in self.scan.followed or name in self.scan.linked

    def put(self, position: int, key: bytes, stat: Sequence[int]) -> None:
        self.digests[position * 32 : position * 32 + 32] = key
        self.stats[position * WIDTH : (position + 1) * WIDTH] = array("q", stat)


@dataclass
class Taken:
    """What one artifact's looks gave."""

    looks: list[Look]
    key: tuple[str, str]
    directories: list[_Directory] = field(default_factory=list)
    changes: dict[str, Entry | None] = field(default_factory=dict)
    unchanged: int = 0
    files_read: int = 0
    bytes_read: int = 0
    _provided: dict[str, Binding] = field(default_factory=dict)

    def add(self, path: str, entry: Entry, found: Look) -> None:
        """Note what stands at *path* now; two bindings may not both say."""
        if len(self.looks) > 1:
            other = self._provided.setdefault(path, found.binding)
            if other.path != found.binding.path:
                raise PathConflict(
                    f"'{escape(other.path)}' and '{escape(found.binding.path)}' both have '{escape(path)}'",
                    hint="give one of them another place with --as PREFIX",
                )
        self.changes[path] = entry


def take(
    session: Session, against: look.Against, looks: list[Look], generation: int, writer: StoreWriter, *, move: bool
) -> Taken:
    """Store what differs from the stat cache, and work out what changes in the manifest that it is held against."""
    taken, root = Taken(looks, against.key), against.root
    for found in looks:
        taken.directories += _pending(session, found, generation, root)
    total = sum(len(directory.pending) for directory in taken.directories)
    session.progress.start("Storing", total=total, unit="files")
    _store(session, taken, writer, move=move)
    session.progress.finish()
    gone: set[str] = set()
    for found in looks:
        if found.exact:
            gone.update(found.vanished())
        else:
            gone.update(gone_from(session, root, found, taken))
    taken.changes.update((path, None) for path in gone if path not in taken.changes)
    if root != EMPTY and taken.changes:
        # A file that is what a reference leads to, or none, leaves the reference what it is.
        before = find_many(root, taken.changes, session.node)
        for path in unmodified(session, before, taken.changes):
            del taken.changes[path]
    return taken


def _pending(session: Session, found: Look, generation: int, root: Digest) -> Iterator[_Directory]:
    """The directories in which something is to be done, with what must be read."""
    asked = not (found.exact and found.generation == generation)
    directories = []
    for scan in found.scan.directories:
        if scan.same and not asked:
            continue
        digests, pending = scan.known()
        directories.append(_Directory(found, scan, scan.stats[:], digests, pending))
    present: set[str] | None = None
    if asked:
        known = [d.key(i).hex() for d in directories for i in range(len(d.scan.names)) if not _is_link(d, i)]
        present = session.avc.store.has(key for key in known if key != _NONE.hex())
    for directory in directories:
        if present is not None:
            absent = [i for i in range(len(directory.scan.names)) if _absent(directory, i, present)]
            absent = _without_references(session, root, directory, absent) if absent and root != EMPTY else absent
            directory.pending = sorted({*directory.pending, *absent})
        # A directory in which nothing differs but which is not what the manifest has is held against it whole.
        if directory.pending or not found.exact or not directory.scan.same:
            yield directory


def _without_references(session: Session, root: Digest, directory: _Directory, absent: list[int]) -> list[int]:
    """Those of *absent* that are no files which references lead to: of such the store needs no copy."""
    path = {i: directory.found.place(directory.scan.path, directory.scan.names[i]) for i in absent}
    before = find_many(root, path.values(), session.node)
    references = {p: entry for p, entry in before.items() if entry.kind == "r"}
    if not references:
        return absent
    held = known(session, references.values())

    def is_reference(i: int) -> bool:
        entry = references.get(path[i])
        told = held.get(key_of(entry)) if entry else None
        return told is not None and told.digest == directory.key(i).hex()

    return [i for i in absent if not is_reference(i)]


def _absent(directory: _Directory, position: int, present: set[str]) -> bool:
    """Whether the file's digest is known, but the store has not the object."""
    key = directory.key(position)
    return key != _NONE and not _is_link(directory, position) and key.hex() not in present


def _is_link(directory: _Directory, position: int) -> bool:
    return kind_of(directory.stats[position * WIDTH + 4]) == "l"


def _store(session: Session, taken: Taken, writer: StoreWriter, *, move: bool) -> None:
    workspace = os.fspath(session.avc.workspace)
    batches: list[Batch] = []
    where: list[tuple[_Directory, list[int]]] = []
    for directory in taken.directories:
        plain = []
        for position in directory.pending:
            if directory.scan.names[position] in directory.scan.linked:
                _keep_object(session, directory, position)
            elif directory.by_itself(position):
                _store_link(workspace, directory, position, writer)
            else:
                plain.append(position)
        if plain:
            path = f"{workspace}/{directory.scan.path}" if directory.scan.path else workspace
            batches.append(Batch(path, [directory.scan.names[position] for position in plain]))
            where.append((directory, plain))
    with contextlib.closing(put_batches(writer, batches, move=move)) as reads:
        _take_reads(session, taken, workspace, where, reads)
    _take_rest(taken, workspace)


def _take_reads(
    session: Session,
    taken: Taken,
    workspace: str,
    where: list[tuple[_Directory, list[int]]],
    reads: Iterator[BatchRead],
) -> None:
    for (directory, positions), read in zip(where, reads, strict=True):
        if len(positions) == len(directory.scan.names):
            directory.digests, directory.stats = bytearray(read.digests), read.stats
        else:
            for at, position in enumerate(positions):
                directory.put(position, read.digests[at * 32 : at * 32 + 32], read.stats[at * WIDTH : (at + 1) * WIDTH])
        taken.files_read += len(positions)
        taken.bytes_read += sum(read.stats[0::WIDTH])
        _note(taken, directory, positions, workspace)
        session.progress.advance(len(positions))


def _take_rest(taken: Taken, workspace: str) -> None:
    """Links, and files whose digests were known."""
    for directory in taken.directories:
        rest = [p for p in directory.pending if directory.by_itself(p)]
        _note(taken, directory, rest, workspace)
        if not directory.found.exact:
            done = set(directory.pending)
            _note(taken, directory, [p for p in range(len(directory.scan.names)) if p not in done], workspace)


def _store_link(workspace: str, directory: _Directory, position: int, writer: StoreWriter) -> None:
    name = directory.scan.names[position]
    path = "/".join(part for part in (workspace, directory.scan.path, name) if part)
    if name in directory.scan.followed:
        digest, stat = writer.put_file(os.path.realpath(path))
        directory.put(position, bytes.fromhex(digest), file_stat(stat))
    else:
        directory.digests[position * 32 : position * 32 + 32] = bytes.fromhex(digest_bytes(os.readlink(path).encode()))


def _keep_object(session: Session, directory: _Directory, position: int) -> None:
    """A link to an object of the store: it is there already, and is hashed only where the trust rule asks for it."""
    digest = directory.scan.linked[directory.scan.names[position]]
    path = session.avc.store.own_path(digest)
    if path is None:
        raise MissingObject(digest)
    directory.put(position, bytes.fromhex(digest), file_stat(os.stat(path)))


def _note(taken: Taken, directory: _Directory, positions: Sequence[int], workspace: str) -> None:
    """Entries for the files at *positions*, whose digests are known now."""
    found, scan, stats = directory.found, directory.scan, directory.stats
    text = directory.digests.hex()
    single, prefix = found.single, found.place(scan.path, "")
    for position in positions:
        name = scan.names[position]
        path = found.binding.prefix if single else f"{prefix}/{name}" if prefix else name
        mode = stats[position * WIDTH + 4]
        kind = kind_of(mode)
        if kind == "l":
            full = "/".join(part for part in (workspace, scan.path, name) if part)
            entry = Entry(path, "l", target=os.readlink(full))
        else:
            entry = Entry(path, kind, stats[position * WIDTH], text[position * 64 : position * 64 + 64])
        taken.add(path, entry, found)


def gone_from(session: Session, root: Digest, found: Look, taken: Taken) -> list[str]:
    """Hold all that was seen against the manifest; the paths that it has and the workspace has not."""
    gone: list[str] = []
    others = _others(session, taken)
    for entry in walk(root, session.node, found.prefix) if root != EMPTY else ():
        now = taken.changes.get(entry.path)
        if now is None:
            if entry.kind != "r" and not any(_provides(session, other, entry.path) for other in others):
                gone.append(entry.path)
        elif now == entry:
            del taken.changes[entry.path]
            taken.unchanged += 1
    if len(taken.looks) > 1:
        gone = [path for path in gone if path not in taken._provided]
    return gone


def _others(session: Session, taken: Taken) -> list[Binding]:
    """Bindings of the same artifact that are not looked at now, and may have paths in the same place."""
    now = {seen.binding.path for seen in taken.looks}
    artifact = session.avc.bindings.artifacts.get(taken.key)
    return [b for b in artifact.paths if b.path not in now] if artifact else []


def _provides(session: Session, other: Binding, path: str) -> bool:
    """Whether the file that stands for *path* in another binding is there, or was when that was last added."""
    if other.prefix and path != other.prefix and not path.startswith(f"{other.prefix}/"):
        return False
    inside = path[len(other.prefix) :].lstrip("/")
    file = "/".join(part for part in ("" if other.path == "." else other.path, inside) if part)
    if os.path.lexists(session.avc.workspace / file):
        return True
    directory, _, name = file.rpartition("/")
    row = StatCache(session.avc.connect).row(directory)
    return row is not None and name in row.names


def remember(cache: StatCache, taken: Taken) -> list[str]:
    """Put what was seen and read into the stat cache; the workspace's directories whose rows changed."""
    written: list[str] = []
    for directory in taken.directories:
        scan, found = directory.scan, directory.found
        if scan.same and not directory.pending:
            continue
        digests = directory.digests
        for position, name in enumerate(scan.names if scan.followed else ()):
            if name in scan.followed:  # what the link leads to is not watched
                digests[position * 32 : position * 32 + 32] = _NONE
        if found.names_one(scan):
            known = Recorded(FileStat(*directory.stats), digests.hex()) if scan.names and digests != _NONE else None
            cache.merge(scan.path, found.start.rpartition("/")[2], known, there=bool(scan.names))
            written.append(scan.path or ".")
            continue
        key = next(key for key, other in look.keys_of(found) if other is scan)
        cache.record_all(key, scan.names, directory.stats, bytes(digests))
        written.append(scan.path or ".")
    for found in taken.looks:
        for path in found.scan.gone:
            cache.forget(path)
            written.append(path)
    return written
