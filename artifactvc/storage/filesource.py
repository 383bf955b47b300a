"""``file://``: files of this machine, or of a mount, that stay where they are. Their identity is their BLAKE3."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from io import FileIO
from itertools import islice
from typing import Final

from artifactvc.core.consent import FILE, Allowed
from artifactvc.core.references import BLAKE3, Address, Target
from artifactvc.errors import (
    ReferenceChanged,
    ReferenceMissing,
    ReferenceRefused,
    UnreadableFile,
    UnstableFile,
    UnsupportedFile,
)
from artifactvc.storage.loose import hash_file
from artifactvc.storage.transport import RemoteOptions
from artifactvc.util.text import escape

_PIECE: Final = 1 << 20
_READS: Final = 2  # of a file that changes while it is read


class FileSource:
    """The file system. Links to files are followed, links to directories are not."""

    def __init__(self, options: RemoteOptions) -> None:
        self._options = options

    def look(self, address: Address) -> Target | None:
        """The file at *address*, hashed; None if it is no file."""
        if not os.path.isfile(address.path):
            return None
        digest, size = _identity(address.path)
        return Target(address.uri, address.path.rpartition("/")[2], size, BLAKE3, digest)

    def list(self, address: Address, most: int | None = None) -> Iterator[Target]:
        """All files below a directory, each hashed when it is asked for; none where there are more than *most*."""
        if not os.path.isdir(address.path):
            raise ReferenceMissing(f"no file or directory '{escape(address.path)}'", hint="check the address")
        base = address.uri.rstrip("/")
        too_many = most is not None and sum(1 for _ in islice(_names(address.path, ""), most + 1)) > most
        for name in _names(address.path, ""):
            if too_many:
                yield Target(f"{base}/{name}", name, None)
                continue
            digest, size = _identity(f"{address.path.rstrip('/')}/{name}")
            yield Target(f"{base}/{name}", name, size, BLAKE3, digest)

    def check(self, target: Target) -> None:
        """Hold the file against the target: it has to be read for that."""
        with _opened(target) as file:
            _hold_size(target, file)
        if target.identity is not None:
            digest, _ = _identity(_path(target))
            if digest != target.identity:
                raise _changed(target, digest, target.identity)

    def read(self, target: Target, start: int = 0) -> Iterator[bytes]:
        """The bytes; whoever takes them checks their digest, since only the whole file has one."""
        with _opened(target) as file:
            if target.identity is None:
                self._stay_inside(target, file)
            _hold_size(target, file)
            file.seek(start)
            while data := file.read(_PIECE):
                yield data

    def _stay_inside(self, target: Target, file: FileIO) -> None:
        """Refuse what a link leads to out of what was allowed (protocol H4), where no digest says which file is meant.

        Who may write in a directory that is allowed could else name any file of whoever follows.
        """
        path = _path(target)
        real = os.path.realpath(path)
        held = [place.removeprefix(FILE) for place in self._options.named if Allowed([place]).names(FILE + path)]
        inside = real == path or Allowed(FILE + os.path.realpath(root) for root in held).names(FILE + real)
        if not inside or not os.path.samestat(os.fstat(file.fileno()), os.stat(real)):
            raise ReferenceRefused(
                f"'{escape(target.uri)}' is a link to '{escape(real)}', which nobody here allowed",
                hint=f"if that is meant, add {escape(FILE + real)} to the list of setting refs.allow",
            )


def _opened(target: Target) -> FileIO:
    """The file of *target*. Never waits, as for who would write to a pipe."""
    path = _path(target)
    try:
        return os.fdopen(_descriptor(path), "rb", buffering=0)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _missing(target) from error
    except OSError as error:
        raise UnreadableFile(f"cannot read '{escape(path)}': {error.strerror}") from error


def _descriptor(path: str) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise UnsupportedFile(f"'{escape(path)}' is no file", hint="refer to files and directories")


def _hold_size(target: Target, file: FileIO) -> None:
    size = os.fstat(file.fileno()).st_size
    if target.size is not None and size != target.size:
        raise _changed(target, f"{size:,} bytes", f"{target.size:,}")


def _path(target: Target) -> str:
    return target.uri.removeprefix("file://")


def _missing(target: Target) -> ReferenceMissing:
    return ReferenceMissing(f"'{escape(target.uri)}' is not there any more")


def _changed(target: Target, now: str, then: str) -> ReferenceChanged:
    return ReferenceChanged(f"'{escape(target.uri)}' has changed: it is {now:.20} now, and was {then:.20}")


def _names(directory: str, prefix: str) -> Iterator[str]:
    """The files below *directory* by path, in the order of UTF-8 bytes."""
    try:
        with os.scandir(directory) as found:
            entries = [(item.name + "/" * item.is_dir(follow_symlinks=False), item) for item in found]
    except OSError as error:
        raise UnreadableFile(f"cannot read '{escape(directory)}': {error.strerror}") from error
    for name, item in sorted(entries, key=lambda pair: os.fsencode(pair[0])):
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise UnsupportedFile(f"'{escape(item.path)}' has a name that is not UTF-8", hint="rename it") from error
        if name.endswith("/"):
            yield from _names(item.path, prefix + name)
        elif item.is_file():
            yield prefix + name
        elif not item.is_dir():  # a link to a directory is passed over; anything else cannot be referred to
            raise UnsupportedFile(f"'{escape(item.path)}' is no file", hint="refer to the directories beside it")


def _identity(path: str) -> tuple[str, int]:
    """Digest and size in bytes of a file that stands still meanwhile."""
    for _ in range(_READS):
        try:
            fd = _descriptor(path)
        except OSError as error:
            raise UnreadableFile(f"cannot read '{escape(path)}': {error.strerror}") from error
        try:
            before = os.fstat(fd)
            digest, size = hash_file(fd)
            after = os.fstat(fd)
        finally:
            os.close(fd)
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns) and size == after.st_size:
            return digest, size
    raise UnstableFile(escape(path))
