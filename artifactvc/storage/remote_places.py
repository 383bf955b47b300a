"""Where objects are on a remote: its index files as read, kept here, asked, and merged.

An entry of the remote's log names the index files it brings, and which a merged one
replaces (docs/format.md, "Index of a remote"). Live ones are read whole into the remote's
own index here; of a large one, when a few objects are asked for, only the nodes that can
hold them.

- A merged file has the rows of those it replaces and no other, so who has read those does
  not read it.
- Rows of condemned files are left out of it. The replaced files stay on the remote until gc
  removes them after the grace, as the condemned ones do, so ``read(condemned=True)`` finds
  those rows for as long as the bytes may be there (protocol P4, P6).
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from blake3 import blake3

from artifactvc.core.entries import MAX_INDEX_BYTES
from artifactvc.core.model import Digest
from artifactvc.core.records import condemned_index
from artifactvc.errors import BadIndex, Corrupt
from artifactvc.storage.database import begin
from artifactvc.storage.index_lookup import Lookup
from artifactvc.storage.index_merge import merge_places, to_merge
from artifactvc.storage.remote_index import Bytes, Place, RawRow, raw_rows, whole_tables
from artifactvc.util.files import make_directories, temporary, write_atomic

if TYPE_CHECKING:
    from artifactvc.storage.remote import Remote

#: Of the index files that the log names: those that a reader needs.
LIVE: Final = "superseded IS NULL AND NOT EXISTS (SELECT 1 FROM condemned c WHERE c.file = 'index:' || i.id)"
UNREAD: Final = f"SELECT id, digest, size FROM remote_index i WHERE rows < 0 AND {LIVE} ORDER BY n, id"
_ASKED: Final = 900  # digests in one question
_ABOUT: Final = "SELECT coalesce(max(rowid), 0) FROM remote_object"  # rows, or a few more: without counting them
_ROWS: Final = 10_000  # rows in one statement
#: Index files from this size on are mapped, not held in memory; a few objects are looked up in them by ranges.
LARGE: Final = 4 << 20
_BATCH_BYTES: Final = 32 << 20
_BATCH: Final = 256  # small index files in one request of many
_FEW: Final = 32  # objects that are looked up by ranges at once


class IndexFile(NamedTuple):
    """One index file as the log names it; *superseded* is the entry since which a merged one replaces it."""

    id: str
    n: int
    digest: Digest
    size: int
    superseded: int | None


class RemotePlaces:
    """The index files of one remote."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._keep = remote.directory / "index"
        self._lookup = Lookup()

    @property
    def _connection(self) -> sqlite3.Connection:
        return self._remote.connection

    def _what(self, name: str) -> str:
        return f"index file '{name}' of remote '{self._remote.name}'"

    # ---- what the log says ---------------------------------------------------------------------

    def note(self, n: int, files: Iterable[Mapping[str, Any]]) -> None:
        """Note the index files that entry *n* brings; in the transaction that applies it."""
        connection = self._connection
        for file in files:
            made = connection.execute(
                "INSERT OR IGNORE INTO remote_index (id, n, digest, size, rows) VALUES (?, ?, ?, ?, -1)",
                (file["id"], n, file["digest"], file["size"]),
            ).rowcount
            replaced = sorted(set(file.get("replaces", ())))
            if not made or not replaced or self._remote.rows.get("condemned", condemned_index(file["id"])):
                continue  # what is condemned replaces nothing (protocol P4)
            among = f"id IN ({','.join('?' * len(replaced))})"
            count, fewest = connection.execute(
                f"SELECT count(*), min(rows) FROM remote_index WHERE {among}", replaced
            ).fetchone()
            if count == len(replaced) and fewest >= 0:
                connection.execute("UPDATE remote_index SET rows = 0 WHERE id = ?", (file["id"],))
            connection.execute(
                f"UPDATE remote_index SET superseded = ? WHERE {among} AND n < ? AND superseded IS NULL",
                (n, *replaced, n),
            )

    def clear(self) -> None:
        """Forget all rows: they are read again."""
        for table in ("remote_index", "remote_file", "remote_object"):
            self._connection.execute(f"DELETE FROM {table}")

    def drop_copies(self, n: int) -> None:
        """Remove the copies kept here of index files that were superseded from entry *n* on."""
        for file in self.files("superseded >= ?", n):
            self._copy(file.id).unlink(missing_ok=True)

    def files(self, where: str = "1", *values: object) -> list[IndexFile]:
        """Index files that the log names, in its order."""
        rows = self._connection.execute(
            f"SELECT id, n, digest, size, superseded FROM remote_index i WHERE {where} ORDER BY n, id", values
        )
        return [IndexFile(*row) for row in rows]

    def live(self) -> list[IndexFile]:
        """Those that a reader needs: all that no merged one replaces and that are not condemned."""
        return self.files(LIVE)

    def superseded(self) -> list[IndexFile]:
        """Those that a merged one replaces, for gc to remove once the grace from entry ``superseded`` on is over."""
        return self.files("superseded IS NOT NULL")

    # ---- reading -------------------------------------------------------------------------------

    def read(self, *, condemned: bool = False) -> None:
        """Read the live index files that were not read yet; with *condemned* those too that merging has stripped.

        Raises BadIndex where a live one is missing or damaged.
        """
        self._read_whole(self.files(f"rows < 0 AND {LIVE}"))
        if condemned:
            self.read_stripped()

    def read_stripped(self) -> None:
        """Read the replaced index files, as far as they are still there, that may have rows which merging left out."""
        self._read_whole(
            self.files(
                "rows < 0 AND superseded IS NOT NULL AND EXISTS"
                " (SELECT 1 FROM condemned c WHERE c.entry > i.n AND c.entry < i.superseded)"
            ),
            must=False,
        )

    def _read_whole(self, files: Iterable[IndexFile], *, must: bool = True) -> None:
        for part in _lots(files):
            for file, data in self._datas(part):
                what = self._what(file.id)
                try:
                    if data is None:
                        raise BadIndex(
                            f"{what} is missing", hint=f"run 'avc fetch {self._remote.name}', it may have been replaced"
                        )
                    if len(data) != file.size or blake3(data).hexdigest() != file.digest:  # type: ignore[arg-type]
                        raise BadIndex(f"{what} is damaged", hint=f"run 'avc fsck {self._remote.name} --repair'")
                    tables = whole_tables(data, what)
                    self._add(file.id, tables.files, raw_rows(data, tables, what))
                except Corrupt:
                    if must:
                        raise
                    with begin(self._connection):  # gone with what it told of
                        self._connection.execute("UPDATE remote_index SET rows = 0 WHERE id = ?", (file.id,))

    def _copy(self, name: str) -> Path:
        return self._keep / name.replace("/", "_")

    def _datas(self, files: Sequence[IndexFile]) -> Iterator[tuple[IndexFile, Bytes | None]]:
        """Index files from the copies kept here, else from the remote (and then kept)."""
        if not self._keep.is_dir():
            make_directories(self._keep)
        wanted = [file for file in files if not self._kept(file)]
        small = [file for file in wanted if file.size < LARGE]
        datas: dict[str, bytes | None] = {}
        if small:
            limit = max(file.size for file in small)
            names = [f"index/{file.id}" for file in small]
            datas = dict(zip((f.id for f in small), self._remote.transport.read_many(names, limit=limit), strict=True))
        for file in files:
            if (data := datas.get(file.id)) is not None:
                write_atomic(self._copy(file.id), data, via=self._remote.avc.tmp)
                yield file, data
            elif file.id in datas:
                yield file, None
            else:
                if file in wanted:
                    self._download(file)
                with _mapped(self._copy(file.id)) as mapped:
                    yield file, mapped

    def _kept(self, file: IndexFile) -> bool:
        with contextlib.suppress(FileNotFoundError), _mapped(self._copy(file.id)) as data:
            return len(data) == file.size and blake3(data).hexdigest() == file.digest  # type: ignore[arg-type]
        return False

    def _download(self, file: IndexFile) -> None:
        if file.size > MAX_INDEX_BYTES:
            raise BadIndex(f"{self._what(file.id)} claims {file.size} bytes")
        staged = temporary(self._remote.avc.tmp, "down")
        try:
            self._remote.transport.download(f"index/{file.id}", staged, file.size)
            os.replace(staged, self._copy(file.id))
        finally:
            staged.unlink(missing_ok=True)

    def add(self, index_id: str, places: Collection[Place]) -> None:
        """Note the rows of one index file as read."""
        names = sorted({place.file for place in places})
        number = {name: position for position, name in enumerate(names)}
        rows = ((bytes.fromhex(p.digest), number[p.file], p.codec, p.offset, p.stored, p.length) for p in places)
        self._add(index_id, names, rows)

    def _add(self, index_id: str, names: Sequence[str], rows: Iterable[RawRow]) -> None:
        serials: dict[int, int] = {}  # of the files, by their number in *names*
        rows, count = iter(rows), 0
        with begin(self._connection) as connection:
            while part := list(islice(rows, _ROWS)):
                count += len(part)
                for number in {row[1] for row in part} - serials.keys():
                    name = names[number]
                    row = connection.execute("SELECT serial FROM remote_file WHERE name = ?", (name,)).fetchone()
                    if row is None:
                        row = (connection.execute("INSERT INTO remote_file (name) VALUES (?)", (name,)).lastrowid,)
                    serials[number] = int(row[0])
                connection.executemany(
                    "INSERT OR REPLACE INTO remote_object (digest, file, codec, offset, stored, length)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    [(digest, serials[number], *rest) for digest, number, *rest in part],
                )
            connection.execute("UPDATE remote_index SET rows = ? WHERE id = ?", (count, index_id))

    # ---- asking --------------------------------------------------------------------------------

    def locate(self, digests: Iterable[Digest]) -> dict[Digest, Place]:
        """An uncondemned stored copy of each of *digests* that has one; reads what index files that takes."""
        wanted = set(digests)
        found = self.query(wanted)
        rest = wanted - found.keys()
        if not rest:
            return found
        unread = self.files(f"rows < 0 AND {LIVE}")
        large = [file for file in unread if file.size >= LARGE]
        if len(rest) > _FEW or (large and not self._lookup.more(len(rest))):
            large = []
        self._read_whole(file for file in unread if file not in large)
        found |= self.query(rest)
        gone = {row["file"] for row in self._remote.rows.find("condemned")} if large else set()
        for file in large:
            what, digests = self._what(file.id), rest - found.keys()
            found.update(self._lookup.find(self._remote.transport, file.id, file.size, what, digests, gone))
        return found

    def query(self, digests: Iterable[Digest], *, condemned: bool = False) -> dict[Digest, Place]:
        """What index files read before say; asks nobody."""
        if self._connection.execute("SELECT 1 FROM remote_object LIMIT 1").fetchone() is None:
            return {}
        wanted = [bytes.fromhex(digest) for digest in digests]
        if len(wanted) > _ASKED and len(wanted) * 4 >= self._connection.execute(_ABOUT).fetchone()[0]:
            return _all_of(self._connection, set(wanted), condemned=condemned)
        return _some_of(self._connection, wanted, condemned=condemned)

    def extent(self, file: str) -> tuple[int, int]:
        """Bytes of all objects in a stored file, and how many there are.

        Both are beyond all bounds where that is not known: of what was only looked up by ranges.
        """
        row = self._connection.execute(
            "SELECT sum(o.stored), count(*) FROM remote_object o JOIN remote_file f ON f.serial = o.file"
            " WHERE f.name = ?",
            (file,),
        ).fetchone()
        if row[1] or (looked_up := self._lookup.extent(file)) is None:
            return int(row[0] or 0), int(row[1])
        return looked_up

    # ---- merging -------------------------------------------------------------------------------

    def merge(self, name: str) -> dict[str, Any] | None:
        """Upload index file *name*, which replaces others, where there are eight of a size; its row for an entry.

        The caller has read the log to its end and names the row in the very next entry, so
        nobody else can have merged them (protocol P2); if that number is taken, a row whose
        ``replaces`` are all still ``live`` may be named in a later one.
        """
        live = {file.id: file for file in self.live()}
        chosen = [live[one] for one in to_merge({one: file.size for one, file in live.items()})]
        if not chosen:
            return None
        gone = {row["file"] for row in self._remote.rows.find("condemned")}
        staged = temporary(self._remote.avc.tmp, "index")
        try:
            with contextlib.ExitStack() as opened, open(staged, "w+b") as out:
                datas = [(opened.enter_context(self._sound(file)), self._what(file.id)) for file in chosen]
                merge_places(datas, gone, out)
            with _mapped(staged) as merged:
                digest, size = blake3(merged).hexdigest(), len(merged)  # type: ignore[arg-type]
            self._remote.transport.upload(f"index/{name}", staged)
            os.replace(staged, self._copy(name))
        finally:
            staged.unlink(missing_ok=True)
        return {"id": name, "digest": digest, "size": size, "replaces": [file.id for file in chosen]}

    @contextlib.contextmanager
    def _sound(self, file: IndexFile) -> Iterator[Bytes]:
        """One index file, whole and checked, mapped from the copy here."""
        if not self._kept(file):
            make_directories(self._keep)
            self._download(file)
            if not self._kept(file):
                self._copy(file.id).unlink()
                raise BadIndex(f"{self._what(file.id)} is damaged")
        with _mapped(self._copy(file.id)) as data:
            yield data

    def keep(self, name: str, data: bytes) -> None:
        """Keep a copy of an index file that was uploaded from here."""
        make_directories(self._keep)
        self._copy(name).write_bytes(data)


