"""The fold of records: total, the same in every clone, and no number given twice (protocol N1 to N5)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactvc.core import records
from artifactvc.core.entries import LogEntry, decode_entry, encode_entry
from artifactvc.errors import BadLogEntry, NewerFormat
from artifactvc.storage.rows import SqliteRows, clear_names
from artifactvc.storage.schema import KEYS, NAMES, migrate_connection
from tests.core.test_entries import FIELDS
from tests.strategies import ARTIFACTS, DIGESTS, entry_of, json_values
from tests.strategies import records as any_records

A, B, C, _ = ARTIFACTS
D0, D1, D2, D3 = DIGESTS[:4]

Row = dict[str, Any]


class DictRows:
    """``core.records.Rows`` in plain dictionaries, strict about columns and what they hold."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[tuple[object, ...], Row]] = {table: {} for table in NAMES}

    def get(self, table: str, *key: object) -> Row | None:
        assert len(key) == KEYS[table]
        row = self.tables[table].get(key)
        return None if row is None else dict(row)

    def put(self, table: str, row: Row) -> None:
        assert set(row) <= set(NAMES[table]), (table, row)
        full = {name: row.get(name) for name in NAMES[table]}
        assert all(value is None or isinstance(value, NAMES[table][name]) for name, value in full.items()), (table, row)
        key = tuple(full.values())[: KEYS[table]]
        assert None not in key, (table, row)
        self.tables[table][key] = full

    def drop(self, table: str, *key: object) -> None:
        assert len(key) == KEYS[table]
        self.tables[table].pop(key, None)

    def find(self, table: str, **equals: object) -> list[Row]:
        rows = self.tables[table]
        return [
            dict(rows[key]) for key in sorted(rows) if all(rows[key][name] == value for name, value in equals.items())
        ]

    def all(self) -> dict[str, list[Row]]:
        return {table: self.find(table) for table in NAMES}


# ---- building logs ------------------------------------------------------------------------------


def fold(*found: Row, final: bool = True, rows: DictRows | None = None) -> DictRows:
    """The rows after a log with one record an entry, further to *rows*."""
    rows = rows or DictRows()
    start = len(rows.find("operation"))
    for n, record in enumerate(found, start):
        source = "origin" if final else "local"
        records.apply_entry(rows, entry_of(record, n=n), source, final=final, provisional=not final)
    return rows


def create(artifact: str = A, name: str = "data", project: str = "p") -> Row:
    return {"kind": "artifact", "artifact": artifact, "set": {"project": project, "name": name, "type": "dataset"}}


def rename(new: str, artifact: str = A, was: str | None = None) -> Row:
    record = {"kind": "artifact", "artifact": artifact, "set": {"name": new}}
    return {**record, "was": {"name": was}} if was else record


def join(artifact: str, to: str) -> Row:
    return {"kind": "artifact", "artifact": artifact, "set": {"joins": to}}


def version(digest: str, number: int = 0, artifact: str = A, **more: Any) -> Row:
    return {"kind": "version", "artifact": artifact, "digest": digest, "number": number, **more}


def edit(digest: str, artifact: str = A, **changed: Any) -> Row:
    return {"kind": "version", "artifact": artifact, "digest": digest, "set": changed}


def alias(name: str, digest: str | None, artifact: str = A) -> Row:
    return {"kind": "alias", "artifact": artifact, "alias": name, "set": {"digest": digest}}


def tag(digest: str, add: list[str] | None = None, remove: list[str] | None = None) -> Row:
    return {"kind": "tag", "artifact": A, "digest": digest, "add": add or [], "remove": remove or []}


def delete(digest: str | None = None, artifact: str = A, **more: Any) -> Row:
    return {"kind": "delete", "artifact": artifact, **({"digest": digest} if digest else {}), **more}


def restore(digest: str, artifact: str = A, **more: Any) -> Row:
    return {"kind": "restore", "artifact": artifact, "digest": digest, **more}


def numbers(rows: DictRows, artifact: str = A) -> dict[int, str]:
    """Number -> digest of the live versions."""
    return {row["number"]: row["digest"] for row in rows.find("version", artifact=artifact, live=1)}


def aliases(rows: DictRows, artifact: str = A) -> dict[str, str]:
    return {row["alias"]: row["digest"] for row in rows.find("alias", artifact=artifact)}


def tags(rows: DictRows, digest: str) -> list[str]:
    return [row["tag"] for row in rows.find("tag", artifact=A, digest=digest)]


def conflicts(rows: DictRows) -> list[str]:
    return [row["reason"] for row in rows.find("conflict")]


