"""Linked versions: a place in another artifact, with a number and aliases of its own; the content stays one."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

import artifactvc as avc
from artifactvc.errors import ArtifactNotLoggedError, CommError, UnsupportedError
from tests.sdk.guide.conftest import place  # noqa: F401  a directory with a repository, where each test is


def logged(text: str, name: str = "model", **fields: object) -> avc.Artifact:
    with avc.init(project="work") as run:
        artifact = avc.Artifact(name, type="model", **fields)  # type: ignore[arg-type]
        with artifact.new_file("weights") as file:
            file.write(text)
        return run.log_artifact(artifact)


@pytest.fixture
def source() -> avc.Artifact:
    """The third version of `model`."""
    return [logged(text, metadata={"n": text}) for text in "012"][-1]


def test_a_link_has_names_of_its_own(source):
    """Number and aliases are of the other artifact; content, metadata and runs are the source's."""
    link = source.link("shelf/best", aliases=["gold"])
    assert (link.name, link.project, link.aliases) == ("best:v0", "shelf", ["latest", "gold"])
    assert (link.is_link, source.is_link) == (True, False)
    assert (link.digest, link.metadata, link.type) == (source.digest, {"n": "2"}, "model")
    assert (link.source_name, link.source_project, link.source_version) == ("model:v2", "work", "v2")
    assert link.source_qualified_name == source.qualified_name
    assert link.source_artifact.name == "model:v2"
    assert source.source_artifact is source
    assert [other.name for other in source.linked_artifacts] == ["best:v0"]
    assert link.linked_artifacts == []
    assert link.source_collection.name == "model"
    assert link.collection.name == "best"
    assert (link.logged_by() or source).id == source.logged_by().id


def test_a_link_of_a_link_is_one_of_its_source(source):
    """And the same link again is the one that is there."""
    first = source.link("shelf/best")
    second = first.link("shelf/other")
    assert second.source_name == "model:v2"
    assert source.link("shelf/best", aliases=["again"]).name == "best:v0"
    assert sorted(other.name for other in source.linked_artifacts) == ["best:v0", "other:v0"]


def test_a_draft_is_saved_before_it_is_linked():
    """In the project of the run that saves it; a run links into its own project by default."""
    with avc.init(project="work") as run:
        draft = avc.Artifact("fresh", type="model")
        with draft.new_file("a") as file:
            file.write("a")
        link = run.link_artifact(draft, "shelf")
    assert (draft.name, link.qualified_name.split("/")[1:]) == ("fresh:v0", ["work", "shelf:v0"])


def test_what_is_used_through_a_link_counts_for_the_source(source):
    """`used_by` tells of both; a download is the source's files."""
    source.link("shelf/best")
    with avc.init(project="other") as run:
        used = run.use_artifact("shelf/best:latest")
        assert (Path(used.download()) / "weights").read_text() == "2"
    assert [r.id for r in source.used_by()] == [run.id]
    assert [r.id for r in used.used_by()] == [run.id]


def test_what_is_said_of_a_link_is_said_of_its_source(source):
    """Description and metadata are the content's; a time to live is the source's alone."""
    link = source.link("shelf/best")
    link.description = "the best"
    link.metadata["x"] = 1
    link.save()
    again = avc.Api().artifact("work/model:v2")
    assert (again.description, again.metadata) == ("the best", {"n": "2", "x": 1})
    with pytest.raises(ValueError, match="a link has no time to live of its own"):
        link.ttl = timedelta(days=1)


def test_unlinking_leaves_the_source(source):
    """Deleting a link is unlinking it; what is no link cannot be unlinked."""
    source.link("shelf/best", aliases=["a"]).unlink()
    assert source.linked_artifacts == []
    source.link("shelf/best", aliases=["b"]).delete()
    assert source.state == "COMMITTED"
    assert not avc.Api().artifact_exists("shelf/best:latest")
    with pytest.raises(ValueError, match=r"is no link, use 'Artifact.delete' instead"):
        source.unlink()
    with pytest.raises(ArtifactNotLoggedError):
        avc.Artifact("x", "y").unlink()


def test_numbers_of_links_are_never_given_again(source):
    """As of every other version (protocol N3)."""
    source.link("shelf/best").unlink()
    assert source.link("shelf/best").name == "best:v1"


def test_a_deleted_artifact_takes_its_links_along(source):
    """Every version, with aliases, and the links elsewhere."""
    source.link("shelf/best")
    avc.Api().artifact_collection("model", "work/model").delete()
    assert not avc.Api().artifact_exists("shelf/best:v0")
    assert not avc.Api().artifact_exists("work/model:v2")


def test_what_cannot_be_linked(source):
    """To itself, to an artifact of another type, to a registry, to a bad name."""
    logged("x", "data").collection  # noqa: B018
    with pytest.raises(CommError, match="'model' cannot be linked to itself"):
        source.link("work/model")
    with avc.init(project="work") as run:
        run.log_artifact(__file__, name="set", type="dataset")
    with pytest.raises(CommError, match="artifact 'set' already exists with type 'dataset'"):
        source.link("work/set")
    with pytest.raises(UnsupportedError, match="registries are not supported"):
        source.link("wandb-registry-model/best")
    with pytest.raises(CommError, match="bad artifact name 'a b'"):
        source.link("shelf/a b")


def test_a_link_survives_the_index(source):
    """It is a record of the log: without the index it is what it was."""
    from artifactvc.storage.database import discard

    source.link("shelf/best", aliases=["gold"])
    discard(Path(".artifacts/index.sqlite"))
    Path(".artifacts/config.toml").touch()  # the repository is opened anew
    again = avc.Api().artifact("shelf/best:gold")
    assert (again.is_link, again.source_name, again.metadata) == (True, "model:v2", {"n": "2"})
