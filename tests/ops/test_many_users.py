"""Two users do something at once: each pair has one result, which both see and the second is told.

The rows of docs/concurrency.md, "Two at once". Ann pushes first; Ben worked on what both
had before, and pushes second. What they see afterwards is the same, read from both clones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from artifactvc.errors import AliasConflict, AvcError, Conflict
from artifactvc.ops import resolve, versions
from artifactvc.sdk.repository import Repository
from tests.support import ENVIRON, inside, origin, version


class Users(NamedTuple):
    """Ann and Ben, and what they share."""

    ann: Repository
    ben: Repository
    remote: Path

    def meet(self) -> None:
        """Both read the log to its end."""
        for one in (self.ann, self.ben):
            one.session.caught_up = False
            one.fetch()
            one.notices.clear()

    def both(self, name: str = "data") -> dict[str, tuple[object, ...]]:
        """Every live version of an artifact as both see it: that it is the same is checked."""
        self.meet()
        seen = [
            {
                info.version: (
                    info.digest,
                    info.aliases,
                    info.tags,
                    info.description,
                    info.metadata,
                    info.ttl,
                    info.size,
                )
                for info in one.log(name)
            }
            for one in (self.ann, self.ben)
        ]
        assert seen[0] == seen[1]
        return seen[0]

    def aliases(self, name: str = "data") -> dict[str, str]:
        """Where each alias is, for both."""
        return {str(alias): number for number, row in self.both(name).items() for alias in row[1]}  # type: ignore[attr-defined]

    def names(self) -> list[str]:
        """The names of all artifacts, for both."""
        self.meet()
        seen = [sorted(row.name for row in one.artifacts()) for one in (self.ann, self.ben)]
        assert seen[0] == seen[1]
        return seen[0]


def user(name: str, place: Path) -> Repository:
    place.mkdir()
    made, _ = Repository.init(place, project="demo", environ={**ENVIRON, "AVC_USER": name})
    return made


@pytest.fixture
def users(tmp_path: Path) -> Iterator[Users]:
    """Two users whose clones hold data:v0 and data:v1."""
    remote = tmp_path / "remote"
    with user("ann", tmp_path / "ann") as ann, user("ben", tmp_path / "ben") as ben:
        origin(ann, remote)
        version(ann, {"a": "0"}, "first")
        version(ann, {"a": "1"}, "second")
        ann.push()
        origin(ben, remote)
        ben.pull(None, ["data:v0", "data:v1"])
        with inside(ben.root):
            ben.checkout("data")
        for one in (ann, ben):
            one.notices.clear()
        yield Users(ann, ben, remote)


def refused(one: Repository, kind: type[AvcError] = Conflict) -> AvcError:
    """The error of a push that is refused, whole: nothing of it is on the remote."""
    with pytest.raises(kind) as caught:
        one.push()
    return caught.value


# ---- versions ------------------------------------------------------------------------------------------


def test_new_versions_of_one_artifact(users: Users) -> None:
    """Both land; who pushes second gets the next number, is told so, and that theirs is not made from the other."""
    version(users.ann, {"a": "ann's"}, "ann's")
    version(users.ben, {"a": "ben's"}, "ben's")
    users.ann.push()
    pushed = users.ben.push()
    assert pushed.versions == ("demo/data:v3",)
    assert pushed.renumbered == ("demo/data: v2~ is now v3~",)
    assert users.ben.notices == [
        "demo/data:v2 was there already, and what was pushed now is not made from it: compare them with 'avc diff'"
    ]
    assert [row[3] for row in users.both().values()] == ["ben's", "ann's", "second", "first"]
    assert users.aliases() == {"latest": "v3"}


def test_equal_new_versions(users: Users) -> None:
    """One version, with the description and metadata of who pushed first, and both as its producers."""
    for one in users[:2]:
        version(one, {"a": "same"}, f"by {one.session.author}")
        one.push()
    both = users.both()
    assert list(both) == ["v2", "v1", "v0"]
    assert both["v2"][3] == "by ann"


def test_a_version_and_the_deletion_of_equal_content(users: Users) -> None:
    """Ben's commit of content that Ann deletes is a version of its own: it lands under a new number, whole."""
    before = users.both()["v0"]
    users.ann.delete("data:v0")
    users.ann.push()
    assert version(users.ben, {"a": "0"}, "again") == "v0"
    assert users.ben.push().versions == ("demo/data:v2",)
    both = users.both()
    assert list(both) == ["v2", "v1"]
    assert (both["v2"][0], both["v2"][6]) == (before[0], before[6])
    assert both["v2"][3] == "first", "what Ben saw when he made it"


