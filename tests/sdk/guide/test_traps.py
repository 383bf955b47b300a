"""Artifacts in detail: what is accepted, what is refused, and the traps of W&B that are closed here."""

from __future__ import annotations

import copy
import datetime
import math
import os
import pickle
import threading
from pathlib import Path, PureWindowsPath
from typing import Any

import pytest

import artifactvc as avc
from artifactvc.errors import AvcError
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
    object_files,
    paths,
    said,
)
from tests.support import tree, write

# ---- the constructor -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "a/b", "a:b", "ä", "名", "a\n", "a@b", ".hidden", "-dash", "end.", ".", "..", "x" * 129],
)  # fmt: skip
def test_names_that_are_refused(name):
    """A name that could be read as something else, or is no file name everywhere, is a ValueError (S4)."""
    with pytest.raises(ValueError) as caught:
        avc.Artifact(name, "dataset")
    assert isinstance(caught.value, AvcError)


@pytest.mark.parametrize("name", ["a", "A_b-c.9", "a..b", "_x", "7", "x" * 128])
def test_names_that_are_accepted(name):
    """Letters, digits, `_`, `-` and `.`, up to 128 of them."""
    assert log({"a": "1"}, name).name == f"{name}:v0"


def test_names_that_differ_in_case_only_do_not_stand_side_by_side():
    """A file system might not tell them apart, so the second is refused."""
    log({"a": "1"}, "Data")
    with avc.init() as run, pytest.raises(AvcError) as caught:
        run.log_artifact(draft({"a": "2"}, "data"))
    assert "Data" in said(caught.value)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a", "job"), ("a", "wandb-history"), ("a", "avc-run"), ("run-1-results", "run_table"), ("source-x", "code")],
)
def test_types_that_are_reserved(name, kind):
    """Types that tools give to what they make are a ValueError."""
    with pytest.raises(ValueError, match="reserved"):
        avc.Artifact(name, kind)


@pytest.mark.parametrize("kind", ["dataset", "my type", "a/b", "größe"])
def test_types_are_free_otherwise(kind):
    """A type is any short text."""
    assert log({"a": "1"}, "data", kind).type == kind
    assert [version.name for version in avc.Api().artifacts(kind, "data")] == ["data:v0"]


def test_type_is_needed():
    """A name alone is a TypeError."""
    with pytest.raises(TypeError):
        avc.Artifact("data")


@pytest.mark.parametrize("wrong", [[1], 7, 1.5, ("a", 1), {1, 2}])
def test_metadata_is_a_dictionary(wrong):
    """Anything else is a TypeError, at the start and when it is assigned."""
    with pytest.raises(TypeError):
        avc.Artifact("data", "dataset", metadata=wrong)
    artifact = avc.Artifact("data", "dataset", metadata={"a": 1})
    with pytest.raises(TypeError):
        artifact.metadata = wrong
    assert artifact.metadata == {"a": 1}


def test_metadata_may_be_json_text():
    """The text of a JSON object is taken as that object."""
    assert avc.Artifact("data", "dataset", metadata='{"a": {"b": [1, 2]}}').metadata == {"a": {"b": [1, 2]}}


def test_metadata_is_copied():
    """What the caller does with the dictionary afterwards does not reach the artifact."""
    given = {"deep": {"n": 1}}
    artifact = avc.Artifact("data", "dataset", metadata=given)
    given["deep"]["n"] = 2
    given["more"] = 1
    assert artifact.metadata == {"deep": {"n": 1}}
    artifact.metadata = given
    given["deep"]["n"] = 3
    assert artifact.metadata == {"deep": {"n": 2}, "more": 1}


@pytest.mark.parametrize("value", [object(), b"bytes", lambda: None])
def test_metadata_holds_what_json_can(value):
    """A value without a form in JSON is a TypeError."""
    with pytest.raises(TypeError):
        avc.Artifact("data", "dataset", metadata={"a": value})


def test_metadata_has_no_infinity():
    """JSON has no infinity: a ValueError, however deep it is; what is not a number becomes null."""
    for value in (math.inf, -math.inf, [{"a": math.inf}]):
        with pytest.raises(ValueError):
            avc.Artifact("data", "dataset", metadata={"a": value})
    logged(avc.Artifact("data", "dataset", metadata={"a": math.nan, "b": [math.nan, 1.5]}))
    assert avc.Api().artifact("data:latest").metadata == {"a": None, "b": [None, 1.5]}


