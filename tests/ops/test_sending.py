"""Objects on their way to a remote: several files at once, and what a kill or an error costs."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import threading
from pathlib import Path

import pytest

from artifactvc.errors import RemoteUnavailable
from artifactvc.ops import push as pushing
from artifactvc.ops.sending import AT_ONCE
from artifactvc.storage.directory import DirectoryTransport
from artifactvc.storage.outgoing import outgoing_files, plan_shipment
from tests.support import Meeting, clone, inside, new, origin, reopen, tree, version

LARGE = 150_000  # bytes: a file of its own on the remote
FILES = 12


def _files(rng: random.Random) -> dict[str, bytes]:
    return {f"large{i:02}": rng.randbytes(LARGE) for i in range(FILES)} | {f"s{i}": b"%d" % i for i in range(5)}


def _there(remote: Path) -> set[str]:
    return {path.relative_to(remote / "packs").as_posix() for path in (remote / "packs").rglob("*") if path.is_file()}


def _noted(repository: Path) -> set[str]:
    journal = next((repository / ".artifacts" / "remotes").glob("*/push.jsonl"), None)
    lines = journal.read_text().splitlines() if journal else []
    return {line["file"] for line in map(json.loads, lines) if "file" in line}


def test_several_files_are_sent_at_once_and_no_more(tmp_path, rng, monkeypatch):
    """As many as there are threads are under way together; all of them wait for one another here."""
    meeting = Meeting(AT_ONCE)
    real = DirectoryTransport.upload

    def upload(self: DirectoryTransport, name: str, *rest: object, **more: object) -> None:
        if name.startswith("packs/"):
            meeting.attend()
        real(self, name, *rest, **more)  # type: ignore[arg-type]

    one = new(tmp_path / "one")
    origin(one, tmp_path / "remote")
    version(one, {f"large{i}": rng.randbytes(LARGE) for i in range(2 * AT_ONCE - 1)} | {"small": "1"})
    monkeypatch.setattr(DirectoryTransport, "upload", upload)
    assert one.push().files == 2 * AT_ONCE
    assert (meeting.now, meeting.most) == (0, AT_ONCE)


def test_what_is_planned_is_what_is_sent(tmp_path, rng):
    """The sizes of the files, worked out from the index alone, are those of the files that are made."""
    one = new(tmp_path / "one")
    version(one, _files(rng) | {f"n{i}": rng.randbytes(1000) for i in range(300)})
    version(one, {"more": "text " * 500})
    store = one.session.avc.store
    wanted = sorted(digest for digest, _ in store.iter_all())
    for digests in (wanted, wanted[::3]):
        shipment = plan_shipment(store, digests)
        made = list(outgoing_files(store, shipment, one.session.avc.tmp))
        assert [outgoing.source.stat().st_size for outgoing in made] == shipment.sizes == [o.size for o in made]
        assert sorted(row.digest for outgoing in made for row in outgoing.rows) == digests
        for outgoing in made:
            outgoing.discard()


def _push_and_die(workspace: Path, moment: int) -> bool:
    """Push in a child that kills itself at the *moment*-th step (a file begun, there, noted); whether it died."""
    child = os.fork()
    if child == 0:
        counter, lock = iter(range(1 << 30)), threading.Lock()

        def step() -> None:
            with lock:
                if next(counter) == moment:
                    os.kill(os.getpid(), signal.SIGKILL)

        real_upload, real_note = DirectoryTransport.upload, pushing._note

        def upload(self: DirectoryTransport, name: str, *rest: object, **more: object) -> None:
            step()
            real_upload(self, name, *rest, **more)  # type: ignore[arg-type]
            step()

        def note(remote: object, line: dict[str, object]) -> None:
            real_note(remote, line)  # type: ignore[arg-type]
            step()

        try:
            DirectoryTransport.upload, pushing._note = upload, note  # type: ignore[assignment, method-assign]
            with reopen(workspace) as repository:
                repository.push()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_a_killed_push_sends_one_file_a_thread_again_at_most(tmp_path, rng, soak):
    """Killed at any step and run again: what was noted is not sent again, and all of it arrives."""
    one = new(tmp_path / "one")
    origin(one, tmp_path / "remote")
    version(one, _files(rng))
    one.close()
    shutil.copytree(tmp_path / "one", tmp_path / "before")
    steps = 3 * (FILES + 1) + 4
    moments = range(steps) if soak > 1 else sorted(rng.sample(range(steps), 12))
    died = 0
    for moment in moments:
        for path in (tmp_path / "one", tmp_path / "remote", tmp_path / "other"):
            shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(tmp_path / "before", tmp_path / "one")
        with reopen(tmp_path / "one") as repository:
            repository.remote_remove("origin")
            origin(repository, tmp_path / "remote")
        died += _push_and_die(tmp_path / "one", moment)
        there, noted = _there(tmp_path / "remote"), _noted(tmp_path / "one")
        assert noted <= there, "only what is there is noted"
        assert len(there - noted) <= AT_ONCE, f"step {moment}"
        with reopen(tmp_path / "one") as repository:
            again = repository.push()
            assert again.files + len(noted) in (FILES + 1, 0), f"step {moment}"
        other = clone(tmp_path / "remote", tmp_path / "other")
        other.pull()
        with inside(tmp_path / "other"):
            other.checkout("data")
        other.close()
        assert tree(tmp_path / "other" / "data") == tree(tmp_path / "one" / "data")
    assert died == len(moments)


def test_the_first_error_stops_all_and_the_next_push_goes_on(tmp_path, rng, monkeypatch):
    """The cable is out after some files: one error, nothing left in tmp, and only the rest is sent by the next push."""
    one = new(tmp_path / "one")
    origin(one, tmp_path / "remote")
    version(one, _files(rng))
    real, lock, count = DirectoryTransport.upload, threading.Lock(), iter(range(1000))

    def upload(self: DirectoryTransport, name: str, *rest: object, **more: object) -> None:
        with lock:
            number = next(count)
        if number >= 5:
            raise RemoteUnavailable("the cable is out", hint="")
        real(self, name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(DirectoryTransport, "upload", upload)
    with pytest.raises(RemoteUnavailable, match="the cable is out"):
        one.push()
    assert list((tmp_path / "one" / ".artifacts" / "tmp").iterdir()) == []
    assert len(_there(tmp_path / "remote")) == len(_noted(tmp_path / "one")) == 5
    monkeypatch.setattr(DirectoryTransport, "upload", real)
    assert one.push().files == FILES + 1 - 5


def test_a_note_that_was_cut_costs_that_note_alone(tmp_path, rng, monkeypatch):
    """A full disk, or a kill, cuts a line of the journal: what is noted behind it counts."""
    one = new(tmp_path / "one")
    origin(one, tmp_path / "remote")
    version(one, _files(rng))
    real, lock = DirectoryTransport.upload, threading.Lock()

    def push_of(most: int) -> None:
        count = iter(range(1000))

        def upload(self: DirectoryTransport, name: str, *rest: object, **more: object) -> None:
            with lock:
                number = next(count)
            if number >= most:
                raise RemoteUnavailable("the cable is out", hint="")
            real(self, name, *rest, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(DirectoryTransport, "upload", upload)
        with pytest.raises(RemoteUnavailable, match="the cable is out"):
            one.push()
        monkeypatch.setattr(DirectoryTransport, "upload", real)

    push_of(3)
    journal = next((tmp_path / "one" / ".artifacts" / "remotes").glob("*/push.jsonl"))
    journal.write_bytes(journal.read_bytes()[:-20])
    push_of(2)
    assert one.push().files == FILES + 1 - 4
    with clone(tmp_path / "remote", tmp_path / "other") as other:
        other.pull()
        assert other.fsck(full=True).problems == ()


def test_a_fetch_beside_a_push_makes_it_plan_again(tmp_path, rng, monkeypatch):
    """While objects are sent another process here reads on: what was planned before is not appended behind that."""
    one = new(tmp_path / "one")
    origin(one, tmp_path / "remote")
    version(one, {"a": "1"})
    one.push()
    other = clone(tmp_path / "remote", tmp_path / "other")
    version(other, {"b": "theirs"})
    version(one, {"c": "ours"})
    real, done = pushing._store, []

    def store(*arguments: object) -> None:
        real(*arguments)  # type: ignore[arg-type]
        if not done:
            done.append(True)
            other.push()
            with reopen(tmp_path / "one") as beside:
                assert beside.fetch().entries == 1

    monkeypatch.setattr(pushing, "_store", store)
    assert one.push().versions == ("demo/data:v2",)
    with clone(tmp_path / "remote", tmp_path / "made") as made:
        assert [info.version for info in made.log("data")] == ["v2", "v1", "v0"]
        for number, name in ((1, "b"), (2, "c")):
            made.get(f"data:v{number}", root=tmp_path / f"out{number}")
            assert name in tree(tmp_path / f"out{number}")
