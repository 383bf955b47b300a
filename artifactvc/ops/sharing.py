"""One store for several repositories: who needs what, moving in and out, taking one off the list.

What gc and ``cache cleanup`` decide they decide for all repositories that the store lists
(protocol L4): one that cannot be read stops them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from artifactvc.core.model import Digest
from artifactvc.core.results_cache import CacheForgotten
from artifactvc.errors import AvcError, StorageError, UsageError
from artifactvc.ops.roots import needed
from artifactvc.ops.session import Session
from artifactvc.storage import shared
from artifactvc.storage.avcdir import KNOWN_FEATURES, AvcDir
from artifactvc.storage.loose import digest_of_link
from artifactvc.storage.settings import SETTINGS, get_dotted
from artifactvc.storage.sweep import settle
from artifactvc.util.files import locked
from artifactvc.util.text import parse_duration

#: Flag of a repository whose objects are in a shared store (format.md, "Feature flags").
FEATURE: Final = "store"


@contextlib.contextmanager
def members(session: Session) -> Iterator[list[Session]]:
    """The sessions of all repositories that use this one's store, this one first; the others are closed after.

    The caller holds the store's lock alone, so none joins. One that uses another store by now is taken off
    the list. StorageError if one cannot be read.
    """
    avc = session.avc
    found = [session]
    with contextlib.ExitStack() as stack:
        for listed in shared.listing(avc.store_root) if avc.store_root != avc.root else ():
            if listed.root == Path(os.path.abspath(avc.root)):
                continue
            other = _open(session, listed)
            stack.callback(other.close)
            if other.avc.store_root == avc.store_root:
                found.append(other)
            else:
                shared.strike(listed)
        yield found


def _open(session: Session, listed: shared.Listed) -> Session:
    try:
        avc = AvcDir(listed.root)
        if avc.id != listed.id:
            raise StorageError("another repository stands there")
        return Session(avc, session.who, "", session.entity)
    except (AvcError, OSError) as error:
        why = error.message if isinstance(error, AvcError) else (error.strerror or "").lower()
        raise StorageError(
            f"'{listed.root}', which uses the store '{session.avc.store_root}', cannot be read: {why}",
            hint=f"mount or restore it; if it is gone for good, run 'avc cache forget {listed.root}':"
            " what only it needs is collected then",
        ) from error


def needed_by_all(session: Session, others: list[Session], grace: timedelta) -> set[bytes]:
    """What this repository needs by *grace*, and each of the others by its own if that is longer."""
    keep = needed(session, grace)
    for other in others:
        own = get_dotted(other.avc.config, "gc.grace") or SETTINGS["gc.grace"][0]
        try:
            keep |= needed(other, max(grace, parse_duration(own)))
        except (AvcError, OSError) as error:
            raise StorageError(
                f"it cannot be told what '{other.avc.root}' needs, which uses the same store: {error}",
                hint=f"run 'avc -C {other.avc.workspace} fsck --repair', then try again",
            ) from error
    return keep


def forget(session: Session, path: str) -> CacheForgotten:
    """Take the repository at *path* off the list of those that use the store."""
    store = session.avc.store_root
    if store == session.avc.root:
        raise UsageError("this repository shares its store with no other", hint="see 'avc config get store.path'")
    given = Path(os.path.abspath(path))
    listed = next((one for one in shared.listing(store) if given in (one.root, one.root.parent)), None)
    if listed is None:
        raise UsageError(f"'{given}' does not use the store '{store}'", hint="run 'avc cache info' to see which do")
    if _uses(listed, store):
        raise UsageError(
            f"'{listed.root}' is there and uses the store '{store}'",
            hint=f"run 'avc -C {listed.root.parent} config set store.path \"\"' to give it a store of its own",
        )
    with session.avc.collecting():
        shared.strike(listed)
    return CacheForgotten(os.fspath(listed.root))


def _uses(listed: shared.Listed, store: Path) -> bool:
    """Whether the repository is where it was listed, and uses the store still."""
    try:
        avc = AvcDir(listed.root)
    except (AvcError, OSError):
        return False
    return avc.id == listed.id and avc.store_root == store


def symlinked(session: Session) -> set[Digest]:
    """Objects that files of bound paths are symbolic links to (``checkout --link symlink``)."""
    objects, found = session.avc.store.objects_dir, set[Digest]()
    bound = session.avc.bindings.artifacts.values()
    queue = [os.fspath(session.avc.workspace / binding.path) for artifact in bound for binding in artifact.paths]
    while queue:
        place = queue.pop()
        try:
            if os.path.islink(place):
                digest = digest_of_link(objects, os.readlink(place))
                found |= {digest} if digest else set()
                continue
            with os.scandir(place) as entries:
                queue += [e.path for e in entries if e.is_symlink() or e.is_dir(follow_symlinks=False)]
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
    return found


def move(session: Session, path: str) -> str:
    """Let the repository's objects be in the store *path*, or in its own where that is empty.

    They are brought there first, by hard link or copy; then the settings name the store, which is the one
    step that counts; then what was left behind in a store of our own goes. Killed before that step, all is as
    it was, and the new store holds what a gc of it removes; killed after it, the next gc here ends the work.
    """
    avc, path = session.avc, SETTINGS["store.path"][1](path)
    target, source = Path(path) if path else avc.root, avc.store_root
    if target == source:
        return path
    if path:
        _check_place(avc, target)
        shared.create(target)
    if symlinked(session):
        raise UsageError(
            f"files of the workspace are symbolic links into '{source}', which would break",
            hint="check them out again without --link symlink, then set store.path",
        )
    with avc.collecting(), _beside(target):
        session.caught_up = False
        wanted = _wanted(session)
        if path:
            shared.enlist(target, Path(os.path.abspath(avc.root)), avc.id)
        shared.bring(source, target, wanted)
        avc.edit_config(lambda document: _name_store(document, path))
        if source == avc.root:
            shared.drain(source, target)
    avc.reload()
    session.caught_up = False
    with avc.writing():
        avc.store.rescan()
    return path


def _wanted(session: Session) -> Callable[[str], bool]:
    """Which files of the store hold something that this repository needs; what of it is in the trash is moved back."""
    store = session.avc.store
    store.rescan()
    keep = needed(session, parse_duration(get_dotted(session.avc.config, "gc.grace") or SETTINGS["gc.grace"][0]))
    settle(store, lambda digest: bytes.fromhex(digest) in keep, 0.0)
    packs = {
        name
        for serial, name in store.packs.names().items()
        if any(bytes.fromhex(row.digest) in keep for row in store.places.pack_rows(serial))
    }
    return lambda name: name in packs or (len(name) == 64 and bytes.fromhex(name) in keep)


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[None]:
    """Hold the other store's lock with its writers; never wait for it, since its holder may wait for ours."""
    try:
        with locked(target / "store.lock", exclusive=False, wait=False):
            yield
    except BlockingIOError as error:
        raise StorageError(f"somebody collects in '{target}'", hint="run the command again in a while") from error


