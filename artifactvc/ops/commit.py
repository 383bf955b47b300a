"""A draft becomes a version: one entry of the log.

Content that the artifact already has in a live version makes no new version: that one
is returned, with the run as one more producer and the tags and aliases asked for
(design, section 2, idea 2). A crash before the entry leaves the draft; a crash after it
leaves a draft equal to a version, which the next commit returns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from artifactvc.core import names
from artifactvc.core.entries import Record
from artifactvc.core.manifest import summary
from artifactvc.core.model import Digest, Root
from artifactvc.core.records import Row, holder, name_row
from artifactvc.core.results import Committed
from artifactvc.core.retention import INHERIT, parse_ttl
from artifactvc.errors import TypeConflict, UsageError
from artifactvc.ops import resolve
from artifactvc.ops.change import alias_record
from artifactvc.ops.complete import require_complete
from artifactvc.ops.session import Session, append, salted, storing
from artifactvc.ops.trusted import note_trusted
from artifactvc.ops.ttl import require_editor, require_ttl
from artifactvc.storage.bindings import Bound
from artifactvc.storage.drafts import Draft, workspace_draft_id


@dataclass(frozen=True)
class CommitOptions:
    """What a new version is given besides its content."""

    message: str | None = None
    aliases: Sequence[str] = ()
    tags: Sequence[str] = ()
    metadata: Mapping[str, Any] | None = None
    ttl: str | None = None
    run: str | None = None
    run_fields: Mapping[str, Any] = field(default_factory=dict)  # of a run record that is made with the version
    command: str = "commit"

    def checked(self) -> CommitOptions:
        """The same, or the error that says which name is bad."""
        for alias in self.aliases:
            names.check_alias(alias)
        for tag in self.tags:
            names.check_tag(tag)
        if self.message:
            salted(self.message, "the description")  # what no reader would take is refused before anything is stored
        if self.metadata:
            salted(dict(self.metadata))
        if self.run is not None:
            from artifactvc.ops.runs import check_run_id

            check_run_id(self.run)
        ttl = parse_ttl(self.ttl or INHERIT)
        return replace(self, aliases=tuple(a for a in dict.fromkeys(self.aliases) if a != "latest"), ttl=ttl)


def commit(
    session: Session, wanted: Sequence[str], options: CommitOptions, *, dry_run: bool = False
) -> list[Committed]:
    """Commit the drafts of the artifacts *wanted*, or all of the workspace's drafts."""
    options = options.checked()
    drafts = session.avc.drafts
    if wanted:
        ids = [_draft_id(session, text) for text in wanted]
    else:
        ids = [draft.id for draft in drafts.all() if draft.owner == "workspace"]
    if options.ttl is not None:
        require_editor(session)
        for draft in filter(None, map(drafts.get, ids)):
            require_ttl(draft.type)
    return [done for draft_id in ids if (done := _commit_one(session, draft_id, options, dry_run=dry_run)) is not None]


def _draft_id(session: Session, text: str) -> str:
    entity, project, name = names.parse_artifact(text)
    project = resolve.project_of(session, entity, project)
    draft_id = workspace_draft_id(project, name)
    if session.avc.drafts.get(draft_id) is None and session.avc.bindings.find(project, name) is None:
        resolve.artifact(session, text)  # says which names are near
    return draft_id


def _commit_one(session: Session, draft_id: str, options: CommitOptions, *, dry_run: bool) -> Committed | None:
    avc = session.avc
    with avc.writing(), avc.drafts.locked(draft_id):
        draft = avc.drafts.get(draft_id)
        if draft is None:
            return None
        nothing = draft.root == draft.base and not _tells_sources(session, draft)
        if nothing or dry_run:
            if not dry_run:
                avc.drafts.remove(draft_id)
            root = summary(draft.root, session.node)
            outcome = "nothing" if draft.root == draft.base else "created"
            full_name = f"{draft.project}/{draft.name}"
            return Committed(full_name, None, draft.root, outcome, (), root.count, root.size)
        known = [draft.base] if draft.base else []
        require_complete(session, draft.root, what=f"the draft of '{draft.name}'", known=known, draft_id=draft.id)
        done, row = land(session, draft, options)
        avc.drafts.remove(draft_id)
    _rebind(session, draft, row)
    return done


def land(session: Session, draft: Draft, options: CommitOptions) -> tuple[Committed, Row]:
    """Write the log entry that makes *draft* a version; its objects are in the store.

    The caller holds the store's lock and the draft's. Returns the result and the version's row.
    """
    root = summary(draft.root, session.node)
    given: dict[str, Digest] = {"sources": draft.sources} if draft.sources else {}
    with storing(session) as writer:
        if options.message:
            given["description"] = writer.put(salted(options.message, "the description"))
        if options.metadata:
            given["metadata"] = writer.put(salted(dict(options.metadata)))
    outcome = {"outcome": "created", "id": draft.artifact}

    def plan() -> list[Record]:
        records = _records(session, draft, root, options, given)
        outcome["id"] = next(record["artifact"] for record in records if record["kind"] == "version")
        existing = resolve.live_by_digest(session, outcome["id"], draft.root)
        outcome["outcome"] = "existing" if existing else "created"
        return records

    append(session, options.command, plan)
    note_trusted(session, draft.root)
    artifact_id = outcome["id"]
    row = resolve.live_by_digest(session, artifact_id, draft.root)
    assert row is not None
    note = _note(session, draft, row, outcome["outcome"], options)
    done = Committed(
        f"{draft.project}/{draft.name}",
        names.shown_number(row["number"], provisional=bool(row["provisional"])),
        draft.root,
        outcome["outcome"],
        resolve.aliases_of(session, artifact_id, draft.root),
        root.count,
        root.size,
        options.run,
        note,
    )
    return done, row


