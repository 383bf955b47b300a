"""The formats of a lineage graph: what people see, and what other programs read back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openlineage.client import event_v2, facet_v2

from artifactvc.core import lineage
from artifactvc.core.results import Lineage, LineageEdge, LineageNode
from artifactvc.util.text import escape

SCOPE = "0123456789abcdef0123456789abcdef"


def at(second: int) -> str:
    return f"2026-01-02T03:04:{second:02}.000000Z"


def version(name: str, state: str = "live", *, kind: str = "dataset", project: str = "demo") -> LineageNode:
    """A version ``demo/<name>:v1``, its ids made from the name."""
    digest = name.encode().hex().ljust(64, "0")[:64]
    shown = "" if state == "unknown" else "v1"
    return LineageNode(f"{'a' * 32}@{digest}", "version", project, name, shown, kind, state, at(0), None, 0)


def run(name: str, state: str = "finished", *, called: str = "", created: int | None = 1) -> LineageNode:
    """A run of job type ``train``."""
    began = None if created is None else at(created)
    ended = None if state in ("running", "crashed", "unknown") or created is None else at(created + 1)
    return LineageNode(name, "run", "demo", called, "", "train", state, began, ended, 0)


def graph(start: LineageNode, pairs: Iterable[tuple[LineageNode, LineageNode]], **given: bool) -> Lineage:
    """The graph with these edges, in their order."""
    pairs = list(pairs)
    nodes = {node.id: node for node in (start, *(node for pair in pairs for node in pair))}
    edges = [
        LineageEdge(a.id, b.id, "used" if a.kind == "version" else "produced", at(n % 60))
        for n, (a, b) in enumerate(pairs)
    ]
    ways = {"up": True, "down": True, **given}
    return Lineage(start.id, SCOPE, ways["up"], ways["down"], None, tuple(nodes.values()), tuple(edges))


RAW, CLEAN, MODEL, GONE = version("raw"), version("clean"), version("cnn", kind="model"), version("old", "deleted")
PREP, TRAIN = run("prep0001", called="prepare"), run("trai0001", "failed")


# ---- tree ------------------------------------------------------------------------------------------


def test_a_tree():
    """Both ways from the start, each node with what people know it by."""
    found = graph(CLEAN, [(RAW, PREP), (GONE, PREP), (PREP, CLEAN), (CLEAN, TRAIN), (TRAIN, MODEL)])
    assert "\n".join(lineage.tree(found)) == (
        """demo/clean:v1  dataset
made from:
└── run prep0001  prepare  (train)  finished
    ├── demo/raw:v1  dataset
    └── demo/old:v1  dataset  [deleted]
made of it:
└── run trai0001  (train)  failed
    └── demo/cnn:v1  model"""
    )


def test_a_tree_in_ascii():
    """Where the terminal has no lines, plain characters stand for them; one way alone has one tree."""
    found = graph(CLEAN, [(RAW, PREP), (GONE, PREP), (PREP, CLEAN)], down=False)
    assert "\n".join(lineage.tree(found, lineage.ASCII)) == (
        """demo/clean:v1  dataset
made from:
`-- run prep0001  prepare  (train)  finished
    |-- demo/raw:v1  dataset
    `-- demo/old:v1  dataset  [deleted]"""
    )


def test_a_diamond_and_a_cycle():
    """A node stands once with what is behind it; met again, also round a cycle, it is marked and not opened."""
    again = run("again001")
    found = graph(
        RAW, [(RAW, PREP), (RAW, TRAIN), (PREP, CLEAN), (TRAIN, CLEAN), (CLEAN, again), (again, RAW), (again, MODEL)],
        up=False,
    )  # fmt: skip
    assert "\n".join(lineage.tree(found)) == (
        """demo/raw:v1  dataset
