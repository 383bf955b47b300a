"""Looking at the workspace: what is there, and what differs from what was recorded.

``scan`` walks a directory with one ``scandir`` each and one ``stat`` a file, and compares
each directory with its row of the stat cache in one comparison of bytes. It reads no file.
"""

from __future__ import annotations

import os
import stat as stat_module
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Final

from artifactvc.core.manifest import check_path
from artifactvc.core.model import Digest
from artifactvc.core.nodes import check_target
from artifactvc.errors import HostilePath, OutsideWorkspace, UnreadableFile, UnsafeLink, UnsupportedFile
from artifactvc.storage.ignore import Asked
from artifactvc.storage.loose import digest_of_link
from artifactvc.storage.statcache import WIDTH, FileStat, Row, StatCache
from artifactvc.util.text import escape

#: Never taken, at any depth: other tools' and our own repositories.
_SKIPPED: Final = (".git", ".artifacts")

_STAT: Final = WIDTH * 8
_NONE: Final = bytes(32)
_UNSTATED: Final = (0, 0, 0, 0, stat_module.S_IFREG)
_name_of: Final = attrgetter("name")


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
    """One directory: *path* relative to the workspace, the files in it, and its row.

    *stats* holds five numbers (``FileStat``) for each of *names*, which are sorted. *linked*
    are links to objects of the store itself, as ``checkout --link symlink`` makes them: each
    counts as the plain file that it leads to, whose stat it has.
    """

    path: str
    names: tuple[str, ...]
    stats: array[int]
    row: Row | None
    same: bool  # names and stats are exactly those of the row, and every digest is known
    followed: set[str] = field(default_factory=set)
    linked: dict[str, Digest] = field(default_factory=dict)

    def stat(self, position: int) -> FileStat:
        """What ``lstat`` said (``stat`` for a followed link) of the name at *position*."""
        return FileStat(*self.stats[position * WIDTH : (position + 1) * WIDTH])

    def known(self) -> tuple[bytearray, list[int]]:
        """Digests, 32 bytes for each name, and the positions of those that are not known: new, or not as recorded."""
        count, row = len(self.names), self.row
        if row is None:
            return bytearray(32 * count), list(range(count))
        if self.same:
            return bytearray(row.digests), []
        now = self.stats.tobytes()
        if self.names == row.names:
            digests = bytearray(row.digests)
            unknown = list(_differing(now, row.stats, 0, count))
        else:
            at = {name: i for i, name in enumerate(row.names)}
            digests, unknown = bytearray(), []
            for position, name in enumerate(self.names):
                there = at.get(name)
                if there is None or _part(now, position) != _part(row.stats, there):
                    unknown.append(position)
                    digests += _NONE
                else:
                    digests += row.digests[there * 32 : there * 32 + 32]
        for position in unknown:
            digests[position * 32 : position * 32 + 32] = _NONE
        return digests, unknown

    def files(self) -> Iterator[tuple[str, FileStat, str | None]]:
        """Every file with its digest, or None where it must be read: new, or not as recorded."""
        digests, _ = self.known()
        for position, name in enumerate(self.names):
            key = digests[position * 32 : position * 32 + 32]
            yield name, self.stat(position), None if key == _NONE else key.hex()

    def changed(self) -> Iterator[tuple[str, FileStat]]:
        """Files that must be read."""
        yield from ((self.names[position], self.stat(position)) for position in self.known()[1])

    def vanished(self) -> list[str]:
        """Names that were recorded and are not there."""
        if self.same or self.row is None:
            return []
        there = set(self.names)
        return [name for name in self.row.names if name not in there]


def _differing(a: bytes, b: bytes, start: int, end: int) -> Iterator[int]:
    """Positions from *start* to *end* at which two arrays of stats disagree; equal stretches are passed in one step."""
    if end - start == 1:
        yield start
        return
    middle = (start + end) // 2
    for low, high in ((start, middle), (middle, end)):
        if low < high and a[low * _STAT : high * _STAT] != b[low * _STAT : high * _STAT]:
            yield from _differing(a, b, low, high)


