"""What the parts of ``Artifact`` have in common: its state, and the way to the repository."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifactvc.core.model import Root
from artifactvc.core.results import VersionInfo
from artifactvc.errors import Conflict
from artifactvc.ops.prepare import Prepared
from artifactvc.ops.resolve import Found
from artifactvc.ops.session import Session
from artifactvc.sdk.ttl import ArtifactTTL

if TYPE_CHECKING:
    from artifactvc.sdk.artifact import Artifact


class ArtifactBase(ABC):
    """A draft has *_prepared*, a version *_info*; never both."""

    _prepared: Prepared | None
    _info: VersionInfo | None
    _remote: str | None  # in whose log the version stands, where it is not known here
    _key: tuple[str, str] | None  # artifact id and digest of the version
    _finalized: bool
    _where: Path | None  # the .artifacts directory, once it is settled
    _incremental: bool
    _distributed_id: str | None
    _name: str
    _type: str
    _description: str | None
    _metadata: dict[str, Any]
    _aliases: list[str]
    _tags: list[str]
    _ttl: timedelta | ArtifactTTL | None
    _ttl_changed: bool

    @abstractmethod
    def _session(self, *, create: bool = False) -> AbstractContextManager[Session]:
        """The repository, for as long as the block; made where there is none if *create*, or for a draft."""

    @abstractmethod
    def _version(self, session: Session) -> Found:
        """The version's rows; ArtifactNotLoggedError for a draft."""

    @abstractmethod
    def _root(self) -> Root:
        """Digest, count and size of the manifest."""

    @abstractmethod
    def save(self, project: str | None = None, settings: object = None) -> None:
        """Log a draft; of a version, record what was changed."""

    @abstractmethod
    def _itself(self) -> Artifact:
        """This object, whole."""

    @abstractmethod
    def _of(self, found: Found, session: Session) -> Artifact:
        """The object for another version."""

    def _check_changeable(self) -> None:
        """Conflict for a version that only another remote's log has: nothing can be recorded about it here."""
        if self._remote is not None:
            raise Conflict(
                f"'{self._name}' is known from remote '{self._remote}' only, and cannot be changed here",
                hint=f"change it in a clone of '{self._remote}'",
            )
