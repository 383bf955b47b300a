"""A change between manifests as results show it."""

from __future__ import annotations

from artifactvc.core.model import Change, Entry
from artifactvc.core.results import PathChange


def path_change(change: Change) -> PathChange:
    """One difference as people see it."""

    def content(entry: Entry | None) -> str | None:
        return None if entry is None else entry.digest or entry.target or entry.identity

    before, after = change.before, change.after
    return PathChange(
        change.path,
        change.status,
        before.size if before else None,
        after.size if after else None,
        content(before),
        content(after),
    )
