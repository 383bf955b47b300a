"""Digests: the same for the same bytes, in one piece or many."""

from __future__ import annotations

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from artifactvc.util.hashing import StreamDigest, digest_bytes

#: Published with BLAKE3: the digests of no bytes, and of the byte 0, and of 0 and 1.
VECTORS = {
    b"": "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    b"\0": "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
    b"\0\1": "7b7015bb92cf0b318037702a6cdd81dee41224f734684c2c122cd6359cb1ee63",
}


@pytest.mark.parametrize("data", VECTORS, ids=len)
def test_digests_are_blake3(data):
    """64 lower-case hex digits, of whatever holds the bytes."""
    stream = StreamDigest()
    stream.update(data)
    assert digest_bytes(data) == stream.digest() == VECTORS[data]
    assert digest_bytes(bytearray(data)) == digest_bytes(memoryview(data)) == VECTORS[data]


@given(st.lists(st.binary(max_size=50)))
def test_pieces_make_no_difference(pieces):
    """Also while it goes on: each digest is that of all pieces so far."""
    stream = StreamDigest()
    for at, piece in enumerate(pieces):
        stream.update(memoryview(piece))
        assert stream.digest() == digest_bytes(b"".join(pieces[: at + 1]))
    assert stream.digest() == digest_bytes(b"".join(pieces))


@pytest.mark.parametrize("first", [0, 1, 1 << 20, (1 << 20) - 1, (1 << 20) + 1])
@pytest.mark.parametrize("then", [0, 7, (1 << 20) + 7])
def test_large_pieces_make_no_difference(first, then):
    """From 1 MiB on threads help; whether the large piece comes first, later, or after nothing."""
    data = bytes(range(251)) * ((first + then) // 251 + 1)
    stream = StreamDigest()
    stream.update(b"")
    stream.update(data[:first])
    stream.update(data[first : first + then])
    assert stream.digest() == blake3(data[: first + then]).hexdigest()


def test_a_piece_is_read_before_the_call_returns():
    """So a buffer can be filled again."""
    buffer = bytearray(b"a" * (2 << 20))
    stream = StreamDigest()
    stream.update(buffer)
    buffer[:] = b"b" * len(buffer)
    stream.update(buffer)
    assert stream.digest() == digest_bytes(b"a" * (2 << 20) + b"b" * (2 << 20))
