"""Packs: many small objects in one file, self-describing (docs/format.md, "Pack").

- A pack is written under ``tmp/``, synced, renamed into ``packs/`` and never changed: a
  name never appears before its bytes are on disk.
- It carries its own table at the tail, so the index of places can be rebuilt by reading
  packs alone, and a reader needs nothing else.
- It may come from elsewhere: its table is inside the file, its rows do not overlap, and no
  object is unpacked beyond its declared length (protocol H2).

Why packs: creating a file is what costs (design, section 3).
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import islice, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

from blake3 import blake3

from artifactvc.core.model import Digest
from artifactvc.errors import BadPack, DigestMismatch, NewerFormat
from artifactvc.util.files import write_all

MAGIC: Final = b"avcpack\x01"
#: Objects up to this size go to packs; larger ones have a file of their own. Manifest nodes always go to packs.
SMALL: Final = 128 << 10
#: A pack is closed when it has this many bytes.
TARGET: Final = 32 << 20
RAW, ZSTD = 0, 1
_ROW: Final = struct.Struct("<32sQIIB7x")
_TAIL: Final = struct.Struct("<QQ32s")
_BUFFER: Final = 1 << 20
#: Compression is tried only where a sample from the middle is not as varied as random bytes are:
#: of 64 random bytes about 57 are different ones, of 64 bytes of text about 25.
_SAMPLE: Final = 64
_VARIED: Final = 48

#: A row of a table as it stands there: digest, offset, stored length, length, codec.
RawRow = tuple[bytes, int, int, int, int]


class PackRow(NamedTuple):
    """Where one object stands in a pack: *stored* bytes at *offset*; *length* is that of the object."""

    digest: Digest
    offset: int
    stored: int
    length: int
    codec: int


def whole_size(stored: int, objects: int) -> int:
    """Bytes of a pack file whose *objects* take *stored* bytes."""
    return len(MAGIC) + stored + objects * _ROW.size + _TAIL.size


def encode_table(rows: Iterable[PackRow]) -> bytes:
    """The table that says *rows*, which are in order."""
    return b"".join([_ROW.pack(bytes.fromhex(r.digest), r.offset, r.stored, r.length, r.codec) for r in rows])


def pack_end(rows: Iterable[PackRow]) -> bytes:
    """Table and tail of the pack in which *rows* stand without gaps: what its file ends with."""
    ordered = sorted(rows)
    table = encode_table(ordered)
    at = len(MAGIC) + sum(row.stored for row in ordered)
    return table + _TAIL.pack(at, len(ordered), blake3(table).digest())


def raw_rows(table: bytes) -> Iterator[RawRow]:
    """The rows of a table of our own, quickly."""
    return _ROW.iter_unpack(table)


def count_rows(table: bytes) -> int:
    """How many objects a table speaks of."""
    return len(table) // _ROW.size


def decode_object(stored: bytes | memoryview, codec: int, length: int, where: str) -> bytes:
    """Return the object in *stored*; BadPack if it does not unpack to exactly *length* bytes."""
    if codec == RAW:
        data = bytes(stored)
    elif codec == ZSTD:
        import zstandard

        try:
            # The declared length is a hard bound: a frame that claims more is refused before memory is taken.
            if zstandard.frame_content_size(stored) != length:
                raise BadPack(f"an object in {where} is damaged: its length is not the declared one")
            data = _zstd.decompressor.decompress(stored, max_output_size=length)
        except zstandard.ZstdError as error:
            raise BadPack(f"an object in {where} is damaged: {error}") from error
    else:
        raise BadPack(f"an object in {where} has an unknown codec {codec}")
    if len(data) != length:
        raise BadPack(f"an object in {where} is damaged: its length is not the declared one")
    return data


class _Zstd(threading.local):
    """The library's objects, which hold a context that only one thread may use: each thread has its own."""

    @cached_property
    def decompressor(self) -> Any:
        import zstandard

        return zstandard.ZstdDecompressor()

    @cached_property
    def compressor(self) -> Any:
        import zstandard

        return zstandard.ZstdCompressor(level=1)


