"""What a checkout would do, decided before anything is written.

A file that differs from the version asked for is replaced only if it is what the base
version has there; anything else in the way is a conflict. Files that the version does not
have are removed only if they are tracked and unmodified (design, section 4).
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from artifactvc.core.manifest import find, walk
from artifactvc.core.model import EMPTY, Change, Digest, Entry
from artifactvc.core.results import PathChange
from artifactvc.ops.changes import path_change
from artifactvc.ops.presence import Presence
from artifactvc.ops.session import Session
from artifactvc.ops.stand_ins import Brought, with_files
from artifactvc.storage.bindings import Binding
from artifactvc.storage.statcache import WIDTH, StatCache
from artifactvc.storage.workspace import file_key


@dataclass(frozen=True)
class CheckoutOptions:
    """How ``checkout`` writes."""

    prefixes: tuple[str, ...] = ()  # paths and directories; empty for all
    begins: str = ""  # how paths begin, whatever follows
    exactly: str | None = None  # one path
    link: str | None = None
    force: bool = False
    dry_run: bool = False
    detail: bool = False  # report every changed path
    allow_missing: bool = False  # leave out references whose bytes cannot be had any more

    @property
    def parts(self) -> tuple[str, ...] | None:
        """Paths at or below which all is that is asked for; None for the whole version."""
        if self.exactly is not None:
            return (self.exactly,)
        above = self.begins.rpartition("/")[0]
        parts = (above,) if self.begins else tuple(prefix.strip("/") for prefix in self.prefixes)
        return parts if parts and all(parts) else None


@dataclass(frozen=True)
class Place:
    """One directory to write: what of the artifact goes there, and the binding that it is, if any."""

    root: Path
    prefix: str
    single: bool = False
    binding: Binding | None = None
    rivals: tuple[Binding, ...] = ()  # other bindings of the artifact: each entry goes to one place
    workspace: Path = Path()

    def takes(self, path: str) -> bool:
        """Whether the entry at *path* belongs here: to the binding whose prefix says most of it.

        Of several that say as much, to the one that has the file, else to the first.
        """
        if self.binding is None:
            return True
        best, here = self.binding, self._has(self.binding, path)
        for other in self.rivals:
            if other.prefix and path != other.prefix and not path.startswith(f"{other.prefix}/"):
                continue
            if len(other.prefix) != len(best.prefix):
                best = max(best, other, key=lambda b: len(b.prefix))
            elif not here and (self._has(other, path) or other.path < best.path):
                best = other
        return best == self.binding

    def _has(self, binding: Binding, path: str) -> bool:
        inside = path[len(binding.prefix) :].lstrip("/")
        return os.path.lexists(self.workspace / binding.path / inside if inside else self.workspace / binding.path)

    def inside(self, path: str) -> str:
        """The path below ``root`` of an entry."""
        if self.single:
            return self.binding.path.rpartition("/")[2] if self.binding else path.rpartition("/")[2]
        return path[len(self.prefix) + 1 :] if self.prefix else path


@dataclass(frozen=True)
class Base:
    """What the files in a place were taken from: manifest *root* of artifact *key*."""

    key: tuple[str, str]
    root: Digest


@dataclass
class Plan:
    """What is to be done in one place. Paths are below its root.

    References stand in it as the files that they are; of which that cannot be told yet is in *unknown*.
    """

    place: Place
    target: dict[str, Entry]
    references: dict[str, Entry] = field(default_factory=dict)
    unknown: dict[str, Entry] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)  # references that are left out
    write: list[tuple[str, Entry, bool]] = field(default_factory=list)  # path, entry, whether a file is replaced
    chmod: list[tuple[str, Entry]] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)
    clear: list[str] = field(default_factory=list)  # directories without files that stand where a file belongs
    right: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    changes: list[PathChange] = field(default_factory=list)


def chosen(session: Session, root: Digest, place: Place, options: CheckoutOptions) -> dict[str, Entry]:
    """The entries that *options* ask for."""
    if options.exactly is not None:
        entry = find(root, options.exactly, session.node) if root != EMPTY else None
        return {} if entry is None else {place.inside(entry.path): entry}
    if options.begins and root != EMPTY:
        above = options.begins.rpartition("/")[0]
        found = walk(root, session.node, above)
        return {place.inside(e.path): e for e in found if e.path.startswith(options.begins)}
    return entries_in(session, root, place, options.prefixes)


def entries_in(session: Session, root: Digest, place: Place, prefixes: Sequence[str]) -> dict[str, Entry]:
    """The entries that belong in *place*, by path below it."""
    out: dict[str, Entry] = {}
    for part in _parts(place.prefix, [prefix.strip("/") for prefix in prefixes]):
        for entry in walk(root, session.node, part) if root != EMPTY else ():
            if place.rivals and not place.takes(entry.path):
                continue
            if place.single != (entry.path == place.prefix and bool(place.prefix)):
                continue
            out[place.inside(entry.path)] = entry
    return dict(sorted(out.items(), key=lambda item: item[0].encode())) if len(prefixes) > 1 else out


def _parts(base: str, wanted: Sequence[str]) -> list[str]:
    """Where to look for what is below *base* and at or below any of *wanted*; "" is everything."""
    if not wanted:
        return [base]
    inner = [one for one in wanted if not base or one == base or one.startswith(base + "/")]
    around = [base for one in wanted if not one or base.startswith(one + "/")]
    return list(dict.fromkeys(around or inner))


def plan_place(
    session: Session, place: Place, base: Base, digest: Digest, options: CheckoutOptions, brought: Brought
) -> Plan:
    """Hold what stands in *place* against version *digest*, of whose references *brought* is known by now."""
    entries = chosen(session, digest, place, options)
    plan = Plan(place, entries)
    references = {path: entry for path, entry in entries.items() if entry.kind == "r"}
    if references:
        told = with_files(session, references, brought, surely=True)
        plan.unknown = {path: e for path, e in told.items() if e.kind == "r" and not brought.lacks(e)}
        plan.references = {path: e for path, e in references.items() if not brought.lacks(e)}
        plan.missing = [path for path in references if path not in plan.references]
        plan.target = {path: told.get(path, e) for path, e in entries.items()}
        plan.target = {path: e for path, e in plan.target.items() if e.kind != "r"}
    before = with_files(session, chosen(session, base.root, place, options) if base.root != digest else entries)
    if not place.root.is_dir():
        plan.write = [(path, entry, False) for path, entry in plan.target.items()]
        if options.dry_run or options.detail:
            new = sorted([*plan.target.items(), *plan.unknown.items()]) if plan.unknown else plan.target.items()
            plan.changes = [path_change(Change(path, None, entry)) for path, entry in new]
        return plan
    known = known_files(session, base.key, place) if place.binding is not None else {}
    presence = Presence(place.root, {*plan.target, *before}, known, session.avc.store)
    for path, entry in plan.target.items():
        _plan_entry(plan, presence, path, entry, before.get(path), options)
    if options.dry_run or options.detail:
        plan.changes += [path_change(Change(path, before.get(path), entry)) for path, entry in plan.unknown.items()]
    for path, entry in before.items():
        if path not in entries and presence.exists(path):
            if presence.was_linked(path, entry) or presence.holds(path, entry):
                plan.remove.append(path)
                plan.changes.append(path_change(Change(path, entry, None)))
            else:
                plan.kept.append(path)
    _plan_directories(plan, presence)
    return plan


def known_files(session: Session, key: tuple[str, str], place: Place) -> dict[str, tuple[Sequence[int], Digest]]:
    """Stat and digest of the files that the stat cache knows, by path below the place."""
    assert place.binding is not None
    cache = StatCache(session.avc.connect)
    if place.single:
        row = cache.row(file_key(place.binding.path))
        rows = {"": row} if row else {}
    else:
        start = "" if place.binding.path == "." else place.binding.path
        rows = {path[len(start) + 1 if start else 0 :]: row for path, row in cache.load(start).items()}
    known: dict[str, tuple[Sequence[int], Digest]] = {}
    for directory, row in rows.items():
        stats = array("q")
        stats.frombytes(row.stats)
        for position, name in enumerate(row.names):
            digest = row.digest(position)
            if digest is not None:
                path = f"{directory}/{name}" if directory else name
                known[path] = stats[position * WIDTH : (position + 1) * WIDTH], digest
    return known


def _plan_entry(
    plan: Plan, presence: Presence, path: str, entry: Entry, before: Entry | None, options: CheckoutOptions
) -> None:
    if not presence.exists(path):
        plan.write.append((path, entry, False))
        plan.changes.append(path_change(Change(path, None, entry)))
        return
    if presence.is_directory(path):
        plan.write.append((path, entry, False))
        plan.changes.append(path_change(Change(path, None, entry)))
        return  # whether it will be empty by then is looked at when all removals are known
    if presence.holds(path, entry):
        plan.right.append(path)
        return
    plan.changes.append(path_change(Change(path, before, entry)))
    if presence.holds_bytes(path, entry):
        plan.chmod.append((path, entry))
        return
    plan.write.append((path, entry, True))
    ours = before is not None and (presence.was_linked(path, before) or presence.holds(path, before))
    if not options.force and not ours:
        plan.conflicts.append(path)


def _plan_directories(plan: Plan, presence: Presence) -> None:
    """A file where a directory must be, and a directory where a file must be, can go only if all in it may."""
    going = set(plan.remove)
    for path in plan.target:
        parent = path.rpartition("/")[0]
        while parent and presence.above_is_file(parent):
            if presence.is_file(parent) and parent not in going:
                plan.conflicts.append(parent)
            parent = parent.rpartition("/")[0]
        if presence.is_directory(path):
            if presence.empties(path, going):
                plan.clear.append(path)
            else:
                plan.conflicts.append(path + "/")
