"""The rules of the protocol, one by one taken out of the real code: without any of them something goes wrong.

Each function here gives the replacements that take out one rule and leave all others in.
They are made of the code's own functions, so that what is played without a rule is the
code as it is, but for that rule.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any
from unittest import mock

from artifactvc.core import records
from artifactvc.core.model import Digest
from artifactvc.core.retention import Candidate, over
from artifactvc.errors import OutcomeUnknown, RemoteUnavailable
from artifactvc.ops import cache, change, commit, draft_places, fetch, gc_remote, gc_survey, push
from artifactvc.ops.push_plan import _Planner
from artifactvc.storage.remote import Remote
from artifactvc.storage.remote_files import RemoteFiles
from artifactvc.util.text import parse_time

Replacement = tuple[object, str, object]


def gc_recheck() -> Iterable[Replacement]:
    """P1: a gc whose number was taken works out again what it condemns."""
    survey, condemn = gc_remote.take_survey, gc_remote._condemn
    under_way: dict[int, Any] = {}  # by session: the first survey, once it is made

    def stale(session: Any, remote: Remote, files: RemoteFiles) -> Any:
        if id(session) not in under_way:
            return survey(session, remote, files)
        if under_way[id(session)] is None:
            under_way[id(session)] = survey(session, remote, files)
        else:
            fetch.fetch(session, remote.name)
        return replace(under_way[id(session)], head=remote.head())

    def once(session: Any, *args: Any, **more: Any) -> Any:
        under_way[id(session)] = None
        try:
            return condemn(session, *args, **more)
        finally:
            del under_way[id(session)]

    return (gc_remote, "take_survey", stale), (gc_remote, "_condemn", once)


def names_all() -> Iterable[Replacement]:
    """P2: a pusher whose number was taken looks at every copy it relies on, not only at what it uploaded itself."""
    lacking = push.lacking
    looked: dict[int, object] = {}

    def own_only(session: Any, remote: Remote, plan: Any, stored: dict[Digest, Any]) -> dict[Digest, int]:
        found = lacking(session, remote, plan, stored)
        if looked.get(id(stored)) is stored:
            return {digest: size for digest, size in found.items() if digest in stored}
        looked[id(stored)] = stored
        return found

    return ((push, "lacking", own_only),)


def condemned_is_dead() -> Iterable[Replacement]:
    """P2, P4: a condemned copy is none, though its file is still there."""
    locate = Remote.locate

    def also_condemned(self: Remote, digests: Iterable[Digest]) -> dict[Digest, Any]:
        wanted = list(digests)
        return {**self.locate_condemned(wanted), **locate(self, wanted)}

    return ((Remote, "locate", also_condemned),)


def revive_check() -> Iterable[Replacement]:
    """P3: what a record makes live again needs copies, like what is new."""
    touch = _Planner._touch

    def not_restored(self: _Planner, record: Any) -> None:
        if record["kind"] != "restore":
            touch(self, record)

    return ((_Planner, "_touch", not_restored),)


def live_only() -> Iterable[Replacement]:
    """P5: equal content is one version only with a live version."""
    create = records._create_version

    def with_any(rows: Any, artifact: Any, record: Any, context: Any) -> None:
        if not rows.find("version", artifact=artifact["id"], digest=record["digest"]):
            create(rows, artifact, record, context)

    return ((records, "_create_version", with_any),)


def partial() -> Iterable[Replacement]:
    """P6: who lacks the bytes of what has no copy brings them, or fails."""
    lacking = push.lacking

    def only_here(session: Any, *args: Any) -> dict[Digest, int]:
        found = lacking(session, *args)
        here = session.avc.store.has(list(found))
        return {digest: size for digest, size in found.items() if digest in here}

    return ((push, "lacking", only_here),)


def rescue() -> Iterable[Replacement]:
    """P6: a fetch that sees what unpushed work needs condemned brings it here while it is there."""
    return ((fetch, "_rescue", lambda session, remote: None),)


def evict_safe() -> Iterable[Replacement]:
    """P7: evicted is only what a live version needs, in a log read just now, and nothing unpushed here."""
    claims = cache._claims

    def careless(session: Any, failed: Any, grace: Any) -> Any:
        found = claims(session, failed, grace)
        for name in session.avc.remotes:
            here = session.remote(name).located_here([key.hex() for key in found.needed | found.pinned])
            found.held |= {bytes.fromhex(digest) for digest in here}
        found.pinned, found.alone = set(), set()
        return found

    return (
        (cache, "_claims", careless),
        (cache, "_refresh", lambda session: {}),
        (cache, "_newer", lambda session, failed: []),
    )


def doubt() -> Iterable[Replacement]:
    """P8: after a doubtful answer the entry is read back and compared."""
    create = push.create_entry

    def trusting(remote: Remote, n: int, data: bytes) -> bool:
        real = remote.transport.create

        def answered(name: str, body: bytes) -> bool:
            try:
                return real(name, body)
            except (OutcomeUnknown, RemoteUnavailable):
                return True  # it will have landed

        with mock.patch.object(remote.transport, "create", answered):
            return create(remote, n, data)

    return ((push, "create_entry", trusting),)


def log_alone() -> Iterable[Replacement]:
    """P9: what is live is what the log says; a version whose time is over lives until a record ends it."""
    live = gc_survey._live

    def by_the_clock(remote: Remote, parts: Iterable[Digest]) -> Any:
        from tests.model import world

        now = parse_time(world.playing().clock())
        ended = {
            row["digest"]
            for row in remote.rows.find("version")
            if row["live"] and over(Candidate("", "dataset", row["ttl"], row["created"], False, ()), None, now)
        }
        return [(digest, what) for digest, what in live(remote, parts) if digest not in ended]

    return (gc_survey, "_live", by_the_clock), (gc_remote, "_expire", lambda *args, **more: [])


def finish_check() -> Iterable[Replacement]:
    """P10: who finishes sees that every object has a copy, like who pushes."""
    deliver, locate = draft_places.Origin.deliver, Remote.locate

    def unchecked(self: Any, root: Digest, objects: Iterable[Digest], live: Sequence[Digest]) -> None:
        remote = self._remote

        def also_condemned(digests: Iterable[Digest]) -> dict[Digest, Any]:
            wanted = list(digests)
            return {**remote.locate_condemned(wanted), **locate(remote, wanted)}

        none = mock.patch.object(draft_places, "condemned_among", return_value=set())
        with mock.patch.object(remote, "locate", also_condemned), none:
            deliver(self, root, objects, live)

    return ((draft_places.Origin, "deliver", unchecked),)


def open_drafts() -> Iterable[Replacement]:
    """P10: gc leaves what the parts of an open draft name, and their writers look once more when they are in."""
    return (
        (gc_survey, "_open_parts", lambda session, remote: ([], set())),
        (draft_places.Origin, "holds", lambda self, parts, attempt: True),
    )


def one_entry() -> Iterable[Replacement]:
    """R5: a new pack, its index and the condemnation of the old one are one entry."""
    land = gc_remote._land

    def two_entries(session: Any, remote: Remote, head: Any, plan: Any, index: Any) -> bool:
        if not land(session, remote, head, plan, ()):
            return False
        if index:
            gc_remote._append(session, remote, remote.head(), [], index)
        return True

    return ((gc_remote, "_land", two_entries),)


class _AtWish:
    """Rows in which a name's next number does not count: the number that is wished for is free."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows

    def get(self, table: str, *key: object) -> Any:
        row = self._rows.get(table, *key)
        return {**row, "next": 0} if table == "name" and row else row

    def put(self, table: str, row: Any) -> None:
        if table == "name":
            held = self._rows.get("name", row["project"], row["folded"])
            row = {**row, "next": max(row["next"], held["next"] if held else 0)}
        self._rows.put(table, row)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rows, name)


