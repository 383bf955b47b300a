"""The repository that Python code works with: opened once in a process, used by its threads in turn.

Found as the command line finds it: ``AVC_DIR``, else upwards from the working directory.
A process that was forked opens its own; a repository that was removed and made again, or
whose settings were changed by another program, is opened anew.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from artifactvc.errors import NoRepository
from artifactvc.ops.session import Session
from artifactvc.sdk.environment import variable
from artifactvc.sdk.repository import Repository
from artifactvc.storage import avcdir

Stamp = tuple[int, int, int]


class Opened:
    """One open repository. ``with opened.session() as session`` gives it to one thread at a time."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.stamp = _stamp(repository.avc_root)
        self._lock = threading.RLock()
        self._depth = 0

    @property
    def root(self) -> Path:
        """The ``.artifacts`` directory."""
        return self.repository.avc_root

    def close_if_idle(self) -> None:
        """Close it, unless a thread works with it now."""
        if self._lock.acquire(blocking=False):
            try:
                if self._depth == 0:
                    self.repository.close()
            finally:
                self._lock.release()

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """The session, caught up with what other processes did; what people should be told is told at the end."""
        with self._lock:
            session = self.repository.session
            if self._depth == 0:
                session.caught_up = False
                session.unreachable.clear()
            self._depth += 1
            try:
                yield session
            finally:
                self._depth -= 1
                if self._depth == 0:
                    for line in session.notices:
                        tell(line)
                    session.notices.clear()


#: Repositories that stay open; a program that opens more closes those that it asked longest ago.
_KEPT: Final = 8
_OPEN: dict[tuple[int, str], Opened] = {}
_OPENING = threading.RLock()


def _in_a_child() -> None:
    """After a fork: whoever was opening a repository is not in this process."""
    global _OPENING
    _OPENING = threading.RLock()


os.register_at_fork(after_in_child=_in_a_child)


def opened(*, create: bool = False, start: str | Path = ".", project: str | None = None) -> Opened:
    """The repository here; with *create* one is made in *start* where there is none, and that is said.

    *project* becomes the default of one that is made.
    """
    with _OPENING:
        try:
            root = _find(start)
        except NoRepository:
            if not create:
                raise
            repository, made = Repository.init(start, project=project)
            tell(f"made a repository at {made.path} (project {made.project})")
            return _remember(repository)
        held = _OPEN.get((os.getpid(), os.fspath(root)))
        if held is not None and held.stamp == _stamp(root):
            return held
        return _remember(Repository.open(start))


def at(root: Path) -> Opened:
    """The repository whose ``.artifacts`` directory is *root*, wherever the process is now."""
    with _OPENING:
        held = _OPEN.get((os.getpid(), os.fspath(root)))
        if held is not None and held.stamp == _stamp(root):
            return held
        return _remember(Repository.open_at(root))


def _remember(repository: Repository) -> Opened:
    found, here = Opened(repository), os.getpid()
    key = (here, os.fspath(repository.avc_root))
    before = _OPEN.pop(key, None)
    _OPEN[key] = found
    # What was opened before a fork is the parent's: it is not closed here.
    mine = [other for other in _OPEN if other[0] == here]
    for old in [before, *(_OPEN.pop(other) for other in mine[: max(0, len(mine) - _KEPT)])]:
        if old is not None:
            old.close_if_idle()
    return found


def _find(start: str | Path) -> Path:
    named = os.environ.get("AVC_DIR")
    if named:
        return Repository.named_root(named)
    return avcdir.find(Path(start))


def _stamp(root: Path) -> Stamp:
    try:
        stat = os.stat(root / "config.toml")
    except OSError:
        return 0, 0, 0
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


_told: set[str] = set()
#: Set by ``Settings(silent=True)``.
SILENT: list[bool] = []


def tell(text: str, *, once: bool = False) -> None:
    """Say something to the person at the terminal, on stderr; silent with ``AVC_SILENT``."""
    if SILENT or variable(os.environ, "SILENT") or (once and text in _told):
        return
    _told.add(text)
    with contextlib.suppress(OSError, ValueError):  # a closed stream is no reason to fail
        sys.stderr.write(f"avc: {text}\n")
