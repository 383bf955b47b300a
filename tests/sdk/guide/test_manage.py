"""Managing: versions deleted, kept for a time or for ever, and the bytes that this frees."""

from __future__ import annotations

import contextlib
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import artifactvc as avc
from artifactvc.errors import AvcError
from artifactvc.sdk.repository import Repository
from tests.sdk.guide.helpers import (
    ENTITY,
    LARGE,
    PROJECT,
    collect,
    default_ttl,
    digest,
    draft,
    expire,
    ids,
    log,
    logged,
    names,
    object_files,
    path_of,
    runs_of,
    said,
)
from tests.support import tree

# ---- deleting ------------------------------------------------------------------------------------------


def one_run(count: int, **aliases: list[str]) -> Any:
    """One run that logs *count* versions of data, ``v0`` and on, some with aliases of their own."""
    with avc.init() as run:
        for i in range(count):
            run.log_artifact(draft({"a": bytes([i]) * LARGE}), aliases=aliases.get(f"v{i}"))
    return run


def left(name: str = "data") -> list[str]:
    """The versions that a listing shows, oldest first."""
    try:
        return sorted(version.version for version in avc.Api().artifacts("dataset", name))
    except avc.errors.CommError:
        return []


def test_versions_without_aliases_are_deleted(place):
    """Deleting all that a run logged takes those without aliases, and stops at one that has some (S56, F76, F80).

    What is deleted leaves listings and is not found by its number; its bytes are still there.
    """
    done = one_run(3)
    run = avc.Api().run(f"{ENTITY}/{PROJECT}/{done.id}")
    outcome = {}
    for artifact in run.logged_artifacts():
        try:
            artifact.delete()
        except avc.errors.CommError as error:
            outcome[artifact.version] = said(error)
        else:
            outcome[artifact.version] = artifact.state
    assert outcome.keys() == {"v0", "v1", "v2"}
    assert {outcome["v0"], outcome["v1"]} <= {"DELETED", "PENDING_DELETION"}
    assert "alias" in outcome["v2"]
    assert re.search("delete.aliases", outcome["v2"])
    assert left() == ["v2"]
    assert not avc.Api().artifact_exists("data:v0")
    assert avc.Api().artifact("data:latest").aliases == ["latest"]
    assert len(object_files(place)) == 3


def test_a_refused_deletion_changes_nothing():
    """The version keeps its aliases, its state and its files (S56)."""
    artifact = log({"a": "1"}, aliases=["best"])
    with pytest.raises(avc.errors.CommError):
        artifact.delete()
    found = avc.Api().artifact("data:best")
    assert (sorted(found.aliases), found.state) == (["best", "latest"], "COMMITTED")
    assert tree(Path(found.download())) == {"a": b"1"}


def test_deletion_can_be_taken_back():
    """Until its bytes are collected, a deleted version can be restored (F76)."""
    log({"a": "1"})
    log({"a": "2"})
    avc.Api().artifact("data:v0").delete()
    assert left() == ["v1"]
    with Repository.open() as repository:
        repository.restore("data:v0")
    assert tree(Path(avc.Api().artifact("data:v0").download())) == {"a": b"1"}


def test_versions_are_deleted_with_their_aliases():
    """With `delete_aliases` all of them go, and their aliases name nothing (S57, F80)."""
    done = one_run(3, v0=["best"], v1=["good"])
    for artifact in avc.Api().run(path_of(done)).logged_artifacts():
        artifact.delete(delete_aliases=True)
    assert left() == []
    api = avc.Api()
    assert [api.artifact_exists(f"data:{alias}") for alias in ("latest", "best", "good", "v0")] == [False] * 4


