"""Log entries: what is written comes back, and what breaks the format is refused (docs/format.md, "Log")."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import example, given
from hypothesis import strategies as st

from artifactvc.core.entries import KINDS, MAX_BYTES, LogEntry, decode_entry, encode_entry, entry_digest, is_stored_name
from artifactvc.errors import BadLogEntry, NewerFormat
from tests.strategies import ARTIFACTS, DIGESTS, damaged, entry_of, json_values, log_entries, records

A, D = ARTIFACTS[0], DIGESTS[0]
SOUND = json.loads(encode_entry(entry_of({"kind": "delete", "artifact": A, "digest": D}, n=3)))


def refused(body: Any, n: int = 3, error: type = BadLogEntry) -> str:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises((BadLogEntry, NewerFormat)) as caught:
        decode_entry(data, n)
    assert type(caught.value) is error, repr(caught.value)
    if error is NewerFormat:
        assert caught.value.hint == "upgrade artifactvc"
    return caught.value.message


def of_record(record: Any, error: type = BadLogEntry) -> str:
    """The refusal of an entry that holds *record*, without what all of them begin with."""
    message = refused({**SOUND, "records": [record]}, error=error)
    assert message.startswith("log entry 3 ")
    return message.removeprefix("log entry 3 is damaged: ").removeprefix("log entry 3 ")


def read(record: dict[str, Any]) -> dict[str, Any]:
    return decode_entry(json.dumps({**SOUND, "records": [record]}).encode(), 3).records[0]


# ---- writing ------------------------------------------------------------------------------------


def test_an_entry_is_as_the_format_says():
    """Byte for byte, in this order, on one line."""
    entry = LogEntry(3, "0a" * 16, "9b" * 16, D, "ada", "2026-11-23T08:38:34.123456Z", "commit",
                     ({"kind": "seen", "n": 1},), ({"id": "i", "digest": D, "size": 123},))  # fmt: skip
    assert encode_entry(entry).decode() == (
        f'{{"format":1,"n":3,"op":"{"0a" * 16}","repository":"{"9b" * 16}","before":"{D}","author":"ada",'
        '"time":"2026-11-23T08:38:34.123456Z","command":"commit","records":[{"kind":"seen","n":1}],'
        f'"index":[{{"id":"i","digest":"{D}","size":123}}],"signature":null}}\n'
    )
    assert '"index"' not in encode_entry(entry_of()).decode()


@given(log_entries())
def test_an_entry_comes_back(entry):
    """What is written is read, and is written the same again; the next entry names it by the digest of its bytes."""
    data = encode_entry(entry)
    assert decode_entry(data, entry.n) == entry
    assert encode_entry(decode_entry(data, entry.n)) == data
    assert entry_digest(data) == blake3(data).hexdigest()


def test_a_record_keeps_its_id():
    """The id of the entry it was made in, else its place in this one."""
    entry = entry_of({"kind": "seen"}, {"kind": "seen", "id": "0a.7"}, n=5)
    assert [entry.record_id(0), entry.record_id(1)] == [f"{5:032x}.0", "0a.7"]


def test_an_entry_is_at_most_1_mib_and_1000_records():
    """What is larger is not written, with a hint; and not read."""
    seen = {"kind": "seen"}
    full = entry_of(*[seen] * 1000)
    assert len(decode_entry(encode_entry(full), 0).records) == 1000
    room = MAX_BYTES - len(encode_entry(entry_of({"kind": "seen", "x": ""})))
    fit = entry_of({"kind": "seen", "x": "y" * room})
    assert len(encode_entry(fit)) == MAX_BYTES
    assert decode_entry(encode_entry(fit), 0) == fit
    for entry in (entry_of(*[seen] * 1001, n=7), entry_of({"kind": "seen", "x": "y" * (room + 1)}, n=7)):
        with pytest.raises(BadLogEntry) as caught:
            encode_entry(entry)
        assert caught.value.message == "log entry 7 would be larger than an entry may be"
        assert caught.value.hint == "do it in smaller steps"
    assert refused({**SOUND, "records": [seen] * 1001}) == "log entry 3 is damaged: bad 'records'"
    assert refused(b" " * (MAX_BYTES + 1)) == f"log entry 3 is larger than {MAX_BYTES} bytes"


# ---- entries that break the format --------------------------------------------------------------


def test_the_sound_entry_is_sound():
    """What the following tests break."""
    assert decode_entry(json.dumps(SOUND).encode(), 3).records == tuple(SOUND["records"])


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "is damaged: Expecting value: line 1 column 1 (char 0)"),
        (b"[]", "is not an object"),
        (b"null", "is not an object"),
        (b'{"format":1,"format":1}', "is damaged: a key stands twice"),
        (b'{"format":1,"records":[{"kind":"seen","kind":"delete"}]}', "is damaged: a key stands twice"),
        (b'{"n":NaN}', "is damaged: 'NaN' is no number"),
        (b'{"n":-Infinity}', "is damaged: '-Infinity' is no number"),
        (b'{"n":9007199254740992}', "is damaged: an integer of 2**53 or more"),
        (b'{"x":' + b"[" * 32 + b"]" * 32 + b"}", "is nested deeper than 32 levels"),
        (b"[" * 100_000, "is nested deeper than 32 levels"),
    ],
    ids=lambda value: value[:20] if isinstance(value, bytes) else "",
)
def test_the_bounds_of_json_hold(data, fault):
    """The rules of core/strict.py, with the entry named."""
    assert refused(data) == f"log entry 3 {fault}"


@pytest.mark.parametrize("found", [2, 0, None, "1", 1.5, "x" * 99])
def test_another_format_is_newer(found):
    """It is not guessed at."""
    said = f"log entry 3 was written by a newer avc (needs log format {str(found)[:20]})"
    assert refused({**SOUND, "format": found}, error=NewerFormat) == said
    without = {name: value for name, value in SOUND.items() if name != "format"}
    assert refused(without, error=NewerFormat) == "log entry 3 was written by a newer avc (needs log format None)"


ROW = {"id": "i", "digest": D, "size": 1}
HEAD = [
    ("op", [None, 5, "", "0a" * 15, "0A" * 16, "0a" * 16 + "\n", "../" + "0" * 29]),
    ("repository", [None, 5, "", "0g" * 16, "0a" * 17]),
    ("before", [None, 5, "", D.upper(), D[1:], D + "0"]),
    ("author", [None, 5, [], "x" * 4097]),
    ("command", [None, 5, {}, "x" * 4097]),
    ("time", [None, 5, "", "2026-11-23", "2026-11-23T08:38:34Z", "2026-11-23T08:38:34.123456+00:00"]),
    ("time", [SOUND["time"] + "\n", SOUND["time"].replace("Z", "z"), SOUND["time"].replace("T", " ")]),
    ("records", [None, 5, {}, "x"]),
    ("index", [None, 5, {}, [5], [{}], [ROW] * 101]),
    ("index", [[{**ROW, "id": "../x"}], [{**ROW, "digest": "x"}], [{"id": "i", "digest": D}]]),
    ("index", [[{**ROW, "size": size}] for size in (-1, True, "1", None, 1.5)]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in HEAD for value in values], ids=str)
def test_the_fields_of_an_entry_are_of_their_kind(name, value):
    """A field of another kind is named."""
    assert refused({**SOUND, name: value}) == f"log entry 3 is damaged: bad '{name}'"


@pytest.mark.parametrize("name", ["op", "repository", "before", "author", "command", "time", "records"])
def test_the_fields_of_an_entry_are_there(name):
    """None of them may be left out."""
    without = {key: value for key, value in SOUND.items() if key != name}
    assert refused(without) == f"log entry 3 is damaged: bad '{name}'"


def test_the_size_of_an_index_file_is_bounded():
    """1 GiB at most: a reader takes no more memory than that on an entry's word."""
    assert decode_entry(json.dumps({**SOUND, "index": [{**ROW, "size": 1 << 30}]}).encode(), 3).index
    said = refused({**SOUND, "index": [ROW, {**ROW, "size": (1 << 30) + 1}]})
    assert said == "log entry 3 is damaged: an index file that is too large"


