"""Runs whose programs do odd things: nothing that was logged is lost, and how they ended is told right."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import artifactvc as avc
from artifactvc.errors import CommError, Conflict, MissingObject, RemoteUnavailable
from artifactvc.sdk.repository import RemoteOptions, Repository
from tests.sdk.guide.conftest import place  # noqa: F401  a directory with a repository, where each test is

AVC = str(Path(sys.executable).with_name("avc"))


def script(text: str, *before: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*before, sys.executable, "-c", text], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("text", "state", "code"),
    [
        ("avc.init(); sys.exit(3)", "failed", 3),
        ("avc.init(); sys.exit('boo')", "failed", 1),
        ("avc.init(); sys.exit()", "finished", 0),
        ("with avc.init(): sys.exit(0)", "finished", 0),
        ("with avc.init(): sys.exit(3)", "failed", 3),
        ("with avc.init(): raise KeyboardInterrupt", "failed", 255),
    ],
)
def test_how_a_program_ended(text, state, code):
    """The run has the exit code that the program gave."""
    script(f"import sys, artifactvc as avc\n{text}")
    (run,) = avc.Api().runs()
    assert run.state == state
    with Repository.open() as repository:
        assert repository.run_info(run.id).exit_code == code


def test_two_processes_of_one_run_lose_nothing():
    """Metrics, config and summary of both are there, whoever ended last; so are those of a run that went on."""
    with avc.init(id="shared", config={"first": 1}) as run:
        run.log({"a": 1})
        text = (
            "import artifactvc as avc\n"
            "with avc.init(id='shared', resume='allow', config={'second': 2}) as run:\n"
            "    run.log({'b': 2}); run.config.third = 3\n"
        )
        assert script(text).returncode == 0
        run.log({"c": 3})
    again = avc.Api().run("shared")
    assert {key: again.summary[key] for key in "abc"} == {"a": 1, "b": 2, "c": 3}
    assert {key: again.config[key] for key in ("first", "second", "third")} == {"first": 1, "second": 2, "third": 3}
    seen = {key for line in again.history() for key in line}
    assert {"a", "b", "c"} <= seen
    with avc.init(id="shared", resume="must") as run:
        run.log({"d": 4})
        del run.config["first"]
    again = avc.Api().run("shared")
    assert "first" not in again.config
    assert {"a", "b", "c", "d"} <= {key for line in again.history() for key in line}


def test_a_forked_child_does_not_end_its_parents_run():
    """Whatever way it leaves."""
    with avc.init() as run:
        run.log({"a": 1})
        pid = os.fork()
        if pid == 0:
            run.finish(1)
            os._exit(0)
        os.waitpid(pid, 0)
        assert avc.Api().run(run.id).state == "running"
        run.log({"b": 2})
    assert avc.Api().run(run.id).state == "finished"
    assert len(avc.Api().run(run.id).history()) == 2


def test_a_step_that_is_none_breaks_nothing(capsys):
    """It is refused at once, or left out with a word where it is over; logging goes on."""
    with avc.init() as run:
        for step in ("7", 7.5, None.__class__):
            with pytest.raises(TypeError, match="a step is an integer"):
                run.log({"x": 1}, step=step)
        run.log({"x": 1}, step=3)
        run.log({"y": 1}, step=3)
        run.log({"x": 2}, step=1)
        assert "metrics of step 1 are left out: the next one is 3" in capsys.readouterr().err
        run.log({"x": float("inf"), "y": float("nan")}, step=4)
    rows = avc.Api().run(run.id).history()
    assert [(row["_step"], row["x"], row["y"]) for row in rows] == [(3, 1, 1), (4, "Infinity", "NaN")]


def test_config_and_summary_take_whole_dictionaries():
    """Assigned, they are taken over; a namespace of argparse, too."""
    import argparse

    with avc.init() as run:
        run.config = {"a": 1}
        run.config.update(argparse.Namespace(b=2), c=3)
        run.summary = {"best": 0.5}
    again = avc.Api().run(run.id)
    assert (again.config, again.summary["best"]) == ({"a": 1, "b": 2, "c": 3}, 0.5)


def test_artifacts_in_a_config_are_inputs():
    """At the top level, as objects or names; deeper it is an error."""
    with avc.init() as run:
        Path("f").write_text("1")
        data = run.log_artifact("f", name="data", type="dataset")
    with avc.init(config={"data": data, "lr": 1}) as run:
        assert run.config["lr"] == 1
        run.config.again = f"wandb-artifact://{data.qualified_name}"
        with pytest.raises(ValueError, match="can only be a top-level key"):
            run.config.deep = {"er": [data]}
    used = avc.Api().run(run.id).used_artifacts()
    assert [artifact.name for artifact in used] == ["data:v0"]
    assert avc.Api().run(run.id).config["data"]["_type"] == "artifactVersion"


def test_a_disabled_run_leaves_no_trace(tmp_path, monkeypatch):
    """No repository, no version, no run."""
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    (empty / "f").write_text("1")
    with avc.init(settings=avc.Settings(mode="disabled")) as run:
        run.log({"a": 1})
        run.log_artifact("f", name="x")
        draft = avc.Artifact("y", type="dataset")
        assert run.use_artifact(draft) is draft
        assert run.link_artifact(draft, "z") is draft
        assert draft.is_draft()
        assert draft.size == 0
    assert [path.name for path in empty.iterdir()] == ["f"]


def test_what_init_says_inside_avc_run_is_recorded():
    """Name, job type, group, tags, notes, config and project; the second `init` in one program is a run of its own."""
    text = (
        "import artifactvc as avc\n"
        "said = dict(project='other', job_type='train', name='nice', group='g', tags=['t'], notes='n')\n"
        "with avc.init(config={'lr': 1}, **said): pass\n"
        "with avc.init(job_type='second'): pass\n"
    )
    done = script(text, AVC, "run", "--")
    assert done.returncode == 0, done.stderr
    with Repository.open() as repository:
        first, second = sorted(repository.runs(), key=lambda run: run.created)
        one = repository.run_info(first.id)
    assert (one.project, one.job_type, one.name, one.group, one.tags, one.notes, one.config) == (
        "other", "train", "nice", "g", ("t",), "n", {"lr": 1},
    )  # fmt: skip
    assert (second.job_type, second.state) == ("second", "finished")


# ---- bytes that are gone, texts that cannot be read --------------------------------------------------------------


def version(text: str = "1") -> avc.Artifact:
    with avc.init() as run:
        artifact = avc.Artifact("data", type="dataset", metadata={"kept": 1})
        with artifact.new_file("f") as file:
            file.write(text * 200_000)
        return run.log_artifact(artifact)


def test_content_that_gc_has_taken_is_not_logged_again():
    """As a draft's base, as an entry taken over, as a link: it is said which object is missing."""
    old = version()
    old.delete(delete_aliases=True)
    with Repository.open() as repository:
        repository.session.clock = lambda: "2099-01-01T00:00:00.000000Z"
        for _ in range(2):
            repository.gc(grace="0s")
    draft = old.new_draft()
    with pytest.raises(MissingObject):
        with draft.new_file("g") as file:
            file.write("2")
        draft.save()
    other = avc.Artifact("other", type="dataset")
    with pytest.raises(MissingObject):
        other.add_reference(old.get_entry("f"))
        other.save()
    with pytest.raises(CommError, match="is deleted"):
        old.link("elsewhere")
    with avc.init() as run, pytest.raises(Conflict, match="is deleted"):
        run.use_artifact(old)
    with Repository.open() as repository:
        assert repository.fsck(full=True).problems == ()