def test_collection_frees_what_no_version_uses(place):
    """Bytes of a deleted version go, and those that another version shares stay (S57, F76, F77, F108)."""
    shared, only = b"s" * LARGE, b"o" * LARGE
    log({"shared": shared, "only": only})
    log({"shared": shared, "more": "1"})
    log({"copy": shared}, "other")
    avc.Api().artifact("data:v0").delete()
    assert object_files(place) == sorted([digest(shared), digest(only)])
    collect()
    assert object_files(place) == [digest(shared)]
    assert digest(Path(avc.Api().artifact("data:v1").download(), "shared").read_bytes()) == digest(shared)
    avc.Api().artifact("data:v1").delete(delete_aliases=True)
    collect()
    assert object_files(place) == [digest(shared)]
    avc.Api().artifact("other:v0").delete(delete_aliases=True)
    collect()
    assert object_files(place) == []


def test_the_newest_deleted_leaves_no_latest():
    """`latest` does not fall back to the version before; the next log has it again (S57)."""
    log({"a": "1"})
    log({"a": "2"})
    avc.Api().artifact("data:latest").delete(delete_aliases=True)
    assert not avc.Api().artifact_exists("data:latest")
    assert left() == ["v0"]
    log({"a": "3"})
    assert avc.Api().artifact("data:latest").version == "v2"


def test_versions_are_deleted_by_number():
    """Out of five only those chosen go, and the next number is the sixth (S58, F81)."""
    done = one_run(5)
    runs = avc.Api().run(path_of(done))
    for artifact_version in runs.logged_artifacts():
        if artifact_version.name[-2:] == "v3" or artifact_version.name[-2:] == "v4":
            artifact_version.delete(delete_aliases=True)
    assert left() == ["v0", "v1", "v2"]
    assert log({"a": "next"}).version == "v5"


def test_versions_are_deleted_by_alias():
    """A loop may choose by alias (F81)."""
    one_run(4, v1=["old", "x"], v2=["keep"])
    for version in avc.Api().artifacts("dataset", "data"):
        if "old" in version.aliases:
            version.delete(delete_aliases=True)
    assert left() == ["v0", "v2", "v3"]


def test_all_versions_without_an_alias_are_deleted():
    """Deleting while listing is safe; the project and entity of `overrides` hold (S59, F81)."""
    log({"a": "mine"})
    log({"a": "mine, too"})
    with avc.init(project="project") as run:
        for i in range(120):
            run.log_artifact(draft({"a": str(i)}), aliases=["kept"] if i == 60 else None)
    api = avc.Api(overrides={"project": "project", "entity": ENTITY})
    seen = 0
    for version in api.artifact_versions("dataset", "data"):
        seen += 1
        if len(version.aliases) == 0:
            version.delete()
    assert seen == 120
    assert [version.version for version in api.artifacts("dataset", "data")] == ["v119", "v60"]
    assert left() == ["v0", "v1"]


def test_a_placeholder_lists_nothing():
    """Names left as they stand list nothing, or say that there is nothing such (S59)."""
    artifact_type, artifact_name = "<>"
    found = []
    with contextlib.suppress(avc.errors.CommError):
        found = list(avc.Api().artifact_versions(artifact_type, artifact_name))
    assert found == []


def test_a_whole_collection_is_deleted():
    """Every version goes with its aliases; the type stays, and so do other collections (S60, F82, F109)."""
    for text in "123":
        log({"a": text}, project="project", aliases=[f"is-{text}"])
    log({"a": "1"}, "other", project="project")
    api = avc.Api(overrides={"project": "project"})
    collection = api.artifact_collection("dataset", f"{ENTITY}/project/data")
    collection.delete()
    assert not api.artifact_exists("data:latest")
    assert not api.artifact_exists("data:is-1")
    assert not api.artifact_exists("data:v0")
    assert [found.name for found in api.artifact_collections("project", "dataset")] == ["other"]
    assert "dataset" in [kind.name for kind in api.artifact_types("project")]


def test_the_type_outlives_its_only_collection():
    """A type that was used is still a type when nothing of it is left (S60)."""
    log({"a": "1"}, "cnn", "model")
    avc.Api().artifact_collection("model", "cnn").delete()
    assert "model" in [kind.name for kind in avc.Api().artifact_types()]


