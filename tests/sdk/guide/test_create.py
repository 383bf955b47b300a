"""Creating: what goes into an artifact, under which path, and how it becomes a version."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

import artifactvc as avc
from artifactvc.core.model import EMPTY
from artifactvc.sdk.repository import Repository
from tests.sdk.guide import writers
from tests.sdk.guide.helpers import (
    ENTITY,
    LARGE,
    PROJECT,
    digest,
    draft,
    fill,
    ids,
    log,
    log_entries,
    logged,
    manifest_digest,
    names,
    object_files,
    path_of,
    paths,
    runs_of,
    said,
)
from tests.support import write

# ---- the shortest way ------------------------------------------------------------------------------


def test_four_lines_make_a_version(place):
    """A run, an object, a file and a call make version v0 with `latest`, logged by that very run (S1, F1, F8, F114)."""
    content = b"h5" * LARGE
    write(place, {"dataset.h5": content})
    run = avc.init(project="artifacts-example", job_type="add-dataset")
    artifact = avc.Artifact(name="example_artifact", type="dataset")
    artifact.add_file(local_path="./dataset.h5", name="training_dataset")
    artifact.save()
    assert artifact.wait() is artifact
    assert (artifact.name, artifact.version, artifact.aliases) == ("example_artifact:v0", "v0", ["latest"])
    assert artifact.qualified_name == f"{ENTITY}/artifacts-example/example_artifact:v0"
    entry = artifact.get_entry("training_dataset")
    assert paths(artifact) == ["training_dataset"]
    assert (entry.size, entry.digest) == (len(content), digest(content))
    assert artifact.logged_by().id == run.id
    assert ids(runs_of("artifacts-example")) == [run.id]
    assert object_files(place) == [digest(content)]


def test_four_lines_again_make_no_second_version(place):
    """The same four lines with the same bytes give v0 once more, and store nothing (S1, F41)."""
    write(place, {"dataset.h5": b"h5" * LARGE})
    for _ in range(2):
        run = avc.init(project="artifacts-example", job_type="add-dataset")
        artifact = avc.Artifact(name="example_artifact", type="dataset")
        artifact.add_file(local_path="./dataset.h5", name="training_dataset")
        artifact.save()
        run.finish()
        assert artifact.wait().name == "example_artifact:v0"
    api = avc.Api(overrides={"project": "artifacts-example"})
    assert names(api.artifacts("dataset", "example_artifact")) == ["example_artifact:v0"]
    assert len(object_files(place)) == 1


def test_a_draft_is_empty_and_has_no_version():
    """A new object is a draft with the digest of the empty manifest; what only a version has is refused (S4)."""
    artifact = avc.Artifact(name="real-name", type="dataset")
    assert artifact.is_draft()
    assert artifact.digest == EMPTY
    with pytest.raises(avc.errors.ArtifactNotLoggedError, match="used prior to logging artifact"):
        artifact.version  # noqa: B018


def test_a_name_says_which_characters_it_may_have():
    """A placeholder left as it stands is refused, and the error lists what a name is made of (S4)."""
    with pytest.raises(ValueError) as caught:
        avc.Artifact(name="<replace>", type="<replace>")
    assert "'<replace>'" in said(caught.value)
    assert "letters, digits" in said(caught.value)


def test_description_and_metadata_may_be_given_at_the_start():
    """Both are optional when the object is made, and belong to the version (F12, F13)."""
    artifact = logged(
        avc.Artifact("cnn", type="model", description="a small one", metadata={"acc": 0.93, "size": {"mb": 2}})
    )
    found = avc.Api().artifact("cnn:latest")
    assert (found.name, found.type, found.description) == (artifact.name, "model", "a small one")
    assert found.metadata == {"acc": 0.93, "size": {"mb": 2}}
    plain = avc.Artifact("plain", "dataset")
    assert (plain.description, plain.metadata) == (None, {})


def test_an_artifact_can_be_made_before_there_is_a_run():
    """The object needs no run; logging it later associates it with one (F15, F16)."""
    artifact = draft({"a.txt": "a"})
    assert avc.run is None
    with avc.init() as run:
        run.log_artifact(artifact)
    assert artifact.wait().logged_by().id == run.id


def test_saving_needs_no_server(place):
    """All that is saved is in the repository of this directory (F11)."""
    before = log_entries(place)
    log({"a.txt": "a" * LARGE})
    assert log_entries(place) > before
    assert object_files(place) == [digest("a" * LARGE)]


# ---- one file --------------------------------------------------------------------------------------


def test_add_file_answers_with_its_entry(place):
    """The entry says path, size and digest, and the artifact remembers which file became it (S5)."""
    write(place, {"hello_world.txt": "hello"})
    artifact = avc.Artifact("greeting", type="text")
    entry = artifact.add_file(local_path="hello_world.txt", name="optional-name")
    assert (entry.path, entry.size, entry.digest) == ("optional-name", 5, digest("hello"))
    assert artifact.get_added_local_path_name("hello_world.txt") == "optional-name"
    assert artifact.get_added_local_path_name("never_added.txt") is None


def test_a_run_logs_an_artifact(place):
    """Logging through a run gives v0 with `latest`, and lists it as what the run with that job type made (S6, F15)."""
    write(place, {"hello_world.txt": "hello"})
    artifact = avc.Artifact("greeting", type="text")
    artifact.add_file("hello_world.txt")
    run = avc.init(project="artifacts-example", job_type="job-type")
    run.log_artifact(artifact)
    run.finish()
    recorded = avc.Api().run(path_of(run))
    assert recorded.job_type == "job-type"
    assert names(recorded.logged_artifacts()) == ["greeting:v0"]
    assert artifact.wait().aliases == ["latest"]


@pytest.mark.parametrize("local", ["path/file.format", "path/file.txt"])
def test_a_file_enters_under_its_base_name(place, local):
    """Without a name, the directories that the file lies in are left out (S7, S8, F17)."""
    write(place, {local: "x"})
    artifact = avc.Artifact("data", "dataset")
    artifact.add_file(local)
    assert paths(artifact) == [Path(local).name]


def test_a_file_enters_under_the_name_given(place):
    """A name, directories and all, replaces the file's own (S9, F17)."""
    write(place, {"path/file.format": "x"})
    artifact = avc.Artifact("data", "dataset")
    artifact.add_file(local_path="path/file.format", name="new/path/file.format")
    assert paths(artifact) == ["new/path/file.format"]


