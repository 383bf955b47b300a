"""The stat cache: what it knows is right, and what it cannot know it does not claim."""

from __future__ import annotations

import os
from array import array

import pytest

from artifactvc.storage.avcdir import AvcDir, create
from artifactvc.storage.ignore import Ignore
from artifactvc.storage.statcache import RACY_NS, FileStat, Recorded, StatCache
from artifactvc.storage.workspace import ScanOptions, scan

NOW = 10**18
OLD = NOW - 10 * RACY_NS
DIGEST = "12" * 32


@pytest.fixture
def avc(tmp_path):
    create(tmp_path / ".artifacts", "demo")
    found = AvcDir(tmp_path / ".artifacts")
    yield found
    found.close()


def cache_at(avc: AvcDir, now: int = NOW) -> StatCache:
    return StatCache(avc.connect, lambda: now)


def stat(mtime: int = OLD, ctime: int = OLD) -> FileStat:
    return FileStat(5, mtime, ctime, 7, 0o100644)


def test_rows_come_back_by_directory(avc):
    cache = cache_at(avc)
    cache.record("a", [("x", Recorded(stat(), DIGEST))])
    cache.record("a/b", [("y", Recorded(stat(), DIGEST)), ("w", Recorded(stat(), DIGEST))])
    cache.record("ab", [("z", Recorded(stat(), DIGEST))])
    cache.record("/a/single", [("single", Recorded(stat(), DIGEST))])
    cache.save()
    assert set(cache.load("a")) == {"a", "a/b"}, "'ab' is not inside 'a'"
    assert set(cache.load("")) == {"a", "a/b", "ab"}
    row = cache.row("a/b")
    assert row is not None
    assert row.names == ("w", "y")
    assert row.stat(1) == stat()
    assert row.digest(1) == DIGEST


@pytest.mark.parametrize(("mtime", "ctime"), [(NOW, OLD), (OLD, NOW), (NOW - RACY_NS + 1, OLD), (NOW + 10**9, OLD)])
def test_a_file_as_young_as_the_clocks_tick_is_read_again(avc, mtime, ctime):
    """Git's racy rule: it could be changed once more without a trace in its stat."""
    cache = cache_at(avc)
    cache.record("d", [("young", Recorded(stat(mtime, ctime), DIGEST)), ("old", Recorded(stat(), DIGEST))])
    cache.save()
    row = cache.row("d")
    assert row is not None
    assert row.names == ("old", "young"), "the name is kept: it is tracked"
    assert row.digest(1) is None
    assert row.stat(1).size == -1, "so that no file ever equals it"
    assert row.digest(0) == DIGEST


def test_recording_a_whole_directory_follows_the_same_rule(avc):
    cache = cache_at(avc)
    numbers = array("q", [*stat(), *stat(NOW)])
    cache.record_all("d", ["a", "b"], numbers, bytes.fromhex(DIGEST) * 2)
    cache.record_all("e", ["a", "b"], array("q", [*stat(), *stat()]), bytes.fromhex(DIGEST) + bytes(32))
    cache.save()
    d, e = cache.row("d"), cache.row("e")
    assert d is not None
    assert e is not None
    assert (d.digest(0), d.digest(1)) == (DIGEST, None)
    assert (e.digest(0), e.digest(1)) == (DIGEST, None)


def test_a_file_changed_within_the_tick_is_seen(avc, tmp_path):
    """The same size, the same times to the clock's grain: only the rule can tell."""
    directory = tmp_path / "d"
    directory.mkdir()
    path = directory / "f"
    path.write_bytes(b"one")
    times = path.stat()
    cache = StatCache(avc.connect, lambda: times.st_mtime_ns + 1_000_000)  # recorded a millisecond after it was written
    cache.record(
        "d", [("f", Recorded(FileStat(3, times.st_mtime_ns, times.st_ctime_ns, times.st_ino, times.st_mode), DIGEST))]
    )
    cache.save()
    path.write_bytes(b"two")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    (found,) = scan(tmp_path, "d", cache, ScanOptions(lambda path: True, rows_tracked=True)).directories
    assert [name for name, _ in found.changed()] == ["f"]


def seen(avc: AvcDir, **options: object) -> dict[str, list[str]]:
    workspace = avc.workspace
    found = scan(workspace, ".", StatCache(avc.connect), ScanOptions(lambda path: False, **options))  # type: ignore[arg-type]
    return {directory.path: list(directory.names) for directory in found.directories if directory.names}


def test_scanning_leaves_out_repositories_and_what_is_excluded(avc, tmp_path):
    for name in (
        ".git/config",
        "a/.git/config",
        "a/f",
        "artifacts.toml",
        "artifacts/x:v0/f",
        ".hidden",
        ".github/w.yml",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert seen(avc, exclude=frozenset({"artifacts.toml", "artifacts"})) == {
        "": [".hidden"],
        ".github": ["w.yml"],
        "a": ["f"],
    }


def test_ignore_patterns_are_those_of_git(avc, tmp_path):
    (tmp_path / ".avcignore").write_text("# comment\n*.tmp\n/build/\n!keep.tmp\nlogs/**/debug\n")
    for name in ("a.tmp", "keep.tmp", "build/x", "sub/build/y", "logs/deep/debug", "logs/info", "sub/b.tmp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    found = seen(avc, ignore=Ignore(tmp_path))
    assert found == {"": [".avcignore", "keep.tmp"], "logs": ["info"], "sub/build": ["y"]}


def test_a_tracked_path_is_never_ignored(avc, tmp_path):
    (tmp_path / ".avcignore").write_text("*.tmp\nall/\n")
    for name in ("kept.tmp", "left.tmp", "all/kept", "all/left"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    tracked = {"kept.tmp", "all/", "all/kept"}
    options = ScanOptions(lambda path: path in tracked, Ignore(tmp_path))
    found = scan(tmp_path, ".", StatCache(avc.connect), options)
    names = {f"{d.path}/{name}".lstrip("/") for d in found.directories for name in d.names}
    assert names == {".avcignore", "kept.tmp", "all/kept"}
    assert found.ignored == 2


def test_patterns_are_not_asked_about_what_is_recorded(avc, tmp_path, monkeypatch):
    """A pattern costs tens of microseconds a path, so an unchanged workspace must not pay it (design, section 4)."""
    (tmp_path / ".avcignore").write_text("*.tmp\n")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text("x")
    s = (tmp_path / "d" / "f").stat()
    cache = StatCache(avc.connect, lambda: s.st_ctime_ns + 10**9)
    cache.record("d", [("f", Recorded(FileStat(s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_mode), DIGEST))])
    cache.save()
    ignore = Ignore(tmp_path)
    monkeypatch.setattr(Ignore, "file", lambda self, path: pytest.fail(f"asked about {path}"))
    (found,) = scan(tmp_path, "d", cache, ScanOptions(lambda p: True, ignore, rows_tracked=True)).directories
    assert found.same
