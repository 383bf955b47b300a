"""``avc run`` around real children, ``avc runs`` and ``avc lineage`` as people and programs read them."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import AVC, Avc, Done, schema

PYTHON = sys.executable


def runs(avc: Avc, *argv: str) -> list[Any]:
    return avc.documents("runs", *argv)


def only_run(avc: Avc) -> Any:
    """The one run that is recorded, with its schema checked."""
    (found,) = runs(avc)
    return found


def executed(avc: Avc, *argv: str, code: int = 0) -> Any:
    """The document of ``avc run --json``; what follows the command would be the command's."""
    done = avc.process("run", "--json", *argv)
    assert done.code == code, done.err
    body = json.loads(done.out)
    schema("run").validate(body)
    return body["result"]


def refused(avc: Avc, *argv: str, code: int = 1) -> tuple[str, str, str]:
    """Class, message and hint of a run that is refused before anything runs; the same as text and as JSON."""
    before = avc.state()
    done = avc.run("run", *argv)
    assert (done.code, done.out) == (code, ""), done
    lines = [line for line in done.err.splitlines() if not line.startswith("Usage: ")]
    body = json.loads(avc.run("run", "--json", *argv).out)
    schema("error").validate(body)
    error = body["error"]
    assert lines == [f"error: {error['message']}", f"hint: {error['hint']}"]
    assert avc.state() == before
    assert runs(avc) == []
    return error["class"], error["message"], error["hint"]


def refs(links: Sequence[Any]) -> list[str]:
    return [f"{link['project']}/{link['name']}:{link['version']}" for link in links]


# ---- run: what is recorded -------------------------------------------------------------------------


def test_inputs_and_outputs(data):
    """What is used and what is logged are the run's inputs and outputs, and the lineage of both versions."""
    code = "import pathlib; pathlib.Path('out.txt').write_text(pathlib.Path('data/a.txt').read_text().upper())"
    argv = ("--name", "upper", "--job-type", "prep", "--use", "data:v0", "--log", "big=out.txt", "--log", "all=data")
    done = data.process("run", *argv, "--", PYTHON, "-c", code)
    assert (done.code, done.out) == (0, "")
    assert re.fullmatch(r"note: run [a-z0-9]{8} finished in [0-9.]+ s; logged work/big:v0, work/all:v0\n", done.err), (
        done.err
    )
    found = only_run(data)
    assert (found["name"], found["job_type"], found["state"], found["exit_code"]) == ("upper", "prep", "finished", 0)
    assert refs(found["used"]) == ["work/data:v0"]
    assert refs(found["produced"]) == ["work/big:v0", "work/all:v0"]
    assert data("cat", "big", "out.txt") == "ONE AND TWO\n"
    assert data("ls", "all").splitlines() == ["a.txt", "sub/c.txt"]
    assert data.json("show", "big")["produced_by"] == [found["id"]]
    assert data.json("show", "data:v0")["used_by"] == [found["id"]]
    assert [one["state"] for one in found["details"]["outputs"]] == ["logged", "logged"]
    data.sound()


def test_what_is_recorded(avc):
    """Command line, directory, Git commit and dirtiness, Python, host, start and end."""
    who = ("-c", "user.name=a", "-c", "user.email=a@localhost", "-c", "init.defaultBranch=main")
    avc.write({"code/train.py": "pass\n"})
    for words in (["init", "-q"], ["add", "code"], ["commit", "-q", "-m", "x"]):
        subprocess.run(["git", *who, *words], cwd=avc.workspace, check=True)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=avc.workspace, capture_output=True, text=True
    ).stdout.strip()
    avc.write({"code/train.py": "print()\n"})
    done = avc.process(
        "run", "--group", "g1", "--", PYTHON, "train.py", "--lr", "0.1", "a b", cwd=avc.workspace / "code"
    )
    assert done.code == 0, done.err
    found = only_run(avc)
    assert found["command"] == [PYTHON, "train.py", "--lr", "0.1", "a b"]
    assert found["directory"] == str(avc.workspace / "code")
    assert found["git"] == {"commit": head, "branch": "main", "dirty": True, "remote": None}
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert (found["group"], found["author"], found["project"]) == ("g1", "ada", "work")
    assert found["host"]
    assert found["created"] < found["ended"]
    text = avc("runs", found["id"])
    assert f"command   {PYTHON} train.py --lr 0.1 'a b'" in text
    assert f"git       {head[:12]} on main with changes" in text


