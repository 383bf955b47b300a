"""The SSH file transfer protocol, version 3, as OpenSSH speaks it, over a channel that is open.

(draft-ietf-secsh-filexfer-02, and OpenSSH's PROTOCOL for what it adds.) Paramiko's own client
sends reads ahead from a thread that nobody hears fail, and does not tell what the server
offers; on a line with a delay, everything here hangs on how many requests are under way.

- A ``Wire`` keeps a bounded number of requests under way and takes their answers in order.
- A ``Wire`` belongs to one thread at a time. After ``Broken`` it is of no more use; after a
  ``Status`` it is, once it has ``settled``.
"""

from __future__ import annotations

import stat
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple, Protocol

READ: Final = 0x01
WRITE: Final = 0x02
NEW: Final = 0x02 | 0x08 | 0x20  # to write, made by this call

EOF: Final = 1
NO_SUCH_FILE: Final = 2
PERMISSION_DENIED: Final = 3

FSYNC: Final = "fsync@openssh.com"
LINK: Final = "hardlink@openssh.com"
REPLACE: Final = "posix-rename@openssh.com"
SPACE: Final = "statvfs@openssh.com"
LIMITS: Final = "limits@openssh.com"

_INIT, _VERSION, _OPEN, _CLOSE, _READ, _WRITE, _FSTAT = 1, 2, 3, 4, 5, 6, 8
_OPENDIR, _READDIR, _REMOVE, _MKDIR, _RMDIR, _STAT, _RENAME = 11, 12, 13, 14, 15, 17, 18
_STATUS, _HANDLE, _DATA, _NAMES, _ATTRS, _EXTENDED, _EXTENDED_REPLY = 101, 102, 103, 104, 105, 200, 201

_UNDER_WAY: Final = 32  # requests: 8 MiB where the server takes large ones
_PIECE: Final = 32 << 10  # bytes that every server reads or writes at once
_LARGEST: Final = 256 << 10  # bytes that this side asks for at once
_LONGEST: Final = 1 << 20  # bytes of a packet that this side takes


class Channel(Protocol):
    """What carries a conversation. Raises Broken."""

    def receive(self, count: int) -> bytes:
        """Some bytes, at most *count*; none at the end."""

    def send(self, data: bytes) -> None:
        """Send all of it."""


class Broken(Exception):
    """The connection is of no more use: cut, silent for too long, or not speaking SFTP."""


