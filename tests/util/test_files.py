"""Files: whole or not at all, made by one, locked against others (protocol L1, L2).

Crashes are made with forked children that end themselves, without a word, before the
n-th call that touches the disk; so the order of calls is what is tested, not luck.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from artifactvc.errors import AvcError, NoSpace, ReadOnly, StorageError
from artifactvc.util import files

DISK_CALLS = ("open", "write", "fsync", "link", "unlink", "replace", "mkdir")


def in_child(work: Callable[[], int]) -> int:
    """Start *work* in a forked child; the child's exit code is what it returns, 99 for an error."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = work()
        finally:
            os._exit(code)
    return pid


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


def crashing(work: Callable[[], object]) -> Iterator[int]:
    """Run *work* in children, each ending before its n-th call to the disk, until one gets through."""
    for n in range(1, 50):

        def child(n: int = n) -> int:
            left = [n]

            def ending(real: Callable) -> Callable:
                def call(*args, **kwargs):
                    left[0] -= 1
                    if left[0] == 0:
                        os._exit(7)
                    return real(*args, **kwargs)

                return call

            with patch.multiple(os, **{name: ending(getattr(os, name)) for name in DISK_CALLS}):
                work()
            return 0

        code = ended(in_child(child))
        assert code in (0, 7)
        yield n
        if code == 0:
            assert n > 1
            return
    raise AssertionError("it never ends")


class Failing:
    """`os.write` that takes *first* bytes, then fails with *code*."""

    def __init__(self, code: int, first: int = 3) -> None:
        self.code, self.left, self.real = code, first, os.write

    def __call__(self, fd: int, data: bytes) -> int:
        if self.left == 0:
            raise OSError(self.code, os.strerror(self.code))
        taken, self.left = min(self.left, len(data)), 0
        return self.real(fd, data[:taken])


# ---- errors of the disk -------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk(code):
    """Also a full quota: NoSpace, with the place."""
    error = files.storage_error(OSError(code, "x"), "/mnt/data")
    assert type(error) is NoSpace
    assert error.message == "no space left on the disk of '/mnt/data'"
    assert error.hint == "free some space and run the command again"


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_disk_that_cannot_be_written(code):
    """ReadOnly, with the place and the reason."""
    error = files.storage_error(OSError(code, "x"), Path("/mnt/data"))
    assert type(error) is ReadOnly
    assert error.message == f"cannot write '/mnt/data': {os.strerror(code)}"
    assert error.hint == "check its permissions"


def test_a_disk_that_fails_otherwise():
    """StorageError, with the place and what the system says."""
    error = files.storage_error(OSError(errno.EIO, "Input/output error"), "/mnt/data")
    assert type(error) is StorageError
    assert error.message == "cannot write '/mnt/data': Input/output error"
    assert files.storage_error(OSError("odd"), "/mnt/data").message == "cannot write '/mnt/data': odd"


@pytest.mark.parametrize(
    ("code", "kind"),
    [(errno.ENOSPC, NoSpace), (errno.EDQUOT, NoSpace), (errno.EROFS, ReadOnly), (errno.EACCES, ReadOnly),
     (errno.EPERM, ReadOnly), (errno.EIO, StorageError)],
)  # fmt: skip
def test_what_the_disk_refuses_is_told(code, kind, tmp_path):
    """With the cause kept."""
    with pytest.raises(AvcError) as caught, files.writing(tmp_path):
        raise OSError(code, os.strerror(code))
    assert type(caught.value) is kind
    assert str(tmp_path) in caught.value.message
    assert caught.value.__cause__.errno == code


@pytest.mark.parametrize(
    "error", [FileNotFoundError(errno.ENOENT, "x"), FileExistsError(errno.EEXIST, "x"), KeyError("x")]
)
def test_other_errors_pass(error, tmp_path):
    """A missing file is not the disk's refusal."""
    with pytest.raises(type(error)) as caught, files.writing(tmp_path):
        raise error
    assert caught.value is error


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_a_device_that_is_really_full():
    """The kernel's own ENOSPC becomes NoSpace."""
    fd = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(NoSpace) as caught, files.writing("/dev/full"):
            files.write_all(fd, b"abc")
    finally:
        os.close(fd)
    assert caught.value.message == "no space left on the disk of '/dev/full'"


