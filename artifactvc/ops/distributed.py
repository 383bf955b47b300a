"""Versions built by many: each puts in a part, one finishes (protocol P10).

Until it is finished there is no version and nothing to be seen. The promises:

- When ``upsert`` returns, its part is in whatever ``finish`` makes of the draft; if it
  raises ``Conflict``, it is not.
- No writer waits for another, and what an ``upsert`` costs does not grow with their number.
  The log gets one entry when the draft is opened.
- A part may be sent again, a writer killed at any moment and run again. Within a run,
  whichever process it is in, what comes later replaces what stood at the same path.
- ``finish`` makes one entry of the log with one version, however many finish at once.
- After the end the same id builds the next version.

``draft_places.py`` is where it happens (here, or on origin), ``draft_parts.py`` how parts
come in, ``finishing.py`` how they become one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from artifactvc.core import names
from artifactvc.core.entries import Record
from artifactvc.core.parts import ABANDONED, OPEN, Target, abandoning, check_distributed_id
from artifactvc.errors import Conflict
from artifactvc.ops import runs
from artifactvc.ops.draft_parts import Part, current, draft_at, of_any_type, put_in
from artifactvc.ops.draft_places import SETTING, DraftPlace, Here, place_of, reaching
from artifactvc.ops.finishing import Wish, finish_draft, wait_for
from artifactvc.ops.resolve import Found
from artifactvc.ops.session import Session
from artifactvc.ops.ttl import require_editor

__all__ = ["Expect", "Part", "Target", "abandon", "finish", "upsert"]


@dataclass(frozen=True)
class Expect:
    """How many runs must have put in a part before an end, and how many seconds to wait for them."""

    runs: int
    timeout: float = 3600.0


def upsert(session: Session, target: Target, part: Part) -> None:
    """Put *part* into the version that is being built; the first one opens its draft.

    Conflict if the draft ended before the part was in: it is in no version then.
    """
    _check(target, part)
    with reaching(session), session.avc.writing():
        root = part.prepared.flush(session).root
        place = place_of(session)
        place.read()
        _check_one_place(session, place, target)
        put_in(session, place, target, part, root)


def finish(
    session: Session, target: Target, part: Part, aliases: Sequence[str], ttl: str | None, expect: Expect | None = None
) -> Found:
    """Make all parts, and *part* with them, one version; it may bring no files of its own.

    With *expect*, first waits for parts of so many runs (WaitTimeoutError). A draft that is
    finished already gives the version that it became.

    Raises PathConflict, naming both runs, where two have other content at one path; Conflict
    if somebody else ended the draft without the files of *part*, or there is nothing to finish.
    """
    _check(target, part)
    if ttl is not None:
        require_editor(session)
    wish = Wish(target, part, part.texts, tuple(names.check_alias(alias) for alias in aliases), ttl)
    found: list[Found] = []
    with reaching(session):
        place = place_of(session)
        _check_one_place(session, place, target)
        if expect is not None:
            wait_for(place, target, expect.runs, expect.timeout)
        place.read()
        part.prepared.land(session, lambda draft: found.append(finish_draft(session, place, wish, draft.root)))
    return found[0]


def abandon(session: Session, target: Target) -> bool:
    """Give the open draft up: its parts become no version. False if there is none."""
    _check(target)
    with reaching(session):
        place = place_of(session)
        place.read()
        draft = of_any_type(place, target)

        def plan() -> list[Record]:
            now = draft_at(place, target, draft.generation)
            return [abandoning(draft.id)] if now.state == OPEN else []

        place.append("abandon", plan)
        return draft.row is not None and draft_at(place, target, draft.generation).state == ABANDONED


def _check_one_place(session: Session, place: DraftPlace, target: Target) -> None:
    """Refuse to build on origin what was begun in this repository before it had one: those parts would be left out."""
    here = Here(session)
    if place.key != here.key and current(here, target).state == OPEN:
        raise Conflict(
            f"'{target.name}' ({target.distributed_id}) was begun in this repository alone",
            hint=f"'avc config set {SETTING} false', finish it or give it up, and set it to true again",
        )


def _check(target: Target, part: Part | None = None) -> None:
    names.check_project(target.project)
    names.check_artifact_name(target.name)
    check_distributed_id(target.distributed_id)
    if part is not None:
        runs.check_run_id(part.writer)
