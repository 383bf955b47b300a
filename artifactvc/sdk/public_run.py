"""``PublicRun``: a run as it is recorded, whoever made it and whether it goes on or not.

It is looked up when something is asked of it, and what was read is kept; ``load`` reads
again, and so does ``state`` while the run goes on. A run that was deleted, or that has never
been seen here, is a tombstone: its state is ``deleted``, and what is not known is empty.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from artifactvc.core import names
from artifactvc.core.filters import Filter, Order
from artifactvc.core.records import Row
from artifactvc.errors import BadValue, Conflict, UnknownRun, UnsupportedError, WrongType
from artifactvc.ops import catalog, runs, versions
from artifactvc.ops.catalog import Key, Place
from artifactvc.ops.resolve import Found
from artifactvc.ops.session import Session
from artifactvc.sdk.collection import looking
from artifactvc.sdk.errors_as import as_comm_error
from artifactvc.sdk.listing import Listing, Source
from artifactvc.sdk.opened import at

if TYPE_CHECKING:
    from artifactvc import Artifact

#: What details hold besides the surroundings of a run.
_SAID: Final = ("config", "summary", "tags", "notes", "name", "pid", "pid_started")


class Recorded:
    """What is recorded of a run: the properties of ``PublicRun``."""

    def __init__(self, root: Path, run_id: str, remote: str | None = None) -> None:
        self._root, self._id, self._remote = root, run_id, remote
        self._page: Sequence[Recorded] = [self]  # whose details are read together
        self._row: Row | None = None
        self._details: dict[str, Any] | None = None
        self._read = False

    @as_comm_error
    def load(self, force: bool = False) -> None:
        """Read what is recorded, again if *force*."""
        if force or not self._read:
            with looking(self._root, self._remote) as (_, where):
                self._row, self._details, self._read = where.rows.get("run", self._id), None, True

    def _known(self, name: str) -> str:
        """A field of the run's row; empty where it is not known."""
        self.load()
        return "" if self._row is None else self._row[name] or ""

    @as_comm_error
    def _said(self) -> dict[str, Any]:
        """The run's details; those of the runs on its page are fetched and read with them."""
        self.load()
        if self._details is None:
            beside = [run for run in self._page if run._details is None and run._row is not None]
            with looking(self._root, self._remote) as (session, _):
                runs.bring_details(session, [run._row for run in beside if run._row is not None])
                for run in beside:
                    run._details = None if run._row is None else catalog.run_details(session, run._row)
        return copy.deepcopy(self._details or {})

    @property
    def id(self) -> str:
        """The run's id."""
        return self._id

    @property
    def name(self) -> str:
        """The run's name; its id if it was given none."""
        return self._known("name") or self._id

    display_name = name

    @property
    def project(self) -> str:
        """The project that it recorded to."""
        return self._known("project")

    @property
    def entity(self) -> str:
        """Whose it is: this repository's entity, or the remote's name."""
        if self._remote is not None:
            return self._remote
        with at(self._root).session() as session:
            return session.entity

    @property
    def path(self) -> list[str]:
        """Entity, project and id."""
        return [self.entity, self.project, self._id]

    @property
    def group(self) -> str:
        """What it belongs to together with other runs."""
        return self._known("group")

    @property
    def job_type(self) -> str:
        """What kind of work it did, such as "train"."""
        return self._known("job_type")

    @property
    def state(self) -> str:
        """running, finished, failed, crashed or deleted; looked at anew while it is running."""
        if self._known("state") == runs.RUNNING:
            self.load(force=True)
        if self._row is None:
            return runs.DELETED
        with at(self._root).session() as session:
            return catalog.run_state(session, self._row)

    @property
    def created_at(self) -> str:
        """When it began: ISO text, UTC; empty if that is not known."""
        return self._known("created")

    @property
    def ended_at(self) -> str | None:
        """When it ended, or None."""
        return self._known("ended") or None

    @property
    def exit_code(self) -> int | None:
        """With which code its process ended, 0 for success; None if that is not known."""
        self.load()
        code: int | None = None if self._row is None else self._row["exit_code"]
        return code

    @property
    def author(self) -> str:
        """Who ran it."""
        return self._known("author")

    user = author

    @property
    def config(self) -> dict[str, Any]:
        """Its settings."""
        return dict(self._said().get("config", {}))

    @property
    def summary(self) -> dict[str, Any]:
        """The last value of each metric, and what was set besides."""
        return dict(self._said().get("summary", {}))

    @property
    def tags(self) -> list[str]:
        """Labels."""
        return list(self._said().get("tags", []))

    @property
    def notes(self) -> str:
        """Text for people."""
        return str(self._said().get("notes", ""))

    @property
    def metadata(self) -> dict[str, Any]:
        """Where and how it ran: host, command, directory, Python, Git commit and dirtiness."""
        return {name: value for name, value in self._said().items() if name not in _SAID and value != ""}


