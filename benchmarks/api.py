"""The Python API beside the command line, and small changes to a version of a million entries.

``small`` is stored by ``avc add`` and ``avc commit``, and by one Python process that does the
same. Then a version of a million entries: one file of it is fetched by a run, and one file is
added to a draft of it; both should follow what is asked for, and not the size of the version.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.fixtures import ensure
from benchmarks.harness import Bench, Case, Report, Step, Target, fresh
from benchmarks.million import workspace_of_a_million
from benchmarks.workspaces import committed, init, workspace

_IMPORT = "import artifactvc"
_LOG = """
import artifactvc as avc
with avc.init() as run:
    data = avc.Artifact("data", type="dataset")
    data.add_dir("data")
    run.log_artifact(data).wait()
"""
_NOTHING = """
import artifactvc as avc
with avc.init() as run:
    pass
"""
_ONE_FILE = """
import sys
import artifactvc as avc
with avc.init() as run:
    run.use_artifact("data:v0").download(root=sys.argv[1], path_prefix="d001/f001.bin")
"""
_DRAFT = """
import sys
import artifactvc as avc
draft = avc.Api().artifact("data:v0").new_draft()
draft.add_file(sys.argv[1], name=f"d001/{sys.argv[1]}")
draft.save()
"""

TARGETS = [
    Target("avc, add_dir+log_artifact of small", "avc add+commit of small", 1.2),
    Target("avc, use_artifact+download of 1 file", "avc, a run with nothing in it", 0.5, beyond=True),
    Target("avc, new_draft+add_file+save", "import artifactvc", 1.0, beyond=True),
]


def run(bench: Bench) -> Report:
    """Measure the API on ``small``, then on a version of a million entries."""
    small = workspace(bench, f"small-{bench.scale:g}-api", ensure(bench.work, "small", bench.scale))
    large = workspace_of_a_million(bench)
    committed(bench, large)
    report = Report("api: `small`, and a version of a million entries", base="import artifactvc", targets=TARGETS)
    bench.alternate(
        report,
        [
            Case(lambda _: [Step("import artifactvc", _python(_IMPORT), large)]),
            Case(lambda _: [Step("avc, a run with nothing in it", _python(_NOTHING), large)]),
            Case(partial(_one_file, bench, large)),
            Case(partial(_draft, large)),
            Case(partial(_command_line, bench, small), total="avc add+commit of small"),
            Case(partial(_logged, bench, small)),
        ],
    )
    return report


def _one_file(bench: Bench, place: Path, number: int) -> Sequence[Step]:
    root = fresh(bench.work / "api-download")
    return [Step("avc, use_artifact+download of 1 file", _python(_ONE_FILE, str(root)), place)]


def _draft(place: Path, number: int) -> Sequence[Step]:
    name = f"new-{number}.bin"
    (place / name).write_bytes(name.encode() * 1000)
    return [Step("avc, new_draft+add_file+save", _python(_DRAFT, name), place)]


def _command_line(bench: Bench, place: Path, number: int) -> Sequence[Step]:
    init(bench, place)
    return [
        Step("avc add of small", bench.avc("add", "data"), place),
        Step("avc commit of small", bench.avc("commit", "-m", "first"), place),
    ]


def _logged(bench: Bench, place: Path, number: int) -> Sequence[Step]:
    init(bench, place)
    return [Step("avc, add_dir+log_artifact of small", _python(_LOG), place)]


def _python(text: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", text, *arguments]
