"""A remote in a directory on a host that lets its user in by SSH.

It has the layout of a remote in a directory, and may be used as one on the host itself.

- ``create``: the bytes are written and synced under ``tmp/``, then linked to their name, which
  fails if it is taken (OpenSSH's ``hardlink``); where a server offers no links, renamed, which
  SFTP servers refuse if the name is taken. The probe tries whether this one does (protocol R1).
- What is uploaded appears whole and synced too, and its size is looked at before it is named.
- Each thread at work has a connection to itself, at most four; they are kept for the next.
- What a broken connection interrupts is done again where that does no harm; a download or an
  upload goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from artifactvc.errors import (
    AvcError,
    Corrupt,
    NoSpace,
    OutcomeUnknown,
    ReadOnly,
    RemoteMissing,
    RemoteRefused,
    RemoteUnavailable,
    StorageError,
)
from artifactvc.storage import sftpwire
from artifactvc.storage.sftppool import Pool
from artifactvc.storage.sftptree import Tree, Upload
from artifactvc.storage.sftpwire import NO_SUCH_FILE, Broken, Status, Wire
from artifactvc.storage.ssh import parse_place
from artifactvc.storage.transport import (
    NO_ANSWER,
    Advance,
    Listing,
    RemoteOptions,
    Stored,
    check_name,
    is_name,
    lots,
    no_advance,
)

_LOT: Final = 8 << 20  # bytes of ranges that are held
_MANY: Final = 64  # files or directories open at once


class SftpTransport(Listing):
    """The files below a directory, which is made when something is first written."""

    kind = "sftp"

    def __init__(self, url: str, options: RemoteOptions) -> None:
        place = parse_place(url)
        self.url, self.read_only = place.url, options.read_only
        self._root, self._options = place.path, options
        self._root_seen = False
        self._tree = Tree(place.path, place.url, options.rate)
        self._pool = Pool(place, options)
        weakref.finalize(self, self._pool.close)  # else their threads would live as long as the process

    def _path(self, name: str) -> str:
        return f"{self._root}/{check_name(name)}"

    @contextlib.contextmanager
    def _told(self, name: str, *, writing: bool = False) -> Iterator[None]:
        """Tell what the server answered in words of ours."""
        if writing and self.read_only:
            raise ReadOnly(f"the remote '{self.url}' is read-only")
        try:
            yield
        except Status as status:
            raise self._explain(name, status, writing=writing) from status

    def _explain(self, name: str, status: Status, *, writing: bool) -> AvcError:
        if status.code == NO_SUCH_FILE and not writing:
            self._look_for_root()
            return RemoteMissing(f"'{name}' is not at '{self.url}'")
        full = writing and status.code != sftpwire.PERMISSION_DENIED and _is_full(self._pool, self._root)
        return NoSpace(self.url) if full else _worded(f"'{name}' at '{self.url}'", status, writing=writing)

    def _look_for_root(self) -> None:
        """RemoteUnavailable if the remote's directory is not there: what is missing in it tells nothing then."""
        if not self._root_seen:
            found = self._pool.again(lambda wire: wire.stat(self._root))
            if found is None or not found.is_directory:
                raise RemoteUnavailable(
                    f"the remote's directory '{self.url}' is not there", hint="is it mounted? check the address"
                )
            self._root_seen = True

    # ---- reading ---------------------------------------------------------------------------------

    def read(self, name: str, *, limit: int) -> bytes:
        """A whole file."""
        (data,) = self._small([name], limit)
        if isinstance(data, Status):
            with self._told(name):
                raise data
        return data

    def read_many(self, names: Sequence[str], *, limit: int) -> list[bytes | None]:
        """Whole files, None for those that are not there."""
        found: list[bytes | None] = []
        for start in range(0, len(names), _MANY):
            part = names[start : start + _MANY]
            for name, data in zip(part, self._small(part, limit), strict=True):
                if isinstance(data, Status) and data.code != NO_SUCH_FILE:
                    raise self._explain(name, data, writing=False) from data
                found.append(None if isinstance(data, Status) else data)
        if found and not any(data is not None for data in found):
            self._look_for_root()
        return found

    def _small(self, names: Sequence[str], limit: int) -> list[bytes | Status]:
        """Files of at most *limit* bytes, read side by side."""
        paths = [self._path(name) for name in names]

        def work(wire: Wire) -> list[bytes | Status]:
            opened = wire.open_many(paths)
            handles = [handle for handle in opened if isinstance(handle, bytes)]
            first = min(wire.piece, limit + 1)
            begun = wire.read((handle, 0, first) for handle in handles)
            whole = {}
            for handle, data in zip(handles, list(begun), strict=True):
                if len(data) == first:
                    spans = _spans(handle, first, limit + 1, wire.piece)
                    data += b"".join(wire.read(spans))
                whole[handle] = data
            wire.close(handles)
            return [whole[handle] if isinstance(handle, bytes) else handle for handle in opened]

        with self._told(names[0]):
            found = self._pool.again(work)
        for name, data in zip(names, found, strict=True):
            if isinstance(data, bytes) and len(data) > limit:
                raise Corrupt(
                    f"'{name}' at '{self.url}' is larger than {limit} bytes", hint="whoever may write there damaged it"
                )
        return found

    def read_ranges(self, wanted: Sequence[tuple[str, int, int]]) -> Iterator[tuple[int, bytes]]:
        """Parts of files, some at a time."""
        for lot in lots(wanted, _LOT):
            with self._told(wanted[lot[0]][0]):
                found = self._pool.again(lambda wire, lot=lot: self._parts(wire, [wanted[at] for at in lot]))  # type: ignore[misc]
            yield from zip(lot, found, strict=True)

    def _parts(self, wire: Wire, wanted: Sequence[tuple[str, int, int]]) -> list[bytes]:
        handles: dict[str, bytes] = {}
        names = sorted({name for name, _, _ in wanted})
        for name, handle in zip(names, wire.open_many(map(self._path, names)), strict=True):
            if isinstance(handle, Status):
                raise self._explain(name, handle, writing=False) from handle
            handles[name] = handle
        spans = [list(_spans(handles[name], start, start + length, wire.piece)) for name, start, length in wanted]
        pieces = wire.read(self._paced(span for part in spans for span in part))
        found = []
        for (name, _, length), part in zip(wanted, spans, strict=True):
            data = b"".join(next(pieces) for _ in part)
            if len(data) != length:
                raise Corrupt(f"'{name}' at '{self.url}' is cut short")
            found.append(data)
        next(pieces, None)
        wire.close(handles.values())
        return found

    def _paced(self, spans: Iterator[tuple[bytes, int, int]]) -> Iterator[tuple[bytes, int, int]]:
        for span in spans:
            if self._options.rate is not None:
                self._options.rate.take(span[2])
            yield span

    def download(self, name: str, target: Path, size: int, *, advance: Advance = no_advance) -> None:
        """Write a file, going on where a broken connection stopped it."""
        path = self._path(name)
        fd = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
        done = 0

        def work(wire: Wire) -> None:
            nonlocal done
            handle = wire.open(path, sftpwire.READ)
            if wire.size(handle) != size:
                raise Corrupt(f"'{name}' at '{self.url}' does not have the {size} bytes that the remote's index says")
            for data in wire.read(self._paced(_spans(handle, done, size, wire.piece))):
                if len(data) != min(wire.piece, size - done):
                    raise Corrupt(f"'{name}' at '{self.url}' is cut short")
                os.pwrite(fd, data, done)
                done += len(data)
                advance(len(data))
            wire.close([handle])

        try:
            with self._told(name):
                self._pool.again(work, progress=lambda: done)
        finally:
            os.close(fd)

    def list_files(self, prefix: str) -> list[Stored]:
        """All files below a directory, read side by side."""
        top = self._path(prefix)

        def work(wire: Wire) -> list[Stored] | None:
            found: list[Stored] = []
            left = [top]
            while left:
                lot, left = left[:_MANY], left[_MANY:]
                listed = wire.entries(lot)
                if top in lot and top not in listed:
                    return None
                for directory, entries in listed.items():
                    for base, about in entries:
                        path = f"{directory}/{base}"
                        name = path[len(self._root) + 1 :]
                        if about.is_directory and is_name(name):
                            left.append(path)
                        elif about.is_file and is_name(name):
                            found.append(Stored(name, about.size, about.modified))
            return sorted(found)

        with self._told(prefix):
            found = self._pool.again(work)
        if found is None:
            self._look_for_root()
        return found or []

    # ---- writing ---------------------------------------------------------------------------------

    def upload(self, name: str, source: Path | bytes, *, advance: Advance = no_advance) -> None:
        """Store a file whole, going on where a broken connection stopped it."""
        path = self._path(name)
        with self._told(name, writing=True), contextlib.ExitStack() as opened:
            if isinstance(source, bytes):
                upload = Upload(source, len(source), advance)
            else:
                fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
                opened.callback(os.close, fd)
                upload = Upload(fd, os.fstat(fd).st_size, advance)
            self._pool.again(lambda wire: self._tree.send(wire, path, upload), progress=lambda: upload.done)

    def create(self, name: str, data: bytes) -> bool:
        """Create a file unless it exists."""
        path = self._path(name)

        def work(wire: Wire) -> bool:
            tree = self._tree
            staged = tree.stage(wire, path, data)
            try:
                made = tree.name_once(wire, staged, path)
                self.means = "link" if tree.links(wire) else "rename that does not overwrite"
                if tree.unlinkable:
                    self.doubt = "that file system has no links, so the server looks, and then renames"
                if made:
                    tree.sync_directory(wire, posixpath.dirname(path))
            except Broken as error:
                raise OutcomeUnknown(f"'{name}' at '{self.url}' does not answer ({error})", hint=NO_ANSWER) from error
            with contextlib.suppress(Broken):  # gc finds it
                tree.drop(wire, staged)
            return made

        with self._told(name, writing=True):
            return self._pool.again(work)

    def remove(self, name: str) -> None:
        """Remove a file, and its directory if that is now empty and was for it alone."""
        path = self._path(name)

        def work(wire: Wire) -> None:
            try:
                wire.remove(path)
            except Status as status:
                if status.code != NO_SUCH_FILE:
                    raise
            above = posixpath.dirname(path)
            with contextlib.suppress(Status):
                wire.remove_directory(above)
                self._tree.made.discard(above)

        with self._told(name, writing=True):
            self._pool.again(work)

    def drop_unfinished(self, before: float) -> int:
        """Remove what killed pushes left half-written under ``tmp/``."""

        def work(wire: Wire) -> int:
            dropped = 0
            for base, about in wire.entries([self._tree.tmp]).get(self._tree.tmp, ()):
                if about.is_file and about.modified < before:
                    wire.remove(f"{self._tree.tmp}/{base}")
                    dropped += 1
            return dropped

        with self._told("tmp", writing=True):
            return self._pool.again(work)


def _spans(handle: bytes, start: int, end: int, step: int) -> Iterator[tuple[bytes, int, int]]:
    """The pieces of a file from *start* to *end*."""
    for at in range(start, end, step):
        yield handle, at, min(step, end - at)


def _is_full(pool: Pool, root: str) -> bool:
    """Whether the server's disk has no room left, or all but none."""
    try:
        free = pool.again(lambda wire: wire.free(root))
    except (Status, RemoteUnavailable):
        return False
    return free is not None and free < 1 << 20


def _worded(what: str, status: Status, *, writing: bool) -> AvcError:
    deed = "write" if writing else "read"
    if status.code == sftpwire.PERMISSION_DENIED:
        return RemoteRefused(f"may not {deed} {what}", hint="check the permissions there")
    return StorageError(
        f"cannot {deed} {what}: {status.text or f'status {status.code}'}",
        hint="the server says no more; look at that directory on its host (quota, permissions)",
    )
