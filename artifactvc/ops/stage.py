"""``add`` and ``rm --from``: the workspace goes into drafts.

Order of a change (protocol L1, L2): under the store's shared lock and the draft's own,
objects, then the draft, then ``artifacts.toml``, then the stat cache. A kill between any
two leaves the old draft or the new one; the next ``add`` does the rest again.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from artifactvc.core import names
from artifactvc.core.manifest import build, check_path, find_many, summary, update, walk
from artifactvc.core.model import EMPTY, Change, Digest, Entry, Root
from artifactvc.core.results import Staged
from artifactvc.errors import HostilePath, UnknownPath, UnsupportedFile, UsageError
from artifactvc.ops import intake, look, resolve
from artifactvc.ops.changes import path_change
from artifactvc.ops.commit import type_conflict
from artifactvc.ops.complete import note_complete, own_intact
from artifactvc.ops.intake import Taken
from artifactvc.ops.look import Look
from artifactvc.ops.session import Session
from artifactvc.ops.stand_ins import unmodified
from artifactvc.ops.trusted import trusted
from artifactvc.storage.bindings import FILE as bindings_file
from artifactvc.storage.bindings import Binding, Bound
from artifactvc.storage.drafts import Draft, workspace_draft_id
from artifactvc.storage.statcache import StatCache
from artifactvc.storage.workspace import relative_path
from artifactvc.storage.writer import StoreWriter
from artifactvc.util.text import escape, is_uri, near

Key = tuple[str, str]  # project and name


@dataclass(frozen=True)
class AddOptions:
    """How ``add`` takes files."""

    to: str | None = None
    type: str | None = None
    prefix: str | None = None
    move: bool = False
    follow: bool = False
    force: bool = False
    dry_run: bool = False
    detail: bool = False  # report every changed path


@dataclass(frozen=True)
class _Part:
    """One path asked for: the binding that it is, or lies in, and where to begin."""

    binding: Binding
    start: str


def add(session: Session, paths: Sequence[str], options: AddOptions) -> list[Staged]:
    """Stage *paths*, or every bound path where there are none; one result for each artifact."""
    if options.move and os.geteuid() == 0 and not options.force:
        raise UsageError(
            "as root, --move leaves files that can still be written through their read-only mode",
            hint="give --force as well, or leave --move out",
        )
    if options.type is not None:
        names.check_type(options.type)
    if options.prefix is not None:
        if not paths:
            raise UsageError(
                "a prefix says where PATH goes, and no path is given", hint="run 'avc add PATH --as PREFIX'"
            )
        options = replace(options, prefix=names.check_prefix(options.prefix))
    parts = _targets(session, paths, options)
    return [_add_one(session, key, found, options) for key, found in parts.items()]


# ---- what goes where ---------------------------------------------------------------------------


def _targets(session: Session, paths: Sequence[str], options: AddOptions) -> dict[Key, list[_Part]]:
    found: dict[Key, list[_Part]] = defaultdict(list)
    if paths:
        for text in paths:
            key, part = _target(session, text, options)
            if part not in found[key]:
                found[key].append(part)
        return found
    wanted = artifact_key(session, options.to) if options.to is not None else None
    for key, bound in session.avc.bindings.artifacts.items():
        if wanted is None or key == wanted:
            bindings = (replace(binding, follow=binding.follow or options.follow) for binding in bound.paths)
            found[key] = [_Part(binding, binding.path) for binding in bindings]
    if not any(found.values()):
        raise UsageError("nothing to add: no path given, and no path is bound", hint="run 'avc add PATH'")
    return {key: parts for key, parts in found.items() if parts}


def artifact_key(session: Session, text: str) -> Key:
    """Project and name of the artifact that *text* names: as it is written, if it is known here."""
    entity, project, name = names.parse_artifact(text)
    project = resolve.project_of(session, entity, project)
    names.check_artifact_name(name)
    row = resolve.find_artifact(session, f"{project}/{name}")
    bound = session.avc.bindings.find(project, name)
    known = row["name"] if row else bound.name if bound else name
    return project, known


def _target(session: Session, text: str, options: AddOptions) -> tuple[Key, _Part]:
    if is_uri(text):
        from artifactvc.core.references import parse_address

        address = parse_address(text).uri  # or an error that repeats no secret
        raise UsageError(f"'{escape(address)}' is an address", hint="add addresses one at a time, with --to NAME")
    workspace, bindings = session.avc.workspace, session.avc.bindings
    path = relative_path(workspace, names.check_given(text, "path", "write '.' for the directory that you are in"))
    if path == bindings_file:
        raise UnsupportedFile(f"'{bindings_file}' is avc's own, and is never taken", hint="keep it in Git")
    there = os.path.lexists(workspace / path)
    key = artifact_key(session, options.to) if options.to is not None else None
    bound = bindings.artifacts.get(key) if key else None
    inside = _within(bound, path) if bound else None if key else bindings.of_path(path)
    if inside and (options.prefix is None or options.prefix == inside[1].prefix):
        binding = replace(inside[1], follow=inside[1].follow or options.follow)
        return inside[0].key, _Part(binding, path)
    if not there:
        raise UnknownPath(f"no file or directory '{escape(text)}'", hint=_near_path(text))
    absolute = workspace / path
    is_directory = absolute.is_dir() and (options.follow or not absolute.is_symlink())
    if key is None:
        last = workspace.name if path == "." else path.rpartition("/")[2]
        key = artifact_key(session, names.artifact_name_from(last))
    prefix = options.prefix or ""
    if not is_directory:
        prefix = "/".join(part for part in (prefix, path.rpartition("/")[2]) if part)
        _check_file_name(path, prefix)
    return key, _Part(Binding(path, prefix, options.follow), path)


def _check_file_name(path: str, prefix: str) -> None:
    try:
        check_path(prefix)
        prefix.encode()
    except (HostilePath, UnicodeEncodeError) as error:
        raise UnsupportedFile(f"'{escape(path)}' cannot be stored under its name", hint="rename it") from error


def _near_path(text: str) -> str:
    directory, _, name = text.rstrip("/").rpartition("/")
    try:
        close = near(name, os.listdir(directory or "."))
    except OSError:
        return "check the path"
    return "did you mean " + " or ".join(f"'{escape(c)}'" for c in close) + "?" if close else "check the path"


def _within(bound: Bound, path: str) -> tuple[Bound, Binding] | None:
    inside = [b for b in bound.paths if b.path in (".", path) or path.startswith(b.path + "/")]
    return (bound, max(inside, key=lambda b: len(b.path))) if inside else None


# ---- one artifact -----------------------------------------------------------------------------------


def _add_one(session: Session, key: Key, parts: list[_Part], options: AddOptions) -> Staged:
    avc = session.avc
    draft_id = workspace_draft_id(*key)
    with avc.writing(), avc.drafts.locked(draft_id):
        draft = begin_draft(session, key, options.type)
        cache = StatCache(avc.connect)
        against = look.Against(key, draft.root, reading=not options.dry_run)
        looks = [look.look(session, cache, against, part.binding, part.start) for part in parts]
        if options.dry_run:
            return _plan(session, draft, looks)
        # A larger object whose file is gone leaves no trace in the generation: then everything is asked for (L6).
        generation = avc.store.intact_generation() if own_intact(avc.store) else -1
        with avc.writer() as writer:
            taken = intake.take(session, against, looks, generation, writer, move=options.move)
            root, differing = apply_changes(session, draft.root, taken.changes, writer)
        changed = root.digest != draft.root
        if changed or avc.drafts.get(draft_id) is not None:
            avc.drafts.save(replace(draft, root=root.digest))
        _bind(session, draft, [found.binding for found in looks])
        _remember(cache, taken, draft, root.digest, generation)
        if changed:
            note_complete(session, draft_id, draft.root, root.digest, generation)
    done = counted(draft, root, differing, detail=options.detail)
    return replace(done, files_read=taken.files_read, bytes_read=taken.bytes_read)


def counted(draft: Draft, root: Root, changes: list[Change], *, detail: bool, dry_run: bool = False) -> Staged:
    """What the draft has more, less or otherwise than before; the changes themselves only where they are wanted."""
    count = {"added": 0, "modified": 0, "removed": 0}
    for change in changes:
        count[change.status] += 1
    return told(draft, root.count, count, changes if detail else (), dry_run=dry_run)


def told(draft: Draft, entries: int, count: Mapping[str, int], shown: Iterable[Change], *, dry_run: bool) -> Staged:
    """What people are told of a draft that has *entries* now, with how many of them were added, modified, removed."""
    return Staged(
        f"{draft.project}/{draft.name}", draft.type, count["added"], count["modified"], count["removed"],
        entries - count["added"] - count["modified"], 0, 0, entries, dry_run, tuple(map(path_change, shown)),
    )  # fmt: skip


def begin_draft(session: Session, key: Key, kind: str | None) -> Draft:
    """The workspace's draft of an artifact, or a new one on its base; the caller holds the draft's lock."""
    avc = session.avc
    project, name = key
    bound = avc.bindings.artifacts.get(key)
    row = resolve.find_artifact(session, f"{project}/{name}")
    existing = avc.drafts.get(workspace_draft_id(project, name))
    known = row["type"] if row else existing.type if existing else bound.type if bound else None
    if row and kind is not None and kind != row["type"]:
        raise type_conflict(row["name"], row["type"], kind)
    if existing is not None:
        return replace(existing, type=row["type"] if row else kind or existing.type)
    digest, number = resolve.base_of(session, key)
    trusted(session, digest or EMPTY)
    version = resolve.live_by_digest(session, row["id"], digest) if row and digest else None
    return Draft(
        workspace_draft_id(project, name), project, name, kind or known or "dataset",
        row["id"] if row else secrets.token_hex(16), digest or EMPTY, digest, number, "workspace", session.clock(),
        version["sources"] if version else None,
    )  # fmt: skip


def apply_changes(
    session: Session, root: Digest, changes: dict[str, Entry | None], writer: StoreWriter
) -> tuple[Root, list[Change]]:
    """Store the manifest *root* with *changes*; the new root, and what really differs."""
    fresh: dict[Digest, bytes] = {}

    def put(data: bytes) -> Digest:
        digest: Digest = writer.put_node(data)
        fresh[digest] = data
        return digest

    def read(digest: Digest) -> bytes:
        data = fresh.get(digest)
        return session.node(digest) if data is None else data

    if not changes:
        return summary(root, session.node), []
    if root == EMPTY:
        entries = [entry for entry in changes.values() if entry is not None]
        built = build(entries, put)
        return built, [Change(entry.path, None, entry) for entry in entries]
    before: dict[str, Entry] = {}
    updated = update(root, changes, read, put, before)
    pairs = ((path, before.get(path), changes[path]) for path in sorted(changes))
    return updated, [Change(path, old, new) for path, old, new in pairs if old != new]


def _bind(session: Session, draft: Draft, bindings: Iterable[Binding]) -> None:
    wanted = list(bindings)
    bound = session.avc.bindings.artifacts.get(draft.key)
    if bound is not None and bound.type == draft.type and all(binding in bound.paths for binding in wanted):
        return

    def change(artifacts: dict[Key, Bound]) -> None:
        now = artifacts.get(draft.key) or Bound(draft.project, draft.name, draft.type)
        if now.digest is None and draft.base is not None:
            now = replace(
                now, version=f"v{draft.base_number}" if draft.base_number is not None else None, digest=draft.base
            )
        for binding in wanted:
            now = now.with_path(binding)
        artifacts[draft.key] = replace(now, type=draft.type)

    session.avc.bindings.update(change)


def _remember(cache: StatCache, taken: Taken, draft: Draft, after: Digest, generation: int) -> None:
    """Record what was read, and that the rows now are what the draft has."""
    key, name, before = draft.key, "/".join(draft.key), draft.root
    written = intake.remember(cache, taken)
    whole = [found for found in taken.looks if found.exact or found.start == found.binding.path]
    if not written and before == after and all(found.exact and found.generation == generation for found in whole):
        return

    def after_rows(connection: sqlite3.Connection) -> None:
        if written:
            look.invalidate(connection, written, {(found.binding.path, name) for found in whole})
        if before != after:
            look.move_root(connection, key, before, after)
        for found in whole:
            look.record(connection, key, found.binding, after, generation)

    cache.save(after_rows)


def _plan(session: Session, draft: Draft, looks: list[Look]) -> Staged:
    """What ``add`` would do: files that differ are hashed, nothing is stored."""
    workspace, changes = session.avc.workspace, dict[str, Entry | None]()
    for found in looks:
        for directory in found.scan.directories:
            if directory.same and found.exact:
                continue
            for seen in found.files(directory):
                if found.exact and seen.digest is not None:
                    continue
                changes[seen.path] = look.entry_of(seen, workspace, seen.digest or look.hash_path(session, seen))
        if found.exact:
            changes.update((path, None) for path in found.vanished() if path not in changes)
        else:
            gone = intake.gone_from(session, draft.root, found, intake.Taken(looks, draft.key, changes=changes))
            changes.update((path, None) for path in gone)
    before = find_many(draft.root, changes, session.node)
    for path in unmodified(session, before, changes):
        del changes[path]
    different = [
        Change(path, before.get(path), entry) for path, entry in sorted(changes.items()) if before.get(path) != entry
    ]
    root = summary(draft.root, session.node)
    more = sum(c.before is None for c in different) - sum(c.after is None for c in different)
    return counted(draft, root._replace(count=root.count + more), different, detail=True, dry_run=True)


# ---- rm --from ------------------------------------------------------------------------------------


def remove(session: Session, name: str, paths: Sequence[str], *, dry_run: bool = False) -> Staged:
    """Take entries, and all below a directory, out of the draft of artifact *name*; files stay where they are."""
    key = artifact_key(session, name)
    if key not in session.avc.bindings.artifacts and session.avc.drafts.get(workspace_draft_id(*key)) is None:
        resolve.artifact(session, name)
    avc = session.avc
    draft_id = workspace_draft_id(*key)
    with avc.writing(), avc.drafts.locked(draft_id):
        draft = begin_draft(session, key, None)
        changes: dict[str, Entry | None] = {}
        for path in paths:
            names.check_given(path.strip("/"), "path", f"'avc reset {name}' drops all that is staged")
            below = list(walk(draft.root, session.node, path.rstrip("/")))
            if not below:
                known = [entry.path for entry in walk(draft.root, session.node)][:100_000]
                close = near(path, known)
                hint = f"did you mean '{escape(close[0])}'?" if close else f"run 'avc ls {name}' to list what is there"
                raise UnknownPath(f"the draft of '{name}' has no '{escape(path)}'", hint=hint)
            changes.update((entry.path, None) for entry in below)
        if dry_run:
            before = find_many(draft.root, changes, session.node)
            different = [Change(path, before[path], None) for path in changes]
            root = summary(draft.root, session.node)
            return counted(draft, root._replace(count=root.count - len(changes)), different, detail=True, dry_run=True)
        with avc.writer() as writer:
            root, differing = apply_changes(session, draft.root, changes, writer)
        avc.drafts.save(replace(draft, root=root.digest))
        StatCache(avc.connect).save(lambda connection: look.forget_artifact(connection, key))
    return counted(draft, root, differing, detail=True)