def test_a_new_version_and_the_deletion_of_its_artifact(users: Users) -> None:
    """It lands: the artifact is there again with that version alone, and who pushed is told."""
    artifact = resolve.artifact(users.ann.session, "data")
    versions.delete_artifact(users.ann.session, artifact["id"])
    users.ann.push()
    version(users.ben, {"a": "ben's"}, "ben's")
    assert users.ben.push().versions == ("demo/data:v2",)
    assert (
        "artifact 'data' was deleted on remote 'origin': it is there again, with what was pushed now"
        in users.ben.notices
    )
    assert [(number, row[3]) for number, row in users.both().items()] == [("v2", "ben's")]


@pytest.mark.parametrize("kind", ["dataset", "model"])
def test_a_new_version_of_an_artifact_that_was_deleted_and_begun_anew(users: Users, kind: str) -> None:
    """It becomes part of the artifact that has the name now, under the next number; one of another type refuses it."""
    artifact = resolve.artifact(users.ann.session, "data")
    versions.delete_artifact(users.ann.session, artifact["id"])
    (users.ann.root / "anew").write_text("ann's")
    users.ann.put(users.ann.root / "anew", name="data", type=kind, description="anew")
    users.ann.push()
    version(users.ben, {"a": "ben's"}, "ben's")
    users.ben.alias("data:v2", ["best"])
    if kind == "model":
        error = refused(users.ben)
        assert error.message == (
            "artifact 'data' was deleted on remote 'origin', and is of type 'model' now, not 'dataset'"
        )
        assert error.hint == "'avc undo' the commit, then commit it under another name"
        return
    assert users.ben.push().versions == ("demo/data:v3",)
    assert (
        "artifact 'data' was deleted on remote 'origin' and begun anew: what was pushed now is part of the new one"
        in users.ben.notices
    )
    assert [(number, row[3]) for number, row in users.both().items()] == [("v3", "ben's"), ("v2", "anew")]
    assert users.aliases() == {"latest": "v3", "best": "v3"}


# ---- deletions and what needs the version ----------------------------------------------------------------


def test_a_deletion_on_both_sides(users: Users) -> None:
    for one in users[:2]:
        one.delete("data:v0")
        one.push()
    assert users.ben.notices == [], "both got what they asked for"
    assert list(users.both()) == ["v1"]


@pytest.mark.parametrize("deed", ["alias", "tag", "edit", "ttl"])
def test_a_deletion_and_a_change_of_the_version(users: Users, deed: str) -> None:
    """The deletion stays; the change has no effect, and who pushed it is told."""
    users.ann.delete("data:v0")
    users.ann.push()
    key = resolve.version(users.ben.session, "data:v0")
    what = {"alias": "the alias 'best'", "tag": "a tag", "edit": "an edit", "ttl": "a time to live"}[deed]
    if deed == "alias":
        users.ben.alias("data:v0", ["best"])
    elif deed == "tag":
        users.ben.tag("data:v0", ["checked"])
    elif deed == "edit":
        users.ben.edit("data:v0", description="better")
    else:
        changes = versions.Changes(ttl="30d")
        versions.save(users.ben.session, key.artifact["id"], key.version["digest"], changes)
    users.ben.push()
    assert users.ben.notices == [f"{what} of 'data' has no effect on 'origin': its version is not there, or is deleted"]
    assert list(users.both()) == ["v1"]
    assert users.ben.push().records == 0


