"""Whole operations of three clones and a collector, in any order that hypothesis draws; all is checked after each.

The checks play on copies, so that clones stay as far behind as they are.
"""

from __future__ import annotations

import contextlib
import random
import shutil

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.conftest import SOAK
from tests.model.checks import check
from tests.model.explore import template
from tests.model.players import Client
from tests.model.scheduler import Died
from tests.model.world import CLONES, COLLECTORS, World, modelled

WHO = st.sampled_from(CLONES)
DRAWN = st.integers(0, 9999)


class Fuse:
    """Instead of an actor: kills at the *count*-th call of the remote."""

    def __init__(self, count: int) -> None:
        self._count = count

    def pause(self) -> None:
        self._count -= 1
        if self._count == 0:
            raise Died


class Sharing(RuleBasedStateMachine):
    """Every version that landed can be rebuilt by a fresh clone, and clones that fetch agree."""

    @initialize(seed=DRAWN)
    def begin(self, seed: int) -> None:
        self._stack = contextlib.ExitStack()
        place = self._stack.enter_context(template().copy())
        self._stack.enter_context(modelled(seed))
        self.world = World(place, seed, template().contents)
        self.world.faulty = False

    def teardown(self) -> None:
        if hasattr(self, "_stack"):
            self._stack.close()

    def _client(self, who: str, drawn: int, killed_at: int = 0) -> Client:
        client = Client(self.world, who)
        client.rng = random.Random(drawn)
        fuse = Fuse(killed_at) if killed_at else None
        client.repository = self.world.open(who, fuse)  # type: ignore[arg-type]
        return client

    def _do(self, who: str, deed: str, drawn: int, killed_at: int = 0) -> None:
        self.world.scheduler.steps += 1
        client = self._client(who, drawn, killed_at)
        with client.repository, contextlib.suppress(Died):
            work = getattr(client, deed, None) or getattr(client.repository, deed)
            client.deed(deed, work)

    @rule(who=WHO, drawn=DRAWN)
    def commit(self, who: str, drawn: int) -> None:
        self._do(who, "commit", drawn)

    @rule(
        who=WHO,
        drawn=DRAWN,
        deed=st.sampled_from(["delete", "restore", "alias", "tag", "edit", "expire", "keep", "put_in", "finish"]),
    )
    def change(self, who: str, drawn: int, deed: str) -> None:
        self._do(who, deed, drawn)

    @rule(who=WHO, deed=st.sampled_from(["fetch", "pull"]))
    def read(self, who: str, deed: str) -> None:
        self._do(who, deed, 0)

    @rule(who=WHO, drawn=DRAWN)
    def push(self, who: str, drawn: int) -> None:
        self._do(who, "push", drawn)

    @rule(who=WHO, drawn=DRAWN, at=st.integers(1, 12))
    def push_and_be_killed(self, who: str, drawn: int, at: int) -> None:
        self._do(who, "push", drawn, at)

    @rule(who=WHO)
    def evict(self, who: str) -> None:
        client = self._client(who, 0)
        with client.repository as repository:
            client.deed("evict", lambda: repository.cache.cleanup(0))

    @rule(who=WHO)
    def collect_here(self, who: str) -> None:
        client = self._client(who, 0)
        with client.repository as repository:
            client.deed("gc here", lambda: repository.gc(grace="0s"))

    @rule(grace=st.sampled_from(["0s", "10m"]), at=st.integers(0, 15))
    def collect(self, grace: str, at: int) -> None:
        self.world.scheduler.steps += 1
        client = self._client(COLLECTORS[0], 0, at)
        with client.repository as repository, contextlib.suppress(Died):
            client.deed("gc", lambda: repository.gc_remote("origin", grace=grace))

    @invariant()
    def nothing_is_lost(self) -> None:
        """On a copy: all that the explorer checks at the end of a schedule."""
        if not hasattr(self, "world"):
            return
        world = self.world
        place = world.place.with_name(f"{world.place.name}-copy")
        shutil.copytree(world.place, place, symlinks=True)
        try:
            copy = World(place, world.seed, world.contents)
            copy.faulty = False
            copy.scheduler.steps = world.scheduler.steps
            for name in ("written", "removed", "landed", "commits"):
                getattr(copy, name).update(getattr(world, name))
            copy.fetches, copy.parts = list(world.fetches), set(world.parts)
            check(copy)
            assert not copy.bad | world.bad
        finally:
            shutil.rmtree(place)


TestSharing = Sharing.TestCase
TestSharing.settings = settings(max_examples=4 * SOAK, stateful_step_count=12)
