"""Using: versions found by name, and their files brought to disk, inside a run or outside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import artifactvc as avc
from artifactvc.errors import AvcError
from tests.sdk.guide.helpers import (
    ENTITY,
    LARGE,
    command,
    digest,
    draft,
    ids,
    log,
    names,
    object_files,
    path_of,
    paths,
    runs_of,
    said,
    stamps,
)
from tests.support import tree, write

BIKES = {
    "bike.png": "a bike",
    "bike.png2": "its other side",
    "images/bikes/1.png": "one",
    "images/bikes/old/2.png": "two",
    "images/cars/3.png": "three",
    "images/bikes.txt": "about bikes",
}


# ---- found by name -----------------------------------------------------------------------------------


def test_a_name_that_is_not_there_says_which_are(place):
    """Asking by a name that is none fails as not found, and names what there is (S2)."""
    log({"training_dataset": "h5"}, "example_artifact", project="artifacts-example")
    with avc.init(project="artifacts-example") as run:
        with pytest.raises(avc.errors.CommError) as caught:
            run.use_artifact("training_dataset:latest")
    assert "training_dataset" in said(caught.value)
    assert "example_artifact" in said(caught.value)


def test_used_by_alias():
    """`use_artifact` returns an artifact, not a run, and records this run as its user (S2, S17, F9)."""
    log({"training_dataset": "h5"}, "example_artifact", project="artifacts-example")
    with avc.init(project="artifacts-example") as run:
        artifact = run.use_artifact("example_artifact:latest")
        assert isinstance(artifact, avc.Artifact)
        assert artifact.name == "example_artifact:v0"
        assert not artifact.is_draft()
    assert ids(artifact.used_by()) == [run.id]


def test_a_placeholder_may_name_a_project():
    """Project names have a rule of their own, which angle brackets do not break (S16)."""
    run = avc.init(project="<example>", job_type="<job-type>")
    assert (run.project, run.job_type) == ("<example>", "<job-type>")
    run.finish()
    assert ids(runs_of("<example>")) == [run.id]


@pytest.mark.parametrize("project", ["a/b", "a\\b", "a#b", "a?b", "a%b", "a:b", "x" * 129])
def test_a_project_with_a_forbidden_character_is_refused(project):
    """The characters that paths and addresses need cannot stand in a project's name (S16)."""
    with pytest.raises(ValueError):
        avc.init(project=project)
    assert avc.run is None


def test_the_newest_version_is_used_and_recorded_once():
    """`latest` is the newest version; asking for it often records one input (S17, F40)."""
    log({"a.csv": "1"}, "bike-dataset")
    log({"a.csv": "2"}, "bike-dataset")
    with avc.init() as run:
        found = [run.use_artifact("bike-dataset:latest") for _ in range(3)]
        run.use_artifact("bike-dataset")
        run.use_artifact("bike-dataset:v1")
    assert names(found) == ["bike-dataset:v1"] * 3
    recorded = avc.Api().run(path_of(run))
    assert names(recorded.used_artifacts()) == ["bike-dataset:v1"]
    assert ids(found[0].used_by()) == [run.id]


def test_asking_the_api_makes_no_run_and_no_input():
    """Outside a run a version is found by its full name; nothing is recorded of it (S20, S21, F29)."""
    log({"a.csv": "1"}, "bike-dataset", aliases=["raw"])
    before = ids(runs_of())
    artifact = avc.Api().artifact(f"{ENTITY}/workshop/bike-dataset:raw")
    root = artifact.download()
    assert tree(Path(root)) == {"a.csv": b"1"}
    assert artifact.used_by() == []
    assert ids(runs_of()) == before


@pytest.mark.parametrize("name", ["nothing:latest", "bike-dataset:v9", "bike-dataset:never", "elsewhere/bike-dataset"])
def test_what_is_not_there_is_a_comm_error(name):
    """A missing name, version, alias or project is a CommError, which is a ValueError too, with its cause (S20)."""
    log({"a.csv": "1"}, "bike-dataset")
    with pytest.raises(avc.errors.CommError) as caught:
        avc.Api().artifact(name)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, AvcError)
    assert isinstance(caught.value.exc, Exception)
    with avc.init() as run, pytest.raises(avc.errors.CommError):
        run.use_artifact(name)


