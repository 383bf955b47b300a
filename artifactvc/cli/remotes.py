"""Commands that share: remote, push, pull, fetch, clone."""

from __future__ import annotations

from typing import Final

import click

from artifactvc.cli import render
from artifactvc.cli.app import Shared, command, group
from artifactvc.cli.limits import transfer_options
from artifactvc.cli.values import REF, REMOTE, count
from artifactvc.util.text import escape, format_size

COMMANDS: Final[dict[str, click.Command]] = {}
_REMOTE: Final[dict[str, click.Command]] = {}
_TRANSPORT: Final = click.option(
    "--transport",
    type=click.Choice(["auto", "fsspec"]),
    default="auto",
    help="Library for object storage: the quickest there is for it, or fsspec's.",
)


@group("remote")
def remote() -> None:
    """Add, list and change remotes.

    The first remote is origin: it gives versions their final numbers.
    """


COMMANDS["remote"] = remote


@command(_REMOTE, "add")
@click.argument("name")
@click.argument("url", type=click.Path(readable=False))
@click.option("--endpoint-url", metavar="U", help="Address of a server that is not the cloud's own.")
@click.option("--profile", metavar="P", help="Profile of the credentials file.")
@click.option("--region", metavar="R", help="Region of the bucket.")
@_TRANSPORT
@click.option("--single-writer", is_flag=True, help="Allow storage on which only one clone may safely push.")
def remote_add(
    shared: Shared, name: str, url: str, endpoint_url: str | None, profile: str | None, region: str | None,
    transport: str, single_writer: bool,
) -> None:  # fmt: skip
    """Add a remote: a directory, or an address of a storage.

    S3 is s3://BUCKET/PATH, Google Cloud Storage gs://BUCKET/PATH, Azure az://CONTAINER/PATH
    or https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH, a directory on another host
    sftp://HOST/PATH; any other https://HOST/PATH is read only. The storage is tried first,
    and what was found is told: it must be able to create a file only if it does not exist.
    Credentials come from the usual places and are never stored.
    """
    from artifactvc.sdk.repository import RemoteOptions

    options = RemoteOptions(endpoint_url=endpoint_url, profile=profile, region=region, client=transport)
    result = shared.repository.remote_add(name, url, options=options, single_writer=single_writer)
    if not shared.answer("remote add", result):
        marks = [mark for mark, is_so in (("origin", result.origin), ("read-only", result.read_only)) if is_so]
        said = f" ({', '.join(marks)})" if marks else ""
        shared.say(f"added remote '{escape(result.name)}' at {escape(result.url)}{said}")
    for text in result.notes:
        shared.note(text)


@command(_REMOTE, "list")
def remote_list(shared: Shared) -> None:
    """List the remotes."""
    results = shared.repository.remotes()
    if shared.answer("remote list", results):
        return
    if not results:
        shared.note("no remote yet (run 'avc remote add NAME URL')")
    for result in results:
        marks = [mark for mark, is_so in (("origin", result.origin), ("read-only", result.read_only)) if is_so]
        shared.say(f"{escape(result.name)}  {escape(result.url)}" + (f"  ({', '.join(marks)})" if marks else ""))


@command(_REMOTE, "remove")
@click.argument("name", type=REMOTE)
def remote_remove(shared: Shared, name: str) -> None:
    """Forget a remote. Nothing on it is touched."""
    result = shared.repository.remote_remove(name)
    if not shared.answer("remote remove", result):
        shared.say(f"forgot remote '{escape(result.name)}' at {escape(result.url)}")


@command(_REMOTE, "set-url")
@click.argument("name", type=REMOTE)
@click.argument("url", type=click.Path(readable=False))
def remote_set_url(shared: Shared, name: str, url: str) -> None:
    """Say where a remote is now."""
    result = shared.repository.remote_set_url(name, url)
    if not shared.answer("remote set-url", result):
        shared.say(f"remote '{escape(result.name)}' is at {escape(result.url)}")


@command(_REMOTE, "origin")
@click.argument("name", type=REMOTE)
def remote_origin(shared: Shared, name: str) -> None:
    """Let another remote give the numbers."""
    result = shared.repository.remote_origin(name)
    if not shared.answer("remote origin", result):
        shared.say(f"origin is '{escape(result.name)}' at {escape(result.url)}")


for _name, _made in _REMOTE.items():
    remote.add_command(_made, _name)


