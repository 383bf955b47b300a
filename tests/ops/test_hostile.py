"""Remotes, manifests and ``artifacts.toml`` that mean harm: refused before anything is written (protocol H1 to H4)."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artifactvc.core.entries import LogEntry, encode_entry, entry_digest
from artifactvc.core.strict import dump_json
from artifactvc.errors import AvcError, BadIndex, BadLogEntry, BadManifest, Corrupt, HostilePath, NewerFormat
from artifactvc.storage.packs import PackWriter
from artifactvc.storage.remote_index import Place, encode_places
from artifactvc.util.hashing import digest_bytes
from tests.support import clone, inside, new, origin, reopen, tree, version

FILLER = random.Random(1).randbytes(50_000)


class Bucket:
    """A remote made by hand, byte for byte, as somebody with write access could make it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("log", "packs/evil", "index"):
            (root / name).mkdir(parents=True)
        features: dict[str, list[str]] = {"read": [], "write": [], "check": [], "delete": []}
        self.describe({"format": 1, "features": features, "id": "ab" * 16, "project": "demo"})
        self.before: str | None = None
        self.n = 0

    def describe(self, body: Any) -> None:
        (self.root / "avc.json").write_bytes(body if isinstance(body, bytes) else dump_json(body) + b"\n")

    def pack(self, objects: list[bytes]) -> list[Place]:
        pack = PackWriter(self.root / "packs" / "evil" / "p.pack")
        for data in (*objects, FILLER):  # most of the pack is not needed, so parts of it are read by the index
            pack.add(bytes.fromhex(digest_bytes(data)), data)
        pack.finish()
        return [Place(r.digest, "evil/p.pack", r.offset, r.stored, r.length, r.codec) for r in pack.rows]

    def entry(self, records: list[dict[str, Any]], places: bytes | None = None, **changes: Any) -> None:
        files = ()
        if places is not None:
            (self.root / "index" / "i0").write_bytes(places)
            files = ({"id": "i0", "digest": entry_digest(places), "size": len(places)},)
        time = "2026-01-01T00:00:00.000000Z"
        entry = LogEntry(
            self.n, f"{self.n:032x}", "cd" * 16, self.before, "mallory", time, "push", tuple(records), files
        )
        data = encode_entry(entry)
        if changes:
            body = json.loads(data)
            body.update(changes)
            data = dump_json(body) + b"\n"
        self.raw(data)

    def raw(self, data: bytes) -> None:
        (self.root / "log" / f"{self.n:020d}.json").write_bytes(data)
        self.before = entry_digest(data)
        self.n += 1

    def version(self, node: bytes, *files: bytes, count: int = 1, size: int = 1) -> None:
        """An artifact ``data`` whose manifest is *node*."""
        places = self.pack(list(dict.fromkeys([node, *files])))
        record = {"kind": "version", "artifact": "ee" * 16, "digest": digest_bytes(node), "number": 0}
        self.entry(
            [
                self.stamped(0, {"kind": "artifact", "artifact": "ee" * 16, "was": {},
                                 "set": {"project": "demo", "name": "data", "type": "dataset"}}),
                self.stamped(1, record | {"count": count, "size": size}),
            ],
            encode_places(places),
        )  # fmt: skip

    def named(self, artifact: str, name: str) -> dict[str, Any]:
        fields = {"project": "demo", "name": name, "type": "dataset"}
        return self.stamped(0, {"kind": "artifact", "artifact": artifact, "set": fields, "was": {}})

    def stamped(self, position: int, record: dict[str, Any]) -> dict[str, Any]:
        """A record as a push writes it: with the id, time and author of the entry it was made in."""
        return record | {"id": f"{'f' * 32}.{position}", "time": "2026-01-01T00:00:00.000000Z", "author": "mallory"}


@pytest.fixture
def bucket(tmp_path):
    return Bucket(tmp_path / "bucket")


def line(*values: object) -> bytes:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


X = digest_bytes(b"x")


def attempt(bucket: Bucket, where: Path) -> AvcError:
    """Clone, pull and check out; the error that stops it, after looking that nothing was written outside."""

    def elsewhere() -> set[Path]:
        ours = (where, bucket.root)  # a clone tries what the remote can do, so it writes there
        return {p for p in where.parent.rglob("*") if not any(own == p or own in p.parents for own in ours)}

    outside = elsewhere()
    with pytest.raises(AvcError) as caught:
        there = clone(bucket.root, where)
        there.pull()
        with inside(where):
            there.checkout("data:v0")
    assert elsewhere() == outside, "something was written outside"
    written = {path.name for path in where.iterdir()} if where.is_dir() else set()
    assert written <= {".artifacts", "artifacts.toml", "data"}
    assert not (where / "data").exists() or not any((where / "data").rglob("*")), "something was written"
    assert "\n" not in caught.value.message
    return caught.value


