"""The walk over the index: the same graph as a naive search, at a cost of statements that follows its layers."""

from __future__ import annotations

import secrets
import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from artifactvc.core.results import Lineage
from artifactvc.errors import NotFound, UnknownAlias, UnknownArtifact, UnknownRun, UnknownVersion
from artifactvc.ops import runs
from artifactvc.ops.session import Session, append
from artifactvc.sdk.repository import Repository
from tests.support import clone, new, origin, reopen
from tests.support import version as commit

Version = tuple[str, str]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """One repository for many small graphs, which never meet: each has artifacts and runs of its own."""
    with new(tmp_path_factory.mktemp("lineage") / "work") as repository:
        yield repository


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with new(tmp_path / "work") as made:
        yield made


@dataclass
class World:
    """A graph as records make it: versions of two artifacts and a stranger's, runs, and what was deleted."""

    session: Session
    names: list[str] = field(default_factory=lambda: [f"a{secrets.token_hex(6)}" for _ in "ab"])
    artifacts: list[str] = field(default_factory=lambda: [secrets.token_hex(16) for _ in "abc"])
    records: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for artifact, name in zip(self.artifacts, self.names, strict=False):
            fields = {"project": "demo", "name": name, "type": "dataset"}
            self.records.append({"kind": "artifact", "artifact": artifact, "set": fields, "was": {}})

    def version(self, place: int, *, number: int = 0) -> Version:
        """A version of the first or second artifact; of the third, which nobody knows, its name alone."""
        key = (self.artifacts[place], secrets.token_hex(32))
        if place < 2:
            self.records.append({"kind": "version", "artifact": key[0], "digest": key[1], "number": number})
        return key

    def run(self, *, known: bool = True) -> str:
        """A run; one that is not known has no record of its own."""
        made = "".join(secrets.choice(string.ascii_lowercase) for _ in range(8))
        if known:
            fields = {"project": "demo", "job_type": "train", "state": "finished"}
            self.records.append({"kind": "run", "run": made, "set": fields, "was": {}})
        return made

    def used(self, run: str, key: Version) -> None:
        self.records.append({"kind": "run", "run": run, "used": [{"artifact": key[0], "digest": key[1]}]})

    def produced(self, run: str, key: Version) -> None:
        """By the version's own record, as a run that nobody knows produces; that needs a known artifact."""
        self.records.append({"kind": "version", "artifact": key[0], "digest": key[1], "run": run})

    def delete(self, thing: Version | str) -> None:
        if isinstance(thing, str):
            self.records.append({"kind": "run", "run": thing, "set": {"state": "deleted"}, "was": {}})
        else:
            self.records.append({"kind": "delete", "artifact": thing[0], "digest": thing[1]})

    def write(self) -> None:
        for start in range(0, len(self.records), 1000):
            append(self.session, "test", lambda start=start: self.records[start : start + 1000])  # type: ignore[misc]
        self.records = []


def node_id(thing: Version | str) -> str:
    return thing if isinstance(thing, str) else "@".join(thing)


def naive(
    edges: set[tuple[str, str]], start: str, depth: int | None, *, up: bool, down: bool
) -> tuple[dict[str, int], Any]:
    """Nodes with their distance, and edges, by looking at every edge again at each step."""
    distances, taken = {start: 0}, set()
    for backward in [True] * up + [False] * down:
        reached, step = {start: 0}, 0
        while depth is None or step < depth:
            border = {node for node, distance in reached.items() if distance == step}
            step += 1
            for edge in edges:
                here, there = edge[::-1] if backward else edge
                if here in border:
                    taken.add(edge)
                    reached.setdefault(there, step)
            if not border:
                break
        for node, distance in reached.items():
            distances[node] = min(distance, distances.get(node, distance))
    return distances, taken


def shape(found: Lineage) -> tuple[dict[str, int], set[tuple[str, str]]]:
    nodes = {node.id: node.distance for node in found.nodes}
    assert len(nodes) == len(found.nodes), "a node stands twice"
    edges = {(edge.source, edge.target) for edge in found.edges}
    assert len(edges) == len(found.edges), "an edge stands twice"
    return nodes, edges


