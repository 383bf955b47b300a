"""Many index files of a remote become one, so that a clone reads few of them (protocol R4).

Decided by size alone, so that nothing has to be read to decide: where there are eight
live index files of one size class, whoever pushes next merges them. The classes are 64 KiB
(some 1,000 rows) and eight times as much each, so a row is written again once for each class
that it climbs through, and at most a few dozen times, in files of 64 KiB, before the second.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import BinaryIO, Final

from artifactvc.storage.remote_index import Bytes, Place, every_row, whole_tables, write_places

#: So many of one class are merged.
FAN: Final = 8
_SMALLEST: Final = 64 << 10
#: No merged file is larger: about a million rows. What one push sends for others is bounded by it.
MAX_MERGED: Final = 64 << 20
_MOST: Final = 64  # files at once


def size_class(size: int) -> int:
    """0 for an index file below 64 KiB, 1 below 512 KiB, and so on."""
    found = 0
    while size >= _SMALLEST * FAN**found:
        found += 1
    return found


def to_merge(live: Mapping[str, int]) -> list[str]:
    """Ids of the live index files (id → bytes) that should become one, in their order; none if no class has eight.

    What comes of one class counts in the class that it will be in.
    """
    classes: dict[int, list[str]] = {}
    for name in sorted(live, key=lambda name: (live[name], name)):
        classes.setdefault(size_class(live[name]), []).append(name)
    chosen: list[str] = []
    total = 0
    for number, names in sorted(classes.items()):
        carried = bool(chosen) and size_class(total) >= number
        taken, size = [], total
        for name in names[: _MOST - len(chosen)]:
            if size + live[name] > MAX_MERGED:
                break
            taken.append(name)
            size += live[name]
        if len(taken) + carried >= FAN:
            chosen, total = chosen + taken, size
    return [name for name in live if name in set(chosen)]


def merge_places(indexes: Sequence[tuple[Bytes, str]], condemned: Collection[str], out: BinaryIO) -> None:
    """Write all rows of *indexes*, each once, but for those of *condemned* files; BadIndex if one is damaged."""
    read = [(data, whole_tables(data, what), what) for data, what in indexes]
    files = sorted({name for _, tables, _ in read for name in tables.files} - set(condemned))
    write_places(_each_once(heapq.merge(*(every_row(*one) for one in read)), set(files)), files, out)


def _each_once(places: Iterable[Place], files: Collection[str]) -> Iterator[Place]:
    digest, seen = "", set[Place]()
    for place in places:
        if place.digest != digest:
            digest, seen = place.digest, set()
        if place.file in files and place not in seen:
            seen.add(place)
            yield place
