"""What was done here, newest first: the entries of the local log, and which of them were taken back.

An undo names the operation that it takes back in each of its records (``undoes``), so that
also a pushed one says so. An entry is *undone* while an undo of it stands that was not
undone itself. All of this reads entries from the end of the log: what it costs follows how
far one looks back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from artifactvc.core import names
from artifactvc.core.entries import LogEntry, Record, decode_entry
from artifactvc.core.inverse import can_undo, undone_op
from artifactvc.core.policy import policy_words
from artifactvc.core.records import Row, resolve
from artifactvc.core.results import Operation
from artifactvc.core.retention import setting_words, value_words
from artifactvc.errors import BadName, Corrupt, UnknownOperation
from artifactvc.ops.session import Session
from artifactvc.storage.index import LOCAL

#: Digits of an operation's id that people are shown, and at least have to give.
SHOWN: Final = 12
_PREFIX: Final = re.compile(r"[0-9a-f]{7,32}")
_TOLD: Final = 2


class Step(NamedTuple):
    """One entry of the local log on the way back: ``undone_by`` is the undo of it that stands."""

    entry: LogEntry
    undone_by: str | None
    depth: int  # 0: done by itself; 1: an undo; 2: an undo of an undo, hence done again; …
    original: LogEntry  # what all of that is about

    @property
    def does(self) -> bool:
        """Whether it does something, rather than taking something back."""
        return self.depth % 2 == 0


def steps(session: Session) -> Iterator[Step]:
    """Every entry of the local log, newest first."""
    n, _ = session.index.head(LOCAL)
    undone: dict[str, str] = {}
    for number in range(n, -1, -1):
        entry = _read(session, number)
        by, target = undone.pop(entry.op, None), undone_op(entry)
        if target is not None and by is None:
            undone.setdefault(target, entry.op)
        yield Step(entry, by, *_origin_of(session, entry))


def _read(session: Session, n: int) -> LogEntry:
    data = session.avc.log.data(n)
    if data is None:
        raise Corrupt(f"entry {n} of the log is gone", hint="run 'avc fsck'")
    return decode_entry(data, n)


def _origin_of(session: Session, entry: LogEntry) -> tuple[int, LogEntry]:
    depth = 0
    while (target := undone_op(entry)) is not None:
        row = session.index.rows.get("operation", f"{LOCAL}/{target}")
        if row is None or row["n"] >= entry.n:
            break
        entry, depth = _read(session, row["n"]), depth + 1
    return depth, entry


def operation_id(session: Session, text: str) -> str:
    """The operation whose id begins with *text*, at least 7 digits; BadName, UnknownOperation."""
    if not _PREFIX.fullmatch(text.lower()):
        raise BadName(
            f"'{text[:80]}' is no operation", hint="give 7 or more digits of its id, as 'avc op log' shows it"
        )
    begun = f"{LOCAL}/{text.lower()}"
    found = session.index.connection.execute(
        "SELECT op FROM operation WHERE op >= ? AND op < ? LIMIT 2", (begun, f"{begun}g")
    ).fetchall()
    if not found:
        elsewhere = session.index.connection.execute(
            "SELECT source FROM operation WHERE op >= ? AND op < ?",
            (f"origin/{text.lower()}", f"origin/{text.lower()}g"),
        ).fetchone()
        raise UnknownOperation(text, elsewhere=elsewhere is not None)
    if len(found) > 1:
        raise BadName(f"'{text}' begins the id of several operations", hint="give more digits")
    return str(found[0][0]).partition("/")[2]


def listing(session: Session, limit: int | None = None) -> Iterator[Operation]:
    """What ``op log`` shows, newest first, at most *limit*."""
    for step in islice(steps(session), limit):
        entry = step.entry
        yield Operation(
            entry.op, entry.n, entry.time, entry.author, entry.command, summary(session, step),
            _where(session, entry), can_undo(entry) and step.undone_by is None, step.undone_by, undone_op(entry),
        )  # fmt: skip


def pushed(session: Session, entry: LogEntry) -> frozenset[int]:
    """The positions of the records that origin's log holds."""
    if session.avc.origin is None:
        return frozenset()
    rows = session.index.rows
    return frozenset(i for i in range(len(entry.records)) if rows.get("landed", entry.record_id(i)) is not None)


