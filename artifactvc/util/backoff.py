"""Pauses between tries, jittered so that those who failed together do not try again together (protocol R7)."""

from __future__ import annotations

import random
import time

__all__ = ["after_lost_race", "after_no_answer"]


def after_no_answer(attempt: int) -> None:
    """Wait before the try after *attempt* (0 is the first): 0.1 to 0.4 s, twice as long each time."""
    time.sleep(random.uniform(0.1, 0.4) * 2**attempt)


def after_lost_race(attempt: int) -> None:
    """Let others have their turn; nothing for the first tries, then up to 0.2 s: somebody got on, so it is short."""
    if attempt > 3:
        time.sleep(random.uniform(0, 0.02 * min(attempt, 10)))
