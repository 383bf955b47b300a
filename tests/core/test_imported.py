"""What is remembered of imported files: written and read."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactvc.core.imported import Imported, decode_imported, encode_imported
from artifactvc.core.references import Target
from artifactvc.errors import Corrupt

SALT = "0" * 32
D1, D2 = "1" * 64, "2" * 64
ONE = Imported("a/b.csv", D1, "s3://bucket/b.csv", "etag", "abc", "v1")


@st.composite
def lists(draw: st.DrawFn) -> list[Imported]:
    """Lines in order, each path once."""
    text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
    paths = sorted(draw(st.sets(text, max_size=8)), key=str.encode)
    said = st.none() | text
    return [
        Imported(path, draw(st.sampled_from([D1, D2])), f"s3://b/{number}", draw(said), draw(said), draw(said))
        for number, path in enumerate(paths)
    ]


@given(found=lists(), size=st.integers(1, 40))
def test_round_trip(found: list[Imported], size: int):
    """What was written is read again, however the bytes come in pieces."""
    data = b"".join(encode_imported(found, SALT))
    assert list(decode_imported(data[at : at + size] for at in range(0, len(data), size))) == found


@given(st.lists(st.binary(max_size=80), max_size=4))
def test_decode_fails_only_as_promised(chunks: list[bytes]):
    """Whatever the bytes, reading gives lines or raises Corrupt."""
    with suppress(Corrupt):
        list(decode_imported(chunks))
    head = b'{"salt":"' + SALT.encode() + b'"}\n'
    with suppress(Corrupt):
        list(decode_imported([head, *chunks]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: "b"}, "a list of sources is not in order"),
        ({1: "1"}, "a list of sources has a line that is none"),
        ({2: "s3://user:word@bucket/b"}, "a list of sources has an address that is none"),
        ({2: None}, "a list of sources has a line that is none"),
        ({4: 3}, "a list of sources has a line that is none"),
    ],
)
def test_what_no_writer_writes(change: dict[int, object], message: str):
    """Lines out of order, of another make, or with an address that none may have."""
    line = list(ONE._replace(path="b"))
    for position, value in change.items():
        line[position] = value
    first = b"".join(encode_imported([ONE._replace(path="b")], SALT))
    with pytest.raises(Corrupt, match=message):
        list(decode_imported([first, json.dumps(line).encode() + b"\n"]))


def test_a_list_that_is_cut():
    """Is told, and one without its first line, and a line that never ends."""
    data = b"".join(encode_imported([ONE], SALT))
    with pytest.raises(Corrupt, match="ends within a line"):
        list(decode_imported([data[:-1]]))
    with pytest.raises(Corrupt, match="does not begin as one does"):
        list(decode_imported([data.partition(b"\n")[2]]))
    with pytest.raises(Corrupt, match="a line that is too long"):
        list(decode_imported([b"x" * 70_000]))


def test_is_from():
    """Only the same address, identity and version are surely the same bytes; without an identity nothing is."""
    target = Target("s3://bucket/b.csv", "b.csv", 3, "etag", "abc", "v1")
    assert ONE.is_from(target)
    assert not ONE.is_from(target._replace(identity="abd"))
    assert not ONE.is_from(target._replace(version_id="v2"))
    assert not ONE.is_from(target._replace(uri="s3://bucket/c.csv"))
    nothing = ONE._replace(identity_kind=None, identity=None, version_id=None)
    assert not nothing.is_from(target._replace(identity_kind=None, identity=None, version_id=None))
