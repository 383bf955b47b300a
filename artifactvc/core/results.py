"""What each operation answers: plain values that the command line prints and ``--json`` reports.

Field names are the names in the JSON documents (docs/json/), so they are stable.
Sizes are bytes, times are UTC as ISO 8601 text with microseconds, paths use ``/``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from artifactvc.core.results_cache import *  # noqa: F403  results are one vocabulary, in four files
from artifactvc.core.results_retention import *  # noqa: F403
from artifactvc.core.results_retention import Expired
from artifactvc.core.results_sharing import *  # noqa: F403
from artifactvc.core.results_sharing import Bringing


@dataclass(frozen=True)
class Initialized:
    """``init``: where the repository is, and whether this call made it."""

    path: str
    project: str
    created: bool
    remote: str | None = None  # url of the remote found in artifacts.toml


@dataclass(frozen=True)
class PathChange:
    """One path that differs; ``status`` is added, removed, modified, or untracked."""

    path: str
    status: str
    size_before: int | None = None
    size_after: int | None = None
    digest_before: str | None = None
    digest_after: str | None = None


@dataclass(frozen=True)
class Staged:
    """``add`` or ``rm --from`` for one artifact: what its draft now has more, less, or otherwise."""

    artifact: str  # project/name
    type: str
    added: int
    modified: int
    removed: int
    unchanged: int
    files_read: int
    bytes_read: int
    entries: int  # in the draft now
    dry_run: bool = False
    changes: tuple[PathChange, ...] = ()  # filled for --dry-run and -v


@dataclass(frozen=True)
class ArtifactStatus:
    """One artifact of ``status``: the workspace against the draft, the draft against the base."""

    artifact: str
    type: str
    base: str | None  # "v3", "v4~" or nothing committed yet
    newest: str | None  # the newest live version, when it is not the base
    staged: tuple[PathChange, ...]
    unstaged: tuple[PathChange, ...]
    paths: tuple[str, ...]  # the bound workspace paths
    entries: int


@dataclass(frozen=True)
class Status:
    """``status`` of the whole workspace."""

    project: str
    artifacts: tuple[ArtifactStatus, ...]
    unpushed: int  # records of the local log that origin does not have
    remote: str | None

    @property
    def clean(self) -> bool:
        """Whether nothing is staged and nothing differs."""
        return not any(a.staged or a.unstaged for a in self.artifacts)


@dataclass(frozen=True)
class Committed:
    """``commit`` or ``put`` of one artifact. ``outcome``: created, existing (equal content), nothing."""

    artifact: str
    version: str | None
    digest: str | None
    outcome: str
    aliases: tuple[str, ...] = ()
    entries: int = 0
    size: int = 0
    run: str | None = None
    note: str = ""  # e.g. that the base was not the newest version


@dataclass(frozen=True)
class ImportedFrom:
    """How much of a version was imported from one bucket, one server, or files of this machine."""

    place: str  # the deepest directory there that held all of it: "s3://bucket/raw"
    entries: int
    size: int


@dataclass(frozen=True)
class VersionInfo:
    """One version, whole: ``show``, ``log``, and the rows of ``ls NAME``."""

    project: str
    name: str
    type: str
    version: str  # "v3", or "v4~" while origin has not given the number
    digest: str
    aliases: tuple[str, ...]
    tags: tuple[str, ...]
    created: str
    author: str
    entries: int
    size: int
    description: str
    metadata: dict[str, Any]
    produced_by: tuple[str, ...]  # run ids
    used_by: tuple[str, ...]
    ttl: str | None  # its own: "30d" or "none"; None if the project's default counts
    expires: str | None  # when it does, by its own or the default; None for never, and of a deleted one
    state: str  # live, deleted
    base: str | None  # version it was committed on, if that is known
    here: bool  # all its bytes are in the local store
    pushed: bool
    sources: tuple[ImportedFrom, ...] = ()  # where its files were imported from; told by ``show``


@dataclass(frozen=True)
class Operation:
    """One line of ``op log``: an entry of this repository's log."""

    op: str  # 32 hex digits
    n: int
    time: str
    author: str
    command: str
    summary: str  # what it did, with the names of today
    where: str  # "here", the remote that holds it too, or "partly" and the remote
    undoable: bool  # it can be taken back, and was not yet
    undone_by: str | None  # the operation that took it back
    undoes: str | None  # the operation that it took back


