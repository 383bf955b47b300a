"""One schedule: clones, collectors and a remote, all with the real code, and what each of them does.

Objects are a few dozen bytes and shared by many versions, so that what one version needs
is always about to be collected, uploaded or relied on by somebody else. Time is a count
of turns: the storage's clock and everybody's own.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import shutil
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar
from unittest import mock

from artifactvc.core.model import EMPTY, Digest
from artifactvc.errors import (
    AvcError,
    Conflict,
    MissingObject,
    NotFound,
    OutcomeUnknown,
    RemoteUnavailable,
)
from artifactvc.ops import resolve
from artifactvc.ops.commit import CommitOptions, land
from artifactvc.ops.prepare import Prepared
from artifactvc.sdk.repository import Repository
from artifactvc.storage import remote as remote_module
from artifactvc.storage.directory import DirectoryTransport
from artifactvc.storage.drafts import Draft
from artifactvc.storage.transport import NO_LIMITS, Limits, RemoteOptions
from artifactvc.util import backoff, files
from tests.model.scheduler import Actor, Died, Scheduler
from tests.model.wire import Wire
from tests.support import ENVIRON, clone, new, origin

T = TypeVar("T")
OBJECTS = 7
CLONES = ("ann", "ben", "cid")
COLLECTORS = ("gc1", "gc2")
READER = "reader"
NAME = "data"

#: What an operation may say when others were faster, or the remote did not answer. All else is a fault.
EXPECTED = (Conflict, MissingObject, NotFound, OutcomeUnknown, RemoteUnavailable)


def content(number: int) -> bytes:
    """The bytes of one object."""
    return b"object %d " % number + bytes(range(number, number + 20))


def scratch_place() -> Path | None:
    """Where schedules are played: in memory, where there is such a place."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and os.access(memory, os.W_OK) else None


class Template:
    """A remote with one version, and everybody's clone of it: made once, copied for each schedule."""

    def __init__(self) -> None:
        self._scratch = tempfile.TemporaryDirectory(
            prefix="avc-model-", dir=scratch_place(), ignore_cleanup_errors=True
        )
        self.root = Path(self._scratch.name) / "template"
        self.places = 0
        self.root.mkdir()
        with new(self.root / "first") as first:
            origin(first, self.root / "remote")
            self.contents = {commit(first, {0, 1}, CommitOptions("the first", metadata={"n": 0})): frozenset({0, 1})}
            first.push()
        shutil.rmtree(self.root / "first")
        for name in (*CLONES, *COLLECTORS, READER):
            clone(self.root / "remote", self.root / name).close()

    @contextlib.contextmanager
    def copy(self) -> Iterator[Path]:
        """A copy of it all for one schedule."""
        self.places += 1
        place = Path(self._scratch.name) / f"s{self.places}"
        shutil.copytree(self.root, place, symlinks=True)
        try:
            yield place
        finally:
            shutil.rmtree(place)


def commit(repository: Repository, objects: set[int], options: CommitOptions, base: Digest = EMPTY) -> str:
    """A version of *objects* over those of *base*, whose bytes are not read; its digest."""
    session = repository.session
    prepared = Prepared(NAME, "dataset", base)
    for number in sorted(objects):
        prepared.add_bytes(session, content(number), f"o{number}", overwrite=True)

    def finish(draft: Draft) -> None:
        row = resolve.find_artifact(session, NAME)
        given = replace(draft, base=base if base != EMPTY else None, artifact=row["id"] if row else draft.artifact)
        land(session, given, options.checked())

    prepared.land(session, finish)
    return prepared.root(session).digest


class Made(NamedTuple):
    """A commit: the step in which it was done, and the objects whose bytes it stored here."""

    step: int
    stored: frozenset[Digest]


