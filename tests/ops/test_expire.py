"""Versions whose time is over: deleted when somebody says so, from their creation on, and no others."""

from __future__ import annotations

from datetime import timedelta

import pytest

from artifactvc.errors import BadName
from artifactvc.ops import versions
from artifactvc.util.text import format_time, parse_time
from tests.support import clone, new, origin, version


def at(repository, ref: str, days: float) -> str:
    return format_time(parse_time(repository.show(ref).created) + timedelta(days=days))


def numbers(repository) -> list[str]:
    repository.session.caught_up = False
    return [v.version for v in repository.log("data")]


def set_ttl(repository, ref: str, ttl: str | None) -> None:
    artifact = next(repository.artifacts()).id
    versions.save(repository.session, artifact, repository.show(ref).digest, versions.Changes(ttl=ttl))


def test_a_version_of_its_own_time(tmp_path):
    """Alive on day 29, over on day 30, whatever its aliases; it can be restored until gc has been."""
    with new(tmp_path) as repository:
        version(repository, {"a": "1"})
        set_ttl(repository, "data:v0", "30d")
        assert repository.expire(now=at(repository, "data:v0", 29.999)) == []
        day30 = at(repository, "data:v0", 30)
        assert repository.expire(now=day30, dry_run=True) == ["demo/data:v0"]
        assert numbers(repository) == ["v0"]
        assert repository.expire(now=day30) == ["demo/data:v0"]
        assert repository.expire(now=day30) == []
        assert numbers(repository) == []
        repository.restore("data:v0")
        assert numbers(repository) == ["v0"]


def test_the_default_spares_the_newest_and_what_has_a_name(tmp_path):
    """It counts for versions that were there before, too; `none` and a longer time of its own win over it."""
    with new(tmp_path) as repository:
        for n in range(5):
            version(repository, {"a": str(n)})
        repository.alias("data:v0", ["best"])
        set_ttl(repository, "data:v1", "none")
        set_ttl(repository, "data:v2", "400d")
        repository.set_default_ttl("10d")
        assert repository.default_ttl() == "10d"
        late = at(repository, "data:v4", 100)
        assert repository.expire(now=late) == ["demo/data:v3"]
        repository.alias("data:v0", ["best"], remove=True)
        assert repository.expire(now=late) == ["demo/data:v0"]
        set_ttl(repository, "data:v2", None)
        assert repository.expire(now=late) == ["demo/data:v2"]
        repository.set_default_ttl("none")
        assert repository.default_ttl() is None
        assert numbers(repository) == ["v4", "v1"]


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
            assert other.expire(now=at(other, "data:v1", 11)) == ["demo/data:v0"]
            other.push()
        repository.fetch()
        assert numbers(repository) == ["v1"]


def test_gc_expires_first_and_says_so(tmp_path):
    """What is over goes with gc; a dry run only tells."""
    with new(tmp_path) as repository:
        version(repository, {"a": "1"})
        set_ttl(repository, "data:v0", "1s")
        created = parse_time(repository.show("data:v0").created)
        repository.session.clock = lambda: format_time(created + timedelta(days=60))
        repository.gc(dry_run=True)
        assert "demo/data:v0 would expire: its time to live is over" in repository.notices
        assert numbers(repository) == ["v0"]
        repository.gc()
        assert "demo/data:v0 has expired: its time to live is over" in repository.notices
        assert numbers(repository) == []


def test_a_bad_default_is_refused(tmp_path):
    """Nothing is recorded."""
    with new(tmp_path) as repository:
        with pytest.raises(BadName, match="bad duration 'soon'"):
            repository.set_default_ttl("soon")
        assert repository.default_ttl() is None
