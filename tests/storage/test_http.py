"""What is special to HTTP: odd answers, ranges that are ignored, redirects, passwords, servers that are busy."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from artifactvc.errors import (
    Corrupt,
    ReadOnly,
    RemoteMissing,
    RemoteRefused,
    RemoteUnavailable,
    StorageError,
    UsageError,
)
from artifactvc.storage.probe import Probe, open_transport, probe
from artifactvc.storage.transport import RemoteOptions, Transport
from tests.servers.fixtures import HttpServer
from tests.support import refused

DATA = bytes(range(256)) * 400


@pytest.fixture
def served(nginx: HttpServer) -> HttpServer:
    (nginx.root / "packs").mkdir(exist_ok=True)
    (nginx.root / "packs" / "a.pack").write_bytes(DATA)
    return nginx


def at(server: HttpServer, prefix: str, **options: object) -> Transport:
    return open_transport(f"{server.endpoint}/{prefix}", RemoteOptions(**{"retries": 2, **options}))  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["http://", "https:///x", "http://h/x?y=1", "http://h/x#y", "https://me@h/x"])
def test_an_address_of_no_files_is_refused(url):
    refused(UsageError, lambda: open_transport(url, RemoteOptions()))


@pytest.mark.servers
def test_every_change_is_refused_and_nothing_can_be_listed(served):
    """A remote over HTTP is read only, whatever is asked, and the probe sends nothing there."""
    before = len(served.seen())
    transport = at(served, "files")
    assert transport.read_only
    assert probe(transport) == Probe(read_only=True)
    assert len(served.seen()) == before
    for deed in (
        lambda: transport.upload("packs/b", b"1"),
        lambda: transport.create("log/1", b"1"),
        lambda: transport.remove("packs/a.pack"),
        lambda: transport.drop_unfinished(0),
    ):
        assert refused(ReadOnly, deed).message == f"the remote '{transport.url}' is read-only"
    error = refused(StorageError, lambda: transport.list_files("packs"))
    assert error.message == f"'{transport.url}' cannot be listed: it is served over HTTP"


@pytest.mark.servers
@pytest.mark.parametrize("prefix", ["norange", "chunked"])
def test_a_server_that_ignores_ranges_is_asked_for_a_file_once(served, prefix):
    """The parts are cut out of one passing of the file, once it is known that there is no other way."""
    transport = at(served, prefix)
    before = len(served.seen())
    wanted = [("packs/a.pack", start, 100) for start in (0, 50_000, 300, 350, 102_000, 400)]
    assert dict(transport.read_ranges(wanted)) == {
        n: DATA[start : start + 100] for n, (_, start, _) in enumerate(wanted)
    }
    assert len(served.seen()) - before == 2
    assert refused(Corrupt, lambda: list(transport.read_ranges([("packs/a.pack", 102_390, 100)])))


@pytest.mark.servers
def test_redirects_are_followed_so_far_and_no_further(served, own_home):
    """To the same scheme or https; not in circles, to files of this machine, or with somebody's password."""
    assert at(served, "redirect").read("packs/a.pack", limit=len(DATA)) == DATA
    error = refused(StorageError, lambda: at(served, "loop").read("packs/a.pack", limit=9))
    assert error.message.endswith("is redirected without end")
    error = refused(StorageError, lambda: at(served, "escape").read("etc/passwd", limit=9))
    assert "is redirected to 'file:///etc/passwd', which is not followed" in error.message
    (own_home / ".netrc").write_text("machine 127.0.0.1 login user password pass\n")
    (own_home / ".netrc").chmod(0o600)
    assert at(served, "private").read("packs/a.pack", limit=len(DATA)) == DATA
    # The same machine by another name: the password is not for that one.
    error = refused(RemoteRefused, lambda: at(served, "elsewhere").read("packs/a.pack", limit=9))
    assert "401" in error.message
    assert "pass" not in error.message.replace("password", "")


@pytest.mark.servers
def test_who_may_not_read_is_told_where_a_password_is_looked_for(served, own_home):
    error = refused(RemoteRefused, lambda: at(served, "private").read("packs/a.pack", limit=9))
    assert error.message.endswith("the server says 401 (~/.netrc has not a name and password for its host)")
    refused(RemoteRefused, lambda: at(served, "private").read_many(["packs/a.pack"], limit=9))
    refused(RemoteRefused, lambda: at(served, "status/403").read("packs/a.pack", limit=9))
    assert at(served, "status/403").read_many(["packs/a.pack", "log/1"], limit=9) == [None, None]
    (own_home / ".netrc").write_text("machine machine machine\n")
    (own_home / ".netrc").chmod(0o600)
    assert "netrc" in refused(StorageError, lambda: at(served, "private").read("packs/a.pack", limit=9)).message


