"""Importing: bytes that were elsewhere become files of a version, which tells where they came from."""

from __future__ import annotations

import os
import random
import traceback
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifactvc.errors import (
    BadName,
    BadValue,
    PathConflict,
    ReferenceChanged,
    ReferenceMissing,
    UsageError,
)
from artifactvc.sdk.repository import Repository
from artifactvc.storage.filesource import FileSource
from tests.servers.fixtures import S3Server
from tests.support import clone, inside, new, origin, reopen, tree, write

LARGE = random.Random(5).randbytes(300_000)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with a small and a larger file."""
    write(tmp_path / "mount", {"a.txt": "one\n", "sub/big.bin": LARGE})
    return tmp_path / "mount"


@pytest.fixture
def work(tmp_path: Path) -> Repository:
    """An empty repository."""
    return new(tmp_path / "work")


def told(repository: Repository, ref: str = "data") -> dict[str, str]:
    """The imported files of a version, each with the address that it came from."""
    return {e.path: e.source.uri for e in repository.entries(ref, sources=True) if e.source is not None}


def committed(repository: Repository) -> tuple[str, str | None]:
    """What a commit makes: outcome and version."""
    (done,) = repository.commit()
    return done.outcome, done.version


class Bucket:
    """A bucket of the test's own behind a server that counts requests."""

    def __init__(self, server: S3Server, *, versions: bool = False) -> None:
        self.server, self.client, self.name = server, server.client(), server.bucket(versions=versions)
        self.uri = f"s3://{self.name}"

    def put(self, files: dict[str, bytes | None]) -> None:
        """Write, replace or remove objects."""
        for key, data in files.items():
            if data is None:
                self.client.delete_object(Bucket=self.name, Key=key)
            else:
                self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def requests(self, deed: Callable[[], Any]) -> int:
        """How many GET and HEAD requests *deed* makes."""
        self.server.faults([])
        deed()
        return sum(count for method, count in self.server.seen().items() if method in ("GET", "HEAD")) - 1


@pytest.fixture
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket of moto's, which the environment knows the way to."""
    server = request.getfixturevalue("moto")
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    return Bucket(server)


# ---- what comes ---------------------------------------------------------------------------------


def test_a_directory_comes_whole(work: Repository, source: Path, tmp_path: Path):
    """As files with the digest that they have by any other road; where they came from is told."""
    staged = work.add_import(f"file://{source}", to="data", type="images")
    assert (staged.added, staged.files_read, staged.bytes_read) == (2, 2, 4 + len(LARGE))
    assert committed(work) == ("created", "v0")
    assert work.show("data").type == "images"
    assert told(work) == {"a.txt": f"file://{source}/a.txt", "sub/big.bin": f"file://{source}/sub/big.bin"}
    write(source, {"a.txt": None, "sub/big.bin": None})
    work.checkout("data", tmp_path / "out")
    assert tree(tmp_path / "out") == {"a.txt": b"one\n", "sub/big.bin": LARGE}
    other = new(tmp_path / "other", {"data/a.txt": "one\n", "data/sub/big.bin": LARGE})
    with inside(other.root):
        other.add(["data"])
    other.commit()
    assert other.show("data").digest == work.show("data").digest


def test_one_object(work: Repository, source: Path):
    """Enters by its own name, under the prefix that was asked for."""
    work.add_import(f"file://{source}/sub/big.bin", to="data", prefix="raw")
    work.commit()
    assert told(work) == {"raw/big.bin": f"file://{source}/sub/big.bin"}


