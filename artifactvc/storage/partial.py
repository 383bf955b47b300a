"""A larger object that comes in pieces, and goes on where it was cut.

``tmp/part-<digest>`` is the file, pieces at their places; ``tmp/part-<digest>.got`` says
which are there, a line ``<start> <length>`` each, written after the piece. A kill in between
costs that piece. What has come without a gap from the beginning is hashed, from the file, and
synced while the rest comes; yet only what is there to the end counts as durable: after a power
cut the digest tells, and then all of it comes anew. Two processes never write one file: it is locked, and who
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
from artifactvc.errors import DigestMismatch
from artifactvc.util.files import temporary, write_all, writing
from artifactvc.util.hashing import StreamDigest
from artifactvc.util.threads import Stopped

_LINE: Final = re.compile(rb"([0-9]{1,16}) ([0-9]{1,16})\n")

#: Bytes that are hashed at once, and between two times that the disk is told to begin with what it has.
_WINDOW: Final = 1 << 20
_SYNC: Final = 64 << 20

Piece = tuple[int, int]  # start, length


class _Open:
    """A file that stays open while somebody writes to it, whoever lets go of it meanwhile."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


def open_part(tmp: Path, name: str) -> tuple[Path, int]:
    """``tmp/part-<name>`` and a descriptor that holds its lock; a file of our own if somebody else has it."""
    path = tmp / f"part-{name}"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except PermissionError:  # somebody else's, in a shared repository
        return own_part(tmp)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(fd), os.stat(path)):
            return path, fd
    except (BlockingIOError, FileNotFoundError):
        pass  # somebody has it, or has just finished it
    os.close(fd)
    return own_part(tmp)


def own_part(tmp: Path) -> tuple[Path, int]:
    """A file that nobody goes on with."""
    path = temporary(tmp, "part")
    return path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)


class Partial:
    """One such file of *size* bytes. Any thread may ``write``; the others are for who made it."""

    def __init__(self, tmp: Path, digest: Digest, size: int) -> None:
        self._tmp, self.size, self._digest = tmp, size, digest
        self._lock, self._hashing = threading.Lock(), threading.Lock()
        with writing(tmp):
            self.path, fd = open_part(tmp, digest)
            self._file: _Open | None = _Open(fd)
            self._got = self.path.with_name(f"{self.path.name}.got")
            self._notes = os.open(self._got, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            os.ftruncate(fd, size)
        self._pieces = _joined(self._read())
        self.continued = bool(self._pieces)
        self._begin()

    def _begin(self) -> None:
        self._left = self.size - sum(length for _, length in self._pieces)
        self._ends = {start: start + length for start, length in self._pieces}  # of what is not hashed yet
        self._hasher, self._hashed, self._synced = StreamDigest(), 0, 0

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

    def write(self, start: int, data: bytes | memoryview) -> bool:
        """Put a piece that was missing in its place; whether it was the last. Raises Stopped once closed."""
        file = self._held()
        with writing(self._tmp):
            view, at = memoryview(data), start
            while view:
                count = os.pwrite(file.fd, view, at)
                view, at = view[count:], at + count
            with self._lock:
                if self._file is not file:
                    raise Stopped
                write_all(self._notes, b"%d %d\n" % (start, len(data)))
                self._ends[start] = at
                self._left -= len(data)
                last = self._left == 0
            if self._hashing.acquire(blocking=False):  # else somebody is at it, and goes on with this piece
                self._hash_on(file)
        return last

    def _held(self) -> _Open:
        with self._lock:
            if self._file is None:
                raise Stopped
            return self._file

    def _hash_on(self, file: _Open) -> None:
        """Hash what follows what was hashed, as far as there is no gap; the caller has taken the lock for it."""
        try:
            view = memoryview(bytearray(_WINDOW))
            while True:
                with self._lock:
                    end = self._ends.pop(self._hashed, 0)
                if not end:
                    return
                while self._hashed < end:
                    count = os.preadv(file.fd, [view[: end - self._hashed]], self._hashed)
                    if not count:  # cut by somebody else: the digest will not fit
                        return
                    self._hasher.update(view[:count])
                    self._hashed += count
                if self._hashed - self._synced >= _SYNC:
                    os.fdatasync(file.fd)
                    self._synced = self._hashed
        finally:
            self._hashing.release()

    def check(self, where: str) -> None:
        """Hash the rest and make the bytes durable, once all are there; DigestMismatch if they are not the object."""
        file = self._held()
        with writing(self._tmp):
            self._hashing.acquire()
            self._hash_on(file)
            if (actual := self._hasher.digest()) != self._digest:
                raise DigestMismatch(self._digest, actual, where)
            os.fsync(file.fd)

    def begin_anew(self) -> None:
        """Forget what came: it was not what it should be."""
        with self._lock, writing(self._tmp):
            os.ftruncate(self._notes, 0)
            self._pieces, self.continued = [], False
            self._begin()

    def close(self, *, keep: bool) -> None:
        """Let go of the file; without *keep* it goes, if it is still there under this name (it may be an object)."""
        with self._lock:
            if self._file is None:
                return
            if not keep:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._got)
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(self._file.fd), os.stat(self.path)):
                        os.unlink(self.path)
            os.close(self._notes)
            self._file = None


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Pieces in order, those that touch or overlap as one."""
    found: list[Piece] = []
    for start, length in sorted(pieces):
        if found and start <= found[-1][0] + found[-1][1]:
            first = found.pop()
            start, length = first[0], max(first[0] + first[1], start + length) - first[0]
        found.append((start, length))
    return found
