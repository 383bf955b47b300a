"""Runs: one execution of code, what it used and what it logged.

A run is a few records of the log, each with the fields that it changes, so runs travel
with push and pull like all else. What may have to be erased one day (config, command
line, host, summary, notes) is one salted object that the records name, ``details``;
metrics are appended to ``runs/<id>/metrics.jsonl`` while the run goes on, each line
whole or not there after a kill, and become an object at finish (design, section 5).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from artifactvc.core import names
from artifactvc.core.entries import Record
from artifactvc.core.model import Digest
from artifactvc.core.records import Row, resolve
from artifactvc.core.results import RunInfo, RunLink
from artifactvc.errors import BadName, Conflict, UnknownRun, WrongType
from artifactvc.ops.session import Session, append, read_salted, salted, storing
from artifactvc.util.files import locked, make_directories, write_all, writing
from artifactvc.util.text import near

RUNNING, FINISHED, FAILED, CRASHED, DELETED = "running", "finished", "failed", "crashed", "deleted"
_LETTERS: Final = string.ascii_lowercase + string.digits
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-]{0,63}")
METRICS: Final = "metrics.jsonl"

Key = tuple[str, Digest]  # artifact id and digest: a version


def new_run_id() -> str:
    """A run id: 8 of [a-z0-9] (design, section 5)."""
    return "".join(secrets.choice(_LETTERS) for _ in range(8))


def check_run_id(text: str) -> str:
    """Return *text* if a run may be called so, else raise BadName."""
    if not isinstance(text, str):
        raise WrongType(f"a run id is text, not '{type(text).__name__}'")
    if not _ID.fullmatch(text):
        raise BadName(f"bad run id '{text[:80]}'", hint="use letters, digits and '-'")
    return text


@dataclass(frozen=True)
class RunStart:
    """What is known of a run when it begins. *details* is everything that only an object holds."""

    id: str
    project: str
    job_type: str = ""
    group: str = ""
    name: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


def start(session: Session, run: RunStart) -> None:
    """Record that a run has begun; Conflict if the id is taken."""
    check_run_id(run.id)
    names.check_project(run.project)
    with session.avc.writing():
        details = _store(session, {**run.details, **whereabouts()})

        def plan() -> list[Record]:
            if session.index.rows.get("run", run.id) is not None:
                raise Conflict(f"run '{run.id}' exists", hint="choose another id, or resume it")
            fields = {
                "project": run.project, "job_type": run.job_type, "group": run.group, "name": run.name,
                "state": RUNNING, "created": session.clock(), "details": details,
            }  # fmt: skip
            return [{"kind": "run", "run": run.id, "set": {k: v for k, v in fields.items() if v != ""}, "was": {}}]

        append(session, "run", plan)


def resume(session: Session, run_id: str) -> RunInfo:
    """Let a run that ended go on in this process; its metrics are added to."""
    _row(session, run_id)
    _change(session, run_id, {"state": RUNNING, "ended": None, "exit_code": None}, whereabouts())
    return info(session, run_id)


def join(session: Session, run_id: str, fields: Mapping[str, str], details: Mapping[str, Any]) -> RunInfo:
    """Say more of a run that somebody else began and ends: ``avc run``, of the program that it runs."""
    _change(session, run_id, dict(fields), details)
    return info(session, run_id)


def update(session: Session, run_id: str, details: Mapping[str, Any]) -> None:
    """Say more of what only an object holds (notes, tags, …) of a run that goes on.

    ``config`` and ``summary`` are merged by key with what other processes of the run have
    recorded; keys named in ``config_removed`` go.
    """
    _change(session, run_id, {}, details)


def finish(session: Session, run_id: str, state: str, exit_code: int | None, details: Mapping[str, Any]) -> None:
    """Record how a run ended. Its metrics become an object, and their file goes once the entry is durable.

    What an earlier end has recorded stays before what came since.
    """
    directory = session.avc.root / "runs" / run_id
    with _alone(session, run_id), session.avc.writing():
        fields: dict[str, Any] = {"state": state, "ended": session.clock(), "exit_code": exit_code}
        fresh = [line for line in _lines(directory / METRICS) if line.endswith(b"\n")]
        if fresh:
            before = _stored_metrics(session, _row(session, run_id))
            with storing(session) as writer:
                fields["metrics"] = writer.put(before + b"".join(fresh))
        _change_alone(session, run_id, fields, details)
        if directory.is_dir():
            shutil.rmtree(directory)


def delete(session: Session, run_id: str) -> None:
    """Mark a run deleted: it leaves listings, and stays in lineage as what it was."""
    row = _row(session, run_id)
    if row["state"] != DELETED:
        _change(session, run_id, {"state": DELETED}, None)


def _change(session: Session, run_id: str, fields: dict[str, Any], details: Mapping[str, Any] | None) -> None:
    with _alone(session, run_id):
        _change_alone(session, run_id, fields, details)


@contextlib.contextmanager
def _alone(session: Session, run_id: str) -> Iterator[None]:
    """One process at a time changes what only objects hold of a run: each merges with what the one before wrote."""
    locks = session.avc.root / "locks"
    if not locks.is_dir():
        make_directories(locks)
    with writing(locks), locked(locks / f"run-{run_id}", exclusive=True):
        session.caught_up = False
        yield


def _change_alone(session: Session, run_id: str, fields: dict[str, Any], details: Mapping[str, Any] | None) -> None:
    with session.avc.writing():
        if details is not None:
            before = read_salted(session, _row(session, run_id)["details"], {}, required=True)
            fields = {**fields, "details": _store(session, _merged(before, details))}

        def plan() -> list[Record]:
            row = _row(session, run_id)
            was = {name: row[name] for name in fields if row[name] is not None}
            return [{"kind": "run", "run": run_id, "set": fields, "was": was}]

        append(session, "run", plan)


def _merged(before: Mapping[str, Any], details: Mapping[str, Any]) -> dict[str, Any]:
    gone = set(details.get("config_removed") or ())
    found = {**before, **{name: value for name, value in details.items() if name != "config_removed"}}
    for name in ("config", "summary"):
        held = {**(before.get(name) or {}), **(details.get(name) or {})}
        found[name] = {key: value for key, value in held.items() if name == "summary" or key not in gone}
    return found


def _store(session: Session, details: Mapping[str, Any]) -> Digest:
    with storing(session) as writer:
        digest: Digest = writer.put(salted(dict(details)))
    return digest


# ---- inputs and outputs ----------------------------------------------------------------------------


def use(session: Session, run_id: str, versions: Sequence[Key]) -> None:
    """Record versions as inputs of a run, once each."""
    _link(session, run_id, "used", versions)


def produce(session: Session, run_id: str, versions: Sequence[Key]) -> None:
    """Record versions that are there already as outputs of a run, once each."""
    _link(session, run_id, "produced", versions)


def _link(session: Session, run_id: str, table: str, versions: Sequence[Key]) -> None:
    def plan() -> list[Record]:
        _row(session, run_id)
        rows = session.index.rows
        fresh = [key for key in dict.fromkeys(versions) if rows.get(table, *key, run_id) is None]
        items = [{"artifact": artifact, "digest": digest} for artifact, digest in fresh]
        return [{"kind": "run", "run": run_id, "set": {}, "was": {}, table: items}] if items else []

    append(session, "use" if table == "used" else "log", plan)


# ---- metrics -----------------------------------------------------------------------------------------


def log_metrics(session: Session, run_id: str, lines: Iterable[Mapping[str, Any]]) -> None:
    """Append metrics, one JSON object a line, in one write: a kill leaves whole lines, and at most one cut short."""
    directory = session.avc.root / "runs" / run_id
    data = b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)
    with writing(directory):
        if not directory.is_dir():
            make_directories(directory)
        path = directory / METRICS
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":
                data = b"\n" + data  # what a kill cut short stands alone
            write_all(fd, data)
        finally:
            os.close(fd)


def metrics(session: Session, run_id: str) -> Iterator[dict[str, Any]]:
    """The metrics of a run in order, of one that goes on or has ended; a line cut short is passed over."""
    lines = _stored_metrics(session, _row(session, run_id)).splitlines()
    for line in [*lines, *_lines(session.avc.root / "runs" / run_id / METRICS)]:
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []


def _stored_metrics(session: Session, row: Row) -> bytes:
    """The lines that an end of the run has made an object of."""
    if not row["metrics"]:
        return b""
    store = session.avc.store
    if not store.has([row["metrics"]]):
        session.fetch_objects(session, [row["metrics"]])
    return b"".join(store.chunks(row["metrics"]))


# ---- questions -----------------------------------------------------------------------------------------


def _row(session: Session, run_id: str) -> Row:
    row = session.index.rows.get("run", run_id)
    if row is None:
        known = [r[0] for r in session.avc.connect().execute("SELECT id FROM run LIMIT 100000")]
        raise UnknownRun(
            f"no run '{run_id[:80]}'",
            hint=f"did you mean '{close[0]}'?" if (close := near(run_id, known)) else "run 'avc runs' to list them",
        )
    return row


def info(session: Session, run_id: str) -> RunInfo:
    """All about one run; UnknownRun with near ids."""
    return describe(session, _row(session, run_id))


def listing(session: Session, project: str | None = None, *, newest_first: bool = True) -> list[Row]:
    """Rows of the runs of a project, or of all; those that were deleted are left out."""
    rows: list[Row] = session.index.rows.find("run", **({"project": project} if project else {}))
    return sorted(
        (row for row in rows if row["state"] != DELETED), key=lambda row: (row["created"], row["id"]),
        reverse=newest_first,
    )  # fmt: skip


def bring_details(session: Session, rows: Iterable[Row]) -> None:
    """Fetch the details of many runs at once, where they are not here and a remote has them."""
    wanted = [row["details"] for row in rows if row["details"]]
    lacking = set(wanted) - session.avc.store.has(wanted)
    if lacking:
        session.fetch_objects(session, lacking)


def describe(session: Session, row: Row) -> RunInfo:
    """A run as people see it. One that is said to go on, whose process is gone on this host, has crashed."""
    details = read_salted(session, row["details"], {})
    state, summary = row["state"] or FINISHED, details.get("summary") or {}
    if state == RUNNING:
        state = CRASHED if is_gone(details) else RUNNING
        summary = {**_last_values(session, row["id"]), **summary}  # what a kill kept from being recorded
    return RunInfo(
        id=row["id"],
        project=row["project"] or "",
        name=row["name"] or details.get("name") or row["id"],
        job_type=row["job_type"] or "",
        group=row["group"] or "",
        state=state,
        created=row["created"] or "",
        ended=row["ended"],
        author=row["author"] or "",
        exit_code=row["exit_code"],
        host=details.get("host") or "",
        command=tuple(map(str, details.get("command") or ())),
        directory=details.get("directory") or "",
        python=details.get("python") or "",
        git=details.get("git"),
        config=details.get("config") or {},
        summary=summary,
        tags=tuple(details.get("tags") or ()),
        notes=details.get("notes") or "",
        used=_links(session, "used", row["id"]),
        produced=_links(session, "produced", row["id"]),
        details=details,
    )


def _last_values(session: Session, run_id: str) -> dict[str, Any]:
    """The last value of each metric that stands beside the log."""
    if not (session.avc.root / "runs" / run_id / METRICS).exists():
        return {}
    found: dict[str, Any] = {}
    for line in metrics(session, run_id):
        found.update(line)
    return {key: value for key, value in found.items() if not key.startswith("_")}


def _links(session: Session, table: str, run_id: str) -> tuple[RunLink, ...]:
    """The versions that a run used or produced, deleted ones too, in the order of their records."""
    rows = session.index.rows
    found = []
    for held in sorted(rows.find(table, run=run_id), key=lambda row: (row["at"], row["artifact"], row["digest"])):
        artifact = resolve(rows, held["artifact"])
        versions = rows.find("version", artifact=held["artifact"], digest=held["digest"])
        version = next((v for v in versions if v["live"]), versions[-1] if versions else None)
        found.append(
            RunLink(
                held["artifact"],
                held["digest"],
                artifact["project"] if artifact else "",
                artifact["name"] if artifact else held["artifact"][:8],
                artifact["type"] if artifact else "",
                names.shown_number(version["number"], provisional=bool(version["provisional"])) if version else "",
                bool(version and version["live"]),
            )
        )
    return tuple(found)


# ---- where a run is ----------------------------------------------------------------------------------


def whereabouts() -> dict[str, Any]:
    """Host, process id and when the process began, by which a run that crashed is told from one that goes on."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "pid_started": _started(os.getpid())}


def _started(pid: int) -> str | None:
    """When a process began, in the kernel's own count; None where that cannot be had."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def is_gone(details: Mapping[str, Any]) -> bool:
    """Whether the process that a run names is gone, on this host."""
    pid = details.get("pid")
    if details.get("host") != socket.gethostname() or not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    began = details.get("pid_started")
    return began is not None and _started(pid) not in (None, began)
