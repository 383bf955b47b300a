"""Filters and orders mean what MongoDB's mean, and what cannot be meant is said."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactvc.core.filters import COLLECTION, RUN, Field, parse_filter, parse_order
from artifactvc.errors import BadName

RUN_DOCUMENT = {
    "id": "abc12345",
    "state": "failed",
    "config": {
        "lr": 0.1, "deep": {"layers": 3, "names": ["a", "b"]}, "model.size": "small", "flag": True, "none": None,
        "text": "resnet-50",
    },
    "summary": {"acc": 0.9, "val/loss": 2},
    "tags": ["good", "baseline"],
    "group": "sweep",
    "job_type": "train",
    "display_name": "a name",
    "author": "ada",
    "created": "2026-11-24T10:00:00.000000Z",
    "notes": "try again",
    "host": "box",
}  # fmt: skip


def matches(filters: Any, document: Any = RUN_DOCUMENT) -> bool:
    return parse_filter(filters).matches(document)


@pytest.mark.parametrize(
    "filters",
    [
        None,
        {},
        {"state": "failed"},
        {"state": {"$eq": "failed"}},
        {"state": {"$ne": "finished"}},
        {"state": {"$in": ["failed", "crashed"]}},
        {"state": {"$nin": ["finished"]}},
        {"config.lr": 0.1},
        {"config.lr.value": 0.1},
        {"config.lr": {"$gt": 0.01, "$lt": 1}},
        {"config.lr": {"$gte": 0.1, "$lte": 0.1}},
        {"config.deep.layers": 3},
        {"config.deep.value.layers": 3},
        {"config.deep": {"layers": 3, "names": ["a", "b"]}},
        {"config.deep.names": "a"},
        {"config.deep.names": ["a", "b"]},
        {"config.deep.names": {"$in": ["x", "b"]}},
        {"config.model.size": "small"},
        {"config.flag": True},
        {"config.none": None},
        {"config.nothing": None},
        {"config.nothing": {"$exists": False}},
        {"config.none": {"$exists": True}},
        {"config.nothing": {"$ne": 1}},
        {"config.nothing": {"$not": {"$gt": 1}}},
        {"config.text": {"$regex": "^resnet-[0-9]+$"}},
        {"summary_metrics.acc": {"$gt": 0.5}},
        {"summary.acc": {"$gt": 0.5}},
        {"summaryMetrics.val/loss": 2},
        {"tags": "good"},
        {"tags": {"$in": ["good", "other"]}},
        {"tags": {"$nin": ["other"]}},
        {"tags": {"$regex": "^base"}},
        {"tags": ["good", "baseline"]},
        {"group": "sweep", "jobType": "train", "job_type": "train"},
        {"displayName": "a name", "display_name": {"$regex": "name"}},
        {"name": "abc12345"},
        {"id": "abc12345"},
        {"username": "ada"},
        {"notes": {"$regex": "again"}, "host": "box"},
        {"createdAt": {"$gt": "2026-11-24"}},
        {"created_at": {"$lt": "2026-11-24T12:30:00+01:00"}},
        {"created_at": {"$gte": datetime(2026, 11, 24, 10, tzinfo=UTC)}},
        {"created_at": {"$lte": datetime(2026, 11, 24, 10)}},
        {"created_at": datetime(2026, 11, 24, 12, tzinfo=timezone(timedelta(hours=2)))},
        {"created_at": {"$lt": "later"}},
        {"$and": [{"state": "failed"}, {"config.lr": 0.1}]},
        {"$or": [{"state": "finished"}, {"config.lr": 0.1}]},
        {"$nor": [{"state": "finished"}, {"config.lr": 1}]},
        {"$not": {"state": "finished"}},
        {"$or": [{"$and": [{"state": "failed"}, {"group": "sweep"}]}, {"state": "running"}], "username": "ada"},
    ],
    ids=repr,
)
def test_what_matches(filters):
    """Fields, paths with dots in them, lists, moments, what is absent, and every operator."""
    assert matches(filters)


@pytest.mark.parametrize(
    "filters",
    [
        {"state": "finished"},
        {"config.lr": "0.1"},
        {"config.lr": {"$gt": 0.1}},
        {"config.lr": {"$gt": 0.01, "$lt": 0.05}},
        {"config.text": {"$gt": 1}},
        {"config.flag": 1},
        {"config.flag": {"$gt": 0}},
        {"config.none": {"$lt": 1}},
        {"config.nothing": {"$lt": 1}},
        {"config.nothing": {"$exists": True}},
        {"config.nothing.deeper": 1},
        {"config.lr.deeper": 1},
        {"config.value": 1},
        {"config.lr": {"$regex": "0"}},
        {"config.lr": {"$in": []}},
        {"config.deep.names": ["a"]},
        {"tags": {"$nin": ["good"]}},
        {"tags": {"$ne": "good"}},
        {"$and": [{"state": "failed"}, {"config.lr": 1}]},
        {"$nor": [{"state": "failed"}, {"config.lr": 1}]},
        {"$not": {}},
    ],
    ids=repr,
)
def test_what_does_not_match(filters):
    """Values of other kinds never compare, and True is not 1."""
    assert not matches(filters)


def test_a_stored_value_goes_before_the_spelling_with_value():
    """A setting that is really called `value` is found where it stands."""
    document = {"config": {"lr": {"value": 1}, "value": 2}}
    assert matches({"config.lr.value": 1}, document)
    assert matches({"config.value": 2}, document)


def test_a_filter_tells_what_it_looks_at():
    """So that only what is looked at has to be read."""
    assert parse_filter({"$or": [{"jobType": "a"}, {"config.x": 1}], "username": "b"}).names == {
        "job_type", "config", "author",
    }  # fmt: skip
    assert parse_filter(None).names == set()


MISTAKES = {
    "a filter is a dictionary, not 'list'": [],
    "no operator '$xor'": {"$xor": []},
    "no operator '$grt'": {"config.lr": {"$grt": 1}},
    "no operator 'x'": {"config.lr": {"$gt": 1, "x": 2}},
    "'$and' takes a list of filters": {"$and": {}},
    "'$or' takes a list of filters": {"$or": []},
    "a filter is a dictionary, not 'int'": {"$nor": [1]},
    "a filter is a dictionary, not 'str'": {"$not": "state"},
    "'$not' of a field takes a dictionary of operators": {"state": {"$not": "failed"}},
    "no field 'stat'": {"stat": "failed"},
    "no field 'state.x'": {"state.x": 1},
    "no field 'config.'": {"config.": 1},
    "no field '1'": {1: 1},
    "'$in' and '$nin' take a list of values, not 'str'": {"state": {"$in": "failed"}},
    "only numbers and text are less or greater, not 'NoneType'": {"config.lr": {"$gt": None}},
    "only numbers and text are less or greater, not 'bool'": {"config.lr": {"$lte": True}},
    "'$regex' takes text of at most 1000 characters": {"state": {"$regex": "x" * 1001}},
    "'$exists' takes True or False": {"state": {"$exists": 1}},
    "a filter holds a 'object', which JSON has no word for": {"state": object()},
}


@pytest.mark.parametrize("said", MISTAKES, ids=repr)
def test_what_a_filter_cannot_mean(said):
    """Each mistake is a ValueError that names it; none is a filter that matches nothing."""
    with pytest.raises(ValueError, match=f"(?m)^{re.escape(said)}$"):
        parse_filter(MISTAKES[said])


@pytest.mark.parametrize("pattern", ["(", "[", "*", "(?P<a>.)(?P<a>.)"])
def test_a_pattern_that_is_none_is_refused_before_anything_is_matched(pattern):
    """Its fault is told."""
    with pytest.raises(BadName, match=f"(?m)^bad pattern '{re.escape(pattern)}': "):
        parse_filter({"state": {"$regex": pattern}})


def test_mistakes_come_with_the_next_step():
    """What is near, or what there is."""
    hints = {
        "did you mean 'state'?": {"stat": 1},
        "did you mean '$gt'?": {"state": {"$grt": 1}},
        'write {"$not": {"$gt": 1}}': {"state": {"$not": 1}},
        "known are $and, $or, $nor, $not": {"$xyz": 1},
    }
    for hint, filters in hints.items():
        with pytest.raises(BadName) as caught:
            parse_filter(filters)
        assert caught.value.hint == hint
    with pytest.raises(BadName) as caught:
        parse_filter({"heartbeat": 1})
    assert caught.value.hint.startswith("known are state, config, ")


def test_nesting_is_bounded():
    """A filter that is nested too deep is refused, and does not end the interpreter."""
    deep: Any = {"state": "failed"}
    for _ in range(5000):
        deep = {"$not": deep}
    with pytest.raises(BadName, match=r"(?m)^a filter is nested deeper than 20 levels$"):
        parse_filter(deep)
    operators: Any = {"$gt": 1}
    for _ in range(5000):
        operators = {"$not": operators}
    with pytest.raises(BadName, match=r"(?m)^a filter is nested deeper than 20 levels$"):
        parse_filter({"config.lr": operators})


# ---- orders ------------------------------------------------------------------------------------------------


def arranged(order: str | None, *documents: dict[str, Any]) -> list[int]:
    """The positions of *documents* in order."""
    wanted = parse_order(order)
    return wanted.arrange((i, wanted.field.of(document)) for i, document in enumerate(documents))


def test_orders():
    """Up without a sign or with '+', down with '-'; by creation where nothing is said."""
    documents = [{"created": f"2026-0{i}", "summary": {"acc": 9 - i}, "config": {"lr": i % 2}} for i in (2, 1, 3)]
    assert arranged(None, *documents) == arranged("+created_at", *documents) == arranged("createdAt", *documents)
    assert arranged("created_at", *documents) == [1, 0, 2]
    assert arranged("-created_at", *documents) == [2, 0, 1]
    assert arranged("-summary_metrics.acc", *documents) == [1, 0, 2]
    assert arranged("+config.lr.value", *documents) == [0, 1, 2]


def test_what_has_no_value_comes_last_whichever_way_it_goes():
    """So the first is the best, or the worst, of those that have one."""
    documents = [{"config": c} for c in ({}, {"lr": 2}, {"lr": None}, {"lr": 1})]
    assert arranged("config.lr", *documents) == [3, 1, 0, 2]
    assert arranged("-config.lr", *documents) == [1, 3, 0, 2]


def test_equal_ones_stay_as_they_were():
    """Down as well as up."""
    documents = [{"config": {"lr": 1}}, {"config": {"lr": 2}}, {"config": {"lr": 1}}, {"config": {"lr": 2}}]
    assert arranged("config.lr", *documents) == [0, 2, 1, 3]
    assert arranged("-config.lr", *documents) == [1, 3, 0, 2]


def test_values_of_all_kinds_can_be_put_in_order():
    """By kind, then by value."""
    values = [{"a": 1}, "b", True, 2, [1], "a", False, 1.5]
    documents = [{"config": {"x": value}} for value in values]
    assert [values[i] for i in arranged("config.x", *documents)] == [False, True, 1.5, 2, "a", "b", [1], {"a": 1}]


@pytest.mark.parametrize(
    ("order", "said"),
    [("colour", "no field 'colour'"), ("+", "no field ''"), ("++state", "no field '+state'"), (5, "bad order '5'")],
)
def test_an_order_that_is_none(order, said):
    """It is named, with the next step."""
    with pytest.raises(BadName) as caught:
        parse_order(order)
    assert caught.value.message == said
    assert caught.value.hint


def test_collections_have_fields_of_their_own():
    """What is a run's is none of theirs."""
    document = {"name": "data", "type": "dataset", "tags": ["a"], "created": "2026"}
    assert parse_filter({"name": {"$regex": "^d"}, "tags": "a"}, COLLECTION).matches(document)
    assert parse_order("-created_at", COLLECTION).field == Field("created")
    with pytest.raises(BadName, match=r"(?m)^no field 'state'$"):
        parse_filter({"state": "failed"}, COLLECTION)


