"""Bring objects from remotes into the local store: only those asked for, by ranges where that is less.

Several files and ranges come at once, on threads, each checked there against its digest; the
store takes over only what was checked, in the caller's thread, and makes it durable every so
often. So a kill or a lost connection costs at most one pack, or one piece of a larger object,
for each thread: what came stays, and is never asked for again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from artifactvc.core.model import Digest
from artifactvc.core.results import Bringing
from artifactvc.errors import (
    AvcError,
    Corrupt,
    DigestMismatch,
    MissingObject,
    RemoteMissing,
    RemoteUnavailable,
    StorageError,
)
from artifactvc.ops.sending import AT_ONCE
from artifactvc.ops.session import Session, naming
from artifactvc.storage.incoming import (
    Extent,
    Incoming,
    Run,
    WholePack,
    check_object,
    check_pack,
    objects_of,
    plan_incoming,
)
from artifactvc.storage.packs import SMALL, TARGET, count_rows
from artifactvc.storage.partial import Partial, Piece
from artifactvc.storage.remote import Remote
from artifactvc.storage.remote_index import Place
from artifactvc.storage.store import lend
from artifactvc.util.files import temporary
from artifactvc.util.progress import Tally
from artifactvc.util.threads import Stop, in_threads

#: Larger objects come in pieces of so many bytes, each to its place in the file.
_PIECE: Final = 8 << 20
_SMALLEST_PIECE: Final = 256 << 10


def fetch_objects(session: Session, digests: Iterable[Digest]) -> set[Digest]:
    """Fetch *digests* from whichever remotes hold them, origin first; return those that are here now.

    A remote that cannot be reached, or whose copies are damaged, is passed over, unless it was
    the last hope. A session that only looks has them lent for a while, and stores nothing.
    """
    wanted = set(digests)
    got: set[Digest] = set()
    damage: list[str] = []
    failed: AvcError | None = None
    for remote in _sources(session):
        left = wanted - got
        if not left:
            break
        if remote.name in session.unreachable:
            failed = session.unreachable[remote.name]
            continue
        try:
            with naming(remote):
                got |= _from_remote(session, remote, left)
        except (StorageError, Corrupt) as error:
            failed = error
            got |= session.avc.store.has(left)  # what came before it failed is here
            if isinstance(error, Corrupt):
                mend = f"run 'avc fsck {remote.name} --repair'"
                damage.append(f"{error.message}; another remote has a sound copy: {mend}")
            if isinstance(error, RemoteUnavailable):
                session.unreachable[remote.name] = error
    if failed is not None and wanted - got:
        raise failed
    for text in damage:
        session.say(text)
    return got


def _sources(session: Session) -> Iterator[Remote]:
    """The remotes in the order in which they are asked: origin first."""
    origin = session.avc.origin
    return (session.remote(name) for name in sorted(session.avc.remotes, key=lambda name: name != origin))


def require_objects(session: Session, digests: Sequence[Digest], what: str) -> None:
    """Fetch *digests*, all of them; MissingObject names what no remote has."""
    back = session.avc.store.bring_back(digests) if digests else set()
    digests = [digest for digest in digests if digest not in back]
    if not digests:
        return
    if not session.avc.remotes:
        raise MissingObject(
            digests[0],
            f"here, and no remote is configured: {what} needs it",
            hint="run 'avc fsck' to see what is missing",
        )
    got = fetch_objects(session, digests)
    lacking = [digest for digest in digests if digest not in got]
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise MissingObject(lacking[0], f"here nor on any remote: {what} needs it{more}")


def _from_remote(session: Session, remote: Remote, wanted: set[Digest]) -> set[Digest]:
    """Those of *wanted* that *remote* had; where gc has removed a file meanwhile, its log says where they are now."""
    take = _lend if session.only_looks else bring_places
    got: set[Digest] = set()
    remote.catch_up()
    while True:
        try:
            got |= take(session, remote, remote.locate(wanted - got))
            break
        except RemoteMissing:
            if not remote.fetch():
                raise
            got |= session.avc.store.has(wanted - got)  # what came before it was missed
    for held in _by_file(remote.locate_condemned(wanted - got)).values():
        with contextlib.suppress(RemoteMissing):  # it may be gone, and is nowhere else
            got |= take(session, remote, {place.digest: place for place in held})
    return got


def _by_file(places: Mapping[Digest, Place]) -> dict[str, list[Place]]:
    by_file: dict[str, list[Place]] = {}
    for place in places.values():
        by_file.setdefault(place.file, []).append(place)
    return by_file


def _plan(remote: Remote, places: Mapping[Digest, Place], extent: Callable[[str], Extent] | None = None) -> Incoming:
    """What would be asked of *remote* for objects at *places*; *extent* as its index tells, if not given."""
    extent = extent or remote.file_extent
    return plan_incoming((file, held, extent(file)) for file, held in sorted(_by_file(places).items()))


def plan_bringing(session: Session, digests: Iterable[Digest]) -> tuple[Bringing, ...]:
    """What ``fetch_objects`` would ask of each remote for *digests*, none of which is here; nothing is fetched.

    What no remote has is told in a notice.
    """
    wanted, found = set(digests), []
    for remote in _sources(session) if wanted else ():
        remote.catch_up()
        places = remote.locate(wanted)
        places |= remote.locate_condemned(wanted - places.keys())
        wanted -= places.keys()
        if places:
            plan = _plan(remote, places)
            found.append(Bringing(remote.name, len(places), plan.bytes, plan.requests))
    if wanted:
        session.say(f"{len(wanted)} objects are neither here nor on any remote, such as '{min(wanted):.12}'")
    return tuple(found)


# ---- what came --------------------------------------------------------------------------------------


class _Intake:
    """The store's side: takes over what was checked, and makes it durable once it is as much as a pack."""

    def __init__(self, session: Session) -> None:
        self._session, self._held = session, 0
        self._writer = session.avc.writer()

    def objects(self, run: Run, found: Sequence[tuple[Digest, bytes]]) -> None:
        """Objects that came in a range."""
        for digest, data in found:
            if len(data) <= SMALL:
                self._writer.put_small(bytes.fromhex(digest), data)
            else:
                self._writer.put(data)
            self._held += len(data)
        self._count(len(found), run.length)
        if self._held >= TARGET:
            self.close()
            self._writer, self._held = self._session.avc.writer(), 0

    def pack(self, staged: Path, table: bytes, size: int) -> None:
        """A whole pack."""
        self._writer.take_pack(staged, table)
        self._count(count_rows(table), size)

    def object(self, staged: Path, digest: Digest, size: int) -> None:
        """A larger object."""
        self._writer.take_object(staged, digest)
        self._count(1, size)

    def _count(self, objects: int, size: int) -> None:
        self._session.brought_objects += objects
        self._session.brought_bytes += size

    def close(self) -> None:
        """Make what was taken over durable, then known."""
        self._writer.close()


