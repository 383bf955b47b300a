"""Consent in a repository: settings, what was adopted here, and what the error tells."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactvc.core.references import parse_address
from artifactvc.errors import BadValue, Corrupt, ReferenceRefused
from artifactvc.ops.consent import check_consent, note_adopted, open_allowed
from artifactvc.ops.session import Session
from artifactvc.sdk.repository import Repository, set_global


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with Repository.init(tmp_path / "w")[0] as made:
        yield made


def session(repository: Repository) -> Session:
    return repository._session


def refused(repository: Repository, *uris: str) -> ReferenceRefused:
    with pytest.raises(ReferenceRefused) as caught:
        check_consent(session(repository), uris)
    assert "\n" not in caught.value.message + caught.value.hint
    return caught.value


def test_nothing_is_allowed_at_first_and_the_hint_allows_it(repository):
    """The command of the hint, run as it stands, adds the places to those that were allowed before."""
    repository.config_set("refs.allow", "s3://mine")
    uris = ["s3://mine/a", "s3://theirs/a", "https://data.example.org/x,y", "file:///mnt/it's/a", "file:///mnt/it's/b"]
    error = refused(repository, *uris)
    assert error.message == "references lead to 's3://theirs' and 2 other places, which nobody here allowed"
    command = error.hint.partition("run: ")[2]
    argv = shlex.split(command)
    assert argv == [
        "avc", "config", "set", "refs.allow", "s3://mine, s3://theirs, https://data.example.org, file:///mnt/it's",
    ]  # fmt: skip
    repository.config_set(*argv[3:])
    check_consent(session(repository), uris)
    assert refused(repository, *uris, "s3://more/a").message.startswith("references lead to 's3://more', which")
    assert "'s3://m' and one other place," in refused(repository, "s3://m/a", "s3://n/a", "s3://m/b").message


def test_the_users_own_list_counts_in_every_repository(repository, tmp_path):
    set_global("refs.allow", "s3://team, https://*")
    with Repository.open(tmp_path / "w") as again:
        again.config_set("refs.allow", "s3://mine")
        check_consent(session(again), ["s3://mine/a", "s3://team/a", "https://data.example.org/a", "avc://a:v0/b"])
        refused(again, "https://127.0.0.1/a")
        refused(again, "file:///a")


def test_a_bad_setting_is_not_set(repository, tmp_path):
    with pytest.raises(BadValue):
        repository.config_set("refs.allow", "s3://mine/key")
    with pytest.raises(BadValue):
        set_global("refs.allow", "https://*.*")
    assert repository.config_get("refs.allow").value == ""
    config = tmp_path / "w" / ".artifacts" / "config.toml"
    config.write_text(config.read_text() + '\n[refs]\nallow = "mine"\n')
    with Repository.open(tmp_path / "w") as again, pytest.raises(Corrupt) as caught:
        check_consent(session(again), ["s3://mine/a"])
    assert caught.value.message.startswith("setting refs.allow: 'mine' has no scheme")


def test_what_is_recorded_here_is_allowed_here_and_nowhere_else(repository, tmp_path):
    """A path of this machine, not what is beside it; another repository is asked again."""
    for uri in ("s3://mine/a/b?versionId=7", "file:///mnt/data", "http://127.0.0.1:8080/a"):
        note_adopted(session(repository), uri)
    check_consent(session(repository), ["s3://mine/c", "file:///mnt/data/a", "http://127.0.0.1:8080/b"])
    refused(repository, "file:///mnt/data2")
    refused(repository, "http://127.0.0.1:8081/b")
    assert (tmp_path / "w" / ".artifacts" / "adopted").read_text() == (
        "s3://mine\nfile:///mnt/data\nhttp://127.0.0.1:8080\n"
    )
    with Repository.init(tmp_path / "other")[0] as other:
        refused(other, "s3://mine/c")


def test_a_place_is_noted_once_and_survives_the_index(repository, tmp_path):
    for uri in ("file:///mnt/data", "file:///mnt/data/a", "file:///mnt/data"):
        note_adopted(session(repository), uri)
    root = tmp_path / "w" / ".artifacts"
    assert (root / "adopted").read_text() == "file:///mnt/data\n"
    repository.close()
    os.unlink(root / "index.sqlite")
    with Repository.open(tmp_path / "w") as again:
        check_consent(session(again), ["file:///mnt/data/b"])


def test_half_a_line_that_a_kill_left_allows_nothing(repository, tmp_path):
    """``file:///mnt`` is what is left of ``file:///mnt/data``: more than anybody consented to."""
    note_adopted(session(repository), "s3://mine")
    path = tmp_path / "w" / ".artifacts" / "adopted"
    whole = path.read_bytes() + b"file:///mnt/data\n"
    for cut in range(len(b"s3://mine\n"), len(whole)):
        path.write_bytes(whole[:cut])
        refused(repository, "file:///mnt/x")
        refused(repository, "file:///mnt/data")
        note_adopted(session(repository), "file:///srv")
        assert path.read_bytes() == b"s3://mine\nfile:///srv\n"


def test_a_source_is_opened_only_where_it_is_allowed(repository, tmp_path):
    (tmp_path / "a.txt").write_text("a")
    address = parse_address(f"file://{tmp_path}/a.txt")
    with pytest.raises(ReferenceRefused):
        open_allowed(session(repository), address)
    found = open_allowed(session(repository), address, adopting=True).look(address)
    assert found is not None
    note_adopted(session(repository), address.uri)
    assert open_allowed(session(repository), address).look(address) == found
