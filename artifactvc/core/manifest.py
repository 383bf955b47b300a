"""Manifests as trees: built, updated, walked, searched, checked.

A manifest is an ordered map from path to entry, cut into nodes where the hash of a path
says so, whatever the history (docs/format.md, "Manifest"). So equal content has an equal
digest by any road, and a change touches the nodes it falls into. No input or output:
nodes are reached through ``Read`` (digest -> bytes, checked by the store) and ``Put``.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby, pairwise

from artifactvc.core.cutting import Line, Put, ends_node, line_of, nodes_of, raise_up
from artifactvc.core.model import EMPTY, EMPTY_ROOT, Digest, Entry, Root
from artifactvc.core.nodes import (
    MAX_DEPTH,
    Child,
    check_path,
    children,
    decode_inner,
    decode_leaf,
    is_inner,
    rows,
    to_entry,
)
from artifactvc.errors import BadManifest, PathConflict

__all__ = [
    "Put",
    "Read",
    "build",
    "build_in_order",
    "check",
    "check_path",
    "find",
    "in_order",
    "leaves",
    "nodes_for",
    "side_by_side",
    "summary",
    "update",
    "walk",
]

Read = Callable[[Digest], bytes]


def build(entries: Iterable[Entry], put: Put) -> Root:
    """Store the manifest of *entries*, in any order, and return its root.

    Raises PathConflict where two entries have one path, or one is a directory of another.
    """
    ordered = sorted(entries, key=lambda entry: entry.path.encode())
    _check_order([entry.path for entry in ordered])
    return raise_up(list(nodes_of(map(line_of, ordered), 0, put)), put)


def build_in_order(entries: Iterable[Entry], put: Put) -> Root:
    """The same for entries that come in order of their paths (UTF-8 bytes): none is held but those of one node."""
    return raise_up(list(nodes_of(map(line_of, in_order(entries)), 0, put)), put)


def in_order(entries: Iterable[Entry]) -> Iterator[Entry]:
    """*entries*, which are in order. Raises as ``build``."""
    above: list[str] = []  # files that could be directories of what comes
    for entry in entries:
        above = [path for path in above if entry.path.startswith(path)]
        for path in above:
            if path == entry.path:
                raise PathConflict(f"two entries would stand at '{path}'", hint="give one of them another name")
            if entry.path.startswith(path + "/"):
                raise PathConflict(
                    f"'{path}' is a file and would be a directory of '{entry.path}'",
                    hint="give one of them another name, or put it below another prefix",
                )
        above.append(entry.path)
        yield entry


def side_by_side(before: Iterable[Entry], after: Iterable[Entry]) -> Iterator[tuple[Entry | None, Entry | None]]:
    """Two streams of entries in order, joined by their paths, in order; None where one has nothing at a path."""
    streams = [_numbered(stream, n) for n, stream in enumerate((before, after))]
    for _, group in groupby(heapq.merge(*streams, key=lambda item: item[:2]), lambda item: item[0]):
        pair: list[Entry | None] = [None, None]
        for _, n, entry in group:
            if pair[n] is not None:
                raise PathConflict(f"two entries would stand at '{entry.path}'", hint="give one of them another name")
            pair[n] = entry
        yield pair[0], pair[1]


def _numbered(entries: Iterable[Entry], n: int) -> Iterator[tuple[bytes, int, Entry]]:
    for entry in entries:
        yield entry.path.encode(), n, entry


def _check_order(paths: list[str]) -> None:
    """Refuse a path twice, and ``a`` together with ``a/b``; *paths* are sorted by their bytes."""
    known = set(paths)
    if len(known) < len(paths):
        twice = next(a for a, b in pairwise(paths) if a == b)
        raise PathConflict(
            f"two files would stand at '{twice}'", hint="give one of them another name, or --as a prefix"
        )
    seen: set[str] = set()
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent and parent not in seen:
            if parent in known:
                raise PathConflict(f"'{parent}' is a file and would be a directory of '{path}'")
            seen.add(parent)
            parent = parent.rpartition("/")[0]


def summary(root: Digest, read: Read) -> Root:
    """Count and size of a manifest, from its top node alone."""
    if root == EMPTY:
        return EMPTY_ROOT
    data = read(root)
    if is_inner(data):
        below = children(data)
        return Root(root, sum(child.count for child in below), sum(child.size for child in below))
    found = rows(data)
    return Root(root, len(found), sum(row[2] or 0 for row in found if row[1] != "l"))


def leaves(root: Digest, read: Read) -> list[Child]:
    """The leaves of a manifest, in order; leaves themselves are not read, unless the top is one."""
    if root == EMPTY:
        return []
    data = read(root)
    if not is_inner(data):
        found = rows(data)
        return [Child(found[0][0], root, len(found), sum(row[2] or 0 for row in found if row[1] != "l"))]
    level = children(data)
    for _ in range(MAX_DEPTH):
        # All nodes of one level are of one kind: the first tells.
        first = read(level[0].digest)
        if not is_inner(first):
            return level
        level = [below for child in level for below in children(read(child.digest))]
    raise BadManifest(f"a manifest is deeper than {MAX_DEPTH} levels")


def _span(nodes: list[Child], prefix: str) -> tuple[int, int]:
    """Positions of the nodes that may hold *prefix* itself or what is below it."""
    keys = [node.path.encode() for node in nodes]
    low = max(bisect_right(keys, prefix.encode()) - 1, 0)
    high = bisect_right(keys, prefix.encode() + b"0")  # "0" is the character after "/"
    return low, max(high, low + 1)


def _below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")


def walk(root: Digest, read: Read, prefix: str = "") -> Iterator[Entry]:
    """The entries at or below *prefix*, in order; nodes that cannot hold any are not read."""
    if root == EMPTY:
        return
    data = read(root)
    if is_inner(data):
        below = children(data)
        low, high = _span(below, prefix) if prefix else (0, len(below))
        for child in below[low:high]:
            yield from walk(child.digest, read, prefix)
        return
    for row in rows(data):
        if not prefix or _below(row[0], prefix):
            yield to_entry(row)


def find(root: Digest, path: str, read: Read) -> Entry | None:
    """The entry at exactly *path*, or None."""
    while root != EMPTY:
        data = read(root)
        if not is_inner(data):
            row = next((row for row in rows(data) if row[0] == path), None)
            return None if row is None else to_entry(row)
        below = children(data)
        root = below[_span(below, path)[0]].digest
    return None


def find_many(root: Digest, paths: Iterable[str], read: Read) -> dict[str, Entry]:
    """The entries at exactly *paths*; each leaf that holds some of them is read once."""
    ordered = sorted(paths, key=str.encode)
    found: dict[str, Entry] = {}
    nodes = leaves(root, read) if ordered else []
    keys = [node.path.encode() for node in nodes]
    by_node: dict[int, set[str]] = {}
    for path in ordered if nodes else ():
        by_node.setdefault(max(bisect_right(keys, path.encode()) - 1, 0), set()).add(path)
    for position, wanted in by_node.items():
        found.update((row[0], to_entry(row)) for row in rows(read(nodes[position].digest)) if row[0] in wanted)
    return found


# ---- update -------------------------------------------------------------------------------------


def update(
    root: Digest,
    changes: Mapping[str, Entry | None],
    read: Read,
    put: Put,
    before: dict[str, Entry] | None = None,
) -> Root:
    """Return the manifest *root* with *changes*: entries put, or removed where None.

    *before* is given the entries that stood at the changed paths.

    The result is what ``build`` would give, but only the nodes that changes fall into,
    their neighbours in the same run and the nodes above are read and stored.
    Raises PathConflict for a path that would be a file and a directory.
    """
    if not changes:
        return summary(root, read)
    nodes = leaves(root, read)
    if not nodes:
        return build([entry for entry in changes.values() if entry is not None], put)
    ordered = sorted(changes, key=str.encode)
    new: list[Child] = []
    old: dict[str, Entry] = {} if before is None else before
    done = 0
    for start, end, paths in _regions(nodes, ordered, read):
        new += nodes[done:start]
        lines = _edited([read(node.digest) for node in nodes[start:end]], {path: changes[path] for path in paths}, old)
        # Lines that stay were no ends before, but for the last of each node, so they are none now.
        ends = {*paths, *(_last_path(node, read) for node in nodes[start:end])}
        new += nodes_of(lines, 0, put, ends)
        done = end
    new += nodes[done:]
    result = raise_up(new, put)
    added = [path for path in ordered if changes[path] is not None and path not in old]
    if added and result.digest != EMPTY:
        _check_added(nodes, new, added, read)
    return result


def _regions(nodes: list[Child], ordered: list[str], read: Read) -> Iterator[tuple[int, int, list[str]]]:
    """Runs of nodes that must be cut anew, each with the changed paths in it.

    A run begins after a node that ends at a boundary and ends with the next such node,
    so cutting inside it cannot depend on what is outside. If the boundary path itself
    is removed, or paths are added behind it, the next run belongs to it too.
    """
    keys = [node.path.encode() for node in nodes]
    position = 0
    while position < len(ordered):
        at = max(bisect_right(keys, ordered[position].encode()) - 1, 0)
        start = at
        while start > 0 and not _complete(nodes[start - 1], read):
            start -= 1
        end = at + 1
        paths: list[str] = []
        while True:
            limit = keys[end] if end < len(nodes) else None
            while position < len(ordered) and (limit is None or ordered[position].encode() < limit):
                paths.append(ordered[position])
                position += 1
            if end >= len(nodes) or (_complete(nodes[end - 1], read) and _keeps_end(nodes[end - 1], paths, read)):
                break
            end += 1
        yield start, end, paths


def _last_path(node: Child, read: Read) -> str:
    data = read(node.digest)
    return str(rows(data[data.rfind(b"\n", 0, -1) + 1 :])[0][0])


def _complete(node: Child, read: Read) -> bool:
    """Whether the leaf ends where a path's hash ends it, not where a large run was cut."""
    return ends_node(_last_path(node, read), 0)


