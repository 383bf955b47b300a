"""Every command in its main use and with each of its options, as text and as JSON."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from jsonschema import ValidationError

from artifactvc import __version__
from artifactvc.cli.app import COMMANDS, Shared
from artifactvc.cli.app import avc as root
from artifactvc.cli.summaries import SUMMARIES
from artifactvc.core import results
from tests.cli.conftest import AVC, SCHEMAS, Avc, command_of, schema
from tests.servers.web import OLD, Page, serving

LARGE = bytes(range(256)) * 1024  # larger than what goes into packs
AS_ROOT = ("--force",) if os.geteuid() == 0 else ()


def every_command() -> dict[str, click.Command]:
    """Each command by its full name, those of groups too."""
    context = click.Context(root, obj=Shared())
    found: dict[str, click.Command] = {}
    left = {name: root.get_command(context, name) for name in COMMANDS}
    while left:
        name, command = left.popitem()
        assert command is not None
        found[name] = command
        if isinstance(command, click.Group):
            left |= {f"{name} {sub}": command.commands[sub] for sub in command.commands}
    return found


GROUPS = ("artifact", "artifact cache", "cache", "remote", "config", "op")
NO_JSON = ("cat", "completion")  # what they print is no JSON


def names(avc: Avc, ref: str) -> list[str]:
    """The paths in a version."""
    return avc("ls", ref).splitlines()


def other_place(avc: Avc, name: str) -> Path:
    """A directory beside the workspace."""
    path = avc.workspace.parent / name
    path.mkdir()
    return path


# ---- what all commands share ------------------------------------------------------------------------


def test_version(bare):
    """``--version`` prints one line, by each of the three ways to ask."""
    assert bare("--version") == bare("-V") == f"avc {__version__}\n"
    assert bare.process("--version").out == f"avc {__version__}\n"
    done = subprocess.run([sys.executable, "-m", "artifactvc", "-V"], capture_output=True, text=True)
    assert done.stdout == f"avc {__version__}\n"


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"]])
def test_help_lists_every_command(bare, argv):
    """``avc`` alone and ``avc --help`` show each command with its summary, no line wider than 80."""
    out = bare(*argv)
    for name, summary in SUMMARIES.items():
        assert re.search(rf"^  {name} +{re.escape(summary)}$", out, re.M), name
    assert max(map(len, out.splitlines())) <= 80
    assert set(SUMMARIES) == set(COMMANDS)


@pytest.mark.parametrize("name", sorted(every_command()))
def test_help_of_each_command(bare, name):
    """``avc COMMAND --help`` begins with the summary, and shows each option with what it does."""
    command = every_command()[name]
    out = bare(*name.split(), "--help")
    assert out == bare(*name.split(), "-h")
    assert out.startswith(f"Usage: avc {name} ")
    first = (command.help or "").partition("\n")[0]
    assert first.endswith((".", "options."))
    if name in SUMMARIES:
        assert SUMMARIES[name] == first
    said = " ".join(out.split())
    assert first in said
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"{name} {option.opts} has no help"
            assert all(word in said for word in (*option.opts, option.help))
    assert {"-C", "-q", "-v", "--json"} <= {word for option in command.params for word in option.opts}


@pytest.mark.parametrize("name", GROUPS)
def test_a_group_alone(bare, name):
    """``avc remote`` alone says that a command is missing and where they are; the help is not made an error."""
    usage = f"Usage: avc {name} [OPTIONS] COMMAND [ARGS]..."
    hint = f"run 'avc {name} --help'"
    bare.refused(*name.split(), kind="UsageError", message="missing command", hint=hint, code=2, usage=usage)


def test_run_in_another_directory(data):
    """``-C DIR`` before or behind the command: the repository and relative paths are those of DIR."""
    (data.workspace / "data" / "new.txt").write_text("new\n")
    above = data.workspace.parent
    for argv in (["-C", "work", "status"], ["status", "-C", "work"]):
        assert "? new.txt" in data(*argv, cwd=above)
    assert "1 added" in data("-C", "work/data/sub", "add", "..", cwd=above)


def test_commands_work_below_the_workspace(data):
    """The repository is found upwards, and a path means what it means where the command is run."""
    (data.workspace / "data" / "sub" / "d.txt").write_text("dee\n")
    out = data("add", "d.txt", cwd=data.workspace / "data" / "sub")
    assert out == "staged work/data (dataset): 1 added; 3 entries\n"
    data("commit")
    assert "sub/d.txt" in names(data, "data")


def test_repository_named_by_the_environment(data, monkeypatch):
    """``AVC_DIR`` names the repository from anywhere, as ``.artifacts`` or as the directory around it."""
    elsewhere = other_place(data, "elsewhere")
    for place in (data.workspace, data.workspace / ".artifacts"):
        monkeypatch.setenv("AVC_DIR", str(place))
        assert names_in_log(data("log", "data", cwd=elsewhere)) == ["v1", "v0"]


def names_in_log(out: str) -> list[str]:
    """The versions that ``log`` lists."""
    return [line.split()[0] for line in out.splitlines()]


def test_quiet(data):
    """``-q`` prints errors only: no answer, no note; an error is printed all the same."""
    for argv in (["status"], ["ls"], ["log", "data"], ["add"], ["commit"], ["checkout", "data:v0"], ["fsck"]):
        done = data.run("-q", *argv)
        assert done == (0, "", ""), argv
    assert data.run("log", "-q", "dat").err.startswith("error: no artifact 'dat'\n")
    assert data.process("-q", "cat", "data", "a.txt").out == "one and two\n"


def test_verbose(avc):
    """``-v`` lists every path where 20 are shown without it, and what ``add`` and ``checkout`` do to each."""
    avc.write({f"data/{n:02}.txt": f"{n}\n" for n in range(30)})
    listed = [f"+ {n:02}.txt" for n in range(30)]
    short = avc("add", "data", "--dry-run")
    assert listed[19] in short
    assert listed[20] not in short
    assert "  … and 10 more (-v lists them)\n" in short
    for argv in (["add", "data", "--dry-run", "-v"], ["add", "-v", "data"], ["status", "-v"], ["-v", "status"]):
        out = avc(*argv)
        assert [line.strip() for line in out.splitlines() if "+" in line] == listed, argv
    avc("commit")
    assert [line.strip() for line in avc("checkout", "data", "../out", "-v").splitlines()[1:]] == listed


def test_nothing_is_coloured_or_counted_in_a_pipe(data):
    """In a pipe there is no escape sequence, nor any progress."""
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    (data.workspace / "data" / "a.txt").write_text("changed\n")
    for argv in (["status"], ["add"], ["diff"], ["show", "data"]):
        done = data.process(*argv, env=environment)
        assert done.code == 0
        assert "\x1b" not in done.out + done.err
        assert done.err == ""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8:strict"])
def test_output_in_every_encoding(avc, encoding):
    """What a terminal's encoding cannot show is escaped; it is no reason to fail, and JSON stays what it is."""
    avc.write({f"data/{n}é→": f"{n}" for n in range(25)})
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for argv in (["add", "data", "--dry-run"], ["add", "data"], ["status"], ["commit"], ["ls", "data"]):
        done = subprocess.run([AVC, *argv], cwd=avc.workspace, env=environment, capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"")
    done = subprocess.run([AVC, "ls", "data", "--json"], cwd=avc.workspace, env=environment, capture_output=True)
    encoding = encoding.partition(":")[0]
    assert [json.loads(line)["result"]["path"] for line in done.stdout.decode(encoding).splitlines()] == sorted(
        f"{n}é→" for n in range(25)
    )


# ---- JSON -----------------------------------------------------------------------------------------


def test_schemas_are_those_of_the_results():
    """Each command that prints JSON has a schema, whose parts have exactly the fields of the result classes."""
    printing = {name.replace(" ", "-") for name in every_command() if name not in (*GROUPS, *NO_JSON)}
    assert {path.stem for path in SCHEMAS.glob("*.json")} == printing | {"error"}
    for path in SCHEMAS.glob("*.json"):
        body = json.loads(path.read_text())
        schema(path.stem)
        for name, part in body.get("$defs", {}).items():
            fields = [field.name for field in dataclasses.fields(getattr(results, name[0].upper() + name[1:]))]
            assert list(part["properties"]) == part["required"] == fields, f"{path.name}: {name}"
            assert part["additionalProperties"] is False


