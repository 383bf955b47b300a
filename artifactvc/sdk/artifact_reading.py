"""What is in an artifact, read: entries looked up, tables, downloads. Of drafts and versions alike where it can be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from artifactvc.core.model import EMPTY_ROOT, Entry, Root
from artifactvc.errors import ArtifactNotLoggedError, BadValue, UnknownEntry
from artifactvc.ops import download as downloads
from artifactvc.ops.download import Wanted
from artifactvc.sdk.artifact_base import ArtifactBase
from artifactvc.sdk.entry_path import PathLike, entry_path
from artifactvc.sdk.environment import variable
from artifactvc.sdk.manifest import ArtifactManifest, ArtifactManifestEntry, Reader

if TYPE_CHECKING:
    from artifactvc.core.results import EntrySource
    from artifactvc.sdk.files import ArtifactFiles
    from artifactvc.sdk.tables import Value


class ArtifactReading(ArtifactBase):
    """The content of ``Artifact`` to be read; mixed into it."""

    def is_draft(self) -> bool:
        """Whether it is being prepared: nothing has been logged yet."""
        return self._prepared is not None

    # ---- looking up ----------------------------------------------------------------------------------

    def get_entry(self, name: PathLike) -> ArtifactManifestEntry:
        """The entry at *name*, also of a table without its ending; KeyError if there is none."""
        if self.is_draft():
            raise ArtifactNotLoggedError("Artifact.get_entry", self)
        path = entry_path(name)
        found = self._find_object(path)
        if found is None:
            with self._session() as session:
                version = self._version(session)
                shown = f"{version.full_name}:{version.shown}"
                downloads.entry_at(session, version.version["digest"], path, shown)  # says what is near
            raise UnknownEntry(f"no entry '{path}' in '{shown}'")
        return ArtifactManifestEntry(self._itself(), found)

    get_path = get_entry

    def get(self, name: str) -> Value | None:
        """The table stored under *name*, or None where there is none, or a plain file."""
        from artifactvc.sdk.tables import decode_value, value_suffixes

        found = self._find_object(entry_path(name))
        if found is None or not found.path.endswith(value_suffixes()):
            return None
        reader = Reader(self._itself())
        return decode_value(found.path, reader.read(found.path), reader)

    __getitem__ = get

    def get_added_local_path_name(self, local_path: PathLike) -> str | None:
        """The path of the entry that a local file was last added as, or None."""
        if self._prepared is None:
            return None
        return self._prepared.sources.get(os.path.abspath(local_path))

    def _find_object(self, path: str) -> Entry | None:
        from artifactvc.sdk.tables import value_suffixes

        for candidate in (path, *(path + suffix for suffix in value_suffixes())):
            found = self._find(candidate)
            if found is not None:
                return found
        return None

    @property
    def manifest(self) -> ArtifactManifest:
        """The entries."""
        return ArtifactManifest(self._itself())

    @property
    def sources(self) -> dict[str, EntrySource]:
        """Where its imported files came from, by path: address, identity and version at that time."""
        from artifactvc.ops.query import sources_of

        if self._is_blank():
            return {}
        with self._session() as session:
            if self._prepared is not None:
                draft = self._prepared.flush(session)
                return sources_of(session, draft.sources, draft.root)
            row = self._version(session).version
            return sources_of(session, row["sources"], row["digest"])

    @property
    def digest(self) -> str:
        """Digest of the manifest: equal content has equal digests, by whatever road it came."""
        return self._root().digest

    @property
    def size(self) -> int:
        """Sum of the sizes of all entries in bytes, references too."""
        return self._root().size

    # ---- reading the manifest, draft or version -------------------------------------------------------------

    def _is_blank(self) -> bool:
        """A draft that nothing was added to: asking it makes no repository."""
        return self._prepared is not None and self._where is None

    def _root(self) -> Root:
        if self._is_blank():
            return EMPTY_ROOT
        with self._session() as session:
            if self._prepared is not None:
                return self._prepared.root(session)
            row = self._version(session).version
            return Root(row["digest"], row["count"], row["size"])

    def _find(self, path: str) -> Entry | None:
        from artifactvc.core.manifest import find
        from artifactvc.core.model import EMPTY
        from artifactvc.ops.trusted import trusted

        if self._is_blank():
            return None
        with self._session() as session:
            if self._prepared is not None:
                return self._prepared.find(session, path)
            digest = trusted(session, self._version(session).version["digest"], (path,))
            return find(digest, path, session.node) if digest != EMPTY else None

    def _entries(self, prefix: str = "") -> list[Entry]:
        from artifactvc.core.manifest import walk
        from artifactvc.core.model import EMPTY
        from artifactvc.ops.trusted import trusted

        if self._is_blank():
            return []
        with self._session() as session:
            if self._prepared is not None:
                return list(self._prepared.entries(session, prefix))
            digest = trusted(session, self._version(session).version["digest"], (prefix,) if prefix else None)
            return list(walk(digest, session.node, prefix)) if digest != EMPTY else []

    def _read(self, entry: Entry) -> bytes:
        from artifactvc.ops.transfer import require_objects

        with self._session() as session:
            if self._prepared is not None:
                self._prepared.flush(session)
            digest = str(entry.digest)
            if not session.avc.store.has([digest]):
                require_objects(session, [digest], f"'{entry.path}'")
            return b"".join(session.avc.store.chunks(digest))

    # ---- downloading ------------------------------------------------------------------------------------------

    def download(
        self,
        root: PathLike | None = None,
        allow_missing_references: bool = False,
        skip_cache: bool | None = None,
        path_prefix: str | None = None,
        multipart: bool | None = None,
    ) -> str:
        """Write the files below *root*, by default ``./artifacts/name:vN``, and return its absolute path.

        With *path_prefix* only entries whose paths begin with it, whatever follows:
        ``"bike.png"`` takes ``bike.png2`` too, ``"images/"`` a directory. Files that are
        right stay untouched, damaged ones of this version are put right, others are left
        alone; a file of another version in the way is an error that suggests *root*.

        What references lead to is fetched in the version that was recorded, before any file is
        replaced; ReferenceChanged or ReferenceMissing names a file of which that cannot be had,
        unless *allow_missing_references* leaves it out. *skip_cache* makes no difference.
        """
        if self.is_draft():
            raise ArtifactNotLoggedError("Artifact.download", self)
        return self._download(root, Wanted(path_prefix or "", allow_missing=allow_missing_references))

    def _download(self, root: PathLike | None, wanted: Wanted | None = None) -> str:
        with self._session() as session:
            found = self._version(session)
            target = Path(root) if root is not None else downloads.default_root(found, _base())
            downloads.download(session, found, target, wanted or Wanted())
        return os.path.abspath(target)

    def checkout(self, root: PathLike | None = None) -> str:
        """Make *root* (``./artifacts/name``) hold exactly the files of this version: **others in it are removed**."""
        if self.is_draft():
            raise ArtifactNotLoggedError("Artifact.checkout", self)
        with self._session() as session:
            found = self._version(session)
            target = Path(root) if root is not None else _base() / found.artifact["name"]
            downloads.remove_others(session, found, target)
            downloads.replace_with(session, found, target)
        return os.path.abspath(target)

    def verify(self, root: PathLike | None = None) -> None:
        """Hold a download against the version, every byte of it, and references against what they lead to now.

        Raises ValueError for a file too much or changed, FileNotFoundError for one that is missing.
        """
        if self.is_draft():
            raise ArtifactNotLoggedError("Artifact.verify", self)
        with self._session() as session:
            found = self._version(session)
            target = Path(root) if root is not None else downloads.default_root(found, _base())
            downloads.verify(session, found, target)

    def file(self, root: PathLike | None = None) -> str:
        """Download the one file of a version that has one, and return its path; ValueError if it has more, or none."""
        if self.is_draft():
            raise ArtifactNotLoggedError("Artifact.file", self)
        entries = self._entries()
        if len(entries) != 1:
            raise BadValue(f"this artifact has {len(entries)} files, not one: use download() or get_entry()")
        return os.path.join(self._download(root), entries[0].path)

    def files(self, names: list[str] | None = None, per_page: int = 50, start: str | None = None) -> ArtifactFiles:
        """The files of a version, or those called *names*: a lazy sequence."""
        from artifactvc.sdk.files import ArtifactFiles

        if self.is_draft():
            raise ArtifactNotLoggedError("Artifact.files", self)
        return ArtifactFiles(self._itself(), names, start)


def _base() -> Path:
    return Path(os.path.abspath(variable(os.environ, "ARTIFACT_DIR") or "artifacts"))