def test_the_harmless_one_can_be_checked_out(bucket, tmp_path):
    """The bucket made by hand works, so what the other tests see is the harm alone."""
    bucket.version(line("a", "f", 1, X), b"x")
    there = clone(bucket.root, tmp_path / "there")
    there.pull()
    with inside(tmp_path / "there"):
        there.checkout("data:v0")
    assert tree(tmp_path / "there" / "data") == {"a": b"x"}


@pytest.mark.parametrize(
    "path",
    [
        "../escaped", "/tmp/escaped", "a/../../escaped", "a//b", "./a", "a/.", "a/", "",
        ".git/hooks/post-checkout", "sub/.GIT/config", ".git./x", ".git /x", ".artifacts/config.toml", "x/.Artifacts/y",
        "a\nb", "a\x00b", "a\x1b[31mb", "a\x7fb",
    ],
)  # fmt: skip
def test_h1_paths_that_climb_or_lie_are_refused(bucket, tmp_path, path):
    bucket.version(line(path, "f", 1, X), b"x")
    error = attempt(bucket, tmp_path / "there")
    assert isinstance(error, HostilePath | BadManifest)


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside", "..", "a/../../../x", "", "x\x00y"])
def test_h1_links_that_lead_out_are_refused(bucket, tmp_path, target):
    bucket.version(line("link", "l", target), count=1, size=0)
    assert isinstance(attempt(bucket, tmp_path / "there"), HostilePath | BadManifest)


def test_h1_a_file_below_a_link_is_refused(bucket, tmp_path):
    bucket.version(line("d", "l", "e") + line("d/x", "f", 1, X), b"x", count=2)
    attempt(bucket, tmp_path / "there")


@pytest.mark.parametrize(
    "node",
    [
        line("b", "f", 1, X) + line("a", "f", 1, X),  # out of order
        line("a", "f", 1, X) + line("a", "f", 1, X),  # twice
        line("a", "f", -1, X),
        line("a", "f", 2**60, X),
        line("a", "f", True, X),
        line("a", "f", 1.5, X),
        line("a", "f", 1, X.upper()),
        line("a", "f", 1, "../../etc/passwd"),
        line("a", "z", 1, X),
        line("a", "f", 1),
        line("a", "f", 1, X, 1),
        b'["a","f",1,"' + X.encode() + b'"]',  # no newline at the end
        b'{"a":1}\n',
        b"[1,2]\n" * 3,
        b"\xff\xfe\n",
        b'["a","f",NaN,"' + X.encode() + b'"]\n',
        b"[" * 100 + b"]" * 100 + b"\n",
    ],
    ids=range(17),
)
def test_h2_h3_manifests_that_break_the_format_are_refused(bucket, tmp_path, node):
    bucket.version(node, b"x")
    assert isinstance(attempt(bucket, tmp_path / "there"), BadManifest | HostilePath)


def test_a_size_that_is_not_the_files_is_refused(bucket, tmp_path):
    bucket.version(line("a", "f", 5, X), b"x", size=5)
    attempt(bucket, tmp_path / "there")


def test_a_tree_deeper_than_any_real_one_is_refused(bucket, tmp_path):
    node = line("a", "f", 1, X)
    nodes = [b"x", node]
    for _ in range(12):
        node = line("a", digest_bytes(node), 1, 1)
        nodes.append(node)
    bucket.version(node, *nodes)
    assert isinstance(attempt(bucket, tmp_path / "there"), BadManifest)


