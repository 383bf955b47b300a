"""S3 by moto: real HTTP, AWS's semantics and error documents, data in memory.

::

    python -m tests.servers.moto [--port N] [--auth]

Differences from the ``moto_server`` command:

- Changes hold a lock, so ``If-None-Match`` is atomic under racing requests.
- ``--auth`` checks the signature of every request. Of its users one may do anything, one only read, one
  read and list but not ask for versions, and one only read what it can name. A wrong secret, an unknown
  key and what a user may not do are each a 403.
- Connections are kept alive, and moto's list of its own modules is not read anew for every request.
- ``PUT /_faults`` makes requests fail (``faults.py``).
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import os
import signal
import threading
from typing import Any

import moto.backends
from moto import settings
from moto.iam.models import iam_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.responses import S3Response
from werkzeug.serving import make_server

from tests.servers.faults import SAID, Faults, Quiet

WRITER = ("AKIAAVCTESTWRITER001", "writer-secret-writer-secret-0000000000000")
READER = ("AKIAAVCTESTREADER001", "reader-secret-reader-secret-0000000000000")
LISTER = ("AKIAAVCTESTLISTER001", "lister-secret-lister-secret-0000000000000")
GETTER = ("AKIAAVCTESTGETTER001", "getter-secret-getter-secret-0000000000000")

_CHANGE = threading.RLock()


class Handler(Quiet, MotoRequestHandler):
    """Moto's, and what ours do."""


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


def _document(_status: int, code: str) -> tuple[str, bytes]:
    return "application/xml", f"<Error><Code>{code}</Code><Message>{SAID}</Message></Error>".encode()


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
    app = Faults(DomainDispatcherApplication(create_backend_app), _document)
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
        _add_user("lister", LISTER, ["s3:GetObject", "s3:HeadObject", "s3:ListBucket"])
        _add_user("getter", GETTER, ["s3:GetObject*", "s3:HeadObject"])
        settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
        names |= {"READONLY_ACCESS_KEY_ID": READER[0], "READONLY_SECRET_ACCESS_KEY": READER[1]}
    for name, value in (names | {"SERVER_PID": os.getpid()}).items():
        print(f"{name}={value}")
    print("READY", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
