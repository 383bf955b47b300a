"""Bad input: each kind with its words, its hint and its exit code, no traceback, and the repository as it was.

``avc.refused`` says all of that: the text on stderr, the document that ``--json`` prints, that nothing in
workspace or repository has changed, and that ``fsck --full`` finds everything sound.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from artifactvc.util.pool import workers
from tests.cli.conftest import AVC, Avc, schema

SETTINGS = "settings are distributed.origin, entity, gc.grace, project, refs.allow, store.path, user.email, user.name"

NAME_RULE = "use 1 to 128 ASCII letters, digits, '_', '-' or '.', not beginning with '.' or '-', not ending with '.'"
PROJECT_RULE = "use 1 to 128 characters without / \\ # ? % : and control characters"
ALIAS_RULE = "use 1 to 128 characters without '/', ':' and '@'"
PREFIX_RULE = "a prefix is a relative path inside the artifact, such as images/train"
TAG_RULE = "use letters, digits, '_' and '-', words parted by single spaces"
USER_RULE = "use 1 to 200 characters, not only spaces, without '<', '>' and control characters"
AS_ROOT = os.geteuid() == 0

KINDS = "use a directory, s3://, gs:// or az:// with bucket and path, sftp://HOST/PATH, or https:// to read only"


# ---- no repository, unknown names -----------------------------------------------------------------------

NEED_A_REPOSITORY = """
    add x; rm --from a x; status; commit; reset a; checkout a; get a; log a; show a; ls; cat a x; diff; alias a x;
    tag a x; edit a -m x; rename a b; delete a; restore a; fsck; gc; du; config get user; config set user x;
    config list; remote add r ../r; remote list; remote remove r; remote set-url r ../r; remote origin r; push; pull;
    fetch; artifact get a; artifact ls; cache info; cache cleanup 1GB; cache forget x; artifact cache cleanup 1GB
"""


@pytest.mark.parametrize("line", [line.strip() for line in re.split(r"[;\n]", NEED_A_REPOSITORY) if line.strip()])
def test_no_repository(bare, line):
    """Every command that needs a repository says that there is none, where it looked, and how to make one."""
    bare.refused(
        *line.split(),
        kind="NoRepository",
        message=f"no repository at '{bare.workspace}' or in any directory above it",
        hint="run 'avc init' in the project's directory",
    )
    assert bare.state() == {}


def test_no_repository_where_the_environment_says(avc, monkeypatch):
    """A wrong ``AVC_DIR`` is named; the repository around is not used instead."""
    monkeypatch.setenv("AVC_DIR", "/nowhere")
    done = avc.run("status")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: no repository at '/nowhere'")


UNKNOWN_ARTIFACT = """
    log dat; show dat; show dat:v0; show dat@9f2c41d; ls dat; cat dat x; diff dat; diff data dat; alias dat x; tag dat x
    edit dat -m x; edit --artifact dat -m x; rename dat b; delete dat; restore dat:v0; checkout dat; get dat; reset dat
    commit dat; status dat; rm --from dat x; artifact get dat; pull origin dat; push origin dat
"""


@pytest.mark.parametrize("line", [line.strip() for line in re.split(r"[;\n]", UNKNOWN_ARTIFACT) if line.strip()])
def test_unknown_artifact(data, line):
    """An artifact that is not there is named, and the nearest one that is is offered, whatever the command."""
    data("remote", "add", "origin", "../remote")
    data.refused(*line.split(), kind="UnknownArtifact", message="no artifact 'dat'", hint="did you mean 'data'?")


@pytest.mark.parametrize(
    ("ref", "kind", "message", "hint"),
    [
        ("zzz", "UnknownArtifact", "no artifact 'zzz'", "run 'avc ls' to list artifacts"),
        ("other/data", "UnknownArtifact", "no artifact 'other/data'", "did you mean 'work/data'?"),
        (
            "bob/work/data",
            "NotFound",
            "no entity or remote 'bob'",
            "this repository's entity is 'ada': leave it out, or run 'avc config set entity bob'",
        ),
        ("data:v9", "UnknownVersion", "artifact 'data' has no version 'v9'", "the newest version is 'v1'"),
        ("data@0000000", "UnknownVersion", "artifact 'data' has no version '@0000000'", "run 'avc log data'"),
        ("data:god", "UnknownAlias", "artifact 'data' has no alias 'god'", "did you mean 'data:good'?"),
        ("data:zzz", "UnknownAlias", "artifact 'data' has no alias 'zzz'", "the newest version is 'data:v1'"),
        ("data:v01", "UnknownAlias", "artifact 'data' has no alias 'v01'", "the newest version is 'data:v1'"),
    ],
)
@pytest.mark.parametrize("command", ["show", "checkout", "get", "delete"])
def test_unknown_version(data, command, ref, kind, message, hint):
    """A version, alias, digest, project or entity that is not there is named, with what is near or newest."""
    data.refused(command, ref, kind=kind, message=message, hint=hint)


def test_bare_name_without_latest(data):
    """A bare name means ``latest``; where there is none, the error names the newest version."""
    data("delete", "data", "--delete-aliases")
    message, hint = "artifact 'data' has no alias 'latest'", "the newest version is 'data:v0'"
    data.refused("show", "data", kind="UnknownAlias", message=message, hint=hint)


def test_deleted_version(data):
    """A deleted version says when it went and how it comes back."""
    data("delete", "data:v0")
    data.refused(
        "show",
        "data:v0",
        kind="UnknownVersion",
        message=re.compile(r"version 'data:v0' was deleted on \d{4}-\d\d-\d\d"),
        hint="run 'avc restore data:v0' while its bytes are there",
    )


@pytest.mark.parametrize(
    "line", ["push X", "pull X", "fetch X", "remote remove X", "remote origin X", "remote set-url X ."]
)
def test_unknown_remote(data, line):
    """A remote that is not there is named, with the one that is near."""
    data("remote", "add", "origin", "../remote")
    data.refused(
        *line.replace("X", "orgin").split(),
        kind="UnknownRemote",
        message="no remote 'orgin'",
        hint="did you mean 'origin'?",
    )


def test_unknown_remote_with_none_near(data):
    """Where no remote is near, the hint says how one is added."""
    data.refused("fetch", "x", kind="UnknownRemote", message="no remote 'x'", hint="run 'avc remote add NAME URL'")


@pytest.mark.parametrize("command", ["push", "pull", "fetch"])
def test_no_remote(data, command):
    """Sharing without a remote says how one is added."""
    data.refused(
        command, kind="UsageError", message="no remote is configured", hint="run 'avc remote add origin URL'", code=2
    )


def test_force_without_a_remote(data):
    """``gc --force`` is about a remote's clock: here it would do nothing."""
    data.refused(
        "gc",
        "--force",
        kind="UsageError",
        code=2,
        message="--force is for a remote's clock, and no remote is given",
        hint="run 'avc gc REMOTE --force'",
    )


@pytest.mark.parametrize(
    ("argv", "message", "hint"),
    [
        (["cat", "data", "a.tx"], "no path 'a.tx' in work/data:v1", "did you mean 'a.txt'?"),
        (["cat", "data", "zzz"], "no path 'zzz' in work/data:v1", "run 'avc ls data:v1'"),
        (["ls", "data", "sub/c.tx"], "no path 'sub/c.tx' in work/data:v1", "did you mean 'sub/c.txt'?"),
        (["ls", "data:v0", "zzz"], "no path 'zzz' in work/data:v0", "run 'avc ls data:v0'"),
        (["checkout", "data", "--path", "zzz"], "version 'data:v1' has nothing at 'zzz'",
         "run 'avc ls data:v1' to list its paths"),
        (["get", "data", "--path", "a.tx"], "version 'data:v1' has nothing at 'a.tx'",
         "run 'avc ls data:v1' to list its paths"),
        (["rm", "--from", "data", "a.tx"], "the draft of 'data' has no 'a.tx'", "did you mean 'a.txt'?"),
        (["rm", "--from", "data", "zzz"], "the draft of 'data' has no 'zzz'",
         "run 'avc ls data' to list what is there"),
        (["add", "dat"], "no file or directory 'dat'", "did you mean 'data'?"),
        (["add", "zzz"], "no file or directory 'zzz'", "check the path"),
        (["put", "zzz", "--name", "x"], "no file or directory 'zzz'", "check the path"),
        (["artifact", "put", "zzz"], "no file or directory 'zzz'", "check the path"),
    ],
)  # fmt: skip
def test_unknown_path(data, argv, message, hint):
    """A path that is not there, in the version or on disk, is named, with the one that is near."""
    data.refused(*argv, kind="UnknownPath", message=message, hint=hint)


def test_cat_of_what_is_no_file(avc):
    """A link says where it points; a directory is no path of a file."""
    avc.write({"data/sub/x": "x"})
    (avc.workspace / "data" / "link").symlink_to("sub/x")
    avc("add", "data")
    avc("commit")
    avc.refused(
        "cat",
        "data",
        "link",
        kind="UnknownPath",
        message="'link' is a link to 'sub/x'",
        hint="run 'avc cat data sub/x'",
    )
    avc.refused(
        "cat",
        "data",
        "sub",
        kind="UnknownPath",
        message=re.compile(".*'sub'.*work/data:v0"),
        hint=re.compile(".*'(sub/x|avc ls data.*)'.*"),
    )


def test_alias_or_tag_that_is_not_there(data):
    """What cannot be taken off is named with the version; where the alias stands elsewhere, that is said."""
    data.refused(
        "alias", "-d", "data", "god", kind="UnknownAlias", message="artifact 'data' has no alias 'god'", hint=""
    )
    data.refused("tag", "-d", "data", "t", kind="NotFound", message="work/data:v1 has no tag 't'", hint="")


