"""Which stored files of a remote are needed, and which are not: asked by gc, in SQL, so that memory stays bounded.

Three sets are put side by side in tables that live as long as the connection: the objects
that something live needs, the stored files that stand on the remote (one listing), and
where the remote's index says that objects are. A copy counts if its file stands there,
whole as far as the index tells, and is not condemned (protocol P2).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Final, NamedTuple

from artifactvc.core.entries import is_stored_name
from artifactvc.core.model import Digest
from artifactvc.storage.packs import PackRow
from artifactvc.storage.transport import Stored

_BATCH: Final = 10_000
_TABLES: Final = (
    "CREATE TEMP TABLE IF NOT EXISTS needed (digest BLOB PRIMARY KEY) WITHOUT ROWID",
    "CREATE TEMP TABLE IF NOT EXISTS standing (name TEXT PRIMARY KEY, size INTEGER, modified REAL) WITHOUT ROWID",
    "CREATE TEMP TABLE IF NOT EXISTS chosen (digest BLOB PRIMARY KEY, file INTEGER) WITHOUT ROWID",
)
#: Copies that may be relied on: of what is needed, in files that stand there and are not condemned.
_COPIES: Final = (
    "SELECT o.digest, o.file, o.stored FROM needed n JOIN remote_object o ON o.digest = n.digest"
    " JOIN remote_file f ON f.serial = o.file JOIN standing s ON s.name = f.name"
    " WHERE s.size >= o.offset + o.stored AND NOT EXISTS (SELECT 1 FROM condemned c WHERE c.file = f.name)"
)
_CONDEMNED: Final = "EXISTS (SELECT 1 FROM condemned c WHERE c.file = s.name)"
_INDEXED: Final = "EXISTS (SELECT 1 FROM remote_file f JOIN remote_object o ON o.file = f.serial WHERE f.name = s.name)"


class UsedFile(NamedTuple):
    """One stored file, the bytes of its objects as stored, and how many of them something live needs from it."""

    name: str
    size: int
    objects: int
    stored: int
    used: int


class RemoteFiles:
    """The three sets over a remote's own index. Begins empty; ``settle`` decides which copies are used."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.roots: list[Digest] = []  # manifests whose objects are noted as needed
        for statement in _TABLES:
            connection.execute(statement)
        for table in ("needed", "standing", "chosen"):
            connection.execute(f"DELETE FROM temp.{table}")

    def need(self, digests: Iterable[bytes]) -> None:
        """Note objects, 32 bytes each, as needed."""
        self._insert("INSERT OR IGNORE INTO temp.needed VALUES (?)", ((digest,) for digest in digests))

    def stand(self, files: Iterable[Stored], base: str = "packs/") -> None:
        """Note the files that stand below *base* on the remote; what stood there before is forgotten.

        What no entry could name is none of ours.
        """
        self._connection.execute("DELETE FROM temp.standing")
        named = ((file.name.removeprefix(base), file.size, file.modified) for file in files)
        rows = (row for row in named if is_stored_name(row[0]))
        self._insert("INSERT OR REPLACE INTO temp.standing VALUES (?, ?, ?)", rows)

    def _insert(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        iterator = iter(rows)  # reads through this very connection, maybe: a batch is whole before it is written
        while batch := list(islice(iterator, _BATCH)):
            with self._transaction():
                self._connection.executemany(statement, batch)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One transaction over tables of this connection alone: nobody else is kept waiting."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("COMMIT")

    def settle(self) -> None:
        """Choose one copy of each needed object: where there are several, one in a file that is needed anyway."""
        connection = self._connection
        with self._transaction():
            connection.execute("DELETE FROM temp.chosen")
            connection.execute(
                f"INSERT INTO temp.chosen SELECT digest, min(file) FROM ({_COPIES}) GROUP BY digest HAVING count(*) = 1"
            )
            connection.execute(
                f"INSERT OR IGNORE INTO temp.chosen SELECT digest, max(file) FROM ({_COPIES})"
                " WHERE file IN (SELECT file FROM temp.chosen) GROUP BY digest"
            )
            connection.execute(
                f"INSERT OR IGNORE INTO temp.chosen SELECT digest, max(file) FROM ({_COPIES}) GROUP BY digest"
            )

    # ---- answers: ``settle`` first -------------------------------------------------------------------

    def lacking(self) -> list[bytes]:
        """Needed objects that have no copy to rely on."""
        rows = self._connection.execute(
            "SELECT digest FROM temp.needed WHERE digest NOT IN (SELECT digest FROM temp.chosen)"
        )
        return [row[0] for row in rows]

    def unused(self) -> Iterator[UsedFile]:
        """Files that landed and from which nothing is needed, uncondemned."""
        yield from (file for file in self._used() if not file.used)

    def used(self) -> Iterator[UsedFile]:
        """Files from which something is needed."""
        yield from (file for file in self._used() if file.used)

    def _used(self) -> list[UsedFile]:
        rows = self._connection.execute(
            "SELECT s.name, s.size, count(*), sum(o.stored),"
            " sum(CASE WHEN h.file = o.file THEN o.stored + (o.stored = 0) ELSE 0 END)"
            " FROM temp.standing s JOIN remote_file f ON f.name = s.name JOIN remote_object o ON o.file = f.serial"
            " LEFT JOIN temp.chosen h ON h.digest = o.digest"
            f" WHERE NOT {_CONDEMNED} GROUP BY f.serial ORDER BY s.name"
        )
        return [UsedFile(*row) for row in rows]

    def unnamed(self) -> list[Stored]:
        """Files that stand there and that no index names: of pushes under way, or that never landed."""
        rows = self._connection.execute(
            f"SELECT name, size, modified FROM temp.standing s WHERE NOT {_CONDEMNED} AND NOT {_INDEXED} ORDER BY name"
        )
        return [Stored(*row) for row in rows]

    def condemned(self) -> list[tuple[str, int, int]]:
        """(name, bytes, number of the entry) of each file that is condemned and still stands there."""
        rows = self._connection.execute(
            "SELECT s.name, s.size, c.entry FROM temp.standing s JOIN condemned c ON c.file = s.name ORDER BY s.name"
        )
        return [tuple(row) for row in rows]

    def last_copies(self) -> set[str]:
        """Condemned files that hold what is needed and has no other copy to rely on (protocol P4)."""
        rows = self._connection.execute(
            "SELECT DISTINCT f.name FROM temp.needed n JOIN remote_object o ON o.digest = n.digest"
            " JOIN remote_file f ON f.serial = o.file JOIN condemned c ON c.file = f.name"
            " WHERE NOT EXISTS (SELECT 1 FROM temp.chosen h WHERE h.digest = n.digest)"
        )
        return {row[0] for row in rows}

    def chosen_rows(self, file: str) -> list[PackRow]:
        """Where the objects that are needed from *file* stand in it, by offset."""
        rows = self._connection.execute(
            "SELECT o.digest, o.offset, o.stored, o.length, o.codec FROM temp.chosen h"
            " JOIN remote_file f ON f.serial = h.file JOIN remote_object o ON o.digest = h.digest AND o.file = h.file"
            " WHERE f.name = ? ORDER BY o.offset",
            (file,),
        )
        return [PackRow(row[0].hex(), *row[1:]) for row in rows]
