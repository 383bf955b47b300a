"""Paths inside an artifact, as people write them."""

from __future__ import annotations

import os
from pathlib import PurePath, PureWindowsPath

from artifactvc.core.nodes import check_path
from artifactvc.errors import BadName, HostilePath

PathLike = str | os.PathLike[str]


def entry_path(name: PathLike) -> str:
    """The path inside an artifact that *name* means: ``./x//y`` is ``x/y``. ValueError for one that is none."""
    text = name.as_posix() if isinstance(name, PurePath) else os.fspath(name)
    bad = BadName(f"invalid artifact path '{text}'", hint="use a relative path without '..'")
    windows = isinstance(name, PureWindowsPath) or text.startswith("\\") or (len(text) > 1 and text[1] == ":")
    if not text or text.startswith("/") or (windows and (PureWindowsPath(text).drive or text.startswith("\\"))):
        raise bad
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        raise bad
    try:
        return check_path("/".join(parts))
    except HostilePath as error:
        raise BadName(f"invalid artifact path '{text}': {error.message}", hint="use another name") from error
