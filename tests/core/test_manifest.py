"""Manifests: one digest for one content by any road, at a cost that follows the change."""

from __future__ import annotations

import contextlib
from bisect import bisect_left
from collections.abc import Iterator
from random import Random
from unittest.mock import patch

import pytest
from blake3 import blake3
from hypothesis import example, given
from hypothesis import strategies as st

from artifactvc.core import cutting, manifest
from artifactvc.core.model import EMPTY, EMPTY_ROOT, Digest, Entry, Root
from artifactvc.core.nodes import MAX_DEPTH, Child, encode_child, encode_line
from artifactvc.errors import BadManifest, HostilePath, PathConflict
from artifactvc.util.hashing import digest_bytes
from tests.strategies import (
    DIGESTS,
    Contents,
    Nodes,
    applied,
    changes,
    contents,
    damaged,
    entries,
    node_bytes,
    paths,
)

D = DIGESTS[0]


def file(path: str, size: int = 1) -> Entry:
    return Entry(path, "f", size, D)


def build(found: object) -> tuple[Root, Nodes]:
    nodes = Nodes()
    return manifest.build(found, nodes.put), nodes


@contextlib.contextmanager
def finely_cut(every: int, lines: int) -> Iterator[None]:
    """Nodes that end after one path of *every* and hold at most *lines*: small contents make tall trees."""
    bound = (2**64 // every).to_bytes(8, "big") if every else bytes(8)
    with (
        patch.multiple(cutting, _BOUND=bound, MAX_LINES=lines, MAX_DEPTH=99),
        patch.object(manifest, "MAX_DEPTH", 99),
    ):
        yield


class Naive:
    """The tree as docs/format.md tells it, made anew each time: what every road must lead to."""

    def __init__(self, every: int = 1000, lines: int = 4096) -> None:
        self.every, self.lines = every, lines
        self.nodes: list[bytes] = []
        self.levels = 0

    def digest(self, found: Contents) -> Digest:
        if not found:
            return blake3(b"").hexdigest()
        ordered = sorted(found.values(), key=lambda entry: entry.path.encode())
        level = [(entry.path, encode_line(entry), 1, entry.size or 0) for entry in ordered]
        while True:
            level = [self._node(run) for run in self._runs(level)]
            self.levels += 1
            if len(level) == 1:
                return digest_bytes(self.nodes[-1])

    def _node(self, run):
        data = b"".join(line for _, line, _, _ in run)
        self.nodes.append(data)
        count, size = sum(line[2] for line in run), sum(line[3] for line in run)
        return run[0][0], encode_child(Child(run[0][0], digest_bytes(data), count, size)), count, size

    def _hash(self, path: str) -> bytes:
        return blake3(path.encode() + bytes(self.levels)).digest()

    def _runs(self, level):
        start = 0
        for at, line in enumerate(level):
            ends = self.every and int.from_bytes(self._hash(line[0])[:8], "big") < 2**64 // self.every
            if ends or at == len(level) - 1:
                yield from self._split(level[start : at + 1])
                start = at + 1

    def _split(self, run):
        if len(run) > self.lines or (len(run) > 1 and sum(len(line[1]) for line in run) > 1 << 20):
            smallest = min(run[:-1], key=lambda line: self._hash(line[0]))
            cut = run.index(smallest) + 1
            yield from self._split(run[:cut])
            yield from self._split(run[cut:])
        else:
            yield run


CUTS = st.sampled_from([(1000, 4096), (2, 4096), (3, 4), (0, 3), (5, 2)])


# ---- one content, one digest --------------------------------------------------------------------


def test_the_empty_manifest_is_the_empty_string():
    """Its digest is that of no bytes, however it comes about."""
    root, nodes = build([])
    assert root == EMPTY_ROOT == Root(digest_bytes(b""), 0, 0)
    assert nodes.held == {EMPTY: b""}
    nodes = Nodes()
    one = manifest.build([file("a")], nodes.put)
    assert manifest.update(one.digest, {"a": None}, nodes.read, nodes.put) == EMPTY_ROOT
    assert manifest.update(EMPTY, {"a": None}, nodes.read, nodes.put) == EMPTY_ROOT
    assert manifest.update(EMPTY, {}, nodes.read, nodes.put) == EMPTY_ROOT


def test_the_empty_manifest_is_not_asked_for():
    """Nothing is read of it, so no store needs to hold it."""
    nodes = Nodes()
    assert manifest.summary(EMPTY, nodes.read) == EMPTY_ROOT
    assert manifest.check(EMPTY, nodes.read) == EMPTY_ROOT
    assert manifest.leaves(EMPTY, nodes.read) == []
    assert list(manifest.walk(EMPTY, nodes.read)) == []
    assert manifest.find(EMPTY, "a", nodes.read) is None
    assert manifest.find_many(EMPTY, ["a"], nodes.read) == {}
    assert nodes.reads == []


def test_a_worked_example():
    """The bytes of a small manifest, and its digest by hand."""
    root, nodes = build([Entry("b", "l", target="a"), Entry("a", "x", 3, D)])
    data = f'["a","x",3,"{D}"]\n["b","l","a"]\n'.encode()
    assert nodes.held == {digest_bytes(data): data}
    assert root == Root(digest_bytes(data), 2, 3)


@given(contents(), CUTS, st.randoms(use_true_random=False))
@example({path: file(path) for path in ("b", "B", "é", "a-", "a/b", "a0", "\uff5a", "😀")}, (2, 4096), Random(0))
def test_a_manifest_is_its_content_alone(content, cuts, random):
    """Whatever the order of building: the tree of the format, and every way of reading it gives the content."""
    shuffled = list(content.values())
    random.shuffle(shuffled)
    naive = Naive(*cuts)
    with finely_cut(*cuts):
        root, nodes = build(shuffled)
        ordered = sorted(content.values(), key=lambda entry: entry.path.encode())
        assert root == Root(naive.digest(content), len(content), sum(entry.size or 0 for entry in ordered))
        assert list(manifest.walk(root.digest, nodes.read)) == ordered
        assert manifest.summary(root.digest, nodes.read) == root
        assert manifest.check(root.digest, nodes.read) == root
        assert manifest.find_many(root.digest, [*content, "not there"], nodes.read) == content
        for path in [*content, "not there", "\0", "\U0010ffff"]:
            assert manifest.find(root.digest, path, nodes.read) == content.get(path)
        leaves = manifest.leaves(root.digest, nodes.read)
        assert sum(leaf.count for leaf in leaves) == len(content)
        assert [leaf.path for leaf in leaves] == sorted({leaf.path for leaf in leaves}, key=str.encode)
    assert set(nodes.held) == {digest_bytes(data) for data in naive.nodes} or not content


@given(st.data(), contents(), CUTS)
def test_updates_lead_to_the_same_manifest(data, content, cuts):
    """Any sequence of updates gives what building the result gives, tells what stood there, and reads as it."""
    with finely_cut(*cuts):
        root, nodes = build(content.values())
        for _ in range(data.draw(st.integers(1, 4))):
            changed = data.draw(changes(content))
            before: dict[str, Entry] = {}
            root = manifest.update(root.digest, changed, nodes.read, nodes.put, before)
            assert before == {path: content[path] for path in changed if path in content}
            content = applied(content, changed)
            assert root == build(content.values())[0]
        assert manifest.check(root.digest, nodes.read) == root
        assert {entry.path: entry for entry in manifest.walk(root.digest, nodes.read)} == content


@given(contents(8), paths(), CUTS)
def test_a_prefix_gives_what_is_at_or_below_it(content, prefix, cuts):
    """By whole components: `images` does not take in `images2`."""
    with finely_cut(*cuts):
        root, nodes = build(content.values())
        for wanted in (prefix, *content, *(path.rpartition("/")[0] or path for path in content)):
            below = {p for p in content if p == wanted or p.startswith(wanted + "/")}
            assert {entry.path for entry in manifest.walk(root.digest, nodes.read, wanted)} == below


# ---- what cannot stand together -----------------------------------------------------------------


def conflict(call, *args) -> tuple[str, str]:
    with pytest.raises(PathConflict) as caught:
        call(*args)
    assert isinstance(caught.value, ValueError)
    return caught.value.message, caught.value.hint


@given(contents(8), st.lists(paths(), max_size=2), CUTS)
def test_a_part_is_checked_from_its_own_nodes(content, parts, cuts):
    """What is checked for some paths is all that walking and finding them reads, and tells the same of the whole."""
    with finely_cut(*cuts):
        root, nodes = build(content.values())
        checked: set[Digest] = set()
        used: set[Digest] = set()

        def noted(seen: set[Digest]):
            def read(digest: Digest) -> bytes:
                seen.add(digest)
                return nodes.read(digest)

            return read

        assert manifest.check(root.digest, noted(checked), parts) == root
        for part in parts:
            list(manifest.walk(root.digest, noted(used), part))
            manifest.find(root.digest, part, noted(used))
        assert used <= checked


def test_two_entries_at_one_path_are_refused():
    """Even if they are equal."""
    assert conflict(build, [file("a"), file("b"), file("a")]) == (
        "two files would stand at 'a'",
        "give one of them another name, or --as a prefix",
    )


@pytest.mark.parametrize("below", ["a/b", "a/b/c/d", "a/\x01"])
@pytest.mark.parametrize("between", [[], ["a!", "a-b", "a.txt"], ["a-/a/b", "a0", "A/b"]])
def test_a_file_is_no_directory(below, between):
    """`a` and `a/b` are refused, whatever sorts between them: built, or added to the other."""
    said = (f"'a' is a file and would be a directory of '{below}'", "")
    rest = [file(path) for path in between]
    assert conflict(build, [*rest, file(below), file("a")]) == said
    root, nodes = build([*rest, file("a")])
    assert conflict(manifest.update, root.digest, {below: file(below)}, nodes.read, nodes.put) == said
    root, nodes = build([*rest, file(below)])
    assert conflict(manifest.update, root.digest, {"a": file("a")}, nodes.read, nodes.put) == said
    root, nodes = build(rest)
    both = {"a": file("a"), below: file(below)}
    assert conflict(manifest.update, root.digest, both, nodes.read, nodes.put) == said


def test_a_file_becomes_a_directory_in_one_step():
    """What is removed by the same update is in nobody's way."""
    root, nodes = build([file("a"), file("b")])
    there = manifest.update(root.digest, {"a": None, "a/b": file("a/b")}, nodes.read, nodes.put)
    assert there == build([file("a/b"), file("b")])[0]
    assert manifest.update(there.digest, {"a": file("a"), "a/b": None}, nodes.read, nodes.put) == root


def clash_of(content: Contents) -> bool:
    directories = {path[:at] for path in content for at, c in enumerate(path) if c == "/"}
    return bool(directories & set(content))


_FEW = st.lists(st.sampled_from(["a", "a-", "a.b", "a/b", "a/b/c", "a/c", "a0", "b", "b/a"]), max_size=6).map(
    lambda found: {path: file(path) for path in found}
)


@given(_FEW, _FEW)
def test_conflicts_are_those_of_the_naive_check(before, changed):
    """Update refuses exactly where building the result is refused (in one node)."""
    if clash_of(before):
        conflict(build, before.values())
        return
    root, nodes = build(before.values())
    after = {**before, **changed}
    if clash_of(after):
        conflict(manifest.update, root.digest, changed, nodes.read, nodes.put)
    else:
        assert manifest.update(root.digest, changed, nodes.read, nodes.put) == build(after.values())[0]


def test_a_directory_in_another_node_is_seen():
    """`a` is refused where `a/b` stands nodes away, behind `a-0`, `a-1`, …: as building refuses it."""
    content = [*(file(f"a-{n}") for n in range(40)), file("a/b")]
    with finely_cut(4, 8):
        conflict(build, [*content, file("a")])
        root, nodes = build(content)
        assert len(manifest.leaves(root.digest, nodes.read)) > 4
        conflict(manifest.update, root.digest, {"a": file("a")}, nodes.read, nodes.put)


# ---- a large manifest: the cost follows the change ----------------------------------------------

LARGE = 200_000


class Large:
    def __init__(self) -> None:
        named = ((n, f"images/{n % 100:02d}/{n:06d}.jpg") for n in range(LARGE))
        self.content = {path: file(path, n) for n, path in named}
        self.root, self.nodes = build(self.content.values())
        self.leaves = manifest.leaves(self.root.digest, self.nodes.read)
        ordered = sorted(self.content)
        #: The paths after which leaves end.
        self.ends = [ordered[bisect_left(ordered, leaf.path) - 1] for leaf in self.leaves[1:]]


@pytest.fixture(scope="module")
def large() -> Large:
    """A manifest of 200,000 entries."""
    return Large()


def test_a_large_manifest_is_the_naive_one(large):
    """Its tree is that of the format, node for node."""
    naive = Naive()
    assert naive.digest(large.content) == large.root.digest
    assert set(large.nodes.held) >= {digest_bytes(data) for data in naive.nodes}
    assert 100 < len(large.leaves) < 400
    assert large.root == Root(large.root.digest, LARGE, LARGE * (LARGE - 1) // 2)
    assert manifest.check(large.root.digest, large.nodes.read) == large.root


def large_changes(large: Large) -> dict[str, dict[str, Entry | None]]:
    end = large.ends[100]
    return {
        "changed": {"images/42/100042.jpg": file("images/42/100042.jpg", 7)},
        "added": {"images/42/100042.txt": file("images/42/100042.txt")},
        "removed": {"images/42/100042.jpg": None},
        "first": {"images/00/000000.jpg": None, "a": file("a")},
        "last": {"images/99/199999.jpg": None, "z": file("z")},
        "removed end of a node": {end: None},
        "changed end of a node": {end: file(end, 7)},
        "added behind the end of a node": {end + ".txt": file(end + ".txt")},
        "not there": {"images/42/nothing": None},
    }


CASES = [
    "changed", "added", "removed", "first", "last", "removed end of a node", "changed end of a node",
    "added behind the end of a node", "not there",
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_change_touches_a_handful_of_nodes(large, case):
    """Of two hundred nodes a few are read, and fewer are stored; and the way back leads to the very same manifest."""
    changed = large_changes(large)[case]
    nodes = large.nodes.fresh()
    before: dict[str, Entry] = {}
    root = manifest.update(large.root.digest, changed, nodes.read, nodes.put, before)
    regions = len(changed)
    assert len(set(nodes.reads)) <= 6 * regions + 2
    assert len(nodes.puts) <= 4 * regions + 2
    assert before == {path: large.content[path] for path in changed if path in large.content}
    fresh = [entry for entry in changed.values() if entry]
    assert root.count == LARGE + len(fresh) - len(before)
    assert root.size == large.root.size + sum(e.size for e in fresh) - sum(e.size for e in before.values())
    for path, entry in changed.items():
        assert manifest.find(root.digest, path, nodes.read) == entry
    back = {path: large.content.get(path) for path in changed}
    assert manifest.update(root.digest, back, nodes.read, nodes.put) == large.root
    if case == "not there":
        assert root == large.root


def test_many_changes_at_once_in_a_large_manifest(large):
    """All of them together, with the ends of ten nodes and what stands behind them: what building gives."""
    ends = large.ends[5:60:5]
    changed = {path: entry for case in CASES for path, entry in large_changes(large)[case].items()}
    changed |= dict.fromkeys(ends) | {end + "0": file(end + "0") for end in ends[::2]}
    nodes = large.nodes.fresh()
    root = manifest.update(large.root.digest, changed, nodes.read, nodes.put)
    assert root.digest == Naive().digest(applied(large.content, changed))
    assert len(set(nodes.puts)) <= 3 * len(changed)


def test_looking_up_reads_a_handful_of_nodes(large):
    """One path reads one node of each level; a prefix reads what may hold it; many paths read each node once."""
    nodes = large.nodes.fresh()
    path = "images/42/100042.jpg"
    assert manifest.find(large.root.digest, path, nodes.read) == large.content[path]
    assert len(nodes.reads) <= 3
    nodes = nodes.fresh()
    found = {entry.path for entry in manifest.walk(large.root.digest, nodes.read, "images/42")}
    assert found == {path for path in large.content if path.startswith("images/42/")}
    assert len(nodes.reads) <= 12
    nodes = nodes.fresh()
    wanted = [f"images/42/{n:06d}.jpg" for n in range(42, LARGE, 100)]
    assert list(manifest.find_many(large.root.digest, reversed(wanted), nodes.read)) == sorted(wanted)
    assert len(nodes.reads) <= 12
    nodes = nodes.fresh()
    assert manifest.summary(large.root.digest, nodes.read) == large.root
    assert len(nodes.reads) == 1


# ---- limits -------------------------------------------------------------------------------------


def test_where_a_node_ends():
    """Exactly where the hash is below 2**64/1000: of a million paths these two are nearest on either side."""
    assert cutting.ends_node("p317444", 0)
    assert not cutting.ends_node("p1052402", 0)
    assert not cutting.ends_node("p317444", 1)
    root, nodes = build([file("p317444"), file("p317444x"), file("p317445")])
    assert [leaf.count for leaf in manifest.leaves(root.digest, nodes.read)] == [1, 2]


def test_how_long_a_run_may_be():
    """4,096 lines or 1 MiB are one node, and one more are two."""
    with patch.object(cutting, "_BOUND", bytes(8)):
        for count, leaves in ((4096, 1), (4097, 2)):
            root, nodes = build(file(f"{n:04d}") for n in range(count))
            assert len(manifest.leaves(root.digest, nodes.read)) == leaves
        for more, leaves in ((0, 1), (1, 2)):
            one, two = Entry("a", "r", uri=""), Entry("b", "r", uri="")
            room = (1 << 20) - len(encode_line(one)) - len(encode_line(two))
            root, nodes = build([one._replace(uri="u" * 1000), two._replace(uri="u" * (room - 1000 + more))])
            assert len(manifest.leaves(root.digest, nodes.read)) == leaves


def test_a_run_without_an_end_is_cut_by_lines():
    """No path ends a node: 10,000 lines become nodes of at most 4,096, at the smallest hashes, also after updates."""
    content = {path: file(path) for path in (f"{n:05d}" for n in range(10_000))}
    with finely_cut(0, 4096):
        root, nodes = build(content.values())
        assert root.digest == Naive(0).digest(content)
        assert max(data.count(b"\n") for data in nodes.held.values()) <= 4096
        changed = {"05000": None, "00000": None, "09999x": file("09999x"), "04000": file("04000", 9)}
        updated = manifest.update(root.digest, changed, nodes.read, nodes.put)
        assert updated.digest == Naive(0).digest(applied(content, changed))


@pytest.mark.parametrize("width", [4096, 40])
def test_a_run_of_long_lines_is_cut_by_bytes(width):
    """Long paths, or references with long addresses: nodes of at most 1 MiB, also after updates."""
    content = {}
    for n in range(600):
        path = f"{n:03d}/".ljust(width, "x")
        content[path] = Entry(path, "r", None, uri="s3://".ljust(4200 - width, "u"))
    root, nodes = build(content.values())
    assert root.digest == Naive().digest(content)
    assert len(nodes.held) >= 3
    assert max(map(len, nodes.held.values())) <= 1 << 20
    assert manifest.check(root.digest, nodes.read) == root
    first, last = min(content), max(content)
    changed = {first: None, last: file(last), f"300/{'y' * 4000}": file(f"300/{'y' * 4000}")}
    updated = manifest.update(root.digest, changed, nodes.read, nodes.put)
    assert updated.digest == Naive().digest(applied(content, changed))


def test_one_line_may_fill_a_node():
    """A line of more than 1 MiB stands alone; it cannot be cut."""
    content = {path: Entry(path, "r", uri=path * (1 << 20) + path) for path in "abc"}
    root, nodes = build(content.values())
    assert [leaf.count for leaf in manifest.leaves(root.digest, nodes.read)] == [1, 1, 1]
    assert root.digest == Naive().digest(content)
    assert manifest.check(root.digest, nodes.read) == root


def test_a_line_that_no_reader_takes_is_not_written():
    """What is built can be read: a reference with an address of 5 MiB is refused, not stored."""
    nodes = Nodes()
    with pytest.raises(BadManifest):
        manifest.build([Entry("a", "r", uri="u" * (5 << 20))], nodes.put)
    assert nodes.held == {}


def test_a_sum_that_no_reader_takes_is_not_written():
    """What is built can be read: sizes that add up to 2**53 in one node are refused, not stored."""
    with finely_cut(0, 2), pytest.raises(BadManifest):
        build([file(path, 2**52) for path in "abcd"])


def test_a_manifest_that_would_be_too_deep_is_refused():
    """Cutting that ends at the eighth level is well; at the ninth, or never, nothing is given back."""
    by_height: dict[int, list[Entry]] = {}
    for count in range(1, 400, 3):
        content = [file(f"{n:03d}") for n in range(count)]
        naive = Naive(0, 2)
        naive.digest({entry.path: entry for entry in content})
        by_height.setdefault(naive.levels, content)
    with patch.multiple(cutting, _BOUND=bytes(8), MAX_LINES=2):
        root, nodes = build(by_height[8])
        assert manifest.check(root.digest, nodes.read) == root
        with pytest.raises(BadManifest) as caught:
            build(by_height[9])
        assert caught.value.message == "a manifest would need more than 8 levels"
    with patch.object(cutting, "MAX_LINES", 1), pytest.raises(BadManifest) as caught:
        build([file("a"), file("b")])
    assert caught.value.message == "a manifest would need more than 8 levels"


def tower(levels: int) -> tuple[Digest, Nodes]:
    """A leaf under *levels* - 1 inner nodes of one line each."""
    nodes = Nodes()
    digest = nodes.put(encode_line(file("a")))
    for _ in range(levels - 1):
        digest = nodes.put(encode_child(Child("a", digest, 1, 1)))
    return digest, nodes


def test_the_depth_of_a_tree_is_bounded():
    """8 levels are read, 9 are not."""
    digest, nodes = tower(MAX_DEPTH)
    assert manifest.check(digest, nodes.read) == Root(digest, 1, 1)
    assert len(manifest.leaves(digest, nodes.read)) == 1
    for call, levels in ((manifest.check, MAX_DEPTH + 1), (manifest.leaves, MAX_DEPTH + 2)):
        digest, nodes = tower(levels)
        with pytest.raises(BadManifest) as caught:
            call(digest, nodes.read)
        assert caught.value.message == "a manifest is deeper than 8 levels"


# ---- trees from elsewhere -----------------------------------------------------------------------


class Tree(Nodes):
    """Trees made by hand, right or wrong."""

    def leaf(self, *lines: str | Entry) -> Child:
        made = [line if isinstance(line, Entry) else file(line) for line in lines]
        digest = self.put(b"".join(map(encode_line, made)))
        return Child(made[0].path, digest, len(made), sum(entry.size or 0 for entry in made))

    def inner(self, *below: Child) -> Child:
        digest = self.put(b"".join(map(encode_child, below)))
        return Child(below[0].path, digest, sum(c.count for c in below), sum(c.size for c in below))

    def refusal(self, top: Child) -> str:
        with pytest.raises(BadManifest) as caught:
            manifest.check(top.digest, self.read)
        return caught.value.message


INNER = "a manifest is damaged: an inner line does not tell what is below it"
ORDER = "a manifest is damaged: its nodes are out of order"


def test_a_tree_made_by_hand_is_sound():
    """What the following tests break."""
    tree = Tree()
    top = tree.inner(tree.inner(tree.leaf("a", "b"), tree.leaf("c")), tree.inner(tree.leaf("d/e")))
    assert manifest.check(top.digest, tree.read) == Root(top.digest, 4, 4)


@pytest.mark.parametrize("lie", [{"count": 3}, {"count": 1}, {"size": 3}, {"size": 0}])
def test_counts_and_sizes_are_those_below(lie):
    """An inner line that tells more or less than it names is refused, on every level."""
    tree = Tree()
    a, b = tree.leaf("a", "b"), tree.leaf("c")
    assert tree.refusal(tree.inner(a._replace(**lie), b)) == INNER
    assert tree.refusal(tree.inner(tree.inner(a)._replace(**lie), tree.inner(b))) == INNER


def test_first_paths_are_those_below():
    """An inner line names the first path of its node: a search relies on it."""
    tree = Tree()
    a, c = tree.leaf("a", "b"), tree.leaf("c")
    for path in ("A", "b", "bb"):
        assert tree.refusal(tree.inner(a._replace(path=path), c)) == ORDER
        assert tree.refusal(tree.inner(tree.leaf("0"), a._replace(path=path), c)) == ORDER


def test_first_paths_are_those_below_on_every_level():
    """Also two levels up: else entries are walked that a search does not find."""
    tree = Tree()
    top = tree.inner(tree.inner(tree.leaf("a")), tree.inner(tree.leaf("m"))._replace(path="x"))
    assert {entry.path for entry in manifest.walk(top.digest, tree.read)} == {"a", "m"}
    assert tree.refusal(top) == INNER


def test_paths_ascend_across_nodes():
    """Nodes in another order, the same node twice, or overlapping ones."""
    tree = Tree()
    a, b = tree.leaf("a", "c"), tree.leaf("b")
    assert tree.refusal(tree.inner(b, a)) == ORDER
    assert tree.refusal(tree.inner(a, a)) == ORDER
    assert tree.refusal(tree.inner(a, b)) == ORDER
    assert tree.refusal(tree.inner(a, tree.leaf("c"))) == ORDER
    assert tree.refusal(tree.inner(tree.inner(a), tree.inner(b))) == ORDER


def test_a_tree_that_repeats_itself_costs_nothing():
    """Eight levels of two equal children each: the first repetition is refused."""
    tree = Tree()
    top = tree.leaf("a")
    for _ in range(MAX_DEPTH - 1):
        top = tree.inner(top, top)
    assert tree.refusal(top) == ORDER
    assert len(tree.reads) <= MAX_DEPTH + 1


def test_a_file_that_is_a_directory_is_refused_across_nodes():
    """Also with files between them that begin with its name."""
    tree = Tree()
    message = "a manifest is damaged: a file is also a directory of 'a/b/c'"
    assert tree.refusal(tree.leaf("a", "a/b/c")) == message
    assert tree.refusal(tree.inner(tree.leaf("a"), tree.leaf("a-b", "a.txt"), tree.leaf("a/b/c"))) == message
    assert tree.refusal(tree.inner(tree.leaf("a/b"), tree.leaf("a/b-", "a/b/c"))) == message
    sound = tree.inner(tree.leaf("a-", "a/b"), tree.leaf("a/b0", "ab", "b"))
    assert manifest.check(sound.digest, tree.read).count == 5


def test_an_empty_node_is_refused():
    """Only the empty manifest has no lines, and it stands under nothing."""
    tree = Tree()
    empty = Child("a", tree.put(b""), 1, 0)
    assert tree.refusal(tree.inner(empty)) == "a manifest is damaged: an empty node"


def test_leaves_are_all_at_one_depth():
    """A leaf beside an inner node is refused: what is read later asks only the first node of a level for its kind."""
    tree = Tree()
    for top in (
        tree.inner(tree.inner(tree.leaf("a")), tree.leaf(Entry("b", "l", target="a"))),
        tree.inner(tree.leaf("a"), tree.inner(tree.leaf("b"))),
    ):
        assert tree.refusal(top) == "a manifest is damaged: its leaves are not equally deep"


def test_hostile_lines_are_refused_in_their_place():
    """What a node may not hold, a tree may not hold."""
    tree = Tree()
    for path in ("../a", ".git/config", "a\n"):
        with pytest.raises(HostilePath):
            manifest.check(tree.inner(tree.leaf("0"), tree.leaf(path)).digest, tree.read)
    mixed = tree.put(encode_line(file("a")) + encode_child(tree.leaf("b")))
    assert tree.refusal(Child("a", mixed, 2, 2)) == "a manifest node is damaged: a bad entry"


@st.composite
def hostile_trees(draw) -> tuple[Digest, Nodes]:
    """Nodes of any bytes under inner lines that nearly fit."""
    tree = Tree()
    level = []
    for _ in range(draw(st.integers(1, 4))):
        sound = st.lists(entries(), min_size=1, max_size=4).map(
            lambda found: b"".join(sorted({encode_line(entry) for entry in found}))
        )
        data = draw(sound | sound | node_bytes() | damaged(sound))
        count = data.count(b"\n") or 1
        level.append(Child(draw(paths()), tree.put(data), count, draw(st.integers(0, 9))))
    for _ in range(draw(st.integers(0, 3))):
        level = [tree.inner(*level[:2]), *level[2:]]
    top = draw(st.sampled_from(level))
    return top.digest, tree


@given(hostile_trees())
def test_any_tree_is_sound_or_refused(tree):
    """Whatever the nodes: a root, BadManifest or HostilePath."""
    digest, nodes = tree
    with contextlib.suppress(BadManifest, HostilePath):
        root = manifest.check(digest, nodes.read)
        found = list(manifest.walk(digest, nodes.read))
        assert root.count == len(found)
        assert [entry.path for entry in found] == sorted({entry.path for entry in found}, key=str.encode)