def _some_of(connection: sqlite3.Connection, wanted: list[bytes], *, condemned: bool) -> dict[Digest, Place]:
    """What ``query`` gives for a few, each asked for."""
    found: dict[Digest, Place] = {}
    for start in range(0, len(wanted), _ASKED):
        part = wanted[start : start + _ASKED]
        rows = connection.execute(
            "SELECT o.digest, f.name, o.offset, o.stored, o.length, o.codec FROM remote_object o"
            " JOIN remote_file f ON f.serial = o.file LEFT JOIN condemned c ON c.file = f.name"
            f" WHERE o.digest IN ({','.join('?' * len(part))}) AND c.file IS {'NOT ' if condemned else ''}NULL"
            " ORDER BY o.file",
            part,
        )
        found.update((row[0].hex(), Place(row[0].hex(), *row[1:])) for row in rows)  # the newest copy stays
    return found


def _all_of(connection: sqlite3.Connection, wanted: set[bytes], *, condemned: bool) -> dict[Digest, Place]:
    """The same for most of what there is: one pass over all rows is quicker than asking for each."""
    files: dict[int, str] = dict(
        connection.execute(
            "SELECT f.serial, f.name FROM remote_file f LEFT JOIN condemned c ON c.file = f.name"
            f" WHERE c.file IS {'NOT ' if condemned else ''}NULL"
        )
    )
    newest: dict[bytes, tuple[Any, ...]] = {}
    for row in connection.execute("SELECT digest, file, offset, stored, length, codec FROM remote_object"):
        if row[0] in wanted and row[1] in files and (row[0] not in newest or newest[row[0]][1] < row[1]):
            newest[row[0]] = row
    return {(digest := key.hex()): Place(digest, files[serial], *rest) for key, serial, *rest in newest.values()}


def _lots(files: Iterable[IndexFile]) -> Iterator[list[IndexFile]]:
    """Files in lots that fit the memory; a large one is a lot of its own."""
    lot: list[IndexFile] = []
    for file in files:
        if lot and (len(lot) >= _BATCH or sum(one.size for one in lot) + file.size > _BATCH_BYTES):
            yield lot
            lot = []
        lot.append(file)
    if lot:
        yield lot


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[Bytes]:
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
