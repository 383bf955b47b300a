"""The runs that go on in this process, the newest last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from artifactvc.errors import UsageError

if TYPE_CHECKING:
    from artifactvc.sdk.run import Run

_RUNS: Final[list[Run]] = []


def going_on() -> list[Run]:
    """The runs of this process that have not ended, the newest first."""
    return [run for run in reversed(_RUNS) if run.goes_on()]


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
