"""Putting objects into the local store.

One ``StoreWriter`` serves one command. Small objects are collected in packs in the order
in which they come, so neighbours stay neighbours; larger ones become files of their own.
Everything is durable when ``close`` returns, in this order (protocol L1): bytes, their
names, the directories, then the rows of the index. A crash before that leaves files that
nothing names, for gc. The caller holds the store's lock, shared, from its first question
until the draft or log entry that names the objects is durable (L2).
"""

from __future__ import annotations

import os
import secrets
import stat as stat_module
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from blake3 import blake3

from artifactvc.core.model import Digest
from artifactvc.errors import DigestMismatch, UnreadableFile, UnstableFile, UnsupportedFile
from artifactvc.storage import loose, packs
from artifactvc.storage.loose import own_path
from artifactvc.storage.packing import Packing
from artifactvc.storage.packs import SMALL
from artifactvc.storage.places import Stamp
from artifactvc.storage.store import Store, stamp_of
from artifactvc.util.files import follow_directory, make_directories, sync_directory, temporary, writing
from artifactvc.util.hashing import StreamDigest
from artifactvc.util.text import escape

_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def _same(a: os.stat_result, b: os.stat_result) -> bool:
    return (a.st_size, a.st_mtime_ns, a.st_ctime_ns, a.st_ino) == (b.st_size, b.st_mtime_ns, b.st_ctime_ns, b.st_ino)


def _opened(path: str) -> tuple[int, os.stat_result]:
    """A regular file, open for reading, and what ``fstat`` says of it; UnreadableFile, UnsupportedFile."""
    try:
        fd = os.open(path, _OPEN)
    except PermissionError as error:
        raise UnreadableFile(
            f"cannot read '{escape(path)}': permission denied", hint="check its permissions"
        ) from error
    except OSError as error:
        if error.errno in (6, 40):  # ENXIO: a socket; ELOOP: a link put there meanwhile
            raise UnsupportedFile(f"'{escape(path)}' is not a regular file") from error
        raise
    stat = os.fstat(fd)
    if not stat_module.S_ISREG(stat.st_mode):
        os.close(fd)
        raise UnsupportedFile(
            f"'{escape(path)}' is {_kind(stat.st_mode)}", hint="only files, links and directories are taken"
        )
    return fd, stat


def _read_stable(path: str, fd: int, before: os.stat_result) -> bytes | None:
    """The bytes of a small file, or None if it changed while it was read."""
    try:
        data = os.read(fd, before.st_size + 1)
    except OSError as error:
        raise UnreadableFile(f"cannot read '{escape(path)}': {error.strerror}") from error
    return data if len(data) == before.st_size and _same(before, os.fstat(fd)) else None


def read_small(path: str) -> tuple[bytes, os.stat_result] | None:
    """The bytes of the file at *path* and its stat, to be stored later; None if it is too large for a pack.

    A link is not followed. Raises UnreadableFile, UnsupportedFile, UnstableFile.
    """
    for _ in range(2):
        fd, before = _opened(path)
        try:
            if before.st_size > SMALL:
                return None
            data = _read_stable(path, fd, before)
        finally:
            os.close(fd)
        if data is not None:
            return data, before
    raise UnstableFile(escape(path))


