"""Commands that only look: log, show, ls, cat, diff."""

from __future__ import annotations

import itertools
import sys
from typing import Final

import click

from artifactvc.cli import render
from artifactvc.cli.app import Shared, command
from artifactvc.cli.limits import transfer_options
from artifactvc.cli.values import ARTIFACT, REF
from artifactvc.errors import UsageError
from artifactvc.util.text import escape

COMMANDS: Final[dict[str, click.Command]] = {}


@command(COMMANDS, "log")
@click.argument("name", type=ARTIFACT)
@click.option("-n", "limit", metavar="N", type=click.IntRange(0), help="At most N versions.")
def log(shared: Shared, name: str, limit: int | None) -> None:
    """List an artifact's versions, newest first."""
    found = shared.repository.log(name, limit=limit)
    remote = bool(shared.repository.remotes())
    if not shared.stream("log", found, lambda info: render.version_line(info, shared=remote)) and limit != 0:
        shared.note(f"'{escape(name)}' has no version")


@command(COMMANDS, "show")
@click.argument("ref", type=REF)
def show(shared: Shared, ref: str) -> None:
    """Show all about one version."""
    result = shared.repository.show(ref)
    if not shared.answer("show", result):
        shared.say(render.lines(render.version(result, shared=bool(shared.repository.remotes()))))


@command(COMMANDS, "ls")
@click.argument("ref", required=False, type=REF)
@click.argument("prefix", required=False, default="")
@click.option(
    "-l", "--long", is_flag=True, help="Kind, size and digest (of references identity and version) of each entry."
)
@click.option("--refs", is_flag=True, help="Only references, with their sizes, identities and versions.")
@click.option("--sources", is_flag=True, help="Only imported files, with where they came from.")
@click.option("--projects", is_flag=True, help="List the projects.")
@click.option("--types", is_flag=True, help="List the types.")
def ls(
    shared: Shared, ref: str | None, prefix: str, long: bool, refs: bool, sources: bool, projects: bool, types: bool
) -> None:
    """List artifacts, or what is in a version.

    With no REF every artifact is listed with its newest version; with REF the entries of
    that version, at or below PREFIX.
    """
    repository = shared.repository
    if projects or types:
        shared.stream("ls", repository.projects() if projects else repository.types(), escape)
        return
    if ref is None:
        if not shared.stream("ls", repository.artifacts(), lambda info: render.artifact_line(info, repository.project)):
            shared.note("no artifact yet (run 'avc add PATH' and 'avc commit')")
        return
    found = repository.entries(ref, prefix, sources=sources)
    if refs:
        found = (entry for entry in found if entry.kind == "reference")
    shared.stream("ls", found, lambda entry: render.entry_line(entry, long=long or refs))


@command(COMMANDS, "cat")
@click.argument("ref", type=REF)
@click.argument("path")
@transfer_options
def cat(shared: Shared, ref: str, path: str) -> None:
    """Print one file of a version."""
    if shared.json:
        raise UsageError("cat prints the file's bytes, which are no JSON", hint="leave --json out, or use 'avc ls'")
    chunks = shared.repository.read(ref, path)
    first = next(chunks, b"")  # an error is told before anything is printed
    for chunk in itertools.chain((first,), chunks):
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


@command(COMMANDS, "diff")
@click.argument("a", required=False, type=REF, metavar="[REF]")
@click.argument("b", required=False, type=REF, metavar="[REF]")
def diff(shared: Shared, a: str | None, b: str | None) -> None:
    """Compare versions, or the workspace.

    With no REF the workspace and the versions it stands on; with one the workspace and
    that version; with two these versions.
    """
    results = shared.repository.diff(a, b)
    if shared.answer("diff", results):
        return
    for result in results:
        shared.say(
            render.colour(f"{escape(result.artifact)}: {result.before} -> {result.after}", "head")
            + f"  {render.summary(result.changes)}"
        )
        if result.changes:
            shared.say(render.lines(render.changes(result.changes, every=True)))
