"""When local copies were last used: what ``avc cache cleanup`` goes by.

Kept by file, that is by pack and by larger object, and to the hour: a command notes in memory
which files it read from, and writes once, when it closes, only what is an hour or more newer
than what stands there. So most commands write nothing, and none writes while it reads. The
access time of the file system would cost nothing either, but ``noatime`` turns it off, and to
set it ourselves would change the ctime that the trust rule compares (``store.py``).

These times are a hint. They are lost when the index is rebuilt, and left out where it cannot
be written; then a file counts as used when it came.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from typing import Final

from artifactvc.errors import StorageError
from artifactvc.storage.database import begin, write_hints

#: Seconds to which times are kept.
GRAIN: Final = 3600
_CHUNK: Final = 500


def hour() -> int:
    """The hour that it is, in epoch seconds."""
    return int(time.time()) // GRAIN * GRAIN


class Uses:
    """The table ``last_use``; files are named by the pack's name, or the digest of a larger object."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._noted: set[str] = set()

    def note(self, file: str) -> None:
        """Remember, in memory, that *file* is used by this command."""
        self._noted.add(file)

    def pass_over(self) -> None:
        """Take back what was noted: who reads everything (gc, fsck) uses nothing."""
        self._noted.clear()

    def save(self) -> None:
        """Write what was noted where that is news. Never waits: where another process writes, it is left out."""
        noted, self._noted = self._noted, set()
        if not noted:
            return
        now, fresh = hour(), list[tuple[str, int]]()
        with contextlib.suppress(sqlite3.OperationalError, StorageError):  # busy: times are a hint
            known = self.last(noted)
            fresh = [(file, now) for file in noted if known.get(file, -1) != now]
        if fresh:
            write_hints(self._connect(), "INSERT OR REPLACE INTO last_use (file, at) VALUES (?, ?)", fresh)

    def last(self, files: Iterable[str]) -> dict[str, int]:
        """The recorded time of each of *files* that has one."""
        wanted, found = list(files), dict[str, int]()
        for start in range(0, len(wanted), _CHUNK):
            part = wanted[start : start + _CHUNK]
            marks = ",".join("?" * len(part))
            found.update(
                self._connect().execute(f"SELECT file, at FROM last_use WHERE file IN ({marks})", part).fetchall()
            )
        return found

    def last_use(self, file: str, stat: os.stat_result, recorded: dict[str, int]) -> float:
        """When *file* was last used: as *recorded*, else when it came, or was linked, last."""
        return recorded.get(file, max(stat.st_mtime, stat.st_ctime))

    def hand_on(self, file: str, heir: str, at: float) -> None:
        """A pack was written anew: *heir* was last used when *file* was, at *at*."""
        with begin(self._connect()) as connection:
            connection.execute("DELETE FROM last_use WHERE file = ?", (file,))
            connection.execute("INSERT OR REPLACE INTO last_use (file, at) VALUES (?, ?)", (heir, int(at)))

    def forget(self, file: str) -> None:
        """Drop the time of a file that is gone."""
        with begin(self._connect()) as connection:
            connection.execute("DELETE FROM last_use WHERE file = ?", (file,))