def test_contents_of_a_deleted_collection_are_freed(place):
    """Collection takes the bytes that only it had (S60, F109)."""
    log({"a": b"a" * LARGE})
    log({"a": b"b" * LARGE}, "other")
    avc.Api().artifact_collection("dataset", "data").delete()
    collect()
    assert object_files(place) == [digest(b"b" * LARGE)]


# ---- time to live ------------------------------------------------------------------------------------------


def created(artifact: Any) -> datetime:
    """The moment of a version's creation."""
    return datetime.fromisoformat(artifact.created_at)


def at(moment: datetime) -> str:
    """*moment* as the repository writes times."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


MINUTE = timedelta(minutes=1)


def test_the_type_of_an_artifact_is_told():
    """`use_artifact` takes the name by keyword, means the newest, and the artifact says its type (S61, F87)."""
    log({"a": "1"}, "cnn", "model")
    log({"a": "2"}, "cnn", "model")
    with avc.init() as run:
        artifact = run.use_artifact(artifact_or_name="cnn")
    assert (artifact.type, artifact.version) == ("model", "v1")


def test_a_time_to_live_is_set_before_logging():
    """The version has it, lives until its day, and is deleted then, to be restored like any other (S62, F78, F85, F89).

    An alias does not save it: its own time holds.
    """
    artifact = draft({"a": "1"})
    artifact.ttl = timedelta(days=30)
    logged(artifact, aliases=["best"])
    found = avc.Api().artifact("data:latest")
    assert found.ttl == timedelta(days=30)
    expire(at(created(found) + timedelta(days=29)))
    assert left() == ["v0"]
    assert expire(at(created(found) + timedelta(days=30) + MINUTE))
    assert left() == []
    with Repository.open() as repository:
        repository.restore("data:v0")
    assert left() == ["v0"]


def test_nothing_expires_before_its_time():
    """Without a time to live a version stays, however late it is; expiring says that nothing went (S62)."""
    artifact = log({"a": "1"})
    assert not expire(at(created(artifact) + timedelta(days=10_000)))
    assert left() == ["v0"]
    assert not expire()


@pytest.mark.parametrize("outside", [False, True], ids=["in a run", "through the API"])
def test_a_time_to_live_is_set_later_and_counts_from_creation(outside):
    """Set by `save`, in a run or without one, it is counted from when the version was made (S63, S64, F89, F92)."""
    first = log({"a": "1"})
    if outside:
        runs = ids(runs_of())
        artifact = avc.Api().artifact(f"{ENTITY}/{PROJECT}/data:latest")
        artifact.ttl = timedelta(days=365)
        artifact.save()
        assert ids(runs_of()) == runs
    else:
        with avc.init() as run:
            artifact = run.use_artifact("data:latest")
            artifact.ttl = timedelta(days=365)
            artifact.save()
    since = datetime.now(created(first).tzinfo) - created(first)
    assert since > timedelta(0)
    assert avc.Api().artifact("data:v0").ttl == timedelta(days=365)
    expire(at(created(first) + timedelta(days=365) - MINUTE))
    assert left() == ["v0"]
    # Counted from now, it would end later than at this moment.
    expire(at(created(first) + timedelta(days=365) + since / 2))
    assert left() == []


def test_two_years_in_days():
    """A time to live may be as long as is asked (S63, F89)."""
    log({"a": "1"})
    artifact = avc.Api().artifact("data:latest")
    artifact.ttl = timedelta(days=365 * 2)
    artifact.save()
    assert avc.Api().artifact("data:latest").ttl == timedelta(days=730)


def test_none_is_for_ever():
    """With None a version does not expire, whatever the default says (S65, F91, F93)."""
    log({"a": "1"})
    log({"a": "2"})
    artifact = avc.Api().artifact("data:v0")
    artifact.ttl = timedelta(days=1)
    artifact.save()
    artifact.ttl = None
    artifact.save()
    default_ttl("90d")
    found = avc.Api().artifact("data:v0")
    assert found.ttl is None
    expire(at(created(found) + timedelta(days=10_000)))
    assert left() == ["v0", "v1"]


def test_none_is_for_ever_from_the_start():
    """None may be set before logging, too (S65, F93)."""
    artifact = draft({"a": "1"})
    artifact.ttl = None
    assert artifact.ttl is None
    first = logged(artifact)
    log({"a": "2"})
    default_ttl("1d")
    expire(at(created(first) + timedelta(days=10)))
    assert "v0" in left()


def test_what_time_to_live_says():
    """A span, or None; one that follows the default tells the default's span (S66, F91, F94)."""
    log({"a": "1"})
    assert avc.Api().artifact("data:v0").ttl is None
    default_ttl("90d")
    assert avc.Api().artifact("data:v0").ttl == timedelta(days=90)
    assert log({"a": "2"}).ttl == timedelta(days=90)
    default_ttl(None)
    assert avc.Api().artifact("data:v0").ttl is None


