"""What a column of a table knows of its cells, how both stand in JSON, and how rows become columns.

JSON has no NaN and no moments. In a stored column a moment is its milliseconds
since 1970 and NaN is null; where the column's type does not say so already, *marks*
name the places, so that what comes back is what went in (`Stored`).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal

from artifactvc.errors import BadValue, UnsupportedError, WrongType
from artifactvc.sdk.table_cells import SCALARS, Cell, show_cell, to_cell, to_cells, values_of

Column = str | int
"""The name of a column."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NAN: Final = float("nan")

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
    link: tuple[Any, str] | None = None
    """Of a foreign key: the other table, or its path in the artifact, and the column there."""

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
                raise WrongType(result.misfit(cell))
            result = wider
        return result

    def misfit(self, cell: Cell) -> str:
        """Why *cell* has no place in the column."""
        if cell is None:
            return "None, and the column is not optional"
        what = f"{show_cell(cell)} is of type '{kind_of(cell)}'"
        if self.kind in KEYS:
            return f"{what}, and a key is text"
        return f"{what}, and the column of type '{self.kind}'; a column of mixed types is of type 'any'"


def column_type(dtype: object) -> ColumnType:
    """The type that a caller means by *dtype*: a type of Python or NumPy, the name of a kind, or None to infer it.

    Raises TypeError for anything else.
    """
    numpy = sys.modules.get("numpy")
    if dtype is None:
        return ColumnType()
    if isinstance(dtype, ColumnType) and dtype.kind not in KEYS:
        return ColumnType(dtype.kind)
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
    raise WrongType(f"no type of a column: {show_cell(dtype)}")


def encode_type(column: ColumnType, table: str = "") -> dict[str, Any]:
    """The type as W&B writes it; what may be None is a union. *table* is the path that a foreign key leads to."""
    alone: dict[str, Any] = {"wb_type": _STORED_AS.get(column.kind, column.kind)}
    if column.link is not None:
        alone["params"] = {"table": table, "col_name": column.link[1]}
    if not column.optional:
        return alone
    none = {"wb_type": "none"}
    both = [alone, none] if column.kind in ("any", "boolean") else [none, alone]
    return {"params": {"allowed_types": both}, "wb_type": "union"}


def decode_type(body: object) -> ColumnType:
    """The type that *body* says. What W&B knows and a table here does not is ``any``: its cells stay as they are.

    Raises ValueError if it is no type at all, UnsupportedError for cells that are kept elsewhere.
    """
    if not isinstance(body, dict) or not isinstance(body.get("wb_type"), str):
        raise BadValue("its type is none")
    params = body.get("params")
    params = params if isinstance(params, dict) else {}
    if body["wb_type"] == "union":
        members = params.get("allowed_types")
        if not isinstance(members, list):
            raise BadValue("its type is a union of nothing")
        flags = [isinstance(member, dict) and member.get("wb_type") == "none" for member in members]
        others = [member for member, is_none in zip(members, flags, strict=True) if not is_none]
        if len(others) == 1 and not (isinstance(others[0], dict) and others[0].get("wb_type") == "union"):
            found = decode_type(others[0])
        else:
            found = ColumnType("any" if others else "unknown")
        return replace(found, optional=any(flags))
    kind = _READ_AS.get(body["wb_type"], body["wb_type"])
    if params.get("serialization_path") is not None:
        raise UnsupportedError(
            "a column of this table is kept in a NumPy file beside it, which is not read",
            hint="read it with W&B's own library, and store the column as lists",
        )
    if kind != "foreignKey":
        return ColumnType(kind if kind in _NAMES else "any")
    table, name = params.get("table"), params.get("col_name")
    if not isinstance(table, str) or not isinstance(name, str):
        raise BadValue("it is a key that leads nowhere")
    return ColumnType(kind, link=(table, name))


# ---- stored columns ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stored:
    """A column as JSON has it, and the places whose JSON is not yet the value.

    A place is the number of a row, or ``[row, step, …]`` for one inside a list or
    dictionary. *nan* is True where all that is null is NaN; *timestamps* of a column of
    that kind is empty, since its type says it.
    """

    values: Sequence[Any]
    nan: list[Any] | Literal[True]
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
    marks = (stored.timestamps, [] if stored.nan is True else stored.nan)
    if not all(isinstance(places, list) for places in marks):
        raise BadValue("its marks are no list")
    cells = to_cells(stored.values)
    if column.kind == "timestamp":
        cells = [None if value is None else _moment(value) for value in cells]
    for place in stored.timestamps:
        _put(cells, place, _moment)
    if stored.nan is True:
        return [_NAN if cell is None else cell for cell in cells]
    for place in stored.nan:
        _put(cells, place, _nan)
    return cells


