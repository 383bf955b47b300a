"""The local store as a cache of remotes: what could go, and making room (protocol P7).

Evicted is only what, in a remote's log read at that moment, a live version needs and an
uncondemned copy holds, and what no draft and no unpushed version here needs. So:

1. Every remote's log is read. One that cannot be read holds nothing, for this time.
2. Under the store's lock, taken alone, it is asked once more whether the logs have news: we
   may have waited long for the lock. If one has, all is done again.
3. What may go is worked out and taken, the least recently used file first; manifests and
   descriptions only when nothing else is left, since with them more can be told and shown
   without a remote.

Afterwards every command brings what it needs, as in a clone that has fetched and not pulled.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from artifactvc.core.compare import reach
from artifactvc.core.entries import MAX_BYTES
from artifactvc.core.model import Digest
from artifactvc.core.results_cache import CacheCleaned, CacheInfo, Held
from artifactvc.errors import AvcError, Corrupt, StorageError
from artifactvc.ops.fetch import fetch
from artifactvc.ops.roots import kept_manifests, small_objects, unpushed_manifests, unpushed_small_objects
from artifactvc.ops.session import Session
from artifactvc.ops.sharing import members, symlinked
from artifactvc.storage.evict import Copy, copies, evict
from artifactvc.storage.log import entry_name
from artifactvc.storage.places import OWN
from artifactvc.storage.remote import Remote
from artifactvc.storage.settings import SETTINGS, get_dotted
from artifactvc.storage.trash import trash_bytes
from artifactvc.util.text import format_time_of, parse_duration

_TRIES: Final = 5
#: Temporary names that are only in use while their command holds the store's lock.
_STAGED: Final = ("pack", "own", "down")
#: And not even of these one that was touched so lately: locks may not be shared (protocol L3).
_YOUNG: Final = 3600

UNPUSHED: Final = "drafts or unpushed versions need them"
NO_REMOTE: Final = "no remote is configured that could hold them"
NOT_ASKED: Final = "it is another repository's, whose 'avc cache cleanup' asks it"
LINKED: Final = "files of a workspace are links to them ('checkout --link')"
EVICTABLE: Final = "a remote holds them, too"
CACHED: Final = "references led to them: they can be fetched again"
ALONE: Final = "no remote holds them for a live version"
UNNEEDED: Final = "nothing that is known here needs them: 'avc gc' removes them"
TABLES: Final = "tables of packs"


@dataclass
class _Claims:
    """What repositories say of the objects in the store (32 bytes each)."""

    pinned: set[bytes] = field(default_factory=set)
    needed: set[bytes] = field(default_factory=set)
    held: set[bytes] = field(default_factory=set)
    held_by: dict[str, set[bytes]] = field(default_factory=dict)  # the same, by the remote's id
    nodes: set[bytes] = field(default_factory=set)  # and other small objects that are not files
    alone: set[bytes] = field(default_factory=set)  # some repository needs them, and none of *its* remotes holds them
    away: dict[str, set[bytes]] = field(default_factory=dict)  # why a remote cannot be used -> what it is known to hold
    cached: set[bytes] = field(default_factory=set)  # what only references led to, which can be fetched again
    unknown: str = ""  # why nothing can be told
    remotes: int = 0

    @property
    def evictable(self) -> set[bytes]:
        """What may go."""
        return set() if self.unknown else (self.held - self.pinned - self.alone) | self.cached

    def reason(self, key: bytes, linked: set[bytes]) -> str:
        """Why the object stays, or that it may go."""
        if self.unknown:
            return self.unknown
        if key in self.cached:
            return LINKED if key in linked else CACHED
        if key in self.pinned:
            return UNPUSHED if self.remotes else NO_REMOTE
        if key in self.held and key not in self.alone:
            return LINKED if key in linked else EVICTABLE
        for why, known in self.away.items():
            if key in known:
                return why
        return ALONE if key in self.needed else UNNEEDED


# ---- what remotes hold ---------------------------------------------------------------------------


def _refresh(session: Session) -> dict[str, str]:
    """Read every remote's log; name -> why, of those that cannot be relied on now."""
    failed = {}
    for name in session.avc.remotes:
        try:
            fetch(session, name)
            session.remote(name).verify_identity(to_write=False)
            session.remote(name).read_indexes()
        except AvcError as error:
            failed[name] = error.message
    return failed


def _newer(session: Session, failed: dict[str, str]) -> list[str]:
    """Remotes whose log has an entry that was not read; one that fails now joins *failed*."""
    found = []
    for name in session.avc.remotes.keys() - failed.keys():
        remote = session.remote(name)
        remote.catch_up()
        try:
            if remote.transport.read_many([f"log/{entry_name(remote.head()[0] + 1)}"], limit=MAX_BYTES)[0] is not None:
                found.append(name)
        except AvcError as error:
            failed[name] = error.message
    return found


