"""Are the bytes of a version here, and if not, does a remote hold them?

The stat cache never answers this: ``add`` and ``commit`` ask the store, or know a
remote that holds the object for a live version (protocol L6).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from artifactvc.core.compare import new_objects
from artifactvc.core.model import EMPTY, Digest
from artifactvc.errors import Corrupt, MissingObject
from artifactvc.ops.session import Session
from artifactvc.storage.database import begin
from artifactvc.storage.loose import own_path
from artifactvc.storage.remote import held_by_remotes
from artifactvc.storage.store import Store

_BATCH = 5000
_LOOKED_AT = 5000


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
    except (MissingObject, Corrupt):
        return False
    return True


def require_complete(
    session: Session, root: Digest, *, what: str, known: Iterable[Digest] = (), draft_id: str = ""
) -> None:
    """Raise MissingObject unless every object of *root* is here, or held by a remote for a live version."""
    if draft_id and was_complete(session, draft_id, root):
        return
    try:
        lacking = list(islice(missing_here(session, root, known), 100_000))
    except MissingObject as error:  # a node: what is below it cannot be told
        lacking = [error.digest]
    if lacking:
        back = session.avc.store.bring_back(lacking)  # a gc that did not share our lock took them (protocol L3)
        lacking = [digest for digest in lacking if digest not in back]
    if lacking:
        elsewhere = held_by_remotes(session.avc, lacking)
        gone = [digest for digest in lacking if digest not in elsewhere]
        if gone:  # the last copy may be condemned: it is brought here while it exists (protocol P6)
            brought = session.fetch_objects(session, gone)
            gone = [digest for digest in gone if digest not in brought]
        if gone:
            raise MissingObject(
                gone[0],
                f"here, nor on a remote: {what} needs it" + (f" and {len(gone) - 1} more" if len(gone) > 1 else ""),
                hint="run 'avc add' again to store the files anew, or 'avc reset' to drop the draft"
                if draft_id
                else "no copy is left: if you have the files, store them again with 'avc add' or 'avc put'",
            )


# ---- what add has asked need not be asked again ------------------------------------------------


def note_complete(session: Session, draft_id: str, before: Digest, after: Digest, generation: int) -> None:
    """Note that ``add`` found or stored every object of manifest *after*, in the store as it was at *generation*.

    *before* is what the draft was: what was taken over from it counts only if it was complete then, too.
    """
    if before != EMPTY and not was_complete(session, draft_id, before):
        return
    with begin(session.avc.connect()) as connection:
        connection.execute(
            "INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (f"complete:{draft_id}", f"{after} {generation}")
        )


def was_complete(session: Session, draft_id: str, root: Digest) -> bool:
    """Whether *root* was complete when last looked at, and nothing has left the store since (protocol L6)."""
    row = session.avc.connect().execute("SELECT value FROM meta WHERE name = ?", (f"complete:{draft_id}",)).fetchone()
    store = session.avc.store
    return row is not None and row[0] == f"{root} {store.intact_generation()}" and own_intact(store)


def own_intact(store: Store) -> bool:
    """Whether every larger object that the index knows has its file; False where there are too many to look."""
    own = store.places.own()
    return len(own) <= _LOOKED_AT and all(own_path(store.objects_dir, digest).exists() for digest, _ in own)
