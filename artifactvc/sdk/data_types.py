"""What an artifact can hold besides files: the contract of every such type, and `Table`.

A value becomes one JSON file, whose ending says its type. The bytes follow from the
value alone, so adding the same table twice makes no new version. Names, order and
spaces are those of W&B's own library: its tables are read, and tables of simple
columns are the same bytes. Different here: text is UTF-8 and not escaped, lists and
dictionaries do not say what is in them, and NaN is marked.

`artifactvc.sdk.tables` has the types that are made of tables, and is where to import
all of them from.
"""

from __future__ import annotations

import html
import importlib
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Final, Protocol

from artifactvc.errors import BadValue, Corrupt, WrongType
from artifactvc.sdk.table_cells import Cell, same, show_cell
from artifactvc.sdk.table_types import (
    KEYS,
    Column,
    ColumnType,
    Stored,
    checked_columns,
    column_type,
    decode_type,
    encode_type,
    is_frame,
    items_of,
    listed,
    load_column,
    of_frame,
    spread,
    store_column,
    take,
    to_columns,
    to_rows,
)

LOG_MODES: Final = ("IMMUTABLE", "MUTABLE", "INCREMENTAL")


class Source(Protocol):
    """The artifact that a value is added to, or was read from."""

    def read(self, path: str) -> bytes:
        """The bytes of one entry; UnknownEntry if there is none."""

    def paths(self, prefix: str) -> list[str]:
        """The paths of all entries at or below *prefix*, in the manifest's order."""


class Value:
    """One thing that can be added to an artifact by `Artifact.add`."""

    suffix: ClassVar[str]
    """How the names of its entries end."""
    type_name: ClassVar[str]
    """What its JSON calls it."""
    MAX_BYTES: ClassVar[int] = 256 << 20
    """How large its JSON may be: it is held in memory, several times over."""

    def body(self, source: Source) -> dict[str, Any]:
        """What `encode` writes. Raises ValueError or TypeError for what cannot be stored in *source*."""
        raise NotImplementedError

    def encode(self, source: Source) -> bytes:
        """The bytes of the entry in *source*. Raises ValueError or TypeError for what cannot be stored there."""
        data = json.dumps(self.body(source), sort_keys=True, ensure_ascii=False, allow_nan=False).encode()
        if len(data) > self.MAX_BYTES:
            raise BadValue(
                f"a {self.type_name} of {len(data)} bytes is larger than {self.MAX_BYTES}; "
                "split it, and add a PartitionedTable of the parts"
            )
        return data

    @classmethod
    def decode(cls, body: dict[str, Any], source: Source) -> Value:
        """The value whose JSON is *body*, an entry of *source*. Raises Corrupt for what `encode` never writes."""
        raise NotImplementedError


