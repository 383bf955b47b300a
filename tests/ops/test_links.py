"""The whole way by SFTP, and over HTTP from a directory that is served as a static site."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from artifactvc.errors import ReadOnly, RemoteMissing, RemoteRefused
from artifactvc.sdk.repository import RemoteOptions
from tests.servers.fixtures import HttpServer, SftpServer
from tests.support import clone, inside, new, origin, reopen, tree, version

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]

FILES = {"a.txt": "one", "deep/b": "two", "empty": "", **{f"many/{i:03}": f"{i}" * 100 for i in range(200)}}


def test_sftp_push_clone_pull_checkout(sftp: SftpServer, own_home: Path, tmp_path: Path, rng):
    """By SFTP as by any other storage; and on the host itself the same remote is a directory."""
    sftp.welcome(own_home)
    place = sftp.root / secrets.token_hex(8)
    url = f"sftp://127.0.0.1:{sftp.port}{place}"
    one = new(tmp_path / "one")
    added = one.remote_add("origin", url, options=RemoteOptions())
    assert added.notes == ("found a directory by SFTP: creates a file once (link), lists, removes",)
    version(one, {**FILES, "large": rng.randbytes(12 << 20)}, "first")
    assert one.push().versions == ("demo/data:v0",)
    version(one, {"a.txt": "changed", "deep/b": None}, "second")
    assert one.push().versions == ("demo/data:v1",)
    newest = tree(tmp_path / "one" / "data")
    for number, address in enumerate((url, str(place))):
        other = clone(address, tmp_path / f"other{number}")
        other.pull(None, ["data:v0", "data:v1"])
        with inside(tmp_path / f"other{number}"):
            other.checkout("data")
        assert tree(tmp_path / f"other{number}" / "data") == newest
        assert other.fsck(full=True).problems == ()
        version(other, {"a.txt": f"from side {number}"}, f"third {number}")
        other.push()
        newest = tree(tmp_path / f"other{number}" / "data")
    one.pull()
    assert [info.description for info in one.log("data")] == ["third 1", "third 0", "second", "first"]
    assert one.fsck("origin", full=True).problems == ()


def test_a_directory_is_cloned_as_it_is_served(nginx: HttpServer, tmp_path: Path, rng):
    """Push to a directory; everybody clones, fetches and checks out over HTTP, and nobody pushes."""
    place = nginx.root / secrets.token_hex(8)
    one = new(tmp_path / "one")
    origin(one, place)
    version(one, {**FILES, "large": rng.randbytes(3 << 20)}, "first")
    one.push()
    for prefix in ("files", "hidden", "norange"):
        url, there = f"{nginx.endpoint}/{prefix}/{place.name}", tmp_path / prefix
        other = clone(url, there)
        with inside(there):
            other.pull()
            other.checkout("data")
        assert tree(there / "data") == tree(tmp_path / "one" / "data")
        assert [info.read_only for info in other.remotes()] == [True]
        version(other, {"a.txt": "mine"}, "never sent")
        with pytest.raises(ReadOnly, match="remote 'origin' can only be read"):
            reopen(there).push()
    version(one, {"a.txt": "news"}, "second")
    one.push()
    late = reopen(tmp_path / "hidden")
    late.fetch()
    assert "second" in [info.description for info in late.log("data")]
    with inside(tmp_path / "hidden"):
        late.pull(None, ["data:v1"])
        late.checkout("data:v1", "elsewhere")
    assert tree(tmp_path / "hidden" / "elsewhere") == tree(tmp_path / "one" / "data")


def test_an_address_without_a_remote_is_told(nginx: HttpServer, tmp_path: Path):
    """What can only be read and holds nothing cannot become a remote; nothing is left of the clone."""
    made = new(tmp_path / "one")
    empty = f"{nginx.endpoint}/files/none"
    with pytest.raises(RemoteMissing, match="can only be read and holds no avc remote"):
        made.remote_add("origin", empty, options=RemoteOptions())
    with pytest.raises(RemoteMissing, match="there is no avc remote at"):
        clone(empty, tmp_path / "two")
    with pytest.raises(RemoteRefused, match="may not be read"):
        clone(f"{nginx.endpoint}/status/403", tmp_path / "two")
    assert made.remotes() == []
    assert not (tmp_path / "two").exists()
