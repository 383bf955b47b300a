"""Index files become few, keep every row, and large ones are looked up by ranges (protocol R4, H2)."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactvc.errors import BadIndex
from artifactvc.storage import index_lookup
from artifactvc.storage.directory import DirectoryTransport
from artifactvc.storage.index_lookup import Lookup
from artifactvc.storage.index_merge import FAN, MAX_MERGED, merge_places, size_class, to_merge
from artifactvc.storage.remote_index import NODE_ROWS, Place, decode_places, encode_places
from artifactvc.storage.transport import RemoteOptions


def places(count: int, seed: int, files: int = 3) -> list[Place]:
    """Rows with random digests in a few files."""
    rng = random.Random(seed)
    return [Place(rng.randbytes(32).hex(), f"p{seed}/{i % files}.pack", 8 + i * 10, 10, 20, 1) for i in range(count)]


def merged(parts: list[list[Place]], condemned: tuple[str, ...] = ()) -> list[Place]:
    out = io.BytesIO()
    merge_places([(encode_places(part), f"index {i}") for i, part in enumerate(parts)], condemned, out)
    return list(decode_places(out.getvalue(), "the merged one"))


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5)), max_size=6), st.sets(st.integers(0, 5)))
def test_a_merged_file_has_each_row_once(parts, gone):
    """All rows of all files, each once, but for those of condemned files; the same rows may stand in several."""
    lists = [places(count, seed) for count, seed in parts]
    condemned = tuple(f"p{seed}/0.pack" for seed in gone)
    expected = {place for part in lists for place in part if place.file not in condemned}
    rows = merged(lists, condemned)
    assert sorted(rows) == sorted(expected)
    assert [row.digest for row in rows] == sorted(row.digest for row in rows)


def test_copies_of_one_object_stay_apart():
    """Two copies in two files are two rows: one of the files may be condemned later."""
    digest = "ab" * 32
    one, two = Place(digest, "a/0.pack", 8, 5, 5, 0), Place(digest, "b/0.pack", 8, 5, 5, 0)
    assert merged([[one], [two], [one]]) == [one, two]
    assert merged([[one], [two]], ("a/0.pack",)) == [two]
    assert merged([[one], [two]], ("a/0.pack", "b/0.pack")) == []


def test_a_damaged_file_is_not_merged():
    """Damage is found while merging: no wrong row goes on under a right digest."""
    data = bytearray(encode_places(places(3000, 1)))
    data[100_000] ^= 1
    with pytest.raises(BadIndex):
        merge_places([(bytes(data), "a"), (encode_places(places(5, 2)), "b")], (), io.BytesIO())


# ---- which are merged -----------------------------------------------------------------------------------------


def test_eight_of_a_class_are_merged():
    """Seven stay as they are, eight become one; what comes of them counts in its own class."""
    small = {f"s{i}": 300 for i in range(FAN - 1)}
    assert to_merge(small) == []
    assert to_merge({**small, "s7": 300}) == [*small, "s7"]
    second = {f"m{i}": 100_000 for i in range(FAN - 1)}
    assert to_merge({**second, **small, "s7": 300}) == [*small, "s7"], "the eight are small together"
    large = {f"s{i}": 60_000 for i in range(FAN)}
    assert set(to_merge({**second, **large})) == {*second, *large}


def test_what_would_be_too_large_stays():
    """No push is made to send more than MAX_MERGED for others."""
    assert to_merge({f"x{i}": MAX_MERGED // 7 for i in range(20)}) == []
    assert len(to_merge({f"x{i}": MAX_MERGED // 9 for i in range(20)})) == 9


@given(st.lists(st.integers(200, 5_000_000), max_size=60))
def test_few_files_are_live(sizes):
    """Whatever pushes bring, fewer than a dozen files of a class live on, and each byte was written few times."""
    live: dict[str, int] = {}
    written = 0
    for i, size in enumerate(sizes * 4):
        chosen = to_merge(live)
        if chosen:
            total = sum(live.pop(name) for name in chosen)
            assert total <= MAX_MERGED
            written += total
            live[f"m{i}"] = total
        live[f"p{i}"] = size
    by_class = [size_class(size) for size in live.values() if size < MAX_MERGED // FAN]
    assert all(by_class.count(number) <= FAN for number in set(by_class))
    assert written <= 6 * (sum(sizes) * 4 + len(sizes) * 4 * (64 << 10))


# ---- by ranges ----------------------------------------------------------------------------------------------------


class Ranges(DirectoryTransport):
    """Counts what is read of files."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, RemoteOptions())
        self.bytes = self.requests = 0

    def read_ranges(self, wanted):
        self.requests += len(wanted)
        self.bytes += sum(length for _, _, length in wanted)
        return super().read_ranges(wanted)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """An index file of 40 nodes on a remote, and its rows."""
    rows = places(40 * NODE_ROWS, 5)
    rows += [rows[17]._replace(file="p5/9.pack"), rows[18]._replace(file="p5/9.pack")]
    root = tmp_path_factory.mktemp("large")
    (root / "index").mkdir()
    data = encode_places(rows)
    (root / "index" / "i0").write_bytes(data)
    return root, rows, len(data)


