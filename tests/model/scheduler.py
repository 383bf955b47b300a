"""Actors that take turns: one runs at a time, from one call of the remote to its next; who is next, a seed says."""

from __future__ import annotations

import random
import threading
import traceback
from collections.abc import Callable

_STUCK = 60.0  # seconds: an actor that neither comes to a call nor ends waits for somebody who has no turn


class Died(BaseException):
    """The actor's process is killed here; no handler of the code under test may take it for an error."""


class Actor:
    """Work in a thread of its own that runs only when it is given the turn."""

    def __init__(self, name: str, work: Callable[[Actor], None], back: threading.Semaphore) -> None:
        self.name, self.over, self.quitting = name, False, False
        self.fuse = 0  # calls of the remote until the process is killed; 0: it is not
        self.failure = ""
        self._work, self._back = work, back
        self._turn = threading.Semaphore(0)
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _run(self) -> None:
        self._turn.acquire()
        try:
            if not self.quitting:
                self._work(self)
        except Died:
            pass
        except BaseException:  # noqa: BLE001  told by whoever plays the schedule
            self.failure = traceback.format_exc()
        finally:
            self.over = True
            self._back.release()

    def pause(self) -> None:
        """Give the turn away, and go on when it comes back; Died if the process was killed meanwhile."""
        if threading.current_thread() is not self.thread:
            return  # a thread that the actor itself started and waits for
        self._back.release()
        self._turn.acquire()
        if self.fuse:
            self.fuse -= 1
            if not self.fuse:
                raise Died
        if self.quitting:
            raise Died

    def resume(self) -> None:
        """Let the actor run to its next pause, or its end."""
        if self.thread.ident is None:
            self.thread.start()
        self._turn.release()


class Scheduler:
    """Runs actors to their ends, in an order that *rng* draws."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.steps = rng, 0
        self._back = threading.Semaphore(0)
        self.actors: list[Actor] = []

    def add(self, name: str, work: Callable[[Actor], None]) -> Actor:
        """One more actor."""
        actor = Actor(name, work, self._back)
        self.actors.append(actor)
        return actor

    def run(self, between: Callable[[], None]) -> None:
        """Give turns until all have ended; *between* is called before each."""
        try:
            while living := [actor for actor in self.actors if not actor.over]:
                between()
                self.steps += 1
                self._turn(self.rng.choice(living))
        finally:
            for actor in self.actors:
                actor.quitting = True
                while not actor.over:
                    self._turn(actor)

    def _turn(self, actor: Actor) -> None:
        actor.resume()
        if not self._back.acquire(timeout=_STUCK):
            raise RuntimeError(f"'{actor.name}' waits for somebody who has no turn")
        if actor.over:
            actor.thread.join()
