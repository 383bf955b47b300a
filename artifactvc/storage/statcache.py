"""The stat cache: which file had which digest when it was last read.

One row of ``dirstate`` is one directory of the workspace: its names, the ``stat`` of each,
their digests. A directory whose names and stats are byte for byte those of its row is
unchanged, and nothing is done for each of its files.

Git's racy rule: a file recorded within the clock's granularity of its own time could be
changed again without a trace, so it is recorded without its stat and read again next
time. The cache saves a hash, never the question whether the store has the object
(protocol L6).
"""

from __future__ import annotations

import sqlite3
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from artifactvc.core.model import Digest
from artifactvc.storage.database import begin

#: Coarse kernel clocks tick every 4 to 10 ms; some network file systems are coarser, but say so in whole seconds.
RACY_NS: Final = 20_000_000
_NONE: Final = bytes(32)
WIDTH: Final = 5  # numbers kept of a stat


class FileStat(NamedTuple):
    """What is compared of a file: bytes, nanoseconds, inode and mode."""

    size: int
    mtime: int
    ctime: int
    inode: int
    mode: int


_UNRECORDED: Final = FileStat(-1, 0, 0, 0, 0)


class Row(NamedTuple):
    """One directory as recorded: *names* sorted, *stats* five numbers each, *digests* 32 bytes each."""

    names: tuple[str, ...]
    stats: bytes
    digests: bytes

    def stat(self, position: int) -> FileStat:
        """What was recorded for the name at *position*."""
        numbers = array("q")
        numbers.frombytes(self.stats[position * WIDTH * 8 : (position + 1) * WIDTH * 8])
        return FileStat(*numbers)

    def digest(self, position: int) -> Digest | None:
        """The digest of the name at *position*, or None if it must be read again."""
        key = self.digests[position * 32 : position * 32 + 32]
        return None if key == _NONE else key.hex()


class Recorded(NamedTuple):
    """What to record of one name."""

    stat: FileStat
    digest: Digest | None


class StatCache:
    """The rows of one workspace. Paths are relative to it, ``""`` for itself."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._connect, self._clock = connect, clock_ns
        self._save: dict[str, Row | None] = {}

    def load(self, path: str) -> dict[str, Row]:
        """The rows of directory *path* and of all below it."""
        sql = "SELECT path, names, stats, digests FROM dirstate"
        if path:
            rows = self._connect().execute(
                f"{sql} WHERE path = ? OR (path > ? AND path < ?)", (path, path + "/", path + "0")
            )
        else:
            rows = self._connect().execute(f"{sql} WHERE path NOT LIKE '/%'")
        return {row[0]: _row(row[1], row[2], row[3]) for row in rows}

    def row(self, path: str) -> Row | None:
        """The row of one directory."""
        found = self._connect().execute("SELECT names, stats, digests FROM dirstate WHERE path = ?", (path,)).fetchone()
        return None if found is None else _row(*found)

    def record(self, path: str, files: Iterable[tuple[str, Recorded]]) -> None:
        """Note a whole directory; a file that is too young keeps its name only."""
        limit = self._clock() - RACY_NS
        names, stats, digests = [], array("q"), []
        for name, (stat, digest) in sorted(files, key=lambda item: item[0]):
            sure = digest is not None and stat.mtime < limit and stat.ctime < limit
            names.append(name)
            stats.extend(stat if sure else _UNRECORDED)
            digests.append(bytes.fromhex(digest) if sure and digest is not None else _NONE)
        self._save[path] = Row(tuple(names), stats.tobytes(), b"".join(digests)) if names else None

    def record_all(self, path: str, names: Sequence[str], stats: array[int], digests: bytes) -> None:
        """Note a whole directory whose *names* are sorted; 32 zero bytes mean that a digest is not known."""
        limit = self._clock() - RACY_NS
        if len(names) and max(stats[1::WIDTH]) < limit and max(stats[2::WIDTH]) < limit and not _unknown(digests):
            self._save[path] = Row(tuple(names), stats.tobytes(), bytes(digests))
            return
        rows = []
        for i, name in enumerate(names):
            key = digests[i * 32 : i * 32 + 32]
            stat = FileStat(*stats[i * WIDTH : (i + 1) * WIDTH])
            rows.append((name, Recorded(stat, None if key == _NONE else key.hex())))
        self.record(path, rows)

    def merge(self, path: str, name: str, known: Recorded | None, *, there: bool) -> None:
        """Change one name of a directory: to *known* (None: it must be read again), or take it out if not *there*."""
        row = self._save[path] if path in self._save else self.row(path)
        files = [(n, Recorded(row.stat(i), row.digest(i))) for i, n in enumerate(row.names) if n != name] if row else []
        if there:
            files.append((name, known or Recorded(_UNRECORDED, None)))
        self.record(path, files)

    def forget(self, path: str) -> None:
        """Note that a directory is gone."""
        self._save[path] = None

    def save(self, after: Callable[[sqlite3.Connection], None] | None = None) -> None:
        """Write what was noted, and what *after* writes, in one transaction."""
        if not self._save and after is None:
            return
        with begin(self._connect()) as connection:
            for path, row in self._save.items():
                if row is None:
                    connection.execute("DELETE FROM dirstate WHERE path = ?", (path,))
                else:
                    connection.execute(
                        "INSERT OR REPLACE INTO dirstate (path, names, stats, digests) VALUES (?, ?, ?, ?)",
                        (path, "\0".join(row.names).encode(), row.stats, row.digests),
                    )
            if after is not None:
                after(connection)
        self._save.clear()


def _unknown(digests: bytes) -> bool:
    at = digests.find(_NONE)
    while at >= 0 and at % 32:
        at = digests.find(_NONE, at + 1)
    return at >= 0


def _row(names: bytes, stats: bytes, digests: bytes) -> Row:
    return Row(tuple(names.decode().split("\0")), stats, digests)
