"""A remote as it stands there, read anew into an index of its own under ``tmp/``: for ``avc fsck REMOTE`` alone.

What is remembered of a remote here may be wrong too, so nothing of it is believed: the log is
applied again entry by entry, every index file is read again. Beside the usual tables stand
those of the check: which objects are needed, which files stand there, which files and copies
are bad. All questions are SQL over a file, so memory stays bounded for millions of objects.

A copy of an object is *usable* if its stored file is not condemned and not bad, and the copy
itself is not bad. Copies in files that only parts of open drafts name do not
count for versions: the log does not say where they are.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from artifactvc.core.entries import LogEntry
from artifactvc.core.model import EMPTY, Digest
from artifactvc.storage.database import begin
from artifactvc.storage.packs import RAW, PackRow, whole_size
from artifactvc.storage.remote import Remote
from artifactvc.storage.remote_index import Place
from artifactvc.storage.transport import Stored
from artifactvc.util.files import make_directories, temporary

#: Who needs an object: parts of an open draft, a version deleted within the grace, something live.
PART, DELETED, LIVE = 0, 1, 2
_PAGE: Final = 1000
_SCHEMA: Final = "SELECT sql FROM sqlite_master WHERE sql NOT NULL AND name NOT LIKE 'sqlite_%'"
_TABLES: Final = (
    "CREATE TABLE needed (digest BLOB PRIMARY KEY, level INTEGER) WITHOUT ROWID",
    "CREATE TABLE standing (name TEXT PRIMARY KEY, size INTEGER, modified REAL) WITHOUT ROWID",
    "CREATE TABLE bad_file (file INTEGER PRIMARY KEY, fault TEXT)",
    "CREATE TABLE bad_copy (digest BLOB, file INTEGER, fault TEXT, PRIMARY KEY (digest, file)) WITHOUT ROWID",
    "CREATE INDEX bad_copy_file ON bad_copy (file)",
)
_COPY: Final = (
    "FROM remote_object o JOIN remote_file f ON f.serial = o.file WHERE o.digest = n.digest"
    " AND NOT EXISTS (SELECT 1 FROM condemned c WHERE c.file = f.name)"
)
_SOUND: Final = (
    " AND NOT EXISTS (SELECT 1 FROM bad_file b WHERE b.file = o.file)"
    " AND NOT EXISTS (SELECT 1 FROM bad_copy b WHERE b.digest = o.digest AND b.file = o.file)"
)
_CONDEMNED: Final = (
    "EXISTS (SELECT 1 FROM remote_object o JOIN remote_file f ON f.serial = o.file"
    " JOIN condemned c ON c.file = f.name WHERE o.digest = n.digest)"
)


class UsedFile(NamedTuple):
    """A stored file that is not condemned and from which something is needed: as index files tell of it."""

    serial: int
    name: str
    size: int  # that it should have
    needed: int  # objects
    whole: bool  # one larger object, not a pack


class Scratch(Remote):
    """Another reading of *kept*, the remote as it is remembered here. ``close`` removes all of it."""

    def __init__(self, kept: Remote) -> None:
        super().__init__(kept.avc, kept.name, kept.limits)
        self.directory = temporary(kept.avc.tmp, "fsck")
        self.__dict__["transport"] = kept.transport  # one connection for both
        self._like(kept.connection)
        self.connection.execute("PRAGMA synchronous = OFF")  # a kill leaves nothing that is read again
        for statement in _TABLES:
            self.connection.execute(statement)
        self.drafts = (0, 0)  # serials of files that only parts of drafts name: above, up to

    def _like(self, pattern: sqlite3.Connection) -> None:
        """Make the tables as they are in *pattern*: ten times as quick as migrating."""
        make_directories(self.directory)
        with contextlib.closing(sqlite3.connect(self.directory / "index.sqlite")) as made:
            for (sql,) in pattern.execute(_SCHEMA):
                made.execute(sql)
            made.execute(f"PRAGMA user_version = {pattern.execute('PRAGMA user_version').fetchone()[0]}")

    def close(self) -> None:
        """Close and remove it."""
        super().close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def apply(self, entries: Iterable[tuple[LogEntry, Digest]]) -> None:
        """Let the next entries of the log take effect."""
        with begin(self.connection):
            for entry, digest in entries:
                self._apply(entry, digest)

    @property
    def ask(self) -> Questions:
        """What follows from it."""
        return Questions(self)

    def begin_drafts(self) -> None:
        """Stored files that are named from now on, until ``end_drafts``, are named by parts of drafts alone."""
        self.drafts = (self._last_file(), self._last_file())

    def end_drafts(self) -> None:
        """See ``begin_drafts``."""
        self.drafts = (self.drafts[0], self._last_file())

    def _last_file(self) -> int:
        return int(self.connection.execute("SELECT coalesce(max(serial), 0) FROM remote_file").fetchone()[0])

    def of_drafts(self, serial: int) -> bool:
        """Whether only parts of drafts name a file."""
        return self.drafts[0] < serial <= self.drafts[1]

    # ---- what is noted -----------------------------------------------------------------------

    def need(self, digests: Iterable[Digest], level: int) -> None:
        """Note objects as needed; what is noted already keeps the higher level, which comes first."""
        rows = ((bytes.fromhex(digest), level) for digest in digests)
        with begin(self.connection) as connection:
            connection.executemany("INSERT OR IGNORE INTO needed VALUES (?, ?)", rows)

    def stand(self, files: Iterable[Stored]) -> None:
        """Note the files that stand below ``packs/`` there."""
        rows = ((file.name.removeprefix("packs/"), file.size, file.modified) for file in files)
        with begin(self.connection) as connection:
            connection.execute("DELETE FROM standing")
            connection.executemany("INSERT INTO standing VALUES (?, ?, ?)", rows)

    def size_of(self, name: str) -> int | None:
        """The size of a file that stands there."""
        row = self.connection.execute("SELECT size FROM standing WHERE name = ?", (name,)).fetchone()
        return None if row is None else int(row[0])

    def spoil_file(self, serial: int, fault: str) -> None:
        """Note that a whole file cannot be relied on."""
        self.connection.execute("INSERT OR IGNORE INTO bad_file VALUES (?, ?)", (serial, fault))

    def spoil(self, copies: Iterable[tuple[Digest, int, str]]) -> None:
        """Note bad copies: (object, file, fault)."""
        rows = [(bytes.fromhex(digest), file, fault) for digest, file, fault in copies]
        self.connection.executemany("INSERT OR IGNORE INTO bad_copy VALUES (?, ?, ?)", rows)


class Questions:
    """What follows from all that a scratch index was told."""

    def __init__(self, scratch: Scratch) -> None:
        self.connection, self._scratch = scratch.connection, scratch

    def used_files(self) -> Iterator[UsedFile]:
        """Every file from which something is needed, uncondemned."""
        last = 0
        while True:
            rows = self.connection.execute(
                "SELECT f.serial, f.name, sum(o.stored), count(*), min(o.offset), max(o.codec),"
                " sum(EXISTS (SELECT 1 FROM needed n WHERE n.digest = o.digest)) AS used"
                " FROM remote_file f JOIN remote_object o ON o.file = f.serial WHERE f.serial IN"
                " (SELECT serial FROM remote_file WHERE serial > ? ORDER BY serial LIMIT ?)"
                " AND NOT EXISTS (SELECT 1 FROM condemned c WHERE c.file = f.name) GROUP BY f.serial ORDER BY f.serial",
                (last, _PAGE),
            ).fetchall()
            for serial, name, stored, count, first, codec, used in rows:
                whole = count == 1 and first == 0 and codec == RAW
                if used:
                    yield UsedFile(serial, name, stored if whole else whole_size(stored, count), used, whole)
            end = self.connection.execute("SELECT max(serial) FROM remote_file").fetchone()[0] or 0
            last += _PAGE
            if last >= end:
                return

    def rows_of(self, serial: int) -> list[PackRow]:
        """The objects of a file, in its order."""
        rows = self.connection.execute(
            "SELECT digest, offset, stored, length, codec FROM remote_object WHERE file = ? ORDER BY offset, stored",
            (serial,),
        )
        return [PackRow(row[0].hex(), *row[1:]) for row in rows]

    def lacking(self, lowest: int = LIVE, *, but: Sequence[int] = ()) -> list[Digest]:
        """Needed objects, of *lowest* level and up, without a usable copy outside the files *but*.

        What only a deleted version needs may be gone with a condemned file: that is a collection's right.
        """
        self._except(but)
        usable = f"EXISTS (SELECT 1 {_COPY}{_SOUND} AND o.file NOT IN (SELECT file FROM passed)"
        rows = self.connection.execute(
            f"SELECT n.digest FROM needed n WHERE n.level >= ? AND n.digest != ?"
            f" AND NOT (n.level = {DELETED} AND {_CONDEMNED})"
            f" AND NOT {usable} AND (n.level = {PART} OR NOT (o.file > ? AND o.file <= ?)))",
            (lowest, bytes.fromhex(EMPTY), *self._scratch.drafts),
        )
        return [row[0].hex() for row in rows]

    def _except(self, files: Sequence[int]) -> None:
        self.connection.execute("CREATE TEMP TABLE IF NOT EXISTS passed (file INTEGER PRIMARY KEY)")
        self.connection.execute("DELETE FROM passed")
        self.connection.executemany("INSERT OR IGNORE INTO passed VALUES (?)", [(file,) for file in files])

    def bad_files(self) -> list[tuple[int, str, str]]:
        """(serial, name, fault) of files that are bad, or hold a bad copy, and from which something is needed."""
        rows = self.connection.execute(
            "SELECT f.serial, f.name, coalesce(b.fault, (SELECT c.fault || CASE WHEN count(*) > 1 THEN"
            " ', and so are ' || (count(*) - 1) || ' more of its objects' ELSE '' END FROM bad_copy c"
            " WHERE c.file = f.serial))"
            " FROM remote_file f LEFT JOIN bad_file b ON b.file = f.serial WHERE"
            " (b.file IS NOT NULL OR EXISTS (SELECT 1 FROM bad_copy c WHERE c.file = f.serial))"
            " AND NOT EXISTS (SELECT 1 FROM condemned d WHERE d.file = f.name)"
            " AND EXISTS (SELECT 1 FROM remote_object o JOIN needed n ON n.digest = o.digest WHERE o.file = f.serial)"
            " ORDER BY f.name"
        )
        return rows.fetchall()

    def needed_in(self, serial: int) -> list[Digest]:
        """Objects with a copy in a file that something needs."""
        rows = self.connection.execute(
            "SELECT o.digest FROM remote_object o JOIN needed n ON n.digest = o.digest WHERE o.file = ?", (serial,)
        )
        return [row[0].hex() for row in rows]

    def copies(self, digests: Sequence[Digest]) -> dict[Digest, list[tuple[int, Place]]]:
        """Every copy of each object that is not known to be bad, condemned ones last: (serial of the file, where)."""
        found: dict[Digest, list[tuple[int, Place]]] = {}
        for start in range(0, len(digests), 900):
            part = [bytes.fromhex(digest) for digest in digests[start : start + 900]]
            rows = self.connection.execute(
                "SELECT o.digest, o.file, f.name, o.offset, o.stored, o.length, o.codec FROM remote_object o"
                " JOIN remote_file f ON f.serial = o.file LEFT JOIN condemned c ON c.file = f.name"
                " LEFT JOIN bad_copy b ON b.digest = o.digest AND b.file = o.file"
                f" WHERE o.digest IN ({','.join('?' * len(part))}) AND b.file IS NULL"
                " ORDER BY c.file IS NOT NULL, o.file DESC",
                part,
            )
            for digest, serial, *place in rows:
                found.setdefault(digest.hex(), []).append((serial, Place(digest.hex(), *place)))
        return found

    def unneeded(self) -> tuple[int, int]:
        """(files, bytes) that stand there, of which nothing needs anything, or that no index names."""
        row = self.connection.execute(
            "SELECT count(*), coalesce(sum(s.size), 0) FROM standing s WHERE NOT EXISTS (SELECT 1 FROM remote_file f"
            " JOIN remote_object o ON o.file = f.serial JOIN needed n ON n.digest = o.digest WHERE f.name = s.name)"
        ).fetchone()
        return int(row[0]), int(row[1])

    def unnamed(self) -> list[str]:
        """Files that stand there and that no index names, condemned ones left out."""
        rows = self.connection.execute(
            "SELECT s.name FROM standing s WHERE NOT EXISTS (SELECT 1 FROM remote_file f JOIN remote_object o"
            " ON o.file = f.serial WHERE f.name = s.name)"
            " AND NOT EXISTS (SELECT 1 FROM condemned c WHERE c.file = s.name) ORDER BY s.name"
        )
        return [row[0] for row in rows]

    def counts(self) -> tuple[int, int]:
        """(needed objects, their bytes as index files tell)."""
        row = self.connection.execute(
            "SELECT count(*), coalesce(sum((SELECT max(o.length) FROM remote_object o WHERE o.digest = n.digest)), 0)"
            " FROM needed n"
        ).fetchone()
        return int(row[0]), int(row[1])
