"""Many processes at once: nothing is lost, nothing is there twice, and every clone agrees."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from artifactvc.storage.log import Log
from tests.faults.helpers import (
    Answer,
    Files,
    avc,
    call,
    done,
    drafts,
    ended,
    fill,
    holds,
    made,
    read_files,
    results,
    said_cleanly,
    sound,
    start,
    versions,
)

PROCESSES = 16
CLONES = 6
_T = TypeVar("_T")


def _together(work: Callable[[int], _T], count: int) -> list[_T]:
    """Do *work* for 0 .. count-1, all at once."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))


def _all_done(answers: Iterable[Answer]) -> list[Answer]:
    found = list(answers)
    failed = [answer for answer in found if answer.code != 0]
    assert not failed, failed
    return found


def _put_at_once(ws: Path, sources: list[Path]) -> list[dict[str, object]]:
    started = [start(ws, "put", source, "--name", "d", "--json") for source in sources]
    return [json.loads(answer.out)["result"] for answer in _all_done(ended(process) for process in started)]


# ---- put -----------------------------------------------------------------------------------------


def test_sixteen_puts_of_different_content(tmp_path: Path, rng: random.Random) -> None:
    """16 versions v0 .. v15, none lost, none twice; each process was told the number that its content has."""
    ws = made(tmp_path / "ws")
    contents: list[Files] = []
    for k in range(PROCESSES):
        contents.append({"own": rng.randbytes(100), "shared": b"shared", "big": rng.randbytes(140_000)})
        fill(tmp_path / f"in{k}", contents[k])
    told = _put_at_once(ws, [tmp_path / f"in{k}" for k in range(PROCESSES)])
    found = versions(ws, "d")
    assert list(found) == [f"v{n}" for n in range(PROCESSES)]
    assert len(set(found.values())) == PROCESSES
    assert {str(one["version"]): one["digest"] for one in told} == found
    sound(ws)
    for one, files in zip(told, contents, strict=True):
        holds(ws, f"d:{one['version']}", files)
    assert drafts(ws) == {}


def test_sixteen_puts_of_equal_content(tmp_path: Path, rng: random.Random) -> None:
    """One version, and 16 runs that produced it."""
    ws = made(tmp_path / "ws")
    files = {"a": rng.randbytes(100), "big": rng.randbytes(140_000)}
    for k in range(PROCESSES):
        fill(tmp_path / f"in{k}", files)
    told = _put_at_once(ws, [tmp_path / f"in{k}" for k in range(PROCESSES)])
    assert list(versions(ws, "d")) == ["v0"]
    assert sorted(str(one["outcome"]) for one in told) == ["created"] + ["existing"] * (PROCESSES - 1)
    (shown,) = results(ws, "show", "d:v0")
    assert sorted(shown["produced_by"]) == sorted({str(one["run"]) for one in told})
    assert len(shown["produced_by"]) == PROCESSES
    sound(ws)
    holds(ws, "d:v0", files)


# ---- add and commit --------------------------------------------------------------------------------


def test_sixteen_adds_and_commits_in_one_directory(tmp_path: Path, rng: random.Random) -> None:
    """Every file ends in some version, whoever committed it; after one more add and commit the newest has them all."""
    ws = made(tmp_path / "ws")
    fill(ws / "d", {"first": b"first"})
    done(ws, "add", ws / "d")
    done(ws, "commit")
    contents = {f"file{k}": rng.randbytes(200 if k % 4 else 150_000) for k in range(PROCESSES)}

    def work(k: int) -> list[Answer]:
        name = f"file{k}"
        (tmp_path / name).write_bytes(contents[name])
        os.rename(tmp_path / name, ws / "d" / name)
        return [avc(ws, "add"), avc(ws, "commit")]

    for answers in _together(work, PROCESSES):
        _all_done(answers)
    sound(ws)
    in_versions: set[str] = set()
    for number in versions(ws, "d"):
        entries = {row["path"]: row for row in results(ws, "ls", f"d:{number}")}
        in_versions |= entries.keys()
    assert in_versions == {"first", *contents}
    done(ws, "add")
    done(ws, "commit")
    holds(ws, "d:latest", {"first": b"first", **contents})
    found = versions(ws, "d")
    assert list(found) == [f"v{n}" for n in range(len(found))]
    assert len(set(found.values())) == len(found)
    sound(ws)