INDEX = st.integers(0, 5)


@given(
    used=st.lists(st.tuples(INDEX, INDEX), max_size=15),
    produced=st.lists(st.tuples(INDEX, INDEX), max_size=15),
    places=st.lists(st.integers(0, 2), min_size=6, max_size=6),
    strangers=st.sets(INDEX, max_size=2),
    dead=st.tuples(st.sets(INDEX, max_size=3), st.sets(INDEX, max_size=3)),
    start=st.tuples(st.booleans(), INDEX),
    ways=st.sampled_from([(True, True), (True, False), (False, True)]),
    depth=st.none() | st.integers(0, 5),
)
@example([(0, 0)], [(0, 0)], [0] * 6, set(), (set(), set()), (True, 0), (True, True), None)
@example([(0, 0), (1, 1)], [(0, 1), (1, 0)], [0, 1] * 3, set(), ({0}, {0}), (False, 0), (True, True), 3)
def test_the_walk_is_a_naive_search(shared, used, produced, places, strangers, dead, start, ways, depth):
    """Cycles, diamonds, deleted versions and runs, and those never seen: nodes, steps, edges and states are right."""
    world = World(shared.session)
    versions = [world.version(place, number=number) for number, place in enumerate(places)]
    ids = [world.run(known=number not in strangers) for number in range(6)]
    edges = set()
    for version, run in used:
        if run not in strangers:
            world.used(ids[run], versions[version])
            edges.add((node_id(versions[version]), ids[run]))
    for run, version in produced:
        if places[version] < 2:
            world.produced(ids[run], versions[version])
            edges.add((ids[run], node_id(versions[version])))
    gone: set[Version | str] = {versions[number] for number in dead[0] if places[number] < 2}
    gone |= {ids[number] for number in dead[1] - strangers}
    for thing in sorted(gone, key=str):
        world.delete(thing)
    world.write()
    of_run, number = start
    if of_run:
        if number in strangers:
            return  # nobody can name it
        text, first = ids[number], ids[number]
    elif places[number] == 2:
        return
    else:
        text, first = f"demo/{world.names[places[number]]}@{versions[number][1]}", node_id(versions[number])
    found = shared.lineage(text, up=ways[0], down=ways[1], depth=depth)
    assert found.start == first
    assert (found.up, found.down, found.depth) == (*ways, depth)
    assert shape(found) == naive(edges, first, depth, up=ways[0], down=ways[1])
    assert [node.distance for node in found.nodes] == sorted(node.distance for node in found.nodes)
    unknown = {node_id(versions[n]) for n in range(6) if places[n] == 2} | {ids[n] for n in strangers}
    deleted = {node_id(thing) for thing in gone}
    for node in found.nodes:
        plain = "finished" if node.kind == "run" else "live"
        assert node.state == ("unknown" if node.id in unknown else "deleted" if node.id in deleted else plain)
        assert bool(node.version) == (node.kind == "version" and node.id not in unknown)


# ---- where to begin --------------------------------------------------------------------------------


@pytest.fixture
def chain(repository: Repository) -> tuple[World, list[Version], list[str]]:
    """v0 -> run -> v1 -> run -> v2, all of one artifact."""
    world = World(repository.session)
    versions = [world.version(0, number=number) for number in range(3)]
    ids = [world.run(), world.run()]
    for number, run in enumerate(ids):
        world.used(run, versions[number])
        world.produced(run, versions[number + 1])
    world.write()
    return world, versions, ids


def test_a_version_by_each_of_its_names(repository, chain):
    """Number, alias, digest and bare name begin at the same node, with or without the project."""
    world, versions, _ = chain
    name = world.names[0]
    repository.alias(f"{name}:v2", ["best"])
    for text in (name, f"{name}:latest", f"demo/{name}:best", f"{name}:v2", f"team/demo/{name}@{versions[2][1][:9]}"):
        assert repository.lineage(text).start == node_id(versions[2])


