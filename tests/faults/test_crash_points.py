"""A kill or an error at any system call leaves the old state or the new one (protocol L1).

Each command is run under strace, which kills it, or lets one call fail with EIO (or
ENOSPC), at its n-th ``write``, ``fsync``, ``rename``, ``link`` or ``unlink``; n goes over
all calls that a run without faults made, in `make test` over a spread of them. Then:
``fsck --full`` passes, every version that was committed has its bytes, the state is the
old one or the new one, and the same command succeeds and leaves exactly the new one.

strace counts for each thread by itself: "the second fsync" ends whichever thread is first
to make its second.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.faults.helpers import (
    Answer,
    Files,
    avc,
    call,
    done,
    drafts,
    fill,
    holds,
    made,
    read_files,
    repoint,
    results,
    said_cleanly,
    scratch,
    some_files,
    sound,
    versions,
)

FAMILIES = {
    "write": ("write", "pwrite64"),
    "fsync": ("fsync", "fdatasync"),
    "rename": ("rename", "renameat", "renameat2"),
    "link": ("link", "linkat"),
    "unlink": ("unlink", "unlinkat"),
}
#: The calls that the index makes by itself: a few of them stand for all in `make test`.
_BY_SQLITE = ("pwrite64", "fdatasync")


class Fault(NamedTuple):
    """The n-th call of one kind, and what happens there: SIGKILL, EIO or ENOSPC."""

    call: str
    n: int
    what: str

    def arguments(self) -> list[str]:
        do = "signal=SIGKILL" if self.what == "SIGKILL" else f"error={self.what}"
        return [f"trace={self.call}", "-e", f"inject={self.call}:{do}:when={self.n}"]


@dataclass
class Place:
    """A prepared situation, and what is to be true in it. Copied for each fault: paths are worked out anew."""

    root: Path
    committed: dict[str, Files] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def ws(self) -> Path:
        return self.root / "ws"

    @property
    def remote(self) -> Path:
        return self.root / "remote"

    def copy(self, root: Path) -> Place:
        shutil.copytree(self.root, root, symlinks=True)
        repoint(root, self.root)
        return Place(root, self.committed, self.facts)


# ---- what is run, and what must be true after a fault and after the second try -----------------------------


class Case:
    """One command. Its class's name is the test's."""

    command: Sequence[str] = ()
    families: Sequence[str] = ("write", "fsync", "rename")
    threads = False  # whether threads share the work, each time in another way

    def prepare(self, place: Place, rng: random.Random) -> None:
        """Make the situation in which the command is run."""
        raise NotImplementedError

    def finished(self, place: Place) -> None:
        """Note in ``facts`` what holds after an undisturbed run of the command."""

    def between(self, place: Place, answer: Answer) -> None:
        """After the fault: the old state or the new one; the new one if the command said that it is done."""
        raise NotImplementedError

    def after(self, place: Place) -> None:
        """After the second try: exactly the new state."""
        raise NotImplementedError


class Add(Case):
    """The first ``add`` of an artifact: small files and a large one, draft and binding made."""

    command = ("add", "d")

    def prepare(self, place: Place, rng: random.Random) -> None:
        ws = made(place.ws)
        place.committed["other:v0"] = some_files(rng, large=False)
        fill(ws / "other", place.committed["other:v0"])
        done(ws, "add", ws / "other")
        done(ws, "commit")
        place.facts["files"] = some_files(rng)
        fill(ws / "d", place.facts["files"])
        place.facts["old"] = None

    def finished(self, place: Place) -> None:
        place.facts["new"] = drafts(place.ws)["d"]

    def between(self, place: Place, answer: Answer) -> None:
        root = drafts(place.ws).get("d")
        assert root in (place.facts["old"], place.facts["new"])
        assert answer.code != 0 or root == place.facts["new"]
        assert read_files(place.ws / "d") == place.facts["files"]

    def after(self, place: Place) -> None:
        assert drafts(place.ws)["d"] == place.facts["new"]
        done(place.ws, "commit")
        holds(place.ws, "d:latest", place.facts["files"])


class AddAgain(Add):
    """``add`` of changed small files into a draft that is there already, at a version."""

    command = ("add",)

    def prepare(self, place: Place, rng: random.Random) -> None:
        ws = made(place.ws)
        files = place.committed["d:v0"] = some_files(rng, large=False)
        fill(ws / "d", files)
        done(ws, "add", ws / "d")
        done(ws, "commit")
        fill(ws / "d", {**files, "f0": b"staged"})
        done(ws, "add")
        place.facts["old"] = drafts(ws)["d"]
        del (changed := dict(files))["f3"]
        place.facts["files"] = {**changed, "f0": b"changed again", "new/deep": rng.randbytes(90)}
        fill(ws / "d", place.facts["files"])


class Commit(Case):
    """``commit`` with a description, a tag and an alias, on a version."""

    command = ("commit", "-m", "second", "--tag", "t", "--alias", "best", "--meta", "k=1")
    families = ("write", "fsync", "rename", "link")

    def prepare(self, place: Place, rng: random.Random) -> None:
        ws = made(place.ws)
        for number in range(2):
            place.facts["files"] = some_files(rng)
            fill(ws / "d", place.facts["files"])
            done(ws, "add", ws / "d")
            if number == 0:
                done(ws, "commit")
                place.committed["d:v0"] = place.facts["files"]
        place.facts["old"] = versions(ws, "d")

    def finished(self, place: Place) -> None:
        place.facts["new"] = versions(place.ws, "d")

    def between(self, place: Place, answer: Answer) -> None:
        found = versions(place.ws, "d")
        assert found in (place.facts["old"], place.facts["new"])
        assert answer.code != 0 or found == place.facts["new"]
        if found == place.facts["new"]:
            holds(place.ws, "d:v1", place.facts["files"])
            self._whole(place)
        else:
            assert "d" in drafts(place.ws), "neither the version nor its draft is there"

    def after(self, place: Place) -> None:
        assert versions(place.ws, "d") == place.facts["new"]
        done(place.ws, "add")  # what a kill after the entry left undone is caught up with
        done(place.ws, "commit")
        assert versions(place.ws, "d") == place.facts["new"]
        holds(place.ws, "d:latest", place.facts["files"])
        self._whole(place)
        assert drafts(place.ws) == {}
        assert place.facts["new"]["v1"] in (place.ws / "artifacts.toml").read_text()

    def _whole(self, place: Place) -> None:
        (row,) = results(place.ws, "show", "d:best")
        assert (row["version"], row["description"], row["metadata"]) == ("v1", "second", {"k": 1}), row
        assert row["tags"] == ["t"]


class Gc(Case):
    """``gc`` that unlinks what the one before moved, moves more, and writes a pack anew."""

    command = ("gc", "--grace", "1s")
    families = ("write", "fsync", "rename", "unlink")

    def prepare(self, place: Place, rng: random.Random) -> None:
        ws = made(place.ws)
        shared = rng.randbytes(30)
        for number in range(4):
            files = {**some_files(rng), "shared": shared}
            if number == 2:
                files |= {f"more{i}": rng.randbytes(3000) for i in range(3)}
                files["kept"] = shared * 2
            if number == 3:
                files["kept"] = shared * 2
            fill(ws / "d", files)
            done(ws, "add", ws / "d")
            done(ws, "commit")
            if number in (1, 3):
                place.committed[f"d:v{number}"] = files
        done(ws, "delete", "d:v0")
        time.sleep(1.1)
        done(ws, "gc", "--grace", "1s")  # moves what v0 alone had
        done(ws, "delete", "d:v2")
        time.sleep(1.1)

    def finished(self, place: Place) -> None:
        place.facts["objects"] = self._objects(place)
        kept = read_files(place.ws / ".artifacts" / "trash")
        (gone,) = results(place.ws, "du")
        assert kept, f"gc moved nothing: {gone}"

    def between(self, place: Place, answer: Answer) -> None:
        assert list(versions(place.ws, "d")) == ["v1", "v3"]
        assert answer.code != 0 or self._objects(place) == place.facts["objects"]

    def after(self, place: Place) -> None:
        assert list(versions(place.ws, "d")) == ["v1", "v3"]
        assert self._objects(place) == place.facts["objects"]

    @staticmethod
    def _objects(place: Place) -> tuple[int, int]:
        """How many objects the store has, and their bytes, when its rows are made anew from its files."""
        done(place.ws, "fsck", "--repair")
        (checked,) = results(place.ws, "fsck")
        return checked["objects"], checked["bytes"]


class Checkout(Case):
    """``checkout`` of an older version over the newest: files replaced, made, removed, and a stranger's left alone."""

    command = ("checkout", "d:v0")
    families = ("write", "fsync", "rename", "unlink")

    def prepare(self, place: Place, rng: random.Random) -> None:
        ws = made(place.ws)
        old, new = some_files(rng), some_files(rng)
        old |= {"only/in/v0": rng.randbytes(900), "large0": rng.randbytes(200_000), "same": b"same"}
        new |= {"only/in/v1": rng.randbytes(900), "same": b"same"}
        for number, files in enumerate((old, new)):
            fill(ws / "d", files)
            done(ws, "add", ws / "d")
            done(ws, "commit")
            place.committed[f"d:v{number}"] = files
        (ws / "d" / "mine").write_bytes(b"not committed")
        place.facts |= {"old": {**new, "mine": b"not committed"}, "new": {**old, "mine": b"not committed"}}

    def between(self, place: Place, answer: Answer) -> None:
        old, new = place.facts["old"], place.facts["new"]
        found = read_files(place.ws / "d")  # fsck has cleaned up after the kill
        assert answer.code != 0 or found == new
        for path in {*old, *new, *found}:
            may = {old.get(path), new.get(path)}
            assert found.get(path) in may, f"'{path}' is neither what it was nor what it should be"

    def after(self, place: Place) -> None:
        assert read_files(place.ws / "d") == place.facts["new"]
        assert versions(place.ws, "d")["v0"] in (place.ws / "artifacts.toml").read_text()


