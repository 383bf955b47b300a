"""Commands that keep order: fsck, gc, du, config, completion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from artifactvc.cli import render
from artifactvc.cli.app import Shared, command, group
from artifactvc.cli.limits import transfer_options
from artifactvc.cli.values import REMOTE, count
from artifactvc.core.results import RemovedFile
from artifactvc.errors import UsageError
from artifactvc.util.text import escape, format_size

COMMANDS: Final[dict[str, click.Command]] = {}
_CONFIG: Final[dict[str, click.Command]] = {}


@command(COMMANDS, "fsck")
@click.argument("names", nargs=-1, type=REMOTE, metavar="[REMOTE]")
@click.option("--full", is_flag=True, help="Hash every stored byte.")
@click.option("--repair", is_flag=True, help="Mend what can be mended: here from remotes, REMOTE from here.")
@click.option("--refs", is_flag=True, help="Check what references lead to instead: of all artifacts, or those named.")
@transfer_options
def fsck(shared: Shared, names: tuple[str, ...], full: bool, repair: bool, refs: bool) -> int:
    """Check everything, and mend it.

    Here: logs, index, drafts, manifests and objects. Of a remote: its whole log as it stands
    there, where its objects are, and that every one that is needed is there; with --full every
    byte of them is read. Mending a remote stores anew what this repository or another remote
    has, and never overwrites a sound file. Exit code 1 if something is wrong and was not repaired.

    With --refs [NAME]... their storage is asked whether the references of live versions lead to
    what was recorded; nothing is downloaded, but files of this machine are hashed again.
    """
    if refs:
        return _fsck_refs(shared, names, full or repair)
    if len(names) > 1:
        raise UsageError("fsck takes one remote", hint="check the references of artifacts with --refs NAME...")
    remote_name = names[0] if names else None
    result = shared.repository.fsck(remote_name, full=full, repair=repair)
    wrong = [problem for problem in result.problems if not problem.repaired]
    if not shared.answer("fsck", result):
        for problem in result.problems:
            state = "repaired" if problem.repaired else problem.kind
            said = problem.message.removeprefix("'").startswith(problem.subject)  # as of a stored file
            about = "" if said else f"{escape(problem.subject)}: "
            shared.say(f"{about}{escape(problem.message)} ({state})")
        for text in result.notes:
            shared.note(escape(text))
        how = "every byte" if full else "structure"
        checked = (
            f"{count(result.versions, 'version')}, {count(result.objects, 'object')} ({format_size(result.bytes)})"
        )
        verdict = "sound" if not wrong else count(len(wrong), "problem")
        where = f" on '{escape(result.remote)}'" if result.remote else ""
        shared.say(f"checked {checked}{where}, {how}: {verdict}")
        if wrong and not repair:
            of = f" {escape(result.remote)}" if result.remote else ""
            shared.say(f"run 'avc fsck{of}{' --full' if full else ''} --repair' to mend what can be mended")
    return 1 if wrong else 0


def _fsck_refs(shared: Shared, names: Sequence[str], other: bool) -> int:
    if other:
        raise UsageError("--refs goes with neither --full nor --repair", hint="run 'avc fsck' without --refs for those")
    result = shared.repository.fsck_refs(names)
    if not shared.answer("fsck", result):
        for problem in result.problems:
            shared.say(f"{problem.subject}: {escape(problem.message)} ({problem.kind})")
        targets, versions = count(result.objects, "target"), count(result.versions, "version")
        verdict = count(len(result.problems), "problem") if result.problems else "as recorded"
        shared.say(f"checked {targets} ({format_size(result.bytes)}) of references in {versions}: {verdict}")
    return 1 if result.problems else 0


@command(COMMANDS, "gc")
@click.argument("remote_name", required=False, type=REMOTE, metavar="[REMOTE]")
@click.option("--grace", metavar="14d", help="How long what was removed can still come back (setting gc.grace).")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and why the rest stays.")
@click.option("--force", is_flag=True, help="Of a remote: trust ages though its clock and the one here disagree.")
@transfer_options
def gc(shared: Shared, remote_name: str | None, grace: str | None, dry_run: bool, force: bool) -> None:
    """Remove what nothing needs.

    Versions whose time to live is over are deleted first, as by 'avc expire'.

    Without REMOTE, objects that no live version, draft or recent deletion needs go to the trash, and
    leave it after the grace. On a remote: stored files are condemned by an entry of its log,
    packs that are mostly dead are written anew, and what was condemned goes after the grace.
    It is safe while others push. With -v each file is named.
    """
    if remote_name is not None:
        _gc_remote(shared, remote_name, grace, dry_run, force)
        return
    if force:
        raise UsageError("--force is for a remote's clock, and no remote is given", hint="run 'avc gc REMOTE --force'")
    result = shared.repository.gc(grace=grace, dry_run=dry_run)
    if shared.answer("gc", result):
        return
    for one in result.expired:
        shared.say(render.expired(one, dry_run=dry_run))
    verb = "would move" if dry_run else "moved"
    shared.say(f"{verb} {count(result.trashed_objects, 'object')} ({format_size(result.trashed_bytes)}) to the trash")
    if result.removed_bytes:
        shared.say(f"{'would remove' if dry_run else 'removed'} {format_size(result.removed_bytes)} from the trash")
    if result.restored_objects:
        shared.say(f"moved {count(result.restored_objects, 'object')} back from the trash")
    for text in result.kept:
        shared.say(f"  {escape(text)}")


def _gc_remote(shared: Shared, name: str, grace: str | None, dry_run: bool, force: bool) -> None:
    result = shared.repository.gc_remote(name, grace=grace, dry_run=dry_run, force=force)
    if shared.answer("gc", result):
        return
    would = "would " if dry_run else ""
    for one in result.expired:
        shared.say(render.expired(one, dry_run=dry_run))
    _say_files(shared, f"{would}condemn" if dry_run else "condemned", result.condemned)
    if result.rewritten_bytes:
        shared.say(f"{'would write' if dry_run else 'wrote'} {format_size(result.rewritten_bytes)} anew")
    _say_files(shared, f"{would}remove" if dry_run else "removed", result.removed)
    if not (result.condemned or result.removed):
        shared.say(f"nothing to collect on '{escape(result.remote)}'")
    for file in result.spared:
        shared.note(f"'{escape(file)}' is condemned and holds the only copy of something that is needed: it stays")
    for text in result.kept:
        shared.say(f"  {escape(text)}")


def _say_files(shared: Shared, deed: str, files: Sequence[RemovedFile]) -> None:
    for reason in dict.fromkeys(file.reason for file in files):
        chosen = [file for file in files if file.reason == reason]
        size = format_size(sum(file.bytes for file in chosen))
        shared.say(f"{deed} {count(len(chosen), 'file')} ({size}): {escape(reason)}")
        for file in chosen if shared.verbose else ():
            shared.say(f"  {escape(file.name)} ({format_size(file.bytes)})")


@command(COMMANDS, "du")
def du(shared: Shared) -> None:
    """Show what takes space."""
    result = shared.repository.du()
    if not shared.answer("du", result):
        shared.say(render.lines(render.usage(result)))


@group("config")
@click.option("--global", "globally", is_flag=True, help="The user's own file instead of this repository's.")
@click.pass_context
def config(ctx: click.Context, globally: bool) -> None:
    """Show and change settings."""
    ctx.meta["globally"] = globally


COMMANDS["config"] = config


def _globally(given: bool) -> bool:
    return given or bool(click.get_current_context().meta.get("globally"))


@command(_CONFIG, "get")
@click.argument("name")
@click.option("--global", "globally", is_flag=True, help="The user's own file instead of this repository's.")
def config_get(shared: Shared, name: str, globally: bool) -> None:
    """Print one setting."""
    from artifactvc.sdk.repository import global_setting

    result = global_setting(name) if _globally(globally) else shared.repository.config_get(name)
    if not shared.answer("config get", result):
        shared.say(escape(str(result.value)))


@command(_CONFIG, "set")
@click.argument("name")
@click.argument("value")
@click.option("--global", "globally", is_flag=True, help="The user's own file instead of this repository's.")
def config_set(shared: Shared, name: str, value: str, globally: bool) -> None:
    """Change one setting."""
    from artifactvc.sdk.repository import set_global

    result = set_global(name, value) if _globally(globally) else shared.repository.config_set(name, value)
    if not shared.answer("config set", result):
        shared.say(f"{escape(result.name)} = {escape(str(result.value))} ({result.source})")


@command(_CONFIG, "list")
@click.option("--global", "globally", is_flag=True, help="What the user's own file holds; needs no repository.")
def config_list(shared: Shared, globally: bool) -> None:
    """List every setting, and where it is set."""
    from artifactvc.sdk.environment import global_settings

    own = _globally(globally)
    results = global_settings() if own else shared.repository.config_list()
    if not shared.answer("config list", results):
        if own and not results:
            shared.note("the user's own file holds no setting (run 'avc config set --global NAME VALUE')")
        for result in results:
            shared.say(f"{result.name} = {escape(str(result.value))} ({result.source})")


for _name, _made in _CONFIG.items():
    config.add_command(_made, _name)


@command(COMMANDS, "completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), metavar="bash|zsh|fish")
def completion(shared: Shared, shell: str) -> None:
    """Print a script that completes commands.

    For bash: eval "$(avc completion bash)" in ~/.bashrc; for zsh the same in ~/.zshrc; for
    fish: avc completion fish > ~/.config/fish/completions/avc.fish
    """
    from artifactvc.cli.completion import script

    if shared.json:
        raise UsageError("completion prints a script, which is no JSON", hint="leave --json out")

    shared.say(script(shell))
