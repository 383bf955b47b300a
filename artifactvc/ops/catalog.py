"""What a project has, asked over the index: projects, types, artifacts, versions, runs and their versions.

Everything is asked of a *place*: the names of this repository, or those in the log of one
remote. Each question is a statement or two, whatever the number of answers; bytes are
read only of what a filter or order looks into, and then fetched together.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from artifactvc.core.filters import Filter, Order
from artifactvc.core.model import Digest
from artifactvc.core.records import Row, Rows, holder, resolve
from artifactvc.errors import (
    Conflict,
    NotFound,
    StorageError,
    TypeConflict,
    UnknownArtifact,
    UnknownRemote,
    UnknownRun,
    UnknownVersion,
)
from artifactvc.ops import change, runs, versions
from artifactvc.ops.fetch import fetch
from artifactvc.ops.resolve import Found, here
from artifactvc.ops.session import Session, read_salted
from artifactvc.util.text import near

Key = tuple[str, Digest]  # artifact id and digest: a version

#: Parts of a run's document that stand in its details, an object, and not in its row; as they are where it has none.
_EMPTY: Final[dict[str, Any]] = {"config": {}, "summary": {}, "tags": [], "notes": "", "host": ""}


@dataclass(frozen=True)
class Place:
    """Whose names are asked for: *remote* is None for this repository's."""

    rows: Rows
    connection: sqlite3.Connection
    remote: str | None = None


def place(session: Session, remote: str | None) -> Place:
    """The names in a remote's log as far as it was read, or those here."""
    if remote is None:
        return Place(*here(session))
    if remote not in session.avc.remotes:
        raise UnknownRemote(remote, near(remote, session.avc.remotes))
    opened = session.remote(remote)
    return Place(opened.rows, opened.connection, remote)


def asked(session: Session, entity: str | None) -> Place:
    """The names that *entity* means. Of a remote its log is read now; what origin has is known here then."""
    if entity is None or entity == session.entity:
        return place(session, None)
    if entity not in session.avc.remotes:
        raise NotFound(f"no entity or remote '{entity}'", hint=f"this repository's entity is '{session.entity}'")
    fetch(session, entity)
    return place(session, None if entity == session.avc.origin else entity)


# ---- projects and types ----------------------------------------------------------------------------


def projects(session: Session, where: Place) -> list[str]:
    """The projects in which there is, or was, an artifact or a run; here the repository's own, too."""
    found = where.connection.execute(
        "SELECT project FROM artifact WHERE joins IS NULL UNION SELECT project FROM run WHERE project IS NOT NULL"
    )
    return sorted({row[0] for row in found} | ({session.project} if where.remote is None else set()))


def require_project(session: Session, where: Place, project: str) -> str:
    """*project*, if it is one; NotFound with near names."""
    known = projects(session, where)
    if project in known:
        return project
    close = near(project, known)
    raise NotFound(
        f"project '{project[:140]}' not found",
        hint=f"did you mean '{close[0]}'?" if close else "a project begins with its first run or artifact",
    )


def types(where: Place, project: str) -> list[str]:
    """The types of a project's artifacts, of those that were deleted, too: a type that was used stays one."""
    rows = where.connection.execute(
        "SELECT DISTINCT type FROM artifact WHERE project = ? AND joins IS NULL ORDER BY 1", (project,)
    )
    return [row[0] for row in rows]


# ---- artifacts ---------------------------------------------------------------------------------------


def artifact(where: Place, project: str, name: str, kind: str | None) -> Row:
    """The artifact of this name; UnknownArtifact with near names, TypeConflict if it is not of type *kind*."""
    row = holder(where.rows, project, name)
    if row is None:
        known = where.connection.execute(
            "SELECT project, name FROM artifact WHERE deleted = 0 AND joins IS NULL"
        ).fetchall()
        close = [f"{p}/{n}" for p, n in known if n == name] or near(name, (n for p, n in known if p == project))
        raise UnknownArtifact(f"{project}/{name}", close)
    if kind is not None and row["type"] != kind:
        raise TypeConflict(
            f"artifact '{project}/{row['name']}' has type '{row['type']}', not '{kind}'", hint="ask for that type"
        )
    return row


def artifacts(where: Place, project: str, kind: str | None, chosen: Filter, order: Order) -> list[Row]:
    """The living artifacts of one type, or of all, that *chosen* takes, in order."""
    found = where.rows.find("artifact", project=project, deleted=0, joins=None, **({"type": kind} if kind else {}))
    documents = [(row, {**row, "tags": artifact_tags(row)}) for row in sorted(found, key=lambda row: row["name"])]
    return order.arrange((row, order.field.of(document)) for row, document in documents if chosen.matches(document))


