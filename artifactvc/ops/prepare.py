"""A manifest that a program prepares: a base and what is changed in it, until it becomes a version.

Bytes go straight into the store, hashed on the way; there is no staging copy. Small ones
are held in memory until there are enough of them for a pack. Whatever is in the store is
named by a draft file of this process before the store's lock is let go (protocol L2, L4),
so gc cannot take it, and drops it when the process is gone. The lock is held only while
something is stored, never while the program does other things.
"""

from __future__ import annotations

import os
import secrets
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from blake3 import blake3

from artifactvc.core.imported import Imported
from artifactvc.core.manifest import check_path, find, update, walk
from artifactvc.core.model import EMPTY, Digest, Entry, Root
from artifactvc.errors import PathConflict, UnknownEntry
from artifactvc.ops import put, resolve
from artifactvc.ops.session import Session
from artifactvc.ops.trusted import trusted
from artifactvc.storage.drafts import Draft
from artifactvc.storage.workspace import kind_of
from artifactvc.storage.writer import StoreWriter, read_small
from artifactvc.util.text import escape, near

#: Bytes of small objects that are held in memory before they are stored.
_HELD: Final = 8 << 20


class Prepared:
    """Content being prepared for one version of an artifact. Not safe for threads: its owner takes turns.

    Methods that touch the repository are given its session each time, since the process
    may have been forked in between.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        base: Digest = EMPTY,
        origins: Digest | None = None,
        imported: Mapping[str, Imported] = MappingProxyType({}),
    ) -> None:
        self.name, self.kind, self.base = name, kind, base
        self.sources: dict[str, str] = {}  # absolute local path -> the last entry that it became
        self.origins = origins  # what says where files of the base were imported from
        self.imported = dict(imported)  # the same of what was imported since, by path
        self._told, self._untold = origins, bool(imported)  # of the whole, as last stored; whether there is news
        self._changes: dict[str, Entry | None] = {}
        self._foreign = False  # whether an entry was taken over whose object may not be here
        self._directories: set[str] = set()  # above changed paths that are entries
        self._held: dict[bytes, bytes] = {}
        self._held_bytes = 0
        self._nodes: dict[Digest, bytes] = {}  # of the manifest as last worked out, not stored yet
        self._root: Root | None = None
        self._draft: Draft | None = None
        self._pid = 0

    # ---- what is in it ---------------------------------------------------------------------------

    def find(self, session: Session, path: str) -> Entry | None:
        """The entry at exactly *path*, or None."""
        if path in self._changes:
            return self._changes[path]
        return find(self.base, path, session.node) if self.base != EMPTY else None

    def entries(self, session: Session, prefix: str = "") -> Iterator[Entry]:
        """The entries at or below *prefix*, in order."""
        changed = sorted((p for p in self._changes if _is_below(p, prefix)), key=str.encode)
        position = 0
        for entry in walk(self.base, session.node, prefix) if self.base != EMPTY else ():
            key = entry.path.encode()
            while position < len(changed) and changed[position].encode() < key:
                yield from self._given(changed[position])
                position += 1
            if position < len(changed) and changed[position] == entry.path:
                yield from self._given(entry.path)
                position += 1
            else:
                yield entry
        for path in changed[position:]:
            yield from self._given(path)

    def _given(self, path: str) -> Iterator[Entry]:
        entry = self._changes[path]
        if entry is not None:
            yield entry

    def root(self, session: Session) -> Root:
        """Digest, count and size of the manifest as it is now. Nothing is stored."""
        if self._root is None:
            fresh: dict[Digest, bytes] = {}

            def keep(data: bytes) -> Digest:
                digest = blake3(data).hexdigest()
                fresh[digest] = data
                return digest

            def read(digest: Digest) -> bytes:
                data = fresh.get(digest)
                return session.node(digest) if data is None else data

            self._root = update(self.base, self._changes, read, keep)
            self._nodes = {digest: data for digest, data in fresh.items() if data}
        return self._root

    # ---- changing it -------------------------------------------------------------------------------

    def add_file(self, session: Session, source: str, path: str, *, overwrite: bool = False) -> Entry:
        """Take the file at *source*, through a link too; its bytes are taken now, whatever becomes of it later."""
        real = os.path.realpath(source)
        small = read_small(real)
        if small is None:
            with session.avc.writing():
                with session.avc.writer() as writer:
                    digest, stat = writer.put_file(real)
                    entry = Entry(path, kind_of(stat.st_mode), stat.st_size, digest)
                    self.set(session, entry, overwrite=overwrite)
                    self._write(session, writer)
                self._save(session)
        else:
            data, stat = small
            entry = Entry(path, kind_of(stat.st_mode), stat.st_size, blake3(data).hexdigest())
            self.set(session, entry, overwrite=overwrite)
            self._hold(session, data)
        self.sources[os.path.abspath(source)] = path
        return entry

    def add_bytes(self, session: Session, data: bytes, path: str, *, overwrite: bool = False) -> Entry:
        """Take bytes that are in memory."""
        entry = Entry(path, "f", len(data), blake3(data).hexdigest())
        self.set(session, entry, overwrite=overwrite)
        self._hold(session, data)
        return entry

    def add_directory(self, session: Session, source: str, prefix: str, *, overwrite: bool = False) -> list[Entry]:
        """Take all files below a directory, as links lead; cycles of links end, ``.avcignore`` is obeyed."""
        with session.avc.writing():
            with session.avc.writer() as writer:
                what = put.Source(source, prefix, follow=True, ignore=True)
                found = list(put.entries_of(session, writer, Path(os.path.abspath(source)), what))
                for entry in found:
                    self.set(session, entry, overwrite=overwrite)
                self._write(session, writer)
            self._save(session)
        base = os.path.abspath(source)
        self.sources.update((f"{base}/{e.path[len(prefix) + 1 if prefix else 0 :]}", e.path) for e in found)
        return found

    def set(self, session: Session, entry: Entry, *, overwrite: bool = False) -> None:
        """Let *entry* stand at its path; its object is, or will be, in the store.

        PathConflict if other content stands there and not *overwrite*, or a directory does.
        """
        path = check_path(entry.path)
        there = self.find(session, path)
        if there is not None:
            if (there.digest or there) != (entry.digest or entry) and not overwrite:
                raise _same_path(there, entry)
        else:
            self._check_place(session, path)
        self._change(path, entry)

    def take_over(self, session: Session, entry: Entry) -> None:
        """Let an entry of another version stand here, too: its bytes are shared."""
        self.set(session, entry)
        self._foreign = True
        self.flush(session)

    def remember(self, lines: Iterable[Imported]) -> None:
        """Keep where files came from that were imported into it."""
        fresh = {line.path: line for line in lines}
        self.imported.update(fresh)
        self._untold = self._untold or bool(fresh)

    def take_all(self, session: Session, entries: Iterable[Entry]) -> None:
        """Let entries stand here whose bytes are elsewhere, all of them or none; PathConflict."""
        before = dict(self._changes)
        try:
            for entry in entries:
                self.set(session, entry)
                self._foreign |= entry.is_file
        except PathConflict:
            self._changes, self._root = before, None
            self._find_directories()
            raise
        self.flush(session)

    def _check_place(self, session: Session, path: str) -> None:
        parent = path.rpartition("/")[0]
        while parent:
            if parent in self._directories:
                break
            if self.find(session, parent) is not None:
                raise PathConflict(f"'{parent}' is a file and would be a directory of '{path}'")
            parent = parent.rpartition("/")[0]
        if path in self._directories or self.base != EMPTY:
            below = next(self.entries(session, path), None)
            if below is not None:
                raise PathConflict(f"'{path}' is a file and would be a directory of '{below.path}'")

    def _change(self, path: str, entry: Entry | None) -> None:
        self._changes[path] = entry
        self._root = None
        if entry is not None:
            parent = path.rpartition("/")[0]
            while parent and parent not in self._directories:
                self._directories.add(parent)
                parent = parent.rpartition("/")[0]

    def _find_directories(self) -> None:
        """Find again what is a directory after entries went: some may be empty now."""
        self._directories.clear()
        for name, entry in self._changes.items():
            if entry is not None:
                self._change(name, entry)

    def remove(self, session: Session, path: str) -> list[str]:
        """Take out the entry at *path*, else all below it; the paths that went. UnknownEntry if there is neither."""
        path = path.rstrip("/")
        gone = [path] if self.find(session, path) is not None else [e.path for e in self.entries(session, path)]
        if not path or not gone:
            known = [entry.path for entry, _ in zip(self.entries(session), range(10_000), strict=False)]
            close = near(path, known)
            raise UnknownEntry(
                f"no entry '{path}' in '{self.name}'",
                hint=f"did you mean '{close[0]}'?" if close else "see artifact.manifest.entries",
            )
        for name in gone:
            self._change(name, None)
        self._find_directories()
        return gone

    # ---- into the store ------------------------------------------------------------------------------

    def _hold(self, session: Session, data: bytes) -> None:
        key = blake3(data).digest()
        if key not in self._held:
            self._held[key] = data
            self._held_bytes += len(data)
        if self._held_bytes > _HELD:
            self.flush(session)

    def _write(self, session: Session, writer: StoreWriter) -> None:
        """Put what is held, and the manifest as it is now; the caller holds the store's lock and closes the writer."""
        self.root(session)
        for data in self._held.values():
            writer.put(data)
        for data in self._nodes.values():
            writer.put_node(data)
        self._held, self._held_bytes, self._nodes = {}, 0, {}
        if self._untold:
            from artifactvc.ops.imported import write_imported

            self._told = write_imported(session, writer, self.origins, self.base, self.imported)
            self._untold = False

    def _save(self, session: Session) -> Draft:
        """Name all that is stored by this process's draft file; the caller holds the store's lock."""
        root = self.root(session).digest
        if self._draft is None or self._pid != os.getpid():
            self._pid = os.getpid()
            self._draft = Draft(
                f"p-{secrets.token_hex(16)}", session.project, self.name, self.kind, secrets.token_hex(16), root,
                self.base if self.base != EMPTY else None, None, put.owner(), session.clock(),
            )  # fmt: skip
            weakref.finalize(self, _forget, session.avc.drafts.directory / f"{self._draft.id}.json", self._pid)
        self._draft = replace(self._draft, root=root, sources=self._told)
        session.avc.drafts.save(self._draft)
        return self._draft

    def flush(self, session: Session) -> Draft:
        """Store everything now; the draft that names it."""
        with session.avc.writing():
            self.root(session)
            if self._held or self._nodes or self._untold:
                with session.avc.writer() as writer:
                    self._write(session, writer)
            return self._save(session)

    def land(self, session: Session, finish: Callable[[Draft], None]) -> None:
        """Store everything and call *finish* with the draft, under one lock; then the draft file goes."""
        with session.avc.writing():
            draft = self.flush(session)
            _require_complete(session, self.name, self.base, draft.root, foreign=self._foreign)
            finish(draft)
            session.avc.drafts.remove(draft.id)
            self._draft = None