def test_again_changed_and_gone(work: Repository, source: Path):
    """Unchanged data make no version; what changed comes, what is there no more goes; others' files stay."""
    write(work.root, {"own/x.txt": "mine"})
    with inside(work.root):
        work.add(["own"], to="data", prefix="own")
    work.add_import(f"file://{source}", to="data", prefix="raw")
    work.commit()
    again = work.add_import(f"file://{source}", to="data", prefix="raw")
    assert (again.added, again.modified, again.removed, again.files_read) == (0, 0, 0, 0)
    assert work.commit() == []
    write(source, {"a.txt": "two\n", "sub/big.bin": None, "new.txt": "new"})
    plan = work.add_import(f"file://{source}", to="data", prefix="raw", dry_run=True)
    assert {(c.path, c.status) for c in plan.changes} == {
        ("raw/a.txt", "modified"), ("raw/new.txt", "added"), ("raw/sub/big.bin", "removed"),
    }  # fmt: skip
    assert work.status().clean
    write(source.parent, {"other.txt": "x"})
    work.add_import(f"file://{source.parent}/other.txt", to="data", dry_run=True)
    assert (work.avc_root / "adopted").read_text() == f"file://{source}\n"
    done = work.add_import(f"file://{source}", to="data", prefix="raw")
    assert (done.added, done.modified, done.removed, done.entries) == (1, 1, 1, plan.entries)
    assert committed(work) == ("created", "v1")
    assert [e.path for e in work.entries("data")] == ["own/x.txt", "raw/a.txt", "raw/new.txt"]


def test_put_imports_in_one_step(work: Repository, source: Path):
    """Again is the same version."""
    done = work.put(f"file://{source}", name="data", import_=True, prefix="raw")
    assert (done.version, done.entries) == ("v0", 2)
    assert told(work) == {
        "raw/a.txt": f"file://{source}/a.txt", "raw/sub/big.bin": f"file://{source}/sub/big.bin",
    }  # fmt: skip
    again = work.put(f"file://{source}", name="data", import_=True, prefix="raw")
    assert (again.version, again.outcome) == ("v0", "existing")


# ---- what is asked for --------------------------------------------------------------------------


@pytest.mark.parametrize("versions", [False, True])
def test_from_a_bucket(work: Repository, bucket: Bucket, tmp_path: Path, versions: bool):
    """Bytes, sizes and identities are the bucket's; again costs one listing, here and in a clone."""
    bucket = Bucket(bucket.server, versions=versions)
    bucket.put({"raw/a.txt": b"one", "raw/b/c.bin": LARGE, "rawer/d": b"not this"})
    assert bucket.requests(lambda: work.add_import(f"{bucket.uri}/raw", to="data")) >= 3
    work.commit()
    assert told(work) == {"a.txt": f"{bucket.uri}/raw/a.txt", "b/c.bin": f"{bucket.uri}/raw/b/c.bin"}
    (first, _) = work.entries("data", sources=True)
    assert first.source is not None
    assert first.source.identity == bucket.client.head_object(Bucket=bucket.name, Key="raw/a.txt")["ETag"].strip('"')
    assert (first.source.version_id is not None) == versions
    assert b"".join(work.read("data", "b/c.bin")) == LARGE
    listing = 1 + 1  # what is at the address itself, and what is below it
    assert bucket.requests(lambda: work.add_import(f"{bucket.uri}/raw", to="data")) <= listing
    assert work.commit() == []
    origin(work, tmp_path / "remote")
    work.push()
    there = clone(tmp_path / "remote", tmp_path / "clone")
    assert told(there) == told(work)
    assert bucket.requests(lambda: there.add_import(f"{bucket.uri}/raw", to="data")) <= listing
    assert there.commit() == []
    bucket.put({"raw/a.txt": b"two"})
    assert bucket.requests(lambda: there.add_import(f"{bucket.uri}/raw", to="data")) == listing + 1
    assert committed(there) == ("created", "v1~")


def test_the_same_object_under_another_place(work: Repository, bucket: Bucket):
    """Is known by what its storage says of it, wherever it stood."""
    bucket.put({"raw/a.txt": b"one"})
    work.add_import(f"{bucket.uri}/raw", to="data")
    work.commit()
    assert bucket.requests(lambda: work.add_import(f"{bucket.uri}/raw", to="data", prefix="again")) <= 2
    work.commit()
    assert set(told(work)) == {"a.txt", "again/a.txt"}


