"""Checking out with links into the store: what stands there counts as the files that it leads to."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from artifactvc.errors import UnsafeLink, WouldOverwrite
from artifactvc.sdk.repository import Repository
from tests.support import inside, new, version, write

ONE, TWO, MORE = (random.Random(seed).randbytes(200_000) for seed in range(3))


@pytest.fixture
def linked(tmp_path: Path) -> Repository:
    """A repository whose ``data/`` is v1, checked out with links; v0 has other bytes in ``big``, and no ``more``."""
    made = new(tmp_path / "work")
    version(made, {"big": ONE, "small": "s"})
    version(made, {"big": TWO, "more": MORE})
    write(made.root / "data", {"big": None, "small": None, "more": None})
    done = made.checkout("data", link="symlink")
    assert (done.written, done.linked, done.copied_instead) == (3, 2, 1)
    assert (made.root / "data" / "big").is_symlink()
    return made


def clean(repository: Repository) -> bool:
    """Whether ``status`` and ``diff`` find nothing."""
    (row,) = repository.status().artifacts
    (difference,) = repository.diff()
    return not (row.staged or row.unstaged or difference.changes)


def test_links_into_the_store_count_as_files(linked):
    """Where ``--link symlink`` wrote, ``status`` and ``diff`` find nothing changed, and ``add`` nothing to read."""
    assert clean(linked)
    with inside(linked.root):
        for paths in ((), ["data"], ["data/big"]):
            (staged,) = linked.add(paths)
            assert (staged.added, staged.modified, staged.removed) == (0, 0, 0)
            assert staged.bytes_read <= 1  # `small`, where it is too young to be trusted
    assert linked.commit() == []
    assert clean(linked)


def test_a_second_checkout_leaves_links_alone(linked):
    """The same checkout again has nothing to write, with ``--link`` and without."""
    for link in ("symlink", None):
        done = linked.checkout("data", link=link)
        assert (done.written, done.unchanged, done.removed, done.kept) == (0, 3, 0, ())
    assert clean(linked)


@pytest.mark.parametrize("link", ["symlink", "hardlink", None])
def test_another_version_replaces_and_removes_links(linked, link):
    """Links are what the base version has there: they are replaced and removed, and none is kept as somebody's."""
    done = linked.checkout("data:v0", link=link)
    assert (done.written, done.unchanged, done.removed, done.kept) == (1, 1, 1, ())
    assert sorted(os.listdir(linked.root / "data")) == ["big", "small"]
    assert (linked.root / "data" / "big").read_bytes() == ONE
    assert (linked.root / "data" / "big").is_symlink() == (link == "symlink")
    assert clean(linked)


def test_gc_leaves_what_links_lead_to(linked):
    """What live versions need stays, so links still lead to their bytes after ``gc``."""
    linked.gc(grace="0s")
    linked.gc(grace="0s")
    assert (linked.root / "data" / "big").read_bytes() == TWO
    assert clean(linked)
    assert linked.fsck(full=True).problems == ()


def test_a_link_to_another_object_is_a_change(linked):
    """A link that was moved stands for the bytes that it leads to: shown as changed, never overwritten unasked."""
    big, more = linked.root / "data" / "big", linked.root / "data" / "more"
    big.unlink()
    more.rename(big)
    (row,) = linked.status().artifacts
    assert [(change.path, change.status) for change in row.unstaged] == [("big", "modified"), ("more", "removed")]
    with pytest.raises(WouldOverwrite, match="uncommitted changes stand in the way: 'big'"):
        linked.checkout("data:v0")
    with inside(linked.root):
        (staged,) = linked.add()
    assert (staged.modified, staged.removed) == (1, 1)
    (made,) = linked.commit()
    assert b"".join(linked.read(f"data:{made.version}", "big")) == MORE


def test_a_link_whose_object_is_gone(linked):
    """A link whose object ``gc`` removed is named with a way out, which works; its file does not count as removed."""
    digest = next(entry.digest for entry in linked.entries("data:v1") if entry.path == "big")
    linked.delete("data:v1", delete_aliases=True)
    linked.gc(grace="0s")
    with pytest.raises(UnsafeLink) as caught:
        linked.status()
    assert caught.value.message == (
        f"link 'data/big' points at object '{digest[:12]}', which is not in the store any more"
    )
    assert caught.value.hint == "check a version out again with --force, or remove the link"
    with inside(linked.root), pytest.raises(UnsafeLink):
        linked.add()
    done = linked.checkout("data:v0", force=True)
    assert (linked.root / "data" / "big").read_bytes() == ONE
    assert done.removed == 1
    assert clean(linked)


def test_put_takes_links_into_the_store(linked):
    """``put`` of a directory or file that was checked out with links makes the version that it was."""
    whole = linked.put(linked.root / "data", name="copy")
    assert whole.digest == linked.show("data:v1").digest
    one = linked.put(linked.root / "data" / "big", name="one")
    assert b"".join(linked.read("one", "big")) == TWO
    assert one.entries == 1


def test_a_link_bound_by_itself(linked):
    """A link into the store can be bound as a file."""
    with inside(linked.root):
        (staged,) = linked.add(["data/big"], to="single")
    assert staged.added == 1
    linked.commit(["single"])
    assert [row.unstaged for row in linked.status(["single"]).artifacts] == [()]


def test_a_link_to_a_store_of_others_is_no_file(linked, tmp_path):
    """Only the repository's own objects count: a link to another store leads out, as any other."""
    other = new(tmp_path / "other")
    version(other, {"big": ONE})
    target = next(path for path in (other.avc_root / "objects").rglob("*") if path.is_file())
    link = linked.root / "data" / "link"
    link.symlink_to(target)
    with pytest.raises(UnsafeLink, match="points out of the directory taken"):
        linked.status()


# ---- artifacts.toml changed under the files, as by `git checkout` -------------------------------------------


def test_files_of_another_committed_version_are_no_uncommitted_work(tmp_path):
    """Git took `artifacts.toml` back to v0: the files are v1's, which is said, and checkout writes v0 over them."""
    from artifactvc.errors import WouldOverwrite
    from tests.support import inside, new, reopen, tree, version, write

    with new(tmp_path) as repository:
        version(repository, {"a": "1", "b": "2"})
        older = (tmp_path / "artifacts.toml").read_bytes()
        version(repository, {"a": "changed", "b": None, "c": "3"})
    (tmp_path / "artifacts.toml").write_bytes(older)
    with reopen(tmp_path) as repository, inside(tmp_path):
        repository.status()
        assert repository.notices == [
            "the files of 'data' are those of v1, and artifacts.toml names v0: 'avc checkout' writes that one"
        ]
        (ref,) = repository.named_versions()
        repository.checkout(ref)
        assert tree(tmp_path / "data") == {"a": b"1", "b": b"2"}
        repository.notices.clear()
        assert repository.status().clean
        assert repository.notices == []
        write(tmp_path, {"data/a": "mine"})
        with pytest.raises(WouldOverwrite, match="uncommitted changes stand in the way: 'a'"):
            repository.checkout("data:v1")
