"""The line that says how far a transfer is."""

from __future__ import annotations

import io
import threading

from hypothesis import given
from hypothesis import strategies as st

from artifactvc.cli.progress import Line
from artifactvc.util.progress import Tally
from artifactvc.util.threads import Stop

MIB = 1 << 20


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _shown(stream: io.StringIO) -> list[str]:
    return [text for text in stream.getvalue().split("\r\x1b[K") if text]


def test_the_line_says_how_much_how_fast_and_how_long():
    """Within one large file it moves steadily: each part tells amount, share, rate and time left."""
    stream, clock = io.StringIO(), _Clock()
    line = Line(stream, clock)
    line.start("Uploading", total=100 * MIB, unit="bytes")
    for _ in range(4):
        clock.now += 1
        line.advance(10 * MIB)
    assert _shown(stream) == [
        "Uploading 10.0 MiB of 100.0 MiB (10%), 10.0 MiB/s, 9.0 s left",
        "Uploading 20.0 MiB of 100.0 MiB (20%), 10.0 MiB/s, 8.0 s left",
        "Uploading 30.0 MiB of 100.0 MiB (30%), 10.0 MiB/s, 7.0 s left",
        "Uploading 40.0 MiB of 100.0 MiB (40%), 10.0 MiB/s, 6.0 s left",
    ]
    line.finish()
    assert stream.getvalue().endswith("\r\x1b[K"), "the line is taken away"


def test_the_rate_is_that_of_the_last_seconds():
    """What a network did long ago says nothing of the time left."""
    stream, clock = io.StringIO(), _Clock()
    line = Line(stream, clock)
    line.start("Downloading", total=1000 * MIB, unit="bytes")
    for _ in range(20):
        clock.now += 1
        line.advance(10 * MIB)
    for _ in range(20):
        clock.now += 1
        line.advance(MIB)
    assert _shown(stream)[-1] == "Downloading 220.0 MiB of 1000.0 MiB (22%), 1.0 MiB/s, 13 min 0 s left"


def test_what_is_quick_shows_nothing_at_all():
    stream, clock = io.StringIO(), _Clock()
    line = Line(stream, clock)
    line.start("Uploading", total=100, unit="bytes")
    clock.now += 0.4
    line.advance(100)
    line.finish()
    assert stream.getvalue() == ""


def test_many_threads_may_advance_one_line():
    """No step is lost, and no two lines are mixed."""
    stream, clock = io.StringIO(), _Clock()
    line = Line(stream, clock)
    line.start("Uploading", total=8000, unit="files")
    ready = threading.Barrier(8)

    def run() -> None:
        ready.wait()
        for _ in range(999):
            line.advance(1)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clock.now += 1
    line.advance(8)
    assert _shown(stream) == ["Uploading 8,000 of 8,000 (100%), 8,000/s, 0.0 s left"]


class _Sum:
    done = 0

    def advance(self, by: int) -> None:
        self.done += by

    def start(self, what: str, *, total: int | None = None, unit: str = "files") -> None: ...

    def finish(self) -> None: ...


@given(size=st.integers(0, 1000), told=st.lists(st.integers(0, 400)))
def test_what_is_sent_again_does_not_count_twice(size, told):
    """However often parts of a file are sent, it counts for its size: never past 100 %, and all of it at the end."""
    shown = _Sum()
    tally = Tally(shown, size, Stop())
    for count in told:
        tally(count)
        assert shown.done <= size
    assert shown.done == min(size, sum(told))
    tally.complete()
    assert shown.done == size
