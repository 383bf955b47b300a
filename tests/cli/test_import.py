"""``add --import``, ``put --import`` and what tells where files came from, as people and programs see them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Avc
from tests.support import write


@pytest.fixture
def source(avc: Avc, tmp_path: Path) -> str:
    """The address of a directory of two files; there is a repository."""
    write(tmp_path / "mount", {"a.txt": "one", "sub/b.txt": "two"})
    avc("init")
    return f"file://{tmp_path}/mount"


def test_add_import(avc: Avc, source: str):
    """Staged, committed, told by show and ls; a second time nothing is new."""
    assert "would stage" in avc("add", source, "--import", "--to", "data", "--dry-run")
    assert "2 added; 2 entries" in avc("add", source, "--import", "--to", "data", "--as", "raw")
    avc("commit")
    assert f"imported 2 files, 6 B, from {source}" in avc("show", "data")
    assert avc("ls", "data", "--sources").splitlines() == [
        f"raw/a.txt <- {source}/a.txt", f"raw/sub/b.txt <- {source}/sub/b.txt",
    ]  # fmt: skip
    assert "nothing changed" in avc("add", source, "--import", "--to", "data", "--as", "raw")
    assert "nothing to commit" in avc("commit")


def test_documents(avc: Avc, source: str):
    """Each is what its schema says."""
    (result,) = avc.documents("add", source, "--import", "--to", "data")
    assert (result[0]["added"], result[0]["files_read"]) == (2, 2)
    avc("commit")
    (shown,) = avc.documents("show", "data")
    assert shown["sources"] == [{"place": source, "entries": 2, "size": 6}]
    rows = avc.documents("ls", "data", "sub", "--sources")
    assert [row["source"]["uri"] for row in rows] == [f"{source}/sub/b.txt"]
    assert rows[0]["source"]["identity"] == rows[0]["digest"]
    assert [row["source"] for row in avc.documents("ls", "data")] == [None, None]
    assert [row["sources"] for row in avc.documents("log", "data")] == [[]]
    (put,) = avc.documents("put", source, "--import", "--name", "other")
    assert put["entries"] == 2


def test_what_is_refused(avc: Avc, source: str):
    """With what is wrong, and what to do."""
    done = avc.run("add", source, "--import")
    assert done.code == 2
    assert "a URI is added to an artifact that is named" in done.err
    done = avc.run("add", "README", source, "--to", "data")
    assert (done.code, done.err) == (
        2,
        "error: 'README' is a path, and others are URIs\nhint: add paths with one command, URIs with another\n",
    )
    done = avc.run("add", source, "--import", "--to", "data", "--move")
    assert done.code == 2
    assert "are for files of this machine" in done.err
    done = avc.run("add", source, "--import", "--to", "data", "--max-objects", "1")
    assert done.code == 2
    assert f"'{source}' holds 2 objects, and at most 1 are taken" in done.err
    assert "hint: refer to less, or allow more: --max-objects N" in done.err
    done = avc.run("add", "s3://me:secret@bucket/x", "--import", "--to", "data")
    assert done.code == 2
    assert "secret@" not in done.err
    assert "credentials come from each cloud's usual places" in done.err
