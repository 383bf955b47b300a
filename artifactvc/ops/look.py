"""The workspace against a manifest: what ``add``, ``status`` and ``diff`` have in common.

Every path taken is a binding: a place in the workspace and the place in the artifact that
it stands for. A row of the table ``binding`` says "the stat cache's rows at and below this
path are exactly what manifest *root* has there". While that holds, only directories that
differ from their rows are looked at, and the manifest is not read: the cost follows the
change (design, section 2, idea 6).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from artifactvc.core import manifest
from artifactvc.core.model import EMPTY, Digest, Entry
from artifactvc.errors import UnreadableFile
from artifactvc.ops.session import Session
from artifactvc.storage import bindings, ignore
from artifactvc.storage.bindings import Binding, Bound
from artifactvc.storage.ignore import Ignore
from artifactvc.storage.loose import hash_file
from artifactvc.storage.statcache import FileStat, StatCache
from artifactvc.storage.workspace import DirScan, Scan, ScanOptions, file_key, kind_of, scan, scan_file, scan_name
from artifactvc.util.hashing import digest_bytes
from artifactvc.util.text import escape

#: Where downloads go by default; never taken (design, section 4).
DOWNLOADS = "artifacts"


@dataclass(frozen=True)
class Seen:
    """One file of the workspace. *digest* is None where it must be read; of a link it is that of its target."""

    path: str  # in the artifact
    file: str  # in the workspace
    stat: FileStat
    digest: Digest | None
    followed: bool

    @property
    def kind(self) -> str:
        """``f``, ``x`` or ``l``."""
        return kind_of(self.stat.mode)


@dataclass
class Look:
    """What one look at a binding, or at a directory inside one, found."""

    binding: Binding
    start: str  # what was looked at, relative to the workspace
    scan: Scan
    exact: bool  # the rows are what the manifest has: whatever is as recorded needs no question
    generation: int  # of the store, when that was so
    single: bool  # one file that is bound by itself

    def place(self, directory: str, name: str) -> str:
        """The artifact's path of a file in the workspace."""
        if self.single:
            return self.binding.prefix
        base = self.binding.path
        inside = directory if base == "." else directory[len(base) + 1 :]
        return "/".join(part for part in (self.binding.prefix, inside, name) if part)

    @property
    def prefix(self) -> str:
        """The artifact's path that *start* stands for; empty for all of it."""
        if self.single:
            return self.binding.prefix
        base = self.binding.path
        inside = "" if self.start == base else self.start if base == "." else self.start[len(base) + 1 :]
        return "/".join(part for part in (self.binding.prefix, inside) if part)

    def names_one(self, directory: DirScan) -> bool:
        """Whether this is about one name in a directory that was not looked at whole."""
        return self.start != self.binding.path and directory.path == self.start.rpartition("/")[0]

    def files(self, directory: DirScan) -> Iterator[Seen]:
        """The files of one directory."""
        for name, stat, digest in directory.files():
            file = f"{directory.path}/{name}" if directory.path else name
            yield Seen(self.place(directory.path, name), file, stat, digest, name in directory.followed)

    def differing(self) -> Iterator[Seen]:
        """The files that are not as recorded; all others are as the manifest has them, if the look is exact."""
        for directory in self.scan.directories:
            for name, stat in directory.changed():
                file = f"{directory.path}/{name}" if directory.path else name
                yield Seen(self.place(directory.path, name), file, stat, None, name in directory.followed)

    def vanished(self) -> list[str]:
        """The artifact's paths of recorded files that are not there any more."""
        found = [self.place(d.path, name) for d in self.scan.directories for name in d.vanished()]
        found += [self.place(path, name) for path, row in self.scan.gone.items() for name in row.names]
        return found


@dataclass(frozen=True)
class Against:
    """What bindings are held against: the manifest *root* of artifact *key*.

    With *reading*, files that were never recorded get no stat: they are about to be read.
    """

    key: tuple[str, str]
    root: Digest
    reading: bool = False


def look(session: Session, cache: StatCache, against: Against, binding: Binding, start: str) -> Look:
    """Look at *start*, which is *binding*'s path or inside it."""
    key, root, reading = against.key, against.root, against.reading
    workspace, connection = session.avc.workspace, session.avc.connect()
    recorded = connection.execute(
        "SELECT prefix, root, generation FROM binding WHERE path = ? AND artifact = ?", (binding.path, "/".join(key))
    ).fetchone()
    exact = recorded is not None and recorded[0] == binding.prefix and recorded[1] == root
    generation = recorded[2] if exact else -2
    if is_single(session, binding, root):
        objects = session.avc.store.objects_dir
        found = scan_file(workspace, binding.path, cache, follow=binding.follow, objects=objects)
        alone = Scan(binding.path, [found], {})
        return Look(binding, start, alone, exact, generation, single=True)

    def tracked(path: str) -> bool:
        inside = path if binding.path == "." else path[len(binding.path) + 1 :]
        at = "/".join(part for part in (binding.prefix, inside.rstrip("/")) if part)
        return root != EMPTY and next(manifest.walk(root, session.node, at), None) is not None

    options = ScanOptions(
        tracked,
        _ignore(workspace),
        binding.follow,
        excluded(session),
        binding.path,
        rows_tracked=exact,
        unstated=reading,
        objects=session.avc.store.objects_dir,
    )
    if start != binding.path:
        return Look(binding, start, scan_name(workspace, start, cache, options), exact, generation, single=False)
    return Look(binding, start, scan(workspace, start, cache, options), exact, generation, single=False)