class StoreWriter:
    """Put objects; use it as a context manager. On an error nothing is registered and temporary files go."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.packing = Packing(store)
        self._own: list[tuple[Digest, int, Stamp | None]] = []
        self._directories: set[Path] = set()
        self._adopted: list[tuple[str, bytes, int]] = []  # name, table, size

    # ---- putting -----------------------------------------------------------------------------------

    def put(self, data: bytes, *, node: bool = False) -> Digest:
        """Store *data* and return its digest. Manifest nodes go to packs whatever their size."""
        if len(data) > SMALL and not node:
            return self.put_stream([data], None)
        key = blake3(data).digest()
        self.put_small(key, data)
        return key.hex()

    def put_small(self, key: bytes, data: bytes) -> None:
        """Store small *data* whose digest is *key* (32 bytes), as the caller has just worked out."""
        self.packing.add(key, data)

    def put_node(self, data: bytes) -> Digest:
        """Store a manifest node."""
        return self.put(data, node=True)

    def put_file(self, path: str, *, move: bool = False) -> tuple[Digest, os.stat_result]:
        """Store the file at *path*, read once; its digest, and what ``fstat`` said of the bytes read.

        A file that changes meanwhile is read again once, then UnstableFile. A link is not
        followed. Raises UnreadableFile, UnsupportedFile.
        """
        for _ in range(2):
            fd, before = _opened(path)
            try:
                if before.st_size > SMALL:
                    digest = self._put_large(path, fd, before, move=move)
                else:
                    digest = self._put_small(path, fd, before)
                if digest is not None:
                    return digest, os.fstat(fd) if move else before  # --move set the mode: a new ctime
            finally:
                os.close(fd)
        raise UnstableFile(escape(path))

    def _put_small(self, path: str, fd: int, before: os.stat_result) -> Digest | None:
        data = _read_stable(path, fd, before)
        if data is None:
            return None
        key = blake3(data).digest()
        self.put_small(key, data)
        return key.hex()

    def _put_large(self, path: str, fd: int, before: os.stat_result, *, move: bool) -> Digest | None:
        staged = temporary(self._store.tmp, f"own{self.packing.mark}")
        try:
            with writing(self._store.tmp):
                if move and self._link(path, fd, staged, before):
                    return self._take_link(fd, staged, before)
                target = os.open(staged, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
                try:
                    digest, size = loose.store_copy(fd, target, before.st_size)
                    if size != before.st_size or not _same(before, os.fstat(fd)):
                        return None
                    self._place(digest, staged, target)
                finally:
                    os.close(target)
            return digest
        finally:
            staged.unlink(missing_ok=True)

    def _link(self, path: str, fd: int, staged: Path, before: os.stat_result) -> bool:
        """Give the file a second name in the store (``--move``): the workspace never lacks the first."""
        try:
            os.link(path, staged, follow_symlinks=False)
        except OSError:
            return False  # another file system: copied instead
        return os.stat(staged).st_ino == before.st_ino

    def _take_link(self, fd: int, staged: Path, before: os.stat_result) -> Digest | None:
        digest, size = loose.hash_file(fd)
        after = os.fstat(fd)
        if size != before.st_size or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            return None
        os.fchmod(fd, 0o444 | (before.st_mode & 0o111))
        self._place(digest, staged, fd)
        return digest

    def _place(self, digest: Digest, staged: Path, fd: int) -> None:
        """Sync the bytes and give them their name, unless the object is here already."""
        path = own_path(self._store.objects_dir, digest)
        size = os.fstat(fd).st_size
        if self.packing.holds(bytes.fromhex(digest)) or path.exists():
            self._own.append((digest, size, None))
            return
        os.fsync(fd)
        if not path.parent.is_dir():
            make_directories(path.parent)
        follow_directory(staged, path.parent)
        os.rename(staged, path)
        self._directories.add(path.parent)
        self._own.append((digest, size, stamp_of(os.fstat(fd))))

    def put_stream(self, chunks: Iterable[bytes], digest: Digest | None) -> Digest:
        """Store bytes that come in pieces; with *digest*, DigestMismatch unless that is theirs."""
        staged = temporary(self._store.tmp, f"own{self.packing.mark}")
        fd = os.open(staged, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
        try:
            hasher, size = StreamDigest(), 0
            for chunk in chunks:
                loose.write_stream(fd, chunk, hasher)
                size += len(chunk)
            actual = hasher.digest()
            if digest is not None and actual != digest:
                raise DigestMismatch(digest, actual, "a download")
            if size <= SMALL:
                return self.put(os.pread(fd, size, 0))
            self._place(actual, staged, fd)
            return actual
        finally:
            os.close(fd)
            staged.unlink(missing_ok=True)

    def take_object(self, staged: Path, digest: Digest) -> None:
        """Take over a file in ``tmp/`` that is known to be the object *digest* (``incoming.check_object``)."""
        fd = os.open(staged, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            if size <= SMALL:
                self.put(os.pread(fd, size, 0))
                return
            os.fchmod(fd, 0o444)
            self._place(digest, staged, fd)
        finally:
            os.close(fd)

    def take_pack(self, staged: Path, table: bytes) -> None:
        """Take over a pack in ``tmp/`` that was checked whole and synced (``incoming.check_pack``)."""
        size = staged.stat().st_size
        name = f"{secrets.token_hex(16)}.pack"
        os.chmod(staged, 0o444)
        os.rename(staged, self._store.packs_dir / name)
        self._adopted.append((name, table, size))
        self.packing.fresh.update(digest for digest, *_ in packs.raw_rows(table))

    # ---- closing -----------------------------------------------------------------------------------

    def close(self) -> None:
        """Make everything durable, then known.

        The rows are written while the disk is busy, in a transaction that ends after the bytes
        and their names are durable.
        """
        from artifactvc.storage.database import begin

        try:
            with writing(self._store.root):
                self.packing.finish()
                if not (self.packing.done or self._adopted or self._own):
                    return
                names = [f"{secrets.token_hex(16)}.pack" for _ in self.packing.done]
                with begin(self._store.places.connection):
                    registered = self._register(names)
                    self.packing.join()
                    for name, done in zip(names, self.packing.done, strict=True):
                        follow_directory(done.staged, self._store.packs_dir)
                        os.rename(done.staged, self._store.packs_dir / name)
                    if names or self._adopted:
                        sync_directory(self._store.packs_dir)
                    for directory in sorted(self._directories):
                        sync_directory(directory)
            self._store.packs.add(registered)
        except BaseException:
            self.abort()
            raise

    def _register(self, names: list[str]) -> dict[int, str]:
        places, registered = self._store.places, dict[int, str]()
        for name, (_, table, size) in zip(names, self.packing.done, strict=True):
            objects = packs.count_rows(table)
            registered[places.register_pack(name, table, packs.whole_size(size - len(packs.MAGIC), objects))] = name
        for name, table, size in self._adopted:
            registered[places.register_pack(name, table, size)] = name
        for digest, length, stamp in self._own:
            if stamp is not None or not places.locate([digest]):
                places.register_own(digest, length, stamp)
        return registered

    def become_child(self) -> None:
        """After a fork: what the parent has begun is the parent's."""
        self.packing.become_child()
        self._own, self._directories = [], set()

    def hand_over(self) -> tuple[Any, ...]:
        """In a child: say what the parent must sync, publish and register."""
        with writing(self._store.root):
            finished = self.packing.hand_over()
        own = [(digest, size, tuple(stamp) if stamp else None) for digest, size, stamp in self._own]
        return finished, own, [os.fspath(path) for path in self._directories]

    def take_over(self, finished: list[Any], own: list[Any], directories: list[str]) -> None:
        """In the parent: what a child has put is ours."""
        self.packing.take_over(finished)
        self._own += [(digest, size, Stamp(*stamp) if stamp else None) for digest, size, stamp in own]
        self._directories.update(map(Path, directories))

    def abort(self) -> None:
        """Drop what is not published; packs and files that are, are garbage for gc."""
        self.packing.abort()

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abort()


def _kind(mode: int) -> str:
    for test, name in (
        (stat_module.S_ISSOCK, "a socket"),
        (stat_module.S_ISFIFO, "a pipe"),
        (stat_module.S_ISBLK, "a device"),
        (stat_module.S_ISCHR, "a device"),
        (stat_module.S_ISDIR, "a directory"),
    ):
        if test(mode):
            return name
    return "not a regular file"
