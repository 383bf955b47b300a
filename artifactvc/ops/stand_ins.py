"""The files that stand for references, as far as it is known here what bytes those lead to.

Of ``file://`` the identity is the digest; of others the table ``followed`` tells, once they were
followed (``ops/follow.py``). With that, a reference that was checked out is a file like others:
right or changed, ours to replace or not. Nobody is asked here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from artifactvc.core.model import Digest, Entry, is_digest
from artifactvc.core.references import BLAKE3
from artifactvc.errors import AvcError
from artifactvc.ops.session import Session
from artifactvc.storage.followed import Held, key_of


@dataclass
class Brought:
    """What following references has found, by their keys (``key_of``)."""

    held: dict[str, Held] = field(default_factory=dict)  # the object that the bytes are
    lost: dict[str, AvcError] = field(default_factory=dict)  # why they cannot be had, where that is allowed

    def lacks(self, entry: Entry) -> bool:
        """Whether it was found that the bytes of a reference cannot be had."""
        return key_of(entry) in self.lost


def as_file(entry: Entry, held: Held) -> Entry:
    """The file entry that a reference entry is once its bytes are known."""
    return Entry(entry.path, "f", held.size, held.digest)


def known(session: Session, entries: Iterable[Entry], *, surely: bool = False) -> dict[str, Held]:
    """What the bytes of references are, by ``key_of``, as far as it can be told.

    Of one without identity it is what it led to last; with *surely* that does not count.
    """
    found: dict[str, Held] = {}
    asked: list[str] = []
    for entry in entries:
        key = key_of(entry)
        if entry.identity_kind == BLAKE3 and entry.size is not None and is_digest(entry.identity):
            found[key] = Held(str(entry.identity), entry.size)
        elif entry.identity is not None or not surely:
            asked.append(key)
    return found | session.avc.store.followed.find(asked) if asked else found


def with_files(
    session: Session, entries: Mapping[str, Entry], brought: Brought | None = None, *, surely: bool = False
) -> dict[str, Entry]:
    """*entries*, files in place of the references whose bytes are known, by what was *brought* first of all.

    Those whose bytes were found to be lost stay references.
    """
    references = [entry for entry in entries.values() if entry.kind == "r"]
    if not references:
        return dict(entries)
    told = known(session, references, surely=surely)
    if brought is not None:
        told = {key: held for key, held in (told | brought.held).items() if key not in brought.lost}
    out: dict[str, Entry] = {}
    for path, entry in entries.items():
        held = told.get(key_of(entry)) if entry.kind == "r" else None
        out[path] = entry if held is None else as_file(entry, held)
    return out


def stands_for(session: Session, entry: Entry, kind: str, digest: Digest) -> bool:
    """Whether a file of *kind* and *digest* is what the reference *entry* leads to.

    An executable bit makes no difference: a reference has no place for it.
    """
    held = known(session, [entry]).get(key_of(entry))
    return kind != "l" and held is not None and held.digest == digest


def unmodified(session: Session, before: Mapping[str, Entry], now: Mapping[str, Entry | None]) -> set[str]:
    """The paths whose files are what the references *before* lead to, or have no file: those stay references."""
    kept = set()
    for path, entry in before.items():
        after = now.get(path)
        if entry.kind == "r" and (after is None or stands_for(session, entry, after.kind, after.digest or "")):
            kept.add(path)
    return kept
