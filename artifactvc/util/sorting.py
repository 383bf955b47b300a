"""Sorting more than memory should hold."""

from __future__ import annotations

import heapq
import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import IO, Final, TypeVar

__all__ = ["in_order"]

T = TypeVar("T")

_HELD: Final = 50_000  # items


def in_order(items: Iterable[T], key: Callable[[T], bytes], *, held: int = _HELD) -> Iterator[T]:
    """*items* in the order of *key*: *held* are in memory at once, the rest waits in temporary files without names."""
    rest = iter(items)
    runs: list[IO[bytes]] = []
    try:
        while run := sorted(islice(rest, held), key=key):
            if len(run) < held and not runs:
                yield from run
                return
            runs.append(tempfile.TemporaryFile())  # noqa: SIM115  closed below
            for item in run:
                pickle.dump(item, runs[-1], pickle.HIGHEST_PROTOCOL)
            runs[-1].seek(0)
            del run
        yield from heapq.merge(*map(_read, runs), key=key)
    finally:
        for file in runs:
            file.close()


def _read(file: IO[bytes]) -> Iterator[T]:
    """What this process wrote a moment ago: nobody else can have."""
    while True:
        try:
            yield pickle.load(file)
        except EOFError:
            return
