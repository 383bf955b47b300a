"""Collecting: what a dry run says is what the same command then does."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from artifactvc.sdk.repository import Repository
from tests.support import inside, new, version, write

LARGE = random.Random(1).randbytes(300_000)


@pytest.fixture
def trashed(tmp_path: Path) -> Iterator[Repository]:
    """A repository in whose trash lies what was staged, dropped and collected just now."""
    made = new(tmp_path / "work")
    version(made, {"a": "kept"})
    write(made.root, {"data/a": LARGE})
    with inside(made.root):
        made.add()
    made.reset("data")
    assert made.gc(grace="0s").trashed_bytes > len(LARGE)
    with made:
        yield made


def age_trash(repository: Repository, seconds: float) -> None:
    """Let the trash be as old as if it had been made *seconds* ago."""
    for directory in (repository.avc_root / "trash").iterdir():
        then = directory.stat().st_mtime - seconds
        os.utime(directory, (then, then))


def trash(repository: Repository) -> int:
    """Bytes in the trash."""
    return repository.du().trash


@pytest.mark.parametrize(("age", "grace"), [(0, "14d"), (3600, "2h"), (7200, "1h"), (0, None)])
def test_a_dry_run_says_what_gc_does(trashed, age, grace):
    """What is young stays, what has lain there for the grace goes; with ``dry_run`` nothing moves, and all is said."""
    age_trash(trashed, age)
    before = trash(trashed)
    planned = trashed.gc(grace=grace, dry_run=True)
    assert trash(trashed) == before
    done = trashed.gc(grace=grace)
    assert replace(planned, dry_run=False) == done
    assert done.removed_bytes == (before if age == 7200 else 0)
    assert trash(trashed) == before - done.removed_bytes


def test_a_dry_run_says_what_would_be_moved_back(trashed):
    """What a live version needs again is moved back, not removed, however long it lay there; and said beforehand."""
    version(trashed, {"a": LARGE})  # stored anew
    for path in list((trashed.avc_root / "objects").rglob("*")):
        if path.is_file():
            path.unlink()
    age_trash(trashed, 7200)
    planned = trashed.gc(grace="1h", dry_run=True)
    assert planned.restored_objects == 1
    done = trashed.gc(grace="1h")
    assert replace(planned, dry_run=False) == done
    assert b"".join(trashed.read("data", "a")) == LARGE


def test_what_was_collected_with_a_shorter_grace_stops_nothing(tmp_path):
    """A version deleted a moment ago, whose bytes went at once, is not missed by the next gc with the usual grace."""
    with new(tmp_path / "work") as made:
        version(made, {"a": LARGE})
        version(made, {"a": "other"})
        made.delete("data:v0")
        assert made.gc(grace="0s").trashed_bytes > len(LARGE)
        assert made.gc().trashed_objects == 0
        write(made.root, {"data/a": "a third"})
        with inside(made.root):
            made.add()
        made.reset("data")
        assert made.gc(grace="1h").trashed_objects > 0


def test_many_small_packs_become_one(tmp_path):
    """Each run writes a pack of its own; gc puts them together, and every version is as it was."""
    made = new(tmp_path / "work")
    rng = random.Random(3)
    contents = [{f"f{i}": rng.randbytes(3000)} for i in range(70)]
    for files in contents:
        version(made, files)
    packs = made.avc_root / "packs"
    assert len(list(packs.iterdir())) >= 70
    made.gc(grace="0s")
    assert len(list(packs.iterdir())) == 1
    made.gc(grace="0s")  # the small ones leave the trash
    assert trash(made) == 0
    assert made.fsck(full=True).problems == ()
    for number in (0, 35, 69):
        made.get(f"data:v{number}", root=tmp_path / f"out{number}")
        wanted = {name: data for files in contents[: number + 1] for name, data in files.items()}
        assert {path.name: path.read_bytes() for path in (tmp_path / f"out{number}").iterdir()} == wanted
    version(made, {"last": "1"})
    made.gc(grace="0s")
    assert len(list(packs.iterdir())) >= 2  # a few small ones are left alone


def test_many_small_packs_and_what_is_dead_in_them(tmp_path):
    """What a dry run says of them is what then goes."""
    made = new(tmp_path / "work")
    rng = random.Random(4)
    for i in range(70):
        version(made, {"a": rng.randbytes(3000), f"b{i}": rng.randbytes(20_000)})
    for i in range(40):
        made.delete(f"data:v{i}")
    planned = made.gc(grace="0s", dry_run=True)
    done = made.gc(grace="0s")
    assert replace(planned, dry_run=False) == done
    assert done.trashed_bytes > 40 * 3000
    assert made.fsck(full=True).problems == ()