made of it:
├── run prep0001  prepare  (train)  finished
│   └── demo/clean:v1  dataset
│       └── run again001  (train)  finished
│           ├── demo/raw:v1  dataset  (see above)
│           └── demo/cnn:v1  model
└── run trai0001  (train)  failed
    └── demo/clean:v1  dataset  (see above)"""
    )


def test_nothing_recorded():
    """A version that no run knows is said to stand alone."""
    assert list(lineage.tree(graph(RAW, []))) == [
        "demo/raw:v1  dataset", "made from:", "└── nothing is recorded", "made of it:", "└── nothing is recorded",
    ]  # fmt: skip


def test_tombstones():
    """What was deleted, and what was never seen here, stands in the tree and says so."""
    never = LineageNode(f"{'b' * 32}@{'c' * 64}", "version", "", "", "", "", "unknown", None, None, 1)
    ghost = LineageNode("ghost001", "run", "", "", "", "", "unknown", None, None, 1)
    assert lineage.label(never) == "bbbbbbbb@cccccccccccc  [not known here]"
    assert lineage.label(ghost) == "run ghost001  [not known here]"
    assert lineage.label(version("x", "unknown")) == "demo/x@780000000000  dataset  [not known here]"
    assert lineage.label(run("dead0001", "deleted", called="n")) == "run dead0001  n  (train)  [deleted]"


def test_a_long_chain_stays_readable():
    """Ten thousand steps deep: no line grows without bound, every node has one line, and nothing recurses."""
    nodes = [version(f"d{n}") if n % 2 == 0 else run(f"r{n:07}") for n in range(10_000)]
    lines = list(lineage.tree(graph(nodes[0], pairwise(nodes), up=False)))
    assert max(map(len, lines)) < 160
    plain = [line for line in lines if "(continued)" not in line]
    assert len(plain) == len(nodes) + 1  # and the heading
    for number, line in enumerate(lines):  # what goes on below goes on in the next line, at the margin
        if line.endswith("  (continued below)"):
            assert lines[number + 1] == line.strip(" └─").replace("(continued below)", "(continued)")


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.booleans()), max_size=20), st.integers(0, 5))
def test_each_node_once(pairs, first):
    """Whatever the graph, each direction shows each of its nodes once unmarked, and all that is reached."""
    versions, runs = [version(f"d{n}") for n in range(6)], [run(f"r{n:07}") for n in range(6)]
    edges = list(dict.fromkeys((versions[a], runs[b]) if used else (runs[b], versions[a]) for a, b, used in pairs))
    start = versions[first]
    lines = list(lineage.tree(graph(start, edges, up=False)))
    reached, grown = {start.id}, True
    while grown:
        more = {b.id for a, b in edges if a.id in reached} - reached
        reached |= more
        grown = bool(more)
    shown = [line.lstrip("│├└─ ") for line in lines[2:] if not line.endswith("(see above)")]
    expected = {lineage.label(node) for node in (*versions, *runs) if node.id in reached - {start.id}}
    assert sorted(shown) == sorted(expected or {"nothing is recorded"})
    marked = sum(line.endswith("(see above)") for line in lines)
    assert marked == sum(a.id in reached for a, b in edges) - len(expected)


# ---- Graphviz and Mermaid --------------------------------------------------------------------------

#: Names as a hostile log may hold them, with what means something to each format.
NAMES = st.text("\"\\&<>{}[]()|;#%`'*_-/:@ \n\t\x1b\x00\u202eéx1→", min_size=1, max_size=12)
_NODE = re.compile(r'  (n\d+) \[label="((?:[^"\\]|\\.)*)", shape=(box|ellipse), style=(solid|bold|dashed)\];')
_EDGE = re.compile(r'  (n\d+) -> (n\d+) \[label="(used|produced)"\];')
_BOX = re.compile(r'  (n\d+)(\(\[|\[)"([^"]*)"(\]\)|\])')


@given(NAMES, NAMES, NAMES)
def test_dot_is_safe_with_any_name(name, kind, project):
    """Every line is a node or an edge of ours, and its label, read as Graphviz reads it, is the name escaped."""
    node = version(name, kind=kind, project=project)
    named = run("r0000001", called=name)
    lines = list(lineage.dot(graph(node, [(node, named), (named, GONE)])))
    assert (lines[0], lines[1], lines[-1]) == ("digraph lineage {", "  rankdir=LR;", "}")
    assert all(line.isprintable() for line in lines)
    found = [_NODE.fullmatch(line) or _EDGE.fullmatch(line) for line in lines[2:-1]]
    assert all(found)
    labels = [re.sub(r"\\(.)", r"\1", match[2]).replace("&amp;", "&") for match in found if match and match.re is _NODE]
    assert labels == [lineage.label(one) for one in (node, named, GONE)]
    assert labels[0] == f"{escape(f'{project}/{name}:v1')}  {escape(kind)}"
    assert [match[0].strip() for match in found if match and match.re is _EDGE] == [
        'n0 -> n1 [label="used"];', 'n1 -> n2 [label="produced"];',
    ]  # fmt: skip


@given(NAMES, NAMES, NAMES)
def test_mermaid_is_safe_with_any_name(name, kind, project):
    """No name leaves its quotes, begins markup, a directive or HTML; read back, it is the name escaped."""
    node = version(name, kind=kind, project=project)
    named = run("r0000001", called=name)
    lines = list(lineage.mermaid(graph(node, [(node, named), (named, GONE)])))
    assert lines[0] == "flowchart LR"
    boxes = [_BOX.fullmatch(line) for line in lines[1:4]]
    assert [match and (match[1], match[2]) for match in boxes] == [("n0", "["), ("n1", "(["), ("n2", "[")]
    for match, one in zip(boxes, (node, named, GONE), strict=True):
        assert match is not None
        assert not set(match[3]) & set("\"\\<>{}[]|`%*'")
        assert re.sub(r"#(\d+);", lambda code: chr(int(code[1])), match[3]) == lineage.label(one)
    assert lines[4:] == [
        "  n0 -->|used| n1", "  n1 -->|produced| n2", "  style n0 stroke-width:3px",
        "  classDef gone stroke-dasharray:4 4", "  class n2 gone",
    ]  # fmt: skip


@given(NAMES, NAMES)
def test_a_tree_is_safe_with_any_name(name, kind):
    """Nothing that a terminal would obey comes through, and no name makes a line of its own."""
    node, named = version(name, kind=kind), run("r0000001", called=name)
    lines = list(lineage.tree(graph(node, [(node, named)], up=False)))
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)


# ---- OpenLineage -----------------------------------------------------------------------------------


def read_back(line: str) -> event_v2.RunEvent:
    """An event as the classes of openlineage-python hold it; they check times, ids and addresses."""
    body = json.loads(line)

    def dataset(kind: type, one: dict) -> event_v2.Dataset:
        facet = one["facets"]["version"]
        held = facet_v2.dataset_version_dataset.DatasetVersionDatasetFacet(
            datasetVersion=facet["datasetVersion"], producer=facet["_producer"]
        )
        assert held._schemaURL == facet["_schemaURL"]
        assert set(facet) == {"datasetVersion", "_producer", "_schemaURL"}
        return kind(namespace=one["namespace"], name=one["name"], facets={"version": held})

    event = event_v2.RunEvent(
        eventTime=body["eventTime"],
        producer=body["producer"],
        eventType=event_v2.RunState(body["eventType"]),
        run=event_v2.Run(**body["run"]),
        job=event_v2.Job(**body["job"]),
        inputs=[dataset(event_v2.InputDataset, one) for one in body["inputs"]],
        outputs=[dataset(event_v2.OutputDataset, one) for one in body["outputs"]],
    )
    assert event.schemaURL == body["schemaURL"]
    assert set(body) == {
        "eventTime", "producer", "schemaURL", "eventType", "run", "job", "inputs", "outputs"
    }  # fmt: skip
    return event


def events(found: Lineage) -> list[event_v2.RunEvent]:
    return [read_back(json.dumps(one)) for one in lineage.openlineage(found)]


def test_openlineage_reads_back():
    """A run is START and how it ended, with inputs, outputs, and the versions' digests."""
    start, end, *rest = events(graph(CLEAN, [(RAW, PREP), (GONE, PREP), (PREP, CLEAN), (CLEAN, TRAIN)]))
    assert [one.eventType.value for one in (start, end, *rest)] == ["START", "COMPLETE", "START", "FAIL"]
    assert (start.eventTime, end.eventTime) == (at(1), at(2))
    assert start.run == end.run
    assert UUID(start.run.runId).version == 5
    assert (start.job.namespace, start.job.name) == (f"avc://{SCOPE}", "demo/train")
    assert (start.inputs, start.outputs) == ([], [])  # some readers look at the last event only
    assert [(d.namespace, d.name) for d in end.inputs] == [
        (f"avc://{SCOPE}", "demo/raw"), (f"avc://{SCOPE}", "demo/old"),
    ]  # fmt: skip
    assert [d.name for d in end.outputs] == ["demo/clean"]
    assert end.outputs[0].facets["version"].datasetVersion == CLEAN.id.partition("@")[2]


