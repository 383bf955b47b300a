"""Metadata, configs and summaries: whatever people hand over, as JSON that every reader takes.

The rules are W&B's: NaN becomes null, infinity is refused, tuples and sets become lists,
arrays of numbers lists, times ISO text, keys text. Bounds are those of ``core/strict.py``,
so nothing is stored that could not be read back (protocol H2).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final

from artifactvc.core.strict import DEPTH, LARGEST
from artifactvc.errors import BadValue, WrongType
from artifactvc.util.text import escape

#: Top-level keys that metadata may have, as in W&B.
MAX_KEYS: Final = 100
_DEEPEST: Final = DEPTH - 4  # it is stored inside an object of ours


class NotPlain(WrongType, BadValue):
    """A value that JSON has no word for."""


def normalize(value: Any, what: str = "metadata") -> dict[str, Any]:
    """Return *value* (None, a mapping, or the text of a JSON object) as plain JSON, copied deeply.

    TypeError if it is none of these or holds what JSON has no word for; ValueError for
    infinity, integers of 2**53 or more, too many keys or levels.
    """
    if value is None:
        return {}
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise BadValue(f"{what} is text, but not of a JSON object: {error}") from error
    if not isinstance(value, Mapping):
        raise WrongType(f"{what} must be a dictionary, not '{type(value).__name__}'")
    if len(value) > MAX_KEYS and what == "metadata":
        raise BadValue(f"{what} has {len(value)} keys, and may have {MAX_KEYS}")
    found = plain(value, what)
    assert isinstance(found, dict)
    return found


def plain(value: Any, what: str = "value", depth: int = 0) -> Any:
    """*value* as JSON has it; NotPlain, ValueError as ``normalize``."""
    if depth > _DEEPEST:
        raise BadValue(f"{what} is nested deeper than {_DEEPEST} levels")
    if value is None or isinstance(value, (bool, str)):
        return _text(value, what) if isinstance(value, str) else value
    if isinstance(value, int):
        if abs(value) >= LARGEST:
            raise BadValue(f"{what} holds an integer of 2**53 or more: write it as text")
        return int(value)
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if math.isinf(value):
            raise BadValue(f"{what} holds infinity, which JSON has no word for")
        return float(value)
    if isinstance(value, Mapping):
        return {_text(_key(key), what): plain(item, what, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
        return [plain(item, what, depth + 1) for item in items]
    return _other(value, what, depth)


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return "null" if key is None else str(key)


def _text(text: str, what: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadValue(f"{what} holds text that is not UTF-8: '{escape(text[:80])}'") from error
    return text


def _other(value: Any, what: str, depth: int) -> Any:
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, slice):
        parts = {"slice_start": value.start, "slice_stop": value.stop, "slice_step": value.step}
        return {name: plain(part, what, depth + 1) for name, part in parts.items()}
    for name in ("tolist", "item"):  # arrays and scalars of NumPy and its kin
        convert = getattr(value, name, None)
        if callable(convert):
            return plain(convert(), what, depth + 1)
    raise NotPlain(f"{what} holds a '{type(value).__name__}', which JSON has no word for")


def lenient(value: Any) -> Any:
    """*value* as JSON has it, with ``repr`` in place of what it has no word for: for metrics and configs of a run.

    What is no finite number is text, as in W&B: "NaN", "Infinity", "-Infinity". A loss that diverged shows.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, (Mapping, list, tuple)) and any(
        isinstance(item, float) and not math.isfinite(item)
        for item in (value.values() if isinstance(value, Mapping) else value)
    ):
        if isinstance(value, Mapping):
            return {_key(key): lenient(item) for key, item in value.items()}
        return [lenient(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    try:
        return plain(value)
    except (TypeError, ValueError):
        if isinstance(value, Mapping):
            return {_key(key): lenient(item) for key, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [lenient(item) for item in value]
        return repr(value)
