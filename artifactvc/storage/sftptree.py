"""Writing below a directory on a host, step by step over one connection, as ``util/files.py`` does here.

Files are written and synced under ``tmp/``, then given their name, then their directory is
synced (protocol L1). Directories are made when they are first needed.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from artifactvc.errors import AvcError, RemoteUnavailable, StorageError
from artifactvc.storage import sftpwire
from artifactvc.storage.sftpwire import NO_SUCH_FILE, Status, Wire
from artifactvc.storage.transport import Advance, no_advance
from artifactvc.util.rate import Rate

#: How often what others remove under our hands is made again.
_TRIES: Final = 8


@dataclass
class Upload:
    """How far an upload is: what the server is known to have, and how much of it was told."""

    source: int | bytes  # a file descriptor, or the bytes themselves
    size: int
    advance: Advance = no_advance
    staged: str = ""
    done: int = 0
    told: int = 0

    def has(self, count: int) -> None:
        """The server has *count* more bytes; what is sent a second time is told once."""
        self.done += count
        if self.done > self.told:
            new, self.told = self.done - self.told, self.done
            self.advance(new)

    def pieces(self, step: int) -> Iterator[tuple[int, bytes]]:
        """What is still to be sent."""
        for start in range(self.done, self.size, step):
            length = min(step, self.size - start)
            if isinstance(self.source, bytes):
                yield start, self.source[start : start + length]
            else:
                yield start, os.pread(self.source, length, start)


class Tree:
    """The directory *root* of a remote; *rate* bounds what is sent."""

    def __init__(self, root: str, url: str, rate: Rate | None) -> None:
        self.root, self.tmp, self._url, self._rate = root, f"{root}/tmp", url, rate
        self.made: set[str] = set()  # directories that are there
        self.unlinkable = False  # whether links were offered, and then refused

    def _paced(self, pieces: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
        for start, data in pieces:
            if self._rate is not None:
                self._rate.take(len(data))
            yield start, data

    def send(self, wire: Wire, path: str, upload: Upload) -> None:
        """Store a file whole, from where an earlier try stopped."""
        self.directories(wire, path)
        handle = self._opened(wire, path, upload)
        if handle is None:
            self.sync_directory(wire, posixpath.dirname(path))
            return
        try:
            wire.write(handle, self._paced(upload.pieces(wire.piece)), upload.has)
            wire.sync(handle)
            size = wire.size(handle)
            wire.close([handle])
            if size != upload.size:
                raise StorageError(
                    f"a file of {upload.size} bytes arrived at '{self._url}' with {size}", hint="try again"
                )
            self._place_at(wire, upload.staged, path)
        except (Status, AvcError):
            if wire.settled:
                self.drop(wire, upload.staged)
            raise
        self.sync_directory(wire, posixpath.dirname(path))

    def _opened(self, wire: Wire, path: str, upload: Upload) -> bytes | None:
        """A handle on what is being uploaded; None if an earlier try, whose answer was lost, had ended well."""
        if upload.done:
            try:
                handle = wire.open(upload.staged, sftpwire.WRITE)
                if wire.size(handle) >= upload.done:  # else the host has lost some of it, by a power cut maybe
                    return handle
                wire.close([handle])
            except Status as status:
                if status.code != NO_SUCH_FILE:
                    raise
                standing = wire.stat(path)
                if upload.done == upload.size and standing is not None and standing.size == upload.size:
                    return None
        if upload.staged:
            self.drop(wire, upload.staged)
        upload.staged, upload.done = self.temporary("up"), 0
        return wire.open(upload.staged, sftpwire.NEW)

    def temporary(self, stem: str) -> str:
        """A path that nobody else uses."""
        return f"{self.tmp}/{stem}-{secrets.token_hex(8)}"

    def _place_at(self, wire: Wire, staged: str, path: str) -> None:
        """Give an upload its name; what stands there from another try goes."""
        for attempt in range(_TRIES):
            try:
                if sftpwire.REPLACE in wire.offers:
                    wire.extended(sftpwire.REPLACE, staged, path)
                else:
                    wire.rename(staged, path)
                return
            except Status as status:
                if attempt and (status.code != NO_SUCH_FILE or attempt + 1 == _TRIES):
                    raise
                if status.code == NO_SUCH_FILE:
                    self.made.clear()
                    self.directories(wire, path)
                elif wire.stat(path) is not None:
                    wire.remove(path)
                else:
                    raise

    def stage(self, wire: Wire, path: str, data: bytes) -> str:
        """Write and sync a small file under a name of its own, for ``name_once``; that name."""
        self.directories(wire, path)
        staged = self.temporary("new")
        handle = wire.open(staged, sftpwire.NEW)
        try:
            wire.write(handle, Upload(data, len(data)).pieces(wire.piece), lambda _: None)
            wire.sync(handle)
            wire.close([handle])
        except Status:
            if wire.settled:
                self.drop(wire, staged)
            raise
        return staged

    def name_once(self, wire: Wire, staged: str, path: str) -> bool:
        """Give *staged* a name unless that is taken; whether it has it now. One of racing callers does this."""
        for attempt in range(_TRIES):
            try:
                if self.links(wire):
                    wire.extended(sftpwire.LINK, staged, path)
                else:
                    wire.rename(staged, path)
                return True
            except Status as status:
                if wire.stat(path) is not None:
                    return False
                if attempt and (status.code != NO_SUCH_FILE or attempt + 1 == _TRIES):
                    raise
                if status.code == NO_SUCH_FILE:
                    self.made.clear()
                    self.directories(wire, path)
                else:  # no links on that file system, maybe: then OpenSSH looks first, and renames (the probe says so)
                    self.unlinkable = True
        raise AssertionError("unreachable")

    def links(self, wire: Wire) -> bool:
        """Whether names are given by linking."""
        return sftpwire.LINK in wire.offers and not self.unlinkable

    def drop(self, wire: Wire, path: str) -> None:
        """Remove a file that nobody needs; no error if that cannot be."""
        with contextlib.suppress(Status):
            wire.remove(path)

    def directories(self, wire: Wire, path: str) -> None:
        """Make what is missing above *path*; the directory above the remote must be there: a mount may be gone."""
        needed = [self.root, self.tmp]
        below = self.root
        for part in posixpath.dirname(path)[len(self.root) + 1 :].split("/"):
            below = f"{below}/{part}" if part else below
            needed.append(below)
        for directory in needed:
            if directory in self.made:
                continue
            if wire.stat(directory) is None:
                above = posixpath.dirname(directory) or "."
                if directory == self.root and wire.stat(above) is None:
                    raise RemoteUnavailable(
                        f"the remote's directory '{self._url}' is not there, nor the one above it",
                        hint="make it, or mount it",
                    )
                for attempt in range(_TRIES):
                    try:
                        wire.make_directory(directory)
                    except Status:
                        if wire.stat(directory) is None:  # nobody else has made it meanwhile, or it is gone again
                            if attempt + 1 == _TRIES:
                                raise
                            continue
                    break
                self.sync_directory(wire, above)
            self.made.add(directory)

    def sync_directory(self, wire: Wire, path: str) -> None:
        """Make the names in a directory durable, where the server can open one."""
        if sftpwire.FSYNC in wire.offers:
            with contextlib.suppress(Status):
                handle = wire.open(path, sftpwire.READ)
                try:
                    wire.sync(handle)
                finally:
                    wire.close([handle])
