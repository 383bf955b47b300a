"""Collect what nothing needs on a remote: by entries that condemn, safe while others push (protocol P1 to P5, R5).

1. Read the log to *n*-1; work out from it alone what is needed; list what stands there.
2. Store the needed part of packs that are mostly dead anew, with an index of it.
3. Create entry *n*: the condemnation and that index. If *n* is taken, all again.
4. After the grace, counted from the entry's own age by the storage's clock, read the log
   again and remove what was condemned; what turns out to be the only copy of something
   live is left, and reported.

Whoever pushes has read every entry below its own, so it either lands before *n*, and then
*n* is taken, or it sees the condemnation and sends what it relied on again. Nothing here
rests on a clock but when bytes go; nothing is taken for dead because of its age, apart
from files that no entry names. What cannot be read stops all before anything is condemned.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from artifactvc.core.entries import Record, entry_digest, is_stored_name
from artifactvc.core.parts import OPEN
from artifactvc.core.records import condemned_index
from artifactvc.core.results import CollectedRemote, Expired, RemovedFile
from artifactvc.errors import ReadOnly, RemoteMissing, StorageError
from artifactvc.ops import gc_rewrite
from artifactvc.ops.expire import AT_ONCE, expired_records, kept_here, over_at
from artifactvc.ops.fetch import fetch
from artifactvc.ops.gc_survey import Survey, take_survey
from artifactvc.ops.push import Head, NewEntry, add_entry, not_a_push
from artifactvc.ops.session import Session
from artifactvc.storage.log import entry_name
from artifactvc.storage.remote import Remote
from artifactvc.storage.remote_files import RemoteFiles
from artifactvc.storage.remote_index import encode_places
from artifactvc.util import backoff
from artifactvc.util.text import format_time, parse_duration, parse_time
from artifactvc.util.threads import Stop, in_threads

#: How often a collection whose number was taken is worked out again.
_TRIES: Final = 20
#: From this try on packs are left as they are: others push so often that rewriting would never get done.
_NO_REWRITE: Final = 4
#: Names that one entry condemns: it stays below 1 MiB.
_NAMES: Final = 5000
#: Files that are removed at once.
_REMOVED_AT_ONCE: Final = 16
#: A local clock further off than this from the storage's is not trusted with ages (protocol P9).
_CLOCKS: Final = timedelta(hours=1)

UNNEEDED, MOSTLY, SMALL, NEVER, OVER = (
    "nothing in it is needed",
    "less than half of it is needed: the rest is written anew",
    "one of many small packs: written anew as one",
    "of a push that never landed",
    "condemned before, and the grace is over",
)


@dataclass
class _Ages:
    """What is old enough, by the storage's clock (protocol P9)."""

    now: float  # epoch seconds
    grace: timedelta
    trusted: bool  # whether ages decide anything

    def over(self, moment: float) -> bool:
        """Whether the grace that began at *moment* has ended."""
        return self.trusted and self.now - moment >= self.grace.total_seconds()


@dataclass
class _Plan:
    """What one entry would condemn, file by file with its bytes and reason, and what would be written anew."""

    gone: list[RemovedFile] = field(default_factory=list)
    indexes: list[str] = field(default_factory=list)
    rewrite: list[str] = field(default_factory=list)
    rewritten_bytes: int = 0
    young: int = 0
    young_bytes: int = 0


