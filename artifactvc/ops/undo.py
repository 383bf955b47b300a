"""Taking back what was done here: one more entry of the log (protocol N6).

The records that take an entry back are worked out against today's names, newest first, in a
transaction that is rolled back (``core/inverse.py``), and again where the entry is made.
Nothing is half done: a conflict, or bytes that are gone, are found before anything is written.

Of an unpushed ``commit`` the draft comes back. It is saved first, then ``artifacts.toml``
names the base again, then the entry is made: killed in between there is a draft equal to a
version, which the next ``commit`` returns and the next ``undo`` takes back. The workspace
is never touched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from artifactvc.core import names
from artifactvc.core.entries import MAX_RECORDS, LogEntry, Record
from artifactvc.core.inverse import Blocked, Undoing, can_undo, invert
from artifactvc.core.manifest import walk
from artifactvc.core.model import Digest
from artifactvc.core.records import Row, apply_record, holder, needed_objects, resolve
from artifactvc.core.results import Undone
from artifactvc.errors import Collected, Conflict, MissingObject, NothingToUndo
from artifactvc.ops.change import rename_bindings
from artifactvc.ops.complete import batches, require_complete
from artifactvc.ops.expire import is_over
from artifactvc.ops.operations import SHOWN, Step, in_words, operation_id, pushed, steps, summary
from artifactvc.ops.resolve import live_by_digest
from artifactvc.ops.session import Session, append
from artifactvc.storage.bindings import Bound
from artifactvc.storage.database import begin
from artifactvc.storage.drafts import Draft, workspace_draft_id
from artifactvc.storage.index import LOCAL
from artifactvc.storage.remote import held_by_remotes
from artifactvc.util.text import escape

_STAGED: Final = "what is staged is no operation of the log, and stays: 'avc reset NAME' drops it"


def undo(session: Session, text: str | None = None, *, dry_run: bool = False) -> Undone:
    """Take back operation *text*, or the last one that was not taken back yet.

    NothingToUndo, UnknownOperation; Conflict where something done since stands in the way;
    Collected where bytes are gone. Each before anything was changed.
    """
    staged = [draft.time for draft in session.avc.drafts.all() if draft.owner == "workspace"]
    chosen, landed_since = _choose(session, None if text is None else operation_id(session, text))
    entry = chosen.entry
    with session.avc.writing():
        undoing = Undoing(entry, pushed(session, entry), landed_since)
        records = _planned(session, undoing)
        _require_bytes(session, chosen, records)
        told = summary(session, chosen)
        if dry_run:
            done, changes = None, _told(session, records)
            drafts = [draft.name for draft, _ in _drafts_back(session, chosen, undoing)]
        else:
            done, drafts = _append(session, chosen, undoing)
            changes = _told(session, done.records)
    if text is None and any(time > entry.time for time in staged):
        session.say(_STAGED)
    if not dry_run and any(record["kind"] == "restore" and _goes_again(session, record) for record in records):
        session.say(
            "what came back is over, by its time to live or a policy: 'avc ttl REF none' keeps it, else the next gc"
            " ends it"
        )
    if undoing.pushed and not dry_run:
        session.say(f"'{session.avc.origin}' holds what was taken back: run 'avc push' to take it back there, too")
    return Undone(entry.op, entry.command, told, done.op if done else None, changes, tuple(drafts), dry_run)


def _told(session: Session, records: Sequence[Record]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(line for record in records if (line := in_words(session, record))))


def _goes_again(session: Session, record: Record) -> bool:
    artifact = resolve(session.index.rows, record["artifact"])
    version = live_by_digest(session, artifact["id"], record["digest"]) if artifact and record.get("digest") else None
    return artifact is not None and version is not None and is_over(session, artifact, version)


# ---- which one -----------------------------------------------------------------------------


def _choose(session: Session, op: str | None) -> tuple[Step, frozenset[tuple[str, str]]]:
    """The entry to take back, and (artifact, digest) of versions that newer entries that stand landed.

    Named is an entry by its id, or by that of the operation which it did again.
    """
    landed: set[tuple[str, str]] = set()
    for step in steps(session):
        named = op in (step.entry.op, step.original.op if step.does and step.undone_by is None else None)
        if named if op is not None else step.does and step.undone_by is None and can_undo(step.entry):
            if step.undone_by is not None:
                by = step.undone_by[:SHOWN]
                raise Conflict(
                    f"operation '{step.entry.op[:SHOWN]}' is taken back already, by '{by}'",
                    hint=f"run 'avc undo {by}' to do it again",
                )
            if not can_undo(step.entry):
                raise NothingToUndo(
                    f"operation '{step.entry.op[:SHOWN]}' ({step.entry.command}) has nothing that can be taken back",
                    hint="what runs did, and what came from or went to remotes, stays",
                )
            return step, frozenset(landed if op is not None else ())  # else all that is newer only noted a run
        if step.does and step.undone_by is None:
            landed.update(
                (record["artifact"], record["digest"])
                for record in step.entry.records
                if record["kind"] == "version" and "set" not in record
            )
    hint = "run 'avc op log' to see what was done here"
    if any(draft.owner == "workspace" for draft in session.avc.drafts.all()):
        hint = _STAGED
    raise NothingToUndo("nothing to undo", hint=hint)


# ---- planning ------------------------------------------------------------------------------


@contextlib.contextmanager
def _played(session: Session) -> Iterator[None]:
    """What the block changes in the names is put back, whether or not a transaction is open."""
    connection = session.avc.connect()
    with begin(connection):
        connection.execute("SAVEPOINT played")
        try:
            yield
        finally:
            connection.execute("ROLLBACK TO played")
            connection.execute("RELEASE played")


def _planned(session: Session, undoing: Undoing) -> list[Record]:
    """The records that take the entry back, given the names of today; Conflict if there are none."""
    rows, entry = session.index.rows, undoing.entry
    here = session.avc.origin is not None
    found: list[Record] = []
    with _played(session):
        lost = {
            position
            for position, record in enumerate(entry.records)  # a rename that was pushed with a later one has no effect
            if rows.get("conflict", entry.record_id(position)) is not None and record["kind"] != "artifact"
        }
        for position in reversed(range(len(entry.records))):
            if position in lost:
                continue  # it had no effect
            try:
                for record in invert(rows, undoing, position):
                    record = {**record, "undoes": entry.op}
                    found.append(record)
                    played = LogEntry(
                        -1, f"{len(found):032x}", "", None, session.author, session.clock(), "", (record,)
                    )
                    apply_record(rows, played, 0, LOCAL, final=not here, provisional=here)
                    refused = rows.get("conflict", played.record_id(0))
                    if refused is not None:
                        raise Blocked(refused["reason"], record)
            except Blocked as error:
                raise _blocked(session, entry, error) from error
    if not found:
        raise Conflict(
            f"{_name(entry)} has nothing left to take back",
            hint="what it changed was changed again since; an earlier one can be named: 'avc undo OP'",
        )
    if len(found) > MAX_RECORDS:
        raise Conflict(
            f"taking back {_name(entry)} needs {len(found):,} records, and an entry holds {MAX_RECORDS:,}",
            hint="restore the versions that you need with 'avc restore'",
        )
    return found


def _name(entry: LogEntry) -> str:
    return f"operation '{entry.op[:SHOWN]}' ({entry.command})"


def _blocked(session: Session, entry: LogEntry, error: Blocked) -> Conflict:
    """Say what stands in the way, and which later operation put it there."""
    what = f"cannot undo {_name(entry)}: {error}"
    for step in steps(session):
        if step.entry.n <= entry.n:
            break
        if step.undone_by is None and any(_touches(record, error.record) for record in step.entry.records):
            by = step.entry.op[:SHOWN]
            return Conflict(f"{what}, by operation '{by}' ({step.entry.command})", hint=f"run 'avc undo {by}' first")
    return Conflict(what, hint="others may have done it: look with 'avc log NAME' after 'avc fetch'")


def _changed(record: Record) -> set[tuple[object, ...]]:
    """What a record changes, as keys that can be compared."""
    kind, artifact, digest = record["kind"], record.get("artifact"), record.get("digest")
    if kind == "setting":
        return {(kind, record["name"])}
    if kind == "retention":
        return {(kind, artifact or record.get("project"))}
    if record.get("alias"):
        return {(artifact, "alias", record["alias"])}
    if kind in ("delete", "restore") or (kind == "version" and "set" not in record):
        return {(artifact, digest)}
    return {(artifact, digest, name) for name in record.get("set", {})}


def _touches(record: Record, blocked: Record) -> bool:
    """Whether *record* may have changed what *blocked* was about: that itself, or its version's life."""
    about = _changed(blocked)
    if "digest" in blocked and not blocked.get("alias"):
        about |= {(blocked["artifact"], blocked["digest"]), (blocked["artifact"], None)}
    elif blocked["kind"] == "alias":
        about |= {(blocked["artifact"], blocked.get("was", {}).get("digest")), (blocked["artifact"], None)}
    elif blocked["kind"] == "delete":  # of a whole artifact
        return bool(record.get("artifact") == blocked["artifact"])
    return not about.isdisjoint(_changed(record))


