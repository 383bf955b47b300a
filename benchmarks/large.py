"""One file of 2 GiB, from a warm cache: store it and bring it back."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.fixtures import ensure
from benchmarks.harness import Bench, Case, Report, Step, Target, fresh
from benchmarks.workspaces import committed, init, restic, restic_init, workspace

TARGETS = [
    Target("avc add+commit", "cp and sync FILE", 1.4),
    Target("avc checkout", "cp", 1.3),
]


def run(bench: Bench) -> Report:
    """Measure storing and checking out one large file."""
    data = ensure(bench.work, "large", bench.scale) / "large.bin"
    report = Report(f"large: one file of {data.stat().st_size / 2**20:,.0f} MiB", base="cp", targets=TARGETS)
    # Storing and checking out have workspaces of their own: a repository that is wiped cannot be read.
    storing = workspace(bench, f"large-{bench.scale:g}-storing", data.parent)
    kept = workspace(bench, f"large-{bench.scale:g}-kept", data.parent)
    committed(bench, kept)
    cases = [
        Case(partial(_copying, bench, data), total="cp and sync FILE"),
        Case(partial(_storing, bench, storing), total="avc add+commit"),
        Case(partial(_checking_out, bench, kept)),
    ]
    if bench.peer("restic"):
        repository = restic_init(bench, "restic-kept")
        bench.run(restic(repository, "backup", str(data)), bench.work)
        cases += [
            Case(partial(_restic_backup, bench, data)),
            Case(partial(_restic_restore, bench, repository)),
        ]
    else:
        report.notes.append("restic is not here (`apt-get install restic`): its rows are skipped")
    bench.alternate(report, cases)
    for left in (bench.work / "copy", kept / "out", bench.work / "restored", bench.work / "restic"):
        fresh(left)
    bench.clear()
    return report


def warm(path: Path) -> None:
    """Read *path* once, so that the measured command finds it in memory."""
    with open(path, "rb", buffering=0) as file:
        window = bytearray(1 << 20)
        while file.readinto(window):
            pass


def _copying(bench: Bench, data: Path, number: int) -> Sequence[Step]:
    target = fresh(bench.work / "copy", make=True) / "large.bin"
    bench.clear()  # gigabytes in a few files: no run is slower for it
    warm(data)
    return [
        Step("cp", ["cp", str(data), str(target)], bench.work),
        Step("sync FILE", ["sync", str(target)], bench.work),
    ]


def _storing(bench: Bench, place: Path, number: int) -> Sequence[Step]:
    init(bench, place)
    bench.clear()
    warm(place / "data" / "large.bin")
    return [
        Step("avc add", bench.avc("add", "data"), place),
        Step("avc commit", bench.avc("commit", "-m", "first"), place),
    ]


def _checking_out(bench: Bench, place: Path, number: int) -> Sequence[Step]:
    fresh(place / "out")
    bench.clear()
    for path in (place / ".artifacts").rglob("*"):
        if path.is_file():
            warm(path)
    return [Step("avc checkout", bench.avc("checkout", "data:v0", "out"), place)]


def _restic_backup(bench: Bench, data: Path, number: int) -> Sequence[Step]:
    repository = restic_init(bench, "restic")
    bench.clear()
    warm(data)
    return [Step("restic backup", restic(repository, "backup", str(data)), bench.work)]


def _restic_restore(bench: Bench, repository: Path, number: int) -> Sequence[Step]:
    target = fresh(bench.work / "restored")
    bench.clear()
    return [Step("restic restore", restic(repository, "restore", "latest", "--target", str(target)), bench.work)]