def test_a_deletion_and_a_restore(users: Users) -> None:
    """The log decides: what is pushed last holds. A second restore changes nothing."""
    users.ann.delete("data:v0")
    users.ann.push()
    users.meet()
    users.ann.restore("data:v0")
    users.ann.push()
    users.ben.restore("data:v0")
    users.ben.push()
    assert "a restore of 'data' has no effect on 'origin'" in users.ben.notices[0]
    assert list(users.both()) == ["v1", "v0"]
    users.ben.delete("data:v0")
    users.ann.delete("data:v0")
    users.ann.restore("data:v0")
    users.ben.push()
    users.ann.push()
    assert list(users.both()) == ["v1", "v0"]


# ---- aliases -----------------------------------------------------------------------------------------------


def conflict_over_best(users: Users) -> None:
    """Ann has moved 'best' to v1, Ben to v0."""
    users.ann.alias("data:v1", ["best"])
    users.ann.push()
    users.ben.alias("data:v0", ["best"])
    version(users.ben, {"a": "ben's"}, "ben's")
    error = refused(users.ben, AliasConflict)
    assert re.fullmatch(
        r"alias 'best' of 'data' was moved to v1 by ann at 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d on remote 'origin'",
        error.message,
    )
    assert error.hint == "push with --force to move it, or --except-aliases to push the rest"
    assert len(list((users.remote / "log").glob("*.json"))) == 2, "nothing of it was pushed"


def test_an_alias_moved_by_both_and_forced(users: Users) -> None:
    conflict_over_best(users)
    users.ben.push(force=True)
    assert users.aliases() == {"latest": "v2", "best": "v0"}


def test_an_alias_moved_by_both_and_left_out(users: Users) -> None:
    """The rest lands; the alias stays Ann's for all but Ben, until he takes hers or forces his."""
    conflict_over_best(users)
    assert users.ben.push(except_aliases=True).versions == ("demo/data:v2",)
    assert "alias 'best' was left out: somebody else moved it" in users.ben.notices
    users.meet()
    assert users.ann.show("data:best").version == "v1"
    users.ben.alias("data:v1", ["best"])
    users.ben.push()
    assert users.aliases() == {"latest": "v2", "best": "v1"}


def test_an_alias_moved_by_both_to_one_version(users: Users) -> None:
    for one in users[:2]:
        one.alias("data:v0", ["best"])
        one.push()
    assert users.aliases() == {"latest": "v1", "best": "v0"}


def test_an_alias_moved_and_removed(users: Users) -> None:
    """In either order it is a conflict, and the message says what became of it."""
    users.ann.alias("data:v0", ["best", "good"])
    users.ann.push()
    users.meet()
    users.ann.alias("data:v0", ["best"], remove=True)
    users.ann.alias("data:v1", ["good"])
    users.ann.push()
    users.ben.alias("data:v1", ["best"])
    error = refused(users.ben, AliasConflict)
    assert error.message == "alias 'best' of 'data' was removed on remote 'origin' meanwhile"
    users.ben.push(force=True)
    assert users.aliases() == {"latest": "v1", "best": "v1", "good": "v1"}


def test_an_alias_removed_that_the_other_moved(users: Users) -> None:
    users.ann.alias("data:v0", ["best"])
    users.ann.push()
    users.meet()
    users.ann.alias("data:v1", ["best"])
    users.ann.push()
    users.ben.alias("data:v0", ["best"], remove=True)
    assert "was moved to v1 by ann" in refused(users.ben, AliasConflict).message
    users.ben.push(force=True)
    assert users.aliases() == {"latest": "v1"}


def test_latest_is_no_alias_that_conflicts(users: Users) -> None:
    """Whoever lands last has it, named or not."""
    users.ann.alias("data:v0", ["latest"])
    version(users.ben, {"a": "ben's"})
    users.ann.push()
    users.ben.push()
    assert users.aliases() == {"latest": "v2"}


# ---- edits ---------------------------------------------------------------------------------------------------


def test_edits_of_different_fields(users: Users) -> None:
    users.ann.edit("data:v0", description="ann's")
    users.ben.edit("data:v0", metadata={"score": 2})
    users.ann.push()
    users.ben.push()
    assert users.both()["v0"][3:5] == ("ann's", {"score": 2})


