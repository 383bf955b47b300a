"""The needed part of packs on a remote, written anew: for gc alone.

Nothing of it is kept here: parts of the old packs come by ranges, each object is checked
against its digest, and goes into a new pack as it was stored. Memory is a few parts.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from artifactvc.errors import AvcError, DigestMismatch
from artifactvc.ops.session import Session
from artifactvc.storage.incoming import runs_of
from artifactvc.storage.packs import TARGET, PackRow, PackWriter, decode_object
from artifactvc.storage.remote import Remote
from artifactvc.storage.remote_files import RemoteFiles, UsedFile
from artifactvc.storage.remote_index import Place
from artifactvc.util.files import temporary
from artifactvc.util.hashing import digest_bytes

#: Packs with fewer bytes are put together once there are many of them: each costs every reader a request.
_SMALL: Final = 1 << 20
_MANY: Final = 64


def small_packs(packs: Sequence[UsedFile]) -> list[UsedFile]:
    """The packs that are worth putting together."""
    small = [file for file in packs if file.stored < _SMALL]
    return small if len(small) >= _MANY else []


def write_anew(session: Session, remote: Remote, files: RemoteFiles, names: Sequence[str]) -> list[Place]:
    """Store what is needed of the packs *names* in new ones on the remote; where each object is now.

    Raises DigestMismatch where an object there is damaged: the old pack then stays as it is.
    """
    if not names:
        return []
    writer = _Writer(session, remote)
    try:
        for name in names:
            _copy(remote, name, files.chosen_rows(name), writer)
        writer.flush()
    except BaseException:
        writer.discard()
        take_back(remote, writer.places, ())
        raise
    return writer.places


def _copy(remote: Remote, name: str, rows: Sequence[PackRow], writer: _Writer) -> None:
    runs = runs_of(Place(row.digest, name, *row[1:]) for row in rows)
    where = f"'{name}' of remote '{remote.name}'"
    for position, data in remote.transport.read_ranges([run.asked for run in runs]):
        for place, stored in runs[position].slices(data):
            actual = digest_bytes(decode_object(stored, place.codec, place.length, where))
            if actual != place.digest:
                raise DigestMismatch(place.digest, actual, where)
            writer.add(PackRow(place.digest, *place[2:]), bytes(stored))


class _Writer:
    """Fills packs under ``tmp/`` and sends each when it is full."""

    def __init__(self, session: Session, remote: Remote) -> None:
        self._session, self._remote = session, remote
        self._directory = secrets.token_hex(8)
        self._pack: PackWriter | None = None
        self.places: list[Place] = []

    def add(self, row: PackRow, stored: bytes) -> None:
        self._pack = self._pack or PackWriter(temporary(self._session.avc.tmp, "pack"))
        self._pack.add_stored(row, stored)
        if self._pack.size >= TARGET:
            self.flush()

    def flush(self) -> None:
        pack, self._pack = self._pack, None
        if pack is None:
            return
        try:
            pack.finish()
            file = f"{self._directory}/{secrets.token_hex(16)}.pack"
            self._remote.transport.upload(f"packs/{file}", pack.staged)
            self.places += [Place(row.digest, file, row.offset, row.stored, row.length, row.codec) for row in pack.rows]
        finally:
            pack.discard()

    def discard(self) -> None:
        if self._pack is not None:
            self._pack.discard()
            self._pack = None


def take_back(remote: Remote, places: Iterable[Place], index: Sequence[Mapping[str, Any]]) -> None:
    """Remove what was stored for an entry that was not created: nobody else has heard these names.

    What cannot be removed now is found by a later gc as files of a push that never landed.
    """
    names = [f"packs/{file}" for file in dict.fromkeys(place.file for place in places)]
    for name in [*(f"index/{file['id']}" for file in index), *names]:
        with contextlib.suppress(AvcError):
            remote.transport.remove(name)