@pytest.mark.servers
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again_and_then_given_up(served, status):
    before = len(served.seen())
    transport = at(served, f"status/{status}", retries=3)
    error = refused(RemoteUnavailable, lambda: transport.read("packs/a.pack", limit=9))
    assert error.message.startswith(f"'packs/a.pack' at '{transport.url}' does not answer ({status} ")
    assert len(served.seen()) - before == 3


@pytest.mark.servers
def test_a_file_larger_than_promised_is_not_taken(served, tmp_path):
    error = refused(Corrupt, lambda: at(served, "files").download("packs/a.pack", tmp_path / "got", 100))
    assert "does not have the 100 bytes" in error.message
    assert refused(RemoteMissing, lambda: at(served, "files").download("packs/b.pack", tmp_path / "none", 100))


def test_nobody_listens_and_no_such_host():
    for url, said in (
        ("http://127.0.0.1:1/x", "connection refused"),
        ("http://no-such-host.invalid/x", "no such host"),
    ):
        error = refused(
            RemoteUnavailable,
            lambda url=url: open_transport(url, RemoteOptions(retries=1)).read("avc.json", limit=9),
        )
        assert error.message == f"'avc.json' at '{url}' does not answer ({said})"


# ---- servers that answer what they like ------------------------------------------------------------------


@contextlib.contextmanager
def answering(*answers: tuple[int, dict[str, str], bytes]) -> Iterator[tuple[str, list[str | None]]]:
    """A server that gives *answers* in turn, the last one for ever; its address, and the ranges it was asked for."""
    left, ranges = list(answers), []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            ranges.append(self.headers.get("Range"))
            status, headers, data = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)
            self.close_connection = int(headers.get("Content-Length", len(data))) != len(data)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/x", ranges
        finally:
            server.shutdown()


def test_a_busy_moment_costs_another_try():
    with answering((503, {}, b""), (200, {}, b"here")) as (url, ranges):
        assert open_transport(url, RemoteOptions()).read("log/1", limit=9) == b"here"
        assert ranges == [None, None]


def test_an_answer_that_is_cut_is_gone_on_with(tmp_path: Path):
    """What has come is kept; the rest is asked for by its range."""
    rest = {"Content-Range": "bytes 5-9/10"}
    with answering((200, {"Content-Length": "10"}, b"01234"), (206, rest, b"56789")) as (url, ranges):
        open_transport(url, RemoteOptions()).download("packs/a", tmp_path / "got", 10)
        assert (tmp_path / "got").read_bytes() == b"0123456789"
        assert ranges == [None, "bytes=5-"]


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        ((206, {"Content-Range": "bytes 0-2/10"}, b"012"), StorageError, "another part than was asked for"),
        ((206, {}, b"234"), StorageError, "another part than was asked for"),
        ((206, {"Content-Range": "bytes 2-3/10"}, b""), Corrupt, "is cut short"),
        ((416, {}, b""), Corrupt, "is cut short"),
        ((200, {}, b"0123"), Corrupt, "is cut short"),
        ((200, {"Content-Encoding": "gzip"}, b"01234"), StorageError, "comes compressed"),
        ((418, {}, b""), StorageError, "is answered with 418"),
        ((302, {}, b""), StorageError, "is redirected"),
        ((302, {"Location": "ftp://h/x"}, b""), StorageError, "is redirected to 'ftp://h/x', which is not followed"),
    ],
)
def test_an_answer_that_is_not_what_was_asked_for_is_not_taken(answer, kind, said):
    """Bytes 2 to 4 are asked for: others are never given in their place."""
    with answering(answer) as (url, _):
        error = refused(kind, lambda: list(open_transport(url, RemoteOptions(retries=1)).read_ranges([("a", 2, 3)])))
        assert said in error.message


def test_more_than_was_asked_for_is_cut_off():
    """A server that sends on and on is stopped; a small file that is none costs no memory."""
    with answering((206, {"Content-Range": "bytes 2-9/10"}, b"23456789")) as (url, _):
        assert list(open_transport(url, RemoteOptions()).read_ranges([("a", 2, 3)])) == [(0, b"234")]
    with answering((200, {"Content-Length": str(1 << 40)}, bytes(1 << 20))) as (url, _):
        error = refused(Corrupt, lambda: open_transport(url, RemoteOptions()).read("a", limit=1000))
        assert error.message == f"'a' at '{url}' is larger than 1000 bytes"