def test_edits_of_different_keys_of_metadata(users: Users) -> None:
    """They are put together, key by key; a key that one removed is gone."""
    users.ann.edit("data:v0", metadata={"old": 1, "score": 1})
    users.ann.push()
    users.meet()
    users.ann.edit("data:v0", metadata={"ann": "was here", "old": None})
    users.ben.edit("data:v0", metadata={"score": 2, "ben": [1]})
    users.ann.push()
    assert users.ben.push(dry_run=True).dry_run
    users.ben.push()
    assert users.both()["v0"][4] == {"ann": "was here", "score": 2, "ben": [1]}


def test_edits_of_one_key_of_metadata(users: Users) -> None:
    """A conflict; with --force the second one's metadata stand as a whole."""
    users.ann.edit("data:v0", metadata={"score": 1})
    users.ben.edit("data:v0", metadata={"score": 2})
    users.ann.push()
    error = refused(users.ben)
    assert error.message == "the metadata of 'data:v0' was changed on remote 'origin' meanwhile"
    assert error.hint.endswith("push with --force to replace it")
    users.ben.push(force=True)
    assert users.both()["v0"][4] == {"score": 2}


def test_edits_of_one_description(users: Users) -> None:
    users.ann.edit("data:v0", description="ann's")
    users.ben.edit("data:v0", description="ben's")
    users.ann.push()
    assert refused(users.ben).message == "the description of 'data:v0' was changed on remote 'origin' meanwhile"
    users.ben.push(force=True)
    assert users.both()["v0"][3] == "ben's"


def test_edits_of_an_artifacts_description(users: Users) -> None:
    users.ann.edit(None, artifact="data", description="ann's")
    users.ben.edit(None, artifact="data", description="ben's")
    users.ann.push()
    assert refused(users.ben).message == "the description of artifact 'data' was changed on remote 'origin' meanwhile"
    users.ben.push(force=True)
    users.meet()
    for one in users[:2]:
        assert versions.artifact_description(one.session, resolve.artifact(one.session, "data")) == "ben's"


def test_tags_merge(users: Users) -> None:
    """What one adds and the other removes: both happen."""
    users.ann.tag("data:v0", ["old", "kept"])
    users.ann.push()
    users.meet()
    users.ann.tag("data:v0", ["ann"])
    users.ben.tag("data:v0", ["ben"])
    users.ben.tag("data:v0", ["old"], remove=True)
    users.ann.push()
    users.ben.push()
    assert users.both()["v0"][2] == ("ann", "ben", "kept")


def test_times_to_live(users: Users) -> None:
    """Two for one version are a conflict."""
    for one, ttl in zip(users[:2], ("30d", "60d"), strict=True):
        found = resolve.version(one.session, "data:v0")
        versions.save(one.session, found.artifact["id"], found.version["digest"], versions.Changes(ttl=ttl))
    users.ann.push()
    assert refused(users.ben).message == "the ttl of 'data:v0' was changed on remote 'origin' meanwhile"
    users.ben.push(force=True)
    assert users.both()["v0"][5] == "60d"


def test_the_default_time_to_live(users: Users) -> None:
    """Two values are a conflict; the one that is there is named."""
    users.ann.set_default_ttl("30d")
    users.ben.set_default_ttl("60d")
    users.ann.push()
    error = refused(users.ben)
    assert (
        error.message == "the default time to live of project 'demo' was changed to '30d' on remote 'origin' meanwhile"
    )
    assert error.hint == "push with --force to give it your value, or set it to theirs"
    users.ben.push(force=True)
    users.meet()
    assert (users.ann.default_ttl(), users.ben.default_ttl()) == ("60d", "60d")


def test_a_time_to_live_and_the_list_of_editors(users: Users) -> None:
    """Who is not in the list that is there first has set nothing; it is told, and all else of the push lands."""
    users.ben.set_ttl(["data:v0"], "30d")
    users.ben.set_default_ttl("60d")
    version(users.ben, {"a": "2"})
    users.ann.set_ttl_editors(["ann"])
    users.ann.set_ttl(["data:v0"], "90d")
    users.ann.push()
    users.ben.push()
    why = "has no effect on 'origin': only 'ann' may change times to live (ttl.editors)"
    assert f"a time to live of 'data' {why}" in users.ben.notices
    assert f"a change of the default time to live of project 'demo' {why}" in users.ben.notices
    users.meet()
    for one in users[:2]:
        assert one.show("data:v0").ttl == "90d"
        assert one.default_ttl() is None
        assert [info.version for info in one.log("data")] == ["v2", "v1", "v0"]


