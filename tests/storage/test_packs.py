"""Packs: what goes in comes out, and nothing that comes from elsewhere is believed."""

from __future__ import annotations

import os
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from artifactvc.errors import BadPack, NewerFormat
from artifactvc.storage import packs
from artifactvc.storage.packs import PackWriter, decode_object, encode_object, iter_stored, read_table
from artifactvc.util.hashing import digest_bytes


def written(path: Path, objects: list[bytes]) -> Path:
    pack = PackWriter(path)
    for data in objects:
        pack.add(bytes.fromhex(digest_bytes(data)), data)
    pack.finish()
    return path


def read(path: Path) -> dict[str, bytes]:
    fd = os.open(path, os.O_RDONLY)
    try:
        rows = read_table(fd, "the pack")
        return {
            row.digest: decode_object(bytes(part), row.codec, row.length, "it") for row, part in iter_stored(fd, rows)
        }
    finally:
        os.close(fd)


@given(objects=st.lists(st.one_of(st.binary(max_size=3000), st.text(max_size=3000).map(str.encode)), unique=True))
def test_what_goes_in_comes_out(tmp_path_factory, objects):
    path = written(tmp_path_factory.mktemp("pack") / "p", objects)
    assert read(path) == {digest_bytes(data): data for data in objects}


def test_the_rows_can_be_found_from_the_file_alone(tmp_path):
    path = written(tmp_path / "p", [b"one", b"two" * 100])
    data = path.read_bytes()
    assert data.startswith(b"avcpack\x01one")
    at, count, _ = struct.unpack("<QQ32s", data[-48:])
    assert (count, len(data) - 48 - at) == (2, 2 * 56)


@pytest.mark.parametrize(
    ("data", "codec"),
    [
        (b"ab" * 40, packs.ZSTD),
        (b"ab" * 20, packs.RAW),  # too small to gain
        (bytes(range(256)) * 16, packs.RAW),  # as varied as random bytes, so it is not tried
        (b"line of text, and another\n" * 200, packs.ZSTD),
    ],
)
def test_compression_is_used_where_it_saves_space(data, codec):
    stored, used = encode_object(data)
    assert used == codec
    assert decode_object(stored, used, len(data), "it") == data


def table_of(rows: list[tuple[bytes, int, int, int, int]]) -> bytes:
    return b"".join(struct.pack("<32sQIIB7x", *row) for row in rows)


def forged(path: Path, body: bytes, rows: list[tuple[bytes, int, int, int, int]], check: bytes | None = None) -> Path:
    from blake3 import blake3

    table = table_of(rows)
    tail = struct.pack("<QQ32s", 8 + len(body), len(rows), check or blake3(table).digest())
    path.write_bytes(b"avcpack\x01" + body + table + tail)
    return path


A, B = b"\1" * 32, b"\2" * 32


@pytest.mark.parametrize(
    ("body", "rows", "what"),
    [
        (b"x" * 10, [(A, 8, 6, 6, 0), (B, 12, 6, 6, 0)], "an object overlaps another or lies outside"),
        (b"x" * 10, [(A, 8, 11, 11, 0)], "an object overlaps another or lies outside"),
        (b"x" * 10, [(A, 0, 4, 4, 0)], "an object overlaps another or lies outside"),
        (b"x" * 10, [(A, 2**63, 4, 4, 0)], "an object overlaps another or lies outside"),
        (b"x" * 10, [(A, 8, 5, 6, 0)], "an object's length is not its stored length"),
        (b"x" * 10, [(A, 8, 5, 5, 9)], "an object overlaps another or lies outside"),
        (b"x" * 10, [(B, 8, 5, 5, 0), (A, 13, 5, 5, 0)], "its table is out of order"),
        (b"x" * 10, [(A, 8, 5, 5, 0), (A, 13, 5, 5, 0)], "its table is out of order"),
    ],
)
def test_a_table_that_lies_is_refused(tmp_path, body, rows, what):
    with pytest.raises(BadPack, match=what):
        read(forged(tmp_path / "p", body, rows))


def test_a_table_that_was_changed_is_refused(tmp_path):
    with pytest.raises(BadPack, match="its table does not match its digest"):
        read(forged(tmp_path / "p", b"x" * 10, [(A, 8, 5, 5, 0)], check=b"\0" * 32))


def test_a_count_beyond_the_file_takes_no_memory(tmp_path):
    path = written(tmp_path / "p", [b"one"])
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-48] + struct.pack("<QQ32s", 11, 2**60, b"\0" * 32))
    with pytest.raises(BadPack, match="its table is not inside it"):
        read(path)


def test_a_frame_never_unpacks_beyond_the_declared_length():
    bomb = zstandard.ZstdCompressor().compress(bytes(50_000_000))
    with pytest.raises(BadPack, match="its length is not the declared one"):
        decode_object(bomb, packs.ZSTD, 100, "it")
    nameless = zstandard.ZstdCompressor(write_content_size=False).compressobj().compress(b"a" * 1000)
    with pytest.raises(BadPack):
        decode_object(nameless, packs.ZSTD, 100, "it")


def test_a_pack_of_a_newer_format_is_not_guessed_at(tmp_path):
    path = written(tmp_path / "p", [b"one"])
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(b"avcpack\x02" + data[8:])
    with pytest.raises(NewerFormat, match="was written by a newer avc"):
        read(path)


@given(data=st.data())
def test_any_damage_is_refused_or_noticed(tmp_path_factory, data):
    """Flip, cut or insert anywhere: the only errors are the documented ones, and wrong bytes have another digest."""
    objects = [b"one", b"text " * 50, os.urandom(10)]
    path = written(tmp_path_factory.mktemp("pack") / "p", objects)
    raw = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    match data.draw(st.sampled_from(["flip", "cut", "insert"])):
        case "flip":
            raw[at] ^= data.draw(st.integers(1, 255))
        case "cut":
            del raw[at:]
        case _:
            raw[at:at] = data.draw(st.binary(min_size=1, max_size=20))
    path.chmod(0o644)
    path.write_bytes(raw)
    try:
        found = read(path)
    except (BadPack, NewerFormat):
        return
    good = {digest_bytes(data): data for data in objects}
    assert all(good[digest] == content or digest_bytes(content) != digest for digest, content in found.items())


def test_threads_pack_and_unpack_side_by_side():
    """Each with contexts of its own: what two share comes out wrong, or as an error."""
    contents = [(b"line %d of many that are alike\n" % n) * 4000 for n in range(8)]

    def there_and_back(data: bytes) -> bool:
        for _ in range(60):
            stored, codec = encode_object(data)
            assert codec == packs.ZSTD
            if decode_object(stored, codec, len(data), "a pack") != data:
                return False
        return True

    with ThreadPoolExecutor(len(contents)) as pool:
        assert all(pool.map(there_and_back, contents))
