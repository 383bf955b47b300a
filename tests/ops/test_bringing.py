"""Objects on their way here: several at once, what a kill or a cut costs, and what is asked for at all."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from artifactvc.errors import Corrupt, DigestMismatch, RemoteUnavailable
from artifactvc.ops import transfer
from artifactvc.ops.sending import AT_ONCE
from artifactvc.sdk.repository import RemoteOptions, Repository
from artifactvc.storage.directory import DirectoryTransport
from tests.support import Meeting, clone, inside, new, origin, reopen, tree, version

LARGE = 150_000  # bytes: a file of its own on the remote
FILES = 10
PIECE = 64 << 10


class Counted:
    """What a directory remote was asked for, in bytes by name; it may fail after so many requests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, log: Path | None = None) -> None:
        self.bytes: dict[str, int] = {}
        self._log = None if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.requests: list[str] = []
        self.before: Callable[[str], None] = lambda name: None
        self._lock = threading.Lock()
        reals = DirectoryTransport.download, DirectoryTransport.read_ranges, DirectoryTransport.read
        download, read_ranges, read = reals

        def counted_download(its: DirectoryTransport, name: str, target: Path, size: int, **more: object) -> None:
            self._count(name, size)
            download(its, name, target, size, **more)  # type: ignore[arg-type]
            self._came(name, 0, size)

        def counted_ranges(
            its: DirectoryTransport, wanted: Sequence[tuple[str, int, int]]
        ) -> Iterator[tuple[int, bytes]]:
            for position, (name, start, length) in enumerate(wanted):
                self._count(name, length)
                for _, data in read_ranges(its, wanted[position : position + 1]):
                    self._came(name, start, length)
                    yield position, data

        def counted_read(its: DirectoryTransport, name: str, *, limit: int) -> bytes:
            data = read(its, name, limit=limit)
            self._count(name, len(data))
            return data

        monkeypatch.setattr(DirectoryTransport, "download", counted_download)
        monkeypatch.setattr(DirectoryTransport, "read_ranges", counted_ranges)
        monkeypatch.setattr(DirectoryTransport, "read", counted_read)

    def _count(self, name: str, size: int) -> None:
        with self._lock:
            self.before(name)
            self.bytes[name] = self.bytes.get(name, 0) + size
            self.requests.append(name)

    def _came(self, name: str, start: int, length: int) -> None:
        if self._log is not None:
            os.write(self._log, f"{name} {start} {length}\n".encode())

    def clear(self) -> None:
        self.bytes, self.requests = {}, []

    def of(self, kind: str) -> int:
        """Bytes below ``packs/``, ``index/`` or ``log/``."""
        return sum(size for name, size in self.bytes.items() if name.startswith(kind))

    def requests_of(self, kind: str) -> int:
        """Requests for names below the same."""
        return sum(name.startswith(kind) for name in self.requests)


@pytest.fixture
def counted(monkeypatch):
    return Counted(monkeypatch)


@pytest.fixture
def in_pieces(monkeypatch):
    """As if the directory were a kind of remote whose files come in pieces, and those were small."""
    monkeypatch.setattr(DirectoryTransport, "kind", "slow")
    monkeypatch.setattr(transfer, "_PIECE", PIECE)


def _published(tmp_path: Path, files: dict[str, bytes]) -> Repository:
    one = new(tmp_path / "one")
    origin(one, tmp_path / "remote")
    version(one, files)
    one.push()
    one.close()
    return clone(tmp_path / "remote", tmp_path / "other")


def _right(tmp_path: Path) -> None:
    with reopen(tmp_path / "other") as other:
        assert other.pull().objects == 0, "all is here"
        with inside(tmp_path / "other"):
            other.checkout("data")
        assert other.fsck(full=True).problems == ()
    assert tree(tmp_path / "other" / "data") == tree(tmp_path / "one" / "data")
    assert [p.name for p in (tmp_path / "other" / ".artifacts" / "tmp").iterdir() if "part-" in p.name] == []


def test_several_come_at_once_and_no_more(tmp_path, rng, counted, in_pieces):
    """Pieces of one large object, too: as many as there are threads."""
    other = _published(tmp_path, {"large": rng.randbytes(8 * PIECE)})
    meeting = Meeting(AT_ONCE)
    real = DirectoryTransport.read_ranges

    def read_ranges(its: DirectoryTransport, wanted: Sequence[tuple[str, int, int]]) -> Iterator[tuple[int, bytes]]:
        if wanted[0][2] == PIECE:
            meeting.attend()
        yield from real(its, wanted)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DirectoryTransport, "read_ranges", read_ranges)
        other.pull()
    assert (meeting.now, meeting.most) == (0, AT_ONCE)
    other.close()
    _right(tmp_path)


def _pull_and_die(workspace: Path, moment: int, log: Path) -> bool:
    """Pull in a child that kills itself before the *moment*-th request; *log* has what had come. Whether it died."""
    child = os.fork()
    if child == 0:
        try:
            counted = Counted(pytest.MonkeyPatch(), log)

            def before(name: str) -> None:
                if len(counted.requests) == moment:
                    os.kill(os.getpid(), signal.SIGKILL)

            counted.before = before
            with reopen(workspace) as repository:
                repository.pull()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("pieces", [False, True])