_zstd: Final = _Zstd()


def encode_object(data: bytes) -> tuple[bytes, int]:
    """Return *data* as it is stored, and the codec: zstd where that saves a tenth or more."""
    if len(data) < 64:
        return data, RAW
    middle = len(data) // 2
    if len(data) > 2 * _SAMPLE and len(set(data[middle : middle + _SAMPLE])) > _VARIED:
        return data, RAW
    packed = _zstd.compressor.compress(data)
    return (packed, ZSTD) if len(packed) * 10 <= len(data) * 9 else (data, RAW)


class PackWriter:
    """One pack being written in *staged*; ``finish`` makes its bytes durable, ``discard`` removes it."""

    def __init__(self, staged: Path) -> None:
        self.staged = staged
        self.size = len(MAGIC)
        self.table = b""  # once finished
        self._rows: list[RawRow] = []
        self._parts: list[bytes] = [MAGIC]
        self._held = len(MAGIC)
        self._fd = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)

    @property
    def rows(self) -> list[PackRow]:
        """Where each object stands, ascending by digest once finished."""
        return [PackRow(digest.hex(), *rest) for digest, *rest in self._rows]

    def add(self, key: bytes, data: bytes) -> None:
        """Append one object, whose digest is *key* (32 bytes); the caller puts each in once."""
        stored, codec = encode_object(data)
        size = len(stored)
        self._rows.append((key, self.size, size, len(data), codec))
        self._append(stored, size)

    def add_stored(self, row: PackRow, stored: bytes) -> None:
        """Append an object as it is stored elsewhere already."""
        self._rows.append((bytes.fromhex(row.digest), self.size, row.stored, row.length, row.codec))
        self._append(stored, len(stored))

    def _append(self, stored: bytes, size: int) -> None:
        self._parts.append(stored)
        self.size += size
        self._held += size
        if self._held >= _BUFFER:
            self._flush()

    def _flush(self) -> None:
        write_all(self._fd, b"".join(self._parts))
        self._parts, self._held = [], 0

    def finish(self) -> None:
        """Write table and tail; the caller syncs the file before it gives it a name."""
        self._rows.sort()
        self.table = b"".join([_ROW.pack(*row) for row in self._rows])
        self._parts += [self.table, _TAIL.pack(self.size, len(self._rows), blake3(self.table).digest())]
        self._flush()
        os.close(self._fd)
        self._fd = -1

    def discard(self) -> None:
        """Close and remove the file, if it is still there under its temporary name."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self.staged.unlink(missing_ok=True)


def read_table(fd: int, what: str) -> list[PackRow]:
    """Return the rows of the open pack *fd*, ascending by digest; BadPack if it breaks the format."""
    return decode_table(*_table_of(fd, what), what)


def read_whole(fd: int, what: str) -> bytes:
    """The table of the open pack *fd*, it and every object in the pack checked; BadPack, DigestMismatch."""
    table, tail, at = _table_of(fd, what)
    check_objects(fd, decode_table(table, tail, at, what), what)
    return table


def _table_of(fd: int, what: str) -> tuple[bytes, bytes, int]:
    """Table and tail of a pack, and where the table begins."""
    size = os.fstat(fd).st_size
    head = os.pread(fd, len(MAGIC), 0)
    if head != MAGIC:
        if head[:7] == MAGIC[:7]:
            raise NewerFormat(what, f"pack format {head[7]}")
        raise BadPack(f"{what} is not a pack")
    if size < len(MAGIC) + _TAIL.size:
        raise BadPack(f"{what} is cut short")
    tail = os.pread(fd, _TAIL.size, size - _TAIL.size)
    at, length = tail_bounds(tail, size, what)
    return os.pread(fd, length, at), tail, at


def tail_bounds(tail: bytes, size: int, what: str) -> tuple[int, int]:
    """(where the table begins, its bytes) in a pack of *size* bytes that ends with *tail*; BadPack if not."""
    if len(tail) != _TAIL.size:
        raise BadPack(f"{what} is cut short")
    at, count, _ = _TAIL.unpack(tail)
    if not len(MAGIC) <= at <= size or at + count * _ROW.size != size - _TAIL.size:
        raise BadPack(f"{what} is damaged: its table is not inside it")
    return int(at), int(count * _ROW.size)


def decode_table(table: bytes, tail: bytes, at: int, what: str) -> list[PackRow]:
    """The rows of the *table* that begins at *at* in its pack, ascending by digest; BadPack if it breaks the format."""
    _, count, check = _TAIL.unpack(tail)
    if len(table) != count * _ROW.size or blake3(table).digest() != check:
        raise BadPack(f"{what} is damaged: its table does not match its digest")
    return _checked_rows(table, at, what)


def _checked_rows(table: bytes, end: int, what: str) -> list[PackRow]:
    raw = list(_ROW.iter_unpack(table))
    if any(a[0] >= b[0] for a, b in pairwise(raw)):
        raise BadPack(f"{what} is damaged: its table is out of order")
    if any(any(table[_ROW.size - reserved :: _ROW.size]) for reserved in range(1, 8)):
        raise BadPack(f"{what} is damaged: reserved bytes are not zero")
    at = len(MAGIC)
    for _, offset, stored, length, codec in sorted(raw, key=itemgetter(1, 2)):
        if offset < at or offset + stored > end or codec not in (RAW, ZSTD):
            raise BadPack(f"{what} is damaged: an object overlaps another or lies outside")
        if codec == RAW and stored != length:
            raise BadPack(f"{what} is damaged: an object's length is not its stored length")
        at = offset + stored
    return [PackRow(digest.hex(), *rest) for digest, *rest in raw]


def iter_stored(
    fd: int, rows: list[PackRow], *, chunk: int = 8 << 20, buffer: bytearray | None = None
) -> Iterator[tuple[PackRow, memoryview]]:
    """Yield each of *rows* with its stored bytes, in the order of the file, read in large pieces.

    With a *buffer*, which sets their size, they are read there: what was given is only good until the next.
    """
    chunk = chunk if buffer is None else len(buffer)
    ordered = sorted(rows, key=itemgetter(1, 2))  # offset, stored length
    position = 0
    while position < len(ordered):
        start = reached = ordered[position].offset
        end = position
        for _, offset, stored, _, _ in islice(ordered, position, None):
            # A gap that nobody asked for is read along while it is small.
            if end > position and (offset + stored - start > chunk or offset - reached > 65536):
                break
            reached, end = offset + stored, end + 1
        if buffer is not None and reached - start <= len(buffer):
            data = memoryview(buffer)[: os.preadv(fd, [memoryview(buffer)[: reached - start]], start)]
        else:
            data = memoryview(os.pread(fd, reached - start, start))
        for row in islice(ordered, position, end):
            at = row[1] - start
            yield row, data[at : at + row[2]]
        position = end


def check_objects(fd: int, rows: list[PackRow], where: str) -> None:
    """Hash the objects at *rows* of the open pack *fd*; BadPack, DigestMismatch for one that is not what it should be.

    For many small objects, so without a step in it that could be left out.
    """
    # New memory for each piece would cost as much as hashing it.
    for row, stored in iter_stored(fd, rows, buffer=bytearray(_BUFFER)):
        digest, _, _, length, codec = row
        if codec == RAW and len(stored) == length:
            actual = blake3(stored).hexdigest()
        else:
            actual = blake3(decode_object(stored, codec, length, where)).hexdigest()
        if actual != digest:
            raise DigestMismatch(digest, actual, where)
