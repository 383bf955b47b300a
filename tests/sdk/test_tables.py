"""Tables as content of artifacts: what comes back is what went in, and equal tables are equal bytes."""

from __future__ import annotations

import base64
import contextlib
import enum
import gc
import hashlib
import importlib.util
import json
import math
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from artifactvc.errors import Corrupt, UnknownEntry, UnsupportedError
from artifactvc.sdk.table_cells import BITS, DEPTH
from artifactvc.sdk.tables import JoinedTable, PartitionedTable, Table, Value, decode_value, value_suffixes
from tests.strategies import damaged

NAN = math.nan


class Shelf:
    """An artifact of this test's own: entries by path, and which of them were read."""

    def __init__(self, **values: Value | bytes) -> None:
        self.entries: dict[str, bytes] = {}
        self.reads: list[str] = []
        for path, value in values.items():
            self.put(path, value)

    def put(self, name: str, value: Value | bytes) -> None:
        if isinstance(value, Value):
            self.entries[name + value.suffix] = value.encode(self)
        else:
            self.entries[name] = value

    def read(self, path: str) -> bytes:
        self.reads.append(path)
        if path not in self.entries:
            raise UnknownEntry(f"no entry '{path}'")
        return self.entries[path]

    def paths(self, prefix: str) -> list[str]:
        below = (p for p in self.entries if not prefix or p == prefix or p.startswith(prefix + "/"))
        return sorted(below, key=str.encode)

    def get(self, path: str) -> Any:
        return decode_value(path, self.read(path), self)


def stored(value: Value) -> dict[str, Any]:
    """The JSON of *value*, by a reader that knows JSON only."""

    def refuse(word: str) -> None:
        raise AssertionError(f"'{word}' is no JSON")

    return json.loads(value.encode(Shelf()), parse_constant=refuse)


def again(value: Value) -> Any:
    """*value* after a stay in an artifact."""
    shelf = Shelf(x=value)
    return shelf.get("x" + value.suffix)


def column(*values: Any, **options: Any) -> Table:
    return Table(["a"], [[value] for value in values], **options)


def refused(error: type[Exception], function: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(error) as caught:
        function(*args, **kwargs)
    assert not isinstance(caught.value, Corrupt) or error is Corrupt
    return str(caught.value)


# ---- any table -----------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ZONES = st.none() | st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=ZONES)
BY_KIND = {
    "number": st.integers(-10, 10) | st.integers(-(2**80), 2**80) | st.floats(allow_infinity=False),
    "string": TEXTS,
    "boolean": st.booleans(),
    "timestamp": MOMENTS | st.dates(date(2, 1, 1)),
}
SCALARS = st.none() | st.one_of(*BY_KIND.values())
NESTED = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXTS, below, max_size=3), max_leaves=6
)
BY_KIND["list"] = st.lists(NESTED, max_size=3)
BY_KIND["dictionary"] = st.dictionaries(TEXTS, NESTED, max_size=3)
BY_KIND["any"] = NESTED
NAMES = st.lists(TEXTS | st.integers(-3, 99), max_size=3, unique_by=str)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """A table with columns of all kinds, None in some of them."""
    names = draw(NAMES)
    kinds = draw(st.lists(st.sampled_from(sorted(BY_KIND)), min_size=len(names), max_size=len(names)))
    optional = draw(st.lists(st.booleans(), min_size=len(names), max_size=len(names)))
    cells = [BY_KIND[kind] for kind in kinds]
    cells = [st.none() | one if may else one.filter(lambda c: c is not None) for one, may in zip(cells, optional)]  # noqa: B905
    rows = draw(st.lists(st.tuples(*cells), max_size=4))
    dtype = ["any" if kind == "any" else None for kind in kinds]
    log_mode = draw(st.sampled_from(["IMMUTABLE", "MUTABLE"]))
    return Table(names, rows, dtype=dtype, optional=optional, log_mode=log_mode)


@given(tables())
@example(Table([]))
@example(Table([], [[], []]))
@example(column(None, NAN, [NAN, None, {"x": NAN}], allow_mixed_types=True))
@example(column(NAN, NAN))
@example(column(NAN, None, 1))
@example(column(-0.0, 2**53 + 1, -(2**200), 5e-324))
def test_what_comes_back_is_what_went_in(table):
    """Values, columns, types and log mode survive, NaN apart from None, and the copy has the same bytes."""
    back = again(table)
    assert back == table
    assert back.encode(Shelf()) == table.encode(Shelf())
    assert back.log_mode == table.log_mode


@given(tables())
def test_what_is_stored_is_strict_json(table):
    """No NaN, no infinity, keys in order, UTF-8: any reader of JSON can read it."""
    body = stored(table)
    assert table.encode(Shelf()) == json.dumps(body, sort_keys=True, ensure_ascii=False).encode()
    assert (body["nrows"], body["ncols"]) == (len(table), len(table.columns))


SMALL = [None, True, 1, 1.0, 0, 0.0, -0.0, NAN, "1", "", [], [1], [1.0], {}, {"a": 1}, datetime(1970, 1, 1), [NAN]]


@given(st.lists(st.sampled_from(SMALL), max_size=2), st.lists(st.sampled_from(SMALL), max_size=2), st.booleans())
def test_equal_tables_are_equal_bytes(one, other, optional):
    """Two tables are equal exactly if they are stored as the same bytes; NaN equals NaN, 1 is not 1.0 nor True."""
    first = column(*one, allow_mixed_types=True)
    second = column(*other, allow_mixed_types=True, optional=optional if None not in other else True)
    assert (first == second) == (first.encode(Shelf()) == second.encode(Shelf()))
    assert (first != second) is not (first == second)


def test_the_road_makes_no_difference():
    """Rows given at once, one by one, as tuples, by columns, or from a generator are the same bytes."""
    rows = [[1, "x", [1, 2]], [2.5, "y", []]]
    whole = Table(["a", "b", "c"], rows)
    by_row = Table(["a", "b", "c"])
    for row in rows:
        by_row.add_data(*row)
    by_column = Table([])
    for name, values in zip("abc", zip(*rows, strict=True), strict=True):
        by_column.add_column(name, values, optional=True)
    others = [
        by_row,
        by_column,
        Table(columns=("a", "b", "c"), rows=[tuple(row) for row in rows]),
        Table(["a", "b", "c"], (row for row in rows)),
        Table(["a", "b", "c"], [[1, "x", (1, 2)], [2.5, "y", set()]]),
    ]
    assert {one.encode(Shelf()) for one in [whole, *others]} == {whole.encode(Shelf())}
    assert all(one == whole for one in others)


def test_a_table_is_a_copy_of_what_it_was_given():
    """Later changes of the caller's lists do not show."""
    names, row = ["a"], [[1, 2]]
    table = Table(names, [row])
    names.append("b")
    row[0].append(3)
    row.append(4)
    assert (table.columns, table.data) == (["a"], [[[1, 2]]])


def test_equal_only_to_tables():
    """A table equals no list of rows, has no hash, and shows what it is."""
    assert column(1) != [[1]]
    assert column(1) != PartitionedTable("a")
    refused(TypeError, hash, column(1))
    assert repr(Table(["a", "b"], [[1, 2]])) == "<Table of 1 rows: 'a', 'b'>"
    assert repr(Table([])) == "<Table of 0 rows: none>"


# ---- as W&B's library has it ---------------------------------------------------------------------


def wandb_digest(path: str, data: bytes) -> str:
    """What W&B calls the digest of an artifact that holds *data* at *path*."""
    md5 = base64.b64encode(hashlib.md5(data).digest()).decode()
    return hashlib.md5(f"wandb-artifact-manifest-v1\n{path}:{md5}\n".encode()).hexdigest()


