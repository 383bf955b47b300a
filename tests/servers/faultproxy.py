"""A TCP proxy on 127.0.0.1 that puts network faults in front of any server.

::

    python -m tests.servers.faultproxy --to HOST:PORT [--port N] [--control N]

A line with a JSON object, sent to CONTROL_PORT, changes it at run time (``control`` does so); the
answer is its state, with counters::

    {"latency": 0.05}             seconds before each piece, in either direction
    {"think": 0.05}               seconds before the first piece of each answer: what a far server costs a request
    {"rate": 100000}              bytes a second in each direction of each connection; 0: no limit
    {"cut_up": N, "cut_down": N}  reset a connection after N bytes went to, or came from, the server
    {"cuts": K}                   ... the next K connections only; -1: all
    {"blackhole": true}           take connections and bytes, and answer nothing
    {"refuse": true}              refuse connections; false: take them again
    {"kill": true}                reset every open connection now
    {"reset": true}               back to a proxy without faults, counters at 0
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
from typing import Any

HOST = "127.0.0.1"
CLEAN: dict[str, Any] = {
    "latency": 0,
    "think": 0,
    "rate": 0,
    "cut_up": None,
    "cut_down": None,
    "cuts": -1,
    "blackhole": False,
    "refuse": False,
}


def control(port: int, **change: Any) -> dict[str, Any]:
    """Change the proxy whose control port is *port*; its state and counters afterwards."""
    with socket.create_connection((HOST, port), 5) as connection:
        connection.sendall(json.dumps(change).encode() + b"\n")
        return json.loads(connection.makefile().readline())


def _reset(*writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        with contextlib.suppress(OSError, AttributeError):  # closed already
            end = writer.get_extra_info("socket")
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()


class Proxy:
    """Takes connections on *port* and carries them to *to*, with the faults of ``state``."""

    def __init__(self, to: tuple[str, int], port: int) -> None:
        self.to, self.port = to, port
        self.state = dict(CLEAN)
        self.counters = {"connections": 0, "up": 0, "down": 0, "cut": 0, "answers": 0}
        self._open: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._connection, HOST, self.port, backlog=256)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _connection(self, near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        self.counters["connections"] += 1
        state = self.state
        armed = state["cuts"] != 0 and (state["cut_up"] is not None or state["cut_down"] is not None)
        if armed and state["cuts"] > 0:
            state["cuts"] -= 1
        try:
            far, to_far = await asyncio.open_connection(*self.to)
        except OSError:
            _reset(to_near)
            return
        both = (to_near, to_far)
        self._open.add(both)
        asked = asyncio.Event()  # bytes went up since the last answer began
        try:
            await asyncio.gather(
                self._carry(near, to_far, "up", both, armed, asked),
                self._carry(far, to_near, "down", both, armed, asked),
            )
        finally:
            self._open.discard(both)
            for writer in both:
                writer.close()

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        way: str,
        both: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
        armed: bool,
        asked: asyncio.Event,
    ) -> None:
        carried = 0
        try:
            while data := await reader.read(65536):
                if self.state["blackhole"]:
                    continue
                if way == "up":
                    asked.set()
                elif asked.is_set():
                    asked.clear()
                    self.counters["answers"] += 1
                    await asyncio.sleep(self.state["think"])
                await self._hold(len(data))
                cut = self.state[f"cut_{way}"]
                if armed and cut is not None and carried + len(data) >= cut:
                    writer.write(data[: max(cut - carried, 0)])
                    with contextlib.suppress(OSError, TimeoutError):
                        await asyncio.wait_for(writer.drain(), 1)
                    self.counters["cut"] += 1
                    _reset(*both)
                    return
                carried += len(data)
                self.counters[way] += len(data)
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except (OSError, RuntimeError):
            _reset(*both)

    async def _hold(self, size: int) -> None:
        wait = self.state["latency"] + (size / self.state["rate"] if self.state["rate"] else 0)
        if wait:
            await asyncio.sleep(wait)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One line of control."""
        change = json.loads(await reader.readline() or b"{}")
        if change.pop("reset", False):
            change = CLEAN | change
            self.counters = dict.fromkeys(self.counters, 0)
        if change.pop("kill", False):
            for both in list(self._open):
                _reset(*both)
        if change.get("refuse", self.state["refuse"]) != self.state["refuse"]:
            if change["refuse"] and self._server is not None:
                self._server.close()
            else:
                await self.listen()
        unknown = change.keys() - CLEAN.keys()
        self.state.update({name: value for name, value in change.items() if name in CLEAN})
        said = {**self.state, "counters": self.counters, "open": len(self._open), "unknown": sorted(unknown)}
        writer.write(json.dumps(said).encode() + b"\n")
        await writer.drain()
        writer.close()


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM."""
    host, _, port = options.to.rpartition(":")
    proxy = Proxy((host or HOST, int(port)), options.port)
    await proxy.listen()
    controlled = await asyncio.start_server(proxy.answer, HOST, options.control)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, lambda: os._exit(0))
    print(f"PROXY_PORT={proxy.port}\nCONTROL_PORT={controlled.sockets[0].getsockname()[1]}")
    print(f"SERVER_PID={os.getpid()}\nREADY", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--to", required=True, metavar="HOST:PORT")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--control", type=int, default=0, help="0: a free one")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