def test_alias_that_stands_elsewhere(data):
    """Taking an alias off a version that has it not never says that the artifact has no such alias, for it has."""
    done = data.run("alias", "-d", "data:v0", "good")
    assert done.code == 1
    assert "artifact 'data' has no alias 'good'" not in done.err
    assert "data:v0" in done.err
    assert "data:v1" in done.err


# ---- bad names ----------------------------------------------------------------------------------------------

BAD_NAMES = [".x", "x.", "a b", "é", "", "x" * 129, "a\nb", "a\u202eb", "a\x1b[31m"]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("argv", [["add", "data", "--to"], ["put", "data", "--name"], ["rename", "data"]])
def test_bad_artifact_name(data, argv, name):
    """A bad name of an artifact is shown, what a terminal would act on escaped, with the rule."""
    shown = name.replace("\u202e", "\\u202e").replace("\n", "\\n").replace("\x1b", "\\x1b")
    data.refused(*argv, name, kind="BadName", message=f"bad artifact name '{shown}'", hint=NAME_RULE, code=2)


def test_artifact_name_like_an_option(data):
    """A name that begins with ``-`` is refused where an option takes it as its value."""
    for argv in (["add", "data", "--to"], ["put", "data", "--name"]):
        data.refused(*argv, "-x", kind="BadName", message="bad artifact name '-x'", hint=NAME_RULE, code=2)


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["show", "a b"], "a b"),
        (["log", ".x"], ".x"),
        (["status", "x/y."], "y."),
        (["commit", ""], ""),
    ],
)
def test_bad_artifact_name_in_a_reference(data, argv, name):
    """A reference whose name cannot be one says so instead of looking for it."""
    data.refused(*argv, kind="BadName", message=f"bad artifact name '{name}'", hint=NAME_RULE, code=2)


@pytest.mark.parametrize(
    ("argv", "message", "hint"),
    [
        (["show", "data:"], "bad version 'data:'", "write NAME:v3, NAME:alias or NAME@digest"),
        (["show", "data:v1:x"], "bad version 'data:v1:x'", "write NAME:v3, NAME:alias or NAME@digest"),
        (["show", "data:a/b"], "bad version 'data:a/b'", "write NAME:v3, NAME:alias or NAME@digest"),
        (["show", "data@123456"], "bad digest '123456' in 'data@123456'", "give 7 to 64 lower-case hex digits"),
        (["show", "data@ABCDEF0"], "bad digest 'ABCDEF0' in 'data@ABCDEF0'", "give 7 to 64 lower-case hex digits"),
        (["show", "a/b/c/d"], "too many parts in 'a/b/c/d'", "write [[entity/]project/]name[:version]"),
        (["rename", "data:v1", "x"], "'data:v1' names a version where an artifact is meant",
         "leave out what follows the name"),
        (["add", "data", "--to", "data:v1"], "'data:v1' names a version where an artifact is meant",
         "leave out what follows the name"),
    ],
)  # fmt: skip
def test_bad_reference(data, argv, message, hint):
    """A reference that cannot mean anything says how one is written."""
    data.refused(*argv, kind="BadName", message=message, hint=hint, code=2)


@pytest.mark.parametrize(
    "name", ["a/b", "a\\b", "a#b", "a?b", "a%b", "a:b", "..", ".", "", "x" * 129, "a\nb", "a\x1bb"]
)
def test_bad_project(data, name):
    """A bad name of a project is shown, control characters escaped, with the rule; no repository is made with it."""
    shown = name.replace("\n", "\\n").replace("\x1b", "\\x1b")
    words = {"kind": "BadName", "message": f"bad project name '{shown}'", "hint": PROJECT_RULE, "code": 2}
    data.refused("init", "new", "--project", name, **words)
    assert not (data.workspace / "new").exists()
    data.refused("config", "set", "project", name, **words)
    if "/" not in name and ":" not in name and name:
        data.refused("show", f"{name}/data", **words)


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("v3", "'v3' cannot be an alias: it looks like a version number", "choose another word"),
        ("v007", "'v007' cannot be an alias: it looks like a version number", "choose another word"),
        ("v3~", "'v3~' cannot be an alias: it looks like a version number", "choose another word"),
        ("ab" * 32, f"'{'ab' * 32}' cannot be an alias: it looks like a digest", "choose another word"),
        ("a/b", "bad alias 'a/b'", ALIAS_RULE),
        ("a:b", "bad alias 'a:b'", ALIAS_RULE),
        ("a@b", "bad alias 'a@b'", ALIAS_RULE),
        ("", "bad alias ''", ALIAS_RULE),
        (" ", "bad alias ' '", ALIAS_RULE),
        ("x" * 129, f"bad alias '{'x' * 129}'", ALIAS_RULE),
        ("a\nb", "bad alias 'a\\nb'", "an alias has no control characters"),
    ],
)
def test_bad_alias(data, name, message, hint):
    """A bad alias is shown with the rule, wherever one can be given; a version number is none."""
    data.write({"data/a.txt": "staged\n"})
    data("add")
    for argv in (["alias", "data"], ["commit", "--alias"], ["put", "data", "--name", "new", "--alias"],
                 ["artifact", "put", "data", "--name", "new", "-a"]):  # fmt: skip
        data.refused(*argv, name, kind="BadName", message=message, hint=hint, code=2)


@pytest.mark.parametrize("name", ["a/b", " a", "a ", "", "x" * 129, "a\nb"])
def test_bad_tag(data, name):
    """A bad tag is shown with the rule, wherever one can be given."""
    shown = name.replace("\n", "\\n")
    for argv in (["tag", "data"], ["commit", "--tag"], ["put", "data", "--name", "new", "--tag"]):
        data.refused(*argv, name, kind="BadName", message=f"bad tag '{shown}'", hint=TAG_RULE, code=2)


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("job", "type 'job' is reserved", "choose another type, such as 'dataset' or 'model'"),
        ("run_table", "type 'run_table' is reserved", "choose another type, such as 'dataset' or 'model'"),
        ("wandb-history", "type 'wandb-history' is reserved", "choose another type, such as 'dataset' or 'model'"),
        ("avc-x", "type 'avc-x' is reserved", "choose another type, such as 'dataset' or 'model'"),
        ("", "bad type ''", "use 1 to 128 characters without control characters"),
        ("a\nb", "bad type 'a\\nb'", "use 1 to 128 characters without control characters"),
        ("x" * 129, f"bad type '{'x' * 129}'", "use 1 to 128 characters without control characters"),
    ],
)
def test_bad_type(data, name, message, hint):
    """A bad or reserved type is shown, wherever one can be given."""
    for argv in (["add", "data", "--to", "new", "--type"], ["put", "data", "--name", "new", "--type"],
                 ["artifact", "put", "data", "--name", "new", "--type"]):  # fmt: skip
        data.refused(*argv, name, kind="BadName", message=message, hint=hint, code=2)


def test_bad_remote_name(data):
    """A remote's name has its rule, is not the entity's, and is not given twice."""
    for name in ("a/b", ".x", "x.", "", "x" * 65):
        data.refused(
            "remote",
            "add",
            name,
            "../r",
            kind="BadName",
            message=f"bad remote name '{name}'",
            hint="use 1 to 64 letters, digits, '_', '-' or '.'",
            code=2,
        )
    data.refused(
        "remote",
        "add",
        "ada",
        "../r",
        kind="BadName",
        hint="choose another name",
        code=2,
        message="a remote cannot be called 'ada', as this repository's entity is",
    )
    assert not (data.workspace.parent / "r").exists()
    data("remote", "add", "origin", "../remote")
    data.refused(
        "remote",
        "add",
        "origin",
        "../r",
        kind="NameTaken",
        message="remote 'origin' exists",
        hint="run 'avc remote set-url' to move it, or choose another name",
    )
    data.refused(
        "config",
        "set",
        "entity",
        "origin",
        kind="BadName",
        hint="choose another name",
        code=2,
        message="the entity cannot be called 'origin', as a remote is",
    )
    data.refused(
        "show",
        "origin/work/data",
        kind="NotFound",
        hint="run 'avc fetch origin' and leave the first part out",
        message="'origin' is a remote: its artifacts are asked for through the Python API",
    )


def test_name_that_is_taken(data):
    """Two artifacts of a project never differ only in case, and a name is not given again."""
    data("put", "data/a.txt", "--name", "other")
    for name in ("data", "DATA"):
        data.refused(
            "rename",
            "other",
            name,
            kind="NameTaken",
            message="artifact 'data' exists in project 'work'",
            hint="choose another name",
        )
    data("put", "data/a.txt", "--name", "DATA")
    assert [row["name"] for row in data.documents("ls")] == ["data", "other"]


@pytest.mark.parametrize(
    ("argv", "message", "hint"),
    [
        (["gc", "--grace", "5y"], "bad duration '5y'", "write a number and a unit: 90s, 45m, 12h, 30d, 2w"),
        (["gc", "--grace", "soon"], "bad duration 'soon'", "write a number and a unit: 90s, 45m, 12h, 30d, 2w"),
        (["gc", "--grace", ""], "bad duration ''", "write a number and a unit: 90s, 45m, 12h, 30d, 2w"),
        (["config", "set", "gc.grace", "1"], "bad duration '1'", "write a number and a unit: 90s, 45m, 12h, 30d, 2w"),
        (["commit", "--run", "a b"], "bad run id 'a b'", "use letters, digits and '-'"),
        (["put", "data", "-n", "x", "--run", "a/b"], "bad run id 'a/b'", "use letters, digits and '-'"),
        (["config", "set", "user", ""], "bad user name ''", USER_RULE),
        (["config", "set", "user", " "], "bad user name ' '", USER_RULE),
        (["config", "set", "user.name", "a<b>"], "bad user name 'a<b>'", USER_RULE),
        (["config", "set", "user.email", "ada"], "bad email 'ada'", "write it as in 'ada@example.org'"),
        (["config", "set", "user.email", "a@b\n"], "bad email 'a@b\\n'", "write it as in 'ada@example.org'"),
        (["config", "set", "user", "a\nb"], "bad user name 'a\\nb'", USER_RULE),
        (["config", "set", "user", "a\udcffb"], "bad user name 'a\\xffb'", USER_RULE),
    ],
)
def test_bad_value(data, argv, message, hint):
    """A duration, run or user that cannot be one is shown, with how it is written; nothing is done meanwhile."""
    data.write({"data/a.txt": "staged\n"})
    data("add")
    data.refused(*argv, kind="BadName", message=message, hint=hint, code=2)


