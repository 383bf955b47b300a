"""New versions: from scratch or from a draft of an older one, by one run or several, inside a run or outside."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path

import pytest

import artifactvc as avc
from artifactvc.errors import AvcError
from artifactvc.sdk.repository import RemoteOptions, Repository
from tests.sdk.guide.helpers import (
    ENTITY,
    LARGE,
    PROJECT,
    digest,
    draft,
    fill,
    ids,
    log,
    logged,
    manifest_digest,
    names,
    object_files,
    path_of,
    paths,
    runs_of,
    said,
)
from tests.support import tree, write

# ---- from scratch ------------------------------------------------------------------------------------


def by_block(place: Path, content: str) -> avc.Artifact:
    write(place, {"image1.png": content})
    with avc.init() as run:
        artifact = avc.Artifact("artifact_name", "artifact_type")
        artifact.add_file("image1.png")
        run.log_artifact(artifact)
    return artifact


def test_a_block_leaves_a_version_and_a_finished_run(place):
    """Name and type go by position; when the block ends, v0 is there and the run is over (S32, F45, F48)."""
    artifact = by_block(place, "one")
    assert (artifact.version, artifact.type) == ("v0", "artifact_type")
    assert avc.run is None
    producer = artifact.logged_by()
    assert producer.state == "finished"
    assert names(producer.logged_artifacts()) == ["artifact_name:v0"]


def test_changed_content_makes_the_next_version_and_equal_content_none(place):
    """The first log is v0; other bytes are v1, the same bytes nothing (S32, F41, F47)."""
    assert [by_block(place, content).version for content in ("one", "one", "two", "two")] == ["v0", "v0", "v1", "v1"]
    assert names(avc.Api().artifacts("artifact_type", "artifact_name")) == ["artifact_name:v1", "artifact_name:v0"]


def test_saving_without_a_run_makes_one(place):
    """Outside a run, `save` makes a run of job type `auto` that is the version's producer (S33, F48)."""
    write(place, {"image1.png": "one"})
    artifact = avc.Artifact("artifact_name", "artifact_type")
    artifact.add_file("image1.png")
    artifact.save()
    assert artifact.wait().version == "v0"
    assert avc.run is None
    producer = artifact.logged_by()
    assert (producer.job_type, producer.state) == ("auto", "finished")
    assert ids(runs_of()) == [producer.id]


def test_saving_without_a_run_may_name_the_project():
    """The run that `save` makes, and the version, go where it says (S33)."""
    artifact = draft({"a": "1"})
    artifact.save(project="elsewhere")
    assert artifact.wait().qualified_name == f"{ENTITY}/elsewhere/data:v0"
    assert artifact.logged_by().project == "elsewhere"


def test_a_new_name_begins_at_v0_and_a_known_one_goes_on():
    """Numbers belong to a name in a project (F47)."""
    assert [log({"a": text}).version for text in "123"] == ["v0", "v1", "v2"]
    assert log({"a": "4"}, "new").version == "v0"
    assert log({"a": "4"}, project="other").version == "v0"


def test_a_name_continues_after_the_highest_number_ever_used():
    """A deleted version's number is not given again (S32, F47)."""
    for text in "123":
        log({"a": text})
    avc.Api().artifact("data:v2").delete(delete_aliases=True)
    avc.Api().artifact("data:v1").delete()
    assert log({"a": "4"}).version == "v3"
    assert names(avc.Api().artifacts("dataset", "data")) == ["data:v3", "data:v0"]


def test_content_of_a_deleted_version_is_a_new_version():
    """Only a live version is given back for equal content (F41)."""
    log({"a": "1"})
    log({"a": "2"})
    avc.Api().artifact("data:v0").delete()
    again = log({"a": "1"})
    assert (again.version, again.digest) == ("v2", manifest_digest({"a": "1"}))


def test_a_name_has_one_type():
    """Logging it with another type is a ValueError that names both (F47)."""
    log({"a": "1"}, kind="dataset")
    with avc.init() as run, pytest.raises(ValueError) as caught:
        run.log_artifact(draft({"a": "2"}, kind="model"))
    assert "dataset" in said(caught.value)
    assert "model" in said(caught.value)
    assert names(avc.Api().artifacts("dataset", "data")) == ["data:v0"]


