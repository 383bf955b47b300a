"""Forked children: reports in order, errors that travel, and nobody left behind."""

from __future__ import annotations

import errno
import marshal
import os
import signal
from pathlib import Path
from unittest.mock import patch

import pytest

from artifactvc import errors
from artifactvc.errors import AvcError, BadName, StorageError
from artifactvc.util.pool import Children, workers


def gone(pid: int) -> bool:
    """Whether *pid* is neither running nor a zombie of ours."""
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return True


def raised_in_child(error: BaseException) -> BaseException:
    """What the parent sees of *error*."""

    def work(_number, _send):
        raise error

    with Children(1, work) as children, pytest.raises(BaseException) as caught:
        children.report(0)
    return caught.value


def test_there_are_a_few_workers():
    """At least one, never more than asked for."""
    assert 1 <= workers() <= 4
    assert workers(1) == 1
    assert workers(most=10_000) == len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else True


# ---- reports ------------------------------------------------------------------------------------


def test_reports_come_in_order_from_each_child():
    """Whichever child is asked first, each child's reports come as it sent them."""

    def work(number, send):
        for n in range(50):
            send((number, n))

    with Children(4, work) as children:
        assert [children.report(3) for _ in range(50)] == [(3, n) for n in range(50)]
        assert [children.report(number) for _ in range(50) for number in (1, 0, 2)] == [
            (number, n) for n in range(50) for number in (1, 0, 2)
        ]


def test_plain_values_come_as_they_are():
    """Also large ones, and what the parent had in memory."""
    inherited = {"a": [1, 2.5, None, True, "é", b"\0" * (5 << 20), ("x",)]}

    with Children(1, lambda _number, send: send(inherited)) as children:
        assert children.report(0) == inherited


def test_children_run_at_once():
    """Each waits until the other has begun; so neither waits for the other's end."""
    first, second = os.pipe(), os.pipe()

    def work(number, send):
        mine, other = (first, second) if number == 0 else (second, first)
        os.write(other[1], b".")
        send(os.read(mine[0], 1))

    with Children(2, work) as children:
        assert [children.report(0), children.report(1)] == [b".", b"."]
    for fd in (*first, *second):
        os.close(fd)


def test_no_children_are_no_work():
    """A pool of nobody."""
    with Children(0, lambda _number, _send: pytest.fail("nobody works")):
        pass


def test_a_child_never_returns_into_the_parent_s_code(tmp_path):
    """What stands behind the block is done once."""
    place = tmp_path / "done"
    with Children(3, lambda number, send: send(number)) as children:
        for number in range(3):
            children.report(number)
    with place.open("a") as out:
        out.write("once\n")
    assert place.read_text() == "once\n"


# ---- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [ValueError("bad"), KeyError("k"), FileNotFoundError(errno.ENOENT, "gone", "/x"), MemoryError(),
     UnicodeDecodeError("utf-8", b"\xff", 0, 1, "why"), KeyboardInterrupt(), SystemExit(3)],
    ids=repr,
)  # fmt: skip
def test_an_error_is_raised_in_the_parent(error):
    """With its class and all it says."""
    seen = raised_in_child(error)
    assert type(seen) is type(error)
    assert seen.args == error.args
    assert str(seen) == str(error)


def test_a_plain_error_of_ours_keeps_its_hint():
    """Class, message and hint."""
    seen = raised_in_child(BadName("bad name 'x'", hint="choose another"))
    assert (type(seen), seen.message, seen.hint) == (BadName, "bad name 'x'", "choose another")


OURS = [
    errors.NoRepository("/somewhere"),
    errors.UnknownArtifact("data", ["date"]),
    errors.UnknownAlias("data", "best", newest="v3"),
    errors.UnknownRemote("origin"),
    errors.MissingObject("0a" * 32, hint="h"),
    errors.OutsideWorkspace("/a", "/somewhere"),
    errors.UnstableFile("a.csv"),
    errors.DigestMismatch("0a" * 32, "0b" * 32, "pack 'p'"),
    errors.NoSpace("/somewhere"),
    errors.MissingExtra("S3", "s3"),
    errors.NewerFormat("the repository", "x"),
    errors.CommError("no artifact 'x'", hint="h"),
    errors.ArtifactStatusError("not now", name="version", hint="h"),
    errors.ArtifactNotLoggedError("Artifact.version"),
    errors.ArtifactFinalizedError("Artifact.add_file"),
    errors.UnknownOperation("0a1b2c3", elsewhere=True),
    errors.NotAnEditor("'ada' may change times to live", "bob"),
    errors.Collected("0a" * 32, "'data:v0'", ["a", "b"], 9),
]


def test_the_errors_above_are_all_that_have_words_of_their_own():
    """A new one must be tried here too."""
    found, queue = set(), [AvcError]
    while queue:
        below = queue.pop().__subclasses__()
        queue += below
        found |= {kind for kind in below if "__init__" in vars(kind) and kind.__module__ == errors.__name__}
    assert found == {type(error) for error in OURS}


@pytest.mark.parametrize("error", OURS, ids=lambda error: type(error).__name__)
def test_errors_with_words_of_their_own_travel(error):
    """Class, message, hint and fields."""
    seen = raised_in_child(error)
    assert (type(seen), seen.message, vars(seen)) == (type(error), error.message, vars(error))


