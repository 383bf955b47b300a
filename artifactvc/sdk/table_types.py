"""What a cell of a table may hold, what a column knows of its cells, and how both stand in JSON.

A cell is plain: None, a bool, an int, a float that is not infinite, text, a moment
(an aware ``datetime`` in UTC, whole milliseconds), or lists and dictionaries of
these. `to_cell` makes it of what callers have, values of NumPy and pandas too:
neither is ever imported here, for who has such a value has imported it.

JSON has no NaN and no moments. In a stored column a moment is its milliseconds
since 1970 and NaN is null; where the column's type does not say so already, *marks*
name the places, so that what comes back is what went in (`Stored`).
"""

from __future__ import annotations

import math
import reprlib
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from artifactvc.errors import UnsupportedError

Cell = Any
"""A plain value, as `to_cell` returns it."""

DEPTH: Final = 28
"""How deep lists and dictionaries may nest in a cell: with the table around it, 32 levels (protocol H2)."""
BITS: Final = 4096
"""How long an integer may be; more digits than Python reads by default would come close."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NAN: Final = float("nan")
_SCALARS: Final = frozenset({type(None), bool, int, float, str})

# ---- cells ---------------------------------------------------------------------------------------


def to_cell(value: object, depth: int = 0) -> Cell:
    """Return *value* as a cell: a copy, in which later changes of *value* do not show.

    Tuples, sets (sorted) and arrays become lists; dates midnight, and moments without a
    time zone are taken as UTC, so that no machine's zone decides; NaT and NA become None.

    Raises TypeError for what a table cannot hold, ValueError for infinity, text that is
    not Unicode, an integer above `BITS` or nesting beyond `DEPTH`.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _to_text(value)
    if isinstance(value, int | float):
        return _to_number(value)
    if isinstance(value, datetime | date):
        return _to_moment(value)
    if depth >= DEPTH:
        raise ValueError(f"a value is nested deeper than {DEPTH} levels")
    if isinstance(value, list | tuple):
        items = list(value)
        return items if _all_plain(items) else [to_cell(item, depth + 1) for item in items]
    if isinstance(value, set | frozenset):
        return sorted((to_cell(item, depth + 1) for item in value), key=_rank)
    if isinstance(value, dict):
        return {_to_key(key): to_cell(item, depth + 1) for key, item in value.items()}
    return _of_packages(value, depth)


def to_cells(values: Iterable[object]) -> list[Cell]:
    """Return *values* as cells; most columns are plain already, which costs no look at each value."""
    found = list(values)
    return found if _all_plain(found) else [to_cell(value) for value in found]


