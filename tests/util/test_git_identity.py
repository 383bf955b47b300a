"""What Git says of who somebody is."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from artifactvc.util import git_identity as asked
from artifactvc.util.git_identity import git_identity


@pytest.fixture
def home(tmp_path):
    """The environment of somebody with a home of their own."""
    return {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "xdg"), "GIT_CONFIG_NOSYSTEM": "1"}


def test_own_and_of_the_directory(tmp_path, home):
    """The repository's own settings win over the user's, each for itself, as for a commit by Git."""
    assert git_identity(tmp_path, home) == ("", "")
    (tmp_path / ".gitconfig").write_text("[user]\n\tname = Ada Lövelace\n\temail = ada@x.org\n")
    assert git_identity(tmp_path, home) == ("Ada Lövelace", "ada@x.org")
    repository = tmp_path / "r"
    subprocess.run(["git", "init", "-q", repository], env=home, check=True)
    subprocess.run(["git", "-C", repository, "config", "user.email", "work@y.org"], env=home, check=True)
    assert git_identity(repository, home) == ("Ada Lövelace", "work@y.org")


def _children() -> set[str]:
    """The processes that this one has started and not waited for; none where the system does not tell."""
    return {pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


def test_without_git(tmp_path, home):
    """Where there is no Git, or it fails, nobody is told; no descriptor and no process stays."""
    before = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    children = _children()
    assert git_identity(tmp_path, {**home, "PATH": str(tmp_path)}) == ("", "")
    (tmp_path / ".gitconfig").write_text("[user\n")
    assert git_identity(tmp_path, home) == ("", "")
    assert len(os.listdir("/proc/self/fd") if before else []) == len(before)
    assert _children() <= children


def test_git_that_does_not_answer(tmp_path, home, monkeypatch):
    """It is ended, and nobody is told."""
    monkeypatch.setattr(asked, "_PATIENCE", 0.05)
    slow = tmp_path / "git"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(slow.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert git_identity(tmp_path, home) == ("", "")
