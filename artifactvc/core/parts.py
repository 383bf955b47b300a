"""A version that many build, as values: what names its draft, what a part says, how parts become one (protocol P10).

A draft is named by what is built and by how many drafts of that were ended before, so all
who work on it name it alike without talking. A *writer* is a run. Each of its *attempts*
holds all that the run has put in so far: what the attempt before held, and over it what
the newest call brings. So the highest attempt counts alone, a part that is sent again
changes nothing, and several processes of one run add up.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from artifactvc.core.cutting import Put, line_of, nodes_of, raise_up
from artifactvc.core.draft_records import RUN_FIELDS
from artifactvc.core.entries import MAX_INDEX_BYTES, RUN_ID, Record
from artifactvc.core.model import Digest, Entry, Root, is_digest
from artifactvc.core.records import Rows, folded, holder, live_version, name_row
from artifactvc.core.strict import dump_json, parse_json
from artifactvc.errors import BadName, BadValue, Corrupt, NewerFormat, PathConflict
from artifactvc.util.hashing import digest_bytes

FORMAT: Final = 1
#: Bytes of the document of one attempt: description and metadata stand in it.
MAX_BYTES: Final = 16 << 20
OPEN, FINISHED, ABANDONED = "open", "finished", "abandoned"

_DRAFT: Final = re.compile(r"[0-9a-f]{32}")
_PLAIN: Final = re.compile(r"[a-z0-9]{1,64}")
_INDEX: Final = re.compile(r"[a-z0-9]{1,64}(-[0-9a-f]{32})?/[0-9]{1,6}/index-[0-9a-f]{16}")
_LONGEST_ID: Final = 512


@dataclass(frozen=True)
class Target:
    """What is being built: an artifact of a project, and the id that all who build one version of it share."""

    project: str
    name: str
    type: str
    distributed_id: str

    def draft_id(self, place: str, generation: int) -> str:
        """Id of the draft after *generation* ended ones, in the log called *place*: 32 hex digits."""
        key = [self.project, folded(self.name), self.distributed_id, place, generation]
        return digest_bytes(dump_json(key))[:32]


def check_distributed_id(text: str) -> str:
    """Return *text* if it may be shared by those who build a version, else raise BadName."""
    if not isinstance(text, str) or not 1 <= len(text) <= _LONGEST_ID or not text.isprintable():
        raise BadName(
            f"bad distributed id '{str(text)[:80]}'", hint=f"use 1 to {_LONGEST_ID} characters that can be printed"
        )
    return text


def is_draft_id(text: str) -> bool:
    """Whether *text* names the draft of a version that many build (protocol H3)."""
    return _DRAFT.fullmatch(text) is not None


def writer_directory(run: str) -> str:
    """The directory of a run's attempts: its id where that can be told apart everywhere, else a digest of it."""
    return run if _PLAIN.fullmatch(run) else f"x-{digest_bytes(run.encode())[:32]}"


