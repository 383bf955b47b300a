"""Pushes, collections, kills, lost and late answers, interleaved at every call of the remote: nothing is lost.

`make soak` plays 10,000 or more, from a seed of its own. A seed that failed is played
again with ``python -m tests.model.explore SEED``.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.conftest import SEED
from tests.model.explore import play

#: In `make test`, and at least in `make soak`.
SCHEDULES, SOAKED = 200, 10_000
LOTS = 8
_AT_ONCE = 25


@pytest.mark.parametrize("lot", range(LOTS))
def test_nothing_is_lost_however_they_interleave(
    lot: int, soak: int, record_property: Callable[[str, object], None]
) -> None:
    """Every version that landed can be rebuilt, all clones agree, and no user sees what only a fault explains."""
    count = (SCHEDULES if soak == 1 else max(SOAKED, SCHEDULES * soak)) // LOTS
    first = SEED + lot * count
    lots = [range(start, min(start + _AT_ONCE, first + count)) for start in range(first, first + count, _AT_ONCE)]
    met: Counter[str] = Counter()
    bad: list[str] = []
    if soak == 1:
        played = map(play, lots)
    else:
        workers = ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn"))
        played = workers.map(play, lots)
    for found, done in played:
        bad += found
        met.update(done)
    record_property("told", f"{count} interleavings from seed {first}: {len(bad)} with a bad outcome")
    assert not bad, "python -m tests.model.explore SEED\n" + "\n".join(bad[:20])
    for deed in ("push", "fetch", "gc", "restore", "killed", "gc here", "evict", "finish", "gc rewritten_bytes"):
        assert met[deed] >= count // 10, f"hardly any '{deed}': the schedules test little"
    for said in ("push: OutcomeUnknown", "push: RemoteUnavailable", "gc: OutcomeUnknown", "restore: MissingObject"):
        assert met[said], f"never '{said}': the schedules test little"
