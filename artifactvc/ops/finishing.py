"""The end of a version that many build: its parts become one, in one entry of the log (protocol P10).

Who finishes says so beside the parts, lists them, merges them, and lists once more when
the entry is about to be created: if a part has come meanwhile, all is done again. Of
several who finish at once one creates the entry; the others see it and give its version.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from artifactvc.core.entries import Record
from artifactvc.core.manifest import find_many, walk
from artifactvc.core.model import EMPTY, Digest, Root
from artifactvc.core.parts import (
    FINISHED,
    Ending,
    Target,
    Texts,
    build_union,
    finishing,
    merged_texts,
    opening,
    writer_directory,
)
from artifactvc.core.records import holder, resolve
from artifactvc.errors import (
    BadIndex,
    Conflict,
    MissingObject,
    OutcomeUnknown,
    RemoteMissing,
    StorageError,
    WaitTimeoutError,
)
from artifactvc.ops import runs, versions
from artifactvc.ops.draft_parts import TRIES, UNANSWERED, DraftState, Part, check_type, current, draft_at, over
from artifactvc.ops.draft_places import DraftPlace
from artifactvc.ops.resolve import Found
from artifactvc.ops.session import Session, salted, storing
from artifactvc.ops.trusted import note_trusted, trusted
from artifactvc.storage.parts import Listing, Parts
from artifactvc.util import backoff

_BATCH: Final = 5000
_FIRST_PAUSE: Final = 0.05


@dataclass(frozen=True)
class Wish:
    """What the finisher asks for."""

    target: Target
    part: Part
    texts: Texts
    aliases: Sequence[str] = ()
    ttl: str | None = None


@dataclass(frozen=True)
class _Merged:
    """The parts as one, and which they were."""

    listing: Listing
    taken: Mapping[str, int]
    runs: Mapping[str, Mapping[str, str]]
    root: Root
    texts: Mapping[str, Digest]


def finish_draft(session: Session, place: DraftPlace, wish: Wish, own: Digest) -> Found:
    """Make the open draft a version, with the manifest *own* as the finisher's; the caller holds the store's lock."""
    draft = current(place, wish.target)
    if draft.row is None:
        ended = _ended_before(session, place, wish, own, draft.generation)
        if ended is not None:
            return ended
    parts = place.parts(draft.id)
    _mark(parts)
    whole = _Whole(session, place, parts)
    merged: _Merged | None = None
    for _ in range(TRIES):
        place.read()
        now = draft_at(place, wish.target, draft.generation)
        if now.over:
            return _ended(session, wish, own, now)
        listing = whole.listing()
        try:
            if merged is None or merged.listing != listing:
                merged = _merge(session, place, parts, wish, own, listing)
            if _land(session, place, whole, wish, draft, merged):
                return _version(session, draft_at(place, wish.target, draft.generation))
        except (BadIndex, RemoteMissing, MissingObject) as error:
            place.read()
            if draft_at(place, wish.target, draft.generation).over:
                continue  # somebody else has ended the draft, and gc removed its parts
            if not isinstance(error, MissingObject) or not whole.leave_out(listing):
                raise
    raise StorageError(f"parts of '{wish.target.name}' keep coming while it is finished", hint="finish when all are in")


class _Whole:
    """The attempts that count: of each run the last that is whole (protocol P10).

    One is not if what it relies on was condemned before it stood among the parts, and its
    writer was killed before it saw that. Nobody was told that such a part is in: gc condemns
    nothing that a part names which it sees. Its writer sends it again when it is called again.
    """

    def __init__(self, session: Session, place: DraftPlace, parts: Parts) -> None:
        self._session, self._place, self._parts = session, place, parts
        self._broken: set[tuple[str, int]] = set()

    def listing(self) -> Listing:
        """What is there now, but for those that were left out."""
        found = {
            writer: [attempt for attempt in attempts if (writer, attempt) not in self._broken]
            for writer, attempts in self._parts.listing().items()
        }
        return {writer: attempts for writer, attempts in found.items() if attempts}

    def leave_out(self, listing: Listing) -> bool:
        """Look for attempts of which bytes are gone; whether there are any."""
        lost = self._place.lost(self._parts, listing)
        for attempt in lost:
            self._broken.add((writer_directory(attempt.writer), attempt.attempt))
            self._session.say(
                f"the last part of run '{attempt.writer}' is not taken: it was broken off, and bytes of it are gone"
            )
        return bool(lost)


def _mark(parts: Parts) -> None:
    """Set the mark, surely: parts may be missed that come before it is there."""
    for attempt in range(UNANSWERED + 1):
        try:
            parts.mark_closing()
            return
        except OutcomeUnknown:
            if attempt == UNANSWERED:
                raise
            backoff.after_no_answer(attempt)


# ---- merging -------------------------------------------------------------------------------------


def _merge(session: Session, place: DraftPlace, parts: Parts, wish: Wish, own: Digest, listing: Listing) -> _Merged:
    attempts = place.bring(parts, listing)
    if not attempts and own == EMPTY:
        raise _nothing(wish)
    writer = wish.part.writer
    roots = {attempt.writer: attempt.root for attempt in attempts}
    before = next((attempt for attempt in attempts if attempt.writer == writer), None)
    roots[writer] = own if before is None else over(session, place, parts, before, wish.part.prepared)
    said = merged_texts([Texts(attempt.description, attempt.metadata) for attempt in attempts], wish.texts)
    texts: dict[str, Digest] = {}
    with storing(session) as store:
        streams = [(run, walk(root, session.node)) for run, root in sorted(roots.items())]
        root = build_union(streams, lambda data: store.put_node(data) if data else EMPTY)
        if said.description:
            texts["description"] = store.put(salted(said.description, "the description"))
        if said.metadata:
            texts["metadata"] = store.put(salted(dict(said.metadata)))
    place.require(root.digest, _live(place, wish.target))
    note_trusted(session, root.digest)
    taken = {attempt.writer: attempt.attempt for attempt in attempts}
    known = {**{attempt.writer: attempt.run for attempt in attempts}, writer: place.known(writer)}
    return _Merged(listing, taken, known, root, texts)


def _live(place: DraftPlace, target: Target) -> list[Digest]:
    """Manifests of the versions that are live where the new one will be, oldest first."""
    artifact = holder(place.rows, target.project, target.name)
    return [v["digest"] for v in place.rows.find("version", artifact=artifact["id"], live=1)] if artifact else []


def _land(session: Session, place: DraftPlace, whole: _Whole, wish: Wish, draft: DraftState, merged: _Merged) -> bool:
    """Create the entry; False if the draft ended or a part came before it could be created."""
    target = wish.target
    artifact_id = place.artifact_id(target.project, target.name)
    ending = Ending(
        merged.root, artifact_id, wish.part.writer, merged.taken, merged.runs, merged.texts, wish.aliases, wish.ttl
    )
    planned = existing = False

    def plan() -> list[Record]:
        nonlocal planned, existing
        now, live = draft_at(place, target, draft.generation), _live(place, target)
        planned, existing = not now.over and whole.listing() == merged.listing, merged.root.digest in live
        if not planned:
            return []
        check_type(place.rows, target, now)
        place.deliver(merged.root.digest, merged.texts.values() if not existing else (), live)
        begun = [] if now.row else [opening(target, draft.id, draft.generation)]
        return [*begun, *finishing(place.rows, target, draft.id, ending)]

    place.append("finish", plan)
    if planned and existing:
        session.say(f"what '{target.name}' became is a version already (its description and metadata stay)")
    return planned


# ---- a draft that has ended --------------------------------------------------------------------------


def _version(session: Session, draft: DraftState) -> Found:
    assert draft.row is not None
    artifact = resolve(session.index.rows, draft.row["artifact"])
    return versions.by_key(session, artifact["id"] if artifact else draft.row["artifact"], draft.row["digest"])


def _ended_before(session: Session, place: DraftPlace, wish: Wish, own: Digest, generation: int) -> Found | None:
    """Where no draft is open: the version that the last one became, if this is one more finish of it.

    None if *own* is to begin and end a draft of its own: the first one, the one after a draft
    that was given up, or the next of the run that finished the last. A run that cannot know
    that somebody was faster is told, and does not make a version of its files alone.
    """
    before = draft_at(place, wish.target, generation - 1) if generation else None
    if before is not None and before.state == FINISHED:
        found = _version(session, before)
        if found.version["live"] and _holds(session, found.version["digest"], own):
            return _join(session, wish, found)
        if own != EMPTY and before.details.get("run") != wish.part.writer:
            raise _late(wish, before, found)
    if own == EMPTY:
        raise _nothing(wish)
    return None


def _ended(session: Session, wish: Wish, own: Digest, draft: DraftState) -> Found:
    """The version that somebody else made of the draft meanwhile, if it holds our files too."""
    if draft.state != FINISHED:
        raise Conflict(f"'{wish.target.name}' ({wish.target.distributed_id}) was given up while it was to be finished")
    found = _version(session, draft)
    if not _holds(session, found.version["digest"], own):
        raise _late(wish, draft, found)
    return _join(session, wish, found)


def _holds(session: Session, root: Digest, own: Digest) -> bool:
    """Whether every entry of manifest *own* is in *root*, the same."""
    entries = walk(own, session.node)
    while batch := list(islice(entries, _BATCH)):
        there = find_many(trusted(session, root), [entry.path for entry in batch], session.node)
        if any(there.get(entry.path) != entry for entry in batch):
            return False
    return True


def _join(session: Session, wish: Wish, found: Found) -> Found:
    """One more producer of a version that is there; its description and metadata stay, aliases come to it."""
    key = found.artifact["id"], found.version["digest"]
    if session.index.rows.get("run", wish.part.writer) is not None:
        runs.produce(session, wish.part.writer, [key])
    held = {row["alias"] for row in session.index.rows.find("alias", artifact=key[0], digest=key[1])}
    fresh = [alias for alias in dict.fromkeys(wish.aliases) if alias not in held and alias != "latest"]
    if fresh:
        versions.save(session, *key, versions.Changes(aliases=(fresh, ())))
    return versions.by_key(session, *key)


def _late(wish: Wish, draft: DraftState, found: Found) -> Conflict:
    return Conflict(
        f"'{wish.target.name}' ({wish.target.distributed_id}) was finished as '{found.full_name}:{found.shown}'"
        f" by run '{draft.details.get('run')}' without these files",
        hint="put them in with upsert_artifact, which begins the next version, and finish that",
    )


def _nothing(wish: Wish) -> Conflict:
    return Conflict(
        f"there is nothing to finish: no run has put a part into '{wish.target.name}' ({wish.target.distributed_id})",
        hint="check project, name and id; a part is put in with upsert_artifact",
    )


# ---- waiting ------------------------------------------------------------------------------------------


def wait_for(place: DraftPlace, target: Target, expect: int, timeout: float) -> None:
    """Wait until *expect* runs have put in a part, or the draft ends. No lock is held."""
    end, pause = time.monotonic() + timeout, _FIRST_PAUSE
    waited_for: int | None = None
    while True:
        place.read()
        draft = current(place, target)
        count = len(place.parts(draft.id).listing()) if draft.row else 0
        if draft.row and waited_for is None:
            waited_for = draft.generation
        if count >= expect or waited_for not in (None, draft.generation):
            return
        left = end - time.monotonic()
        if left <= 0:
            raise WaitTimeoutError(
                f"{count} of {expect} runs have put in a part of '{target.name}' ({target.distributed_id})"
                f" after {timeout:g} seconds",
                hint="wait longer, run the others again, or finish without them",
            )
        time.sleep(min(pause, place.poll_seconds, left))
        pause *= 1.5
