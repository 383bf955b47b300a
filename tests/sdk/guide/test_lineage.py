"""Lineage: which run made a version, which used it, and the whole way from raw data to a result."""

from __future__ import annotations

from typing import Any

import pytest

import artifactvc as avc
from artifactvc.sdk.repository import Repository
from tests.sdk.guide.helpers import ENTITY, PROJECT, draft, ids, log, names, path_of, paths, runs_of, script
from tests.support import write


def step(job: str, inputs: list[str], outputs: dict[str, tuple[str, str]], project: str | None = None) -> Any:
    """One run that uses *inputs* and logs, for each name, an artifact of a type with a text in it."""
    with avc.init(job_type=job, project=project) as run:
        for name in inputs:
            run.use_artifact(name)
        for name, (kind, text) in outputs.items():
            run.log_artifact(draft({"content": text}, name, kind))
    return run


def up(artifact: Any) -> list[str]:
    """Every version that this one came from, nearest first, followed through the runs."""
    found, todo = [], [artifact]
    while todo:
        producer = todo.pop(0).logged_by()
        for used in producer.used_artifacts() if producer else ():
            if used.name not in found:
                found.append(used.name)
                todo.append(used)
    return found


def down(artifact: Any) -> list[str]:
    """Every version that came of this one, nearest first, followed through the runs."""
    found, todo = [], [artifact]
    while todo:
        for consumer in todo.pop(0).used_by():
            for made in consumer.logged_artifacts():
                if made.name not in found:
                    found.append(made.name)
                    todo.append(made)
    return found


def test_logging_is_all_it_takes(place):
    """The graph is made of what runs log and use; nothing else has to be declared (S68, F99)."""
    write(place, {"image1.png": "one"})
    with avc.init() as run:
        artifact = avc.Artifact("artifact_name", "artifact_type")
        artifact.add_file("image1.png")
        run.log_artifact(artifact)
    assert artifact.wait().logged_by().id == run.id
    assert artifact.used_by() == []


def test_who_made_it_and_who_used_it():
    """A run with its id, entity and project; a list of runs (S69, F106)."""
    log({"a": "1"}, project="one")
    users = [step("reads", ["one/data:latest"], {}, project="two") for _ in range(2)]
    artifact = avc.Api().artifact("one/data:latest")
    producer_run = artifact.logged_by()
    consumer_runs = artifact.used_by()
    assert (producer_run.entity, producer_run.project) == (ENTITY, "one")
    assert ids(runs_of("one")) == [producer_run.id]
    assert isinstance(consumer_runs, list)
    assert ids(consumer_runs) == ids(users)
    assert {(run.entity, run.project, run.job_type) for run in consumer_runs} == {(ENTITY, "two", "reads")}


def test_a_version_that_was_only_used_has_no_producer():
    """`logged_by` is None where no run logged it (S69)."""
    with avc.init() as run:
        used = run.use_artifact(draft({"a": "1"}))
    assert used.logged_by() is None
    assert ids(used.used_by()) == [run.id]


def test_a_chain_is_walked_both_ways():
    """Raw data, data, model, better model, evaluation: from either end the other is reached (S69, F3–F7, F99, F106)."""
    step("download", [], {"raw": ("dataset", "raw")})
    step("preprocess", ["raw:latest"], {"data": ("dataset", "clean")})
    step("train", ["data:latest"], {"model": ("model", "weights")})
    step("optimise", ["model:v0"], {"small-model": ("model", "fewer weights")})
    step("evaluate", ["small-model:latest", "data:v0"], {"scores": ("results", "0.93")})
    api = avc.Api()
    assert up(api.artifact("scores:latest")) == ["small-model:v0", "data:v0", "model:v0", "raw:v0"]
    assert down(api.artifact("raw:v0")) == ["data:v0", "model:v0", "scores:v0", "small-model:v0"]
    assert api.artifact("model:v0").logged_by().job_type == "train"
    assert [run.job_type for run in api.artifact("model:v0").used_by()] == ["optimise"]


