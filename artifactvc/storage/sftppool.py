"""Connections to a host for SFTP: one for each thread at work, kept for the next, made anew when they break."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from artifactvc.errors import RemoteUnavailable
from artifactvc.storage.sftpwire import Broken, Wire
from artifactvc.storage.ssh import Connection, SshPlace, no_sftp
from artifactvc.storage.transport import NO_ANSWER, RemoteOptions
from artifactvc.util.backoff import after_no_answer

T = TypeVar("T")

_AT_ONCE: Final = 4
#: Connections that a forked child has of its parent: kept, since letting go of one would say good-bye on it.
_OF_PARENTS: Final[list[object]] = []


class Pool:
    """Connections that nobody uses just now, and how many there may be."""

    def __init__(self, place: SshPlace, options: RemoteOptions) -> None:
        self._place, self._options = place, options
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._places = threading.Semaphore(_AT_ONCE)
        self._idle: list[tuple[Connection, Wire]] = []

    @contextlib.contextmanager
    def lent(self) -> Iterator[Wire]:
        """A connection for the block; at its end it is kept if it is sound, else hung up."""
        if self._pid != os.getpid():
            _OF_PARENTS.extend(self._idle)
            self._begin()
        with self._places:
            connection, wire = self._take()
            try:
                yield wire
            finally:
                if wire.settled and connection.alive:
                    self._idle.append((connection, wire))
                else:
                    connection.close()

    def _take(self) -> tuple[Connection, Wire]:
        while True:
            try:
                connection, wire = self._idle.pop()
            except IndexError:
                return _connect(self._place, self._options)
            if connection.alive:
                return connection, wire
            connection.close()

    def close(self) -> None:
        """Hang up all that are idle; never those of a parent."""
        while self._idle and self._pid == os.getpid():
            self._idle.pop()[0].close()

    def again(self, work: Callable[[Wire], T], *, progress: Callable[[], int] = lambda: 0) -> T:
        """Do what may be done more than once, again when the connection fails; tries count from the last progress."""
        attempt, before = 0, progress()
        while True:
            try:
                with self.lent() as wire:
                    return work(wire)
            except Broken as error:
                if progress() != before:
                    attempt, before = 0, progress()
                attempt += 1
                if attempt >= self._options.retries:
                    raise RemoteUnavailable(f"'{self._place.url}' does not answer ({error})", hint=NO_ANSWER) from error
                after_no_answer(attempt - 1)


def _connect(place: SshPlace, options: RemoteOptions) -> tuple[Connection, Wire]:
    connection = Connection(place, options)
    try:
        return connection, Wire(connection)
    except Broken as error:
        dismissed = connection.dismissed
        connection.close()
        if dismissed:
            raise no_sftp(place) from error
        raise
    except BaseException:
        connection.close()
        raise
