"""Collecting on a remote: what is needed stays, the rest goes when the grace is over, and every step can be the last.

That nothing is lost while others push is shown by tests/model; here each rule is met by itself.
"""

from __future__ import annotations

import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from artifactvc.errors import AvcError, Corrupt, ReadOnly, RemoteUnavailable
from artifactvc.ops import gc_remote, gc_rewrite, gc_survey, push
from artifactvc.ops import push as push_module
from artifactvc.storage.directory import DirectoryTransport
from artifactvc.storage.transport import RemoteOptions
from tests.support import clone, inside, new, origin, reopen, tree, version

DAY = 86_400


class Shared:
    """One repository that pushes to a directory, and looks at what really stands there."""

    def __init__(self, path: Path) -> None:
        self.path, self.remote = path, path / "remote"
        self.one = new(path / "one")
        origin(self.one, self.remote)

    def files(self, below: str = "packs") -> set[str]:
        top = self.remote / below
        return {file.relative_to(top).as_posix() for file in top.rglob("*") if file.is_file()}

    def pushed(self, files: dict[str, str | bytes | None], name: str = "data") -> str:
        number = version(self.one, files, name=name)
        self.one.push()
        return number.rstrip("~")

    def deleted(self, ref: str) -> None:
        self.one.delete(ref, delete_aliases=True)
        self.one.push()

    def age(self, seconds: float, *below: str) -> None:
        """Let files on the remote be as old as if they had been written *seconds* ago."""
        for top in below or ("packs", "log", "index"):
            for file in (self.remote / top).rglob("*"):
                then = file.stat().st_mtime - seconds
                os.utime(file, (then, then))

    def rebuilt(self, ref: str) -> dict[str, bytes | str]:
        """The files of a version as a fresh clone writes them."""
        self.count = getattr(self, "count", 0) + 1
        with clone(self.remote, self.path / f"fresh{self.count}") as made:
            made.get(ref, root=self.path / f"out{self.count}")
            assert made.fsck().problems == ()
        return tree(self.path / f"out{self.count}")


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Shared]:
    made = Shared(tmp_path)
    with made.one:
        yield made


def many(count: int, mark: str = "") -> dict[str, str | bytes | None]:
    """Small files that share no content."""
    return {f"{i:03}": random.Random(f"{mark}{i}").randbytes(600) for i in range(count)}


def gone(count: int) -> dict[str, str | bytes | None]:
    return {f"{i:03}": None for i in range(count)}


# ---- what goes, and when -----------------------------------------------------------------------------


def test_what_nothing_needs_is_condemned_then_removed_after_the_grace(shared):
    """One entry names the files; they stay for the grace, counted by the storage's clock, and then go."""
    shared.pushed(many(20))
    old = shared.files()
    shared.pushed({**gone(20), "new": "x"})
    shared.deleted("data:v0")
    head = shared.one.fetch().head
    done = shared.one.gc_remote("origin")
    assert done.entry == head + 1
    assert {file.name for file in done.condemned} == old
    assert {file.reason for file in done.condemned} == {gc_remote.UNNEEDED}
    assert (done.removed, done.spared) == ((), ())
    assert old <= shared.files()
    assert re.match(r"1 files \(.*\) are condemned, and stay until 20", done.kept[0])
    again = shared.one.gc_remote("origin")
    assert (again.entry, again.condemned, again.removed) == (None, (), ())
    shared.age(14 * DAY - 60, "log")
    assert shared.one.gc_remote("origin").removed == ()
    shared.age(120, "log")
    last = shared.one.gc_remote("origin")
    assert {file.name for file in last.removed} == old
    assert shared.files().isdisjoint(old)
    assert shared.rebuilt("data:v1") == {"new": b"x"}


