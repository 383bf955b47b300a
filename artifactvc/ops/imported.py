"""What is remembered of the places that files were imported from: read, asked, and written anew.

The object is named by drafts and by records of versions. It is stored before the draft
that names it is saved, under one lock (protocol L1, L2).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from heapq import merge
from itertools import chain, islice, takewhile

from artifactvc.core.imported import Imported, decode_imported, encode_imported
from artifactvc.core.manifest import find_many
from artifactvc.core.model import EMPTY, Digest, Entry
from artifactvc.core.references import parse_address
from artifactvc.core.results import ImportedFrom
from artifactvc.errors import Corrupt, MissingObject, StorageError
from artifactvc.ops.session import Session
from artifactvc.storage.writer import StoreWriter

_LOT = 5000


def read_imported(session: Session, sources: Digest | None, *, required: bool = False) -> Iterator[Imported]:
    """What the object *sources* says, in order of path; nothing, and a notice, where it cannot be had now.

    With *required* the latter is an error: what cannot be had must not be written anew.
    """
    if sources is None:
        return
    try:
        if not session.avc.store.has([sources]):
            from artifactvc.ops.transfer import require_objects

            require_objects(session, [sources], "what says where its files came from")
        yield from decode_imported(session.avc.store.chunks(sources))
    except Corrupt as error:
        session.say(f"where files were imported from is not known any more: {error.message}")
    except (MissingObject, StorageError) as error:
        if required:
            raise
        session.say(f"where files were imported from is not known here: {error.message}")


def origins(
    session: Session, sources: Digest | None, root: Digest, prefix: str = "", *, required: bool = False
) -> Iterator[tuple[Entry, Imported]]:
    """The files of manifest *root*, at or below *prefix*, of which it is known where they came from, in order."""
    lines = read_imported(session, sources, required=required)
    below = (line for line in lines if not prefix or line.path == prefix or line.path.startswith(prefix + "/"))
    while lot := list(islice(below, _LOT)):
        entries = find_many(root, [line.path for line in lot], session.node) if root != EMPTY else {}
        for line in lot:
            entry = entries.get(line.path)
            if entry is not None and entry.digest == line.digest:
                yield entry, line


def write_imported(
    session: Session, writer: StoreWriter, sources: Digest | None, root: Digest, fresh: Mapping[str, Imported | None]
) -> Digest | None:
    """The object that says of manifest *root* what *sources* said, with *fresh* in its place; None if that is nothing.

    The same digest where nothing differs. None in *fresh* is a path whose origin is not to be remembered.
    The caller holds the store's lock, and closes *writer* before the draft is saved.
    """
    held = {line.path: line for line in read_imported(session, sources, required=True) if line.path in fresh}
    if all(held.get(path) == line for path, line in fresh.items()):
        return sources
    kept = (line for _, line in origins(session, sources, root, required=True) if line.path not in fresh)
    given = (line for line in fresh.values() if line is not None)
    together = merge(kept, sorted(given, key=_key), key=_key)
    first = next(together, None)
    if first is None:
        return None
    return writer.put_stream(encode_imported(chain((first,), together), secrets.token_hex(16)), None)


def _key(line: Imported) -> bytes:
    return line.path.encode()


def places(session: Session, sources: Digest | None, root: Digest) -> tuple[ImportedFrom, ...]:
    """How much of manifest *root* came from where: of each bucket or server the directory that held all."""
    counted: dict[str, tuple[str, int, int]] = {}
    for entry, line in origins(session, sources, root):
        place = parse_address(line.uri).place
        directory = line.uri.rpartition("/")[0]
        within, files, size = counted.get(place, (directory, 0, 0))
        counted[place] = _common(within, directory), files + 1, size + (entry.size or 0)
    return tuple(ImportedFrom(*found) for _, found in sorted(counted.items()))


def _common(one: str, other: str) -> str:
    """The deepest directory that two are in."""
    if one == other:
        return one
    same = takewhile(lambda pair: pair[0] == pair[1], zip(one.split("/"), other.split("/"), strict=False))
    return "/".join(part for part, _ in same)
