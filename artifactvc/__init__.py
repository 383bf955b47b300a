"""artifactvc: versions datasets, models and results the way Git versions code.

``import artifactvc as avc`` gives W&B's artifact API, offline::

    with avc.init(project="demo", job_type="train") as run:
        data = run.use_artifact("dataset:latest").download()
        model = avc.Artifact("cnn", type="model")
        model.add_file("model.pt")
        run.log_artifact(model, aliases=["best"])

The package imports nothing at import time: names are loaded when they are first used
(docs/architecture.md, "Start-up").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

__version__: Final = "0.1.0"

if TYPE_CHECKING:
    from artifactvc import errors as errors
    from artifactvc.errors import AvcError as Error
    from artifactvc.sdk import tables as data_types
    from artifactvc.sdk.active import finish, init
    from artifactvc.sdk.api import Api
    from artifactvc.sdk.artifact import Artifact
    from artifactvc.sdk.config import Config
    from artifactvc.sdk.repository import Repository
    from artifactvc.sdk.run import Run
    from artifactvc.sdk.settings import Settings
    from artifactvc.sdk.shortcuts import (
        define_metric,
        finish_artifact,
        link_artifact,
        log,
        log_artifact,
        login,
        upsert_artifact,
        use_artifact,
        watch,
    )
    from artifactvc.sdk.tables import JoinedTable, Table
    from artifactvc.sdk.ttl import ArtifactTTL

    run: Run | None
    config: Config
    summary: Config

#: Name -> module that has it. ``run``, ``config`` and ``summary`` are those of the active run.
_WHERE: Final = {
    "Api": "artifactvc.sdk.api",
    "Artifact": "artifactvc.sdk.artifact",
    "ArtifactTTL": "artifactvc.sdk.ttl",
    "JoinedTable": "artifactvc.sdk.tables",
    "Repository": "artifactvc.sdk.repository",
    "Run": "artifactvc.sdk.run",
    "Settings": "artifactvc.sdk.settings",
    "Table": "artifactvc.sdk.tables",
    "define_metric": "artifactvc.sdk.shortcuts",
    "finish": "artifactvc.sdk.active",
    "finish_artifact": "artifactvc.sdk.shortcuts",
    "init": "artifactvc.sdk.active",
    "link_artifact": "artifactvc.sdk.shortcuts",
    "log": "artifactvc.sdk.shortcuts",
    "log_artifact": "artifactvc.sdk.shortcuts",
    "login": "artifactvc.sdk.shortcuts",
    "upsert_artifact": "artifactvc.sdk.shortcuts",
    "use_artifact": "artifactvc.sdk.shortcuts",
    "watch": "artifactvc.sdk.shortcuts",
}
_MODULES: Final = {"data_types": "artifactvc.sdk.tables", "errors": "artifactvc.errors"}
_OF_THE_RUN: Final = ("run", "config", "summary")
__all__ = [
    "Api",
    "Artifact",
    "ArtifactTTL",
    "Error",
    "JoinedTable",
    "Repository",
    "Run",
    "Settings",
    "Table",
    "__version__",
    "config",
    "data_types",
    "define_metric",
    "errors",
    "finish",
    "finish_artifact",
    "init",
    "link_artifact",
    "log",
    "log_artifact",
    "login",
    "run",
    "summary",
    "upsert_artifact",
    "use_artifact",
    "watch",
]


def __getattr__(name: str) -> Any:
    import importlib

    if name in _WHERE:
        found = getattr(importlib.import_module(_WHERE[name]), name)
    elif name in _MODULES:
        found = importlib.import_module(_MODULES[name])
    elif name == "Error":
        found = importlib.import_module("artifactvc.errors").AvcError
    elif name in _OF_THE_RUN:
        from artifactvc.sdk import shortcuts

        return getattr(shortcuts, f"active_{name}")()
    else:
        from artifactvc.sdk.unsupported import refuse

        raise refuse("artifactvc", name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
