"""``Api``: look up what is recorded, with no run of one's own.

Names are ``[[entity/]project/]name[:alias]``. The entity is this repository's, or the name
of a remote, whose log is then read. Every failure is a ``CommError`` with the cause in
``exc``; ``UnsupportedError`` says what to use for what W&B has and this has not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from artifactvc.core import names
from artifactvc.core.filters import parse_filter, parse_order
from artifactvc.core.names import Ref
from artifactvc.errors import (
    BadName,
    TypeConflict,
    UnknownAlias,
    UnknownArtifact,
    UnknownVersion,
    UnsupportedError,
    UsageError,
    WrongType,
)
from artifactvc.ops import catalog, versions
from artifactvc.ops.catalog import Place
from artifactvc.ops.resolve import Found
from artifactvc.ops.session import Session
from artifactvc.sdk.collection import ArtifactCollection, ArtifactType, versions_listing
from artifactvc.sdk.errors_as import as_comm_error
from artifactvc.sdk.listing import Listing
from artifactvc.sdk.opened import at, opened
from artifactvc.sdk.project import Project, Projects
from artifactvc.sdk.public_run import PublicRun, Runs
from artifactvc.util.text import near

if TYPE_CHECKING:
    from artifactvc import Artifact

_OVERRIDES: Final = ("entity", "project", "run", "base_url")
_MISSING: Final = (UnknownArtifact, UnknownVersion, UnknownAlias, TypeConflict)


class _NotHere:
    """What W&B's ``Api`` has for its server."""

    def registries(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not supported: there is no server that keeps registries."""
        raise UnsupportedError(
            "registries are not supported: there is no server that keeps them",
            hint="use a project for them, and artifact.link('project/name')",
        )

    registry = create_registry = registries

    def from_path(self, path: str) -> NoReturn:
        """Not supported: a path does not say what it is of."""
        raise UnsupportedError("from_path is not supported", hint="use api.run(path) or api.artifact(name)")

    def create_run(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not supported: a run is begun where its code runs."""
        raise UnsupportedError("create_run is not supported", hint="use artifactvc.init(project=…)")

    def create_project(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not supported, and not needed."""
        raise UnsupportedError(
            "create_project is not supported", hint="a project begins with its first run or artifact"
        )

    def sweep(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not supported: sweeps need a server."""
        raise UnsupportedError("sweeps are not supported", hint="begin runs with one group, and api.runs(filters=…)")

    def reports(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not supported: reports need a server."""
        raise UnsupportedError("reports are not supported", hint="log what you report as an artifact")


class Api(_NotHere):
    """The repository here, asked from outside a run.

    *overrides* may name the ``entity``, ``project`` and ``run`` that are meant where a call
    does not say; *timeout*, *api_key* and ``base_url`` are accepted and mean nothing.
    """

    def __init__(
        self, overrides: Mapping[str, Any] | None = None, timeout: int | None = None, api_key: str | None = None
    ) -> None:
        given = dict(overrides or {})
        for name in given:
            if name not in _OVERRIDES:
                close = near(str(name), _OVERRIDES)
                raise UsageError(
                    f"no override '{name}'", hint=f"did you mean '{close[0]}'?" if close else "give entity or project"
                )
        self._entity: str | None = given.get("entity") or None
        self._project: str | None = given.get("project") or None
        self._run: str = given.get("run") or ""
        if self._project is not None:
            names.check_project(self._project)
        self._root: Path | None = None

    @property
    def default_entity(self) -> str:
        """The entity that names without one mean."""
        return self._default_entity()

    @as_comm_error
    def _default_entity(self) -> str:
        with self._session() as session:
            return self._entity or session.entity

    def flush(self) -> None:
        """Nothing: every call asks anew."""

    @contextmanager
    def _session(self) -> Iterator[Session]:
        """The repository: the one found here by the first call, whatever the working directory is later."""
        if self._root is None:
            self._root = opened().root
        with at(self._root).session() as session:
            yield session

    @contextmanager
    def _place(self, entity: str | None) -> Iterator[tuple[Session, Place, Path]]:
        with self._session() as session:
            yield session, catalog.asked(session, entity or self._entity), session.avc.root

    # ---- versions ----------------------------------------------------------------------------------------

    def _find(self, session: Session, text: str) -> tuple[Found, str | None]:
        if not isinstance(text, str) or not text:
            raise BadName("no artifact named", hint="write name, name:v3 or name:alias")
        ref: Ref = names.parse_ref(text.removeprefix("avc://").removeprefix("wandb-artifact://"))
        ref = ref._replace(entity=ref.entity or self._entity, project=ref.project or self._project)
        return versions.anywhere(session, ref, text)

    def _version(self, session: Session, name: str, kind: str | None) -> tuple[Found, str | None]:
        found, remote = self._find(session, name)
        if kind is not None and found.artifact["type"] != kind:
            raise TypeConflict(
                f"artifact '{name}' has type '{found.artifact['type']}', not '{kind}'", hint="leave type out"
            )
        return found, remote

    @as_comm_error
    def artifact(self, name: str, type: str | None = None) -> Artifact:
        """The version that *name* means, ``latest`` where it does not say; CommError if it is not there."""
        from artifactvc import Artifact

        with self._session() as session:
            return Artifact._from(session, *self._version(session, name, type))

    @as_comm_error
    def artifact_exists(self, name: str, type: str | None = None) -> bool:
        """Whether there is such a version; CommError where that cannot be told."""
        with self._session() as session:
            try:
                self._version(session, name, type)
            except _MISSING:
                return False
            return True

    @as_comm_error
    def artifacts(
        self,
        type_name: str,
        name: str,
        order: str | None = None,
        per_page: int = 50,
        tags: str | Iterable[str] | None = None,
        start: str | None = None,
    ) -> Listing[Artifact]:
        """The live versions of an artifact, newest first, or oldest first with *order* ``version_index``.

        With *tags* those that have all of them; *start* is the ``cursor`` of such a listing, which goes on there.
        """
        return versions_listing(self._collection(type_name, name), order, per_page, tags, start)

    @as_comm_error
    def artifact_versions(self, type_name: str, name: str, per_page: int = 50) -> Listing[Artifact]:
        """The older name of ``artifacts``."""
        return versions_listing(self._collection(type_name, name), per_page=per_page)

    # ---- artifacts, types, projects ------------------------------------------------------------------------

    def _collection(self, kind: str | None, text: str | None) -> ArtifactCollection:
        if not isinstance(text, str) or not text:
            raise BadName("no artifact named", hint="write api.artifact_collection(type_name, name)")
        entity, project, name = names.parse_artifact(text)
        with self._place(entity) as (session, where, root):
            row = catalog.artifact(where, project or self._project or session.project, name, kind)
            return ArtifactCollection(root, row["id"], where.remote)

    @as_comm_error
    def artifact_collection(
        self,
        type_name: str | None = None,
        name: str | None = None,
        *,
        type: str | None = None,
        collection: str | None = None,
    ) -> ArtifactCollection:
        """The artifact called *name*, whose type is *type_name*; *type* and *collection* are the guide's words."""
        if (type_name and type) or (name and collection):
            raise BadName("type_name and type, name and collection, are the same: give one of them")
        return self._collection(type_name or type, name or collection)

    @as_comm_error
    def artifact_collection_exists(self, name: str, type: str | None = None) -> bool:
        """Whether there is an artifact of this name and type."""
        try:
            self._collection(type, name)
        except _MISSING:
            return False
        return True

    @as_comm_error
    def artifact_collections(
        self,
        project_name: str,
        type_name: str,
        order: str | None = None,
        per_page: int = 50,
        start: str | None = None,
    ) -> Listing[ArtifactCollection]:
        """The artifacts of one type in a project, by name unless *order* says otherwise (``-created_at``)."""
        return self._project_at(project_name).artifact_type(type_name).collections(None, order, per_page, start)

    @as_comm_error
    def artifact_types(self, project: str | None = None, start: str | None = None) -> Listing[ArtifactType]:
        """The types of a project's artifacts."""
        return self._project_at(project).artifact_types(start=start)

    @as_comm_error
    def artifact_type(self, type_name: str, project: str | None = None) -> ArtifactType:
        """One type; CommError if no artifact of the project has or had it."""
        return self._project_at(project).artifact_type(type_name)

    @as_comm_error
    def project(self, name: str, entity: str | None = None) -> Project:
        """A project; CommError if there is none of this name."""
        return self._project_at(name, entity)

    @as_comm_error
    def projects(self, entity: str | None = None, per_page: int = 200) -> Listing[Project]:
        """All projects."""
        with self._place(entity) as (_, where, root):
            return Listing(Projects(root, where.remote), per_page)

    def _project_at(self, path: str | Sequence[str] | None, entity: str | None = None) -> Project:
        """The project that ``[entity/]project`` means; NotFound if there is none."""
        parts = _parts(path)
        if len(parts) > 2:
            raise BadName(f"bad project '{'/'.join(parts)[:140]}'", hint="write [entity/]project")
        named = parts[0] if len(parts) == 2 else None
        with self._place(entity or named) as (session, where, root):
            project = (parts[-1] if parts else None) or self._project or session.project
            return Project(root, catalog.require_project(session, where, project), where.remote)

    # ---- runs ----------------------------------------------------------------------------------------------

    @as_comm_error
    def run(self, path: str | Sequence[str] = "") -> PublicRun:
        """The run at ``[[entity/]project/]id``; CommError if there is none, or it was deleted."""
        parts = _parts(path) or _parts(self._run)
        if len(parts) == 4 and parts[2] == "runs":
            del parts[2]
        if not 1 <= len(parts) <= 3:
            raise BadName(f"bad run '{'/'.join(parts)[:140]}'", hint="write [[entity/]project/]id")
        with self._place(parts[0] if len(parts) == 3 else None) as (session, where, root):
            row = catalog.run(session, where, parts[-1], parts[-2] if len(parts) > 1 else None)
            return PublicRun._listed(root, [row], where.remote)[0]

    @as_comm_error
    def runs(
        self,
        path: str | Sequence[str] | None = None,
        filters: Mapping[str, Any] | None = None,
        order: str = "+created_at",
        per_page: int = 50,
        include_sweeps: bool = False,
        lazy: bool = True,
    ) -> Listing[PublicRun]:
        """The runs of ``[entity/]project``, oldest first unless *order* says otherwise.

        *filters* are MongoDB's: ``{"state": "failed", "config.lr": {"$gt": 0.1}}``. Orders are
        ``+created_at``, ``-summary_metrics.acc``, ``config.lr`` and the like; runs without the
        value come last. *include_sweeps* and *lazy* are accepted and mean nothing.
        """
        chosen, arranged = parse_filter(filters), parse_order(order)
        found = self._project_at(path)
        return Listing(Runs(found._root, found._remote, found.name, chosen, arranged), per_page)

    def __repr__(self) -> str:
        return "<Api>"


def _parts(path: str | Sequence[str] | None) -> list[str]:
    """The parts of a path, given whole or in parts."""
    if path is None:
        return []
    if isinstance(path, str):
        return path.strip("/").split("/") if path.strip("/") else []
    if not isinstance(path, (list, tuple)) or not all(isinstance(part, str) for part in path):
        raise WrongType(f"a path is text, not '{type(path).__name__}'")
    return [part for part in path if part]
