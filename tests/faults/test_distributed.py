"""Versions built by processes that race and are killed: exactly one version, with exactly what was put in (P10)."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from artifactvc.errors import Conflict
from tests.faults import builders
from tests.faults.builders import CONTEXT, NAME, Pool, content, together
from tests.faults.helpers import Files, call, done, environment, holds, made, results, scratch, sound, versions
from tests.faults.test_crash_points import Fault, Strace, spread, strace  # noqa: F401  a fixture

PARTS, KILLED = 200, 40


def clones(root: Path, count: int) -> list[Path]:
    """Repositories that share only a remote. The first one tries what it can do; the others need not."""
    places = [made(root / f"m{n}") for n in range(count)]
    configs = [place / ".artifacts" / "config.toml" for place in places]
    before = configs[0].read_text()
    done(places[0], "remote", "add", "origin", root / "remote")
    added = configs[0].read_text().removeprefix(before)
    for config in configs[1:]:
        config.write_text(config.read_text() + added)
    return places


def places_of(kind: str, root: Path, count: int) -> list[Path]:
    """Where *count* processes work: in one repository, or each in a clone of its own."""
    return [made(root / "ws")] * count if kind == "one repository" else clones(root, count)


def finish_in(place: Path, files: Files | None = None) -> tuple[str, str]:
    """Finish in this process."""
    here = os.getcwd()
    os.chdir(place)
    try:
        return builders.finish(files)
    finally:
        os.chdir(here)


def kinds(place: Path) -> Counter[str]:
    """How many records of each kind the log has that decides."""
    log = place.parent / "remote" / "log"
    log = log if log.is_dir() else place / ".artifacts" / "log"
    found: Counter[str] = Counter()
    for path in log.glob("*.json"):
        found.update(record["kind"] for record in json.loads(path.read_bytes())["records"])
    return found


@pytest.fixture(params=["one repository", "a remote"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("kind", "parts"), [("one repository", PARTS), ("a remote", PARTS // 5)])
def test_parts_of_a_pool_whose_workers_are_killed(
    kind: str, parts: int, tmp_path: Path, rng: random.Random, soak: int
) -> None:
    """One in five is killed somewhere and run again, as a new run or the same: one version, the exact union."""
    for round_number in range(1 if soak == 1 else max(2, soak // 4)):
        root = tmp_path / str(round_number)
        places = places_of(kind, root, 3)
        tasks = [(number, f"task{number}" if number % 2 else None) for number in range(parts)]
        victims = set(rng.sample(range(parts), parts * KILLED // PARTS))
        pool = Pool(places, rng)
        told = pool.run(tasks, victims)
        assert pool.kills == parts * KILLED // PARTS
        assert pool.interrupted > pool.kills // 2, "most were done before they were killed: nothing is tested then"
        assert all(told.values())
        assert versions(places[0], NAME) == {}

        whole: Files = {path: data for number in range(parts) for path, data in content(number).items()}
        number, digest = finish_in(places[0], {"last": b"last"})
        assert versions(places[0], NAME) == {"v0": digest}
        assert number == "v0"
        assert kinds(places[0])["version"] == kinds(places[0])["finish"] == kinds(places[0])["draft"] == 1
        done(places[0], "pull") if kind == "a remote" else None
        holds(places[0], f"{NAME}:v0", {**whole, "last": b"last"})
        (shown,) = results(places[0], "show", f"{NAME}:v0")
        assert {run for runs in told.values() for run in runs} <= set(shown["produced_by"])
        assert finish_in(places[-1]) == ("v0", digest)
        for _ in range(2):
            done(places[0], "gc", "--grace", "0s")
        holds(places[0], f"{NAME}:v0", {**whole, "last": b"last"})
        for place in set(places):
            sound(place)


@pytest.mark.timeout(1200)
def test_who_finish_at_once_make_one_version(kind: str, tmp_path: Path, soak: int) -> None:
    """All with the same files are told the same version; of those with other files one, and the rest is told."""
    for round_number in range(2 * soak):
        places = places_of(kind, tmp_path / str(round_number), 4)
        pool = Pool(places[:1], random.Random(0))
        pool.run([(1, None)], set())
        same = round_number % 2 == 0
        files = [{"last" if same else f"last{n}": b"last"} for n in range(4)]
        barrier = CONTEXT.Barrier(4)
        answers = together([(builders.finish_at, (os.fspath(places[n]), barrier, files[n])) for n in range(4)])
        told = {answer for answer in answers if answer is not None}
        assert len(told) == 1
        assert answers.count(None) == (0 if same else 3)
        if kind == "a remote":
            done(places[0], "pull")
        assert list(versions(places[0], NAME)) == ["v0"]
        assert kinds(places[0])["finish"] == 1
        winner = next(n for n, answer in enumerate(answers) if answer is not None)
        holds(places[0], f"{NAME}:v0", {**content(1), **files[winner]})
        sound(places[0])


@pytest.mark.timeout(1200)
def test_what_is_in_is_in_one_version_and_what_is_told_in_none(kind: str, tmp_path: Path, soak: int) -> None:
    """Parts come while it is finished again and again: none is lost, none is in a version that was told otherwise."""
    for round_number in range(soak):
        places = places_of(kind, tmp_path / str(round_number), 3)
        barrier, stop = CONTEXT.Barrier(4), CONTEXT.Event()
        ours, theirs = CONTEXT.Pipe()
        finisher = CONTEXT.Process(target=builders.keep_finishing, args=(os.fspath(places[2]), stop, barrier, theirs))
        finisher.start()
        count = 12 if soak == 1 else 40
        answers = together([(builders.keep_putting, (os.fspath(places[n % 2]), n, count, barrier)) for n in range(3)])
        stop.set()
        assert ours.poll(120)
        finisher.join(60)
        assert finisher.exitcode == 0
        outcome = {path: is_in for answer in answers for path, is_in in answer.items()}
        assert len(outcome) == 3 * count
        finish_last(places[2])
        if kind == "a remote":
            done(places[2], "pull")
        seen: Counter[str] = Counter()
        for number in versions(places[2], NAME):
            seen.update(row["path"] for row in results(places[2], "ls", f"{NAME}:{number}"))
        # A writer that was told sends nothing again here, so what it was told of is nowhere.
        assert seen == Counter({path: 1 for path, is_in in outcome.items() if is_in})
        sound(places[2])


def finish_last(place: Path) -> None:
    """What the last writers have put in; nothing where all of that is in versions already."""
    with contextlib.suppress(Conflict):
        finish_in(place)


# ---- a kill at any system call ---------------------------------------------------------------------------

_SCRIPT = """
import artifactvc as avc
with avc.init(group="together", id="mine", resume="allow") as run:
    part = avc.Artifact("built", "dataset")
    for path, data in (("mine/a", b"a"), ("mine/large", b"l" * 150_000)):
        with part.new_file(path, mode="xb") as file:
            file.write(data)
    run.{deed}(part)
