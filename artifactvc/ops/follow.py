"""Bring the bytes that references lead to, each checked against what was recorded of it.

What comes is an object of the store, found again by the reference's identity
(``storage/followed.py``): a second checkout asks nobody. Several come at once, on threads,
streamed to disk and hashed on the way; one that was cut goes on where it was, in this command
or the next. The store takes over, in the caller's thread, only what was checked. References
without identity are asked for each time, and only their size can be held against anything.

Nothing is asked of a place that nobody consented to (protocol H4), and nothing at all before
every place is known to be allowed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from artifactvc.core.model import Digest, Entry
from artifactvc.core.references import BLAKE3, Target, is_resumable, parse_address, target_of
from artifactvc.core.results import Bringing
from artifactvc.errors import AvcError, BadValue, ReferenceChanged, ReferenceMissing, RemoteUnavailable
from artifactvc.ops.consent import check_consent, open_allowed
from artifactvc.ops.session import Session
from artifactvc.ops.stand_ins import Brought, known
from artifactvc.storage.followed import Held, key_of
from artifactvc.storage.growing import Growing
from artifactvc.storage.packs import SMALL, TARGET
from artifactvc.storage.sources import Source
from artifactvc.storage.transport import RemoteOptions
from artifactvc.storage.writer import StoreWriter
from artifactvc.util.hashing import digest_bytes
from artifactvc.util.progress import Tally
from artifactvc.util.text import escape
from artifactvc.util.threads import Stop, in_threads

#: References followed at once. Each holds a piece of a few MiB at most.
AT_ONCE: Final = 8

_LEAVE_OUT: Final = "with --allow-missing-references (in Python allow_missing_references=True) such files are left out"
_AGAIN: Final = "add it again to record what is there now"  # where nothing can be left out


def bring(
    session: Session, entries: Iterable[Entry], *, allow_missing: bool = False, hint: str = _LEAVE_OUT
) -> Brought:
    """Have the bytes of the references *entries* in the store, fetched where they are not there.

    Raises ReferenceMissing and ReferenceChanged, which name the file and both identities, or with
    *allow_missing* reports them; *hint* is for those that have none. ReferenceRefused for a place that is not allowed.
    """
    wanted = {key_of(entry): entry for entry in entries}
    brought = Brought(known(session, wanted.values(), surely=True))
    present = session.avc.store.has(held.digest for held in brought.held.values())
    lacking = {key: entry for key, entry in wanted.items() if key not in brought.held}
    lacking |= {key: wanted[key] for key, held in brought.held.items() if held.digest not in present}
    # What was used lately is kept from gc.
    session.avc.store.followed.note(wanted.keys() - lacking.keys())
    if lacking:
        _Following(session, lacking, brought, allow_missing=allow_missing, hint=hint).run()
    return brought


def bring_one(session: Session, entry: Entry) -> Digest:
    """The object that one reference leads to, which is in the store then."""
    return bring(session, [entry], hint=_AGAIN).held[key_of(entry)].digest


def plan_following(session: Session, entries: Iterable[Entry]) -> tuple[Bringing, ...]:
    """What ``bring`` would ask of each place; nobody is asked."""
    wanted = {key_of(entry): entry for entry in entries}
    sure = known(session, wanted.values(), surely=True)
    present = session.avc.store.has(held.digest for held in sure.values())
    places: dict[str, list[Entry]] = {}
    for key, entry in wanted.items():
        if key not in sure or sure[key].digest not in present:
            places.setdefault(parse_address(str(entry.uri)).place, []).append(entry)
    unknown = sum(entry.size is None for found in places.values() for entry in found)
    if unknown:
        session.say(f"{unknown} references do not say their size: it counts as nothing here")
    return tuple(
        Bringing(place, len(found), sum(entry.size or 0 for entry in found), len(found))
        for place, found in sorted(places.items())
    )


# ---- where to ask ------------------------------------------------------------------------------------


class Sources:
    """The sources of one command, each opened once. All of *entries* must lead to allowed places.

    Raises BadValue, ReferenceRefused, before anything is asked of any.
    """

    def __init__(self, session: Session, entries: Iterable[Entry]) -> None:
        check_consent(session, (str(entry.uri) for entry in entries))
        self._session = session
        self._opened: dict[str, Source] = {}

    def source(self, entry: Entry) -> tuple[Source, Target]:
        """Where to ask for a reference entry, and what for."""
        address = parse_address(str(entry.uri))
        if not str(entry.uri).startswith(address.place):  # in capitals, say: it would not be read as it was judged
            raise BadValue(f"'{escape(str(entry.uri))}' is not written as a recorded address is")
        if address.place not in self._opened:
            self._opened[address.place] = open_allowed(self._session, address)
        return self._opened[address.place], target_of(entry)


# ---- following ---------------------------------------------------------------------------------------


class _Memory:
    """Small bytes."""

    continued = False

    def __init__(self) -> None:
        self.data = bytearray()

    @property
    def size(self) -> int:
        return len(self.data)

    def write(self, data: bytes) -> None:
        self.data += data

    def digest(self) -> Digest:
        return digest_bytes(self.data)

    def begin_anew(self) -> None:
        self.data.clear()

    def close(self, *, keep: bool) -> None:
        """Nothing is kept."""


_Sink = _Memory | Growing


@dataclass(frozen=True)
class _Came:
    """One reference that was followed: its bytes, checked, or why they cannot be had."""

    key: str
    sink: _Sink
    digest: Digest = ""
    error: AvcError | None = None


class _Following:
    """One round of following."""

    def __init__(
        self, session: Session, lacking: Mapping[str, Entry], brought: Brought, *, allow_missing: bool, hint: str
    ) -> None:
        self._session, self._lacking, self._brought = session, lacking, brought
        self._allow, self._hint = allow_missing, hint
        self._sources, self._stop = Sources(session, lacking.values()), Stop()
        self._begun: dict[str, Growing] = {}

    def run(self) -> None:
        """Follow all; what came before an error stays."""
        sizes = [entry.size for entry in self._lacking.values()]
        total = None if None in sizes else sum(size or 0 for size in sizes)
        self._session.progress.start("Downloading", total=total, unit="bytes")
        try:
            with self._session.avc.writing():
                keeping = _Keeping(self._session, self._brought)
                with contextlib.closing(in_threads(self._jobs(), AT_ONCE, self._stop)) as results:
                    try:
                        for came in results:
                            self._take(keeping, came)
                    finally:
                        keeping.close()  # also after an error: what was taken over was checked
        finally:
            for growing in self._begun.values():
                growing.close(keep=growing.size > 0)
            self._session.progress.finish()

    def _take(self, keeping: _Keeping, came: _Came) -> None:
        if came.error is not None:
            self._brought.lost[came.key] = came.error
        else:
            keeping.take(came)
        came.sink.close(keep=False)
        self._begun.pop(came.key, None)

    def _jobs(self) -> Iterator[Callable[[], _Came]]:
        for key, entry in self._lacking.items():
            source, target = self._sources.source(entry)
            sink: _Sink = _Memory()
            if entry.size is None or entry.size > SMALL:
                sink = self._begun[key] = Growing(self._session.avc.staging, key if is_resumable(target) else None)
            yield self._job(key, entry, source, target, sink)

    def _job(self, key: str, entry: Entry, source: Source, target: Target, sink: _Sink) -> Callable[[], _Came]:
        def run() -> _Came:
            try:
                try:
                    return _Came(key, sink, self._fetch(source, target, sink))
                except (ReferenceMissing, ReferenceChanged) as error:
                    raise type(error)(
                        f"'{escape(entry.path)}': {error.message}", hint=error.hint or self._hint
                    ) from error
            except (ReferenceMissing, ReferenceChanged) as error:
                if not self._allow:
                    raise
                return _Came(key, sink, error=error)

        return run

    def _fetch(self, source: Source, target: Target, sink: _Sink) -> Digest:
        """All bytes of *target*, checked; their digest."""
        tally = Tally(self._session.progress, target.size or 0, self._stop)
        tally(sink.size)
        self._stream(source, target, sink, tally)
        try:
            return _checked(target, sink)
        except ReferenceChanged:
            if not sink.continued:
                raise
            # What an earlier command left may have been of other bytes: an identity is not always a digest.
            sink.begin_anew()
            self._stream(source, target, sink, tally)
            return _checked(target, sink)
        finally:
            tally.complete()

    def _stream(self, source: Source, target: Target, sink: _Sink, tally: Tally) -> None:
        """Take what *source* gives; where the connection is cut, go on as long as something comes."""
        again = self._session.limits.over(RemoteOptions()).retries
        while True:
            before = sink.size
            try:
                for piece in source.read(target, sink.size):
                    self._stop.check()
                    sink.write(piece)
                    tally(len(piece))
                    if target.size is not None and sink.size > target.size:
                        raise _other_size(target, f"more than {target.size:,}")
                return
            except RemoteUnavailable:
                if sink.size == before:  # the source has asked as often as it may
                    raise
                if not is_resumable(target):  # nothing says that the rest would belong to the same bytes
                    again -= 1
                    if again <= 0:
                        raise
                    sink.begin_anew()


def _checked(target: Target, sink: _Sink) -> Digest:
    if target.size is not None and sink.size != target.size:
        raise _other_size(target, f"{sink.size:,}")
    digest = sink.digest()
    if target.identity_kind == BLAKE3 and digest != target.identity:
        raise ReferenceChanged(
            f"'{escape(target.uri)}' has changed: its digest is {digest:.20} now, and was {target.identity:.20}"
        )
    return digest


def _other_size(target: Target, now: str) -> ReferenceChanged:
    identity = f" (identity '{escape(target.identity[:80])}')" if target.identity else ""
    return ReferenceChanged(
        f"'{escape(target.uri)}' has changed: it has {now} bytes now, and had {target.size:,}{identity}"
    )


class _Keeping:
    """The store's side: takes over what was checked, and makes it durable once it is as much as a pack."""

    def __init__(self, session: Session, brought: Brought) -> None:
        self._session, self._brought = session, brought
        self._writer: StoreWriter | None = None
        self._rows: list[tuple[str, Held]] = []
        self._bytes = 0

    def take(self, came: _Came) -> None:
        """Put one reference's bytes into the store."""
        held = Held(came.digest, came.sink.size)
        if self._writer is None:
            self._writer = self._session.avc.writer()
        if isinstance(came.sink, Growing):
            # The row first: it is true by itself, and a kill before the file has its name as an object
            # would lose what belongs together.
            self._session.avc.store.followed.put([(came.key, held)])
            self._writer.take_object(came.sink.path, came.digest)
        else:
            self._rows.append((came.key, held))
            self._writer.put_small(bytes.fromhex(came.digest), bytes(came.sink.data))
        self._brought.held[came.key] = held
        self._bytes += held.size
        self._session.brought_objects += 1
        self._session.brought_bytes += held.size
        if self._bytes >= TARGET:
            self.close()

    def close(self) -> None:
        """Make what was taken over durable, then known."""
        if self._writer is None:
            return
        writer, self._writer, rows, self._rows, self._bytes = self._writer, None, self._rows, [], 0
        writer.close()
        if rows:
            self._session.avc.store.followed.put(rows)
