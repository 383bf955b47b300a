"""What is remembered of imported files goes where their version goes, and lasts as long."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from artifactvc.core.imported import Imported
from artifactvc.core.manifest import find_many
from artifactvc.core.model import Digest, Entry
from artifactvc.ops.imported import write_imported
from artifactvc.ops.session import Session
from artifactvc.ops.stage import apply_changes, begin_draft
from artifactvc.sdk.repository import Repository
from artifactvc.storage.drafts import workspace_draft_id
from artifactvc.util.hashing import digest_bytes
from tests.support import clone, forget_index, inside, new, origin, reopen, write


def stage(repository: Repository, files: Mapping[str, str | None], etag: str = "1") -> Digest | None:
    """Stage *files* as if they had come from a bucket; the digest of what says so."""
    session: Session = repository.session
    draft_id = workspace_draft_id("demo", "data")
    with session.avc.writing(), session.avc.drafts.locked(draft_id):
        draft = begin_draft(session, ("demo", "data"), None)
        changes: dict[str, Entry | None] = dict.fromkeys(files)
        fresh: dict[str, Imported | None] = dict.fromkeys(files)
        with session.avc.writer() as writer:
            for path, text in files.items():
                if text is not None:
                    digest = writer.put(text.encode())
                    changes[path] = Entry(path, "f", len(text.encode()), digest)
                    fresh[path] = Imported(path, digest, f"s3://bucket/in/{path}", "etag", etag, "v1")
            sources = write_imported(session, writer, draft.sources, draft.root, fresh)
            root, _ = apply_changes(session, draft.root, changes, writer)
        session.avc.drafts.save(replace(draft, root=root.digest, sources=sources))
    return sources


def told(repository: Repository, ref: str = "data", prefix: str = "") -> dict[str, str]:
    """The imported files of a version, each with the address that it came from."""
    found = {e.path: e.source.uri for e in repository.entries(ref, prefix, sources=True) if e.source is not None}
    assert sum(place.entries for place in repository.show(ref).sources) == len(found) or prefix
    return found


@pytest.fixture
def imported(tmp_path: Path) -> Repository:
    """A repository with a version of two imported files and one that was added."""
    made = new(tmp_path / "work", {"data/own.txt": "own"})
    with inside(made.root):
        made.add(["data"])
    stage(made, {"a.txt": "one", "sub/b.txt": "two"})
    made.commit()
    return made


BOTH = {"a.txt": "s3://bucket/in/a.txt", "sub/b.txt": "s3://bucket/in/sub/b.txt"}


def test_a_version_tells_where_its_files_came_from(imported: Repository):
    """By place in show, file by file in ls; the manifest is that of any files."""
    assert told(imported) == BOTH
    assert told(imported, prefix="sub") == {"sub/b.txt": BOTH["sub/b.txt"]}
    (place,) = imported.show("data").sources
    assert (place.place, place.entries, place.size) == ("s3://bucket/in", 2, 6)
    entry = next(iter(imported.entries("data", "a.txt", sources=True)))
    assert entry.source is not None
    assert (entry.source.identity_kind, entry.source.identity, entry.source.version_id) == ("etag", "1", "v1")
    other = new(imported.root.parent / "other", {"data/own.txt": "own", "data/a.txt": "one", "data/sub/b.txt": "two"})
    with inside(other.root):
        other.add(["data"])
    (done,) = other.commit()
    assert done.digest == imported.show("data").digest
    assert other.show("data").sources == ()


def test_what_stays_the_same_keeps_its_origin(imported: Repository):
    """In the next version, too; what was changed or removed has none, and has it again with the old bytes."""
    write(imported.root, {"data/a.txt": "changed", "data/own.txt": "own 2", "data/sub/b.txt": "two"})
    with inside(imported.root):
        imported.add()
    imported.commit()
    assert told(imported) == {"sub/b.txt": BOTH["sub/b.txt"]}
    assert told(imported, "data:v0") == BOTH
    write(imported.root, {"data/a.txt": "one"})
    with inside(imported.root):
        imported.add()
    imported.commit()
    assert told(imported) == BOTH


def test_lines_that_count_no_more_go_with_the_next_import(imported: Repository):
    """Who imports again does not carry on what was removed since."""
    imported.remove("data", ["a.txt"])
    imported.commit()
    stage(imported, {"c.txt": "three"})
    imported.commit()
    assert told(imported) == {"c.txt": "s3://bucket/in/c.txt", "sub/b.txt": BOTH["sub/b.txt"]}
    stage(imported, {"c.txt": None, "sub/b.txt": None})
    imported.commit()
    assert told(imported) == {}


def test_the_same_again_is_nothing(imported: Repository):
    """What was imported from the same places has nothing to commit, and the same object says so."""
    before = imported.session.index.rows.find("version")[0]["sources"]
    assert stage(imported, {"a.txt": "one", "sub/b.txt": "two"}) == before
    (done,) = imported.commit()
    assert done.outcome == "nothing"


def test_equal_bytes_from_elsewhere_are_noted(imported: Repository):
    """The version stays, and tells of the new identity: else the same would be fetched again and again."""
    stage(imported, {"a.txt": "one"}, etag="2")
    (done,) = imported.commit()
    assert (done.version, done.outcome) == ("v0", "existing")
    entry = next(iter(imported.entries("data", "a.txt", sources=True)))
    assert entry.source is not None
    assert entry.source.identity == "2"
    imported.undo()
    entry = next(iter(imported.entries("data", "a.txt", sources=True)))
    assert entry.source is not None
    assert entry.source.identity == "1"


def test_an_undo_gives_the_draft_back_with_it(imported: Repository):
    """And the next commit tells it again."""
    imported.undo()
    assert imported.status().artifacts[0].staged
    imported.commit()
    assert told(imported) == BOTH


def test_gc_keeps_it(imported: Repository):
    """Of drafts and of versions; when both are gone, it goes."""
    stage(imported, {"c.txt": "three"})
    draft = imported.session.avc.drafts.all()[0]
    assert draft.sources is not None
    imported.gc(grace="0s")
    imported.gc(grace="0s")
    assert imported.session.avc.store.has([draft.sources]) == {draft.sources}
    imported.commit()
    assert told(imported) == {**BOTH, "c.txt": "s3://bucket/in/c.txt"}
    imported.gc(grace="0s")
    assert imported.fsck().problems == ()
    stage(imported, {"d.txt": "four"})
    dropped = imported.session.avc.drafts.all()[0].sources
    assert dropped is not None
    imported.reset("data")
    imported.gc(grace="0s")
    imported.gc(grace="0s")
    assert not (imported.avc_root / "trash").exists() or not imported.session.avc.store.has([dropped])
    assert told(imported) == {**BOTH, "c.txt": "s3://bucket/in/c.txt"}


def test_it_travels(imported: Repository, tmp_path: Path):
    """A push sends it, a clone shows it, fsck of the remote asks for it, and gc there leaves it alone."""
    origin(imported, tmp_path / "remote")
    imported.push()
    there = clone(tmp_path / "remote", tmp_path / "clone")
    assert told(there) == BOTH
    imported.gc_remote("origin", grace="0s", force=True)
    assert imported.fsck("origin", full=True).problems == ()
    again = clone(tmp_path / "remote", tmp_path / "again")
    assert told(again) == BOTH
    mirror, _ = Repository.clone(str(tmp_path / "remote"), tmp_path / "mirror", mirror=True, environ={"AVC_USER": "m"})
    sources = imported.session.index.rows.find("version")[0]["sources"]
    assert mirror.session.avc.store.has([sources]) == {sources}


def test_both_note_another_source_of_equal_bytes(imported: Repository, tmp_path: Path):
    """No conflict: both are true, and who pushes later is told."""
    origin(imported, tmp_path / "remote")
    imported.push()
    there = clone(tmp_path / "remote", tmp_path / "clone")
    there.pull()
    for repository, etag in ((imported, "2"), (there, "3")):
        stage(repository, {"a.txt": "one", "sub/b.txt": "two"}, etag=etag)
        repository.commit()
        repository.push()
    imported.pull()
    entry = next(iter(imported.entries("data", "a.txt", sources=True)))
    assert entry.source is not None
    assert entry.source.identity == "3"


def test_cleanup_keeps_what_no_remote_has(imported: Repository, tmp_path: Path):
    """What a draft says of its files is pinned, as the draft is; what was pushed may go, and comes again."""
    origin(imported, tmp_path / "remote")
    imported.push()
    stage(imported, {"c.txt": "three"})
    draft = imported.session.avc.drafts.all()[0]
    imported.cache.cleanup(0)
    assert draft.sources is not None
    assert imported.session.avc.store.has([draft.sources]) == {draft.sources}
    assert told(imported) == BOTH


def test_damage_is_told(imported: Repository):
    """Fsck names an object that says where files came from and cannot be read; show leaves it out, with a notice."""
    session = imported.session
    rows = session.index.rows.find("version")
    with session.avc.writer() as writer:
        bad = writer.put(b'{"salt":"00"}\n["a.txt"]\n')
    entry = session.avc.root / "log" / f"{0:020}.json"
    body = json.loads(entry.read_bytes())
    for record in body["records"]:
        if record["kind"] == "version":
            assert record["sources"] == rows[0]["sources"]
            record["sources"] = bad
    entry.chmod(0o644)
    entry.write_bytes(json.dumps(body, separators=(",", ":")).encode() + b"\n")
    imported.close()
    forget_index(imported.root)
    again = reopen(imported.root)
    assert any("a list of sources has a line that is none" in p.message for p in again.fsck().problems)
    assert again.show("data").sources == ()
    assert any("where files were imported from is not known any more" in notice for notice in again.notices)


def test_a_rebuilt_index_knows_it(imported: Repository):
    """It stands in the log."""
    imported.close()
    forget_index(imported.root)
    assert told(reopen(imported.root)) == BOTH


def test_a_large_list(tmp_path: Path):
    """More than fits into a pack: it is an object of its own, sent and fetched like others."""
    made = new(tmp_path / "work")
    stage(made, {f"{number:05}/{'x' * 60}.txt": f"{number}" for number in range(1500)})
    made.commit()
    origin(made, tmp_path / "remote")
    made.push()
    found = told(clone(tmp_path / "remote", tmp_path / "clone"))
    assert len(found) == 1500
    sources = made.session.index.rows.find("version")[0]["sources"]
    assert made.session.avc.store.length(sources) > 128 << 10
    assert digest_bytes(b"".join(made.session.avc.store.chunks(sources))) == sources
    paths = list(found)[:3]
    assert len(find_many(made.show("data").digest, paths, made.session.node)) == 3
