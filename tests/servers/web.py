"""A real HTTP server in the test's own process, for what no good server does.

It keeps the rules of RFC 9110 for conditions and ranges unless a page says otherwise: it can
refuse HEAD, ignore ranges or conditions, lie about a length, cut an answer short, redirect, and
change a page while its bytes are on their way.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OLD = "Mon, 01 Jan 2024 00:00:00 GMT"
PIECE = 4096


@dataclass
class Page:
    """What stands at one path."""

    data: bytes = b""
    etag: str | None = None  # as it is sent, with quotes
    modified: str | None = None
    date: str | None = None  # None: now
    heads: bool = True
    ranges: bool = True
    conditions: bool = True
    length: int | str | None = "right"  # what is said of it; None: nothing, in chunks
    headers: dict[str, str] = field(default_factory=dict)  # besides, or in their place
    statuses: list[int] = field(default_factory=list)  # of the next answers
    cuts: list[int] = field(default_factory=list)  # bytes of the next answers after which they end
    status: int | None = None  # of all answers that bring bytes
    location: str | None = None
    at_byte: tuple[int, Callable[[Page], None]] | None = None  # what happens once, when so many bytes were sent
    part_headers: bool = True  # whether parts say what the whole says


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Web

    def do_HEAD(self) -> None:
        self._answer(with_bytes=False)

    def do_GET(self) -> None:
        self._answer(with_bytes=True)

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # who looks only leaves the bytes
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().finish()

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""

    def _answer(self, *, with_bytes: bool) -> None:
        conditions = ("Range", "If-Match", "If-Unmodified-Since", "Authorization", "Host", "Accept-Encoding")
        self.server.seen.append(
            (self.command, self.path, {n: self.headers[n] for n in conditions if n in self.headers})
        )
        page = self.server.pages.get(self.path)
        if page is None:
            return self._say(404)
        if page.statuses and (status := page.statuses.pop(0)):
            return self._say(status)
        if page.location is not None:
            self._say(302, {"Location": page.location, "Content-Length": str(len(page.data))})
            return self._bytes(page, page.data, 0, len(page.data), page.at_byte) if with_bytes else None
        if not with_bytes and not page.heads:
            return self._say(405)
        if page.conditions and self._fails(page):
            return self._say(412)
        self._send(page, with_bytes=with_bytes)
        return None

    def _fails(self, page: Page) -> bool:
        match, since = self.headers["If-Match"], self.headers["If-Unmodified-Since"]
        if match is not None:
            return match != page.etag or match.startswith("W/")
        return since is not None and since != page.modified

    def _send(self, page: Page, *, with_bytes: bool) -> None:
        data, start, status = page.data, 0, 200
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        headers = {"Date": page.date or formatdate(usegmt=True), "Accept-Ranges": "bytes"}
        if asked and page.ranges and with_bytes:
            start, status = int(asked[1]), 206
            if start >= len(data):
                return self._say(416, {"Content-Range": f"bytes */{len(data)}"})
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        if status == 200 or page.part_headers:
            headers |= {"ETag": page.etag} if page.etag is not None else {}
            headers |= {"Last-Modified": page.modified} if page.modified is not None else {}
        if page.length is None:
            headers["Transfer-Encoding"] = "chunked"
        else:
            headers["Content-Length"] = str(len(data) - start if page.length == "right" else page.length)
        # What becomes of this answer is settled before its head is sent: a client that has that may go on.
        end = page.cuts.pop(0) if with_bytes and page.cuts else len(data)
        at_byte, page.at_byte = (page.at_byte, None) if with_bytes else (None, page.at_byte)
        self._head(page.status or status, headers | page.headers)
        if with_bytes:
            self._bytes(page, data[start:], start, end, at_byte)
        return None

    def _bytes(
        self, page: Page, data: bytes, start: int, end: int, at_byte: tuple[int, Callable[[Page], None]] | None
    ) -> None:
        for at in range(0, min(len(data), end), PIECE):
            if at_byte is not None and start + at >= at_byte[0]:
                at_byte[1](page)
                at_byte = None
            piece = data[at : min(at + PIECE, end)]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if page.length is None else piece)
        if end < len(data) or page.length not in ("right", None):
            self.close_connection = True
        elif page.length is None:
            self.wfile.write(b"0\r\n\r\n")

    def _say(self, status: int, headers: dict[str, str] | None = None) -> None:
        self._head(status, {"Content-Length": "0", **(headers or {})})

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


class Web(ThreadingHTTPServer):
    """The server: its pages by path, and (method, path, headers of note) of each request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, Page] = {}
        self.seen: list[tuple[str, str, dict[str, str]]] = []

    @property
    def place(self) -> str:
        """What a consent to it names."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def other_name(self) -> str:
        """The same server by another name of this machine."""
        return f"http://localhost:{self.server_port}"


@contextlib.contextmanager
def serving() -> Iterator[Web]:
    """A server for the block."""
    with Web() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