def test_type_conflict(data):
    """A name has one type: another is refused, wherever it is given."""
    message = "artifact 'data' already exists with type 'dataset'; cannot create another with type 'model'"
    hint = "choose another name, or leave the type out"
    for argv in (["add", "data", "--type", "model"], ["put", "data", "--name", "data", "--type", "model"],
                 ["artifact", "put", "data", "--type", "model"]):  # fmt: skip
        data.refused(*argv, kind="TypeConflict", message=message, hint=hint)
    data.refused(
        "artifact",
        "get",
        "data",
        "--type",
        "model",
        kind="TypeConflict",
        message="artifact 'data' has type 'dataset', not 'model'",
        hint="leave --type out, or give 'dataset'",
    )


# ---- the command line itself --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "usage", "message", "hint"),
    [
        (["statsu"], "avc [OPTIONS] [COMMAND] [ARGS]...", "no command 'statsu' (did you mean 'status'?)",
         "run 'avc --help' to list the commands"),
        (["zzzzz"], "avc [OPTIONS] [COMMAND] [ARGS]...", "no command 'zzzzz'", "run 'avc --help' to list the commands"),
        (["--nosuch"], "avc [OPTIONS] [COMMAND] [ARGS]...", "no such option '--nosuch'",
         "run 'avc --help' to list the commands"),
        (["add", "--nosuch"], "avc add [OPTIONS] [PATH]...", "no such option '--nosuch'", "run 'avc add --help'"),
        (["remote", "lst"], "avc remote [OPTIONS] COMMAND [ARGS]...", "no such command 'lst'. Did you mean 'list'?",
         "run 'avc remote --help'"),
        (["log"], "avc log [OPTIONS] NAME", "missing argument 'NAME'", "run 'avc log --help'"),
        (["rm", "x"], "avc rm [OPTIONS] PATH...", "missing option '--from'", "run 'avc rm --help'"),
        (["put", "x"], "avc put [OPTIONS] PATH", "missing option '-n' / '--name'", "run 'avc put --help'"),
        (["diff", "a", "b", "c"], "avc diff [OPTIONS] [REF] [REF]", "got unexpected extra argument (c)",
         "run 'avc diff --help'"),
        (["log", "data", "-n", "-1"], "avc log [OPTIONS] NAME",
         "invalid value for '-n': -1 is not in the range x>=0", "run 'avc log --help'"),
        (["remote", "add", "x"], "avc remote add [OPTIONS] NAME URL", "missing argument 'URL'",
         "run 'avc remote add --help'"),
    ],
)  # fmt: skip
def test_wrong_usage(data, argv, usage, message, hint):
    """A command line that cannot be understood shows how it is used, and ends with 2."""
    data.refused(*argv, kind="UsageError", message=message, hint=hint, code=2, usage=f"Usage: {usage}")


@pytest.mark.parametrize("shell", ["tcsh", None])
def test_wrong_shell(bare, shell):
    """Completion for an unknown shell, or for none, names those that are known."""
    done = bare.run("completion", *([shell] if shell else []))
    assert done.code == 2
    assert done.err.startswith("Usage: avc completion [OPTIONS] ")
    assert all(name in done.err for name in ("bash", "zsh", "fish"))


@pytest.mark.parametrize(
    ("argv", "message", "hint"),
    [
        (["edit"], "give either a version or --artifact NAME", "run 'avc edit --help'"),
        (["edit", "data", "--artifact", "data"], "give either a version or --artifact NAME", "run 'avc edit --help'"),
        (["edit", "data"], "nothing to edit", "give --description or --meta"),
        (["edit", "--artifact", "data", "--meta", "a=1"], "an artifact has no metadata of its own",
         "give --meta with a version"),
        (["checkout", "data", "--link", "soft"], "'soft' is no way to link",
         "use --link hardlink or --link symlink"),
        (["add", "s3://bucket/x"], "a URI is added to an artifact that is named", "say which: avc add URI --to NAME"),
        (["add", "s3://bucket/x", "s3://bucket/y", "--to", "x"], "a URI is added alone",
         "add one URI at a time: each is taken whole, or not at all"),
        (["add", "s3://bucket/x", "--to", "x", "--move"], "--move, --follow and --force are for files of this machine",
         "leave them out"),
        (["add", "data", "--no-checksum"], "--max-objects and --no-checksum are for URIs", "leave them out"),
        (["-C", "nowhere", "status"], "cannot go to 'nowhere': no such file or directory", "check -C"),
        (["-C", "data/a.txt", "status"], "cannot go to 'data/a.txt': not a directory", "check -C"),
        (["remote", "add", "x", "ftp://host/x"], "'ftp://' is not a kind of remote that this version can reach",
         KINDS),
        (["remote", "add", "x", "s3://"], "'s3://' is not a whole address", KINDS),
        (["remote", "add", "x", "s3:/bucket/x"], "'s3:/bucket/x' lacks a slash",
         "write 's3://bucket/x', or './s3:/bucket/x' if it is a directory here"),
        (["remote", "add", "x", "https://me:secret@host/x"], "a remote's address cannot hold a password",
         "use the credentials file, a profile or the environment"),
        (["config", "set", "gc.grase", "1d"], "no setting 'gc.grase'", "did you mean 'gc.grace'?"),
        (["config", "get", "zzz"], "no setting 'zzz'", SETTINGS),
        (["config", "set", "--global", "zzz", "1"], "no setting 'zzz'", SETTINGS),
    ],
)  # fmt: skip
def test_use_that_means_nothing(data, argv, message, hint):
    """What cannot mean anything ends with 2 and says what would."""
    data.refused(*argv, kind="UsageError", message=message, hint=hint, code=2)


NOTHING = "names nothing"


@pytest.mark.parametrize(
    ("argv", "what", "hint"),
    [
        (["rm", "--from", "data", ""], "path", "'avc reset data' drops all that is staged"),
        (["rm", "--from", "data", "/"], "path", "'avc reset data' drops all that is staged"),
        (["rm", "--from", "data", "a.txt", ""], "path", "'avc reset data' drops all that is staged"),
        (["add", ""], "path", "write '.' for the directory that you are in"),
        (["add", "data", ""], "path", "write '.' for the directory that you are in"),
        (["add", "", "--to", "new"], "path", "write '.' for the directory that you are in"),
        (["put", "", "--name", "new"], "path", "write '.' for the directory that you are in"),
        (["artifact", "put", "", "--name", "new"], "path", "write '.' for the directory that you are in"),
        (["checkout", "data", "--path", ""], "path", "leave it out to take the whole version"),
        (["checkout", "data", "--path", "a.txt", "--path", "/"], "path", "leave it out to take the whole version"),
        (["get", "data", "--path", ""], "path", "leave it out to take the whole version"),
        (["get", "data", "--root", ""], "directory", "leave it out, or write '.' for where you are"),
        (["artifact", "get", "data", "--root", ""], "directory", "leave it out, or write '.' for where you are"),
        (["checkout", "data", ""], "destination", "leave it out, or write '.' for where you are"),
        (["init", ""], "directory", "leave it out, or write '.' for where you are"),
        (
            ["remote", "add", "x", ""],
            "address",
            KINDS,
        ),
        (
            ["remote", "set-url", "origin", ""],
            "address",
            KINDS,
        ),
        (
            ["clone", ""],
            "address",
            KINDS,
        ),
    ],
)
def test_empty_words_name_nothing(data, argv, what, hint):
    """An empty path or address, such as an unset variable leaves, never stands for everything or for where one is."""
    data("remote", "add", "origin", "../remote")
    data.refused(*argv, kind="UsageError", message=f"the {what} '' names nothing", hint=hint, code=2)


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        ("/abs", "bad path '/abs'"),
        ("/", "bad path '/'"),
        ("../x", "path '../x' climbs or repeats a separator"),
        ("a//b", "path 'a//b' climbs or repeats a separator"),
        (".git", "path '.git' has a component '.git', which belongs to another tool or to avc"),
        ("a\nb", "path 'a\\nb' holds control characters"),
    ],
)
def test_bad_prefix(data, prefix, message):
    """``--as`` takes a path inside the artifact: another is neither mended nor taken."""
    for argv in (["add", "data", "--to", "new"], ["put", "data", "--name", "new"]):
        data.refused(*argv, "--as", prefix, kind="BadName", message=message, hint=PREFIX_RULE, code=2)


def test_prefix_without_a_path(data):
    """``add --as`` with no PATH would have nothing to place."""
    data.refused(
        "add",
        "--as",
        "q",
        kind="UsageError",
        message="a prefix says where PATH goes, and no path is given",
        hint="run 'avc add PATH --as PREFIX'",
        code=2,
    )


def test_each_path_of_a_checkout_must_be_there(data):
    """One ``--path`` that names nothing is an error beside others that name something, and nothing is written."""
    words = {"kind": "UnknownPath", "hint": "run 'avc ls data:v1' to list its paths"}
    for argv in (["--path", "sub", "--path", "nope"], ["--path", "nope", "--path", "a.txt"]):
        data.refused("checkout", "data", "out", *argv, message="version 'data:v1' has nothing at 'nope'", **words)
    message = "version 'data:v1' has nothing at 'nope', 'su'"
    data.refused("checkout", "data", "--path", "nope", "--path", "a.txt", "--path", "su", message=message, **words)
    assert not (data.workspace / "out").exists()
    data("checkout", "data", "out", "--path", "sub/", "--path", "a.txt")


