"""Many small files into the store, by more than one process where that pays.

Reading 50,000 files is mostly Python and system calls of one core, so the work is shared
out to forked children: each reads every other directory, hashes, and fills packs of its
own, while the parent makes entries of what they report. A child writes only under
``tmp/``; names, rows and everything that lasts are the parent's. A child that dies, or a
parent that does, leaves temporary files and nothing else.
"""

from __future__ import annotations

import os
import stat as stat_module
from array import array
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from blake3 import blake3

from artifactvc.errors import UnreadableFile
from artifactvc.storage.packs import SMALL
from artifactvc.util.pool import Children, Send, workers
from artifactvc.util.text import escape

if TYPE_CHECKING:
    from artifactvc.storage.writer import StoreWriter

#: Below so many files the fork costs more than it saves.
FORK_FILES: Final = 1500
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_KIND: Final = 0o170000  # S_ISREG, compared here, since a call for each file is felt
_REGULAR: Final = stat_module.S_IFREG


class Batch(NamedTuple):
    """Files of one directory: its absolute path, and the names to read."""

    directory: str
    names: Sequence[str]


class BatchRead(NamedTuple):
    """What was read: for each name 32 bytes of digest, and size, mtime, ctime, inode, mode of the bytes read."""

    digests: bytes
    stats: array[int]


def put_batches(
    writer: StoreWriter, batches: Sequence[Batch], *, move: bool = False
) -> Generator[BatchRead, None, None]:
    """Store the files of *batches* and answer for each in order.

    Raises UnreadableFile, UnstableFile, UnsupportedFile as ``StoreWriter.put_file`` does.
    """
    count = min(workers(), len(batches))
    many = sum(len(batch.names) for batch in batches) >= FORK_FILES
    if move or count < 2 or not many or not writer.packing.expect_many():
        for batch in batches:
            yield _read(writer, batch, move=move)
        return
    yield from _forked(writer, batches, count)


def _read(writer: StoreWriter, batch: Batch, *, move: bool) -> BatchRead:
    digests, stats = bytearray(), array("q")
    try:
        directory = os.open(batch.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UnreadableFile(
            f"cannot read the directory '{escape(batch.directory)}': {error.strerror}", hint="check its permissions"
        ) from error
    try:
        for name in batch.names:
            key, s = _read_one(writer, batch.directory, directory, name, move=move)
            digests += key
            stats.extend((s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_mode))
    finally:
        os.close(directory)
    return BatchRead(bytes(digests), stats)


def _read_one(writer: StoreWriter, path: str, directory: int, name: str, *, move: bool) -> tuple[bytes, os.stat_result]:
    """The quick way for a small file that is as quiet as most are; anything else goes the careful way."""
    try:
        fd = os.open(name, _OPEN, dir_fd=directory)
    except OSError:
        fd = -1
    if fd >= 0:
        try:
            before = os.fstat(fd)
            size = before.st_size
            if size <= SMALL and before.st_mode & _KIND == _REGULAR:
                data = os.read(fd, size + 1)
                after = os.fstat(fd)
                if (
                    len(data) == size
                    and after.st_mtime_ns == before.st_mtime_ns
                    and after.st_ctime_ns == before.st_ctime_ns
                ):
                    key = blake3(data).digest()
                    writer.packing.add(key, data)
                    return key, before
        except OSError:
            pass  # met again, and named, on the careful way
        finally:
            os.close(fd)
    digest, stat = writer.put_file(f"{path}/{name}", move=move)
    return bytes.fromhex(digest), stat


def _forked(writer: StoreWriter, batches: Sequence[Batch], count: int) -> Generator[BatchRead, None, None]:
    def work(number: int, send: Send) -> None:
        writer.become_child()
        try:
            for batch in batches[number::count]:
                read = _read(writer, batch, move=False)
                send((read.digests, read.stats.tobytes()))
            send(writer.hand_over())
        except BaseException:
            writer.abort()
            raise

    try:
        with Children(count, work) as children:
            for position in range(len(batches)):
                digests, stats = children.report(position % count)
                numbers = array("q")
                numbers.frombytes(stats)
                yield BatchRead(digests, numbers)
            for number in range(count):
                writer.take_over(*children.report(number))
    except BaseException:
        writer.packing.clean_after_children()
        raise