def test_json_of_every_command(avc):
    """A whole day with ``--json``: every document of every command is as its schema says, and alone on stdout."""
    avc.write({"data/a.txt": "a\n", "data/run.sh": "#!/bin/sh\n", "meta.json": '{"deep": {"er": [1, null]}}'})
    (avc.workspace / "data" / "run.sh").chmod(0o755)
    (avc.workspace / "data" / "link").symlink_to("a.txt")
    seen: set[str] = set()
    wrong: list[str] = []

    def run(line: str) -> None:
        argv = line.split()
        seen.add(command_of(tuple(argv)))
        try:
            avc.documents(*argv)
        except (AssertionError, ValueError, ValidationError) as error:
            wrong.append(f"avc {line}: {error}")

    script = """
        init . --project work; config set user ada; config get user; config list; status; ls
        add data --dry-run; add data; status; diff; rm --from data run.sh --dry-run; rm --from data run.sh; reset data
        add data; commit data --dry-run; commit -m text --alias a --tag t --meta @meta.json --meta k=1
        commit; commit --run r1; log data; show data; ls; ls data; ls data link; ls --projects; ls --types
        alias data:v0 b c; alias -d data:v0 b; tag data:v0 u; tag data:v0 u -d; edit data --meta k= -m other
        edit --artifact data --description words; ttl data:v0; ttl data:v0 30d; ttl --default 90d; ttl --default
        show data; log data; ttl data:v0 1s; expire --dry-run; ttl data:v0 inherit; ttl --default none; expire
        ttl --editors ada,ben@x.org; ttl --editors; ttl --anyone
        retention data --keep-last 2 --dry-run; retention data --keep-last 2; retention data; retention --default
        checkout data ../out --dry-run; checkout data ../out; get data; put data/a.txt --name single --type model
        artifact put data -n art; artifact ls; artifact ls -t nothing; artifact get art
        run --use data --log out=data/a.txt -- true; runs; lineage data
        rename art arts; delete arts:v0 --delete-aliases --dry-run; delete arts:v0 --delete-aliases; restore arts:v0
        fsck; fsck --full --repair; du
        remote add first ../first; remote add second ../second; remote list; remote origin second; remote origin first
        push --dry-run; push; push; push second; fetch; fetch second; pull --dry-run; pull; status; show data
        clone ../first ../clone; remote set-url second ../second; remote remove second; gc --dry-run; gc --grace 1s
        gc first --dry-run; gc first --grace 0s
        cache info; cache cleanup 1GB --dry-run; cache cleanup 0 --remove-temp; artifact cache cleanup 10GB
        tag data later; op log; op log -n 1; undo --dry-run; undo
        config set store.path ../store; cache forget /gone
    """
    for line in re.split(r"[;\n]", script):
        if line.startswith(" cache forget"):
            listed = avc.workspace.parent / "store" / "repositories" / "gone.json"
            listed.write_text(json.dumps({"path": "/gone/.artifacts", "id": "0" * 32}))
        if line.strip():
            run(line)
    avc.write({"data/a.txt": "changed\n"})
    for line in ("add", "status", "diff data:v0", "commit", "diff data:v0 data:v1", "diff single data", "log data"):
        run(line)
    assert not wrong, "\n\n".join(wrong)
    assert seen == {path.stem for path in SCHEMAS.glob("*.json")} - {"error"}


def test_json_streams_lines(data):
    """``log`` and ``ls`` print a document for each result, and nothing where there is none."""
    assert [row["version"] for row in data.documents("log", "data")] == ["v1", "v0"]
    assert [row["path"] for row in data.documents("ls", "data:v0")] == ["a.txt", "sub/b.txt"]
    assert [row["name"] for row in data.documents("ls")] == ["data"]
    assert data.documents("ls", "--projects") == ["work"]
    assert data.documents("ls", "--types") == ["dataset"]
    assert data.documents("log", "data", "-n", "0") == []


def test_json_leaves_stdout_to_the_document(data):
    """Notes go to stderr, so that what reads stdout finds JSON alone."""
    data.commit({"a.txt": "three\n", "sub/c.txt": "sea\n"})
    data("checkout", "data:v0")
    data.commit({"a.txt": "four\n"})
    done = data.run("commit", "--json")
    assert (done.out, done.err) == ('{"schema": 1, "command": "commit", "result": []}\n', "")


@pytest.mark.parametrize("argv", [["cat", "data", "a.txt"], ["completion", "bash"]])
def test_json_where_there_is_none(data, argv):
    """A command whose answer is no JSON says so; it never prints nothing and calls it done."""
    done = data.run(*argv, "--json")
    assert done.code == 2
    body = json.loads(done.out)
    schema("error").validate(body)
    assert body["error"]["class"] == "UsageError"
    assert body["error"]["message"].startswith(f"{argv[0]} prints ")
    assert body["error"]["hint"]


# ---- init, config -----------------------------------------------------------------------------------


def test_init(bare):
    """``init`` makes a repository once, here or in DIR, and says where; its project is the directory's name."""
    place = bare.workspace / ".artifacts"
    assert bare("init") == f"made a repository at {place} (project work)\n"
    assert (place / ".gitignore").read_text() == "*\n"
    assert bare("init") == f"there is a repository already at {place} (project work)\n"
    made = bare.json("init", "below/deep", "--project", "other one")
    path = bare.workspace / "below" / "deep" / ".artifacts"
    assert made == {"path": str(path), "project": "other one", "created": True, "remote": None}
    assert bare("init", "--project", "renamed") == f"there is a repository already at {place} (project renamed)\n"
    assert bare("config", "get", "project") == "renamed\n"


def test_config(avc, own_home):
    """Settings have a default, the user's own value and the repository's, which wins; lists say where each is from."""
    listed = (
        "distributed.origin = true (default)\nentity = ada (default)\ngc.grace = 14d (default)\n"
        "project = work (repository)\nrefs.allow =  (default)\nstore.path =  (default)\nuser.email =  (default)\n"
        "user.name = ada (default)\n"
    )
    assert avc("config", "list") == listed
    assert avc("config", "set", "--global", "gc.grace", "3d") == "gc.grace = 3d (global)\n"
    assert avc("config", "get", "gc.grace") == "3d\n"
    assert avc("config", "set", "gc.grace", "2w") == "gc.grace = 2w (repository)\n"
    assert avc("config", "get", "gc.grace") == "2w\n"
    assert avc("config", "--global", "get", "gc.grace") == "3d\n"
    assert (own_home / ".config" / "avc" / "config.toml").read_text() == '[gc]\ngrace = "3d"\n'
    assert "gc.grace = 2w (repository)\n" in avc("config", "list")


def test_config_of_the_user_needs_no_repository(bare):
    """``config --global`` works anywhere, and the name set there is who commits."""
    bare("config", "set", "--global", "user", "Grace Hopper")
    assert bare.json("config", "get", "user", "--global") == {
        "name": "user.name",
        "value": "Grace Hopper",
        "source": "global",
    }
    bare("init")
    bare.commit({"a": "a"})
    assert bare.json("show", "data")["author"] == "Grace Hopper"


def test_config_list_of_the_user(bare, own_home):
    """``config list --global``, in either order, lists what the user's own file holds, with no repository around."""
    for argv in (["config", "--global", "list"], ["config", "list", "--global"]):
        assert bare.run(*argv) == (
            0,
            "",
            "note: the user's own file holds no setting (run 'avc config set --global NAME VALUE')\n",
        )
    bare("config", "set", "--global", "user", "Grace Hopper")
    bare("config", "--global", "set", "gc.grace", "3d")
    for argv in (["config", "--global", "list"], ["config", "list", "--global"]):
        assert bare(*argv) == "gc.grace = 3d (global)\nuser.name = Grace Hopper (global)\n"
    assert bare.json("config", "list", "--global") == [
        {"name": "gc.grace", "value": "3d", "source": "global"},
        {"name": "user.name", "value": "Grace Hopper", "source": "global"},
    ]


# ---- add, rm, status ----------------------------------------------------------------------------------


def test_add_directory_whole(avc):
    """A directory is taken whole, at the root of the artifact named after it: new, changed and removed files."""
    avc.write({"data/a.txt": "a\n", "data/b.txt": "b\n", "data/deep/c.txt": "c\n"})
    assert avc("add", "data") == "staged work/data (dataset): 3 added; 3 entries\n"
    assert avc("add", "data") == "staged work/data (dataset): nothing changed; 3 entries\n"
    avc("commit")
    avc.write({"data/a.txt": "other\n", "data/new.txt": "n\n"})
    (avc.workspace / "data" / "b.txt").unlink()
    (done,) = avc.json("add", "data")
    changed = [(change["path"], change["status"]) for change in done["changes"]]
    assert changed == [("a.txt", "modified"), ("b.txt", "removed"), ("new.txt", "added")]
    assert [done[key] for key in ("added", "modified", "removed", "unchanged", "entries")] == [1, 1, 1, 1, 3]


def test_add_an_empty_directory(avc):
    """Empty directories are not kept, which is said where nothing else is there to be added."""
    (avc.workspace / "data" / "deep").mkdir(parents=True)
    assert avc("add", "data") == (
        "staged work/data (dataset): nothing changed; 0 entries (empty directories are not kept)\n"
    )
    avc.write({"data/x": "x"})
    assert avc("add", "data") == "staged work/data (dataset): 1 added; 1 entry\n"


def test_add_several_paths(avc):
    """Each path goes to an artifact named after it; a file enters by its base name, other characters become '-'."""
    avc.write({"data/a": "a", "model.pt": "weights", "my files/x": "x"})
    assert avc("add", "data", "model.pt", "my files").splitlines() == [
        "staged work/data (dataset): 1 added; 1 entry",
        "staged work/model.pt (dataset): 1 added; 1 entry",
        "staged work/my-files (dataset): 1 added; 1 entry",
    ]
    avc("commit")
    assert names(avc, "model.pt") == ["model.pt"]
    assert names(avc, "my-files") == ["x"]


def test_add_to_one_artifact(avc):
    """``--to`` puts paths into one artifact, ``--as`` below a directory of it, ``--type`` gives a new one its type."""
    avc.write({"images/1.png": "1", "labels/1.txt": "one", "readme.md": "read"})
    avc("add", "images", "--to", "pictures", "--as", "img/train", "--type", "images")
    avc("add", "labels", "readme.md", "--to", "both")
    avc("commit")
    assert names(avc, "pictures") == ["img/train/1.png"]
    assert names(avc, "both") == ["1.txt", "readme.md"]
    assert avc.json("show", "pictures")["type"] == "images"
    (row,) = avc.json("status", "both")["artifacts"]
    assert row["paths"] == ["labels", "readme.md"]