def test_bytes_are_those_of_wandb():
    """Its library writes the same bytes for simple columns; two of the values are fixed by its own tests."""
    table = Table(["a"], [[1]]).encode(Shelf())
    assert wandb_digest("t.table.json", table) == "daf2f5a09dd3a1e2c18762c038cba9a2"
    rows = [[1, "x", True, datetime(2024, 1, 1)], [2.5, "y", False, None]]
    assert Table(["n", "s", "b", "t"], rows).encode(Shelf()).decode() == (
        '{"_type": "table", "column_types": {"params": {"type_map": {'
        '"b": {"params": {"allowed_types": [{"wb_type": "boolean"}, {"wb_type": "none"}]}, "wb_type": "union"}, '
        '"n": {"params": {"allowed_types": [{"wb_type": "none"}, {"wb_type": "number"}]}, "wb_type": "union"}, '
        '"s": {"params": {"allowed_types": [{"wb_type": "none"}, {"wb_type": "string"}]}, "wb_type": "union"}, '
        '"t": {"params": {"allowed_types": [{"wb_type": "none"}, {"wb_type": "timestamp"}]}, "wb_type": "union"}'
        '}}, "wb_type": "typedDict"}, "columns": ["n", "s", "b", "t"], '
        '"data": [[1, "x", true, 1704067200000], [2.5, "y", false, null]], '
        '"log_mode": "IMMUTABLE", "ncols": 4, "nrows": 2}'
    )
    parts = PartitionedTable("dataset_parts").encode(Shelf())
    assert parts == b'{"_type": "partitioned-table", "parts_path": "dataset_parts"}'
    assert wandb_digest("dataset.partitioned-table.json", parts) == "c6a4d80ed84fd68df380425ded894b19"


def from_wandb(types: dict[str, Any] | None, columns: list[Any], *rows: list[Any], **more: Any) -> Table:
    body = {"_type": "table", "columns": columns, "data": list(rows), **more}
    if types is not None:
        body["column_types"] = {"wb_type": "typedDict", "params": {"type_map": types}}
    value = decode_value("t.table.json", json.dumps(body).encode(), Shelf())
    assert isinstance(value, Table)
    return value


def union(*names: str) -> dict[str, Any]:
    return {"wb_type": "union", "params": {"allowed_types": [{"wb_type": name} for name in names]}}


def test_tables_of_wandb_are_read():
    """Its types are understood, its fractions of milliseconds too; what has no counterpart stays as it is stored."""
    numbers = {"wb_type": "list", "params": {"element_type": {"wb_type": "number"}, "length": 2}}
    array = {"wb_type": "ndarray", "params": {"shape": [2], "serialization_path": None}}
    image = {"_type": "image-file", "path": "media/a.png"}
    table = from_wandb(
        {
            "n": union("none", "number"),
            "t": {"wb_type": "timestamp"},
            "l": numbers,
            "v": array,
            "i": {"wb_type": "image-file", "params": {"box_layers": {}}},
            "u": union("none", "string", "number"),
            "k": {"wb_type": "wandb.TablePrimaryKey"},
            "x": {"wb_type": "foreignIndex", "params": {"table": "media/t.table.json"}},
            "d": {"wb_type": "typedDict", "params": {"type_map": {}}},
            "z": union("none"),
            "7": {"wb_type": "boolean"},
        },
        ["n", "t", "l", "v", "i", "u", "k", "x", "d", "z", 7],
        [None, 1500.75, [1, 2], [3, 4], image, "s", "key", 0, {"a": 1}, None, True],
        ncols=11,
        nrows=1,
        log_mode="IMMUTABLE",
    )
    moment = datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)
    assert table.data == [[None, moment, [1, 2], [3, 4], image, "s", "key", 0, {"a": 1}, None, True]]
    kinds = [one.kind for one in table._types]
    assert kinds == "number timestamp list list any any primaryKey number dictionary unknown boolean".split()
    assert [one.optional for one in table._types] == [n in (0, 5, 9) for n in range(11)]
    assert again(table) == table


def test_old_tables_without_types_hold_anything():
    """Files of early releases have rows and columns only."""
    table = from_wandb(None, ["a", 2], [1, None], ["x", [2]])
    assert table.data == [[1, None], ["x", [2]]]
    assert again(table) == table


def test_a_column_in_a_numpy_file_is_not_read():
    """W&B keeps large arrays beside the table: said plainly, instead of a column of None."""
    path = {"path": "media/serialized_data/x.npz", "key": "v"}
    types = {"v": {"wb_type": "ndarray", "params": {"shape": [200], "serialization_path": path}}}
    with pytest.raises(UnsupportedError) as caught:
        from_wandb(types, ["v"], [None])
    assert caught.value.message == "a column of this table is kept in a NumPy file beside it, which is not read"
    assert caught.value.hint == "read it with W&B's own library, and store the column as lists"


# ---- values --------------------------------------------------------------------------------------


