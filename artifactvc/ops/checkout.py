"""A version becomes files again: planned against what is there, then written.

Uncommitted work is never overwritten without ``--force``: a file that differs from the
version asked for is replaced only if it is what the base version has there. Files that
the version does not have are removed only if they are tracked and unmodified (design,
section 4). Nothing is written before the whole plan holds.
"""

from __future__ import annotations

import contextlib
import os
import stat as stat_module
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from artifactvc.core import names
from artifactvc.core.manifest import find, walk
from artifactvc.core.model import EMPTY, Digest, Entry
from artifactvc.core.results import Bringing, CheckedOut
from artifactvc.errors import (
    HostilePath,
    OutsideWorkspace,
    ReadOnly,
    UnknownPath,
    UnsafeLink,
    UsageError,
    WouldOverwrite,
)
from artifactvc.ops import look, resolve
from artifactvc.ops.change import follow_names
from artifactvc.ops.checkout_plan import CheckoutOptions, Place, Plan, known_files, plan_place
from artifactvc.ops.resolve import Found
from artifactvc.ops.session import Session, looking
from artifactvc.ops.transfer import plan_bringing, require_objects
from artifactvc.ops.trusted import trusted
from artifactvc.storage.bindings import Binding, Bound
from artifactvc.storage.drafts import workspace_draft_id
from artifactvc.storage.loose import digest_of_link
from artifactvc.storage.place import Placer
from artifactvc.storage.statcache import WIDTH, StatCache
from artifactvc.storage.undone import Journal
from artifactvc.storage.unpack import File, confirm, locate, write_own, write_packed
from artifactvc.storage.workspace import file_key, file_stat, relative_path
from artifactvc.util.files import make_directories, writing
from artifactvc.util.text import escape

_LINKS: Final = ("hardlink", "symlink")
_SHOWN: Final = 5


@dataclass
class _Written:
    """What was done."""

    files: int = 0
    bytes: int = 0
    linked: int = 0
    copied_instead: int = 0
    stats: dict[str, Sequence[int]] = field(default_factory=dict)  # by path below the root


def checkout(
    session: Session, ref: str, destination: str | os.PathLike[str] | None, options: CheckoutOptions
) -> CheckedOut:
    """Write the files of version *ref* to *destination*, else to its bound paths, else to ``./<name>``."""
    if options.dry_run:
        with looking(session):
            return _checkout_ref(session, ref, destination, options)
    return _checkout_ref(session, ref, destination, options)


def _checkout_ref(
    session: Session, ref: str, destination: str | os.PathLike[str] | None, options: CheckoutOptions
) -> CheckedOut:
    if options.link is not None and options.link not in _LINKS:
        raise UsageError(f"'{options.link}' is no way to link", hint="use --link hardlink or --link symlink")
    _check_prefixes(options.prefixes)
    if destination is not None:
        names.check_given(os.fspath(destination), "destination", "leave it out, or write '.' for where you are")
    found = resolve.version(session, ref)
    follow_names(session)
    places, fresh = _places(session, found, destination, options)
    key = (found.artifact["project"], found.artifact["name"])
    bound = session.avc.bindings.artifacts.get(key)
    ours = any(place.binding is not None for place in places)
    if ours:
        _check_draft(session, key, bound, options)
    base = (look.taken_from(session, key, bound) if bound and ours else None) or EMPTY
    trusted(session, base, options.parts)
    result = _checkout(session, found, places, key, base, options)
    if ours and not options.dry_run and not options.prefixes:
        _bind(session, found, fresh)
    return result


def get(
    session: Session, ref: str, root: str | os.PathLike[str] | None, prefix: str | None, default: Path
) -> CheckedOut:
    """Download a version to *root*, else to ``<default>/name:vN``; nothing is bound."""
    _check_prefixes(() if prefix is None else (prefix,))
    if root is not None:
        names.check_given(os.fspath(root), "directory", "leave it out, or write '.' for where you are")
    found = resolve.version(session, ref)
    target = (
        Path(os.path.abspath(root))
        if root is not None
        else Path(os.path.abspath(default)) / f"{found.artifact['name']}:{found.shown.rstrip('~')}"
    )
    options = CheckoutOptions(() if prefix is None else (prefix,))
    try:
        return write(session, found, target, options)
    except WouldOverwrite as error:
        raise WouldOverwrite(
            f"'{target}' holds other files than '{found.artifact['name']}:{found.shown}': {error.message}",
            hint="choose another directory with --root (in Python: root=)",
        ) from error


def write(session: Session, found: Found, root: Path, options: CheckoutOptions) -> CheckedOut:
    """Write a version, or what *options* ask of it, to a directory that no binding names."""
    return _checkout(session, found, [Place(root, "")], ("", ""), EMPTY, options)


