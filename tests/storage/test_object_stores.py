"""What is special to object stores, by each library for each kind: lost answers, stalls, credentials, memory, forks."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from artifactvc.errors import (
    BucketMissing,
    Corrupt,
    MissingExtra,
    OutcomeUnknown,
    RemoteMissing,
    RemoteRefused,
    RemoteUnavailable,
    StorageError,
    UsageError,
)
from artifactvc.storage.credentials import azure_access, gcs_access, s3_access
from artifactvc.storage.objectclient import ClientError, Trouble
from artifactvc.storage.objectplace import ObjectPlace, parse_place
from artifactvc.storage.objectstore import PART
from artifactvc.storage.probe import Probe, open_transport, probe
from artifactvc.storage.transport import RemoteOptions, Transport
from artifactvc.util.rate import Rate
from tests.support import clone, inside, new, origin, refused, tree, version, within

MIB = 1 << 20
SECRET = "not-the-secret-but-secret-still"


@dataclass(frozen=True)
class Store:
    """A bucket of the test's own, and the library that speaks to it."""

    kind: str
    client: str
    url: str
    endpoint: str
    standing: Callable[[], dict[str, bytes]]

    def open(self, *, at: str | None = None, **options: Any) -> Transport:
        """A transport to it; *at* is another endpoint to go through."""
        return open_transport(self.url, RemoteOptions(endpoint_url=at, client=self.client, **options))

    def through(self, proxy: Any) -> str:
        """The endpoint, with a proxy before it."""
        return self.endpoint.replace(self.endpoint.split("/")[2], proxy.endpoint.split("/")[2])


def _store(kind: str, client: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Store:
    server = request.getfixturevalue({"s3": "moto", "azure": "azurite", "gcs": "gcs"}[kind])
    if kind == "gcs":
        bucket = server.bucket()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.endpoint)
        monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", server.token)
        url, look = f"gs://{bucket}/pre/fix", lambda: server.standing(bucket)
    elif kind == "azure":
        bucket = server.container()
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", server.env["AZURE_STORAGE_CONNECTION_STRING"])
        url, look = f"az://{bucket}/pre/fix", lambda: server.standing(bucket)
    else:
        bucket = server.bucket()
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        url, look = f"s3://{bucket}/pre/fix", lambda: _s3_standing(server.client(), bucket)
    return Store(
        kind, client, url, server.endpoint, lambda: {key.removeprefix("pre/fix/"): v for key, v in look().items()}
    )


def _s3_standing(client: Any, bucket: str) -> dict[str, bytes]:
    rows = client.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {row["Key"]: client.get_object(Bucket=bucket, Key=row["Key"])["Body"].read() for row in rows}


ALL = [("s3", "auto"), ("s3", "fsspec"), ("azure", "auto"), ("azure", "fsspec"), ("gcs", "auto")]


