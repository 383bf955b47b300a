"""Jobs on a few threads, for work that waits for a network or a disk.

The caller's thread draws the jobs and is given their results: what belongs to it, such as a
connection to the index, stays with it. The first error ends all. For work that is mostly
Python there are processes (``pool.py``).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable
from queue import Empty, SimpleQueue
from typing import Final, TypeVar

__all__ = ["Stop", "Stopped", "in_threads"]

T = TypeVar("T")

#: How long a job that does not notice the end is waited for (seconds): it may wait for a server that is silent.
PATIENCE: Final = 3.0


class Stopped(Exception):
    """Raised in a job by ``Stop.check``: somebody else failed, or the user gave up."""


class Stop:
    """Tells the jobs of one task that their work is not wanted any more."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """From now on ``check`` raises."""
        self._event.set()

    def check(self) -> None:
        """Raise Stopped if it is time to end: jobs call this at each step."""
        if self._event.is_set():
            raise Stopped


def in_threads(jobs: Iterable[Callable[[], T]], count: int, stop: Stop, *, ahead: int = 1) -> Generator[T, None, None]:
    """What *jobs* return, in the order in which they end.

    At most *count* are at work and *ahead* are ready; the next is drawn, in the caller's thread,
    when one has ended: what is held follows these, not how many there are. The first error,
    of a job, of drawing one or of the caller (who closes this iterator), sets *stop*: jobs that
    were not begun are dropped, and those at work are waited for, for ``PATIENCE`` seconds.
    """
    ready: SimpleQueue[Callable[[], T] | None] = SimpleQueue()
    ended: SimpleQueue[tuple[T, None] | tuple[None, BaseException]] = SimpleQueue()
    threads: list[threading.Thread] = []

    def work() -> None:
        while (job := ready.get()) is not None:
            try:
                stop.check()
                ended.put((job(), None))
            except BaseException as error:  # noqa: BLE001  raised again in the caller's thread
                ended.put((None, error))

    def result() -> T:
        value, error = ended.get()
        if error is not None:
            raise error
        return value  # type: ignore[return-value]

    under_way = 0
    try:
        for job in jobs:
            ready.put(job)
            under_way += 1
            if len(threads) < min(count, under_way):
                # A daemon: one that waits for a silent server must not keep the process from ending.
                threads.append(threading.Thread(target=work, name="avc-transfer", daemon=True))
                threads[-1].start()
            while under_way >= count + ahead or not ended.empty():
                under_way -= 1
                yield result()
        while under_way:
            under_way -= 1
            yield result()
    except BaseException:
        stop.set()
        _drop(ready)
        raise
    finally:
        for _ in threads:
            ready.put(None)
        end = time.monotonic() + PATIENCE
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))


def _drop(ready: SimpleQueue[Callable[[], T] | None]) -> None:
    try:
        while True:
            ready.get_nowait()
    except Empty:
        return
