"""Versions whose time is over become deleted ones: records of the log, never behind a user's back.

What is live stays a function of the log alone (protocol P9): expiry appends ``delete``
records, which can be restored like any other until gc has removed the bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime

from artifactvc.core.entries import Record
from artifactvc.core.records import Row, Rows
from artifactvc.core.retention import DEFAULT_SETTING, NONE, Candidate, over
from artifactvc.core.rows import ending
from artifactvc.ops.session import Session, append
from artifactvc.util.text import parse_duration, parse_time

#: Records of one entry.
_AT_ONCE = 900


def default_ttl(session: Session) -> str | None:
    """The default time to live that the log records, or None."""
    return _default(session.index.rows)


def _default(rows: Rows) -> str | None:
    row = rows.get("setting", DEFAULT_SETTING)
    value = json.loads(row["value"]) if row and row["value"] else None
    return value if isinstance(value, str) else None


def set_default_ttl(session: Session, ttl: str | None) -> None:
    """Record the default time to live; None or "none" for no default."""
    value = None if ttl in (None, NONE) else ttl
    if value is not None:
        parse_duration(value)
    before = default_ttl(session)
    if before != value:
        record: Record = {
            "kind": "setting", "name": DEFAULT_SETTING, "set": {"value": value}, "was": {"value": before},
        }  # fmt: skip
        append(session, "ttl", lambda: [record])


def candidates(rows: Rows) -> Iterator[tuple[Candidate, Row]]:
    """Every live version of *rows* with what decides its expiry."""
    for artifact in rows.find("artifact", deleted=0):
        live = [v for v in rows.find("version", artifact=artifact["id"]) if v["live"]]
        for version in live:
            yield (
                Candidate(
                    f"{artifact['project']}/{artifact['name']}:v{version['number']}",
                    artifact["type"],
                    version["ttl"],
                    version["created"],
                    version is live[-1],
                    tuple(a["alias"] for a in rows.find("alias", artifact=artifact["id"], digest=version["digest"])),
                ),
                version,
            )


def expired_records(rows: Rows, moment: datetime) -> tuple[list[str], list[Record]]:
    """The versions of *rows* whose time is over at *moment*, and the records that delete them; one entry's worth."""
    default, refs, records = _default(rows), list[str](), list[Record]()
    for candidate, version in candidates(rows):
        if over(candidate, default, moment):
            refs.append(candidate.ref)
            records.append(ending(rows, version, "ttl"))
        if len(records) == _AT_ONCE:
            break
    return refs, records


def expire(session: Session, *, now: str | None = None, dry_run: bool = False) -> list[str]:
    """Delete the versions whose time is over; what went, or would go. *now* is the session's clock if not given."""
    moment = parse_time(now or session.clock())
    gone: list[str] = []
    while True:
        batch: list[str] = []

        def plan(batch: list[str] = batch) -> list[Record]:
            batch.clear()
            refs, records = expired_records(session.index.rows, moment)
            batch += refs
            return records

        if dry_run:
            plan()
            return batch
        if append(session, "expire", plan) is None:
            return gone
        gone += batch
