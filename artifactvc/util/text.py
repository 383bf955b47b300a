"""Text for people and back: sizes, durations, times, names that are near."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from artifactvc.errors import BadName

_UNITS: Final = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
                 "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}  # fmt: skip
_SIZE: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Za-z]*)")
_RATE: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)([KMG]?)", re.IGNORECASE)
_RATES: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
_DURATION: Final = re.compile(r"([0-9]{1,9})([smhdw])")
_LONGEST: Final = 999_999 * 604_800  # seconds
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_size(text: str) -> int:
    """Return the number of bytes that *text* names, rounded down.

    Takes a count ("4096"), a decimal unit ("10GB" is 10**10) or a binary one
    ("1.5 GiB"). Units must be exact: "Gb" may mean bits, so it is refused.

    Raises BadName if *text* is none of these.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or match[2] not in _UNITS:
        raise BadName(f"bad size '{text[:80]}'", hint="write a number of bytes, or a unit: 500MB, 10GB, 1.5GiB")
    return int(Decimal(match[1]) * _UNITS[match[2]])


def format_size(size: int) -> str:
    """*size* in bytes as people read it: "4.0 KiB"; below 1 KiB exact."""
    if size < 1024:
        return f"{size} B"
    value = size / 1024
    units = ["KiB", "MiB", "GiB", "TiB", "PiB"]
    while value >= 1023.95 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.1f} {units[0]}"


def parse_rate(text: str) -> int:
    """Return the bytes a second that *text* names: "500K", "10M", "1.5M", in powers of 1024; at least one.

    Raises BadName if *text* is none.
    """
    match = _RATE.fullmatch(text.strip())
    rate = int(Decimal(match[1]) * _RATES[match[2].upper()]) if match else 0
    if rate < 1:
        raise BadName(
            f"bad rate '{text[:80]}'", hint="write bytes a second, K, M or G for powers of 1024: 500K, 10M, 1.5M"
        )
    return rate


def parse_duration(text: str) -> timedelta:
    """Return the time span "30d", "12h", "45m", "90s" or "2w"; BadName if *text* is none. Nought is a span, too."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or int(match[1]) * _SECONDS[match[2]] > _LONGEST:
        raise BadName(f"bad duration '{text[:80]}'", hint="write a number and a unit: 90s, 45m, 12h, 30d, 2w")
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])


def format_duration(seconds: float) -> str:
    """A span in seconds as people read it: "0.4 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def format_days(seconds: float) -> str:
    """A long span as people count it, rounded down: "29 days", "5 hours", "3 minutes", "40 seconds"."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit}s"
    number = int(seconds)
    return f"{number} second{'s' * (number != 1)}"


def now() -> str:
    """The time now, UTC, with microseconds: "2026-11-23T08:38:34.123456Z"."""
    return format_time(datetime.now(UTC))


def format_time(moment: datetime) -> str:
    """*moment* as it stands in records."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def format_time_of(seconds: float) -> str:
    """The moment *seconds* after the epoch, as ``format_time`` writes it."""
    return format_time(datetime.fromtimestamp(seconds, UTC))


def parse_time(text: str) -> datetime:
    """The moment that a record's time names; BadName if it is none."""
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise BadName(f"bad time '{text[:80]}'") from error


def escape(text: str) -> str:
    """*text* safe for a terminal: control, bidirectional and undecodable characters as escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(c) if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp", "Co") else c for c in text)


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as os.fsdecode shows it
        return f"\\x{code - 0xDC00:02x}"
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(char) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def near(name: str, names: Iterable[str], n: int = 3) -> list[str]:
    """At most *n* of *names* that look like *name*, the nearest first; case does not count."""
    from difflib import get_close_matches

    known = {known.lower(): known for known in names}
    return [known[match] for match in get_close_matches(name.lower(), known, n=n, cutoff=0.6)]


def is_uri(text: str) -> bool:
    """Whether *text* is meant as an address, rather than as a path of this machine."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.\-]*://", text) is not None
