"""One contract for every storage that a remote can stand on, run on each; then what each may answer in trouble.

The servers are real (tests/servers): faults cross a socket.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from artifactvc.errors import (
    AvcError,
    Corrupt,
    MissingExtra,
    OutcomeUnknown,
    ReadOnly,
    RemoteMissing,
    RemoteRefused,
    RemoteUnavailable,
    StorageError,
    UnsafeRemote,
    UsageError,
)
from artifactvc.storage.directory import DirectoryTransport
from artifactvc.storage.probe import KINDS, Probe, open_transport, probe
from artifactvc.storage.transport import RemoteOptions, Transport, check_name
from artifactvc.util.rate import Rate
from tests.servers.fixtures import FaultProxy, S3Server
from tests.support import within

MIB = 1 << 20
ROUNDS, MANY = 5, 500  # of racing creates: in `make test`, and in `make soak` however many rounds it has
RACERS = 4


@dataclass(frozen=True)
class Place:
    """A storage of the test's own, and a look at it that does not go through the transport."""

    url: str
    server: Any = None
    kind: str = "directory"
    home: Path | None = None  # of who goes there by SFTP

    def open(self, *, at: str | None = None, through: FaultProxy | None = None, **options: Any) -> Transport:
        """A transport to it; *at* is another endpoint to go to, *through* a proxy before its own."""
        url = self.url
        if through is not None:
            host = through.endpoint.removeprefix("http://")
            if self.kind in ("sftp", "http"):
                parts = urlsplit(url)
                url = url.replace(parts.netloc, f"{parts.username}@{host}" if parts.username else host)
                if self.home is not None:
                    self.server.welcome(self.home, int(host.rpartition(":")[2]))
            else:
                at = self.server.endpoint.replace(urlsplit(self.server.endpoint).netloc, host)
        return open_transport(url, RemoteOptions(endpoint_url=at, **options))

    @property
    def endpoint(self) -> str:
        """What a proxy is to be put before."""
        address = self.url if self.kind in ("sftp", "http") else self.server.endpoint
        return f"http://{urlsplit(address).netloc.rpartition('@')[2]}"

    @property
    def bucket(self) -> str:
        return self.url.split("/")[2]

    @property
    def root(self) -> Path | None:
        """The directory beneath it, where it stands in one."""
        if self.kind == "directory":
            return Path(self.url)
        if self.kind == "sftp":
            return Path(urlsplit(self.url).path)
        if self.kind == "http":
            return Path(self.server.root, *urlsplit(self.url).path.split("/")[2:])
        return None

    def put(self, name: str, data: bytes) -> None:
        """Let a file stand there: by the transport, or beneath a server that is only read."""
        if self.kind != "http":
            self.open().upload(name, data)
        else:
            assert self.root is not None
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_bytes(data)

    def put_beneath(self, name: str) -> None:
        """Let an empty file stand there without the transport."""
        assert self.root is not None
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).touch()

    def standing(self) -> dict[str, bytes]:
        """Every file that is really there."""
        root = self.root
        if root is not None:
            return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
        found = _s3_standing(self.server, self.bucket) if self.kind == "s3" else self.server.standing(self.bucket)
        return {key.removeprefix("pre/fix/"): data for key, data in found.items()}

    def missing(self, name: str) -> str:
        """What is said of a file that is not there."""
        return f"'{name}' is not at '{self.url}'" if self.root is not None else f"'{name}' at '{self.url}' is not there"


