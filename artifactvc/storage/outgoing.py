"""Objects of the local store as files for a remote: packs as they are where all of one goes, else packed anew.

Every object is hashed on its way: a copy that went bad here must not become the shared one.
A pack that holds anything not asked for (a draft's objects) is never sent as it is.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from artifactvc.core.model import EMPTY, Digest
from artifactvc.errors import DigestMismatch, MissingObject
from artifactvc.storage.packs import RAW, TARGET, PackRow, PackWriter, decode_object, iter_stored
from artifactvc.storage.places import OWN
from artifactvc.storage.store import Store
from artifactvc.util.files import temporary
from artifactvc.util.hashing import digest_bytes

#: Packs with fewer bytes of objects are put together: a request costs more than copying them.
_WHOLE: Final = 4 << 20


@dataclass(frozen=True)
class Outgoing:
    """One file to upload, and where each object is in it."""

    name: str
    source: Path
    rows: list[PackRow]
    temporary: bool = False

    def discard(self) -> None:
        """Remove the file if it was made for this upload."""
        if self.temporary:
            self.source.unlink(missing_ok=True)


def outgoing_files(store: Store, digests: Sequence[Digest], tmp: Path) -> Iterator[Outgoing]:
    """The files that carry *digests*, all of which are here; MissingObject, DigestMismatch."""
    by_pack: dict[int, list[PackRow]] = {}
    own: list[Digest] = []
    wanted = [digest for digest in dict.fromkeys(digests) if digest != EMPTY]
    places = store.places.locate(wanted)
    for digest in wanted:
        location = places.get(digest)
        if location is None or location.pack == OWN:
            own.append(digest)
        else:
            by_pack.setdefault(location.pack, []).append(PackRow(digest, *location[1:]))
    for digest in own:
        path = store.own_path(digest)
        if path is None:
            raise MissingObject(digest)
        size = path.stat().st_size
        yield Outgoing(secrets.token_hex(16), path, [PackRow(digest, 0, size, size, RAW)])
    names = store.packs.names()
    gathered: PackWriter | None = None
    try:
        for serial, rows in by_pack.items():
            source = store.packs_dir / names[serial]
            large = sum(row.stored for row in rows) >= _WHOLE
            if large and len(rows) == len(store.places.pack_rows(serial)) == store.places.objects_of(serial):
                for _ in _checked(store, serial, rows):
                    pass
                yield Outgoing(f"{secrets.token_hex(16)}.pack", source, sorted(rows, key=lambda row: row.offset))
                continue
            for row, stored in _checked(store, serial, rows):
                gathered = gathered or PackWriter(temporary(tmp, "pack"))
                gathered.add_stored(row, stored)
                if gathered.size >= TARGET:
                    yield _finished(gathered)
                    gathered = None
        if gathered is not None:
            last, gathered = gathered, None
            yield _finished(last)
    finally:
        if gathered is not None:
            gathered.discard()


def _finished(pack: PackWriter) -> Outgoing:
    pack.finish()
    return Outgoing(f"{secrets.token_hex(16)}.pack", pack.staged, pack.rows, temporary=True)


def _checked(store: Store, serial: int, rows: list[PackRow]) -> Iterator[tuple[PackRow, bytes]]:
    where = f"pack '{store.packs.name(serial)}'"
    for row, stored in iter_stored(store.packs.fd(serial), rows):
        data = stored if row.codec == RAW else decode_object(stored, row.codec, row.length, where)
        actual = digest_bytes(data)
        if actual != row.digest:
            raise DigestMismatch(row.digest, actual, where)
        yield row, bytes(stored)