def no_effect(rows: DictRows, record: Row, reason: str, final: bool = True) -> None:
    """*record* changes nothing, and leaves the reason."""
    before, n = rows.all(), len(rows.find("operation"))
    fold(record, rows=rows, final=final)
    after = rows.all()
    source = "origin" if final else "local"
    said = {"record": f"{n:032x}.0", "source": source, "n": n, "reason": reason}
    assert after.pop("conflict") == sorted([*before.pop("conflict"), said], key=lambda row: row["record"])
    assert len(after.pop("operation")) == len(before.pop("operation")) + 1
    assert after == before


# ---- properties ---------------------------------------------------------------------------------


def apply_all(rows: records.Rows, entries: list[tuple[LogEntry, bool]]) -> None:
    for entry, final in entries:
        records.apply_entry(rows, entry, "origin" if final else "local", final=final, provisional=not final)


@st.composite
def logs(draw) -> list[tuple[LogEntry, bool]]:
    """Records of a log that gives numbers, then of one that does not; mostly about artifacts that are there."""
    found = draw(st.sampled_from([[], [create(A)], [create(A), create(B, "cnn")]]))
    found = found + draw(st.lists(any_records(), min_size=1, max_size=24))
    final = draw(st.integers(0, len(found)) | st.just(len(found)))
    # Ids are unique, as in a sound log: a conflict is kept under the id of its record.
    named = [{**record, "id": f"{n:032x}.7"} if "id" in record else record for n, record in enumerate(found)]
    return [(entry_of(record, n=n), n < final) for n, record in enumerate(named)]


@pytest.fixture(scope="module")
def connection() -> Iterator[sqlite3.Connection]:
    """A database with the tables of the index."""
    connection = sqlite3.connect(":memory:")
    migrate_connection(connection)
    yield connection
    connection.close()


@given(entries=logs())
def test_the_fold_is_total_and_the_same_everywhere(connection, entries):
    """Whatever well-formed records come in whatever order: no error, and in SQLite the same rows as here."""
    plain = DictRows()
    apply_all(plain, entries)
    clear_names(connection)
    stored = SqliteRows(connection)
    apply_all(stored, [(decode_entry(encode_entry(entry), entry.n), final) for entry, final in entries])
    assert {table: stored.find(table) for table in NAMES} == plain.all()


