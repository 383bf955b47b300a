"""What is in an artifact: files put in, taken out, looked up and downloaded.

A draft's bytes go into the store as they are added; of a version only reading is possible.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath, PureWindowsPath
from typing import IO, TYPE_CHECKING, Any, Final

from artifactvc.core.model import Entry, Root
from artifactvc.core.nodes import check_path
from artifactvc.errors import (
    ArtifactFinalizedError,
    ArtifactNotLoggedError,
    BadName,
    BadValue,
    HostilePath,
    UnknownEntry,
    UnsupportedError,
    WrongType,
)
from artifactvc.ops import download as downloads
from artifactvc.ops.download import Wanted
from artifactvc.ops.prepare import Prepared
from artifactvc.sdk.artifact_base import ArtifactBase
from artifactvc.sdk.environment import variable
from artifactvc.sdk.manifest import ArtifactManifest, ArtifactManifestEntry, Reader

if TYPE_CHECKING:
    from artifactvc.sdk.files import ArtifactFiles
    from artifactvc.sdk.tables import Value

_POLICIES: Final = ("mutable", "immutable", None)
PathLike = str | os.PathLike[str]


def entry_path(name: PathLike) -> str:
    """The path inside an artifact that *name* means: ``./x//y`` is ``x/y``. ValueError for one that is none."""
    text = name.as_posix() if isinstance(name, PurePath) else os.fspath(name)
    bad = BadName(f"invalid artifact path '{text}'", hint="use a relative path without '..'")
    windows = isinstance(name, PureWindowsPath) or text.startswith("\\") or (len(text) > 1 and text[1] == ":")
    if not text or text.startswith("/") or (windows and (PureWindowsPath(text).drive or text.startswith("\\"))):
        raise bad
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        raise bad
    try:
        return check_path("/".join(parts))
    except HostilePath as error:
        raise BadName(f"invalid artifact path '{text}': {error.message}", hint="use another name") from error


class ArtifactContent(ArtifactBase):
    """The content of ``Artifact``; mixed into it."""

    def is_draft(self) -> bool:
        """Whether it is being prepared: nothing has been logged yet."""
        return self._prepared is not None

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
        return ArtifactManifestEntry(_whole(self), entry, source)

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
            prepared.add_directory(session, source, prefix, overwrite=merge)

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
                return ArtifactManifestEntry(_whole(self), there)
            entry = prepared.add_bytes(session, obj.encode(Reader(_whole(self))), path, overwrite=True)
        return ArtifactManifestEntry(_whole(self), entry)

    def __setitem__(self, name: str, obj: Value) -> None:
        self.add(obj, name)

    def add_reference(
        self,
        uri: object,
        name: PathLike | None = None,
        checksum: bool = True,
        max_objects: int | None = None,
    ) -> Sequence[ArtifactManifestEntry]:
        """References come in a later version; an entry of another version is added by its bytes, which are shared."""
        prepared = self._open("add_reference")
        if isinstance(uri, ArtifactManifestEntry):
            entry = uri._entry.moved(entry_path(name) if name is not None else uri.path)
            with self._session(create=True) as session:
                prepared.set(session, entry)
            return [ArtifactManifestEntry(_whole(self), entry)]
        if not isinstance(uri, (str, os.PathLike)) or "://" not in os.fspath(uri):
            raise BadValue(f"'{uri}' has no scheme: a reference is a URI; for a path write 'file://' before it")
        raise UnsupportedError("references are not in this version", hint="add the file itself, with add_file")

    # ---- removing and looking up -------------------------------------------------------------------------

    def remove(self, item: PathLike | ArtifactManifestEntry) -> None:
        """Take out an entry, or all below a directory; FileNotFoundError if there is neither."""
        prepared = self._open("remove")
        path = item.path if isinstance(item, ArtifactManifestEntry) else entry_path(item)
        with self._session() as session:
            prepared.remove(session, path)

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
        return ArtifactManifestEntry(_whole(self), found)

    get_path = get_entry

    def get(self, name: str) -> Value | None:
        """The table stored under *name*, or None where there is none, or a plain file."""
        from artifactvc.sdk.tables import decode_value, value_suffixes

        found = self._find_object(entry_path(name))
        if found is None or not found.path.endswith(value_suffixes()):
            return None
        reader = Reader(_whole(self))
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
        return ArtifactManifest(_whole(self))

    @property
    def digest(self) -> str:
        """Digest of the manifest: equal content has equal digests, by whatever road it came."""
        return self._root().digest

    @property
    def size(self) -> int:
        """Sum of the sizes of all entries in bytes, references too."""
        return self._root().size

    # ---- reading the manifest, draft or version -------------------------------------------------------------

    def _root(self) -> Root:
        with self._session(create=True) as session:
            if self._prepared is not None:
                return self._prepared.root(session)
            row = self._version(session).version
            return Root(row["digest"], row["count"], row["size"])

    def _find(self, path: str) -> Entry | None:
        from artifactvc.core.manifest import find
        from artifactvc.core.model import EMPTY
        from artifactvc.ops.trusted import trusted

        with self._session(create=True) as session:
            if self._prepared is not None:
                return self._prepared.find(session, path)
            digest = trusted(session, self._version(session).version["digest"])
            return find(digest, path, session.node) if digest != EMPTY else None

    def _entries(self, prefix: str = "") -> list[Entry]:
        from artifactvc.core.manifest import walk
        from artifactvc.core.model import EMPTY
        from artifactvc.ops.trusted import trusted

        with self._session(create=True) as session:
            if self._prepared is not None:
                return list(self._prepared.entries(session, prefix))
            digest = trusted(session, self._version(session).version["digest"])
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
        """
        if self.is_draft():
            raise ArtifactNotLoggedError("Artifact.download", self)
        return self._download(root, begins=path_prefix or "")

    def _download(self, root: PathLike | None, *, begins: str = "", path: str | None = None) -> str:
        with self._session() as session:
            found = self._version(session)
            target = Path(root) if root is not None else downloads.default_root(found, _base())
            downloads.download(session, found, target, Wanted(begins, path))
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
        """Hold a download against the version, every byte of it.

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
        return ArtifactFiles(_whole(self), names, start)


def _whole(part: ArtifactContent) -> Any:
    return part


def _base() -> Path:
    return Path(os.path.abspath(variable(os.environ, "ARTIFACT_DIR") or "artifacts"))


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
