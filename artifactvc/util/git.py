"""What Git says about a directory: the commit that code was run from, and whether it was changed since.

One look, bounded in time; nothing is written (no index refresh), no hook and no file
system monitor is started, and nothing that Git answers can be a secret: credentials
are taken out of the remote's URL. Where there is no Git or no repository the answer
is None, never an error, for a run must not fail because of it.
"""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import Any, Final

#: Seconds that all questions may take together (design, section 5).
PATIENCE: Final = 2.0

_QUIET: Final = ("git", "--no-optional-locks", "-c", "core.fsmonitor=false")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://(.*)", re.DOTALL)
_HOST: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:\d*)?")


def git_state(directory: Path) -> dict[str, Any] | None:
    """Commit, branch, dirtiness and remote of the Git work tree around *directory*; None where there is none.

    ``commit`` is None before the first one, ``branch`` on a detached head, ``remote`` (origin's
    URL, else the first remote's) where there is none. ``dirty`` tells of tracked files only, and
    is None where Git could not say in time.
    """
    end = time.monotonic() + PATIENCE
    settings = _ask(directory, end, "config", "--local", "-z", "--get-regexp", r"^remote\..*\.url$")
    if settings is None:
        return None
    state: dict[str, Any] = {"commit": None, "branch": None, "dirty": None, "remote": _remote(settings)}
    head = _ask(directory, end, "rev-parse", "--verify", "--quiet", "HEAD")
    state["commit"] = (head or "").strip() or None
    said = _ask(directory, end, "status", "--porcelain=v2", "--branch", "--untracked-files=no", "-z")
    if said is not None:
        lines = said.split("\0")
        named = next((line[14:] for line in lines if line.startswith("# branch.head ")), "(detached)")
        state["branch"] = None if named == "(detached)" else named
        state["dirty"] = any(line and not line.startswith("# ") for line in lines)
    return state


def without_credentials(url: str) -> str:
    """*url* without user, password, token and query; an SSH address ``git@host:path`` stays as it is."""
    match = _SCHEME.fullmatch(url)
    if match is None:
        before, at, rest = url.rpartition("@")
        return rest if at and ":" in before and "/" not in before else url
    scheme, rest = match[1], match[2]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if _HOST.fullmatch(authority.rpartition("@")[2]):
        rest = authority.rpartition("@")[2] + rest[len(authority) :]
    else:  # a password with one of these in it, which should be written as %2F
        rest = rest.rpartition("@")[2]
    return f"{scheme}://{re.split(r'[?#]', rest, maxsplit=1)[0]}"


def _remote(settings: str) -> str | None:
    """The URL of origin, else of the first remote, from lines of ``git config -z``."""
    pairs = [line.partition("\n") for line in settings.split("\0") if line]
    urls = {name: url for name, _, url in reversed(pairs)}
    found = urls.get("remote.origin.url") or (pairs[0][2] if pairs else "")
    return without_credentials(found) or None


def _ask(directory: Path, end: float, *words: str) -> str | None:
    """What Git prints, or None: not there, not a repository, or not in time. Nothing found is an empty answer."""
    try:
        done = subprocess.run(
            [*_QUIET, *words],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=max(0.05, end - time.monotonic()),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode in (0, 1) else None
