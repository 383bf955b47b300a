"""References: what an address brings into a draft, and what adopting it again changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from artifactvc.core.manifest import build, build_in_order, side_by_side
from artifactvc.core.model import Entry
from artifactvc.core.references import Target
from artifactvc.errors import (
    AvcError,
    BadValue,
    PathConflict,
    ReferenceMissing,
    UnknownPath,
    UnsupportedFile,
    UsageError,
)
from artifactvc.ops import adopt
from artifactvc.ops.prepare import Prepared
from artifactvc.storage import filesource
from tests.support import new, write


@pytest.fixture
def work(tmp_path):
    with new(tmp_path / "work") as made:
        yield made


@pytest.fixture
def data(tmp_path) -> Path:
    """Files outside the workspace."""
    write(tmp_path / "data", {"images/cat.png": "cat", "images/dog.png": "dog", "images2/x.png": "x", "model.h5": "m"})
    return tmp_path / "data"


def staged(work, uri, **options):
    return work.add_references(str(uri), to="pets", **options)


def entries(work, ref="pets"):
    return {entry.path: entry for entry in work.entries(ref)}


def refused(kind: type[AvcError], deed) -> str:
    with pytest.raises(kind) as caught:
        deed()
    return f"{caught.value.message}; {caught.value.hint}"


# ---- what comes ------------------------------------------------------------------------------------


def test_a_directory_is_its_own_and_no_other(work, data):
    """All below ``images``, by path there; ``images2`` is another directory. Only metadata is stored."""
    before = work.du()
    done = staged(work, f"file://{data}/images")
    assert (done.added, done.entries) == (2, 2)
    work.commit()
    found = entries(work)
    assert list(found) == ["cat.png", "dog.png"]
    cat = found["cat.png"]
    assert (cat.kind, cat.uri, cat.size) == ("reference", f"file://{data}/images/cat.png", 3)
    assert cat.identity == blake3(b"cat").hexdigest()
    assert work.du().objects == before.objects


@pytest.mark.parametrize(
    ("uri", "prefix", "path"),
    [("model.h5", None, "model.h5"), ("images/cat.png", None, "cat.png"), ("model.h5", "models", "models/model.h5")],
)
def test_an_object_has_its_last_component(work, data, uri, prefix, path):
    """Below the prefix, where one is given."""
    staged(work, f"file://{data}/{uri}", prefix=prefix)
    work.commit()
    assert list(entries(work)) == [path]


def test_a_prefix_is_a_directory_inside(work, data):
    staged(work, f"file://{data}/images/", prefix="images")
    work.commit()
    assert list(entries(work)) == ["images/cat.png", "images/dog.png"]


def test_without_a_checksum_nothing_is_asked(work):
    """The URI alone is kept, of what need not be there."""
    staged(work, "s3://no-such-bucket/raw/data", checksum=False)
    work.commit()
    (entry,) = entries(work).values()
    assert (entry.path, entry.uri, entry.size, entry.identity) == ("data", "s3://no-such-bucket/raw/data", None, None)


def test_an_entry_of_another_version_shares_its_bytes(work):
    """``avc://`` brings files, not references; one, a directory, or all."""
    write(work.root, {"d/a": "1", "d/sub/b": "2"})
    work.put(work.root / "d", name="origin")
    work.add_references("avc://origin:v0/a", to="one")
    work.add_references("avc://origin:v0/sub", to="below", prefix="x")
    work.add_references("avc://origin:latest", to="all")
    work.commit()
    digest = {path: entry.digest for path, entry in entries(work, "origin").items()}
    assert {p: e.digest for p, e in entries(work, "one").items()} == {"a": digest["a"]}
    assert {p: e.digest for p, e in entries(work, "below").items()} == {"x/b": digest["sub/b"]}
    assert work.show("all").digest == work.show("origin").digest
    assert b"".join(work.read("one", "a")) == b"1"
    refused(UnknownPath, lambda: work.add_references("avc://origin:v0/nothing", to="one"))


# ---- what is refused, before anything is recorded ---------------------------------------------------


def test_too_many_objects_are_counted(work, data):
    """The error has the count, and nothing is recorded."""
    said = refused(BadValue, lambda: staged(work, f"file://{data}", max_objects=3))
    assert "holds 4 objects, and at most 3 are taken" in said
    assert "--max-objects" in said
    assert work.status().artifacts == ()
    assert not list(work.avc_root.glob("drafts/*.json"))
    assert staged(work, f"file://{data}", max_objects=4).entries == 4


def test_too_many_files_are_counted_unread(work, data, monkeypatch):
    """A directory of a terabyte is refused for its number of files, not after it was hashed."""
    read: list[str] = []
    real = filesource._identity
    monkeypatch.setattr(filesource, "_identity", lambda path: read.append(path) or real(path))
    said = refused(BadValue, lambda: staged(work, f"file://{data}/images", max_objects=1))
    assert "holds 2 objects, and at most 1 are taken" in said
    assert read == []


