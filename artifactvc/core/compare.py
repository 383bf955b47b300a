"""Two manifests compared: diff, merge, and what one has that others do not.

Equal nodes are equal content, so they are skipped unread: the cost follows the change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from artifactvc.core.manifest import Put, Read, update
from artifactvc.core.model import EMPTY, Change, Digest, Entry, Root, check_digest
from artifactvc.core.nodes import children, is_inner, rows, to_entry, well_formed
from artifactvc.errors import MissingObject, PathConflict


def _different_leaves(a: Digest, b: Digest, read: Read) -> tuple[list[Digest], list[Digest]]:
    """The leaves of each manifest that the other does not have; equal nodes are dropped unread, level by level."""
    sides = [[a] if a != EMPTY else [], [b] if b != EMPTY else []]
    inner = [True, True]
    while any(inner):
        common = set(sides[0]) & set(sides[1])
        sides = [[digest for digest in side if digest not in common] for side in sides]
        for position, side in enumerate(sides):
            # The nodes of one level are of one kind, so the first tells for all.
            inner[position] = inner[position] and bool(side) and is_inner(read(side[0]))
            if inner[position]:
                sides[position] = [child.digest for digest in side for child in children(read(digest))]
    common = set(sides[0]) & set(sides[1])
    return [d for d in sides[0] if d not in common], [d for d in sides[1] if d not in common]


def _stream(leaves: Iterable[Digest], read: Read) -> Iterator[tuple[bytes, list[Any]]]:
    for digest in leaves:
        for row in rows(read(digest)):
            yield row[0].encode(), row


def diff(a: Digest, b: Digest, read: Read) -> Iterator[Change]:
    """The paths on which manifests *a* and *b* disagree, in order. Memory is bounded by a few nodes."""
    left_leaves, right_leaves = _different_leaves(a, b, read)
    left, right = _stream(left_leaves, read), _stream(right_leaves, read)
    one, two = next(left, None), next(right, None)
    while one is not None or two is not None:
        if two is None or (one is not None and one[0] < two[0]):
            assert one is not None
            yield Change(one[1][0], to_entry(one[1]), None)
            one = next(left, None)
        elif one is None or two[0] < one[0]:
            yield Change(two[1][0], None, to_entry(two[1]))
            two = next(right, None)
        else:
            if one[1] != two[1]:
                yield Change(one[1][0], to_entry(one[1]), to_entry(two[1]))
            one, two = next(left, None), next(right, None)


def merge(base: Digest, ours: Digest, theirs: Digest, read: Read, put: Put) -> Root:
    """Return *ours* with what *theirs* changed since *base*.

    Raises PathConflict for a path that both changed, each to something else.
    """
    mine = {change.path: change.after for change in diff(base, ours, read)}
    changes: dict[str, Entry | None] = {}
    for change in diff(base, theirs, read):
        if change.path in mine and mine[change.path] != change.after:
            raise PathConflict(f"'{change.path}' was changed on both sides")
        if change.path not in mine:
            changes[change.path] = change.after
    return update(ours, changes, read, put)


def _known_nodes(known: Iterable[Digest], read: Read) -> set[Digest]:
    """Digests of all nodes of the trees *known*, without reading leaves; what is not here is passed over."""
    seen: set[Digest] = set()
    for root in known:
        queue = [root]
        while queue:
            digest = queue.pop()
            if digest in seen or digest == EMPTY:
                continue
            seen.add(digest)
            try:
                data = read(digest)
            except MissingObject:
                continue
            if is_inner(data):
                below = [child.digest for child in children(data)]
                if below and not _inner_below(below[0], read):
                    seen.update(below)
                else:
                    queue.extend(below)
    return seen


def _inner_below(digest: Digest, read: Read) -> bool:
    try:
        return is_inner(read(digest))
    except MissingObject:
        return False


def new_nodes(root: Digest, known: Iterable[Digest], read: Read) -> Iterator[tuple[Digest, bytes]]:
    """The nodes of *root* that none of the trees *known* has, top first; equal subtrees are skipped unread."""
    seen = _known_nodes(known, read)
    seen.add(EMPTY)  # the object without bytes is never stored: every store has it
    queue = [root]
    while queue:
        digest = queue.pop()
        if digest in seen:
            continue
        seen.add(digest)
        data = read(digest)
        yield digest, data
        with well_formed():
            if is_inner(data):
                queue.extend(child.digest for child in reversed(children(data)))


def new_objects(root: Digest, known: Iterable[Digest], read: Read) -> Iterator[tuple[Digest, int]]:
    """(digest, bytes) of the nodes and files of *root* that the trees *known* do not share with it.

    Nodes that a known tree has are skipped with all below them. A file in a changed node
    is given even if a known tree has it too; no digest is given twice.
    """
    given: set[bytes] = {bytes.fromhex(EMPTY)}
    for digest, data in new_nodes(root, known, read):
        yield digest, len(data)
        fresh: list[tuple[Digest, int]] = []
        with well_formed():
            for row in () if is_inner(data) else rows(data):
                if row[1] in ("f", "x"):
                    key = bytes.fromhex(check_digest(row[3]))
                    if key not in given:
                        given.add(key)
                        fresh.append((row[3], row[2]))
        yield from fresh


def reachable_here(root: Digest, read: Read) -> Iterator[Digest]:
    """Digests of the nodes and files of *root* that can be reached, passing over nodes that are not here."""
    queue = [root]
    while queue:
        digest = queue.pop()
        yield digest
        try:
            data = read(digest)
        except MissingObject:
            continue
        with well_formed():
            inner = bool(data) and is_inner(data)
            if inner:
                queue.extend(child.digest for child in children(data))
            below = [] if inner else [check_digest(row[3]) for row in rows(data) if row[1] in ("f", "x")]
        yield from below


class Reached(NamedTuple):
    """What manifests need: digests of nodes and of files (32 bytes each), and the nodes that could not be read."""

    nodes: set[bytes]
    files: set[bytes]
    missing: set[Digest]


def reach(roots: Iterable[Digest], read: Read) -> Reached:
    """All that the manifests *roots* need, each node read once; what is below a missing node is not told."""
    found = Reached(set(), set(), set())
    queue = list(roots)
    while queue:
        digest = queue.pop()
        key = bytes.fromhex(digest)
        if digest == EMPTY or key in found.nodes:
            continue
        found.nodes.add(key)
        try:
            data = read(digest)
        except MissingObject:
            found.missing.add(digest)
            continue
        with well_formed():
            if is_inner(data):
                queue.extend(child.digest for child in children(data))
            else:
                found.files.update(bytes.fromhex(check_digest(row[3])) for row in rows(data) if row[1] in ("f", "x"))
    return found
