"""One way to open ``index.sqlite`` and one way to write to it.

Everyday work uses the standard ``sqlite3``; sqlite-utils is imported only where
``schema.py`` migrates an older index. Transactions open with ``BEGIN IMMEDIATE``
through ``begin``: a deferred one fails at once when another writer is faster (design,
section 3).
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from artifactvc.errors import StorageError
from artifactvc.storage import schema
from artifactvc.util.files import storage_error

#: How long a writer waits for another before it gives up, in seconds.
BUSY_SECONDS: Final = 120


def connect(path: Path) -> sqlite3.Connection:
    """Open the index at *path*, created or migrated if need be.

    A damaged file is set aside and made anew: the index is only an arrangement of
    the logs. Where the directory cannot be written, the index is opened read-only,
    or made in memory.
    """
    try:
        return _open(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
            if _writable(path.parent):
                raise _explained(error, path) from error
            return _in_memory(path)
    discard(path)
    return _open(path)


def _open(path: Path) -> sqlite3.Connection:
    lock = path.with_name("index.lock")
    if not path.exists():
        schema.migrate(path, lock)
    connection = _connected(path)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version != schema.VERSION:  # of a file that another process is making, too: before WAL is asked for
            connection.close()
            if version > schema.VERSION:
                discard(path)
            schema.migrate(path, lock)
            connection = _connected(path)
        return _prepare(connection)
    except BaseException:
        connection.close()
        raise


def _connected(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def _prepare(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA temp_store = MEMORY")
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        # Where the file system has no shared memory (NFS) SQLite answers with the mode that stays.
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 4000")
    return connection


def _in_memory(path: Path) -> sqlite3.Connection:
    """An index for a repository that cannot be written: the one there, else an empty one in memory."""
    memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    if path.exists():
        stored = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
        with contextlib.closing(stored):
            stored.backup(memory)
    else:
        schema.migrate_connection(memory)
    return memory


def _writable(directory: Path) -> bool:
    """Whether files can be made in *directory*: asked by making one, for root passes every permission check."""
    probe = directory / f".w{os.getpid()}"
    try:
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except OSError:
        return False
    probe.unlink()
    return True


def _explained(error: sqlite3.Error, path: Path) -> Exception:
    text = str(error)
    if "full" in text:
        return storage_error(OSError(28, "No space left on device"), path)
    return StorageError(f"cannot use the index '{path}': {text}", hint="run the command again, or delete the index")


def write_hints(connection: sqlite3.Connection, sql: str, rows: Iterable[Sequence[object]]) -> None:
    """Write what need not be written: where another process writes, or nobody may, it is left out. Never waits."""
    if connection.in_transaction:
        return
    with contextlib.suppress(sqlite3.OperationalError, StorageError):
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            with begin(connection):
                connection.executemany(sql, rows)
        finally:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")


def discard(path: Path) -> None:
    """Remove the index and what SQLite keeps beside it; the next command builds it again."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{path}{suffix}")


@contextlib.contextmanager
def begin(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One transaction, taken for writing at once; nested use joins the outer one."""
    if connection.in_transaction:
        yield connection
        return
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        raise _explained(error, Path("index.sqlite")) from error
    try:
        yield connection
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise _explained(error, Path("index.sqlite")) from error


class Notes:
    """Values that JSON can hold, by name, in the table ``meta``: what is remembered and can be found out again."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def get(self, name: str) -> Any:
        """The value noted, or None."""
        row = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def set(self, name: str, value: object) -> None:
        """Note *value*, at once."""
        with begin(self._connection):
            self._connection.execute(
                "INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (name, json.dumps(value))
            )
