"""Manifests that came from elsewhere are checked whole before they are used (protocol H1 to H3).

A check costs a second for fifty thousand entries, so it is done once for each manifest, and
noted. Those that were built here are noted when they are built. The notes are part of the
index: deleted, they cost one more check.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import suppress

from artifactvc.core.manifest import check, nodes_for
from artifactvc.core.model import EMPTY, Digest
from artifactvc.core.nodes import MAX_DEPTH, children, is_inner
from artifactvc.errors import StorageError
from artifactvc.ops.complete import batches
from artifactvc.ops.session import Session
from artifactvc.storage.database import begin


def trusted(session: Session, root: Digest, parts: Sequence[str] | None = None) -> Digest:
    """Return *root* once its manifest is known to keep the format; BadManifest, HostilePath.

    With *parts* only what is at or below these paths is wanted, and only the nodes that may hold
    it are brought and checked.
    """
    if root == EMPTY or _noted(session, root):
        return root
    bring_nodes(session, root, parts)
    check(root, session.node, parts)
    if parts is None and not session.only_looks:
        with suppress(StorageError, sqlite3.Error):  # a read-only repository: it is checked again next time
            note_trusted(session, root)
    return root


def bring_nodes(session: Session, root: Digest, parts: Sequence[str] | None = None) -> None:
    """Fetch the nodes of a manifest that are not here, a level at a time; with *parts* those that they need."""
    level = [] if root == EMPTY else [root]
    for _ in range(MAX_DEPTH):
        for batch in batches(level):
            present = session.avc.store.has(batch)
            lacking = [digest for digest in batch if digest not in present]
            if lacking:
                session.fetch_objects(session, lacking)
        # All nodes of one level are of one kind, so the first tells; ``check`` finds out where that is not so.
        if not level or not is_inner(session.node(level[0])):
            return
        below = [children(session.node(digest)) for digest in level]
        level = list(dict.fromkeys(child.digest for found in below for child in nodes_for(found, parts)))


def note_trusted(session: Session, root: Digest) -> None:
    """Note that *root* was built here, or has been checked."""
    with begin(session.avc.connect()) as connection:
        connection.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?, 'ok')", (f"manifest:{root}",))


def _noted(session: Session, root: Digest) -> bool:
    row = session.avc.connect().execute("SELECT 1 FROM meta WHERE name = ?", (f"manifest:{root}",)).fetchone()
    return row is not None