def _part(stats: bytes, position: int) -> bytes:
    return stats[position * _STAT : (position + 1) * _STAT]


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
    ignore: Asked | None = None
    follow: bool = False
    exclude: frozenset[str] = frozenset()  # paths relative to the workspace that are never taken
    base: str = ""  # the directory that links may not leave; where the scan begins, if empty
    ignorable: bool = True  # whether there is an ``.avcignore`` that could name a file
    rows_tracked: bool = False  # whether every name in the stat cache's rows is known to be tracked
    unstated: bool = False  # files of directories without a row keep a stat of zeros: they will be read anyway
    objects: Path | None = None  # where the store's larger objects are: links to them count as files


def relative_path(workspace: Path, path: str, *, cwd: str | None = None) -> str:
    """*path* (from *cwd*) relative to *workspace*, ``.`` for itself; OutsideWorkspace."""
    absolute = os.path.normpath(os.path.join(cwd or os.getcwd(), path))
    base = os.path.realpath(workspace)
    if os.path.realpath(absolute) == base and not os.path.islink(absolute):
        return "."
    # Where it really is: a link on the way must not lead outside, nor give one file two names.
    parent, name = os.path.split(absolute)
    resolved = os.path.join(os.path.realpath(parent), name)
    if not resolved.startswith(base.rstrip("/") + "/"):
        raise OutsideWorkspace(escape(path), os.fspath(workspace))
    inside = resolved[len(base.rstrip("/")) + 1 :]
    try:
        inside.encode()
    except UnicodeEncodeError as error:
        raise UnsupportedFile(f"the name '{escape(inside)}' is not UTF-8", hint="rename it") from error
    if any(part in _SKIPPED for part in inside.split("/")):
        raise UnsupportedFile(f"'{escape(path)}' belongs to a repository, which is never taken")
    try:
        return check_path(inside)
    except HostilePath as error:
        raise UnsupportedFile(error.message, hint="rename it") from error