def test_a_few_objects_cost_a_few_ranges(large, monkeypatch):
    """The tail, the tables, and one node for each object, whether it is there or not."""
    monkeypatch.setattr(index_lookup, "_GUESS", 1 << 10)
    root, rows, size = large
    transport, lookup = Ranges(root), Lookup()
    wanted = {rows[i].digest for i in (0, 5_000, len(rows) - 3)} | {"00" * 32, "ff" * 32, "77" * 32}
    found = lookup.find(transport, "i0", size, "it", wanted, set())
    assert found == {row.digest: row for row in rows if row.digest in wanted}
    assert transport.requests <= 2 + 6
    assert transport.bytes < size / 4
    before = transport.requests
    assert lookup.find(transport, "i0", size, "it", [rows[0].digest], set())
    assert transport.requests == before, "what was found is not asked for again"


def test_what_was_found_and_is_condemned_since_is_not_found_again(large):
    """A push that read on looks again, and relies on nothing that a gc has condemned meanwhile (protocol P2)."""
    root, rows, size = large
    transport, lookup = Ranges(root), Lookup()
    twice, once = rows[17], rows[5_000]
    wanted = {twice.digest, once.digest}
    first = lookup.find(transport, "i0", size, "it", wanted, set())
    gone = {place.file for place in first.values()}
    found = lookup.find(transport, "i0", size, "it", wanted, gone)
    assert not gone & {place.file for place in found.values()}
    assert once.digest not in found
    assert lookup.find(transport, "i0", size, "it", [twice.digest], {rows[17].file})[twice.digest].file == "p5/9.pack"


@given(st.data())
def test_looking_up_finds_what_reading_finds(large, data):
    """By ranges, as by reading whole; condemned copies are passed over."""
    root, rows, size = large
    picked = data.draw(st.lists(st.sampled_from(rows), max_size=8))
    gone = set(data.draw(st.lists(st.sampled_from(sorted({row.file for row in rows})), max_size=2)))
    found = Lookup().find(Ranges(root), "i0", size, "it", {row.digest for row in picked}, gone)
    sound = {row.digest for row in rows if row.file not in gone}
    assert found.keys() == {row.digest for row in picked} & sound
    assert all(place in rows and place.file not in gone for place in found.values())


@pytest.mark.parametrize("at", [-1, -30, -64, -200, -4_000, 70_000])
def test_damage_is_found_by_ranges_too(large, tmp_path, at):
    """Tail, tables and nodes carry their digests."""
    root, rows, size = large
    data = bytearray((root / "index" / "i0").read_bytes())
    data[at] ^= 0xFF
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "i0").write_bytes(data)
    with pytest.raises(BadIndex):
        Lookup().find(Ranges(tmp_path), "i0", size, "it", {row.digest for row in rows[:2_000:50]}, set())
