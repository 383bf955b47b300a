"""Who may change times to live: the setting ``ttl.editors`` of the log, honoured by every client.

A list of identities, or nothing for anyone. A record of somebody who is not in the list where
the record stands has no effect, the same in every clone; its author is that of the entry in
which it was made, which a pushed record keeps. It is a courtesy between honest clients: whoever
may write to a bucket can write any author (protocol H5).
"""

from __future__ import annotations

import json
from typing import Any, Final

from artifactvc.core.entries import Record
from artifactvc.core.identity import parse_identity
from artifactvc.core.policy import ROW, policy_row
from artifactvc.core.retention import DEFAULT_SETTING, EDITORS_SETTING, is_ttl
from artifactvc.core.rows import Context, NoEffect, Row, Rows, live_version, resolve

#: Editors that a list may name: each record about times to live is held against all of them (protocol H2).
MOST_EDITORS: Final = 100
#: Editors that are named before people; of more it is said how many.
_NAMED: Final = 5
_LONGEST: Final = 500  # characters of one, which is a name and an email of 200 at most


def editors(rows: Rows) -> tuple[str, ...] | None:
    """The identities that may change times to live; None for anyone."""
    row = rows.get("setting", EDITORS_SETTING)
    value = json.loads(row["value"]) if row and row["value"] else None
    return None if value is None else tuple(value)


def may_edit(rows: Rows, author: str) -> bool:
    """Whether *author* may change times to live."""
    listed = editors(rows)
    return listed is None or any(map(parse_identity(author).is_named, listed))


def only(listed: tuple[str, ...]) -> str:
    """Who may, in words."""
    named = ", ".join(f"'{who}'" for who in listed[:_NAMED])
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return f"only {named}{more} may change times to live ({EDITORS_SETTING})"


def _require_editor(rows: Rows, author: str) -> None:
    if not may_edit(rows, author):
        raise NoEffect(only(editors(rows) or ()))


def apply_ttl(rows: Rows, record: Record, context: Context) -> None:
    """A version's own time to live is set or taken away."""
    artifact = resolve(rows, record["artifact"])
    if artifact is None:
        raise NoEffect("its artifact is not known")
    version = live_version(rows, artifact["id"], record["digest"])
    if version is None:
        raise NoEffect("its version is not there, or is deleted")
    _require_editor(rows, context.author)
    ttl = record.get("set", {}).get("ttl")
    if not is_ttl(ttl):
        raise NoEffect("it is no time to live")
    rows.put("version", {**version, "ttl": ttl})


def ttl_of_new(rows: Rows, record: Record, context: Context) -> str | None:
    """The time to live with which a version begins; one that cannot be is left out, and noted as without effect."""
    ttl = record.get("ttl")
    if ttl is None:
        return None
    try:
        _require_editor(rows, context.author)
        if not is_ttl(ttl):
            raise NoEffect("it is no time to live")
    except NoEffect as reason:
        key = ttl_key(context.record)
        rows.put("conflict", {"record": key, "source": context.source, "n": context.n, "reason": str(reason)})
        return None
    return str(ttl)


def ttl_key(record_id: str) -> str:
    """How the time to live of a version's record stands in ``conflict``: the version itself came to be."""
    return f"{record_id}:ttl"


def apply_retention(rows: Rows, record: Record, context: Context) -> None:
    """The retention policy of an artifact, or the default of a project; changed by editors alone, too."""
    if record.get("artifact") is None and not record.get("project"):
        raise NoEffect("it does not say of which artifact or project")
    artifact = resolve(rows, record["artifact"]) if record.get("artifact") is not None else None
    if artifact is None and record.get("artifact") is not None:
        raise NoEffect("its artifact is not known")
    _require_editor(rows, context.author)
    policy = record.get("set", {}).get("policy")
    if policy is not None and not isinstance(policy, dict):
        raise NoEffect("its policy is none")
    name = policy_row(artifact["id"] if artifact else None, record.get("project"))
    rows.put("setting", {"name": name, "value": json.dumps(policy)})


def apply_setting(rows: Rows, record: Record, context: Context) -> None:
    """A setting of the log; those of times to live are changed by editors alone."""
    name, value = record["name"], record.get("set", {}).get("value")
    if name.startswith(ROW):
        raise NoEffect("a policy is no setting")
    if is_of_ttl(name):
        _require_editor(rows, context.author)
        if name == EDITORS_SETTING and not _is_list(value):
            raise NoEffect("its value is no list of identities")
        if name != EDITORS_SETTING and not is_ttl(value):
            raise NoEffect("its value is no time to live")
    row: Row = {"name": name, "value": json.dumps(value)}
    rows.put("setting", row)


def is_of_ttl(name: str) -> bool:
    """Whether a setting of the log is about times to live."""
    return name == EDITORS_SETTING or name.partition(":")[0] == DEFAULT_SETTING


def _is_list(value: Any) -> bool:
    """Nothing, for anyone; or who may, at least one, for an empty list could never be changed again."""
    if value is None:
        return True
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_EDITORS:
        return False
    return all(isinstance(who, str) and who.strip() and len(who) <= _LONGEST for who in value)
