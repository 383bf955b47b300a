"""What every source of references keeps (``storage/sources.py``), by each kind against its real server.

A new kind of source joins by a ``World`` of its own in ``WORLDS``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactvc.core.references import Target, parse_address
from artifactvc.errors import (
    AvcError,
    BucketMissing,
    ReferenceChanged,
    ReferenceMissing,
    RemoteRefused,
    RemoteUnavailable,
)
from artifactvc.storage.bucketlink import Link, Request, encode_key, encode_query
from artifactvc.storage.credentials import S3Access
from artifactvc.storage.objectplace import ObjectPlace
from artifactvc.storage.s3reader import S3Reader, said_in_xml, sign_v4
from artifactvc.storage.sources import Source, open_source
from artifactvc.storage.transport import RemoteOptions
from artifactvc.util.rate import Rate
from tests.servers.fixtures import AzureServer
from tests.servers.moto import GETTER, LISTER
from tests.support import refused

MIB = 1 << 20
#: Names that some client or other gets wrong; each is an object below "d/".
ODD = [
    "b c", "p%41", "p+q", "q?x=1", "h#1", "h#123", "ünï/日本", "🎉", "～x", "a'b(c)*!&=;:@$,",
    "[x]{y}^`|", "v?versionId=7", "~t.-_",
]  # fmt: skip


@dataclass(frozen=True)
class World:
    """A place of the test's own that references lead to, and how it is changed behind their back."""

    uri: str
    put: Callable[[str, bytes], Any]
    remove: Callable[[str], Any]
    endpoint: str = ""
    keeps: bool = False  # versions that are replaced or removed stay, and are read as they were recorded
    holds: bool = True  # what is read is known to be what was recorded before the first byte; else only its size is
    odd: tuple[str, ...] = ()  # names that this kind has besides ODD

    def open(self, *, through: Any = None, **options: Any) -> Source:
        """The source; *through* is a proxy before its server."""
        host = self.endpoint.split("/")[2] if through else ""
        at = self.endpoint.replace(host, through.endpoint.split("/")[2]) if through else None
        return open_source(parse_address(self.uri), RemoteOptions(endpoint_url=at, **options))

    def look(self, key: str) -> Target:
        """What is at a key now, which must be there."""
        found = self.open().look(parse_address(f"{self.uri}/{key}"))
        assert found is not None, key
        return found

    def list(self, key: str) -> list[Target]:
        """What is below a directory."""
        return list(self.open().list(parse_address(f"{self.uri}/{key}" if key else self.uri)))


def _s3(name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, *, versions: bool) -> World:
    server = request.getfixturevalue(name)
    for variable, value in server.env.items():
        monkeypatch.setenv(variable, value)
    client, bucket = server.client(), server.bucket(versions=versions)
    return World(
        f"s3://{bucket}",
        lambda key, data: client.put_object(Bucket=bucket, Key=key, Body=data),
        lambda key: client.delete_object(Bucket=bucket, Key=key),
        server.endpoint,
        keeps=versions,
        odd=("/x", "//", "x/../y", "./z"),
    )


def _gcs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, *, versions: bool) -> World:
    server = request.getfixturevalue("gcs")
    bucket = server.bucket(versions=versions)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.endpoint)
    monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", server.token)
    return World(
        f"gs://{bucket}",
        lambda key, data: server.ask(
            "POST", f"/upload/storage/v1/b/{bucket}/o", data or b"", uploadType="media", name=key
        ),
        lambda key: server.ask("DELETE", f"/storage/v1/b/{bucket}/o/{quote(key, safe='')}"),
        server.endpoint,
        keeps=versions,
        odd=("/x", "x/../y", "./z"),
    )