def test_the_description_of_a_version_is_no_content():
    """Equal content with other words gives the version that is there, as it is (F41)."""
    logged(draft({"a": "1"}, description="first", metadata={"n": 1}))
    again = logged(draft({"a": "1"}, description="second", metadata={"n": 2}))
    assert (again.version, again.description, again.metadata) == ("v0", "first", {"n": 1})
    found = avc.Api().artifact("data:latest")
    assert (found.version, found.description, found.metadata) == ("v0", "first", {"n": 1})


def test_every_producer_of_equal_content_is_recorded():
    """A second run that logs the same bytes produced them, too; the first stays the first."""
    first = log({"a": "1"})
    with avc.init(job_type="again") as run:
        again = run.log_artifact(draft({"a": "1"}))
    assert names(avc.Api().run(path_of(run)).logged_artifacts()) == ["data:v0"]
    assert again.wait().logged_by().id == first.logged_by().id != run.id


# ---- several runs, one version --------------------------------------------------------------------------

ID = "my_dist_artifact"


def send(file: str) -> str:
    """One run that hands over its part; its id."""
    with avc.init() as run:
        artifact = avc.Artifact("artifact_name", "artifact_type")
        artifact.add_file(file)
        run.upsert_artifact(artifact, distributed_id=ID)
    return run.id


def finish(file: str | None = None) -> tuple[str, avc.Artifact]:
    """The run that declares the version complete; its id, and the version."""
    with avc.init() as run:
        artifact = avc.Artifact("artifact_name", "artifact_type")
        if file is not None:
            artifact.add_file(file)
        done = run.finish_artifact(artifact, distributed_id=ID).wait()
    return run.id, done


@pytest.fixture
def three_images(place):
    """Three images in the working directory."""
    write(place, {f"image{i}.png": f"image {i}" for i in (1, 2, 3)})
    return place


@pytest.mark.parametrize("last", ["image3.png", None], ids=["the last brings a file", "the last brings none"])
@pytest.mark.parametrize("order", [("image1.png", "image2.png"), ("image2.png", "image1.png")])
def test_three_runs_build_one_version(three_images, order, last):
    """No version until the last run says so; then v0 of all parts, in whatever order they came (S34–S36, F46, F49)."""
    senders = []
    for file in order:
        senders.append(send(file))
        assert not avc.Api().artifact_exists("artifact_name:latest")
    finisher, artifact = finish(last)
    assert (artifact.name, artifact.aliases) == ("artifact_name:v0", ["latest"])
    expected = [*sorted(order), *([last] if last else [])]
    assert paths(artifact) == expected
    assert artifact.digest == manifest_digest({file: f"image {file[5]}" for file in expected})
    assert tree(Path(artifact.download())) == {file: f"image {file[5]}".encode() for file in expected}
    for run in (*senders, finisher):
        assert names(avc.Api().run(f"{ENTITY}/{PROJECT}/{run}").logged_artifacts()) == ["artifact_name:v0"]


def test_a_part_sent_after_the_end_begins_anew(three_images):
    """Finishing forbids more for that version; the same id then builds the next one (F27)."""
    send("image1.png")
    finish()
    send("image2.png")
    assert names(avc.Api().artifacts("artifact_type", "artifact_name")) == ["artifact_name:v0"]
    _, second = finish()
    assert (second.version, paths(second)) == ("v1", ["image2.png"])
    assert paths(avc.Api().artifact("artifact_name:v0")) == ["image1.png"]


def test_finishing_again_gives_the_same_version(three_images):
    """A second finish with nothing new between is not a second version."""
    send("image1.png")
    _, first = finish("image2.png")
    _, second = finish("image2.png")
    assert (first.version, second.version, first.digest) == ("v0", "v0", second.digest)


def test_a_part_may_be_sent_twice(three_images):
    """A writer that is run again with the same bytes changes nothing."""
    send("image1.png")
    send("image1.png")
    _, artifact = finish("image2.png")
    assert paths(artifact) == ["image1.png", "image2.png"]


def test_one_path_with_different_bytes_names_both_writers(three_images):
    """Two runs that put different bytes at one path are told of each other; there is no version of either."""
    first = send("image1.png")
    write(three_images, {"image1.png": "other bytes"})
    with avc.init() as run, pytest.raises(ValueError) as caught:
        artifact = avc.Artifact("artifact_name", "artifact_type")
        artifact.add_file("image1.png")
        run.upsert_artifact(artifact, distributed_id=ID)
        run.finish_artifact(avc.Artifact("artifact_name", "artifact_type"), distributed_id=ID)
    assert "image1.png" in said(caught.value)
    assert first in said(caught.value)
    assert run.id in said(caught.value)
    assert not avc.Api().artifact_exists("artifact_name:latest")


