"""The index is what the logs say: deleted at any moment, every answer stays the same, byte for byte."""

from __future__ import annotations

import json
import sqlite3

import pytest

from artifactvc.cli.app import plain
from artifactvc.sdk.repository import Repository
from tests.support import clone, forget_index, inside, new, origin, reopen, version, write

QUESTIONS = ("log", "show", "ls", "status", "diff")


def answers(repository: Repository) -> dict[str, str]:
    """What `log`, `show`, `ls`, `status` and `diff` say, as the command line would print it with --json."""
    with inside(repository.root):
        names = [f"{info.project}/{info.name}" for info in repository.artifacts()]
        logs = {name: list(repository.log(name)) for name in names}
        refs = [f"{name}:{info.version.rstrip('~')}" for name, infos in logs.items() for info in infos]
        told = {
            "log": logs,
            "show": [repository.show(ref) for ref in refs],
            "ls": [list(repository.artifacts()), [list(repository.entries(ref)) for ref in refs]],
            "status": repository.status(),
            "diff": [repository.diff(), *(repository.diff(refs[0], ref) for ref in refs[1:])],
        }
    return {question: json.dumps(plain(told[question]), sort_keys=True) for question in QUESTIONS}


@pytest.fixture
def lived_in(tmp_path):
    """A repository with versions, aliases, tags, runs, deletions, renames, a draft, unpushed and pushed work."""
    repository = new(tmp_path / "here", {"other/x": "x"})
    origin(repository, tmp_path / "remote")
    version(repository, {"a": "1", "deep/b": "2"}, "first")
    version(repository, {"a": "11", "deep/c": "3"}, "second")
    repository.alias("data:v0", ["best", "old"])
    repository.tag("data:v1", ["good"])
    repository.edit("data:v1", description="better", metadata={"acc": 0.5})
    repository.push()
    with inside(repository.root):
        repository.put("other", name="side", type="model", aliases=["prod"])
        repository.put("other/x", name="gone")
    repository.delete("gone:v0", delete_aliases=True)
    repository.rename("side", "aside")
    version(repository, {"a": "111"}, "third, not pushed")
    repository.delete("data:v0", delete_aliases=True)
    write(repository.root, {"data/staged": "s", "data/deep/b": None})
    with inside(repository.root):
        repository.add(["data"])
    write(repository.root, {"data/not staged": "n"})
    repository.close()
    return tmp_path / "here"


def test_deleting_the_index_changes_no_answer(lived_in):
    before = answers(reopen(lived_in))
    forget_index(lived_in)
    repository = reopen(lived_in)
    after = answers(repository)
    for question in QUESTIONS:
        assert after[question] == before[question], question
    assert repository.fsck(full=True).problems == ()
    assert '"staged": [{' in before["status"], "drafts are part of what must stay"


def test_a_damaged_index_is_made_again(lived_in):
    before = answers(reopen(lived_in))
    path = lived_in / ".artifacts" / "index.sqlite"
    forget_index(lived_in)
    path.write_bytes(b"SQLite format 3\0 but then nothing like it" * 100)
    assert answers(reopen(lived_in)) == before


def test_an_index_that_lies_about_the_log_is_made_again(lived_in):
    """It records number and digest of the last entry applied; where they disagree with the log, the log is right."""
    before = answers(reopen(lived_in))
    connection = sqlite3.connect(lived_in / ".artifacts" / "index.sqlite")
    with connection:
        connection.execute("UPDATE head SET digest = ?", ("0" * 64,))
        connection.execute("DELETE FROM version")
    connection.close()
    assert answers(reopen(lived_in)) == before


def test_an_index_that_is_behind_catches_up(lived_in, tmp_path):
    """Another process wrote entries that this index has never seen."""
    saved = (lived_in / ".artifacts" / "index.sqlite").read_bytes()
    repository = reopen(lived_in)
    repository.alias("data:v2", ["late"])
    repository.close()
    expected = answers(reopen(lived_in))
    forget_index(lived_in)
    (lived_in / ".artifacts" / "index.sqlite").write_bytes(saved)
    assert answers(reopen(lived_in)) == expected


def test_a_clone_says_what_the_remote_says(lived_in, tmp_path):
    repository = reopen(lived_in)
    repository.push()
    there = clone(tmp_path / "remote", tmp_path / "there")
    for name in ("data", "aside"):
        here = [(i.version, i.digest, i.aliases, i.tags, i.description, i.metadata) for i in repository.log(name)]
        assert [(i.version, i.digest, i.aliases, i.tags, i.description, i.metadata) for i in there.log(name)] == here
        assert all(info.pushed for info in repository.log(name))
