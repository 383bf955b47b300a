"""A remote's index file: where the objects that one push brought are stored, or those of many pushes, merged.

Rows sorted by digest, in nodes of at most 1,024, so that a reader who looks for a few
objects in a file of millions reads the tail and the nodes it needs (docs/format.md,
"Index of a remote"). It comes from elsewhere: every bound is checked before use
(protocol H2, H3). Written and read as a stream: memory holds the node table and one node.
"""

from __future__ import annotations

import bisect
import io
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import BinaryIO, Final, NamedTuple, Protocol

from blake3 import blake3

from artifactvc.core.entries import MAX_INDEX_BYTES, is_stored_name
from artifactvc.core.model import Digest
from artifactvc.errors import BadIndex, NewerFormat

MAGIC: Final = b"avcindx\x01"
NODE_ROWS: Final = 1024
_ROW: Final = struct.Struct("<32sIB3xQQQ")
_NODE: Final = struct.Struct("<32sQI4x32s")
_TAIL: Final = struct.Struct("<QQQQ32s")
_LARGEST: Final = 2**53
#: Bytes at the end of an index file that say where its tables begin.
TAIL_BYTES: Final = _TAIL.size


class Place(NamedTuple):
    """One stored copy of an object: bytes *offset* to *offset* + *stored* of *file* on the remote.

    *length* is that of the object itself; *codec* 0 is as it is, 1 zstd.
    """

    digest: Digest
    file: str
    offset: int
    stored: int
    length: int
    codec: int


#: A row as it stands there: digest (32 bytes), number of the file, codec, offset, stored length, length.
RawRow = tuple[bytes, int, int, int, int, int]


class Node(NamedTuple):
    """One node: its first digest, where it is, how many rows it has, and its digest."""

    first: bytes
    offset: int
    rows: int
    check: bytes

    @property
    def length(self) -> int:
        """Bytes of its rows."""
        return self.rows * _ROW.size


class Tables(NamedTuple):
    """What stands behind the nodes: names of stored files, and the table of nodes."""

    files: list[str]
    nodes: list[Node]

    def around(self, digest: Digest) -> Sequence[Node]:
        """The nodes that can hold rows of *digest*."""
        raw = bytes.fromhex(digest)
        start = bisect.bisect_left(self.nodes, raw, key=lambda node: node.first)
        end = bisect.bisect_right(self.nodes, raw, key=lambda node: node.first)
        return self.nodes[max(start - 1, 0) : end]


class Bytes(Protocol):
    """An index file in memory, or mapped: slices are bytes."""

    def __getitem__(self, key: slice, /) -> bytes:
        """Part of it."""

    def __len__(self) -> int:
        """Its size."""


# ---- writing ---------------------------------------------------------------------------------------


def encode_places(places: Iterable[Place]) -> bytes:
    """Return the index file for *places*, in any order."""
    rows, out = sorted(places), io.BytesIO()
    write_places(rows, sorted({place.file for place in rows}), out)
    return out.getvalue()


