"""How an operation tells how far it is; the command line shows it, everybody else ignores it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """One task at a time: ``start``, any number of ``advance``, ``finish``."""

    def start(self, what: str, *, total: int | None = None, unit: str = "files") -> None:
        """Begin *what*; *total* in *unit* (``files`` or ``bytes``) where it is known."""

    def advance(self, by: int) -> None:
        """*by* more units are done."""

    def finish(self) -> None:
        """The task is over."""


class NoProgress:
    """Says nothing."""

    def start(self, what: str, *, total: int | None = None, unit: str = "files") -> None:
        """Do nothing."""

    def advance(self, by: int) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""
