"""What the records of versions built by many do: a draft is opened once, and ends once (protocol P10).

Total like the rest of the fold (``core/records.py``): open, then finished or given up, nothing else.
"""

from __future__ import annotations

import json
from typing import Any, Final

from artifactvc.core.entries import Record
from artifactvc.core.rows import Context, NoEffect, Rows, resolve

#: What a part says of its run, for those who do not have the run's own records: columns of the table of runs.
RUN_FIELDS: Final = ("project", "name", "job_type", "group", "created", "author")
#: What is kept of a draft besides its state: what is built, and at the end by whom.
_FIELDS: Final = ("project", "name", "type", "distributed_id", "generation")


def apply_draft(rows: Rows, record: Record, context: Context) -> None:
    """A draft is opened once: again changes nothing. It may be given up while it is open (protocol P10)."""
    row, changes = rows.get("draft", record["draft"]), record.get("set", {})
    if changes.get("state") == "abandoned":
        if row is None or row["state"] != "open":
            raise NoEffect("its draft is not open")
        rows.put("draft", {**row, "state": "abandoned"})
    elif row is None:
        details = {name: changes[name] for name in _FIELDS if name in changes}
        rows.put("draft", {
            "id": record["draft"], "artifact": record.get("artifact"), "state": "open", "details": json.dumps(details),
        })  # fmt: skip


def apply_finish(rows: Rows, record: Record, context: Context) -> None:
    """A draft ends once; the runs whose parts were taken, and who finished, produced the version."""
    row = rows.get("draft", record["draft"])
    if row is not None and row["state"] != "open":
        raise NoEffect("its draft has ended")
    taken, run, known = record.get("taken", {}), record.get("run"), record.get("runs", {})
    if not isinstance(taken, dict) or not isinstance(known, dict):
        raise NoEffect("its 'taken' or 'runs' is of another kind")
    details = json.loads((row or {}).get("details") or "{}") | {"run": run, "taken": taken}
    rows.put("draft", {
        "id": record["draft"], "artifact": record.get("artifact"), "state": "finished",
        "digest": record.get("digest"), "details": json.dumps(details),
    })  # fmt: skip
    if record.get("artifact") and record.get("digest"):
        artifact = resolve(rows, record["artifact"])
        key = {"artifact": artifact["id"] if artifact else record["artifact"], "digest": record["digest"]}
        for producer in dict.fromkeys([*taken, *([run] if run else [])]):
            if rows.get("produced", *key.values(), producer) is None:
                rows.put("produced", {**key, "run": producer, "at": context.time})
            _introduce(rows, producer, known.get(producer), context)


def _introduce(rows: Rows, run: str, known: Any, context: Context) -> None:
    """A run whose own records are elsewhere is known by what its part says; they will set all of it when they come."""
    if not isinstance(known, dict) or rows.get("run", run) is not None:
        return
    fields = {name: known[name] for name in RUN_FIELDS if isinstance(known.get(name), str)}
    author = known.get("author")
    rows.put("run", {
        "created": context.time, **fields, "id": run, "state": "finished",
        "author": author if isinstance(author, str) else context.author,
    })  # fmt: skip
