"""Larger objects: one read-only file per object, named by its digest.

``.artifacts/objects/ab/cdef…`` holds the object whose digest begins ``abcdef``
(docs/format.md, "Objects"); smaller objects live in packs (``packs.py``).

- A name never appears before its bytes are on disk: they are written in ``tmp/``, synced
  and renamed, and the directories are synced after.
- Named bytes are never rewritten.
- Bytes enter by reflink where the file system can, else by ``copy_file_range`` while
  another thread hashes the same windows: reading and writing in Python costs four times
  the CPU of ``cp`` (design, section 4).
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from artifactvc.core.model import Digest, is_digest
from artifactvc.util.files import write_all
from artifactvc.util.hashing import StreamDigest

WINDOW: Final = 8 << 20
_FICLONE: Final = 0x40049409
_NO_CLONE: Final = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM, errno.EBADF)
_NO_RANGE: Final = (errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM, errno.EBADF)


def own_path(objects: Path, digest: Digest) -> Path:
    """Where the larger object *digest* is, or would be."""
    return objects / digest[:2] / digest[2:]


def digest_of_link(objects: Path | None, target: str) -> Digest | None:
    """The object whose own path in *objects* a link names as its *target*, or None; it may not be there any more."""
    above, _, rest = target.rpartition("/")
    directory, _, two = above.rpartition("/")
    if objects is None or len(two) != 2 or not is_digest(two + rest):
        return None
    known = os.fspath(objects)
    return two + rest if directory == known or os.path.realpath(directory) == os.path.realpath(known) else None


def clone(source: int, target: int) -> bool:
    """Let *target* share the bytes of *source* (a reflink); False where the file system cannot."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno not in _NO_CLONE:
            raise
        return False
    return True


def copy_range(source: int, target: int, start: int, count: int) -> int:
    """Copy up to *count* bytes at *start* from one file to the same place in another; the number copied."""
    try:
        return os.copy_file_range(source, target, count, start, start)
    except OSError as error:
        if error.errno not in _NO_RANGE:
            raise
    except AttributeError:  # macOS
        pass
    data = os.pread(source, min(count, WINDOW), start)
    done = 0
    while done < len(data):
        done += os.pwrite(target, data[done:], start + done)
    return len(data)


def copy_file(source: int, target: int, size: int) -> None:
    """Copy *size* bytes from one open file to another, by reflink where that is possible."""
    if clone(source, target):
        return
    done = 0
    while done < size:
        copied = copy_range(source, target, done, min(WINDOW * 16, size - done))
        if copied == 0:
            return  # the source became shorter: the caller compares digest or size
        done += copied


def hash_file(source: int, on_window: Callable[[int], None] | None = None) -> tuple[Digest, int]:
    """Digest and size of an open file, read in windows: a mapped file would count as resident."""
    hasher, buffer, at = StreamDigest(), bytearray(WINDOW), 0
    view = memoryview(buffer)
    while count := os.preadv(source, [view], at):
        hasher.update(view[:count])
        at += count
        if on_window is not None:
            on_window(count)
    return hasher.digest(), at


def store_copy(source: int, target: int, size: int) -> tuple[Digest, int]:
    """Copy *source* to *target* and return the digest and size of what *target* now holds.

    The digest is of the bytes copied: windows are hashed from the *copy* once they are in
    it, so that a source that changes meanwhile cannot give a name to other bytes.
    """
    if clone(source, target):
        return hash_file(target)
    copied = threading.Condition()
    state: dict[str, int | BaseException | None] = {"done": 0, "error": None, "end": 0, "stop": 0}

    def copy() -> None:
        done = 0
        try:
            while True:
                count = copy_range(source, target, done, WINDOW)
                if count == 0 or state["stop"]:
                    break
                done += count
                with copied:
                    state["done"] = done
                    copied.notify()
        except BaseException as error:  # noqa: BLE001  handed to the thread that waits, which raises it
            state["error"] = error
        with copied:
            state["end"] = 1
            copied.notify()

    thread = threading.Thread(target=copy, name="avc-copy")
    thread.start()
    try:
        digest, at = _hash_behind(target, copied, state)
    finally:
        state["stop"] = 1  # after an interruption the rest is not copied
        thread.join()
    if isinstance(state["error"], BaseException):
        raise state["error"]
    return digest, at


def _more(state: dict[str, int | BaseException | None], at: int) -> bool:
    return bool(state["end"]) or int(state["done"] or 0) > at  # type: ignore[arg-type]


def _hash_behind(
    target: int, copied: threading.Condition, state: dict[str, int | BaseException | None]
) -> tuple[Digest, int]:
    """Hash the copy as it grows, never past what is there."""
    hasher, buffer, at = StreamDigest(), bytearray(WINDOW), 0
    view = memoryview(buffer)
    while True:
        with copied:
            copied.wait_for(partial(_more, state, at))
            ready = int(state["done"] or 0)  # type: ignore[arg-type]
        if ready == at:
            return hasher.digest(), at
        while at < ready:
            count = os.preadv(target, [view[: min(WINDOW, ready - at)]], at)
            if count == 0:
                return hasher.digest(), at
            hasher.update(view[:count])
            at += count


def write_stream(target: int, data: bytes, hasher: StreamDigest) -> None:
    """Append *data* to *target* and to the digest."""
    hasher.update(data)
    write_all(target, data)