def test_a_run_has_an_id_for_what_it_builds_with_others():
    """Without a group and without an id neither call can know what to build (S34, F25)."""
    with avc.init() as run:
        for call in (run.upsert_artifact, run.finish_artifact):
            with pytest.raises(TypeError) as caught:
                call(draft({"a": "1"}))
            assert "distributed_id" in said(caught.value)
    with avc.init(group="a-group") as run:
        run.upsert_artifact(draft({"a": "1"}))
        assert run.finish_artifact(draft({})).wait().name == "data:v0"


def test_aliases_and_metadata_come_with_the_end():
    """What the finishing run says of the version holds, and its aliases are set (F49)."""
    with avc.init(group="g") as run:
        run.upsert_artifact(draft({"a": "1"}))
        last = draft({"b": "2"}, description="whole", metadata={"parts": 2})
        artifact = run.finish_artifact(last, aliases=["best"]).wait()
    assert sorted(artifact.aliases) == ["best", "latest"]
    found = avc.Api().artifact("data:best")
    assert (paths(found), found.description, found.metadata) == (["a", "b"], "whole", {"parts": 2})


# ---- from a draft of an older version -------------------------------------------------------------------

PARENT = {
    "file_to_remove.txt": "goes",
    "modified_file.txt": "as it was",
    "dir_to_remove/a.txt": "a",
    "dir_to_remove/deep/b.txt": "b",
    "dir_to_remove.txt": "not in the directory",
    "kept.bin": b"k" * LARGE,
}


@pytest.fixture
def parent(place):
    """Version v0 of my_artifact, and the files that the examples add to it."""
    artifact = log(PARENT, "my_artifact", aliases=["approved"])
    write(place, {"file_to_add.txt": "added", "modified_file.txt": "as it is now"})
    return artifact


def after(changes: dict[str, str | None]) -> str:
    """The digest of the parent's files with *changes*; None takes a path away."""
    changed = {**PARENT, **changes}
    return manifest_digest({path: content for path, content in changed.items() if content is not None})


def test_a_run_that_asks_records_an_input_and_the_api_does_not(parent):
    """Both find the version to draft from; only the run is its user (S37, S38, F54)."""
    with avc.init() as run:
        inside = run.use_artifact("my_artifact:latest")
    client = avc.Api()
    outside = client.artifact("my_artifact:latest")
    assert inside.digest == outside.digest == parent.digest
    assert ids(outside.used_by()) == [run.id]


def test_a_draft_has_what_its_parent_has(parent):
    """Same name, type and entries, so the same digest; it is a draft, and the parent is as before (S39, F44)."""
    made = avc.Api().artifact("my_artifact:latest").new_draft()
    assert made.is_draft()
    assert (made.name, made.type) == ("my_artifact", "dataset")
    assert (made.digest, paths(made)) == (parent.digest, sorted(PARENT))
    assert made.size == parent.size


def test_a_draft_needs_no_bytes_of_its_parent(parent, place):
    """Drafting, adding and the new digest work while the parent's larger file is nowhere on disk (S39, F50, F52)."""
    [kept] = object_files(place)
    (place / ".artifacts" / "objects" / kept[:2] / kept[2:]).unlink()
    made = avc.Api().artifact("my_artifact:latest").new_draft()
    made.add_file("file_to_add.txt")
    made.remove("file_to_remove.txt")
    assert made.digest == after({"file_to_add.txt": "added", "file_to_remove.txt": None})


def test_a_draft_of_a_version_whose_bytes_are_on_a_remote(parent, place, tmp_path, monkeypatch):
    """A clone has no bytes; a version drafted and saved there brings only those that it adds (S39, F50, F52)."""
    with Repository.open(place) as repository:
        repository.remote_add("origin", str(tmp_path / "remote"), options=RemoteOptions())
        repository.push()
    cloned, _ = Repository.clone(str(tmp_path / "remote"), tmp_path / "clone")
    cloned.close()
    monkeypatch.chdir(tmp_path / "clone")
    write(tmp_path / "clone", {"file_to_add.txt": b"added" * LARGE})
    made = avc.Api().artifact(f"{PROJECT}/my_artifact:latest").new_draft()
    made.add_file("file_to_add.txt")
    made.save()
    assert made.wait().digest == manifest_digest({**PARENT, "file_to_add.txt": b"added" * LARGE})
    assert object_files(tmp_path / "clone") == [digest(b"added" * LARGE)]


