"""One version as a program holds it: looked up, described, changed, linked.

All that ``save()`` changes of a version is one log entry, so it lands whole or not at all.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from artifactvc.core import names
from artifactvc.core.entries import Record
from artifactvc.core.model import Digest
from artifactvc.core.names import Ref
from artifactvc.core.records import Row, holder, name_row
from artifactvc.core.results import VersionInfo
from artifactvc.core.retention import INHERIT, parse_ttl
from artifactvc.core.rows import ending
from artifactvc.errors import Conflict, UnknownVersion
from artifactvc.ops import query, resolve
from artifactvc.ops.change import alias_record
from artifactvc.ops.expire import expires_at
from artifactvc.ops.fetch import fetch
from artifactvc.ops.resolve import Found
from artifactvc.ops.session import Session, append, read_salted, salted, storing
from artifactvc.ops.ttl import require_editor, require_ttl, ttl_record

_AT_ONCE: Final = 900  # records of one entry

KEEP: Final = object()
"""What a change leaves as it is."""


@dataclass(frozen=True)
class Changes:
    """What ``save`` changes of a version; ``KEEP`` where it stays."""

    description: Any = KEEP  # str
    metadata: Any = KEEP  # dict, whole
    aliases: Any = KEEP  # (added, removed)
    tags: Any = KEEP  # (added, removed)
    ttl: Any = KEEP  # "30d", "none", or None: the default


def by_key(session: Session, artifact_id: str, digest: Digest, remote: str | None = None) -> Found:
    """The version with this content, live if there is such a one, here or in a remote's log; UnknownVersion."""
    rows = session.index.rows if remote is None else session.remote(remote).rows
    found = rows.find("version", artifact=artifact_id, digest=digest)
    artifact = rows.get("artifact", artifact_id)
    version = next((v for v in found if v["live"]), found[-1] if found else None)
    if version is None or artifact is None:
        raise UnknownVersion(f"no version '@{digest[:12]}' is known here any more", hint="run 'avc fetch'")
    return Found(artifact, version)


def snapshot(session: Session, found: Found, remote: str | None = None) -> VersionInfo:
    """What is known of a version, without looking whether its bytes are here."""
    if remote is None:
        return query.describe(session, found, known=None)
    rows, (artifact, row) = session.remote(remote).rows, found
    key = {"artifact": artifact["id"], "digest": row["digest"]}
    return VersionInfo(
        artifact["project"], artifact["name"], artifact["type"], found.shown, row["digest"],
        tuple(sorted((a["alias"] for a in rows.find("alias", **key)), key=lambda a: (a != "latest", a))),
        tuple(t["tag"] for t in rows.find("tag", **key)), row["created"], row["author"], row["count"], row["size"],
        read_salted(session, row["description"], ""), read_salted(session, row["metadata"], {}),
        tuple(p["run"] for p in rows.find("produced", **key)), tuple(u["run"] for u in rows.find("used", **key)),
        row["ttl"], expires_at(resolve.Where(rows, session.remote(remote).connection), artifact, row),
        "live" if row["live"] else "deleted", None, False, True,
    )  # fmt: skip


def anywhere(session: Session, ref: Ref, text: str) -> tuple[Found, str | None]:
    """The version that *ref* names, and the remote in whose log it stands if it is not known here.

    An entity that is a remote's name means that remote, which is asked now. What stands in
    origin's log is known here as soon as that was read.
    """
    entity = ref.entity
    if entity is None or entity == session.entity or entity not in session.avc.remotes:
        return resolve.version_of(session, ref, text), None
    fetch(session, entity)
    if entity == session.avc.origin:
        return resolve.version_of(session, ref._replace(entity=None), text), None
    remote = session.remote(entity)
    where = resolve.Where(remote.rows, remote.connection)
    return resolve.version_of(session, ref, text, where=where), entity


