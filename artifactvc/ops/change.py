"""Names change: alias, tag, edit, rename, delete, restore. One log entry each.

A record carries only what it changes, with the value before (protocol N5); nothing
here touches bytes, apart from storing a description or metadata.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from artifactvc.core import names
from artifactvc.core.entries import Record
from artifactvc.core.records import folded, holder, name_row
from artifactvc.core.results import Named
from artifactvc.core.rows import ending
from artifactvc.errors import Conflict, NameTaken, NotFound, UnknownAlias, UsageError
from artifactvc.ops import resolve
from artifactvc.ops.resolve import Found
from artifactvc.ops.session import Session, append, read_salted, salted, storing
from artifactvc.storage.database import begin
from artifactvc.storage.drafts import workspace_draft_id


def alias_record(session: Session, artifact_id: str, alias: str, digest: str | None) -> Record:
    """The record that moves *alias* to *digest*, or drops it, with where it stood before."""
    held = session.index.rows.get("alias", artifact_id, alias)
    return {
        "kind": "alias", "artifact": artifact_id, "alias": alias,
        "set": {"digest": digest}, "was": {"digest": held["digest"] if held else None},
    }  # fmt: skip


def alias(session: Session, ref: str, aliases: Sequence[str], *, remove: bool = False) -> Named:
    """Make *aliases* point at a version, or with *remove* take them off it."""
    if not aliases:
        raise UsageError("no alias given", hint="write 'avc alias NAME:v3 best'")
    found = resolve.version(session, ref)
    if not remove:
        for name in aliases:
            names.check_alias(name)

    def plan() -> list[Record]:
        records = []
        for name in dict.fromkeys(aliases):
            held = session.index.rows.get("alias", found.artifact["id"], name)
            at = held["digest"] if held else None
            if remove and at != found.version["digest"]:
                raise _not_there(session, found, name, at)
            if remove or at != found.version["digest"]:
                digest = None if remove else found.version["digest"]
                records.append(alias_record(session, found.artifact["id"], name, digest))
        return records

    append(session, "alias", plan)
    deed = "removed from" if remove else "now names" if len(aliases) == 1 else "now name"
    return _named(session, found, f"{', '.join(aliases)} {deed} {found.full_name}:{found.shown}")


def _not_there(session: Session, found: Found, alias: str, digest: str | None) -> NotFound:
    """An alias is to be taken off a version that has it not."""
    name = found.artifact["name"]
    there = resolve.live_by_digest(session, found.artifact["id"], digest) if digest else None
    if there is None:
        return UnknownAlias(name, alias)
    return UnknownAlias(
        name, alias, message=f"alias '{alias}' is at '{name}:v{there['number']}', not at '{name}:{found.shown}'"
    )


def tag(session: Session, ref: str, tags: Sequence[str], *, remove: bool = False) -> Named:
    """Add *tags* to a version, or with *remove* take them off."""
    if not tags:
        raise UsageError("no tag given", hint="write 'avc tag NAME:v3 checked'")
    found = resolve.version(session, ref)
    for name in tags:
        names.check_tag(name)
    digest = found.version["digest"]

    def plan() -> list[Record]:
        held = {t["tag"] for t in session.index.rows.find("tag", artifact=found.artifact["id"], digest=digest)}
        absent = [name for name in dict.fromkeys(tags) if name not in held]
        if remove and absent:
            raise NotFound(f"{found.full_name}:{found.shown} has no tag '{absent[0]}'")
        changed = list(tags) if remove else absent
        field = "remove" if remove else "add"
        record = {"kind": "tag", "artifact": found.artifact["id"], "digest": digest, field: changed}
        return [record] if changed else []

    append(session, "tag", plan)
    what, where = ", ".join(tags), f"{found.full_name}:{found.shown}"
    return _named(session, found, f"took {what} off {where}" if remove else f"tagged {where} with {what}")


def edit(
    session: Session,
    ref: str | None,
    *,
    artifact: str | None = None,
    description: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Named:
    """Change the description or metadata of a version, or the description of an artifact.

    *metadata* is merged: a value of None removes its key.
    """
    if description is None and metadata is None:
        raise UsageError("nothing to edit", hint="give --description or --meta")
    if artifact is not None:
        return _edit_artifact(session, artifact, description, metadata)
    if ref is None:
        raise UsageError("nothing to edit", hint="name a version, or give --artifact NAME")
    found = resolve.version(session, ref)
    with session.avc.writing():
        changes: dict[str, str] = {}
        with storing(session) as writer:
            if description is not None:
                changes["description"] = writer.put(salted(description, "the description"))
            if metadata is not None:
                merged = {**read_salted(session, found.version["metadata"], {}, required=True), **metadata}
                merged = {key: value for key, value in merged.items() if value is not None}
                changes["metadata"] = writer.put(salted(merged))
        key = {"artifact": found.artifact["id"], "digest": found.version["digest"]}
        was = {name: found.version[name] for name in changes}
        append(session, "edit", lambda: [{"kind": "version", **key, "set": changes, "was": was}])
    return _named(session, found, f"edited {found.full_name}:{found.shown}")


def _edit_artifact(session: Session, text: str, description: str | None, metadata: Mapping[str, Any] | None) -> Named:
    if metadata is not None:
        raise UsageError("an artifact has no metadata of its own", hint="give --meta with a version")
    row = resolve.artifact(session, text)
    with session.avc.writing():
        with storing(session) as writer:
            digest = writer.put(salted(description, "the description"))
        was = {"description": row["description"]}
        record = {"kind": "artifact", "artifact": row["id"], "set": {"description": digest}, "was": was}
        append(session, "edit", lambda: [record])
    return Named(f"{row['project']}/{row['name']}", None, f"edited {row['project']}/{row['name']}")


def rename(session: Session, text: str, new: str) -> Named:
    """Give an artifact another name; its versions, numbers and aliases come along (protocol N3)."""
    row = resolve.artifact(session, text)
    names.check_artifact_name(new)
    old = row["name"]

    def plan() -> list[Record]:
        rows = session.index.rows
        current = rows.get("artifact", row["id"])
        if current is None or current["name"] != old:
            raise Conflict(f"'{old}' was renamed meanwhile", hint="run 'avc ls'")
        if new == old and not _is_lost(session, row["id"]):
            return []
        _check_free(session, row, new)
        return [{"kind": "artifact", "artifact": row["id"], "set": {"name": new}, "was": {"name": old}}]

    append(session, "rename", plan)
    rename_bindings(session, row["project"], old, new)
    return Named(f"{row['project']}/{new}", None, f"renamed '{old}' to '{new}'")


def _is_lost(session: Session, artifact_id: str) -> bool:
    """Whether an unpushed rename of the artifact has no effect, since it was renamed on origin: it can be settled."""
    lost = {row["record"] for row in session.index.rows.find("conflict")}
    return any(
        entry.records[position].get("artifact") == artifact_id and entry.record_id(position) in lost
        for entry, position in (session.index.pending() if session.avc.origin is not None else ())
    )


def _check_free(session: Session, row: Mapping[str, Any], new: str) -> None:
    rows, project = session.index.rows, row["project"]
    owner = holder(rows, project, new)
    if owner is not None and owner["id"] != row["id"]:
        raise NameTaken(f"artifact '{owner['name']}' exists in project '{project}'", hint="choose another name")
    life = name_row(rows, project, new)
    if folded(new) != folded(row["name"]) and life["artifact"] not in (None, row["id"]):
        raise NameTaken(
            f"'{new}' was the name of another artifact, whose version numbers are never given again",
            hint="choose another name",
        )


def rename_bindings(session: Session, project: str, old: str, new: str) -> None:
    """Let ``artifacts.toml``, the draft and the stat cache follow a rename."""
    from dataclasses import replace

    def change(artifacts: dict[tuple[str, str], Any]) -> None:
        bound = artifacts.pop((project, old), None)
        if bound is not None:
            artifacts[project, new] = replace(bound, name=new)

    if session.avc.bindings.find(project, old) is not None:
        session.avc.bindings.update(change)
    _rename_draft(session, (project, old), (project, new))


def follow_names(session: Session) -> None:
    """Let ``artifacts.toml`` and drafts follow what others renamed, or what was since the commit that Git took out."""
    bindings = session.avc.bindings
    for project, old in () if session.only_looks else sorted(bindings.artifacts):
        new = resolve.name_now(session, project, old)
        if new is not None and bindings.find(project, new) is None:
            rename_bindings(session, project, old, new)
            session.say(f"'{old}' is called '{new}' now, and so in artifacts.toml")


def _rename_draft(session: Session, old: tuple[str, str], new: tuple[str, str]) -> None:
    """What was staged under the old name is staged under the new one; so is what the stat cache says of it."""
    from dataclasses import replace

    drafts = session.avc.drafts
    old_id, new_id = workspace_draft_id(*old), workspace_draft_id(*new)
    if old_id != new_id:
        first, second = sorted((old_id, new_id))
        with session.avc.writing(), drafts.locked(first), drafts.locked(second):
            draft = drafts.get(old_id)
            if draft is not None:
                drafts.save(replace(draft, id=new_id, name=new[1]))
                drafts.remove(old_id)
    with begin(session.avc.connect()) as connection:
        connection.execute("UPDATE binding SET artifact = ? WHERE artifact = ?", ("/".join(new), "/".join(old)))


def delete(session: Session, ref: str, *, delete_aliases: bool = False, dry_run: bool = False) -> Named:
    """Mark a version deleted; it can be restored until gc has removed its bytes."""
    found = resolve.version(session, ref)

    def plan() -> list[Record]:
        held = resolve.aliases_of(session, found.artifact["id"], found.version["digest"])
        if held and not delete_aliases:
            raise Conflict(
                f"{found.full_name}:{found.shown} has the alias '{held[0]}'"
                + (f" and {len(held) - 1} more" if len(held) > 1 else ""),
                hint=f"run 'avc delete {ref} --delete-aliases' to delete it with its aliases",
            )
        return [ending(session.index.rows, found.version, "deleted")]

    held = resolve.aliases_of(session, found.artifact["id"], found.version["digest"])
    if dry_run:
        plan()
    else:
        append(session, "delete", plan)
    what = f"{found.full_name}:{found.shown}" + (f" with {', '.join(held)}" if held else "")
    message = f"would delete {what}" if dry_run else f"deleted {what}; 'avc restore' brings it back until gc"
    return Named(found.full_name, found.shown, message, dry_run=dry_run)


def restore(session: Session, ref: str) -> Named:
    """Take a deletion back, if the bytes are still there (protocol P3)."""
    found = resolve.version_of(session, names.parse_ref(ref), ref, deleted=True)
    key = {"artifact": found.artifact["id"], "digest": found.version["digest"]}
    if found.version["live"]:
        return _named(session, found, f"{found.full_name}:{found.shown} is not deleted")
    live = resolve.live_by_digest(session, found.artifact["id"], found.version["digest"])
    if live is not None:
        raise Conflict(f"the content of {found.full_name}:{found.shown} is live as 'v{live['number']}'")
    from artifactvc.ops.complete import require_complete

    with session.avc.writing():
        require_complete(session, found.version["digest"], what=f"{found.full_name}:{found.shown}")
        was = {"was": {"deleted": True}} if found.artifact["deleted"] else {}
        append(session, "restore", lambda: [{"kind": "restore", **key, "number": found.version["number"], **was}])
    lost = (
        ""
        if session.index.rows.get("alias", found.artifact["id"], "latest")
        else (f", without its aliases: 'avc alias {found.artifact['name']}:{found.shown} latest' gives it that one")
    )
    name = f"{found.artifact['name']}:{found.shown}"
    again = (
        f"; it is over, by its time to live or a policy: 'avc ttl {name} none' keeps it"
        if _is_over(session, found)
        else ""
    )
    return _named(session, found, f"restored {found.full_name}:{found.shown}{lost}{again}")


def _is_over(session: Session, found: Found) -> bool:
    from artifactvc.ops.expire import is_over

    version = resolve.live_by_digest(session, found.artifact["id"], found.version["digest"])
    return version is not None and is_over(session, found.artifact, version)


def _named(session: Session, found: Found, message: str) -> Named:
    key = {"artifact": found.artifact["id"], "digest": found.version["digest"]}
    return Named(
        found.full_name,
        found.shown,
        message,
        resolve.aliases_of(session, found.artifact["id"], found.version["digest"]),
        tuple(t["tag"] for t in session.index.rows.find("tag", **key)),
    )
