"""Work shared out to forked children, whose reports come back in order.

For work that is mostly Python: threads would take turns. A child inherits what the parent
has in memory, reports with ``marshal`` (quick, and bounded by what the parent reads), and
never returns into the parent's code. The first error ends all of them.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import signal
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple

from artifactvc.errors import StorageError
from artifactvc.util.hashing import use_one_thread

Send = Callable[[Any], None]


def workers(most: int = 4) -> int:
    """How many children are worth having on this machine."""
    try:
        available = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        available = os.cpu_count() or 1
    return min(available, most)


class _Child(NamedTuple):
    pid: int
    pipe: Any


class Children:
    """*count* children, each running ``work(number, send)``; use it as a context manager.

    What a child sends must be made of plain values (``marshal``). An error in a child is
    raised by ``report``; a child that was killed shows as StorageError.
    """

    def __init__(self, count: int, work: Callable[[int, Send], None]) -> None:
        self._children: list[_Child] = []
        # Ctrl-C waits until a child that was begun is in the list, or nobody would end it.
        held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for number in range(count):
                self._children.append(_start(work, number))
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
        except BaseException:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
            self._end()
            raise

    def report(self, number: int) -> Any:
        """The next thing that child *number* sent; waits for it."""
        try:
            kind, value = marshal.load(self._children[number].pipe)
        except (EOFError, ValueError, TypeError) as error:
            raise StorageError(
                "a child process was killed", hint="is the machine out of memory? run the command again"
            ) from error
        if kind == "error":
            import pickle

            raise pickle.loads(value)  # from our own child
        return value

    def _end(self) -> None:
        for child in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
        for child in self._children:
            child.pipe.close()
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child.pid, 0)
        self._children = []

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()


def _start(work: Callable[[int, Send], None], number: int) -> _Child:
    reading, writing = os.pipe()
    # Ctrl-C reaches the whole group: a child must never meet it before it has said that it is not meant.
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        pid = os.fork()
    except BaseException:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        os.close(reading)
        os.close(writing)
        raise
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        os.close(writing)
        return _Child(pid, os.fdopen(reading, "rb", 1 << 16))
    status = 1
    try:
        os.close(reading)
        use_one_thread()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and ends us
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        with os.fdopen(writing, "wb", 1 << 16) as pipe:
            _run(work, number, pipe)
        status = 0
    except BrokenPipeError:
        pass  # the parent is gone, or has given up: so do we
    finally:
        os._exit(status)


def _run(work: Callable[[int, Send], None], number: int, pipe: Any) -> None:
    def send(value: Any) -> None:
        marshal.dump(("value", value), pipe)
        pipe.flush()

    try:
        work(number, send)
    except BrokenPipeError:
        raise
    except BaseException as error:  # noqa: BLE001  it is raised again, in the parent
        marshal.dump(("error", _packed(error)), pipe)
        pipe.flush()


def _packed(error: BaseException) -> bytes:
    import pickle

    try:
        data = pickle.dumps(error)
        pickle.loads(data)
    except Exception:  # noqa: BLE001  an error that does not travel is told in words
        return pickle.dumps(StorageError(str(error) or repr(error)))
    return data
