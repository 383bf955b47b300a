"""What stands where a checkout wants to write: looked at once, hashed only where that decides something."""

from __future__ import annotations

import os
import stat as stat_module
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from artifactvc.core.model import Digest, Entry
from artifactvc.errors import UnreadableFile
from artifactvc.storage.loose import digest_of_link, hash_file
from artifactvc.storage.statcache import FileStat
from artifactvc.storage.store import Store
from artifactvc.storage.workspace import file_stat, kind_of
from artifactvc.util.text import escape


class Presence:
    """The files below *root* at or around the paths *wanted*; *known* are digests by stat.

    A link to an object of *store*, as ``checkout --link symlink`` makes it, is the plain file that it leads to.

    Only directories that a wanted path lies in are listed, and only wanted files are
    looked at, so the cost follows the version, not whatever else is there.
    """

    def __init__(
        self, root: Path, wanted: Iterable[str], known: Mapping[str, tuple[Sequence[int], Digest]], store: Store
    ) -> None:
        self._root, self._known, self._store = os.fspath(root), known, store
        self._stats: dict[str, FileStat | None] = {}
        self._digests: dict[str, Digest] = {}
        self._listed: dict[str, dict[str, bool]] = {}  # directory -> name -> whether it is a directory
        inner: set[str] = {""}
        for path in wanted:
            parent = path.rpartition("/")[0]
            while parent not in inner:
                inner.add(parent)
                parent = parent.rpartition("/")[0]
        for directory in sorted(inner):
            self._list(directory)

    def _list(self, directory: str) -> None:
        above, _, name = directory.rpartition("/")
        if directory and not self._listed.get(above, {}).get(name, False):
            return  # not there, or no directory
        try:
            with os.scandir(f"{self._root}/{directory}" if directory else self._root) as entries:
                self._listed[directory] = {e.name: e.is_dir(follow_symlinks=False) for e in entries}
        except PermissionError as error:
            raise UnreadableFile(
                f"cannot read the directory '{escape(directory or self._root)}'", hint="check its permissions"
            ) from error

    def _look(self, path: str) -> bool | None:
        """Whether *path* is a directory, or None where nothing stands there."""
        directory, _, name = path.rpartition("/")
        return self._listed.get(directory, {}).get(name)

    def exists(self, path: str) -> bool:
        """Whether anything stands at *path*."""
        return self._look(path) is not None

    def is_directory(self, path: str) -> bool:
        """Whether a directory stands at *path*."""
        return self._look(path) is True

    def is_file(self, path: str) -> bool:
        """Whether something that is no directory stands at *path*."""
        return self._look(path) is False

    def above_is_file(self, path: str) -> bool:
        """Whether *path*, or anything above it, is there and no directory."""
        while path:
            if self._look(path) is False:
                return True
            path = path.rpartition("/")[0]
        return False

    def empties(self, path: str, going: set[str]) -> bool:
        """Whether the directory at *path* holds nothing but files that are *going*."""
        for directory, names, files in os.walk(f"{self._root}/{path}"):
            inside = directory[len(self._root) + 1 :]
            links = [name for name in names if os.path.islink(f"{directory}/{name}")]
            if any(f"{inside}/{name}" not in going for name in (*files, *links)):
                return False
        return True

    def stat(self, path: str) -> FileStat | None:
        """What ``lstat`` says of *path*."""
        if path not in self._stats:
            try:
                self._stats[path] = file_stat(os.lstat(f"{self._root}/{path}"))
            except (FileNotFoundError, NotADirectoryError):
                self._stats[path] = None
        return self._stats[path]

    def _digest(self, path: str, stat: FileStat) -> Digest:
        recorded = self._known.get(path)
        if recorded is not None and tuple(recorded[0]) == tuple(stat):
            return recorded[1]
        if path not in self._digests:
            try:
                fd = os.open(f"{self._root}/{path}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError as error:
                raise UnreadableFile(
                    f"cannot read '{escape(path)}', which stands in the way: {error.strerror}",
                    hint="check its permissions",
                ) from error
            try:
                self._digests[path] = hash_file(fd)[0]
            finally:
                os.close(fd)
        return self._digests[path]

    def holds_bytes(self, path: str, entry: Entry) -> bool:
        """Whether a plain file with the bytes of *entry* stands at *path*."""
        stat = self.stat(path)
        if stat is None or not entry.is_file:
            return False
        if self.was_linked(path, entry):
            return self._store.own_path(str(entry.digest)) is not None
        if not stat_module.S_ISREG(stat.mode) or stat.size != entry.size:
            return False
        return self._digest(path, stat) == entry.digest

    def was_linked(self, path: str, entry: Entry) -> bool:
        """Whether a link to the object of the plain file *entry* stands at *path*, be the object there or not."""
        stat = self.stat(path)
        if stat is None or entry.kind != "f" or not stat_module.S_ISLNK(stat.mode):
            return False
        return digest_of_link(self._store.objects_dir, os.readlink(f"{self._root}/{path}")) == entry.digest

    def holds(self, path: str, entry: Entry) -> bool:
        """Whether what stands at *path* is exactly *entry*."""
        stat = self.stat(path)
        if stat is None:
            return False
        if entry.kind == "l":
            return stat_module.S_ISLNK(stat.mode) and os.readlink(f"{self._root}/{path}") == entry.target
        return self.holds_bytes(path, entry) and (kind_of(stat.mode) == entry.kind or self.was_linked(path, entry))
