"""``put``: a file or directory from anywhere becomes a version in one step, without a workspace.

It has a draft of its own, so any number of processes can put at once (protocol L5), and
writes a run record that says who produced the version.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from artifactvc.core import names
from artifactvc.core.manifest import build, check_path
from artifactvc.core.model import Digest, Entry
from artifactvc.core.results import Committed
from artifactvc.errors import AvcError, HostilePath, MissingObject, UnknownPath, UnsafeLink, UnsupportedFile
from artifactvc.ops import resolve
from artifactvc.ops.commit import CommitOptions, land, type_conflict
from artifactvc.ops.runs import new_run_id, whereabouts
from artifactvc.ops.session import Session, salted
from artifactvc.storage.bulk import Batch, put_batches
from artifactvc.storage.drafts import Draft
from artifactvc.storage.ignore import Patterns
from artifactvc.storage.loose import digest_of_link
from artifactvc.storage.statcache import WIDTH
from artifactvc.storage.workspace import DirScan, ScanOptions, kind_of, scan
from artifactvc.storage.writer import StoreWriter
from artifactvc.util.text import escape


class Source(NamedTuple):
    """What to store: a path, where it goes inside the artifact, whether links are followed and patterns obeyed.

    With *ignore*, the ``.avcignore`` of the directory itself counts, and that of the
    workspace where the directory lies inside it.
    """

    path: str
    prefix: str = ""
    follow: bool = False
    ignore: bool = False


class RunFields(NamedTuple):
    """What is recorded of the run: its job type, and details that only an object holds."""

    job_type: str
    details: Mapping[str, Any]


def put(
    session: Session, what: Source, name: str, kind: str | None, options: CommitOptions, run: RunFields
) -> Committed:
    """Store a path as the next version of artifact *name*; equal content returns the version that has it."""
    source = Path(os.path.abspath(names.check_given(what.path, "path", "write '.' for the directory that you are in")))
    if not os.path.lexists(source):
        raise UnknownPath(f"no file or directory '{escape(what.path)}'", hint="check the path")
    inside = names.check_prefix(what.prefix)

    def fill(writer: StoreWriter) -> Content:
        entries = list(entries_of(session, writer, source, what._replace(prefix=inside)))
        return Content(build(entries, writer.put_node).digest)

    return put_content(session, name, kind, options, run, fill)


class Content(NamedTuple):
    """What a version is made of: a manifest in the store, and what says where files of it were imported from."""

    root: Digest
    sources: Digest | None = None


def put_content(
    session: Session, name: str, kind: str | None, options: CommitOptions, run: RunFields,
    fill: Callable[[StoreWriter], Content],
) -> Committed:  # fmt: skip
    """Make what *fill* stores the next version of artifact *name*, under one lock."""
    options = replace(options, run=options.run or new_run_id()).checked()
    entity, project, plain = names.parse_artifact(name)
    project = resolve.project_of(session, entity, project)
    names.check_artifact_name(plain)
    if kind is not None:
        names.check_type(kind)
    avc = session.avc
    draft_id = f"p-{secrets.token_hex(16)}"
    with avc.writing():  # the draft is this call's own: nobody else knows its id, so it needs no lock
        row = resolve.find_artifact(session, f"{project}/{plain}")
        if row and kind is not None and kind != row["type"]:
            raise type_conflict(row["name"], row["type"], kind)
        with avc.writer() as writer:
            content = fill(writer)
            details = writer.put(salted({**run.details, **whereabouts()}))
        draft = Draft(
            draft_id, project, row["name"] if row else plain, row["type"] if row else kind or "dataset",
            row["id"] if row else secrets.token_hex(16), content.root, None, None, owner(), session.clock(),
            content.sources,
        )  # fmt: skip
        avc.drafts.save(draft)
        options = replace(options, run_fields={"job_type": run.job_type, "details": details})
        try:
            done, _ = land(session, draft, options)
        except AvcError:  # refused: what is stored is garbage for gc
            avc.drafts.remove(draft_id)
            raise
        avc.drafts.remove(draft_id)
    return done


def owner() -> str:
    """Who owns a draft that this process begins; gc drops it when the process is gone (protocol L4)."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def entries_of(session: Session, writer: StoreWriter, source: Path, what: Source) -> Iterator[Entry]:
    """Store a file, or all below a directory, and give the entries; the caller holds the store's lock."""
    prefix, follow, objects = what.prefix, what.follow, session.avc.store.objects_dir
    if not source.is_dir() or (source.is_symlink() and not follow):
        ours = source.is_symlink() and digest_of_link(objects, os.readlink(source)) is not None
        yield _file_entry(writer, source, prefix, follow=follow or ours)
        return
    ignore = Patterns(session.avc.workspace, source) if what.ignore else None
    options = ScanOptions(
        _not_tracked, ignore, follow, frozenset(), ignorable=what.ignore, unstated=True, objects=objects
    )
    found = scan(source, ".", None, options)
    session.progress.start("Storing", total=sum(len(d.names) for d in found.directories), unit="files")
    batches, where = [], []
    for directory in found.directories:
        plain = []
        for position, name in enumerate(directory.names):
            if kind_of(directory.stats[position * WIDTH + 4]) == "l":
                path = _inside(directory, name)
                yield Entry(names.below(prefix, path), "l", target=os.readlink(source / path))
            elif name in directory.linked:
                stat = directory.stat(position)
                digest = _kept(session, directory.linked[name])
                yield Entry(names.below(prefix, _inside(directory, name)), "f", stat.size, digest)
            elif name in directory.followed:
                path = _inside(directory, name)
                yield _file_entry(
                    writer, Path(os.path.realpath(source / path)), "", follow=True, path=names.below(prefix, path)
                )
            else:
                plain.append(name)
        if plain:
            batches.append(Batch(f"{source}/{directory.path}" if directory.path else os.fspath(source), plain))
            where.append((directory, plain))
    with contextlib.closing(put_batches(writer, batches)) as reads:
        for (directory, plain), read in zip(where, reads, strict=True):
            text = read.digests.hex()
            for at, name in enumerate(plain):
                path = names.below(prefix, _inside(directory, name))
                kind = kind_of(read.stats[at * WIDTH + 4])
                yield Entry(path, kind, read.stats[at * WIDTH], text[at * 64 : at * 64 + 64])
            session.progress.advance(len(plain))
    session.progress.finish()


def _kept(session: Session, digest: Digest) -> Digest:
    """An object that a link leads to: it is in the store already, and its bytes are what they should be."""
    if session.avc.store.own_path(digest) is None:
        raise MissingObject(digest)
    return digest


def _not_tracked(path: str) -> bool:
    """Nothing is, where there is no workspace: so patterns are asked about every path."""
    return False


def _inside(directory: DirScan, name: str) -> str:
    return f"{directory.path}/{name}" if directory.path else name


def _file_entry(writer: StoreWriter, source: Path, prefix: str, *, follow: bool, path: str = "") -> Entry:
    name = path or names.below(prefix, source.name)
    try:
        check_path(name)
        name.encode()
    except (HostilePath, UnicodeEncodeError) as error:
        raise UnsupportedFile(f"'{escape(source.name)}' cannot be stored under its name", hint="rename it") from error
    if source.is_symlink():
        if not follow:
            raise UnsafeLink(f"'{escape(os.fspath(source))}' is a link", hint="put what it points at, or give --follow")
        source = Path(os.path.realpath(source))
    digest, stat = writer.put_file(os.fspath(source))
    return Entry(name, kind_of(stat.st_mode), stat.st_size, digest)
