"""Content that a program prepares: the same as if it were built at once, and never lost to gc."""

from __future__ import annotations

import gc
import multiprocessing
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactvc.core.manifest import build
from artifactvc.core.model import Entry
from artifactvc.errors import PathConflict, UnknownEntry
from artifactvc.ops.prepare import Prepared
from artifactvc.util.hashing import digest_bytes
from tests.support import new, reopen, version, write

PATHS = ["a", "b", "d/a", "d/b", "d/e/f", "d-x", "b/c"]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "over", "remove", "flush"]), st.sampled_from([*PATHS, "d", "d/e"]), st.integers(0, 3)
    ),
    max_size=14,
)


def clash(held: dict[str, bytes], path: str) -> bool:
    return any(p.startswith(path + "/") or path.startswith(p + "/") for p in held if p != path)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory):
    with new(tmp_path_factory.mktemp("prepare")) as repository:
        version(repository, {"a": "0", "d/a": "1", "d/e/f": "2"})
        yield repository


@settings(max_examples=150)
@given(STEPS, st.booleans())
def test_it_is_what_a_dictionary_would_be(repository, steps, on_base):
    """Adding, replacing, removing and storing in any order gives the manifest of the same content built at once."""
    session = repository.session
    root = repository.show("data").digest if on_base else None
    held = {"a": b"0", "d/a": b"1", "d/e/f": b"2"} if on_base else {}
    prepared = Prepared("x", "dataset", root) if root else Prepared("x", "dataset")
    for deed, path, number in steps:
        data = str(number).encode()
        if deed == "remove":
            gone = [path] if path in held else [p for p in held if p.startswith(path + "/")]
            if gone:
                assert sorted(prepared.remove(session, path + "/" * (number % 2))) == sorted(gone)
                held = {p: b for p, b in held.items() if p not in gone}
            else:
                with pytest.raises(UnknownEntry):
                    prepared.remove(session, path)
        elif deed == "flush":
            prepared.flush(session)
        elif path in held and held[path] != data and deed == "add":
            with pytest.raises(PathConflict):
                prepared.add_bytes(session, data, path)
        elif clash(held, path):
            with pytest.raises(PathConflict):
                prepared.add_bytes(session, data, path, overwrite=True)
        else:
            prepared.add_bytes(session, data, path, overwrite=deed == "over")
            held[path] = data
    entries = [Entry(path, "f", len(data), digest_bytes(data)) for path, data in held.items()]
    assert prepared.root(session) == build(entries, digest_bytes)
    assert list(prepared.entries(session)) == sorted(entries, key=lambda e: e.path.encode())
    below = sorted((e for e in entries if e.path == "d" or e.path.startswith("d/")), key=lambda e: e.path.encode())
    assert list(prepared.entries(session, "d")) == below
    draft = prepared.flush(session)
    assert session.avc.store.has({draft.root, *(e.digest for e in entries if e.digest)}) >= {
        draft.root, *(e.digest for e in entries if e.digest),
    }  # fmt: skip


def test_messages(tmp_path):
    """What cannot stand together is said, with the way out."""
    with new(tmp_path) as repository:
        session, prepared = repository.session, Prepared("x", "dataset")
        prepared.add_bytes(session, b"1", "dir/file")
        for path, message in [
            ("dir/file", "cannot add the same path twice: 'dir/file' is there with other content"),
            ("dir", "'dir' is a file and would be a directory of 'dir/file'"),
            ("dir/file/x", "'dir/file' is a file and would be a directory of 'dir/file/x'"),
        ]:
            with pytest.raises(PathConflict) as conflict:
                prepared.add_bytes(session, b"2", path)
            assert conflict.value.message == message
        with pytest.raises(UnknownEntry) as missing:
            prepared.remove(session, "dir/fill")
        assert (missing.value.message, missing.value.hint) == ("no entry 'dir/fill' in 'x'", "did you mean 'dir/file'?")


def test_bytes_are_taken_when_they_are_added(tmp_path):
    """A file may change or go afterwards; larger ones are in the store at once, in one copy."""
    with new(tmp_path, {"small": "old", "large": random.Random(1).randbytes(300_000)}) as repository:
        session, prepared = repository.session, Prepared("x", "dataset")
        for name in ("small", "large"):
            prepared.add_file(session, str(tmp_path / name), name)
        before = (tmp_path / "large").read_bytes()
        write(tmp_path, {"small": "new", "large": None})
        prepared.flush(session)
        read = {e.path: b"".join(session.avc.store.chunks(str(e.digest))) for e in prepared.entries(session)}
        assert read == {"small": b"old", "large": before}
        assert len([p for p in (tmp_path / ".artifacts/objects").rglob("*") if p.is_file()]) == 1
        assert list((tmp_path / ".artifacts/tmp").iterdir()) == []


def test_gc_keeps_what_is_being_prepared(tmp_path):
    """What is stored has a draft file of this process from its first byte; it goes with the object."""
    with new(tmp_path, {"large": random.Random(2).randbytes(300_000)}) as repository, reopen(tmp_path) as other:
        session, prepared = repository.session, Prepared("x", "dataset")
        prepared.add_file(session, str(tmp_path / "large"), "large")
        digest = str(next(prepared.entries(session)).digest)
        assert other.gc(grace="0s").trashed_objects == 0
        assert session.avc.store.has([digest])
        assert len(list((tmp_path / ".artifacts/drafts").iterdir())) == 1
        del prepared
        gc.collect()
        assert list((tmp_path / ".artifacts/drafts").iterdir()) == []
        assert other.gc(grace="0s").trashed_objects > 0


def _in_a_child(prepared: Prepared, root: Path) -> None:
    with reopen(root) as repository:
        prepared.add_bytes(repository.session, b"child", "child")
        prepared.flush(repository.session)
        os._exit(0 if len(list((root / ".artifacts/drafts").iterdir())) == 2 else 1)


def test_a_forked_child_has_a_draft_of_its_own(tmp_path):
    """And never takes its parent's away."""
    with new(tmp_path) as repository:
        prepared = Prepared("x", "dataset")
        prepared.add_bytes(repository.session, b"parent", "parent")
        parent = prepared.flush(repository.session)
        child = multiprocessing.get_context("fork").Process(target=_in_a_child, args=(prepared, tmp_path))
        child.start()
        child.join(60)
        assert child.exitcode == 0
        assert repository.session.avc.drafts.get(parent.id) == parent
        assert [entry.path for entry in prepared.entries(repository.session)] == ["parent"]


def test_a_directory_is_taken_as_its_links_lead(tmp_path):
    """Links are followed, their cycles end, the executable bit is kept, `.avcignore` there and above it is obeyed."""
    with new(
        tmp_path, {".avcignore": "*.log\n", "d/a": "1", "d/sub/b": "2", "d/x.log": "-", "d/y.tmp": "-"}
    ) as repository:
        write(tmp_path, {"d/.avcignore": "*.tmp\n"})
        (tmp_path / "d/a").chmod(0o755)
        (tmp_path / "d/link").symlink_to("sub/b")
        (tmp_path / "d/sub/up").symlink_to("..")
        prepared = Prepared("x", "dataset")
        prepared.add_directory(repository.session, str(tmp_path / "d"), "in")
        found = {entry.path: entry.kind for entry in prepared.entries(repository.session)}
        assert found == {"in/.avcignore": "f", "in/a": "x", "in/link": "f", "in/sub/b": "f"}
        assert prepared.sources[str(tmp_path / "d/sub/b")] == "in/sub/b"
