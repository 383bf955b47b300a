"""What each record of a log does to the tables of names: one total function (protocol N1).

``apply_entry`` takes records in log order and changes rows through the small ``Rows``
contract, which ``storage/rows.py`` keeps in SQLite and the tests also keep in plain
dictionaries. The same records in the same order give the same rows in every clone.
A record that cannot apply has no effect and leaves a row in ``conflict``.

Two kinds of source: *final* is the log that gives numbers (origin's, or the local one
where there is no remote): a version record there holds its number. Otherwise the
number is provisional: what the record wishes for, or the next free one (protocol N2).
"""

from __future__ import annotations

from typing import Any, Final

from artifactvc.core.draft_records import apply_draft, apply_finish
from artifactvc.core.editors import apply_retention, apply_setting, apply_ttl, ttl_of_new
from artifactvc.core.entries import LogEntry, Record
from artifactvc.core.latest import note_stood, stood_before
from artifactvc.core.rows import Context, NoEffect, Row, Rows, live_version, resolve

__all__ = [
    "Context", "NoEffect", "Row", "Rows", "apply_entry", "apply_record", "condemned_index", "folded", "holder",
    "live_version", "name_row", "needed_objects", "note_operation", "resolve",
]  # fmt: skip


def apply_entry(rows: Rows, entry: LogEntry, source: str, *, final: bool, provisional: bool = False) -> None:
    """Apply every record of *entry*, in order, and note the operation."""
    note_operation(rows, entry, source)
    for position in range(len(entry.records)):
        apply_record(rows, entry, position, source, final=final, provisional=provisional)


def note_operation(rows: Rows, entry: LogEntry, source: str) -> None:
    """Keep who did what and when: the rows of the operation log."""
    rows.put("operation", {
        "op": f"{source}/{entry.op}", "source": source, "n": entry.n, "at": entry.time, "author": entry.author,
        "command": entry.command,
    })  # fmt: skip


def apply_record(
    rows: Rows, entry: LogEntry, position: int, source: str, *, final: bool, provisional: bool = False
) -> None:
    """Apply one record; if it cannot apply, say so in ``conflict`` and change nothing else."""
    record = entry.records[position]
    action = _ACTIONS.get(record["kind"])
    if action is None:
        return  # an optional record of a newer format, or one that only informs
    try:
        _check_fit(record)
        action(rows, record, Context(entry, position, source, final=final, provisional=provisional))
    except NoEffect as reason:
        record_id = entry.record_id(position)
        rows.put("conflict", {"record": record_id, "source": source, "n": entry.n, "reason": str(reason)})


#: Fields without which a record of a kind says nothing; ``set.x`` stands in what it sets.
_NEEDED: Final[dict[str, tuple[str, ...]]] = {
    "artifact": ("artifact",), "version": ("artifact", "digest"), "alias": ("artifact", "alias"),
    "tag": ("artifact", "digest"), "delete": ("artifact",), "restore": ("artifact",),
    "ttl": ("artifact", "digest"), "run": ("run",), "setting": ("name",), "draft": ("draft",), "finish": ("draft",),
    "renumbered": ("artifact", "digest", "from", "to"),
}  # fmt: skip


def _check_fit(record: Record) -> None:
    """Raise NoEffect for a record that lacks what it is about, or whose values no row can hold: the fold is total."""
    absent = [name for name in _NEEDED.get(record["kind"], ()) if record.get(name) is None]
    if absent:
        raise NoEffect(f"it does not say '{absent[0]}'")
    changed = record.get("set")
    for held in (record, changed if isinstance(changed, dict) else {}):
        for name, wanted in _SCALARS.items():
            value = held.get(name)
            if value is None:
                continue
            if not isinstance(value, wanted) or isinstance(value, bool):
                raise NoEffect(f"its '{name}' is of another kind")
            if isinstance(value, str) and not value.isascii() and not _utf8(value):
                raise NoEffect(f"its '{name}' is not UTF-8")


#: What the fields that become columns hold; fields that are not known here are a newer avc's, and passed over.
_SCALARS: Final[dict[str, type]] = {
    **dict.fromkeys((
        "kind", "artifact", "digest", "alias", "draft", "run", "name", "reason", "created", "author", "time", "id",
        "remote", "made", "undoes", "back", "project", "type",
        "joins", "description", "metadata", "sources", "base", "ttl", "state", "job_type", "group",
        "ended", "host", "details", "metrics", "link", "distributed_id",
    ), str),
    **dict.fromkeys(("number", "count", "size", "from", "to", "exit_code", "generation"), int),
}  # fmt: skip


def _utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# ---- looking up --------------------------------------------------------------------------