# ---- properties --------------------------------------------------------------------------------------------

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from([0.5, 1.0]), st.sampled_from("abc"))
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=2))
DOCUMENTS = st.fixed_dictionaries(
    {"config": st.dictionaries(st.sampled_from("xyz"), VALUES), "tags": st.lists(st.sampled_from("abc"), max_size=2)}
)
FIELDS = st.sampled_from(["config.x", "config.y", "tags"])
COMPARABLE = st.one_of(st.integers(-2, 2), st.sampled_from("abc"))
CONDITIONS = st.one_of(
    VALUES,
    st.builds(lambda value: {"$eq": value}, VALUES),
    st.builds(lambda value: {"$ne": value}, VALUES),
    st.builds(lambda name, value: {name: value}, st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), COMPARABLE),
    st.builds(lambda name, value: {name: value}, st.sampled_from(["$in", "$nin"]), st.lists(VALUES, max_size=3)),
    st.builds(lambda value: {"$exists": value}, st.booleans()),
    st.builds(lambda value: {"$regex": value}, st.sampled_from(["a", "[ab]", "^$"])),
    st.builds(lambda low, high: {"$gte": low, "$not": {"$gt": high}}, COMPARABLE, COMPARABLE),
)
LEAVES = st.builds(lambda field, condition: {field: condition}, FIELDS, CONDITIONS)
FILTERS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda name, parts: {name: parts}, st.sampled_from(["$and", "$or", "$nor"]),
                  st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda part: {"$not": part}, inner),
    ),
    max_leaves=6,
)  # fmt: skip


