"""``status`` and ``diff`` of the workspace: it is looked at, and nothing but the stat cache changes.

Where a file's stat differs but its bytes do not (``touch``, ``git checkout``), it is hashed
once and recorded, so that the next ``status`` need not.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from artifactvc.core import names
from artifactvc.core.compare import diff as diff_manifests
from artifactvc.core.manifest import find_many, summary, walk
from artifactvc.core.model import EMPTY, Change, Digest, Entry
from artifactvc.core.results import ArtifactStatus, Difference, PathChange, Status
from artifactvc.errors import MissingObject, StorageError, UsageError
from artifactvc.ops import look, resolve
from artifactvc.ops.changes import path_change
from artifactvc.ops.look import Look, Seen
from artifactvc.ops.session import Session
from artifactvc.ops.stand_ins import stands_for
from artifactvc.ops.trusted import trusted
from artifactvc.storage.bindings import Bound
from artifactvc.storage.drafts import workspace_draft_id
from artifactvc.storage.statcache import Recorded, StatCache

Key = tuple[str, str]  # project and name


def status(session: Session, wanted: Sequence[str] = ()) -> Status:
    """Compare workspace, drafts and base versions of the artifacts *wanted*, or of all that are bound or staged."""
    avc = session.avc
    drafts = {draft.key: draft for draft in avc.drafts.all() if draft.owner == "workspace"}
    keys = sorted({*avc.bindings.artifacts, *drafts})
    if wanted:
        keys = [_known_key(session, text, keys) for text in wanted]
    found = tuple(_artifact_status(session, key) for key in keys)
    return Status(session.project, found, _unpushed(session), avc.origin)


def _known_key(session: Session, text: str, keys: Sequence[Key]) -> Key:
    entity, project, name = names.parse_artifact(text)
    project = resolve.project_of(session, entity, project)
    for key in keys:
        if key[0] == project and key[1].lower() == name.lower():
            return key
    row = resolve.artifact(session, text)
    return row["project"], row["name"]


def _unpushed(session: Session) -> int:
    if session.avc.origin is None:
        return 0
    session.index  # noqa: B018  catches up
    return int(session.avc.connect().execute("SELECT count(*) FROM pending").fetchone()[0])


def _artifact_status(session: Session, key: Key) -> ArtifactStatus:
    avc = session.avc
    bound = avc.bindings.artifacts.get(key)
    draft = avc.drafts.get(workspace_draft_id(*key))
    base, number = resolve.base_of(session, key) if draft is None else (draft.base, draft.base_number)
    try:
        root = draft.root if draft else trusted(session, base or EMPTY)
    except MissingObject as error:
        raise MissingObject(
            error.digest,
            f"here: artifacts.toml names '{key[1]}:{bound.version if bound else ''}'",
            hint="run 'avc pull'",
        ) from error
    if draft is None and bound is not None:
        _say_what_the_files_are(session, key, bound)
    staged = tuple(path_change(change) for change in diff_manifests(base or EMPTY, root, session.node)) if draft else ()
    unstaged = tuple(compare_workspace(session, key, bound, root)) if bound else ()
    row = resolve.find_artifact(session, "/".join(key))
    newest = resolve.newest_version(session, row["id"]) if row else None
    version = resolve.live_by_digest(session, row["id"], base) if row and base else None
    shown = None if version is None else names.shown_number(version["number"], provisional=bool(version["provisional"]))
    if shown is None and number is not None:
        shown = f"v{number}"
    ahead = None
    if newest is not None and newest["digest"] != base:
        ahead = names.shown_number(newest["number"], provisional=bool(newest["provisional"]))
    kind = row["type"] if row else draft.type if draft else bound.type if bound else "dataset"
    return ArtifactStatus(
        "/".join(key), kind, shown, ahead, staged, unstaged,
        tuple(binding.path for binding in bound.paths) if bound else (),
        summary(root, session.node).count,
    )  # fmt: skip


def _say_what_the_files_are(session: Session, key: Key, bound: Bound) -> None:
    """Where ``artifacts.toml`` was changed under the files, as by ``git checkout``: what they are, and the way out."""
    files = look.taken_from(session, key, bound)
    row = resolve.find_artifact(session, "/".join(key))
    version = resolve.live_by_digest(session, row["id"], files) if row and files and files != bound.digest else None
    if version is not None:
        session.say(
            f"the files of '{key[1]}' are those of v{version['number']}, and artifacts.toml names {bound.version}:"
            f" 'avc checkout' writes that one"
        )


def compare_workspace(session: Session, key: Key, bound: Bound, root: Digest) -> Iterator[PathChange]:
    """The paths on which the bound files and manifest *root* disagree, in order; new files are ``untracked``."""
    cache = StatCache(session.avc.connect)
    looks = [look.look(session, cache, look.Against(key, root), binding, binding.path) for binding in bound.paths]
    same: dict[str, Recorded] = {}
    changes: dict[str, PathChange] = {}
    there = (
        {seen.path for found in looks for d in found.scan.directories for seen in found.files(d)}
        if len(looks) > 1
        else set()
    )
    for found in looks:
        pairs = _exact(session, found, root) if found.exact else _whole(session, found, root, there)
        for path, seen, entry in pairs:
            change = _compare(session, path, seen, entry, same)
            if change is not None:
                changes[path] = change
            elif path in changes:
                del changes[path]
    for found in looks:
        if found.exact and same:
            _refresh(session, cache, found, same)
    yield from (changes[path] for path in sorted(changes))


def _exact(session: Session, found: Look, root: Digest) -> Iterator[tuple[str, Seen | None, Entry | None]]:
    """Only what is not as recorded: everything else is as the manifest has it."""
    differing, gone = list(found.differing()), found.vanished()
    entries = find_many(root, [*(seen.path for seen in differing), *gone], session.node) if differing or gone else {}
    for path in gone:
        entry = entries.get(path)
        if entry is None or entry.kind != "r":  # a reference needs no file here
            yield path, None, entry
    for seen in differing:
        yield seen.path, seen, entries.get(seen.path)


def _whole(
    session: Session, found: Look, root: Digest, elsewhere: set[str]
) -> Iterator[tuple[str, Seen | None, Entry | None]]:
    there = {seen.path: seen for directory in found.scan.directories for seen in found.files(directory)}
    for entry in walk(root, session.node, found.prefix) if root != EMPTY else ():
        if entry.path in there or (entry.kind != "r" and entry.path not in elsewhere):
            yield entry.path, there.pop(entry.path, None), entry
    for path, seen in there.items():
        yield path, seen, None


def _compare(
    session: Session, path: str, seen: Seen | None, entry: Entry | None, same: dict[str, Recorded]
) -> PathChange | None:
    """The difference between one file and its entry; files of equal size are hashed where their stat says nothing."""
    if seen is None:
        return None if entry is None else path_change(Change(path, entry, None))
    if entry is None:
        # No digest: whether the stat cache happens to know it must not show.
        return PathChange(path, "untracked", None, seen.stat.size, None, None)
    if entry.kind == "r":
        digest = seen.digest or look.hash_path(session, seen)
        if stands_for(session, entry, seen.kind, digest):
            if not seen.followed:
                same[seen.file] = Recorded(seen.stat, digest)
            return None
        return PathChange(path, "modified", entry.size, seen.stat.size, entry.identity, digest)
    size = None if seen.kind == "l" else seen.stat.size
    if ("l" in (seen.kind, entry.kind) and seen.kind != entry.kind) or (entry.kind != "l" and size != entry.size):
        return PathChange(path, "modified", entry.size, size, entry.digest, None)
    digest = seen.digest or look.hash_path(session, seen)
    now = look.entry_of(seen, session.avc.workspace, digest)
    if now == entry:
        if not seen.followed:
            same[seen.file] = Recorded(seen.stat, digest)
        return None
    return PathChange(path, "modified", entry.size, size, entry.digest, now.digest)


def _refresh(session: Session, cache: StatCache, found: Look, same: dict[str, Recorded]) -> None:
    """Record the stat of files that were read and found to be as the manifest has them.

    Only names that have a row: rows list what is tracked, never what merely lies there.
    """
    for key, directory in look.keys_of(found):
        if directory.same or directory.row is None:
            continue
        row, there = directory.row, {name: stat for name, stat, _ in directory.files()}
        files, any_new = [], False
        for at, name in enumerate(row.names):
            full = f"{directory.path}/{name}" if directory.path else name
            new = same.get(full) if name in there else None
            any_new = any_new or (new is not None and new.stat != row.stat(at))
            files.append((name, new or Recorded(row.stat(at), row.digest(at))))
        if any_new:
            cache.record(key, files)
    try:
        cache.save()
    except (StorageError, sqlite3.Error):
        session.say("the index cannot be written: files that were read will be read again")


def diff(session: Session, ref: str | None) -> list[Difference]:
    """Workspace and base of every bound artifact; with *ref*, workspace and that version."""
    bindings = session.avc.bindings
    if ref is not None:
        found = resolve.version(session, ref)
        bound = bindings.artifacts.get((found.artifact["project"], found.artifact["name"]))
        if bound is None or not bound.paths:
            raise UsageError(
                f"artifact '{found.full_name}' has no path in the workspace",
                hint="compare two versions: 'avc diff A B'",
            )
        changes = _as_changes(compare_workspace(session, bound.key, bound, trusted(session, found.version["digest"])))
        return [Difference(found.full_name, found.shown, "workspace", changes)]
    results = []
    for key, bound in sorted(bindings.artifacts.items()):
        base, number = resolve.base_of(session, key)
        changes = _as_changes(compare_workspace(session, key, bound, trusted(session, base or EMPTY)))
        before = f"v{number}" if number is not None else base[:12] if base else "nothing"
        results.append(Difference("/".join(key), before, "workspace", changes))
    return results


def _as_changes(changes: Iterator[PathChange]) -> tuple[PathChange, ...]:
    """For a comparison an untracked file is one that was added."""
    return tuple(
        PathChange(c.path, "added", None, c.size_after, None, c.digest_after) if c.status == "untracked" else c
        for c in changes
    )
