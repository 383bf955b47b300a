"""``avc cache``: what local copies take, and making room."""

from __future__ import annotations

from typing import Final

import click

from artifactvc.cli.app import Shared, command, group
from artifactvc.cli.values import count
from artifactvc.core.results_cache import Held
from artifactvc.errors import BadName, UsageError
from artifactvc.util.text import escape, format_size, parse_size

COMMANDS: Final[dict[str, click.Command]] = {}
_OWN: Final[dict[str, click.Command]] = {}


@group("cache")
def cache() -> None:
    """Show what local copies take, and make room."""


COMMANDS["cache"] = cache


@command(_OWN, "info")
def info(shared: Shared) -> None:
    """Show what the local store takes, and what of it could go.

    Asks no remote: what was last read of each counts.
    """
    result = shared.repository.cache.info()
    if shared.answer("cache info", result):
        return
    shared.say(f"{escape(result.path)}: {count(result.objects, 'object')}, {format_size(result.bytes)}")
    for path in result.repositories:
        shared.say(f"  used by {escape(path)}")
    shared.say(f"{format_size(result.evictable)} could be freed by 'avc cache cleanup 0'")
    _say_held(shared, result.held)
    if result.oldest_use is not None:
        shared.say(f"least recently used: {result.oldest_use[:16].replace('T', ' ')} UTC")
    if result.trash:
        shared.say(f"besides, {format_size(result.trash)} in the trash: 'avc gc' removes it after the grace")
    if result.temporary:
        shared.say(f"besides, {format_size(result.temporary)} in temporary files")


@command(_OWN, "cleanup")
@click.argument("size", metavar="SIZE")
@click.option("--remove-temp/--no-remove-temp", help="Remove what killed commands left, too.")
@click.option("--dry-run", is_flag=True, help="Say what would be evicted, and why the rest stays.")
def cleanup(shared: Shared, size: str, remove_temp: bool, dry_run: bool) -> None:
    """Evict local copies until the store takes at most SIZE, such as 10GB.

    The least recently used go first, and only those that a remote holds: its log is read
    first. What only a remote that cannot be reached holds stays, and so does what drafts and
    unpushed versions need. Evicted bytes come back when a command needs them.
    """
    clean(shared, "cache cleanup", size, remove_temp=remove_temp, dry_run=dry_run)


@command(_OWN, "forget")
@click.argument("path", metavar="PATH")
def forget(shared: Shared, path: str) -> None:
    """Take a repository off the list of those that share this store.

    For one that is gone for good: until then 'avc gc' cannot tell what it needs, and stops.
    What only it needs is collected by the next 'avc gc'.
    """
    result = shared.repository.cache.forget(path)
    if not shared.answer("cache forget", result):
        shared.say(f"'{escape(result.path)}' is off the list: the next 'avc gc' removes what only it needs")


def clean(shared: Shared, name: str, size: str, *, remove_temp: bool, dry_run: bool) -> None:
    """Make room, and say what was done: what ``avc cache`` and ``avc artifact cache`` have in common."""
    try:
        target = parse_size(size)
    except BadName as error:
        raise UsageError(error.message, hint=error.hint) from error
    result = shared.repository.cache.cleanup(target, remove_temp=remove_temp, dry_run=dry_run)
    if shared.answer(name, result):
        return
    evicted, would = format_size(result.before - result.after), "would evict" if dry_run else "evicted"
    shared.say(f"{would} {count(result.objects, 'object')}, {evicted}: the store takes {format_size(result.after)}")
    if result.temporary:
        shared.say(f"{'would remove' if dry_run else 'removed'} {format_size(result.temporary)} of temporary files")
    if result.after > target:
        shared.say(f"{format_size(result.after)} stay, which is more than {format_size(target)}:")
    if result.after > target or dry_run:
        _say_held(shared, result.held)


def _say_held(shared: Shared, held: tuple[Held, ...]) -> None:
    for one in held:
        what = f" in {count(one.objects, 'object')}" if one.objects else ""
        shared.say(f"  {format_size(one.bytes)}{what}: {escape(one.reason)}")


for _name, _made in _OWN.items():
    cache.add_command(_made, _name)
