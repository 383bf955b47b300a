"""The files of a version, one object each, made when they are asked for."""

from __future__ import annotations

import mimetypes
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

from artifactvc.core.model import Entry
from artifactvc.errors import UnsupportedError, WouldOverwrite

if TYPE_CHECKING:
    from artifactvc.sdk.artifact import Artifact


class File:
    """One file of a version."""

    def __init__(self, artifact: Artifact, entry: Entry) -> None:
        self._artifact, self._entry = artifact, entry

    @property
    def name(self) -> str:
        """Its path inside the artifact."""
        return self._entry.path

    storage_path = name

    @property
    def size(self) -> int:
        """Bytes."""
        return self._entry.size or 0

    @property
    def digest(self) -> str:
        """BLAKE3 of its bytes, 64 hex digits; of a reference its identity."""
        return self._entry.digest or self._entry.identity or ""

    md5 = digest  # W&B's name; the digest is BLAKE3 all the same

    @property
    def mimetype(self) -> str:
        """What its name says it is."""
        return mimetypes.guess_type(self.name)[0] or "application/octet-stream"

    @property
    def updated_at(self) -> str:
        """When the version was made."""
        return self._artifact.created_at

    @property
    def path_uri(self) -> str:
        """``avc://project/name:vN/path``, or where a reference leads."""
        return self._entry.uri or f"avc://{self._artifact.project}/{self._artifact.name}/{self.name}"

    url = direct_url = path_uri

    def download(self, root: str | os.PathLike[str] = ".", replace: bool = False, exist_ok: bool = False) -> Path:
        """Write the file below *root*; ValueError if it is there, unless *replace*, or *exist_ok*: then it stays."""
        target = Path(root) / self.name
        if target.exists() and not replace:
            if exist_ok:
                return target
            raise _there(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = target.with_name(f".{target.name}.part")
        staged.write_bytes(self._artifact._read(self._entry))
        shutil.move(staged, target)
        return target

    def delete(self) -> None:
        """A version never changes: not supported."""
        raise UnsupportedError(
            "a file of a version cannot be deleted: versions never change",
            hint="draft = artifact.new_draft(); draft.remove(name); draft.save()",
        )

    def __repr__(self) -> str:
        return f"<File {self.name} ({self.mimetype}) {self.size} bytes>"


class _Exists(WouldOverwrite, ValueError):
    """A file is there already."""


def _there(target: Path) -> WouldOverwrite:
    return _Exists(f"'{target}' exists", hint="pass replace=True to overwrite it, or exist_ok=True to keep it")


class ArtifactFiles(Sequence[File]):
    """The files of a version in the order of its manifest."""

    def __init__(self, artifact: Artifact, names: list[str] | None = None, start: str | None = None) -> None:
        self._artifact, self._names, self._start = artifact, names, start
        self._held: list[Entry] | None = None

    def _all(self) -> list[Entry]:
        if self._held is None:
            entries = [e for e in self._artifact._entries() if e.kind != "l"]
            if self._names is not None:
                wanted = set(self._names)
                entries = [entry for entry in entries if entry.path in wanted]
            if self._start is not None:
                entries = [entry for entry in entries if entry.path.encode() > self._start.encode()]
            self._held = entries
        return self._held

    @property
    def cursor(self) -> str | None:
        """Where to go on with ``start=``: the last file's name."""
        return self._all()[-1].path if self._all() else self._start

    def __len__(self) -> int:
        return len(self._all())

    def __iter__(self) -> Iterator[File]:
        return (File(self._artifact, entry) for entry in self._all())

    @overload
    def __getitem__(self, index: int) -> File: ...
    @overload
    def __getitem__(self, index: slice) -> list[File]: ...
    def __getitem__(self, index: int | slice) -> File | list[File]:
        if isinstance(index, slice):
            return [File(self._artifact, entry) for entry in self._all()[index]]
        return File(self._artifact, self._all()[index])

    def __repr__(self) -> str:
        return f"<ArtifactFiles {self._artifact.qualified_name} ({len(self)})>"