class World:
    """Everything in one schedule."""

    def __init__(self, place: Path, seed: int, contents: dict[Digest, frozenset[int]]) -> None:
        self.place, self.seed, self.faulty = place, seed, True
        self.rng = random.Random(seed)
        self.scheduler = Scheduler(self.rng)
        self.directory = DirectoryTransport(place / "remote", RemoteOptions())
        self.calls = 0
        self.late: list[Callable[[], object]] = []
        self.written: dict[str, float] = {}
        self.indexes: dict[str, bytes] = {}  # index files that were stored, for gc removes those that were replaced
        self.removed: dict[str, int] = {}  # stored files by the step in which they went
        self.landed: dict[str, int] = {}  # log entries by the step in which they landed
        self.contents = dict(contents)  # objects of every version that anybody made
        self.parts: set[str] = set()  # paths of versions that many build, whose writers were told that they are in
        self.bad: dict[str, str] = {}  # bad outcomes, each with what was seen first
        self.commits: dict[tuple[str, Digest], Made] = {}  # by clone and version: when, and what it stored itself
        self.fetches: list[tuple[str, int, int]] = []  # clone, first and last step of what has read the whole log
        self.met: Counter[str] = Counter()  # what operations did and said, so that nothing is tested in vain

    # ---- time and storage -----------------------------------------------------------------------------

    def seconds(self) -> float:
        """The storage's clock and everybody's: a minute a turn, since the epoch."""
        return 1_800_000_000.0 + 60.0 * self.scheduler.steps

    def clock(self) -> str:
        """The same as text."""
        import datetime

        moment = datetime.datetime.fromtimestamp(self.seconds(), datetime.UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def note_written(self, name: str, data: bytes) -> None:
        self.written[name] = self.seconds()
        if name.startswith("index/"):
            self.indexes[name.removeprefix("index/")] = data
        if name.startswith("log/"):
            self.landed[name] = self.scheduler.steps

    def note_removed(self, name: str) -> None:
        self.removed.setdefault(name, self.scheduler.steps)

    def land_late(self) -> None:
        """Some of the requests that were given up arrive."""
        for deed in list(self.late):
            if self.rng.random() < 0.15:
                self.late.remove(deed)
                deed()

    def fault(self, kind: str, what: str) -> None:
        """Note a bad outcome."""
        self.bad.setdefault(kind, what)

    # ---- repositories ----------------------------------------------------------------------------------

    def open(self, name: str, actor: Actor | None = None) -> Repository:
        """The repository of *name*, as its next command finds it."""
        _here.wire = Wire(self, actor)
        repository = Repository.open_at(self.place / name / ".artifacts", environ={**ENVIRON, "AVC_USER": name})
        repository.session.clock = self.clock
        return repository

    def play(self, *actors: Player) -> None:
        """Let *actors* do their work at once, to the end."""
        for player in actors:
            self.scheduler.add(player.name, player.work)
        self.scheduler.run(self.land_late)
        for actor in self.scheduler.actors:
            if actor.failure:
                self.fault("error", f"{actor.name}: {actor.failure}")
        self.faulty = False


_here = threading.local()


def playing() -> World:
    """The schedule that this thread takes part in."""
    world: World = _here.wire._world
    return world


def _transport_of(table: dict[str, object], limits: Limits = NO_LIMITS) -> Wire:
    wire: Wire = _here.wire
    return wire


def _pause(attempt: int) -> None:
    _here.wire._gate()


def _one_after_another(jobs: Iterable[Callable[[], T]], *_: object, **__: object) -> Iterator[T]:
    """What threads would do side by side: their order is nobody's to decide, and no seed could repeat it."""
    for job in jobs:
        yield job()


@contextlib.contextmanager
def modelled(seed: int) -> Iterator[None]:
    """The code under test with this module's remote, random names that *seed* gives, and nothing waited for."""
    rng = random.Random(f"names {seed}")

    def token(count: int = 16) -> str:
        return f"{rng.getrandbits(8 * count):0{2 * count}x}"

    with contextlib.ExitStack() as stack:
        for target, name, value in (
            (remote_module, "transport_of", _transport_of),
            (backoff, "after_no_answer", _pause),
            (backoff, "after_lost_race", _pause),
            (secrets, "token_hex", token),
            (secrets, "choice", rng.choice),
            (os, "fsync", lambda fd: None),
            (files, "sync_directory", lambda path: None),
        ):
            stack.enter_context(mock.patch.object(target, name, value))
        for module in [module for module in list(sys.modules.values()) if module.__name__.startswith("artifactvc.")]:
            if hasattr(module, "in_threads"):
                stack.enter_context(mock.patch.object(module, "in_threads", _one_after_another))
        yield


# ---- who does what ---------------------------------------------------------------------------------------


class Player:
    """One process after another in one repository; each may be killed."""

    rounds = 4

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.rng = random.Random(f"{world.seed} {name}")
        self.repository: Repository
        self.actor: Actor

    def work(self, actor: Actor) -> None:
        """All that this player does."""
        self.actor = actor
        for _ in range(self.rounds):
            self.repository = self.world.open(self.name, actor)
            try:
                self.round()
            except Died:
                if actor.quitting:
                    raise
                self.world.met["killed"] += 1
            finally:
                self.repository.close()

    def round(self) -> None:
        raise NotImplementedError

    @contextlib.contextmanager
    def mortal(self, probability: float) -> Iterator[None]:
        """Perhaps kill this process at one of the calls in the block."""
        self.actor.fuse = self.rng.randint(1, 16) if self.rng.random() < probability else 0
        try:
            yield
        finally:
            self.actor.fuse = 0

    def deed(self, name: str, work: Callable[[], object]) -> bool:
        """Do one operation, as a command of its own; whether it was done."""
        session = self.repository.session
        session.caught_up = False
        session.unreachable.clear()
        world, first = self.world, self.world.scheduler.steps
        try:
            work()
        except EXPECTED as error:
            world.met[f"{name}: {type(error).__name__}"] += 1
            return False
        except AvcError as error:
            world.fault("error", f"{self.name}, {name}: {type(error).__name__}: {error.message}")
            return False
        world.met[name] += 1
        if name in ("fetch", "push", "pull"):
            world.fetches.append((self.name, first, world.scheduler.steps))
        return True
