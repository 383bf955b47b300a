"""Where a version that many build comes together: in this repository, or on origin (protocol P10).

Both places offer the same few deeds to ``ops/distributed.py``: the log that decides, the
parts, and where the objects of a part must be so that whoever finishes has them.

- ``Here``: the local log, ``.artifacts/drafts/``, the local store.
- ``Origin``: origin's log, its ``drafts/`` and ``packs/``. Objects are stored here first,
  then sent as they come; a version is an entry of origin's log or none at all.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, Protocol

from artifactvc.core.compare import diff, new_nodes, new_objects
from artifactvc.core.draft_records import RUN_FIELDS
from artifactvc.core.entries import Record, entry_digest
from artifactvc.core.manifest import Read
from artifactvc.core.model import EMPTY, Digest
from artifactvc.core.nodes import MAX_DEPTH, MAX_NODE, children, is_inner
from artifactvc.core.parts import Attempt, IndexFile, writer_directory
from artifactvc.core.records import Row, Rows, condemned_index, holder
from artifactvc.errors import (
    BadManifest,
    MissingObject,
    OutcomeUnknown,
    ReadOnly,
    RemoteMissing,
    RemoteRefused,
    RemoteUnavailable,
    StorageError,
)
from artifactvc.ops.complete import batches, require_complete
from artifactvc.ops.fetch import provisional_numbers, record_renumbering
from artifactvc.ops.push import NewEntry, add_entry
from artifactvc.ops.sending import send_objects
from artifactvc.ops.session import Session, append, storing
from artifactvc.ops.transfer import bring_places, fetch_objects, require_objects
from artifactvc.ops.trusted import trusted
from artifactvc.storage.incoming import objects_of, runs_of
from artifactvc.storage.parts import Listing, Parts, local_parts
from artifactvc.storage.remote import Remote, condemned_among
from artifactvc.storage.remote_index import Place, encode_places
from artifactvc.storage.settings import get_dotted
from artifactvc.util import backoff

#: How often an entry is planned again when others are faster.
_TRIES: Final = 50
SETTING: Final = "distributed.origin"

Plan = Callable[[], Sequence[Record]]


class DraftPlace(Protocol):
    """Where one draft lives."""

    key: str  # part of the draft's name: drafts of different places are different drafts
    poll_seconds: float  # the longest pause between two looks at the parts

    @property
    def rows(self) -> Rows:
        """The names as the deciding log has them."""

    def read(self) -> None:
        """Catch up with the deciding log."""

    def append(self, command: str, plan: Plan) -> None:
        """One entry of the deciding log with what *plan* answers, on its newest state; nothing if it answers none."""

    def parts(self, draft: str) -> Parts:
        """The parts of a draft."""

    def artifact_id(self, project: str, name: str) -> str:
        """The id for an artifact that the deciding log does not have yet."""

    def known(self, run: str) -> dict[str, str]:
        """What a part says of its run, for those who do not have the run's records."""

    def send(self, root: Digest, before: Digest | None, parts: Parts, directory: str) -> IndexFile | None:
        """Put the objects of a part where who finishes finds them, those of *before* excepted."""

    def holds(self, parts: Parts, attempt: Attempt) -> bool:
        """Whether all objects of *attempt* are there, asked once it stands among the parts."""

    def lost(self, parts: Parts, listing: Listing) -> list[Attempt]:
        """The last attempts of *listing* of which bytes are nowhere."""

    def bring(self, parts: Parts, listing: Listing) -> list[Attempt]:
        """The attempts, their manifests readable here and checked."""

    def require(self, root: Digest, live: Sequence[Digest]) -> None:
        """Raise MissingObject where an object of a version that only parts name is nowhere. Asked once."""

    def deliver(self, root: Digest, objects: Iterable[Digest], live: Sequence[Digest]) -> None:
        """See that every object of a version is where its record will be. Asked before each try (P2)."""


def place_of(session: Session) -> DraftPlace:
    """Origin, if there is one and setting ``distributed.origin`` does not say otherwise; else this repository."""
    origin = session.avc.origin
    return Origin(session, session.remote(origin)) if origin and _uses_origin(session) else Here(session)


def _uses_origin(session: Session) -> bool:
    return session.avc.origin is not None and str(get_dotted(session.avc.config, SETTING)).lower() != "false"


