"""What must be kept: every object that a live version, a draft or a name still needs (protocol L4)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from artifactvc.core.compare import new_objects
from artifactvc.core.entries import Record
from artifactvc.core.model import Digest, is_digest
from artifactvc.core.parts import ABANDONED, FINISHED, Attempt
from artifactvc.core.records import NAMED
from artifactvc.errors import Corrupt, MissingObject
from artifactvc.ops.session import Session
from artifactvc.storage.parts import local_drafts, local_parts
from artifactvc.storage.remote import held_by_remotes
from artifactvc.storage.rows import named_objects
from artifactvc.util.text import parse_time

_DELETED: Final = "a deleted version"


def kept_manifests(session: Session, grace: timedelta) -> list[tuple[Digest, str]]:
    """(digest, what it is) of every manifest to keep: live versions, those deleted within *grace*, and drafts.

    A draft that cannot be read raises Corrupt, and gc stops.
    """
    oldest = parse_time(session.clock()) - grace
    kept: dict[Digest, str] = {}
    deleted: dict[Digest, str] = {}
    rows = session.index.connection.execute(
        "SELECT v.digest, v.live, v.deleted_at, v.number, coalesce(a.name, a.id) FROM version v"
        " JOIN artifact a ON a.id = v.artifact ORDER BY v.artifact, v.number"
    )
    for digest, live, deleted_at, number, name in rows:
        if live or deleted_at is None:
            kept.setdefault(digest, f"{name}:v{number}")
        elif parse_time(deleted_at) > oldest:
            deleted[digest] = _DELETED
    if session.avc.origin is not None:
        for record in _unpushed(session):
            if _makes_live(record):
                kept.setdefault(record["digest"], "an unpushed version")
    for draft in session.avc.drafts.all():
        kept.setdefault(draft.root, f"the draft of '{draft.name}'")
        if draft.base:
            kept.setdefault(draft.base, f"the base of the draft of '{draft.name}'")
    for attempt in open_parts(session):
        kept.setdefault(attempt.root, f"the part of run '{attempt.writer}' in a draft that many build")
    return [*kept.items(), *((digest, what) for digest, what in deleted.items() if digest not in kept)]


def unpushed_manifests(session: Session) -> list[Digest]:
    """Manifests that only this repository surely has: of drafts, of parts that many build, of unpushed versions.

    One that was restored here counts: where it is to be pushed it is deleted, and may be
    condemned. A draft that cannot be read raises Corrupt.
    """
    found = [draft.root for draft in session.avc.drafts.all()]
    found += [attempt.root for attempt in open_parts(session)]
    live = "provisional = 1" if session.avc.origin is not None else "live = 1"
    found += [row[0] for row in session.index.connection.execute(f"SELECT digest FROM version WHERE {live}")]
    for record in _unpushed(session):
        if _makes_live(record):
            found.append(record["digest"])
    return list(dict.fromkeys(found))


def _makes_live(record: Record) -> bool:
    """Whether a record makes a version, or makes it live again, where it is not by then.

    So does one that returned a version which was there: somebody may delete that before the push.
    """
    made = record["kind"] == "restore" or (record["kind"] == "version" and "set" not in record)
    return made and is_digest(record.get("digest"))


def open_parts(session: Session) -> Iterator[Attempt]:
    """What every run has put into drafts that many build here, and that have not ended (protocol P10).

    A part that cannot be read raises Corrupt, and gc stops.
    """
    for draft_id in local_drafts(session.avc.root):
        if not has_ended(session, draft_id):
            parts = local_parts(session.avc.root, draft_id)
            yield from parts.read(parts.listing())


def has_ended(session: Session, draft_id: str) -> bool:
    """Whether a draft that many build was finished or given up; one that no log names is taken for open."""
    row = session.index.rows.get("draft", draft_id)
    return row is not None and row["state"] in (FINISHED, ABANDONED)


def small_objects(session: Session) -> Iterator[Digest]:
    """Descriptions, metadata, sources, run details and metrics that names and drafts point at, if deleted too."""
    yield from named_objects(session.index.connection)
    yield from unpushed_small_objects(session)


def unpushed_small_objects(session: Session) -> Iterator[Digest]:
    """Those that drafts name, and records which a push will send: what was replaced meanwhile is among them."""
    yield from (draft.sources for draft in session.avc.drafts.all() if draft.sources is not None)
    for record in _unpushed(session):
        for fields in (record, record.get("set") or {}):
            yield from (fields[name] for name in NAMED if is_digest(fields.get(name)))


def _unpushed(session: Session) -> Iterator[Record]:
    """Records that origin does not hold; with no origin, all: one may be added later."""
    avc = session.avc
    if avc.origin is not None:
        yield from (entry.records[position] for entry, position in session.index.pending())
        return
    for entry, _ in avc.log.since(0, None):
        yield from entry.records


def needed(session: Session, grace: timedelta) -> set[bytes]:
    """Every digest to keep, as 32 bytes each.

    A manifest node that is not here can be passed over only if a remote holds it: its
    objects are then only a cache. Otherwise it cannot be told what to keep, and MissingObject
    or Corrupt stops gc before anything is moved.
    """
    keep = {bytes.fromhex(digest) for digest in small_objects(session)}
    seen: list[Digest] = []
    for digest, what in kept_manifests(session, grace):
        try:
            for found, _ in new_objects(digest, seen[-2:], session.avc.store.read):
                keep.add(bytes.fromhex(found))
        except MissingObject as error:
            _pass_over(session, error, digest, what)
            keep.add(bytes.fromhex(digest))
            keep.update(_partly(session, digest))
            continue
        seen.append(digest)
    return keep


def _pass_over(session: Session, error: MissingObject, digest: Digest, what: str) -> None:
    if what == _DELETED:
        return  # a gc with a shorter grace has collected it already
    if not held_by_remotes(session.avc, [error.digest]) and not _pushed(session, digest):
        raise Corrupt(
            f"{what} needs the object '{error.digest:.12}', which is not here: nothing was collected",
            hint="run 'avc fsck --repair' first",
        ) from error


def _pushed(session: Session, digest: Digest) -> bool:
    row = session.index.connection.execute(
        "SELECT 1 FROM version WHERE digest = ? AND provisional = 0", (digest,)
    ).fetchone()
    return row is not None and session.avc.origin is not None


def _partly(session: Session, digest: Digest) -> Iterator[bytes]:
    """What can be reached of a manifest that is partly here: node by node, passing over what is missing."""
    from artifactvc.core.compare import reachable_here

    for found in reachable_here(digest, session.avc.store.read):
        yield bytes.fromhex(found)
