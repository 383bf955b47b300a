"""Removing objects from the local store, in steps that lose nothing if they stop half-way.

First the rows go (so no writer believes that an object is here), then the files move to
``trash/<label>/``, and only a later gc, after the grace, unlinks them, once it has moved
back what a live version or a draft needs (protocol L3). The caller holds the store's lock
alone, and does not rely on that: NFS, FUSE and Lustre may not share it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from artifactvc.core.model import Digest
from artifactvc.errors import AvcError
from artifactvc.storage import packs
from artifactvc.storage.database import begin
from artifactvc.storage.loose import own_path
from artifactvc.storage.packs import PackWriter
from artifactvc.storage.places import OWN
from artifactvc.storage.store import Store
from artifactvc.storage.trash import DAMAGED, move_back, objects_in
from artifactvc.util.files import make_directories, sync_directory, sync_file, temporary


class SweepResult(NamedTuple):
    """Objects and bytes that left the store for the trash."""

    objects: int
    bytes: int


class SettleResult(NamedTuple):
    """Objects moved back, and files and bytes removed for good."""

    restored: int
    removed: int
    bytes: int


#: Packs with fewer bytes are put together once there are many of them: each is a file to open and to list.
_SMALL: Final = 1 << 20
_MANY: Final = 64


class _Plan(NamedTuple):
    whole: list[int]  # packs of which nothing is needed
    rewrite: list[list[int]]  # packs that become one: of one less than half is needed, or they are many and small
    own: list[tuple[Digest, int]]
    objects: int
    bytes: int


def _plan(store: Store, keep: set[bytes]) -> _Plan:
    whole: list[int] = []
    rewrite: list[list[int]] = []
    small: list[tuple[int, int]] = []
    left = (0, 0)  # dead objects in packs that stay unless they are put together, and their bytes
    objects = size = 0
    for serial in store.packs.names():
        rows = store.places.pack_rows(serial)
        total = sum(row.stored for row in rows)
        dead = [row for row in rows if bytes.fromhex(row.digest) not in keep]
        dead_bytes = sum(row.stored for row in dead)
        if len(dead) == len(rows):
            whole.append(serial)
        elif dead_bytes * 2 > total:
            rewrite.append([serial])
        elif total < _SMALL:
            small.append((serial, total - dead_bytes))
            left = left[0] + len(dead), left[1] + dead_bytes
            continue
        else:
            continue
        objects, size = objects + len(dead), size + dead_bytes
    if len(small) >= _MANY:
        rewrite += _lots(small)
        objects, size = objects + left[0], size + left[1]
    own = [(digest, length) for digest, length in store.places.own() if bytes.fromhex(digest) not in keep]
    return _Plan(whole, rewrite, own, objects + len(own), size + sum(length for _, length in own))


def _lots(small: list[tuple[int, int]]) -> list[list[int]]:
    """Packs, each with the bytes that are needed of it, in lots that fill one."""
    lots: list[list[int]] = [[]]
    filled = 0
    for serial, size in small:
        if lots[-1] and filled + size > packs.TARGET:
            lots.append([])
            filled = 0
        lots[-1].append(serial)
        filled += size
    return lots


def plan(store: Store, keep: set[bytes]) -> SweepResult:
    """What ``sweep`` would move."""
    found = _plan(store, keep)
    return SweepResult(found.objects, found.bytes)


def sweep(store: Store, keep: set[bytes], label: str) -> SweepResult:
    """Move what is not in *keep* (digests of 32 bytes) to ``trash/<label>``.

    A pack goes when nothing in it is needed; one of which less than half is needed is
    written anew first, and so are many small ones, as one.
    """
    found = _plan(store, keep)
    if not (found.whole or found.rewrite or found.own):
        return SweepResult(0, 0)
    target = store.trash_dir / label
    make_directories(target)
    names = store.packs.names()
    for serial in found.whole:
        store.forget_pack(serial)
        os.rename(store.packs_dir / names[serial], target / names[serial])
    for lot in found.rewrite:
        rewrite(store, lot, keep)
        for serial in lot:
            os.rename(store.packs_dir / names[serial], target / names[serial])
    store.places.drop([digest for digest, _ in found.own])
    for digest, _ in found.own:
        path = own_path(store.objects_dir, digest)
        if path.exists():
            os.rename(path, target / digest)
    for directory in (target, store.packs_dir, store.objects_dir):
        if directory.is_dir():
            sync_directory(directory)
    return SweepResult(found.objects, found.bytes)


def rewrite(store: Store, serials: Sequence[int], keep: set[bytes]) -> str:
    """Write the needed objects of packs into a new one, durable and in place; then its rows replace the old ones'.

    Returns the new pack's name; the old files are there still, and no row speaks of them.
    """
    pack = PackWriter(temporary(store.tmp, "pack"))
    try:
        for serial in serials:
            rows = [row for row in store.places.pack_rows(serial) if bytes.fromhex(row.digest) in keep]
            fd = os.open(store.packs_dir / store.packs.name(serial), os.O_RDONLY | os.O_CLOEXEC)
            try:
                for row, stored in packs.iter_stored(fd, rows):
                    pack.add_stored(row, bytes(stored))
            finally:
                os.close(fd)
        pack.finish()
        sync_file(pack.staged)
        new = f"{secrets.token_hex(16)}.pack"
        os.rename(pack.staged, store.packs_dir / new)
    except BaseException:
        pack.discard()
        raise
    sync_directory(store.packs_dir)
    size = packs.whole_size(pack.size - len(packs.MAGIC), packs.count_rows(pack.table))
    with begin(store.places.connection):
        for serial in serials:
            store.forget_pack(serial)
        store.places.register_pack(new, pack.table, size)
    return new


def settle(store: Store, needed: Callable[[Digest], bool], older_than: float, *, dry_run: bool = False) -> SettleResult:
    """Empty the parts of the trash made before *older_than* (epoch seconds), after moving back what is needed.

    With *dry_run* only say what would be moved back and removed.
    """
    restored = removed = size = 0
    if not store.trash_dir.is_dir():
        return SettleResult(0, 0, 0)
    for directory in sorted(store.trash_dir.iterdir()):
        if not directory.is_dir():
            continue
        young = directory.stat().st_mtime > older_than
        for path in sorted(directory.iterdir()):
            lacking = 0 if directory.name == DAMAGED else _lacking(store, path, needed)
            restored += lacking
            if lacking and not dry_run:
                move_back(path, store.objects_dir, store.packs, store.places)
            if lacking or young:
                continue
            size += path.stat().st_size
            removed += 1
            if not dry_run:
                path.unlink()
        if not dry_run and not young and not any(directory.iterdir()):
            directory.rmdir()
    return SettleResult(restored, removed, size)


def _lacking(store: Store, path: Path, needed: Callable[[Digest], bool]) -> int:
    """How many objects in *path* are needed and no longer here."""
    wanted = [digest for digest in objects_in(path) if needed(digest)]
    return len(set(wanted) - store.has(wanted)) if wanted else 0


def set_aside(store: Store, path: Path) -> None:
    """Move a pack that cannot be read to ``trash/damaged``."""
    target = store.trash_dir / DAMAGED
    make_directories(target)
    os.rename(path, target / path.name)
    sync_directory(store.packs_dir)
    store.packs.refresh()


def quarantine(store: Store, digest: Digest) -> None:
    """Set a damaged object aside in ``trash/damaged``; the sound objects of its pack stay known."""
    location = store.places.locate([digest]).get(digest)
    target = store.trash_dir / DAMAGED
    make_directories(target)
    path = own_path(store.objects_dir, digest)
    if location is None or location.pack == OWN:
        store.places.drop([digest])
        if path.exists():
            os.rename(path, target / digest)
            sync_directory(path.parent)
        return
    name = store.packs.names().get(location.pack)
    if name is None:
        store.places.drop([digest])
        return
    sound = {bytes.fromhex(row.digest) for row in store.places.pack_rows(location.pack) if _sound(store, row.digest)}
    if sound:
        rewrite(store, [location.pack], sound)
    else:
        store.forget_pack(location.pack)
    os.rename(store.packs_dir / name, target / name)
    sync_directory(store.packs_dir)
    store.packs.refresh()


def _sound(store: Store, digest: Digest) -> bool:
    try:
        store.verify(digest)
    except AvcError:
        return False
    return True
