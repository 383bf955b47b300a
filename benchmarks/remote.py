"""Sharing through a directory: push, push again, clone.

Beside the times stands what a push with nothing new looks at on the remote,
counted by strace where there is one: the promise is one read of the log and no
listing.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.fixtures import ensure
from benchmarks.harness import Bench, Case, Report, Step, Target, fresh
from benchmarks.local import copying
from benchmarks.workspaces import committed, restic, restic_init, workspace

TARGETS = [Target("avc push", "cp -r", 1.0)]
_CALL = re.compile(r"^\d+ +(\w+)\((.*)\) = (-?\d+)")


def run(bench: Bench) -> Report:
    """Measure pushing `small` to a directory, pushing again and cloning."""
    data = ensure(bench.work, "small", bench.scale)
    place = workspace(bench, f"small-{bench.scale:g}-sharing", data)
    shared = bench.work / "shared"
    report = Report("remote: `small` to a directory", base="cp -r", targets=TARGETS)
    cases = [
        Case(partial(copying, data, bench.work / "copy")),
        Case(partial(_pushing, bench, place, shared)),
        Case(lambda _: [Step("avc push again", bench.avc("push"), place)]),
        Case(partial(_cloning, bench, shared)),
    ]
    if bench.peer("restic"):
        bench.env["RESTIC_FROM_PASSWORD"] = bench.env["RESTIC_PASSWORD"]
        source = restic_init(bench, "restic-kept")
        bench.run(restic(source, "backup", str(data)), bench.work)
        cases.append(Case(partial(_restic_copy, bench, source)))
    else:
        report.notes.append("restic is not here (`apt-get install restic`): its rows are skipped")
    bench.alternate(report, cases)
    report.notes.append(_reads(bench, place, shared))
    for left in ("copy", "clone", "restic", "restic-kept"):
        fresh(bench.work / left)
    return report


def _pushing(bench: Bench, place: Path, shared: Path, number: int) -> Sequence[Step]:
    committed(bench, place)
    fresh(shared)
    bench.run(bench.avc("remote", "add", "origin", str(shared)), place)
    return [Step("avc push", bench.avc("push"), place)]


def _cloning(bench: Bench, shared: Path, number: int) -> Sequence[Step]:
    fresh(bench.work / "clone")
    return [Step("avc clone", bench.avc("clone", str(shared), "clone"), bench.work)]


def _restic_copy(bench: Bench, source: Path, number: int) -> Sequence[Step]:
    target = fresh(bench.work / "restic")
    bench.run(restic(target, "init"), bench.work)
    return [Step("restic copy", restic(target, "copy", "--from-repo", str(source)), bench.work)]


def _reads(bench: Bench, place: Path, shared: Path) -> str:
    if shutil.which("strace") is None:
        return "strace is not here: what a push with nothing new reads was not counted"
    trace = bench.work / "trace"
    bench.run(
        ["strace", "-f", "-y", "-qq", "-e", "trace=%file,getdents64", "-o", str(trace), *bench.avc("push")], place
    )
    calls = remote_calls(trace.read_text(errors="replace"), str(shared))
    opened = [path for name, path, result in calls if name.startswith("open") and result >= 0]
    absent = [path for name, path, result in calls if name.startswith("open") and result < 0]
    listed = [path for name, path, _ in calls if name == "getdents64"]
    logs = [path for path in opened + absent if path.startswith("log/")]
    verdict = "met" if len(logs) == 1 and not listed else "missed"
    tell = f"opened {opened or 'nothing'}, found absent {absent or 'nothing'}, listed {listed or 'nothing'}"
    return f"push again, by strace: {tell}: one read of the log, no listing: {verdict}"


def remote_calls(trace: str, shared: str) -> list[tuple[str, str, int]]:
    """Return (call, path below *shared*, result) of each call in strace's output that names something there."""
    found = []
    for line in trace.splitlines():
        call = _CALL.match(line)
        if call is None:
            continue
        named = re.search(r"<([^>]*)>(?:, \"([^\"]*)\")?", call[2]) if "<" in call[2].split('"')[0] else None
        first = re.search(r'"([^"]*)"', call[2])
        path = first[1] if first else ""
        if not path.startswith("/") and named:
            path = f"{named[1]}/{path}".rstrip("/")
        if path == shared or path.startswith(shared + "/"):
            found.append((call[1], path[len(shared) + 1 :], int(call[3])))
    return found
