"""The servers as fixtures: started when a test first asks, ended with the run, by process id.

A server whose program is missing skips the tests that ask for it, and says which program; with
``AVC_REQUIRE_SERVERS=1`` it fails them. One that is there and does not start always fails them.
"""

from __future__ import annotations

import contextlib
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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.servers.faultproxy import control

ROOT = Path(__file__).parents[2]
_SPOILT: list[S3Server] = []  # servers on which this test has set faults


@dataclass(frozen=True)
class S3Server:
    """A running S3 server. ``env`` is what the client's environment must hold to write to it."""

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

    def bucket(self) -> str:
        """Make a bucket of the caller's own; its name."""
        name = f"avc-{secrets.token_hex(8)}"
        self.client().create_bucket(Bucket=name)
        return name

    def faults(self, rules: Sequence[dict[str, Any]]) -> None:
        """Set the rules by which requests fail (moto alone: see ``moto.py``) until the test ends; counts begin at 0."""
        _SPOILT.append(self)
        self._control("PUT", json.dumps(list(rules)))

    def seen(self) -> dict[str, int]:
        """How many requests of each method came since the rules were set."""
        counts: dict[str, int] = self._control("GET")["seen"]
        return counts

    def _control(self, method: str, body: str | None = None) -> Any:
        assert self.kind == "moto", f"{self.kind} has no faults"
        with contextlib.closing(http.client.HTTPConnection(self.endpoint.removeprefix("http://"), timeout=10)) as link:
            link.request(method, "/_faults", body)
            return json.loads(link.getresponse().read())


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
def radosgw() -> Iterator[S3Server]:
    """S3 by Ceph: takes about 12 seconds to start."""
    for program in ("radosgw", "radosgw-admin", "ceph-mon", "ceph-osd", "ceph", "ceph-authtool", "monmaptool"):
        if shutil.which(program) is None:
            _missing(program, "run ci/install-servers")
    with _running([str(Path(__file__).with_name("radosgw.sh"))], within=120) as values:
        server = S3Server("radosgw", values["AWS_ENDPOINT_URL"], _environment(values))
        server.client().put_object(Bucket=server.bucket(), Key="first", Body=b"")  # makes its pools: takes seconds
        yield server


@pytest.fixture(scope="session", params=["moto", "radosgw"])
def s3_server(request: pytest.FixtureRequest) -> S3Server:
    """Each of the S3 servers in turn."""
    server: S3Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture(autouse=True)
def _no_faults_left() -> Iterator[None]:
    """What a test has spoilt is sound for the next one, however the test ends."""
    yield
    while _SPOILT:
        _SPOILT.pop()._control("PUT", "[]")


@pytest.fixture
def fault_proxy() -> Iterator[Callable[[str], FaultProxy]]:
    """A function that puts a proxy before the server at an address (``http://host:port``)."""
    with contextlib.ExitStack() as proxies:

        def start(target_endpoint: str) -> FaultProxy:
            to = target_endpoint.removeprefix("http://")
            argv = [sys.executable, "-m", "tests.servers.faultproxy", "--to", to]
            values = proxies.enter_context(_running(argv, within=30))
            return FaultProxy(f"http://127.0.0.1:{values['PROXY_PORT']}", int(values["CONTROL_PORT"]))

        yield start
