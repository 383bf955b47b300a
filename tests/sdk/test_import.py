"""``Artifact.add_import``: copied into the store, with a record of where it came from."""

from __future__ import annotations

from pathlib import Path

import pytest

import artifactvc as avc
from artifactvc.errors import ArtifactFinalizedError, BadValue, PathConflict
from tests.support import write


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of two files, and an empty one to work in."""
    write(tmp_path / "mount", {"a.txt": "one", "sub/b.txt": "two"})
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "mount"


def test_add_import(source: Path):
    """A draft tells where its files came from, and so does the version, and the next that keeps them."""
    draft = avc.Artifact("data", type="dataset")
    assert draft.sources == {}
    (one,) = draft.add_import(f"file://{source}/a.txt", name="first.txt")
    assert (one.path, one.size, one.ref) == ("first.txt", 3, None)
    assert [entry.path for entry in draft.add_import(f"file://{source}", name="all")] == ["all/a.txt", "all/sub/b.txt"]
    wanted = {
        "all/a.txt": f"file://{source}/a.txt", "all/sub/b.txt": f"file://{source}/sub/b.txt",
        "first.txt": f"file://{source}/a.txt",
    }  # fmt: skip
    assert {path: found.uri for path, found in draft.sources.items()} == wanted
    draft.save()
    assert {path: found.uri for path, found in draft.sources.items()} == wanted
    assert draft.sources["first.txt"].identity_kind == "blake3"
    write(source, {"a.txt": "changed"})
    following = draft.new_draft()
    following.add_import(f"file://{source}/a.txt", name="first.txt")
    following.remove("all/a.txt")
    following.save()
    assert following.version == "v1"
    assert set(following.sources) == {"all/sub/b.txt", "first.txt"}
    assert following.sources["first.txt"].identity == following.get_entry("first.txt").digest
    again = following.new_draft()
    again.add_import(f"file://{source}/a.txt", name="first.txt")
    again.save()
    assert again.version == "v1"


def test_what_it_refuses(source: Path):
    """Content from elsewhere at the same path, what is no address, more than is allowed, a draft that is closed."""
    draft = avc.Artifact("data", type="dataset")
    draft.add_file(str(source / "sub" / "b.txt"), name="a.txt")
    with pytest.raises(PathConflict, match="cannot add the same path twice"):
        draft.add_import(f"file://{source}/a.txt")
    with pytest.raises(PathConflict, match=r"'a\.txt' is a stored file and would be a reference to 'file://.*/a\.txt'"):
        draft.add_reference(f"file://{source}/a.txt")
    draft.add_reference(f"file://{source}/a.txt", name="ref")
    with pytest.raises(
        PathConflict, match=r"'ref' is a reference to '.*a\.txt' and would be .* '.*sub/b\.txt'"
    ) as both:
        draft.add_reference(f"file://{source}/sub/b.txt", name="ref")
    assert both.value.hint == "remove it first, or give another name="
    with pytest.raises(BadValue, match="has no scheme"):
        draft.add_import(str(source))
    with pytest.raises(ValueError, match="at most 1 are taken"):
        draft.add_import(f"file://{source}", max_objects=1)
    assert draft.sources == {}
    draft.finalize()
    with pytest.raises(ArtifactFinalizedError):
        draft.add_import(f"file://{source}/a.txt")


def test_incremental(source: Path):
    """What an incremental artifact imports stands beside what its newest version imported."""
    first = avc.Artifact("data", type="dataset")
    first.add_import(f"file://{source}/a.txt")
    first.save()
    second = avc.Artifact("data", type="dataset", incremental=True)
    second.add_import(f"file://{source}/sub/b.txt")
    second.save()
    assert set(second.sources) == {"a.txt", "b.txt"}
