"""Versions whose time is over: deleted when somebody says so, from their creation on, and no others."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from artifactvc.errors import BadName
from artifactvc.sdk.repository import Repository
from artifactvc.util.text import format_time, parse_time
from tests.support import clone, inside, new, origin, tree, version


def at(repository: Repository, ref: str, days: float) -> str:
    """The moment *days* after the version was made."""
    return format_time(parse_time(repository.show(ref).created) + timedelta(days=days))


def later(repository: Repository, days: float) -> None:
    """Let the repository's clock be *days* ahead of everything that was made so far."""
    moment = at(repository, "data", days)
    repository.session.clock = lambda: moment


def numbers(repository: Repository) -> list[str]:
    repository.session.caught_up = False
    return [v.version for v in repository.log("data")]


def gone(repository: Repository, now: str | None = None, *, dry_run: bool = False) -> list[str]:
    """What expires, by name."""
    return [f"{one.artifact}:{one.version}" for one in repository.expire(now=now, dry_run=dry_run).versions]


def deletions(repository: Repository) -> int:
    """How many ``delete`` records all logs that are known here hold."""
    found = 0
    for path in repository.avc_root.glob("**/log/**/*"):
        if path.is_file():
            lines = path.read_bytes().splitlines()
            found += sum(r["kind"] == "delete" for line in lines for r in json.loads(line)["records"])
    return found


def test_a_version_of_its_own_time(tmp_path):
    """Alive on day 29, over on day 30, whatever its aliases; it can be restored until gc has been."""
    with new(tmp_path) as repository:
        version(repository, {"a": "1"})
        repository.set_ttl(["data:v0"], "30d")
        assert gone(repository, at(repository, "data:v0", 29.999)) == []
        day30 = at(repository, "data:v0", 30)
        assert gone(repository, day30, dry_run=True) == ["demo/data:v0"]
        assert numbers(repository) == ["v0"]
        assert gone(repository, day30) == ["demo/data:v0"]
        assert gone(repository, day30) == []
        assert numbers(repository) == []
        repository.restore("data:v0")
        assert numbers(repository) == ["v0"]


def test_the_default_spares_the_newest_and_what_has_a_name(tmp_path):
    """It counts for versions that were there before, too; `none` and a longer time of its own win over it."""
    with new(tmp_path) as repository:
        for n in range(5):
            version(repository, {"a": str(n)})
        repository.alias("data:v0", ["best"])
        repository.set_ttl(["data:v1"], "none")
        repository.set_ttl(["data:v2"], "400d")
        repository.set_default_ttl("10d")
        assert repository.default_ttl() == "10d"
        late = at(repository, "data:v4", 100)
        assert gone(repository, late) == ["demo/data:v3"]
        repository.alias("data:v0", ["best"], remove=True)
        assert gone(repository, late) == ["demo/data:v0"]
        repository.set_ttl(["data:v2"], "inherit")
        assert gone(repository, late) == ["demo/data:v2"]
        repository.set_default_ttl("none")
        assert repository.default_ttl() is None
        assert numbers(repository) == ["v4", "v1"]


def test_the_default_is_of_one_project(tmp_path):
    """Versions of other projects of the repository have their own, or none."""
    with new(tmp_path) as repository:
        for n in range(2):
            version(repository, {"a": str(n)})
        repository.set_default_ttl("10d")
        late = at(repository, "data:v1", 100)
        with Repository.open(tmp_path, environ={"AVC_PROJECT": "other", "AVC_USER": "tester"}) as other:
            for n in range(2):
                (tmp_path / "x").write_text(str(n))
                other.put(str(tmp_path / "x"), name="single")
            assert other.default_ttl() is None
            assert gone(other, late, dry_run=True) == ["demo/data:v0"]
            other.set_default_ttl("20d")
        repository.session.caught_up = False
        assert repository.default_ttl() == "10d"
        assert gone(repository, late) == ["demo/data:v0", "other/single:v0"]


