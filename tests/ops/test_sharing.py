"""Two clones and a remote: numbers, aliases, names and bytes that meet (protocol N1 to N5, P1 to P8, R2, R3)."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from artifactvc.errors import (
    AliasConflict,
    BrokenChain,
    Conflict,
    MissingObject,
    NameTaken,
    NewerFormat,
    OutcomeUnknown,
    RemoteUnavailable,
    StaleVersion,
    UnknownRemote,
    UsageError,
)
from artifactvc.sdk.repository import Repository
from artifactvc.storage.directory import DirectoryTransport
from tests.support import ENVIRON, clone, inside, new, origin, reopen, tree, version, write


def numbers(repository: Repository, name: str = "data") -> list[tuple[str, str]]:
    return [(info.version, info.digest) for info in repository.log(name)]


@pytest.fixture
def two(tmp_path):
    """Two clones of one remote that holds data:v0."""
    one = new(tmp_path / "one")
    origin(one, tmp_path / "remote")
    version(one, {"a": "1"}, "first")
    one.push()
    other = clone(tmp_path / "remote", tmp_path / "other")
    other.pull()
    with inside(other.root):
        other.checkout("data")
    yield one, other
    one.close()
    other.close()


def test_push_clone_pull_checkout_gives_the_same_directory(two):
    one, other = two
    assert tree(other.root / "data") == tree(one.root / "data")
    assert numbers(one) == numbers(other)
    assert other.fsck(full=True).problems == ()


def test_a_number_is_provisional_until_origin_gives_it(two):
    one, _ = two
    assert version(one, {"a": "2"}) == "v1~"
    assert one.show("data:v1").version == "v1~"
    assert one.show("data:latest").digest == one.show("data:v1").digest
    one.push()
    assert one.show("data:v1").version == "v1"


def test_who_pushes_second_is_renumbered(two):
    """N2: everything stored refers to digests; the number is for reading, and moves up."""
    one, other = two
    version(one, {"a": "one's"})
    version(other, {"a": "other's"}, "kept through it all")
    mine = other.show("data:v1")
    other.alias("data:v1", ["mine"])
    one.push()
    pushed = other.push()
    assert pushed.renumbered == ("demo/data: v1~ is now v2~",)
    assert other.show("data:mine").version == "v2"
    assert other.show("data:v2").digest == mine.digest
    assert other.show("data:v2").description == "kept through it all"
    assert f'version = "v2"\ndigest = "{mine.digest}"' in (other.root / "artifacts.toml").read_text()
    one.fetch()
    assert numbers(one) == numbers(other)
    assert len(numbers(one)) == 3


def test_fetch_renumbers_and_says_so_when_the_old_number_is_asked_for(two):
    one, other = two
    version(one, {"a": "one's"})
    version(other, {"a": "other's"})
    one.push()
    fetched = other.fetch()
    assert fetched.renumbered == ("demo/data: v1~ is now v2~",)
    assert other.show("data:v2").version == "v2~"
    other.notices.clear()
    assert other.show("data:v1").digest == one.show("data:v1").digest
    assert any("is now v2" in text for text in other.notices)


def test_equal_content_from_both_is_one_version(two):
    """P5: content that a live version has makes no new one, whoever pushes it."""
    one, other = two
    version(one, {"a": "same"})
    version(other, {"a": "same"})
    one.push()
    other.push()
    one.fetch()
    assert numbers(one) == numbers(other)
    assert len(numbers(one)) == 2


def test_equal_content_of_a_deleted_version_gets_a_new_number(two):
    one, _ = two
    version(one, {"a": "2"})
    one.delete("data:v1", delete_aliases=True)
    with inside(one.root):
        one.checkout("data:v0")
    assert version(one, {"a": "2"}) == "v2~"


def test_an_alias_that_somebody_moved_refuses_the_whole_push(two):
    one, other = two
    version(one, {"a": "2"})
    one.alias("data:v1", ["best"])
    one.push()
    other.alias("data:v0", ["best"])
    version(other, {"a": "3"})
    with pytest.raises(AliasConflict, match="best") as caught:
        other.push()
    assert "tester" in caught.value.message, "it names who moved it"
    assert "--force" in caught.value.hint
    one.fetch()
    assert len(numbers(one)) == 2, "nothing was pushed"


def test_except_aliases_pushes_the_rest_and_force_moves_it(two):
    one, other = two
    version(one, {"a": "2"})
    one.alias("data:v1", ["best"])
    one.push()
    other.alias("data:v0", ["best"])
    version(other, {"a": "3"})
    assert other.push(except_aliases=True).versions == ("demo/data:v2",)
    one.fetch()
    assert one.show("data:best").version == "v1"
    other.alias("data:v0", ["best"])
    other.push(force=True)
    one.fetch()
    assert one.show("data:best").version == "v0"


def test_latest_follows_the_log_and_never_conflicts(two):
    one, other = two
    version(one, {"a": "one's"})
    version(other, {"a": "other's"})
    other.push()
    one.push()
    other.fetch()
    assert one.show("data").digest == other.show("data").digest
    assert one.show("data").version == "v2"


def test_a_name_that_both_began_is_joined_only_when_asked(tmp_path):
    one, other = new(tmp_path / "one"), new(tmp_path / "other")
    origin(one, tmp_path / "remote")
    version(one, {"a": "1"})
    one.push()
    version(other, {"a": "2"})
    origin(other, tmp_path / "remote")
    with pytest.raises(NameTaken, match="another artifact 'demo/data'") as caught:
        other.push()
    assert "--join" in caught.value.hint
    other.push(join=True)
    one.fetch()
    assert [number for number, _ in numbers(one)] == ["v1", "v0"]
    assert numbers(one) == numbers(other)


def test_deletion_and_restoring_travel(two):
    one, other = two
    version(one, {"a": "2"})
    one.push()
    other.fetch()
    one.delete("data:v0")
    one.push()
    other.fetch()
    assert [number for number, _ in numbers(other)] == ["v1"]
    other.restore("data:v0")
    other.push()
    one.fetch()
    assert [number for number, _ in numbers(one)] == ["v1", "v0"]


def test_a_push_with_nothing_new_reads_the_log_once(two, monkeypatch):
    one, _ = two
    asked: list[str] = []
    real = DirectoryTransport.read

    def read(self: DirectoryTransport, name: str, *, limit: int) -> bytes:
        asked.append(name)
        return real(self, name, limit=limit)

    monkeypatch.setattr(DirectoryTransport, "read", read)
    monkeypatch.setattr(DirectoryTransport, "upload", lambda self, name, *rest, **more: pytest.fail(f"wrote {name}"))
    assert one.push().records == 0
    assert asked == ["log/00000000000000000001.json"]


def test_only_what_the_remote_lacks_is_sent(two):
    one, _ = two
    version(one, {f"many/{i}": f"content {i}" for i in range(300)})
    first = one.push()
    version(one, {"many/7": "changed"})
    second = one.push()
    assert first.objects > 300
    assert second.objects <= 5, "one file, the nodes above it, nothing else"


def test_nothing_is_listed(two, monkeypatch):
    """Push, pull, fetch and clone learn every name from the log (protocol, idea 5)."""
    one, other = two
    import os

    remote = Path(one.remotes()[0].url)

    def guard(function):
        def listed(path=".", *rest):
            assert not str(path).startswith(str(remote)), f"listed {path}"
            return function(path, *rest)

        return listed

    monkeypatch.setattr(os, "listdir", guard(os.listdir))
    monkeypatch.setattr(os, "scandir", guard(os.scandir))
    version(one, {"a": "2"})
    one.push()
    other.pull()
    third = clone(remote, remote.parent / "third")
    third.pull()
    assert numbers(third) == numbers(one)


# ---- doubt (P8) ---------------------------------------------------------------------------------------


@pytest.fixture
def losing(monkeypatch):
    """Answers of ``create`` for log entries get lost, *times* times, *before* or *after* the entry is made."""
    real = DirectoryTransport.create
    state = {"when": "", "times": 0}

    def create(self: DirectoryTransport, name: str, data: bytes) -> bool:
        if not name.startswith("log/") or not state["times"]:
            return real(self, name, data)
        state["times"] -= 1
        if state["when"] == "after":
            real(self, name, data)
        raise OutcomeUnknown("no answer came", hint="try again")

    monkeypatch.setattr(DirectoryTransport, "create", create)
    monkeypatch.setattr("artifactvc.util.backoff.time.sleep", lambda seconds: None)
    return state


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_answer_is_looked_up_and_doubles_nothing(two, losing, when):
    one, other = two
    version(one, {"a": "2"})
    losing.update(when=when, times=1)
    assert one.push().versions == ("demo/data:v1",)
    assert losing["times"] == 0
    other.fetch()
    assert [number for number, _ in numbers(other)] == ["v1", "v0"]
    assert other.fetch().head == 1, "the entry stands once"


def test_a_push_that_gives_up_is_found_again_by_the_next(two, losing, monkeypatch):
    """The entry landed, but no answer ever came: the next push looks for it first."""
    one, other = two
    version(one, {"a": "2"})
    from artifactvc.ops import push

    real = push._look
    monkeypatch.setattr(push, "_look", lambda remote, n: None)
    losing.update(when="after", times=1000)
    with pytest.raises(OutcomeUnknown, match="unknown, it may still land") as caught:
        one.push()
    assert "again" in caught.value.hint
    monkeypatch.setattr(push, "_look", real)
    losing.update(times=0)
    version(one, {"a": "3"})
    one.push()
    other.fetch()
    assert [number for number, _ in numbers(other)] == ["v2", "v1", "v0"]
    assert numbers(one) == numbers(other)


def test_files_already_sent_are_not_sent_again(two, monkeypatch):
    one, other = two
    version(one, {f"f{i}": f"content {i}" for i in range(50)})
    real = DirectoryTransport.upload
    sent: list[str] = []

    def upload(self: DirectoryTransport, name: str, *rest: object, **more: object) -> None:
        if name.startswith("index/"):
            raise RemoteUnavailable("the cable is out", hint="")
        sent.append(name)
        real(self, name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(DirectoryTransport, "upload", upload)
    with pytest.raises(RemoteUnavailable):
        one.push()
    assert len(sent) == 1
    monkeypatch.setattr(DirectoryTransport, "upload", real)
    assert one.push().files == 0, "the journal remembers what is there"
    other.pull(None, ["data:v1"])
    assert other.fsck(full=True).problems == ()


# ---- what a remote may turn out to be --------------------------------------------------------------


def test_an_unknown_remote_names_near_ones(two):
    one, _ = two
    with pytest.raises(UnknownRemote, match="no remote 'orgin'") as caught:
        one.push("orgin")
    assert caught.value.hint == "did you mean 'origin'?"


def test_a_remote_that_is_gone_is_unavailable(two):
    one, _ = two
    shutil.move(one.remotes()[0].url, one.remotes()[0].url + ".away")
    version(one, {"a": "2"})
    with pytest.raises(RemoteUnavailable, match="is not there") as caught:
        one.push()
    assert "mounted" in caught.value.hint
    shutil.move(one.remotes()[0].url + ".away", one.remotes()[0].url)
    assert one.push().versions == ("demo/data:v1",)


def test_a_remote_that_was_replaced_is_not_written_to(two):
    one, _ = two
    remote = Path(one.remotes()[0].url)
    shutil.rmtree(remote)
    stranger = new(remote.parent / "stranger")
    origin(stranger, remote)
    version(one, {"a": "2"})
    with pytest.raises(BrokenChain, match="is not the one that was added"):
        one.push()
    assert not list((remote / "packs").glob("*")) if (remote / "packs").exists() else True


def test_a_log_that_was_rewound_stops_who_read_further(two):
    """R3: what was read is remembered by digest, and a chain that does not continue it is refused."""
    one, other = two
    remote = Path(one.remotes()[0].url)
    version(one, {"a": "2"})
    one.push()
    entry = remote / "log" / "00000000000000000001.json"
    entry.unlink()
    version(other, {"a": "3"})
    other.push()
    version(one, {"a": "4"})
    with pytest.raises(BrokenChain, match="entry 1 of remote 'origin' is not the one that was read before"):
        one.push()
    entry.unlink()
    with pytest.raises(BrokenChain, match="entry 1 of remote 'origin' is gone"):
        one.push()
    with pytest.raises(BrokenChain, match="entry 1 of remote 'origin' is gone"):
        one.pull()
    assert not (remote / "log" / "00000000000000000002.json").exists()


def test_a_hole_in_bytes_is_said_by_the_push(two):
    """P6: who lacks the bytes copies them from elsewhere, else the push fails and names the object."""
    one, _ = two
    version(one, {"a": "precious"})
    digest, one_root = next(e.digest for e in one.entries("data:v1") if e.path == "a"), one.show("data:v1").digest
    for pack in (one.root / ".artifacts" / "packs").glob("*.pack"):
        pack.unlink()
    one.close()
    again = reopen(one.root)
    with pytest.raises(MissingObject) as caught:
        again.push()
    assert re.fullmatch(
        "object '[0-9a-f]{12}' is not here, on 'origin' or any other remote; nothing was pushed", caught.value.message
    )
    assert caught.value.digest in (digest, one_root)
    assert json.loads((Path(again.remotes()[0].url) / "avc.json").read_bytes())["format"] == 1


def test_artifacts_toml_that_names_other_content_is_an_error(two):
    one, other = two
    version(one, {"a": "2"})
    one.push()
    other.fetch()
    path = other.root / "artifacts.toml"
    text = path.read_text()
    path.write_text(text.replace(one.show("data:v0").digest, "ab" * 32))
    other.close()
    with pytest.raises(StaleVersion, match=r"artifacts\.toml names data:v0 with content abababababab"):
        reopen(other.root).pull()


def test_pull_brings_bytes_and_leaves_the_workspace(two):
    one, other = two
    version(one, {"a": "2", "b": "new"})
    one.push()
    before = tree(other.root / "data")
    pulled = other.pull(None, ["data:v1"])
    assert tree(other.root / "data") == before
    assert pulled.checkouts == ("avc checkout data:v1",)
    assert pulled.objects >= 3, "two files and the node that names them"


def test_a_second_remote_receives_origins_numbers(two, tmp_path):
    from artifactvc.sdk.repository import RemoteOptions

    one, _ = two
    one.remote_add("backup", str(tmp_path / "backup"), options=RemoteOptions())
    assert one.push("backup").versions == ("demo/data:v0",)
    there = clone(tmp_path / "backup", tmp_path / "restored")
    assert numbers(there) == numbers(one)
    there.pull()
    with inside(there.root):
        there.checkout("data")
    assert tree(there.root / "data") == tree(one.root / "data")


def test_git_clone_then_init_then_pull(two, tmp_path):
    """artifacts.toml goes with Git: the remote and the versions are found in it."""
    one, _ = two
    fresh = tmp_path / "from-git"
    fresh.mkdir()
    shutil.copy(one.root / "artifacts.toml", fresh / "artifacts.toml")
    repository, made = Repository.init(fresh, environ={"AVC_USER": "x", "HOME": "/nonexistent"})
    assert made.remote == one.remotes()[0].url
    repository.pull()
    with inside(fresh):
        repository.checkout("demo/data:v0")
    assert tree(fresh / "data") == tree(one.root / "data")


def test_drafts_are_never_pushed(two):
    one, other = two
    write(one.root, {"data/draft": "secret"})
    with inside(one.root):
        one.add(["data"])
    assert one.push().records == 0
    with inside(one.root):
        one.reset("data")
        (one.root / "data" / "draft").unlink()
    version(one, {"a": "2"})
    one.push()
    remote = Path(one.remotes()[0].url)
    sent = b"".join(path.read_bytes() for path in remote.rglob("*") if path.is_file())
    assert b"secret" not in sent, "a pack that holds a draft's bytes is not sent as it is"
    other.fetch()


# ---- renames that meet -----------------------------------------------------------------------------


@pytest.fixture
def renamed(two):
    """Two clones that renamed one artifact, the other pushed first."""
    one, other = two
    other.rename("data", "theirs")
    other.push()
    one.rename("data", "mine")
    version(one, {"b": "1"}, name="beside")
    with pytest.raises(Conflict) as caught:
        one.push()
    assert caught.value.message == "'data' was renamed to 'theirs' on remote 'origin', and to 'mine' here"
    assert caught.value.hint == (
        "run 'avc rename theirs theirs' to keep that name, or push with --force to give it yours"
    )
    return one, other


def test_the_other_name_can_be_kept(renamed):
    """The hint's first way out: the push lands all else, and both clones agree."""
    one, other = renamed
    one.rename("theirs", "theirs")
    assert one.push().versions == ("demo/beside:v0",)
    other.fetch()
    assert sorted(a.name for a in one.artifacts()) == sorted(a.name for a in other.artifacts()) == ["beside", "theirs"]
    assert one.push().records == 0


