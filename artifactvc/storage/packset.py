"""Which packs the local store has: the files in ``packs/`` against the rows of the index.

``packs/`` is compared with the index once per command, and again when something is missed:
packs that another process brought are registered, rows of packs that are gone are dropped.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Final

from artifactvc.errors import BadPack, NewerFormat
from artifactvc.storage import packs
from artifactvc.storage.places import Places
from artifactvc.storage.uses import Uses

_OPEN_PACKS: Final = 64


class PackSet:
    """The packs in *directory*, by the serial numbers that *places* has for them."""

    def __init__(self, directory: Path, places: Places, uses: Uses) -> None:
        self.directory, self._places, self._uses = directory, places, uses
        self._fds: OrderedDict[str, int] = OrderedDict()

    @cached_property
    def _serials(self) -> dict[int, str]:
        """Serial number -> name of every pack that has rows and is really there; looked up once."""
        return self._look()

    def _look(self) -> dict[int, str]:
        there = self._there()
        known = self._places.packs()
        for name in there - known.keys():
            try:
                self._register(name)
            except (BadPack, NewerFormat, FileNotFoundError):
                continue  # fsck names it; its objects are simply not known to be here
        for name in known.keys() - there:
            self._places.drop_pack(known[name])
        if there != known.keys():
            known = self._places.packs()
        return {serial: name for name, serial in known.items() if name in there}

    def _register(self, name: str) -> None:
        fd = os.open(self.directory / name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            rows = packs.read_table(fd, f"pack '{name}'")
            self._places.register_pack(name, packs.encode_table(rows), os.fstat(fd).st_size)
        finally:
            os.close(fd)

    def refresh(self) -> None:
        """Look again which packs are there."""
        self.__dict__["_serials"] = self._look()

    def add(self, registered: Mapping[int, str]) -> None:
        """Packs that this process has just put in place, by their serial numbers: the others need no look."""
        if "_serials" in self.__dict__:
            self._serials.update(registered)

    def changed(self) -> bool:
        """Whether there are other packs in the directory than when it was last looked at."""
        return self._there() != set(self._serials.values())

    def _there(self) -> set[str]:
        try:
            return {name for name in os.listdir(self.directory) if name.endswith(".pack")}
        except FileNotFoundError:
            return set()

    def __contains__(self, serial: object) -> bool:
        return serial in self._serials

    def names(self) -> dict[int, str]:
        """Serial number -> name of the packs that are here."""
        return dict(self._serials)

    def name(self, serial: int) -> str:
        """The name of a pack that is here."""
        return self._serials[serial]

    def path(self, serial: int) -> Path:
        """The file of a pack that is here."""
        return self.directory / self._serials[serial]

    def fd(self, serial: int) -> int:
        """The open file of a pack that is here; closed when others need the place, or by ``close``."""
        name = self._serials[serial]
        self._uses.note(name)
        fd = self._fds.get(name)
        if fd is None:
            while len(self._fds) >= _OPEN_PACKS:
                os.close(self._fds.popitem(last=False)[1])
            fd = self._fds[name] = os.open(self.directory / name, os.O_RDONLY | os.O_CLOEXEC)
        return fd

    def forget(self, serial: int) -> None:
        """Close what is open of a pack, and drop its rows: the first step of removing it."""
        name = self._serials.pop(serial, None)
        if name is not None and name in self._fds:
            os.close(self._fds.pop(name))
        self._places.drop_pack(serial)

    def close(self) -> None:
        """Close the packs that are open."""
        while self._fds:
            os.close(self._fds.popitem()[1])
