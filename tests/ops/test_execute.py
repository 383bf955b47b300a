"""Running a command from Python: what the repository is like before, while and after. Children are real."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from artifactvc.errors import UnknownArtifact, UnknownPath, UsageError
from artifactvc.ops import execute
from artifactvc.sdk.repository import Repository
from tests.support import ENVIRON, inside, version


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    """A repository with one version of ``data``, whose commands find what this process finds."""
    environ = {**ENVIRON, "PATH": os.environ["PATH"]}
    made, _ = Repository.init(tmp_path / "work", project="demo", environ=environ)
    version(made, {"a.txt": "a"})
    with made, inside(tmp_path / "work"):
        yield made


def run_id(repository: Repository) -> str:
    return next(repository.runs()).id


def test_the_answer(repository):
    """What was used and made, how long it took, and how it ended."""
    done = repository.execute(["cp", "data/a.txt", "b.txt"], use=["data"], log=[("copy", "b.txt")], name="n")
    assert (done.state, done.exit_code, done.project) == ("finished", 0, "demo")
    assert done.used == ("demo/data:v0",)
    (output,) = done.outputs
    assert (output.name, output.path, output.state, output.version) == ("copy", "b.txt", "logged", "demo/copy:v0")
    assert done.seconds >= 0
    assert repository.run_info(done.run).name == "n"
    assert b"".join(repository.read("copy", "b.txt")) == b"a"


def test_the_repository_goes_on(repository):
    """The same open repository sees what the command did to it, and is as it was: project and signals."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)]
    code = "import sys; from artifactvc.cli.main import run; sys.exit(run(['-q', 'put', 'data', '--name', 'other/in']))"
    done = repository.execute([sys.executable, "-c", code], project="elsewhere")
    assert (done.exit_code, done.project) == (0, "elsewhere")
    assert repository.show("other/in").version == "v0"
    assert repository.project == "demo"
    after = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)]
    assert after == before


def test_nothing_is_open_while_it_runs(repository):
    """The command's parent has no file of the repository open, so nothing of ours can hold a lock."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc")
    code = (
        "import os; top = f'/proc/{os.getppid()}/fd'\n"
        "print(*[os.readlink(f'{top}/{fd}') for fd in os.listdir(top)], sep='\\n', file=open('open.txt', 'w'))"
    )
    repository.execute([sys.executable, "-c", code], use=["data"], log=[("list", "open.txt")])
    assert f"{Path.cwd()}/.artifacts" not in Path("open.txt").read_text()  # other tests' own may be


def test_in_another_thread(repository):
    """Away from the main thread signals are left alone, and all else is the same."""
    done: list[Any] = []
    thread = threading.Thread(target=lambda: done.append(repository.execute(["true"])))
    thread.start()
    thread.join()
    assert done[0].state == "finished"


def test_outputs_that_fail_are_raised_when_all_is_recorded(repository):
    """The first error is raised, of its own class, and the others are counted; what could be logged is logged."""
    log = [("gone", "no.txt"), ("data", "data"), ("also", "nor.txt")]
    with pytest.raises(UnknownPath) as caught:
        repository.execute(["true"], log=log)
    made = run_id(repository)
    assert caught.value.message == f"run '{made}' failed: there is no 'no.txt' to log as 'gone' (and 1 more)"
    assert caught.value.hint == f"write it, then run 'avc put no.txt --name gone --run {made}'"
    assert repository.notices == ["logged demo/data:v0"]
    info = repository.run_info(made)
    assert (info.state, info.exit_code, [link.ref for link in info.produced]) == ("failed", 0, ["demo/data:v0"])
    outputs = info.details["outputs"]
    assert [one["state"] for one in outputs] == ["missing", "logged", "missing"]
    assert outputs[0]["error"] == "there is no 'no.txt' to log as 'gone'"


def test_refused_before_it_begins(repository):
    """An unknown input, a bad name and an absent command leave no run."""
    for arguments, kind in (
        ({"command": ["true"], "use": ["dta"]}, UnknownArtifact),
        ({"command": ["true"], "log": [("a:b", "data")]}, UsageError),
        ({"command": ["true"], "project": "a/b"}, UsageError),
        ({"command": ["no-such-command"]}, UsageError),
        ({"command": []}, UsageError),
    ):
        with pytest.raises(kind):
            repository.execute(**arguments)
    assert list(repository.runs()) == []
    assert repository.project == "demo"


def test_interrupted_while_an_output_is_stored(repository, monkeypatch):
    """Ctrl-C then is a failed run, whose outputs that were not stored are told."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(execute, "_store", interrupt)
    with pytest.raises(KeyboardInterrupt):
        repository.execute(["true"], log=[("copy", "data")])
    info = next(repository.runs())
    assert (info.state, info.exit_code) == ("failed", 0)
    assert [one["state"] for one in info.details["outputs"]] == ["skipped"]


def test_words_that_are_not_utf8(repository):
    """A word of the command line that is no text is recorded escaped; the command gets its bytes."""
    word = os.fsdecode(b"\xff.txt")
    done = repository.execute(["touch", word])
    assert done.exit_code == 0
    assert Path(word).exists()
    assert repository.run_info(done.run).command == ("touch", "\\xff.txt")


def test_an_output_of_another_case(repository):
    """A name that differs only in case is the artifact that is there, with its type."""
    repository.put("data", name="Model", type="model")
    done = repository.execute(["cp", "data/a.txt", "c.txt"], log=[("model", "c.txt")])
    assert repository.show("Model").type == "model"
    assert done.outputs[0].version == "demo/Model:v1"