class Here:
    """A draft of the processes that share this repository."""

    poll_seconds = 1.0

    def __init__(self, session: Session) -> None:
        self._session = session
        self.key = session.avc.id

    @property
    def rows(self) -> Rows:
        """The names as they are shown here."""
        return self._session.index.rows

    def read(self) -> None:
        """Catch up with what other processes did."""
        self._session.index.catch_up()

    def append(self, command: str, plan: Plan) -> None:
        """One entry of the local log."""
        append(self._session, command, plan)

    def parts(self, draft: str) -> Parts:
        """Files below ``drafts/``."""
        return local_parts(self._session.avc.root, draft)

    def artifact_id(self, project: str, name: str) -> str:
        """A new one."""
        return secrets.token_hex(16)

    def known(self, run: str) -> dict[str, str]:
        """Nothing: the run is in this log."""
        return {}

    def send(self, root: Digest, before: Digest | None, parts: Parts, directory: str) -> IndexFile | None:
        """Nothing: all processes share the store."""
        return None

    def holds(self, parts: Parts, attempt: Attempt) -> bool:
        """Yes: the caller holds the store's lock."""
        return True

    def lost(self, parts: Parts, listing: Listing) -> list[Attempt]:
        """None: parts stand in the store that their writers share."""
        return []

    def bring(self, parts: Parts, listing: Listing) -> list[Attempt]:
        """The attempts; their manifests were built here."""
        return parts.read(listing)

    def require(self, root: Digest, live: Sequence[Digest]) -> None:
        """Every object is here, or held by a remote; the caller's lock keeps it so (protocol L2)."""
        require_complete(self._session, root, what="the version that was to be finished", known=live[-2:])

    def deliver(self, root: Digest, objects: Iterable[Digest], live: Sequence[Digest]) -> None:
        """Nothing: objects are where the local log is."""


