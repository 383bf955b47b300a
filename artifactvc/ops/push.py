"""Send what a remote lacks: objects, then where they are, then one entry of its log.

Order and safety (protocol P2, P6, P8, N4):

1. Read the log to its end; plan against it; a conflict refuses all before any upload.
2. Upload the objects that have no uncondemned copy there, in packs, under names that are
   never used twice, several at once (``sending.py``). Each file that is safely there is noted
   in a journal, so a push that is killed sends at most the files under way again.
3. Upload the index of those files; create entry *n*. If *n* is taken, read it, plan again.
4. While it is not known whether entry *n* was taken, only the identical bytes are sent,
   only for *n*; a push that gives up says that it may still land, and the next one looks
   for its operation first.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from artifactvc.core.entries import MAX_BYTES, LogEntry, Record, decode_entry, encode_entry, entry_digest
from artifactvc.core.model import Digest
from artifactvc.core.records import condemned_index
from artifactvc.core.results import Pushed
from artifactvc.core.strict import dump_json
from artifactvc.errors import (
    Corrupt,
    MissingObject,
    OutcomeUnknown,
    ReadOnly,
    RemoteMissing,
    RemoteUnavailable,
    StorageError,
)
from artifactvc.ops import resolve
from artifactvc.ops.complete import batches
from artifactvc.ops.fetch import fetch, provisional_numbers, record_renumbering, remote_name
from artifactvc.ops.merging import merging
from artifactvc.ops.push_dry import describe
from artifactvc.ops.push_plan import Plan, PushOptions, candidates, of_versions, plan_push
from artifactvc.ops.sending import lacking, send_objects
from artifactvc.ops.session import Session, looking, naming
from artifactvc.ops.transfer import require_objects
from artifactvc.storage.log import entry_name
from artifactvc.storage.remote import Remote, condemned_among
from artifactvc.storage.remote_index import Place, encode_places
from artifactvc.util import backoff
from artifactvc.util.files import locked, make_directories, write_all, writing

#: Number and digest of the last entry that was read.
Head = tuple[int, Digest | None]

#: Records that one entry takes; more make several entries.
_RECORDS: Final = 900
_ENTRY_BYTES: Final = MAX_BYTES - (64 << 10)
#: How often a push whose number was taken plans again before it asks to be run again.
_TRIES: Final = 50


@dataclass
class _Push:
    """One push under way: its identity and what it has stored on the remote so far."""

    op: str
    place: str  # directory under packs/
    stored: dict[Digest, Place] = field(default_factory=dict)
    indexed: set[str] = field(default_factory=set)
    sent_bytes: int = 0
    sent_objects: int = 0
    sent_files: int = 0
    last_entry: int | None = None
    landed: int = 0  # records
    entries: list[int] = field(default_factory=list)
    merged: dict[str, Any] | None = None  # the index file that was made of others, for the entry that is to come
    settled: list[str] = field(default_factory=list)  # versions of an earlier push whose outcome was not known


def push(
    session: Session, name: str | None, refs: Sequence[str], options: PushOptions, *, dry_run: bool = False
) -> Pushed:
    """Bring *refs*, or all that is new, into a remote's log with the objects it needs. Drafts are never pushed."""
    name = remote_name(session, name)
    remote = session.remote(name)
    if remote.table.get("read_only") or remote.transport.read_only:
        raise ReadOnly(f"remote '{name}' can only be read", hint="push to another remote")
    if dry_run:
        with looking(session), naming(remote):
            return _push_locked(session, remote, refs, options, dry_run=True)
    make_directories(remote.directory)
    with locked(remote.directory / "push.lock", exclusive=True):  # one process pushes for all that wait (R7)
        session.caught_up = False  # the one before us may have pushed our work too
        with naming(remote):
            return _push_locked(session, remote, refs, options, dry_run=False)