@pytest.mark.parametrize(
    ("call", "path", "content"),
    [
        ({"local_path": "model.h5"}, "model.h5", "the model at the top"),
        ({"local_path": "checkpoints/model.h5"}, "model.h5", "the model of a checkpoint"),
        ({"local_path": "model.h5", "name": "models/mymodel.h5"}, "models/mymodel.h5", "the model at the top"),
    ],
)
def test_where_single_files_go(images, call, path, content):
    """Each row of the guide's table of files (S10, F14)."""
    artifact = avc.Artifact("data", "dataset")
    artifact.add_file(**call)
    assert paths(artifact) == [path]
    assert artifact.manifest.entries[path].digest == digest(content)


def test_two_files_cannot_take_one_path(images):
    """Another file of the same base name is refused, and what was there stays (S10)."""
    artifact = avc.Artifact("data", "dataset")
    artifact.add_file("model.h5")
    with pytest.raises(ValueError) as caught:
        artifact.add_file("checkpoints/model.h5")
    assert "model.h5" in said(caught.value)
    assert artifact.manifest.entries["model.h5"].digest == digest("the model at the top")


# ---- directories, and files written in place ---------------------------------------------------------


def test_a_directory_enters_whole_under_a_prefix(place):
    """Every file below the directory, at any depth, whatever the directory is called (S11, F14, F18)."""
    write(place, {"path/file.format/a": "a", "path/file.format/b/c": "c", "path/file.format/b/d/e": "e"})
    artifact = avc.Artifact("data", "dataset")
    assert artifact.add_dir(local_path="path/file.format", name="optional-prefix") is None
    assert paths(artifact) == ["optional-prefix/a", "optional-prefix/b/c", "optional-prefix/b/d/e"]


def test_a_file_is_no_directory(place):
    """A regular file where a directory is meant is refused by name (S11)."""
    write(place, {"path/file.format": "x"})
    with pytest.raises(ValueError) as caught:
        avc.Artifact("data", "dataset").add_dir(local_path="path/file.format", name="optional-prefix")
    assert "path/file.format" in said(caught.value)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ({"local_path": "images"}, ["cat.png", "dog.png"]),
        ({"local_path": "images", "name": "images"}, ["images/cat.png", "images/dog.png"]),
        ({"local_path": "images", "name": "images/"}, ["images/cat.png", "images/dog.png"]),
    ],
)
def test_where_directories_go(images, call, expected):
    """Each row of the guide's table of directories (S12, F18)."""
    artifact = avc.Artifact("data", "dataset")
    artifact.add_dir(**call)
    assert paths(artifact) == expected


