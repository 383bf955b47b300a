"""A disk that is really full: a small file system of the test's own, filled by the command itself."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.helpers import Answer, Files, avc, call, done, fill, holds, made, said_cleanly, some_files, sound

SIZE = 6 << 20

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mount") is None,
    reason="only root on Linux can mount a small file system",
)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", place], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount here: {mounted.stderr.decode(errors='replace').strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def files() -> Files:
    return some_files(random.Random(7))


def _full(answer: Answer, where: Path) -> None:
    said_cleanly(answer)
    assert answer.err.startswith(f"error: no space left on the disk of '{where}"), answer.err
    assert "hint: free some space and run the command again\n" in answer.err


@pytest.mark.parametrize("big", [{"one": 8 << 20}, {f"{n:04}": 8000 for n in range(1000)}], ids=["large", "small"])
def test_add_on_a_full_disk(disk: Path, tmp_path: Path, files: Files, big: dict[str, int]) -> None:
    """What was committed stays whole; when there is room again, the same command works."""
    ws = made(disk / "ws")
    fill(ws / "d", files)
    done(ws, "add", "d")
    done(ws, "commit")
    outside, rng = tmp_path / "outside", random.Random(1)
    fill(outside, {name: rng.randbytes(size) for name, size in big.items()})
    answer = avc(ws, "put", outside, "--name", "big")
    _full(answer, disk)
    sound(ws)
    holds(ws, "d:v0", files)
    subprocess.run(["mount", "-o", f"remount,size={8 * SIZE}", disk], check=True)
    done(ws, "put", outside, "--name", "big")
    sound(ws)
    assert call(ws, "ls", "big:v0").code == 0


def test_checkout_to_a_full_disk(disk: Path, tmp_path: Path) -> None:
    """The destination is full: said in one line, the repository is as it was, and a second try works."""
    ws = made(tmp_path / "ws")
    rng = random.Random(2)
    files = {f"{n:02}": rng.randbytes(500_000) for n in range(16)}
    fill(ws / "d", files)
    done(ws, "add", "d")
    done(ws, "commit")
    _full(avc(ws, "checkout", "d:v0", disk / "out"), disk)
    sound(ws)
    shutil.rmtree(disk / "out")
    subprocess.run(["mount", "-o", f"remount,size={4 * SIZE}", disk], check=True)
    done(ws, "checkout", "d:v0", disk / "out")
    holds(ws, "d:v0", files)


def test_push_to_a_full_disk(disk: Path, tmp_path: Path) -> None:
    """No entry appears on the remote without its bytes; a push with room lands everything once."""
    ws = made(tmp_path / "ws")
    files = {"large": random.Random(3).randbytes(8 << 20)}
    fill(ws / "d", files)
    done(ws, "add", "d")
    done(ws, "commit")
    done(ws, "remote", "add", "origin", disk / "remote")
    _full(avc(ws, "push"), disk)
    assert list((disk / "remote" / "log").glob("*.json")) == []
    subprocess.run(["mount", "-o", f"remount,size={4 * SIZE}", disk], check=True)
    done(ws, "push")
    done(tmp_path, "clone", disk / "remote", tmp_path / "clone")
    done(tmp_path / "clone", "pull", "origin", "d:v0")
    holds(tmp_path / "clone", "d:v0", files)
