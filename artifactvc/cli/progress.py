"""How far a long command is, on a terminal; nothing in a pipe."""

from __future__ import annotations

import sys
import time

from artifactvc.util.progress import NoProgress, Progress
from artifactvc.util.text import format_duration, format_size

_EVERY = 0.1
_AFTER = 0.5  # what takes less shows nothing


def progress(*, quiet: bool) -> Progress:
    """A line on stderr where that is a terminal."""
    return NoProgress() if quiet or not sys.stderr.isatty() else _Line()


class _Line:
    """One line, rewritten in place: what, how much, rate, time left."""

    def __init__(self) -> None:
        self._what, self._unit = "", "files"
        self._total: int | None = None
        self._done, self._begun, self._shown = 0, 0.0, 0.0

    def start(self, what: str, *, total: int | None = None, unit: str = "files") -> None:
        """Begin *what*."""
        self._what, self._total, self._unit = what, total, unit
        self._done, self._begun, self._shown = 0, time.monotonic(), 0.0

    def advance(self, by: int) -> None:
        """*by* more are done."""
        self._done += by
        now = time.monotonic()
        if now - self._begun < _AFTER or now - self._shown < _EVERY:
            return
        self._shown = now
        sys.stderr.write(f"\r\x1b[K{self._text(now - self._begun)}")
        sys.stderr.flush()

    def _amount(self, count: float) -> str:
        return format_size(int(count)) if self._unit == "bytes" else f"{int(count):,}"

    def _text(self, seconds: float) -> str:
        rate = self._done / seconds
        parts = [f"{self._what} {self._amount(self._done)}"]
        if self._total:
            parts[0] += f" of {self._amount(self._total)} ({100 * self._done // self._total}%)"
        parts.append(f"{self._amount(rate)}/s")
        if self._total and rate > 0:
            parts.append(f"{format_duration(max(0, self._total - self._done) / rate)} left")
        return ", ".join(parts)

    def finish(self) -> None:
        """Take the line away."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
