"""What a push does where others' work stands against a record of ours, other than a plain conflict of values.

Each function looks at one record before or after ``push_plan.py`` plays it against the
state of the remote's log, and leaves a note for people, or refuses the push.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, Protocol

from artifactvc.core.editors import is_of_ttl, may_edit, ttl_key
from artifactvc.core.entries import Record
from artifactvc.core.policy import policy_row
from artifactvc.core.records import holder, resolve
from artifactvc.core.retention import setting_words, value_words
from artifactvc.core.rows import Rows
from artifactvc.errors import Conflict

if TYPE_CHECKING:
    from artifactvc.ops.push_plan import Plan, PushOptions
    from artifactvc.storage.remote import Remote

#: The source under which records are played.
PLAYED: Final = "plan"
#: How records are called, of which people are told that they have no effect.
_SAID: Final = {
    "alias": "the alias",
    "tag": "a tag",
    "version": "an edit",
    "ttl": "a time to live",
    "retention": "a retention policy",
    "restore": "a restore",
}


class Planner(Protocol):
    """What these functions need of the planner."""

    remote: Remote
    options: PushOptions
    plan: Plan
    rows: Rows


def note_effect(planner: Planner, record: Record) -> None:
    """Say of a record that will have no effect, since others were faster, why that is."""
    lost, what = planner.rows.get("conflict", record["id"]), _SAID.get(record["kind"])
    if lost is None and record["kind"] == "version":
        lost, what = planner.rows.get("conflict", ttl_key(record["id"])), _SAID["ttl"]
    if record["kind"] == "setting":
        what = f"a change of {setting_words(record['name'])}"
    if lost is None or lost["source"] != PLAYED or what is None:
        return
    artifact = resolve(planner.rows, record.get("artifact", ""))
    of = f" of '{artifact['name']}'" if artifact else ""
    name = f" '{record['alias']}'" if record["kind"] == "alias" else ""
    planner.plan.notes.append(f"{what}{name}{of} has no effect on '{planner.remote.name}': {lost['reason']}")


def look_for_artifact(planner: Planner, record: Record) -> None:
    """A version of an artifact that was deleted there goes to the one which has its name now, or brings it back."""
    row = resolve(planner.rows, record["artifact"])
    if row is None or not row["deleted"]:
        return
    there = holder(planner.rows, row["project"], row["name"])
    if there is None:
        planner.plan.notes.append(
            f"artifact '{row['name']}' was deleted on remote '{planner.remote.name}':"
            " it is there again, with what was pushed now"
        )
    elif there["type"] == row["type"]:
        planner.plan.joined[record["artifact"]] = there["id"]
        planner.plan.notes.append(
            f"artifact '{row['name']}' was deleted on remote '{planner.remote.name}' and begun anew:"
            " what was pushed now is part of the new one"
        )
    else:
        raise Conflict(
            f"artifact '{row['name']}' was deleted on remote '{planner.remote.name}', and is of type"
            f" '{there['type']}' now, not '{row['type']}'",
            hint="'avc undo' the commit, then commit it under another name",
        )


def delete_artifact(planner: Planner, record: Record) -> None:
    """Who deletes an artifact with all versions does not delete those that they have not seen."""
    row, seen = resolve(planner.rows, record["artifact"]), record.get("was", {}).get("live")
    if row is None or seen is None or planner.options.force:
        return
    live = [v for v in planner.rows.find("version", artifact=row["id"]) if v["live"]]
    fresh = [v for v in live if v["digest"] not in seen]
    if fresh:
        raise Conflict(
            f"'{row['name']}:v{fresh[-1]['number']}' was made on remote '{planner.remote.name}' by"
            f" {fresh[-1]['author']} while you deleted '{row['name']}'",
            hint="push with --force to delete it too, or take your deletion back: 'avc undo'",
        )


def change_setting(planner: Planner, record: Record) -> None:
    """A setting that others gave another value is a conflict; one that is not ours to change has no effect."""
    if is_of_ttl(record["name"]) and not may_edit(planner.rows, record["author"]):
        return
    held = planner.rows.get("setting", record["name"])
    there = json.loads(held["value"]) if held and held["value"] else None
    if there in (record.get("was", {}).get("value"), record.get("set", {}).get("value")):
        return
    if not planner.options.force:
        raise Conflict(
            f"{setting_words(record['name'])} was changed to '{value_words(record['name'], there)}'"
            f" on remote '{planner.remote.name}' meanwhile",
            hint="push with --force to give it your value, or set it to theirs",
        )
    record["was"] = {"value": there}


def change_policy(planner: Planner, record: Record) -> None:
    """A retention policy that others gave other rules is a conflict; one that is not ours to change has no effect."""
    if not may_edit(planner.rows, record["author"]):
        return
    artifact = resolve(planner.rows, record["artifact"]) if "artifact" in record else None
    held = planner.rows.get("setting", policy_row(artifact["id"] if artifact else None, record.get("project")))
    there = json.loads(held["value"]) if held and held["value"] else None
    if there in (record.get("was", {}).get("policy"), record.get("set", {}).get("policy")):
        return
    of = f"'{artifact['name']}'" if artifact else f"project '{record.get('project')}'"
    if not planner.options.force:
        raise Conflict(
            f"the retention policy of {of} was changed on remote '{planner.remote.name}' meanwhile",
            hint="push with --force to give it yours, or take yours back: 'avc undo'",
        )
    record["was"] = {"policy": there}