def _artifact(rows: Rows, record: Record) -> Row:
    row = resolve(rows, record["artifact"])
    if row is None:
        raise NoEffect("its artifact is not known")
    return row


def _live(rows: Rows, artifact: str, digest: str | None) -> Row:
    version = live_version(rows, artifact, digest) if digest else None
    if version is None:
        raise NoEffect("its version is not there, or is deleted")
    return version


def folded(name: str) -> str:
    """Names that differ only in case are one name (design, section 1)."""
    return name.lower()


def name_row(rows: Rows, project: str, name: str) -> Row:
    """The life of a name: who has it now, and the next number it may give."""
    return rows.get("name", project, folded(name)) or {
        "project": project, "folded": folded(name), "name": name, "artifact": None, "next": 0,
    }  # fmt: skip


def holder(rows: Rows, project: str, name: str) -> Row | None:
    """The living artifact that has this name (in any case), or None."""
    owner = name_row(rows, project, name)["artifact"]
    row = rows.get("artifact", owner) if owner else None
    if row is None or row["deleted"] or row["joins"] or folded(row["name"]) != folded(name):
        return None
    return row


# ---- artifacts -----------------------------------------------------------------------------


def _apply_artifact(rows: Rows, record: Record, context: Context) -> None:
    changes = record.get("set", {})
    row = rows.get("artifact", record["artifact"])
    if "joins" in changes:
        _join(rows, record["artifact"], changes["joins"], context)
    elif row is None:
        _create_artifact(rows, record["artifact"], changes, context)
    else:
        row = _artifact(rows, record)
        if "name" in changes:
            _rename(rows, row, record, context)
        if "description" in changes:
            row = {**row, "description": changes["description"]}
            rows.put("artifact", row)
        if record.get("add") or record.get("remove"):
            _tag_artifact(rows, row, record)


def _create_artifact(rows: Rows, artifact: str, changes: Row, context: Context) -> None:
    project, name = changes.get("project"), changes.get("name")
    if not project or not name or not changes.get("type"):
        raise NoEffect("an artifact without project, name and type")
    life = name_row(rows, project, name)
    if holder(rows, project, name) is not None:
        if context.final:
            raise NoEffect(f"the name '{name}' belongs to another artifact")
        # Unpushed work keeps its versions under a name of its own until it is joined or renamed.
        name = f"{name[:120]}-{artifact[:6]}"
        life = name_row(rows, project, name)
    rows.put("name", {**life, "name": name, "artifact": artifact})
    rows.put("artifact", {
        "id": artifact, "project": project, "name": name, "type": changes["type"],
        "description": changes.get("description"), "created": context.time, "deleted": 0, "joins": None,
    })  # fmt: skip


def _tag_artifact(rows: Rows, row: Row, record: Record) -> None:
    import json

    tags = {*json.loads(row["tags"] or "[]"), *record.get("add", ())} - set(record.get("remove", ()))
    rows.put("artifact", {**row, "tags": json.dumps(sorted(tags)) if tags else None})


def _rename(rows: Rows, row: Row, record: Record, context: Context) -> None:
    new, project = record["set"]["name"], row["project"]
    if record.get("was", {}).get("name", row["name"]) != row["name"]:
        raise NoEffect("it was renamed meanwhile")
    life, own = name_row(rows, project, new), name_row(rows, project, row["name"])
    if folded(new) != folded(row["name"]) and life["artifact"] not in (None, row["id"]):
        raise NoEffect(f"the name '{new}' belongs, or belonged, to another artifact")
    rows.put("name", {**life, "name": new, "artifact": row["id"], "next": max(life["next"], own["next"])})
    row["name"] = new
    rows.put("artifact", row)


def _join(rows: Rows, artifact: str, target: str, context: Context) -> None:
    """Unpushed versions of one artifact become versions of another (``push --join``)."""
    joined = resolve(rows, target)
    if joined is None or joined["deleted"] or joined["id"] == artifact:
        raise NoEffect("the artifact to join is not known")
    row = rows.get("artifact", artifact) or {"id": artifact, "created": context.time, "deleted": 0}
    rows.put("artifact", {**row, "joins": joined["id"]})
    for version in rows.find("version", artifact=artifact):
        rows.drop("version", artifact, version["number"])
        if live_version(rows, joined["id"], version["digest"]) is None:
            number = _next_number(rows, joined)
            rows.put("version", {**version, "artifact": joined["id"], "number": number})
    for table in ("alias", "tag", "produced", "used"):
        for held in rows.find(table, artifact=artifact):
            rows.drop(table, artifact, *list(held.values())[1 : 2 if table == "alias" else 3])
            rows.put(table, {**held, "artifact": joined["id"]})