def _keeps_end(node: Child, paths: list[str], read: Read) -> bool:
    """Whether the leaf's last path stays its last: nothing changed at it or behind it."""
    return not paths or paths[-1].encode() < _last_path(node, read).encode()


def _edited(datas: list[bytes], changes: dict[str, Entry | None], before: dict[str, Entry]) -> list[Line]:
    """The lines of some leaves with changes put in; lines that stay are not encoded again."""
    lines: list[Line] = []
    for data in datas:
        for row, raw in zip(rows(data), data.split(b"\n"), strict=False):
            if row[0] not in changes:
                lines.append((row[0], raw + b"\n", 1, (row[2] or 0) if row[1] != "l" else 0))
            else:
                before[row[0]] = to_entry(row)
    fresh = [line_of(entry) for entry in changes.values() if entry is not None]
    if fresh:
        lines += fresh
        lines.sort(key=lambda line: line[0].encode())
    return lines


def _check_added(before: list[Child], after: list[Child], added: list[str], read: Read) -> None:
    """Refuse an added path that is also a directory, or lies below a file."""
    keys = [node.path.encode() for node in after]
    cache: dict[Digest, list[bytes]] = {}

    def paths_of(position: int) -> list[bytes]:
        digest = after[position].digest
        if digest not in cache:
            if len(cache) > 64:
                cache.clear()
            cache[digest] = [row[0].encode() for row in rows(read(digest))]
        return cache[digest]

    def node_of(path: bytes) -> int:
        return max(bisect_right(keys, path) - 1, 0)

    def holds(path: bytes) -> bool:
        names = paths_of(node_of(path))
        where = bisect_right(names, path) - 1
        return where >= 0 and names[where] == path

    known = {child.digest for child in before}
    checked: set[str] = set()
    for path in added:
        parent = path.rpartition("/")[0]
        while parent and parent not in checked:
            if holds(parent.encode()):
                raise PathConflict(f"'{parent}' is a file and would be a directory of '{path}'")
            checked.add(parent)
            parent = parent.rpartition("/")[0]
        if after[node_of(path.encode())].digest in known:
            continue
        # Between ``a`` and ``a/b`` may stand ``a-b``, so what is below may be in a later node.
        start = path.encode() + b"/"
        at = node_of(start)
        names = paths_of(at)
        follows = bisect_right(names, start)
        following = names[follows] if follows < len(names) else keys[at + 1] if at + 1 < len(keys) else b""
        if following.startswith(start):
            raise PathConflict(f"'{path}' is a file and would be a directory of '{following.decode()}'")


