"""A remote with a long log in a directory: a clone, its first push, and a fetch with nothing new.

Beside the times stands how many files of the remote a clone and its first push read, counted
by strace where there is one, those that are not there included: the promise is 80.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.biglog import BigLog
from benchmarks.harness import Bench, Case, Report, Step, Target, fresh
from benchmarks.remote import remote_calls
from benchmarks.workspaces import init

ENTRIES, FEW = 10_000, 100
MOST = 80
_FILE = re.compile(r"avc\.json|log/\d{20}\.json|log/checkpoint/\d+/\d+|index/.+|packs/[^/]+/.+|probe/.+")


def run(bench: Bench) -> Report:
    """Measure remotes with 10,000 and with 100 entries."""
    counts = [max(2, round(count * bench.scale)) for count in (ENTRIES, FEW)]
    report = Report("log: a clone of a long log", base=f"avc clone, {counts[1]:,} entries")
    cases = []
    for count in counts:
        cases.append(Case(partial(_cloning, bench, _remote(bench, count), count)))
    row, base = (f"avc fetch, nothing new, {count:,} entries" for count in counts)
    report.targets.append(Target(row, base, 1.2))
    bench.alternate(report, cases)
    report.notes.append(_files(bench, counts[0]))
    for count in counts:
        fresh(bench.work / f"log-{count}")
    fresh(bench.work / "log-clone")
    return report


def _remote(bench: Bench, count: int) -> Path:
    """A remote with so many entries, the first of them a real push."""
    place, shared = fresh(bench.work / "log-first", make=True), fresh(bench.work / f"log-{count}")
    init(bench, place)
    bench.run(bench.avc("remote", "add", "origin", str(shared)), place)
    _commit(bench, place, "first")
    bench.run(bench.avc("push"), place)
    fresh(place)
    BigLog(shared).grow(count)
    return shared


def _commit(bench: Bench, place: Path, name: str) -> None:
    (place / name).mkdir()
    (place / name / "a.txt").write_text(name)
    bench.run(bench.avc("add", name), place)
    bench.run(bench.avc("commit"), place)


def _cloning(bench: Bench, shared: Path, count: int, number: int) -> Sequence[Step]:
    clone = fresh(bench.work / "log-clone")
    return [
        Step(f"avc clone, {count:,} entries", bench.avc("clone", str(shared), str(clone)), bench.work),
        Step(f"avc fetch, nothing new, {count:,} entries", bench.avc("-C", str(clone), "fetch"), bench.work),
    ]


def _files(bench: Bench, count: int) -> str:
    if shutil.which("strace") is None:
        return "strace is not here: the files that a clone and its first push read were not counted"
    shared, clone = bench.work / f"log-{count}", fresh(bench.work / "log-clone")
    read: list[str] = []

    def traced(*arguments: str) -> None:
        trace = bench.work / "trace"
        bench.run(
            ["strace", "-f", "-y", "-qq", "-e", "trace=%file", "-o", str(trace), *bench.avc(*arguments)], bench.work
        )
        calls = remote_calls(trace.read_text(errors="replace"), str(shared))
        read.extend(path for name, path, _ in calls if name.startswith("open") and _FILE.fullmatch(path))

    traced("clone", str(shared), str(clone))
    cloned = len(read)
    _commit(bench, clone, "second")
    traced("-C", str(clone), "push")
    verdict = "met" if len(read) <= MOST else "missed"
    return f"by strace, a clone reads {cloned} files, with its first push {len(read)}: at most {MOST}: {verdict}"
