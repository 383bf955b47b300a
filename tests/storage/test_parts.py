"""Parts as files: what is listed, what a writer looks at, and that reading them trusts nothing (protocol P10, H2)."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactvc.core.parts import Attempt, IndexFile, encode_attempt, writer_directory
from artifactvc.errors import BadIndex, Corrupt, RemoteMissing, RemoteUnavailable
from artifactvc.storage.directory import DirectoryTransport
from artifactvc.storage.parts import Parts, changed_at, local_drafts, local_parts
from artifactvc.storage.probe import open_transport
from artifactvc.storage.remote_index import Place
from artifactvc.storage.transport import RemoteOptions, Transport
from tests.servers.fixtures import S3Server
from tests.strategies import DIGESTS

DRAFT = "d" * 32
TIME = "2026-01-01T00:00:00.000000Z"


class Counting(DirectoryTransport):
    """A directory that remembers what was asked of it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, RemoteOptions())
        self.asked: list[str] = []
        self.listed: list[str] = []

    def read(self, name: str, *, limit: int) -> bytes:
        self.asked.append(name)
        return super().read(name, limit=limit)

    def list_names(self, prefix: str) -> list[str]:
        self.listed.append(prefix)
        return super().list_names(prefix)


@pytest.fixture(params=["directory", *(pytest.param(kind, marks=pytest.mark.servers) for kind in ("moto", "radosgw"))])
def transport(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Transport:
    """Each kind of storage in turn."""
    if request.param == "directory":
        return DirectoryTransport(tmp_path, RemoteOptions())
    server: S3Server = request.getfixturevalue(request.param)
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    return open_transport(f"s3://{server.bucket()}/pre/fix", RemoteOptions())


def attempt(writer: str = "r1", number: int = 0, **more: object) -> Attempt:
    return Attempt(DRAFT, writer, number, DIGESTS[0], None, {}, TIME, **more)  # type: ignore[arg-type]


# ---- every storage lists ---------------------------------------------------------------------------


def test_all_files_below_a_directory_are_listed(transport):
    """Whole names, in order, at any depth, of that directory alone; none where there is none."""
    assert transport.list_names("drafts/d1") == []
    for name in ("drafts/d1/b/0/part.json", "drafts/d1/a", "drafts/d10/x", "drafts/d1x", "log/0", "drafts/d1/b/1/y"):
        transport.upload(name, b"1")
    assert transport.list_names("drafts/d1") == ["drafts/d1/a", "drafts/d1/b/0/part.json", "drafts/d1/b/1/y"]
    assert transport.list_names("drafts") == sorted(
        ["drafts/d1/a", "drafts/d1/b/0/part.json", "drafts/d1/b/1/y", "drafts/d10/x", "drafts/d1x"]
    )
    transport.remove("drafts/d1/a")
    assert transport.list_names("drafts/d1") == ["drafts/d1/b/0/part.json", "drafts/d1/b/1/y"]


@pytest.mark.servers
def test_more_than_a_page_is_listed(moto, monkeypatch):
    """S3 answers with a thousand names at most; all come."""
    for name, value in moto.env.items():
        monkeypatch.setenv(name, value)
    bucket, client = moto.bucket(), moto.client()
    names = [f"drafts/d/{n:04}" for n in range(1005)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: client.put_object(Bucket=bucket, Key=name, Body=b""), names))
    assert open_transport(f"s3://{bucket}", RemoteOptions()).list_names("drafts/d") == names


