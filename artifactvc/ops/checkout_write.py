"""A planned checkout, carried out: files removed, written, linked, and remembered in the stat cache.

Everything that is to be written is in the store by now, and nothing of the plan is doubtful.
"""

from __future__ import annotations

import contextlib
import os
import stat as stat_module
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from artifactvc.core.model import Digest, Entry
from artifactvc.errors import HostilePath, ReadOnly, WouldOverwrite
from artifactvc.ops import look
from artifactvc.ops.checkout_plan import CheckoutOptions, Plan, known_files
from artifactvc.ops.session import Session
from artifactvc.storage.loose import digest_of_link
from artifactvc.storage.place import Placer
from artifactvc.storage.statcache import WIDTH, StatCache
from artifactvc.storage.undone import Journal
from artifactvc.storage.unpack import File, confirm, locate, write_own, write_packed
from artifactvc.storage.workspace import file_key, file_stat
from artifactvc.util.files import make_directories, writing
from artifactvc.util.text import escape


@dataclass
class Written:
    """What was done."""

    files: int = 0
    bytes: int = 0
    linked: int = 0
    copied_instead: int = 0
    stats: dict[str, Sequence[int]] = field(default_factory=dict)  # by path below the root


def carry_out(session: Session, plan: Plan, digest: Digest, options: CheckoutOptions) -> Written:
    """Do what is planned in one place; *digest* is the manifest of the version."""
    place, done = plan.place, Written()
    if not (plan.write or plan.chmod or plan.remove):
        if not place.root.is_dir() and not plan.target:
            make_directories(place.root)
        return done
    with writing(place.root):
        if place.root.exists() and not place.root.is_dir():
            raise WouldOverwrite(
                f"'{escape(os.fspath(place.root))}' is a file, and a directory is to be written",
                hint="name another place",
            )
        make_directories(place.root)
        _check_names(plan, place.root)
        new = {path for path, _, replaced in plan.write if not replaced}
        journal = Journal(session.avc.tmp, place.root)
        placer = Placer(place.root, journal.token)
        try:
            with contextlib.suppress(ReadOnly):  # of a repository that can only be read; the destination can be written
                journal.begin(
                    digest, place.prefix, plan.target.keys() - new,
                    {path.rpartition("/")[0] for path, _, replaced in plan.write if replaced},
                )  # fmt: skip
            for path in plan.remove:
                placer.remove(path)
            for path in plan.clear:
                placer.clear(path)
            for path, entry in plan.chmod:
                placer.chmod(path, executable=entry.kind == "x")
                done.files += 1
            _write(session, plan, placer, done, options)
        finally:
            placer.close()
            journal.end()
    return done


def _write(session: Session, plan: Plan, placer: Placer, done: Written, options: CheckoutOptions) -> None:
    store = session.avc.store
    files = [
        File(path, entry.digest, entry.size or 0, entry.kind == "x", replaced)
        for path, entry, replaced in plan.write
        if entry.digest is not None
    ]
    session.progress.start("Writing", total=len(plan.write), unit="files")
    located = locate(store, files)
    recorded = plan.place.binding is not None
    with contextlib.closing(write_packed(store, placer, located, session.progress.advance, stats=recorded)) as lots:
        for paths, stats in lots:
            for position, path in enumerate(paths):
                done.stats[path] = stats[position * WIDTH : (position + 1) * WIDTH]
    for file in located.own:
        # The store's copy of what a reference leads to is a cache, so a link to it would break one day.
        by_link = options.link != "symlink" or file.path not in plan.references
        how = write_own(store, placer, file, options.link if by_link else None)
        done.linked += how == "linked"
        if options.link == "symlink" and how == "linked":
            continue  # it counts as the object's own file, whose stat ``_linked`` tells
        stat = placer.lstat(file.path)
        if stat is not None:
            done.stats[file.path] = array("q", file_stat(stat))
    if options.link:
        done.copied_instead = len(files) - done.linked
    for path, entry, replaced in plan.write:
        if entry.kind == "l":
            placer.symlink(path, entry.target or "", replace=replaced)
            stat = placer.lstat(path)
            if stat is not None:
                done.stats[path] = array("q", file_stat(stat))
    late = list(done.stats)
    if len(late) < 1500:  # with more, the children that wrote them have looked already
        for path in late:
            stats = array("q", done.stats[path])
            confirm(placer, [path], stats)
            done.stats[path] = stats
    session.progress.finish()
    done.files += len(plan.write)
    done.bytes += sum(entry.size or 0 for _, entry, _ in plan.write if entry.is_file)


