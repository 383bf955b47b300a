"""Processes that build one version together; started afresh, so they live in a module that can be imported."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

import artifactvc as avc

NAME, TYPE, PARTS, WHOLE = "distributed_artifact", "distributed", "parts", "distributed_table"
COLUMNS = ["a", "b", "c"]


def rows(i: int) -> list[list[int]]:
    """What writer *i* writes."""
    return [[i, i * 2, 2**i]]


def train(i: int, group: str, answers: Any) -> None:
    """One writer: adds one table to the group's version."""
    with avc.init(group=group) as run:
        artifact = avc.Artifact(name=NAME, type=TYPE)
        table = avc.Table(columns=COLUMNS, data=rows(i))
        artifact.add(table, f"{PARTS}/table_{i}")
        run.upsert_artifact(artifact)
        answers.put(run.id)


def finish(group: str, barrier: Any, answers: Any) -> None:
    """One who declares the group's version complete, at the same moment as others do."""
    with avc.init(group=group) as run:
        artifact = avc.Artifact(NAME, type=TYPE)
        artifact.add(avc.data_types.PartitionedTable(PARTS), WHOLE)
        if barrier is not None:
            barrier.wait()
        answers.put((run.id, run.finish_artifact(artifact).wait().name))


def die_before_upsert(group: str) -> None:
    """A writer that is killed when its bytes are stored and nobody was told of them."""
    avc.init(group=group)
    artifact = avc.Artifact(NAME, type=TYPE)
    with artifact.new_file(f"{PARTS}/lost.bin", mode="wb") as file:
        file.write(b"lost" * 100_000)
    os.kill(os.getpid(), signal.SIGKILL)


def die_in_upsert(group: str, started: Any) -> None:
    """A writer whose parent kills it somewhere in the middle of handing over its part."""
    run = avc.init(group=group)
    artifact = avc.Artifact(NAME, type=TYPE)
    for i in range(200):
        with artifact.new_file(f"{PARTS}/many/{i}.bin", mode="wb") as file:
            file.write(b"%d" % i * 2000)
    started.set()
    run.upsert_artifact(artifact)


def spawn(target: Callable[..., None], *arguments: Any) -> Any:
    """A fresh process at work on *target*."""
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
    process.start()
    return process


def channel() -> Any:
    """A queue that fresh processes can answer through."""
    return multiprocessing.get_context("spawn").SimpleQueue()


def together(target: Callable[..., None], calls: list[tuple[Any, ...]]) -> list[Any]:
    """Run *target* in one fresh process per call, side by side; what each of them put into its queue."""
    answers = channel()
    processes = [spawn(target, *arguments, answers) for arguments in calls]
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * len(processes)
    return [answers.get() for _ in processes]
