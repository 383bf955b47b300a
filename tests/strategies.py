"""Hypothesis strategies for the values of `artifactvc.core`, all in one place.

Names and paths are drawn from small pools, so that examples meet: the same path on two
sides, a file where a directory is, a record about a version that is already deleted.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any

from hypothesis import strategies as st

from artifactvc.core.entries import LogEntry
from artifactvc.core.model import Digest, Entry
from artifactvc.core.nodes import Child
from artifactvc.errors import MissingObject
from artifactvc.util.hashing import digest_bytes

#: Digests that occur again and again, as of files with contents 0, 1, 2 …
DIGESTS = [digest_bytes(str(n).encode()) for n in range(6)]
ARTIFACTS = [f"{n:x}" * 32 for n in range(1, 5)]
OPS = st.integers(0, 2**128 - 1).map("{:032x}".format)


def digests() -> st.SearchStrategy[Digest]:
    """A digest, often one seen before."""
    return st.sampled_from(DIGESTS) | st.binary(max_size=8).map(digest_bytes)


# ---- paths, entries, manifests ------------------------------------------------------------------

#: Characters that sort around "/" and ".", several bytes long, or apart from each other only in case.
_LETTERS = "ab-/.0A é漢😀 "
_COMPONENTS = st.sampled_from(["a", "b", "a-", "a.b", "a0", "B", "é", "漢", "images", "c d", ".hidden"]) | st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/"), min_size=1, max_size=8
).filter(lambda part: not part.startswith(".") and unicodedata.normalize("NFKC", part).strip(". "))


def paths() -> st.SearchStrategy[str]:
    """A path that an entry may stand at."""
    return st.lists(_COMPONENTS, min_size=1, max_size=4).map("/".join)


def path_soup() -> st.SearchStrategy[str]:
    """Text that is nearly a path: the parts that rules are about, in any order."""
    parts = ["..", ".", "", ".git", ".GIT", ".git.", ".artifacts", ".Artifacts ", "a", "\n", "\0", "\x7f", "/", "é"]
    soup = st.lists(st.sampled_from(parts) | st.text(max_size=4), max_size=6)
    return soup.map("/".join) | st.text(_LETTERS, max_size=12) | st.text(max_size=12)


_SIZES = st.integers(0, 10) | st.integers(0, 2**47)
_WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def entries(at: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[Entry]:
    """An entry of any kind, at a path of *at*."""
    where = paths() if at is None else at
    files = st.tuples(where, st.sampled_from("fx"), _SIZES, digests()).map(lambda items: Entry(*items))
    links = st.builds(lambda path, target: Entry(path, "l", target=target), where, _COMPONENTS)
    references = st.builds(
        lambda path, size, uri, kind, identity, version: Entry(
            path, "r", size, uri=uri, identity_kind=kind, identity=identity, version_id=version
        ),
        where, st.none() | _SIZES, _WORDS.map("s3://bucket/".__add__), st.none() | st.just("etag"),
        st.none() | _WORDS, st.none() | _WORDS,
    )  # fmt: skip
    return files | files | links | references


Contents = dict[str, Entry]


def _without_clashes(found: list[Entry]) -> Contents:
    """The first of entries that could not stand together."""
    kept: Contents = {}
    for entry in found:
        if not clashes(kept, entry.path):
            kept[entry.path] = entry
    return kept


def clashes(contents: Contents, path: str) -> bool:
    """Whether *path* would be a file and a directory together with *contents*."""
    return any(other.startswith(path + "/") or path.startswith(other + "/") for other in contents)


def contents(max_size: int = 20) -> st.SearchStrategy[Contents]:
    """What a manifest may hold, by path."""
    return st.lists(entries(), max_size=max_size).map(_without_clashes)


def changes(of: Contents) -> st.SearchStrategy[dict[str, Entry | None]]:
    """Changes to *of* that leave a manifest: entries put or removed, also of paths that are not there."""
    known = st.sampled_from(sorted(of)) if of else paths()
    drawn = st.lists(st.tuples(known | paths(), st.booleans()).flatmap(_change), max_size=8)
    return drawn.map(lambda found: _fitting(of, found))


def _change(drawn: tuple[str, bool]) -> st.SearchStrategy[tuple[str, Entry | None]]:
    path, removed = drawn
    return st.just((path, None)) if removed else st.tuples(st.just(path), entries(st.just(path)))


def _fitting(of: Contents, found: list[tuple[str, Entry | None]]) -> dict[str, Entry | None]:
    result: dict[str, Entry | None] = {}
    after = dict(of)
    for path, entry in found:
        if path in result or (entry is not None and clashes(after, path)):
            continue
        result[path] = entry
        if entry is None:
            after.pop(path, None)
        else:
            after[path] = entry
    return result


def applied(of: Contents, changed: dict[str, Entry | None]) -> Contents:
    """*of* after *changed*, in plain dictionaries."""
    return {path: entry for path, entry in {**of, **changed}.items() if entry is not None}


def childs() -> st.SearchStrategy[Child]:
    """A line of an inner node."""
    return st.builds(Child, paths(), digests(), st.integers(1, 2**53 - 1), _SIZES)


# ---- records and log entries --------------------------------------------------------------------

PROJECTS = ["p", "Q q"]
NAMES = ["data", "Data", "cnn", "x" * 128]
RUNS = ["run00001", "run00002"]
_TAGS = st.lists(st.sampled_from(["t", "u", "new data"]), max_size=2)
_TIMES = st.integers(0, 999_999).map("2026-11-23T08:38:34.{:06d}Z".format)


def _record(kind: str, required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    """A record with these fields, some of the *optional* ones, and at times what records of a remote's log have."""
    origin = {"id": OPS.map("{}.0".format), "time": _TIMES, "author": st.sampled_from(["ada", "bob"])}
    return st.fixed_dictionaries({"kind": st.just(kind), **required}, optional={**optional, **origin})


