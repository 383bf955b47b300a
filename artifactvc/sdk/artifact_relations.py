"""What an artifact has to do with others: deletion, links, and the runs that made and used it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from artifactvc.core import names
from artifactvc.errors import BadValue, Conflict, UnsupportedError
from artifactvc.ops import change, resolve, runs, versions
from artifactvc.ops.session import Session
from artifactvc.sdk.artifact_content import ArtifactContent
from artifactvc.sdk.artifact_fields import ArtifactFields
from artifactvc.sdk.errors_as import as_comm_error

if TYPE_CHECKING:
    from artifactvc.sdk.artifact import Artifact
    from artifactvc.sdk.public_run import PublicRun


class ArtifactRelations(ArtifactFields, ArtifactContent):
    """The relations of ``Artifact``; mixed into it."""

    # ---- deleting and linking ----------------------------------------------------------------------------

    @as_comm_error
    def delete(self, delete_aliases: bool = False) -> None:
        """Mark the version deleted, with its aliases if that is said; of a link, only the link goes.

        It can be restored (``avc restore``) until gc has removed its bytes. A version with
        aliases and no *delete_aliases* raises CommError, and nothing is deleted.
        """
        self._logged("delete")
        self._check_changeable()
        with self._session() as session:
            found = self._version(session)
            if not found.version["live"]:
                raise Conflict(f"{found.full_name}:{found.shown} is deleted already")
            if found.version["link"]:
                versions.unlink(session, found)
            else:
                change.delete(session, f"{found.full_name}:{found.shown}", delete_aliases=delete_aliases)

    def link(self, target_path: str, aliases: Iterable[str] | None = None) -> Artifact:
        """Give the version a place in another artifact, ``[[entity/]project/]name``, too; the linked version.

        It has its own number there and the aliases given, besides ``latest``. A draft is saved first.
        """
        if self.is_draft():
            self.save()
        return self._link(target_path, [aliases] if isinstance(aliases, str) else list(aliases or ()))

    @as_comm_error
    def _link(self, target_path: str, aliases: list[str]) -> Artifact:
        self._check_changeable()
        entity, project, name = names.parse_artifact(target_path)
        if "wandb-registry-" in target_path:
            raise UnsupportedError(
                "registries are not supported: there is no server that keeps them", hint="link to project/name instead"
            )
        with self._session() as session:
            found = self._version(session)
            resolve.project_of(session, entity, project)
            target = versions.link(session, found, project or found.artifact["project"], name, aliases)
            return self._of(target, session)

    def unlink(self) -> None:
        """Take a link away; ValueError if this is no link."""
        self._logged("unlink")
        if not self.is_link:
            raise BadValue(f"'{self.name}' is no link, use 'Artifact.delete' instead")
        self._unlink()

    @as_comm_error
    def _unlink(self) -> None:
        with self._session() as session:
            versions.unlink(session, self._version(session))

    # ---- lineage ------------------------------------------------------------------------------------------------

    def logged_by(self) -> PublicRun | None:
        """The first run that produced this version, or None."""
        self._logged("logged_by")
        found = self._runs("produced")
        return found[0] if found else None

    def used_by(self) -> list[PublicRun]:
        """The runs that used this version, or a link to it, in the order in which they first did."""
        self._logged("used_by")
        return self._runs("used")

    def _runs(self, table: str) -> list[PublicRun]:
        from artifactvc.sdk.public_run import PublicRun

        assert self._key is not None
        with self._session() as session:
            found = self._version(session)
            source = found if self._remote else versions.source_of(session, found)
            artifact, digest = source.artifact["id"], source.version["digest"]
            keys = [self._key, (artifact, digest)]
            keys += [(link.artifact["id"], digest) for link in versions.links_of(session, artifact, digest)]
            known = [session.index.rows, *([session.remote(self._remote).rows] if self._remote else [])]
            held = [r for rows in known for a, d in dict.fromkeys(keys) for r in rows.find(table, artifact=a, digest=d)]
            ordered = dict.fromkeys(row["run"] for row in sorted(held, key=lambda row: (row["at"], row["run"])))
            return [PublicRun(session.avc.root, run_id, self._remote) for run_id in ordered]

    def _use(self, session: Session, run_id: str) -> None:
        """Record the version as an input of a run."""
        assert self._key is not None
        versions.require_live(self._version(session))
        runs.use(session, run_id, [self._key])