def test_names_that_remotes_do_not_have_are_left_out(tmp_path):
    """What some tool put there is nobody's part."""
    root = tmp_path / "remote"
    for name in ("drafts/d/ok", "drafts/d/.hidden", "drafts/d/white space", "drafts/d/.snap/x"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    assert DirectoryTransport(root, RemoteOptions()).list_names("drafts/d") == ["drafts/d/ok"]


def test_a_remote_that_is_gone_is_not_an_empty_one(tmp_path):
    """A directory that is not mounted is an error: else a finish would find no parts."""
    with pytest.raises(RemoteUnavailable, match="is not there"):
        DirectoryTransport(tmp_path / "gone", RemoteOptions()).list_names("drafts/d")


# ---- attempts --------------------------------------------------------------------------------------


def test_an_attempt_is_created_once(transport):
    """The first of a number stays; all are listed, and the last of each writer is read, ordered by writer."""
    parts = Parts(transport, DRAFT)
    assert (parts.listing(), parts.last("r1")) == ({}, None)
    assert parts.create(attempt(run={"project": "p"}))
    assert not parts.create(attempt())
    assert parts.create(attempt(number=1))
    assert parts.create(attempt("R1"))
    directory = writer_directory("R1")
    assert parts.listing() == {"r1": [0, 1], directory: [0]}
    assert [(found.writer, found.attempt) for found in parts.read(parts.listing())] == [("R1", 0), ("r1", 1)]
    assert len(parts.read_all(parts.listing())) == 3
    assert parts.last("r1") == attempt(number=1)


@settings(max_examples=15)
@given(count=st.integers(0, 20))
def test_a_writer_finds_its_last_attempt_without_listing(tmp_path_factory, count):
    """A few questions, about its own attempts only, however many others there are."""
    transport = Counting(tmp_path_factory.mktemp("r"))
    parts = Parts(transport, DRAFT)
    for n in range(count):
        assert parts.create(attempt(number=n))
    for other in range(3):
        parts.create(attempt(f"other{other}"))
    found = parts.last("r1")
    assert (found.attempt if found else None) == (count - 1 if count else None)
    assert transport.listed == []
    assert all(name.startswith(f"drafts/{DRAFT}/r1/") for name in transport.asked)
    assert len(transport.asked) <= 2 * count.bit_length() + 2


def test_an_attempt_that_is_not_complete_is_not_seen(transport):
    """Its index file is uploaded first; without its document it is as if it had not begun."""
    parts = Parts(transport, DRAFT)
    place = Place(DIGESTS[0], "push/file.pack", 8, 5, 5, 0)
    index = parts.store_index("r1/0", "0" * 16, [place])
    assert parts.listing() == {}
    assert parts.create(attempt(index=index))
    assert list(parts.places(parts.read(parts.listing()))) == [place]


def test_a_listing_cannot_make_others_look_for_millions(tmp_path):
    """Only what is listed is read, and numbers have a bound (protocol H2)."""
    transport = Counting(tmp_path)
    parts = Parts(transport, DRAFT)
    parts.create(attempt(number=999_999))
    transport.upload(f"drafts/{DRAFT}/r1/1000000/part.json", b"x")
    transport.upload(f"drafts/{DRAFT}/r1/007/part.json", b"x")
    transport.upload(f"drafts/{DRAFT}/r1/0/other.json", b"x")
    assert parts.listing() == {"r1": [999_999]}
    assert [found.attempt for found in parts.read_all(parts.listing())] == [999_999]
    assert len(transport.asked) == 1


def test_what_is_there_is_checked(tmp_path):
    """A document of another place, a part that is gone, an index that is not the one named: each is an error."""
    transport = DirectoryTransport(tmp_path, RemoteOptions())
    parts = Parts(transport, DRAFT)
    transport.upload(f"drafts/{DRAFT}/r2/0/part.json", encode_attempt(attempt()))
    with pytest.raises(Corrupt, match="part 'r2/0' of draft 'dddddddd' is damaged") as caught:
        parts.read(parts.listing())
    assert caught.value.hint == f"remove 'drafts/{DRAFT}/r2/0' and put the part in again"
    with pytest.raises(RemoteMissing, match="part 'r9/0' of draft 'dddddddd' is gone"):
        parts.read({"r9": [0]})
    for data, fault in ((None, "missing"), (b"other", "damaged")):
        if data is not None:
            transport.upload(f"drafts/{DRAFT}/r1/0/index-{'0' * 16}", data)
        named = attempt(index=IndexFile(f"r1/0/index-{'0' * 16}", DIGESTS[0], 5))
        with pytest.raises(BadIndex, match=f"is {fault}"):
            list(parts.places([named]))


def test_the_closing_mark_is_seen_by_all(transport):
    """Set once or often."""
    one, two = Parts(transport, DRAFT), Parts(transport, DRAFT)
    assert not one.is_closing()
    two.mark_closing()
    two.mark_closing()
    assert one.is_closing()
    assert not Parts(transport, "e" * 32).is_closing()
    assert one.listing() == {}


# ---- in a repository ---------------------------------------------------------------------------------


def test_local_drafts_are_told_from_others(tmp_path):
    """By their ids; the age of one is that of the newest thing in it."""
    assert local_drafts(tmp_path) == []
    local_parts(tmp_path, DRAFT).create(attempt())
    (tmp_path / "drafts" / f"p-{DRAFT}.json").write_bytes(b"{}")
    assert local_drafts(tmp_path) == [DRAFT]
    for directory, _, _ in os.walk(tmp_path / "drafts" / DRAFT):
        os.utime(directory, (1000, 1000))
    assert changed_at(tmp_path, DRAFT) == 1000
    local_parts(tmp_path, DRAFT).create(attempt(number=1))
    assert changed_at(tmp_path, DRAFT) > 1000
    assert changed_at(tmp_path, "e" * 32) == 0
