"""The store: what is put is there, what is damaged is never handed out, what is trusted is what was verified."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from artifactvc.core.model import EMPTY
from artifactvc.errors import DigestMismatch, MissingObject, UnreadableFile, UnstableFile, UnsupportedFile
from artifactvc.storage.avcdir import AvcDir, create
from artifactvc.storage.loose import own_path
from artifactvc.storage.writer import StoreWriter
from artifactvc.util.hashing import digest_bytes

LARGE = os.urandom(300_000)


@pytest.fixture
def avc(tmp_path):
    create(tmp_path / ".artifacts", "demo")
    found = AvcDir(tmp_path / ".artifacts")
    yield found
    found.close()


def put(avc: AvcDir, *objects: bytes) -> list[str]:
    with avc.writing(), avc.writer() as writer:
        return [writer.put(data) for data in objects]


def again(avc: AvcDir) -> AvcDir:
    return AvcDir(avc.root)


def only_pack(avc: AvcDir) -> Path:
    (path,) = avc.store.packs_dir.glob("*.pack")
    return path


def overwrite(path: Path, offset: int, data: bytes) -> None:
    path.chmod(0o644)
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def test_small_and_large_objects_come_back(avc):
    small, large, empty = put(avc, b"small", LARGE, b"")
    assert (small, large, empty) == (digest_bytes(b"small"), digest_bytes(LARGE), EMPTY)
    store = again(avc).store
    assert store.read(small) == b"small"
    assert b"".join(store.chunks(large)) == LARGE
    assert store.read(EMPTY) == b""
    assert store.has([small, large, empty, "0" * 64]) == {small, large, empty}


def test_an_object_is_stored_once(avc):
    put(avc, b"same", b"same", LARGE, LARGE)
    put(again(avc), b"same", LARGE)
    assert len(list(avc.store.packs_dir.iterdir())) == 1
    assert sum(path.is_file() for path in avc.store.objects_dir.rglob("*")) == 1


def test_an_error_leaves_nothing_behind(avc):
    with pytest.raises(RuntimeError, match="stop"), avc.writing(), avc.writer() as writer:
        writer.put(b"a" * 1000)
        raise RuntimeError("stop")
    assert list(avc.store.packs_dir.iterdir()) == []
    assert list(avc.tmp.iterdir()) == []


def test_a_damaged_small_object_is_named_and_not_handed_out(avc):
    (digest,) = put(avc, b"precious bytes")
    overwrite(only_pack(avc), 8, b"X")
    store = again(avc).store
    with pytest.raises(DigestMismatch, match=f"damaged object '{digest:.12}' in pack"):
        store.read(digest)
    with pytest.raises(DigestMismatch):
        list(store.read_many([digest]))


def test_a_missing_object_says_so(avc):
    with pytest.raises(MissingObject, match="object '000000000000' is not here") as caught:
        avc.store.read("0" * 64)
    assert "avc pull" in caught.value.hint


def test_the_trust_rule_catches_bytes_changed_in_place(avc):
    """Size and mtime put back as they were: ctime tells (design, section 4)."""
    (digest,) = put(avc, LARGE)
    path = own_path(avc.store.objects_dir, digest)
    before = path.stat()
    overwrite(path, 1000, b"XYZ")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    path.chmod(0o444)
    with pytest.raises(DigestMismatch, match=f"damaged object '{digest:.12}'"):
        again(avc).store.own_path(digest)


def test_the_trust_rule_does_not_hash_what_it_covers(avc, monkeypatch):
    (digest,) = put(avc, LARGE)
    from artifactvc.storage import loose

    monkeypatch.setattr(loose, "hash_file", lambda fd: pytest.fail("hashed again"))
    assert again(avc).store.own_path(digest) == own_path(avc.store.objects_dir, digest)


def test_a_touched_object_is_hashed_once_and_trusted_again(avc):
    (digest,) = put(avc, LARGE)
    path = own_path(avc.store.objects_dir, digest)
    os.utime(path)
    store = again(avc).store
    assert store.own_path(digest) == path
    recorded = store.places.stamp(digest)
    assert recorded is not None
    assert recorded.mtime == path.stat().st_mtime_ns


def test_packs_that_another_process_brought_are_found(avc):
    one = again(avc)
    (first,) = put(avc, b"first")
    assert one.store.has([first]) == {first}
    (second,) = put(again(avc), b"second")
    assert one.store.has([second]) == {second}
    assert one.store.read(second) == b"second"


def test_rows_can_be_made_again_from_the_files_alone(avc):
    digests = put(avc, b"a", b"b" * 5000, LARGE)
    store = again(avc).store
    store.rescan(rebuild=True)
    assert store.has(digests) == set(digests)
    assert sorted(store.iter_all()) == sorted((d, n) for d, n in zip(digests, (1, 5000, 300_000), strict=True))


def test_a_pack_that_is_gone_is_not_claimed_to_be_there(avc):
    (digest,) = put(avc, b"gone soon")
    only_pack(avc).unlink()
    other = again(avc)
    generation = avc.store.places.generation()
    assert other.store.has([digest]) == set()
    assert other.store.places.generation() > generation, "what was complete must be asked again (L6)"


# ---- files --------------------------------------------------------------------------------------


def taken(avc: AvcDir, path: Path, **options: bool) -> str:
    with avc.writing(), avc.writer() as writer:
        return writer.put_file(os.fspath(path), **options)[0]


@pytest.mark.parametrize("data", [b"small", LARGE, b""])
def test_a_file_is_stored_as_it_is(avc, tmp_path, data):
    path = tmp_path / "f"
    path.write_bytes(data)
    assert taken(avc, path) == digest_bytes(data)
    assert b"".join(again(avc).store.chunks(digest_bytes(data))) == data


def test_move_links_the_file_and_never_takes_its_name(avc, tmp_path):
    path = tmp_path / "f"
    path.write_bytes(LARGE)
    digest = taken(avc, path, move=True)
    stored = own_path(avc.store.objects_dir, digest)
    assert path.read_bytes() == LARGE
    assert os.path.samefile(path, stored)
    assert path.stat().st_mode & 0o222 == 0, "a write to it would change the object"
    assert again(avc).store.own_path(digest) == stored


def test_special_files_are_refused_by_their_kind(avc, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(os.fspath(tmp_path / "sock"))
    with pytest.raises(UnsupportedFile, match="is a pipe"):
        taken(avc, tmp_path / "pipe")
    with pytest.raises(UnsupportedFile, match="is not a regular file"):
        taken(avc, tmp_path / "sock")
    with pytest.raises(UnsupportedFile, match="is a device"):
        taken(avc, Path("/dev/zero"))
    listening.close()


@pytest.mark.parametrize("size", [4000, 400_000])
def test_a_file_that_keeps_changing_is_an_error(avc, tmp_path, monkeypatch, size):
    """Read again once, then said: what was read is of no moment that there ever was."""
    path = tmp_path / "f"
    path.write_bytes(bytes(size))
    looks = []
    real = os.fstat

    def fstat(fd: int) -> os.stat_result:
        if os.readlink(f"/proc/self/fd/{fd}") == os.fspath(path):
            looks.append(fd)
            if len(looks) % 2 == 0:  # between the look before and the look after
                with open(path, "r+b") as file:
                    file.write(os.urandom(8))
                os.utime(path, ns=(0, len(looks)))
        return real(fd)

    monkeypatch.setattr(os, "fstat", fstat)
    with pytest.raises(UnstableFile, match="keeps changing while it is read") as caught:
        taken(avc, path)
    assert caught.value.hint == "wait until its writer is done, then run again"
    assert len(looks) == 4, "two tries"


def test_a_file_that_changed_once_is_read_again(avc, tmp_path, monkeypatch):
    path = tmp_path / "f"
    path.write_bytes(b"old" * 1000)
    real, changed = os.read, []

    def read(fd: int, count: int) -> bytes:
        data = real(fd, count)
        if not changed:
            changed.append(fd)
            path.write_bytes(b"new" * 1000)
            os.utime(path, ns=(0, 1))
        return data

    monkeypatch.setattr(os, "read", read)
    assert taken(avc, path) == digest_bytes(b"new" * 1000)


@pytest.mark.skipif(os.geteuid() != 0, reason="reading as somebody else needs root")
def test_an_unreadable_file_is_named(avc, tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"x")
    path.chmod(0)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.seteuid(65534)
            try:
                StoreWriter(avc.store).put_file(os.fspath(path))
            except UnreadableFile as error:
                code = 0 if "permission denied" in error.message else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) in (0,) or not os.access(path.parent, os.X_OK)


# ---- the lock -----------------------------------------------------------------------------------


def test_gc_waits_for_a_writer(avc):
    """L2: the lock is shared among writers and alone for gc."""
    order: list[str] = []
    inside_lock = threading.Event()

    def collect() -> None:
        inside_lock.wait()
        with again(avc).collecting():
            order.append("gc")

    thread = threading.Thread(target=collect)
    thread.start()
    with avc.writing():
        inside_lock.set()
        with again(avc).writing():
            order.append("another writer")
        time.sleep(0.1)  # time for a gc that does not wait to show itself; a slow one only makes this test kinder
        order.append("writer done")
    thread.join()
    assert order == ["another writer", "writer done", "gc"]


def test_finding_one_version_does_not_walk_all(tmp_path):
    """A question by content uses the index that fits it, however many versions the artifact has."""
    from artifactvc.storage.database import connect
    from artifactvc.storage.rows import SqliteRows

    connection = connect(tmp_path / "index.sqlite")
    asked: list[str] = []
    connection.set_trace_callback(asked.append)
    rows = SqliteRows(connection)
    rows.find("version", artifact="a", digest="d")
    rows.find("alias", artifact="a", digest="d")
    rows.find("used", run="r")
    for sql in [line for line in asked if line.startswith("SELECT")]:
        plan = " ".join(str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}"))
        assert "AND digest=?" in plan or "(run=?)" in plan, plan
