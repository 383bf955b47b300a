"""``op log`` and ``undo``: what was done is taken back, and done again (protocol N6)."""

from __future__ import annotations

import itertools
import json
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artifactvc.core.results import Operation
from artifactvc.errors import (
    AliasConflict,
    AvcError,
    BadName,
    Collected,
    Conflict,
    NothingToUndo,
    UnknownOperation,
    UnknownVersion,
)
from artifactvc.ops import undo as undoing
from artifactvc.ops import versions
from artifactvc.sdk.repository import Repository
from tests.support import clone, forget_index, inside, new, origin, reopen, tree, version, write

Names = dict[str, Any]


def state(repository: Repository) -> Names:
    """All names as people see them, by content and not by number: what an undo must bring back."""
    rows = repository._session.index.rows
    found: Names = {}
    for artifact in rows.find("artifact", deleted=0):
        key = {"artifact": artifact["id"]}
        live = [v for v in rows.find("version", **key) if v["live"]]
        if not live:
            continue  # spent: only its numbers are left
        found[f"{artifact['project']}/{artifact['name']}"] = {
            "type": artifact["type"],
            "description": versions.artifact_description(repository._session, artifact),
            "tags": json.loads(artifact["tags"] or "[]"),
            "aliases": {a["alias"]: a["digest"] for a in rows.find("alias", **key)},
            "versions": {v["digest"]: _version(repository, v) for v in live},
        }
    drafts = repository._session.avc.drafts.all()
    found["drafts"] = {draft.name: (draft.root, draft.base) for draft in drafts}
    found["ttl"] = repository.default_ttl()
    return found


def _version(repository: Repository, row: dict[str, Any]) -> Names:
    info = repository.show(_ref(repository, row))
    return {"description": info.description, "metadata": info.metadata, "tags": info.tags, "ttl": info.ttl}


def _ref(repository: Repository, row: dict[str, Any]) -> str:
    artifact = repository._session.index.rows.get("artifact", row["artifact"])
    assert artifact is not None
    return f"{artifact['project']}/{artifact['name']}:v{row['number']}"


def last(repository: Repository) -> str:
    return next(repository.operations()).op


@pytest.fixture
def data(tmp_path):
    """A repository with data:v0 of one file."""
    with new(tmp_path / "one") as repository:
        version(repository, {"a": "1"}, "first")
        yield repository


# ---- one of each -------------------------------------------------------------------------------


def _edit(repository: Repository) -> None:
    repository.edit("data", description="other", metadata={"k": 1})


def _save(repository: Repository) -> None:
    """All that ``Artifact.save`` can change, in one entry."""
    row = repository._session.index.rows.find("version")[0]
    changes = versions.Changes("text", {"k": 2}, (("one", "two"), ()), (("t", "u"), ()), "30d")
    versions.save(repository._session, row["artifact"], row["digest"], changes)


def _describe(repository: Repository) -> None:
    row = repository._session.index.rows.find("artifact")[0]
    versions.edit_artifact(repository._session, row["id"], "what it is", (("t", "u"), ()))


def _delete_artifact(repository: Repository) -> None:
    versions.delete_artifact(repository._session, repository._session.index.rows.find("artifact")[0]["id"])


def _link(repository: Repository) -> None:
    found = repository._session.index.rows.find("version")[0]
    versions.link(
        repository._session,
        versions.by_key(repository._session, found["artifact"], found["digest"]),
        "reg",
        "best",
        ["x"],
    )


def _commit(repository: Repository) -> None:
    version(repository, {"a": "2"}, "second")


def _commit_same(repository: Repository) -> None:
    """Content that is there: nothing is made, ``latest`` and the names asked for move."""
    version(repository, {"a": "2"}, "second")
    write(repository.root / "data", {"a": "1"})
    with inside(repository.root):
        repository.add(["data"])
        assert repository.commit(["data"], aliases=["again"], tags=["t"])[0].outcome == "existing"


def _put(repository: Repository) -> None:
    repository.put(str(repository.root / "data"), name="other")


