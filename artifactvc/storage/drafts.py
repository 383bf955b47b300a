"""Drafts: manifests being prepared, one small file each (protocol L4, L5).

``drafts/<id>.json`` names the artifact, the base version, the digest of the draft's
manifest and its owner. It is replaced whole under a lock of its own, so two commands
that stage into one artifact merge instead of losing each other's entries. Everything
in the directory counts for ``gc``.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from artifactvc.core.model import Digest, is_digest
from artifactvc.core.strict import dump_json, parse_json
from artifactvc.errors import Corrupt
from artifactvc.util.files import locked, make_directories, sync_directory, write_atomic, writing
from artifactvc.util.hashing import digest_bytes

_ID: Final = re.compile(r"[a-z]-[0-9a-f]{32}")


@dataclass(frozen=True)
class Draft:
    """One draft. *artifact* is the id that the artifact has, or will get with its first version."""

    id: str
    project: str
    name: str
    type: str
    artifact: str
    root: Digest
    base: Digest | None  # the version it was begun on
    base_number: int | None
    owner: str  # "workspace", or "process <pid> on <host>"
    time: str
    sources: Digest | None = None  # where files of it were imported from (core/imported.py)

    @property
    def key(self) -> tuple[str, str]:
        """Project and name."""
        return self.project, self.name


def workspace_draft_id(project: str, name: str) -> str:
    """The id of the one draft that the workspace has for an artifact."""
    return f"w-{digest_bytes(f'{project}/{name.lower()}'.encode())[:32]}"


class Drafts:
    """The drafts of one repository."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @contextlib.contextmanager
    def locked(self, draft_id: str) -> Iterator[None]:
        """Hold the lock of one draft: read, merge and save inside it."""
        locks = self.directory.parent / "locks"
        if not locks.is_dir():
            make_directories(locks)
        with locked(locks / draft_id, exclusive=True):
            yield

    def get(self, draft_id: str) -> Draft | None:
        """The draft, or None."""
        try:
            data = (self.directory / f"{draft_id}.json").read_bytes()
        except FileNotFoundError:
            return None
        return _decode(data, draft_id)

    def save(self, draft: Draft) -> None:
        """Write the draft whole; the caller holds its lock."""
        if not self.directory.is_dir():
            make_directories(self.directory)
        with writing(self.directory):
            write_atomic(
                self.directory / f"{draft.id}.json",
                dump_json(asdict(draft)) + b"\n",
                via=self.directory.parent / "tmp",
            )

    def changed_at(self, draft_id: str) -> float:
        """When the draft was last saved, in epoch seconds; now, where it is gone."""
        try:
            return (self.directory / f"{draft_id}.json").stat().st_mtime
        except FileNotFoundError:
            return time.time()

    def remove(self, draft_id: str) -> None:
        """Drop the draft; the caller holds its lock."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.directory / f"{draft_id}.json")
            sync_directory(self.directory)

    def all(self) -> list[Draft]:
        """Every draft, ordered by project and name; Corrupt if one cannot be read (gc must then stop)."""
        try:
            names = sorted(os.listdir(self.directory))
        except FileNotFoundError:
            return []
        found = [self.get(name[:-5]) for name in names if name.endswith(".json") and _ID.fullmatch(name[:-5])]
        return sorted((draft for draft in found if draft is not None), key=lambda draft: draft.key)


def _decode(data: bytes, draft_id: str) -> Draft:
    what = f"draft '{draft_id}'"
    body = parse_json(data, limit=1 << 16, what=what, error=Corrupt)
    try:
        draft = Draft(**body)
    except TypeError as error:
        raise Corrupt(f"{what} is damaged", hint=f"remove drafts/{draft_id}.json and add again") from error
    if draft.id != draft_id or not is_digest(draft.root) or not (draft.sources is None or is_digest(draft.sources)):
        raise Corrupt(f"{what} is damaged", hint=f"remove drafts/{draft_id}.json and add again")
    return draft
