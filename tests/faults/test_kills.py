"""Random ``kill -9`` during add, commit and push, with files that change: no committed version is lost or changed."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults.helpers import (
    Answer,
    Files,
    call,
    done,
    ended,
    fill,
    holds,
    made,
    read_files,
    some_files,
    sound,
    start,
    versions,
)

KILLS = 40
_NAMES = ("a", "b")


@dataclass
class _World:
    """One workspace with two artifacts and a remote, and what must be in it."""

    ws: Path
    remote: Path
    rng: random.Random
    kept: dict[str, dict[str, Files]] = field(default_factory=lambda: {name: {} for name in _NAMES})
    #: Seconds that a command took when nobody killed it: kills are spread over that.
    took: dict[str, float] = field(default_factory=dict)
    kills: dict[str, int] = field(default_factory=lambda: {"add": 0, "commit": 0, "push": 0})

    def change(self) -> None:
        """Change, add and remove some files of both artifacts."""
        rng = self.rng
        for name in _NAMES:
            files = read_files(self.ws / name)
            for path in rng.sample(sorted(files), min(2, len(files))):
                files[path] = rng.randbytes(rng.choice((0, 10, 5000, 200_000)))
            files[f"new{rng.randrange(6)}/{rng.randrange(3)}"] = rng.randbytes(300)
            if rng.random() < 0.5:
                del files[rng.choice(sorted(files))]
            fill(self.ws / name, files)

    def killed(self, *command: str) -> bool:
        """Start a command and kill it somewhere on its way; False if it was done before."""
        usual = self.took.get(command[0], 0.4)
        process = start(self.ws, *command)
        began = time.monotonic()
        # The first half of a command is the start of Python, in which nothing can be lost.
        time.sleep(usual * self.rng.uniform(0.35, 1.05))
        process.send_signal(signal.SIGKILL)
        answer = ended(process)
        if answer.code == -signal.SIGKILL:
            self.kills[command[0]] += 1
            return True
        assert answer.code == 0, answer
        self.took[command[0]] = (usual + time.monotonic() - began) / 2
        return False

    def timed(self, *command: str) -> None:
        began = time.monotonic()
        answer = ended(start(self.ws, *command))
        assert answer.code == 0, answer
        self.took[command[0]] = time.monotonic() - began

    def note(self) -> None:
        """After a commit: what is newest is what the workspace has; what was there before is as it was."""
        for name in _NAMES:
            found = [number.rstrip("~") for number in versions(self.ws, name)]
            before, now = self.kept[name], read_files(self.ws / name)
            new = [number for number in found if number not in before]
            assert len(new) <= 1, f"one commit made {new}"
            assert before.keys() <= set(found), f"lost: {sorted(before.keys() - set(found))}"
            for number in new:
                before[number] = now
            assert now in before.values()


def _again(ws: Path, *command: str) -> Answer:
    """What is there is sound, and the next try succeeds."""
    sound(ws)
    answer = call(ws, *command)
    assert answer.code == 0, f"the next try of {command}: {answer}"
    return answer


def _round(world: _World, victim: str) -> None:
    world.change()
    for command in ("add", "commit", "push"):
        if command == victim:
            world.killed(command)
            _again(world.ws, command)
        else:
            done(world.ws, command)
        if command == "commit":
            done(world.ws, "add")  # the commit that was killed may have been done already
            done(world.ws, "commit")
            world.note()
    sound(world.ws)


@pytest.mark.timeout(7200)
def test_kills_lose_nothing(tmp_path: Path, rng: random.Random, soak: int) -> None:
    """After 40 kills, spread over add, commit and push, every version has exactly its files, here and in a clone."""
    world = _World(made(tmp_path / "ws"), tmp_path / "remote", rng)
    for name in _NAMES:
        fill(world.ws / name, some_files(rng))
        done(world.ws, "add", world.ws / name)
    done(world.ws, "commit")
    world.note()
    done(world.ws, "remote", "add", "origin", world.remote)
    done(world.ws, "push")
    world.change()
    for command in ("add", "commit", "push"):
        world.timed(command)
        if command == "commit":
            world.note()
    victims: Sequence[str] = ("add", "commit", "push")
    rounds = 0
    while sum(world.kills.values()) < KILLS * soak:
        _round(world, victims[rounds % 3])
        rounds += 1
        assert rounds < 4 * KILLS * soak, f"too few kills found their command running: {world.kills}"
    assert min(world.kills.values()) >= KILLS * soak // 5, f"not spread: {world.kills}"
    clone = tmp_path / "clone"
    done(tmp_path, "clone", world.remote, clone)
    done(clone, "pull")
    for place in (world.ws, clone):
        sound(place)
        for name, kept in world.kept.items():
            assert list(versions(place, name)) == list(kept)
            for number, files in kept.items():
                holds(place, f"{name}:{number}", files)


def test_a_kill_at_the_very_start_leaves_nothing(tmp_path: Path, rng: random.Random) -> None:
    """A command killed before it has done anything leaves the repository as it was."""
    ws = made(tmp_path / "ws")
    files = some_files(rng)
    fill(ws / "d", files)
    for pause in (0.0, 0.02, 0.05):
        process = start(ws, "add", "d")
        time.sleep(pause)
        process.kill()
        ended(process)
        sound(ws)
    done(ws, "add", ws / "d")
    done(ws, "commit")
    holds(ws, "d:v0", files)
