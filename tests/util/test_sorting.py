"""Sorting more than memory should hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from artifactvc.util.sorting import in_order

_TEXT = st.binary(max_size=3).map(lambda key: key.decode("utf-8", "surrogateescape"))  # keys that are not UTF-8, too


@given(items=st.lists(st.tuples(_TEXT, st.none() | st.integers() | st.booleans())), held=st.integers(1, 5))
def test_what_is_sorted_in_files_is_as_in_memory(items, held):
    """However few items are held, all come, in the order of their keys, and equal keys as they came."""

    def key(item):
        return item[0].encode("utf-8", "surrogateescape")

    assert list(in_order(items, key, tuple, held=held)) == sorted(items, key=key)


def test_files_are_closed_when_nobody_wants_more(monkeypatch):
    """Who stops in the midst leaves no file open."""
    import artifactvc.util.sorting as sorting

    opened = []
    make = sorting.tempfile.TemporaryFile
    monkeypatch.setattr(sorting.tempfile, "TemporaryFile", lambda: opened.append(make()) or opened[-1])
    rest = in_order(((n,) for n in range(10)), lambda item: b"%d" % item, tuple, held=2)
    assert next(rest) == (0,)
    rest.close()
    assert len(opened) == 5
    assert all(file.closed for file in opened)