def renumber() -> Iterable[Replacement]:
    """N2: numbers of unpushed versions move up when origin's news is applied."""
    create = records._create_version

    def at_wish(rows: Any, artifact: Any, record: Any, context: Any) -> None:
        create(_AtWish(rows) if context.provisional else rows, artifact, record, context)

    return ((records, "_create_version", at_wish),)


def never_reuse() -> Iterable[Replacement]:
    """N3: a number is never given twice in a name's life."""
    delete = records._ACTIONS["delete"]

    def free_again(rows: Any, record: Any, context: Any) -> None:
        delete(rows, record, context)
        artifact = records.resolve(rows, record["artifact"])
        if artifact is not None:
            life = records.name_row(rows, artifact["project"], artifact["name"])
            numbers = [row["number"] for row in rows.find("version", artifact=artifact["id"]) if row["live"]]
            rows.put("name", {**life, "next": max(numbers, default=-1) + 1})

    return ((records, "_ACTIONS", {**records._ACTIONS, "delete": free_again}),)


def latest_follows() -> Iterable[Replacement]:
    """N4: `latest` follows the log and is no alias that could conflict."""
    plan, alias, point, version = commit._records, _Planner._alias, records._point, records._ACTIONS["version"]

    def stays(rows: Any, artifact: str, name: str, digest: Digest, context: Any) -> None:
        if name != "latest":
            point(rows, artifact, name, digest, context)

    def alone(rows: Any, record: Any, context: Any) -> None:
        with mock.patch.object(records, "_point", stays):
            version(rows, record, context)

    def with_latest(session: Any, draft: Any, *args: Any) -> Any:
        made = plan(session, draft, *args)
        artifact = next(record["artifact"] for record in made if record["kind"] == "version")
        return [*made, change.alias_record(session, artifact, "latest", draft.root)]

    def like_others(self: _Planner, record: Any) -> bool:
        there = self.rows.get("alias", record["artifact"], record["alias"])
        at = there["digest"] if there else None
        if record["alias"] == "latest" and at not in (record["was"].get("digest"), record["set"].get("digest")):
            raise self._alias_conflict(record, there)
        return alias(self, record)

    return (
        (records, "_ACTIONS", {**records._ACTIONS, "version": alone}),
        (commit, "_records", with_latest),
        (_Planner, "_alias", like_others),
    )


