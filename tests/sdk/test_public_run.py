"""A run as it is recorded: what it tells, its metrics, its versions, and what is left of one that is gone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import artifactvc as avc
from artifactvc.errors import BadName, BadValue, CommError, Conflict, UnknownRun, UnsupportedError, WrongType
from artifactvc.ops.session import append, salted, storing
from artifactvc.sdk.opened import at
from artifactvc.sdk.public_run import PublicRun
from tests.sdk.guide.conftest import place  # noqa: F401  every test is in a repository of its own
from tests.sdk.guide.helpers import ENTITY, PROJECT, draft, log, log_entries, names


def refused(call: Callable[[], Any]) -> tuple[type, str, str]:
    """Cause, message and hint of the CommError that *call* ends in."""
    with pytest.raises(CommError) as caught:
        call()
    return type(caught.value.exc), str(caught.value), caught.value.hint


def recorded(run: Any) -> PublicRun:
    return avc.Api().run(run.path)


@pytest.fixture
def trained() -> PublicRun:
    """A run that is over, with a name, settings, results, labels, an input and two outputs."""
    log({"raw": "1"}, "raw")
    with avc.init(
        project="models", job_type="train", group="sweep", name="first try", config={"lr": 0.1, "net": {"depth": 3}},
        tags=["good"], notes="looks fine",
    ) as run:  # fmt: skip
        run.use_artifact(f"{PROJECT}/raw")
        for step in range(10):
            run.log({"loss": 10 - step, **({"acc": step} if step % 2 else {})})
        run.log_artifact(draft({"m": "1"}, "cnn", "model"))
        run.log_artifact(draft({"m": "2"}, "cnn", "model"))
    return recorded(run)


# ---- what it tells ---------------------------------------------------------------------------------------


def test_what_it_tells(trained):
    """Who it was, what it was set to, how it ended, where and how it ran."""
    assert (trained.name, trained.display_name, trained.group) == ("first try", "first try", "sweep")
    assert (trained.project, trained.entity, trained.job_type) == ("models", ENTITY, "train")
    assert trained.path == [ENTITY, "models", trained.id]
    assert (trained.state, trained.exit_code) == ("finished", 0)
    assert (trained.author, trained.user) == (ENTITY, ENTITY)
    assert trained.created_at < trained.ended_at
    assert trained.config == {"lr": 0.1, "net": {"depth": 3}}
    assert trained.summary == {"loss": 1, "acc": 9}
    assert (trained.tags, trained.notes) == (["good"], "looks fine")
    assert trained.metadata["python"] == f"{sys.version_info[0]}.{sys.version_info[1]}.{sys.version_info[2]}"
    assert trained.metadata["command"][0] == sys.executable
    assert trained.metadata.keys() >= {"command", "directory", "git"}
    assert not trained.metadata.keys() & {"config", "summary", "pid"}
    assert repr(trained) == f"<Run {ENTITY}/models/{trained.id} (finished)>"


def test_a_run_with_no_name_is_called_by_its_id():
    """And what was not said is empty."""
    with avc.init() as run:
        pass
    found = recorded(run)
    assert found.name == run.id
    assert (found.group, found.job_type, found.notes) == ("", "", "")
    assert (found.config, found.summary, found.tags) == ({}, {}, [])


def test_what_it_gives_are_copies(trained):
    """Changing them changes nothing that is recorded or told."""
    trained.config["net"]["depth"] = 5
    trained.tags.append("bad")
    trained.metadata["python"] = "1.5"
    assert trained.config["net"] == {"depth": 3}
    assert trained.tags == ["good"]
    assert trained.metadata["python"] != "1.5"


def test_equal_runs_have_one_id(trained):
    """However they were found."""
    version = avc.Api().artifact("models/cnn:v0")
    assert version.logged_by() == trained == avc.Api().runs("models")[0]
    assert {version.logged_by(), trained} == {trained}
    assert trained != avc.Api().artifact(f"{PROJECT}/raw").logged_by()
    assert trained != trained.id


def test_a_run_that_goes_on_is_looked_at_again():
    """Its state is always that of now; the rest is read again by `load`, or once the state was asked for."""
    run = avc.init(config={"lr": 1})
    found = recorded(run)
    assert (found.state, found.config, found.ended_at) == ("running", {"lr": 1}, None)
    run.config["lr"] = 2
    run.finish()
    assert found.config == {"lr": 1}
    assert (found.state, found.config) == ("finished", {"lr": 2})
    with avc.init(id=run.id, resume="must") as run:
        run.config["lr"] = 3
    assert found.config == {"lr": 2}
    found.load()
    assert found.config == {"lr": 2}
    found.load(force=True)
    assert found.config == {"lr": 3}


def test_a_killed_run_has_crashed():
    """Seen by one who has looked at it while it went on, too; its metrics are there up to the kill."""
    script = """
