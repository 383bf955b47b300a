"""When a version's time is over: decisions on values, taken before anything is deleted (design, section 5)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from artifactvc.util.text import parse_duration, parse_time

NONE: Final = "none"
"""The time to live of a version that never expires."""

DEFAULT_SETTING: Final = "ttl.default"
"""The name under which the log keeps the default time to live."""

_GENERATED: Final = ("run_table", "code", "job")


def is_generated(kind: str) -> bool:
    """Whether artifacts of this type are made by tools, and have no time to live."""
    return kind in _GENERATED or kind.startswith(("wandb-", "avc-"))


class Candidate(NamedTuple):
    """One live version, as far as its expiry goes."""

    ref: str
    type: str
    ttl: str | None  # its own: "30d", "none", or None for the default
    created: str
    newest: bool  # of its artifact
    aliases: tuple[str, ...]


def time_to_live(ttl: str | None, kind: str, default: str | None) -> timedelta | None:
    """How long a version lives, from its creation; None for ever."""
    if is_generated(kind):
        return None
    chosen = default if ttl is None else ttl
    return None if chosen in (None, NONE) else parse_duration(str(chosen))


def expires(candidate: Candidate, default: str | None) -> datetime | None:
    """When a version expires, or None.

    A default never ends the newest version, nor one that has an alias besides ``latest``.
    """
    span = time_to_live(candidate.ttl, candidate.type, default)
    if span is None:
        return None
    if candidate.ttl is None and (candidate.newest or any(alias != "latest" for alias in candidate.aliases)):
        return None
    try:
        return parse_time(candidate.created) + span
    except OverflowError:  # beyond the year 9999
        return None


def over(candidate: Candidate, default: str | None, now: datetime) -> bool:
    """Whether the version's time is over at *now*."""
    end = expires(candidate, default)
    return end is not None and end <= now
