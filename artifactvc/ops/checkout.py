"""A version becomes files again: planned against what is there, then written.

Uncommitted work is never overwritten without ``--force``: a file that differs from the
version asked for is replaced only if it is what the base version has there. Files that
the version does not have are removed only if they are tracked and unmodified (design,
section 4). Nothing is written before the whole plan holds.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from artifactvc.core import names
from artifactvc.core.manifest import find, walk
from artifactvc.core.model import EMPTY, Digest, Entry
from artifactvc.core.results import Bringing, CheckedOut
from artifactvc.errors import (
    OutsideWorkspace,
    UnknownPath,
    UnsafeLink,
    UsageError,
    WouldOverwrite,
)
from artifactvc.ops import look, resolve
from artifactvc.ops.change import follow_names
from artifactvc.ops.checkout_plan import Base, CheckoutOptions, Place, Plan, plan_place
from artifactvc.ops.checkout_write import Written, carry_out, remember
from artifactvc.ops.resolve import Found
from artifactvc.ops.session import Session, looking
from artifactvc.ops.stand_ins import Brought
from artifactvc.ops.transfer import plan_bringing, require_objects
from artifactvc.ops.trusted import trusted
from artifactvc.storage.bindings import Binding, Bound
from artifactvc.storage.drafts import workspace_draft_id
from artifactvc.storage.workspace import relative_path
from artifactvc.util.text import escape

_LINKS: Final = ("hardlink", "symlink")
_SHOWN: Final = 5
_TOLD: Final = 20


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
    result = _checkout(session, found, places, Base(key, base), options)
    if ours and not options.dry_run and not options.prefixes:
        _bind(session, found, fresh)
    return result


def get(
    session: Session, ref: str, root: str | os.PathLike[str] | None, default: Path, options: CheckoutOptions
) -> CheckedOut:
    """Download a version to *root*, else to ``<default>/name:vN``; nothing is bound."""
    _check_prefixes(options.prefixes)
    if root is not None:
        names.check_given(os.fspath(root), "directory", "leave it out, or write '.' for where you are")
    found = resolve.version(session, ref)
    target = (
        Path(os.path.abspath(root))
        if root is not None
        else Path(os.path.abspath(default)) / f"{found.artifact['name']}:{found.shown.rstrip('~')}"
    )
    try:
        with looking(session) if options.dry_run else contextlib.nullcontext():
            return write(session, found, target, options)
    except WouldOverwrite as error:
        raise WouldOverwrite(
            f"'{target}' holds other files than '{found.artifact['name']}:{found.shown}': {error.message}",
            hint="choose another directory with --root (in Python: root=)",
        ) from error


def write(session: Session, found: Found, root: Path, options: CheckoutOptions) -> CheckedOut:
    """Write a version, or what *options* ask of it, to a directory that no binding names."""
    return _checkout(session, found, [Place(root, "")], Base(("", ""), EMPTY), options)


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


# ---- planned, then written -------------------------------------------------------------------------


def _checkout(session: Session, found: Found, places: list[Place], base: Base, options: CheckoutOptions) -> CheckedOut:
    digest = trusted(session, found.version["digest"], options.parts)

    def planned(brought: Brought) -> list[Plan]:
        return [plan_place(session, place, base, digest, options, brought) for place in places]

    plans = planned(Brought())
    _require_paths(session, found, plans, options)
    _refuse_conflicts(plans, options)
    if options.dry_run:
        return _would(session, found, plans)
    total = Written()
    with session.avc.reading():  # what is found here, or fetched, is here until it is written
        brought = _follow(session, plans, options)
        if brought.lost or any(plan.unknown for plan in plans):
            plans = planned(brought)
            _refuse_conflicts(plans, options)
        lacking_here = _lacking(session, plans)
        if lacking_here:
            require_objects(session, lacking_here, f"{found.full_name}:{found.shown}")
        for plan in plans:
            done = carry_out(session, plan, digest, options)
            remember(session, base.key, plan, done, digest, options)
            for name in ("files", "bytes", "linked", "copied_instead"):
                setattr(total, name, getattr(total, name) + getattr(done, name))
    for error in list(brought.lost.values())[:_TOLD]:
        session.say(f"left out: {error.message}")
    return _result(found, plans, total)


def _require_paths(session: Session, found: Found, plans: Sequence[Plan], options: CheckoutOptions) -> None:
    """UnknownPath where a path that is asked for is not in the version."""
    digest = found.version["digest"]
    lacking = [p for p in options.prefixes if next(walk(digest, session.node, p.strip("/")), None) is None]
    if lacking or (options.prefixes and not any(plan.target or plan.unknown for plan in plans)):
        shown = "', '".join(escape(prefix) for prefix in lacking or options.prefixes)
        raise UnknownPath(
            f"version '{found.artifact['name']}:{found.shown}' has nothing at '{shown}'",
            hint=f"run 'avc ls {found.artifact['name']}:{found.shown}' to list its paths",
        )


def _refuse_conflicts(plans: Sequence[Plan], options: CheckoutOptions) -> None:
    conflicts = sorted({path for plan in plans for path in plan.conflicts})
    if not conflicts or (options.dry_run and options.force):
        return
    shown = ", ".join(f"'{escape(path)}'" for path in conflicts[:_SHOWN])
    more = f" and {len(conflicts) - _SHOWN} more" if len(conflicts) > _SHOWN else ""
    raise WouldOverwrite(
        f"uncommitted changes stand in the way: {shown}{more}",
        hint="move them away: not even --force takes a directory with files of yours"
        if options.force
        else "commit them, move them away, or give --force to overwrite them",
    )


def _would(session: Session, found: Found, plans: Sequence[Plan]) -> CheckedOut:
    """What a dry run says."""
    total = Written()
    total.files = sum(len(plan.write) + len(plan.chmod) + len(plan.unknown) for plan in plans)
    total.bytes = sum(entry.size or 0 for plan in plans for _, entry, _ in plan.write if entry.is_file)
    total.bytes += sum(entry.size or 0 for plan in plans for entry in plan.unknown.values())
    bringing: tuple[Bringing, ...] = plan_bringing(session, _lacking(session, plans))
    references = _references(plans)
    if references:
        from artifactvc.ops.follow import plan_following

        bringing += plan_following(session, references)
    return replace(_result(found, plans, total), dry_run=True, bringing=bringing)


def _result(found: Found, plans: Sequence[Plan], total: Written) -> CheckedOut:
    first = plans[0].place
    destination = first.root / first.inside(first.prefix) if first.single else first.root
    return CheckedOut(
        found.full_name, found.shown, os.fspath(destination),
        total.files, total.bytes, sum(len(plan.right) for plan in plans), sum(len(plan.remove) for plan in plans),
        total.linked, total.copied_instead, tuple(path for plan in plans for path in plan.kept),
        plan=tuple(change for plan in plans for change in plan.changes),
        missing=tuple(path for plan in plans for path in plan.missing),
    )  # fmt: skip


def _references(plans: Sequence[Plan]) -> list[Entry]:
    """The references whose bytes are to be written, or needed to tell whether they are."""
    found = [entry for plan in plans for entry in plan.unknown.values()]
    return found + [p.references[path] for p in plans if p.references for path, _, _ in p.write if path in p.references]


def _follow(session: Session, plans: Sequence[Plan], options: CheckoutOptions) -> Brought:
    """Bring the bytes of references: all of them, before a file is touched."""
    references = _references(plans)
    if not references:
        return Brought()
    from artifactvc.ops.follow import bring

    return bring(session, references, allow_missing=options.allow_missing)


def _lacking(session: Session, plans: Sequence[Plan]) -> list[Digest]:
    """What is to be written and is not here, and no reference leads to."""
    wanted = list(
        dict.fromkeys(
            entry.digest
            for plan in plans
            for path, entry, _ in plan.write
            if entry.digest is not None and path not in plan.references
        )
    )
    present = session.avc.store.has(wanted)
    return [digest for digest in wanted if digest not in present]


# ---- what is remembered ----------------------------------------------------------------------------


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