DEEDS: dict[str, Callable[[Repository], object]] = {
    "alias": lambda r: r.alias("data:v0", ["best", "good"]),
    "unalias": lambda r: r.alias("data:v0", ["latest"], remove=True),
    "tag": lambda r: r.tag("data:v0", ["t", "u"]),
    "edit": _edit,
    "edit artifact": lambda r: r.edit(artifact="data", description="what it is"),
    "describe": _describe,
    "save": _save,
    "rename": lambda r: r.rename("data", "fresh"),
    "delete": lambda r: r.delete("data:v0", delete_aliases=True),
    "delete artifact": _delete_artifact,
    "default ttl": lambda r: r.set_default_ttl("30d"),
    "link": _link,
    "commit": _commit,
    "commit same": _commit_same,
    "put": _put,
}


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared"])
@pytest.mark.parametrize("deed", DEEDS)
def test_what_was_done_is_taken_back_and_done_again(data, tmp_path, deed, shared):
    """After the undo all names are as before, after the undo of it as after; the index made anew agrees."""
    if shared:
        origin(data, tmp_path / "remote")
        data.push()
    data.alias("data:v0", ["kept"])
    repository = data
    before, begun = state(repository), last(repository)
    DEEDS[deed](repository)
    after = state(repository)
    assert after != before
    undos = [repository.undo().op for _ in _since(repository, begun)]
    drafts = state(repository).pop("drafts")
    assert {**state(repository), "drafts": {}} == {**before, "drafts": {}}
    assert bool(drafts) == deed.startswith("commit")
    forget_index(repository.root)
    with reopen(repository.root) as again:
        assert {**state(again), "drafts": {}} == {**before, "drafts": {}}
    for op in reversed(undos):
        assert op is not None
        repository.undo(op)
    assert state(repository) == after
    assert repository.fsck(full=True).problems == ()


# ---- commits -----------------------------------------------------------------------------------


def test_an_unpushed_commit_becomes_a_draft_on_its_base(data):
    """The number is spent, the workspace untouched, ``artifacts.toml`` names the base; commit makes the next number."""
    version(data, {"a": "2", "b": "new"})
    files = tree(data.root / "data")
    undone = data.undo()
    assert (undone.command, undone.drafts) == ("commit", ("data",))
    assert tree(data.root / "data") == files
    assert 'version = "v0"' in (data.root / "artifacts.toml").read_text()
    (status,) = data.status().artifacts
    assert (status.base, [change.path for change in status.staged], status.unstaged) == ("v0", ["a", "b"], ())
    with pytest.raises(UnknownVersion):
        data.show("data:v1")
    assert data.show("data").version == "v0"
    assert data.commit()[0].version == "v2"


def test_the_first_commit_undone_leaves_no_name(tmp_path):
    with new(tmp_path / "one") as repository:
        version(repository, {"a": "1"})
        repository.undo()
        assert list(repository.artifacts()) == []
        assert "version" not in (repository.root / "artifacts.toml").read_text()
        assert repository.commit()[0].version == "v1"
        with pytest.raises(NothingToUndo) as caught:
            for _ in range(3):
                repository.undo()
        assert "avc reset" in caught.value.hint


def test_what_was_staged_since_stays(data):
    """What was staged on the undone version holds it: the draft goes on, on the base before."""
    version(data, {"b": "2"})
    write(data.root / "data", {"c": "3"})
    with inside(data.root):
        data.add(["data"])
    data.undo()
    (status,) = data.status().artifacts
    assert [change.path for change in status.staged] == ["b", "c"]
    assert data.notices == ["what is staged is no operation of the log, and stays: 'avc reset NAME' drops it"]


def test_a_draft_on_another_base_is_not_touched(data):
    version(data, {"b": "2"})
    with inside(data.root):
        data.checkout("data:v0")
        write(data.root / "data", {"c": "3"})
        data.add(["data"])
    before = state(data)
    with pytest.raises(Conflict, match="'data' has staged changes that are not made from it"):
        data.undo()
    assert state(data) == before
    data.reset("data")
    data.undo()
    assert data.status().artifacts[0].staged


def test_a_pushed_commit_is_deleted(data, tmp_path):
    """No draft comes back; others see the deletion with the next push, and ``latest`` where it stood."""
    origin(data, tmp_path / "remote")
    version(data, {"a": "2"})
    data.push()
    undone = data.undo()
    assert undone.drafts == ()
    assert data.notices[-1] == "'origin' holds what was taken back: run 'avc push' to take it back there, too"
    data.push()
    with clone(tmp_path / "remote", tmp_path / "other") as other:
        assert [info.version for info in other.log("data")] == ["v0"]
        assert other.show("data").version == "v0"
        assert state(other) == {**state(data), "drafts": {}}
    data.undo(undone.op)
    assert data.show("data").version == "v1"


