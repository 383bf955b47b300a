"""A numbered log on disk: entry *n* is a file that can be created only once.

``.artifacts/log`` holds what was done here; ``.artifacts/remotes/<id>/log`` holds each
remote's entries as they were read, byte for byte.

- An entry's name never appears before its bytes are on disk, and is never changed
  (protocol L1; ``util.files.create_once``).
- Entries have no gaps: the number after the last one is found by probing, since a
  process that writes knows nearly always where the end was.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from artifactvc.core.entries import LogEntry, decode_entry, entry_digest
from artifactvc.core.model import Digest
from artifactvc.errors import BadLogEntry, BrokenChain
from artifactvc.util.files import create_once, make_directories, writing


def entry_name(n: int) -> str:
    """The file name of entry *n*: 20 digits, so that names sort as numbers."""
    return f"{n:020d}.json"


class Log:
    """The entries in one directory. *tmp* must be on the same file system."""

    def __init__(self, directory: Path, tmp: Path, what: str) -> None:
        self.directory, self._tmp, self._what = directory, tmp, what

    def data(self, n: int) -> bytes | None:
        """The bytes of entry *n*, or None if there is none yet."""
        try:
            with open(self.directory / entry_name(n), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def create(self, n: int, data: bytes) -> bool:
        """Create entry *n*, durably; False if somebody was faster."""
        with writing(self.directory):
            if not self.directory.is_dir():
                make_directories(self.directory)
            return create_once(self.directory / entry_name(n), data, via=self._tmp)

    def since(self, n: int, before: Digest | None) -> Iterator[tuple[LogEntry, Digest]]:
        """Entries *n* and up, checked against the chain that ends with digest *before*."""
        while (data := self.data(n)) is not None:
            entry = self._decode(data, n)
            if entry.before != before:
                raise BrokenChain(
                    f"{self._what} does not continue what was read before: entry {n} names another entry {n - 1}",
                    hint="the log was restored, replaced or edited; 'avc fsck' says what is affected",
                )
            before = entry_digest(data)
            yield entry, before
            n += 1

    def _decode(self, data: bytes, n: int) -> LogEntry:
        try:
            return decode_entry(data, n)
        except BadLogEntry as error:
            raise BadLogEntry(
                f"{self._what}: {error.message}", hint="run 'avc fsck' to see what is affected"
            ) from error

    def last(self) -> int:
        """Number of the last entry, -1 for an empty log. Lists the directory: for fsck and rebuilds."""
        try:
            numbers = [int(name[:20]) for name in os.listdir(self.directory) if name.endswith(".json")]
        except FileNotFoundError:
            return -1
        return max(numbers, default=-1)

    def size(self) -> int:
        """Bytes of all entries."""
        try:
            return sum(entry.stat().st_size for entry in os.scandir(self.directory))
        except FileNotFoundError:
            return 0