@pytest.mark.parametrize(
    ("edit", "changes"),
    [
        (lambda made: made.add_file("file_to_add.txt"), {"file_to_add.txt": "added"}),
        (lambda made: made.remove("file_to_remove.txt"), {"file_to_remove.txt": None}),
        (
            lambda made: (made.remove("modified_file.txt"), made.add_file("modified_file.txt")),
            {"modified_file.txt": "as it is now"},
        ),
        (lambda made: made.add_file("modified_file.txt", overwrite=True), {"modified_file.txt": "as it is now"}),
        (
            lambda made: made.remove("dir_to_remove/"),
            {"dir_to_remove/a.txt": None, "dir_to_remove/deep/b.txt": None},
        ),
    ],
    ids=["add", "remove", "replace", "overwrite", "remove a directory"],
)
def test_the_next_version_is_the_parent_and_what_changed(parent, edit, changes):
    """Adding, removing and replacing one file; the parent stays as it is (S40–S42, S44, F50, F51, F53)."""
    made = avc.Api().artifact("my_artifact:latest").new_draft()
    edit(made)
    made.save()
    assert made.wait().name == "my_artifact:v1"
    assert made.digest == after(changes)
    found = avc.Api().artifact("my_artifact:latest")
    assert (found.version, found.digest, found.aliases) == ("v1", after(changes), ["latest"])
    old = avc.Api().artifact("my_artifact:v0")
    assert (old.digest, old.aliases) == (parent.digest, ["approved"])
    assert parent.manifest.entries.keys() == PARENT.keys()


def test_a_changed_file_is_not_added_over_the_old_one(parent):
    """A path that the parent has must be removed first; the error names it (S42, F53)."""
    made = avc.Api().artifact("my_artifact:latest").new_draft()
    with pytest.raises(ValueError) as caught:
        made.add_file("modified_file.txt")
    assert "modified_file.txt" in said(caught.value)
    assert made.digest == parent.digest


@pytest.mark.parametrize("path", ["never_there.txt", "dir_to", "modified_file.txt/below"])
def test_what_is_not_there_cannot_be_removed(parent, path):
    """Removing an unknown name is a FileNotFoundError that names it (S41)."""
    made = avc.Api().artifact("my_artifact:latest").new_draft()
    with pytest.raises(FileNotFoundError) as caught:
        made.remove(path)
    assert path in said(caught.value)
    assert isinstance(caught.value, AvcError)
    assert made.digest == parent.digest


def test_all_inside_a_run(parent):
    """A run uses a version and logs its successor: v0, run, v1 (S43, S45, F43, F54)."""
    with avc.init(job_type="modify dataset") as run:
        saved = run.use_artifact("my_artifact:latest")
        made = saved.new_draft()
        made.add_file("file_to_add.txt")
        made.remove("dir_to_remove/")
        run.log_artifact(made)
    assert made.wait().name == "my_artifact:v1"
    assert made.digest == after(
        {"file_to_add.txt": "added", "dir_to_remove/a.txt": None, "dir_to_remove/deep/b.txt": None}
    )
    recorded = avc.Api().run(path_of(run))
    assert recorded.job_type == "modify dataset"
    assert names(recorded.used_artifacts()) == ["my_artifact:v0"]
    assert names(recorded.logged_artifacts()) == ["my_artifact:v1"]
    assert avc.Api().artifact("my_artifact:v1").logged_by().id == run.id
    assert ids(avc.Api().artifact("my_artifact:v0").used_by()) == [run.id]


def test_all_outside_a_run(parent):
    """The API finds the version, `save` makes the next with a run of its own (S44, S46, F54)."""
    client = avc.Api()
    saved = client.artifact("my_artifact:latest")
    made = saved.new_draft()
    made.remove("file_to_remove.txt")
    made.remove("modified_file.txt")
    made.add_file("modified_file.txt")
    made.save()
    assert made.wait().name == "my_artifact:v1"
    assert made.digest == after({"file_to_remove.txt": None, "modified_file.txt": "as it is now"})
    assert made.logged_by().job_type == "auto"
    assert tree(Path(made.download()))["modified_file.txt"] == b"as it is now"