def test_a_held_draft_keeps_its_base_from_gc():
    """From the moment it is made, before anything is added."""
    old = version()
    draft = old.new_draft()
    old.delete(delete_aliases=True)
    with Repository.open() as repository:
        repository.session.clock = lambda: "2099-01-01T00:00:00.000000Z"
        for _ in range(2):
            repository.gc(grace="0s")
    with draft.new_file("g") as file:
        file.write("2")
    draft.save()
    assert sorted(draft.manifest.entries) == ["f", "g"]
    with Repository.open() as repository:
        assert repository.fsck(full=True).problems == ()


def test_metadata_that_could_not_be_read_is_not_written_over(tmp_path, monkeypatch):
    """In a clone whose remote is away: what was said before is never lost by saying more."""
    version()
    remote = tmp_path / "remote"
    with Repository.open() as repository:
        repository.remote_add("origin", str(remote), options=RemoteOptions())
        repository.push()
    made, _ = Repository.clone(str(remote), tmp_path / "clone")
    made.close()
    remote.rename(tmp_path / "away")
    monkeypatch.chdir(tmp_path / "clone")
    known = avc.Api().artifact("workshop/data:v0")
    assert known.metadata == {}
    known.metadata["new"] = 1
    with pytest.raises(CommError, match="the metadata of 'data:v0' is not here") as caught:
        known.save()
    assert isinstance(caught.value.exc, RemoteUnavailable)
    with pytest.raises(RemoteUnavailable):
        known.new_draft()
    known.metadata = {}
    known.aliases.append("seen")
    known.save()
    (tmp_path / "away").rename(remote)
    again = avc.Api().artifact("workshop/data:seen")
    again.metadata["new"] = 1
    again.save()
    assert avc.Api().artifact("workshop/data:v0").metadata == {"kept": 1, "new": 1}
