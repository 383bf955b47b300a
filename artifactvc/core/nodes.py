"""Manifest nodes: how they are written, and what is refused when one is read.

A node is JSON lines, one array each (docs/format.md, "Manifest"). The functions that
read bytes from elsewhere are strict: whatever the bytes, they return or raise
BadManifest or HostilePath, nothing else (protocol H1 to H3).
"""

from __future__ import annotations

import contextlib
import json
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple

from artifactvc.core.model import Digest, Entry, is_digest
from artifactvc.errors import AvcError, BadManifest, HostilePath
from artifactvc.util.text import escape

MAX_NODE: Final = 4 << 20
MAX_DEPTH: Final = 8
LARGEST: Final = 2**53
_RESERVED: Final = (".git", ".artifacts")


class Child(NamedTuple):
    """A line of an inner node: one node of the level below."""

    path: str  # the first path under it
    digest: Digest
    count: int  # type: ignore[assignment]
    size: int


def check_path(path: str) -> str:
    """Return *path* if an entry may stand there, else raise HostilePath (protocol H1)."""
    if not isinstance(path, str) or not path or path[0] == "/" or len(path) > 4096:
        raise HostilePath(
            f"bad path '{escape(str(path)[:200])}'", hint="paths are relative, not empty, and at most 4096 long"
        )
    if not path.isascii():
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise HostilePath(f"path '{escape(path[:200])}' is not UTF-8") from error
    if not path.isprintable() and any(unicodedata.category(c) == "Cc" for c in path):
        raise HostilePath(f"path '{escape(path[:200])}' holds control characters")
    if not path.isascii() or "//" in path or path[-1] == "/" or path[0] in ". " or "/." in path or "/ " in path:
        _check_components(path)
    return path


def _check_components(path: str) -> None:
    for part in path.split("/"):
        if part in ("", ".", ".."):
            raise HostilePath(f"path '{escape(path[:200])}' climbs or repeats a separator")
        # NTFS and HFS+ take these for the real thing: another case, dots and spaces at the end.
        plain = unicodedata.normalize("NFKC", part).rstrip(". ").lower()
        if not plain:
            raise HostilePath(f"path '{escape(path[:200])}' climbs or repeats a separator")
        if plain[0] == "." and plain in _RESERVED:
            raise HostilePath(
                f"path '{escape(path[:200])}' has a component '{part}', which belongs to another tool or to avc"
            )


def check_target(path: str, target: str) -> str:
    """Return the link *target* of the entry at *path* if it stays inside the artifact, else raise HostilePath."""
    if not isinstance(target, str) or not target or target[0] == "/" or len(target) > 4096 or "\0" in target:
        raise HostilePath(f"link '{escape(path[:200])}' has a bad target")
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in target):
        raise HostilePath(f"link '{escape(path[:200])}' has control characters in its target")
    depth = path.count("/")
    for part in target.split("/"):
        depth += -1 if part == ".." else 0 if part in ("", ".") else 1
        if depth < 0:
            raise HostilePath(f"link '{escape(path[:200])}' points out of the artifact, at '{escape(target[:200])}'")
    return target


# ---- writing --------------------------------------------------------------------------------

_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_escape = json.encoder.encode_basestring
#: What a row is made of.
_PLAIN: Final = frozenset({str, int, type(None)})


def encode_line(entry: Entry) -> bytes:
    """Return *entry* as one line with its newline."""
    if entry.kind in ("f", "x"):
        return f'[{_escape(entry.path)},"{entry.kind}",{entry.size},"{entry.digest}"]\n'.encode()
    if entry.kind == "l":
        return (_dumps([entry.path, "l", entry.target]) + "\n").encode()
    said = [_or_null(text) for text in (entry.uri, entry.identity_kind, entry.identity, entry.version_id)]
    size = "null" if entry.size is None else entry.size
    return f'[{_escape(entry.path)},"r",{size},{",".join(said)}]\n'.encode()  # a third of what the encoder takes


def _or_null(text: str | None) -> str:
    return "null" if text is None else _escape(text)


def encode_child(child: Child) -> bytes:
    """Return an inner line with its newline."""
    return f'[{_escape(child.path)},"{child.digest}",{child.count},{child.size}]\n'.encode()


# ---- reading --------------------------------------------------------------------------------


@contextlib.contextmanager
def well_formed() -> Iterator[None]:
    """Whatever a node that breaks the format brings about in the block is BadManifest."""
    try:
        yield
    except (IndexError, TypeError, ValueError, AttributeError, KeyError, RecursionError) as error:
        if isinstance(error, AvcError):
            raise
        raise BadManifest("a manifest node is damaged: it does not keep the format") from error


@lru_cache(maxsize=8)
def rows(data: bytes) -> list[Any]:
    """The arrays of a node, quickly: for nodes this program wrote or has checked. Not to be changed.

    The last few are kept: who adds to a manifest entry by entry asks for the same nodes again and again.
    """
    if not data:
        return []
    found: list[Any] = json.loads(b"[" + data[:-1].replace(b"\n", b",") + b"]")
    return found


