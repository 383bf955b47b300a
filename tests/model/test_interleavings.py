"""Pushes, collections, kills, lost and late answers, interleaved at every call of the remote: nothing is lost.

`make soak` plays many more: its seed and count are printed. A seed that failed is played
again with ``python -m tests.model.explore SEED``.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.conftest import SEED
from tests.model.explore import explore

#: In `make test`; `make soak` plays ROUNDS times as many.
SCHEDULES = 60
LOTS = 2


@pytest.mark.parametrize("lot", range(LOTS))
def test_nothing_is_lost_however_they_interleave(lot: int, soak: int) -> None:
    """Every version that landed can be rebuilt, all clones agree, and no user sees what only a fault explains."""
    count = SCHEDULES * soak // LOTS
    first = SEED + lot * count
    met: Counter[str] = Counter()
    for seed in range(first, first + count):
        world = explore(seed)
        assert not world.bad, f"python -m tests.model.explore {seed}: {world.bad}"
        met.update(world.met)
    print(f"{count} interleavings, seeds {first} to {first + count - 1}: nothing lost; {dict(sorted(met.items()))}")
    for deed in ("push", "fetch", "gc", "restore", "killed", "push: RemoteUnavailable", "gc here"):
        assert met[deed] > count // 10, f"hardly any '{deed}': the schedules test little"