def test_metadata_has_at_most_a_hundred_keys():
    """A hundred and one are a ValueError: at the start, when assigned, and when added one by one."""
    many = {f"key{i}": i for i in range(101)}
    with pytest.raises(ValueError):
        avc.Artifact("data", "dataset", metadata=many)
    artifact = avc.Artifact("data", "dataset", metadata={f"key{i}": i for i in range(100)})
    with pytest.raises(ValueError):
        artifact.metadata = many
    assert len(artifact.metadata) == 100
    artifact.metadata["one-too-many"] = 1
    with avc.init() as run, pytest.raises(ValueError):
        run.log_artifact(artifact)
    del artifact.metadata["one-too-many"]
    assert len(logged(artifact).metadata) == 100


def test_metadata_of_other_kinds_takes_its_form_in_json():
    """Tuples and sets are lists, times are ISO text, slices their parts, keys are text."""
    moment = datetime.datetime(2026, 11, 24, 12, 30, tzinfo=datetime.UTC)
    given = {"tuple": (1, 2), "set": {3}, "time": moment, "slice": slice(1, 9, 2), 5: "five", "deep": {"t": (1,)}}
    logged(avc.Artifact("data", "dataset", metadata=given))
    found = avc.Api().artifact("data:latest").metadata
    time = found.pop("time")
    assert datetime.datetime.fromisoformat(time).replace(tzinfo=datetime.UTC) == moment
    assert found == {
        "tuple": [1, 2], "set": [3], "slice": {"slice_start": 1, "slice_stop": 9, "slice_step": 2}, "5": "five",
        "deep": {"t": [1]},
    }  # fmt: skip


@pytest.mark.parametrize("region", ["", " ", 123])
def test_a_storage_region_is_a_word(region):
    """W&B's argument is accepted where it means something, and an empty one is a ValueError."""
    with pytest.raises(ValueError):
        avc.Artifact("data", "dataset", storage_region=region)
    assert avc.Artifact("data", "dataset", storage_region="eu").is_draft()


def test_an_artifact_is_itself_only():
    """Two objects are never equal, however alike; each says its name; copies are drafts of their own."""
    one, other = draft({"a": "1"}), draft({"a": "1"})
    assert one != other
    assert one == one
    assert "data" in repr(one)
    copied = copy.deepcopy(one)
    fill(copied, {"b": "2"})
    assert (paths(one), paths(copied)) == (["a"], ["a", "b"])
    assert logged(copied).digest == manifest_digest({"a": "1", "b": "2"})


def test_a_version_can_be_pickled():
    """It comes back as the same version."""
    artifact = log({"a": "1"}, aliases=["best"])
    again = pickle.loads(pickle.dumps(artifact))
    assert (again.name, again.digest, sorted(again.aliases)) == ("data:v0", artifact.digest, ["best", "latest"])
    assert tree(Path(again.download())) == {"a": b"1"}


# ---- too early, too late -----------------------------------------------------------------------------------

LATER = [
    "entity", "project", "qualified_name", "version", "collection", "source_entity", "source_project",
    "source_version", "source_qualified_name", "source_collection", "source_artifact", "aliases", "tags", "url",
    "commit_hash", "file_count", "created_at", "updated_at", "history_step", "linked_artifacts",
]  # fmt: skip


@pytest.mark.parametrize("prop", LATER)
def test_what_a_draft_does_not_have_yet(prop):
    """It is an AttributeError that names property and artifact, so that `hasattr` is False."""
    artifact = draft({"a": "1"})
    with pytest.raises(avc.errors.ArtifactNotLoggedError) as caught:
        getattr(artifact, prop)
    error = caught.value
    assert f"'Artifact.{prop}' used prior to logging artifact" in str(error)
    assert isinstance(error, AttributeError)
    assert isinstance(error, AvcError)
    assert (error.name, error.obj) == (prop, artifact)
    assert not hasattr(artifact, prop)
    assert getattr(artifact, prop, None) is None
    logged(artifact)
    assert hasattr(artifact, prop)


@pytest.mark.parametrize("prop", ["aliases", "tags"])
def test_names_cannot_be_given_to_a_draft(prop):
    """Aliases and tags are given when it is logged, or to a version."""
    with pytest.raises(avc.errors.ArtifactNotLoggedError):
        setattr(draft({"a": "1"}), prop, ["best"])


