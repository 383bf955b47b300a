"""Removing objects from the local store, in steps that lose nothing if they stop half-way.

First the rows go (so no writer believes that an object is here), then the files move to
``trash/<label>/``, and only a later gc, after the grace, unlinks them, once it has moved
back what a live version or a draft needs (protocol L3). The caller holds the store's lock
alone, and does not rely on that: NFS, FUSE and Lustre may not share it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from artifactvc.core.model import Digest
from artifactvc.errors import AvcError, BadPack
from artifactvc.storage import packs
from artifactvc.storage.database import begin
from artifactvc.storage.loose import own_path
from artifactvc.storage.packs import PackRow, PackWriter
from artifactvc.storage.places import OWN
from artifactvc.storage.store import Store
from artifactvc.util.files import make_directories, sync_directory, temporary


class SweepResult(NamedTuple):
    """Objects and bytes that left the store for the trash."""

    objects: int
    bytes: int


class SettleResult(NamedTuple):
    """Objects moved back, and files and bytes removed for good."""

    restored: int
    removed: int
    bytes: int


class _Plan(NamedTuple):
    whole: list[int]  # packs of which nothing is needed
    rewrite: list[int]  # packs of which less than half is needed
    own: list[tuple[Digest, int]]
    objects: int
    bytes: int


def _plan(store: Store, keep: set[bytes]) -> _Plan:
    whole: list[int] = []
    rewrite: list[int] = []
    objects = size = 0
    for serial in store.pack_names():
        rows = store.places.pack_rows(serial)
        total = sum(row.stored for row in rows)
        dead = [row for row in rows if bytes.fromhex(row.digest) not in keep]
        dead_bytes = sum(row.stored for row in dead)
        if len(dead) == len(rows):
            whole.append(serial)
        elif dead_bytes * 2 > total:
            rewrite.append(serial)
        else:
            continue
        objects, size = objects + len(dead), size + dead_bytes
    own = [(digest, length) for digest, length in store.places.own() if bytes.fromhex(digest) not in keep]
    return _Plan(whole, rewrite, own, objects + len(own), size + sum(length for _, length in own))


def plan(store: Store, keep: set[bytes]) -> SweepResult:
    """What ``sweep`` would move."""
    found = _plan(store, keep)
    return SweepResult(found.objects, found.bytes)


def sweep(store: Store, keep: set[bytes], label: str) -> SweepResult:
    """Move what is not in *keep* (digests of 32 bytes) to ``trash/<label>``.

    A pack goes when nothing in it is needed; one of which less than half is needed is
    written anew first.
    """
    found = _plan(store, keep)
    if not (found.whole or found.rewrite or found.own):
        return SweepResult(0, 0)
    target = store.trash_dir / label
    make_directories(target)
    names = store.pack_names()
    for serial in found.whole + found.rewrite:
        if serial in found.rewrite:
            _rewrite(store, serial, keep)
        else:
            store.forget_pack(serial)
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


def _rewrite(store: Store, serial: int, keep: set[bytes]) -> None:
    """Write the needed objects of a pack into a new one, durable and in place; then its rows replace the old one's."""
    name = store.pack_names()[serial]
    rows = [row for row in store.places.pack_rows(serial) if bytes.fromhex(row.digest) in keep]
    pack = PackWriter(temporary(store.tmp, "pack"))
    fd = os.open(store.packs_dir / name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for row, stored in packs.iter_stored(fd, rows):
            pack.add_stored(row, bytes(stored))
        pack.finish()
        new = f"{secrets.token_hex(16)}.pack"
        os.rename(pack.staged, store.packs_dir / new)
    except BaseException:
        pack.discard()
        raise
    finally:
        os.close(fd)
    sync_directory(store.packs_dir)
    with begin(store.places.connection):
        store.forget_pack(serial)
        store.places.register_pack(new, pack.rows, pack.size)


_OLD: Final = ".pack"


def settle(store: Store, needed: Callable[[Digest], bool], older_than: float) -> SettleResult:
    """Empty the parts of the trash made before *older_than* (epoch seconds), after moving back what is needed."""
    restored = removed = size = 0
    if not store.trash_dir.is_dir():
        return SettleResult(0, 0, 0)
    for directory in sorted(store.trash_dir.iterdir()):
        if not directory.is_dir():
            continue
        young = directory.stat().st_mtime > older_than
        for path in sorted(directory.iterdir()):
            back = _restore(store, path, needed)
            restored += back
            if back or young:
                continue
            size += path.stat().st_size
            removed += 1
            path.unlink()
        if not young and not any(directory.iterdir()):
            directory.rmdir()
    return SettleResult(restored, removed, size)


def _restore(store: Store, path: Path, needed: Callable[[Digest], bool]) -> int:
    """Move *path* back if something in it is needed and no longer here; how many objects that saves."""
    if path.name.endswith(_OLD):
        rows = _table(path)
        wanted = [row.digest for row in rows if needed(row.digest)]
    else:
        wanted = [path.name] if len(path.name) == 64 and needed(path.name) else []
    lacking = set(wanted) - store.has(wanted) if wanted else set()
    if not lacking:
        return 0
    _move_back(store, path)
    return len(lacking)


def _table(path: Path) -> list[PackRow]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return packs.read_table(fd, f"pack '{path.name}' in the trash")
    except BadPack:
        return []
    finally:
        os.close(fd)


def _move_back(store: Store, path: Path) -> None:
    if path.name.endswith(_OLD):
        os.rename(path, store.packs_dir / path.name)
        sync_directory(store.packs_dir)
    else:
        target = own_path(store.objects_dir, path.name)
        make_directories(target.parent)
        os.rename(path, target)
        sync_directory(target.parent)
        store.places.register_own(path.name, target.stat().st_size, None)
    store.refresh()


def restore_one(store: Store, digest: Digest) -> bool:
    """Look for one object in the trash, and bring it back with its pack."""
    if not store.trash_dir.is_dir():
        return False
    for directory in sorted(store.trash_dir.iterdir(), reverse=True):
        if directory.name.startswith("damaged"):
            continue
        own = directory / digest
        if own.exists():
            _move_back(store, own)
            return True
        for path in directory.glob("*.pack"):
            if any(row.digest == digest for row in _table(path)):
                _move_back(store, path)
                return True
    return False


def quarantine(store: Store, digest: Digest) -> None:
    """Set a damaged object aside in ``trash/damaged``; the sound objects of its pack stay known."""
    location = store.places.locate([digest]).get(digest)
    target = store.trash_dir / "damaged"
    make_directories(target)
    path = own_path(store.objects_dir, digest)
    if location is None or location.pack == OWN:
        store.places.drop([digest])
        if path.exists():
            os.rename(path, target / digest)
            sync_directory(path.parent)
        return
    name = store.pack_names().get(location.pack)
    if name is None:
        store.places.drop([digest])
        return
    sound = {bytes.fromhex(row.digest) for row in store.places.pack_rows(location.pack) if _sound(store, row.digest)}
    if sound:
        _rewrite(store, location.pack, sound)
    else:
        store.forget_pack(location.pack)
    os.rename(store.packs_dir / name, target / name)
    sync_directory(store.packs_dir)
    store.refresh()


def _sound(store: Store, digest: Digest) -> bool:
    try:
        store.verify(digest)
    except AvcError:
        return False
    return True
