"""The entries of an artifact as W&B's code sees them: read when asked for, never changed here."""

from __future__ import annotations

import os
from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifactvc.core.model import Entry
from artifactvc.errors import ArtifactNotLoggedError, BadValue, UnknownEntry
from artifactvc.ops.download import Wanted

if TYPE_CHECKING:
    from artifactvc.sdk.artifact import Artifact


class ArtifactManifestEntry:
    """One entry: ``path`` inside the artifact, ``digest`` of its object, ``size`` in bytes.

    A link stored in the artifact has ``target``; a reference has ``ref``, its URI.
    """

    def __init__(self, artifact: Artifact, entry: Entry, local_path: str | None = None) -> None:
        self._artifact, self._entry = artifact, entry
        self.local_path = local_path
        self.skip_cache = False
        self.birth_artifact_id: str | None = None

    @property
    def path(self) -> str:
        """Where it stands in the artifact."""
        return self._entry.path

    name = path

    @property
    def digest(self) -> str:
        """BLAKE3 of the bytes, 64 hex digits; of a reference, the identity that its storage offers."""
        return self._entry.digest or self._entry.identity or self._entry.uri or self._entry.target or ""

    @property
    def size(self) -> int | None:
        """Bytes; None for a reference whose size is not known."""
        return 0 if self._entry.kind == "l" else self._entry.size

    @property
    def ref(self) -> str | None:
        """URI of a reference, or None."""
        return self._entry.uri

    @property
    def target(self) -> str | None:
        """Where a link leads, or None."""
        return self._entry.target

    @property
    def extra(self) -> dict[str, Any]:
        """What is known besides: identity and version of a reference, whether a file is executable."""
        entry = self._entry
        found = {entry.identity_kind: entry.identity} if entry.identity_kind else {}
        if entry.version_id is not None:
            found["versionID"] = entry.version_id
        return {**found, **({"executable": True} if entry.kind == "x" else {})}

    def ref_target(self) -> str:
        """The URI of a reference; ValueError for a file."""
        if self._entry.uri is None:
            raise BadValue(f"'{self.path}' is a stored file, not a reference")
        return self._entry.uri

    def ref_url(self) -> str:
        """``avc://project/name:vN/path``, by which another artifact can refer to this entry."""
        return f"avc://{self._artifact.project}/{self._artifact.name}/{self.path}"

    def parent_artifact(self) -> Artifact:
        """The artifact that it is an entry of."""
        return self._artifact

    def download(self, root: str | os.PathLike[str] | None = None, skip_cache: bool | None = None) -> str:
        """Write this one file below *root* (``./artifacts/name:vN`` if not given); its absolute path."""
        if self._artifact.is_draft():
            raise ArtifactNotLoggedError("ArtifactManifestEntry.download", self)
        base = self._artifact._download(root, Wanted(path=self.path))
        return os.fspath(Path(base) / self.path)

    def to_json(self) -> dict[str, Any]:
        """The entry as W&B writes it in a manifest: fields that say nothing are left out."""
        fields = {"digest": self.digest, "ref": self.ref, "extra": self.extra or None, "size": self.size}
        return {name: value for name, value in fields.items() if value is not None}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArtifactManifestEntry) and self._entry == other._entry

    def __hash__(self) -> int:
        return hash(self._entry)

    def __repr__(self) -> str:
        fields = {"path": self.path, "digest": self.digest, "ref": self.ref, "size": self.size}
        shown = ", ".join(f"{name}={value!r}" for name, value in fields.items() if value is not None)
        return f"ArtifactManifestEntry({shown})"


class _Entries(Mapping[str, ArtifactManifestEntry]):
    """Entries by path, in the order of the manifest; each is read when it is asked for."""

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact

    def __getitem__(self, path: str) -> ArtifactManifestEntry:
        entry = self._artifact._find(path)
        if entry is None:
            raise KeyError(path)
        return ArtifactManifestEntry(self._artifact, entry)

    def __iter__(self) -> Iterator[str]:
        return (entry.path for entry in self._artifact._entries())

    def __len__(self) -> int:
        return self._artifact._root().count

    def values(self) -> ValuesView[ArtifactManifestEntry]:
        """All entries, read once."""
        return self._all().values()

    def items(self) -> ItemsView[str, ArtifactManifestEntry]:
        """All paths and entries, read once."""
        return self._all().items()

    def _all(self) -> dict[str, ArtifactManifestEntry]:
        found = self._artifact._entries()
        return {entry.path: ArtifactManifestEntry(self._artifact, entry) for entry in found}

    def __repr__(self) -> str:
        return repr(self._all())


class ArtifactManifest:
    """The whole list of entries of an artifact."""

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact

    @property
    def entries(self) -> Mapping[str, ArtifactManifestEntry]:
        """Entries by path."""
        return _Entries(self._artifact)

    def get_entry_by_path(self, path: str) -> ArtifactManifestEntry | None:
        """The entry at *path*, or None."""
        return self.entries.get(path)

    def get_entries_in_directory(self, directory: str) -> list[ArtifactManifestEntry]:
        """The entries below a directory."""
        found = self._artifact._entries(directory.strip("/"))
        return [ArtifactManifestEntry(self._artifact, entry) for entry in found if entry.path != directory.strip("/")]

    def digest(self) -> str:
        """Digest of the manifest, which is also the artifact's."""
        return self._artifact._root().digest

    def size(self) -> int:
        """Sum of all sizes in bytes, references too."""
        return self._artifact._root().size

    def to_manifest_json(self) -> dict[str, Any]:
        """The manifest in W&B's form, with digests of ours."""
        return {
            "version": 1,
            "storagePolicy": "avc",
            "storagePolicyConfig": {},
            "contents": {path: entry.to_json() for path, entry in self.entries.items()},
        }

    def __len__(self) -> int:
        return self._artifact._root().count


class Reader:
    """What a table reads the artifact through (``sdk/tables.py``, ``Source``)."""

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact

    def read(self, path: str) -> bytes:
        """The bytes of one file; UnknownEntry if there is none."""
        entry = self._artifact._find(path)
        if entry is None or not entry.is_file:
            raise UnknownEntry(f"no file '{path}' in '{self._artifact.name}'")
        return self._artifact._read(entry)

    def paths(self, prefix: str) -> list[str]:
        """The paths of all files at or below *prefix*, in the order of the manifest."""
        return [entry.path for entry in self._artifact._entries(prefix.strip("/")) if entry.is_file]
