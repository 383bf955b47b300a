"""A remote's index file: where the objects that one push brought are stored.

Rows sorted by digest, in nodes of at most 1,024, so that a reader who looks for a few
objects in a file of millions reads the tail and the nodes it needs (docs/format.md,
"Index of a remote"). It comes from elsewhere: every bound is checked before use
(protocol H2, H3).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from blake3 import blake3

from artifactvc.core.entries import MAX_INDEX_BYTES, is_stored_name
from artifactvc.core.model import Digest
from artifactvc.errors import BadIndex, NewerFormat

MAGIC: Final = b"avcindx\x01"
NODE_ROWS: Final = 1024
#: No index file is larger: 16 million objects.
_ROW: Final = struct.Struct("<32sIB3xQQQ")
_NODE: Final = struct.Struct("<32sQI4x32s")
_TAIL: Final = struct.Struct("<QQQQ32s")
_LARGEST: Final = 2**53


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


def encode_places(places: Iterable[Place]) -> bytes:
    """Return the index file for *places*, in any order."""
    rows = sorted(places)
    files = sorted({place.file for place in rows})
    number = {name: position for position, name in enumerate(files)}
    out, nodes = bytearray(MAGIC), bytearray()
    for start in range(0, len(rows), NODE_ROWS):
        part = rows[start : start + NODE_ROWS]
        node = b"".join(
            _ROW.pack(bytes.fromhex(p.digest), number[p.file], p.codec, p.offset, p.stored, p.length) for p in part
        )
        nodes += _NODE.pack(bytes.fromhex(part[0].digest), len(out), len(part), blake3(node).digest())
        out += node
    names = "".join(name + "\n" for name in files).encode()
    names_at, nodes_at = len(out), len(out) + len(names)
    check = blake3(names + bytes(nodes)).digest()
    tail = _TAIL.pack(nodes_at, len(nodes) // _NODE.size, names_at, len(files), check)
    return bytes(out + names + nodes + tail)


def decode_places(data: bytes, what: str) -> Iterator[Place]:
    """Yield the rows of an index file, ascending by digest; BadIndex if it breaks the format."""
    if data[:8] != MAGIC:
        if data[:7] == MAGIC[:7]:
            raise NewerFormat(what, f"index format {data[7]}")
        raise BadIndex(f"{what} is not an index of objects")
    if len(data) < 8 + _TAIL.size or len(data) > MAX_INDEX_BYTES:
        raise BadIndex(f"{what} is cut short")
    nodes_at, node_count, names_at, name_count, check = _TAIL.unpack_from(data, len(data) - _TAIL.size)
    end = len(data) - _TAIL.size
    if not 8 <= names_at <= nodes_at <= end or nodes_at + node_count * _NODE.size != end:
        raise BadIndex(f"{what} is damaged: its parts do not fit")
    if blake3(data[names_at:end]).digest() != check:
        raise BadIndex(f"{what} is damaged: its tables do not match their digest")
    files = data[names_at:nodes_at].decode("ascii", "replace").split("\n")[:-1]
    if len(files) != name_count or not all(map(is_stored_name, files)):
        raise BadIndex(f"{what} is damaged: bad file names")
    yield from _rows(data, nodes_at, node_count, names_at, files, what)


def _rows(data: bytes, nodes_at: int, count: int, names_at: int, files: list[str], what: str) -> Iterator[Place]:
    at, last = 8, ""
    for position in range(count):
        first, offset, rows, check = _NODE.unpack_from(data, nodes_at + position * _NODE.size)
        node = data[offset : offset + rows * _ROW.size]
        if offset != at or not 1 <= rows <= NODE_ROWS or offset + len(node) > names_at or node[:32] != first:
            raise BadIndex(f"{what} is damaged: node {position} does not fit")
        if blake3(node).digest() != check:
            raise BadIndex(f"{what} is damaged: node {position} does not match its digest")
        at += rows * _ROW.size
        for raw, file, codec, start, stored, length in _ROW.iter_unpack(node):
            digest = raw.hex()
            if digest < last or file >= len(files) or codec > 1 or max(start, stored, length) >= _LARGEST:
                raise BadIndex(f"{what} is damaged: a row out of bounds")
            last = digest
            yield Place(digest, files[file], start, stored, length, codec)
    if at != names_at:
        raise BadIndex(f"{what} is damaged: bytes between its nodes")
