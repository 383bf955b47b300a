"""The ``.artifacts`` directory: finds it, makes it, opens what is in it. Wiring only.

A command holds one ``AvcDir``. ``writing`` is the lock that every writer shares from
its first question whether the store has an object until the draft or log entry that
names it is durable; ``collecting`` is the same lock, exclusive, for gc (protocol L2).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from artifactvc.errors import Corrupt, NewerFormat, NoRepository, ReadOnly, StorageError
from artifactvc.storage import shared
from artifactvc.storage.bindings import Bindings
from artifactvc.storage.checkpoints import RemoteLog
from artifactvc.storage.database import connect
from artifactvc.storage.drafts import Drafts
from artifactvc.storage.index import Index
from artifactvc.storage.log import Log
from artifactvc.storage.settings import check_features, check_repository, edit_toml, get_dotted, load_toml
from artifactvc.storage.store import Store
from artifactvc.util.files import locked, make_directories, sync_directory, write_atomic, write_new, writing

if TYPE_CHECKING:
    from artifactvc.storage.writer import StoreWriter

NAME: Final = ".artifacts"
FORMAT: Final = 1
#: Features that this version knows, by what needs them (format.md, "Feature flags").
KNOWN_FEATURES: Final[dict[str, frozenset[str]]] = {
    deed: frozenset({"store"})
    for deed in ("read", "write", "check", "delete")  # store: `store.path` is set
}
_DIRECTORIES: Final = ("log", "remotes", "drafts", "objects", "packs", "runs", "trash", "tmp", "locks")


def find(start: Path) -> Path:
    """The ``.artifacts`` directory in *start* or the nearest directory above it; NoRepository if there is none."""
    start = Path(os.path.abspath(start))
    for directory in (start, *start.parents):
        candidate = directory / NAME
        if (candidate / "config.toml").is_file():
            return candidate
    raise NoRepository(str(start))


def create(root: Path, project: str) -> bool:
    """Make the repository *root*; False if it is there already. A kill leaves it made or not made.

    ``config.toml`` is written last: a directory without it is no repository yet.
    """
    if sys.platform not in ("linux", "darwin"):
        raise StorageError("artifactvc runs on Linux and macOS", hint="on Windows use WSL")
    if (root / "config.toml").is_file():
        return False
    with writing(root):
        for name in _DIRECTORIES:
            make_directories(root / name)
        if not (root / ".gitignore").exists():
            write_atomic(root / ".gitignore", b"*\n")
        _check_links(root / "tmp")
        body = (
            f'project = "{_escaped(project)}"\n\n'
            f'[repository]\nid = "{secrets.token_hex(16)}"\nformat = {FORMAT}\n\n'
            "[features]\nread = []\nwrite = []\ncheck = []\ndelete = []\n"
        )
        staged = root / "tmp" / f"config-{secrets.token_hex(8)}"
        write_new(staged, body.encode())
        try:
            os.link(staged, root / "config.toml")
        except FileExistsError:
            return False
        except OSError:
            os.replace(staged, root / "config.toml")
            return True
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(staged)
        sync_directory(root)
    return True


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _check_links(tmp: Path) -> None:
    """Refuse a file system on which a log entry could not be created once (protocol L1)."""
    from artifactvc.util.files import create_once

    probe = tmp / f"probe-{secrets.token_hex(8)}"
    try:
        if not create_once(probe, b"1", via=tmp) or create_once(probe, b"2", via=tmp):
            raise StorageError(f"'{tmp.parent}' is on a file system that cannot create a file only once")
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(probe)


class AvcDir:
    """One repository: *root* is ``.artifacts``, *workspace* the directory around it."""

    def __init__(self, root: Path) -> None:
        self.root, self.workspace = root, root.parent
        self.tmp = root / "tmp"
        self.config: dict[str, Any] = load_toml(root / "config.toml")
        self._check_format()
        self._connection: sqlite3.Connection | None = None
        self._places: sqlite3.Connection | None = None

    def _check_format(self) -> None:
        """Refuse a newer format, then what is not of the shape that everything else relies on."""
        path, repository = self.root / "config.toml", self.config.get("repository", {})
        if not isinstance(repository, dict) or not isinstance(repository.get("format"), int):
            raise Corrupt(f"'{path}' does not say the repository's format", hint="mend it by hand")
        if repository.get("format") != FORMAT:
            raise NewerFormat(f"the repository '{self.root}'", f"format {repository.get('format')}")
        check_features(self.config, path)
        unknown = sorted(set(self.config.get("features", {}).get("read", [])) - KNOWN_FEATURES["read"])
        if unknown:
            raise NewerFormat(f"the repository '{self.root}'", f"feature '{unknown[0]}'")
        check_repository(self.config, path)

    def require_feature(self, deed: str) -> None:
        """Refuse to *deed* (write, check, delete) where a flag asks for what this version does not know."""
        needed = self.config.get("features", {}).get(deed, [])
        unknown = sorted(set(map(str, needed)) - KNOWN_FEATURES[deed])
        if unknown:
            raise NewerFormat(f"the repository '{self.root}'", f"feature '{unknown[0]}' to {deed}")

    @property
    def id(self) -> str:
        """The repository's random id, 32 hex digits."""
        return str(self.config["repository"]["id"])

    def connect(self) -> sqlite3.Connection:
        """This command's connection to the index, opened when first asked for."""
        if self._connection is None:
            self._connection = connect(self.root / "index.sqlite")
        return self._connection

    @cached_property
    def log(self) -> Log:
        """What was done here."""
        return Log(self.root / "log", self.tmp, "the local log")

    @cached_property
    def index(self) -> Index:
        """What the logs say; not yet caught up."""
        origin = self.origin
        remote_id = str(self.remotes[origin]["id"]) if origin else ""
        return Index(self.connect(), self.log, self.remote_log(remote_id) if origin else None, remote_id)

    @cached_property
    def store(self) -> Store:
        """The objects."""
        if self.store_root == self.root:
            return Store(self.root, self.connect)
        shared.require(self.store_root)
        return Store(self.store_root, self._connect_places)

    @property
    def store_root(self) -> Path:
        """Where the objects are: here, or in the store that several repositories share (setting ``store.path``)."""
        path = get_dotted(self.config, "store.path")
        return Path(path) if path else self.root

    @property
    def staging(self) -> Path:
        """Where files are written that will become objects: on the store's own file system."""
        return self.store_root / "tmp"

    def _connect_places(self) -> sqlite3.Connection:
        if self._places is None:
            self._places = shared.open_places(self.store_root)
        return self._places

    def reload(self) -> None:
        """Read the settings again, and open the store anew, wherever it is now."""
        self.close()
        self.__dict__.pop("store", None)
        self.__dict__.pop("index", None)
        self.config = load_toml(self.root / "config.toml")

    def writer(self) -> StoreWriter:
        """A writer of objects; the caller holds the store's lock, shared (protocol L2)."""
        from artifactvc.storage.writer import StoreWriter

        return StoreWriter(self.store)

    @cached_property
    def drafts(self) -> Drafts:
        """What is being prepared."""
        return Drafts(self.root / "drafts")

    @cached_property
    def bindings(self) -> Bindings:
        """``artifacts.toml``."""
        return Bindings(self.workspace, self.root / "locks" / "bindings")

    # ---- remotes ---------------------------------------------------------------------------

    @property
    def remotes(self) -> Mapping[str, dict[str, Any]]:
        """The configured remotes by name, in the order in which they were added."""
        remotes: dict[str, dict[str, Any]] = self.config.get("remotes", {})
        return remotes

    @property
    def origin(self) -> str | None:
        """Name of the remote that gives numbers: the one marked, else the first (protocol N2)."""
        marked = [name for name, table in self.remotes.items() if table.get("origin")]
        return next(iter(marked or self.remotes), None)

    def remote_directory(self, remote_id: str) -> Path:
        """Where what is remembered of a remote is kept: under its id, never its name (protocol R3)."""
        return self.root / "remotes" / remote_id

    def remote_log(self, remote_id: str) -> RemoteLog:
        """The remote's entries as they were read."""
        return RemoteLog(self.remote_directory(remote_id) / "log", self.tmp, "the remote's log")

    def edit_config(self, change: Any) -> None:
        """Change ``config.toml`` under its lock, whole and durably."""
        with locked(self.root / "locks" / "config", exclusive=True):
            edit_toml(self.root / "config.toml", change, via=self.tmp)
            self.config = load_toml(self.root / "config.toml")
        self.__dict__.pop("index", None)

    # ---- locks -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the store's lock, shared with other writers."""
        self.require_feature("write")
        with writing(self.store_root), self._locked(exclusive=False):
            yield

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Hold the store's lock as writers do, so that nothing leaves the store between a look and its use.

        Not for as long as somebody else takes to read what we give out, and not needed to be right: who
        misses an object brings it. A repository that can only be read is read without.
        """
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(ReadOnly):
                stack.enter_context(locked(self.store_root / "store.lock", exclusive=False))
            yield

    @contextlib.contextmanager
    def collecting(self) -> Iterator[None]:
        """Hold the store's lock alone: no writer is between a question and its answer."""
        self.require_feature("delete")
        with writing(self.store_root), self._locked(exclusive=True):
            yield

    @contextlib.contextmanager
    def _locked(self, *, exclusive: bool) -> Iterator[None]:
        store = self.store_root
        if store != self.root:
            shared.require(store)
        with locked(store / "store.lock", exclusive=exclusive):
            if (get_dotted(load_toml(self.root / "config.toml"), "store.path") or "") != (
                get_dotted(self.config, "store.path") or ""
            ):
                raise StorageError("the store was moved meanwhile", hint="run the command again")
            if store != self.root:
                shared.enlist(store, Path(os.path.abspath(self.root)), self.id)
            yield

    def close(self) -> None:
        """Close the index, and the packs that are open."""
        if "store" in self.__dict__:
            self.store.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._places is not None:
            self._places.close()
            self._places = None