def _check_prefixes(prefixes: Sequence[str]) -> None:
    for prefix in prefixes:
        names.check_given(prefix.strip("/"), "path", "leave it out to take the whole version")


# ---- where to ---------------------------------------------------------------------------------


def _places(
    session: Session, found: Found, destination: str | os.PathLike[str] | None, options: CheckoutOptions
) -> tuple[list[Place], Binding | None]:
    """The directories to write, and the binding that this checkout makes, if any."""
    workspace = session.avc.workspace
    bound = session.avc.bindings.find(found.artifact["project"], found.artifact["name"])
    bindings = bound.paths if bound else ()
    if destination is not None:
        target = Path(os.path.abspath(destination))
        binding = next((b for b in bindings if _absolute(workspace, b.path) == target), None)
        if binding is not None:
            return [_place(session, found, binding, bindings)], None
        inside = session.avc.root
        if target == inside or inside in target.parents:
            raise UsageError(f"'{escape(str(target))}' is inside the repository", hint="name another directory")
        return [Place(target, "")], None
    if bindings:
        return [_place(session, found, binding, bindings) for binding in bindings], None
    name = found.artifact["name"]
    try:
        path = relative_path(workspace, name)
    except OutsideWorkspace:
        path = name
    if options.prefixes:
        session.say(
            f"{'would write' if options.dry_run else 'wrote'} a part of '{name}' to '{path}', which stays unbound"
        )
        return [Place(workspace / path, "")], None
    binding = Binding(path)
    return [Place(workspace / path, "", binding=binding)], binding


def _absolute(workspace: Path, path: str) -> Path:
    return workspace if path == "." else workspace / path


def _place(session: Session, found: Found, binding: Binding, bindings: Sequence[Binding]) -> Place:
    workspace = session.avc.workspace
    inside, base = os.path.realpath(_absolute(workspace, binding.path)), os.path.realpath(workspace)
    if inside != base and not inside.startswith(base.rstrip("/") + "/"):
        # artifacts.toml and the link may both come with somebody's Git repository (protocol H1).
        raise UnsafeLink(
            f"'{escape(binding.path)}' leads out of the workspace, to '{escape(inside)}'",
            hint="name that place as DEST if it is meant",
        )
    single = bool(binding.prefix) and find(found.version["digest"], binding.prefix, session.node) is not None
    if single:
        return Place((workspace / binding.path).parent, binding.prefix, True, binding)
    rivals = tuple(other for other in bindings if other != binding)
    return Place(_absolute(workspace, binding.path), binding.prefix, False, binding, rivals, workspace)


def _check_draft(session: Session, key: tuple[str, str], bound: Bound | None, options: CheckoutOptions) -> None:
    """Staged changes are work: they go only when that is asked for."""
    draft = session.avc.drafts.get(workspace_draft_id(*key))
    if draft is None or draft.root == (draft.base or EMPTY) or options.prefixes or options.force or options.dry_run:
        return
    raise WouldOverwrite(
        f"'{key[1]}' has staged changes", hint=f"run 'avc commit {key[1]}' first, or 'avc reset {key[1]}' to drop them"
    )


# ---- the plan ------------------------------------------------------------------------------------


def _checkout(
    session: Session, found: Found, places: list[Place], key: tuple[str, str], base: Digest, options: CheckoutOptions
) -> CheckedOut:
    digest = trusted(session, found.version["digest"], options.parts)
    plans = [plan_place(session, place, key, base, digest, options) for place in places]
    lacking = [p for p in options.prefixes if next(walk(digest, session.node, p.strip("/")), None) is None]
    if lacking or (options.prefixes and not any(plan.target for plan in plans)):
        shown = "', '".join(escape(prefix) for prefix in lacking or options.prefixes)
        raise UnknownPath(
            f"version '{found.artifact['name']}:{found.shown}' has nothing at '{shown}'",
            hint=f"run 'avc ls {found.artifact['name']}:{found.shown}' to list its paths",
        )
    conflicts = sorted({path for plan in plans for path in plan.conflicts})
    if conflicts and not (options.dry_run and options.force):
        shown = ", ".join(f"'{escape(path)}'" for path in conflicts[:_SHOWN])
        more = f" and {len(conflicts) - _SHOWN} more" if len(conflicts) > _SHOWN else ""
        raise WouldOverwrite(
            f"uncommitted changes stand in the way: {shown}{more}",
            hint="move them away: not even --force takes a directory with files of yours"
            if options.force
            else "commit them, move them away, or give --force to overwrite them",
        )
    written = _Written()
    if not options.dry_run:
        with session.avc.reading():  # what is found here, or fetched, is here until it is written
            lacking_here = _lacking(session, plans)
            if lacking_here:
                require_objects(session, lacking_here, f"{found.full_name}:{found.shown}")
            for plan in plans:
                done = _carry_out(session, plan, digest, options)
                _remember(session, key, plan, done, digest, options)
                for name in ("files", "bytes", "linked", "copied_instead"):
                    setattr(written, name, getattr(written, name) + getattr(done, name))
    destination = places[0].root / places[0].inside(places[0].prefix) if places[0].single else places[0].root
    bringing: tuple[Bringing, ...] = ()
    if options.dry_run:
        written.files = sum(len(plan.write) + len(plan.chmod) for plan in plans)
        written.bytes = sum(entry.size or 0 for plan in plans for _, entry, _ in plan.write if entry.is_file)
        bringing = plan_bringing(session, _lacking(session, plans))
    return CheckedOut(
        found.full_name, found.shown, os.fspath(destination), written.files, written.bytes,
        sum(len(plan.right) for plan in plans), sum(len(plan.remove) for plan in plans),
        written.linked, written.copied_instead,
        tuple(path for plan in plans for path in plan.kept), options.dry_run,
        tuple(change for plan in plans for change in plan.changes), bringing,
    )  # fmt: skip