def test_a_killed_pull_fetches_little_again(tmp_path, rng, request, soak, pieces):
    """Killed before any request and run again: of what had come, at most one file or piece a thread comes again."""
    if pieces:
        request.getfixturevalue("in_pieces")
    files = {f"large{i}": rng.randbytes(LARGE) for i in range(FILES)} | {"s": b"1", "t": b"2"}
    _published(tmp_path, files).close()
    shutil.copytree(tmp_path / "other", tmp_path / "before")
    requests = 4 + FILES * (-(-LARGE // PIECE) if pieces else 1)
    moments = range(requests) if soak > 1 else sorted(rng.sample(range(4, requests), 6))
    for moment in moments:
        shutil.rmtree(tmp_path / "other")
        shutil.copytree(tmp_path / "before", tmp_path / "other")
        log = tmp_path / f"log{moment}"
        assert _pull_and_die(tmp_path / "other", moment, log)
        came = [line for line in log.read_text().splitlines() if line.startswith("packs/")]
        with pytest.MonkeyPatch.context() as patch:
            counted = Counted(patch, tmp_path / "again")
            with reopen(tmp_path / "other") as other:
                other.pull()
            asked = (tmp_path / "again").read_text().splitlines()
        (tmp_path / "again").unlink()
        assert len(set(came) & set(asked)) <= AT_ONCE, f"request {moment}"
        assert len(came) + counted.requests_of("packs/") >= FILES, "all came, in one of the two"
        _right(tmp_path)


def test_a_cut_pull_goes_on_where_it_was(tmp_path, rng, counted, in_pieces):
    """The connection is lost in the middle of a large object: the pieces that came are not asked for again."""
    size = 10 * PIECE
    other = _published(tmp_path, {"large": rng.randbytes(size)})
    left = iter(range(8))  # some for the manifest

    def before(name: str) -> None:
        if name.startswith("packs/") and next(left, None) is None:
            raise RemoteUnavailable("the cable is out", hint="")

    counted.before = before
    with pytest.raises(RemoteUnavailable, match="the cable is out"):
        other.pull()
    first = counted.of("packs/")
    other.close()
    counted.before = lambda name: None
    counted.clear()
    with reopen(tmp_path / "other") as again:
        again.pull()
    assert counted.of("packs/") <= size - 6 * PIECE + AT_ONCE * PIECE, first
    _right(tmp_path)


def test_pieces_that_are_not_what_they_should_be_come_anew(tmp_path, rng, counted, in_pieces):
    """After a power cut a note may stand for bytes that never reached the disk: the digest tells, all comes again."""
    size = 6 * PIECE
    data = rng.randbytes(size)
    other = _published(tmp_path, {"large": data})
    digest = next(e.digest for e in other.entries("data") if e.path == "large")
    part = tmp_path / "other" / ".artifacts" / "tmp" / f"part-{digest}"
    part.write_bytes(bytes(2 * PIECE))
    part.with_name(part.name + ".got").write_bytes(b"0 %d\n%d 7" % (2 * PIECE, 2 * PIECE))
    other.close()
    with reopen(tmp_path / "other") as again:
        again.pull()
    _right(tmp_path)


@pytest.mark.parametrize("pieces", [False, True])
def test_a_damaged_file_is_never_taken_for_whole(tmp_path, rng, request, pieces):
    """One byte is another on the remote: one error, no object, nothing left over."""
    if pieces:
        request.getfixturevalue("in_pieces")
    other = _published(tmp_path, {"large": rng.randbytes(LARGE)})
    stored = max((tmp_path / "remote" / "packs").rglob("*"), key=lambda path: path.stat().st_size)
    damaged = bytearray(stored.read_bytes())
    damaged[LARGE // 2] ^= 1
    stored.write_bytes(damaged)
    for _ in range(2):
        with pytest.raises(DigestMismatch):
            other.pull()
        assert not list((tmp_path / "other" / ".artifacts" / "objects").rglob("??????*"))
    assert [p.name for p in (tmp_path / "other" / ".artifacts" / "tmp").iterdir()] == []


def test_objects_that_came_are_not_asked_for_again_after_an_error(tmp_path, rng, counted):
    """The remote fails after some objects: the next pull asks for the others only."""
    files = {f"large{i}": rng.randbytes(LARGE) for i in range(FILES)}
    other = _published(tmp_path, files)
    left = iter(range(6))

    def before(name: str) -> None:
        if counted.bytes.get(name) is None and name.startswith("packs/") and next(left, None) is None:
            raise RemoteUnavailable("the cable is out", hint="")

    counted.before = before
    with pytest.raises(RemoteUnavailable):
        other.pull()
    came = {name for name in counted.bytes if name.startswith("packs/")}
    other.close()
    counted.before = lambda name: None
    counted.clear()
    with reopen(tmp_path / "other") as again:
        again.pull()
    asked = {name for name, size in counted.bytes.items() if size == LARGE}
    assert len(asked & came) <= AT_ONCE
    assert len(asked) < FILES
    _right(tmp_path)


def test_a_damaged_remote_is_passed_over(tmp_path, rng):
    """What is bad on origin comes from another remote, and it is said; with no other it is an error."""
    other = _published(tmp_path, {"large": rng.randbytes(LARGE), "small": b"1"})
    with reopen(tmp_path / "one") as one:
        one.remote_add("copy", str(tmp_path / "copy"), options=RemoteOptions())
        one.push("copy")
    for stored in [path for path in (tmp_path / "remote" / "packs").rglob("*") if path.is_file()]:
        stored.write_bytes(bytes(stored.stat().st_size))
    with pytest.raises(Corrupt):
        other.pull()
    other.remote_add("copy", str(tmp_path / "copy"), options=RemoteOptions())
    other.fetch("copy")
    other.pull()
    assert any("another remote has a sound copy" in text for text in other.notices)
    other.close()
    _right(tmp_path)