class Status(Exception):
    """An answer of the server that says no: its code, and its text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code, self.text = code, text


class Attributes(NamedTuple):
    """What is known of a file."""

    size: int
    mode: int
    modified: float

    @property
    def is_directory(self) -> bool:
        """A directory, not a link to one."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        """A plain file."""
        return stat.S_ISREG(self.mode)


Request = tuple[int, bytes]


def _text(value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack(">I", len(data)) + data


class _Answer:
    """The fields of one answer, read from its beginning."""

    def __init__(self, kind: int, data: memoryview) -> None:
        self.kind, self._data = kind, data

    def number(self, form: str = ">I") -> int:
        size = struct.calcsize(form)
        if len(self._data) < size:
            raise Broken("an answer is cut short")
        value: int = struct.unpack(form, self._data[:size])[0]
        self._data = self._data[size:]
        return value

    def text(self) -> bytes:
        size = self.number()
        if len(self._data) < size:
            raise Broken("an answer is cut short")
        value, self._data = bytes(self._data[:size]), self._data[size:]
        return value

    def attributes(self) -> Attributes:
        flags = self.number()
        size = self.number(">Q") if flags & 1 else 0
        if flags & 2:
            self.number(">Q")  # owner and group
        mode = self.number() if flags & 4 else 0
        modified = (self.number(), self.number())[1] if flags & 8 else 0
        if flags & 0x80000000:
            for _ in range(self.number()):
                self.text(), self.text()
        return Attributes(size, mode, float(modified))

    def more(self) -> bool:
        return bool(self._data)


def _checked(answer: _Answer, wanted: int) -> _Answer:
    """*answer* if it is of the kind wanted; Status if it says no."""
    if answer.kind == _STATUS:
        code, text = answer.number(), answer.text() if answer.more() else b""
        if code or wanted != _STATUS:
            raise Status(code, text.decode(errors="replace"))
    elif answer.kind != wanted:
        raise Broken(f"an answer of kind {answer.kind} where {wanted} belongs")
    return answer


class Wire:
    """One conversation with a server."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._number = 0
        self._arrived: dict[int, _Answer] = {}
        self._waiting: set[int] = set()
        self._send(_INIT, struct.pack(">I", 3))
        kind, data = self._packet()
        hello = _Answer(kind, data)
        if kind != _VERSION or hello.number() < 3:
            raise Broken("the server does not speak SFTP")
        self.offers: dict[str, bytes] = {}
        while hello.more():
            name, about = hello.text(), hello.text()
            self.offers[name.decode(errors="replace")] = about
        self.piece = self._limits()

    def _limits(self) -> int:
        """How many bytes one request may read or write."""
        if LIMITS not in self.offers:
            return _PIECE
        answer = self._ask((_EXTENDED, _text(LIMITS)), _EXTENDED_REPLY)
        _, reading, writing = (answer.number(">Q") for _ in range(3))
        return max(_PIECE, min(_LARGEST, reading or _PIECE, writing or _PIECE))

    @property
    def settled(self) -> bool:
        """Whether every request has had its answer."""
        return not self._waiting

    # ---- packets -----------------------------------------------------------------------------------

    def _send(self, kind: int, data: bytes) -> None:
        self._channel.send(struct.pack(">IB", len(data) + 1, kind) + data)

    def _receive(self, count: int) -> bytearray:
        data = bytearray()
        while len(data) < count:
            piece = self._channel.receive(count - len(data))
            if not piece:
                raise Broken("the server has hung up")
            data += piece
        return data

    def _packet(self) -> tuple[int, memoryview]:
        (size,) = struct.unpack(">I", self._receive(4))
        if not 1 <= size <= _LONGEST:
            raise Broken(f"a packet of {size} bytes")
        data = memoryview(self._receive(size))
        return data[0], data[1:]

    def _post(self, request: Request) -> int:
        kind, data = request
        self._number = self._number + 1 & 0xFFFFFFFF
        self._waiting.add(self._number)
        self._send(kind, struct.pack(">I", self._number) + data)
        return self._number

    def _await(self, number: int) -> _Answer:
        while number not in self._arrived:
            kind, data = self._packet()
            if len(data) < 4:
                raise Broken("an answer is cut short")
            (of,) = struct.unpack(">I", data[:4])
            if of not in self._waiting:
                raise Broken("an answer to what was not asked")
            self._waiting.remove(of)
            self._arrived[of] = _Answer(kind, data[4:])
        return self._arrived.pop(number)

    def _replies(self, requests: Iterable[Request]) -> Iterator[_Answer]:
        """The answers to *requests*, in their order, whatever they say; the requests are drawn as answers come."""
        under_way: deque[int] = deque()
        for request in requests:
            if len(under_way) >= _UNDER_WAY:
                yield self._await(under_way.popleft())
            under_way.append(self._post(request))
        while under_way:
            yield self._await(under_way.popleft())

    def _ask(self, request: Request, wanted: int) -> _Answer:
        """One request and its answer; Status if it says no."""
        return _checked(self._await(self._post(request)), wanted)

    def _each(self, requests: Iterable[Request], wanted: int) -> list[_Answer | Status]:
        """All answers, those that say no as what they say."""
        found: list[_Answer | Status] = []
        for answer in self._replies(requests):
            try:
                found.append(_checked(answer, wanted))
            except Status as status:
                found.append(status)
        return found

    # ---- names -------------------------------------------------------------------------------------

    def stat(self, path: str) -> Attributes | None:
        """What stands at *path*, links followed; None for nothing."""
        try:
            return self._ask((_STAT, _text(path)), _ATTRS).attributes()
        except Status as status:
            if status.code == NO_SUCH_FILE:
                return None
            raise

    def make_directory(self, path: str) -> None:
        """Make a directory."""
        self._ask((_MKDIR, _text(path) + struct.pack(">I", 0)), _STATUS)

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory."""
        self._ask((_RMDIR, _text(path)), _STATUS)

    def remove(self, path: str) -> None:
        """Remove a file."""
        self._ask((_REMOVE, _text(path)), _STATUS)

    def rename(self, old: str, new: str) -> None:
        """Rename a file; servers refuse it, as they should, if *new* is there."""
        self._ask((_RENAME, _text(old) + _text(new)), _STATUS)

    def extended(self, name: str, *paths: bytes | str) -> None:
        """One of OpenSSH's additions about paths or handles."""
        self._ask((_EXTENDED, _text(name) + b"".join(map(_text, paths))), _STATUS)

    def free(self, path: str) -> int | None:
        """Bytes free, to this user, where *path* is; None if the server does not tell."""
        if SPACE not in self.offers:
            return None
        answer = self._ask((_EXTENDED, _text(SPACE) + _text(path)), _EXTENDED_REPLY)
        _, unit, _, _, available = (answer.number(">Q") for _ in range(5))
        return unit * available

    def entries(self, directories: Iterable[str]) -> dict[str, list[tuple[str, Attributes]]]:
        """What is in each of *directories*, read side by side; those that are not there are left out."""
        paths = list(directories)
        opened = self._each(((_OPENDIR, _text(path)) for path in paths), _HANDLE)
        handles: dict[str, bytes] = {}
        for path, answer in zip(paths, opened, strict=True):
            if isinstance(answer, _Answer):
                handles[path] = answer.text()
            elif answer.code != NO_SUCH_FILE:
                raise answer
        found: dict[str, list[tuple[str, Attributes]]] = {path: [] for path in handles}
        left = dict(handles)
        while left:
            answers = self._each([(_READDIR, _text(handle)) for handle in left.values()], _NAMES)
            for path, answer in zip(list(left), answers, strict=True):
                if isinstance(answer, _Answer):
                    found[path] += self._names(answer)
                elif answer.code == EOF:
                    del left[path]
                else:
                    raise answer
        self._each(((_CLOSE, _text(handle)) for handle in handles.values()), _STATUS)
        return found

    def _names(self, answer: _Answer) -> Iterator[tuple[str, Attributes]]:
        for _ in range(answer.number()):
            name = answer.text()
            answer.text()  # a line as of ls
            yield name.decode(errors="surrogateescape"), answer.attributes()

    # ---- content -----------------------------------------------------------------------------------

    def open(self, path: str, flags: int) -> bytes:
        """A handle on a file."""
        return self._ask((_OPEN, _text(path) + struct.pack(">II", flags, 0)), _HANDLE).text()

    def open_many(self, paths: Iterable[str]) -> list[bytes | Status]:
        """Handles for reading, or why there is none."""
        answers = self._each(((_OPEN, _text(path) + struct.pack(">II", READ, 0)) for path in paths), _HANDLE)
        return [answer.text() if isinstance(answer, _Answer) else answer for answer in answers]

    def close(self, handles: Iterable[bytes]) -> None:
        """Close files; Status if one of them says no."""
        for answer in self._each(((_CLOSE, _text(handle)) for handle in handles), _STATUS):
            if isinstance(answer, Status):
                raise answer

    def size(self, handle: bytes) -> int:
        """Bytes of an open file."""
        return self._ask((_FSTAT, _text(handle)), _ATTRS).attributes().size

    def sync(self, handle: bytes) -> None:
        """Make an open file durable, where the server can."""
        if FSYNC in self.offers:
            self.extended(FSYNC, handle)

    def read(self, wanted: Iterable[tuple[bytes, int, int]]) -> Iterator[bytes]:
        """The pieces asked for, (handle, start, length) each of at most ``piece`` bytes; less where a file ends."""
        asked: deque[tuple[bytes, int, int]] = deque()

        def requests() -> Iterator[Request]:
            for handle, start, length in wanted:
                asked.append((handle, start, length))
                yield _READ, _text(handle) + struct.pack(">QI", start, length)

        for answer in self._replies(requests()):
            handle, start, length = asked.popleft()
            data = self._content(answer, length)
            while data and len(data) < length:  # it may give less, and does at the end
                rest = (_READ, _text(handle) + struct.pack(">QI", start + len(data), length - len(data)))
                more = self._content(self._await(self._post(rest)), length - len(data))
                if not more:
                    break
                data += more
            yield data

    def _content(self, answer: _Answer, most: int) -> bytes:
        try:
            data = _checked(answer, _DATA).text()
        except Status as status:
            if status.code != EOF:
                raise
            return b""
        if len(data) > most:
            raise Broken("an answer with more than was asked for")
        return data

    def write(self, handle: bytes, pieces: Iterable[tuple[int, bytes]], done: Callable[[int], Any]) -> None:
        """Write (start, bytes) each of at most ``piece`` bytes; *done* hears how many of them the server has."""
        sizes: deque[int] = deque()

        def requests() -> Iterator[Request]:
            for start, data in pieces:
                sizes.append(len(data))
                yield _WRITE, _text(handle) + struct.pack(">Q", start) + _text(data)

        for answer in self._replies(requests()):
            _checked(answer, _STATUS)
            done(sizes.popleft())
