"""How a remote is reached: the few deeds that every kind of storage offers alike.

A transport moves bytes under names and knows nothing of logs or objects. ``create`` is the
one promise that sharing rests on: of any number of racing calls for one name, exactly one
makes the file, and nobody ever sees half of it (protocol R1). ``probe.py`` finds out
whether the storage keeps it (``probe.py``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from artifactvc.errors import (
    Corrupt,
)
from artifactvc.util.rate import Rate
from artifactvc.util.text import escape

_NAME: Final = re.compile(r"[a-z][0-9A-Za-z]*(?:[./_-][0-9A-Za-z]+)*")


@dataclass(frozen=True)
class RemoteOptions:
    """What is said of a remote besides its address. Credentials are never among it."""

    endpoint_url: str | None = None
    profile: str | None = None
    region: str | None = None
    timeout: float = 30.0  # seconds without a byte, after which a request is given up and tried again
    retries: int = 4  # how often a request that may be sent again is sent, the first time included
    read_only: bool = False
    client: str = "auto"  # or "fsspec": which library speaks to an object store
    rate: Rate | None = None  # bytes a second, of all transports that are given it together
    named: frozenset[str] = frozenset()  # of sources: places that somebody here named, so that they may be private

    @property
    def limits(self) -> Limits:
        """What is said here of transfers, for one command."""
        return Limits(self.timeout, self.retries, self.rate)


@dataclass(frozen=True)
class Limits:
    """What one command was told of its transfers; None where it was told nothing."""

    timeout: float | None = None
    retries: int | None = None  # as in RemoteOptions
    rate: Rate | None = None

    def over(self, options: RemoteOptions) -> RemoteOptions:
        """*options*, but for what is said here."""
        return replace(
            options,
            timeout=options.timeout if self.timeout is None else self.timeout,
            retries=options.retries if self.retries is None else self.retries,
            rate=self.rate or options.rate,
        )


NO_LIMITS: Final = Limits()


def transfer_limits(*, timeout: float | None = None, retries: int | None = None, bwlimit: int | None = None) -> Limits:
    """Limits as people give them: how often a request is sent *again*, and bytes a second."""
    return Limits(timeout, None if retries is None else retries + 1, None if bwlimit is None else Rate(bwlimit))


#: The hint where the network or the server is at fault.
NO_ANSWER: Final = "check the network and the address, and try again"


class Stored(NamedTuple):
    """One file on a remote: its name, bytes, and when it was written by the storage's own clock (epoch seconds)."""

    name: str
    size: int
    modified: float


#: Called with the number of bytes that have just been sent or have come, from any thread.
Advance = Callable[[int], None]


def no_advance(count: int) -> None:
    """Tell nobody."""


class Transport(Protocol):
    """One remote's storage. Names are relative, checked by ``check_name``.

    Any number of threads may use one transport at once. Memory stays bounded whatever the
    sizes: files go and come in parts. ``RemoteOptions.rate`` holds for every byte of files
    and ranges. A request without a byte for ``RemoteOptions.timeout`` seconds is given up,
    and sent again, with growing pauses, up to ``RemoteOptions.retries`` times in all, if
    sending it twice does no harm.

    Raises RemoteMissing, RemoteRefused, RemoteUnavailable, ReadOnly, NoSpace.
    """

    url: str
    kind: str
    read_only: bool
    means: str
    doubt: str

    def read(self, name: str, *, limit: int) -> bytes:
        """A whole file of at most *limit* bytes."""

    def read_many(self, names: Sequence[str], *, limit: int) -> list[bytes | None]:
        """Files of at most *limit* bytes each; None for one that is not there, or may not be asked for (R2)."""

    def read_ranges(self, wanted: Sequence[tuple[str, int, int]]) -> Iterator[tuple[int, bytes | memoryview]]:
        """(position in *wanted*, bytes) of each (name, start, length), in any order, each of exactly that length."""

    def download(self, name: str, target: Path, size: int, *, advance: Advance = no_advance) -> None:
        """Write a file of *size* bytes to *target*, which is not there yet."""

    def upload(self, name: str, source: Path | bytes, *, advance: Advance = no_advance) -> None:
        """Store a file under a name that is used once; durable when this returns."""

    def create(self, name: str, data: bytes) -> bool:
        """Create a small file unless it exists; say whether this call made it. OutcomeUnknown if no answer came."""

    def remove(self, name: str) -> None:
        """Remove a file; no error if it is not there."""

    def list_files(self, prefix: str) -> list[Stored]:
        """All files below the directory *prefix*, by name; none if it is not there.

        What was created before the call is among them. Names that no remote has (``check_name``)
        are left out: some tool put them there.
        """

    def list_names(self, prefix: str) -> list[str]:
        """The names that ``list_files`` gives."""

    def drop_unfinished(self, before: float) -> int:
        """Give up uploads in parts that began before *before* (epoch seconds of the storage's clock); how many."""


class Listing:
    """What every transport answers alike, from its ``list_files``."""

    #: By what ``create`` keeps its promise, in the words of the storage's own documentation; for ``remote add``.
    means = ""
    #: Why ``create`` might break its promise although a race had one winner; known after the first ``create``.
    doubt = ""

    def list_files(self, prefix: str) -> list[Stored]:
        """All files below a directory."""
        raise NotImplementedError

    def list_names(self, prefix: str) -> list[str]:
        """The names of all files below a directory."""
        return [file.name for file in self.list_files(prefix)]


def lots(wanted: Sequence[tuple[str, int, int]], most: int) -> Iterator[list[int]]:
    """Positions of ranges (name, start, length) in lots of about *most* bytes, at most 256 each; names are checked."""
    lot: list[int] = []
    held = 0
    for position, (name, _, length) in enumerate(wanted):
        check_name(name)
        lot.append(position)
        held += length
        if held >= most or len(lot) >= 256:
            yield lot
            lot, held = [], 0
    if lot:
        yield lot


def is_name(name: str) -> bool:
    """Whether remotes have files of this name."""
    return len(name) <= 300 and _NAME.fullmatch(name) is not None


def check_name(name: str) -> str:
    """Return *name* if it is one that remotes have (protocol H3), before any path or URL is made of it."""
    if not is_name(name):
        raise Corrupt(f"bad name '{escape(name[:80])}' of a file on a remote")
    return name