def _azure(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    server: AzureServer = request.getfixturevalue("azurite")
    container = server.container()
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", server.env["AZURE_STORAGE_CONNECTION_STRING"])
    return World(
        f"az://{container}",
        lambda key, data: server.ask("PUT", f"/{container}/{quote(key)}", data),
        lambda key: server.ask("DELETE", f"/{container}/{quote(key)}"),
        server.endpoint,
    )


def _file(tmp_path: Path) -> World:
    def put(key: str, data: bytes) -> None:
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(data)

    return World(f"file://{tmp_path}", put, lambda key: (tmp_path / key).unlink(), holds=False)


WORLDS: dict[str, Callable[[pytest.FixtureRequest, pytest.MonkeyPatch, Path], World]] = {
    "moto": lambda request, monkeypatch, _: _s3("moto", request, monkeypatch, versions=False),
    "moto-versions": lambda request, monkeypatch, _: _s3("moto", request, monkeypatch, versions=True),
    "radosgw": lambda request, monkeypatch, _: _s3("radosgw", request, monkeypatch, versions=False),
    "radosgw-versions": lambda request, monkeypatch, _: _s3("radosgw", request, monkeypatch, versions=True),
    "gcs": lambda request, monkeypatch, _: _gcs(request, monkeypatch, versions=False),
    "gcs-versions": lambda request, monkeypatch, _: _gcs(request, monkeypatch, versions=True),
    "azurite": lambda request, monkeypatch, _: _azure(request, monkeypatch),
    "file": lambda request, monkeypatch, tmp_path: _file(tmp_path),
}
BUCKETS = [name for name in WORLDS if name != "file"]


def _world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    return WORLDS[request.param](request, monkeypatch, tmp_path)


world = pytest.fixture(params=WORLDS)(_world)
bucket = pytest.fixture(params=BUCKETS)(_world)
some = pytest.fixture(params=["moto-versions", "radosgw", "gcs", "azurite"])(_world)  # each kind and each way of asking
paged = pytest.fixture(params=["moto-versions", "radosgw", "radosgw-versions", "gcs"])(_world)
s3 = pytest.fixture(params=BUCKETS[:4])(_world)
moto_world = pytest.fixture(params=BUCKETS[:2])(_world)

pytestmark = pytest.mark.servers


def whole(source: Source, target: Target, start: int = 0) -> bytes:
    return b"".join(source.read(target, start))


# ---- the contract ----------------------------------------------------------------------------------


def test_what_is_looked_at_is_listed_checked_and_read(world):
    """One object is told of alike by both ways, and read from any byte on; what is no object is None."""
    world.put("d/a", b"one two three")
    world.put("d/empty", b"")
    world.put("d2/b", b"not below d")
    source = world.open()
    found = world.look("d/a")
    assert (found.uri, found.name, found.size) == (f"{world.uri}/d/a", "a", 13)
    assert found.identity
    assert found.identity == found.identity.strip('"')
    assert world.list("d") == world.list("d/") == [found, world.look("d/empty")]
    source.check(found)
    assert [whole(source, found, start) for start in (0, 4, 12, 13)] == [b"one two three", b"two three", b"e", b""]
    assert whole(source, world.look("d/empty")) == b""
    assert [source.look(parse_address(f"{world.uri}{end}")) for end in ("/d", "/d/", "", "/x/y")] == [None] * 4


def test_any_name_works_and_all_are_in_order(world):
    """Nothing that stands in a name is taken for something else, in a listing or in a request."""
    names = [*ODD, *world.odd]
    for name in names:
        world.put(f"d/{name}", name.encode())
    source, found = world.open(), world.list("d")
    assert [target.name for target in found] == sorted(
        (name for name in names if not name.endswith("/")), key=str.encode
    )
    for target in found:
        source.check(target)
        assert whole(source, target) == target.name.encode()
        assert whole(source, target, 1) == target.name.encode()[1:]


def test_changed_and_missing_are_told_apart(world):
    """Another identity is named beside the recorded one; what is gone is missing; a version that is kept is neither."""
    world.put("d/a", b"first")
    world.put("d/b", b"first")
    first, second = world.list("d")
    world.put("d/a", b"other" if world.holds else b"longer")
    world.remove("d/b")
    now, source = world.look("d/a"), world.open()
    assert [target.name for target in world.list("d")] == ["a"]
    if world.keeps:
        for target in (first, second):
            source.check(target)
            assert whole(source, target) == b"first"
            assert whole(source, target, 3) == b"st"
        return
    for deed in (source.check, lambda target: next(source.read(target)), lambda target: next(source.read(target, 2))):
        changed = refused(ReferenceChanged, lambda deed=deed: deed(first))
        told = (first.identity, now.identity) if world.holds else ("5", "6 bytes")
        assert all(str(text) in changed.message for text in (first.uri, *told))
        missing = refused(ReferenceMissing, lambda deed=deed: deed(second))
        assert second.uri in missing.message


def test_a_target_of_another_kind_or_size_is_changed(world):
    """What a manifest from elsewhere claims is held against what is there."""
    world.put("a", b"four")
    found = world.look("a")
    claims = [found._replace(size=5), found._replace(identity="0" * 32)]
    for claim in claims + [found._replace(identity_kind="md5")] * world.holds:
        refused(ReferenceChanged, lambda claim=claim: world.open().check(claim))
        if world.holds or claim.size != 4:
            refused(ReferenceChanged, lambda claim=claim: next(world.open().read(claim)))


def test_what_has_no_identity_is_read_as_it_is(world):
    """``checksum=False`` records the URI alone."""
    world.put("a", b"four")
    bare = Target(f"{world.uri}/a", "a", None)
    world.open().check(bare)
    assert whole(world.open(), bare) == b"four"
    world.remove("a")
    refused(ReferenceMissing, lambda: world.open().check(bare))
    refused(ReferenceMissing, lambda: whole(world.open(), bare))


def test_threads_share_a_source(some):
    for number in range(8):
        some.put(f"d/{number}", b"%d" % number * 1000)
    source, found = some.open(), some.list("d")
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda target: whole(source, target), found * 4)) == [
            b"%d" % number * 1000 for number in range(8)
        ] * 4  # fmt: skip


