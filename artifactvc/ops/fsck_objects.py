"""A remote's index files, manifests and stored files: is a usable copy there of all that is needed?

Without *full* each stored file is looked for and its size compared, by one listing; with it
every byte of the files that are needed is read, in parts and several files at once, and
hashed. A pack is read whole, with its table: whoever needs most of it fetches it whole. A
remote that cannot be listed is asked for the last byte of each file instead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from artifactvc.core.entries import MAX_INDEX_BYTES, entry_digest
from artifactvc.core.model import EMPTY, Digest
from artifactvc.core.nodes import MAX_NODE, children, decode_inner, decode_leaf, is_inner
from artifactvc.core.parts import OPEN
from artifactvc.errors import AvcError, BadPack, Corrupt, MissingObject, RemoteMissing, StorageError
from artifactvc.ops.complete import batches
from artifactvc.ops.findings import Check, read_files, replace_file
from artifactvc.ops.session import storing
from artifactvc.storage.incoming import check_object, runs_of
from artifactvc.storage.kept import kept_index
from artifactvc.storage.packs import MAGIC, RAW, PackRow, decode_object, pack_end
from artifactvc.storage.parts import Parts
from artifactvc.storage.remote_index import Place, decode_places
from artifactvc.storage.remote_places import UNREAD
from artifactvc.storage.scratch import DELETED, LIVE, PART, UsedFile
from artifactvc.storage.transport import Transport
from artifactvc.util.files import temporary
from artifactvc.util.hashing import StreamDigest, digest_bytes
from artifactvc.util.text import parse_time

if TYPE_CHECKING:
    from artifactvc.storage.writer import StoreWriter

_WORKERS: Final = 6
_WINDOW: Final = 8 << 20
_INDEXES: Final = 64
Fault = tuple[Digest | None, str]  # a damaged object, or None for the file itself


# ---- index files ------------------------------------------------------------------------------------


def check_indexes(check: Check) -> None:
    """Read every index file that the log names and that is not condemned; a bad one is mended from the copy here."""
    wanted = check.scratch.connection.execute(UNREAD).fetchall()
    for start in range(0, len(wanted), _INDEXES):
        part = wanted[start : start + _INDEXES]
        limit = min(max(size for _, _, size in part), MAX_INDEX_BYTES)
        datas = read_files(check.transport, [f"index/{name}" for name, _, _ in part], limit)
        for (name, digest, _), data in zip(part, datas, strict=True):
            if data is not None and entry_digest(data) == digest:
                _take(check, name, data)
            else:
                _bad_index(check, name, digest, "missing" if data is None else "damaged")
    check.scratch.places.read_stripped()


def _take(check: Check, name: str, data: bytes) -> None:
    try:
        check.scratch.add_places(name, list(decode_places(data, f"index file '{name}' of '{check.kept.name}'")))
    except Corrupt as error:  # written so: its digest is right
        check.find_error(error, f"index file '{name}'")


def _bad_index(check: Check, name: str, digest: Digest, how: str) -> None:
    subject = f"index file '{name}'"
    finding = check.find("BadIndex", subject, f"{subject} of '{check.kept.name}' is {how}")
    held = kept_index(check.kept.directory, name)
    if held is None or entry_digest(held) != digest:
        finding.message += ", and no copy is kept here: where its objects are is not known"
        check.lost_indexes.append((name, digest, finding))
        return
    _take(check, name, held)
    if check.repair:
        finding.repaired = replace_file(check.transport, f"index/{name}", held)


# ---- what is needed -----------------------------------------------------------------------------------


def note_needed(check: Check, grace: timedelta) -> int:
    """Note all objects that live versions, names, and versions deleted within *grace* need; how many are live."""
    live, deleted = roots(check, grace)
    check.scratch.need(_said(check), LIVE)
    Walk(check, LIVE).down(live)
    Walk(check, DELETED).down(deleted)
    return len(live)


def roots(check: Check, grace: timedelta) -> tuple[list[Digest], list[Digest]]:
    """Manifests of live versions, and of those deleted within *grace*."""
    oldest = parse_time(check.session.clock()) - grace
    rows = check.scratch.connection.execute("SELECT digest, live, deleted_at FROM version ORDER BY artifact, number")
    live, deleted = [], []
    for digest, is_live, deleted_at in rows.fetchall():
        if is_live:
            live.append(digest)
        elif deleted_at is None or parse_time(deleted_at) > oldest:
            deleted.append(digest)
    return live, deleted


def _said(check: Check) -> Iterator[Digest]:
    """Descriptions, metadata, run details and metrics that names point at."""
    for sql in (
        "SELECT description FROM artifact WHERE description IS NOT NULL AND deleted = 0",
        "SELECT description FROM version WHERE description IS NOT NULL AND live = 1",
        "SELECT metadata FROM version WHERE metadata IS NOT NULL AND live = 1",
        "SELECT details FROM run WHERE details IS NOT NULL",
        "SELECT metrics FROM run WHERE metrics IS NOT NULL",
    ):
        yield from (row[0] for row in check.scratch.connection.execute(sql).fetchall())


class Walk:
    """Goes through many manifests at once, a level at a time; each node is read once.

    Nodes that are not here are brought from the remote, as every other command does. One that
    cannot be had is noted as needed, with nothing below it.
    """

    def __init__(self, check: Check, level: int) -> None:
        self._check, self._level = check, level
        self._seen: set[Digest] = {EMPTY}

    def down(self, tops: Iterable[Digest]) -> None:
        """Note everything that the manifests *tops* need."""
        level = list(dict.fromkeys(tops))
        while level:
            below: list[Digest] = []
            for batch in batches(digest for digest in dict.fromkeys(level) if digest not in self._seen):
                self._seen.update(batch)
                self._check.scratch.need(batch, self._level)
                present = self._check.session.avc.store.has(batch)
                absent = [digest for digest in batch if digest not in present]
                if absent:
                    bring(self._check, absent, nodes=True)
                for digest in batch:
                    below += self._node(digest)
            level = below

    def _node(self, digest: Digest) -> list[Digest]:
        check = self._check
        try:
            data = check.session.avc.store.read(digest)
            if is_inner(data):
                return [child.digest for child in decode_inner(data)]
            files = {str(entry.digest) for entry in decode_leaf(data) if entry.is_file}
        except MissingObject:
            return []  # the remote lacks it too, and that is told
        except AvcError as error:
            check.find_error(error, f"manifest node '{digest:.12}'")
            return []
        check.scratch.need(files, self._level)
        return []


def bring(check: Check, digests: Iterable[Digest], *, nodes: bool = False) -> None:
    """Store here what can be had of *digests* from any copy on the remote; copies that are bad are noted."""
    wanted = list(digests)
    copies = check.scratch.ask.copies(wanted)
    with storing(check.session) as writer:
        left = [digest for digest in wanted if copies.get(digest)]
        while left:
            chosen = [copies[digest].pop(0) for digest in left]
            got = _read_copies(check, chosen, writer, nodes=nodes)
            left = [digest for digest in left if digest not in got and copies[digest]]


def _read_copies(check: Check, chosen: list[tuple[int, Place]], writer: StoreWriter, *, nodes: bool) -> set[Digest]:
    got: set[Digest] = set()
    small: list[tuple[int, Place]] = []
    for serial, place in chosen:
        if place.codec == RAW and place.offset == 0:
            staged = temporary(check.session.avc.staging, "down")
            try:
                check.transport.download(f"packs/{place.file}", staged, place.length)
                check_object(staged, place.digest, f"'{place.file}' of remote '{check.kept.name}'")
                writer.take_object(staged, place.digest)
                got.add(place.digest)
            except (Corrupt, RemoteMissing):
                check.scratch.spoil([(place.digest, serial, _damaged(place.digest))])
            finally:
                staged.unlink(missing_ok=True)
        elif not nodes or place.length <= MAX_NODE:
            small.append((serial, place))
    for serial, place, data in _ranges(check, small):
        try:
            where = f"'{place.file}' of remote '{check.kept.name}'"
            found = decode_object(data, place.codec, place.length, where) if data is not None else b""
            if data is None or digest_bytes(found) != place.digest:
                raise BadPack(where)
        except Corrupt:
            check.scratch.spoil([(place.digest, serial, _damaged(place.digest))])
            continue
        writer.put(found, node=nodes)
        got.add(place.digest)
    return got


def _ranges(check: Check, chosen: list[tuple[int, Place]]) -> Iterator[tuple[int, Place, bytes | memoryview | None]]:
    """The stored bytes of copies in packs, neighbours in one request; None for one that cannot be read."""
    serials = {place: serial for serial, place in chosen}
    for run in runs_of(serials):
        name, start, length = run.asked
        data = _range(check.transport, name, start, length)
        if data is not None:
            yield from ((serials[place], place, stored) for place, stored in run.slices(data))
            continue
        for place in run.places:
            yield serials[place], place, _range(check.transport, name, place.offset, place.stored)


def _range(transport: Transport, name: str, start: int, length: int) -> bytes | None:
    try:
        return next(bytes(data) for _, data in transport.read_ranges([(name, start, length)]))
    except (Corrupt, RemoteMissing):
        return None


def _damaged(digest: Digest) -> str:
    return f"the object '{digest:.12}' in it is damaged"


# ---- drafts that many build ---------------------------------------------------------------------------


def check_drafts(check: Check) -> None:
    """The parts of open drafts can be read, and what they name is there (protocol P10)."""
    check.scratch.begin_drafts()
    for row in check.scratch.rows.find("draft", state=OPEN):
        subject = f"the open draft '{row['id']:.8}'"
        parts = Parts(check.transport, row["id"])
        if check.listing(f"drafts/{row['id']}") is None:
            return
        try:
            listing = parts.listing()
            for directory, attempt in [(a.directory, a) for a in parts.read_all(listing)]:
                check.scratch.add_places(f"{row['id']}/{directory}", list(parts.places([attempt])))
            tops = [attempt.root for attempt in parts.read(listing)]
        except AvcError as error:
            if isinstance(error, StorageError) and not isinstance(error, RemoteMissing):
                raise
            check.find(type(error).__name__, subject, f"{subject} cannot be read: {error}")
            continue
        check.scratch.end_drafts()
        Walk(check, PART).down(tops)


# ---- stored files ---------------------------------------------------------------------------------------


def check_files(check: Check) -> None:
    """Every stored file that is needed is there with its size, and with *full* its bytes are right."""
    scratch, session = check.scratch, check.session
    listed = check.listing("packs")
    if listed is not None:
        scratch.stand(listed)
        del listed
    sound = (file for file in scratch.ask.used_files() if _is_there(check, file))
    if not check.full:
        for _ in sound:
            pass
        return
    session.progress.start("Reading", total=scratch.ask.counts()[1], unit="bytes")
    with ThreadPoolExecutor(_WORKERS) as pool:
        for batch in _lots(sound, 4 * _WORKERS):
            rows = [scratch.ask.rows_of(file.serial) for file in batch]
            results = pool.map(lambda file, rows: faults(check.transport, file, rows), batch, rows)
            for file, found in zip(batch, results, strict=True):
                session.progress.advance(file.size)
                scratch.spoil((digest, file.serial, text) for digest, text in found if digest is not None)
                for text in (text for digest, text in found if digest is None):
                    scratch.spoil_file(file.serial, text)
    session.progress.finish()


def _lots(files: Iterable[UsedFile], size: int) -> Iterator[list[UsedFile]]:
    lot: list[UsedFile] = []
    for file in files:
        lot.append(file)
        if len(lot) == size:
            yield lot
            lot = []
    if lot:
        yield lot


def _is_there(check: Check, file: UsedFile) -> bool:
    if check.unlisted:
        size = file.size if _range(check.transport, f"packs/{file.name}", file.size - 1, 1) is not None else None
        fault = "is missing or cut short"
    else:
        size = check.scratch.size_of(file.name)
        fault = "is missing" if size is None else f"has {size} bytes and not {file.size}"
    if size != file.size:
        check.scratch.spoil_file(file.serial, fault)
    return size == file.size


def faults(transport: Transport, file: UsedFile, rows: list[PackRow]) -> list[Fault]:
    """What is wrong with the bytes of a stored file: read in parts, so memory is bounded. Safe in any thread."""
    try:
        return _whole_faults(transport, file, rows[0]) if file.whole else list(_pack_faults(transport, file, rows))
    except (RemoteMissing, Corrupt) as error:
        return [(None, f"cannot be read: {error.message}")]


def _part(transport: Transport, file: UsedFile, start: int, end: int) -> bytes:
    return next(bytes(data) for _, data in transport.read_ranges([(f"packs/{file.name}", start, end - start)]))


def _whole_faults(transport: Transport, file: UsedFile, row: PackRow) -> list[Fault]:
    hasher = StreamDigest()
    for start in range(0, file.size, _WINDOW):
        hasher.update(_part(transport, file, start, min(start + _WINDOW, file.size)))
    return [] if hasher.digest() == row.digest else [(row.digest, _damaged(row.digest))]


def _pack_faults(transport: Transport, file: UsedFile, rows: list[PackRow]) -> Iterator[Fault]:
    """Magic, objects without gaps, then the table that says the same as the index: that is all of a pack."""
    end = pack_end(rows)
    at, position = len(MAGIC), 0
    window, start = _part(transport, file, 0, min(_WINDOW, file.size)), 0
    if window[: len(MAGIC)] != MAGIC:
        yield None, "does not begin as a pack does"
    while position < len(rows):
        row = rows[position]
        if row.offset != at:
            yield None, "does not hold its objects where the index says"
            return
        at += row.stored
        if at > start + len(window):
            start = row.offset
            window = _part(transport, file, start, min(max(start + _WINDOW, at), file.size))
        data = memoryview(window)[row.offset - start : row.offset - start + row.stored]
        try:
            right = digest_bytes(decode_object(data, row.codec, row.length, file.name)) == row.digest
        except BadPack:
            right = False
        if not right:
            yield row.digest, _damaged(row.digest)
        position += 1
    if _part(transport, file, at, file.size) != end:
        yield None, "has a damaged table"


# ---- what follows ---------------------------------------------------------------------------------------


def tell(check: Check, grace: timedelta) -> None:
    """Note each bad file, and each version that lacks something, with what it lacks."""
    scratch, name = check.scratch, check.kept.name
    for serial, file, fault in scratch.ask.bad_files():
        subject = f"stored file '{file}'"
        check.find(_kind(fault), subject, f"{subject} on '{name}' {_and_so(fault)}", file=serial)
    lacking = set(scratch.ask.lacking())
    if lacking:
        _tell_versions(check, lacking, grace, live=True)
    deleted = set(scratch.ask.lacking(DELETED)) - lacking
    if deleted:
        _tell_versions(check, deleted, grace, live=False)
    parts = set(scratch.ask.lacking(PART)) - lacking - deleted
    if parts:
        text = f"{_objects(parts)} of open drafts that many build {_have(parts)} no sound copy on '{name}'"
        check.find("MissingObject", "open drafts", text, objects=frozenset(parts))


def _kind(fault: str) -> str:
    if fault.startswith("is missing"):
        return "RemoteMissing"
    return "DigestMismatch" if fault.startswith("the object") else "BadPack"


def _and_so(fault: str) -> str:
    return f"is damaged: {fault}" if fault.startswith("the object") else fault


def _objects(digests: Collection[Digest]) -> str:
    first = f"object '{min(digests):.12}'"
    return first if len(digests) == 1 else f"{first} and {len(digests) - 1} more"


def _have(digests: Collection[Digest]) -> str:
    return "has" if len(digests) == 1 else "have"


def _tell_versions(check: Check, lacking: set[Digest], grace: timedelta, *, live: bool) -> None:
    rows = check.scratch.connection.execute(
        "SELECT v.digest, v.live, a.project, a.name, v.number, v.description, v.metadata, v.sources FROM version v"
        " JOIN artifact a ON a.id = v.artifact ORDER BY a.project, a.name, v.number"
    ).fetchall()
    suffer = _Sufferers(check, lacking)
    chosen = set(roots(check, grace)[0 if live else 1])
    found: set[Digest] = set()
    for digest, is_live, project, name, number, *said in rows:
        if bool(is_live) != live or digest not in chosen:
            continue
        lost = suffer.below(digest) | {d for d in said if d in lacking}
        if lost:
            found |= lost
            where = f"on '{check.kept.name}'" + ("" if live else ": it cannot be restored")
            text = f"{_objects(lost)} of {project}/{name}:v{number} {_have(lost)} no sound copy {where}"
            check.find("MissingObject", f"{project}/{name}:v{number}", text, objects=frozenset(lost))
    rest = lacking - found
    if rest:
        text = (
            f"{_objects(rest)} (a description or details of a run) {_have(rest)} no sound copy on '{check.kept.name}'"
        )
        check.find("MissingObject", "descriptions and runs", text, objects=frozenset(rest))


class _Sufferers:
    """Which of the lacking objects a manifest needs; each node is looked into once."""

    def __init__(self, check: Check, lacking: set[Digest]) -> None:
        self._read, self._lacking = check.session.avc.store.read, lacking
        self._known: dict[Digest, frozenset[Digest]] = {EMPTY: frozenset()}

    def below(self, digest: Digest) -> frozenset[Digest]:
        """Those that the node *digest* or anything below it is or names."""
        if digest not in self._known:
            own = {digest} & self._lacking
            try:
                data = self._read(digest)
                if is_inner(data):
                    own = own.union(*(self.below(child.digest) for child in children(data)))
                else:
                    own |= {str(entry.digest) for entry in decode_leaf(data) if entry.is_file} & self._lacking
            except AvcError:
                pass  # told as what it is: missing, or damaged
            self._known[digest] = frozenset(own)
        return self._known[digest]
