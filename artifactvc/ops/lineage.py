"""Walks the index from one version or run to all that it was made from and all that was made of it; lists runs.

Breadth first, one layer at a time, and each layer by a few statements for hundreds of
keys: ten thousand runs take tens of statements, not tens of thousands. The layers take
turns, versions and runs, so each is of one kind. Cycles and diamonds end by themselves,
since a node is entered once. Nothing but the index is read, except for runs that are
said to go on: whether one has crashed stands in its details.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any, Final

from artifactvc.core import names
from artifactvc.core.results import Lineage, LineageEdge, LineageNode, RunInfo
from artifactvc.errors import AvcError, BadName, MissingObject, NotFound, StorageError, UnknownArtifact
from artifactvc.ops import resolve, runs
from artifactvc.ops.session import Session
from artifactvc.util.text import near

Version = tuple[str, str]  # artifact id and digest
Key = Version | str  # a version, or a run by its id

#: Keys in one statement; SQLite of old takes 999 values, a version is two.
_CHUNK: Final = 400


def lineage(session: Session, text: str, *, up: bool = True, down: bool = True, depth: int | None = None) -> Lineage:
    """The graph around the version, else the run, that *text* names.

    *up* follows to what it was made from, *down* to what was made of it, at most *depth*
    steps each: from a version to a run is one step, from there to a version the next.
    """
    start = _start(session, text)
    connection = session.index.connection
    distances: dict[Key, int] = {start: 0}
    edges: dict[tuple[str, Version, str], str] = {}  # kind, version, run -> when
    for wanted, towards in ((up, ("produced", "used")), (down, ("used", "produced"))):
        if wanted:
            _walk(connection, start, towards, depth, (distances, edges))
    keys = sorted(distances, key=lambda key: (distances[key], isinstance(key, str), key))
    known = {node.id: node for node in _nodes(session, keys, distances)}
    found = [
        LineageEdge(_id(version), run, kind, at) if kind == "used" else LineageEdge(run, _id(version), kind, at)
        for (kind, version, run), at in edges.items()
    ]
    found.sort(key=attrgetter("at", "source", "target"))
    return Lineage(_id(start), _scope(session), up, down, depth, tuple(known.values()), tuple(found))


def _scope(session: Session) -> str:
    """What clones that share an origin agree on; without one the repository stands alone."""
    origin = session.avc.origin
    return str(session.avc.remotes[origin]["id"]) if origin else session.avc.id


def _id(key: Key) -> str:
    return key if isinstance(key, str) else f"{key[0]}@{key[1]}"


# ---- where to begin --------------------------------------------------------------------------------


def _start(session: Session, text: str) -> Key:
    """A version, deleted ones too, where *text* names one; else the run of that id."""
    try:
        found = resolve.version_of(session, names.parse_ref(text), text, deleted=True)
    except (BadName, NotFound) as error:
        if session.index.rows.get("run", text) is not None:
            return text
        raise _unknown(session, text, error) from error
    return found.artifact["id"], found.version["digest"]


def _unknown(session: Session, text: str, error: AvcError) -> AvcError:
    """What was wrong with the version; of a word that could name a run just as well, near names of both."""
    if not isinstance(error, UnknownArtifact) or not set(text).isdisjoint(":@/"):
        return error
    connection = session.index.connection
    known = [row[0] for row in connection.execute("SELECT id FROM run LIMIT 100000")]
    known += [row[0] for row in connection.execute("SELECT name FROM artifact WHERE deleted = 0 AND joins IS NULL")]
    close = near(text, known)
    return NotFound(
        f"no version or run '{text[:80]}'",
        hint="did you mean " + " or ".join(f"'{name}'" for name in close) + "?"
        if close
        else "run 'avc ls' or 'avc runs' to list them",
    )


# ---- the walk --------------------------------------------------------------------------------------


def _walk(
    connection: sqlite3.Connection,
    start: Key,
    towards: tuple[str, str],
    depth: int | None,
    found: tuple[dict[Key, int], dict[tuple[str, Version, str], str]],
) -> None:
    """Add to *found* what is reached from *start*: nodes with their distance, and edges.

    *towards* are the tables that lead on from a version and from a run.
    """
    distances, edges = found
    seen: set[Key] = {start}
    layer: list[Key] = [start]
    distance = 0
    while layer and (depth is None or distance < depth):
        distance += 1
        forward: list[Key] = []
        from_runs = isinstance(layer[0], str)
        table = towards[from_runs]
        for artifact, digest, run, at in _rows(connection, table, layer):
            version = (artifact, digest)
            edges[table, version, run] = at
            beside: Key = version if from_runs else run
            if beside not in seen:
                seen.add(beside)
                forward.append(beside)
                distances[beside] = min(distance, distances.get(beside, distance))
        layer = forward


def _rows(connection: sqlite3.Connection, table: str, layer: Sequence[Any]) -> Iterator[tuple[str, str, str, str]]:
    """The rows of ``used`` or ``produced`` beside the nodes of one layer, all versions or all runs."""
    columns = "artifact, digest, run, at"
    if isinstance(layer[0], str):
        return _by_id(connection, f"SELECT {columns} FROM {table} WHERE run IN", layer)
    return _by_version(connection, columns, table, layer)


def _by_id(connection: sqlite3.Connection, statement: str, keys: Iterable[str]) -> Iterator[Any]:
    """Rows of *statement* (which ends with ``IN``) for many keys."""
    for chunk in _chunks(keys):
        yield from connection.execute(f"{statement} ({', '.join('?' * len(chunk))})", chunk)


def _by_version(connection: sqlite3.Connection, columns: str, table: str, keys: Iterable[Version]) -> Iterator[Any]:
    """Rows of *table* for many versions. The join keeps to the index, where ``(a, b) IN (VALUES …)`` reads it all."""
    for chunk in _chunks(keys):
        values = ", ".join(["(?, ?)"] * len(chunk))
        statement = (
            f"WITH wanted (a, d) AS (VALUES {values}) "
            f"SELECT {columns} FROM wanted CROSS JOIN {table} ON artifact = a AND digest = d"
        )
        yield from connection.execute(statement, [part for key in chunk for part in key])


def _chunks(keys: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(keys)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk


# ---- what the nodes are ----------------------------------------------------------------------------


def _nodes(session: Session, keys: Sequence[Key], distances: dict[Key, int]) -> Iterator[LineageNode]:
    connection = session.index.connection
    versions = [key for key in keys if not isinstance(key, str)]
    held: dict[Version, tuple[int, int, int, str]] = {}
    columns = "artifact, digest, live, number, provisional, created"
    for artifact, digest, *row in _by_version(connection, columns, "version", versions):
        version = (artifact, digest)
        held[version] = max(held.get(version, (0, -1, 0, "")), tuple(row))  # the live one, else the last
    statement = "SELECT id, project, name, type FROM artifact WHERE id IN"
    artifacts = {row[0]: row[1:] for row in _by_id(connection, statement, dict.fromkeys(a for a, _ in versions))}
    statement = "SELECT id, project, name, job_type, state, created, ended, details FROM run WHERE id IN"
    rows = {row[0]: row for row in _by_id(connection, statement, (key for key in keys if isinstance(key, str)))}
    crashed = _crashed(session, rows)
    for key in keys:
        if isinstance(key, str):
            yield _run(key, rows.get(key), distances[key], crashed=key in crashed)
        else:
            yield _version(key, artifacts.get(key[0]), held.get(key), distances[key])


def _version(
    key: Version, artifact: tuple[str, str, str] | None, row: tuple[int, int, int, str] | None, distance: int
) -> LineageNode:
    project, name, kind = artifact or ("", "", "")
    if row is None:
        return LineageNode(_id(key), "version", project, name, "", kind, "unknown", None, None, distance)
    live, number, provisional, created = row
    shown = names.shown_number(number, provisional=bool(provisional))
    return LineageNode(
        _id(key), "version", project, name, shown, kind, "live" if live else "deleted", created, None, distance
    )


def _run(key: str, row: Sequence[Any] | None, distance: int, *, crashed: bool) -> LineageNode:
    if row is None:
        return LineageNode(key, "run", "", "", "", "", "unknown", None, None, distance)
    _, project, name, kind, state, created, ended, _ = row
    state = runs.CRASHED if crashed else state or runs.FINISHED
    return LineageNode(key, "run", project or "", name or "", "", kind or "", state, created, ended, distance)


def _crashed(session: Session, rows: dict[str, Sequence[Any]]) -> set[str]:
    """Runs that are said to go on and whose process is gone. Only details that are here are read: they are ours."""
    going = {key: row[-1] for key, row in rows.items() if row[4] == runs.RUNNING and row[-1]}
    here = session.avc.store.has(list(going.values())) if going else set()
    found = session.index.rows
    return {
        key
        for key, details in going.items()
        if details in here
        and (row := found.get("run", key)) is not None
        and runs.describe(session, row).state == runs.CRASHED
    }


# ---- runs in a list --------------------------------------------------------------------------------


def recent(session: Session, project: str | None = None, limit: int | None = None) -> Iterator[RunInfo]:
    """The runs of a project, or of all, newest first, at most *limit*.

    What stands in their details is brought for hundreds at once. Where it cannot be had,
    the rest is told without it.
    """
    rows = runs.listing(session, project)[:limit]
    for chunk in _chunks(rows):
        lacking: set[str] = set()
        try:
            runs.bring_details(session, chunk)
        except (StorageError, MissingObject):
            wanted = [row["details"] for row in chunk if row["details"]]
            lacking = set(wanted) - session.avc.store.has(wanted)
            session.say("some details of runs are not here: run 'avc runs' again when the remote can be reached")
        for row in chunk:
            yield runs.describe(session, {**row, "details": None} if row["details"] in lacking else row)
