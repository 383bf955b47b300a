"""What a push would write into a remote's log: decided on values, nothing is sent.

The records that the remote lacks are played against the state that its log makes,
inside a transaction that is rolled back: numbers are given, conflicts found (protocol
N3 to N5), and what becomes live, hence needs stored bytes, is known (P2, P3).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from artifactvc.core.editors import may_edit
from artifactvc.core.entries import LogEntry, Record
from artifactvc.core.model import Digest
from artifactvc.core.records import NAMED, apply_record, holder, live_version, name_row, needed_objects, resolve
from artifactvc.core.rows import Rows
from artifactvc.errors import AliasConflict, Conflict, NameTaken
from artifactvc.ops.merging import Merge
from artifactvc.ops.push_meets import (
    PLAYED,
    change_policy,
    change_setting,
    delete_artifact,
    look_for_artifact,
    note_effect,
)
from artifactvc.ops.session import Session
from artifactvc.storage.database import begin
from artifactvc.storage.index import ORIGIN
from artifactvc.storage.remote import HEAD, Remote
from artifactvc.storage.rows import SqliteRows


@dataclass(frozen=True)
class PushOptions:
    """How to treat what others did meanwhile."""

    force: bool = False  # move aliases and overwrite edits that others made
    except_aliases: bool = False  # leave out aliases that conflict
    join: bool = False  # make versions part of a remote artifact of the same name


@dataclass
class Plan:
    """Records to append, and what they make live."""

    records: list[Record] = field(default_factory=list)
    roots: list[tuple[Digest, list[Digest]]] = field(default_factory=list)  # manifest, manifests live there to skip
    objects: set[Digest] = field(default_factory=set)  # descriptions, metadata, run details
    versions: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # for people: what others made meanwhile, and what becomes of ours
    joined: dict[str, str] = field(default_factory=dict)


Candidate = tuple[LogEntry, int]


def candidates(session: Session, remote: Remote) -> list[Candidate]:
    """The records that *remote* lacks, in order: local ones for origin, origin's for any other remote."""
    if remote.name == session.avc.origin:
        return list(session.index.pending())
    origin = session.avc.index.origin
    if origin is None:
        return []
    rows = remote.rows
    out: list[Candidate] = []
    n, _ = session.index.head(ORIGIN)
    noted = f"holds {session.avc.index.origin_id}"  # up to which entry of origin's log every record is there
    done = first = tuple(remote.notes.get(noted) or (-1, None))
    for entry, digest in origin.since(done[0] + 1, done[1]):
        if entry.n > n:
            break
        for position, record in enumerate(entry.records):
            if record["kind"] != "condemn" and rows.get("landed", entry.record_id(position)) is None:
                out.append((entry, position))
        if not out:
            done = entry.n, digest
    if done != first:
        remote.notes.set(noted, done)
    return out


def of_versions(wanted: Sequence[Candidate], chosen: Iterable[tuple[str, Digest]]) -> list[Candidate]:
    """Those of *wanted* that concern the versions *chosen* (artifact id, digest)."""
    chosen = set(chosen)
    artifacts = {artifact for artifact, _ in chosen}
    records = [entry.records[p] for entry, p in wanted]
    runs = {r.get("run") for r in records if (r.get("artifact"), r.get("digest")) in chosen}

    def concerns(record: Record) -> bool:
        if record["kind"] == "run":
            return record.get("run") in runs
        if record.get("artifact") not in artifacts:
            return False
        if record["kind"] == "artifact":
            return True
        digest = record.get("digest") or record.get("set", {}).get("digest")
        return (record["artifact"], digest) in chosen

    return [(entry, p) for entry, p in wanted if concerns(entry.records[p])]


def _last_names(wanted: Sequence[Candidate]) -> dict[str, tuple[str, str]]:
    """For each artifact that *wanted* creates or renames: the last such record, and the name that it gives.

    Only the last name counts: one that conflicted and was renamed again is settled.
    """
    last: dict[str, tuple[str, str]] = {}
    for entry, position in wanted:
        record = entry.records[position]
        if record["kind"] == "artifact" and "name" in record.get("set", {}):
            last[record["artifact"]] = (entry.record_id(position), record["set"]["name"])
    return last


