"""``explore(seed)``: one schedule from beginning to end, and what went wrong in it.

python -m tests.model.explore 4711          one schedule again, told
python -m tests.model.explore 0 1000        many, with what they did
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections import Counter

from artifactvc.errors import AvcError
from tests.model.checks import check
from tests.model.players import Client, Collector
from tests.model.switches import without
from tests.model.world import CLONES, COLLECTORS, Template, World, modelled


@functools.cache
def template() -> Template:
    """What every schedule of this process begins with."""
    return Template()


def explore(seed: int) -> World:
    """Play the schedule that *seed* draws, and check it."""
    made = template()
    with made.copy() as place, modelled(seed):
        world = World(place, seed, made.contents)
        collectors = [Collector(world, name, grace) for name, grace in zip(COLLECTORS, ("0s", "40m"), strict=True)]
        world.play(*[Client(world, name) for name in CLONES], *collectors)
        try:
            check(world)
        except AvcError as error:
            world.fault("error", f"{type(error).__name__}: {error.message}")
        return world


def play(seeds: range) -> tuple[list[str], Counter[str]]:
    """Play *seeds*; what was bad, and what all of them did."""
    bad: list[str] = []
    met: Counter[str] = Counter()
    for seed in seeds:
        world = explore(seed)
        met.update(world.met)
        bad += [f"seed {seed}: {kind}: {what}" for kind, what in world.bad.items()]
    return bad, met


def main(seeds: range, rule: str | None = None) -> None:
    """Play *seeds*, without *rule* if one is given, and print what was bad, and what they did."""
    with without(rule) if rule else contextlib.nullcontext():
        bad, met = play(seeds)
    print("\n".join([f"{len(seeds)} schedules, {len(bad)} bad outcomes", *bad]))
    for name, count in sorted(met.items()):
        print(f"{count:8} {name}")


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    rules = [word for word in sys.argv[1:] if not word.isdigit()]
    main(range(numbers[0], [*numbers, numbers[0] + 1][1]), *rules)
