"""``avc fsck REMOTE``: whatever happens to any file of a remote is found, and mended from a copy that has the bytes."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactvc.errors import BrokenChain
from artifactvc.ops import push
from artifactvc.sdk.repository import RemoteOptions, Repository
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


def large_file(made: Repository) -> Path:
    """The stored file of one larger object."""
    return next(path for path in files_of(remote_of(made)) if path.stat().st_size == len(LARGE))


def test_what_nobody_has_is_named_and_nothing_is_made_to_look_right(pushed, tmp_path):
    """Without the bytes the versions that suffer are named, nothing is condemned, and the log stays as it was."""
    spoil(large_file(pushed), None)
    bare = clone(remote_of(pushed), tmp_path / "bare")
    log = tree(remote_of(pushed) / "log")
    found = bare.fsck("origin", full=True, repair=True)
    assert not any(problem.repaired for problem in found.problems)
    kinds = [(problem.kind, problem.subject) for problem in found.problems]
    assert kinds[0][0] == "RemoteMissing"
    assert {kind for kind, _ in kinds[1:]} == {"MissingObject"}
    assert {subject for _, subject in kinds[1:]} <= {"demo/data:v0", "demo/data:v1", "demo/data:v2"}
    assert tree(remote_of(pushed) / "log") == log


def test_a_bad_pack_gives_its_sound_objects(pushed, tmp_path):
    """One damaged object of a pack: the others are taken from the pack itself, by who has only the damaged one."""
    pack = next(p for p in files_of(remote_of(pushed)) if p.suffix == ".pack" and b"one" in p.read_bytes())
    spoil(pack, pack.read_bytes().replace(b"one", b"0ne", 1))
    bare = clone(remote_of(pushed), tmp_path / "bare")
    assert [p for p in bare.fsck("origin", full=True, repair=True).problems if p.repaired] == []
    (bare.root / "same").mkdir()
    (bare.root / "same" / "bytes").write_text("one")
    with inside(bare.root):
        bare.add(["same"])
    assert [p for p in bare.fsck("origin", full=True, repair=True).problems if not p.repaired] == []
    assert bare.fsck("origin", full=True).problems == ()
    rebuilt(pushed, tmp_path / "fresh")


def test_another_remote_gives_what_is_not_here(pushed, tmp_path):
    pushed.remote_add("backup", str(tmp_path / "backup"), options=RemoteOptions())
    pushed.push("backup")
    bare = clone(remote_of(pushed), tmp_path / "bare")
    bare.remote_add("backup", str(tmp_path / "backup"), options=RemoteOptions())
    bare.fetch("backup")
    spoil(large_file(pushed), None)
    assert [p for p in bare.fsck("origin", full=True, repair=True).problems if not p.repaired] == []
    rebuilt(pushed, tmp_path / "fresh")


def test_a_log_that_was_rewound_and_went_on_is_not_mended(pushed, tmp_path):
    """Nobody here can tell which log is meant: it is said, and nothing is written."""
    remote = remote_of(pushed)
    spoil(max(path for path in (remote / "log").glob("*.json")), None)
    other = clone(remote, tmp_path / "other")
    version(other, {"z": "another"}, "another")
    other.push()
    before = tree(remote)
    found = pushed.fsck("origin", full=True, repair=True)
    assert [(problem.kind, problem.subject, problem.repaired) for problem in found.problems] == [
        ("BrokenChain", "entry 2", False)
    ]
    assert "the log was rewound, and went on" in found.problems[0].message
    assert tree(remote) == before


def test_another_remote_at_the_address_is_refused(pushed, tmp_path):
    shutil.rmtree(remote_of(pushed))
    origin(new(tmp_path / "other"), remote_of(pushed))
    with pytest.raises(BrokenChain, match="is not the one that was added"):
        pushed.fsck("origin", repair=True)


@pytest.mark.parametrize("exactly", [True, False])
def test_an_index_file_that_is_lost_everywhere_is_worked_out_again(pushed, tmp_path, exactly):
    """From the packs' own tables: the same bytes where that can be, else a new one and the lost one is condemned."""
    for kept in (pushed.avc_root / "remotes").glob("*/index"):
        shutil.rmtree(kept)
    index = files_of(remote_of(pushed) / "index")[0]
    data = index.read_bytes()
    spoil(index, None)
    if not exactly:
        (remote_of(pushed) / "packs" / index.name.rpartition("-")[0] / "more").write_bytes(b"of a push under way")
    assert [p for p in pushed.fsck("origin", full=True, repair=True).problems if not p.repaired] == []
    assert pushed.fsck("origin", full=True).problems == ()
    assert index.exists() == exactly
    if exactly:
        assert index.read_bytes() == data
    rebuilt(pushed, tmp_path / "fresh")


