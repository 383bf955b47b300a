"""The runs that go on in this process, the newest last."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from artifactvc.errors import UsageError

if TYPE_CHECKING:
    from artifactvc.sdk.run import Run

_RUNS: Final[list[Run]] = []
#: Runs of ``avc run`` that this process has joined and left: the next ``init`` begins another.
JOINED: Final[set[str]] = set()


def going_on() -> list[Run]:
    """The runs of this process that have not ended, the newest first."""
    return [run for run in reversed(_RUNS) if run.goes_on()]


def _in_a_child() -> None:
    """After a fork: whoever held a run's lock is not in this process."""
    for run in _RUNS:
        run.unlock_after_fork()


os.register_at_fork(after_in_child=_in_a_child)


def newest() -> Run | None:
    """The run that was begun last in this process and goes on, or None."""
    return next(iter(going_on()), None)


def require(deed: str) -> Run:
    """The active run; UsageError that names *deed* where there is none."""
    run = newest()
    if run is None:
        raise UsageError(f"You must call artifactvc.init() before artifactvc.{deed}()")
    return run


def remember(run: Run) -> None:
    """A run has begun."""
    _RUNS.append(run)


def forget(run: Run) -> None:
    """A run that ended leaves the list."""
    if run in _RUNS:
        _RUNS.remove(run)
