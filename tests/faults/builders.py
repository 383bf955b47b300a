"""Processes that build one version together, started afresh or forked from a server that has imported everything."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

import artifactvc as avc
from artifactvc.errors import Conflict

NAME, GROUP = "built", "together"
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.faults.builders", "artifactvc.sdk.run", "artifactvc.ops.distributed"])


def content(task: int) -> dict[str, bytes]:
    """What the writer of *task* puts in: files of its own, one of them large now and then, and one that all have."""
    source = random.Random(task)
    files = {f"parts/{task:03}/{n}": source.randbytes(source.randrange(200)) for n in range(3)}
    if task % 20 == 0:
        files[f"large/{task:03}"] = source.randbytes(150_000)
    return {**files, "shared": b"the same for all"}


def put_in(task: int, files: dict[str, bytes], run_id: str | None = None) -> str:
    """Put *files* in, in two calls, as a run of its own or again as run *run_id*."""
    with avc.init(group=GROUP, id=run_id, resume="allow" if run_id else None) as run:
        names = sorted(files)
        for half in (names[::2], names[1::2]):
            part = avc.Artifact(NAME, "dataset", metadata={f"task {task}": len(files)})
            for path in half:
                with part.new_file(path, mode="xb") as file:
                    file.write(files[path])
            run.upsert_artifact(part)
    return run.id


def finish(files: dict[str, bytes] | None = None) -> tuple[str, str]:
    """Finish with *files*; the version's number and digest."""
    with avc.init(group=GROUP) as run:
        last = avc.Artifact(NAME, "dataset")
        for path, data in (files or {}).items():
            with last.new_file(path, mode="xb") as file:
                file.write(data)
        done = run.finish_artifact(last)
    return done.version, done.digest


# ---- what processes do ---------------------------------------------------------------------------


def work_off(place: str, tasks: Connection) -> None:
    """A worker of a pool: takes tasks until there are no more, and says when each is done."""
    os.chdir(place)
    while (task := tasks.recv()) is not None:
        number, run_id = task
        tasks.send((number, put_in(number, content(number), run_id)))


def finish_at(place: str, barrier: Any, files: dict[str, bytes] | None, answer: Connection) -> None:
    """Finish when all the others do; the version, or None if it was told that it came too late."""
    os.chdir(place)
    barrier.wait(60)
    try:
        answer.send(finish(files))
    except Conflict:
        answer.send(None)


def keep_putting(place: str, writer: int, count: int, barrier: Any, answer: Connection) -> None:
    """Put in one small part after another; which of them are in, and which were told that they are not."""
    os.chdir(place)
    barrier.wait(60)
    done: dict[str, bool] = {}
    with avc.init(group=GROUP, id=f"writer{writer}") as run:
        for n in range(count):
            path = f"{writer}/{n}"
            part = avc.Artifact(NAME, "dataset")
            with part.new_file(path) as file:
                file.write(path)
            try:
                run.upsert_artifact(part)
                done[path] = True
            except Conflict:
                done[path] = False
    answer.send(done)


def keep_finishing(place: str, until: Any, barrier: Any, answer: Connection) -> None:
    """Finish again and again until told to stop."""
    os.chdir(place)
    barrier.wait(60)
    while not until.is_set():
        try:
            finish()
        except Conflict:
            continue  # nothing to finish yet
    answer.send(True)


def together(calls: Sequence[tuple[Callable[..., None], tuple[Any, ...]]]) -> list[Any]:
    """Each call in a process of its own, with its end of a pipe as the last argument; what each sends."""
    ends, processes = [], []
    for target, arguments in calls:
        ours, theirs = CONTEXT.Pipe()
        process = CONTEXT.Process(target=target, args=(*arguments, theirs))
        process.start()
        theirs.close()
        ends.append(ours)
        processes.append(process)
    answers = [end.recv() for end in ends]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * len(processes)
    return answers


# ---- a pool whose workers are killed --------------------------------------------------------------


class Worker(NamedTuple):
    """A process of the pool and our end of its pipe."""

    process: Any
    tasks: Connection

    @classmethod
    def start(cls, place: Path) -> Worker:
        ours, theirs = CONTEXT.Pipe()
        process = CONTEXT.Process(target=work_off, args=(os.fspath(place), theirs))
        process.start()
        theirs.close()
        return cls(process, ours)

    def stop(self) -> None:
        self.tasks.send(None)
        self.process.join(60)


class Pool:
    """Workers that take tasks; some are killed at a random moment of one, and it is given out again."""

    def __init__(self, places: Sequence[Path], rng: random.Random) -> None:
        self.places, self.rng = places, rng
        self.kills = self.interrupted = 0  # how many died, and how many of them before they were done
        self.took = 0.1  # seconds that a task takes, as far as is known

    def run(self, tasks: Sequence[tuple[int, str | None]], victims: set[int]) -> dict[int, list[str]]:
        """Work off all *tasks* (number, run id); the runs that said they were done, of each."""
        todo, told = list(tasks), {number: [] for number, _ in tasks}  # type: dict[int, list[str]]
        workers: dict[Connection, tuple[Worker, Path, Any, float, float | None]] = {}
        idle = [(Worker.start(place), place) for place in self.places]
        while todo or workers:
            while todo and idle:
                worker, place = idle.pop()
                task = todo.pop(0)
                worker.tasks.send(task)
                now = time.monotonic()
                kill_at = None
                if task[0] in victims:
                    victims.discard(task[0])
                    kill_at = now + self.rng.uniform(0, 1.1) * self.took
                workers[worker.tasks] = (worker, place, task, now, kill_at)
            pending = [at for *_, at in workers.values() if at is not None]
            left = max(0.0, min(pending) - time.monotonic()) if pending else 60.0
            ready = wait(list(workers), timeout=left)
            for end in ready:
                worker, place, task, began, kill_at = workers.pop(end)  # type: ignore[index]
                number, run = worker.tasks.recv()
                told[number].append(run)
                self.took = 0.8 * self.took + 0.2 * (time.monotonic() - began)
                if kill_at is not None:  # it was faster: killed all the same, and the task is given out again
                    idle.append((self._kill(worker, place), place))
                    todo.append(task)
                else:
                    idle.append((worker, place))
            for end, (worker, place, task, _, kill_at) in list(workers.items()):
                if kill_at is not None and time.monotonic() >= kill_at:
                    del workers[end]
                    self.interrupted += 1
                    idle.append((self._kill(worker, place), place))
                    todo.append(task)
        for worker, _ in idle:
            worker.stop()
        return told

    def _kill(self, worker: Worker, place: Path) -> Worker:
        worker.process.kill()
        worker.process.join(60)
        self.kills += 1
        return Worker.start(place)