def _lacking(session: Session, plans: Sequence[Plan]) -> list[Digest]:
    """What is to be written and is not here."""
    wanted = list(dict.fromkeys(e.digest for plan in plans for _, e, _ in plan.write if e.digest is not None))
    present = session.avc.store.has(wanted)
    return [digest for digest in wanted if digest not in present]


# ---- carrying it out ----------------------------------------------------------------------------


def _carry_out(session: Session, plan: Plan, digest: Digest, options: CheckoutOptions) -> _Written:
    place, done = plan.place, _Written()
    if not (plan.write or plan.chmod or plan.remove):
        if not place.root.is_dir() and not plan.target:
            make_directories(place.root)
        return done
    with writing(place.root):
        if place.root.exists() and not place.root.is_dir():
            raise WouldOverwrite(
                f"'{escape(os.fspath(place.root))}' is a file, and a directory is to be written",
                hint="name another place",
            )
        make_directories(place.root)
        _check_names(plan, place.root)
        new = {path for path, _, replaced in plan.write if not replaced}
        journal = Journal(session.avc.tmp, place.root)
        placer = Placer(place.root, journal.token)
        try:
            with contextlib.suppress(ReadOnly):  # of a repository that can only be read; the destination can be written
                journal.begin(
                    digest, place.prefix, plan.target.keys() - new,
                    {path.rpartition("/")[0] for path, _, replaced in plan.write if replaced},
                )  # fmt: skip
            for path in plan.remove:
                placer.remove(path)
            for path in plan.clear:
                placer.clear(path)
            for path, entry in plan.chmod:
                placer.chmod(path, executable=entry.kind == "x")
                done.files += 1
            _write(session, plan, placer, done, options)
        finally:
            placer.close()
            journal.end()
    return done


def _write(session: Session, plan: Plan, placer: Placer, done: _Written, options: CheckoutOptions) -> None:
    store = session.avc.store
    files = [
        File(path, entry.digest, entry.size or 0, entry.kind == "x", replaced)
        for path, entry, replaced in plan.write
        if entry.digest is not None
    ]
    session.progress.start("Writing", total=len(plan.write), unit="files")
    located = locate(store, files)
    recorded = plan.place.binding is not None
    with contextlib.closing(write_packed(store, placer, located, session.progress.advance, stats=recorded)) as lots:
        for paths, stats in lots:
            for position, path in enumerate(paths):
                done.stats[path] = stats[position * WIDTH : (position + 1) * WIDTH]
    for file in located.own:
        how = write_own(store, placer, file, options.link)
        done.linked += how == "linked"
        if options.link == "symlink" and how == "linked":
            continue  # it counts as the object's own file, whose stat ``_linked`` tells
        stat = placer.lstat(file.path)
        if stat is not None:
            done.stats[file.path] = array("q", file_stat(stat))
    if options.link:
        done.copied_instead = len(files) - done.linked
    for path, entry, replaced in plan.write:
        if entry.kind == "l":
            placer.symlink(path, entry.target or "", replace=replaced)
            stat = placer.lstat(path)
            if stat is not None:
                done.stats[path] = array("q", file_stat(stat))
    late = list(done.stats)
    if len(late) < 1500:  # with more, the children that wrote them have looked already
        for path in late:
            stats = array("q", done.stats[path])
            confirm(placer, [path], stats)
            done.stats[path] = stats
    session.progress.finish()
    done.files += len(plan.write)
    done.bytes += sum(entry.size or 0 for _, entry, _ in plan.write if entry.is_file)


