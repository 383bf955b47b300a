"""The tables of ``index.sqlite``, one migration per step.

The index is what the logs say, arranged for questions; it can be deleted at any
moment (design, section 2, idea 4). Three groups of tables:

- names: ``artifact`` … ``conflict``, written only by ``core/records.py`` through
  ``storage/rows.py``; each remote has a database of its own with the same tables,
  which hold what that remote's log alone says;
- places: ``pack``, ``object``, ``stamp``, ``last_use``, which say where bytes are and when
  they were last used, and the same for a remote (``remote_file``, ``remote_object``);
  ``followed``, which says what bytes references led to;
- workspace: ``dirstate`` and ``binding``, the stat cache.

A new index is made by plain statements; sqlite-utils migrates an older one, and is imported
only then: where pandas is installed it brings that along, and its import costs 300 ms.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from artifactvc.util.files import follow_directory, locked

if TYPE_CHECKING:
    from sqlite_utils import Database

#: ``PRAGMA user_version`` of an index that needs no migration.
VERSION: Final = 8

#: Columns of the tables that the log's records change; the first ``KEYS[t]`` are the key.
NAMES: Final[dict[str, dict[str, type]]] = {
    "artifact": {
        "id": str, "project": str, "name": str, "type": str, "description": str,
        "created": str, "deleted": int, "joins": str, "tags": str,
    },
    "name": {"project": str, "folded": str, "name": str, "artifact": str, "next": int},
    "version": {
        "artifact": str, "number": int, "digest": str, "live": int, "provisional": int,
        "created": str, "author": str, "description": str, "metadata": str, "count": int,
        "size": int, "base": str, "ttl": str, "deleted_at": str, "reason": str, "op": str, "link": str,
        "stood": str, "sources": str,
    },
    "alias": {"artifact": str, "alias": str, "digest": str, "moved_at": str, "moved_by": str, "op": str},
    "tag": {"artifact": str, "digest": str, "tag": str},
    "run": {
        "id": str, "project": str, "name": str, "job_type": str, "group": str, "state": str,
        "created": str, "ended": str, "author": str, "host": str, "details": str, "exit_code": int, "metrics": str,
    },
    "produced": {"artifact": str, "digest": str, "run": str, "at": str},
    "used": {"artifact": str, "digest": str, "run": str, "at": str},
    "moved": {"artifact": str, "number": int, "digest": str, "to": int, "at": str},
    "setting": {"name": str, "value": str},
    "draft": {"id": str, "artifact": str, "state": str, "digest": str, "details": str},
    "condemned": {"file": str, "entry": int, "at": str},
    "operation": {"op": str, "source": str, "n": int, "at": str, "author": str, "command": str},
    "conflict": {"record": str, "source": str, "n": int, "reason": str},
    "landed": {"record": str, "n": int},
}  # fmt: skip

#: How many leading columns of each names table are its primary key.
KEYS: Final[dict[str, int]] = {
    "artifact": 1, "name": 2, "version": 2, "alias": 2, "tag": 3, "run": 1, "produced": 3, "used": 3,
    "moved": 2, "setting": 1, "draft": 1, "condemned": 1, "operation": 1, "conflict": 1, "landed": 1,
}  # fmt: skip

_PLACES: Final[dict[str, tuple[dict[str, type], tuple[str, ...]]]] = {
    # pack: one row per local pack file; serial is its short name inside `object`.
    "pack": ({"serial": int, "name": str, "objects": int, "bytes": int}, ("serial",)),
    # object: pack 0 means a file of its own under objects/.
    "object": (
        {"digest": bytes, "pack": int, "offset": int, "stored": int, "length": int, "codec": int},
        ("digest",),
    ),
    # stamp: size, mtime_ns, ctime_ns, inode of a larger object when its bytes were last verified.
    "stamp": ({"digest": bytes, "size": int, "mtime": int, "ctime": int, "inode": int, "links": int}, ("digest",)),
    # last_use: hour (epoch seconds) in which a pack, by its name, or a larger object, by its digest, was last used.
    "last_use": ({"file": str, "at": int}, ("file",)),
    # followed: what the bytes of a reference are (storage/followed.py), and the hour in which that was last used.
    "followed": ({"key": bytes, "digest": bytes, "size": int, "at": int}, ("key",)),
    # remote_index: a remote's index files, with rows = -1 those that were not read, and in `superseded` the entry
    # since which a merged one stands for it; remote_file: its stored files.
    "remote_index": (
        {"id": str, "n": int, "digest": str, "size": int, "rows": int, "superseded": int},
        ("id",),
    ),
    "remote_file": ({"serial": int, "name": str}, ("serial",)),
    "remote_object": (
        {"digest": bytes, "file": int, "offset": int, "stored": int, "length": int, "codec": int},
        ("digest", "file"),
    ),
    # dirstate: one directory of the workspace as last recorded; see storage/workspace.py.
    "dirstate": ({"path": str, "names": bytes, "stats": bytes, "digests": bytes}, ("path",)),
    # binding: the directories below `path` were, when recorded, exactly manifest `root` under `prefix`.
    "binding": ({"path": str, "prefix": str, "artifact": str, "root": str, "generation": int}, ("path", "artifact")),
    # pending: records of the local log, in order, that origin's log does not hold.
    "pending": ({"seq": int, "record": str, "n": int, "body": str}, ("seq",)),
    # undo: rows as they stood before the pending records were applied, newest last.
    "undo": ({"seq": int, "table": str, "key": str, "row": str}, ("seq",)),
    "head": ({"log": str, "n": int, "digest": str}, ("log",)),
    "meta": ({"name": str, "value": str}, ("name",)),
}

_INDEXES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("artifact", ("project", "name")),
    ("version", ("artifact", "digest")),
    ("version", ("digest",)),
    ("alias", ("artifact", "digest")),
    ("produced", ("run",)),
    ("used", ("run",)),
    ("object", ("pack",)),
    ("remote_object", ("file",)),
)


_TYPES: Final = {str: "TEXT", int: "INTEGER", bytes: "BLOB"}


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _tables() -> Iterator[str]:
    """The statements that make all tables, empty."""
    names = {name: (columns, tuple(columns)[: KEYS[name]]) for name, columns in NAMES.items()}
    for name, (columns, key) in {**names, **_PLACES}.items():
        lines = [f'"{column}" {_TYPES[kind]}' for column, kind in columns.items()]
        yield f'CREATE TABLE "{name}" ({", ".join(lines)}, PRIMARY KEY ({_quoted(key)})) STRICT'
    for name, indexed in _INDEXES:
        yield f'CREATE INDEX "idx_{name}_{"_".join(indexed)}" ON "{name}" ({_quoted(indexed)})'


def _first(db: Database) -> None:
    for statement in _tables():
        db.execute(statement)


def _runs(db: Database) -> None:
    """What runs, linked versions and tagged artifacts need besides; a new index has it from the first step."""
    for name, column in (("artifact", "tags"), ("version", "link"), ("run", "metrics")):
        table = db.table(name)
        if column not in table.columns_dict:
            table.add_column(column, str)


def _uses(db: Database) -> None:
    """When local copies were last used; a new index has it from the first step."""
    columns, key = _PLACES["last_use"]
    db.table("last_use").create(columns, pk=key[0], strict=True, if_not_exists=True)


def _operations(db: Database) -> None:
    """What an undo asks of a version: the tables of names are made anew, for ``op`` means more than it did, too."""
    if "stood" not in db.table("version").columns_dict:
        db.table("version").add_column("stood", str)
        db.execute("UPDATE head SET digest = ''")


def _merged(db: Database) -> None:
    """Which of a remote's index files a merged one replaces."""
    table = db.table("remote_index")
    if "superseded" not in table.columns_dict:
        table.add_column("superseded", int)