@pytest.mark.parametrize("step", ["draft", "bindings", "entry"])
@pytest.mark.parametrize("then", ["undo", "commit"])
def test_an_undo_that_was_killed_is_done_again_or_committed(data, monkeypatch, step, then):
    """Killed behind any step: the version is there with a draft equal to it, or the undo is done; nothing between."""
    version(data, {"a": "2"})
    after = state(data)

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if step == "draft":
            patch.setattr(undoing, "_bind", killed)
        elif step == "bindings":
            patch.setattr(data._session.avc.log, "create", killed)
        else:
            create = data._session.avc.log.create
            patch.setattr(data._session.avc.log, "create", lambda n, entry: killed(create(n, entry)))
        with pytest.raises(KeyboardInterrupt):
            data.undo()
    root = data.root
    with reopen(root) as again:
        assert (step == "entry") == (again.show("data").version == "v0")
        if then == "commit":
            (done,) = again.commit()
            assert (done.version, done.outcome) == (("v2", "created") if step == "entry" else ("v1", "existing"))
            assert state(again) == after
            return
        if step != "entry":
            assert again.undo().drafts == ("data",)
        (status,) = again.status().artifacts
        assert (status.base, [change.path for change in status.staged]) == ("v0", ["a"])
        assert again.fsck(full=True).problems == ()


# ---- which one ---------------------------------------------------------------------------------


def test_undo_walks_back_and_redo_is_an_undo_of_the_undo(data):
    for name in ("one", "two"):
        data.alias("data", [name])
    assert data.undo().changes == ("took 'two' off demo/data",)
    first = data.undo()
    assert first.changes == ("took 'one' off demo/data",)
    again = data.undo(first.op)
    assert again.summary == f"took back {first.undoes[:12]} (alias): took 'one' off demo/data"
    assert data.show("data:one").version == "v0"
    assert data.undo().undoes == again.op  # what was done again is the last that was done
    with pytest.raises(Conflict, match=f"operation '{first.undoes[:12]}' is taken back already"):
        data.undo(first.undoes[:7])


def test_an_operation_that_was_done_again_is_named_by_its_own_id(data):
    data.alias("data", ["one"])
    undone = data.undo()
    again = data.undo(undone.op)
    assert data.undo(undone.undoes).undoes == again.op


def test_ids_that_are_none(data):
    with pytest.raises(BadName, match="'abc' is no operation"):
        data.undo("abc")
    with pytest.raises(UnknownOperation, match="no operation '0123456' was done here") as caught:
        data.undo("0123456")
    assert "op log" in caught.value.hint


def test_an_entry_of_a_push_is_not_undone(data, tmp_path):
    origin(data, tmp_path / "remote")
    data.push()
    entry = json.loads((tmp_path / "remote" / "log" / f"{0:020d}.json").read_bytes())
    with pytest.raises(UnknownOperation) as caught:
        data.undo(entry["op"])
    assert "undo what was done, not the push" in caught.value.hint


def test_what_runs_recorded_stays(data):
    run = data.put(str(data.root / "data"), name="other").run
    assert run is not None
    data.undo()
    assert data.run_info(run).produced[0].live is False
    entries = list(data.operations())
    assert [entry.command for entry in entries] == ["undo", "put", "commit"]


def test_op_log(data, tmp_path):
    """Newest first: what was done, where it is known, what became of it."""
    origin(data, tmp_path / "remote")
    data.push()
    data.rename("data", "fresh")
    data.undo()
    undo, rename, commit = data.operations()
    assert [entry.n for entry in (undo, rename, commit)] == [2, 1, 0]
    assert [entry.where for entry in (undo, rename, commit)] == ["here", "here", "origin"]
    assert [entry.undoable for entry in (undo, rename, commit)] == [True, False, True]
    assert (rename.undone_by, undo.undoes) == (undo.op, rename.op)
    assert commit.summary == "made demo/data:v0"
    assert rename.summary == "renamed 'data' to 'fresh'"
    assert undo.summary == f"took back {rename.op[:12]} (rename): renamed 'fresh' to 'data'"
    assert [entry.op for entry in data.operations(limit=1)] == [undo.op]


