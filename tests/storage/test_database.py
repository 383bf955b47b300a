"""Opening ``index.sqlite``: whoever comes first makes it, and all others wait for that."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from artifactvc.storage.database import connect


def test_a_new_index_is_opened_by_many_at_once(tmp_path):
    """Whoever finds it half made waits, before the journal's mode is changed: SQLite waits for nobody there."""
    with ThreadPoolExecutor(6) as pool:
        for number in range(40):
            place = tmp_path / str(number)
            place.mkdir()
            start = threading.Barrier(6)

            def opened(place: Path = place, start: threading.Barrier = start) -> str:
                start.wait()
                with contextlib.closing(connect(place / "index.sqlite")) as connection:
                    assert connection.execute("SELECT count(*) FROM head").fetchone() == (0,)
                    return str(connection.execute("PRAGMA journal_mode").fetchone()[0])

            assert [one.result() for one in [pool.submit(opened) for _ in range(6)]] == ["wal"] * 6