def test_the_default_holds_for_versions_of_before_and_after():
    """It counts from creation, spares the newest and what has an alias, and yields to a version's own (F91)."""
    first = log({"a": "before"})
    log({"a": "named"}, aliases=["best"])
    own = log({"a": "own"})
    own.ttl = timedelta(days=365)
    own.save()
    default_ttl("90d")
    log({"a": "after"})
    last = log({"a": "newest"})
    expire(at(created(first) + timedelta(days=90) - MINUTE))
    assert left() == ["v0", "v1", "v2", "v3", "v4"]
    expire(at(created(last) + timedelta(days=90) + MINUTE))
    assert left() == ["v1", "v2", "v4"]


def test_following_the_default_again():
    """`INHERIT` takes a version's own time back (F91)."""
    log({"a": "1"})
    log({"a": "2"})
    default_ttl("90d")
    artifact = avc.Api().artifact("data:v0")
    artifact.ttl = timedelta(days=1)
    artifact.save()
    assert avc.Api().artifact("data:v0").ttl == timedelta(days=1)
    artifact.ttl = avc.ArtifactTTL.INHERIT
    artifact.save()
    assert avc.Api().artifact("data:v0").ttl == timedelta(days=90)


@pytest.mark.parametrize("wrong", [timedelta(0), timedelta(days=-1), timedelta(microseconds=-1)])
def test_a_time_to_live_is_longer_than_nothing(wrong):
    """No time or less is a ValueError, on a draft and on a version (F89)."""
    for artifact in (draft({"a": "1"}), log({"a": "1"})):
        with pytest.raises(ValueError) as caught:
            artifact.ttl = wrong
        assert isinstance(caught.value, AvcError)


@pytest.mark.parametrize("wrong", [30, 1.5, "30d", True])
def test_a_time_to_live_is_a_timedelta(wrong):
    """A number could be days or seconds, so it is a TypeError (F89)."""
    for artifact in (draft({"a": "1"}), log({"a": "1"})):
        with pytest.raises(TypeError):
            artifact.ttl = wrong


@pytest.mark.parametrize("kind", ["run_table", "code", "job", "wandb-history"])
def test_generated_types_have_no_time_to_live(kind):
    """Types that tools make are refused one, at the latest when it is logged (F86)."""
    with pytest.raises(ValueError):
        artifact = draft({"a": "1"}, "results", kind)
        artifact.ttl = timedelta(days=1)
        logged(artifact)
    assert names(avc.Api().artifacts("dataset", log({"a": "1"}).name.partition(":")[0])) == ["data:v0"]


def test_a_draft_says_its_time_to_live_only_when_it_has_one():
    """Before logging, an inherited time is not known yet; one that was set is (S62)."""
    artifact = draft({"a": "1"})
    with pytest.raises(avc.errors.ArtifactNotLoggedError):
        artifact.ttl  # noqa: B018
    artifact.ttl = timedelta(days=3)
    assert artifact.ttl == timedelta(days=3)
