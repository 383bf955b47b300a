"""Who may change times to live, and what becomes of what others record."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactvc.core import editors
from artifactvc.core.records import apply_entry
from tests.core.test_records import D0, D1, A, DictRows, create, fold, version
from tests.strategies import EDITORS, entry_of, records

Row = dict[str, Any]


def by(author: str, record: Row) -> Row:
    """The record as pushed: with the author of the entry in which it was made."""
    return {**record, "author": author}


def own(ttl: object, digest: str = D0) -> Row:
    return {"kind": "ttl", "artifact": A, "digest": digest, "set": {"ttl": ttl}}


def setting(name: str, value: object) -> Row:
    return {"kind": "setting", "name": name, "set": {"value": value}}


def allow(*who: str) -> Row:
    return setting("ttl.editors", list(who))


def reasons(rows: DictRows) -> list[str]:
    return [row["reason"] for row in rows.find("conflict")]


BEGUN = (create(), version(D0, 0))


def test_the_list_decides_from_where_it_stands():
    """Before it anyone may, behind it who is in it, and of a list the one before decides."""
    rows = fold(*BEGUN, by("eve", own("1d")), by("eve", allow("ada", "ben@x")), by("eve", own("2d")))
    assert rows.get("version", A, 0)["ttl"] == "1d"
    assert reasons(rows) == ["only 'ada', 'ben@x' may change times to live (ttl.editors)"]
    fold(by("Ben <ben@x>", own("3d")), by("eve", allow("eve")), by("eve", setting("ttl.default:p", "1d")), rows=rows)
    assert rows.get("version", A, 0)["ttl"] == "3d"
    assert editors.editors(rows) == ("ada", "ben@x")
    assert rows.get("setting", "ttl.default:p") is None
    fold(by("ada", setting("ttl.editors", None)), by("eve", own(None)), rows=rows)
    assert (editors.editors(rows), rows.get("version", A, 0)["ttl"]) == (None, None)


def test_an_entry_here_and_the_record_pushed_are_judged_alike():
    """The author is the record's where it has one, as in a remote's log, else the entry's."""
    rows = fold(*BEGUN, allow("author 3"), own("1d"))  # its entry is that of `author 3`
    assert rows.get("version", A, 0)["ttl"] == "1d"
    fold(own("2d"), by("author 3", own("3d")), by("author 4", own("4d")), rows=rows)
    assert rows.get("version", A, 0)["ttl"] == "3d"


def test_a_version_that_begins_with_a_time():
    """Of somebody who may not set it the version stands, and the time does not; that is noted."""
    rows = fold(create(), allow("ada"), by("eve", version(D0, 0, ttl="1d")), by("ada", version(D1, 1, ttl="1d")))
    assert [row["ttl"] for row in rows.find("version")] == [None, "1d"]
    assert [(row["record"], row["reason"]) for row in rows.find("conflict")] == [
        (f"{2:032x}.0:ttl", "only 'ada' may change times to live (ttl.editors)")
    ]


def test_deleting_is_not_setting():
    """An expiry is a deletion, which anybody may record."""
    rows = fold(*BEGUN, allow("ada"), by("eve", {"kind": "delete", "artifact": A, "digest": D0, "reason": "ttl"}))
    assert (rows.get("version", A, 0)["live"], reasons(rows)) == (0, [])


def test_other_settings_are_anybodys():
    """The list is about times to live."""
    rows = fold(allow("ada"), by("eve", setting("later", {"x": 1})))
    assert json.loads(rows.get("setting", "later")["value"]) == {"x": 1}


@pytest.mark.parametrize("value", [[], "ada", 5, [""], [1], {"ada": 1}, True])
def test_what_is_no_list_has_no_effect(value):
    """An empty list could never be changed again."""
    rows = fold(setting("ttl.editors", value))
    assert editors.editors(rows) is None
    assert reasons(rows) == ["its value is no list of identities"]


@pytest.mark.parametrize("value", ["soon", 30, ["30d"], "", "30", {}, False])
def test_what_is_no_time_has_no_effect(value):
    """One bad record must not stop whoever asks when versions expire."""
    rows = fold(*BEGUN, own(value), setting("ttl.default:p", value), setting("ttl.default", value))
    assert rows.get("version", A, 0)["ttl"] is None
    assert rows.find("setting") == []
    assert len(reasons(rows)) == 3


def test_a_list_is_bounded():
    """Each record about a time to live is held against all of it: a log must not cost its readers hours."""
    rows = fold(*BEGUN, allow(*map(str, range(editors.MOST_EDITORS))), allow("0" * 501))
    assert len(editors.editors(rows) or ()) == editors.MOST_EDITORS
    rows = fold(*BEGUN, allow(*map(str, range(editors.MOST_EDITORS + 1))), allow("  "))
    assert editors.editors(rows) is None
    assert reasons(rows) == ["its value is no list of identities"] * 2


def test_many_are_counted():
    """The line that names who may stays a line."""
    assert editors.only(tuple("abcdefg")) == (
        "only 'a', 'b', 'c', 'd', 'e' and 2 more may change times to live (ttl.editors)"
    )


@given(st.lists(st.tuples(st.sampled_from(["ada", "Bob <bob>", "eve"]), records()), max_size=12))
def test_nobody_else_changes_anything(found):
    """However a log goes on: no time to live and no list changes by an entry of who is not in it."""
    rows = fold(*BEGUN, allow("ada"))

    def times() -> object:
        own = {(v["artifact"], v["digest"], v["created"]): v["ttl"] for v in rows.find("version") if v["ttl"]}
        return own, [row for row in rows.find("setting") if row["name"].startswith("ttl.")]

    for n, (author, record) in enumerate(found, 10):
        before, listed = times(), editors.may_edit(rows, author)
        apply_entry(rows, entry_of(by(author, record), n=n), "origin", final=True, provisional=False)
        if not listed and "joins" not in record.get("set", {}):
            assert times() == before


@given(st.sampled_from(EDITORS), st.text())
def test_asking_never_fails(value, author):
    """Whatever a log holds, whoever it names."""
    rows = fold(setting("ttl.editors", value))
    assert editors.may_edit(rows, author) in (True, False)
