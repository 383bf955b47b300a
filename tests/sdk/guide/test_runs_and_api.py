"""The live run and the API in detail: arguments, defaults, errors, listings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import artifactvc as avc
from artifactvc.errors import AvcError
from tests.sdk.guide.helpers import ENTITY, PROJECT, draft, fill, ids, log, logged, names, path_of, paths, runs_of, said
from tests.support import write

# ---- the package -----------------------------------------------------------------------------------------

TOP_LEVEL = """init run log config summary login finish Artifact Api Table data_types errors Error Settings
ArtifactTTL log_artifact use_artifact""".split()


@pytest.mark.parametrize("name", TOP_LEVEL)
def test_what_the_package_has(name):
    """The names that W&B's users import are there; `run`, `config` and `summary` are the active run's."""
    with avc.init():
        getattr(avc, name)
    assert name in dir(avc)


def test_what_the_package_has_not():
    """A name that is none is an AttributeError, as of any module."""
    assert not hasattr(avc, "no_such_thing")


def test_errors_have_one_root():
    """W&B's names are there, with their shapes, and all are ours."""
    errors = avc.errors
    assert avc.Error is errors.Error
    assert issubclass(errors.CommError, ValueError)
    assert issubclass(errors.ArtifactNotLoggedError, AttributeError)
    assert issubclass(errors.ArtifactFinalizedError, AttributeError)
    for name in "CommError UsageError UnsupportedError WaitTimeoutError ArtifactStatusError".split():
        assert issubclass(getattr(errors, name), errors.AvcError)
        assert issubclass(getattr(errors, name), avc.Error)