def test_every_clone_follows_the_default(tmp_path):
    """It is recorded in the log, and travels with it; what expired in one clone is deleted in the others."""
    with new(tmp_path / "ws") as repository:
        for n in range(2):
            version(repository, {"a": str(n)})
        repository.set_default_ttl("10d")
        origin(repository, tmp_path / "remote")
        repository.push()
        with clone(tmp_path / "remote", tmp_path / "clone") as other:
            assert other.default_ttl() == "10d"
            assert gone(other, at(other, "data:v1", 11)) == ["demo/data:v0"]
            other.push()
        repository.fetch()
        assert numbers(repository) == ["v1"]


def test_each_is_explained(tmp_path):
    """What goes, by which rule, since when, and with which aliases; the dry run and the deed say the same."""
    with new(tmp_path) as repository:
        for n in range(3):
            version(repository, {"a": str(n)})
        repository.alias("data:v0", ["best"])
        repository.set_ttl(["data:v0"], "5d")
        repository.set_default_ttl("2w")
        late = at(repository, "data:v2", 60)
        planned = repository.expire(now=late, dry_run=True)
        assert planned.dry_run
        assert [(one.version, one.why, one.aliases) for one in planned.versions] == [
            ("v0", "its time to live of 5d", ("best",)),
            ("v1", "the default time to live of 2w", ()),
        ]
        assert [one.since for one in planned.versions] == [
            at(repository, "data:v0", 5), at(repository, "data:v1", 14)
        ]  # fmt: skip
        assert repository.expire(now=late).versions == planned.versions


def test_more_than_one_entry_holds(tmp_path):
    """Thousands of versions go in several entries; a dry run names them all."""
    with new(tmp_path) as repository:
        (tmp_path / "x").write_text("x")
        with inside(tmp_path):
            for n in range(12):
                (tmp_path / "x").write_text(str(n))
                repository.put("x", name="data")
        repository.set_default_ttl("1d")
        late = at(repository, "data", 10)
        from artifactvc.ops import expire

        before, expire.AT_ONCE = expire.AT_ONCE, 4
        try:
            planned = gone(repository, late, dry_run=True)
            entries = len(list((repository.avc_root / "log").glob("*.json")))
            assert gone(repository, late) == planned == [f"demo/data:v{n}" for n in range(11)]
        finally:
            expire.AT_ONCE = before
        assert len(list((repository.avc_root / "log").glob("*.json"))) == entries + 3


def test_gc_expires_first_and_says_so(tmp_path):
    """What is over goes with gc; a dry run only tells. Day 29 alive, day 30 deleted, after the grace the bytes go."""
    with new(tmp_path) as repository:
        version(repository, {"a": "1"})
        version(repository, {"a": "2"})
        repository.set_ttl(["data:v0"], "30d")
        later(repository, 29)
        assert repository.gc(dry_run=True).expired == ()
        assert repository.gc().expired == ()
        later(repository, 30.001)
        assert [one.version for one in repository.gc(dry_run=True).expired] == ["v0"]
        assert numbers(repository) == ["v1", "v0"]
        done = repository.gc()
        assert [one.version for one in done.expired] == ["v0"]
        assert numbers(repository) == ["v1"]
        assert done.trashed_objects == 0
        assert "1 deleted version can still be restored: the grace is not over" in done.kept
        later(repository, 43)
        assert repository.gc().trashed_objects == 0
        later(repository, 45)
        assert repository.gc().trashed_objects > 0
        assert repository.gc(grace="0s").removed_bytes > 0
        assert repository.fsck(full=True).problems == ()


