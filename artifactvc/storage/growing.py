"""Bytes of a reference that come from first to last, and go on where they were cut.

``tmp/part-<key>`` is the file; ``tmp/part-<key>.got`` says how much of it can be believed, a
line ``<length> <BLAKE3 of so many bytes>`` now and then, written after those bytes. Other than
of an object (``partial.py``) nothing may tell at the end whether the bytes are right, since an
ETag is no digest: so what is gone on with is hashed first, and what a power cut has spoilt
is dropped. A kill costs what came since the last line. Two processes never write one file:
who comes second has one of its own. What nobody goes on with is removed after a day
(``ops/recovery.py``).
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from pathlib import Path
from typing import Final

from artifactvc.core.model import Digest
from artifactvc.storage.loose import WINDOW
from artifactvc.storage.partial import open_part, own_part
from artifactvc.util.files import write_all, writing
from artifactvc.util.hashing import StreamDigest
from artifactvc.util.threads import Stopped

_LINE: Final = re.compile(rb"([0-9]{1,16}) ([0-9a-f]{64})\n")
#: A line is written after so many bytes.
_EACH: Final = 8 << 20


class Growing:
    """One such file; *key* names it (64 hex digits), None is one that nobody goes on with.

    One thread writes; ``close`` may be called from another.
    """

    def __init__(self, tmp: Path, key: str | None) -> None:
        self._tmp, self._lock = tmp, threading.Lock()
        self.size = self._noted = 0
        self._hasher = StreamDigest()
        with writing(tmp):
            self.path, self._fd = own_part(tmp) if key is None else open_part(tmp, key)
            self._got = self.path.with_name(f"{self.path.name}.got")
            self._notes = os.open(self._got, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            self._believe()
        self.continued = self.size > 0

    def _believe(self) -> None:
        """Take over what the last line speaks of, if the bytes are still those; else nothing."""
        lines = _LINE.findall(os.pread(self._notes, os.fstat(self._notes).st_size, 0))
        length, digest = (int(lines[-1][0]), lines[-1][1].decode()) if lines else (0, "")
        hasher, at = StreamDigest(), 0
        while at < length and (data := os.pread(self._fd, min(WINDOW, length - at), at)):
            hasher.update(data)
            at += len(data)
        if at == length and hasher.digest() == digest:
            self._hasher, self.size, self._noted = hasher, length, length
        else:
            os.ftruncate(self._notes, 0)
        os.ftruncate(self._fd, self.size)
        os.lseek(self._fd, self.size, os.SEEK_SET)

    def write(self, data: bytes) -> None:
        """Append a piece. Raises Stopped once closed."""
        with self._lock, writing(self._tmp):
            if self._fd < 0:  # given up: the number of the file may be another's by now
                raise Stopped
            write_all(self._fd, data)
            self._hasher.update(data)
            self.size += len(data)
            if self.size - self._noted >= _EACH:
                self._note()

    def _note(self) -> None:
        # A line that a kill has cut must not grow together with the next, so each begins one.
        write_all(self._notes, b"\n%d %s\n" % (self.size, self.digest().encode()))
        self._noted = self.size

    def digest(self) -> Digest:
        """Of all that came."""
        return self._hasher.digest()

    def begin_anew(self) -> None:
        """Forget what came: it was not what it should be."""
        with self._lock, writing(self._tmp):
            if self._fd < 0:
                raise Stopped
            os.ftruncate(self._notes, 0)
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)
            self._hasher, self.size, self._noted, self.continued = StreamDigest(), 0, 0, False

    def close(self, *, keep: bool) -> None:
        """Let go of the file; without *keep* it goes, if it is still there under this name (it may be an object)."""
        with self._lock:
            if self._fd < 0:
                return
            if keep and self.size > self._noted:
                with contextlib.suppress(OSError):  # the disk may be full: then less is gone on with
                    self._note()
            if not keep:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._got)
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(self._fd), os.stat(self.path)):
                        os.unlink(self.path)
            os.close(self._notes)
            os.close(self._fd)
            self._fd = -1