def _require_bytes(session: Session, step: Step, records: Sequence[Record]) -> None:
    """Every object that *records* make needed again is here or on a remote (protocol P3); else Collected."""
    for record in records:
        if record["kind"] == "restore" and record.get("digest"):
            what = in_words(session, record).removeprefix("restored ")
            try:
                require_complete(session, record["digest"], what=what)
            except MissingObject as error:
                paths, size = _gone(session, record["digest"])
                raise Collected(error.digest, what, paths, size) from error
        for digest in needed_objects(record):
            try:
                session.node(digest)
            except MissingObject as error:
                fields = " and ".join(record.get("set", {}))
                raise Collected(digest, _name(step.entry), [f"the {fields} before"], 0) from error


def _gone(session: Session, root: Digest) -> tuple[list[str], int]:
    """The paths of a manifest whose bytes no place holds, and how many bytes; as far as its nodes can be read."""
    paths: list[str] = []
    size, sizes = 0, dict[Digest, int]()
    by_digest: dict[Digest, str] = {}
    with contextlib.suppress(MissingObject):
        for entry in walk(root, session.node):
            if entry.digest is not None:
                sizes[entry.digest] = entry.size or 0
                by_digest.setdefault(entry.digest, entry.path)
    for batch in batches(sizes):
        lacking = set(batch) - session.avc.store.has(batch)
        for digest in lacking - set(held_by_remotes(session.avc, list(lacking))):
            paths.append(escape(by_digest[digest]))
            size += sizes[digest]
    return sorted(paths), size


