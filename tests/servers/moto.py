"""S3 by moto: real HTTP, AWS's semantics and error documents, data in memory.

::

    python -m tests.servers.moto [--port N] [--auth]

Differences from the ``moto_server`` command:

- Changes hold a lock, so ``If-None-Match`` is atomic under racing requests.
- ``--auth`` checks the signature of every request. There are two users: one may do anything, the
  other only read. A wrong secret, an unknown key and a forbidden write are each a 403.
- Connections are kept alive, and moto's list of its own modules is not read anew for every request.
- ``PUT /_faults`` with a JSON list of rules makes requests fail; ``GET /_faults`` answers what is left
  of the rules and how many requests of each method were seen since. A rule, all of it optional::

      {"method": "PUT", "path": "regex", "times": 1, "after": 0, "delay": 0.0,
       "status": 503, "code": "SlowDown", "abort": false, "when": "before"}

  It applies ``times`` times after letting ``after`` requests pass. ``abort`` closes the connection
  with no answer. With ``"when": "after"`` the request is performed first: its reply is lost.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import moto.backends
from moto import settings
from moto.iam.models import iam_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.responses import S3Response
from werkzeug.serving import make_server

WRITER = ("AKIAAVCTESTWRITER001", "writer-secret-writer-secret-0000000000000")
READER = ("AKIAAVCTESTREADER001", "reader-secret-reader-secret-0000000000000")

_CHANGE = threading.RLock()


class Handler(MotoRequestHandler):
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


def _one_change_at_a_time() -> None:
    """Hold a lock around all but the reading of keys. Bodies were read before, so nobody waits for a client."""
    key_response, bucket_response = S3Response._key_response, S3Response._bucket_response

    def locked_key(self: S3Response, request: Any, full_url: str) -> Any:
        if request.method in ("GET", "HEAD"):
            return key_response(self, request, full_url)
        with _CHANGE:
            return key_response(self, request, full_url)

    def locked_bucket(self: S3Response, request: Any, full_url: str) -> Any:
        with _CHANGE:
            return bucket_response(self, request, full_url)

    S3Response._key_response, S3Response._bucket_response = locked_key, locked_bucket


class Faults:
    """What stands before moto and spoils the requests that the rules choose."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app, self._lock = app, threading.Lock()
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
            return _refuse(env, start, rule, read=not performed)
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


def _refuse(env: dict[str, Any], start: Callable[..., Any], rule: dict[str, Any], *, read: bool) -> Iterable[bytes]:
    left = int(env.get("CONTENT_LENGTH") or 0) if read else 0
    while left > 0 and (piece := env["wsgi.input"].read(min(left, 1 << 20))):
        left -= len(piece)
    code = rule.get("code", "InternalError")
    body = f"<Error><Code>{code}</Code><Message>a fault set by a test</Message></Error>".encode()
    start(f"{rule['status']} Fault", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [b"" if env["REQUEST_METHOD"] == "HEAD" else body]


def _add_user(name: str, key: tuple[str, str], actions: list[str]) -> None:
    iam = iam_backends["123456789012"]["aws"]
    iam.create_user("us-east-1", name)
    allowed = [{"Effect": "Allow", "Action": actions, "Resource": "*"}]
    iam.put_user_policy(name, "p", json.dumps({"Version": "2012-10-17", "Statement": allowed}))
    made = iam.create_access_key(name)
    del iam.access_keys[made.access_key_id]
    made.access_key_id, made.secret_access_key = key
    iam.access_keys[made.access_key_id] = made


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--auth", action="store_true", help="check the signature of every request")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))  # the data is in memory: nothing is left behind

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    moto.backends.list_of_moto_modules = functools.cache(
        lambda found=moto.backends.list_of_moto_modules: tuple(found())
    )
    _one_change_at_a_time()
    app = Faults(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", options.port, app, threaded=True, request_handler=Handler)
    server.daemon_threads = True
    names = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": WRITER[0],
        "AWS_SECRET_ACCESS_KEY": WRITER[1],
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    if options.auth:
        _add_user("writer", WRITER, ["s3:*"])
        _add_user("reader", READER, ["s3:Get*", "s3:List*", "s3:Head*"])
        settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
        names |= {"READONLY_ACCESS_KEY_ID": READER[0], "READONLY_SECRET_ACCESS_KEY": READER[1]}
    for name, value in (names | {"SERVER_PID": os.getpid()}).items():
        print(f"{name}={value}")
    print("READY", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
