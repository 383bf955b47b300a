"""JSON from elsewhere: bounded before it is believed (protocol H2)."""

from __future__ import annotations

import contextlib
import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from artifactvc.core.strict import DEPTH, LARGEST, dump_json, parse_json
from artifactvc.errors import BadIndex, BadLogEntry
from tests.strategies import damaged, json_values


def parse(data: bytes, limit: int = 1 << 20):
    return parse_json(data, limit=limit, what="log entry 7", error=BadLogEntry)


def refused(data: bytes, limit: int = 1 << 20) -> str:
    with pytest.raises(BadLogEntry) as caught:
        parse(data, limit)
    return caught.value.message


def test_values_come_back():
    """Every plain value is what ``json`` makes of it, with integers up to the bound."""
    value = {"a": [1, -1, 0.5, None, True, "é\n", {}], "b": LARGEST - 1, "c": -(LARGEST - 1)}
    assert parse(dump_json(value)) == value
    assert parse(b" [1 , 2]\n") == [1, 2]


def test_what_is_written_has_one_spelling():
    """No spaces, no escapes but those that must be: equal values in equal order give equal bytes."""
    assert dump_json({"é": [1, None, "a\n"], "b": {}}) == '{"é":[1,null,"a\\n"],"b":{}}'.encode()
    with pytest.raises(ValueError, match="Out of range"):
        dump_json(math.nan)


def test_the_size_is_bounded_before_anything_is_parsed():
    """One byte too many is refused, whatever it says."""
    assert parse(b"[1,2]", limit=5) == [1, 2]
    assert refused(b"[1,2] ", limit=5) == "log entry 7 is larger than 5 bytes"
    assert refused(b"\xff" * 6, limit=5) == "log entry 7 is larger than 5 bytes"


@pytest.mark.parametrize("data", [b'{"a":1,"a":1}', b'[{"b":{"a":1,"\\u0061":2}}]', b'{"":0,"":0}'])
def test_a_key_stands_once(data):
    """Two readers could take two values from a key that stands twice, also if it is spelled otherwise."""
    assert refused(data) == "log entry 7 is damaged: a key stands twice"


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_no_nan_and_no_infinity(word):
    """They are no JSON, though Python reads them."""
    assert refused(f"[{word}]".encode()) == f"log entry 7 is damaged: '{word}' is no number"


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"1" * 400 + b".0"])
def test_no_infinity_by_another_name(number):
    """A number too large for a float is infinity too, and could not be written again."""
    assert "no number" in refused(number)


@pytest.mark.parametrize("data", [b'"\\ud800"', b'{"\\udfff":1}', b'["\\udc00\\ud800"]'])
def test_text_is_utf_8(data):
    """Half a surrogate pair is no text: what is read can be written again."""
    assert "damaged" in refused(data)


def test_surrogate_pairs_are_text():
    """A character outside the basic plane may be spelled as a pair."""
    assert parse(b'"\\ud83d\\ude00"') == "😀"


@pytest.mark.parametrize("number", [str(LARGEST), str(-LARGEST), "1" + "0" * 18, "-" + "9" * 5000], ids=len)
def test_integers_are_below_2_to_the_53(number):
    """Beyond it readers disagree; and a number of many digits takes long to read."""
    assert refused(f'{{"n":{number}}}'.encode()) == "log entry 7 is damaged: an integer of 2**53 or more"


def test_nesting_is_bounded():
    """32 levels are read, 33 are not, and a million cost no recursion; brackets inside strings do not count."""
    assert json.dumps(parse(b"[" * DEPTH + b"]" * DEPTH)).count("[") == DEPTH
    mixed = b'{"a":[' * (DEPTH // 2) + b"]}" * (DEPTH // 2)
    assert json.dumps(parse(mixed)).count("[") == DEPTH // 2
    deep = "log entry 7 is nested deeper than 32 levels"
    assert refused(b"[" * (DEPTH + 1) + b"]" * (DEPTH + 1)) == deep
    assert refused(b'{"a":[' * 17 + b"]}" * 17) == deep
    assert refused(b"[" * (1 << 20)) == deep
    assert refused(b'{"a":' * 100_000) == deep
    wide = b"[" + b",".join([b'["[[{{\\"[["]'] * 100) + b"]"
    assert len(parse(wide)) == 100


@pytest.mark.parametrize(
    "data", [b"", b" ", b"{", b"[1,]", b"nul", b"\xff", b'"\xc3"', b"1 2", b"\xef\xbb\xbf1", b"'a'"]
)
def test_what_is_no_json_is_damaged(data):
    """The reason of the parser is passed on."""
    assert refused(data).startswith("log entry 7 is damaged: ")


def test_utf_16_is_not_guessed():
    """The standard parser would guess the encoding; a log is UTF-8."""
    assert refused("[1]".encode("utf-16-le")).startswith("log entry 7 is damaged: ")


def test_the_caller_names_the_error():
    """The same bounds hold for every format, each with its own error."""
    with pytest.raises(BadIndex, match=r"^index is damaged: a key stands twice$"):
        parse_json(b'{"a":1,"a":1}', limit=99, what="index", error=BadIndex)


@given(st.binary(max_size=80) | damaged(json_values().map(json.dumps).map(str.encode)))
@example(b"1" * 5000)
@example(b"-" * 50)
@example(b"]" * 50 + b"[" * 50)
@example(b'"' + b"\\" * 50)
def test_any_bytes_are_a_value_or_refused(data):
    """Whatever the bytes, the answer is a value or the error asked for; and it is what ``json`` reads."""
    with contextlib.suppress(BadLogEntry):
        value = parse(data)
        assert repr(value) == repr(json.loads(data))


def _bounded(value, depth: int = 0) -> bool:
    if isinstance(value, dict):
        return depth < DEPTH and all(_bounded(v, depth + 1) and _bounded(k) for k, v in value.items())
    if isinstance(value, list):
        return depth < DEPTH and all(_bounded(v, depth + 1) for v in value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return abs(value) < LARGEST
    return not isinstance(value, str) or not any("\ud800" <= c <= "\udfff" for c in value)


@given(json_values().filter(_bounded))
def test_what_is_within_the_bounds_is_read(value):
    """The bounds refuse nothing else: every bounded value comes back."""
    assert parse(dump_json(value)) == value