import artifactvc as avc, sys
run = avc.init(id="doomed")
run.log({"loss": 1})
print("ready", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        found = avc.Api().run("doomed")
        assert found.state == "running"
        process.kill()
        process.wait()
        assert found.state == "crashed"
    assert [row["loss"] for row in found.history()] == [1]


def test_details_of_another_kind_are_empty():
    """What was written elsewhere is not trusted: a run whose config is a list has none, and can be listed and shown."""
    odd = [[1], {"config": [1], "summary": "s", "tags": {"a": 1}, "notes": 5, "host": None}]
    with at(Path.cwd() / ".artifacts").session() as session, session.avc.writing():
        with storing(session) as writer:
            fields = [{"project": PROJECT, "state": "finished", "details": writer.put(salted(d))} for d in odd]
        records = [{"kind": "run", "run": f"odd{i}", "set": given, "was": {}} for i, given in enumerate(fields)]
        append(session, "run", lambda: records)
    for run in avc.Api().runs():
        assert (run.config, run.summary, run.tags, run.notes, run.metadata) == ({}, {}, [], "", {})
        assert "finished" in run._repr_html_()
    assert len(avc.Api().runs(filters={"config.x": None, "tags": {"$ne": "a"}}, order="config.x")) == 2


# ---- metrics ---------------------------------------------------------------------------------------------


def test_all_metrics_in_order(trained):
    """A dictionary for each step, with the step and the times."""
    rows = trained.history()
    assert [row["loss"] for row in rows] == list(range(10, 0, -1))
    assert [row["_step"] for row in rows] == list(range(10))
    assert all({"_runtime", "_timestamp"} <= row.keys() for row in rows)
    assert list(trained.scan_history()) == rows


def test_some_keys(trained):
    """Only the steps that have all of them; `history` tells the step, too."""
    assert trained.history(keys=["acc", "loss"])[:2] == [
        {"_step": 1, "acc": 1, "loss": 9}, {"_step": 3, "acc": 3, "loss": 7},
    ]  # fmt: skip
    assert trained.history(keys=["acc"], x_axis="loss")[0] == {"loss": 9, "acc": 1}
    assert list(trained.scan_history(keys=["acc"])) == [{"acc": i} for i in (1, 3, 5, 7, 9)]
    assert trained.history(keys=["nothing"]) == list(trained.scan_history(keys=["nothing"])) == []


def test_some_steps(trained):
    """From the first that is asked for, and below the last."""
    assert [row["loss"] for row in trained.scan_history(min_step=2, max_step=5)] == [8, 7, 6]
    assert [row["loss"] for row in trained.scan_history(min_step=8)] == [2, 1]
    assert list(trained.scan_history(max_step=0)) == []


@pytest.mark.parametrize(
    ("samples", "steps"),
    [(1, [9]), (2, [0, 9]), (4, [0, 3, 6, 9]), (9, [0, 2, 3, 4, 5, 6, 7, 8, 9]), (10, range(10)), (99, range(10))],
)
def test_a_sample_is_evenly_spaced(trained, samples, steps):
    """The last step is always among them, the first one, too, if there are two or more."""
    assert [row["_step"] for row in trained.history(samples=samples)] == list(steps)


def test_no_data_frame_is_made(trained):
    """The error says how one is."""
    assert trained.history(pandas=False, stream="default")
    with pytest.raises(UnsupportedError, match=r"(?m)^history makes no data frame$") as caught:
        trained.history(pandas=True)
    assert caught.value.hint == "use pandas.DataFrame(run.history())"


def test_metrics_of_a_run_that_goes_on():
    """What was logged so far; a line that a kill cut short is passed over."""
    run = avc.init()
    found = recorded(run)
    assert found.history() == []
    run.log({"loss": 1})
    assert [row["loss"] for row in found.history()] == [1]
    with open(Path(run.dir) / "metrics.jsonl", "a") as file:
        file.write(json.dumps({"loss": 2})[:-2])
    assert [row["loss"] for row in found.history()] == [1]


# ---- versions --------------------------------------------------------------------------------------------


def test_what_it_used_and_logged(trained):
    """In order, counted, cut, a page at a time; used versions keep their own project."""
    logged = trained.logged_artifacts(per_page=1)
    assert (len(logged), names(logged), logged[-1].version) == (2, ["cnn:v0", "cnn:v1"], "v1")
    assert [version.qualified_name for version in trained.used_artifacts()] == [f"{ENTITY}/{PROJECT}/raw:v0"]
    assert repr(logged) == f"<Listing of versions that run '{trained.id}' produced (2)>"
    key = avc.Api().artifact("models/cnn:v1").id
    assert logged.cursor == key


def test_versions_that_were_deleted(trained):
    """They are no outputs any more, as they leave all listings; what a run used, it used."""
    avc.Api().artifact("models/cnn:v0").delete()
    avc.Api().artifact(f"{PROJECT}/raw").delete(delete_aliases=True)
    assert names(trained.logged_artifacts()) == ["cnn:v1"]
    [used] = trained.used_artifacts()
    assert (used.name, used.state) == ("raw:v0", "PENDING_DELETION")


def test_the_outputs_are_deleted_again_and_again(trained):
    """A loop that failed at a version with aliases can be run once more (S56, S57)."""

    def delete_all(**how: bool) -> None:
        for version in recorded(trained).logged_artifacts():
            version.delete(**how)

    with pytest.raises(CommError):
        delete_all()
    delete_all(delete_aliases=True)
    delete_all()
    assert not avc.Api().artifact_exists("models/cnn:v1")


def test_versions_are_added_to_what_it_did(trained):
    """It is one more producer, once; aliases and tags are given, and the object that was passed in knows of them."""
    with avc.init(project="models"):
        version = log({"m": "3"}, "other", "model", project="models")
    first = version.logged_by()
    assert trained.log_artifact(version, aliases=["given"], tags="labelled") is version
    trained.log_artifact(version, aliases="given")
    assert (version.aliases, version.tags) == (["latest", "given"], ["labelled"])
    assert names(trained.logged_artifacts()) == ["cnn:v0", "cnn:v1", "other:v0"]
    assert version.logged_by() == first
    assert avc.Api().artifact("models/other:given").tags == ["labelled"]
    trained.use_artifact(version, use_as="input")
    trained.use_artifact(version)
    assert names(trained.used_artifacts()) == ["raw:v0", "other:v0"]
    assert version.used_by() == [trained]


def test_what_cannot_be_added(trained):
    """Drafts, names and other things; a version of another project is no output; nothing is recorded of it."""
    before = log_entries(Path.cwd())
    raw = avc.Api().artifact(f"{PROJECT}/raw")
    made = draft({"a": "1"}, "new")
    assert refused(lambda: trained.log_artifact(made)) == (
        BadValue, "'new' is a draft, and only a version can be logged here: save it first", "",
    )  # fmt: skip
    assert refused(lambda: trained.use_artifact(made))[1] == (
        "'new' is a draft, and only a version can be used here: save it first"
    )
    said = "only an Artifact can be used, not 'str': look it up with Api().artifact"
    assert refused(lambda: trained.use_artifact("raw")) == (WrongType, said, "")
    assert refused(lambda: trained.log_artifact(5))[1].startswith("only an Artifact can be logged, not 'int'")
    assert refused(lambda: trained.log_artifact(raw))[:2] == (
        BadValue,
        f"'raw:v0' is in project '{PROJECT}', and the run in 'models': a run cannot log to another project",
    )
    version = avc.Api().artifact("models/cnn:v1")
    assert refused(lambda: trained.log_artifact(version, aliases=["v7"]))[0] is BadName
    assert refused(lambda: trained.log_artifact(version, tags=["a/b"]))[0] is BadName
    assert log_entries(Path.cwd()) == before


# ---- what is gone ----------------------------------------------------------------------------------------


def test_a_deleted_run_is_a_tombstone(trained):
    """It leaves listings, still says what it was, and takes nothing more; it can be deleted once."""
    version = avc.Api().artifact("models/cnn:v0")
    before = version.logged_by()
    trained.delete()
    assert list(avc.Api().runs("models")) == []
    for found in (trained, version.logged_by()):
        assert (found.state, found.id, found.name, found.job_type) == ("deleted", trained.id, "first try", "train")
        assert found.config["lr"] == 0.1
        assert len(found.history()) == 10
        assert names(found.used_artifacts()) == ["raw:v0"]
    assert before.state == "deleted"
    said = (Conflict, f"run '{trained.id}' is deleted", "")
    for call in (trained.delete, lambda: trained.use_artifact(version), lambda: trained.log_artifact(version)):
        assert refused(call) == said
    assert avc.Api().artifact("models/cnn:v0").version == "v0"


def test_a_run_is_deleted_with_its_outputs(trained):
    """All of them, whatever aliases they have; its inputs stay."""
    version = avc.Api().artifact("models/cnn:v1")
    version.aliases.append("best")
    version.save()
    trained.delete(delete_artifacts=True)
    api = avc.Api()
    assert not any(api.artifact_exists(f"models/cnn:{what}") for what in ("v0", "v1", "best", "latest"))
    assert api.artifact_exists(f"{PROJECT}/raw:v0")
    assert (trained.state, list(trained.logged_artifacts())) == ("deleted", [])


def test_a_run_that_was_never_seen_here_is_a_tombstone():
    """As an edge may name it whose run is not known: nothing fails, and what is not known is empty."""
    version = log({"a": "1"})
    found = PublicRun(Path.cwd() / ".artifacts", "unknown1")
    assert (found.id, found.name, found.state) == ("unknown1", "unknown1", "deleted")
    assert (found.project, found.entity, found.path) == ("", ENTITY, [ENTITY, "", "unknown1"])
    assert (found.group, found.job_type, found.created_at, found.author, found.notes) == ("", "", "", "", "")
    assert (found.ended_at, found.exit_code) == (None, None)
    assert (found.config, found.summary, found.tags, found.metadata) == ({}, {}, [], {})
    assert (found.history(), list(found.scan_history())) == ([], [])
    assert (list(found.logged_artifacts()), len(found.used_artifacts())) == ([], 0)
    assert repr(found) == f"<Run {ENTITY}//unknown1 (deleted)>"
    assert "deleted" in found._repr_html_()
    said = (UnknownRun, "run 'unknown1' is not known here", "run 'avc fetch'")
    for call in (found.delete, lambda: found.use_artifact(version), lambda: found.log_artifact(version)):
        assert refused(call) == said


# ---- the rest --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["files", "file", "upload_file"])
def test_a_run_has_no_files(trained, name):
    """The error says what to use."""
    with pytest.raises(UnsupportedError, match=r"(?m)^a run has no files of its own$") as caught:
        getattr(trained, name)("model.h5")
    assert re.search(r"logged_artifacts|log_artifact", caught.value.hint)


def test_it_shows_itself_in_a_notebook(trained):
    """As a table, in which nothing that people wrote is taken for HTML."""
    with avc.init(name="<b>bold</b>", config={"<i>": "<script>"}) as run:
        pass
    shown = recorded(run)._repr_html_()
    assert "&lt;b&gt;bold&lt;/b&gt;" in shown
    assert "<script>" not in shown
    assert "<i>" not in shown
    shown = trained._repr_html_()
    for text in ("first try", "models", "finished", "train", "sweep", "config.lr", "summary.acc", "raw:v0", "cnn:v1"):
        assert text in shown
