"""L2 to L6 of protocol.md: each rule holds, and a check that passes with it fails when it is taken out.

The first rule, the order of writes, is in ``test_power_cuts.py``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from artifactvc.errors import Corrupt
from artifactvc.ops import roots
from artifactvc.storage import sweep
from artifactvc.storage.avcdir import AvcDir
from artifactvc.storage.drafts import Draft, Drafts
from artifactvc.storage.places import Places
from artifactvc.storage.store import Store
from tests.faults.helpers import (
    LARGE,
    Answer,
    call,
    done,
    drafts,
    ended,
    fill,
    holds,
    made,
    read_files,
    some_files,
    sound,
    start,
    versions,
)

#: What a command that does not wait for anybody needs at most; one that is still running then waits.
_WAITS = 2.5


@pytest.fixture
def files(rng: random.Random) -> dict[str, bytes]:
    return some_files(rng)


@pytest.fixture
def ws(tmp_path: Path) -> Path:
    return made(tmp_path / "ws")


def _objects(ws: Path) -> list[Path]:
    """The files that hold objects."""
    root = ws / ".artifacts"
    return [*root.glob("packs/*.pack"), *root.glob("objects/*/*")]


def _trash(ws: Path) -> dict[str, bytes]:
    trash = ws / ".artifacts" / "trash"
    return read_files(trash) if trash.is_dir() else {}


def _committed(ws: Path, files: dict[str, bytes], name: str = "d") -> None:
    fill(ws / name, files)
    done(ws, "add", ws / name)
    done(ws, "commit", name)


def _lose(ws: Path, *, seconds: float = 0) -> None:
    """Move every object to the trash, as a gc does whose lock is not shared; it lies there since *seconds*."""
    target = ws / ".artifacts" / "trash" / "2020-01-01T000000-deadbeef"
    target.mkdir(parents=True)
    for path in _objects(ws):
        name = path.name if path.suffix == ".pack" else path.parent.name + path.name
        path.rename(target / name)
    _age(ws, seconds)


def _age(ws: Path, seconds: float) -> None:
    """Let what is in the trash have come there *seconds* ago."""
    then = time.time() - seconds
    for directory in (ws / ".artifacts" / "trash").iterdir():
        os.utime(directory, (then, then))


@contextlib.contextmanager
def _before_a_draft_is_saved(monkeypatch: pytest.MonkeyPatch, deed: Callable[[], None]) -> Iterator[None]:
    """Do *deed* once, when this thread is about to give a draft its name: its objects are in the store by then."""
    mine, real, left = threading.current_thread(), {"rename": os.rename, "replace": os.replace}, [deed]

    def watched(name: str) -> Callable[..., Any]:
        def move(source: Any, target: Any, **options: Any) -> None:
            if left and threading.current_thread() is mine and Path(os.fspath(target)).parent.name == "drafts":
                left.pop()()
            real[name](source, target, **options)

        return move

    with monkeypatch.context() as patch:
        for name in real:
            patch.setattr(os, name, watched(name))
        yield
    assert not left, "no draft was saved"


class _Beside:
    """A command that another process starts in the middle of ours."""

    def __init__(self, ws: Path, *arguments: str) -> None:
        self.ws, self.arguments, self.waited = ws, arguments, False
        self._process: subprocess.Popen[str] | None = None

    def __call__(self) -> None:
        self._process = start(self.ws, *self.arguments)
        try:
            self._process.wait(_WAITS)
        except subprocess.TimeoutExpired:
            self.waited = True

    def ended(self) -> Answer:
        assert self._process is not None
        return ended(self._process)


# ---- L2: the lock ------------------------------------------------------------------------------------


def _gc_in_the_gap(ws: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Run gc between the objects of an ``add`` and its draft; whether it left the objects alone."""
    fill(ws / "d", files)
    beside = _Beside(ws, "gc", "--grace", "1h")
    with _before_a_draft_is_saved(monkeypatch, beside):
        done(ws, "add", ws / "d")
    answer = beside.ended()
    assert answer.code == 0, answer
    return beside.waited and not _trash(ws)