# ---- writing ------------------------------------------------------------------------------------


def test_short_writes_are_carried_on(tmp_path):
    """One `write` may take less than all."""
    real = os.write
    with patch.object(os, "write", lambda fd, data: real(fd, data[:3])):
        files.write_new(tmp_path / "a", b"0123456789")
        files.write_new(tmp_path / "empty", b"")
    assert (tmp_path / "a").read_bytes() == b"0123456789"
    assert (tmp_path / "empty").read_bytes() == b""


def test_a_new_file_overwrites_nothing(tmp_path):
    """Neither a file nor what a link points to."""
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("a", "link", "dangling"):
        with pytest.raises(FileExistsError):
            files.write_new(tmp_path / name, b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a", "dangling", "link"]


def test_modes(tmp_path):
    """As asked for, less the umask."""
    before = os.umask(0o027)
    try:
        files.write_new(tmp_path / "a", b"")
        files.write_new(tmp_path / "b", b"", mode=0o444)
        files.write_atomic(tmp_path / "c", b"", mode=0o600)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "abc"]
    assert modes == [0o640, 0o440, 0o600]


WRITERS: dict[str, Callable[[Path], object]] = {
    "new": lambda path: files.write_new(path, b"new bytes"),
    "atomic": lambda path: files.write_atomic(path, b"new bytes"),
    "atomic via": lambda path: files.write_atomic(path, b"new bytes", via=path.parent / "tmp"),
    "once": lambda path: files.create_once(path, b"new bytes", via=path.parent / "tmp"),
}


def leftovers(directory: Path) -> list[str]:
    return [name for name in (*names(directory), *names(directory / "tmp")) if name not in ("a", "tmp")]


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("first", [0, 3])
def test_a_full_disk_leaves_nothing_half_written(writer, first, tmp_path):
    """At the first byte or later: no file of the name, none beside it, and the error names the place."""
    (tmp_path / "tmp").mkdir()
    with (
        patch.object(os, "write", Failing(errno.ENOSPC, first)),
        pytest.raises(NoSpace) as caught,
        files.writing(tmp_path / "a"),
    ):
        WRITERS[writer](tmp_path / "a")
    assert caught.value.message == f"no space left on the disk of '{tmp_path / 'a'}'"
    assert names(tmp_path) == ["tmp"]
    assert names(tmp_path / "tmp") == []


@pytest.mark.parametrize("writer", ["atomic", "atomic via"])
@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_failed_replacement_leaves_the_old_file(writer, call, tmp_path):
    """Whatever fails before the rename, nothing is left beside it."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "a").write_bytes(b"old bytes")

    def fail(*_args, **_kwargs):
        raise OSError(errno.EIO, "Input/output error")

    with patch.object(os, call, fail), pytest.raises(OSError, match="Input/output error"):
        WRITERS[writer](tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"old bytes"
    assert leftovers(tmp_path) == []


def test_a_file_is_replaced(tmp_path):
    """Or made, if it was not there; through a directory of the caller's choice."""
    (tmp_path / "tmp").mkdir()
    files.write_atomic(tmp_path / "a", b"one")
    assert (tmp_path / "a").read_bytes() == b"one"
    files.write_atomic(tmp_path / "a", b"two", via=tmp_path / "tmp")
    assert (tmp_path / "a").read_bytes() == b"two"
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("writer", ["atomic", "atomic via"])
def test_a_killed_replacement_leaves_the_old_file_or_the_new(writer, tmp_path):
    """At whatever call it dies; never half a file, never none."""
    (tmp_path / "tmp").mkdir()
    path = tmp_path / "a"
    path.write_bytes(b"old bytes")
    seen = []
    for _ in crashing(lambda: WRITERS[writer](path)):
        seen.append(path.read_bytes())
        path.write_bytes(b"old bytes")
    assert set(seen) == {b"old bytes", b"new bytes"}
    assert seen == sorted(seen, reverse=True)  # once it is new it stays so: "old" sorts after "new"