def test_several_paths_of_one_artifact_stay_apart(avc):
    """Paths of one artifact are added one by one without undoing each other, and checked out each to its place."""
    avc.write({"images/1.png": "1", "labels/1.txt": "one", "readme.md": "read"})
    avc("add", "images", "--to", "set", "--as", "img")
    assert avc("add", "labels", "--to", "set") == "staged work/set (dataset): 1 added; 2 entries\n"
    assert avc("add", "readme.md", "--to", "set") == "staged work/set (dataset): 1 added; 3 entries\n"
    avc("commit")
    assert avc("status") == "work/set (v0) in images, labels, readme.md\n  clean: 3 entries\n"
    before = avc.state()
    assert avc.json("checkout", "set")["written"] == 0
    assert avc.state() == before


def test_several_paths_at_the_root_of_one_artifact(avc):
    """Two directories may both enter at the root; adding one of them again leaves what the other gave."""
    avc.write({"one/a": "a", "two/b": "b"})
    avc("add", "one", "--to", "set")
    avc("add", "two", "--to", "set")
    avc("commit")
    assert names(avc, "set") == ["a", "b"]
    avc.write({"one/c": "c"})
    (avc.workspace / "one" / "a").unlink()
    assert avc("add", "one") == "staged work/set (dataset): 1 added, 1 removed; 2 entries\n"


def test_add_to_another_project(avc):
    """An artifact may be named with its project."""
    avc.write({"data/a": "a"})
    assert avc("add", "data", "--to", "vision/cats").startswith("staged vision/cats (dataset): 1 added")
    avc("commit")
    assert names(avc, "ada/vision/cats:v0") == ["a"]
    assert avc("ls", "--projects") == "vision\n"


def test_add_without_path(avc):
    """With no PATH every bound path is staged, also where it is gone; with ``--to`` those of one artifact."""
    avc.write({"one/a": "a", "two/b": "b", "two/c": "c", "three.txt": "3"})
    avc("add", "one", "two", "three.txt")
    avc("commit")
    avc.write({"one/new": "n", "two/new": "n"})
    (avc.workspace / "two" / "b").unlink()
    (avc.workspace / "three.txt").unlink()
    assert avc("add", "--to", "one") == "staged work/one (dataset): 1 added; 2 entries\n"
    assert avc("add").splitlines() == [
        "staged work/one (dataset): nothing changed; 2 entries",
        "staged work/two (dataset): 1 added, 1 removed; 2 entries",
        "staged work/three.txt (dataset): 1 removed; 0 entries",
    ]


def test_add_inside_a_bound_directory(data):
    """A file or directory inside a bound directory updates that artifact, there and nowhere else."""
    data.write({"data/a.txt": "changed\n", "data/sub/c.txt": "changed\n", "data/sub/d.txt": "dee\n"})
    assert data("add", "data/sub") == "staged work/data (dataset): 1 added, 1 modified; 3 entries\n"
    assert [change["path"] for change in data.json("status")["artifacts"][0]["unstaged"]] == ["a.txt"]
    data("reset", "data")
    assert data("add", "data/sub/d.txt") == "staged work/data (dataset): 1 added; 3 entries\n"
    assert data("add", "data/a.txt") == "staged work/data (dataset): 1 modified; 3 entries\n"
    (row,) = data.json("status")["artifacts"]
    assert [change["path"] for change in row["unstaged"]] == ["sub/c.txt"]
    (data.workspace / "data" / "a.txt").unlink()
    assert data("add", "data/a.txt") == "staged work/data (dataset): 1 removed; 2 entries\n"
    assert row["paths"] == ["data"]


def test_add_everything_here(avc):
    """``add .`` names the artifact like the workspace, and never takes repositories, bindings or downloads."""
    avc.write({"a": "a", "artifacts/x": "x", "sub/.git/config": "g", "sub/artifacts/y": "y", ".hidden": "h"})
    avc("add", ".")
    avc("commit")
    assert names(avc, "work") == [".hidden", "a", "sub/artifacts/y"]
    assert avc("status") == "work/work (v0) in .\n  clean: 3 entries\n"


def test_add_keeps_links_and_the_executable_bit(avc):
    """A link that stays inside is kept as a link; of a file's mode the executable bit is kept."""
    avc.write({"data/run.sh": "#!/bin/sh\n", "data/a/b.txt": "b\n"})
    (avc.workspace / "data" / "run.sh").chmod(0o755)
    (avc.workspace / "data" / "a" / "link").symlink_to("../run.sh")
    avc("add", "data")
    avc("commit")
    rows = {row["path"]: (row["kind"], row["target"]) for row in avc.documents("ls", "data")}
    assert rows == {"a/b.txt": ("file", None), "a/link": ("link", "../run.sh"), "run.sh": ("executable", None)}
    avc("checkout", "data", "../out")
    out = avc.workspace.parent / "out"
    assert os.readlink(out / "a" / "link") == "../run.sh"
    assert os.access(out / "run.sh", os.X_OK)
    assert not out.joinpath("a", "b.txt").stat().st_mode & 0o111
    (avc.workspace / "data" / "run.sh").chmod(0o644)
    assert avc("add") == "staged work/data (dataset): 1 modified; 3 entries\n"


def test_add_follow(avc):
    """``--follow`` stores what links point at, outside the directory too; later adds without it do the same."""
    avc.write({"data/plain": "p", "../beside/deep/x": "x", "../beside/y": "y"})
    (avc.workspace / "data" / "dir").symlink_to("../../beside/deep")
    (avc.workspace / "data" / "file").symlink_to("../../beside/y")
    avc("add", "data", "--follow")
    avc("commit")
    assert {row["path"]: row["kind"] for row in avc.documents("ls", "data")} == {
        "dir/x": "file",
        "file": "file",
        "plain": "file",
    }
    assert avc("cat", "data", "file") == "y"
    avc.write({"../beside/y": "changed"})
    assert avc("add") == "staged work/data (dataset): 1 modified; 3 entries\n"


def test_add_move(avc):
    """``--move`` links larger files into the store: one copy on disk, the name in the workspace never gone."""
    avc.write({"data/large.bin": LARGE, "data/small": "s"})
    large = avc.workspace / "data" / "large.bin"
    inode = large.stat().st_ino
    assert avc("add", "data", "--move", *AS_ROOT) == "staged work/data (dataset): 2 added; 2 entries\n"
    assert large.stat().st_ino == inode
    assert large.stat().st_mode & 0o222 == 0
    (stored,) = [path for path in (avc.workspace / ".artifacts" / "objects").rglob("*") if path.is_file()]
    assert stored.stat().st_ino == inode
    assert (avc.workspace / "data" / "small").stat().st_mode & 0o200
    avc("commit")
    assert "clean" in avc("status")
    avc.sound()


def test_add_large_files_and_many_small_ones(avc):
    """A large file of its own and a directory of many files with a large one come in one command, and do not wait."""
    avc.write({f"data/{d}/{n}": f"{d} {n}" for d in "xyz" for n in range(600)})
    avc.write({"data/large": bytes(8 << 20), "model": bytes(9 << 20)})
    assert avc.process("add", "model", "data") == (
        0,
        "staged work/model (dataset): 1 added; 1 entry\nstaged work/data (dataset): 1,801 added; 1,801 entries\n",
        "",
    )
    avc.sound()


def test_add_dry_run(data):
    """``--dry-run`` tells what would be staged, path by path, and changes nothing."""
    data.write({"data/a.txt": "changed\n", "data/new": "n"})
    (data.workspace / "data" / "sub" / "c.txt").unlink()
    before = data.state()
    out = "would stage work/data (dataset): 1 added, 1 modified, 1 removed; 2 entries\n"
    out += "  ~ a.txt\n  + new\n  - sub/c.txt\n"
    assert data("add", "--dry-run") == out
    assert data("add", "data", "--dry-run") == out
    assert data.state() == before


def test_avcignore(data):
    """What ``.avcignore`` names is left out, at any depth, unless it is tracked already."""
    patterns = "# a comment\n*.log\n/data/cache/\n!keep.log\nc.txt\n"
    data.write({".avcignore": patterns, "data/x.log": "l", "data/deep/keep.log": "k", "data/cache/1": "1"})
    data.write({"data/sub/c.txt": "still tracked\n", "data/deep/c.txt": "not tracked\n"})
    assert data("add") == "staged work/data (dataset): 1 added, 1 modified; 3 entries\n"
    data("commit")
    assert names(data, "data") == ["a.txt", "deep/keep.log", "sub/c.txt"]
    assert data("status") == "work/data (v2) in data\n  clean: 3 entries\n"


def test_rm(data):
    """``rm --from`` takes a file, or a directory with all below it, out of the draft; files stay where they are."""
    before = data.state()
    out = data("rm", "--from", "data", "sub", "a.txt", "--dry-run")
    assert out == "would stage work/data (dataset): 2 removed; 0 entries\n  - sub/c.txt\n  - a.txt\n"
    assert data.state() == before
    assert data("rm", "--from", "data", "sub/") == ("staged work/data (dataset): 1 removed; 1 entry\n  - sub/c.txt\n")
    assert (data.workspace / "data" / "sub" / "c.txt").exists()
    data("commit")
    assert names(data, "data") == ["a.txt"]
    assert data("add", "data") == "staged work/data (dataset): 1 added; 2 entries\n"


def test_status(data):
    """``status`` compares workspace, draft and base, says which run is next, and names what is newer than the base."""
    assert data("status") == "work/data (v1) in data\n  clean: 2 entries\n"
    data.write({"data/a.txt": "staged\n"})
    data("add")
    data.write({"data/new": "n", "other/x": "x"})
    (data.workspace / "data" / "sub" / "c.txt").unlink()
    expected = """\
work/data (v1) in data
  staged: 1 modified (run 'avc commit')
    ~ a.txt
  not staged: 1 removed, 1 untracked (run 'avc add')
    ? new
    - sub/c.txt
"""
    assert data("status") == expected
    data("add", "other")
    assert data("status", "data") == expected
    assert data("status").startswith(expected + "work/other (no version yet) in other\n  staged: 1 added")
    data("reset", "data")
    data("checkout", "data:v0", "--force")
    assert data("status", "data").startswith("work/data (v0, newest is v1) in data\n")
    (row,) = data.json("status", "data")["artifacts"]
    assert (row["base"], row["newest"]) == ("v0", "v1")