def test_the_command_finds_its_run(avc):
    """Id, project and group stand in the environment of the command and of all that it starts."""
    script = 'sh -c "echo $AVC_RUN_ID $AVC_PROJECT $AVC_RUN_GROUP"'
    done = avc.process("run", "--project", "other", "--group", "g", "--", "sh", "-c", script)
    found = only_run(avc)
    assert done.out == f"{found['id']} other g\n"
    assert (found["project"], found["group"]) == ("other", "g")
    done = avc.process("run", "sh", "-c", 'echo "$AVC_PROJECT" "${AVC_RUN_GROUP-none}"')
    assert done.out == "work none\n"


def test_the_project_is_that_of_names_without_one(data):
    """With ``--project`` inputs are looked for and outputs stored there."""
    data("put", "data/a.txt", "--name", "other/in")
    result = executed(
        data, "--project", "other", "--use", "in", "--use", "work/data:v0", "--log", "out=data/a.txt", "true"
    )
    assert result["used"] == ["other/in:v0", "work/data:v0"]
    assert [one["version"] for one in result["outputs"]] == ["other/out:v0"]
    assert result["project"] == "other"


def test_the_command_can_log_to_its_run(avc):
    """What the command itself records of its run stays beside what ``avc run`` records."""
    code = (
        "import artifactvc as avc, os\n"
        "with avc.init(config={'lr': 1}) as run:\n"
        "    assert run.id == os.environ['AVC_RUN_ID'], run.id\n"
        "    run.log({'loss': 0.5})\n"
        "    made = avc.Artifact('inner', type='model')\n"
        "    with made.new_file('w.txt') as file: file.write('w')\n"
        "    run.log_artifact(made)\n"
    )
    avc.write({"train.py": code, "out.txt": "o\n"})
    done = avc.process("run", "--job-type", "train", "--log", "outer=out.txt", "--", PYTHON, "train.py")
    assert done.code == 0, done.err
    found = only_run(avc)
    assert sorted(refs(found["produced"])) == ["work/inner:v0", "work/outer:v0"]
    assert (found["config"], found["summary"]["loss"]) == ({"lr": 1}, 0.5)
    assert (found["state"], found["exit_code"], found["job_type"]) == ("finished", 0, "train")


def test_the_command_can_use_avc_itself(data):
    """``avc put`` and ``avc commit`` in the command add outputs to the run, and leave what is recorded of it alone."""
    data.write({"data/new.txt": "new\n"})
    script = f"set -e; {AVC} -q put data/a.txt --name inner; {AVC} -q add data; {AVC} -q commit --run $AVC_RUN_ID"
    command = ("sh", "-c", script)
    done = data.process("run", "--name", "outer", "--job-type", "train", "--use", "data:v0", "--", *command)
    assert (done.code, done.err.count("\n")) == (0, 1), done.err
    found = only_run(data)
    assert (found["name"], found["job_type"], found["command"]) == ("outer", "train", list(command))
    assert refs(found["used"]) == ["work/data:v0"]
    assert sorted(refs(found["produced"])) == ["work/data:v2", "work/inner:v0"]
    assert (found["state"], found["exit_code"]) == ("finished", 0)


def test_an_output_whose_content_is_there(data):
    """Equal content makes no new version; the run is one more producer of the one that is there."""
    for _ in range(2):
        executed(data, "--log", "data=data", "--", "true")
    assert len(data.documents("log", "data")) == 2
    assert len(data.json("show", "data:v1")["produced_by"]) == 2


