"""What a run records of where it runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any


def surroundings() -> dict[str, Any]:
    """Command line, directory, Python and Git state: what a run records of where it runs."""
    import platform

    from artifactvc.util.git import git_state

    command = [sys.executable, *sys.argv] if sys.argv else [sys.executable]
    here = Path.cwd()
    return {
        "command": command[:200],
        "directory": os.fspath(here),
        "python": platform.python_version(),
        "git": git_state(here),
    }
