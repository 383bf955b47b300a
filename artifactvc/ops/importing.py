"""``add URI --import``: the bytes that an address leads to come into the store, as files of a version.

The entries are those of any files; where they came from is remembered beside them
(``ops/imported.py``). What comes is brought as references are followed (``ops/follow.py``):
streamed to disk, in parallel, resumed, checked. What was imported before, and whose identity,
size and version the listing tells again, is not asked for: importing again costs one listing.

Order (protocol L1, L2), under the store's lock: the bytes, what says where they came from, the
manifest; then the draft. A kill before that leaves the draft as it was, and objects that the next
import finds again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

from artifactvc.core import names
from artifactvc.core.imported import Imported
from artifactvc.core.manifest import build, find_many, summary
from artifactvc.core.model import EMPTY, Change, Digest, Entry
from artifactvc.core.records import Row
from artifactvc.core.references import MAX_OBJECTS, Target, parse_address, target_of
from artifactvc.core.results import Committed, Staged
from artifactvc.errors import UsageError
from artifactvc.ops import adopt, resolve
from artifactvc.ops.commit import CommitOptions
from artifactvc.ops.follow import bring
from artifactvc.ops.imported import origins, write_imported
from artifactvc.ops.prepare import Prepared
from artifactvc.ops.put import Content, RunFields, put_content
from artifactvc.ops.session import Session
from artifactvc.ops.stage import apply_changes, artifact_key, begin_draft, counted
from artifactvc.storage.drafts import Draft, workspace_draft_id
from artifactvc.storage.followed import Held, key_of
from artifactvc.storage.remote import held_by_remotes
from artifactvc.storage.writer import StoreWriter
from artifactvc.util.text import escape

#: By address, kind of identity, identity and version: what the bytes are.
Memory = Mapping[tuple[str | None, ...], Held]

#: Files whose bytes are brought at once, before the next are looked at: memory stays bounded.
_LOT = 5000


class Came(NamedTuple):
    """What an import made of one reference: the file, and what is remembered of where it came from."""

    entry: Entry
    line: Imported


def bring_in(session: Session, wanted: Iterable[Entry], remembered: Memory) -> Iterator[Came]:
    """Have the bytes of the references *wanted* in the store, and give the files; the caller holds the store's lock.

    What is *remembered* (``memory``) is not fetched while its object is here or on a remote.
    Raises what following references does.
    """
    pending = iter(wanted)
    while lot := list(islice(pending, _LOT)):
        held = _at_hand(session, lot, remembered)
        lacking = [entry for entry in lot if key_of(entry) not in held]
        if lacking:
            held |= bring(session, lacking, hint="run the same command again").held
        for entry in lot:
            yield _came(entry, held[key_of(entry)])


def _came(entry: Entry, held: Held) -> Came:
    target = target_of(entry)
    line = Imported(entry.path, held.digest, target.uri, target.identity_kind, target.identity, target.version_id)
    return Came(Entry(entry.path, "f", held.size, held.digest), line)


def _at_hand(session: Session, lot: list[Entry], remembered: Memory) -> dict[str, Held]:
    """By ``key_of``: what was imported before, is still what its source has, and can be had without asking that."""
    found: dict[str, Held] = {}
    for entry in lot:
        held = remembered.get(_identity(target_of(entry))) if entry.identity is not None else None
        if held is not None and entry.size in (None, held.size):
            found[key_of(entry)] = held
    digests = {held.digest for held in found.values()}
    there = session.avc.store.has(digests)
    there |= set(held_by_remotes(session.avc, list(digests - there)))
    return {key: held for key, held in found.items() if held.digest in there}


def memory(session: Session, sources: Digest | None, root: Digest) -> Memory:
    """What the files of manifest *root* were imported from, by address and identity."""
    return {_identity(line): Held(line.digest, entry.size or 0) for entry, line in origins(session, sources, root)}


def _identity(target: Target | Imported) -> tuple[str | None, ...]:
    return target.uri, target.identity_kind, target.identity, target.version_id


# ---- what an address holds ---------------------------------------------------------------------


class Listed(NamedTuple):
    """What an address leads to: reference entries at their places in the artifact, ascending by path."""

    uri: str
    entries: list[Entry]
    directory: bool  # all below the address, not one object
    prefix: str


def listed(
    session: Session, uri: str, prefix: str, most: int, name: str | None = None, *, dry_run: bool = False
) -> Listed:
    """One object, or all below a directory, as entries below *prefix*; a single object may be called *name*.

    Raises what ``adopt.Listed`` does. The place counts as allowed here from then on: who
    imports from it has named it; not with *dry_run*, which leaves nothing behind.
    """
    if parse_address(uri).kind == "avc":
        raise UsageError(
            f"'{escape(uri)}' is of a version: its bytes are in the store, and nothing has to be imported",
            hint="leave --import out",
        )
    with adopt.Listed(session, adopt.Wish(uri, name, prefix, max_objects=most)) as found:
        if not dry_run:
            adopt.allow(session, found)
        place = prefix if found.single else names.below(prefix, name or "")
        return Listed(found.address.uri, list(found), not found.single, place)


def vanished(session: Session, sources: Digest | None, root: Digest, found: Listed) -> Iterator[str]:
    """The files that were imported from below the same address, to the same places, and that it has no more."""
    if not found.directory:
        return
    there, base = {entry.path for entry in found.entries}, found.uri.rstrip("/") + "/"
    for entry, line in origins(session, sources, root, found.prefix):
        below = line.uri.removeprefix(base)
        if below != line.uri and entry.path == names.below(found.prefix, below) and entry.path not in there:
            yield entry.path


# ---- into a draft of the workspace -----------------------------------------------------------------


@dataclass(frozen=True)
class ImportOptions:
    """Where an import goes, and how much it may bring."""

    to: str
    type: str | None = None
    prefix: str | None = None
    max_objects: int | None = None
    dry_run: bool = False
    detail: bool = False  # report every changed path

    @property
    def most(self) -> int:
        """How many objects one address may hold."""
        return MAX_OBJECTS if self.max_objects is None else self.max_objects


def add_import(session: Session, uri: str, options: ImportOptions) -> Staged:
    """Stage what *uri* leads to as files of artifact ``options.to``, whose bytes are in the store then.

    What was imported from there before and is there no more is taken out.
    """
    if options.type is not None:
        names.check_type(options.type)
    prefix = names.check_prefix(options.prefix) if options.prefix is not None else ""
    key = artifact_key(session, options.to)
    draft_id, drafts = workspace_draft_id(*key), session.avc.drafts
    found = listed(session, uri, prefix, options.most, dry_run=options.dry_run)
    with session.avc.writing():
        draft = begin_draft(session, key, options.type)
        known = memory(session, draft.sources, draft.root)
        if options.dry_run:
            return _plan(session, draft, found, known)
        came = list(bring_in(session, found.entries, known))
        with drafts.locked(draft_id):
            draft = begin_draft(session, key, options.type)
            gone = list(vanished(session, draft.sources, draft.root, found))
            with session.avc.writer() as writer:
                fresh = {line.path: line for _, line in came} | dict.fromkeys(gone)
                sources = write_imported(session, writer, draft.sources, draft.root, fresh)
                changes = {entry.path: entry for entry, _ in came} | dict.fromkeys(gone)
                root, differing = apply_changes(session, draft.root, changes, writer)
            if (root.digest, sources) != (draft.root, draft.sources) or drafts.get(draft_id) is not None:
                drafts.save(replace(draft, root=root.digest, sources=sources))
    _warn(session, draft, [entry for entry, _ in came])
    read = [entry for entry, line in came if _identity(line) not in known]
    done = counted(draft, root, differing, detail=options.detail)
    return replace(done, files_read=len(read), bytes_read=sum(entry.size or 0 for entry in read))


def _warn(session: Session, draft: Draft, imported: list[Entry]) -> None:
    """Say where a bound directory is to have the files: an ``add`` of it takes out what it does not have."""
    bound = session.avc.bindings.artifacts.get(draft.key)
    for binding in bound.paths if bound is not None else ():
        path = session.avc.workspace / binding.path
        inside = [e for e in imported if not binding.prefix or e.path.startswith(binding.prefix + "/")]
        if path.is_dir() and any(not (path / _below(e.path, binding.prefix)).exists() for e in inside):
            session.say(
                f"'{escape(binding.path)}' is bound to '{draft.name}' and does not have these files: an 'avc add'"
                f" takes them out again; commit, then run 'avc checkout {draft.name}', or import with --as"
            )


def _below(path: str, prefix: str) -> str:
    return path[len(prefix) + 1 :] if prefix else path


def _plan(session: Session, draft: Draft, found: Listed, known: Memory) -> Staged:
    """What ``add_import`` would do, as far as it can be told without the bytes."""
    gone = list(vanished(session, draft.sources, draft.root, found))
    before = find_many(draft.root, [*(entry.path for entry in found.entries), *gone], session.node)
    held = _at_hand(session, found.entries, known)
    different = [Change(path, before[path], None) for path in gone]
    for entry in found.entries:
        after = _came(entry, held[key_of(entry)]).entry if key_of(entry) in held else entry
        if before.get(entry.path) != after:
            different.append(Change(entry.path, before.get(entry.path), after))
    root = summary(draft.root, session.node)
    more = sum(c.before is None for c in different) - len(gone)
    return counted(draft, root._replace(count=root.count + more), different, detail=True, dry_run=True)


def put_import(session: Session, uri: str, options: ImportOptions, commit: CommitOptions, run: RunFields) -> Committed:
    """Make what *uri* leads to the next version of artifact ``options.to``, in one step and without a workspace.

    What its newest version was imported from need not be fetched again.
    """
    prefix = names.check_prefix(options.prefix) if options.prefix is not None else ""
    project, name = artifact_key(session, options.to)

    def fill(writer: StoreWriter) -> Content:
        newest = resolve.newest_of(session, f"{project}/{name}")
        known = memory(session, newest["sources"], newest["digest"]) if newest else {}
        came = list(bring_in(session, found.entries, known))
        sources = newest["sources"] if newest else None
        if came != _in(session, newest):
            sources = write_imported(session, writer, None, EMPTY, {line.path: line for _, line in came})
        return Content(build((entry for entry, _ in came), writer.put_node).digest, sources)

    found = listed(session, uri, prefix, options.most)
    return put_content(session, options.to, options.type, commit, run, fill)


def _in(session: Session, version: Row | None) -> list[Came]:
    """What is remembered of a version's files."""
    if version is None:
        return []
    return [Came(entry, line) for entry, line in origins(session, version["sources"], version["digest"])]


# ---- into a draft of a program --------------------------------------------------------------------


def import_into(session: Session, prepared: Prepared, uri: str, name: str | None, most: int) -> list[Entry]:
    """Put what *uri* leads to into *prepared*: an object as *name*, else all of a directory below that.

    Raises PathConflict for a path at which other content stands that did not come from the same address.
    """
    found = listed(session, uri, "", most, name)
    with session.avc.writing():
        draft = prepared.flush(session)
        lines = {entry.path: (entry, line) for entry, line in origins(session, draft.sources, draft.root)}
        known = {_identity(line): Held(line.digest, entry.size or 0) for entry, line in lines.values()}
        came = list(bring_in(session, found.entries, known))
        for entry, line in came:
            again = entry.path in lines and lines[entry.path][1].uri == line.uri
            prepared.set(session, entry, overwrite=again)
        prepared.remember(line for _, line in came)
        prepared.flush(session)
    return [entry for entry, _ in came]