def _stripped(values: list[Cell], where: list[Any], nan: list[Any], timestamps: list[Any]) -> list[Any]:
    kinds = set(map(type, values))
    if kinds <= SCALARS and not (float in kinds and any(value != value for value in values)):
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
        raise BadValue(f"{show_cell(stored)} is no moment")
    try:
        return to_cell(_EPOCH + timedelta(milliseconds=stored))
    except OverflowError:
        raise BadValue(f"{show_cell(stored)} is a moment outside the years 1 to 9999") from None


def _nan(stored: Any) -> float:
    if stored is not None:
        raise BadValue(f"{show_cell(stored)} is marked as no number")
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
    raise BadValue(f"there is no place {show_cell(step)}")


# ---- rows and columns ----------------------------------------------------------------------------


def checked_columns(columns: Iterable[Column]) -> list[Column]:
    """The names of the columns, if they are names and each its own."""
    names = [to_cell(name) for name in items_of(columns, "'columns'")]
    for name in names:
        if type(name) not in (str, int):
            raise WrongType(f"columns are called by text or integers, not {show_cell(name)}")
    seen = Counter(map(str, names))
    if len(seen) != len(names):
        raise BadValue(f"two columns are called {listed(name for name, count in seen.items() if count > 1)}")
    return names


def spread(value: Any, columns: list[Column], what: str) -> list[Any]:
    """One *value* for each column."""
    if not isinstance(value, list):
        return [value] * len(columns)
    if len(value) != len(columns):
        raise BadValue(f"'{what}' is for {len(value)} columns, and the table has {len(columns)}")
    return value


def items_of(given: Any, what: str) -> list[Any]:
    """The items of a list, an array or another iterable; TypeError if *what* is one value."""
    if not isinstance(given, list | tuple):
        if hasattr(given, "tolist"):
            try:
                given = to_cell(given)
            except (TypeError, ValueError) as cause:
                raise _about(what, cause) from cause
        if isinstance(given, str | bytes | dict) or not isinstance(given, Iterable):
            raise WrongType(f"{what} is a '{type(given).__name__}', not a list")
    return list(given)


def is_frame(value: object) -> bool:
    """Whether *value* is a DataFrame of pandas."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def of_frame(frame: Any) -> tuple[list[Column], list[list[Any]]]:
    """The columns and rows of a DataFrame, without its index."""
    if not is_frame(frame):
        raise WrongType(f"'dataframe' is a '{type(frame).__name__}', not a pandas DataFrame")
    columns = [values_of(frame.iloc[:, at]) for at in range(len(frame.columns))]
    return list(frame.columns), to_rows(columns, len(frame))


def to_columns(rows: list[Any], names: list[Column], start: int = 0) -> list[tuple[Any, ...]]:
    """The values of *rows*, of which the first is number *start*, by column. ValueError if one is of another width."""
    for index, row in enumerate(rows, start):
        if not isinstance(row, list):
            raise WrongType(f"row {index} is a '{type(row).__name__}', not a list")
        if len(row) != len(names):
            raise BadValue(f"row {index} has {len(row)} values, and the table {len(names)} columns: {listed(names)}")
    return list(zip(*rows, strict=True)) if rows else [()] * len(names)


def to_rows(columns: Sequence[Sequence[Any]], length: int) -> list[list[Any]]:
    """The values of *columns*, all of *length*, by row."""
    return list(map(list, zip(*columns, strict=True))) if columns else [[] for _ in range(length)]


def take(name: Column, column: ColumnType, values: Iterable[object]) -> tuple[ColumnType, list[Cell]]:
    """The type of *column* with *values*, and their cells; an error says which column."""
    try:
        cells = to_cells(values)
        return column.including_all(cells), cells
    except (TypeError, ValueError) as cause:
        raise _about(f"column '{name}'", cause) from cause


def _about(what: str, cause: Exception) -> Exception:
    return (TypeError if isinstance(cause, TypeError) else ValueError)(f"{what}: {cause}")


def listed(names: Iterable[object]) -> str:
    """*names* for a message, cut short."""
    found = [f"'{name!s:.40}'" for name in names]
    return ", ".join(found[:20]) + (" …" if len(found) > 20 else "") or "none"