@pytest.fixture(params=ALL, ids=["-".join(one) for one in ALL])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Each kind by each library that speaks to it."""
    return _store(*request.param, request, monkeypatch)


@pytest.fixture(params=["auto", "fsspec"])
def on_moto(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Store:
    """S3, which can be told to fail, by each library."""
    return _store("s3", request.param, request, monkeypatch)


# ---- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "kind", "shown", "bucket", "prefix", "account"),
    [
        ("s3://b", "s3", "s3://b", "b", "", ""),
        ("s3://b/x/y/", "s3", "s3://b/x/y", "b", "x/y", ""),
        ("gs://b/x", "gcs", "gs://b/x", "b", "x", ""),
        ("gcs://b/x", "gcs", "gs://b/x", "b", "x", ""),
        ("az://c/x", "azure", "az://c/x", "c", "x", ""),
        ("abfs://c/x", "azure", "az://c/x", "c", "x", ""),
        ("abfs://c@acct.dfs.core.windows.net/x", "azure", "abfs://c@acct.dfs.core.windows.net/x", "c", "x", "acct"),
        ("https://acct.blob.core.windows.net/c/x", "azure", "abfs://c@acct.dfs.core.windows.net/x", "c", "x", "acct"),
    ],
)
def test_an_address_names_bucket_and_path(url, kind, shown, bucket, prefix, account):
    """Every spelling is read, and shown in one way."""
    place = parse_place(url)
    assert place is not None
    assert (place.kind, place.url, place.bucket, place.prefix, place.account) == (kind, shown, bucket, prefix, account)
    assert parse_place(place.url) == place


@pytest.mark.parametrize("url", ["/data/remote", "file:///x", "sftp://host/x", "https://example.com/x", "http://a/b"])
def test_other_addresses_are_no_object_stores(url):
    assert parse_place(url) is None


@pytest.mark.parametrize("url", ["s3://", "s3:///x", "gs://", "az://", "abfs://@abc.dfs.core.windows.net"])
def test_an_address_without_a_bucket_is_refused(url):
    error = refused(UsageError, lambda: parse_place(url))
    assert error.hint.startswith("write ")


@pytest.mark.parametrize("host", ["example.com", "acct.dfs.core.example.com", "acct.blob.core.windows.net.example.com"])
def test_credentials_of_azure_go_to_no_other_host(host):
    """An address may have come with somebody's artifacts.toml: only Azure's own hosts are taken for Azure."""
    assert parse_place(f"https://{host}/c/x") is None
    refused(UsageError, lambda: parse_place(f"abfs://c@{host}/x"))


# ---- creating once, lost answers -----------------------------------------------------------------


@pytest.mark.servers
def test_one_of_many_creates(store):
    """Of racing creates one is told that it made the object; a later one changes nothing; the probe is content."""
    transports = [store.open() for _ in range(3)]
    for number in range(3):
        barrier = threading.Barrier(3)

        def create(mark: int, number: int = number, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            return transports[mark].create(f"log/{number}", b"%d" % mark)

        with ThreadPoolExecutor(3) as pool:
            made = list(pool.map(create, range(3)))
        assert made.count(True) == 1
        assert store.standing()[f"log/{number}"] == b"%d" % made.index(True)
        assert transports[0].create(f"log/{number}", b"later") is False
    assert probe(transports[0]) == Probe(read_only=False, notes=())
    assert all(not name.startswith("probe/") for name in store.standing())


@pytest.mark.servers
def test_a_lost_answer_to_a_create_is_unknown_and_sent_once(store, fault_proxy):
    """The connection breaks under the reply: nothing sends the request again (P8), and it has been carried out."""
    proxy = fault_proxy("http://" + store.endpoint.split("/")[2])
    transport = store.open(at=store.through(proxy))
    transport.create("log/0", b"before")  # a connection that was good once is where libraries send again
    for attempt in range(1, 9):
        proxy.set(reset=True)
        proxy.set(kill=True, cut_down=26, cuts=1)
        name = f"log/{attempt}"
        error = refused(OutcomeUnknown, lambda name=name: transport.create(name, b"mine"))
        assert f"'{name}' at '{store.url}' does not answer (" in error.message
        assert proxy.set()["counters"]["connections"] <= 1
        if proxy.set()["counters"]["cut"]:  # else the client had not yet heard that its old connection was dead
            break
    assert store.standing().items() >= {"log/0": b"before", name: b"mine"}.items()
    assert proxy.set()["counters"]["connections"] == 1
    assert transport.create(name, b"mine") is False


@pytest.mark.servers
def test_answers_that_are_lost_are_asked_for_again_where_that_does_no_harm(store, fault_proxy, tmp_path, rng):
    """Connections that break in mid-file cost another try, never a wrong byte: up, and down."""
    proxy = fault_proxy("http://" + store.endpoint.split("/")[2])
    data = rng.randbytes(2 * PART + MIB)
    (tmp_path / "source").write_bytes(data)
    transport = store.open(at=store.through(proxy))
    proxy.set(cut_up=3 * MIB, cuts=2)
    transport.upload("packs/a.pack", tmp_path / "source")
    assert store.standing() == {"packs/a.pack": data}
    assert proxy.set()["counters"]["cut"] >= 1
    proxy.set(reset=True)
    proxy.set(kill=True, cut_down=MIB, cuts=2)
    transport.download("packs/a.pack", tmp_path / "target", len(data))
    assert (tmp_path / "target").read_bytes() == data
    assert proxy.set()["counters"]["cut"] == 2


@pytest.mark.servers
def test_a_server_that_goes_silent_is_given_up(store, fault_proxy, tmp_path):
    """Whatever is asked, a server that takes it and says nothing is given up after the tries that were set."""
    proxy = fault_proxy("http://" + store.endpoint.split("/")[2])
    transport = store.open(at=store.through(proxy), timeout=0.2, retries=2)
    (tmp_path / "large").write_bytes(bytes(PART + 1))
    store.open().upload("packs/a.pack", tmp_path / "large")
    proxy.set(blackhole=True)
    deeds: dict[str, Callable[[], object]] = {
        "read": lambda: transport.read("packs/a.pack", limit=9 * MIB),
        "read_ranges": lambda: list(transport.read_ranges([("packs/a.pack", 0, 9)])),
        "download": lambda: transport.download("packs/a.pack", tmp_path / "got", PART + 1),
        "upload": lambda: transport.upload("packs/b.pack", b"1"),
        "upload in parts": lambda: transport.upload("packs/c.pack", tmp_path / "large"),
        "remove": lambda: transport.remove("packs/a.pack"),
        "list": lambda: transport.list_files("packs"),
        "create": lambda: transport.create("log/1", b"1"),
    }
    with ThreadPoolExecutor(len(deeds)) as pool:
        errors = dict(zip(deeds, pool.map(lambda deed: within(30, deed), deeds.values()), strict=True))
    assert {name: type(error) for name, error in errors.items()} == {
        name: OutcomeUnknown if name == "create" else RemoteUnavailable for name in deeds
    }
    assert {error.hint for error in errors.values()} == {"check the network and the address, and try again"}


# ---- files, lengths, bounds ------------------------------------------------------------------------


@pytest.mark.servers
@pytest.mark.parametrize("size", [0, PART, 2 * PART + 7], ids=["none", "one part", "more"])
def test_files_go_and_come_back_and_are_counted(store, tmp_path, rng, size):
    """Byte for byte, from a file or from memory; *advance* and the bound on bytes are told of each byte once."""
    taken: list[int] = []

    class Counting(Rate):
        def take(self, count: int) -> None:
            taken.append(count)

    transport = store.open(rate=Counting(1))
    data = rng.randbytes(size)
    (tmp_path / "source").write_bytes(data)
    told: list[int] = []
    transport.upload("packs/a.pack", tmp_path / "source", advance=told.append)
    transport.upload("packs/b.pack", data)
    assert sum(told) == size
    assert sum(taken) == 2 * size
    assert store.standing() == {"packs/a.pack": data, "packs/b.pack": data}
    told.clear()
    transport.download("packs/a.pack", tmp_path / "target", size, advance=told.append)
    assert (tmp_path / "target").read_bytes() == data
    assert sum(told) == size
    assert sum(taken) == 3 * size
    found = transport.list_files("packs")
    assert [(file.name, file.size) for file in found] == [("packs/a.pack", size), ("packs/b.pack", size)]
    assert all(abs(file.modified - time.time()) < 60 for file in found)
    assert transport.list_files("log") == []


@pytest.mark.servers
def test_parts_are_checked(store):
    """A part that ends early or begins beyond the end is damage; what is missing or too large is told."""
    transport = store.open()
    transport.upload("packs/a.pack", b"0123456789")
    assert list(transport.read_ranges([("packs/a.pack", 2, 3), ("packs/a.pack", 9, 0)])) in (
        [(0, b"234"), (1, b"")],
        [(1, b""), (0, b"234")],
    )
    for start in (5, 50):
        error = refused(Corrupt, lambda start=start: list(transport.read_ranges([("packs/a.pack", start, 8)])))
        assert error.message == f"'packs/a.pack' at '{store.url}' is cut short"
    error = refused(Corrupt, lambda: transport.read("packs/a.pack", limit=9))
    assert error.message == f"'packs/a.pack' at '{store.url}' is larger than 9 bytes"
    assert transport.read("packs/a.pack", limit=10) == b"0123456789"
    refused(RemoteMissing, lambda: transport.read("packs/b.pack", limit=9))
    assert transport.read_many(["packs/b.pack", "packs/a.pack"], limit=10) == [None, b"0123456789"]
    transport.remove("packs/a.pack")
    transport.remove("packs/a.pack")
    assert store.standing() == {}


@pytest.mark.servers
@pytest.mark.parametrize("client", ["auto", "fsspec"])
def test_a_server_that_ignores_ranges_does_not_pass(client, nginx, moto, tmp_path, monkeypatch):
    """It answers a part with the whole file: that is told, and nothing of it is used."""
    for name, value in moto.env.items():
        monkeypatch.setenv(name, value)
    (nginx.root / "pre" / "packs").mkdir(parents=True, exist_ok=True)
    (nginx.root / "pre" / "packs" / "a.pack").write_bytes(b"0123456789")
    place = open_transport("s3://norange/pre", RemoteOptions(endpoint_url=nginx.endpoint, client=client, retries=1))
    for deed in (
        lambda: list(place.read_ranges([("packs/a.pack", 2, 3)])),
        lambda: place.download("packs/a.pack", tmp_path / "got", 3),
    ):
        with pytest.raises((StorageError, Corrupt)) as caught:
            deed()
        assert "'packs/a.pack' at 's3://norange/pre'" in caught.value.message


@pytest.mark.servers
@pytest.mark.parametrize(
    ("kind", "client", "limit"), [("s3", "auto", 100), ("s3", "fsspec", 130), ("azure", "auto", 100)]
)
def test_a_large_file_needs_little_memory(kind, client, limit, request, monkeypatch, tmp_path):
    """A file goes and comes in parts: a process that does both with 160 MiB stays far below its size."""
    store = _store(kind, client, request, monkeypatch)
    code = f"""
        import os, resource, sys
        from pathlib import Path
        from artifactvc.storage.probe import open_transport
        from artifactvc.storage.transport import RemoteOptions
        size = 160 << 20
        with open("source", "wb") as file:
            file.truncate(size)
        transport = open_transport({store.url!r}, RemoteOptions(client={client!r}))
        transport.create("avc.json", b"")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        transport.upload("packs/a.pack", Path("source"))
        transport.download("packs/a.pack", Path("target"), size)
        assert os.path.getsize("target") == size
        unit = 1 if sys.platform == "darwin" else 1024
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit >> 20)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert int(done.stdout) < limit