def _next_number(rows: Rows, artifact: Row, wish: int = 0) -> int:
    """Take the next free number of the artifact's name, at least *wish* (protocol N3)."""
    life = name_row(rows, artifact["project"], artifact["name"])
    number: int = max(life["next"], wish)
    rows.put("name", {**life, "artifact": artifact["id"], "next": number + 1})
    return number


# ---- versions ------------------------------------------------------------------------------


def _apply_version(rows: Rows, record: Record, context: Context) -> None:
    artifact = _artifact(rows, record)
    if "set" in record:
        version = _live(rows, artifact["id"], record.get("digest"))
        changes = {k: v for k, v in record["set"].items() if k in ("description", "metadata", "sources")}
        rows.put("version", {**version, **changes})
        return
    digest = record.get("digest")
    if digest is None:
        raise NoEffect("a version without content")
    if artifact["deleted"]:
        _revive(rows, artifact)
    if live_version(rows, artifact["id"], digest) is None:
        _create_version(rows, artifact, record, context)
    _add_tags(rows, artifact["id"], digest, record.get("tags", ()))
    if record.get("run"):
        rows.put("produced", {"artifact": artifact["id"], "digest": digest, "run": record["run"], "at": context.time})
    note_stood(rows, artifact["id"], digest, context)
    _point(rows, artifact["id"], "latest", digest, context)


#: What a version is made with, besides what people attach to it later.
_MADE_WITH: Final = ("count", "size", "description", "metadata", "sources", "base", "link")


def _create_version(rows: Rows, artifact: Row, record: Record, context: Context) -> None:
    ended = rows.find("version", artifact=artifact["id"], digest=record["digest"]) if "count" not in record else []
    if ended:  # it was live where the record was made, which therefore says nothing else of it
        record = {**{name: ended[-1][name] for name in _MADE_WITH if ended[-1][name] is not None}, **record}
    wish = record.get("number", 0)
    if context.final and wish < name_row(rows, artifact["project"], artifact["name"])["next"]:
        raise NoEffect(f"the number v{wish} was given before")
    number = _next_number(rows, artifact, wish)
    if number != wish:
        rows.put("moved", {
            "artifact": artifact["id"], "number": wish, "digest": record["digest"], "to": number, "at": context.time,
        })  # fmt: skip
    rows.put("version", {
        "artifact": artifact["id"], "number": number, "digest": record["digest"], "live": 1,
        "provisional": int(context.provisional), "created": record.get("created", context.time),
        "author": record.get("author", context.author), "description": record.get("description"),
        "metadata": record.get("metadata"), "sources": record.get("sources"),
        "count": record.get("count", 0), "size": record.get("size", 0),
        "base": record.get("base"), "ttl": ttl_of_new(rows, record, context), "op": context.op,
        "link": record.get("link"),
    })  # fmt: skip


def _add_tags(rows: Rows, artifact: str, digest: str, tags: Any) -> None:
    for tag in tags:
        rows.put("tag", {"artifact": artifact, "digest": digest, "tag": tag})


def _point(rows: Rows, artifact: str, alias: str, digest: str, context: Context) -> None:
    rows.put("alias", {
        "artifact": artifact, "alias": alias, "digest": digest, "moved_at": context.time,
        "moved_by": context.author, "op": context.op,
    })  # fmt: skip


def _apply_alias(rows: Rows, record: Record, context: Context) -> None:
    artifact = _artifact(rows, record)
    digest = record.get("set", {}).get("digest")
    if record.get("back"):
        held = rows.get("alias", artifact["id"], record["alias"])
        version = live_version(rows, artifact["id"], held["digest"]) if held else None
        if version is None or version["digest"] != record.get("was", {}).get("digest"):
            raise NoEffect(f"'{record['alias']}' was moved meanwhile")
        digest = stood_before(rows, version, record["back"])
    if digest is None:
        rows.drop("alias", artifact["id"], record["alias"])
    else:
        _live(rows, artifact["id"], digest)
        _point(rows, artifact["id"], record["alias"], digest, context)


def _apply_tag(rows: Rows, record: Record, context: Context) -> None:
    artifact = _artifact(rows, record)
    version = _live(rows, artifact["id"], record.get("digest"))
    _add_tags(rows, artifact["id"], version["digest"], record.get("add", ()))
    for tag in record.get("remove", ()):
        rows.drop("tag", artifact["id"], version["digest"], tag)