def _check_names(plan: Plan, root: Path) -> None:
    """Refuse names that this file system cannot tell apart (protocol H1)."""
    import unicodedata

    folded: dict[str, str] = {}
    for path, _, _ in plan.write:
        plain = path.lower() if path.isascii() else unicodedata.normalize("NFC", path).casefold()
        other = folded.setdefault(plain, path)
        if other != path and _folds(root):
            raise HostilePath(
                f"'{escape(other)}' and '{escape(path)}' are one name to the file system of '{root}'",
                hint="check out to a file system that tells them apart, or only one of them with --path",
            )


def _folds(root: Path) -> bool:
    """Whether the file system takes two cases of a name for one."""
    import secrets

    probe = root / f".avc-{secrets.token_hex(8)}-case"
    probe.touch(exist_ok=False)
    try:
        return (root / probe.name.upper()).exists()
    finally:
        probe.unlink()


# ---- what is remembered ---------------------------------------------------------------------------


def _remember(
    session: Session, key: tuple[str, str], plan: Plan, done: _Written, digest: Digest, options: CheckoutOptions
) -> None:
    """Record the files in the stat cache, so that the next command need not read them."""
    binding = plan.place.binding
    if binding is None:
        return
    cache, connection = StatCache(session.avc.connect), session.avc.connect()
    if options.prefixes:
        cache.save(lambda connection: look.invalidate(connection, [binding.path]))
        return
    known = known_files(session, key, plan.place)
    placer = Placer(plan.place.root, "")
    by_directory: dict[str, list[tuple[str, Sequence[int], Digest]]] = {}
    try:
        for path, entry in plan.target.items():
            stats = done.stats.get(path) or _linked(session, placer, path, entry) or _still(placer, path, known)
            recorded = entry.digest or _target_digest(entry)
            directory, _, name = path.rpartition("/")
            by_directory.setdefault(directory, []).append((name, stats, recorded))
    finally:
        placer.close()
    start = "" if binding.path == "." else binding.path
    stale = set() if plan.place.single else set(cache.load(start))
    for directory, rows in by_directory.items():
        row_key = file_key(binding.path) if plan.place.single else "/".join(p for p in (start, directory) if p)
        stale.discard(row_key)
        rows.sort()
        stats = array("q", [number for _, numbers, _ in rows for number in numbers])
        digests = b"".join(bytes.fromhex(d) if numbers[0] >= 0 else bytes(32) for _, numbers, d in rows)
        cache.record_all(row_key, [name for name, _, _ in rows], stats, digests)
    for row_key in stale:
        cache.forget(row_key)
    generation = session.avc.store.intact_generation()
    connection = session.avc.connect()

    def after(connection: object) -> None:
        look.invalidate(session.avc.connect(), [binding.path], {(binding.path, "/".join(key))})
        look.record(session.avc.connect(), key, binding, digest, generation)

    cache.save(after)
    del connection


def _still(placer: Placer, path: str, known: dict[str, tuple[Sequence[int], Digest]]) -> Sequence[int]:
    """The stat of a file that was right already, if the stat cache knows it as it is now."""
    stat = placer.lstat(path)
    recorded = known.get(path)
    if stat is None or recorded is None or tuple(recorded[0]) != tuple(file_stat(stat)):
        return (-1, 0, 0, 0, 0)
    return recorded[0]


def _linked(session: Session, placer: Placer, path: str, entry: Entry) -> Sequence[int] | None:
    """Where a link to the entry's object stands, the stat of the object's own file, which was verified; else None."""
    objects = session.avc.store.objects_dir
    stat = placer.lstat(path) if entry.kind == "f" else None
    if stat is None or not stat_module.S_ISLNK(stat.st_mode):
        return None
    target = os.readlink(placer.root / path)
    return file_stat(os.stat(target)) if digest_of_link(objects, target) == entry.digest else None


def _target_digest(entry: Entry) -> Digest:
    from artifactvc.util.hashing import digest_bytes

    return digest_bytes((entry.target or "").encode())


def _bind(session: Session, found: Found, fresh: Binding | None) -> None:
    """Let ``artifacts.toml`` name the version; a draft that was overwritten on purpose goes."""
    project, name, kind = found.artifact["project"], found.artifact["name"], found.artifact["type"]
    draft_id = workspace_draft_id(project, name)
    with session.avc.writing(), session.avc.drafts.locked(draft_id):
        session.avc.drafts.remove(draft_id)

    def change(artifacts: dict[tuple[str, str], Bound]) -> None:
        bound = artifacts.get((project, name)) or Bound(project, name, kind)
        if fresh is not None:
            bound = bound.with_path(fresh)
        version = f"v{found.version['number']}"
        artifacts[project, name] = replace(bound, type=kind, version=version, digest=found.version["digest"])

    session.avc.bindings.update(change)