def _s3_standing(server: S3Server, bucket: str) -> dict[str, bytes]:
    client, found = server.client(), {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for row in page.get("Contents", []):
            found[row["Key"]] = client.get_object(Bucket=bucket, Key=row["Key"])["Body"].read()
    return found


def s3_place(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A bucket of the test's own; the environment speaks for its owner."""
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    return Place(f"s3://{server.bucket()}/pre/fix", server, "s3")


def place_of(kind: str, request: pytest.FixtureRequest) -> Place:
    """A storage of *kind*: of the test's own, on the server that all tests share."""
    if kind == "directory":
        return Place(str(request.getfixturevalue("tmp_path") / "remote"))
    fixture = {"sftp-bare": "sftp"}.get(kind, "nginx" if kind.startswith("http") else kind)
    server = request.getfixturevalue(fixture)
    monkeypatch = request.getfixturevalue("monkeypatch")
    if kind in ("moto", "radosgw"):
        return s3_place(server, monkeypatch)
    if kind == "gcs":
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.endpoint)
        monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", server.token)
        return Place(f"gs://{server.bucket()}/pre/fix", server, "gcs")
    if kind == "azurite":
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", server.env["AZURE_STORAGE_CONNECTION_STRING"])
        return Place(f"az://{server.container()}/pre/fix", server, "azure")
    own = secrets.token_hex(8)
    if fixture == "sftp":
        home = request.getfixturevalue("own_home")
        server.welcome(home)
        port = server.bare_port if kind == "sftp-bare" else server.port
        return Place(f"sftp://{server.user}@127.0.0.1:{port}{server.root}/{own}", server, "sftp", home)
    (server.root / own).mkdir()
    return Place(f"{server.endpoint}/{HTTP_PREFIXES[kind]}/{own}", server, "http")


HTTP_PREFIXES = {"http": "files", "http-norange": "norange", "http-hidden": "hidden", "http-chunked": "chunked"}
SERVED = ["moto", "radosgw", "gcs", "azurite", "sftp", "sftp-bare"]
WRITABLE = ["directory", *(pytest.param(kind, marks=pytest.mark.servers) for kind in SERVED)]
READABLE = [*WRITABLE, *(pytest.param(kind, marks=pytest.mark.servers) for kind in HTTP_PREFIXES)]
FAR = [pytest.param(kind, marks=pytest.mark.servers) for kind in ("moto", "gcs", "azurite", "sftp")]


@pytest.fixture(params=WRITABLE)
def place(request: pytest.FixtureRequest) -> Place:
    """Each kind of storage that can be written, in turn."""
    return place_of(request.param, request)


@pytest.fixture(params=READABLE)
def readable(request: pytest.FixtureRequest) -> Place:
    """Each kind of storage in turn, those that are only read included."""
    return place_of(request.param, request)


@pytest.fixture(params=FAR)
def far(request: pytest.FixtureRequest) -> Place:
    """One of each kind that can be written through a network."""
    return place_of(request.param, request)


@pytest.fixture(params=[*FAR, pytest.param("http", marks=pytest.mark.servers)])
def far_readable(request: pytest.FixtureRequest) -> Place:
    """One of each kind that can be read through a network."""
    return place_of(request.param, request)


@pytest.fixture
def on_moto(moto: S3Server, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The storage that can be told to fail."""
    return s3_place(moto, monkeypatch)


@pytest.fixture
def on_s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Each S3 server in turn."""
    return s3_place(s3_server, monkeypatch)


def refused(kind: type[AvcError], deed: Callable[[], object]) -> tuple[str, str]:
    """What *deed* says as it fails with *kind*: message and hint."""
    with pytest.raises(AvcError) as caught:
        deed()
    assert isinstance(caught.value, kind), caught.value
    return caught.value.message, caught.value.hint


# ---- reading ---------------------------------------------------------------------------------------


def test_a_file_is_read_whole(readable):
    """Reading gives the bytes that were stored, none included, up to the limit and not one more."""
    transport = readable.open()
    readable.put("packs/ab.pack", b"12345")
    readable.put("packs/none.pack", b"")
    assert transport.read("packs/ab.pack", limit=5) == b"12345"
    assert transport.read("packs/none.pack", limit=5) == b""
    message, hint = refused(Corrupt, lambda: transport.read("packs/ab.pack", limit=4))
    assert message == f"'packs/ab.pack' at '{readable.url}' is larger than 4 bytes"
    assert hint == "whoever may write there damaged it"


def test_a_file_that_is_not_there_is_named(readable, tmp_path):
    """A missing file is RemoteMissing, whichever way it is asked for."""
    transport = readable.open()
    readable.put("avc.json", b"{}")
    deeds: list[Callable[[], object]] = [
        lambda: transport.read("log/7", limit=9),
        lambda: list(transport.read_ranges([("log/7", 0, 1)])),
        lambda: transport.download("log/7", tmp_path / "got", 1),
    ]
    for deed in deeds:
        if "/hidden/" in readable.url:  # it says 403, which read_many alone takes for "not there"
            assert refused(RemoteRefused, deed)[0].startswith(f"'log/7' at '{readable.url}' may not be read")
        else:
            assert refused(RemoteMissing, deed)[0] == readable.missing("log/7")
    assert transport.read_many(["log/7", "avc.json"], limit=9) == [None, b"{}"]


def test_many_files_are_read_in_order(readable):
    """Many small files come back in the order asked for, None where there is none."""
    transport = readable.open()
    names = [f"log/{number}" for number in range(20)]
    for number, name in enumerate(names):
        if number % 3:
            readable.put(name, b"%d" % number)
    found = transport.read_many(names, limit=9)
    assert found == [b"%d" % number if number % 3 else None for number in range(20)]
    assert transport.read_many([], limit=9) == []
    assert refused(Corrupt, lambda: transport.read_many(["log/10"], limit=1))[0].endswith("is larger than 1 bytes")


def test_parts_of_files_are_read(readable):
    """Every part asked for comes once, with its position and exactly its length, more than one lot of them too."""
    transport = readable.open()
    data = bytes(range(256)) * 4
    readable.put("packs/a.pack", data)
    readable.put("packs/b.pack", data[::-1])
    wanted = [(f"packs/{'ab'[n % 2]}.pack", n * 3, 1 + n % 50) for n in range(300)]
    found = list(transport.read_ranges(wanted))
    assert len(found) == 300
    assert dict(found) == {
        n: (data if name == "packs/a.pack" else data[::-1])[start : start + length]
        for n, (name, start, length) in enumerate(wanted)
    }
    assert list(transport.read_ranges([])) == []


@pytest.mark.parametrize("start", [1000, 5000])
def test_a_part_beyond_the_end_is_damage(readable, start):
    """A file that ends before the part asked for is reported as cut short, never returned in part."""
    transport = readable.open()
    readable.put("packs/a.pack", bytes(1024))
    message, _ = refused(Corrupt, lambda: list(transport.read_ranges([("packs/a.pack", start, 100)])))
    assert message == f"'packs/a.pack' at '{readable.url}' is cut short"


# ---- whole files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 40 * MIB + 7], ids=["none", "one", "in parts"])
def test_a_file_goes_and_comes_back(place, tmp_path, rng, size):
    """A file of any size, sent in several requests too, comes back byte for byte."""
    transport = place.open()
    data = rng.randbytes(size)
    (tmp_path / "source").write_bytes(data)
    transport.upload("packs/a.pack", tmp_path / "source")
    transport.download("packs/a.pack", tmp_path / "target", size)
    assert (tmp_path / "target").read_bytes() == data
    assert list(place.standing()) == ["packs/a.pack"]  # nothing half-written stays beside it
    assert place.standing()["packs/a.pack"] == data


def test_a_file_shorter_than_the_index_says_is_damage(readable, tmp_path):
    """A download that cannot reach its size fails; it never ends with fewer bytes."""
    transport = readable.open()
    readable.put("packs/a.pack", bytes(100))
    message, _ = refused(Corrupt, lambda: transport.download("packs/a.pack", tmp_path / "got", 101))
    assert message.startswith(f"'packs/a.pack' at '{readable.url}' ")
    assert "cut short" in message or "does not have the 101 bytes" in message


def test_a_file_is_removed(place):
    """A removed file is gone; removing it again is no error."""
    transport = place.open()
    transport.upload("packs/a.pack", b"1")
    transport.upload("packs/b.pack", b"2")
    transport.remove("packs/a.pack")
    transport.remove("packs/a.pack")
    assert place.standing() == {"packs/b.pack": b"2"}


# ---- names ---------------------------------------------------------------------------------------------

OWN = ("sftp", "http")  # kinds whose address names the host
BAD_NAMES = {
    "../x": "../x",
    "packs/../../x": "packs/../../x",
    "/etc/passwd": "/etc/passwd",
    "packs//x": "packs//x",
    "packs/": "packs/",
    "packs/.x": "packs/.x",
    ".": ".",
    "": "",
    "~/x": "~/x",
    "Packs/x": "Packs/x",
    "packs\\x": "packs\\x",
    "packs/a b": "packs/a b",
    "packs/%2e%2e": "packs/%2e%2e",
    "packs/é": "packs/é",
    "packs/x\n": r"packs/x\n",
    "packs/\x1b[2Jx": r"packs/\x1b[2Jx",
    "packs/x\x00.pack": r"packs/x\x00.pack",
    "packs/" + "a/" * 147 + "x": "packs/" + "a/" * 37,
}


DEEDS: dict[str, Callable[[Transport, str, Path], object]] = {
    "read": lambda transport, name, _: transport.read(name, limit=9),
    "read_many": lambda transport, name, _: transport.read_many([name], limit=9),
    "read_ranges": lambda transport, name, _: list(transport.read_ranges([(name, 0, 1)])),
    "download": lambda transport, name, path: transport.download(name, path / f"got-{secrets.token_hex(4)}", 1),
    "upload": lambda transport, name, _: transport.upload(name, b"1"),
    "upload a file": lambda transport, name, path: transport.upload(name, path / "source"),
    "create": lambda transport, name, _: transport.create(name, b"1"),
    "remove": lambda transport, name, _: transport.remove(name),
}


@pytest.mark.parametrize(
    ("kind", "deed"),
    [(kind, deed) for kind in ("directory", "s3", "gs", "az", "sftp", "http") for deed in DEEDS],
)
def test_a_bad_name_reaches_no_storage(kind, deed, tmp_path):
    """A name that climbs out, is absolute or holds control characters is refused by every deed, and shown escaped."""
    root = tmp_path / "a" / "remote"
    root.mkdir(parents=True)
    (tmp_path / "source").write_bytes(b"1")
    url = str(root) if kind == "directory" else f"{kind}://127.0.0.1:1/pre" if kind in OWN else f"{kind}://nowhere/pre"
    transport = open_transport(url, RemoteOptions(endpoint_url="http://127.0.0.1:1", retries=1))
    before = sorted(tmp_path.rglob("*"))
    for name, shown in BAD_NAMES.items():
        message, _ = refused(Corrupt, lambda name=name: DEEDS[deed](transport, name, tmp_path))
        assert message == f"bad name '{shown}' of a file on a remote"
    assert [path for path in sorted(tmp_path.rglob("*")) if not path.name.startswith("got-")] == before


def test_a_long_bad_name_is_refused_at_once():
    """A name made to be slow to check is refused as fast as any other: who may write there could stop every reader."""
    start = time.perf_counter()
    refused(Corrupt, lambda: check_name("a" * 23 + "!"))
    assert time.perf_counter() - start < 0.1


@pytest.mark.parametrize("name", ["avc.json", "log/0", "log/checkpoint/32/00000000000000000001", "packs/0a-b_c.pack"])
def test_a_good_name_is_taken(name):
    """The names that remotes have pass."""
    assert check_name(name) == name


# ---- creating once ---------------------------------------------------------------------------------------


def test_create_keeps_what_was_first(place):
    """The first create makes the file; every later one says no and changes nothing."""
    transport = place.open()
    assert transport.create("log/1", b"first") is True
    assert transport.create("log/1", b"second") is False
    assert place.open().create("log/1", b"first") is False
    assert transport.create("log/2", b"") is True
    assert transport.create("log/2", b"second") is False
    assert place.standing() == {"log/1": b"first", "log/2": b""}


def race(transports: list[Transport], name: str) -> list[bytes]:
    """Create one file by all at once; the bytes of those who were told that they made it."""
    barrier = threading.Barrier(len(transports))

    def run(number: int) -> bytes | None:
        mark = b"%d %s" % (number, secrets.token_hex(8).encode())
        barrier.wait()
        return mark if transports[number].create(name, mark) else None

    with ThreadPoolExecutor(len(transports)) as pool:
        return [mark for mark in pool.map(run, range(len(transports))) if mark is not None]


def test_a_race_has_one_winner(place, soak):
    """Of racing creates exactly one is told that it made the file, and its bytes are what stands there."""
    transports = [place.open() for _ in range(RACERS)]
    won: dict[str, list[bytes]] = {}
    for number in range(MANY if soak > 1 else ROUNDS):
        name = f"log/{number}"
        won[name] = race(transports, name)
    assert {name: len(winners) for name, winners in won.items() if len(winners) != 1} == {}
    standing = place.standing()
    assert {name: [data] for name, data in standing.items()} == won


def test_a_race_has_one_winner_where_nothing_can_be_linked(tmp_path, soak, monkeypatch):
    """A file system without hard links keeps the promise by a rename that does not overwrite."""
    if sys.platform != "linux":
        pytest.skip("renameat2 is Linux's")

    def link(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    place = Place(str(tmp_path / "remote"))
    transports = [place.open() for _ in range(RACERS)]
    won: dict[str, list[bytes]] = {}
    for number in range(MANY if soak > 1 else ROUNDS):
        name = f"log/{number}"
        won[name] = race(transports, name)
    assert {name: [data] for name, data in place.standing().items()} == won


RACE = """
import sys
from artifactvc.storage.probe import open_transport
from artifactvc.storage.transport import RemoteOptions
transport = open_transport(sys.argv[1], RemoteOptions())
transport.read_many(["avc.json"], limit=9)
print("ready", flush=True)
sys.stdin.readline()
for number in range(8):
    if transport.create(f"log/{number}", sys.argv[2].encode()):
        print(number, flush=True)
"""


def test_a_race_of_processes_has_one_winner(place):
    """Processes of their own that create the same files share them out: each is made by one, and says so."""
    place.put("avc.json", b"{}")
    argv = [sys.executable, "-c", RACE, place.url]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with contextlib.ExitStack() as running:
        racers = [
            running.enter_context(subprocess.Popen([*argv, str(mark)], env=environment, **pipes)) for mark in range(2)
        ]
        for racer in racers:
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            racer.stdin.write("\n")
            racer.stdin.flush()
        made = {
            mark: {int(line) for line in racer.communicate(timeout=60)[0].split()} for mark, racer in enumerate(racers)
        }
    assert made[0] | made[1] == set(range(8))
    assert not made[0] & made[1]
    standing = place.standing()
    assert {name: data for name, data in standing.items() if name != "avc.json"} == {
        f"log/{number}": b"%d" % mark for mark, numbers in made.items() for number in numbers
    }


# ---- listing ---------------------------------------------------------------------------------------------


def test_files_are_listed_with_size_and_age(place):
    """Every file below a directory, by name, with its size and when the storage wrote it; strangers are left out."""
    transport = place.open()
    for name, size in (("packs/b/one.pack", 3), ("packs/a/two.pack", 0), ("packs/a/deep/three", 7), ("log/1", 1)):
        transport.upload(name, bytes(size))
    assert transport.create("packs/a/created", b"12") is True
    if place.root is not None:
        (place.root / "packs" / "a" / ".hidden").write_text("somebody's")
        (place.root / "packs" / "link").symlink_to(place.root / "log")
    found = transport.list_files("packs")
    assert [(file.name, file.size) for file in found] == [
        ("packs/a/created", 2), ("packs/a/deep/three", 7), ("packs/a/two.pack", 0), ("packs/b/one.pack", 3),
    ]  # fmt: skip
    assert all(abs(file.modified - time.time()) < 60 for file in found)
    assert transport.list_names("packs/b") == ["packs/b/one.pack"]
    assert transport.list_files("index") == []
    transport.remove("packs/a/two.pack")
    assert "packs/a/two.pack" not in transport.list_names("packs")


@pytest.mark.servers
@pytest.mark.parametrize("kind", ["moto", "radosgw", "gcs", "azurite", "sftp"])
def test_more_than_a_page_is_listed(kind, request, soak):
    """More files than a server tells at once are all told."""
    if soak == 1 and kind not in ("moto", "sftp"):
        pytest.skip("a thousand uploads to each kind: in make soak")
    far = place_of(kind, request)
    transport = far.open()
    names = [f"packs/{number:04}/x.pack" if number % 2 else f"packs/{number:04}" for number in range(1_010)]
    if far.root is not None:
        for name in names:
            far.put_beneath(name)
    else:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda name: transport.upload(name, b""), names))
    assert transport.list_names("packs") == sorted(names)


# ---- bounds, counting, threads ---------------------------------------------------------------------------


class Clock:
    """Time that passes only by waiting, and how long that was."""

    def __init__(self) -> None:
        self.now, self.lock = 0.0, threading.Lock()

    def sleep(self, seconds: float) -> None:
        with self.lock:
            self.now += seconds


def test_the_rate_holds_and_every_byte_is_told(place, tmp_path, rng):
    """What is sent and read takes the time that the rate asks for; advance is told of each byte once."""
    clock = Clock()
    rate = Rate(1000, clock=lambda: clock.now, sleep=clock.sleep)
    transport = place.open(rate=rate)
    data = rng.randbytes(300_000)
    (tmp_path / "source").write_bytes(data)
    told: list[int] = []
    transport.upload("packs/a.pack", tmp_path / "source", advance=told.append)
    assert sum(told) == len(data)
    transport.upload("packs/b.pack", data[:1000], advance=told.append)
    assert sum(told) == len(data) + 1000
    told.clear()
    transport.download("packs/a.pack", tmp_path / "target", len(data), advance=told.append)
    assert sum(told) == len(data)
    list(transport.read_ranges([("packs/a.pack", 0, 1000)]))
    # 602,000 bytes at 1,000 a second; what was taken last has not had its time yet.
    assert 300 <= clock.now <= 602


def test_many_threads_share_a_transport(place, tmp_path, rng):
    """One transport serves more threads than it has connections, each getting its own answers."""
    transport = place.open()
    data = [rng.randbytes(20_000 + 1000 * number) for number in range(12)]

    def one(number: int) -> bool:
        name, target = f"packs/{number}.pack", tmp_path / f"{number}"
        transport.upload(name, data[number])
        made = transport.create(f"log/{number}", b"%d" % number)
        parts = list(transport.read_ranges([(name, 5, 100), (name, 19_000, 1000)]))
        transport.download(name, target, len(data[number]))
        read = transport.read_many([f"log/{number}", "log/none"], limit=9)
        there = target.read_bytes() == data[number] and read == [b"%d" % number, None]
        return made and there and dict(parts) == {0: data[number][5:105], 1: data[number][19_000:20_000]}

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(one, range(12)))


