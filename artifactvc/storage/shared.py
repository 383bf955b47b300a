"""A store that several repositories of a machine share (setting ``store.path``).

``<store.path>/`` holds what is otherwise in ``.artifacts/``: ``objects/``, ``packs/``,
``trash/``, ``tmp/`` and ``store.lock``; ``places.sqlite``, which says where objects are; and
``repositories/``, a file for each repository that uses the store, with the path of its
``.artifacts``. Collecting counts what all of them need (protocol L4), so a repository is
listed before its settings name the store, and lists itself anew whenever it is about to write
and finds that it is not. Logs, drafts and names stay in each repository.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from artifactvc.core.strict import dump_json, parse_json
from artifactvc.errors import Corrupt, NewerFormat, StorageError
from artifactvc.storage.database import begin, connect
from artifactvc.util.files import follow_directory, make_directories, sync_directory, sync_file, temporary, write_atomic
from artifactvc.util.hashing import digest_bytes

_MARK: Final = "store.json"
_FORMAT: Final = 1
_DIRECTORIES: Final = ("objects", "packs", "trash", "tmp", "repositories")


class Listed(NamedTuple):
    """A repository that uses a shared store."""

    file: Path
    root: Path  # its .artifacts
    id: str


def create(store: Path) -> None:
    """Make the shared store *store*, unless it is there. A kill leaves it made or not made: the mark comes last."""
    if (store / _MARK).is_file():
        return
    if store.is_dir() and any(name not in (*_DIRECTORIES, "store.lock") for name in os.listdir(store)):
        raise StorageError(f"'{store}' holds other files", hint="name an empty directory, or one that is not there")
    for name in _DIRECTORIES:
        make_directories(store / name)
    write_atomic(store / _MARK, dump_json({"format": _FORMAT}) + b"\n", via=store / "tmp")


def require(store: Path) -> None:
    """Refuse a shared store that is not there (not mounted?), or of a newer format."""
    try:
        body = parse_json((store / _MARK).read_bytes(), limit=1 << 16, what=f"'{store / _MARK}'", error=Corrupt)
    except FileNotFoundError:
        raise StorageError(
            f"the store '{store}' of this repository is not there",
            hint="mount it, or check 'store.path' in .artifacts/config.toml",
        ) from None
    if not isinstance(body, dict) or body.get("format") != _FORMAT:
        raise NewerFormat(f"the store '{store}'", "another format")


def open_places(store: Path) -> sqlite3.Connection:
    """The database that says where the objects of a shared store are; made anew from the store if it is lost."""
    connection = connect(store / "places.sqlite")
    if connection.execute("SELECT 1 FROM meta WHERE name = 'generation'").fetchone() is None:
        # Never a number that an index remembers from before: it would believe that nothing has left the store.
        with contextlib.suppress(sqlite3.OperationalError), begin(connection):
            connection.execute(
                "INSERT OR IGNORE INTO meta (name, value) VALUES ('generation', ?)", (str(secrets.randbits(48)),)
            )
    return connection


# ---- who uses it -----------------------------------------------------------------------------------


def _file(store: Path, root: Path, repository_id: str) -> Path:
    return store / "repositories" / f"{repository_id}-{digest_bytes(os.fsencode(root))[:16]}.json"


def enlist(store: Path, root: Path, repository_id: str) -> None:
    """List the repository *root* (``.artifacts``, absolute) among those that use *store*, unless it is."""
    file = _file(store, root, repository_id)
    if not file.exists():
        write_atomic(file, dump_json({"path": os.fspath(root), "id": repository_id}) + b"\n", via=store / "tmp")


def strike(listed: Listed) -> None:
    """Take a repository off the list."""
    listed.file.unlink(missing_ok=True)
    sync_directory(listed.file.parent)


def listing(store: Path) -> list[Listed]:
    """Every repository that uses *store*, by path; Corrupt if one cannot be told."""
    found = []
    for file in (store / "repositories").glob("*.json"):
        body = parse_json(file.read_bytes(), limit=1 << 16, what=f"'{file}'", error=Corrupt)
        if not isinstance(body, dict) or not isinstance(body.get("path"), str) or not isinstance(body.get("id"), str):
            raise Corrupt(f"'{file}' does not name a repository", hint="mend it by hand: it holds path and id")
        found.append(Listed(file, Path(body["path"]), body["id"]))
    return sorted(found, key=lambda one: one.root)


# ---- moving into it -----------------------------------------------------------------------------------


def files(place: Path) -> Iterator[tuple[str, str]]:
    """(directory, name below it) of every pack and larger object in a store."""
    for path in sorted((place / "packs").glob("*.pack")):
        yield "packs", path.name
    for above in sorted((place / "objects").iterdir()) if (place / "objects").is_dir() else ():
        yield from (("objects", f"{above.name}/{path.name}") for path in sorted(above.iterdir()))


def bring(source: Path, target: Path, wanted: Callable[[str], bool]) -> None:
    """Give *target* the packs and larger objects of *source* whose names are *wanted*, durably; *source* keeps them.

    Hard links where that can be done, else copies. A larger object's name is its digest.
    """
    touched = set()
    for directory, name in files(source):
        goal = target / directory / name
        if goal.exists() or not wanted(name.replace("/", "")):
            continue
        make_directories(goal.parent)
        staged = temporary(target / "tmp", "own")
        try:
            _link_or_copy(source / directory / name, staged)
            follow_directory(staged, goal.parent)
            os.rename(staged, goal)
        finally:
            staged.unlink(missing_ok=True)
        touched.add(goal.parent)
    for parent in sorted(touched):
        sync_directory(parent)


def _link_or_copy(source: Path, staged: Path) -> None:
    try:
        os.link(source, staged)
    except OSError:  # another file system, or one without links
        import shutil

        shutil.copyfile(source, staged)
        os.chmod(staged, 0o444)
    sync_file(staged)


def drain(source: Path, target: Path) -> None:
    """Remove from *source* what *target* has: what ``bring`` left behind, or a kill after it."""
    for directory, name in files(source):
        if (target / directory / name).exists():
            (source / directory / name).unlink(missing_ok=True)