def test_the_default_grace_is_the_setting(shared):
    """``gc.grace`` says how long; ``--grace`` says otherwise."""
    shared.pushed(many(3))
    shared.deleted("data:v0")
    shared.one.config_set("gc.grace", "2h")
    shared.one.gc_remote("origin")
    shared.age(3 * 3600, "log")
    assert shared.one.gc_remote("origin", grace="5h").removed == ()
    assert shared.one.gc_remote("origin").removed != ()


def test_a_dry_run_says_what_would_go_and_does_nothing(shared):
    """Not a byte on the remote changes; then the same command does what was said."""
    shared.pushed(many(40))
    shared.pushed({**gone(30), "new": "x"})
    shared.deleted("data:v0")
    before = tree(shared.remote)
    planned = shared.one.gc_remote("origin", dry_run=True)
    assert tree(shared.remote) == before
    done = shared.one.gc_remote("origin")
    assert done.condemned == planned.condemned != ()
    assert done.rewritten_bytes == planned.rewritten_bytes > 0
    shared.age(15 * DAY, "log")
    before = tree(shared.remote)
    planned = shared.one.gc_remote("origin", dry_run=True)
    assert tree(shared.remote) == before
    assert replace(planned, dry_run=False) == shared.one.gc_remote("origin")


def test_nothing_to_collect_writes_no_entry(shared):
    """A sound remote is left as it is, apart from the time that was asked for."""
    shared.pushed(many(3))
    before = tree(shared.remote)
    done = shared.one.gc_remote("origin", grace="0s")
    assert (done.entry, done.condemned, done.removed, done.kept) == (None, (), (), ())
    assert tree(shared.remote) == before


def test_deletions_that_are_not_pushed_are_named(shared):
    """What they let go of is needed by the remote's own log."""
    shared.pushed(many(3))
    shared.pushed({**gone(3), "new": "x"})
    shared.one.delete("data:v0")
    done = shared.one.gc_remote("origin", dry_run=True)
    assert (done.condemned, done.kept) == ((), ("1 deletions here are not pushed: run 'avc push' first",))


def test_what_other_versions_share_stays(shared):
    """An object is kept as long as any live version, of any artifact, needs it, whichever file it stands in."""
    shared.pushed({"a": "1" * 9000, "big": b"2" * 200_000})
    shared.pushed({"b": "1" * 9000, "big": b"2" * 200_000}, name="other")
    shared.deleted("data:v0")
    shared.one.gc_remote("origin", grace="0s")
    shared.one.gc_remote("origin", grace="0s")
    assert shared.rebuilt("other:v0") == {"b": b"1" * 9000, "big": b"2" * 200_000}


def test_metadata_of_deleted_versions_stays(shared):
    """What can be restored has its words again: they are small."""
    shared.pushed({"a": "1"})
    shared.one.edit("data:v0", description="the first", metadata={"k": [1]})
    shared.one.push()
    shared.pushed({"a": "2"})
    shared.deleted("data:v0")
    shared.one.gc_remote("origin", grace="0s")
    shared.one.gc_remote("origin", grace="0s")
    shared.one.restore("data:v0")
    shared.one.push()
    with clone(shared.remote, shared.path / "third") as third:
        shown = third.show("data:v0")
        assert (shown.description, shown.metadata) == ("the first", {"k": [1]})


# ---- packs that are mostly dead ----------------------------------------------------------------------------


def test_a_pack_that_is_mostly_dead_is_written_anew(shared):
    """Its needed objects stand in a new pack, named by the same entry that condemns the old one (protocol R5)."""
    shared.pushed(many(100))
    old = shared.files()
    shared.pushed({**gone(80), "new": "x"})
    kept = tree(shared.one.root / "data")
    shared.deleted("data:v0")
    done = shared.one.gc_remote("origin", grace="0s")
    assert [file.reason for file in done.condemned] == [gc_remote.MOSTLY]
    assert {file.name for file in done.removed} == old
    assert shared.files().isdisjoint(old)
    sizes = sum((shared.remote / "packs" / name).stat().st_size for name in shared.files())
    assert sizes < done.removed[0].bytes
    assert shared.rebuilt("data:v1") == kept
    assert shared.one.gc_remote("origin", grace="0s").condemned == ()