def test_status_of_nothing(avc):
    """Where nothing is bound ``status`` says what to do."""
    assert avc("status") == "project work: no path is bound yet (run 'avc add PATH', or 'avc checkout NAME')\n"


# ---- commit, reset --------------------------------------------------------------------------------------


def test_commit(avc):
    """``commit`` makes a version with the description, aliases, tags, metadata and run given."""
    avc.write({"data/a": "a", "m.json": '{"acc": 0.9, "note": "from the file"}'})
    avc("add", "data")
    options = ["-m", "first\nlines", "--alias", "best", "--alias", "latest", "--tag", "checked twice", "--tag", "t2"]
    meta = ["--meta", "@m.json", "--meta", "acc=0.93", "--meta", "name=resnet", "--meta", 'list=[1, "two"]']
    (done,) = avc.json("commit", "data", *options, *meta, "--run", "abc")
    assert (done["version"], done["outcome"], done["aliases"]) == ("v0", "created", ["latest", "best"])
    shown = avc.json("show", "data")
    assert shown["description"] == "first\nlines"
    assert shown["metadata"] == {"acc": 0.93, "note": "from the file", "name": "resnet", "list": [1, "two"]}
    assert (shown["aliases"], shown["tags"]) == (["latest", "best"], ["checked twice", "t2"])
    assert (shown["ttl"], shown["produced_by"], shown["author"]) == (None, ["abc"], "ada")
    assert (shown["entries"], shown["size"], shown["here"], shown["pushed"]) == (1, 1, True, False)


def test_commit_only_what_is_named(avc):
    """Without names every draft is committed, with names only those."""
    avc.write({"one/a": "a", "two/b": "b"})
    avc("add", "one", "two")
    assert re.fullmatch(r"committed work/two:v0 \[latest\] [0-9a-f]{12}  1 entry, 1 B\n", avc("commit", "two"))
    assert avc("commit").startswith("committed work/one:v0 ")


def test_commit_of_content_that_is_there(data):
    """Equal content makes no new version: the one there gets the alias, and the command says so."""
    data.write({"data/a.txt": "one\n", "data/sub/b.txt": "bee\n"})
    (data.workspace / "data" / "sub" / "c.txt").unlink()
    data("add")
    done = data.run("commit", "--alias", "again", "-m", "ignored")
    assert re.fullmatch(r"unchanged work/data:v0 \[latest, again\] [0-9a-f]{12}  2 entries, 8 B\n", done.out)
    assert done.err == "note: content is already v0 (its description and metadata stay)\n"
    assert names_in_log(data("log", "data")) == ["v1", "v0"]
    assert "clean" in data("status")


def test_commit_on_an_older_version(data):
    """Committing on a base that is not the newest is allowed, and said."""
    data("checkout", "data:v0")
    data.write({"data/a.txt": "elsewhere\n"})
    data("add")
    done = data.run("commit")
    assert done.out.startswith("committed work/data:v2 [latest] ")
    assert done.err == "note: committed on v0, which was not the newest version\n"
    assert data.json("show", "data")["base"] == "v0"


def test_commit_with_nothing_staged(data):
    """With nothing staged ``commit`` says so and is done."""
    before = data.state()
    assert data("commit") == "nothing to commit (run 'avc add PATH' first)\n"
    assert data("commit", "data", "-m", "text", "--alias", "x") == "nothing to commit (run 'avc add PATH' first)\n"
    assert data.state() == before


def test_commit_dry_run(data):
    """``--dry-run`` says what would be committed and keeps the draft."""
    data.write({"data/a.txt": "changed\n"})
    data("add")
    before = data.state()
    assert data("commit", "--dry-run") == "would commit work/data: 2 entries, 12 B\n"
    assert data.state() == before


def test_reset(data):
    """``reset`` drops the draft; files and versions stay."""
    data.write({"data/a.txt": "changed\n"})
    data("add")
    files = {name: content for name, content in data.state().items() if name.startswith("data/")}
    assert data("reset", "data") == "dropped the draft of 'data'\n"
    assert data("reset", "data") == "'data' had no draft\n"
    assert "not staged: 1 modified" in data("status")
    assert {name: content for name, content in data.state().items() if name.startswith("data/")} == files
    assert data.json("reset", "data")["artifact"] == "work/data"


# ---- log, show, ls, cat, diff -------------------------------------------------------------------------


def test_log(data):
    """``log`` lists the versions, newest first, each on a line; ``-n`` at most so many."""
    data("tag", "data:v0", "old")
    data("edit", "data:v0", "-m", "first line\nsecond line")
    newest, oldest = data("log", "data").splitlines()
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d"
    assert re.fullmatch(rf"v1     [0-9a-f]{{12}}  {when}  ada  2 entries, 16 B \[latest, good\]", newest)
    assert re.fullmatch(rf"v0     [0-9a-f]{{12}}  {when}  ada  2 entries, 8 B \(old\)  first line", oldest)
    assert data("log", "data", "-n", "1") == newest + "\n"
    assert data("log", "work/data", "-n", "9") == f"{newest}\n{oldest}\n"


def test_log_of_no_version(data):
    """``log -n 0`` asks for none: that there are some is not denied."""
    assert data.run("log", "data", "-n", "0") == (0, "", "")


def test_log_without_versions(data):
    """Where every version is deleted ``log`` says that there is none."""
    data("delete", "data:v0")
    data("delete", "data:v1", "--delete-aliases")
    done = data.run("log", "data")
    assert (done.code, done.out, done.err) == (0, "", "note: 'data' has no version\n")


def test_show(data):
    """``show`` tells all about a version, named by number, alias, digest, or not at all."""
    data("edit", "data", "--meta", "acc=0.5", "-m", "the good one")
    info = data.json("show", "data")
    assert (info["version"], info["base"], info["state"], info["here"]) == ("v1", "v0", "live", True)
    for ref in ("data:v1", "data:latest", "data:good", "data@" + info["digest"][:7], "work/data", "ada/work/data:good"):
        assert data.json("show", ref) == info, ref
    shown = data("show", "data").splitlines()
    assert shown[:6] == [
        "work/data:v1",
        "  type     dataset",
        f"  digest   {info['digest']}",
        "  aliases  latest, good",
        f"  created  {info['created']} by ada",
        "  content  2 entries, 16 B",
    ]
    assert shown[6:] == [
        "  base     v0",
        "  state    live, here",
        "  {",
        '    "acc": 0.5',
        "  }",
        "",
        "    the good one",
    ]


def test_ls(data):
    """``ls`` lists artifacts; with REF the entries of a version, with PREFIX those at or below it."""
    data("put", "data/a.txt", "--name", "zoo/single", "--type", "model")
    rows = [re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "WHEN", line) for line in data("ls").splitlines()]
    assert rows == [
        "dataset    WHEN        16 B  data:v1  [good]",
        "model      WHEN        12 B  zoo/single:v0",
    ]
    assert names(data, "data:v0") == ["a.txt", "sub/b.txt"]
    assert data("ls", "data:v0", "sub") == data("ls", "data:v0", "sub/b.txt") == "sub/b.txt\n"
    assert data("ls", "--projects") == "work\nzoo\n"
    assert data("ls", "--types") == "dataset\nmodel\n"
    assert data("ls", "data", "--refs") == ""


def test_ls_long(avc):
    """``ls -l`` shows kind, size, digest, and where a link points."""
    avc.write({"data/a.txt": "a\n", "data/run": "run\n"})
    (avc.workspace / "data" / "run").chmod(0o755)
    (avc.workspace / "data" / "to a").symlink_to("a.txt")
    avc("add", "data")
    avc("commit")
    digests = {row["path"]: row["digest"] for row in avc.documents("ls", "data")}
    assert avc("ls", "data", "-l").splitlines() == [
        f"-            2 {digests['a.txt'][:12]} a.txt",
        f"x            4 {digests['run'][:12]} run",
        "l                           to a -> a.txt",
    ]
    assert digests["to a"] is None


def test_ls_refs_shows_dates_whole(avc):
    """Of an identity that is a date the first characters would tell nothing."""
    avc("init")
    with serving() as web:
        web.pages |= {"/a.txt": Page(b"one", modified=OLD), "/b.txt": Page(b"two", etag='"0123456789abcdef"')}
        for name in ("a.txt", "b.txt"):
            avc("add", f"{web.place}/{name}", "--to", "data")
        avc("commit")
        assert avc("ls", "data", "--refs").splitlines() == [
            f"r            3 {OLD} a.txt -> {web.place}/a.txt",
            f"r            3 0123456789ab b.txt -> {web.place}/b.txt",
        ]


def test_ls_of_nothing(avc):
    """Where there is no artifact ``ls`` says what to do."""
    assert avc.run("ls") == (0, "", "note: no artifact yet (run 'avc add PATH' and 'avc commit')\n")


def test_cat(avc):
    """``cat`` prints a file's bytes, whatever they are and however it is stored."""
    avc.write({"data/small": b"\x00\xff\r\n", "data/large": LARGE, "data/empty": b""})
    avc("add", "data")
    avc("commit")
    for name, content in {"small": b"\x00\xff\r\n", "large": LARGE, "empty": b""}.items():
        done = subprocess.run([AVC, "cat", "data", name], cwd=avc.workspace, capture_output=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, content, b"")


