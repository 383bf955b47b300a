"""References over HTTP in a repository: followed where they are allowed, resumed where that is safe, no secret kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactvc.core.model import Entry
from artifactvc.core.references import parse_address
from artifactvc.errors import BadValue, ReferenceChanged, ReferenceRefused, RemoteUnavailable
from artifactvc.ops.consent import check_consent, note_adopted, open_allowed
from artifactvc.sdk.repository import RemoteOptions, Repository
from tests.ops.references import refer
from tests.servers.web import Page, Web, serving

DATA = bytes(range(256)) * 4000


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as server:
        yield server


def reference(repository: Repository, uri: str, path: str = "a.bin") -> Entry:
    address = parse_address(uri)
    found = open_allowed(repository._session, address, adopting=True).look(address)
    assert found is not None
    return found.entry(path)


def test_who_recorded_a_reference_follows_it_and_a_clone_asks(web, tmp_path):
    """The clone's first request goes out after the command of the hint was run, not before."""
    web.pages["/a"] = Page(DATA, '"e1"')
    with Repository.init(tmp_path / "ann")[0] as ann:
        refer(ann, [reference(ann, f"{web.place}/a")])
        ann.checkout("data", tmp_path / "ann" / "out")
        assert (tmp_path / "ann" / "out" / "a.bin").read_bytes() == DATA
        ann.remote_add("origin", str(tmp_path / "remote"), options=RemoteOptions())
        ann.push()
    web.seen.clear()
    ben, _ = Repository.clone(str(tmp_path / "remote"), tmp_path / "ben")
    with ben:
        for setting in ("", "https://*, http://*"):
            ben.config_set("refs.allow", setting)
            with pytest.raises(ReferenceRefused) as caught:
                ben.checkout("data", tmp_path / "ben" / "out")
            assert web.place in caught.value.message + caught.value.hint
            assert web.seen == []
            assert not (tmp_path / "ben" / "out" / "a.bin").exists()
        ben.config_set("refs.allow", web.place)
        ben.checkout("data", tmp_path / "ben" / "out")
        assert (tmp_path / "ben" / "out" / "a.bin").read_bytes() == DATA


@pytest.mark.parametrize(("etag", "goes_on"), [('"e1"', True), ('W/"e1"', False), (None, False)])
def test_a_download_that_broke_is_gone_on_with_by_the_next_command_if_that_is_safe(web, tmp_path, etag, goes_on):
    page = web.pages["/a"] = Page(DATA, etag)
    with Repository.init(tmp_path / "w")[0] as repository:
        refer(repository, [reference(repository, f"{web.place}/a")])
        page.cuts = [600_000] + [0] * 40
        with pytest.raises(RemoteUnavailable):
            repository.checkout("data", tmp_path / "w" / "out")
    page.cuts = []
    web.seen.clear()
    with Repository.open(tmp_path / "w") as repository:
        repository.checkout("data", tmp_path / "w" / "out")
    assert (tmp_path / "w" / "out" / "a.bin").read_bytes() == DATA
    assert any("Range" in headers for _, _, headers in web.seen) == goes_on


def test_what_changed_is_an_error_that_names_file_and_identities(web, tmp_path):
    page = web.pages["/a"] = Page(DATA, '"e1"')
    with Repository.init(tmp_path / "w")[0] as repository:
        refer(repository, [reference(repository, f"{web.place}/a")])
        page.etag = '"e2"'
        with pytest.raises(ReferenceChanged) as caught:
            repository.checkout("data", tmp_path / "w" / "out")
    assert all(word in caught.value.message for word in ("a.bin", f"{web.place}/a", "'e1'", "'e2'"))


SECRET = "Zq7w9Kx4"


@pytest.mark.parametrize(
    "uri", [f"https://user:{SECRET}@host/a", f"https://host/a?X-Amz-Signature={SECRET}", f"s3://k:{SECRET}@b/a",
            f"gs://b/a?X-Goog-Signature={SECRET}", f"https://account.blob.core.windows.net/c/a?sig={SECRET}"]
)  # fmt: skip
def test_no_file_of_a_repository_holds_a_secret_of_an_address(tmp_path: Path, uri):
    with Repository.init(tmp_path / "w")[0] as repository:
        session = repository._session
        for deed in (
            lambda: note_adopted(session, uri),
            lambda: check_consent(session, [uri]),
            lambda: repository.config_set("refs.allow", uri),
        ):
            with pytest.raises(BadValue) as caught:
                deed()
            assert SECRET not in caught.value.message + caught.value.hint
    kept = [path for path in (tmp_path / "w").rglob("*") if path.is_file()]
    assert kept
    assert not any(SECRET.encode() in path.read_bytes() for path in kept)
