"""The libraries that speak to object stores, each through the transport that `avc` uses: obstore, and fsspec's.

What is asked of them is the same to the byte, by the same code above them, so a row tells
of the library alone. S3 is Ceph's radosgw, or moto where that is not here (a server in
Python, which is slower than the clients: its rows say little); Azure is Azurite. Every
row is a whole process, its imports included.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.harness import MIB, Bench, Case, Report, Step, Target, fresh
from benchmarks.s3 import ROOT, make_bucket, running

SMALL, COUNT = 4096, 2000
LARGE, SOME = 512 * MIB, 40 * MIB

_CHILD = """
import os, sys, importlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
client, deed, url, path, number = sys.argv[1:]
number = int(number)
if deed == "import":
    importlib.import_module(client)
    sys.exit()
from artifactvc.storage.probe import open_transport
from artifactvc.storage.transport import RemoteOptions
transport = open_transport(url, RemoteOptions(client=client))
names = [f"packs/{n}" for n in range(number)] if deed in ("puts", "gets") else []
if deed == "puts":
    data = os.urandom(4096)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: transport.upload(name, data), names))
elif deed == "gets":
    assert all(transport.read_many(names, limit=4096))
elif deed == "up":
    transport.upload("packs/large", Path(path))
else:
    transport.download("packs/large", Path(path), number)
"""


def run(bench: Bench) -> Report:
    """Measure each library on each kind of server that is here."""
    report = Report("transports: obstore and fsspec's libraries", base="python3 -c pass")
    bench.alternate(report, [Case(lambda _: [Step("python3 -c pass", [sys.executable, "-c", "pass"], bench.work)])])
    _s3(bench, report)
    _azure(bench, report)
    return report


def _s3(bench: Bench, report: Report) -> None:
    radosgw = bench.peers and shutil.which("radosgw") is not None
    program = [str(ROOT / "tests/servers/radosgw.sh")] if radosgw else [sys.executable, "-m", "tests.servers.moto"]
    report.notes.append(f"S3 is {'radosgw' if radosgw else 'moto'}")
    with running(program) as values:
        bench.env |= {name: value for name, value in values.items() if name.startswith("AWS_")}
        bench.env["AWS_EC2_METADATA_DISABLED"] = "true"
        bucket = f"bench-{secrets.token_hex(4)}"
        make_bucket(bench, bucket)
        _compare(bench, report, "S3", f"s3://{bucket}/x", {"obstore": "auto", "s3fs": "fsspec"})


def _azure(bench: Bench, report: Report) -> None:
    from tests.servers.azurite import binary

    if not bench.peers or binary() is None:
        report.notes.append("Azurite is not here (`make azurite`): Azure was not measured")
        return
    with running([sys.executable, "-m", "tests.servers.azurite"]) as values:
        bench.env["AZURE_STORAGE_CONNECTION_STRING"] = values["AZURE_STORAGE_CONNECTION_STRING"]
        from azure.storage.blob import BlobServiceClient

        container = f"bench-{secrets.token_hex(4)}"
        BlobServiceClient.from_connection_string(values["AZURE_STORAGE_CONNECTION_STRING"]).create_container(container)
        clients = {"obstore": "auto", "azure.storage.blob.aio": "fsspec"}
        _compare(bench, report, "Azure", f"az://{container}/x", clients)


def _compare(bench: Bench, report: Report, kind: str, url: str, clients: dict[str, str]) -> None:
    count = max(4, round(COUNT * bench.scale))
    sizes = {"up": LARGE, "some": SOME}
    files = {name: _file(bench, name, max(MIB, round(size * bench.scale))) for name, size in sizes.items()}
    large = files["up"].stat().st_size
    rows = {
        "import": "import",
        "puts": f"{COUNT:,} puts of 4 KiB",
        "gets": f"{COUNT:,} gets of 4 KiB",
        "up": "512 MiB up",
        "down": "512 MiB down",
        "some": "40 MiB up",
    }
    for deed, what in rows.items():
        cases = []
        for library, client in clients.items():
            row = f"avc by {library}, {kind}, {what}"
            asked = ["up" if deed == "some" else deed, f"{url}/{library}"]
            path = str(files.get(deed, bench.work / "got"))
            number = str(large if deed == "down" else count)
            argv = [sys.executable, "-c", _CHILD, library if deed == "import" else client, *asked, path, number]
            cases.append(Case(partial(_step, bench, row, argv)))
        bench.alternate(report, cases)
        first, second = (f"avc by {library}, {kind}, {what}" for library in clients)
        if deed in ("import", "puts", "gets"):
            report.targets.append(Target(first, second, 0.5))
    fresh(bench.work / "got")


def _step(bench: Bench, row: str, argv: Sequence[str], number: int) -> Sequence[Step]:
    fresh(bench.work / "got")
    return [Step(row, argv, bench.work)]


def _file(bench: Bench, name: str, size: int) -> Path:
    path = bench.work / f"transports-{name}.bin"
    if not path.exists() or path.stat().st_size != size:
        with open(path, "wb") as file:
            for _ in range(0, size, MIB):
                file.write(os.urandom(MIB))
    return path
