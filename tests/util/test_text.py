"""Text for people and back."""

from __future__ import annotations

import contextlib
import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactvc.errors import BadName
from artifactvc.util import text


def refused(call, what: str) -> tuple[str, str]:
    with pytest.raises(BadName) as caught:
        call(what)
    return caught.value.message, caught.value.hint


# ---- sizes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("0", 0), ("4096", 4096), ("1B", 1), ("10GB", 10**10), ("500 MB", 5 * 10**8), ("1.5GiB", 3 << 29),
        ("1.5 GiB", 3 << 29), ("1kB", 1000), ("1KB", 1000), ("1KiB", 1024), ("2TB", 2 * 10**12), ("1TiB", 1 << 40),
        (" 7 ", 7), ("0.9", 0), ("1.999kB", 1999), ("0.0001kB", 0), ("1.0000009MB", 1_000_000),
    ],
)  # fmt: skip
def test_sizes(written, size):
    """A count, a decimal unit or a binary one; rounded down."""
    assert text.parse_size(written) == size


@pytest.mark.parametrize(
    "written",
    ["", " ", "B", "-1", "+1", "1Gb", "1gb", "1G", "1 g b", "1e3", ".5GB", "1.GB", "1,5GB", "1_000", "0x10", "1  GB",
     "1\nGB", "١", "1" * 16, "inf", "nan"],
)  # fmt: skip
def test_other_sizes_are_refused(written):
    """`Gb` may mean bits; nothing is guessed."""
    assert refused(text.parse_size, written) == (
        f"bad size '{written}'",
        "write a number of bytes, or a unit: 500MB, 10GB, 1.5GiB",
    )


_UNITS = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
          "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}  # fmt: skip


@given(st.integers(0, 10**6), st.integers(0, 10**9 - 1), st.sampled_from(sorted(_UNITS)))
def test_sizes_are_exact(whole, part, unit):
    """No binary fraction gets in between: the exact value, rounded down."""
    exact = (Fraction(whole) + Fraction(part, 10**9)) * _UNITS[unit]
    assert text.parse_size(f"{whole}.{part:09d}{unit}") == int(exact)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"), (1, "1 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (4096, "4.0 KiB"),
        (1023 * 1024, "1023.0 KiB"), ((1 << 20) - 1, "1.0 MiB"), (1 << 20, "1.0 MiB"), (1 << 30, "1.0 GiB"),
        (1 << 40, "1.0 TiB"), (1 << 50, "1.0 PiB"), (5000 << 50, "5000.0 PiB"), (10**10, "9.3 GiB"),
    ],
)  # fmt: skip
def test_sizes_are_shown(size, shown):
    """Four digits at most, up to where there is no larger unit."""
    assert text.format_size(size) == shown


@given(st.integers(0, 1 << 50))
def test_a_shown_size_is_near(size):
    """What is shown can be read, and is within its rounding."""
    shown = text.format_size(size)
    assert len(shown) <= len("1023.9 KiB")
    if "PiB" not in shown:
        assert abs(text.parse_size(shown) - size) <= max(0.051 * _UNITS[shown.split()[1]], 0)


# ---- durations ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "span"),
    [
        ("90s", timedelta(seconds=90)), ("45m", timedelta(minutes=45)), ("12h", timedelta(hours=12)),
        ("30d", timedelta(days=30)), ("2w", timedelta(weeks=2)), (" 1d ", timedelta(days=1)),
        ("999999w", timedelta(weeks=999_999)),
    ],
)  # fmt: skip
def test_durations(written, span):
    """A number and a unit; the largest is still a time span."""
    assert text.parse_duration(written) == span


@pytest.mark.parametrize("written", ["", "d", "30", "30 d", "-1d", "1.5d", "1D", "1y", "9999999999d", "٣d", "none"])
def test_other_durations_are_refused(written):
    """With what to write instead."""
    assert refused(text.parse_duration, written) == (
        f"bad duration '{written}'",
        "write a number and a unit: 90s, 45m, 12h, 30d, 2w",
    )


