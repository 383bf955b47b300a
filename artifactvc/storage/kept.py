"""Copies kept here of a remote's files, beside its log: what it can be mended from if they are lost there.

Below ``remotes/<remote id>/`` stand ``avc.json`` as it was first read, and each index file
that was read. They are made by whoever reads them anyway, and can be thrown away.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from artifactvc.core.strict import dump_json
from artifactvc.util.files import make_directories, write_atomic


def encode_description(body: Mapping[str, Any]) -> bytes:
    """The bytes of an ``avc.json`` that says *body*."""
    return dump_json(body) + b"\n"


def kept_description(directory: Path) -> bytes | None:
    """The copy of a remote's ``avc.json``, byte for byte."""
    try:
        return (directory / "avc.json").read_bytes()
    except FileNotFoundError:
        return None


def keep_description(directory: Path, body: Mapping[str, Any], tmp: Path) -> None:
    """Keep what ``avc.json`` says: once, and again when it asks for other features."""
    held = kept_description(directory)
    if held is not None and json.loads(held).get("features") == body.get("features"):
        return
    with contextlib.suppress(OSError):  # a repository that cannot be written does without
        make_directories(directory)
        write_atomic(directory / "avc.json", encode_description(body), via=tmp)


def kept_index(directory: Path, name: str) -> bytes | None:
    """The copy of an index file, unchecked."""
    try:
        return (directory / "index" / name.replace("/", "_")).read_bytes()
    except FileNotFoundError:
        return None
