"""A remote in a directory: a disk, NFS, or any mount.

Files appear whole and durable: written under ``tmp/`` beside them, synced, given their
name, the directory synced (protocol L1). ``create`` is ``link()``, which fails if the name
is taken; where there is no ``link()``, a rename that does not overwrite (R1).
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

from artifactvc.errors import Corrupt, ReadOnly, RemoteMissing, RemoteRefused, RemoteUnavailable
from artifactvc.storage.loose import WINDOW, clone, copy_range
from artifactvc.storage.transport import Advance, Listing, RemoteOptions, Stored, check_name, is_name, no_advance
from artifactvc.util.files import create_once, make_directories, storage_error, sync_directory, temporary, write_all

T = TypeVar("T")

#: How often a directory that others remove is made again.
_TRIES: Final = 8


class DirectoryTransport(Listing):
    """The files below *root*, which is made when something is first written."""

    kind = "directory"
    means = "link"

    def __init__(self, root: Path, options: RemoteOptions) -> None:
        self.root, self.url = root, os.fspath(root)
        self.read_only = options.read_only
        self._tmp = root / "tmp"
        self._rate = options.rate

    def _path(self, name: str) -> Path:
        return self.root / check_name(name)

    @contextlib.contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if not self.root.is_dir():
                raise RemoteUnavailable(
                    f"the remote's directory '{self.url}' is not there", hint="is it mounted? check the address"
                ) from error
            raise RemoteMissing(f"'{name}' is not at '{self.url}'") from error
        except PermissionError as error:
            raise RemoteRefused(f"may not read '{name}' at '{self.url}'", hint="check the permissions there") from error
        except NotADirectoryError as error:
            raise RemoteUnavailable(f"'{self.url}' is not a directory", hint="check the address") from error
        except OSError as error:
            raise RemoteUnavailable(
                f"cannot read '{name}' at '{self.url}': {error.strerror}", hint="try again"
            ) from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        if self.read_only:
            raise ReadOnly(f"the remote '{self.url}' is read-only")
        try:
            yield
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM):
                raise RemoteRefused(f"may not write to '{self.url}'", hint="check the permissions there") from error
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.EIO, errno.ENOTCONN):
                raise RemoteUnavailable(
                    f"cannot write to '{self.url}': {error.strerror}", hint="is it mounted? check the address"
                ) from error
            raise storage_error(error, self.url) from error

    def _ready(self) -> None:
        """Make ``tmp/``; the directory above the remote must be there: a mount may be gone."""
        if not self.root.is_dir() and not self.root.parent.is_dir():
            raise RemoteUnavailable(
                f"the remote's directory '{self.url}' is not there, nor the one above it", hint="make it, or mount it"
            )
        if not self._tmp.is_dir():
            make_directories(self._tmp)

    def _in_its_directory(self, path: Path, deed: Callable[[], T]) -> T:
        """What *deed* returns, the directory of *path* made; again where somebody's ``remove`` takes that away."""
        for attempt in range(_TRIES):
            try:
                if not path.parent.is_dir():
                    make_directories(path.parent)
                return deed()
            except FileNotFoundError:
                if attempt + 1 == _TRIES:
                    raise
        raise AssertionError("unreachable")

    # ---- reading ---------------------------------------------------------------------------------

    def read(self, name: str, *, limit: int) -> bytes:
        """A whole file."""
        path = self._path(name)
        with self._reading(name), open(path, "rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise Corrupt(
                f"'{name}' at '{self.url}' is larger than {limit} bytes", hint="whoever may write there damaged it"
            )
        return data

    def read_many(self, names: Sequence[str], *, limit: int) -> list[bytes | None]:
        """Whole files, None for those that are not there."""
        found: list[bytes | None] = []
        for name in names:
            try:
                found.append(self.read(name, limit=limit))
            except RemoteMissing:
                found.append(None)
        return found

    def read_ranges(self, wanted: Sequence[tuple[str, int, int]]) -> Iterator[tuple[int, bytes]]:
        """Parts of files."""
        for position, (name, start, length) in enumerate(wanted):
            if self._rate is not None:
                self._rate.take(length)
            with self._reading(name):
                fd = os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC)
                try:
                    data = os.pread(fd, length, start)
                finally:
                    os.close(fd)
            if len(data) != length:
                raise Corrupt(f"'{name}' at '{self.url}' is cut short")
            yield position, data

    def download(self, name: str, target: Path, size: int, *, advance: Advance = no_advance) -> None:
        """Copy a file, by reflink where the file system can."""
        with self._reading(name):
            source = os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(source).st_size != size:
                raise Corrupt(f"'{name}' at '{self.url}' does not have the {size} bytes that the remote's index says")
            made = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
            try:
                self._copy(source, made, size, advance)
            finally:
                os.close(made)
        finally:
            os.close(source)

    # ---- writing ---------------------------------------------------------------------------------

    def upload(self, name: str, source: Path | bytes, *, advance: Advance = no_advance) -> None:
        """Store a file whole."""
        path = self._path(name)
        with self._writing():
            self._ready()
            staged = temporary(self._tmp, "up")
            fd = os.open(staged, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            try:
                if isinstance(source, bytes):
                    write_all(fd, source)
                else:
                    given = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
                    try:
                        self._copy(given, fd, os.fstat(given).st_size, advance)
                    finally:
                        os.close(given)
                os.fsync(fd)
                self._in_its_directory(path, lambda: os.rename(staged, path))
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(staged)
                raise
            finally:
                os.close(fd)
            sync_directory(path.parent)
        if isinstance(source, bytes):
            advance(len(source))

    def _copy(self, source: int, target: int, size: int, advance: Advance) -> None:
        """Copy a file, by reflink where the file system can and no rate is given, else in windows."""
        if self._rate is None and clone(source, target):
            advance(size)
            return
        done = 0
        while done < size:
            ask = min(WINDOW, size - done)
            if self._rate is not None:
                ask = min(ask, max(1, self._rate.per_second // 4))
                self._rate.take(ask)
            count = copy_range(source, target, done, ask)
            if count == 0:
                return  # the source became shorter: who reads it compares size or digest
            done += count
            advance(count)

    def create(self, name: str, data: bytes) -> bool:
        """Create a file unless it exists."""
        path = self._path(name)
        with self._writing():
            self._ready()
            return self._in_its_directory(path, lambda: create_once(path, data, via=self._tmp))

    def remove(self, name: str) -> None:
        """Remove a file, and its directory if that is now empty: who is about to write there makes it again."""
        with self._writing():
            path = self._path(name)
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                path.parent.rmdir()

    def list_files(self, prefix: str) -> list[Stored]:
        """All files below a directory; one that is removed meanwhile may be left out."""
        top = self._path(prefix)
        found: list[Stored] = []

        def refuse(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):
                raise error

        with self._reading(prefix):
            if not self.root.is_dir():
                raise FileNotFoundError(self.url)
            for directory, _, files in os.walk(top, onerror=refuse):
                below = os.path.relpath(directory, self.root).replace(os.sep, "/")
                for file in files:
                    name = f"{below}/{file}"
                    if is_name(name):
                        with contextlib.suppress(FileNotFoundError):
                            stat = os.lstat(f"{directory}/{file}")
                            found.append(Stored(name, stat.st_size, stat.st_mtime))
        return sorted(found)

    def drop_unfinished(self, before: float) -> int:
        """Remove what killed pushes left half-written under ``tmp/``."""
        if self.read_only:
            raise ReadOnly(f"the remote '{self.url}' is read-only")
        dropped = 0
        with self._writing():
            for entry in os.scandir(self._tmp) if self._tmp.is_dir() else ():
                with contextlib.suppress(FileNotFoundError):
                    if entry.stat(follow_symlinks=False).st_mtime < before:
                        os.unlink(entry.path)
                        dropped += 1
        return dropped
