"""What a checkout is about to write, so that the next command can clean up after a kill.

``tmp/checkout-<token>`` is held with ``flock`` while the checkout runs: a journal that can
be locked was left by a process that is gone.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from artifactvc.core.model import Digest
from artifactvc.errors import UnsafeLink
from artifactvc.storage.place import TEMPORARY, Placer
from artifactvc.util.files import sync_directory, write_all, writing

STEM: Final = "checkout-"


class Journal:
    """One checkout in progress."""

    def __init__(self, tmp: Path, root: Path) -> None:
        self.token = secrets.token_hex(8)
        self.path = tmp / f"{STEM}{self.token}"
        self._root = root
        self._fd = -1

    def begin(self, manifest: Digest, prefix: str, there: Iterable[str], replaced: Iterable[str]) -> None:
        """Note durably that all files of *manifest* below *prefix* may be created but those that are *there*.

        *replaced* are the directories in which files are written under temporary names first.
        """
        head = {
            "root": os.fspath(self._root), "token": self.token, "manifest": manifest, "prefix": prefix,
            "there": sorted(there), "replaced": sorted(replaced),
        }  # fmt: skip
        with writing(self.path):
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            write_all(self._fd, json.dumps(head).encode() + b"\n")
            os.fsync(self._fd)
            sync_directory(self.path.parent)

    def end(self) -> None:
        """The files are as they should be, or were taken away."""
        if self._fd >= 0:
            self.path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1


def clean_up(path: Path, half_written: Callable[[Placer, dict[str, Any]], Iterable[str]]) -> list[str]:
    """Take away what the killed checkout of journal *path* left; the paths that were removed.

    Nothing is done while that checkout runs. *half_written* finds the new files that are only
    the beginning of what they should be; a whole one is right, and one that somebody has
    changed since is theirs.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return []
        removed = _clean(path.read_bytes(), half_written)
        path.unlink(missing_ok=True)
    finally:
        os.close(fd)
    return removed


def _clean(data: bytes, half_written: Callable[[Placer, dict[str, Any]], Iterable[str]]) -> list[str]:
    try:
        head = json.loads(data)
    except ValueError:
        return []  # killed before the journal was whole: nothing was written yet
    root, token = Path(head["root"]), str(head["token"])
    if not root.is_dir():
        return []
    placer = Placer(root, token)
    try:
        for directory in head["replaced"]:
            _clean_directory(placer, directory, token)
        removed = list(half_written(placer, head))
        for name in removed:
            placer.remove(name)
    finally:
        placer.close()
    return removed


def _clean_directory(placer: Placer, path: str, token: str) -> None:
    try:
        fd = placer.directory(path, make=False)
    except (FileNotFoundError, UnsafeLink):
        return
    for name in os.listdir(fd):
        if name.startswith(f"{TEMPORARY}{token}-"):
            os.unlink(name, dir_fd=fd)
