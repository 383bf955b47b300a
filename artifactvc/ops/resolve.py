"""From what people write to rows: artifacts and versions, with near names where there is none."""

from __future__ import annotations

import sqlite3
from typing import Any, NamedTuple

from artifactvc.core import names
from artifactvc.core.manifest import find
from artifactvc.core.model import Digest
from artifactvc.core.names import Ref
from artifactvc.core.records import Row, Rows, folded, holder, name_row
from artifactvc.errors import BadName, NotFound, UnknownAlias, UnknownArtifact, UnknownVersion
from artifactvc.ops.session import Session
from artifactvc.util.text import near

_LOOKED_INTO = 50


class Found(NamedTuple):
    """A version and the artifact it belongs to, as rows of the index."""

    artifact: Row
    version: Row

    @property
    def shown(self) -> str:
        """``v3``, or ``v4~`` while the number is provisional."""
        return names.shown_number(self.version["number"], provisional=bool(self.version["provisional"]))

    @property
    def full_name(self) -> str:
        """``project/name``."""
        return f"{self.artifact['project']}/{self.artifact['name']}"


class Where(NamedTuple):
    """The names that are looked up in: this repository's, or those of one remote's log."""

    rows: Rows
    connection: sqlite3.Connection


def here(session: Session) -> Where:
    """This repository's own names."""
    return Where(session.index.rows, session.avc.connect())


def project_of(session: Session, entity: str | None, project: str | None) -> str:
    """The project meant; three-part names must name this repository's entity (design, section 1)."""
    if entity is not None and entity != session.entity:
        if entity in session.avc.remotes:
            raise NotFound(
                f"'{entity}' is a remote: its artifacts are asked for through the Python API",
                hint=f"run 'avc fetch {entity}' and leave the first part out",
            )
        raise NotFound(
            f"no entity or remote '{entity}'",
            hint=f"this repository's entity is '{session.entity}': leave it out,"
            f" or run 'avc config set entity {entity}'",
        )
    return project or session.project


def find_artifact(session: Session, text: str) -> Row | None:
    """The artifact written ``[[entity/]project/]name``, or None."""
    entity, project, name = names.parse_artifact(text)
    return holder(session.index.rows, project_of(session, entity, project), name)


def artifact(session: Session, text: str) -> Row:
    """The artifact written ``[[entity/]project/]name``; UnknownArtifact with near names."""
    row = find_artifact(session, text)
    if row is None:
        entity, project, name = names.parse_artifact(text)
        raise _unknown(session, here(session), (project_of(session, entity, project), name), text)
    return row


def name_now(session: Session, project: str, name: str) -> str | None:
    """What the artifact that was called *name* is called now; None where one still is, or none ever was."""
    owner = name_row(session.index.rows, project, name)["artifact"]
    row = session.index.rows.get("artifact", owner) if owner else None
    if row is None or row["deleted"] or row["joins"] or folded(row["name"]) == folded(name):
        return None
    return str(row["name"])


def _unknown(session: Session, where: Where, key: tuple[str, str], text: str) -> UnknownArtifact:
    project, name = key
    rows = where.connection.execute("SELECT project, name FROM artifact WHERE deleted = 0 AND joins IS NULL")
    known = rows.fetchall()
    names_here = [n for p, n in known if p == project]
    if name in (n for _, n in known) and name not in names_here:
        return UnknownArtifact(text, [f"{p}/{n}" for p, n in known if n == name])
    error = UnknownArtifact(text, near(name, names_here) or _that_hold(session, where, project, name))
    now = name_now(session, project, name) if where.rows is session.index.rows else None
    if now is not None:
        error.hint = f"it is called '{now}' now"
    if not known and session.avc.remotes:
        error.hint = "nothing is known here yet: run 'avc pull' to read what the remote has"
    return error


def _that_hold(session: Session, where: Where, project: str, path: str) -> list[str]:
    """The artifacts of a project whose newest version has a file of this name: it may have been taken for one."""
    rows = where.connection.execute(
        "SELECT a.name, v.digest FROM artifact a JOIN alias l ON l.artifact = a.id AND l.alias = 'latest'"
        " JOIN version v ON v.artifact = a.id AND v.digest = l.digest WHERE a.project = ? AND v.live = 1 LIMIT ?",
        (project, _LOOKED_INTO),
    ).fetchall()
    store = session.avc.store
    return [name for name, digest in rows if store.has([digest]) and find(digest, path, session.node) is not None][:3]


def version(session: Session, text: str) -> Found:
    """The live version that *text* names; a bare name means ``latest``."""
    return version_of(session, names.parse_ref(text), text)


