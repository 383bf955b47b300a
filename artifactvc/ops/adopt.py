"""What a URI brings into a draft or a version: references to objects, never their bytes (design, section 5).

1. The place is asked, once, and what it lists goes to a temporary file: nothing is recorded
   before all of it is known, counted and found to have names that an artifact can have. No
   lock is held while a network is waited for.
2. Under the store's lock the entries are joined with what stands in the draft, a node at a
   time, and stored; then the draft is replaced (protocol L1, L2, L5).

Memory is that of one node and 20,000 entries of the listing, however many objects there are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import IO, Final

from artifactvc.core import names
from artifactvc.core.manifest import build_in_order, check_path, in_order, side_by_side, walk
from artifactvc.core.model import EMPTY, Change, Digest, Entry
from artifactvc.core.nodes import check_target, encode_line, rows, to_entry
from artifactvc.core.references import MAX_OBJECTS, Address, Target, parse_address
from artifactvc.core.results import Committed, Staged
from artifactvc.errors import (
    BadName,
    BadValue,
    HostilePath,
    PathConflict,
    ReferenceMissing,
    UnknownPath,
    UnsupportedFile,
    UsageError,
)
from artifactvc.ops import consent, resolve, stage
from artifactvc.ops.commit import CommitOptions
from artifactvc.ops.prepare import Prepared
from artifactvc.ops.put import Content, RunFields, put_content
from artifactvc.ops.session import Session
from artifactvc.ops.trusted import trusted
from artifactvc.storage.drafts import Draft, workspace_draft_id
from artifactvc.storage.writer import StoreWriter
from artifactvc.util.text import escape

_HELD: Final = 20_000  # entries of a listing in memory; the others wait in a file
_COUNTED: Final = 1_000_000  # objects, beyond which it only matters that there are more


@dataclass(frozen=True)
class Wish:
    """What is to be referred to, and where in the artifact it goes.

    *name* is the name of a single object, and the directory of many; *prefix* a directory for either.
    """

    uri: str
    name: str | None = None
    prefix: str = ""
    checksum: bool = True
    max_objects: int | None = None  # None, and 0 as in W&B: MAX_OBJECTS

    @property
    def place(self) -> str:
        """The directory that all below a prefix goes to."""
        return names.below(self.prefix, self.name or "")


class Listed:
    """The entries that a wish brings, in order, kept on disk. A context manager."""

    def __init__(self, session: Session, wish: Wish) -> None:
        self.wish, self.address = wish, parse_address(wish.uri)
        self.count, self._limit = 0, wish.max_objects or MAX_OBJECTS
        self.single = False  # one object, and not a directory
        self._held: list[Entry] = []
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=session.avc.tmp)  # noqa: SIM115  see __exit__
        try:
            for entry in in_order(self._entries(session)):
                _check(entry, self.address)
                self.count += 1
                if self.count <= min(_HELD, self._limit):
                    self._held.append(entry)
                elif self.count <= self._limit:
                    self._file.write(encode_line(entry))
                elif self.count > _COUNTED:
                    break
            self._bound()
        except BaseException:
            self._file.close()
            raise

    def _entries(self, session: Session) -> Iterator[Entry]:
        """The entries in order: of the object at the address, else of all below it."""
        wish, address = self.wish, self.address
        if address.kind == "avc":
            yield from _of_version(session, wish)
            return
        if not wish.checksum:
            self.single = True
            last = address.path.rstrip("/").rpartition("/")[2]
            yield Target(address.uri, last, None, version_id=address.version_id).entry(_single(wish, address, last))
            return
        source = consent.open_allowed(session, address, adopting=True)
        whole = address.path in ("", "/") or address.uri.endswith("/")
        found = None if whole and address.kind != "http" else source.look(address)
        if found is not None:
            self.single = True
            yield found.entry(_single(wish, address, found.name))
            return
        if address.kind == "http" and not whole:  # nothing lists what a web server has
            raise ReferenceMissing(f"there is nothing at '{escape(address.uri)}'", hint="check the address")
        if address.version_id is not None:
            raise ReferenceMissing(f"'{escape(wish.uri)}' is not there", hint="check the address, and its version")
        empty = True
        for target in source.list(address, self._limit):
            empty = False
            yield target.entry(names.below(wish.place, target.name))
        if empty:
            raise ReferenceMissing(f"there is nothing at '{escape(address.uri)}'", hint="check the address")

    def _bound(self) -> None:
        if self.count > self._limit:
            count = f"{self.count:,}" if self.count <= _COUNTED else f"more than {_COUNTED:,}"
            raise BadValue(
                f"'{escape(self.address.uri)}' holds {count} objects, and at most {self._limit:,} are taken",
                hint="refer to less, or allow more: --max-objects N (in Python max_objects=N)",
            )

    def __iter__(self) -> Iterator[Entry]:
        yield from self._held
        self._file.seek(0)
        for line in self._file:
            yield to_entry(rows(line)[0])

    def __enter__(self) -> Listed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _of_version(session: Session, wish: Wish) -> Iterator[Entry]:
    """Entries of another version: what they hold is shared."""
    try:
        ref, path = names.parse_file_uri(wish.uri.rstrip("/"))
    except BadName:
        ref, path = names.parse_ref(wish.uri.removeprefix("avc://").rstrip("/")), ""
    found = resolve.version_of(session, ref, wish.uri.removeprefix("avc://"))
    root, empty = trusted(session, found.version["digest"]), True
    for entry in walk(root, session.node, path):
        empty = False
        if entry.path == path:
            yield entry.moved(_single(wish, parse_address(wish.uri), path.rpartition("/")[2]))
        else:
            yield entry.moved(names.below(wish.place, entry.path[len(path) :].lstrip("/")))
    if empty:
        raise UnknownPath(f"there is nothing at '{escape(wish.uri)}'", hint="'avc ls' lists what a version has")


def _single(wish: Wish, address: Address, last: str) -> str:
    name = names.below(wish.prefix, wish.name or last)
    if not name:
        raise BadValue(f"'{escape(address.uri)}' has no last component to name it after", hint="give it a name")
    return name


def _check(entry: Entry, address: Address) -> None:
    try:
        check_path(entry.path)
        if "?" in (entry.uri or ""):  # a key that reads like an address with a signature could never be followed
            parse_address(str(entry.uri))
        if entry.target is not None:  # a link of another version may lead out of the artifact from where it goes
            check_target(entry.path, entry.target)
    except (HostilePath, BadValue, UnicodeEncodeError) as error:
        raise UnsupportedFile(
            f"'{escape(entry.uri or address.uri)}' cannot be an entry: {error}",
            hint="refer to the others one by one, or to this one alone under another name",
        ) from error


def known(entry: Entry, before: Entry | None) -> Entry:
    """*before* if *entry* is the same: adopting unchanged data again changes nothing (design, section 5)."""
    if before is None or entry.kind != "r" or entry.identity is None:
        return entry
    same = (before.uri, before.identity_kind, before.identity, before.size)
    return before if same == (entry.uri, entry.identity_kind, entry.identity, entry.size) else entry


def newest(session: Session, name: str) -> Digest:
    """The content of the newest version of an artifact, or the empty manifest."""
    version = resolve.newest_of(session, name)
    return trusted(session, version["digest"]) if version else EMPTY


def _beside(session: Session, before: Digest, listed: Listed) -> Iterator[tuple[Entry | None, Entry | None]]:
    """What *before* has and what was listed, path by path."""
    if before == EMPTY:
        return ((None, entry) for entry in listed)
    return side_by_side(walk(before, session.node), listed)


def over(session: Session, before: Digest, listed: Listed) -> Iterator[Entry]:
    """The entries of *listed* alone, in order; what *before* has the same stays as it was there."""
    for old, new in _beside(session, before, listed):
        if new is not None:
            yield known(new, old)


def put(session: Session, wish: Wish, name: str, kind: str | None, options: CommitOptions, run: RunFields) -> Committed:
    """Make references to what *wish* names the next version of artifact *name*."""
    entity, project, plain = names.parse_artifact(name)
    project = resolve.project_of(session, entity, project)
    with Listed(session, replace(wish, prefix=names.check_prefix(wish.prefix))) as listed:
        allow(session, listed)
        before = newest(session, f"{project}/{plain}")

        def fill(writer: StoreWriter) -> Content:
            return Content(build_in_order(over(session, before, listed), writer.put_node).digest)

        return put_content(session, name, kind, options, run, fill)


def into(session: Session, prepared: Prepared, wish: Wish) -> list[Entry]:
    """Let what an address leads to stand in *prepared*, all or nothing; the entries. PathConflict."""
    with Listed(session, wish) as listed:
        found = list(over(session, newest(session, f"{session.project}/{prepared.name}"), listed))
        allow(session, listed)
    prepared.take_all(session, found)
    return found


# ---- into the workspace's draft ----------------------------------------------------------------------


def add(session: Session, wish: Wish, options: stage.AddOptions) -> Staged:
    """Stage what *wish* brings into the draft of ``options.to``; what the place no longer has goes from there."""
    address = parse_address(wish.uri)
    if options.to is None:
        raise UsageError(
            f"'{escape(address.uri[:200])}' is an address, and no artifact is named", hint="say where: --to NAME"
        )
    if options.move or options.follow:
        raise UsageError("--move and --follow are for files of the workspace", hint="leave them out")
    if options.type is not None:
        names.check_type(options.type)
    prefix = names.check_prefix(options.prefix) if options.prefix is not None else ""
    key = stage.artifact_key(session, options.to)
    with Listed(session, replace(wish, prefix=prefix)) as listed:
        if not options.dry_run:
            allow(session, listed)
        return _stage(session, key, listed, options)


def allow(session: Session, listed: Listed) -> None:
    """Note that the user of this repository named the place; to be called before a draft has the entries."""
    if listed.address.kind != "avc":
        consent.note_adopted(session, listed.wish.uri)


def _stage(session: Session, key: stage.Key, listed: Listed, options: stage.AddOptions) -> Staged:
    avc, draft_id = session.avc, workspace_draft_id(*key)
    with avc.writing(), avc.drafts.locked(draft_id):
        draft = stage.begin_draft(session, key, options.type)
        joining = _Joining(session, draft.root, listed, detail=options.detail or options.dry_run)
        if options.dry_run:
            count = sum(1 for _ in joining.entries())
            return joining.told(draft, count, dry_run=True)
        with avc.writer() as writer:
            root = build_in_order(joining.entries(), lambda data: writer.put_node(data) if data else EMPTY)
        if root.digest != draft.root or avc.drafts.get(draft_id) is not None:
            avc.drafts.save(replace(draft, root=root.digest))
    return joining.told(draft, root.count, dry_run=False)


class _Joining:
    """A draft's entries with those of a listing put over them, and what that changes."""

    def __init__(self, session: Session, before: Digest, listed: Listed, *, detail: bool) -> None:
        self._session, self._before, self._listed, self._detail = session, before, listed, detail
        self._below = listed.address.uri.rstrip("/") + "/"
        self._place = listed.wish.place
        self._count = {"added": 0, "modified": 0, "removed": 0}
        self._changes: list[Change] = []

    def entries(self) -> Iterator[Entry]:
        """The entries of the new manifest, in order."""
        for old, new in _beside(self._session, self._before, self._listed):
            after = old if new is None else known(new, old)
            if new is None and old is not None and self._is_gone(old):
                after = None
            if old is not None and new is not None and new.kind == "r" and old.kind != "r":
                raise PathConflict(
                    f"'{old.path}' is a stored file, and would be a reference to '{escape(str(new.uri))}'",
                    hint="take it out first with 'avc rm --from', or put the references below another --as PREFIX",
                )
            if old is not None and new is not None and not self._is_same_place(old, new):
                raise PathConflict(
                    f"'{old.path}' refers to '{escape(str(old.uri))}', and would refer to '{escape(str(new.uri))}'",
                    hint="take it out first with 'avc rm --from', or put these below another --as PREFIX",
                )
            if after != old:
                self._note(Change((after or old or new).path, old, after))  # type: ignore[union-attr]
            if after is not None:
                yield after

    def _is_same_place(self, old: Entry, new: Entry) -> bool:
        """Whether *new* is what *old* has become, and not an object of another address that happens to be so called."""
        return old.kind != "r" or new.kind != "r" or old.uri == new.uri or str(old.uri).startswith(self._below)

    def _is_gone(self, old: Entry) -> bool:
        """Whether *old* came from this place, and stands where it would go now: the place has it no more.

        What was taken from there below another prefix stays: this does not stand for it.
        """
        if self._listed.single or old.kind != "r" or not str(old.uri).startswith(self._below):
            return False
        return old.path == names.below(self._place, str(old.uri)[len(self._below) :])

    def _note(self, change: Change) -> None:
        self._count[change.status] += 1
        if self._detail:
            self._changes.append(change)

    def told(self, draft: Draft, entries: int, *, dry_run: bool) -> Staged:
        """What people are told."""
        return stage.told(draft, entries, self._count, self._changes, dry_run=dry_run)
