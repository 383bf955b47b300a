"""Downloads into a directory of the caller's choice: nobody's files are ever overwritten."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from artifactvc.errors import UnknownEntry, UsageError, WouldOverwrite
from artifactvc.ops import download, resolve
from artifactvc.ops.download import Wanted
from tests.support import inside, new, reopen, tree, version, write

FILES = {"a": "one", "d/b": "two", "d/c": "three", "bike.png": "4", "bike.png2": "5"}


@pytest.fixture
def repository(tmp_path):
    with new(tmp_path / "ws") as repository:
        version(repository, FILES)
        yield repository


def found(repository, ref: str = "data:v0"):
    return resolve.version(repository.session, ref)


def get(repository, root: Path, ref: str = "data:v0", **wanted: str) -> None:
    download.download(repository.session, found(repository, ref), root, Wanted(**wanted))


def test_again_rewrites_nothing_and_puts_damage_right(repository, tmp_path):
    """Right files keep their times, damaged ones of the same version are mended, others are left alone."""
    root = tmp_path / "out"
    get(repository, root)
    assert tree(root) == {name: text.encode() for name, text in FILES.items()}
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    write(root, {"mine": "kept", "d/b": "damaged"})
    with reopen(repository.root) as later:
        get(later, root)
    assert (root / "d/b").read_text() == "two"
    assert (root / "mine").read_text() == "kept"
    after = {path: path.stat().st_mtime_ns for path in before}
    assert [path.name for path in before if after[path] != before[path]] == ["b"]


def test_another_version_or_anybody_elses_file_is_not_overwritten(repository, tmp_path):
    """The error suggests another directory, and nothing was written."""
    root = tmp_path / "out"
    write(root, {"d/b": "mine"})
    with pytest.raises(WouldOverwrite) as caught:
        get(repository, root)
    assert caught.value.message == (
        f"'{root}' holds other files than 'data:v0': uncommitted changes stand in the way: 'd/b'"
    )
    assert caught.value.hint == "choose another directory with root="
    assert tree(root) == {"d/b": b"mine"}
    (root / "d/b").unlink()
    get(repository, root)
    version(repository, {"a": "changed"})
    with pytest.raises(WouldOverwrite, match="holds other files than 'data:v1'"):
        get(repository, root, "data:v1")
    assert (root / "a").read_text() == "one"


@pytest.mark.parametrize(
    ("begins", "paths"),
    [("bike.png", ["bike.png", "bike.png2"]), ("d/", ["d/b", "d/c"]), ("d", ["d/b", "d/c"]), ("d/c", ["d/c"]),
     ("", sorted(FILES)), ("nothing", [])],
)  # fmt: skip
def test_a_prefix_is_how_paths_begin(repository, tmp_path, begins, paths):
    """Whatever follows: as in W&B, `bike.png` takes `bike.png2` too."""
    get(repository, tmp_path / "out", begins=begins)
    assert sorted(tree(tmp_path / "out")) == paths


def test_one_entry(repository, tmp_path):
    """Only that file is written; one that is not there is named, with what is near."""
    get(repository, tmp_path / "out", path="d/b")
    assert sorted(tree(tmp_path / "out")) == ["d/b"]
    with pytest.raises(UnknownEntry) as caught:
        download.entry_at(repository.session, found(repository).version["digest"], "d/d", "data:v0")
    assert (str(caught.value), caught.value.hint) == ("no entry 'd/d' in 'data:v0'", "did you mean 'd/c'?")
    assert isinstance(caught.value, KeyError)


def test_verify(repository, tmp_path):
    """Every file is there, right, and no other."""
    root = tmp_path / "out"
    get(repository, root)
    check = found(repository)
    download.verify(repository.session, check, root)
    write(root, {"extra": "x"})
    with pytest.raises(ValueError, match=r"'extra' is in .* and not in 'data:v0'"):
        download.verify(repository.session, check, root)
    write(root, {"extra": None, "a": "onE"})
    with pytest.raises(ValueError, match=r"/out/a' was changed: its digest is [0-9a-f]{12}, not [0-9a-f]{12}"):
        download.verify(repository.session, check, root)
    (root / "a").unlink()
    with pytest.raises(FileNotFoundError, match="'a' of 'data:v0' is missing"):
        download.verify(repository.session, check, root)


def test_exactly_a_version(repository, tmp_path):
    """Other files go, empty directories too; a directory that holds more than a checkout is refused."""
    root = tmp_path / "out"
    write(root, {"a": "other", "old/x": "1", "d/b": "two"})
    os.symlink("/nowhere", root / "link")
    gone = download.remove_others(repository.session, found(repository), root)
    download.replace_with(repository.session, found(repository), root)
    assert sorted(gone) == ["link", "old/x"]
    assert tree(root) == {name: text.encode() for name, text in FILES.items()}
    assert not (root / "old").exists()
    for place in (repository.root, tmp_path):
        with inside(tmp_path), pytest.raises(UsageError, match="holds more than a checkout"):
            download.remove_others(repository.session, found(repository), place)