# ---- buckets ---------------------------------------------------------------------------------------


def test_a_version_is_looked_at_by_its_name(bucket):
    """``?versionId=`` and ``#generation`` lead to that version, which is recorded without them; else to the newest."""
    bucket.put("d/a", b"first")
    first = bucket.look("d/a")
    bucket.put("d/a", b"second")
    assert bucket.look("d/a").size == 6
    if not bucket.keeps:
        assert first.version_id is None or bucket.uri.startswith("gs:")
        return
    mark = "#" if bucket.uri.startswith("gs:") else "?versionId="
    named = parse_address(f"{bucket.uri}/d/a{mark}{first.version_id}")
    assert bucket.open().look(named) == first
    bucket.remove("d/a")
    assert bucket.open().look(named) == first
    assert bucket.open().look(parse_address(f"{bucket.uri}/d/a")) is None


@pytest.mark.parametrize("identity", ['a"b', "a\r\nX-Evil: 1", "日本"])
def test_an_identity_that_somebody_made_up_is_no_header(bucket, identity):
    """A manifest from elsewhere may hold anything: it is told as changed."""
    if bucket.uri.startswith("gs:"):  # its identity is a generation, which is asked for and no header
        return
    bucket.put("a", b"four")
    target = bucket.look("a")._replace(identity=identity, version_id=None)
    refused(ReferenceChanged, lambda: whole(bucket.open(), target))


def test_many_pages_are_one_listing(paged):
    """More than a page, each page asked for once, and where one ends makes no difference: names are odd all along."""
    names = [f"{number:04} +%41#?" for number in range(1003)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: paged.put(f"d/{name}", b"x"), names))
    found = paged.list("d")
    assert [target.name for target in found] == names
    assert (found[0].version_id is not None) == (paged.keeps or paged.uri.startswith("gs:"))
    assert [target.identity for target in found[:2]] == [paged.look(f"d/{name}").identity for name in names[:2]]


