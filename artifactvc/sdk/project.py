"""Projects, and what is in them; of this repository, or in the log of a remote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifactvc.core.filters import COLLECTION, parse_filter, parse_order
from artifactvc.errors import NotFound
from artifactvc.ops import catalog
from artifactvc.sdk.collection import ArtifactCollection, ArtifactType, Collections, entity_of, looking
from artifactvc.sdk.errors_as import as_comm_error
from artifactvc.sdk.listing import Listing, Source
from artifactvc.util.text import near


@dataclass(frozen=True)
class _Types(Source[str, ArtifactType]):
    root: Path
    remote: str | None
    project: str
    start: str | None = None

    @property
    def title(self) -> str:
        return f"types in '{self.project}'"

    def keys(self) -> Sequence[str]:
        with looking(self.root, self.remote) as (_, where):
            return [name for name in catalog.types(where, self.project) if self.start is None or name > self.start]

    def load(self, keys: Sequence[str]) -> Sequence[ArtifactType | None]:
        return [ArtifactType(self.root, self.project, name, self.remote) for name in keys]


@dataclass(frozen=True)
class Project:
    """A name space of artifacts and runs."""

    _root: Path
    name: str
    _remote: str | None = None

    @property
    def id(self) -> str:
        """Its name: a project is nothing else."""
        return self.name

    @property
    def entity(self) -> str:
        """Whose project it is: this repository's entity, or the remote's name."""
        return entity_of(self._root, self._remote)

    @property
    def path(self) -> list[str]:
        """Entity and name."""
        return [self.entity, self.name]

    @as_comm_error
    def artifact_types(self, per_page: int = 50, start: str | None = None) -> Listing[ArtifactType]:
        """The types of its artifacts."""
        return Listing(_Types(self._root, self._remote, self.name, start), per_page, start)

    artifacts_types = artifact_types

    @as_comm_error
    def artifact_type(self, name: str) -> ArtifactType:
        """One type; CommError if no artifact has or had it."""
        with looking(self._root, self._remote) as (_, where):
            known = catalog.types(where, self.name)
        if name not in known:
            close = near(str(name), known)
            raise NotFound(
                f"no artifact in project '{self.name}' has type '{str(name)[:140]}'",
                hint=f"did you mean '{close[0]}'?" if close else f"its types are {', '.join(known) or 'none yet'}",
            )
        return ArtifactType(self._root, self.name, name, self._remote)

    @as_comm_error
    def collections(
        self,
        filters: Mapping[str, Any] | None = None,
        order: str | None = None,
        per_page: int = 50,
        start: str | None = None,
    ) -> Listing[ArtifactCollection]:
        """Its artifacts of all types, by name unless *order* says otherwise (``-created_at``)."""
        chosen = parse_filter(filters, COLLECTION), parse_order(order, COLLECTION, "name")
        return Listing(Collections(self._root, self._remote, self.name, None, chosen, start), per_page, start)

    def __repr__(self) -> str:
        return f"<Project {self.name}>"

    def _repr_html_(self) -> str:
        from artifactvc.sdk.html import grid

        listed = [(found.name, found.type, found.created_at) for found in self.collections()]
        return grid(f"project {self.name}", ("artifact", "type", "made"), listed)


@dataclass(frozen=True)
class Projects(Source[str, Project]):
    """The projects of this repository, or in a remote's log."""

    root: Path
    remote: str | None

    @property
    def title(self) -> str:
        """What is listed."""
        return "projects"

    def keys(self) -> Sequence[str]:
        """Their names."""
        with looking(self.root, self.remote) as (session, where):
            return catalog.projects(session, where)

    def load(self, keys: Sequence[str]) -> Sequence[Project | None]:
        """The projects of these names."""
        return [Project(self.root, name, self.remote) for name in keys]