def test_diff(data):
    """``diff`` compares workspace and base, workspace and REF, or two versions, of two artifacts too."""
    assert data("diff") == "work/data: v1 -> workspace  nothing changed\n"
    data.write({"data/new": "n", "data/a.txt": "changed\n"})
    assert data("diff") == "work/data: v1 -> workspace  1 added, 1 modified\n  ~ a.txt\n  + new\n"
    against = "work/data: v0 -> workspace  2 added, 1 modified, 1 removed\n"
    assert data("diff", "data:v0") == against + "  ~ a.txt\n  + new\n  - sub/b.txt\n  + sub/c.txt\n"
    forth = "work/data: data:v0 -> data:v1  1 added, 1 modified, 1 removed\n"
    assert data("diff", "data:v0", "data") == forth + "  ~ a.txt\n  - sub/b.txt\n  + sub/c.txt\n"
    (back,) = data.json("diff", "data:good", "data:v0")
    changes = {change["path"]: change for change in back["changes"]}
    assert {path: change["status"] for path, change in changes.items()} == {
        "a.txt": "modified",
        "sub/b.txt": "added",
        "sub/c.txt": "removed",
    }
    assert (changes["a.txt"]["size_before"], changes["a.txt"]["size_after"]) == (12, 4)
    data("put", "data/new", "--name", "other")
    (cross,) = data.json("diff", "data:v0", "other")
    assert [change["status"] for change in cross["changes"]] == ["removed", "added", "removed"]


# ---- checkout, put, get --------------------------------------------------------------------------------


def tree(path: Path) -> dict[str, bytes]:
    """The files below a directory."""
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


V0 = {"a.txt": b"one\n", "sub/b.txt": b"bee\n"}
V1 = {"a.txt": b"one and two\n", "sub/c.txt": b"sea\n"}


def test_checkout_to_the_bound_path(data):
    """With no DEST the bound path becomes the version; files that are neither's stay, right ones are left alone."""
    data.write({"data/mine": "untracked"})
    done = data("checkout", "data:v0")
    place = data.workspace / "data"
    assert done == f"checked out work/data:v0 to {place}: 2 files written, 1 removed\n"
    assert tree(place) == {**V0, "mine": b"untracked"}
    assert data("checkout", "data:v0") == (f"checked out work/data:v0 to {place}: 0 files written, 2 already right\n")
    assert data("status").startswith("work/data (v0, newest is v1) in data\n  not staged: 1 untracked")
    assert data("checkout", "data").endswith(": 2 files written, 1 removed\n")
    assert tree(place) == {**V1, "mine": b"untracked"}


def test_checkout_of_what_was_never_bound(avc):
    """With no DEST and no binding the files go to ``./NAME``, which is then bound."""
    avc.write({"../elsewhere/x": "x"})
    avc("put", "../elsewhere", "--name", "Things")
    assert avc("checkout", "things") == (f"checked out work/Things:v0 to {avc.workspace / 'Things'}: 1 file written\n")
    assert avc("status") == "work/Things (v0) in Things\n  clean: 1 entry\n"


def test_checkout_to_a_destination(data):
    """DEST, which is made, gets the version and is not bound; what stands there already and is right stays."""
    out = data.workspace.parent / "deep" / "out"
    assert data("checkout", "data:v0", "../deep/out") == f"checked out work/data:v0 to {out}: 2 files written\n"
    assert tree(out) == V0
    assert data("checkout", "data:v0", str(out)).endswith(": 0 files written, 2 already right\n")
    assert data("status") == "work/data (v1) in data\n  clean: 2 entries\n"


def test_checkout_a_part(data):
    """``--path`` writes only those files or directories, and leaves the base as it is."""
    data.commit({"deep/x": "x", "deep/y": "y", "deeper": "z"})
    out = data.workspace.parent / "out"
    data("checkout", "data", out, "--path", "deep/", "--path", "a.txt")
    assert tree(out) == {"deep/x": b"x", "deep/y": b"y", "a.txt": V1["a.txt"]}
    data("checkout", "data:v0", "--path", "sub/b.txt")
    assert (data.workspace / "data" / "sub" / "b.txt").read_text() == "bee\n"
    (row,) = data.json("status")["artifacts"]
    assert (row["base"], [change["path"] for change in row["unstaged"]]) == ("v2", ["sub/b.txt"])


def test_checkout_links(avc):
    """``--link`` gives read-only links of larger plain files, copies the rest, and says how many of each."""
    avc.write({"data/large": LARGE, "data/run": LARGE + b"x", "data/small": "s"})
    (avc.workspace / "data" / "run").chmod(0o755)
    avc("add", "data")
    avc("commit")
    stored = {path.stat().st_ino for path in (avc.workspace / ".artifacts" / "objects").rglob("*") if path.is_file()}
    for mode in ("hardlink", "symlink"):
        out = avc.workspace.parent / mode
        assert avc("checkout", "data", out, "--link", mode) == (
            f"checked out work/data:v0 to {out}: 3 files written, 1 linked, 2 copied instead\n"
        )
        assert tree(out) == {"large": LARGE, "run": LARGE + b"x", "small": b"s"}
        assert (out / "large").is_symlink() == (mode == "symlink")
        assert (out / "large").stat().st_ino in stored
        assert not (out / "large").stat().st_mode & 0o222
        assert os.access(out / "run", os.X_OK)
        assert (out / "small").stat().st_mode & 0o200
    avc.sound()


def test_checkout_force(data):
    """``--force`` overwrites uncommitted changes and drops the draft; untracked files of other names stay."""
    data.write({"data/a.txt": "mine\n", "data/sub/c.txt": "mine too\n", "data/mine": "stays\n"})
    data("add", "data/sub")
    done = data.run("checkout", "data:v0", "--force")
    assert done.code == 0
    assert tree(data.workspace / "data") == {**V0, "mine": b"stays\n", "sub/c.txt": b"mine too\n"}
    assert done.err == "note: kept 'sub/c.txt', which is not what the base version has\n"
    assert data.json("status")["artifacts"][0]["staged"] == []


def test_checkout_dry_run(data):
    """``--dry-run`` tells what would be written and removed, and changes nothing."""
    before = data.state()
    done = data("checkout", "data:v0", "--dry-run").splitlines()
    place = data.workspace / "data"
    assert done[0] == f"would have checked out work/data:v0 to {place}: 2 files (8 B) to write, 1 to remove"
    assert done[1:] == ["  ~ a.txt", "  + sub/b.txt", "  - sub/c.txt"]
    out = data("checkout", "data:v0", "../out", "--dry-run")
    assert out.splitlines()[1:] == ["  + a.txt", "  + sub/b.txt"]
    assert not (data.workspace.parent / "out").exists()
    assert data.state() == before


def test_checkout_says_nothing_more_than_there_is(data):
    """Where nothing is to be written there is one line, with ``-v`` and ``--dry-run`` too."""
    for options in ([], ["-v"], ["--dry-run"]):
        out = data("checkout", "data", *options)
        assert out.count("\n") == 1, options


def test_put(bare):
    """``put`` stores a path from anywhere in one step, makes a repository where there is none, and records a run."""
    bare.monkeypatch.setenv("USER", "ada")
    bare.write({"../far/x": "x", "../far/deep/y": "y", "../far/m.json": "{}"})
    done = bare.run(
        "put", "../far", "-n", "far", "-t", "model", "-m", "text", "-a", "best", "--tag", "t", "--meta", "k=1"
    )
    assert re.fullmatch(r"committed work/far:v0 \[latest, best\] [0-9a-f]{12}  3 entries, 4 B\n", done.out)
    assert done.err == f"note: made a repository at {bare.workspace / '.artifacts'}\n"
    shown = bare.json("show", "far")
    assert [shown[key] for key in ("type", "description", "tags", "metadata")] == ["model", "text", ["t"], {"k": 1}]
    (run_id,) = shown["produced_by"]
    assert re.fullmatch("[a-z0-9]{8}", run_id)
    again = bare.json("put", "../far", "--name", "far", "--run", "run2")
    assert (again["version"], again["outcome"], again["run"]) == ("v0", "existing", "run2")
    assert set(bare.json("show", "far")["produced_by"]) == {run_id, "run2"}
    bare("put", "../far/x", "--name", "far", "--as", "one/two")
    assert names(bare, "far") == ["one/two/x"]
    assert bare("status") == "project work: no path is bound yet (run 'avc add PATH', or 'avc checkout NAME')\n"


@pytest.mark.parametrize("argv", [["put"], ["artifact", "put"]])
def test_put_of_content_that_is_there(data, argv):
    """As ``commit`` does, ``put`` says that the version that is there keeps its description and metadata."""
    more = ["--meta", "a=1", "-m", "new"] if argv == ["put"] else ["-d", "new"]
    done = data.run(*argv, "data", "--name", "data", *more)
    assert done.out.startswith("unchanged work/data:v1 ")
    assert done.err == "note: content is already v1 (its description and metadata stay)\n"
    assert data.json("show", "data:v1")["description"] == ""


def test_put_follows_when_asked(bare):
    """``put`` keeps links that stay inside; ``--follow`` stores what they point at."""
    bare.write({"far/x": "x"})
    (bare.workspace / "far" / "link").symlink_to("x")
    for options, kind in (([], "link"), (["--follow"], "file")):
        bare("put", "far", "--name", "far", *options)
        assert {row["path"]: row["kind"] for row in bare.documents("ls", "far")} == {"link": kind, "x": "file"}


