"""Collect what nothing needs: the only remover of objects.

Under the exclusive lock that every writer holds shared (protocol L2), and not trusting
that lock alone (L3): objects go to ``trash/``, from where a later gc, after the grace,
moves back what a live version or a draft needs, and only then unlinks. A draft or log
that cannot be read stops gc before it moves anything (L4).
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import time
from datetime import timedelta

from artifactvc.core.results import Collected
from artifactvc.ops.expire import expire
from artifactvc.ops.roots import has_ended
from artifactvc.ops.session import Session
from artifactvc.ops.sharing import left_behind, members, needed_by_all
from artifactvc.storage import sweep
from artifactvc.storage.parts import changed_at, local_drafts
from artifactvc.storage.uses import GRAIN
from artifactvc.util.text import parse_duration, parse_time


def collect(session: Session, grace: str, *, dry_run: bool = False) -> Collected:
    """Move unneeded objects to the trash, and empty what has lain there longer than *grace*.

    *grace* is a duration ("14d"): also how long a deleted version can be restored.
    """
    duration = parse_duration(grace)
    expired = expire(session, dry_run=dry_run).versions
    with session.avc.collecting():
        session.caught_up = False
        left_behind(session)
        store = session.avc.store
        store.rescan()  # files that a killed command has put without a row are seen, too
        if not dry_run:
            _drop_orphans(session, duration)
            _drop_parts(session, duration)
        with members(session) as all_of_them:
            keep = needed_by_all(session, all_of_them[1:], duration)
            kept_here = _followed(session, duration, dry_run=dry_run)
            cached, keep = len(kept_here - keep), keep | kept_here
        older_than = time.time() - duration.total_seconds()
        settled = sweep.settle(store, lambda digest: bytes.fromhex(digest) in keep, older_than, dry_run=dry_run)
        label = f"{session.clock()[:19].replace(':', '')}-{secrets.token_hex(4)}"
        swept = sweep.plan(store, keep) if dry_run else sweep.sweep(store, keep, label)
        store.uses.pass_over()
        kept = _kept(session, duration, len(keep) - cached, len(all_of_them) - 1)
        if cached:
            kept += (f"cached: {cached} object{'s' * (cached != 1)} that references led to within the grace",)
        return Collected(swept.objects, swept.bytes, settled.bytes, settled.restored, expired, kept, dry_run)


def _followed(session: Session, grace: timedelta, *, dry_run: bool) -> set[bytes]:
    """Objects that references led to within the grace: they stay, and what is noted of older ones goes."""
    followed, oldest = session.avc.store.followed, time.time() - grace.total_seconds()
    kept = {bytes.fromhex(digest) for digest, _, at in followed.rows() if at + GRAIN > oldest}
    if not dry_run:
        followed.drop(oldest - GRAIN)
    return kept


def _drop_orphans(session: Session, grace: timedelta) -> None:
    """Drop drafts that a process of this machine began, that is gone, longer ago than the grace (protocol L4)."""
    drafts, oldest = session.avc.drafts, time.time() - grace.total_seconds()
    for draft in drafts.all():
        match = re.fullmatch(r"process ([0-9]+) on (.*)", draft.owner)
        if match is None or match[2] != socket.gethostname() or drafts.changed_at(draft.id) > oldest:
            continue
        try:
            os.kill(int(match[1]), 0)
        except ProcessLookupError:
            drafts.remove(draft.id)
        except PermissionError:
            continue  # it runs, as somebody else


def _drop_parts(session: Session, grace: timedelta) -> None:
    """Drop the parts of drafts that have ended, once the last of them is older than the grace (protocol P10)."""
    oldest = time.time() - grace.total_seconds()
    for draft_id in local_drafts(session.avc.root):
        if has_ended(session, draft_id) and changed_at(session.avc.root, draft_id) <= oldest:
            shutil.rmtree(session.avc.drafts.directory / draft_id)


def _kept(session: Session, duration: timedelta, objects: int, others: int) -> tuple[str, ...]:
    """Why *objects* stay; *others* is the number of other repositories that share the store."""
    lines: list[str] = []
    rows = session.index.connection.execute("SELECT count(*) FROM version WHERE live = 1").fetchone()
    live, drafts = rows[0], len(session.avc.drafts.all())
    by = f"live versions ({live}) and drafts ({drafts})"
    if others:
        by += f" here, and by other repositories ({others}) that share the store"
    lines.append(f"needed: {objects} object{'s' * (objects != 1)}, by {by}")
    oldest = parse_time(session.clock()) - duration
    deleted = session.index.connection.execute("SELECT deleted_at FROM version WHERE live = 0").fetchall()
    within = [row for row in deleted if row[0] and parse_time(row[0]) > oldest]
    if within:
        them = f"{len(within)} deleted version{'s' * (len(within) != 1)}"
        lines.append(f"{them} can still be restored: the grace is not over")
    return tuple(lines)
