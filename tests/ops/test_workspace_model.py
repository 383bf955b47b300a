"""add, status, commit and checkout against a naive model: whatever was done before, they see what is there.

The quick ways (rows of the stat cache that stand for a manifest, directories passed over
unread) must never be told from the slow one by their answers.
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from artifactvc.errors import UnsafeLink, WouldOverwrite
from artifactvc.sdk.repository import Repository
from tests.support import forget_index, inside, new, reopen, tree

NAMES = ("a", "b", "a-b", "c.txt", "ä")
Snapshot = dict[str, bytes | str]


def some_path(rng: random.Random) -> str:
    return "/".join(rng.choice(NAMES) for _ in range(rng.randint(1, 3)))


def change(root: Path, rng: random.Random) -> None:
    """One thing that people do to files."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    path = root / some_path(rng)
    match rng.choice(("write", "write", "same size", "touch", "remove", "rename", "mode", "link", "swap", "directory")):
        case "write":
            _clear_way(root, path)
            path.write_bytes(rng.randbytes(rng.choice((0, 5, 5, 3000, 140_000))))
        case "same size" if files:
            chosen = rng.choice(files)
            old = chosen.stat()
            chosen.write_bytes(rng.randbytes(old.st_size))
            if rng.random() < 0.5:
                os.utime(chosen, ns=(old.st_atime_ns, old.st_mtime_ns))
        case "touch" if files:
            os.utime(rng.choice(files))
        case "remove" if files:
            rng.choice(files).unlink()
        case "rename" if files and not path.exists():
            _clear_way(root, path)
            chosen = rng.choice(files)
            if chosen.exists() and chosen not in path.parents:
                chosen.rename(path)
        case "mode" if files:
            chosen = rng.choice(files)
            chosen.chmod(chosen.stat().st_mode ^ 0o111)
        case "link":
            _clear_way(root, path)
            path.symlink_to(rng.choice(NAMES))
        case "swap" if path.is_dir():
            shutil.rmtree(path)
            path.write_bytes(b"was a directory")
        case "directory" if files:
            chosen = rng.choice(files)
            chosen.unlink()
            chosen.mkdir()
            (chosen / "inside").write_bytes(b"was a file")


def _clear_way(root: Path, path: Path) -> None:
    for parent in reversed(path.parents):
        if root in parent.parents and (parent.is_symlink() or parent.is_file()):
            parent.unlink()
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
    path.parent.mkdir(parents=True, exist_ok=True)


def differences(before: Snapshot, after: Snapshot) -> dict[str, str]:
    """What a naive comparison says."""
    found = dict.fromkeys(before.keys() - after.keys(), "removed")
    found |= dict.fromkeys(after.keys() - before.keys(), "added")
    return found | {path: "modified" for path in before.keys() & after.keys() if before[path] != after[path]}


def told(repository: Repository) -> tuple[dict[str, str], dict[str, str]]:
    """What ``status`` says: staged, and not staged."""
    found = repository.status(["data"]).artifacts[0]
    unstaged = {c.path: "added" if c.status == "untracked" else c.status for c in found.unstaged}
    return {c.path: c.status for c in found.staged}, unstaged


@pytest.mark.parametrize("number", range(12))
def test_every_answer_is_that_of_a_naive_comparison(tmp_path, rng, number, soak):
    repository = new(tmp_path / "w", {"data/a/first": "1"})
    root = tmp_path / "w" / "data"
    committed: dict[str, Snapshot] = {}
    with inside(tmp_path / "w"):
        repository.add(["data"])
        staged, base = tree(root), {}
        for step in range(20 * soak):
            for _ in range(rng.randint(0, 3)):
                change(root, rng)
            if rng.random() < 0.2:  # the next command is another process, perhaps without an index
                repository.close()
                if rng.random() < 0.3:
                    forget_index(tmp_path / "w")
                repository = reopen(tmp_path / "w")
            context = f"step {step} of {number}"
            now = tree(root)
            assert told(repository) == (differences(base, staged), differences(staged, now)), context
            match rng.choice(("add", "add part", "commit", "checkout", "look", "reset")):
                case "add":
                    repository.add(["data"])
                    staged = now
                case "add part":
                    inner = sorted({path.partition("/")[0] for path in now})
                    if inner:
                        chosen = rng.choice(inner)
                        repository.add([f"data/{chosen}"])
                        kept = {p: c for p, c in staged.items() if p != chosen and not p.startswith(f"{chosen}/")}
                        staged = kept | {p: c for p, c in now.items() if p == chosen or p.startswith(f"{chosen}/")}
                case "commit":
                    done = repository.commit(["data"])
                    if done and done[0].version:
                        committed[done[0].version] = staged
                        base = staged
                case "checkout" if committed:
                    version = rng.choice(sorted(committed))
                    try:
                        repository.checkout(f"data:{version}", force=True)
                    except (WouldOverwrite, UnsafeLink):  # a directory of files that nobody has stored is in the way
                        assert tree(root) == now, context
                        continue
                    base = staged = committed[version]
                    there = tree(root)
                    assert {p: there.get(p) for p in base} == base, context
                case "reset":
                    repository.reset("data")
                    staged = base
            assert told(repository) == (differences(base, staged), differences(staged, tree(root))), context
    assert repository.fsck(full=True).problems == ()
    repository.close()


def test_checking_out_every_version_gives_it_back(tmp_path, rng):
    """Forwards, backwards, at random: always exactly the directory that was committed."""
    repository = new(tmp_path / "w", {"data/x": "1"})
    root, committed = tmp_path / "w" / "data", {}
    with inside(tmp_path / "w"):
        for _ in range(12):
            for _ in range(4):
                change(root, rng)
            repository.add(["data"])
            done = repository.commit(["data"])
            if done and done[0].version:
                committed[done[0].version] = tree(root)
        for version in [*sorted(committed), *sorted(committed, reverse=True), *rng.choices(sorted(committed), k=20)]:
            repository.checkout(f"data:{version}")
            assert tree(root) == committed[version], version
            assert repository.status().clean
