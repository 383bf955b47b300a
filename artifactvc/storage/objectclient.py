"""What the object-store transport asks of a library that speaks to one kind of object store.

Each client is one library and one kind of store: it sends one request a call, tells
what went wrong as a ``Trouble``, and decides nothing. Names, retries, lengths, the bound
on bytes a second and messages are the transport's (``objectstore.py``), for all alike.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol, TypeVar

from artifactvc.storage.transport import RemoteOptions
from artifactvc.util.backoff import after_no_answer

T = TypeVar("T")

IMMUTABLE: Final = "max-age=31536000, immutable"
MIB: Final = 1 << 20


class Trouble(enum.Enum):
    """What may be wrong with a request."""

    MISSING = "no such object"
    NO_BUCKET = "no such bucket"
    TAKEN = "the object is there already"
    CONFLICT = "another request for this object is under way"
    REFUSED = "these credentials may not"
    WRONG = "these credentials are not good for anything"
    NO_CREDENTIALS = "there are none"
    EXPIRED = "they were good once"
    SILENT = "no answer, or one that says to try again: the request may have been carried out"
    ELSEWHERE = "the bucket is in another region"
    PAST_END = "the object ends before the range begins"
    TOO_LARGE = "more than was asked for"
    OTHER = "something else"


class ClientError(Exception):
    """A request that failed: why, and what the server or the library says of it."""

    def __init__(self, trouble: Trouble, detail: str = "") -> None:
        super().__init__(trouble.name, detail)
        self.trouble, self.detail = trouble, detail


class Client(Protocol):
    """One bucket. Any number of threads may use it at once. Raises ClientError, and AvcError for wrong use."""

    def read(self, key: str, limit: int) -> bytes:
        """A whole object of at most *limit* bytes."""

    def read_range(self, key: str, start: int, length: int) -> bytes | memoryview:
        """A part of an object, less where it ends."""

    def write(self, key: str, data: bytes) -> None:
        """Store an object in one request."""

    def write_parts(self, key: str, parts: Iterator[bytes], step: int) -> None:
        """Store an object that comes in parts of *step* bytes, the last one shorter; nothing is left if it fails.

        At most ``LANES + 1`` parts are held. Parts are sent again here, since they cannot be asked for twice.
        """

    def create(self, key: str, data: bytes) -> None:
        """Store an object unless it is there, in one request that nothing below sends again (protocol P8)."""

    def remove(self, key: str) -> None:
        """Remove an object; it may be missing."""

    def list(self, prefix: str) -> Iterable[tuple[str, int, float]]:
        """Key, size and time of each object whose key begins with *prefix*, a directory with its slash."""

    def drop_unfinished(self, prefix: str, before: float) -> int:
        """Give up what ``write_parts`` began before *before* and never ended; how many."""


LANES: Final = 3  # parts of one upload under way at once


def allowed(options: RemoteOptions, size: int) -> float:
    """Seconds that a request with *size* bytes to send may take.

    How much of it has gone nobody can see, so a stall shows in the time of the whole: the
    time-out twice, and once more for each MiB (35 kB/s with the default of 30 s).
    """
    return options.timeout * (2 + size / MIB)


def again(options: RemoteOptions, deed: Callable[[], T]) -> T:
    """Do what may be done twice, and again where no answer came, with growing pauses."""
    for attempt in range(max(1, options.retries)):
        try:
            return deed()
        except ClientError as error:
            if error.trouble is not Trouble.SILENT or attempt + 1 >= options.retries:
                raise
        after_no_answer(attempt)
    raise AssertionError("unreachable")
