"""Following references: the very bytes that were recorded, or an error that says what they are now."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from artifactvc.core.model import Entry
from artifactvc.errors import (
    BadValue,
    ReferenceChanged,
    ReferenceMissing,
    ReferenceRefused,
    RemoteUnavailable,
    WouldOverwrite,
)
from artifactvc.ops.cache import CACHED
from artifactvc.sdk.repository import Repository
from artifactvc.storage.filesource import FileSource
from tests.ops.references import file_reference, refer
from tests.support import clone, forget_index, inside, new, origin, reopen, tree, version, write

LARGE = bytes(range(256)) * 2000  # has a file of its own in the store


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with a small and a larger file."""
    write(tmp_path / "mount", {"a.txt": "one\n", "sub/big.bin": LARGE})
    return tmp_path / "mount"


@pytest.fixture
def work(tmp_path: Path, source: Path) -> Repository:
    """A repository whose ``data`` refers to both files of *source*, and has one file of its own."""
    made = new(tmp_path / "work")
    version(made, {"own.txt": "mine\n"})
    refer(made, [file_reference("a.txt", source / "a.txt"), file_reference("sub/big.bin", source / "sub" / "big.bin")])
    return made


ALL = {"own.txt": b"mine\n", "a.txt": b"one\n", "sub/big.bin": LARGE}


def test_checkout_writes_what_references_lead_to(work):
    """Beside the files of the version; a second time nothing is left to do, and nothing differs."""
    done = work.checkout("data")
    assert (done.written, done.unchanged, done.bytes, done.missing) == (2, 1, 4 + len(LARGE), ())
    assert tree(work.root / "data") == ALL
    again = reopen(work.root).checkout("data")
    assert (again.written, again.unchanged) == (0, 3)


def test_get_and_cat_follow_references(work, source, tmp_path):
    """What was brought once stays: the source is not needed for it again."""
    with inside(tmp_path):
        done = work.get("data", root="copy")
    assert done.written == 3
    assert tree(tmp_path / "copy") == ALL
    write(source, {"a.txt": "another\n", "sub/big.bin": None})
    assert b"".join(work.read("data", "a.txt")) == b"one\n"
    assert b"".join(reopen(work.root).read("data", "sub/big.bin")) == LARGE


def test_a_link_out_of_what_is_allowed_is_not_followed(work, source, tmp_path):
    """Unless a digest says which bytes are meant, a link could make any file of this machine one of the version."""
    write(tmp_path, {"secret": "key\n", "mount/inner": "x"})
    (source / "out").symlink_to(tmp_path / "secret")
    (source / "in").symlink_to("inner")
    bare = [Entry(name, "r", None, None, None, f"file://{source}/{name}") for name in ("in", "out")]
    refer(work, bare)
    (work.avc_root / "adopted").write_text(f"file://{source}\n")
    with pytest.raises(ReferenceRefused, match=f"is a link to '{tmp_path}/secret'"):
        reopen(work.root).checkout("data")
    refer(work, [file_reference("out", source / "out")])
    (work.avc_root / "adopted").write_text(f"file://{source}\n")
    reopen(work.root).checkout("data")
    assert tree(work.root / "data") == {**ALL, "in": b"x", "out": b"key\n"}


def test_an_address_is_read_as_it_was_judged(work, source):
    """One that is written otherwise than avc does would lead elsewhere than where its place was allowed."""
    refer(work, [file_reference("a.txt", source / "a.txt")._replace(uri=f"FILE://{source}/a.txt")])
    with pytest.raises(BadValue, match="not written as a recorded address is"):
        reopen(work.root).checkout("data")


@pytest.mark.parametrize("change", [None, "longer\n"])
def test_cat_has_nothing_to_leave_out(work, source, change):
    """Hints name an option only where the command has it."""
    write(source, {"a.txt": change})
    with pytest.raises((ReferenceMissing, ReferenceChanged)) as reading:
        b"".join(work.read("data", "a.txt"))
    with pytest.raises((ReferenceMissing, ReferenceChanged)) as checking_out:
        work.checkout("data")
    assert reading.value.hint == "add it again to record what is there now"
    assert "--allow-missing-references" in str(checking_out.value.hint)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"a.txt": "two\n"}, ReferenceChanged, "now, and was"),
        ({"a.txt": "longer\n"}, ReferenceChanged, "7 bytes now"),
        ({"a.txt": None}, ReferenceMissing, "not there"),
    ],
)
def test_what_changed_or_went_is_an_error_before_anything_is_written(work, source, change, error, says):
    """It names the file, and a changed one with both identities; what stood there stands there still."""
    write(source, change)
    write(work.root / "data", {"own.txt": None})
    with pytest.raises(error, match=r"'a\.txt'.*" + says):
        work.checkout("data")
    assert tree(work.root / "data") == {}
    assert not [name for name in os.listdir(work.root / ".artifacts" / "tmp") if name.startswith(("own", "pack"))]