def held_by(rows: DictRows) -> dict[tuple[str, str], list[str]]:
    """(project, folded name) -> ids of the living artifacts that have it."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows.find("artifact", deleted=0, joins=None):
        found.setdefault((row["project"], records.folded(row["name"])), []).append(row["id"])
    return found


@given(logs())
def test_what_always_holds(entries):
    """One live version of each content, aliases of live versions only, one artifact of each name."""
    rows = DictRows()
    for entry in entries:
        apply_all(rows, [entry])
        live = [(row["artifact"], row["digest"]) for row in rows.find("version", live=1)]
        assert len(live) == len(set(live))
        assert {(row["artifact"], row["digest"]) for row in rows.find("alias")} <= set(live)
        assert all(len(ids) == 1 for ids in held_by(rows).values())
        for (project, name), (artifact,) in held_by(rows).items():
            assert records.holder(rows, project, name.upper())["id"] == artifact
            following = records.name_row(rows, project, name)["next"]
            assert all(row["number"] < following for row in rows.find("version", artifact=artifact))


@given(logs())
def test_numbers_are_never_given_twice_in_a_name_s_life(entries):
    """Not after a deletion, a rename, the deletion of the artifact, a restore or a join (protocol N3)."""
    rows = DictRows()
    given_to: dict[tuple[str, str, int], str] = {}
    for entry in entries:
        before = {(row["artifact"], row["number"]): row["digest"] for row in rows.find("version")}
        apply_all(rows, [entry])
        for row in rows.find("version"):
            artifact = rows.get("artifact", row["artifact"])
            at = (artifact["project"], records.folded(artifact["name"]), row["number"])
            held = before.get((row["artifact"], row["number"]))
            if held is None:
                assert at not in given_to, at
            else:
                assert held == row["digest"]
            # A rename takes numbers along: they belong to the new name's life from then on.
            given_to[at] = row["digest"]


@given(logs())
def test_a_record_without_effect_changes_nothing(entries):
    """It leaves its reason, and nothing else of it is to be seen; a version may stand without its time to live."""
    rows = DictRows()
    for entry in entries:
        before = rows.all()
        apply_all(rows, [entry])
        after = rows.all()
        after["conflict"] = [row for row in after["conflict"] if not row["record"].endswith(":ttl")]
        before["conflict"] = [row for row in before["conflict"] if not row["record"].endswith(":ttl")]
        if after["conflict"] != before["conflict"]:
            assert len(after["conflict"]) == len(before["conflict"]) + 1
            same = set(NAMES) - {"conflict", "operation"}
            assert {table: after[table] for table in same} == {table: before[table] for table in same}
            assert all(row["reason"] for row in after["conflict"])


@given(logs())
def test_latest_follows_the_log(entries):
    """Each landing of a version, new or there already, moves it; nothing makes it fail (protocol N4)."""
    rows = DictRows()
    for entry, final in entries:
        before = len(rows.find("conflict"))
        apply_all(rows, [(entry, final)])
        record = entry.records[0]
        if record["kind"] == "version" and "set" not in record and len(rows.find("conflict")) == before:
            artifact = records.resolve(rows, record["artifact"])
            assert aliases(rows, artifact["id"])["latest"] == record["digest"]


@given(
    any_records(),
    st.sampled_from([*FIELDS, "state", "exit_code", "ttl", "value", "job_type"]),
    json_values(),
    st.sampled_from([None, "set", "was"]),
)
def test_whatever_is_read_the_fold_takes(connection, record, name, value, holder):
    """An entry that reading lets through never stops the fold, whatever a field of it holds (protocol N1)."""
    changed = {**record, name: value} if holder is None else {**record, holder: {**record.get(holder, {}), name: value}}
    body = json.loads(encode_entry(entry_of(create(), version(D0))))
    body["records"].append(changed)
    try:
        entry = decode_entry(json.dumps(body).encode(), 0)
    except (BadLogEntry, NewerFormat):
        return
    plain = DictRows()
    clear_names(connection)
    stored = SqliteRows(connection)
    for rows in (plain, stored):
        apply_all(rows, [(entry, True)])
    assert {table: stored.find(table) for table in NAMES} == plain.all()


INCOMPLETE = [
    {"kind": "artifact"}, {"kind": "version"}, {"kind": "version", "digest": D0}, {"kind": "alias", "alias": "x"},
    {"kind": "tag"}, {"kind": "delete"}, {"kind": "restore"}, {"kind": "ttl"}, {"kind": "draft"}, {"kind": "finish"},
    {"kind": "setting"}, {"kind": "setting", "set": {"value": 1}}, {"kind": "renumbered"},
    {"kind": "renumbered", "artifact": A}, {"kind": "renumbered", "artifact": A, "digest": D0, "from": 1},
]  # fmt: skip


@pytest.mark.parametrize("record", INCOMPLETE, ids=str)
def test_incomplete_records_do_not_stop_the_fold(record):
    """What an entry of a log may hold, the fold takes: refused on reading, or without effect (protocol N1)."""
    entry = decode_entry(encode_entry(entry_of(create(), version(D0), record)), 0)
    rows = DictRows()
    apply_all(rows, [(entry, True)])
    assert all(reason.startswith("it does not say '") for reason in conflicts(rows))
    assert [row["record"] for row in rows.find("conflict")] == [entry.record_id(2)]


@pytest.mark.parametrize("value", [5, 1.5, ["x"], {"a": 1}, True])
def test_fields_that_are_not_known_are_passed_over(value):
    """Whatever they hold: else the record would have no effect here and one in a newer clone."""
    rows = fold(create(), version(D0, 0, later=value), {**edit(D0, metadata=D1), "later": value})
    fold({**edit(D0), "set": {"description": D2, "later": value}}, rows=rows)
    assert conflicts(rows) == []
    assert (rows.get("version", A, 0)["metadata"], rows.get("version", A, 0)["description"]) == (D1, D2)


NOT_FOR_SQLITE = [
    {"kind": "run", "run": "r", "set": {"state": ["running"]}},
    {"kind": "run", "run": "r", "set": {"exit_code": "one"}},
    {"kind": "run", "run": "r", "set": {"name": {"a": 1}}},
    {"kind": "version", "artifact": A, "digest": D1, "number": 1, "ttl": ["30d"]},
    {"kind": "ttl", "artifact": A, "digest": D0, "set": {"ttl": {}}},
    {"kind": "draft", "draft": "d", "set": {"state": []}},
    {"kind": "artifact", "artifact": B, "set": {"project": ["p"], "name": "n", "type": "t"}},
    {"kind": "run", "run": "half \ud800"},
]


@pytest.mark.parametrize("record", NOT_FOR_SQLITE, ids=ascii)
def test_values_of_another_kind_do_not_stop_the_fold(connection, record):
    """The index takes whatever an entry of a log may hold."""
    body = json.loads(encode_entry(entry_of(create(), version(D0))))
    body["records"].append(record)
    clear_names(connection)
    try:
        entry = decode_entry(json.dumps(body).encode(), 0)
    except BadLogEntry:
        return  # refused on reading is as good
    rows = SqliteRows(connection)
    apply_all(rows, [(entry, True)])
    assert [row["record"] for row in rows.find("conflict")] == [entry.record_id(2)]


# ---- artifacts and names ------------------------------------------------------------------------


def test_an_artifact_is_created():
    """With project, name and type; its name's life begins."""
    rows = fold({**create(name="Data"), "time": "2026-01-02T00:00:00.000000Z"})
    assert rows.find("artifact") == [
        {"id": A, "project": "p", "name": "Data", "type": "dataset", "description": None,
         "created": "2026-01-02T00:00:00.000000Z", "deleted": 0, "joins": None, "tags": None},
    ]  # fmt: skip
    assert rows.find("name") == [{"project": "p", "folded": "data", "name": "Data", "artifact": A, "next": 0}]
    assert records.holder(rows, "p", "DATA")["id"] == A
    assert records.holder(rows, "q", "Data") is None
    assert records.holder(rows, "p", "other") is None


