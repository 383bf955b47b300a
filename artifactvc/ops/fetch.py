"""Read what a remote's log says, and let it take its place below the local work.

A fetch brings names and no bytes. When origin's news takes a number that unpushed work
here was shown under, that work moves up; the move is recorded, and ``artifacts.toml``
follows, since all that is stored refers to digests (protocol N2).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from artifactvc.core.entries import Record
from artifactvc.core.names import shown_number
from artifactvc.core.results import Fetched
from artifactvc.errors import MissingObject, UnknownRemote, UsageError
from artifactvc.ops.change import follow_names
from artifactvc.ops.session import Session, append, naming
from artifactvc.storage.bindings import Bound
from artifactvc.storage.remote import Remote
from artifactvc.util.text import near

Numbers = dict[tuple[str, str], int]


def remote_name(session: Session, name: str | None) -> str:
    """The remote meant: the one named, else origin, else the only one."""
    remotes = session.avc.remotes
    if name is None:
        if session.avc.origin is None:
            raise UsageError("no remote is configured", hint="run 'avc remote add origin URL'")
        return session.avc.origin
    if name not in remotes:
        raise UnknownRemote(name, near(name, remotes))
    return name


def fetch(session: Session, name: str | None = None) -> Fetched:
    """Read the new entries of a remote's log and bring the index up to date."""
    name = remote_name(session, name)
    remote = session.remote(name)
    before_numbers = provisional_numbers(session)
    with naming(remote):
        count = remote.fetch()  # the names here do not follow it yet
    before_versions = _versions(session) if count else {}
    head = remote.head()[0]
    if count and name == session.avc.origin:
        session.index.catch_up()
        record_renumbering(session, before_numbers)
    added = sorted(v for key, v in _versions(session).items() if key not in before_versions) if count else []
    renumbered = _describe(session, before_numbers)
    if not session.only_looks:
        if name == session.avc.origin:
            follow_names(session)
        _rescue(session, remote)
    warnings = _warnings(session)
    return Fetched(name, count, head, tuple(added), renumbered, warnings)


def _versions(session: Session) -> dict[tuple[str, str], str]:
    rows = session.index.connection.execute(
        "SELECT a.project, a.name, v.number, v.digest, v.artifact FROM version v JOIN artifact a ON a.id = v.artifact"
        " WHERE v.live = 1 AND v.provisional = 0"
    )
    return {(row[4], row[3]): f"{row[0]}/{row[1]}:v{row[2]}" for row in rows}


def provisional_numbers(session: Session) -> Numbers:
    """(artifact id, digest) -> number of each version that origin has not numbered yet."""
    rows = session.index.connection.execute("SELECT artifact, digest, number FROM version WHERE provisional = 1")
    return {(row[0], row[1]): row[2] for row in rows}


def _current_number(session: Session, key: tuple[str, str]) -> int | None:
    row = session.index.connection.execute(
        "SELECT number FROM version WHERE artifact = ? AND digest = ? AND live = 1", key
    ).fetchone()
    return None if row is None else int(row[0])


def record_renumbering(session: Session, before: Numbers) -> None:
    """Write down which numbers moved, and let ``artifacts.toml`` follow."""
    moved = {
        key: (old, new)
        for key, old in before.items()
        if (new := _current_number(session, key)) is not None and new != old
    }
    if moved:

        def plan() -> list[Record]:
            return [
                {"kind": "renumbered", "artifact": artifact, "digest": digest, "from": old, "to": new}
                for (artifact, digest), (old, new) in moved.items()
            ]

        append(session, "renumber", plan)
    follow_bindings(session)


def follow_bindings(session: Session) -> None:
    """Write the numbers that the digests in ``artifacts.toml`` have now."""

    def change(artifacts: dict[tuple[str, str], Bound]) -> None:
        for key, bound in list(artifacts.items()):
            number = _number_of(session, bound)
            if number is not None and bound.version != f"v{number}":
                artifacts[key] = replace(bound, version=f"v{number}")

    if any(
        (number := _number_of(session, bound)) is not None and bound.version != f"v{number}"
        for bound in session.avc.bindings.artifacts.values()
    ):
        session.avc.bindings.update(change)


def _number_of(session: Session, bound: Bound) -> int | None:
    from artifactvc.core.records import holder

    artifact = holder(session.index.rows, bound.project, bound.name)
    if artifact is None or bound.digest is None:
        return None
    return _current_number(session, (artifact["id"], bound.digest))


def _describe(session: Session, before: Numbers) -> tuple[str, ...]:
    out = []
    for key, old in before.items():
        new = _current_number(session, key)
        artifact = session.index.rows.get("artifact", key[0])
        if new is not None and new != old and artifact is not None:
            row = session.index.rows.get("version", key[0], new)
            shown = shown_number(new, provisional=bool(row and row["provisional"]))
            out.append(f"{artifact['project']}/{artifact['name']}: v{old}~ is now {shown}")
    return tuple(sorted(out))


def _warnings(session: Session) -> tuple[str, ...]:
    """Unpushed artifacts whose name origin has given to another one."""
    out = []
    for entry, position in session.index.pending():
        record = entry.records[position]
        if record["kind"] == "artifact" and "name" in record.get("set", {}) and not record.get("was"):
            row: dict[str, Any] | None = session.index.rows.get("artifact", record["artifact"])
            wish = record["set"]["name"]
            if row is not None and row["name"] != wish and row["name"].startswith(f"{wish[:120]}-"):
                out.append(
                    f"origin has another artifact '{wish}': yours is shown as '{row['name']}'; "
                    f"'avc push --join' makes its versions part of origin's, 'avc rename' keeps them apart"
                )
    return tuple(out)


def _rescue(session: Session, remote: Remote) -> None:
    """Bring bytes that were condemned and that unpushed work here needs and lacks, while they exist (protocol P6)."""
    from artifactvc.ops.complete import missing_here
    from artifactvc.ops.roots import unpushed_manifests
    from artifactvc.ops.transfer import fetch_objects

    condemned = remote.connection.execute("SELECT count(*) FROM condemned").fetchone()[0]
    if not condemned or str(condemned) == session.index.meta(f"rescued {remote.id}"):
        return
    for root in unpushed_manifests(session):
        try:
            lacking = list(missing_here(session, root))
        except MissingObject:  # its manifest is nowhere any more: a push says so, and all else can go on
            continue
        if lacking and not remote.locate(lacking).keys() >= set(lacking):
            fetch_objects(session, lacking)
    session.index.set_meta(f"rescued {remote.id}", str(condemned))
