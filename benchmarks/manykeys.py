"""A listing of any number of keys over HTTP, as S3 words it: no storage is behind it, and no signature is looked at.

``python -m benchmarks.manykeys --count N`` prints NAME=VALUE lines, then READY, and serves until SIGTERM. It
is for what a client needs for a bucket that would take a quarter of an hour to fill; servers are compared elsewhere.
"""

from __future__ import annotations

import argparse
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

_PAGE = 1000
_HEAD = '<?xml version="1.0" encoding="UTF-8"?><{0} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{1}'
_VERSIONING = _HEAD.format("VersioningConfiguration", "</VersioningConfiguration>")
_ROW = (
    "<Contents><Key>data/{0:03d}/image-{1:07d}.jpg</Key><LastModified>2026-01-31T00:00:00.000Z</LastModified>"
    "<ETag>&quot;{1:032x}&quot;</ETag><Size>{1}</Size><StorageClass>STANDARD</StorageClass></Contents>"
)


def page(count: int, start: int) -> bytes:
    """The keys from *start* on, a thousand at most."""
    end = min(start + _PAGE, count)
    rows = "".join(_ROW.format(number // _PAGE, number) for number in range(start, end))
    more = f"<NextContinuationToken>{end}</NextContinuationToken>" if end < count else ""
    said = f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{more}"
    return (_HEAD.format("ListBucketResult", said) + rows + "</ListBucketResult>").encode()


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, required=True)
    count = parser.parse_args().count

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            query = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
            if "versioning" in query:
                body = _VERSIONING.encode()
            else:
                body = page(count, int(query.get("continuation-token") or 0))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    socketserver.TCPServer.request_queue_size = 64
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"AWS_ENDPOINT_URL=http://127.0.0.1:{server.server_port}\nREADY", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
