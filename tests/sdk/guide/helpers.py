"""What the chapters share: versions made of dictionaries, scripts run as people run them, the log counted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from blake3 import blake3

import artifactvc as avc
from artifactvc.core import manifest
from artifactvc.core.model import Entry
from artifactvc.sdk.repository import Repository

ENTITY, PROJECT = "ada", "workshop"

LARGE = 200 * 1024
"""Bytes of a file that has an object file of its own, which can be counted and lost."""

Files = Mapping[str, str | bytes]


def fill(artifact: Any, files: Files) -> Any:
    """*artifact*, with *files* written into it."""
    for path, content in files.items():
        with artifact.new_file(path, mode="xb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
    return artifact


def draft(files: Files, name: str = "data", kind: str = "dataset", **rest: Any) -> Any:
    """A draft that holds *files*."""
    return fill(avc.Artifact(name, kind, **rest), files)


def log(files: Files, name: str = "data", kind: str = "dataset", *, project: str | None = None, **rest: Any) -> Any:
    """The version that a run of its own logs with *files* in it; *rest* goes to ``log_artifact``."""
    with avc.init(project=project) as run:
        return run.log_artifact(draft(files, name, kind), **rest).wait()


def logged(artifact: Any, **rest: Any) -> Any:
    """The version that a run of its own makes of the draft *artifact*."""
    with avc.init() as run:
        return run.log_artifact(artifact, **rest).wait()


def paths(artifact: Any) -> list[str]:
    """The paths inside an artifact, in order."""
    return sorted(artifact.manifest.entries)


def names(artifacts: Iterable[Any]) -> list[str]:
    """``name:vN`` of each."""
    return [artifact.name for artifact in artifacts]


def ids(runs: Iterable[Any]) -> list[str]:
    """The runs' ids, in order."""
    return sorted(run.id for run in runs)


def path_of(run: Any) -> str:
    """``entity/project/id`` as one string."""
    return f"{run.entity}/{run.project}/{run.id}"


def runs_of(project: str = PROJECT) -> list[Any]:
    """All runs of a project that are recorded."""
    return list(avc.Api().runs(f"{ENTITY}/{project}"))


def digest(content: str | bytes) -> str:
    """The digest of an object with these bytes."""
    return blake3(content if isinstance(content, bytes) else content.encode()).hexdigest()


def manifest_digest(files: Files) -> str:
    """The digest of the manifest of *files*, worked out from the format alone."""
    sized = {path: content if isinstance(content, bytes) else content.encode() for path, content in files.items()}
    entries = [Entry(path, "f", len(content), digest(content)) for path, content in sized.items()]
    nodes: list[bytes] = []

    def put(node: bytes) -> str:
        nodes.append(node)
        return digest(node)

    return manifest.build(entries, put).digest


def said(error: BaseException) -> str:
    """All that an error tells people: its message, and the next step."""
    return f"{error} {getattr(error, 'hint', '')}"


def object_files(place: Path) -> list[str]:
    """The digests of the larger objects that are in the store of the repository in *place*."""
    return sorted(
        path.parent.name + path.name for path in (place / ".artifacts" / "objects").glob("*/*") if path.is_file()
    )


def log_entries(place: Path) -> int:
    """How many entries the repository's own log has."""
    return sum(1 for _ in (place / ".artifacts" / "log").glob("*.json"))


def stamps(root: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of change of every file below *root*: equal where nothing was written again."""
    return {
        path.relative_to(root).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file()
    }


def script(place: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Run *text* as a script of its own in *place*; it must end well."""
    done = subprocess.run([sys.executable, "-c", text], cwd=place, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done


def command(place: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run ``avc`` with *argv* in *place*, whatever comes of it."""
    line = [sys.executable, "-m", "artifactvc", *argv]
    return subprocess.run(line, cwd=place, capture_output=True, text=True, timeout=120)


def expire(now: str | None = None) -> Any:
    """Delete the versions whose time is over at *now*; what the repository says of it."""
    with Repository.open() as repository:
        return (repository.expire(now=now) if now else repository.expire()).versions


def default_ttl(ttl: str | None) -> None:
    """Let the repository's default time to live be *ttl*."""
    with Repository.open() as repository:
        repository.set_default_ttl(ttl)


def collect() -> None:
    """Free what nothing needs, without the usual grace: once into the trash, once out of it."""
    with Repository.open() as repository:
        repository.gc(grace="0s")
        repository.gc(grace="0s")
