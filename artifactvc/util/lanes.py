"""A few threads that wait for a network, so that who asked can be interrupted at any time.

The standard pool joins its threads when the interpreter ends: Ctrl-C would wait for the
slowest server. These are daemons, and end when nobody holds the ``Lanes`` any longer.
"""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, TypeVar

__all__ = ["Lanes", "ahead"]

T = TypeVar("T")


class Lanes:
    """Up to *count* threads, begun when there is work for them."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._begun = self._waiting = 0
        weakref.finalize(self, _end, self._queue, count)

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have *work* done; it must not wait for other work of the same lanes."""
        future: Future[T] = Future()
        with self._lock:
            self._waiting += 1
            if self._begun < min(self.count, self._waiting):
                self._begun += 1
                threading.Thread(target=_serve, args=(self._queue,), daemon=True, name="avc-lane").start()
        future.add_done_callback(self._one_less)
        self._queue.put((future, work))
        return future

    def _one_less(self, _: object) -> None:
        with self._lock:
            self._waiting -= 1

    def run(self, work: Callable[[], T]) -> T:
        """What *work* gives, done in a lane."""
        return self.submit(work).result()

    def each(self, works: Iterable[tuple[int, Callable[[], T]]], most: int) -> Iterator[T]:
        """What each of *works* gives, as they end.

        Each comes with its cost, and those under way cost *most* in all; one that costs more
        goes alone. The first error is raised, and what has not begun is dropped.
        """
        under_way: dict[Future[T], int] = {}
        try:
            for cost, work in works:
                while under_way and (sum(under_way.values()) + cost > most or len(under_way) >= 4 * self.count):
                    yield from _ended(under_way)
                under_way[self.submit(work)] = cost
            while under_way:
                yield from _ended(under_way)
        finally:
            for future in under_way:
                future.cancel()

    def all(self, works: Iterable[Callable[[], T]]) -> list[T]:
        """What *works* give, in their order; the first error is raised, and what has not begun is dropped."""
        futures = [self.submit(work) for work in works]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, each drawn in a thread of its own while the one before is at work; few of them, and large."""
    lane = Lanes(1)
    nothing = object()
    future = lane.submit(lambda: next(items, nothing))
    while (item := future.result()) is not nothing:
        future = lane.submit(lambda: next(items, nothing))
        yield item  # type: ignore[misc]


def _ended(under_way: dict[Future[T], int]) -> Iterator[T]:
    done, _ = wait(under_way, return_when=FIRST_COMPLETED)
    for future in done:
        del under_way[future]
        yield future.result()


def _serve(work: queue.SimpleQueue[Any]) -> None:
    while (item := work.get()) is not None:
        future, deed = item
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(deed())
            except BaseException as error:  # noqa: BLE001  it is raised where the result is asked for
                future.set_exception(error)
        del item, future, deed  # or the last result would be held until the next one


def _end(work: queue.SimpleQueue[Any], count: int) -> None:
    for _ in range(count):
        work.put(None)
