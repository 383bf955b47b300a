"""``trash/``: what gc took away, and may have to give back (protocol L3)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from artifactvc.core.model import Digest
from artifactvc.errors import AvcError, BadPack
from artifactvc.storage import packs
from artifactvc.storage.loose import own_path
from artifactvc.storage.packs import PackRow
from artifactvc.storage.packset import PackSet
from artifactvc.storage.places import Places
from artifactvc.util.files import make_directories, sync_directory

#: Where damaged objects are set aside; never read again.
DAMAGED: Final = "damaged"
_PACK: Final = ".pack"


def trash_bytes(trash: Path) -> int:
    """Bytes that lie in the trash."""
    return sum(path.stat().st_size for path in trash.rglob("*") if path.is_file())


def objects_in(path: Path) -> list[Digest]:
    """The objects that a file in the trash holds."""
    if path.name.endswith(_PACK):
        return [row.digest for row in _table(path)]
    return [path.name] if len(path.name) == 64 else []


def _table(path: Path) -> list[PackRow]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return packs.read_table(fd, f"pack '{path.name}' in the trash")
    except BadPack:
        return []
    finally:
        os.close(fd)


def move_back(path: Path, objects: Path, packset: PackSet, places: Places) -> None:
    """Put a file of the trash back where it was."""
    if path.name.endswith(_PACK):
        os.rename(path, packset.directory / path.name)
        sync_directory(packset.directory)
    else:
        target = own_path(objects, path.name)
        make_directories(target.parent)
        os.rename(path, target)
        sync_directory(target.parent)
        places.register_own(path.name, target.stat().st_size, None)
    packset.refresh()


def restore(trash: Path, objects: Path, packset: PackSet, places: Places, digest: Digest) -> bool:
    """Look for one object in the trash, and bring it back with its pack; False where it is not there."""
    if not trash.is_dir():
        return False
    try:
        for directory in sorted(trash.iterdir(), reverse=True):
            if directory.name == DAMAGED:
                continue
            for path in (directory / digest, *directory.glob(f"*{_PACK}")):
                if path.exists() and digest in objects_in(path):
                    move_back(path, objects, packset, places)
                    return True
    except (AvcError, OSError):
        return False  # a read-only or half-removed trash: the object is missing, and said to be
    return False