def test_as_json(data):
    """One document on stdout, after the command's end; its own output goes to stderr."""
    argv = ("run", "--json", "--use", "data", "--log", "copy=data", "--", "sh", "-c", "echo out; echo err >&2")
    done = data.process(*argv)
    body = json.loads(done.out)
    schema("run").validate(body)
    assert done.err == "out\nerr\n"
    (output,) = body["result"]["outputs"]
    digest = data.json("show", "copy")["digest"]
    assert output == {
        "name": "copy", "path": "data", "state": "logged", "version": "work/copy:v0", "digest": digest, "error": "",
    }  # fmt: skip


# ---- run: streams, words, exit codes ---------------------------------------------------------------


def test_streams_are_inherited(avc):
    """The command reads our input and writes our output and errors, byte for byte; ``-q`` adds nothing to them."""
    command = ("sh", "-c", "cat; echo err >&2")
    done = subprocess.run(
        [AVC, "run", "-q", "--", *command], cwd=avc.workspace, input=b"\x00\xff\n", capture_output=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"\x00\xff\n", b"err\n")


def test_options_behind_the_command_are_its_own(avc):
    """With or without ``--``, from the command's name on every word is the command's, also avc's own options."""
    code = "import sys; print(sys.argv[1:])"
    words = ["-n", "1", "--use", "x", "--json", "-q", "--help", "--", "y"]
    for dashes in (["--"], []):
        done = avc.process("run", *dashes, PYTHON, "-c", code, *words)
        assert (done.code, done.out) == (0, f"{words}\n")


