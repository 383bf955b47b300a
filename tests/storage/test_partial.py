"""A larger object that comes in pieces: hashed as far as it is there, in whatever order the pieces come."""

import os
import random
import threading

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from artifactvc.errors import DigestMismatch
from artifactvc.storage import partial as module
from artifactvc.storage.partial import Partial
from artifactvc.util.threads import Stopped

MOST = 1000


@given(
    size=st.integers(1, 20_000),
    seed=st.integers(0, 99),
    stop=st.integers(0, 20),
    threads=st.integers(1, 3),
    damage=st.booleans(),
)
def test_pieces_in_any_order_are_checked(tmp_path_factory, size, seed, stop, threads, damage):
    """Cut anywhere and gone on with, by one thread or several: the object is taken if it is right, and only then."""
    rng, tmp = random.Random(seed), tmp_path_factory.mktemp("partial")
    data = rng.randbytes(size)
    digest = blake3(data).hexdigest()
    first = Partial(tmp, digest, size)
    for start, length in rng.sample(pieces := first.missing(MOST), min(stop, len(pieces) - 1)):
        first.write(start, data[start : start + length])
    first.close(keep=True)
    if damage:  # in what came before, or will come
        at = rng.randrange(size)
        data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with open(first.path, "r+b") as file:
            for start, length in set(pieces) - set(Partial(tmp, digest, size).missing(MOST)):
                file.seek(start)
                file.write(data[start : start + length])
    again = Partial(tmp, digest, size)
    missing = again.missing(MOST)
    rng.shuffle(missing)
    last: list[bool] = []

    def write(some):
        for start, length in some:
            last.append(again.write(start, memoryview(data)[start : start + length]))

    at_work = [threading.Thread(target=write, args=(missing[n::threads],)) for n in range(threads)]
    for one in at_work:
        one.start()
    for one in at_work:
        one.join()
    assert last.count(True) == 1
    assert again.left == 0
    if damage:
        with pytest.raises(DigestMismatch):
            again.check("here")
    else:
        again.check("here")
    assert again.path.read_bytes() == data
    again.close(keep=False)
    assert os.listdir(tmp) == []


def test_what_was_synced_while_it_came_is_synced_to_its_end(tmp_path, monkeypatch):
    """The disk begins with what is there while the rest comes, and all is durable once it was checked."""
    synced = []
    monkeypatch.setattr(module, "_SYNC", 3000)
    monkeypatch.setattr(os, "fdatasync", lambda fd: synced.append("some"))
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append("all"))
    data = random.Random(1).randbytes(10_000)
    coming = Partial(tmp_path, blake3(data).hexdigest(), len(data))
    for start, length in coming.missing(MOST):
        coming.write(start, data[start : start + length])
    assert synced == ["some"] * 3
    coming.check("here")
    assert synced == ["some"] * 3 + ["all"]
    coming.close(keep=False)


def test_who_was_given_up_writes_nothing_that_counts(tmp_path):
    """A thread that comes too late is told so, and what it would have noted is asked for again."""
    data = random.Random(1).randbytes(3000)
    digest = blake3(data).hexdigest()
    coming = Partial(tmp_path, digest, 3000)
    coming.write(0, data[:1000])
    coming.close(keep=True)
    with pytest.raises(Stopped):
        coming.write(1000, data[1000:2000])
    assert Partial(tmp_path, digest, 3000).missing(MOST) == [(1000, 1000), (2000, 1000)]