class Table(Value):
    """Rows of values in named columns; each column has a type, inferred from its first value.

    `columns` and `data`, a list of rows, may be read and changed; what stands there is
    checked when the table is added to an artifact. Rows hold plain values, whatever was
    given (`artifactvc.sdk.table_cells.to_cell`): moments come back in UTC with their
    milliseconds, NaN comes back as NaN, and None as None.

    Nothing is cut off in silence: a table of more than `MAX_ARTIFACT_ROWS` rows is
    refused when it is added. Set the attribute to allow more.
    """

    suffix = ".table.json"
    type_name = "table"
    MAX_ROWS: ClassVar[int] = 10_000
    """W&B's limit for tables that are logged to a run; no artifact minds it."""
    MAX_ARTIFACT_ROWS: ClassVar[int] = 200_000

    def __init__(
        self,
        columns: Iterable[Column] | None = None,
        data: Any = None,
        rows: Any = None,
        dataframe: Any = None,
        dtype: Any = None,
        optional: bool | list[bool] = True,
        allow_mixed_types: bool = False,
        log_mode: str | None = "IMMUTABLE",
    ) -> None:
        """Make a table of *data*: rows, a two-dimensional array, or a DataFrame, whose columns it takes.

        *columns* are Input, Output and Expected unless given. *dtype* and *optional* (may
        None stand there?) are for all columns, or a list with one for each; a *dtype* of
        None infers the type, and *allow_mixed_types* lets every column hold anything.
        *rows* is the old name of *data*, *dataframe* a DataFrame that comes before both.

        Raises ValueError for a row of another width, TypeError for a value of another type.
        """
        if log_mode not in LOG_MODES:
            raise BadValue(f"bad log_mode {show_cell(log_mode)}: it is 'IMMUTABLE', 'MUTABLE' or 'INCREMENTAL'")
        given = next((one for one in (dataframe, data, rows) if one is not None), ())
        if dataframe is not None or is_frame(given):
            columns, given = of_frame(given)
        self.columns: list[Column] = checked_columns(("Input", "Output", "Expected") if columns is None else columns)
        self.data: list[list[Cell]] = []
        self.log_mode: str = log_mode
        types = ["any"] * len(self.columns) if allow_mixed_types else spread(dtype, self.columns, "dtype")
        flags = spread(optional, self.columns, "optional")
        self._types = [ColumnType(column_type(one).kind, bool(flag)) for one, flag in zip(types, flags, strict=True)]
        self._extend(items_of(given, "'data'"))

    # ---- rows ------------------------------------------------------------------------------------

    def add_data(self, *data: object) -> None:
        """Add one row. Raises ValueError for another width, TypeError for a value of another type."""
        self._extend([data])

    def iterrows(self) -> Iterator[tuple[int, list[Cell]]]:
        """Yield each row with its index."""
        yield from enumerate(self.data)

    def get_index(self) -> list[int]:
        """The indices of all rows."""
        return list(range(len(self.data)))

    def __len__(self) -> int:
        return len(self.data)

    def _extend(self, rows: list[Any]) -> None:
        """Add *rows*: all of them, or none and an error."""
        start = len(self.data)
        lists = [items_of(row, f"row {index}") for index, row in enumerate(rows, start)]
        columns = to_columns(lists, self.columns, start)
        filled = [take(*one) for one in zip(self.columns, self._types, columns, strict=True)]
        self._types = [column for column, _ in filled]
        self.data += to_rows([cells for _, cells in filled], len(lists))

    # ---- columns ---------------------------------------------------------------------------------

    def add_column(self, name: str, data: Any, optional: bool = False) -> None:
        """Add a column with one value for each row; to a table without columns, as many rows as it has values."""
        values = items_of(data, f"column '{name}'")
        if self.columns and len(values) != len(self.data):
            raise BadValue(f"column '{name}' has {len(values)} values, and the table {len(self.data)} rows")
        self._add_columns({name: values}, optional)

    def add_computed_columns(self, fn: Callable[[int, dict[Column, Cell]], dict[str, Any]]) -> None:
        """Add what *fn* makes of each row: it is given index and row by column, and returns new columns by name."""
        made: dict[str, list[Any]] = {}
        for index, row in self.iterrows():
            new = fn(index, dict(zip(self.columns, row, strict=True)))
            if not isinstance(new, dict):
                raise WrongType(f"the function returned a '{type(new).__name__}' for row {index}, not a dictionary")
            if index and new.keys() != made.keys():
                raise BadValue(f"row {index} was given the columns {listed(new)}, and row 0 {listed(made)}")
            for name, value in new.items():
                made.setdefault(name, []).append(value)
        self._add_columns(made, False)

    def get_column(self, name: Column, convert_to: str | None = None) -> Any:
        """The values of a column as a list; as an array where *convert_to* is "numpy"."""
        at = self._at(name)
        if convert_to not in (None, "numpy"):
            raise BadValue(f"bad convert_to '{convert_to}': it is 'numpy' or None")
        values = [row[at] for row in self.data]
        return values if convert_to is None else _package("numpy", "get_column").array(values)

    def get_dataframe(self) -> Any:
        """The table as a pandas DataFrame."""
        return _package("pandas", "get_dataframe").DataFrame.from_records(self.data, columns=self.columns)

    def cast(self, col_name: Column, dtype: Any, optional: bool = False) -> ColumnType:
        """Give a column another type, which must fit all that stands in it: no value is changed."""
        at = self._at(col_name)
        if self._types[at].kind in KEYS:
            raise BadValue(f"column '{col_name}' is a key and keeps its type")
        self._retype(at, ColumnType(column_type(dtype).kind, optional))
        return self._types[at]

    def set_pk(self, col_name: Column) -> None:
        """Make a column of text the key by which other tables name rows of this one."""
        at = self._at(col_name)
        for name, column in zip(self.columns, self._types, strict=True):
            if column.kind == "primaryKey" and name != col_name:
                raise BadValue(f"column '{name}' is the primary key already")
        self._retype(at, ColumnType("primaryKey"))

    def set_fk(self, col_name: Column, table: Table | str, table_col: str) -> None:
        """Make a column of text name rows of another table: a Table, or its path in the artifact.

        The artifact must hold that table when this one is added.
        """
        at = self._at(col_name)
        if self._types[at].kind == "primaryKey":
            raise BadValue(f"column '{col_name}' is the primary key")
        if isinstance(table, Table):
            table._at(table_col)
            if any(one is self for one in table._reached()):
                raise BadValue(f"column '{col_name}' would lead back to its own table")
        elif not (isinstance(table, str) and table.endswith(self.suffix)):
            raise BadValue(f"{show_cell(table)} is no Table and no path that ends with '{self.suffix}'")
        self._retype(at, ColumnType("foreignKey", link=(table, table_col)))

    def _at(self, name: Column) -> int:
        if name not in self.columns:
            raise BadValue(f"no column '{name}'; there are {listed(self.columns)}")
        return self.columns.index(name)

    def _retype(self, at: int, column: ColumnType) -> None:
        self._types[at], _ = take(self.columns[at], column, [row[at] for row in self.data])

    def _add_columns(self, new: dict[str, list[Any]], optional: bool) -> None:
        """Add columns: all of them, or none and an error."""
        names = checked_columns([*self.columns, *new])
        filled = [take(name, ColumnType(optional=optional), values) for name, values in new.items()]
        if not self.columns and filled:
            self.data = [[] for _ in filled[0][1]]
        self.columns = names
        self._types += [column for column, _ in filled]
        for _, cells in filled:
            for row, cell in zip(self.data, cells, strict=True):
                row.append(cell)

    def _reached(self) -> Iterator[Table]:
        """This table, and those that its foreign keys lead to."""
        yield self
        for column in self._types:
            if column.link is not None and isinstance(column.link[0], Table):
                yield from column.link[0]._reached()

    # ---- stored, compared, shown -----------------------------------------------------------------

    def body(self, source: Source) -> dict[str, Any]:
        """The table for JSON. Raises ValueError or TypeError for what was put into `data` and cannot stand there."""
        return _body_of(self, source)

    @classmethod
    def decode(cls, body: dict[str, Any], source: Source) -> Table:
        """The table whose JSON is *body*, also of one that W&B's library wrote.

        Raises Corrupt, or UnsupportedError where a column is kept in a file of NumPy's.
        """
        try:
            return _table_of(body)
        except (TypeError, ValueError) as cause:
            raise Corrupt(str(cause)) from cause

    def __eq__(self, other: object) -> bool:
        """Whether both would be stored as the same bytes."""
        if not isinstance(other, Table):
            return NotImplemented
        about = (self.columns, self._types, self.log_mode) == (other.columns, other._types, other.log_mode)
        return about and same(self.data, other.data)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Table of {len(self.data)} rows: {listed(self.columns)}>"

    def _repr_html_(self) -> str:
        return _to_html(self.columns, self.data)