# ---- names -----------------------------------------------------------------------------------------------------


def test_a_rename_and_a_new_version(users: Users) -> None:
    """The version lands in the artifact, whatever it is called now, in either order."""
    users.ann.rename("data", "birds")
    version(users.ben, {"a": "ben's"}, "ben's")
    users.ann.push()
    assert users.ben.push().versions == ("demo/birds:v2",)
    assert users.names() == ["birds"]
    version(users.ann, {"a": "ann's"}, "ann's", name="birds")
    users.ben.rename("birds", "data")
    users.ann.push()
    users.ben.push()
    assert users.names() == ["data"]
    assert list(users.both()) == ["v3", "v2", "v1", "v0"]


def test_a_rename_and_a_new_artifact_of_the_old_name(users: Users) -> None:
    """The old name has given numbers, which are never given again: it stays the renamed artifact's."""
    users.ann.rename("data", "birds")
    users.ann.push()
    users.meet()
    (users.ben.root / "one").write_text("1")
    made = users.ben.put(users.ben.root / "one", name="data")
    users.ben.push()
    assert made.version == "v2~"
    assert sorted(users.names()) == ["birds", "data"]


def test_runs_of_both(users: Users) -> None:
    """Records of runs are each their own; a version that both made has both as producers."""
    for one in users[:2]:
        (one.root / "same").write_text("same")
    users.ann.put(users.ann.root / "same", name="results", run_id="runann")
    users.ann.push()
    users.meet()
    users.ben.put(users.ben.root / "same", name="results", run_id="runben")
    users.ben.push()
    users.meet()
    for one in users[:2]:
        assert sorted(one.show("results").produced_by) == ["runann", "runben"]
        assert sorted(run.id for run in one.runs()) == ["runann", "runben"]


# ---- gc of the remote ----------------------------------------------------------------------------------------------


def test_gc_and_who_read_the_log_before(users: Users) -> None:
    """A pull that begins on an old log finds the objects where gc has put them."""
    version(users.ann, {"b": "shared", "c": "2" * 3000}, "third")
    users.ann.push()
    users.meet()
    users.ann.delete("data:v1")
    users.ann.delete("data:v2", delete_aliases=True)
    version(users.ann, {"b": "shared", "a": None, "c": None}, "fourth")
    users.ann.push()
    users.ben.fetch()
    done = users.ann.gc_remote("origin", grace="0s")
    assert done.removed
    assert b"".join(users.ben.read("data:v3", "b")) == b"shared"


def test_the_deletion_of_an_artifact_and_a_version_that_was_not_seen(users: Users) -> None:
    """The deletion is refused: Ben did not mean Ann's new version. Forced it goes, too; taken back it stays."""
    version(users.ann, {"a": "ann's"}, "ann's")
    users.ann.push()
    artifact = resolve.artifact(users.ben.session, "data")
    versions.delete_artifact(users.ben.session, artifact["id"])
    error = refused(users.ben)
    assert error.message == "'data:v2' was made on remote 'origin' by ann while you deleted 'data'"
    assert error.hint == "push with --force to delete it too, or take your deletion back: 'avc undo'"
    users.ben.push(force=True)
    assert users.names() == []


def test_undo_of_what_others_build_on(users: Users) -> None:
    """Undoing a pushed commit deletes its version; what others made on it meanwhile stays."""
    version(users.ann, {"a": "ann's"}, "ann's")
    users.ann.push()
    users.meet()
    with inside(users.ben.root):
        users.ben.checkout("data:v2")
    version(users.ben, {"b": "ben's"}, "ben's")
    users.ben.push()
    users.ann.undo()
    users.ann.push()
    assert [(number, row[3]) for number, row in users.both().items()] == [
        ("v3", "ben's"), ("v1", "second"), ("v0", "first"),
    ]  # fmt: skip
    assert users.aliases() == {"latest": "v3"}
