"""What crash and race tests share: `avc` as a process and in this one, files with known bytes, and what must hold.

A process costs 0.2 s, most of it start-up: what is killed or raced is a process, what only
looks afterwards (``fsck``, ``checkout``) runs in this one through the same ``main.run``.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from artifactvc.cli.main import run

AVC = os.fspath(Path(sys.executable).with_name("avc"))
#: Larger than what goes to packs, so that it is stored as a file of its own.
LARGE = 300_000

Files = dict[str, bytes]


class Answer(NamedTuple):
    """What one command did. A command that a signal ended has a negative code."""

    code: int
    out: str
    err: str


# ---- running ---------------------------------------------------------------------------------


def environment() -> dict[str, str]:
    """The environment of a command: imports write nothing, so that every write that is seen is the command's."""
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}


def start(workspace: Path, *arguments: str | Path, before: Sequence[str] = ()) -> subprocess.Popen[str]:
    """Start ``avc`` in *workspace*; *before* is a program that runs it, such as strace."""
    return subprocess.Popen(
        [*before, AVC, *map(os.fspath, arguments)],
        cwd=workspace,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str], timeout: float = 120) -> Answer:
    """Wait for a command that was started."""
    try:
        out, err = process.communicate(timeout=timeout)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    return Answer(process.returncode, out, err)


def avc(workspace: Path, *arguments: str | Path, before: Sequence[str] = ()) -> Answer:
    """Run ``avc`` as a process of its own."""
    return ended(start(workspace, *arguments, before=before))


def call(workspace: Path, *arguments: str | Path) -> Answer:
    """Run the same command in this process."""
    out, err = (io.TextIOWrapper(io.BytesIO(), write_through=True) for _ in range(2))
    here, thresholds = os.getcwd(), gc.get_threshold()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(["-C", os.fspath(workspace), *map(os.fspath, arguments)])
    finally:
        os.chdir(here)
        gc.set_threshold(*thresholds)
    out_bytes, err_bytes = (stream.buffer.getvalue() for stream in (out, err))  # type: ignore[attr-defined]
    return Answer(code, out_bytes.decode(errors="replace"), err_bytes.decode())


def done(workspace: Path, *arguments: str | Path) -> str:
    """Run a command in this process that must succeed; what it printed."""
    answer = call(workspace, *arguments)
    assert answer.code == 0, f"avc {' '.join(map(str, arguments))}: {answer}"
    return answer.out


def results(workspace: Path, *arguments: str | Path) -> list[Any]:
    """The results of a command that must succeed, from its JSON."""
    return [json.loads(line)["result"] for line in done(workspace, *arguments, "--json").splitlines()]


# ---- files -------------------------------------------------------------------------------------


def fill(directory: Path, files: Mapping[str, bytes]) -> None:
    """Let *directory* hold exactly *files*; those that are right already are not touched."""
    for path, data in files.items():
        target = directory / path
        if target.is_file() and target.read_bytes() == data:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    for path in read_files(directory).keys() - files.keys():
        (directory / path).unlink()


def read_files(directory: Path) -> Files:
    """Every file below *directory* with its bytes."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def some_files(rng: random.Random, *, count: int = 4, large: bool = True) -> Files:
    """A few small files, and one that is stored as an object of its own."""
    files = {f"f{i}": rng.randbytes(rng.randrange(1, 400)) for i in range(count)}
    files["sub/deep"] = rng.randbytes(50)
    if large:
        files["large"] = rng.randbytes(LARGE)
    return files


def repoint(root: Path, was: Path) -> None:
    """Let the repository ``ws`` below *root*, a copy of that below *was*, name the remote beside it."""
    for file in (root / "ws" / ".artifacts" / "config.toml", root / "ws" / "artifacts.toml"):
        if file.exists():
            file.write_text(file.read_text().replace(os.fspath(was), os.fspath(root)))


def _memory() -> str | None:
    """The directory for files in memory, if it has a gigabyte."""
    with contextlib.suppress(OSError):
        found = os.statvfs("/dev/shm")
        if os.access("/dev/shm", os.W_OK) and found.f_bavail * found.f_frsize > 1 << 30:
            return "/dev/shm"
    return None


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A directory for a moment, in memory where there is room: what only looks need not wait for a disk."""
    path = Path(tempfile.mkdtemp(prefix="avc-faults-", dir=_memory()))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


# ---- what must hold ------------------------------------------------------------------------------


def made(workspace: Path, project: str = "p") -> Path:
    """A repository in *workspace*, which is made if need be."""
    workspace.mkdir(parents=True, exist_ok=True)
    done(workspace, "init", "--project", project)
    return workspace


def sound(workspace: Path) -> None:
    """``fsck --full`` passes."""
    answer = call(workspace, "fsck", "--full")
    assert answer.code == 0, f"fsck --full: {answer}"


def versions(workspace: Path, name: str) -> dict[str, str]:
    """Number (as shown) -> digest of the live versions of artifact *name*, oldest first; empty if there is none."""
    if not any(row["name"] == name for row in results(workspace, "ls")):
        return {}
    rows = results(workspace, "log", name)
    numbers = {row["version"]: row["digest"] for row in reversed(rows)}
    assert len(numbers) == len(rows), f"a number was given twice: {rows}"
    return numbers


def holds(workspace: Path, ref: str, files: Files) -> None:
    """A checkout of *ref* into a fresh directory is *files*, byte for byte."""
    with scratch() as place:
        target = place / "out"
        done(workspace, "checkout", ref, target)
        found = read_files(target) if target.is_dir() else {}
        assert found.keys() == files.keys(), f"{ref}: {sorted(found)} instead of {sorted(files)}"
        different = [path for path in files if found[path] != files[path]]
        assert not different, f"{ref}: other bytes in {different}"


def drafts(workspace: Path) -> dict[str, str]:
    """Artifact -> digest of its draft's manifest."""
    found = {}
    for path in (workspace / ".artifacts" / "drafts").glob("*.json"):
        body = json.loads(path.read_bytes())
        found[body["name"]] = body["root"]
    return found


def said_cleanly(answer: Answer) -> None:
    """A command that failed said so in one line (and a hint), and is no bug."""
    lines = answer.err.splitlines()
    assert answer.code == 1, answer
    assert "Traceback" not in answer.err, answer.err
    assert "unexpected" not in answer.err, answer.err
    assert [line[:7] for line in lines if not line.startswith(("hint: ", "note: "))] == ["error: "], answer.err