def _check_names(plan: Plan, root: Path) -> None:
    """Refuse names that this file system cannot tell apart (protocol H1)."""
    import unicodedata

    folded: dict[str, str] = {}
    for path, _, _ in plan.write:
        plain = path.lower() if path.isascii() else unicodedata.normalize("NFC", path).casefold()
        other = folded.setdefault(plain, path)
        if other != path and _folds(root):
            raise HostilePath(
                f"'{escape(other)}' and '{escape(path)}' are one name to the file system of '{root}'",
                hint="check out to a file system that tells them apart, or only one of them with --path",
            )


def _folds(root: Path) -> bool:
    """Whether the file system takes two cases of a name for one."""
    import secrets

    probe = root / f".avc-{secrets.token_hex(8)}-case"
    probe.touch(exist_ok=False)
    try:
        return (root / probe.name.upper()).exists()
    finally:
        probe.unlink()


# ---- what is remembered ---------------------------------------------------------------------------


def remember(
    session: Session, key: tuple[str, str], plan: Plan, done: Written, digest: Digest, options: CheckoutOptions
) -> None:
    """Record the files in the stat cache, so that the next command need not read them."""
    binding = plan.place.binding
    if binding is None:
        return
    cache, connection = StatCache(session.avc.connect), session.avc.connect()
    if options.prefixes:
        cache.save(lambda connection: look.invalidate(connection, [binding.path]))
        return
    known = known_files(session, key, plan.place)
    placer = Placer(plan.place.root, "")
    by_directory: dict[str, list[tuple[str, Sequence[int], Digest]]] = {}
    try:
        for path, entry in plan.target.items():
            stats = done.stats.get(path) or _linked(session, placer, path, entry) or _still(placer, path, known)
            recorded = entry.digest or _target_digest(entry)
            directory, _, name = path.rpartition("/")
            by_directory.setdefault(directory, []).append((name, stats, recorded))
    finally:
        placer.close()
    start = "" if binding.path == "." else binding.path
    stale = set() if plan.place.single else set(cache.load(start))
    for directory, rows in by_directory.items():
        row_key = file_key(binding.path) if plan.place.single else "/".join(p for p in (start, directory) if p)
        stale.discard(row_key)
        rows.sort()
        stats = array("q", [number for _, numbers, _ in rows for number in numbers])
        digests = b"".join(bytes.fromhex(d) if numbers[0] >= 0 else bytes(32) for _, numbers, d in rows)
        cache.record_all(row_key, [name for name, _, _ in rows], stats, digests)
    for row_key in stale:
        cache.forget(row_key)
    generation = session.avc.store.intact_generation()
    connection = session.avc.connect()

    def after(connection: object) -> None:
        look.invalidate(session.avc.connect(), [binding.path], {(binding.path, "/".join(key))})
        look.record(session.avc.connect(), key, binding, digest, generation)

    cache.save(after)
    del connection


def _still(placer: Placer, path: str, known: dict[str, tuple[Sequence[int], Digest]]) -> Sequence[int]:
    """The stat of a file that was right already, if the stat cache knows it as it is now."""
    stat = placer.lstat(path)
    recorded = known.get(path)
    if stat is None or recorded is None or tuple(recorded[0]) != tuple(file_stat(stat)):
        return (-1, 0, 0, 0, 0)
    return recorded[0]


def _linked(session: Session, placer: Placer, path: str, entry: Entry) -> Sequence[int] | None:
    """Where a link to the entry's object stands, the stat of the object's own file, which was verified; else None."""
    objects = session.avc.store.objects_dir
    stat = placer.lstat(path) if entry.kind == "f" else None
    if stat is None or not stat_module.S_ISLNK(stat.st_mode):
        return None
    target = os.readlink(placer.root / path)
    return file_stat(os.stat(target)) if digest_of_link(objects, target) == entry.digest else None


def _target_digest(entry: Entry) -> Digest:
    from artifactvc.util.hashing import digest_bytes

    return digest_bytes((entry.target or "").encode())
