"""Which ones, and in which order: filters in MongoDB's manner and orders, as W&B's API takes them.

``{"state": "failed"}``, ``{"config.lr": {"$gte": 0.1, "$lt": 1}}``, ``{"$or": [{…}, {…}]}``.
What a filter looks at is a *document*: a dictionary of plain values under the names in
``RUN`` or ``COLLECTION``. The rules are MongoDB's where they say more than one thing:

- A list matches if all of it is meant, or if one of its items is.
- What is not there equals None, and is neither less nor greater than anything.
- Numbers compare with numbers and text with text; ``True`` is not 1.
- ``$ne``, ``$nin``, ``$nor`` and ``$not`` are exactly what ``$eq``, ``$in``, ``$or`` and the filter are not.

A field or an operator that is not known is an error, never a filter that matches nothing.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from artifactvc.core.metadata import plain
from artifactvc.errors import BadName
from artifactvc.util.text import format_time, near

Document = Mapping[str, Any]
Check = Callable[[Any], bool]
T = TypeVar("T")

#: What may be asked of a run -> the name in its document. ``name`` is the id, as in W&B.
RUN: Final[Mapping[str, str]] = {
    "state": "state", "config": "config", "summary_metrics": "summary", "summaryMetrics": "summary",
    "summary": "summary", "tags": "tags", "group": "group", "jobType": "job_type", "job_type": "job_type",
    "displayName": "display_name", "display_name": "display_name", "name": "id", "id": "id", "username": "author",
    "author": "author", "createdAt": "created", "created_at": "created", "notes": "notes", "host": "host",
}  # fmt: skip
#: What may be asked of an artifact as a line of versions.
COLLECTION: Final[Mapping[str, str]] = {
    "name": "name", "type": "type", "tags": "tags", "createdAt": "created", "created_at": "created",
}  # fmt: skip

_NESTED: Final = ("config", "summary")  # these hold dictionaries: a dot leads on
_DEEPEST: Final = 20
_LONGEST_PATTERN: Final = 1000
_ABSENT: Final = object()


@dataclass(frozen=True)
class Field:
    """Something in a document: a name, and for nested ones the path below it."""

    name: str
    path: str = ""

    def of(self, document: Document) -> Any:
        """The value there, or the mark for what is absent."""
        found = document.get(self.name, _ABSENT)
        if not self.path:
            return found
        value = _below(found, self.path)
        if value is _ABSENT and self.name == "config":  # W&B writes config.lr.value for config.lr
            value = _below(found, re.sub(r"\.value(?=\.|$)", "", self.path, count=1))
        return value


@dataclass(frozen=True)
class Filter:
    """A filter that was understood; *names* are the parts of a document that it looks at."""

    names: frozenset[str]
    _test: Callable[[Document], bool]

    def matches(self, document: Document) -> bool:
        """Whether *document* is one of those meant."""
        return self._test(document)


@dataclass(frozen=True)
class Order:
    """By what to arrange; what has no such value comes last, whichever way it goes."""

    field: Field
    descending: bool

    def arrange(self, items: Iterable[tuple[T, Any]]) -> list[T]:
        """The items of pairs (item, value of the field) in order; equal ones stay as they were."""
        pairs = list(items)
        there = [pair for pair in pairs if pair[1] is not _ABSENT and pair[1] is not None]
        there.sort(key=lambda pair: _rank(pair[1]), reverse=self.descending)
        return [item for item, _ in there] + [item for item, value in pairs if value is _ABSENT or value is None]


def parse_filter(filters: Mapping[str, Any] | None, fields: Mapping[str, str] = RUN) -> Filter:
    """The filter that *filters* means; None and ``{}`` match everything.

    *fields* are the names that may be asked for. Raises BadName, a ValueError, that names
    the field, operator or value that is wrong.
    """
    names: set[str] = set()
    test = _Parser(fields, names).whole({} if filters is None else filters, 0)
    return Filter(frozenset(names), test)


def parse_order(order: str | None, fields: Mapping[str, str] = RUN, default: str = "created_at") -> Order:
    """The order that ``+name``, ``name`` (the same) or ``-name`` means; BadName for a field that is none."""
    text = order or default
    if not isinstance(text, str):
        raise BadName(f"bad order '{text}'", hint="write a field's name with '+' or '-' before it")
    return Order(parse_field(text[1:] if text[0] in "+-" else text, fields), text[0] == "-")


def parse_field(text: object, fields: Mapping[str, str]) -> Field:
    """The field that *text* names; BadName with near names."""
    name, dot, path = str(text).partition(".")
    if not isinstance(text, str) or name not in fields or (dot and (fields[name] not in _NESTED or not path)):
        close = near(name, fields)
        hint = f"did you mean '{close[0]}'?" if close and close[0] != name else f"known are {', '.join(fields)}"
        raise BadName(f"no field '{str(text)[:80]}'", hint=hint)
    return Field(fields[name], path)


# ---- understanding ---------------------------------------------------------------------------------


class _Parser:
    def __init__(self, fields: Mapping[str, str], names: set[str]) -> None:
        self._fields, self._names = fields, names

    def whole(self, filters: object, depth: int) -> Callable[[Document], bool]:
        """A dictionary of fields and of ``$and``, ``$or``, ``$nor``, ``$not``: all of them must hold."""
        if not isinstance(filters, Mapping):
            raise BadName(f"a filter is a dictionary, not '{type(filters).__name__}'")
        if depth > _DEEPEST:
            raise BadName(f"a filter is nested deeper than {_DEEPEST} levels")
        tests = [self._part(name, value, depth) for name, value in filters.items()]
        return lambda document: all(test(document) for test in tests)

    def _part(self, name: object, value: object, depth: int) -> Callable[[Document], bool]:
        if name == "$not":
            inner = self.whole(value, depth + 1)
            return lambda document: not inner(document)
        if name in ("$and", "$or", "$nor"):
            if not isinstance(value, (list, tuple)) or not value:
                raise BadName(f"'{name}' takes a list of filters")
            parts = [self.whole(item, depth + 1) for item in value]
            if name == "$and":
                return lambda document: all(part(document) for part in parts)
            wanted = name == "$or"
            return lambda document: any(part(document) for part in parts) is wanted
        if isinstance(name, str) and name.startswith("$"):
            raise _unknown(name, ("$and", "$or", "$nor", "$not"))
        field = parse_field(name, self._fields)
        self._names.add(field.name)
        check = _check(value, field, depth + 1)
        return lambda document: check(field.of(document))


def _check(value: object, field: Field, depth: int) -> Check:
    """What a field must be: a value, or a dictionary of operators."""
    if not isinstance(value, Mapping) or not any(str(name).startswith("$") for name in value):
        return _equals(_operand(value, field))
    if depth > _DEEPEST:
        raise BadName(f"a filter is nested deeper than {_DEEPEST} levels")
    checks = [_operator(name, operand, field, depth) for name, operand in value.items()]
    return lambda found: all(check(found) for check in checks)


def _operator(name: object, operand: object, field: Field, depth: int) -> Check:
    if name == "$not":
        if not isinstance(operand, Mapping) or not operand or not all(str(key).startswith("$") for key in operand):
            raise BadName("'$not' of a field takes a dictionary of operators", hint='write {"$not": {"$gt": 1}}')
        return _negated(_check(operand, field, depth + 1))
    make = _OPERATORS.get(name) if isinstance(name, str) else None
    if make is None:
        raise _unknown(str(name), (*_OPERATORS, "$not"))
    return make(operand, field)


def _unknown(name: str, known: Iterable[str]) -> BadName:
    close = near(name, known)
    return BadName(
        f"no operator '{name[:80]}'", hint=f"did you mean '{close[0]}'?" if close else f"known are {', '.join(known)}"
    )


def _operand(value: object, field: Field) -> Any:
    """A value as documents hold them; moments as records write them."""
    if field.name == "created" and isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return value
    if isinstance(value, datetime):
        return format_time(value if value.tzinfo else value.replace(tzinfo=UTC))
    return plain(value, "a filter")


# ---- operators -----------------------------------------------------------------------------------------


def _negated(check: Check) -> Check:
    return lambda found: not check(found)


def _equals(wanted: Any) -> Check:
    if wanted is None:
        return lambda found: found is _ABSENT or any(item is None for item in _items(found))
    return lambda found: any(_same(item, wanted) for item in _items(found))


def _same(found: Any, wanted: Any) -> bool:
    return isinstance(found, bool) is isinstance(wanted, bool) and bool(found == wanted)


def _items(found: Any) -> Sequence[Any]:
    """What is looked at: the value, and what is in it if it is a list."""
    return [found, *found] if isinstance(found, (list, tuple)) else [found]


def _among(operand: object, field: Field) -> Check:
    if not isinstance(operand, (list, tuple, set, frozenset)):
        raise BadName(f"'$in' and '$nin' take a list of values, not '{type(operand).__name__}'")
    checks = [_equals(_operand(item, field)) for item in operand]
    return lambda found: any(check(found) for check in checks)


def _compared(compare: Callable[[Any, Any], bool]) -> Callable[[object, Field], Check]:
    def make(operand: object, field: Field) -> Check:
        wanted = _operand(operand, field)
        if isinstance(wanted, bool) or not isinstance(wanted, (int, float, str)):
            raise BadName(f"only numbers and text are less or greater, not '{type(operand).__name__}'")
        kind: Any = str if isinstance(wanted, str) else (int, float)

        def check(item: Any) -> bool:
            return isinstance(item, kind) and not isinstance(item, bool) and compare(item, wanted)

        return lambda found: any(check(item) for item in _items(found))

    return make


def _regex(operand: object, field: Field) -> Check:
    """Text in which the pattern is found anywhere; of a list, in one of its items."""
    if not isinstance(operand, str) or len(operand) > _LONGEST_PATTERN:
        raise BadName(f"'$regex' takes text of at most {_LONGEST_PATTERN} characters")
    try:
        pattern = re.compile(operand)
    except (re.error, OverflowError, RecursionError) as error:
        raise BadName(f"bad pattern '{operand[:80]}': {error}") from error
    return lambda found: any(isinstance(item, str) and pattern.search(item) is not None for item in _items(found))


def _exists(operand: object, field: Field) -> Check:
    if not isinstance(operand, bool):
        raise BadName("'$exists' takes True or False")
    return lambda found: (found is not _ABSENT) is operand


_OPERATORS: Final[dict[str, Callable[[Any, Field], Check]]] = {
    "$eq": lambda operand, field: _equals(_operand(operand, field)),
    "$ne": lambda operand, field: _negated(_equals(_operand(operand, field))),
    "$gt": _compared(operator.gt),
    "$gte": _compared(operator.ge),
    "$lt": _compared(operator.lt),
    "$lte": _compared(operator.le),
    "$in": _among,
    "$nin": lambda operand, field: _negated(_among(operand, field)),
    "$regex": _regex,
    "$exists": _exists,
}


# ---- values ------------------------------------------------------------------------------------------------


def _below(value: Any, path: str) -> Any:
    """What stands at a dotted path. A key may itself have dots: the longest that is there is taken."""
    while path:
        if not isinstance(value, Mapping):
            return _ABSENT
        key = path
        while key not in value:
            key, dot, _ = key.rpartition(".")
            if not dot:
                return _ABSENT
        value, path = value[key], path[len(key) + 1 :]
    return value


def _rank(value: Any) -> tuple[int, Any]:
    """By which values of any kinds can be put in order."""
    if isinstance(value, bool):
        return 0, value
    if isinstance(value, (int, float)):
        return 1, value
    if isinstance(value, str):
        return 2, value
    return 3, json.dumps(value, sort_keys=True, default=str)