def is_inner(data: bytes) -> bool:
    """Whether *data* is an inner node: the second item of its first line is a digest."""
    end = data.find(b"\n")
    try:
        row = json.loads(data[:end]) if end >= 0 else []
    except (ValueError, RecursionError) as error:
        raise BadManifest("a manifest node is damaged: its first line is no JSON") from error
    return isinstance(row, list) and len(row) == 4 and is_digest(row[1])


def to_entry(row: Any) -> Entry:
    """An entry from its array, unchecked."""
    kind = row[1]
    if kind in ("f", "x"):
        return Entry(row[0], kind, row[2], row[3])
    if kind == "l":
        return Entry(row[0], "l", target=row[2])
    return Entry(row[0], "r", row[2], None, None, row[3], row[4], row[5], row[6])


def children(data: bytes) -> list[Child]:
    """The lines of an inner node; only their digests are checked, since nodes are asked for by them (protocol H3)."""
    found = [Child(*row) for row in rows(data)]
    if not all(is_digest(child.digest) for child in found):
        raise BadManifest("a manifest node is damaged: a bad inner line")
    return found


def decode_leaf(data: bytes) -> list[Entry]:
    """Return the entries of a leaf that may come from anywhere; BadManifest or HostilePath if it breaks the format."""
    entries = []
    last = b""
    for row in _strict_rows(data):
        _check_row(row)
        entry = to_entry(row)
        key = check_path(entry.path).encode()
        if key <= last:
            raise BadManifest(f"a manifest node is damaged: '{entry.path[:200]}' is out of order")
        last = key
        if entry.kind == "l":
            check_target(entry.path, entry.target or "")
        entries.append(entry)
    return entries


def decode_inner(data: bytes) -> list[Child]:
    """Return the lines of an inner node that may come from anywhere."""
    found = []
    for row in _strict_rows(data):
        good = isinstance(row, list) and len(row) == 4 and isinstance(row[0], str) and is_digest(row[1])
        if not good or not _number(row[2]) or not _number(row[3]) or row[2] == 0:
            raise BadManifest("a manifest node is damaged: a bad inner line")
        check_path(row[0])
        found.append(Child(*row))
    return found


def _strict_rows(data: bytes) -> list[Any]:
    if len(data) > MAX_NODE:
        raise BadManifest(f"a manifest node is larger than {MAX_NODE} bytes")
    if data and not data.endswith(b"\n"):
        raise BadManifest("a manifest node is damaged: it is cut short")
    lines = data.split(b"\n")[:-1]
    return _rows_at_once(lines) or _rows_one_by_one(lines)


def _rows_at_once(lines: list[bytes]) -> list[Any]:
    """The rows, if they are as they should be beyond doubt; nothing where that takes a closer look.

    Ends of lines stay in what is parsed, so none can be in a text; with as many rows as lines, no
    array in a row, and a bracket first in each line, each row is one line.
    """
    if not all(line.startswith(b"[") for line in lines):
        return []
    try:
        found: list[Any] = json.loads(b"[" + b",\n".join(lines) + b"]")
    except (ValueError, RecursionError):
        return []
    plain = all(type(row) is list and _PLAIN.issuperset(map(type, row)) for row in found)
    if not plain or len(found) != len(lines):
        return []
    return found if _dumps(found).encode(errors="replace") == b"[" + b",".join(lines) + b"]" else []


def _rows_one_by_one(lines: list[bytes]) -> list[Any]:
    found = []
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadManifest("a manifest node is damaged: a line is no JSON") from error
        if not isinstance(row, list) or any(isinstance(item, (list, dict, float, bool)) for item in row):
            raise BadManifest("a manifest node is damaged: a line is no array of texts and numbers")
        # One spelling for one content: else equal content could have two digests.
        if _dumps(row).encode(errors="replace") != line:
            raise BadManifest("a manifest node is damaged: a line is not written as it should be")
        found.append(row)
    return found


def _number(value: object) -> bool:
    return type(value) is int and 0 <= value < LARGEST


def _check_row(row: list[Any]) -> None:
    kind = row[1] if len(row) > 1 else None
    good = isinstance(row[0] if row else None, str)
    if kind in ("f", "x"):
        good = good and len(row) == 4 and _number(row[2]) and is_digest(row[3])
    elif kind == "l":
        good = good and len(row) == 3 and isinstance(row[2], str)
    elif kind == "r":
        texts = len(row) == 7 and all(item is None or isinstance(item, str) for item in row[4:])
        good = good and texts and isinstance(row[3], str) and (row[2] is None or _number(row[2]))
    else:
        good = False
    if not good:
        raise BadManifest("a manifest node is damaged: a bad entry")
