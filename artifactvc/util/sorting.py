"""Sorting more than memory should hold."""

from __future__ import annotations

import heapq
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import IO, Any, Final, TypeVar

__all__ = ["in_order"]

T = TypeVar("T", bound=tuple[Any, ...])

_HELD: Final = 50_000  # items


def in_order(
    items: Iterable[T], key: Callable[[T], bytes], make: Callable[[list[Any]], T], *, held: int = _HELD
) -> Iterator[T]:
    """*items* in the order of *key*: *held* are in memory at once, the rest waits in temporary files without names.

    An item is a tuple of what JSON has; *make* gives it again from a list of the same.
    """
    rest = iter(items)
    runs: list[IO[bytes]] = []
    try:
        while run := sorted(islice(rest, held), key=key):
            if len(run) < held and not runs:
                yield from run
                return
            runs.append(tempfile.TemporaryFile())  # noqa: SIM115  closed below
            for item in run:
                runs[-1].write(json.dumps(item).encode() + b"\n")  # escaped: surrogates are kept, too
            runs[-1].seek(0)
            del run
        yield from heapq.merge(*(map(make, map(json.loads, run)) for run in runs), key=key)
    finally:
        for file in runs:
            file.close()