def test_a_pack_that_is_mostly_alive_stays(shared):
    """Rewriting more than half of it would cost more than it brings."""
    shared.pushed(many(100))
    shared.pushed({**gone(20), "new": "x"})
    shared.deleted("data:v0")
    assert shared.one.gc_remote("origin", grace="0s").condemned == ()


def test_many_small_packs_become_one(shared, monkeypatch):
    """Each costs every reader a request; what is in them stays as it was."""
    monkeypatch.setattr(gc_rewrite, "_MANY", 8)
    for i in range(8):
        shared.pushed({f"f{i}": f"{i}" * 3000})
    assert len(shared.files()) == 8
    done = shared.one.gc_remote("origin", grace="0s")
    assert {file.reason for file in done.condemned} == {gc_remote.SMALL}
    assert len(shared.files()) == 1
    for i in range(8):
        assert shared.rebuilt(f"data:v{i}") == {f"f{k}": f"{k}".encode() * 3000 for k in range(i + 1)}


def test_a_damaged_pack_is_not_written_anew(shared):
    """Damage stops the collection before anything is condemned: the bytes may be had from elsewhere."""
    shared.pushed(many(100))
    (name,) = shared.files()
    shared.pushed({**gone(80), "new": "x"})
    shared.deleted("data:v0")
    path = shared.remote / "packs" / name
    data = bytearray(path.read_bytes())
    data[8 : 600 * 100] = bytes(600 * 100 - 8)
    path.write_bytes(data)
    entries = shared.files("log")
    with pytest.raises(AvcError):
        shared.one.gc_remote("origin", grace="0s")
    assert shared.files("log") == entries
    assert name in shared.files()
    assert len(shared.files()) == 2  # what was begun was taken back


# ---- files that no entry names -----------------------------------------------------------------------------


def test_files_of_a_push_that_did_not_land_wait_for_the_grace(shared):
    """Young ones may belong to a push under way; old ones are condemned, and go after a grace of their own."""
    shared.pushed({"a": "1"})
    transport = DirectoryTransport(shared.remote, RemoteOptions())
    transport.upload("packs/0123456789abcdef/x.pack", b"x" * 1000)
    transport.upload("index/0123456789abcdef-01234567", b"y" * 50)
    young = shared.one.gc_remote("origin")
    assert young.condemned == ()
    assert young.kept[0].startswith("1 files (1000 B) belong to no entry")
    shared.age(15 * DAY, "packs", "index")
    old = shared.one.gc_remote("origin")
    assert [(file.name, file.reason) for file in old.condemned] == [("0123456789abcdef/x.pack", gc_remote.NEVER)]
    assert "0123456789abcdef/x.pack" in shared.files()
    shared.age(15 * DAY, "log")
    assert [file.name for file in shared.one.gc_remote("origin").removed] == ["0123456789abcdef/x.pack"]
    assert "0123456789abcdef/x.pack" not in shared.files()
    assert "0123456789abcdef-01234567" not in shared.files("index")
    assert shared.rebuilt("data:v0") == {"a": b"1"}


def replaced_indexes(shared: Shared) -> set[str]:
    """Push until index files were merged; those that the merged one replaces."""
    for i in range(12):
        shared.pushed({f"f{i}": f"{i}" * 3000})
        found = {file.id for file in shared.one.session.remote("origin").places.superseded()}
        if found:
            return found
    raise AssertionError("nothing was merged")