def test_pages_of_azure_are_one_listing(request, monkeypatch, tmp_path):
    """Azure gives five thousand a page: here it is asked for seven."""
    monkeypatch.setattr("artifactvc.storage.azurereader._PAGE", 7)
    place = WORLDS["azurite"](request, monkeypatch, tmp_path)
    names = [f"{number:02} +%41#?" for number in range(17)]
    for name in names:
        place.put(f"d/{name}", b"x")
    assert [target.name for target in place.list("d")] == names


def test_listing_is_given_up_in_the_midst(bucket):
    """Who stops taking leaves nothing that holds the process."""
    for number in range(3):
        bucket.put(f"d/{number}", b"x")
    listing = bucket.open().list(parse_address(f"{bucket.uri}/d"))
    assert next(listing).name == "0"
    listing.close()
    assert len(bucket.list("d")) == 3


def test_a_cut_connection_is_taken_up_where_it_broke(some, fault_proxy, rng):
    """The bytes are right whatever breaks, and those that had come are not asked for again."""
    data = rng.randbytes(6 * MIB)
    some.put("a", data)
    target = some.look("a")
    proxy = fault_proxy("http://" + some.endpoint.split("/")[2])
    proxy.set(cut_down=5 * MIB // 2, cuts=2, rate=50 * MIB)  # paced, so that little is lost with a connection
    assert whole(some.open(through=proxy), target) == data
    counters = proxy.set()["counters"]
    assert counters["cut"] == 2
    assert counters["down"] < 10 * MIB  # from the beginning each time it would be eleven


def test_what_changes_during_the_read_is_never_mixed(bucket, fault_proxy, rng):
    """The object is replaced between two requests for its parts: a kept version is read to its end, else it changed."""
    data, other = rng.randbytes(6 * MIB), rng.randbytes(6 * MIB)
    bucket.put("a", data)
    target = bucket.look("a")
    proxy = fault_proxy("http://" + bucket.endpoint.split("/")[2])
    proxy.set(cut_down=5 * MIB // 2, rate=50 * MIB)  # none gives all; paced, so that little is lost with it
    reading = bucket.open(through=proxy).read(target)
    got = next(reading)
    bucket.put("a", other)
    if bucket.keeps:
        assert got + b"".join(reading) == data
        return
    rest: list[bytes] = []
    refused(ReferenceChanged, lambda: rest.extend(reading))
    assert data.startswith(got + b"".join(rest))


def test_the_first_answer_is_held_even_where_nothing_was_recorded(some, fault_proxy, rng):
    """A read without an identity is of one object to its end, too."""
    some.put("a", rng.randbytes(6 * MIB))
    proxy = fault_proxy("http://" + some.endpoint.split("/")[2])
    proxy.set(cut_down=5 * MIB // 2, rate=50 * MIB)  # none gives all; paced, so that little is lost with it
    reading = some.open(through=proxy).read(Target(f"{some.uri}/a", "a", None))
    next(reading)
    some.put("a", rng.randbytes(6 * MIB))
    if some.keeps and some.uri.startswith("gs:"):
        b"".join(reading)  # the generation of the first answer is there still
    else:
        refused(ReferenceChanged, lambda: b"".join(reading))


def test_a_server_that_goes_silent_is_given_up(some, fault_proxy):
    some.put("d/a", b"x")
    target = some.look("d/a")
    proxy = fault_proxy("http://" + some.endpoint.split("/")[2])
    proxy.set(blackhole=True)
    source = some.open(through=proxy, timeout=0.2, retries=2)
    deeds: tuple[Callable[[], object], ...] = (
        lambda: source.look(parse_address(target.uri)),
        lambda: list(source.list(parse_address(f"{some.uri}/d"))),
        lambda: source.check(target),
        lambda: whole(source, target),
    )
    with ThreadPoolExecutor(len(deeds)) as pool:
        for error in pool.map(lambda deed: refused(RemoteUnavailable, deed), deeds):
            assert error.hint == "check the network and the address, and try again"


def test_the_rate_holds_for_what_is_read(some):
    """Every byte of a read is taken from the rate, and nothing else is."""
    some.put("a", bytes(3 * MIB + 5))
    rate = Rate(1 << 40)
    taken: list[int] = []
    rate.take = taken.append  # type: ignore[method-assign]
    assert len(whole(some.open(rate=rate), some.look("a"))) == 3 * MIB + 5
    assert 3 * MIB + 5 <= sum(taken) <= 5 * MIB + 5  # the end is asked for once more
    assert max(taken) <= MIB


def test_a_bucket_that_is_not_there_is_named(bucket):
    scheme = bucket.uri.partition("://")[0]
    address = parse_address(f"{scheme}://no-such-bucket-of-ours/d")
    error = refused(BucketMissing, lambda: list(open_source(address, RemoteOptions()).list(address)))
    assert "'no-such-bucket-of-ours' does not exist" in error.message


@pytest.mark.parametrize(
    ("name", "variable", "value"),
    [
        ("moto", "AWS_SECRET_ACCESS_KEY", "not-the-secret"),
        ("radosgw", "AWS_SECRET_ACCESS_KEY", "not-the-secret"),
        ("gcs", "GOOGLE_OAUTH_ACCESS_TOKEN", "not-the-token"),
        ("azurite", "AZURE_STORAGE_CONNECTION_STRING", "AccountKey"),
    ],
)
def test_wrong_credentials_are_refused_in_one_line(name, variable, value, request, monkeypatch, tmp_path):
    """Whatever is asked; the message has no secret, and a hint."""
    place = WORLDS[name](request, monkeypatch, tmp_path)
    place.put("d/a", b"x")
    target = place.look("d/a")
    if value == "AccountKey":
        right = request.getfixturevalue("azurite").env[variable]
        value = ";".join(
            "AccountKey=" + "bm90IHRoZSBrZXk=" if part.startswith("AccountKey=") else part for part in right.split(";")
        )
    monkeypatch.setenv(variable, value)
    for deed in (
        lambda: place.look("d/a"),
        lambda: place.list("d"),
        lambda: place.open().check(target),
        lambda: whole(place.open(), target),
    ):
        error = refused(RemoteRefused, deed)
        assert "refuses these credentials" in error.message
        assert error.hint.startswith("check the credentials")
        assert value not in error.message


@pytest.mark.parametrize("name", BUCKETS)
def test_no_credentials_are_told_with_where_they_are_given(name, request, monkeypatch, tmp_path):
    place = WORLDS[name](request, monkeypatch, tmp_path)
    for variable in ("AWS_ACCESS_KEY_ID", "GOOGLE_OAUTH_ACCESS_TOKEN", "AZURE_STORAGE_CONNECTION_STRING"):
        monkeypatch.delenv(variable, raising=False)
    if name.startswith("gcs"):
        refused(RemoteRefused, lambda: place.list(""))  # an emulator is asked as nobody
        return
    error = refused(RemoteRefused, lambda: place.list(""))
    assert error.message.startswith("there are no credentials for ")
    assert error.hint.startswith("set A")


# ---- what is special to each -------------------------------------------------------------------------


def test_reading_needs_no_more_than_reading(moto_world, moto, monkeypatch):
    """Who may only read does all of it; who may not list is told so, and reads what it can name."""
    moto_world.put("d/a", b"x")
    target = moto_world.look("d/a")
    for name, value in moto.reader.items():
        monkeypatch.setenv(name, value)
    assert moto_world.list("d") == [target] == [moto_world.look("d/a")]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", GETTER[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", GETTER[1])
    moto_world.open().check(target)
    assert whole(moto_world.open(), target) == b"x"
    assert "refuses these credentials (AccessDenied)" in refused(RemoteRefused, lambda: moto_world.list("d")).message


def test_who_may_not_ask_for_versions_gets_a_plain_listing(moto_world, monkeypatch):
    """Neither for whether a bucket keeps them nor for a listing of them: identities alone are recorded."""
    moto_world.put("d/a", b"x")
    target = moto_world.look("d/a")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", LISTER[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", LISTER[1])
    assert moto_world.list("d") == [target._replace(version_id=None)]


def test_a_read_only_token_reads_all(request, monkeypatch, tmp_path, gcs):
    place = WORLDS["gcs"](request, monkeypatch, tmp_path)
    place.put("d/a", b"x")
    monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", gcs.reader)
    assert [whole(place.open(), target) for target in place.list("d")] == [b"x"]


def test_objects_from_before_versions_have_none(s3, request):
    """What a bucket kept before it kept versions has the version "null", which is none: it can be replaced."""
    if s3.keeps:
        return
    s3.put("d/a", b"old")
    server = request.getfixturevalue(request.node.callspec.params["s3"])
    client, name = server.client(), s3.uri.removeprefix("s3://")
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    s3.put("d/b", b"new")
    old, new = s3.list("d")
    assert (old.version_id, new.version_id is not None) == (None, True)
    assert (old, new) == (s3.look("d/a"), s3.look("d/b"))
    assert [whole(s3.open(), target) for target in (old, new)] == [b"old", b"new"]
    s3.put("d/a", b"two")
    refused(ReferenceChanged, lambda: s3.open().check(old))  # its bytes may be there still, under "null": not searched


def test_a_removed_version_is_missing(s3, request):
    """The mark of a deletion hides nothing that was recorded; a version that was removed itself is gone."""
    if not s3.keeps:
        return
    s3.put("d/a", b"first")
    target = s3.look("d/a")
    s3.put("d/a", b"second")
    server = request.getfixturevalue(request.node.callspec.params["s3"].partition("-")[0])
    server.client().delete_object(Bucket=s3.uri.removeprefix("s3://"), Key="d/a", VersionId=target.version_id)
    for deed in (s3.open().check, lambda target: whole(s3.open(), target)):
        error = refused(ReferenceMissing, lambda deed=deed: deed(target))
        assert str(target.version_id) in error.message
        assert target.uri in error.message


def test_stubs_of_directories_are_none(moto, azurite, request, monkeypatch, tmp_path):
    """What tools put where a directory is, is neither an object nor listed: by name, kind of content, or metadata."""
    place = WORLDS["moto"](request, monkeypatch, tmp_path)
    place.put("d/", b"")
    place.put("d/a", b"x")
    bucket = place.uri.removeprefix("s3://")
    moto.client().put_object(Bucket=bucket, Key="e", Body=b"", ContentType="application/x-directory; charset=UTF-8")
    assert [target.name for target in place.list("d")] == ["a"]
    assert place.open().look(parse_address(f"{place.uri}/e")) is None
    place = WORLDS["azurite"](request, monkeypatch, tmp_path)
    place.put("d/e/a", b"x")
    container = place.uri.removeprefix("az://")
    azurite.ask("PUT", f"/{container}/d/e", b"", meta={"hdi_isfolder": "true"})
    assert [target.name for target in place.list("d")] == ["e/a"]
    assert place.open().look(parse_address(f"{place.uri}/d/e")) is None


def test_busy_servers_are_asked_again(moto, request, monkeypatch, tmp_path):
    """Two refusals of a server that is busy cost two more tries, of each kind of request."""
    place = WORLDS["moto"](request, monkeypatch, tmp_path)
    place.put("d/a", b"x")
    target = place.look("d/a")
    for deed in (
        lambda: place.look("d/a") == target,
        lambda: place.list("d") == [target],
        lambda: place.open().check(target) is None,
        lambda: whole(place.open(), target) == b"x",
    ):
        moto.faults([{"times": 2, "status": 503, "code": "SlowDown"}])
        assert deed()


def test_credentials_that_are_over_are_named(moto, request, monkeypatch, tmp_path):
    """A refusal of a HEAD says nothing: what it means is asked for."""
    place = WORLDS["moto"](request, monkeypatch, tmp_path)
    place.put("d/a", b"x")
    target = place.look("d/a")
    moto.faults([{"times": 100, "status": 400, "code": "ExpiredToken"}])
    for deed in (lambda: place.look("d/a"), lambda: place.list("d"), lambda: whole(place.open(), target)):
        error = refused(RemoteRefused, deed)
        assert "have expired (ExpiredToken)" in error.message
        assert "aws sso login" in error.hint


def test_one_request_for_a_thousand_objects(moto, request, monkeypatch, tmp_path):
    """A listing asks whether there are versions, and then once for each page."""
    place = WORLDS["moto-versions"](request, monkeypatch, tmp_path)
    for number in range(20):
        place.put(f"d/{number:02}", b"x")
    moto.faults([])
    assert len(place.list("d")) == 20
    assert moto.seen() == {"GET": 2}


def test_redirects_are_not_followed(moto, request, monkeypatch, tmp_path):
    """Credentials go to the configured endpoint: a server that sends elsewhere is told of."""
    place = WORLDS["moto"](request, monkeypatch, tmp_path)
    moto.faults([{"times": 100, "status": 307, "code": "TemporaryRedirect"}])
    with pytest.raises(AvcError, match="is in another region"):
        place.list("d")


def test_hostile_pages_are_refused(moto, request, monkeypatch, tmp_path, http_answers):
    """A page that is no XML, or brings entities with it, is an error of one line."""
    for page in (b"<a", b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', b"\xff\xfe", b""):
        monkeypatch.setenv("AWS_ENDPOINT_URL", http_answers(page))
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(variable, "x")
        address = parse_address("s3://bucket/d")
        with pytest.raises(AvcError, match="its listing cannot be read"):
            list(open_source(address, RemoteOptions()).list(address))


@pytest.fixture
def http_answers() -> Any:
    """A function that starts a server which answers everything with some bytes."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    servers: list[ThreadingHTTPServer] = []

    def start(body: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


# ---- requests ----------------------------------------------------------------------------------------

_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)


@given(key=_TEXT, query=st.dictionaries(_TEXT.filter(bool), _TEXT, max_size=3), token=st.sampled_from([None, "a+/="]))
def test_requests_to_s3_are_signed_as_botocore_signs_them(key, query, token):
    """Whatever the key and the fields: the same request, with the same signature."""
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    path = f"/bucket/{encode_key(key)}"
    theirs = AWSRequest("GET", f"http://host:1234{path}?{encode_query([*query.items()])}", {"Host": "host:1234"})
    S3SigV4Auth(Credentials("ID", "secret", token), "s3", "eu-west-1").add_auth(theirs)
    request = Request("GET", path, [*query.items()], {"Host": "host:1234"})
    keys = {"access_key_id": "ID", "secret_access_key": "secret", "token": token}
    ours = sign_v4(request, keys, "eu-west-1", theirs.context["timestamp"])
    assert ours["Authorization"] == theirs.headers["Authorization"]


@pytest.mark.parametrize("start", ["", "s3.eu-west-1.amazonaws.com", "http://elsewhere"])
def test_a_bucket_in_another_region_of_aws_is_followed_there_and_nowhere_else(start):
    """The region that an answer names is asked, of AWS alone; not a host that it makes up, nor from another server."""
    access = S3Access(start or None, "us-east-1", dict)
    reader = S3Reader(ObjectPlace("s3", "s3://b", "b", ""), RemoteOptions(), access)
    where = [reader._move(region) for region in ("evil.example.com/", "us-east-1", "eu-west-2", "eu-west-2")]
    assert where == [None, None, None if start else "https://b.s3.eu-west-2.amazonaws.com", None]


def test_a_moved_bucket_is_asked_where_it_is(http_answers):
    """The answer that names a region costs one more request, and the next go there at once."""
    right = http_answers(b"here")
    wrong = http_answers(b"", status=301, headers={"x-amz-bucket-region": "eu-west-2"})
    asked: list[str] = []

    def moved(region: str) -> str | None:
        asked.append(region)
        return right if len(asked) == 1 else None

    link = Link(wrong, RemoteOptions(), lambda request: {}, said_in_xml, moved=moved)
    assert [link.page("/", []), link.page("/", [])] == [b"here", b"here"]
    assert asked == ["eu-west-2"]
