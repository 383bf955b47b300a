"""Cases, alternating runs, tables and targets: what every topic is made of.

A topic makes cases, hands groups of them to ``Bench.alternate`` and names its
targets. In each round every case of a group runs once, each after its own
untimed preparation and a ``sync``, so that a slow quarter of an hour on the disk
meets all of them. The best of the runs counts; all of them are printed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks import measure
from benchmarks.measure import Measured

MIB = 1 << 20


class Step(NamedTuple):
    """One timed process: the row it is reported in, and how to start it."""

    row: str
    argv: Sequence[str]
    cwd: Path


@dataclass(frozen=True)
class Case:
    """What is timed together: ``prepare(round)`` does the untimed work and returns the steps.

    With ``total`` there is also a row of that name with the steps' sum.
    """

    prepare: Callable[[int], Sequence[Step]]
    total: str = ""


@dataclass(frozen=True)
class Target:
    """A promise of the issue: the best of *row* is at most *limit* times the best of *base*.

    With *beyond*, it takes at most *limit* seconds more than *base*. *goal* is what we aim
    at beyond the promise. A row that was not measured (its peer is missing) leaves the target
    unanswered.
    """

    row: str
    base: str
    limit: float
    goal: float | None = None
    beyond: bool = False


@dataclass
class Report:
    """The rows of one topic, in the order they were first measured, and its targets."""

    title: str
    base: str  # the row that the table's ratios are to
    rows: dict[str, list[Measured]] = field(default_factory=dict)
    targets: list[Target] = field(default_factory=list)
    peak_limit: int = 300 * MIB  # of every row that begins with "avc"
    notes: list[str] = field(default_factory=list)

    def best(self, row: str) -> float | None:
        """Return the shortest wall time of *row*, or None if it was not measured."""
        return min((run.wall for run in self.rows[row]), default=None) if row in self.rows else None


class Bench:
    """Where things are and how often they run; given to each topic."""

    def __init__(self, work: Path, *, runs: int = 5, scale: float = 1.0, peers: bool = True) -> None:
        self.work, self.runs, self.scale, self.peers = work, runs, scale, peers
        work.mkdir(parents=True, exist_ok=True)
        home = work / "home"
        home.mkdir(exist_ok=True)
        self._aside = work / "removed"
        self._aside.mkdir(exist_ok=True)
        _ASIDE.append(self._aside)
        beside = Path(sys.executable).with_name("avc")
        self._avc = str(beside) if beside.exists() else (shutil.which("avc") or "avc")
        foreign = ("AVC_", "WANDB_", "AWS_", "GIT_", "RESTIC_", "PYTHON")
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        self.env |= {
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "XDG_CACHE_HOME": str(home / ".cache"),
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "NO_COLOR": "1",
            "RESTIC_PASSWORD": "benchmark",
            "RESTIC_CACHE_DIR": str(home / "restic-cache"),
        }

    def avc(self, *args: str) -> list[str]:
        """Return the command line that runs the `avc` beside this Python."""
        return [self._avc, *args]

    def peer(self, program: str) -> bool:
        """Say whether *program* is here and wanted."""
        return self.peers and shutil.which(program) is not None

    def clear(self) -> None:
        """Delete what ``fresh`` put out of the way."""
        shutil.rmtree(self._aside)
        self._aside.mkdir()

    def run(self, argv: Sequence[str], cwd: Path) -> Measured:
        """Run *argv* in *cwd* with the benchmark's environment; raises CommandFailed."""
        return measure.measure(argv, cwd, self.env)

    def alternate(self, report: Report, cases: Iterable[Case], *, runs: int | None = None) -> None:
        """Run every case once a round and add what each took to *report*."""
        cases = list(cases)
        for number in range(runs or self.runs):
            for case in cases:
                steps = case.prepare(number)
                os.sync()
                taken = [self.run(step.argv, step.cwd) for step in steps]
                named = [(step.row, one) for step, one in zip(steps, taken, strict=True)]
                if case.total:
                    whole = taken[0]
                    for one in taken[1:]:
                        whole = whole.plus(one)
                    named.append((case.total, whole))
                for row, one in named:
                    report.rows.setdefault(row, []).append(one)
                print(f"  round {number + 1}: " + ", ".join(f"{r} {o.wall:.3f} s" for r, o in named), file=sys.stderr)


_ASIDE: list[Path] = []  # where the newest Bench puts what it no longer needs


def fresh(directory: Path, *, make: bool = False) -> Path:
    """Put *directory* out of the way with all in it, make it again if asked, and return it.

    It is deleted when everything has been measured: ext4 looks, one by one, at the inodes that were
    freed in the last minutes whenever a file is created, so a `cp -r` soon after a large `rm -r` takes
    ten times as long.
    """
    if os.path.lexists(directory):
        os.rename(directory, _ASIDE[-1] / secrets.token_hex(8))
    if make:
        directory.mkdir(parents=True)
    return directory


def format_report(report: Report) -> str:
    """Return the report as Markdown: a table of rows, a table of targets, the notes."""
    lines = [f"## {report.title}", "", *_table(report), ""]
    if report.targets or report.peak_limit:
        lines += ["| target | at most | here | |", "|---|---:|---:|---|", *_answers(report), ""]
    return "\n".join([*lines, *(f"- {note}" for note in report.notes), *([""] if report.notes else [])])


def _table(report: Report) -> Iterable[str]:
    base = report.best(report.base)
    yield f"| command | best s | times {report.base} | CPU s | peak MiB | every run, s |"
    yield "|---|---:|---:|---:|---:|---|"
    for row, runs in report.rows.items():
        best = min(runs)
        ratio = f"{best.wall / base:.2f}" if base else "-"
        peak = max(run.peak for run in runs) / MIB
        every = " ".join(f"{run.wall:.3f}" if run.wall < 1 else f"{run.wall:.2f}" for run in runs)
        yield f"| {row} | {best.wall:.3f} | {ratio} | {best.cpu:.2f} | {peak:.0f} | {every} |"


def _answers(report: Report) -> Iterable[str]:
    for target in report.targets:
        top, base = report.best(target.row), report.best(target.base)
        name = f"{target.row}, seconds beyond {target.base}" if target.beyond else f"{target.row}, to {target.base}"
        aim = f" (goal {target.goal:g})" if target.goal is not None else ""
        if top is None or base is None:
            yield f"| {name} | {target.limit:g}{aim} | - | not measured |"
            continue
        ratio = top - base if target.beyond else top / base
        verdict = "missed" if ratio > target.limit else "met"
        if verdict == "met" and target.goal is not None:
            verdict = "met, goal too" if ratio <= target.goal else "met, goal missed"
        yield f"| {name} | {target.limit:g}{aim} | {ratio:.2f} | {verdict} |"
    peaks = [run.peak for row, runs in report.rows.items() if row.startswith("avc") for run in runs]
    if peaks and report.peak_limit:
        verdict = "met" if max(peaks) <= report.peak_limit else "missed"
        name = "peak MiB of every avc process tree"
        yield f"| {name} | {report.peak_limit / MIB:.0f} | {max(peaks) / MIB:.0f} | {verdict} |"