@pytest.mark.parametrize(
    "call",
    [
        lambda artifact: artifact.download(),
        lambda artifact: artifact.checkout(),
        lambda artifact: artifact.verify(),
        lambda artifact: artifact.file(),
        lambda artifact: artifact.files(),
        lambda artifact: artifact.get_entry("a"),
        lambda artifact: artifact.get_path("a"),
        lambda artifact: artifact.new_draft(),
        lambda artifact: artifact.delete(),
        lambda artifact: artifact.used_by(),
        lambda artifact: artifact.logged_by(),
        lambda artifact: artifact.wait(),
    ],
)
def test_what_a_draft_cannot_do_yet(call):
    """Everything about a version in the store asks for logging first."""
    with pytest.raises(avc.errors.ArtifactNotLoggedError):
        call(draft({"a": "1"}))


def test_what_a_draft_has():
    """Name, type, words and content can be read at any time."""
    artifact = draft({"a": "1", "b": "22"}, metadata={"k": 1})
    assert (artifact.id, artifact.name, artifact.source_name, artifact.type) == (None, "data", "data", "dataset")
    assert (artifact.description, artifact.metadata) == (None, {"k": 1})
    assert (artifact.state, artifact.size, artifact.digest) == ("PENDING", 3, manifest_digest({"a": "1", "b": "22"}))
    assert (artifact.distributed_id, bool(artifact.incremental), artifact.use_as) == (None, False, None)
    assert not artifact.is_link
    assert len(artifact.manifest.entries) == 2


def test_what_a_version_has():
    """Where it is, what it is called, how large it is, and when it was made."""
    artifact = log({"a": "1", "b": "22"}, project="elsewhere", aliases=["best"])
    found = avc.Api().artifact("elsewhere/data:best")
    for one in (artifact, found):
        assert (one.entity, one.project, one.version, one.type) == (ENTITY, "elsewhere", "v0", "dataset")
        assert (one.name, one.qualified_name) == ("data:v0", f"{ENTITY}/elsewhere/data:v0")
        assert (one.source_entity, one.source_project, one.source_version) == (ENTITY, "elsewhere", "v0")
        assert (one.source_name, one.source_qualified_name) == (one.name, one.qualified_name)
        assert (one.collection.name, one.source_collection.name) == ("data", "data")
        assert (one.state, one.size, one.file_count) == ("COMMITTED", 3, 2)
        assert one.id == artifact.id
        assert isinstance(one.commit_hash, str)
        assert one.source_artifact is one
        assert not one.is_link
        assert one.linked_artifacts == []
    created = datetime.datetime.fromisoformat(found.created_at)
    assert created.utcoffset() == datetime.timedelta(0)
    assert abs(datetime.datetime.now(datetime.UTC) - created) < datetime.timedelta(minutes=5)
    assert found.updated_at >= found.created_at


def test_the_step_that_a_version_was_logged_after():
    """None before any metric, else the last step of the run that made it."""
    with avc.init() as run:
        first = run.log_artifact(draft({"a": "1"})).wait()
        run.log({"loss": 1})
        second = run.log_artifact(draft({"a": "2"})).wait()
    assert (first.history_step, second.history_step) == (None, 0)
    assert [avc.Api().artifact(f"data:v{i}").history_step for i in (0, 1)] == [None, 0]


def finalized(artifact: Any) -> Any:
    """The draft, declared final."""
    artifact.finalize()
    return artifact


@pytest.mark.parametrize(
    "change",
    [
        lambda artifact: artifact.add_file("new.txt"),
        lambda artifact: artifact.add_dir("images"),
        lambda artifact: artifact.new_file("b").__enter__(),
        lambda artifact: artifact.add(avc.Table(columns=["a"], data=[[1]]), "t"),
        lambda artifact: artifact.remove("a"),
    ],
    ids=["add_file", "add_dir", "new_file", "add", "remove"],
)
@pytest.mark.parametrize(
    "make", [logged, lambda artifact: artifact.finalize() or artifact], ids=["logged", "finalized"]
)
def test_content_that_is_final_is_not_changed(place, change, make):
    """A version, and a draft that was declared final, refuse every change of content; words may still change."""
    write(place, {"new.txt": "n", "images/cat.png": "c"})
    artifact = make(draft({"a": "1"}))
    with pytest.raises(avc.errors.ArtifactFinalizedError, match="Can't modify finalized artifact") as caught:
        change(artifact)
    assert isinstance(caught.value, AttributeError)
    assert caught.value.obj is artifact
    assert paths(artifact) == ["a"]
    artifact.description = "words"
    assert artifact.description == "words"