def test_the_name_can_be_given_again(renamed):
    """A rename made since then, from their name, lands as it is."""
    one, other = renamed
    one.rename("theirs", "third")
    one.push()
    other.fetch()
    assert sorted(a.name for a in one.artifacts()) == sorted(a.name for a in other.artifacts()) == ["beside", "third"]


def test_force_gives_it_our_name(renamed):
    """The hint's second way out."""
    one, other = renamed
    one.push(force=True)
    other.fetch()
    assert sorted(a.name for a in one.artifacts()) == sorted(a.name for a in other.artifacts()) == ["beside", "mine"]


def test_a_rename_to_a_name_that_is_taken_there(two):
    """Another name is chosen, as the hint says, and the push lands."""
    one, other = two
    version(other, {"x": "1"}, name="new")
    other.push()
    one.rename("data", "new")
    with pytest.raises(NameTaken) as caught:
        one.push()
    assert caught.value.hint == "choose another: 'avc rename data NEWNAME'"
    one.rename("data", "free")
    one.push()
    other.fetch()
    assert sorted(a.name for a in other.artifacts()) == ["free", "new"]


@pytest.mark.parametrize("kind", [None, "model"])
def test_a_new_artifact_whose_name_is_taken_there(two, kind):
    """Renamed as the hint says, it is pushed under the new name; what it was called meanwhile is not."""
    one, other = two
    version(other, {"x": "1"}, name="new")
    other.push()
    write(one.root, {"new/y": "2"})
    with inside(one.root):
        one.add(["new"], type=kind)
    one.commit()
    with pytest.raises(NameTaken, match="has another artifact 'demo/new'") as caught:
        one.push()
    shown = re.search(r"'avc rename (\S+) NEWNAME'", caught.value.hint)
    assert shown is not None
    if kind:
        with pytest.raises(Conflict, match="'new' has type 'dataset' on 'origin', and 'model' here") as caught:
            one.push(join=True)
        assert caught.value.hint == f"rename yours: 'avc rename {shown[1]} NEWNAME'"
    one.rename(shown[1], "ours")
    assert one.push().versions == ("demo/ours:v0",)
    other.fetch()
    assert (
        sorted(a.name for a in one.artifacts()) == sorted(a.name for a in other.artifacts()) == ["data", "new", "ours"]
    )