def test_replaced_index_files_go_after_the_grace(shared, tmp_path):
    """Merged ones stand for them; whoever knows an older log reads on and finds them."""
    shared.pushed({"a": "1"})
    late = clone(shared.remote, tmp_path / "late")  # knows the log to here, and has read no index file
    replaced = replaced_indexes(shared)
    assert replaced <= shared.files("index")
    assert shared.one.gc_remote("origin").entry is None
    shared.age(15 * DAY)
    assert shared.one.gc_remote("origin").entry is not None
    assert replaced <= shared.files("index")
    shared.age(15 * DAY)
    shared.one.gc_remote("origin")
    assert shared.files("index").isdisjoint(replaced)
    with late, inside(tmp_path / "late"):
        late.checkout("data:v0")
    assert tree(tmp_path / "late" / "data") == {"a": b"1"}
    last = f"data:v{len(list(shared.one.log('data'))) - 1}"
    assert shared.rebuilt(last) == tree(shared.one.root / "data")
    assert shared.one.fsck(remote="origin", full=True).problems == ()


def test_replaced_index_files_stay_while_they_tell_of_condemned_files(shared):
    """A merged one leaves out what is condemned: until that is gone, what it replaced is kept (protocol P6)."""
    shared.pushed(many(20), name="old")
    shared.pushed({"x": "y"}, name="old")
    shared.deleted("old:v0")
    shared.deleted("old:v1")
    assert shared.one.gc_remote("origin").condemned != ()
    replaced = replaced_indexes(shared)
    shared.age(13 * DAY)
    shared.one.gc_remote("origin", grace="0s", dry_run=True)
    shared.age(DAY * 0.9)
    assert shared.one.gc_remote("origin").entry is None
    assert replaced <= shared.files("index")
    shared.age(DAY)
    shared.one.gc_remote("origin")  # the condemned files go
    shared.one.gc_remote("origin")  # then what told of them is condemned
    shared.age(15 * DAY)
    shared.one.gc_remote("origin")
    assert shared.files("index").isdisjoint(replaced)


def test_parts_of_an_open_draft_stay(shared, tmp_path):
    """What many are building is needed like a version, its stored files too (protocol P10); ended, it can go."""
    import artifactvc as avc

    with inside(shared.one.root):
        with avc.init(project="demo", id="r1", dir=str(shared.one.root)) as run:
            part = avc.Artifact("built", type="dataset")
            (tmp_path / "p").write_bytes(b"p" * 200_000)
            part.add_file(str(tmp_path / "p"), name="p")
            run.upsert_artifact(part, distributed_id="d")
        shared.age(15 * DAY)
        before = shared.files()
        assert len(before) == 2  # the file, and the manifest's pack
        for _ in range(2):
            done = shared.one.gc_remote("origin", grace="0s")
            assert (done.condemned, done.removed) == ((), ())
        with avc.init(project="demo", id="r2", dir=str(shared.one.root)) as run:
            last = avc.Artifact("built", type="dataset")
            run.finish_artifact(last, distributed_id="d")
        avc.finish()
    shared.age(15 * DAY, "drafts")
    shared.one.gc_remote("origin", grace="0s")
    assert all(name.endswith("closing.json") for name in shared.files("drafts"))
    assert shared.rebuilt("built:v0") == {"p": b"p" * 200_000}


# ---- the rules ---------------------------------------------------------------------------------------------


def once_before_create(monkeypatch: pytest.MonkeyPatch, deed: Callable[[], object]) -> None:
    """Let *deed* happen just before the next entry is created."""
    real, done = push.create_entry, []

    def create(*arguments: Any) -> bool:
        if not done:
            done.append(1)
            deed()
        return real(*arguments)

    monkeypatch.setattr(push, "create_entry", create)


def test_a_collection_that_was_overtaken_is_worked_out_again(shared, tmp_path, monkeypatch):
    """A push that lands first may need what was to be condemned: nothing of the old plan is used (protocol P1)."""
    shared.pushed({"a": "1" * 5000})
    shared.deleted("data:v0")
    other = clone(shared.remote, tmp_path / "other")

    def pushes() -> None:
        version(other, {"a": "1" * 5000})
        other.push()

    once_before_create(monkeypatch, pushes)
    done = shared.one.gc_remote("origin", grace="0s")
    assert done.condemned == ()
    assert shared.rebuilt("data:v1") == {"a": b"1" * 5000}