@dataclass(frozen=True)
class Undone:
    """``undo`` of one operation."""

    undoes: str
    command: str  # of the operation that was taken back
    summary: str  # what that had done
    op: str | None  # the new operation; None with dry_run
    changes: tuple[str, ...]  # what the undo does, a line each
    drafts: tuple[str, ...] = ()  # artifacts whose draft comes back
    dry_run: bool = False


@dataclass(frozen=True)
class RunLink:
    """A version that a run used or produced; it may be deleted since (``live``), or never have been seen here."""

    artifact: str  # its id
    digest: str
    project: str
    name: str
    type: str
    version: str  # "v3"; empty where the version is not known here
    live: bool

    @property
    def ref(self) -> str:
        """``project/name:v3``."""
        return f"{self.project}/{self.name}:{self.version or '@' + self.digest[:12]}"


@dataclass(frozen=True)
class RunInfo:
    """One run: ``runs ID`` and the rows of ``runs``. ``state``: running, finished, failed, crashed, deleted."""

    id: str
    project: str
    name: str
    job_type: str
    group: str
    state: str
    created: str
    ended: str | None
    author: str
    exit_code: int | None
    host: str
    command: tuple[str, ...]
    directory: str
    python: str
    git: dict[str, Any] | None  # commit, dirty, branch, remote
    config: dict[str, Any]
    summary: dict[str, Any]
    tags: tuple[str, ...]
    notes: str
    used: tuple[RunLink, ...]
    produced: tuple[RunLink, ...]
    details: dict[str, Any]  # all of the above that only an object holds, and more


@dataclass(frozen=True)
class RunOutput:
    """One ``--log`` of ``run``. ``state``: logged, missing (no such path), failed, skipped (the command failed)."""

    name: str  # as given
    path: str  # as given
    state: str
    version: str | None = None  # "project/name:v3"
    digest: str | None = None  # of its manifest
    error: str = ""


@dataclass(frozen=True)
class Executed:
    """``run``: how a command ended, and what became of its outputs. ``state``: finished, failed."""

    run: str  # its id
    project: str
    state: str
    exit_code: int  # the command's own; 128 and the signal's number where a signal ended it
    seconds: float
    used: tuple[str, ...]  # "project/name:v3"
    outputs: tuple[RunOutput, ...]


@dataclass(frozen=True)
class LineageNode:
    """A version or a run of ``lineage``; what was deleted or never seen here stands as a tombstone."""

    id: str  # of a run its id, of a version "<artifact id>@<digest>"
    kind: str  # version, run
    project: str
    name: str  # of the artifact or the run; empty where it is not known
    version: str  # "v3"; empty for a run, and where it is not known
    type: str  # the artifact's type, or the run's job type
    state: str  # live, deleted, unknown; of a run running, finished, failed, crashed, deleted, unknown
    created: str | None
    ended: str | None  # of a run
    distance: int  # steps from the start

    @property
    def ref(self) -> str:
        """``project/name:v3`` of a version, as far as it is known; of a run its id."""
        if self.kind == "run":
            return self.id
        artifact, _, digest = self.id.partition("@")
        name = f"{self.project}/{self.name}" if self.name else artifact[:8]
        return f"{name}:{self.version}" if self.version else f"{name}@{digest[:12]}"


@dataclass(frozen=True)
class LineageEdge:
    """What led to what: from a version to the run that used it, from a run to the version that it produced."""

    source: str  # id of a node
    target: str
    kind: str  # used, produced
    at: str  # when it was recorded


