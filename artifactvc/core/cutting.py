"""Where manifests are cut into nodes (docs/format.md, "Manifest"): by the hash of the keys alone.

So the same entries always give the same nodes, by whatever road they came.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from typing import Final

from blake3 import blake3

from artifactvc.core.model import EMPTY_ROOT, Digest, Entry, Root
from artifactvc.core.nodes import LARGEST, MAX_DEPTH, MAX_NODE, Child, encode_child, encode_line
from artifactvc.errors import BadManifest

Put = Callable[[bytes], Digest]

_BOUND: Final = (2**64 // 1000).to_bytes(8, "big")
MAX_LINES: Final = 4096
MAX_BYTES: Final = 1 << 20

#: A line about to be cut: path, encoded line, number of entries, sum of sizes.
Line = tuple[str, bytes, int, int]


def ends_node(path: str, level: int) -> bool:
    """Whether a node of *level* ends after this path; the zero bytes give each level a hash of its own."""
    return blake3(path.encode() + b"\0" * level).digest()[:8] < _BOUND


def line_of(entry: Entry) -> Line:
    """The line of an entry, about to be cut."""
    return entry.path, encode_line(entry), 1, entry.size or 0


def _cut(run: list[Line], level: int) -> Iterator[list[Line]]:
    """A run that is too large, cut after the line with the smallest key hash, again and again."""
    if len(run) <= MAX_LINES and (len(run) < 2 or sum(len(line[1]) for line in run) <= MAX_BYTES):
        yield run
        return
    salt = b"\0" * level
    at = min(range(len(run) - 1), key=lambda i: blake3(run[i][0].encode() + salt).digest())
    yield from _cut(run[: at + 1], level)
    yield from _cut(run[at + 1 :], level)


def _store(run: list[Line], put: Put) -> Child:
    size = sum(line[3] for line in run)
    data = b"".join([line[1] for line in run])
    if len(data) > MAX_NODE or size >= LARGEST:  # no reader would take it (protocol H2)
        what = f"its line is larger than {MAX_NODE} bytes" if len(data) > MAX_NODE else "the sizes add up to 2**53"
        raise BadManifest(f"'{run[0][0][:200]}' cannot be stored: {what}")
    return Child(run[0][0], put(data), sum(line[2] for line in run), size)


def nodes_of(lines: Iterable[Line], level: int, put: Put, ends: Container[str] | None = None) -> Iterator[Child]:
    """The nodes of one level, each stored. With *ends*, only these paths can be where a node ends."""
    run: list[Line] = []
    salt = b"\0" * level
    for line in lines:
        run.append(line)
        if ends is not None and line[0] not in ends:
            continue
        if blake3(line[0].encode() + salt).digest()[:8] < _BOUND:
            for part in _cut(run, level):
                yield _store(part, put)
            run = []
    if run:
        for part in _cut(run, level):
            yield _store(part, put)


def raise_up(nodes: list[Child], put: Put) -> Root:
    """Levels above *nodes* until one node is left."""
    level = 1
    while len(nodes) > 1:
        if level >= MAX_DEPTH:
            raise BadManifest(f"a manifest would need more than {MAX_DEPTH} levels")
        lines = ((node.path, encode_child(node), node.count, node.size) for node in nodes)
        nodes = list(nodes_of(lines, level, put))
        level += 1
    if not nodes:
        put(b"")
        return EMPTY_ROOT
    return Root(nodes[0].digest, nodes[0].count, nodes[0].size)
