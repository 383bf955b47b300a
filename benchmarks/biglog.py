"""A remote in a directory with a log of any length: what so many small pushes leave, written by the encoders alone.

Each entry is a push of one version of its own with two new objects in a pack of its own: the
pack, the index file (merged with others where a push would), the entry, and the checkpoints
that it completes. A real push takes a process and several syncs; ten thousand of these take
seconds.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from artifactvc.core.entries import LogEntry, Record, decode_entry, encode_entry, entry_digest
from artifactvc.core.strict import dump_json
from artifactvc.storage.checkpoints import SIZES, completed_by, join_entries
from artifactvc.storage.index_merge import merge_places, to_merge
from artifactvc.storage.log import entry_name
from artifactvc.storage.packs import PackWriter
from artifactvc.storage.remote_index import Place, encode_places
from artifactvc.util.hashing import digest_bytes

ARTIFACT = "ee" * 16
TIME = "2026-01-01T00:00:00.000000Z"


class BigLog:
    """The remote at *root*, which may have entries already."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.entries: list[bytes] = []
        self.live: dict[str, bytes] = {}
        while (path := root / "log" / entry_name(len(self.entries))).exists():
            self.entries.append(path.read_bytes())
            for file in decode_entry(self.entries[-1], len(self.entries) - 1).index:
                for gone in file.get("replaces", ()):
                    self.live.pop(gone, None)
                self.live[file["id"]] = (root / "index" / file["id"]).read_bytes()
        self._versions = 0

    def grow(self, count: int, each: Callable[[int], None] = lambda n: None) -> None:
        """Push until there are *count* entries; *each* is called after every one with its number."""
        for directory in ("index", *(f"log/checkpoint/{size}" for size in SIZES)):
            (self.root / directory).mkdir(parents=True, exist_ok=True)
        with mock.patch.object(os, "fsync"):  # nothing here has to outlive a power cut
            while len(self.entries) < count:
                self._push()
                each(len(self.entries) - 1)

    def _push(self) -> None:
        n = len(self.entries)
        records, places = self._version(n)
        merged = self._merged(n)
        data = encode_places(places)
        index = [self._index(f"big{n}-0", data), *([merged] if merged else [])]
        before = entry_digest(self.entries[-1]) if self.entries else None
        entry = LogEntry(n, f"{n:032x}", "cd" * 16, before, "ada", TIME, "push", tuple(records), tuple(index))
        self.entries.append(encode_entry(entry))
        self._write(f"log/{entry_name(n)}", self.entries[-1])
        for gone in merged["replaces"] if merged else ():
            del self.live[gone]
        if merged:
            self.live[merged["id"]] = (self.root / "index" / merged["id"]).read_bytes()
        self.live[f"big{n}-0"] = data
        for span in completed_by([n]):
            joined = join_entries(self.entries[span.first : span.end])
            if joined is not None:
                self._write(span.name, joined)

    def _version(self, n: int) -> tuple[list[Record], list[Place]]:
        """The records of one version, and where its two objects are."""
        content = b"%d\n" % n
        node = dump_json(["n.txt", "f", len(content), digest_bytes(content)]) + b"\n"
        directory = self.root / "packs" / f"big{n}"
        directory.mkdir(parents=True)
        pack = PackWriter(directory / "0.pack")
        for data in (content, node):
            pack.add(bytes.fromhex(digest_bytes(data)), data)
        pack.finish()
        places = [Place(r.digest, f"big{n}/0.pack", r.offset, r.stored, r.length, r.codec) for r in pack.rows]
        stamp = {"time": TIME, "author": "ada"}
        records: list[Record] = []
        if not self._versions:
            fields = {"project": "demo", "name": "big", "type": "dataset"}
            records.append({"kind": "artifact", "artifact": ARTIFACT, "set": fields, "was": {}})
        records.append({"kind": "version", "artifact": ARTIFACT, "digest": digest_bytes(node), "number": self._versions,
                        "count": 1, "size": len(content)})  # fmt: skip
        self._versions += 1
        return [{**record, "id": f"{n:032x}.{i}", **stamp} for i, record in enumerate(records)], places

    def _merged(self, n: int) -> dict[str, object] | None:
        chosen = to_merge({name: len(data) for name, data in self.live.items()})
        if not chosen:
            return None
        out = io.BytesIO()
        merge_places([(self.live[name], name) for name in chosen], (), out)
        return {**self._index(f"big{n}-1", out.getvalue()), "replaces": chosen}

    def _index(self, name: str, data: bytes) -> dict[str, object]:
        self._write(f"index/{name}", data)
        return {"id": name, "digest": entry_digest(data), "size": len(data)}

    def _write(self, name: str, data: bytes) -> None:
        with open(os.path.join(self.root, name), "wb") as file:
            file.write(data)