def test_a_killed_creation_leaves_no_file_or_a_whole_one(tmp_path):
    """At whatever call it dies (protocol L1)."""
    (tmp_path / "tmp").mkdir()
    path = tmp_path / "a"
    seen = []
    for _ in crashing(lambda: WRITERS["once"](path)):
        seen.append(path.read_bytes() if path.exists() else None)
        path.unlink(missing_ok=True)
    assert set(seen) == {None, b"new bytes"}
    assert seen[0] is None
    assert seen[-1] == b"new bytes"


def order_of_calls(work: Callable[[], object]) -> list[str]:
    """The calls to the disk, with what they are about: file contents, directories."""
    done: list[str] = []
    about: dict[int, str] = {}
    real = {name: getattr(os, name) for name in DISK_CALLS}

    def opened(path, flags, *args, **kwargs):
        fd = real["open"](path, flags, *args, **kwargs)
        about[fd] = "directory" if flags & os.O_DIRECTORY else "file"
        return fd

    def synced(fd):
        done.append(f"sync {about.get(fd, '?')}")
        return real["fsync"](fd)

    def noted(name):
        def call(*args, **kwargs):
            done.append(name)
            return real[name](*args, **kwargs)

        return call

    noting = {name: noted(name) for name in ("write", "link", "unlink", "replace", "mkdir")}
    with patch.multiple(os, open=opened, fsync=synced, **noting):
        work()
    return done


def test_bytes_are_on_disk_before_their_name(tmp_path):
    """Written, synced, named, and the directory synced: in this order (protocol L1)."""
    (tmp_path / "tmp").mkdir()
    path = tmp_path / "a"
    assert order_of_calls(lambda: WRITERS["atomic"](path)) == ["write", "sync file", "replace", "sync directory"]
    path.unlink()
    assert order_of_calls(lambda: WRITERS["once"](path)) == ["write", "sync file", "link", "unlink", "sync directory"]


def test_directories_are_durable_in_their_parents(tmp_path):
    """Each new one, from above; what is there is left alone."""
    calls = order_of_calls(lambda: files.make_directories(tmp_path / "a" / "b"))
    assert calls == ["mkdir", "sync directory", "mkdir", "sync directory"]
    assert (tmp_path / "a" / "b").is_dir()
    assert order_of_calls(lambda: files.make_directories(tmp_path / "a" / "b")) == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        files.make_directories(tmp_path / "file" / "x")


def test_syncing(tmp_path):
    """A file system that cannot sync directories is used all the same; a real failure is told."""
    (tmp_path / "a").write_bytes(b"")
    files.sync_file(tmp_path / "a")
    files.sync_directory(tmp_path)
    for code, passes in ((errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EIO, False)):
        with patch.object(os, "fsync", side_effect=OSError(code, "x")):
            if passes:
                files.sync_directory(tmp_path)
            else:
                with pytest.raises(OSError, match="x"):
                    files.sync_directory(tmp_path)
            with pytest.raises(OSError, match="x"):
                files.sync_file(tmp_path / "a")


def test_temporary_names_differ(tmp_path):
    """Each call gives another, in the directory, with its stem."""
    found = {files.temporary(tmp_path, "new") for _ in range(100)}
    assert len(found) == 100
    assert all(path.parent == tmp_path and path.name.startswith("new-") for path in found)


# ---- create once --------------------------------------------------------------------------------


def test_a_file_is_created_once(tmp_path):
    """Who is second is told so, and changes nothing."""
    (tmp_path / "tmp").mkdir()
    assert files.create_once(tmp_path / "a", b"first", via=tmp_path / "tmp") is True
    assert files.create_once(tmp_path / "a", b"second", via=tmp_path / "tmp") is False
    assert (tmp_path / "a").read_bytes() == b"first"
    assert leftovers(tmp_path) == []
    assert (tmp_path / "a").stat().st_nlink == 1


