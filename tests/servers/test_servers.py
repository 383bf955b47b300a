"""The servers themselves: that they do what the tests that use them rely on."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.servers.fixtures import AzureServer, GcsServer, HttpServer, Refusal, SftpServer

pytestmark = pytest.mark.servers


def asked(endpoint: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """One GET as it is: redirects are not followed, nothing is unpacked."""
    link = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=10)
    link.request("GET", path, headers=headers)
    answer = link.getresponse()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def test_nginx_serves_one_file_in_many_ways(nginx: HttpServer):
    (nginx.root / "some").mkdir(exist_ok=True)
    (nginx.root / "some/file").write_bytes(b"0123456789")
    part = {"Range": "bytes=2-4"}
    assert asked(nginx.endpoint, "/files/some/file", **part)[::2] == (206, b"234")
    assert asked(nginx.endpoint, "/norange/some/file", **part)[::2] == (200, b"0123456789")
    status, headers, data = asked(nginx.endpoint, "/chunked/some/file", **part)
    assert (status, headers["transfer-encoding"], data) == (200, "chunked", b"0123456789")
    assert asked(nginx.endpoint, "/hidden/some/file", **part)[::2] == (206, b"234")
    assert asked(nginx.endpoint, "/private/some/file", Authorization="Basic dXNlcjpwYXNz")[0] == 200
    statuses = {
        "/files/none": 404, "/files/some/": 403, "/hidden/none": 403, "/private/some/file": 401,
        "/redirect/some/file": 302, "/loop/x": 302, "/escape/etc/passwd": 302, "/elsewhere/x": 302,
        **{f"/status/{number}/x": number for number in (403, 404, 429, 500, 503)},
    }  # fmt: skip
    assert {path: asked(nginx.endpoint, path)[0] for path in statuses} == statuses
    assert asked(nginx.endpoint, "/escape/etc/passwd")[1]["location"] == "file:///etc/passwd"
    assert (206, "GET", "/files/some/file", "bytes=2-4") in nginx.seen()


def test_sshd_allows_on_each_port_what_it_should(sftp: SftpServer, tmp_path: Path):
    (tmp_path / "known").write_text("".join(f"[127.0.0.1]:{port} {sftp.host_key}\n" for port in sftp.ports))

    def run(port: int, *lines: str) -> tuple[int, str]:
        argv = [
            "sftp",
            "-q",
            "-b",
            "-",
            "-P",
            str(port),
            "-i",
            str(sftp.key),
            "-o",
            f"UserKnownHostsFile={tmp_path}/known",
        ]
        done = subprocess.run(
            [*argv, "-F", "none", f"{sftp.user}@127.0.0.1"], input="\n".join(lines), capture_output=True, text=True
        )
        return done.returncode, done.stdout + done.stderr

    (tmp_path / "here").write_text("1")
    put = (f"put {tmp_path}/here there", "ln there again")
    assert run(sftp.port, *put)[0] == 0
    assert (sftp.root / "again").read_text() == "1"
    assert "hardlink" in run(sftp.bare_port, "pwd", "ln there third")[1]
    assert "Permission denied" in run(sftp.read_port, *put)[1]
    assert run(sftp.shell_port, "pwd")[0] != 0


def test_azurite_lets_one_of_many_create(azurite: AzureServer):
    """Of racing creates one wins; the rest are told that the blob is there, and a page lists it."""
    container = azurite.container()

    def create(number: int) -> int:
        try:
            azurite.ask("PUT", f"/{container}/a/b", b"%d" % number, once=True)
        except Refusal as error:
            return int(error.args[0])
        return 201

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(create, range(8)))
    assert sorted(statuses) == [201, *[409] * 7]
    assert azurite.standing(container) == {"a/b": b"%d" % statuses.index(201)}


def test_gcs_lets_one_of_many_create(gcs: GcsServer):
    """Of racing creates one wins; the rest are told 412."""
    bucket = gcs.bucket()

    def create(number: int) -> int:
        query = {"uploadType": "media", "name": "a/b", "ifGenerationMatch": "0"}
        try:
            gcs.ask("POST", f"/upload/storage/v1/b/{bucket}/o", b"%d" % number, **query)
        except Refusal as error:
            return int(error.args[0])
        return 200

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(create, range(8)))
    assert sorted(statuses) == [200, *[412] * 7]
    assert gcs.standing(bucket) == {"a/b": b"%d" % statuses.index(200)}


def test_gcs_takes_large_files_in_pieces_and_lists_in_pages(gcs: GcsServer):
    bucket = gcs.bucket()
    link = http.client.HTTPConnection(gcs.endpoint.removeprefix("http://"), timeout=10)
    may = {"Authorization": f"Bearer {gcs.token}"}
    link.request("POST", f"/upload/storage/v1/b/{bucket}/o?uploadType=resumable", b'{"name": "big"}', may)
    answer = link.getresponse()
    answer.read()
    session = answer.headers["Location"].removeprefix(gcs.endpoint)
    for span, data, status, held in (
        ("bytes 0-4/*", b"01234", 308, "bytes=0-4"),
        ("bytes */*", b"", 308, "bytes=0-4"),
        ("bytes 5-9/10", b"56789", 200, None),
        ("bytes */10", b"", 200, None),
    ):
        link.request("PUT", session, data, {**may, "Content-Range": span})
        answer = link.getresponse()
        answer.read()
        assert (answer.status, answer.headers["Range"]) == (status, held)
    for number in range(7):
        gcs.ask("POST", f"/upload/storage/v1/b/{bucket}/o", b"x", uploadType="media", name=f"many/{number}")
    assert sorted(gcs.standing(bucket)) == ["big", *(f"many/{number}" for number in range(7))]
    page = json.loads(gcs.ask("GET", f"/storage/v1/b/{bucket}/o", delimiter="/", maxResults="1"))
    assert [item["name"] for item in page["items"]] == ["big"]
    page = json.loads(gcs.ask("GET", f"/storage/v1/b/{bucket}/o", delimiter="/", pageToken=page["nextPageToken"]))
    assert page["prefixes"] == ["many/"]


def test_gcs_knows_who_may_do_what(gcs: GcsServer):
    bucket = gcs.bucket()
    path = f"/storage/v1/b/{bucket}/o"
    assert asked(gcs.endpoint, path, Authorization="Bearer nobody")[0] == 401
    assert asked(gcs.endpoint, path, Authorization=f"Bearer {gcs.reader}")[0] == 200
    link = http.client.HTTPConnection(gcs.endpoint.removeprefix("http://"), timeout=10)
    link.request("POST", f"/upload{path}?uploadType=media&name=x", b"1", {"Authorization": f"Bearer {gcs.reader}"})
    assert link.getresponse().status == 403
    assert gcs.standing(bucket) == {}


def test_gcs_loses_replies_when_told_to(gcs: GcsServer):
    bucket = gcs.bucket()
    gcs.faults([{"method": "POST", "when": "after", "abort": True}])
    with pytest.raises((ConnectionError, http.client.HTTPException, socket.timeout)):
        gcs.ask("POST", f"/upload/storage/v1/b/{bucket}/o", b"1", uploadType="media", name="x")
    assert gcs.seen() == {"POST": 1}
    assert gcs.standing(bucket) == {"x": b"1"}
