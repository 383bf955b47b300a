"""Where references lead: one source for each kind of storage, all asked in the same way.

A source only reads. It belongs to one place (a bucket, a web server, the file system), and
any number of threads may use it at once. Objects are streamed; nothing is held whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from artifactvc.core.references import Address, Target
from artifactvc.errors import BadValue
from artifactvc.storage.transport import RemoteOptions
from artifactvc.util.text import escape


class Source(Protocol):
    """One place that holds objects.

    Raises ReferenceMissing, ReferenceChanged, and what remotes raise where a place does not
    answer or refuses (RemoteUnavailable, RemoteRefused, BucketMissing).
    """

    def look(self, address: Address) -> Target | None:
        """The object at *address* itself, in the version that it names, else as it is now; None if there is none."""

    def list(self, address: Address, most: int | None = None) -> Iterator[Target]:
        """All objects below the directory *address*, with their versions where the storage keeps them, one listing.

        In order of ``name`` (UTF-8 bytes); directory stubs and names that end in ``/`` are left out.
        Where there are more than *most*, they are only going to be counted: a source that has to read
        bytes to identify an object leaves that out.
        """

    def check(self, target: Target) -> None:
        """Return if that very version is there and is what *target* says, without its bytes where that is possible.

        Raises ReferenceMissing or ReferenceChanged.
        """

    def read(self, target: Target, start: int = 0) -> Iterator[bytes]:
        """The bytes of that very version from *start* on, in pieces of at most a few MiB.

        The storage is asked for that version, or to refuse if it changed; what it answers is
        held against the identity before the first piece. Raises ReferenceMissing, ReferenceChanged,
        and StorageError for a *start* where nothing says that what came before belongs to the
        same bytes (``references.is_resumable``).
        """


def open_source(address: Address, options: RemoteOptions) -> Source:
    """The source that *address* belongs to; *options* as for a remote of its kind (time-out, tries, rate)."""
    if address.kind == "file":
        from artifactvc.storage.filesource import FileSource

        return FileSource(options)
    if address.kind in ("s3", "gcs", "azure"):
        from artifactvc.storage.objectsource import open_bucket

        return open_bucket(address, options)
    if address.kind == "http":
        from artifactvc.storage.httpsource import HttpSource

        return HttpSource(address.place, options)
    raise BadValue(f"'{escape(address.uri)}' is not among what can be referred to")
