"""One store for several repositories: each has all it needs, and what one removes is nothing that another needs."""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactvc.errors import AvcError, StorageError, UsageError
from artifactvc.sdk.repository import Repository
from tests.support import ENVIRON, inside, new, origin, reopen, tree, version, write

RNG = random.Random(7)
LARGE, OTHER = RNG.randbytes(300_000), RNG.randbytes(200_000)
FILES = {"a": b"small", "large": LARGE}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def pair(tmp_path: Path, store: Path) -> Iterator[tuple[Repository, Repository]]:
    """Two repositories that use one store; each has a version of its own, and both have ``large``."""
    one, two = new(tmp_path / "one"), new(tmp_path / "two")
    for repository in (one, two):
        repository.config_set("store.path", str(store))
    version(one, FILES)
    version(two, {"b": b"two's", "large": LARGE})
    with one, two:
        yield one, two


def files(place: Path) -> list[str]:
    """Every pack and larger object in a store."""
    return sorted(p.name for name in ("packs", "objects") for p in (place / name).rglob("*") if p.is_file())


def content(repository: Repository, ref: str = "data:v0") -> dict[str, bytes]:
    """Every file of a version, as it is read."""
    return {e.path: b"".join(repository.read(ref, e.path)) for e in repository.entries(ref)}


def test_objects_are_stored_once(pair, store, tmp_path):
    """What both have is there once; nothing is in the repositories themselves; both are sound."""
    one, two = pair
    assert sum(path.stat().st_size for path in (store / "objects").rglob("*") if path.is_file()) == len(LARGE)
    assert files(one.avc_root) == files(two.avc_root) == []
    assert content(one) == FILES
    assert content(two) == {"b": b"two's", "large": LARGE}
    for repository in pair:
        assert repository.fsck(full=True).problems == ()
        assert repository.du().objects == len(LARGE)
    assert one.cache.info().repositories == (str(one.avc_root), str(two.avc_root))
    shutil.rmtree(two.root / "data")
    two.checkout("data:v0", link="hardlink")
    assert (two.root / "data" / "large").stat().st_nlink == 2


def test_gc_counts_what_all_need(pair, store):
    """Gc of one keeps the versions and drafts of the other, and takes what no repository needs any more."""
    one, two = pair
    write(two.root, {"data/staged": OTHER})
    with inside(two.root):
        two.add()
    one.delete("data:v0", delete_aliases=True)
    assert one.gc(grace="0s").trashed_objects == 2, "v0's manifest and 'a'"
    one.gc(grace="0s")
    with reopen(two.root) as again:
        assert content(again) == {"b": b"two's", "large": LARGE}
        with inside(two.root):
            again.commit()
        assert content(again, "data:v1")["staged"] == OTHER
        assert again.fsck(full=True).problems == ()


def test_gc_respects_the_longer_grace_of_another(pair):
    """What can still be restored in another repository, by its own grace, is kept."""
    one, two = pair
    two.delete("data:v0", delete_aliases=True)
    one.gc(grace="0s")
    assert one.gc(grace="0s").kept[0].endswith(" here, and by other repositories (1) that share the store")
    with reopen(two.root) as again:
        again.restore("data:v0")
        assert content(again)["b"] == b"two's"


def test_a_repository_that_cannot_be_read_stops_gc(pair, tmp_path):
    """gc, its dry run and a cleanup say which repository it is; nothing is collected until it is back or given up."""
    one, two = pair
    two.close()
    (tmp_path / "two").rename(tmp_path / "away")
    one.delete("data:v0", delete_aliases=True)
    for deed in (lambda: one.gc(grace="0s"), lambda: one.gc(grace="0s", dry_run=True), lambda: one.cache.cleanup(0)):
        with pytest.raises(StorageError) as caught:
            deed()
        assert str(tmp_path / "two") in caught.value.message
        assert "avc cache forget" in caught.value.hint
    with pytest.raises(UsageError):
        one.cache.forget(str(tmp_path / "three"))
    assert one.cache.forget(str(tmp_path / "two")).path == str(tmp_path / "two" / ".artifacts")
    assert one.gc(grace="0s").trashed_objects == 5
    (tmp_path / "away").rename(tmp_path / "two")
    with reopen(tmp_path / "two") as back:
        assert content(back) == {"b": b"two's", "large": LARGE}, "out of the trash"