def test_a_directory_that_others_remove_is_made_again(place):
    """Who removes the last file below a name takes the directory along: nobody who is about to write there fails."""
    transport, errors = place.open(), []

    def come_and_go(thread: int) -> None:
        try:
            for i in range(30):
                transport.upload(f"probe/{thread}-{i}", b"x")
                transport.remove(f"probe/{thread}-{i}")
                assert transport.create(f"probe/c{thread}-{i}", b"x")
                transport.remove(f"probe/c{thread}-{i}")
        except BaseException as error:  # noqa: BLE001  told in the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=come_and_go, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@pytest.mark.servers
@pytest.mark.parametrize("kind", ["directory", "sftp", "sftp-bare"])
def test_what_a_killed_push_left_is_dropped(kind, request):
    """Half-written files from before the time that is given go, later ones stay, and nothing else is touched."""
    place = place_of(kind, request)
    transport = place.open()
    assert transport.drop_unfinished(time.time()) == 0
    transport.upload("packs/a.pack", b"1")
    assert place.root is not None
    for name, age in (("up-1", 7200), ("new-2", 7200), ("up-3", 0)):
        (place.root / "tmp" / name).write_bytes(b"half")
        os.utime(place.root / "tmp" / name, (time.time() - age,) * 2)
    assert transport.drop_unfinished(time.time() - 3600) == 2
    assert sorted(place.standing()) == ["packs/a.pack", "tmp/up-3"]


