"""Commands that say how long versions live: ttl, retention, expire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from artifactvc.cli import render
from artifactvc.cli.app import Shared, command
from artifactvc.cli.values import REF, count
from artifactvc.core.policy import Policy
from artifactvc.errors import UsageError
from artifactvc.util.text import escape

if TYPE_CHECKING:
    from artifactvc.core import results

COMMANDS: Final[dict[str, click.Command]] = {}
#: What an option gives that stands without a value: nobody can write it.
_SHOW: Final = "\0"


@command(COMMANDS, "ttl")
@click.argument("words", nargs=-1, type=REF, metavar="[REF]... [30d|none|inherit]")
@click.option(
    "--default", "default", metavar="[90d|none]", is_flag=False, flag_value=_SHOW, default=None,
    help="The project's default; alone it is shown.",
)  # fmt: skip
@click.option(
    "--editors", "editors", metavar="[NAME,...]", is_flag=False, flag_value=_SHOW, default=None,
    help="Who may change times to live, by name or email; alone they are shown.",
)  # fmt: skip
@click.option("--anyone", is_flag=True, help="Let anyone change times to live.")
def ttl(shared: Shared, words: tuple[str, ...], default: str | None, editors: str | None, anyone: bool) -> None:
    """Show or set how long versions live.

    With a REF alone it is shown. A time is counted from the version's creation, whenever it is
    set; 'none' keeps a version for ever, 'inherit' lets the project's default count. The default
    spares the newest version of an artifact, and those with an alias besides latest.

    Nothing is deleted by it but in 'avc expire' and 'avc gc'.

    With --editors only these people can set it, and every clone passes over what others set. That
    is a courtesy: who may write to the bucket can do anything, and only its permissions prevent it.
    """
    if bool(words) + (default is not None) + (editors is not None) + anyone > 1:
        raise UsageError("give versions, --default, --editors or --anyone, one of them", hint="run 'avc ttl --help'")
    repository = shared.repository
    if editors is not None or anyone:
        listed = None if anyone else [who.strip() for who in str(editors).split(",")]
        result = repository.ttl() if editors == _SHOW else repository.set_ttl_editors(listed)
    elif default is not None:
        result = repository.ttl() if default == _SHOW else repository.set_default_ttl(default)
    elif not words:
        raise UsageError(
            "no version given", hint="write 'avc ttl NAME:v3', 'avc ttl NAME:v3 30d' or 'avc ttl --default'"
        )
    else:
        result = repository.ttl(*words) if len(words) == 1 else repository.set_ttl(words[:-1], words[-1])
    if shared.answer("ttl", result):
        return
    for one in result.versions:
        shared.say(_lifetime(one))
    if default is not None:
        said = f"is {result.default}" if result.default else "is none: its versions live for ever"
        shared.say(f"the default time to live of project '{escape(result.project)}' {said}")
    if editors is not None or anyone:
        who = "anyone" if result.editors is None else "only " + ", ".join(map(escape, result.editors))
        shared.say(f"{who} may change times to live")


def _lifetime(one: results.Lifetime) -> str:
    name, when = f"{escape(one.artifact)}:{one.version}", render.expiry(one.expires)
    if one.expires is None:
        return f"{name} never expires: {escape(one.why)}"
    if one.over:
        return f"{name} {when}: {escape(one.why)} is over, and the next 'avc expire' or 'avc gc' deletes it"
    return f"{name} {when}: {escape(one.why)}"


@command(COMMANDS, "retention")
@click.argument("name", required=False, type=REF, metavar="[NAME]")
@click.option("--default", "default", is_flag=True, help="The project's default, for artifacts without their own.")
@click.option("--keep-last", type=int, metavar="N", help="Keep the newest N versions.")
@click.option("--keep-within", metavar="30d", help="Keep what was created within this time.")
@click.option("--keep-aliased", is_flag=True, help="Keep what has an alias.")
@click.option("--keep-tagged", is_flag=True, help="Keep what has a tag.")
@click.option("--none", "none", is_flag=True, help="No rules: everything stays.")
@click.option("--inherit", is_flag=True, help="No policy of its own: the project's default counts.")
@click.option("--dry-run", is_flag=True, help="Say what the policy would end, and record nothing.")
def retention(
    shared: Shared, name: str | None, default: bool, keep_last: int | None, keep_within: str | None,
    keep_aliased: bool, keep_tagged: bool, none: bool, inherit: bool, dry_run: bool,
) -> None:  # fmt: skip
    """Show or set which versions to keep.

    A version stays if one of the rules keeps it; the others end. Whatever the rules, these stay:
    the newest version, the one that 'latest' names, versions with a time to live of their own
    ('none' is one), what the workspace stands on, and all of the types that tools make. Every version is named
    with the reasons; without rules, what stands is shown.

    Nothing is deleted by it but in 'avc expire' and 'avc gc'.
    """
    rules = Policy(keep_last, keep_within, keep_aliased, keep_tagged)
    given = rules != Policy()
    if (name is None) != default:
        raise UsageError("give an artifact, or --default", hint="write 'avc retention NAME --keep-last 5 --dry-run'")
    if given + none + inherit > 1 or (inherit and default):
        raise UsageError("give rules, --none or --inherit", hint="--inherit is for an artifact: 'avc retention --help'")
    if given or none or inherit:
        policy = None if inherit or (none and default) else rules
        result = shared.repository.set_retention(name, policy, dry_run=dry_run)
    else:
        result = shared.repository.retention(name)
    if shared.answer("retention", result):
        return
    for line in render.retention(result):
        shared.say(line)


@command(COMMANDS, "expire")
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, and why.")
def expire(shared: Shared, dry_run: bool) -> None:
    """Delete the versions whose time is over.

    That is the end of their time to live ('avc ttl'), or that no rule of their retention policy keeps
    them ('avc retention'). 'avc gc' does so first, too; no other command does. 'avc restore' and
    'avc undo' take it back until gc has removed the bytes.
    """
    result = shared.repository.expire(dry_run=dry_run)
    if shared.answer("expire", result):
        return
    for one in result.versions:
        shared.say(render.expired(one, dry_run=dry_run))
    if not result.versions:
        shared.say("nothing is over")
    elif not dry_run:
        them = count(len(result.versions), "version")
        shared.say(f"deleted {them}; 'avc restore' or 'avc undo' brings back what gc has not collected")