def test_missing_references_can_be_left_out(work, source):
    """With ``allow_missing`` everything else is written, and the result says which are not."""
    write(source, {"a.txt": "two\n", "sub/big.bin": None})
    done = work.checkout("data", allow_missing_references=True)
    assert done.missing == ("a.txt", "sub/big.bin")
    assert tree(work.root / "data") == {"own.txt": b"mine\n"}
    assert [text.partition(":")[0] for text in work.notices] == ["left out", "left out"]


def test_a_file_of_the_users_in_the_way_is_not_overwritten(work, source):
    """A reference is checked out like a file: what differs and is not ours stops it, unless forced."""
    write(work.root / "data", {"a.txt": "precious\n"})
    with pytest.raises(WouldOverwrite, match=r"a\.txt"):
        work.checkout("data")
    assert tree(work.root / "data") == {"own.txt": b"mine\n", "a.txt": b"precious\n"}
    work.checkout("data", force=True)
    assert tree(work.root / "data") == ALL


def test_another_version_replaces_and_removes_what_was_checked_out(work, source):
    """Files that references became are tracked: replaced by another version, removed by one without them."""
    work.checkout("data")
    write(source, {"a.txt": "two\n"})
    assert refer(work, [file_reference("a.txt", source / "a.txt")]) == "v2"
    work.checkout("data:v2")
    assert tree(work.root / "data") == ALL | {"a.txt": b"two\n"}
    work.checkout("data:v1")
    assert tree(work.root / "data") == ALL
    work.checkout("data:v0")
    assert tree(work.root / "data") == {"own.txt": b"mine\n"}


def test_a_dry_run_says_what_would_come_from_where(work):
    """By place, with bytes; nothing is fetched."""
    done = work.checkout("data", dry_run=True)
    (one,) = done.bringing
    assert (one.remote, one.objects, one.bytes) == ("file://", 2, 4 + len(LARGE))
    assert done.written == 2
    work.checkout("data")
    assert work.checkout("data:v1", dry_run=True).bringing == ()


def changes(repository: Repository) -> list[tuple[str, str]]:
    """What ``status`` shows of the one artifact."""
    (row,) = reopen(repository.root).status().artifacts
    return [(change.path, change.status) for change in (*row.staged, *row.unstaged)]


def references(repository: Repository) -> list[str]:
    """The paths of the references in the draft, or the newest version."""
    with inside(repository.root):
        repository.add()
        repository.commit()
    return [entry.path for entry in repository.entries("data") if entry.kind == "reference"]


@pytest.mark.parametrize("touched", [False, True])
@pytest.mark.parametrize("forgotten", [False, True])
def test_a_file_that_is_what_its_reference_leads_to_stays_a_reference(work, touched, forgotten):
    """Neither modified nor untracked, whatever is remembered of it, and ``add`` makes no file of it."""
    work.checkout("data")
    if touched:
        os.utime(work.root / "data" / "a.txt", (1, 1))
        os.utime(work.root / "data" / "sub" / "big.bin", (1, 1))
    if forgotten:
        forget_index(work.root)
    assert changes(work) == []
    assert references(reopen(work.root)) == ["a.txt", "sub/big.bin"]
    assert changes(work) == []


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_reference_needs_no_file_here(work, forgotten):
    """Its file may be absent, before a checkout and after one: that removes nothing."""
    assert changes(work) == []
    work.checkout("data")
    write(work.root / "data", {"a.txt": None})
    if forgotten:
        forget_index(work.root)
    assert changes(work) == []
    assert references(reopen(work.root)) == ["a.txt", "sub/big.bin"]


def test_a_file_that_was_edited_takes_the_place_of_its_reference(work):
    """It is modified, and stored when it is added; the others stay references."""
    work.checkout("data")
    write(work.root / "data", {"a.txt": "two\n"})
    assert changes(work) == [("a.txt", "modified")]
    assert references(reopen(work.root)) == ["sub/big.bin"]
    assert b"".join(reopen(work.root).read("data", "a.txt")) == b"two\n"


