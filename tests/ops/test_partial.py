"""Partial and lazy: names without bytes, and of the bytes only what is asked for, counted by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import artifactvc as avc
from artifactvc.core.nodes import children, is_inner
from artifactvc.sdk.repository import Repository
from tests.ops.test_bringing import Counted
from tests.support import clone, inside, new, origin, version

FILES = 3000
SIZE = 12_000
WANTED = "d3/00003.bin"


def _content(rng) -> dict[str, bytes]:
    return {f"d{i % 10}/{i:05}.bin": rng.randbytes(SIZE) for i in range(FILES)}


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """A remote with one version of thousands of small files, in two packs of 32 MiB or less."""
    import random

    place = tmp_path_factory.mktemp("published")
    one = new(place / "one")
    origin(one, place / "remote")
    version(one, _content(random.Random(1)))  # type: ignore[arg-type]
    one.push()
    one.close()
    return place / "remote"


@pytest.fixture
def counted(monkeypatch):
    return Counted(monkeypatch)


@pytest.fixture
def other(published, tmp_path, counted):
    made = clone(published, tmp_path / "other")
    counted.clear()
    yield made
    made.close()


def test_clone_and_fetch_bring_no_data(published, tmp_path, counted):
    """Only ``avc.json``, the log and what stands beside it are read; not one byte of a stored file."""
    other = clone(published, tmp_path / "other")
    other.fetch()
    names = {re.sub(r"[0-9a-f-]{16,}", "#", name) for name in counted.requests}
    assert names <= {"avc.json", "log/#.json", "log/checkpoint/#", "probe/#"}, "a probe is what remote add made itself"
    assert counted.requests_of("packs/") == counted.requests_of("index/") == 0
    assert other.session.brought_objects == 0
    assert [info.version for info in other.log("data")] == ["v0"]


def _cat(other: Repository, tmp_path: Path) -> bytes:
    return b"".join(other.read("data", WANTED))


def _get(other: Repository, tmp_path: Path) -> bytes:
    other.get("data", root=tmp_path / "got", prefix=WANTED)
    return (tmp_path / "got" / WANTED).read_bytes()


def _checkout(other: Repository, tmp_path: Path) -> bytes:
    other.checkout("data", tmp_path / "got", prefixes=[WANTED])
    return (tmp_path / "got" / WANTED).read_bytes()


def _entry(other: Repository, tmp_path: Path) -> bytes:
    with inside(other.root):
        return Path(avc.Api().artifact("demo/data:v0").get_entry(WANTED).download(str(tmp_path / "got"))).read_bytes()


def _download(other: Repository, tmp_path: Path) -> bytes:
    with inside(other.root):
        avc.Api().artifact("demo/data:v0").download(str(tmp_path / "got"), path_prefix=WANTED)
    return (tmp_path / "got" / WANTED).read_bytes()


@pytest.mark.parametrize("ask", [_cat, _get, _checkout, _entry, _download], ids=lambda ask: ask.__name__[1:])
def test_one_file_costs_its_nodes_and_one_range(
    other: Repository, counted: Counted, tmp_path: Path, rng, ask: Callable[[Repository, Path], bytes]
):
    """Of 36 MB in packs: the top node, the leaf that has the path, and the file."""
    import random

    assert ask(other, tmp_path) == _content(random.Random(1))[WANTED]
    assert counted.requests_of("packs/") == 3
    assert counted.of("packs/") < SIZE + 250_000  # the top and a leaf of some 1,000 entries
    assert other.session.brought_objects in (0, 3)  # of the Python API, another session's


def test_a_directory_costs_its_own_nodes(other, counted, tmp_path):
    """One of ten directories: a tenth of the bytes, and nodes that hold some of it."""
    done = other.get("data", root=tmp_path / "got", prefix="d3")
    assert done.written == FILES // 10
    assert counted.of("packs/") < FILES // 10 * SIZE * 2
    store, root = other.session.avc.store, other.show("data").digest
    leaves = [child.digest for child in children(store.read(root))]
    assert 0 < len(store.has(leaves)) < len(leaves)


def test_pull_of_a_version_brings_it_whole(other, counted):
    """Whole packs, since all of them is needed: some requests for thousands of files, and then nothing is lacking."""
    pulled = other.pull(None, ["data:v0"])
    assert pulled.objects > FILES
    assert counted.requests_of("packs/") < 12
    assert other.show("data").here
    counted.clear()
    assert other.pull(None, ["data:v0"]).objects == 0
    assert counted.requests_of("packs/") == 0


def test_the_nodes_of_a_manifest_come_together(other, counted):
    """A level of nodes is one lot, not a request and a pack each."""
    root = other.show("data").digest
    other.pull()
    packs = list((other.root / ".artifacts" / "packs").glob("*.pack"))
    assert is_inner(other.session.node(root))
    assert len(packs) <= 5, "one for each level, and those that came whole"


def test_half_of_a_large_pack_is_not_fetched_for_a_few_files(other, counted, tmp_path):
    """Every other file of a pack is many ranges: then all of it comes; a run of neighbours is one range."""
    other.get("data", root=tmp_path / "got", prefix="d3")
    few = counted.of("packs/")
    counted.clear()
    other.pull()
    assert few < 8 << 20
    assert counted.of("packs/") > 30 << 20