@pytest.mark.parametrize("outside", [True, False])
def test_a_draft_that_did_not_change_is_its_parent(parent, outside):
    """Saving or logging it gives the version that it came from (S46, F41)."""
    made = avc.Api().artifact("my_artifact:latest").new_draft()
    if outside:
        made.save()
    else:
        logged(made)
    assert (made.wait().name, made.digest) == ("my_artifact:v0", parent.digest)
    assert names(avc.Api().artifacts("dataset", "my_artifact")) == ["my_artifact:v0"]


def test_a_draft_goes_on_from_the_version_it_was_made_of():
    """Drafting v0 while the newest is v2 gives v3 = v0 and the edit (F50)."""
    for text in "123":
        log({"a": text})
    made = avc.Api().artifact("data:v0").new_draft()
    fill(made, {"b": "new"})
    made.save()
    assert (made.wait().version, made.digest) == ("v3", manifest_digest({"a": "1", "b": "new"}))


def test_what_a_draft_takes_from_its_parent():
    """Description and metadata are copied, so that editing them does not reach the parent; names are not (S39)."""
    with avc.init() as run:
        first = draft({"a": "1"}, description="words", metadata={"deep": {"n": 1}})
        first.ttl = datetime.timedelta(days=30)
        run.log_artifact(first, aliases=["best"], tags=["raw"])
    parent = avc.Api().artifact("data:v0")
    made = parent.new_draft()
    assert (made.description, made.metadata) == ("words", {"deep": {"n": 1}})
    made.metadata["deep"]["n"] = 2
    assert parent.metadata == {"deep": {"n": 1}}
    for prop in ("version", "aliases", "tags", "ttl", "created_at"):
        with pytest.raises(avc.errors.ArtifactNotLoggedError):
            getattr(made, prop)
    fill(made, {"b": "2"})
    made.save()
    found = avc.Api().artifact("data:v1")
    assert (found.aliases, found.tags, found.ttl) == (["latest"], [], None)
    assert (found.description, found.metadata) == ("words", {"deep": {"n": 2}})


def test_a_draft_belongs_to_its_parents_project():
    """A run of another project cannot log it; in its own it goes on (S43)."""
    log({"a": "1"})
    made = avc.Api().artifact("data:v0").new_draft()
    fill(made, {"b": "2"})
    with avc.init(project="elsewhere") as run, pytest.raises(ValueError) as caught:
        run.log_artifact(made)
    assert PROJECT in said(caught.value)
    with avc.init(project=PROJECT) as run:
        assert run.log_artifact(made).wait().qualified_name == f"{ENTITY}/{PROJECT}/data:v1"


def test_a_draft_saved_outside_goes_to_its_parents_project():
    """`save` without a run continues the parent's line, whatever the repository's project is (S44)."""
    log({"a": "1"}, project="elsewhere")
    made = avc.Api().artifact("elsewhere/data:v0").new_draft()
    fill(made, {"b": "2"})
    made.save()
    assert made.wait().qualified_name == f"{ENTITY}/elsewhere/data:v1"


def test_from_scratch_needs_all_files_and_a_draft_only_what_changes(place):
    """Two ways to one content give one version (F44, F51, F52)."""
    everything = {f"f{i}": str(i) for i in range(20)}
    log(everything)
    write(place, {"new.txt": "new"})
    made = avc.Api().artifact("data:latest").new_draft()
    made.add_file("new.txt")
    assert logged(made).version == "v1"
    assert log({**everything, "new.txt": "new"}).version == "v1"


def test_new_files_join_the_newest_version_without_a_parent():
    """`incremental=True` adds to what is newest when it is logged."""
    log({"a": "1"})
    log({"a": "2"})
    artifact = logged(draft({"b": "3"}, incremental=True))
    assert (artifact.version, artifact.digest) == ("v2", manifest_digest({"a": "2", "b": "3"}))


def test_an_older_version_is_rolled_back_to(place):
    """Every version stays as it was, to be used again (F100)."""
    log({"a": "1"})
    log({"a": "2"})
    shutil.rmtree(place / "artifacts", ignore_errors=True)
    old = avc.Api().artifact("data:v0")
    assert tree(Path(old.download())) == {"a": b"1"}
    back = logged(old.new_draft())
    assert (back.version, avc.Api().artifact("data:latest").version) == ("v0", "v0")
