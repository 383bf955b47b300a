"""``Run``: one execution of code, while it goes on. What it uses and logs becomes lineage.

Begun by ``init``. Every call is recorded when it returns; metrics are appended to a file
beside the log, so a kill loses at most the line under way.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from artifactvc.core import names
from artifactvc.core.metadata import lenient
from artifactvc.errors import (
    AvcError,
    BadName,
    BadValue,
    Conflict,
    TypeConflict,
    UnsupportedError,
    UsageError,
    WrongType,
)
from artifactvc.ops import runs, versions
from artifactvc.ops.session import Session
from artifactvc.sdk import active
from artifactvc.sdk.artifact import Artifact
from artifactvc.sdk.errors_as import as_comm_error
from artifactvc.sdk.opened import at, opened
from artifactvc.util.text import near

if TYPE_CHECKING:
    from artifactvc.sdk.listing import Listing
    from artifactvc.sdk.public_run import PublicRun

#: Seconds between two records of a summary or config that changes while the run goes on.
_RECORDED_EVERY = 30.0


class Config(MutableMapping[str, Any]):
    """The configuration of a run: a dictionary whose keys are attributes too."""

    def __init__(self, run: Run, values: Mapping[str, Any] | None = None) -> None:
        object.__setattr__(self, "_run", run)
        object.__setattr__(self, "_values", dict(values or {}))

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._values[str(key)] = self._run._configured(value)
        self._run._changed()

    def __delitem__(self, key: str) -> None:
        del self._values[key]
        self._run._changed()

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        try:
            return object.__getattribute__(self, "_values")[name]
        except KeyError:
            close = near(name, self._values)
            hint = f": did you mean '{close[0]}'?" if close else ""
            raise AttributeError(f"no key '{name}' in '{type(self).__name__}'{hint}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def update(self, *args: Any, allow_val_change: bool | None = None, **kwargs: Any) -> None:
        """Set several keys; *allow_val_change* is accepted for W&B's sake."""
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    setdefaults = update

    def as_dict(self) -> dict[str, Any]:
        """A copy, as a plain dictionary."""
        return dict(self._values)

    def __repr__(self) -> str:
        return repr(self._values)


