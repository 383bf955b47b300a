"""The runs of this process: begun by ``init``, the newest one is what ``artifactvc.log`` and its like act on.

A run that is still going on when the interpreter ends is finished then: as failed if an
error that nobody caught is what ended it.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from artifactvc.core import names
from artifactvc.core.metadata import lenient
from artifactvc.errors import AvcError, BadName, UsageError, WrongType
from artifactvc.ops import runs
from artifactvc.sdk import running
from artifactvc.sdk.environment import first, variable
from artifactvc.sdk.opened import opened, tell
from artifactvc.sdk.settings import Settings
from artifactvc.sdk.surroundings import surroundings

if TYPE_CHECKING:
    from artifactvc.sdk.run import Run

_REINIT: Final = ("default", "return_previous", "finish_previous", "create_new")
_RESUME: Final = (None, "allow", "must", "never", "auto", True, False)
_MODES: Final = ("online", "offline", "shared", "disabled")


def init(
    project: str | None = None,
    entity: str | None = None,
    job_type: str | None = None,
    group: str | None = None,
    name: str | None = None,
    id: str | None = None,
    config: Mapping[str, Any] | str | None = None,
    tags: Sequence[str] | None = None,
    notes: str | None = None,
    dir: str | os.PathLike[str] | None = None,
    mode: str | None = None,
    reinit: str | bool | None = None,
    resume: str | bool | None = None,
    settings: Settings | Mapping[str, Any] | None = None,
) -> Run:
    """Begin a run, and make it the one that ``artifactvc.log`` and its like act on.

    Use it as a context manager, or call ``finish``. A run that is going on in this process
    is finished first, unless *reinit* is "create_new", or "return_previous" (or False),
    which gives that run back. *id* may name a run that ended, with *resume*. A child of
    ``avc run`` gets the run that was begun for it. *mode* "disabled" records nothing; the
    others are the same here. Where there is no repository one is made, and that is said.
    """
    from artifactvc.sdk.run import Run

    chosen = Settings.of(settings)
    _check(reinit, resume, mode, entity)
    previous = running.newest()
    if previous is not None:
        if reinit in ("return_previous", False):
            return previous
        if reinit != "create_new":
            previous.finish()
    if first(mode, variable(os.environ, "MODE")) == "disabled":
        return _remember(Run._disabled(project or "uncategorized", config))
    start = dir if dir is not None else chosen.dir or "."
    made_for = first(project, chosen.project) or None
    repository = opened(create=True, start=Path(start), project=made_for).repository
    wanted = names.check_project(first(project, chosen.project, repository.project))
    details = {
        "config": lenient(_config(config)),
        "tags": list(dict.fromkeys(tags or ())),
        "notes": notes or "",
        **surroundings(),
    }
    run_start = runs.RunStart(
        id or chosen.run_id or variable(os.environ, "RUN_ID") or runs.new_run_id(),
        wanted,
        job_type or chosen.job_type or "",
        group or chosen.run_group or variable(os.environ, "RUN_GROUP") or "",
        name or chosen.run_name or "",
        details,
    )
    joins = not (id or chosen.run_id) and variable(os.environ, "RUN_ID") is not None
    asked = {
        "project": first(project, chosen.project), "job_type": first(job_type, chosen.job_type),
        "group": first(group, chosen.run_group), "name": first(name, chosen.run_name),
    }  # fmt: skip
    said = {field: value for field, value in asked.items() if value}
    return _remember(Run._begin(repository.avc_root, run_start, resume=resume, joins=said if joins else None))


def _check(reinit: object, resume: object, mode: str | None, entity: str | None) -> None:
    if reinit is not None and not isinstance(reinit, bool) and reinit not in _REINIT:
        raise BadName(f"bad reinit '{reinit}'", hint=f"use one of {', '.join(_REINIT)}, True or False")
    if resume not in _RESUME:
        raise BadName(f"bad resume '{resume}'", hint="use 'allow', 'must' or 'never'")
    if mode is not None and mode not in _MODES:
        raise BadName(f"bad mode '{mode}'", hint=f"use one of {', '.join(_MODES)}")
    if entity is not None and not isinstance(entity, str):
        raise WrongType("an entity is text")


def _config(config: Any) -> dict[str, Any]:
    if config is None:
        return {}
    if isinstance(config, Mapping):
        return dict(config)
    if isinstance(config, str):
        import json

        path = Path(config)
        if path.suffix == ".json" and path.is_file():
            loaded = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(loaded, dict):
                return loaded
        raise UsageError(
            f"'{config}' is no file with a JSON object", hint="give a dictionary, or the path of such a file"
        )
    return dict(vars(config))  # a namespace of argparse and its like


def finish(exit_code: int | None = None, quiet: bool | None = None) -> None:
    """End the active run; nothing where there is none."""
    run = running.newest()
    if run is not None:
        run.finish(exit_code)


def _remember(run: Run) -> Run:
    running.remember(run)
    _watch()
    return run


# ---- the end of the interpreter ----------------------------------------------------------------------------

_ended_by: list[type[BaseException]] = []
_watching = False

Hook = Callable[[type[BaseException], BaseException, TracebackType | None], Any]


def _watch() -> None:
    global _watching
    if _watching:
        return
    _watching = True
    atexit.register(_finish_all)
    before: Hook = sys.excepthook

    def noted(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        _ended_by.append(kind)
        before(kind, error, trace)

    sys.excepthook = noted


def _finish_all() -> None:
    for run in running.going_on():
        try:
            run.finish(1 if _ended_by else 0)
        except (AvcError, OSError) as error:
            tell(f"run '{run.id}' could not be finished: {error}")