def race(count: int, work: Callable[[int], int]) -> list[int]:
    """Exit codes of *count* children that all begin when all are there."""
    ready, told = os.pipe()
    gate, opens = os.pipe()

    def child(number: int) -> int:
        os.close(opens)
        os.write(told, b".")
        os.read(gate, 1)  # ends when the parent closes its end
        return work(number)

    pids = [in_child(lambda number=number: child(number)) for number in range(count)]
    os.close(told)  # so that a child that dies early is seen, not waited for
    there = b"".join(os.read(ready, 1) for _ in pids)
    os.close(opens)
    codes = [ended(pid) for pid in pids]
    os.close(ready)
    os.close(gate)
    assert there == b"." * count
    return codes


NO_LINK = [errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK]


def no_link(code: int) -> Callable[..., None]:
    def link(*_args, **_kwargs):
        raise OSError(code, os.strerror(code))

    return link


@pytest.mark.parametrize("links", [True, False])
def test_one_of_many_creates_a_file(links, tmp_path):
    """Of eight processes at once exactly one wins, each time, also where there are no hard links."""
    (tmp_path / "tmp").mkdir()

    def rounds(number: int) -> int:
        won = 0
        for n in range(16):
            won += files.create_once(tmp_path / str(n), b"%d" % number * 1000, via=tmp_path / "tmp")
        return won

    def work(number: int) -> int:
        if links:
            return rounds(number)
        with patch.object(os, "link", no_link(errno.EPERM)):
            return rounds(number)

    codes = race(8, work)
    assert sum(codes) == 16
    wins = [0] * 8
    for n in range(16):
        data = (tmp_path / str(n)).read_bytes()
        assert len(data) == 1000
        assert len(set(data)) == 1
        wins[int(data[:1])] += 1
    assert wins == codes
    assert names(tmp_path / "tmp") == []


@pytest.mark.parametrize("code", NO_LINK)
def test_where_there_is_no_link_a_rename_does_it(code, tmp_path):
    """One that never overwrites (protocol L1)."""
    (tmp_path / "tmp").mkdir()
    with patch.object(os, "link", no_link(code)):
        assert files.create_once(tmp_path / "a", b"first", via=tmp_path / "tmp") is True
        assert files.create_once(tmp_path / "a", b"second", via=tmp_path / "tmp") is False
    assert (tmp_path / "a").read_bytes() == b"first"
    assert leftovers(tmp_path) == []


def test_where_neither_is_to_be_had_nothing_is_created(tmp_path):
    """It is refused, never done by a check and a write."""

    class Libc:
        def __init__(self, *_args, **_kwargs) -> None:
            pass

    (tmp_path / "tmp").mkdir()
    with patch.object(os, "link", no_link(errno.EPERM)), patch("ctypes.CDLL", Libc):
        with pytest.raises(StorageError) as caught:
            files.create_once(tmp_path / "a", b"first", via=tmp_path / "tmp")
    assert caught.value.message == f"'{tmp_path}' can neither link nor rename without overwriting"
    assert names(tmp_path) == ["tmp"]
    assert names(tmp_path / "tmp") == []


def test_other_failures_of_a_link_are_told(tmp_path):
    """Another device, a missing directory: no rename is tried."""
    (tmp_path / "tmp").mkdir()
    with pytest.raises(FileNotFoundError):
        files.create_once(tmp_path / "no" / "a", b"x", via=tmp_path / "tmp")
    with patch.object(os, "link", no_link(errno.EIO)), pytest.raises(OSError, match="Input/output"):
        files.create_once(tmp_path / "a", b"x", via=tmp_path / "tmp")
    assert names(tmp_path) == ["tmp"]
    assert names(tmp_path / "tmp") == []


# ---- locks --------------------------------------------------------------------------------------


