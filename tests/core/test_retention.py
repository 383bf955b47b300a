"""When a version's time is over."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactvc.core.retention import Candidate, expires, is_generated, over, time_to_live
from artifactvc.util.text import format_time, parse_time

CREATED = "2026-01-01T00:00:00.000000Z"
SPANS = st.none() | st.just("none") | st.integers(1, 400).map("{}d".format)


def candidate(ttl: str | None = None, kind: str = "dataset", newest: bool = False, aliases: tuple[str, ...] = ()):
    return Candidate("p/a:v0", kind, ttl, CREATED, newest, aliases)


@pytest.mark.parametrize(
    ("kind", "made"),
    [("run_table", True), ("code", True), ("job", True), ("wandb-history", True), ("avc-index", True),
     ("dataset", False), ("codes", False), ("wandb", False)],
)  # fmt: skip
def test_types_that_tools_make(kind, made):
    """They have no time to live, whatever is said."""
    assert is_generated(kind) is made
    assert (time_to_live("1d", kind, "2d") is None) is made


@given(SPANS, SPANS, st.booleans(), st.lists(st.sampled_from(["latest", "best", "x"]), max_size=2))
def test_which_span_counts(own, default, newest, aliases):
    """The version's own, whatever its aliases; else the default, which spares the newest and what has a name."""
    found = expires(candidate(own, "dataset", newest, tuple(aliases)), default)
    named = any(alias != "latest" for alias in aliases)
    chosen = own if own is not None else None if newest or named else default
    if chosen in (None, "none"):
        assert found is None
    else:
        assert found == parse_time(CREATED) + timedelta(days=int(chosen[:-1]))


def test_the_moment_counts():
    """Alive up to the last microsecond, over from the moment on."""
    end = parse_time(CREATED) + timedelta(days=30)
    assert not over(candidate("30d"), None, end - timedelta(microseconds=1))
    assert over(candidate("30d"), None, end)
    assert format_time(end) == "2026-01-31T00:00:00.000000Z"