def test_only_the_first_entry_has_none_before_it():
    """Else a log could be cut off in front."""
    assert decode_entry(json.dumps({**SOUND, "n": 0, "before": None}).encode(), 0).before is None
    assert refused({**SOUND, "n": 0}, n=0) == "log entry 0 is damaged: bad 'before'"


@pytest.mark.parametrize("number", [4, None, "3", -3, 3.5])
def test_an_entry_has_the_number_of_its_file(number):
    """An entry that was moved is refused."""
    assert refused({**SOUND, "n": number}) == "log entry 3 is damaged: its number is not the one of its file"


@pytest.mark.parametrize("name", ["n", "format"])
@pytest.mark.parametrize("value", [True, 1.0])
def test_numbers_are_integers(name, value):
    """`true` and `1.0` are no numbers of entries or formats."""
    with pytest.raises((BadLogEntry, NewerFormat)):
        decode_entry(json.dumps({**SOUND, "n": 1, name: value}).encode(), 1)


# ---- records that break the format --------------------------------------------------------------


@given(records())
def test_well_formed_records_are_read(record):
    """Each kind of record that this version writes comes back as it is."""
    assert read(record) == record


@pytest.mark.parametrize("record", [None, 5, "x", [], {}, {"kind": None}, {"kind": 5}, {"kind": ["delete"]}])
def test_a_record_has_a_kind(record):
    """Without it nothing can be said of it, optional or not."""
    assert of_record(record) == "a record without a kind"
    if isinstance(record, dict):
        assert of_record({**record, "optional": True}) == "a record without a kind"


