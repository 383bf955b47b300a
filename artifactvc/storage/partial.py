"""A larger object that comes in pieces, and goes on where it was cut.

``tmp/part-<digest>`` is the file, pieces at their places; ``tmp/part-<digest>.got`` says
which are there, a line ``<start> <length>`` each, written after the piece. A kill in between
costs that piece. Nothing is synced before all is there: after a power cut the digest tells,
and then all of it comes anew. Two processes never write one file: it is locked, and who
comes second has a file of its own. What nobody goes on with is removed after a day
(``ops/recovery.py``).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import threading
from pathlib import Path
from typing import Final

from artifactvc.core.model import Digest
from artifactvc.util.files import temporary, write_all, writing
from artifactvc.util.threads import Stopped

_LINE: Final = re.compile(rb"([0-9]{1,16}) ([0-9]{1,16})\n")

Piece = tuple[int, int]  # start, length


class Partial:
    """One such file of *size* bytes. Any thread may ``write``; the others are for who made it."""

    def __init__(self, tmp: Path, digest: Digest, size: int) -> None:
        self._tmp, self.size = tmp, size
        self._lock = threading.Lock()
        with writing(tmp):
            self.path, self._fd = self._open(tmp / f"part-{digest}")
            self._got = self.path.with_name(f"{self.path.name}.got")
            self._notes = os.open(self._got, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            os.ftruncate(self._fd, size)
        self._pieces = _joined(self._read())
        self.continued = bool(self._pieces)
        self._left = size - sum(length for _, length in self._pieces)

    def _open(self, path: Path) -> tuple[Path, int]:
        """The file, locked; one of our own name if somebody else has it."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except PermissionError:  # somebody else's, in a shared repository
            return self._of_our_own()
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                return path, fd
        except (BlockingIOError, FileNotFoundError):
            pass  # somebody has it, or has just finished it
        os.close(fd)
        return self._of_our_own()

    def _of_our_own(self) -> tuple[Path, int]:
        path = temporary(self._tmp, "part")
        return path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)

    def _read(self) -> list[Piece]:
        data = os.pread(self._notes, os.fstat(self._notes).st_size, 0)
        found = [(int(start), int(length)) for start, length in _LINE.findall(data)]
        whole = data.endswith(b"\n") or not data
        if not whole:  # cut by a kill: the next note must not grow together with it
            write_all(self._notes, b"\n")
        return [(start, length) for start, length in found if length > 0 and start + length <= self.size]

    def missing(self, most: int) -> list[Piece]:
        """What has not come yet, in pieces of at most *most* bytes."""
        found, at = [], 0
        for start, length in [*self._pieces, (self.size, 0)]:
            while at < start:
                found.append((at, min(most, start - at)))
                at += found[-1][1]
            at = max(at, start + length)
        return found

    @property
    def left(self) -> int:
        """Bytes that have not come yet."""
        return self._left

    def write(self, start: int, data: bytes) -> bool:
        """Put a piece that was missing in its place; whether it was the last. Raises Stopped once closed."""
        with self._lock, writing(self._tmp):
            if self._fd < 0:  # given up: the number of the file may be another's by now
                raise Stopped
            view, at = memoryview(data), start
            while view:
                count = os.pwrite(self._fd, view, at)
                view, at = view[count:], at + count
            write_all(self._notes, b"%d %d\n" % (start, len(data)))
            self._left -= len(data)
            return self._left == 0

    def begin_anew(self) -> None:
        """Forget what came: it was not what it should be."""
        with self._lock, writing(self._tmp):
            os.ftruncate(self._notes, 0)
            self._pieces, self._left, self.continued = [], self.size, False

    def close(self, *, keep: bool) -> None:
        """Let go of the file; without *keep* it goes, if it is still there under this name (it may be an object)."""
        with self._lock:
            if self._fd < 0:
                return
            if not keep:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._got)
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(self._fd), os.stat(self.path)):
                        os.unlink(self.path)
            os.close(self._notes)
            os.close(self._fd)
            self._fd = -1


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Pieces in order, those that touch or overlap as one."""
    found: list[Piece] = []
    for start, length in sorted(pieces):
        if found and start <= found[-1][0] + found[-1][1]:
            first = found.pop()
            start, length = first[0], max(first[0] + first[1], start + length) - first[0]
        found.append((start, length))
    return found