def test_add_without_anything_bound(avc):
    """``add`` alone where no path is bound says how to begin."""
    avc.refused(
        "add",
        kind="UsageError",
        message="nothing to add: no path given, and no path is bound",
        hint="run 'avc add PATH'",
        code=2,
    )


@pytest.mark.skipif(not AS_ROOT, reason="only root writes through read-only modes")
def test_add_move_as_root(data):
    """As root a hard link protects nothing, so ``--move`` asks for ``--force``."""
    data.refused(
        "add",
        "data",
        "--move",
        kind="UsageError",
        code=2,
        hint="give --force as well, or leave --move out",
        message="as root, --move leaves files that can still be written through their read-only mode",
    )


@pytest.mark.parametrize(
    ("meta", "content", "message", "hint"),
    [
        ("junk", None, "bad metadata 'junk'", "write --meta KEY=VALUE, or --meta @file.json"),
        ("=1", None, "bad metadata '=1'", "write --meta KEY=VALUE, or --meta @file.json"),
        ("", None, "bad metadata ''", "write --meta KEY=VALUE, or --meta @file.json"),
        ("@m", None, "cannot read 'm': no such file or directory", "check --meta"),
        ("@data", None, "cannot read 'data': is a directory", "check --meta"),
        ("@m", b"{,}", re.compile("'m' is not JSON: .*line 1 column 2.*"), "metadata is one JSON object"),
        ("@m", b"", re.compile("'m' is not JSON: .+"), "metadata is one JSON object"),
        ("@m", b"\xff\xfe", re.compile("'m' is not JSON: .+"), "metadata is one JSON object"),
        ("@m", b'{"a": NaN}', "'m' is not JSON: NaN", "metadata is one JSON object"),
        ("@m", b"[" * 100_000, re.compile("'m' is not JSON: .+"), "metadata is one JSON object"),
        ("@m", b"[1]", "'m' holds no JSON object", "metadata is one JSON object"),
        ("@m", b"null", "'m' holds no JSON object", "metadata is one JSON object"),
    ],
)
def test_bad_metadata(data, meta, content, message, hint):
    """``--meta`` that is neither KEY=VALUE nor a file with an object says which it is not."""
    if content is not None:
        data.write({"m": content})
    kind = "BadName" if str(message).startswith("bad") else "UsageError"
    for argv in (["commit"], ["edit", "data"], ["put", "data", "-n", "x"]):
        data.refused(*argv, "--meta", meta, kind=kind, message=message, hint=hint, code=2)


@pytest.mark.parametrize("meta", ["a=1e999", "a=-1e999", 'a={"b": [1e400]}', "@m"])
def test_metadata_that_is_no_number(data, meta):
    """A number too large to be one is refused, given by itself, inside other values, or in a file."""
    data.write({"m": b'{"a": 1e999}', "data/a.txt": "staged\n"})
    data("add")
    for argv in (["commit"], ["edit", "data"], ["put", "data", "-n", "x"]):
        data.refused(
            *argv,
            "--meta",
            meta,
            kind="UsageError",
            message="the metadata holds infinity, which JSON has no word for",
            hint="write it as text, or leave it out",
            code=2,
        )


def test_delete_with_aliases(data):
    """A version that aliases point at is deleted only when that is said."""
    data.refused(
        "delete",
        "data",
        kind="Conflict",
        message="work/data:v1 has the alias 'latest' and 1 more",
        hint="run 'avc delete data --delete-aliases' to delete it with its aliases",
    )
    data.refused(
        "delete",
        "data:v1",
        "--dry-run",
        kind="Conflict",
        message="work/data:v1 has the alias 'latest' and 1 more",
        hint="run 'avc delete data:v1 --delete-aliases' to delete it with its aliases",
    )


# ---- files that cannot be taken ---------------------------------------------------------------------------


def test_path_outside_the_workspace(data):
    """A path outside the workspace is refused, with what stores it all the same; so is one a link leads out to."""
    above = data.workspace.parent
    (above / "beside").mkdir()
    (above / "beside" / "x").write_text("x")
    hint = "move it inside, or store it in one step with 'avc put PATH --name NAME'"
    for path in ("..", "../beside", "../missing", "/etc/passwd", "data/../../beside/x"):
        message = f"'{path}' is outside the workspace '{data.workspace}'"
        data.refused("add", path, "--to", "new", kind="OutsideWorkspace", message=message, hint=hint)
    assert data.run("add", "data", "../beside").code == 1
    assert data("status") == "work/data (v1) in data\n  clean: 2 entries\n"


def test_path_that_a_link_leads_out_of_the_workspace(data):
    """What lies outside is outside by whatever name: a link on the way to it does not make it part of the workspace."""
    (data.workspace.parent / "beside" / "deep").mkdir(parents=True)
    (data.workspace.parent / "beside" / "deep" / "x").write_text("x")
    (data.workspace / "way").symlink_to("../beside")
    for path in ("way/deep", "way/deep/x"):
        before = data.state()
        done = data.run("add", path, "--to", "new")
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith("error: ")
        assert path in done.err
        assert data.state() == before


@pytest.mark.parametrize("path", [".git", ".artifacts", ".artifacts/config.toml", "data/.git/config"])
def test_path_in_a_repository(data, path):
    """Repositories are never taken, Git's nor ours."""
    data.write({".git/config": "x", "data/.git/config": "x"})
    data.refused(
        "add",
        path,
        "--to",
        "new",
        kind="UnsupportedFile",
        hint="",
        message=f"'{path}' belongs to a repository, which is never taken",
    )


def test_bindings_are_never_taken(data):
    """``artifacts.toml`` changes with every commit, so it is no content, even when it is named."""
    before = data.state()
    done = data.run("add", "artifacts.toml")
    assert done.code != 0
    assert "'artifacts.toml'" in done.err
    assert data.state() == before


def test_two_paths_for_one_entry(data):
    """Two paths that both have a file for one place say so."""
    data.write({"one/x": "1", "two/x": "2"})
    data.refused(
        "add",
        "one",
        "two",
        "--to",
        "new",
        kind="PathConflict",
        message="'one' and 'two' both have 'x'",
        hint="give one of them another place with --as PREFIX",
    )


@pytest.fixture
def rewritten(data: Avc) -> Iterator[Path]:
    """A large file of ``data`` that other processes keep appending to, until the test ends."""
    path = data.restless = data.workspace / "data" / "growing"
    path.write_bytes(bytes(32 << 20))
    code = "import sys\nfile = open(sys.argv[1], 'ab', 0)\n"
    code += "file.write(b'x')\nprint(flush=True)\nwhile file.write(b'x'): pass"
    writers = [subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE) for _ in range(3)]
    try:
        for writer in writers:
            assert writer.stdout is not None
            writer.stdout.readline()  # it has begun
        yield path
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
            assert writer.stdout is not None
            writer.stdout.close()


def unstable(data: Avc, *argv: str) -> None:
    """Run a command that must find ``data/growing`` changing; it must leave the repository as it was."""
    before = data.state()
    words = f"error: '{data.restless}' keeps changing while it is read\n"
    words += "hint: wait until its writer is done, then run again\n"
    assert data.process(*argv) == (1, "", words)
    assert data.state() == before
    data.sound()


@pytest.mark.parametrize("argv", [["add"], ["put", "data", "--name", "new"], ["put", "data/growing", "--name", "new"]])
def test_file_that_keeps_changing(data, rewritten, argv):
    """A file that changes while it is read, and again when it is read again, is an error that says to wait."""
    unstable(data, *argv)


def test_file_that_keeps_changing_among_many(data, rewritten):
    """The same where the work is shared out to several processes: the error comes back as it was."""
    data.write({f"data/{d}/{n}": f"{d}{n}" for d in "xyz" for n in range(600)})
    unstable(data, "add")


@pytest.mark.parametrize("size", [100, 1 << 20])
def test_file_that_changes_once(data, monkeypatch, size):
    """A file that changes while it is read is read again: what is stored is what it was then, whole."""
    path = data.workspace / "data" / "a.txt"
    path.write_bytes(b"1" * size)
    changed: list[int] = []
    fstat = os.fstat

    def change_once(fd: int) -> os.stat_result:
        found = fstat(fd)
        if not changed and found.st_ino == path.stat().st_ino:
            changed.append(fd)  # after the first look at the file, before its bytes are read
            path.write_bytes(b"2" * (size + 1))
        return found

    monkeypatch.setattr(os, "fstat", change_once)
    data("add")
    monkeypatch.undo()
    data.monkeypatch.chdir(data.workspace)
    data("commit")
    assert changed
    data("checkout", "data", "../out", "--path", "a.txt")
    assert (data.workspace.parent / "out" / "a.txt").read_bytes() == b"2" * (size + 1)
    data.sound()


def obey_permissions() -> None:
    """Let root, in this process and what it starts, be bound by permissions as others are."""
    prctl, drop = ctypes.CDLL(None).prctl, 24  # PR_CAPBSET_DROP
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        prctl(drop, capability, 0, 0, 0)


@pytest.fixture
def bound(tmp_path: Path) -> dict[str, Any]:
    """Settings of a process to which permissions mean something, root's too."""
    if not AS_ROOT:
        return {}
    settings = {"preexec_fn": obey_permissions}
    closed = tmp_path / "closed"
    closed.touch(0)
    closed.chmod(0)
    if subprocess.run(["cat", closed], stderr=subprocess.DEVNULL, **settings).returncode == 0:
        pytest.skip("root cannot be bound by permissions here")
    return settings