def test_an_error_that_cannot_travel_is_told_in_words():
    """As StorageError."""

    class Local(Exception):
        pass

    assert (type(raised_in_child(Local("words"))), str(raised_in_child(Local("words")))) == (StorageError, "words")
    assert raised_in_child(Local()).message == "Local()"
    holding = ValueError("bad")
    holding.handle = open(os.devnull)  # noqa: SIM115  a thing that cannot be sent
    assert raised_in_child(holding).message == "bad"
    holding.handle.close()


def test_a_value_that_cannot_travel_is_the_child_s_error():
    """The parent is told, and does not wait."""
    with (
        Children(1, lambda _number, send: send(object())) as children,
        pytest.raises(ValueError, match="unmarshallable"),
    ):
        children.report(0)


def test_reports_before_an_error_are_not_lost():
    """They come first; then the error, in the report after them."""

    def work(number, send):
        send("one")
        if number == 1:
            raise BadName("two")
        send("two")

    with Children(2, work) as children:
        assert [children.report(0), children.report(1), children.report(0)] == ["one", "one", "two"]
        with pytest.raises(BadName, match=r"^two$"):
            children.report(1)


# ---- children that die --------------------------------------------------------------------------

KILLED = ("a child process was killed", "is the machine out of memory? run the command again")


@pytest.mark.parametrize("last", [signal.SIGKILL, signal.SIGTERM, None])
def test_a_killed_child_is_a_storage_error(last):
    """Whatever ended it; its reports before are read, and a sibling that lives does not hide it."""

    def work(number, send):
        send(os.getpid())
        if number == 1:
            signal.pause()
        if last is None:
            os._exit(0)
        os.kill(os.getpid(), last)

    with Children(2, work) as children:
        pids = [children.report(0), children.report(1)]
        with pytest.raises(StorageError) as caught:
            children.report(0)
        assert type(caught.value) is StorageError
        assert (caught.value.message, caught.value.hint) == KILLED
    assert all(map(gone, pids))


def test_half_a_report_is_no_report():
    """A child killed while it sends."""

    def work(_number, send):
        def killed_half_way(value, pipe):
            pipe.write(marshal.dumps(value)[:-3])
            pipe.flush()
            os.kill(os.getpid(), signal.SIGKILL)

        with patch.object(marshal, "dump", killed_half_way):
            send("a report")

    with Children(1, work) as children, pytest.raises(StorageError) as caught:
        children.report(0)
    assert (caught.value.message, caught.value.hint) == KILLED


def test_interrupting_the_terminal_is_the_parent_s_affair():
    """Ctrl-C reaches every process: a child goes on, and the parent ends it."""
    gate = os.pipe()

    def work(_number, send):
        send(os.getpid())
        os.read(gate[0], 1)
        send("still here")

    with Children(1, work) as children:
        os.kill(children.report(0), signal.SIGINT)
        os.write(gate[1], b".")
        assert children.report(0) == "still here"
    for fd in gate:
        os.close(fd)


# ---- nobody is left behind ----------------------------------------------------------------------


def endless(_number, send):
    send(os.getpid())
    signal.pause()


def test_running_children_are_ended():
    """At the end of the block, and where it is left by an error."""
    with Children(3, endless) as children:
        pids = [children.report(number) for number in range(3)]
    assert all(map(gone, pids))
    with pytest.raises(KeyError), Children(3, endless) as children:
        pids = [children.report(number) for number in range(3)]
        raise KeyError
    assert all(map(gone, pids))


def test_children_that_are_done_leave_no_zombies():
    """Nor those whose reports nobody reads, more than a pipe holds."""

    def work(_number, send):
        send(os.getpid())
        for _ in range(64):
            send(b"x" * (1 << 16))

    with Children(2, work) as children:
        pids = [children.report(number) for number in range(2)]
    assert all(map(gone, pids))


def test_an_error_in_one_ends_all():
    """The others do not go on without the one who asked."""

    def work(number, send):
        send(os.getpid())
        if number == 0:
            raise BadName("no")
        signal.pause()

    with pytest.raises(BadName), Children(3, work) as children:
        pids = [children.report(number) for number in range(3)]
        children.report(0)
    assert all(map(gone, pids))


class Forks:
    """`os.fork` that fails from the third time on, and knows whom it made."""

    def __init__(self) -> None:
        self.real, self.made = os.fork, []

    def __call__(self) -> int:
        if len(self.made) == 2:
            raise OSError(errno.EAGAIN, "no more processes")
        pid = self.real()
        self.made.append(pid)
        return pid


def test_where_there_are_no_more_processes_those_there_are_ended():
    """The error is raised, and nobody left."""
    forks = Forks()
    with patch.object(os, "fork", forks), pytest.raises(OSError, match="no more processes"):
        Children(4, endless)
    assert len(forks.made) == 2
    assert all(map(gone, forks.made))


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc on this system")
def test_no_pipe_is_left_open():
    """After many pools there are as many open files as before."""
    before = open_files()
    for _ in range(5):
        with Children(2, endless) as children:
            children.report(0)
    assert open_files() == before


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc on this system")
def test_no_pipe_is_left_open_where_fork_fails():
    """Also of the child that could not be started."""
    before = open_files()
    with patch.object(os, "fork", Forks()), pytest.raises(OSError, match="no more processes"):
        Children(4, endless)
    assert open_files() == before
