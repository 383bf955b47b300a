"""Real storage servers for tests, on 127.0.0.1 only, each of them a program of its own.

| program | serves |
| --- | --- |
| ``python -m tests.servers.moto`` | S3 with AWS's semantics, checked signatures and HTTP faults |
| ``tests/servers/radosgw.sh`` | S3 by Ceph, an implementation that shares no line with the first |
| ``python -m tests.servers.gcs`` | Google Cloud Storage's JSON API, our own, with HTTP faults |
| ``python -m tests.servers.azurite`` | Azure Blob storage by Microsoft's emulator |
| ``python -m tests.servers.sftp`` | SFTP by OpenSSH |
| ``python -m tests.servers.nginx`` | HTTP: a directory as a static site, and as the odder ones serve it |
| ``python -m tests.servers.faultproxy`` | network faults in front of any server |

Each prints ``NAME=VALUE`` lines, then ``READY``, and stays in the foreground; SIGTERM ends it and
removes its data. ``fixtures.py`` starts them for tests, only when asked for.
"""
