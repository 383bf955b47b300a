"""What is special to SFTP: who is let in and who is refused, host keys, hosts behind others, odd servers, disks."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from artifactvc.errors import (
    MissingExtra,
    NoSpace,
    ReadOnly,
    RemoteMissing,
    RemoteRefused,
    RemoteUnavailable,
    StorageError,
    UnsafeRemote,
    UsageError,
)
from artifactvc.storage import sftptree, sftpwire
from artifactvc.storage.probe import Probe, open_transport, probe
from artifactvc.storage.sftp import SftpTransport
from artifactvc.storage.sftpwire import Broken, Status, Wire
from artifactvc.storage.ssh import parse_place
from artifactvc.storage.transport import RemoteOptions
from tests.servers.fixtures import SftpServer
from tests.support import refused

QUICK = RemoteOptions(retries=1, timeout=5)


@pytest.fixture
def server(sftp: SftpServer, own_home: Path) -> SftpServer:
    """The server; who lives in the test's home is let in."""
    sftp.welcome(own_home)
    return sftp


def address(server: SftpServer, path: Path | str, port: int | None = None, host: str = "127.0.0.1") -> str:
    return f"sftp://{server.user}@{host}:{port or server.port}{server.root}/{path}"


# ---- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown", "user", "host", "port", "path"),
    [
        ("sftp://host/data/x", "sftp://host/data/x", None, "host", None, "/data/x"),
        ("ssh://me@host:2222/data/", "sftp://me@host:2222/data", "me", "host", 2222, "/data"),
        ("sftp://host/~/data", "sftp://host/~/data", None, "host", None, "data"),
        ("sftp://host/~", "sftp://host/~", None, "host", None, "."),
        ("sftp://[::1]:22/a%20b", "sftp://[::1]:22/a%20b", None, "::1", 22, "/a b"),
    ],
)
def test_an_address_names_user_host_and_directory(url, shown, user, host, port, path):
    place = parse_place(url)
    assert (place.url, place.user, place.host, place.port, place.path) == (shown, user, host, port, path)


@pytest.mark.parametrize(
    "url", ["sftp://", "sftp:///x", "sftp://host", "sftp://host/", "sftp://h:x/y", "sftp://h/x?y", "sftp://h/x%00"]
)
def test_an_address_of_no_directory_is_refused(url):
    assert refused(UsageError, lambda: parse_place(url)).hint.startswith("write sftp://HOST/DIRECTORY")


def test_without_paramiko_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "paramiko", None)
    error = refused(MissingExtra, lambda: open_transport("sftp://h/x", QUICK).read("avc.json", limit=9))
    assert (error.message, error.hint) == (
        "a remote at sftp:// needs the extra 'sftp'",
        "pip install 'artifactvc[sftp]'",
    )


# ---- who is let in -------------------------------------------------------------------------------


@pytest.mark.servers
def test_a_host_that_is_not_known_is_refused(server, own_home):
    """Nothing is sent to it, and the hint says how to accept its key."""
    (own_home / ".ssh" / "known_hosts").write_text("")
    error = refused(RemoteRefused, lambda: open_transport(address(server, "x"), QUICK).create("log/1", b"1"))
    assert error.message.startswith("the key of host '127.0.0.1' is not among the known ones (ssh-ed25519 SHA256:")
    assert f"'ssh -p {server.port} 127.0.0.1'" in error.hint
    assert not (server.root / "x").exists()


