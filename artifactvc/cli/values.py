"""Words on the command line that are more than text: references that complete, metadata, sizes for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from artifactvc.errors import AvcError, BadName, UsageError
from artifactvc.util.text import escape

_DEPTH: Final = 32


class Word(click.ParamType[str]):
    """A word that the shell can complete: ``artifact``, ``ref``, ``alias``, ``remote`` or ``operation``."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.name = kind

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """What the repository here knows; nothing where there is none."""
        from artifactvc.cli.app import Shared
        from artifactvc.sdk.repository import Repository

        shared = ctx.find_object(Shared)
        try:
            with Repository.open((shared and shared.directory) or ".") as repository:
                return [CompletionItem(word) for word in repository.complete(self.kind, incomplete)]
        except (AvcError, OSError):
            return []


REF: Final = Word("ref")
ARTIFACT: Final = Word("artifact")
REMOTE: Final = Word("remote")


def metadata(given: Sequence[str], *, removable: bool = False) -> dict[str, Any] | None:
    """``--meta K=V`` (JSON where it is some, else text) and ``--meta @file.json``, later ones over earlier."""
    if not given:
        return None
    found: dict[str, Any] = {}
    for text in given:
        if text.startswith("@"):
            found |= _file(text[1:])
            continue
        key, sign, value = text.partition("=")
        if not key or not sign:
            raise BadName(f"bad metadata '{escape(text[:80])}'", hint="write --meta KEY=VALUE, or --meta @file.json")
        if removable and not value:
            found[key] = None
            continue
        found[key] = _value(value)
    return found


def _value(text: str) -> Any:
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text
    return value


def _refuse(text: str) -> Any:
    raise ValueError(text)


def _file(name: str) -> dict[str, Any]:
    try:
        value = json.loads(Path(name).read_text(encoding="utf-8"), parse_constant=_refuse)
    except OSError as error:
        raise UsageError(
            f"cannot read '{escape(name)}': {(error.strerror or '').lower()}", hint="check --meta"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"'{escape(name)}' is not JSON: {error}", hint="metadata is one JSON object") from error
    if not isinstance(value, Mapping):
        raise UsageError(f"'{escape(name)}' holds no JSON object", hint="metadata is one JSON object")
    return dict(value)


def count(number: int, thing: str) -> str:
    """``1 file``, ``2 files``; ``1 entry``, ``2 entries``."""
    if number == 1:
        return f"1 {thing}"
    return f"{number:,} {thing[:-1]}ies" if thing.endswith("y") else f"{number:,} {thing}s"
