"""Completion as a shell does it: a real bash sources the script that ``avc completion bash`` prints."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactvc.cli.summaries import SUMMARIES
from tests.cli.conftest import AVC

BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None, reason="there is no bash here")

#: For each line, calls the function that bash would call, with what bash would tell it, and prints what it answers.
ASK = """
eval "$(avc completion bash)"
compopt() { :; }  # outside of a real completion bash refuses it
function=$(complete -p avc); function=${function#*-F }; function=${function%% *}
for line; do
    COMP_LINE=$line COMP_POINT=${#line} COMP_TYPE=9 COMP_KEY=9 COMPREPLY=()
    read -ra COMP_WORDS <<< "${line//:/ : }"; COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
    "$function" avc "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
    printf '%s\\n' "${COMPREPLY[@]}" END
done
"""


def environment() -> dict[str, str]:
    """What a shell needs to find ``avc``."""
    return {**os.environ, "PATH": f"{AVC.parent}:{os.environ['PATH']}", "TERM": "dumb", "PS1": "READY> "}


def complete(cwd: Path, *lines: str) -> list[list[str]]:
    """The words that bash offers at the end of each of *lines*."""
    done = subprocess.run(
        ["bash", "--norc", "--noprofile", "-c", ASK, "ask", *lines],
        cwd=cwd, env=environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    answers = done.stdout.split("END\n")
    assert answers.pop() == ""
    assert len(answers) == len(lines)
    return [[word.rstrip() for word in answer.splitlines() if word] for answer in answers]


@pytest.fixture(scope="module")
def several(two_versions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with two artifacts here, one in another project, and two remotes; no test changes it."""
    workspace = tmp_path_factory.mktemp("completion") / "work"
    shutil.copytree(two_versions, workspace)
    for line in (
        "put data/a.txt --name dates --alias best",
        "put data/a.txt --name zoo/cats",
        "remote add origin ../origin",
        "remote add other ../other",
        "push",
    ):
        subprocess.run([AVC, *line.split()], cwd=workspace, check=True, capture_output=True)
    return workspace


def test_script_is_registered(several):
    """The script makes bash ask a function for the words behind ``avc``."""
    script = 'eval "$(avc completion bash)"; complete -p avc'
    done = subprocess.run(["bash", "--norc", "-c", script], env=environment(), capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.startswith("complete ")
    assert " -F " in done.stdout
    assert done.stdout.endswith(" avc\n")


def test_commands(several):
    """Behind ``avc`` come the commands, and behind a group its own; those that begin as typed."""
    every, one, some, group, inside, config, none = complete(
        several, "avc ", "avc sta", "avc re", "avc remote ", "avc remote re", "avc config s", "avc zzz"
    )
    assert sorted(every) == sorted(SUMMARIES)
    assert (one, some) == (["status"], ["reset", "rename", "restore", "retention", "remote"])
    assert sorted(group) == ["add", "list", "origin", "remove", "set-url"]
    assert (inside, config, none) == (["remove"], ["set"], [])


def test_options(several):
    """Behind ``-`` come the options of that command, and behind some of them their values."""
    one, many, shared, value, choice = complete(
        several, "avc commit --al", "avc checkout --", "avc --ve", "avc add --to dat", "avc completion "
    )
    assert (one, shared) == (["--alias"], ["--version", "--verbose"])
    assert {"--link", "--force", "--path", "--json"} <= set(many)
    assert (value, choice) == (["data", "dates"], ["bash", "zsh", "fish"])


@pytest.mark.parametrize("command", ["log", "show", "checkout", "rename", "commit", "rm --from", "push origin"])
def test_artifacts(several, command):
    """Artifacts of this project come by name, of others with their project, wherever one is meant."""
    found = complete(several, *(f"avc {command} {word}" for word in ("", "da", "DATE", "zo")))
    assert found == [["data", "dates", "zoo/cats"], ["data", "dates"], ["dates"], ["zoo/cats"]]


def test_versions(several):
    """Behind ``:`` come versions, newest first, and aliases: only what follows the colon, as bash splits there."""
    asked = {
        "avc show data:": ["v1", "v0", "good", "latest"],
        "avc show data:v": ["v1", "v0"],
        "avc show data:v1": ["v1"],
        "avc diff data:v0 dates:b": ["best"],
        "avc cat zoo/cats:": ["v0", "latest"],
        "avc push origin data:g": ["good"],
        "avc show nosuch:": [],
    }
    assert dict(zip(asked, complete(several, *asked), strict=True)) == asked


def test_remotes(several):
    """Remotes come where one is meant."""
    commands = ("push", "pull", "fetch", "remote remove", "remote origin")
    assert complete(several, *(f"avc {command} " for command in commands)) == [["origin", "other"]] * 5
    assert complete(several, *(f"avc {command} or" for command in commands)) == [["origin"]] * 5


def test_quoted_words_before(several):
    """A word with spaces in quotes is one word, so what follows it is completed as it should be."""
    lines = ('avc commit -m "two words" dat', "avc commit -m 'two words' date", "avc -q show data:g")
    assert complete(several, *lines) == [["data", "dates"], ["dates"], ["good"]]


def test_in_another_directory(several):
    """``-C DIR`` counts for completion, too."""
    found = complete(several.parent, "avc -C work show date", "avc -C work show data:v")
    assert found == [["dates"], ["v1", "v0"]]


def test_where_there_is_nothing(bare):
    """Without a repository, or with a damaged one, nothing is offered and nothing is said."""
    place = bare.workspace
    assert complete(place, "avc show da", "avc show data:") == [[], []]
    bare("init")
    assert complete(place, "avc push ") == [[]]
    (place / "artifacts.toml").write_text("junk")
    (place / ".artifacts" / "index.sqlite").write_bytes(b"junk" * 5000)
    assert complete(place, "avc show da") == [[]]
    (place / ".artifacts" / "config.toml").write_text("junk")
    assert complete(place, "avc show da") == [[]]


class Terminal:
    """A bash at a terminal, to which keys are sent."""

    def __init__(self, cwd: Path) -> None:
        self.fd, theirs = pty.openpty()
        self.process = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"],
            cwd=cwd,
            env=environment(),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.seen = ""

    def until(self, text: str) -> str:
        """Read until *text* was printed; all that was printed up to there."""
        while text not in self.seen:
            poll = select.poll()  # ``select`` knows no descriptor above 1,023
            poll.register(self.fd, select.POLLIN)
            ready = poll.poll(20_000)
            assert ready, f"{text!r} never came: {self.seen!r}"
            self.seen += os.read(self.fd, 4096).decode(errors="replace")
        before, _, self.seen = self.seen.partition(text)
        return before

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self.fd, keys.encode())

    def close(self) -> None:
        """Hang up."""
        self.process.kill()
        self.process.wait()
        os.close(self.fd)


@pytest.fixture
def terminal(several: Path) -> Iterator[Terminal]:
    """A terminal in the workspace, ready to complete."""
    made = Terminal(several)
    try:
        made.until("READY> ")
        made.type("bind 'set enable-bracketed-paste off'; eval \"$(avc completion bash)\"; echo do''ne\n")
        made.until("done\r\n")
        made.until("READY> ")
        yield made
    finally:
        made.close()


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("avc statu\t", "avc status "),
        ("avc show date\t", "avc show dates "),
        ("avc show data:g\t", "avc show data:good "),
        ("avc show zoo/cats:l\t", "avc show zoo/cats:latest "),
        ("avc diff data:v0 data:v1\t", "avc diff data:v0 data:v1 "),
        ("avc remote rem\t", "avc remote remove "),
        ("avc add dat\t", "avc add data/"),
        ("avc add data/a\t", "avc add data/a.txt "),
    ],
)
def test_at_a_terminal(terminal, keys, line):
    """With the tab key at a real prompt the line becomes what was meant, the part before a colon once."""
    terminal.type(keys + "#")  # what is typed next comes right behind what was completed
    assert terminal.until("#") == line