def test_a_run_by_its_id(repository, chain):
    """A run is found where no version is named so, and its neighbours are one step away."""
    _, versions, ids = chain
    found = repository.lineage(ids[0], depth=1)
    assert {node.id: node.distance for node in found.nodes} == {
        ids[0]: 0, node_id(versions[0]): 1, node_id(versions[1]): 1,
    }  # fmt: skip


def test_an_artifact_named_like_a_run(repository, chain):
    """Where both are there, the version is meant."""
    world, _, ids = chain
    repository.rename(world.names[0], ids[1])
    assert repository.lineage(ids[1]).start.startswith(f"{world.artifacts[0]}@")


def test_deleted_versions_can_be_asked_about(repository, chain):
    """A deleted version and a deleted run are found by number and id, and stay in the middle of the graph."""
    world, versions, ids = chain
    name = world.names[0]
    repository.delete(f"{name}:v1")
    runs.delete(repository.session, ids[1])
    for text in (f"{name}:v1", f"{name}@{versions[1][1]}", ids[1]):
        found = repository.lineage(text)
        assert len(found.nodes) == 5
        states = {node.id: node.state for node in found.nodes}
        assert (states[node_id(versions[1])], states[ids[1]], states[node_id(versions[2])]) == (
            "deleted",
            "deleted",
            "live",
        )


def test_content_that_came_back_shows_its_live_number(repository, chain):
    """The same content committed again after a deletion has a new number, and one node that shows it."""
    world, versions, _ = chain
    repository.delete(f"{world.names[0]}:v1")
    world.records.append({"kind": "version", "artifact": versions[1][0], "digest": versions[1][1], "number": 3})
    world.write()
    shown = {node.id: (node.version, node.state) for node in repository.lineage(f"{world.names[0]}:v2").nodes}
    assert shown[node_id(versions[1])] == ("v3", "live")
    world.delete(versions[1])
    world.records.append({"kind": "restore", "artifact": versions[1][0], "digest": versions[1][1], "number": 1})
    world.write()
    shown = {node.id: (node.version, node.state) for node in repository.lineage(f"{world.names[0]}:v2").nodes}
    assert shown[node_id(versions[1])] == ("v1", "live")


def said(repository: Repository, text: str, kind: type[NotFound]) -> tuple[str, str]:
    with pytest.raises(NotFound) as caught:
        repository.lineage(text)
    assert type(caught.value) is kind
    return caught.value.message, caught.value.hint


def test_near_names_of_both_kinds(repository, chain):
    """A word that could be either is told with near artifacts and runs; what only a version can be, as elsewhere."""
    world, _, ids = chain
    repository.rename(world.names[0], "images")
    assert said(repository, "image", NotFound) == ("no version or run 'image'", "did you mean 'images'?")
    assert said(repository, ids[0][:-1] + "0", NotFound) == (
        f"no version or run '{ids[0][:-1]}0'", f"did you mean '{ids[0]}'?",
    )  # fmt: skip
    assert said(repository, "zzzzzzzzzzzz", NotFound) == (
        "no version or run 'zzzzzzzzzzzz'", "run 'avc ls' or 'avc runs' to list them",
    )  # fmt: skip
    assert said(repository, "images:v9", UnknownVersion)[0] == "artifact 'images' has no version 'v9'"
    assert said(repository, "images:bset", UnknownAlias)[0] == "artifact 'images' has no alias 'bset'"
    assert said(repository, "other/images", UnknownArtifact)[0] == "no artifact 'other/images'"
    repository.alias("images:v2", ["latest"], remove=True)
    assert said(repository, "images", UnknownAlias)[1] == "the newest version is 'images:v2'"


# ---- runs that go on -------------------------------------------------------------------------------


def test_a_run_that_crashed(repository, chain):
    """A run that is said to go on is looked at: here its process is gone."""
    world, versions, _ = chain
    runs.start(repository.session, runs.RunStart("goeson01", "demo"))
    runs.start(repository.session, runs.RunStart("crashed1", "demo"))
    runs.update(repository.session, "crashed1", {**runs.whereabouts(), "pid_started": "1"})
    for run in ("goeson01", "crashed1"):
        runs.use(repository.session, run, [versions[2]])
    states = {node.id: node.state for node in repository.lineage(f"{world.names[0]}:v2", up=False).nodes}
    assert (states["goeson01"], states["crashed1"]) == ("running", "crashed")