def taken_from(session: Session, key: tuple[str, str], bound: Bound) -> Digest | None:
    """The version that an artifact's files in the workspace were last written from or committed as.

    That is what ``artifacts.toml`` names, unless the file was changed by hand or by Git since: the
    stat cache knows what the files themselves are.
    """
    from artifactvc.ops import resolve

    rows = (
        session.avc.connect().execute("SELECT path, root FROM binding WHERE artifact = ?", ("/".join(key),)).fetchall()
    )
    roots = {root for path, root in rows if path in {binding.path for binding in bound.paths}}
    row = resolve.find_artifact(session, "/".join(key))
    if len(roots) == 1 and row is not None:
        root = str(roots.pop())
        if root != bound.digest and resolve.live_by_digest(session, row["id"], root) is not None:
            return root
    return bound.digest


def is_single(session: Session, binding: Binding, root: Digest) -> bool:
    """Whether the binding is of one file, not of a directory: what is there says so, else what the manifest has."""
    path = session.avc.workspace / binding.path
    if os.path.lexists(path):
        return not (path.is_dir() and (binding.follow or not path.is_symlink()))
    return bool(binding.prefix) and manifest.find(root, binding.prefix, session.node) is not None


def _ignore(workspace: Path) -> Ignore | None:
    return Ignore(workspace) if (workspace / ignore.FILE).exists() else None


def excluded(session: Session) -> frozenset[str]:
    """What is never taken: ``artifacts.toml`` and the default download directory (unless it is bound itself)."""
    bound = {binding.path for artifact in session.avc.bindings.artifacts.values() for binding in artifact.paths}
    inside = any(path == DOWNLOADS or path.startswith(DOWNLOADS + "/") for path in bound)
    return frozenset((bindings.FILE,) if inside else (bindings.FILE, DOWNLOADS))


def entry_of(seen: Seen, workspace: Path, digest: Digest, size: int | None = None) -> Entry:
    """The entry that stands for a file whose digest is known."""
    if seen.kind == "l":
        return Entry(seen.path, "l", target=os.readlink(workspace / seen.file))
    return Entry(seen.path, seen.kind, seen.stat.size if size is None else size, digest)


def hash_path(session: Session, seen: Seen) -> Digest:
    """Digest of a file of the workspace as it is now; of a link, that of its target."""
    path = session.avc.workspace / seen.file
    if seen.kind == "l":
        return digest_bytes(os.readlink(path).encode())
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise UnreadableFile(
            f"cannot read '{escape(seen.file)}': {(error.strerror or '').lower()}", hint="check its permissions"
        ) from error
    try:
        return hash_file(fd)[0]
    finally:
        os.close(fd)


# ---- the table ``binding`` ---------------------------------------------------------------------


def record(
    connection: sqlite3.Connection, key: tuple[str, str], binding: Binding, root: Digest, generation: int
) -> None:
    """Note that the rows at and below the binding's path are what *root* has there."""
    connection.execute(
        "INSERT OR REPLACE INTO binding (path, prefix, artifact, root, generation) VALUES (?, ?, ?, ?, ?)",
        (binding.path, binding.prefix, "/".join(key), root, generation),
    )


def invalidate(connection: sqlite3.Connection, written: Iterable[str], keep: Iterable[tuple[str, str]] = ()) -> None:
    """Drop what was noted of bindings that share rows with the paths *written*, other than *keep* (path, artifact)."""
    kept, places = set(keep), list(written)
    for path, artifact in connection.execute("SELECT path, artifact FROM binding").fetchall():
        if (path, artifact) not in kept and any(_overlap(path, place) for place in places):
            connection.execute("DELETE FROM binding WHERE path = ? AND artifact = ?", (path, artifact))


def move_root(connection: sqlite3.Connection, key: tuple[str, str], before: Digest, after: Digest) -> None:
    """What was noted against *before* holds against *after*: only paths outside those bindings changed."""
    connection.execute("UPDATE binding SET root = ? WHERE artifact = ? AND root = ?", (after, "/".join(key), before))


def forget_artifact(connection: sqlite3.Connection, key: tuple[str, str]) -> None:
    """Drop what was noted of an artifact's bindings."""
    connection.execute("DELETE FROM binding WHERE artifact = ?", ("/".join(key),))


def _overlap(a: str, b: str) -> bool:
    return "." in (a, b) or a == b or a.startswith(b + "/") or b.startswith(a + "/")


def keys_of(found: Look) -> Iterator[tuple[str, DirScan]]:
    """The stat cache's key of each directory seen (of the file, for a file bound by itself)."""
    for directory in found.scan.directories:
        yield (file_key(found.binding.path) if found.single else directory.path), directory
