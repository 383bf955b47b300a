"""Who is asking: said by the environment, settings, Git, or the login, and only where something is written."""

from __future__ import annotations

import os

import pytest

from artifactvc.errors import BadName
from artifactvc.sdk import environment
from artifactvc.sdk.repository import Repository


@pytest.fixture
def environ(tmp_path):
    """The environment of user `login`, whose Git knows them."""
    (tmp_path / ".gitconfig").write_text("[user]\n\tname = Git Name\n\temail = git@x.org\n")
    return {"HOME": str(tmp_path), "USER": "login", "PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1"}


def author(tmp_path, environ) -> str:
    """The author that an entry of the log has."""
    with Repository.init(tmp_path / "ws", environ=environ)[0] as repository:
        repository.set_default_ttl(f"{len(list((repository.avc_root / 'log').iterdir())) + 1}d")
        return next(iter(repository.operations(limit=1))).author


def test_who_is_asking(tmp_path, environ):
    """The environment, then the repository's settings, the user's own, Git's as a pair, and the login at last."""
    assert author(tmp_path, {**environ, "HOME": "/nonexistent"}) == "login"
    assert author(tmp_path, environ) == "Git Name <git@x.org>"
    environment.set_global("user.name", "Own", environ=environ)
    assert author(tmp_path, environ) == "Own"
    environment.set_global("user.email", "own@x.org", environ=environ)
    assert author(tmp_path, environ) == "Own <own@x.org>"
    with Repository.open(tmp_path / "ws", environ=environ) as repository:
        repository.config_set("user.email", "work@x.org")
        assert repository.session.author == "Own <work@x.org>"
    assert author(tmp_path, {**environ, "AVC_USER_EMAIL": "e@x.org"}) == "Own <e@x.org>"
    assert author(tmp_path, {**environ, "AVC_USER": "Ada"}) == "Ada"
    assert author(tmp_path, {**environ, "AVC_USER": "Ada <ada@x.org>"}) == "Ada <ada@x.org>"
    assert author(tmp_path, {**environ, "AVC_USER": "Ada", "AVC_USER_EMAIL": "ada@x.org"}) == "Ada <ada@x.org>"


def test_the_old_spelling(tmp_path, environ):
    """`user` in a file is name and email; it is read, shown, and goes over into the new spelling."""
    with Repository.init(tmp_path / "ws", environ=environ)[0] as repository:
        file = repository.avc_root / "config.toml"
    file.write_text('user = "Ada <ada@x.org>"  # who\n' + file.read_text())
    assert author(tmp_path, environ) == "Ada <ada@x.org>"
    with Repository.open(tmp_path / "ws", environ=environ) as repository:
        assert repository.config_get("user") == repository.config_get("user.name")
        assert repository.config_get("user.email").value == "ada@x.org"
        repository.config_set("user", "Grace")
        assert repository.config_get("user.name").source == "repository"
    assert author(tmp_path, environ) == "Grace <ada@x.org>"


def test_a_name_that_cannot_stand_in_a_log(tmp_path, environ):
    """From the environment it is an error where something is written; from Git it is passed over."""
    with pytest.raises(BadName, match="bad user name"):
        author(tmp_path, {**environ, "AVC_USER": "a\nb"})
    (tmp_path / ".gitconfig").write_text('[user]\n\tname = "a\\nb"\n\temail = git@x.org\n')
    assert author(tmp_path, environ) == "login <git@x.org>"


def test_who_only_looks_does_not_ask(tmp_path, environ, monkeypatch):
    """Git is a process: commands that write nothing do not start it."""
    author(tmp_path, environ)

    def never(*args: object) -> None:
        raise AssertionError("Git was asked")

    monkeypatch.setattr("artifactvc.util.git_identity.git_identity", never)
    with Repository.open(tmp_path / "ws", environ=environ) as repository:
        repository.status()
        list(repository.artifacts())
        repository.ttl()
        with pytest.raises(AssertionError, match="Git was asked"):
            repository.set_default_ttl("100d")
