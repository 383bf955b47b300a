"""Mend what is stored on a remote: for ``avc fsck REMOTE --repair`` alone.

It is a push and a collection in one entry, and obeys the rules of both:

1. Bytes that have no sound copy outside bad files are brought here, from sound copies in
   the bad files themselves, condemned files, or another remote; then stored on the remote
   in new files, under names that are never used twice, with an index file (P2, P6).
2. Entry *n* names that index file and condemns the bad files: those of which everything
   that is needed now has another usable copy, by the log up to *n*-1 (P1, P4). A bad file
   that holds what nobody else has stays as it is: its bytes may be wanted yet.
3. If *n* is taken, what the new entries need is added, and all is worked out again.

A kill before the entry leaves files that no entry names, for gc; after it, all is done.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from artifactvc.core.entries import Record, entry_digest
from artifactvc.core.model import Digest
from artifactvc.errors import AvcError, BadPack, Corrupt, NewerFormat, RemoteMissing, StorageError
from artifactvc.ops import fsck_objects
from artifactvc.ops.complete import batches
from artifactvc.ops.findings import Check, replace_file
from artifactvc.ops.push import NewEntry, add_entry, not_a_push
from artifactvc.ops.sending import send_objects
from artifactvc.storage.packs import MAGIC, PackRow, decode_table, tail_bounds
from artifactvc.storage.remote_index import Place, decode_places, encode_places
from artifactvc.storage.scratch import DELETED
from artifactvc.util import backoff
from artifactvc.util.hashing import StreamDigest

_TRIES: Final = 20
_NAMES: Final = 5000
_WINDOW: Final = 8 << 20


@dataclass
class _Plan:
    """What one entry would say."""

    condemn: list[tuple[int, str]] = field(default_factory=list)  # bad files: serial, name
    store: list[Digest] = field(default_factory=list)  # what needs a new copy, and is here
    indexes: list[str] = field(default_factory=list)  # lost ones, whose rows are known again


def mend(check: Check, grace: timedelta) -> None:
    """Store anew what has no usable copy, condemn bad files, and mark what is right now."""
    stored: dict[Digest, Place] = {}
    place = secrets.token_hex(8)
    for attempt in range(_TRIES):
        plan = _plan(check, stored)
        if not (plan.condemn or plan.store or plan.indexes):
            return
        with check.session.avc.writing():
            for places in send_objects(check.session, check.kept, plan.store, place):
                stored.update((one.digest, one) for one in places)
        if _land(check, plan, [*stored.values(), *check.rebuilt], place):
            _mark(check, plan)
            return
        backoff.after_lost_race(attempt)
        _read_on(check, grace)
        for digest in [d for d, at in stored.items() if check.scratch.rows.get("condemned", at.file)]:
            del stored[digest]  # a gc without grace took it for a push that never landed: a condemned name is dead (P4)
    raise StorageError(f"remote '{check.kept.name}' is too busy: others were faster {_TRIES} times", hint="try again")


def _plan(check: Check, stored: dict[Digest, Place]) -> _Plan:
    scratch = check.scratch
    bad = [(serial, name) for serial, name, _ in scratch.ask.bad_files() if not scratch.of_drafts(serial)]
    serials = [serial for serial, _ in bad]
    wanted = [digest for digest in scratch.ask.lacking(DELETED, but=serials) if digest not in stored]
    gone = set(wanted) - _obtain(check, wanted)
    condemn = [(serial, name) for serial, name in bad if not gone & set(scratch.ask.needed_in(serial))]
    lacking = scratch.ask.lacking(DELETED, but=[serial for serial, _ in condemn])
    store = [digest for digest in lacking if digest not in stored and digest not in gone]
    indexes = [] if gone else [name for name, _, finding in check.lost_indexes if not finding.repaired]
    return _Plan(condemn[:_NAMES], store, indexes)


def _obtain(check: Check, digests: list[Digest]) -> set[Digest]:
    """Those of *digests* that are here and sound, after all that can be had was brought."""
    here: set[Digest] = set()
    for batch in batches(digests):
        absent = [digest for digest in batch if digest not in check.session.avc.store.has(batch)]
        if absent:
            fsck_objects.bring(check, absent)
            absent = [digest for digest in absent if digest not in check.session.avc.store.has(absent)]
        if absent:
            _from_others(check, absent)
        here.update(digest for digest in check.session.avc.store.has(batch) if _is_sound(check, digest))
    return here


def _from_others(check: Check, digests: list[Digest]) -> None:
    from artifactvc.ops.transfer import fetch_objects

    session, name = check.session, check.kept.name
    others = [other for other, table in session.avc.remotes.items() if table["id"] != check.kept.id]
    passed = {other for other in session.avc.remotes if other not in others}
    before = dict(session.unreachable)
    try:
        session.unreachable.update({other: StorageError(f"'{name}' is being mended") for other in passed})
        if others:
            fetch_objects(session, digests)
    except AvcError:
        pass  # what is still not here is told as missing
    finally:
        session.unreachable.clear()
        session.unreachable.update(before)


def _is_sound(check: Check, digest: Digest) -> bool:
    try:
        check.session.avc.store.verify(digest)
    except AvcError as error:
        check.session.say(f"the copy here is no help: {error.message}; run 'avc fsck --full --repair' for what is here")
        return False
    return True


def _land(check: Check, plan: _Plan, places: Iterable[Place], place: str) -> bool:
    """Create the entry behind the one that the plan was worked out on; False if somebody took its number."""
    session, kept, scratch = check.session, check.kept, check.scratch
    rows, index = list(places), list[dict[str, Any]]()
    if rows:
        data = encode_places(rows)
        name = f"{place}-{secrets.token_hex(4)}"
        kept.transport.upload(f"index/{name}", data)
        index.append({"id": name, "digest": entry_digest(data), "size": len(data)})
    record: Record = {"kind": "condemn", "files": [name for _, name in plan.condemn]}
    if plan.indexes:
        record["index"] = plan.indexes
    records = (record,) if plan.condemn or plan.indexes else ()
    n, before = scratch.head()
    with not_a_push(f"avc fsck {kept.name} --repair"):
        if add_entry(session, kept, (n, before), NewEntry(secrets.token_hex(16), "fsck", records, index)) is None:
            return False
    scratch.apply(list(kept.log.since(n + 1, before)))
    scratch.add_places(place, rows)
    return True


def _read_on(check: Check, grace: timedelta) -> None:
    """Let the entries that others made meanwhile count: what they need is needed."""
    kept, scratch = check.kept, check.scratch
    kept.fetch()
    n, before = scratch.head()
    scratch.apply(list(kept.log.since(n + 1, before)))
    fsck_objects.check_indexes(check)
    fsck_objects.note_needed(check, grace)
    fsck_objects.check_files(check)


def _mark(check: Check, plan: _Plan) -> None:
    condemned = {serial for serial, _ in plan.condemn}
    left = set(check.scratch.ask.lacking(DELETED))
    for finding in check.findings:
        if finding.file is not None:
            finding.repaired = finding.file in condemned
        elif finding.objects:
            finding.repaired = not finding.objects & left
    for name, _, finding in check.lost_indexes:
        finding.repaired = finding.repaired or name in plan.indexes


# ---- index files that are lost ----------------------------------------------------------------------


def rebuild_indexes(check: Check) -> None:
    """Work out from the stored files what lost index files said.

    A push names its index file after the directory of its stored files. Where all of those give
    exactly the bytes that the log names, the file is written again; otherwise what
    could be found goes into the index file of a new entry, which condemns the lost one.
    """
    listed = check.listing("packs")
    if listed is None:
        return
    check.scratch.stand(listed)
    found: dict[str, list[Place]] = {}
    for name in check.scratch.ask.unnamed():
        places = _places_in(check, name, check.scratch.size_of(name) or 0)
        if places:
            found.setdefault(name.rpartition("/")[0], []).extend(places)
    for name, digest, finding in check.lost_indexes:
        data = encode_places(found.get(name.rpartition("-")[0], []))
        if entry_digest(data) == digest:
            check.scratch.add_places(name, list(decode_places(data, name)))
            finding.repaired = replace_file(check.transport, f"index/{name}", data)
            found.pop(name.rpartition("-")[0])
    if not all(finding.repaired for _, _, finding in check.lost_indexes):
        check.rebuilt = [place for places in found.values() for place in places]
        check.scratch.add_places("rebuilt", check.rebuilt)


def _places_in(check: Check, file: str, size: int) -> list[Place]:
    """Where objects are in a stored file, by its own table; a file that is no pack is one object."""
    try:
        if file.endswith(".pack"):
            return [Place(row.digest, file, *row[1:]) for row in _table(check, file, size)]
        hasher = StreamDigest()
        for start in range(0, size, _WINDOW):
            hasher.update(_bytes(check, file, start, min(_WINDOW, size - start)))
        return [Place(hasher.digest(), file, 0, size, size, 0)]
    except (Corrupt, NewerFormat, RemoteMissing):
        return []


def _table(check: Check, file: str, size: int) -> list[PackRow]:
    tail = _bytes(check, file, max(size - 48, 0), min(48, size))
    at, length = tail_bounds(tail, size, file)
    if _bytes(check, file, 0, len(MAGIC)) != MAGIC:
        raise BadPack(f"'{file}' is not a pack")
    return decode_table(_bytes(check, file, at, length) if length else b"", tail, at, file)


def _bytes(check: Check, file: str, start: int, length: int) -> bytes:
    return next(bytes(data) for _, data in check.transport.read_ranges([(f"packs/{file}", start, length)]))
