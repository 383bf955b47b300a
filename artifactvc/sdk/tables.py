"""All that an artifact can hold besides files: `Table`, and the two types that are made of tables.

`PartitionedTable` is a folder of tables read as one, `JoinedTable` two tables joined
by a column. Neither holds rows: they name entries of the artifact, and read them
when they are iterated, which needs the value that `Artifact.get` returns.

`decode_value` reads any of them. The bytes may come from anywhere (protocol H2, H3):
nothing in them is executed, size, depth and numbers are bounded, and what breaks the
format is Corrupt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from artifactvc.errors import BadValue, Corrupt
from artifactvc.sdk.data_types import Source, Table, Value
from artifactvc.sdk.table_cells import Cell, show_cell
from artifactvc.sdk.table_types import Column, listed

__all__ = ["JoinedTable", "PartitionedTable", "Source", "Table", "Value", "decode_value", "value_suffixes"]


class PartitionedTable(Value):
    """All tables below a folder of the artifact, read as one; each writer of a distributed version adds its part.

    Parts come in the natural order of their paths: ``table_2`` before ``table_10``, where
    W&B has the order of their characters. All parts have the same columns.
    """

    suffix = ".partitioned-table.json"
    type_name = "partitioned-table"

    def __init__(self, parts_path: str) -> None:
        """Name the folder, as a path in the artifact. Raises ValueError for what cannot be one."""
        self.parts_path = _clean(parts_path, "a folder of an artifact")
        self._source: Source | None = None

    def body(self, source: Source) -> dict[str, Any]:
        """The path of the folder; parts may be added before or after."""
        return {"_type": self.type_name, "parts_path": self.parts_path}

    @classmethod
    def decode(cls, body: dict[str, Any], source: Source) -> PartitionedTable:
        """The value that reads its parts from *source*. Raises Corrupt if *body* names no folder."""
        try:
            table = cls(_needed(body, "parts_path"))
        except ValueError as cause:
            raise Corrupt(str(cause)) from cause
        table._source = source
        return table

    @property
    def columns(self) -> list[Column]:
        """The columns of the first part; none where there is no part."""
        return next((part.columns for _, part in self._parts()), [])

    def iterrows(self) -> Iterator[tuple[int, list[Cell]]]:
        """Yield each row of all parts with its running index, holding one part in memory at a time.

        Raises ValueError at a part whose columns are not those of the first.
        """
        index = 0
        first: tuple[str, list[Column]] | None = None
        for path, part in self._parts():
            first = first or (path, part.columns)
            if part.columns != first[1]:
                raise BadValue(
                    f"the parts of a table differ: '{first[0]}' has the columns {listed(first[1])}, "
                    f"and '{path}' {listed(part.columns)}"
                )
            for row in part.data:
                yield index, row
                index += 1
            del part  # before the next one is read

    def _parts(self) -> Iterator[tuple[str, Table]]:
        source = _attached(self._source, self.type_name)
        paths = [path for path in source.paths(self.parts_path) if path.endswith(Table.suffix)]
        for path in sorted(paths, key=_natural):
            part = decode_value(path, source.read(path), source)
            if not isinstance(part, Table):
                raise Corrupt(f"'{path}' is damaged: it is a {part.type_name}, and a part is a table")
            yield path, part
            del part

    def __eq__(self, other: object) -> bool:
        """Whether both name the same folder."""
        return self.parts_path == other.parts_path if isinstance(other, PartitionedTable) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<PartitionedTable '{self.parts_path}'>"


Side = Table | PartitionedTable | str
"""One side of a join: a table, or the path of one in the artifact."""


class JoinedTable(Value):
    """The rows of two tables whose key columns hold the same value (an inner join).

    Each side is a path in the artifact, or a table, which then becomes a part of this
    value; of a table that the artifact holds anyway, give the path.
    """

    suffix = ".joined-table.json"
    type_name = "joined-table"

    def __init__(self, table1: Side, table2: Side, join_key: str | list[str]) -> None:
        """Join by the column *join_key* of both, or by ``[key of the first, key of the second]``.

        Raises ValueError for a side that is no table, and a key of another shape.
        """
        names = [join_key] * 2 if isinstance(join_key, str) else join_key
        if not isinstance(names, list | tuple) or len(names) != 2 or not all(isinstance(one, str) for one in names):
            raise BadValue(f"join_key is a column, or a list of two, not {show_cell(join_key)}")
        self.table1, self.table2 = _side(table1, "table1"), _side(table2, "table2")
        self.join_key = join_key if isinstance(join_key, str) else list(join_key)
        self._keys = tuple(names)
        self._source: Source | None = None

    def body(self, source: Source) -> dict[str, Any]:
        """Both sides and the key. Raises ValueError if a path is not in *source*."""
        body: dict[str, Any] = {"_type": self.type_name, "join_key": self.join_key}
        for name, side in (("table1", self.table1), ("table2", self.table2)):
            if isinstance(side, str) and side not in source.paths(side):
                raise BadValue(f"{name} '{side}' is not in the artifact; add it first")
            body[name] = side if isinstance(side, str) else side.body(source)
        return body

    @classmethod
    def decode(cls, body: dict[str, Any], source: Source) -> JoinedTable:
        """The value that reads its tables from *source*. Raises Corrupt for what `encode` never writes."""
        sides = []
        for name in ("table1", "table2"):
            side = _needed(body, name)
            sides.append(_decode_body(side, source, _SIDES) if isinstance(side, dict) else side)
        try:
            joined = cls(sides[0], sides[1], _needed(body, "join_key"))
        except ValueError as cause:
            raise Corrupt(str(cause)) from cause
        joined._source = source
        return joined

    @property
    def columns(self) -> list[Column]:
        """The columns of the first table, then those of the second without its key.

        One that the first has too gets a number: ``name_2``.
        """
        one, two = self._sides()
        return self._columns(one.columns, two.columns)

    def iterrows(self) -> Iterator[tuple[int, list[Cell]]]:
        """Yield each joined row with its running index: rows in the order of the first table, then of the second.

        The second table is held in memory. None and NaN equal nothing, not even themselves.

        Raises ValueError if a table has no such column, UnknownEntry if the artifact has no such table.
        """
        one, two = self._sides()
        at_one, at_two = (_key_at(side.columns, key) for side, key in zip((one, two), self._keys, strict=True))
        partners: dict[object, list[list[Cell]]] = {}
        for _, row in two.iterrows():
            partners.setdefault(_joined_by(row[at_two]), []).append(row[:at_two] + row[at_two + 1 :])
        partners.pop(None, None)
        index = 0
        for _, row in one.iterrows():
            for partner in partners.get(_joined_by(row[at_one]), ()):
                yield index, row + partner
                index += 1

    def _columns(self, one: list[Column], two: list[Column]) -> list[Column]:
        at = _key_at(two, self._keys[1])
        columns = list(one)
        for name in two[:at] + two[at + 1 :]:
            taken, number, free = set(map(str, columns)), 2, name
            while str(free) in taken:
                number, free = number + 1, f"{name}_{number}"
            columns.append(free)
        return columns

    def _sides(self) -> list[Table | PartitionedTable]:
        return [self._opened(side) for side in (self.table1, self.table2)]

    def _opened(self, side: Side) -> Table | PartitionedTable:
        if not isinstance(side, str):
            return side
        source = _attached(self._source, self.type_name)
        table = decode_value(side, source.read(side), source)
        if not isinstance(table, _SIDES):
            raise Corrupt(f"'{side}' is damaged: it is a {table.type_name}, which cannot be joined")
        return table

    def __eq__(self, other: object) -> bool:
        """Whether both join the same tables by the same key."""
        if not isinstance(other, JoinedTable):
            return NotImplemented
        mine, others = (self.table1, self.table2, self._keys), (other.table1, other.table2, other._keys)
        return mine == others

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<JoinedTable {self.table1!r}, {self.table2!r} by {self.join_key!r}>"


_SIDES: Final = (Table, PartitionedTable)
_TYPES: Final[tuple[type[Value], ...]] = (Table, PartitionedTable, JoinedTable)


def value_suffixes() -> tuple[str, ...]:
    """How the names of entries end that `decode_value` reads."""
    return tuple(kind.suffix for kind in _TYPES)


def decode_value(path: str, data: bytes, source: Source) -> Value:
    """The value in *data*, the entry *path* of *source*.

    Raises Corrupt, which names the path, for bytes that are no such value, and
    UnsupportedError for a table of W&B's with a column in a NumPy file.
    """
    try:
        value: Value = _decode_body(_parsed(data), source, _TYPES)
    except Corrupt as cause:
        raise Corrupt(f"'{path}' is damaged: {cause.message}") from cause
    return value


def _decode_body(body: object, source: Source, allowed: tuple[type[Value], ...]) -> Any:
    name = body.get("_type") if isinstance(body, dict) else None
    kind = next((kind for kind in allowed if kind.type_name == name), None)
    if kind is None or not isinstance(body, dict):
        raise Corrupt(f"its type is {show_cell(name)}, which is none of {listed(kind.type_name for kind in allowed)}")
    return kind.decode(body, source)


def _needed(body: dict[str, Any], key: str) -> Any:
    if key not in body:
        raise Corrupt(f"it has no '{key}'")
    return body[key]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) != len(pairs):
        raise BadValue("a key stands twice")
    return body


def _no_number(word: str) -> Any:
    raise BadValue(f"'{word}' is no number")


def _parsed(data: bytes) -> Any:
    """The JSON in *data*: like `core.strict`, but an integer may be long, as in `to_cell`.

    Depth is bounded by Python's parser here, and in what is read by `to_cell`.
    """
    if len(data) > Value.MAX_BYTES:
        raise Corrupt(f"it is larger than {Value.MAX_BYTES} bytes")
    try:
        text = data.decode()
        body = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
        if "\\u" in text:  # halves of surrogate pairs are no text
            json.dumps(body, ensure_ascii=False).encode()
        return body
    except (ValueError, RecursionError) as cause:
        raise Corrupt(f"it is no JSON: {cause}") from cause


def _attached(source: Source | None, what: str) -> Source:
    if source is None:
        raise BadValue(f"this {what} is not of an artifact yet; add it, log the artifact, and get it from there")
    return source


def _clean(path: object, what: str) -> str:
    """*path* in the one spelling that entries have."""
    parts = [part for part in path.split("/") if part not in ("", ".")] if isinstance(path, str) else []
    if not isinstance(path, str) or not parts or path.startswith("/") or ".." in parts:
        raise BadValue(f"{show_cell(path)} is no path of {what}")
    return "/".join(parts)


def _side(side: object, what: str) -> Side:
    if isinstance(side, _SIDES):
        return side
    if isinstance(side, str) and side.endswith(tuple(kind.suffix for kind in _SIDES)):
        return _clean(side, "a table")
    raise BadValue(f"{what} is a table or a path that ends with '{Table.suffix}', not {show_cell(side)}")


def _natural(path: str) -> list[list[tuple[int, int, str]]]:
    """The key that sorts paths by folder, and in a name numbers by size and all else by character."""
    parts = path.removesuffix(Table.suffix).split("/")
    return [[_piece(piece) for piece in re.findall("[0-9]+|[^0-9]+", part)] for part in parts]


def _piece(piece: str) -> tuple[int, int, str]:
    if piece[0] not in "0123456789":
        return 1, 0, piece
    return 0, len(piece.lstrip("0")), piece.lstrip("0")


def _key_at(columns: list[Column], key: str) -> int:
    if key not in columns:
        raise BadValue(f"no column '{key}' to join by; there are {listed(columns)}")
    return columns.index(key)


def _joined_by(cell: Cell) -> object:
    """What a cell is compared by: numbers by value, True not as 1; None for what equals nothing."""
    if cell is None or cell != cell:
        return None
    if isinstance(cell, list | dict):
        return json.dumps(cell, sort_keys=True, default=str), "json"
    return (cell, "boolean") if isinstance(cell, bool) else cell


def __getattr__(name: str) -> object:
    from artifactvc.sdk.unsupported import refuse

    raise refuse("artifactvc.data_types", name)
