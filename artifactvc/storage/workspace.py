"""Looking at the workspace: what is there, and what differs from what was recorded.

``scan`` walks a directory with one ``scandir`` each and one ``stat`` a file, and compares
each directory with its row of the stat cache in one comparison of bytes. It reads no file.
"""

from __future__ import annotations

import os
import stat as stat_module
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from artifactvc.core.manifest import check_path
from artifactvc.core.nodes import check_target
from artifactvc.errors import HostilePath, OutsideWorkspace, UnknownPath, UnreadableFile, UnsafeLink, UnsupportedFile
from artifactvc.storage.ignore import Ignore
from artifactvc.storage.statcache import WIDTH, FileStat, Row, StatCache
from artifactvc.util.text import escape

#: Never taken, at any depth: other tools' and our own repositories.
_SKIPPED: Final = (".git", ".artifacts")

Item = tuple[str, FileStat]  # name, and what lstat says (what stat says of followed links)


def file_stat(stat: os.stat_result) -> FileStat:
    """What is compared of a file."""
    return FileStat(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_mode)


def kind_of(mode: int) -> str:
    """``f``, ``x`` or ``l``."""
    if stat_module.S_ISLNK(mode):
        return "l"
    return "x" if mode & 0o100 else "f"


@dataclass
class DirScan:
    """One directory: *path* relative to the workspace, the files in it, and its row."""

    path: str
    items: list[Item]
    row: Row | None
    same: bool  # names and stats are exactly those of the row, and every digest is known
    followed: set[str] = field(default_factory=set)

    def changed(self) -> Iterator[tuple[str, FileStat]]:
        """Files that must be read: new, or not as recorded."""
        if self.same:
            return
        known = {name: i for i, name in enumerate(self.row.names)} if self.row else {}
        for name, stat in self.items:
            at = known.get(name)
            if at is None or self.row is None or self.row.digest(at) is None or self.row.stat(at) != stat:
                yield name, stat

    def unchanged(self) -> Iterator[tuple[str, FileStat, str]]:
        """Files that are as recorded, with their digests."""
        if self.row is None:
            return
        known = {name: i for i, name in enumerate(self.row.names)}
        for name, stat in self.items:
            at = known.get(name)
            if at is not None:
                digest = self.row.digest(at)
                if digest is not None and (self.same or self.row.stat(at) == stat):
                    yield name, stat, digest

    def vanished(self) -> list[str]:
        """Names that were recorded and are not there."""
        if self.same or self.row is None:
            return []
        there = {name for name, _ in self.items}
        return [name for name in self.row.names if name not in there]


@dataclass
class Scan:
    """A directory of the workspace with all below it."""

    start: str
    directories: list[DirScan]
    gone: dict[str, Row]  # recorded directories that are not there any more
    ignored: int = 0


@dataclass(frozen=True)
class ScanOptions:
    """What a scan needs to know besides where to begin."""

    tracked: Callable[[str], bool]  # whether a path, relative to the workspace, is in draft or base
    ignore: Ignore | None = None
    follow: bool = False
    exclude: frozenset[str] = frozenset()  # paths relative to the workspace that are never taken


def relative_path(workspace: Path, path: str, *, cwd: str | None = None) -> str:
    """*path* (from *cwd*) relative to *workspace*, ``.`` for itself; OutsideWorkspace, UnknownPath."""
    absolute = os.path.normpath(os.path.join(cwd or os.getcwd(), path))
    root = os.fspath(workspace)
    parent, name = os.path.split(absolute)
    resolved = os.path.join(os.path.realpath(parent), name) if absolute != root else absolute
    for candidate, base in ((absolute, root), (resolved, os.path.realpath(root))):
        if candidate == base:
            return "."
        if candidate.startswith(base.rstrip("/") + "/"):
            inside = candidate[len(base.rstrip("/")) + 1 :]
            break
    else:
        raise OutsideWorkspace(escape(path), root)
    if not os.path.lexists(absolute):
        raise UnknownPath(f"no file or directory '{escape(path)}'")
    if any(part in _SKIPPED for part in inside.split("/")):
        raise UnsupportedFile(f"'{escape(path)}' belongs to a repository, which is never taken")
    return check_path(inside)


