"""Remotes with long logs: a clone and its first push read few files, whatever was merged, raced or killed (R4)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from artifactvc.core.entries import decode_entry
from artifactvc.errors import RemoteRefused
from artifactvc.ops import push as push_module
from artifactvc.sdk.repository import Repository
from artifactvc.storage.checkpoints import Span
from artifactvc.storage.directory import DirectoryTransport
from artifactvc.storage.log import entry_name
from artifactvc.storage.remote import Remote
from benchmarks.biglog import BigLog
from tests.support import clone, forget_index, inside, new, origin, reopen, tree, version


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of small files: what a power cut leaves is not what is tested here."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)


class Asked(list[str]):
    """The files that remotes are asked for, there or not."""

    def of(self, prefix: str) -> list[str]:
        return [name for name in self if name.startswith(prefix)]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    found = Asked()
    read, ranges, download = DirectoryTransport.read, DirectoryTransport.read_ranges, DirectoryTransport.download

    def counted(self: Any, name: str, *, limit: int) -> bytes:
        found.append(name)
        return read(self, name, limit=limit)

    def counted_ranges(self: Any, wanted: Any) -> Iterator[tuple[int, bytes]]:
        found.extend(name for name, _, _ in wanted)
        return ranges(self, wanted)

    def counted_download(self: Any, name: str, *args: Any, **more: Any) -> None:
        found.append(name)
        download(self, name, *args, **more)

    monkeypatch.setattr(DirectoryTransport, "read", counted)
    monkeypatch.setattr(DirectoryTransport, "read_ranges", counted_ranges)
    monkeypatch.setattr(DirectoryTransport, "download", counted_download)
    return found


def started(root: Path) -> Repository:
    """A repository whose first version is pushed to ``root/remote``."""
    first = new(root / "first")
    origin(first, root / "remote")
    version(first, {"a": "first"})
    first.push()
    return first


def pushed(repository: Repository, number: int) -> None:
    """One more version, pushed."""
    version(repository, {"a": f"version {number}", f"{number}": str(number)})
    repository.push()


def indexes(remote: Path) -> tuple[set[str], list[dict[str, Any]]]:
    """Ids of the live index files, and the rows that replace others."""
    live: set[str] = set()
    merged = []
    n = 0
    while (path := remote / "log" / entry_name(n)).exists():
        for row in decode_entry(path.read_bytes(), n).index:
            live -= set(row.get("replaces", ()))
            live.add(row["id"])
            merged += [row] if row.get("replaces") else []
        n += 1
    return live, merged


def complete(root: Path, remote: Path, count: int) -> None:
    """A clone has all versions of ``data``, and each can be checked out."""
    made = clone(remote, root)
    names = [info.version for info in made.log("data")]
    assert names == [f"v{number}" for number in reversed(range(count))]
    made.pull("origin", [f"data:{name}" for name in names])
    with inside(root):
        for name in names[:2]:
            made.checkout(f"data:{name}", "out", force=True)
    made.close()
    shutil.rmtree(root)


# ---- how many files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2_047, 10_000])
def test_a_clone_and_its_first_push_read_few_files(tmp_path, asked, count):
    """Of a remote with so many entries: at most 80 files, those that are not there counted too."""
    started(tmp_path)
    BigLog(tmp_path / "remote").grow(count)
    asked.clear()
    there = clone(tmp_path / "remote", tmp_path / "there")
    cloned = len(asked)
    version(there, {"b": "from the clone"})
    done = there.push()
    assert done.entry == count
    assert len(asked) <= 80, f"clone {cloned} files, with its first push {len(asked)}: {asked}"
    asked.clear()
    assert there.fetch().entries == 0
    assert len(asked) == 1, f"nothing new: {asked}"
    assert [info.version for info in there.log("data")] == ["v1", "v0"]


def test_a_follower_does_not_read_merged_files(tmp_path, asked):
    """Who has read what was merged has nothing to read again; who comes new reads the merged file alone."""
    first = started(tmp_path)
    there = clone(tmp_path / "remote", tmp_path / "there")
    for number in range(1, 20):
        pushed(first, number)
        there.pull()
    live, merged = indexes(tmp_path / "remote")
    assert len(merged) == 2
    assert not {f"index/{row['id']}" for row in merged} & set(asked)
    assert len(live) < 12
    asked.clear()
    clone(tmp_path / "remote", tmp_path / "new").pull()
    assert set(asked.of("index/")) == {f"index/{name}" for name in live}
    complete(tmp_path / "all", tmp_path / "remote", 20)
    kept = {path.name for path in (tmp_path / "there").glob(".artifacts/remotes/*/index/*")}
    assert kept <= live, "copies of what was replaced go"


def test_the_index_of_a_remote_can_be_made_again(tmp_path):
    """With merged files as without: thrown away, it is read again and says the same."""
    first = started(tmp_path)
    for number in range(1, 12):
        pushed(first, number)
    for path in (tmp_path / "first" / ".artifacts" / "remotes").glob("*/index.sqlite"):
        path.unlink()
    forget_index(tmp_path / "first")
    again = reopen(tmp_path / "first")
    pushed(again, 12)
    complete(tmp_path / "all", tmp_path / "remote", 13)


# ---- races, kills, refusals --------------------------------------------------------------------------------


def test_two_that_would_merge_the_same(tmp_path, monkeypatch):
    """Both upload a merged file; the one whose number is taken plans again, and every row stays."""
    first = started(tmp_path)
    for number in range(1, 8):
        pushed(first, number)
    other = clone(tmp_path / "remote", tmp_path / "other")
    version(other, {"o": "other"}, name="theirs")
    version(first, {"a": "version 8"})
    create, raced = DirectoryTransport.create, []

    def racing(self: DirectoryTransport, name: str, data: bytes) -> bool:
        if not raced and name.startswith("log/"):
            raced.append(name)
            other.push()
        return create(self, name, data)

    monkeypatch.setattr(DirectoryTransport, "create", racing)
    first.push()
    assert raced
    live, merged = indexes(tmp_path / "remote")
    assert len(merged) == 1
    assert len({path.name for path in (tmp_path / "remote" / "index").iterdir()} - live) >= 9
    complete(tmp_path / "all", tmp_path / "remote", 9)


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_each_step_of_landing(tmp_path, monkeypatch, after):
    """A push that merges and completes a checkpoint, ended before or after each write: the next one is whole."""
    first = started(tmp_path)
    for number in range(1, 15):
        pushed(first, number)
    first.close()
    assert len(indexes(tmp_path / "remote")[1]) == 1
    ready = tmp_path / "ready"
    ready.mkdir()
    for name in ("first", "remote"):
        shutil.copytree(tmp_path / name, ready / name)
    create, upload = DirectoryTransport.create, DirectoryTransport.upload
    steps: list[str] = []
    at = 0

    def step(name: str, deed: Any) -> Any:
        steps.append(name)
        if len(steps) == at + 1:
            if after:
                deed()
            raise Killed
        return deed()

    def uploading(self: Any, name: str, source: Any, **more: Any) -> None:
        step(name, lambda: upload(self, name, source, **more))

    monkeypatch.setattr(DirectoryTransport, "create", lambda s, n, d: step(n, lambda: create(s, n, d)))
    monkeypatch.setattr(DirectoryTransport, "upload", uploading)
    kinds: set[str] = set()
    while True:
        for name in ("first", "remote"):
            shutil.rmtree(tmp_path / name)
            shutil.copytree(ready / name, tmp_path / name)
        steps.clear()
        repository = reopen(tmp_path / "first")
        try:
            pushed(repository, 15)
        except Killed:
            kinds.add("/".join(steps[-1].split("/")[:-1]))
        else:
            break
        finally:
            repository.close()
        at_kill, at = at, 10**6
        repository = reopen(tmp_path / "first")
        repository.push()
        repository.close()
        complete(tmp_path / "all", tmp_path / "remote", 16)
        at = at_kill + 1
    assert {"index", "log", "log/checkpoint/8"} <= kinds
    assert len(kinds) == 4, kinds  # and packs/<push id>


def test_a_checkpoint_that_is_refused_fails_nothing(tmp_path, monkeypatch, asked):
    """Whoever may not make one pushes all the same; who misses it reads the entries, and its next push makes it."""
    first = started(tmp_path)
    create = DirectoryTransport.create

    def refusing(self: DirectoryTransport, name: str, data: bytes) -> bool:
        if "checkpoint" in name:
            raise RemoteRefused("may not")
        return create(self, name, data)

    with monkeypatch.context() as patched:
        patched.setattr(DirectoryTransport, "create", refusing)
        for number in range(1, 20):
            pushed(first, number)
    assert not (tmp_path / "remote" / "log" / "checkpoint").exists()
    there = clone(tmp_path / "remote", tmp_path / "there")
    pushed(there, 20)
    for begin in (0, 8):
        span = Span(8, begin)
        entries = [(tmp_path / "remote" / "log" / entry_name(n)).read_bytes() for n in range(span.first, span.end)]
        assert (tmp_path / "remote" / span.name).read_bytes() == b"".join(entries)
    asked.clear()
    clone(tmp_path / "remote", tmp_path / "later")
    assert len(asked.of("log/checkpoint/8")) == 3
    complete(tmp_path / "all", tmp_path / "remote", 21)


def test_condemned_copies_are_found_behind_a_merge(tmp_path):
    """A merged file leaves out condemned files' rows; who comes new still finds where those bytes are (P4, P6)."""
    first = started(tmp_path)
    for number in range(1, 7):
        pushed(first, number)
    with inside(first.root):
        first.delete("data:v3", delete_aliases=True)
    first.push()
    first.gc_remote("origin")
    for number in range(7, 16):
        pushed(first, number)
    first.close()
    assert indexes(tmp_path / "remote")[1]
    there = clone(tmp_path / "remote", tmp_path / "there")
    there.close()
    again = reopen(tmp_path / "there")
    remote = Remote(again.session.avc, "origin")
    condemned = {row["file"] for row in remote.rows.find("condemned") if "/" in row["file"]}
    assert condemned, "gc condemned the pack of the deleted version"
    remote.read_indexes()
    query = "SELECT count(*) FROM remote_object o JOIN remote_file f ON f.serial = o.file WHERE f.name = ?"
    assert [remote.connection.execute(query, (name,)).fetchone()[0] for name in condemned] == [0] * len(condemned)
    remote.read_indexes(condemned=True)
    assert all(remote.connection.execute(query, (name,)).fetchone()[0] for name in condemned)
    gone = {file.id for file in remote.places.superseded()}
    assert gone
    assert not gone & {file.id for file in remote.places.live()}
    remote.close()
    again.close()


