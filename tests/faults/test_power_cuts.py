"""L1, order: a power cut at any moment leaves the old state or the new one, and never less than was said to be done.

Each sync is taken out once; then a power cut at some moment does lose something, and the
same check notices.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from artifactvc.storage.index import LOCAL
from artifactvc.storage.log import Log
from tests.faults.helpers import (
    Files,
    call,
    done,
    drafts,
    fill,
    holds,
    made,
    repoint,
    results,
    scratch,
    some_files,
    sound,
    versions,
)
from tests.faults.power import Cut, Disk, power_cuts


@dataclass
class _Case:
    """A prepared directory with ``ws`` (and ``remote``), what is run in it, and what must be found after a cut."""

    root: Path
    commands: Sequence[Sequence[str]]
    check: Callable[[Path, int], None]  # what is found, and how many of the commands had said that they are done
    index: Sequence[bool] = (True, False)
    cuts: int = 0
    lost: list[str] = field(default_factory=list)

    def run(
        self, monkeypatch: pytest.MonkeyPatch, *, forgets: Callable[[str], bool] = lambda path: False, all_: bool = True
    ) -> list[str]:
        """What the power cuts lost; without *all_* only the first loss is looked for."""
        disk = Disk(self.root)
        finished = 0

        def at(cut: Cut) -> None:
            if self.lost and not all_:
                return
            self.cuts += 1
            with scratch() as place:
                found = place / "found"
                disk.write_to(found, all_names=cut.all_names, index=cut.index)
                repoint(found, self.root)
                try:
                    self.check(found, finished)
                except AssertionError as error:
                    self.lost.append(f"{cut}, {finished} commands done: {str(error)[:600]}")

        try:
            with power_cuts(monkeypatch, disk, at, forgets=forgets, index=self.index):
                for command in self.commands:
                    done(self.root / "ws", *command)
                    finished += 1
            for all_names in (True, False):
                at(Cut("the end", all_names, index=False))
        finally:
            disk.close()
        return self.lost


def _add_and_commit(root: Path, rng: random.Random) -> _Case:
    ws = made(root / "ws")
    old, new = some_files(rng), some_files(rng)
    fill(ws / "d", old)
    done(ws, "add", ws / "d")
    done(ws, "commit")
    fill(ws / "d", new)
    first = versions(ws, "d")["v0"]

    def check(found: Path, finished: int) -> None:
        place = found / "ws"
        sound(place)
        there = versions(place, "d")
        assert there.get("v0") == first
        holds(place, "d:v0", old)
        assert list(there) in ([["v0"], ["v0", "v1"]] if finished < 2 else [["v0", "v1"]])
        if "v1" in there:
            holds(place, "d:v1", new)
            assert results(place, "show", "d:v1")[0]["description"] == "second"
        elif finished == 1:
            assert "d" in drafts(place), "the draft that add had made is gone"
            assert call(place, "commit").code == 0
            holds(place, "d:v1", new)

    return _Case(root, (("add",), ("commit", "-m", "second")), check)


def _push(root: Path, rng: random.Random) -> _Case:
    ws = made(root / "ws")
    contents: dict[str, Files] = {}
    for number in range(2):
        contents[f"v{number}"] = some_files(rng, count=2)
        fill(ws / "d", contents[f"v{number}"])
        done(ws, "add", ws / "d")
        done(ws, "commit")
        if number == 0:
            done(ws, "remote", "add", "origin", root / "remote")
            done(ws, "push")

    def check(found: Path, finished: int) -> None:
        with scratch() as other:
            clone = other / "clone"
            done(other, "clone", found / "remote", clone)
            there = list(versions(clone, "d"))
            assert there in ([["v0"], ["v0", "v1"]] if not finished else [["v0", "v1"]])
            for number in there:
                holds(clone, f"d:{number}", contents[number])
        if finished:
            sound(found / "ws")
            assert list(versions(found / "ws", "d")) == ["v0", "v1"]

    return _Case(root, (("push",),), check, index=(False,))


def _gc(root: Path, rng: random.Random) -> _Case:
    ws = made(root / "ws")
    contents: dict[str, Files] = {}
    for number in range(3):
        contents[f"v{number}"] = {**some_files(rng), "kept": b"kept by all" * 10}
        fill(ws / "d", contents[f"v{number}"])
        done(ws, "add", ws / "d")
        done(ws, "commit")
    del contents["v0"]
    done(ws, "delete", "d:v0")

    def check(found: Path, finished: int) -> None:
        place = found / "ws"
        sound(place)
        for number, files in contents.items():
            holds(place, f"d:{number}", files)

    return _Case(root, (("gc", "--grace", "0s"), ("gc", "--grace", "0s")), check)


_CASES = {"add and commit": _add_and_commit, "push": _push, "gc": _gc}


def _in(*parts: str) -> Callable[[str], bool]:
    """Paths that hold one of *parts*."""
    return lambda path: any(part in f"{path}/" for part in parts)


#: What is not synced, and in which case a cut then loses something.
_FORGOTTEN: dict[str, tuple[str, Callable[[str], bool]]] = {
    "objects in packs": ("add and commit", _in("/.artifacts/tmp/pack-")),
    "larger objects": ("add and commit", _in("/.artifacts/tmp/own-")),
    "the directory of packs": ("add and commit", _in("/.artifacts/packs/")),
    "the directories of larger objects": ("add and commit", lambda path: "/.artifacts/objects" in path),
    "the parents of new directories": ("add and commit", lambda path: path.endswith("/.artifacts/objects")),
    "the draft": ("add and commit", _in("/.artifacts/tmp/.w-")),
    "the directory of drafts": ("add and commit", _in("/.artifacts/drafts/")),
    "the entry's temporary file": ("add and commit", _in("/.artifacts/tmp/new-")),
    "the directory of the log": ("add and commit", _in("/.artifacts/log/")),
    "files of a directory remote": ("push", lambda path: "/remote/tmp/up-" in path),
    "directories of a directory remote": ("push", _in("/remote/packs/")),
    "the log of a directory remote": ("push", lambda path: path.endswith("/remote/log")),
    "the entry of a directory remote": ("push", _in("/remote/tmp/new-")),
}


@pytest.mark.parametrize("name", _CASES)
def test_a_power_cut_leaves_the_old_state_or_the_new_one(
    name: str, tmp_path: Path, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = _CASES[name](tmp_path / "root", rng)
    assert case.run(monkeypatch) == []
    assert case.cuts > 20


@pytest.mark.parametrize("what", _FORGOTTEN)
def test_without_a_sync_a_power_cut_loses_something(
    what: str, tmp_path: Path, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L1 with one sync taken out: the check above notices."""
    name, forgets = _FORGOTTEN[what]
    case = _CASES[name](tmp_path / "root", rng)
    assert case.run(monkeypatch, forgets=forgets, all_=False), f"nobody notices that {what} is not synced"


