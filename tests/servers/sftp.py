"""SFTP by OpenSSH's own server, for the user who runs it, with keys made for the occasion.

::

    python -m tests.servers.sftp

One server on four ports, which differ in what they allow; SFTP_KEY is let in at each, and where they
begin is SFTP_ROOT:

| port | allows |
| --- | --- |
| SFTP_PORT | everything that OpenSSH offers |
| SFTP_BARE_PORT | no extension of the protocol: no fsync, no rename that overwrites, no hard link |
| SFTP_READ_PORT | reading only |
| SFTP_SHELL_PORT | no SFTP at all: the subsystem is refused |

SFTP_HOST_KEY is the line of a ``known_hosts`` file without its host: ``ssh-ed25519 AAAA…``. What the
server has to say (who came in, by which key) goes to SFTP_LOG.
"""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from pathlib import Path

from tests.servers.starting import HOST, free_port, program, scratch, serve

CONF = """
{listen}
ListenAddress {host}
HostKey {place}/host_key
AuthorizedKeysFile {place}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AllowTcpForwarding yes
MaxAuthTries 20
MaxSessions 64
MaxStartups 200
Subsystem sftp internal-sftp -d {root}
LogLevel VERBOSE
Match LocalPort {bare}
    ForceCommand internal-sftp -d {root} -P {extensions}
Match LocalPort {read}
    ForceCommand internal-sftp -d {root} -R
Match LocalPort {shell}
    ForceCommand /bin/false
"""
EXTENSIONS = "posix-rename,statvfs,fstatvfs,hardlink,fsync,lsetstat,limits,expand-path,copy-data"


def _key(path: Path) -> str:
    """Make a pair of keys; the public one."""
    keygen = program("ssh-keygen") or sys.exit("ssh-keygen is not on this machine: run ci/install-servers")
    subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-C", "avc-tests", "-f", path], check=True)
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


def main() -> None:
    """Serve until SIGTERM."""
    found = program("sshd") or sys.exit("sshd is not on this machine: run ci/install-servers")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd of root does not start without it
    with scratch("sftp") as place:
        place.chmod(0o755)
        root = place / "root"
        root.mkdir()
        host_key, user_key = _key(place / "host_key"), _key(place / "id")
        (place / "authorized_keys").write_text(f"{user_key}\n")
        ports = {name: free_port() for name in ("full", "bare", "read", "shell")}
        text = CONF.format(
            listen="\n".join(f"Port {port}" for port in ports.values()),
            **{"host": HOST, "place": place, "root": root, "extensions": EXTENSIONS, **ports},
        )
        (place / "sshd_config").write_text(text)
        serve(
            [found, "-D", "-E", str(place / "log"), "-f", str(place / "sshd_config")],
            list(ports.values()),
            {
                "SFTP_PORT": ports["full"],
                "SFTP_BARE_PORT": ports["bare"],
                "SFTP_READ_PORT": ports["read"],
                "SFTP_SHELL_PORT": ports["shell"],
                "SFTP_USER": getpass.getuser(),
                "SFTP_KEY": place / "id",
                "SFTP_HOST_KEY": host_key,
                "SFTP_ROOT": root,
                "SFTP_LOG": place / "log",
            },
        )


if __name__ == "__main__":
    main()
