"""Which retention policy counts for an artifact, and what it looks at: read from the rows of a log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from artifactvc.core import policy as rules
from artifactvc.core.policy import Decision, Member, Policy, policy_row
from artifactvc.core.rows import Row, Rows
from artifactvc.ops.session import Session

#: (artifact id, digest) of versions that the workspace, or a draft here, stands on.
Held = frozenset[tuple[str, str]]
NOTHING_HELD: Held = frozenset()


def recorded(rows: Rows, artifact: str | None, project: str | None) -> Mapping[str, Any] | None:
    """The policy that records set for an artifact, or for a project; None for none."""
    row = rows.get("setting", policy_row(artifact, project))
    value = json.loads(row["value"]) if row and row["value"] else None
    return value if isinstance(value, dict) else None


def in_force(rows: Rows, artifact: Row) -> tuple[Mapping[str, Any] | None, bool]:
    """The policy that counts for *artifact*, and whether it is its own; (None, False) without any."""
    own = recorded(rows, artifact["id"], None)
    if own is not None:
        return own, True
    return recorded(rows, None, artifact["project"]), False


def held(session: Session) -> Held:
    """What the workspace and the drafts here stand on: a policy does not take it from under them."""
    found = {(draft.artifact, draft.base) for draft in session.avc.drafts.all() if draft.base is not None}
    rows = session.index.rows
    for bound in session.avc.bindings.artifacts.values():
        if bound.digest is not None:
            named = rows.find("artifact", project=bound.project, name=bound.name)
            found |= {(row["id"], bound.digest) for row in named}
    return frozenset(found)


def decisions(
    rows: Rows, artifact: Row, live: Iterable[Row], aliases: Mapping[str, list[str]], moment: datetime,
    held: Held = NOTHING_HELD,
) -> dict[int, Decision]:  # fmt: skip
    """What the policy in force decides of the versions *live* of *artifact*, by number; nothing without a policy."""
    value, _ = in_force(rows, artifact)
    if value is None:
        return {}
    policy: Policy | None = rules.policy_of(value)
    tags: dict[str, list[str]] = {}
    for row in rows.find("tag", artifact=artifact["id"]):
        tags.setdefault(row["digest"], []).append(row["tag"])
    members = [
        Member(
            version["number"],
            version["created"],
            tuple(aliases.get(version["digest"], ())),
            tuple(tags.get(version["digest"], ())),
            version["ttl"],
            (artifact["id"], version["digest"]) in held,
        )
        for version in live
    ]
    return {decision.number: decision for decision in rules.decide(policy, artifact["type"], members, moment)}