class Push(Case):
    """``push`` of two versions to a directory that has one already."""

    command = ("push",)
    families = ("write", "fsync", "rename", "link", "unlink")
    threads = True

    def prepare(self, place: Place, rng: random.Random) -> None:
        ws = made(place.ws)
        for number in range(3):
            files = some_files(rng)
            fill(ws / "d", files)
            done(ws, "add", ws / "d")
            done(ws, "commit", "-m", f"number {number}")
            place.committed[f"d:v{number}"] = files
            if number == 0:
                done(ws, "remote", "add", "origin", place.remote)
                done(ws, "push")
        place.facts["all"] = {name.rstrip("~"): digest for name, digest in versions(ws, "d").items()}

    def between(self, place: Place, answer: Answer) -> None:
        self._clone(place, (1, 3) if answer.code else (3,))
        found = versions(place.ws, "d")
        assert {name.rstrip("~"): digest for name, digest in found.items()} == place.facts["all"]

    def after(self, place: Place) -> None:
        self._clone(place, (3,))
        assert versions(place.ws, "d") == place.facts["all"]
        assert "nothing" in done(place.ws, "push")

    def _clone(self, place: Place, counts: Sequence[int]) -> None:
        """Whoever clones now gets all that the remote names, byte for byte."""
        with scratch() as other:
            done(other, "clone", place.remote, other / "clone")
            clone = other / "clone"
            found = versions(clone, "d")
            assert len(found) in counts
            assert found.items() <= place.facts["all"].items()
            done(clone, "pull")
            sound(clone)
            for number in found:
                holds(clone, f"d:{number}", place.committed[f"d:{number}"])