@pytest.mark.parametrize(
    ("script", "code"), [("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143), ("exit 255", 255)]
)
def test_the_exit_code_is_the_commands(avc, script, code):
    """A failed command's code is ours, for a signal 128 and its number; nothing is logged, and that is said."""
    avc.write({"out.txt": "o\n"})
    done = avc.process("run", "--log", "out=out.txt", "--", "sh", "-c", script)
    assert (done.code, done.out) == (code, "")
    assert re.fullmatch(
        rf"note: run [a-z0-9]{{8}} failed with exit code {code} after [0-9.]+ s; its outputs were not logged\n",
        done.err,
    )
    found = only_run(avc)
    assert (found["state"], found["exit_code"], found["produced"]) == ("failed", code, [])
    assert [one["state"] for one in found["details"]["outputs"]] == ["skipped"]
    assert avc("ls") == ""
    result = executed(avc, "--log", "out=out.txt", "--", "sh", "-c", script, code=code)
    assert (result["state"], result["exit_code"], result["outputs"][0]["state"]) == ("failed", code, "skipped")


def test_a_missing_output(avc):
    """The command said all was well and did not write a file: the run has failed, and what was written is logged."""
    argv = ("--log", "first=gone.bin", "--log", "made=made.txt", "--log", "third=no/where")
    done = avc.process("run", *argv, "--", "sh", "-c", "echo m > made.txt")
    found = only_run(avc)
    assert done.code == 1
    assert done.err.splitlines() == [
        "note: logged work/made:v0",
        f"error: run '{found['id']}' failed: there is no 'gone.bin' to log as 'first' (and 1 more)",
        f"hint: write it, then run 'avc put gone.bin --name first --run {found['id']}'",
    ]
    assert (found["state"], found["exit_code"]) == ("failed", 0)
    assert refs(found["produced"]) == ["work/made:v0"]
    assert [one["state"] for one in found["details"]["outputs"]] == ["missing", "logged", "missing"]
    text = avc("runs", found["id"])
    assert "  not logged\n    first=gone.bin: there is no 'gone.bin' to log as 'first'\n" in text


def test_an_output_that_cannot_be_taken(avc):
    """A socket or pipe is no output: the error says which, and the run has failed."""
    done = avc.process("run", "--json", "--log", "pipe=pipe", "--", "mkfifo", "pipe")
    error = json.loads(done.out)["error"]
    found = only_run(avc)
    assert done.code == 1
    assert error["class"] == "UnsupportedFile"
    assert error["message"].startswith(f"run '{found['id']}' failed: ")
    assert found["details"]["outputs"][0]["state"] == "failed"
    avc.sound()


# ---- run: refused before anything runs -------------------------------------------------------------


def test_an_unknown_input_runs_nothing(data):
    """A version that is not there is an error with near names; the command is not started, nothing is recorded."""
    command = ("--", "touch", "ran")
    assert refused(data, "--use", "dat", *command) == ("UnknownArtifact", "no artifact 'dat'", "did you mean 'data'?")
    assert refused(data, "--use", "data", "--use", "data:v9", *command)[0] == "UnknownVersion"
    assert not (data.workspace / "ran").exists()


def test_bad_words(avc):
    """What is wrong with the command line itself is told before the command starts."""
    command = ("--", "touch", "ran")
    assert refused(avc, "--log", "name", *command, code=2) == ("BadName", "bad output 'name'", "write --log NAME=PATH")
    assert refused(avc, "--log", "=x", *command, code=2)[1] == "bad output '=x'"
    assert refused(avc, "--log", "a=", *command, code=2)[1] == "bad output 'a='"
    assert refused(avc, "--log", ".bad=x", *command, code=2)[1] == "bad artifact name '.bad'"
    assert refused(avc, "--log", "elsewhere/p/n=x", *command)[1] == "no entity or remote 'elsewhere'"
    assert refused(avc, "--project", "a:b", *command, code=2)[1] == "bad project name 'a:b'"
    assert refused(avc, code=2)[1] == "missing argument 'COMMAND...'"
    assert not (avc.workspace / "ran").exists()


def test_no_such_command(avc):
    """A command that is not there, or cannot be run, is wrong usage; nothing is recorded."""
    avc.write({"train.py": "print()\n"})
    assert refused(avc, "nosuchthing", code=2) == (
        "UsageError", "no command 'nosuchthing'", "check its name, or give its path",
    )  # fmt: skip
    assert refused(avc, "./nothing", code=2)[1] == "no command './nothing'"
    assert refused(avc, "./train.py", code=2) == (
        "UsageError", "'./train.py' is not executable", "name what runs it: avc run -- python train.py",
    )  # fmt: skip


def test_a_command_that_cannot_start(avc):
    """A file that the system refuses to run: the run was begun, and has failed."""
    avc.write({"broken": b"\x7fELF nothing"})
    (avc.workspace / "broken").chmod(0o755)
    done = avc.run("run", "./broken")
    assert (done.code, done.err) == (2, "error: cannot run './broken': exec format error\nhint: check the command\n")
    assert (only_run(avc)["state"], only_run(avc)["exit_code"]) == ("failed", None)


# ---- run: signals, kills, locks --------------------------------------------------------------------

#: Says when it is ready, and ends with 130 after the first Ctrl-C; a second one within the wait is told.
PATIENT = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
print("ready", flush=True)
signal.sigwait({signal.SIGINT})
second = signal.sigtimedwait({signal.SIGINT}, 0.5)
print("twice" if second else "once", flush=True)
sys.exit(3)
"""


def readable(fd: int) -> bool:
    """Whether bytes come within 20 s; by ``poll``, for ``select`` knows no descriptor above 1,023."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(20_000))


def read_until(fd: int, words: bytes) -> bytes:
    """What a terminal shows, up to *words* or its end."""
    found = b""
    while words not in found and readable(fd):
        try:
            piece = os.read(fd, 4096)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        found += piece
    return found


@pytest.fixture
def terminal(avc: Avc) -> Iterator[tuple[int, int]]:
    """``avc run`` on a terminal of its own: its process id, and our end of the terminal."""
    pid, fd = pty.fork()
    if pid == 0:
        try:
            os.chdir(avc.workspace)
            os.execv(AVC, [str(AVC), "run", "--log", "out=absent", "--", PYTHON, "-c", PATIENT])
        finally:
            os._exit(99)
    try:
        yield pid, fd
    finally:
        os.close(fd)


def test_ctrl_c_at_a_terminal(avc, terminal):
    """Ctrl-C reaches the command once, avc waits for it, and the run is recorded as failed."""
    pid, fd = terminal
    read_until(fd, b"ready")
    os.write(fd, b"\x03")
    shown = read_until(fd, b"were not logged")
    assert b"once" in shown, shown
    assert b"twice" not in shown
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 3
    found = only_run(avc)
    assert (found["state"], found["exit_code"]) == ("failed", 3)
    assert b"Traceback" not in shown


def started(avc: Avc, *command: str) -> subprocess.Popen[str]:
    """``avc run`` without a terminal, whose command has said that it is ready."""
    process = avc.start("run", "--", *command)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_for_us_alone_is_passed_on(avc, number):
    """Who stops ``avc run`` stops the command: it ends by that signal, and so it is recorded."""
    process = started(avc, "sh", "-c", "trap - INT; echo ready; exec sleep 60")
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 128 + number, err
    assert "Traceback" not in out + err
    found = only_run(avc)
    assert (found["state"], found["exit_code"]) == ("failed", 128 + number)


def test_a_command_that_lives_through_a_signal(avc):
    """A command that ends well after Ctrl-C has ended well: how it ended is its own to say."""
    code = (
        "import signal; signal.signal(signal.SIGTERM, lambda *_: exit(0)); print('ready', flush=True); signal.pause()"
    )
    process = started(avc, PYTHON, "-c", code)
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert only_run(avc)["state"] == "finished"


def test_what_is_ignored_stays_ignored(avc):
    """Started with a hang-up ignored (nohup), the command ignores it as well."""
    code = "import signal; print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, signal.getsignal(signal.SIGINT))"
    script = 'trap "" HUP; exec "$@"'
    argv = ["sh", "-c", script, "sh", AVC, "run", "-q", "--", PYTHON, "-c", code]
    done = subprocess.run(argv, cwd=avc.workspace, capture_output=True, text=True)
    assert done.stdout == "True <built-in function default_int_handler>\n"


def test_killed_at_once(avc):
    """``kill -9`` of ``avc run`` leaves a run that shows as crashed, in the list, alone and in its lineage."""
    process = started(avc, "sh", "-c", "echo ready; exec sleep 60")
    (running,) = runs(avc)
    assert (running["state"], running["ended"]) == ("running", None)
    process.kill()
    process.wait()
    os.killpg(process.pid, signal.SIGKILL)  # the command outlives it: it is ours to end
    process.communicate()
    found = only_run(avc)
    assert (found["state"], found["exit_code"], found["ended"]) == ("crashed", None, None)
    assert f"{found['id']}  crashed " in avc("runs")
    assert avc.json("lineage", found["id"])["nodes"][0]["state"] == "crashed"


def test_nothing_is_held_while_it_runs(data):
    """The command may collect, commit, fetch and check: no lock and no index of ours is in its way."""
    data.write({"data/new.txt": "new\n"})
    data("remote", "add", "origin", "../remote")
    script = (
        f"set -e; cd {data.workspace}; for c in 'gc --grace 0s' 'add data' commit push 'fsck --full'; do {AVC} $c; done"
    )
    done = data.process("run", "--use", "data:v0", "--log", "copy=data", "--", "sh", "-c", script)
    assert done.code == 0, done.err
    assert refs(only_run(data)["produced"]) == ["work/copy:v0~"]
    assert data.documents("log", "data")[0]["version"] == "v2"
    data.sound()


# ---- runs ------------------------------------------------------------------------------------------


def test_the_list(data):
    """Newest first: id, state, job type, created, duration, inputs -> outputs; names of other projects whole."""
    data("put", "data/a.txt", "--name", "other/in")
    data.process("run", "--job-type", "prep", "--use", "data:v0", "--log", "clean=data", "--", "true")
    data.process("run", "--job-type", "train", "--use", "clean", "--", "false")
    train, prep, put = runs(data)
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d"
    lines = data("runs").splitlines()
    assert re.fullmatch(rf"{train['id']}  failed    train       {when} +[0-9.]+ s  clean:v0 ->", lines[0])
    assert re.fullmatch(rf"{prep['id']}  finished  prep        {when} +[0-9.]+ s  data:v0 -> clean:v0", lines[1])
    assert re.fullmatch(
        rf"{put['id']}  finished  cli_put     {when} +[0-9.]+ s  -> other/in:v0", lines[2].replace("   ->", "  ->")
    )
    assert len(lines) == 3
    assert data("runs", "-n", "1").splitlines() == lines[:1]
    assert data("runs", "--project", "other").splitlines() == lines[2:]
    assert runs(data, "-n", "2") == [train, prep]


def test_many_inputs_are_counted(data):
    """A line names three of many inputs."""
    words = [word for name in "abcde" for word in ("--log", f"{name}=data")]
    data.process("run", *words, "--", "true")
    assert data("runs").rstrip().endswith("-> a:v0, b:v0, c:v0 and 2 more")


def test_no_run_yet(avc):
    """An empty list says how to begin; as JSON it is nothing."""
    done = avc.run("runs")
    assert (done.code, done.out, done.err) == (0, "", "note: no run yet (run 'avc run -- COMMAND')\n")
    assert runs(avc) == []


def test_one_run_whole(data):
    """All that is known of a run, each in its line, with deleted versions marked."""
    data.process("run", "--name", "first", "--use", "data:v0", "--log", "copy=data", "--", "true")
    (found,) = runs(data)
    data("delete", "data:v0")
    lines = data("runs", found["id"]).splitlines()
    assert lines[0] == f"run {found['id']}  first"
    assert [line.split()[0] for line in lines[1:]] == [
        "project", "state", "created", "ended", "command", "directory", "python",
        "inputs", "work/data:v0", "outputs", "work/copy:v0",
    ]  # fmt: skip
    assert lines[9] == "    work/data:v0 (deleted)  dataset"
    assert data.json("runs", found["id"])["used"][0]["live"] is False


def test_an_unknown_run(data):
    """A run that is not there is named with a near one; an id stands alone."""
    data.process("run", "true")
    (found,) = runs(data)
    near = found["id"][:-1] + ("0" if found["id"][-1] != "0" else "1")
    data.refused("runs", near, kind="UnknownRun", message=f"no run '{near}'", hint=f"did you mean '{found['id']}'?")
    data.refused("runs", "-", kind="UnknownRun", message="no run '-'", hint="run 'avc runs' to list them")
    argv = ("runs", found["id"], "-n", "1")
    data.refused(
        *argv, kind="UsageError", message="ID stands alone", hint="leave -n and --project out, or the id", code=2
    )


def test_nothing_of_a_name_reaches_the_terminal(data):
    """Names, groups and words of the command line with control characters are shown escaped."""
    bad = "a\x1b[31m\u202eb\nc"
    data.process("run", "--name", bad, "--job-type", bad, "--group", bad, "--use", "data", "--", "true", bad)
    (found,) = runs(data)
    assert found["name"] == bad
    styles = ("tree", "dot", "mermaid", "openlineage")
    texts = [data("runs"), data("runs", found["id"]), *(data("lineage", "data", "--format", one) for one in styles)]
    for text in texts:
        assert all(line.isprintable() for line in text.splitlines()), text
        assert "\nc" not in text


# ---- lineage ---------------------------------------------------------------------------------------


@pytest.fixture
def made(data: Avc) -> Avc:
    """data:v0 -> prep -> clean:v0 -> train -> model:v0, and a failed run that used clean, too."""
    data.process("run", "--job-type", "prep", "--use", "data:v0", "--log", "clean=data", "--", "true")
    data.process("run", "--job-type", "train", "--use", "clean", "--log", "model=data/a.txt", "--", "true")
    data.process("run", "--job-type", "eval", "--use", "clean", "--", "false")
    return data


def test_a_tree_of_both_ways(made):
    """What a version was made from, and what was made of it."""
    evaluation, train, prep = (one["id"] for one in runs(made))
    assert made("lineage", "clean") == (
        f"""work/clean:v0  dataset
made from:
└── run {prep}  (prep)  finished
    └── work/data:v0  dataset
made of it:
├── run {train}  (train)  finished
│   └── work/model:v0  dataset
└── run {evaluation}  (eval)  failed
"""
    )
    assert made("lineage", "clean", "--up").splitlines()[-1] == "    └── work/data:v0  dataset"
    assert made("lineage", "clean", "--up", "--down") == made("lineage", "clean")
    assert made("lineage", "model", "--up", "--depth", "1").splitlines()[1:] == [
        "made from:", f"└── run {train}  (train)  finished",
    ]  # fmt: skip
    assert made("lineage", train, "--down") == (
        f"run {train}  (train)  finished\nmade of it:\n└── work/model:v0  dataset\n"
    )


def test_a_narrow_terminal(made):
    """Where the output takes no lines, the tree is drawn in ASCII."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = made.process("lineage", "model", "--up", "--depth", "1", env=environment)
    assert done.out.splitlines()[-1].startswith("`-- run ")


def test_a_graph_as_json(made):
    """``--json`` and ``--format json`` print one document, whose edges lead from what was there to what came of it."""
    found = made.json("lineage", "model")
    assert made("lineage", "model", "--format", "json") == made("lineage", "model", "--json")
    names = {node["id"]: node["name"] or node["type"] for node in found["nodes"]}
    chain = [(names[edge["source"]], edge["kind"], names[edge["target"]]) for edge in found["edges"]]
    assert chain == [
        ("data", "used", "prep"), ("prep", "produced", "clean"),
        ("clean", "used", "train"), ("train", "produced", "model"),
    ]  # fmt: skip
    assert [node["distance"] for node in found["nodes"]] == [0, 1, 2, 3, 4]
    assert made.json("lineage", "model", "--depth", "0")["edges"] == []


def test_other_formats(made):
    """Graphviz, Mermaid and OpenLineage come whole on stdout."""
    assert made("lineage", "model", "--format", "dot").startswith("digraph lineage {\n")
    assert made("lineage", "model", "--format", "mermaid").startswith("flowchart LR\n")
    events = [json.loads(line) for line in made("lineage", "model", "--format", "openlineage").splitlines()]
    assert [(one["job"]["name"], one["eventType"]) for one in events] == [
        ("work/prep", "START"), ("work/prep", "COMPLETE"), ("work/train", "START"), ("work/train", "COMPLETE"),
    ]  # fmt: skip
    made("put", "data/a.txt", "--name", "alone")
    made.commit({"x": "x"}, "plain")
    done = made.run("lineage", "plain", "--format", "openlineage")
    assert (done.out.strip(), done.err) == ("", "note: no run is recorded here, so there is no event\n")


def test_deleted_things_stay(made):
    """A deleted version stands in the tree of others and can be asked about itself."""
    made("delete", "clean:v0", "--delete-aliases")
    assert "work/clean:v0  dataset  [deleted]" in made("lineage", "model")
    assert made("lineage", "clean:v0").startswith("work/clean:v0  dataset  [deleted]\n")


def test_wrong_lineage(made):
    """Near names of versions and runs; two formats at once; a depth that is none."""
    made.refused(
        "lineage", "modle", kind="NotFound", message="no version or run 'modle'", hint="did you mean 'model'?"
    )  # fmt: skip
    made.refused(
        "lineage", "model:v7", kind="UnknownVersion", message="artifact 'model' has no version 'v7'",
        hint=re.compile(".*'.*v0'"),
    )  # fmt: skip
    done = made.run("lineage", "model", "--json", "--format", "dot")
    assert (done.code, done.err) == (2, "error: --json and --format dot are two formats\nhint: leave one of them out\n")
    assert made.run("lineage", "model", "--depth", "-1").code == 2


def test_needs_a_repository(bare):
    """Without a repository none of the three does anything."""
    for argv in (["runs"], ["lineage", "x"], ["run", "true"]):
        done: Done = bare.run(*argv)
        assert (done.code, done.err.partition(" at ")[0]) == (1, "error: no repository")
    assert list(Path(bare.workspace).iterdir()) == []