def test_unreadable_file(data, bound):
    """A file that may not be read is named; nothing is staged, and what was stays."""
    data.write({"data/closed": "secret"})
    (data.workspace / "data" / "closed").chmod(0)
    before = data.state()
    put = ["put", "--name", "x"]
    for argv in (["add"], ["add", "--dry-run"], ["add", "data/closed"], [*put, "data"], [*put, "data/closed"]):
        done = data.process(*argv, **bound)
        assert (done.code, done.out) == (1, "")
        assert re.fullmatch(
            r"error: cannot read '(/\S+/)?data/closed': permission denied\nhint: check its permissions\n", done.err
        )
        body = json.loads(data.process(*argv, "--json", **bound).out)
        schema("error").validate(body)
        assert body["error"]["class"] == "UnreadableFile"
    assert data.state() == before
    data.sound()
    (data.workspace / "data" / "closed").chmod(0o644)
    assert data.process("add", **bound).out == "staged work/data (dataset): 1 added; 3 entries\n"


def test_unreadable_directory(data, bound):
    """A directory that may not be read is named: what is in it did not go away."""
    (data.workspace / "data" / "sub").chmod(0)
    for argv in (["add"], ["status"], ["diff"], ["put", "data", "--name", "x"]):
        done = data.process(*argv, **bound)
        assert (done.code, done.out) == (1, "")
        words = r"error: cannot read the directory '(data/)?sub': permission denied\nhint: check its permissions\n"
        assert re.fullmatch(words, done.err)
    (data.workspace / "data" / "sub").chmod(0o755)
    assert data.process("status", **bound).out == "work/data (v1) in data\n  clean: 2 entries\n"


def test_unreadable_avcignore(data, bound):
    """Patterns that may not be read are not taken for none."""
    data.write({"data/new": "n", ".avcignore": "new\n"})
    (data.workspace / ".avcignore").chmod(0)
    done = data.process("add", **bound)
    assert (done.code, done.out) == (1, "")
    assert re.match(r"error: cannot read '\.avcignore': permission denied\n", done.err)


@pytest.mark.parametrize(
    ("line", "shown"), [(b"\\", "\\"), (b"a\\", "a\\"), (b"!", "!"), (b"[z-a]", "[z-a]"), (b"\x1b\\", "\\x1b\\")]
)
def test_bad_pattern(data, line, shown):
    """A line of ``.avcignore`` that is no pattern is named with its number; the patterns above it are sound."""
    data.write({"data/new": "n", ".avcignore": b"# ours\n*.tmp\n" + line + b"\n"})
    for argv in (["add"], ["status"], ["diff"]):
        data.refused(
            *argv,
            kind="UnreadableFile",
            message=f"'.avcignore' has a bad pattern in line 3: '{shown}'",
            hint="mend it, or take it out; a backslash stands before the character that it escapes",
        )


def test_avcignore_that_is_no_text(data):
    """Bytes that are not UTF-8, and a directory, are said to be that: permissions have nothing to do with it."""
    data.write({"data/new": "n", ".avcignore": b"ok\n\xff\n"})
    message = "'.avcignore' is not UTF-8 in line 2"
    data.refused("add", kind="UnreadableFile", message=message, hint="save it as UTF-8")
    (data.workspace / ".avcignore").unlink()
    (data.workspace / ".avcignore").mkdir()
    hint = "it must be a file of patterns: rename the directory"
    data.refused("add", kind="UnreadableFile", message="'.avcignore' is a directory", hint=hint)


def test_unreadable_file_among_many(data, bound):
    """The same where the work is shared out to several processes: the error comes back as it was."""
    data.write({f"data/{d}/{n}": f"{d}{n}" for d in "xyz" for n in range(600)})
    path = data.workspace / "data" / "y" / "300"
    path.chmod(0)
    done = data.process("add", **bound)
    words = f"error: cannot read '{path}': permission denied\nhint: check its permissions\n"
    assert done == (1, "", words)
    data.sound()


def test_repository_that_may_only_be_read(data, bound):
    """Where the repository cannot be written, what only looks still works, and what writes says what it may not."""
    places = [data.workspace, *data.workspace.rglob("*")]
    for path in places:
        path.chmod(path.stat().st_mode & ~0o222)
    try:
        assert data.process("log", "data", "-n", "1", **bound).out.startswith("v1 ")
        assert data.process("status", **bound).out == "work/data (v1) in data\n  clean: 2 entries\n"
        assert data.process("cat", "data:v0", "a.txt", **bound).out == "one\n"
        (data.workspace / ".artifacts" / "locks" / "config").unlink(missing_ok=True)
        for argv in (["alias", "data", "best"], ["put", "data", "--name", "y"], ["config", "set", "user", "x"],
                     ["remote", "add", "r", "../r"]):  # fmt: skip
            done = data.process(*argv, **bound)
            assert done.code == 1, argv
            assert re.match(r"error: cannot write '\S+': permission denied\n", done.err, re.IGNORECASE), done.err
    finally:
        for path in places:
            path.chmod(path.stat().st_mode | 0o200)


def make_fifo(path: Path) -> None:
    """A pipe."""
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    """A socket, made where its short name fits."""
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def make_device(path: Path) -> None:
    """A device that reads as nothing."""
    try:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("devices cannot be made here")


@pytest.mark.parametrize(
    ("make", "what"), [(make_fifo, "a pipe"), (make_socket, "a socket"), (make_device, "a device")]
)
def test_special_files(data, make, what):
    """A socket, pipe or device is named with what it is; nothing waits for it; ``.avcignore`` lets it be."""
    path = data.workspace / "data" / "special"
    make(path)
    message = f"'data/special' is {what}, which cannot be stored"
    for argv in (["add"], ["add", "--dry-run"], ["add", "data"], ["add", "data", "--to", "new"], ["status"], ["diff"]):
        data.refused(*argv, kind="UnsupportedFile", message=message, hint="remove it, or name it in .avcignore")
    data.refused(
        "add",
        "data/special",
        "--to",
        "new",
        kind="UnsupportedFile",
        message="'data/special' is not a regular file",
        hint="only files, links and directories are taken",
    )
    done = data.run("put", "data/special", "--name", "new")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: '{path}' is ")
    data.write({".avcignore": "special\n"})
    assert "clean" in data("status")


def test_put_of_special_files(data):
    """``put`` does not ask ``.avcignore``, so it does not send anybody there."""
    make_fifo(data.workspace / "data" / "special")
    data.refused(
        "put",
        "data",
        "--name",
        "new",
        kind="UnsupportedFile",
        message="'special' is a pipe, which cannot be stored",
        hint=re.compile("(?!.*avcignore).+"),
    )


BAD_BYTES = b"bad\xff.txt"


def make_badly_named(directory: Path) -> str:
    """A file whose name is not UTF-8, as Python names it."""
    name = os.fsdecode(BAD_BYTES)
    try:
        (directory / name).write_text("x")
    except OSError:
        pytest.skip("this file system knows only UTF-8")
    return name


def test_name_that_is_not_utf8(data):
    """A name that is not UTF-8 is shown escaped, wherever the file is met."""
    name = make_badly_named(data.workspace / "data")
    hint = "rename it, or name its directory in .avcignore"
    for argv in (["add"], ["add", "--dry-run"], ["status"], ["diff"]):
        message = "the name 'data/bad\\xff.txt' is not UTF-8"
        data.refused(*argv, kind="UnsupportedFile", message=message, hint=hint)
    data.refused(
        "put",
        f"data/{name}",
        "--name",
        "new",
        kind="UnsupportedFile",
        hint="rename it",
        message="'bad\\xff.txt' cannot be stored under its name",
    )
    done = data.process("add")
    assert (done.code, done.err) == (1, f"error: the name 'data/bad\\xff.txt' is not UTF-8\nhint: {hint}\n")


def test_name_that_is_not_utf8_given_by_itself(data):
    """A path on the command line that is not UTF-8 is shown in the same way, with the same advice."""
    name = make_badly_named(data.workspace / "data")
    for argv in (["add", f"data/{name}"], ["add", f"data/{name}", "--to", "new"]):
        message = re.compile(r".*'data/bad\\xff\.txt'.*")
        data.refused(*argv, kind="UnsupportedFile", message=message, hint=re.compile("rename it.*"))
    data.refused(
        "add",
        "data",
        "--to",
        "new",
        "--as",
        os.fsdecode(b"d\xff"),
        kind="BadName",
        message="path 'd\\xff' is not UTF-8",
        hint=PREFIX_RULE,
        code=2,
    )


@pytest.mark.parametrize("argv", [["edit", "data", "-m"], ["edit", "data", "--meta"], ["config", "set", "user"],
                                  ["alias", "data"], ["tag", "data"], ["put", "data", "--name", "x", "-m"],
                                  ["remote", "add", "x"], ["edit", "--artifact", "data", "-m"]])  # fmt: skip
def test_text_that_is_not_utf8(data, argv):
    """Text on the command line that is not UTF-8 is bad input, told as such and escaped; it is no bug of ours."""
    text = (
        os.fsdecode(b"k=\xff") if argv[-1] == "--meta" else os.fsdecode(b"../k\xff") if "remote" in argv else "k\udcff"
    )
    before = data.state()
    done = data.run(*argv, text)
    assert "unexpected" not in done.err
    assert "bug" not in done.err
    if done.code:
        assert "\\xff" in done.err
        assert "salt" not in done.err, "it shows what is ours"
        assert len(re.findall("'[^']*xff'", done.err.splitlines()[0])) == 1, done.err
        assert data.state() == before
    data.sound()


