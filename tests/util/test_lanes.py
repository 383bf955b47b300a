"""Lanes do what they are given, a few at a time, and leave nothing waiting."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable

import pytest

from artifactvc.util.lanes import Lanes, ahead


def test_results_come_in_order_or_as_they_end():
    lanes = Lanes(3)
    assert lanes.run(lambda: 7) == 7
    assert lanes.all([lambda n=n: n * n for n in range(50)]) == [n * n for n in range(50)]
    assert sorted(lanes.each(((1, lambda n=n: n) for n in range(50)), 5)) == list(range(50))
    assert lanes.all([]) == []


def test_no_more_are_under_way_than_there_are_lanes():
    """Nor cost more together than was allowed; what costs more than that goes alone."""
    lock, now, seen = threading.Lock(), [0, 0], [0, 0]

    def work(cost: int) -> Callable[[], None]:
        def deed() -> None:
            with lock:
                now[0], now[1] = now[0] + 1, now[1] + cost
                seen[0], seen[1] = max(seen[0], now[0]), max(seen[1], now[1])
            time.sleep(0.001)
            with lock:
                now[0], now[1] = now[0] - 1, now[1] - cost

        return deed

    lanes = Lanes(4)
    lanes.all([work(1) for _ in range(60)])
    assert seen[0] <= 4
    seen[:] = [0, 0]
    list(lanes.each(((cost, work(cost)) for cost in [3, 3, 3, 50, 2, 2, 2, 9]), 9))
    assert seen == [seen[0], 50]
    seen[:] = [0, 0]
    list(lanes.each(((3, work(3)) for _ in range(30)), 9))
    assert seen[1] <= 9


def test_the_first_error_is_raised_and_the_rest_is_dropped():
    done: list[int] = []
    gate = threading.Event()

    def deed(number: int) -> None:
        if number == 2:
            raise KeyError("mine")
        if number == 3:
            gate.wait(60)  # at work when the error is raised: what comes after it has not begun
        done.append(number)

    for way in (
        lambda lanes: lanes.all([lambda n=n: deed(n) for n in range(1000)]),
        lambda lanes: list(lanes.each(((1, lambda n=n: deed(n)) for n in range(1000)), 4)),
    ):
        done.clear()
        gate.clear()
        lanes = Lanes(1)
        with pytest.raises(KeyError, match="mine"):
            way(lanes)
        gate.set()
        assert lanes.run(lambda: "still there") == "still there"
        assert done == [0, 1, 3]


def test_threads_end_when_nobody_holds_the_lanes():
    """A process that opens a thousand transports does not keep their threads."""
    before = set(threading.enumerate())
    lanes = Lanes(3)
    lanes.all([lambda: time.sleep(0.001) for _ in range(9)])
    mine = [thread for thread in threading.enumerate() if thread.name == "avc-lane" and thread not in before]
    assert mine
    assert all(thread.daemon for thread in mine)
    del lanes
    gc.collect()
    for thread in mine:
        thread.join(10)
        assert not thread.is_alive()


def test_items_are_drawn_ahead_in_order_and_an_error_comes_in_its_place():
    """Each item is drawn while the one before is at work; what fails is raised where it would have come."""
    drawn: list[int] = []

    def items():
        for number in range(3):
            drawn.append(number)
            yield number
        raise OSError("gone")

    got = []
    with pytest.raises(OSError, match="gone"):
        for number in ahead(items()):
            got.append(number)
    assert got == drawn == [0, 1, 2]