def test_a_push_that_comes_first_keeps_its_bytes(pushed, tmp_path, monkeypatch):
    """A clone pushes a version that relies on the bad file, just before it is condemned: it is looked after too."""
    spoil(large_file(pushed), b"bad")
    other = clone(remote_of(pushed), tmp_path / "other")
    version(other, {"new": "by another"}, "raced")
    create, raced = push.create_entry, []

    def late(remote, n, data):
        if not raced:
            raced.append(())  # the other's own entry is created in the same way
            raced[0] = other.push().versions
        return create(remote, n, data)

    monkeypatch.setattr(push, "create_entry", late)
    assert [p for p in pushed.fsck("origin", full=True, repair=True).problems if not p.repaired] == []
    assert raced == [("demo/data:v3",)]
    assert pushed.fsck("origin", full=True).problems == ()


@pytest.mark.parametrize("how", ["other", "cut"])
def test_a_checkpoint_that_is_not_its_entries_is_found_and_mended(pushed, how):
    """Of the smallest size, too: each is the exact bytes of its entries (protocol R4)."""
    checkpoint = remote_of(pushed) / "log" / "checkpoint" / "8" / f"{0:020d}"
    for i in range(8):
        pushed.tag("data:v0", [f"t{i}"])
        pushed.push()
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole.replace(b"t0", b"tx") if how == "other" else whole[:-10])
    (problem,) = pushed.fsck("origin").problems
    assert problem.subject == f"checkpoint 'log/checkpoint/8/{0:020d}'"
    assert [p.repaired for p in pushed.fsck("origin", repair=True).problems] == [True]
    assert checkpoint.read_bytes() == whole


def test_copies_kept_here_are_mended_from_the_remote(pushed):
    (log,) = (pushed.avc_root / "remotes").glob("*/log")
    spoil(log / f"{1:020d}.json", b"{}")
    (problem,) = pushed.fsck("origin", repair=True).problems
    assert (problem.subject, problem.repaired) == ("the copy kept here of entry 1", True)
    assert pushed.fsck("origin").problems == ()


def test_a_remote_that_can_only_be_read_is_only_checked(pushed):
    config = pushed.avc_root / "config.toml"
    config.write_text(config.read_text() + "read_only = true\n")
    made = reopen(pushed.root)
    spoil(large_file(made), None)
    found = made.fsck("origin", repair=True)
    assert {problem.repaired for problem in found.problems} == {False}
    assert "'origin' can only be read: nothing was mended there" in found.notes


@pytest.mark.servers
def test_the_same_over_s3(moto, tmp_path, monkeypatch):
    """A stored file and an entry removed from a bucket are found and mended."""
    for name, value in moto.env.items():
        monkeypatch.setenv(name, value)
    made = new(tmp_path / "work")
    origin(made, f"s3://{moto.bucket()}/team")
    version(made, CONTENTS[0], "first")
    made.push()
    assert made.fsck("origin", full=True).problems == ()
    transport = made.session.remote("origin").transport
    for file in [transport.list_files("packs")[0].name, transport.list_files("log")[0].name]:
        transport.remove(file)
    assert made.fsck("origin").problems
    assert [p for p in made.fsck("origin", full=True, repair=True).problems if not p.repaired] == []
    assert made.fsck("origin", full=True).problems == ()
