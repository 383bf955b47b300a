"""A part of a version that many build: which draft it belongs to, and how a run's attempts follow one another.

No writer waits for another, reads another's part or lists, so what it costs to put in a part
does not grow with their number (protocol P10; ``storage/parts.py`` says how none is missed).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Final

from artifactvc.core.entries import Record
from artifactvc.core.manifest import update
from artifactvc.core.metadata import normalize
from artifactvc.core.model import Digest
from artifactvc.core.parts import (
    ABANDONED,
    FINISHED,
    OPEN,
    Attempt,
    Target,
    Texts,
    first_open,
    merged_texts,
    opening,
    writer_directory,
)
from artifactvc.core.records import Row, Rows, holder
from artifactvc.errors import BadIndex, Conflict, MissingObject, OutcomeUnknown, RemoteMissing, StorageError
from artifactvc.ops.commit import type_conflict
from artifactvc.ops.draft_places import DraftPlace
from artifactvc.ops.prepare import Prepared
from artifactvc.ops.session import Session, storing
from artifactvc.storage.parts import MOST_ATTEMPTS, Parts
from artifactvc.util import backoff
from artifactvc.util.hashing import digest_bytes

#: How often a part or an end is tried again when others are faster.
TRIES: Final = 50
#: How often a part is sent again when no answer comes.
UNANSWERED: Final = 5


@dataclass(frozen=True)
class Part:
    """What one call puts in."""

    writer: str  # the run's id
    prepared: Prepared
    description: str | None
    metadata: dict[str, Any]

    @property
    def texts(self) -> Texts:
        """What it says of itself, as it is stored."""
        return Texts(self.description, normalize(self.metadata))


@dataclass(frozen=True)
class DraftState:
    """A draft as the deciding log has it: *row* is None where nobody has opened it yet."""

    id: str
    generation: int
    row: Row | None

    @property
    def state(self) -> str | None:
        """open, finished, abandoned, or None."""
        return self.row["state"] if self.row else None

    @property
    def over(self) -> bool:
        """Whether it has ended, one way or the other."""
        return self.state in (FINISHED, ABANDONED)

    @property
    def details(self) -> dict[str, Any]:
        """What is built, and after the end who finished it and what was taken."""
        found: dict[str, Any] = json.loads((self.row or {}).get("details") or "{}")
        return found

    def took(self, attempt: Attempt) -> bool:
        """Whether the version that it became holds what *attempt* holds."""
        taken: int = self.details.get("taken", {}).get(attempt.writer, -1)
        return self.state == FINISHED and taken >= attempt.attempt


def draft_at(place: DraftPlace, target: Target, generation: int) -> DraftState:
    """The draft of *target* after *generation* others."""
    draft_id = target.draft_id(place.key, generation)
    return DraftState(draft_id, generation, place.rows.get("draft", draft_id))


def current(place: DraftPlace, target: Target) -> DraftState:
    """The draft that is open, or the one to be opened next; TypeConflict if it is of another type."""
    draft = of_any_type(place, target)
    check_type(place.rows, target, draft)
    return draft


def of_any_type(place: DraftPlace, target: Target) -> DraftState:
    """The same, whatever the type is: what is given up needs none."""
    return draft_at(place, target, first_open(lambda generation: draft_at(place, target, generation).over))


def check_type(rows: Rows, target: Target, draft: DraftState) -> None:
    """A name has one type, and so has what is built under it."""
    artifact = holder(rows, target.project, target.name)
    known = artifact["type"] if artifact else draft.details.get("type", target.type)
    if known != target.type:
        raise type_conflict(target.name, known, target.type)


# ---- a part ------------------------------------------------------------------------------------


def put_in(session: Session, place: DraftPlace, target: Target, part: Part, root: Digest) -> None:
    """Put *part*, whose manifest is *root*, into the open draft, or open one; the caller holds the store's lock."""
    draft = _opened(place, target)
    attempt = _put(session, place, draft, part, (root, part.texts))
    for _ in range(TRIES):
        try:
            if place.holds(place.parts(draft.id), attempt):
                break
        except (BadIndex, RemoteMissing):  # somebody may have ended the draft, and gc removed its parts
            if not draft_at(place, target, draft.generation).over:
                raise
            break
        attempt = _put(session, place, draft, part, (root, part.texts), again=True)
    _tell(session, place, target, draft, attempt)
    if draft_at(place, target, draft.generation).over or place.parts(draft.id).is_closing():
        _insist(place, target, draft, attempt)


def _opened(place: DraftPlace, target: Target) -> DraftState:
    """The open draft, opened by one entry if nobody has."""
    draft = current(place, target)
    while draft.row is None:

        def plan(fresh: DraftState = draft) -> list[Record]:
            known = draft_at(place, target, fresh.generation)
            return [opening(target, fresh.id, fresh.generation)] if known.row is None else []

        place.append("upsert", plan)
        draft = current(place, target)
    return draft