def test_json_of_paths_that_are_not_utf8(data):
    """JSON is UTF-8, whatever a path is made of: other bytes are escaped."""
    out = os.fsdecode(b"../out\xff")
    done = subprocess.run(
        [AVC, "checkout", "data", out, "--json"],
        cwd=data.workspace,
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
    )
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout.decode("utf-8"))
    schema("checkout").validate(body)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("new\nline", "path 'data/new\\nline' holds control characters"),
        ("esc\x1b[31m", "path 'data/esc\\x1b[31m' holds control characters"),
        (".Git", "path 'data/.Git' has a component '.Git', which belongs to another tool or to avc"),
    ],
)
def test_name_that_no_version_may_have(data, name, message):
    """A name that would harm others who check it out is shown escaped and not taken."""
    data.write({f"data/{name}": "x"})
    data.refused("add", kind="UnsupportedFile", message=message, hint="rename it, or name it in .avcignore")
    for argv in (["add", f"data/{name}"], ["add", f"data/{name}", "--to", "new"]):
        data.refused(*argv, kind="UnsupportedFile", message=message, hint="rename it")


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "../data/a.txt", "sub/../../.."])
def test_link_that_climbs_out(data, target):
    """A link out of the directory taken is an error that names ``--follow``."""
    (data.workspace / "data" / "link").symlink_to(target)
    message = f"link 'data/link' points out of the directory taken, at '{target}'"
    hint = "add with --follow to store what it points at, or name it in .avcignore"
    for argv in (["add"], ["status"], ["add", "data", "--to", "new"]):
        data.refused(*argv, kind="UnsafeLink", message=message, hint=hint)
    data.refused(
        "put",
        "data",
        "--name",
        "new",
        kind="UnsafeLink",
        hint=re.compile(".*--follow.*"),
        message=f"link 'link' points out of the directory taken, at '{target}'",
    )


def test_link_given_by_itself(data):
    """A link by itself is not taken without what it points at, and not at all where it points at nothing."""
    (data.workspace / "link").symlink_to("data")
    (data.workspace / "data" / "nothing").symlink_to("missing")
    data.refused(
        "add",
        "link",
        kind="UnsafeLink",
        message="link 'link' points at 'data', which is not taken with it",
        hint="add with --follow to store what it points at",
    )
    data.refused(
        "put",
        "link",
        "--name",
        "new",
        kind="UnsafeLink",
        message=f"'{data.workspace / 'link'}' is a link",
        hint="put what it points at, or give --follow",
    )
    for argv in (["add", "data", "--follow"], ["add", "data/nothing", "--follow", "--to", "new"]):
        data.refused(*argv, kind="UnsafeLink", message="link 'data/nothing' points at nothing: 'missing'", hint="")
    assert data("add", "link", "--follow", "--to", "new", "--dry-run", code=1) == ""


# ---- checkout over what is there ------------------------------------------------------------------------------

IN_THE_WAY = "commit them, move them away, or give --force to overwrite them"


def test_checkout_over_uncommitted_changes(data):
    """Uncommitted changes are never overwritten without ``--force``: nothing at all is written."""
    data.write({"data/a.txt": "mine\n"})
    message = "uncommitted changes stand in the way: 'a.txt'"
    for argv in (["checkout", "data:v0"], ["checkout", "data"], ["checkout", "data:v0", "--dry-run"],
                 ["checkout", "data:v0", "data"], ["checkout", "data", "--path", "a.txt"]):  # fmt: skip
        data.refused(*argv, kind="WouldOverwrite", message=message, hint=IN_THE_WAY)


def test_checkout_over_staged_changes(data):
    """What is staged is work, too."""
    data.write({"data/new": "n"})
    data("add")
    data.refused(
        "checkout",
        "data:v0",
        kind="WouldOverwrite",
        message="'data' has staged changes",
        hint="run 'avc commit data' first, or 'avc reset data' to drop them",
    )


def test_checkout_over_untracked_files(data):
    """An untracked file where a file of the version belongs is not overwritten; of many, some are named."""
    data.write({"data/sub/b.txt": "mine\n"})
    data.refused(
        "checkout",
        "data:v0",
        kind="WouldOverwrite",
        hint=IN_THE_WAY,
        message="uncommitted changes stand in the way: 'sub/b.txt'",
    )
    data.write({f"many/{n}": "version" for n in range(8)})
    data("put", "many", "--name", "many")
    data.write({f"out/{n}": "mine" for n in range(8)})
    data.refused(
        "checkout",
        "many",
        "out",
        kind="WouldOverwrite",
        hint=IN_THE_WAY,
        message="uncommitted changes stand in the way: '0', '1', '2', '3', '4' and 3 more",
    )
    data.refused(
        "get",
        "many",
        "--root",
        "out",
        kind="WouldOverwrite",
        message=f"'{data.workspace / 'out'}' holds other files than 'many:v0': "
        "uncommitted changes stand in the way: '0', '1', '2', '3', '4' and 3 more",
        hint="choose another directory with --root (in Python: root=)",
    )


def test_checkout_with_a_directory_in_the_way(data):
    """A directory with files of somebody's where a file belongs, and a file where a directory belongs, stay."""
    data.write({"out/a.txt/mine": "mine"})
    data.refused(
        "checkout",
        "data:v0",
        "out",
        kind="WouldOverwrite",
        hint=IN_THE_WAY,
        message="uncommitted changes stand in the way: 'a.txt/'",
    )
    data.write({"other/sub": "mine"})
    data.refused(
        "checkout",
        "data:v0",
        "other",
        kind="WouldOverwrite",
        hint=IN_THE_WAY,
        message="uncommitted changes stand in the way: 'sub'",
    )


def test_checkout_with_an_empty_directory_in_the_way(data):
    """An empty directory holds no work: it makes room."""
    (data.workspace / "out" / "a.txt" / "deep").mkdir(parents=True)
    assert data("checkout", "data:v0", "out").endswith(": 2 files written\n")
    assert (data.workspace / "out" / "a.txt").read_text() == "one\n"


def test_checkout_by_force_where_that_is_not_enough(data):
    """Where ``--force`` does not help, the hint does not say to give it."""
    data.write({"out/a.txt/mine": "mine"})
    done = data.run("checkout", "data:v0", "out", "--force")
    assert done.code == 1
    assert (data.workspace / "out" / "a.txt" / "mine").read_text() == "mine"
    assert "give --force" not in done.err
    assert "hint: " in done.err


def test_checkout_to_a_file(data):
    """A destination that is a file is not touched; the error names it and says what to do."""
    data.write({"out": "mine"})
    before = data.state()
    done = data.run("checkout", "data:v0", "out")
    assert (done.code, done.out) == (1, "")
    assert f"'{data.workspace / 'out'}'" in done.err
    assert "hint: " in done.err
    assert data.state() == before


def test_checkout_into_the_repository(data):
    """The repository itself is no destination."""
    for path in (".artifacts", ".artifacts/x", "data/../.artifacts/objects"):
        data.refused(
            "checkout",
            "data",
            path,
            kind="UsageError",
            hint="name another directory",
            code=2,
            message=f"'{os.path.normpath(data.workspace / path)}' is inside the repository",
        )


@pytest.mark.parametrize("options", [[], ["--force"]])
@pytest.mark.parametrize("command", ["bound", "destination", "get"])
def test_checkout_never_leaves_the_destination(data, command, options):
    """A link in the destination where a directory belongs is never passed through, with ``--force`` neither."""
    outside = data.workspace.parent / "outside"
    outside.mkdir()
    place = data.workspace / ("data" if command == "bound" else "out")
    shutil.rmtree(place / "sub", ignore_errors=True)
    place.mkdir(exist_ok=True)
    (place / "sub").symlink_to("../../outside")
    argv = {"bound": ["checkout", "data:v0"], "destination": ["checkout", "data:v0", "out"],
            "get": ["get", "data:v0", "--root", "out"]}[command]  # fmt: skip
    done = data.run(*argv, *(options if command != "get" else []))
    assert done.code == 1
    assert "'sub'" in done.err
    assert list(outside.iterdir()) == []
    assert os.readlink(place / "sub") == "../../outside"
    data.sound()


@pytest.mark.parametrize("path", ["way", "way/deep"])
def test_checkout_never_leaves_the_workspace(data, path):
    """A path in ``artifacts.toml`` that leads out of the workspace by a link is not written to: it may be a trap."""
    outside = data.workspace.parent / "outside"
    outside.mkdir()
    (data.workspace / "way").symlink_to("../outside")
    toml = data.workspace / "artifacts.toml"
    toml.write_text(toml.read_text().replace('path = "data"', f'path = "{path}"'))
    done = data.run("checkout", "data:v0", "--force")
    assert list(outside.iterdir()) == []
    assert done.code == 1
    assert path in done.err


# ---- files of ours that were damaged ---------------------------------------------------------------------------