def collect_remote(
    session: Session, name: str, grace: str, *, dry_run: bool = False, force: bool = False
) -> CollectedRemote:
    """Condemn what nothing needs on remote *name*, and remove what was condemned longer than *grace* ago.

    With *dry_run* nothing is written there. *force* trusts ages though the clocks disagree.
    Raises MissingObject or Corrupt, with nothing condemned, where something live cannot be read.
    """
    remote = session.remote(name)
    if remote.table.get("read_only") or remote.transport.read_only:
        raise ReadOnly(f"remote '{name}' can only be read: nothing can be collected there")
    fetch(session, name)
    remote.verify_identity(deed="delete")
    ages = _ages(session, remote, parse_duration(grace), dry_run=dry_run, force=force)
    expired = _expire(session, remote, ages, dry_run=dry_run)
    files = RemoteFiles(remote.connection)
    entry, plan, survey = _condemn(session, remote, files, ages, dry_run=dry_run)
    if entry is not None:
        survey = take_survey(session, remote, files)
    landed = _landed(remote)
    if entry is not None:  # what was condemned just now is not from the future
        ages.now = max(ages.now, landed.get(entry, 0.0))
    removed, waiting, spared = _settle(survey, ages, landed)
    dropped = 0
    if not dry_run:
        gone = [f"packs/{file}" for file, _ in removed]
        _remove(session, remote, gone + _leftovers(remote, survey, ages, landed))
        dropped = remote.transport.drop_unfinished(ages.now - ages.grace.total_seconds()) if ages.trusted else 0
    return CollectedRemote(
        name,
        entry,
        tuple(plan.gone),
        plan.rewritten_bytes,
        tuple(RemovedFile(file, size, OVER) for file, size in removed),
        tuple(sorted(spared)),
        tuple(expired),
        (*_kept(survey, plan, waiting, dropped), *_not_there_yet(session, name)),
        dry_run,
    )


# ---- clocks and ages --------------------------------------------------------------------------------


def _ages(session: Session, remote: Remote, grace: timedelta, *, dry_run: bool, force: bool) -> _Ages:
    """What time it is where the remote is: a file is made there and its age looked at. A dry run takes the clock here.

    Where the two clocks are too far apart no age is trusted, unless by *force* (protocol P9).
    """
    here = parse_time(session.clock()).timestamp()
    if dry_run:
        return _Ages(here, grace, trusted=True)
    name = f"probe/{secrets.token_hex(16)}"
    remote.transport.upload(name, b"clock\n")
    try:
        times = [file.modified for file in remote.transport.list_files("probe") if file.name == name]
    finally:
        remote.transport.remove(name)
    now = times[0] if times else None
    if now is not None and abs(here - now) <= _CLOCKS.total_seconds():
        return _Ages(now, grace, trusted=True)
    if not force:
        session.say(
            f"the clock here and that of '{remote.name}' differ by over an hour: nothing expires and nothing is"
            " removed without --force"
        )
    return _Ages(here if now is None else now, grace, trusted=force)


def _landed(remote: Remote) -> dict[int, float]:
    """When each entry that condemns, or replaces index files, was created, by the storage's clock."""
    rows = remote.connection.execute(
        "SELECT entry FROM condemned UNION SELECT superseded FROM remote_index WHERE superseded IS NOT NULL"
    ).fetchall()
    numbers = {f"log/{entry_name(row[0])}": row[0] for row in rows}
    if not numbers:
        return {}
    return {numbers[file.name]: file.modified for file in remote.transport.list_files("log") if file.name in numbers}


def _expire(session: Session, remote: Remote, ages: _Ages, *, dry_run: bool) -> list[Expired]:
    """Turn what is over into ``delete`` records of this remote's log, if that log gives the numbers (protocol P9).

    What is kept here by work that is not pushed yet, such as a time to live taken back, stays there, too.
    """
    if remote.name != session.avc.origin or not ages.trusted:
        return []
    moment = datetime.fromtimestamp(ages.now, UTC)
    gone: list[Expired] = []
    lost = 0
    while lost < _TRIES:
        head = remote.head()
        found = [one for one in over_at(remote.rows, moment) if not kept_here(session, one, moment)]
        if dry_run or not found:
            return gone + [one.told() for one in found]
        if _append(session, remote, head, expired_records(remote.rows, found), ()):
            gone += [one.told() for one in found[:AT_ONCE]]
        else:
            backoff.after_lost_race(lost)
            lost += 1
            fetch(session, remote.name)
    raise StorageError(f"remote '{remote.name}' is too busy: others were faster {_TRIES} times", hint="try again")


# ---- condemning ---------------------------------------------------------------------------------------


