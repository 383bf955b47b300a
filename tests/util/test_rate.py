"""A rate lets its bytes pass and no more, whoever takes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactvc.util.rate import Rate


class Clock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@given(st.integers(1, 10**9), st.lists(st.integers(0, 10**10), max_size=30))
def test_no_more_than_the_rate_passes(per_second, parts):
    """What passed before the last part fits the time that went by, and the second that may be saved up."""
    clock = Clock()
    rate = Rate(per_second, clock=clock, sleep=clock.sleep)
    for part in parts:
        rate.take(part)
    passed = sum(parts[:-1])
    assert passed <= per_second * (clock.now - 100.0 + 1.0) * (1 + 1e-6) + 1


def test_what_is_not_used_is_not_saved_up():
    """After a quiet hour one second's worth passes at once, not an hour's."""
    clock = Clock()
    rate = Rate(1000, clock=clock, sleep=clock.sleep)
    clock.now += 3600
    assert [rate.delay(1000), rate.delay(1000), rate.delay(1)] == [0.0, 0.0, 1.0]


def test_a_rate_is_at_least_one_byte():
    """Nothing would ever pass at less."""
    with pytest.raises(ValueError, match="at least one"):
        Rate(0)