def naive(filters: dict[str, Any], document: dict[str, Any]) -> bool:
    """What a filter means, said as plainly as possible."""
    for name, value in filters.items():
        if name == "$and":
            held = all(naive(part, document) for part in value)
        elif name == "$or":
            held = any(naive(part, document) for part in value)
        elif name == "$nor":
            held = not any(naive(part, document) for part in value)
        elif name == "$not":
            held = not naive(value, document)
        else:
            absent = name != "tags" and name[-1] not in document["config"]
            there = document["tags"] if name == "tags" else document["config"].get(name[-1])
            held = naive_field(value if isinstance(value, dict) else {"$eq": value}, there, absent=absent)
        if not held:
            return False
    return True


def naive_field(condition: dict[str, Any], there: Any, *, absent: bool) -> bool:
    looked_at = [there, *there] if isinstance(there, list) else [there]

    def equal(wanted: Any) -> bool:
        return any(value == wanted and (type(value) is bool) == (type(wanted) is bool) for value in looked_at)

    def holds(name: str, operand: Any) -> bool:
        comparable = [value for value in looked_at if type(value) is not bool and value is not None]
        comparable = [value for value in comparable if isinstance(value, str) == isinstance(operand, str)]
        comparable = [value for value in comparable if isinstance(value, (str, int, float))]
        return {
            "$eq": lambda: equal(operand),
            "$ne": lambda: not equal(operand),
            "$in": lambda: any(equal(one) for one in operand),
            "$nin": lambda: not any(equal(one) for one in operand),
            "$gt": lambda: any(value > operand for value in comparable),
            "$gte": lambda: any(value >= operand for value in comparable),
            "$lt": lambda: any(value < operand for value in comparable),
            "$lte": lambda: any(value <= operand for value in comparable),
            "$exists": lambda: absent is not operand,
            "$regex": lambda: any(isinstance(value, str) and re.search(operand, value) for value in looked_at),
            "$not": lambda: not naive_field(operand, there, absent=absent),
        }[name]()

    return all(holds(name, operand) for name, operand in condition.items())


