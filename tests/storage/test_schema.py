"""The tables of the index: made anew by plain statements, brought up to date by sqlite-utils, alike in both ways."""

import contextlib
import sqlite3

import pytest
from sqlite_utils import Database, Migrations

from artifactvc.storage import schema


def shape(connection):
    """Columns, types, keys and indexes of all tables, and the steps noted, however their statements are written."""
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    listing = {row[1]: row[2:] for row in connection.execute("PRAGMA table_list")}
    return {
        name: (
            listing[name],
            connection.execute(f'PRAGMA table_info("{name}")').fetchall(),
            sorted(
                (one[1:], connection.execute(f'PRAGMA index_info("{one[1]}")').fetchall())
                for one in connection.execute(f'PRAGMA index_list("{name}")').fetchall()
            ),
        )
        for name in tables
    }, connection.execute("SELECT id, migration_set, name FROM _sqlite_migrations").fetchall()


def test_made_anew_is_as_migrated():
    """An index made in one go is what its steps make one by one, and sqlite-utils has nothing left to do."""
    made, stepped = sqlite3.connect(":memory:"), sqlite3.connect(":memory:")
    with contextlib.closing(made), contextlib.closing(stepped):
        schema.migrate_connection(made)
        stepped.execute("CREATE TABLE meanwhile (x)")  # so it is not empty: the steps are taken
        stepped.commit()
        schema.migrate_connection(stepped)
        stepped.execute("DROP TABLE meanwhile")
        assert shape(made) == shape(stepped)
        assert made.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
        assert not made.in_transaction
        migrations = Migrations("artifactvc")
        for name, step in schema.STEPS:
            migrations(name=name)(step)
        assert migrations.pending(Database(made)) == []


#: What an index lacked before each step that changed tables.
BROUGHT = {
    "runs": (
        "ALTER TABLE artifact DROP COLUMN tags",
        "ALTER TABLE version DROP COLUMN link",
        "ALTER TABLE run DROP COLUMN metrics",
    ),
    "uses": ("DROP TABLE last_use",),
    "operations": ("ALTER TABLE version DROP COLUMN stood",),
    "merged": ("ALTER TABLE remote_index DROP COLUMN superseded",),
}


def columns(connection):
    """The columns of each table, in any order: those that came later stand last in an older index."""
    return {name: sorted(column[1:] for column in told[1]) for name, told in shape(connection)[0].items()}


@pytest.mark.parametrize("done", range(1, len(schema.STEPS)))
def test_each_version_before_is_brought_up_to_date(done):
    """An index of an earlier version of avc gets what came since."""
    with contextlib.closing(sqlite3.connect(":memory:")) as old:
        schema.migrate_connection(old)
        new = columns(old)
        for name, _ in schema.STEPS[done:]:
            for statement in BROUGHT.get(name, ()):
                old.execute(statement)
            old.execute("DELETE FROM _sqlite_migrations WHERE name = ?", (name,))
        old.execute(f"PRAGMA user_version = {done}")
        old.commit()
        schema.migrate_connection(old)
        assert columns(old) == new
        assert old.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
