"""``avc fsck REMOTE``: whatever happens to any file of a remote is found, and mended from a copy that has the bytes."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactvc.sdk.repository import Repository
from tests.conftest import SOAK
from tests.support import clone, inside, new, origin, reopen, tree, version

LARGE = random.Random(5).randbytes(200_000)
CONTENTS = [
    {"a": "one", "deep/b": "two", "large": LARGE, **{f"many/{i:02}": f"{i}" * 50 for i in range(30)}},
    {"a": "three", "deep/b": None, "other": LARGE[::-1]},
    {"c": "four"},
]


WAYS = ["gone", "empty", "cut", "flip", "longer", "other"]


def build(place: Path) -> Repository:
    """A repository with three versions, pushed one by one to ``remote`` beside it."""
    made = new(place / "work")
    origin(made, place / "remote")
    for number, files in enumerate(CONTENTS):
        version(made, files, f"number {number}")
        made.push()
    return made


@pytest.fixture(scope="module")
def pattern(tmp_path_factory) -> Path:
    """What ``build`` makes, to be copied: each test damages its own."""
    place = tmp_path_factory.mktemp("pattern")
    build(place).close()
    return place


def copy(pattern: Path, place: Path) -> Repository:
    """A copy of *pattern* in *place*, whose origin is the copied remote."""
    shutil.copytree(pattern, place, symlinks=True, dirs_exist_ok=True)
    config = place / "work" / ".artifacts" / "config.toml"
    config.write_text(config.read_text().replace(f'"{pattern}/remote"', f'"{place}/remote"'))
    return reopen(place / "work")


@pytest.fixture
def pushed(pattern, tmp_path) -> Repository:
    return copy(pattern, tmp_path / "own")


def remote_of(made: Repository) -> Path:
    return made.root.parent / "remote"


def files_of(remote: Path) -> list[Path]:
    """Every file of the remote that is content."""
    found = (path for path in remote.rglob("*") if path.is_file())
    return sorted(path for path in found if path.relative_to(remote).parts[0] not in ("tmp", "probe"))


def spoil(path: Path, data: bytes | None) -> None:
    """Replace a file by *data*, or remove it."""
    path.chmod(0o600)
    path.unlink()
    if data is not None:
        path.write_bytes(data)


def damaged(data: bytes, how: str, where: int) -> bytes | None:
    """*data* damaged in one of the ways in which files are damaged."""
    at = where % max(len(data), 1)
    if how == "flip":
        return data[:at] + bytes([data[at] ^ (1 << where % 8)]) + data[at + 1 :]
    return {"gone": None, "empty": b"", "cut": data[:at], "longer": data + b"x", "other": b"not this" * 20}[how]


def rebuilt(made: Repository, place: Path) -> None:
    """Every version comes out of a fresh clone of the remote as it was put in."""
    fresh = clone(remote_of(made), place)
    expected: dict[str, bytes | str] = {}
    for number, files in enumerate(CONTENTS):
        for name, content in files.items():
            if content is None:
                expected.pop(name)
            else:
                expected[name] = content.encode() if isinstance(content, str) else content
        target = place / f"out{number}"
        with inside(place):
            fresh.checkout(f"data:v{number}", target)
        assert tree(target) == expected
    assert [info.description for info in fresh.log("data")] == ["number 2", "number 1", "number 0"]
    fresh.close()


def test_a_sound_remote_is_sound_and_nothing_changes_there(pushed):
    before = tree(remote_of(pushed))
    for full in (False, True):
        found = pushed.fsck("origin", full=full, repair=True)
        assert (found.problems, found.versions, found.remote) == ((), 3, "origin")
        assert found.notes == ("the log of 'origin' was read to entry 2",)
    assert tree(remote_of(pushed)) == before
    assert list(pushed.session.avc.tmp.iterdir()) == []


@pytest.mark.parametrize("how", WAYS)
def test_any_damage_to_any_file_is_found_and_mended(pushed, tmp_path, how):
    """With all bytes here, ``--repair`` makes damage to each file good: ``--full`` is silent then, versions rebuild."""
    for position, path in enumerate(files_of(remote_of(pushed))):
        spoil(path, damaged(path.read_bytes(), how, 37 * (position + 1)))
        found = pushed.fsck("origin", full=True, repair=True)
        assert found.problems, f"{path} {how}: not found"
        assert [p for p in found.problems if not p.repaired] == [], path
    assert pushed.fsck("origin", full=True).problems == ()
    rebuilt(pushed, tmp_path / "fresh")


@given(data=st.data())
@settings(max_examples=6 if SOAK == 1 else 20 * SOAK)
def test_damage_of_any_kind_anywhere_is_found(pattern, tmp_path_factory, data):
    """One to three files damaged at once: found, or not needed; mended from here, and every version rebuilds."""
    place = tmp_path_factory.mktemp("damage")
    made = copy(pattern, place)
    names = [path.relative_to(remote_of(made)) for path in files_of(remote_of(made))]
    for name in data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)):
        path = remote_of(made) / name
        how = data.draw(st.sampled_from(WAYS))
        spoil(path, damaged(path.read_bytes(), how, data.draw(st.integers(0, 10**6))))
    assert made.fsck("origin", full=True).problems
    mended = made.fsck("origin", full=True, repair=True)
    assert [p for p in mended.problems if not p.repaired] == []
    assert made.fsck("origin", full=True).problems == ()
    made.close()
    rebuilt(made, place / "fresh")
    shutil.rmtree(place)
