"""The way to the remote: a real directory below, and above it all that may happen to a request.

Before each call the actor gives its turn away, so others run there, and it may be killed
there. Answers get lost after the deed is done; requests land when their sender has long
given up ("late"); some never do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from artifactvc.errors import OutcomeUnknown, RemoteUnavailable
from artifactvc.storage.transport import Advance, Listing, Stored, no_advance

if TYPE_CHECKING:
    from tests.model.scheduler import Actor
    from tests.model.world import World


class Wire(Listing):
    """A transport for one actor; without an actor nothing happens to its requests."""

    kind = "directory"
    read_only = False

    def __init__(self, world: World, actor: Actor | None) -> None:
        self._world, self._actor, self._below = world, actor, world.directory
        self.url = world.directory.url
        self.sent = 0  # packs
        self._silent = 0  # how many of the next requests get no answer: the network is away for a while

    def _gate(self) -> None:
        self._world.calls += 1
        if self._actor is not None:
            self._actor.pause()

    def _happens(self, probability: float) -> bool:
        """Whether something goes wrong; never in the threads that an actor starts, whose order no seed decides."""
        world = self._world
        return self._actor is not None and world.faulty and world.rng.random() < probability

    def _unanswered(self, probability: float) -> bool:
        """Whether a request is not answered: one alone, or all of a while."""
        if self._silent:
            self._silent -= 1
            return self._actor is not None and self._world.faulty
        if self._happens(probability):
            self._silent = self._world.rng.choice((0, 0, 14))
            return True
        return False

    def _reading(self) -> None:
        self._gate()
        if self._unanswered(0.004):
            raise RemoteUnavailable("no answer came", hint="try again")

    # ---- reading -----------------------------------------------------------------------------------

    def read(self, name: str, *, limit: int) -> bytes:
        self._reading()
        return self._below.read(name, limit=limit)

    def read_many(self, names: Sequence[str], *, limit: int) -> list[bytes | None]:
        self._reading()
        return self._below.read_many(names, limit=limit)

    def read_ranges(self, wanted: Sequence[tuple[str, int, int]]) -> Iterator[tuple[int, bytes]]:
        for position, one in enumerate(wanted):
            self._reading()
            for _, data in self._below.read_ranges([one]):
                yield position, data

    def download(self, name: str, target: Path, size: int, *, advance: Advance = no_advance) -> None:
        self._reading()
        self._below.download(name, target, size, advance=advance)

    def list_files(self, prefix: str) -> list[Stored]:
        self._reading()
        world = self._world
        return [file._replace(modified=world.written.get(file.name, 0.0)) for file in self._below.list_files(prefix)]

    # ---- writing -----------------------------------------------------------------------------------

    def _late(self, deed: Callable[[], object]) -> None:
        self._world.late.append(deed)

    def upload(self, name: str, source: Path | bytes, *, advance: Advance = no_advance) -> None:
        self._gate()
        data = source if isinstance(source, bytes) else source.read_bytes()
        if self._unanswered(0.01):
            self._late(lambda: self._store(name, data))
            raise RemoteUnavailable("no answer came", hint="try again")
        self._store(name, data)
        advance(len(data))

    def _store(self, name: str, data: bytes) -> None:
        self.sent += name.startswith("packs/")
        self._below.upload(name, data)
        self._world.note_written(name, data)

    def create(self, name: str, data: bytes) -> bool:
        self._gate()
        if self._unanswered(0.06):
            if self._happens(0.5):
                self._late(lambda: self._make(name, data))
            raise OutcomeUnknown("no answer came", hint="try again")
        made = self._make(name, data)
        if self._actor is not None:
            self._actor.pause()  # killed here, the entry stands and its maker does not know
        if self._unanswered(0.1):
            raise OutcomeUnknown("no answer came", hint="try again")
        return made

    def _make(self, name: str, data: bytes) -> bool:
        made = self._below.create(name, data)
        if made:
            self._world.note_written(name, data)
        return made

    def remove(self, name: str) -> None:
        self._gate()
        if self._unanswered(0.01):
            self._late(lambda: self._drop(name))
            raise RemoteUnavailable("no answer came", hint="try again")
        self._drop(name)

    def _drop(self, name: str) -> None:
        self._below.remove(name)
        self._world.note_removed(name)

    def drop_unfinished(self, before: float) -> int:
        self._gate()
        return 0