# ---- probing ---------------------------------------------------------------------------------------------


def test_a_sound_storage_passes_the_probe(place):
    """The probe finds nothing to say of a storage that keeps its promise, and leaves nothing there."""
    assert probe(place.open()) == Probe(read_only=False, notes=())
    assert place.standing() == {}


class Overwriting(DirectoryTransport):
    """A storage whose create always writes, as fsspec's does on local files."""

    def create(self, name: str, data: bytes) -> bool:
        self.upload(name, data)
        return True


class Lying(DirectoryTransport):
    """A storage that writes although it tells all but the first that it did not."""

    lock = threading.Lock()

    def create(self, name: str, data: bytes) -> bool:
        with self.lock:
            first = not (self.root / name).exists()
            self.upload(name, data)
            return first


class Unremovable(DirectoryTransport):
    """A storage whose credentials may write and not delete."""

    def remove(self, name: str) -> None:
        raise RemoteRefused("may not")


class Unanswered(DirectoryTransport):
    """A sound storage over a network that loses the reply to each create that made the file."""

    def create(self, name: str, data: bytes) -> bool:
        if super().create(name, data):
            raise OutcomeUnknown("no answer came")
        return False


class SentTwice(DirectoryTransport):
    """A sound storage whose client lost the reply and sent again: the maker is told that the file was there."""

    def create(self, name: str, data: bytes) -> bool:
        super().create(name, data)
        return False


@pytest.mark.parametrize("kind", [Unanswered, SentTwice])
def test_a_lost_reply_does_not_make_a_storage_unsafe(kind, tmp_path):
    """Where nobody was told that they made the file and one writer's bytes stand there, that one is the winner."""
    assert probe(kind(tmp_path / "remote", RemoteOptions())) == Probe()


@pytest.mark.parametrize(("kind", "winners"), [(Overwriting, 4), (Lying, 2)])
def test_a_storage_that_overwrites_is_refused(kind, winners, tmp_path):
    """A storage on which a second create changes the file is refused, unless one clone alone will write."""
    transport = kind(tmp_path / "remote", RemoteOptions())
    message, hint = refused(UnsafeRemote, lambda: probe(transport))
    assert message == f"'{tmp_path / 'remote'}' let {winners} of 4 writers create one file"
    assert hint == "if only one clone will ever push there, add it with --single-writer"
    found = probe(transport, single_writer=True)
    assert found == Probe(notes=("cannot create a file once: only one clone may push",))


def test_the_probe_says_that_files_cannot_be_removed(tmp_path):
    """Credentials that may not delete are accepted, with a note, once."""
    found = probe(Unremovable(tmp_path / "remote", RemoteOptions()))
    assert found == Probe(notes=("files cannot be removed: gc will not work with these credentials",))