CASES: dict[str, Case] = {
    "add": Add(), "add-again": AddAgain(), "commit": Commit(), "gc": Gc(), "checkout": Checkout(), "push": Push()
}  # fmt: skip


# ---- strace --------------------------------------------------------------------------------------


class Strace(NamedTuple):
    """How to run strace. *quick* stops a process only at the calls that are traced, but injects no signals."""

    plain: list[str]
    quick: list[str]

    def command(self, fault: Fault) -> list[str]:
        return [*(self.plain if fault.what == "SIGKILL" else self.quick), "-e", *fault.arguments()]


def _strace() -> Strace:
    """The strace commands; the test is skipped where it is missing or may not trace."""
    plain = ["strace", "-f", "-qq", "-o", "/dev/null"]
    works = []
    for command in (plain, [*plain, "--seccomp-bpf"]):
        with contextlib.suppress(OSError):
            if subprocess.run([*command, "-e", "trace=write", "true"], capture_output=True).returncode == 0:
                works.append(command)
    if not works:
        if os.environ.get("AVC_REQUIRE_SERVERS") == "1":
            pytest.fail("strace is required here (AVC_REQUIRE_SERVERS=1), and missing or not allowed to trace")
        pytest.skip("strace is missing, or not allowed to trace")
    return Strace(works[0], works[-1])


@pytest.fixture(scope="module")
def strace() -> Strace:
    return _strace()


_CALL = re.compile(r"^(\d+)\s+(\w+)\(")


def count_calls(strace: Strace, place: Place, case: Case) -> Counter[str]:
    """How often the thread that makes a call most often makes it, when nothing disturbs the command.

    Where threads share the work the main one alone counts: what it makes does not differ from run to
    run, and strace, which counts for each thread by itself, meets the first calls of the others too.
    """
    log = place.root / "calls"
    traced = ",".join(name for family in FAMILIES.values() for name in family)
    answer = avc(place.ws, *case.command, before=[*_with_output(strace.quick, log), "-e", f"trace={traced}"])
    assert answer.code == 0, answer
    each: Counter[tuple[str, str]] = Counter()
    found = [call for line in log.read_text(errors="replace").splitlines() if (call := _CALL.match(line))]
    for call_made in found:
        if not case.threads or call_made[1] == found[0][1]:  # the process itself is the first to make one
            each[call_made[2], call_made[1]] += 1
    most: Counter[str] = Counter()
    for (name, _), times in each.items():
        most[name] = max(most[name], times)
    return most


