"""``Listing``: what ``Api`` and its kin answer where there are many, read page by page.

Which items there are is asked once, in one question over the index, when the first of
them is touched; the items themselves are made a page at a time, as iteration or an index
reaches them, and kept. So deleting what one iterates over is safe, and an item that was
edited is the same one when it is asked for again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

from artifactvc.errors import BadName
from artifactvc.sdk.errors_as import as_comm_error

K = TypeVar("K")
T = TypeVar("T")


class Source(ABC, Generic[K, T]):
    """Where a listing comes from: keys, cheap and all at once, and what they stand for, a page at a time."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What is listed, in a few words."""

    @abstractmethod
    def keys(self) -> Sequence[K]:
        """What names the items, in order."""

    @abstractmethod
    def load(self, keys: Sequence[K]) -> Sequence[T | None]:
        """The items that *keys* name, None for one that is gone."""

    def cursor(self, key: K) -> str:
        """The text by which a listing can go on after the item."""
        return str(key)


class Listing(Sequence[T]):
    """A sequence that is read as it is used: ``len``, index, slice, iteration, any number of times.

    ``cursor`` names the last item that was given out: the same listing with ``start=cursor`` goes on behind it.
    """

    def __init__(self, source: Source[Any, T], per_page: int = 50, start: str | None = None) -> None:
        if isinstance(per_page, bool) or not isinstance(per_page, int) or per_page < 1:
            raise BadName(f"bad page size '{per_page}'", hint="give a number of items, 1 or more")
        self._source, self._per_page, self._start = source, per_page, start
        self._keys: list[Any] | None = None
        self._read = 0  # how many keys were turned into items, or found to be gone
        self._items: list[T] = []
        self._cursors: list[str] = []
        self._given = -1  # the furthest item that was given out
        self._next = 0

    @property
    def cursor(self) -> str | None:
        """Where to go on with ``start=``: behind the furthest item that was given out; None for the beginning."""
        return self._cursors[self._given] if self._given >= 0 else self._start

    @as_comm_error
    def _all_keys(self) -> list[Any]:
        if self._keys is None:
            self._keys = list(self._source.keys())
        return self._keys

    @as_comm_error
    def _reach(self, position: int) -> bool:
        """Read pages until there is an item at *position*; False if there is none."""
        keys = self._all_keys()
        while len(self._items) <= position and self._read < len(keys):
            page = keys[self._read : self._read + self._per_page]
            for key, item in zip(page, self._source.load(page), strict=True):
                if item is not None:
                    self._items.append(item)
                    self._cursors.append(self._source.cursor(key))
            self._read += len(page)
        return position < len(self._items)

    def _at(self, position: int) -> T:
        self._given = max(self._given, position)
        return self._items[position]

    def __len__(self) -> int:
        return len(self._items) + len(self._all_keys()) - self._read

    def __iter__(self) -> Iterator[T]:
        position = 0
        while self._reach(position):
            yield self._at(position)
            position += 1

    def __next__(self) -> T:
        """The next item, for code that takes a listing for an iterator, as W&B's are."""
        if not self._reach(self._next):
            raise StopIteration
        self._next += 1
        return self._at(self._next - 1)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        """Items by position, from the end too; read up to the furthest that is wanted."""
        if isinstance(index, slice):
            wanted = range(len(self))[index]
            if wanted:
                self._reach(max(wanted))
            return [self._at(position) for position in range(len(self))[index]]  # some may have turned out gone
        if index < 0:
            self._reach(len(self._all_keys()))
            index += len(self._items)
        if index < 0 or not self._reach(index):
            raise IndexError("a listing has no item there")
        return self._at(index)

    def __repr__(self) -> str:
        count = "" if self._keys is None else f" ({len(self)})"
        return f"<Listing of {self._source.title}{count}>"
