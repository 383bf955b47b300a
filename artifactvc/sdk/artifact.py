"""``Artifact``: a draft that is being prepared, then the version that it became.

The shape of W&B's class over avc's own operations. A draft's content is a manifest in
memory whose bytes are in the store already (``ops/prepare.py``); logging it is one entry of
the log. A version is named by its artifact's id and its digest, so it stays what it is
when numbers or names move.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from artifactvc.core import metadata as plain_metadata
from artifactvc.core import names
from artifactvc.core.model import EMPTY
from artifactvc.core.results import VersionInfo
from artifactvc.core.retention import NONE
from artifactvc.errors import ArtifactNotLoggedError, BadValue, CommError, NameTaken, ReadOnly, RemoteUnavailable
from artifactvc.ops import resolve, runs, versions
from artifactvc.ops.commit import CommitOptions, land
from artifactvc.ops.prepare import Prepared, on_newest
from artifactvc.ops.resolve import Found
from artifactvc.ops.session import Session
from artifactvc.ops.trusted import trusted
from artifactvc.sdk import running
from artifactvc.sdk.artifact_relations import ArtifactRelations
from artifactvc.sdk.errors_as import as_comm_error
from artifactvc.sdk.opened import Opened, at, opened
from artifactvc.sdk.surroundings import surroundings
from artifactvc.sdk.ttl import ArtifactTTL, parse_ttl
from artifactvc.storage.drafts import Draft


class Artifact(ArtifactRelations):
    """Files under a name, with a type, metadata and aliases.

    ``Artifact("cnn", type="model")`` begins a draft; ``run.log_artifact`` or ``save`` makes
    it a version. Versions come from ``run.use_artifact`` and ``Api().artifact``.
    """

    def __init__(
        self,
        name: str,
        type: str,
        description: str | None = None,
        metadata: dict[str, Any] | str | None = None,
        incremental: bool = False,
        use_as: str | None = None,
        storage_region: str | None = None,
    ) -> None:
        names.check_artifact_name(name)
        names.check_type_of(type, name)
        if storage_region is not None and not (isinstance(storage_region, str) and storage_region.strip()):
            raise BadValue("a storage region is text that is not blank")
        self._begin(Prepared(name, type), name, type)
        self.description = description
        self._metadata = plain_metadata.normalize(metadata)
        self._incremental = incremental

    def _begin(self, prepared: Prepared | None, name: str, kind: str) -> None:
        self._prepared, self._name, self._type = prepared, name, kind
        self._where: Path | None = None  # the .artifacts directory, once it is settled
        self._unread: set[str] = set()  # what is said of it and could not be read
        self._remote: str | None = None  # in whose log the version stands, where it is not known here
        self._key: tuple[str, str] | None = None  # artifact id and digest of the version
        self._info: VersionInfo | None = None
        self._description: str | None = None
        self._metadata: dict[str, Any] = {}
        self._aliases: list[str] = []
        self._tags: list[str] = []
        self._ttl: timedelta | ArtifactTTL | None = ArtifactTTL.INHERIT
        self._ttl_changed = self._finalized = self._incremental = False
        self._parent: Found | None = None  # the version that a draft was begun on
        self._distributed_id: str | None = None

    @classmethod
    def _from(cls, session: Session, found: Found, remote: str | None = None) -> Artifact:
        """The object for a version, here or in the log of a remote."""
        artifact = cls.__new__(cls)
        artifact._begin(None, found.artifact["name"], found.artifact["type"])
        artifact._remote = remote
        artifact._adopt(session, found)
        return artifact

    def _itself(self) -> Artifact:
        return self

    def _of(self, found: Found, session: Session) -> Artifact:
        return Artifact._from(session, found)

    def _adopt(self, session: Session, found: Found) -> None:
        """Be this version from now on, as it is recorded."""
        info = versions.snapshot(session, found, self._remote)
        self._prepared, self._finalized, self._where = None, True, session.avc.root
        self._key, self._info = (found.artifact["id"], found.version["digest"]), info
        self._name, self._type = info.name, info.type
        self._description = info.description or None
        self._metadata = copy.deepcopy(info.metadata)
        said = {name: found.version[name] for name in ("description", "metadata") if found.version[name]}
        here = session.avc.store.has(said.values())
        self._unread = {name for name, digest in said.items() if digest not in here}
        self._aliases, self._tags = list(info.aliases), list(info.tags)
        ttl: timedelta | ArtifactTTL | None = ArtifactTTL.INHERIT
        if info.ttl is not None:
            ttl = None if info.ttl == NONE else parse_ttl(info.ttl)
        self._ttl, self._ttl_changed = ttl, False

    # ---- where it is -------------------------------------------------------------------------------

    def _opened(self, *, create: bool = False) -> Opened:
        if self._where is not None:
            return at(self._where)
        found = opened(create=create)
        self._where = found.root
        return found

    def _session(self, *, create: bool = False) -> AbstractContextManager[Session]:
        return self._opened(create=create or self._prepared is not None).session()

    def _version(self, session: Session) -> Found:
        if self._key is None:
            raise ArtifactNotLoggedError("Artifact.version", self)
        return versions.by_key(session, *self._key, self._remote)

    # ---- from draft to version ---------------------------------------------------------------------------

    def finalize(self) -> None:
        """Let nothing be added or removed any more."""
        self._finalized = True

    def wait(self, timeout: float | None = None) -> Artifact:
        """The artifact itself: logging is done when it returns. ArtifactNotLoggedError if it was never logged."""
        self._logged("wait")
        return self

    def save(self, project: str | None = None, settings: object = None) -> None:
        """Log a draft, on the active run or one made for it; of a version, record what was changed."""
        if self._prepared is None:
            self._save_changes()
            return
        current = running.newest()
        if current is not None:
            current.log_artifact(self)
            return
        parent = self._parent.artifact["project"] if self._parent else None
        with self._session(create=True) as session:
            wanted = project or parent or session.project
            run = runs.RunStart(runs.new_run_id(), wanted, "auto", details=surroundings())
            runs.start(session, run)
            state, code = runs.FAILED, 1
            try:
                self._log(wanted, run.id)
                state, code = runs.FINISHED, 0
            finally:
                runs.finish(session, run.id, state, code, runs.info(session, run.id).details)

    @as_comm_error
    def _save_changes(self) -> None:
        assert self._info is not None
        assert self._key is not None
        self._check_changeable()
        info = self._info
        changes = versions.Changes(
            description=versions.KEEP if (self._description or "") == info.description else self._description or "",
            metadata=versions.KEEP if (fresh := plain_metadata.normalize(self._metadata)) == info.metadata else fresh,
            aliases=_difference(self._aliases, info.aliases),
            tags=_difference(self._tags, info.tags),
            ttl=self._ttl_text() if self._ttl_changed else versions.KEEP,
        )
        self._require_read(*(n for n in ("description", "metadata") if getattr(changes, n) is not versions.KEEP))
        with self._session() as session:
            found = self._version(session)
            if changes.description is not versions.KEEP or changes.metadata is not versions.KEEP:
                source = versions.source_of(session, found)
                if source.artifact["id"] != found.artifact["id"]:  # what is said of a link is said of its source
                    texts = replace(changes, aliases=versions.KEEP, tags=versions.KEEP, ttl=versions.KEEP)
                    versions.save(session, source.artifact["id"], source.version["digest"], texts)
            versions.save(session, *self._key, changes)
            self._adopt(session, self._version(session))

    def _log(self, project: str, run_id: str | None, aliases: Sequence[str] = (), tags: Sequence[str] = ()) -> None:
        """Make the draft a version of its artifact in *project*, produced by a run if one is named."""
        prepared = self._prepared
        assert prepared is not None
        self._metadata = plain_metadata.normalize(self._metadata)
        with self._session(create=True) as session:
            if self._parent is not None:
                self._check_parent(session, project)
            if self._incremental:
                prepared = on_newest(session, f"{project}/{self._name}", prepared)
            options = CommitOptions(
                self._description, tuple(aliases), tuple(tags), self._metadata or None, self._ttl_text(), run_id,
                command="log",
            ).checked()  # fmt: skip
            found: list[Found] = []

            def finish(draft: Draft) -> None:
                row = resolve.find_artifact(session, f"{project}/{self._name}")
                if row is not None and row["name"] != self._name:
                    raise NameTaken(
                        f"'{self._name}' differs only in case from the artifact '{row['name']}'",
                        hint=f"log it as '{row['name']}', or choose another name",
                    )
                base = prepared.base if prepared.base != EMPTY else None
                number = self._parent.version["number"] if self._parent else None
                draft = replace(
                    draft, project=project, name=self._name, type=self._type,
                    artifact=row["id"] if row else draft.artifact, base=base, base_number=number,
                )  # fmt: skip
                _, version = land(session, draft, options)
                found.append(versions.by_key(session, version["artifact"], version["digest"]))

            prepared.land(session, finish)
            self._adopt(session, found[0])

    def _check_parent(self, session: Session, project: str) -> None:
        assert self._parent is not None
        artifact = self._parent.artifact
        if artifact["project"] != project:
            raise BadValue(
                f"'{self._name}' was begun on a version that exists in project '{artifact['project']}': "
                f"it cannot be logged to '{project}'"
            )
        row = session.index.rows.get("artifact", artifact["id"])
        self._name = row["name"] if row else self._name  # it follows a rename

    def new_draft(self) -> Artifact:
        """A draft with the same entries, description and metadata, to be changed and logged as the next version.

        Reads no file: entries are those of this version's manifest.
        """
        self._logged("new_draft")
        with self._session() as session:
            found = versions.source_of(session, self._version(session))
            draft = Artifact.__new__(Artifact)
            base = trusted(session, found.version["digest"])
            prepared = Prepared(found.artifact["name"], self._type, base, found.version["sources"])
            draft._begin(prepared, prepared.name, self._type)
            self._require_read("description", "metadata")
            draft._where, draft._parent = session.avc.root, found
            if session.avc.root.exists():
                draft._pin(session)
            draft._description, draft._metadata = self._description, copy.deepcopy(self._metadata)
            return draft

    def _pin(self, session: Session) -> None:
        """Name the base in a draft file at once, so that gc keeps it; not where nothing can be written."""
        assert self._prepared is not None
        with contextlib.suppress(ReadOnly):
            self._prepared.flush(session)

    def _require_read(self, *names: str) -> None:
        """RemoteUnavailable for what is said of the version and could not be read: it must not be written anew."""
        unread = [name for name in names if name in self._unread]
        if unread:
            raise RemoteUnavailable(
                f"the {unread[0]} of '{self.name}' is not here, and could not be fetched",
                hint="try again when the remote can be reached",
            )

    # ---- the rest --------------------------------------------------------------------------------------------------

    def json_encode(self) -> dict[str, Any]:
        """What stands for the version in a run's config."""
        info = self._logged("json_encode")
        return {
            "_type": "artifactVersion",
            "_version": "v0",
            "id": self.id,
            "version": self.version,
            "sequenceName": info.name,
            "usedAs": None,
        }

    def __repr__(self) -> str:
        return f"<Artifact {self.id or self._name}>" if self._info is None else f"<Artifact {self.qualified_name}>"

    def __getstate__(self) -> dict[str, Any]:
        if self._prepared is not None and self._where is not None:
            with self._session() as session:
                self._prepared.flush(session)  # what is only in memory here would not be there
        return self.__dict__


def _difference(now: list[str], before: Sequence[str]) -> Any:
    added = [name for name in dict.fromkeys(now) if name not in before]
    removed = [name for name in before if name not in now]
    return (added, removed) if added or removed else versions.KEEP


__all__ = ["Artifact", "CommError"]
