"""The files that are measured on: the same bytes on every machine, but for ``tree``.

Each fixture is made once under the working directory, under a name that says its
scale, and marked complete by an empty file beside it; a half-made one is made
again. Nothing here is timed.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

_WINDOW = 1 << 22


def ensure(work: Path, name: str, scale: float = 1.0, *, target: Path | None = None) -> Path:
    """Return the directory of fixture *name* at *scale*, making it (at *target*) if it is not there."""
    target = target or work / "fixtures" / f"{name}-{scale:g}"
    done = target.with_name(target.name + ".complete")
    if not done.exists():
        shutil.rmtree(target, ignore_errors=True)
        # In a process of its own: the kernel counts this one's memory to the commands it starts.
        subprocess.run([sys.executable, "-m", "benchmarks.fixtures", name, str(target), str(scale)], check=True)
        done.touch()
    return target


def small(target: Path, scale: float) -> None:
    """50,000 files of 3 to 5 KiB of random bytes in 100 directories."""
    _files(target, directories=max(2, round(100 * scale)), each=500 if scale >= 0.01 else 50, low=3072, high=5120)


def small_s3(target: Path, scale: float) -> None:
    """10,000 such files in 20 directories."""
    _files(target, directories=max(2, round(20 * scale)), each=500 if scale >= 0.01 else 50, low=3072, high=5120)


def million(target: Path, scale: float) -> None:
    """1,000,000 files of 8 to 24 random bytes in 1,000 directories."""
    _files(target, directories=max(2, round(1000 * scale)), each=1000 if scale >= 0.01 else 50, low=8, high=24)


def large(target: Path, scale: float) -> None:
    """One file of 2 GiB of random bytes."""
    target.mkdir(parents=True)
    source = random.Random(2)
    left = max(_WINDOW, round(2**31 * scale))
    with open(target / "large.bin", "wb") as file:
        while left > 0:
            left -= file.write(source.randbytes(min(_WINDOW, left)))


def tree(target: Path, scale: float) -> None:
    """A real source tree: 30,000 files of this interpreter's library, or of /usr where that has fewer."""
    wanted = max(50, round(30_000 * scale))
    roots = [Path(sysconfig.get_path("stdlib")), Path("/usr/share"), Path("/usr/lib")]
    taken = 0
    for number, root in enumerate(roots):
        for path in _plain_files(root):
            if taken == wanted:
                return
            copy = target / f"part{number}" / path.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            shutil.copymode(path, copy)
            copy.chmod(copy.stat().st_mode | 0o600)
            taken += 1


def _files(target: Path, *, directories: int, each: int, low: int, high: int) -> None:
    source = random.Random(1)
    for directory in range(directories):
        place = target / f"d{directory:03}"
        place.mkdir(parents=True)
        for number in range(each):
            with open(place / f"f{number:03}.bin", "wb", buffering=0) as file:
                file.write(source.randbytes(source.randint(low, high)))


def _plain_files(root: Path) -> Iterator[Path]:
    for directory, names, files in os.walk(root):
        names[:] = sorted(name for name in names if name != "__pycache__")
        for name in sorted(files):
            path = Path(directory, name)
            if not path.is_symlink() and path.is_file() and os.access(path, os.R_OK) and _is_text(name):
                yield path


def _is_text(name: str) -> bool:
    try:
        return name.encode() != b"" and name.isprintable()
    except UnicodeEncodeError:
        return False


MAKERS: dict[str, Callable[[Path, float], None]] = {
    "small": small,
    "small-s3": small_s3,
    "million": million,
    "large": large,
    "tree": tree,
}

if __name__ == "__main__":
    MAKERS[sys.argv[1]](Path(sys.argv[2]), float(sys.argv[3]))
