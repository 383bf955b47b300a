"""The tutorial: a data set stored by one run and used by the next, as scripts and in one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import artifactvc as avc
from tests.sdk.guide.helpers import ENTITY, PROJECT, draft, ids, log, names, path_of, runs_of, script
from tests.support import tree, write

PROJECT_OF = "artifacts-example"

UPLOAD = """
import artifactvc as wandb
wandb.login()
run = wandb.init(project="artifacts-example", job_type="upload-dataset")
artifact = wandb.Artifact(name="bicycle-dataset", type="dataset")
artifact.add_file("dataset.h5")
run.log_artifact(artifact)
"""

TRAIN = """
import artifactvc as wandb
run = wandb.init(project="artifacts-example", job_type="training")
artifact = run.use_artifact("bicycle-dataset:latest")
artifact_dir = artifact.download()
"""


@pytest.fixture
def dataset(place):
    """The file that the tutorial stores."""
    write(place, {"dataset.h5": os.urandom(300_000)})
    return place


def test_login_needs_nothing():
    """No network, no question, no key: it answers True (S71, F111)."""
    assert avc.login() is True
    assert avc.login(key="anything") is True


def told(place: Path) -> None:
    """What the tutorial must leave behind: one version, two runs, one way between them."""
    artifact = avc.Api().artifact(f"{PROJECT_OF}/bicycle-dataset:latest")
    assert (artifact.version, artifact.aliases) == ("v0", ["latest"])
    assert {run.job_type: run.state for run in runs_of(PROJECT_OF)} == {
        "upload-dataset": "finished",
        "training": "finished",
    }
    assert artifact.logged_by().job_type == "upload-dataset"
    assert [run.job_type for run in artifact.used_by()] == ["training"]
    downloaded = tree(place / "artifacts" / "bicycle-dataset:v0")
    assert downloaded == {"dataset.h5": (place / "dataset.h5").read_bytes()}


def test_the_tutorial_as_two_scripts(dataset):
    """The first makes v0 with `latest` and ends; the second gets the same bytes (S71–S76, F111–F114)."""
    script(dataset, UPLOAD)
    assert avc.Api().artifact(f"{PROJECT_OF}/bicycle-dataset:v0").used_by() == []
    script(dataset, TRAIN)
    told(dataset)


def test_the_tutorial_as_one_script(dataset):
    """A second `init` ends the first run, so that upload and training are two runs, not one (S76, F113)."""
    script(dataset, UPLOAD + TRAIN)
    told(dataset)


def test_the_tutorial_step_by_step(dataset):
    """Each line leaves what it says (S72–S76, F112, F113)."""
    run = avc.init(project=PROJECT_OF, job_type="upload-dataset")
    assert avc.run is run
    assert (run.project, run.job_type, run.entity) == (PROJECT_OF, "upload-dataset", ENTITY)
    assert avc.Api().run(path_of(run)).state == "running"
    artifact = avc.Artifact(name="bicycle-dataset", type="dataset")
    artifact.add_file("dataset.h5")
    run.log_artifact(artifact)
    assert (artifact.wait().version, artifact.aliases) == ("v0", ["latest"])

    training = avc.init(project=PROJECT_OF, job_type="training")
    assert training.id != run.id
    assert avc.run is training
    assert avc.Api().run(path_of(run)).state == "finished"
    found = training.use_artifact("bicycle-dataset:latest")
    assert tree(Path(found.download())) == {"dataset.h5": (dataset / "dataset.h5").read_bytes()}
    training.finish()
    assert avc.run is None
    told(dataset)


@pytest.mark.parametrize("reinit", [None, "default", "finish_previous", True])
def test_a_second_init_ends_the_first_run(reinit):
    """By default, and when asked to, the run before is finished, and the new one is the active one (S76)."""
    first = avc.init(job_type="one")
    second = avc.init(job_type="two", **({} if reinit is None else {"reinit": reinit}))
    assert (second.job_type, avc.run) == ("two", second)
    assert first.id != second.id
    assert avc.Api().run(path_of(first)).state == "finished"
    with pytest.raises(avc.errors.UsageError):
        first.log_artifact(draft({"a": "1"}))


@pytest.mark.parametrize("reinit", ["return_previous", False])
def test_a_second_init_may_return_the_first_run(reinit):
    """What else it asks for is not looked at then (S76)."""
    first = avc.init(job_type="one")
    assert avc.init(job_type="two", project="other", reinit=reinit) is first
    assert (first.job_type, first.project) == ("one", PROJECT)
    assert ids(runs_of()) == [first.id]


def test_a_second_run_may_stand_beside_the_first():
    """With `create_new` both go on, and each logs for itself (S76)."""
    first = avc.init(job_type="one")
    second = avc.init(job_type="two", reinit="create_new")
    assert first.id != second.id
    first.log_artifact(draft({"a": "1"}, "one"))
    second.log_artifact(draft({"a": "2"}, "two"))
    assert [run.state for run in runs_of()] == ["running", "running"]
    second.finish()
    first.finish()
    assert names(avc.Api().run(path_of(first)).logged_artifacts()) == ["one:v0"]
    assert names(avc.Api().run(path_of(second)).logged_artifacts()) == ["two:v0"]


def test_reinit_is_one_of_its_words():
    """Anything else is refused, and no run begins (S76)."""
    with pytest.raises(ValueError):
        avc.init(reinit="sometimes")
    assert avc.run is None


# ---- where there is no repository yet ---------------------------------------------------------------------


def test_init_makes_a_repository_and_says_so(bare, capsys):
    """In a directory without one, a run makes it there, named on the error stream; the output stays empty (F113)."""
    with avc.init() as run:
        run.log_artifact(draft({"a": "1"}))
    screen = capsys.readouterr()
    assert (bare / ".artifacts" / "config.toml").is_file()
    assert str(bare) in screen.err
    assert screen.out == ""
    assert run.project == "bare"
    assert avc.Api().artifact("data:latest").qualified_name == f"{ENTITY}/bare/data:v0"


def test_save_makes_a_repository_and_says_so(bare, capsys):
    """So does the first `save` (F113)."""
    write(bare, {"dataset.h5": "h5"})
    artifact = avc.Artifact("data", "dataset")
    artifact.add_file("dataset.h5")
    artifact.save()
    assert artifact.wait().version == "v0"
    assert (bare / ".artifacts" / "config.toml").is_file()
    assert str(bare) in capsys.readouterr().err


def test_asking_needs_a_repository(bare):
    """The API makes none: its error says how one is made."""
    with pytest.raises(avc.errors.Error) as caught:
        avc.Api().artifact("data:latest")
    assert "avc init" in caught.value.hint
    assert not (bare / ".artifacts").exists()


def test_a_repository_is_found_from_below(place, monkeypatch):
    """A script in a directory below works in the same repository; its paths are relative to where it is."""
    below = place / "deep" / "er"
    below.mkdir(parents=True)
    write(below, {"dataset.h5": "h5"})
    monkeypatch.chdir(below)
    with avc.init() as run:
        artifact = avc.Artifact("data", "dataset")
        artifact.add_file("dataset.h5")
        run.log_artifact(artifact)
    assert not (below / ".artifacts").exists()
    assert artifact.wait().download() == str(below / "artifacts" / "data:v0")
    monkeypatch.chdir(place)
    assert avc.Api().artifact("data:latest").digest == artifact.digest


@pytest.mark.parametrize(("variable", "prefix"), [("PROJECT", "AVC"), ("PROJECT", "WANDB"), ("ENTITY", "AVC")])
def test_the_environment_names_project_and_entity(monkeypatch, variable, prefix):
    """Variables of either family stand in for the arguments."""
    monkeypatch.setenv(f"{prefix}_{variable}", "from-outside")
    log({"a": "1"})
    artifact = avc.Api().artifact("data:latest")
    assert "from-outside" in artifact.qualified_name.split("/")
    with avc.init(project="asked") as run:
        assert run.project == "asked"