@pytest.mark.parametrize("missing", ["project", "name", "type"])
def test_an_artifact_needs_project_name_and_type(missing):
    """Without one of them it is not created."""
    record = create()
    del record["set"][missing]
    no_effect(fold(), record, "an artifact without project, name and type")


def test_a_name_belongs_to_one_artifact():
    """In any case of its letters; the log that gives numbers refuses, another project does not mind."""
    rows = fold(create(A, "data"))
    no_effect(rows, create(B, "DATA"), "the name 'DATA' belongs to another artifact")
    fold(create(C, "data", project="q"), rows=rows)
    assert records.holder(rows, "q", "data")["id"] == C


def test_unpushed_work_keeps_its_versions_under_another_name():
    """Where origin gave the name to another artifact meanwhile (protocol N2)."""
    rows = fold(create(A, "data"), version(D0))
    fold(create(B, "data"), version(D1, 0, artifact=B), rows=rows, final=False)
    assert conflicts(rows) == []
    assert rows.get("artifact", B)["name"] == f"data-{B[:6]}"
    assert numbers(rows, B) == {0: D1}
    assert numbers(rows, A) == {0: D0}
    long = fold(create(A, "x" * 128))
    fold(create(B, "x" * 128), rows=long, final=False)
    assert long.get("artifact", B)["name"] == "x" * 120 + "-" + B[:6]


def test_a_rename():
    """Records go on about the same artifact; its numbers go on under the new name, and the old name's life too."""
    rows = fold(create(), version(D0, 0), version(D1, 1), rename("new", was="data"), version(D2, 2))
    assert records.holder(rows, "p", "data") is None
    assert records.holder(rows, "p", "new")["id"] == A
    assert numbers(rows) == {0: D0, 1: D1, 2: D2}
    fold(create(B, "data"), version(D0, 2, artifact=B), rows=rows)
    assert conflicts(rows) == []
    assert numbers(rows, B) == {2: D0}
    no_effect(rows, rename("data", was="new"), "the name 'data' belongs, or belonged, to another artifact")


def test_a_rename_takes_the_numbers_along():
    """What the artifact gave under the old name is not given again under the new one, nor by who has that name next."""
    rows = fold(create(), version(D0, 0), version(D1, 1), rename("new"))
    no_effect(rows, version(D2, 1), "the number v1 was given before")
    fold(rename("newer"), create(B, "new"), rows=rows)
    no_effect(rows, version(D2, 1, artifact=B), "the number v1 was given before")
    fold(version(D2, 1, artifact=B), rows=rows, final=False)
    assert numbers(rows, B) == {2: D2}


def test_a_rename_in_case_only():
    """Is one of the same name."""
    rows = fold(create(), version(D0), rename("DATA", was="data"), version(D1, 1))
    assert rows.get("artifact", A)["name"] == "DATA"
    assert [row["next"] for row in rows.find("name")] == [2]


def test_a_rename_and_back():
    """The name was nobody else's meanwhile."""
    rows = fold(create(), version(D0), rename("new"), version(D1, 1), rename("data"), version(D2, 2))
    assert numbers(rows) == {0: D0, 1: D1, 2: D2}
    assert conflicts(rows) == []


def test_two_renames_of_one_artifact_conflict():
    """The second does not know of the first (protocol N3)."""
    rows = fold(create(), rename("one", was="data"))
    no_effect(rows, rename("two", was="data"), "it was renamed meanwhile")
    fold(rename("two", was="one"), rows=rows)
    assert rows.get("artifact", A)["name"] == "two"


@pytest.mark.parametrize("deleted", [False, True])
def test_no_rename_to_a_name_that_is_or_was_taken(deleted):
    """A name whose artifact was deleted is not taken over by a rename either."""
    rows = fold(create(A, "data"), create(B, "other"), *([delete(artifact=B)] if deleted else []))
    no_effect(rows, rename("Other"), "the name 'Other' belongs, or belonged, to another artifact")


