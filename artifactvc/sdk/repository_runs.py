"""The part of ``Repository`` for runs: what was executed, and what came of what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from artifactvc.ops.session import Session
from artifactvc.sdk.environment import variable

if TYPE_CHECKING:
    from artifactvc.core import results


class Runs:
    """What ``Repository`` offers for runs."""

    _session: Session
    _environ: Mapping[str, str]

    def runs(self, project: str | None = None, *, limit: int | None = None) -> Iterator[results.RunInfo]:
        """The runs of a project, or of all, newest first; those that were deleted are left out."""
        from artifactvc.ops import lineage

        return lineage.recent(self._session, project, limit)

    def run_info(self, run_id: str) -> results.RunInfo:
        """All about one run, deleted ones too; UnknownRun with near ids."""
        from artifactvc.ops import runs

        return runs.info(self._session, run_id)

    def lineage(self, ref: str, *, up: bool = True, down: bool = True, depth: int | None = None) -> results.Lineage:
        """What a version, or the run with this id, was made from, and what was made of it, at most *depth* steps."""
        from artifactvc.ops import lineage

        return lineage.lineage(self._session, ref, up=up, down=down, depth=depth)

    def execute(
        self,
        command: Sequence[str],
        *,
        name: str = "",
        job_type: str = "",
        project: str = "",
        group: str = "",
        use: Sequence[str] = (),
        log: Sequence[tuple[str, str]] = (),
        stdout: int | None = None,
    ) -> results.Executed:
        """Run a command as a run that uses versions and, once it has ended with 0, logs (name, path) pairs.

        It inherits the standard streams; *stdout* is a file descriptor in the place of the second.
        """
        from artifactvc.ops import execute

        group = group or variable(self._environ, "RUN_GROUP") or ""
        asked = execute.Execution(
            tuple(command), self._environ, name, job_type, project, group, tuple(use), tuple(log), stdout
        )
        return execute.execute(self._session, asked)

    def abandon_draft(self, name: str, distributed_id: str) -> bool:
        """Give up what runs are building as *distributed_id* (or their group): no version comes of it.

        False if nothing is being built. For parts that disagree where the run which was wrong is gone.
        """
        from artifactvc.core import names
        from artifactvc.ops import distributed, resolve

        entity, project, plain = names.parse_artifact(name)
        project = resolve.project_of(self._session, entity, project)
        return distributed.abandon(self._session, distributed.Target(project, plain, "", distributed_id))