@pytest.mark.parametrize("kind", ["link", "erase", "seal", "", "Version", "later", "x" * 99])
def test_unknown_kinds_are_refused_unless_optional(kind):
    """Also the reserved ones: a reader that cannot act on a record must not pass over it."""
    newer = f"was written by a newer avc (needs records of kind '{kind[:40]}')"
    assert kind not in KINDS
    for mark in ({}, {"optional": False}, {"optional": 1}, {"optional": "true"}, {"optional": None}):
        assert of_record({"kind": kind, **mark}, error=NewerFormat) == newer
    assert read({"kind": kind, "optional": True, "artifact": 5}) == {"kind": kind, "optional": True, "artifact": 5}


def test_a_known_kind_is_checked_though_it_is_marked_optional():
    """The mark is for kinds that a reader does not know."""
    assert of_record({"kind": "delete", "artifact": "x", "optional": True}) == "bad artifact id"


RECORD = [
    ("artifact", [None, 5, "", "A" * 32, A + "0", "../" + A[3:]], "bad artifact id"),
    ("digest", [5, "", D.upper(), D[:63], []], "bad digest"),
    *((name, [None, 5, [], "x" * 1025], f"bad '{name}'")
      for name in ("alias", "draft", "run", "name", "reason", "created", "author", "time", "id", "remote")),
    *((name, [None, "1", -1, 1.0, True, []], f"bad '{name}'") for name in ("number", "count", "size", "from", "to")),
    *((name, [None, 5, "x", []], f"bad '{name}'") for name in ("set", "was")),
    *((name, [None, 5, "x", {}, [5], [None]], f"bad '{name}'") for name in ("add", "remove", "tags", "files")),
    *((name, [5, "", "text", D.upper(), {}], f"bad '{name}'")
      for name in ("description", "metadata", "base", "details")),
    *((name, [["x"], [{}], [{"artifact": A}], [{"digest": D}], [{"artifact": "x", "digest": D}], [None], "x",
              [{"artifact": A, "digest": "x"}], [{"artifact": 5, "digest": D}]], f"bad '{name}'")
      for name in ("used", "produced")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "fault"), [(name, value, fault) for name, values, fault in RECORD for value in values]
)
def test_the_fields_of_a_record_are_of_their_kind(name, value, fault):
    """A field of another kind is named, whatever the record's kind."""
    for kind in ("version", "run", "seen"):
        assert of_record({"kind": kind, "artifact": A, name: value}) == fault


@pytest.mark.parametrize("value", [None, 5, True, 1.5])
@pytest.mark.parametrize("name", ["used", "produced"])
def test_used_and_produced_are_lists(name, value):
    """What is no list is refused like what is in it."""
    assert of_record({"kind": "run", "run": "r", name: value}) == f"bad '{name}'"


@pytest.mark.parametrize("holder", ["set", "was"])
@pytest.mark.parametrize("name", ["description", "metadata", "base", "details"])
def test_salted_objects_are_named_by_digest(holder, name):
    """Also among what is set and what was."""
    assert of_record({"kind": "version", "artifact": A, "digest": D, holder: {name: "text"}}) == f"bad '{name}'"
    assert read({"kind": "version", "artifact": A, "digest": D, holder: {name: None}})


NAMED = [
    ({"name": "../x"}, "bad artifact name '../x'"),
    ({"name": ""}, "bad artifact name ''"),
    ({"name": "a\n"}, "bad artifact name 'a\n'"),
    ({"project": ".."}, "bad project name '..'"),
    ({"project": "a/b"}, "bad project name 'a/b'"),
    ({"type": ""}, "bad 'type'"),
    ({"type": 5}, "bad 'type'"),
    ({"type": "x" * 129}, "bad 'type'"),
    ({"joins": "x"}, "bad 'joins'"),
    ({"joins": None}, "bad 'joins'"),
]


@pytest.mark.parametrize(("changed", "fault"), NAMED)
def test_names_in_records_obey_their_rules(changed, fault):
    """A log from elsewhere cannot call an artifact what nobody could."""
    assert of_record({"kind": "artifact", "artifact": A, "set": changed}) == fault