def artifact_by_id(where: Place, artifact_id: str) -> Row:
    """The artifact with this id, deleted or not, or the one that it was joined to; UnknownVersion if there is none."""
    row = resolve(where.rows, artifact_id)
    if row is None:
        raise UnknownVersion(f"no artifact '{artifact_id[:12]}' is known any more", hint="run 'avc fetch'")
    return row


def artifact_tags(row: Row) -> list[str]:
    """The tags of an artifact itself, apart from those of its versions."""
    return list(json.loads(row["tags"] or "[]"))


def artifact_aliases(where: Place, artifact_id: str) -> list[str]:
    """The aliases of all versions of an artifact, ``latest`` first."""
    found = [row["alias"] for row in where.rows.find("alias", artifact=artifact_id)]
    return sorted(found, key=lambda alias: (alias != "latest", alias))


def artifact_updated(where: Place, row: Row) -> str:
    """When a version was last added to an artifact, or an alias moved in it; else when it was made."""
    made = "SELECT max(created) FROM version WHERE artifact = ?1"
    moved = "SELECT max(moved_at) FROM alias WHERE artifact = ?1"
    found = where.connection.execute(f"{made} UNION ALL {moved}", (row["id"],)).fetchall()
    return str(max([row["created"], *(moment for (moment,) in found if moment)]))


def is_portfolio(where: Place, artifact_id: str) -> bool:
    """Whether an artifact has links to versions of others and nothing else."""
    links, others = where.connection.execute(
        "SELECT count(link), count(*) - count(link) FROM version WHERE artifact = ?", (artifact_id,)
    ).fetchone()
    return bool(links) and not others


# ---- versions ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    """Which live versions of an artifact, and from where on."""

    tags: Sequence[str] = ()  # all of them
    ascending: bool = False
    after: int | None = None  # a number


def live_versions(where: Place, artifact_id: str, wanted: Wanted) -> list[tuple[int, Digest]]:
    """Number and digest of the live versions of an artifact, newest first unless *ascending*."""
    statement = "SELECT number, digest FROM version AS v WHERE artifact = ? AND live = 1"
    values: list[Any] = [artifact_id]
    for tag in wanted.tags:
        statement += (
            " AND EXISTS (SELECT 1 FROM tag AS t WHERE t.artifact = v.artifact AND t.digest = v.digest AND t.tag = ?)"
        )
        values.append(tag)
    if wanted.after is not None:
        statement += f" AND number {'>' if wanted.ascending else '<'} ?"
        values.append(wanted.after)
    statement += f" ORDER BY number {'ASC' if wanted.ascending else 'DESC'}"
    return [(row[0], row[1]) for row in where.connection.execute(statement, values)]


def load(session: Session, where: Place, keys: Sequence[Key]) -> list[Found | None]:
    """The versions that *keys* name, with their descriptions and metadata here; None where there is none any more."""
    found = [_known(session, where, key) for key in keys]
    bring_texts(session, (version.version for version in found if version is not None))
    return found


def _known(session: Session, where: Place, key: Key) -> Found | None:
    try:
        return versions.by_key(session, *key, where.remote)
    except UnknownVersion:
        return None


def bring_texts(session: Session, rows: Iterable[Row]) -> None:
    """Fetch descriptions and metadata of many versions at once, where they are not here and a remote has them.

    What cannot be had now is left to who reads it.
    """
    wanted = [row[name] for row in rows for name in ("description", "metadata") if row[name]]
    lacking = set(wanted) - session.avc.store.has(wanted)
    if lacking:
        with contextlib.suppress(StorageError):
            session.fetch_objects(session, lacking)


# ---- runs --------------------------------------------------------------------------------------------------


def run(session: Session, where: Place, run_id: str, project: str | None) -> Row:
    """A run that was not deleted; UnknownRun with near ids, or with the project that it is in."""
    row = where.rows.get("run", run_id)
    if row is None:
        if where.remote is None:
            runs.info(session, run_id)  # says which ids are near
        raise UnknownRun(f"no run '{run_id[:80]}' on remote '{where.remote}'")
    if row["state"] == runs.DELETED:
        raise UnknownRun(f"run '{run_id}' was deleted")
    if project is not None and row["project"] != project:
        raise UnknownRun(f"no run '{run_id}' in project '{project[:140]}'", hint=f"it is in '{row['project']}'")
    return row


def select_runs(session: Session, where: Place, project: str, chosen: Filter, order: Order) -> list[Row]:
    """The runs of a project that *chosen* takes, in order; the older first where that leaves it open.

    Details are fetched, together, only where filter or order look into them.
    """
    rows = [row for row in where.rows.find("run", project=project) if row["state"] != runs.DELETED]
    rows.sort(key=lambda row: (row["created"], row["id"]))
    asked_for = chosen.names | {order.field.name}
    if asked_for & _EMPTY.keys():
        runs.bring_details(session, rows)
    elif "state" in asked_for:
        runs.bring_details(session, (row for row in rows if row["state"] == runs.RUNNING))
    return order.arrange(_chosen(session, rows, chosen, order))