@pytest.mark.servers
@pytest.mark.parametrize("client", ["auto", "fsspec"])
def test_uploads_that_were_given_up_are_dropped(client, radosgw, monkeypatch):
    """Uploads in parts that began before the time that is given go; later ones, and other people's, stay."""
    for name, value in radosgw.env.items():
        monkeypatch.setenv(name, value)
    boto, bucket = radosgw.client(), radosgw.bucket()  # moto says of every upload that it began in 2010
    for key in ("pre/packs/a", "pre/packs/b", "elsewhere/packs/c"):
        boto.create_multipart_upload(Bucket=bucket, Key=key)
    transport = open_transport(f"s3://{bucket}/pre", RemoteOptions(client=client))
    assert transport.drop_unfinished(time.time() - 3600) == 0
    assert transport.drop_unfinished(time.time() + 3600) == 2
    assert [row["Key"] for row in boto.list_multipart_uploads(Bucket=bucket)["Uploads"]] == ["elsewhere/packs/c"]


@pytest.mark.servers
def test_a_forked_child_reaches_the_remote_too(store):
    """Threads do not survive a fork: a child makes its own, and does not wait for its parent's."""
    transport = store.open()
    assert transport.create("log/1", b"parent") is True
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            fine = transport.read("log/1", limit=9) == b"parent" and transport.create("log/2", b"child")
        finally:
            os._exit(0 if "fine" in locals() and fine else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert store.standing() == {"log/1": b"parent", "log/2": b"child"}


# ---- credentials -------------------------------------------------------------------------------------

LOOKED = {
    "s3": "looked in AWS_ACCESS_KEY_ID, in ~/.aws/credentials and ~/.aws/config (profile 'default'), and for a role",
    "azure": "looked in AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY or",
    "gcs": "looked in GOOGLE_APPLICATION_CREDENTIALS and GOOGLE_OAUTH_ACCESS_TOKEN, in gcloud's application default",
}


def _without_credentials(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_CONNECTION_STRING", "STORAGE_EMULATOR_HOST",
        "GOOGLE_OAUTH_ACCESS_TOKEN",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "nobody")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")  # or it would ask a metadata address
    monkeypatch.setenv("CLOUDSDK_CONFIG", "/nonexistent")


@pytest.mark.parametrize(("kind", "client"), ALL)
def test_missing_credentials_end_at_once_with_where_they_were_looked_for(kind, client, monkeypatch):
    """No request is sent, whatever is asked."""
    _without_credentials(kind, monkeypatch)
    url = {"s3": "s3://bucket/x", "azure": "az://bucket/x", "gcs": "gs://bucket/x"}[kind]
    transport = open_transport(url, RemoteOptions(client=client))
    for deed in (
        lambda: transport.read("avc.json", limit=9),
        lambda: transport.read_many(["log/1"], limit=9),
        lambda: transport.create("log/1", b""),
        lambda: transport.upload("packs/a", b"1"),
    ):
        error = refused(RemoteRefused, deed)
        assert error.message.startswith(f"there are no credentials for '{url}': {LOOKED[kind]}")
        assert error.hint


@pytest.mark.servers
def test_refused_credentials_show_no_secret(store, monkeypatch):
    """A wrong secret is a refusal, and is nowhere in the error, its causes or its notes."""
    if store.kind == "s3":
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    elif store.kind == "gcs":
        monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", SECRET)
    else:
        signature = f"sv=2021-08-06&sp=rw&sr=c&se=2100-01-01T00:00:00Z&sig={SECRET}"
        text = f"BlobEndpoint={store.endpoint};AccountName=devstoreaccount1;SharedAccessSignature={signature}"
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    transport = store.open()
    for deed in (
        lambda: transport.read("avc.json", limit=9),
        lambda: transport.create("log/1", b""),
        lambda: transport.upload("packs/a", b"1"),
        lambda: transport.list_files("packs"),
    ):
        error = refused(RemoteRefused, deed)
        assert "refuses these credentials (" in error.message
        assert error.hint.startswith("check the credentials and the ")
        assert SECRET not in "".join(traceback.format_exception(error))
    assert store.standing() == {}


@pytest.mark.servers
def test_credentials_that_are_over_are_told_so(on_moto, moto):
    """S3 says it with a status that means many things; nothing is tried again."""
    transport = on_moto.open()
    moto.faults([{"status": 400, "code": "ExpiredToken", "times": 9}])
    error = refused(RemoteRefused, lambda: transport.read("avc.json", limit=9))
    assert error.message == f"the credentials for '{on_moto.url}' have expired (ExpiredToken)"
    assert error.hint == "sign in again ('aws sso login'), or renew the keys and the session token"
    assert refused(RemoteRefused, lambda: transport.create("log/1", b"")).message == error.message
    assert sum(moto.seen().values()) == 2


@pytest.mark.parametrize("client", ["auto", "fsspec"])
def test_a_signature_that_is_over_is_not_sent(client, monkeypatch):
    """A shared access signature says until when it is good."""
    _without_credentials("azure", monkeypatch)
    end = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", f"?sv=2021-08-06&se={quote(end)}&sig={SECRET}")
    transport = open_transport("az://c/x", RemoteOptions(client=client, endpoint_url="http://127.0.0.1:1/nobody"))
    error = refused(RemoteRefused, lambda: transport.read("avc.json", limit=9))
    assert error.message == (
        f"the credentials for 'az://c/x' have expired (the shared access signature was good until {end})"
    )
    assert SECRET not in "".join(traceback.format_exception(error))


@pytest.mark.servers
def test_a_missing_bucket_is_named(store):
    """Whatever is asked of a bucket that is not there, the bucket is what is reported."""
    bucket = f"avc-no-such-{secrets.token_hex(4)}"
    url = store.url.replace(store.url.split("/")[2], bucket)
    transport = open_transport(url, RemoteOptions(client=store.client))
    word = "container" if store.kind == "azure" else "bucket"
    for deed in (
        lambda: transport.read("avc.json", limit=9),
        lambda: transport.read_many(["log/1"], limit=9),
        lambda: transport.create("log/1", b""),
        lambda: transport.upload("packs/a", b"1"),
        lambda: transport.upload("packs/a", bytes(PART + 1)),
        lambda: transport.remove("packs/a"),
        lambda: transport.list_files("packs"),
    ):
        assert refused(BucketMissing, deed).message == f"{word} '{bucket}' does not exist"


@pytest.mark.parametrize(
    ("url", "client", "package", "extra"),
    [
        ("s3://b", "auto", "obstore.store", "s3"),
        ("s3://b", "fsspec", "s3fs", "s3"),
        ("az://b", "auto", "obstore.store", "azure"),
        ("az://b", "fsspec", "azure.storage.blob.aio", "azure"),
        ("gs://b", "auto", "gcsfs.core", "gcs"),
    ],
)
def test_a_missing_package_names_its_extra(url, client, package, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    error = refused(MissingExtra, lambda: open_transport(url, RemoteOptions(client=client)).read("a", limit=1))
    assert error.message.endswith(f" needs the extra '{extra}'")
    assert error.hint == f"pip install 'artifactvc[{extra}]'"


@pytest.mark.parametrize("text", ["notaurl", "http://", "ftp://h", "http://u:p@h", "http://h ost", "http://h:99999"])
@pytest.mark.parametrize("kind", ["s3", "azure", "gcs"])
def test_an_endpoint_that_is_no_address_is_told(kind, text, monkeypatch):
    """Before any library sees it: one of them would fail with the trace of another language."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "a")
    monkeypatch.setenv("AZURE_STORAGE_KEY", "aw==")
    url = {"s3": "s3://b", "azure": "az://b", "gcs": "gs://b"}[kind]
    error = refused(UsageError, lambda: open_transport(url, RemoteOptions(endpoint_url=text)).read("a", limit=1))
    assert "is no address of" in error.message
    assert "u:p" not in error.message


# ---- what the clouds' usual places say -----------------------------------------------------------------


def test_keys_in_the_environment_need_no_botocore(own_home):
    """It takes a third of a second to load; keys that stand in the environment are read without it."""
    environment = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"}
    code = f"""
        import sys
        from artifactvc.storage.credentials import s3_access
        from artifactvc.storage.transport import RemoteOptions
        access = s3_access(RemoteOptions(), {environment!r})
        assert access.provide()["token"] == "t" and access.endpoint is None and access.region == "us-east-1"
        assert "botocore" not in sys.modules and "obstore" not in sys.modules
    """
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=root, capture_output=True, text=True, env={**os.environ}
    )
    assert done.returncode == 0, done.stderr


def test_a_profile_gives_keys_region_and_endpoint(own_home, monkeypatch):
    """Named by the option or by AWS_PROFILE, and found where botocore finds them; options come first."""
    (own_home / ".aws").mkdir()
    (own_home / ".aws" / "credentials").write_text("[team]\naws_access_key_id = k\naws_secret_access_key = s\n")
    (own_home / ".aws" / "config").write_text(
        "[profile team]\nregion = eu-north-1\nendpoint_url = http://127.0.0.1:9\n[default]\nregion = eu-west-3\n"
    )
    access = s3_access(RemoteOptions(profile="team"))
    assert (access.endpoint, access.region) == ("http://127.0.0.1:9", "eu-north-1")
    keys = access.provide()
    assert (keys["access_key_id"], keys["secret_access_key"], keys["token"]) == ("k", "s", None)
    monkeypatch.setenv("AWS_PROFILE", "team")
    access = s3_access(RemoteOptions(region="us-west-2", endpoint_url="http://127.0.0.1:8"))
    assert (access.endpoint, access.region) == ("http://127.0.0.1:8", "us-west-2")
    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "own")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    access = s3_access(RemoteOptions())
    assert (access.region, access.provide()["access_key_id"]) == ("eu-west-3", "own")


def test_a_sign_in_that_is_over_says_so(own_home):
    """A profile with single sign-on whose token is gone: how it is renewed."""
    (own_home / ".aws").mkdir()
    (own_home / ".aws" / "config").write_text(
        "[profile sso]\nsso_start_url = https://127.0.0.1/start\nsso_region = us-east-1\nsso_account_id = 1\n"
        "sso_role_name = r\nregion = us-east-1\n"
    )
    error = refused(RemoteRefused, lambda: open_transport("s3://b", RemoteOptions(profile="sso")).read("a", limit=1))
    assert error.message.startswith("the credentials for 's3://b' have expired (")
    assert "aws sso login" in error.hint


AZ = ObjectPlace("azure", "az://c", "c", "")
AZ_OTHER = ObjectPlace("azure", "abfs://c@other.dfs.core.windows.net", "c", "", "other", "core.windows.net")
HOST = "https://acct.blob.core.windows.net"
CONNECTION = "DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=a2V5;EndpointSuffix=core.windows.net"
SIGNED = f"BlobEndpoint={HOST}/;SharedAccessSignature=sv=1&sig=x="
EMULATOR = ("devstoreaccount1", "http://127.0.0.1:10000/devstoreaccount1", "access_key")


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({"AZURE_STORAGE_CONNECTION_STRING": CONNECTION}, ("acct", HOST, "access_key")),
        ({"AZURE_STORAGE_CONNECTION_STRING": SIGNED}, ("acct", HOST, "sas_token")),
        ({"AZURE_STORAGE_CONNECTION_STRING": "UseDevelopmentStorage=true"}, EMULATOR),
        ({"AZURE_STORAGE_ACCOUNT": "acct", "AZURE_STORAGE_KEY": "k"}, ("acct", HOST, "access_key")),
        ({"AZURE_STORAGE_ACCOUNT_NAME": "acct", "AZURE_STORAGE_ACCOUNT_KEY": "k"}, ("acct", HOST, "access_key")),
        ({"AZURE_STORAGE_ACCOUNT": "acct", "AZURE_STORAGE_SAS_TOKEN": "?sig=x"}, ("acct", HOST, "sas_token")),
    ],
)
def test_azure_s_usual_places_give_account_endpoint_and_key(environment, found):
    account, endpoint, kind = found
    access = azure_access(AZ, RemoteOptions(), environment)
    assert (access.account, access.endpoint) == (account, endpoint)
    assert access.provide()[kind].lstrip("?") == access.provide()[kind]


def test_credentials_of_one_account_never_go_to_another(monkeypatch):
    """The address names an account: a connection string, a key or a signature of another one is not for it."""
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    for environment in (
        {"AZURE_STORAGE_CONNECTION_STRING": CONNECTION},
        {"AZURE_STORAGE_ACCOUNT": "acct", "AZURE_STORAGE_KEY": "a2V5", "AZURE_STORAGE_SAS_TOKEN": "sig=x"},
    ):
        access = azure_access(AZ_OTHER, RemoteOptions(), environment)
        assert access.endpoint == "https://other.blob.core.windows.net"
        with pytest.raises(ClientError) as caught:
            access.provide()
        assert caught.value.trouble is Trouble.NO_CREDENTIALS
        assert caught.value.detail.endswith("for account 'other'")


def test_another_server_than_google_s_gets_no_credentials_of_the_machine(own_home, monkeypatch):
    """Only what the environment gives: what gcloud keeps is for Google."""
    place = own_home / ".config" / "gcloud"
    place.mkdir(parents=True)
    (place / "application_default_credentials.json").write_text(
        '{"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "r"}'
    )
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(place))
    assert gcs_access(RemoteOptions(endpoint_url="http://127.0.0.1:9"), {}).credentials is None
    assert gcs_access(RemoteOptions(), {"STORAGE_EMULATOR_HOST": "127.0.0.1:9"}).endpoint == "http://127.0.0.1:9"
    found = gcs_access(RemoteOptions(), {})
    assert (found.endpoint, found.credentials.refresh_token) == ("https://storage.googleapis.com", "r")


# ---- the whole way -------------------------------------------------------------------------------------


@pytest.mark.servers
def test_push_clone_pull_checkout(store, tmp_path, rng):
    """The commands' way over each: what was pushed comes back byte for byte; nothing secret is stored."""
    one = new(tmp_path / "one")
    options = {"client": store.client}
    origin(one, store.url, **options)
    version(one, {"a.txt": "one", "deep/b": "two", "large": rng.randbytes(PART + MIB)}, "first")
    assert one.push().versions == ("demo/data:v0",)
    version(one, {"a.txt": "changed", "deep/b": None}, "second")
    assert one.push().versions == ("demo/data:v1",)
    config = (tmp_path / "one" / ".artifacts" / "config.toml").read_text()
    assert ('transport = "fsspec"' in config) == (store.client == "fsspec")
    other = clone(store.url, tmp_path / "other", **options)
    other.pull(None, ["data:v0", "data:v1"])
    with inside(tmp_path / "other"):
        other.checkout("data")
    assert tree(tmp_path / "other" / "data") == tree(tmp_path / "one" / "data")
    assert other.fsck(full=True).problems == ()
