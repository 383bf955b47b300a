"""What an artifact and its versions are called: the names among the properties of ``Artifact``.

A draft has a name and a type; the others are a version's, and raise
``ArtifactNotLoggedError`` before there is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactvc.core.results import VersionInfo
from artifactvc.errors import ArtifactNotLoggedError
from artifactvc.ops import versions
from artifactvc.sdk.artifact_base import ArtifactBase

if TYPE_CHECKING:
    from artifactvc.sdk.artifact import Artifact
    from artifactvc.sdk.collection import ArtifactCollection


class ArtifactNames(ArtifactBase):
    """The names of ``Artifact``; mixed into it."""

    def _logged(self, name: str) -> VersionInfo:
        """What is known of the version; ArtifactNotLoggedError for a draft."""
        if self._info is None:
            raise ArtifactNotLoggedError(f"Artifact.{name}", self)
        return self._info

    def _source(self, name: str) -> VersionInfo:
        """The version that this one is a link to, or this one."""
        self._logged(name)
        with self._session() as session:
            return versions.snapshot(session, versions.source_of(session, self._version(session)))

    # ---- names -------------------------------------------------------------------------------------

    @property
    def id(self) -> str | None:
        """What names the content in its artifact for ever: the artifact's id and the digest. None for a draft."""
        if self._info is None:
            return None
        with self._session() as session:
            found = self._version(session)
            return f"{found.artifact['id']}@{found.version['digest']}"

    @property
    def name(self) -> str:
        """The artifact's name, with ``:vN`` once it is a version."""
        return self._name if self._info is None else f"{self._name}:{self.version}"

    @property
    def type(self) -> str:
        """One type for all versions of an artifact."""
        return self._type

    @property
    def entity(self) -> str:
        """Whose repository it is in."""
        self._logged("entity")
        return self._entity()

    def _entity(self) -> str:
        with self._session() as session:
            return self._remote or session.entity

    @property
    def project(self) -> str:
        """The project that its artifact is in."""
        return self._logged("project").project

    @property
    def qualified_name(self) -> str:
        """``entity/project/name:vN``."""
        info = self._logged("qualified_name")
        return f"{self.entity}/{info.project}/{self.name}"

    @property
    def version(self) -> str:
        """``vN``; provisional until origin has given it, if there is one."""
        return self._logged("version").version.rstrip("~")

    @property
    def source_name(self) -> str:
        """The name of the version that a link stands for; its own for any other."""
        if self._info is None:
            return self._name
        info = self._source("source_name")
        return f"{info.name}:{info.version.rstrip('~')}"

    @property
    def source_entity(self) -> str:
        """The entity of the version that a link stands for."""
        self._logged("source_entity")
        return self._entity()

    @property
    def source_project(self) -> str:
        """The project of the version that a link stands for."""
        return self._source("source_project").project

    @property
    def source_version(self) -> str:
        """The number of the version that a link stands for."""
        return self._source("source_version").version.rstrip("~")

    @property
    def source_qualified_name(self) -> str:
        """The full name of the version that a link stands for."""
        info = self._source("source_qualified_name")
        return f"{self._entity()}/{info.project}/{info.name}:{info.version.rstrip('~')}"

    @property
    def collection(self) -> ArtifactCollection:
        """The artifact as the line of its versions."""
        from artifactvc.sdk.collection import ArtifactCollection

        self._logged("collection")
        with self._session() as session:
            return ArtifactCollection(session.avc.root, self._version(session).artifact["id"], self._remote)

    @property
    def source_collection(self) -> ArtifactCollection:
        """The artifact that a link's source is in."""
        from artifactvc.sdk.collection import ArtifactCollection

        self._logged("source_collection")
        with self._session() as session:
            found = versions.source_of(session, self._version(session))
            return ArtifactCollection(session.avc.root, found.artifact["id"], self._remote)

    @property
    def is_link(self) -> bool:
        """Whether it stands for a version of another artifact."""
        if self._info is None:
            return False
        with self._session() as session:
            return bool(self._version(session).version["link"])

    @property
    def linked_artifacts(self) -> list[Artifact]:
        """The links to this version; empty for a link."""
        self._logged("linked_artifacts")
        with self._session() as session:
            found = self._version(session)
            links = versions.links_of(session, found.artifact["id"], found.version["digest"])
            return [self._of(link, session) for link in links]

    @property
    def source_artifact(self) -> Artifact:
        """The version that a link stands for; the version itself where it is no link."""
        self._logged("source_artifact")
        with self._session() as session:
            found, own = versions.source_of(session, self._version(session)), self._version(session)
            return self._of(found, session) if found.artifact["id"] != own.artifact["id"] else self._itself()
