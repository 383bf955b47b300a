"""What comes from a remote: planned from where the objects are, and checked before the store takes it over.

A plan is a matter of cost alone: bytes against requests. Checking needs no index, so any
thread may do it; taking over what was checked is the caller's (``writer.py``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from artifactvc.core.model import Digest
from artifactvc.errors import BadPack, DigestMismatch
from artifactvc.storage import loose, packs
from artifactvc.storage.packs import RAW, decode_object, whole_size
from artifactvc.storage.remote_index import Place
from artifactvc.util.files import writing
from artifactvc.util.hashing import digest_bytes

#: A request counts as so many bytes: what comes meanwhile at 10 MB a second, some requests at once.
REQUEST: Final = 256 << 10
#: Ranges with a smaller gap between them are read as one: it costs less than a request.
_GAP: Final = 64 << 10
#: Bytes of one range, and of what one job holds in memory, as stored and unpacked.
_RUN: Final = 8 << 20
_UNPACKED: Final = 32 << 20
_RUNS: Final = 64
_LARGEST_PACK: Final = 256 << 20


class WholePack(NamedTuple):
    """A pack that is fetched whole."""

    file: str
    held: list[Place]  # the objects that are wanted
    size: int  # bytes of the file


class Run(NamedTuple):
    """Neighbours in one file, fetched by one request."""

    places: list[Place]

    @property
    def start(self) -> int:
        """Where the range begins."""
        return self.places[0].offset

    @property
    def length(self) -> int:
        """Bytes of the range, small gaps included."""
        return self.places[-1].offset + self.places[-1].stored - self.places[0].offset

    @property
    def asked(self) -> tuple[str, int, int]:
        """The range as a transport is asked for it."""
        return f"packs/{self.places[0].file}", self.start, self.length

    def slices(self, data: bytes | memoryview) -> Iterator[tuple[Place, memoryview]]:
        """The stored bytes of each object out of those of the range."""
        view = memoryview(data)
        for place in self.places:
            at = place.offset - self.start
            yield place, view[at : at + place.stored]


@dataclass
class Incoming:
    """What is to be asked of one remote for some objects."""

    own: list[Place] = field(default_factory=list)  # larger objects, a file each
    whole: list[WholePack] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Bytes that will come."""
        return sum(p.stored for p in self.own) + sum(p.size for p in self.whole) + sum(r.length for r in self.runs)

    @property
    def requests(self) -> int:
        """Files and ranges to ask for; a larger file may come in several parts."""
        return len(self.own) + len(self.whole) + len(self.runs)

    def lots(self) -> Iterator[list[Run]]:
        """The runs in lots that one job holds in memory."""
        lot: list[Run] = []
        stored = unpacked = 0
        for run in self.runs:
            length = sum(place.length for place in run.places)
            if lot and (stored + run.length > _RUN or unpacked + length > _UNPACKED or len(lot) >= _RUNS):
                yield lot
                lot, stored, unpacked = [], 0, 0
            lot.append(run)
            stored, unpacked = stored + run.length, unpacked + length
        if lot:
            yield lot


Extent = tuple[int, int]


def plan_incoming(files: Iterable[tuple[str, list[Place], Extent]]) -> Incoming:
    """The cheapest way to the wanted places of some files; the extent of each is (bytes, number) of all its objects.

    A pack is fetched whole if that costs no more than the ranges: a request counts as
    ``REQUEST`` bytes. So a few objects never bring half a large pack along, however they lie.
    """
    plan = Incoming()
    for file, held, (total, count) in files:
        if count == 1 and held[0].codec == RAW and held[0].offset == 0:
            plan.own.append(held[0])
            continue
        size = whole_size(total, count)
        # All that is wanted of it takes no fewer ranges than this; where that is dear enough none need be made.
        least = (stored := sum(place.stored for place in held)) + REQUEST * -(-stored // _RUN)
        runs = runs_of(held) if size + REQUEST > least or size > _LARGEST_PACK else []
        ranged = sum(run.length + REQUEST for run in runs) or least
        if size + REQUEST <= ranged and size <= _LARGEST_PACK:
            plan.whole.append(WholePack(file, held, size))
        else:
            plan.runs += runs
    return plan


def runs_of(places: Iterable[Place]) -> list[Run]:
    """Places as ranges, neighbours in one file together."""
    runs: list[Run] = []
    for place in sorted(places, key=lambda p: (p.file, p.offset, p.stored)):
        if runs:
            last = runs[-1].places[-1]
            near = place.file == last.file and place.offset - (last.offset + last.stored) <= _GAP
            if near and place.offset + place.stored - runs[-1].start <= _RUN:
                runs[-1].places.append(place)
                continue
        runs.append(Run([place]))
    return runs


# ---- checking ---------------------------------------------------------------------------------------


def objects_of(run: Run, data: bytes | memoryview, where: str) -> Iterator[tuple[Digest, bytes]]:
    """The objects in the bytes of a range, each checked; BadPack, DigestMismatch."""
    for place, stored in run.slices(data):
        unpacked = decode_object(stored, place.codec, place.length, where)
        actual = digest_bytes(unpacked)
        if actual != place.digest:
            raise DigestMismatch(place.digest, actual, where)
        yield place.digest, unpacked


def check_object(staged: Path, digest: Digest, where: str) -> None:
    """Hash a file that came and make its bytes durable; DigestMismatch if it is not the object *digest*."""
    fd = os.open(staged, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        actual, _ = loose.hash_file(fd)
        if actual != digest:
            raise DigestMismatch(digest, actual, where)
        with writing(staged.parent):
            os.fsync(fd)
    finally:
        os.close(fd)


def check_pack(staged: Path, where: str) -> bytes:
    """The table of a pack that came, it and every object in the pack checked, its bytes durable (protocol H2).

    Raises BadPack, DigestMismatch.
    """
    fd = os.open(staged, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        table = packs.read_whole(fd, where)
        if not table:
            raise BadPack(f"{where} is empty")
        with writing(staged.parent):
            os.fsync(fd)
    finally:
        os.close(fd)
    return table
