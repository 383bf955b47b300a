"""Pauses grow with the number of tries, and differ from one process to the next."""

from __future__ import annotations

import pytest

from artifactvc.util import backoff


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What would have been slept."""
    slept: list[float] = []
    monkeypatch.setattr("artifactvc.util.backoff.time.sleep", slept.append)
    return slept


def test_without_an_answer_the_pause_doubles(pauses):
    """Each is between 0.1 and 0.4 s times two to the power of the tries before, and not always the same."""
    for attempt in range(6):
        pauses.clear()
        for _ in range(50):
            backoff.after_no_answer(attempt)
        assert all(0.1 * 2**attempt <= pause <= 0.4 * 2**attempt for pause in pauses)
        assert len(set(pauses)) > 1


def test_after_a_lost_race_the_first_tries_come_at_once(pauses):
    """Then the pause is never longer than 0.2 s, however many were lost."""
    for attempt in range(4):
        backoff.after_lost_race(attempt)
    assert pauses == []
    for attempt in range(4, 60):
        backoff.after_lost_race(attempt)
    assert len(pauses) == 56
    assert max(pauses) <= 0.2
