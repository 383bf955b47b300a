"""The values everything else passes around; see docs/glossary.md for the words."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from artifactvc.errors import BadManifest

#: 64 lower-case hex digits: the BLAKE3-256 of the bytes it names.
Digest = str

EMPTY: Final[Digest] = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
"""Digest of the empty string, which is also that of the empty manifest."""

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def is_digest(text: object) -> bool:
    """Whether *text* is 64 lower-case hex digits (protocol H3)."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


class Entry(NamedTuple):
    """One line of a manifest: what stands at *path* inside the artifact.

    ``kind`` is ``"f"`` file, ``"x"`` executable file, ``"l"`` link, ``"r"`` reference.
    Files have *size* (bytes) and *digest*; links have *target*; references have
    *uri*, the *identity* their storage offers with the kind of it, a *version_id*
    where the storage keeps versions, and *size* where it is known.
    """

    path: str
    kind: str
    size: int | None = None
    digest: Digest | None = None
    target: str | None = None
    uri: str | None = None
    identity_kind: str | None = None
    identity: str | None = None
    version_id: str | None = None

    @property
    def is_file(self) -> bool:
        """Whether the store holds bytes for this entry."""
        return self.kind in ("f", "x")

    def moved(self, path: str) -> Entry:
        """The same content at another path."""
        return self._replace(path=path)


class Root(NamedTuple):
    """A whole manifest: digest of its top node, number of entries, sum of their sizes in bytes."""

    digest: Digest
    count: int  # type: ignore[assignment]
    size: int


EMPTY_ROOT: Final = Root(EMPTY, 0, 0)


class Change(NamedTuple):
    """One path that two manifests disagree on; ``None`` where one of them lacks it."""

    path: str
    before: Entry | None
    after: Entry | None

    @property
    def status(self) -> str:
        """``added``, ``removed`` or ``modified``."""
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "modified"


def check_digest(text: object, what: str = "a manifest") -> Digest:
    """Return *text* if it is a digest, else raise BadManifest naming *what*."""
    if not is_digest(text):
        raise BadManifest(f"{what} holds '{str(text)[:80]}' where a digest belongs")
    assert isinstance(text, str)
    return text
