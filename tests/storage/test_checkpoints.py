"""A log far behind is read by checkpoints: few requests, and never anything but what the entries say (protocol R4)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from artifactvc.core.entries import LogEntry, encode_entry, entry_digest
from artifactvc.errors import BrokenChain, RemoteUnavailable
from artifactvc.storage.checkpoints import (
    MAX_CHECKPOINT,
    SIZES,
    RemoteLog,
    Span,
    completed_by,
    join_entries,
    span_of,
    split_entries,
)
from artifactvc.storage.directory import DirectoryTransport
from artifactvc.storage.log import entry_name
from artifactvc.storage.tail import Tail, present
from artifactvc.storage.transport import RemoteOptions
from tests.conftest import SOAK

TIME = "2026-01-01T00:00:00.000000Z"


class Counting(DirectoryTransport):
    """A remote in a directory that notes every file it is asked for, there or not."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, RemoteOptions())
        self.asked: list[str] = []

    def read(self, name: str, *, limit: int) -> bytes:
        self.asked.append(name)
        return super().read(name, limit=limit)


def entries(count: int, start: Sequence[bytes] = (), seed: int = 0) -> list[bytes]:
    """A log of *count* entries that continues *start*."""
    log = list(start)
    while len(log) < count:
        before = entry_digest(log[-1]) if log else None
        entry = LogEntry(len(log), f"{seed:08x}{len(log):024x}", "ab" * 16, before, "ada", TIME, "push", ())
        log.append(encode_entry(entry))
    return log


ENTRIES = entries(5_100)


def store(root: Path, log: Sequence[bytes], first: int = 0) -> None:
    """Put the entries from *first* on into a remote, and the checkpoints that they complete."""
    (root / "log").mkdir(parents=True, exist_ok=True)
    for n in range(first, len(log)):
        (root / "log" / entry_name(n)).write_bytes(log[n])
    for span in completed_by(range(first, len(log))):
        damage(root, span, join_entries(log[span.first : span.end]) or b"")


def damage(root: Path, span: Span, data: bytes) -> None:
    """Put other bytes where a checkpoint is."""
    path = root / span.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of small files: what a power cut leaves is not what is tested here."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A remote of 5,100 entries; nothing in it is changed."""
    root = tmp_path_factory.mktemp("remote")
    store(root, ENTRIES)
    return root


class Reader:
    """One clone's copy of the log."""

    def __init__(self, here: Path, remote: Path) -> None:
        (here / "tmp").mkdir(parents=True)
        self.log = RemoteLog(here / "log", here / "tmp", "the remote's log")
        self.transport = Counting(remote)
        self.n = -1

    def fetch(self) -> int:
        before = self.log.data(self.n) if self.n >= 0 else None
        tail = Tail(self.transport, self.log, "origin", (self.n, None if before is None else entry_digest(before)))
        count = tail.read()
        self.n += count
        self.tail = tail
        return count

    def know(self, log: Sequence[bytes]) -> None:
        """As if all of *log* had been read."""
        whole = len(log) - len(log) % 1024
        for first in range(0, whole, 1024):
            self.log.keep(Span(1024, first), b"".join(log[first : first + 1024]))
        for n in range(whole, len(log)):
            self.log.create(n, log[n])
        self.n = len(log) - 1

    def all(self) -> list[bytes | None]:
        fresh = RemoteLog(self.log.directory, self.log._tmp, "the remote's log")
        assert fresh.last() == self.n
        assert fresh.data(self.n + 1) is None
        return [fresh.data(n) for n in range(self.n + 1)]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[object]:
    """Makes readers."""
    made: list[Reader] = []

    def reader(remote: Path) -> Reader:
        made.append(Reader(tmp_path / f"reader-{len(made)}", remote))
        return made[-1]

    return reader  # type: ignore[return-value]


# ---- how many requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behind", "most"), [(0, 1), (1, 2), (2, 4), (3, 4), (10, 16), (100, 30), (1_000, 40), (5_000, 45), (5_100, 40)]
)
def test_requests_follow_the_distance(make, remote, behind, most):
    """However far behind: few files are asked for, those that are not there counted too."""
    reader = make(remote)
    reader.know(ENTRIES[: len(ENTRIES) - behind])
    assert reader.fetch() == behind
    asked = len(reader.transport.asked)
    assert asked <= most, f"{behind} behind: {asked} files were asked for: {reader.transport.asked}"
    assert len(set(reader.transport.asked)) == asked
    assert reader.all() == ENTRIES