def _put(
    session: Session,
    place: DraftPlace,
    draft: DraftState,
    part: Part,
    whole: tuple[Digest, Texts],
    *,
    again: bool = False,
) -> Attempt:
    """Create the writer's next attempt; the one that is there if this brings nothing new.

    With *again* what is there was condemned: it is sent anew, all of it, as one more attempt.
    """
    parts, unanswered = place.parts(draft.id), 0
    for _ in range(TRIES):
        last = parts.last(part.writer)
        if last is not None and last.attempt >= MOST_ATTEMPTS - 1:
            raise Conflict(f"run '{part.writer}' has put in {MOST_ATTEMPTS} parts", hint="go on in another run")
        attempt = _next(session, place, parts, part, whole, last) if last else _first(session, draft, part, whole)
        if attempt == last and last is not None:
            if not again:
                return attempt
            attempt = replace(last, attempt=last.attempt + 1)
        before = last.root if last and not again else None
        index = place.send(attempt.root, before, parts, attempt.directory)
        attempt = replace(attempt, run=place.known(part.writer), index=index)
        try:
            if parts.create(attempt):
                return attempt
        except OutcomeUnknown:
            # It may have landed: then it is read back, and brings nothing new.
            unanswered += 1
            if unanswered > UNANSWERED:
                raise
            backoff.after_no_answer(unanswered)
    raise StorageError(f"run '{part.writer}' puts in parts in too many places at once", hint="try again")


def _first(session: Session, draft: DraftState, part: Part, whole: tuple[Digest, Texts]) -> Attempt:
    root, texts = whole
    return Attempt(draft.id, part.writer, 0, root, texts.description, texts.metadata, session.clock())


def _next(
    session: Session, place: DraftPlace, parts: Parts, part: Part, whole: tuple[Digest, Texts], last: Attempt
) -> Attempt:
    """All that the run has put in so far, and this part over it; *last* itself if that is the same."""
    root = over(session, place, parts, last, part.prepared)
    texts = merged_texts([Texts(last.description, last.metadata)], whole[1])
    if (root, texts.description, texts.metadata) == (last.root, last.description, last.metadata):
        return last
    return Attempt(last.draft, last.writer, last.attempt + 1, root, texts.description, texts.metadata, session.clock())


def over(session: Session, place: DraftPlace, parts: Parts, last: Attempt, prepared: Prepared) -> Digest:
    """The manifest of *last* with the entries of *prepared* put over it, stored."""
    changes = {entry.path: entry for entry in prepared.entries(session)}
    fresh: dict[Digest, bytes] = {}

    def put(data: bytes) -> Digest:
        digest = digest_bytes(data)
        fresh[digest] = data
        return digest

    def read(digest: Digest) -> bytes:
        data = fresh.get(digest)
        return session.node(digest) if data is None else data

    try:
        root = update(last.root, changes, read, put)
    except MissingObject:  # the run was in a repository elsewhere before
        place.bring(parts, {writer_directory(last.writer): list(range(last.attempt + 1))})
        root = update(last.root, changes, read, put)
    with storing(session) as writer:
        for data in filter(None, fresh.values()):
            writer.put_node(data)
    return root.digest


def _tell(session: Session, place: DraftPlace, target: Target, draft: DraftState, attempt: Attempt) -> None:
    """Say to a run whose earlier part went into a version already that this one begins the next."""
    if attempt.attempt or not draft.generation:
        return
    before = draft_at(place, target, draft.generation - 1)
    details = before.details
    if attempt.writer in details.get("taken", {}) and details.get("run") != attempt.writer:
        session.say(
            f"'{target.name}' ({target.distributed_id}) was finished by run '{details.get('run')}':"
            " this part begins its next version"
        )


def _insist(place: DraftPlace, target: Target, draft: DraftState, attempt: Attempt) -> None:
    """Make sure that a finish which is under way sees the part; Conflict if it has ended the draft without it."""

    def plan() -> list[Record]:
        now = draft_at(place, target, draft.generation)
        return [opening(target, draft.id, draft.generation)] if now.state == OPEN else []

    place.append("upsert", plan)
    now = draft_at(place, target, draft.generation)
    if now.state == OPEN or now.took(attempt):
        return
    how = f"finished by run '{now.details.get('run')}'" if now.state == FINISHED else "given up"
    raise Conflict(
        f"'{target.name}' ({target.distributed_id}) was {how} before this part of run '{attempt.writer}' was in",
        hint="call upsert_artifact again: the part then begins the next version",
    )
