"""What tests of versions built by many share: a part of a few bytes, and places where two can meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifactvc.ops import distributed, resolve
from artifactvc.ops.distributed import Expect, Part, Target
from artifactvc.ops.prepare import Prepared
from artifactvc.ops.resolve import Found
from artifactvc.sdk.repository import Repository
from tests.support import new, origin, reopen

TARGET = Target("demo", "built", "dataset", "nightly")
Files = Mapping[str, str]


def part(repository: Repository, run: str, files: Files, **texts: Any) -> Part:
    """What *run* would put in."""
    prepared = Prepared(TARGET.name, TARGET.type)
    for path, content in files.items():
        prepared.add_bytes(repository.session, content.encode(), path)
    return Part(run, prepared, texts.get("description"), texts.get("metadata", {}))


def put(repository: Repository, run: str, files: Files, target: Target = TARGET, **texts: Any) -> None:
    """*run* puts *files* in."""
    repository.session.caught_up = False
    distributed.upsert(repository.session, target, part(repository, run, files, **texts))


def end(
    repository: Repository,
    run: str,
    files: Files | None = None,
    target: Target = TARGET,
    expect: Expect | None = None,
    **more: Any,
) -> Found:
    """*run* finishes, with *files* of its own; *more* is texts, ``aliases`` or ``ttl``."""
    repository.session.caught_up = False
    mine = part(repository, run, files or {}, **more)
    return distributed.finish(repository.session, target, mine, more.get("aliases", ()), more.get("ttl"), expect)


def give_up(repository: Repository, target: Target = TARGET) -> bool:
    """Somebody gives the draft up."""
    repository.session.caught_up = False
    return distributed.abandon(repository.session, target)


def content(repository: Repository, found: Found) -> dict[str, str]:
    """Every file of a version with its bytes, fetched if need be."""
    ref = f"{found.full_name}@{found.version['digest']}"
    return {entry.path: b"".join(repository.read(ref, entry.path)).decode() for entry in repository.entries(ref)}


def latest(repository: Repository, name: str = TARGET.name) -> Found:
    """The newest version."""
    repository.session.caught_up = False
    return resolve.version(repository.session, f"demo/{name}")


def live(repository: Repository, name: str = TARGET.name) -> list[str]:
    """The live versions, oldest first."""
    repository.session.caught_up = False
    if not any(info.name == name for info in repository.artifacts()):
        return []
    return [info.version for info in repository.log(name)][::-1]


def producers(repository: Repository, found: Found) -> list[str]:
    """The runs that produced a version."""
    key = {"artifact": found.artifact["id"], "digest": found.version["digest"]}
    return [row["run"] for row in repository.session.index.rows.find("produced", **key)]


def entries(log: Path) -> int:
    """How many entries a log has."""
    return len(list(log.glob("*.json")))


@dataclass
class Two:
    """Two who build together: two processes of one repository, or two clones that share only a remote."""

    one: Repository
    other: Repository
    log: Path  # the log that decides
    drafts: Path  # where the parts are

    @property
    def both(self) -> tuple[Repository, Repository]:
        return self.one, self.other

    def parts(self) -> list[str]:
        """The documents of all attempts."""
        return sorted(path.relative_to(self.drafts).as_posix() for path in self.drafts.rglob("part.json"))


def in_one_repository(place: Path) -> Two:
    """Two sessions of one repository."""
    one = new(place / "ws")
    return Two(one, reopen(place / "ws"), one.avc_root / "log", one.avc_root / "drafts")


def with_a_remote(place: Path, url: str | None = None) -> Two:
    """Two repositories with one origin, a directory unless *url* says otherwise."""
    one, other = new(place / "one"), new(place / "other")
    for repository in (one, other):
        origin(repository, url or place / "remote")
    return Two(one, other, place / "remote" / "log", place / "remote" / "drafts")
