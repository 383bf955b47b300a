"""Many small files, here: store them, bring them back, look for changes, take changes in.

The topics ``small`` (50,000 files of about 4 KiB) and ``tree`` (real source files).
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.fixtures import ensure
from benchmarks.harness import Bench, Case, Report, Step, Target, fresh
from benchmarks.workspaces import committed, git_committed, init, restic, restic_init, workspace

CHANGED = 100
_IGNORE = "*.tmp\n*.log\nbuild/\n/cache/**\n!keep.log\n"

STORE = [
    Target("avc add+commit", "cp -r", 0.8),
    Target("avc add+commit", "restic backup", 1.0),
    Target("avc checkout", "cp -r", 1.3),
    Target("avc checkout", "restic restore", 1.0),
]
LOOK = [
    Target("avc status", "git status", 6, goal=4),
    Target("avc status, 5 ignore patterns", "git status", 6, goal=4),
    Target("avc add, nothing changed", "git status", 6, goal=4),
    Target(f"avc add, {CHANGED} changed", "avc status", 1.5),
    Target(f"avc add+commit, {CHANGED} changed", "avc status", 2.5),
]


def run(bench: Bench, fixture: str = "small") -> Report:
    """Measure storing, restoring and looking for changes on *fixture*."""
    data = ensure(bench.work, fixture, bench.scale)
    report = Report(f"{fixture}: {_describe(data)}", base="cp -r")
    # The targets were set for `small`; other trees show the same rows and answer nothing.
    report.targets = [*STORE, *LOOK] if fixture == "small" else []
    storing = workspace(bench, f"{fixture}-{bench.scale:g}-storing", data)
    looking = workspace(bench, f"{fixture}-{bench.scale:g}-looking", data)
    with_git = workspace(bench, f"{fixture}-{bench.scale:g}-git", data)
    committed(bench, looking)
    _store(bench, report, data, storing, looking)
    _look(bench, report, looking, with_git)
    return report


def _store(bench: Bench, report: Report, data: Path, storing: Path, looking: Path) -> None:
    copy = bench.work / "copy"
    cases = [
        Case(partial(copying, data, copy)),
        Case(partial(_storing, bench, storing), total="avc add+commit"),
        Case(partial(_checking_out, bench, looking)),
    ]
    if bench.peer("restic"):
        kept = restic_init(bench, "restic-kept")
        bench.run(restic(kept, "backup", str(data)), bench.work)
        cases.insert(1, Case(partial(_restic_backup, bench, data)))
        cases.insert(3, Case(partial(_restic_restore, bench, kept)))
    else:
        report.notes.append("restic is not here (`apt-get install restic`): its rows are skipped")
    bench.alternate(report, cases)
    for left in (copy, looking / "out", bench.work / "restored"):
        fresh(left)


def copying(data: Path, copy: Path, number: int) -> Sequence[Step]:
    """Prepare `cp -r` of *data* to a directory that is not there."""
    fresh(copy)
    return [Step("cp -r", ["cp", "-r", str(data), str(copy)], data.parent)]


def _storing(bench: Bench, place: Path, number: int) -> Sequence[Step]:
    init(bench, place)
    return [
        Step("avc add", bench.avc("add", "data"), place),
        Step("avc commit", bench.avc("commit", "-m", "first"), place),
    ]


def _checking_out(bench: Bench, place: Path, number: int) -> Sequence[Step]:
    fresh(place / "out")
    return [Step("avc checkout", bench.avc("checkout", "data:v0", "out"), place)]


def _restic_backup(bench: Bench, data: Path, number: int) -> Sequence[Step]:
    repository = restic_init(bench, "restic")
    return [Step("restic backup", restic(repository, "backup", str(data)), bench.work)]


def _restic_restore(bench: Bench, repository: Path, number: int) -> Sequence[Step]:
    target = fresh(bench.work / "restored")
    return [Step("restic restore", restic(repository, "restore", "latest", "--target", str(target)), bench.work)]


def _look(bench: Bench, report: Report, looking: Path, with_git: Path) -> None:
    committed(bench, looking)
    cases = [
        Case(partial(_status, bench, looking, "avc status", "")),
        Case(partial(_status, bench, looking, "avc status, 5 ignore patterns", _IGNORE)),
        Case(partial(_add_again, bench, looking)),
        Case(partial(_changed, bench, looking), total=f"avc add+commit, {CHANGED} changed"),
    ]
    if bench.peer("git"):
        git_committed(bench, with_git)
        cases.insert(0, Case(lambda _: [Step("git status", ["git", "status"], with_git)]))
    else:
        report.notes.append("git is not here: its rows are skipped")
    bench.alternate(report, cases)


def _status(bench: Bench, place: Path, row: str, patterns: str, number: int) -> Sequence[Step]:
    ignore = place / ".avcignore"
    if patterns:
        ignore.write_text(patterns)
    else:
        ignore.unlink(missing_ok=True)
    bench.run(bench.avc("status"), place)  # the second status is the everyday one: caches are as the first left them
    return [Step(row, bench.avc("status"), place)]


def _add_again(bench: Bench, place: Path, number: int) -> Sequence[Step]:
    (place / ".avcignore").unlink(missing_ok=True)
    return [Step("avc add, nothing changed", bench.avc("add", "data"), place)]


def _changed(bench: Bench, place: Path, number: int) -> Sequence[Step]:
    change(place / "data", CHANGED, number)
    return [
        Step(f"avc add, {CHANGED} changed", bench.avc("add", "data"), place),
        Step(f"avc commit, {CHANGED} changed", bench.avc("commit", "-m", f"round {number}"), place),
    ]


def change(data: Path, count: int, number: int) -> None:
    """Give *count* files spread over *data* new bytes, others in each round."""
    source = random.Random(f"change {number}")
    # Names as plain text, since the kernel counts this process's memory to the commands it starts.
    files = sorted(os.path.join(directory, name) for directory, _, names in os.walk(data) for name in names)
    for name in source.sample(files, min(count, len(files))):
        Path(name).write_bytes(source.randbytes(4096))


def _describe(data: Path) -> str:
    count = size = 0
    for directory, _, names in os.walk(data):
        count += len(names)
        size += sum(os.stat(os.path.join(directory, name)).st_size for name in names)
    return f"{count:,} files, {size / 2**20:,.0f} MiB"
