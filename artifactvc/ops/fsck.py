"""Check everything: logs, manifests, objects, drafts; and mend what can be mended.

Without *full* every object is looked for, and a larger one hashed where its size is wrong; with
it every byte is hashed. *repair* builds
the index anew from logs and packs alone, and fetches what is damaged or missing from a
remote. What cannot be mended is named; nothing is ever made to look right.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress

from artifactvc.core import manifest
from artifactvc.core.compare import new_objects
from artifactvc.core.model import Digest
from artifactvc.core.results import Checked, Problem
from artifactvc.errors import AvcError, Corrupt, MissingObject
from artifactvc.ops.complete import batches
from artifactvc.ops.roots import small_objects
from artifactvc.ops.session import Session, unsalted
from artifactvc.storage.database import begin
from artifactvc.storage.log import Log
from artifactvc.storage.loose import own_path
from artifactvc.storage.packs import SMALL, read_table
from artifactvc.storage.remote import held_by_remotes
from artifactvc.storage.store import Store
from artifactvc.storage.sweep import quarantine, set_aside


def fsck(session: Session, *, full: bool = False, repair: bool = False) -> Checked:
    """Check the repository; the problems found, each marked where it was mended."""
    session.avc.require_feature("check")
    problems: list[Problem] = []
    notes: list[str] = []
    sizes: dict[Digest, int] = {}
    problems += _check_logs(session)
    if repair and not problems:
        session.avc.index.rebuild()
    if repair:
        with session.avc.writing():
            session.avc.store.rescan(rebuild=True)
    elif not problems:
        problems += _check_index(session)
    if not any(p.subject == "the local log" for p in problems):
        problems += _check_drafts(session)
        problems += _check_versions(session, notes, sizes, repair=repair)
        notes += _conflicts(session)
    problems += _check_packs(session, repair=repair)
    objects, size, damaged = _check_objects(session, sizes, full=full)
    problems += [_mend(session, digest, error, repair=repair) for digest, error in damaged]
    session.avc.store.uses.pass_over()
    live = session.avc.connect().execute("SELECT count(*) FROM version WHERE live = 1").fetchone()[0]
    return Checked(live, objects, size, full, tuple(problems), tuple(notes))


def _problem(error: AvcError, subject: str, *, repaired: bool = False) -> Problem:
    return Problem(type(error).__name__, subject, error.message, repaired)


def _check_logs(session: Session) -> list[Problem]:
    """Read each log from its first entry: every entry well formed, the chain whole, no gap."""
    avc = session.avc
    logs: list[tuple[str, Log]] = [("the local log", avc.log)]
    logs += [(f"the log of remote '{name}'", avc.remote_log(str(t["id"]))) for name, t in avc.remotes.items()]
    problems = []
    for subject, log in logs:
        n = -1
        try:
            for entry, _ in log.since(0, None):
                n = entry.n
        except AvcError as error:
            problems.append(_problem(error, subject))
            continue
        last = log.last()
        if last > n:
            problems.append(
                Problem("BrokenChain", subject, f"{subject} lacks entry {n + 1}, though entry {last} is there")
            )
    return problems


def _check_index(session: Session) -> list[Problem]:
    try:
        row = session.avc.connect().execute("PRAGMA quick_check").fetchone()
        session.index  # noqa: B018  catching up checks the heads
    except AvcError as error:
        return [_problem(error, "the index")]
    return [] if row[0] == "ok" else [Problem("BadIndex", "the index", f"the index is damaged: {row[0]}")]


def _check_drafts(session: Session) -> list[Problem]:
    try:
        drafts = session.avc.drafts.all()
    except Corrupt as error:
        return [_problem(error, "a draft")]
    problems = []
    for draft in drafts:
        try:
            manifest.check(draft.root, session.avc.store.read)
        except AvcError as error:
            problems.append(_problem(error, f"the draft of '{draft.project}/{draft.name}'"))
    return problems


def _small_objects(session: Session) -> Iterator[Digest]:
    with suppress(Corrupt):  # a draft that cannot be read is a problem of its own
        yield from small_objects(session)


def _check_versions(session: Session, notes: list[str], sizes: dict[Digest, int], *, repair: bool) -> list[Problem]:
    """Every live version: its manifest well formed, its objects here or on a remote; *sizes* gets the larger ones'."""
    rows = session.index.connection.execute(
        "SELECT v.digest, a.project, a.name, v.number FROM version v JOIN artifact a ON a.id = v.artifact"
        " WHERE v.live = 1 ORDER BY a.project, a.name, v.number"
    ).fetchall()
    problems: list[Problem] = []
    away = 0
    before: tuple[Digest, ...] = ()
    for digest, project, name, number in rows:
        subject = f"{project}/{name}:v{number}"
        lacking: list[Digest] = []
        try:
            manifest.check(digest, session.avc.store.read)
            lacking = list(_missing(session, digest, before, sizes))
        except MissingObject as error:
            lacking = [error.digest]
        except AvcError as error:
            problems.append(_mend_version(session, subject, error, repair=repair))
            continue
        if lacking:
            found, more = _missing_problems(session, subject, lacking, repair=repair)
            problems += found
            away += more
        else:
            before = (digest,)
    problems += _check_said(session, repair=repair)
    lacking = [d for batch in batches(_small_objects(session)) for d in set(batch) - session.avc.store.has(batch)]
    if lacking:
        found, more = _missing_problems(session, "a description or metadata", lacking, repair=repair)
        problems += found
        away += more
    if away:
        are = "1 object is" if away == 1 else f"{away} objects are"
        notes.append(f"{are} only on a remote, and fetched when a command needs them")
    return problems


