"""A remote: objects and a log on shared storage, and what is remembered of it here.

On the remote (protocol, "Remotes"): ``avc.json``, ``log/``, ``packs/``, ``index/``. Here,
under ``remotes/<remote id>/``: the entries as read, byte for byte; the index files as
read; and an index of its own, which holds what that log alone says and where its
objects are. All of it can be thrown away and read again.

- Push, pull, fetch and clone never list: the log's next number is probed, and every
  other name is learnt from an entry (protocol R2).
- An entry is accepted only if it continues the chain that was read before (R3).
- What a remote sends is bounded, checked and never executed (H1 to H3).
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, TypeVar

from artifactvc.core.entries import MAX_BYTES, LogEntry, entry_digest
from artifactvc.core.model import Digest
from artifactvc.core.records import apply_entry
from artifactvc.core.strict import parse_json
from artifactvc.errors import (
    BadIndex,
    BrokenChain,
    BucketMissing,
    Corrupt,
    NewerFormat,
    OutcomeUnknown,
    RemoteMissing,
    StorageError,
    UnsafeRemote,
)
from artifactvc.storage.avcdir import KNOWN_FEATURES, AvcDir
from artifactvc.storage.checkpoints import Span, completed_by, join_entries
from artifactvc.storage.database import Notes, begin, connect
from artifactvc.storage.kept import encode_description, keep_description
from artifactvc.storage.log import entry_name
from artifactvc.storage.probe import open_transport
from artifactvc.storage.remote_index import Place
from artifactvc.storage.remote_places import RemotePlaces
from artifactvc.storage.rows import SqliteRows, clear_names
from artifactvc.storage.tail import Tail, broken_chain, read_entry
from artifactvc.storage.transport import NO_LIMITS, Limits, RemoteOptions, Transport
from artifactvc.util.files import make_directories

T = TypeVar("T")

HEAD: Final = "remote"
_MISSING: Final = "missing checkpoints"  # what is kept of them in the table meta
_MADE_AT_ONCE: Final = 32  # checkpoints, by one push


def read_description(transport: Transport) -> dict[str, Any] | None:
    """What ``avc.json`` on the remote says, or None if there is no remote yet."""
    try:
        data = transport.read("avc.json", limit=1 << 16)
    except BucketMissing:
        raise
    except RemoteMissing:
        return None
    what = f"'{transport.url}/avc.json'"
    try:
        body = parse_json(data, limit=1 << 16, what=what, error=Corrupt)
    except Corrupt as error:
        raise Corrupt(error.message, hint="is this the right address? if so, restore that file from a copy") from error
    if not isinstance(body, dict) or not isinstance(body.get("id"), str):
        raise Corrupt(f"{what} does not describe a remote", hint="is this the right address?")
    if body.get("format") != 1:
        raise NewerFormat(f"the remote '{transport.url}'", f"format {str(body.get('format'))[:20]}")
    require_features(body, "read", transport.url)
    if len(body["id"]) != 32 or not set(body["id"]) <= set("0123456789abcdef"):
        raise Corrupt(f"{what} holds a bad remote id")
    return body


def require_features(body: Mapping[str, Any], deed: str, url: str) -> None:
    """Refuse to *deed* (read, write) where ``avc.json`` asks for what this version does not know."""
    features = body.get("features")
    needed = features.get(deed, []) if isinstance(features, dict) else []
    unknown = sorted(set(map(str, needed if isinstance(needed, list) else [needed])) - KNOWN_FEATURES[deed])
    if unknown:
        raise NewerFormat(f"the remote '{url}'", f"feature '{unknown[0][:40]}'" + (f" to {deed}" * (deed != "read")))


def describe(transport: Transport, project: str) -> dict[str, Any]:
    """Read ``avc.json``, made by this call where there is none; the first of several wins."""
    found = read_description(transport)
    if found is None:
        features: dict[str, list[str]] = {"read": [], "write": [], "check": [], "delete": []}
        body = {"format": 1, "features": features, "id": secrets.token_hex(16), "project": project}
        with contextlib.suppress(OutcomeUnknown):  # what stands there is read back
            transport.create("avc.json", encode_description(body))
        found = read_description(transport)
    if found is None:
        raise UnsafeRemote(f"'{transport.url}' does not show a file that was just written")
    return found


def transport_of(table: dict[str, Any], limits: Limits = NO_LIMITS) -> Transport:
    """The transport to a remote as configured, and as this command was told otherwise."""
    options = RemoteOptions(
        endpoint_url=table.get("endpoint_url"),
        profile=table.get("profile"),
        region=table.get("region"),
        timeout=float(table.get("timeout", RemoteOptions.timeout)),
        retries=int(table.get("retries", RemoteOptions.retries)),
        read_only=bool(table.get("read_only", False)),
        client=str(table.get("transport", RemoteOptions.client)),
    )
    return open_transport(table["url"], limits.over(options))


class Remote:
    """One configured remote. The transport is opened when something is asked of the remote itself."""

    def __init__(self, avc: AvcDir, name: str, limits: Limits = NO_LIMITS) -> None:
        table = avc.remotes[name]
        self.avc, self.name, self.table, self.limits = avc, name, table, limits
        self.id, self.url = str(table["id"]), str(table["url"])
        self.directory = avc.remote_directory(self.id)
        self.log = avc.remote_log(self.id)

    @cached_property
    def transport(self) -> Transport:
        """The connection to the storage."""
        return transport_of(self.table, self.limits)

    @cached_property
    def connection(self) -> sqlite3.Connection:
        """This remote's own index."""
        if not self.directory.is_dir():
            make_directories(self.directory)
        return connect(self.directory / "index.sqlite")

    @property
    def rows(self) -> SqliteRows:
        """What the remote's log says, as far as it was read."""
        return SqliteRows(self.connection)

    @property
    def notes(self) -> Notes:
        """What is remembered besides what the log says."""
        return Notes(self.connection)

    def close(self) -> None:
        """Close this remote's index."""
        if "connection" in self.__dict__:
            self.connection.close()
            del self.__dict__["connection"]

    # ---- the log ---------------------------------------------------------------------------

    def head(self) -> tuple[int, Digest | None]:
        """Number and digest of the last entry that was read; (-1, None) for none."""
        row = self.connection.execute("SELECT n, digest FROM head WHERE log = ?", (HEAD,)).fetchone()
        return (-1, None) if row is None else (row[0], row[1])

    def catch_up(self) -> None:
        """Apply the entries kept here that this remote's index does not know; rebuild it if they disagree."""
        n, digest = self.head()
        data = self.log.data(n) if n >= 0 else None
        if n >= 0 and (data is None or entry_digest(data) != digest):
            with begin(self.connection):
                clear_names(self.connection)
                self.places.clear()
                self.connection.execute("DELETE FROM meta")
        elif self.log.data(n + 1) is None:
            return
        with begin(self.connection):
            n, digest = self.head()
            for entry, its_digest in self.log.since(n + 1, digest):
                self._apply(entry, its_digest)
        self.places.drop_copies(n + 1)

    def _apply(self, entry: LogEntry, digest: Digest) -> None:
        rows = self.rows
        apply_entry(rows, entry, HEAD, final=True)
        for position in range(len(entry.records)):
            rows.put("landed", {"record": entry.record_id(position), "n": entry.n})
        self.places.note(entry.n, entry.index)
        self.connection.execute(
            "INSERT OR REPLACE INTO head (log, n, digest) VALUES (?, ?, ?)", (HEAD, entry.n, digest)
        )

    def fetch(self) -> int:
        """Read the entries that the remote has and we do not; return how many. With nothing new this is one request."""
        self.catch_up()
        tail = Tail(self.transport, self.log, self.name, self.head())
        count = tail.read()
        if count:
            self.catch_up()
            if missing := tail.missing():
                self.notes.set(_MISSING, [*(self.notes.get(_MISSING) or ()), *missing])
        return count

    def accept(self, n: int, data: bytes) -> None:
        """Keep entry *n* of the remote's log, if it continues what was read before (protocol R3)."""
        entry = read_entry(data, n, self.name)
        before = self.log.data(n - 1) if n else None
        if entry.before != (entry_digest(before) if before is not None else None):
            raise broken_chain(n, self.name)
        if not self.log.create(n, data) and self.log.data(n) != data:
            raise BrokenChain(f"entry {n} of remote '{self.name}' is not the one that was read before")

    def make_checkpoints(self, landed: Iterable[int]) -> None:
        """Create the checkpoints that the entries *landed* from here complete, and those that fetches here missed.

        A remote without them can be read, only in more requests: what the storage refuses
        is left to whoever misses them next.
        """
        missing = [Span(*pair) for pair in self.notes.get(_MISSING) or ()]
        with contextlib.suppress(StorageError):
            for span in dict.fromkeys([*completed_by(landed), *missing[:_MADE_AT_ONCE]]):
                entries = [data for n in range(span.first, span.end) if (data := self.log.data(n)) is not None]
                data = join_entries(entries)
                if len(entries) == span.size and data is not None:
                    self.transport.create(span.name, data)
            if missing:
                self.notes.set(_MISSING, missing[_MADE_AT_ONCE:])

    def verify_identity(self, *, to_write: bool = True, deed: str = "write") -> None:
        """Refuse a remote that is another one than was added, or whose log was rewound or forked (protocol R3).

        Before anything is written to it, and whenever its bytes are wanted: ``avc.json``, and
        the last entry that was read, are read again.
        """
        found = read_description(self.transport)
        if found is None or found["id"] != self.id:
            raise BrokenChain(
                f"remote '{self.name}' at '{self.url}' is not the one that was added",
                hint="it was wiped or replaced; run 'avc remote remove' and 'avc remote add' if that was meant",
            )
        keep_description(self.directory, found, self.avc.tmp)
        if to_write:
            require_features(found, deed, self.url)
        n = self.head()[0]
        if n < 0:
            return
        there = self.transport.read_many([f"log/{entry_name(n)}"], limit=MAX_BYTES)[0]
        if there != self.log.data(n):
            gone = "is gone" if there is None else "is not the one that was read before"
            raise BrokenChain(
                f"entry {n} of remote '{self.name}' {gone}",
                hint="it was restored, wiped or replaced; if that was meant, remove the remote and add it again",
            )

    # ---- where objects are --------------------------------------------------------------------

    @cached_property
    def places(self) -> RemotePlaces:
        """The remote's index files."""
        return RemotePlaces(self)

    def locate(self, digests: Iterable[Digest]) -> dict[Digest, Place]:
        """An uncondemned stored copy of each of *digests* that has one."""
        return self._read_on(lambda: self.places.locate(digests))

    def locate_condemned(self, digests: Iterable[Digest]) -> dict[Digest, Place]:
        """A condemned copy, for who lacks the bytes and must copy them while they exist (protocol P6)."""
        wanted = set(digests)
        if wanted:
            self.places.read(condemned=True)
        return self.places.query(wanted, condemned=True)

    def located_here(self, digests: Iterable[Digest]) -> set[Digest]:
        """Those of *digests* that index files read before say are on the remote; asks nobody."""
        return set(self.places.query(digests))

    def file_extent(self, file: str) -> tuple[int, int]:
        """Bytes of all objects in a stored file, and how many there are, as far as index files tell."""
        return self.places.extent(file)

    def read_indexes(self, *, condemned: bool = False) -> None:
        """Read the live index files that were not read yet; with *condemned* all that tell of condemned files too."""
        self._read_on(lambda: self.places.read(condemned=condemned))

    def _read_on(self, deed: Callable[[], T]) -> T:
        """Do what reads index files, again where the log has news: one that is gone may have been replaced."""
        while True:
            try:
                return deed()
            except BadIndex:
                if not self.fetch():
                    raise

    def add_places(self, index_id: str, places: Collection[Place]) -> None:
        """Note the rows of one index file as read."""
        self.places.add(index_id, places)

    # ---- the push journal --------------------------------------------------------------------

    @property
    def journal_path(self) -> Any:
        """What an unfinished push has sent already (protocol P8)."""
        return self.directory / "push.jsonl"

    def journal(self) -> list[dict[str, Any]]:
        """The lines of the journal; one that was cut, by a kill or a full disk, is left out."""
        lines = []
        with contextlib.suppress(FileNotFoundError):
            for line in self.journal_path.read_bytes().split(b"\n"):
                with contextlib.suppress(ValueError):
                    lines.append(json.loads(line))
        return lines

    @staticmethod
    def forget_id(avc: AvcDir, remote_id: str) -> None:
        """Drop all that is remembered of a remote; it can be read again."""
        shutil.rmtree(avc.remote_directory(remote_id), ignore_errors=True)


def held_by_remotes(avc: AvcDir, digests: Sequence[Digest]) -> set[Digest]:
    """Those of *digests* of which some remote is known to hold an uncondemned copy.

    Asks a remote only for index files that its log names and that were never read; one that
    cannot be asked is taken at what is known of it.
    """
    found: set[Digest] = set()
    for name in avc.remotes:
        remote = Remote(avc, name)
        try:
            remote.catch_up()
            with contextlib.suppress(StorageError, Corrupt):
                found |= remote.locate(set(digests) - found).keys()
            found |= remote.located_here(set(digests) - found)
        finally:
            remote.close()
    return found


def condemned_among(remote: Remote, files: Iterable[str]) -> set[str]:
    """Those of the stored *files* that are condemned: asked by name, for there are ever more condemned ones."""
    return {file for file in set(files) if remote.rows.get("condemned", file) is not None}
