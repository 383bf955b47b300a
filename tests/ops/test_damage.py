"""Damaged bytes of every kind: named, never handed out as right, mended where a sound copy is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from artifactvc.errors import BadLogEntry, BrokenChain, Corrupt, DigestMismatch, MissingObject, NewerFormat
from artifactvc.sdk.repository import Repository
from tests.support import forget_index, inside, new, origin, reopen, tree, version, write

LARGE = os.urandom(200_000)


@pytest.fixture
def pushed(tmp_path) -> Path:
    """A repository with two pushed versions, closed."""
    repository = new(tmp_path / "here")
    origin(repository, tmp_path / "remote")
    version(repository, {"a": "small one", "large": LARGE}, "first")
    version(repository, {"b": "another"}, "second")
    repository.push()
    repository.close()
    return tmp_path / "here"


def spoil(path: Path, at: int = 0, data: bytes = b"\xff\xfe\xfd") -> None:
    path.chmod(0o644)
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)


def objects(where: Path, kind: str) -> list[Path]:
    return sorted(path for path in (where / ".artifacts" / kind).rglob("*") if path.is_file())


def kinds(repository: Repository, **options: bool) -> list[tuple[str, bool]]:
    return [(problem.kind, problem.repaired) for problem in repository.fsck(**options).problems]


def test_a_sound_repository_has_no_problem(pushed):
    found = reopen(pushed).fsck(full=True)
    assert found.problems == ()
    assert found.versions == 2


def test_a_damaged_large_object(pushed, tmp_path):
    (path,) = objects(pushed, "objects")
    spoil(path, 100)
    repository = reopen(pushed)
    with inside(tmp_path), pytest.raises(DigestMismatch, match=f"damaged object '{path.parent.name + path.name:.12}'"):
        repository.checkout("data:v1", tmp_path / "out")
    assert not (tmp_path / "out" / "large").exists()
    assert kinds(repository, full=True) == [("DigestMismatch", False)]
    assert kinds(repository, full=True, repair=True) == [("DigestMismatch", True)]
    assert kinds(repository, full=True) == []
    repository.checkout("data:v1", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(pushed / "data")


def test_a_damaged_object_in_a_pack(pushed, tmp_path):
    for path in objects(pushed, "packs"):
        spoil(path, 9)
    repository = reopen(pushed)
    with pytest.raises((DigestMismatch, Corrupt)):
        repository.checkout("data:v1", tmp_path / "out")
    assert all(kind == "DigestMismatch" for kind, _ in kinds(repository, full=True))
    repaired = kinds(repository, full=True, repair=True)
    assert repaired
    assert all(done for _, done in repaired)
    assert kinds(reopen(pushed), full=True) == []
    reopen(pushed).checkout("data:v1", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(pushed / "data")


def test_without_a_remote_what_is_damaged_is_said_and_stays_said(tmp_path):
    repository = new(tmp_path / "here")
    version(repository, {"large": LARGE})
    (path,) = objects(tmp_path / "here", "objects")
    spoil(path)
    assert kinds(repository, full=True, repair=True) == [("DigestMismatch", False)]
    with pytest.raises((MissingObject, DigestMismatch)):
        repository.checkout("data:v0", tmp_path / "out")


def test_adding_the_file_again_mends_the_object(tmp_path):
    repository = new(tmp_path / "here")
    version(repository, {"large": LARGE})
    (path,) = objects(tmp_path / "here", "objects")
    spoil(path)
    assert kinds(repository, full=True, repair=True) == [("DigestMismatch", False)]
    repository.close()
    again = reopen(tmp_path / "here")
    with inside(tmp_path / "here"):
        again.add(["data"])
    assert kinds(again, full=True) == []


def test_a_damaged_pack_table(pushed):
    for path in objects(pushed, "packs"):
        spoil(path, path.stat().st_size - 10)
    forget_index(pushed)
    repository = reopen(pushed)
    found = kinds(repository, full=True)
    assert found
    assert not any(done for _, done in found)
    assert all(done for _, done in kinds(repository, full=True, repair=True))
    assert kinds(reopen(pushed), full=True) == []


@pytest.mark.parametrize(
    ("spoiled", "error", "message"),
    [
        (b"not json", BadLogEntry, "log entry"),
        (b"", BadLogEntry, "log entry"),
        (b'{"n": 1, "n": 2}', BadLogEntry, "log entry"),
    ],
)
def test_a_damaged_log_entry_stops_every_command(pushed, spoiled, error, message):
    path = objects(pushed, "log")[1]
    path.chmod(0o644)
    path.write_bytes(spoiled)
    forget_index(pushed)
    with pytest.raises(error, match=message) as caught:
        list(reopen(pushed).log("data"))
    assert caught.value.message.count("\n") == 0
    assert caught.value.hint
    assert ("BadLogEntry", False) in kinds(reopen(pushed))


def test_a_log_entry_that_was_rewritten_breaks_the_chain(pushed):
    path = objects(pushed, "log")[0]
    text = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(text.replace(b'"author":"tester"', b'"author":"jester"'))
    assert text != path.read_bytes()
    forget_index(pushed)
    with pytest.raises(BrokenChain):
        list(reopen(pushed).log("data"))
    assert kinds(reopen(pushed))


def test_a_log_with_a_hole_is_not_read_past_it(pushed):
    objects(pushed, "log")[0].unlink()
    forget_index(pushed)
    assert kinds(reopen(pushed)), "fsck names it"


def test_a_damaged_draft_is_named_and_stops_gc(pushed):
    write(pushed, {"data/new": "n"})
    repository = reopen(pushed)
    with inside(pushed):
        repository.add(["data"])
    (draft,) = objects(pushed, "drafts")
    draft.write_bytes(b"{")
    with pytest.raises(Corrupt, match="draft 'w-"):
        repository.gc(grace="1s")
    with pytest.raises(Corrupt, match="draft 'w-"):
        repository.status()
    assert ("Corrupt", False) in kinds(repository)


def test_damaged_settings_are_named(pushed):
    (pushed / ".artifacts" / "config.toml").write_text("project = \n")
    with pytest.raises(Corrupt, match="is not valid TOML"):
        reopen(pushed)


@pytest.mark.parametrize("deed", ["read", "write", "delete"])
def test_features_of_a_newer_avc_stop_what_they_stand_for(pushed, deed):
    path = pushed / ".artifacts" / "config.toml"
    path.write_text(path.read_text().replace(f"{deed} = []", f'{deed} = ["teleport"]'))
    message = "was written by a newer avc .*feature 'teleport'"
    if deed == "read":
        with pytest.raises(NewerFormat, match=message):
            reopen(pushed)
        return
    repository = reopen(pushed)
    assert [info.version for info in repository.log("data")] == ["v1", "v0"], "reading goes on"
    write(pushed, {"data/new": "n"})
    with inside(pushed):
        if deed == "write":
            with pytest.raises(NewerFormat, match=message):
                repository.add(["data"])
            with pytest.raises(NewerFormat, match=message):
                repository.put("data", name="x")
            before = sorted(objects(pushed, "log"))
            for names_only in (
                lambda: repository.alias("data:v0", ["best"]), lambda: repository.tag("data:v0", ["t"]),
                lambda: repository.rename("data", "other"), lambda: repository.delete("data:v0"),
            ):  # fmt: skip
                with pytest.raises(NewerFormat, match=message):
                    names_only()
            assert sorted(objects(pushed, "log")) == before
        else:
            repository.add(["data"])
            with pytest.raises(NewerFormat, match=message):
                repository.gc()


def test_a_repository_of_a_newer_format_is_not_touched(pushed):
    path = pushed / ".artifacts" / "config.toml"
    path.write_text(path.read_text().replace("format = 1", "format = 2"))
    with pytest.raises(NewerFormat, match=r"was written by a newer avc \(needs format 2\)") as caught:
        reopen(pushed)
    assert caught.value.hint == "upgrade artifactvc"


def test_a_read_only_repository_can_be_read(pushed, tmp_path):
    """A cluster mount: bind-mounted read-only where we may, else by its mode."""
    if os.geteuid() == 0:
        import subprocess

        mounted = tmp_path / "mounted"
        mounted.mkdir()
        done = subprocess.run(["mount", "--bind", pushed, mounted], capture_output=True)
        if done.returncode:
            pytest.skip("no right to mount here")
        try:
            subprocess.run(["mount", "-o", "remount,ro,bind", mounted], check=True)
            _read_only(mounted, tmp_path / "out")
        finally:
            subprocess.run(["umount", mounted], check=True)
    else:
        (pushed / ".artifacts").chmod(0o555)
        _read_only(pushed, tmp_path / "out")
        (pushed / ".artifacts").chmod(0o755)


def _read_only(where: Path, out: Path) -> None:
    from artifactvc.errors import AvcError

    repository = reopen(where)
    assert [info.version for info in repository.log("data")] == ["v1", "v0"]
    assert b"".join(repository.read("data:v1", "b")) == b"another"
    assert repository.status().clean
    repository.checkout("data:v1", out)
    assert tree(out) == tree(where / "data")
    with inside(where), pytest.raises(AvcError) as caught:
        repository.alias("data:v0", ["x"])
    assert "Read-only" in caught.value.message or "ermission" in caught.value.message
    repository.close()
