"""Words for the shell: artifacts, versions and remotes that begin as typed."""

from __future__ import annotations

from typing import Final

from artifactvc.core.names import shown_number
from artifactvc.core.records import folded
from artifactvc.ops.operations import SHOWN
from artifactvc.ops.session import Session
from artifactvc.storage.index import LOCAL

#: Operations that are offered: the newest.
_OFFERED: Final = 50


def complete(session: Session, kind: str, prefix: str) -> list[str]:
    """Return the words of *kind* that begin with *prefix*, sorted; ``ref`` goes on behind ``:``."""
    if kind == "remote":
        return sorted(name for name in session.avc.remotes if name.startswith(prefix))
    connection = session.index.connection
    if kind == "operation":
        begun = f"{LOCAL}/{folded(prefix)}"
        found = connection.execute(
            "SELECT op FROM operation WHERE op >= ? AND op < ? ORDER BY n DESC LIMIT ?", (begun, f"{begun}g", _OFFERED)
        )
        return [str(row[0]).partition("/")[2][:SHOWN] for row in found]
    rows = connection.execute("SELECT id, project, name FROM artifact WHERE deleted = 0 AND joins IS NULL").fetchall()
    known = {name if project == session.project else f"{project}/{name}": key for key, project, name in rows}
    if kind == "artifact" or ":" not in prefix:
        return sorted(name for name in known if folded(name).startswith(folded(prefix)))
    name, _, typed = prefix.partition(":")
    artifact = known.get(name)
    if artifact is None:
        return []
    versions = connection.execute(
        "SELECT number, provisional FROM version WHERE artifact = ? AND live = 1 ORDER BY number DESC", (artifact,)
    )
    words = [shown_number(number, provisional=False) for number, _ in versions] if kind == "ref" else []
    words += [
        row[0] for row in connection.execute("SELECT alias FROM alias WHERE artifact = ? ORDER BY 1", (artifact,))
    ]
    return [f"{name}:{word}" for word in words if word.startswith(typed)]
