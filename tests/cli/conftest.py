"""``avc``: a workspace and the command to run in it.

Most runs are in this process, which is quick; ``process`` starts a real one where file
descriptors, signals or privileges matter. ``refused`` says all that every error promises.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from jsonschema import Draft202012Validator

from artifactvc.cli.main import run

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "docs" / "json"
_MADE_ANEW = (".artifacts/index.", ".artifacts/locks/", ".artifacts/store.lock", ".artifacts/remotes/")
AVC = Path(sys.executable).with_name("avc")


class Done(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


@functools.cache
def schema(name: str) -> Draft202012Validator:
    """The schema ``docs/json/<name>.json``."""
    body = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(body)
    return Draft202012Validator(body)


def command_of(argv: tuple[str, ...]) -> str:
    """The schema's name of a command line that begins with its command."""
    groups = ("artifact", "cache", "remote", "config", "op")
    words = 3 if argv[:2] == ("artifact", "cache") else 2 if argv[0] in groups else 1
    return "-".join(argv[:words])


@dataclass
class Avc:
    """The command, run in *workspace*."""

    workspace: Path
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch
    restless: Path | None = None  # a file that others keep changing

    # ---- running ---------------------------------------------------------------------------------

    def __call__(self, *argv: str | Path, code: int = 0, cwd: Path | None = None) -> str:
        """Run a command that must end with *code*; its standard output."""
        done = self.run(*argv, cwd=cwd)
        assert done.code == code, f"avc {' '.join(map(str, argv))} ended with {done.code}\n{done.out}{done.err}"
        return done.out

    def run(self, *argv: str | Path, cwd: Path | None = None) -> Done:
        """Run a command in this process."""
        words = [os.fspath(word) for word in argv]
        self.monkeypatch.setattr(sys, "argv", ["avc", *words])
        self.monkeypatch.setattr(os, "fsync", lambda fd: None)  # what a power cut leaves is not what is tested here
        self.monkeypatch.chdir(cwd or self.workspace)
        self.capsys.readouterr()
        code = run(words)
        out, err = self.capsys.readouterr()
        assert "Traceback" not in out + err, err
        return Done(code, out, err)

    def process(self, *argv: str | Path, cwd: Path | None = None, **settings: Any) -> Done:
        """Run a command as a process of its own, which is ended with all its children if it takes too long."""
        process = self.start(*argv, cwd=cwd, **settings)
        try:
            out, err = process.communicate(timeout=20)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert "Traceback" not in out + err, err
        return Done(process.returncode, out, err)

    def start(self, *argv: str | Path, cwd: Path | None = None, **settings: Any) -> subprocess.Popen[str]:
        """Start a command in a process group of its own, as a terminal does."""
        words = [os.fspath(AVC), *map(os.fspath, argv)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            words, cwd=cwd or self.workspace, text=True, start_new_session=True, **{**pipes, **settings}
        )

    # ---- answers ---------------------------------------------------------------------------------

    def documents(self, *argv: str | Path, code: int = 0, cwd: Path | None = None) -> list[Any]:
        """Run a command with ``--json``; the results of its documents, each checked against the schema."""
        # What stands behind `run` belongs to the command that it runs.
        asked = (argv[0], "--json", *argv[1:]) if argv[0] == "run" else (*argv, "--json")
        out = self(*asked, code=code, cwd=cwd)
        words = tuple(map(os.fspath, argv))
        found = []
        for line in out.splitlines():
            body = json.loads(line)
            schema(command_of(words)).validate(body)
            found.append(body["result"])
        return found

    def json(self, *argv: str | Path, code: int = 0, cwd: Path | None = None) -> Any:
        """The result of a command that prints one document."""
        found = self.documents(*argv, code=code, cwd=cwd)
        assert len(found) == 1, f"{len(found)} documents"
        return found[0]

    def refused(
        self, *argv: str | Path, kind: str, message: str | re.Pattern[str], hint: str | re.Pattern[str],
        code: int = 1, usage: str = "",
    ) -> None:  # fmt: skip
        """Run a command that must fail with exactly these words, as text and as JSON, and change nothing.

        *usage* is the line above the error where the command line itself was wrong.
        """
        before = self.state()
        done = self.run(*argv)
        assert done.code == code, f"it ended with {done.code}\n{done.out}{done.err}"
        lines = done.err.splitlines()
        if usage:
            assert lines.pop(0) == usage
        said = {"class": kind, "message": lines[0].removeprefix("error: "), "hint": ""}
        if len(lines) > 1:
            said["hint"] = lines[1].removeprefix("hint: ")
        expected = [f"error: {said['message']}"] + ([f"hint: {said['hint']}"] if said["hint"] else [])
        assert (lines, done.out) == (expected, "")
        for words, wanted in ((said["message"], message), (said["hint"], hint)):
            if isinstance(wanted, str):
                assert words == wanted
            else:
                assert wanted.fullmatch(words), f"{words!r} is not like {wanted.pattern!r}"
        if argv[0] != "cat":  # which has no JSON
            body = json.loads(self.run(*argv, "--json").out)
            schema("error").validate(body)
            assert body["error"] == said
        assert self.state() == before
        self.sound()

    def sound(self) -> None:
        """Every byte in the repository is what it should be, where there is a repository."""
        if (self.workspace / ".artifacts").is_dir():
            done = self.run("fsck", "--full")
            assert done.code == 0, done.out + done.err
            assert done.out.endswith("every byte: sound\n")

    def state(self) -> dict[str, str]:
        """All that a refused command must leave alone: names, drafts, settings, stored bytes, and the files.

        Not the index and what is remembered of remotes, which are made anew from what is true.
        """
        found = {}
        for path in _files(self.workspace):
            name = path.relative_to(self.workspace).as_posix()
            if path != self.restless and not name.startswith(_MADE_ANEW):
                found[name] = _content(path)
        return found

    # ---- making ----------------------------------------------------------------------------------

    def write(self, files: Mapping[str, str | bytes]) -> None:
        """Write files of the workspace, each with the directories above it."""
        for name, content in files.items():
            path = self.workspace / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, files: Mapping[str, str | bytes], name: str = "data", *options: str) -> str:
        """Write *files* into directory *name*, add and commit it; the version's digest."""
        self.write({f"{name}/{path}": content for path, content in files.items()})
        self("add", name)
        (made,) = self.json("commit", name, *options)
        digest: str = made["digest"]
        return digest


