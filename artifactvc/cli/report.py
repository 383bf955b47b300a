"""An error as people and programs see it."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence

import click

from artifactvc.errors import AvcError
from artifactvc.util.text import escape


def report(error: BaseException, arguments: Sequence[str]) -> int:
    """Print *error* and return the exit code."""
    kind, message, hint, code = _told(error, arguments)
    ours = list(arguments[: arguments.index("--")]) if "--" in arguments else arguments  # behind it: another command's
    if "--json" in ours:
        body = {"schema": 1, "error": {"class": kind, "message": message, "hint": hint}}
        with contextlib.suppress(OSError):  # the output cannot be written: the error is told below
            print(json.dumps(body))
    if isinstance(error, click.UsageError) and error.ctx is not None:
        print(error.ctx.get_usage(), file=sys.stderr)
    print(f"error: {message}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
    if not isinstance(error, (AvcError, click.ClickException)) and {"-v", "--verbose"} & set(ours):
        raise error
    return code


def _told(error: BaseException, arguments: Sequence[str]) -> tuple[str, str, str, int]:
    """Class, message, hint and exit code."""
    if isinstance(error, AvcError):
        return type(error).__name__, escape(error.message), escape(error.hint), error.exit_code
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return "UsageError", "missing command", f"run '{error.ctx.command_path} --help'", 2
    if isinstance(error, click.ClickException):
        hint = "run 'avc --help' to list the commands"
        if isinstance(error, click.UsageError) and error.ctx is not None and error.ctx.parent is not None:
            hint = f"run '{error.ctx.command_path} --help'"
        message = error.format_message()
        return "UsageError", _one_line(message[:1].lower() + message[1:]).rstrip("."), hint, 2
    if isinstance(error, UnicodeEncodeError):
        # What was to be written is ours: shown is the word on the command line that it comes from.
        given = (word for word in arguments if any("\ud800" <= c <= "\udfff" for c in word))
        text = escape(next(given, error.object[error.start : error.end])[:80])
        return "BadName", f"'{text}' is not UTF-8", "write it in UTF-8, or set the locale that it is written in", 2
    if isinstance(error, OSError):
        name = f" '{escape(str(error.filename))}'" if error.filename else ""
        return (
            "StorageError",
            f"{(error.strerror or str(error)).lower()}{name}",
            "check the path and its permissions",
            1,
        )
    if type(error).__module__ == "sqlite3":
        return "StorageError", f"the index cannot be used: {error}", "run 'avc fsck --repair' to build it anew", 1
    if isinstance(error, MemoryError):
        return "MemoryError", "out of memory", "close other programs and run the command again", 1
    hint = "this is a bug in avc: run the command again with -v and report what it prints"
    return type(error).__name__, _one_line(f"unexpected {type(error).__name__}: {error}"), hint, 1


def _one_line(text: str) -> str:
    return " ".join(escape(line.strip()) for line in text.splitlines()) if "\n" in text else escape(text)