"""
_CALLS = ("link", "fsync", "rename")
_MINE: Files = {"mine/a": b"a", "mine/large": b"l" * 150_000}


def process(place: Path, deed: str, before: list[str]) -> int:
    """Run the script in *place*; how it ended."""
    argv = [*before, sys.executable, "-c", _SCRIPT.format(deed=deed)]
    ended = subprocess.run(argv, cwd=place, env=environment(), capture_output=True, text=True, timeout=120)
    assert ended.returncode in (0, -9, 137), ended.stderr
    return ended.returncode


def calls_of(place: Path, deed: str, log: Path) -> Counter[str]:
    """How often an undisturbed run makes each call."""
    assert process(place, deed, ["strace", "-f", "-qq", "-o", os.fspath(log), "-e", f"trace={','.join(_CALLS)}"]) == 0
    return Counter(re.findall(rf"^\d+ +({'|'.join(_CALLS)})\(", log.read_text(), re.M))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("deed", ["upsert_artifact", "finish_artifact"])
def test_a_kill_at_any_call_leaves_all_or_nothing(
    deed: str,
    kind: str,
    strace: Strace,  # noqa: F811
    tmp_path: Path,
    rng: random.Random,
    soak: int,
) -> None:
    """Wherever it falls there is no version or the whole one; the same again gives exactly what is right."""

    ready = tmp_path / "ready"
    Pool([places_of(kind, ready, 1)[0]], rng).run([(1, None)], set())

    def prepared(root: Path) -> Path:
        shutil.copytree(ready, root)
        (place,) = (path for path in root.iterdir() if path.name in ("ws", "m0"))
        config = place / ".artifacts" / "config.toml"
        config.write_text(config.read_text().replace(os.fspath(ready), os.fspath(root)))
        return place

    calls = calls_of(prepared(tmp_path / "undisturbed"), deed, tmp_path / "calls")
    assert min(calls[name] for name in _CALLS) > 0
    faults = [Fault(name, n, "SIGKILL") for name in _CALLS for n in spread(calls[name], calls[name], rng)]
    for fault in faults if soak > 1 else rng.sample(faults, 3):
        with scratch() as root:
            place = prepared(root / "x")
            killed = process(place, deed, strace.command(fault)) != 0
            sound(place)
            done(place, "fetch") if kind == "a remote" else None
            before = versions(place, NAME)
            if deed == "upsert_artifact":
                assert before == {}
            elif before or not killed:
                holds(place, f"{NAME}:v0", {**content(1), **_MINE})
            for _ in range(2):
                done(place, "gc", "--grace", "0s")
            assert process(place, deed, []) == 0, fault
            if deed == "upsert_artifact":
                finish_in(place)
            done(place, "pull") if kind == "a remote" else None
            assert list(versions(place, NAME)) == ["v0"]
            holds(place, f"{NAME}:v0", {**content(1), **_MINE})
            answer = call(place, "fsck", "--full")
            assert answer.code == 0, answer
