"""References to a large bucket: adopting its objects beside the bare listing of them, against Ceph's radosgw.

A bare listing draws every page and reads of each object what a reference records. Client and
server share the cores, so figures rank clients; they do not foretell a network.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from benchmarks.harness import Bench, Case, Report, Step, Target, fresh
from benchmarks.s3 import ROOT, running
from benchmarks.workspaces import init

OBJECTS, MANY = 20_000, 1_000_000
KINDS = {"plain": False, "versioned": True}
TARGETS = [
    Target("avc add URI, plain bucket", "boto3 listing, plain bucket", 2),
    Target("avc add URI, plain bucket", "obstore listing, plain bucket", 2),
    Target("avc add URI, versioned bucket", "boto3 listing, versioned bucket", 2),
    Target("avc add URI again, plain bucket", "boto3 listing, plain bucket", 2),
    Target("avc add URI again, versioned bucket", "boto3 listing, versioned bucket", 2),
    Target("avc listing, plain bucket", "boto3 listing, plain bucket", 2),
    Target("avc listing, plain bucket", "obstore listing, plain bucket", 2),
    Target("avc listing, versioned bucket", "boto3 listing, versioned bucket", 2),
]

_BOTO = """
import sys, boto3
bucket, count = sys.argv[1], int(sys.argv[2])
call, rows = ("list_object_versions", "Versions") if "versioned" in bucket else ("list_objects_v2", "Contents")
found = 0
for page in boto3.client("s3").get_paginator(call).paginate(Bucket=bucket, Prefix="data/"):
    for row in page.get(rows, ()):
        row["Key"], row["Size"], row["ETag"], row.get("VersionId")
        found += 1
assert found == count, found
"""
_OBSTORE = """
import os, sys
from obstore.store import S3Store
bucket, count = sys.argv[1], int(sys.argv[2])
store = S3Store(bucket, endpoint=os.environ["AWS_ENDPOINT_URL"], region=os.environ["AWS_DEFAULT_REGION"],
    access_key_id=os.environ["AWS_ACCESS_KEY_ID"], secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
    client_options={"allow_http": True}, virtual_hosted_style_request=False)
found = 0
for page in store.list("data", chunk_size=1000):
    for row in page:
        row["path"], row["size"], row["e_tag"]
        found += 1
assert found == count, found
"""
_AVC = """
import sys
from artifactvc.core.references import parse_address
from artifactvc.storage.sources import open_source
from artifactvc.storage.transport import RemoteOptions
bucket, count = sys.argv[1], int(sys.argv[2])
address = parse_address(f"s3://{bucket}/data")
found = sum(1 for _ in open_source(address, RemoteOptions()).list(address))
assert found == count, found
"""


def run(bench: Bench) -> Report:
    """Measure listings and adoptions of a plain and of a versioned bucket, and one of a million keys."""
    count = max(10, int(OBJECTS * bench.scale))
    report = Report(f"references: a bucket of {count:,} objects", base="boto3 listing, plain bucket")
    report.targets = [*TARGETS]
    report.notes.append("of what obstore lists, versions are no part: it is measured on the plain bucket alone")
    if shutil.which("radosgw") is None:
        report.notes.append("radosgw is not here (`ci/install-servers`): no bucket was listed")
    else:
        with running([str(ROOT / "tests" / "servers" / "radosgw.sh")]) as values:
            bench.env |= {name: value for name, value in values.items() if name.startswith("AWS_")}
            bench.env |= {"AWS_EC2_METADATA_DISABLED": "true"}
            buckets = {kind: _filled(bench, kind, count, versions=kept) for kind, kept in KINDS.items()}
            bench.alternate(report, [case for kind in KINDS for case in _listings(bench, kind, buckets[kind], count)])
    _many(bench, report)
    return report


def _listing(bench: Bench, row: str, program: str, bucket: str, count: int) -> Case:
    argv = [sys.executable, "-c", program, bucket, str(count)]
    return Case(lambda _: [Step(row, argv, ROOT)])


def _listings(bench: Bench, kind: str, bucket: str, count: int) -> Sequence[Case]:
    cases = [
        _listing(bench, f"boto3 listing, {kind} bucket", _BOTO, bucket, count),
        _listing(bench, f"avc listing, {kind} bucket", _AVC, bucket, count),
    ]
    cases += [Case(partial(deed, bench, f"{kind} bucket", bucket)) for deed in (_adopting, _again)]
    if kind == "plain":
        cases.insert(1, _listing(bench, f"obstore listing, {kind} bucket", _OBSTORE, bucket, count))
    return cases


def _add(bench: Bench, bucket: str) -> list[str]:
    return bench.avc("add", f"s3://{bucket}/data", "--to", "big", "--max-objects", str(MANY))


def _adopting(bench: Bench, kind: str, bucket: str, number: int) -> Sequence[Step]:
    place = fresh(bench.work / f"adopting-{kind.replace(' ', '-')}", make=True)
    init(bench, place)
    return [Step(f"avc add URI, {kind}", _add(bench, bucket), place)]


def _again(bench: Bench, kind: str, bucket: str, number: int) -> Sequence[Step]:
    """What was adopted is committed: adopting it again changes nothing."""
    place = bench.work / f"adopting-{kind.replace(' ', '-')}"
    bench.run(bench.avc("commit", "-m", "adopted"), place)
    return [Step(f"avc add URI again, {kind}", _add(bench, bucket), place)]


def _filled(bench: Bench, kind: str, count: int, *, versions: bool) -> str:
    """A bucket with so many small objects; its name says which kind it is."""
    import boto3

    keys = {
        "aws_access_key_id": bench.env["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": bench.env["AWS_SECRET_ACCESS_KEY"],
    }
    bucket, endpoint = f"{kind}-{secrets.token_hex(4)}", bench.env["AWS_ENDPOINT_URL"]
    client: Any = boto3.client("s3", endpoint_url=endpoint, region_name=bench.env["AWS_DEFAULT_REGION"], **keys)
    client.create_bucket(Bucket=bucket)
    if versions:
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    asyncio.run(_fill(bucket, endpoint, count, {name.removeprefix("aws_"): value for name, value in keys.items()}))
    return bucket


async def _fill(bucket: str, endpoint: str, count: int, keys: dict[str, str]) -> None:
    import obstore
    from obstore.store import S3Store

    kind: Any = S3Store
    store = kind(
        bucket, endpoint=endpoint, client_options={"allow_http": True}, virtual_hosted_style_request=False, **keys
    )
    lanes = asyncio.Semaphore(32)

    async def put(number: int) -> None:
        async with lanes:
            await obstore.put_async(store, f"data/{number // 1000:03}/image-{number:06}.jpg", b"%d" % number)

    await asyncio.gather(*(put(number) for number in range(count)))


def _many(bench: Bench, report: Report) -> None:
    """A listing that no storage is behind: for how time and memory follow the number of keys."""
    count = max(10, int(MANY * bench.scale))
    with running([sys.executable, "-m", "benchmarks.manykeys", "--count", str(count)]) as values:
        bench.env |= values | {
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        cases = [
            _listing(bench, f"avc listing, {count:,} keys", _AVC, "many", count),
            Case(partial(_adopting, bench, f"{count:,} keys", "many")),
        ]
        bench.alternate(report, cases, runs=1)
    report.notes.append(
        f"the {count:,} keys come over HTTP from a program that makes their pages up (`benchmarks/manykeys.py`): "
        "filling a bucket with them would take a quarter of an hour"
    )
