"""Metadata becomes JSON that every reader takes, or is refused with a word about why."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactvc.core.metadata import lenient, normalize, plain
from artifactvc.core.strict import dump_json, parse_json
from artifactvc.errors import Corrupt

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


class Array:
    """What NumPy's arrays and scalars look like from here."""

    def __init__(self, value: object) -> None:
        self.value = value

    def tolist(self) -> object:
        return self.value


@given(st.dictionaries(st.text("abcd", max_size=3), VALUES, max_size=5))
def test_plain_values_stay_as_they_are(value):
    """What JSON has words for comes back from the store equal, and is copied deeply."""
    found = normalize(value)
    assert found == value
    assert parse_json(dump_json(found), limit=1 << 20, what="it", error=Corrupt) == value
    for key, item in value.items():
        assert not isinstance(item, (list, dict)) or found[key] is not item


@given(VALUES)
def test_the_rest_is_told_in_words(value):
    """A run's config takes anything: what JSON has no word for is written as Python shows it."""
    assert lenient({"a": value, "b": object}) == {"a": value, "b": repr(object)}
    json.dumps(lenient([float("inf"), {"x": {1, 2}}, b"raw"]))


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, {}),
        ('{"a": [1, 2]}', {"a": [1, 2]}),
        ({"nan": float("nan")}, {"nan": None}),
        ({"t": (1, 2), "s": {3}}, {"t": [1, 2], "s": [3]}),
        ({"array": Array([1.5, float("nan")]), "scalar": Array(3)}, {"array": [1.5, None], "scalar": 3}),
        ({"slice": slice(1, None, 2)}, {"slice": {"slice_start": 1, "slice_stop": None, "slice_step": 2}}),
        ({"at": datetime(2026, 1, 2, tzinfo=UTC)}, {"at": "2026-01-02T00:00:00+00:00"}),
        ({"span": timedelta(minutes=1)}, {"span": 60.0}),
        ({7: "a", None: "b", True: "c"}, {"7": "a", "null": "b", "true": "c"}),
    ],
)
def test_what_becomes_what(value, found):
    """The rules that W&B has, and the keys as text."""
    assert normalize(value) == found


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ([1], TypeError, "metadata must be a dictionary, not 'list'"),
        (5, TypeError, "metadata must be a dictionary, not 'int'"),
        ("[1]", TypeError, "metadata must be a dictionary, not 'list'"),
        ("{", ValueError, "metadata is text, but not of a JSON object: Expecting property name"),
        ({"a": object()}, TypeError, "metadata holds a 'object', which JSON has no word for"),
        ({"a": float("inf")}, ValueError, "metadata holds infinity, which JSON has no word for"),
        ({"a": 2**53}, ValueError, "metadata holds an integer of 2**53 or more: write it as text"),
        ({"a": "\ud800"}, ValueError, "metadata holds text that is not UTF-8"),
        ({str(n): n for n in range(101)}, ValueError, "metadata has 101 keys, and may have 100"),
    ],
)
def test_what_is_refused(value, kind, message):
    """Each with a word about what is wrong."""
    with pytest.raises(kind) as caught:
        normalize(value)
    assert str(caught.value).startswith(message)


def test_depth_is_bounded():
    """As deep as a reader takes, and not one level more."""
    value: object = 1
    for _ in range(28):
        value = [value]
    assert plain(value) == value
    with pytest.raises(ValueError, match="value is nested deeper than 28 levels"):
        plain([value])
