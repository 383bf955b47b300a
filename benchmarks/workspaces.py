"""Workspaces and peers' repositories that topics prepare, and peers' command lines."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.harness import Bench, fresh


def workspace(bench: Bench, name: str, fixture: Path) -> Path:
    """Return a fresh directory *name* that holds a copy of *fixture* as ``data``; the copy is kept between calls."""
    place = bench.work / name
    if not (place / ".complete").exists():
        fresh(place, make=True)
        shutil.copytree(fixture, place / "data")
        (place / ".complete").touch()
    return place


def init(bench: Bench, place: Path) -> None:
    """Make *place* an empty repository of avc, whatever it was before."""
    fresh(place / ".artifacts")
    (place / "artifacts.toml").unlink(missing_ok=True)
    (place / ".avcignore").unlink(missing_ok=True)
    bench.run(bench.avc("init"), place)


def committed(bench: Bench, place: Path) -> None:
    """Make *place* a repository whose ``data`` is version 0 of the artifact ``data``."""
    init(bench, place)
    bench.run(bench.avc("add", "data"), place)
    bench.run(bench.avc("commit", "-m", "first"), place)


def git_committed(bench: Bench, place: Path) -> None:
    """Make *place* a Git repository with ``data`` committed and its index fresh."""
    fresh(place / ".git")
    bench.run(["git", "init", "-q"], place)
    bench.run(["git", "add", "data"], place)
    bench.run(["git", "-c", "user.name=b", "-c", "user.email=b@localhost", "commit", "-q", "-m", "first"], place)
    bench.run(["git", "status"], place)


def restic_init(bench: Bench, name: str) -> Path:
    """Return a fresh, empty restic repository."""
    repository = fresh(bench.work / name)
    fresh(Path(bench.env["RESTIC_CACHE_DIR"]))
    bench.run(restic(repository, "init"), bench.work)
    return repository


def restic(repository: Path | str, *args: str) -> list[str]:
    """Return restic's command line on *repository*."""
    return ["restic", "--repo", str(repository), "--quiet", *args]