def first_open(is_over: Callable[[int], bool]) -> int:
    """The first generation whose draft has not ended; all before it have. Asks a few times, however many there are."""
    if not is_over(0):
        return 0
    low, high = 0, 1
    while is_over(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_over(middle) else (low, middle)
    return high


# ---- attempts --------------------------------------------------------------------------------


@dataclass(frozen=True)
class IndexFile:
    """On a remote: the file beside an attempt that says where the objects are which the attempt brought."""

    name: str  # below the draft's directory
    digest: Digest
    size: int


@dataclass(frozen=True)
class Attempt:
    """One complete attempt of a writer's part."""

    draft: str
    writer: str  # the run's id
    attempt: int
    root: Digest
    description: str | None
    metadata: Mapping[str, Any]
    time: str
    run: Mapping[str, str] = field(default_factory=dict)  # on a remote: what is known of the run (``RUN_FIELDS``)
    index: IndexFile | None = None

    @property
    def directory(self) -> str:
        """Where it stands, below the draft's directory."""
        return f"{writer_directory(self.writer)}/{self.attempt}"


def encode_attempt(attempt: Attempt) -> bytes:
    """Return the document of an attempt; ValueError if it is larger than readers take."""
    data = dump_json({"format": FORMAT, **asdict(attempt)}) + b"\n"
    if len(data) > MAX_BYTES:
        raise BadValue(f"description and metadata take more than {MAX_BYTES} bytes")
    return data


def decode_attempt(data: bytes, draft: str, directory: str) -> Attempt:
    """Return an attempt from its document, which may come from anywhere; it must be the one of that place.

    Raises Corrupt if it breaks the format, NewerFormat if a newer avc wrote it.
    """
    what = f"part '{directory}' of draft '{draft:.8}'"
    body = parse_json(data, limit=MAX_BYTES, what=what, error=Corrupt)
    version = body.pop("format", None) if isinstance(body, dict) else None
    if type(version) is int and version != FORMAT:  # True == 1
        raise NewerFormat(what, f"part format {version}")
    index = body.get("index") if type(version) is int else None
    good = (
        type(version) is int
        and body.keys() == {"draft", "writer", "attempt", "root", "description", "metadata", "time", "run", "index"}
        and isinstance(body["writer"], str)
        and RUN_ID.fullmatch(body["writer"]) is not None
        and type(body["attempt"]) is int
        and is_digest(body["root"])
        and (body["description"] is None or isinstance(body["description"], str))
        and isinstance(body["metadata"], dict)
        and isinstance(body["time"], str)
        and _is_run(body["run"])
        and (index is None or _is_index(index))
    )
    if good:
        found = Attempt(**{**body, "index": IndexFile(**index) if index else None})
        if (found.draft, found.directory) == (draft, directory):
            return found
    raise Corrupt(f"{what} is damaged", hint=f"remove 'drafts/{draft}/{directory}' and put the part in again")


def _is_run(body: Any) -> bool:
    good = isinstance(body, dict) and body.keys() <= set(RUN_FIELDS)
    return good and all(isinstance(value, str) and len(value) <= 1024 for value in body.values())


def _is_index(body: Any) -> bool:
    return (
        isinstance(body, dict)
        and body.keys() == {"name", "digest", "size"}
        and isinstance(body["name"], str)
        and _INDEX.fullmatch(body["name"]) is not None
        and is_digest(body["digest"])
        and type(body["size"]) is int
        and 0 <= body["size"] <= MAX_INDEX_BYTES
    )


# ---- many parts become one -------------------------------------------------------------------


def union(parts: Sequence[tuple[str, Iterable[Entry]]]) -> Iterator[Entry]:
    """The entries of all *parts* (writer, entries in order), in order, each path once.

    Raises PathConflict, naming both writers, where two have other content at one path, or
    one has a file where another has a directory. Memory is that of the parts' iterators.
    """
    streams = [_ordered(entries, n) for n, (_, entries) in enumerate(parts)]
    above: list[tuple[str, str]] = []  # (path, writer) of files that could be directories of what comes
    last: tuple[Entry, str] | None = None
    for _, n, entry in heapq.merge(*streams, key=lambda item: item[:2]):
        writer = parts[n][0]
        if last is not None and last[0].path == entry.path:
            if last[0] != entry:
                raise _conflict(f"'{entry.path}' was put in with other content", last[1], writer)
            continue
        above = [item for item in above if entry.path.startswith(item[0])]
        for path, other in above:
            if entry.path.startswith(path + "/"):
                raise _conflict(f"'{path}' is a file and would be a directory of '{entry.path}'", other, writer)
        above.append((entry.path, writer))
        last = entry, writer
        yield entry


def _ordered(entries: Iterable[Entry], n: int) -> Iterator[tuple[bytes, int, Entry]]:
    for entry in entries:
        yield entry.path.encode(), n, entry


def _conflict(fault: str, one: str, other: str) -> PathConflict:
    return PathConflict(
        f"{fault}: run '{one}' and run '{other}' disagree",
        hint="put the right one in again from one of them, which replaces what that run had there, and finish again; "
        "where neither can, Repository.abandon_draft gives up all parts",
    )


def build_union(parts: Sequence[tuple[str, Iterable[Entry]]], put: Put) -> Root:
    """Store the manifest of all *parts* together; the same digest as if one had built it. Raises as ``union``."""
    return raise_up(list(nodes_of(map(line_of, union(parts)), 0, put)), put)


@dataclass(frozen=True)
class Texts:
    """What is said of a part, or of the whole."""

    description: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


def merged_texts(parts: Sequence[Texts], own: Texts) -> Texts:
    """What *own*, the finisher's, says wins; else the first description and the last value of each key in *parts*.

    The caller gives the parts in the order of their writers' ids, so all who finish say the same.
    """
    metadata: dict[str, Any] = {}
    for part in (*parts, own):
        metadata.update(part.metadata)
    described = [part.description for part in (own, *parts) if part.description]
    return Texts(described[0] if described else None, metadata)


# ---- records ---------------------------------------------------------------------------------


def opening(target: Target, draft_id: str, generation: int) -> Record:
    """The record that opens a draft; of one that is open already it changes nothing."""
    fields = {
        "state": OPEN, "project": target.project, "name": target.name, "type": target.type,
        "distributed_id": target.distributed_id, "generation": generation,
    }  # fmt: skip
    return {"kind": "draft", "draft": draft_id, "set": fields, "was": {}}


def abandoning(draft_id: str) -> Record:
    """The record that gives an open draft up."""
    return {"kind": "draft", "draft": draft_id, "set": {"state": ABANDONED}, "was": {"state": OPEN}}


@dataclass(frozen=True)
class Ending:
    """What a draft becomes."""

    root: Root
    artifact: str  # the id that the artifact gets if there is none of this name
    run: str  # who finishes
    taken: Mapping[str, int]  # writer -> the attempt that counts
    runs: Mapping[str, Mapping[str, str]]  # what is known of the runs that the log may not know
    texts: Mapping[str, Digest]  # objects that hold the description and the metadata
    aliases: Sequence[str] = ()
    ttl: str | None = None


def finishing(rows: Rows, target: Target, draft_id: str, ending: Ending) -> list[Record]:
    """The records that make a draft one version: the same as those of a commit, and one that ends the draft."""
    records: list[Record] = []
    artifact = holder(rows, target.project, target.name)
    artifact_id = artifact["id"] if artifact else ending.artifact
    digest = ending.root.digest
    if artifact is None:
        made = {"project": target.project, "name": target.name, "type": target.type}
        records.append({"kind": "artifact", "artifact": artifact_id, "set": made, "was": {}})
    version: Record = {"kind": "version", "artifact": artifact_id, "digest": digest, "run": ending.run}
    if live_version(rows, artifact_id, digest) is None:
        number = name_row(rows, target.project, target.name)["next"]
        version |= {"number": number, "count": ending.root.count, "size": ending.root.size, **ending.texts}
        version |= {"ttl": ending.ttl} if ending.ttl else {}
    records.append(version)
    end: Record = {"kind": "finish", "draft": draft_id, "artifact": artifact_id, "digest": digest, "run": ending.run}
    unknown = {run: dict(known) for run, known in ending.runs.items() if known and rows.get("run", run) is None}
    records.append({**end, "taken": dict(ending.taken), **({"runs": unknown} if unknown else {})})
    for alias in dict.fromkeys(ending.aliases):
        if alias != "latest":
            held = rows.get("alias", artifact_id, alias)
            records.append({
                "kind": "alias", "artifact": artifact_id, "alias": alias, "set": {"digest": digest},
                "was": {"digest": held["digest"] if held else None},
            })  # fmt: skip
    return records