def test_finalize_is_no_logging():
    """It may be called twice, and the artifact is a draft until it is logged."""
    artifact = draft({"a": "1"})
    artifact.finalize()
    artifact.finalize()
    assert artifact.is_draft()
    assert logged(artifact).version == "v0"
    assert not artifact.is_draft()


def test_waiting_gives_the_artifact():
    """What was logged is there at once, whatever time one would wait."""
    with avc.init() as run:
        artifact = run.log_artifact(draft({"a": "1"}))
        assert artifact.wait() is artifact
        assert artifact.wait(timeout=10) is artifact
    assert avc.Api().artifact("data:latest").wait().name == "data:v0"


# ---- adding --------------------------------------------------------------------------------------------------


def test_what_is_no_file_is_refused(place):
    """A missing path or a directory is a ValueError that names it; nothing is added."""
    write(place, {"images/cat.png": "c"})
    artifact = avc.Artifact("data", "dataset")
    for path in ("missing.txt", "images", Path("missing.txt")):
        with pytest.raises(ValueError) as caught:
            artifact.add_file(path)
        assert str(path) in said(caught.value)
    with pytest.raises(ValueError):
        artifact.add_dir("missing")
    assert paths(artifact) == []


def test_a_path_object_is_as_good_as_text(place):
    """Files and directories may be given as `Path`."""
    write(place, {"one/a.txt": "a", "two/b.txt": "b"})
    artifact = avc.Artifact("data", "dataset")
    artifact.add_file(Path("one") / "a.txt")
    artifact.add_dir(Path("two"))
    assert paths(artifact) == ["a.txt", "b.txt"]


BAD_PATHS = [
    "", ".", "..", "../a", "a/../b", "a/..", "/a", "//server/share", "\\a", "C:\\a", "C:a", "c:/a",
    PureWindowsPath("C:\\a"), PureWindowsPath("..\\a"), PureWindowsPath("\\\\server\\share\\a"),
]  # fmt: skip


@pytest.mark.parametrize("path", BAD_PATHS, ids=str)
def test_paths_that_no_entry_may_have(place, path):
    """Whatever climbs, is absolute, or is so on Windows is a ValueError, by every way in."""
    write(place, {"x": "x", "dir/x": "x"})
    artifact = avc.Artifact("data", "dataset")
    with pytest.raises(ValueError):
        artifact.add_file("x", name=path)
    with pytest.raises(ValueError), artifact.new_file(path) as file:
        file.write("x")
    if str(path) not in ("", "."):
        with pytest.raises(ValueError):
            artifact.add_dir("dir", name=path)
    assert paths(artifact) == []


@pytest.mark.parametrize(
    ("path", "stored"),
    [
        ("./x//y", "x/y"),
        ("x/./y", "x/y"),
        ("x/y/", "x/y"),
        (PureWindowsPath("x\\y"), "x/y"),
        (Path("x") / "y", "x/y"),
        ("x y/ü.txt", "x y/ü.txt"),
        ("a..b/...c", "a..b/...c"),
        ("x\\y", "x\\y"),
    ],
)
def test_paths_are_put_in_order(place, path, stored):
    """Doubled and closing slashes go, separators of Windows paths become slashes, all else stays."""
    write(place, {"file": "content"})
    artifact = avc.Artifact("data", "dataset")
    assert artifact.add_file("file", name=path).path == stored
    assert paths(artifact) == [stored]


def test_the_same_bytes_at_one_path_are_fine(place):
    """A file may be added again, and as another file with equal bytes; it is one entry."""
    write(place, {"a.txt": "same", "b.txt": "same"})
    artifact = avc.Artifact("data", "dataset")
    artifact.add_file("a.txt")
    artifact.add_file("a.txt")
    artifact.add_file("b.txt", name="a.txt")
    assert paths(artifact) == ["a.txt"]
    assert artifact.get_added_local_path_name("b.txt") == "a.txt"


def test_other_bytes_need_overwrite(place):
    """They are a ValueError that names the path, unless `overwrite` is given."""
    write(place, {"a.txt": "one", "b.txt": "two"})
    artifact = avc.Artifact("data", "dataset")
    artifact.add_file("a.txt")
    with pytest.raises(ValueError, match=r"a\.txt"):
        artifact.add_file("b.txt", name="a.txt")
    artifact.add_file("b.txt", name="a.txt", overwrite=True)
    assert artifact.digest == manifest_digest({"a.txt": "two"})