def _records(
    session: Session, draft: Draft, root: Root, options: CommitOptions, given: Mapping[str, Digest]
) -> list[Record]:
    rows = session.index.rows
    artifact = holder(rows, draft.project, draft.name)
    records: list[Record] = []
    if artifact is None:
        artifact_id = draft.artifact
        if (
            rows.get("artifact", artifact_id) is not None
        ):  # the artifact this draft was begun for was deleted or renamed
            artifact_id = _fresh_id()
        fields = {"project": draft.project, "name": draft.name, "type": draft.type}
        records.append({"kind": "artifact", "artifact": artifact_id, "set": fields, "was": {}})
    else:
        artifact_id = artifact["id"]
        if artifact["type"] != draft.type:
            raise type_conflict(artifact["name"], artifact["type"], draft.type)
    number = name_row(rows, draft.project, draft.name)["next"]
    existing = resolve.live_by_digest(session, artifact_id, root.digest)
    record: Record = {"kind": "version", "artifact": artifact_id, "digest": root.digest}
    latest = rows.get("alias", artifact_id, "latest")
    if existing is not None and (latest is None or latest["digest"] != root.digest):
        record["was"] = {"latest": latest["digest"] if latest else None}  # an undo asks whether it moved at all
    if existing is None:
        record |= {"number": number, "count": root.count, "size": root.size, **given}
        if options.ttl:
            require_editor(session)
            record["ttl"] = options.ttl
    record |= {"base": draft.base} if draft.base else {}
    if options.run:
        records.extend(_run_records(session, options, draft))
        record["run"] = options.run
    held = {t["tag"] for t in rows.find("tag", artifact=artifact_id, digest=root.digest)} if existing else set()
    if tags := [tag for tag in options.tags if tag not in held]:
        record["tags"] = tags
    records.append(record)
    if existing is not None and existing["sources"] != draft.sources and _tells_sources(session, draft):
        # What was imported has equal content: only where it came from is news, and else it would be fetched again.
        records.append({
            "kind": "version", "artifact": artifact_id, "digest": root.digest, "set": {"sources": draft.sources},
            "was": {"sources": existing["sources"]},
        })  # fmt: skip
    records.extend(alias_record(session, artifact_id, alias, root.digest) for alias in options.aliases)
    return records


def _tells_sources(session: Session, draft: Draft) -> bool:
    """Whether it says of its files where they came from, and its base says otherwise."""
    if draft.sources is None:
        return False
    base = resolve.live_by_digest(session, draft.artifact, draft.base) if draft.base else None
    return base is None or base["sources"] != draft.sources


def _fresh_id() -> str:
    import secrets

    return secrets.token_hex(16)


def _run_records(session: Session, options: CommitOptions, draft: Draft) -> list[Record]:
    """A record for the run, unless it is known already."""
    if session.index.rows.get("run", str(options.run)) is not None:
        return []  # what is recorded of it is its own; the version names it as a producer
    time = session.clock()
    fields = {
        "project": draft.project,
        "job_type": options.command,
        "state": "finished",
        "created": time,
        "ended": time,
    }
    return [{"kind": "run", "run": options.run, "set": {**fields, **options.run_fields}, "was": {}}]


def type_conflict(name: str, existing: str, asked: str) -> TypeConflict:
    """A name has one type (protocol N3)."""
    return TypeConflict(
        f"artifact '{name}' already exists with type '{existing}'; cannot create another with type '{asked}'",
        hint="choose another name, or leave the type out",
    )


def _note(session: Session, draft: Draft, row: Row, outcome: str, options: CommitOptions) -> str:
    if outcome == "existing":
        said = "description and metadata" if options.message or options.metadata else ""
        said += f"{' and ' * bool(said)}time to live" if options.ttl else ""
        kept = f" (its {said} stay{'s' * (said == 'time to live')})" if said else ""
        return f"content is already {names.shown_number(row['number'], provisional=bool(row['provisional']))}{kept}"
    if draft.base_number is not None and row["number"] > draft.base_number + 1:
        return f"committed on v{draft.base_number}, which was not the newest version"
    return ""


def _rebind(session: Session, draft: Draft, row: Row) -> None:
    """Let ``artifacts.toml`` name the version that the workspace's files now are."""
    bind(session, draft.project, draft.name, draft.type, row)


def bind(session: Session, project: str, name: str, kind: str, row: Row) -> None:
    """Set the base version of an artifact in ``artifacts.toml``; paths stay."""

    def change(artifacts: dict[tuple[str, str], Bound]) -> None:
        bound = artifacts.get((project, name)) or Bound(project, name, kind)
        artifacts[project, name] = replace(bound, type=kind, version=f"v{row['number']}", digest=row["digest"])

    session.avc.bindings.update(change)


def reset(session: Session, text: str) -> bool:
    """Drop the workspace's draft of an artifact; False if there was none. Stored bytes stay until gc."""
    if not text:
        raise UsageError("no artifact given")
    draft_id = _draft_id(session, text)
    drafts = session.avc.drafts
    with session.avc.writing(), drafts.locked(draft_id):
        there = drafts.get(draft_id) is not None
        drafts.remove(draft_id)
    return there
