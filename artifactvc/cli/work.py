"""Commands that move files: init, add, rm, status, commit, reset, checkout, put, get."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from artifactvc.cli import render
from artifactvc.cli.app import Shared, command
from artifactvc.cli.limits import transfer_options
from artifactvc.cli.values import ARTIFACT, REF, metadata
from artifactvc.errors import UsageError
from artifactvc.util.text import escape, is_uri

if TYPE_CHECKING:
    from artifactvc.core.results import Staged

COMMANDS: Final[dict[str, click.Command]] = {}
_MISSING: Final = "Leave out files whose references lead to nothing, or to other bytes, and say which."


@command(COMMANDS, "init")
@click.argument("directory", default=".", metavar="[DIR]")
@click.option("--project", metavar="P", help="Project of names written without one (default: the directory's name).")
def init(shared: Shared, directory: str, project: str | None) -> None:
    """Make a repository.

    Creates .artifacts/ in DIR, or here. In a clone by Git, the remote that artifacts.toml
    names becomes origin.
    """
    from artifactvc.core.names import check_given
    from artifactvc.sdk.repository import Repository

    check_given(directory, "directory", "leave it out, or write '.' for where you are")
    repository, result = Repository.init(directory, project=project, progress=shared.progress())
    shared.adopt(repository)
    if not shared.answer("init", result):
        verb = "made a repository" if result.created else "there is a repository already"
        shared.say(f"{verb} at {escape(result.path)} (project {escape(result.project)})")
        if result.remote:
            shared.say(f"origin is {escape(result.remote)}, from artifacts.toml")
            shared.say("to get the files that artifacts.toml names, run 'avc pull' and 'avc checkout'")


@command(COMMANDS, "add")
@click.argument("paths", nargs=-1, type=click.Path(readable=False), metavar="[PATH]...")
@click.option("--to", metavar="NAME", type=ARTIFACT, help="Artifact to stage into.")
@click.option("--type", "kind", metavar="T", help="Type of a new artifact (default: dataset).")
@click.option("--as", "prefix", metavar="PREFIX", help="Directory inside the artifact.")
@click.option("--move", is_flag=True, help="Link larger files into the store instead of copying them.")
@click.option("--follow", is_flag=True, help="Store what links point at.")
@click.option("--force", is_flag=True, help="Let --move make links as root.")
@click.option("--import", "taking", is_flag=True, help="Copy what a URI leads to into the store.")
@click.option("--max-objects", metavar="N", type=click.IntRange(1), help="Objects that one URI may hold (10,000).")
@click.option("--no-checksum", is_flag=True, help="Of a URI keep the URI alone: nothing is asked.")
@click.option("--dry-run", is_flag=True, help="Say what would be staged, and store nothing.")
@transfer_options
def add(
    shared: Shared, paths: tuple[str, ...], to: str | None, kind: str | None, prefix: str | None, move: bool,
    follow: bool, force: bool, taking: bool, max_objects: int | None, no_checksum: bool, dry_run: bool,
) -> None:  # fmt: skip
    """Stage files and directories.

    A directory is taken whole: new, changed and removed files; its contents enter at the
    root of the artifact, or under --as. A file enters by its base name. Each path is bound
    to its artifact in artifacts.toml; with no PATH, every bound path is staged. Files
    that .avcignore names are left out, unless they are tracked already. Empty directories
    and file times are not kept.

    A URI (s3://, gs://, az://, https://, file:///) goes into the artifact of --to, an object or
    a directory with all below it: of each a reference is kept, with its size, identity and
    version, and no bytes. Adding it again takes what has changed there. avc://NAME:v3/PATH shares
    what another version has. With --import the bytes are copied into the store, and where they
    came from is remembered ('avc ls REF --sources'); what has not changed since is not fetched again.
    """
    if taking or any(map(is_uri, paths)):
        results = _add_uris(shared, paths, to, (move, follow, force), (taking, no_checksum), {
            "type": kind, "prefix": prefix, "max_objects": max_objects, "dry_run": dry_run,
        })  # fmt: skip
    elif max_objects is not None or no_checksum:
        raise UsageError("--max-objects and --no-checksum are for URIs", hint="leave them out")
    else:
        results = shared.repository.add(
            paths, to=to, type=kind, prefix=prefix, move=move, follow=follow, force=force, dry_run=dry_run,
            detail=shared.verbose or shared.json,
        )  # fmt: skip
    if not shared.answer("add", results):
        for result in results:
            shared.say(render.staged(result))
            if dry_run or shared.verbose:
                shared.say(
                    render.lines(render.changes(result.changes, every=shared.verbose))
                ) if result.changes else None


def _add_uris(
    shared: Shared, uris: tuple[str, ...], to: str | None, others: tuple[bool, ...], how: tuple[bool, bool],
    options: dict[str, Any],
) -> list[Staged]:  # fmt: skip
    taking, no_checksum = how
    paths = [uri for uri in uris if not is_uri(uri)]
    if paths and len(paths) < len(uris):
        raise UsageError(
            f"'{escape(paths[0])}' is a path, and others are URIs", hint="add paths with one command, URIs with another"
        )
    if not uris or to is None:
        raise UsageError("a URI is added to an artifact that is named", hint="say which: avc add URI --to NAME")
    if len(uris) > 1:
        raise UsageError("a URI is added alone", hint="add one URI at a time: each is taken whole, or not at all")
    if any(others):
        raise UsageError("--move, --follow and --force are for files of this machine", hint="leave them out")
    options["detail"] = shared.verbose or shared.json or options["dry_run"]
    if taking and no_checksum:
        raise UsageError("what is imported is checked", hint="leave --no-checksum out")
    if taking:
        return [shared.repository.add_import(uri, to=to, **options) for uri in uris]
    return [shared.repository.add_references(uri, to=to, checksum=not no_checksum, **options) for uri in uris]


@command(COMMANDS, "rm")
@click.option("--from", "name", metavar="NAME", required=True, type=ARTIFACT, help="Artifact whose draft loses them.")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--dry-run", is_flag=True, help="Say what would be taken out.")
def rm(shared: Shared, name: str, paths: tuple[str, ...], dry_run: bool) -> None:
    """Take entries out of a draft.

    PATH is a path inside the artifact: a file, or a directory with all below it. Files in
    the workspace stay; a later add of a directory that holds them takes them in again.
    """
    result = shared.repository.remove(name, paths, dry_run=dry_run)
    if not shared.answer("rm", result):
        shared.say(render.staged(result))
        shared.say(render.lines(render.changes(result.changes, every=shared.verbose)))


@command(COMMANDS, "status")
@click.argument("names", nargs=-1, type=ARTIFACT, metavar="[NAME]...")
def status(shared: Shared, names: tuple[str, ...]) -> None:
    """Show what is staged and what differs.

    Compares the workspace with the drafts, and the drafts with the versions they stand on.
    """
    result = shared.repository.status(names)
    if not shared.answer("status", result):
        shared.say(render.lines(render.status(result, every=shared.verbose)))


@command(COMMANDS, "commit")
@click.argument("names", nargs=-1, type=ARTIFACT, metavar="[NAME]...")
@click.option("-m", "--message", metavar="TEXT", help="Description of the new versions.")
@click.option("--alias", "aliases", metavar="A", multiple=True, help="Point this alias at them, too.")
@click.option("--tag", "tags", metavar="T", multiple=True, help="Add this tag.")
@click.option("--meta", metavar="K=V|@FILE", multiple=True, help="Metadata: a key and a JSON value, or a JSON file.")
@click.option("--ttl", metavar="30d|none", help="How long they live, from now; 'avc gc' deletes them then.")
@click.option("--run", metavar="ID", help="The run that produced them.")
@click.option("--dry-run", is_flag=True, help="Say what would be committed.")
def commit(
    shared: Shared, names: tuple[str, ...], message: str | None, aliases: tuple[str, ...], tags: tuple[str, ...],
    meta: tuple[str, ...], ttl: str | None, run: str | None, dry_run: bool,
) -> None:  # fmt: skip
    """Make versions of what is staged.

    Content that an artifact already has makes no new version: the one there is returned,
    and gets the aliases, tags and run.
    """
    results = shared.repository.commit(
        names, message=message, aliases=aliases, tags=tags, metadata=metadata(meta), ttl=ttl, run=run,
        dry_run=dry_run,
    )  # fmt: skip
    if not shared.answer("commit", results):
        for result in results:
            shared.say(render.committed(result, dry_run=dry_run))
            if result.note:
                shared.note(result.note)
        if not results:
            shared.say("nothing to commit (run 'avc add PATH' first)")


@command(COMMANDS, "reset")
@click.argument("name", type=ARTIFACT)
def reset(shared: Shared, name: str) -> None:
    """Drop an artifact's draft.

    Files in the workspace and versions stay as they are.
    """
    result = shared.repository.reset(name)
    if not shared.answer("reset", result):
        shared.say(escape(result.message))


@command(COMMANDS, "checkout")
@click.argument("ref", required=False, type=REF, metavar="[REF]")
@click.argument("destination", required=False, type=click.Path(readable=False), metavar="[DEST]")
@click.option("--path", "prefixes", metavar="PREFIX", multiple=True, help="Only this file or directory.")
@click.option("--link", metavar="MODE", help="hardlink or symlink larger files, read-only, instead of copying.")
@click.option("--force", is_flag=True, help="Overwrite uncommitted changes, and drop a draft.")
@click.option("--dry-run", is_flag=True, help="Say what would be written and removed, and what would come from where.")
@click.option("--allow-missing-references", is_flag=True, help=_MISSING)
@transfer_options
def checkout(
    shared: Shared, ref: str | None, destination: str | None, prefixes: tuple[str, ...], link: str | None,
    force: bool, dry_run: bool, allow_missing_references: bool,
) -> None:  # fmt: skip
    """Write a version's files.

    With no DEST they go where the artifact is bound, else to ./NAME, which is then bound.
    With no REF, all that artifacts.toml names is written, as after a checkout by Git. Files
    that are right are left alone; files the version does not have are removed only if they
    are tracked and unmodified.

    What references lead to is fetched in the version that was recorded, and checked before
    any file is replaced; it stays here, so that a second time nothing is fetched.
    """
    for one in [ref] if ref is not None else shared.repository.named_versions():
        result = shared.repository.checkout(
            one, destination, prefixes=prefixes, link=link, force=force, dry_run=dry_run, detail=shared.verbose,
            allow_missing_references=allow_missing_references,
        )  # fmt: skip
        if shared.answer("checkout", result):
            continue
        shared.say(render.checked_out(result))
        for line in render.bringing(result.bringing):
            shared.say(line)
        if (dry_run or shared.verbose) and result.plan:
            shared.say(render.lines(render.changes(result.plan, every=shared.verbose)))
        for path in result.kept[:20]:
            shared.note(f"kept '{escape(path)}', which is not what the base version has")


@command(COMMANDS, "put")
@click.argument("path", type=click.Path(readable=False))
@click.option("-n", "--name", metavar="NAME", required=True, type=ARTIFACT, help="Artifact to make a version of.")
@click.option("-t", "--type", "kind", metavar="T", help="Type of a new artifact (default: dataset).")
@click.option("-m", "--message", metavar="TEXT", help="Description.")
@click.option("-a", "--alias", "aliases", metavar="A", multiple=True, help="Point this alias at it, too.")
@click.option("--tag", "tags", metavar="T", multiple=True, help="Add this tag.")
@click.option("--meta", metavar="K=V|@FILE", multiple=True, help="Metadata: a key and a JSON value, or a JSON file.")
@click.option("--as", "prefix", metavar="PREFIX", help="Directory inside the artifact.")
@click.option("--follow", is_flag=True, help="Store what links point at.")
@click.option("--import", "taking", is_flag=True, help="Copy what a URI leads to into the store.")
@click.option("--max-objects", metavar="N", type=click.IntRange(1), help="Objects that one URI may hold (10,000).")
@click.option("--run", metavar="ID", help="The run that produced it (default: a new one).")
@click.option("--no-checksum", is_flag=True, help="Of a URI keep the URI alone: nothing is asked.")
@transfer_options
def put(
    shared: Shared, path: str, name: str, kind: str | None, message: str | None, aliases: tuple[str, ...],
    tags: tuple[str, ...], meta: tuple[str, ...], prefix: str | None, follow: bool, taking: bool,
    max_objects: int | None, no_checksum: bool, run: str | None,
) -> None:  # fmt: skip
    """Store a path as a version, in one step.

    PATH may be anywhere, or an address, of which references are kept; nothing is bound. A run
    that produced the version is recorded. Makes a repository here where there is none.
    """
    from artifactvc.cli.artifact import repository_for_put

    result = repository_for_put(shared, path).put(
        path, name=name, type=kind, aliases=aliases, tags=tags, description=message, metadata=metadata(meta),
        run_id=run, prefix=prefix, follow=follow, import_=taking, checksum=not no_checksum, max_objects=max_objects,
    )  # fmt: skip
    if not shared.answer("put", result):
        shared.say(render.committed(result))
        if result.note:
            shared.note(result.note)


@command(COMMANDS, "get")
@click.argument("ref", type=REF)
@click.option("--root", metavar="DIR", type=click.Path(readable=False), help="Where to (default: artifacts/NAME:vN).")
@click.option("--path", "prefix", metavar="PREFIX", help="Only this file or directory.")
@click.option("--dry-run", is_flag=True, help="Say what would be written, and what would come from where.")
@click.option("--allow-missing-references", is_flag=True, help=_MISSING)
@transfer_options
def get(
    shared: Shared, ref: str, root: str | None, prefix: str | None, dry_run: bool, allow_missing_references: bool
) -> None:
    """Download a version, in one step.

    Nothing is bound, and a file that differs from the version's is never overwritten.
    """
    result = shared.repository.get(
        ref, root=root, prefix=prefix, dry_run=dry_run, allow_missing_references=allow_missing_references
    )
    if not shared.answer("get", result):
        shared.say(render.checked_out(result, verb="downloaded"))
        for line in render.bringing(result.bringing):
            shared.say(line)
