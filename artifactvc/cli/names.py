"""Commands that change names: alias, tag, edit, rename, delete, restore."""

from __future__ import annotations

from typing import Final

import click

from artifactvc.cli.app import Shared, command
from artifactvc.cli.values import ARTIFACT, REF, metadata
from artifactvc.errors import UsageError
from artifactvc.util.text import escape

COMMANDS: Final[dict[str, click.Command]] = {}


@command(COMMANDS, "alias")
@click.argument("ref", type=REF)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("-d", "--delete", "remove", is_flag=True, help="Take the aliases off instead.")
def alias(shared: Shared, ref: str, names: tuple[str, ...], remove: bool) -> None:
    """Point aliases at a version."""
    result = shared.repository.alias(ref, names, remove=remove)
    if not shared.answer("alias", result):
        shared.say(escape(result.message))


@command(COMMANDS, "tag")
@click.argument("ref", type=REF)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("-d", "--delete", "remove", is_flag=True, help="Take the tags off instead.")
def tag(shared: Shared, ref: str, names: tuple[str, ...], remove: bool) -> None:
    """Add tags to a version."""
    result = shared.repository.tag(ref, names, remove=remove)
    if not shared.answer("tag", result):
        shared.say(escape(result.message))


@command(COMMANDS, "edit")
@click.argument("ref", required=False, type=REF)
@click.option("--artifact", metavar="NAME", type=ARTIFACT, help="Change the artifact, not a version.")
@click.option("-m", "--description", metavar="D", help="The new description.")
@click.option("--meta", metavar="K=V|@FILE", multiple=True, help="Set a key of the metadata; 'K=' removes it.")
def edit(shared: Shared, ref: str | None, artifact: str | None, description: str | None, meta: tuple[str, ...]) -> None:
    """Change a description or metadata.

    Content never changes: a version stays the bytes it is.
    """
    if (ref is None) == (artifact is None):
        raise UsageError("give either a version or --artifact NAME", hint="run 'avc edit --help'")
    result = shared.repository.edit(
        ref, artifact=artifact, description=description, metadata=metadata(meta, removable=True)
    )
    if not shared.answer("edit", result):
        shared.say(escape(result.message))


@command(COMMANDS, "rename")
@click.argument("name", type=ARTIFACT)
@click.argument("new")
def rename(shared: Shared, name: str, new: str) -> None:
    """Give an artifact another name.

    Versions, aliases and paths stay. No other artifact can be renamed to the old name; one
    that is made anew under it goes on with the numbers, since none is given twice.
    """
    result = shared.repository.rename(name, new)
    if not shared.answer("rename", result):
        shared.say(escape(result.message))


@command(COMMANDS, "delete")
@click.argument("ref", type=REF)
@click.option("--delete-aliases", is_flag=True, help="Also where aliases point at it.")
@click.option("--dry-run", is_flag=True, help="Say what would be deleted.")
def delete(shared: Shared, ref: str, delete_aliases: bool, dry_run: bool) -> None:
    """Mark a version deleted.

    'avc restore' takes it back until gc has removed its bytes, 14 days later (setting
    gc.grace). Its number is never given again.
    """
    result = shared.repository.delete(ref, delete_aliases=delete_aliases, dry_run=dry_run)
    if not shared.answer("delete", result):
        shared.say(escape(result.message))


@command(COMMANDS, "restore")
@click.argument("ref", type=REF)
def restore(shared: Shared, ref: str) -> None:
    """Take a deletion back."""
    result = shared.repository.restore(ref)
    if not shared.answer("restore", result):
        shared.say(escape(result.message))
