"""The tables of names as keyed rows: what ``core/records.py`` reads and changes.

With *journal*, each change first keeps the row as it stood in the table ``undo``;
``rewind`` puts all of them back, newest first. So the records that origin does not
have yet can be taken off, origin's news applied below them, and they be applied
again, at a cost that follows the news and not the history (protocol N1).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any, Final

from artifactvc.storage.schema import KEYS, NAMES

_COLUMNS: Final = {table: tuple(columns) for table, columns in NAMES.items()}
_KEY: Final = {table: tuple(columns)[: KEYS[table]] for table, columns in NAMES.items()}


def _quoted(names: tuple[str, ...], joined: str = ", ", suffix: str = "") -> str:
    return joined.join(f'"{name}"{suffix}' for name in names)


_GET: Final = {t: f'SELECT {_quoted(_COLUMNS[t])} FROM "{t}" WHERE {_quoted(_KEY[t], " AND ", " = ?")}' for t in NAMES}
_PUT: Final = {
    t: f'INSERT OR REPLACE INTO "{t}" ({_quoted(_COLUMNS[t])}) VALUES ({", ".join("?" * len(_COLUMNS[t]))})'
    for t in NAMES
}
_DROP: Final = {t: f'DELETE FROM "{t}" WHERE {_quoted(_KEY[t], " AND ", " = ?")}' for t in NAMES}


def named_objects(connection: sqlite3.Connection) -> Iterator[str]:
    """Digests of descriptions, metadata, sources, run details and metrics that names point at, if deleted too."""
    for table, column in (
        ("artifact", "description"),
        ("version", "description"),
        ("version", "metadata"),
        ("version", "sources"),
        ("run", "details"),
        ("run", "metrics"),
    ):
        rows = connection.execute(f'SELECT "{column}" FROM "{table}" WHERE "{column}" IS NOT NULL')
        yield from (row[0] for row in rows.fetchall())


class SqliteRows:
    """``core.records.Rows`` over an open connection, inside the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection, *, journal: bool = False) -> None:
        self._connection, self._journal = connection, journal

    def get(self, table: str, *key: object) -> dict[str, Any] | None:
        """The row with this key, or None."""
        row = self._connection.execute(_GET[table], key).fetchone()
        return None if row is None else dict(zip(_COLUMNS[table], row, strict=True))

    def put(self, table: str, row: dict[str, Any]) -> None:
        """Insert *row*, or replace the one with its key; columns left out become null."""
        if self._journal:
            self._keep(table, tuple(row[name] for name in _KEY[table]))
        self._connection.execute(_PUT[table], [row.get(name) for name in _COLUMNS[table]])

    def drop(self, table: str, *key: object) -> None:
        """Remove the row with this key, if there is one."""
        if self._journal:
            self._keep(table, key)
        self._connection.execute(_DROP[table], key)

    def find(self, table: str, **equals: object) -> list[dict[str, Any]]:
        """All rows with these values, ordered by key."""
        where = " AND ".join(f'"{name}" IS ?' for name in equals) or "1"
        key = _KEY[table]
        order = _quoted(key)
        if equals and set(equals) != set(key[: len(equals)]):
            # Else SQLite walks the key in order, past every row of the artifact, instead of asking the index that fits.
            order = ", ".join(f'+"{name}"' for name in key)
        sql = f'SELECT {_quoted(_COLUMNS[table])} FROM "{table}" WHERE {where} ORDER BY {order}'
        rows = self._connection.execute(sql, tuple(equals.values())).fetchall()
        return [dict(zip(_COLUMNS[table], row, strict=True)) for row in rows]

    def _keep(self, table: str, key: tuple[object, ...]) -> None:
        before = self.get(table, *key)
        self._connection.execute(
            'INSERT INTO undo ("table", "key", "row") VALUES (?, ?, ?)',
            (table, json.dumps(key), None if before is None else json.dumps(before)),
        )


def rewind(connection: sqlite3.Connection) -> None:
    """Put back every row that a journalled change touched, newest change first."""
    plain = SqliteRows(connection)
    for table, key, row in connection.execute('SELECT "table", "key", "row" FROM undo ORDER BY seq DESC').fetchall():
        if row is None:
            plain.drop(table, *json.loads(key))
        else:
            plain.put(table, json.loads(row))
    connection.execute("DELETE FROM undo")


def clear_names(connection: sqlite3.Connection) -> None:
    """Empty every table of names, with what was noted about the logs they came from."""
    for table in (*NAMES, "pending", "undo", "head"):
        connection.execute(f'DELETE FROM "{table}"')
