"""The functions of the package that act on the active run, and ``login``, which has nothing to do."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from artifactvc.sdk.running import newest, require

if TYPE_CHECKING:
    from artifactvc.sdk.artifact import Artifact
    from artifactvc.sdk.config import Config
    from artifactvc.sdk.run import Run

PathLike = str | os.PathLike[str]
Names = Sequence[str] | str | None


def login(*args: Any, **kwargs: Any) -> bool:
    """True: there is no server to log in to. Takes what W&B's takes."""
    return True


def log(data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
    """``Run.log`` of the active run."""
    require("log").log(data, step, commit)


def log_artifact(
    artifact_or_path: Artifact | PathLike,
    name: str | None = None,
    type: str | None = None,
    aliases: Names = None,
    tags: Names = None,
) -> Artifact:
    """``Run.log_artifact`` of the active run."""
    return require("log_artifact").log_artifact(artifact_or_path, name, type, aliases, tags)


def use_artifact(
    artifact_or_name: str | Artifact, type: str | None = None, aliases: Names = None, use_as: str | None = None
) -> Artifact:
    """``Run.use_artifact`` of the active run."""
    return require("use_artifact").use_artifact(artifact_or_name, type, aliases, use_as)


def upsert_artifact(
    artifact_or_path: Artifact | PathLike,
    name: str | None = None,
    type: str | None = None,
    aliases: Names = None,
    distributed_id: str | None = None,
) -> Artifact:
    """``Run.upsert_artifact`` of the active run."""
    return require("upsert_artifact").upsert_artifact(artifact_or_path, name, type, aliases, distributed_id)


def finish_artifact(
    artifact_or_path: Artifact | PathLike,
    name: str | None = None,
    type: str | None = None,
    aliases: Names = None,
    distributed_id: str | None = None,
) -> Artifact:
    """``Run.finish_artifact`` of the active run."""
    return require("finish_artifact").finish_artifact(artifact_or_path, name, type, aliases, distributed_id)


def link_artifact(artifact: Artifact, target_path: str, aliases: Names = None) -> Artifact:
    """``Run.link_artifact`` of the active run."""
    return require("link_artifact").link_artifact(artifact, target_path, aliases)


def define_metric(*args: Any, **kwargs: Any) -> None:
    """Accepted, and without effect: nothing is drawn here."""


def watch(*args: Any, **kwargs: Any) -> None:
    """Accepted, and without effect: gradients are not recorded."""


def active_run() -> Run | None:
    """The active run, or None: ``artifactvc.run``."""
    return newest()


def active_config() -> Config:
    """Its config: ``artifactvc.config``; UsageError where there is no run."""
    return require("config").config


def active_summary() -> Config:
    """Its summary: ``artifactvc.summary``; UsageError where there is no run."""
    return require("summary").summary
