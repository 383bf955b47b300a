"""A few objects looked up in a large index file of a remote, which is not read whole for them.

One range of its end gives its tables, one for each node that can hold them their rows.
Nothing of this is kept beyond the command: what the remote's own index here says is what
whole index files say.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from artifactvc.core.entries import MAX_INDEX_BYTES
from artifactvc.core.model import Digest
from artifactvc.errors import BadIndex
from artifactvc.storage.remote_index import TAIL_BYTES, Place, Tables, decode_tables, node_rows, tables_at
from artifactvc.storage.transport import Transport

_IN_ALL: Final = 256  # objects that one command looks up so
_GUESS: Final = 128 << 10  # bytes at the end of a large file in which its tables mostly are
_MAX_TABLES: Final = 16 << 20
_UNKNOWN: Final = (1 << 62, 1 << 31)


class Lookup:
    """What was looked up in the large index files of one remote."""

    def __init__(self) -> None:
        self._tables: dict[str, Tables] = {}
        self._found: dict[Digest, Place] = {}
        self._asked = 0

    def more(self, count: int) -> bool:
        """Count *count* more objects; False once there are so many that reading whole files is better."""
        self._asked += count
        return self._asked <= _IN_ALL

    def find(
        self, transport: Transport, index_id: str, size: int, what: str, digests: Collection[Digest], gone: set[str]
    ) -> dict[Digest, Place]:
        """Copies of *digests* that an index file names, but for those in the files *gone*."""
        known = {digest: self._found[digest] for digest in digests if digest in self._found}
        found = {digest: place for digest, place in known.items() if place.file not in gone}  # since it was found
        wanted = set(digests) - found.keys()
        if not wanted:
            return found
        tables = self._tables.get(index_id)
        if tables is None:
            tables = self._tables[index_id] = _read_tables(transport, f"index/{index_id}", size, what)
        nodes = sorted({node for digest in wanted for node in tables.around(digest)}, key=lambda node: node.offset)
        ranges = [(f"index/{index_id}", node.offset, node.length) for node in nodes]
        for position, data in transport.read_ranges(ranges) if ranges else ():
            for place in node_rows(bytes(data), nodes[position], tables, what):
                if place.digest in wanted and place.file not in gone:
                    found[place.digest] = self._found[place.digest] = place
        return found

    def extent(self, file: str) -> tuple[int, int] | None:
        """Bytes and number of the objects in a stored file that was found so, beyond all bounds if not known."""
        found = next((place for place in self._found.values() if place.file == file), None)
        if found is None:
            return None
        # Packs begin with their magic: an object at offset 0 is the whole file.
        return (found.stored, 1) if found.offset == 0 else _UNKNOWN


def _read_tables(transport: Transport, name: str, size: int, what: str) -> Tables:
    if size > MAX_INDEX_BYTES:
        raise BadIndex(f"{what} claims {size} bytes")
    guess = max(0, size - _GUESS)
    data = _end(transport, name, guess, size)
    start = tables_at(data[-TAIL_BYTES:], size, what)
    if size - start > _MAX_TABLES:
        raise BadIndex(f"{what} has tables of {size - start} bytes")
    return decode_tables(data[start - guess :] if start >= guess else _end(transport, name, start, size), size, what)


def _end(transport: Transport, name: str, start: int, size: int) -> bytes:
    return bytes(next(iter(transport.read_ranges([(name, start, size - start)])))[1])
