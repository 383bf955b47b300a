"""What operations on remotes answer; ``core/results.py`` gives these, too, and says what holds for all."""

from __future__ import annotations

from dataclasses import dataclass

from artifactvc.core.results_retention import Expired

__all__ = [
    "Bringing",
    "Cloned",
    "CollectedRemote",
    "Fetched",
    "Pulled",
    "Pushed",
    "RemoteInfo",
    "RemovedFile",
    "Sending",
]


@dataclass(frozen=True)
class RemoteInfo:
    """One configured remote."""

    name: str
    url: str
    id: str | None
    origin: bool
    read_only: bool = False
    single_writer: bool = False
    notes: tuple[str, ...] = ()  # what the probe found


@dataclass(frozen=True)
class Fetched:
    """``fetch``: how far the remote's log was read, and what that changed here."""

    remote: str
    entries: int  # new ones
    head: int  # number of the last entry read, -1 for none
    versions: tuple[str, ...]  # new versions, "project/name:v3"
    renumbered: tuple[str, ...]  # "project/name: v4 is now v5"
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sending:
    """What a push would send for one version, and why; ``version`` is empty for descriptions, metadata and runs."""

    version: str
    objects: int
    bytes: int  # as stored
    reason: str  # "new there", or "its copy there is condemned"


@dataclass(frozen=True)
class Pushed:
    """``push``: what landed in the remote's log, and what had to be sent for it."""

    remote: str
    entry: int | None  # number of the last log entry created, None if nothing was new
    records: int
    versions: tuple[str, ...]
    objects: int
    bytes: int
    files: int
    renumbered: tuple[str, ...] = ()
    dry_run: bool = False
    plan: tuple[str, ...] = ()
    requests: int = 0  # of a dry run: files, index and entries that would be created
    sending: tuple[Sending, ...] = ()  # of a dry run


@dataclass(frozen=True)
class Bringing:
    """What would be fetched from one remote: objects that are not here."""

    remote: str
    objects: int
    bytes: int  # as they come
    requests: int  # files and ranges; a larger file may come in several parts


@dataclass(frozen=True)
class Pulled:
    """``pull``: the log, then the bytes of the versions asked for."""

    fetched: Fetched
    versions: tuple[str, ...]
    objects: int
    bytes: int
    checkouts: tuple[str, ...] = ()  # commands that would bring the workspace up to date
    dry_run: bool = False
    bringing: tuple[Bringing, ...] = ()  # of a dry run: from which remote


@dataclass(frozen=True)
class Cloned:
    """``clone``."""

    path: str
    remote: str
    fetched: Fetched
    objects: int = 0  # brought, and their bytes: all of them with --mirror
    bytes: int = 0


@dataclass(frozen=True)
class RemovedFile:
    """One stored file of a remote that ``gc REMOTE`` condemned or removed, or would, and why."""

    name: str
    bytes: int
    reason: str


@dataclass(frozen=True)
class CollectedRemote:
    """``gc REMOTE``: what was condemned by which entry, what was written anew and removed, and why things stay."""

    remote: str
    entry: int | None  # that condemns, None if there was nothing
    condemned: tuple[RemovedFile, ...]
    rewritten_bytes: int  # of packs that were mostly dead
    removed: tuple[RemovedFile, ...]
    spared: tuple[str, ...]  # condemned files that hold the only copy of something that is needed
    expired: tuple[Expired, ...]  # versions whose time to live is over
    kept: tuple[str, ...]
    dry_run: bool = False