def write_places(places: Iterable[Place], files: Sequence[str], out: BinaryIO) -> None:
    """Write the index file for *places*, ascending by digest, whose files are among *files*."""
    number = {name: position for position, name in enumerate(files)}
    at, nodes, rows = len(MAGIC), bytearray(), iter(places)
    out.write(MAGIC)
    while part := list(islice(rows, NODE_ROWS)):
        node = b"".join(
            _ROW.pack(bytes.fromhex(p.digest), number[p.file], p.codec, p.offset, p.stored, p.length) for p in part
        )
        nodes += _NODE.pack(bytes.fromhex(part[0].digest), at, len(part), blake3(node).digest())
        out.write(node)
        at += len(node)
    names = "".join(name + "\n" for name in files).encode()
    out.write(names + nodes)
    check = blake3(names + bytes(nodes)).digest()
    out.write(_TAIL.pack(at + len(names), len(nodes) // _NODE.size, at, len(files), check))


# ---- reading ---------------------------------------------------------------------------------------


def decode_places(data: Bytes, what: str) -> Iterator[Place]:
    """Yield the rows of an index file, ascending by digest; BadIndex if it breaks the format."""
    yield from every_row(data, whole_tables(data, what), what)


def whole_tables(data: Bytes, what: str) -> Tables:
    """The tables of a whole index file; BadIndex, NewerFormat."""
    if data[:8] != MAGIC:
        if data[:7] == MAGIC[:7]:
            raise NewerFormat(what, f"index format {data[7:8][0]}")
        raise BadIndex(f"{what} is not an index of objects")
    size = len(data)
    start = tables_at(data[max(0, size - TAIL_BYTES) : size], size, what)
    return decode_tables(data[start:size], size, what)


def every_row(data: Bytes, tables: Tables, what: str) -> Iterator[Place]:
    """All rows of a whole index file, ascending by digest."""
    for raw, file, codec, offset, stored, length in raw_rows(data, tables, what):
        yield Place(raw.hex(), tables.files[file], offset, stored, length, codec)


def raw_rows(data: Bytes, tables: Tables, what: str) -> Iterator[RawRow]:
    """The same as they stand there, the file as its number in the table of names."""
    last = b""
    for node in tables.nodes:
        if node.first < last:
            raise BadIndex(f"{what} is damaged: rows out of order")
        for row in _node_rows(data[node.offset : node.offset + node.length], node, len(tables.files), what):
            yield row
            last = row[0]


def tables_at(tail: bytes, size: int, what: str) -> int:
    """Where the tables of a file of *size* bytes begin, from its last TAIL_BYTES."""
    if size < len(MAGIC) + TAIL_BYTES or size > MAX_INDEX_BYTES or len(tail) != TAIL_BYTES:
        raise BadIndex(f"{what} is cut short")
    nodes_at, node_count, names_at, _, _ = _TAIL.unpack(tail)
    end = size - TAIL_BYTES
    if not 8 <= names_at <= nodes_at <= end or nodes_at + node_count * _NODE.size != end:
        raise BadIndex(f"{what} is damaged: its parts do not fit")
    return int(names_at)


def decode_tables(data: bytes, size: int, what: str) -> Tables:
    """The tables from the bytes between ``tables_at`` and the end of a file of *size* bytes."""
    nodes_at, node_count, names_at, name_count, check = _TAIL.unpack_from(data, len(data) - TAIL_BYTES)
    if blake3(data[:-TAIL_BYTES]).digest() != check:
        raise BadIndex(f"{what} is damaged: its tables do not match their digest")
    files = data[: nodes_at - names_at].decode("ascii", "replace").split("\n")[:-1]
    if len(files) != name_count or not all(map(is_stored_name, files)):
        raise BadIndex(f"{what} is damaged: bad file names")
    nodes = [Node(*row) for row in _NODE.iter_unpack(data[nodes_at - names_at : -TAIL_BYTES])]
    at, last = 8, b""
    for position, node in enumerate(nodes):
        if node.offset != at or not 1 <= node.rows <= NODE_ROWS or node.first < last:
            raise BadIndex(f"{what} is damaged: node {position} does not fit")
        at, last = at + node.length, node.first
    if at != names_at or len(nodes) != node_count:
        raise BadIndex(f"{what} is damaged: bytes between its nodes")
    return Tables(files, nodes)


def node_rows(data: bytes, node: Node, tables: Tables, what: str) -> Iterator[Place]:
    """The rows of one node from its bytes, ascending by digest."""
    for raw, file, codec, offset, stored, length in _node_rows(data, node, len(tables.files), what):
        yield Place(raw.hex(), tables.files[file], offset, stored, length, codec)


def _node_rows(data: bytes, node: Node, files: int, what: str) -> Iterator[RawRow]:
    if len(data) != node.length or data[:32] != node.first or blake3(data).digest() != node.check:
        raise BadIndex(f"{what} is damaged: a node does not match its digest")
    last = b""
    for row in _ROW.iter_unpack(data):
        raw, file, codec, start, stored, length = row
        if raw < last or file >= files or codec > 1 or max(start, stored, length) >= _LARGEST:
            raise BadIndex(f"{what} is damaged: a row out of bounds")
        last = raw
        yield row
