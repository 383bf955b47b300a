"""Manifest nodes: one spelling for one content, and what is refused of bytes from elsewhere (protocol H1 to H3)."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from artifactvc.core import nodes
from artifactvc.core.model import EMPTY, Entry, check_digest, is_digest
from artifactvc.core.nodes import Child, decode_inner, decode_leaf, encode_child, encode_line
from artifactvc.errors import BadManifest, Corrupt, HostilePath
from artifactvc.util.text import escape
from tests.strategies import DIGESTS, childs, contents, damaged, entries, node_bytes, path_soup, paths

D = DIGESTS[0]
LINE = f'["a","f",1,"{D}"]\n'.encode()


def refused(call, *args, error=BadManifest) -> str:
    with pytest.raises(Corrupt) as caught:
        call(*args)
    assert type(caught.value) is error, repr(caught.value)
    return caught.value.message


# ---- digests ------------------------------------------------------------------------------------


def test_digests_are_64_lower_case_hex_digits():
    """Anything else is refused before a path or URL is built of it."""
    assert is_digest(D)
    assert is_digest(EMPTY)
    for text in (D.upper(), D[:-1], D + "0", D + "\n", "", "../" + D[3:], None, 5, D.encode(), "０" * 64):
        assert not is_digest(text)
        assert refused(check_digest, text, "the index") == f"the index holds '{str(text)[:80]}' where a digest belongs"
    assert check_digest(D) == D


# ---- paths --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "a", "a/b/c", "a.git", "git", ".gitignore", ".github/x", "artifacts", ".artifacts2", "a/.hidden",
        "..a", "a..", " .git",
        "a./b", "a b", " a", "é/漢/😀", "a\\b", "c:/x", "a\u00a0", "x" * 4096, "-", "~", "a/...b",
        "a.git/b",
    ],
)  # fmt: skip
def test_paths_that_may_be(path):
    """Whatever a file may be called that harms nobody."""
    assert nodes.check_path(path) == path


@pytest.mark.parametrize("path", ["", "/", "/a", "//a", "/../a", "x" * 4097, None, 5, b"a", ["a"]])
def test_paths_are_relative_and_bounded(path):
    """Absolute, empty and endless paths, and what is no text."""
    with pytest.raises(HostilePath) as caught:
        nodes.check_path(path)
    assert caught.value.message == f"bad path '{escape(str(path)[:200])}'"
    assert caught.value.hint == "paths are relative, not empty, and at most 4096 long"


@pytest.mark.parametrize(
    "path",
    ["..", "../a", "a/..", "a/../b", ".", "./a", "a/.", "a/./b", "a//b", "a/", "a/b/", "a///b", ".//a", "é/../a"],
)
def test_paths_do_not_climb_or_repeat(path):
    """No component is empty, `.` or `..`."""
    assert refused(nodes.check_path, path, error=HostilePath) == f"path '{path}' climbs or repeats a separator"


@pytest.mark.parametrize("path", ["a\n", "\0", "a\x00b", "a\x1b[2J", "\x7f", "a\x85", "é\r", "a/\t/b", "..\n"])
def test_paths_hold_no_control_characters(path):
    """They deceive terminals and scripts."""
    assert refused(nodes.check_path, path, error=HostilePath) == f"path '{escape(path)}' holds control characters"


@pytest.mark.parametrize("path", ["\ud800", "a/\udc80", "é\udfff"])
def test_paths_are_utf_8(path):
    """Half a surrogate pair cannot be written."""
    assert refused(nodes.check_path, path, error=HostilePath) == f"path '{escape(path)}' is not UTF-8"


@pytest.mark.parametrize(
    "part",
    [
        ".git", ".GIT", ".Git", ".git.", ".git ", ".git . .", ".artifacts", ".ARTIFACTS", ".Artifacts.", ".artifacts ",
        ".ｇｉｔ", ".gⁱt", "．git", "．artifacts", ".artifact\u017f",
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["{}", "{}/config", "a/{}", "a/{}/hooks/post-checkout"])
def test_look_alikes_of_git_and_artifacts_are_refused(part, place):
    """In any case, with dots or spaces behind, or in letters that fold to them: anywhere in the path."""
    path = place.format(part)
    assert refused(nodes.check_path, path, error=HostilePath) == (
        f"path '{path}' has a component '{part}', which belongs to another tool or to avc"
    )


@pytest.mark.parametrize("path", [".. ", "a/.. /b", ". /a", "...", "a/. .", " ", "a/ /b", "a/\u2025", "\uff0e"])
def test_look_alikes_of_dot_and_dot_dot_are_refused(path):
    """Some file systems take dots and spaces off the end, and then it climbs."""
    assert "climbs" in refused(nodes.check_path, path, error=HostilePath)


def test_a_long_bad_path_is_cut_in_its_message():
    """A message stays one line."""
    shown = "'" + "a\\n" * 100 + "'"
    assert refused(nodes.check_path, "a\n" * 1000, error=HostilePath) == f"path {shown} holds control characters"


def naive_path(path: str) -> bool:
    """The rule of docs/format.md, said once more (without the look-alikes in other letters)."""
    parts = path.split("/")
    return (
        len(path) <= 4096
        and not any(ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in path)
        and all(part.rstrip(". ") for part in parts)
        and not any(part.rstrip(". ").lower() in (".git", ".artifacts") for part in parts)
    )


@given(path_soup())
@example(" /.git")
def test_the_quick_check_of_paths_is_the_whole_rule(path):
    """The shortcuts for plain paths let nothing through, and refuse nothing else."""
    try:
        assert nodes.check_path(path) == path
        passed = True
    except HostilePath:
        passed = False
    if path.isascii():
        assert passed == naive_path(path)
    else:
        assert not passed or naive_path(path)


@given(paths())
def test_the_paths_of_other_tests_are_paths(path):
    """The strategy makes what it says."""
    assert nodes.check_path(path) == path


# ---- link targets -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "target"), [("a", "b"), ("a/b", "../c"), ("a/b/c", "../../d"), ("a", "./b"), ("a", "b/../c"), ("a/b", ".")]
)
def test_targets_that_may_be(path, target):
    """Relative, and inside the artifact at every step."""
    assert nodes.check_target(path, target) == target


@pytest.mark.parametrize("target", ["..", "../a", "b/../../c", "./..", "../artifact/a", "a/b/../../.."])
def test_targets_do_not_leave_the_artifact(target):
    """Not even on the way to something inside."""
    message = refused(nodes.check_target, "a", target, error=HostilePath)
    assert message == f"link 'a' points out of the artifact, at '{target}'"


@pytest.mark.parametrize("target", ["", "/", "/etc/passwd", "a\0b", "x" * 4097, None, 5])
def test_targets_are_relative_and_bounded(target):
    """Absolute, empty or endless targets, and what is no text."""
    assert refused(nodes.check_target, "a/b", target, error=HostilePath) == "link 'a/b' has a bad target"


@pytest.mark.parametrize("target", ["a\n", "\x1b[2J", "\udc80", "a\x85"])
def test_targets_hold_no_control_characters(target):
    """Nor halves of surrogate pairs."""
    message = refused(nodes.check_target, "a/b", target, error=HostilePath)
    assert message == "link 'a/b' has control characters in its target"


# ---- round trips --------------------------------------------------------------------------------


def test_lines_are_as_the_format_says():
    """Byte for byte: what a stranger's reader relies on."""
    reference = Entry(
        "r", "r", None, uri="s3://b/k", identity_kind="etag", identity='"x"\\', version_id=None
    )  # fmt: skip
    assert encode_line(Entry('é "q"', "f", 3, D)) == f'["é \\"q\\"","f",3,"{D}"]\n'.encode()
    assert encode_line(Entry("a", "x", 0, D)) == f'["a","x",0,"{D}"]\n'.encode()
    assert encode_line(Entry("a", "l", target="../b")) == b'["a","l","../b"]\n'
    assert encode_line(reference) == b'["r","r",null,"s3://b/k","etag","\\"x\\"\\\\",null]\n'
    assert encode_child(Child("é", D, 3, 12)) == f'["é","{D}",3,12]\n'.encode()