def _condemn(
    session: Session, remote: Remote, files: RemoteFiles, ages: _Ages, *, dry_run: bool
) -> tuple[int | None, _Plan, Survey]:
    """Create the entry that condemns; (its number or None, what it says, what it was worked out from)."""
    for attempt in range(_TRIES):
        survey = take_survey(session, remote, files)
        plan = _plan(remote, survey, ages, rewrite=attempt < _NO_REWRITE)
        if dry_run or not (plan.gone or plan.indexes):
            return None, plan, survey
        try:
            with session.avc.writing():
                places = gc_rewrite.write_anew(session, remote, files, plan.rewrite)
        except RemoteMissing:  # another gc was faster: it has condemned the pack, and removed it
            if not fetch(session, remote.name).entries:
                raise
            continue
        index: tuple[dict[str, Any], ...] = ()
        if places:
            data = encode_places(places)
            index_id = f"{secrets.token_hex(8)}-{secrets.token_hex(4)}"
            remote.transport.upload(f"index/{index_id}", data)
            index = ({"id": index_id, "digest": entry_digest(data), "size": len(data)},)
        if _land(session, remote, survey.head, plan, index):
            return survey.head[0] + 1, plan, survey
        gc_rewrite.take_back(remote, places, index)
        backoff.after_lost_race(attempt)
    raise StorageError(f"remote '{remote.name}' is too busy: others were faster {_TRIES} times", hint="try again")


def _plan(remote: Remote, survey: Survey, ages: _Ages, *, rewrite: bool) -> _Plan:
    plan, spared = _Plan(), survey.spared
    plan.gone += [RemovedFile(f.name, f.size, UNNEEDED) for f in survey.files.unused() if f.name not in spared]
    for unnamed in survey.files.unnamed():
        if unnamed.name in spared:
            continue
        if ages.over(unnamed.modified):
            plan.gone.append(RemovedFile(unnamed.name, unnamed.size, NEVER))
        else:
            plan.young, plan.young_bytes = plan.young + 1, plan.young_bytes + unnamed.size
    if rewrite:
        packs = [file for file in survey.files.used() if file.objects > 1 and file.name not in spared]
        mostly = [file for file in packs if file.used * 2 < file.stored]
        small = gc_rewrite.small_packs(packs)
        for reason, chosen in ((MOSTLY, mostly), (SMALL, [file for file in small if file not in mostly])):
            for file in chosen:
                plan.gone.append(RemovedFile(file.name, file.size, reason))
                plan.rewrite.append(file.name)
                plan.rewritten_bytes += file.used
    known = {row[0] for row in remote.connection.execute("SELECT id FROM remote_index")}
    for stored in survey.indexes:
        index_id = stored.name.removeprefix("index/")
        if not is_stored_name(index_id):  # no entry could name it: none of ours
            continue
        condemned = remote.rows.get("condemned", condemned_index(index_id)) is not None
        if index_id not in known and not condemned and ages.over(stored.modified):
            plan.indexes.append(index_id)  # of a push that never landed
    plan.indexes += _replaced(remote, survey, ages)
    return plan


def _replaced(remote: Remote, survey: Survey, ages: _Ages) -> list[str]:
    """Index files that a merged one replaced longer ago than the grace.

    A merged one leaves out what stood in condemned files. As long as such a file stands, what was
    replaced after its condemnation stays too: it alone tells what is in that file (protocol P6).
    """
    standing = {stored.name.removeprefix("index/") for stored in survey.indexes}
    oldest = min((entry for _, _, entry in survey.files.condemned()), default=None)
    old = [
        file
        for file in remote.places.superseded()
        if file.id in standing
        and file.superseded is not None
        and (oldest is None or file.superseded < oldest)
        and remote.rows.get("condemned", condemned_index(file.id)) is None
    ]
    landed = _landed(remote) if old else {}
    return [file.id for file in old if file.superseded in landed and ages.over(landed[file.superseded])]


def _land(session: Session, remote: Remote, head: Head, plan: _Plan, index: tuple[dict[str, Any], ...]) -> bool:
    """Create the entry after *head*: all names in one where they fit, else the rest in the next while they are free."""
    names = [file.name for file in plan.gone]
    lots = [names[start : start + _NAMES] for start in range(0, len(names), _NAMES)] or [[]]
    for position, lot in enumerate(lots):
        record: Record = {"kind": "condemn", "files": lot}
        if position == 0 and plan.indexes:
            record["index"] = plan.indexes[:_NAMES]
        after = _append(session, remote, head, [record], index if position == 0 else ())
        if after is None:
            if position == 0:
                return False
            kept = set(names[: position * _NAMES])
            plan.gone = [file for file in plan.gone if file.name in kept]
            break  # what is left is found again by the next gc
        head = after
    return True


