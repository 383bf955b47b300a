"""An artifact as a line of versions: what it tells, and what may be changed of it, all at once or not at all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import artifactvc as avc
from artifactvc.errors import BadName, CommError, Conflict, NameTaken, UnknownVersion, UnsupportedError
from artifactvc.sdk.collection import ArtifactCollection
from artifactvc.sdk.opened import at
from artifactvc.sdk.repository import Repository
from tests.sdk.guide.conftest import place  # noqa: F401  every test is in a repository of its own
from tests.sdk.guide.helpers import ENTITY, LARGE, PROJECT, collect, log, log_entries, names, object_files


def refused(call: Callable[[], Any]) -> tuple[type, str, str]:
    """Cause, message and hint of the CommError that *call* ends in."""
    with pytest.raises(CommError) as caught:
        call()
    return type(caught.value.exc), str(caught.value), caught.value.hint


@pytest.fixture
def data() -> ArtifactCollection:
    """Two versions of data, one called good, the other better."""
    log({"a": "1"}, aliases=["good"])
    log({"a": "2"}, aliases=["better"])
    return avc.Api().artifact_collection("dataset", "data")


def again(name: str = "data") -> ArtifactCollection:
    return avc.Api().artifact_collection("dataset", name)


def test_what_it_tells(data):
    """Where it is, what it is, and what its versions are called."""
    assert (data.name, data.type, data.project, data.entity) == ("data", "dataset", PROJECT, ENTITY)
    assert data.aliases == ["latest", "better", "good"]
    assert (data.description, data.tags) == ("", [])
    assert names(data.artifacts(per_page=1)) == ["data:v1", "data:v0"]
    assert names(data.artifacts(start="v1")) == ["data:v0"]
    assert repr(data) == f"<ArtifactCollection {PROJECT}/data (dataset)>"
    assert data == again() == avc.Api().artifact("data").collection
    assert data != avc.Api() and {data, again()} == {data}  # noqa: PT018
    assert data.is_sequence()


def test_when_it_changed(data):
    """A version that is added, or an alias that is moved, is a change; its making is not."""
    assert data.updated_at == avc.Api().artifact("data:v1").updated_at
    before = data.updated_at
    version = avc.Api().artifact("data:v0")
    version.aliases.append("moved")
    version.save()
    assert data.created_at <= before < data.updated_at


def test_all_is_saved_at_once(data):
    """Name, description and tags; the object tells what is recorded afterwards."""
    data.name, data.description = "photographs", "what they are of"
    data.tags = ["soft", "fluffy cats", "soft"]
    assert (again().name, again().description, again().tags) == ("data", "", [])
    data.save()
    found = again("photographs")
    for one in (data, found):
        assert (one.name, one.description, one.tags) == ("photographs", "what they are of", ["fluffy cats", "soft"])
    assert names(found.artifacts()) == ["photographs:v1", "photographs:v0"]
    assert not avc.Api().artifact_exists("data:v0")
    assert found.id == data.id


def test_saving_what_did_not_change_writes_nothing(data):
    """Not even when the same text and tags are set again."""
    data.description, data.tags = "words", ["a"]
    data.save()
    before = log_entries(Path.cwd())
    data.save()
    data.description, data.tags, data.name = "words", ["a"], "data"
    data.save()
    assert log_entries(Path.cwd()) == before


def test_tags_are_edited_in_place(data):
    """What was added and taken away counts when it is saved; what another added meanwhile stays."""
    data.tags = ["one", "two"]
    data.save()
    other = again()
    data.tags.remove("one")
    data.tags.append("three")
    other.tags.append("four")
    other.save()
    assert again().tags == ["four", "one", "two"]
    data.save()
    assert again().tags == data.tags == ["four", "three", "two"]


def test_a_description_can_be_taken_away(data):
    """With None or nothing in it."""
    for empty in (None, ""):
        data.description = "words"
        data.save()
        data.description = empty
        assert data.description == ""
        data.save()
        assert again().description == ""


@pytest.mark.parametrize("bad", ["", "a/b", "a b", ".a", "-a", "a.", "x" * 129, "é"])
def test_a_bad_name_is_refused_at_once(data, bad):
    """As a ValueError; the old name stays."""
    with pytest.raises(BadName, match=r"(?m)^bad artifact name '") as caught:
        data.name = bad
    assert "ASCII" in caught.value.hint
    assert data.name == "data"


def test_what_is_no_text_is_refused_at_once(data):
    """As a TypeError for name and description; a tag that breaks its rule is a ValueError, at the latest when saved."""
    with pytest.raises(TypeError, match=r"(?m)^a name is text, not 'int'$"):
        data.name = 1
    with pytest.raises(TypeError, match=r"(?m)^a description is text, not 'int'$"):
        data.description = 1
    with pytest.raises(BadName, match=r"(?m)^bad tag 'a/b'$"):
        data.tags = ["a/b"]
    data.name, data.description = "renamed", "words"
    data.tags.append("a/b")
    assert refused(data.save)[:2] == (BadName, "bad tag 'a/b'")
    assert (again().name, again().description) == ("data", "")


def test_a_name_that_is_taken_changes_nothing(data):
    """Nor does one that differs only in case, or that was given before; what else was to be saved waits."""
    log({"a": "1"}, "other")
    log({"a": "1"}, "gone")
    again("gone").delete()
    before = log_entries(Path.cwd())
    data.description, data.tags = "words", ["a"]
    for taken, said in {
        "other": f"artifact 'other' exists in project '{PROJECT}'",
        "OTHER": f"artifact 'other' exists in project '{PROJECT}'",
        "gone": "'gone' was the name of another artifact, whose version numbers are never given again",
    }.items():
        data.name = taken
        assert refused(data.save) == (NameTaken, said, "choose another name")
    assert log_entries(Path.cwd()) == before
    assert (again().description, again().tags) == ("", [])
    data.name = "Data"
    data.save()
    assert (again("data").name, again("data").description, again("data").tags) == ("Data", "words", ["a"])


def test_a_rename_meanwhile(data):
    """Two renames conflict; other changes follow the artifact to its new name."""
    one, other = again(), again()
    one.name = "one"
    one.save()
    other.name = "other"
    assert refused(other.save) == (Conflict, "'data' was renamed to 'one' meanwhile", "look it up again")
    data.description = "words"
    data.save()
    assert (data.name, again("one").description) == ("one", "words")
    other.name = "one"
    other.save()
    assert again("one").id == data.id


@pytest.mark.parametrize(
    "change", [lambda found: setattr(found, "type", "model"), lambda found: found.change_type("model")]
)
def test_the_type_stays(data, change):
    """The error says what to do."""
    with pytest.raises(UnsupportedError) as caught:
        change(data)
    assert str(caught.value) == (
        "the type of 'data' cannot be changed: an artifact has one type from its first version on"
    )
    assert caught.value.hint == "log its files under another name: Artifact(name, type='model')"
    assert again().type == "dataset"


# ---- deleting ----------------------------------------------------------------------------------------------------


def test_deleting_takes_every_version(data):
    """With all aliases; what no other version uses is freed, and the object says that it is over."""
    log({"big": b"b" * LARGE})
    log({"big": b"b" * LARGE}, "other")
    log({"mine": b"m" * LARGE})
    data.delete()
    api = avc.Api()
    assert not any(api.artifact_exists(f"data:{what}") for what in ("latest", "good", "better", "v0", "v3"))
    assert not api.artifact_collection_exists("data", "dataset")
    assert (list(data.artifacts()), data.aliases) == ([], [])
    said = (Conflict, f"artifact '{PROJECT}/data' is deleted", "'avc restore' brings its versions back")
    assert refused(data.delete) == said
    data.description = "words"
    assert refused(data.save) == said
    collect()
    assert len(object_files(Path.cwd())) == 1


def test_links_go_with_their_source_and_sources_stay(data):
    """Deleting what has links only takes the links; deleting a source takes its links elsewhere, too."""
    api = avc.Api()
    api.artifact("data:v0").link(f"{PROJECT}/chosen")
    api.artifact("data:v1").link(f"{PROJECT}/chosen")
    api.artifact("data:v1").link("elsewhere/chosen")
    chosen = again("chosen")
    assert not chosen.is_sequence()
    assert names(chosen.artifacts()) == ["chosen:v1", "chosen:v0"]
    chosen.delete()
    assert names(data.artifacts()) == ["data:v1", "data:v0"]
    assert api.artifact_exists("elsewhere/chosen:v0")
    data.delete()
    assert not api.artifact_exists("elsewhere/chosen:v0")


def test_an_artifact_that_lost_its_versions_is_still_there(data):
    """With none of them left it has no aliases, and can be renamed and deleted."""
    for version in data.artifacts():
        version.delete(delete_aliases=True)
    assert (list(again().artifacts()), again().aliases, again().is_sequence()) == ([], [], True)
    assert "none" in again()._repr_html_()
    data.name = "empty"
    data.save()
    again("empty").delete()
    assert not avc.Api().artifact_collection_exists("empty")


# ---- the rest --------------------------------------------------------------------------------------------------------


def test_it_shows_itself_in_a_notebook(data):
    """As a table, in which nothing that people wrote is taken for HTML."""
    data.description = "<script>alert(1)</script>"
    data.tags = ["soft"]
    shown = data._repr_html_()
    assert shown.startswith("<table>")
    assert "&lt;script&gt;" in shown
    assert "<script>" not in shown
    for text in ("dataset", PROJECT, "v1", "latest, better, good", "soft"):
        assert text in shown


def test_an_id_that_is_none(data):
    """What was never heard of is an error that says where it may be."""
    with at(Path.cwd() / ".artifacts").session() as session:
        root = session.avc.root
    with pytest.raises(UnknownVersion, match=r"(?m)^no artifact '000000000000' is known any more$") as caught:
        ArtifactCollection(root, "0" * 32)
    assert caught.value.hint == "run 'avc fetch'"


def test_changes_made_by_the_command_line_are_seen(data):
    """The object asks the repository, not its memory, for what may change; a fresh one has all of it."""
    line = [sys.executable, "-m", "artifactvc", "alias", "data:v0", "chosen"]
    assert subprocess.run(line, capture_output=True, timeout=120).returncode == 0
    assert data.aliases == ["latest", "better", "chosen", "good"]
    with Repository.open() as repository:
        repository.edit(None, artifact="data", description="from outside")
    assert again().description == "from outside"