def _chosen(session: Session, rows: Iterable[Row], chosen: Filter, order: Order) -> Iterator[tuple[Row, Any]]:
    asked_for = chosen.names | {order.field.name}
    for row in rows:
        document = {name: row[name] or "" for name in ("id", "group", "job_type", "author", "created")}
        document["display_name"] = row["name"] or row["id"]
        if "state" in asked_for:
            document["state"] = run_state(session, row)
        if asked_for & _EMPTY.keys():
            details = run_details(session, row)
            document |= {name: details[name] for name in _EMPTY}
        if chosen.matches(document):
            yield row, order.field.of(document)


def run_state(session: Session, row: Row) -> str:
    """running, finished, failed, crashed or deleted."""
    state = row["state"] or runs.FINISHED
    return runs.describe(session, row).state if state == runs.RUNNING else str(state)


def run_details(session: Session, row: Row) -> dict[str, Any]:
    """What only an object says of a run. Parts that it does not have, or has of another kind, are empty."""
    found = read_salted(session, row["details"], {})
    found = found if isinstance(found, dict) else {}
    return {**found, **{n: found[n] if isinstance(found.get(n), type(e)) else e for n, e in _EMPTY.items()}}


def run_metrics(session: Session, where: Place, row: Row) -> list[dict[str, Any]]:
    """The metrics of a run, a dictionary for each step."""
    if where.remote is None:
        return _by_step(runs.metrics(session, row["id"]))
    if not row["metrics"]:
        return []
    found = []
    for line in session.node(row["metrics"]).splitlines():
        with contextlib.suppress(ValueError):  # a line that was cut short
            found.append(json.loads(line))
    return _by_step(step for step in found if isinstance(step, dict))


def _by_step(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was logged for one step in several calls is one row; the last value of a key counts."""
    found: list[dict[str, Any]] = []
    for line in lines:
        if found and found[-1].get("_step") == line.get("_step"):
            found[-1].update(line)
        else:
            found.append(dict(line))
    return found


def versions_of_run(where: Place, run_id: str, table: str) -> list[Key]:
    """What a run ``used`` or ``produced``, in the order in which that was recorded.

    What it produced and was deleted since is left out; what it used is told for ever.
    """
    statement = f"SELECT artifact, digest FROM {table} AS l WHERE run = ?"
    if table == "produced":
        statement += (
            " AND EXISTS (SELECT 1 FROM version WHERE artifact = l.artifact AND digest = l.digest AND live = 1)"
        )
    rows = where.connection.execute(f"{statement} ORDER BY at, rowid", (run_id,))
    return [(row[0], row[1]) for row in rows]


def load_anywhere(session: Session, where: Place, keys: Sequence[Key]) -> list[tuple[Found, str | None] | None]:
    """Versions, each with the remote in whose log it stands: where it was asked for, else here, else on any remote.

    None where it is not known anywhere. No remote is asked for names; descriptions and metadata are fetched together.
    """
    places = [place(session, remote) for remote in dict.fromkeys((where.remote, None, *session.avc.remotes))]
    found = [_anywhere(session, places, key) for key in keys]
    bring_texts(session, (pair[0].version for pair in found if pair is not None))
    return found


def _anywhere(session: Session, places: Iterable[Place], key: Key) -> tuple[Found, str | None] | None:
    for where in places:
        found = _known(session, where, key)
        if found is not None:
            return found, where.remote
    return None


def delete_run(session: Session, run_id: str, *, with_versions: bool) -> None:
    """Mark a run deleted; *with_versions*, first all that it produced, with their aliases."""
    if with_versions:
        for artifact_id, digest in versions_of_run(place(session, None), run_id, "produced"):
            found = versions.by_key(session, artifact_id, digest)
            if found.version["live"]:
                change.delete(session, f"{found.full_name}:{found.shown}", delete_aliases=True)
    runs.delete(session, run_id)


def rename_and_edit(session: Session, before: Row, name: str, description: Any, tags: Any) -> None:
    """Give an artifact another name, description and tags; a name that is taken changes nothing.

    *before* is the row as it was when the name was chosen; *description* and *tags* are as
    for ``versions.edit_artifact``.
    """
    row = artifact_by_id(place(session, None), before["id"])
    if name != before["name"] and name != row["name"]:
        if row["name"] != before["name"]:
            raise Conflict(f"'{before['name']}' was renamed to '{row['name']}' meanwhile", hint="look it up again")
        change.rename(session, f"{row['project']}/{row['name']}", name)
    versions.edit_artifact(session, row["id"], description, tags)