ARTIFACT = '[[artifact]]\nname = "data"\nproject = "work"\ntype = "dataset"\n'
CLIMBS = "path '{}' climbs or repeats a separator"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (ARTIFACT + 'paths = [{path = "../x"}]\n', CLIMBS.format("../x")),
        (ARTIFACT + 'paths = [{path = "data/../../x"}]\n', CLIMBS.format("data/../../x")),
        (ARTIFACT + 'paths = [{path = "/etc"}]\n', "bad path '/etc'"),
        (ARTIFACT + 'paths = [{path = ""}]\n', "bad path ''"),
        (ARTIFACT + 'paths = [{path = "data", as = "../x"}]\n', CLIMBS.format("../x")),
        (ARTIFACT + 'paths = [{path = ".git/hooks"}]\n',
         "path '.git/hooks' has a component '.git', which belongs to another tool or to avc"),
        (ARTIFACT + 'paths = [{path = "a\\u001bb"}]\n', "path 'a\\x1bb' holds control characters"),
        (ARTIFACT + 'digest = "xyz"\n', "bad digest 'xyz'"),
        (ARTIFACT + f'digest = "{"AB" * 32}"\n', f"bad digest '{'AB' * 32}'"),
        (ARTIFACT + "digest = 7\n", "bad digest '7'"),
        (ARTIFACT + 'version = "new"\n', "bad version 'new'"),
        (ARTIFACT + "version = 3\n", "bad version '3'"),
        ('[[artifact]]\nname = "../x"\nproject = "work"\n', "bad artifact name '../x'"),
        ('[[artifact]]\nname = "x"\nproject = "../.."\n', "bad project name '../..'"),
    ],
)  # fmt: skip
def test_hostile_bindings(data, text, fault):
    """What ``artifacts.toml`` says is checked before it is used: it may come from a stranger."""
    data.write({"artifacts.toml": text})
    for argv in (["status"], ["add"], ["checkout", "data"], ["commit", "data"], ["diff"], ["reset", "data"]):
        data.refused(
            *argv, kind="Corrupt", message=f"'artifacts.toml' is not as avc writes it: {fault}", hint="mend it by hand"
        )


@pytest.mark.parametrize(
    "text",
    [
        '[[artifact]]\nproject = "work"\n',
        '[[artifact]]\nname = "data"\n',
        '[[artifact]]\nname = 3\nproject = "work"\n',
        "artifact = 3\n",
        'artifact = "x"\n',
        "origin = 3\n",
        ARTIFACT + "paths = 3\n",
        ARTIFACT + "paths = [3]\n",
        ARTIFACT + 'paths = [{as = "x"}]\n',
    ],
)
def test_bindings_of_another_shape(data, text):
    """Where a key is missing or of another kind, the words are for people: no name of a Python error."""
    data.write({"artifacts.toml": text})
    data.refused(
        "status",
        kind="Corrupt",
        hint="mend it by hand",
        message=re.compile(r"'artifacts.toml' is not as avc writes it: (?!\w*Error\b).+"),
    )


@pytest.mark.parametrize("content", [b"this is no TOML", b"\xff\xfe", b"[[artifact]\n", b"x = 1\nx = 2\n"])
def test_bindings_that_are_no_toml(data, content):
    """A damaged ``artifacts.toml`` is named, with the place of the fault, and stays for its owner to mend."""
    data.write({"artifacts.toml": content})
    for argv in (["status"], ["add"], ["checkout", "data"]):
        data.refused(
            *argv,
            kind="Corrupt",
            message=re.compile(rf"'{data.workspace}/artifacts.toml' is not valid TOML: .+"),
            hint="mend it by hand, or restore it from Git",
        )


def test_bindings_that_name_an_unknown_version(data):
    """After ``git pull`` of what nobody has pushed, the object that is missing is named, with what brings it."""
    data.write({"artifacts.toml": ARTIFACT + f'version = "v7"\ndigest = "{"a" * 64}"\npaths = [{{path = "data"}}]\n'})
    data.refused(
        "status",
        kind="MissingObject",
        message="object 'aaaaaaaaaaaa' is not here: artifacts.toml names 'data:v7'",
        hint="run 'avc pull'",
    )
    data("remote", "add", "origin", "../remote")
    data("push")
    done = data.run("pull")
    assert "note: artifacts.toml names data:v7, which no log has: is it pushed?\n" in done.err


def test_damaged_settings(data, own_home):
    """A settings file that is no TOML is named; one of a newer format is not touched."""
    own = own_home / ".config" / "avc" / "config.toml"
    own.parent.mkdir(parents=True)
    own.write_text("junk")
    done = data.run("status")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: '{own}' is not valid TOML: ")
    own.unlink()
    config = data.workspace / ".artifacts" / "config.toml"
    sound = config.read_text()
    for content, message in (
        ("junk", f"error: '{config}' is not valid TOML: "),
        (
            sound.replace("format = 1", "format = 2"),
            f"error: the repository '{config.parent}' was written by a newer avc",
        ),
        (
            sound.replace("read = []", 'read = ["future"]'),
            f"error: the repository '{config.parent}' was written by a ne",
        ),
    ):
        config.write_text(content)
        for argv in (["status"], ["fsck", "--repair"], ["add"], ["gc"]):
            done = data.run(*argv)
            assert (done.code, done.out) == (1, "")
            assert done.err.startswith(message)
        assert config.read_text() == content
    config.write_text("x = 1\n")
    done = data.run("status")
    assert done.code == 1
    assert "newer" not in done.err, "what says nothing of a format is damaged, not new"


ID = "0" * 32
REMOTE_AGAIN = "take [remotes.origin] out, then run 'avc remote add origin URL'"


@pytest.mark.parametrize(
    ("top", "end", "fault", "mend"),
    [
        ("features = 3\n", None, "'features' is no table",
         "write [features], with read, write, check and delete below"),
        ("", "[features]\nread = 5\n", "'features.read' is no list of names", "write read = [] below [features]"),
        ("", "[features]\nwrite = [3]\n", "'features.write' is no list of names", "write write = [] below [features]"),
        ("remotes = 3\n", "", "'remotes' is no table", "take it out, then run 'avc remote add NAME URL'"),
        ("", "[remotes]\norigin = 3\n", "'remotes.origin' is no table", REMOTE_AGAIN),
        ("", '[remotes.origin]\nurl = "/r"\n', "'remotes.origin.id' is missing or not 32 hex digits", REMOTE_AGAIN),
        ("", '[remotes.origin]\nurl = "/r"\nid = "../x"\n', "'remotes.origin.id' is missing or not 32 hex digits",
         REMOTE_AGAIN),
        ("", f'[remotes.origin]\nid = "{ID}"\n', "'remotes.origin.url' is missing or no text", REMOTE_AGAIN),
        ("", f'[remotes.origin]\nid = "{ID}"\nurl = "/r"\nregion = 3\n', "'remotes.origin.region' is no text",
         "write it in quotes, or take it out"),
        ("", f'[remotes.origin]\nid = "{ID}"\nurl = "/r"\nread_only = "no"\n',
         "'remotes.origin.read_only' is neither true nor false", "write true, or take it out"),
        ("", f'[remotes.origin]\nid = "{ID}"\nurl = "/r"\ntimeout = "x"\n',
         "'remotes.origin.timeout' is no number of seconds", "write one above 0, or take it out"),
        ("user = 3\n", "", "'user' is no text", "write it in quotes, or take it out"),
        ("gc = 3\n", "", "'gc' is no table", "write [gc], with its settings below"),
        ("", "[gc]\ngrace = 3\n", "'gc.grace' is no text", "write it in quotes, or take it out"),
    ],
)  # fmt: skip
def test_settings_of_another_shape(data, top, end, fault, mend):
    """A key of ``config.toml`` that is of another kind than it must be is named, with what to mend."""
    config = data.workspace / ".artifacts" / "config.toml"
    sound = config.read_text()
    text = sound if end is not None and "[features]" not in end else sound[: sound.index("[features]")]
    config.write_text(top + text + (end or ""))
    message = f"'{config}' is not as avc writes it: {fault}"
    for argv in (["status"], ["remote", "list"], ["push"], ["gc"], ["config", "list"], ["fsck"]):
        done = data.run(*argv)
        assert (done.code, done.out, done.err) == (1, "", f"error: {message}\nhint: {mend}\n")
    config.write_text(sound)
    data.sound()


def test_repository_without_an_id(data):
    """What every log entry names must be there; it cannot be guessed."""
    config = data.workspace / ".artifacts" / "config.toml"
    config.write_text(re.sub("id = .*", 'id = "x"', config.read_text()))
    done = data.run("status")
    message = f"error: '{config}' is not as avc writes it: 'repository.id' is not 32 hex digits\n"
    assert (done.code, done.err) == (1, f"{message}hint: restore it: every entry of the log names it\n")


def test_own_settings_of_another_shape(data, own_home):
    """The same of the user's own file."""
    own = own_home / ".config" / "avc" / "config.toml"
    own.parent.mkdir(parents=True)
    own.write_text("user = 3\n")
    words = f"error: '{own}' is not as avc writes it: 'user' is no text\nhint: write it in quotes, or take it out\n"
    for argv in (["status"], ["config", "--global", "list"], ["config", "get", "user", "--global"]):
        assert data.run(*argv) == (1, "", words)


# ---- remotes that are not there ----------------------------------------------------------------------------------


def test_clone_errors(data):
    """A clone needs a remote to read and an empty place to write."""
    above = data.workspace.parent
    (above / "empty").mkdir()
    data.refused(
        "clone",
        "../empty",
        "new",
        kind="RemoteMissing",
        message=f"there is no avc remote at '{above / 'empty'}'",
        hint="check the address; 'avc remote add' makes one",
    )
    data("remote", "add", "origin", "../remote")
    data.refused(
        "clone",
        "../remote",
        "data",
        kind="UsageError",
        message=f"'{data.workspace / 'data'}' is there and not empty",
        hint="name another directory",
        code=2,
    )
    assert not (data.workspace / "new").exists()


@pytest.mark.parametrize("content", [b"junk", b"", b"\xff", b'{"id": 1e999}', b"[" * 100])
def test_damaged_description_of_a_remote(data, content):
    """An ``avc.json`` that cannot be read is damaged, or no remote's: the address may be wrong."""
    remote = data.workspace.parent / "remote"
    data("remote", "add", "origin", "../remote")
    (remote / "avc.json").write_bytes(content)
    for argv in (["clone", "../remote", "new"], ["remote", "add", "other", "../remote"]):
        data.refused(
            *argv,
            kind="Corrupt",
            message=re.compile(rf"'{remote}/avc.json' is (damaged: |nested deeper).*"),
            hint="is this the right address? if so, restore that file from a copy",
        )


