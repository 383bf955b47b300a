"""A bound on bytes a second, shared by all threads of a process (``--bwlimit``)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["Rate"]


class Rate:
    """Lets *per_second* bytes pass in each second, on average; at most a second's worth is saved up.

    A caller takes what it is about to send or ask for, whole, and waits until what was
    taken before has had its time: so a part larger than a second's worth passes, too.
    """

    def __init__(
        self,
        per_second: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if per_second < 1:
            raise ValueError("a rate is at least one byte a second")
        self.per_second = per_second
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._free_at = clock() - 1.0

    def delay(self, count: int) -> float:
        """Take *count* bytes; seconds to wait before they may pass."""
        with self._lock:
            now = self._clock()
            begin = max(self._free_at, now - 1.0)
            self._free_at = begin + count / self.per_second
            return max(0.0, begin - now)

    def take(self, count: int) -> None:
        """Take *count* bytes, and wait until they may pass."""
        seconds = self.delay(count)
        if seconds > 0:
            self._sleep(seconds)