class Run:
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
        run.config = Config(run, start.details.get("config"))
        run.summary = Config(run, start.details.get("summary"))
        return run

    _where: Path | None
    _start: runs.RunStart
    _pid: int
    _state: str
    _own: bool
    _details: dict[str, Any]
    _step: int
    _began: float
    _pending: dict[str, Any]
    _lock: threading.RLock
    _recorded: float
    _dirty: bool
    _logged: list[Artifact]
    config: Config
    summary: Config

    @classmethod
    def _disabled(cls, project: str, config: Mapping[str, Any] | str | None) -> Run:
        given = dict(config) if isinstance(config, Mapping) else {}
        return cls._blank(runs.RunStart(runs.new_run_id(), project, details={"config": lenient(given)}), None)

    @classmethod
    def _begin(cls, where: Path, start: runs.RunStart, *, resume: str | bool | None, given: bool) -> Run:
        """Begin a run, take up one that ended, or join the one that ``avc run`` began for this process."""
        with at(where).session() as session:
            known = session.index.rows.get("run", start.id)
            if known is None:
                if resume == "must":
                    raise UsageError(f"no run '{start.id}' to resume", hint="run 'avc runs' to list them")
                runs.start(session, start)
                return cls._blank(start, where)
            info = runs.describe(session, known)
            joined = given and info.state == runs.RUNNING
            if not joined:
                if resume not in ("allow", "must", "auto", True):
                    raise active.conflict_hint(start.id)
                info = runs.resume(session, start.id)
            taken = runs.RunStart(
                info.id, info.project, info.job_type or start.job_type, info.group or start.group, info.name,
                {**info.details, "config": {**info.config, **start.details.get("config", {})}},
            )  # fmt: skip
            run = cls._blank(taken, where)
            run._own = not joined
            run._step = 1 + max((m.get("_step", -1) for m in runs.metrics(session, start.id)), default=-1)
            return run

    # ---- what it is ------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The run's id."""
        return self._start.id

    @property
    def name(self) -> str:
        """The run's name; its id if it was given none."""
        return self._start.name or self._start.id

    @property
    def project(self) -> str:
        """The project that it records to."""
        return self._start.project

    @property
    def entity(self) -> str:
        """Whose repository it is in."""
        if self._where is None:
            return ""
        with self._session() as session:
            return session.entity

    @property
    def group(self) -> str:
        """What it belongs to together with other runs."""
        return self._start.group

    @property
    def job_type(self) -> str:
        """What kind of work it does, such as "train"."""
        return self._start.job_type

    @property
    def path(self) -> str:
        """``entity/project/id``."""
        return f"{self.entity}/{self.project}/{self.id}"

    @property
    def state(self) -> str:
        """running, finished or failed."""
        return self._state

    @property
    def tags(self) -> tuple[str, ...]:
        """Labels."""
        return tuple(self._details.get("tags") or ())

    @tags.setter
    def tags(self, value: Sequence[str]) -> None:
        self._details["tags"] = list(dict.fromkeys(value))
        self._changed()

    @property
    def notes(self) -> str:
        """Text for people."""
        return str(self._details.get("notes") or "")

    @notes.setter
    def notes(self, value: str) -> None:
        self._details["notes"] = value
        self._changed()

    @property
    def step(self) -> int:
        """The step that the next ``log`` records."""
        return self._step

    @property
    def dir(self) -> str:
        """A directory of the run's own, under the repository."""
        directory = (self._where or Path(".")) / "runs" / self.id
        return os.fspath(directory)

    def _session(self) -> AbstractContextManager[Session]:
        if self._where is None:
            raise UsageError("this run is disabled: it records nothing", hint="leave mode='disabled' out")
        return at(self._where).session()

    def _goes_on(self) -> bool:
        return self._state == runs.RUNNING and self._pid == os.getpid()

    def _require(self) -> None:
        if self._state != runs.RUNNING:
            raise UsageError(
                f"run '{self.id}' is over: it can log and use nothing more", hint="begin another with init()"
            )

    # ---- config, summary, metrics -------------------------------------------------------------------------

    def _configured(self, value: Any) -> Any:
        """What a config holds: an artifact becomes an input of the run, and what stands for it."""
        if isinstance(value, Artifact):
            self.use_artifact(value)
            return value.json_encode()
        if isinstance(value, Mapping) and any(isinstance(item, Artifact) for item in value.values()):
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
            runs.update(session, self.id, self._all_details())

    def _all_details(self) -> dict[str, Any]:
        return {**self._details, "config": self.config.as_dict(), "summary": lenient(self.summary.as_dict())}

    def log(self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
        """Append metrics as one step. With *commit* false they wait for the next call.

        A *step* below the one reached is refused. A Table is stored as an artifact
        ``run-<id>-<key>`` of type ``run_table``. The summary keeps the last value of each key.
        """
        self._require()
        if not isinstance(data, Mapping):
            raise WrongType(f"metrics are a dictionary, not '{type(data).__name__}'")
        with self._lock:
            if step is not None and step != self._step:
                if step < self._step:
                    raise BadValue(f"step {step} is over: the next one is {self._step}")
                self._write_pending()
                self._step = step
            values = {str(key): self._measured(str(key), value) for key, value in data.items()}
            self._pending.update(values)
            for key, value in values.items():
                self.summary._values[key] = value
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
        if self._where is not None:
            with self._session() as session:
                runs.log_metrics(session, self.id, [line])
        self._pending = {}
        self._step += 0 if keep_step else 1

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
            if artifact.is_draft():
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
        artifact = self._made(artifact_or_path, name, type)
        chosen = [names.check_alias(alias) for alias in _aliases(aliases)]
        labels = [names.check_tag(tag) for tag in _aliases(tags)]
        if self._where is None:
            return artifact
        if artifact.is_draft():
            artifact._log(self.project, self.id, chosen, labels)
        else:
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
        last = os.path.basename(os.path.abspath(path)) if "://" not in path else path.rstrip("/").rpartition("/")[2]
        artifact = Artifact(name or f"run-{self.id}-{names.artifact_name_from(last)}", kind or "unspecified")
        if "://" in path:
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

    # ---- the end --------------------------------------------------------------------------------------------------

    def finish(self, exit_code: int | None = None, quiet: bool | None = None) -> None:
        """End the run; *exit_code* other than 0 records it as failed. Again: nothing."""
        if self._state != runs.RUNNING:
            return
        with self._lock:
            if self._where is not None:
                self._write_pending()
            code = exit_code or 0
            state = runs.FINISHED if code == 0 else runs.FAILED
            if self._where is not None:
                with self._session() as session:
                    if self._own:
                        runs.finish(session, self.id, state, code, self._all_details())
                    elif self._dirty:  # ``avc run`` ends it, and knows nothing of config and summary
                        runs.update(session, self.id, self._all_details())
            self._state = state
        active.forget(self)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        try:
            self.finish(0 if kind is None else 255 if interrupted else 1)
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


def look_up(session: Session, text: str, project: str) -> Artifact:
    """The version that *text* names, in *project* where it names none; an entity that is a remote is asked."""
    if not isinstance(text, str) or not text:
        raise BadName("no artifact named", hint="write name, name:v3 or name:alias")
    ref = names.parse_ref(text.removeprefix("avc://").removeprefix("wandb-artifact://"))
    found, remote = versions.anywhere(session, ref._replace(project=ref.project or project), text)
    return Artifact._from(session, found, remote)


def _aliases(value: Sequence[str] | str | None) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)