# ---- JSON ----------------------------------------------------------------------------------------


def _body_of(table: Table, source: Source) -> dict[str, Any]:
    names, count = checked_columns(table.columns), len(table.data)
    if count > table.MAX_ARTIFACT_ROWS:
        raise BadValue(
            f"a table of {count} rows has more than Table.MAX_ARTIFACT_ROWS, {table.MAX_ARTIFACT_ROWS}; "
            "split it, and add a PartitionedTable of the parts"
        )
    if len(names) != len(table._types):
        raise BadValue(f"the columns are {listed(names)}, and rows were added for {len(table._types)} columns")
    types, values = {}, []
    nan: dict[str, Any] = {}
    timestamps: dict[str, Any] = {}
    for name, known, raw in zip(names, table._types, to_columns(table.data, names), strict=True):
        column, cells = take(name, known, raw)
        stored = store_column(column, cells)
        types[str(name)] = encode_type(column, _linked(name, column, source))
        values.append(stored.values)
        if stored.nan:
            nan[str(name)] = stored.nan
        if stored.timestamps:
            timestamps[str(name)] = stored.timestamps
    body = {
        "_type": table.type_name,
        "column_types": {"params": {"type_map": types}, "wb_type": "typedDict"},
        "columns": names,
        "data": to_rows(values, count),
        "log_mode": table.log_mode,
        "ncols": len(names),
        "nrows": count,
    }
    return body | ({"nan": nan} if nan else {}) | ({"timestamps": timestamps} if timestamps else {})


