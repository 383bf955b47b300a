"""One repository in one process: threads, forks, kills, and what is left when the interpreter ends."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import artifactvc as avc
from artifactvc.sdk.repository import Repository
from tests.sdk.guide.conftest import place  # noqa: F401  a directory with a repository, where each test is


def script(text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, env={**os.environ, **environment}, timeout=120
    )


def runs() -> list[tuple[str, str]]:
    return sorted((run.job_type, run.state) for run in avc.Api().runs())


def test_threads_take_turns():
    """Eight threads that add one path, and paths of their own, lose none and double none."""
    Path("same").write_text("same")
    artifact = avc.Artifact("data", type="dataset")
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for n in range(10):
                artifact.add_file("same")
                with artifact.new_file(f"{number}/{n}") as file:
                    file.write(f"{number} {n}")
        except BaseException as error:  # noqa: BLE001  raised again below
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with avc.init() as run:
        run.log_artifact(artifact)
    assert artifact.file_count == 81


def test_threads_log_at_once():
    """Each its own version; no number is given twice."""
    with avc.init() as run:

        def work(number: int) -> None:
            artifact = avc.Artifact("data", type="dataset")
            with artifact.new_file("n") as file:
                file.write(str(number))
            run.log_artifact(artifact)
            run.log({f"thread{number}": number})

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    versions = avc.Api().artifacts("dataset", "data")
    assert sorted(v.version for v in versions) == [f"v{n}" for n in range(8)]
    assert len(avc.Api().run(run.id).history()) == 8


def _child(parent: str, results: object) -> None:
    with avc.init(job_type="child") as run:
        artifact = avc.Artifact("from-child", type="dataset")
        with artifact.new_file("pid") as file:
            file.write(str(os.getpid()))
        run.log_artifact(artifact)
        results.put(run.id != parent)  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_begin_runs_of_their_own(method):
    """A forked process does not end its parent's run, nor use its connection."""
    with avc.init(job_type="parent") as run:
        run.log({"before": 1})
        context = multiprocessing.get_context(method)
        results = context.Queue()
        child = context.Process(target=_child, args=(run.id, results))
        child.start()
        assert results.get(timeout=60)
        child.join(60)
        assert child.exitcode == 0
        assert run.state == "running"
        run.log({"after": 1})
    assert runs() == [("child", "finished"), ("parent", "finished")]
    assert [sorted(set(m) - {"_step", "_runtime", "_timestamp"}) for m in avc.Api().run(run.id).history()] == [
        ["before"], ["after"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("ending", "state", "code"),
    [
        ("", "finished", 0),
        ("raise SystemExit(0)", "finished", 0),
        ("1/0", "failed", 1),
        ("raise SystemExit(3)", "finished", 3),
    ],
)
def test_a_run_that_nobody_finished_ends_with_the_interpreter(ending, state, code):
    """As failed where an error that nobody caught ended it."""
    done = script(f"import artifactvc as avc; run = avc.init(job_type='left'); run.log({{'x': 1}}); {ending}")
    assert done.returncode == code, done.stderr
    assert runs() == [("left", state)]
    (run,) = avc.Api().runs()
    assert run.summary["x"] == 1


def test_a_killed_script_leaves_a_sound_repository():
    """`kill -9` while logging: every version that was told is whole, the run shows as crashed, gc cleans up."""
    text = (
        "import artifactvc as avc, os\n"
        "run = avc.init(job_type='killed')\n"
        "for n in range(1000):\n"
        "    a = avc.Artifact('data', type='dataset')\n"
        "    for k in range(3):\n"
        "        with a.new_file(f'f{k}', 'wb') as f: f.write(os.urandom(200_000 if k else 100))\n"
        "    run.log_artifact(a); run.log({'n': n})\n"
        "    print(a.version, a.digest, flush=True)\n"
    )
    told: list[tuple[str, str]] = []
    for wait in (0.0, 0.03, 0.06):
        child = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(3)]
        time.sleep(wait)  # where in the next version it dies
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.readlines()
        child.wait()
        told += [tuple(line.split()) for line in lines if line.endswith("\n")]  # type: ignore[misc]
    with Repository.open() as repository:
        assert repository.fsck(full=True).problems == ()
        kept = {v.version: v.digest for v in repository.log("data")}
        assert {version: kept.get(version) for version, _ in told} == dict(told)
        assert {state for _, state in runs()} == {"crashed"}
        repository.gc(grace="0s")
        assert list(Path(".artifacts/drafts").iterdir()) == []
        assert repository.fsck(full=True).problems == ()


def test_an_unreachable_repository_is_one_line(tmp_path):
    """No traceback of ours is hidden, and none is shown where nothing is wrong with the program."""
    text = (
        "import artifactvc as avc\n"
        "try: avc.Api().artifact('x')\n"
        "except avc.Error as error: print(type(error).__name__, error)\n"
    )
    done = script(text, AVC_DIR=str(tmp_path / "nowhere"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("CommError ")


def test_a_repository_made_by_init_is_told():
    """On stderr, once; `AVC_SILENT` keeps it quiet."""
    Path("fresh").mkdir()
    os.chdir("fresh")
    done = script("import artifactvc as avc\nwith avc.init(): pass", AVC_DIR="")
    assert done.stderr == ""  # the one above is found
    text = "import artifactvc as avc\nwith avc.init(dir='.'): pass"
    import tempfile

    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run([sys.executable, "-c", text], cwd=empty, capture_output=True, text=True)
        root = os.path.realpath(empty)
        assert done.stderr == f"avc: made a repository at {root}/.artifacts (project {Path(root).name})\n"
    with tempfile.TemporaryDirectory() as empty:
        environment = {**os.environ, "AVC_SILENT": "1"}
        done = subprocess.run([sys.executable, "-c", text], cwd=empty, capture_output=True, text=True, env=environment)
        assert done.stderr == ""


def test_importing_the_package_loads_nothing():
    """`import artifactvc` costs what Python costs; each name is loaded when it is used."""
    text = (
        "import json, sys; before = set(sys.modules); import artifactvc\n"
        "print(json.dumps(sorted(m for m in set(sys.modules) - before if m.startswith('artifactvc'))))\n"
    )
    done = script(text)
    assert json.loads(done.stdout) == ["artifactvc"]