@pytest.mark.timeout(3600)
def test_gc_beside_four_writers(tmp_path: Path, rng: random.Random, soak: int) -> None:
    """While four processes add, commit and delete, gc without grace runs all the time: what is live stays whole."""
    ws = made(tmp_path / "ws")
    rounds, writers = 3 * soak, 4
    seeds = [rng.random() for _ in range(writers)]
    kept: list[dict[str, Files]] = [{} for _ in range(writers)]
    running = set(range(writers))

    def work(k: int) -> None:
        if k == writers:
            while running:
                _all_done([avc(ws, "gc", "--grace", "0s")])
            return
        own, name = random.Random(seeds[k]), f"d{k}"
        try:
            for n in range(rounds):
                # "b" comes back in every second version: gone with a deleted one, needed by the next.
                files = {"a": own.randbytes(300), "b": bytes([n % 2]) * 200_000, "c": b"common to all" * 20}
                fill(ws / name, files)
                _all_done([avc(ws, "add", name), avc(ws, "commit", name)])
                kept[k][f"v{n}"] = files
                if n >= 2:
                    _all_done([avc(ws, "delete", f"{name}:v{n - 2}")])
                    del kept[k][f"v{n - 2}"]
        finally:
            running.discard(k)

    _together(work, writers + 1)
    sound(ws)
    done(ws, "gc", "--grace", "0s")
    sound(ws)
    for k in range(writers):
        assert list(versions(ws, f"d{k}")) == list(kept[k])
        for number, files in kept[k].items():
            holds(ws, f"d{k}:{number}", files)


# ---- push ------------------------------------------------------------------------------------------


def _pushed(ws: Path) -> None:
    """Push until it lands; the only reason to try again is that others are faster."""
    for _ in range(20):
        answer = avc(ws, "push")
        if answer.code == 0:
            return
        said_cleanly(answer)
        assert "too busy" in answer.err, answer
        _all_done([avc(ws, "fetch")])
    raise AssertionError("push never landed")


@pytest.mark.timeout(3600)
def test_six_clones_push_at_once(tmp_path: Path, rng: random.Random, soak: int) -> None:
    """Each clone pushes versions of its own artifact and of one that all share: all of them land, once each."""
    remote, rounds = tmp_path / "remote", 2 * soak
    first = made(tmp_path / "first")
    fill(tmp_path / "in", {"a": b"first"})
    done(first, "put", tmp_path / "in", "--name", "shared")
    done(first, "remote", "add", "origin", remote)
    done(first, "push")
    clones = [tmp_path / f"clone{k}" for k in range(CLONES)]
    for clone in clones:
        done(tmp_path, "clone", remote, clone)
    seeds = [rng.random() for _ in range(CLONES)]
    contents: dict[str, Files] = {}  # by digest of the manifest
    own: dict[str, list[str]] = {f"own{k}": [] for k in range(CLONES)}
    shared: list[str] = []

    def put(clone: Path, name: str, files: Files) -> str:
        source = clone.with_name(f"{clone.name}-in")
        fill(source, files)
        (answer,) = _all_done([avc(clone, "put", source, "--name", name, "--json")])
        digest = str(json.loads(answer.out)["result"]["digest"])
        contents[digest] = files
        return digest

    def work(k: int) -> None:
        mine = random.Random(seeds[k])
        for n in range(rounds):
            own[f"own{k}"].append(put(clones[k], f"own{k}", {"x": mine.randbytes(200), "big": mine.randbytes(140_000)}))
            shared.append(put(clones[k], "shared", {"from": f"{k} {n}".encode(), "common": b"in every version"}))
            if n == 0:
                shared.append(put(clones[k], "shared", {"same": b"what every clone puts"}))
            _pushed(clones[k])

    _together(work, CLONES)
    said = []
    for clone in [*clones, first]:
        done(clone, "fetch")
        said.append({name: versions(clone, name) for name in ["shared", *own]})
    assert all(one == said[0] for one in said), "clones do not agree"
    for name, digests in own.items():
        assert list(said[0][name].values()) == digests
        assert list(said[0][name]) == [f"v{n}" for n in range(rounds)]
    found = said[0]["shared"]
    assert list(found) == [f"v{n}" for n in range(len(found))]
    assert len(set(found.values())) == len(found) == 1 + CLONES * rounds + 1
    assert set(shared) < set(found.values())
    aliases = [results(clone, "show", "shared:latest")[0]["version"] for clone in clones]
    assert len(set(aliases)) == 1
    (row,) = [row for row in results(clones[0], "log", "shared") if row["digest"] == _same(shared)]
    assert len(row["produced_by"]) == CLONES
    for clone in (clones[0], first):
        done(clone, "pull")
        sound(clone)
        for name, numbers in said[0].items():
            for number, digest in numbers.items():
                if digest in contents:
                    holds(clone, f"{name}:{number}", contents[digest])
    assert "nothing" in done(clones[1], "push")