def save(session: Session, artifact_id: str, digest: Digest, changes: Changes) -> None:
    """Change a version in one entry; nothing where nothing differs."""
    found = by_key(session, artifact_id, digest)
    require_live(found)
    for alias in changes.aliases[0] if changes.aliases is not KEEP else ():
        names.check_alias(alias)
    for tag in changes.tags[0] if changes.tags is not KEEP else ():
        names.check_tag(tag)
    if changes.ttl is not KEEP:
        require_ttl(found.artifact["type"], link=bool(found.version["link"]))
        changes = replace(changes, ttl=parse_ttl(changes.ttl or INHERIT))
    with session.avc.writing():
        given: dict[str, Any] = {}
        if changes.description is not KEEP or changes.metadata is not KEEP:
            with storing(session) as writer:
                if changes.description is not KEEP:
                    given["description"] = writer.put(salted(changes.description))
                if changes.metadata is not KEEP:
                    given["metadata"] = writer.put(salted(changes.metadata))
        append(session, "edit", lambda: _records(session, (artifact_id, digest), given, changes))


def _records(session: Session, key: tuple[str, Digest], given: dict[str, Any], changes: Changes) -> list[Record]:
    rows, (artifact_id, digest) = session.index.rows, key
    version = by_key(session, artifact_id, digest).version
    what = {"artifact": artifact_id, "digest": digest}
    records: list[Record] = []
    if given:
        records.append({"kind": "version", **what, "set": given, "was": {name: version[name] for name in given}})
    if changes.aliases is not KEEP:
        added, removed = changes.aliases
        for alias in removed:
            held = rows.get("alias", artifact_id, alias)
            if held is not None and held["digest"] == digest:
                records.append(alias_record(session, artifact_id, alias, None))
        records += [alias_record(session, artifact_id, alias, digest) for alias in added]
    if changes.tags is not KEEP and any(changes.tags):
        tags = {row["tag"] for row in rows.find("tag", artifact=artifact_id, digest=digest)}
        records += [{"kind": "tag", **what, **change} for change in _tagging(tags, changes.tags)]
    if changes.ttl is not KEEP and (record := ttl_record(version, changes.ttl)):
        require_editor(session)
        records += record
    return records


def _tagging(held: set[str], tags: tuple[Sequence[str], Sequence[str]]) -> list[Record]:
    """What changes of the tags *held*, in a record's words, or nothing; so an undo takes off only what was added."""
    added = [tag for tag in dict.fromkeys(tags[0]) if tag not in held]
    removed = [tag for tag in dict.fromkeys(tags[1]) if tag in held]
    return [{"add": added, "remove": removed}] if added or removed else []


def require_live(found: Found) -> None:
    """Conflict for a version that is deleted."""
    if not found.version["live"]:
        name = f"{found.full_name}:{found.shown}"
        raise Conflict(f"{name} is deleted", hint=f"run 'avc restore {name}' while its bytes are there")


# ---- links ---------------------------------------------------------------------------------------------


def source_of(session: Session, found: Found) -> Found:
    """The version that a linked one stands for; the version itself where it is no link, or its source is gone."""
    if not found.version["link"]:
        return found
    try:
        return by_key(session, found.version["link"], found.version["digest"])
    except UnknownVersion:
        return found


def links_of(session: Session, artifact_id: str, digest: Digest) -> list[Found]:
    """The live versions of other artifacts that are links to this one."""
    rows = session.index.connection.execute(
        "SELECT artifact FROM version WHERE digest = ? AND link = ? AND live = 1", (digest, artifact_id)
    ).fetchall()
    return [by_key(session, row[0], digest) for row in rows]