# ---- where a remote may be, and which one it is -------------------------------------------------------


def test_a_remote_has_a_place_of_its_own(tmp_path):
    """Not in the repository, not around it, not in what an artifact is taken from; nothing is written there."""
    with new(tmp_path / "ws") as repository:
        version(repository, {"a": "1"})
        for place in (repository.avc_root, repository.avc_root / "objects", tmp_path / "ws", tmp_path):
            with pytest.raises(UsageError, match="is, or holds, this repository"):
                origin(repository, place)
        for place in ("data", "data/sub"):
            with pytest.raises(UsageError, match="is in 'data', which 'data' is taken from"):
                origin(repository, tmp_path / "ws" / place)
        assert list((tmp_path / "ws" / "data").iterdir()) == [tmp_path / "ws" / "data" / "a"]
        origin(repository, tmp_path / "ws" / "shared")


def test_init_finds_the_remote_and_makes_none(tmp_path):
    """Where the origin of `artifacts.toml` cannot be reached nothing is made there; init again finds it later."""
    remote = tmp_path / "remote"
    with new(tmp_path / "ws", project="birds") as repository:
        version(repository, {"a": "1"})
        origin(repository, remote)
        repository.push()
        version(repository, {"a": "2"})
        repository.push()
    (tmp_path / "other").mkdir()
    shutil.copy(tmp_path / "ws" / "artifacts.toml", tmp_path / "other")
    remote.rename(tmp_path / "away")
    made, told = Repository.init(tmp_path / "other", environ=ENVIRON)
    with made:
        assert (told.remote, told.project, made.remotes()) == (None, "birds", [])
        why = f"the remote's directory '{remote}' is not there"
        assert made.notices == [
            f"{why}: this repository has no remote yet; run 'avc init' again when it can be reached"
        ]
    assert not remote.exists()
    (tmp_path / "away").rename(remote)
    again, told = Repository.init(tmp_path / "other", environ=ENVIRON)
    with again:
        assert told.remote == str(remote)
        assert again.pull().versions == ("birds/data:v1",)