def test_a_link_that_would_lead_out_is_refused(work):
    """``in/l`` leads to ``f.txt`` beside ``in``: taken alone, it would point out of the artifact."""
    write(work.root / "src", {"deep/f.txt": "x", "deep/in/g.txt": "y"})
    (work.root / "src/deep/in/l").symlink_to("../f.txt")
    work.add([work.root / "src"], to="one")
    work.commit(["one"])
    assert "points out of the artifact" in refused(UnsupportedFile, lambda: staged(work, "avc://one:v0/deep/in"))
    assert staged(work, "avc://one:v0/deep").added == 3


def test_what_was_refused_leaves_no_directory(work, data):
    """Nothing of a refused listing counts afterwards: ``images`` may be a file, and then is no directory."""
    prepared = Prepared("pets", "dataset")
    prepared.add_bytes(work.session, b"mine", "model.h5")
    refused(PathConflict, lambda: adopt.into(work.session, prepared, adopt.Wish(f"file://{data}")))
    prepared.add_bytes(work.session, b"a file", "images")
    said = refused(PathConflict, lambda: prepared.add_bytes(work.session, b"x", "images/x"))
    assert "'images' is a file and would be a directory of 'images/x'" in said
    assert [entry.path for entry in prepared.entries(work.session)] == ["images", "model.h5"]


def test_what_stands_below_another_prefix_stays(work, data):
    """The same place below two prefixes is two copies: adopting one again takes nothing from the other."""
    staged(work, f"file://{data}/images", prefix="a")
    assert staged(work, f"file://{data}/images").removed == 0
    (data / "images/dog.png").unlink()
    assert staged(work, f"file://{data}/images").removed == 1
    work.commit(["pets"])
    assert list(entries(work)) == ["a/cat.png", "a/dog.png", "cat.png"]


@pytest.mark.parametrize("name", ["..", ".git", "a\nb", ".artifacts"])
def test_names_that_no_artifact_can_have(work, data, name):
    """Named, and nothing is recorded."""
    if name == "..":
        refused(BadValue, lambda: staged(work, f"file://{data}/images/../model.h5"))
    else:
        write(data, {f"odd/{name}/f": "x"})
        refused(UnsupportedFile, lambda: staged(work, f"file://{data}/odd"))
    assert not list(work.avc_root.glob("drafts/*.json"))


def test_what_is_not_there(work, data):
    refused(ReferenceMissing, lambda: staged(work, f"file://{data}/nothing"))
    (data / "empty").mkdir()
    refused(ReferenceMissing, lambda: staged(work, f"file://{data}/empty"))


def test_an_address_alone_takes_nothing_out(work, data):
    """What was listed below it before stays: nothing was listed now."""
    staged(work, f"file://{data}/images")
    assert staged(work, f"file://{data}/images", checksum=False).removed == 0
    work.commit()
    assert sorted(entries(work)) == ["cat.png", "dog.png", "images"]


def test_a_key_that_reads_like_a_signature_is_refused(work, data, monkeypatch):
    """It would be taken for one by whoever follows the reference, and with it the whole version."""
    write(data, {"q/a?sig=geheim": "x", "q/b": "y"})
    monkeypatch.setattr("artifactvc.storage.filesource.FileSource.list", _as_of_a_bucket)
    with pytest.raises(UnsupportedFile, match="cannot be an entry: the address holds a password"):
        staged(work, f"file://{data}/q")


def _as_of_a_bucket(self, *asked):
    yield Target("s3://bucket/q/a?sig=geheim", "a?sig=geheim", 1, "etag", "e")


def test_a_secret_is_not_repeated(work):
    """Neither in the message nor in any file."""
    said = refused(BadValue, lambda: staged(work, "https://user:hunter2@host/x"))
    assert "hunter2" not in said
    assert "hunter2" not in refused(BadValue, lambda: work.add(["https://user:hunter2@host/x"]))
    said = refused(BadValue, lambda: staged(work, "https://host/#access_token=hunter2", checksum=False))
    assert "hunter2" not in said
    assert not any(b"hunter2" in path.read_bytes() for path in work.avc_root.rglob("*") if path.is_file())


def test_a_stored_file_stands_in_the_way(work, data):
    write(work.root, {"pets/cat.png": "stored"})
    work.add([work.root / "pets"], to="pets")
    said = refused(PathConflict, lambda: staged(work, f"file://{data}/images"))
    assert "'cat.png' is a stored file" in said
    assert "images/cat.png" in said
    write(data, {"other/cat.png/inner": "x"})
    said = refused(PathConflict, lambda: staged(work, f"file://{data}/other"))
    assert "'cat.png'" in said
    assert "'cat.png/inner'" in said