def same(one: Cell, other: Cell) -> bool:
    """Whether two cells, or lists of cells, would be stored as the same bytes: NaN is NaN, and 1 is not 1.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return repr(one) == repr(other)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    return bool(one == other)


_SHORT: Final = reprlib.Repr()  # bounded in depth and length, whatever a hostile table holds
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxdict = 3, 4, 4
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 40


def show_cell(cell: object) -> str:
    """*cell* for a message, cut short."""
    return cell.isoformat() if isinstance(cell, datetime) else _SHORT.repr(cell)


def _all_plain(values: Sequence[object]) -> bool:
    """Whether all are cells of one value each, by a few passes that cost little."""
    kinds = set(map(type, values))
    if not kinds <= _SCALARS:
        return False
    if float in kinds and (math.inf in values or -math.inf in values):
        return False
    if int in kinds and max(value.bit_length() for value in values if type(value) is int) > BITS:
        return False
    try:
        "".join(value for value in values if type(value) is str).encode()
    except UnicodeEncodeError:
        return False
    return True


def _to_text(value: str) -> str:
    text = str.__str__(value)  # of a subclass, the plain text
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{show_cell(text)} is no Unicode text") from None
    return text


def _to_key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"keys of a dictionary in a table are text, not {show_cell(key)}")
    return _to_text(key)


def _to_number(value: float) -> int | float:
    if isinstance(value, int):
        if value.bit_length() > BITS:
            raise ValueError(f"an integer of more than {BITS} bits")
        return int(value)
    if math.isinf(value):
        raise ValueError(f"{float(value)} is no number that JSON can hold")
    return float(value)


def _to_moment(value: date) -> datetime | None:
    if value != value:  # pandas' NaT says that it is a datetime
        return None
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    try:
        utc = value.replace(tzinfo=UTC) if value.utcoffset() is None else value.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{value.isoformat()} is outside the years 1 to 9999 in UTC") from None
    whole = utc.microsecond // 1000 * 1000
    return datetime(utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second, whole, tzinfo=UTC)


def _rank(cell: Cell) -> tuple[str, bool, float, str]:
    """Where a member of a set goes: numbers by size, all else by how it is written."""
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return "", cell != cell, cell if cell == cell else 0, ""
    return type(cell).__name__, False, 0, repr(cell)


def _of_packages(value: Any, depth: int) -> Cell:
    numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
    if pandas is not None and value is pandas.NA:
        return None
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic):
        value = _tamed(value)
    elif not callable(getattr(value, "tolist", None)):
        raise TypeError(f"a table cannot hold a '{type(value).__name__}'")
    return to_cell(value.tolist(), depth + 1)


def _tamed(array: Any) -> Any:
    """The array, or number of NumPy, in a type whose ``tolist`` gives Python's own values."""
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype("float64")
    if array.dtype.kind == "M":
        array = array.astype("datetime64[ms]")  # of finer units, and of far years, tolist gives bare numbers
        if any(isinstance(moment, int) for moment in array.ravel().tolist()):
            raise ValueError("a moment outside the years 1 to 9999")
    return array


# ---- types of columns ----------------------------------------------------------------------------

_KINDS: Final[dict[type, str]] = {
    type(None): "none",
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    datetime: "timestamp",
    list: "list",
    dict: "dictionary",
}
KEYS: Final = frozenset({"primaryKey", "foreignKey"})
_NAMES: Final = frozenset(_KINDS.values()) | KEYS | {"unknown", "any"}
_STORED_AS: Final = {"dictionary": "typedDict"}  # where W&B's files have another word
_READ_AS: Final = {"typedDict": "dictionary", "foreignIndex": "number", "ndarray": "list"} | {
    "wandb.TablePrimaryKey": "primaryKey",
    "wandb.TableForeignKey": "foreignKey",
}
_NUMPY_KINDS: Final = {"b": "boolean", "i": "number", "u": "number", "f": "number", "U": "string", "M": "timestamp"}


def kind_of(cell: Cell) -> str:
    """The kind of column that *cell* alone would make."""
    return _KINDS[type(cell)]


@dataclass(frozen=True, slots=True)
class ColumnType:
    """What may stand in a column: a *kind*, and None where it is *optional*.

    Kinds: ``unknown`` (until the first value), ``any`` (mixed), ``number``, ``string``,
    ``boolean``, ``timestamp``, ``list``, ``dictionary``, ``none``; of keys, which are
    text, ``primaryKey`` and ``foreignKey``.
    """

    kind: str = "unknown"
    optional: bool = False

    def including(self, kind: str) -> ColumnType | None:
        """The type after a cell of *kind* came to the column, or None if there is no place for it."""
        if kind == "none":
            return self if self.optional or self.kind == "none" else None
        if self.kind == "unknown":
            return replace(self, kind=kind)
        fits = self.kind in ("any", kind) or (self.kind in KEYS and kind == "string")
        return self if fits else None

    def including_all(self, cells: Iterable[Cell]) -> ColumnType:
        """The type after *cells* came to the column, in this order.

        Raises TypeError, which says what does not fit, at the first cell that has no place.
        """
        result = self
        cells = list(cells)
        if all(result.including(kind) is result for kind in {kind_of(cell) for cell in cells}):
            return result
        for cell in cells:
            wider = result.including(kind_of(cell))
            if wider is None:
                raise TypeError(result.misfit(cell))
            result = wider
        return result

    def misfit(self, cell: Cell) -> str:
        """Why *cell* has no place in the column; to stand after the column's name."""
        if cell is None:
            return f"({self.kind}) cannot hold None; an optional column could"
        if self.kind in KEYS:
            return f"is a key and cannot hold {show_cell(cell)}: keys are text"
        return f"({self.kind}) cannot hold {show_cell(cell)} ({kind_of(cell)}); a column of type 'any' could"


