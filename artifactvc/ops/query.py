"""Questions: log, show, ls, cat, diff of versions, du. Nothing here changes a name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from artifactvc.core import compare, manifest, names
from artifactvc.core.compare import new_objects
from artifactvc.core.model import Digest, Entry
from artifactvc.core.records import Row
from artifactvc.core.results import (
    ArtifactInfo,
    ArtifactUsage,
    Difference,
    EntryInfo,
    EntrySource,
    Usage,
    VersionInfo,
)
from artifactvc.errors import MissingObject, UnknownPath
from artifactvc.ops import resolve
from artifactvc.ops.changes import path_change
from artifactvc.ops.complete import batches, is_complete
from artifactvc.ops.expire import expires_at
from artifactvc.ops.resolve import Found
from artifactvc.ops.session import Session, read_salted
from artifactvc.ops.trusted import trusted

_KINDS = {"f": "file", "x": "executable", "l": "link", "r": "reference"}


def show(session: Session, ref: str) -> VersionInfo:
    """All about one version."""
    found = resolve.version(session, ref)
    info = describe(session, found, known=())
    if not found.version["sources"]:
        return info
    from artifactvc.ops.imported import places

    root = trusted(session, found.version["digest"])
    return replace(info, sources=places(session, found.version["sources"], root))


def log(session: Session, text: str, limit: int | None = None) -> Iterator[VersionInfo]:
    """The live versions of an artifact, newest first, at most *limit*."""
    artifact = resolve.artifact(session, text)
    rows = [v for v in session.index.rows.find("version", artifact=artifact["id"]) if v["live"]]
    known: tuple[Digest, ...] = ()
    for row in list(reversed(rows))[:limit]:
        info = describe(session, Found(artifact, row), known=known)
        if info.here:
            known = (row["digest"],)
        yield info


def describe(session: Session, found: Found, *, known: tuple[Digest, ...] | None) -> VersionInfo:
    """One version as people see it; what it shares with the manifests *known* is taken to be here.

    With None it is not looked whether its bytes are here, which costs as much as it has entries.
    """
    artifact, row = found
    rows, key = session.index.rows, {"artifact": artifact["id"], "digest": row["digest"]}
    base = rows.find("version", artifact=artifact["id"], digest=row["base"]) if row["base"] else []
    return VersionInfo(
        project=artifact["project"],
        name=artifact["name"],
        type=artifact["type"],
        version=found.shown,
        digest=row["digest"],
        aliases=resolve.aliases_of(session, artifact["id"], row["digest"]),
        tags=tuple(t["tag"] for t in rows.find("tag", **key)),
        created=row["created"],
        author=row["author"],
        entries=row["count"],
        size=row["size"],
        description=read_salted(session, row["description"], ""),
        metadata=read_salted(session, row["metadata"], {}),
        produced_by=tuple(p["run"] for p in rows.find("produced", **key)),
        used_by=tuple(u["run"] for u in rows.find("used", **key)),
        ttl=row["ttl"],
        expires=expires_at(resolve.here(session), artifact, row),
        state="live" if row["live"] else "deleted",
        base=_shown(base[0]) if base else None,
        here=known is not None and is_complete(session, row["digest"], known),
        pushed=not row["provisional"] and session.avc.origin is not None,
    )


def _shown(row: Row) -> str:
    return names.shown_number(row["number"], provisional=bool(row["provisional"]))


def artifacts(session: Session) -> Iterator[ArtifactInfo]:
    """Every artifact of every project, ordered by project and name."""
    rows = session.index.rows
    living = [a for a in rows.find("artifact") if not a["deleted"] and not a["joins"]]
    for artifact in sorted(living, key=lambda a: (a["project"], a["name"])):
        versions = [v for v in rows.find("version", artifact=artifact["id"]) if v["live"]]
        newest = versions[-1] if versions else None
        latest = rows.get("alias", artifact["id"], "latest")
        pointed = [v for v in versions if latest and v["digest"] == latest["digest"]]
        yield ArtifactInfo(
            artifact["project"],
            artifact["name"],
            artifact["type"],
            artifact["id"],
            read_salted(session, artifact["description"], ""),
            len(versions),
            _shown(pointed[0]) if pointed else None,
            _shown(newest) if newest else None,
            tuple(sorted(a["alias"] for a in rows.find("alias", artifact=artifact["id"]))),
            newest["size"] if newest else 0,
            newest["created"] if newest else None,
        )


def column(session: Session, name: str) -> list[str]:
    """The different values of one column of the living artifacts: projects or types."""
    assert name in ("project", "type")
    rows = session.index.connection.execute(f"SELECT DISTINCT {name} FROM artifact WHERE deleted = 0 ORDER BY 1")
    return [row[0] for row in rows]


def entries(session: Session, ref: str, prefix: str = "") -> Iterator[EntryInfo]:
    """The entries of a version at or below *prefix*; UnknownPath if there are none."""
    found = resolve.version(session, ref)
    prefix = prefix.strip("/")
    empty = True
    root = trusted(session, found.version["digest"], (prefix,) if prefix else None)
    for entry in manifest.walk(root, session.node, prefix):
        empty = False
        yield entry_info(entry)
    if empty and prefix:
        raise unknown_path(session, found, prefix)


def imported(session: Session, ref: str, prefix: str = "") -> Iterator[EntryInfo]:
    """The imported files of a version at or below *prefix*, with where they came from."""
    found = resolve.version(session, ref)
    if not found.version["sources"]:
        return
    from artifactvc.ops.imported import origins

    prefix = prefix.strip("/")
    root = trusted(session, found.version["digest"], (prefix,) if prefix else None)
    for entry, line in origins(session, found.version["sources"], root, prefix):
        yield replace(entry_info(entry), source=EntrySource(*line[2:]))


def sources_of(session: Session, sources: Digest | None, root: Digest) -> dict[str, EntrySource]:
    """Where the files of manifest *root* were imported from, by path, as the object *sources* says."""
    from artifactvc.ops.imported import origins

    found = origins(session, sources, trusted(session, root)) if sources is not None else ()
    return {entry.path: EntrySource(*line[2:]) for entry, line in found}


def entry_info(entry: Entry) -> EntryInfo:
    """One entry as people see it."""
    return EntryInfo(
        entry.path,
        _KINDS[entry.kind],
        entry.size,
        entry.digest,
        entry.target,
        entry.uri,
        entry.identity,
        entry.version_id,
    )


def unknown_path(session: Session, found: Found, path: str) -> UnknownPath:
    """The error for a path that a version lacks, with near ones."""
    from artifactvc.util.text import near

    paths = []
    for entry in manifest.walk(trusted(session, found.version["digest"]), session.node):
        paths.append(entry.path)
        if len(paths) == 10_000:
            break
    close = near(path, paths)
    hint = f"did you mean '{close[0]}'?" if close else f"run 'avc ls {found.artifact['name']}:{found.shown}'"
    return UnknownPath(f"no path '{path}' in {found.full_name}:{found.shown}", hint=hint)


def read(session: Session, ref: str, path: str) -> Iterator[bytes]:
    """The bytes of one file in a version, in pieces."""
    found = resolve.version(session, ref)
    entry = manifest.find(trusted(session, found.version["digest"], (path,)), path, session.node)
    if entry is None:
        raise unknown_path(session, found, path)
    if entry.kind == "l":
        raise UnknownPath(f"'{path}' is a link to '{entry.target}'", hint=f"run 'avc cat {ref} {entry.target}'")
    digest = entry.digest or _followed(session, entry)
    yield from _bytes_of(session, digest, f"{found.full_name}:{found.shown}")


def _followed(session: Session, entry: Entry) -> Digest:
    """The object that a reference leads to, brought."""
    from artifactvc.ops.follow import bring_one

    return bring_one(session, entry)


def _bytes_of(session: Session, digest: Digest, what: str) -> Iterator[bytes]:
    """The bytes of an object, here or brought; once more where it was evicted before we had opened it."""
    store = session.avc.store
    for again in (True, False):
        if not store.has([digest]):
            from artifactvc.ops.transfer import require_objects

            require_objects(session, [digest], what)
        pieces = store.chunks(digest)
        try:
            first = next(pieces, b"")
        except MissingObject:
            if again:
                continue
            raise
        yield first
        yield from pieces
        return


def diff_versions(session: Session, a: str, b: str) -> Difference:
    """What two versions disagree on; of two artifacts too."""
    one, two = resolve.version(session, a), resolve.version(session, b)
    changes = compare.diff(
        trusted(session, one.version["digest"]), trusted(session, two.version["digest"]), session.node
    )
    names_shown = [f"{found.artifact['name']}:{found.shown}" for found in (one, two)]
    return Difference(two.full_name, names_shown[0], names_shown[1], tuple(path_change(change) for change in changes))


# ---- du ----------------------------------------------------------------------------------------


def usage(session: Session) -> Usage:
    """Bytes on disk by place, and by artifact."""
    root = session.avc.root
    store = session.avc.store_root
    sizes = {name: _tree_size(store / name) for name in ("packs", "objects", "trash")}
    sizes |= {name: _tree_size(root / name) for name in ("log", "remotes")}
    remotes = list((root / "remotes").glob("*"))
    remotes_index = sum(_tree_size(remote / "index") for remote in remotes)
    remotes_index += sum(path.stat().st_size for remote in remotes for path in remote.glob("index.sqlite*"))
    index = sum(path.stat().st_size for path in root.glob("index.sqlite*")) + remotes_index
    logs = sizes["log"] + sizes["remotes"] - remotes_index
    other = sum(_tree_size(root / name) for name in ("drafts", "runs", "tmp"))
    total = sum(sizes.values()) - remotes_index + index + other
    found = tuple(_artifact_usage(session, artifact) for artifact in artifacts(session))
    return Usage(total, sizes["packs"], sizes["objects"], sizes["trash"], logs, index, found)


def _tree_size(path: Path) -> int:
    total = 0
    for directory, _, files in os.walk(path):
        for name in files:
            try:
                total += os.stat(os.path.join(directory, name), follow_symlinks=False).st_size
            except FileNotFoundError:
                continue  # a temporary file of another command
    return total


def _artifact_usage(session: Session, artifact: ArtifactInfo) -> ArtifactUsage:
    """Logical bytes of all live versions, and bytes stored for them once each, as held here."""
    rows: list[dict[str, Any]] = session.index.rows.find("version", artifact=artifact.id)
    live = [v for v in rows if v["live"]]
    stored, before = 0, ()  # type: int, tuple[Digest, ...]
    seen: set[Digest] = set()
    for version in live:
        if not session.avc.store.has([version["digest"]]):
            continue
        for batch in batches(d for d, _ in new_objects(version["digest"], before, session.avc.store.read)):
            fresh = [digest for digest in dict.fromkeys(batch) if digest not in seen]
            seen.update(fresh)
            stored += session.avc.store.stored_bytes(fresh)
        before = (version["digest"],)
    return ArtifactUsage(f"{artifact.project}/{artifact.name}", len(live), sum(v["size"] for v in live), stored)
