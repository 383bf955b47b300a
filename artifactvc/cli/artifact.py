"""``avc artifact put|get|ls|cache``: W&B's spellings and options, the same functions."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

import click

from artifactvc.cli import render
from artifactvc.cli.app import Shared, command, group
from artifactvc.cli.cache import clean
from artifactvc.cli.limits import transfer_options
from artifactvc.cli.values import ARTIFACT, REF
from artifactvc.core.names import check_given
from artifactvc.errors import NoRepository, UnknownPath
from artifactvc.util.text import escape, is_uri

if TYPE_CHECKING:
    from artifactvc.sdk.repository import Repository

COMMANDS: Final[dict[str, click.Command]] = {}
_OWN: Final[dict[str, click.Command]] = {}
_CACHE: Final[dict[str, click.Command]] = {}


@group("artifact")
def artifact() -> None:
    """put, get, ls and cache with W&B's options."""


COMMANDS["artifact"] = artifact


def repository_for_put(shared: Shared, path: str) -> Repository:
    """The repository here, or a new one, which is said (design, section 7)."""
    check_given(path, "path", "write '.' for the directory that you are in")
    if not is_uri(path) and not os.path.lexists(path):
        raise UnknownPath(f"no file or directory '{escape(path)}'", hint="check the path")
    try:
        return shared.repository
    except NoRepository:
        if os.environ.get("AVC_DIR"):
            raise
    from artifactvc.sdk.repository import Repository

    repository, made = Repository.init(".", progress=shared.progress())
    shared.adopt(repository)
    if not shared.quiet:
        print(f"note: made a repository at {escape(made.path)}", file=sys.stderr)
    return repository


@command(_OWN, "put")
@click.argument("path", type=click.Path(readable=False))
@click.option("-n", "--name", metavar="NAME", type=ARTIFACT, help="Artifact (default: the path's last component).")
@click.option("-d", "--description", metavar="D", help="Description.")
@click.option("-t", "--type", "kind", metavar="T", help="Type of a new artifact (default: dataset).")
@click.option("-a", "--alias", "aliases", metavar="A", multiple=True, help="Point this alias at it, too.")
@click.option("--id", "run", metavar="RUN", help="The run that produced it (default: a new one).")
@click.option("--resume", is_flag=True, help="Taken for W&B's sake: a run that exists is always resumed.")
@click.option("--skip_cache", is_flag=True, help="Taken for W&B's sake: there is one copy of each object anyway.")
@click.option("--policy", type=click.Choice(["mutable", "immutable"]), help="Taken for W&B's sake: files are copied.")
def put(
    shared: Shared, path: str, name: str | None, description: str | None, kind: str | None, aliases: tuple[str, ...],
    run: str | None, resume: bool, skip_cache: bool, policy: str | None,
) -> None:  # fmt: skip
    """Store a file or directory as a version."""
    del resume, skip_cache, policy
    repository = repository_for_put(shared, path)
    result = repository.put(
        path, name=name or repository.name_for(path), type=kind, aliases=aliases, description=description, run_id=run,
        follow=True,
    )  # fmt: skip
    if not shared.answer("artifact put", result):
        shared.say(render.committed(result))
        if result.note:
            shared.note(result.note)
        shared.say(f'    artifact = run.use_artifact("{escape(result.artifact)}:{str(result.version).rstrip("~")}")')


@command(_OWN, "get")
@click.argument("ref", type=REF, metavar="PATH")
@click.option("--root", metavar="DIR", type=click.Path(readable=False), help="Where to (default: artifacts/NAME:vN).")
@click.option("--type", "kind", metavar="T", help="The type that the artifact must have.")
@click.option("--skip_cache", is_flag=True, help="Taken for W&B's sake.")
@transfer_options
def get(shared: Shared, ref: str, root: str | None, kind: str | None, skip_cache: bool) -> None:
    """Download a version."""
    del skip_cache
    repository = shared.repository
    if kind is not None:
        repository.require_type(ref, kind)
    result = repository.get(ref, root=root)
    if not shared.answer("artifact get", result):
        shared.say(render.checked_out(result, verb="downloaded"))
        shared.say(f"Artifact downloaded to {escape(result.destination)}")


@command(_OWN, "ls")
@click.argument("project", required=False)
@click.option("-t", "--type", "kind", metavar="T", help="Only artifacts of this type.")
def ls(shared: Shared, project: str | None, kind: str | None) -> None:
    """List the artifacts of a project."""
    repository = shared.repository
    wanted = repository.project if project is None else project.rpartition("/")[2]
    found = (info for info in repository.artifacts() if info.project == wanted and (kind is None or info.type == kind))
    shared.stream("artifact ls", found, lambda info: render.artifact_line(info, wanted))


@group("cache")
def cache() -> None:
    """W&B's spelling of 'avc cache'."""


@command(_CACHE, "cleanup")
@click.argument("size", metavar="TARGET_SIZE")
@click.option("--remove-temp/--no-remove-temp", help="Remove what killed commands left, too.")
def cleanup(shared: Shared, size: str, remove_temp: bool) -> None:
    """Make room, as 'avc cache cleanup' does."""
    clean(shared, "artifact cache cleanup", size, remove_temp=remove_temp, dry_run=False)


for _name, _made in _CACHE.items():
    cache.add_command(_made, _name)
_OWN["cache"] = cache


for _name, _made in _OWN.items():
    artifact.add_command(_made, _name)
