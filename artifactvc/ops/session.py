"""What every operation works with: one open repository, who is asking, and where to speak.

``append`` is the only way in which a name changes here: it plans records against the
newest state and creates the next entry of the local log, again if somebody was faster.
Order of every change: objects, then the log entry, then the index (protocol L1).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from artifactvc.core.entries import LogEntry, Record, encode_entry
from artifactvc.core.metadata import plain
from artifactvc.core.model import Digest
from artifactvc.core.strict import dump_json, parse_json
from artifactvc.errors import Corrupt, MissingObject, RemoteRefused, RemoteUnavailable, StorageError, UsageError
from artifactvc.storage.avcdir import AvcDir
from artifactvc.storage.database import begin
from artifactvc.storage.index import LOCAL, Index
from artifactvc.storage.transport import NO_LIMITS, Limits
from artifactvc.util.progress import NoProgress, Progress
from artifactvc.util.text import now

if TYPE_CHECKING:
    from artifactvc.storage.remote import Remote
    from artifactvc.storage.writer import StoreWriter


FetchObjects = Callable[["Session", Iterable[Digest]], set[Digest]]


def _nothing(session: Session, digests: Iterable[Digest]) -> set[Digest]:
    return set()


@dataclass
class Session:
    """One open repository and the person who uses it."""

    avc: AvcDir
    who: Callable[[], str]  # works out the author, who may have to be asked for
    project: str
    entity: str
    progress: Progress = field(default_factory=NoProgress)
    notices: list[str] = field(default_factory=list)
    clock: Callable[[], str] = now
    brought_objects: int = 0  # fetched from remotes since the session was opened
    brought_bytes: int = 0
    fetch_objects: FetchObjects = _nothing  # how to bring objects that are not here (ops/transfer.py)
    caught_up: bool = False
    limits: Limits = NO_LIMITS  # what this command was told of its transfers
    only_looks: bool = False  # a dry run: what has to be read from a remote is not stored
    allowed_globally: str = (
        ""  # `refs.allow` of the user's own file: it counts beside the repository's (ops/consent.py)
    )
    unreachable: dict[str, StorageError] = field(default_factory=dict)  # remotes that failed: not waited for again
    _remotes: dict[str, Remote] = field(default_factory=dict)

    @cached_property
    def author(self) -> str:
        """Who is asking, as entries of the log have it: worked out by the first command that writes one."""
        return self.who()

    def remote(self, name: str) -> Remote:
        """A configured remote, opened once per command; ``close`` closes them all."""
        from artifactvc.storage.remote import Remote

        if name not in self._remotes:
            self._remotes[name] = Remote(self.avc, name, self.limits)
        return self._remotes[name]

    def limit(self, limits: Limits) -> None:
        """Let *limits* hold for all that is asked of remotes from now on."""
        self.limits = limits
        self._close_remotes()

    def _close_remotes(self) -> None:
        for remote in self._remotes.values():
            remote.close()
        self._remotes.clear()

    def close(self) -> None:
        """Close every index."""
        self._close_remotes()
        self.avc.close()

    @property
    def index(self) -> Index:
        """The index, caught up with the logs once per command."""
        index = self.avc.index
        if not self.caught_up:
            index.catch_up()
            self.caught_up = True
        return index

    def say(self, text: str) -> None:
        """Leave a line for people, to be shown beside the result."""
        if text not in self.notices:
            self.notices.append(text)

    def node(self, digest: Digest) -> bytes:
        """The bytes of a manifest node or another small object, here or from a remote."""
        try:
            return self.avc.store.read(digest)
        except MissingObject:
            if not self.fetch_objects(self, [digest]):
                raise
            return self.avc.store.read(digest)


def append(session: Session, command: str, plan: Callable[[], Sequence[Record]]) -> LogEntry | None:
    """Create the next local log entry with the records that *plan* answers; None if it answers none.

    *plan* runs on the newest state and again whenever another process created the entry
    first. The index's write lock is held meanwhile, which keeps that rare; what makes it
    safe is that an entry can be created only once.
    """
    avc, index = session.avc, session.index
    avc.require_feature("write")
    op, author = secrets.token_hex(16), session.author  # asked for before the lock is taken
    while True:
        with begin(avc.connect()):
            index.catch_up()
            records = tuple(plan())
            if not records:
                return None
            n, before = index.head(LOCAL)
            entry = LogEntry(n + 1, op, avc.id, before, author, session.clock(), command, records)
            if avc.log.create(entry.n, encode_entry(entry)):
                index.catch_up()
                return entry


# ---- salted objects -------------------------------------------------------------------------


def salted(value: Any, what: str = "the metadata") -> bytes:
    """*value* as an object whose digest tells nothing about it (design, section 3, "Log entry").

    UsageError, naming *what* it is, for a value that no reader would take (protocol H2).
    """
    try:
        return dump_json({"salt": secrets.token_hex(16), "value": plain(value, what)}) + b"\n"
    except (TypeError, ValueError) as error:
        raise UsageError(str(error), hint="write it as text, or leave it out") from error


def unsalted(data: bytes) -> Any:
    """The value in a salted object; Corrupt if it is none."""
    body = parse_json(data, limit=64 << 20, what="a description or metadata object", error=Corrupt)
    if not isinstance(body, dict) or "value" not in body:
        raise Corrupt("a description or metadata object is damaged")
    return body["value"]


def read_salted(session: Session, digest: Digest | None, default: Any, *, required: bool = False) -> Any:
    """The value of a salted object, or *default* where there is none or its bytes cannot be had now.

    With *required* the latter is an error: what cannot be read must not be written anew.
    """
    if digest is None:
        return default
    if required:
        try:
            return unsalted(session.node(digest))
        except Corrupt as error:
            session.say(f"some descriptions or metadata are damaged, and are replaced: {error.message}")
            return default
    try:
        return unsalted(session.node(digest))
    except MissingObject:
        session.say("some descriptions or metadata are not here: run 'avc fetch' when the remote can be reached")
    except StorageError as error:
        session.say(f"some descriptions or metadata are not here: {error.message}")
    except Corrupt as error:
        session.say(f"some descriptions or metadata are damaged, and left out: {error.message}")
    return default


@contextmanager
def naming(remote: Remote) -> Iterator[None]:
    """In the block, an error of a remote that cannot be reached or refuses names the remote, too."""
    try:
        yield
    except (RemoteUnavailable, RemoteRefused) as error:
        if f"'{remote.name}'" in error.message:
            raise
        raise type(error)(f"remote '{remote.name}': {error.message}", hint=error.hint) from error


@contextmanager
def looking(session: Session) -> Iterator[None]:
    """For dry runs: in the block, what has to be read from a remote is lent, and stored nowhere."""
    before, session.only_looks = session.only_looks, True
    try:
        yield
    finally:
        session.only_looks = before


@contextmanager
def storing(session: Session) -> Iterator[StoreWriter]:
    """A store writer under the shared lock; what it put is durable when the block ends.

    For callers that name what they stored afterwards, the lock must last longer: they
    hold ``avc.writing()`` around this (locks of one process nest).
    """
    with session.avc.writing(), session.avc.writer() as writer:
        yield writer
