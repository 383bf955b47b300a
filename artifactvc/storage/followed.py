"""What references led to: the table by which bytes that were fetched once need not be fetched again.

A row says: the bytes of this reference (its URI, identity, version and size) are that object.
That is true for ever, whether the object is here or not; a reference without identity
(``checksum=False``) has a row of what it led to last, which is only good to tell whether a
file is what was written. The row, and the object while the row was used within the grace, is
a cache: gc and ``cache cleanup`` take both, and a lost table costs fetching again.

Rows stand beside those that say where objects are, so repositories that share a store share
them. When a row was last used is kept to the hour and written once a command, as in ``uses.py``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from artifactvc.core.model import Digest, Entry
from artifactvc.core.strict import dump_json
from artifactvc.storage.database import begin, write_hints
from artifactvc.storage.uses import hour
from artifactvc.util.hashing import digest_bytes

_CHUNK: Final = 500


class Held(NamedTuple):
    """The bytes that a reference led to."""

    digest: Digest
    size: int


def key_of(entry: Entry) -> str:
    """What a reference entry is known by here: 64 hex digits, the same wherever it stands."""
    return digest_bytes(dump_json([entry.uri, entry.identity_kind, entry.identity, entry.version_id, entry.size]))


class Followed:
    """The table ``followed``."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._noted: set[str] = set()

    def find(self, keys: Iterable[str]) -> dict[str, Held]:
        """What is known of each of *keys*."""
        wanted, found = list(keys), dict[str, Held]()
        for start in range(0, len(wanted), _CHUNK):
            part = [bytes.fromhex(key) for key in wanted[start : start + _CHUNK]]
            marks = ",".join("?" * len(part))
            rows = self._connect().execute(f"SELECT key, digest, size FROM followed WHERE key IN ({marks})", part)
            found.update((key.hex(), Held(digest.hex(), size)) for key, digest, size in rows)
        return found

    def put(self, rows: Iterable[tuple[str, Held]]) -> None:
        """Note what references led to, as used now."""
        now = hour()
        given = [(bytes.fromhex(key), bytes.fromhex(held.digest), held.size, now) for key, held in rows]
        with begin(self._connect()) as connection:
            connection.executemany("INSERT OR REPLACE INTO followed (key, digest, size, at) VALUES (?, ?, ?, ?)", given)

    def note(self, keys: Iterable[str]) -> None:
        """Remember, in memory, that these rows are used by this command."""
        self._noted.update(keys)

    def save(self) -> None:
        """Write what was noted where that is news. Never waits: where another process writes, it is left out."""
        noted, self._noted = self._noted, set()
        if noted:
            now = hour()
            given = [(now, bytes.fromhex(key), now) for key in noted]
            write_hints(self._connect(), "UPDATE followed SET at = ? WHERE key = ? AND at < ?", given)

    def rows(self) -> Iterator[tuple[Digest, int, int]]:
        """(digest, bytes, hour of last use in epoch seconds) of every row."""
        for digest, size, at in self._connect().execute("SELECT digest, size, at FROM followed"):
            yield digest.hex(), size, at

    def drop(self, before: float) -> None:
        """Drop the rows that were last used before *before* (epoch seconds)."""
        with begin(self._connect()) as connection:
            connection.execute("DELETE FROM followed WHERE at < ?", (int(before),))