@pytest.mark.parametrize("pair", [("a", "a/b"), ("a/b", "a"), ("a/b/c", "a/b")])
def test_a_path_is_a_file_or_a_directory(pair):
    """Both cannot be on one disk, so the second is a ValueError, when it is added or at the latest when logged."""
    with pytest.raises(ValueError):
        logged(fill(draft({pair[0]: "1"}), {pair[1]: "2"}))
    assert not avc.Api().artifact_exists("data:latest")


@pytest.mark.parametrize("policy", [None, "mutable", "immutable"])
def test_policies(place, policy):
    """W&B's words are accepted; another is a ValueError."""
    write(place, {"a.txt": "a", "dir/b.txt": "b"})
    artifact = avc.Artifact("data", "dataset")
    artifact.add_file("a.txt", policy=policy)
    artifact.add_dir("dir", policy=policy)
    with pytest.raises(ValueError):
        artifact.add_file("a.txt", policy="sometimes")
    assert logged(artifact).digest == manifest_digest({"a.txt": "a", "b.txt": "b"})


@pytest.mark.parametrize("size", [1, LARGE])
def test_an_added_file_may_change_afterwards(place, size):
    """The bytes are taken when the file is added: what is written to it later, in place or not, is not in it."""
    write(place, {"a.bin": b"1" * size, "dir/b.bin": b"1" * size})
    artifact = avc.Artifact("data", "dataset")
    artifact.add_file("a.bin")
    artifact.add_dir("dir")
    for name in ("a.bin", "dir/b.bin"):
        with open(place / name, "r+b") as file:
            file.write(b"2" * size)
    (place / "a.bin").unlink()
    assert tree(Path(logged(artifact).download())) == {"a.bin": b"1" * size, "b.bin": b"1" * size}


def test_a_temporary_file_is_named_by_its_content(place):
    """`is_tmp` puts the beginning of the digest in the place of the name's stem."""
    write(place, {"hello.txt": "hello"})
    artifact = avc.Artifact("data", "dataset")
    entry = artifact.add_file("hello.txt", name="media/hello.txt", is_tmp=True)
    assert entry.path == f"media/{digest('hello')[:20]}.txt"


def test_skip_cache_changes_nothing(place):
    """W&B's argument is accepted."""
    write(place, {"a.txt": "a", "dir/b.txt": "b"})
    artifact = avc.Artifact("data", "dataset")
    artifact.add_file("a.txt", skip_cache=True)
    artifact.add_dir("dir", skip_cache=True)
    root = logged(artifact).download(skip_cache=True, multipart=False, allow_missing_references=True)
    assert tree(Path(root)) == {"a.txt": b"a", "b.txt": b"b"}


def test_empty_files_are_kept_and_empty_directories_are_not(place):
    """An entry is a file, which may have no bytes."""
    write(place, {"dir/empty": "", "dir/sub/full": "x"})
    (place / "dir" / "hollow" / "deeper").mkdir(parents=True)
    artifact = avc.Artifact("data", "dataset")
    artifact.add_dir("dir")
    assert paths(artifact) == ["empty", "sub/full"]
    assert artifact.manifest.entries["empty"].size == 0
    assert tree(Path(logged(artifact).download())) == {"empty": b"", "sub/full": b"x"}


def test_an_executable_stays_executable(place):
    """The bit is kept, as in Git."""
    write(place, {"dir/run.sh": "#!/bin/sh\n", "dir/read.me": "r", "tool.sh": "#!/bin/sh\necho\n"})
    (place / "dir" / "run.sh").chmod(0o755)
    (place / "tool.sh").chmod(0o755)
    artifact = avc.Artifact("data", "dataset")
    artifact.add_dir("dir")
    artifact.add_file("tool.sh")
    root = Path(logged(artifact).download())
    assert [os.access(root / name, os.X_OK) for name in ("run.sh", "tool.sh", "read.me")] == [True, True, False]


def test_hidden_files_are_taken_and_what_belongs_to_tools_is_not(place):
    """A directory is taken whole but for Git's, our own, and what `.avcignore` says."""
    write(place, {"dir/.hidden": "h", "dir/.sub/x": "x", "dir/.git/config": "g", "dir/a.tmp": "t", "dir/a.txt": "a"})
    write(place, {"dir/.artifacts/config.toml": "", ".avcignore": "*.tmp\n"})
    artifact = avc.Artifact("data", "dataset")
    artifact.add_dir("dir")
    assert paths(artifact) == [".hidden", ".sub/x", "a.txt"]