def _apply_delete(rows: Rows, record: Record, context: Context) -> None:
    artifact, made = _artifact(rows, record), record.get("made")
    if record.get("digest") is None:
        live = [v for v in rows.find("version", artifact=artifact["id"]) if v["live"]]
        if made and live:
            raise NoEffect("it has a version that others made")
        for version in live:
            _end(rows, version, record, context)
        rows.put("artifact", {**artifact, "deleted": 1})
        return
    version = _live(rows, artifact["id"], record["digest"])
    if made and version["op"] != made:
        raise NoEffect("others made the same content a version")
    held = rows.get("alias", artifact["id"], "latest")
    _end(rows, version, record, context)
    if made and held is not None and held["digest"] == version["digest"]:
        back = stood_before(rows, version, made)
        if back is not None:
            _point(rows, artifact["id"], "latest", back, context)


def _end(rows: Rows, version: Row, record: Record, context: Context) -> None:
    rows.put("version", {**version, "live": 0, "deleted_at": context.time, "reason": record.get("reason") or "deleted"})
    for alias in rows.find("alias", artifact=version["artifact"], digest=version["digest"]):
        rows.drop("alias", alias["artifact"], alias["alias"])


def _apply_restore(rows: Rows, record: Record, context: Context) -> None:
    artifact = _artifact(rows, record)
    digest = record.get("digest")
    if digest is None and not artifact["deleted"]:
        raise NoEffect("its artifact is not deleted")
    if digest is None:
        _revive(rows, artifact)
        return
    ended = [v for v in rows.find("version", artifact=artifact["id"], digest=digest) if not v["live"]]
    if not ended or live_version(rows, artifact["id"], str(digest)) is not None:
        raise NoEffect("there is nothing to restore, or its content is live under another number")
    if artifact["deleted"]:
        _revive(rows, artifact)
    named = [v for v in ended if v["number"] == record.get("number")]
    version = (named or ended)[-1]
    rows.put("version", {**version, "live": 1, "deleted_at": None, "reason": None})


def _revive(rows: Rows, artifact: Row) -> None:
    """A deleted artifact has its name again, if nobody else has it."""
    if holder(rows, artifact["project"], artifact["name"]) is not None:
        raise NoEffect(f"the name '{artifact['name']}' belongs to another artifact")
    life = name_row(rows, artifact["project"], artifact["name"])
    rows.put("name", {**life, "artifact": artifact["id"]})
    rows.put("artifact", {**artifact, "deleted": 0})


# ---- runs, drafts, the rest ------------------------------------------------------------------

_RUN_FIELDS: Final = (
    "project", "name", "job_type", "group", "state", "created", "ended", "host", "details", "exit_code", "metrics",
)  # fmt: skip


def _apply_run(rows: Rows, record: Record, context: Context) -> None:
    run = record.get("run")
    if not run:
        raise NoEffect("a run without an id")
    row = rows.get("run", run) or {"id": run, "created": context.time, "author": context.author, "state": "running"}
    rows.put("run", {**row, **{k: v for k, v in record.get("set", {}).items() if k in _RUN_FIELDS}})
    for table in ("used", "produced"):
        for item in record.get(table, ()):
            artifact = resolve(rows, item["artifact"])
            held = item["artifact"] if artifact is None else artifact["id"]
            if rows.get(table, held, item["digest"], run) is None:
                rows.put(table, {"artifact": held, "digest": item["digest"], "run": run, "at": context.time})


def _apply_renumbered(rows: Rows, record: Record, context: Context) -> None:
    artifact = _artifact(rows, record)
    rows.put("moved", {
        "artifact": artifact["id"], "number": record["from"], "digest": record["digest"], "to": record["to"],
        "at": context.time,
    })  # fmt: skip


def _apply_condemn(rows: Rows, record: Record, context: Context) -> None:
    files = [*record.get("files", ()), *map(condemned_index, record.get("index", ()))]
    for file in files:
        if rows.get("condemned", file) is None:  # the first condemnation is the one that ages
            rows.put("condemned", {"file": file, "entry": context.n, "at": context.time})


def condemned_index(index_id: str) -> str:
    """How a condemned index file stands in the table ``condemned``: no stored file is called so."""
    return f"index:{index_id}"


_ACTIONS: Final = {
    "artifact": _apply_artifact, "version": _apply_version, "alias": _apply_alias, "tag": _apply_tag,
    "ttl": apply_ttl, "delete": _apply_delete, "restore": _apply_restore, "run": _apply_run,
    "retention": apply_retention, "setting": apply_setting, "draft": apply_draft, "finish": apply_finish,
    "renumbered": _apply_renumbered, "condemn": _apply_condemn,
}  # fmt: skip


#: Fields by which a record names a small object.
NAMED: Final = ("description", "metadata", "sources", "details", "metrics")


def needed_objects(record: Record) -> list[str]:
    """Digests of the objects that *record* itself names and that are no manifests: descriptions and the like."""
    holders = (record, record.get("set") or {})
    return [h[n] for h in holders for n in NAMED if isinstance(h.get(n), str) and len(h[n]) == 64]