def _where(session: Session, entry: LogEntry) -> str:
    there, origin = pushed(session, entry), session.avc.origin
    if not there or origin is None:
        return "here"
    return origin if len(there) == len(entry.records) else f"partly {origin}"


# ---- in words --------------------------------------------------------------------------------


def summary(session: Session, step: Step) -> str:
    """One line of what an entry did, with the names that things have today."""
    text = told(session, step.entry.records)
    target = undone_op(step.entry)
    if target is None:
        return text
    verb = "did again" if step.does else "took back"
    return f"{verb} {step.original.op[:SHOWN]} ({step.original.command}): {text}"


def told(session: Session, records: tuple[Record, ...] | list[Record]) -> str:
    """The first of *records* in words, and how many more there are."""
    lines = list(dict.fromkeys(line for record in records if (line := in_words(session, record))))
    more = f" and {len(lines) - _TOLD} more" if len(lines) > _TOLD else ""
    return ", ".join(lines[:_TOLD]) + more or "nothing that has a name"


def in_words(session: Session, record: Record) -> str:
    """What one record does; empty for one that only goes with another."""
    kind, changes = record["kind"], record.get("set", {})
    words = _WORDS.get(kind)
    if words is None:
        return ""
    artifact = resolve(session.index.rows, record["artifact"]) if "artifact" in record else None
    name = f"{artifact['project']}/{artifact['name']}" if artifact else "an artifact"
    version = _version_name(session, artifact, name, record.get("digest") or changes.get("digest"))
    return words(record, changes, name, version)


def _version_name(session: Session, artifact: Row | None, name: str, digest: str | None) -> str:
    found = session.index.rows.find("version", artifact=artifact["id"], digest=digest) if artifact and digest else []
    row = next((v for v in found if v["live"]), found[-1] if found else None)
    if row is None:
        return f"{name}@{digest[:SHOWN]}" if digest else name
    return f"{name}:{names.shown_number(row['number'], provisional=bool(row['provisional']))}"


def _artifact_words(record: Record, changes: Record, name: str, version: str) -> str:
    if "project" in changes:
        return ""  # it comes with its first version
    if "name" in changes:
        return f"renamed '{record.get('was', {}).get('name')}' to '{changes['name']}'"
    return f"edited {name}" if changes or record.get("add") or record.get("remove") else ""


def _version_words(record: Record, changes: Record, name: str, version: str) -> str:
    return f"edited {version}" if changes else f"made {version}" if "number" in record else f"returned {version}"


def _alias_words(record: Record, changes: Record, name: str, version: str) -> str:
    if record.get("back"):
        return f"put '{record['alias']}' of {name} back"
    return (
        f"pointed '{record['alias']}' at {version}" if changes.get("digest") else f"took '{record['alias']}' off {name}"
    )


def _tag_words(record: Record, changes: Record, name: str, version: str) -> str:
    parts = [f"tagged {version} with {', '.join(record['add'])}"] if record.get("add") else []
    parts += [f"took {', '.join(record['remove'])} off {version}"] if record.get("remove") else []
    return ", ".join(parts)


def _draft_words(record: Record, changes: Record, name: str, version: str) -> str:
    built = changes.get("distributed_id") or record["draft"][:SHOWN]
    return f"gave up '{built}'" if changes.get("state") == "abandoned" else f"began '{built}', built by many"


_WORDS: Final[dict[str, Callable[[Record, Record, str, str], str]]] = {
    "artifact": _artifact_words,
    "version": _version_words,
    "alias": _alias_words,
    "tag": _tag_words,
    "draft": _draft_words,
    "delete": lambda record, changes, name, version: f"deleted {version}",
    "restore": lambda record, changes, name, version: f"restored {version}",
    "finish": lambda record, changes, name, version: f"finished {version}",
    "ttl": lambda record, changes, name, version: (
        f"set the time to live of {version} to {changes.get('ttl') or 'the default'}"
    ),
    "retention": lambda record, changes, name, version: (
        f"set the retention policy of {name if 'artifact' in record else 'project ' + repr(record.get('project'))}"
        f" to: {policy_words(changes.get('policy'))}"
    ),
    "setting": lambda record, changes, name, version: (
        f"set {setting_words(record['name'])} to {value_words(record['name'], changes.get('value'))}"
    ),
    "run": lambda record, changes, name, version: f"recorded run {record['run']}",
    "renumbered": lambda record, changes, name, version: f"v{record['from']}~ of {name} is now v{record['to']}",
}