class Color(str, enum.Enum):  # noqa: UP042
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Listed:
    """What has a ``tolist``, as tensors of many packages have."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def tolist(self) -> Any:
        return self.values


EAST = timezone(timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    ("given", "held"),
    [
        ((1, (2, 3)), [1, [2, 3]]),
        ({3, 1, 2, 10}, [1, 2, 3, 10]),
        (frozenset({"b", "a", (1,)}), [[1], "a", "b"]),
        ({"b": {1}, "a": (None,)}, {"a": [None], "b": [1]}),
        (Color.RED, "red"),
        (Level.HIGH, 3),
        ({Color.RED: Level.HIGH}, {"red": 3}),
        (date(2024, 2, 29), datetime(2024, 2, 29, tzinfo=UTC)),
        (datetime(2024, 1, 1, 12), datetime(2024, 1, 1, 12, tzinfo=UTC)),
        (datetime(2024, 1, 1, 12, tzinfo=EAST), datetime(2024, 1, 1, 6, 30, tzinfo=UTC)),
        (datetime(2024, 1, 1, 0, 0, 0, 123_999), datetime(2024, 1, 1, 0, 0, 0, 123_000, tzinfo=UTC)),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999), datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)),
        (Listed([1, Listed(2.5)]), [1, 2.5]),
        (2**BITS - 1, 2**BITS - 1),
    ],
    ids=None,
)
def test_values_become_plain(given, held):
    """Rows hold plain values from the start, and those come back."""
    table = column(given)
    assert table.data == [[held]]
    assert type(table.data[0][0]) is type(held)
    assert again(table) == table == column(held)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def round_and_round() -> Any:
    value: list[Any] = []
    value.append({"x": value})
    return value


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (math.inf, ValueError, "column 'a': inf is no number that JSON can hold"),
        ([0.5, -math.inf], ValueError, "column 'a': -inf is no number that JSON can hold"),
        (2**BITS, ValueError, "column 'a': an integer of more than 4096 bits"),
        ("\ud800", ValueError, "column 'a': '\\ud800' is no Unicode text"),
        ({"\udfff": 1}, ValueError, "column 'a': '\\udfff' is no Unicode text"),
        ({1: 2}, TypeError, "column 'a': keys of a dictionary in a table are text, not 1"),
        (nested(DEPTH + 1), ValueError, "column 'a': a value is nested deeper than 28 levels"),
        (round_and_round(), ValueError, "column 'a': a value is nested deeper than 28 levels"),
        (b"bytes", TypeError, "column 'a': a table cannot hold a 'bytes'"),
        (1j, TypeError, "column 'a': a table cannot hold a 'complex'"),
        (Decimal("0.1"), TypeError, "column 'a': a table cannot hold a 'Decimal'"),
        (timedelta(1), TypeError, "column 'a': a table cannot hold a 'timedelta'"),
        (object(), TypeError, "column 'a': a table cannot hold a 'object'"),
        (
            datetime(1, 1, 1, tzinfo=EAST),
            ValueError,
            "column 'a': 0001-01-01T00:00:00+05:30 is outside the years 1 to 9999 in UTC",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_table_cannot_hold(value, error, message):
    """The error names column and value, at once, and the table stays as it was."""
    table = column(allow_mixed_types=True)
    assert refused(error, table.add_data, value) == message
    assert len(table) == 0
    table.data.append([value])
    assert refused(error, table.encode, Shelf()) == message


def test_the_deepest_value_comes_back():
    """28 levels in a cell are 32 in the file, also where the table is a part of a join."""
    table = Table(["k", "a"], [["x", nested(DEPTH)]])
    assert again(table) == table
    assert again(JoinedTable(table, table, "k")) == JoinedTable(table, table, "k")


def test_moments_are_stored_as_milliseconds():
    """Of a column of moments the type says it; elsewhere a mark does."""
    moment = datetime(2024, 1, 1, 0, 0, 0, 5000, tzinfo=UTC)
    body = stored(column(moment, None, datetime(1969, 12, 31, 23, 59, 59, 999_000)))
    assert body["data"] == [[1704067200005], [None], [-1]]
    assert body["column_types"]["params"]["type_map"]["a"] == union("none", "timestamp")
    assert "timestamps" not in body
    mixed = column(1704067200005, moment, {"x": [0, moment]}, allow_mixed_types=True)
    body = stored(mixed)
    assert body["data"] == [[1704067200005], [1704067200005], [{"x": [0, 1704067200005]}]]
    assert body["timestamps"] == {"a": [1, [2, "x", 1]]}
    back = again(mixed)
    assert back.data == [[1704067200005], [moment], [{"x": [0, moment]}]]
    assert back.data[1][0].tzinfo is UTC


def test_nan_is_null_and_comes_back():
    """JSON has no NaN: the column is marked, whole where nothing else in it is null, else by row and place."""
    assert (stored(column(1.5, NAN))["data"], stored(column(1.5, NAN))["nan"]) == ([[1.5], [None]], {"a": True})
    body = stored(column(NAN, None, 2))
    assert (body["data"], body["nan"]) == ([[None], [None], [2]], {"a": [0]})
    inside = column([1, NAN, None], {"x": {"y": NAN}}, NAN, allow_mixed_types=True)
    assert stored(inside)["nan"] == {"a": [[0, 1], [1, "x", "y"], 2]}
    assert repr(again(inside).data) == "[[[1, nan, None]], [{'x': {'y': nan}}], [nan]]"
    assert "nan" not in stored(column(1, None))
    assert again(column(NAN, None)).data[1] == [None]


@pytest.mark.parametrize("number", [2**53, 2**53 + 1, -(2**63) - 1, 10**300])
def test_integers_are_exact(number):
    """No integer passes through a float."""
    assert stored(column(number))["data"] == [[number]]
    assert again(column(number)).data == [[number]]


# ---- types ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2.5, NAN], "number"),
        (["x"], "string"),
        ([True], "boolean"),
        ([datetime(2024, 1, 1), date(2024, 1, 1)], "timestamp"),
        ([[1, "x", None], ()], "list"),
        ([{}, {"a": 1}], "dictionary"),
        ([], "unknown"),
    ],
)
def test_types_are_inferred(values, kind):
    """The first value decides; None says nothing."""
    table = column(None, *values, None)
    assert (table._types[0].kind, table._types[0].optional) == (kind, True)
    wandb = {"dictionary": "typedDict"}.get(kind, kind)
    expected = union("boolean", "none") if kind == "boolean" else union("none", wandb)
    assert stored(table)["column_types"] == {"wb_type": "typedDict", "params": {"type_map": {"a": expected}}}
    assert again(table)._types == table._types


@pytest.mark.parametrize(
    ("dtype", "good", "bad", "kind"),
    [
        (int, 1.5, "x", "number"),
        (float, 1, True, "number"),
        (bool, True, 1, "boolean"),
        (str, "x", 1, "string"),
        (datetime, date(2024, 1, 1), 1, "timestamp"),
        (date, datetime(2024, 1, 1), "x", "timestamp"),
        (tuple, [1], {}, "list"),
        ([int], [1], "x", "list"),
        (dict, {}, [], "dictionary"),
        ({"a": int}, {}, [], "dictionary"),
        ("string", "x", 1, "string"),
        (type(None), None, 1, "none"),
    ],
    ids=None,
)
def test_types_may_be_given(dtype, good, bad, kind):
    """A type of Python or the name of a kind; a value of another is refused."""
    dtypes = [dtype] if isinstance(dtype, list) else dtype
    table = Table(["a"], dtype=dtypes if dtypes is dtype else [dtype], optional=False)
    assert table._types[0].kind == kind
    table.add_data(good)
    assert refused(TypeError, table.add_data, bad).startswith("column 'a': ")
    assert again(table) == table


def test_a_value_of_another_type():
    """The error names column, value and both types, and nothing of the row is kept."""
    table = Table(["n", "s"], [[1, "x"]])
    message = (
        "column 's': 2 is of type 'number', and the column of type 'string'; a column of mixed types is of type 'any'"
    )
    assert refused(TypeError, table.add_data, 5, 2) == message
    assert table.data == [[1, "x"]]
    assert refused(TypeError, Table, ["a"], [[1], ["x"]]).startswith("column 'a': 'x' is of type 'string'")
    assert refused(TypeError, column, True, 1).startswith("column 'a': 1 is of type 'number'")
    assert column(1, "x", None, [2], allow_mixed_types=True).data == [[1], ["x"], [None], [[2]]]


def test_none_needs_an_optional_column():
    """Columns are optional unless said otherwise, each for itself."""
    assert column(1, None, 2).data == [[1], [None], [2]]
    message = "column 'a': None, and the column is not optional"
    assert refused(TypeError, column, 1, None, optional=False) == message
    assert refused(TypeError, column, None, optional=False) == message
    assert refused(TypeError, column, None, optional=False, allow_mixed_types=True) == message
    table = Table(["a", "b"], [[1, None]], optional=[False, True])
    assert refused(TypeError, table.add_data, None, None) == message


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"columns": "abc"}, TypeError, "'columns' is a 'str', not a list"),
        ({"columns": 3}, TypeError, "'columns' is a 'int', not a list"),
        ({"columns": ["a", 1.5]}, TypeError, "columns are called by text or integers, not 1.5"),
        ({"columns": [True]}, TypeError, "columns are called by text or integers, not True"),
        ({"columns": ["a", "b", "a", "b"]}, ValueError, "two columns are called 'a', 'b'"),
        ({"columns": ["1", 1]}, ValueError, "two columns are called '1'"),
        ({"columns": ["a"], "dtype": [int, int]}, ValueError, "'dtype' is for 2 columns, and the table has 1"),
        ({"columns": ["a"], "optional": []}, ValueError, "'optional' is for 0 columns, and the table has 1"),
        ({"columns": ["a"], "dtype": bytes}, TypeError, "no type of a column: <class 'bytes'>"),
        ({"columns": ["a"], "dtype": "primaryKey"}, TypeError, "no type of a column: 'primaryKey'"),
        ({"log_mode": "LATER"}, ValueError, "bad log_mode 'LATER': it is 'IMMUTABLE', 'MUTABLE' or 'INCREMENTAL'"),
        ({"data": "rows"}, TypeError, "'data' is a 'str', not a list"),
        ({"data": {"a": [1]}}, TypeError, "'data' is a 'dict', not a list"),
        ({"data": [[1, 2, 3], "abc"]}, TypeError, "row 1 is a 'str', not a list"),
        ({"data": [5]}, TypeError, "row 0 is a 'int', not a list"),
        ({"dataframe": [[1]]}, TypeError, "'dataframe' is a 'list', not a pandas DataFrame"),
    ],
)
def test_what_no_table_is_made_of(arguments, error, message):
    """Each wrong argument is named."""
    assert refused(error, Table, **arguments) == message


def test_the_columns_unless_given():
    """W&B's three; and rows of another width are refused, naming the columns."""
    table = Table()
    assert (table.columns, table.data, len(table)) == (["Input", "Output", "Expected"], [], 0)
    table.add_data(1, 2, 3)
    message = "row 1 has 2 values, and the table 3 columns: 'Input', 'Output', 'Expected'"
    assert refused(ValueError, table.add_data, 1, 2) == message
    assert refused(ValueError, Table, ["a"], [[1], [1, 2]]) == "row 1 has 2 values, and the table 1 columns: 'a'"
    wide = Table(range(30))
    assert refused(ValueError, wide.add_data).endswith("'18', '19' …")


