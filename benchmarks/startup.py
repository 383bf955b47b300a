"""What a command costs before it does anything, as a ratio to starting Python."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from benchmarks.harness import Bench, Case, Report, Step, Target, fresh
from benchmarks.workspaces import committed

TARGETS = [
    Target("avc --version", "python3 -c pass", 7.5),
    Target("avc status, tiny repository", "python3 -c pass", 14, goal=10),
]


def run(bench: Bench) -> Report:
    """Measure commands in a repository of three files; four times the usual runs, since each is short."""
    place = fresh(bench.work / "tiny", make=True)
    (place / "data").mkdir()
    for name in "abc":
        (place / "data" / name).write_text(f"{name}\n")
    committed(bench, place)
    bench.run(bench.avc("status"), place)
    rows = {
        "python3 -c pass": [sys.executable, "-c", "pass"],
        "avc --version": bench.avc("--version"),
        "avc --help": bench.avc("--help"),
        "avc status, tiny repository": bench.avc("status"),
        "avc log, tiny repository": bench.avc("log", "data"),
    }
    if bench.peer("git"):
        rows["git --version"] = ["git", "--version"]
    report = Report("startup: a repository of 3 files", base="python3 -c pass", targets=TARGETS)
    cases = [Case(partial(_plain, Step(row, argv, place))) for row, argv in rows.items()]
    bench.alternate(report, cases, runs=4 * bench.runs)
    return report


def _plain(step: Step, number: int) -> Sequence[Step]:
    return [step]
