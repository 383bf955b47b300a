"""Run one process to its end and say what it took.

Wall time is what a person waits. CPU time is of the process and of all children
it waited for. Peak memory is of the whole process tree: the sum, over the
processes alive at one moment, of each one's own highest resident size. It is
sampled, and never below what the kernel reports for the largest process. Pages
that processes share count once in each, so the figure errs upward only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

SAMPLE_SECONDS = 0.05
_KIB = 1024


class Measured(NamedTuple):
    """One run: wall and CPU seconds, peak bytes of the process tree."""

    wall: float
    cpu: float
    peak: int

    def plus(self, other: Measured) -> Measured:
        """Return what this run and then *other* took together."""
        return Measured(self.wall + other.wall, self.cpu + other.cpu, max(self.peak, other.peak))


class CommandFailed(Exception):
    """A measured command did not exit with 0; its error output is the message."""


def measure(argv: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Measured:
    """Run *argv* with its output thrown away and return what it took.

    Raises CommandFailed, with the end of its error output, unless it exits with 0.
    """
    with tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        child = subprocess.Popen(
            argv, cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
        )
        sampler = _Sampler(child.pid)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        peak = sampler.stop()
        if child.returncode != 0:
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - 4000))
            text = errors.read().decode(errors="replace")
            raise CommandFailed(f"{' '.join(argv)} (in {cwd}) exited with {child.returncode}:\n{text}")
    unit = 1 if sys.platform == "darwin" else _KIB
    return Measured(wall, usage.ru_utime + usage.ru_stime, max(peak, usage.ru_maxrss * unit))


class _Sampler:
    """Watches one process tree from a thread until told to stop."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """Return the highest sum seen, in bytes; 0 where there is no /proc."""
        self._over.set()
        self._thread.join()
        return self._peak

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self._peak = max(self._peak, sum(map(_resident_peak, _tree(self._pid))))


def _tree(pid: int) -> list[int]:
    found = [pid]
    for parent in found:  # grows while it is walked
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{task}/children") as file:
                    found.extend(map(int, file.read().split()))
        except OSError:  # it ended while we looked, or there is no /proc
            continue
    return found


def _resident_peak(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/status") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * _KIB
    except OSError:
        pass
    return 0
