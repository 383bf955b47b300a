"""Where objects are on a remote, as its index files say: asked for one by one or all at once, alike."""

import contextlib
import sqlite3

from hypothesis import given
from hypothesis import strategies as st

from artifactvc.storage import remote_places, schema

KEYS = [bytes([n]) * 32 for n in range(6)]
ROWS = st.lists(st.tuples(st.sampled_from(KEYS), st.integers(1, 4), st.integers(8, 99)), max_size=20)


@given(ROWS, st.sets(st.integers(1, 4)), st.sets(st.sampled_from(KEYS)))
def test_one_pass_over_all_rows_finds_what_asking_for_each_finds(rows, gone, wanted):
    """The newest copy of each in a file that is not condemned, or in one that is where that is asked for."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        schema.migrate_connection(connection)
        connection.executemany("INSERT INTO remote_file VALUES (?, ?)", [(n, f"file{n}") for n in range(1, 5)])
        connection.executemany("INSERT INTO condemned VALUES (?, 1, '')", [(f"file{n}",) for n in gone])
        connection.executemany("INSERT OR REPLACE INTO remote_object VALUES (?, ?, ?, 1, 1, 0)", rows)
        for condemned in (False, True):
            some = remote_places._some_of(connection, sorted(wanted), condemned=condemned)
            assert remote_places._all_of(connection, wanted, condemned=condemned) == some
            held = {key for key, file, _ in rows if (file in gone) == condemned}
            assert some.keys() == {key.hex() for key in held & wanted}
