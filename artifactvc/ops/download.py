"""A version's files in a directory of the caller's choice, outside any workspace.

What a download wrote is noted in the index, by directory. So files of the same version
that were damaged are put right again, while files of another version, or of nobody's,
are never overwritten: that is an error which suggests another directory (design, section 7).
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from artifactvc.core.manifest import find, walk
from artifactvc.core.model import EMPTY, Digest, Entry
from artifactvc.core.results import CheckedOut
from artifactvc.errors import BadValue, StorageError, UnknownEntry, UsageError, WouldOverwrite
from artifactvc.ops import checkout
from artifactvc.ops.checkout_plan import CheckoutOptions
from artifactvc.ops.resolve import Found
from artifactvc.ops.session import Session
from artifactvc.ops.stand_ins import with_files
from artifactvc.ops.trusted import trusted
from artifactvc.storage.database import begin
from artifactvc.storage.followed import key_of
from artifactvc.storage.loose import hash_file
from artifactvc.util.text import escape, near


@dataclass(frozen=True)
class Wanted:
    """Which entries: those whose paths begin with *begins*, or the one at *path*."""

    begins: str = ""
    path: str | None = None
    allow_missing: bool = False  # leave out references whose bytes cannot be had any more


def download(session: Session, found: Found, root: Path, wanted: Wanted) -> CheckedOut:
    """Write the entries *wanted* of a version below *root*; right files stay as they are, others are left alone."""
    root = Path(os.path.abspath(root))
    digest = found.version["digest"]
    before = _recorded(session, root)
    options = CheckoutOptions(
        begins=wanted.begins, exactly=wanted.path, force=before == digest, allow_missing=wanted.allow_missing
    )
    try:
        done = checkout.write(session, found, root, options)
    except WouldOverwrite as error:
        raise WouldOverwrite(
            f"'{escape(os.fspath(root))}' holds other files than '{found.artifact['name']}:{found.shown}': "
            f"{error.message}",
            hint="choose another directory with root=",
        ) from error
    _record(session, root, digest)
    return done


def default_root(found: Found, base: Path) -> Path:
    """Where a version goes if nobody says: ``<base>/name:vN``."""
    return base / f"{found.artifact['name']}:v{found.version['number']}"


def _recorded(session: Session, root: Path) -> Digest | None:
    row = session.avc.connect().execute("SELECT value FROM meta WHERE name = ?", (f"download:{root}",)).fetchone()
    return None if row is None else str(row[0])


def _record(session: Session, root: Path, digest: Digest) -> None:
    with suppress(StorageError, sqlite3.Error):  # a read-only repository: next time nothing is overwritten
        with begin(session.avc.connect()) as connection:
            connection.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (f"download:{root}", digest))


def entry_at(session: Session, digest: Digest, path: str, what: str) -> Entry:
    """The entry at exactly *path* of a manifest; UnknownEntry with near ones."""
    entry = find(trusted(session, digest, (path,)), path, session.node) if digest != EMPTY else None
    if entry is not None:
        return entry
    known = [e.path for e, _ in zip(walk(digest, session.node), range(10_000), strict=False)] if digest != EMPTY else []
    close = near(path, known)
    hint = f"did you mean '{close[0]}'?" if close else f"run 'avc ls {what}' to list what is there"
    raise UnknownEntry(f"no entry '{escape(path)}' in '{what}'", hint=hint)


def remove_others(session: Session, found: Found, root: Path) -> list[str]:
    """Remove the files below *root* that the version does not have; the paths that went.

    Refuses a directory that is, holds or lies above a repository or the working directory.
    """
    root = Path(os.path.abspath(root))
    if not root.is_dir():
        return []
    here = Path.cwd()
    if root == here or root in here.parents or (root / ".artifacts").exists() or (root / ".git").exists():
        raise UsageError(
            f"'{escape(os.fspath(root))}' holds more than a checkout, and all other files in it would be removed",
            hint="give root= a directory of its own",
        )
    wanted = {e.path for e in walk(trusted(session, found.version["digest"]), session.node)}
    gone = []
    for directory, names, files in os.walk(root, topdown=False):
        for name in (*files, *(n for n in names if os.path.islink(os.path.join(directory, n)))):
            path = os.path.relpath(os.path.join(directory, name), root)
            if path not in wanted:
                os.unlink(os.path.join(directory, name))
                gone.append(path)
        if directory != os.fspath(root) and not os.listdir(directory):
            os.rmdir(directory)
    return gone


def verify(session: Session, found: Found, root: Path) -> None:
    """Hold the files below *root* against the version: one that is missing, changed or too much is an error.

    So is a reference whose storage does not have what was recorded; no bytes are fetched for that.
    Raises FileNotFoundError, ValueError.
    """
    wanted = {entry.path: entry for entry in walk(trusted(session, found.version["digest"]), session.node)}
    there = {
        os.path.relpath(os.path.join(directory, name), root)
        for directory, names, files in os.walk(root)
        for name in (*files, *(n for n in names if os.path.islink(os.path.join(directory, n))))
    }
    shown = f"{found.artifact['name']}:{found.shown}"
    extra = sorted(there - wanted.keys())
    if extra:
        raise BadValue(f"'{escape(extra[0])}' is in '{escape(os.fspath(root))}' and not in '{shown}'")
    for path, entry in with_files(session, wanted).items():
        if path not in there:
            raise UnknownEntry(f"'{escape(path)}' of '{shown}' is missing in '{escape(os.fspath(root))}'")
        if entry.kind != "r":
            _verify_one(root, entry)
        elif entry.size is not None and os.path.getsize(root / path) != entry.size:
            raise BadValue(f"'{escape(os.fspath(root / path))}' was changed: it has not {entry.size:,} bytes")
        else:
            session.say(f"of '{path}' only the size could be verified: it is not known here what its reference led to")
    _verify_references(session, [entry for entry in wanted.values() if entry.kind == "r"])


def _verify_references(session: Session, references: list[Entry]) -> None:
    """Ask their storage whether references lead to what was recorded; the first that does not is raised."""
    if not references:
        return
    from artifactvc.ops.fsck_refs import check_references

    drift = check_references(session, references)
    for entry in references:
        error = drift.get(key_of(entry))
        if error is not None:
            more = f" (and {len(drift) - 1} more)" if len(drift) > 1 else ""
            raise type(error)(f"'{escape(entry.path)}': {error.message}{more}", hint=error.hint) from error


def _verify_one(root: Path, entry: Entry) -> None:
    path = root / entry.path
    if entry.kind == "l":
        if not path.is_symlink() or os.readlink(path) != entry.target:
            raise BadValue(
                f"'{escape(os.fspath(path))}' was changed: it is no link to '{entry.target}'",
                hint="download() puts it right",
            )
        return
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        actual = hash_file(fd)[0]
    finally:
        os.close(fd)
    if actual != entry.digest:
        raise BadValue(
            f"'{escape(os.fspath(path))}' was changed: its digest is {actual:.12}, not {entry.digest:.12}",
            hint="download() puts it right",
        )


def replace_with(session: Session, found: Found, root: Path) -> CheckedOut:
    """Write the files of a version below *root*, over whatever stands there under their names."""
    root = Path(os.path.abspath(root))
    done = checkout.write(session, found, root, CheckoutOptions(force=True))
    _record(session, root, found.version["digest"])
    return done