def test_op_log_reads_what_it_shows(data, monkeypatch):
    """Cost follows N, not the history."""
    for i in range(10):
        data.tag("data", [f"t{i}"])
    log, read = data._session.avc.log, []
    data._session.index  # noqa: B018  caught up
    original = log.data
    monkeypatch.setattr(log, "data", lambda n: (read.append(n), original(n))[1])
    assert len(list(data.operations(limit=2))) == 2
    assert read == [10, 9]


def test_dry_run_changes_nothing(data):
    version(data, {"a": "2"})
    before, head = state(data), last(data)
    would = data.undo(dry_run=True)
    assert (would.op, would.drafts, would.dry_run) == (None, ("data",), True)
    assert (state(data), last(data)) == (before, head)
    assert data.undo().changes == would.changes


# ---- what stands in the way --------------------------------------------------------------------


def test_an_alias_that_moved_on(data):
    version(data, {"a": "2"})
    data.alias("data:v0", ["best"])
    first = last(data)
    data.alias("data:v1", ["best"])
    by = last(data)
    before = state(data)
    with pytest.raises(Conflict) as caught:
        data.undo(first)
    assert caught.value.message == (
        f"cannot undo operation '{first[:12]}' (alias): the alias 'best' of 'data' is at 'v1' now,"
        f" by operation '{by[:12]}' (alias)"
    )
    assert caught.value.hint == f"run 'avc undo {by[:12]}' first"
    assert (state(data), last(data)) == (before, by)
    data.undo(by)
    data.undo(first)
    assert "best" not in data.show("data:v0").aliases


def test_a_version_with_an_alias_given_since(data):
    version(data, {"a": "2"})
    made = last(data)
    data.alias("data:v1", ["best"])
    with pytest.raises(Conflict, match=rf"'v1' has the alias 'best', by operation '{last(data)[:12]}' \(alias\)"):
        data.undo(made)


def test_a_version_that_was_deleted_since(data):
    version(data, {"a": "2"})
    made = last(data)
    data.delete("data:v1", delete_aliases=True)
    with pytest.raises(Conflict, match=rf"is deleted, by operation '{last(data)[:12]}' \(delete\)"):
        data.undo(made)


def test_an_artifact_that_was_renamed_twice(data):
    data.rename("data", "one")
    first = last(data)
    data.rename("one", "two")
    with pytest.raises(Conflict, match=rf"'one' is called 'two' now, by operation '{last(data)[:12]}' \(rename\)"):
        data.undo(first)


def test_a_name_that_another_artifact_got_since(data):
    """N3: an artifact that was made under the old name keeps it, even undone, for its numbers were given."""
    data.rename("data", "one")
    renamed = last(data)
    data.put(str(data.root / "data"), name="data")
    data.undo()
    with pytest.raises(Conflict, match=rf"cannot undo operation '{renamed[:12]}' \(rename\): the name 'data' belongs"):
        data.undo()


def test_metadata_that_was_changed_since(data):
    data.edit("data", metadata={"k": 1})
    first = last(data)
    data.edit("data", description="other")
    data.undo(first)  # another field
    data.undo(last(data))
    data.edit("data", metadata={"k": 2})
    with pytest.raises(Conflict, match="the metadata of 'v0' was changed, by operation"):
        data.undo(first)


def test_content_that_is_live_again_under_another_number(data):
    """P5: equal content is one live version; the undo of the deletion says which."""
    data.delete("data:v0", delete_aliases=True)
    deleted = last(data)
    data.put(str(data.root / "data"), name="data")
    with pytest.raises(Conflict, match="its content is live as 'data:v1'"):
        data.undo(deleted)


def test_a_version_that_others_asked_for_again(data):
    """A later commit that got this version keeps it."""
    version(data, {"a": "2"})
    made = last(data)
    data.put(str(data.root / "data"), name="data")
    with pytest.raises(Conflict, match=r"'data:v1' was asked for again, by operation .* \(put\)"):
        data.undo(made)


def test_what_gc_has_taken_is_named(tmp_path):
    """The bytes are gone: which files, how many bytes; nothing is changed."""
    with new(tmp_path / "one") as repository:
        version(repository, {"a": "1"})
        version(repository, {"a": "1", "big": "x" * 5000, "more": "y" * 100})
        repository.delete("data:v1", delete_aliases=True)
        for _ in range(2):
            repository.gc(grace="0s")
        before = state(repository), last(repository)
        with pytest.raises(Collected) as caught:
            repository.undo()
        assert re.fullmatch(r"cannot undo: gc has removed what demo/data:v1 needs: .*", caught.value.message), (
            caught.value.message
        )
        assert (state(repository), last(repository)) == before