def test_l2_gc_waits_for_a_writer(ws: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    assert _gc_in_the_gap(ws, files, monkeypatch)
    sound(ws)
    done(ws, "commit")
    holds(ws, "d:v0", files)


def test_l2_without_the_writers_lock_gc_takes_its_objects(
    ws: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(AvcDir, "writing", lambda self: contextlib.nullcontext())
        assert not _gc_in_the_gap(ws, files, monkeypatch)
    assert _trash(ws), "gc moved nothing, so what was the lock for?"


def _unlocked_steps(ws: Path, monkeypatch: pytest.MonkeyPatch, *command: str | Path) -> list[str]:
    """The steps of a command between its first question to the store and its draft or entry that had no lock."""
    found: list[str] = []
    inherited: list[str] = []
    steps = 0
    lock = ws / ".artifacts" / "store.lock"

    def look(step: str) -> None:
        nonlocal steps
        steps += 1
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found.append(step)
        except BlockingIOError:
            pass
        finally:
            os.close(fd)
        for other in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                same = os.readlink(f"/proc/self/fd/{other}") == os.fspath(lock)
                if same and not fcntl.fcntl(int(other), fcntl.F_GETFD) & fcntl.FD_CLOEXEC:
                    inherited.append(step)

    def watched(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def move(source: Any, target: Any, **options: Any) -> None:
            inside = os.path.relpath(os.fspath(target), ws / ".artifacts")
            if inside.split("/")[0] in ("packs", "objects", "drafts", "log"):
                look(f"{name} to {inside}")
            real(source, target, **options)

        return move

    def has(self: Store, digests: Any) -> set[str]:
        look("a question")
        return real_has(self, digests)

    real_has = Store.has
    with monkeypatch.context() as patch:
        for name in ("rename", "replace", "link"):
            patch.setattr(os, name, watched(name))
        patch.setattr(Store, "has", has)
        done(ws, *command)
    assert steps, f"{command} took no step that was seen"
    assert not inherited, "the lock is not close-on-exec"
    fd = os.open(lock, os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # and it is free again
    os.close(fd)
    return found


def test_l2_writers_hold_the_lock_from_question_to_name(
    ws: Path, tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(ws / "d", files)
    fill(tmp_path / "in", {"x": b"x" * LARGE})
    commands: tuple[tuple[str | Path, ...], ...] = (
        ("add", ws / "d"),
        ("commit", "-m", "text"),
        ("put", tmp_path / "in", "--name", "other", "-m", "text"),
        ("edit", "d:v0", "--meta", "k=1"),
    )
    for command in commands:
        assert _unlocked_steps(ws, monkeypatch, *command) == []
    monkeypatch.setattr(AvcDir, "writing", lambda self: contextlib.nullcontext())
    fill(ws / "d", {**files, "more": b"more"})
    assert _unlocked_steps(ws, monkeypatch, "add")
    assert _unlocked_steps(ws, monkeypatch, "commit", "-m", "text")


def test_l2_gc_takes_the_lock_alone(ws: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """While anybody holds the lock gc waits, and moves nothing before; without its lock it does not wait."""
    _committed(ws, files)
    done(ws, "delete", "d:v0", "--delete-aliases")

    def moves_while_locked() -> bool:
        fd = os.open(ws / ".artifacts" / "store.lock", os.O_RDWR)
        fcntl.flock(fd, fcntl.LOCK_SH)
        thread = threading.Thread(target=_quiet_gc, args=(ws,))
        try:
            thread.start()
            thread.join(0.7)
            return not thread.is_alive() or bool(_trash(ws))
        finally:
            os.close(fd)
            thread.join()

    assert not moves_while_locked()
    assert _trash(ws)
    shutil.rmtree(ws / ".artifacts" / "trash")
    _committed(ws, {"other": b"other"}, "e")
    done(ws, "delete", "e:v0", "--delete-aliases")
    monkeypatch.setattr(AvcDir, "collecting", lambda self: contextlib.nullcontext())
    assert moves_while_locked()


def _quiet_gc(ws: Path) -> None:
    from artifactvc.sdk.repository import Repository

    with Repository.open(ws) as repository:
        repository.gc(grace="0s")


# ---- L3: the trash ------------------------------------------------------------------------------------


def _collected_and_kept(ws: Path, files: dict[str, bytes]) -> bool:
    """Drop a draft and collect it; whether its bytes are in the trash, also after a gc within the grace."""
    fill(ws / "d", files)
    done(ws, "add", ws / "d")
    done(ws, "reset", "d")
    assert _objects(ws)
    done(ws, "gc", "--grace", "0s")
    first = _trash(ws)
    done(ws, "gc", "--grace", "1h")
    assert not _objects(ws)
    return files["large"] in first.values() and len(first) >= 2 and _trash(ws) == first


def test_l3_gc_moves_to_the_trash_and_unlinks_after_the_grace(ws: Path, files: dict[str, bytes]) -> None:
    assert _collected_and_kept(ws, files)
    _age(ws, 3500)
    done(ws, "gc", "--grace", "1h")
    assert _trash(ws)
    _age(ws, 3700)
    done(ws, "gc", "--grace", "1h")
    assert not _trash(ws)
    sound(ws)


def test_l3_without_the_trash_or_the_grace_the_bytes_are_gone(
    tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    real_rename, real_settle = os.rename, sweep.settle

    def unlink_instead(source: Any, target: Any, **options: Any) -> None:
        if "/trash/" in os.fspath(target):
            os.unlink(source)
        else:
            real_rename(source, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", unlink_instead)
        assert not _collected_and_kept(made(tmp_path / "no trash"), files)
    with monkeypatch.context() as patch:
        patch.setattr(
            sweep, "settle", lambda store, needed, older_than, **how: real_settle(store, needed, float("inf"), **how)
        )
        assert not _collected_and_kept(made(tmp_path / "no grace"), files)


def _read_from_trash(ws: Path, tmp_path: Path, files: dict[str, bytes]) -> list[str]:
    """What of a version, all of whose objects lie in the trash, is found by each way of reading it."""
    _committed(ws, files)
    (ws / "d" / "f0").write_bytes(b"changed")
    failed = []
    for what, command in (
        ("cat small", ("cat", "d:v0", "f0")),
        ("cat large", ("cat", "d:v0", "large")),
        ("ls", ("ls", "d:v0")),
        ("checkout", ("checkout", "d:v0", tmp_path / "out" / ws.name)),
        ("diff", ("diff", "d")),
        ("add", ("add",)),
        ("push", ("push",)),
    ):
        if what == "push":
            done(ws, "remote", "add", "origin", tmp_path / "remotes" / ws.name)
        _lose(ws)
        answer = call(ws, *command)
        if answer.code != 0:
            failed.append(f"{what}: {answer.err.splitlines()[0]}")
        # put back what was not asked for
        for path in (ws / ".artifacts" / "trash").glob("*/*"):
            below = path.name if path.suffix == ".pack" else f"{path.name[:2]}/{path.name[2:]}"
            target = ws / ".artifacts" / ("packs" if path.suffix == ".pack" else "objects") / below
            target.parent.mkdir(exist_ok=True)
            path.rename(target)
        shutil.rmtree(ws / ".artifacts" / "trash")
    return failed


def test_l3_readers_look_in_the_trash(
    ws: Path, tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "remotes").mkdir()
    assert _read_from_trash(ws, tmp_path, files) == []
    sound(ws)
    holds(ws, "d:v0", files)
    monkeypatch.setattr("artifactvc.storage.store.restore", lambda *arguments: False)
    failed = _read_from_trash(made(tmp_path / "without"), tmp_path, files)
    assert {"cat small", "cat large", "ls", "checkout"} <= {text.partition(":")[0] for text in failed}


def test_l3_commit_looks_in_the_trash(ws: Path, files: dict[str, bytes]) -> None:
    """A draft whose objects a gc took, which did not share the lock, can be committed before the next gc."""
    fill(ws / "d", files)
    done(ws, "add", ws / "d")
    _lose(ws)
    done(ws, "commit")
    sound(ws)
    holds(ws, "d:v0", files)


def _needed_again(ws: Path, files: dict[str, bytes]) -> bool:
    """Collect, although a version and a draft need what is long in the trash; whether all of it is back."""
    _committed(ws, files)
    staged = {**files, "large": b"2" * LARGE, "f0": b"staged"}
    fill(ws / "d", staged)
    done(ws, "add")
    _lose(ws, seconds=10 * 86_400)
    done(ws, "gc", "--grace", "1h")
    if call(ws, "fsck", "--full").code != 0:
        return False
    done(ws, "commit")
    holds(ws, "d:v0", files)
    holds(ws, "d:v1", staged)
    return True


def test_l3_gc_moves_back_what_is_needed_before_it_unlinks(ws: Path, files: dict[str, bytes]) -> None:
    assert _needed_again(ws, files)
    assert not _trash(ws)


def test_l3_without_moving_back_it_is_gone(ws: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    real = sweep.settle
    monkeypatch.setattr(
        sweep, "settle", lambda store, needed, older, **how: real(store, lambda digest: False, older, **how)
    )
    assert not _needed_again(ws, files)


def test_l3_a_lock_that_is_not_shared_loses_nothing(
    ws: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS: gc took an add's objects before its draft was there. The next gc, after the grace, brings them back."""
    with monkeypatch.context() as patch:
        patch.setattr(AvcDir, "writing", lambda self: contextlib.nullcontext())
        assert not _gc_in_the_gap(ws, files, monkeypatch)
    _age(ws, 10 * 86_400)
    done(ws, "gc", "--grace", "1h")
    sound(ws)
    done(ws, "commit")
    holds(ws, "d:v0", files)


# ---- L4: the roots -----------------------------------------------------------------------------------


def _collect_all(ws: Path, grace: str = "1h") -> None:
    """gc, and the end of its grace at once: what it moved is gone."""
    done(ws, "gc", "--grace", grace)
    shutil.rmtree(ws / ".artifacts" / "trash", ignore_errors=True)


def _draft_survives(ws: Path, files: dict[str, bytes]) -> bool:
    fill(ws / "d", files)
    done(ws, "add", ws / "d")
    _collect_all(ws, "0s")
    if call(ws, "commit", "d").code != 0:
        return False
    holds(ws, "d:v0", files)
    return True


def test_l4_a_draft_is_a_root(tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    assert _draft_survives(made(tmp_path / "with"), files)
    monkeypatch.setattr(Drafts, "all", lambda self: [])
    assert not _draft_survives(made(tmp_path / "without"), files)


def _unpushed_survives(ws: Path, remote: Path, files: dict[str, bytes]) -> bool:
    _committed(ws, {"first": b"first"})
    done(ws, "remote", "add", "origin", remote)
    done(ws, "push")
    _committed(ws, files)
    _collect_all(ws, "0s")
    if call(ws, "push").code != 0:
        return False
    holds(ws, "d:v1", files)
    return True


def test_l4_an_unpushed_version_is_a_root(
    tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _unpushed_survives(made(tmp_path / "with"), tmp_path / "remote", files)
    real = roots.kept_manifests

    def pushed_only(session: Any, grace: Any) -> list[tuple[str, str]]:
        rows = session.index.connection.execute("SELECT digest FROM version WHERE provisional = 1").fetchall()
        ours = {row[0] for row in rows}
        return [found for found in real(session, grace) if found[0] not in ours]

    monkeypatch.setattr(roots, "kept_manifests", pushed_only)
    assert not _unpushed_survives(made(tmp_path / "without"), tmp_path / "other remote", files)


def _deleted_survives(ws: Path, files: dict[str, bytes]) -> bool:
    _committed(ws, files)
    done(ws, "delete", "d:v0", "--delete-aliases")
    _collect_all(ws)
    if call(ws, "restore", "d:v0").code != 0 or call(ws, "fsck", "--full").code != 0:
        return False
    holds(ws, "d:v0", files)
    return True


def test_l4_a_recent_deletion_is_a_root(
    tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _deleted_survives(made(tmp_path / "with"), files)
    real = roots.kept_manifests

    def live_only(session: Any, grace: Any) -> list[tuple[str, str]]:
        rows = session.index.connection.execute("SELECT digest FROM version WHERE live = 0").fetchall()
        deleted = {row[0] for row in rows}
        return [found for found in real(session, grace) if found[0] not in deleted]

    monkeypatch.setattr(roots, "kept_manifests", live_only)
    assert not _deleted_survives(made(tmp_path / "without"), files)


def _stopped_by_a_draft(ws: Path, files: dict[str, bytes]) -> Answer:
    """What gc says in a repository with a draft that cannot be read; nothing else needs its objects."""
    _committed(ws, {"first": b"first"})
    fill(ws / "d", files)
    done(ws, "add")
    (draft,) = (ws / ".artifacts" / "drafts").glob("*.json")
    draft.write_bytes(draft.read_bytes()[:40])
    return call(ws, "gc", "--grace", "0s")


def test_l4_a_draft_that_cannot_be_read_stops_gc(
    tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    ws = made(tmp_path / "with")
    answer = _stopped_by_a_draft(ws, files)
    assert (answer.code, _trash(ws)) == (1, {})
    assert "draft" in answer.err

    def readable(self: Drafts) -> list[Draft]:
        with contextlib.suppress(Corrupt):
            return real(self)
        return []

    real = Drafts.all
    monkeypatch.setattr(Drafts, "all", readable)
    ws = made(tmp_path / "without")
    _stopped_by_a_draft(ws, files)
    assert _trash(ws)


def test_l4_a_log_that_cannot_be_read_stops_gc(ws: Path, files: dict[str, bytes]) -> None:
    _committed(ws, files)
    _committed(ws, {"second": b"second"})
    entry = ws / ".artifacts" / "log" / f"{1:020d}.json"
    entry.write_bytes(entry.read_bytes().replace(b"version", b"vErsion"))
    (ws / ".artifacts" / "index.sqlite").unlink()
    assert call(ws, "gc", "--grace", "0s").code == 1
    assert not _trash(ws)


def test_l4_a_draft_whose_process_is_gone_goes_after_the_grace(
    ws: Path, tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ``put`` that was killed leaves its draft; it keeps its objects for the grace, and not for ever."""
    fill(tmp_path / "in", files)
    with monkeypatch.context() as patch:
        patch.setattr("artifactvc.ops.put.land", _killed)
        with pytest.raises(KeyboardInterrupt):
            _put(ws, tmp_path / "in")
    (draft,) = (ws / ".artifacts" / "drafts").glob("p-*.json")
    text = draft.read_text()
    gone = subprocess.Popen(["true"])
    gone.wait()
    draft.write_text(text.replace(f"process {os.getpid()} ", f"process {gone.pid} "))
    done(ws, "gc", "--grace", "1h")
    assert draft.exists()
    assert not _trash(ws)
    then = time.time() - 3700
    os.utime(draft, (then, then))
    done(ws, "gc", "--grace", "1h")
    assert not draft.exists()


def _killed(*arguments: Any, **options: Any) -> Any:
    raise KeyboardInterrupt


def _put(ws: Path, source: Path) -> None:
    from artifactvc.sdk.repository import Repository

    with Repository.open(ws) as repository:
        repository.put(source, name="d")


# ---- L5: drafts merge -----------------------------------------------------------------------------------


def _staged_at_once(ws: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Another process adds a file while ours is about to save its draft; whether both files are in it."""
    (ws / "d").mkdir()
    for name in ("first", "ours", "theirs"):
        (ws / "d" / name).write_text(name)
    done(ws, "add", ws / "d" / "first", "--to", "d")
    beside = _Beside(ws, "add", "d/theirs", "--to", "d")
    with _before_a_draft_is_saved(monkeypatch, beside):
        done(ws, "add", ws / "d" / "ours", "--to", "d")
    answer = beside.ended()
    assert answer.code == 0, answer
    done(ws, "commit", "d")
    found = set(done(ws, "ls", "d:v0").split())
    assert "ours" in found
    return {"first", "ours", "theirs"} <= found


def test_l5_two_commands_that_stage_at_once_merge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _staged_at_once(made(tmp_path / "with"), monkeypatch)
    monkeypatch.setattr(Drafts, "locked", lambda self, draft_id: contextlib.nullcontext())
    assert not _staged_at_once(made(tmp_path / "without"), monkeypatch)


def test_l5_only_what_a_command_touched_changes(ws: Path) -> None:
    """A file that was staged stays as it was staged when another one is added, whatever the workspace has now."""
    fill(ws / "d", {"a": b"a0", "b": b"b0"})
    done(ws, "add", ws / "d")
    done(ws, "commit")
    fill(ws / "d", {"a": b"a1", "b": b"b1", "c": b"c1"})
    done(ws, "add", ws / "d" / "a")
    fill(ws / "d", {"a": b"a2", "b": b"b2", "c": b"c2"})
    done(ws, "add", ws / "d" / "c")
    done(ws, "commit")
    holds(ws, "d:v1", {"a": b"a1", "b": b"b0", "c": b"c2"})


def test_l5_put_does_not_touch_the_workspaces_draft(ws: Path, tmp_path: Path, files: dict[str, bytes]) -> None:
    fill(ws / "d", files)
    done(ws, "add", ws / "d")
    before = drafts(ws)
    fill(tmp_path / "in", {"x": b"x"})
    done(ws, "put", tmp_path / "in", "--name", "d")
    assert drafts(ws) == before
    done(ws, "commit")
    holds(ws, "d:v0", {"x": b"x"})
    holds(ws, "d:v1", files)


# ---- L6: the stat cache saves a hash, never a question -------------------------------------------------


def _stored_again(ws: Path, files: dict[str, bytes], kind: str) -> bool:
    """Add, lose objects from the store, add again; whether a commit then has every byte.

    The files' objects are in the pack of another artifact's draft, which is dropped: what is
    lost are bytes of files, not the manifest that says which.
    """
    fill(ws / "first", files)
    fill(ws / "d", files)
    time.sleep(0.05)  # past the racy time: the stat cache knows every file
    done(ws, "add", ws / "first")
    lost = [path for path in _objects(ws) if (path.suffix == ".pack") == (kind == "packs")]
    done(ws, "add", ws / "d", "--as", "below")
    done(ws, "reset", "first")
    done(ws, "add", ws / "d")
    for path in lost:
        path.unlink()
    again, committed = call(ws, "add", ws / "d"), call(ws, "commit", "d")
    return (
        again.code == 0 and committed.code == 0 and _has(ws, "d:v0", {f"below/{name}": files[name] for name in files})
    )


def _has(ws: Path, ref: str, files: dict[str, bytes]) -> bool:
    try:
        holds(ws, ref, files)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("kind", ["packs", "objects"])
def test_l6_add_reads_and_stores_again_what_left_the_store(ws: Path, files: dict[str, bytes], kind: str) -> None:
    assert _stored_again(ws, files, kind)
    sound(ws)


def _trust_the_cache(patch: pytest.MonkeyPatch) -> None:
    """Take L6 out: whatever the stat cache knows is taken to be in the store."""
    patch.setattr(Store, "has", lambda self, digests: set(digests))
    patch.setattr(Places, "generation", lambda self: 1)
    _commit_unasked(patch)


def _commit_unasked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("artifactvc.ops.commit.require_complete", lambda *arguments, **options: None)


@pytest.mark.parametrize("kind", ["packs", "objects"])
def test_l6_without_the_question_the_bytes_are_missing(
    ws: Path, files: dict[str, bytes], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        _trust_the_cache(patch)
        assert not _stored_again(ws, files, kind)


def _committed_without_bytes(ws: Path, files: dict[str, bytes]) -> Answer:
    """Add, lose the large file's object (the manifest is still there), commit."""
    fill(ws / "d", files)
    done(ws, "add", ws / "d")
    (large,) = (path for path in _objects(ws) if path.suffix != ".pack")
    large.unlink()
    return call(ws, "commit")


def test_l6_commit_refuses_what_is_gone(
    tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    ws = made(tmp_path / "with")
    answer = _committed_without_bytes(ws, files)
    assert answer.code == 1
    assert "add" in answer.err
    assert versions(ws, "d") == {}
    _commit_unasked(monkeypatch)
    ws = made(tmp_path / "without")
    assert _committed_without_bytes(ws, files).code == 0
    assert call(ws, "fsck").code == 1


def test_l6_commit_refuses_when_the_packs_are_gone(ws: Path, files: dict[str, bytes]) -> None:
    fill(ws / "d", files)
    done(ws, "add", ws / "d")
    for path in _objects(ws):
        if path.suffix == ".pack":
            path.unlink()
    answer = call(ws, "commit")
    assert answer.code == 1
    assert "Traceback" not in answer.err
    assert "unexpected" not in answer.err
    assert versions(ws, "d") == {}


def test_l6_what_a_remote_holds_need_not_be_here(ws: Path, tmp_path: Path, files: dict[str, bytes]) -> None:
    """``commit`` of a draft on a version whose bytes are only on the remote."""
    _committed(ws, files)
    done(ws, "remote", "add", "origin", tmp_path / "remote")
    done(ws, "push")
    for path in _objects(ws):
        path.unlink()
    (ws / "d" / "more").write_bytes(b"more")
    done(ws, "add", ws / "d" / "more")
    done(ws, "commit")
    done(ws, "push")
    clone = tmp_path / "clone"
    done(tmp_path, "clone", tmp_path / "remote", clone)
    holds(clone, "d:v1", {**files, "more": b"more"})