def _claims(session: Session, failed: dict[str, str], grace: timedelta) -> _Claims:
    """What this repository says. Asks no remote: their logs and indexes were read."""
    store, claims = session.avc.store, _Claims(remotes=len(session.avc.remotes))
    pinned = reach(unpushed_manifests(session), store.read)
    if pinned.missing:
        claims.unknown = "what drafts and unpushed versions need cannot be told: a part of their manifests is not here"
    small = _keys(small_objects(session))
    claims.pinned = pinned.nodes | pinned.files | _keys(unpushed_small_objects(session))
    kept = reach((digest for digest, _ in kept_manifests(session, grace)), store.read)
    claims.needed = kept.nodes | kept.files | small | claims.pinned
    claims.nodes = kept.nodes | pinned.nodes | small
    for name in session.avc.remotes:
        remote = session.remote(name)
        remote.catch_up()
        wanted, nodes = _live(session, remote)
        claims.nodes |= nodes
        if name in failed:
            claims.away[f"only remote '{name}' may hold them, which cannot be asked: {failed[name]}"] = wanted
        else:
            claims.held_by[remote.id] = _keys(remote.located_here([key.hex() for key in wanted]))
            claims.held |= claims.held_by[remote.id]
    claims.alone = claims.needed - claims.held
    if not (kept.missing or pinned.missing):  # else something below a missing node may need them
        claims.cached = _keys(digest for digest, _, _ in store.followed.rows()) - claims.needed
    return claims


def _claims_of_all(users: Sequence[Session], failed: dict[str, str], grace: timedelta) -> _Claims:
    """What all repositories that use the store say together.

    Of the others no log is read, since that would be theirs to do: what one of them needs
    goes only where a remote of this repository holds it that is also one of theirs.
    """
    claims = _claims(users[0], failed, grace)
    for other in users[1:]:
        own = get_dotted(other.avc.config, "gc.grace") or SETTINGS["gc.grace"][0]
        theirs = _claims(other, dict.fromkeys(other.avc.remotes, NOT_ASKED), max(grace, parse_duration(own)))
        claims.pinned |= theirs.pinned
        claims.needed |= theirs.needed
        claims.cached &= theirs.cached
        claims.nodes |= theirs.nodes
        theirs_too = {str(table["id"]) for table in other.avc.remotes.values()}
        claims.alone |= theirs.needed.difference(*(claims.held_by.get(one, set()) for one in theirs_too))
        claims.remotes += theirs.remotes
        claims.unknown = claims.unknown or theirs.unknown
        for why, known in theirs.away.items():
            claims.away[f"{why} ('{other.avc.root}')"] = known
    return claims


def _keys(digests: Iterable[Digest]) -> set[bytes]:
    return {bytes.fromhex(digest) for digest in digests}


def _live(session: Session, remote: Remote) -> tuple[set[bytes], set[bytes]]:
    """Objects here that a live version of the remote's log needs; and which of those it needs are no files.

    What is below a node that is not here is not told: it stays.
    """
    execute = remote.connection.execute
    roots = [row[0] for row in execute("SELECT DISTINCT digest FROM version WHERE live = 1")]
    said = execute("SELECT description, metadata, sources FROM version WHERE live = 1").fetchall()
    reached = reach(roots, session.avc.store.read)
    nodes = reached.nodes | _keys(digest for row in said for digest in row if digest is not None)
    return _keys(session.avc.store.has(key.hex() for key in nodes | reached.files)), nodes


def _bring_manifests(session: Session) -> None:
    """Fetch what is lacking of the manifests of drafts and unpushed versions: without them nothing could be told."""
    while missing := reach(unpushed_manifests(session), session.avc.store.read).missing:
        try:
            if not session.fetch_objects(session, missing):
                return
        except StorageError:
            return  # then nothing is evicted, and it is said why


# ---- cleanup -------------------------------------------------------------------------------------


def cleanup(
    session: Session, target: int, grace: str, *, remove_temporary: bool = False, dry_run: bool = False
) -> CacheCleaned:
    """Evict least recently used objects that a remote holds until the store takes at most *target* bytes.

    *grace* is that of gc: what can still be restored is needed. With *remove_temporary* files of
    killed commands go, too. Where the target cannot be reached, the result says why the rest stays.
    """
    for attempt in range(_TRIES):
        failed = _refresh(session)
        _bring_manifests(session)
        with session.avc.collecting():
            session.caught_up = False
            newer = _newer(session, failed)
            if newer and attempt + 1 < _TRIES:
                continue
            failed |= dict.fromkeys(newer, "others write to it faster than its log can be read")
            session.avc.store.rescan()
            freed = _remove_temporary(session.avc.store.tmp, dry_run=dry_run) if remove_temporary else 0
            with members(session) as users:
                claims = _claims_of_all(users, failed, parse_duration(grace))
                return _clean(users, claims, target, freed, dry_run=dry_run)
    raise AssertionError("the last try returns")


