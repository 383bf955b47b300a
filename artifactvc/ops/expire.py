"""Versions whose time is over, or that a policy does not keep, become deleted ones: records of the log, never
behind a user's back.

What is live stays a function of the log alone (protocol P9): expiry appends ``delete``
records, which can be restored like any other until gc has removed the bytes. Only
``avc expire`` and ``avc gc`` do so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from artifactvc.core import names
from artifactvc.core.entries import Record
from artifactvc.core.results import Expired, Expiry
from artifactvc.core.retention import DEFAULT_SETTING, NONE, Candidate, Fate, default_setting, fate
from artifactvc.core.rows import Row, Rows, ending, live_version, resolve
from artifactvc.ops.policies import NOTHING_HELD, Held, decisions, held, in_force
from artifactvc.ops.resolve import Where, here
from artifactvc.ops.session import Session, append
from artifactvc.util.text import format_time, parse_time

#: Records of one entry.
AT_ONCE = 900
#: How it is said that a policy ends a version.
POLICY = "no retention rule keeps it"


def default_ttl(rows: Rows, project: str) -> str | None:
    """The time to live of the versions of *project* that have none of their own; None for ever."""
    for name in (default_setting(project), DEFAULT_SETTING):
        row = rows.get("setting", name)
        value = json.loads(row["value"]) if row and row["value"] else None
        if isinstance(value, str):
            return None if value == NONE else value
    return None


def fate_of(where: Where, artifact: Row, version: Row) -> Fate:
    """When one version expires, and why."""
    default = default_ttl(where.rows, artifact["project"])
    newest, aliases = False, tuple[str, ...]()
    if version["ttl"] is None and default is not None:
        last = where.connection.execute(
            "SELECT max(number) FROM version WHERE artifact = ? AND live = 1", (artifact["id"],)
        ).fetchone()
        newest = last[0] == version["number"]
        held = where.rows.find("alias", artifact=artifact["id"], digest=version["digest"])
        aliases = tuple(row["alias"] for row in held)
    return fate(_candidate(artifact, version, aliases, newest=newest), default)


def is_over(session: Session, artifact: Row, version: Row) -> bool:
    """Whether the next gc deletes a live version: its time is over by now, or a policy does not keep it."""
    moment = parse_time(session.clock())
    end = fate_of(here(session), artifact, version).expires
    if end is not None and end <= moment:
        return True
    ended = over_of(session.index.rows, artifact, moment, held(session))
    return any(one.version["number"] == version["number"] for one in ended)


def expires_at(where: Where, artifact: Row, version: Row) -> str | None:
    """The moment at which a live version expires, as records have it; None for never."""
    end = fate_of(where, artifact, version).expires if version["live"] else None
    return None if end is None else format_time(end)


def _candidate(artifact: Row, version: Row, aliases: tuple[str, ...], *, newest: bool) -> Candidate:
    name = f"{artifact['project']}/{artifact['name']}:v{version['number']}"
    return Candidate(name, artifact["type"], version["ttl"], version["created"], newest, aliases)


class Over(NamedTuple):
    """A live version whose time is over, or that a policy does not keep."""

    artifact: Row
    version: Row
    aliases: tuple[str, ...]
    since: datetime | None  # None: a policy ends it
    why: str

    def told(self) -> Expired:
        """The same for people."""
        return Expired(
            f"{self.artifact['project']}/{self.artifact['name']}",
            names.shown_number(self.version["number"], provisional=bool(self.version["provisional"])),
            self.why,
            self.version["created"],
            None if self.since is None else format_time(self.since),
            self.aliases,
        )


def over_at(rows: Rows, moment: datetime, held: Held = NOTHING_HELD, project: str | None = None) -> Iterator[Over]:
    """Every live version of *rows*, or of one *project* there, that ends at *moment*; of *held* none by a policy."""
    for artifact in sorted(rows.find("artifact", deleted=0), key=lambda row: (row["project"] or "", row["name"] or "")):
        if project is None or artifact["project"] == project:
            yield from over_of(rows, artifact, moment, held)


def over_of(rows: Rows, artifact: Row, moment: datetime, held: Held = NOTHING_HELD) -> Iterator[Over]:
    """The live versions of one artifact that end at *moment*: by time first, then by policy of those that are left."""
    default = default_ttl(rows, artifact["project"])
    live = [v for v in rows.find("version", artifact=artifact["id"]) if v["live"]]
    if default is None and in_force(rows, artifact)[0] is None and all(version["ttl"] is None for version in live):
        return
    aliases: dict[str, list[str]] = {}
    for row in rows.find("alias", artifact=artifact["id"]):
        aliases.setdefault(row["digest"], []).append(row["alias"])
    left = []
    for version in live:
        named = tuple(aliases.get(version["digest"], ()))
        end, why = fate(_candidate(artifact, version, named, newest=version is live[-1]), default)
        if end is not None and end <= moment:
            yield Over(artifact, version, named, end, why)
        else:
            left.append(version)
    decided = decisions(rows, artifact, left, aliases, moment, held)
    for version in left:
        decision = decided.get(version["number"])
        if decision is not None and not decision.keep:
            named = tuple(aliases.get(version["digest"], ()))
            yield Over(artifact, version, named, None, f"{POLICY}: {', '.join(decision.why)}")


def kept_here(session: Session, one: Over, moment: datetime) -> bool:
    """Whether a version that is over on a remote is kept here, by what is not pushed yet; people are told."""
    artifact = resolve(session.index.rows, one.artifact["id"])
    version = live_version(session.index.rows, artifact["id"], one.version["digest"]) if artifact else None
    if artifact is None or version is None:
        return False
    ended = over_of(session.index.rows, artifact, moment, held(session))
    if any(other.version["number"] == version["number"] for other in ended):
        return False
    told = one.told()
    session.say(f"{told.artifact}:{told.version} is over there, and kept by what is not pushed yet: run 'avc push'")
    return True


def expired_records(rows: Rows, found: list[Over]) -> list[Record]:
    """The records that delete the versions *found*, as many as one entry holds."""
    return [ending(rows, one.version, "ttl" if one.since else "retention") for one in found[:AT_ONCE]]


def expire(session: Session, *, now: str | None = None, dry_run: bool = False) -> Expiry:
    """Delete the versions whose time is over, or that a policy does not keep; what went, or would go.

    *now* is the session's clock if not given.
    """
    moment = parse_time(now or session.clock())
    stands = held(session)
    if dry_run:
        return Expiry(tuple(one.told() for one in over_at(session.index.rows, moment, stands)), dry_run=True)
    gone: list[Expired] = []
    while True:
        batch: list[Over] = []

        def plan(batch: list[Over] = batch) -> list[Record]:
            batch[:] = list(over_at(session.index.rows, moment, stands))[:AT_ONCE]
            return expired_records(session.index.rows, batch)

        if append(session, "expire", plan) is None:
            return Expiry(tuple(gone))
        gone += [one.told() for one in batch]
