"""Two manifests compared: what differs, and not a node more than that is read."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from artifactvc.core import compare, manifest
from artifactvc.core.model import EMPTY, EMPTY_ROOT, Change, Entry, is_digest
from artifactvc.core.nodes import Child, encode_child, encode_line, is_inner, rows
from artifactvc.errors import BadManifest, MissingObject, PathConflict
from tests.core.test_manifest import CUTS, Contents, build, clash_of, file, finely_cut
from tests.strategies import DIGESTS, Nodes, applied, changes, contents, node_bytes


def naive_diff(before: Contents, after: Contents) -> list[Change]:
    return [
        Change(path, before.get(path), after.get(path))
        for path in sorted({*before, *after}, key=str.encode)
        if before.get(path) != after.get(path)
    ]


def put(content: Contents, nodes: Nodes) -> str:
    return manifest.build(content.values(), nodes.put).digest


# ---- diff ---------------------------------------------------------------------------------------


@given(st.data(), contents(), CUTS)
def test_diff_is_the_naive_diff(data, before, cuts):
    """Paths on which two manifests disagree, in order: near ones, far ones, empty ones, of any height."""
    near = applied(before, data.draw(changes(before)))
    far = data.draw(contents(6))
    with finely_cut(*cuts):
        nodes = Nodes()
        versions = [(content, put(content, nodes)) for content in (before, near, far, {})]
        for one, a in versions:
            for two, b in versions:
                assert list(compare.diff(a, b, nodes.read)) == naive_diff(one, two)


def test_changes_tell_their_kind():
    """Added, removed or modified; another kind of entry with the same content is a modification."""
    before = {path: file(path) for path in "abc"}
    after = {"b": file("b"), "c": Entry("c", "x", 1, DIGESTS[0]), "d": file("d")}
    nodes = Nodes()
    found = list(compare.diff(put(before, nodes), put(after, nodes), nodes.read))
    assert [(change.path, change.status) for change in found] == [("a", "removed"), ("c", "modified"), ("d", "added")]
    assert found[1] == Change("c", before["c"], after["c"])


def test_every_field_of_an_entry_counts():
    """Two entries that differ in one thing only are a modification."""
    nodes = Nodes()
    plain = Entry("a", "r", 1, uri="u", identity_kind="etag", identity="i", version_id="v")
    others = [plain._replace(**{name: None}) for name in ("size", "identity_kind", "identity", "version_id")]
    for one, two in [
        (file("a"), file("a")._replace(digest=DIGESTS[1])),
        (file("a"), file("a")._replace(kind="x")),
        (file("a"), file("a", 2)),
        (Entry("a", "l", target="b"), Entry("a", "l", target="c")),
        *((plain, other) for other in (*others, plain._replace(uri="w"))),
    ]:
        roots = [manifest.build([entry], nodes.put).digest for entry in (one, two)]
        assert list(compare.diff(*roots, nodes.read)) == [Change("a", one, two)]


# ---- merge --------------------------------------------------------------------------------------


def naive_merge(base: Contents, ours: Contents, theirs: Contents) -> Contents | None:
    """What both sides made of *base*, or None for a clash."""
    merged = dict(ours)
    for path in {*base, *theirs}:
        if theirs.get(path) == base.get(path) or theirs.get(path) == ours.get(path):
            continue
        if ours.get(path) != base.get(path):
            return None
        merged.pop(path, None)
        if path in theirs:
            merged[path] = theirs[path]
    return None if clash_of(merged) else merged


@given(st.data(), contents(), CUTS)
def test_merge_is_the_naive_merge(data, base, cuts):
    """Each side's changes, once; what both changed to something else, or a file in a directory's place, clashes."""
    ours = applied(base, data.draw(changes(base)))
    theirs = applied(base, data.draw(changes(base) | changes(ours)))
    expected = naive_merge(base, ours, theirs)
    with finely_cut(*cuts):
        nodes = Nodes()
        roots = [put(content, nodes) for content in (base, ours, theirs)]
        if expected is None:
            with pytest.raises(PathConflict):
                compare.merge(*roots, nodes.read, nodes.put)
        else:
            assert compare.merge(*roots, nodes.read, nodes.put).digest == put(expected, nodes)


def merged(base: str, ours: str, theirs: str) -> str:
    """Merge contents written as one letter per file; a capital letter is its file changed."""
    nodes = Nodes()

    def made(text: str) -> str:
        return put({c.lower(): file(c.lower(), 2 if c.isupper() else 1) for c in text}, nodes)

    root = compare.merge(made(base), made(ours), made(theirs), nodes.read, nodes.put)
    return "".join(e.path.upper() if e.size == 2 else e.path for e in manifest.walk(root.digest, nodes.read))


def test_merge_takes_the_changes_of_both_sides():
    """Added, removed and modified on either side; the same change on both is one change."""
    assert merged("abc", "abcd", "aBc") == "aBcd"
    assert merged("abc", "bc", "ab") == "b"
    assert merged("abc", "Abc", "Abc") == "Abc"
    assert merged("abc", "ab", "ab") == "ab"
    assert merged("", "ax", "bx") == "abx"
    assert merged("ab", "", "ab") == ""
    assert merged("ab", "ab", "") == ""
    assert merged("ab", "ab", "ab") == "ab"


@pytest.mark.parametrize(("base", "ours", "theirs"), [("a", "A", ""), ("a", "", "A"), ("", "a", "A")])
def test_merge_refuses_what_both_changed(base, ours, theirs):
    """Changed here and removed there, or added twice: the path is named."""
    with pytest.raises(PathConflict) as caught:
        merged(base, ours, theirs)
    assert caught.value.message == "'a' was changed on both sides"


def test_merge_refuses_a_file_in_a_directory_s_place():
    """Each side is sound, both together are not."""
    nodes = Nodes()
    base, ours, theirs = (put({p: file(p) for p in names}, nodes) for names in (["x"], ["x", "a"], ["x", "a/b"]))
    said = "'a' is a file and would be a directory of 'a/b'"
    for one, two in ((ours, theirs), (theirs, ours)):
        with pytest.raises(PathConflict) as caught:
            compare.merge(base, one, two, nodes.read, nodes.put)
        assert caught.value.message == said


# ---- what one has that others do not ------------------------------------------------------------


def nodes_under(root: str, nodes: Nodes) -> set[str]:
    found, queue = set(), [root]
    while queue:
        digest = queue.pop()
        if digest != EMPTY:
            found.add(digest)
            data = nodes.held[digest]
            queue += [row[1] for row in rows(data)] if is_inner(data) else []
    return found


@given(st.data(), contents(), CUTS)
def test_new_objects_are_what_the_others_lack(data, content, cuts):
    """Every node and file that no known tree has, none twice, nothing that is not of the tree, each with its size."""
    known = [applied(content, data.draw(changes(content))) for _ in range(data.draw(st.integers(0, 2)))]
    with finely_cut(*cuts):
        nodes = Nodes()
        root, roots = put(content, nodes), [put(other, nodes) for other in known]
        found = list(compare.new_objects(root, roots, nodes.read))
    digests = [digest for digest, _ in found]
    assert len(digests) == len(set(digests))
    own = nodes_under(root, nodes)
    elsewhere = {digest for other in roots for digest in nodes_under(other, nodes)}
    files = {entry.digest: entry.size for entry in content.values() if entry.is_file}
    assert set(digests) <= own | set(files)
    assert own - elsewhere <= set(digests)
    assert not (set(digests) & elsewhere & own) - set(files)
    held = {entry.digest for other in known for entry in other.values()}
    assert set(files) - held - {EMPTY} <= set(digests)
    assert all(size == len(nodes.held[digest]) for digest, size in found if digest in own)
    assert {digest for digest, _ in compare.new_nodes(root, roots, nodes.read)} == own - elsewhere


@given(contents(), CUTS)
def test_all_that_is_reachable_is_found(content, cuts):
    """Nodes and files of a tree; of a missing node the digest, and nothing below it."""
    with finely_cut(*cuts):
        nodes = Nodes()
        root = put(content, nodes)
        own = nodes_under(root, nodes) | {root}
        files = {entry.digest for entry in content.values() if entry.is_file}
        assert set(compare.reachable_here(root, nodes.read)) == own | files
        leaves = manifest.leaves(root, nodes.read)
        if len(leaves) > 1:
            lost = leaves[-1].digest
            gone = {row[3] for row in rows(nodes.held.pop(lost)) if row[1] in "fx"}
            found = set(compare.reachable_here(root, nodes.read))
            assert lost in found
            assert found | gone == own | files


def test_nothing_is_new_against_itself():
    """And of the empty manifest nothing ever is."""
    root, nodes = build([file("a"), file("b")])
    assert list(compare.new_objects(root.digest, [root.digest], nodes.read)) == []
    assert list(compare.new_objects(EMPTY, [], nodes.read)) == []
    empty = Entry("empty", "f", 0, EMPTY)
    root, nodes = build([empty, file("a"), file("b")])
    found = list(compare.new_objects(root.digest, [], nodes.read))
    assert found == [(root.digest, len(nodes.held[root.digest])), (DIGESTS[0], 1)]


def test_known_trees_may_be_missing():
    """What is not here of a known tree hides nothing; a missing node of the tree itself is an error."""
    root, nodes = build([file("a"), file("b")])
    found = list(compare.new_objects(root.digest, ["f" * 64], nodes.read))
    assert found[0] == (root.digest, len(nodes.held[root.digest]))
    with pytest.raises(MissingObject):
        list(compare.new_objects("f" * 64, [root.digest], nodes.read))


# ---- trees that were not checked yet ------------------------------------------------------------


def each_way(root: str, nodes: Nodes):
    """The walks that meet trees before they are checked."""
    yield lambda: list(compare.new_nodes(root, [], nodes.read))
    yield lambda: list(compare.new_objects(root, [], nodes.read))
    yield lambda: list(compare.reachable_here(root, nodes.read))


@given(node_bytes(), st.booleans())
@example(b"[" * 100_000 + b"\n", False)
@example(b'["a","f",1]\n', True)
@example(b"5\n", True)
def test_any_node_is_walked_or_refused(data, below):
    """Whatever a node holds, alone or under another: BadManifest, or what it names, which may be missing."""
    nodes = Nodes()
    root = nodes.put(data)
    if below:
        root = nodes.put(encode_child(Child("a", root, 1, 1)))
    for walk in each_way(root, nodes):
        with contextlib.suppress(BadManifest, MissingObject):
            walk()


def test_a_node_that_breaks_the_format_says_so():
    """The message is one for all that can be wrong, and the cause is kept."""
    nodes = Nodes()
    for data in (b'["a"]\n', b"5\n", b'["a","f",1]\n', b'["a","l","b"]\n[\n'):
        for walk in list(each_way(nodes.put(data), nodes))[1:]:
            with pytest.raises(BadManifest) as caught:
                walk()
            assert caught.value.message == "a manifest node is damaged: it does not keep the format"
            assert caught.value.__cause__ is not None


@pytest.mark.parametrize("digest", ["../../etc/passwd", 5, None, ["x"], "AB" * 32])
def test_only_digests_are_asked_for(digest):
    """What stands where a digest belongs reaches no store."""
    nodes = Nodes()
    first = nodes.put(encode_line(file("a")))
    root = nodes.put(encode_child(Child("a", first, 1, 1)) + json.dumps(["b", digest, 1, 1]).encode() + b"\n")
    for walk in each_way(root, nodes):
        with pytest.raises(BadManifest):
            walk()
    assert all(is_digest(asked) for asked in nodes.reads)


@pytest.mark.parametrize("digest", ["", "ab", "ab cd", "AB" * 32])
def test_only_digests_are_given(digest):
    """Nothing else comes out that could become a path."""
    nodes = Nodes()
    root = nodes.put(json.dumps(["a", "f", 1, digest], separators=(",", ":")).encode() + b"\n")
    for walk in list(each_way(root, nodes))[1:]:
        with pytest.raises(BadManifest):
            walk()


# ---- the cost follows the change ----------------------------------------------------------------

COUNT = 200_000


@pytest.fixture(scope="module")
def large() -> tuple[str, str, Nodes]:
    """200,000 entries, and the same with three paths changed far from each other."""
    content = {path: file(path) for path in (f"{n % 10}/{n:06d}" for n in range(COUNT))}
    root, nodes = build(content.values())
    changed = {"0/000010": file("0/000010", 9), "5/100005": None, "9/x": file("9/x")}
    other = manifest.update(root.digest, changed, nodes.read, nodes.put)
    return root.digest, other.digest, nodes.fresh()


def leaves_read(nodes: Nodes) -> set[str]:
    return {digest for digest in nodes.reads if not is_inner(nodes.held[digest])}


def test_diff_reads_only_what_differs(large):
    """Of two hundred nodes, the few that the other side lacks; of equal manifests none at all."""
    a, b, nodes = large
    nodes = nodes.fresh()
    assert [change.path for change in compare.diff(a, b, nodes.read)] == ["0/000010", "5/100005", "9/x"]
    common = nodes_under(a, nodes) & nodes_under(b, nodes)
    assert len(common) > 150
    assert not set(nodes.reads) & common
    assert len(nodes.reads) <= 20
    nodes = nodes.fresh()
    assert list(compare.diff(a, a, nodes.read)) == []
    assert nodes.reads == []


def test_diff_with_a_small_manifest_reads_it_and_no_equal_node(large):
    """Trees of different height have their equal leaves recognised too."""
    a, _, nodes = large
    first = manifest.leaves(a, nodes.read)[0]
    nodes = nodes.fresh()
    assert sum(1 for _ in compare.diff(first.digest, a, nodes.read)) == COUNT - first.count
    assert nodes.reads.count(first.digest) <= 1  # its kind has to be asked


def test_merge_reads_and_stores_only_what_changed(large):
    """A change on each side of 200,000 entries: a handful of nodes."""
    base, ours, nodes = large
    theirs = manifest.update(base, {"3/000003": None}, nodes.read, nodes.put).digest
    nodes = nodes.fresh()
    root = compare.merge(base, ours, theirs, nodes.read, nodes.put)
    assert root.count == COUNT - 1
    assert len(set(nodes.reads)) <= 25
    assert len(nodes.puts) <= 6
    for one, two in ((base, ours), (ours, base)):
        nodes = nodes.fresh()
        assert compare.merge(base, one, two, nodes.read, nodes.put).digest == ours
        assert len(set(nodes.reads)) <= 25
    assert compare.merge(EMPTY, EMPTY, EMPTY, nodes.read, nodes.put) == EMPTY_ROOT


def test_new_objects_reads_no_equal_node(large):
    """What to push of a small change: the nodes that changed and their files; no leaf that both have, but for one."""
    a, b, nodes = large
    nodes = nodes.fresh()
    found = dict(compare.new_objects(b, [a], nodes.read))
    fresh = nodes_under(b, nodes) - nodes_under(a, nodes)
    assert set(found) == fresh | {DIGESTS[0]}
    assert leaves_read(nodes) <= fresh | {manifest.leaves(a, nodes.held.__getitem__)[0].digest}
    nodes = nodes.fresh()
    assert list(compare.new_objects(a, [b, a], nodes.read)) == []
    assert len(leaves_read(nodes)) <= 2