@pytest.mark.servers
def test_a_host_whose_key_has_changed_is_refused(server, own_home, tmp_path):
    """Another key than the one that is known may be somebody who listens in."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    other = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    (own_home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {other}\n")
    error = refused(RemoteRefused, lambda: open_transport(address(server, "x"), QUICK).read("avc.json", limit=9))
    assert error.message.startswith("the key of host '127.0.0.1' has changed: it is ssh-ed25519 SHA256:")
    assert f"ssh-keygen -R [127.0.0.1]:{server.port}" in error.hint


@pytest.mark.servers
@pytest.mark.parametrize("key", ["none", "another", "locked"])
def test_who_is_not_let_in_is_told_where_keys_were_looked_for(server, own_home, key):
    """No password is asked for, and there is one try only."""
    directory = own_home / ".ssh"
    for path in directory.glob("id_*"):
        path.unlink()
    if key != "none":
        phrase = "secret phrase" if key == "locked" else ""
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", phrase, "-f", directory / "id_ed25519"], check=True)
    error = refused(
        RemoteRefused, lambda: open_transport(address(server, "x"), RemoteOptions()).read("avc.json", limit=9)
    )
    why = "a key has a passphrase" if key == "locked" else "no key of these was taken"
    assert error.message == (
        f"'{address(server, 'x')}' does not let '{server.user}' in: {why} (looked in the agent, ~/.ssh/id_*)"
    )
    assert "ssh-add" in error.hint


@pytest.mark.servers
def test_the_users_own_configuration_is_used(server, own_home):
    """A host alias, with host name, port, user and key of ~/.ssh/config; a home directory in the address."""
    (own_home / ".ssh" / "id_ed25519").rename(own_home / "somewhere")
    (own_home / ".ssh" / "config").write_text(
        f"Host shelf\n  HostName 127.0.0.1\n  Port {server.port}\n  User {server.user}\n"
        f"  IdentityFile {own_home}/somewhere\n  IdentitiesOnly yes\n"
    )
    transport = open_transport("ssh://shelf/~/configured", QUICK)
    assert transport.create("log/1", b"1") is True
    assert (server.root / "configured" / "log" / "1").read_bytes() == b"1"
    assert transport.url == "sftp://shelf/~/configured"


@pytest.mark.servers
def test_a_host_behind_another_is_reached(server, own_home):
    """ProxyJump leads through a host that lets in by the same rules; ProxyCommand through a program."""
    place = f"HostName 127.0.0.1\n  Port {server.bare_port}\n  User {server.user}"
    (own_home / ".ssh" / "config").write_text(
        f"Host inner\n  {place}\n  ProxyJump {server.user}@127.0.0.1:{server.port}\n"
        f"Host piped\n  {place}\n  ProxyCommand {sys.executable} {own_home}/pipe.py %h %p\n"
        "Host circle\n  ProxyJump circle\nHost long\n  ProxyJump a,b\n"
    )
    (own_home / "pipe.py").write_text(
        "import os, socket, sys, threading\n"
        "link = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "def up():\n"
        "    while data := os.read(0, 65536): link.sendall(data)\n"
        "    os._exit(0)\n"
        "threading.Thread(target=up, daemon=True).start()\n"
        "while data := link.recv(65536): os.write(1, data)\n"
    )
    for host in ("inner", "piped"):
        transport = open_transport(f"sftp://{host}{server.root}/behind", QUICK)
        transport.upload(f"packs/{host}", host.encode())
        assert transport.read(f"packs/{host}", limit=9) == host.encode()
    assert "circle" in refused(StorageError, lambda: open_transport("sftp://circle/x", QUICK).list_files("log")).message
    assert "several" in refused(StorageError, lambda: open_transport("sftp://long/x", QUICK).list_files("log")).message


@pytest.mark.servers
def test_a_configuration_that_cannot_be_read_is_told(server, own_home):
    (own_home / ".ssh" / "config").write_text("Host\nthis is no configuration =\n")
    error = refused(StorageError, lambda: open_transport(address(server, "x"), QUICK).read("avc.json", limit=9))
    assert "ssh/config" in error.message


# ---- what is not there, or may not -----------------------------------------------------------------


@pytest.mark.servers
def test_a_server_without_sftp_is_told(server):
    url = address(server, "x", server.shell_port)
    error = refused(StorageError, lambda: open_transport(url, QUICK).read("avc.json", limit=9))
    assert (error.message, error.hint) == (
        f"'{url}' does not offer SFTP to this user",
        "'sftp 127.0.0.1' must work: ask its keeper",
    )


@pytest.mark.servers
def test_nobody_listens_and_no_such_host(server):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        deeds = {
            address(server, "x", port): "does not answer (",
            "sftp://no-such-host.invalid/x": "no host 'no-such-host.invalid' is known to this machine",
        }
        for url, said in deeds.items():
            for deed in (lambda t: t.read("avc.json", limit=9), lambda t: t.create("log/1", b"1")):
                error = refused(RemoteUnavailable, lambda url=url, deed=deed: deed(open_transport(url, QUICK)))
                assert said in error.message
                assert error.hint == "check the network and the address, and try again"


@pytest.mark.servers
def test_a_directory_that_is_not_there_is_told(server):
    """What is asked of a remote whose directory is gone tells nothing; it is never made far from one that is there."""
    transport = open_transport(address(server, "none/deeper"), QUICK)
    for deed in (
        lambda: transport.read("avc.json", limit=9),
        lambda: transport.read_many(["log/1", "log/2"], limit=9),
        lambda: transport.list_files("log"),
    ):
        assert refused(RemoteUnavailable, deed).message.endswith("/none/deeper' is not there")
    for deed in (lambda: transport.create("log/1", b"1"), lambda: transport.upload("packs/a", b"1")):
        assert refused(RemoteUnavailable, deed).message.endswith("is not there, nor the one above it")
    assert not (server.root / "none").exists()


@pytest.mark.servers
def test_a_server_that_is_only_read(server):
    """The probe finds out that this user may only read; a change is refused, and nothing has changed."""
    owner = open_transport(address(server, "read"), QUICK)
    owner.upload("avc.json", b"{}")
    transport = open_transport(address(server, "read", server.read_port), QUICK)
    assert probe(transport) == Probe(read_only=True, notes=("these credentials may only read",))
    assert transport.read("avc.json", limit=9) == b"{}"
    for deed in (
        lambda: transport.create("log/1", b"1"),
        lambda: transport.upload("packs/a", b"1"),
        lambda: transport.remove("avc.json"),
    ):
        error = refused(RemoteRefused, deed)
        assert error.message.startswith("may not write '")
        assert error.hint == "check the permissions there"
    assert owner.read("avc.json", limit=9) == b"{}"
    assert refused(ReadOnly, lambda: SftpTransport(transport.url, RemoteOptions(read_only=True)).remove("x")).message


@pytest.mark.servers
@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="needs to mount a small disk")
def test_a_full_disk_is_told_and_nothing_half_written_is_named(server, tmp_path):
    """No space is told as such; what was there stays, and once there is room the same upload goes."""
    place = server.root / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine mounts nothing")
    try:
        transport = open_transport(address(server, "small/remote"), QUICK)
        transport.create("log/1", b"1")
        (tmp_path / "big").write_bytes(bytes(3 << 20))
        error = refused(NoSpace, lambda: transport.upload("packs/a.pack", tmp_path / "big"))
        assert error.message == f"no space left on the disk of '{transport.url}'"
        files = {p.relative_to(place / "remote").as_posix() for p in (place / "remote").rglob("*") if p.is_file()}
        assert files == {"log/1"} or all(name.startswith(("log/1", "tmp/")) for name in files)
        for path in (place / "remote" / "tmp").iterdir():
            path.unlink()
        transport.upload("packs/a.pack", bytes(1 << 20))
        assert transport.read("log/1", limit=9) == b"1"
    finally:
        subprocess.run(["umount", "-l", place], check=True)


# ---- odd servers -------------------------------------------------------------------------------------


@pytest.mark.servers
def test_a_file_system_without_links_is_not_trusted(server, monkeypatch):
    """Where links are offered and fail, OpenSSH looks and then renames: one clone only may push there."""
    real = Wire.extended

    def extended(self: Wire, name: str, *paths: bytes | str) -> None:
        if name == sftpwire.LINK:
            raise Status(4, "Failure")
        real(self, name, *paths)

    monkeypatch.setattr(Wire, "extended", extended)
    transport = open_transport(address(server, "linkless"), QUICK)
    error = refused(UnsafeRemote, lambda: probe(transport))
    assert error.message.endswith(
        "may let two writers create one file: that file system has no links, so the server looks, and then renames"
    )
    assert "--single-writer" in error.hint
    assert probe(transport, single_writer=True).notes == ("cannot create a file once: only one clone may push",)


@pytest.mark.servers
def test_a_directory_that_somebody_removes_meanwhile_is_made_again(server):
    """Removing the last file of a directory removes that, too: who had seen it there makes it again."""
    one, other = (open_transport(address(server, "shrinking"), QUICK) for _ in range(2))
    for number in range(3):
        one.upload(f"packs/p/{number}", b"1")
        assert one.create(f"log/l/{number}", b"1") is True
        other.remove(f"packs/p/{number}")
        other.remove(f"log/l/{number}")
    one.upload("packs/p/last", b"2")
    assert other.read("packs/p/last", limit=9) == b"2"


@pytest.mark.servers
def test_a_size_that_does_not_arrive_is_told(server, monkeypatch):
    """A server that says yes to every write and keeps less is found out before the file has its name."""
    monkeypatch.setattr(sftptree.Upload, "pieces", lambda self, step: iter([(0, b"12")]))
    transport = open_transport(address(server, "short"), QUICK)
    error = refused(StorageError, lambda: transport.upload("packs/a", b"12345"))
    assert error.message == f"a file of 5 bytes arrived at '{transport.url}' with 2"
    assert refused(RemoteMissing, lambda: transport.read("packs/a", limit=9))


class Scripted:
    """A channel on which a server says what it likes."""

    def __init__(self, *answers: bytes) -> None:
        self.left = b"".join(len(answer).to_bytes(4, "big") + answer for answer in answers)

    def send(self, data: bytes) -> None:
        pass

    def receive(self, count: int) -> bytes:
        data, self.left = self.left[:count], self.left[count:]
        return data


HELLO = bytes([2, 0, 0, 0, 3])


@pytest.mark.parametrize(
    "answers",
    [
        (),
        (b"\x65garbage",),
        (bytes([2, 0, 0, 0, 2]),),
        (HELLO + b"\xff\xff\xff\xff",),
        (HELLO, b"\x66"),
        (HELLO, b"\x66\x00\x00\x00\x09\x00\x00\x00\x01h"),
        (HELLO, b"\x66\x00\x00\x00\x01\xff\xff\xff\xff"),
        (HELLO, b"\x67\x00\x00\x00\x01\x00\x00\x00\x00"),
        (HELLO, bytes(2 << 20)),
    ],
)
def test_a_server_that_talks_nonsense_breaks_the_conversation(answers):
    """Whatever it says, it costs the connection and nothing else."""
    with pytest.raises(Broken):
        Wire(Scripted(*answers)).open("x", sftpwire.READ)


@pytest.mark.servers
def test_connections_are_hung_up_with_their_transport(server):
    """A process that opens many remotes keeps no connection of those that it has let go of."""
    before = {thread for thread in threading.enumerate() if "paramiko" in type(thread).__module__}
    for number in range(3):
        transport = open_transport(address(server, "hung"), QUICK)
        transport.create(f"log/{number}", b"1")
        del transport
    for thread in {t for t in threading.enumerate() if "paramiko" in type(t).__module__} - before:
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.servers
def test_a_forked_child_makes_its_own_connection(server):
    """A child does not speak on its parent's, nor take leave on it."""
    transport = open_transport(address(server, "forked"), QUICK)
    assert transport.create("log/1", b"parent") is True
    child = os.fork()
    if child == 0:
        try:
            fine = transport.read("log/1", limit=9) == b"parent" and transport.create("log/2", b"child")
        finally:
            os._exit(0 if "fine" in locals() and fine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert transport.read_many(["log/1", "log/2"], limit=9) == [b"parent", b"child"]