@pytest.mark.parametrize("written", ["0d", "0s", "000w"])
def test_no_time_at_all_is_a_duration(written):
    """``gc --grace 0s`` means at once."""
    assert text.parse_duration(written).total_seconds() == 0


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.0 s"), (0.44, "0.4 s"), (59.9, "59.9 s"), (60, "1 min 0 s"), (200, "3 min 20 s"),
        (3599.7, "1 h 0 min"), (3600, "1 h 0 min"), (7500, "2 h 5 min"), (360_000, "100 h 0 min"),
    ],
)  # fmt: skip
def test_durations_are_shown(seconds, shown):
    """Two units at most."""
    assert text.format_duration(seconds) == shown


def test_nearly_a_minute_is_shown_as_one():
    """As 3,599.7 seconds are shown as an hour."""
    assert text.format_duration(59.96) == "1 min 0 s"


# ---- times --------------------------------------------------------------------------------------


def test_times():
    """UTC, with microseconds, also where there are none."""
    moment = datetime(2026, 11, 23, 8, 38, 34, 123456, tzinfo=UTC)
    assert text.format_time(moment) == "2026-11-23T08:38:34.123456Z"
    assert text.format_time(moment.replace(microsecond=0)) == "2026-11-23T08:38:34.000000Z"
    east = timezone(timedelta(hours=2))
    assert text.format_time(datetime(2026, 1, 1, 1, tzinfo=east)) == "2025-12-31T23:00:00.000000Z"


_MOMENTS = st.datetimes(
    datetime(1970, 1, 2), datetime(9999, 1, 1), timezones=st.just(UTC) | st.timedeltas(
        timedelta(hours=-12), timedelta(hours=12)).map(timezone)
)  # fmt: skip


@given(_MOMENTS, _MOMENTS)
def test_times_come_back_and_sort(one, two):
    """The moment is the same, and texts sort as moments do."""
    shown = text.format_time(one)
    assert text.parse_time(shown) == one
    assert (shown < text.format_time(two)) == (one < two)


def test_now_is_a_time():
    """Between the clock before and the clock after."""
    before = datetime.now(UTC)
    assert before <= text.parse_time(text.now()) <= datetime.now(UTC)


@pytest.mark.parametrize("written", ["", "2026-11-23", "2026-11-23T08:38:34Z", "2026-13-01T00:00:00.000000Z", "x" * 99])
def test_other_times_are_refused(written):
    """With the text, cut."""
    assert refused(text.parse_time, written) == (f"bad time '{written[:80]}'", "")


# ---- text from elsewhere ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        ("plain", "plain"), ("a\nb\tc\rd", "a\\nb\\tc\\rd"), ("\x1b[31m", "\\x1b[31m"),
        ("\0\x7f\x85", "\\x00\\x7f\\x85"),
        ("é漢😀", "é漢😀"), ("\u202egpj.exe", "\\u202egpj.exe"), ("a\u200bb", "a\\u200bb"), ("\ufeff", "\\ufeff"),
        ("\u2028\u2029", "\\u2028\\u2029"), ("bad\udcff", "bad\\xff"), ("\ud800", "\\ud800"), ("\ue000", "\\ue000"),
        ("\U000e0041", "\\ue0041"), ("\xad", "\\xad"), ("", ""),
    ],
)  # fmt: skip
def test_text_is_made_safe_for_a_terminal(found, shown):
    """Control, direction, private and undecodable characters are shown as escapes; letters of any script stay."""
    assert text.escape(found) == shown


@given(st.text(st.characters()))
def test_escaped_text_can_be_printed(found):
    """On one line, in UTF-8, without a character that moves the cursor or turns the direction; and it stays so."""
    shown = text.escape(found)
    shown.encode()
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    assert len(shown.splitlines()) <= 1
    assert text.escape(shown) == shown


def test_near_names():
    """At most three, the nearest first, in their own case."""
    names = ["Dataset", "datasets", "data", "model", "dataset-2", "dataset-3"]
    assert text.near("dataste", names)[0] == "Dataset"
    assert len(text.near("dataset", names)) == 3
    assert text.near("DATASET", names)[0] == "Dataset"
    assert text.near("datasett", names, n=1) == ["Dataset"]
    assert text.near("zzz", names) == []
    assert text.near("x", []) == []


@given(st.text(max_size=20))
def test_any_text_is_read_or_refused(found):
    """Whatever is typed: a value or BadName."""
    for call in (text.parse_size, text.parse_duration, text.parse_time):
        with contextlib.suppress(BadName):
            call(found)
