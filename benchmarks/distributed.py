"""Versions built by many: a part costs the same however many there are, and the end follows what there is.

Each part is put in by a run of its own, with four files of 1 KiB. In one repository, and on
a remote that is a directory.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from benchmarks.harness import Bench, Case, Report, Step, Target, fresh
from benchmarks.workspaces import init

COUNTS = (10, 100, 1000)
ADDED = 20
PLACES = {"": "one repository", ", remote": "a remote"}

_PUT = """
import random, sys
import artifactvc as avc
for number in range(int(sys.argv[1]), int(sys.argv[2])):
    with avc.init(group="benchmark") as run:
        part = avc.Artifact("built", "dataset")
        for n in range(4):
            with part.new_file(f"{number:05}/{n}.bin", mode="xb") as file:
                file.write(random.Random(number * 4 + n).randbytes(1024))
        run.upsert_artifact(part)
"""
_FINISH = """
import artifactvc as avc
with avc.init(group="benchmark") as run:
    run.finish_artifact(avc.Artifact("built", "dataset"))
"""


def run(bench: Bench) -> Report:
    """Measure putting in parts beside 10, 100 and 1,000 others, and finishing."""
    counts = [max(2, round(count * bench.scale)) for count in COUNTS]
    report = Report("distributed: parts of 4 files", base=put(counts[0], ""))
    for place in PLACES:
        report.targets += [
            Target(put(counts[-1], place), put(counts[0], place), 1.2),
            Target(end(counts[-1], place), end(counts[1], place), 1.2 * counts[-1] / counts[1]),
        ]
        bench.alternate(report, [Case(partial(_building, bench, place, count)) for count in counts])
    report.notes.append(f"a row of {ADDED} parts is one process, with its start and {ADDED} runs; the end is another")
    for left in ("distributed", "distributed-remote"):
        fresh(bench.work / left)
    return report


def put(count: int, place: str) -> str:
    """The row of parts that are put in beside *count* others."""
    return f"avc {ADDED} parts beside {count:,}{place}"


def end(count: int, place: str) -> str:
    """The row of the end."""
    return f"avc finish {count + ADDED:,} parts{place}"


def _building(bench: Bench, place: str, count: int, number: int) -> Sequence[Step]:
    here = fresh(bench.work / "distributed", make=True)
    init(bench, here)
    if place:
        remote = fresh(bench.work / "distributed-remote")
        bench.run(bench.avc("remote", "add", "origin", str(remote)), here)
    bench.run(_python(_PUT, 0, count), here)
    return [
        Step(put(count, place), _python(_PUT, count, count + ADDED), here),
        Step(end(count, place), _python(_FINISH), here),
    ]


def _python(text: str, *arguments: int) -> list[str]:
    return [sys.executable, "-c", text, *map(str, arguments)]
