"""``Run``: one execution of code, while it goes on. What it uses and logs becomes lineage.

Begun by ``init``. Every call is recorded when it returns; metrics are appended to a file
beside the log, so a kill loses at most the line under way.
"""

from __future__ import annotations

import operator
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from artifactvc.core import names
from artifactvc.core.metadata import lenient
from artifactvc.errors import (
    AvcError,
    BadValue,
    Conflict,
    UsageError,
    WrongType,
)
from artifactvc.ops import runs
from artifactvc.sdk import running
from artifactvc.sdk.artifact import Artifact
from artifactvc.sdk.config import Config
from artifactvc.sdk.opened import at, tell
from artifactvc.sdk.run_artifacts import RunArtifacts

#: Seconds between two records of a config that changes while the run goes on. The summary is in the metrics meanwhile.
_RECORDED_EVERY = 1.0


class Run(RunArtifacts):
    """A run that goes on. Public fields: ``id, name, project, entity, group, job_type, config, summary, tags``."""

    def __init__(self) -> None:
        raise UsageError("a run is begun by artifactvc.init()", hint="run = artifactvc.init(project=…)")

    @classmethod
    def _blank(cls, start: runs.RunStart, where: Path | None) -> Run:
        run = cls.__new__(cls)
        run._where, run._start, run._pid = where, start, os.getpid()
        run._state = runs.RUNNING
        run._own = where is not None  # whether this process ends it; else ``avc run`` does
        run._details = dict(start.details)
        run._step, run._began = 0, time.monotonic()
        run._pending = {}
        run._lock, run._recorded, run._dirty = threading.RLock(), time.monotonic(), False
        run._logged = []
        run._told = {"config": dict(start.details.get("config") or {}), "summary": {}}
        run._config = Config(start.details.get("config"), run._configured, run._changed)
        run._summary = Config(start.details.get("summary"), lenient, run._changed)
        return run

    @classmethod
    def _disabled(cls, project: str, group: str, config: Mapping[str, Any] | str | None) -> Run:
        given = dict(config) if isinstance(config, Mapping) else {}
        details = {"config": lenient(given)}
        return cls._blank(runs.RunStart(runs.new_run_id(), project, group=group, details=details), None)

    @classmethod
    def _begin(
        cls, where: Path, start: runs.RunStart, *, resume: str | bool | None, joins: Mapping[str, str] | None
    ) -> Run:
        """Begin a run, take up one that ended, or join the one that ``avc run`` began for this process.

        *joins* is what ``init`` was told, where the run may be another's; it is recorded there.
        """
        with at(where).session() as session:
            known = session.index.rows.get("run", start.id)
            if known is None:
                if resume == "must":
                    raise UsageError(f"no run '{start.id}' to resume", hint="run 'avc runs' to list them")
                runs.start(session, start)
                return cls._blank(start, where)
            info = runs.describe(session, known)
            joined = joins is not None and info.state == runs.RUNNING
            if joins is not None and joined:
                said = start.details
                more = {
                    "config": {**info.config, **said.get("config", {})},
                    "tags": list(dict.fromkeys([*info.tags, *said.get("tags", ())])),
                    "notes": said.get("notes") or info.notes,
                }
                info = runs.join(session, start.id, joins, {**info.details, **more})
            else:
                if resume not in ("allow", "must", "auto", True):
                    raise Conflict(
                        f"run '{start.id}' exists",
                        hint="choose another id, or give resume='allow' to go on with it",
                    )
                info = runs.resume(session, start.id)
            taken = runs.RunStart(
                info.id, info.project, info.job_type or start.job_type, info.group or start.group, info.name,
                {**info.details, "config": {**info.config, **start.details.get("config", {})}},
            )  # fmt: skip
            run = cls._blank(taken, where)
            run._own = not joined
            run._told["config"] = dict(info.config)
            run._step = 1 + max((m.get("_step", -1) for m in runs.metrics(session, start.id)), default=-1)
            return run

    # ---- config, summary, metrics -------------------------------------------------------------------------

    def _configured(self, value: Any) -> Any:
        """What a config holds: an artifact becomes an input of the run, and what stands for it."""
        if isinstance(value, Artifact):
            self.use_artifact(value)
            return value.json_encode()
        if isinstance(value, str) and value.startswith("wandb-artifact://"):
            return self.use_artifact(value).json_encode()
        if _holds_artifact(value):
            raise BadValue("an Artifact can only be a top-level key of a run's config")
        return lenient(value)

    def _changed(self) -> None:
        """Config or summary changed: recorded now and then, and at finish."""
        self._dirty = True
        if self._where is not None and time.monotonic() - self._recorded > _RECORDED_EVERY:
            self._record()

    def _record(self) -> None:
        self._recorded, self._dirty = time.monotonic(), False
        with self._session() as session:
            runs.update(session, self.id, self._news())

    def _news(self) -> dict[str, Any]:
        """What has changed since it was last recorded: other processes of the run have changes of their own."""
        config, summary = self.config.as_dict(), lenient(self.summary.as_dict())
        before = self._told
        news: dict[str, Any] = {
            **{name: self._details[name] for name in ("tags", "notes") if name in self._details},
            "config": {k: v for k, v in config.items() if k not in before["config"] or before["config"][k] != v},
            "config_removed": [key for key in before["config"] if key not in config],
            "summary": {k: v for k, v in summary.items() if k not in before["summary"] or before["summary"][k] != v},
        }
        self._told = {"config": config, "summary": summary}
        return news

    def log(self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
        """Append metrics as one step. With *commit* false they wait for the next call.

        A *step* below the one reached is left out, with a word on stderr: training goes on.
        A Table is stored as an artifact
        ``run-<id>-<key>`` of type ``run_table``. The summary keeps the last value of each key.
        """
        self._require()
        if not isinstance(data, Mapping):
            raise WrongType(f"metrics are a dictionary, not '{type(data).__name__}'")
        if step is not None:
            try:
                step = operator.index(step)
            except TypeError:
                raise WrongType(f"a step is an integer, not '{type(step).__name__}'") from None
        with self._lock:
            if step is not None and step != self._step:
                if step < self._step:
                    tell(f"metrics of step {step} are left out: the next one is {self._step}", once=True)
                    return
                self._write_pending()
                self._step = step
            values = {str(key): self._measured(str(key), value) for key, value in data.items()}
            self._pending.update(values)
            self.summary.keep(values)
            self._dirty = True
            if commit is not False and (commit or step is None):
                self._write_pending()
            elif commit is None and step is not None:
                self._write_pending(keep_step=True)

    def _measured(self, key: str, value: Any) -> Any:
        from artifactvc.sdk.tables import Table

        if isinstance(value, Table):
            table = Artifact(f"run-{self.id}-{names.artifact_name_from(key)}", "data-table")
            table._type = "run_table"
            if table._prepared is not None:
                table._prepared.kind = "run_table"
            table.add(value, key)
            self.log_artifact(table)
            return {"_type": "table-file", "artifact": table.name, "path": f"{key}{Table.suffix}"}
        return lenient(value)

    def _write_pending(self, *, keep_step: bool = False) -> None:
        if not self._pending:
            return
        line = {**self._pending, "_step": self._step, "_runtime": round(time.monotonic() - self._began, 3)}
        line["_timestamp"] = round(time.time(), 6)
        self._pending = {}
        if self._where is not None:
            with self._session() as session:
                runs.log_metrics(session, self.id, [line])
        self._step += 0 if keep_step else 1

    # ---- the end --------------------------------------------------------------------------------------------------

    def finish(self, exit_code: int | None = None, quiet: bool | None = None) -> None:
        """End the run; *exit_code* other than 0 records it as failed. Again: nothing."""
        if not self.goes_on():  # a forked child's parent ends it
            return
        with self._lock:
            if self._where is not None:
                self._write_pending()
            code = exit_code or 0
            state = runs.FINISHED if code == 0 else runs.FAILED
            if self._where is not None:
                with self._session() as session:
                    if self._own:
                        runs.finish(session, self.id, state, code, self._news())
                    else:  # ``avc run`` ends it, and knows nothing of config and summary
                        runs.update(session, self.id, self._news())
                        running.JOINED.add(self.id)
            self._state = state
        running.forget(self)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.finish(_exit_code(error))
        except (AvcError, OSError):
            if error is None:
                raise  # with an error under way, that one is what must be seen

    def __repr__(self) -> str:
        return f"<Run {self.project}/{self.id} ({self._state})>"

    def _repr_html_(self) -> str:
        from artifactvc.sdk.html import table

        rows: list[tuple[str, object]] = [
            ("project", self.project),
            ("state", self._state),
            ("job type", self.job_type),
        ]
        rows += [("group", self.group)] if self.group else []
        rows += [(f"config.{key}", value) for key, value in list(self.config.items())[:20]]
        rows += [(f"summary.{key}", value) for key, value in list(self.summary.items())[:20]]
        return table(f"run {self.name}", rows)


def _exit_code(error: BaseException | None) -> int:
    """What a program that ends by *error* tells its caller."""
    if error is None:
        return 0
    if isinstance(error, KeyboardInterrupt):
        return 255
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    return 1


def _holds_artifact(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(isinstance(item, Artifact) or _holds_artifact(item) for item in value.values())
    return isinstance(value, (list, tuple, set)) and any(
        isinstance(item, Artifact) or _holds_artifact(item) for item in value
    )
