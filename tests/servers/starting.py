"""What the starters of other people's programs share: a free port, waiting for the program, ending it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

HOST = "127.0.0.1"


def free_port() -> int:
    """A port that nobody listens on, below the range from which the kernel takes the ports of connections."""
    while True:
        port = random.randrange(20000, 32000)
        with contextlib.closing(socket.socket()) as trial, contextlib.suppress(OSError):
            trial.bind((HOST, port))
            return port


def program(name: str, *places: str) -> str | None:
    """Where a program is: in *places*, on PATH, or where those for root are."""
    for directory in [*places, *os.environ.get("PATH", "").split(":"), "/usr/sbin", "/usr/local/sbin", "/sbin"]:
        path = os.path.join(directory, name)
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    return None


@contextlib.contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A directory that is removed when the block ends, SIGTERM included."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix=f"avc-{name}.", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


def serve(argv: Sequence[str], ports: Sequence[int], values: Mapping[str, object]) -> None:
    """Run a server until SIGTERM; when it takes connections on *ports*, print *values*, then READY."""
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as process:
        try:
            while not all(map(_listens, ports)):
                if process.poll() is not None:
                    sys.exit(f"'{argv[0]}' ended with {process.returncode}")
                time.sleep(0.02)
            for name, value in {**values, "SERVER_PID": os.getpid()}.items():
                print(f"{name}={value}")
            print("READY", flush=True)
            process.wait()
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), 1).close()
    except OSError:
        return False
    return True