def test_an_artifact_of_another_project_is_used():
    """A name with its project, or with entity and project, crosses projects and says where it is from (S25, F35)."""
    log({"a.csv": "1"}, "artifact", project="my-project", aliases=["alias"])
    with avc.init(project="mine") as run:
        artifact = run.use_artifact("my-project/artifact:alias")
        assert (artifact.project, run.project) == ("my-project", "mine")
        same = run.use_artifact(f"{ENTITY}/my-project/artifact:alias")
        assert same.qualified_name == f"{ENTITY}/my-project/artifact:v0"
        with pytest.raises(avc.errors.CommError):
            run.use_artifact("nobody/my-project/artifact:alias")
        with pytest.raises(avc.errors.CommError):
            run.use_artifact("artifact:alias")
    recorded = avc.Api().run(path_of(run))
    assert [used.qualified_name for used in recorded.used_artifacts()] == [f"{ENTITY}/my-project/artifact:v0"]
    assert ids(artifact.used_by()) == [run.id]


def test_a_version_made_to_be_used(place):
    """An object handed to `use_artifact` is logged if it is new, as an input that no run produced (S26, F28, F36)."""
    write(place, {"model.h5": "weights"})
    found = []
    for _ in range(2):
        with avc.init() as run:
            artifact = avc.Artifact("reference-model", type="model")
            artifact.add_file("model.h5")
            used = run.use_artifact(artifact)
            assert tree(Path(used.download())) == {"model.h5": b"weights"}
            found.append((used.name, used.logged_by(), run.id))
    assert [name for name, _, _ in found] == ["reference-model:v0"] * 2
    assert [producer for _, producer, _ in found] == [None, None]
    version = avc.Api().artifact("reference-model:latest")
    assert ids(version.used_by()) == sorted(run for _, _, run in found)
    assert len(list(avc.Api().artifacts("model", "reference-model"))) == 1


def test_a_type_must_be_given_and_a_name_has_no_space():
    """Without a type the object cannot be made, and a name with a space is refused (S26)."""
    with pytest.raises(TypeError):
        avc.Artifact("reference model")
    with pytest.raises(ValueError):
        avc.Artifact("reference model", type="model")


# ---- everything to disk --------------------------------------------------------------------------------


def test_everything_is_downloaded_to_the_default_directory(place):
    """`./artifacts/name:vN`, told as an absolute path, holds exactly the version's files (S3, S18, F9)."""
    artifact = log({"training_dataset": "h5", "more/notes": "n"}, "example_artifact")
    root = artifact.download()
    assert root == str(place / "artifacts" / "example_artifact:v0")
    assert os.path.isabs(root)
    assert tree(place / "artifacts") == {
        "example_artifact:v0/training_dataset": b"h5",
        "example_artifact:v0/more/notes": b"n",
    }


def test_a_second_download_writes_nothing():
    """Files that are right are left as they are, inodes and times and all (S3)."""
    artifact = log({"a": "1", "b/c": b"2" * LARGE})
    root = Path(artifact.download())
    before = stamps(root)
    assert artifact.download() == str(root)
    assert avc.Api().artifact("data:v0").download() == str(root)
    assert stamps(root) == before


def test_files_that_were_changed_are_put_right():
    """Edited, damaged and removed files of the same version come back; right ones and what else is there stay."""
    artifact = log({"a": "1", "b": "22", "c": "3", "d": b"4" * LARGE, "e": "5"})
    root = Path(artifact.download())
    untouched = stamps(root)["e"]
    for path in ("a", "b", "d"):
        (root / path).chmod(0o644)
    (root / "a").write_text("2")
    (root / "b").write_text("longer than it was")
    (root / "d").write_bytes(b"5" * LARGE)
    (root / "c").unlink()
    (root / "mine").write_text("extra")
    artifact.download()
    assert tree(root) == {"a": b"1", "b": b"22", "c": b"3", "d": b"4" * LARGE, "e": b"5", "mine": b"extra"}
    assert stamps(root)["e"] == untouched