# ---- columns and rows ----------------------------------------------------------------------------


def test_rows_are_iterated_with_their_index():
    """As pairs; the index alone comes from get_index."""
    table = Table(["a", "b"], [[1, "x"], [2, "y"]])
    assert list(table.iterrows()) == [(0, [1, "x"]), (1, [2, "y"])]
    assert table.get_index() == [0, 1]


def test_columns_are_added_whole_or_not_at_all():
    """A column needs a value for each row, of one type, and a name of its own."""
    table = Table(["a"], [[1], [2]])
    table.add_column("b", ("x", "y"))
    table.add_column("c", iter([None, 3]), optional=True)
    good = [[1, "x", None], [2, "y", 3]]
    assert table.data == good
    assert refused(ValueError, table.add_column, "d", [1]) == "column 'd' has 1 values, and the table 2 rows"
    assert refused(ValueError, table.add_column, "b", [1, 2]) == "two columns are called 'b'"
    assert refused(TypeError, table.add_column, "d", "ab") == "column 'd' is a 'str', not a list"
    assert refused(TypeError, table.add_column, "d", [1, "x"]).startswith("column 'd': 'x' is of type 'string'")
    assert refused(TypeError, table.add_column, "d", [1, None]) == "column 'd': None, and the column is not optional"
    assert (table.columns, table.data) == (["a", "b", "c"], good)
    assert again(table) == table
    first = Table([])
    first.add_column("a", [1, 2])
    assert first.data == [[1], [2]]


def test_columns_are_computed_from_rows():
    """The function is given index and row; all columns come, or none."""
    table = Table(["a", "b"], [[1, 2], [3, 4]])
    table.add_computed_columns(lambda index, row: {"sum": row["a"] + row["b"], "index": index})
    assert (table.columns, table.data) == (["a", "b", "sum", "index"], [[1, 2, 3, 0], [3, 4, 7, 1]])
    none = "the function returned a 'NoneType' for row 0, not a dictionary"
    assert refused(TypeError, table.add_computed_columns, lambda index, row: None) == none
    other = "row 1 was given the columns 'y', and row 0 'x'"
    assert refused(ValueError, table.add_computed_columns, lambda index, row: {"xy"[index]: 1}) == other
    mixed = refused(TypeError, table.add_computed_columns, lambda index, row: {"ok": 1, "no": [1, "x"][index]})
    assert mixed.startswith("column 'no': 'x' is of type 'string'")
    assert len(table.columns) == 4
    assert {len(row) for row in table.data} == {4}
    assert again(table) == table


def test_a_column_is_read_by_name():
    """As a list; an unknown one is an error that names those there are."""
    table = Table(["a", 7], [[1, "x"], [2, "y"]])
    assert (table.get_column("a"), table.get_column(7)) == ([1, 2], ["x", "y"])
    assert refused(ValueError, table.get_column, "b") == "no column 'b'; there are 'a', '7'"
    assert refused(ValueError, table.get_column, "a", "list") == "bad convert_to 'list': it is 'numpy' or None"


def test_cast_changes_no_value():
    """The new type must fit what is there; None needs optional."""
    table = column(1, 2.5)
    assert table.cast("a", "any").kind == "any"
    table.add_data("x")
    message = (
        "column 'a': 'x' is of type 'string', and the column of type 'number'; a column of mixed types is of type 'any'"
    )
    assert refused(TypeError, table.cast, "a", float) == message
    assert table._types[0].kind == "any"
    assert refused(TypeError, table.add_data, None) == "column 'a': None, and the column is not optional"
    table.cast("a", "any", optional=True)
    table.add_data(None)
    assert table.data == [[1], [2.5], ["x"], [None]]
    assert column(1).cast("a", None).kind == "number"
    assert table.cast("a", table.cast("a", object, True), True).kind == "any"


def test_a_primary_key_is_one_column_of_text():
    """It keeps its type, and no cell of it is empty."""
    table = Table(["id", "n"], [["x", 1]])
    table.set_pk("id")
    table.set_pk("id")
    assert stored(table)["column_types"]["params"]["type_map"]["id"] == {"wb_type": "primaryKey"}
    assert refused(ValueError, table.set_pk, "n") == "column 'id' is the primary key already"
    assert refused(ValueError, table.cast, "id", str) == "column 'id' is a key and keeps its type"
    assert refused(ValueError, table.set_fk, "id", table, "n") == "column 'id' is the primary key"
    assert refused(TypeError, table.add_data, 2, 2) == "column 'id': 2 is of type 'number', and a key is text"
    assert refused(TypeError, table.add_data, None, 2) == "column 'id': None, and the column is not optional"
    assert refused(TypeError, Table(["n"], [[1]]).set_pk, "n") == "column 'n': 1 is of type 'number', and a key is text"
    assert again(table) == table


def test_a_foreign_key_leads_to_a_table_of_the_artifact():
    """By its path, or to a table that was added before; a table that is not there is an error."""
    people = Table(["id"], [["ada"]])
    people.set_pk("id")
    posts = Table(["by", "n"], [["ada", 1]])
    posts.set_fk("by", people, "id")
    shelf = Shelf()
    message = "column 'by': the table that it is a key to is not in the artifact; add it first"
    assert refused(ValueError, posts.encode, shelf) == message
    shelf.put("b/people", people)
    shelf.put("posts", posts)
    back = shelf.get("posts.table.json")
    types = json.loads(shelf.entries["posts.table.json"])["column_types"]["params"]["type_map"]
    assert types["by"] == {"wb_type": "foreignKey", "params": {"table": "b/people.table.json", "col_name": "id"}}
    assert back.data == posts.data
    assert back.encode(shelf) == posts.encode(shelf)
    named = Table(["by", "n"], [["ada", 1]])
    named.set_fk("by", "b/people.table.json", "id")
    assert named == back
    missing = "column 'by': 'b/people.table.json' that it is a key to is not in the artifact; add it first"
    assert refused(ValueError, named.encode, Shelf()) == missing


def test_foreign_keys_make_no_circle():
    """A table that leads back to itself could never be added."""
    one, two = Table(["id", "to"], [["a", "b"]]), Table(["id", "to"], [["b", "a"]])
    assert refused(ValueError, one.set_fk, "to", one, "id") == "column 'to' would lead back to its own table"
    one.set_fk("to", two, "id")
    assert refused(ValueError, two.set_fk, "to", one, "id") == "column 'to' would lead back to its own table"
    assert refused(ValueError, two.set_fk, "to", one, "x") == "no column 'x'; there are 'id', 'to'"
    path = "'x.json' is no Table and no path that ends with '.table.json'"
    assert refused(ValueError, two.set_fk, "to", "x.json", "id") == path


# ---- limits --------------------------------------------------------------------------------------


def test_too_many_rows_are_refused_not_cut(monkeypatch):
    """Nothing is lost in silence; whoever wants more sets the attribute, as with W&B."""
    assert (Table.MAX_ROWS, Table.MAX_ARTIFACT_ROWS) == (10_000, 200_000)
    monkeypatch.setattr(Table, "MAX_ARTIFACT_ROWS", 2)
    table = column(1, 2, 3)
    message = (
        "a table of 3 rows has more than Table.MAX_ARTIFACT_ROWS, 2; split it, and add a PartitionedTable of the parts"
    )
    assert refused(ValueError, table.encode, Shelf()) == message
    monkeypatch.setattr(Table, "MAX_ARTIFACT_ROWS", 3)
    data = table.encode(Shelf())
    monkeypatch.setattr(Table, "MAX_ARTIFACT_ROWS", 1)
    assert len(decode_value("t", data, Shelf()).data) == 3


