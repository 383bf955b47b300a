"""Retention policies: explained before anything goes, followed by every clone, taken back like anything else."""

from __future__ import annotations

from datetime import timedelta

import pytest

from artifactvc.core.policy import Policy
from artifactvc.errors import BadValue, Conflict, NotAnEditor
from artifactvc.util.text import format_time, parse_time
from tests.support import clone, new, origin, version


def numbers(repository, name: str = "data") -> list[str]:
    repository.session.caught_up = False
    return [v.version for v in repository.log(name)]


def ending(found) -> list[str]:
    return [one.version for one in found.versions if not one.keep]


@pytest.fixture
def five(tmp_path):
    """Five versions; v0 is `best`, v1 is tagged."""
    with new(tmp_path / "ws") as repository:
        for n in range(5):
            version(repository, {"a": str(n)})
        repository.alias("data:v0", ["best"])
        repository.tag("data:v1", ["paper"])
        yield repository


def test_nothing_goes_until_expire(five):
    """Setting one explains what would go; expire does it; undo brings it back."""
    dry = five.set_retention("data", Policy(keep_last=2), dry_run=True)
    assert ending(dry) == ["v2", "v1", "v0"]
    assert five.retention("data").policy is None
    done = five.set_retention("data", Policy(2, keep_aliased=True, keep_tagged=True))
    assert done.policy == "keep the last 2, what has an alias, what has a tag"
    assert {one.version: (one.keep, one.why) for one in done.versions} == {
        "v4": (True, ("the newest", "'latest' names it", "the workspace stands on it")),
        "v3": (True, ("one of the last 2",)),
        "v2": (False, ("not one of the last 2", "no alias", "no tag")),
        "v1": (True, ("tag 'paper'",)),
        "v0": (True, ("alias 'best'",)),
    }
    assert five.retention("data").versions == done.versions
    assert numbers(five) == ["v4", "v3", "v2", "v1", "v0"]
    gone = five.expire(dry_run=True)
    assert [(one.version, one.since) for one in gone.versions] == [("v2", None)]
    assert gone.versions[0].why == "no retention rule keeps it: not one of the last 2, no alias, no tag"
    assert five.expire().versions == gone.versions
    assert numbers(five) == ["v4", "v3", "v1", "v0"]
    row = next(v for v in five.session.index.rows.find("version") if v["number"] == 2)
    assert row["reason"] == "retention"
    assert five.expire().versions == ()
    five.undo()
    assert numbers(five) == ["v4", "v3", "v2", "v1", "v0"]


def test_a_policy_is_taken_back(five):
    """By --none, by --inherit, and by undo."""
    five.set_retention("data", Policy(keep_last=1))
    five.undo()
    assert five.retention("data").policy is None
    five.set_retention(None, Policy(keep_last=3))
    found = five.retention("data")
    assert (found.policy, found.inherited, ending(found)) == ("keep the last 3", True, ["v1", "v0"])
    assert ending(five.set_retention("data", Policy())) == []
    assert five.retention(None).versions == ()
    assert five.expire(dry_run=True).versions == ()
    assert ending(five.set_retention("data", None)) == ["v1", "v0"]
    assert not five.set_retention("data", None).changed
    assert five.set_retention(None, None).policy is None
    assert five.expire().versions == ()


def test_what_stays_whatever_the_rules(five):
    """A time to live of its own, what `latest` names and what is stood on."""
    five.set_ttl(["data:v0"], "none")
    five.set_ttl(["data:v1"], "400d")
    five.alias("data:v2", ["latest"])
    five.set_retention("data", Policy(keep_last=1))
    assert [one.version for one in five.expire().versions] == ["v3"]
    assert numbers(five) == ["v4", "v2", "v1", "v0"]


def test_time_counts_from_creation(five):
    """Within 30 days all stay; a day later the rules that are left decide."""
    five.set_retention("data", Policy(keep_within="30d"))
    created = parse_time(five.show("data:v4").created)
    assert five.expire(now=format_time(created + timedelta(days=29))).versions == ()
    late = five.expire(now=format_time(created + timedelta(days=31)))
    assert [one.version for one in late.versions] == ["v0", "v1", "v2", "v3"]


def test_every_clone_follows_it_and_gc_says_so(five, tmp_path):
    """It travels with the log; a gc of the remote ends by it, but for what is kept by work that is not pushed."""
    origin(five, tmp_path / "remote")
    five.set_retention("data", Policy(keep_last=2, keep_tagged=True))
    five.push()
    with clone(tmp_path / "remote", tmp_path / "clone") as other:
        assert ending(other.retention("data")) == ["v2", "v0"]
        other.tag("data:v2", ["keep"])
        planned = other.gc_remote("origin", dry_run=True)
        assert [one.version for one in planned.expired] == ["v0"]
        assert any("data:v2 is over there, and kept by what is not pushed yet" in line for line in other.notices)
        assert [one.version for one in other.gc_remote("origin").expired] == ["v0"]
        other.push()
    five.fetch()
    assert numbers(five) == ["v4", "v3", "v2", "v1"]
    assert five.gc().expired == ()


def test_two_policies_are_a_conflict(five, tmp_path):
    """Who comes second is told, and decides."""
    origin(five, tmp_path / "remote")
    five.push()
    with clone(tmp_path / "remote", tmp_path / "clone") as other:
        other.set_retention("data", Policy(keep_last=4))
        other.push()
    five.set_retention("data", Policy(keep_last=2))
    with pytest.raises(Conflict, match="the retention policy of 'data' was changed on remote 'origin' meanwhile"):
        five.push()
    five.push(force=True)
    five.fetch()
    assert five.retention("data").policy == "keep the last 2"


def test_types_that_tools_make_have_no_policy(five):
    """It is refused for one by name; the default passes them over."""
    five.set_retention(None, Policy(keep_last=1))
    five.session.avc.connect().execute("UPDATE artifact SET type = 'code'")
    assert ending(five.retention("data")) == []
    assert five.expire().versions == ()
    with pytest.raises(BadValue, match="an artifact of type 'code' has no policy"):
        five.set_retention("data", Policy(keep_last=1))


def test_what_is_restored_goes_again_and_is_told(five):
    """Unless it is kept by name."""
    five.set_retention("data", Policy(keep_last=1))
    five.expire()
    assert "it is over, by its time to live or a policy" in five.restore("data:v3").message
    five.set_ttl(["data:v3"], "none")
    assert five.expire().versions == ()


def test_editors_of_times_to_live_alone_set_policies(five):
    """Who is not listed is refused; nothing is recorded."""
    five.set_ttl_editors([five.session.author, "ada"])
    five.set_retention("data", Policy(keep_last=3))
    five.session.author = "mallory"
    with pytest.raises(NotAnEditor, match="only 'tester', 'ada' may change times to live"):
        five.set_retention("data", Policy(keep_last=1))
    assert five.retention("data").policy == "keep the last 3"
