"""Taking local copies away to make room: what a remote holds need not be here (protocol P7).

Unlike gc, eviction gives space back at once: files are unlinked, not moved to ``trash/``. That
is safe without the grace that L3 asks of gc. A writer that does not share our lock (NFS, FUSE,
Lustre) and has just been told that an object is here names an object that a remote holds for a
live version, which is all that L6 and P2 ask for. Order, as in ``sweep.py``: a pack of which
something stays is written anew and durable; the rows go, so that no writer believes that the
object is here; then the file. A kill in between leaves files whose objects are simply found
again. The caller holds the store's lock alone.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from artifactvc.storage.loose import own_path
from artifactvc.storage.packs import PackRow, whole_size
from artifactvc.storage.places import OWN
from artifactvc.storage.store import Store
from artifactvc.storage.sweep import rewrite
from artifactvc.util.files import sync_directory

#: What each object costs in the table of its pack.
_ROW: Final = whole_size(0, 1) - whole_size(0, 0)


class Copy(NamedTuple):
    """One file of the store, a pack or a larger object: what it holds, and what taking that away would free."""

    file: str  # the pack's name, or the digest
    serial: int
    used: float  # epoch seconds
    links: int
    size: int  # bytes on disk
    rows: list[PackRow]

    def freed(self, going: Collection[bytes]) -> int:
        """Bytes on disk that are free at least when the objects *going* (32 bytes each) leave this file."""
        if not going:
            return 0
        if len(going) == len(self.rows):
            return self.size
        return sum(row.stored + _ROW for row in self.rows if bytes.fromhex(row.digest) in going)


def copies(store: Store) -> list[Copy]:
    """Every file of the store, the least recently used first."""
    found: list[Copy] = []
    names, own = store.packs.names(), store.places.own()
    recorded = store.uses.last([*names.values(), *(digest for digest, _ in own)])
    for serial, name in names.items():
        rows = store.places.pack_rows(serial)
        found += _copy(store, store.packs.path(serial), name, serial, rows, recorded)
    for digest, length in own:
        rows = [PackRow(digest, 0, length, length, 0)]
        found += _copy(store, own_path(store.objects_dir, digest), digest, OWN, rows, recorded)
    return sorted(found, key=lambda copy: copy.used)


def _copy(
    store: Store, path: Path, file: str, serial: int, rows: list[PackRow], recorded: dict[str, int]
) -> Iterable[Copy]:
    try:
        stat = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return  # fsck names it
    yield Copy(file, serial, store.uses.last_use(file, stat, recorded), stat.st_nlink, stat.st_size, rows)


def evict(store: Store, going: set[bytes], held: Iterable[Copy]) -> None:
    """Remove the objects *going* (32 bytes each) from the store, file by file in the order of *held* (``copies``)."""
    for copy in held:
        stay = {bytes.fromhex(row.digest) for row in copy.rows} - going
        if len(stay) == len(copy.rows):
            continue
        if copy.serial == OWN:
            store.places.drop([copy.file])
            own_path(store.objects_dir, copy.file).unlink(missing_ok=True)
            store.uses.forget(copy.file)
            continue
        path = store.packs.path(copy.serial)
        if stay:
            store.uses.hand_on(copy.file, rewrite(store, [copy.serial], stay), copy.used)
        else:
            store.forget_pack(copy.serial)
            store.uses.forget(copy.file)
        os.unlink(path)
    sync_directory(store.packs_dir)
    store.packs.refresh()