def test_a_remote_that_is_only_read_is_not_probed(place):
    """A read-only remote is not written to, not even by the probe, and refuses every change."""
    place.open().upload("avc.json", b"{}")
    transport = place.open(read_only=True)
    assert probe(transport) == Probe(read_only=True)
    assert transport.read("avc.json", limit=9) == b"{}"
    deeds: list[Callable[[], object]] = [
        lambda: transport.upload("avc.json", b"2"),
        lambda: transport.create("log/1", b"2"),
        lambda: transport.remove("avc.json"),
    ]
    for deed in deeds:
        assert refused(ReadOnly, deed)[0] == f"the remote '{place.url}' is read-only"
    assert place.standing() == {"avc.json": b"{}"}


@pytest.mark.servers
def test_the_probe_tells_what_it_found(place):
    """In one line: the kind of storage, by what a file is created once, and what else can be done there."""
    found = probe(place.open()).found
    kind = {"directory": "a directory", "s3": "S3", "gcs": "Google Cloud Storage", "azure": "Azure Blob storage"}
    assert found.startswith(f"found {kind.get(place.kind, 'a directory by SFTP')}: creates a file once (")
    assert found.endswith("), lists, removes")


# ---- addresses -------------------------------------------------------------------------------------------


def test_an_address_says_its_kind(tmp_path):
    """A path, file:// and s3:// are told apart; what cannot be reached is refused with what can."""
    assert open_transport(str(tmp_path), RemoteOptions()).kind == "directory"
    assert open_transport(f"file://{tmp_path}", RemoteOptions()).url == str(tmp_path)
    transport = open_transport("s3://bucket/some/path/", RemoteOptions())
    assert (transport.kind, transport.url) == ("s3", "s3://bucket/some/path")
    message, hint = refused(UsageError, lambda: open_transport("ftp\x1b://host/x", RemoteOptions()))
    assert message == r"'ftp\x1b://' is not a kind of remote that this version can reach"
    assert hint == f"use {KINDS}"
    message, hint = refused(UsageError, lambda: open_transport("s3:///x", RemoteOptions()))
    assert (message, hint) == ("an S3 remote needs a bucket", "write s3://bucket/path")


@pytest.mark.parametrize(("client", "package"), [("auto", "obstore.store"), ("fsspec", "s3fs")])
def test_s3_without_its_package_says_what_to_install(client, package, monkeypatch):
    """Where a library is not installed, the first use says how to install it."""
    monkeypatch.setitem(sys.modules, package, None)
    transport = open_transport("s3://bucket", RemoteOptions(client=client))
    message, hint = refused(MissingExtra, lambda: transport.read("avc.json", limit=9))
    assert (message, hint) == ("a remote at s3:// needs the extra 's3'", "pip install 'artifactvc[s3]'")


# ---- a directory in trouble ------------------------------------------------------------------------------


def test_a_directory_that_is_not_mounted(tmp_path):
    """A directory that is gone is not answering; it is never made anew below a mount point that is empty."""
    transport = Place(str(tmp_path / "mnt" / "remote")).open()
    message, hint = refused(RemoteUnavailable, lambda: transport.read("avc.json", limit=9))
    assert message == f"the remote's directory '{tmp_path}/mnt/remote' is not there"
    assert hint == "is it mounted? check the address"
    for deed in (lambda: transport.create("log/1", b"1"), lambda: transport.upload("packs/a.pack", b"1")):
        message, hint = refused(RemoteUnavailable, deed)
        assert message == f"the remote's directory '{tmp_path}/mnt/remote' is not there, nor the one above it"
        assert hint == "make it, or mount it"
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_a_file(tmp_path):
    """A file in the place of the remote is named, and left as it is."""
    (tmp_path / "remote").write_text("mine")
    transport = Place(str(tmp_path / "remote")).open()
    message, hint = refused(RemoteUnavailable, lambda: transport.read("avc.json", limit=9))
    assert (message, hint) == (f"'{tmp_path}/remote' is not a directory", "check the address")
    message, _ = refused(RemoteUnavailable, lambda: transport.create("log/1", b"1"))
    assert message == f"cannot write to '{tmp_path}/remote': Not a directory"
    assert (tmp_path / "remote").read_text() == "mine"


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A directory of somebody's who is not root, and the test runs as them."""
    with tempfile.TemporaryDirectory(prefix="avc-nobody-") as name:
        root = os.geteuid() == 0
        if root:
            os.chown(name, 65534, -1)
            os.seteuid(65534)
        try:
            yield Path(name)
        finally:
            if root:
                os.seteuid(0)


def test_a_directory_that_may_not_be_used(nobody):
    """What the file system forbids is a refusal, with where to look."""
    place = Place(str(nobody / "remote"))
    place.open().upload("avc.json", b"{}")
    os.chmod(nobody / "remote" / "avc.json", 0)
    for made in (nobody / "remote" / "tmp", nobody / "remote"):
        os.chmod(made, 0o555)
    transport = place.open()
    message, hint = refused(RemoteRefused, lambda: transport.read("avc.json", limit=9))
    assert (message, hint) == (f"may not read 'avc.json' at '{place.url}'", "check the permissions there")
    for deed in (lambda: transport.create("log/1", b"1"), lambda: transport.upload("avc.json", b"1")):
        message, hint = refused(RemoteRefused, deed)
        assert (message, hint) == (f"may not write to '{place.url}'", "check the permissions there")
    for made in (nobody / "remote", nobody / "remote" / "tmp"):
        os.chmod(made, 0o755)


# ---- credentials -----------------------------------------------------------------------------------------

SECRET = "a-secret-that-nobody-may-see-0123456789ab"
FORBIDDEN: list[Callable[[Transport], object]] = [
    lambda transport: transport.read("avc.json", limit=9),
    lambda transport: transport.read_many(["log/1"], limit=9),
    lambda transport: transport.upload("packs/a.pack", b"1"),
    lambda transport: transport.create("log/1", b"1"),
    probe,
]


