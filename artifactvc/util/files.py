"""Files written whole, synced in order, locked, cloned: what every store stands on.

- ``write_atomic`` and ``create_once`` never show a name before its bytes are on disk.
- ``locked`` is ``flock``: released by the kernel when the process dies, shared or
  exclusive, never upgraded, close-on-exec (protocol L2).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat as stat_module
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from artifactvc.errors import AvcError, NoSpace, ReadOnly, StorageError

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


def storage_error(error: OSError, place: str | os.PathLike[str]) -> AvcError:
    """Return the error to show for *error*, met while writing at *place*."""
    if error.errno in _FULL:
        return NoSpace(os.fspath(place))
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return ReadOnly(f"cannot write '{os.fspath(place)}': {os.strerror(error.errno)}", hint="check its permissions")
    return StorageError(f"cannot write '{os.fspath(place)}': {error.strerror or error}")


_REFUSED: Final = (*_FULL, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


@contextlib.contextmanager
def writing(place: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what the disk refuses in the block (full, read-only, broken) into the StorageError that names *place*."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        raise storage_error(error, place) from error


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Make the names in directory *path* durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot sync a directory
            raise
    finally:
        os.close(fd)


def sync_file(path: str | os.PathLike[str]) -> None:
    """Make the bytes of *path* durable."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def follow_directory(path: str | os.PathLike[str], directory: str | os.PathLike[str]) -> None:
    """Let a file or directory of ours be its group's as *directory* is: a team's directory has a group that may write.

    The group may do what the owner may, and a directory below hands the group on. Where the
    directory is not its group's to write, nothing is changed.
    """
    above, own = os.stat(directory), os.stat(path)
    if not above.st_mode & stat_module.S_IWGRP:
        return
    with contextlib.suppress(PermissionError):  # it is somebody else's, who has done it
        if own.st_gid != above.st_gid:
            os.chown(path, -1, above.st_gid)
        wanted = own.st_mode | (own.st_mode & 0o700) >> 3
        if stat_module.S_ISDIR(own.st_mode):
            wanted |= above.st_mode & stat_module.S_ISGID
        if wanted != own.st_mode:
            os.chmod(path, stat_module.S_IMODE(wanted))


def make_directories(path: Path) -> None:
    """Create *path* and its missing parents, each durable in the one above it (protocol L1) and of its group."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):
            directory.mkdir()
            follow_directory(directory, directory.parent)
        sync_directory(directory.parent)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of *data*: one ``write`` may take less."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_new(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write *data* to a file that is not there yet, and sync it; remove it if that fails."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        write_all(fd, data)
        follow_directory(path, path.parent)
        os.fsync(fd)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise
    finally:
        os.close(fd)


def temporary(directory: Path, stem: str = "t") -> Path:
    """A path in *directory* that no other process uses."""
    return directory / f"{stem}-{secrets.token_hex(8)}"


def write_atomic(path: Path, data: bytes, *, via: Path | None = None, mode: int = 0o666) -> None:
    """Replace *path* by *data* in one step, durably; *via* is a directory on the same file system."""
    staged = temporary(via or path.parent, f".{path.name}")
    write_new(staged, data, mode=mode)
    try:
        os.replace(staged, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(staged)
        raise
    sync_directory(path.parent)


def create_once(path: Path, data: bytes, *, via: Path) -> bool:
    """Create *path* holding *data* unless it exists; say whether this call made it.

    The bytes are written and synced under another name first, then linked: ``link``
    fails if the name is taken, and never shows half a file (protocol L1, R1). Never
    ``O_EXCL`` and then write: a crash between the two would leave an empty entry.
    """
    staged = temporary(via, "new")
    write_new(staged, data)
    try:
        link_exclusive(staged, path)
    except FileExistsError:
        return False
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(staged)
    sync_directory(path.parent)
    return True


_NO_LINK: Final = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


def link_exclusive(source: Path, target: Path) -> None:
    """Give *source* the name *target*, or raise FileExistsError; *source* may be gone afterwards.

    Where there is no ``link``, ``renameat2(RENAME_NOREPLACE)`` (protocol L1).
    """
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        _rename_exclusive(source, target)


def _rename_exclusive(source: Path, target: Path) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    at_fdcwd, noreplace = -100, 1
    if not hasattr(libc, "renameat2"):
        raise StorageError(f"'{target.parent}' can neither link nor rename without overwriting")
    if libc.renameat2(at_fdcwd, os.fsencode(source), at_fdcwd, os.fsencode(target), noreplace) != 0:
        code = ctypes.get_errno()
        if code in (errno.EINVAL, errno.ENOSYS):
            raise StorageError(f"'{target.parent}' can neither link nor rename without overwriting")
        raise OSError(code, os.strerror(code), os.fspath(target))


@contextlib.contextmanager
def locked(path: Path, *, exclusive: bool, wait: bool = True) -> Iterator[None]:
    """Hold ``flock`` on *path* for the block; it is created if need be.

    With *wait* false, BlockingIOError if somebody holds it otherwise. A file that
    cannot be opened for writing (a read-only repository) is opened for reading.
    """
    there = path.exists()
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if not there:
            follow_directory(path, path.parent)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # nor can it be made
            raise storage_error(error, path) from error
    try:
        flags = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        with contextlib.suppress(NotImplementedError):
            fcntl.flock(fd, flags if wait else flags | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)
