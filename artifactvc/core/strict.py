"""JSON from elsewhere, read with bounds (protocol H2).

At most 32 levels deep, no duplicate keys, no NaN or infinity, integers below 2**53.
"""

from __future__ import annotations

import json
from typing import Any, Final

from artifactvc.errors import AvcError

DEPTH: Final = 32
LARGEST: Final = 2**53


class _Refused(ValueError):
    pass


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _Refused("a key stands twice")
    return result


def _integer(text: str) -> int:
    if len(text) > 17 or abs(number := int(text)) >= LARGEST:
        raise _Refused("an integer of 2**53 or more")
    return number


def _float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise _Refused(f"'{text}' is no number")
    return number


def _constant(text: str) -> Any:
    raise _Refused(f"'{text}' is no number")


def _nesting(data: bytes) -> int:
    """Deepest level of brackets outside strings; counted before parsing, since the parser recurses."""
    depth = deepest = 0
    inside = escaped = False
    for byte in data:
        if inside:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                inside = False
        elif byte == 0x22:
            inside = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def parse_json(data: bytes, *, limit: int, what: str, error: type[AvcError]) -> Any:
    """Return the JSON value in *data*, or raise *error* saying what is wrong with *what*.

    *limit* bounds the size in bytes before anything is parsed.
    """
    if len(data) > limit:
        raise error(f"{what} is larger than {limit} bytes")
    # Brackets cannot nest deeper than there are opening ones: most data needs no second look.
    if data.count(b"{") + data.count(b"[") > DEPTH and _nesting(data) > DEPTH:
        raise error(f"{what} is nested deeper than {DEPTH} levels")
    try:
        text = data.decode()
        value = json.loads(
            text, object_pairs_hook=_pairs, parse_int=_integer, parse_float=_float, parse_constant=_constant
        )
        if "\\u" in text:  # halves of surrogate pairs are no characters: neither UTF-8 nor SQLite can hold them
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except (_Refused, UnicodeError, json.JSONDecodeError, RecursionError) as cause:
        raise error(f"{what} is damaged: {cause}") from cause


def dump_json(value: Any) -> bytes:
    """Return *value* as UTF-8 JSON without spaces: equal values in equal order give equal bytes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
