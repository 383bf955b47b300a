"""The local store: objects by digest, whatever holds them.

Reads are checked against the digest, apart from larger objects that the trust rule covers:
size, mtime, ctime and inode are those recorded when the bytes were last verified (design,
section 4; permission bits prove nothing). A reader that misses an object looks for packs
that another process brought, then in ``trash/`` (protocol L3), before it gives up.

Writing is in ``writer.py``, removing in ``sweep.py``.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from artifactvc.core.model import EMPTY, Digest
from artifactvc.errors import BadPack, DigestMismatch, MissingObject
from artifactvc.storage import loose, packs
from artifactvc.storage.followed import Followed
from artifactvc.storage.loose import own_path
from artifactvc.storage.packset import PackSet
from artifactvc.storage.places import OWN, Location, Places, Stamp
from artifactvc.storage.trash import restore
from artifactvc.storage.uses import Uses
from artifactvc.util.hashing import StreamDigest, digest_bytes

_EMPTY: Final = bytes.fromhex(EMPTY)
#: From so many questions on, one listing is quicker than asking for each.
_MANY: Final = 300
_CACHED_BYTES: Final = 48 << 20


def stamp_of(stat: os.stat_result) -> Stamp:
    """What the trust rule compares."""
    return Stamp(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_nlink)


class Store:
    """The objects of one repository. *connect* gives this command's connection to the index."""

    def __init__(self, root: Path, connect: Callable[[], sqlite3.Connection]) -> None:
        self.root, self.tmp = root, root / "tmp"
        self.packs_dir, self.objects_dir, self.trash_dir = root / "packs", root / "objects", root / "trash"
        self.places, self.uses, self.followed = Places(connect), Uses(connect), Followed(connect)
        self.packs = PackSet(self.packs_dir, self.places, self.uses)
        self._cache: OrderedDict[Digest, bytes] = OrderedDict()
        self._cached = 0

    def intact_generation(self) -> int:
        """A number that is the same as long as no object left the store; compares ``packs/`` with the index."""
        self.packs.refresh()
        return self.places.generation()

    # ---- questions -------------------------------------------------------------------------------

    def _directories(self) -> set[str]:
        """Of the directories of larger objects, those that are there: what would be in another need not be asked."""
        with contextlib.suppress(FileNotFoundError):
            return set(os.listdir(self.objects_dir))
        return set()

    def has(self, digests: Iterable[Digest]) -> set[Digest]:
        """Those of *digests* that are here: a row, and the file it speaks of."""
        wanted = list(dict.fromkeys(digests))
        found = self._present(wanted)
        if len(found) < len(wanted) and self.packs.changed():
            self.packs.refresh()
            found = self._present(wanted)
        return found

    def _present(self, wanted: list[Digest]) -> set[Digest]:
        serials = self.packs.names()
        held = self.places.packs_of([bytes.fromhex(digest) for digest in wanted])
        found, objects = set(), os.fspath(self.objects_dir)
        directories = self._directories() if len(wanted) > _MANY else None
        for digest in wanted:
            serial = held.get(bytes.fromhex(digest))
            if serial is None:
                if digest == EMPTY or (
                    (directories is None or digest[:2] in directories)
                    and os.path.exists(f"{objects}/{digest[:2]}/{digest[2:]}")
                ):
                    found.add(digest)
            elif serial != OWN:
                if serial in serials:
                    found.add(digest)
            elif os.path.exists(f"{objects}/{digest[:2]}/{digest[2:]}"):  # `own_path`, of thousands
                found.add(digest)
        return found

    def length(self, digest: Digest) -> int:
        """Bytes of an object that is here."""
        if digest == EMPTY:
            return 0
        location = self._locate(digest)
        if location is not None:
            return location.length
        return own_path(self.objects_dir, digest).stat().st_size

    def stored_bytes(self, digests: Iterable[Digest]) -> int:
        """Bytes that those of *digests* that are here take on disk, once each."""
        return sum(location.stored for location in self.places.locate(digests).values())

    def iter_all(self) -> Iterator[tuple[Digest, int]]:
        """(digest, bytes) of every object, pack by pack."""
        for serial in self.packs.names():
            for row in sorted(self.places.pack_rows(serial), key=lambda row: row.offset):
                yield row.digest, row.length
        yield from self.places.own()

    def _locate(self, digest: Digest) -> Location | None:
        location = self.places.locate([digest]).get(digest)
        if location is None or (location.pack != OWN and location.pack not in self.packs):
            return None
        return location

    # ---- reading ---------------------------------------------------------------------------------

    def read(self, digest: Digest) -> bytes:
        """The bytes of a small object, checked. Raises MissingObject, DigestMismatch, BadPack."""
        if digest == EMPTY:
            return b""
        cached = self._cache.get(digest)
        if cached is not None:
            self._cache.move_to_end(digest)
            return cached
        data = self._read(digest)
        if data is None:
            self.packs.refresh()
            data = self._read(digest)
        if data is None and restore(self.trash_dir, self.objects_dir, self.packs, self.places, digest):
            data = self._read(digest)
        if data is None:
            raise MissingObject(digest)
        self._remember(digest, data)
        return data

    def _remember(self, digest: Digest, data: bytes) -> None:
        if len(data) > _CACHED_BYTES // 8:
            return
        self._cache[digest] = data
        self._cached += len(data)
        while self._cached > _CACHED_BYTES:
            self._cached -= len(self._cache.popitem(last=False)[1])

    def _read(self, digest: Digest) -> bytes | None:
        location = self._locate(digest)
        try:
            if location is None or location.pack == OWN:
                data = own_path(self.objects_dir, digest).read_bytes()
                self.uses.note(digest)
                where = "objects/"
            else:
                where = f"pack '{self.packs.name(location.pack)}'"
                stored = os.pread(self.packs.fd(location.pack), location.stored, location.offset)
                data = packs.decode_object(stored, location.codec, location.length, where)
        except FileNotFoundError:
            return None
        except BadPack as error:
            raise DigestMismatch(digest, "?" * 12, f"{where} ({error.message})") from error
        actual = digest_bytes(data)
        if actual != digest:
            raise DigestMismatch(digest, actual, where)
        return data

    def read_many(self, digests: Iterable[Digest]) -> Iterator[tuple[Digest, bytes]]:
        """Objects that are in packs, checked, in the order in which they lie there; others are left out."""
        by_pack: dict[int, list[packs.PackRow]] = {}
        for digest, location in self.places.locate(digests).items():
            if location.pack != OWN and location.pack in self.packs:
                by_pack.setdefault(location.pack, []).append(packs.PackRow(digest, *location[1:]))
        for serial, rows in by_pack.items():
            where = f"pack '{self.packs.name(serial)}'"
            for row, stored in packs.iter_stored(self.packs.fd(serial), rows):
                data = stored if row.codec == packs.RAW else packs.decode_object(stored, row.codec, row.length, where)
                actual = digest_bytes(data)
                if actual != row.digest:
                    raise DigestMismatch(row.digest, actual, where)
                yield row.digest, data  # type: ignore[misc]  # a memoryview serves as bytes

    def own_path(self, digest: Digest) -> Path | None:
        """The file of a larger object whose bytes can be trusted, or None if it has no file of its own.

        Where the stamps are not those recorded, the bytes are hashed again, and the new
        stamps recorded; DigestMismatch if they are not what the name promises.
        """
        path = own_path(self.objects_dir, digest)
        try:
            stat = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            if self._locate(digest) is not None or digest not in self.bring_back([digest]) or not path.exists():
                return None
            stat = os.stat(path, follow_symlinks=False)
        self.uses.note(digest)
        now, recorded = stamp_of(stat), self.places.stamp(digest)
        if recorded is not None and _trusted(recorded, now):
            return path
        self._verify_own(digest, path)
        return path

    def restamp(self, digest: Digest) -> None:
        """Record the stamps anew after our own link or unlink of an object's file: that changes its ctime."""
        stat = stamp_of(os.stat(own_path(self.objects_dir, digest), follow_symlinks=False))
        recorded = self.places.stamp(digest)
        if recorded is not None and (recorded.size, recorded.mtime, recorded.inode) == (
            stat.size,
            stat.mtime,
            stat.inode,
        ):
            self.places.register_own(digest, stat.size, stat)

    def _verify_own(self, digest: Digest, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            before = stamp_of(os.fstat(fd))
            actual, length = loose.hash_file(fd)
            after = stamp_of(os.fstat(fd))
        finally:
            os.close(fd)
        if actual != digest:
            raise DigestMismatch(digest, actual, f"objects/{digest[:2]}")
        self.places.register_own(digest, length, after if before == after else None)

    def chunks(self, digest: Digest) -> Iterator[bytes]:
        """The bytes of an object in pieces. Nothing wrong is handed out as right: the last piece is only
        given once the digest is known to fit, unless the trust rule covers the file."""
        if digest == EMPTY:
            return
        location = self._locate(digest)
        if location is not None and location.pack != OWN:
            yield self.read(digest)
            return
        path = self.own_path(digest)
        try:
            file = open(path, "rb") if path is not None else None  # noqa: SIM115  closed below
        except FileNotFoundError:
            file = None  # evicted in this very moment
        if file is None:
            yield self.read(digest)
            return
        with file:
            while data := file.read(loose.WINDOW):
                yield data

    def verify(self, digest: Digest) -> None:
        """Hash the bytes of one object, whatever was recorded; DigestMismatch if they do not fit its name."""
        location = self._locate(digest)
        if location is not None and location.pack != OWN:
            self._cache.pop(digest, None)
            if self._read(digest) is None:
                raise MissingObject(digest)
            return
        path = own_path(self.objects_dir, digest)
        if not path.exists():
            raise MissingObject(digest)
        self._verify_own(digest, path)

    def rescan(self, *, rebuild: bool = False) -> None:
        """Build the rows anew from the packs and ``objects/`` alone, or only add what is missing."""
        if rebuild:
            self.places.clear()
        self.packs.refresh()
        for directory in sorted(self.objects_dir.iterdir()) if self.objects_dir.is_dir() else ():
            for path in directory.iterdir():
                digest = directory.name + path.name
                if len(digest) == 64 and not self.places.locate([digest]):
                    self.places.register_own(digest, path.stat().st_size, None)

    def bring_back(self, digests: Iterable[Digest]) -> set[Digest]:
        """Those of *digests* that were in the trash, and are back (protocol L3)."""
        if not self.trash_dir.is_dir() or not any(self.trash_dir.iterdir()):
            return set()
        found = set()
        for digest in digests:
            if self.has([digest]) or restore(self.trash_dir, self.objects_dir, self.packs, self.places, digest):
                found.add(digest)
        return found

    def forget_pack(self, serial: int) -> None:
        """Drop a pack's rows, and what is remembered of its bytes: the first step of removing it."""
        self.packs.forget(serial)
        self._cache.clear()
        self._cached = 0

    def close(self) -> None:
        """Close the packs that are open, and record what was used."""
        self.packs.close()
        self.uses.save()
        self.followed.save()


def lend(store: Store, digest: Digest, data: bytes) -> None:
    """Let ``store.read`` find a small object that is not stored here, for a while: for who only looks."""
    store._remember(digest, data)


def _trusted(recorded: Stamp, now: Stamp) -> bool:
    """The trust rule: the same stamps; with several links ctime changes with each, so it is left out."""
    if now.links > 1 or recorded.links > 1:
        return (recorded.size, recorded.mtime, recorded.inode) == (now.size, now.mtime, now.inode)
    return recorded[:4] == now[:4]


__all__ = ["Store", "StreamDigest", "lend", "stamp_of"]
