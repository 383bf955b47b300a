"""What a killed command left in ``tmp/``: checkouts are cleaned at once, the rest is left to age.

Called when a repository is opened and ``tmp/`` is not empty. Nothing of a command that
still runs is touched: journals are locked, and other files are removed only when they are
older than any command should take.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from artifactvc.errors import AvcError
from artifactvc.ops.session import Session
from artifactvc.storage.undone import STEM, clean_up

#: Files of unfinished commands are taken away after a day: none runs that long without a lock being looked at by gc.
OLD_SECONDS: Final = 86_400


def recover(session: Session) -> None:
    """Finish or clean what is left."""
    now = time.time()
    for entry in list(os.scandir(session.avc.tmp)):
        if entry.name.startswith(STEM):
            _checkout(session, Path(entry.path))
        else:
            try:
                if now - entry.stat(follow_symlinks=False).st_mtime > OLD_SECONDS:
                    os.unlink(entry.path)
            except OSError:
                continue  # another command was faster, or the repository is read-only


def _checkout(session: Session, path: Path) -> None:
    from artifactvc.ops.checkout import half_written

    try:
        removed = clean_up(path, lambda placer, head: list(half_written(session, placer, head)))
    except (AvcError, OSError) as error:
        session.say(f"a checkout that was killed could not be cleaned up: {error}")
        return
    if removed:
        session.say(f"a checkout that was killed had left {len(removed)} files half-written: they were removed")
