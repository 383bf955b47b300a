"""Connections by SSH, made as the user's own ssh would make them, through paramiko.

Host alias, user, port, keys, jump hosts and proxy command come from ``~/.ssh/config``; keys
also from the agent and from ``~/.ssh/id_*``. The host's key must stand in ``known_hosts``:
nothing is sent, and nobody is asked, where it does not. Passwords are not used.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from artifactvc.errors import MissingExtra, RemoteRefused, RemoteUnavailable, StorageError, UsageError
from artifactvc.storage.sftpwire import Broken
from artifactvc.storage.transport import NO_ANSWER, RemoteOptions
from artifactvc.util.text import escape

_WINDOW: Final = 16 << 20  # bytes that the server may send before they are taken
_KNOWN: Final = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")


@dataclass(frozen=True)
class SshPlace:
    """A directory on a host: what stands in an address. A *path* that is relative begins in the user's home."""

    url: str
    host: str
    path: str
    user: str | None = None
    port: int | None = None


def parse_place(url: str) -> SshPlace:
    """The place that ``sftp://[user@]host[:port]/path`` names; UsageError for another shape."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = 0
    path = unquote(parts.path).rstrip("/") or "/"
    if not parts.hostname or port == 0 or parts.query or parts.fragment or path == "/" or "\0" in path:
        raise UsageError(
            f"'{escape(url)}' is not the address of a directory on a host",
            hint="write sftp://HOST/DIRECTORY, sftp://USER@HOST:PORT/DIRECTORY, or sftp://HOST/~/DIRECTORY",
        )
    user = unquote(parts.username) if parts.username else None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    who = f"{parts.username}@" if user else ""
    shown = f"sftp://{who}{host}{f':{port}' if port else ''}{parts.path.rstrip('/')}"
    if path == "/~" or path.startswith("/~/"):
        path = path[3:] or "."
    return SshPlace(shown, parts.hostname, path, user, port)


class Connection:
    """An SSH connection with one channel, on which the server is asked to speak SFTP. Raises Broken."""

    def __init__(self, place: SshPlace, options: RemoteOptions) -> None:
        self._paramiko = _library()
        self._client: Any = None
        self._channel: Any = None
        try:
            with self._breaking():
                self._client = _Dialer(self._paramiko, place, options).client()
                link = self._client.get_transport()
                self._channel = link.open_session(window_size=_WINDOW, timeout=options.timeout)
                self._channel.settimeout(options.timeout)
                try:
                    self._channel.invoke_subsystem("sftp")
                except self._paramiko.SSHException as error:
                    if link.is_active():
                        raise no_sftp(place) from error
                    raise
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def _breaking(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise Broken("no answer in time") from error
        except (OSError, EOFError, self._paramiko.SSHException) as error:
            raise Broken(getattr(error, "strerror", None) or str(error) or type(error).__name__) from error

    def receive(self, count: int) -> bytes:
        """Some bytes, at most *count*; none when the server has hung up."""
        with self._breaking():
            data: bytes = self._channel.recv(count)
            return data

    def send(self, data: bytes) -> None:
        """Send all of *data*."""
        with self._breaking():
            self._channel.sendall(data)

    @property
    def alive(self) -> bool:
        """Whether neither side has hung up, as far as is known here."""
        link = self._client.get_transport()
        return link is not None and link.is_active() and not self._channel.closed

    @property
    def dismissed(self) -> bool:
        """Whether the server ended the conversation by saying so, with the connection sound."""
        return bool(self._channel.eof_received)

    def close(self) -> None:
        """Hang up."""
        for client in (self._client, *getattr(self._client, "avc_through", ())):
            if client is not None:
                client.close()


def no_sftp(place: SshPlace) -> StorageError:
    """What to say where the host lets its user in, and then does not speak SFTP."""
    return StorageError(
        f"'{place.url}' does not offer SFTP to this user", hint=f"'sftp {escape(place.host)}' must work: ask its keeper"
    )


def _library() -> Any:
    try:
        import paramiko
    except ImportError as error:
        raise MissingExtra("a remote at sftp://", "sftp") from error
    import logging

    logger = logging.getLogger("paramiko")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())  # else it prints tracebacks of errors that are told below
    return paramiko


class _Dialer:
    """Makes one connection, through as many others as the configuration says."""

    def __init__(self, paramiko: Any, place: SshPlace, options: RemoteOptions) -> None:
        self._paramiko, self._place, self._options = paramiko, place, options
        self._config = self._read_config()

    def _read_config(self) -> Any:
        path = Path("~/.ssh/config").expanduser()
        try:
            return self._paramiko.SSHConfig.from_path(str(path))
        except FileNotFoundError:
            return self._paramiko.SSHConfig()
        except (OSError, UnicodeDecodeError, self._paramiko.ConfigParseError) as error:
            raise StorageError(f"cannot read '{path}': {error}", hint="mend it: 'ssh' itself may say more") from error

    def client(self) -> Any:
        """A client that has been let in."""
        return self._dial(self._place.host, self._place.user, self._place.port, depth=0)

    def _dial(self, alias: str, user: str | None, port: int | None, *, depth: int) -> Any:
        if depth > 8:
            raise StorageError(f"ProxyJump of '{escape(alias)}' leads in a circle", hint="mend ~/.ssh/config")
        said = self._look_up(alias)
        host = said.get("hostname", alias)
        port = port or int(said.get("port", 22))
        user = user or said.get("user") or getpass.getuser()
        client = self._paramiko.SSHClient()
        through, client.avc_through = self._through(said, host, port, depth)
        try:
            self._know(client, said)
            self._connect(client, said, host, port, user, through)
        except BaseException:
            for each in (client, *client.avc_through):
                each.close()
            raise
        return client

    def _look_up(self, alias: str) -> Any:
        try:
            return self._config.lookup(alias)
        except Exception as error:
            raise StorageError(f"~/.ssh/config cannot be used for '{escape(alias)}': {error}") from error

    def _through(self, said: Any, host: str, port: int, depth: int) -> tuple[Any, tuple[Any, ...]]:
        """What to speak over instead of a socket, and the clients that must live as long."""
        jumps = said.get("proxyjump", "none")
        if jumps != "none":
            *before, last = [jump.strip() for jump in jumps.split(",")]
            if before:
                raise StorageError(
                    f"ProxyJump of '{escape(host)}' names several hosts",
                    hint="name one, and give that one a ProxyJump of its own",
                )
            hop = urlsplit(last if "://" in last else f"ssh://{last}")
            client = self._dial(hop.hostname or last, hop.username, hop.port, depth=depth + 1)
            try:
                channel = client.get_transport().open_channel(
                    "direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=self._options.timeout
                )
            except self._paramiko.SSHException as error:
                client.close()
                raise RemoteUnavailable(
                    f"'{self._place.url}' cannot be reached through '{escape(last)}' ({error})", hint=NO_ANSWER
                ) from error
            return channel, (client, *client.avc_through)
        command = said.get("proxycommand", "none")
        return (self._paramiko.ProxyCommand(command) if command != "none" else None), ()

    def _know(self, client: Any, said: Any) -> None:
        """Read the keys of known hosts, as ssh does; refuse every other one."""
        own = said.get("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2")
        for name in (*own.split(), *said.get("globalknownhostsfile", " ".join(_KNOWN)).split()):
            path = os.path.expanduser(name)
            if os.path.isfile(path):
                client.load_system_host_keys(path)
        client.set_missing_host_key_policy(_refuser(self._paramiko))

    def _connect(self, client: Any, said: Any, host: str, port: int, user: str, through: Any) -> None:
        wait = min(10.0, self._options.timeout)
        only = said.get("identitiesonly", "no") == "yes"
        files = [path for path in map(os.path.expanduser, said.get("identityfile", ())) if os.path.isfile(path)]
        try:
            client.connect(
                host, port, user, key_filename=files, sock=through, allow_agent=not only, look_for_keys=not only,
                timeout=wait, banner_timeout=wait, auth_timeout=self._options.timeout,
                channel_timeout=self._options.timeout,
            )  # fmt: skip
        except _UnknownHost as error:
            raise self._unknown_host(host, port, error) from error
        except self._paramiko.BadHostKeyException as error:
            raise self._changed_host(host, port, error) from error
        except (self._paramiko.AuthenticationException, self._paramiko.PasswordRequiredException) as error:
            raise self._kept_out(host, user, files, error) from error
        except self._paramiko.SSHException as error:
            if "No authentication methods" in str(error):
                raise self._kept_out(host, user, files, error) from error
            raise
        except socket.gaierror as error:
            raise RemoteUnavailable(f"no host '{escape(host)}' is known to this machine", hint=NO_ANSWER) from error

    # ---- what to say ---------------------------------------------------------------------------------

    def _login(self, host: str, port: int) -> str:
        return f"ssh {f'-p {port} ' if port != 22 else ''}{escape(host)}"

    def _unknown_host(self, host: str, port: int, error: _UnknownHost) -> RemoteRefused:
        return RemoteRefused(
            f"the key of host '{escape(host)}' is not among the known ones ({error})",
            hint=f"run '{self._login(host, port)}' once, compare the key with what its keeper says, and accept it",
        )

    def _changed_host(self, host: str, port: int, error: Any) -> RemoteRefused:
        name = host if port == 22 else f"[{host}]:{port}"
        return RemoteRefused(
            f"the key of host '{escape(host)}' has changed: it is {_shown(error.key)},"
            f" not {_shown(error.expected_key)}",
            hint=f"somebody may listen in; if its keeper says that it is new, run 'ssh-keygen -R {name}',"
            f" then '{self._login(host, port)}'",
        )

    def _kept_out(self, host: str, user: str, files: list[str], error: Exception) -> RemoteRefused:
        looked = ["the agent", "~/.ssh/id_*", *files]
        locked = isinstance(error, self._paramiko.PasswordRequiredException)
        why = "a key has a passphrase" if locked else "no key of these was taken"
        return RemoteRefused(
            f"'{self._place.url}' does not let '{escape(user)}' in: {why} (looked in {', '.join(looked)})",
            hint="add the key to the agent with 'ssh-add', or name it in ~/.ssh/config (IdentityFile)",
        )


class _UnknownHost(Exception):
    """The host's key is not known; its text is the key."""


def _shown(key: Any) -> str:
    return f"{key.get_name()} {key.fingerprint}"


def _refuser(paramiko: Any) -> Any:
    class Refuser(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
        def missing_host_key(self, _client: Any, _host: str, key: Any) -> None:
            raise _UnknownHost(_shown(key))

    return Refuser()