def test_equal_bytes_that_were_written_again(work: Repository, bucket: Bucket):
    """Are fetched once: their new version id is remembered, though no version is made."""
    bucket = Bucket(bucket.server, versions=True)
    bucket.put({"raw/a.txt": b"one"})
    work.add_import(f"{bucket.uri}/raw", to="data")
    work.commit()
    bucket.put({"raw/a.txt": b"one"})
    assert bucket.requests(lambda: work.add_import(f"{bucket.uri}/raw", to="data")) == 3
    assert committed(work) == ("existing", "v0")
    assert bucket.requests(lambda: work.add_import(f"{bucket.uri}/raw", to="data")) == 2
    assert work.commit() == []


TREES = st.dictionaries(
    st.sampled_from(["a", "b/c", "b/d", "e/f/g", "h.txt"]), st.binary(max_size=20) | st.just(LARGE), min_size=1
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=8, deadline=None)
@given(before=TREES, after=TREES)
def test_random_trees(bucket: Bucket, tmp_path_factory: pytest.TempPathFactory, before: Any, after: Any):
    """Imported twice they are one version and fetched once; after a change, only what differs is fetched."""
    place = Bucket(bucket.server)
    place.put({f"in/{key}": data for key, data in before.items()})
    root = tmp_path_factory.mktemp("trees")
    with new(root / "work") as work:
        work.add_import(f"{place.uri}/in", to="data")
        work.commit()
        assert place.requests(lambda: work.add_import(f"{place.uri}/in", to="data")) <= 2
        assert work.commit() == []
        place.put({f"in/{key}": None for key in before if key not in after})
        changed = {key: data for key, data in after.items() if before.get(key) != data}
        place.put({f"in/{key}": data for key, data in changed.items()})
        asked = place.requests(lambda: work.add_import(f"{place.uri}/in", to="data"))
        assert len(changed) <= asked - 2 + (len(changed) == 0) * 2 <= 2 * len(changed) + 2
        work.commit()
        assert {path: b"".join(work.read("data", path)) for path in told(work)} == after
        assert work.show("data").entries == len(after)


# ---- what goes wrong ----------------------------------------------------------------------------


def test_what_is_no_import(work: Repository, source: Path):
    """Nothing is recorded, and each message says what to do."""
    bad: list[tuple[str, dict[str, Any], type[Exception], str]] = [
        (f"file://{source}/none", {}, ReferenceMissing, "no file or directory"),
        (f"file://{source}", {"max_objects": 1}, BadValue, "holds 2 objects, and at most 1 are taken"),
        ("avc://data:v0/a.txt", {}, UsageError, "its bytes are in the store"),
        ("s3://user:word@bucket/key", {}, BadValue, "the address holds a password"),
        (str(source), {}, BadValue, "has no scheme"),
        (f"file://{source}", {"prefix": "../up"}, BadName, "climb"),
    ]
    for uri, options, error, says in bad:
        with pytest.raises(error, match=says):
            work.add_import(uri, to="data", **options)
    assert work.status().artifacts == ()
    assert not (work.avc_root / "adopted").exists()


def test_what_a_web_server_does_not_have(work: Repository, source: Path):
    """Is missing; that nothing can be listed there is no answer to that. What it has is fetched once."""
    handler = partial(SimpleHTTPRequestHandler, directory=os.fspath(source))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        place = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(ReferenceMissing, match=f"there is nothing at '{place}/none'"):
            work.add_import(f"{place}/none", to="data")
        assert work.add_import(f"{place}/sub/big.bin", to="data").files_read == 1
        work.commit()
        assert work.add_import(f"{place}/sub/big.bin", to="data").files_read == 0
        server.shutdown()
    (entry,) = work.entries("data", sources=True)
    assert entry.source is not None
    assert entry.source.identity_kind == "last-modified"
    assert b"".join(work.read("data", "big.bin")) == LARGE