def test_a_run_elsewhere_asks_no_remote(repository, tmp_path):
    """In a clone whose remote is gone the lineage and the list are told all the same; scope is origin's in both."""
    shown = commit(repository, {"a": "a"})
    origin(repository, tmp_path / "remote")
    runs.start(repository.session, runs.RunStart("goeson01", "demo", details={"config": {"lr": 1}}))
    found = repository.lineage("data").start.split("@")
    runs.use(repository.session, "goeson01", [(found[0], found[1])])
    repository.push()
    with clone(tmp_path / "remote", tmp_path / "clone") as other:
        (tmp_path / "remote").rename(tmp_path / "gone")
        elsewhere = other.lineage(f"data:{shown}")
        assert {node.id: node.state for node in elsewhere.nodes}["goeson01"] == "running"
        assert elsewhere.scope == repository.lineage("data").scope != other.session.avc.id
        assert [(info.id, info.config, len(info.used)) for info in other.runs()] == [("goeson01", {}, 1)]
        assert "some details of runs are not here: run 'avc runs' again" in " ".join(other.notices)
        (tmp_path / "gone").rename(tmp_path / "remote")
    with reopen(tmp_path / "clone") as other:
        assert [(info.id, info.config) for info in other.runs()] == [("goeson01", {"lr": 1})]


# ---- cost ------------------------------------------------------------------------------------------


def test_statements_follow_the_layers(repository):
    """Two thousand runs around one version take a few dozen statements, not one for each."""
    world = World(repository.session)
    hub = world.version(0)
    for _ in range(1000):
        run = world.run()
        world.used(run, hub)
        leaf = (world.artifacts[2], secrets.token_hex(32))
        item = [{"artifact": leaf[0], "digest": leaf[1]}]
        world.records.append({"kind": "run", "run": run, "set": {}, "was": {}, "produced": item})
        after = world.run()
        world.used(after, leaf)
    world.write()
    statements: list[str] = []
    connection = repository.session.index.connection
    connection.set_trace_callback(statements.append)
    found = repository.lineage(world.names[0])
    connection.set_trace_callback(None)
    assert (len(found.nodes), len(found.edges)) == (3001, 3000)
    assert len(statements) < 60


def test_a_run_is_not_described_for_its_row(repository, chain, monkeypatch):
    """Details of runs that ended are not read: all that a line shows of them stands in the index."""
    world, _, _ = chain
    monkeypatch.setattr("artifactvc.storage.store.Store.read", lambda *_: pytest.fail("an object was read"))
    assert len(repository.lineage(world.names[0]).nodes) == 5


# ---- runs in a list --------------------------------------------------------------------------------


def test_runs_newest_first(repository, chain):
    """Newest first, at most so many, of one project or all, without deleted ones; those are shown when asked for."""
    _, versions, ids = chain
    runs.start(repository.session, runs.RunStart("other001", "other", details={"config": {"lr": 1}}))
    runs.use(repository.session, "other001", [versions[0]])
    assert [info.id for info in repository.runs(limit=1)] == ["other001"]
    assert [info.id for info in repository.runs("other")] == ["other001"]
    assert {info.id for info in repository.runs("demo")} == set(ids)
    assert next(repository.runs("other")).config == {"lr": 1}
    assert [link.digest for link in next(repository.runs("other")).used] == [versions[0][1]]
    runs.delete(repository.session, "other001")
    assert list(repository.runs("other")) == []
    assert repository.run_info("other001").state == "deleted"
    with pytest.raises(UnknownRun, match="no run 'other002'") as caught:
        repository.run_info("other002")
    assert caught.value.hint == "did you mean 'other001'?"
    with reopen(repository.root) as again:
        assert {info.id for info in again.runs()} == set(ids)
