"""Commands that look back and take back: op log, undo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from artifactvc.cli.app import Shared, command, group
from artifactvc.cli.values import Word
from artifactvc.util.text import escape

if TYPE_CHECKING:
    from artifactvc.core import results

COMMANDS: Final[dict[str, click.Command]] = {}
_OP: Final[dict[str, click.Command]] = {}
#: Digits of an operation's id that are shown.
_SHOWN: Final = 12


@group("op")
def op() -> None:
    """Look at the operations that were done here."""


COMMANDS["op"] = op


@command(_OP, "log")
@click.option("-n", "limit", metavar="N", type=click.IntRange(0), help="At most N operations.")
def op_log(shared: Shared, limit: int | None) -> None:
    """List what was done here, newest first.

    Each operation has an id, of which 7 digits are enough for 'avc undo'. Those that can be
    taken back have a '*'. What add, rm and reset do to drafts is not in the log.
    """
    repository = shared.repository
    found = repository.operations(limit=limit)
    remote = bool(repository.remotes())
    if not shared.stream("op log", found, lambda entry: _line(entry, shared=remote)) and limit != 0:
        shared.note("nothing was done here yet")


@command(COMMANDS, "undo")
@click.argument("operation", required=False, metavar="[OP]", type=Word("operation"))
@click.option("--dry-run", is_flag=True, help="Say what would be taken back.")
def undo(shared: Shared, operation: str | None, dry_run: bool) -> None:
    """Take back the last operation.

    Run again, it takes back the one before. With OP, an id that 'avc op log' shows, that one;
    with the id of an undo, it is done again. A commit that is not pushed becomes a draft; a
    version that is pushed is deleted. Fetch, pull, push, gc and what runs recorded are not
    taken back, and files of the workspace stay.
    """
    result = shared.repository.undo(operation, dry_run=dry_run)
    if shared.answer("undo", result):
        return
    verb = "would take back" if dry_run else "took back"
    shared.say(f"{verb} {result.undoes[:_SHOWN]} ({escape(result.command)}): {escape(result.summary)}")
    for text in result.changes:
        shared.say(f"  {escape(text)}")
    for name in result.drafts:
        shared.say(f"  the draft of {escape(name)} {'would come' if dry_run else 'is'} back")
    if result.op is not None:
        shared.say(f"'avc undo {result.op[:_SHOWN]}' does it again")


for _name, _made in _OP.items():
    op.add_command(_made, _name)


def _line(entry: results.Operation, *, shared: bool) -> str:
    """One line of ``op log``; where it is known is said where there is a remote."""
    mark = "*" if entry.undoable else " "
    where = f"{escape(entry.where)}  " if shared else ""
    undone = f"  (taken back by {entry.undone_by[:_SHOWN]})" if entry.undone_by else ""
    head = f"{mark} {entry.op[:_SHOWN]}  {entry.time[:16].replace('T', ' ')}  {escape(entry.author)}  {where}"
    return f"{head}{escape(entry.command)}: {escape(entry.summary)}{undone}"