def test_a_merged_index_that_gc_condemned_replaces_nothing(tmp_path, monkeypatch):
    """A gc without grace takes it for what a failed push left: the push that tries again names another one."""
    first = started(tmp_path)
    other = clone(tmp_path / "remote", tmp_path / "other")
    real, raced = push_module.create_entry, []

    def create(remote: Remote, n: int, data: bytes) -> bool:
        if b'"replaces"' in data and not raced:
            raced.append(n)
            assert other.gc_remote("origin", grace="0s").entry == n
        return real(remote, n, data)

    monkeypatch.setattr(push_module, "create_entry", create)
    for number in range(1, 12):
        pushed(first, number)
    assert raced
    monkeypatch.undo()
    complete(tmp_path / "made", tmp_path / "remote", 12)
    other.close()


def test_checkouts_need_no_large_index_whole(tmp_path, monkeypatch, asked):
    """One file of one version: of a large index file only ranges are read, and the pack is not taken whole."""
    first = started(tmp_path)
    version(first, {f"{i:04}": f"{i} " * 40 for i in range(300)}, name="many")
    first.push()
    monkeypatch.setattr("artifactvc.storage.remote_places.LARGE", 4_000)
    there = clone(tmp_path / "remote", tmp_path / "there")
    asked.clear()
    with inside(there.root):
        there.checkout("many:v0", "one", prefixes=["0123"])
    assert tree(there.root / "one") == {"0123": b"123 " * 40}
    large = [path for path in (tmp_path / "remote" / "index").iterdir() if path.stat().st_size >= 4_000]
    assert len(large) == 1
    kept = [path.name for path in there.root.glob(".artifacts/remotes/*/index/*")]
    assert large[0].name not in kept
    assert large[0].name in {name.removeprefix("index/") for name in asked.of("index/")}
    there.pull("origin", ["many:v0"])
    with inside(there.root):
        there.checkout("many:v0")
    assert len(tree(there.root / "many")) == 300