def test_one_model_is_made_better_under_one_name():
    """A model in and a model out may be versions of one artifact (F6)."""
    step("train", [], {"model": ("model", "1")})
    run = step("optimise", ["model:latest"], {"model": ("model", "2")})
    recorded = avc.Api().run(path_of(run))
    assert (names(recorded.used_artifacts()), names(recorded.logged_artifacts())) == (["model:v0"], ["model:v1"])
    assert up(avc.Api().artifact("model:latest")) == ["model:v0"]


def test_an_evaluation_logs_a_table():
    """Model and data in, a table out (F5)."""
    step("prepare", [], {"data": ("dataset", "d"), "model": ("model", "m")})
    with avc.init(job_type="evaluate") as run:
        run.use_artifact("data:latest")
        run.use_artifact("model:latest")
        results = avc.Artifact("scores", "evaluation")
        results.add(avc.Table(columns=["image", "score"], data=[["a", 0.5]]), "table")
        run.log_artifact(results)
    recorded = avc.Api().run(path_of(run))
    assert sorted(names(recorded.used_artifacts())) == ["data:v0", "model:v0"]
    [scores] = recorded.logged_artifacts()
    assert scores.get("table").data == [["a", 0.5]]


def test_a_diamond_has_no_duplicates():
    """Two ways from one version to another meet in one version and one run (S69)."""
    step("split", [], {"data": ("dataset", "d")})
    step("left", ["data:latest"], {"left": ("part", "l")})
    step("right", ["data:latest"], {"right": ("part", "r")})
    run = step("join", ["left:latest", "right:latest", "data:latest"], {"joined": ("dataset", "j")})
    api = avc.Api()
    assert sorted(up(api.artifact("joined:latest"))) == ["data:v0", "left:v0", "right:v0"]
    assert sorted(down(api.artifact("data:latest"))) == ["joined:v0", "left:v0", "right:v0"]
    assert ids(api.artifact("left:v0").used_by()) == [run.id]
    assert len(api.artifact("data:v0").used_by()) == 3


def test_one_version_of_many_producers_has_the_first():
    """Whoever logs the same bytes later is one more producer (S69)."""
    first = step("one", [], {"data": ("dataset", "same")})
    second = step("two", [], {"data": ("dataset", "same")})
    artifact = avc.Api().artifact("data:latest")
    assert artifact.logged_by().id == first.id
    for run in (first, second):
        assert names(avc.Api().run(path_of(run)).logged_artifacts()) == ["data:v0"]


def test_a_deleted_run_stays_in_the_graph():
    """It is no longer listed, and what it made still says that it made it (S69)."""
    step("prepare", [], {"raw": ("dataset", "r")})
    run = step("make", ["raw:latest"], {"data": ("dataset", "d")})
    user = step("use", ["data:latest"], {})
    avc.Api().run(path_of(run)).delete()
    avc.Api().run(path_of(user)).delete()
    assert run.id not in ids(runs_of())
    artifact = avc.Api().artifact("data:latest")
    assert artifact.logged_by().id == run.id
    assert ids(artifact.used_by()) == [user.id]
    assert up(artifact) == ["raw:v0"]


def test_a_deleted_version_stays_in_the_graph():
    """A run still says that it used and made it, and the walk beyond it goes on (S69)."""
    step("prepare", [], {"raw": ("dataset", "r")})
    step("make", ["raw:latest"], {"data": ("dataset", "d")})
    run = step("train", ["data:latest"], {"model": ("model", "m")})
    avc.Api().artifact("data:latest").delete(delete_aliases=True)
    recorded = avc.Api().run(path_of(run))
    assert names(recorded.used_artifacts()) == ["data:v0"]
    assert up(avc.Api().artifact("model:latest")) == ["data:v0", "raw:v0"]