def version_of(session: Session, ref: Ref, text: str, *, deleted: bool = False, where: Where | None = None) -> Found:
    """The version that *ref* names; with *deleted*, one that was deleted is found too (for restore).

    With *where*, looked up there, whatever entity *ref* names.
    """
    project = project_of(session, ref.entity if where is None else None, ref.project)
    where = where or here(session)
    rows = where.rows
    row = holder(rows, project, ref.name)
    if row is None and deleted:
        ended = [a for a in rows.find("artifact", project=project) if folded(a["name"]) == folded(ref.name)]
        row = ended[-1] if ended else None
    if row is None:
        raise _unknown(session, where, (project, ref.name), text.partition(":")[0].partition("@")[0])
    if ref.number is not None:
        return Found(row, _by_number(session, where, row, ref, deleted=deleted))
    if ref.digest is not None:
        return Found(row, _by_digest(where, row, ref, deleted=deleted))
    return Found(row, _by_alias(where, row, ref))


def _by_number(session: Session, where: Where, row: Row, ref: Ref, *, deleted: bool) -> Row:
    rows = where.rows
    found = rows.get("version", row["id"], ref.number)
    moved = rows.get("moved", row["id"], ref.number)
    if moved is not None and (found is None or found["digest"] != moved["digest"]):
        session.say(f"what was {ref.name}:v{ref.number}~ here is now v{moved['to']}: origin gave the number to another")
    if found is None:
        newest = _newest(where, row["id"])
        hint = f"the newest version is 'v{newest['number']}'" if newest else "it has no version"
        if moved is not None:
            hint = f"it was moved to 'v{moved['to']}'"
        raise UnknownVersion(f"artifact '{ref.name}' has no version 'v{ref.number}'", hint=hint)
    if not found["live"] and not deleted:
        raise UnknownVersion(
            f"version '{ref.name}:v{ref.number}' was deleted on {str(found['deleted_at'])[:10]}",
            hint=f"run 'avc restore {ref.name}:v{ref.number}' while its bytes are there",
        )
    return found


def _by_digest(where: Where, row: Row, ref: Ref, *, deleted: bool) -> Row:
    query = "SELECT number, digest, live FROM version WHERE artifact = ? AND digest >= ? AND digest < ? ORDER BY number"
    upper = (ref.digest or "") + "g"
    found = where.connection.execute(query, (row["id"], ref.digest, upper)).fetchall()
    live = [r for r in found if r[2]] or (found if deleted else [])
    if not live:
        raise UnknownVersion(f"artifact '{ref.name}' has no version '@{ref.digest}'", hint=f"run 'avc log {ref.name}'")
    if len({r[1] for r in live}) > 1:
        raise BadName(f"'@{ref.digest}' begins the digest of {len(live)} versions", hint="give more digits")
    version_row = where.rows.get("version", row["id"], live[-1][0])
    assert version_row is not None
    return version_row


def _by_alias(where: Where, row: Row, ref: Ref) -> Row:
    rows, alias = where.rows, ref.alias or "latest"
    held = rows.get("alias", row["id"], alias)
    live = [v for v in rows.find("version", artifact=row["id"], digest=held["digest"]) if v["live"]] if held else []
    if live:
        return live[0]
    newest = _newest(where, row["id"])
    known = [a["alias"] for a in rows.find("alias", artifact=row["id"])]
    close = [f"{ref.name}:{a}" for a in near(alias, known)]
    newest_name = f"{ref.name}:v{newest['number']}" if newest else ""
    raise UnknownAlias(ref.name, alias, close, newest="" if close else newest_name)


def newest_of(session: Session, text: str) -> Row | None:
    """The live version with the highest number of the artifact ``project/name``, or None."""
    row = find_artifact(session, text)
    return newest_version(session, row["id"]) if row else None


def newest_version(session: Session, artifact_id: str) -> Row | None:
    """The live version with the highest number, or None."""
    return _newest(here(session), artifact_id)


def _newest(where: Where, artifact_id: str) -> Row | None:
    row = where.connection.execute(
        "SELECT max(number) FROM version WHERE artifact = ? AND live = 1", (artifact_id,)
    ).fetchone()
    return None if row[0] is None else where.rows.get("version", artifact_id, row[0])


def aliases_of(session: Session, artifact_id: str, digest: str) -> tuple[str, ...]:
    """The aliases of one version, ``latest`` first."""
    found = [a["alias"] for a in session.index.rows.find("alias", artifact=artifact_id, digest=digest)]
    return tuple(sorted(found, key=lambda a: (a != "latest", a)))


def live_by_digest(session: Session, artifact_id: str, digest: str) -> Row | None:
    """The live version of an artifact with exactly this content, or None."""
    found: list[dict[str, Any]] = session.index.rows.find("version", artifact=artifact_id, digest=digest)
    return next((v for v in found if v["live"]), None)


def base_of(session: Session, key: tuple[str, str]) -> tuple[Digest | None, int | None]:
    """Digest and number of the version that the workspace's files were taken from, else of the newest."""
    bound = session.avc.bindings.artifacts.get(key)
    row = find_artifact(session, "/".join(key))
    if bound is not None and bound.digest is not None:
        version = live_by_digest(session, row["id"], bound.digest) if row else None
        return bound.digest, version["number"] if version else None
    newest = newest_version(session, row["id"]) if row else None
    return (newest["digest"], newest["number"]) if newest else (None, None)