def test_too_many_bytes_are_refused(monkeypatch):
    """The same bound for writing and for reading, so that what is stored can be read."""
    table = column("x" * 100)
    data = table.encode(Shelf())
    monkeypatch.setattr(Value, "MAX_BYTES", len(data))
    assert decode_value("t", table.encode(Shelf()), Shelf()) == table
    monkeypatch.setattr(Value, "MAX_BYTES", len(data) - 1)
    message = f"a table of {len(data)} bytes is larger than {len(data) - 1}; "
    message += "split it, and add a PartitionedTable of the parts"
    assert refused(ValueError, table.encode, Shelf()) == message
    assert (
        refused(Corrupt, decode_value, "t", data, Shelf()) == f"'t' is damaged: it is larger than {len(data) - 1} bytes"
    )


def test_rows_changed_by_hand_are_checked_when_added():
    """`data` and `columns` are the caller's too."""
    table = column(1)
    table.data += [[2], [3.5]]
    assert again(table).data == [[1], [2], [3.5]]
    table.data.append((4, 5))
    assert refused(TypeError, table.encode, Shelf()) == "row 3 is a 'tuple', not a list"
    table.data[-1] = [4, 5]
    assert refused(ValueError, table.encode, Shelf()) == "row 3 has 2 values, and the table 1 columns: 'a'"
    table.data[-1] = ["x"]
    assert refused(TypeError, table.encode, Shelf()).startswith("column 'a': 'x' is of type 'string'")
    table.data.pop()
    table.columns[0] = "b"
    assert again(table).columns == ["b"]
    table.columns.append("c")
    message = "the columns are 'b', 'c', and rows were added for 1 columns"
    assert refused(ValueError, table.encode, Shelf()) == message


# ---- notebooks -----------------------------------------------------------------------------------


def test_a_notebook_shows_a_beginning_and_no_markup():
    """Few rows and columns, each cell cut short, and nothing in it is HTML."""
    rows = [["<b>&", "x" * 1000, None, datetime(2024, 1, 1), *range(30)] for _ in range(50)]
    shown = Table(["<i>", *range(33)], rows)._repr_html_()
    assert "&lt;i&gt;" in shown
    assert "&lt;b&gt;&amp;" in shown
    assert "<b>" not in shown
    assert "2024-01-01T00:00:00+00:00" in shown
    assert shown.count("<tr>") == 11
    assert shown.count("<td>") == 200
    assert len(shown) < 10_000
    assert "50 rows, 34 columns" in shown
    assert Table([])._repr_html_().count("<tr>") == 1


# ---- NumPy and pandas ----------------------------------------------------------------------------


def test_numpy_and_pandas_are_not_imported():
    """A table is made, stored and read without them; who has none pays for none."""
    code = (
        "import sys; from artifactvc.sdk.tables import Table, decode_value; "
        "data = Table(['a'], [[1.5], [None]]).encode(None); decode_value('t', data, None); "
        "print(sorted({'numpy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("package", "call", "what"),
    [
        ("numpy", lambda table: table.get_column("a", convert_to="numpy"), "get_column"),
        ("pandas", lambda table: table.get_dataframe(), "get_dataframe"),
    ],
)
def test_asking_for_a_package_that_is_not_there(package, call, what):
    """The error names the package."""
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    assert refused(ImportError, call, column(1)) == f"{what}() needs {package}, which is not installed"


def numpy() -> Any:
    return pytest.importorskip("numpy", reason="NumPy is not installed")


def pandas() -> Any:
    return pytest.importorskip("pandas", reason="pandas is not installed")


def test_arrays_become_lists():
    """Whatever the type of the array, cells hold Python's own values, and the bytes are those of lists."""
    np = numpy()
    cells = [
        (np.array([[1, 2], [3, 4]], dtype="uint8"), [[1, 2], [3, 4]]),
        (np.array([0.5, NAN], dtype="float32"), [0.5, NAN]),
        (np.array([0.5], dtype="longdouble"), [0.5]),
        (np.array(["x", "y"]), ["x", "y"]),
        (np.array([True]), [True]),
        (np.array([], dtype="float64"), []),
        (np.array([1, "x", None, [2]], dtype=object), [1, "x", None, [2]]),
        (np.array(7), 7),
        (np.datetime64("2024-01-01T00:00:00.123456789"), datetime(2024, 1, 1, 0, 0, 0, 123_000, tzinfo=UTC)),
        (
            np.array(["1969-12-31T23:59:59.9999", "NaT"], "M8[ns]"),
            [datetime(1969, 12, 31, 23, 59, 59, 999_000, UTC), None],
        ),
        (np.datetime64("2024"), datetime(2024, 1, 1, tzinfo=UTC)),
        (np.datetime64("NaT"), None),
        (np.float16(0.5), 0.5),
        (np.float64(NAN), NAN),
        (np.longdouble(0.5), 0.5),
        (np.int64(2**62), 2**62),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        ({"v": np.arange(2)}, {"v": [0, 1]}),
    ]
    for given_value, held in cells:
        table, plain = column(given_value), column(held)
        assert repr(table.data) == repr(plain.data)
        assert table.encode(Shelf()) == plain.encode(Shelf())


def test_arrays_that_a_table_cannot_hold():
    """Infinity, complex numbers, bytes, spans of time and far years are refused, never changed."""
    np = numpy()
    assert refused(ValueError, column, np.float32("inf")) == "column 'a': inf is no number that JSON can hold"
    assert (
        refused(ValueError, column, np.datetime64("12024-01-01")) == "column 'a': a moment outside the years 1 to 9999"
    )
    record = np.array([(1, "2024")], dtype=[("a", "i4"), ("t", "M8[ns]")])
    for value in (np.complex128(1j), np.bytes_(b"x"), np.timedelta64(1, "s"), np.timedelta64(1, "ns"), record):
        assert refused(TypeError, column, value).startswith("column 'a': a table cannot hold a '")


def test_a_table_of_an_array():
    """Rows of two dimensions; a column may be an array too, and types may be NumPy's."""
    np = numpy()
    table = Table(["a", "b"], np.array([[1.5, NAN], [2, 3]]))
    assert repr(table.data) == "[[1.5, nan], [2.0, 3.0]]"
    table.add_column("c", np.array(["x", "y"]))
    table.add_data(np.float32(1), 2, np.str_("z"))
    assert table.data[2] == [1.0, 2, "z"]
    message = "'data': inf is no number that JSON can hold"
    assert refused(ValueError, Table, ["a"], np.array([[math.inf]])) == message
    assert refused(TypeError, Table, ["a"], np.array([1, 2])) == "row 0 is a 'int', not a list"
    assert refused(TypeError, Table, ["a"], np.array(1)) == "'data' is a 'int', not a list"
    kinds = [np.float32, np.dtype("int8"), np.bool_, np.str_, np.datetime64, np.uint64]
    table = Table(list("abcdef"), dtype=kinds)
    assert [one.kind for one in table._types] == "number number boolean string timestamp number".split()
    assert refused(TypeError, Table, ["a"], dtype=np.complex64).startswith("no type of a column")


def test_a_column_as_an_array():
    """Numbers give an array of numbers, lists one of more dimensions."""
    np = numpy()
    table = Table(["a", "v"], [[1, [1, 2]], [2, [3, 4]]])
    assert table.get_column("a", convert_to="numpy").tolist() == [1, 2]
    assert table.get_column("v", convert_to="numpy").shape == (2, 2)
    assert isinstance(table.get_column("a", convert_to="numpy"), np.ndarray)


def test_a_table_of_a_dataframe():
    """Its columns and rows, without its index; missing is NaN in columns of floats, and None in all others."""
    pd = pandas()
    frame = pd.DataFrame(
        {
            "n": [1, 2],
            "f": [0.5, NAN],
            "s": ["x", None],
            "b": [True, False],
            "t": [pd.Timestamp("2024-01-01", tz="Asia/Kolkata"), pd.NaT],
            "i": pd.array([1, None], dtype="Int64"),
            "c": pd.Categorical(["u", None]),
            "l": [[1], [2, 3]],
        },
        index=[10, 20],
    )
    table = Table(dataframe=frame)
    moment = datetime(2023, 12, 31, 18, 30, tzinfo=UTC)
    assert table.columns == [*"nfsbtic", "l"]
    assert repr(table.data) == repr(
        [[1, 0.5, "x", True, moment, 1, "u", [1]], [2, NAN, None, False, None, None, None, [2, 3]]]
    )
    assert Table(data=frame) == table
    assert Table(columns=["ignored"], data=[[1]], dataframe=frame) == table
    assert again(table) == table
    assert Table(data=pd.DataFrame([[1, 2]])).columns == [0, 1]
    assert Table(data=pd.DataFrame({"a": []})).data == []
    twice = pd.DataFrame([[1, 2]], columns=["a", "a"])
    assert refused(ValueError, Table, dataframe=twice) == "two columns are called 'a'"