def test_an_artifact_is_described():
    """And its description taken away; with a name in the same record, both or none."""
    rows = fold(create(), {"kind": "artifact", "artifact": A, "set": {"description": D0}})
    assert rows.get("artifact", A)["description"] == D0
    fold({"kind": "artifact", "artifact": A, "set": {"description": D1, "name": "new"}}, rows=rows)
    assert (rows.get("artifact", A)["name"], rows.get("artifact", A)["description"]) == ("new", D1)
    both = {"kind": "artifact", "artifact": A, "set": {"description": None, "name": "x"}, "was": {"name": "data"}}
    no_effect(rows, both, "it was renamed meanwhile")
    fold({"kind": "artifact", "artifact": A, "set": {"description": None}}, rows=rows)
    assert rows.get("artifact", A)["description"] is None


def test_records_about_an_unknown_artifact():
    """Have no effect."""
    rows = fold(create(B, "other"))
    for record in (version(D0), edit(D0), alias("best", D0), tag(D0, ["t"]), delete(), delete(D0), restore(D0),
                   {"kind": "ttl", "artifact": A, "digest": D0, "set": {"ttl": "30d"}},
                   {"kind": "renumbered", "artifact": A, "digest": D0, "from": 1, "to": 2}):  # fmt: skip
        no_effect(rows, record, "its artifact is not known")


# ---- joins --------------------------------------------------------------------------------------


def test_a_join_makes_versions_of_one_artifact_those_of_another():
    """They take the next numbers there; content that is there already stays one version; names, tags, runs follow."""
    rows = fold(create(A, "data"), version(D0, 0), version(D1, 1))
    fold(
        create(B, "data"), version(D1, 0, artifact=B), version(D2, 1, artifact=B, tags=["t"], run="r"),
        alias("best", D2, artifact=B), join(B, A), rows=rows, final=False,
    )  # fmt: skip
    assert conflicts(rows) == []
    assert numbers(rows) == {0: D0, 1: D1, 2: D2}
    assert numbers(rows, B) == {}
    assert aliases(rows) == {"best": D2, "latest": D2}
    assert tags(rows, D2) == ["t"]
    assert [row["run"] for row in rows.find("produced", artifact=A, digest=D2)] == ["r"]
    assert records.resolve(rows, B)["id"] == A
    fold(version(D3, 3, artifact=B), alias("old", D0, artifact=B), rows=rows, final=False)
    assert numbers(rows)[3] == D3
    assert aliases(rows)["old"] == D0


def test_a_join_with_itself_or_nobody():
    """Has no effect; so joins make no circle."""
    rows = fold(create(A, "data"), create(B, "other"), create(C, "third"))
    no_effect(rows, join(A, A), "the artifact to join is not known")
    no_effect(rows, join(A, "f" * 32), "the artifact to join is not known")
    fold(join(A, B), join(B, C), rows=rows)
    no_effect(rows, join(C, A), "the artifact to join is not known")
    assert records.resolve(rows, A)["id"] == C


def test_a_join_to_a_deleted_artifact():
    """Has no effect: else live versions stand where no name leads."""
    rows = fold(create(A, "data"), version(D0, 0), delete(artifact=A), create(B, "data"), version(D1, 1, artifact=B))
    fold(join(B, A), rows=rows)
    assert records.holder(rows, "p", "data") is not None
    assert numbers(rows, A) == {}
    assert numbers(rows, B) == {1: D1}


# ---- versions and numbers -----------------------------------------------------------------------


def test_a_version():
    """All that its record says, and who made it when."""
    described = {"description": D1, "metadata": D2, "sources": D1, "base": D3, "ttl": "30d", "count": 3, "size": 12}
    rows = fold(create(), version(D0, 0, **described))
    assert rows.find("version") == [
        {"artifact": A, "number": 0, "digest": D0, "live": 1, "provisional": 0, "author": "author 1",
         "created": "2026-01-01T00:00:00.000001Z", "deleted_at": None, "reason": None, "link": None,
         "op": f"{1:032x}", "stood": json.dumps({f"{1:032x}": None}), **described},
    ]  # fmt: skip
    made = {"author": "ada", "time": "2026-01-02T00:00:00.000000Z"}
    rows = fold(create(), version(D0, 0, **made))
    assert rows.get("version", A, 0)["author"] == "ada"
    assert rows.get("version", A, 0)["created"] == made["time"]
    assert rows.get("alias", A, "latest") == {
        "artifact": A, "alias": "latest", "digest": D0, "moved_at": made["time"], "moved_by": "ada", "op": f"{1:032x}",
    }  # fmt: skip


def test_a_version_needs_content():
    """Without a digest there is none."""
    no_effect(fold(create()), {"kind": "version", "artifact": A, "number": 0}, "it does not say 'digest'")


def test_the_log_that_gives_numbers_gives_each_once():
    """A record that asks for one that was given has no effect; numbers may be left out (protocol N2)."""
    rows = fold(create(), version(D0, 0), version(D1, 5))
    assert numbers(rows) == {0: D0, 5: D1}
    for number in (0, 3, 5):
        no_effect(rows, version(D2, number), f"the number v{number} was given before")
    fold(version(D2, 6), rows=rows)
    assert numbers(rows) == {0: D0, 5: D1, 6: D2}
    assert rows.find("moved") == []


