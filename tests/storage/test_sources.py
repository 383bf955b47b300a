"""What every source of references keeps (``storage/sources.py``), by each kind against its real server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from artifactvc.core.references import Target, parse_address
from artifactvc.errors import ReferenceChanged, ReferenceMissing
from artifactvc.storage.sources import Source, open_source
from artifactvc.storage.transport import RemoteOptions

#: Keys that some client or other gets wrong; each is an object below "d/".
ODD = [
    "d/b c", "d/p%41", "d/p+q", "d/q?x=1", "d/h#1", "d/h#123", "d/ünï/日本", "d/🎉", "d/\uffffx", "d/a'b(c)*!&=;:@$,",
    "d//x", "d/[x]{y}^`|", "d/v?versionId=7", "d/~t.-_",
]  # fmt: skip


@dataclass(frozen=True)
class World:
    """A place of the test's own that references lead to, and how it is changed behind their back."""

    kind: str
    uri: str
    endpoint: str
    put: Callable[[str, bytes], Any]
    remove: Callable[[str], Any]

    def open(self, *, at: str | None = None, **options: Any) -> Source:
        """The source; *at* is another endpoint to go through."""
        return open_source(parse_address(self.uri), RemoteOptions(endpoint_url=at, **options))

    def look(self, key: str, source: Source | None = None) -> Target:
        """What is at a key now, which must be there."""
        found = (source or self.open()).look(parse_address(f"{self.uri}/{key}"))
        assert found is not None, key
        return found

    def list(self, key: str) -> list[Target]:
        """What is below a directory."""
        address = parse_address(f"{self.uri}/{key}" if key else self.uri)
        return list(open_source(address, RemoteOptions()).list(address))


def _s3(name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    server = request.getfixturevalue(name)
    for variable, value in server.env.items():
        monkeypatch.setenv(variable, value)
    client, bucket = server.client(), server.bucket()
    return World(
        "s3", f"s3://{bucket}", server.endpoint,
        lambda key, data: client.put_object(Bucket=bucket, Key=key, Body=data),
        lambda key: client.delete_object(Bucket=bucket, Key=key),
    )  # fmt: skip


_WORLDS: dict[str, Callable[[pytest.FixtureRequest, pytest.MonkeyPatch], World]] = {
    "moto": lambda request, monkeypatch: _s3("moto", request, monkeypatch),
    "radosgw": lambda request, monkeypatch: _s3("radosgw", request, monkeypatch),
}


@pytest.fixture(params=_WORLDS)
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    """Each kind of source, on its server."""
    return _WORLDS[request.param](request, monkeypatch)


def whole(source: Source, target: Target, start: int = 0) -> bytes:
    return b"".join(source.read(target, start))


@pytest.mark.servers
def test_what_is_looked_at_is_listed_checked_and_read(world):
    """One object is told of alike by both ways, and read from any byte on; what is no object is None."""
    world.put("d/a", b"one two three")
    world.put("d/empty", b"")
    world.put("d2/b", b"not below d")
    source = world.open()
    found = world.look("d/a", source)
    assert (found.uri, found.name, found.size) == (f"{world.uri}/d/a", "a", 13)
    assert found.identity
    assert found.identity == found.identity.strip('"')
    assert world.list("d") == world.list("d/") == [found, world.look("d/empty")]
    source.check(found)
    assert [whole(source, found, start) for start in (0, 4, 12, 13)] == [b"one two three", b"two three", b"e", b""]
    assert whole(source, world.look("d/empty")) == b""
    assert [source.look(parse_address(f"{world.uri}{end}")) for end in ("/d", "/d/", "", "/x/y")] == [None] * 4
    assert world.list("nothing") == []


@pytest.mark.servers
def test_any_key_works_and_all_are_in_order(world):
    for key in ODD:
        world.put(key, key.encode())
    source, found = world.open(), world.list("d")
    assert [f"d/{target.name}" for target in found] == sorted(ODD, key=str.encode)
    for target in found:
        source.check(target)
        assert whole(source, target) == f"d/{target.name}".encode()


@pytest.mark.servers
def test_changed_and_missing_are_told_apart(world):
    """Another identity is named beside the recorded one; what is gone is missing; neither gives a byte."""
    world.put("d/a", b"first")
    world.put("d/b", b"first")
    source, (first, second) = world.open(), world.list("d")
    world.put("d/a", b"other")
    world.remove("d/b")
    now = world.look("d/a")
    for deed in (source.check, lambda target: next(source.read(target)), lambda target: next(source.read(target, 2))):
        with pytest.raises(ReferenceChanged) as changed:
            deed(first)
        assert all(text in changed.value.message for text in (first.uri, str(first.identity), str(now.identity)))
        with pytest.raises(ReferenceMissing) as missing:
            deed(second)
        assert second.uri in missing.value.message