def _files(top: Path) -> Iterator[Path]:
    for directory, names, files in os.walk(top):
        yield from (Path(directory) / name for name in files)
        yield from (Path(directory) / name for name in names if (Path(directory) / name).is_symlink())


def _content(path: Path) -> str:
    if path.is_symlink():
        return f"-> {os.readlink(path)}"
    if not path.is_file():
        return "special"
    stat = path.stat()
    return f"{stat.st_mode:o} {stat.st_mtime_ns} {hashlib.sha256(path.read_bytes()).hexdigest()}"


@pytest.fixture
def bare(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Avc:
    """The command in an empty directory called ``work``, without a repository."""
    workspace = tmp_path / "work"
    workspace.mkdir()
    return Avc(workspace, capsys, monkeypatch)


@pytest.fixture
def avc(bare: Avc) -> Avc:
    """The command in a new repository; its project is ``work``, its user ``ada``."""
    bare.monkeypatch.setenv("USER", "ada")
    bare("init")
    return bare


@pytest.fixture(scope="session")
def two_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that is copied for each test that wants it: making it takes seven commands."""
    workspace = tmp_path_factory.mktemp("template") / "work"
    workspace.mkdir()

    def avc(*argv: str) -> None:
        environment = {**os.environ, "USER": "ada"}
        done = subprocess.run([AVC, *argv], cwd=workspace, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr

    data = workspace / "data"
    (data / "sub").mkdir(parents=True)
    (data / "a.txt").write_text("one\n")
    (data / "sub" / "b.txt").write_text("bee\n")
    avc("init")
    avc("add", "data")
    avc("commit")
    (data / "a.txt").write_text("one and two\n")
    (data / "sub" / "b.txt").rename(data / "sub" / "c.txt")
    (data / "sub" / "c.txt").write_text("sea\n")
    avc("add")
    avc("commit", "--alias", "good")
    return workspace


@pytest.fixture
def data(bare: Avc, two_versions: Path) -> Avc:
    """The command where ``data`` has two versions and is bound; v1 has the aliases ``latest`` and ``good``.

    v0 is ``a.txt`` and ``sub/b.txt``; v1 a longer ``a.txt`` and ``sub/c.txt``.
    """
    bare.monkeypatch.setenv("USER", "ada")
    shutil.copytree(two_versions, bare.workspace, symlinks=True, dirs_exist_ok=True)
    return bare
