"""Putting the files of a version into a directory: whole, and never outside it.

- Every component below the destination is opened without following links, so a link that
  somebody puts there cannot lead a file elsewhere (protocol H1).
- A new file is created in place with ``O_EXCL``; a file that replaces another is written
  beside it and renamed. What a kill leaves is named in a journal beforehand (``Journal``),
  and taken away by the next command.
- Bytes are checked where they are read: from packs always, from larger objects by the
  trust rule (``Store.own_path``).
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from artifactvc.errors import UnsafeLink, WorkspaceError, WouldOverwrite
from artifactvc.storage.loose import copy_file
from artifactvc.util.files import write_all
from artifactvc.util.text import escape

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN: Final = 128
TEMPORARY: Final = ".avc-"  # begins the names under which replacing files are written


class Placer:
    """Writes below *root*. *token* marks the temporary names of this checkout."""

    def __init__(self, root: Path, token: str) -> None:
        self.root, self.token = root, token
        self._fds: OrderedDict[str, int] = OrderedDict()
        self._serial = 0

    def close(self) -> None:
        """Close the directories."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()

    def directory(self, path: str, *, make: bool = True) -> int:
        """An open directory below the root, made with those above it where it is not there; links are refused."""
        fd = self._fds.get(path)
        if fd is not None:
            self._fds.move_to_end(path)
            return fd
        if not path:
            fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        else:
            parent, _, name = path.rpartition("/")
            above = self.directory(parent, make=make)
            fd = self._enter(above, name, path, make=make)
        while len(self._fds) >= _OPEN:
            os.close(self._fds.popitem(last=False)[1])
        self._fds[path] = fd
        return fd

    def _enter(self, above: int, name: str, path: str, *, make: bool) -> int:
        try:
            return os.open(name, _DIRECTORY, dir_fd=above)
        except FileNotFoundError:
            if not make:
                raise
        except NotADirectoryError as error:
            raise _in_the_way(path) from error
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise _in_the_way(path) from error
            raise
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=above)
        try:
            return os.open(name, _DIRECTORY, dir_fd=above)
        except (NotADirectoryError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            raise _in_the_way(path) from error

    # ---- one file --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _target(self, path: str, *, replace: bool, mode: int) -> Iterator[int]:
        """An open file for the bytes of *path*; its name is right when the block has ended."""
        parent, _, name = path.rpartition("/")
        directory = self.directory(parent)
        written = self._temporary() if replace else name
        try:
            fd = os.open(written, _NEW, mode, dir_fd=directory)
        except FileExistsError as error:
            raise _appeared(path) from error
        try:
            yield fd
            if replace:
                os.rename(written, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(written, dir_fd=directory)
            raise
        finally:
            os.close(fd)

    def _temporary(self) -> str:
        self._serial += 1
        return f"{TEMPORARY}{self.token}-{self._serial}"

    def write(
        self, path: str, data: bytes | memoryview, *, executable: bool, replace: bool, stat: bool
    ) -> os.stat_result | None:
        """Write one small file; with *stat*, what ``fstat`` says of it then."""
        parent, _, name = path.rpartition("/")
        directory = self._fds.get(parent)
        if directory is None:
            directory = self.directory(parent)
        written = self._temporary() if replace else name
        try:
            fd = os.open(written, _NEW, 0o777 if executable else 0o666, dir_fd=directory)
        except FileExistsError as error:
            raise _appeared(path) from error
        try:
            if os.write(fd, data) < len(data):
                os.lseek(fd, 0, os.SEEK_SET)
                write_all(fd, data)
            result = os.fstat(fd) if stat else None
            if replace:
                os.rename(written, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(written, dir_fd=directory)
            raise
        finally:
            os.close(fd)
        return result

    def forget(self) -> None:
        """After a fork: the parent's directories are the parent's, and so are its temporary names."""
        self.close()
        self.token = f"{self.token}-{os.getpid()}"

    def copy(self, path: str, source: Path, size: int, *, executable: bool, replace: bool) -> None:
        """Write one larger file by reflink, else by copying."""
        given = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            with self._target(path, replace=replace, mode=0o777 if executable else 0o666) as fd:
                copy_file(given, fd, size)
                if os.fstat(fd).st_size != size:
                    raise WorkspaceError(f"'{escape(path)}' could not be written whole", hint="run the command again")
        finally:
            os.close(given)

    def link(self, path: str, source: Path, *, hard: bool, replace: bool) -> bool:
        """Link one larger file into place, read-only; False where the file system cannot."""
        parent, _, name = path.rpartition("/")
        directory = self.directory(parent)
        temporary = self._temporary() if replace else name
        try:
            if hard:
                os.link(source, temporary, dst_dir_fd=directory, follow_symlinks=False)
            else:
                os.symlink(source, temporary, dir_fd=directory)
        except FileExistsError as error:
            raise _appeared(path) from error
        except OSError as error:
            if error.errno in (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK):
                return False
            raise
        if replace:
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        return True

    def symlink(self, path: str, target: str, *, replace: bool) -> None:
        """Make a link whose *target* was checked to stay inside."""
        parent, _, name = path.rpartition("/")
        directory = self.directory(parent)
        temporary = self._temporary() if replace else name
        try:
            os.symlink(target, temporary, dir_fd=directory)
        except FileExistsError as error:
            raise _appeared(path) from error
        if replace:
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)

    def chmod(self, path: str, *, executable: bool) -> None:
        """Set or clear the executable bits of a file whose content is right."""
        parent, _, name = path.rpartition("/")
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.directory(parent))
        try:
            mode = os.fstat(fd).st_mode & 0o777
            os.fchmod(fd, mode | ((mode & 0o444) >> 2) if executable else mode & ~0o111)
        finally:
            os.close(fd)

    def remove(self, path: str) -> None:
        """Remove a file, and the directories above it that are empty then."""
        parent, _, name = path.rpartition("/")
        try:
            os.unlink(name, dir_fd=self.directory(parent, make=False))
        except (FileNotFoundError, NotADirectoryError):
            return
        while parent:
            fd = self._fds.pop(parent, None)
            if fd is not None:
                os.close(fd)
            above, _, name = parent.rpartition("/")
            try:
                os.rmdir(name, dir_fd=self.directory(above, make=False))
            except OSError:
                return
            parent = above

    def clear(self, path: str) -> None:
        """Remove a directory that holds directories only; what is not empty is left, and ``write`` says so."""
        for directory, _, _ in os.walk(self.root / path, topdown=False):
            inside = os.path.relpath(directory, self.root)
            opened = self._fds.pop(inside, None)
            if opened is not None:
                os.close(opened)
            parent, _, name = inside.rpartition("/")
            try:
                os.rmdir(name, dir_fd=self.directory(parent, make=False))
            except OSError:
                return

    def lstat(self, path: str) -> os.stat_result | None:
        """What stands at *path*, no link followed on the way; None for nothing."""
        parent, _, name = path.rpartition("/")
        try:
            return os.stat(name, dir_fd=self.directory(parent, make=False), follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError, UnsafeLink):
            return None


def _in_the_way(path: str) -> UnsafeLink:
    return UnsafeLink(
        f"'{escape(path)}' is in the way: it is not a directory, and links are not followed",
        hint="move it away, then run the command again",
    )


def _appeared(path: str) -> WouldOverwrite:
    return WouldOverwrite(f"'{escape(path)}' has appeared meanwhile", hint="look at it, then run the command again")