def _linked(name: Column, column: ColumnType, source: Source) -> str:
    """The path of the table in *source* that a foreign key leads to; of other columns none."""
    if column.link is None:
        return ""
    table = column.link[0]
    path = _place_of(table, source) if isinstance(table, Table) else str(table)
    if path is None or path not in source.paths(path):
        shown = "the table" if path is None else f"'{path}'"
        raise BadValue(f"column '{name}': {shown} that it is a key to is not in the artifact; add it first")
    return path


def _table_of(body: dict[str, Any]) -> Table:
    names, rows = body.get("columns"), body.get("data")
    if not isinstance(names, list) or not isinstance(rows, list):
        raise BadValue("it has no columns or no data")
    if body.get("ncols", len(names)) != len(names) or body.get("nrows", len(rows)) != len(rows):
        raise BadValue("its rows and columns are not as many as it says")
    table = Table(names, log_mode=body.get("log_mode", "IMMUTABLE"))
    types = _member(_member(_member(body, "column_types"), "params"), "type_map")
    nan, timestamps = _member(body, "nan"), _member(body, "timestamps")
    filled = []
    for name, values in zip(names, to_columns(rows, names), strict=True):
        key = str(name)
        try:
            column = decode_type(types[key]) if key in types else ColumnType("any", optional=True)
            cells = load_column(column, Stored(values, nan.get(key, []), timestamps.get(key, [])))
            filled.append((column.including_all(cells), cells))
        except (TypeError, ValueError) as cause:
            raise BadValue(f"column '{key:.40}': {cause}") from cause
    table._types = [column for column, _ in filled]
    table.data = to_rows([cells for _, cells in filled], len(rows))
    return table


def _member(body: dict[str, Any], key: str) -> dict[str, Any]:
    """The dictionary at *key*, empty if there is none."""
    found = body.get(key)
    if found is not None and not isinstance(found, dict):
        raise BadValue(f"its '{key}' is no dictionary")
    return found or {}


def _place_of(table: Table, source: Source) -> str | None:
    """The path of the first entry that holds *table*."""
    data = table.encode(source)
    return next((path for path in source.paths("") if path.endswith(Table.suffix) and source.read(path) == data), None)


def _package(name: str, what: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as cause:
        raise ImportError(f"{what}() needs {name}, which is not installed") from cause


# ---- showing -------------------------------------------------------------------------------------

_SHOWN_ROWS, _SHOWN_COLUMNS, _SHOWN_TEXT = 10, 20, 100


def _to_html(columns: list[Column], rows: list[list[Cell]]) -> str:
    """The beginning of a table for a notebook: few rows and columns, each cut short, nothing of it markup."""

    def line(cells: Iterable[Any], tag: str) -> str:
        texts = [cell if isinstance(cell, str) else show_cell(cell) for cell in list(cells)[:_SHOWN_COLUMNS]]
        short = [text if len(text) <= _SHOWN_TEXT else text[: _SHOWN_TEXT - 1] + "…" for text in texts]
        return "<tr>" + "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in short) + "</tr>"

    body = "".join(line(row, "td") for row in rows[:_SHOWN_ROWS])
    more = f"{len(rows)} rows, {len(columns)} columns"
    return f"<table><thead>{line(columns, 'th')}</thead><tbody>{body}</tbody></table><p>{more}</p>"