@given(filters=FILTERS, document=DOCUMENTS)
def test_filters_mean_what_a_plain_evaluation_says(filters, document):
    """Whatever the filter and the document, both agree."""
    assert matches(filters, document) is naive(filters, document)


@given(first=FILTERS, second=FILTERS, document=DOCUMENTS)
def test_de_morgan(first, second, document):
    """Not (a or b) is not-a and not-b; `$nor` is not `$or`; twice not is nothing."""
    neither = matches({"$nor": [first, second]}, document)
    assert neither is matches({"$and": [{"$not": first}, {"$not": second}]}, document)
    assert neither is matches({"$not": {"$or": [first, second]}}, document)
    assert matches({"$not": {"$not": first}}, document) is matches(first, document)


@given(field=FIELDS, values=st.lists(VALUES, min_size=1, max_size=3), document=DOCUMENTS)
def test_in_is_equal_to_one_of(field, values, document):
    """`$in` is `$or` of `$eq`, and `$nin` its complement."""
    among = matches({field: {"$in": values}}, document)
    assert among is matches({"$or": [{field: {"$eq": value}} for value in values]}, document)
    assert among is not matches({field: {"$nin": values}}, document)


@given(filters=FILTERS, documents=st.lists(DOCUMENTS, max_size=4))
def test_an_order_keeps_every_item(filters, documents):
    """Filtered and arranged, each that matches is there once."""
    wanted = parse_order("-config.x", RUN)
    chosen = [i for i, document in enumerate(documents) if matches(filters, document)]
    found = wanted.arrange((i, wanted.field.of(documents[i])) for i in chosen)
    assert sorted(found) == chosen