def test_files_that_gc_has_taken_are_named(tmp_path):
    """Where the list of files is still here, each that is gone is named."""
    with new(tmp_path / "one") as repository:
        version(repository, {"a": "1", "big": "x" * 300_000})
        repository.delete("data:v0", delete_aliases=True)
        shutil.rmtree(repository.root / ".artifacts" / "objects")
        with pytest.raises(Collected, match=r"needs: 'big' \(300,000 bytes\)"):
            repository.undo()


# ---- with others -------------------------------------------------------------------------------


@pytest.fixture
def two(data, tmp_path):
    """Two clones of a remote that holds data:v0."""
    origin(data, tmp_path / "remote")
    data.push()
    with clone(tmp_path / "remote", tmp_path / "other") as other:
        other.pull()
        yield data, other


def test_an_undo_of_what_others_changed_is_refused_at_the_push(two):
    """N4: the undo's ``was`` is what this clone knew."""
    one, other = two
    one.alias("data", ["best"])
    one.push()
    other.fetch()
    other.put(str(one.root / "artifacts.toml"), name="data")
    other.alias("data:v1", ["best"])
    other.push()
    one.undo()
    with pytest.raises(AliasConflict, match="alias 'best' of 'data' was moved to v1"):
        one.push()


def test_an_undo_of_what_others_changed_is_refused_here_after_a_fetch(two):
    one, other = two
    one.alias("data", ["best"])
    one.push()
    other.fetch()
    other.put(str(one.root / "artifacts.toml"), name="data")
    other.alias("data:v1", ["best"])
    other.push()
    one.fetch()
    with pytest.raises(Conflict) as caught:
        one.undo()
    assert "others may have done it" in caught.value.hint


def test_an_undo_deletes_only_what_it_made(two):
    """Others have made the same content a version meanwhile: theirs stays, in every clone."""
    one, other = two
    version(one, {"a": "2"})
    write(other.root / "data", {"a": "2"})
    other.put(str(other.root / "data"), name="data")
    other.push()
    one.undo()
    one.push()
    other.fetch()
    for repository in two:
        assert [info.version for info in repository.log("data")] == ["v1", "v0"]
        assert repository.show("data").version == "v1"


def test_latest_goes_back_to_what_others_pushed_meanwhile(two):
    """N4: ``latest`` follows the log of origin, also back."""
    one, other = two
    version(one, {"a": "mine"})
    one.undo()
    one.reset("data")
    other.put(str(one.root / "artifacts.toml"), name="data")
    other.push()
    one.push()
    other.fetch()
    for repository in two:
        assert repository.show("data").version == "v1"
        assert [info.version for info in repository.log("data")] == ["v1", "v0"]


def test_a_name_that_was_given_up_by_undo_can_be_taken_by_others(two):
    one, other = two
    one.put(str(one.root / "data"), name="new")
    one.undo()
    other.put(str(one.root / "artifacts.toml"), name="new")
    other.push()
    one.push()
    assert one.show("new").digest == other.show("new").digest


# ---- many at random ------------------------------------------------------------------------------