def _check_said(session: Session, *, repair: bool) -> list[Problem]:
    """Descriptions, metadata and run details that are here can be read, as every clone will have to."""
    sql = (
        "SELECT description FROM artifact UNION SELECT description FROM version UNION SELECT metadata FROM version"
        " UNION SELECT details FROM run"
    )
    digests = [row[0] for row in session.index.connection.execute(sql) if row[0] is not None]
    present = session.avc.store.has(digests)
    problems = []
    for digest in digests:
        try:
            if digest in present:
                unsalted(session.avc.store.read(digest))
        except AvcError as error:
            problems.append(_mend_version(session, f"the description or metadata '{digest:.12}'", error, repair=repair))
    return [*problems, *_check_sources(session)]


def _check_sources(session: Session) -> list[Problem]:
    """What says where files were imported from can be read, too."""
    from artifactvc.core.imported import decode_imported

    sql = "SELECT DISTINCT sources FROM version WHERE sources IS NOT NULL"
    digests = [row[0] for row in session.index.connection.execute(sql)]
    problems = []
    for digest in session.avc.store.has(digests):
        try:
            for _ in decode_imported(session.avc.store.chunks(digest)):
                continue
        except AvcError as error:
            problems.append(_problem(error, f"the list of sources '{digest:.12}'"))
    return problems


def _missing(session: Session, root: Digest, known: tuple[Digest, ...], sizes: dict[Digest, int]) -> Iterator[Digest]:
    def digests() -> Iterator[Digest]:
        for digest, size in new_objects(root, known, session.avc.store.read):
            if size > SMALL:
                sizes[digest] = size
            yield digest

    for batch in batches(digests()):
        present = session.avc.store.has(batch)
        yield from (digest for digest in dict.fromkeys(batch) if digest not in present)


def _missing_problems(
    session: Session, subject: str, lacking: list[Digest], *, repair: bool
) -> tuple[list[Problem], int]:
    """Objects that are nowhere are problems; objects that a remote holds are only away."""
    held = held_by_remotes(session.avc, lacking)
    gone = [digest for digest in lacking if digest not in held]
    repaired: set[Digest] = set()
    if repair and gone:
        repaired = _fetch(session, gone)
    problems = [
        Problem(
            "MissingObject", subject, f"object '{digest:.12}' is not here, nor known on a remote", digest in repaired
        )
        for digest in gone
    ]
    return problems, len(held)


def _fetch(session: Session, digests: list[Digest]) -> set[Digest]:
    from artifactvc.ops.transfer import fetch_objects

    if not session.avc.remotes:
        return set()
    return fetch_objects(session, digests)


def _mend_version(session: Session, subject: str, error: AvcError, *, repair: bool) -> Problem:
    digest = getattr(error, "digest", None)
    if repair and digest and _replace(session, digest):
        return _problem(error, subject, repaired=True)
    return _problem(error, subject)


def _check_packs(session: Session, *, repair: bool) -> list[Problem]:
    """Packs whose table cannot be read: their objects are not known to be here. Repaired, they are set aside."""
    store, problems = session.avc.store, []
    for path in sorted(store.packs_dir.glob("*.pack")):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            read_table(fd, f"pack '{path.name}'")
        except AvcError as error:
            if repair:
                with session.avc.writing():
                    set_aside(store, path)
            problems.append(_problem(error, f"pack '{path.name}'", repaired=repair))
        finally:
            os.close(fd)
    return problems


def _check_objects(
    session: Session, sizes: dict[Digest, int], *, full: bool
) -> tuple[int, int, list[tuple[Digest, AvcError]]]:
    """Count the objects of the store; hash every one with *full*, else larger ones that have not their size.

    The size is that in a manifest (*sizes*), else the one that was recorded.
    """
    count = size = 0
    damaged: list[tuple[Digest, AvcError]] = []
    store = session.avc.store
    check: Callable[[Digest], object] = store.verify
    own = dict(store.places.own())
    total = store.places.count() if full else None
    session.progress.start("Checking", total=total, unit="files")
    for digest, length in store.iter_all():
        count, size = count + 1, size + length
        if full or (digest in own and not _has_size(store, digest, {length, sizes.get(digest, length)})):
            try:
                check(digest)
            except AvcError as error:
                damaged.append((digest, error))
        if full:
            session.progress.advance(1)
    session.progress.finish()
    return count, size, damaged


def _has_size(store: Store, digest: Digest, sizes: set[int]) -> bool:
    """Whether the file of a larger object has the one size of *sizes*; one that is not there is told elsewhere."""
    try:
        return sizes == {os.stat(own_path(store.objects_dir, digest)).st_size}
    except FileNotFoundError:
        return True


def _mend(session: Session, digest: Digest, error: AvcError, *, repair: bool) -> Problem:
    repaired = repair and _replace(session, digest)
    return _problem(error, f"object '{digest:.12}'", repaired=repaired)


def _replace(session: Session, digest: Digest) -> bool:
    """Set a damaged object aside and fetch it anew; it stays set aside if no remote has it."""
    with session.avc.writing():
        quarantine(session.avc.store, digest)
    return digest in _fetch(session, [digest])


def _conflicts(session: Session) -> list[str]:
    with begin(session.avc.connect()):
        rows = session.index.rows.find("conflict")
    return [f"a record of {row['source']} entry {row['n']} has no effect: {row['reason']}" for row in rows]
