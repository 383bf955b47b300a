"""What a cell of a table may hold.

A cell is plain: None, a bool, an int, a float that is not infinite, text, a moment
(an aware ``datetime`` in UTC, whole milliseconds), or lists and dictionaries of
these. `to_cell` makes it of what callers have, values of NumPy and pandas too:
neither is ever imported here, for who has such a value has imported it.
"""

from __future__ import annotations

import math
import reprlib
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final

from artifactvc.errors import BadValue, WrongType

Cell = Any
"""A plain value, as `to_cell` returns it."""

DEPTH: Final = 28
"""How deep lists and dictionaries may nest in a cell: with the table around it, 32 levels (protocol H2)."""
BITS: Final = 4096
"""How long an integer may be; more digits than Python reads by default would come close."""

SCALARS: Final = frozenset({type(None), bool, int, float, str})
"""The types of cells that JSON has as they are; NaN apart."""


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
        raise BadValue(f"a value is nested deeper than {DEPTH} levels")
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
    if not kinds <= SCALARS:
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
        raise BadValue(f"{show_cell(text)} is no Unicode text") from None
    return text


def _to_key(key: object) -> str:
    if not isinstance(key, str):
        raise WrongType(f"keys of a dictionary in a table are text, not {show_cell(key)}")
    return _to_text(key)


def _to_number(value: float) -> int | float:
    if isinstance(value, int):
        if value.bit_length() > BITS:
            raise BadValue(f"an integer of more than {BITS} bits")
        return int(value)
    if math.isinf(value):
        raise BadValue(f"{float(value)} is no number that JSON can hold")
    return float(value)


def _to_moment(value: date) -> datetime | None:
    if value != value:  # pandas' NaT says that it is a datetime
        return None
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    try:
        utc = value.replace(tzinfo=UTC) if value.utcoffset() is None else value.astimezone(UTC)
    except OverflowError:
        raise BadValue(f"{value.isoformat()} is outside the years 1 to 9999 in UTC") from None
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
    if pandas is not None and isinstance(value, pandas.Series | pandas.Index):
        return to_cell(values_of(value), depth)
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic):
        value = _tamed(value)
    elif not callable(getattr(value, "tolist", None)):
        raise WrongType(f"a table cannot hold a '{type(value).__name__}'")
    return to_cell(value.tolist(), depth + 1)


def values_of(series: Any) -> list[Any]:
    """The values of a Series of pandas; what it calls missing is None, but among floats NaN."""
    values: list[Any] = series.tolist()
    if series.dtype.kind == "f":
        return values
    return [None if isinstance(value, float) and value != value else value for value in values]


def _tamed(array: Any) -> Any:
    """The array, or number of NumPy, in a type whose ``tolist`` gives Python's own values."""
    if array.dtype.kind in "mV":  # of some spans of time, and of moments in records, it gives bare numbers too
        raise WrongType(f"a table cannot hold a '{array.dtype}' of NumPy")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype("float64")
    if array.dtype.kind == "M":
        array = array.astype("datetime64[ms]")  # of finer units, and of far years, tolist gives bare numbers
        if any(isinstance(moment, int) for moment in array.ravel().tolist()):
            raise BadValue("a moment outside the years 1 to 9999")
    return array
