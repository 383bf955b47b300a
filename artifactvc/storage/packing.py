"""Small objects into packs, each object once, in the order in which they come.

Used by ``StoreWriter``. Full packs are synced by threads while the next one is filled;
a forked child leaves the syncing to its parent (``bulk.py``).
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Any, Final, NamedTuple

from artifactvc.core.model import EMPTY
from artifactvc.storage import packs
from artifactvc.storage.packs import PackWriter, raw_rows
from artifactvc.storage.places import OWN
from artifactvc.storage.store import Store
from artifactvc.util.files import sync_file, temporary

#: Up to so many objects, the digests that are here are held in memory while writing.
_KNOWN_LIMIT: Final = 300_000
#: From the so-manieth question on: a few are asked of the index one by one.
_MANY: Final = 200
_EMPTY_KEY: Final = bytes.fromhex(EMPTY)


class Finished(NamedTuple):
    """A pack that is written whole under its temporary name."""

    staged: Path
    table: bytes
    size: int  # bytes of magic and objects


class Packing:
    """The packs that one writer fills."""

    def __init__(self, store: Store) -> None:
        self.done: list[Finished] = []
        self.fresh: set[bytes] = set()  # digests put by this writer
        self._store = store
        self._pack: PackWriter | None = None
        self._syncing: list[tuple[threading.Thread, list[BaseException]]] = []
        self._child = False
        self.mark = ""  # in the temporary names of a child: whose it is
        self._known: set[bytes] | None = None
        self._questions = 0

    def expect_many(self) -> bool:
        """Get ready to be forked: children must not use the index. False where it is too large to hold in memory."""
        if self._known is None:
            self._load_known()
        return self._known is not None

    def _load_known(self) -> None:
        store = self._store
        names = store.packs.names()
        if store.places.count() <= _KNOWN_LIMIT:
            rows = store.places.connection.execute("SELECT digest, pack FROM object WHERE pack != 0")
            self._known = {digest for digest, serial in rows if serial in names}

    def holds(self, key: bytes) -> bool:
        """Whether the object with this digest (32 bytes) is in a pack here, or was put by this writer."""
        if key in self.fresh or key == _EMPTY_KEY:
            return True
        self._questions += 1
        if self._questions == _MANY:
            self._load_known()
        if self._known is not None:
            return key in self._known
        serial = self._store.places.packs_of([key]).get(key)
        return serial is not None and serial != OWN and serial in self._store.packs

    def add(self, key: bytes, data: bytes) -> None:
        """Put *data*, whose digest is *key* (32 bytes), unless it is here."""
        known = self._known
        if key in self.fresh or (self.holds(key) if known is None else key in known or key == _EMPTY_KEY):
            return
        pack = self._pack
        if pack is None:
            pack = self._pack = PackWriter(temporary(self._store.tmp, f"pack{self.mark}"))
        pack.add(key, data)
        self.fresh.add(key)
        if pack.size >= packs.TARGET:
            self.finish()

    def finish(self) -> None:
        """Write the table of the pack being filled; a thread syncs it while the next one is filled."""
        pack, self._pack = self._pack, None
        if pack is None:
            return
        try:
            pack.finish()
        except BaseException:
            pack.discard()
            raise
        done = Finished(pack.staged, pack.table, pack.size)
        if self._child:
            self.done.append(done)  # the parent syncs it
        else:
            self._sync(done)

    def _sync(self, done: Finished) -> None:
        failed: list[BaseException] = []

        def sync() -> None:
            try:
                sync_file(done.staged)
            except BaseException as error:  # noqa: BLE001  raised again by close, in the caller's thread
                failed.append(error)

        self.done.append(done)
        thread = threading.Thread(target=sync, name="avc-sync")
        thread.start()
        self._syncing.append((thread, failed))

    def join(self) -> None:
        """Wait until every finished pack is durable; raises what syncing met."""
        while self._syncing:
            thread, failed = self._syncing.pop(0)
            thread.join()
            if failed:
                raise failed[0]

    def become_child(self) -> None:
        """After a fork: what the parent has begun is the parent's."""
        self._child = True
        self.mark = f"-of{os.getppid()}"
        self._pack, self.done, self._syncing = None, [], []

    def hand_over(self) -> list[Any]:
        """In a child: the finished packs as plain values."""
        self.finish()
        return [(os.fspath(pack.staged), pack.table, pack.size) for pack in self.done]

    def take_over(self, finished: list[Any]) -> None:
        """In the parent: what a child has written is ours to sync and publish."""
        for staged, table, size in finished:
            self._sync(Finished(Path(staged), table, size))
            self.fresh.update(row[0] for row in raw_rows(table))

    def clean_after_children(self) -> None:
        """In the parent, after children were ended: what they had begun goes."""
        for path in self._store.tmp.glob(f"*-of{os.getpid()}-*"):
            path.unlink(missing_ok=True)

    def abort(self) -> None:
        """Drop what has no name yet."""
        for thread, _ in self._syncing:
            thread.join()
        if self._pack is not None:
            with contextlib.suppress(OSError):
                self._pack.discard()
        for pack in self.done:
            with contextlib.suppress(OSError):
                pack.staged.unlink(missing_ok=True)
        self._syncing, self.done, self._pack = [], [], None
