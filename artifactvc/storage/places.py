"""Where the local store's objects are: rows of the index over packs and larger objects.

A row is a hint that makes finding quick. The truth is the files: packs carry their own
tables, larger objects are named by their digest, and ``Store.rescan`` builds all rows
anew from them. Rows are dropped *before* files move away (gc), so a row whose file is
gone means damage, and the store checks that a pack is there before it trusts its rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from artifactvc.core.model import Digest
from artifactvc.storage.database import begin
from artifactvc.storage.packs import PackRow, count_rows, raw_rows

#: `object.pack` of an object that has a file of its own.
OWN: Final = 0
_CHUNK: Final = 500
#: From so many digests on, one pass over all rows is quicker than asking for each.
_BULK: Final = 2000


class Location(NamedTuple):
    """Where an object is: *pack* is a serial number, 0 for a file of its own."""

    pack: int
    offset: int
    stored: int
    length: int
    codec: int


class Stamp(NamedTuple):
    """What ``stat`` said of a larger object when its bytes were last verified (the trust rule)."""

    size: int
    mtime: int
    ctime: int
    inode: int
    links: int


class Places:
    """The tables ``pack``, ``object`` and ``stamp`` of one repository."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect

    @property
    def connection(self) -> sqlite3.Connection:
        """The command's connection to the index."""
        return self._connect()

    # ---- questions -----------------------------------------------------------------------------

    def locate(self, digests: Iterable[Digest]) -> dict[Digest, Location]:
        """The location of each of *digests* that has one."""
        return {row[0].hex(): Location(*row[1:]) for row in self._rows(list(digests))}

    def in_packs(self, digests: Collection[Digest]) -> dict[int, list[PackRow]]:
        """Those of *digests* that are in packs, by the pack's serial number."""
        found: dict[int, list[PackRow]] = {}
        for row in self._rows(digests):
            if row[1] != OWN:
                found.setdefault(row[1], []).append(PackRow(row[0].hex(), row[2], row[3], row[4], row[5]))
        return found

    def _rows(self, digests: Collection[Digest]) -> Iterator[tuple[bytes, int, int, int, int, int]]:
        execute = self.connection.execute
        if len(digests) >= _BULK and len(digests) * 4 >= self.count():
            chosen = {bytes.fromhex(digest) for digest in digests}
            rows = execute("SELECT digest, pack, offset, stored, length, codec FROM object")
            yield from (row for row in rows if row[0] in chosen)
            return
        wanted = [bytes.fromhex(digest) for digest in digests]
        for start in range(0, len(wanted), _CHUNK):
            part = wanted[start : start + _CHUNK]
            marks = ",".join("?" * len(part))
            sql = f"SELECT digest, pack, offset, stored, length, codec FROM object WHERE digest IN ({marks})"
            yield from execute(sql, part)

    def packs_of(self, digests: Sequence[bytes]) -> dict[bytes, int]:
        """For each of *digests* (32 bytes) that has a row, its pack's serial number: the quick question."""
        execute = self.connection.execute
        if len(digests) >= _BULK and len(digests) * 4 >= self.count():
            return dict(execute("SELECT digest, pack FROM object").fetchall())
        found: dict[bytes, int] = {}
        for start in range(0, len(digests), _CHUNK):
            part = digests[start : start + _CHUNK]
            marks = ",".join("?" * len(part))
            found.update(execute(f"SELECT digest, pack FROM object WHERE digest IN ({marks})", part).fetchall())
        return found

    def count(self) -> int:
        """How many objects have a row."""
        return int(self.connection.execute("SELECT count(*) FROM object").fetchone()[0])

    def packs(self) -> dict[str, int]:
        """Name -> serial number of every pack that has rows."""
        return dict(self.connection.execute("SELECT name, serial FROM pack").fetchall())

    def objects_of(self, serial: int) -> int:
        """How many objects a pack holds, whether or not each has its row there (another pack may have it too)."""
        row = self.connection.execute("SELECT objects FROM pack WHERE serial = ?", (serial,)).fetchone()
        return int(row[0]) if row else 0

    def pack_rows(self, serial: int) -> list[PackRow]:
        """The rows of one pack."""
        rows = self.connection.execute(
            "SELECT digest, offset, stored, length, codec FROM object WHERE pack = ?", (serial,)
        )
        return [PackRow(row[0].hex(), *row[1:]) for row in rows]

    def own(self) -> list[tuple[Digest, int]]:
        """(digest, bytes) of every larger object."""
        rows = self.connection.execute("SELECT digest, length FROM object WHERE pack = 0")
        return [(digest.hex(), length) for digest, length in rows]

    def generation(self) -> int:
        """A number that changes whenever objects left the store."""
        row = self.connection.execute("SELECT value FROM meta WHERE name = 'generation'").fetchone()
        return int(row[0]) if row else 0

    # ---- changes -------------------------------------------------------------------------------

    def register_pack(self, name: str, table: bytes, size: int) -> int:
        """Note a pack that is in its place, by its own table; objects that have a row elsewhere keep it.

        Returns its serial number. None is given twice: who still holds the number of a pack that
        is gone must never be led to another one.
        """
        with begin(self.connection) as connection:
            known = connection.execute("SELECT serial FROM pack WHERE name = ?", (name,)).fetchone()
            serial = int(known[0]) if known else None
            if serial is None:
                serial = self._fresh_serial()
                connection.execute(
                    "INSERT INTO pack (serial, name, objects, bytes) VALUES (?, ?, ?, ?)",
                    (serial, name, count_rows(table), size),
                )
            connection.executemany(
                "INSERT OR IGNORE INTO object (digest, pack, offset, stored, length, codec)"
                f" VALUES (?, {serial}, ?, ?, ?, ?)",
                raw_rows(table),
            )
        return serial

    def _fresh_serial(self) -> int:
        last = self.connection.execute("SELECT value FROM meta WHERE name = 'pack serial'").fetchone()
        highest = self.connection.execute("SELECT coalesce(max(serial), 0) FROM pack").fetchone()[0]
        serial = max(int(last[0]) if last else 0, int(highest)) + 1
        self.connection.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('pack serial', ?)", (str(serial),))
        return serial

    def register_own(self, digest: Digest, length: int, stamp: Stamp | None) -> None:
        """Note a larger object that is in its place, with its stamp if it was just verified."""
        key = bytes.fromhex(digest)
        with begin(self.connection) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO object (digest, pack, offset, stored, length, codec) VALUES (?, 0, 0, ?, ?, 0)",
                (key, length, length),
            )
            if stamp is not None:
                connection.execute(
                    "INSERT OR REPLACE INTO stamp (digest, size, mtime, ctime, inode, links) VALUES (?, ?, ?, ?, ?, ?)",
                    (key, *stamp),
                )

    def stamp(self, digest: Digest) -> Stamp | None:
        """What was recorded when the larger object was last verified."""
        row = self.connection.execute(
            "SELECT size, mtime, ctime, inode, links FROM stamp WHERE digest = ?", (bytes.fromhex(digest),)
        ).fetchone()
        return None if row is None else Stamp(*row)

    def drop_pack(self, serial: int) -> None:
        """Forget a pack with its rows: its objects are no longer known to be here."""
        with begin(self.connection) as connection:
            connection.execute("DELETE FROM object WHERE pack = ?", (serial,))
            connection.execute("DELETE FROM pack WHERE serial = ?", (serial,))
            self._bump()

    def drop(self, digests: Iterable[Digest]) -> None:
        """Forget single objects."""
        with begin(self.connection) as connection:
            for digest in digests:
                connection.execute("DELETE FROM object WHERE digest = ?", (bytes.fromhex(digest),))
                connection.execute("DELETE FROM stamp WHERE digest = ?", (bytes.fromhex(digest),))
            self._bump()

    def clear(self) -> None:
        """Forget everything; the caller registers what it finds."""
        with begin(self.connection) as connection:
            for table in ("pack", "object", "stamp"):
                connection.execute(f"DELETE FROM {table}")
            self._bump()

    def _bump(self) -> None:
        self.connection.execute(
            "INSERT OR REPLACE INTO meta (name, value) VALUES ('generation', ?)", (str(self.generation() + 1),)
        )