def test_a_file_can_be_written_into_an_artifact():
    """What is written in the block is an entry when the block ends, and comes back as it was (S12)."""
    artifact = avc.Artifact("data", "dataset")
    with artifact.new_file("hello.txt") as file:
        file.write("written in place")
    assert paths(artifact) == ["hello.txt"]
    assert artifact.manifest.entries["hello.txt"].size == len("written in place")
    root = logged(artifact).download()
    assert Path(root, "hello.txt").read_text() == "written in place"


def test_files_directories_and_new_files_mix(images):
    """One artifact takes from every source at once (F10)."""
    artifact = avc.Artifact("data", "dataset")
    artifact.add_file("model.h5", name="models/top.h5")
    artifact.add_dir("images", name="pictures")
    fill(artifact, {"notes/read.me": "hello"})
    artifact.add(avc.Table(columns=["a"], data=[[1]]), "table")
    assert paths(artifact) == [
        "models/top.h5", "notes/read.me", "pictures/cat.png", "pictures/dog.png", "table.table.json",
    ]  # fmt: skip
    assert paths(logged(artifact)) == paths(artifact)


# ---- the same content, the same digest -------------------------------------------------------------------

ROADS = {
    "add_file": lambda artifact: [artifact.add_file(f"tree/{path}", name=path) for path in TREE],
    "add_file, backwards": lambda artifact: [artifact.add_file(f"tree/{path}", name=path) for path in reversed(TREE)],
    "new_file": lambda artifact: fill(artifact, TREE),
    "add_dir": lambda artifact: artifact.add_dir("tree"),
    "add_dir and removed again": lambda artifact: (
        artifact.add_dir("tree"), artifact.add_dir("tree", name="more"), artifact.remove("more"),
    ),
    "overwritten": lambda artifact: (
        fill(artifact, {"file1.txt": "other"}),
        artifact.add_file("tree/file1.txt", overwrite=True),
        artifact.add_dir("tree/nest", name="nest"),
    ),
}  # fmt: skip
TREE = {"file1.txt": "hello", "nest/file2.txt": "my", "nest/nest/file3.txt": "dude"}


@pytest.mark.parametrize("road", ROADS.values(), ids=ROADS)
def test_equal_content_has_equal_digests(place, road):
    """By whatever call three files arrive, draft and version have the digest of their manifest (S12, F41)."""
    write(place, {f"tree/{path}": content for path, content in TREE.items()})
    artifact = avc.Artifact("data", "dataset")
    road(artifact)
    assert artifact.digest == manifest_digest(TREE)
    assert logged(artifact).digest == manifest_digest(TREE)
    assert avc.Api().artifact("data:latest").digest == manifest_digest(TREE)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"file1.txt": "hello"},
        {"great-file.txt": "hello"},
        {"subdir/file1.txt": "hello"},
        TREE,
        {f"top/{path}": content for path, content in TREE.items()},
    ],
)
def test_the_digest_is_of_paths_and_bytes(files):
    """Another path is another digest; name, type, description and metadata are not in it."""
    one = draft(files, "one", "dataset")
    other = draft(files, "other", "model", description="words", metadata={"a": 1})
    assert one.digest == other.digest == manifest_digest(files)


def test_equal_tables_have_equal_digests():
    """A table's stored form depends on its columns and rows alone."""
    made = []
    for name in ("one", "other"):
        artifact = avc.Artifact(name, "results")
        artifact.add(avc.Table(columns=["a"], data=[[1]]), "t")
        made.append(artifact)
    assert paths(made[0]) == ["t.table.json"]
    assert made[0].digest == made[1].digest
    other = avc.Artifact("third", "results")
    other.add(avc.Table(columns=["a"], data=[[2]]), "t")
    assert other.digest != made[0].digest


def test_equal_content_from_one_file_and_from_a_directory_is_one_version(place):
    """Files added one by one, written in place, or with their directory are the same version (F41)."""
    write(place, {f"tree/{path}": content for path, content in TREE.items()})
    first = log(TREE)
    whole = avc.Artifact("data", "dataset")
    whole.add_dir("tree")
    assert (logged(whole).name, first.name) == ("data:v0", "data:v0")


# ---- built by processes side by side --------------------------------------------------------------------


def unseen(name: str) -> bool:
    """Whether no listing, alias or number shows a version of *name*."""
    api = avc.Api()
    if api.artifact_exists(f"{name}:latest") or api.artifact_exists(f"{name}:v0"):
        return False
    with pytest.raises(avc.errors.CommError):
        api.artifact(f"{name}:latest")
    return True


