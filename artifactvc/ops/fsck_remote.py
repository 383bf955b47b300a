"""Check a remote from the remote itself, and mend it: ``avc fsck REMOTE``.

What stands there is read anew: ``avc.json``, the log from entry 0, every index file, one
listing of the stored files, and with *full* every byte that is needed. What is kept here
is only a witness (which entry was there before) and a source of copies. *repair* mends
first what names things, then what is named (``mend_remote.py``). What cannot be mended is
named with the versions that suffer; nothing is ever made to look right.
"""

from __future__ import annotations

from datetime import timedelta

from artifactvc.core.results import Checked
from artifactvc.ops import fsck_objects
from artifactvc.ops.findings import Check
from artifactvc.ops.fsck_log import check_description, check_log
from artifactvc.ops.session import Session
from artifactvc.storage.remote import Remote
from artifactvc.storage.scratch import Scratch
from artifactvc.util.files import locked, make_directories
from artifactvc.util.text import format_size, parse_duration


def fsck_remote(session: Session, name: str, grace: str, *, full: bool = False, repair: bool = False) -> Checked:
    """Check remote *name*; the problems found, each marked where it was mended.

    Versions deleted within *grace* are needed too, as far as their bytes were not condemned.
    Raises BrokenChain where another remote stands at its address.
    """
    session.avc.require_feature("check")
    kept = session.remote(name)
    make_directories(kept.directory)
    if not repair:
        return _check(session, kept, parse_duration(grace), full=full, repair=False)
    with locked(kept.directory / "push.lock", exclusive=True):  # no push of ours changes what is kept meanwhile
        return _check(session, kept, parse_duration(grace), full=full, repair=True)


def _check(session: Session, kept: Remote, grace: timedelta, *, full: bool, repair: bool) -> Checked:
    readable_only = bool(kept.table.get("read_only") or kept.transport.read_only)
    scratch = Scratch(kept)
    try:
        check = Check(session, kept, scratch, full, repair and not readable_only)
        if repair and readable_only:
            check.notes.append(f"'{kept.name}' can only be read: nothing was mended there")
        check_description(check)
        reached = check_log(check)
        versions = 0 if check.forked else look(check, grace)
        if check.repair and not check.forked:
            from artifactvc.ops.mend_remote import mend

            mend(check, grace)
        objects, size = scratch.ask.counts()
        _tell_rest(check, reached)
        problems = tuple(finding.problem() for finding in check.findings)
        return Checked(versions, objects, size, full, problems, tuple(check.notes), kept.name)
    finally:
        scratch.close()
        session.caught_up = False


def look(check: Check, grace: timedelta) -> int:
    """Index files, what is needed, stored files; how many versions are live."""
    fsck_objects.check_indexes(check)
    if check.repair and check.lost_indexes:
        from artifactvc.ops.mend_remote import rebuild_indexes

        rebuild_indexes(check)
    versions = fsck_objects.note_needed(check, grace)
    fsck_objects.check_drafts(check)
    fsck_objects.check_files(check)
    fsck_objects.tell(check, grace)
    return versions


def _tell_rest(check: Check, reached: int) -> None:
    """How far the log goes, and what is there for nothing."""
    check.notes.append(f"the log of '{check.kept.name}' was read to entry {reached}")
    for row in check.scratch.rows.find("conflict"):
        check.notes.append(f"a record of entry {row['n']} has no effect: {row['reason']}")
    files, size = check.scratch.ask.unneeded()
    if files:
        check.notes.append(
            f"{files} stored files ({format_size(size)}) are not needed: 'avc gc {check.kept.name}' removes them in"
            " time, and leaves those of pushes under way"
        )
    known = {f"index/{row[0]}" for row in check.scratch.connection.execute("SELECT id FROM remote_index")}
    indexes = [file for file in check.listing("index") or [] if file.name not in known]
    if indexes:
        check.notes.append(f"{len(indexes)} index files are named by no entry: 'avc gc {check.kept.name}' takes them")