def by_digest() -> Iterable[Replacement]:
    """N2: a record that refers to a version names its content; the number is for reading."""
    make, alias = change.alias_record, _Planner._alias

    def numbered(session: Any, artifact_id: str, name: str, digest: Digest | None) -> Any:
        record = make(session, artifact_id, name, digest)
        rows = session.index.rows.find("version", artifact=artifact_id, digest=digest)
        artifact = session.index.rows.get("artifact", artifact_id)
        if digest is None or artifact is None:
            return record
        following = records.name_row(session.index.rows, artifact["project"], artifact["name"])["next"]
        return {**record, "number": rows[-1]["number"] if rows else following}

    def as_numbered(self: _Planner, record: Any) -> bool:
        there = self.rows.get("version", record["artifact"], record.get("number", -1))
        if there is not None:
            record["set"] = {"digest": there["digest"]}
        return alias(self, record)

    return (
        (change, "alias_record", numbered),
        (commit, "alias_record", numbered),
        (_Planner, "_alias", as_numbered),
    )


RULES: dict[str, Callable[[], Iterable[Replacement]]] = {
    rule.__name__: rule
    for rule in (
        gc_recheck, names_all, condemned_is_dead, revive_check, live_only, partial, rescue, evict_safe, doubt,
        log_alone, finish_check, open_drafts, one_entry, renumber, never_reuse, latest_follows, by_digest,
    )
}  # fmt: skip


@contextlib.contextmanager
def without(rule: str) -> Iterator[None]:
    """The block runs the code without one rule."""
    with contextlib.ExitStack() as stack:
        for target, name, value in RULES[rule]():
            stack.enter_context(mock.patch.object(target, name, value))
        yield