def _remote_and_refs(shared: Shared, name: str | None, refs: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    """``push data:v3`` means origin: what no remote is called, and is written as a version or names an artifact."""
    repository = shared.repository
    if name is None or name in (remote.name for remote in repository.remotes()):
        return name, refs
    plain = name.rpartition("/")[2]
    if ":" in plain or "@" in plain or any(name in (a.name, f"{a.project}/{a.name}") for a in repository.artifacts()):
        return None, (name, *refs)
    return name, refs


@command(COMMANDS, "push")
@click.argument("remote_name", required=False, type=REMOTE, metavar="[REMOTE]")
@click.argument("refs", nargs=-1, type=REF, metavar="[REF]...")
@click.option("--force", is_flag=True, help="Move aliases that somebody else has moved.")
@click.option("--except-aliases", is_flag=True, help="Leave such aliases out, and push the rest.")
@click.option("--join", is_flag=True, help="Join an artifact that the remote has under the same name.")
@click.option("--dry-run", is_flag=True, help="Say what would be sent.")
@transfer_options
def push(
    shared: Shared, remote_name: str | None, refs: tuple[str, ...], force: bool, except_aliases: bool, join: bool,
    dry_run: bool,
) -> None:  # fmt: skip
    """Send what a remote lacks.

    With no REF all that is new, in all projects, never drafts. REMOTE is origin, else the
    only one, where none is named: 'avc push images:v3' works.
    """
    remote_name, refs = _remote_and_refs(shared, remote_name, refs)
    result = shared.repository.push(
        remote_name, refs, force=force, except_aliases=except_aliases, join=join, dry_run=dry_run
    )
    if shared.answer("push", result):
        return
    for line in result.plan:
        shared.say(escape(line))
    for text in result.renumbered:
        shared.say(escape(text))
    if not result.records:
        shared.say(f"nothing to push to '{escape(result.remote)}'")
    if dry_run or not result.records:
        return
    for version in result.versions:
        shared.say(f"pushed {escape(version)}")
    sent = f"{count(result.objects, 'object')} ({format_size(result.bytes)}) in {count(result.files, 'file')}"
    shared.say(
        f"pushed {count(result.records, 'record')} to '{escape(result.remote)}' as entry {result.entry}; sent {sent}"
    )


@command(COMMANDS, "pull")
@click.argument("remote_name", required=False, type=REMOTE, metavar="[REMOTE]")
@click.argument("refs", nargs=-1, type=REF, metavar="[REF]...")
@click.option("--dry-run", is_flag=True, help="Say what would be fetched.")
@transfer_options
def pull(shared: Shared, remote_name: str | None, refs: tuple[str, ...], dry_run: bool) -> None:
    """Read a remote's log, and fetch bytes.

    With no REF the versions that artifacts.toml names, else each latest; in a mirror
    (clone --mirror) everything. The workspace is never touched: it says which checkout would.
    """
    remote_name, refs = _remote_and_refs(shared, remote_name, refs)
    result = shared.repository.pull(remote_name, refs, dry_run=dry_run)
    if shared.answer("pull", result):
        return
    _fetched(shared, result.fetched)
    for version in result.versions if result.bringing or not dry_run else ():
        shared.say(f"{'would fetch' if dry_run else 'here is'} {escape(version)}")
    for line in render.bringing(result.bringing):
        shared.say(line)
    if not dry_run:
        shared.say(f"fetched {count(result.objects, 'object')} ({format_size(result.bytes)})")
    elif not result.bringing:
        shared.say("would fetch nothing: all of it is here")
    for line in result.checkouts:
        shared.say(f"to write the files, run '{escape(line)}'")


def _fetched(shared: Shared, result: object) -> None:
    from artifactvc.core.results import Fetched

    assert isinstance(result, Fetched)
    if result.entries:
        shared.say(f"read {count(result.entries, 'entry')} from '{escape(result.remote)}'")
    else:
        shared.say(f"nothing new on '{escape(result.remote)}'")
    for version in result.versions[:20]:
        shared.say(f"  new: {escape(version)}")
    if len(result.versions) > 20:
        shared.say(f"  … and {len(result.versions) - 20:,} more")
    for text in result.renumbered:
        shared.say(f"  {escape(text)}")
    for text in result.warnings:
        shared.note(text)


@command(COMMANDS, "fetch")
@click.argument("remote_name", required=False, type=REMOTE, metavar="[REMOTE]")
@transfer_options
def fetch(shared: Shared, remote_name: str | None) -> None:
    """Read a remote's log only."""
    result = shared.repository.fetch(remote_name)
    if not shared.answer("fetch", result):
        _fetched(shared, result)


@command(COMMANDS, "clone")
@click.argument("url", type=click.Path(readable=False))
@click.argument("directory", required=False, type=click.Path(readable=False), metavar="[DIR]")
@click.option("--endpoint-url", metavar="U", help="Address of a server that is not the cloud's own.")
@click.option("--profile", metavar="P", help="Profile of the credentials file.")
@click.option("--region", metavar="R", help="Region of the bucket.")
@_TRANSPORT
@click.option("--mirror", is_flag=True, help="Bring every byte, now and with each later pull.")
@transfer_options
def clone(
    shared: Shared, url: str, directory: str | None, endpoint_url: str | None, profile: str | None, region: str | None,
    transport: str, mirror: bool,
) -> None:  # fmt: skip
    """Make a repository from a remote.

    The log is read; bytes come with pull, checkout and get. With --mirror all of them come,
    of every version that is live or can still be restored: a complete copy, from which
    everything can be pushed to an empty remote. Run again in the same DIR, it goes on.
    """
    from artifactvc.sdk.repository import RemoteOptions, Repository, transfer_limits

    options = RemoteOptions(endpoint_url=endpoint_url, profile=profile, region=region, client=transport)
    options = transfer_limits(**shared.limits).over(options)
    repository, result = Repository.clone(url, directory, options=options, mirror=mirror, progress=shared.progress())
    shared.adopt(repository)
    if not shared.answer("clone", result):
        versions = count(len(result.fetched.versions), "version")
        shared.say(f"cloned {escape(result.remote)} to {escape(result.path)}: {versions}")
        if mirror:
            shared.say(f"fetched {count(result.objects, 'object')} ({format_size(result.bytes)})")