Take = Callable[[_Intake], None]
Job = Callable[[], Take]


def _nothing_yet(intake: _Intake) -> None:
    """Nothing to take over before the last piece has come."""


def bring_places(
    session: Session, remote: Remote, places: Mapping[Digest, Place], extent: Callable[[str], Extent] | None = None
) -> set[Digest]:
    """Fetch the objects at *places* of *remote* into the store; *extent* tells of files that no index names."""
    plan = _plan(remote, places, extent)
    if not plan.requests:
        return set()
    session.progress.start("Downloading", total=plan.bytes, unit="bytes")
    fetching = _Fetching(session, remote)
    try:
        with session.avc.writing():
            intake = _Intake(session)
            with contextlib.closing(in_threads(fetching.jobs(plan), AT_ONCE, fetching.stop, ahead=0)) as results:
                try:
                    for take in results:
                        take(intake)
                finally:
                    intake.close()  # also after an error: what was taken over was checked
    finally:
        fetching.clean()
        session.progress.finish()
    return set(places)


class _Fetching:
    """The jobs of one download. Each runs in a thread of its own and answers what the store is to take over."""

    def __init__(self, session: Session, remote: Remote) -> None:
        self.stop = Stop()
        self._session, self._remote, self._transport = session, remote, remote.transport
        self._tmp = session.avc.staging
        self._staged: list[Path] = []
        self._partials: list[Partial] = []

    def jobs(self, plan: Incoming) -> Iterator[Job]:
        """All that is to be done, larger things first."""
        for place in plan.own:
            # A directory copies a file quicker than in pieces, often without copying at all.
            if place.length <= _PIECE or self._transport.kind == "directory":
                yield self._object(place)
            else:
                yield from self._in_pieces(place)
        for pack in plan.whole:
            yield self._pack(pack)
        for lot in plan.lots():
            yield self._ranges(lot)

    def clean(self) -> None:
        """Remove what was not taken over; a larger object that was begun stays, to be gone on with."""
        for staged in self._staged:
            staged.unlink(missing_ok=True)
        for partial in self._partials:
            partial.close(keep=partial.left < partial.size)

    def _where(self, file: str) -> str:
        return f"'{file}' of remote '{self._remote.name}'"

    def _download(self, file: str, size: int) -> Path:
        staged = temporary(self._tmp, "down")
        self._staged.append(staged)
        tally = Tally(self._session.progress, size, self.stop)
        try:
            self._transport.download(f"packs/{file}", staged, size, advance=tally)
        except BaseException:
            staged.unlink(missing_ok=True)  # by who made it: the caller may have given up already
            raise
        tally.complete()
        return staged

    def _object(self, place: Place) -> Job:
        def run() -> Take:
            staged = self._download(place.file, place.length)
            check_object(staged, place.digest, self._where(place.file))
            return lambda intake: intake.object(staged, place.digest, place.stored)

        return run

    def _pack(self, pack: WholePack) -> Job:
        def run() -> Take:
            staged = self._download(pack.file, pack.size)
            table = check_pack(staged, self._where(pack.file))
            return lambda intake: intake.pack(staged, table, pack.size)

        return run

    def _ranges(self, lot: Sequence[Run]) -> Job:
        def run() -> Take:
            wanted = [run.asked for run in lot]
            found: list[tuple[Run, list[tuple[Digest, bytes]]]] = []
            for position, data in self._transport.read_ranges(wanted):
                self.stop.check()
                run = lot[position]
                found.append((run, list(objects_of(run, data, self._where(run.places[0].file)))))
                self._session.progress.advance(run.length)

            def take(intake: _Intake) -> None:
                for run, objects in found:
                    intake.objects(run, objects)

            return take

        return run

    # ---- in pieces -----------------------------------------------------------------------------

    def _in_pieces(self, place: Place) -> Iterator[Job]:
        rate = self._session.limits.rate
        most = _PIECE if rate is None else min(_PIECE, max(_SMALLEST_PIECE, rate.per_second))
        partial = Partial(self._tmp, place.digest, place.length)
        self._partials.append(partial)
        self._session.progress.advance(place.length - partial.left)
        missing = partial.missing(most)
        if not missing:
            yield lambda: self._finished(place, partial, most)

        def job(piece: Piece) -> Job:
            def run() -> Take:
                return self._finished(place, partial, most) if self._piece(place, partial, piece) else _nothing_yet

            return run

        yield from map(job, missing)

    def _piece(self, place: Place, partial: Partial, piece: Piece) -> bool:
        """Fetch one piece; whether it was the last."""
        start, length = piece
        for _, data in self._transport.read_ranges([(f"packs/{place.file}", start, length)]):
            self.stop.check()
            self._session.progress.advance(length)
            return partial.write(start, data)
        raise Corrupt(f"{self._where(place.file)} is cut short")

    def _finished(self, place: Place, partial: Partial, most: int) -> Take:
        """All pieces are there: the digest tells whether they are right, too."""
        try:
            partial.check(self._where(place.file))
        except DigestMismatch:
            again = partial.continued  # what an earlier command left may have been lost in a power cut
            partial.begin_anew()
            if not again:
                raise
            for piece in partial.missing(most):
                self._piece(place, partial, piece)
            return self._finished(place, partial, most)

        def take(intake: _Intake) -> None:
            intake.object(partial.path, place.digest, place.stored)
            partial.close(keep=False)

        return take


# ---- only looking -----------------------------------------------------------------------------------


def _lend(session: Session, remote: Remote, places: Mapping[Digest, Place]) -> set[Digest]:
    """Read the small objects at *places* of *remote* without storing them: for dry runs."""
    runs = [Run([place]) for place in places.values()]
    ranges = [run.asked for run in runs]
    for position, data in remote.transport.read_ranges(ranges):
        for digest, found in objects_of(runs[position], data, f"'{ranges[position][0]}' of remote '{remote.name}'"):
            lend(session.avc.store, digest, found)
    return set(places)
