"""Retention policies: set, shown and explained. What they end goes in ``ops/expire.py``, and nowhere else."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from artifactvc.core import names
from artifactvc.core.entries import Record
from artifactvc.core.policy import Policy, check_policy, policy_row, policy_words
from artifactvc.core.results import Retained, Retention
from artifactvc.core.retention import is_generated
from artifactvc.core.rows import Row
from artifactvc.errors import BadValue
from artifactvc.ops import resolve
from artifactvc.ops.expire import over_of
from artifactvc.ops.policies import decisions, held, in_force, recorded
from artifactvc.ops.session import Session, append
from artifactvc.ops.ttl import require_editor
from artifactvc.storage.database import begin
from artifactvc.util.text import parse_time


class _Played(Exception):
    """Ends a transaction whose changes are taken back."""


def show(session: Session, name: str | None) -> Retention:
    """The policy of artifact *name*, or the default of the session's project, and what it decides today."""
    return _told(session, None if name is None else resolve.artifact(session, name))


def set_policy(session: Session, name: str | None, policy: Policy | None, *, dry_run: bool = False) -> Retention:
    """Record the policy of artifact *name*, or the default of the session's project; nothing goes yet.

    None lets the project's default count again, or takes that away; a policy without rules keeps everything.
    Raises BadValue, BadName.
    """
    artifact = None if name is None else resolve.artifact(session, name)
    if artifact is not None and policy is not None and is_generated(artifact["type"]):
        raise BadValue(
            f"an artifact of type '{artifact['type']}' has no policy: it is left alone", hint="delete with 'avc delete'"
        )
    value = None if policy is None else check_policy(policy).record()
    about: Record = {"artifact": artifact["id"]} if artifact else {"project": session.project}

    def plan() -> list[Record]:
        require_editor(session)
        before = recorded(session.index.rows, about.get("artifact"), about.get("project"))
        record = {"kind": "retention", **about, "set": {"policy": value}, "was": {"policy": before}}
        return [] if before == value else [record]

    if not dry_run:
        return _told(session, artifact, changed=append(session, "retention", plan) is not None)
    return _tried(session, artifact, value)


def _tried(session: Session, artifact: Row | None, value: Mapping[str, Any] | None) -> Retention:
    """What would stand if *value* were recorded: played, and taken back."""
    rows = session.index.rows
    answer: list[Retention] = []
    with contextlib.suppress(_Played), begin(session.avc.connect()):
        name = policy_row(artifact["id"] if artifact else None, session.project)
        rows.put("setting", {"name": name, "value": json.dumps(value)})
        answer.append(_told(session, artifact, changed=False, dry_run=True))
        raise _Played
    return answer[0]


def _told(session: Session, artifact: Row | None, *, changed: bool = False, dry_run: bool = False) -> Retention:
    rows = session.index.rows
    if artifact is not None:
        value, own = in_force(rows, artifact)
        chosen = [artifact]
    else:
        value, own = recorded(rows, None, session.project), True
        of = [row for row in rows.find("artifact", project=session.project, deleted=0) if not row["joins"]]
        chosen = [row for row in sorted(of, key=lambda row: row["name"]) if not in_force(rows, row)[1]]
    found = [one for row in chosen for one in _decided(session, row)] if value is not None else []
    name = None if artifact is None else f"{artifact['project']}/{artifact['name']}"
    words = None if value is None else policy_words(value)
    return Retention(name, session.project, words, not own and value is not None, tuple(found), changed, dry_run)


def _decided(session: Session, artifact: Row) -> list[Retained]:
    """What the next expiry would do to each live version of *artifact*, the newest first."""
    rows, moment, stands = session.index.rows, parse_time(session.clock()), held(session)
    gone = {one.version["number"]: one for one in over_of(rows, artifact, moment, stands)}
    live = [v for v in rows.find("version", artifact=artifact["id"]) if v["live"]]
    aliases: dict[str, list[str]] = {}
    for row in rows.find("alias", artifact=artifact["id"]):
        aliases.setdefault(row["digest"], []).append(row["alias"])
    by_time = {number for number, one in gone.items() if one.since is not None}
    decided = decisions(rows, artifact, [v for v in live if v["number"] not in by_time], aliases, moment, stands)
    found = []
    for version in reversed(live):
        number = version["number"]
        why = (f"{gone[number].why} is over",) if number in by_time else decided[number].why
        found.append(Retained(
            f"{artifact['project']}/{artifact['name']}",
            names.shown_number(number, provisional=bool(version["provisional"])),
            number not in gone,
            why,
            tuple(aliases.get(version["digest"], ())),
            tuple(t["tag"] for t in rows.find("tag", artifact=artifact["id"], digest=version["digest"])),
        ))  # fmt: skip
    return found