def _moved_again(wanted: Sequence[Candidate]) -> set[str]:
    """The records of *wanted* that move an alias which a later one moves again: conflicts of the last alone count."""
    last: dict[tuple[str, str], str] = {}
    earlier: set[str] = set()
    for entry, position in wanted:
        record = entry.records[position]
        if record["kind"] == "alias" and not record.get("back"):
            key = record["artifact"], record["alias"]
            earlier.update(filter(None, [last.get(key)]))
            last[key] = entry.record_id(position)
    return earlier


class _Planner:
    def __init__(self, remote: Remote, options: PushOptions, wanted: Sequence[Candidate], merge: Merge | None) -> None:
        self.merge, self.moved_again = merge, _moved_again(wanted)
        self.remote, self.options, self.plan = remote, options, Plan()
        self.rows: Rows = SqliteRows(remote.connection)
        self.touched: dict[tuple[str, Digest], None] = {}
        self.names = _last_names(wanted)
        self.before: dict[str, str | None] = {}  # the name before the first of several renames

    def take(self, entry: LogEntry, position: int) -> None:
        record = self._pushed(entry, position)
        kind, keep = record["kind"], True
        if kind == "version" and "set" not in record:
            look_for_artifact(self, record)
        if record.get("artifact") in self.plan.joined:
            record["artifact"] = self.plan.joined[record["artifact"]]
        if kind == "artifact":
            keep = self._artifact(record)
        elif kind == "version" and "set" not in record:
            self._version(record)
        elif kind == "version" or (kind == "ttl" and may_edit(self.rows, record["author"])):
            self._edit(record)
        elif kind == "alias":
            keep = self._alias(record)
        elif kind == "setting":
            change_setting(self, record)
        elif kind == "retention":
            change_policy(self, record)
        elif kind == "delete" and record.get("digest") is None:
            delete_artifact(self, record)
        elif kind == "restore" and record.get("digest"):
            self._touch(record)
        if keep:
            self.plan.records.append(record)
            played = LogEntry(-1, entry.op, "", None, entry.author, entry.time, "", (record,))
            apply_record(self.rows, played, 0, PLAYED, final=True)
            note_effect(self, record)

    def _pushed(self, entry: LogEntry, position: int) -> Record:
        """The record as it will stand there: with the id, time and author of the entry it was made in."""
        record = dict(entry.records[position])
        record["id"] = entry.record_id(position)
        record.setdefault("time", entry.time)
        record.setdefault("author", entry.author)
        return record

    def _artifact(self, record: Record) -> bool:
        changes = record.get("set", {})
        row = self.rows.get("artifact", record["artifact"])
        if row is None and "name" in changes:
            changes = record["set"] = {**changes, "name": self.names[record["artifact"]][1]}
            there = holder(self.rows, changes["project"], changes["name"])
            here = self.remote.avc.index.rows.get("artifact", record["artifact"])
            if there is None or (here is not None and here["deleted"]):  # deleted again: it needs no name there
                return True
            if not self.options.join:
                raise NameTaken(
                    f"remote '{self.remote.name}' has another artifact '{there['project']}/{there['name']}'",
                    hint="push with --join to make your versions part of it, or rename yours: "
                    f"'avc rename {self._shown(record, changes)} NEWNAME'",
                )
            if there["type"] != changes["type"]:
                raise Conflict(
                    f"'{there['name']}' has type '{there['type']}' on '{self.remote.name}',"
                    f" and '{changes['type']}' here",
                    hint=f"rename yours: 'avc rename {self._shown(record, changes)} NEWNAME'",
                )
            self.plan.joined[record["artifact"]] = there["id"]
            record["set"], record["was"] = {"joins": there["id"]}, {}
            return True
        if row is not None and "name" in changes:
            if record["id"] != self.names[record["artifact"]][0]:
                self.before.setdefault(record["artifact"], record.get("was", {}).get("name"))
                record["set"], record["was"] = {}, {}  # renamed again since
            else:
                self._renaming(row, record)
        elif row is not None and "description" in changes:
            self._clash(record, row, f"artifact '{row['name']}'", ("description",))
        return True

    def _renaming(self, row: dict[str, Any], record: Record) -> None:
        new, there = record["set"]["name"], row["name"]
        if self.before.get(record["artifact"]) == there:  # several renames are pushed as one
            record["was"] = {**record.get("was", {}), "name": there}
        if record.get("was", {}).get("name") != there and there != new:
            if not self.options.force:
                raise Conflict(
                    f"'{record['was'].get('name')}' was renamed to '{there}' on remote '{self.remote.name}',"
                    f" and to '{new}' here",
                    hint=f"run 'avc rename {there} {there}' to keep that name, or push with --force to give it yours",
                )
            record["was"] = {**record.get("was", {}), "name": there}
        life = name_row(self.rows, row["project"], new)
        if life["artifact"] not in (None, row["id"]):
            raise NameTaken(
                f"the name '{new}' belongs, or belonged, to another artifact on remote '{self.remote.name}'",
                hint=f"choose another: 'avc rename {there} NEWNAME'",
            )

    def _shown(self, record: Record, changes: dict[str, Any]) -> str:
        """The name that an artifact whose name is taken has here meanwhile (``core/records.py``)."""
        row = self.remote.avc.index.rows.get("artifact", record["artifact"])
        return str(row["name"] if row else changes["name"])

    def _version(self, record: Record) -> None:
        artifact = resolve(self.rows, record["artifact"])
        if artifact is not None and not artifact["deleted"]:
            life = name_row(self.rows, artifact["project"], artifact["name"])
            if live_version(self.rows, artifact["id"], record["digest"]) is None:
                self._note_beside(artifact, record)
                if self.remote.name == self.remote.avc.origin:
                    record["number"] = max(life["next"], record.get("number", 0))
                elif record.get("number", 0) < life["next"]:
                    raise Conflict(
                        f"'{artifact['name']}:v{record.get('number', 0)}' is other content on '{self.remote.name}'",
                        hint="that remote was used with another origin; its numbers cannot be given twice",
                    )
        self._touch(record)

    def _note_beside(self, artifact: dict[str, Any], record: Record) -> None:
        """The newest version there, if it is another's and ours was not made from it."""
        live = [v for v in self.rows.find("version", artifact=artifact["id"]) if v["live"]]
        newest = live[-1] if live else None
        if newest is None or newest["digest"] == record.get("base"):
            return
        if (artifact["id"], newest["digest"]) not in self.touched:
            self.plan.notes.append(
                f"{artifact['project']}/{artifact['name']}:v{newest['number']} was there already, and what was pushed"
                " now is not made from it: compare them with 'avc diff'"
            )

    def _touch(self, record: Record) -> None:
        self.touched[record["artifact"], record["digest"]] = None

    def _edit(self, record: Record) -> None:
        version = live_version(self.rows, record["artifact"], record.get("digest", ""))
        if version is not None:
            artifact = resolve(self.rows, version["artifact"])
            what = f"'{artifact['name'] if artifact else version['artifact']}:v{version['number']}'"
            self._clash(record, version, what, tuple(record.get("set", {})))

    def _clash(self, record: Record, row: dict[str, Any], what: str, fields: Iterable[str]) -> None:
        """Another edit of the same field is a conflict (protocol N5); equal values are none."""
        for name in fields:
            there, was = row.get(name), record.get("was", {}).get(name)
            if there in (was, record["set"][name]):
                continue
            if name == "sources":  # of equal bytes: both are true, and the later one stays
                record["was"] = {**record.get("was", {}), name: there}
                continue
            both = self.merge(was, there, record["set"][name]) if name == "metadata" and self.merge else None
            if both is not None:
                record["set"], record["was"] = {**record["set"], name: both}, {**record["was"], name: there}
                continue
            if not self.options.force:
                raise Conflict(
                    f"the {name} of {what} was changed on remote '{self.remote.name}' meanwhile",
                    hint=f"to see it, run 'avc clone {self.remote.url} DIR' and 'avc show' there;"
                    " push with --force to replace it",
                )
            record["was"] = {**record["was"], name: there}

    def _alias(self, record: Record) -> bool:
        if record["alias"] == "latest":
            return True
        there = self.rows.get("alias", record["artifact"], record["alias"])
        at = there["digest"] if there else None
        was, wish = record.get("was", {}).get("digest"), record.get("set", {}).get("digest")
        if at in (was, wish):
            return True
        if record["id"] in self.moved_again:  # this move does not count: it stays where others have it
            record["set"], record["was"] = {"digest": at}, {"digest": at}
            return True
        if self.options.except_aliases:
            self.plan.skipped.append(record["alias"])
            return False
        if not self.options.force:
            raise self._alias_conflict(record, there)
        record["was"] = {"digest": at}
        return True

    def _alias_conflict(self, record: Record, there: dict[str, Any] | None) -> AliasConflict:
        artifact = resolve(self.rows, record["artifact"])
        name = artifact["name"] if artifact else record["artifact"]
        if there is None:
            what = f"alias '{record['alias']}' of '{name}' was removed on remote '{self.remote.name}' meanwhile"
        else:
            version = live_version(self.rows, record["artifact"], there["digest"])
            number = f"v{version['number']}" if version else there["digest"][:12]
            what = (
                f"alias '{record['alias']}' of '{name}' was moved to {number} by {there['moved_by']}"
                f" at {there['moved_at'][:19].replace('T', ' ')} on remote '{self.remote.name}'"
            )
        return AliasConflict(what, hint="push with --force to move it, or --except-aliases to push the rest")

    def finish(self, live_before: dict[str, list[Digest]]) -> Plan:
        plan = self.plan
        for artifact_id, digest in self.touched:
            artifact = resolve(self.rows, artifact_id)
            version = live_version(self.rows, artifact["id"], digest) if artifact else None
            if artifact is None or version is None:
                continue  # deleted again before it was ever pushed: needs no bytes
            plan.roots.append((digest, live_before.get(artifact["id"], [])))
            # What a restored version says of itself was collected with it; its record does not name it.
            plan.objects.update(version[name] for name in ("description", "metadata", "sources") if version[name])
            plan.versions.append(f"{artifact['project']}/{artifact['name']}:v{version['number']}")
        for record in plan.records:
            plan.objects.update(self._still_named(record))
        plan.versions = list(dict.fromkeys(plan.versions))
        return plan

    def _still_named(self, record: Record) -> list[str]:
        """Objects that *record* names and that no later record has replaced: a collection may have taken those."""
        needed = needed_objects(record)
        if not needed or record["kind"] not in ("artifact", "version", "run"):
            return needed
        if record["kind"] == "run":
            found = [self.rows.get("run", record["run"])]
        else:
            artifact = resolve(self.rows, record["artifact"])
            found = [artifact]
            if artifact is not None and record["kind"] == "version":
                found += self.rows.find("version", artifact=artifact["id"], digest=record["digest"])
        named = {row.get(name) for row in found if row for name in NAMED}
        return [digest for digest in needed if digest in named]


class _Undo(Exception):
    pass


def plan_push(remote: Remote, wanted: Sequence[Candidate], options: PushOptions, merge: Merge | None = None) -> Plan:
    """Return what pushing *wanted* to *remote* would write, given its log as read so far.

    *merge* puts edits of metadata together that others and we made; without it they are in conflict.
    Raises the Conflict that refuses the whole push, before anything is uploaded (protocol N4).
    """
    planner = _Planner(remote, options, wanted, merge)
    plan = planner.plan
    try:
        with begin(remote.connection):
            live_before: dict[str, list[Digest]] = {}
            rows = remote.connection.execute(
                "SELECT artifact, digest FROM version WHERE live = 1 ORDER BY artifact, number"
            )
            for artifact, digest in rows:
                live_before.setdefault(artifact, []).append(digest)
            for entry, position in wanted:
                planner.take(entry, position)
            plan = planner.finish(live_before)
            raise _Undo
    except _Undo:
        return plan


__all__ = ["HEAD", "Candidate", "Plan", "PushOptions", "candidates", "of_versions", "plan_push"]
