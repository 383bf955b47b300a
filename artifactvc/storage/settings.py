"""Settings in TOML: ``.artifacts/config.toml`` and the user's own file.

A setting is a dotted name of the table ``SETTINGS``. The repository's file also holds
its identity, the format with its feature flags, and the remotes; those are not settings
and are changed by their own commands. Files are written with tomlkit, so that comments
live; it is imported only then, since reading with ``tomllib`` costs a fifth.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from artifactvc.core import names
from artifactvc.errors import BadName, Corrupt, UsageError
from artifactvc.util.files import make_directories, write_atomic, writing


def _check_grace(text: str) -> str:
    from artifactvc.util.text import parse_duration

    parse_duration(text)
    return text


def _check_user(text: str) -> str:
    if not text.strip() or any(ord(c) < 32 for c in text) or len(text) > 200:
        raise BadName(f"bad user name '{text[:80]}'")
    return text


#: name -> (default, check). An empty default means that the program works it out.
SETTINGS: Final[dict[str, tuple[str, Callable[[str], str]]]] = {
    "project": ("", names.check_project),
    "entity": ("", names.check_project),
    "user": ("", _check_user),
    "gc.grace": ("14d", _check_grace),
}


def default_of(name: str) -> str:
    """The value of setting *name* where no file says otherwise; UsageError if there is no such setting."""
    if name not in SETTINGS:
        near = difflib.get_close_matches(name, SETTINGS, n=1)
        raise UsageError(
            f"no setting '{name}'",
            hint=f"did you mean '{near[0]}'?" if near else f"settings are {', '.join(sorted(SETTINGS))}",
        )
    return SETTINGS[name][0]


def load_toml(path: Path) -> dict[str, Any]:
    """The content of the TOML file at *path*, empty if there is none; Corrupt if it is no TOML."""
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Corrupt(f"'{path}' is not valid TOML: {error}", hint="mend it by hand, or restore it from Git") from error


def edit_toml(path: Path, change: Callable[[Any], None], *, via: Path | None = None) -> None:
    """Rewrite the TOML file at *path*, whole and durably, after *change* edited its document."""
    import tomlkit

    text = path.read_text(encoding="utf-8") if path.exists() else ""
    document = tomlkit.parse(text)
    change(document)
    written = tomlkit.dumps(document).encode()
    if written != text.encode() or not path.exists():
        with writing(path):
            write_atomic(path, written, via=via)


def get_dotted(table: Mapping[str, Any], name: str) -> Any:
    """The value at a dotted *name*, or None."""
    value: Any = table
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def set_dotted(path: Path, name: str, value: str) -> None:
    """Set *name* in the settings file at *path*."""
    checked = SETTINGS[name][1](value)
    make_directories(path.parent)

    def change(document: Any) -> None:
        table = document
        *parents, last = name.split(".")
        for part in parents:
            if part not in table:
                table[part] = {}
            table = table[part]
        table[last] = checked

    edit_toml(path, change)


def global_path(environ: Mapping[str, str]) -> Path:
    """The user's own settings file: ``$XDG_CONFIG_HOME/avc/config.toml``."""
    base = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", "/"), ".config")
    return Path(base) / "avc" / "config.toml"