@given(entries())
def test_lines_are_json_as_the_standard_encoder_writes_it(entry):
    """Whatever stands in an entry: lines are put together by hand, for it takes a third of the time."""
    line = encode_line(entry)
    assert line == json.dumps(json.loads(line), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    assert nodes.to_entry(json.loads(line)) == entry


@given(contents())
def test_a_leaf_comes_back(content):
    """The strict reader and the quick one read what was written, and tell its kind."""
    ordered = sorted(content.values(), key=lambda entry: entry.path.encode())
    data = b"".join(map(encode_line, ordered))
    assert decode_leaf(data) == ordered
    assert [nodes.to_entry(row) for row in nodes.rows(data)] == ordered
    assert not nodes.is_inner(data)


@given(st.lists(childs(), min_size=1, max_size=8))
def test_an_inner_node_comes_back(found):
    """The strict reader and the quick one read what was written, and tell its kind."""
    data = b"".join(map(encode_child, found))
    assert decode_inner(data) == nodes.children(data) == found
    assert nodes.is_inner(data)


def test_the_empty_node():
    """No lines: a leaf without entries."""
    assert decode_leaf(b"") == []
    assert nodes.rows(b"") == []
    assert not nodes.is_inner(b"")


@given(entries())
def test_an_entry_moves_without_a_change(entry):
    """The same content at another path."""
    assert entry.moved("elsewhere")[1:] == entry[1:]
    assert entry.moved("elsewhere").path == "elsewhere"
    assert entry.is_file == (entry.digest is not None)


# ---- nodes that break the format ----------------------------------------------------------------

NO_JSON = "a manifest node is damaged: a line is no JSON"
NO_ARRAY = "a manifest node is damaged: a line is no array of texts and numbers"
SPELLING = "a manifest node is damaged: a line is not written as it should be"
BAD_ENTRY = "a manifest node is damaged: a bad entry"
BAD_INNER = "a manifest node is damaged: a bad inner line"


def line(*row: object) -> bytes:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


@pytest.mark.parametrize(
    "data",
    [b"a\n", b"\n", b"[\n", b"\xff\n", b'["\xc3","f",1,""]\n', LINE + b"\n", b"[" * 100_000 + b"\n", b"{'a':1}\n"],
)
def test_lines_are_json(data):
    """Not UTF-8, no JSON, or nested without end."""
    for decode in (decode_leaf, decode_inner):
        assert refused(decode, data) == NO_JSON


@pytest.mark.parametrize(
    "data", [b"{}", b"1", b"null", b'"a"', b'["a",[]]', b"[{}]", b"[1.5]", b"[true]", b"[NaN]", b"[1e999]"]
)
def test_lines_are_arrays_of_texts_and_numbers(data):
    """Nothing nested, no floats, no true and false."""
    for decode in (decode_leaf, decode_inner):
        assert refused(decode, data + b"\n") == NO_ARRAY


@pytest.mark.parametrize(
    "data",
    [
        LINE.replace(b",1", b", 1"), LINE.replace(b",1", b",-0"), LINE.replace(b"a", b"\\u0061"), b" " + LINE,
        LINE.replace(b"a", b"\\u00e9"), LINE.replace(b"\n", b"\r\n"), LINE.replace(b"a", b"\\/"),
        LINE.replace(b"a", b"\\ud800"), LINE.replace(b"a", b"\xed\xa0\x80"), b"\xef\xbb\xbf" + LINE,
        LINE.decode().encode("utf-16-le").replace(b"\n\0", b"\0\n"),
    ],
)  # fmt: skip
def test_content_has_one_spelling(data):
    """Spaces, other escapes, another encoding, half a surrogate: else equal content had two digests."""
    assert refused(decode_leaf, data) in (SPELLING, NO_JSON)
    assert refused(decode_inner, data) in (SPELLING, NO_JSON)


def test_spellings_that_json_reads_are_told_apart():
    """The refusal is that of the spelling, not a by-catch."""
    for data in (LINE.replace(b",1", b", 1"), LINE.replace(b",1", b",-0"), LINE.replace(b"a", b"\\u0061"), b" " + LINE):
        assert refused(decode_leaf, data) == SPELLING


@pytest.mark.parametrize(
    "row",
    [
        [], ["a"], [None, "f", 1, D], [1, "f", 1, D], ["a", "d", 1, D], ["a", None], ["a", D, 1, 1],
        # files
        ["a", "f", 1], ["a", "f", 1, D, 1], ["a", "f", -1, D], ["a", "f", 2**53, D], ["a", "f", None, D],
        ["a", "f", "1", D], ["a", "f", 1, D.upper()], ["a", "f", 1, D[1:]], ["a", "f", 1, None], ["a", "x", 1, 1],
        # links
        ["a", "l"], ["a", "l", None], ["a", "l", 1], ["a", "l", "b", "c"],
        # references
        ["a", "r", 1, "u", None, None], ["a", "r", 1, "u", None, None, None, None],
        ["a", "r", 1, None, None, None, None], ["a", "r", 1, 1, None, None, None],
        ["a", "r", -1, "u", None, None, None], ["a", "r", "1", "u", None, None, None],
        ["a", "r", 2**53, "u", None, None, None], ["a", "r", 1, "u", 1, None, None], ["a", "r", 1, "u", None, 1, None],
        ["a", "r", 1, "u", None, None, 1],
    ],
)  # fmt: skip
def test_entries_have_the_items_of_their_kind(row):
    """Number, kind and bounds of every item."""
    assert refused(decode_leaf, line(*row)) == BAD_ENTRY
    assert refused(decode_leaf, b'["0","l","t"]\n' + line(*row)) == BAD_ENTRY


@pytest.mark.parametrize(
    "row",
    [
        [], ["a"], ["a", D, 1], ["a", D, 1, 1, 1], [1, D, 1, 1], [None, D, 1, 1], ["a", D[1:], 1, 1],
        ["a", D, 0, 0], ["a", D, -1, 1], ["a", D, 1, -1], ["a", D, None, 1], ["a", D, 1, 2**53],
        ["a", D, 2**53, 1], ["a", "f", 1, D], ["a", "l", "b"],
    ],
)  # fmt: skip
def test_inner_lines_have_their_items(row):
    """Path, digest, a count above nought, a size; a leaf's line among them is refused."""
    assert refused(decode_inner, line(*row)) == BAD_INNER
    assert refused(decode_inner, line("0", D, 1, 1) + line(*row)) == BAD_INNER


def test_a_node_of_both_kinds_is_refused():
    """The first line says what a node is; the others must be the same."""
    mixed = LINE + encode_child(Child("b", D, 1, 1))
    assert not nodes.is_inner(mixed)
    assert refused(decode_leaf, mixed) == BAD_ENTRY
    mixed = encode_child(Child("a", D, 1, 1)) + encode_line(Entry("b", "f", 1, D))
    assert nodes.is_inner(mixed)
    assert refused(decode_inner, mixed) == BAD_INNER


@pytest.mark.parametrize("order", ["ba", "aa", "aba", "ｚ😀"[::-1]])
def test_entries_ascend_strictly(order):
    """Unsorted or double entries; the order is that of UTF-8 bytes."""
    data = b"".join(encode_line(Entry(path, "f", 1, D)) for path in order)
    later = order[-1] if order != "ba" else "a"
    assert refused(decode_leaf, data) == f"a manifest node is damaged: '{later}' is out of order"


def test_the_order_is_that_of_bytes():
    """Not of UTF-16 units, nor of letters."""
    ordered = ["B", "a", "a-", "a.b", "a/b", "a0", "é", "\uff5a", "😀"]
    assert [e.path for e in decode_leaf(b"".join(encode_line(Entry(p, "f", 1, D)) for p in ordered))] == ordered


def test_a_node_ends_with_a_newline():
    """A node cut short is told from a whole one."""
    for decode in (decode_leaf, decode_inner):
        assert refused(decode, LINE[:-1]) == "a manifest node is damaged: it is cut short"
        assert refused(decode, LINE + LINE[:5]) == "a manifest node is damaged: it is cut short"


def test_the_size_is_bounded_before_anything_is_read():
    """4 MiB are read, one byte more is not, whatever it says."""
    for decode in (decode_leaf, decode_inner):
        assert refused(decode, b"\xff" * ((4 << 20) + 1)) == "a manifest node is larger than 4194304 bytes"
        assert refused(decode, b"\xff" * (4 << 20)) == "a manifest node is damaged: it is cut short"
    reference = Entry("a", "r", uri="u")
    fit = reference._replace(uri="u" * ((4 << 20) - len(encode_line(reference)) + 1))
    assert decode_leaf(encode_line(fit)) == [fit]


@pytest.mark.parametrize("path", ["../a", "/a", "a//b", ".git/config", "a\u0085", ""])
def test_paths_of_nodes_are_checked(path):
    """A hostile path is refused where it is read, in leaves and above them."""
    refused(decode_leaf, line(path, "f", 1, D), error=HostilePath)
    refused(decode_inner, line(path, D, 1, 1), error=HostilePath)


def test_targets_of_nodes_are_checked():
    """A link that leaves the artifact, or points nowhere, is refused where it is read."""
    assert refused(decode_leaf, line("a", "l", "../../etc"), error=HostilePath).startswith("link 'a' points out")
    assert refused(decode_leaf, line("a", "l", ""), error=HostilePath) == "link 'a' has a bad target"


# ---- arbitrary bytes ----------------------------------------------------------------------------

SOUND = contents(6).map(lambda c: b"".join(encode_line(c[path]) for path in sorted(c, key=str.encode)))
SOUND_INNER = st.lists(childs(), max_size=4).map(lambda found: b"".join(map(encode_child, found)))


@given(node_bytes() | damaged(SOUND) | damaged(SOUND_INNER))
@example(b"[" * 200_000)
def test_any_bytes_are_a_node_or_refused(data):
    """Whatever the bytes: a node, BadManifest or HostilePath; and what is accepted is written the same again."""
    with contextlib.suppress(BadManifest, HostilePath):
        assert b"".join(map(encode_line, decode_leaf(data))) == data
    with contextlib.suppress(BadManifest, HostilePath):
        assert b"".join(map(encode_child, decode_inner(data))) == data


@given(node_bytes() | damaged(SOUND) | damaged(SOUND_INNER))
@example(b"")
def test_the_kind_of_any_bytes_can_be_asked(data):
    """Whatever the bytes, their kind is told or BadManifest raised."""
    kind = None
    with contextlib.suppress(BadManifest):
        kind = nodes.is_inner(data)
    with contextlib.suppress(BadManifest, HostilePath):
        assert decode_leaf(data) == [] or kind is False
    with contextlib.suppress(BadManifest, HostilePath):
        assert decode_inner(data) == [] or kind is True


def test_a_first_line_that_is_no_json():
    """The kind of such a node cannot be told."""
    for data in (b"a\n", b"\xff\n", b"\n"):
        assert refused(nodes.is_inner, data) == "a manifest node is damaged: its first line is no JSON"


def test_a_deep_first_line_is_refused():
    """The kind of a node is asked before anything is checked: nesting without end is refused there too."""
    assert refused(nodes.is_inner, b"[" * 200_000 + b"\n") == "a manifest node is damaged: its first line is no JSON"


#: What lines can be cut into so that they are JSON when put together, and no line by itself is a row.
_BITS = st.sampled_from(
    ["[", "]", '"', ",", "1", "[1", "2]", "[1]", "2],[3]", '["a]', '["]', '"a"', "null", "\\", "[[1]", "[2]]", " ", ""]
)


@given(
    st.one_of(
        st.lists(st.lists(_BITS, max_size=4).map("".join), max_size=6).map(lambda lines: "\n".join(lines).encode()),
        damaged(SOUND),
        node_bytes(),
    )
)
@example(b"[1\n2],[3]\n")
@example(b'["a]\n["]\n[1],[2]\n')
@example(b"[[1]\n[2]]\n[1],[2]\n")
def test_lines_read_at_once_are_the_lines_read_one_by_one(data):
    """The quick way takes nothing that the slow one refuses, and reads the same."""
    lines = data.split(b"\n")
    found = nodes._rows_at_once(lines)
    if found:
        assert found == nodes._rows_one_by_one(lines)


def test_what_is_as_it_should_be_is_read_at_once():
    """All of a node is parsed and held against its one spelling in one step."""
    lines = (LINE * 3).split(b"\n")[:-1]
    assert nodes._rows_at_once(lines) == [["a", "f", 1, D]] * 3
