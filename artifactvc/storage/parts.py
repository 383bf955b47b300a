"""The parts of one version that many build, in the repository or on a remote (protocol P10).

``drafts/<draft id>/<writer>/<attempt>/part.json`` is one complete attempt, created once,
after all that it names is stored; beside it, on a remote, the index file of the objects
that it brought. Who only adds a part reads nothing of other writers and lists nothing.

A finish must not miss a part whose writer was told that it is in. So who finishes first
creates ``closing.json`` there, then lists; and a writer that finds that mark after it has
created its part says so in the log, which makes the finish list again, or tells the
writer that it came too late. The mark stays: after a finish that failed it costs a
later part one entry of the log, nothing else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from artifactvc.core.entries import MAX_INDEX_BYTES, entry_digest
from artifactvc.core.parts import (
    MAX_BYTES,
    Attempt,
    IndexFile,
    decode_attempt,
    encode_attempt,
    is_draft_id,
    writer_directory,
)
from artifactvc.errors import BadIndex, RemoteMissing
from artifactvc.storage.directory import DirectoryTransport
from artifactvc.storage.remote_index import Place, decode_places, encode_places
from artifactvc.storage.transport import RemoteOptions, Transport

_PART: Final = re.compile(r"([a-z0-9]{1,64}(?:-[0-9a-f]{32})?)/(0|[1-9][0-9]{0,5})/part\.json")
#: A run has no more attempts: who may write to a remote cannot make others look for millions.
MOST_ATTEMPTS: Final = 10**6
_MARK: Final = "closing.json"
_AT_ONCE: Final = 256

#: Writer's directory -> its complete attempts, ascending. The last of them counts.
Listing = dict[str, list[int]]


class Parts:
    """The parts of one draft, read and created through a transport."""

    def __init__(self, transport: Transport, draft: str) -> None:
        self._transport, self._draft = transport, draft

    def _name(self, below: str) -> str:
        return f"drafts/{self._draft}/{below}"

    # ---- a writer's own --------------------------------------------------------------------------

    def create(self, attempt: Attempt) -> bool:
        """Let *attempt* be complete; False if another process of the same run has taken its number."""
        return self._transport.create(self._name(f"{attempt.directory}/part.json"), encode_attempt(attempt))

    def last(self, writer: str) -> Attempt | None:
        """The highest attempt of a run, or None: a few questions, however many there are. Nothing is listed."""
        directory = writer_directory(writer)
        found = self._read(directory, 0)
        if found is None:
            return None
        step = 1
        while found.attempt < MOST_ATTEMPTS and (further := self._read(directory, found.attempt + step)) is not None:
            found, step = further, step * 2
        while step > 1:
            step //= 2
            further = self._read(directory, found.attempt + step)
            found = further or found
        return found

    def _read(self, directory: str, attempt: int) -> Attempt | None:
        return self._read_many([f"{directory}/{attempt}"])[0]

    def _read_many(self, directories: Sequence[str]) -> list[Attempt | None]:
        names = [self._name(f"{directory}/part.json") for directory in directories]
        datas = self._transport.read_many(names, limit=MAX_BYTES)
        return [
            None if data is None else decode_attempt(data, self._draft, directory)
            for directory, data in zip(directories, datas, strict=True)
        ]

    # ---- all ---------------------------------------------------------------------------------------

    def listing(self) -> Listing:
        """The complete attempts of every writer: for who finishes, waits or collects."""
        base = len(self._name(""))
        found: Listing = {}
        for name in self._transport.list_names(f"drafts/{self._draft}"):
            match = _PART.fullmatch(name[base:])
            if match is not None:
                found.setdefault(match[1], []).append(int(match[2]))
        return {writer: sorted(attempts) for writer, attempts in found.items()}

    def read(self, listing: Listing) -> list[Attempt]:
        """The last attempt of each writer, ordered by the writers' ids; RemoteMissing if one is gone."""
        found = self._all(f"{writer}/{attempts[-1]}" for writer, attempts in listing.items())
        return sorted(found, key=lambda attempt: attempt.writer)

    def read_all(self, listing: Listing) -> list[Attempt]:
        """All attempts: what each of them brought to a remote stands in its own index file."""
        return list(self._all(f"{writer}/{n}" for writer in sorted(listing) for n in listing[writer]))

    def _all(self, directories: Iterable[str]) -> Iterator[Attempt]:
        wanted = list(directories)
        for start in range(0, len(wanted), _AT_ONCE):
            part = wanted[start : start + _AT_ONCE]
            for directory, found in zip(part, self._read_many(part), strict=True):
                if found is None:
                    raise RemoteMissing(f"part '{directory}' of draft '{self._draft:.8}' is gone", hint="try again")
                yield found

    # ---- the end -------------------------------------------------------------------------------------

    def mark_closing(self) -> None:
        """Say that from now on somebody may list for the last time."""
        self._transport.create(self._name(_MARK), b"{}\n")

    def is_closing(self) -> bool:
        """Whether somebody said so: a part that was created just now may have been missed."""
        return self._transport.read_many([self._name(_MARK)], limit=1 << 10)[0] is not None

    # ---- where objects are, on a remote ----------------------------------------------------------------

    def store_index(self, directory: str, token: str, places: Sequence[Place]) -> IndexFile:
        """Upload where the objects of an attempt are, before the attempt."""
        data = encode_places(places)
        name = f"{directory}/index-{token}"
        self._transport.upload(self._name(name), data)
        return IndexFile(name, entry_digest(data), len(data))

    def places(self, attempts: Iterable[Attempt]) -> Iterator[Place]:
        """Where the objects are that *attempts* brought; BadIndex for a file that is not the one they name."""
        files = [attempt.index for attempt in attempts if attempt.index is not None]
        for start in range(0, len(files), _AT_ONCE):
            part = files[start : start + _AT_ONCE]
            limit = min(max(file.size for file in part), MAX_INDEX_BYTES)
            datas = self._transport.read_many([self._name(file.name) for file in part], limit=limit)
            for file, data in zip(part, datas, strict=True):
                what = f"index file '{file.name}' of draft '{self._draft:.8}'"
                if data is None or len(data) != file.size or entry_digest(data) != file.digest:
                    raise BadIndex(f"{what} is {'missing' if data is None else 'damaged'}")
                yield from decode_places(data, what)


# ---- in the repository ---------------------------------------------------------------------------------


def local_parts(root: Path, draft: str) -> Parts:
    """The parts of a draft that lie in the repository *root* (``.artifacts``)."""
    return Parts(DirectoryTransport(root, RemoteOptions()), draft)


def local_drafts(root: Path) -> list[str]:
    """The drafts that have parts, or had them, in the repository."""
    try:
        return sorted(name for name in os.listdir(root / "drafts") if is_draft_id(name))
    except FileNotFoundError:
        return []


def changed_at(root: Path, draft: str) -> float:
    """When the last part of a local draft was put in, in epoch seconds; 0 where it is gone."""
    newest = 0.0
    for directory, _, _ in os.walk(root / "drafts" / draft):
        newest = max(newest, os.stat(directory).st_mtime)
    return newest
