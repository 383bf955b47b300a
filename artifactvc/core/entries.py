"""Log entries: how they are written, and what is refused when one is read.

An entry is one JSON object on one line (docs/format.md, "Log"). It is at most 1 MiB
and 1,000 records; what needs more room is an object that a record names. Entry *n*
holds the digest of entry *n*-1, so a log that was rewritten does not go unnoticed
(protocol R3).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from blake3 import blake3

from artifactvc.core.model import Digest, is_digest
from artifactvc.core.strict import dump_json, parse_json
from artifactvc.errors import BadLogEntry, NewerFormat

FORMAT: Final = 1
MAX_BYTES: Final = 1 << 20
#: Bytes of an index file that an entry may name.
MAX_INDEX_BYTES: Final = 1 << 30
#: Index files that one index file of an entry may replace.
MAX_REPLACED: Final = 256
MAX_RECORDS: Final = 1000

Record = dict[str, Any]

_ID: Final = re.compile(r"[0-9a-f]{32}")
#: What a run may be called: it names a directory, and a column of every version that it produced.
RUN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-]{0,63}")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_STORED: Final = re.compile(r"[A-Za-z0-9_.\-]{1,200}(/[A-Za-z0-9_.\-]{1,200}){0,6}")

#: Kinds that this version reads. The others of format 1 (link, erase, seal) are refused until it can
#: act on them.
KINDS: Final = frozenset(
    "artifact version alias tag run delete restore ttl retention setting draft finish seen renumbered condemn".split()
)


@dataclass(frozen=True)
class LogEntry:
    """One numbered entry of a log, here or on a remote."""

    n: int
    op: str  # 32 hex digits, unique
    repository: str  # 32 hex digits
    before: Digest | None  # digest of entry n-1
    author: str
    time: str
    command: str
    records: tuple[Record, ...]
    index: tuple[Mapping[str, Any], ...] = field(default=())  # on a remote: the index files that it brings

    def record_id(self, position: int) -> str:
        """What names one record for ever: pushed records keep the id of the entry they were made in."""
        return str(self.records[position].get("id") or f"{self.op}.{position}")


def encode_entry(entry: LogEntry) -> bytes:
    """Return the bytes of *entry*; the caller keeps within MAX_BYTES and MAX_RECORDS."""
    body: dict[str, Any] = {
        "format": FORMAT,
        "n": entry.n,
        "op": entry.op,
        "repository": entry.repository,
        "before": entry.before,
        "author": entry.author,
        "time": entry.time,
        "command": entry.command,
        "records": list(entry.records),
    }
    if entry.index:
        body["index"] = list(entry.index)
    body["signature"] = None
    data = dump_json(body) + b"\n"
    if len(data) > MAX_BYTES or len(entry.records) > MAX_RECORDS:
        raise BadLogEntry(f"log entry {entry.n} would be larger than an entry may be", hint="do it in smaller steps")
    return data


def entry_digest(data: bytes) -> Digest:
    """The digest by which the next entry names this one."""
    return blake3(data).hexdigest()


def decode_entry(data: bytes, n: int) -> LogEntry:
    """Return entry *n* from its bytes, which may come from anywhere.

    Raises BadLogEntry if they break the format, NewerFormat if a newer avc wrote them.
    """
    what = f"log entry {n}"
    body = parse_json(data, limit=MAX_BYTES, what=what, error=BadLogEntry)
    if not isinstance(body, dict):
        raise BadLogEntry(f"{what} is not an object")
    if type(body.get("format")) is not int or body["format"] != FORMAT:  # True == 1 == 1.0
        raise NewerFormat(what, f"log format {str(body.get('format'))[:20]}")
    _expect(what, type(body.get("n")) is int and body["n"] == n, "its number is not the one of its file")
    for name in ("op", "repository"):
        _expect(what, isinstance(body.get(name), str) and _ID.fullmatch(body[name]), f"bad '{name}'")
    before = body.get("before")
    _expect(what, (before is None) == (n == 0) and (before is None or is_digest(before)), "bad 'before'")
    for name in ("author", "command"):
        _expect(what, isinstance(body.get(name), str) and len(body[name]) <= 4096, f"bad '{name}'")
    _expect(what, isinstance(body.get("time"), str) and _TIME.fullmatch(body["time"]), "bad 'time'")
    records: Any = body.get("records")
    _expect(what, isinstance(records, list) and len(records) <= MAX_RECORDS, "bad 'records'")
    for record in records:
        check_record(record, what)
    index = body.get("index", [])
    _expect(what, isinstance(index, list) and len(index) <= 100, "bad 'index'")
    for row in index:
        _expect(what, isinstance(row, dict) and is_stored_name(row.get("id")), "bad 'index'")
        _expect(what, is_digest(row.get("digest")) and _count(row.get("size")), "bad 'index'")
        _expect(what, row["size"] <= MAX_INDEX_BYTES, "an index file that is too large")
        replaced = row.get("replaces", [])
        _expect(what, isinstance(replaced, list) and len(replaced) <= MAX_REPLACED, "bad 'replaces'")
        _expect(what, all(map(is_stored_name, replaced)) and row["id"] not in replaced, "bad 'replaces'")
    return LogEntry(
        n, body["op"], body["repository"], before, body["author"], body["time"], body["command"],
        tuple(records), tuple(index),
    )  # fmt: skip


def is_stored_name(text: object) -> bool:
    """Whether *text* may name a stored file on a remote: a fixed pattern, never climbing (protocol H3)."""
    return isinstance(text, str) and _STORED.fullmatch(text) is not None and ".." not in text


def _expect(what: str, holds: object, fault: str) -> None:
    if not holds:
        raise BadLogEntry(f"{what} is damaged: {fault}")


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


_STRINGS: Final = ("alias", "draft", "run", "name", "reason", "created", "author", "time", "id", "remote")


def check_record(record: object, what: str) -> None:
    """Refuse a record whose fields are not of their kind; unknown kinds only if marked optional."""
    _expect(what, isinstance(record, dict) and isinstance(record.get("kind"), str), "a record without a kind")
    assert isinstance(record, dict)
    kind = record["kind"]
    if kind not in KINDS:
        if record.get("optional") is True:
            return
        raise NewerFormat(what, f"records of kind '{str(kind)[:40]}'")
    if "artifact" in record:
        _expect(what, isinstance(record["artifact"], str) and _ID.fullmatch(record["artifact"]), "bad artifact id")
    if record.get("digest") is not None:
        _expect(what, is_digest(record["digest"]), "bad digest")
    for name in ("made", "undoes", "back"):
        if name in record:
            _expect(what, isinstance(record[name], str) and _ID.fullmatch(record[name]), f"bad '{name}'")
    for name in _STRINGS:
        if name in record:
            _expect(what, isinstance(record[name], str) and len(record[name]) <= 1024, f"bad '{name}'")
    for name in ("number", "count", "size", "from", "to"):
        if name in record:
            _expect(what, _count(record[name]), f"bad '{name}'")
    for name in ("set", "was"):
        if name in record:
            _expect(what, isinstance(record[name], dict), f"bad '{name}'")
    for name in ("add", "remove", "tags", "files", *(("index",) if kind == "condemn" else ())):
        if name in record:
            value = record[name]
            _expect(what, isinstance(value, list) and all(isinstance(v, str) for v in value), f"bad '{name}'")
    for name in ("description", "metadata", "sources", "base", "details", "metrics"):
        for holder in (record, record.get("set", {}), record.get("was", {})):
            if holder.get(name) is not None:
                _expect(what, is_digest(holder[name]), f"bad '{name}'")
    for name in ("used", "produced"):
        _expect(what, isinstance(record.get(name, []), list), f"bad '{name}'")
        for item in record.get(name, ()):
            known = isinstance(item, dict) and is_digest(item.get("digest")) and isinstance(item.get("artifact"), str)
            _expect(what, known and _ID.fullmatch(item["artifact"]), f"bad '{name}'")
    if kind == "finish":
        taken, known = record.get("taken", {}), record.get("runs", {})
        _expect(what, isinstance(taken, dict) and all(map(_count, taken.values())), "bad 'taken'")
        _expect(what, all(map(RUN_ID.fullmatch, taken)), "bad 'taken'")
        _expect(what, isinstance(known, dict) and all(map(RUN_ID.fullmatch, known)), "bad 'runs'")
        for fields in known.values():
            whole = isinstance(fields, dict) and all(isinstance(v, str) and len(v) <= 1024 for v in fields.values())
            _expect(what, whole, "bad 'runs'")
    _check_names(record, what)


def _check_names(record: Record, what: str) -> None:
    """The names that a record would give to things obey the rules for names (protocol H1, H3)."""
    from artifactvc.core import names
    from artifactvc.errors import BadName

    changed = record.get("set", {})
    try:
        if record["kind"] == "artifact":
            if "name" in changed:
                names.check_artifact_name(changed["name"])
            if "project" in changed:
                names.check_project(changed["project"])
            if "type" in changed:
                _expect(what, isinstance(changed["type"], str) and 1 <= len(changed["type"]) <= 128, "bad 'type'")
            if "joins" in changed:
                _expect(what, isinstance(changed["joins"], str) and _ID.fullmatch(changed["joins"]), "bad 'joins'")
        elif record["kind"] == "draft":
            for name in ("state", "project", "name", "type", "distributed_id"):
                value = changed.get(name, "")
                _expect(what, isinstance(value, str) and len(value) <= 1024, f"bad '{name}'")
            _expect(what, _count(changed.get("generation", 0)), "bad 'generation'")
        elif record["kind"] == "alias":
            names.check_alias(record.get("alias", ""))
            digest = changed.get("digest")
            _expect(what, digest is None or is_digest(digest), "bad digest")
        elif record["kind"] == "retention":
            if "project" in record:
                names.check_project(record["project"])
        elif record["kind"] == "condemn":
            given = (*record.get("files", ()), *record.get("index", ()))
            _expect(what, all(map(is_stored_name, given)), "bad file name")
        tagged = record["kind"] in ("tag", "version", "artifact")
        for tag in (*record.get("tags", ()), *record.get("add", ())) if tagged else ():
            names.check_tag(tag)
    except (BadName, TypeError) as error:
        raise BadLogEntry(f"{what} is damaged: {error}") from error
