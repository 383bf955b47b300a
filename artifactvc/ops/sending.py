"""Objects on their way to a remote: what it lacks, and several files at once.

The caller's thread reads, checks and packs the next file while others are sent. A file is
told to *note*, in the thread that sent it, as soon as it is safely there: whoever keeps notes
sends at most one file for each thread again after a kill.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from artifactvc.core.compare import new_objects
from artifactvc.core.model import Digest
from artifactvc.ops.push_plan import Plan
from artifactvc.ops.session import Session
from artifactvc.storage.outgoing import Outgoing, outgoing_files, plan_shipment
from artifactvc.storage.remote import Remote, condemned_among
from artifactvc.storage.remote_index import Place
from artifactvc.util.progress import Tally
from artifactvc.util.threads import Stop, in_threads

#: Files under way at once, in either direction.
AT_ONCE: Final = 4
_ASKED: Final = 5000

Note = Callable[[str, Sequence[Place]], None]


def _no_note(file: str, places: Sequence[Place]) -> None:
    """Keep no notes."""


def lacking(session: Session, remote: Remote, plan: Plan, stored: dict[Digest, Place]) -> dict[Digest, int]:
    """Objects that the plan's records need and that have no uncondemned copy on the remote, with their sizes."""
    found: dict[Digest, int] = {}
    for _, part in lacking_by_root(session, remote, plan, stored):
        found |= part
    return found


def lacking_by_root(
    session: Session, remote: Remote, plan: Plan, stored: dict[Digest, Place]
) -> Iterator[tuple[Digest | None, dict[Digest, int]]]:
    """The same, for each manifest of the plan, and last, under None, for what records name besides.

    Needing is by object, not by file; what a version that is live there shares with ours
    is safe by P1, so equal nodes are not even read.
    """
    condemned = condemned_among(remote, [place.file for place in stored.values()])

    def of(objects: Iterable[tuple[Digest, int]]) -> dict[Digest, int]:
        found: dict[Digest, int] = {}
        iterator = iter(objects)
        while batch := dict(islice(iterator, _ASKED)):
            there = remote.locate(batch)
            for digest, size in batch.items():
                own = stored.get(digest)
                if digest not in there and (own is None or own.file in condemned):
                    found[digest] = size
        return found

    for root, live in plan.roots:
        if root not in live:
            yield root, of(new_objects(root, live[-2:], session.node))
    yield None, of((digest, 0) for digest in plan.objects)


def send_objects(
    session: Session, remote: Remote, digests: Sequence[Digest], directory: str, note: Note = _no_note
) -> Iterator[list[Place]]:
    """Send *digests*, all of which are here, in files below ``packs/<directory>/``; where the objects of each are.

    The first error stops all; what was told to *note* is there.
    """
    store, progress, stop = session.avc.store, session.progress, Stop()
    shipment = plan_shipment(store, digests)
    progress.start("Uploading", total=sum(shipment.sizes), unit="bytes")

    def job(outgoing: Outgoing) -> Callable[[], list[Place]]:
        file = f"{directory}/{outgoing.name}"
        tally = Tally(progress, outgoing.size, stop)

        def send() -> list[Place]:
            try:
                remote.transport.upload(f"packs/{file}", outgoing.source, advance=tally)
            finally:
                outgoing.discard()
            places = [Place(row.digest, file, row.offset, row.stored, row.length, row.codec) for row in outgoing.rows]
            note(file, places)
            tally.complete()
            return places

        return send

    made: deque[Outgoing] = deque(maxlen=AT_ONCE + 1)  # those that may not have been begun

    def jobs() -> Iterator[Callable[[], list[Place]]]:
        for outgoing in outgoing_files(store, shipment, session.avc.tmp):
            made.append(outgoing)
            yield job(outgoing)

    try:
        with contextlib.closing(in_threads(jobs(), AT_ONCE, stop)) as ended:
            yield from ended
    finally:
        for outgoing in made:
            outgoing.discard()
        progress.finish()