def test_the_project_of_a_git_clone_is_the_remotes(tmp_path):
    """Names mean the same as where they were written."""
    with new(tmp_path / "ws", project="birds") as repository:
        version(repository, {"a": "1"})
        origin(repository, tmp_path / "remote")
        repository.push()
    (tmp_path / "other").mkdir()
    shutil.copy(tmp_path / "ws" / "artifacts.toml", tmp_path / "other")
    made, _ = Repository.init(tmp_path / "other", environ=ENVIRON)
    with made:
        assert made.project == "birds"
        made.pull()
        with inside(tmp_path / "other"):
            made.checkout("data")
        assert (tmp_path / "other/data/a").read_text() == "1"


def test_a_remote_that_asks_for_more_is_not_written(two):
    """Its feature flags count: one that only writing needs stops a push, and reading goes on."""
    one, other = two
    remote = Path(one.remotes()[0].url)
    version(other, {"a": "2"})
    other.push()
    body = json.loads((remote / "avc.json").read_bytes())
    (remote / "avc.json").write_text(json.dumps({**body, "features": {"write": ["shards"]}}))
    version(one, {"a": "3"})
    with pytest.raises(NewerFormat, match="feature 'shards' to write"):
        one.push()
    assert one.pull().fetched.head == 1
    (remote / "avc.json").write_text(json.dumps({**body, "format": 9}))
    with pytest.raises(NewerFormat, match="format 9"):
        one.pull()


def test_a_push_that_landed_unseen_is_told_as_pushed(two, monkeypatch):
    """The next push settles it, and says what it brought."""
    one, _ = two
    version(one, {"a": "2"})
    create = DirectoryTransport.create

    def lost(self, name, data):
        if name.startswith("log/"):
            raise OutcomeUnknown("no answer")
        return create(self, name, data)

    monkeypatch.setattr(DirectoryTransport, "create", lost)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(OutcomeUnknown):
        one.push()
    monkeypatch.undo()
    done = one.push()
    assert (done.versions, done.entry, done.records > 0) == (("demo/data:v1",), 1, True)
    assert one.push().records == 0


def test_two_renames_before_a_push_are_one(two):
    """The push tells of the last name; the first is no conflict with it."""
    one, other = two
    one.rename("data", "first")
    one.rename("first", "second")
    one.push()
    other.fetch()
    assert [info.name for info in other.artifacts()] == ["second"]