def _require_complete(session: Session, name: str, base: Digest, root: Digest, *, foreign: bool) -> None:
    """What was not stored by this draft must be here, or on a remote: gc may have taken it since (P2, P3)."""
    from artifactvc.ops.complete import require_complete

    sql = "SELECT 1 FROM version WHERE digest = ? AND live = 1"
    live = session.index.connection.execute(sql, (base,)).fetchone() is not None
    if foreign or not (live or base == EMPTY):
        require_complete(session, root, what=f"'{name}'", known=[base] if live else [])


def on_newest(session: Session, artifact: str, prepared: Prepared) -> Prepared:
    """The same changes on the newest version of *artifact* (``project/name``); the same where there is none."""
    newest = resolve.newest_of(session, artifact)
    if newest is None:
        return prepared
    base = trusted(session, newest["digest"])
    merged = Prepared(prepared.name, prepared.kind, base, newest["sources"], prepared.imported)
    prepared.flush(session)
    for entry in prepared.entries(session):
        merged.set(session, entry, overwrite=True)
    return merged


def _forget(path: Path, pid: int) -> None:
    """A draft whose object is gone is nobody's; in a forked child it is the parent's."""
    if pid == os.getpid():
        try:
            path.unlink(missing_ok=True)
        except OSError:
            return  # a repository that is gone or read-only: gc drops the draft


def _is_below(path: str, prefix: str) -> bool:
    return not prefix or path == prefix or path.startswith(prefix + "/")


def _same_path(there: Entry, entry: Entry) -> PathConflict:
    text = f"cannot add the same path twice: '{there.path}' is"
    if there.uri or entry.uri:
        return PathConflict(
            f"{text} {_what(there)} and would be {_what(entry)}", hint="remove it first, or give another name="
        )
    return PathConflict(f"{text} there with other content", hint="remove it first, or give overwrite=True")


def _what(entry: Entry) -> str:
    return f"a reference to '{escape(entry.uri)}'" if entry.uri else "a stored file"