def test_get(data):
    """``get`` downloads to ``artifacts/NAME:vN``, or to ``--root``; with ``--path`` a part; nothing is bound."""
    place = data.workspace / "artifacts" / "data:v0"
    assert data("get", "data:v0") == f"downloaded work/data:v0 to {place}: 2 files written\n"
    assert tree(place) == V0
    assert data("get", "data:v0").endswith(": 0 files written, 2 already right\n")
    data("get", "data", "--root", "../out", "--path", "sub")
    assert tree(data.workspace.parent / "out") == {"sub/c.txt": b"sea\n"}
    assert data("status") == "work/data (v1) in data\n  clean: 2 entries\n"


def test_get_where_the_environment_says(data, monkeypatch):
    """``AVC_ARTIFACT_DIR``, or ``WANDB_ARTIFACT_DIR``, names the directory of downloads."""
    for name in ("WANDB_ARTIFACT_DIR", "AVC_ARTIFACT_DIR"):
        monkeypatch.setenv(name, f"../{name}")
        data("get", "data:v0")
        assert tree(data.workspace.parent / name / "data:v0") == V0


def test_artifact_put_get_ls(bare):
    """W&B's spellings are the same functions: the name defaults to the path's, options of W&B's sake are taken."""
    bare.write({"far/x": "x", "other/y": "y"})
    out = bare("artifact", "put", "far", "-t", "model", "-d", "text", "-a", "best", "--id", "r1", "--resume")
    assert re.fullmatch(
        r"committed work/far:v0 \[latest, best\] [0-9a-f]{12}  1 entry, 1 B\n"
        r'    artifact = run.use_artifact\("work/far:v0"\)\n',
        out,
    )
    shown = bare.json("show", "far")
    assert [shown[key] for key in ("description", "produced_by")] == ["text", ["r1"]]
    bare("artifact", "put", "other", "-n", "zoo/y", "--skip_cache", "--policy", "immutable")
    assert re.fullmatch(r"model      [-: 0-9]{16}         1 B  far:v0  \[best\]\n", bare("artifact", "ls"))
    assert re.fullmatch(r"dataset    [-: 0-9]{16}         1 B  y:v0\n", bare("artifact", "ls", "zoo"))
    assert bare("artifact", "ls", "-t", "dataset") == ""
    place = bare.workspace / "out"
    assert bare("artifact", "get", "far:best", "--root", "out", "--type", "model", "--skip_cache") == (
        f"downloaded work/far:v0 to {place}: 1 file written\nArtifact downloaded to {place}\n"
    )
    assert tree(place) == {"x": b"x"}


# ---- names -----------------------------------------------------------------------------------------


def test_alias(data):
    """``alias`` points aliases at a version, wherever they stood; ``-d`` takes them off."""
    assert data("alias", "data:v0", "good", "old") == "good, old now name work/data:v0\n"
    assert data.json("show", "data:good")["aliases"] == ["good", "old"]
    assert data("alias", "data:v1", "old") == "old now names work/data:v1\n"
    assert data("alias", "-d", "data:v0", "good") == "good removed from work/data:v0\n"
    assert data.json("show", "data:v0")["aliases"] == []
    assert data.json("alias", "data", "--delete", "old")["aliases"] == ["latest"]


def test_tag(data):
    """``tag`` adds tags to a version, which says to which; ``-d`` takes them off."""
    out = data("tag", "data:v0", "one", "two words")
    assert all(word in out for word in ("one, two words", "work/data:v0"))
    assert data.json("tag", "data:v1", "one")["tags"] == ["one"]
    assert data.json("show", "data:v0")["tags"] == ["one", "two words"]
    assert "work/data:v0" in data("tag", "-d", "data:v0", "one")
    assert data.json("show", "data:v0")["tags"] == ["two words"]
    assert data.json("tag", "data:v0", "--delete", "two words")["tags"] == []


def test_edit(data):
    """``edit`` changes a description, or single keys of the metadata; the content stays what it is."""
    digest = data.json("show", "data")["digest"]
    data.write({"m.json": '{"a": 1, "b": {"c": 2}}'})
    data("edit", "data", "--meta", "@m.json", "--meta", "x=y")
    assert data("edit", "data", "-m", "text", "--meta", "a=", "--meta", "b=3") == "edited work/data:v1\n"
    shown = data.json("show", "data")
    assert (shown["metadata"], shown["description"], shown["digest"]) == ({"b": 3, "x": "y"}, "text", digest)
    assert data("edit", "--artifact", "data", "--description", "of all") == "edited work/data\n"
    (row,) = data.documents("ls")
    assert row["description"] == "of all"


def test_rename(data):
    """``rename`` takes versions, aliases and paths along."""
    assert data("rename", "data", "things") == "renamed 'data' to 'things'\n"
    assert names_in_log(data("log", "things")) == ["v1", "v0"]
    assert data.json("show", "things:good")["version"] == "v1"
    assert data("status") == "work/things (v1) in data\n  clean: 2 entries\n"
    data.write({"data/new": "n"})
    data("add")
    assert data("commit").startswith("committed work/things:v2 ")


def test_rename_leaves_the_old_name_to_new_artifacts(data):
    """As the help says: no other artifact is renamed to the old name, and one made under it goes on counting."""
    data("rename", "data", "things")
    data("put", "data", "--name", "other")
    data.refused(
        "rename",
        "other",
        "data",
        kind="NameTaken",
        message="'data' was the name of another artifact, whose version numbers are never given again",
        hint="choose another name",
    )
    assert data("put", "data", "--name", "data").startswith("committed work/data:v2 ")
    assert names_in_log(data("log", "things")) == ["v1", "v0"]
    told = " ".join(data("rename", "--help").split())
    assert "No other artifact can be renamed to the old name" in told
    assert "goes on with the numbers" in told


def test_rename_by_somebody_else(data):
    """Who fetches a rename keeps what the path is bound to, as does who takes an older artifacts.toml out of Git."""
    data("remote", "add", "origin", "../remote")
    data("push")
    data("clone", "../remote", "../other")
    before = (data.workspace / "artifacts.toml").read_text()
    data("-C", "../other", "checkout", "data")
    data("rename", "data", "things")
    data("push")
    assert "note: 'data' is called 'things' now, and so in artifacts.toml" in data.run("-C", "../other", "pull").err
    assert data("-C", "../other", "status").startswith("work/things (v1) in data\n")
    data.refused("log", "data", kind="UnknownArtifact", message="no artifact 'data'", hint="it is called 'things' now")
    (data.workspace / "artifacts.toml").write_text(before)
    assert data("checkout").startswith("checked out work/things:v1 ")
    assert data("status").startswith("work/things (v1) in data\n")


def test_rename_with_staged_changes(data):
    """What was staged under the old name is there under the new one."""
    data.write({"data/new": "n"})
    data("add")
    data("rename", "data", "things")
    (row,) = data.json("status")["artifacts"]
    assert (row["artifact"], [change["path"] for change in row["staged"]]) == ("work/things", ["new"])
    assert data("commit").startswith("committed work/things:v2 ")
    assert [row["name"] for row in data.documents("ls")] == ["things"]


def test_delete_and_restore(data):
    """``delete`` marks a version deleted, ``restore`` takes that back; the number is never given again."""
    before = data.state()
    assert data("delete", "data:v0", "--dry-run") == "would delete work/data:v0\n"
    assert data.state() == before
    assert data("delete", "data:v0") == "deleted work/data:v0; 'avc restore' brings it back until gc\n"
    assert names_in_log(data("log", "data")) == ["v1"]
    assert data("delete", "data", "--delete-aliases").startswith("deleted work/data:v1 with latest, good;")
    restored = data("restore", "data:v0")
    assert restored == "restored work/data:v0, without its aliases: 'avc alias data:v0 latest' gives it that one\n"
    assert data("restore", "data:v0") == "work/data:v0 is not deleted\n"
    data.write({"data/a.txt": "three\n"})
    data("add")
    assert data("commit").startswith("committed work/data:v2 [latest] ")


# ---- fsck, gc, du ---------------------------------------------------------------------------------------


def damage(path: Path, at: int) -> None:
    """Change one byte of a file."""
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.chmod(0o644)
    path.write_bytes(content)


def test_fsck(data):
    """``fsck`` checks the structure, with ``--full`` every byte; what is damaged is named, and the code is 1."""
    assert re.fullmatch(r"checked 2 versions, \d+ objects \(\d+ B\), structure: sound\n", data("fsck"))
    assert re.fullmatch(r"checked 2 versions, \d+ objects \(\d+ B\), every byte: sound\n", data("fsck", "--full"))
    data.commit({"large": LARGE})
    (stored,) = [path for path in (data.workspace / ".artifacts" / "objects").rglob("*") if path.is_file()]
    damage(stored, 5000)
    digest = stored.parent.name + stored.name
    out = data("fsck", "--full", code=1)
    assert out.startswith(f"object '{digest[:12]}': damaged object '{digest[:12]}' in ")
    assert out.endswith(": 1 problem\nrun 'avc fsck --full --repair' to mend what can be mended\n")
    (problem,) = data.json("fsck", "--full", code=1)["problems"]
    assert (problem["kind"], problem["repaired"]) == ("DigestMismatch", False)


def test_fsck_of_a_remote(data):
    """``fsck REMOTE`` names what is damaged there, with code 1; ``--repair`` mends it from here."""
    data("remote", "add", "origin", "../remote")
    data("push")
    assert data("fsck", "origin").endswith(" on 'origin', structure: sound\n")
    for path in (data.workspace.parent / "remote" / "packs").rglob("*.pack"):
        path.chmod(0o600)
        path.write_bytes(b"")
    out = data("fsck", "origin", code=1)
    assert "has 0 bytes and not " in out
    assert "work/data:v0 have no sound copy on 'origin' (MissingObject)\n" in out
    assert out.endswith("run 'avc fsck origin --repair' to mend what can be mended\n")
    assert data.json("fsck", "origin", code=1)["remote"] == "origin"
    assert "(repaired)" in data("fsck", "origin", "--repair")
    assert data("fsck", "origin", "--full").endswith(" on 'origin', every byte: sound\n")


