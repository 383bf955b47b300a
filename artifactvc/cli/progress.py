"""How far a long command is, on a terminal; nothing in a pipe."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, TextIO

from artifactvc.util.progress import NoProgress, Progress
from artifactvc.util.text import format_duration, format_size

_EVERY: Final = 0.1
_AFTER: Final = 0.5  # what takes less shows nothing
_SPAN: Final = 10.0  # seconds that the rate is taken over


def progress(*, quiet: bool) -> Progress:
    """A line on stderr where that is a terminal."""
    return NoProgress() if quiet or not sys.stderr.isatty() else Line(sys.stderr)


class Line:
    """One line, rewritten in place: what, how much, rate, time left. Any thread may advance it.

    The rate is that of the last ten seconds, so that the time left follows what the network
    does now; it can only be told once something has come.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._lock = threading.Lock()
        self._what, self._unit = "", "files"
        self._total: int | None = None
        self._done, self._begun, self._shown = 0, 0.0, 0.0
        self._marks: deque[tuple[float, int]] = deque()  # (moment, done by then), the newest last

    def start(self, what: str, *, total: int | None = None, unit: str = "files") -> None:
        """Begin *what*."""
        with self._lock:
            self._what, self._total, self._unit = what, total, unit
            self._done, self._begun, self._shown = 0, self._clock(), 0.0
            self._marks = deque([(self._begun, 0)])

    def advance(self, by: int) -> None:
        """*by* more are done."""
        with self._lock:
            self._done += by
            now = self._clock()
            if now - self._begun < _AFTER or now - self._shown < _EVERY:
                return
            self._shown = now
            self._marks.append((now, self._done))
            while len(self._marks) > 2 and self._marks[1][0] < now - _SPAN:
                self._marks.popleft()
            self._stream.write(f"\r\x1b[K{self._text()}")
            self._stream.flush()

    def _amount(self, count: float) -> str:
        return format_size(int(count)) if self._unit == "bytes" else f"{int(count):,}"

    def _text(self) -> str:
        (first, before), (last, done) = self._marks[0], self._marks[-1]
        rate = (done - before) / (last - first)
        parts = [f"{self._what} {self._amount(self._done)}"]
        if self._total:
            part = min(100, 100 * self._done // self._total)
            parts[0] += f" of {self._amount(self._total)} ({part}%)"
        parts.append(f"{self._amount(rate)}/s")
        if self._total and rate > 0:
            parts.append(f"{format_duration(max(0, self._total - self._done) / rate)} left")
        return ", ".join(parts)

    def finish(self) -> None:
        """Take the line away."""
        with self._lock:
            if self._shown:
                self._shown = 0.0
                self._stream.write("\r\x1b[K")
                self._stream.flush()