def test_edit_that_somebody_else_made_too(data):
    """A conflict of two edits says where the other's can be seen, which is true."""
    remote, place = data.workspace.parent / "remote", data.workspace.parent / "clone"
    data("remote", "add", "origin", "../remote")
    data("push")
    data("clone", "../remote", "../clone")
    data("edit", "data:v0", "-m", "theirs")
    data("push")
    data("edit", "data:v0", "-m", "ours", cwd=place)
    done = data.run("push", cwd=place)
    assert done.code == 1
    message, hint = done.err.splitlines()
    assert message == "error: the description of 'data:v0' was changed on remote 'origin' meanwhile"
    see = f"hint: to see it, run 'avc clone {remote} DIR' and 'avc show' there; "
    assert hint == see + "push with --force to replace it"
    data("clone", remote, "../third")
    assert data.json("show", "data:v0", cwd=data.workspace.parent / "third")["description"] == "theirs"


@pytest.mark.parametrize(("files", "more"), [(0, ""), (1, ""), (3, " and 2 more")])
def test_restore_of_lost_bytes(data, files, more):
    """What gc has removed cannot be restored; there is no draft to drop, so nobody is sent there."""
    data.write({f"data/{n}": bytes([n]) * 200_000 for n in range(files or 1)})
    data("add")
    data("commit")
    data("delete", "data:v2", "--delete-aliases")
    data("gc", "--grace", "0s")
    for path in (data.workspace / ".artifacts" / "trash").rglob("*"):
        if path.is_file() and (path.suffix != ".pack" or not files):
            path.unlink()
    done = data.run("restore", "data:v2")
    message, hint = done.err.splitlines()
    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(
        f"error: object '[0-9a-f]{{12}}' is not here, nor on a remote: work/data:v2 needs it{more}", message
    )
    assert hint == "hint: no copy is left: if you have the files, store them again with 'avc add' or 'avc put'"
    data.sound()


def test_clone_from_nowhere(data):
    """A clone has no list of remotes yet, so it does not send anybody there."""
    data.refused(
        "clone",
        "../nowhere",
        kind="RemoteUnavailable",
        hint=re.compile("(?!.*remote list).+"),
        message=f"the remote's directory '{data.workspace.parent / 'nowhere'}' is not there",
    )


def test_remote_that_is_gone(data):
    """A remote whose directory is gone is named by every command that needs it; the work here goes on."""
    remote = data.workspace.parent / "remote"
    data("remote", "add", "origin", "../remote")
    data("push")
    data.write({"data/a.txt": "three\n"})
    data("add")
    data("commit")
    remote.rename(remote.with_name("moved"))
    message = f"remote 'origin': the remote's directory '{remote}' is not there"
    for argv in (["push"], ["pull"], ["fetch"], ["push", "--dry-run"]):
        data.refused(*argv, kind="RemoteUnavailable", message=message, hint="is it mounted? check the address")
    assert "not pushed to 'origin'" in data("status")
    place = remote.parent / "no" / "such"
    data.refused(
        "remote",
        "add",
        "far",
        place,
        kind="RemoteUnavailable",
        hint="make it, or mount it",
        message=f"the remote's directory '{place}' is not there, nor the one above it",
    )


def test_set_url_to_another_remote(data):
    """A remote is moved only to where it is: another one does not take its place."""
    data("remote", "add", "origin", "../one")
    data("remote", "add", "other", "../two")
    data.refused(
        "remote",
        "set-url",
        "origin",
        "../two",
        kind="RemoteMissing",
        message=f"'{data.workspace.parent / 'two'}' is not the remote 'origin'",
        hint="to use another remote, run 'avc remote remove' and 'avc remote add'",
    )


# ---- whoever reads us is gone, whoever runs us has enough ------------------------------------------------------------


PRINTING = """
    log data; log data --json; ls; ls data; show data; status; diff data:v0; cat data a.txt; --help; add --help
    --version; completion bash; log dat --json
"""


@pytest.mark.parametrize("line", [line.strip() for line in re.split(r"[;\n]", PRINTING) if line.strip()])
def test_closed_pipe(data, line):
    """A reader that is gone before we write is no error to speak of: no traceback, no word at all of it."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run([AVC, *line.split()], cwd=data.workspace, stdout=pipe, stderr=subprocess.PIPE, text=True)
    assert [line for line in done.stderr.splitlines() if not line.startswith(("error: no artifact", "hint: "))] == []
    assert done.returncode in (0, 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("line", ["log data", "log data --json", "cat data a.txt", "status", "--version", "--help"])
def test_output_on_a_full_disk(data, line):
    """Output that cannot be written is an error in one line, no traceback, and no success."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    for more in ({}, {"PYTHONUNBUFFERED": "1"}):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [AVC, *line.split()], cwd=data.workspace, stdout=full, stderr=subprocess.PIPE, text=True,
                env={**environment, **more},
            )  # fmt: skip
        assert done.returncode == 1
        assert re.fullmatch("error: .*no space left on device.*\n(hint: .*\n)?", done.stderr), done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("line", ["log data", "log data --json", "log dat", "cat data a.txt", "add", "--version"])
def test_closed_streams(data, line, closed):
    """A command that is started without one of its streams does what it is for; that is no bug of ours."""
    script = f"'{AVC}' {line} {closed}; echo $? > ../code"
    done = subprocess.run(["bash", "-c", script], cwd=data.workspace, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr
    if "<" in closed and ">&-" not in closed:
        assert done.stdout or line == "log dat"
    assert int((data.workspace.parent / "code").read_text()) in ((1,) if line == "log dat" else (0, 1))


@pytest.mark.parametrize("line", ["status", "init", "put x --name y", "-C . status"])
def test_directory_that_is_gone(bare, line):
    """Run where the directory was removed meanwhile, a command says which thing is not there, and what to do."""
    script = f"mkdir ../gone && cd ../gone && rmdir ../gone && '{AVC}' {line}"
    done = subprocess.run(["bash", "-c", script], cwd=bare.workspace, capture_output=True, text=True)
    assert (done.returncode in (1, 2), done.stdout) == (True, "")
    assert re.match("error: .*director.*\n", done.stderr), done.stderr
    assert not done.stderr.startswith("error: no such file or directory\n")


def test_pipe_to_head(avc):
    """``avc ls | head -1`` and the like print what was asked for, and nothing on stderr."""
    avc.write({f"data/{'x' * 200}{n}": "" for n in range(500)})
    avc.write({"data/large": bytes(4 << 20)})
    avc("add", "data")
    avc("commit")
    for command, first in (("ls data", "large"), ("ls data --json", '{"schema": 1, "command": "ls"'),
                           ("cat data large", "\0"), ("ls data -l", "-      4194304")):  # fmt: skip
        script = f"set -o pipefail; '{AVC}' {command} | head -c {len(first)}"
        done = subprocess.run(["bash", "-c", script], cwd=avc.workspace, capture_output=True, text=True)
        assert (done.stdout, done.stderr) == (first, "")
    avc.sound()


def interrupt(avc: Avc, process: subprocess.Popen[str]) -> None:
    """Interrupt the group, as Ctrl-C does, unless that was done, and look what is left."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err.strip()) == (130, "", "interrupted")
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)  # no child stays behind
    avc.sound()


def copied(tmp: Path) -> int:
    """How much of a large file ``add`` has copied so far."""
    try:
        return sum(entry.stat().st_size for entry in os.scandir(tmp) if entry.name.startswith("own-"))
    except FileNotFoundError:
        return 0


def test_interrupted_while_it_stores(avc):
    """Ctrl-C ends a long ``add`` with 130 and one word; nothing half-done is left, and the next try succeeds."""
    path, size = avc.workspace / "data" / "large", 1 << 30
    path.parent.mkdir()
    with open(path, "wb") as file:
        file.truncate(size)
    process = avc.start("add", "data")
    tmp = avc.workspace / ".artifacts" / "tmp"
    while (begun := copied(tmp)) < 32 << 20:
        assert process.poll() is None, process.communicate()
    os.killpg(process.pid, signal.SIGINT)
    most = begun
    while process.poll() is None:
        most = max(most, copied(tmp))
    interrupt(avc, process)
    assert begun == size or most < size // 2, "the rest of the file was copied first"  # unless it is cloned at once
    assert avc("status") == "project work: no path is bound yet (run 'avc add PATH', or 'avc checkout NAME')\n"
    assert list(tmp.iterdir()) == []
    path.write_text("small\n")
    assert avc("add", "data") == "staged work/data (dataset): 1 added; 1 entry\n"


@pytest.mark.parametrize("begun", [1, min(workers(), 4)])
def test_interrupted_while_children_work(avc, begun):
    """The same where the work is shared out to several processes, some of which have *begun*: none is left."""
    avc.write({f"data/{d}/{n}": f"{d} {n}" for d in range(4) for n in range(1500)})
    process = avc.start("add", "data")
    tmp = avc.workspace / ".artifacts" / "tmp"
    while sum(entry.name.startswith("pack-") for entry in os.scandir(tmp)) < begun:
        assert process.poll() is None, process.communicate()
    interrupt(avc, process)
    assert avc("add", "data") == "staged work/data (dataset): 6,000 added; 6,000 entries\n"


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="needs /proc/locks to see who waits")
def test_interrupted_while_it_waits(data):
    """Ctrl-C ends a command that waits for another one's lock."""
    data.write({"data/a.txt": "three\n"})
    with open(data.workspace / ".artifacts" / "store.lock", "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = data.start("add")
        waiting = re.compile(rf"-> FLOCK +ADVISORY +READ +{process.pid} ")
        while not waiting.search(Path("/proc/locks").read_text()):
            assert process.poll() is None, process.communicate()
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err.strip()) == (130, "", "interrupted")
    data.sound()
    assert data("add") == "staged work/data (dataset): 1 modified; 2 entries\n"