def test_clone_as_a_mirror(data):
    """``clone --mirror`` brings every byte; without the remote each version is there."""
    data("remote", "add", "origin", "../remote")
    data("push")
    out = data("clone", "--mirror", "../remote", "../copy")
    assert re.search(r": 2 versions\nfetched \d+ objects \(\d+ B\)\n$", out)
    assert data("fsck", "--full", cwd=data.workspace.parent / "copy").endswith("every byte: sound\n")


def test_fsck_repairs_from_a_remote(data):
    """``--repair`` fetches a sound copy of what is damaged."""
    data.commit({"large": LARGE})
    data("remote", "add", "origin", "../remote")
    data("push")
    for path in (data.workspace / ".artifacts" / "objects").rglob("*"):
        if path.is_file():
            damage(path, 5000)
    out = data("fsck", "--full", "--repair")
    assert out.endswith("every byte: sound\n")
    assert "(repaired)" in out
    data.sound()
    data("checkout", "data", "../out", "--path", "large")
    assert tree(data.workspace.parent / "out") == {"large": LARGE}


def test_the_index_can_be_thrown_away(data):
    """A command that finds the index damaged or gone builds it anew, as ``fsck --repair`` does; answers stay."""
    asked = (["log", "data"], ["show", "data"], ["ls"], ["ls", "data"], ["status"], ["diff"])
    data.write({"data/a.txt": "staged\n"})
    data("add")
    before = [data(*argv) for argv in asked]
    for again in (["log", "data"], ["fsck", "--repair"]):
        for content in (b"no database " * 1000, None):
            for path in (data.workspace / ".artifacts").glob("index.sqlite*"):
                path.write_bytes(content) if content else path.unlink()
            data(*again)
            assert [data(*argv) for argv in asked] == before
            data.sound()


def test_gc(data):
    """``gc`` moves what nothing needs to the trash, takes it out after the grace, and says why the rest stays."""
    data.write({"data/a.txt": "never committed " * 100})
    data("add")
    data("reset", "data")
    before = data.state()
    planned = data.json("gc", "--dry-run")
    assert data.state() == before
    assert planned["trashed_objects"] >= 1
    lines = data("gc", "--dry-run").splitlines()
    assert sum("to the trash" in line for line in lines) == 1, "it is said twice what would be moved"
    done = data.json("gc")
    assert (done["trashed_objects"], done["trashed_bytes"]) == (planned["trashed_objects"], planned["trashed_bytes"])
    assert done["removed_bytes"] == 0
    assert data.json("du")["trash"] > 0
    assert data.json("gc")["trashed_objects"] == 0
    data.sound()


def test_gc_keeps_what_can_be_restored(data):
    """A deleted version can be restored within the grace, the setting's or the one given."""
    data("delete", "data:v0")
    data("config", "set", "gc.grace", "1h")
    out = data("gc")
    assert re.search(r"^  1 deleted versions? can still be restored", out, re.M)
    assert re.search(r"^  needed: \d+ objects, by live versions \(1\) and drafts \(0\)$", out, re.M)
    data("restore", "data:v0")
    assert data.process("cat", "data:v0", "sub/b.txt").out == "bee\n"


def test_gc_then_push(data):
    """What only the log still names, such as a description that was replaced, does not keep a push from landing."""
    data("edit", "data", "-m", "first words", "--meta", "a=1")
    data("edit", "data", "-m", "other words", "--meta", "a=2")
    data("gc")
    data("remote", "add", "origin", "../remote")
    assert data("push").startswith("pushed work/data:v0\npushed work/data:v1\n")
    data("clone", "../remote", "../clone")
    shown = data.json("show", "data", cwd=data.workspace.parent / "clone")
    assert (shown["description"], shown["metadata"]) == ("other words", {"a": 2})


def test_du(data):
    """``du`` shows what takes space, by place and by artifact, and they add up."""
    data.commit({"large": LARGE})
    found = data.json("du")
    assert found["objects"] == len(LARGE)
    (row,) = found["artifacts"]
    assert (row["artifact"], row["versions"], row["logical"]) == ("work/data", 3, 8 + 16 + 16 + len(LARGE))
    assert sum(found[key] for key in ("packs", "objects", "trash", "log", "index")) <= found["total"]
    lines = data("du").splitlines()
    assert [line.split()[-1] for line in lines[:6]] == ["packs", "objects", "trash", "log", "index", "total"]
    assert lines[-2:][0].split() == ["as", "files", "stored", "versions"]
    assert lines[-1].split()[-2:] == ["3", "work/data"]


def test_du_of_a_remote(data):
    """What is remembered of a remote counts as log and as index, each by what it is; together it is still all."""
    before = data.json("du")
    data("remote", "add", "origin", "../remote")
    data("push")
    found = data.json("du")
    (remote,) = (data.workspace / ".artifacts" / "remotes").iterdir()
    assert found["log"] == before["log"] + sum(
        path.stat().st_size for path in remote.rglob("*") if path.is_file() and path.suffix in (".json", ".jsonl")
    )
    assert found["index"] > before["index"] + (remote / "index.sqlite").stat().st_size // 2
    everything = sum(path.stat().st_size for path in remote.parents[1].rglob("*") if path.is_file())
    assert abs(found["total"] - everything) < 1000  # config.toml and the like


# ---- remotes ---------------------------------------------------------------------------------------------


@pytest.fixture
def shared(data: Avc) -> Avc:
    """The command where ``data`` is pushed to origin, the directory ``remote`` beside the workspace."""
    data("remote", "add", "origin", "../remote")
    data("push")
    return data


def clone_of(avc: Avc, name: str = "clone") -> Path:
    """A clone of the directory ``remote``, beside the workspace."""
    avc("clone", "../remote", f"../{name}")
    return avc.workspace.parent / name


def test_remotes(avc):
    """Remotes are added, the first as origin, listed, moved, made origin, and forgotten without being touched."""
    above = avc.workspace.parent
    one, two = above / "one", above / "two"
    assert avc("remote", "add", "one", "../one") == f"added remote 'one' at {one} (origin)\n"
    assert avc("remote", "add", "two", str(two)) == f"added remote 'two' at {two}\n"
    assert avc("remote", "list") == f"one  {one}  (origin)\ntwo  {two}\n"
    assert avc("remote", "origin", "two") == f"origin is 'two' at {two}\n"
    assert avc("remote", "list") == f"one  {one}\ntwo  {two}  (origin)\n"
    assert f'url = "{two}"' in (avc.workspace / "artifacts.toml").read_text()
    one.rename(above / "moved")
    assert avc("remote", "set-url", "one", "../moved") == f"remote 'one' is at {above / 'moved'}\n"
    assert avc("remote", "remove", "one") == f"forgot remote 'one' at {above / 'moved'}\n"
    assert avc("remote", "list") == f"two  {two}  (origin)\n"
    assert (above / "moved" / "avc.json").is_file()


def test_remote_add_options(avc):
    """What is said of a remote is kept; credentials are not among it."""
    found = avc.json("remote", "add", "mine", "../mine", "--single-writer", "--region", "r", "--profile", "p")
    assert found["single_writer"] is True
    avc("remote", "add", "same", "file://" + str(avc.workspace.parent / "mine"))
    assert [row["url"] for row in avc.json("remote", "list")] == [str(avc.workspace.parent / "mine")] * 2
    config = (avc.workspace / ".artifacts" / "config.toml").read_text()
    assert 'region = "r"' in config
    assert 'profile = "p"' in config


def test_push(data):
    """``push`` sends all that is new and says what; again it sends nothing; never a draft."""
    data.write({"data/a.txt": "staged, not committed\n"})
    data("add")
    data("remote", "add", "origin", "../remote")
    before = data.state()
    planned = data("push", "--dry-run").splitlines()
    assert planned[:2] == ["would push work/data:v0", "would push work/data:v1"]
    assert re.fullmatch(r"  \d+ objects \(.*\) for work/data:v0: new there", planned[2])
    told = r"would write \d+ records and send \d+ objects \(.*\) in \d+ files?: \d+ requests"
    assert re.fullmatch(told, planned[-1])
    assert data.state() == {**before, **{name: data.state()[name] for name in data.state() if "/remotes/" in name}}
    out = data("push").splitlines()
    assert out[:2] == ["pushed work/data:v0", "pushed work/data:v1"]
    assert re.fullmatch(r"pushed \d+ records to 'origin' as entry 0; sent \d+ objects \(\d+ B\) in 1 file", out[2])
    assert data("push") == data("push", "origin") == data("push", "--dry-run") == "nothing to push to 'origin'\n"
    assert names_in_log(data("log", "data")) == ["v1", "v0"]
    assert "unpushed" not in data("log", "data")
    assert "staged: 1 modified" in data("status")


def test_push_some(data):
    """With REF only that version is sent; the other stays provisional until it is pushed too."""
    data("remote", "add", "origin", "../remote")
    assert names_in_log(data("log", "data")) == ["v1~", "v0~"]
    assert re.search(r"^\d+ records not pushed to 'origin' \(run 'avc push'\)$", data("status"), re.M)
    assert data("push", "origin", "data:v1").startswith("pushed work/data:v")
    assert len(names_in_log(data("log", "data", cwd=clone_of(data)))) == 1
    data("push")
    assert len(names_in_log(data("log", "data", cwd=clone_of(data, "other")))) == 2
    assert "not pushed" not in data("status")