def test_an_object_that_would_be_a_directory_of_another(work: Repository, bucket: Bucket):
    """A bucket may hold both; both are named."""
    bucket.put({"in/a": b"1", "in/a/b": b"2"})
    with pytest.raises(PathConflict, match="'a' is a file and would be a directory of 'a/b'"):
        work.add_import(f"{bucket.uri}/in/", to="data")


def test_a_file_that_changes_after_it_was_listed(work: Repository, source: Path, monkeypatch: pytest.MonkeyPatch):
    """Is an error that says so; what was staged stays as it was, and the next import takes it."""
    real = FileSource.list

    def then_changed(self: FileSource, *asked: Any) -> Any:
        yield from list(real(self, *asked))
        write(source, {"a.txt": "two\n"})

    monkeypatch.setattr(FileSource, "list", then_changed)
    with pytest.raises(ReferenceChanged, match=r"'a\.txt'"):
        work.add_import(f"file://{source}", to="data")
    assert work.status().artifacts == ()
    monkeypatch.undo()
    work.add_import(f"file://{source}", to="data")
    work.commit()
    assert b"".join(work.read("data", "a.txt")) == b"two\n"


def test_what_is_not_in_the_store_any_more_is_fetched_again(work: Repository, bucket: Bucket):
    """What is remembered counts only while the bytes can be had."""
    bucket.put({"raw/a.txt": b"one", "raw/big.bin": LARGE})
    work.add_import(f"{bucket.uri}/raw", to="data")
    work.commit()
    (lost,) = (work.avc_root / "objects").glob("*/*")
    lost.unlink()
    assert len(work.fsck().problems) == 1
    again = reopen(work.root)
    assert bucket.requests(lambda: again.add_import(f"{bucket.uri}/raw", to="data")) == 3
    assert again.fsck(full=True).problems == ()


def test_a_bound_directory_without_the_files(work: Repository, source: Path):
    """Would take them out at the next add: that is said, and that --as is a way round."""
    write(work.root, {"own/x.txt": "mine"})
    with inside(work.root):
        work.add(["own"], to="data")
    work.add_import(f"file://{source}", to="data")
    assert [notice for notice in work.notices if "'own' is bound to 'data' and does not have these files" in notice]
    work.notices.clear()
    work.commit()
    work.checkout("data")
    work.add_import(f"file://{source}", to="data")
    assert work.notices == []
    assert work.status().clean


# ---- killed --------------------------------------------------------------------------------------


def _dies_at(step: int, deed: Callable[[], Any]) -> bool:
    """Run *deed* in a child that is killed at its *step*-th change of the file system; whether it was."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    left = step

    def counted(real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os._exit(9)
            return real(*arguments, **options)

        return call

    try:
        for name in ("rename", "replace", "link", "unlink", "mkdir"):
            setattr(os, name, counted(getattr(os, name)))
        deed()
        os._exit(0)
    except BaseException:  # noqa: BLE001  a child ends here, whatever happened
        traceback.print_exc()
        os._exit(1)


def test_a_kill_between_any_two_writes(tmp_path: Path, source: Path):
    """Leaves the draft as it was or as it should be; the import done again gives the same version, and all is sound."""
    first = new(tmp_path / "first")
    first.add_import(f"file://{source}", to="data")
    first.commit()
    wanted = first.show("data").digest
    step, killed = 0, True
    while killed:
        step += 1
        root = tmp_path / f"work{step}"
        new(root).close()

        def deed(root: Path = root) -> None:
            with reopen(root) as work:
                work.add_import(f"file://{source}", to="data")
                work.commit()

        killed = _dies_at(step, deed)
        with reopen(root) as work:
            work.gc(grace="0s")
            assert work.fsck().problems == ()
            work.add_import(f"file://{source}", to="data")
            work.commit()
            assert work.show("data").digest == wanted
            assert work.show("data").version == "v0"
            assert len(told(work)) == 2
            assert work.fsck(full=True).problems == ()
    assert step > 8
