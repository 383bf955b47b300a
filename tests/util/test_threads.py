"""Jobs on threads: bounded, in the caller's hands, and ended by the first error."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactvc.util import threads
from artifactvc.util.threads import Stop, Stopped, in_threads


@given(count=st.integers(1, 5), values=st.lists(st.integers(), max_size=30))
def test_every_job_gives_its_result_once(count, values):
    jobs = ((lambda value=value: value) for value in values)
    assert sorted(in_threads(jobs, count, Stop())) == sorted(values)


@pytest.mark.parametrize(("count", "ahead"), [(1, 1), (3, 1), (3, 0)])
def test_what_is_held_follows_the_number_of_threads(count, ahead):
    """At most *count* jobs run, and *ahead* are drawn: the next waits until one has ended."""
    lock = threading.Lock()
    state = {"drawn": 0, "running": 0, "most": 0, "ended": 0, "ahead": 0}

    def job() -> None:
        with lock:
            state["running"] += 1
            state["most"] = max(state["most"], state["running"])
        with lock:
            state["running"] -= 1

    def jobs() -> Iterator[Callable[[], None]]:
        for _ in range(50):
            state["drawn"] += 1
            state["ahead"] = max(state["ahead"], state["drawn"] - state["ended"])
            yield job

    for _ in in_threads(jobs(), count, Stop(), ahead=ahead):
        state["ended"] += 1
    assert state["most"] <= count
    assert state["ahead"] <= count + ahead + 1, "what was drawn and has not been given back"


def test_jobs_are_drawn_and_results_given_in_the_callers_thread():
    here = threading.get_ident()
    drawn: list[int] = []

    def jobs() -> Iterator[Callable[[], int]]:
        for _ in range(5):
            drawn.append(threading.get_ident())
            yield threading.get_ident

    assert here not in set(in_threads(jobs(), 2, Stop()))
    assert set(drawn) == {here}


def test_the_first_error_ends_all():
    """Jobs at work notice at their next step, jobs that wait are never begun, and no thread is left."""
    stop, begun, stopped = Stop(), threading.Semaphore(0), []
    before = threading.active_count()

    def works() -> None:
        begun.release()
        try:
            while True:
                stop.check()
        except Stopped:
            stopped.append(1)
            raise

    def fails() -> None:
        begun.acquire()
        begun.acquire()
        raise ValueError("the first")

    def never() -> None:
        raise AssertionError("begun after the end")

    with pytest.raises(ValueError, match="the first"):
        list(in_threads([works, works, fails, never], 3, stop))
    assert len(stopped) == 2
    assert threading.active_count() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_happens_to_the_caller_ends_all(error):
    """Ctrl-C or an error in the caller, who closes the iterator."""
    stop, before = Stop(), threading.active_count()

    def works() -> None:
        while True:
            stop.check()

    with pytest.raises(error), contextlib.closing(in_threads([lambda: None, works, works], 2, stop)) as results:
        for _ in results:
            raise error
    with pytest.raises(Stopped):
        stop.check()
    assert threading.active_count() == before


def test_an_error_while_a_job_is_drawn_ends_all():
    stop = Stop()

    def jobs() -> Iterator[Callable[[], None]]:
        def works() -> None:
            while True:
                stop.check()

        yield works
        raise ValueError("cannot be packed")

    with pytest.raises(ValueError, match="cannot be packed"):
        list(in_threads(jobs(), 2, stop))


def test_a_job_that_hears_nothing_is_not_waited_for_long(monkeypatch):
    """A server that is silent does not keep a command from ending."""
    monkeypatch.setattr(threads, "PATIENCE", 0.05)
    silent, begun = threading.Event(), threading.Event()

    def waits() -> None:
        begun.set()
        silent.wait(60)

    def fails() -> None:
        begun.wait(60)
        raise ValueError

    with pytest.raises(ValueError):
        list(in_threads([waits, fails], 2, Stop()))
    assert not silent.is_set()
    assert [t for t in threading.enumerate() if t.name == "avc-transfer" and t.daemon]
    silent.set()