class Origin:
    """A draft of machines that share only a remote."""

    poll_seconds = 10.0
    key = ""

    def __init__(self, session: Session, remote: Remote) -> None:
        if remote.table.get("read_only") or remote.transport.read_only:
            raise ReadOnly(f"remote '{remote.name}' can only be read", hint=alone_hint())
        self._session, self._remote = session, remote
        self._pushed = secrets.token_hex(8)  # the directory under packs/ of what this call sends
        self._places: dict[Digest, Place] = {}  # where parts, and what was sent by this call, are
        self._files: dict[str, list[Place]] = {}  # the same by stored file: an index names all of a file or nothing
        self._index: tuple[dict[str, Any], ...] = ()  # of the entry that is to come
        self._verified = False
        self._known_dead: int | None = None  # stored files that were condemned when it was decided what to send

    @property
    def rows(self) -> Rows:
        """The names as origin's log alone has them."""
        return self._remote.rows

    def read(self) -> None:
        """Read the new entries of origin's log."""
        session = self._session
        if not self._verified:
            self._remote.verify_identity()
            self._verified = True
        index = session.index
        news = self._remote.fetch()
        before = provisional_numbers(session) if news else {}
        index.catch_up()  # also with what another process of this repository has fetched
        if news:
            record_renumbering(session, before)

    def parts(self, draft: str) -> Parts:
        """Files on origin."""
        return Parts(self._remote.transport, draft)

    def artifact_id(self, project: str, name: str) -> str:
        """That of an artifact which is not pushed yet, so that both are one; else a new one."""
        here: Row | None = holder(self._session.index.rows, project, name)
        there = self._remote.rows.get("artifact", here["id"]) if here else None
        return str(here["id"]) if here and there is None else secrets.token_hex(16)

    def known(self, run: str) -> dict[str, str]:
        """Project, name, kind and group of the run, whose records come with the next push from here."""
        row = self._session.index.rows.get("run", run) or {}
        return {name: row[name] for name in RUN_FIELDS if isinstance(row.get(name), str) and len(row[name]) <= 1024}

    # ---- the log -----------------------------------------------------------------------------------

    def append(self, command: str, plan: Plan) -> None:
        """One entry of origin's log.

        Its records are about a draft, which is opened once and ended once: after a doubtful
        answer the log itself tells, now or when the call is made again (protocol P8).
        """
        session, remote = self._session, self._remote
        op = secrets.token_hex(16)
        for attempt in range(_TRIES):
            self.read()
            head = remote.head()  # another process here may read on while objects are sent: not its number
            records = plan()
            if not records:
                return
            numbers = provisional_numbers(session)
            with _told(remote):
                landed = add_entry(session, remote, head, NewEntry(op, command, records, self._index))
            if landed is not None:
                record_renumbering(session, numbers)
                return
            backoff.after_lost_race(attempt)
        raise StorageError(f"remote '{remote.name}' is too busy: others were faster {_TRIES} times", hint="try again")

    # ---- objects -------------------------------------------------------------------------------------

    def _condemnations(self) -> int:
        row = self._remote.connection.execute("SELECT count(*) FROM condemned").fetchone()
        return int(row[0])

    def _is_condemned(self, index_id: str) -> bool:
        return self._remote.rows.get("condemned", condemned_index(index_id)) is not None

    def _lacking(self, digests: Iterable[tuple[Digest, int]]) -> dict[Digest, int]:
        """Those that neither origin's index nor a part says where to find, with their sizes."""
        lacking: dict[Digest, int] = {}
        condemned = condemned_among(self._remote, self._files)
        sizes = dict(digests)
        for batch in batches(sizes):
            there = self._remote.locate(batch)
            for digest in batch:
                own = self._places.get(digest)
                if digest not in there and (own is None or own.file in condemned):
                    lacking[digest] = sizes[digest]
        return lacking

    def _note(self, places: Iterable[Place]) -> None:
        for place in places:
            self._places[place.digest] = place
            self._files.setdefault(place.file, []).append(place)

    def _upload(self, lacking: Mapping[Digest, int]) -> list[Place]:
        """Send objects in packs; durable there when this returns."""
        session = self._session
        absent = [d for batch in batches(lacking) for d in set(batch) - session.avc.store.has(batch)]
        if absent:
            brought = self._bring_from_parts(absent)
            absent = [digest for digest in absent if digest not in brought]
        if absent:
            require_objects(session, absent, "the version that is built")
        sent = send_objects(session, self._remote, list(lacking), self._pushed)
        return [place for file in sent for place in file]

    def send(self, root: Digest, before: Digest | None, parts: Parts, directory: str) -> IndexFile | None:
        """Send what origin lacks of a part, and beside the part where it is."""
        self._known_dead = self._condemnations()
        lacking = self._lacking(_brought(root, before, self._session.node))
        if not lacking:
            return None
        # A name of its own each time: a part that was given up may yet land, and names the index it was sent with.
        return parts.store_index(directory, secrets.token_hex(8), self._upload(lacking))

    def holds(self, parts: Parts, attempt: Attempt) -> bool:
        """Read the log again: a gc that did not see the part may have condemned what it relies on (protocol P2).

        From now on gc sees the part, and condemns nothing that it names. A part that was there
        before may be one of which nobody had asked this: its writer was killed.
        """
        self.read()
        if self._condemnations() == self._known_dead:
            return True
        own = {writer_directory(attempt.writer): list(range(attempt.attempt + 1))}
        self._note(parts.places(parts.read_all(own)))
        return not self._lacking(_brought(attempt.root, None, self._session.node))

    def lost(self, parts: Parts, listing: Listing) -> list[Attempt]:
        """Each attempt is looked at alone; what condemned files, or other remotes, still have is brought here."""
        return [attempt for attempt in parts.read(listing) if not self._can_be_had(parts, listing, attempt)]

    def _can_be_had(self, parts: Parts, listing: Listing, attempt: Attempt) -> bool:
        directory = writer_directory(attempt.writer)
        self._note(parts.places(parts.read_all({directory: listing[directory]})))
        try:
            self._bring_nodes([attempt.root])
            lacking = self._lacking(_brought(attempt.root, None, self._session.node))
        except MissingObject:  # of its manifest
            return False
        for batch in batches(lacking):
            absent = set(batch) - self._session.avc.store.has(batch)
            absent -= self._bring_from_parts(sorted(absent))
            if absent - fetch_objects(self._session, sorted(absent)):
                return False
        return True

    def _bring_from_parts(self, digests: Sequence[Digest]) -> set[Digest]:
        """Copy objects that only parts name from where they are, condemned or not, while they are there (P6)."""
        places = {digest: self._places[digest] for digest in digests if digest in self._places}
        with suppress(RemoteMissing):
            bring_places(self._session, self._remote, places, self._extent)
        return self._session.avc.store.has(places)

    def _extent(self, file: str) -> tuple[int, int]:
        """Bytes and number of all objects in a stored file that parts name."""
        held = self._files[file]
        return sum(place.stored for place in held), len(held)

    def require(self, root: Digest, live: Sequence[Digest]) -> None:
        """Nothing: what is nowhere is found when it is to be delivered."""

    def deliver(self, root: Digest, objects: Iterable[Digest], live: Sequence[Digest]) -> None:
        """Send what neither origin nor the parts have, and the index file for the entry that is to come."""
        wanted = dict(new_objects(root, live[-2:], self._session.node)) if root not in live else {}
        wanted.update(dict.fromkeys(objects, 0))
        lacking = self._lacking(wanted.items())
        if lacking:
            self._note(self._upload(lacking))
        there: set[Digest] = set()
        for batch in batches(wanted):
            there |= self._remote.locate(batch).keys()
        files = dict.fromkeys(self._places[digest].file for digest in wanted if digest not in there)
        fresh = [place for file in files for place in self._files[file]]
        data = encode_places(fresh)
        digest = entry_digest(data)
        if not fresh:
            self._index = ()
        elif [file["digest"] for file in self._index] != [digest] or self._is_condemned(self._index[0]["id"]):
            name = f"{self._pushed}-{secrets.token_hex(4)}"
            self._remote.transport.upload(f"index/{name}", data)
            self._index = ({"id": name, "digest": digest, "size": len(data)},)

    # ---- manifests -----------------------------------------------------------------------------------

    def files(self) -> set[str]:
        """The stored files that the parts name which were brought."""
        return set(self._files)

    def bring(self, parts: Parts, listing: Listing) -> list[Attempt]:
        """The attempts; the nodes of their manifests come here and are checked, no file does."""
        attempts = parts.read(listing)
        self._note(parts.places(parts.read_all(listing)))
        self._bring_nodes([attempt.root for attempt in attempts])
        for attempt in attempts:
            trusted(self._session, attempt.root)
        return attempts

    def _bring_nodes(self, roots: Sequence[Digest]) -> None:
        """Fetch the nodes of manifests, a level at a time."""
        store, seen = self._session.avc.store, {EMPTY}
        level = list(dict.fromkeys(roots))
        for _ in range(MAX_DEPTH):
            level = [digest for digest in dict.fromkeys(level) if digest not in seen]
            if not level:
                return
            for batch in batches(level):
                present = store.has(batch)
                self._fetch_nodes([digest for digest in batch if digest not in present])
            seen.update(level)
            datas = [self._session.node(digest) for digest in level]
            level = [child.digest for data in datas if is_inner(data) for child in children(data)]
        raise BadManifest(f"a manifest is deeper than {MAX_DEPTH} levels")

    def _fetch_nodes(self, digests: Sequence[Digest]) -> None:
        places = [self._places[digest] for digest in digests if digest in self._places]
        if any(max(place.length, place.stored) > MAX_NODE + (1 << 16) for place in places):
            raise BadManifest(f"a manifest node is larger than {MAX_NODE} bytes")
        if not places:
            return
        with suppress(RemoteMissing), storing(self._session) as writer:  # what is gone is missed when it is read
            runs = runs_of(places)
            for position, data in self._remote.transport.read_ranges([run.asked for run in runs]):
                where = f"'{runs[position].places[0].file}' of remote '{self._remote.name}'"
                for _, node in objects_of(runs[position], data, where):
                    writer.put_node(node)