def _check_place(avc: AvcDir, target: Path) -> None:
    if target == avc.workspace or avc.root in (target, *target.parents) or target in avc.root.parents:
        raise UsageError(f"'{target}' is, or holds, this repository", hint="name a directory of its own")
    for artifact in avc.bindings.artifacts.values():
        for binding in artifact.paths:
            bound = (avc.workspace / binding.path).resolve()
            if bound in (target, *target.parents):
                raise UsageError(
                    f"'{target}' is in '{binding.path}', which '{artifact.name}' is taken from",
                    hint="name a directory outside it",
                )


def _name_store(document: Any, path: str) -> None:
    if "store" not in document:
        document["store"] = {}
    document["store"]["path"] = path
    flags = document.setdefault("features", {})
    for deed in KNOWN_FEATURES:  # who does not know shared stores would find no object, and say that all are lost
        flags[deed] = [name for name in flags.get(deed, []) if name != FEATURE] + ([FEATURE] if path else [])


def left_behind(session: Session) -> None:
    """End a move that was killed: bring what is in a store of our own to the shared one, and remove it here."""
    avc = session.avc
    if avc.store_root != avc.root and next(shared.files(avc.root), None) is not None:
        shared.bring(avc.root, avc.store_root, lambda name: True)
        shared.drain(avc.root, avc.store_root)