def _append(
    session: Session, remote: Remote, head: Head, records: list[Record], index: tuple[dict[str, Any], ...]
) -> Head | None:
    """Create the entry after *head*; what the head is then, None if that number was taken."""
    with not_a_push(f"avc gc {remote.name}"):
        return add_entry(session, remote, head, NewEntry(secrets.token_hex(16), "gc", records, index))


# ---- removing -----------------------------------------------------------------------------------------


def _settle(
    survey: Survey, ages: _Ages, landed: Mapping[int, float]
) -> tuple[list[tuple[str, int]], list[tuple[int, int, float]], set[str]]:
    """(files to remove with their bytes, (files, bytes, until) that wait for the grace, files spared)."""
    last = survey.files.last_copies()
    over: list[tuple[str, int]] = []
    spared: set[str] = set()
    waiting: dict[int, tuple[int, int]] = {}
    for name, size, n in survey.files.condemned():
        if name in last or name in survey.spared:
            spared.add(name)
        elif n in landed and ages.over(landed[n]):
            over.append((name, size))
        else:
            count, total = waiting.get(n, (0, 0))
            waiting[n] = (count + 1, total + size)
    grace = ages.grace.total_seconds()
    until = [(count, total, landed.get(n, ages.now) + grace) for n, (count, total) in sorted(waiting.items())]
    return over, until, spared


def _remove(session: Session, remote: Remote, names: Sequence[str]) -> None:
    """Remove files, several at once: each is a request of its own."""
    session.progress.start("Removing", total=len(names), unit="files")
    jobs = (partial(remote.transport.remove, name) for name in names)
    with contextlib.closing(in_threads(jobs, _REMOVED_AT_ONCE, Stop())) as removed:
        for _ in removed:
            session.progress.advance(1)
    session.progress.finish()


def _leftovers(remote: Remote, survey: Survey, ages: _Ages, landed: Mapping[int, float]) -> list[str]:
    """Condemned index files, what probes left, and the parts of drafts that have ended, all past the grace.

    The mark ``closing.json`` of a draft stays: a writer that was paused must find it.
    """
    found = []
    for file in survey.indexes:
        row = remote.rows.get("condemned", condemned_index(file.name.removeprefix("index/")))
        if row is not None and row["entry"] in landed and ages.over(landed[row["entry"]]):
            found.append(file.name)
    found += [file.name for file in remote.transport.list_files("probe") if ages.over(file.modified)]
    states = {row["id"]: row["state"] for row in remote.rows.find("draft")}
    for file in remote.transport.list_files("drafts") if states else ():
        ended = states.get(file.name.split("/")[1], OPEN) != OPEN
        if ended and ages.over(file.modified) and not file.name.endswith("/closing.json"):
            found.append(file.name)
    return found


def _not_there_yet(session: Session, name: str) -> tuple[str, ...]:
    """Deletions that the remote's log does not have: what they let go of is needed there."""
    if name != session.avc.origin:
        return ()
    count = sum(entry.records[at]["kind"] == "delete" for entry, at in session.index.pending())
    return (f"{count} deletions here are not pushed: run 'avc push' first",) if count else ()


def _kept(survey: Survey, plan: _Plan, waiting: list[tuple[int, int, float]], dropped: int) -> tuple[str, ...]:
    """Why the rest stays, a line each."""
    from artifactvc.util.text import format_size

    lines = []
    if plan.young:
        lines.append(
            f"{plan.young} files ({format_size(plan.young_bytes)}) belong to no entry, and are younger than the grace:"
            " of a push under way, or of one that failed"
        )
    for count, size, until in waiting:
        moment = format_time(datetime.fromtimestamp(until, UTC))[:16].replace("T", " ")
        lines.append(f"{count} files ({format_size(size)}) are condemned, and stay until {moment} UTC")
    if survey.spared:
        lines.append(f"{len(survey.spared)} files belong to open drafts that many build")
    lacking = len(survey.files.lacking())
    if lacking:
        lines.append(f"{lacking} objects that are needed have no sound copy there: run 'avc fsck' on this remote")
    if dropped:
        lines.append(f"{dropped} uploads that were never finished were given up")
    return tuple(lines)
