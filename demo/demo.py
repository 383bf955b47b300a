"""The whole way once, on real files: ``make demo``.

Takes this Python's standard library and a binary of 50 MB or more, makes two
versions of each, pushes them to a directory, clones that, rebuilds both versions
from the clone and compares them with ``diff -r`` to copies taken on the way.
Everything happens in a temporary directory, through the `avc` command alone.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

BINARY_AT_LEAST = 50_000_000
_SHOWN = 6  # lines of a command's output


def main() -> int:
    """Run the demo; 0 if every version came back as it was."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="avc-demo-") as name:
        here = Path(name)
        project, remote, clone, kept = here / "project", here / "remote", here / "clone", here / "kept"
        for directory in (project, remote, kept):
            directory.mkdir()
        gather(project)
        record(project, remote, kept)
        avc(here, "clone", str(remote), clone.name)
        for number in ("v0", "v1"):
            avc(clone, "pull", "origin", f"stdlib:{number}", f"weights:{number}")
            for artifact in ("stdlib", "weights"):
                avc(clone, "checkout", f"{artifact}:{number}", f"{number}/{artifact}")
        avc(clone, "fsck", "--full")
        differing = [number for number in ("v0", "v1") if not same(kept / number, clone / number)]
        files, size = count(kept)
        stored = count(remote)[1]
    if differing:
        print(f"demo: {', '.join(differing)} did not come back as it was")
        return 1
    print(
        f"demo: 2 versions of 2 artifacts ({files:,} files, {size:,} bytes) added, committed, pushed "
        f"({stored:,} bytes stored), cloned, checked out and equal by diff -r, in {time.perf_counter() - start:.1f} s"
    )
    return 0


def record(project: Path, remote: Path, kept: Path) -> None:
    """Make two versions of both artifacts in *project*, push each, and keep a copy of each in *kept*."""
    avc(project, "init")
    avc(project, "remote", "add", "origin", str(remote))
    avc(project, "add", "stdlib", "--to", "stdlib", "--type", "dataset")
    avc(project, "add", "weights/weights.bin", "--to", "weights", "--type", "model")
    avc(project, "commit", "-m", "as installed", "--alias", "start")
    avc(project, "push")
    keep(project, kept / "v0")
    change(project)
    avc(project, "status")
    avc(project, "add")
    avc(project, "commit", "-m", "some files changed, removed and new", "--meta", "round=2")
    avc(project, "diff", "stdlib:v0", "stdlib:v1")
    avc(project, "push")
    avc(project, "log", "stdlib")
    avc(project, "ls", "weights:latest", "-l")
    keep(project, kept / "v1")


def gather(project: Path) -> None:
    """Copy the standard library to ``stdlib/`` and make or find ``weights/weights.bin``."""
    skipped = shutil.ignore_patterns("site-packages", "dist-packages", "__pycache__", "*.a")
    shutil.copytree(sysconfig.get_path("stdlib"), project / "stdlib", ignore=skipped, ignore_dangling_symlinks=True)
    binary = project / "weights" / "weights.bin"
    binary.parent.mkdir()
    found = large_binary()
    if found is not None:
        shutil.copyfile(found, binary)
        print(f"weights.bin is a copy of {found}, {binary.stat().st_size:,} bytes")
        return
    with open(binary, "wb") as file:
        for part in interpreter_files():
            file.write(part.read_bytes())
            if file.tell() >= BINARY_AT_LEAST:
                break
    print(f"weights.bin is made of this interpreter's own files, {binary.stat().st_size:,} bytes")


def large_binary() -> Path | None:
    """Return a program or library of this Python that is large enough by itself, if there is one."""
    places = {Path(sys.base_prefix, "bin"), Path(sys.base_prefix, "lib"), Path("/usr/bin"), Path("/usr/local/bin")}
    for place in sorted(places):
        for path in sorted(place.glob("*")):
            if path.is_file() and BINARY_AT_LEAST <= path.stat().st_size < 10 * BINARY_AT_LEAST:
                return path
    return None


def interpreter_files() -> Iterator[Path]:
    """Yield the interpreter, its libraries and then its modules, again and again."""
    library = Path(sysconfig.get_path("stdlib"))
    own = [Path(sys.executable).resolve(), *sorted(Path(sys.base_prefix, "lib").glob("libpython*"))]
    own += sorted(library.rglob("*.so")) + sorted(library.rglob("*.py"))
    while True:
        yield from (path for path in own if path.is_file())


def change(project: Path) -> None:
    """Make the second version: lines appended, files removed, renamed and new, a window of the binary overwritten."""
    files = sorted(path for path in (project / "stdlib").rglob("*.py"))
    for path in files[::50]:
        with open(path, "a") as file:
            file.write("\n# changed for the second version\n")
    for path in files[1::97]:
        path.unlink()
    for path in files[2::97]:
        path.rename(path.with_name(f"renamed_{path.name}"))
    (project / "stdlib" / "new" / "deep").mkdir(parents=True)
    for number in range(20):
        (project / "stdlib" / "new" / "deep" / f"table{number:02}.csv").write_text(f"n,square\n{number},{number**2}\n")
    with open(project / "weights" / "weights.bin", "r+b") as file:
        file.seek(1_000_000)
        file.write(random.Random(1).randbytes(1_000_000))
        file.seek(0, os.SEEK_END)
        file.write(random.Random(2).randbytes(500_000))


def keep(project: Path, place: Path) -> None:
    """Copy what was committed to *place*, without directories that hold no file: versions have none."""
    for artifact in ("stdlib", "weights"):
        shutil.copytree(project / artifact, place / artifact)
    for directory, _, _ in os.walk(place, topdown=False):
        if not os.listdir(directory):
            os.rmdir(directory)


def same(before: Path, after: Path) -> bool:
    """Say whether ``diff -r`` finds no difference, and every file is as executable as it was."""
    print(f"$ diff -r {before.parent.name}/{before.name} {after.parent.name}/{after.name}", flush=True)
    if subprocess.run(["diff", "-r", str(before), str(after)], check=False).returncode != 0:
        return False
    modes = [
        path
        for path in before.rglob("*")
        if path.is_file() and executable(path) != executable(after / path.relative_to(before))
    ]
    for path in modes:
        print(f"executable in only one of them: {path.relative_to(before)}")
    return not modes


def executable(path: Path) -> bool:
    """Say whether the owner may execute *path*."""
    return bool(path.stat().st_mode & 0o100)


def count(place: Path) -> tuple[int, int]:
    """Return how many files are below *place* and their bytes."""
    sizes = [path.stat().st_size for path in place.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


def avc(directory: Path, *args: str) -> None:
    """Run `avc` in *directory* and show the command, the first lines it printed and its time; exit if it failed."""
    beside = Path(sys.executable).with_name("avc")
    program = str(beside) if beside.exists() else "avc"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AVC_", "WANDB_"))}
    start = time.perf_counter()
    done = subprocess.run(
        [program, *args],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    lines = (done.stdout + done.stderr).splitlines()
    print(f"{directory.name}$ avc {' '.join(args)}   [{seconds:.2f} s]")
    shown = lines if done.returncode else lines[:_SHOWN]
    for line in shown:
        print(f"    {line}")
    if len(lines) > len(shown):
        print(f"    … {len(lines) - len(shown):,} lines more")
    sys.stdout.flush()
    if done.returncode:
        raise SystemExit(f"demo: avc {args[0]} exited with {done.returncode}")


if __name__ == "__main__":
    sys.exit(main())