# ---- doing ---------------------------------------------------------------------------------


def _append(session: Session, step: Step, undoing: Undoing) -> tuple[LogEntry, list[str]]:
    """Create the entry. Before it the drafts that come back are saved; after it go those that became versions again."""
    back: list[tuple[Draft, Digest]] = []
    with contextlib.ExitStack() as locks:
        for draft_id in sorted({workspace_draft_id(*key) for key in _keys(session, step)}):
            locks.enter_context(session.avc.drafts.locked(draft_id))

        def plan() -> list[Record]:
            records = _planned(session, undoing)
            back[:] = _drafts_back(session, step, undoing)
            for draft, _ in back:
                session.avc.drafts.save(draft)
            for draft, committed in back:
                _bind(session, draft.key, committed, draft.base)
            return records

        done = append(session, "undo", plan)
        assert done is not None
        if not step.does:
            _drafts_gone(session, step)
    _follow_renames(session, done)
    return done, [draft.name for draft, _ in back]


def _versions(step: Step) -> list[Record]:
    """The version records of a ``commit`` that *step* did or took back: only it had a draft of the workspace's."""
    if step.original.command != "commit":
        return []
    return [record for record in step.original.records if record["kind"] == "version" and "set" not in record]


def _keys(session: Session, step: Step) -> Iterator[tuple[str, str]]:
    for record in _versions(step):
        artifact = resolve(session.index.rows, record["artifact"])
        if artifact is not None:
            yield artifact["project"], artifact["name"]