def test_a_push_that_was_overtaken_sends_again(shared, tmp_path, monkeypatch):
    """What it relied on is condemned by the entry before its own, so it is stored under a new name (protocol P2)."""
    shared.pushed({"a": "1" * 5000, "b": "2" * 200_000})
    shared.pushed({"a": "3"})
    shared.deleted("data:v0")
    other = clone(shared.remote, tmp_path / "other")
    version(other, {"c": "1" * 5000, "d": "2" * 200_000}, name="more")
    real, done = push.create_entry, []

    def create(*arguments: Any) -> bool:
        if not done:
            done.append(1)
            assert shared.one.gc_remote("origin", grace="0s").removed != ()
        return real(*arguments)

    monkeypatch.setattr(push, "create_entry", create)
    other.push()
    assert shared.rebuilt("more:v0") == {"c": b"1" * 5000, "d": b"2" * 200_000}


def test_a_restore_after_the_condemnation_stores_anew(shared, tmp_path):
    """Within the grace the bytes are copied from the condemned file, by a clone that has none of them (protocol P3)."""
    shared.pushed({"a": "1" * 5000, "b": "2" * 200_000})
    shared.pushed({"a": "3", "b": None})
    shared.deleted("data:v0")
    assert shared.one.gc_remote("origin").condemned != ()
    other = clone(shared.remote, tmp_path / "other")
    other.restore("data:v0")
    other.push()
    shared.age(15 * DAY, "log")
    assert shared.one.gc_remote("origin").removed != ()
    assert shared.rebuilt("data:v0") == {"a": b"1" * 5000, "b": b"2" * 200_000}


@pytest.mark.parametrize("how", ["restore", "undo"])
def test_a_version_restored_elsewhere_is_brought_before_it_goes(shared, tmp_path, how):
    """Unpushed work is what a clone without bytes has restored, too: the fetch that sees the condemnation gets them."""
    shared.pushed({"a": "1"})
    there = clone(shared.remote, tmp_path / "there")
    if how == "undo":
        there.delete("data:v0", delete_aliases=True)
        there.push()
        there.undo()
    else:
        shared.deleted("data:v0")
        there.fetch()
        there.restore("data:v0")
    assert len(shared.one.gc_remote("origin", grace="1h").condemned) == 1
    there.fetch()
    shared.age(2 * 3600)
    assert len(shared.one.gc_remote("origin", grace="1h").removed) == 1
    there.push()
    there.close()
    assert shared.rebuilt("data:v0") == {"a": b"1"}


def test_the_only_copy_of_something_live_is_spared_and_reported(shared, monkeypatch):
    """Whoever broke the rules: a condemned file that holds the last copy is left alone (protocol P4)."""
    shared.pushed({"a": "1" * 5000})
    monkeypatch.setattr(gc_survey, "_live", lambda remote, parts: [])  # a client that condemns what is needed
    assert len(shared.one.gc_remote("origin").condemned) == 1
    monkeypatch.undo()
    shared.age(15 * DAY, "log")
    done = shared.one.gc_remote("origin")
    assert done.removed == ()
    assert set(done.spared) == shared.files()


def test_what_cannot_be_read_stops_all(shared, tmp_path):
    """A live version whose manifest is gone: nothing is condemned, since nobody can tell what it needs (P1)."""
    shared.pushed({"a": "1"})
    shared.pushed({"b": "2"}, name="other")
    shared.deleted("other:v0")
    for file in (shared.remote / "packs").rglob("*.pack"):
        file.unlink()
    entries = shared.files("log")
    with clone(shared.remote, tmp_path / "blind") as blind, pytest.raises(Corrupt) as caught:
        blind.gc_remote("origin", grace="0s")
    assert caught.value.message.startswith("'data:v0' cannot be read")
    assert caught.value.hint == "run 'avc fsck origin --repair' first"
    assert shared.files("log") == entries


