"""What stands on a remote, and what of it something needs: read whole before gc condemns anything (protocol P1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from artifactvc.core.compare import new_objects
from artifactvc.core.model import Digest
from artifactvc.core.parts import OPEN
from artifactvc.errors import Corrupt, MissingObject, RemoteMissing
from artifactvc.ops.draft_places import Origin
from artifactvc.ops.fetch import fetch
from artifactvc.ops.push import Head
from artifactvc.ops.session import Session
from artifactvc.storage.parts import Parts
from artifactvc.storage.remote import Remote
from artifactvc.storage.remote_files import RemoteFiles
from artifactvc.storage.rows import named_objects
from artifactvc.storage.transport import Stored


@dataclass
class Survey:
    """What stands on a remote, and what of it is needed, as of entry *head*."""

    head: Head
    files: RemoteFiles
    indexes: list[Stored]
    spared: set[str]  # named by parts of open drafts


def take_survey(session: Session, remote: Remote, files: RemoteFiles) -> Survey:
    """Read everything that decides: the log to its end, every live manifest, every index, a listing.

    The listing comes before the parts of drafts are read: what a part names was there before it.
    *files* keeps what was needed before: too much is kept then, never too little.
    """
    fetch(session, remote.name)
    while True:
        head = remote.head()
        try:
            indexes, spared = _look(session, remote, files)
        except (Corrupt, RemoteMissing):  # it may have been deleted, and collected by somebody else, meanwhile
            if not fetch(session, remote.name).entries:
                raise
            continue
        if remote.head() == head:  # another process of this repository may have read on meanwhile
            return Survey(head, files, indexes, spared)


def _look(session: Session, remote: Remote, files: RemoteFiles) -> tuple[list[Stored], set[str]]:
    """Fill *files* as of the log that was read; the index files that stand there, and what parts of drafts name."""
    remote.read_indexes(condemned=True)
    files.stand(remote.transport.list_files("packs"))
    indexes = remote.transport.list_files("index")
    roots, spared = _open_parts(session, remote)
    files.need(bytes.fromhex(digest) for digest in named_objects(remote.connection))
    for root, what in _live(remote, roots):
        if root not in files.roots:
            files.need(_objects(session, remote, root, what, files.roots))
            files.roots.append(root)
    files.settle()
    return indexes, spared


def _open_parts(session: Session, remote: Remote) -> tuple[list[Digest], set[str]]:
    """Manifests in open drafts that many build, and the files that their index files name (protocol P10)."""
    roots: list[Digest] = []
    files: set[str] = set()
    for row in remote.rows.find("draft", state=OPEN):
        parts = Parts(remote.transport, row["id"])
        listing = parts.listing()
        place = Origin(session, remote)
        roots += [attempt.root for attempt in place.bring(parts, listing)]
        files |= place.files()
    return roots, files


def _live(remote: Remote, parts: Iterable[Digest]) -> list[tuple[Digest, str]]:
    """Every live manifest of the remote's log, and those of *parts*, with what it is for people."""
    rows = remote.connection.execute(
        "SELECT v.digest, coalesce(a.name, a.id), v.number FROM version v JOIN artifact a ON a.id = v.artifact"
        " WHERE v.live = 1 ORDER BY v.artifact, v.number"
    ).fetchall()
    live = [(str(digest), f"'{name}:v{number}'") for digest, name, number in rows]
    return [*live, *((root, "a part of a version that many build") for root in parts)]


def _objects(session: Session, remote: Remote, root: Digest, what: str, seen: list[Digest]) -> Iterator[bytes]:
    """Every object of one manifest apart from what the last of *seen* share; one that cannot be read stops all."""
    try:
        for found, _ in new_objects(root, seen[-2:], session.node):
            yield bytes.fromhex(found)
    except (MissingObject, RemoteMissing, Corrupt) as error:
        raise Corrupt(
            f"{what} cannot be read ({error.message}): nothing was condemned",
            hint=f"run 'avc fsck {remote.name} --repair' first",
        ) from error
