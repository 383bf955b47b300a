"""A repository of format 1, as it was written, is read by this version, and by a reader made from the docs alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from artifactvc.core.model import is_digest
from tests.formats import reader
from tests.support import clone, inside, reopen, tree, write

V1 = Path(__file__).parent / "v1"
EXPECTED = json.loads((V1 / "expected.json").read_text())


def shown(content: bytes | str) -> str:
    return content if isinstance(content, str) else content.hex()


@pytest.fixture
def old(tmp_path):
    """The repository in a place of its own, with its remote beside it."""
    shutil.copytree(V1, tmp_path / "v1", symlinks=True)
    work = tmp_path / "v1" / "repository"
    (work / "dot-artifacts").rename(work / ".artifacts")
    for name in ("tmp", "locks", "trash", "runs", "objects", "drafts"):  # Git keeps no empty directories
        (work / ".artifacts" / name).mkdir(exist_ok=True)
    for path in (work / ".artifacts" / "config.toml", work / "artifacts.toml"):
        path.write_text(path.read_text().replace("REMOTE", str(tmp_path / "v1" / "remote")))
    return work


def test_it_is_read_whole_and_sound(old, tmp_path):
    repository = reopen(old)
    assert repository.fsck(full=True).problems == ()
    for name, infos in EXPECTED["log"].items():
        assert [[i.version, i.digest, i.description, i.metadata] for i in repository.log(name)] == infos
    for ref, files in EXPECTED["files"].items():
        repository.checkout(ref, tmp_path / "out" / ref)
        assert {path: shown(content) for path, content in tree(tmp_path / "out" / ref).items()} == files
    status = repository.status(["data"]).artifacts[0]
    assert [change.path for change in status.staged] == ["draft.txt"]


def test_work_goes_on_in_it(old, tmp_path):
    repository = reopen(old)
    with inside(old):
        assert repository.commit(["data"])[0].version == "v3~"
        write(old, {"data/later": "x"})
        repository.add(["data"])
        repository.commit(["data"])
    repository.push()
    there = clone(tmp_path / "v1" / "remote", tmp_path / "there")
    assert [info.version for info in there.log("data")] == ["v4", "v3", "v2", "v1"]


def test_a_reader_made_from_the_docs_alone_agrees():
    here = V1 / "repository" / "dot-artifacts"
    store = reader.objects(here)
    found = reader.versions(here / "log")
    by_ref = {ref: digest for name, infos in EXPECTED["log"].items() for (_, digest, *_), ref in zip(
        infos, [f"{name}:{info[0].rstrip('~')}" for info in infos], strict=True)}  # fmt: skip
    for ref, files in EXPECTED["files"].items():
        digest = by_ref[ref]
        assert (ref.partition(":")[0], digest) in found
        assert reader.files(digest, store) == files


def test_the_remote_can_be_read_by_the_same_reader():
    store = reader.objects(V1 / "remote")
    found = reader.versions(V1 / "remote" / "log")
    digests = [digest for _, digest in found]
    assert len(digests) == 2
    assert all(is_digest(digest) for digest in digests)
    newest = reader.files(digests[1], store)
    assert newest == EXPECTED["files"]["data:v1"]