def test_links_are_followed(place):
    """Linked files and directories are stored by their content, wherever they are."""
    write(place, {"elsewhere/big": "big", "elsewhere/sub/deep": "deep", "dir/own": "own"})
    (place / "dir" / "file").symlink_to("../elsewhere/big")
    (place / "dir" / "tree").symlink_to(place / "elsewhere")
    (place / "link").symlink_to("dir/own")
    artifact = avc.Artifact("data", "dataset")
    artifact.add_dir("dir")
    artifact.add_file("link")
    expected = {"file": "big", "own": "own", "tree/big": "big", "tree/sub/deep": "deep", "link": "own"}
    assert artifact.digest == manifest_digest(expected)
    assert tree(Path(logged(artifact).download())) == {path: text.encode() for path, text in expected.items()}


def test_a_cycle_of_links_ends(place):
    """A link back up adds nothing without end; the files are there."""
    write(place, {"dir/sub/x": "x"})
    (place / "dir" / "sub" / "up").symlink_to("..")
    artifact = avc.Artifact("data", "dataset")
    artifact.add_dir("dir")
    assert "sub/x" in paths(artifact)
    assert len(paths(artifact)) < 10


def test_a_broken_link_is_an_error(place):
    """It names the link, and nothing of the directory is added."""
    write(place, {"dir/x": "x"})
    (place / "dir" / "broken").symlink_to("nowhere")
    artifact = avc.Artifact("data", "dataset")
    with pytest.raises((OSError, AvcError)) as caught:
        artifact.add_dir("dir")
    assert "broken" in said(caught.value)


def test_a_directory_added_again(place):
    """Unchanged files are fine, changed ones a ValueError; `merge` takes what changed and removes nothing."""
    write(place, {"dir/same": "1", "dir/changed": "1", "dir/gone": "1"})
    artifact = avc.Artifact("data", "dataset")
    artifact.add_dir("dir")
    artifact.add_dir("dir")
    write(place, {"dir/changed": "2", "dir/new": "2", "dir/gone": None})
    with pytest.raises(ValueError, match="changed"):
        artifact.add_dir("dir")
    artifact.add_dir("dir", merge=True)
    assert artifact.digest == manifest_digest({"same": "1", "changed": "2", "new": "2", "gone": "1"})


def test_threads_add_to_one_artifact(place):
    """Eight threads that add one path give one entry, and those that add their own give all."""
    write(place, {"same.txt": "same", **{f"own{i}.txt": str(i) for i in range(8)}})
    artifact = avc.Artifact("data", "dataset")
    errors: list[BaseException] = []

    def work(i: int) -> None:
        try:
            for _ in range(5):
                artifact.add_file("same.txt")
            artifact.add_file(f"own{i}.txt")
        except BaseException as error:  # noqa: BLE001  told below, in the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    expected = {"same.txt": "same", **{f"own{i}.txt": str(i) for i in range(8)}}
    assert logged(artifact).digest == manifest_digest(expected)


def test_many_drafts_at_once(place):
    """Drafts of one name are apart from each other until they are logged."""
    write(place, {"a": "1", "b": "2"})
    one, other = avc.Artifact("data", "dataset"), avc.Artifact("data", "dataset")
    one.add_file("a")
    other.add_file("b")
    assert (paths(one), paths(other)) == (["a"], ["b"])
    assert (logged(other).version, logged(one).version) == ("v0", "v1")


def test_equal_bytes_are_stored_once(place):
    """However many files, artifacts and versions hold them."""
    content = b"c" * LARGE
    write(place, {"a.bin": content, "dir/b.bin": content})
    artifact = avc.Artifact("one", "dataset")
    artifact.add_file("a.bin")
    artifact.add_dir("dir")
    logged(artifact)
    log({"c.bin": content}, "other")
    assert object_files(place) == [digest(content)]


# ---- writing in place -------------------------------------------------------------------------------------------


def test_a_new_file_is_new():
    """A second file of the name is a ValueError, unless it is opened for writing over."""
    artifact = draft({"a": "1"})
    with pytest.raises(ValueError), artifact.new_file("a") as file:
        file.write("2")
    assert artifact.digest == manifest_digest({"a": "1"})
    with artifact.new_file("a", mode="w") as file:
        file.write("2")
    with artifact.new_file("b", mode="wb") as file:
        file.write(b"\x00\xff")
    assert artifact.digest == manifest_digest({"a": "2", "b": b"\x00\xff"})


