"""What tests of references share: versions whose entries lead elsewhere, made without asking any storage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from artifactvc.core.manifest import update
from artifactvc.core.model import Entry
from artifactvc.ops.consent import note_adopted
from artifactvc.ops.stage import begin_draft
from artifactvc.sdk.repository import Repository
from artifactvc.storage.drafts import workspace_draft_id
from artifactvc.util.hashing import digest_bytes


def file_reference(path: str, file: Path) -> Entry:
    """The entry that stands for a file of this machine as it is now."""
    data = file.read_bytes()
    return Entry(path, "r", len(data), None, None, f"file://{file}", "blake3", digest_bytes(data))


def refer(repository: Repository, entries: Iterable[Entry], name: str = "data") -> str:
    """Commit a version of artifact *name* that has *entries* more, or otherwise; its number as shown."""
    entries = list(entries)
    for entry in entries:
        note_adopted(repository._session, str(entry.uri))
    session, key = repository._session, (repository.project, name)
    draft_id = workspace_draft_id(*key)
    with session.avc.writing(), session.avc.drafts.locked(draft_id):
        draft = begin_draft(session, key, None)
        with session.avc.writer() as writer:
            fresh: dict[str, bytes] = {}

            def put(data: bytes) -> str:
                digest = writer.put_node(data)
                fresh[digest] = data
                return digest

            root = update(
                draft.root,
                {entry.path: entry for entry in entries},
                lambda digest: fresh[digest] if digest in fresh else session.node(digest),
                put,
            )
        session.avc.drafts.save(replace(draft, root=root.digest))
    done = repository.commit([name])
    assert done
    assert done[0].version is not None
    return done[0].version
