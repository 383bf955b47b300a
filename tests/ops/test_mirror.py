"""``clone --mirror``: a complete copy, from which everything can be had and built again without the remote."""

from __future__ import annotations

import shutil

import pytest

from artifactvc.errors import RemoteMissing, UsageError
from artifactvc.sdk.repository import RemoteOptions, Repository
from artifactvc.storage.directory import DirectoryTransport
from tests.support import ENVIRON, clone, inside, new, origin, tree, version


def mirror(url, path) -> Repository:
    made, _ = Repository.clone(str(url), path, mirror=True, environ=ENVIRON)
    return made


@pytest.fixture
def pushed(tmp_path) -> Repository:
    """Three versions with descriptions and metadata, of which the second is deleted, on ``remote``."""
    made = new(tmp_path / "work")
    origin(made, tmp_path / "remote")
    for number, files in enumerate([{"a": "1", "large": bytes(200_000)}, {"a": "2"}, {"a": "3", "b/c": "4"}]):
        version(made, files, f"number {number}")
        made.edit(f"data:v{number}", metadata={"n": number})
    made.push()
    made.delete("data:v1")
    made.push()
    return made


def contents(repository: Repository, place) -> dict[str, object]:
    """All that every version is."""
    found: dict[str, object] = {}
    for info in repository.log("data"):
        target = place / info.version
        with inside(repository.root):
            repository.get(f"data:{info.version}", root=target)
        found[info.version] = (tree(target), info.description, dict(info.metadata), info.digest)
    return found


def test_everything_is_here_and_can_be_built_again(pushed, tmp_path):
    """With the remote gone each version comes out, deleted ones can be restored, and an empty remote gets it all."""
    expected = contents(pushed, tmp_path / "before")
    assert set(expected) == {"v2", "v0"}
    copy = mirror(tmp_path / "remote", tmp_path / "copy")
    shutil.rmtree(tmp_path / "remote")
    assert contents(copy, tmp_path / "after") == expected
    assert copy.fsck(full=True).problems == ()
    copy.remote_add("backup", str(tmp_path / "second"), options=RemoteOptions())
    assert copy.push("backup").entry == 0
    copy.remote_origin("backup")
    assert contents(clone(tmp_path / "second", tmp_path / "fresh"), tmp_path / "fresh-out") == expected
    copy.restore("data:v1")
    copy.push("backup")
    assert set(contents(clone(tmp_path / "second", tmp_path / "third"), tmp_path / "third-out")) == {"v0", "v1", "v2"}


def test_pull_in_a_mirror_brings_everything_new(pushed, tmp_path):
    """Later pulls bring all versions, not the latest alone; a fetch brings names as ever."""
    copy = mirror(tmp_path / "remote", tmp_path / "copy")
    version(pushed, {"x": "5"}, "more")
    version(pushed, {"x": "6"}, "still more")
    pushed.push()
    planned = copy.pull(dry_run=True)
    assert planned.objects > 0
    done = copy.pull()
    assert done.versions == ("demo/data:v0", "demo/data:v2", "demo/data:v3", "demo/data:v4")
    assert planned.objects >= done.objects > 0
    assert copy.pull().objects == 0
    shutil.rmtree(tmp_path / "remote")
    assert set(contents(copy, tmp_path / "after")) == {"v0", "v2", "v3", "v4"}


def test_a_mirror_that_was_interrupted_goes_on(pushed, tmp_path, monkeypatch):
    """What came stays: run again in the same directory, only the rest comes."""
    ranges = DirectoryTransport.download

    def fail(self, name, target, size, **given):
        raise RemoteMissing("gone for a moment")

    monkeypatch.setattr(DirectoryTransport, "download", fail)
    with pytest.raises(RemoteMissing):
        mirror(tmp_path / "remote", tmp_path / "copy")
    with pytest.raises(UsageError, match="is there and not empty"):
        clone(tmp_path / "remote", tmp_path / "copy")
    monkeypatch.setattr(DirectoryTransport, "download", ranges)
    copy = mirror(tmp_path / "remote", tmp_path / "copy")
    shutil.rmtree(tmp_path / "remote")
    assert set(contents(copy, tmp_path / "after")) == {"v0", "v2"}