def test_series_and_missing_values_of_pandas():
    """A Series is a list, NA and NaT are None."""
    pd = pandas()
    table = Table(["a", "b"], [[pd.NA, pd.NaT], [pd.Timestamp(5, unit="ms"), datetime(1970, 1, 1)]])
    assert table.data[0] == [None, None]
    assert table.data[1][0] == datetime(1970, 1, 1, 0, 0, 0, 5000, tzinfo=UTC)
    assert type(table.data[1][0]) is datetime
    table.add_column("c", pd.Series([1.5, 2.5]))
    assert table.get_column("c") == [1.5, 2.5]
    assert column(pd.Series([1, 2])).data == [[[1, 2]]]
    table.add_column("d", pd.Series(["x", None]), optional=True)
    assert table.get_column("d") == ["x", None]
    table.add_column("e", pd.Index(pd.to_datetime(["2024-01-01", None])), optional=True)
    assert table.get_column("e") == [datetime(2024, 1, 1, tzinfo=UTC), None]
    assert refused(TypeError, table.add_column, "f", pd.to_timedelta([1, 2])).startswith("column 'f'")


def test_a_table_as_a_dataframe():
    """Columns by name and rows in order."""
    pandas()
    frame = Table(["a", "b"], [[1, "x"], [2, "y"]]).get_dataframe()
    assert list(frame.columns) == ["a", "b"]
    assert frame.values.tolist() == [[1, "x"], [2, "y"]]
    assert list(Table(["a"]).get_dataframe().columns) == ["a"]


# ---- partitioned tables --------------------------------------------------------------------------


NONE_OF_THEM = "which is none of 'table', 'partitioned-table', 'joined-table'"


def parted(*names: str) -> Shelf:
    """An artifact with parts of one row each, which holds the part's name."""
    shelf = Shelf(d=PartitionedTable("parts"))
    for name in names:
        shelf.put(f"parts/{name}", Table(["part"], [[name]]))
    return shelf


def parts(shelf: Shelf) -> list[Any]:
    return [row[0] for _, row in shelf.get("d.partitioned-table.json").iterrows()]


def test_a_partitioned_table_is_all_its_parts():
    """Rows of all tables below the folder with a running index; other entries are no parts."""
    shelf = Shelf(d=PartitionedTable("parts/"))
    for i in range(5):
        shelf.put(f"parts/table_{i}", Table(["a", "b", "c"], [[i, i * 2, 2**i]]))
    shelf.put("parts/readme.txt", b"not a table")
    shelf.put("parts/below/other", PartitionedTable("parts"))
    shelf.put("parts2/table_9", Table(["z"], [[1]]))
    shelf.put("parts.table.json", b"not below")
    table = shelf.get("d.partitioned-table.json")
    assert list(table.iterrows()) == [(i, [i, i * 2, 2**i]) for i in range(5)]
    assert table.columns == ["a", "b", "c"]
    assert table == PartitionedTable("parts")
    assert table != PartitionedTable("other")
    assert table != column(1)
    assert repr(table) == "<PartitionedTable 'parts'>"


def test_parts_come_in_natural_order():
    """Numbers by size, whatever stands around them, folder by folder; W&B puts 10 before 2."""
    order = [
        "t",
        "t-1",
        "t_0",
        "t_01",
        "t_1",
        "t_2",
        "t_2b",
        "t_10",
        "t_10/x",
        "t_10/x2",
        "t_10/x10",
        "ta",
        "u1v10",
        "é",
    ]
    shelf = parted(*sorted(order))
    assert parts(shelf) == order
    assert parts(parted("9" * 5000, "1" + "0" * 5000, "5")) == ["5", "9" * 5000, "1" + "0" * 5000]


@given(st.lists(st.integers(0, 10**30), unique=True, max_size=12))
def test_numbered_parts_come_by_number(numbers):
    """However many digits."""
    assert parts(parted(*(f"table_{n}" for n in numbers))) == [f"table_{n}" for n in sorted(numbers)]


def test_one_part_is_in_memory_at_a_time():
    """A part is read when its first row is asked for, once, and when no other is held any more."""

    def held() -> int:
        gc.collect()
        return sum(isinstance(one, Table) for one in gc.get_objects())

    class Watched(Shelf):
        def read(self, path: str) -> bytes:
            if self.reads:
                assert held() == before
            return super().read(path)

    before, shelf = held(), Watched()
    for i in range(3):
        shelf.put(f"parts/table_{i}", Table(["a"], [[i], [i]]))
    shelf.put("d", PartitionedTable("parts"))
    rows = shelf.get("d.partitioned-table.json").iterrows()
    assert shelf.reads == ["d.partitioned-table.json"]
    for i in range(3):
        assert next(rows) == (2 * i, [i])
        assert len(shelf.reads) == i + 2
        assert next(rows) == (2 * i + 1, [i])
    assert list(rows) == []
    assert shelf.reads[1:] == [f"parts/table_{i}.table.json" for i in range(3)]


def test_parts_have_the_same_columns():
    """Another name or another order is an error that names both parts, after the rows before it."""
    shelf = parted("t1", "t2")
    shelf.put("parts/t10", Table(["other"], [[1]]))
    rows = shelf.get("d.partitioned-table.json").iterrows()
    assert [next(rows), next(rows)] == [(0, ["t1"]), (1, ["t2"])]
    message = (
        "the parts of a table differ: 'parts/t1.table.json' has the columns 'part', and 'parts/t10.table.json' 'other'"
    )
    assert refused(ValueError, next, rows) == message


def test_a_folder_without_parts_has_no_rows():
    """Parts may come later, so it is no error."""
    shelf = parted()
    table = shelf.get("d.partitioned-table.json")
    assert (list(table.iterrows()), table.columns) == ([], [])


def test_a_partitioned_table_of_no_artifact():
    """W&B gives no rows; that would look like an empty table."""
    message = "this partitioned-table is not of an artifact yet; add it, log the artifact, and get it from there"
    assert refused(ValueError, list, PartitionedTable("parts").iterrows()) == message
    assert refused(ValueError, lambda: PartitionedTable("parts").columns) == message


@pytest.mark.parametrize("path", ["", ".", "/", "/parts", "a/../b", "..", None, 5, ["parts"]])
def test_what_is_no_folder(path):
    """The path is one that an entry of an artifact could have."""
    assert refused(ValueError, PartitionedTable, path) == f"{path!r} is no path of a folder of an artifact"


def test_a_damaged_part_is_named():
    """Of many parts the error says which."""
    shelf = parted("t1", "t3")
    shelf.put("parts/t2.table.json", b"{}")
    rows = shelf.get("d.partitioned-table.json").iterrows()
    next(rows)
    message = f"'parts/t2.table.json' is damaged: its type is None, {NONE_OF_THEM}"
    assert refused(Corrupt, next, rows) == message
    shelf.put("parts/t2.table.json", PartitionedTable("x").encode(shelf))
    message = "'parts/t2.table.json' is damaged: it is a partitioned-table, and a part is a table"
    assert refused(Corrupt, parts, shelf) == message


# ---- joined tables -------------------------------------------------------------------------------

PEOPLE = Table(["id", "name"], [[1, "ada"], [2, "bob"], [None, "nobody"], [3, "cyd"]])
POSTS = Table(["n", "by", "name"], [[10, 2, "x"], [20, 1, "y"], [30, 1.0, "z"], [40, None, "w"], [50, 9, "v"]])
JOINED = [[1, "ada", 20, "y"], [1, "ada", 30, "z"], [2, "bob", 10, "x"]]


