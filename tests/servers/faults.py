"""HTTP faults before a server that is a WSGI application, set while it runs.

``PUT /_faults`` with a JSON list of rules makes requests fail; ``GET /_faults`` answers what is left
of the rules and how many requests of each method were seen since. A rule, all of it optional::

    {"method": "PUT", "path": "regex", "times": 1, "after": 0, "delay": 0.0,
     "status": 503, "code": "SlowDown", "abort": false, "when": "before"}

It applies ``times`` times after letting ``after`` requests pass. ``abort`` closes the connection
with no answer. With ``"when": "after"`` the request is performed first: its reply is lost.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.serving import WSGIRequestHandler

SAID = "a fault set by a test"


class Quiet(WSGIRequestHandler):
    """Keeps connections open, and says nothing."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65536

    def log_request(self, *_: object) -> None:
        pass

    def handle_expect_100(self) -> bool:
        go_on = super().handle_expect_100()
        self.wfile.flush()  # botocore waits for this line, and the file is buffered
        return go_on


class Faults:
    """Stands before a server and spoils the requests that the rules choose. *document* words a refusal as it would."""

    def __init__(self, app: Callable[..., Iterable[bytes]], document: Callable[[int, str], tuple[str, bytes]]) -> None:
        self._app, self._document, self._lock = app, document, threading.Lock()
        self._rules: list[dict[str, Any]] = []
        self._seen: Counter[str] = Counter()

    def __call__(self, env: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if env["PATH_INFO"] == "/_faults":
            return self._control(env, start)
        query = env.get("QUERY_STRING")
        rule = self._pick(env["REQUEST_METHOD"], env["PATH_INFO"] + (f"?{query}" if query else ""))
        if rule is None:
            return self._app(env, start)
        time.sleep(rule.get("delay", 0))
        performed = rule.get("when") == "after"
        if performed:
            b"".join(self._app(env, lambda *_, **__: None))
        if rule.get("abort"):
            env["werkzeug.socket"].shutdown(2)
            raise ConnectionError("fault: abort")
        if "status" in rule:
            return self._refuse(env, start, rule, read=not performed)
        return self._app(env, start)

    def _control(self, env: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        with self._lock:
            if env["REQUEST_METHOD"] == "PUT":
                self._rules = json.loads(env["wsgi.input"].read(int(env["CONTENT_LENGTH"])))
                self._seen.clear()
            answer = json.dumps({"rules": self._rules, "seen": self._seen}).encode()
        start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
        return [answer]

    def _pick(self, method: str, path: str) -> dict[str, Any] | None:
        with self._lock:
            self._seen[method] += 1
            for rule in self._rules:
                if rule.get("method", method) != method or not re.search(rule.get("path", ""), path):
                    continue
                if rule.get("after", 0) > 0:
                    rule["after"] -= 1
                    continue
                left = rule.get("times", 1)
                if left > 0:
                    rule["times"] = left - 1
                    return dict(rule)
        return None

    def _refuse(
        self, env: dict[str, Any], start: Callable[..., Any], rule: dict[str, Any], *, read: bool
    ) -> Iterable[bytes]:
        left = int(env.get("CONTENT_LENGTH") or 0) if read else 0
        while left > 0 and (piece := env["wsgi.input"].read(min(left, 1 << 20))):
            left -= len(piece)
        kind, body = self._document(rule["status"], rule.get("code", "InternalError"))
        start(f"{rule['status']} Fault", [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [b"" if env["REQUEST_METHOD"] == "HEAD" else body]
