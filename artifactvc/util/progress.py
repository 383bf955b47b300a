"""How an operation tells how far it is; the command line shows it, everybody else ignores it."""

from __future__ import annotations

import threading
from typing import Protocol

from artifactvc.util.threads import Stop


class Progress(Protocol):
    """One task at a time: ``start``, any number of ``advance``, ``finish``."""

    def start(self, what: str, *, total: int | None = None, unit: str = "files") -> None:
        """Begin *what*; *total* in *unit* (``files`` or ``bytes``) where it is known."""

    def advance(self, by: int) -> None:
        """*by* more units are done. Any thread may say so."""

    def finish(self) -> None:
        """The task is over."""


class NoProgress:
    """Says nothing."""

    def start(self, what: str, *, total: int | None = None, unit: str = "files") -> None:
        """Do nothing."""

    def advance(self, by: int) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""


class Tally:
    """What has moved of one file, told from any thread: what is sent or asked for again does not count twice.

    It doubles as the moment at which a job notices that it is not wanted any more, unless all of
    the file has moved: then it may as well end well.
    """

    def __init__(self, progress: Progress, size: int, stop: Stop) -> None:
        self._progress, self._left, self._stop = progress, size, stop
        self._lock = threading.Lock()

    def __call__(self, count: int) -> None:
        """*count* more bytes have moved. Raises Stopped."""
        with self._lock:
            step = min(count, self._left)
            self._left -= step
        if self._left:
            self._stop.check()
        self._progress.advance(step)

    def complete(self) -> None:
        """All of it has moved, whatever was told."""
        with self._lock:
            step, self._left = self._left, 0
        self._progress.advance(step)