def test_what_is_edited_in_a_download_does_not_reach_the_store():
    """Writing into a downloaded file changes that file only."""
    artifact = log({"a": b"1" * LARGE})
    root = Path(artifact.download())
    (root / "a").chmod(0o644)
    with open(root / "a", "r+b") as file:
        file.write(b"overwritten in place")
    again = artifact.download(root="elsewhere")
    assert digest(Path(again, "a").read_bytes()) == digest(b"1" * LARGE)


def test_a_root_may_be_chosen(place):
    """With `root` all goes there, told absolute, and no default directory is made (S18, F30)."""
    artifact = log({"a": "1"})
    assert artifact.download(root="d") == str(place / "d")
    assert artifact.download(root=str(place / "deep" / "er")) == str(place / "deep" / "er")
    assert artifact.download(root=place / "path") == str(place / "path")
    assert tree(place / "d") == tree(place / "deep" / "er") == tree(place / "path") == {"a": b"1"}
    assert not (place / "artifacts").exists()


@pytest.mark.parametrize("variable", ["AVC_ARTIFACT_DIR", "WANDB_ARTIFACT_DIR"])
def test_the_environment_may_choose_the_default_directory(place, monkeypatch, variable):
    """The variable takes the place of ``./artifacts``; the name and version still stand below it."""
    monkeypatch.setenv(variable, str(place / "downloads"))
    assert log({"a": "1"}).download() == str(place / "downloads" / "data:v0")
    assert not (place / "artifacts").exists()


def test_another_version_is_not_written_over():
    """A directory that holds another version is refused, with the advice to give `root`; its files stay."""
    first, second = log({"a": "1"}), log({"a": "2"})
    root = Path(first.download(root="d"))
    with pytest.raises(AvcError) as caught:
        second.download(root="d")
    assert "root=" in said(caught.value)
    assert tree(root) == {"a": b"1"}
    assert tree(Path(second.download(root="e"))) == {"a": b"2"}


def test_unchanged_files_are_stored_and_brought_once(place):
    """Two versions that share a file share its bytes in the store, and each download is whole."""
    first = log({"big": b"b" * LARGE, "small": "1"})
    second = log({"big": b"b" * LARGE, "small": "2"})
    assert object_files(place) == [digest(b"b" * LARGE)]
    assert tree(Path(first.download())) == {"big": b"b" * LARGE, "small": b"1"}
    assert tree(Path(second.download())) == {"big": b"b" * LARGE, "small": b"2"}


# ---- a part to disk ------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["get_path", "get_entry"])
def test_one_entry_is_downloaded(place, asked):
    """Only that file lands on disk, told by its absolute path (S19, F31)."""
    log(BIKES, "bike-dataset")
    with avc.init() as run:
        artifact = run.use_artifact("bike-dataset:latest")
    entry = getattr(artifact, asked)("images/bikes/1.png")
    path = entry.download()
    assert path == str(place / "artifacts" / "bike-dataset:v0" / "images" / "bikes" / "1.png")
    assert tree(place / "artifacts") == {"bike-dataset:v0/images/bikes/1.png": b"one"}
    assert entry.download(root="d") == str(place / "d" / "images" / "bikes" / "1.png")
    assert tree(place / "d") == {"images/bikes/1.png": b"one"}


def test_a_stored_file_has_no_address_elsewhere():
    """`ref_target` of an entry whose bytes are stored is a ValueError; `ref` is None (S19)."""
    entry = log({"a": "1"}).get_entry("a")
    assert entry.ref is None
    with pytest.raises(ValueError):
        entry.ref_target()


