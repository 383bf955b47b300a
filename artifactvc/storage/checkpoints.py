"""Checkpoints: the exact bytes of 8, 32, 256 or 1,024 consecutive entries of a remote's log (protocol R4).

On the remote, ``log/checkpoint/<size>/<number of the first entry, 20 digits>`` holds the
entries first … first + size - 1 end to end, where first is a multiple of size
(docs/format.md, "Checkpoints"). It is created once, after the last of them. It only saves
requests: whoever reads one holds it against the chain of the log (``storage/tail.py``), and
where one is missing, wrong or would be too large, the entries themselves are read.

Here, ``RemoteLog`` keeps the ones that were read as they came, and answers for each entry.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from artifactvc.core.entries import MAX_BYTES
from artifactvc.errors import BadLogEntry
from artifactvc.storage.log import Log
from artifactvc.util.files import make_directories, write_atomic, writing

#: How many entries a checkpoint holds, largest first. With 32 and 1,024 alone a clone near 10,000 entries reads up to
#: 71 files of the log, with these at most 29.
SIZES: Final = (1024, 256, 32, 8)
#: Where entries together are larger, no checkpoint is made of them, and none is read (protocol H2).
MAX_CHECKPOINT: Final = 16 << 20


class Span(NamedTuple):
    """The entries that one checkpoint holds: *size* of them, from *first*, a multiple of it."""

    size: int
    first: int

    @property
    def end(self) -> int:
        """The number after its last entry."""
        return self.first + self.size

    @property
    def name(self) -> str:
        """The file on the remote."""
        return f"log/checkpoint/{self.size}/{self.first:020d}"


def span_of(size: int, n: int) -> Span:
    """The span of *size* entries that entry *n* is in."""
    return Span(size, n - n % size)


def completed_by(numbers: Iterable[int]) -> list[Span]:
    """The spans whose last entry is one of *numbers*, the largest first."""
    return [Span(size, n + 1 - size) for size in SIZES for n in numbers if (n + 1) % size == 0]


def join_entries(entries: Sequence[bytes]) -> bytes | None:
    """The checkpoint of *entries*, or None if there can be none: too large, or an entry that is not one line."""
    data = b"".join(entries)
    whole = all(entry.endswith(b"\n") and entry.count(b"\n") == 1 for entry in entries)
    return data if whole and len(data) <= MAX_CHECKPOINT else None


def split_entries(data: bytes, span: Span) -> list[bytes]:
    """The entries of a checkpoint, which may come from anywhere; BadLogEntry if they are not as many lines as it says.

    Nothing is said of what they are: the chain tells.
    """
    lines = [line + b"\n" for line in data.split(b"\n")[:-1]]
    whole = data.endswith(b"\n") and len(data) <= MAX_CHECKPOINT and len(lines) == span.size
    if not whole or any(len(line) > MAX_BYTES for line in lines):
        raise BadLogEntry(f"'{span.name}' does not hold {span.size} entries")
    return lines


class RemoteLog(Log):
    """A remote's entries as they were read: files of their own, and whole checkpoints."""

    _last: tuple[Span, list[bytes]] | None = None  # the checkpoint that was looked into last

    def data(self, n: int) -> bytes | None:
        """The bytes of entry *n*, or None if it was not read yet."""
        data = super().data(n)
        if data is not None or n < 0:
            return data
        for span in self._around(n):
            lines = self._lines(span)
            if lines is not None:
                return lines[n - span.first]
        return None

    def _around(self, n: int) -> Iterator[Span]:
        if self._last is not None and self._last[0].first <= n < self._last[0].end:
            yield self._last[0]
        yield from (span_of(size, n) for size in SIZES)

    def _lines(self, span: Span) -> list[bytes] | None:
        if self._last is not None and self._last[0] == span:
            return self._last[1]
        try:
            lines = split_entries((self.directory.parent / span.name).read_bytes(), span)
        except FileNotFoundError:
            return None
        except BadLogEntry:
            return None  # damaged here: as if it was never read, so the next fetch reads it again
        self._last = (span, lines)
        return lines

    def keep(self, span: Span, data: bytes) -> None:
        """Keep a checkpoint whose entries continue those that are here, durably."""
        path = self.directory.parent / span.name
        with writing(path.parent):
            if not path.parent.is_dir():
                make_directories(path.parent)
            write_atomic(path, data, via=self._tmp)

    def last(self) -> int:
        """Number of the last entry, -1 for an empty log. Lists the directories: for fsck and rebuilds."""
        last = super().last()
        for size in SIZES:
            with contextlib.suppress(FileNotFoundError):
                names = os.listdir(self.directory / "checkpoint" / str(size))
                last = max(last, *(int(name) + size - 1 for name in names if name.isdecimal()), -1)
        return last

    def size(self) -> int:
        """Bytes of all that is kept."""
        total = super().size()
        for size in SIZES:
            with contextlib.suppress(FileNotFoundError):
                total += sum(entry.stat().st_size for entry in os.scandir(self.directory / "checkpoint" / str(size)))
        return total
