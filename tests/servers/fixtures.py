"""The servers as fixtures: started when a test first asks, ended with the run, by process id.

A server whose program is missing skips the tests that ask for it, and says which program; with
``AVC_REQUIRE_SERVERS=1`` it fails them. One that is there and does not start always fails them.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import hmac
import http.client
import importlib.util
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from xml.etree import ElementTree

import pytest

from tests.servers.azurite import binary as azurite_binary
from tests.servers.faultproxy import control
from tests.servers.starting import program

ROOT = Path(__file__).parents[2]
_SPOILT: list[Spoilable] = []  # servers on which this test has set faults


class Refusal(Exception):
    """An answer other than yes: its status and its bytes."""


class Spoilable:
    """A server with ``faults.py`` before it."""

    endpoint: str

    def faults(self, rules: Sequence[dict[str, Any]]) -> None:
        """Set the rules by which requests fail (``faults.py``) until the test ends; counts begin at 0."""
        _SPOILT.append(self)
        self._control("PUT", json.dumps(list(rules)))

    def seen(self) -> dict[str, int]:
        """How many requests of each method came since the rules were set."""
        counts: dict[str, int] = self._control("GET")["seen"]
        return counts

    def _control(self, method: str, body: str | None = None) -> Any:
        with contextlib.closing(http.client.HTTPConnection(self.endpoint.removeprefix("http://"), timeout=10)) as link:
            link.request(method, "/_faults", body)
            return json.loads(link.getresponse().read())


@dataclass(frozen=True)
class S3Server(Spoilable):
    """A running S3 server. ``env`` is what the client's environment must hold to write to it. Moto alone has faults."""

    kind: str
    endpoint: str
    env: dict[str, str]
    reader: dict[str, str] | None = None  # the same for a user who may only read

    def client(self) -> Any:
        """A boto3 client for looking at what really stands there."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.env["AWS_SECRET_ACCESS_KEY"],
            region_name=self.env["AWS_DEFAULT_REGION"],
        )

    def bucket(self, *, versions: bool = False) -> str:
        """Make a bucket of the caller's own, with *versions* one that keeps them; its name."""
        name = f"avc-{secrets.token_hex(8)}"
        client = self.client()
        client.create_bucket(Bucket=name)
        if versions:
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name


@dataclass(frozen=True)
class GcsServer(Spoilable):
    """A running server of Google's JSON API, and the tokens that it takes."""

    endpoint: str
    token: str
    reader: str  # of a user who may only read
    kind: str = "gcs"

    def ask(self, method: str, path: str, body: bytes = b"", **query: str) -> bytes:
        """One request to the API, as whoever may do anything; the bytes of the answer."""
        address = self.endpoint.removeprefix("http://")
        with contextlib.closing(http.client.HTTPConnection(address, timeout=30)) as link:
            asked = f"{path}?{urlencode(query)}" if query else path
            link.request(method, asked, body, {"Authorization": f"Bearer {self.token}"})
            answer = link.getresponse()
            data = answer.read()
        if answer.status >= 300:
            raise Refusal(answer.status, data)
        return data

    def bucket(self, *, versions: bool = False) -> str:
        """Make a bucket of the caller's own, with *versions* one that keeps them; its name."""
        name = f"avc-{secrets.token_hex(8)}"
        self.ask("POST", "/storage/v1/b", json.dumps({"name": name, "versioning": {"enabled": versions}}).encode())
        return name

    def standing(self, bucket: str) -> dict[str, bytes]:
        """Every object that is really there."""
        found, page = {}, {"nextPageToken": ""}
        while "nextPageToken" in page:
            page = json.loads(self.ask("GET", f"/storage/v1/b/{bucket}/o", pageToken=page["nextPageToken"]))
            for name in (item["name"] for item in page.get("items", [])):
                found[name] = self.ask("GET", f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}", alt="media")
        return found


