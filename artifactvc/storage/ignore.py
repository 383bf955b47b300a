"""``.avcignore``: gitignore patterns, asked only about paths that no version or draft has.

A pattern costs tens of microseconds a path, so a tracked path is never asked about, which
is also the promise: what is tracked is never ignored (design, section 4).
"""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

from artifactvc.errors import UnreadableFile
from artifactvc.util.text import escape

FILE: Final = ".avcignore"


class Asked(Protocol):
    """What says whether a path is ignored."""

    def file(self, path: str) -> bool:
        """Whether the file at *path* is ignored."""

    def directory(self, path: str) -> bool:
        """Whether the directory at *path* is ignored as a whole."""


class Ignore:
    """The patterns of one workspace; read and compiled when first asked."""

    def __init__(self, workspace: Path) -> None:
        self._path = workspace / FILE

    @cached_property
    def _spec(self) -> Any:
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return None
        except IsADirectoryError as error:
            raise UnreadableFile(
                f"'{FILE}' is a directory", hint="it must be a file of patterns: rename the directory"
            ) from error
        except OSError as error:
            reason = (error.strerror or "").lower()
            raise UnreadableFile(f"cannot read '{FILE}': {reason}", hint="check its permissions") from error
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            raise UnreadableFile(f"'{FILE}' is not UTF-8 in line {line}", hint="save it as UTF-8") from error
        if not any(line.strip() and not line.startswith("#") for line in lines):
            return None
        from pathspec import GitIgnoreSpec

        try:
            return GitIgnoreSpec.from_lines(lines)
        except (ValueError, re.error) as error:
            raise _bad_pattern(lines, error) from error

    def file(self, path: str) -> bool:
        """Whether the file at *path*, relative to the workspace, is ignored."""
        return self._spec is not None and bool(self._spec.match_file(path))

    def directory(self, path: str) -> bool:
        """Whether the directory at *path* is ignored as a whole."""
        return self._spec is not None and bool(self._spec.match_file(path + "/"))


def _bad_pattern(lines: list[str], error: Exception) -> UnreadableFile:
    """Which of *lines* is no pattern: they were compiled all at once, which is quicker."""
    from pathspec import GitIgnoreSpec

    for number, line in enumerate(lines, 1):
        try:
            GitIgnoreSpec.from_lines([line])
        except (ValueError, re.error):
            return UnreadableFile(
                f"'{FILE}' has a bad pattern in line {number}: '{escape(line[:80])}'",
                hint="mend it, or take it out; a backslash stands before the character that it escapes",
            )
    return UnreadableFile(f"'{FILE}' has a bad pattern: {error}", hint="mend it")


class Patterns:
    """The patterns that hold in one directory: its own, and those of the workspace that it lies in."""

    def __init__(self, workspace: Path, directory: Path) -> None:
        self._asked = [(Ignore(directory), "")]
        inside = os.path.relpath(directory.resolve(), workspace.resolve())
        if inside != "." and not inside.startswith(".."):
            self._asked.append((Ignore(workspace), inside + "/"))

    def file(self, path: str) -> bool:
        """Whether the file at *path*, relative to the directory, is ignored."""
        return any(ignore.file(prefix + path) for ignore, prefix in self._asked)

    def directory(self, path: str) -> bool:
        """Whether the directory at *path* is ignored as a whole."""
        return any(ignore.directory(prefix + path) for ignore, prefix in self._asked)
