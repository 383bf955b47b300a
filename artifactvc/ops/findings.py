"""What a check of a remote has found so far: shared by the parts of ``avc fsck REMOTE``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from artifactvc.core.model import Digest
from artifactvc.core.results import Problem
from artifactvc.errors import AvcError, Corrupt, RemoteMissing, RemoteRefused, StorageError
from artifactvc.ops.session import Session
from artifactvc.storage.remote import Remote
from artifactvc.storage.remote_index import Place
from artifactvc.storage.scratch import Scratch
from artifactvc.storage.transport import Stored, Transport
from artifactvc.util.text import escape

NONE: Final[frozenset[Digest]] = frozenset()


@dataclass
class Finding:
    """One thing that is wrong; ``repaired`` once it was mended."""

    kind: str
    subject: str
    message: str
    repaired: bool = False
    file: int | None = None  # serial of the stored file that is bad
    objects: frozenset[Digest] = NONE  # that have no usable copy

    def problem(self) -> Problem:
        """The finding as a result."""
        return Problem(self.kind, escape(self.subject), escape(self.message), self.repaired)


@dataclass
class Check:
    """One check under way: *kept* is the remote as remembered here, *scratch* as it stands there."""

    session: Session
    kept: Remote
    scratch: Scratch
    full: bool
    repair: bool  # only where the remote can be written
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rebuilt: list[Place] = field(default_factory=list)  # rows of index files that are lost
    lost_indexes: list[tuple[str, Digest, Finding]] = field(default_factory=list)
    forked: bool = False  # the log is another one than was read before
    unlisted: bool = False  # the remote cannot be listed

    @property
    def transport(self) -> Transport:
        """How the remote is reached."""
        return self.kept.transport

    def find(
        self, kind: str, subject: str, message: str, *, file: int | None = None, objects: frozenset[Digest] = NONE
    ) -> Finding:
        """Note something wrong: of the *kind* of an error class."""
        finding = Finding(kind, subject, message, file=file, objects=objects)
        self.findings.append(finding)
        return finding

    def find_error(self, error: AvcError, subject: str) -> Finding:
        """Note what *error* says."""
        return self.find(type(error).__name__, subject, error.message)

    def listing(self, prefix: str) -> list[Stored] | None:
        """The files below *prefix*; None where the remote cannot be listed."""
        if self.unlisted:
            return None
        try:
            return self.transport.list_files(prefix)
        except StorageError as error:
            if self.transport.kind != "http" and not isinstance(error, RemoteRefused):
                raise
            self.unlisted = True
            self.notes.append(f"'{self.kept.name}' cannot be listed ({error.message}): what nothing names is not seen")
            return None


def read_files(transport: Transport, names: Sequence[str], limit: int) -> list[bytes | None]:
    """Small files, None for what is not there; one that is larger than *limit* is cut off behind it."""
    try:
        return transport.read_many(names, limit=limit)
    except Corrupt:
        return [_read(transport, name, limit) for name in names]


def _read(transport: Transport, name: str, limit: int) -> bytes | None:
    try:
        return transport.read_many([name], limit=limit)[0]
    except Corrupt:
        return b""  # too large to be what it should be


def replace_file(transport: Transport, name: str, data: bytes) -> bool:
    """Write *name* whole over what stands there, and look whether it is so."""
    transport.upload(name, data)
    try:
        return transport.read(name, limit=len(data)) == data
    except (Corrupt, RemoteMissing):
        return False
