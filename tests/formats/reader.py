"""A reader of format 1 written from docs/format.md alone: it imports nothing of artifactvc.

It follows the pushed and local logs far enough to find versions, reads packs and larger
objects, and walks manifests. If this reader and the documentation agree, a stranger can
write another.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard
from blake3 import blake3


def objects(where: Path) -> dict[str, bytes]:
    """Every object of a repository's store, by digest."""
    found: dict[str, bytes] = {blake3(b"").hexdigest(): b""}
    for path in (where / "packs").rglob("*"):
        if path.is_file() and path.read_bytes()[:8] == b"avcpack\x01":
            found.update(pack(path.read_bytes()))
        elif path.is_file():
            found[blake3(path.read_bytes()).hexdigest()] = path.read_bytes()
    for path in (where / "objects").rglob("*"):
        if path.is_file():
            found[path.parent.name + path.name] = path.read_bytes()
    assert all(blake3(data).hexdigest() == digest for digest, data in found.items())
    return found


def pack(data: bytes) -> dict[str, bytes]:
    """The objects of one pack: magic, objects, table, tail."""
    table_at, count, check = struct.unpack("<QQ32s", data[-48:])
    table = data[table_at:-48]
    assert blake3(table).digest() == check
    assert len(table) == 56 * count
    found = {}
    for digest, offset, stored, length, codec in struct.iter_unpack("<32sQIIB7x", table):
        part = data[offset : offset + stored]
        if codec == 1:
            part = zstandard.ZstdDecompressor().decompress(part, max_output_size=length)
        assert len(part) == length
        found[digest.hex()] = part
    return found


def entries(log: Path) -> list[dict[str, Any]]:
    """The entries of a log, their chain checked."""
    found: list[dict[str, Any]] = []
    before = None
    for number, path in enumerate(sorted(log.glob("*.json"))):
        data = path.read_bytes()
        entry = json.loads(data)
        assert (path.name, entry["n"], entry["before"]) == (f"{number:020d}.json", number, before)
        before = blake3(data).hexdigest()
        found.append(entry)
    return found


def versions(log: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Version records by (artifact name, digest)."""
    names: dict[str, str] = {}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in entries(log):
        for record in entry["records"]:
            if record["kind"] == "artifact":
                names[record["artifact"]] = record["set"]["name"]
            if record["kind"] == "version":
                found[names[record["artifact"]], record["digest"]] = record
    return found


def manifest(digest: str, store: dict[str, bytes]) -> Iterator[list[Any]]:
    """The entries of a manifest, in order; inner lines are [first path, digest, count, size]."""
    for line in store[digest].decode().splitlines():
        row = json.loads(line)
        if len(row) == 4 and len(row[1]) == 64:
            yield from manifest(row[1], store)
        else:
            yield row


def files(digest: str, store: dict[str, bytes]) -> dict[str, str]:
    """Every path of a version as ``tests.support.tree`` shows it, in hexadecimal."""
    found = {}
    for row in manifest(digest, store):
        if row[1] == "l":
            found[row[0]] = f"-> {row[2]}"
        else:
            data = store[row[3]]
            assert len(data) == row[2]
            found[row[0]] = ((b"x:" if row[1] == "x" else b"") + data).hex()
    return found
