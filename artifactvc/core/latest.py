"""Where ``latest`` stood before an operation moved it: what an undo gives back (protocol N4, N6).

``latest`` follows the log, so where it goes back to is decided where the record lands, the
same in every clone, and not where the undo was asked for: somebody may have pushed meanwhile.
"""

from __future__ import annotations

import json
from typing import Final

from artifactvc.core.rows import Context, Row, Rows, live_version

#: Of how many operations a version keeps from where they moved ``latest`` to it.
_STOOD: Final = 16


def note_stood(rows: Rows, artifact: str, digest: str, context: Context) -> None:
    """Keep where ``latest`` stood before this operation moves it to a version: what an undo gives back."""
    held, version = rows.get("alias", artifact, "latest"), live_version(rows, artifact, digest)
    at = held["digest"] if held else None
    if version is not None and at != digest:
        stood = {**json.loads(version["stood"] or "{}"), context.op: at}
        kept = dict(list(stood.items())[-_STOOD:])
        rows.put("version", {**version, "stood": json.dumps(kept)})


def stood_before(rows: Rows, version: Row, op: str) -> str | None:
    """Where ``latest`` stood before operation *op* moved it to *version*; what is not live now gives way to the newest.

    None if there was no ``latest``, or there is no other live version.
    """
    stood = json.loads(version.get("stood") or "{}")
    digest: str | None = stood.get(op)
    if op in stood and digest is None:
        return None
    others = [v for v in rows.find("version", artifact=version["artifact"]) if v["live"]]
    others = [v for v in others if v["digest"] != version["digest"]]
    if any(v["digest"] == digest for v in others):
        return digest
    return str(others[-1]["digest"]) if others else None