@given(st.integers(1, 80), st.integers(0, 80))
def test_halving_finds_the_end(count, there):
    """Of files that are there from the first on, exactly those are read, each once, and few in vain."""
    there = min(there, count)
    asked: list[int] = []

    def read(wanted: Sequence[int]) -> list[bytes | None]:
        asked.extend(wanted)
        return [bytes([i]) if i < there else None for i in wanted]

    assert present(count, read) == [bytes([i]) for i in range(there)]
    assert len(asked) == len(set(asked))
    assert sum(i >= there for i in asked) <= 7


def test_a_later_file_that_shows_before_an_earlier_one_is_not_taken():
    """Some caches show entry 3 while entry 2 is still said to be missing: the log ends before it."""
    shown = {0: b"0", 2: b"2"}
    assert present(3, lambda wanted: [shown.get(i) for i in wanted]) == [b"0"]


# ---- any sequence of fetches ----------------------------------------------------------------------------------


@settings(max_examples=6 * SOAK)
@given(
    lengths=st.lists(st.integers(0, 1_200), min_size=1, max_size=4),
    without=st.sets(st.sampled_from([*completed_by(range(1_200))]), max_size=6),
)
@example(lengths=[1_024], without=set())
@example(lengths=[1_023, 1_024, 1_025], without=set())
@example(lengths=[40, 1_100], without={Span(32, 32)})
@example(lengths=[31, 32, 33, 64], without=set())
@example(lengths=[1_200], without=set(completed_by(range(1_200))))
def test_fetches_at_any_lengths_give_the_same_log(tmp_path_factory, lengths, without):
    """However the log grew between fetches, and whichever checkpoints are missing, the same entries are kept."""
    root = tmp_path_factory.mktemp("any")
    reader = Reader(root / "here", root / "remote")
    length = 0
    for wish in sorted(lengths):
        store(root / "remote", ENTRIES[:wish], length)
        for span in without:
            (root / "remote" / span.name).unlink(missing_ok=True)
        assert reader.fetch() == wish - length
        length = wish
        assert reader.all() == ENTRIES[:length]
    shutil.rmtree(root)


def test_what_was_missed_is_named(make, tmp_path):
    """Checkpoints that a reader did without, and whose entries it has, are those that its next push makes."""
    store(tmp_path / "remote", ENTRIES[:1_100])
    gone = [Span(1024, 0), Span(256, 256), Span(32, 1024), Span(8, 1088)]
    for span in gone:
        (tmp_path / "remote" / span.name).unlink()
    reader = make(tmp_path / "remote")
    assert reader.fetch() == 1_100
    assert reader.tail.missing() == [Span(1024, 0), Span(32, 1024), Span(8, 1088)], "none in a larger one that is whole"


# ---- what is not what it says ------------------------------------------------------------------------------------

OTHER = entries(200, ENTRIES[:40], seed=1)
LAST_FORGED = [*ENTRIES[32:63], OTHER[63]]

WRONG = {
    "empty": b"",
    "cut in an entry": b"".join(ENTRIES[32:64])[:-9],
    "an entry less": b"".join(ENTRIES[32:63]),
    "an entry more": b"".join(ENTRIES[32:65]),
    "the wrong span": b"".join(ENTRIES[64:96]),
    "no newline at the end": b"".join(ENTRIES[32:64])[:-1],
    "another chain": b"".join(OTHER[32:64]),
    "entries in another order": b"".join([*ENTRIES[32:40], ENTRIES[41], ENTRIES[40], *ENTRIES[42:64]]),
    "another last entry": b"".join(LAST_FORGED),
    "a byte changed": b"".join(ENTRIES[32:64]).replace(b"ada", b"eve", 1),
    "not JSON": b"x\n" * 32,
    "a newer format": b"".join(ENTRIES[32:64]).replace(b'"format":1', b'"format":2'),
    "too large": b"".join(ENTRIES[32:64]) + b"\n" * MAX_CHECKPOINT,
    "nothing but newlines": b"\n" * 32,
}


@pytest.mark.parametrize("length", [64, 65, 100, 200])
@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_checkpoint_is_passed_over(make, tmp_path, what, length):
    """Whatever stands where a checkpoint should be, the entries decide, and what follows is read as ever."""
    store(tmp_path / "remote", ENTRIES[:length])
    damage(tmp_path / "remote", Span(32, 32), WRONG[what])
    reader = make(tmp_path / "remote")
    assert reader.fetch() == length
    assert reader.all() == ENTRIES[:length]
    assert len(reader.transport.asked) <= 100


