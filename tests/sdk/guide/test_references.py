"""References: buckets and mounts whose data stays where it is, in the words of the guide to W&B Artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import artifactvc as avc
from artifactvc.errors import ReferenceChanged, ReferenceMissing
from tests.sdk.guide.helpers import digest, ids, logged, paths, runs_of
from tests.servers.fixtures import S3Server
from tests.support import tree, write

TREE = {
    "model.h5": b"model",
    "checkpoints/model.h5": b"checkpoint",
    "images/cat.png": b"cat",
    "images/dog.png": b"dog",
    "images2/x.png": b"x",
    "datasets/mnist/train": b"train",
    "datasets/mnist/t/test": b"test",
    "models/cnn/my_model.h5": b"cnn",
}


class Bucket:
    """A bucket of moto's with the guide's objects in it, which the environment knows the way to."""

    def __init__(self, server: S3Server, *, versions: bool) -> None:
        self._client = server.client()
        self.name = server.bucket(versions=versions)
        self.uri = f"s3://{self.name}"
        for key, content in TREE.items():
            self.put(key, content)

    def put(self, key: str, content: bytes) -> dict[str, Any]:
        """Store an object; what the server says of it."""
        return dict(self._client.put_object(Bucket=self.name, Key=key, Body=content))

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket=self.name, Key=key)


@pytest.fixture(params=[False, True], ids=["plain", "versioned"])
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    server = request.getfixturevalue("moto")
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    return Bucket(server, versions=request.param)


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    """A directory outside the repository."""
    write(tmp_path / "mount", {"datasets/mnist/a": "a", "datasets/mnist/b/c": "c", "cnn/my_model.h5": "model"})
    return tmp_path / "mount"


def referring(uri: str, name: str = "mnist", kind: str = "dataset", **rest: Any) -> Any:
    """A draft that refers to *uri*."""
    artifact = avc.Artifact(name, kind)
    artifact.add_reference(uri, **rest)
    return artifact


# ---- add_reference (S13, S14) -----------------------------------------------------------------------


def test_a_reference_is_a_uri():
    """S13: what has no scheme is an error that says what to write."""
    with pytest.raises(ValueError, match="file://"):
        avc.Artifact("data", "dataset").add_reference(uri="uri", name="optional-name")


@pytest.mark.parametrize(
    ("path", "name", "entries"),
    [
        ("model.h5", None, ["model.h5"]),
        ("checkpoints/model.h5", None, ["model.h5"]),
        ("model.h5", "models/mymodel.h5", ["models/mymodel.h5"]),
        ("images", None, ["cat.png", "dog.png"]),
        ("images", "images", ["images/cat.png", "images/dog.png"]),
    ],
)
def test_where_references_stand(bucket: Bucket, path: str, name: str | None, entries: list[str]):
    """S14: one object or a prefix, with and without a name; ``images2`` is not below ``images``."""
    artifact = avc.Artifact("data", "dataset")
    returned = artifact.add_reference(f"{bucket.uri}/{path}", **({"name": name} if name else {}))
    assert paths(artifact) == entries == [entry.path for entry in returned]
    assert all(entry.ref.startswith(bucket.uri) and entry.local_path is None for entry in returned)


def test_what_is_kept_of_an_object(bucket: Bucket):
    """S13, S14, S48, S70: URI, size, ETag, and the version where the bucket keeps them; not one byte is stored."""
    said = bucket.put("images/cat.png", b"a cat")
    artifact = logged(referring(f"{bucket.uri}/images", "animals"))
    entry = artifact.manifest.entries["cat.png"]
    etag = said["ETag"].strip('"')
    assert (entry.ref, entry.ref_target(), entry.size, entry.digest) == (
        f"{bucket.uri}/images/cat.png", f"{bucket.uri}/images/cat.png", 5, etag,
    )  # fmt: skip
    assert entry.extra == {"etag": etag, **({"versionID": said["VersionId"]} if "VersionId" in said else {})}
    held = [path.read_bytes() for path in Path(".artifacts").rglob("*") if path.is_file()]
    assert not any(b"a cat" in content for content in held)


# ---- buckets (S48 to S51) ---------------------------------------------------------------------------


def test_the_recorded_version_is_what_comes(bucket: Bucket):
    """S49: an object that was overwritten comes as it was, or is an error that names it; another type is one, too."""
    logged(referring(f"{bucket.uri}/datasets/mnist"))
    said = bucket.put("datasets/mnist/train", b"retrained")
    with avc.init() as run:
        artifact = run.use_artifact("mnist:latest", type="dataset")
        if "VersionId" in said:
            assert tree(Path(artifact.download())) == {"train": b"train", "t/test": b"test"}
        else:
            with pytest.raises(ReferenceChanged, match="datasets/mnist/train"):
                artifact.download(root="out")
            assert not Path("out/train").exists()
        with pytest.raises(ValueError, match="dataset"):
            run.use_artifact("mnist:latest", type="model")


def test_tied_to_a_run_in_one_step(bucket: Bucket):
    """S50: an input; again makes no version while nothing has changed, and one when something has."""

    def script() -> Any:
        with avc.init() as run:
            artifact = referring(f"{bucket.uri}/datasets/mnist")
            run.use_artifact(artifact)
            return run.id, artifact, tree(Path(artifact.download()))

    first, artifact, files = script()
    assert (artifact.name, files) == ("mnist:v0", {"train": b"train", "t/test": b"test"})
    second, again, _ = script()
    assert again.name == "mnist:v0"
    assert ids(again.used_by()) == sorted([first, second])
    bucket.put("datasets/mnist/train", b"another")
    assert script()[1].name == "mnist:v1"


def test_a_model_in_a_bucket(bucket: Bucket):
    """S51."""
    assert paths(logged(referring(f"{bucket.uri}/models/cnn/", "cnn", "model"))) == ["my_model.h5"]


def test_what_is_gone_can_be_left_out(bucket: Bucket):
    """An object that was deleted, and no version of it kept: an error, unless missing ones are allowed."""
    artifact = logged(referring(f"{bucket.uri}/images", "animals"))
    bucket.delete("images/dog.png")
    kept = "versionID" in artifact.manifest.entries["dog.png"].extra
    if not kept:
        with pytest.raises(ReferenceMissing, match=r"dog\.png"):
            artifact.download(root="all")
    got = tree(Path(artifact.download(root="some", allow_missing_references=True)))
    assert got == {"cat.png": b"cat", **({"dog.png": b"dog"} if kept else {})}


# ---- put (S47) -----------------------------------------------------------------------------------------


def test_put_of_a_uri_is_a_reference(bucket: Bucket):
    """S47: a run of job type ``cli_put`` produced it."""
    from artifactvc import Repository

    with Repository.open(".") as repository:
        made = repository.put(f"{bucket.uri}/images", name="animals")
        assert [entry.kind for entry in repository.entries("animals")] == ["reference", "reference"]
    assert (made.version, [run.job_type for run in runs_of()]) == ("v0", ["cli_put"])


# ---- mounts (S52 to S55) ----------------------------------------------------------------------------


def test_a_mounted_directory(mount: Path):
    """S52: sizes and digests, and nothing copied; two slashes and too many files are errors."""
    artifact = logged(referring(f"file://{mount}/datasets/mnist/"))
    entry = artifact.manifest.entries["b/c"]
    assert (entry.ref, entry.size, entry.digest) == (f"file://{mount}/datasets/mnist/b/c", 1, digest("c"))
    with pytest.raises(ValueError, match="two slashes"):
        avc.Artifact("data", "dataset").add_reference("file://mount/datasets")
    for number in range(10_001):
        (mount / f"n{number}").touch()
    with pytest.raises(ValueError, match="10,004 objects"):
        avc.Artifact("data", "dataset").add_reference(f"file://{mount}")
    many = avc.Artifact("data", "dataset")
    assert len(many.add_reference(f"file://{mount}", max_objects=20_000)) == 10_004


def test_files_of_a_mount_are_copied_or_an_error(mount: Path):
    """S53: into ``artifacts/mnist:v0/``; one that was overwritten or is gone is named, with both digests."""
    logged(referring(f"file://{mount}/datasets/mnist"))
    with avc.init() as run:
        artifact = run.use_artifact("mnist:latest", type="dataset")
        root = Path(artifact.download())
    assert root == Path("artifacts/mnist:v0").absolute()
    assert tree(root) == {"a": b"a", "b/c": b"c"}
    write(mount, {"datasets/mnist/a": "A"})
    assert tree(Path(artifact.download(root="again"))) == {"a": b"a", "b/c": b"c"}  # what came once is at hand


@pytest.mark.parametrize("now", ["A", None])
def test_a_file_that_is_not_what_it_was(mount: Path, now: str | None):
    """S53: overwritten or gone before it ever came: an error that names it, with both digests."""
    artifact = logged(referring(f"file://{mount}/datasets/mnist"))
    write(mount, {"datasets/mnist/a": now})
    wanted = f"datasets/mnist/a.*{digest('A')[:12]}.*{digest('a')[:12]}" if now else "datasets/mnist/a"
    with pytest.raises(ReferenceChanged if now else ReferenceMissing, match=wanted):
        artifact.download(root="out")
    assert not Path("out/a").exists()


def test_a_mount_tied_to_a_run_in_one_step(mount: Path):
    """S54: a new version only if files have changed."""

    def script() -> Any:
        with avc.init() as run:
            artifact = referring(f"file://{mount}/datasets/mnist")
            run.use_artifact(artifact)
            artifact.download()
            return artifact.name

    assert [script(), script()] == ["mnist:v0", "mnist:v0"]
    write(mount, {"datasets/mnist/a": "A"})
    assert script() == "mnist:v1"


def test_a_model_on_a_mount(mount: Path):
    """S55."""
    assert paths(logged(referring(f"file://{mount}/cnn/my_model.h5", "cnn", "model"))) == ["my_model.h5"]
