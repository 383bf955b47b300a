"""The index: what the logs say, kept up to date and thrown away without regret.

State is origin's log, then the local records that origin does not hold yet, in order
(protocol N1). ``catch_up`` reads the tails of both logs; when the last entry it knows
of a log is not there with the digest it noted, the tables are built anew.

With an origin, local records are applied with a journal, so that origin's news can be
put below them (``rows.rewind``). Without one, the local log alone is the state and no
journal is kept. A remote's own index (``RemoteIndex`` in ``storage/remote.py``) uses
the same tables over that remote's log only.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Final

from artifactvc.core.entries import LogEntry, entry_digest
from artifactvc.core.records import apply_entry, apply_record, note_operation
from artifactvc.storage.database import begin
from artifactvc.storage.log import Log
from artifactvc.storage.rows import SqliteRows, clear_names, rewind

LOCAL: Final = "local"
ORIGIN: Final = "origin"
#: Kinds that tell what happened in this repository only; they are never pushed.
_OURS: Final = frozenset({"seen", "renumbered"})


class Index:
    """The tables of names over one connection, and the logs they follow.

    *origin* is the log of the remote that gives numbers, and *origin_id* its id.
    """

    def __init__(self, connection: sqlite3.Connection, local: Log, origin: Log | None, origin_id: str) -> None:
        self.connection, self._local, self.origin, self.origin_id = connection, local, origin, origin_id
        self.rows = SqliteRows(connection)

    def head(self, log: str) -> tuple[int, str | None]:
        """Number and digest of the last entry applied; (-1, None) for none."""
        row = self.connection.execute("SELECT n, digest FROM head WHERE log = ?", (log,)).fetchone()
        return (-1, None) if row is None else (row[0], row[1])

    def catch_up(self) -> None:
        """Apply what the logs have that the tables do not; rebuild if they disagree."""
        if not self._follows():
            self.rebuild()
        elif self._behind():
            with begin(self.connection):
                self._advance()

    def rebuild(self) -> None:
        """Make the tables of names anew from the logs alone."""
        with begin(self.connection):
            clear_names(self.connection)
            self.set_meta("origin", self.origin_id)
            self._advance()

    def _follows(self) -> bool:
        """Whether the last entries applied still stand in the logs, and origin is the same remote."""
        if self.meta("origin") != self.origin_id:
            return False
        for name, log in ((LOCAL, self._local), (ORIGIN, self.origin)):
            n, digest = self.head(name)
            if n >= 0:
                data = log.data(n) if log else None
                if data is None or entry_digest(data) != digest:
                    return False
        return True

    def _behind(self) -> bool:
        logs = ((LOCAL, self._local), (ORIGIN, self.origin))
        return any(log is not None and log.data(self.head(name)[0] + 1) is not None for name, log in logs)

    def _advance(self) -> None:
        if self.origin is not None:
            self._advance_origin(self.origin)
        n, digest = self.head(LOCAL)
        for entry, its_digest in self._local.since(n + 1, digest):
            self._apply_local(entry)
            n, digest = entry.n, its_digest
        self._note_head(LOCAL, n, digest)

    def _advance_origin(self, origin: Log) -> None:
        n, digest = self.head(ORIGIN)
        news = list(origin.since(n + 1, digest))
        if not news:
            return
        rewind(self.connection)
        for entry, its_digest in news:
            apply_entry(self.rows, entry, ORIGIN, final=True)
            for position in range(len(entry.records)):
                record_id = entry.record_id(position)
                self.rows.put("landed", {"record": record_id, "n": entry.n})
                self.connection.execute("DELETE FROM pending WHERE record = ?", (record_id,))
            n, digest = entry.n, its_digest
        self._note_head(ORIGIN, n, digest)
        for entry, position in self.pending():
            self._apply_pending(entry, position)

    def _apply_local(self, entry: LogEntry) -> None:
        if self.origin is None:
            apply_entry(self.rows, entry, LOCAL, final=True)
            return
        note_operation(self.rows, entry, LOCAL)
        for position, record in enumerate(entry.records):
            record_id = entry.record_id(position)
            if record["kind"] in _OURS:
                apply_record(self.rows, entry, position, LOCAL, final=False)
            if record["kind"] in _OURS or self.rows.get("landed", record_id) is not None:
                continue
            body = {"n": entry.n, "op": entry.op, "time": entry.time, "author": entry.author, "record": record}
            self.connection.execute(
                "INSERT INTO pending (record, n, body) VALUES (?, ?, ?)",
                (record_id, entry.n, json.dumps(body)),
            )
            self._apply_pending(*_pending(record_id, body))

    def _apply_pending(self, entry: LogEntry, position: int) -> None:
        journal = SqliteRows(self.connection, journal=True)
        apply_record(journal, entry, position, LOCAL, final=False, provisional=True)

    def pending(self) -> Iterable[tuple[LogEntry, int]]:
        """Local records that origin does not hold, in order, each as an entry and the position in it."""
        rows = self.connection.execute("SELECT record, body FROM pending ORDER BY seq").fetchall()
        return [_pending(record_id, json.loads(body)) for record_id, body in rows]

    def _note_head(self, log: str, n: int, digest: str | None) -> None:
        if n >= 0:
            self.connection.execute("INSERT OR REPLACE INTO head (log, n, digest) VALUES (?, ?, ?)", (log, n, digest))

    def meta(self, name: str) -> str | None:
        """A note about the index itself."""
        row = self.connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, name: str, value: str) -> None:
        """Keep a note about the index itself."""
        with begin(self.connection):
            self.connection.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (name, value))


def _pending(record_id: str, body: dict[str, object]) -> tuple[LogEntry, int]:
    """One pending record as an entry of its own, under the id it was given when it was made."""
    record = {**body["record"], "id": record_id}  # type: ignore[dict-item]
    entry = LogEntry(
        int(str(body["n"])), str(body["op"]), "", None, str(body["author"]), str(body["time"]), "", (record,)
    )
    return entry, 0