def test_a_version_that_a_run_made_and_used_is_a_cycle_that_ends():
    """Walking does not go round for ever (S69, F99)."""
    with avc.init() as run:
        run.log_artifact(draft({"a": "1"}))
        run.use_artifact("data:latest")
    artifact = avc.Api().artifact("data:latest")
    assert artifact.logged_by().id == run.id
    assert ids(artifact.used_by()) == [run.id]
    assert up(artifact) == ["data:v0"]
    assert down(artifact) == ["data:v0"]


def test_names_follow_the_artifact_through_the_graph():
    """Renamed, it is the same node (S29, S69)."""
    step("prepare", [], {"raw": ("dataset", "r")})
    run = step("make", ["raw:latest"], {"data": ("dataset", "d")})
    collection = avc.Api().artifact_collection("dataset", "raw")
    collection.name = "photographs"
    collection.save()
    assert names(avc.Api().run(path_of(run)).used_artifacts()) == ["photographs:v0"]
    assert up(avc.Api().artifact("data:latest")) == ["photographs:v0"]


def test_runs_keep_settings_and_results_beside_their_artifacts():
    """Config, summary and metrics are recorded with what a run used and logged (F2)."""
    log({"a": "1"})
    with avc.init(job_type="train", config={"lr": 0.001, "deep": {"layers": 3}}, group="sweep") as run:
        run.use_artifact("data:latest")
        run.config["batch"] = 32
        run.config.update({"epochs": 2})
        for epoch in range(2):
            run.log({"loss": 1 / (epoch + 1)}, step=epoch)
        run.summary["acc"] = 0.93
        run.log_artifact(draft({"m": "1"}, "model", "model"))
    recorded = avc.Api().run(path_of(run))
    assert recorded.config == {"lr": 0.001, "deep": {"layers": 3}, "batch": 32, "epochs": 2}
    assert recorded.summary["acc"] == 0.93
    assert recorded.summary["loss"] == 0.5
    assert (recorded.job_type, recorded.group, recorded.state) == ("train", "sweep", "finished")
    assert names(recorded.logged_artifacts()) == ["model:v0"]


def test_a_run_can_be_reproduced_from_what_it_used(tmp_path):
    """What a run used is found by the run, version by version, whatever has been logged since (F100)."""
    log({"a": "1"})
    run = step("train", ["data:latest"], {"model": ("model", "m")})
    log({"a": "2"})
    [used] = avc.Api().run(path_of(run)).used_artifacts()
    assert (used.version, paths(used)) == ("v0", ["a"])
    with open(f"{used.download(root=tmp_path / 'again')}/a") as file:
        assert file.read() == "1"


def test_every_change_has_an_author(place):
    """Who made a version is recorded with it (F100)."""
    log({"a": "1"})
    with Repository.open(place) as repository:
        assert repository.show("data:latest").author == ENTITY


CRASH = """
import artifactvc as avc, os, signal
run = avc.init(id="killed")
artifact = avc.Artifact("data", "dataset")
with artifact.new_file("a") as file:
    file.write("1")
run.log_artifact(artifact)
run.log({"loss": 1})
pid = os.fork()
if pid == 0:
    os._exit(0)
os.waitpid(pid, 0)
"""


def test_how_a_run_ended(place):
    """Finished, failed by an error in its block, crashed when its process was killed (F1)."""
    fine = step("fine", [], {})
    assert avc.Api().run(path_of(fine)).state == "finished"
    with pytest.raises(ZeroDivisionError), avc.init() as failed:
        1 / 0  # noqa: B018
    assert avc.Api().run(path_of(failed)).state == "failed"
    assert avc.run is None
    with pytest.raises(AssertionError):
        script(place, CRASH + "os.kill(os.getpid(), signal.SIGKILL)")
    crashed = avc.Api().run(f"{ENTITY}/{PROJECT}/killed")
    assert crashed.state == "crashed"
    assert names(crashed.logged_artifacts()) == ["data:v0"]
    with avc.init() as going:
        assert avc.Api().run(path_of(going)).state == "running"
