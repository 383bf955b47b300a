"""Objects of the local store as files for a remote: packs as they are where all of one goes, else packed anew.

What will be sent is planned from the index alone, to the byte; the files are then made one by
one. Every object is hashed on its way: a copy that went bad here must not become the shared
one. A pack that holds anything not asked for (a draft's objects) is never sent as it is.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from artifactvc.core.model import EMPTY, Digest
from artifactvc.errors import DigestMismatch, MissingObject
from artifactvc.storage.loose import own_path
from artifactvc.storage.packs import (
    MAGIC,
    RAW,
    TARGET,
    PackRow,
    PackWriter,
    check_objects,
    decode_object,
    iter_stored,
    whole_size,
)
from artifactvc.storage.store import Store
from artifactvc.util.files import temporary
from artifactvc.util.hashing import digest_bytes

#: Packs with fewer bytes of objects are put together: a request costs more than copying them.
_WHOLE: Final = 4 << 20

#: Objects from one local pack, by its serial number.
Held = tuple[int, list[PackRow]]


@dataclass(frozen=True)
class Outgoing:
    """One file to upload, its bytes, and where each object is in it."""

    name: str
    source: Path
    rows: list[PackRow]
    size: int
    temporary: bool = False

    def discard(self) -> None:
        """Remove the file if it was made for this upload."""
        if self.temporary:
            self.source.unlink(missing_ok=True)


@dataclass(frozen=True)
class Shipment:
    """The files that will carry some objects, before any is made."""

    own: list[tuple[Digest, int]] = field(default_factory=list)  # larger objects, with their bytes
    whole: list[Held] = field(default_factory=list)  # packs that go as they are
    gathered: list[list[Held]] = field(default_factory=list)  # for each pack to be made, what goes into it

    @property
    def sizes(self) -> list[int]:
        """Bytes of each file."""
        lots = [[held] for held in self.whole] + self.gathered
        sizes = [size for _, size in self.own]
        for lot in lots:
            rows = [row for _, held in lot for row in held]
            sizes.append(whole_size(sum(row.stored for row in rows), len(rows)))
        return sizes


def plan_shipment(store: Store, digests: Sequence[Digest]) -> Shipment:
    """Plan the files for *digests*; MissingObject for one that is not here."""
    wanted = dict.fromkeys(digests)
    wanted.pop(EMPTY, None)
    by_pack = store.places.in_packs(wanted)
    packed = {row[0] for rows in by_pack.values() for row in rows}
    own = [(digest, _own_size(store, digest)) for digest in wanted if digest not in packed]
    whole: list[Held] = []
    gathered: list[list[Held]] = []
    size = TARGET  # of the pack being planned: full, so the first row begins one
    for serial, rows in sorted(by_pack.items()):
        large = sum(row.stored for row in rows) >= _WHOLE
        if large and len(rows) == store.places.objects_of(serial):
            whole.append((serial, rows))
            continue
        for row in sorted(rows, key=lambda row: (row.offset, row.stored)):
            if size >= TARGET:
                gathered.append([])
                size = len(MAGIC)
            if not gathered[-1] or gathered[-1][-1][0] != serial:
                gathered[-1].append((serial, []))
            gathered[-1][-1][1].append(row)
            size += row.stored
    return Shipment(own, whole, gathered)


def _own_size(store: Store, digest: Digest) -> int:
    try:
        return own_path(store.objects_dir, digest).stat().st_size
    except FileNotFoundError:
        path = store.own_path(digest)  # perhaps it is in the trash
        if path is None:
            raise MissingObject(digest) from None
        return path.stat().st_size


def outgoing_files(store: Store, shipment: Shipment, tmp: Path) -> Iterator[Outgoing]:
    """The planned files, each made when it is asked for; MissingObject, DigestMismatch."""
    for digest, size in shipment.own:
        path = store.own_path(digest)
        if path is None:
            raise MissingObject(digest)
        yield Outgoing(secrets.token_hex(16), path, [PackRow(digest, 0, size, size, RAW)], size)
    for serial, rows in shipment.whole:
        check_objects(store.packs.fd(serial), rows, f"pack '{store.packs.name(serial)}'")
        ordered = sorted(rows, key=lambda row: row.offset)
        source = store.packs.path(serial)
        yield Outgoing(f"{secrets.token_hex(16)}.pack", source, ordered, source.stat().st_size)
    for lot in shipment.gathered:
        pack = PackWriter(temporary(tmp, "pack"))
        try:
            for serial, rows in lot:
                for row, stored in _checked(store, serial, rows):
                    pack.add_stored(row, stored)
            pack.finish()
        except BaseException:
            pack.discard()
            raise
        size = pack.staged.stat().st_size
        yield Outgoing(f"{secrets.token_hex(16)}.pack", pack.staged, pack.rows, size, temporary=True)


def _checked(store: Store, serial: int, rows: list[PackRow]) -> Iterator[tuple[PackRow, bytes]]:
    where = f"pack '{store.packs.name(serial)}'"
    for row, stored in iter_stored(store.packs.fd(serial), rows):
        data = stored if row.codec == RAW else decode_object(stored, row.codec, row.length, where)
        actual = digest_bytes(data)
        if actual != row.digest:
            raise DigestMismatch(row.digest, actual, where)
        yield row, bytes(stored)
