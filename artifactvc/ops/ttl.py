"""How long versions live: set and shown. What is over goes in ``ops/expire.py``, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Sequence

from artifactvc.core import names
from artifactvc.core.editors import MOST_EDITORS, editors, may_edit, only
from artifactvc.core.entries import Record
from artifactvc.core.identity import check_identity
from artifactvc.core.records import Row
from artifactvc.core.results import Lifetime, TimesToLive
from artifactvc.core.retention import EDITORS_SETTING, NONE, default_setting, is_generated, parse_ttl
from artifactvc.errors import BadValue, NotAnEditor, UsageError
from artifactvc.ops import resolve
from artifactvc.ops.expire import default_ttl, fate_of, over_at
from artifactvc.ops.resolve import Found
from artifactvc.ops.session import Session, append
from artifactvc.util.text import format_time, parse_time


def require_editor(session: Session) -> None:
    """NotAnEditor unless who asks may change times to live."""
    listed = editors(session.index.rows)
    if listed is not None and not may_edit(session.index.rows, session.author):
        raise NotAnEditor(only(listed), session.author)


def require_ttl(kind: str, *, link: bool = False) -> None:
    """BadValue where a version has no time to live of its own: of a type that tools make, or a link."""
    if is_generated(kind):
        raise BadValue(
            f"an artifact of type '{kind}' has no time to live", hint="delete its versions with 'avc delete'"
        )
    if link:
        raise BadValue("a link has no time to live of its own: set that of its source")


def ttl_record(version: Row, ttl: str | None) -> list[Record]:
    """The record that sets a version's own time to live; none where it is that already."""
    if version["ttl"] == ttl:
        return []
    what = {"kind": "ttl", "artifact": version["artifact"], "digest": version["digest"]}
    return [{**what, "set": {"ttl": ttl}, "was": {"ttl": version["ttl"]}}]


def show(session: Session, refs: Sequence[str] = ()) -> TimesToLive:
    """How long the versions *refs* live, and what the log says of the project."""
    return _answer(session, [resolve.version(session, ref) for ref in refs])


def set_ttl(session: Session, refs: Sequence[str], text: str) -> TimesToLive:
    """Let the versions *refs* live as long as *text* says from their creation on: "30d", "none" or "inherit"."""
    ttl = parse_ttl(text)
    found = [resolve.version(session, ref) for ref in refs]
    for one in found:
        require_ttl(one.artifact["type"], link=bool(one.version["link"]))

    def plan() -> list[Record]:
        require_editor(session)
        keys = dict.fromkeys((one.artifact["id"], one.version["digest"]) for one in found)
        rows = (resolve.live_by_digest(session, *key) for key in keys)
        return [record for row in rows if row is not None for record in ttl_record(row, ttl)]

    changed = append(session, "ttl", plan) is not None
    return _answer(session, [resolve.version(session, ref) for ref in refs], changed=changed)


def set_default(session: Session, text: str | None) -> TimesToLive:
    """Record the default time to live of the session's project: "90d"; "none" or None for none."""
    value = NONE if text is None else parse_ttl(text)
    before = default_ttl(session.index.rows, session.project)
    changed = False
    if (None if value == NONE else value) != before:
        changed = _set(session, default_setting(session.project), value)
        moment = parse_time(session.clock())
        over = sum(one.since is not None for one in over_at(session.index.rows, moment, project=session.project))
        if over:
            session.say(
                f"{over} version{'s' * (over != 1)} of project '{session.project}' {'is' if over == 1 else 'are'} over"
                " already: the next 'avc expire' or 'avc gc' deletes what 'avc expire --dry-run' shows"
            )
    return _answer(session, [], changed=changed)


def set_editors(session: Session, wanted: Sequence[str] | None) -> TimesToLive:
    """Let only *wanted* change times to live from now on: names, emails or ``Name <email>``; None for anyone.

    UsageError for an empty list, BadName for what is no identity, NotAnEditor.
    """
    value: list[str] | None = None
    if wanted is not None:
        value = list(dict.fromkeys(str(check_identity(who)) for who in wanted))
        if not 1 <= len(value) <= MOST_EDITORS:
            raise UsageError(
                f"give 1 to {MOST_EDITORS} editors", hint="or let anyone change times to live: 'avc ttl --anyone'"
            )
    changed = _set(session, EDITORS_SETTING, value)
    if changed and not may_edit(session.index.rows, session.author):
        session.say(f"you are '{session.author}' and not in the list: you cannot change times to live any more")
    return _answer(session, [], changed=changed)


def _set(session: Session, name: str, value: object) -> bool:
    """Record a setting of the log; False where it is that already."""

    def plan() -> list[Record]:
        require_editor(session)
        row = session.index.rows.get("setting", name)
        before = json.loads(row["value"]) if row and row["value"] else None
        if before == value:
            return []
        return [{"kind": "setting", "name": name, "set": {"value": value}, "was": {"value": before}}]

    return append(session, "ttl", plan) is not None


def _answer(session: Session, found: Sequence[Found], *, changed: bool = False) -> TimesToLive:
    now = parse_time(session.clock())
    versions = []
    for artifact, row in found:
        end, why = fate_of(resolve.here(session), artifact, row)
        versions.append(Lifetime(
            f"{artifact['project']}/{artifact['name']}",
            names.shown_number(row["number"], provisional=bool(row["provisional"])),
            row["ttl"],
            row["created"],
            None if end is None else format_time(end),
            why,
            end is not None and end <= now,
        ))  # fmt: skip
    rows, project = session.index.rows, session.project
    return TimesToLive(tuple(versions), project, default_ttl(rows, project), editors(rows), changed)