@pytest.mark.servers
@pytest.mark.parametrize("key", ["known", "unknown"])
def test_wrong_credentials_are_refused_and_not_shown(on_s3, key, monkeypatch):
    """A wrong secret or key is a refusal that says so; the secret is in no message, hint or cause."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    if key == "unknown":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIANOBODYKNOWSTHIS1")
    transport = on_s3.open()
    for deed in FORBIDDEN:
        with pytest.raises(RemoteRefused) as caught:
            deed(transport)
        code = "SignatureDoesNotMatch" if key == "known" else "InvalidAccessKeyId"
        assert caught.value.message.endswith(f"'{on_s3.url}' refuses these credentials ({code})")
        assert caught.value.hint == "check the credentials and the bucket's policy"
        assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert on_s3.standing() == {}


@pytest.mark.servers
def test_no_credentials_are_asked_for(on_moto, monkeypatch):
    """Where there are no credentials at all, the message says where to put them."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    message, hint = refused(RemoteRefused, lambda: on_moto.open().read("avc.json", limit=9))
    assert message == (
        f"there are no credentials for '{on_moto.url}': looked in AWS_ACCESS_KEY_ID, in ~/.aws/credentials and"
        " ~/.aws/config (profile 'default'), and for a role of this machine"
    )
    assert hint == "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile (AWS_PROFILE; of a remote --profile)"


@pytest.mark.servers
def test_an_unknown_profile_is_named(on_moto):
    """A profile that is not configured is named."""
    message, hint = refused(RemoteRefused, lambda: on_moto.open(profile="nobody").read("avc.json", limit=9))
    assert message.endswith(f"'{on_moto.url}': The config profile (nobody) could not be found")
    assert hint == "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile (AWS_PROFILE; of a remote --profile)"


