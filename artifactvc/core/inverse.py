"""The records that take an operation back, decided on the names as they stand today (protocol N6).

``invert`` answers what takes back one record; ``ops/undo.py`` asks for each record of an
entry, newest first, and plays every answer before it asks for the next, so that checks
see what the records before them have done. What was changed again since is not undone: the
answer is ``Blocked``, which says what stands in the way.

``latest`` never stands in the way (protocol N4): it goes back where it is still where
the operation put it, and stays elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from artifactvc.core.entries import LogEntry, Record
from artifactvc.core.latest import stood_before
from artifactvc.core.policy import policy_row
from artifactvc.core.records import folded, holder, name_row, resolve
from artifactvc.core.rows import Row, Rows, ending, live_version


class Blocked(Exception):
    """Something that was done since stands in the way; *record* is what could not be taken back."""

    def __init__(self, message: str, record: Record) -> None:
        super().__init__(message)
        self.record = record


@dataclass(frozen=True)
class Undoing:
    """One entry that is taken back: what is known of it besides its records."""

    entry: LogEntry
    pushed: frozenset[int]  # positions of the records that a remote holds
    landed_since: frozenset[tuple[str, str]]  # (artifact, digest) that later operations here made or asked for again


def can_undo(entry: LogEntry) -> bool:
    """Whether anything that *entry* did can be taken back at all."""
    return any(_inverse_of(record) is not None for record in entry.records)


def undone_op(entry: LogEntry) -> str | None:
    """The operation that *entry* took back, or None."""
    return next((str(record["undoes"]) for record in entry.records if record.get("undoes")), None)


def invert(rows: Rows, undoing: Undoing, position: int) -> list[Record]:
    """The records that take back the one at *position*, given *rows*; none where nothing of it is left.

    Raises Blocked.
    """
    record = undoing.entry.records[position]
    inverse = _inverse_of(record)
    if inverse is None:
        return []
    found: list[Record] = inverse(rows, record, undoing, position)
    return found


def _inverse_of(record: Record) -> Any:
    kind, changes = record["kind"], record.get("set", {})
    if kind == "version" and "set" not in record:
        # Content that was there, and all stayed as it was: only a run was noted.
        return _landed if "number" in record or record.get("tags") or "was" in record else None
    if kind == "artifact":
        if "joins" in changes:
            return None
        return _created if "project" in changes else _described
    if changes and changes == record.get("was") and not record.get("back"):
        return None
    return _INVERSES.get(kind)


# ---- versions ------------------------------------------------------------------------------


def _landed(rows: Rows, record: Record, undoing: Undoing, position: int) -> list[Record]:
    """A version that was made is deleted; of one that was there, ``latest`` and the tags go back."""
    artifact = _artifact(rows, record)
    digest, op = record["digest"], undoing.entry.op
    version = live_version(rows, artifact["id"], digest)
    if version is None:
        raise Blocked(f"the version of '{artifact['name']}' that it made is deleted", record)
    shown = f"'{artifact['name']}:v{version['number']}'"
    if "number" in record and version["op"] == op:
        if (artifact["id"], digest) in undoing.landed_since:
            raise Blocked(f"{shown} was asked for again", record)
        ended = _end(rows, version, "undo", record)
        return [{**ended, "made": op}]
    found: list[Record] = []
    held = {row["tag"] for row in rows.find("tag", artifact=artifact["id"], digest=digest)}
    if tags := [tag for tag in record.get("tags", ()) if tag in held]:
        found.append({"kind": "tag", "artifact": artifact["id"], "digest": digest, "remove": tags})
    latest = rows.get("alias", artifact["id"], "latest")
    moved = op in json.loads(version["stood"] or "{}")
    if latest and latest["digest"] == digest and moved and (artifact["id"], digest) not in undoing.landed_since:
        found.append({
            "kind": "alias", "artifact": artifact["id"], "alias": "latest", "set": {"digest": None},
            "was": {"digest": digest}, "back": op,
        })  # fmt: skip
    return found


def _end(rows: Rows, version: Row, reason: str, record: Record) -> Record:
    """The record that deletes *version*; Blocked where it has an alias that was given since."""
    found = ending(rows, version, reason)
    if given := [alias for alias in found["was"]["aliases"] if alias != "latest"]:
        raise Blocked(f"'v{version['number']}' has the alias '{given[0]}'", {**record, "alias": given[0]})
    return found


def _edited(rows: Rows, record: Record, undoing: Undoing, position: int) -> list[Record]:
    version = _version(rows, record)
    return _set_back(record, version, f"of 'v{version['number']}'")


def _set_back(record: Record, row: Row, what: str) -> list[Record]:
    """The same fields with the values before, if they are as *record* left them."""
    left, before = record.get("set", {}), record.get("was", {})
    changed = {name: before.get(name) for name in left if before.get(name) != left[name]}
    for name in changed:
        if row.get(name) != left[name]:
            raise Blocked(f"the {name} {what} was changed", record)
    key: Record = {name: record[name] for name in ("kind", "artifact", "digest", "name") if name in record}
    return [{**key, "set": changed, "was": {name: left[name] for name in changed}}] if changed else []


def _tagged(rows: Rows, record: Record, undoing: Undoing, position: int) -> list[Record]:
    version = _version(rows, record)
    held = {row["tag"] for row in rows.find("tag", artifact=version["artifact"], digest=version["digest"])}
    key = {"kind": "tag", "artifact": version["artifact"], "digest": version["digest"]}
    return _tags_back(key, record, held)


def _tags_back(key: Record, record: Record, held: set[str]) -> list[Record]:
    """Tags are a set: what was put on goes, what was taken off comes, whatever else has changed (protocol N5)."""
    removed = [tag for tag in record.get("add", ()) if tag in held]
    added = [tag for tag in record.get("remove", ()) if tag not in held]
    return [{**key, "add": added, "remove": removed}] if added or removed else []


def _deleted(rows: Rows, record: Record, undoing: Undoing, position: int) -> list[Record]:
    """What was deleted is restored, with the aliases that went with it."""
    artifact = _artifact(rows, record)
    was: Mapping[str, Any] = record.get("was", {})
    if record.get("digest") is not None:
        digests = [record["digest"]]
    elif isinstance(was.get("live"), list):
        digests = was["live"]
    else:
        raise Blocked(f"'{artifact['name']}' had more versions than one entry can restore", record)
    found = _make_way(rows, artifact, record, undoing) if artifact["deleted"] else []
    if artifact["deleted"] and not digests:
        return [*found, {"kind": "restore", "artifact": artifact["id"]}]
    revived: Record = {"was": {"deleted": True}} if artifact["deleted"] else {}
    found += [{**_restored(rows, artifact, digest, record), **revived} for digest in digests]
    aliases = was.get("aliases")
    for alias, digest in aliases.items() if isinstance(aliases, Mapping) else ():
        if digest not in digests:
            continue
        held = rows.get("alias", artifact["id"], alias)
        if alias == "latest" and (held["digest"] if held else None) != _left_at(rows, artifact, record):
            continue
        if alias != "latest" and held is not None:
            raise Blocked(f"the alias '{alias}' that it had was given to another", {**record, "alias": alias})
        found.append(_alias(artifact, alias, digest, held))
    return found


def _make_way(rows: Rows, artifact: Row, record: Record, undoing: Undoing) -> list[Record]:
    """The name of a deleted artifact comes back; one that has it and no version, as an undo leaves it, goes."""
    owner = holder(rows, artifact["project"], artifact["name"])
    if owner is None or owner["id"] == artifact["id"]:
        return []
    if any(v["live"] for v in rows.find("version", artifact=owner["id"])):
        raise Blocked(f"the name '{artifact['name']}' belongs to another artifact", record)
    return [_artifact_gone(owner["id"], undoing)]


def _left_at(rows: Rows, artifact: Row, record: Record) -> str | None:
    """Where ``latest`` went with a deletion: away, or back if it was an undo."""
    ended = [v for v in rows.find("version", artifact=artifact["id"], digest=record.get("digest")) if not v["live"]]
    return stood_before(rows, ended[-1], record["made"]) if ended and record.get("made") else None


def _restored(rows: Rows, artifact: Row, digest: str, record: Record) -> Record:
    versions = rows.find("version", artifact=artifact["id"], digest=digest)
    live = next((v for v in versions if v["live"]), None)
    if live is not None:
        raise Blocked(f"its content is live as '{artifact['name']}:v{live['number']}'", record)
    number = record.get("number")
    ended = [v for v in versions if v["number"] == number] or versions
    if not ended:
        raise Blocked(f"its version of '{artifact['name']}' is not known any more", record)
    key = {"artifact": artifact["id"], "digest": digest}
    return {"kind": "restore", **key, "number": ended[-1]["number"]}


def _back_again(rows: Rows, record: Record, undoing: Undoing, position: int) -> list[Record]:
    """What was restored is deleted again, and its artifact with it if it was."""
    if record.get("digest") is None:
        artifact = _artifact(rows, record)
        live = any(v["live"] for v in rows.find("version", artifact=artifact["id"]))
        return [] if live or artifact["deleted"] else [_artifact_gone(artifact["id"], undoing)]
    version = _version(rows, record)
    if (version["artifact"], version["digest"]) in undoing.landed_since:
        raise Blocked(f"'v{version['number']}' was asked for again", record)
    found = [_end(rows, version, "deleted", record)]
    others = [v for v in rows.find("version", artifact=version["artifact"]) if v["live"]]
    if record.get("was", {}).get("deleted") is True and len(others) == 1:
        found.append(_artifact_gone(version["artifact"], undoing))
    return found


# ---- names ---------------------------------------------------------------------------------


def _alias(artifact: Row, alias: str, digest: str | None, held: Row | None) -> Record:
    was = held["digest"] if held else None
    return {
        "kind": "alias", "artifact": artifact["id"], "alias": alias, "set": {"digest": digest}, "was": {"digest": was},
    }  # fmt: skip


def _pointed(rows: Rows, record: Record, undoing: Undoing, position: int) -> list[Record]:
    artifact, alias = _artifact(rows, record), record["alias"]
    held = rows.get("alias", artifact["id"], alias)
    at, left, before = held["digest"] if held else None, *(record.get(f, {}).get("digest") for f in ("set", "was"))
    if before == left or at == before:
        return []
    if record.get("back"):
        version = live_version(rows, artifact["id"], before)
        left = stood_before(rows, version, record["back"]) if version else at
    if at != left:
        if alias == "latest":
            return []
        now = live_version(rows, artifact["id"], at) if at else None
        moved = f"is at 'v{now['number']}' now" if now else "was removed"
        raise Blocked(f"the alias '{alias}' of '{artifact['name']}' {moved}", record)
    if before is not None and live_version(rows, artifact["id"], before) is None:
        if alias != "latest":
            raise Blocked(f"the version that '{alias}' of '{artifact['name']}' was at is deleted", record)
        others = [v for v in rows.find("version", artifact=artifact["id"]) if v["live"] and v["digest"] != at]
        before = others[-1]["digest"] if others else None
    return [_alias(artifact, alias, before, held)]


def _created(rows: Rows, record: Record, undoing: Undoing, position: int) -> list[Record]:
    """An artifact that nobody else knows goes with its last version; one that was pushed stays, without versions."""
    artifact = _artifact(rows, record)
    live = any(v["live"] for v in rows.find("version", artifact=artifact["id"]))
    if live or artifact["deleted"] or position in undoing.pushed:
        return []
    return [_artifact_gone(artifact["id"], undoing)]


def _artifact_gone(artifact: str, undoing: Undoing) -> Record:
    """``made``: it goes only if no version of it is live where the record lands."""
    was: Record = {"live": [], "aliases": {}}
    return {"kind": "delete", "artifact": artifact, "reason": "undo", "made": undoing.entry.op, "was": was}


def _described(rows: Rows, record: Record, undoing: Undoing, position: int) -> list[Record]:
    """A rename, a description, tags of an artifact."""
    artifact, changes = _artifact(rows, record), record.get("set", {})
    found: list[Record] = []
    key = {"kind": "artifact", "artifact": artifact["id"]}
    if "name" in changes:
        before = record.get("was", {}).get("name")
        if artifact["name"] != changes["name"]:
            raise Blocked(f"'{changes['name']}' is called '{artifact['name']}' now", record)
        if before and before != changes["name"]:
            _check_name(rows, artifact, before, record)
            found.append({**key, "set": {"name": before}, "was": {"name": changes["name"]}})
    if "description" in changes:
        only = {"set": {"description": changes["description"]}, "was": record.get("was", {})}
        found += _set_back({**key, **only}, artifact, f"of '{artifact['name']}'")
    return found + _tags_back(key, record, set(json.loads(artifact["tags"] or "[]")))


def _check_name(rows: Rows, artifact: Row, name: str, record: Record) -> None:
    """Blocked where another artifact has, or had, the name that is to come back."""
    project, own = artifact["project"], artifact["id"]
    owner = holder(rows, project, name)
    life = name_row(rows, project, name)["artifact"]
    renamed = folded(name) != folded(artifact["name"])
    if (owner is not None and owner["id"] != own) or (renamed and life not in (None, own)):
        raise Blocked(f"the name '{name}' belongs to another artifact", record)


def _configured(rows: Rows, record: Record, undoing: Undoing, position: int) -> list[Record]:
    row = rows.get("setting", record["name"])
    value = json.loads(row["value"]) if row and row["value"] else None
    return _set_back(record, {"value": value}, f"of '{record['name']}'")


def _policied(rows: Rows, record: Record, undoing: Undoing, position: int) -> list[Record]:
    artifact = _artifact(rows, record) if record.get("artifact") is not None else None
    project = record.get("project")
    row = rows.get("setting", policy_row(artifact["id"] if artifact else None, project))
    key: Record = {"artifact": artifact["id"]} if artifact else {"project": project}
    name = f"'{artifact['name']}'" if artifact else f"project '{project}'"
    back = _set_back(record, {"policy": json.loads(row["value"]) if row and row["value"] else None}, f"of {name}")
    return [{**one, **key} for one in back]


# ---- looking up ------------------------------------------------------------------------------


def _artifact(rows: Rows, record: Record) -> Row:
    row = resolve(rows, record["artifact"])
    if row is None:
        raise Blocked("its artifact is not known any more", record)
    return row


def _version(rows: Rows, record: Record) -> Row:
    artifact = _artifact(rows, record)
    version = live_version(rows, artifact["id"], record["digest"])
    if version is None:
        raise Blocked(f"its version of '{artifact['name']}' is deleted", record)
    return version


_INVERSES: Final = {
    "alias": _pointed, "tag": _tagged, "version": _edited, "delete": _deleted, "restore": _back_again, "ttl": _edited,
    "retention": _policied, "setting": _configured,
}  # fmt: skip