def link(session: Session, source: Found, project: str, name: str, aliases: Sequence[str]) -> Found:
    """Let artifact *name* of *project* have a version that is *source*; its numbers and aliases are its own."""
    source = source_of(session, source)
    require_live(source)
    names.check_project(project)
    names.check_artifact_name(name)
    for alias in aliases:
        names.check_alias(alias)
    artifact_id = source.artifact["id"]
    fresh = secrets.token_hex(16)
    target: dict[str, str] = {}

    def plan() -> list[Record]:
        rows = session.index.rows
        artifact = holder(rows, project, name)
        records: list[Record] = []
        if artifact is None:
            fields = {"project": project, "name": name, "type": source.artifact["type"]}
            records.append({"kind": "artifact", "artifact": fresh, "set": fields, "was": {}})
        target["id"] = artifact["id"] if artifact else fresh
        _check_target(source, artifact)
        record: Record = {"kind": "version", "artifact": target["id"], "digest": source.version["digest"]}
        if artifact is None or resolve.live_by_digest(session, artifact["id"], source.version["digest"]) is None:
            said = ("count", "size", "description", "metadata", "sources")
            kept = {name: source.version[name] for name in said if source.version[name]}
            record |= {"number": name_row(rows, project, name)["next"], "link": artifact_id, **kept}
        elif (latest := rows.get("alias", artifact["id"], "latest")) is None or latest["digest"] != record["digest"]:
            record["was"] = {"latest": latest["digest"] if latest else None}
        records.append(record)
        wanted = [alias for alias in dict.fromkeys(aliases) if alias != "latest"]
        return [*records, *(alias_record(session, target["id"], a, source.version["digest"]) for a in wanted)]

    with session.avc.writing():
        append(session, "link", plan)
    return by_key(session, target["id"], source.version["digest"])


def _check_target(source: Found, artifact: Row | None) -> None:
    from artifactvc.ops.commit import type_conflict

    if artifact is None:
        return
    if artifact["id"] == source.artifact["id"]:
        raise Conflict(f"'{artifact['name']}' cannot be linked to itself", hint="choose another name")
    if artifact["type"] != source.artifact["type"]:
        raise type_conflict(artifact["name"], artifact["type"], source.artifact["type"])


# ---- artifacts as collections ----------------------------------------------------------------------------


def delete_artifact(session: Session, artifact_id: str) -> list[str]:
    """Delete an artifact with all versions and aliases, and the links to them; what went, for people."""
    gone: dict[str, None] = {}

    def plan() -> list[Record]:
        rows = session.index.rows
        artifact = rows.get("artifact", artifact_id)
        if artifact is None or artifact["deleted"]:
            return []
        live = [v for v in rows.find("version", artifact=artifact_id) if v["live"]]
        linked = [other for version in live for other in links_of(session, artifact_id, version["digest"])]
        gone.update((f"{other.full_name}:{other.shown}", None) for other in linked[:_AT_ONCE])
        records = [ending(rows, other.version, "deleted") for other in linked[:_AT_ONCE]]
        if len(linked) < _AT_ONCE:  # else the links first, as many as an entry takes
            gone.update((f"{artifact['project']}/{artifact['name']}:v{v['number']}", None) for v in live)
            was: dict[str, Any] = {
                "aliases": {a["alias"]: a["digest"] for a in rows.find("alias", artifact=artifact_id)}
            }
            if len(live) <= _AT_ONCE:  # more could not be restored in one entry
                was["live"] = [v["digest"] for v in live]
            records.append({"kind": "delete", "artifact": artifact_id, "reason": "deleted", "was": was})
        return records

    while append(session, "delete", plan) is not None:
        continue
    return list(gone)


def unlink(session: Session, found: Found) -> None:
    """Take a link away, with its own aliases; its source stays."""
    append(session, "unlink", lambda: [ending(session.index.rows, found.version, "unlinked")])


def edit_artifact(session: Session, artifact_id: str, description: Any, tags: Any) -> None:
    """Change an artifact's description (``KEEP`` or text) and tags (``KEEP`` or (added, removed)), in one entry."""
    for tag in tags[0] if tags is not KEEP else ():
        names.check_tag(tag)
    with session.avc.writing():
        record: Record = {"kind": "artifact", "artifact": artifact_id}
        if description is not KEEP:
            with storing(session) as writer:
                record["set"] = {"description": writer.put(salted(description))}

        def plan() -> list[Record]:
            row = session.index.rows.get("artifact", artifact_id)
            if row is None:
                return []
            change = [] if tags is KEEP else _tagging(set(json.loads(row["tags"] or "[]")), tags)
            if not change and "set" not in record:
                return []
            was = {"description": row["description"]} if "set" in record else {}
            return [{**record, **(change[0] if change else {}), "was": was}]

        append(session, "edit", plan)


def artifact_description(session: Session, row: Row) -> str:
    """The description of an artifact, empty if it has none."""
    return str(read_salted(session, row["description"], "") or "")