def test_an_error_in_the_block_adds_nothing():
    """The error comes out as it is, and the name is free."""
    artifact = avc.Artifact("data", "dataset")
    with pytest.raises(ZeroDivisionError), artifact.new_file("a") as file:
        file.write("half")
        1 / 0  # noqa: B018
    assert paths(artifact) == []
    assert fill(artifact, {"a": "whole"}).digest == manifest_digest({"a": "whole"})


def test_text_is_written_in_the_encoding_asked_for():
    """What it cannot write is a UnicodeEncodeError, and nothing is added."""
    artifact = avc.Artifact("data", "dataset")
    with artifact.new_file("latin", encoding="latin-1") as file:
        file.write("ü")
    assert artifact.manifest.entries["latin"].digest == digest("ü".encode("latin-1"))
    with pytest.raises(UnicodeEncodeError), artifact.new_file("ascii", encoding="ascii") as file:
        file.write("ü")
    assert paths(artifact) == ["latin"]


# ---- objects ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("thing", ["text", {"a": 1}, [1], None, 7, Path("a")], ids=repr)
def test_what_can_be_added_as_an_object(thing):
    """Tables and their like; anything else is a TypeError."""
    artifact = avc.Artifact("data", "dataset")
    with pytest.raises(TypeError):
        artifact.add(thing, "thing")
    assert paths(artifact) == []


def test_an_object_takes_its_suffix():
    """It is found with the suffix or without, and by the index."""
    table = avc.Table(columns=["a"], data=[[1]])
    artifact = avc.Artifact("data", "dataset")
    entry = artifact.add(table, "deep/t")
    assert entry.path == "deep/t.table.json"
    artifact["other"] = avc.Table(columns=["b"], data=[[2]])
    logged(artifact)
    assert artifact.get_entry("deep/t").path == artifact.get_entry("deep/t.table.json").path == entry.path
    assert artifact.get("deep/t").data == artifact.get("deep/t.table.json").data == [[1]]
    assert artifact["other"].data == [[2]]


def test_an_object_added_twice_is_one_entry():
    """A name that is taken keeps what it has, unless `overwrite` is given."""
    table = avc.Table(columns=["a"], data=[[1]])
    artifact = avc.Artifact("data", "dataset")
    artifact.add(table, "t")
    artifact.add(table, "t")
    artifact.add(avc.Table(columns=["a"], data=[[2]]), "t")
    assert paths(artifact) == ["t.table.json"]
    before = artifact.digest
    artifact.add(avc.Table(columns=["a"], data=[[2]]), "t", overwrite=True)
    assert artifact.digest != before
    assert logged(artifact).get("t").data == [[2]]


@pytest.mark.parametrize("make", ["Image", "Audio", "Video", "Html", "Object3D"])
def test_media_are_stored_as_files(make):
    """W&B's media types say that they are not here, and what to use."""
    with pytest.raises(avc.errors.UnsupportedError) as caught:
        getattr(avc, make)("cat.png")
    assert caught.value.hint
    with pytest.raises(avc.errors.UnsupportedError):
        getattr(avc.data_types, make)("cat.png")


# ---- taking away, and looking up ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "remaining"),
    [
        ("dir/a", ["dir.txt", "dir/sub/b", "top"]),
        (Path("dir/a"), ["dir.txt", "dir/sub/b", "top"]),
        (PureWindowsPath("dir\\a"), ["dir.txt", "dir/sub/b", "top"]),
        ("dir", ["dir.txt", "top"]),
        ("dir/", ["dir.txt", "top"]),
        ("dir/sub/", ["dir.txt", "dir/a", "top"]),
        (lambda artifact: artifact.manifest.entries["top"], ["dir.txt", "dir/a", "dir/sub/b"]),
    ],
)
def test_what_is_removed(what, remaining):
    """A path, a path object or an entry; a directory with all below it, and nothing that only begins like it."""
    artifact = draft({"dir/a": "1", "dir/sub/b": "2", "dir.txt": "3", "top": "4"})
    artifact.remove(what(artifact) if callable(what) else what)
    assert paths(artifact) == remaining


def test_removed_and_added_again():
    """A removed path is free for other bytes."""
    artifact = draft({"a": "1"})
    artifact.remove("a")
    assert fill(artifact, {"a": "2"}).digest == manifest_digest({"a": "2"})


def test_an_entry_tells_what_it_is():
    """Path, size, digest, and no address elsewhere."""
    entry = log({"dir/a": "hello"}).get_entry("dir/a")
    assert (entry.path, entry.size, entry.digest, entry.ref) == ("dir/a", 5, digest("hello"), None)


