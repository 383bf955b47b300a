"""Settings in TOML: ``.artifacts/config.toml`` and the user's own file.

A setting is a dotted name of the table ``SETTINGS``. The repository's file also holds
its identity, the format with its feature flags, and the remotes; those are not settings
and are changed by their own commands. Files are written with tomlkit, so that comments
live; it is imported only then, since reading with ``tomllib`` costs a fifth.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from artifactvc.core import names
from artifactvc.core.identity import check_email, check_name, parse_identity
from artifactvc.errors import BadName, Corrupt, UsageError
from artifactvc.util.files import make_directories, write_atomic, writing


def _check_grace(text: str) -> str:
    from artifactvc.util.text import parse_duration

    parse_duration(text)
    return text


def _check_switch(text: str) -> str:
    if text not in ("true", "false"):
        raise UsageError(f"'{text[:80]}' is neither true nor false")
    return text


def _check_place(text: str) -> str:
    if not text:
        return ""  # the repository's own
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in text):
        raise BadName("a path with control characters, or that is not UTF-8", hint="name another directory")
    return os.path.abspath(os.path.expanduser(text))


def _check_allowed(text: str) -> str:
    from artifactvc.core.consent import parse_allowed

    parse_allowed(text)
    return text


#: name -> (default, check). An empty default means that the program works it out.
SETTINGS: Final[dict[str, tuple[str, Callable[[str], str]]]] = {
    "project": ("", names.check_project),
    "entity": ("", names.check_project),
    "user.name": ("", check_name),
    "user.email": ("", check_email),
    "gc.grace": ("14d", _check_grace),
    "distributed.origin": ("true", _check_switch),
    "store.path": ("", _check_place),
    "refs.allow": ("", _check_allowed),
}


#: Other spellings of settings: `user` was all that there was before there were emails.
SPELLINGS: Final = {"user": "user.name"}


def setting_name(text: str) -> str:
    """The name of the setting that people call *text*."""
    return SPELLINGS.get(text, text)


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


# ---- shapes: whoever edits a file by hand is told what to mend, before anything relies on it ---------

_TEXT: Final = ("endpoint_url", "profile", "region", "transport")
_FLAGS: Final = ("read_only", "single_writer", "origin", "mirror")
_ID: Final = re.compile("[0-9a-f]{32}")


def _fault(path: Path, fault: str, mend: str) -> Corrupt:
    return Corrupt(f"'{path}' is not as avc writes it: {fault}", hint=mend)


def load_settings(path: Path) -> dict[str, Any]:
    """The user's own settings file at *path*, empty if there is none; Corrupt if a setting is no text."""
    table = load_toml(path)
    _check_settings(table, path)
    return table


def _check_settings(table: Mapping[str, Any], path: Path) -> None:
    for name in SPELLINGS:
        if not isinstance(table.get(name, ""), (str, dict)):
            raise _fault(path, f"'{name}' is no text", "write it in quotes, or take it out")
    for name in SETTINGS:
        above = name.rpartition(".")[0]
        if above and not isinstance(table.get(above, {}), dict) and not _is_old(table, name):
            raise _fault(path, f"'{above}' is no table", f"write [{above}], with its settings below")
        value = get_setting(table, name)
        if value is not None and not isinstance(value, str):
            raise _fault(path, f"'{name}' is no text", "write it in quotes, or take it out")


def check_features(config: Mapping[str, Any], path: Path) -> None:
    """Corrupt unless the feature flags of a repository's *config* are lists of names."""
    features = config.get("features", {})
    if not isinstance(features, dict):
        raise _fault(path, "'features' is no table", "write [features], with read, write, check and delete below")
    for deed, names_given in features.items():
        if not isinstance(names_given, list) or not all(isinstance(name, str) for name in names_given):
            raise _fault(path, f"'features.{deed}' is no list of names", f"write {deed} = [] below [features]")


def check_repository(config: Mapping[str, Any], path: Path) -> None:
    """Corrupt unless identity, settings and remotes of a repository's *config* have the shapes of docs/format.md."""
    if not _is_id(config.get("repository", {}).get("id")):
        raise _fault(path, "'repository.id' is not 32 hex digits", "restore it: every entry of the log names it")
    _check_settings(config, path)
    remotes = config.get("remotes", {})
    if not isinstance(remotes, dict):
        raise _fault(path, "'remotes' is no table", "take it out, then run 'avc remote add NAME URL'")
    for name, remote in remotes.items():
        _check_remote(name, remote, path)


def _check_remote(name: str, remote: Any, path: Path) -> None:
    at, again = f"remotes.{name}", f"take [remotes.{name}] out, then run 'avc remote add {name} URL'"
    if not isinstance(remote, dict):
        raise _fault(path, f"'{at}' is no table", again)
    if not isinstance(remote.get("url"), str) or not remote["url"]:
        raise _fault(path, f"'{at}.url' is missing or no text", again)
    if not _is_id(remote.get("id")):
        raise _fault(path, f"'{at}.id' is missing or not 32 hex digits", again)
    for key in (key for key in _TEXT if not isinstance(remote.get(key, ""), str)):
        raise _fault(path, f"'{at}.{key}' is no text", "write it in quotes, or take it out")
    for key in (key for key in _FLAGS if not isinstance(remote.get(key, False), bool)):
        raise _fault(path, f"'{at}.{key}' is neither true nor false", "write true, or take it out")
    timeout = remote.get("timeout", 1)
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout < float("inf"):
        raise _fault(path, f"'{at}.timeout' is no number of seconds", "write one above 0, or take it out")
    retries = remote.get("retries", 1)
    if isinstance(retries, bool) or not isinstance(retries, int) or not 1 <= retries <= 100:
        raise _fault(path, f"'{at}.retries' is no number of tries", "write one from 1 to 100, or take it out")
    if remote.get("transport", "auto") not in ("auto", "fsspec"):
        raise _fault(path, f"'{at}.transport' is neither auto nor fsspec", "write one of them, or take it out")


def _is_id(text: object) -> bool:
    return isinstance(text, str) and _ID.fullmatch(text) is not None


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


def get_setting(table: Mapping[str, Any], name: str) -> Any:
    """The value of setting *name* in *table*, or None; `user = "Ada <ada@x>"` says name and email."""
    if not _is_old(table, name):
        return get_dotted(table, name)
    who = parse_identity(table["user"])
    return (who.name if name == "user.name" else who.email) or None


def _is_old(table: Mapping[str, Any], name: str) -> bool:
    """Whether *name* is of the user, and *table* names the user by the old spelling."""
    return name.startswith("user.") and isinstance(table.get("user"), str)


def set_dotted(path: Path, name: str, value: str) -> None:
    """Set *name* in the settings file at *path*."""
    checked = SETTINGS[name][1](value)
    make_directories(path.parent)

    def change(document: Any) -> None:
        if _is_old(document, name):
            who = parse_identity(document.pop("user"))
            document["user"] = {part: text for part, text in who._asdict().items() if text}
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
