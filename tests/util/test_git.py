"""What Git says of a directory, and that no secret is among it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactvc.util import git
from artifactvc.util.git import git_state, without_credentials


def run(directory: Path, *words: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@localhost", "-c", "init.defaultBranch=main")
    return subprocess.run(["git", *who, *words], cwd=directory, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A Git work tree with one commit."""
    run(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("a\n")
    run(tmp_path, "add", "a")
    run(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_a_work_tree(tree):
    """Commit, branch, remote; dirty as soon as a tracked file differs, not by files that Git does not track."""
    below = tree / "sub"
    below.mkdir()
    (tree / "untracked").write_text("u\n")
    head = run(tree, "rev-parse", "HEAD").strip()
    assert git_state(below) == {"commit": head, "branch": "main", "dirty": False, "remote": None}
    (tree / "a").write_text("b\n")
    run(tree, "remote", "add", "other", "/srv/other.git")
    run(tree, "remote", "add", "origin", "https://ada:secret@example.org/code.git?token=1")
    state = git_state(tree)
    assert state == {"commit": head, "branch": "main", "dirty": True, "remote": "https://example.org/code.git"}


def test_the_first_remote_where_there_is_no_origin(tree):
    run(tree, "remote", "add", "upstream", "git@example.org:code.git")
    state = git_state(tree)
    assert state is not None
    assert state["remote"] == "git@example.org:code.git"


def test_a_detached_head_has_no_branch(tree):
    run(tree, "checkout", "-q", "--detach")
    state = git_state(tree)
    assert state is not None
    assert (state["branch"], state["dirty"], len(state["commit"])) == (None, False, 40)


def test_before_the_first_commit(tmp_path):
    """A new repository has a branch and no commit."""
    run(tmp_path, "init", "-q")
    assert git_state(tmp_path) == {"commit": None, "branch": "main", "dirty": False, "remote": None}


def test_nothing_where_there_is_no_repository(tmp_path, monkeypatch):
    """No repository, no directory and no Git are one answer: None."""
    assert git_state(tmp_path) is None
    assert git_state(tmp_path / "absent") is None
    run(tmp_path, "init", "-q")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) is None


def test_a_slow_git_is_not_waited_for(tree, monkeypatch):
    """Where status does not answer in time, the commit is told all the same, and dirtiness is not known."""
    real = subprocess.run(["sh", "-c", "command -v git"], capture_output=True, text=True).stdout.strip()
    tools = tree / "tools"
    tools.mkdir()
    slow = tools / "git"
    slow.write_text(f'#!/bin/sh\nfor w; do [ "$w" = status ] && exec sleep 60; done\nexec {real} "$@"\n')
    slow.chmod(0o755)
    head = run(tree, "rev-parse", "HEAD").strip()
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(git, "PATIENCE", 1.0)
    assert git_state(tree) == {"commit": head, "branch": None, "dirty": None, "remote": None}


def test_nothing_is_written_and_no_monitor_started(tree):
    """Asking neither refreshes Git's index nor runs a program that the repository's settings name."""
    spy = tree / "spy"
    spy.write_text(f"#!/bin/sh\ntouch {tree}/spied\n")
    spy.chmod(0o755)
    run(tree, "config", "core.fsmonitor", str(spy))
    os.utime(tree / "a", (1, 1))
    before = (tree / ".git" / "index").stat().st_mtime_ns, (tree / ".git" / "index").read_bytes()
    assert git_state(tree) is not None
    assert ((tree / ".git" / "index").stat().st_mtime_ns, (tree / ".git" / "index").read_bytes()) == before
    assert not (tree / "spied").exists()


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://user:pass@example.org/a.git", "https://example.org/a.git"),
        ("https://token@example.org/a.git", "https://example.org/a.git"),
        ("https://user:p@ss@example.org/a.git", "https://example.org/a.git"),
        ("https://user:pa/ss@example.org/a.git", "https://example.org/a.git"),
        ("https://user:pa#ss@example.org/a.git", "https://example.org/a.git"),
        ("https://example.org/a.git?access_token=x#y", "https://example.org/a.git"),
        ("https://user:pass@[::1]:8080/a", "https://[::1]:8080/a"),
        ("ssh://git@example.org:22/a.git", "ssh://example.org:22/a.git"),
        ("https://example.org:443/@scope/a", "https://example.org:443/@scope/a"),
        ("git@example.org:team/a.git", "git@example.org:team/a.git"),
        ("user:pass@example.org:a.git", "example.org:a.git"),
        ("/srv/git/a@b.git", "/srv/git/a@b.git"),
        ("../a.git", "../a.git"),
        ("file:///srv/a.git", "file:///srv/a.git"),
    ],
)
def test_credentials_are_taken_out(url, safe):
    """What could be a secret in a URL goes; what says where the code is stays."""
    assert without_credentials(url) == safe


_SECRET = st.text("abcXYZ019/@:#?%!", min_size=1).map(lambda text: f"s3cret{text}")


@given(user=st.from_regex(r"[a-z]{0,5}", fullmatch=True), secret=_SECRET)
def test_no_password_survives(user, secret):
    """Whatever a password is made of, written raw into the URL it does not come through."""
    assert "s3cret" not in without_credentials(f"https://{user}:{secret}@example.org/a.git")
