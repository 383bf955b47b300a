"""The whole way over S3, on servers that differ: moto's, and Ceph's radosgw."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from artifactvc.errors import BucketMissing, ReadOnly, RemoteMissing, RemoteRefused, RemoteUnavailable, UsageError
from tests.support import clone, inside, new, origin, tree, version

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]


@pytest.fixture
def server(s3_server, monkeypatch):
    """A server whose credentials stand in the environment, as users have them."""
    for name, value in s3_server.env.items():
        monkeypatch.setenv(name, value)
    return s3_server


FILES = {"a.txt": "one", "deep/b": "two", "empty": "", **{f"many/{i:03}": f"{i}" * 100 for i in range(300)}}


def test_push_clone_pull_checkout(server, tmp_path, rng):
    url = f"s3://{server.bucket()}/team/data"
    one = new(tmp_path / "one")
    origin(one, url)
    version(one, {**FILES, "large": rng.randbytes(40 << 20)}, "first")
    assert one.push().versions == ("demo/data:v0",)
    version(one, {"a.txt": "changed", "deep/b": None}, "second")
    second = one.push()
    assert second.versions == ("demo/data:v1",)
    assert second.objects < 10
    other = clone(url, tmp_path / "other")
    other.pull(None, ["data:v0", "data:v1"])
    with inside(tmp_path / "other"):
        other.checkout("data")
    assert tree(tmp_path / "other" / "data") == tree(tmp_path / "one" / "data")
    assert other.fsck(full=True).problems == ()
    version(other, {"a.txt": "from the other side"}, "third")
    assert other.push().versions == ("demo/data:v2",)
    one.pull()
    assert [info.description for info in one.log("data")] == ["third", "second", "first"]


def test_a_bucket_that_is_not_there(server, tmp_path):
    """A clone from a bucket that does not exist says so, as ``remote add`` does; an empty bucket holds no remote."""
    made = new(tmp_path / "one")
    for deed in (lambda: clone("s3://avc-no-such/x", tmp_path / "two"), lambda: origin(made, "s3://avc-no-such/x")):
        with pytest.raises(BucketMissing) as caught:
            deed()
        assert caught.value.message == "bucket 'avc-no-such' does not exist"
        assert caught.value.hint == "make it, or check the address"
    with pytest.raises(RemoteMissing, match="there is no avc remote at") as missing:
        clone(f"s3://{server.bucket()}/x", tmp_path / "two")
    assert not isinstance(missing.value, BucketMissing)
    assert not (tmp_path / "two").exists()


@pytest.mark.parametrize("given", ["option", "environment"])
def test_an_endpoint_that_is_no_address(server, tmp_path, monkeypatch, given):
    """It is told as such, with how one is written."""
    if given == "environment":
        monkeypatch.setenv("AWS_ENDPOINT_URL", "notaurl")
    options = {"endpoint_url": "notaurl"} if given == "option" else {}
    made = new(tmp_path / "one")
    for deed in (
        lambda: clone("s3://bucket/x", tmp_path / "two", **options),
        lambda: origin(made, "s3://bucket/x", **options),
    ):
        with pytest.raises(UsageError) as caught:
            deed()
        assert caught.value.message == "'notaurl' is no address of an S3 server"
        assert caught.value.hint == "write --endpoint-url, or AWS_ENDPOINT_URL, as https://HOST or http://HOST:PORT"
    assert made.remotes() == []


def test_a_push_with_nothing_new_is_one_request(moto, monkeypatch, tmp_path):
    for name, value in moto.env.items():
        monkeypatch.setenv(name, value)
    one = new(tmp_path / "one")
    origin(one, f"s3://{moto.bucket()}")
    version(one, {"a": "1"})
    one.push()
    moto.faults([])
    assert one.push().records == 0
    assert moto.seen() == {"GET": 1}


def test_credentials_and_endpoint_from_a_profile(server, tmp_path, monkeypatch):
    """The credentials file's profile, with the endpoint as an option: nothing of it is stored in the repository."""
    bucket = server.bucket()
    secret = server.env["AWS_SECRET_ACCESS_KEY"]
    for name in server.env:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    home = Path(os.environ["HOME"])
    (home / ".aws").mkdir(exist_ok=True)
    (home / ".aws" / "credentials").write_text(
        f"[team]\naws_access_key_id = {server.env['AWS_ACCESS_KEY_ID']}\naws_secret_access_key = {secret}\n"
    )
    one = new(tmp_path / "one")
    origin(one, f"s3://{bucket}/x", profile="team", endpoint_url=server.endpoint, region="us-east-1")
    version(one, {"a": "1"})
    one.push()
    stored = b"".join(path.read_bytes() for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert secret.encode() not in stored
    assert b"team" in (tmp_path / "one" / ".artifacts" / "config.toml").read_bytes()
    other = clone(f"s3://{bucket}/x", tmp_path / "other", profile="team", endpoint_url=server.endpoint)
    other.pull()
    assert b"".join(other.read("data", "a")) == b"1"


def test_refused_credentials_show_no_secret(server, tmp_path, monkeypatch):
    one = new(tmp_path / "one")
    url = f"s3://{server.bucket()}"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret-but-secret-still")
    with pytest.raises(RemoteRefused, match="refuses these credentials") as caught:
        origin(one, url)
    assert "secret-still" not in caught.value.message + caught.value.hint
    assert caught.value.hint == "check the credentials and the bucket's policy"
    assert one.remotes() == []


def test_no_credentials_at_all_is_said(server, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(RemoteRefused, match="there are no credentials for") as caught:
        origin(new(tmp_path / "one"), "s3://some-bucket")
    assert "AWS_ACCESS_KEY_ID" in caught.value.hint


def test_a_bucket_that_is_not_there_is_named(server, tmp_path):
    with pytest.raises(RemoteMissing, match="bucket 'no-such-bucket-here' does not exist") as caught:
        origin(new(tmp_path / "one"), "s3://no-such-bucket-here/x")
    assert caught.value.hint == "make it, or check the address"


def test_who_may_only_read_can_clone_and_not_push(moto, tmp_path, monkeypatch):
    for name, value in moto.env.items():
        monkeypatch.setenv(name, value)
    url = f"s3://{moto.bucket()}"
    one = new(tmp_path / "one")
    origin(one, url)
    version(one, {"a": "1"})
    one.push()
    assert moto.reader is not None
    for name, value in moto.reader.items():
        monkeypatch.setenv(name, value)
    other = clone(url, tmp_path / "other")
    assert other.remotes()[0].read_only
    other.pull()
    with inside(tmp_path / "other"):
        other.checkout("data")
        version(other, {"a": "2"})
    with pytest.raises(ReadOnly, match="can only be read") as caught:
        other.push()
    assert "\n" not in str(caught.value)


def test_a_server_that_hangs_up_is_tried_again(moto, fault_proxy, tmp_path, monkeypatch):
    """A connection cut in the middle of a download: what was missing is asked for again."""
    for name, value in moto.env.items():
        monkeypatch.setenv(name, value)
    proxy = fault_proxy(moto.endpoint)
    url = f"s3://{moto.bucket()}"
    one = new(tmp_path / "one")
    origin(one, url)
    version(one, {"large": os.urandom(3 << 20)})
    one.push()
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    other = clone(url, tmp_path / "other")
    proxy.set(cut_down=1 << 20, cuts=2)
    other.pull()
    assert other.fsck(full=True).problems == ()
    with inside(tmp_path / "other"):
        other.checkout("data")
    assert tree(tmp_path / "other" / "data") == tree(tmp_path / "one" / "data")


def test_a_push_cut_off_is_finished_by_the_next(moto, fault_proxy, tmp_path, monkeypatch):
    for name, value in moto.env.items():
        monkeypatch.setenv(name, value)
    proxy = fault_proxy(moto.endpoint)
    url = f"s3://{moto.bucket()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    one = new(tmp_path / "one")
    origin(one, url)
    version(one, {"large": os.urandom(3 << 20), **FILES})
    proxy.set(refuse=True)
    with pytest.raises(RemoteUnavailable) as caught:
        one.push()
    assert "\n" not in caught.value.message
    assert caught.value.hint
    proxy.set(refuse=False)
    assert one.push().versions == ("demo/data:v0",)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.endpoint)
    other = clone(url, tmp_path / "other")
    other.pull()
    assert other.fsck(full=True).problems == ()


def test_clones_that_push_at_once_lose_nothing(server, tmp_path):
    """Four processes, each with a version of its own artifact and one of a shared artifact."""
    url = f"s3://{server.bucket()}/shared"
    one = new(tmp_path / "one")
    origin(one, url)
    version(one, {"a": "begin"})
    one.push()
    places = []
    for number in range(4):
        place = tmp_path / f"clone{number}"
        other = clone(url, place)
        other.pull()
        with inside(place):
            other.checkout("data")
        version(other, {f"from{number}": "x"})
        version(other, {"own": f"{number}"}, name=f"own{number}")
        other.close()
        places.append(place)
    argv = [sys.executable, "-m", "artifactvc", "push"]
    running = [subprocess.Popen(argv, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for place in places]
    said = [process.communicate()[0].decode() for process in running]
    assert [process.returncode for process in running] == [0] * 4, "\n".join(said)
    one.fetch()
    assert [info.version for info in one.log("data")] == ["v4", "v3", "v2", "v1", "v0"]
    assert {info.name for info in one.artifacts()} == {"data", "own0", "own1", "own2", "own3"}
    one.pull(None, [f"data:v{n}" for n in range(5)])
    contents = {frozenset(entry.path for entry in one.entries(f"data:v{n}")) for n in range(1, 5)}
    assert contents == {frozenset({"a", f"from{n}"}) for n in range(4)}
