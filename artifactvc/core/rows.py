"""What the fold of records stands on: keyed rows, where a record stands, and records without effect."""

from __future__ import annotations

from typing import Any, Protocol

from artifactvc.core.entries import LogEntry

Row = dict[str, Any]


class Rows(Protocol):
    """Keyed rows of the tables in ``storage/schema.py`` (``NAMES``)."""

    def get(self, table: str, *key: object) -> Row | None:
        """The row with this key, or None."""

    def put(self, table: str, row: Row) -> None:
        """Insert *row*, or replace the one with its key. Columns left out are null."""

    def drop(self, table: str, *key: object) -> None:
        """Remove the row with this key, if there is one."""

    def find(self, table: str, **equals: object) -> list[Row]:
        """All rows with these values, ordered by key."""


class NoEffect(Exception):
    """A record cannot apply; the reason goes to the ``conflict`` table."""


class Context:
    """Where a record stands, and what its source may decide."""

    def __init__(self, entry: LogEntry, position: int, source: str, *, final: bool, provisional: bool) -> None:
        record = entry.records[position]
        self.source, self.n, self.record = source, entry.n, entry.record_id(position)
        #: The operation in which the record was made: a pushed record keeps it, so it is the same in every clone.
        self.op: str = self.record.partition(".")[0]
        self.time: str = record.get("time", entry.time)
        self.author: str = record.get("author", entry.author)
        self.final, self.provisional = final, provisional


def resolve(rows: Rows, artifact: str) -> Row | None:
    """The artifact with this id, or the one it was joined to."""
    row = rows.get("artifact", artifact)
    for _ in range(16):
        if row is None or not row["joins"]:
            return row
        row = rows.get("artifact", row["joins"])
    return None


def live_version(rows: Rows, artifact: str, digest: str) -> Row | None:
    """The live version with this content: at most one (protocol P5)."""
    return next((v for v in rows.find("version", artifact=artifact, digest=digest) if v["live"]), None)


def ending(rows: Rows, version: Row, reason: str) -> Row:
    """The record that deletes *version*, with the aliases that go with it."""
    key = {"artifact": version["artifact"], "digest": version["digest"]}
    aliases = {row["alias"]: row["digest"] for row in rows.find("alias", **key)}
    return {"kind": "delete", **key, "number": version["number"], "reason": reason, "was": {"aliases": aliases}}