class _Scanner:
    def __init__(self, workspace: Path, start: str, cache: dict[str, Row], options: ScanOptions) -> None:
        self.workspace, self.options, self.rows = os.fspath(workspace), options, cache
        self.start = "" if start == "." else start
        self.found: list[DirScan] = []
        self.seen: set[str] = set()
        self.ignored = 0

    def run(self) -> Scan:
        queue = [(self.start, frozenset[tuple[int, int]]())]
        while queue:
            path, above = queue.pop()
            queue.extend(reversed(self._directory(path, above)))
        gone = {path: row for path, row in self.rows.items() if path not in self.seen}
        return Scan(self.start or ".", self.found, gone, self.ignored)

    def _directory(self, path: str, above: frozenset[tuple[int, int]]) -> list[tuple[str, frozenset[tuple[int, int]]]]:
        absolute = f"{self.workspace}/{path}" if path else self.workspace
        row = self.rows.get(path)
        try:
            iterator = os.scandir(absolute)
        except PermissionError as error:
            raise UnreadableFile(f"cannot read the directory '{escape(path)}': permission denied") from error
        except FileNotFoundError:
            return []  # removed while we walked
        known = frozenset(row.names) if row else frozenset()
        items: list[Item] = []
        below: list[str] = []
        links: list[str] = []
        followed: set[str] = set()
        with iterator:
            for entry in iterator:
                name = entry.name
                try:
                    if entry.is_dir(follow_symlinks=False):
                        if name not in _SKIPPED:
                            below.append(name)
                    elif entry.is_symlink():
                        links.append(name)
                    else:
                        s = entry.stat(follow_symlinks=False)
                        stat = FileStat(s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_mode)
                        if name in known or self._taken(path, name, stat):
                            items.append((name, stat))
                except FileNotFoundError:
                    continue
        for name in links:
            self._link(path, name, name in known, items, below, followed)
        items.sort()
        self.seen.add(path)
        scan = DirScan(path, items, row, False, followed)
        scan.same = not followed and _same(items, row)
        self.found.append(scan)
        return self._below(path, below, above)

    def _below(
        self, path: str, names: list[str], above: frozenset[tuple[int, int]]
    ) -> list[tuple[str, frozenset[tuple[int, int]]]]:
        out = []
        for name in sorted(names):
            full = f"{path}/{name}" if path else name
            if full in self.options.exclude:
                continue
            if full not in self.rows and not self._directory_taken(full):
                continue
            inside = above
            if self.options.follow:
                stat = os.stat(f"{self.workspace}/{full}")
                key = (stat.st_dev, stat.st_ino)
                if key in above:
                    continue  # a cycle of links ends here
                inside = above | {key}
            out.append((full, inside))
        return out

    def _directory_taken(self, full: str) -> bool:
        ignore = self.options.ignore
        if ignore is not None and ignore.directory(full) and not self.options.tracked(full + "/"):
            self.ignored += 1
            return False
        self._check_name(full)
        return True

    def _taken(self, path: str, name: str, stat: FileStat) -> bool:
        """Whether a file that is not recorded is taken: not excluded, not ignored, of a kind that can be stored."""
        full = f"{path}/{name}" if path else name
        if full in self.options.exclude:
            return False
        ignore = self.options.ignore
        if ignore is not None and ignore.file(full) and not self.options.tracked(full):
            self.ignored += 1
            return False
        self._check_name(full)
        if not stat_module.S_ISREG(stat.mode):
            kinds = {stat_module.S_IFSOCK: "a socket", stat_module.S_IFIFO: "a pipe"}
            kind = kinds.get(stat_module.S_IFMT(stat.mode), "a device")
            raise UnsupportedFile(
                f"'{escape(full)}' is {kind}, which cannot be stored", hint="remove it, or name it in .avcignore"
            )
        return True

    def _check_name(self, full: str) -> None:
        try:
            full.encode()
        except UnicodeEncodeError as error:
            raise UnsupportedFile(
                f"the name '{escape(full)}' is not UTF-8", hint="rename it, or name its directory in .avcignore"
            ) from error
        try:
            check_path(full)
        except HostilePath as error:
            raise UnsupportedFile(error.message, hint="rename it, or name it in .avcignore") from error

    def _link(
        self, path: str, name: str, known: bool, items: list[Item], below: list[str], followed: set[str]
    ) -> None:
        full = f"{path}/{name}" if path else name
        absolute = f"{self.workspace}/{full}"
        if full in self.options.exclude:
            return
        stat = file_stat(os.lstat(absolute))
        ignore = self.options.ignore
        if not known and ignore is not None and ignore.file(full) and not self.options.tracked(full):
            self.ignored += 1
            return
        if not known:
            self._check_name(full)
        target = os.readlink(absolute)
        inside = full[len(self.start) + 1 :] if self.start else full
        try:
            check_target(inside, target)
            items.append((name, stat))
            return
        except HostilePath:
            if not self.options.follow:
                raise UnsafeLink(
                    f"link '{escape(full)}' points out of the directory taken, at '{escape(target)}'",
                    hint="add with --follow to store what it points at, or name it in .avcignore",
                ) from None
        try:
            there = os.stat(absolute)
        except OSError as error:
            raise UnsafeLink(f"link '{escape(full)}' points at nothing: '{escape(target)}'") from error
        if stat_module.S_ISDIR(there.st_mode):
            below.append(name)
        else:
            items.append((name, file_stat(there)))
            followed.add(name)