REFUSED = {
    "bad name": lambda run: avc.Artifact("a b", "dataset"),
    "metadata of another kind": lambda run: avc.Artifact("a", "dataset", metadata=[1]),
    "add_file of nothing": lambda run: avc.Artifact("a", "dataset").add_file("missing"),
    "add_dir of nothing": lambda run: avc.Artifact("a", "dataset").add_dir("missing"),
    "remove of nothing": lambda run: avc.Artifact("a", "dataset").remove("missing"),
    "add of a string": lambda run: avc.Artifact("a", "dataset").add("thing", "thing"),
    "log_artifact of a number": lambda run: run.log_artifact(42),
    "log_artifact of nothing": lambda run: run.log_artifact("missing"),
    "use_artifact of a number": lambda run: run.use_artifact(42),
    "use_artifact of nothing": lambda run: run.use_artifact("missing:latest"),
    "use_artifact of four parts": lambda run: run.use_artifact("a/b/c/d:latest"),
    "upsert_artifact without an id": lambda run: run.upsert_artifact(draft({"a": "1"})),
    "Api.artifact": lambda run: avc.Api().artifact("missing"),
    "Api.run": lambda run: avc.Api().run("missing"),
    "Api.artifact_collection": lambda run: avc.Api().artifact_collection("dataset", "missing"),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
def test_errors_raised_on_purpose_are_ours(call):
    """One `except avc.Error` catches whatever we refuse; each says something, in one line."""
    with avc.init() as run, pytest.raises(AvcError) as caught:
        call(run)
    assert str(caught.value)
    assert "\n" not in str(caught.value)


# ---- beginning and ending -----------------------------------------------------------------------------------


def test_what_a_run_says_of_itself():
    """Id, name, project, entity, group, job type, path, config and summary."""
    with avc.init(project="p", job_type="j", group="g", name="a name", config={"lr": 1}, tags=["t"], notes="n") as run:
        assert re.fullmatch(r"[a-z0-9]{8}", run.id)
        assert (run.name, run.project, run.entity) == ("a name", "p", ENTITY)
        assert (run.group, run.job_type) == ("g", "j")
        assert run.config["lr"] == run.config.lr == 1
    recorded = avc.Api().run(path_of(run))
    assert (recorded.id, recorded.name, recorded.project, recorded.entity) == (run.id, "a name", "p", ENTITY)
    assert (recorded.group, recorded.job_type, recorded.config, recorded.state) == ("g", "j", {"lr": 1}, "finished")


def test_a_run_needs_nothing():
    """Without arguments it is in the repository's project and has a name."""
    with avc.init() as run:
        assert run.project == PROJECT
        assert run.name
    assert ids(runs_of()) == [run.id]


def test_a_run_may_be_given_its_id():
    """It is found by it, and going on with it is asked for by `resume`."""
    with avc.init(id="my-run", job_type="train"):
        pass
    with avc.init(id="my-run", resume="allow") as run:
        run.log_artifact(draft({"a": "1"}))
    recorded = avc.Api().run(f"{ENTITY}/{PROJECT}/my-run")
    assert (recorded.job_type, recorded.state, names(recorded.logged_artifacts())) == ("train", "finished", ["data:v0"])
    assert len(runs_of()) == 1
    with pytest.raises(ValueError):
        avc.init(id="bad/id")


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_modes_make_no_difference(mode):
    """There is no server to be away from: what W&B refuses offline works here."""
    log({"a": "1"})
    with avc.init(mode=mode) as run:
        assert run.use_artifact("data:latest").version == "v0"
        run.log_artifact(draft({"a": "2"}))
    assert avc.Api().artifact("data:latest").version == "v1"


def test_the_active_run_answers_at_the_top_level():
    """`avc.log`, `avc.config`, `avc.summary`, `avc.log_artifact` and `avc.use_artifact` are the active run's."""
    log({"a": "1"}, "input")
    run = avc.init()
    avc.config["lr"] = 0.5
    avc.log({"loss": 0.25})
    avc.summary["acc"] = 1
    avc.use_artifact("input:latest")
    avc.log_artifact(draft({"a": "2"}), aliases=["best"])
    avc.finish()
    assert avc.run is None
    recorded = avc.Api().run(path_of(run))
    assert recorded.config == {"lr": 0.5}
    assert (recorded.summary["acc"], recorded.summary["loss"]) == (1, 0.25)
    assert names(recorded.used_artifacts()) == ["input:v0"]
    assert names(recorded.logged_artifacts()) == ["data:v0"]


@pytest.mark.parametrize(
    "call",
    [
        lambda: avc.log({"a": 1}),
        lambda: avc.log_artifact(draft({"a": "1"})),
        lambda: avc.use_artifact("data:latest"),
    ],
)
def test_without_a_run_the_top_level_says_how_to_begin_one(call):
    """The error names `init`."""
    with pytest.raises(avc.Error, match="init") as caught:
        call()
    assert isinstance(caught.value, AvcError)


def test_a_finished_run_takes_nothing_more():
    """What is asked of it afterwards is a UsageError."""
    run = avc.init()
    run.finish()
    for call in (
        lambda: run.log_artifact(draft({"a": "1"})),
        lambda: run.upsert_artifact(draft({"a": "1"}), distributed_id="d"),
        lambda: run.finish_artifact(draft({"a": "1"}), distributed_id="d"),
        lambda: run.log({"a": 1}),
    ):
        with pytest.raises(avc.errors.UsageError):
            call()
    assert not avc.Api().artifact_exists("data:latest")


# ---- logging -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_is_logged_as_an_artifact(place, kind):
    """A file or directory becomes an artifact named after run and path, of type `unspecified`, or as asked."""
    write(place, {"model.h5": "m", "images/cat.png": "c"})
    with avc.init() as run:
        one = run.log_artifact(kind("model.h5")).wait()
        two = run.log_artifact(kind("images"), name="pictures", type="dataset", aliases=["best"], tags=["raw"]).wait()
    assert (one.name, one.type, paths(one)) == (f"run-{run.id}-model.h5:v0", "unspecified", ["model.h5"])
    assert (two.name, two.type, paths(two)) == ("pictures:v0", "dataset", ["cat.png"])
    assert (sorted(two.aliases), two.tags) == (["best", "latest"], ["raw"])


def test_what_cannot_be_logged():
    """A string that is no path is a ValueError, an object that is no artifact a TypeError."""
    with avc.init() as run:
        with pytest.raises(ValueError) as caught:
            run.log_artifact("no such path")
        assert "no such path" in said(caught.value)
        for thing in (42, None, {"a": 1}):
            with pytest.raises(TypeError):
                run.log_artifact(thing)


def test_logging_gives_back_the_artifact():
    """The object that was logged is the version now."""
    artifact = draft({"a": "1"})
    with avc.init() as run:
        assert run.log_artifact(artifact) is artifact
        assert (artifact.version, artifact.is_draft()) == ("v0", False)


def test_logging_a_version_again_adds_the_run():
    """A version that is there already gets the aliases and one more producer, and no successor."""
    log({"a": "1"})
    with avc.init() as run:
        version = avc.Api().artifact("data:v0")
        assert run.log_artifact(version, aliases=["again"]).wait().name == "data:v0"
    assert names(avc.Api().run(path_of(run)).logged_artifacts()) == ["data:v0"]
    assert avc.Api().artifact("data:again").version == "v0"


def test_versions_are_numbered_in_the_order_of_calls():
    """One run logs many versions, each after the one before."""
    with avc.init() as run:
        versions = [run.log_artifact(draft({"a": str(i)})).wait().version for i in range(5)]
    assert versions == [f"v{i}" for i in range(5)]
    assert names(avc.Api().run(path_of(run)).logged_artifacts()) == [f"data:v{i}" for i in range(5)]


@pytest.mark.parametrize(
    "call",
    [
        lambda run: run.log_model("model.h5"),
        lambda run: run.use_model("model:latest"),
        lambda run: run.link_model("model.h5", "registered"),
        lambda run: avc.Api().registries(),
        lambda run: avc.Api().registry("models"),
    ],
)
def test_what_w_and_b_has_and_this_has_not(place, call):
    """It is an UnsupportedError that says what to use."""
    write(place, {"model.h5": "m"})
    with avc.init() as run, pytest.raises(avc.errors.UnsupportedError) as caught:
        call(run)
    assert caught.value.hint


# ---- using ---------------------------------------------------------------------------------------------------


def test_the_type_that_is_expected_is_checked():
    """Another type than the artifact's is a ValueError that names both, and no input."""
    log({"a": "1"}, "cnn", "model")
    with avc.init() as run:
        assert run.use_artifact("cnn:latest", type="model").version == "v0"
    with avc.init() as run, pytest.raises(ValueError) as caught:
        run.use_artifact("cnn:latest", type="dataset")
    assert "model" in said(caught.value)
    assert "dataset" in said(caught.value)
    assert list(avc.Api().run(path_of(run)).used_artifacts()) == []
    with pytest.raises(avc.errors.CommError):
        avc.Api().artifact("cnn:latest", type="dataset")


def test_a_version_is_used_as_an_object():
    """What the API found is an input of the run that is given it."""
    log({"a": "1"})
    version = avc.Api().artifact("data:latest")
    with avc.init() as run:
        assert run.use_artifact(version).name == "data:v0"
        run.use_artifact(version, use_as="training")
    assert names(avc.Api().run(path_of(run)).used_artifacts()) == ["data:v0"]


def test_a_draft_that_is_used_may_have_aliases():
    """They are given to the version that is made of it; for a name they mean nothing."""
    with avc.init() as run:
        run.use_artifact(draft({"a": "1"}), aliases=["given"])
        run.use_artifact("data:latest", aliases=["ignored"])
    assert avc.Api().artifact("data:given").version == "v0"
    assert not avc.Api().artifact_exists("data:ignored")


@pytest.mark.parametrize("thing", [42, None, ["data:latest"]], ids=repr)
def test_what_cannot_be_used(thing):
    """What is neither name nor artifact is a ValueError or a TypeError."""
    with avc.init() as run, pytest.raises((ValueError, TypeError)):
        run.use_artifact(thing)


@pytest.mark.parametrize("name", ["a/b/c/d:v1", "", "a b:v1", "data:", "data@xyz"])
def test_a_name_that_cannot_be_one(name):
    """It is a ValueError of the run, and a CommError of the API."""
    with avc.init() as run, pytest.raises(ValueError):
        run.use_artifact(name)
    with pytest.raises(avc.errors.CommError):
        avc.Api().artifact(name)


def test_a_version_in_the_config_is_used():
    """An artifact among the settings is an input, and is recorded as what names it."""
    version = log({"a": "1"})
    with avc.init() as run:
        run.config["data"] = version
    recorded = avc.Api().run(path_of(run))
    assert names(recorded.used_artifacts()) == ["data:v0"]
    assert recorded.config["data"]["_type"] == "artifactVersion"
    with avc.init() as run, pytest.raises(ValueError):
        run.config["deep"] = {"data": version}


# ---- the API -------------------------------------------------------------------------------------------------


def test_names_in_the_api():
    """With project, with entity, or short: short ones are of the repository's project, or of the overrides."""
    log({"a": "1"})
    log({"a": "2"}, project="other")
    api = avc.Api()
    for name in ("data", "data:v0", f"{PROJECT}/data:latest", f"{ENTITY}/{PROJECT}/data:latest"):
        assert api.artifact(name).qualified_name == f"{ENTITY}/{PROJECT}/data:v0"
    other = avc.Api(overrides={"project": "other"})
    assert other.artifact("data").qualified_name == f"{ENTITY}/other/data:v0"
    assert names(other.artifacts("dataset", "data")) == ["data:v0"]
    assert other.artifact(f"{PROJECT}/data").project == PROJECT


def test_a_version_by_its_digest():
    """The beginning of the digest names it; too little of it does not."""
    version = log({"a": "1"})
    log({"a": "2"})
    assert avc.Api().artifact(f"data@{version.digest[:9]}").version == "v0"
    assert avc.Api().artifact(f"data@{version.digest}").version == "v0"
    with pytest.raises(avc.errors.CommError):
        avc.Api().artifact(f"data@{version.digest[:3]}")


def test_no_name_is_a_comm_error():
    """So is a project that is not there, which is named."""
    with pytest.raises(avc.errors.CommError) as caught:
        avc.Api().artifact(None)
    assert isinstance(caught.value.exc, Exception)
    with pytest.raises(avc.errors.CommError) as caught:
        avc.Api().artifact("bar/data:latest")
    assert "bar" in said(caught.value)


def test_whether_it_is_there():
    """Versions and collections can be asked after; what cannot be a name is an error, not a No."""
    log({"a": "1"}, aliases=["best"])
    api = avc.Api()
    for name, there in {"data": True, "data:v0": True, "data:best": True, "data:v1": False, "no": False}.items():
        assert api.artifact_exists(name) is there
    assert api.artifact_exists("data:v0", type="dataset") is True
    assert api.artifact_collection_exists("data", "dataset") is True
    assert api.artifact_collection_exists("no", "dataset") is False
    with pytest.raises(avc.errors.CommError):
        api.artifact_exists("a/b/c/d")


@pytest.fixture
def dozen(place):
    """Twelve versions of data."""
    with avc.init() as run:
        for i in range(12):
            run.log_artifact(draft({"a": str(i)}), tags=["even"] if i % 2 == 0 else ["odd"])
    return [f"v{i}" for i in range(12)]


@pytest.mark.parametrize("per_page", [1, 5, 50])
def test_a_listing_is_a_sequence(dozen, per_page):
    """Newest first; it can be counted, indexed, cut, and begun again, whatever the size of its pages."""
    listing = avc.Api().artifacts("dataset", "data", per_page=per_page)
    newest = dozen[::-1]
    assert listing[0].version == "v11"
    assert len(listing) == 12
    assert [version.version for version in listing] == newest
    assert [version.version for version in listing] == newest
    assert [version.version for version in listing[2:5]] == newest[2:5]
    assert listing[11].version == "v0"
    with pytest.raises(IndexError):
        listing[12]
    first = iter(listing)
    second = iter(avc.Api().artifacts("dataset", "data", per_page=per_page))
    assert [next(first).version, next(second).version] == ["v11", "v11"]


def test_a_listing_in_order(dozen):
    """By number up or down, and by tags."""
    api = avc.Api()
    assert [v.version for v in api.artifacts("dataset", "data", order="version_index")] == dozen
    assert [v.version for v in api.artifacts("dataset", "data", order="-version_index")] == dozen[::-1]
    assert [v.version for v in api.artifacts("dataset", "data", tags="odd")] == dozen[::-1][::2]
    assert list(api.artifacts("dataset", "data", tags=["odd", "even"])) == []
    assert [v.version for v in api.artifact_versions("dataset", "data")] == dozen[::-1]


def test_types_and_collections_are_listed():
    """All types of a project, all artifacts of a type."""
    log({"a": "1"}, "one", "dataset")
    log({"a": "1"}, "two", "dataset")
    log({"a": "1"}, "cnn", "model")
    log({"a": "1"}, "third", "result", project="other")
    api = avc.Api()
    assert sorted(kind.name for kind in api.artifact_types()) == ["dataset", "model"]
    assert [kind.name for kind in api.artifact_types("other")] == ["result"]
    assert sorted(c.name for c in api.artifact_collections(PROJECT, "dataset")) == ["one", "two"]
    kind = api.artifact_type("dataset")
    assert kind.name == "dataset"
    assert sorted(c.name for c in kind.collections()) == ["one", "two"]
    assert names(kind.collection("two").artifacts()) == ["two:v0"]
    assert api.artifact_type("result", project="other").name == "result"
    with pytest.raises(avc.errors.CommError):
        api.artifact_type("nothing")


def test_a_run_is_found_by_its_path():
    """Entity, project and id, or fewer of them; W&B's web address form, too."""
    with avc.init(project="p") as run:
        pass
    api = avc.Api(overrides={"project": "p"})
    for path in (run.id, f"p/{run.id}", f"{ENTITY}/p/{run.id}", f"{ENTITY}/p/runs/{run.id}", f"/{ENTITY}/p/{run.id}"):
        assert api.run(path).id == run.id
    for path in ("nothing", "a/b/c/d/e", f"{ENTITY}/elsewhere/{run.id}"):
        with pytest.raises(avc.errors.CommError):
            api.run(path)


def test_the_path_of_a_run_finds_it():
    """`api.run(run.path)` is this run."""
    with avc.init() as run:
        run.log_artifact(draft({"a": "1"}))
    recorded = avc.Api().run(run.path)
    assert recorded.id == run.id
    assert avc.Api().run(recorded.path).id == run.id


def test_runs_are_listed_and_filtered():
    """Oldest first unless asked otherwise; by state, group, job type, setting."""
    made = []
    for i, job in enumerate(("train", "train", "eval")):
        with avc.init(job_type=job, group="g" if i else "", config={"lr": i}) as run:
            made.append(run.id)
    with pytest.raises(ZeroDivisionError), avc.init() as failed:
        1 / 0  # noqa: B018
    api = avc.Api()
    everything = [*made, failed.id]
    path = f"{ENTITY}/{PROJECT}"
    assert [run.id for run in api.runs(path)] == everything
    assert [run.id for run in api.runs()] == everything
    assert [run.id for run in api.runs(path, order="-created_at")] == everything[::-1]
    assert [run.id for run in api.runs(path, filters={"state": "failed"})] == [failed.id]
    assert [run.id for run in api.runs(path, filters={"group": "g"})] == made[1:]
    assert [run.id for run in api.runs(path, filters={"config.lr": 1})] == [made[1]]
    assert [run.id for run in api.runs(path, filters={"config.lr": {"$gte": 1}})] == made[1:]
    assert [run.id for run in api.runs(path, filters={"jobType": "train"})] == made[:2]
    assert len(api.runs(path)) == 4
    assert api.runs(path)[1].id == made[1]


def test_a_recorded_run_takes_versions():
    """A version can be added to the inputs and outputs of a run that is over; drafts and names cannot."""
    version = log({"a": "1"})
    with avc.init() as run:
        pass
    recorded = avc.Api().run(path_of(run))
    recorded.log_artifact(version, aliases=["given"])
    recorded.use_artifact(version)
    found = avc.Api().run(path_of(run))
    assert (names(found.logged_artifacts()), names(found.used_artifacts())) == (["data:v0"], ["data:v0"])
    assert avc.Api().artifact("data:given").version == "v0"
    for thing in (draft({"a": "2"}), "data:latest"):
        with pytest.raises(avc.errors.CommError):
            recorded.log_artifact(thing)
        with pytest.raises(avc.errors.CommError):
            recorded.use_artifact(thing)


def test_what_a_run_logged_and_used_is_counted():
    """Both listings have a length and can be indexed; each artifact keeps its own project (S25)."""
    log({"a": "1"}, project="other")
    with avc.init() as run:
        run.use_artifact("other/data:latest")
        run.log_artifact(draft({"a": "1"}, "one"))
        run.log_artifact(draft({"a": "2"}, "two"))
    recorded = avc.Api().run(path_of(run))
    assert (len(recorded.logged_artifacts()), len(recorded.used_artifacts(per_page=1))) == (2, 1)
    assert recorded.logged_artifacts()[1].name == "two:v0"
    assert recorded.used_artifacts()[0].qualified_name == f"{ENTITY}/other/data:v0"


def test_a_run_is_deleted():
    """It leaves the listing; with `delete_artifacts` what it logged goes, too."""
    with avc.init() as first:
        first.log_artifact(draft({"a": "1"}))
    avc.Api().run(path_of(first)).delete()
    assert runs_of() == []
    assert avc.Api().artifact_exists("data:v0")
    with avc.init() as second:
        second.log_artifact(draft({"a": "2"}))
    avc.Api().run(path_of(second)).delete(delete_artifacts=True)
    assert not avc.Api().artifact_exists("data:v1")


def test_the_type_of_a_collection_stays():
    """One type from the first version on (protocol N3): changing it says what to do instead."""
    log({"a": "1"})
    collection = avc.Api().artifact_collection("dataset", "data")
    with pytest.raises(avc.errors.UnsupportedError):
        collection.type = "pictures"
    assert avc.Api().artifact("data:v0").type == "dataset"


def test_a_table_goes_through_log_and_use():
    """What one run logs as a table, the next reads as rows."""
    made = avc.Table(columns=["a", "b"])
    made.add_data(1, "x")
    made.add_data(2, "y")
    artifact = avc.Artifact("rows", "results")
    artifact.add(made, "t")
    logged(fill(artifact, {"notes.txt": "n"}))
    with avc.init() as run:
        table = run.use_artifact("rows:latest").get("t")
    assert [(index, list(row)) for index, row in table.iterrows()] == [(0, [1, "x"]), (1, [2, "y"])]
    assert table.get_column("b") == ["x", "y"]