def column_type(dtype: object) -> ColumnType:
    """The type that a caller means by *dtype*: a type of Python or NumPy, the name of a kind, or None to infer it.

    Raises TypeError for anything else.
    """
    numpy = sys.modules.get("numpy")
    if dtype is None:
        return ColumnType()
    if isinstance(dtype, ColumnType):
        return dtype
    if isinstance(dtype, str) and dtype in _NAMES - KEYS:
        return ColumnType(dtype)
    if dtype is Any or dtype is object:
        return ColumnType("any")
    if isinstance(dtype, list | dict):  # W&B's way to say what is inside, which is not kept
        return ColumnType(kind_of(type(dtype)()))
    if isinstance(dtype, type):
        for known, kind in ((tuple, "list"), (set, "list"), (frozenset, "list"), (date, "timestamp"), *_KINDS.items()):
            if issubclass(dtype, known):
                return ColumnType(kind)
    if numpy is not None and isinstance(dtype, type) and issubclass(dtype, numpy.generic):
        dtype = numpy.dtype(dtype)
    if numpy is not None and isinstance(dtype, numpy.dtype) and dtype.kind in _NUMPY_KINDS:
        return ColumnType(_NUMPY_KINDS[dtype.kind])
    raise TypeError(f"no type of a column: {show_cell(dtype)}")


@dataclass(frozen=True, slots=True)
class Link:
    """What a foreign key points to: a column of another table, named by its path in the artifact."""

    table: str
    column: str


def encode_type(column: ColumnType, link: Link | None = None) -> dict[str, Any]:
    """The type as W&B writes it: what may be None is a union, its members by name, in one order."""
    alone: dict[str, Any] = {"wb_type": _STORED_AS.get(column.kind, column.kind)}
    if link is not None:
        alone["params"] = {"table": link.table, "col_name": link.column}
    if not column.optional:
        return alone
    none = {"wb_type": "none"}
    both = [alone, none] if column.kind in ("any", "boolean") else [none, alone]
    return {"params": {"allowed_types": both}, "wb_type": "union"}


def decode_type(body: object) -> tuple[ColumnType, Link | None]:
    """The type that *body* says. What W&B knows and a table here does not is ``any``: its cells stay as they are.

    Raises ValueError if it is no type at all, UnsupportedError for cells that are kept elsewhere.
    """
    if not isinstance(body, dict) or not isinstance(body.get("wb_type"), str):
        raise ValueError("is of no type")
    params = body.get("params")
    params = params if isinstance(params, dict) else {}
    if body["wb_type"] == "union":
        members = params.get("allowed_types")
        if not isinstance(members, list):
            raise ValueError("is a union of nothing")
        flags = [isinstance(member, dict) and member.get("wb_type") == "none" for member in members]
        others = [member for member, is_none in zip(members, flags, strict=True) if not is_none]
        if len(others) == 1 and not (isinstance(others[0], dict) and others[0].get("wb_type") == "union"):
            found, link = decode_type(others[0])
        else:
            found, link = ColumnType("any" if others else "unknown"), None
        return replace(found, optional=any(flags)), link
    kind = _READ_AS.get(body["wb_type"], body["wb_type"])
    if params.get("serialization_path") is not None:
        raise UnsupportedError(
            "a column of this table is kept in a NumPy file beside it, which is not read",
            hint="read it with W&B's own library, and store the column as lists",
        )
    if kind != "foreignKey":
        return ColumnType(kind if kind in _NAMES else "any"), None
    table, name = params.get("table"), params.get("col_name")
    if not isinstance(table, str) or not isinstance(name, str):
        raise ValueError("is a key to nothing")
    return ColumnType(kind), Link(table, name)