def test_the_manifest_tells_all_entries():
    """It is a mapping by path, with a length, a size and a digest."""
    artifact = log({"b": "22", "a/c": "1"})
    manifest = artifact.manifest
    assert (len(manifest.entries), set(manifest.entries)) == (2, {"a/c", "b"})
    assert manifest.entries["b"].digest == digest("22")
    assert "a" not in manifest.entries
    assert manifest.digest() == artifact.digest
    assert manifest.size() == artifact.size == 3
    assert manifest.get_entry_by_path("a/c").size == 1
    assert manifest.get_entry_by_path("nothing") is None
    assert [entry.path for entry in manifest.get_entries_in_directory("a")] == ["a/c"]


# ---- to disk, in other ways --------------------------------------------------------------------------------------


def test_checkout_makes_a_directory_equal(place):
    """Its default is the name without the version; what the version does not have goes."""
    first, second = log({"a": "1", "b": "1"}), log({"b": "2", "c": "2"})
    root = Path(first.checkout())
    assert root == place / "artifacts" / "data"
    assert tree(root) == {"a": b"1", "b": b"1"}
    assert Path(second.checkout()) == root
    assert tree(root) == {"b": b"2", "c": b"2"}
    (root / "extra").write_text("x")
    second.checkout(root=str(root))
    assert tree(root) == {"b": b"2", "c": b"2"}


def test_verify_says_what_differs():
    """Right files pass; an extra one, a changed one and a missing one are each told by name."""
    artifact = log({"a": "1", "sub/b": "2"})
    root = Path(artifact.download())
    artifact.verify()
    artifact.verify(root=str(root))
    (root / "extra").write_text("x")
    with pytest.raises(ValueError, match="extra"):
        artifact.verify()
    (root / "extra").unlink()
    (root / "a").chmod(0o644)
    (root / "a").write_text("2")
    with pytest.raises(ValueError, match="a"):
        artifact.verify()
    artifact.download()
    (root / "sub" / "b").unlink()
    with pytest.raises(FileNotFoundError, match="b"):
        artifact.verify()


def test_the_file_of_an_artifact_of_one():
    """Its path is told; with more files, or none, there is no such thing."""
    path = Path(log({"dir/only": "1"}).file())
    assert path.read_text() == "1"
    assert Path(log({"dir/only": "1"}).file(root="d")).resolve() == Path("d/dir/only").resolve()
    with pytest.raises(ValueError):
        log({"a": "1", "b": "2"}, "two").file()
    with pytest.raises((ValueError, IndexError)) as caught:
        log({}, "none").file()
    assert isinstance(caught.value, AvcError)


def test_the_files_of_an_artifact(place):
    """A list that can be counted, indexed, cut and begun again; each file can be downloaded."""
    artifact = log({f"f{i:02}": "x" * i for i in range(12)})
    files = artifact.files(per_page=5)
    assert len(files) == 12
    assert [file.name for file in files] == [f"f{i:02}" for i in range(12)]
    assert [file.size for file in files] == list(range(12))
    assert (files[3].name, [file.name for file in files[1:3]]) == ("f03", ["f01", "f02"])
    assert [file.name for file in artifact.files(names=["f01", "f07"])] == ["f01", "f07"]
    files[4].download(root="d")
    assert tree(place / "d") == {"f04": b"xxxx"}


# ---- gone --------------------------------------------------------------------------------------------------------


def test_numbers_are_never_given_again():
    """Not after the newest was deleted, nor after all were."""
    log({"a": "1"})
    log({"a": "2"})
    avc.Api().artifact("data:v1").delete(delete_aliases=True)
    avc.Api().artifact("data:v0").delete(delete_aliases=True)
    assert log({"a": "3"}).version == "v2"


def test_a_version_counts_its_users():
    """`used_by` lists each run once, newest or oldest first; a version itself is as it was."""
    log({"a": "1"})
    users = []
    for _ in range(3):
        with avc.init() as run:
            run.use_artifact("data:v0")
            run.use_artifact("data:latest")
        users.append(run)
    assert ids(avc.Api().artifact("data:v0").used_by()) == ids(users)


def test_the_reference_that_a_config_holds():
    """`json_encode` names the version by id, number and name."""
    artifact = log({"a": "1"})
    told: dict[str, Any] = artifact.json_encode()
    assert (told["_type"], told["_version"]) == ("artifactVersion", "v0")
    assert (told["id"], told["version"], told["sequenceName"]) == (artifact.id, "v0", "data")
    assert artifact.project == PROJECT