def test_a_provisional_number_moves_up():
    """To the next free one, and what it was is remembered (protocol N2)."""
    rows = fold(create(), version(D0, 0), version(D1, 1))
    fold(version(D2, 1), version(D3, 7), rows=rows, final=False)
    assert numbers(rows) == {0: D0, 1: D1, 2: D2, 7: D3}
    assert [row["provisional"] for row in rows.find("version")] == [0, 0, 1, 1]
    (moved,) = rows.find("moved")
    assert (moved["number"], moved["digest"], moved["to"]) == (1, D2, 2)


GONE = {
    "deleted": [delete(D0)],
    "artifact deleted": [delete()],
    "deleted and restored": [delete(D0), restore(D0)],
    "renamed": [rename("new"), create(B, "data")],
    "deleted and made anew": [delete(), create(B, "data")],
    "renamed and back": [rename("new"), rename("data")],
    "joined": [create(B, "other"), join(A, B), create(C, "data")],
}


@pytest.mark.parametrize("case", GONE)
@pytest.mark.parametrize("final", [True, False])
def test_a_number_is_not_given_again_after(case, final):
    """`data:v0` was content 0 once, and is nothing else for ever (protocol N3)."""
    rows = fold(create(), version(D0, 0), *GONE[case])
    artifact = records.holder(rows, "p", "data")
    if artifact is None:  # nobody has the name now
        fold(create(B, "data"), rows=rows)
        artifact = records.holder(rows, "p", "data")
    if final:
        no_effect(rows, version(D1, 0, artifact["id"]), "the number v0 was given before")
        fold(version(D1, 1, artifact["id"]), rows=rows)
    else:
        fold(version(D1, 0, artifact["id"]), rows=rows, final=False)
    assert conflicts(rows) in ([], ["the number v0 was given before"])
    assert [n for n, digest in numbers(rows, artifact["id"]).items() if digest == D1] == [1]


def test_content_that_is_live_makes_no_version():
    """The record adds its tags and its run, and moves `latest`; description and metadata stay (protocol P5)."""
    rows = fold(create(), version(D0, 0, description=D3, tags=["t"], run="r1"), version(D1, 1))
    again = version(D0, 2, description=D2, metadata=D2, tags=["u"], run="r2")
    fold(again, rows=rows)
    assert conflicts(rows) == []
    assert numbers(rows) == {0: D0, 1: D1}
    assert rows.get("version", A, 0)["description"] == D3
    assert rows.get("version", A, 0)["metadata"] is None
    assert tags(rows, D0) == ["t", "u"]
    assert [row["run"] for row in rows.find("produced", digest=D0)] == ["r1", "r2"]
    assert aliases(rows) == {"latest": D0}
    assert records.name_row(rows, "p", "data")["next"] == 2


def test_content_of_a_deleted_version_gets_a_new_number():
    """It is not the old version come back (protocol P5)."""
    rows = fold(create(), version(D0, 0), delete(D0), version(D0, 1))
    assert [(row["number"], row["live"]) for row in rows.find("version", digest=D0)] == [(0, 0), (1, 1)]


def test_a_version_is_edited():
    """Description and metadata; nothing else that a record may say."""
    rows = fold(
        create(),
        version(D0, 0, description=D1),
        {**edit(D0), "set": {"metadata": D2, "number": 7, "digest": D3}},
    )
    row = rows.get("version", A, 0)
    assert (row["description"], row["metadata"], row["digest"], row["live"]) == (D1, D2, D0, 1)
    fold(edit(D0, description=None), rows=rows)
    assert rows.get("version", A, 0)["description"] is None


# ---- aliases, tags, ttl -------------------------------------------------------------------------


def test_an_alias_moves_in_log_order():
    """The last record wins here; that it knew what it moved is checked before it is pushed (protocol N4)."""
    rows = fold(create(), version(D0, 0), version(D1, 1), alias("best", D0), alias("best", D1))
    assert aliases(rows) == {"best": D1, "latest": D1}
    assert rows.get("alias", A, "best")["op"] == f"{4:032x}"
    assert rows.get("alias", A, "best")["moved_by"] == "author 4"
    fold(alias("best", None), rows=rows)
    assert aliases(rows) == {"latest": D1}
    fold(alias("best", None), rows=rows)
    assert conflicts(rows) == []


def test_aliases_that_differ_in_case_are_two():
    """Unlike names of artifacts."""
    rows = fold(create(), version(D0, 0), version(D1, 1), alias("best", D0), alias("Best", D1))
    assert aliases(rows) == {"Best": D1, "best": D0, "latest": D1}