@dataclass(frozen=True)
class AzureServer:
    """A running server of Azure's blob storage. ``env`` is what the client's environment must hold to write to it."""

    endpoint: str
    account: str
    key: str
    env: dict[str, str]
    kind: str = "azure"

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        once: bool = False,
        meta: Mapping[str, str] | None = None,
        **query: str,
    ) -> bytes:
        """One request, signed with the account's key; with *once*, unless the blob is there. Its bytes."""
        parts = urlsplit(self.endpoint)
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
        headers |= {"x-ms-blob-type": "BlockBlob"} if method == "PUT" and not query else {}
        headers |= {f"x-ms-meta-{name}": value for name, value in (meta or {}).items()}
        signed = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        signed += f"/{self.account}{parts.path}{path}" + "".join(f"\n{name}:{query[name]}" for name in sorted(query))
        text = f"{method}\n\n\n{len(body) or ''}\n\n\n\n\n\n{'*' if once else ''}\n\n\n{signed}"
        digest = hmac.new(base64.b64decode(self.key), text.encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey {self.account}:{base64.b64encode(digest).decode()}"
        headers |= {"If-None-Match": "*"} if once else {}
        with contextlib.closing(http.client.HTTPConnection(parts.netloc, timeout=30)) as link:
            asked = f"{parts.path}{path}" + (f"?{urlencode(query)}" if query else "")
            link.request(method, asked, body or None, headers)
            answer = link.getresponse()
            data = answer.read()
        if answer.status >= 300:
            raise Refusal(answer.status, data)
        return data

    def container(self) -> str:
        """Make a container of the caller's own; its name."""
        name = f"avc-{secrets.token_hex(8)}"
        self.ask("PUT", f"/{name}", restype="container")
        return name

    def standing(self, container: str) -> dict[str, bytes]:
        """Every blob that is really there."""
        found, marker = {}, ""
        while True:
            query = {"restype": "container", "comp": "list"} | ({"marker": marker} if marker else {})
            page = ElementTree.fromstring(self.ask("GET", f"/{container}", **query))
            for item in page.iter("Blob"):
                name = item.findtext("Name") or ""
                found[name] = self.ask("GET", f"/{container}/{quote(name)}")
            marker = page.findtext("NextMarker") or ""
            if not marker:
                return found


@dataclass(frozen=True)
class SftpServer:
    """A running SFTP server (``sftp.py`` says what its ports allow), which begins in ``root``."""

    port: int
    bare_port: int
    read_port: int
    shell_port: int
    user: str
    key: Path
    host_key: str
    root: Path
    log: Path

    def welcome(self, home: Path, *ports: int) -> None:
        """Let who lives in *home* in: the key and the hosts' keys stand where ssh looks for them."""
        directory = home / ".ssh"
        directory.mkdir(mode=0o700, exist_ok=True)
        for name in ("id", "id.pub"):
            shutil.copy(self.key.with_name(name), directory / name.replace("id", "id_ed25519"))
        known = [f"[127.0.0.1]:{port} {self.host_key}\n" for port in (*self.ports, *ports)]
        (directory / "known_hosts").write_text("".join(known))

    @property
    def ports(self) -> tuple[int, int, int, int]:
        """All of its ports."""
        return self.port, self.bare_port, self.read_port, self.shell_port


@dataclass(frozen=True)
class HttpServer:
    """A running nginx: files below ``root`` are served under each prefix that ``nginx.py`` lists."""

    endpoint: str
    root: Path
    log: Path

    def seen(self) -> list[tuple[int, str, str, str]]:
        """(status, method, path, range) of each request so far, but for those that asked this.

        Its one process writes a line after the answer, and before it turns to another connection: once
        one more request is answered, the lines of all before it are there.
        """
        with contextlib.closing(http.client.HTTPConnection(urlsplit(self.endpoint).netloc, timeout=10)) as link:
            link.request("GET", "/seen")
            link.getresponse().read()
        rows = (line.split(" ", 3) for line in self.log.read_text().splitlines(keepends=True) if line.endswith("\n"))
        return [(int(row[0]), row[1], row[2], row[3].rstrip("\n")) for row in rows if row[2] != "/seen"]


@dataclass(frozen=True)
class FaultProxy:
    """A running proxy; ``endpoint`` is its address in place of the server's."""

    endpoint: str
    control_port: int

    def set(self, **change: Any) -> dict[str, Any]:
        """Change its faults (``faultproxy.py`` lists them); its state and counters."""
        state = control(self.control_port, **change)
        assert not state["unknown"], f"the proxy knows no {state['unknown']}"
        return state


def _missing(program: str, remedy: str) -> None:
    reason = f"{program} is not on this machine: {remedy}"
    if os.environ.get("AVC_REQUIRE_SERVERS") == "1":
        pytest.fail(f"{reason} (AVC_REQUIRE_SERVERS=1)", pytrace=False)
    pytest.skip(reason)


@contextlib.contextmanager
def _running(argv: Sequence[str], *, within: float) -> Iterator[dict[str, str]]:
    """Run a server for the block; the values that it prints before READY."""
    # In a session of its own, so that Ctrl-C reaches the tests first; it ends with them even if they are killed.
    bound = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(
            [*bound, *argv], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
        try:
            yield _values(process, out.fileno(), within)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _values(process: subprocess.Popen[bytes], out: int, within: float) -> dict[str, str]:
    end = time.monotonic() + within
    while True:
        ended = process.poll() is not None
        lines = os.pread(out, 1 << 20, 0).decode(errors="replace").splitlines()
        if "READY" in lines:
            return dict(line.split("=", 1) for line in lines if "=" in line)
        if ended or time.monotonic() > end:
            said = "\n".join(lines[-30:])
            how = f"ended with {process.returncode}" if ended else f"was not ready within {within:g} seconds"
            pytest.fail(f"'{process.args[-1]}' {how}:\n{said}", pytrace=False)  # type: ignore[index]
        time.sleep(0.05)


@contextlib.contextmanager
def _for_all_workers(name: str, place: Path, start: Callable[[], Any]) -> Iterator[dict[str, str]]:
    """One server for all workers of a run, whose directory is *place*: who asks first starts it.

    It is ended by who started it, when no other holds it any longer; one that was killed holds nothing.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        with start() as values:
            yield values
        return
    known = place / f"{name}.json"
    with open(place / f"{name}.lock", "w") as lock, open(place / f"{name}.users", "w") as users:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if known.exists():
            fcntl.flock(users, fcntl.LOCK_SH)
            fcntl.flock(lock, fcntl.LOCK_UN)
            yield json.loads(known.read_text())
            return
        with start() as values:
            known.write_text(json.dumps(values))
            fcntl.flock(lock, fcntl.LOCK_UN)
            try:
                yield values
            finally:
                fcntl.flock(lock, fcntl.LOCK_EX)
                known.unlink()
                fcntl.flock(lock, fcntl.LOCK_UN)
                fcntl.flock(users, fcntl.LOCK_EX)


def _environment(values: dict[str, str], key: str = "AWS") -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": values[f"{key}_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": values[f"{key}_SECRET_ACCESS_KEY"],
        "AWS_DEFAULT_REGION": values["AWS_DEFAULT_REGION"],
        "AWS_ENDPOINT_URL": values["AWS_ENDPOINT_URL"],
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@pytest.fixture(scope="session")
def moto() -> Iterator[S3Server]:
    """S3 by moto, checking signatures, with a user who may only read and with faults."""
    for module in ("moto", "werkzeug", "boto3"):
        if importlib.util.find_spec(module) is None:
            _missing(module, "pip install 'moto[server]' boto3")
    with _running([sys.executable, "-m", "tests.servers.moto", "--auth"], within=60) as values:
        yield S3Server("moto", values["AWS_ENDPOINT_URL"], _environment(values), _environment(values, "READONLY"))


@pytest.fixture(scope="session")
def radosgw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """S3 by Ceph: takes about 12 seconds to start, so there is one for all workers."""
    for name in ("radosgw", "radosgw-admin", "ceph-mon", "ceph-osd", "ceph", "ceph-authtool", "monmaptool"):
        if shutil.which(name) is None:
            _missing(name, "run ci/install-servers")
    argv = [str(Path(__file__).with_name("radosgw.sh"))]
    place = tmp_path_factory.getbasetemp().parent
    with _for_all_workers("radosgw", place, lambda: _running(argv, within=120)) as values:
        server = S3Server("radosgw", values["AWS_ENDPOINT_URL"], _environment(values))
        server.client().put_object(Bucket=server.bucket(), Key="first", Body=b"")  # makes its pools: takes seconds
        yield server


@pytest.fixture(scope="session", params=["moto", "radosgw"])
def s3_server(request: pytest.FixtureRequest) -> S3Server:
    """Each of the S3 servers in turn."""
    server: S3Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture(scope="session")
def gcs() -> Iterator[GcsServer]:
    """Google Cloud Storage's JSON API by a server of our own."""
    if importlib.util.find_spec("werkzeug") is None:
        _missing("werkzeug", "pip install werkzeug")
    with _running([sys.executable, "-m", "tests.servers.gcs"], within=30) as values:
        yield GcsServer(values["STORAGE_EMULATOR_HOST"], values["TOKEN"], values["READONLY_TOKEN"])


@pytest.fixture(scope="session")
def azurite() -> Iterator[AzureServer]:
    """Azure Blob storage by Azurite."""
    if azurite_binary() is None:
        _missing("azurite-blob", "run 'make azurite', which needs npm (ci/install-servers)")
    with _running([sys.executable, "-m", "tests.servers.azurite"], within=60) as values:
        env = {name: values[name] for name in values if name.startswith("AZURE_STORAGE_")}
        account, key = values["AZURE_STORAGE_ACCOUNT_NAME"], values["AZURE_STORAGE_ACCOUNT_KEY"]
        yield AzureServer(values["AZURITE_ENDPOINT"], account, key, env)


@pytest.fixture(scope="session")
def sftp() -> Iterator[SftpServer]:
    """SFTP by OpenSSH."""
    for name in ("sshd", "ssh-keygen"):
        if program(name) is None:
            _missing(name, "run ci/install-servers")
    with _running([sys.executable, "-m", "tests.servers.sftp"], within=30) as values:
        ports = [int(values[f"SFTP_{name}PORT"]) for name in ("", "BARE_", "READ_", "SHELL_")]
        key, root, log = (Path(values[f"SFTP_{name}"]) for name in ("KEY", "ROOT", "LOG"))
        yield SftpServer(*ports, values["SFTP_USER"], key, values["SFTP_HOST_KEY"], root, log)


@pytest.fixture(scope="session")
def nginx() -> Iterator[HttpServer]:
    """HTTP by nginx."""
    if program("nginx") is None:
        _missing("nginx", "run ci/install-servers")
    with _running([sys.executable, "-m", "tests.servers.nginx"], within=30) as values:
        yield HttpServer(values["HTTP_URL"], Path(values["HTTP_ROOT"]), Path(values["HTTP_LOG"]))


@pytest.fixture(autouse=True)
def _no_faults_left() -> Iterator[None]:
    """What a test has spoilt is sound for the next one, however the test ends."""
    yield
    while _SPOILT:
        _SPOILT.pop()._control("PUT", "[]")


@pytest.fixture
def fault_proxy() -> Iterator[Callable[[str], FaultProxy]]:
    """A function that puts a proxy before the server at an address (``http://host:port``, or ``host:port``)."""
    with contextlib.ExitStack() as proxies:

        def start(target_endpoint: str) -> FaultProxy:
            to = target_endpoint.removeprefix("http://")
            argv = [sys.executable, "-m", "tests.servers.faultproxy", "--to", to]
            values = proxies.enter_context(_running(argv, within=30))
            return FaultProxy(f"http://127.0.0.1:{values['PROXY_PORT']}", int(values["CONTROL_PORT"]))

        yield start
