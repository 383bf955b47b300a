"""Metadata that two people edited: put together key by key where they changed different ones (protocol N5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from artifactvc.core.model import Digest
from artifactvc.errors import AvcError
from artifactvc.ops.session import Session, salted, storing, unsalted

_NOTHING: Final = object()
#: (before, theirs, ours), each the digest of a metadata object or None, to the object that holds both edits.
Merge = Callable[[Digest | None, Digest | None, Digest | None], Digest | None]


def merging(session: Session) -> Merge:
    """A function that merges metadata, each case once; it answers None where it cannot: the edits are in conflict."""
    done: dict[tuple[Digest | None, ...], Digest | None] = {}

    def merge(before: Digest | None, theirs: Digest | None, ours: Digest | None) -> Digest | None:
        key = before, theirs, ours
        if key not in done:
            done[key] = _merged(session, *key)
        return done[key]

    return merge


def _merged(session: Session, *versions: Digest | None) -> Digest | None:
    try:
        before, theirs, ours = (_read(session, digest) for digest in versions)
    except AvcError:  # not to be had now: the edits are in conflict
        return None
    changed = {key for key in {**before, **ours} if before.get(key, _NOTHING) != ours.get(key, _NOTHING)}
    for key in changed:
        if theirs.get(key, _NOTHING) not in (before.get(key, _NOTHING), ours.get(key, _NOTHING)):
            return None
    both = {key: value for key, value in theirs.items() if key not in changed}
    both.update((key, ours[key]) for key in changed if key in ours)
    if session.only_looks:  # a dry run stores nothing: theirs stands for the small object that a push would make
        return versions[1]
    with storing(session) as writer:
        digest: Digest = writer.put(salted(both))
    return digest


def _read(session: Session, digest: Digest | None) -> dict[str, Any]:
    value = unsalted(session.node(digest)) if digest else {}
    return value if isinstance(value, dict) else {}