def rows_of(joined: JoinedTable) -> list[list[Any]]:
    found = list(joined.iterrows())
    assert [index for index, _ in found] == list(range(len(found)))
    return [row for _, row in found]


def test_tables_of_the_artifact_are_joined_by_path():
    """An inner join: rows in the order of the first table, and None equals nothing."""
    shelf = Shelf(people=PEOPLE, posts=POSTS)
    shelf.put("j", JoinedTable("people.table.json", "./posts.table.json", ["id", "by"]))
    assert json.loads(shelf.entries["j.joined-table.json"]) == {
        "_type": "joined-table",
        "join_key": ["id", "by"],
        "table1": "people.table.json",
        "table2": "posts.table.json",
    }
    joined = shelf.get("j.joined-table.json")
    assert rows_of(joined) == JOINED
    assert joined.columns == ["id", "name", "n", "name_2"]
    assert joined == JoinedTable("people.table.json", "posts.table.json", ("id", "by"))
    assert repr(joined) == "<JoinedTable 'people.table.json', 'posts.table.json' by ['id', 'by']>"


def test_tables_given_are_part_of_the_join():
    """They need not be in the artifact, and can be joined before it is logged."""
    joined = JoinedTable(PEOPLE, POSTS, ["id", "by"])
    assert rows_of(joined) == JOINED
    shelf = Shelf(j=joined)
    back = shelf.get("j.joined-table.json")
    assert rows_of(back) == JOINED
    assert back == joined
    assert back.encode(shelf) == shelf.entries["j.joined-table.json"]
    assert joined != JoinedTable(POSTS, PEOPLE, ["by", "id"])
    assert joined != column(1)


def test_a_side_may_be_in_parts():
    """By its path, or as a value."""
    shelf = Shelf(d=PartitionedTable("parts"))
    for i in range(3):
        shelf.put(f"parts/t{i}", Table(["by", "n"], [[i + 1, i]]))
    expected = [[1, "ada", 0], [2, "bob", 1], [3, "cyd", 2]]
    for side in ("d.partitioned-table.json", PartitionedTable("parts")):
        shelf.put("j", JoinedTable(PEOPLE, side, ["id", "by"]))
        assert rows_of(shelf.get("j.joined-table.json")) == expected
        shelf.put("j", JoinedTable(side, PEOPLE, ["by", "id"]))
        assert rows_of(shelf.get("j.joined-table.json")) == [[i + 1, i, row[1]] for i, row in enumerate(expected)]


def test_keys_are_compared_by_value():
    """1 is 1.0 and not True nor "1"; NaN and None equal nothing; lists, dictionaries and moments are compared whole."""
    moment = datetime(2024, 1, 1)
    keys = [1, True, "1", None, NAN, [1], {"a": [moment]}, moment, False, 0]
    one = Table(["k", "i"], [[key, at] for at, key in enumerate(keys)], dtype=["any", None])
    two = Table(["k", "j"], [[1.0 if at == 0 else key, at] for at, key in enumerate(keys)], dtype=["any", None])
    found = rows_of(JoinedTable(one, two, "k"))
    assert [(row[1], row[2]) for row in found] == [(at, at) for at in (0, 1, 2, 5, 6, 7, 8, 9)]


def test_columns_that_both_have_get_a_number():
    """So a row can be made a dictionary, and loses nothing."""
    one = Table(["k", "a", "a_2", 5], [["x", 1, 2, 3]])
    two = Table(["a", "k", "5", "b"], [[4, "x", 5, 6]])
    joined = JoinedTable(one, two, "k")
    assert joined.columns == ["k", "a", "a_2", 5, "a_3", "5_2", "b"]
    assert rows_of(joined) == [["x", 1, 2, 3, 4, 5, 6]]


NO_SIDE = "table1 is a table or a path that ends with '.table.json', not "


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x.txt", PEOPLE, "id"), NO_SIDE + "'x.txt'"),
        (("x.joined-table.json", PEOPLE, "id"), NO_SIDE + "'x.joined-table.json'"),
        ((None, PEOPLE, "id"), NO_SIDE + "None"),
        ((PEOPLE, 5, "id"), NO_SIDE.replace("1", "2", 1) + "5"),
        (("../x.table.json", PEOPLE, "id"), "'../x.table.json' is no path of a table"),
        ((PEOPLE, PEOPLE, 5), "join_key is a column, or a list of two, not 5"),
        ((PEOPLE, PEOPLE, ["id"]), "join_key is a column, or a list of two, not ['id']"),
        ((PEOPLE, PEOPLE, ["id", 1]), "join_key is a column, or a list of two, not ['id', 1]"),
    ],
)
def test_what_cannot_be_joined(arguments, message):
    """Each wrong argument is named."""
    assert refused(ValueError, JoinedTable, *arguments) == message


def test_a_path_that_is_not_in_the_artifact():
    """It is an error when the join is added; an entry that is gone when it is read, one too."""
    joined = JoinedTable("people.table.json", "posts.table.json", ["id", "by"])
    shelf = Shelf(people=PEOPLE)
    assert refused(ValueError, joined.encode, shelf) == "table2 'posts.table.json' is not in the artifact; add it first"
    assert (
        refused(ValueError, joined.encode, Shelf()) == "table1 'people.table.json' is not in the artifact; add it first"
    )
    shelf.put("posts", POSTS)
    shelf.put("j", joined)
    del shelf.entries["posts.table.json"]
    assert refused(UnknownEntry, list, shelf.get("j.joined-table.json").iterrows()) == "no entry 'posts.table.json'"
    message = "this joined-table is not of an artifact yet; add it, log the artifact, and get it from there"
    assert refused(ValueError, list, joined.iterrows()) == message


def test_a_key_that_a_table_has_not():
    """The columns there are, are named."""
    message = "no column 'who' to join by; there are 'n', 'by', 'name'"
    assert refused(ValueError, rows_of, JoinedTable(PEOPLE, POSTS, ["id", "who"])) == message
    assert refused(ValueError, lambda: JoinedTable(PEOPLE, POSTS, ["id", "who"]).columns) == message


def test_a_join_of_a_join_is_damage():
    """An entry may have changed under its name."""
    shelf = Shelf(people=PEOPLE)
    shelf.put("j", JoinedTable("people.table.json", PEOPLE, "id"))
    shelf.put("people.table.json", shelf.entries["j.joined-table.json"])
    message = "'people.table.json' is damaged: it is a joined-table, which cannot be joined"
    assert refused(Corrupt, rows_of, shelf.get("j.joined-table.json")) == message


# ---- bytes from anywhere -------------------------------------------------------------------------


def test_the_endings_of_their_names():
    """What `decode_value` reads is told by the entry's name."""
    assert value_suffixes() == (".table.json", ".partitioned-table.json", ".joined-table.json")
    assert "x.partitioned-table.json".endswith(value_suffixes())
    assert not "x.partitioned-table.json".endswith(Table.suffix)


def test_only_the_three_types_know_how():
    """The contract itself stores nothing."""
    refused(NotImplementedError, Value().encode, Shelf())
    refused(NotImplementedError, Value.decode, {}, Shelf())


OF_NUMBERS = "and the column of type 'number'; a column of mixed types is of type 'any'"


def body_with(**changes: Any) -> bytes:
    body = stored(Table(["a"], [[1]]))
    return json.dumps({key: value for key, value in (body | changes).items() if value is not ...}).encode()


