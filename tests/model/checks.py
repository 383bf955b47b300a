"""What must hold at the end of a schedule, whatever happened in it.

loss      a version that landed and was not deleted after is not live, or an object of it has no stored copy
local     a version that was never pushed, whose bytes are nowhere any more
twonames  one number named two contents in the life of the remote
diverge   two clones that have read the whole log resolve something differently
wrongref  an alias landed on content that its user did not mean
refused   a push of new versions was refused because ``latest`` had moved
livelock  a push sent one object more than four times
error     something that no user should see
"""

from __future__ import annotations

from typing import Any

from artifactvc.core.compare import new_objects
from artifactvc.core.entries import LogEntry, decode_entry
from artifactvc.core.manifest import walk
from artifactvc.core.model import Digest
from artifactvc.core.records import apply_entry
from artifactvc.errors import AvcError, Conflict, MissingObject
from artifactvc.ops import distributed, resolve
from artifactvc.ops.complete import missing_here
from artifactvc.ops.distributed import Part
from artifactvc.ops.prepare import Prepared
from artifactvc.ops.transfer import require_objects
from artifactvc.sdk.repository import Repository
from artifactvc.storage.log import entry_name
from artifactvc.storage.remote_index import decode_places
from tests.core.test_records import DictRows
from tests.model.players import BUILT
from tests.model.world import CLONES, READER, World, content

BAD = ("loss", "local", "twonames", "diverge", "wrongref", "refused", "livelock", "error")


def entries(world: World) -> list[LogEntry]:
    """The remote's log, read past the code under test as far as can be."""
    found = []
    for n, path in enumerate(sorted((world.place / "remote" / "log").glob("*.json"))):
        found.append(decode_entry(path.read_bytes(), n))
    return found


def check(world: World) -> None:
    """Note every bad outcome in ``world.bad``."""
    log = entries(world)
    rows = _folded(world, log)
    _landed(world, log, rows)
    with world.open(READER) as reader:
        reader.fetch()
        _finished(world, reader)
        rows = _folded(world, entries(world))
        _rebuilt(world, reader, rows)
    _meant(world, log)
    _clones(world, rows)
    _drained(world)


def _folded(world: World, log: list[LogEntry]) -> DictRows:
    """What the log says; on the way, a number names one content for ever."""
    rows, named = DictRows(), dict[tuple[str, int], Digest]()
    for entry in log:
        apply_entry(rows, entry, "origin", final=True)
        for row in rows.find("version"):
            if named.setdefault((row["artifact"], row["number"]), row["digest"]) != row["digest"]:
                world.fault("twonames", f"v{row['number']} was other content before entry {entry.n}")
    return rows


def _landed(world: World, log: list[LogEntry], rows: DictRows) -> None:
    """Every version that landed and was not deleted after it is live."""
    live: dict[tuple[str, Digest], bool] = {}
    for entry in log:
        for record in entry.records:
            key = record.get("artifact", ""), record.get("digest", "")
            if (record["kind"] == "version" and "set" not in record) or (record["kind"] == "restore" and key in live):
                live[key] = True
            elif record["kind"] == "delete":
                live[key] = False
    there = {(row["artifact"], row["digest"]) for row in rows.find("version") if row["live"]}
    for key, alive in live.items():
        if alive and key not in there:
            world.fault("loss", f"{key} landed, was not deleted, and is no version")


def _finished(world: World, reader: Repository) -> None:
    """When a version that many build is finished in the end, every part whose writer was told so is in one."""
    session = reader.session
    try:
        nothing = Part("run-reader", Prepared(BUILT.name, BUILT.type), None, {})
        distributed.finish(session, BUILT, nothing, (), None)
    except Conflict:
        world.met["nothing left to finish"] += 1
    except AvcError as error:
        world.fault("loss", f"parts that are in cannot be finished: {error.message}")
    artifact = resolve.find_artifact(session, BUILT.name)
    found = session.index.rows.find("version", artifact=artifact["id"]) if artifact else []
    paths = {entry.path for row in found for entry in walk(row["digest"], session.node)}
    if world.parts - paths:
        world.fault("loss", f"parts were in, and are in no version: {sorted(world.parts - paths)}")


def _meant(world: World, log: list[LogEntry]) -> None:
    """An alias stands at what its user meant, whatever numbers moved in between."""
    wishes: dict[str, Digest | None] = {}
    for name in CLONES:
        for n, path in enumerate(sorted((world.place / name / ".artifacts" / "log").glob("*.json"))):
            entry = decode_entry(path.read_bytes(), n)
            for position, record in enumerate(entry.records):
                if record["kind"] == "alias":
                    wishes[entry.record_id(position)] = record["set"]["digest"]
    for entry in log:
        moves = [(n, r) for n, r in enumerate(entry.records) if r["kind"] == "alias" and r["set"] != r["was"]]
        last = {record["alias"]: n for n, record in moves}
        for position in last.values():  # of several moves the last one counts
            record, record_id = entry.records[position], entry.record_id(position)
            if wishes.get(record_id) not in (None, record["set"]["digest"]):
                world.fault("wrongref", f"alias '{record['alias']}' in entry {entry.n}")