def _same(items: list[Item], row: Row | None) -> bool:
    """Whether a directory is byte for byte as recorded; an unrecorded stat never equals one."""
    if row is None or len(items) != len(row.names):
        return False
    stats = array("q")
    for _, stat in items:
        stats.extend(stat)
    return stats.tobytes() == row.stats and tuple([name for name, _ in items]) == row.names


def scan(workspace: Path, start: str, cache: StatCache, options: ScanOptions) -> Scan:
    """Look at directory *start* (relative to *workspace*, ``.`` for all of it) and everything below."""
    return _Scanner(workspace, start, cache.load("" if start == "." else start), options).run()


def scan_file(workspace: Path, path: str, cache: StatCache, *, follow: bool) -> DirScan:
    """Look at one file; the result has that one item, and its row only as far as that name."""
    absolute = workspace / path
    directory, _, name = path.rpartition("/")
    try:
        stat = os.lstat(absolute)
    except FileNotFoundError:
        return DirScan(directory, [], _only(cache.row(directory), name), False)
    followed: set[str] = set()
    if stat_module.S_ISLNK(stat.st_mode):
        target = os.readlink(absolute)
        if not follow:
            raise UnsafeLink(
                f"link '{escape(path)}' points at '{escape(target)}', which is not taken with it",
                hint="add with --follow to store what it points at",
            )
        stat = os.stat(absolute)
        followed.add(name)
    if not stat_module.S_ISREG(stat.st_mode):
        raise UnsupportedFile(f"'{escape(path)}' is not a regular file")
    item = (name, file_stat(stat))
    row = _only(cache.row(directory), name)
    return DirScan(directory, [item], row, not followed and _same([item], row), followed)


def _only(row: Row | None, name: str) -> Row | None:
    if row is None or name not in row.names:
        return None
    at = row.names.index(name)
    return Row((name,), row.stats[at * WIDTH * 8 : (at + 1) * WIDTH * 8], row.digests[at * 32 : at * 32 + 32])
