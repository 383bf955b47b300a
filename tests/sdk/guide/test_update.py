"""Updating: description, metadata and aliases of a version, name and description of a line of versions."""

from __future__ import annotations

from pathlib import Path

import pytest

import artifactvc as avc
from tests.sdk.guide.helpers import ENTITY, PROJECT, ids, log, log_entries, names, runs_of, said
from tests.support import tree


def test_a_description_is_changed_in_a_run():
    """What is assigned is kept by `save`, on the same version with the same digest (S27, F37)."""
    first = log({"a": "1"}, aliases=["chosen"])
    with avc.init() as run:
        artifact = run.use_artifact("data:chosen")
        artifact.description = "which photographs these are"
        artifact.save()
    found = avc.Api().artifact("data:chosen")
    assert found.description == "which photographs these are"
    assert (found.version, found.digest) == ("v0", first.digest)
    assert names(avc.Api().artifacts("dataset", "data")) == ["data:v0"]


def test_nothing_counts_before_save():
    """Description, metadata and aliases stay as they were for everybody else until `save` (S28)."""
    log({"a": "1"}, aliases=["old"])
    artifact = avc.Api().artifact("data:old")
    artifact.description = "new words"
    artifact.metadata["key"] = "value"
    artifact.aliases.append("best")
    artifact.aliases.remove("old")
    artifact.tags = ["reviewed"]
    found = avc.Api().artifact("data:old")
    assert not found.description
    assert (found.metadata, sorted(found.aliases), found.tags) == ({}, ["latest", "old"], [])
    assert not avc.Api().artifact_exists("data:best")


def test_all_is_changed_outside_a_run_at_once(place):
    """Description, metadata as a whole and the set of aliases change in one entry of the log (S28, F37, F38)."""
    first = log({"a": "1"}, aliases=["alias"])
    runs = ids(runs_of())
    artifact = avc.Api().artifact(f"{ENTITY}/{PROJECT}/data:alias")
    artifact.description = "My new description"
    artifact.metadata["oldKey"] = "new value"
    artifact.metadata = {"newKey": "new value"}
    artifact.aliases.append("best")
    artifact.aliases.remove("latest")
    artifact.aliases = ["replaced"]
    before = log_entries(place)
    artifact.save()
    assert log_entries(place) == before + 1
    api = avc.Api()
    found = api.artifact("data:replaced")
    assert (found.version, found.digest) == ("v0", first.digest)
    assert (found.description, found.metadata) == ("My new description", {"newKey": "new value"})
    assert found.aliases == ["replaced"]
    assert [api.artifact_exists(f"data:{alias}") for alias in ("latest", "best", "alias")] == [False] * 3
    assert api.artifact("data:v0").aliases == ["replaced"]
    assert ids(runs_of()) == runs


def test_a_bare_name_without_latest_names_the_newest():
    """Where `latest` was taken away, a name alone is an error that says which version is the newest (S28)."""
    log({"a": "1"}, aliases=["kept"])
    artifact = avc.Api().artifact("data:latest")
    artifact.aliases.remove("latest")
    artifact.save()
    with pytest.raises(avc.errors.CommError) as caught:
        avc.Api().artifact("data")
    assert "v0" in said(caught.value)


def test_one_key_of_the_metadata_is_changed():
    """An edit in place keeps the other keys (S28, F38)."""
    with avc.init() as run:
        run.log_artifact(avc.Artifact("data", "dataset", metadata={"kept": 1, "changed": {"deep": 1}, "gone": 1}))
    artifact = avc.Api().artifact("data:latest")
    artifact.metadata["changed"]["deep"] = 2
    artifact.metadata["added"] = [1, 2]
    del artifact.metadata["gone"]
    artifact.save()
    assert avc.Api().artifact("data:latest").metadata == {"kept": 1, "changed": {"deep": 2}, "added": [1, 2]}


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda aliases: aliases.append("best"), ["best", "latest", "old"]),
        (lambda aliases: aliases.remove("old"), ["latest"]),
        (lambda aliases: aliases.clear(), []),
        (lambda aliases: aliases.append("latest"), ["latest", "old"]),
    ],
    ids=["added", "removed", "none left", "one that is there"],
)
def test_aliases_are_edited_in_place(edit, expected):
    """Adding to and taking from the list is seen by `save` (S28, F38)."""
    log({"a": "1"}, aliases=["old"])
    artifact = avc.Api().artifact("data:v0")
    edit(artifact.aliases)
    artifact.save()
    assert sorted(avc.Api().artifact("data:v0").aliases) == expected


def test_an_alias_is_taken_over_from_another_version():
    """An alias names one version: saving it here takes it from there (S28)."""
    log({"a": "1"}, aliases=["best"])
    log({"a": "2"})
    artifact = avc.Api().artifact("data:v1")
    artifact.aliases.append("best")
    artifact.save()
    assert avc.Api().artifact("data:best").version == "v1"
    assert avc.Api().artifact("data:v0").aliases == []


