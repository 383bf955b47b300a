"""Lineage of ten thousand runs with fifty thousand edges, as whole processes, in each format.

Two shapes. In ``wide`` a hundred layers of a hundred runs use versions of the layer before; in
``chain`` each run uses the versions just before it, so that the walk takes thousands of steps
with hardly anything in each. Each run makes one version; the first ones use ``raw``.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.harness import Bench, Case, Report, Step, Target

RUNS, USED, WIDTH = 10_000, 4, 100
_IN_ENTRY = 500  # records in one log entry, which has at most 1 MiB

TARGETS = [
    Target("avc lineage, wide, down", "python3 -c pass", 75, goal=60),
    Target("avc lineage, wide, up", "python3 -c pass", 75, goal=60),
    Target("avc lineage, chain, down", "python3 -c pass", 75, goal=60),
    Target("avc lineage, wide, 2 steps", "python3 -c pass", 20, goal=15),
]


def run(bench: Bench) -> Report:
    """Measure lineage of both shapes in each format, and the list of the newest runs."""
    count = max(WIDTH, round(RUNS * bench.scale))
    wide, chain = (_repository(bench, shape, count) for shape in ("wide", "chain"))
    last = f"made:v{count - 1}"
    commands: list[tuple[str, Path, Sequence[str]]] = [
        ("python3 -c pass", wide, [sys.executable, "-c", "pass"]),
        ("avc lineage, wide, down", wide, bench.avc("lineage", "raw", "--down")),
        ("avc lineage, wide, up", wide, bench.avc("lineage", last, "--up")),
        ("avc lineage, wide, 2 steps", wide, bench.avc("lineage", last, "--depth", "2")),
        ("avc lineage, chain, down", chain, bench.avc("lineage", "raw", "--down")),
        ("avc lineage, chain, up", chain, bench.avc("lineage", last, "--up")),
    ]
    for style in ("json", "dot", "mermaid", "openlineage"):
        commands.append((f"avc lineage, wide, {style}", wide, bench.avc("lineage", "raw", "--format", style)))
    commands.append(("avc runs -n 20", wide, bench.avc("runs", "-n", "20")))
    edges = sum(len(list(_used("wide", number, count))) for number in range(count)) + count
    report = Report(f"lineage: {count:,} runs, {edges:,} edges", base="python3 -c pass", targets=TARGETS)
    report.notes.append(
        "wide: 100 layers of 100 runs, each uses versions of the layer before; down and up reach nearly all"
    )
    report.notes.append("chain: each run uses the versions just before it, so the walk takes thousands of steps")
    bench.alternate(report, [Case(partial(_plain, Step(row, argv, place))) for row, place, argv in commands])
    return report


def _plain(step: Step, number: int) -> Sequence[Step]:
    return [step]


# ---- the repositories ------------------------------------------------------------------------------


def _repository(bench: Bench, shape: str, count: int) -> Path:
    """A repository of *shape*, made on first use, in a process of its own; its index is made, too."""
    place = bench.work / f"lineage-{shape}-{count}"
    if not (place / ".complete").exists():
        place.mkdir(exist_ok=True)
        subprocess.run([sys.executable, "-m", "benchmarks.lineage", shape, str(place), str(count)], check=True)
        bench.run(bench.avc("lineage", "raw"), place)
        (place / ".complete").touch()
    return place


def _used(shape: str, number: int, count: int) -> Iterator[int]:
    """What run *number* uses: numbers of earlier runs, whose versions they are; -1 is ``raw``."""
    if number < WIDTH:
        yield -1
    elif shape == "chain":
        yield from range(number - USED, number)
    else:
        first = number // WIDTH * WIDTH - WIDTH
        yield from random.Random(number).sample(range(first, first + WIDTH), USED + (number >= count - 3 * WIDTH))


def _make(shape: str, place: Path, count: int) -> None:
    from artifactvc.ops.session import append
    from artifactvc.sdk.repository import Repository

    repository, _ = Repository.init(place, project="demo")
    with repository:
        records = list(_records(shape, count))
        for start in range(0, len(records), _IN_ENTRY):
            append(repository.session, "benchmark", partial(records.__getitem__, slice(start, start + _IN_ENTRY)))


def _records(shape: str, count: int) -> Iterator[dict[str, Any]]:
    raw, made = "0" * 32, "1" * 32
    for artifact, name in ((raw, "raw"), (made, "made")):
        fields = {"project": "demo", "name": name, "type": "dataset"}
        yield {"kind": "artifact", "artifact": artifact, "set": fields, "was": {}}
    yield {"kind": "version", "artifact": raw, "digest": _digest(-1), "number": 0}
    for number in range(count):
        used = [
            {"artifact": raw if other < 0 else made, "digest": _digest(other)} for other in _used(shape, number, count)
        ]
        fields = {"project": "demo", "job_type": "train", "state": "finished", "ended": "2026-01-02T03:04:05.000000Z"}
        yield {"kind": "run", "run": f"r{number:07}", "set": fields, "was": {}, "used": used}
        yield {
            "kind": "version", "artifact": made, "digest": _digest(number), "number": number, "run": f"r{number:07}",
        }  # fmt: skip


def _digest(number: int) -> str:
    return sha256(str(number).encode()).hexdigest()


if __name__ == "__main__":
    _make(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