def _brought(root: Digest, before: Digest | None, node: Read) -> Iterator[tuple[Digest, int]]:
    """Objects of *root* that *before* lacks, each with its size: of a changed node only the entries that changed."""
    if before is None:
        yield from new_objects(root, (), node)
        return
    for digest, data in new_nodes(root, [before], node):
        yield digest, len(data)
    for change in diff(before, root, node):
        after = change.after
        if after is not None and after.is_file and after.digest not in (None, EMPTY):
            yield str(after.digest), after.size or 0


@contextmanager
def _told(remote: Remote) -> Iterator[None]:
    """Let an outcome that stays unknown in the block be told as a call's."""
    try:
        yield
    except OutcomeUnknown as error:
        raise OutcomeUnknown(
            f"'{remote.name}' gave no answer: unknown, it may still land",
            hint="call it again: it looks first for what this call did",
        ) from error


def alone_hint() -> str:
    """How to do without origin."""
    return f"to build it in this repository alone: 'avc config set {SETTING} false'"


@contextmanager
def reaching(session: Session) -> Iterator[None]:
    """Say of an origin that cannot be reached in the block how to do without it: a version never is silently local."""
    try:
        yield
    except (RemoteUnavailable, RemoteRefused) as error:
        if _uses_origin(session):
            error.hint = f"{error.hint}; {alone_hint()}".removeprefix("; ")
        raise
