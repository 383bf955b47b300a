"""What rules of the bucket itself do beside avc (docs/retention.md), on moto's server and Ceph's."""

from __future__ import annotations

import pytest

from artifactvc.errors import AvcError, UnsafeRemote
from tests.support import clone, new, origin, tree, version

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]


@pytest.fixture
def server(s3_server, monkeypatch):
    """A server whose credentials stand in the environment, as users have them."""
    for name, value in s3_server.env.items():
        monkeypatch.setenv(name, value)
    return s3_server


def test_delete_markers_do_not_bring_condemned_files_back(server, tmp_path, request):
    """In a versioned bucket what gc removed is there as a noncurrent version, which nobody reads."""
    bucket = server.bucket(versions=True)
    one = new(tmp_path / "one")
    if request.node.callspec.params["s3_server"] == "radosgw":
        # Ceph's server lets several create one name where a bucket has versions.
        with pytest.raises(UnsafeRemote, match="let 4 of 4 writers create one file"):
            origin(one, f"s3://{bucket}/team")
        return
    origin(one, f"s3://{bucket}/team")
    version(one, {"big": "x" * 200_000})
    one.push()
    version(one, {"big": "y" * 200_000})
    one.push()
    one.delete("data:v0")
    one.push()
    removed = {file.name for file in one.gc_remote("origin", grace="0s").removed}
    assert removed
    listed = server.client().list_object_versions(Bucket=bucket, Prefix="team/packs/")
    markers = {marker["Key"].removeprefix("team/packs/") for marker in listed.get("DeleteMarkers", ())}
    noncurrent = {found["Key"].removeprefix("team/packs/") for found in listed["Versions"] if not found["IsLatest"]}
    assert removed <= markers
    assert removed <= noncurrent
    other = clone(f"s3://{bucket}/team", tmp_path / "other")
    other.checkout("data:v1", tmp_path / "out")
    assert tree(tmp_path / "out") == {"big": b"y" * 200_000}
    with pytest.raises(AvcError):
        other.restore("data:v0")
    assert other.fsck("origin", full=True).problems == ()


def test_an_aborted_upload_hurts_nothing(server, tmp_path):
    """An upload in parts that a rule of the bucket ended was never a file: all is there, and the next push goes on."""
    bucket = server.bucket()
    client = server.client()
    one = new(tmp_path / "one")
    origin(one, f"s3://{bucket}/team")
    version(one, {"a": "1"})
    one.push()
    key = "team/packs/" + "0" * 16 + "/0.pack"
    upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"x" * (5 << 20))
    assert one.fsck("origin", full=True).problems == ()
    client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
    version(one, {"a": "2"})
    one.push()
    assert one.fsck("origin", full=True).problems == ()
    with clone(f"s3://{bucket}/team", tmp_path / "other") as other:
        other.checkout("data:v0", tmp_path / "out")
        assert tree(tmp_path / "out") == {"a": b"1"}
