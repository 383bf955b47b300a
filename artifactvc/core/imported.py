"""Where the files of a version were imported from: one object beside the manifest (docs/format.md, "Sources").

The entries of imported files are those of any file, since equal content has one digest by
whatever road it came (design, section 2, idea 2). So what is remembered of the road stands
in an object of its own, which the version's record names. A line of it counts for the entry
that has its path *and* its digest: a file that was changed since has lost its origin, and
nobody need touch the object when other files change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from artifactvc.core.model import Digest, is_digest
from artifactvc.core.references import Target, parse_address
from artifactvc.core.strict import dump_json, parse_json
from artifactvc.errors import BadValue, Corrupt

_WHAT: Final = "a list of sources"
#: Longest line that is read, in bytes: a path, an address and an identity.
_LONGEST: Final = 64 << 10


class Imported(NamedTuple):
    """One file that was copied into the store, and what its storage said of it then."""

    path: str  # inside the artifact
    digest: Digest  # of the bytes that were copied
    uri: str  # without a version, without credentials
    identity_kind: str | None = None
    identity: str | None = None
    version_id: str | None = None

    def is_from(self, target: Target) -> bool:
        """Whether *target* is surely the very bytes that were copied; never where its storage offers no identity."""
        said = (target.uri, target.identity_kind, target.identity, target.version_id)
        return target.identity is not None and said == (self.uri, self.identity_kind, self.identity, self.version_id)


def encode_imported(found: Iterable[Imported], salt: str) -> Iterator[bytes]:
    """The object that holds *found*, which ascend by path (as UTF-8), in pieces; *salt* is 32 hex digits."""
    yield dump_json({"salt": salt}) + b"\n"
    for imported in found:
        yield dump_json(list(imported)) + b"\n"


def decode_imported(chunks: Iterable[bytes]) -> Iterator[Imported]:
    """What such an object says, line by line; Corrupt where it is none."""
    before: bytes | None = None
    for number, line in enumerate(_lines(chunks)):
        body = parse_json(line, limit=_LONGEST, what=_WHAT, error=Corrupt)
        if number == 0:
            if not isinstance(body, dict) or not isinstance(body.get("salt"), str):
                raise Corrupt(f"{_WHAT} does not begin as one does")
            continue
        imported = _checked(body)
        key = imported.path.encode()
        if before is not None and key <= before:
            raise Corrupt(f"{_WHAT} is not in order")
        before = key
        yield imported


def _checked(body: Any) -> Imported:
    if not isinstance(body, list) or len(body) != len(Imported._fields):
        raise Corrupt(f"{_WHAT} has a line that is none")
    path, digest, uri, *said = body
    if not isinstance(path, str) or not is_digest(digest) or not isinstance(uri, str):
        raise Corrupt(f"{_WHAT} has a line that is none")
    if not all(value is None or isinstance(value, str) for value in said):
        raise Corrupt(f"{_WHAT} has a line that is none")
    try:
        parse_address(uri)
    except BadValue as error:
        raise Corrupt(f"{_WHAT} has an address that is none") from error
    return Imported(*body)


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines; never more than a line and a piece is held."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
        if len(rest) > _LONGEST:
            raise Corrupt(f"{_WHAT} has a line that is too long")
    if rest:
        raise Corrupt(f"{_WHAT} ends within a line")