class PublicRun(Recorded):
    """A recorded run. ``config`` and ``summary`` are copies: the live run (``init``) changes them."""

    @classmethod
    def _listed(cls, root: Path, rows: Sequence[Row], remote: str | None) -> list[PublicRun]:
        """The runs of one page."""
        found = [cls(root, row["id"], remote) for row in rows]
        for run, row in zip(found, rows, strict=True):
            run._page, run._row, run._read = found, row, True
        return found

    # ---- metrics ---------------------------------------------------------------------------------------------

    def history(
        self,
        samples: int | None = None,
        keys: Sequence[str] | None = None,
        x_axis: str = "_step",
        pandas: bool = False,
        stream: str = "default",
    ) -> list[dict[str, Any]]:
        """The metrics, a dictionary a step; of more than *samples* some, evenly spaced, the last one among them.

        With *keys* the steps that have all of them, and of those only these and *x_axis*.
        """
        if pandas:
            raise UnsupportedError("history makes no data frame", hint="use pandas.DataFrame(run.history())")
        wanted = None if keys is None else [x_axis, *keys]
        found = [row for row in self._metrics() if keys is None or all(key in row for key in keys)]
        if samples is not None and 0 < samples < len(found):
            last = len(found) - 1
            found = [found[last - (last * i) // max(samples - 1, 1)] for i in reversed(range(samples))]
        return [_only(row, wanted) for row in found]

    def scan_history(
        self,
        keys: Sequence[str] | None = None,
        page_size: int = 1000,
        min_step: int | None = None,
        max_step: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """All metrics in order, of the steps from *min_step* and below *max_step*; with *keys* those that have them."""
        first, end = min_step or 0, float("inf") if max_step is None else max_step
        return (
            _only(row, keys)
            for row in self._metrics()
            if first <= _step(row) < end and (keys is None or all(key in row for key in keys))
        )

    @as_comm_error
    def _metrics(self) -> list[dict[str, Any]]:
        self.load(force=True)
        if self._row is None:
            return []
        with looking(self._root, self._remote) as (session, where):
            return catalog.run_metrics(session, where, self._row)

    # ---- artifacts -------------------------------------------------------------------------------------------

    @as_comm_error
    def logged_artifacts(self, per_page: int = 100) -> Listing[Artifact]:
        """The versions that it produced, in that order; those that were deleted are left out."""
        return Listing(_RunVersions(self, "produced"), per_page)

    @as_comm_error
    def used_artifacts(self, per_page: int = 100) -> Listing[Artifact]:
        """The versions that it used, in that order; those that were deleted since are still told."""
        return Listing(_RunVersions(self, "used"), per_page)

    @as_comm_error
    def log_artifact(
        self,
        artifact: Artifact,
        aliases: Sequence[str] | str | None = None,
        tags: Sequence[str] | str | None = None,
    ) -> Artifact:
        """Record a version of the run's project as produced by this run, too, and give it *aliases* and *tags*."""
        chosen = [names.check_alias(alias) for alias in _listed(aliases)]
        labels = [names.check_tag(tag) for tag in _listed(tags)]
        with self._changing() as (session, _):
            key = _key(artifact, "logged")
            if artifact.project != self.project:
                raise BadValue(
                    f"'{artifact.name}' is in project '{artifact.project}', and the run in '{self.project}': "
                    "a run cannot log to another project"
                )
            found = versions.by_key(session, *key)
            added = [alias for alias in chosen if alias not in artifact.aliases]
            changes = versions.Changes(
                aliases=(added, ()) if added else versions.KEEP, tags=(labels, ()) if labels else versions.KEEP
            )
            versions.save(session, *key, changes)
            runs.produce(session, self._id, [key])
            artifact._adopt(session, versions.by_key(session, found.artifact["id"], found.version["digest"]))
        return artifact

    @as_comm_error
    def use_artifact(self, artifact: Artifact, use_as: str | None = None) -> Artifact:
        """Record a version as an input of this run."""
        with self._changing() as (session, _):
            runs.use(session, self._id, [_key(artifact, "used")])
        return artifact

    @as_comm_error
    def delete(self, delete_artifacts: bool = False) -> None:
        """Mark the run deleted: it leaves listings, stays in lineage; *delete_artifacts* deletes its outputs first."""
        with self._changing() as (session, _):
            catalog.delete_run(session, self._id, with_versions=delete_artifacts)
        self.load(force=True)

    def _changing(self) -> AbstractContextManager[tuple[Session, Place]]:
        """As ``looking``, for who changes the run; an error where that is not possible."""
        self.load(force=True)
        if self._remote is not None:
            raise Conflict(
                f"run '{self._id}' is known from remote '{self._remote}' only, and cannot be changed here",
                hint=f"change it in a clone of '{self._remote}'",
            )
        if self._row is None:
            raise UnknownRun(f"run '{self._id}' is not known here", hint="run 'avc fetch'")
        if self._row["state"] == runs.DELETED:
            raise Conflict(f"run '{self._id}' is deleted")
        return looking(self._root, None)

    # ---- what W&B's has ----------------------------------------------------------------------------------------

    def files(self, *args: Any, **kwargs: Any) -> Any:
        """Not supported: a run's files are its artifacts."""
        raise UnsupportedError("a run has no files of its own", hint="use run.logged_artifacts()")

    def file(self, *args: Any, **kwargs: Any) -> Any:
        """Not supported: a run's files are its artifacts."""
        return self.files()

    def upload_file(self, *args: Any, **kwargs: Any) -> Any:
        """Not supported: a run's files are its artifacts."""
        raise UnsupportedError("a run has no files of its own", hint="log an artifact, and use run.log_artifact(it)")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicRun) and other._id == self._id

    def __hash__(self) -> int:
        return hash(self._id)

    def __repr__(self) -> str:
        return f"<Run {'/'.join(self.path)} ({self.state})>"

    def _repr_html_(self) -> str:
        from artifactvc.sdk.html import table

        rows: list[tuple[str, object]] = [("project", self.project), ("state", self.state)]
        rows += [("job type", self.job_type)] if self.job_type else []
        rows += [("group", self.group)] if self.group else []
        rows += [("made", self.created_at), ("by", self.author)]
        rows += [(f"config.{key}", value) for key, value in list(self.config.items())[:20]]
        rows += [(f"summary.{key}", value) for key, value in list(self.summary.items())[:20]]
        rows += [
            (what, ", ".join(found.name for found in listed[:20])) for what, listed in self._linked() if len(listed)
        ]
        return table(f"run {self.name}", rows)

    def _linked(self) -> list[tuple[str, Listing[Artifact]]]:
        return [("used", self.used_artifacts()), ("logged", self.logged_artifacts())]


def _only(row: dict[str, Any], keys: Sequence[str] | None) -> dict[str, Any]:
    return row if keys is None else {key: row[key] for key in dict.fromkeys(keys) if key in row}


def _step(row: dict[str, Any]) -> float:
    step = row.get("_step")
    return step if isinstance(step, (int, float)) else 0


def _listed(value: Sequence[str] | str | None) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _key(artifact: object, done: str) -> Key:
    """What names a version; ValueError for a draft, TypeError for what is no artifact."""
    from artifactvc import Artifact

    if not isinstance(artifact, Artifact):
        raise WrongType(
            f"only an Artifact can be {done}, not '{type(artifact).__name__}': look it up with Api().artifact"
        )
    if artifact._key is None:
        raise BadValue(f"'{artifact.name}' is a draft, and only a version can be {done} here: save it first")
    return artifact._key


# ---- listings ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _RunVersions(Source[Key, "Artifact"]):
    run: PublicRun
    table: str  # used or produced

    @property
    def title(self) -> str:
        return f"versions that run '{self.run.id}' {self.table}"

    def keys(self) -> Sequence[Key]:
        with looking(self.run._root, self.run._remote) as (_, where):
            return catalog.versions_of_run(where, self.run.id, self.table)

    def load(self, keys: Sequence[Key]) -> Sequence[Artifact | None]:
        from artifactvc import Artifact

        with looking(self.run._root, self.run._remote) as (session, where):
            found = catalog.load_anywhere(session, where, keys)
            return [None if pair is None or self._hidden(pair) else Artifact._from(session, *pair) for pair in found]

    def _hidden(self, pair: tuple[Found, str | None]) -> bool:
        return self.table == "produced" and not pair[0].version["live"]

    def cursor(self, key: Key) -> str:
        return "@".join(key)


@dataclass(frozen=True)
class Runs(Source[Row, PublicRun]):
    """The runs of a project that a filter takes."""

    root: Path
    remote: str | None
    project: str
    chosen: Filter
    order: Order

    @property
    def title(self) -> str:
        """What is listed."""
        return f"runs of '{self.project}'"

    def keys(self) -> Sequence[Row]:
        """Their rows."""
        with looking(self.root, self.remote) as (session, where):
            return catalog.select_runs(session, where, self.project, self.chosen, self.order)

    def load(self, keys: Sequence[Row]) -> Sequence[PublicRun | None]:
        """The runs of these rows."""
        return PublicRun._listed(self.root, keys, self.remote)

    def cursor(self, key: Row) -> str:
        """A run's id."""
        return str(key["id"])
