"""A remote that is only read, from any server of HTTP: a bucket or a directory served as a static site.

- Ranges are asked for and the answer is checked: a server that ignores them sends the whole
  file, of which the parts are cut out as it passes by. Nothing is taken that has another
  length than was asked for, or comes compressed.
- 403 and 404 both say that a file is not there, where it may be missing (protocol R2).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from itertools import chain, groupby
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from artifactvc.errors import (
    Corrupt,
    ReadOnly,
    RemoteMissing,
    RemoteUnavailable,
    StorageError,
    UsageError,
)
from artifactvc.storage.httpclient import AT_ONCE, HttpClient, NoAnswer
from artifactvc.storage.transport import (
    NO_ANSWER,
    Advance,
    Listing,
    RemoteOptions,
    Stored,
    check_name,
    lots,
    no_advance,
)
from artifactvc.util.backoff import after_no_answer
from artifactvc.util.files import write_all
from artifactvc.util.text import escape
from artifactvc.util.threads import Stop, in_threads

T = TypeVar("T")

_LOT: Final = 16 << 20  # bytes of ranges that are held


class HttpTransport(Listing):
    """The files below an address."""

    kind = "http"
    read_only = True

    def __init__(self, url: str, options: RemoteOptions) -> None:
        parts = urlsplit(url)
        if not parts.hostname or parts.query or parts.fragment:
            raise UsageError(
                f"'{escape(url)}' is not the address of files on a server",
                hint="write https://HOST/PATH, without '?' and '#'",
            )
        if parts.username:
            raise UsageError(
                "the address of a remote over HTTP holds no name", hint="put the host's name and password into ~/.netrc"
            )
        self.url, self._options = url.rstrip("/"), options
        self._client = HttpClient(self.url, options)
        self._whole_only = False  # whether this server ignores ranges

    def _begin(self, answer: Any, name: str, start: int) -> int:
        """How many bytes of *answer* stand before *start*: none where the server takes ranges."""
        if answer.status == 200:
            return start
        found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != start:
            raise StorageError(
                f"'{name}' at '{self.url}' is answered with another part than was asked for",
                hint="ask who keeps that server",
            )
        return 0

    def _stream(self, name: str, start: int = 0, end: int | None = None, *, hidden: bool = False) -> Generator[bytes]:
        """A file from *start* to *end*, or less if it ends before, asked for again from where the connection broke."""
        check_name(name)
        at, attempt = start, 0
        while end is None or at < end:
            before = at
            span = {"Range": f"bytes={at}-{'' if end is None else end - 1}"} if at or end is not None else {}
            try:
                with self._client.request(name, span) as answer:
                    self._client.check(answer, name, hidden=hidden)
                    if answer.status == 416:
                        return
                    skip = self._begin(answer, name, at)
                    self._whole_only |= bool(span) and answer.status == 200
                    for data in self._client.pieces(answer):
                        skip, data = max(0, skip - len(data)), data[skip:]
                        data = data if end is None else data[: end - at]
                        at += len(data)
                        yield data
                        if at == end:
                            return
                if end is None or at == before or answer.status == 200:
                    return
            except NoAnswer as error:
                attempt = 1 if at > before else attempt + 1
                if attempt >= self._options.retries:
                    raise RemoteUnavailable(
                        f"'{name}' at '{self.url}' does not answer ({error})", hint=NO_ANSWER
                    ) from error
                after_no_answer(attempt - 1)

    # ---- reading ---------------------------------------------------------------------------------

    def read(self, name: str, *, limit: int) -> bytes:
        """A whole file."""
        return self._whole(name, limit, hidden=False)

    def _whole(self, name: str, limit: int, *, hidden: bool) -> bytes:
        data = bytearray()
        with contextlib.closing(self._stream(name, hidden=hidden)) as pieces:
            for piece in pieces:
                data += piece
                if len(data) > limit:
                    raise Corrupt(
                        f"'{name}' at '{self.url}' is larger than {limit} bytes",
                        hint="whoever may write there damaged it",
                    )
        return bytes(data)

    def read_many(self, names: Sequence[str], *, limit: int) -> list[bytes | None]:
        """Whole files; None for those that are not there, as which 403 counts."""

        def one(position: int) -> tuple[int, bytes | None]:
            try:
                return position, self._whole(names[position], limit, hidden=True)
            except RemoteMissing:
                return position, None

        found = dict(_side_by_side([partial(one, position) for position in range(len(names))]))
        return [found[position] for position in range(len(names))]

    def read_ranges(self, wanted: Sequence[tuple[str, int, int]]) -> Iterator[tuple[int, bytes]]:
        """Parts of files, some at a time."""
        first = [[0]] if wanted else []  # it tells whether this server takes ranges
        rest = ([at + 1 for at in lot] for lot in lots(wanted[1:], _LOT))
        for lot in chain(first, rest):
            check_name(wanted[lot[0]][0])
            groups = [[at] for at in lot]
            if self._whole_only:
                groups = [
                    list(group)
                    for _, group in groupby(sorted(lot, key=lambda at: wanted[at]), lambda at: wanted[at][0])
                ]
            for found in _side_by_side([partial(self._cut, group, wanted) for group in groups]):
                yield from found

    def _cut(self, group: Sequence[int], wanted: Sequence[tuple[str, int, int]]) -> list[tuple[int, bytes]]:
        """Parts of one file, cut out of one stream."""
        name = wanted[group[0]][0]
        spans = {position: (wanted[position][1], wanted[position][1] + wanted[position][2]) for position in group}
        found = {position: bytearray() for position in group}
        at, last = min(start for start, _ in spans.values()), max(end for _, end in spans.values())
        with contextlib.closing(self._stream(name, at, last)) as pieces:
            for data in pieces:
                for position, (start, end) in spans.items():
                    found[position] += data[max(start - at, 0) : max(end - at, 0)]
                at += len(data)
        for position, (start, end) in spans.items():
            if len(found[position]) != end - start:
                raise Corrupt(f"'{name}' at '{self.url}' is cut short")
        return [(position, bytes(data)) for position, data in found.items()]

    def download(self, name: str, target: Path, size: int, *, advance: Advance = no_advance) -> None:
        """Write a file, going on where a broken connection stopped it."""
        check_name(name)
        fd = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
        done = 0
        try:
            with contextlib.closing(self._stream(name)) as pieces:
                for data in pieces:
                    if done + len(data) > size:
                        raise Corrupt(
                            f"'{name}' at '{self.url}' does not have the {size} bytes that the remote's index says"
                        )
                    write_all(fd, data)
                    done += len(data)
                    advance(len(data))
        finally:
            os.close(fd)
        if done != size:
            raise Corrupt(f"'{name}' at '{self.url}' is cut short")

    def list_files(self, prefix: str) -> list[Stored]:
        """HTTP has no way to ask what is there: StorageError."""
        check_name(prefix)
        raise StorageError(
            f"'{self.url}' cannot be listed: it is served over HTTP",
            hint="reach the same storage as a directory, a bucket or by sftp://",
        )

    # ---- writing ---------------------------------------------------------------------------------

    def upload(self, name: str, source: Path | bytes, *, advance: Advance = no_advance) -> None:
        """Refused."""
        check_name(name)
        raise self._only_read()

    def create(self, name: str, data: bytes) -> bool:
        """Refused."""
        check_name(name)
        raise self._only_read()

    def remove(self, name: str) -> None:
        """Refused."""
        check_name(name)
        raise self._only_read()

    def drop_unfinished(self, before: float) -> int:
        """Refused."""
        raise self._only_read()

    def _only_read(self) -> ReadOnly:
        return ReadOnly(
            f"the remote '{self.url}' is read-only",
            hint="push to the same storage as a directory, a bucket or by sftp://",
        )


def _side_by_side(jobs: Sequence[Callable[[], T]]) -> Iterator[T]:
    """What *jobs* return, in any order."""
    if len(jobs) == 1:
        yield jobs[0]()
    else:
        yield from in_threads(jobs, AT_ONCE, Stop())
