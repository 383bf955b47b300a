"""What a run uses and logs: inputs, outputs, and its part of what many runs build."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from artifactvc.core import names
from artifactvc.errors import BadName, BadValue, Conflict, TypeConflict, UnsupportedError, WrongType
from artifactvc.ops import runs, versions
from artifactvc.ops.session import Session
from artifactvc.sdk.artifact import Artifact
from artifactvc.sdk.errors_as import as_comm_error
from artifactvc.sdk.opened import opened
from artifactvc.sdk.run_base import RunBase
from artifactvc.util.text import is_uri

if TYPE_CHECKING:
    from artifactvc.sdk.listing import Listing
    from artifactvc.sdk.public_run import PublicRun


class RunArtifacts(RunBase):
    """The artifacts of ``Run``; mixed into it."""

    # ---- artifacts ------------------------------------------------------------------------------------------------

    def use_artifact(
        self,
        artifact_or_name: str | Artifact,
        type: str | None = None,
        aliases: Sequence[str] | str | None = None,
        use_as: str | None = None,
    ) -> Artifact:
        """Record a version as an input, and return it.

        A name means ``latest`` unless it says more. A draft is logged first, as an input
        only: this run did not produce it. CommError if there is no such version,
        ValueError if its type is not *type*.
        """
        self._require()
        if isinstance(artifact_or_name, Artifact):
            artifact = artifact_or_name
            if artifact.is_draft() and self._where is not None:
                artifact._log(self.project, None, _aliases(aliases))
        elif isinstance(artifact_or_name, str):
            artifact = self._look_up(artifact_or_name)
        else:
            raise BadValue(f"give an Artifact or its name, not '{artifact_or_name.__class__.__name__}'")
        if type is not None and artifact.type != type:
            raise TypeConflict(
                f"artifact '{artifact.name}' has type '{artifact.type}', not '{type}'", hint="leave type out"
            )
        if self._where is not None:
            with self._session() as session:
                artifact._use(session, self.id)
        return artifact

    @as_comm_error
    def _look_up(self, text: str) -> Artifact:
        with opened().session() if self._where is None else self._session() as session:
            return look_up(session, text, self.project)

    def log_artifact(
        self,
        artifact_or_path: Artifact | str | os.PathLike[str],
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | str | None = None,
        tags: Sequence[str] | str | None = None,
    ) -> Artifact:
        """Make a draft, or the file or directory at a path, a version that this run produced.

        ``latest`` and the *aliases* given point to it. Content that a live version has
        already makes no new one: that version is returned, with this run as one more producer.
        """
        self._require()
        if self._where is None and not isinstance(artifact_or_path, Artifact):
            return Artifact(name or f"run-{self.id}", type or "unspecified")  # nothing is read or stored
        artifact = self._made(artifact_or_path, name, type)
        chosen = [names.check_alias(alias) for alias in _aliases(aliases)]
        labels = [names.check_tag(tag) for tag in _aliases(tags)]
        if self._where is None:
            return artifact
        if artifact.is_draft():
            artifact._log(self.project, self.id, chosen, labels)
        else:
            artifact._check_changeable()
            with self._session() as session:
                key = artifact._key
                assert key is not None
                runs.produce(session, self.id, [key])
                added = [alias for alias in chosen if alias not in artifact.aliases]
                versions.save(
                    session, *key, versions.Changes(aliases=(added, ()) if added else versions.KEEP,
                                                    tags=(labels, ()) if labels else versions.KEEP),
                )  # fmt: skip
                artifact._adopt(session, versions.by_key(session, *key))
        self._logged.append(artifact)
        return artifact

    def _made(self, what: Artifact | str | os.PathLike[str], name: str | None, kind: str | None) -> Artifact:
        if isinstance(what, Artifact):
            return what
        if not isinstance(what, (str, os.PathLike)):
            raise WrongType(f"give an Artifact, or the path of a file or directory, not '{what.__class__.__name__}'")
        path = os.fspath(what)
        last = path.rstrip("/").rpartition("/")[2] if is_uri(path) else os.path.basename(os.path.abspath(path))
        artifact = Artifact(name or f"run-{self.id}-{names.artifact_name_from(last)}", kind or "unspecified")
        if is_uri(path):
            artifact.add_reference(path)
        elif os.path.isfile(path):
            artifact.add_file(path)
        elif os.path.isdir(path):
            artifact.add_dir(path)
        else:
            raise BadValue(f"path must be a file, a directory or a URI: '{path}' is not there")
        return artifact

    def upsert_artifact(
        self,
        artifact_or_path: Artifact | str | os.PathLike[str],
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | str | None = None,
        distributed_id: str | None = None,
    ) -> Artifact:
        """Add this run's part to a version that many runs build; ``finish_artifact`` makes it one.

        Runs that build one version share the *distributed_id*, by default the group. Until it
        is finished the version is nowhere to be seen. TypeError without group and id.
        """
        return self._distributed(artifact_or_path, (name, type), aliases, distributed_id, finish=False)

    def finish_artifact(
        self,
        artifact_or_path: Artifact | str | os.PathLike[str],
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | str | None = None,
        distributed_id: str | None = None,
    ) -> Artifact:
        """Make the parts of all runs, and this one's, one version; it may bring no files of its own."""
        return self._distributed(artifact_or_path, (name, type), aliases, distributed_id, finish=True)

    def _distributed(
        self,
        what: Artifact | str | os.PathLike[str],
        named: tuple[str | None, str | None],
        aliases: Sequence[str] | str | None,
        distributed_id: str | None,
        *,
        finish: bool,
    ) -> Artifact:
        from artifactvc.ops import distributed

        self._require()
        shared_id = distributed_id or self.group
        if not shared_id:
            deed = "finish_artifact" if finish else "upsert_artifact"
            raise WrongType(f"cannot call {deed} without a distributed_id or a group of the run")
        artifact = self._made(what, *named)
        chosen = [names.check_alias(alias) for alias in _aliases(aliases)]
        prepared = artifact._prepared
        if prepared is None:
            raise Conflict(f"'{artifact.name}' is a version already", hint="give a draft: Artifact(name, type)")
        if self._where is None:
            return artifact
        with self._session() as session:
            target = distributed.Target(self.project, artifact._name, artifact.type, shared_id)
            part = distributed.Part(self.id, prepared, artifact.description, artifact.metadata)
            if finish:
                found = distributed.finish(session, target, part, chosen, artifact._ttl_text())
                artifact._adopt(session, found)
                self._logged.append(artifact)
            else:
                distributed.upsert(session, target, part)
                artifact._distributed_id, artifact._finalized = shared_id, True
        return artifact

    def link_artifact(
        self, artifact: Artifact, target_path: str, aliases: Sequence[str] | str | None = None
    ) -> Artifact:
        """Log a draft if need be, and link the version into another artifact."""
        if self._where is None:
            return artifact
        if artifact.is_draft():
            self.log_artifact(artifact)
        if "/" not in target_path:
            target_path = f"{self.project}/{target_path}"
        return artifact.link(target_path, _aliases(aliases))

    def logged_artifacts(self) -> Listing[Artifact]:
        """The versions that this run produced so far."""
        return self._public().logged_artifacts()

    def used_artifacts(self) -> Listing[Artifact]:
        """The versions that this run used so far."""
        return self._public().used_artifacts()

    def _public(self) -> PublicRun:
        from artifactvc.sdk.public_run import PublicRun

        if self._where is None:
            self._session()
        assert self._where is not None
        return PublicRun(self._where, self.id)

    def _unsupported(self, name: str, instead: str) -> UnsupportedError:
        return UnsupportedError(f"'{name}' is not supported", hint=instead)

    def log_model(self, *args: Any, **kwargs: Any) -> Any:
        """Not supported: use ``log_artifact``."""
        raise self._unsupported("log_model", "use run.log_artifact(path, name=…, type='model')")

    def use_model(self, *args: Any, **kwargs: Any) -> Any:
        """Not supported: use ``use_artifact`` and ``download``."""
        raise self._unsupported("use_model", "use run.use_artifact(name).download()")

    def link_model(self, *args: Any, **kwargs: Any) -> Any:
        """Not supported: there is no registry; use ``link_artifact``."""
        raise self._unsupported("link_model", "use run.link_artifact(artifact, 'project/name')")

    def log_code(self, *args: Any, **kwargs: Any) -> Any:
        """Not supported: the run records its Git commit; use ``log_artifact`` for more."""
        raise self._unsupported("log_code", "the run records its Git commit; use run.log_artifact(path, type='code')")

    def define_metric(self, *args: Any, **kwargs: Any) -> None:
        """Accepted, and without effect: nothing is drawn here."""

    def watch(self, *args: Any, **kwargs: Any) -> None:
        """Accepted, and without effect: gradients are not recorded."""

    unwatch = watch

    def alert(self, *args: Any, **kwargs: Any) -> None:
        """Not supported: nobody is told but the terminal."""
        raise self._unsupported("alert", "print it, or log it as a metric")

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Not supported: use ``log_artifact``."""
        raise self._unsupported("save", "use run.log_artifact(path)")


def look_up(session: Session, text: str, project: str) -> Artifact:
    """The version that *text* names, in *project* where it names none; an entity that is a remote is asked."""
    if not isinstance(text, str) or not text:
        raise BadName("no artifact named", hint="write name, name:v3 or name:alias")
    ref = names.parse_ref(text.removeprefix("avc://").removeprefix("wandb-artifact://"))
    found, remote = versions.anywhere(session, ref._replace(project=ref.project or project), text)
    return Artifact._from(session, found, remote)


def _aliases(value: Sequence[str] | str | None) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)
