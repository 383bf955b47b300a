"""Dry runs of push, pull and checkout: bytes, requests and reasons, as they turn out, and nothing done.

A dry run reads the log as ``avc fetch`` does. Where nothing is new on the remote, nothing in
``.artifacts`` is another byte afterwards, but for the index, which is a cache, and the index
files of the remote, read once and kept.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from artifactvc.errors import RemoteUnavailable
from artifactvc.ops.push_dry import CONDEMNED, NEW
from artifactvc.storage.directory import DirectoryTransport
from tests.ops.test_bringing import Counted
from tests.support import clone, inside, new, origin, reopen, tree, version


def _state(root: Path) -> dict[str, bytes | str]:
    """Every byte of a repository or remote but for what is a cache."""
    found = tree(root)
    return {name: data for name, data in found.items() if "index" not in name and not name.endswith(".lock")}


def _files(rng) -> dict[str, bytes]:
    return {f"s{i}": rng.randbytes(3000) for i in range(200)} | {f"large{i}": rng.randbytes(200_000) for i in range(3)}


@pytest.fixture
def one(tmp_path, rng):
    made = new(tmp_path / "one")
    origin(made, tmp_path / "remote")
    version(made, _files(rng), "with a description")  # type: ignore[arg-type]
    yield made
    made.close()


def _stored(remote: Path) -> list[int]:
    return sorted(path.stat().st_size for path in (remote / "packs").rglob("*") if path.is_file())


def test_a_push_is_told_to_the_byte(one, tmp_path):
    """Files, bytes and requests are those that the push then makes; before, nothing has changed anywhere."""
    before = _state(one.root / ".artifacts"), tree(tmp_path / "remote")
    told = one.push(dry_run=True)
    assert (_state(one.root / ".artifacts"), tree(tmp_path / "remote")) == before
    assert told.dry_run
    assert {(s.version, s.reason) for s in told.sending} == {("demo/data:v0", NEW), ("", NEW)}
    done = one.push()
    stored = _stored(tmp_path / "remote")
    assert (told.bytes, told.files) == (sum(stored), len(stored))
    assert (told.objects, told.records, told.versions) == (done.objects, done.records, done.versions)
    made = [p for kind in ("packs", "index", "log") for p in (tmp_path / "remote" / kind).rglob("*") if p.is_file()]
    assert told.requests == len(made)
    assert one.push(dry_run=True).records == 0


def test_only_what_is_new_is_told(one, tmp_path):
    one.push()
    version(one, {"s7": b"changed"})
    told = one.push(dry_run=True)
    assert told.objects <= 5, "a file, the nodes above it, and what the version says of itself"
    assert told.bytes < 100_000


def test_what_an_interrupted_push_has_sent_is_not_told_again(one, tmp_path, monkeypatch):
    real = DirectoryTransport.upload

    def upload(self: DirectoryTransport, name: str, *rest: object, **more: object) -> None:
        if name.startswith("index/"):
            raise RemoteUnavailable("the cable is out", hint="")
        real(self, name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(DirectoryTransport, "upload", upload)
    with pytest.raises(RemoteUnavailable):
        one.push()
    told = one.push(dry_run=True)
    assert (told.objects, told.bytes, told.files) == (0, 0, 0)
    assert told.versions == ("demo/data:v0",)


def test_a_copy_that_is_condemned_is_a_reason(one, tmp_path):
    """What a deleted version needed has been condemned; restored, it is sent again, and the dry run says why."""
    one.push()
    one.delete("data:v0", delete_aliases=True)
    version(one, {"other": "1"}, name="other")
    one.push()
    assert one.gc_remote("origin", grace="0s").condemned
    one.restore("data:v0")
    told = one.push(dry_run=True)
    reasons = {s.reason: s for s in told.sending}
    assert reasons[CONDEMNED].version == "demo/data:v0"
    assert reasons[CONDEMNED].objects > 200


def test_a_pull_is_told_as_it_turns_out(one, tmp_path, monkeypatch):
    """Objects, bytes and requests, and from which remote; not one object is stored, nor any byte of a file read."""
    one.push()
    other = clone(tmp_path / "remote", tmp_path / "other")
    before = _state(other.root / ".artifacts"), tree(tmp_path / "remote")
    told = other.pull(dry_run=True)
    assert (_state(other.root / ".artifacts"), tree(tmp_path / "remote")) == before
    (bringing,) = told.bringing
    assert bringing.remote == "origin"
    assert 204 <= bringing.objects <= 210, "the files, and the nodes of the manifest"
    assert other.session.brought_objects == 0
    other.close()
    counted = Counted(monkeypatch)
    with reopen(tmp_path / "other") as again:
        done = again.pull()
        assert again.pull(dry_run=True).bringing == ()
    assert told.objects <= done.objects <= told.objects + 5, "a whole pack may bring what nobody asked for"
    nodes = counted.of("packs/") - bringing.bytes  # they come first, by themselves: they tell what is lacking
    assert 0 <= nodes < 30_000


def test_a_pull_is_told_with_what_is_new_on_the_log(one, tmp_path):
    """The log is read, as by fetch; the bytes of the new version are not."""
    one.push()
    other = clone(tmp_path / "remote", tmp_path / "other")
    other.pull()
    version(one, {"s7": b"changed", "new": b"x" * 100_000})
    one.push()
    told = other.pull(dry_run=True)
    assert told.fetched.versions == ("demo/data:v1",)
    assert 3 <= told.bringing[0].objects <= 6, "two files, the nodes above them"
    assert not other.show("data:v1").here
    other.close()


def test_a_checkout_is_told_as_it_turns_out(one, tmp_path, monkeypatch):
    """Bytes to fetch and to write; the destination and the store stay as they are."""
    one.push()
    other = clone(tmp_path / "remote", tmp_path / "other")
    before = _state(tmp_path / "other")
    with inside(tmp_path / "other"):
        told = other.checkout("data", dry_run=True)
        part = other.checkout("data", prefixes=["s1"], dry_run=True)
    assert _state(tmp_path / "other") == before
    assert (told.written, told.bytes) == (203, 200 * 3000 + 3 * 200_000)
    assert told.bringing[0].objects == 203
    assert (part.written, part.bytes, part.bringing[0].requests) == (1, 3000, 1)
    with inside(tmp_path / "other"):
        done = other.checkout("data")
        assert (done.written, done.bytes) == (told.written, told.bytes)
        assert other.checkout("data", dry_run=True).bringing == ()
    other.close()