def test_a_forged_run_of_checkpoints_is_passed_over(make, tmp_path):
    """Checkpoints that continue each other, but not the log: none of them is kept."""
    store(tmp_path / "remote", ENTRIES[:200])
    forged = entries(200, ENTRIES[:1], seed=7)
    for span in completed_by(range(200)):
        damage(tmp_path / "remote", span, join_entries(forged[span.first : span.end]) or b"")
    reader = make(tmp_path / "remote")
    assert reader.fetch() == 200
    assert reader.all() == ENTRIES[:200]


def test_a_checkpoint_may_come_before_the_last_entry_that_is_here(make, tmp_path):
    """A reader in the middle of a span takes the rest from its checkpoint; a forged first half shows in the chain."""
    store(tmp_path / "remote", ENTRIES[:50])
    reader = make(tmp_path / "remote")
    reader.fetch()
    store(tmp_path / "remote", ENTRIES[:130], 50)
    half = b"".join([*OTHER[32:40], *ENTRIES[40:64]])
    damage(tmp_path / "remote", Span(32, 32), half.replace(b"ada", b"eve", 1))
    assert reader.fetch() == 80
    assert reader.all() == ENTRIES[:130]


def test_entries_that_break_the_chain_stay_refused(make, tmp_path):
    """Where the entries themselves do not continue, checkpoints help nothing: the fetch stops and keeps what holds."""
    store(tmp_path / "remote", ENTRIES[:100])
    reader = make(tmp_path / "remote")
    reader.fetch()
    forked = entries(400, ENTRIES[:90], seed=3)
    store(tmp_path / "remote", forked, 90)
    with pytest.raises(BrokenChain):
        reader.fetch()
    assert reader.all() == ENTRIES[:100]


def test_entries_behind_a_checkpoint_that_are_missing_end_the_log(make, tmp_path):
    """A checkpoint whose last entry is not there by itself proves nothing: the log ends where the entries end."""
    store(tmp_path / "remote", ENTRIES[:64])
    (tmp_path / "remote" / "log" / entry_name(63)).unlink()
    reader = make(tmp_path / "remote")
    assert reader.fetch() == 63
    assert reader.all() == ENTRIES[:63]


def test_a_lost_connection_keeps_what_was_confirmed(make, tmp_path, monkeypatch):
    """A fetch that breaks off leaves a shorter log without gaps, and the next one goes on from there."""
    store(tmp_path / "remote", ENTRIES[:3_000])
    for breaks_at in range(1, 22, 3):
        reader = make(tmp_path / "remote")
        read, left = reader.transport.read, breaks_at

        def failing(name: str, *, limit: int, read=read) -> bytes:
            nonlocal left
            left -= 1
            if left == 0:
                raise RemoteUnavailable("gone")
            return read(name, limit=limit)

        monkeypatch.setattr(reader.transport, "read", failing)
        with pytest.raises(RemoteUnavailable):
            reader.fetch()
        reader.n = RemoteLog(reader.log.directory, reader.log._tmp, "").last()
        while reader.fetch():
            pass
        assert reader.all() == ENTRIES[:3_000]


# ---- the file itself -------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_its_entries_end_to_end():
    """32 entries, as they are, and back."""
    span = Span(32, 64)
    data = join_entries(ENTRIES[64:96])
    assert data == b"".join(ENTRIES[64:96])
    assert split_entries(data, span) == ENTRIES[64:96]
    assert span.name == "log/checkpoint/32/00000000000000000064"


def test_large_entries_have_no_checkpoint():
    """Above the bound, or where an entry is not one line, there is none."""
    assert join_entries([b"x" * (1 << 20) + b"\n"] * 16) is None
    assert join_entries([b'{\n"format":1}\n'] * 32) is None
    assert join_entries([b"{}"] * 32) is None


@given(st.integers(0, 10**6))
def test_spans_are_aligned(n):
    """Each entry is in one span of each size; the last of a span completes it."""
    for size in SIZES:
        span = span_of(size, n)
        assert span.first % size == 0
        assert span.first <= n < span.end
        assert (span in completed_by([n])) == (n == span.end - 1)


def test_a_kept_checkpoint_that_is_damaged_here_is_read_again(make, tmp_path):
    """Damage on this disk shortens what is known; the next fetch mends it."""
    store(tmp_path / "remote", ENTRIES[:2_000])
    reader = make(tmp_path / "remote")
    reader.fetch()
    kept = reader.log.directory.parent / Span(1024, 0).name
    kept.write_bytes(kept.read_bytes()[:-5])
    reader.log = RemoteLog(reader.log.directory, reader.log._tmp, "the remote's log")
    assert reader.log.data(500) is None
    reader.n = 0  # entry 0 is a file of its own
    assert reader.fetch() == 1_999
    assert reader.all() == ENTRIES[:2_000]
