"""HTTP by nginx: one directory, served in the ways that static sites and their proxies have.

::

    python -m tests.servers.nginx [--port N]

Files below HTTP_ROOT appear under each of these; nothing lists them:

| address | answers |
| --- | --- |
| ``/files/`` | as a bucket served as a static site: ETag, Last-Modified, ranges |
| ``/noetag/`` | as ``/files/``, with no ETag |
| ``/bare/`` | with neither ETag nor Last-Modified, and no ranges |
| ``/norange/`` | the whole file, whatever range was asked for |
| ``/hidden/`` | 403 for what is not there, as S3 does to who may not list |
| ``/chunked/`` | in chunks, with no length and no ranges |
| ``/slow/`` | 64 KiB a second on each connection |
| ``/private/`` | to ``user`` with the password ``pass`` only, else 401 |
| ``/redirect/X`` | 302 to ``/files/X`` |
| ``/loop/X`` | 302 to itself |
| ``/elsewhere/X`` | 302 to ``/private/X`` of another host name of the same machine |
| ``/escape/X`` | 302 to ``file:///X`` |
| ``/status/NNN/X`` | the status 403, 404, 429, 500 or 503 |

HTTP_LOG has a line for each request: status, method, path, and the range asked for.
"""

from __future__ import annotations

import argparse
import os
import sys

from tests.servers.starting import HOST, free_port, program, scratch, serve

CONF = """
{user}worker_processes 1; daemon off; pid {place}/pid; error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  log_format brief '$status $request_method $request_uri $http_range';
  access_log {log} brief; default_type application/octet-stream;
  client_body_temp_path {place}/t; proxy_temp_path {place}/t; fastcgi_temp_path {place}/t;
  uwsgi_temp_path {place}/t; scgi_temp_path {place}/t;
  keepalive_requests 100000; tcp_nodelay on; sendfile on;
  server {{
    listen {host}:{port};
    location /files/ {{ alias {root}/; }}
    location /noetag/ {{ alias {root}/; etag off; }}
    location /bare/ {{ alias {root}/; etag off; add_header Last-Modified ""; max_ranges 0; }}
    location /norange/ {{ alias {root}/; max_ranges 0; }}
    location /hidden/ {{ alias {root}/; error_page 404 @hidden; }}
    location @hidden {{ return 403; }}
    location /chunked/ {{ alias {root}/; ssi on; ssi_types *; }}
    location /slow/ {{ alias {root}/; limit_rate 64k; }}
    location /private/ {{ alias {root}/; auth_basic avc; auth_basic_user_file {place}/users; }}
    location ~ ^/redirect/(.*)$ {{ return 302 /files/$1; }}
    location ~ ^/loop/(.*)$ {{ return 302 /loop/$1; }}
    location ~ ^/elsewhere/(.*)$ {{ return 302 http://localhost:{port}/private/$1; }}
    location ~ ^/escape/(.*)$ {{ return 302 file:///$1; }}
    location ~ ^/status/403/ {{ return 403; }}
    location ~ ^/status/404/ {{ return 404; }}
    location ~ ^/status/429/ {{ return 429; }}
    location ~ ^/status/500/ {{ return 500; }}
    location ~ ^/status/503/ {{ return 503; }}
  }}
}}
"""


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    port = parser.parse_args().port or free_port()
    found = program("nginx") or sys.exit("nginx is not on this machine: run ci/install-servers")
    with scratch("nginx") as place:
        root, log = place / "root", place / "access.log"
        root.mkdir()
        (place / "users").write_text("user:{PLAIN}pass\n")
        values = {"place": place, "root": root, "log": log, "host": HOST, "port": port}
        values["user"] = "user root; " if os.geteuid() == 0 else ""  # else it could not read what root puts there
        (place / "nginx.conf").write_text(CONF.format(**values))
        serve(
            [found, "-e", "stderr", "-p", str(place), "-c", str(place / "nginx.conf")],
            [port],
            {"HTTP_URL": f"http://{HOST}:{port}", "HTTP_ROOT": root, "HTTP_LOG": log},
        )


if __name__ == "__main__":
    main()