def test_an_entry_that_is_not_there_is_a_key_error():
    """The error reads as a sentence that names the path, not as a key's quotation (S19)."""
    with pytest.raises(KeyError) as caught:
        log({"a": "1"}).get_entry("missing.txt")
    assert isinstance(caught.value, AvcError)
    assert "missing.txt" in str(caught.value)
    assert not str(caught.value).startswith(("'", '"'))


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("bike.png", {"bike.png", "bike.png2"}),
        ("images/bikes/", {"images/bikes/1.png", "images/bikes/old/2.png"}),
        ("images/bikes", {"images/bikes/1.png", "images/bikes/old/2.png", "images/bikes.txt"}),
        ("images/bikes/old/2", {"images/bikes/old/2.png"}),
        ("", set(BIKES)),
    ],
)
def test_a_prefix_is_the_beginning_of_a_path(place, prefix, expected):
    """`path_prefix` takes every path that begins so, as plain text (S23, S24, F34)."""
    artifact = log(BIKES, "bike-dataset")
    root = artifact.download(path_prefix=prefix)
    assert root == str(place / "artifacts" / "bike-dataset:v0")
    assert tree(Path(root)) == {path: BIKES[path].encode() for path in expected}


def test_parts_downloaded_one_after_another_add_up():
    """A later prefix completes the same directory and rewrites nothing (S24)."""
    artifact = log(BIKES, "bike-dataset")
    root = Path(artifact.download(path_prefix="images/cars/"))
    before = stamps(root)
    artifact.download()
    assert tree(root) == {path: content.encode() for path, content in BIKES.items()}
    assert stamps(root).items() >= before.items()


# ---- on the command line -------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", [("artifact", "get"), ("get",)])
def test_the_command_line_gets_a_version(place, spelling):
    """`avc artifact get project/name:alias --root DIR` writes the files and says where (S22, F33)."""
    log({"train/0.png": "0"}, "mnist", project="digits", aliases=["alias"])
    log({"train/0.png": "1"}, "mnist", project="digits")
    done = command(place, *spelling, "digits/mnist:alias", "--root", "mnist/")
    assert done.returncode == 0, done.stderr
    assert "mnist" in done.stdout
    assert tree(place / "mnist") == {"train/0.png": b"0"}
    done = command(place, *spelling, "digits/mnist", "--root", "newest/")
    assert done.returncode == 0, done.stderr
    assert tree(place / "newest") == {"train/0.png": b"1"}


def test_the_command_line_says_in_one_line_what_is_missing(place):
    """An unknown name is an error and a hint, no traceback, and no success (S22)."""
    done = command(place, "artifact", "get", "digits/mnist:alias", "--root", "mnist/")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert not (place / "mnist").exists()


# ---- what comes back besides files -----------------------------------------------------------------------


def test_a_table_comes_back_as_a_table():
    """A result table can be an artifact's content, and is one again when it is got (F5)."""
    artifact = avc.Artifact("predictions", "results")
    table = avc.Table(columns=["image", "guess"], data=[["a.png", 3], ["b.png", 7]])
    artifact.add(table, "table")
    with avc.init() as run:
        run.log_artifact(artifact)
    with avc.init() as run:
        found = run.use_artifact("predictions:latest").get("table")
    assert isinstance(found, avc.Table)
    assert (found.columns, found.data) == (["image", "guess"], [["a.png", 3], ["b.png", 7]])


def test_get_gives_objects_only():
    """A plain file and a name that is not there give None (F5)."""
    artifact = log({"plain.txt": "text"})
    assert artifact.get("plain.txt") is None
    assert artifact.get("missing") is None


def test_a_version_used_in_a_run_is_whole(place):
    """Outside or inside a run, by alias, number or digest, it is the same version (F29, F100)."""
    log({"a": "1"}, aliases=["good"])
    first = avc.Api().artifact("data:v0")
    with avc.init() as run:
        found = [run.use_artifact(name) for name in ("data:v0", "data:good", "data", f"data@{first.digest[:12]}")]
    assert {artifact.digest for artifact in found} == {draft({"a": "1"}).digest}
    assert paths(found[0]) == ["a"]