def _with_output(command: Sequence[str], log: Path) -> list[str]:
    return [os.fspath(log) if part == "/dev/null" else part for part in command]


def spread(last: int, most: int, rng: random.Random) -> list[int]:
    """At most *most* of 1..last, one from each of as many equal parts, and the last one."""
    if last <= most:
        return list(range(1, last + 1))
    edges = [1 + last * i // most for i in range(most + 1)]
    return [*(rng.randrange(a, b) for a, b in pairwise(edges[:-1])), last]


def faults_of(family: str, calls: Counter[str], rng: random.Random, soak: int) -> Iterator[Fault]:
    """The faults to try: a few of each call; with ``soak`` at all of them, and at more of those that SQLite makes."""
    for name in FAMILIES[family]:
        kinds = ["SIGKILL", "EIO", *(["ENOSPC"] if family == "write" else [])]
        for what in kinds:
            by_sqlite = name in _BY_SQLITE
            most = (2 if what == "SIGKILL" else 1) * soak if by_sqlite else (4 if what == "SIGKILL" else 2)
            every = soak > 1 and not by_sqlite
            yield from (Fault(name, n, what) for n in spread(calls[name], calls[name] if every else most, rng))


class Prepared(NamedTuple):
    """A situation to copy, and how many calls the command makes in it."""

    place: Place
    calls: Counter[str]


@pytest.fixture(scope="module")
def prepared(strace: Strace) -> Iterator[Callable[[str], Prepared]]:
    """Each case's situation, made once."""
    kept: dict[str, Prepared] = {}

    def get(name: str) -> Prepared:
        if name not in kept:
            case, place = CASES[name], Place(base / name)
            case.prepare(place, random.Random(f"crash points of {name}"))
            plain = place.copy(base / f"{name}, undisturbed")
            calls = count_calls(strace, plain, case)
            case.finished(plain)
            kept[name] = Prepared(place, calls)
        return kept[name]

    with scratch() as base:
        yield get


@pytest.mark.parametrize(
    ("name", "family"), [(name, family) for name, case in CASES.items() for family in case.families]
)
@pytest.mark.timeout(3600)
def test_a_crash_anywhere_loses_nothing(
    name: str,
    family: str,
    strace: Strace,
    prepared: Callable[[str], Prepared],
    tmp_path: Path,
    rng: random.Random,
    soak: int,
) -> None:
    case, (place, calls) = CASES[name], prepared(name)
    faults = list(faults_of(family, calls, rng, soak))
    assert faults, f"'{' '.join(case.command)}' makes no {family}: take it off the list"

    def disturbed(fault: Fault) -> tuple[Place, Answer]:
        copy = place.copy(tmp_path / f"{fault.what}-{fault.call}-{fault.n}")
        return copy, avc(copy.ws, *case.command, before=strace.command(fault))

    failed = []
    kills = hits = 0
    with ThreadPoolExecutor(2) as pool:
        for fault, (copy, answer) in zip(faults, pool.map(disturbed, faults), strict=True):
            kills += fault.what == "SIGKILL"
            hits += fault.what == "SIGKILL" and answer.code != 0
            try:
                _check(case, copy, fault, answer)
            except AssertionError as error:
                failed.append(f"{fault}: {answer}\n    {str(error)[:2000]}\n    left in {copy.root}")
            else:
                shutil.rmtree(copy.root)
    assert not failed, f"avc {' '.join(case.command)}: {len(failed)} of {len(faults)}\n" + "\n".join(failed)
    assert hits * 10 >= kills * 8, f"of {kills} kills only {hits} found their call: what else is then not tested?"


def _check(case: Case, place: Place, fault: Fault, answer: Answer) -> None:
    if fault.what == "SIGKILL":
        assert answer.code in (0, -9, 137), answer
    elif answer.code != 0:
        said_cleanly(answer)
    sound(place.ws)
    case.between(place, answer)
    for ref, files in place.committed.items():
        holds(place.ws, ref, files)
    again = call(place.ws, *case.command)
    assert again.code == 0, f"the second try: {again}"
    sound(place.ws)
    case.after(place)
    for ref, files in place.committed.items():
        holds(place.ws, ref, files)
    sound(place.ws)