#: Values of ``ttl.editors``, some of them none.
EDITORS = (None, ["ada"], ["bob"], ["ada", "Bob <bob>"], [], "ada", 5, [""], [1], {"ada": 1})


def _set(**fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


def records() -> st.SearchStrategy[dict[str, Any]]:
    """A well-formed record of any kind that this version reads, about a few artifacts, versions and names."""
    artifact, digest = st.sampled_from(ARTIFACTS), st.sampled_from(DIGESTS[:4])
    number = st.integers(0, 6)
    names = st.fixed_dictionaries({"name": st.sampled_from(NAMES)})
    version = {"artifact": artifact, "digest": digest}
    pairs = st.lists(st.fixed_dictionaries(version), max_size=2)
    whole = {"project": st.sampled_from(PROJECTS), "name": st.sampled_from(NAMES), "type": st.just("dataset")}
    created = _record("artifact", {"artifact": artifact, "set": st.fixed_dictionaries(whole)})
    landed = _record(
        "version", version, number=number, count=number, size=number, description=digest, metadata=digest,
        base=digest, tags=_TAGS, run=st.sampled_from(RUNS), created=_TIMES,
        ttl=st.sampled_from(["30d", "none", "soon"]),
    )  # fmt: skip
    return st.one_of(
        created, created, landed, landed, landed,
        _record("artifact", {"artifact": artifact, "set": names}, was=names),
        _record("artifact", {"artifact": artifact, "set": _set(description=st.none() | digest)}),
        _record("artifact", {"artifact": artifact, "set": st.fixed_dictionaries({"joins": artifact})}),
        _record("version", {**version, "set": _set(description=st.none() | digest, metadata=digest)}),
        _record(
            "alias", {"artifact": artifact, "alias": st.sampled_from(["best", "latest"])},
            set=_set(digest=st.none() | digest), was=_set(digest=st.none() | digest),
        ),
        _record("tag", version, add=_TAGS, remove=_TAGS),
        _record("delete", version, number=number, reason=st.sampled_from(["ttl", "undo"])),
        _record("delete", {"artifact": artifact}),
        _record("restore", version, number=number),
        _record("ttl", version, set=_set(ttl=st.sampled_from([None, "30d", "none", "soon", 30]))),
        _record(
            "run", {"run": st.sampled_from(RUNS)}, used=pairs, produced=pairs,
            set=_set(state=st.sampled_from(["running", "finished"]), project=st.just("p"), exit_code=number),
        ),
        _record(
            "setting", {"name": st.sampled_from(["ttl.default:p", "ttl.default"])},
            set=_set(value=st.sampled_from([None, "90d", "none", "soon", ["90d"]])),
        ),
        _record("setting", {"name": st.just("ttl.editors")}, set=_set(value=st.sampled_from(EDITORS))),
        _record(
            "retention", {"artifact": artifact},
            set=_set(policy=st.none() | st.fixed_dictionaries({"keep_last": st.just(2)})),
        ),
        _record("draft", {"draft": st.just("d1")}, artifact=artifact, digest=digest, set=_set(state=st.just("open"))),
        _record("finish", {"draft": st.just("d1"), **version}),
        _record("seen", {"remote": st.just("f" * 32), "n": number}),
        _record("renumbered", {**version, "from": number, "to": number}),
        _record("condemn", {"files": st.lists(st.sampled_from(["p1/0.pack", "p1/1.pack"]), max_size=2)}),
        _record("later", {"optional": st.just(True)}, artifact=number),
    )  # fmt: skip


def log_entries(n: st.SearchStrategy[int] | None = None) -> st.SearchStrategy[LogEntry]:
    """A well-formed log entry."""
    index = st.fixed_dictionaries(
        {"id": st.sampled_from(["a", "b/c.d"]), "digest": digests(), "size": st.integers(0, 1 << 30)}
    )
    return st.builds(
        lambda n, op, before, text, time, found, index: LogEntry(
            n, op, "9b" * 16, before if n else None, text, time, text, tuple(found), tuple(index)
        ),
        st.integers(0, 2**40) if n is None else n, OPS, digests(), _WORDS, _TIMES,
        st.lists(records(), max_size=4), st.lists(index, max_size=2),
    )  # fmt: skip


def entry_of(*found: dict[str, Any], n: int = 0) -> LogEntry:
    """Entry *n* of a log, holding these records; each *n* has its own operation and time."""
    return LogEntry(
        n, f"{n:032x}", "9b" * 16, None if n == 0 else DIGESTS[0], f"author {n}",
        f"2026-01-01T00:00:00.{n:06d}Z", "test", found,
    )  # fmt: skip


# ---- nodes in memory ----------------------------------------------------------------------------


class Nodes:
    """Nodes in memory; it counts what is read and put."""

    def __init__(self) -> None:
        self.held: dict[Digest, bytes] = {}
        self.reads: list[Digest] = []
        self.puts: list[Digest] = []

    def read(self, digest: Digest) -> bytes:
        self.reads.append(digest)
        if digest not in self.held:
            raise MissingObject(digest)
        return self.held[digest]

    def put(self, data: bytes) -> Digest:
        digest = digest_bytes(data)
        self.held[digest] = data
        self.puts.append(digest)
        return digest

    def fresh(self) -> Nodes:
        """The same nodes, counted from nought."""
        other = Nodes()
        other.held = self.held
        return other


# ---- bytes that may come from anywhere ----------------------------------------------------------

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(DIGESTS),
    lambda below: st.lists(below, max_size=5) | st.dictionaries(st.text(max_size=8), below, max_size=5),
    max_leaves=12,
)


def json_values() -> st.SearchStrategy[Any]:
    """Any value that ``json`` can write, NaN and lone surrogates included."""
    return _JSON


def _encoded(row: Any) -> bytes:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")


def node_bytes() -> st.SearchStrategy[bytes]:
    """Bytes that are nearly a manifest node."""
    item = st.sampled_from(["f", "x", "l", "r", "a", "a/b", "..", "/a", DIGESTS[0], -1, 0, 1, 2**53, 2**53 - 1, None])
    row = st.lists(item | _JSON, max_size=7) | _JSON
    lines = st.lists(row.map(_encoded) | st.binary(max_size=20), max_size=4)
    return st.binary(max_size=60) | lines.map(lambda found: b"".join(line + b"\n" for line in found))


def damaged(good: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Sound bytes with a few of them removed, doubled or replaced."""

    def cut(data: bytes, at: int, length: int, instead: bytes) -> bytes:
        at %= len(data) + 1
        return data[:at] + instead + data[at + length :]

    return st.builds(cut, good, st.integers(0, 10**6), st.integers(0, 4), st.binary(max_size=4))
