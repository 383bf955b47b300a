"""The graph of what was made from what, in the formats that people and other programs read.

Nodes are versions and runs, edges lead from a version to the runs that used it and from
a run to the versions that it produced (``core/results.py``, ``Lineage``). Nothing is
looked up here. Every name may come from elsewhere: each format takes out, in its own
way, what would mean something to a terminal, Graphviz, Mermaid or HTML.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from artifactvc import __version__
from artifactvc.util.text import escape

if TYPE_CHECKING:
    from artifactvc.core.results import Lineage, LineageNode

FORMATS: Final = ("tree", "json", "dot", "mermaid", "openlineage")
#: Levels of the tree before what is deeper goes on at the margin: a chain of ten thousand runs stays readable.
LEVELS: Final = 20

_TOMBSTONES: Final = {"deleted": "deleted", "unknown": "not known here"}


class Marks(NamedTuple):
    """What the branches of a tree are drawn with."""

    branch: str
    last: str
    line: str
    blank: str


LINES: Final = Marks("├── ", "└── ", "│   ", "    ")
ASCII: Final = Marks("|-- ", "`-- ", "|   ", "    ")


def label(node: LineageNode) -> str:
    """One node in a line: a version with its type, a run with job type and state; tombstones say so."""
    gone = _TOMBSTONES.get(node.state)
    if node.kind == "version":
        words = [node.ref, node.type]
    else:
        named = node.name if node.name != node.id else ""
        words = [f"run {node.id}", named, f"({node.type})" if node.type else "", "" if gone else node.state]
    words += [f"[{gone}]"] if gone else []
    return "  ".join(escape(word) for word in words if word)


# ---- tree ------------------------------------------------------------------------------------------


def tree(found: Lineage, marks: Marks = LINES) -> Iterator[str]:
    """Lines for a terminal: the start, then a tree for each direction that was asked for.

    In each tree a node stands once with what is behind it; where it is met again, also
    round a cycle, ``(see above)`` stands instead.
    """
    labels = {node.id: label(node) for node in found.nodes}
    yield labels[found.start]
    for wanted, title in ((found.up, "made from"), (found.down, "made of it")):
        if wanted:
            yield f"{title}:"
            beside = _neighbours(found, up=title == "made from")
            if beside[found.start]:
                yield from _branches(labels, beside, found.start, marks)
            else:
                yield f"{marks.last}nothing is recorded"


def _neighbours(found: Lineage, *, up: bool) -> defaultdict[str, list[str]]:
    beside: defaultdict[str, list[str]] = defaultdict(list)
    for edge in found.edges:
        if up:
            beside[edge.target].append(edge.source)
        else:
            beside[edge.source].append(edge.target)
    return beside


def _branches(
    labels: Mapping[str, str], beside: Mapping[str, Sequence[str]], start: str, marks: Marks
) -> Iterator[str]:
    """The tree below *start*, by a stack of our own: a chain may be deeper than Python recurses."""
    seen, margins = {start}, deque([start])
    while margins:
        margin = margins.popleft()
        if margin != start:
            yield f"{labels[margin]}  (continued)"
        stack = _pushed(beside.get(margin, ()), "", 1)
        while stack:
            key, indent, level, last = stack.pop()
            line = f"{indent}{marks.last if last else marks.branch}{labels[key]}"
            below = beside.get(key, ())
            if key in seen:
                yield f"{line}  (see above)"
                continue
            seen.add(key)
            if below and level == LEVELS:
                yield f"{line}  (continued below)"
                margins.append(key)
                continue
            yield line
            stack += _pushed(below, indent + (marks.blank if last else marks.line), level + 1)


def _pushed(keys: Sequence[str], indent: str, level: int) -> list[tuple[str, str, int, bool]]:
    return [(key, indent, level, position == 0) for position, key in enumerate(reversed(keys))]


# ---- Graphviz and Mermaid --------------------------------------------------------------------------


def dot(found: Lineage) -> Iterator[str]:
    """Lines of a Graphviz digraph: versions are boxes, runs ellipses, tombstones dashed, the start bold."""
    yield "digraph lineage {"
    yield "  rankdir=LR;"
    names = _short(found)
    for node in found.nodes:
        shape = "box" if node.kind == "version" else "ellipse"
        style = "dashed" if node.state in _TOMBSTONES else "bold" if node.id == found.start else "solid"
        yield f'  {names[node.id]} [label="{_dot(label(node))}", shape={shape}, style={style}];'
    for edge in found.edges:
        yield f'  {names[edge.source]} -> {names[edge.target]} [label="{edge.kind}"];'
    yield "}"


def _short(found: Lineage) -> dict[str, str]:
    return {node.id: f"n{number}" for number, node in enumerate(found.nodes)}


def _dot(text: str) -> str:
    """*text* for a quoted string of Graphviz, which takes backslashes for escapes and reads HTML entities."""
    return text.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')


def mermaid(found: Lineage) -> Iterator[str]:
    """Lines of a Mermaid flowchart: versions are boxes, runs rounded, tombstones dashed, the start thick."""
    yield "flowchart LR"
    names = _short(found)
    for node in found.nodes:
        text = _mermaid(label(node))
        yield f'  {names[node.id]}["{text}"]' if node.kind == "version" else f'  {names[node.id]}(["{text}"])'
    for edge in found.edges:
        yield f"  {names[edge.source]} -->|{edge.kind}| {names[edge.target]}"
    yield f"  style {names[found.start]} stroke-width:3px"
    gone = [names[node.id] for node in found.nodes if node.state in _TOMBSTONES]
    if gone:
        yield "  classDef gone stroke-dasharray:4 4"
        yield f"  class {','.join(gone)} gone"


def _mermaid(text: str) -> str:
    """*text* for a quoted label of Mermaid: what is not a letter, a digit or plain becomes its ``#code;``."""
    return "".join(c if c.isalnum() or c in " .:/@_-()," else f"#{ord(c)};" for c in text)