def test_nothing_else_deletes(tmp_path):
    """However much is over, no other command ends a version, here or on a remote."""
    with new(tmp_path / "ws") as repository:
        origin(repository, tmp_path / "remote")
        for n in range(3):
            version(repository, {"a": str(n), "b": "b" * n})
        repository.set_ttl(["data:v1"], "1d")
        repository.push()
        repository.set_default_ttl("1s")
        later(repository, 1000)
        assert gone(repository, dry_run=True) == ["demo/data:v0", "demo/data:v1"]
        with inside(repository.root):
            list(repository.log("data"))
            repository.show("data:v0")
            repository.status()
            repository.alias("data:v1", ["a"])
            repository.alias("data:v1", ["a"], remove=True)
            repository.edit("data:v0", description="words")
            version(repository, {"a": "3"})
            repository.put("data/a", name="other")
            repository.checkout("data:v0", str(tmp_path / "out"))
            repository.fetch()
            repository.push()
            repository.pull(None, ["data:v0"])
            repository.fsck(full=True, repair=True)
            repository.fsck("origin", full=True, repair=True)
            repository.cache.cleanup(0)
            repository.du()
            repository.gc(dry_run=True)
            repository.gc_remote("origin", dry_run=True)
            repository.expire(dry_run=True)
            repository.undo()
        with clone(tmp_path / "remote", tmp_path / "clone") as other:
            other.session.clock = repository.session.clock
            with inside(other.root):
                other.pull(None, ["data:v0"])
                other.checkout("data:v0")
                other.push()
            assert deletions(other) == 0
        assert deletions(repository) == 1  # the undo of `put`
        assert numbers(repository) == ["v3", "v2", "v1", "v0"]
        repository.gc()
        assert numbers(repository) == ["v3"]


def test_restored_for_a_moment(tmp_path):
    """A version whose time is over can be restored; it is said that it goes again, and how to keep it."""
    with new(tmp_path) as repository:
        version(repository, {"a": "1"})
        repository.set_ttl(["data:v0"], "1d")
        later(repository, 2)
        assert gone(repository) == ["demo/data:v0"]
        message = repository.restore("data:v0").message
        assert "it is over, by its time to live or a policy: 'avc ttl data:v0 none' keeps it" in message
        assert gone(repository) == ["demo/data:v0"]
        repository.restore("data:v0")
        repository.set_ttl(["data:v0"], "none")
        assert gone(repository) == []


# ---- undo --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared"])
def test_expiry_is_taken_back_and_done_again(tmp_path, shared):
    """All that went comes back with its aliases, on the remote, too, where it had landed."""
    with new(tmp_path / "ws") as repository:
        if shared:
            origin(repository, tmp_path / "remote")
        for n in range(3):
            version(repository, {"a": str(n)})
        repository.alias("data:v0", ["best"])
        repository.set_ttl(["data:v0"], "1d")
        repository.set_default_ttl("1d")
        later(repository, 10)
        if shared:
            repository.push()
        assert gone(repository) == ["demo/data:v0", "demo/data:v1"]
        if shared:
            repository.push()
        done = repository.undo()
        assert (done.command, done.summary) == ("expire", "deleted demo/data:v0, deleted demo/data:v1")
        assert numbers(repository) == ["v2", "v1", "v0"]
        assert repository.show("data:best").version == "v0"
        assert gone(repository, dry_run=True) == ["demo/data:v0", "demo/data:v1"]
        if shared:
            repository.push()
            with clone(tmp_path / "remote", tmp_path / "clone") as other:
                assert numbers(other) == ["v2", "v1", "v0"]
                with inside(other.root):
                    other.checkout("data:best", "out")
                assert tree(other.root / "out") == {"a": b"0"}
        repository.undo(done.op)
        assert numbers(repository) == ["v2"]
        assert repository.fsck(full=True).problems == ()


def test_expiry_is_not_taken_back_once_the_bytes_are_gone(tmp_path):
    """The error names them; nothing is restored."""
    from artifactvc.errors import Collected

    with new(tmp_path) as repository:
        version(repository, {"a": "1", "b": "same"})
        version(repository, {"a": "2"})
        repository.set_ttl(["data:v0"], "1d")
        later(repository, 10)
        gone(repository)
        repository.gc(grace="0s")
        repository.gc(grace="0s")
        with pytest.raises(Collected):
            repository.undo()
        assert numbers(repository) == ["v1"]


def test_a_bad_default_is_refused(tmp_path):
    """Nothing is recorded."""
    with new(tmp_path) as repository:
        with pytest.raises(BadName, match="bad duration 'soon'"):
            repository.set_default_ttl("soon")
        with pytest.raises(BadName, match="longer than nought"):
            repository.set_default_ttl("0d")
        assert repository.default_ttl() is None