@pytest.mark.parametrize(
    ("state", "types"),
    [
        ("finished", ["START", "COMPLETE"]),
        ("failed", ["START", "FAIL"]),
        ("crashed", ["START", "ABORT"]),
        ("running", ["START"]),
        ("deleted", ["START", "COMPLETE"]),
        ("unknown", ["START"]),
    ],
)
def test_states_of_runs(state, types):
    """How a run ended is told where it is known; a run that goes on, or that nobody knows, has begun."""
    found = events(graph(RAW, [(RAW, run("r0000001", state))]))
    assert [one.eventType.value for one in found] == types
    assert [d.name for d in found[-1].inputs] == ["demo/raw"]


def test_a_run_never_seen_here_began_when_it_was_first_heard_of():
    """Of a run without a record only its edges are known: the first of them is its time."""
    ghost = LineageNode("ghost001", "run", "", "", "", "", "unknown", None, None, 1)
    (one,) = events(graph(RAW, [(ghost, CLEAN), (ghost, RAW)]))
    assert (one.eventTime, one.job.name) == (at(0), "unknown/run")
    assert [d.name for d in one.outputs] == ["demo/clean", "demo/raw"]


def test_run_ids_are_the_same_everywhere_in_one_scope():
    """The same run in two clones of one origin has one id; in another origin, another one."""
    found = graph(RAW, [(RAW, PREP)])
    elsewhere = Lineage(found.start, "f" * 32, True, True, None, found.nodes, found.edges)
    assert events(found)[0].run.runId == events(graph(CLEAN, [(CLEAN, PREP)]))[0].run.runId
    assert events(found)[0].run.runId != events(elsewhere)[0].run.runId


def test_no_event_without_a_run():
    assert events(graph(RAW, [])) == []


@given(NAMES, NAMES)
def test_openlineage_holds_any_name(name, project):
    """Names pass unchanged, in JSON that is ASCII alone."""
    node = version(name, project=project)
    lines = [json.dumps(one) for one in lineage.openlineage(graph(node, [(node, PREP)]))]
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert read_back(lines[1]).inputs[0].name == f"{project}/{name}"
