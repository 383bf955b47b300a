"""Parts of a version that many build: their names, their documents, and how they become one (protocol P10)."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import example, given
from hypothesis import strategies as st

from artifactvc.core.manifest import build
from artifactvc.core.model import Entry
from artifactvc.core.parts import (
    MAX_BYTES,
    Attempt,
    IndexFile,
    Target,
    Texts,
    build_union,
    check_distributed_id,
    decode_attempt,
    encode_attempt,
    first_open,
    is_draft_id,
    merged_texts,
    union,
    writer_directory,
)
from artifactvc.errors import BadName, Corrupt, NewerFormat, PathConflict
from tests.strategies import DIGESTS

TARGET = Target("p", "Data", "dataset", "nightly")
DRAFT = TARGET.draft_id("", 0)
INDEX = IndexFile("r1/3/index-0123456789abcdef", DIGESTS[1], 335)
WHOLE = Attempt(
    DRAFT, "r1", 3, DIGESTS[0], "text", {"a": [1, None]}, "2026-01-01T00:00:00.000000Z", {"project": "p"}, INDEX
)


# ---- names --------------------------------------------------------------------------------------


def test_all_who_build_one_version_name_its_draft_alike():
    """Type and the case of the name make no difference; project, id, place and generation do."""
    assert is_draft_id(DRAFT)
    assert replace(TARGET, name="dATA", type="model").draft_id("", 0) == DRAFT
    others = [
        replace(TARGET, project="q").draft_id("", 0),
        replace(TARGET, name="data2").draft_id("", 0),
        replace(TARGET, distributed_id="daily").draft_id("", 0),
        TARGET.draft_id("0" * 32, 0),
        TARGET.draft_id("", 1),
    ]
    assert len({DRAFT, *others}) == 6


def test_parts_of_a_key_are_told_apart():
    """What is in one part of a key cannot be taken for the beginning of the next."""
    one, two = Target("a", "b-c", "t", "d"), Target("a", "b", "t", "c-d")
    assert one.draft_id("", 0) != two.draft_id("", 0)
    quoted = Target("a", "b", "t", 'x","","y'), Target("a", "b", "t", "x")
    assert quoted[0].draft_id("", 0) != quoted[1].draft_id('","y', 0)


@pytest.mark.parametrize("text", ["", "x" * 513, "a\nb", "a\0", "\ud800", None, 5])
def test_a_bad_distributed_id_is_refused(text):
    """It is text that can be shown, of at most 512 characters."""
    with pytest.raises(BadName, match="bad distributed id") as caught:
        check_distributed_id(text)
    assert caught.value.hint == "use 1 to 512 characters that can be printed"
    assert check_distributed_id("run 7 / täglich") == "run 7 / täglich"


@given(st.lists(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_\-]{0,20}", fullmatch=True), max_size=8, unique=True))
@example(["ab", "Ab", "aB", "AB", "a-b", "a_b", "a-", "x-" + "0" * 32])
def test_runs_have_directories_of_their_own(runs):
    """Different ids are different names, on file systems too that do not tell case apart; usual ids are as they are."""
    names = [writer_directory(run) for run in runs]
    assert len({name.lower() for name in names}) == len(runs)
    assert writer_directory("0jupeara") == "0jupeara"


@given(st.integers(0, 5000))
def test_the_first_open_draft_is_found_in_few_questions(ended):
    """However many drafts of one id have ended."""
    asked = []

    def is_over(generation: int) -> bool:
        asked.append(generation)
        return generation < ended

    assert first_open(is_over) == ended
    assert len(asked) <= 2 * ended.bit_length() + 3


# ---- documents ----------------------------------------------------------------------------------


def read(data: bytes) -> Attempt:
    return decode_attempt(data, DRAFT, "r1/3")


def test_an_attempt_comes_back():
    """What is written is read, and is one line of JSON as docs/format.md has it."""
    data = encode_attempt(WHOLE)
    assert read(data) == WHOLE
    assert data.startswith(b'{"format":1,"draft":"' + DRAFT.encode())
    bare = replace(WHOLE, description=None, metadata={}, run={}, index=None)
    assert read(encode_attempt(bare)) == bare


BAD: list[dict[str, Any]] = [
    {"format": None}, {"format": True}, {"format": "1"}, {"draft": "0" * 32}, {"writer": "r2"}, {"writer": 5},
    {"writer": "../x"}, {"attempt": 4}, {"attempt": True}, {"attempt": "3"}, {"root": "x"}, {"root": None},
    {"description": 5}, {"metadata": []}, {"time": None}, {"run": []}, {"run": {"project": 5}},
    {"run": {"secret": "x"}}, {"run": {"name": "x" * 1025}}, {"index": {}}, {"index": "x"},
    {"index": {"name": "../../x", "digest": DIGESTS[0], "size": 1}},
    {"index": {"name": INDEX.name, "digest": "x", "size": 1}}, {"index": {"name": INDEX.name, "digest": DIGESTS[0]}},
    {"index": {"name": INDEX.name, "digest": DIGESTS[0], "size": -1}},
    {"index": {"name": INDEX.name, "digest": DIGESTS[0], "size": 2**40}}, {"more": 1},
]  # fmt: skip


@pytest.mark.parametrize("change", BAD, ids=str)
def test_an_attempt_that_breaks_the_format_is_refused(change):
    """Also one that belongs to another draft, run or number than the place it lies in."""
    body = {**json.loads(encode_attempt(WHOLE)), **change}
    with pytest.raises(Corrupt, match=f"part 'r1/3' of draft '{DRAFT[:8]}' is "):
        read(json.dumps(body).encode())


def test_an_attempt_of_a_newer_format_says_so():
    """Rather than that it is damaged."""
    with pytest.raises(
        NewerFormat, match=r"part 'r1/3' of draft .* was written by a newer avc \(needs part format 2\)"
    ):
        read(json.dumps({**json.loads(encode_attempt(WHOLE)), "format": 2}).encode())


def test_a_field_that_is_missing_is_refused():
    """Nothing is guessed."""
    for name in json.loads(encode_attempt(WHOLE)):
        body = json.loads(encode_attempt(WHOLE))
        del body[name]
        with pytest.raises(Corrupt):
            read(json.dumps(body).encode())


def test_an_attempt_has_a_largest_size():
    """What no reader takes is not written."""
    with pytest.raises(ValueError, match=f"more than {MAX_BYTES} bytes"):
        encode_attempt(replace(WHOLE, description="x" * MAX_BYTES))


@given(st.binary() | st.recursive(st.none() | st.text(), lambda x: st.dictionaries(st.text(), x)).map(json.dumps))
def test_reading_fails_only_as_promised(data):
    """Whatever the bytes, an attempt is returned, or Corrupt or NewerFormat is raised."""
    with suppress(Corrupt, NewerFormat):
        read(data if isinstance(data, bytes) else data.encode(errors="replace"))


# ---- many become one ------------------------------------------------------------------------------

PATHS = ["a", "a-b", "a/b", "a/b/c", "a/c", "b", "c/a", "é"]


def entry(path: str, content: int, kind: str = "f") -> Entry:
    return Entry(path, kind, content, DIGESTS[content])


def parts_of(contents: list[dict[str, int]]) -> list[tuple[str, list[Entry]]]:
    return [
        (f"run{n}", [entry(path, held[path]) for path in sorted(held, key=str.encode)])
        for n, held in enumerate(contents)
    ]


def clash(contents: list[dict[str, int]]) -> bool:
    whole: dict[str, int] = {}
    for held in contents:
        if any(whole.get(path, content) != content for path, content in held.items()):
            return True
        whole |= held
    return any(path.startswith(other + "/") for path in whole for other in whole)


@given(st.lists(st.dictionaries(st.sampled_from(PATHS), st.integers(0, 2), max_size=5), max_size=5))
@example([{"a": 0}, {"a-b": 0}, {"a/b": 0}])
@example([{"a": 0}, {"a": 0}, {"a": 1}])
def test_the_union_is_what_one_would_have_built(contents):
    """Whoever put in what: the same digest as if one had put in all; a clash is an error and never depends on order."""
    nodes: dict[str, bytes] = {}

    def put(data: bytes) -> str:
        digest = blake3(data).hexdigest()
        nodes[digest] = data
        return digest

    whole = {path: content for held in contents for path, content in held.items()}
    for order in (contents, contents[::-1]):
        if clash(contents):
            with pytest.raises(PathConflict):
                list(union(parts_of(order)))
        else:
            assert list(union(parts_of(order))) == [entry(path, whole[path]) for path in sorted(whole, key=str.encode)]
            assert build_union(parts_of(order), put) == build([entry(*item) for item in whole.items()], put)


def test_a_clash_names_path_and_both_runs():
    """Other bytes, another kind, or a file where the other has a directory."""
    cases = [
        ([entry("x", 0)], [entry("x", 1)], "'x' was put in with other content"),
        ([entry("x", 0)], [entry("x", 0, "x")], "'x' was put in with other content"),
        ([entry("x", 0)], [entry("x-y", 0), entry("x/y", 0)], "'x' is a file and would be a directory of 'x/y'"),
        ([entry("x/y", 0)], [entry("x", 0)], "'x' is a file and would be a directory of 'x/y'"),
    ]
    for one, two, fault in cases:
        with pytest.raises(PathConflict) as caught:
            list(union([("r1", one), ("between", []), ("r2", two)]))
        first, second = ("r1", "r2") if one[0].path <= two[0].path else ("r2", "r1")
        assert caught.value.message == f"{fault}: run '{first}' and run '{second}' disagree"
        assert "put the right one in again from one of them" in caught.value.hint


def test_what_the_finisher_says_wins():
    """Else the first description, and of each key the last value, in the order of the runs' ids."""
    parts = [Texts(None, {"a": 1, "b": 1}), Texts("one", {"b": 2}), Texts("two", {"c": 3})]
    assert merged_texts(parts, Texts()) == Texts("one", {"a": 1, "b": 2, "c": 3})
    assert merged_texts(parts, Texts("own", {"a": 9})) == Texts("own", {"a": 9, "b": 2, "c": 3})
    assert merged_texts([], Texts("")) == Texts(None, {})
