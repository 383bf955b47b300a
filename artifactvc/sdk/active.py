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
from artifactvc.sdk.opened import SILENT, opened, tell
from artifactvc.sdk.settings import WITHOUT_EFFECT, Settings
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
    **without_effect: Any,
) -> Run:
    """Begin a run, and make it the one that ``artifactvc.log`` and its like act on.

    Use it as a context manager, or call ``finish``. A run that is going on in this process
    is finished first, unless *reinit* is "create_new", or "return_previous" (or False),
    which gives that run back. *id* may name a run that ended, with *resume*. A child of
    ``avc run`` gets the run that was begun for it. *mode* "disabled" records nothing; the
    others are the same here. Where there is no repository one is made, and that is said.

    What only W&B's server has a use for (``save_code``, ``sync_tensorboard``, …) is taken and
    has no effect; any other name is a TypeError.
    """
    from artifactvc.sdk.run import Run

    chosen = Settings.of(settings)
    if chosen.silent:
        SILENT.append(True)
    unknown = [name for name in without_effect if name not in WITHOUT_EFFECT]
    if unknown:
        raise WrongType(f"init() got an unexpected keyword argument '{unknown[0]}'")
    given = _config(config)
    _check(reinit, resume, mode, entity)
    _check_names(id, project)
    previous = running.newest()
    if previous is not None:
        if reinit in ("return_previous", False):
            return previous
        if reinit != "create_new":
            previous.finish()
    if first(mode, chosen.mode, variable(os.environ, "MODE")) == "disabled":
        together = first(group, chosen.run_group) or variable(os.environ, "RUN_GROUP") or ""
        return _remember(Run._disabled(project or "uncategorized", together, given))
    said = {
        "project": first(project, chosen.project), "job_type": first(job_type, chosen.job_type),
        "group": first(group, chosen.run_group), "name": first(name, chosen.run_name),
        "id": first(id, chosen.run_id),
    }  # fmt: skip
    place = Path(dir if dir is not None else chosen.dir or ".")
    repository = opened(create=True, start=place, project=said["project"] or None).repository
    _tell_entity(entity or chosen.entity, repository.entity)
    inputs = {key: value for key, value in given.items() if _is_input(value)}
    details = {
        "config": lenient({key: value for key, value in given.items() if key not in inputs}),
        "tags": list(dict.fromkeys([tags] if isinstance(tags, str) else tags or ())),
        "notes": notes or "",
        **surroundings(),
    }
    joins = not said["id"] and _run_id_from_outside() is not None
    told = {field: value for field, value in said.items() if value and field != "id"}
    start = _start_of(said, repository.project, details)
    run = _remember(Run._begin(repository.avc_root, start, resume=resume, joins=told if joins else None))
    for key, value in inputs.items():
        run.config[key] = value
    return run


def _start_of(said: Mapping[str, str], default_project: str, details: dict[str, Any]) -> runs.RunStart:
    """What was said, else what the environment says, else what is usual here."""
    project = first(said["project"], variable(os.environ, "PROJECT"), default_project)
    return runs.RunStart(
        said["id"] or _run_id_from_outside() or runs.new_run_id(),
        names.check_project(project),
        said["job_type"],
        said["group"] or variable(os.environ, "RUN_GROUP") or "",
        said["name"],
        details,
    )


def _tell_entity(asked: str | None, ours: str) -> None:
    if asked and asked != ours:
        tell(
            f"entity '{asked}' is not used: this repository's is '{ours}'"
            f" ('avc config set entity {asked}' gives it that name)",
            once=True,
        )


def _run_id_from_outside() -> str | None:
    """The id that the environment names, unless its run was joined here and left."""
    named = variable(os.environ, "RUN_ID")
    return None if named in running.JOINED else named


def _is_input(value: Any) -> bool:
    """Whether a value of a config stands for an artifact, which becomes an input of the run."""
    from artifactvc.sdk.artifact import Artifact
    from artifactvc.sdk.run import _holds_artifact

    named = isinstance(value, str) and value.startswith("wandb-artifact://")
    return named or isinstance(value, Artifact) or _holds_artifact(value)


def _check(reinit: object, resume: object, mode: str | None, entity: str | None) -> None:
    if reinit is not None and not isinstance(reinit, bool) and reinit not in _REINIT:
        raise BadName(f"bad reinit '{reinit}'", hint=f"use one of {', '.join(_REINIT)}, True or False")
    if resume not in _RESUME:
        raise BadName(f"bad resume '{resume}'", hint="use 'allow', 'must' or 'never'")
    if mode is not None and mode not in _MODES:
        raise BadName(f"bad mode '{mode}'", hint=f"use one of {', '.join(_MODES)}")
    if entity is not None and not isinstance(entity, str):
        raise WrongType("an entity is text")


def _check_names(run_id: str | None, project: str | None) -> None:
    """Said before the run that goes on is finished."""
    if run_id is not None:
        runs.check_run_id(run_id)
    if project is not None:
        names.check_project(project)


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
    if not hasattr(config, "__dict__"):
        raise WrongType(f"a config is a dictionary, not '{type(config).__name__}'")
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
_ended_with: list[int] = []
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
    leave: Callable[..., Any] = vars(sys)["exit"]

    def noted_exit(code: Any = None) -> Any:
        _ended_with[:] = [0 if code is None else code if isinstance(code, int) else 1]
        return leave(code)

    vars(sys)["exit"] = noted_exit  # a SystemExit does not come to the hook above


def _finish_all() -> None:
    for run in running.going_on():
        try:
            run.finish(1 if _ended_by else _ended_with[0] if _ended_with else 0)
        except (AvcError, OSError) as error:
            tell(f"run '{run.id}' could not be finished: {error}")