LOGS: dict[str, Callable[[Bucket], None]] = {
    "not json": lambda b: b.raw(b"hello"),
    "two names": lambda b: b.raw(b'{"n":0,"n":0}'),
    "another number": lambda b: b.entry([], n=7),
    "too large": lambda b: b.raw(b'{"n":0,"x":"' + b"a" * (1 << 20) + b'"}'),
    "deep": lambda b: b.raw(b'{"n":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "a broken chain": lambda b: b.entry([], before="00" * 32),
    "an unknown kind": lambda b: b.entry([b.stamped(0, {"kind": "explode"})]),
    "a digest that is none": lambda b: b.entry(
        [b.stamped(0, {"kind": "version", "artifact": "ee" * 16, "digest": "../x", "number": 0, "count": 0, "size": 0})]
    ),
    "an artifact id that is none": lambda b: b.entry([b.named("../..", "data")]),
    "a name that breaks the rules": lambda b: b.entry([b.named("ee" * 16, "../data")]),
    "an index id that climbs": lambda b: b.entry([], index=[{"id": "../../x", "digest": X, "size": 1}]),
    "an index as large as the disk": lambda b: b.entry([], index=[{"id": "i0", "digest": X, "size": 2**52}]),
}  # fmt: skip


@pytest.mark.parametrize("harm", LOGS, ids=str)
def test_h2_h3_logs_that_break_the_format_are_refused(bucket, tmp_path, harm):
    LOGS[harm](bucket)
    with pytest.raises((BadLogEntry, Corrupt, NewerFormat)) as caught:
        clone(bucket.root, tmp_path / "there").pull()
    assert "\n" not in caught.value.message
    assert not (tmp_path / "there" / "data").exists()


@pytest.mark.parametrize("damage", ["other bytes", "cut", "missing", "points outside", "wrong object"])
def test_indexes_that_lie_are_refused(bucket, tmp_path, damage):
    node = line("a", "f", 1, X)
    bucket.version(node, b"x")
    path = bucket.root / "index" / "i0"
    data = path.read_bytes()
    if damage == "other bytes":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "cut":
        path.write_bytes(data[:-5])
    elif damage == "missing":
        path.unlink()
    else:
        places = bucket_places(bucket, node)
        if damage == "points outside":
            places = [place._replace(offset=place.offset + 10**9) for place in places]
        else:
            places = [places[0]._replace(digest=places[1].digest), places[1]._replace(digest=places[0].digest)]
        rewrite(bucket, node, encode_places(sorted(places)))
    assert isinstance(attempt(bucket, tmp_path / "there"), BadIndex | Corrupt | AvcError)


def bucket_places(bucket: Bucket, node: bytes) -> list[Place]:
    (bucket.root / "packs" / "evil" / "p.pack").unlink()
    return bucket.pack([node, b"x"])


def rewrite(bucket: Bucket, node: bytes, index: bytes) -> None:
    (bucket.root / "log" / f"{0:020d}.json").unlink()
    bucket.n, bucket.before = 0, None
    record = {
        "kind": "version",
        "artifact": "ee" * 16,
        "digest": digest_bytes(node),
        "number": 0,
        "count": 1,
        "size": 1,
    }
    fields = {"project": "demo", "name": "data", "type": "dataset"}
    bucket.entry(
        [
            bucket.stamped(0, {"kind": "artifact", "artifact": "ee" * 16, "set": fields, "was": {}}),
            bucket.stamped(1, record),
        ],
        index,
    )


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"nonsense", Corrupt),
        (b"[]", Corrupt),
        ({"format": 1, "id": "../../x", "features": {}}, Corrupt),
        ({"format": 1, "id": "AB" * 16, "features": {}}, Corrupt),
        ({"format": 2, "id": "ab" * 16, "features": {}}, NewerFormat),
        ({"format": 1, "id": "ab" * 16, "features": {"read": ["teleport"]}}, NewerFormat),
    ],
)
def test_descriptions_that_break_the_format_are_refused(bucket, tmp_path, body, error):
    bucket.describe(body)
    with pytest.raises(error) as caught:
        clone(bucket.root, tmp_path / "there")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        '[[artifact]]\nname = "../x"\nproject = "demo"\n',
        '[[artifact]]\nname = "data"\nproject = "a/b"\n',
        '[[artifact]]\nname = "data"\nproject = "demo"\npaths = [{path = "../outside"}]\n',
        '[[artifact]]\nname = "data"\nproject = "demo"\npaths = [{path = "/etc"}]\n',
        '[[artifact]]\nname = "data"\nproject = "demo"\npaths = [{path = ".git/hooks"}]\n',
        '[[artifact]]\nname = "data"\nproject = "demo"\npaths = [{path = "a", as = "../b"}]\n',
        '[[artifact]]\nname = "data"\nproject = "demo"\ndigest = "zz"\n',
        '[[artifact]]\nname = "data"\nproject = "demo"\nversion = "latest"\n',
        "artifact = 3\n",
        "[[artifact]]\n",
    ],
)
def test_bindings_obey_the_same_rules(tmp_path, text):
    """``artifacts.toml`` comes with somebody's Git repository."""
    new(tmp_path / "here", {"artifacts.toml": text}).close()
    with pytest.raises(Corrupt, match=r"'artifacts.toml' is not as avc writes it|is not valid TOML"):
        reopen(tmp_path / "here").status()


def test_a_link_put_in_the_way_is_not_followed(tmp_path):
    """H1: between the plan and the write somebody puts a link where a directory was meant to be."""
    repository = new(tmp_path / "here")
    version(repository, {"sub/a": "1"})
    outside = tmp_path / "outside"
    outside.mkdir()
    destination = tmp_path / "out"
    destination.mkdir()
    (destination / "sub").symlink_to(outside)
    with pytest.raises(AvcError, match="sub"):
        repository.checkout("data:v0", destination)
    assert list(outside.iterdir()) == []


def test_a_url_may_not_carry_a_password(tmp_path):
    from artifactvc.errors import UsageError

    repository = new(tmp_path / "here")
    with pytest.raises(UsageError, match="cannot hold a password") as caught:
        origin(repository, "s3://key:hunter2@bucket/x")
    assert "hunter2" not in caught.value.message
    assert "hunter2" not in (tmp_path / "here" / ".artifacts" / "config.toml").read_text()