class Random:
    """Random commands of one user; those that cannot be done are passed over."""

    def __init__(self, repository: Repository, rng: random.Random) -> None:
        self.repository, self.rng = repository, rng
        self.names, self.fresh = ["data", "model", "x", "y"], 0
        self.files = repository.root / "elsewhere"

    def step(self) -> bool:
        """Do one thing; False if it was refused, and then nothing has changed."""
        before = last_or_none(self.repository)
        deed = self.rng.choice([
            self.commit, self.commit, self.put, self.alias, self.alias, self.unalias, self.tag, self.untag, self.edit,
            self.describe, self.rename, self.delete, self.delete, self.restore, self.ttl, self.link,
            self.delete_artifact,
        ])  # fmt: skip
        try:
            deed()
        except AvcError:
            assert last_or_none(self.repository) == before
            return False
        return last_or_none(self.repository) != before

    def name(self) -> str:
        return self.rng.choice(self.names)

    def ref(self) -> str:
        return f"{self.name()}:v{self.rng.randrange(4)}"

    def fill(self, directory: Path) -> None:
        write(directory, {"a": str(self.rng.randrange(3)), "b": str(self.rng.randrange(2))})

    def commit(self) -> None:
        name = self.name()
        self.fill(self.repository.root / name)
        with inside(self.repository.root):
            self.repository.add([name])
            self.repository.commit(
                [name], message=self.rng.choice((None, "text")), aliases=self.rng.choice(([], ["best"])),
                tags=self.rng.choice(([], ["t"])),
            )  # fmt: skip

    def put(self) -> None:
        self.fill(self.files)
        self.repository.put(str(self.files), name=self.name())

    def alias(self) -> None:
        self.repository.alias(self.ref(), [self.rng.choice(("best", "good", "latest"))])

    def unalias(self) -> None:
        self.repository.alias(self.ref(), [self.rng.choice(("best", "latest"))], remove=True)

    def tag(self) -> None:
        self.repository.tag(self.ref(), ["t", self.rng.choice(("t", "u"))])

    def untag(self) -> None:
        self.repository.tag(self.ref(), ["t"], remove=True)

    def edit(self) -> None:
        self.repository.edit(self.ref(), description=self.rng.choice((None, "d")), metadata={"k": self.rng.random()})

    def describe(self) -> None:
        self.repository.edit(artifact=self.name(), description=str(self.rng.random()))

    def rename(self) -> None:
        """To a name that is new; the old one is not used again: an artifact made under it would keep it (N3)."""
        old = self.name()
        self.repository.rename(old, f"n{self.fresh}")
        self.names[self.names.index(old)], self.fresh = f"n{self.fresh}", self.fresh + 1

    def delete(self) -> None:
        self.repository.delete(self.ref(), delete_aliases=True)

    def restore(self) -> None:
        self.repository.restore(self.ref())

    def ttl(self) -> None:
        self.repository.set_default_ttl(self.rng.choice(("10d", "20d", None)))

    def link(self) -> None:
        source = versions.anywhere(self.repository._session, _parsed(self.ref()), "")[0]
        versions.link(self.repository._session, source, self.repository.project, self.name(), ["good"])

    def delete_artifact(self) -> None:
        rows = self.repository._session.index.rows.find("artifact", deleted=0)
        if rows and self.rng.random() < 0.3:
            versions.delete_artifact(self.repository._session, self.rng.choice(rows)["id"])


def _parsed(text: str) -> Any:
    from artifactvc.core.names import parse_ref

    return parse_ref(text)


def last_or_none(repository: Repository) -> str | None:
    return next((entry.op for entry in repository.operations()), None)


def _without_drafts(names: Names) -> Names:
    return {**names, "drafts": {}}


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared"])
def test_random_commands_are_all_taken_back_and_done_again(tmp_path, rng, soak, shared):
    """Newest first, each undo brings back the names as they were; the undos undone, as they were after."""
    for turn in range(6 * soak):
        with new(tmp_path / f"{turn}") as repository:
            if shared:
                origin(repository, tmp_path / f"remote{turn}")
            user = Random(repository, rng)
            states: list[Names | None] = [state(repository)]  # None: between two entries of one command
            while len(states) < 12:
                before = last_or_none(repository)
                user.step()
                made = [entry for entry in _since(repository, before) if entry.undoable]
                states += [None] * (len(made) - 1) + ([state(repository)] if made else [])
            undos = []
            for expected in reversed(states[:-1]):
                if shared and rng.random() < 0.2:
                    repository.push()
                undone = repository.undo()
                undos.append(undone.op)
                if undone.drafts:
                    repository.reset(undone.drafts[0])
                if expected is not None:
                    assert _without_drafts(state(repository)) == _without_drafts(expected)
            with pytest.raises(NothingToUndo):
                repository.undo()
            for op, expected in zip(reversed(undos), states[1:], strict=True):
                repository.undo(op)
                if expected is not None:
                    assert _without_drafts(state(repository)) == _without_drafts(expected)
            before = state(repository)
            forget_index(repository.root)
            with reopen(repository.root) as again:
                assert state(again) == before
            if shared:
                repository.push()
                with clone(tmp_path / f"remote{turn}", tmp_path / f"clone{turn}") as other:
                    assert _without_drafts(state(other)) == _without_drafts(state(repository))


def _since(repository: Repository, op: str | None) -> list[Operation]:
    return list(itertools.takewhile(lambda entry: entry.op != op, repository.operations()))