def test_a_clock_that_is_far_off_removes_nothing(shared):
    """Ages count by the storage's clock; where it and ours disagree nothing goes without --force (protocol P9)."""
    shared.pushed(many(3))
    shared.deleted("data:v0")
    shared.one.gc_remote("origin")
    shared.age(15 * DAY, "log")
    clock = shared.one.session.clock
    shared.one.session.clock = lambda: "2031-01-01T00:00:00.000000Z"
    assert shared.one.gc_remote("origin").removed == ()
    assert any("differ by over an hour" in note for note in shared.one.notices)
    assert shared.one.gc_remote("origin", force=True).removed != ()
    shared.one.session.clock = clock


def test_a_time_to_live_that_is_over_becomes_a_deletion_first(shared):
    """By a record of origin's log, then the condemnation; both are seen by every clone (protocol P9)."""
    with inside(shared.one.root):
        (shared.one.root / "data").mkdir()
        (shared.one.root / "data" / "a").write_text("1" * 500)
        shared.one.add(["data"])
        shared.one.commit(["data"], ttl="1s")
    shared.one.push()
    time.sleep(1.1)  # the time to live itself
    planned = shared.one.gc_remote("origin", dry_run=True)
    assert [(one.artifact, one.version) for one in planned.expired] == [("demo/data", "v0")]
    done = shared.one.gc_remote("origin", grace="0s")
    assert done.expired == planned.expired
    assert len(done.removed) == 1
    assert not list(shared.one.log("data"))


def test_a_remote_that_can_only_be_read(shared):
    """There is nothing to collect with: it is said, with the remote's name."""
    shared.pushed({"a": "1"})
    with clone(shared.remote, shared.path / "reader") as reader:
        reader.session.avc.edit_config(lambda document: document["remotes"]["origin"].update(read_only=True))
    with reopen(shared.path / "reader") as reader:
        with pytest.raises(ReadOnly, match="remote 'origin' can only be read"):
            reader.gc_remote("origin")


# ---- killed anywhere ---------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("step", range(12))
def test_killed_before_any_write(tmp_path, monkeypatch, step):
    """Whichever write to the remote is the one that does not happen: nothing live is lost, and the next gc goes on."""
    shared = Shared(tmp_path)
    shared.pushed(many(100))
    shared.pushed({**gone(80), "new": "x"})
    kept = tree(shared.one.root / "data")
    shared.deleted("data:v0")
    left = [step]

    def dying(name: str) -> None:
        real = getattr(DirectoryTransport, name)

        def call(self: DirectoryTransport, *arguments: Any, **options: Any) -> Any:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return real(self, *arguments, **options)

        monkeypatch.setattr(DirectoryTransport, name, call)

    for name in ("create", "upload", "remove"):
        dying(name)
    try:
        shared.one.gc_remote("origin", grace="0s")
        ended = True
    except Killed:
        ended = False
    monkeypatch.undo()
    shared.one.close()
    assert not ended or step > 4  # index, pack, entry, probe and the old pack's removal are five writes
    assert shared.rebuilt("data:v1") == kept
    again = clone(shared.remote, tmp_path / "again")
    with again:
        for _ in range(2):
            again.gc_remote("origin", grace="0s")
        assert again.gc_remote("origin", grace="0s").condemned == ()
    assert len(shared.files()) == 2
    assert shared.rebuilt("data:v1") == kept


def test_an_answer_that_is_lost_is_looked_for(shared, monkeypatch):
    """The entry that condemns is created once, whatever the answer (protocol P8)."""
    shared.pushed(many(3))
    shared.deleted("data:v0")
    real, lost = DirectoryTransport.create, []

    def create(self: DirectoryTransport, name: str, data: bytes) -> bool:
        made = real(self, name, data)
        if name.startswith("log/") and not lost:
            lost.append(name)
            raise RemoteUnavailable("no answer")
        return made

    monkeypatch.setattr(DirectoryTransport, "create", create)
    done = shared.one.gc_remote("origin", grace="0s")
    assert lost == [f"log/{done.entry:020}.json"]
    assert len(done.removed) == 1