def _rebuilt(world: World, reader: Repository, rows: DictRows) -> None:
    """A clone that has only the remote rebuilds every live version, byte by byte, and from copies that stay."""
    session = reader.session
    remote, packs = session.remote("origin"), world.place / "remote" / "packs"
    for row in rows.find("version"):
        if not row["live"]:
            continue
        what = f"v{row['number']} ({row['digest'][:8]})"
        try:
            require_objects(session, list(missing_here(session, row["digest"])), what)
            held = {
                entry.path: session.avc.store.read(str(entry.digest)) for entry in walk(row["digest"], session.node)
            }
            texts = [row[name] for name in ("description", "metadata") if row[name] is not None]
            for digest in texts:
                session.node(digest)
            objects = {digest for digest, _ in new_objects(row["digest"], (), session.node)} | set(texts)
            stored = remote.places.locate(objects)  # not what a rule that is taken out makes of it
            gone = [d for d in objects if d not in stored or not (packs / stored[d].file).is_file()]
            if gone:
                world.fault("loss", f"{what}: {len(gone)} objects have no copy that is not condemned")
        except AvcError as error:
            world.fault("loss", f"{what}: {error.message}")
            continue
        wanted = world.contents.get(row["digest"])
        if wanted is not None and held != {f"o{number}": content(number) for number in wanted}:
            world.fault("loss", f"{what} is other content: {sorted(held)}")


def _state(rows: Any) -> dict[str, list[dict[str, Any]]]:
    """What everybody must agree on."""
    found: dict[str, list[dict[str, Any]]] = {}
    for table in ("artifact", "version", "alias", "tag", "setting", "produced"):
        found[table] = [
            {name: value for name, value in row.items() if name not in ("op", "provisional", "at")}
            for row in rows.find(table)
        ]
    return found


def _clones(world: World, rows: DictRows) -> None:
    """Clones that have fetched show origin's versions under origin's numbers, and have what they never pushed."""
    for name in CLONES:
        with world.open(name) as repository:
            repository.fetch()
            session = repository.session
            mine = {(row["artifact"], row["number"]): row for row in session.index.rows.find("version")}
            for row in rows.find("version"):
                here = mine.get((row["artifact"], row["number"]))
                if row["live"] and (here is None or here["digest"] != row["digest"]):
                    world.fault("diverge", f"v{row['number']} of origin is something else for {name}")
            for row in session.index.rows.find("version", provisional=1):
                if row["live"]:
                    _still_there(world, repository, row)


def _still_there(world: World, repository: Repository, row: dict[str, Any]) -> None:
    """What was never pushed has its bytes somewhere, unless it never had them here and nobody could have saved them."""
    session, name = repository.session, repository.session.author
    try:
        lacking = list(missing_here(session, row["digest"]))
        require_objects(session, lacking, "the check")
    except MissingObject as error:
        made = world.commits.get((name, row["digest"]))
        if made is None or error.digest in made.stored or _could_be_saved(world, name, made.step, error.digest):
            world.fault("local", f"{name}, unpushed {row['digest'][:8]}: {error.message}")
        else:
            world.met["unpushed bytes gone before anybody looked"] += 1
    except AvcError as error:
        world.fault("loss", f"{name}, unpushed {row['digest'][:8]}: {error.message}")


def _could_be_saved(world: World, name: str, since: int, digest: Digest) -> bool:
    """Whether *name* has read the log when every copy was condemned, and one of them still there (protocol P6)."""
    copies = _copies(world, digest)
    for who, first, last in world.fetches:
        if who != name or first < since:
            continue
        there = {file: condemned for file, (landed, condemned) in copies.items() if landed <= first}
        stand = [file for file in there if last < world.removed.get(f"packs/{file}", world.scheduler.steps + 1)]
        if stand and all(condemned <= first for condemned in there.values()):
            return True
    return False


def _copies(world: World, digest: Digest) -> dict[str, tuple[int, float]]:
    """The stored files that hold an object, with the steps in which they landed and were condemned."""
    found: dict[str, tuple[int, float]] = {}
    for entry in entries(world):
        step = world.landed.get(f"log/{entry_name(entry.n)}", 0)  # 0: before the schedule began
        for file in entry.index:
            data = world.indexes.get(file["id"]) or (world.place / "remote" / "index" / file["id"]).read_bytes()
            for place in decode_places(data, "an index"):
                if place.digest == digest:
                    found.setdefault(place.file, (step, float("inf")))
        for record in entry.records:
            for name in record["files"] if record["kind"] == "condemn" else ():
                if name in found:
                    found[name] = (found[name][0], step)
    return found


def _drained(world: World) -> None:
    """When all have pushed what they had, and fetched, all agree, and with an index made anew."""
    states: dict[str, Any] = {}
    for name in CLONES:
        with world.open(name) as repository:
            try:
                repository.push(force=True)
            except Conflict as error:
                world.fault("error", f"{name} cannot push in the end: {error.message}")
            except AvcError as error:
                world.met[f"last push: {type(error).__name__}"] += 1
    for name in CLONES:
        with world.open(name) as repository:
            repository.fetch()
            index = repository.session.index
            if list(index.pending()):
                continue
            states[name] = _state(index.rows)
            index.rebuild()
            if _state(index.rows) != states[name]:
                world.fault("diverge", f"the index of {name} made anew is another one")
    first = next(iter(states.values()), None)
    for name, state in states.items():
        for table, rows in state.items():
            if first is not None and rows != first[table]:
                world.fault("diverge", f"{name} has other rows of '{table}': {rows} and {first[table]}")