def test_an_object_of_another_address_stands_in_the_way(work, data):
    """Both are named; nothing is replaced without a word."""
    write(data, {"more/cat.png": "another"})
    staged(work, f"file://{data}/images")
    said = refused(PathConflict, lambda: staged(work, f"file://{data}/more"))
    assert "images/cat.png" in said
    assert "more/cat.png" in said
    assert staged(work, f"file://{data}/more", prefix="more").added == 1


def test_an_artifact_must_be_named(work, data):
    refused(UsageError, lambda: work.add([f"file://{data}"]))


# ---- again --------------------------------------------------------------------------------------------


def test_again_takes_what_has_changed(work, data):
    """New, changed and removed objects of that place; what others brought stays."""
    write(work.root, {"pets/readme": "own"})
    work.add([work.root / "pets"], to="pets")
    staged(work, f"file://{data}/images", prefix="images")
    work.commit()
    before = entries(work)
    done = staged(work, f"file://{data}/images", prefix="images")
    assert (done.added, done.modified, done.removed) == (0, 0, 0)
    assert work.commit() == []
    write(data, {"images/cat.png": "cat 2", "images/new.png": "n", "images/dog.png": None})
    done = staged(work, f"file://{data}/images", prefix="images")
    assert (done.added, done.modified, done.removed) == (1, 1, 1)
    work.commit()
    after = entries(work)
    assert list(after) == ["images/cat.png", "images/new.png", "readme"]
    assert after["readme"] == before["readme"]


def test_what_memory_does_not_hold_waits_in_a_file(work, data, monkeypatch):
    """The same version, also on top of another."""
    staged(work, f"file://{data}", prefix="a")
    monkeypatch.setattr(adopt, "_HELD", 1)
    work.add_references(f"file://{data}", to="other", prefix="a")
    work.commit()
    assert work.show("other").digest == work.show("pets").digest
    write(data, {"new.png": "n"})
    assert staged(work, f"file://{data}", prefix="a").added == 1


def test_a_dry_run_changes_nothing(work, data):
    done = staged(work, f"file://{data}/images", dry_run=True)
    assert (done.added, done.entries, done.dry_run) == (2, 2, True)
    assert [change.path for change in done.changes] == ["cat.png", "dog.png"]
    assert work.status().artifacts == ()
    assert not (work.avc_root / "adopted").exists()


def test_put_stores_references(work, data):
    """In one step; again is the same version."""
    first = work.put(f"file://{data}/images", name="pets")
    again = work.put(f"file://{data}/images", name="pets")
    assert (first.version, again.version) == ("v0", "v0")
    assert all(entry.kind == "reference" for entry in entries(work).values())


def test_the_same_content_uploaded_anew_is_no_change():
    """Another version id of the same identity and size: the entry stays as it was (design, section 5)."""
    old = Target("s3://b/k", "k", 3, "etag", "ff", "version 1").entry("k")
    new = Target("s3://b/k", "k", 3, "etag", "ff", "version 2").entry("k")
    assert adopt.known(new, old) is old
    assert adopt.known(new._replace(identity="ee"), old).version_id == "version 2"


PATHS = st.lists(st.text("ab/.-", min_size=1, max_size=6), max_size=12, unique=True)


def _legal(paths: list[str]) -> list[str]:
    """Those that can stand together in one manifest."""
    found: list[str] = []
    for path in sorted(paths, key=str.encode):
        parts = path.split("/")
        if any(part in ("", ".", "..") for part in parts):
            continue
        if not any(path.startswith(f"{one}/") or one.startswith(f"{path}/") for one in found):
            found.append(path)
    return sorted(found, key=str.encode)


@given(PATHS, PATHS)
def test_a_stream_builds_what_a_list_builds(before, after):
    """The same digest, whatever the paths; and a join of two streams has every path once, in order."""
    old = [Entry(path, "f", 1, "0" * 64) for path in _legal(before)]
    new = [Target(f"s3://b/{path}", path, 1, "etag", "e").entry(path) for path in _legal(after)]
    nodes: dict[str, bytes] = {}

    def put(data: bytes) -> str:
        digest = blake3(data).hexdigest()
        nodes[digest] = data
        return digest

    assert build_in_order(iter(new), put) == build(reversed(new), put)
    pairs = list(side_by_side(old, new))
    assert [(a or b).path for a, b in pairs] == sorted({e.path for e in old + new}, key=str.encode)
    assert [a for a, _ in pairs if a] == old
    assert [b for _, b in pairs if b] == new


@given(st.lists(st.sampled_from(["a", "a/b", "a-", "a-/c", "a.b", "b", "b/a/a"]), min_size=1, unique=True))
def test_a_stream_refuses_what_a_list_refuses(paths):
    """A file that would be a directory, too."""
    found = [Entry(path, "f", 1, "0" * 64) for path in sorted(paths, key=str.encode)]

    def outcome(deed) -> object:
        try:
            return deed(found, lambda data: blake3(data).hexdigest())
        except PathConflict:
            return "refused"

    assert outcome(build_in_order) == outcome(build)
