"""What a killed command left in ``tmp/``: checkouts are cleaned at once, the rest is left to age.

Called when a repository is opened and ``tmp/`` is not empty. Nothing of a command that
still runs is touched: journals are locked, and other files are removed only when they are
older than any command should take.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from artifactvc.errors import AvcError
from artifactvc.ops.session import Session
from artifactvc.storage.place import Placer
from artifactvc.storage.undone import STEM, clean_up

#: Files of unfinished commands are taken away after a day: none runs that long without a lock being looked at by gc.
OLD_SECONDS: Final = 86_400


def recover(session: Session) -> None:
    """Finish or clean what is left."""
    now = time.time()
    left = list(os.scandir(session.avc.tmp))
    if session.avc.staging != session.avc.tmp and session.avc.staging.is_dir():
        left += os.scandir(session.avc.staging)
    for entry in left:
        if entry.name.startswith(STEM):
            _checkout(session, Path(entry.path))
        else:
            try:
                if now - entry.stat(follow_symlinks=False).st_mtime > OLD_SECONDS:
                    if entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry.path)
                    else:
                        os.unlink(entry.path)
            except OSError:
                continue  # another command was faster, or the repository is read-only


def _checkout(session: Session, path: Path) -> None:
    try:
        removed = clean_up(path, lambda placer, head: list(_half_written(session, placer, head)))
    except (AvcError, OSError) as error:
        session.say(f"a checkout that was killed could not be cleaned up: {error}")
        return
    if removed:
        session.say(f"a checkout that was killed had left {len(removed)} files half-written: they were removed")


def _half_written(session: Session, placer: Placer, head: dict[str, object]) -> Iterator[str]:
    """Files that a killed checkout had begun: shorter than they should be, and the beginning of their object."""
    from artifactvc.core.manifest import find
    from artifactvc.ops.checkout_plan import Place, entries_in
    from artifactvc.ops.stand_ins import with_files
    from artifactvc.storage.unpack import is_beginning

    manifest, prefix = str(head["manifest"]), str(head["prefix"])
    there = head["there"]
    before = set(there) if isinstance(there, list) else set()
    place = Place(placer.root, prefix, find(manifest, prefix, session.node) is not None if prefix else False)
    for path, entry in with_files(session, entries_in(session, manifest, place, ())).items():
        if path in before or entry.digest is None:
            continue
        stat = placer.lstat(path)
        if stat is None or stat.st_size >= (entry.size or 0) or os.path.islink(placer.root / path):
            continue
        if is_beginning(session.avc.store, entry.digest, placer.root / path, stat.st_size):
            yield path