# ---- OpenLineage -----------------------------------------------------------------------------------

_SPEC: Final = "https://openlineage.io/spec"
_EVENT: Final = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
_VERSION_FACET: Final = f"{_SPEC}/facets/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet"
_PRODUCER: Final = f"pkg:generic/artifactvc@{__version__}"
_ENDINGS: Final = {"finished": "COMPLETE", "failed": "FAIL", "crashed": "ABORT"}


def openlineage(found: Lineage) -> Iterator[dict[str, Any]]:
    """The runs of the graph as OpenLineage RunEvents, oldest first: START, and how it ended where it did.

    Namespaces and run ids derive from ``scope``, so the clones of one origin name the same things
    alike. A dataset is an artifact, its version facet holds the version's digest. Inputs and outputs,
    as far as they are in the graph, stand in the last event of a run: some readers look at no other.
    """
    datasets = {node.id: _dataset(found.scope, node) for node in found.nodes if node.kind == "version"}
    inputs: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    outputs: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    heard: dict[str, str] = {}  # when a run was first heard of: all that is known of some
    for edge in found.edges:
        run, version, kept = (edge.target, edge.source, inputs) if edge.kind == "used" else (
            edge.source, edge.target, outputs)  # fmt: skip
        kept[run].append(datasets[version])
        heard.setdefault(run, edge.at)
    runs = [(node.created or heard.get(node.id, ""), node) for node in found.nodes if node.kind == "run"]
    for began, node in sorted(runs, key=lambda pair: (pair[0], pair[1].id)):
        if began:
            yield from _events(found.scope, node, began, {"inputs": inputs[node.id], "outputs": outputs[node.id]})


def _events(scope: str, node: LineageNode, began: str, datasets: dict[str, Any]) -> Iterator[dict[str, Any]]:
    from uuid import NAMESPACE_URL, uuid5

    ending = _ENDINGS.get(node.state, "COMPLETE" if node.ended else None)  # how a deleted run ended is not kept
    event = {
        "eventTime": began,
        "producer": _PRODUCER,
        "schemaURL": _EVENT,
        "eventType": "START",
        "run": {"runId": str(uuid5(NAMESPACE_URL, f"{_namespace(scope)}/runs/{node.id}")), "facets": {}},
        "job": {"namespace": _namespace(scope), "name": _job(node), "facets": {}},
        "inputs": [],
        "outputs": [],
    }
    if ending is None:
        yield {**event, **datasets}
    else:
        yield event
        yield {**event, "eventTime": node.ended or began, "eventType": ending, **datasets}


def _job(node: LineageNode) -> str:
    return f"{node.project or 'unknown'}/{node.type or 'run'}"


def _namespace(scope: str) -> str:
    return f"avc://{scope}"


def _dataset(scope: str, node: LineageNode) -> dict[str, Any]:
    artifact, _, digest = node.id.partition("@")
    facet = {"_producer": _PRODUCER, "_schemaURL": _VERSION_FACET, "datasetVersion": digest}
    name = f"{node.project}/{node.name}" if node.name else artifact
    return {"namespace": _namespace(scope), "name": name, "facets": {"version": facet}}
