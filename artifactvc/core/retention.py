"""When a version's time is over: decisions on values, taken before anything is deleted (design, section 5)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from artifactvc.errors import BadName
from artifactvc.util.text import parse_duration, parse_time

NONE: Final = "none"
"""The time to live of a version that never expires."""

INHERIT: Final = "inherit"
"""What people write for a version that has none of its own, and follows its project's default."""

DEFAULT_SETTING: Final = "ttl.default"
"""The name under which the log keeps a default time to live: ``ttl.default:PROJECT``; without a project, of all."""

EDITORS_SETTING: Final = "ttl.editors"
"""The name under which the log keeps who may change times to live."""

_GENERATED: Final = ("run_table", "code", "job")


def is_generated(kind: str) -> bool:
    """Whether artifacts of this type are made by tools, and have no time to live."""
    return kind in _GENERATED or kind.startswith(("wandb-", "avc-"))


def default_setting(project: str) -> str:
    """The name under which the log keeps the default of *project*; no project has a colon in its name."""
    return f"{DEFAULT_SETTING}:{project}"


def setting_words(name: str) -> str:
    """What a setting of the log is called before people."""
    project = name.partition(":")[2]
    if name.partition(":")[0] == DEFAULT_SETTING:
        return f"the default time to live of project '{project}'" if project else "the default time to live"
    if name == EDITORS_SETTING:
        return "who may change times to live"
    return f"the setting '{name}'"


def value_words(name: str, value: object) -> str:
    """The value of a setting of the log before people: a list with commas, nothing as "none" or "anyone"."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if value is None:
        return "anyone" if name == EDITORS_SETTING else NONE
    return str(value)


def parse_ttl(text: str) -> str | None:
    """The time to live that people write as *text*, as records have it: "30d", "none", or None for "inherit".

    Raises BadName if it is none, or no time at all.
    """
    if text == INHERIT:
        return None
    if text != NONE and parse_duration(text) <= timedelta(0):
        raise BadName("a time to live must be longer than nought", hint="write 'none' for a version that never expires")
    return text


def is_ttl(value: object) -> bool:
    """Whether a record may set a time to live to *value*: a span, "none", or None for none of its own."""
    if value is None or value == NONE:
        return True
    try:
        return isinstance(value, str) and parse_duration(value) is not None
    except BadName:
        return False


class Candidate(NamedTuple):
    """One live version, as far as its expiry goes."""

    ref: str
    type: str
    ttl: str | None  # its own: "30d", "none", or None for the default
    created: str
    newest: bool  # of its artifact
    aliases: tuple[str, ...]


class Fate(NamedTuple):
    """When a version expires, and the rule that says so."""

    expires: datetime | None  # None: never
    why: str  # for people: "its own time to live of 30d"


def time_to_live(ttl: str | None, kind: str, default: str | None) -> timedelta | None:
    """How long a version lives, from its creation; None for ever."""
    if is_generated(kind):
        return None
    chosen = default if ttl is None else ttl
    return None if chosen in (None, NONE) else parse_duration(str(chosen))


def fate(candidate: Candidate, default: str | None) -> Fate:
    """When a version expires, and why.

    A default never ends the newest version, nor one that has an alias besides ``latest``.
    """
    if is_generated(candidate.type):
        return Fate(None, f"what tools make has none (type '{candidate.type}')")
    span = time_to_live(candidate.ttl, candidate.type, default)
    if span is None:
        return Fate(None, "it has no time to live" if candidate.ttl is None else "it is kept for ever")
    if candidate.ttl is None:
        named = next((alias for alias in candidate.aliases if alias != "latest"), None)
        if candidate.newest:
            return Fate(None, f"the default of {default} spares the newest version")
        if named is not None:
            return Fate(None, f"the default of {default} spares what has an alias ('{named}')")
    why = f"the default time to live of {default}" if candidate.ttl is None else f"its time to live of {candidate.ttl}"
    try:
        return Fate(parse_time(candidate.created) + span, why)
    except (OverflowError, BadName):  # beyond the year 9999; or a log from elsewhere does not say when it was made
        return Fate(None, why)


def expires(candidate: Candidate, default: str | None) -> datetime | None:
    """When a version expires, or None."""
    return fate(candidate, default).expires


def over(candidate: Candidate, default: str | None, now: datetime) -> bool:
    """Whether the version's time is over at *now*."""
    end = expires(candidate, default)
    return end is not None and end <= now