def _drafts_back(session: Session, step: Step, undoing: Undoing) -> list[tuple[Draft, Digest]]:
    """The drafts that an unpushed commit had, on the base that it had; Conflict with what is staged on another."""
    if not step.does or undoing.pushed:
        return []
    found: list[tuple[Draft, Digest]] = []
    for record in _versions(step):
        artifact = resolve(session.index.rows, record["artifact"])
        if artifact is None:
            continue
        draft_id = workspace_draft_id(artifact["project"], artifact["name"])
        base, there = record.get("base"), session.avc.drafts.get(draft_id)
        number = _number(session, artifact, base)
        if there is None:
            there = Draft(
                draft_id, artifact["project"], artifact["name"], artifact["type"], artifact["id"], record["digest"],
                base, number, "workspace", session.clock(), _sources(step, record["digest"]),
            )  # fmt: skip
        elif there.base == record["digest"]:  # what is staged was staged on what was committed, and holds it
            there = replace(there, base=base, base_number=number)
        elif (there.root, there.base) != (record["digest"], base):
            raise Conflict(
                f"cannot undo {_name(step.entry)}: '{artifact['name']}' has staged changes that are not made from it",
                hint=f"run 'avc commit {artifact['name']}' or 'avc reset {artifact['name']}' first",
            )
        found.append((there, record["digest"]))
    return found


def _sources(step: Step, digest: Digest) -> Digest | None:
    """Where the commit said that files of the version came from."""
    said = [r for r in step.original.records if r["kind"] == "version" and r.get("digest") == digest]
    return next((found for r in reversed(said) if (found := (r.get("set") or r).get("sources"))), None)


def _number(session: Session, artifact: Row, digest: str | None) -> int | None:
    row = live_by_digest(session, artifact["id"], digest) if digest else None
    return row["number"] if row else None


def _bind(session: Session, key: tuple[str, str], was: Digest | None, digest: Digest | None) -> None:
    """Let ``artifacts.toml`` name the version *digest*, or none, if it names *was*; paths stay."""
    artifact = holder(session.index.rows, *key)
    number = _number(session, artifact, digest) if artifact else None

    def change(artifacts: dict[tuple[str, str], Bound]) -> None:
        bound = artifacts[key]
        version = names.shown_number(number, provisional=False) if number is not None else None
        artifacts[key] = replace(bound, version=version, digest=digest)

    bound = session.avc.bindings.find(*key)
    if bound is not None and bound.digest == was:
        session.avc.bindings.update(change)


def _drafts_gone(session: Session, step: Step) -> None:
    """A commit that is done again: its draft is a version once more, or goes on with that as its base."""
    for record in _versions(step):
        artifact = resolve(session.index.rows, record["artifact"])
        if artifact is None or live_by_digest(session, artifact["id"], record["digest"]) is None:
            continue
        key, base = (artifact["project"], artifact["name"]), record.get("base")
        draft = session.avc.drafts.get(workspace_draft_id(*key))
        if draft is not None and draft.base == base:
            if draft.root == record["digest"]:
                session.avc.drafts.remove(draft.id)
            else:
                number = _number(session, artifact, record["digest"])
                session.avc.drafts.save(replace(draft, base=record["digest"], base_number=number))
        _bind(session, key, base, record["digest"])


def _follow_renames(session: Session, done: LogEntry) -> None:
    for record in done.records:
        if record["kind"] == "artifact" and "name" in record.get("set", {}):
            artifact = resolve(session.index.rows, record["artifact"])
            if artifact is not None:
                rename_bindings(session, artifact["project"], record["was"]["name"], record["set"]["name"])
