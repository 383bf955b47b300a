"""What a run is: its state, and the properties that people read."""

from __future__ import annotations

import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifactvc.errors import UsageError
from artifactvc.ops import runs
from artifactvc.ops.session import Session
from artifactvc.sdk.config import Config
from artifactvc.sdk.opened import at

if TYPE_CHECKING:
    from artifactvc.sdk.artifact import Artifact


class RunBase(ABC):
    """A run that goes on, or did until ``finish``. *_where* is None for one that is disabled."""

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
    _told: dict[str, dict[str, Any]]  # config and summary as they were last recorded
    _config: Config
    _summary: Config

    @abstractmethod
    def _changed(self) -> None:
        """Config, summary, tags or notes have changed."""

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
    def config(self) -> Config:
        """The configuration: a dictionary whose keys are attributes too."""
        return self._config

    @config.setter
    def config(self, values: Mapping[str, Any]) -> None:
        self._config.update(values)

    @property
    def summary(self) -> Config:
        """The last value of each metric, and what is set here."""
        return self._summary

    @summary.setter
    def summary(self, values: Mapping[str, Any]) -> None:
        self._summary.update(values)

    @property
    def url(self) -> str:
        """``avc://project/runs/id``: there is no web page behind it."""
        return f"avc://{self.project}/runs/{self.id}"

    @property
    def start_time(self) -> float:
        """When it began in this process, in seconds since 1970."""
        return time.time() - (time.monotonic() - self._began)

    @property
    def disabled(self) -> bool:
        """Whether it records nothing."""
        return self._where is None

    @property
    def tags(self) -> tuple[str, ...]:
        """Labels."""
        return tuple(self._details.get("tags") or ())

    @tags.setter
    def tags(self, value: Sequence[str]) -> None:
        self._details["tags"] = list(dict.fromkeys([value] if isinstance(value, str) else value))
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

    def unlock_after_fork(self) -> None:
        """In a forked child: the lock is nobody's."""
        self._lock = threading.RLock()

    def goes_on(self) -> bool:
        """Whether it has not ended, and was begun by this process."""
        return self._state == runs.RUNNING and self._pid == os.getpid()

    def _require(self) -> None:
        if self._state != runs.RUNNING:
            raise UsageError(
                f"run '{self.id}' is over: it can log and use nothing more", hint="begin another with init()"
            )