class _Scanner:
    def __init__(self, workspace: Path, start: str, cache: dict[str, Row], options: ScanOptions) -> None:
        self.workspace, self.options, self.rows = os.fspath(workspace), options, cache
        self.start = "" if start == "." else start
        self.found: list[DirScan] = []
        self.seen: set[str] = set()
        self.linked: dict[str, Digest] = {}  # of the directory that is looked at
        self.ignored = 0

    def run(self) -> Scan:
        above = frozenset[tuple[int, int]]()
        if self.options.follow:  # a link back to where the scan begins is a cycle, too
            stat = os.stat(f"{self.workspace}/{self.start}" if self.start else self.workspace)
            above = frozenset({(stat.st_dev, stat.st_ino)})
        queue = [(self.start, above)]
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
            raise UnreadableFile(
                f"cannot read the directory '{escape(path or '.')}': permission denied", hint="check its permissions"
            ) from error
        except FileNotFoundError:
            return []  # removed while we walked
        known = frozenset(row.names) if row and self.options.rows_tracked else frozenset()
        names: list[str] = []
        stats = array("q")
        below: list[str] = []
        links: list[str] = []
        unstated = self.options.unstated and row is None
        with iterator:
            entries = sorted(iterator, key=_name_of)
        for entry in entries:
            name = entry.name
            try:
                if unstated and entry.is_file(follow_symlinks=False):
                    if self._taken(path, name, stat_module.S_IFREG):
                        names.append(name)
                        stats.extend(_UNSTATED)
                elif entry.is_file(follow_symlinks=False) or not (
                    entry.is_dir(follow_symlinks=False) or entry.is_symlink()
                ):
                    s = entry.stat(follow_symlinks=False)
                    if name in known or self._taken(path, name, s.st_mode):
                        names.append(name)
                        stats.extend((s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_mode))
                elif entry.is_symlink():
                    links.append(name)
                elif name not in _SKIPPED:
                    below.append(name)
            except FileNotFoundError:
                continue  # removed while we looked
        followed: set[str] = set()
        self.linked = {}
        if links:
            found = {name: stats[i * WIDTH : (i + 1) * WIDTH] for i, name in enumerate(names)}
            for name in links:
                stat = self._link(path, name, name in known, below, followed)
                if stat is not None:
                    found[name] = array("q", stat)
            names = sorted(found)
            stats = array("q", [number for name in names for number in found[name]])
        self.seen.add(path)
        same = not followed and row is not None and tuple(names) == row.names and stats.tobytes() == row.stats
        names_seen = row.names if same and row else tuple(names)
        self.found.append(DirScan(path, names_seen, stats, row, same, followed, self.linked))
        return self._below(path, below, above)

    def _below(
        self, path: str, names: list[str], above: frozenset[tuple[int, int]]
    ) -> list[tuple[str, frozenset[tuple[int, int]]]]:
        out = []
        for name in sorted(names):
            full = f"{path}/{name}" if path else name
            if full in self.options.exclude:
                continue
            tracked = self.options.rows_tracked and full in self.rows
            if not tracked and not self._directory_taken(full):
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

    def _taken(self, path: str, name: str, mode: int) -> bool:
        """Whether a file that is not recorded is taken: not excluded, not ignored, of a kind that can be stored."""
        full = f"{path}/{name}" if path else name
        if full in self.options.exclude:
            return False
        ignore = self.options.ignore
        if ignore is not None and ignore.file(full) and not self.options.tracked(full):
            self.ignored += 1
            return False
        self._check_name(full)
        if not stat_module.S_ISREG(mode):
            kinds = {stat_module.S_IFSOCK: "a socket", stat_module.S_IFIFO: "a pipe"}
            kind = kinds.get(stat_module.S_IFMT(mode), "a device")
            raise UnsupportedFile(
                f"'{escape(full)}' is {kind}, which cannot be stored", hint=self._way_out("remove it")
            )
        return True

    def _check_name(self, full: str) -> None:
        try:
            full.encode()
        except UnicodeEncodeError as error:
            raise UnsupportedFile(
                f"the name '{escape(full)}' is not UTF-8",
                hint=self._way_out("rename it", "its directory"),
            ) from error
        try:
            check_path(full)
        except HostilePath as error:
            raise UnsupportedFile(error.message, hint=self._way_out("rename it")) from error

    def _way_out(self, first: str, what: str = "it") -> str:
        """What to do about a file that cannot be taken; outside a workspace there is no ``.avcignore``."""
        return f"{first}, or name {what} in .avcignore" if self.options.ignorable else first

    def _link(self, path: str, name: str, known: bool, below: list[str], followed: set[str]) -> FileStat | None:  # noqa: FBT001
        """What to record of a link, or None where it is not taken or leads to a directory."""
        full = f"{path}/{name}" if path else name
        absolute = f"{self.workspace}/{full}"
        if full in self.options.exclude:
            return None
        ignore = self.options.ignore
        if not known and ignore is not None and ignore.file(full) and not self.options.tracked(full):
            self.ignored += 1
            return None
        if not known:
            self._check_name(full)
        target = os.readlink(absolute)
        digest = digest_of_link(self.options.objects, target)
        if digest is not None:
            self.linked[name] = digest
            return _object_stat(absolute, full, digest)
        base = self.options.base or self.start
        inside = full[len(base) + 1 :] if base not in ("", ".") else full
        if not self.options.follow:
            try:
                check_target(inside, target)
            except HostilePath:
                raise UnsafeLink(
                    f"link '{escape(full)}' points out of the directory taken, at '{escape(target)}'",
                    hint=self._way_out("add with --follow to store what it points at"),
                ) from None
            return file_stat(os.lstat(absolute))
        try:
            there = os.stat(absolute)
        except OSError as error:
            raise UnsafeLink(f"link '{escape(full)}' points at nothing: '{escape(target)}'") from error
        if stat_module.S_ISDIR(there.st_mode):
            below.append(name)
            return None
        if not stat_module.S_ISREG(there.st_mode):
            raise UnsupportedFile(f"link '{escape(full)}' points at what is not a regular file")
        followed.add(name)
        return file_stat(there)


