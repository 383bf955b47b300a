"""Are the bytes of a version here, and if not, does a remote hold them?

The stat cache never answers this: ``add`` and ``commit`` ask the store, or know a
remote that holds the object for a live version (protocol L6).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from artifactvc.core.compare import new_objects
from artifactvc.core.model import Digest
from artifactvc.errors import MissingObject
from artifactvc.ops.session import Session
from artifactvc.storage.remote import held_by_remotes

_BATCH = 5000


def batches(items: Iterable[Digest], size: int = _BATCH) -> Iterator[list[Digest]]:
    """*items* in lists of *size*, so that questions go to the store in bulk and memory stays bounded."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def missing_here(session: Session, root: Digest, known: Iterable[Digest] = ()) -> Iterator[Digest]:
    """Objects of manifest *root* that the local store lacks, apart from what the manifests *known* share with it.

    A node that is not here itself is fetched, since its entries cannot be told without it.
    """
    for batch in batches(digest for digest, _ in new_objects(root, known, session.node)):
        present = session.avc.store.has(batch)
        yield from (digest for digest in dict.fromkeys(batch) if digest not in present)


def is_complete(session: Session, root: Digest, known: Iterable[Digest] = ()) -> bool:
    """Whether every object of manifest *root* is in the local store. Never asks a remote."""
    store = session.avc.store
    if not store.has([root]):
        return False
    try:
        for batch in batches(digest for digest, _ in new_objects(root, known, store.read)):
            if len(store.has(batch)) < len(set(batch)):
                return False
    except MissingObject:
        return False
    return True


def require_complete(session: Session, root: Digest, *, what: str, known: Iterable[Digest] = ()) -> None:
    """Raise MissingObject unless every object of *root* is here, or held by a remote for a live version."""
    lacking = list(islice(missing_here(session, root, known), 100_000))
    if lacking:
        elsewhere = held_by_remotes(session.avc, lacking)
        gone = [digest for digest in lacking if digest not in elsewhere]
        if gone:
            raise MissingObject(
                gone[0],
                f"here, nor on a remote: {what} needs it" + (f" and {len(gone) - 1} more" if len(gone) > 1 else ""),
                hint="run 'avc add' again to store the files anew",
            )