def test_a_repository_that_is_there_is_not_forgotten(pair):
    """Taking a repository that is in use off the list would let gc take what it needs."""
    one, two = pair
    with pytest.raises(UsageError):
        one.cache.forget(str(two.root))


def test_a_lost_list_mends_itself(pair, store):
    """A repository that is about to write and is not on the list puts itself there."""
    one, two = pair
    for path in (store / "repositories").iterdir():
        path.unlink()
    write(two.root, {"data/more": b"more"})
    with inside(two.root):
        two.add()
    one.gc(grace="0s", dry_run=True)
    assert len(list((store / "repositories").iterdir())) == 2


def test_another_repository_at_the_same_place_stops_gc(pair, tmp_path):
    """A repository that was made anew where a listed one was is not taken for it."""
    one, two = pair
    two.close()
    shutil.rmtree(tmp_path / "two" / ".artifacts")
    new(tmp_path / "two").close()
    with pytest.raises(StorageError, match="another repository stands there"):
        one.gc()


def test_a_store_that_is_not_there_is_said(pair, store):
    """An unmounted store is an error that names it; no empty one is made in its place."""
    one, _ = pair
    one.close()
    store.rename(store.with_name("unmounted"))
    with reopen(one.root) as again:
        for deed in (lambda: content(again), lambda: version(again, {"x": "y"}), again.gc):
            with pytest.raises(AvcError, match="is not there"):
                deed()
    assert not store.exists()


# ---- moving in and out ---------------------------------------------------------------------------------------


def test_moving_in_and_out(tmp_path, store):
    """A repository with versions, a deleted one and a draft moves into a store and out again; nothing is lost."""
    with new(tmp_path / "work") as work:
        version(work, FILES)
        version(work, {"a": b"next"})
        work.delete("data:v0")
        write(work.root, {"data/staged": OTHER})
        with inside(work.root):
            work.add()
        for place, empty in ((str(store), work.avc_root), ("", None)):
            assert work.config_set("store.path", place).value == place
            assert work.session.avc.config["features"]["read"] == (["store"] if place else [])
            if empty is not None:
                assert files(empty) == []
            with reopen(work.root) as again:
                assert content(again, "data:v1") == {**FILES, "a": b"next"}
                assert again.status().artifacts[0].staged
                assert again.fsck(full=True).problems == ()
                assert again.gc(grace="14d").trashed_objects == 0
        work.restore("data:v0")
        assert content(work) == FILES
        with inside(work.root):
            work.commit()
        assert content(work, "data:v2")["staged"] == OTHER


@pytest.mark.parametrize("step", range(1, 12))
def test_a_kill_while_moving_loses_nothing(tmp_path, store, step):
    """After a kill at any step the repository is whole, in the old store or the new; moving again ends the work."""
    with new(tmp_path / "work") as work:
        version(work, FILES)
        version(work, {"other": OTHER})
    script = f"""
import os
from pathlib import Path
from artifactvc.sdk.repository import Repository
left = [{step}]
def killed(real):
    def call(*a, **k):
        left[0] -= 1
        if left[0] <= 0:
            os._exit(9)
        return real(*a, **k)
    return call
with Repository.open({str(work.root)!r}, environ={ENVIRON!r}) as repository:
    for name in ("rename", "replace", "link"):
        setattr(os, name, killed(getattr(os, name)))
    Path.unlink = killed(Path.unlink)
    repository.config_set("store.path", {str(store)!r})
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode in (0, 9), ended.stderr
    for _ in range(2):
        with reopen(work.root) as again:
            assert content(again, "data:v1") == {**FILES, "other": OTHER}
            assert again.fsck(full=True).problems == ()
            again.gc(grace="0s")
            again.config_set("store.path", str(store))
    assert files(work.avc_root) == []


def test_a_place_that_holds_something_else_is_refused(tmp_path):
    """A directory with other files, or around the repository, is no store; nothing changes."""
    with new(tmp_path / "work") as work:
        version(work, FILES)
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "thesis.tex").touch()
        for place in (tmp_path / "full", work.root, work.avc_root / "objects", tmp_path):
            with pytest.raises(AvcError):
                work.config_set("store.path", str(place))
        assert content(work) == FILES


def test_symbolic_links_into_the_old_store_are_refused(tmp_path, store):
    """Files that are links into the store would break: said before anything is done."""
    with new(tmp_path / "work") as work:
        version(work, FILES)
        shutil.rmtree(work.root / "data")
        work.checkout("data:v0", link="symlink")
        with pytest.raises(UsageError, match="symbolic links"):
            work.config_set("store.path", str(store))
        assert tree(work.root / "data").keys() == FILES.keys()


def test_init_honours_the_users_own_setting(tmp_path, store):
    """With ``store.path`` in the user's file every new repository uses that store, and goes on if the file changes."""
    home = tmp_path / "home"
    environ = {**ENVIRON, "HOME": str(home)}
    (home / ".config" / "avc").mkdir(parents=True)
    (home / ".config" / "avc" / "config.toml").write_text(f'[store]\npath = "{store}"\n')
    repository, _ = Repository.init(tmp_path / "work", environ=environ)
    version(repository, FILES)
    repository.close()
    assert files(repository.avc_root) == []
    (home / ".config" / "avc" / "config.toml").unlink()
    with Repository.open(tmp_path / "work", environ=environ) as again:
        assert content(again) == FILES