def types_with(found: Any) -> bytes:
    return body_with(column_types={"wb_type": "typedDict", "params": {"type_map": {"a": found}}})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is no JSON: Expecting value: line 1 column 1 (char 0)"),
        (b'{"_type": NaN}', "it is no JSON: 'NaN' is no number"),
        (b'{"_type": 1, "_type": 2}', "it is no JSON: a key stands twice"),
        (b"[" * 10**6,
         "it is no JSON: maximum recursion depth exceeded while decoding a JSON array from a unicode string"),
        (b"[]", f"its type is None, {NONE_OF_THEM}"),
        (b'{"_type": ["table"]}', f"its type is ['table'], {NONE_OF_THEM}"),
        (body_with(columns=...), "it has no columns or no data"),
        (body_with(data=7), "it has no columns or no data"),
        (body_with(ncols=2), "its rows and columns are not as many as it says"),
        (body_with(nrows="1"), "its rows and columns are not as many as it says"),
        (body_with(log_mode=[]), "bad log_mode []: it is 'IMMUTABLE', 'MUTABLE' or 'INCREMENTAL'"),
        (body_with(columns=[[]]), "columns are called by text or integers, not []"),
        (body_with(columns=["a", "a"], ncols=2), "two columns are called 'a'"),
        (body_with(data=[{"a": 1}]), "row 0 is a 'dict', not a list"),
        (body_with(data=[[1, 2]]), "row 0 has 2 values, and the table 1 columns: 'a'"),
        (body_with(data=[["x"]]), f"column 'a': 'x' is of type 'string', {OF_NUMBERS}"),
        (body_with(data=[[1]]).replace(b"[[1]]", b"[[1e999]]"), "column 'a': inf is no number that JSON can hold"),
        (body_with(data=[[2**BITS]]), "column 'a': an integer of more than 4096 bits"),
        (body_with(data=[[nested(DEPTH + 1)]]), "column 'a': a value is nested deeper than 28 levels"),
        (body_with(column_types="x"), "its 'column_types' is no dictionary"),
        (types_with("number"), "column 'a': its type is none"),
        (types_with({"wb_type": "union"}), "column 'a': its type is a union of nothing"),
        (types_with({"wb_type": "foreignKey", "params": {"table": "x"}}), "column 'a': it is a key that leads nowhere"),
        (types_with({"wb_type": "boolean"}), f"column 'a': 1 is of type 'number', {OF_NUMBERS}".replace(
            "type 'number';", "type 'boolean';")),
        (body_with(nan=[1]), "its 'nan' is no dictionary"),
        (body_with(nan={"a": 1}), "column 'a': its marks are no list"),
        (body_with(timestamps={"a": True}), "column 'a': its marks are no list"),
        (body_with(nan={"a": [0]}), "column 'a': 1 is marked as no number"),
        (body_with(nan={"a": [1]}), "column 'a': there is no place 1"),
        (body_with(nan={"a": [[0, "x"]]}), "column 'a': there is no place 'x'"),
        (body_with(nan={"a": [[]]}), "column 'a': there is no place []"),
        (body_with(nan={"a": [-1]}), "column 'a': there is no place -1"),
        (body_with(timestamps={"a": [0, 0]}), "column 'a': 1970-01-01T00:00:00.001000+00:00 is no moment"),
        (body_with(timestamps={"a": [0]}, data=[[10**20]]),
         f"column 'a': {10**20} is a moment outside the years 1 to 9999"),
        (b'{"_type": "partitioned-table"}', "it has no 'parts_path'"),
        (b'{"_type": "partitioned-table", "parts_path": "/etc"}', "'/etc' is no path of a folder of an artifact"),
        (b'{"_type": "joined-table", "table1": "a.table.json"}', "it has no 'table2'"),
        (b'{"_type": "joined-table", "table1": "a.table.json", "table2": "b", "join_key": "k"}',
         "table2 is a table or a path that ends with '.table.json', not 'b'"),
        (b'{"_type": "joined-table", "table1": "a.table.json", "table2": {"_type": "joined-table"}, "join_key": "k"}',
         "its type is 'joined-table', which is none of 'table', 'partitioned-table'"),
        (b'{"_type": "joined-table", "table1": "a.table.json", "table2": "a.table.json"}', "it has no 'join_key'"),
        (b'{"_type": "joined-table", "table1": "a.table.json", "table2": "a.table.json", "join_key": {}}',
         "join_key is a column, or a list of two, not {}"),
    ],
)  # fmt: skip
def test_damage_is_named(data, message):
    """Bytes that no value is stored as are Corrupt, and the error says where and what."""
    assert refused(Corrupt, decode_value, "t.table.json", data, Shelf()) == f"'t.table.json' is damaged: {message}"


@pytest.mark.parametrize("data", [b"\xff", b'{"_type": "\\ud800"}', b"9" * 5000, b"\xef\xbb\xbf{}"])
def test_what_is_no_json_is_damage(data):
    """Whatever the reason of the parser."""
    assert refused(Corrupt, decode_value, "t", data, Shelf()).startswith("'t' is damaged: it is no JSON: ")


def test_deep_damage_is_shown_short():
    """A message quotes a few levels and characters, not the whole of what is wrong."""
    for data in (
        body_with(nan={"a": [nested(900)]}),
        body_with(columns=[nested(900)]),
        types_with({"wb_type": nested(900)}),
        body_with(columns=["x" * 10**6], data=[[1, 2]]),
        body_with(log_mode="x" * 10**6),
        json.dumps({"_type": nested(900)}).encode(),
    ):
        assert len(refused(Corrupt, decode_value, "t", data, Shelf())) < 300


KEYS = st.sampled_from(
    "_type column_types params type_map columns data log_mode nan timestamps ncols nrows wb_type allowed_types "
    "table1 table2 join_key parts_path table col_name serialization_path a b".split()
)
WORDS = st.sampled_from(
    "table partitioned-table joined-table union none number string timestamp list typedDict any foreignKey primaryKey "
    "ndarray IMMUTABLE x.table.json parts a b ..".split()
)
SOUP = st.recursive(
    WORDS | st.none() | st.integers(-2, 2) | st.sampled_from([10**400, 1.5, True]),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=5),
    max_leaves=20,
)
LIKE_A_TABLE = st.fixed_dictionaries(
    {"_type": st.just("table"), "columns": st.just(["a", 1]), "data": st.lists(st.lists(SOUP, min_size=2, max_size=2))},
    optional={
        "column_types": st.dictionaries(st.sampled_from(["a", "1"]), SOUP).map(lambda t: {"params": {"type_map": t}}),
        "nan": st.dictionaries(st.sampled_from(["a", "1"]), st.booleans() | st.lists(SOUP, max_size=2)),
        "timestamps": st.dictionaries(st.sampled_from(["a", "1"]), st.lists(SOUP, max_size=2)),
        "log_mode": st.just("MUTABLE") | SOUP,
    },
)
SIDES = st.sampled_from(["x.table.json", "y.table.json", "../x.table.json"]) | LIKE_A_TABLE | SOUP
LIKE_A_JOIN = st.fixed_dictionaries(
    {"_type": st.sampled_from(["joined-table", "partitioned-table"]), "table1": SIDES,
     "table2": SIDES, "join_key": WORDS | st.lists(WORDS, min_size=2, max_size=2) | SOUP,
     "parts_path": WORDS | SOUP}
)  # fmt: skip


def hostile() -> st.SearchStrategy[bytes]:
    """Bytes that are nearly a value, or a value that is nearly sound."""
    sound = tables().map(lambda table: table.encode(Shelf()))
    soup = (SOUP | LIKE_A_TABLE | LIKE_A_JOIN).map(json.dumps).map(str.encode)
    return st.binary(max_size=60) | damaged(sound) | soup | damaged(soup)


@given(hostile())
def test_any_bytes_are_a_value_or_refused(data):
    """Decoding returns a value, which can be stored again and is then the same, or fails as promised."""
    shelf = Shelf()
    shelf.put("x.table.json", data)
    try:
        value = decode_value("x.table.json", data, shelf)
    except (Corrupt, UnsupportedError):
        return
    with contextlib.suppress(Corrupt, UnknownEntry, UnsupportedError, ValueError):
        if not isinstance(value, Table):
            list(value.iterrows())
    try:
        encoded = value.encode(shelf)
    except ValueError as error:  # a path to a table that is not in the artifact
        assume("is not in the artifact" not in str(error))
        raise
    back = decode_value("x.table.json", encoded, shelf)
    assert back == value
    assert back.encode(shelf) == encoded