def _push_locked(
    session: Session, remote: Remote, refs: Sequence[str], options: PushOptions, *, dry_run: bool
) -> Pushed:
    numbers = provisional_numbers(session)
    fetched = fetch(session, remote.name)
    chosen = [resolve.version(session, ref) for ref in refs]
    keys = [(found.artifact["id"], found.version["digest"]) for found in chosen]
    state: _Push | None = None
    versions: list[str] = []
    merge = merging(session)
    notes: list[str] = []
    for attempt in range(_TRIES):
        wanted = candidates(session, remote)
        if keys:
            wanted = of_versions(wanted, keys)
        head = remote.head()
        plan = plan_push(remote, wanted, options, merge)
        if not plan.records:
            break
        if dry_run:
            return describe(session, remote, plan, _sent(remote.journal()), len(list(_parts(plan.records))))
        if state is None:
            remote.verify_identity()
            state = _resume(session, remote)
            versions.extend(state.settled)
            session.index.catch_up()
            continue  # what an earlier push left behind may have landed: look again
        backoff.after_lost_race(attempt)
        with session.avc.writing():
            _store(session, remote, plan, state)
            if _land(session, remote, head, plan, state):
                versions.extend(plan.versions)
                notes.extend(plan.notes)
        remote.fetch()
        session.index.catch_up()
    else:
        raise StorageError(f"remote '{remote.name}' is too busy: others were faster {_TRIES} times", hint="push again")
    if state is None:
        state = _Push("", "")
    elif state.landed:
        remote.journal_path.unlink(missing_ok=True)
        remote.make_checkpoints(state.entries)
        if remote.name == session.avc.origin:
            record_renumbering(session, numbers)
    for note in notes:
        session.say(note)
    skipped = plan.skipped
    renumbered = tuple(dict.fromkeys(fetched.renumbered))
    for alias in skipped:
        session.say(f"alias '{alias}' was left out: somebody else moved it")
    return Pushed(
        remote.name,
        state.last_entry,
        state.landed,
        tuple(dict.fromkeys(versions)),
        state.sent_objects,
        state.sent_bytes,
        state.sent_files,
        renumbered,
    )


# ---- objects -----------------------------------------------------------------------------------


def _store(session: Session, remote: Remote, plan: Plan, state: _Push) -> None:
    """Upload every object that the plan needs and the remote lacks, noting each file in the journal."""
    try:
        wanted = lacking(session, remote, plan, state.stored)
    except MissingObject as error:  # a manifest of ours
        raise _gone(error, remote) from error
    if not wanted:
        return
    absent = [d for batch in batches(wanted) for d in set(batch) - session.avc.store.has(batch)]
    if absent:
        _bring(session, remote, absent)
    lock = threading.Lock()

    def note(file: str, places: Sequence[Place]) -> None:
        with lock:
            _note(remote, {"file": file, "rows": [list(place[:1]) + list(place[2:]) for place in places]})

    for places in send_objects(session, remote, list(wanted), state.place, note):
        state.stored.update((place.digest, place) for place in places)
        state.sent_files += 1
        state.sent_objects += len(places)
        state.sent_bytes += sum(place.stored for place in places)


def _bring(session: Session, remote: Remote, absent: Sequence[Digest]) -> None:
    """Who lacks the bytes copies them from a condemned file or another remote, or fails (protocol P6)."""
    try:
        require_objects(session, absent, "the push")
    except MissingObject as error:
        raise _gone(error, remote) from error


def _gone(error: MissingObject, remote: Remote) -> MissingObject:
    return MissingObject(
        error.digest,
        f"here, on '{remote.name}' or any other remote; nothing was pushed",
        hint="add the files again, or fetch from a clone that has them",
    )


