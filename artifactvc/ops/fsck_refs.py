"""Are references what they were? Their storage is asked, without their bytes where it can tell.

Each distinct target of live versions is asked for once, several at a time. What drifted is told
for every version and path that leads there. Files of this machine (``file://``) are hashed again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from artifactvc.core.manifest import walk
from artifactvc.core.model import EMPTY, Digest, Entry
from artifactvc.core.results import Checked, Problem
from artifactvc.errors import AvcError
from artifactvc.ops import resolve
from artifactvc.ops.follow import AT_ONCE, Sources
from artifactvc.ops.session import Session
from artifactvc.ops.trusted import trusted
from artifactvc.storage.followed import key_of
from artifactvc.util.text import escape
from artifactvc.util.threads import Stop, in_threads


def fsck_refs(session: Session, names: Sequence[str] = ()) -> Checked:
    """Check the references of all live versions, or of those of the artifacts *names*; *objects* are targets."""
    versions = _versions(session, names)
    targets: dict[str, Entry] = {}
    for _, digest in versions:
        for entry in _references(session, digest):
            targets.setdefault(key_of(entry), entry)
    drift = check_references(session, targets.values())
    problems = []
    for shown, digest in versions if drift else ():
        for entry in _references(session, digest):
            error = drift.get(key_of(entry))
            if error is not None:
                problems.append(Problem(type(error).__name__, f"{shown} '{escape(entry.path)}'", error.message))
    size = sum(entry.size or 0 for entry in targets.values())
    return Checked(len(versions), len(targets), size, False, tuple(problems))


def check_references(session: Session, entries: Iterable[Entry]) -> dict[str, AvcError]:
    """What is wrong with each of *entries*, by ``key_of``: gone, changed, or its storage does not say.

    Raises ReferenceRefused, before anything is asked, for places that are not allowed.
    """
    wanted = {key_of(entry): entry for entry in entries}
    sources, stop = Sources(session, wanted.values()), Stop()

    def job(key: str, entry: Entry) -> Callable[[], tuple[str, AvcError | None]]:
        source, target = sources.source(entry)

        def run() -> tuple[str, AvcError | None]:
            try:
                source.check(target)
            except AvcError as error:
                return key, error
            return key, None

        return run

    drift: dict[str, AvcError] = {}
    session.progress.start("Checking", total=len(wanted), unit="files")
    try:
        with contextlib.closing(in_threads((job(*one) for one in wanted.items()), AT_ONCE, stop)) as results:
            for key, error in results:
                session.progress.advance(1)
                if error is not None:
                    drift[key] = error
    finally:
        session.progress.finish()
    return drift


def _versions(session: Session, names: Sequence[str]) -> list[tuple[str, Digest]]:
    """(as shown, digest) of the live versions that are meant."""
    ids = {resolve.artifact(session, name)["id"] for name in names}
    rows = session.index.connection.execute(
        "SELECT v.digest, a.project, a.name, v.number, a.id FROM version v JOIN artifact a ON a.id = v.artifact"
        " WHERE v.live = 1 ORDER BY a.project, a.name, v.number"
    ).fetchall()
    return [(f"{row[1]}/{row[2]}:v{row[3]}", row[0]) for row in rows if not ids or row[4] in ids]


def _references(session: Session, digest: Digest) -> Iterator[Entry]:
    found = walk(trusted(session, digest), session.node) if digest != EMPTY else iter(())
    return (entry for entry in found if entry.kind == "r")