def test_clone_and_pull(shared):
    """A clone has the names; ``pull`` brings bytes, never touches files, and says which checkout would write them."""
    remote = shared.workspace.parent / "remote"
    place = shared.workspace.parent / "clone"
    assert shared("clone", "../remote", "../clone") == f"cloned {remote} to {place}: 2 versions\n"
    assert shared.json("show", "data", cwd=place)["here"] is False
    told = shared("pull", "--dry-run", cwd=place).splitlines()
    assert re.fullmatch(r"would fetch \d objects \(.*\) in 1 request from 'origin': missing here", told.pop(2))
    assert told == [
        "nothing new on 'origin'",
        "would fetch work/data:v1",
        "to write the files, run 'avc checkout data:v1'",
    ]
    out = shared("pull", cwd=place).splitlines()
    assert out[:2] == ["nothing new on 'origin'", "here is work/data:v1"]
    assert re.fullmatch(r"fetched \d+ objects \(\d+ B\)", out[2])
    assert out[3] == "to write the files, run 'avc checkout data:v1'"
    assert [path.name for path in place.iterdir() if path.name != "artifacts.toml"] == [".artifacts"]
    assert shared.json("show", "data", cwd=place)["here"] is True
    shared("checkout", "data:v1", cwd=place)
    assert tree(place / "data") == V1
    assert shared("pull", cwd=place).splitlines()[-1] == "fetched 0 objects (0 B)"
    assert shared("checkout", "data:v0", "out", cwd=place).endswith(": 2 files written\n")  # fetches what it needs
    assert tree(place / "out") == V0


def test_clone_into_a_directory_named_like_the_remote(shared):
    """Without DIR a clone is named like the remote; the project comes along."""
    elsewhere = other_place(shared, "elsewhere")
    assert shared.json("clone", "../remote", cwd=elsewhere)["path"] == str(elsewhere / "remote")
    assert shared("config", "get", "project", cwd=elsewhere / "remote") == "work\n"


def test_fetch(shared):
    """``fetch`` reads the log and says what is new; a number that origin gave to another moves, which is said."""
    place = clone_of(shared)
    shared("checkout", "data", cwd=place)
    (place / "data" / "a.txt").write_text("from the clone\n")
    shared("add", cwd=place)
    assert shared("commit", cwd=place).startswith("committed work/data:v2~ ")
    shared.commit({"a.txt": "from here\n"})
    assert shared("push").startswith("pushed work/data:v2\n")
    assert shared("fetch", cwd=place) == (
        "read 1 entry from 'origin'\n  new: work/data:v2\n  work/data: v2~ is now v3~\n"
    )
    assert shared("fetch", cwd=place) == shared("fetch", "origin", cwd=place) == "nothing new on 'origin'\n"
    assert names_in_log(shared("log", "data", cwd=place)) == ["v3~", "v2", "v1", "v0"]
    assert shared("status", cwd=place).startswith("work/data (v3~) in data\n  clean: 2 entries\n")
    assert "pushed work/data:v3\n" in shared("push", cwd=place)
    assert shared.json("show", "data:v2~", cwd=place)["version"] == "v2"


def test_pull_some(shared):
    """``pull REMOTE REF`` brings that version's bytes."""
    place = clone_of(shared)
    assert "here is work/data:v0\n" in shared("pull", "origin", "data:v0", cwd=place)
    assert [row["here"] for row in shared.documents("log", "data", cwd=place)] == [False, True]


@pytest.mark.parametrize("ref", ["data:v0", "data", "demo/data:v0", "data@{digest}"])
def test_push_and_pull_of_a_version_need_no_remote(data, ref):
    """What is no remote's name and is written as a version, or names an artifact, goes to origin."""
    data("remote", "add", "origin", "../remote")
    data("alias", "data:v0", "latest")
    digest = data.json("show", "data:v0")["digest"]
    ref = ref.format(digest=digest[:12]).replace("demo/", "work/")
    assert data("push", ref).startswith("pushed work/data:v0")
    assert data.json("show", "data:v0")["pushed"] is True
    assert "here is work/data:v" in data("pull", ref)
    data.refused("push", "nowhere", kind="UnknownRemote", message="no remote 'nowhere'", hint=re.compile(".*"))


def test_push_with_conflicting_aliases(shared):
    """An alias that somebody else moved stops a push; ``--except-aliases`` leaves it out, ``--force`` moves it."""
    place = clone_of(shared)
    shared("alias", "data:v0", "good")
    shared("push")
    shared("alias", "-d", "data:v1", "good", cwd=place)
    done = shared.run("push", cwd=place)
    assert done.code == 1
    assert done.err.startswith("error: alias 'good' of 'data' was moved to v0 by ada at ")
    assert "--force" in done.err
    assert shared.json("fetch", cwd=place)["entries"] == 0
    assert "alias" in shared.run("push", "--except-aliases", cwd=place).err
    assert shared.json("show", "data:good", cwd=clone_of(shared, "third"))["version"] == "v0"
    shared("push", "--force", cwd=place)
    assert shared.run("show", "data:good", cwd=clone_of(shared, "fourth")).code == 1


def test_push_join(shared):
    """Two artifacts of one name, made apart, become one with ``--join``."""
    place = other_place(shared, "apart")
    shared("init", "--project", "work", cwd=place)
    (place / "data").mkdir()
    (place / "data" / "x").write_text("x")
    shared("add", "data", cwd=place)
    shared("commit", cwd=place)
    shared("remote", "add", "origin", "../remote", cwd=place)
    done = shared.run("push", cwd=place)
    assert done.code == 1
    assert "--join" in done.err
    assert shared("push", "--join", cwd=place).startswith("pushed work/data:v2\n")
    assert names_in_log(shared("log", "data", cwd=clone_of(shared))) == ["v2", "v1", "v0"]


def test_after_a_clone_by_git(shared):
    """``artifacts.toml`` alone is enough: ``init`` finds the remote in it, ``pull`` the versions it names."""
    place = other_place(shared, "git")
    (place / "artifacts.toml").write_bytes((shared.workspace / "artifacts.toml").read_bytes())
    remote = shared.workspace.parent / "remote"
    assert shared("init", "--project", "work", cwd=place).splitlines()[1] == f"origin is {remote}, from artifacts.toml"
    assert "here is work/data:v1\n" in shared("pull", cwd=place)
    shared("checkout", "data", cwd=place)
    assert tree(place / "data") == V1
    assert (place / "artifacts.toml").read_bytes() == (shared.workspace / "artifacts.toml").read_bytes()


# ---- completion ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(bare, shell):
    """Each shell gets a script that calls ``avc``; where the shell is here, it finds no fault in it."""
    script = bare("completion", shell)
    assert re.search(rf"_AVC_COMPLETE=\w*{shell}_complete\b", script)
    program = shutil.which(shell)
    if program is not None:
        checked = subprocess.run([program, "-n"], input=script, capture_output=True, text=True)
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_commit_with_a_time_to_live(data):
    """It is recorded and shown; `none` is one, too, and a bad one is refused before anything is written."""
    (data.workspace / "data/more.txt").write_text("more")
    data("add", "data")
    data.refused(
        "commit", "--ttl", "soon", kind="BadName", message="bad duration 'soon'", hint=re.compile(".*90s.*"), code=2
    )
    data("commit", "--ttl", "30d")
    assert data.json("show", "data")["ttl"] == "30d"
    (data.workspace / "data/more.txt").write_text("less")
    data("add", "data")
    data("commit", "--ttl", "none")
    assert data.json("show", "data")["ttl"] == "none"


@pytest.mark.parametrize(
    ("meta", "message"),
    [("a=1700000000000000000", "the metadata holds an integer of 2**53 or more: write it as text"),
     ("a=" + "[" * 40 + "]" * 40, "the metadata is nested deeper than 28 levels")],
)  # fmt: skip
@pytest.mark.parametrize("deed", [["commit"], ["edit", "data:v0"], ["put", "data", "-n", "other"]], ids=" ".join)
def test_metadata_that_no_reader_takes_is_refused(data, deed, meta, message):
    """Nothing is recorded, and everything can still be read."""
    (data.workspace / "data/more.txt").write_text("more")
    data("add", "data")
    hint = "write it as text, or leave it out"
    data.refused(*deed, "--meta", meta, kind="UsageError", message=message, hint=hint, code=2)
    assert len(data("log", "data").splitlines()) == 2
    assert data("fsck", "--full")


def test_damaged_metadata_is_named_and_can_be_replaced(data):
    """As from a remote: `log` shows all else, fsck names it, and `edit` puts new metadata in its place."""
    from artifactvc.core.strict import dump_json
    from artifactvc.ops.session import append, storing
    from artifactvc.sdk.repository import Repository

    with Repository.open(data.workspace) as repository:
        session = repository.session
        with storing(session) as writer:
            bad = writer.put(dump_json({"salt": "0", "value": {"a": 2**60}}) + b"\n")
        version = repository.show("data:v0")
        artifact = next(repository.artifacts()).id
        append(session, "edit", lambda: [
            {"kind": "version", "artifact": artifact, "digest": version.digest, "set": {"metadata": bad}, "was": {}},
        ])  # fmt: skip
    done = data.run("log", "data")
    assert (done.code, len(done.out.splitlines())) == (0, 2)
    assert "note: some descriptions or metadata are damaged, and left out: " in done.err
    assert data.run("fsck").code == 1
    data("edit", "data:v0", "--meta", "a=2")
    assert data.json("show", "data:v0")["metadata"] == {"a": 2}
    assert data.run("fsck").code == 0