def _note(remote: Remote, line: dict[str, Any]) -> None:
    """Append one line to the push journal, durably."""
    with writing(remote.journal_path):
        fd = os.open(remote.journal_path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            size = os.fstat(fd).st_size
            cut = size and os.pread(fd, 1, size - 1) != b"\n"  # by a kill or a full disk: not to grow together with it
            write_all(fd, b"\n" * bool(cut) + json.dumps(line).encode() + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)


# ---- the entry -----------------------------------------------------------------------------------


def _land(session: Session, remote: Remote, head: Head, plan: Plan, state: _Push) -> bool:
    """Create the entry after *head* with the plan's records; False if somebody took its number first.

    Exactly that number: where this repository has read on since the plan was made it is taken (protocol P2).
    """
    places = _unindexed(remote, plan, state)
    index = _index_files(remote, state, places) if places else ()
    for position, records in enumerate(_parts(plan.records)):
        op = state.op if position == 0 and not state.landed else secrets.token_hex(16)
        n, data = next_entry(session, head, NewEntry(op, "push", records, index if position == 0 else ()))
        _note(remote, {"entry": n, "data": data.decode()})
        if not create_entry(remote, n, data):
            return False
        remote.accept(n, data)
        remote.catch_up()
        state.indexed.update(place.file for place in places)
        state.merged = None
        state.last_entry = n
        state.entries.append(n)
        state.landed += len(records)
        head = n, entry_digest(data)
    return True


class NewEntry(NamedTuple):
    """What an entry is to say: its operation's id, the command, records, and the index files that it brings."""

    op: str
    command: str
    records: Sequence[Record]
    indexes: Sequence[Mapping[str, Any]] = ()


def next_entry(session: Session, head: Head, new: NewEntry) -> tuple[int, bytes]:
    """Number and bytes of the entry after *head*."""
    n, before = head[0] + 1, head[1]
    entry = LogEntry(
        n, new.op, session.avc.id, before, session.author, session.clock(), new.command, tuple(new.records),
        tuple(new.indexes),
    )  # fmt: skip
    return n, encode_entry(entry)


def add_entry(session: Session, remote: Remote, head: Head, new: NewEntry) -> Head | None:
    """Create the entry after *head*, on which *new* was worked out; what the head is then, None if it was taken.

    Exactly that number: where this repository has read on meanwhile it is taken (protocol P1, P2).
    """
    n, data = next_entry(session, head, new)
    if not create_entry(remote, n, data):
        return None
    remote.accept(n, data)
    remote.catch_up()
    session.index.catch_up()
    remote.make_checkpoints([n])
    return n, entry_digest(data)


def _index_files(remote: Remote, state: _Push, places: Sequence[Place]) -> tuple[dict[str, Any], ...]:
    """Upload the index file of *places*, and where many small ones stand there one that replaces them (R4)."""
    data, name = encode_places(places), f"{state.place}-{secrets.token_hex(4)}"
    remote.transport.upload(f"index/{name}", data)
    remote.places.keep(name, data)
    own = {"id": name, "digest": entry_digest(data), "size": len(data)}
    live = {file.id for file in remote.places.live()}
    if state.merged is not None and (
        not live.issuperset(state.merged["replaces"])
        or remote.rows.get("condemned", condemned_index(state.merged["id"])) is not None
    ):
        state.merged = None
    if state.merged is None:
        with contextlib.suppress(Corrupt, RemoteMissing):  # one that cannot be read stays as it is
            state.merged = remote.places.merge(f"{state.place}-{secrets.token_hex(4)}")
    return (own,) if state.merged is None else (own, state.merged)


def _unindexed(remote: Remote, plan: Plan, state: _Push) -> list[Place]:
    condemned = condemned_among(remote, [place.file for place in state.stored.values()])
    return [p for p in state.stored.values() if p.file not in state.indexed and p.file not in condemned]


def _parts(records: Sequence[Record]) -> Iterator[list[Record]]:
    """The records in lots that fit an entry."""
    part: list[Record] = []
    size = 0
    for record in records:
        length = len(dump_json(record)) + 1
        if part and (len(part) >= _RECORDS or size + length > _ENTRY_BYTES):
            yield part
            part, size = [], 0
        part.append(record)
        size += length
    if part:
        yield part


def create_entry(remote: Remote, n: int, data: bytes) -> bool:
    """Create entry *n*; after a doubtful answer look what stands there, and send only the same bytes (P8).

    BadLogEntry, with nothing created, for one that nobody could read.
    """
    decode_entry(data, n)
    unknown: StorageError | None = None
    for attempt in range(6):
        try:
            if remote.transport.create(f"log/{entry_name(n)}", data):
                return True
        except (OutcomeUnknown, RemoteUnavailable) as error:
            unknown = error
        # After a lost answer our own write looks like somebody else's: only what stands there tells.
        found = _look(remote, n)
        if found is not None:
            return found == data
        if attempt < 5:
            backoff.after_no_answer(attempt)
    raise OutcomeUnknown(
        f"the push to '{remote.name}' got no answer: unknown, it may still land",
        hint=f"run 'avc push {remote.name}' again: it looks for this push first",
    ) from unknown


@contextlib.contextmanager
def not_a_push(command: str) -> Iterator[None]:
    """Let an outcome that stays unknown in the block be told as that of *command*."""
    try:
        yield
    except OutcomeUnknown as error:
        raise OutcomeUnknown(
            f"'{command}' got no answer: unknown, its entry may still land",
            hint=f"run '{command}' again: it reads the log first",
        ) from error


def _look(remote: Remote, n: int) -> bytes | None:
    try:
        return remote.transport.read_many([f"log/{entry_name(n)}"], limit=MAX_BYTES)[0]
    except (RemoteUnavailable, OutcomeUnknown):
        return None


def _resume(session: Session, remote: Remote) -> _Push:
    """Take up what a push that did not finish has sent; settle the entry it may have created (P8)."""
    lines = remote.journal()
    if not lines or "op" not in lines[0]:
        return _begin(remote)
    state = _Push(str(lines[0]["op"]), str(lines[0]["place"]))
    state.stored.update(_sent(lines))
    entries = [line for line in lines if "entry" in line]
    if not entries:
        return state
    n, data = int(entries[-1]["entry"]), entries[-1]["data"].encode()
    if not _settle(session, remote, n, data):
        return state
    fresh = _begin(remote)
    fresh.last_entry, fresh.landed, fresh.entries = n, len(decode_entry(data, n).records), [n]
    fresh.settled = _versions_in(remote, n)
    return fresh


def _sent(journal: Sequence[dict[str, Any]]) -> dict[Digest, Place]:
    """What the lines of a journal say was stored on the remote."""
    return {
        digest: Place(digest, line["file"], offset, stored, length, codec)
        for line in journal
        if "file" in line
        for digest, offset, stored, length, codec in line["rows"]
    }


def _settle(session: Session, remote: Remote, n: int, data: bytes) -> bool:
    """Whether the entry of an earlier push stands in the log; it is sent again if its number is free."""
    if n <= remote.head()[0]:
        return remote.log.data(n) == data
    decode_entry(data, n)
    if not create_entry(remote, n, data):
        remote.fetch()
        return False
    remote.accept(n, data)
    remote.catch_up()
    session.index.catch_up()
    session.say(f"an earlier push to '{remote.name}' has landed as entry {n}")
    return True


def _versions_in(remote: Remote, n: int) -> list[str]:
    """The versions that entry *n* brought, for people."""
    data = remote.log.data(n)
    found = []
    for record in decode_entry(data, n).records if data is not None else ():
        if record["kind"] == "version" and "set" not in record:
            artifact = remote.rows.get("artifact", record["artifact"])
            if artifact is not None:
                found.append(f"{artifact['project']}/{artifact['name']}:v{record.get('number', 0)}")
    return found


def _begin(remote: Remote) -> _Push:
    state = _Push(secrets.token_hex(16), secrets.token_hex(8))
    Path(remote.journal_path).unlink(missing_ok=True)
    _note(remote, {"op": state.op, "place": state.place})
    return state
