"""``ttl`` and ``expire``: what they print, and what they refuse."""

from __future__ import annotations

import re

import pytest

from artifactvc.cli import render
from artifactvc.util.text import format_time, parse_time

DATE = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"


@pytest.fixture
def two(avc):
    """A workspace with data:v0 and data:v1 of user ada."""
    for n in range(2):
        avc.write({"data/a.txt": f"{n}\n"})
        avc("add", "data")
        avc("commit")
    return avc


def test_ttl_of_versions(two):
    """Alone it is shown, with a time set; several versions at once; log and show say when."""
    assert two("ttl", "data:v0") == "work/data:v0 never expires: it has no time to live\n"
    said = two("ttl", "data:v0", "data:v1", "30d")
    assert re.fullmatch(rf"(work/data:v\d expires {DATE}: its time to live of 30d\n){{2}}", said)
    assert len(re.findall(rf"  expires {DATE}$", two("log", "data"), re.M)) == 2
    shown = two("show", "data:v0")
    assert "  ttl      30d\n" in shown
    assert re.search(rf"^  expires  {DATE}$", shown, re.M)
    assert two("ttl", "data:v0", "none") == "work/data:v0 never expires: it is kept for ever\n"
    assert "expires" not in two("show", "data:v0")
    assert two("ttl", "data:v0", "inherit") == "work/data:v0 never expires: it has no time to live\n"


def test_ttl_of_the_project(two):
    """The default is set, shown, and spares what it spares."""
    assert two("ttl", "--default") == (
        "the default time to live of project 'work' is none: its versions live for ever\n"
    )
    assert two("ttl", "--default", "90d") == "the default time to live of project 'work' is 90d\n"
    assert two("ttl", "--default") == "the default time to live of project 'work' is 90d\n"
    assert two("ttl", "data") == "work/data:v1 never expires: the default of 90d spares the newest version\n"
    assert [row["expires"] is None for row in two.documents("log", "data")] == [True, False]
    two("ttl", "--default", "none")
    assert [row["expires"] for row in two.documents("log", "data")] == [None, None]


def test_expire(two):
    """What goes is explained before and after; without anything to do it is said."""
    assert two("expire") == "nothing is over\n"
    assert two.json("expire", "--dry-run") == {"versions": [], "dry_run": True}


def test_over_is_said(two):
    """At once where the time that is set is over already, by ttl, gc and expire alike."""
    two("ttl", "data:v0", "1s")
    while True:  # the time to live itself
        told = two.json("ttl", "data:v0")["versions"][0]
        if told["over"]:
            break
    said = two("ttl", "data:v0")
    assert said.endswith("is over, and the next 'avc expire' or 'avc gc' deletes it\n")
    would = rf"work/data:v0 would expire: its time to live of 1s, over since {DATE}\n"
    assert re.fullmatch(would, two("expire", "--dry-run"))
    assert re.match(would, two("gc", "--dry-run"))
    assert two("ttl", "data:v0", "1s") == said
    done = two("expire")
    assert re.match(rf"work/data:v0 has expired: its time to live of 1s, over since {DATE}\n", done)
    assert done.endswith("deleted 1 version; 'avc restore' or 'avc undo' brings back what gc has not collected\n")
    assert "it is over, by its time to live or a policy: 'avc ttl data:v0 none' keeps it" in two("restore", "data:v0")
    assert re.match(would.replace("would expire", "has expired"), two("gc"))


def test_editors(two):
    """Who may is set, shown, and refused to others with one line; anyone may again when an editor says so."""
    assert two("ttl", "--editors") == "anyone may change times to live\n"
    two.monkeypatch.setenv("AVC_USER", "Ada <ada@x.org>")
    assert two("ttl", "--editors", "Ada <ada@x.org>, ben@x.org") == (
        "only Ada <ada@x.org>, ben@x.org may change times to live\n"
    )
    two.monkeypatch.setenv("AVC_USER", "eve")
    for argv in (
        ["ttl", "data:v0", "1d"],
        ["ttl", "--default", "1d"],
        ["ttl", "--anyone"],
        ["ttl", "--editors", "eve"],
    ):
        two.refused(
            *argv,
            kind="NotAnEditor",
            message="only 'Ada <ada@x.org>', 'ben@x.org' may change times to live (ttl.editors), and you are 'eve'",
            hint="ask one of them; if you are one, say so: 'avc config set user.email EMAIL'",
        )
    two.monkeypatch.setenv("AVC_USER", "Ben Somebody <ben@x.org>")
    assert two("ttl", "--anyone") == "anyone may change times to live\n"
    assert "set who may change times to live to anyone\n" in two("op", "log")


@pytest.mark.parametrize(
    "argv", [[], ["data", "--default"], ["--default", "1d", "--anyone"], ["--editors", "a", "--anyone"]]
)
def test_what_is_no_use_of_ttl(two, argv):
    """Nothing to do, or two things at once: exit 2."""
    assert two.run("ttl", *argv).code == 2


@pytest.mark.parametrize(
    "argv", [["data", "soon"], ["data", "0d"], ["--default", ""], ["--editors", ""], ["--editors", "a,,b"]]
)
def test_what_is_no_value(two, argv):
    """Exit 2, and nothing recorded."""
    before = two("op", "log")
    assert two.run("ttl", *argv).code == 2
    assert two("op", "log") == before


def test_on_a_terminal_it_is_said_how_long(monkeypatch):
    """In a pipe the moment alone: what is printed does not change with the time of day."""
    later = format_time(parse_time("2026-01-31T00:00:00.000000Z"))
    assert render.expiry(later) == "expires 2026-01-31 00:00 UTC"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    for now, left in [
        ("2026-01-02T12:00:00.000000Z", "in 28 days"),
        ("2026-01-30T00:00:00.000000Z", "in 24 hours"),
        ("2026-01-30T23:00:00.000000Z", "in 60 minutes"),
        ("2026-01-30T23:59:59.000000Z", "in 1 second"),
        ("2026-01-31T00:00:00.000000Z", "over: the next gc deletes it"),
    ]:
        monkeypatch.setattr("artifactvc.util.text.now", lambda now=now: now)
        assert render.expiry(later) == f"expires 2026-01-31 00:00 UTC ({left})"
    assert render.expiry(None) == ""
