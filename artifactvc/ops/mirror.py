"""A complete copy of a remote: every byte of what is live, or can still be restored, here (``clone --mirror``).

The mark ``mirror = true`` in the remote's table of ``config.toml`` is set before the first
byte comes, and makes every later ``pull`` without a REF bring what is new. What was brought
stays when it is killed, and is not asked for again. From such a copy everything can be
pushed to an empty remote, numbers and all, and ``avc fsck REMOTE --repair`` has what it needs.

Parts of versions that are being built are not copied: they are no versions yet.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from artifactvc.core.model import EMPTY, Digest
from artifactvc.core.nodes import children, is_inner
from artifactvc.errors import Corrupt, MissingObject, RemoteMissing
from artifactvc.ops.complete import batches, missing_here
from artifactvc.ops.session import Session
from artifactvc.ops.transfer import fetch_objects, require_objects
from artifactvc.ops.trusted import trusted
from artifactvc.storage.avcdir import NAME, AvcDir
from artifactvc.storage.remote import Remote

#: Objects asked for at once: what has come by then is kept if it is killed.
_LOT: Final = 20_000


def is_mirror_of(target: Path, url: str) -> bool:
    """Whether the repository in *target* was begun as a mirror of *url*: then a clone goes on."""
    if not (target / NAME / "config.toml").is_file():
        return False
    avc = AvcDir(target / NAME)
    table = avc.remotes.get(avc.origin or "", {})
    return bool(table.get("mirror")) and table.get("url") == url


def mark(session: Session, name: str) -> None:
    """Let *name* be mirrored here from now on."""
    session.avc.edit_config(lambda document: document["remotes"][name].__setitem__("mirror", True))


def mirror(session: Session, name: str) -> tuple[tuple[str, ...], set[Digest]]:
    """Bring all that is not here; (versions, objects that a dry run would bring).

    Raises MissingObject where something live cannot be had; versions that were deleted and
    have lost bytes are only told.
    """
    remote = session.remote(name)
    remote.read_indexes()
    shown: list[str] = []
    planned: set[Digest] = set()
    said = list(_absent(session, _said(remote, live=True)))
    live, deleted = _versions(remote)
    if session.only_looks:
        planned.update(said)
    else:
        _require(session, said, "a description or a run")
        _bring_nodes(session, [digest for digest, _ in live])
    before: tuple[Digest, ...] = ()
    for digest, label in live:
        trusted(session, digest)
        lacking = missing_here(session, digest, before)
        if session.only_looks:
            planned.update(lacking)
        else:
            _require(session, lacking, label)
        before = (digest,)
        shown.append(label)
    if not session.only_looks:
        _deleted(session, remote, deleted)
    return tuple(shown), planned


def _deleted(session: Session, remote: Remote, deleted: list[tuple[Digest, str]]) -> None:
    """What is left of deleted versions; what is not is told."""
    for said in _absent(session, _said(remote, live=False)):
        with contextlib.suppress(MissingObject, RemoteMissing, Corrupt):
            _require(session, [said], "a description")
    for digest, label in deleted:
        try:
            _require(session, missing_here(session, digest), label)
        except (MissingObject, RemoteMissing, Corrupt) as error:
            session.say(f"{label} was deleted, and cannot be restored any more: {error.message}")


def _versions(remote: Remote) -> tuple[list[tuple[Digest, str]], list[tuple[Digest, str]]]:
    """Live versions and deleted ones, each in the order in which they were made, with what people call them."""
    rows = remote.connection.execute(
        "SELECT v.digest, v.live, a.project, a.name, v.number FROM version v JOIN artifact a ON a.id = v.artifact"
        " ORDER BY v.artifact, v.number"
    ).fetchall()
    named = [(bool(row[1]), (str(row[0]), f"{row[2]}/{row[3]}:v{row[4]}")) for row in rows]
    live = [version for is_live, version in named if is_live]
    known = {digest for digest, _ in live}
    return live, [version for is_live, version in named if not is_live and version[0] not in known]


def _said(remote: Remote, *, live: bool) -> Iterator[Digest]:
    """Descriptions, metadata, sources, run details and metrics: of what is live, or of deleted versions."""
    of_versions = [("version", "description"), ("version", "metadata"), ("version", "sources")]
    others = [("artifact", "description"), ("run", "details"), ("run", "metrics")]
    for table, column in [*of_versions, *(others if live else [])]:
        chosen = f" AND live = {int(live)}" if table == "version" else ""
        sql = f'SELECT "{column}" FROM "{table}" WHERE "{column}" IS NOT NULL{chosen}'
        yield from (row[0] for row in remote.connection.execute(sql).fetchall())


def _absent(session: Session, digests: Iterable[Digest]) -> Iterator[Digest]:
    for batch in batches(digests):
        yield from set(batch) - session.avc.store.has(batch)


def _require(session: Session, digests: Iterable[Digest], what: str) -> None:
    for lot in batches(digests, _LOT):
        require_objects(session, list(dict.fromkeys(lot)), what)


def _bring_nodes(session: Session, roots: Iterable[Digest]) -> None:
    """Fetch the nodes of many manifests, a level at a time; what cannot be had is told when it is asked for."""
    store, seen = session.avc.store, {EMPTY}
    level = list(dict.fromkeys(roots))
    while level:
        below: list[Digest] = []
        for batch in batches(digest for digest in dict.fromkeys(level) if digest not in seen):
            seen.update(batch)
            absent = set(batch) - store.has(batch)
            if absent:
                fetch_objects(session, absent)
            for digest in batch:
                data = session.node(digest)
                below += [child.digest for child in children(data)] if is_inner(data) else []
        level = below