def test_gc_keeps_what_references_led_to_for_the_grace(work, source):
    """Then it goes, without harm: files stay, ``add`` stores nothing, and a checkout fetches again."""
    work.checkout("data")
    reopen(work.root).gc()
    write(source, {"sub/big.bin": None})
    assert b"".join(reopen(work.root).read("data", "sub/big.bin")) == LARGE
    with reopen(work.root)._session.avc.connect() as connection:
        connection.execute("UPDATE followed SET at = 0")
    collected = reopen(work.root).gc(grace="0s")
    assert collected.trashed_objects == 2
    reopen(work.root).gc(grace="0s")
    assert changes(work) == []
    with inside(work.root):
        (staged,) = reopen(work.root).add()
    assert (staged.added, staged.modified, staged.removed) == (0, 0, 0)
    assert references(reopen(work.root)) == ["a.txt", "sub/big.bin"]
    write(source, {"sub/big.bin": LARGE})
    write(work.root / "data", {"sub/big.bin": None})
    reopen(work.root).checkout("data")
    assert tree(work.root / "data") == ALL


def test_fsck_refs_tells_drift_by_version_and_path(work, source):
    """Both identities of what changed, and what is gone; each version that leads there is named."""
    refer(work, [file_reference("more.txt", source / "a.txt")])
    sound = work.fsck_refs()
    assert (sound.versions, sound.objects, sound.bytes, sound.problems) == (3, 2, 4 + len(LARGE), ())
    write(source, {"a.txt": "two\n", "sub/big.bin": None})
    found = work.fsck_refs(["data"]).problems
    assert sorted((problem.subject, problem.kind) for problem in found) == [
        ("demo/data:v1 'a.txt'", "ReferenceChanged"),
        ("demo/data:v1 'sub/big.bin'", "ReferenceMissing"),
        ("demo/data:v2 'a.txt'", "ReferenceChanged"),
        ("demo/data:v2 'more.txt'", "ReferenceChanged"),
        ("demo/data:v2 'sub/big.bin'", "ReferenceMissing"),
    ]
    assert all(" now, and was " in problem.message for problem in found if problem.kind == "ReferenceChanged")


def test_a_clone_follows_references_after_consent(work, source, tmp_path):
    """Pushed is what is known of them, never their bytes; who did not add them here is asked first."""
    work.checkout("data")
    origin(work, tmp_path / "remote")
    work.push()
    assert LARGE[:5000] not in b"".join(
        file.read_bytes() for file in (tmp_path / "remote").rglob("*") if file.is_file()
    )
    other = clone(tmp_path / "remote", tmp_path / "other")
    with pytest.raises(ReferenceRefused):
        other.checkout("data")
    with pytest.raises(ReferenceRefused):
        other.fsck_refs()
    assert not (other.root / "data").exists()
    other.config_set("refs.allow", f"file://{source}")
    other = reopen(other.root)
    other.checkout("data")
    assert tree(other.root / "data") == ALL


def test_a_cut_stream_goes_on_where_it_was(work, source, monkeypatch):
    """Within a command and in the next one: only what did not come is read."""
    size = 3_000_000
    write(source, {"huge.bin": os.urandom(size)})
    refer(work, [file_reference("huge.bin", source / "huge.bin")])
    starts, whole = [], FileSource.read

    def cut(self, target, start=0):
        starts.append(start)
        for piece in whole(self, target, start):
            if len(starts) <= 2 and start == starts[0]:
                yield piece
                raise RemoteUnavailable("the connection was cut")
            if len(starts) == 2:
                raise RemoteUnavailable("the connection was cut")
            yield piece

    monkeypatch.setattr(FileSource, "read", cut)
    with pytest.raises(RemoteUnavailable):
        list(work.read("data", "huge.bin"))
    reached = starts[-1]
    assert 0 < reached < size
    assert b"".join(reopen(work.root).read("data", "huge.bin")) == (source / "huge.bin").read_bytes()
    assert starts[-1] == reached
    assert not [name for name in os.listdir(work.root / ".artifacts" / "tmp") if name.startswith("part")]


def test_cleanup_evicts_what_only_references_led_to(work):
    """Without any remote: it can be fetched again, and the files that were written stay as they are."""
    work.checkout("data")
    held = {one.reason: one.objects for one in reopen(work.root).cache.info().held}
    assert held[CACHED] == 2
    done = reopen(work.root).cache.cleanup(0)
    assert done.objects == 2
    assert changes(work) == []
    assert b"".join(reopen(work.root).read("data", "sub/big.bin")) == LARGE