def test_five_processes_build_one_version(place):
    """Five writers and one who finishes make exactly v0, with a part of each, seen only when finished (S15, F25, F26).

    All six runs share the group and produced the version; another upsert begins anew (F27, F43, F46).
    """
    group = "writers-of-one"
    written = writers.together(writers.train, [(i, group) for i in range(5)])
    assert unseen(writers.NAME)

    [(finisher, version)] = writers.together(writers.finish, [(group, None)])
    assert version == f"{writers.NAME}:v0"
    artifact = avc.Api().artifact(f"{writers.NAME}:latest")
    parts = [f"{writers.PARTS}/table_{i}.table.json" for i in range(5)]
    assert paths(artifact) == sorted([f"{writers.WHOLE}.partitioned-table.json", *parts])
    rows = [(index, list(row)) for index, row in artifact.get(writers.WHOLE).iterrows()]
    assert rows == [(i, writers.rows(i)[0]) for i in range(5)]

    everyone = [finisher, *written]
    assert len(set(everyone)) == 6
    for run in everyone:
        recorded = avc.Api().run(f"{ENTITY}/{PROJECT}/{run}")
        assert recorded.group == group
        assert names(recorded.logged_artifacts()) == [version]
    assert artifact.logged_by().id in everyone

    writers.together(writers.train, [(7, group)])
    assert names(avc.Api().artifacts(writers.TYPE, writers.NAME)) == [version]
    assert avc.Api().artifact(version).digest == artifact.digest


def test_the_version_is_the_same_whoever_comes_first(place):
    """Writers in another order, one by one, give the same digest as writers side by side (S15)."""
    writers.together(writers.train, [(i, "side-by-side") for i in range(3)])
    writers.together(writers.finish, [("side-by-side", None)])
    first = avc.Api().artifact(f"{writers.NAME}:v0").digest
    for i in (2, 0, 1):
        writers.together(writers.train, [(i, "one-by-one")])
    writers.together(writers.finish, [("one-by-one", None)])
    assert avc.Api().artifact(f"{writers.NAME}:latest").digest == first


def test_each_batch_has_a_group_of_its_own(place):
    """Two groups at work on one name do not see each other's parts (F25)."""
    writers.together(writers.train, [(0, "morning"), (1, "evening")])
    writers.together(writers.finish, [("evening", None)])
    evening = avc.Api().artifact(f"{writers.NAME}:latest")
    assert f"{writers.PARTS}/table_0.table.json" not in paths(evening)
    writers.together(writers.finish, [("morning", None)])
    morning = avc.Api().artifact(f"{writers.NAME}:latest")
    assert (evening.version, morning.version) == ("v0", "v1")
    assert f"{writers.PARTS}/table_1.table.json" not in paths(morning)


def test_a_writer_killed_before_its_part_is_sent_harms_nothing(place):
    """What it stored belongs to nobody; the others' version is whole (S15)."""
    process = writers.spawn(writers.die_before_upsert, "hurt")
    process.join(120)
    assert process.exitcode < 0
    writers.together(writers.train, [(0, "hurt")])
    [(_, version)] = writers.together(writers.finish, [("hurt", None)])
    artifact = avc.Api().artifact(version)
    assert paths(artifact) == [f"{writers.WHOLE}.partitioned-table.json", f"{writers.PARTS}/table_0.table.json"]
    assert sorted(os.listdir(artifact.download())) == [f"{writers.WHOLE}.partitioned-table.json", writers.PARTS]
    with Repository.open(place) as repository:
        assert repository.fsck(full=True).problems == ()


def test_a_writer_killed_while_it_sends_gives_all_or_nothing(place):
    """Wherever the kill falls, its part is in the version whole or not at all (S15)."""
    started = multiprocessing.get_context("spawn").Event()
    process = writers.spawn(writers.die_in_upsert, "hurt", started)
    assert started.wait(120)
    process.kill()
    process.join(120)
    writers.together(writers.train, [(0, "hurt")])
    [(_, version)] = writers.together(writers.finish, [("hurt", None)])
    artifact = avc.Api().artifact(version)
    many = [path for path in paths(artifact) if path.startswith(f"{writers.PARTS}/many/")]
    assert len(many) in (0, 200)
    assert f"{writers.PARTS}/table_0.table.json" in paths(artifact)
    artifact.verify(artifact.download())
    with Repository.open(place) as repository:
        assert repository.fsck(full=True).problems == ()


def test_two_who_finish_at_once_make_one_version(place):
    """Both are told the same version, and there is one (S15, F27)."""
    writers.together(writers.train, [(i, "twice") for i in range(2)])
    barrier = multiprocessing.get_context("spawn").Barrier(2)
    answers = writers.together(writers.finish, [("twice", barrier), ("twice", barrier)])
    assert {version for _, version in answers} == {f"{writers.NAME}:v0"}
    assert names(avc.Api().artifacts(writers.TYPE, writers.NAME)) == [f"{writers.NAME}:v0"]
