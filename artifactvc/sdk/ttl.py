"""A version's time to live as Python has it."""

from __future__ import annotations

import math
from datetime import timedelta
from enum import Enum

from artifactvc.util.text import parse_duration

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


class ArtifactTTL(Enum):
    """``INHERIT``: the version follows the project's default."""

    INHERIT = "inherit"


def format_ttl(span: timedelta) -> str:
    """*span* as records have it, in the largest unit that fits, rounded up to a second."""
    seconds = math.ceil(span.total_seconds())
    for unit, length in _UNITS:
        if seconds % length == 0:
            return f"{seconds // length}{unit}"
    raise AssertionError("every number of seconds is a number of seconds")


def parse_ttl(text: str) -> timedelta:
    """The span that a record's text means; BadName if it is none."""
    return parse_duration(text)
