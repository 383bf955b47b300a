"""What is in an artifact: files put in, taken out, looked up and downloaded.

A draft's bytes go into the store as they are added; of a version only reading is possible.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, Final

from artifactvc.errors import ArtifactFinalizedError, BadValue, PathConflict, WrongType
from artifactvc.ops.prepare import Prepared
from artifactvc.sdk.artifact_reading import ArtifactReading
from artifactvc.sdk.entry_path import PathLike, entry_path
from artifactvc.sdk.manifest import ArtifactManifestEntry, Reader

if TYPE_CHECKING:
    from artifactvc.sdk.tables import Value

_POLICIES: Final = ("mutable", "immutable", None)


class ArtifactContent(ArtifactReading):
    """The content of ``Artifact``; mixed into it."""

    def _open(self, what: str) -> Prepared:
        """The draft's content, to be changed; ArtifactFinalizedError if it cannot be any more."""
        if self._prepared is None or self._finalized:
            raise ArtifactFinalizedError(f"Artifact.{what}", self)
        return self._prepared

    # ---- adding ------------------------------------------------------------------------------------

    def add_file(
        self,
        local_path: PathLike,
        name: PathLike | None = None,
        is_tmp: bool | None = False,
        skip_cache: bool | None = False,
        policy: str | None = "mutable",
        overwrite: bool = False,
    ) -> ArtifactManifestEntry:
        """Add one file, under its base name unless *name* says otherwise.

        Its bytes are stored now; the file may change or go afterwards. Adding the same
        path again is an error unless the content is the same or *overwrite* is given.
        *skip_cache* and *policy* are accepted for W&B's sake and make no difference.

        Raises ValueError if it is no file, or for a bad path or policy.
        """
        prepared = self._open("add_file")
        source = os.fspath(local_path)
        if not os.path.isfile(source):
            raise BadValue(f"Path is not a file: '{source}'")
        _check_policy(policy)
        path = entry_path(name if name is not None else os.path.basename(source))
        with self._session(create=True) as session:
            if is_tmp:
                path = _named_by_digest(source, path)
            entry = prepared.add_file(session, source, path, overwrite=overwrite)
        return ArtifactManifestEntry(self._itself(), entry, source)

    def add_dir(
        self,
        local_path: PathLike,
        name: PathLike | None = None,
        skip_cache: bool | None = False,
        policy: str | None = "mutable",
        merge: bool = False,
    ) -> None:
        """Add all files below a directory, at the root of the artifact or below *name*.

        Links are followed, a cycle of links ends where it closes; ``.avcignore`` in the
        directory is obeyed. With *merge*, files that are there with other content are replaced.
        """
        prepared = self._open("add_dir")
        source = os.fspath(local_path)
        if not os.path.isdir(source):
            raise BadValue(f"Path is not a directory: '{source}'")
        _check_policy(policy)
        prefix = entry_path(name) if name not in (None, "", ".", "./", "/") else ""
        with self._session(create=True) as session:
            try:
                prepared.add_directory(session, source, prefix, overwrite=merge)
            except PathConflict as error:
                error.hint = "remove it first, or give merge=True"
                raise

    @contextlib.contextmanager
    def new_file(
        self, name: PathLike, mode: str = "x", encoding: str | None = None, policy: str | None = "mutable"
    ) -> Iterator[IO[Any]]:
        """Open a new file to write; it is added when the block ends, and not if the block raises.

        *mode* "x" or "xb" refuses a name that is there, "w" or "wb" replaces it.
        """
        prepared = self._open("new_file")
        path = entry_path(name)
        if mode not in ("x", "w", "xb", "wb"):
            raise BadValue(f"bad mode '{mode}': a new file is written with 'x', 'w', 'xb' or 'wb'")
        _check_policy(policy)
        with self._session(create=True) as session:
            if mode.startswith("x") and prepared.find(session, path) is not None:
                raise BadValue(f"File with name '{path}' already exists")
            staging = session.avc.tmp
        directory = tempfile.mkdtemp(prefix="new-", dir=staging)
        try:
            staged = os.path.join(directory, "file")
            with open(staged, mode.replace("x", "w"), encoding=encoding) as file:
                yield file
            with self._session() as session:
                prepared.add_file(session, staged, path, overwrite=mode.startswith("w"))
                prepared.sources.pop(staged, None)
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def add(self, obj: Value, name: PathLike, overwrite: bool = False) -> ArtifactManifestEntry:
        """Add a table under *name* and the ending of its type; without *overwrite* a name that is there stays."""
        from artifactvc.sdk.tables import Value

        prepared = self._open("add")
        if not isinstance(obj, Value):
            raise WrongType(f"a '{type(obj).__name__}' cannot be added: give a Table, PartitionedTable or JoinedTable")
        path = entry_path(name)
        path = path if path.endswith(obj.suffix) else path + obj.suffix
        with self._session(create=True) as session:
            there = prepared.find(session, path)
            if there is not None and not overwrite:
                return ArtifactManifestEntry(self._itself(), there)
            entry = prepared.add_bytes(session, obj.encode(Reader(self._itself())), path, overwrite=True)
        return ArtifactManifestEntry(self._itself(), entry)

    def __setitem__(self, name: str, obj: Value) -> None:
        self.add(obj, name)

    def add_reference(
        self,
        uri: object,
        name: PathLike | None = None,
        checksum: bool = True,
        max_objects: int | None = None,
    ) -> Sequence[ArtifactManifestEntry]:
        """Refer to the object at *uri*, or to all below it: URI, size and version are kept, never bytes.

        *name* is the name of a single object, and a directory for many; without it an object
        has the last component of its address, and what is below a prefix its path there.
        Without *checksum* nothing is asked and the URI alone is kept. Past *max_objects*
        (10,000 where it is None or 0) it is a ValueError. An entry of another artifact is
        taken with its bytes, which are shared, and so is ``avc://name:v3/path``.
        Returns the entries. Raises ValueError for an address that is none or holds a secret,
        ReferenceMissing where nothing is.
        """
        prepared = self._open("add_reference")
        if isinstance(uri, ArtifactManifestEntry):
            entry = uri._entry.moved(entry_path(name) if name is not None else uri.path)
            with self._session(create=True) as session:
                prepared.take_over(session, entry)
            return [ArtifactManifestEntry(self._itself(), entry)]
        from artifactvc.ops import adopt
        from artifactvc.util.text import is_uri

        if not isinstance(uri, (str, os.PathLike)) or not is_uri(os.fspath(uri)):
            raise BadValue(f"'{uri}' has no scheme: a reference is a URI; for a path write 'file://' before it")
        path = entry_path(name) if name is not None else None
        with self._session(create=True) as session:
            wish = adopt.Wish(os.fspath(uri), path, checksum=checksum, max_objects=max_objects)
            found = adopt.into(session, prepared, wish)
        return [ArtifactManifestEntry(self._itself(), entry) for entry in found]

    def add_import(
        self, uri: str, name: PathLike | None = None, max_objects: int | None = None
    ) -> Sequence[ArtifactManifestEntry]:
        """Copy what *uri* leads to into the store: an object, or all below a directory, at most *max_objects* (10,000).

        The entries are those of files, and ``sources`` says where they came from. An object gets its
        own name unless *name* says otherwise; of a directory *name* is the place of what is in it.
        What was imported before and has not changed is not fetched again.

        W&B has nothing like it: there a reference stays one. Raises ReferenceMissing,
        ReferenceChanged, ValueError for what is no address, or for a path that has other content.
        """
        from artifactvc.core.references import MAX_OBJECTS
        from artifactvc.ops.importing import import_into

        prepared = self._open("add_import")
        path = entry_path(name) if name is not None else None
        with self._session(create=True) as session:
            most = MAX_OBJECTS if max_objects is None else max_objects
            found = import_into(session, prepared, uri, path, most)
        return [ArtifactManifestEntry(self._itself(), entry) for entry in found]

    # ---- removing -------------------------------------------------------------------------

    def remove(self, item: PathLike | ArtifactManifestEntry) -> None:
        """Take out an entry, or all below a directory; FileNotFoundError if there is neither."""
        prepared = self._open("remove")
        path = item.path if isinstance(item, ArtifactManifestEntry) else entry_path(item)
        with self._session() as session:
            prepared.remove(session, path)


def _check_policy(policy: str | None) -> None:
    if policy not in _POLICIES:
        raise BadValue(f"bad policy '{policy}': it is 'mutable' or 'immutable'")


def _named_by_digest(source: str, path: str) -> str:
    """Where a temporary file goes: its stem is the beginning of its digest, as W&B does it."""
    from artifactvc.storage.loose import hash_file

    fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        digest, _ = hash_file(fd)
    finally:
        os.close(fd)
    directory, _, name = path.rpartition("/")
    ending = name.partition(".")[2]
    return "/".join(part for part in (directory, digest[:20] + (f".{ending}" if ending else "")) if part)