def can_lock(path: Path, *, exclusive: bool) -> bool:
    """Whether another process could take the lock now."""

    def attempt() -> int:
        try:
            with files.locked(path, exclusive=exclusive, wait=False):
                return 0
        except BlockingIOError:
            return 1

    code = ended(in_child(attempt))
    assert code in (0, 1)
    return code == 0


def test_a_lock_excludes(tmp_path):
    """Exclusive excludes all, shared excludes exclusive; at the end of the block it is free; within a process too."""
    path = tmp_path / "lock"
    with files.locked(path, exclusive=True):
        assert not can_lock(path, exclusive=True)
        assert not can_lock(path, exclusive=False)
        with pytest.raises(BlockingIOError), files.locked(path, exclusive=False, wait=False):
            pytest.fail("two hold it")
    with files.locked(path, exclusive=False):
        assert can_lock(path, exclusive=False)
        assert not can_lock(path, exclusive=True)
    assert can_lock(path, exclusive=True)
    with pytest.raises(KeyError), files.locked(path, exclusive=True):
        raise KeyError
    assert can_lock(path, exclusive=True)


def test_a_lock_is_waited_for(tmp_path):
    """Eight processes count to 400 without losing one."""
    counter = tmp_path / "n"
    counter.write_text("0")

    def work(_number: int) -> int:
        for _ in range(50):
            with files.locked(tmp_path / "lock", exclusive=True):
                counter.write_text(str(int(counter.read_text()) + 1))
        return 0

    assert race(8, work) == [0] * 8
    assert counter.read_text() == "400"


def test_a_killed_holder_leaves_no_lock(tmp_path):
    """The kernel lets go of it."""
    path = tmp_path / "lock"
    held, tell = os.pipe()

    def hold() -> int:
        with files.locked(path, exclusive=True):
            os.write(tell, b".")
            signal.pause()
        return 0

    pid = in_child(hold)
    os.close(tell)
    try:
        assert os.read(held, 1) == b"."
        assert not can_lock(path, exclusive=False)
    finally:
        os.kill(pid, signal.SIGKILL)
        code = ended(pid)
        os.close(held)
    assert code == -signal.SIGKILL
    assert can_lock(path, exclusive=True)


def test_a_program_that_is_started_does_not_keep_the_lock(tmp_path):
    """It is closed on exec: the lock ends with the block, though the program runs on (protocol L2)."""
    path = tmp_path / "lock"
    with contextlib.ExitStack() as lock, contextlib.ExitStack() as running:
        lock.enter_context(files.locked(path, exclusive=True))
        program = running.enter_context(
            subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False)
        )
        program.stdin.write(b".\n")
        program.stdin.flush()
        assert program.stdout.readline() == b".\n"  # it runs
        lock.close()
        assert program.poll() is None
        assert can_lock(path, exclusive=True)


def test_a_lock_of_a_read_only_place(tmp_path):
    """A file that cannot be opened for writing is opened for reading."""
    path = tmp_path / "lock"
    path.write_bytes(b"")
    real, modes = os.open, []

    def read_only(name, flags, *args):
        modes.append(flags & os.O_ACCMODE)
        if flags & os.O_ACCMODE == os.O_RDWR:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(name, flags, *args)

    with patch.object(os, "open", read_only), files.locked(path, exclusive=False):
        assert not can_lock(path, exclusive=True)
    assert modes == [os.O_RDWR, os.O_RDONLY]
    with pytest.raises(IsADirectoryError), files.locked(tmp_path, exclusive=False):
        pytest.fail("a directory is no lock")


def test_a_lock_is_given_back_where_locking_fails(tmp_path):
    """No descriptor is left open."""
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else None
    with (
        patch.object(fcntl, "flock", side_effect=OSError(errno.ENOLCK, "no locks")),
        pytest.raises(OSError, match="no locks"),
    ):
        with files.locked(tmp_path / "lock", exclusive=True):
            pytest.fail("it is not held")
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before
