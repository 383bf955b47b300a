"""A million files: the first ``add`` holds them all in memory, what comes after follows what it looks at."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.fixtures import ensure
from benchmarks.harness import Bench, Case, Report, Step, fresh
from benchmarks.local import CHANGED
from benchmarks.workspaces import git_committed, init


def run(bench: Bench) -> Report:
    """Measure one first add and commit, then looking, changing, comparing and one partial checkout."""
    place = workspace_of_a_million(bench)
    data = place / "data"
    count = sum(1 for directory in data.iterdir() for _ in directory.iterdir())
    report = Report(f"million: {count:,} files of about 16 bytes", base="git status")
    bench.alternate(report, [Case(partial(_storing, bench, place), total="avc add+commit")], runs=1)
    cases = [
        Case(lambda _: [Step("avc status", bench.avc("status"), place)]),
        Case(lambda _: [Step("avc add, nothing changed", bench.avc("add", "data"), place)]),
        Case(partial(_changed, bench, place), total=f"avc add+commit, {CHANGED} changed"),
        Case(lambda _: [Step("avc diff, two versions", bench.avc("diff", "data:v0", "data:v1"), place)]),
        Case(partial(_part, bench, place)),
    ]
    report.notes.append(
        "the first add holds an entry of every file in memory, about 1.6 KB each: "
        "above the limit, which was promised for `small` and `large`"
    )
    if bench.peer("git"):
        git_committed(bench, place)
        cases.insert(0, Case(lambda _: [Step("git status", ["git", "status", "--", "data"], place)]))
    else:
        report.notes.append("git is not here: its rows are skipped")
    bench.alternate(report, cases, runs=min(3, bench.runs))
    return report


def workspace_of_a_million(bench: Bench) -> Path:
    """Return the directory whose ``data`` is the fixture, made in place: a copy would take minutes."""
    place = bench.work / f"million-{bench.scale:g}"
    ensure(bench.work, "million", bench.scale, target=place / "data")
    return place


def _storing(bench: Bench, place: Path, number: int) -> Sequence[Step]:
    init(bench, place)
    return [
        Step("avc add", bench.avc("add", "data"), place),
        Step("avc commit", bench.avc("commit", "-m", "first"), place),
    ]


def _changed(bench: Bench, place: Path, number: int) -> Sequence[Step]:
    source = random.Random(f"change {number}")
    directories = sorted((place / "data").iterdir())
    for directory in source.sample(directories, min(CHANGED, len(directories))):
        source.choice(sorted(directory.iterdir())).write_bytes(source.randbytes(16))
    return [
        Step(f"avc add, {CHANGED} changed", bench.avc("add", "data"), place),
        Step(f"avc commit, {CHANGED} changed", bench.avc("commit", "-m", f"round {number}"), place),
    ]


def _part(bench: Bench, place: Path, number: int) -> Sequence[Step]:
    fresh(place / "out")
    argv = bench.avc("checkout", "data:v0", "out", "--path", "d001")
    return [Step("avc checkout, one directory", argv, place)]