def _clean(users: Sequence[Session], claims: _Claims, target: int, temporary: int, *, dry_run: bool) -> CacheCleaned:
    store = users[0].avc.store
    held = copies(store)
    linked = _linked(users, held, claims)
    going = _choose(held, claims, linked, target)
    rows = [row for copy in held for row in copy.rows if bytes.fromhex(row.digest) in going]
    before = sum(copy.size for copy in held)
    after = before - sum(copy.freed({k for k in _rows(copy) if k in going}) for copy in held)
    stay = _reasons(held, claims, linked, going)
    if going and not dry_run:
        # Manifests last: if we are killed, it can still be told what the rest is needed for.
        evict(store, going, sorted(held, key=lambda copy: not claims.nodes.isdisjoint(_rows(copy))))
        after = sum(copy.size for copy in copies(store))
    store.uses.pass_over()
    return CacheCleaned(
        target, before, after, len(rows), sum(row.stored for row in rows), stay, temporary, dry_run
    )  # fmt: skip


def _rows(copy: Copy) -> Iterable[bytes]:
    return (bytes.fromhex(row.digest) for row in copy.rows)


def _choose(held: Sequence[Copy], claims: _Claims, linked: set[bytes], target: int) -> set[bytes]:
    """The objects to evict: what only references led to, files' bytes, then manifests and descriptions."""
    evictable = claims.evictable - linked
    going: set[bytes] = set()
    size = sum(copy.size for copy in held)
    for allowed in (claims.cached & evictable, evictable - claims.nodes, evictable):
        for copy in held:
            if size <= target:
                return going
            mine = {key for key in _rows(copy) if key in allowed}
            size -= copy.freed(mine) - copy.freed(mine & going)
            going |= mine
    return going


def _linked(sessions: Sequence[Session], held: Sequence[Copy], claims: _Claims) -> set[bytes]:
    """Larger objects that files of a workspace are links to: evicting them frees nothing, or breaks the link."""
    own = [copy for copy in held if copy.serial == OWN]
    found = {bytes.fromhex(copy.file) for copy in own if copy.links > 1}
    if claims.evictable.isdisjoint(key for copy in own for key in _rows(copy)):
        return found
    for session in sessions:
        found |= _keys(symlinked(session))
    return found


def _reasons(held: Sequence[Copy], claims: _Claims, linked: set[bytes], going: set[bytes]) -> tuple[Held, ...]:
    """What stays, by reason, the most bytes first."""
    counts: dict[str, list[int]] = {}
    tables = 0
    for copy in held:
        left = [row for row in copy.rows if bytes.fromhex(row.digest) not in going]
        tables += copy.size - copy.freed(going & set(_rows(copy))) - sum(row.stored for row in left)
        for row in left:
            key = bytes.fromhex(row.digest)
            count = counts.setdefault(claims.reason(key, linked), [0, 0])
            count[0] += 1
            count[1] += row.stored
    found = [Held(reason, count, size) for reason, (count, size) in counts.items()]
    found.sort(key=lambda one: -one.bytes)
    return (*found, Held(TABLES, 0, tables)) if tables else tuple(found)


def _remove_temporary(tmp: Path, *, dry_run: bool) -> int:
    """Remove what killed commands left while they stored or downloaded; the bytes that were freed."""
    freed = 0
    for entry in os.scandir(tmp):
        stat = entry.stat(follow_symlinks=False)
        if entry.name.startswith(_STAGED) and stat.st_mtime < time.time() - _YOUNG:
            freed += stat.st_size
            if not dry_run:
                os.unlink(entry.path)
    return freed


# ---- info ----------------------------------------------------------------------------------------


def info(session: Session, grace: str) -> CacheInfo:
    """What the store takes, by reason; reads no remote's log: what was last read of each counts."""
    store = session.avc.store
    for name in session.avc.remotes:
        session.remote(name).catch_up()
        with contextlib.suppress(StorageError, Corrupt):  # of our own last push they were not read yet
            session.remote(name).read_indexes()
    with members(session) as users:
        claims, held = _claims_of_all(users, {}, parse_duration(grace)), copies(store)
        linked = _linked(users, held, claims)
        sharing = tuple(os.fspath(user.avc.root) for user in users) if len(users) > 1 else ()
    may_go = claims.evictable - linked
    found = _reasons(held, claims, linked, set())
    evictable = sum(copy.freed(may_go & set(_rows(copy))) for copy in held)
    store.uses.pass_over()
    temporary = sum(entry.stat(follow_symlinks=False).st_size for entry in os.scandir(store.tmp))
    oldest = format_time_of(held[0].used) if held else None
    return CacheInfo(
        os.fspath(store.root), sum(len(copy.rows) for copy in held), sum(copy.size for copy in held), evictable,
        found, oldest, trash_bytes(store.trash_dir) if store.trash_dir.is_dir() else 0, temporary, sharing,
    )  # fmt: skip
