"""A power cut, worked out: which bytes and names are on the disk for sure.

SIGKILL keeps what was written, so it says nothing about ``fsync``. Here every ``os.fsync``
of this process is seen, and ``Disk`` knows what a disk that keeps nothing else would hold:
the bytes of a file as they were when it was synced, the names of a directory as they were
when it was synced. A second disk keeps all names, as some file systems do, but only bytes
that were synced: there a name without a sync shows an empty file.

The index is SQLite's, which syncs by itself; it is kept as it is, or not at all, since it
may be ahead of everything or gone.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

_INDEX = "index.sqlite"


class _Name(NamedTuple):
    """What a directory says of one name. *kind* is ``d``, ``f`` or ``l``."""

    kind: str
    inode: int


class Disk:
    """What is durable below *root*; all that is there now counts as durable."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._bytes: dict[int, bytes] = {}
        self._names: dict[int, dict[str, _Name]] = {}
        self._pinned: dict[int, int] = {}  # an open inode is not given to another file
        self._lock = threading.Lock()
        self._sync_all(root)

    def close(self) -> None:
        for fd in self._pinned.values():
            os.close(fd)
        self._pinned.clear()

    def _sync_all(self, path: Path) -> None:
        self.synced(os.fspath(path))
        if path.is_dir() and not path.is_symlink():
            for child in path.iterdir():
                if not child.is_symlink():
                    self._sync_all(child)

    def synced(self, path: str) -> None:
        """Note that the file or directory at *path* was synced just now."""
        with self._lock:
            inode = self._pin(path)
            if os.path.isdir(path):
                self._names[inode] = self._listing(path)
            else:
                with open(path, "rb") as file:
                    self._bytes[inode] = file.read()

    def _pin(self, path: str, *, follow: bool = True) -> int:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
        inode = os.fstat(fd).st_ino
        if inode in self._pinned:
            os.close(fd)
        else:
            self._pinned[inode] = fd
        return inode

    def _listing(self, path: str) -> dict[str, _Name]:
        found = {}
        for entry in os.scandir(path):
            with contextlib.suppress(FileNotFoundError):
                mode = entry.stat(follow_symlinks=False).st_mode
                kind = "d" if stat.S_ISDIR(mode) else "l" if stat.S_ISLNK(mode) else "f"
                found[entry.name] = _Name(kind, self._pin(f"{path}/{entry.name}", follow=False))
        return found

    def write_to(self, target: Path, *, all_names: bool, index: bool) -> None:
        """Make the directory *target* as this disk would be found after a power cut now."""
        with self._lock:
            self._write(self.root, os.stat(self.root).st_ino, target, all_names=all_names, index=index)

    def _write(self, source: Path | None, inode: int, target: Path, *, all_names: bool, index: bool) -> None:
        target.mkdir()
        there = source is not None and source.is_dir()
        names = self._listing(os.fspath(source)) if all_names and there else self._names.get(inode, {})
        if source is not None and there and index:
            for extra in source.glob(f"{_INDEX}*"):
                if not extra.name.endswith("-shm"):
                    (target / extra.name).write_bytes(extra.read_bytes())
        for name, (kind, child) in names.items():
            if name.startswith(_INDEX):
                continue
            if kind == "d":
                below = source / name if source is not None else None
                self._write(below, child, target / name, all_names=all_names, index=index)
            elif kind == "f":
                (target / name).write_bytes(self._bytes.get(child, b""))


class Cut(NamedTuple):
    """One moment at which the power may fail, and one of the disks that may then be found."""

    where: str
    all_names: bool
    index: bool


@contextlib.contextmanager
def power_cuts(
    monkeypatch: pytest.MonkeyPatch,
    disk: Disk,
    at: Callable[[Cut], None],
    *,
    forgets: Callable[[str], bool] = lambda path: False,
    index: Sequence[bool] = (True, False),
) -> Iterator[None]:
    """Call *at* before and after whatever reaches the disk below its root.

    Where *forgets* says so of a path, its ``fsync`` does nothing: the rule is taken out. *index*
    says whether disks with the index, and without it, are of interest.
    *at* is called on the main thread only, and sees nothing of what it does itself.
    """
    inside = threading.local()
    real = {name: getattr(os, name) for name in ("rename", "replace", "link")}
    root = os.fspath(disk.root) + "/"

    def cut(where: str, *, names_only: bool = False) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        inside.cut = True
        try:
            for all_names in (True,) if names_only else (True, False):
                for kept in index:
                    at(Cut(where, all_names, kept))
        finally:
            inside.cut = False

    def quiet() -> bool:
        return getattr(inside, "cut", False)

    def fsync(fd: Any) -> None:
        path = os.readlink(f"/proc/self/fd/{fd if isinstance(fd, int) else fd.fileno()}")
        if quiet() or not (path + "/").startswith(root):
            return  # real syncs only cost time: nobody cuts the power of this machine
        shown = path.removeprefix(root)
        cut(f"before the sync of {shown}", names_only=True)
        if not forgets(path):
            disk.synced(path)
        cut(f"after the sync of {shown}")

    def watched(name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = real[name](*args, **kwargs)
            if not quiet() and os.fspath(args[1]).startswith(root):
                cut(f"after {name} {os.fspath(args[0]).removeprefix(root)}", names_only=True)
            return result

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        for name in real:
            patch.setattr(os, name, watched(name))
        yield