def test_latest_may_be_moved_by_hand():
    """And the next version takes it again."""
    rows = fold(create(), version(D0, 0), version(D1, 1), alias("latest", D0))
    assert aliases(rows)["latest"] == D0
    fold(version(D2, 2), rows=rows)
    assert aliases(rows)["latest"] == D2


def test_tags_merge():
    """Adding what is there and removing what is not are no conflicts (protocol N5)."""
    rows = fold(create(), version(D0, 0, tags=["a"]), version(D1, 1), tag(D0, ["a", "b"]), tag(D0, ["c"], ["a", "x"]))
    assert tags(rows, D0) == ["b", "c"]
    assert tags(rows, D1) == []
    assert conflicts(rows) == []


def test_a_ttl_is_set_and_taken_away():
    """By its own record."""
    ttl = {"kind": "ttl", "artifact": A, "digest": D0}
    rows = fold(create(), version(D0, 0), {**ttl, "set": {"ttl": "30d"}})
    assert rows.get("version", A, 0)["ttl"] == "30d"
    fold({**ttl, "set": {"ttl": None}}, rows=rows)
    assert rows.get("version", A, 0)["ttl"] is None


# ---- deletion -----------------------------------------------------------------------------------


def test_a_deletion_drops_aliases_and_leaves_no_latest():
    """The version can be seen with its reason; nothing takes `latest` in its place (design, section 5)."""
    rows = fold(
        create(), version(D0, 0), version(D1, 1), alias("best", D1), alias("good", D0), delete(D1, reason="ttl")
    )
    row = rows.get("version", A, 1)
    assert (row["live"], row["reason"], row["deleted_at"]) == (0, "ttl", "2026-01-01T00:00:00.000005Z")
    assert aliases(rows) == {"good": D0}
    fold(delete(D0), rows=rows)
    assert rows.get("version", A, 0)["reason"] == "deleted"
    assert aliases(rows) == {}


def test_records_about_a_deleted_version_have_no_effect():
    """Unless it is a restore (protocol N5)."""
    rows = fold(create(), version(D0, 0), version(D1, 1), delete(D0))
    ttl = {"kind": "ttl", "artifact": A, "digest": D0, "set": {"ttl": "30d"}}
    for record in (edit(D0, description=D1), alias("best", D0), tag(D0, ["t"]), delete(D0), ttl):
        no_effect(rows, record, "its version is not there, or is deleted")
    fold(restore(D0), rows=rows)
    assert numbers(rows) == {0: D0, 1: D1}
    row = rows.get("version", A, 0)
    assert (row["deleted_at"], row["reason"]) == (None, None)
    assert aliases(rows) == {"latest": D1}


def test_a_deleted_artifact():
    """All its versions and aliases go, and its name is free."""
    rows = fold(create(), version(D0, 0), version(D1, 1), alias("best", D0), delete(reason="undo"))
    assert numbers(rows) == {}
    assert {row["reason"] for row in rows.find("version")} == {"undo"}
    assert aliases(rows) == {}
    assert records.holder(rows, "p", "data") is None
    fold(create(B, "data"), rows=rows)
    assert records.holder(rows, "p", "data")["id"] == B
    no_effect(rows, version(D2, 2), "the name 'data' belongs to another artifact")


def test_a_new_version_brings_a_deleted_artifact_back():
    """Somebody made it while somebody else deleted: it is there, alone, under a number of its own."""
    rows = fold(create(), version(D0, 0), version(D1, 1), delete(), version(D2, 2))
    assert numbers(rows) == {2: D2}
    assert aliases(rows) == {"latest": D2}
    assert records.holder(rows, "p", "data")["id"] == A


def test_content_that_was_deleted_meanwhile_is_made_anew_as_it_was():
    """A record that was made while the version was live names its content alone."""
    rows = fold(create(), version(D0, 0, count=3, size=9, description=D1), delete(D0), version(D0, 1))
    row = rows.get("version", A, 1)
    assert (row["count"], row["size"], row["description"]) == (3, 9, D1)


def test_a_restore_brings_a_deleted_artifact_back():
    """With the version alone, if nobody has its name now."""
    rows = fold(create(), version(D0, 0), version(D1, 1), delete(), restore(D0))
    assert numbers(rows) == {0: D0}
    assert records.holder(rows, "p", "data")["id"] == A
    rows = fold(create(), version(D0, 0), delete(), create(B, "Data"))
    no_effect(rows, restore(D0), "the name 'data' belongs to another artifact")


def test_a_restore_of_what_is_not_deleted():
    """Of a live version, of content that is live under another number, of nothing."""
    nothing = "there is nothing to restore, or its content is live under another number"
    rows = fold(create(), version(D0, 0), version(D1, 1), delete(D1), version(D1, 2))
    for digest in (D0, D1, D2):
        no_effect(rows, restore(digest), nothing)
    no_effect(rows, {"kind": "restore", "artifact": A}, "its artifact is not deleted")