@pytest.mark.servers
def test_a_profile_gives_the_credentials(on_moto, own_home, monkeypatch):
    """Credentials and endpoint of a profile are used, as other S3 programs use them."""
    assert on_moto.server is not None
    key, secret = (on_moto.server.env[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
    for name in on_moto.server.env:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (own_home / ".aws").mkdir()
    (own_home / ".aws" / "credentials").write_text(
        f"[mine]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"
    )
    transport = on_moto.open(at=on_moto.server.endpoint, profile="mine", region="us-east-1")
    assert transport.create("log/1", b"1") is True
    assert on_moto.standing() == {"log/1": b"1"}


@pytest.mark.servers
def test_credentials_that_may_only_read_are_noticed(on_moto, monkeypatch):
    """The probe finds that these credentials only read, if there is a remote to read; else it is a refusal."""
    assert on_moto.server is not None
    assert on_moto.server.reader is not None
    owner = on_moto.open()
    owner.upload("log/1", b"1")
    for name, value in on_moto.server.reader.items():
        monkeypatch.setenv(name, value)
    transport = on_moto.open()
    with pytest.raises(RemoteRefused) as caught:
        probe(transport)
    assert caught.value.message.endswith(f"at '{on_moto.url}' refuses these credentials (AccessDenied)")
    owner.upload("avc.json", b"{}")
    assert probe(transport) == Probe(read_only=True, notes=("these credentials may only read",))
    assert transport.read("log/1", limit=9) == b"1"
    for deed in (lambda: transport.create("log/2", b""), lambda: transport.remove("log/1")):
        message, hint = refused(RemoteRefused, deed)
        assert message.endswith("refuses these credentials (AccessDenied)")
        assert hint == "check the credentials and the bucket's policy"
    assert on_moto.standing() == {"log/1": b"1", "avc.json": b"{}"}


@pytest.mark.servers
def test_what_may_not_be_asked_for_is_not_there_yet(on_moto):
    """Of many files asked for at once, a refused one is None: S3 answers so to who may not list."""
    assert on_moto.server is not None
    transport = on_moto.open()
    transport.upload("log/1", b"1")
    on_moto.server.faults([{"method": "GET", "path": "log/2", "status": 403, "code": "AccessDenied"}])
    assert transport.read_many(["log/1", "log/2"], limit=9) == [b"1", None]


@pytest.mark.servers
def test_credentials_that_may_not_delete_are_noted(on_moto):
    """The probe accepts credentials that may not delete, and says what will not work."""
    assert on_moto.server is not None
    on_moto.server.faults([{"method": "DELETE", "status": 403, "code": "AccessDenied", "times": 9}])
    assert probe(on_moto.open()).notes == ("files cannot be removed: gc will not work with these credentials",)


@pytest.mark.servers
def test_a_missing_bucket_is_named(on_s3):
    """Whatever is asked of a bucket that does not exist, the bucket is what is reported."""
    transport = Place("s3://avc-no-such-bucket/pre").open()
    deeds: list[Callable[[], object]] = [
        *(lambda deed=deed: deed(transport) for deed in FORBIDDEN),
        lambda: transport.read_many(["log/1", "log/2"], limit=9),
        lambda: transport.remove("log/1"),
    ]
    for deed in deeds:
        message, hint = refused(RemoteMissing, deed)
        assert message == "bucket 'avc-no-such-bucket' does not exist"
        assert hint == "make it, or check the address"


# ---- a network in trouble --------------------------------------------------------------------------------

NO_ANSWER = "check the network and the address, and try again"


@pytest.fixture
def spoiled(far, fault_proxy):
    """A storage, a proxy before it."""
    return far, fault_proxy(far.endpoint)


@pytest.fixture
def spoiled_readable(far_readable, fault_proxy):
    """The same of what is only read, too."""
    return far_readable, fault_proxy(far_readable.endpoint)


def test_reading_survives_cut_connections(spoiled_readable, tmp_path, rng):
    """Connections that break in mid-file cost another try, never a wrong byte, and no byte is told twice."""
    place, proxy = spoiled_readable
    data = rng.randbytes(9 * MIB)
    place.put("packs/a.pack", data)
    transport = place.open(through=proxy)
    proxy.set(cut_down=MIB, cuts=2)
    told: list[int] = []
    transport.download("packs/a.pack", tmp_path / "target", len(data), advance=told.append)
    assert (tmp_path / "target").read_bytes() == data
    assert sum(told) == len(data)
    assert proxy.set()["counters"]["cut"] == 2
    proxy.set(reset=True, kill=True)
    proxy.set(cut_down=20_000, cuts=2)
    wanted = [("packs/a.pack", start, 50_000) for start in range(0, 500_000, 50_000)]
    found = dict(place.open(through=proxy).read_ranges(wanted))
    assert b"".join(found[n] for n in range(10)) == data[:500_000]
    assert proxy.set()["counters"]["cut"] >= 1


def test_sending_survives_cut_connections(spoiled, tmp_path, rng):
    """What a broken connection interrupted is sent again; the file is whole, and nothing stays beside it."""
    place, proxy = spoiled
    data = rng.randbytes(9 * MIB)
    (tmp_path / "source").write_bytes(data)
    proxy.set(cut_up=MIB, cuts=2)
    told: list[int] = []
    place.open(through=proxy).upload("packs/a.pack", tmp_path / "source", advance=told.append)
    assert place.standing() == {"packs/a.pack": data}
    assert sum(told) == len(data)
    assert proxy.set()["counters"]["cut"] >= 1


def test_connections_that_are_gone_are_made_anew(spoiled):
    """A connection that the network has dropped in the meantime costs nothing but another."""
    place, proxy = spoiled
    transport = place.open(through=proxy)
    for number in range(3):
        transport.upload(f"packs/{number}.pack", b"%d" % number)
        assert transport.read(f"packs/{number}.pack", limit=9) == b"%d" % number
        assert proxy.set(kill=True)["counters"]["connections"] >= number + 1
    assert len(transport.list_files("packs")) == 3


def test_a_silence_is_ended_and_the_next_try_succeeds(spoiled_readable):
    """A server that says nothing is given up after the time that was set; asked again, it answers."""
    place, proxy = spoiled_readable
    place.put("packs/a.pack", b"0123456789")
    transport = place.open(through=proxy, timeout=0.5, retries=20)
    assert transport.read("packs/a.pack", limit=99) == b"0123456789"
    proxy.set(reset=True)
    proxy.set(blackhole=True)

    def recover() -> None:  # once the first try was given up, and another begun
        while proxy.set()["counters"]["connections"] < 1:
            pass
        proxy.set(blackhole=False)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(recover)
        assert list(transport.read_ranges([("packs/a.pack", 2, 3)])) == [(0, b"234")]


def test_whatever_is_asked_a_silent_server_is_given_up(spoiled, tmp_path):
    """No deed waits for ever."""
    place, proxy = spoiled
    place.put("avc.json", b"{}")
    (tmp_path / "source").write_bytes(bytes(100))
    transport = place.open(through=proxy, timeout=0.3, retries=2)
    transport.read("avc.json", limit=9)
    proxy.set(blackhole=True)
    deeds = {**DEEDS, "list_files": lambda transport, *_: transport.list_files("packs")}
    with ThreadPoolExecutor(len(deeds)) as pool:
        errors = pool.map(lambda deed: within(60, lambda: deed(transport, "packs/a.pack", tmp_path)), deeds.values())
        for name, error in zip(deeds, errors, strict=True):
            kinds = (OutcomeUnknown, RemoteUnavailable) if name == "create" else (RemoteUnavailable,)
            assert isinstance(error, kinds), (name, error)
            assert error.hint == NO_ANSWER


def test_a_lost_answer_to_a_create_is_never_taken_for_a_no(spoiled):
    """Wherever the connection breaks under a create, what is said of it is true of what stands there (P8)."""
    place, proxy = spoiled
    place.open().create("log/0", b"before")
    transport = place.open(through=proxy)
    before = proxy.set(reset=True)["counters"]["down"]
    assert transport.create("log/1", b"whole") is True
    whole = proxy.set()["counters"]["down"] - before
    unknown = 0
    for number, less in enumerate(range(1, min(whole, 600), max(1, min(whole, 600) // 10)), start=2):
        proxy.set(reset=True, kill=True)
        proxy.set(cut_down=whole - less, cuts=1)
        name, mark = f"log/{number}", b"%d" % number
        try:
            made = place.open(through=proxy).create(name, mark)
        except OutcomeUnknown:
            unknown += place.standing().get(name) == mark
        except RemoteUnavailable:
            assert name not in place.standing()
        else:
            assert made is True, f"a create that nobody raced was told that it lost, cut {less} bytes before the end"
            assert place.standing()[name] == mark
    assert unknown, "no answer was lost after the server had made the file"


@pytest.mark.servers
def test_a_server_that_refuses_connections(on_s3, fault_proxy):
    """A server that is down is reported within seconds; an entry that was being created may have landed."""
    assert on_s3.server is not None
    proxy: FaultProxy = fault_proxy(on_s3.server.endpoint)
    proxy.set(refuse=True)
    transport = on_s3.open(at=proxy.endpoint)
    start = time.monotonic()
    message, hint = refused(RemoteUnavailable, lambda: transport.read("avc.json", limit=9))
    assert message.startswith(f"'avc.json' at '{on_s3.url}' does not answer (")
    assert hint == NO_ANSWER
    for deed in (lambda: transport.upload("packs/a.pack", b"1"), lambda: transport.read_many(["log/1"], limit=9)):
        assert refused(RemoteUnavailable, deed)[1] == NO_ANSWER
    message, hint = refused(OutcomeUnknown, lambda: transport.create("log/1", b"1"))
    assert message.startswith(f"'log/1' at '{on_s3.url}' does not answer (")
    assert hint == NO_ANSWER
    assert time.monotonic() - start < 10
    proxy.set(refuse=False)
    assert transport.create("log/1", b"1") is True  # the same transport, once the server is back


@pytest.mark.servers
@pytest.mark.parametrize(
    "deed",
    [
        "read",
        "remove",
        *(pytest.param(deed) for deed in ("upload", "create")),
    ],
)
def test_a_server_that_goes_silent(deed, on_moto, fault_proxy, tmp_path):
    """A server that takes requests and never answers is given up after the time that was set, whatever was asked."""
    assert on_moto.server is not None
    proxy = fault_proxy(on_moto.server.endpoint)
    transport = on_moto.open(at=proxy.endpoint, timeout=0.3, retries=2)
    transport.upload("avc.json", b"{}")
    proxy.set(blackhole=True)
    error = within(4, lambda: DEEDS[deed](transport, "avc.json", tmp_path))
    assert isinstance(error, OutcomeUnknown if deed == "create" else RemoteUnavailable)
    assert error.message.startswith(f"'avc.json' at '{on_moto.url}' does not answer (") or deed in ("upload", "remove")
    assert error.hint == NO_ANSWER


@pytest.mark.servers
def test_a_download_survives_cut_connections(on_s3, fault_proxy, tmp_path, rng):
    """Connections that break in mid-file cost another try, never a wrong byte."""
    assert on_s3.server is not None
    proxy = fault_proxy(on_s3.server.endpoint)
    data = rng.randbytes(20 * MIB)
    (tmp_path / "source").write_bytes(data)
    on_s3.open().upload("packs/a.pack", tmp_path / "source")
    proxy.set(cut_down=MIB, cuts=2)
    transport = on_s3.open(at=proxy.endpoint)
    transport.download("packs/a.pack", tmp_path / "target", len(data))
    assert (tmp_path / "target").read_bytes() == data
    assert proxy.set()["counters"]["cut"] == 2
    proxy.set(reset=True, cut_down=1000, cuts=1)
    wanted = [("packs/a.pack", start, 5000) for start in range(0, 50_000, 5000)]
    found = dict(on_s3.open(at=proxy.endpoint).read_ranges(wanted))
    assert b"".join(found[n] for n in range(10)) == data[:50_000]
    assert proxy.set()["counters"]["cut"] == 1


@pytest.mark.servers
def test_an_upload_survives_cut_connections(on_s3, fault_proxy, tmp_path, rng):
    """A part whose connection breaks is sent again."""
    assert on_s3.server is not None
    proxy = fault_proxy(on_s3.server.endpoint)
    data = rng.randbytes(20 * MIB)
    (tmp_path / "source").write_bytes(data)
    proxy.set(cut_up=MIB, cuts=2)  # one of the two may carry only the small requests before and after the parts
    on_s3.open(at=proxy.endpoint).upload("packs/a.pack", tmp_path / "source")
    assert on_s3.standing() == {"packs/a.pack": data}
    assert proxy.set()["counters"]["cut"] >= 1


@pytest.mark.servers
def test_an_upload_survives_connections_cut_again_and_again(on_s3, fault_proxy):
    """Uploads are tried as often as reads: the name is used once, so sending it again does no harm."""
    assert on_s3.server is not None
    proxy = fault_proxy(on_s3.server.endpoint)
    proxy.set(cut_up=MIB, cuts=3)
    on_s3.open(at=proxy.endpoint, retries=4).upload("packs/a.pack", bytes(2 * MIB))
    assert on_s3.standing() == {"packs/a.pack": bytes(2 * MIB)}


@pytest.mark.servers
def test_an_upload_that_fails_leaves_nothing(on_moto, tmp_path):
    """Where one part of a larger file is refused, the parts that were sent are dropped."""
    assert on_moto.server is not None
    (tmp_path / "source").write_bytes(bytes(40 * MIB))
    on_moto.server.faults(
        [{"method": "PUT", "path": "partNumber=2", "status": 403, "code": "AccessDenied", "times": 9}]
    )
    transport = on_moto.open()
    assert refused(RemoteRefused, lambda: transport.upload("packs/a.pack", tmp_path / "source"))[0].endswith(
        f"'{on_moto.url}' refuses these credentials (AccessDenied)"
    )
    assert on_moto.standing() == {}
    assert on_moto.server.client().list_multipart_uploads(Bucket=on_moto.bucket).get("Uploads", []) == []


@pytest.mark.servers
def test_a_lost_reply_to_a_create_is_unknown(on_moto):
    """A create that was performed and not answered is said to be unknown: the file may stand, and here it does."""
    assert on_moto.server is not None
    transport = on_moto.open()
    on_moto.server.faults([{"method": "PUT", "path": "log/1", "abort": True, "when": "after", "times": 9}])
    message, hint = refused(OutcomeUnknown, lambda: transport.create("log/1", b"mine"))
    assert message.startswith(f"'log/1' at '{on_moto.url}' does not answer (")
    assert hint == NO_ANSWER
    on_moto.server.faults([])
    assert on_moto.standing() == {"log/1": b"mine"}
    assert transport.create("log/1", b"mine") is False
    assert transport.read("log/1", limit=9) == b"mine"


@pytest.mark.servers
def test_a_create_is_sent_once(on_s3, fault_proxy):
    """A connection reset under the reply to a create is no answer; nothing below the transport sends it again (P8)."""
    assert on_s3.server is not None
    proxy = fault_proxy(on_s3.server.endpoint)
    transport = on_s3.open(at=proxy.endpoint)
    proxy.set(cut_down=26, cuts=1)  # "HTTP/1.1 100 Continue" and an empty line are 25 bytes
    refused(OutcomeUnknown, lambda: transport.create("log/1", b"mine"))
    assert proxy.set()["counters"]["connections"] == 1
    assert on_s3.standing() == {"log/1": b"mine"}


@pytest.mark.servers
def test_a_busy_server_is_asked_again(on_moto):
    """503 twice costs two more tries of what may be tried again; for ever, it ends with what the server said."""
    assert on_moto.server is not None
    transport = on_moto.open()
    busy = {"path": "packs/a", "status": 503, "code": "SlowDown"}
    on_moto.server.faults([{**busy, "method": "PUT", "times": 2}, {**busy, "method": "GET", "times": 2}])
    transport.upload("packs/a.pack", b"1")
    assert transport.read("packs/a.pack", limit=9) == b"1"
    assert on_moto.server.seen() == {"PUT": 3, "GET": 3}
    on_moto.server.faults([{**busy, "times": 99}])
    message, hint = refused(RemoteUnavailable, lambda: transport.read("packs/a.pack", limit=9))
    assert message == f"'packs/a.pack' at '{on_moto.url}' does not answer (SlowDown)"
    assert hint == NO_ANSWER


@pytest.mark.servers
def test_a_busy_server_is_not_sent_an_entry_again(on_moto):
    """After a 503 the create may have been performed: it is not sent again behind the caller's back (P8)."""
    assert on_moto.server is not None
    transport = on_moto.open()
    on_moto.server.faults([{"method": "PUT", "status": 503, "code": "SlowDown"}])
    message, _ = refused(OutcomeUnknown, lambda: transport.create("log/1", b"1"))
    assert message == f"'log/1' at '{on_moto.url}' does not answer (SlowDown)"
    assert on_moto.server.seen() == {"PUT": 1}
    assert on_moto.standing() == {}


@pytest.mark.servers
def test_a_create_that_conflicts_with_another_under_way_waits(on_moto):
    """409 means that another create of the name is not done yet: asked again a few times, then unknown."""
    assert on_moto.server is not None
    transport = on_moto.open()
    conflict = {"method": "PUT", "status": 409, "code": "ConditionalRequestConflict"}
    on_moto.server.faults([{**conflict, "times": 2}])
    assert transport.create("log/1", b"1") is True
    on_moto.server.faults([{**conflict, "times": 99}])
    message, _ = refused(OutcomeUnknown, lambda: transport.create("log/2", b"1"))
    assert message == f"'log/2' at '{on_moto.url}' is being created by others, again and again"
    assert on_moto.standing() == {"log/1": b"1"}


@pytest.mark.servers
def test_another_region_is_named(on_moto):
    """A bucket that lives elsewhere is reported with how to say where."""
    assert on_moto.server is not None
    on_moto.server.faults([{"method": "GET", "status": 301, "code": "PermanentRedirect", "times": 99}])
    message, hint = refused(StorageError, lambda: on_moto.open().read("avc.json", limit=9))
    assert message == f"'avc.json' at '{on_moto.url}' is in another region"
    assert hint == "name it: 'avc remote add … --region R'"


@pytest.mark.servers
def test_an_answer_that_nobody_expects(on_moto):
    """An error that S3 is not known for is shown as the server said it."""
    assert on_moto.server is not None
    on_moto.server.faults([{"method": "GET", "status": 400, "code": "Strange", "times": 99}])
    message, _ = refused(StorageError, lambda: on_moto.open().read("avc.json", limit=9))
    assert message.startswith(f"'avc.json' at '{on_moto.url}' failed: ")
    assert "(Strange)" in message
    assert "a fault set by a test" in message