def test_tags_are_edited_in_place():
    """Tags are saved like aliases, and many versions may share one (F38)."""
    log({"a": "1"}, tags=["raw", "2026"])
    log({"a": "2"}, tags=["raw"])
    artifact = avc.Api().artifact("data:v0")
    artifact.tags.append("reviewed")
    artifact.tags.remove("2026")
    artifact.save()
    assert sorted(avc.Api().artifact("data:v0").tags) == ["raw", "reviewed"]
    assert avc.Api().artifact("data:v1").tags == ["raw"]


def test_saving_what_did_not_change_writes_nothing(place):
    """`save` of a version as it is adds no entry to the log (S27)."""
    log({"a": "1"})
    artifact = avc.Api().artifact("data:v0")
    before = log_entries(place)
    artifact.save()
    assert log_entries(place) == before


def test_two_who_edit_different_things_both_win():
    """What one session changes does not put back what another changed meanwhile (S28)."""
    log({"a": "1"})
    one, other = avc.Api().artifact("data:v0"), avc.Api().artifact("data:v0")
    one.description = "words"
    one.save()
    other.metadata["key"] = 1
    other.save()
    found = avc.Api().artifact("data:v0")
    assert (found.description, found.metadata) == ("words", {"key": 1})


# ---- the line of versions -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spelled",
    [
        {"type": "dataset", "collection": "data"},
        {"type_name": "dataset", "name": "data"},
        {"type_name": "dataset", "name": f"{ENTITY}/{PROJECT}/data"},
    ],
    ids=["as in the guide", "as in the SDK", "with its full name"],
)
def test_a_collection_is_renamed_and_described(spelled):
    """Versions and aliases follow the new name; the old one is not found (S29, F39)."""
    log({"a": "1"}, aliases=["good"])
    log({"a": "2"})
    collection = avc.Api().artifact_collection(**spelled)
    collection.name = "photographs"
    collection.description = "what they are of"
    collection.save()
    api = avc.Api()
    with pytest.raises(avc.errors.CommError):
        api.artifact("data:latest")
    with pytest.raises(avc.errors.CommError):
        list(api.artifacts("dataset", "data"))
    assert names(api.artifacts("dataset", "photographs")) == ["photographs:v1", "photographs:v0"]
    assert api.artifact("photographs:good").name == "photographs:v0"
    assert api.artifact("photographs").name == "photographs:v1"
    found = api.artifact_collection("dataset", "photographs")
    assert (found.name, found.description) == ("photographs", "what they are of")
    assert tree(Path(api.artifact("photographs:v0").download())) == {"a": b"1"}


def test_positional_arguments_are_type_and_name():
    """The two arguments come in the SDK's order (S29)."""
    log({"a": "1"}, "cnn", "model")
    collection = avc.Api().artifact_collection("model", "cnn")
    assert (collection.type, collection.name) == ("model", "cnn")
    assert not collection.description


@pytest.mark.parametrize("bad", ["a/b", "a:b", "a b", "", "x" * 129, ".hidden"])
def test_a_bad_new_name_is_refused_at_once(bad):
    """The name that it has stays, in the object and for everybody (S29)."""
    log({"a": "1"})
    collection = avc.Api().artifact_collection("dataset", "data")
    with pytest.raises(ValueError):
        collection.name = bad
    assert collection.name == "data"
    collection.save()
    assert avc.Api().artifact("data:latest").name == "data:v0"


def test_a_name_that_is_taken_is_refused():
    """Two lines of versions cannot have one name; both stay as they were (S29)."""
    log({"a": "1"})
    log({"a": "2"}, "other")
    collection = avc.Api().artifact_collection("dataset", "data")
    with pytest.raises(avc.errors.CommError):
        collection.name = "other"
        collection.save()
    api = avc.Api()
    assert api.artifact("data:latest").digest != api.artifact("other:latest").digest


def test_a_collection_that_is_not_there_is_a_comm_error():
    """So is one of another type (S29)."""
    log({"a": "1"})
    for kind, name in (("dataset", "nothing"), ("model", "data")):
        with pytest.raises(avc.errors.CommError):
            avc.Api().artifact_collection(kind, name)


def test_what_a_collection_tells():
    """Where it is, the aliases of all its versions, when it was made, and that it numbers versions itself (F39)."""
    log({"a": "1"}, aliases=["good"])
    log({"a": "2"}, aliases=["better"])
    collection = avc.Api().artifact_collection("dataset", "data")
    assert (collection.entity, collection.project, collection.type) == (ENTITY, PROJECT, "dataset")
    assert sorted(collection.aliases) == ["better", "good", "latest"]
    assert names(collection.artifacts()) == ["data:v1", "data:v0"]
    assert collection.is_sequence()
    assert isinstance(collection.id, str)
    assert collection.id
    assert collection.created_at <= avc.Api().artifact("data:v0").created_at
    assert collection.created_at <= collection.updated_at


def test_tags_of_a_collection_are_kept():
    """A line of versions has tags of its own, apart from those of its versions (F39)."""
    log({"a": "1"}, tags=["of-the-version"])
    collection = avc.Api().artifact_collection("dataset", "data")
    collection.tags = ["of-the-line"]
    collection.save()
    assert avc.Api().artifact_collection("dataset", "data").tags == ["of-the-line"]
    assert avc.Api().artifact("data:v0").tags == ["of-the-version"]