def _object_stat(absolute: str, path: str, digest: Digest) -> FileStat:
    """The stat of the object that the link at *path* leads to; UnsafeLink if the store has it no more."""
    try:
        return file_stat(os.stat(absolute))
    except OSError as error:
        raise UnsafeLink(
            f"link '{escape(path)}' points at object '{digest:.12}', which is not in the store any more",
            hint="check a version out again with --force, or remove the link",
        ) from error


def scan(workspace: Path, start: str, cache: StatCache | None, options: ScanOptions) -> Scan:
    """Look at directory *start* (relative to *workspace*, ``.`` for all of it) and everything below."""
    rows = cache.load("" if start == "." else start) if cache is not None else {}
    return _Scanner(workspace, start, rows, options).run()


def scan_name(workspace: Path, path: str, cache: StatCache, options: ScanOptions) -> Scan:
    """Look at one name inside a bound directory, asked for by itself: a file, a directory, or nothing any more.

    What is asked for by name is taken whatever ``.avcignore`` says.
    """
    directory, _, name = path.rpartition("/")
    row = cache.row(directory)
    at = row.names.index(name) if row is not None and name in row.names else -1
    known = Row((name,), _part(row.stats, at), row.digests[at * 32 : at * 32 + 32]) if row and at >= 0 else None
    try:
        stat = os.lstat(workspace / path)
    except (FileNotFoundError, NotADirectoryError):
        return Scan(path, [DirScan(directory, (), array("q"), known, False)], cache.load(path))
    scanner = _Scanner(workspace, directory, {}, replace(options, ignore=None))
    if stat_module.S_ISDIR(stat.st_mode):
        found = scan(workspace, path, cache, options)
        if known is not None:  # it was a file
            found.directories.append(DirScan(directory, (), array("q"), known, False))
        return found
    followed: set[str] = set()
    numbers: FileStat | None = file_stat(stat)
    if stat_module.S_ISLNK(stat.st_mode):
        numbers = scanner._link(directory, name, False, [], followed)
        if numbers is None:
            return scan(workspace, path, cache, options)  # followed to a directory
    else:
        scanner._taken(directory, name, stat.st_mode)
    stats = array("q", numbers or ())
    same = not followed and known is not None and known.stats == stats.tobytes()
    return Scan(path, [DirScan(directory, (name,), stats, known, same, followed, scanner.linked)], cache.load(path))


def scan_file(workspace: Path, path: str, cache: StatCache, *, follow: bool, objects: Path | None) -> DirScan:
    """Look at one file that is bound by itself; no name where it is not there."""
    directory, _, name = path.rpartition("/")
    row = cache.row(file_key(path))
    try:
        stat = os.lstat(workspace / path)
    except FileNotFoundError:
        return DirScan(directory, (), array("q"), row, False)
    followed: set[str] = set()
    digest = digest_of_link(objects, os.readlink(workspace / path)) if stat_module.S_ISLNK(stat.st_mode) else None
    if digest is not None:
        numbers = _object_stat(f"{workspace}/{path}", path, digest)
        stats = array("q", numbers)
        same = row is not None and row.names == (name,) and row.stats == stats.tobytes()
        return DirScan(directory, (name,), stats, row, same, followed, {name: digest})
    if stat_module.S_ISLNK(stat.st_mode):
        target = os.readlink(workspace / path)
        if not follow:
            raise UnsafeLink(
                f"link '{escape(path)}' points at '{escape(target)}', which is not taken with it",
                hint="add with --follow to store what it points at",
            )
        try:
            stat = os.stat(workspace / path)
        except OSError as error:
            raise UnsafeLink(f"link '{escape(path)}' points at nothing: '{escape(target)}'") from error
        followed.add(name)
    if not stat_module.S_ISREG(stat.st_mode):
        raise UnsupportedFile(
            f"'{escape(path)}' is not a regular file", hint="only files, links and directories are taken"
        )
    stats = array("q", file_stat(stat))
    same = not followed and row is not None and row.names == (name,) and row.stats == stats.tobytes()
    return DirScan(directory, (name,), stats, row, same, followed)


def file_key(path: str) -> str:
    """The stat cache's key of a file bound by itself; no directory has it."""
    return "/" + path