def test_a_clone_that_read_only_the_log_is_sound(tmp_path: Path) -> None:
    """Bytes that are only on the remote are no damage, after ``clone`` as after ``fetch``."""
    first, clone = made(tmp_path / "first"), tmp_path / "clone"
    done(first, "remote", "add", "origin", tmp_path / "remote")
    for number in range(2):
        fill(tmp_path / "in", {"a": bytes([number]) * 100, "big": bytes([number]) * 140_000})
        done(first, "put", tmp_path / "in", "--name", "d", "-m", "text")
        done(first, "push")
        if number == 0:
            done(tmp_path, "clone", tmp_path / "remote", clone)
        else:
            done(clone, "fetch")
        sound(clone)


def _same(digests: list[str]) -> str:
    """The digest that is there more than once."""
    (digest,) = {digest for digest in digests if digests.count(digest) > 1}
    return digest


# ---- one entry of a log --------------------------------------------------------------------------------


def test_racing_creates_of_one_entry_have_one_winner(tmp_path: Path, soak: int) -> None:
    """Of 8 processes that create entry n at once exactly one does, and the entry has its bytes, whole."""
    processes, rounds = 8, 500 if soak > 1 else 20
    (tmp_path / "tmp").mkdir()
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(processes)
    won = context.Array("i", [-1] * rounds)
    count = context.Array("i", [0] * rounds)

    def work(k: int) -> None:
        log = Log(tmp_path / "log", tmp_path / "tmp", "a log")
        for n in range(rounds):
            barrier.wait(60)
            if log.create(n, _bytes_of(k, n)):
                with count.get_lock():
                    count[n] += 1
                    won[n] = k

    workers = [context.Process(target=work, args=(k,)) for k in range(processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(240)
        assert worker.exitcode == 0
    assert list(count) == [1] * rounds
    log = Log(tmp_path / "log", tmp_path / "tmp", "a log")
    for n in range(rounds):
        assert log.data(n) == _bytes_of(won[n], n)
    assert len(read_files(tmp_path / "log")) == rounds
    assert read_files(tmp_path / "tmp") == {}


def _bytes_of(k: int, n: int) -> bytes:
    return f"{k} {n} ".encode() * (50 + 400 * k)


def test_commands_that_only_look_do_not_disturb(tmp_path: Path, rng: random.Random) -> None:
    """Readers beside writers always see whole versions."""
    ws = made(tmp_path / "ws")
    running = {0}

    def work(k: int) -> None:
        if k == 0:
            try:
                for n in range(4):
                    fill(ws / "d", {"a": bytes([n]) * 1000, "b": bytes([n]) * 200_000})
                    _all_done([avc(ws, "add", "d"), avc(ws, "commit", "-m", str(n))])
            finally:
                running.clear()
            return
        while running:
            answer = avc(ws, "cat", "d", "a")
            if answer.code == 0:
                assert len(set(answer.out)) == 1, "bytes of two versions"
                assert len(answer.out) == 1000
            else:
                assert "no artifact" in answer.err, answer

    _together(work, 2)
    sound(ws)
    assert call(ws, "status").code == 0
    assert len(versions(ws, "d")) == 4