def test_a_restore_names_one_of_several():
    """The same content deleted twice: by its number, else the newest."""
    twice = [create(), version(D0, 0), delete(D0), version(D0, 1), delete(D0)]
    assert list(numbers(fold(*twice, restore(D0, number=0)))) == [0]
    assert list(numbers(fold(*twice, restore(D0, number=1)))) == [1]
    assert list(numbers(fold(*twice, restore(D0)))) == [1]
    assert list(numbers(fold(*twice, restore(D0, number=9)))) == [1]


# ---- runs, drafts, the rest ---------------------------------------------------------------------


def test_a_run_grows_by_records():
    """Each sets what changed; inputs and outputs merge, also of artifacts that are not known yet."""
    first = {"kind": "run", "run": "r", "set": {"project": "p", "state": "running", "number": 5},
             "used": [{"artifact": A, "digest": D0}]}  # fmt: skip
    rows = fold(create(), version(D0, 0), first)
    last = {"kind": "run", "run": "r", "set": {"state": "finished", "exit_code": 0},
            "used": [{"artifact": A, "digest": D0}, {"artifact": C, "digest": D1}],
            "produced": [{"artifact": A, "digest": D1}]}  # fmt: skip
    fold(last, rows=rows)
    (run,) = rows.find("run")
    assert (run["project"], run["state"], run["exit_code"]) == ("p", "finished", 0)
    assert (run["author"], run["created"]) == ("author 2", "2026-01-01T00:00:00.000002Z")
    assert [(row["artifact"], row["digest"], row["at"][-3:-1]) for row in rows.find("used")] == [
        (A, D0, "02"), (C, D1, "03"),
    ]  # fmt: skip
    assert [(row["artifact"], row["digest"]) for row in rows.find("produced")] == [(A, D1)]
    no_effect(rows, {"kind": "run"}, "it does not say 'run'")
    no_effect(rows, {"kind": "run", "run": ""}, "a run without an id")


def test_settings_drafts_and_condemned_files():
    """Each in its table."""
    rows = fold(
        {"kind": "setting", "name": "ttl.default", "set": {"value": "90d"}},
        {"kind": "draft", "draft": "d", "artifact": A},
        {"kind": "condemn", "files": ["p/0", "p/1"]},
        {"kind": "seen", "remote": "f" * 32, "n": 7},
        {"kind": "later", "optional": True},
    )
    assert rows.find("setting") == [{"name": "ttl.default", "value": '"90d"'}]
    assert rows.get("draft", "d")["state"] == "open"
    assert [(row["file"], row["entry"]) for row in rows.find("condemned")] == [("p/0", 2), ("p/1", 2)]
    assert conflicts(rows) == []
    fold({"kind": "finish", "draft": "d", "artifact": A, "digest": D0}, rows=rows)
    assert (rows.get("draft", "d")["state"], rows.get("draft", "d")["digest"]) == ("finished", D0)
    fold({"kind": "setting", "name": "ttl.default"}, rows=rows)
    assert rows.find("setting") == [{"name": "ttl.default", "value": "null"}]


def test_a_renumbering_is_remembered():
    """So that who asks for the old number is told the new one (protocol N2)."""
    rows = fold(create(), version(D0, 5), {"kind": "renumbered", "artifact": A, "digest": D0, "from": 4, "to": 5})
    (moved,) = rows.find("moved")
    assert (moved["number"], moved["digest"], moved["to"]) == (4, D0, 5)


def test_operations_are_noted():
    """One row an entry, whatever its records do."""
    rows = DictRows()
    records.apply_entry(rows, entry_of(create(), version(D0), tag(D1, ["t"]), n=3), "origin", final=True)
    assert rows.find("operation") == [
        {"op": f"origin/{3:032x}", "source": "origin", "n": 3, "at": "2026-01-01T00:00:00.000003Z",
         "author": "author 3", "command": "test"},
    ]  # fmt: skip
    assert [row["record"] for row in rows.find("conflict")] == [f"{3:032x}.2"]


def test_a_pushed_record_keeps_its_id_in_conflicts():
    """So every clone names it alike."""
    rows = fold(create(), {**delete(D0), "id": "0a.7"})
    assert [row["record"] for row in rows.find("conflict")] == ["0a.7"]


def test_objects_that_a_record_names():
    """Descriptions, metadata and details, themselves or among what is set; not manifests, not nulls."""
    record = version(D0, base=D3, description=D1, metadata=None)
    assert records.needed_objects(record) == [D1]
    assert records.needed_objects(edit(D0, description=None, metadata=D2)) == [D2]
    assert records.needed_objects({"kind": "run", "run": "r", "set": {"details": D1, "metrics": D2}}) == [D1, D2]
    assert records.needed_objects({"kind": "run", "run": "r", "set": {"metrics": "short"}}) == []
    assert records.needed_objects(delete(D0)) == []