def test_an_answer_that_is_lost_twice_removes_nothing(shared, monkeypatch):
    """Our own entry stands there, and for a while nobody can read it: it is not taken for somebody else's."""
    shared.pushed(many(10))
    kept = shared.pushed({**gone(8), "new": "x"})
    shared.deleted("data:v0")
    real, real_look, left = DirectoryTransport.create, push_module._look, [2]

    def create(self: DirectoryTransport, name: str, data: bytes) -> bool:
        made = real(self, name, data)
        if name.startswith("log/0") and made:
            raise RemoteUnavailable("no answer")
        return made

    def look(*arguments: Any) -> bytes | None:
        left[0] -= 1
        return None if left[0] >= 0 else real_look(*arguments)

    monkeypatch.setattr(DirectoryTransport, "create", create)
    monkeypatch.setattr(push_module, "_look", look)
    done = shared.one.gc_remote("origin", grace="1h")
    monkeypatch.undo()
    assert left[0] < 0
    assert done.rewritten_bytes
    assert len(shared.rebuilt(f"data:{kept}")) == 3
    assert shared.one.fsck("origin").problems == ()


@pytest.mark.parametrize("name", ["packs/" + "x" * 210, "packs/a/b/c/d/e/f/g/h", "index/" + "y" * 210])
def test_what_no_entry_could_name_is_left(shared, name):
    """Some tool put it there: an entry that condemns it could be read by nobody."""
    shared.pushed({"a": "1"})
    stray = shared.remote / name
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(b"stray")
    assert shared.one.gc_remote("origin", grace="0s").condemned == ()
    assert stray.exists()
    assert shared.rebuilt("data:v0") == {"a": b"1"}


def test_several_files_are_removed_at_once(shared, monkeypatch):
    """Each is a request of its own: thousands one by one would take an hour on a far server."""
    for number in range(4):
        shared.pushed({f"{number}": f"{number}"})
    for number in range(4):
        shared.one.delete(f"data:v{number}", delete_aliases=True)
    shared.one.push()
    real, both = DirectoryTransport.remove, threading.Barrier(2)

    def remove(self: DirectoryTransport, name: str) -> None:
        if name.startswith("packs/"):
            both.wait(timeout=30)
        real(self, name)

    monkeypatch.setattr(DirectoryTransport, "remove", remove)
    assert len(shared.one.gc_remote("origin", grace="0s").removed) == 4
    assert shared.files() == set()


# ---- real buckets --------------------------------------------------------------------------------------------


@pytest.mark.servers
@pytest.mark.timeout(180)
def test_in_a_bucket(s3_server, tmp_path, monkeypatch):
    """The whole of it on S3: mostly dead packs, unfinished multipart uploads, removal by the server's own clock."""
    for name, value in s3_server.env.items():
        monkeypatch.setenv(name, value)
    bucket = s3_server.bucket()
    one = new(tmp_path / "one")
    origin(one, f"s3://{bucket}/team")
    version(one, many(100))
    one.push()
    version(one, {**gone(80), "new": "x"})
    one.push()
    one.delete("data:v0")
    one.push()
    client = s3_server.client()
    client.create_multipart_upload(Bucket=bucket, Key="team/packs/0123/never")
    done = one.gc_remote("origin", grace="0s")
    assert [file.reason for file in done.condemned] == [gc_remote.MOSTLY]
    assert len(done.removed) == 1
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)
    keys = [row["Key"] for row in client.list_objects_v2(Bucket=bucket)["Contents"]]
    assert sum(key.startswith("team/packs/") for key in keys) == 2
    with clone(f"s3://{bucket}/team", tmp_path / "other") as other, inside(tmp_path / "other"):
        other.checkout("data")
    assert tree(tmp_path / "other" / "data") == tree(tmp_path / "one" / "data")