@dataclass(frozen=True)
class Lineage:
    """``lineage``: the graph around one version or run."""

    start: str  # id of its node
    scope: str  # random id of origin, else of this repository: equal in all clones of one origin
    up: bool
    down: bool
    depth: int | None
    nodes: tuple[LineageNode, ...]  # nearest first
    edges: tuple[LineageEdge, ...]  # oldest first


@dataclass(frozen=True)
class ArtifactInfo:
    """One artifact: the rows of ``ls``."""

    project: str
    name: str
    type: str
    id: str
    description: str
    versions: int
    latest: str | None  # the version that has this alias
    newest: str | None  # the live version with the highest number
    aliases: tuple[str, ...]
    size: int  # of the newest version
    updated: str | None


@dataclass(frozen=True)
class EntrySource:
    """Where the bytes of a file were imported from, and what its storage said of them then."""

    uri: str
    identity_kind: str | None  # etag, generation, last-modified, blake3
    identity: str | None
    version_id: str | None


@dataclass(frozen=True)
class EntryInfo:
    """One path in a version: the rows of ``ls REF``. ``kind``: file, executable, link, reference."""

    path: str
    kind: str
    size: int | None
    digest: str | None
    target: str | None = None  # of a link
    uri: str | None = None  # of a reference
    identity: str | None = None
    version_id: str | None = None
    source: EntrySource | None = None  # of a file that was imported, where that was asked for


@dataclass(frozen=True)
class Difference:
    """``diff``: ``before`` and ``after`` name the two sides (a version, the draft, the workspace)."""

    artifact: str
    before: str
    after: str
    changes: tuple[PathChange, ...]


@dataclass(frozen=True)
class CheckedOut:
    """``checkout`` or ``get``."""

    artifact: str
    version: str
    destination: str
    written: int
    bytes: int  # written, or of a dry run to write
    unchanged: int
    removed: int
    linked: int
    copied_instead: int  # files that --link could not link
    kept: tuple[str, ...] = ()  # modified or untracked files left alone
    dry_run: bool = False
    plan: tuple[PathChange, ...] = ()
    bringing: tuple[Bringing, ...] = ()  # of a dry run: what is not here, and from which remote or place it would come
    missing: tuple[str, ...] = ()  # references that were left out, since their bytes cannot be had any more


@dataclass(frozen=True)
class Named:
    """``alias``, ``tag``, ``edit``, ``rename``, ``delete``, ``restore``, ``reset``: what now holds."""

    artifact: str
    version: str | None
    message: str  # one sentence, past tense
    aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True)
class Problem:
    """One thing ``fsck`` found. ``kind`` is an error class or ``record``; ``repaired`` after --repair."""

    kind: str
    subject: str
    message: str
    repaired: bool = False


@dataclass(frozen=True)
class Checked:
    """``fsck``, of what is here or of a remote."""

    versions: int
    objects: int
    bytes: int
    full: bool
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()  # records without effect, bytes that are only on a remote, what gc will take
    remote: str | None = None


@dataclass(frozen=True)
class Collected:
    """``gc``: what was moved to the trash, what left it, and why things stay."""

    trashed_objects: int
    trashed_bytes: int
    removed_bytes: int
    restored_objects: int
    expired: tuple[Expired, ...]  # versions whose time to live is over
    kept: tuple[str, ...]
    dry_run: bool = False


@dataclass(frozen=True)
class Usage:
    """``du``: bytes here, by place and by artifact."""

    total: int
    packs: int
    objects: int
    trash: int
    log: int
    index: int
    artifacts: tuple[ArtifactUsage, ...]


@dataclass(frozen=True)
class ArtifactUsage:
    """Bytes of all live versions of one artifact: as files, and as stored once each."""

    artifact: str
    versions: int
    logical: int
    stored: int


@dataclass(frozen=True)
class ConfigValue:
    """One setting, and which file says so (``repository``, ``global``, ``default``)."""

    name: str
    value: Any
    source: str = field(default="repository")