# ---- check ---------------------------------------------------------------------------------------


def nodes_for(below: list[Child], parts: Iterable[str] | None) -> list[Child]:
    """Those lines of an inner node under which the entries at or below *parts* may be; all of them for None."""
    if parts is None:
        return below
    wanted = {position for part in parts for position in range(*_span(below, part))} if below else set()
    return [child for position, child in enumerate(below) if position in wanted]


def check(root: Digest, read: Read, parts: Iterable[str] | None = None) -> Root:
    """Check a tree that may come from anywhere; its root if it is well formed (protocol H1 to H3).

    With *parts* only the nodes that may hold what is at or below these paths are read: so much
    is well formed then, and count and size are as the nodes above tell.
    Raises BadManifest or HostilePath. Memory is bounded by one path of nodes and the
    names of directories.
    """
    if root == EMPTY:
        return EMPTY_ROOT
    state = _Checker(read, None if parts is None else tuple(parts))
    count, size = state.node(root, 0)
    return Root(root, count, size)


class _Checker:
    def __init__(self, read: Read, parts: tuple[str, ...] | None = None) -> None:
        self.read, self.last, self.parts = read, "", parts
        self.depth: int | None = None  # of the leaves: all are equally deep
        self.open: list[str] = []  # files that could be directories of what comes

    def node(self, digest: Digest, depth: int, first: str | None = None) -> tuple[int, int]:
        """Entries and bytes below a node whose first path must be *first*."""
        if depth >= MAX_DEPTH:
            raise BadManifest(f"a manifest is deeper than {MAX_DEPTH} levels")
        data = self.read(digest)
        if not is_inner(data):
            return self.leaf(data, depth, first)
        count = size = 0
        below = decode_inner(data)
        wanted = set(nodes_for(below, self.parts))
        for position, child in enumerate(below):
            before = self.last
            if position == 0 and first not in (None, child.path):
                raise BadManifest("a manifest is damaged: an inner line does not tell what is below it")
            if child in wanted:
                found = self.node(child.digest, depth + 1, child.path)
            else:
                found, self.last = (child.count, child.size), child.path
            if found != (child.count, child.size) or child.path.encode() <= before.encode():
                raise BadManifest("a manifest is damaged: an inner line does not tell what is below it")
            count, size = count + found[0], size + found[1]
        return count, size

    def leaf(self, data: bytes, depth: int, first: str | None) -> tuple[int, int]:
        entries = decode_leaf(data)
        if not entries:
            raise BadManifest("a manifest is damaged: an empty node")
        if first not in (None, entries[0].path) or entries[0].path.encode() <= self.last.encode():
            raise BadManifest("a manifest is damaged: its nodes are out of order")
        if self.depth not in (None, depth):
            raise BadManifest("a manifest is damaged: its leaves are not equally deep")
        self.depth = depth
        size = 0
        for entry in entries:
            self._directories(entry.path)
            size += entry.size or 0
        return len(entries), size

    def _directories(self, path: str) -> None:
        """Refuse ``a`` before ``a/b``. Between the two may stand ``a-b``, so files that could be parents are kept."""
        self.open = [name for name in self.open if path.startswith(name)]
        if any(path.startswith(name + "/") for name in self.open):
            raise BadManifest(f"a manifest is damaged: a file is also a directory of '{path[:200]}'")
        self.open.append(path)
        self.last = path