def test_an_entry_is_never_created_first_and_written_then(
    tmp_path: Path, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L1, ``link``: with ``O_EXCL`` and a write after it, a cut between them leaves an empty entry."""

    def create(self: Log, n: int, data: bytes) -> bool:
        path = self.directory / f"{n:020d}.json"
        with open(path, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fd = os.open(path.parent, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
        return True

    case = _add_and_commit(tmp_path / "root", rng)
    monkeypatch.setattr(Log, "create", create)
    assert case.run(monkeypatch, all_=False)


def _ahead(ws: Path) -> bool:
    """Whether the index, as another process sees it, knows an entry that the log has not."""
    connection = sqlite3.connect(ws / ".artifacts" / "index.sqlite")
    try:
        row = connection.execute("SELECT n FROM head WHERE log = ?", (LOCAL,)).fetchone()
    finally:
        connection.close()
    return row is not None and not (ws / ".artifacts" / "log" / f"{row[0]:020d}.json").exists()


def test_the_index_comes_last(tmp_path: Path, rng: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
    """L1, index: it never knows an entry that the log has not; when it is written first, the check notices."""
    ws = made(tmp_path / "ws")
    seen: list[bool] = []
    real = os.link

    def link(source: str, target: str, **options: object) -> None:
        seen.append(_ahead(ws))
        real(source, target, **options)  # type: ignore[arg-type]

    def commit(data: bytes) -> None:
        fill(ws / "d", {"a": data})
        done(ws, "add", ws / "d")
        with monkeypatch.context() as patch:
            patch.setattr(os, "link", link)
            done(ws, "commit")

    commit(b"0")
    commit(b"1")
    assert seen == [False, False]
    real_create = Log.create

    def index_first(self: Log, n: int, data: bytes) -> bool:
        connection = sqlite3.connect(ws / ".artifacts" / "index.sqlite", timeout=0)
        connection.execute("UPDATE head SET n = ? WHERE log = ?", (n, LOCAL))
        connection.commit()
        connection.close()
        return real_create(self, n, data)

    monkeypatch.setattr("artifactvc.ops.session.begin", contextlib.nullcontext)  # else the index is locked meanwhile
    monkeypatch.setattr(Log, "create", index_first)
    commit(b"2")
    assert seen[-1]
