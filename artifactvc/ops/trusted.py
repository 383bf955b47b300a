"""Manifests that came from elsewhere are checked whole before they are used (protocol H1 to H3).

A check costs a second for fifty thousand entries, so it is done once for each manifest, and
noted. Those that were built here are noted when they are built. The notes are part of the
index: deleted, they cost one more check.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress

from artifactvc.core.manifest import check
from artifactvc.core.model import EMPTY, Digest
from artifactvc.errors import StorageError
from artifactvc.ops.session import Session
from artifactvc.storage.database import begin


def trusted(session: Session, root: Digest) -> Digest:
    """Return *root* once its manifest is known to keep the format; BadManifest, HostilePath."""
    if root == EMPTY or _noted(session, root):
        return root
    check(root, session.node)
    with suppress(StorageError, sqlite3.Error):  # a read-only repository: it is checked again next time
        note_trusted(session, root)
    return root


def note_trusted(session: Session, root: Digest) -> None:
    """Note that *root* was built here, or has been checked."""
    with begin(session.avc.connect()) as connection:
        connection.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?, 'ok')", (f"manifest:{root}",))


def _noted(session: Session, root: Digest) -> bool:
    row = session.avc.connect().execute("SELECT 1 FROM meta WHERE name = ?", (f"manifest:{root}",)).fetchone()
    return row is not None