@pytest.mark.parametrize("value", [None, 5, {}, []])
@pytest.mark.parametrize("name", ["name", "project"])
def test_names_in_records_are_texts(name, value):
    """Another kind of value is refused too."""
    assert of_record({"kind": "artifact", "artifact": A, "set": {name: value}})


@pytest.mark.parametrize("value", [["a"], {"a": 1}, ["a", "b"]])
def test_a_project_is_a_text(value):
    """A list of letters is none."""
    assert of_record({"kind": "artifact", "artifact": A, "set": {"project": value}})


def test_generated_types_come_in_records():
    """People may not give them, programs do."""
    assert read({"kind": "artifact", "artifact": A, "set": {"type": "run_table"}})


@pytest.mark.parametrize(
    ("alias", "fault"),
    [
        ("v3", "'v3' cannot be an alias: it looks like a version number"),
        (D, f"'{D}' cannot be an alias: it looks like a digest"),
        ("a/b", "bad alias 'a/b'"),
        ("", "bad alias ''"),
    ],
)
def test_aliases_in_records_obey_their_rules(alias, fault):
    """An alias that looks like something else would deceive."""
    assert of_record({"kind": "alias", "artifact": A, "alias": alias, "set": {"digest": D}}) == fault


def test_an_alias_points_to_a_digest_or_nothing():
    """And it has a name."""
    assert read({"kind": "alias", "artifact": A, "alias": "best", "set": {"digest": None}})
    assert of_record({"kind": "alias", "artifact": A, "alias": "best", "set": {"digest": "x"}}) == "bad digest"
    assert of_record({"kind": "alias", "artifact": A, "set": {"digest": D}}) == "bad alias ''"


def test_tags_in_records_obey_their_rules():
    """Given with a version or later."""
    for record in ({"kind": "tag", "add": ["a.b"]}, {"kind": "version", "tags": ["a", "a.b"]}):
        assert of_record({**record, "artifact": A, "digest": D}) == "bad tag 'a.b'"
    assert read(
        {"kind": "tag", "artifact": A, "digest": D, "remove": ["a.b"]}
    )  # what cannot be there is in nobody's way


# ---- names of stored files ----------------------------------------------------------------------

GOOD_FILES = ["a", "a/b.pack", "0/1/2/3/4/5/6", "x" * 200, "-a", "_/.a", "a" * 200 + "/" + "b" * 200]
BAD_FILES = [
    "", "/a", "a/", "a//b", "..", "../a", "a/../b", "a/..", "a..b", "a b", "a\\b", "a\n", "a\0", "é", "a:b", "a%2e",
    "~/a?", "0/1/2/3/4/5/6/7", "x" * 201, "a@b", "{a}", "http://h/a",
]  # fmt: skip


@pytest.mark.parametrize("name", GOOD_FILES)
def test_names_that_stored_files_may_have(name):
    """One to seven components of plain characters."""
    assert is_stored_name(name)
    assert read({"kind": "condemn", "files": [name]})


@pytest.mark.parametrize("name", BAD_FILES)
def test_names_that_stored_files_may_not_have(name):
    """Nothing that climbs or means something in a path or URL (protocol H3)."""
    assert not is_stored_name(name)
    assert of_record({"kind": "condemn", "files": ["a", name]}) == "bad file name"


def test_a_stored_name_is_a_text():
    """Nothing else is."""
    for value in (None, 5, b"a", ["a"]):
        assert not is_stored_name(value)


# ---- arbitrary bytes ----------------------------------------------------------------------------


@given(
    st.binary(max_size=60) | json_values().map(json.dumps).map(str.encode) | damaged(log_entries().map(encode_entry))
)
@example(b'{"format":1}')
def test_any_bytes_are_an_entry_or_refused(data):
    """Whatever the bytes: an entry, BadLogEntry or NewerFormat."""
    with contextlib.suppress(BadLogEntry, NewerFormat):
        decode_entry(data, 0)


FIELDS = sorted({name for name, _, _ in RECORD} | {"kind", "n", "optional", "project", "joins"})


@given(records(), st.sampled_from(FIELDS), json_values(), st.sampled_from([None, "set", "was"]))
def test_any_field_is_read_or_refused(record, name, value, holder):
    """Whatever a field of a record holds, itself or among what is set: it is read, or refused as documented."""
    if holder is None and name in ("used", "produced") and not isinstance(value, (list, str, dict)):
        return  # test_used_and_produced_are_lists
    changed = {**record, name: value} if holder is None else {**record, holder: {name: value}}
    with contextlib.suppress(BadLogEntry, NewerFormat):
        decode_entry(json.dumps({**SOUND, "records": [changed]}).encode(), 3)
