"""The records of versions built by many: a draft is opened once and ends once, whatever the log says (protocol P10)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactvc.core.entries import decode_entry, encode_entry
from artifactvc.core.model import Root
from artifactvc.core.parts import Ending, Target, abandoning, finishing, opening
from artifactvc.core.records import apply_entry
from artifactvc.errors import BadLogEntry
from tests.core.test_records import DictRows, conflicts, create, fold, no_effect, numbers, version
from tests.strategies import ARTIFACTS, DIGESTS, entry_of

A, B = ARTIFACTS[:2]
D0, D1 = DIGESTS[:2]
TARGET = Target("p", "data", "dataset", "nightly")
DRAFT = TARGET.draft_id("", 0)
OPEN = opening(TARGET, DRAFT, 0)


def ending(**change: Any) -> Ending:
    given: dict[str, Any] = {
        "root": Root(D0, 3, 30), "artifact": A, "run": "last", "taken": {"r1": 0, "r2": 4}, "runs": {}, "texts": {},
    }  # fmt: skip
    return Ending(**{**given, **change})


def finished(rows: DictRows, **change: Any) -> DictRows:
    """*rows* after an entry that finishes the draft as the version of *change*."""
    entry = entry_of(*finishing(rows, TARGET, DRAFT, ending(**change)), n=len(rows.find("operation")))
    apply_entry(rows, entry, "origin", final=True)
    return rows


def state(rows: DictRows) -> str | None:
    row = rows.get("draft", DRAFT)
    return row["state"] if row else None


def test_a_draft_is_opened_once():
    """Again changes nothing, open or ended: a writer says so to be seen, and two may be first."""
    rows = fold(OPEN)
    assert state(rows) == "open"
    assert '"distributed_id": "nightly"' in rows.find("draft")[0]["details"]
    before = rows.find("draft")
    fold({**OPEN, "set": {**OPEN["set"], "name": "other"}}, rows=rows)
    assert rows.find("draft") == before
    fold(abandoning(DRAFT), OPEN, rows=rows)
    assert state(rows) == "abandoned"
    assert conflicts(rows) == []


def test_only_an_open_draft_is_given_up():
    """One that is not there, or has ended, stays as it is."""
    no_effect(fold(), abandoning(DRAFT), "its draft is not open")
    no_effect(fold(OPEN, abandoning(DRAFT)), abandoning(DRAFT), "its draft is not open")
    no_effect(finished(fold(OPEN)), abandoning(DRAFT), "its draft is not open")


def test_a_finish_is_a_version_and_names_all_who_produced_it():
    """One new version, ``latest`` at it, one row for each run whose part was taken and for who finished."""
    rows = finished(fold(OPEN), aliases=["best", "latest", "best"], ttl="30d", texts={"description": D1})
    assert numbers(rows) == {0: D0}
    (row,) = rows.find("version")
    assert (row["count"], row["size"], row["ttl"], row["description"]) == (3, 30, "30d", D1)
    assert [row["run"] for row in rows.find("produced")] == ["last", "r1", "r2"]
    assert {row["alias"]: row["digest"] for row in rows.find("alias")} == {"best": D0, "latest": D0}
    assert state(rows) == "finished"
    assert conflicts(rows) == []


def test_a_draft_ends_once():
    """A second finish, or one after it was given up, makes no producer and no second end."""
    second = next(r for r in finishing(fold(OPEN), TARGET, DRAFT, ending(run="other")) if r["kind"] == "finish")
    no_effect(finished(fold(OPEN)), second, "its draft has ended")
    no_effect(fold(OPEN, abandoning(DRAFT)), second, "its draft has ended")


def test_content_that_is_live_makes_no_second_version():
    """It is that version, with more producers; what is said of it stays."""
    rows = finished(fold(create(), version(D0, 0), OPEN), artifact=B, texts={"description": D1})
    assert numbers(rows) == {0: D0}
    assert rows.find("version")[0]["description"] is None
    assert [row["id"] for row in rows.find("artifact")] == [A]
    assert {row["run"] for row in rows.find("produced")} == {"last", "r1", "r2"}


def test_runs_that_the_log_does_not_know_are_introduced():
    """By what their parts say; a run that is known stays as it is, and its own records set the rest when they come."""
    known = {"kind": "run", "run": "r1", "set": {"project": "p", "state": "running"}}
    said = {run: {"project": "p", "group": "g", "author": "ada"} for run in ("r1", "r2")}
    rows = finished(fold(known, OPEN), runs=said)
    (one, two) = (rows.get("run", run) for run in ("r1", "r2"))
    assert one is not None
    assert two is not None
    assert (one["state"], one["group"]) == ("running", None)
    assert (two["state"], two["group"], two["author"]) == ("finished", "g", "ada")
    fold({"kind": "run", "run": "r2", "set": {"state": "failed", "job_type": "train"}}, rows=rows)
    two = rows.get("run", "r2")
    assert two is not None
    assert (two["state"], two["group"], two["job_type"]) == ("failed", "g", "train")


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        ({"kind": "finish", "draft": DRAFT, "taken": []}, "bad 'taken'"),
        ({"kind": "finish", "draft": DRAFT, "taken": {"r": -1}}, "bad 'taken'"),
        ({"kind": "finish", "draft": DRAFT, "taken": {"r": True}}, "bad 'taken'"),
        ({"kind": "finish", "draft": DRAFT, "taken": {"../r": 0}}, "bad 'taken'"),
        ({"kind": "finish", "draft": DRAFT, "runs": []}, "bad 'runs'"),
        ({"kind": "finish", "draft": DRAFT, "runs": {"": {}}}, "bad 'runs'"),
        ({"kind": "finish", "draft": DRAFT, "runs": {"r": {"project": 5}}}, "bad 'runs'"),
        ({"kind": "finish", "draft": DRAFT, "run": 5}, "bad 'run'"),
        ({"kind": "draft", "draft": DRAFT, "set": {"generation": -1}}, "bad 'generation'"),
        ({"kind": "draft", "draft": DRAFT, "set": {"distributed_id": 5}}, "bad 'distributed_id'"),
        ({"kind": "draft", "draft": DRAFT, "set": {"state": "x" * 1025}}, "bad 'state'"),
    ],
)
def test_fields_of_another_kind_are_refused(record, fault):
    """On reading, before any row is made."""
    with pytest.raises(BadLogEntry, match=fault):
        decode_entry(encode_entry(entry_of(record)), 0)


VALUES = st.none() | st.integers(-1, 3) | st.text(max_size=3) | st.lists(st.none(), max_size=1) | st.just({"r": {}})


@given(st.lists(st.fixed_dictionaries(
    {"kind": st.sampled_from(["draft", "finish"]), "draft": st.sampled_from([DRAFT, "d"])},
    optional={
        "artifact": st.sampled_from([A, B]), "digest": st.sampled_from([D0, D1]), "taken": VALUES, "runs": VALUES,
        "run": st.sampled_from(["r", ""]),
        "set": st.fixed_dictionaries({}, optional={
            "state": st.sampled_from(["open", "abandoned", "finished", "x"]), "generation": VALUES, "name": VALUES,
        }),
    },
), max_size=6))  # fmt: skip
def test_the_fold_takes_whatever_a_log_holds(found):
    """A record applies or has no effect; a draft that has ended stays ended."""
    rows, ended = fold(create()), {}
    for record in found:
        fold(record, rows=rows)
        for row in rows.find("draft"):
            assert row["state"] in ("open", "finished", "abandoned")
            assert ended.get(row["id"], row["state"]) == row["state"]
            if row["state"] != "open":
                ended[row["id"]] = row["state"]