# ---- cache, groups, many at once ------------------------------------------------------------------------------


def test_a_cleanup_keeps_what_another_repository_needs(pair, tmp_path):
    """What one has pushed goes only if no other needs it, or a remote that both have holds it."""
    one, two = pair
    origin(one, tmp_path / "remote")
    one.push()
    one.cache.cleanup(0)
    two.close()
    with reopen(two.root) as again:
        assert content(again) == {"b": b"two's", "large": LARGE}
        origin(again, tmp_path / "remote")
        again.rename("data", "second")
        again.push()
    assert one.cache.cleanup(0).after == 0
    with reopen(two.root) as again:
        assert content(again, "second:v0") == {"b": b"two's", "large": LARGE}


def test_a_store_of_a_group_is_its_groups_to_write(tmp_path, store):
    """In a directory that its group may write, with the set-group-ID bit, all that is made can be used by the group."""
    store.mkdir()
    store.chmod(0o2775)
    before = os.umask(0o077)
    try:
        with new(tmp_path / "work") as work:
            work.config_set("store.path", str(store))
            version(work, FILES)
            work.gc(grace="0s")
    finally:
        os.umask(before)
    for path in store.rglob("*"):
        mode = path.stat().st_mode
        if path.is_dir():
            assert mode & 0o2070 == 0o2070, path
        else:
            assert mode & stat.S_IRGRP, path
            if path.parent.name not in ("packs",) and "objects" not in path.parts and path.suffix != ".json":
                assert mode & stat.S_IWGRP, path


def test_many_at_once_in_two_repositories(pair, soak):
    """Add and commit in one repository while the other collects, again and again: nothing is lost (L2)."""
    one, two = pair
    code = """
import os, random, sys
from pathlib import Path
from artifactvc.sdk.repository import Repository
what, root, rounds, environ = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), eval(sys.argv[4])
os.chdir(root)
for i in range(rounds):
    with Repository.open(root, environ=environ) as repository:
        if what == "gc":
            repository.gc(grace="0s")
        else:
            Path(root, "data", f"n{i}").write_bytes(random.Random(i).randbytes(150_000 if i % 2 else 200))
            repository.add(["data"])
            repository.commit(["data"])
"""
    rounds = 5 * soak
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, what, str(repository.root), str(rounds), repr(ENVIRON)],
            stderr=subprocess.PIPE, text=True,
        )
        for what, repository in (("gc", one), ("write", two), ("write", one), ("gc", two))
    ]  # fmt: skip
    assert [error for one_of in running if (error := one_of.communicate()[1]) or one_of.returncode] == []
    for repository in pair:
        with reopen(repository.root) as again:
            found = content(again, "data")
            assert {f"n{i}" for i in range(rounds)} <= found.keys()
            assert again.fsck(full=True).problems == ()