# ---- stored columns ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stored:
    """A column as JSON has it, and the places whose JSON is not yet the value.

    A place is the number of a row, or ``[row, step, …]`` for one inside a list or
    dictionary. *nan* is True where all that is null is NaN; *timestamps* of a column of
    that kind is empty, since its type says it.
    """

    values: list[Any]
    nan: list[Any] | bool
    timestamps: list[Any]


def store_column(column: ColumnType, cells: list[Cell]) -> Stored:
    """*cells* for JSON: equal cells give equal columns."""
    if column.kind == "timestamp":
        return Stored([None if cell is None else _milliseconds(cell) for cell in cells], [], [])
    nan: list[Any] = []
    timestamps: list[Any] = []
    values = _stripped(cells, [], nan, timestamps)
    if nan and column.kind == "number" and None not in cells:
        return Stored(values, True, timestamps)
    return Stored(values, nan, timestamps)


def load_column(column: ColumnType, stored: Stored) -> list[Cell]:
    """The cells that `store_column` was given. Raises ValueError if *stored* is not what it makes."""
    try:
        cells = to_cells(stored.values)
        if column.kind == "timestamp":
            cells = [None if value is None else _moment(value) for value in cells]
        for place in stored.timestamps:
            _put(cells, place, _moment)
        if stored.nan is True:
            cells = [_NAN if cell is None else cell for cell in cells]
        for place in stored.nan if isinstance(stored.nan, list) else ():
            _put(cells, place, _nan)
    except TypeError as cause:
        raise ValueError(str(cause)) from None
    return cells


def _stripped(values: list[Cell], where: list[Any], nan: list[Any], timestamps: list[Any]) -> list[Any]:
    kinds = set(map(type, values))
    if kinds <= _SCALARS and not (float in kinds and any(value != value for value in values)):
        return values
    return [_stored(value, [*where, at], nan, timestamps) for at, value in enumerate(values)]


def _stored(cell: Cell, where: list[Any], nan: list[Any], timestamps: list[Any]) -> Any:
    place = where if len(where) > 1 else where[0]
    if isinstance(cell, list):
        return _stripped(cell, where, nan, timestamps)
    if isinstance(cell, dict):
        return {key: _stored(cell[key], [*where, key], nan, timestamps) for key in sorted(cell)}
    if isinstance(cell, datetime):
        timestamps.append(place)
        return _milliseconds(cell)
    if cell != cell:
        nan.append(place)
        return None
    return cell


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _moment(stored: Any) -> Any:
    if type(stored) not in (int, float):
        raise ValueError(f"{show_cell(stored)} is no moment")
    try:
        return to_cell(_EPOCH + timedelta(milliseconds=stored))
    except OverflowError:
        raise ValueError(f"{show_cell(stored)} is a moment outside the years 1 to 9999") from None


def _nan(stored: Any) -> float:
    if stored is not None:
        raise ValueError(f"{show_cell(stored)} is marked as no number")
    return _NAN


def _put(cells: list[Cell], place: Any, change: Callable[[Any], Any]) -> None:
    """Replace what is stored at *place* by what it stands for."""
    *way, last = place if isinstance(place, list) and place else [place]
    holder: Any = cells
    for step in way:
        holder = _at(holder, step)
    holder[last] = change(_at(holder, last))


def _at(holder: Any, step: Any) -> Any:
    if isinstance(holder, list) and type(step) is int and 0 <= step < len(holder):
        return holder[step]
    if isinstance(holder, dict) and isinstance(step, str) and step in holder:
        return holder[step]
    raise ValueError(f"there is no place {show_cell(step)}")
