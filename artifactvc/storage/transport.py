"""How a remote is reached: the few deeds that every kind of storage offers alike.

A transport moves bytes under names and knows nothing of logs or objects. ``create`` is the
one promise that sharing rests on: of any number of racing calls for one name, exactly one
makes the file, and nobody ever sees half of it (protocol R1). ``probe.py`` finds out
whether the storage keeps it (``probe.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from artifactvc.errors import (
    Corrupt,
)
from artifactvc.util.text import escape

_NAME: Final = re.compile(r"[a-z][0-9A-Za-z]*(?:[./_-][0-9A-Za-z]+)*")


@dataclass(frozen=True)
class RemoteOptions:
    """What is said of a remote besides its address. Credentials are never among it."""

    endpoint_url: str | None = None
    profile: str | None = None
    region: str | None = None
    timeout: float = 30.0  # seconds without a byte, after which a request is given up and tried again
    retries: int = 4
    read_only: bool = False


class Transport(Protocol):
    """One remote's storage. Names are relative, checked by ``check_name``.

    Raises RemoteMissing, RemoteRefused, RemoteUnavailable, ReadOnly, NoSpace.
    """

    url: str
    kind: str
    read_only: bool

    def read(self, name: str, *, limit: int) -> bytes:
        """A whole file of at most *limit* bytes."""

    def read_many(self, names: Sequence[str], *, limit: int) -> list[bytes | None]:
        """Files of at most *limit* bytes each; None for one that is not there, or may not be asked for (R2)."""

    def read_ranges(self, wanted: Sequence[tuple[str, int, int]]) -> Iterator[tuple[int, bytes]]:
        """(position in *wanted*, bytes) of each (name, start, length), in any order, each of exactly that length."""

    def download(self, name: str, target: Path, size: int) -> None:
        """Write a file of *size* bytes to *target*, which is not there yet."""

    def upload(self, name: str, source: Path | bytes) -> None:
        """Store a file under a name that is used once; durable when this returns."""

    def create(self, name: str, data: bytes) -> bool:
        """Create a small file unless it exists; say whether this call made it. OutcomeUnknown if no answer came."""

    def remove(self, name: str) -> None:
        """Remove a file; no error if it is not there."""

    def list_names(self, prefix: str) -> list[str]:
        """The names of all files below the directory *prefix*, in order; none if it is not there.

        What was created before the call is among them. Names that no remote has (``check_name``)
        are left out: some tool put them there.
        """


def is_name(name: str) -> bool:
    """Whether remotes have files of this name."""
    return len(name) <= 300 and _NAME.fullmatch(name) is not None


def check_name(name: str) -> str:
    """Return *name* if it is one that remotes have (protocol H3), before any path or URL is made of it."""
    if not is_name(name):
        raise Corrupt(f"bad name '{escape(name[:80])}' of a file on a remote")
    return name
