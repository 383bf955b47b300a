"""The root of the command line: which command lives in which module, and what all commands share."""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import click

from artifactvc import __version__
from artifactvc.errors import UsageError
from artifactvc.util.text import escape

if TYPE_CHECKING:
    from artifactvc.sdk.repository import Repository

#: Command -> module. Help lists them in this order, by module.
COMMANDS: Final[dict[str, str]] = {
    **dict.fromkeys(("init", "add", "rm", "status", "commit", "reset", "checkout", "put", "get"), "work"),
    **dict.fromkeys(("log", "show", "ls", "cat", "diff"), "look"),
    **dict.fromkeys(("alias", "tag", "edit", "rename", "delete", "restore"), "names"),
    **dict.fromkeys(("ttl", "retention", "expire"), "retention"),
    **dict.fromkeys(("undo", "op"), "undo"),
    **dict.fromkeys(("run", "runs", "lineage"), "runs"),
    **dict.fromkeys(("remote", "push", "pull", "fetch", "clone"), "remotes"),
    **dict.fromkeys(("fsck", "gc", "du", "config", "completion"), "upkeep"),
    "cache": "cache",
    "artifact": "artifact",
}
TITLES: Final = {
    "work": "Work on files", "look": "Look at versions", "names": "Change names",
    "retention": "Keep and expire", "undo": "Take back",
    "runs": "Runs and lineage", "remotes": "Share", "upkeep": "Keep in order", "cache": "Save space",
    "artifact": "W&B's spellings",
}  # fmt: skip


class Shared:
    """What every command is given: ``-C``, ``-q``, ``-v``, ``--json``, and the repository, opened when asked for."""

    def __init__(self) -> None:
        self.directory: str | None = None
        self.quiet = False
        self.verbose = False
        self.json = False
        self.limits: dict[str, Any] = {}  # what transfer_options was given
        self._repository: Repository | None = None

    def enter(self) -> None:
        """Go to the directory of ``-C``; paths on the command line mean what they mean there."""
        try:
            os.getcwd()
        except FileNotFoundError as error:
            raise UsageError("the current directory is not there any more", hint="go to another one") from error
        if self.directory is None:
            return
        try:
            os.chdir(self.directory)
        except OSError as error:
            message = f"cannot go to '{self.directory}': {(error.strerror or '').lower()}"
            raise UsageError(message, hint="check -C") from error
        self.directory = None

    def progress(self) -> Any:
        """How far things are, where somebody watches."""
        from artifactvc.cli.progress import progress

        return progress(quiet=self.quiet or self.json)

    @property
    def repository(self) -> Repository:
        """The repository of the current directory."""
        if self._repository is None:
            from artifactvc.sdk.repository import Repository

            self._repository = Repository.open(".", progress=self.progress())
            if self.limits:
                self._repository.limit(**self.limits)
        return self._repository

    def adopt(self, repository: Repository) -> None:
        """Use a repository that was just made."""
        self._repository = repository

    def close(self) -> None:
        """Show what was left to say, and close."""
        if self._repository is not None:
            for text in self._repository.notices:
                self.note(text)
            self._repository.close()

    # ---- saying ---------------------------------------------------------------------------------

    def say(self, text: str = "") -> None:
        """Print a line of the answer."""
        if not self.quiet and not self.json:
            print(text)

    def note(self, text: str) -> None:
        """Print a line beside the answer."""
        if not self.quiet:
            print(f"note: {text}", file=sys.stderr)

    def answer(self, command: str, result: Any) -> bool:
        """With ``--json`` print the whole answer as one document; say whether that was done."""
        if self.json:
            print(json.dumps({"schema": 1, "command": command, "result": plain(result)}, ensure_ascii=_narrow()))
        return self.json

    def stream(self, command: str, results: Iterable[Any], line: Callable[[Any], str | None]) -> int:
        """Print results one by one as they come: a document or a line each; how many there were."""
        count = 0
        for result in results:
            count += 1
            if not self.answer(command, result):
                text = line(result)
                if text is not None:
                    self.say(text)
        return count


def _narrow() -> bool:
    """Whether the output takes less than all characters: then JSON escapes them its own way."""
    return (sys.stdout.encoding or "").lower().replace("-", "") not in ("utf8",)


def plain(value: Any) -> Any:
    """A result as values that JSON has."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:  # the bytes of a path that is not UTF-8
            return escape(value)
    return value


class Group(click.Group):
    """Loads a command's module when that command is asked for; help names them without loading."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, from its module."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"artifactvc.cli.{COMMANDS[cmd_name]}")
        found: click.Command = module.COMMANDS[cmd_name]
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """An unknown command is an error that says which is near."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from artifactvc.util.text import near

            close = near(args[0], COMMANDS)
            hint = f" (did you mean '{close[0]}'?)" if close else ""
            raise click.UsageError(f"no command '{escape(args[0])}'{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by family, one line each, from ``summaries``: their modules are not loaded."""
        from artifactvc.cli.summaries import SUMMARIES

        for module, title in TITLES.items():
            rows = [(name, SUMMARIES[name]) for name, home in COMMANDS.items() if home == module]
            with formatter.section(title):
                formatter.write_dl(rows, col_max=12)


def _set(name: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def callback(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
        if value:
            setattr(ctx.ensure_object(Shared), name, value)
        return value

    return callback


_SHARED: Final = (
    click.option("-C", "run_in", metavar="DIR", expose_value=False, callback=_set("directory"), help="Run in DIR."),
    click.option("-q", "--quiet", is_flag=True, expose_value=False, callback=_set("quiet"), help="Print errors only."),
    click.option("-v", "--verbose", is_flag=True, expose_value=False, callback=_set("verbose"), help="Print more."),
    click.option("--json", is_flag=True, expose_value=False, callback=_set("json"), help="Print JSON."),
)


def shared_options(function: Any) -> Any:
    """The options that every command takes."""
    for option in reversed(_SHARED):
        function = option(function)
    return function


def command(
    table: dict[str, click.Command], name: str, **settings: Any
) -> Callable[[Callable[..., Any]], click.Command]:
    """Declare a command: its function is given ``Shared`` first, and the repository is closed after it."""

    def wrap(function: Callable[..., Any]) -> click.Command:
        @click.pass_context
        @functools.wraps(function)
        def call(ctx: click.Context, /, *args: Any, **kwargs: Any) -> Any:
            shared = ctx.ensure_object(Shared)
            shared.enter()
            try:
                return function(shared, *args, **kwargs)
            finally:
                shared.close()

        declare: Any = click.command(name, context_settings={"help_option_names": ["-h", "--help"]}, **settings)
        made: click.Command = declare(shared_options(call))
        table[name] = made
        return made

    return wrap


def group(name: str) -> Callable[[Callable[..., Any]], click.Group]:
    """Declare a group of commands that takes the shared options, too."""

    def wrap(function: Callable[..., Any]) -> click.Group:
        declare: Any = click.group(name, context_settings={"help_option_names": ["-h", "--help"]})
        made: click.Group = declare(shared_options(function))
        return made

    return wrap


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(__version__, "-V", "--version", prog_name="avc", message="avc %(version)s")
@shared_options
@click.pass_context
def avc(ctx: click.Context) -> None:
    """Version datasets, models and results the way Git versions code, with no server.

    A version is written [[entity/]project/]name:v3, name:alias or name@digest; a bare name
    means name:latest.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
