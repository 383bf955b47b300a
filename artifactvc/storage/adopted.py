"""The places that references recorded in this repository lead to: what its own user consented to (protocol H4).

``.artifacts/adopted`` has a line for each (docs/format.md). It is no part of the log, since a
log travels: what somebody else recorded is consented to by nobody here.
"""

from __future__ import annotations

import os
from pathlib import Path

from artifactvc.util.files import locked, sync_directory, write_all, writing


class Adopted:
    """The file at *path*, changed under the lock at *lock*."""

    def __init__(self, path: Path, lock: Path) -> None:
        self._path, self._lock = path, lock

    def places(self) -> frozenset[str]:
        """All of them, but for a last line that does not end: half of a place, left by a kill, is another place."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return frozenset()
        lines = data[: data.rfind(b"\n") + 1].decode(errors="replace").split("\n")
        return frozenset(line for line in lines if line)

    def add(self, place: str) -> None:
        """Have *place* among them, durably."""
        with writing(self._path), locked(self._lock, exclusive=True):
            there = self._path.exists()
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                end = os.pread(fd, os.fstat(fd).st_size, 0).rfind(b"\n") + 1
                os.ftruncate(fd, end)
                os.lseek(fd, end, os.SEEK_SET)
                write_all(fd, f"{place}\n".encode())
                os.fsync(fd)
            finally:
                os.close(fd)
            if not there:
                sync_directory(self._path.parent)