def _sources(db: Database) -> None:
    """Where a version's files were imported from; what is in a log already is read again for it."""
    if "sources" not in db.table("version").columns_dict:
        db.table("version").add_column("sources", str)
        db.execute("UPDATE head SET digest = ''")


def _editors(db: Database) -> None:
    """Who may change times to live was not asked before: the tables of names are made anew."""
    db.execute("UPDATE head SET digest = ''")


def _followed(db: Database) -> None:
    """What references led to; a new index has it from the first step."""
    columns, key = _PLACES["followed"]
    db.table("followed").create(columns, pk=key[0], strict=True, if_not_exists=True)


STEPS: Final[tuple[tuple[str, Callable[[Database], None]], ...]] = (
    ("first", _first),
    ("runs", _runs),
    ("uses", _uses),
    ("operations", _operations),
    ("merged", _merged),
    ("sources", _sources),
    ("editors", _editors),
    ("followed", _followed),
)

_SET: Final = "artifactvc"
#: The table in which sqlite-utils notes the steps that were done.
_STEPS_DONE: Final = (
    "CREATE TABLE _sqlite_migrations (id INTEGER PRIMARY KEY, migration_set TEXT, name TEXT, applied_at TEXT)",
    "CREATE UNIQUE INDEX idx__sqlite_migrations_migration_set_name ON _sqlite_migrations (migration_set, name)",
)


def migrate(path: Path, lock: Path) -> None:
    """Create the index at *path*, or bring it up to date, under an exclusive lock on *lock*.

    Six processes at once failed 15 of 24 times without the lock (design, section 3). A new
    one is made under another name, in WAL mode, and comes into its place whole: SQLite waits
    for nobody when it changes the mode, so who opened a half-made file would be told that it is locked.
    """
    with locked(lock, exclusive=True):
        fresh = not path.exists()
        made = path.with_name(f"{path.name}.new") if fresh else path
        if fresh:
            made.unlink(missing_ok=True)
        connection = sqlite3.connect(made, timeout=60)
        try:
            connection.execute("PRAGMA user_version").fetchone()
            if made.exists():
                follow_directory(made, path.parent)
            if connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                migrate_connection(connection)
            if fresh:
                connection.execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()
        if fresh:
            os.replace(made, path)


def migrate_connection(connection: sqlite3.Connection) -> None:
    """Bring the tables of an open index up to date; the caller holds the lock."""
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        _create(connection)
        return
    from sqlite_utils import Database, Migrations

    migrations = Migrations(_SET)
    for name, step in STEPS:
        migrations(name=name)(step)
    migrations.apply(Database(connection))
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.commit()


def _create(connection: sqlite3.Connection) -> None:
    """Make all tables in an empty index, with every step noted as sqlite-utils notes it, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    for statement in (*_STEPS_DONE, *_tables()):
        connection.execute(statement)
    connection.executemany(
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES (?, ?, datetime('now'))",
        [(_SET, name) for name, _ in STEPS],
    )
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")
