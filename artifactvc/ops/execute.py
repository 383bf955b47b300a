"""``avc run``: a command runs as a run, with what it used and what it made.

- What can be known to be wrong is found before the command starts: an input that is not
  there, a bad name, no such command. Then nothing runs and nothing is recorded.
- While it runs nothing of the repository is held: no lock, no open index.
- It shares our terminal and process group, and inherits our streams. Ctrl-C there
  reaches it without us; signals that only we are sent are passed on. Either way we wait
  for it, and record how it ended. Killed at once, we leave a run that shows as crashed.
- A run of ours may be changed meanwhile: the command may open it (``AVC_RUN_ID``), log to
  it and end it. What it recorded stays; how the process ended is ours to say.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from artifactvc.core import names
from artifactvc.core.manifest import build
from artifactvc.core.results import Committed, Executed, RunOutput
from artifactvc.errors import AvcError, StorageError, UnknownPath, UsageError
from artifactvc.ops import put, resolve, runs
from artifactvc.ops.commit import CommitOptions, land
from artifactvc.ops.session import Session, read_salted
from artifactvc.storage.avcdir import AvcDir
from artifactvc.storage.drafts import Draft
from artifactvc.util.git import git_state
from artifactvc.util.text import escape

#: Passed on to the command when only we are sent them.
_PASSED: Final = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)
#: Those that a terminal sends to all of its foreground processes.
_BY_TERMINAL: Final = (signal.SIGINT, signal.SIGQUIT)


@dataclass(frozen=True)
class Execution:
    """What to run, and what is said of it. *outputs* are pairs of an artifact's name and a path."""

    command: tuple[str, ...]
    environment: Mapping[str, str]  # the command's, to which the run's own variables are added
    name: str = ""
    job_type: str = ""
    project: str = ""
    group: str = ""
    uses: tuple[str, ...] = ()
    outputs: tuple[tuple[str, str], ...] = ()
    stdout: int | None = None  # a file descriptor in the place of our standard output
    id: str = field(default_factory=runs.new_run_id)


@dataclass
class _Ending:
    """What is known of the end so far; recorded whatever happens."""

    outputs: list[RunOutput]
    code: int | None = None
    seconds: float = 0.0
    errors: list[AvcError] = field(default_factory=list)

    @property
    def state(self) -> str:
        """Finished where the command ended with 0 and all that it was to make is logged."""
        logged = all(output.state == "logged" for output in self.outputs)
        return runs.FINISHED if self.code == 0 and logged else runs.FAILED


def execute(session: Session, asked: Execution) -> Executed:
    """Run a command and record it. An output that cannot be logged is an error, raised once all is recorded."""
    ours = session.project
    session.project = names.check_project(asked.project or ours)
    try:
        return _execute(session, asked)
    finally:
        session.project = ours


def _execute(session: Session, asked: Execution) -> Executed:
    _check(session, asked)
    used = [resolve.version(session, text) for text in asked.uses]
    here = Path.cwd()
    runs.start(session, _start(session, asked, here))
    ending = _Ending([RunOutput(_text(name), _text(path), "skipped") for name, path in asked.outputs])
    try:
        runs.use(session, asked.id, [(found.artifact["id"], found.version["digest"]) for found in used])
        _run(session, asked, ending)
        if ending.code == 0:
            for position, (name, path) in enumerate(asked.outputs):
                ending.outputs[position] = _log_output(session, asked.id, (name, path), ending.errors)
    finally:
        with _passing_signals():  # a second Ctrl-C does not stop the record
            _end(session, asked.id, ending)
    if ending.errors:
        for output in ending.outputs:
            if output.version:
                session.say(f"logged {output.version}")
        raise _summed_up(ending.errors)
    inputs = tuple(f"{found.full_name}:{found.shown}" for found in used)
    seconds, outputs = round(ending.seconds, 3), tuple(ending.outputs)
    return Executed(asked.id, session.project, ending.state, ending.code or 0, seconds, inputs, outputs)


def _start(session: Session, asked: Execution, here: Path) -> runs.RunStart:
    details = {
        "command": [_text(word) for word in asked.command],
        "directory": _text(os.fspath(here)),
        "python": ".".join(map(str, sys.version_info[:3])),
        "git": git_state(here),
    }
    return runs.RunStart(asked.id, session.project, asked.job_type, asked.group, asked.name, details)


def _check(session: Session, asked: Execution) -> None:
    for name, _ in asked.outputs:
        entity, project, _ = names.parse_artifact(name)
        resolve.project_of(session, entity, project)
    if not asked.command:
        raise UsageError("no command given", hint="write it behind '--': avc run -- python train.py")
    program = asked.command[0]
    if shutil.which(program, path=asked.environment.get("PATH")) is None:
        if os.path.exists(program) and "/" in program:
            raise UsageError(f"'{program}' is not executable", hint="name what runs it: avc run -- python train.py")
        raise UsageError(f"no command '{program}'", hint="check its name, or give its path")


def _text(word: str) -> str:
    """A word of the command line as JSON can hold it: bytes that are not UTF-8 are shown escaped."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return escape(word)
    return word


def _environment(session: Session, asked: Execution) -> dict[str, str]:
    """The command's environment, by which whatever it starts finds its run."""
    found = {**asked.environment, "AVC_RUN_ID": asked.id, "AVC_PROJECT": session.project}
    if asked.group:
        found["AVC_RUN_GROUP"] = asked.group
    return found


# ---- the command -----------------------------------------------------------------------------------


def _run(session: Session, asked: Execution, ending: _Ending) -> None:
    """Run the command to its end. The repository is closed meanwhile, and opened as it is then."""
    environment = _environment(session, asked)
    session.close()
    try:
        with _passing_signals() as child:
            began = time.monotonic()
            ending.code = child.run(asked.command, environment, asked.stdout)
            ending.seconds = time.monotonic() - began
    finally:
        session.avc = AvcDir(session.avc.root)
        session.caught_up = False


class _Child:
    """The command's process. Signals that come before there is one are passed on once it is there."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []

    def run(self, command: tuple[str, ...], environment: Mapping[str, str], stdout: int | None) -> int:
        """Start it, wait for its end, and return its exit code: 128 and the signal's number where one ended it."""
        try:
            self._process = subprocess.Popen(command, env=environment, stdout=stdout)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UsageError(f"cannot run '{command[0]}': {reason}", hint="check the command") from error
        for number in self._early:
            self._process.send_signal(number)
        code = self._process.wait()
        return 128 - code if code < 0 else code

    def pass_on(self, number: int, frame: object) -> None:
        """Send the process a signal that it has not got itself."""
        if self._process is None:
            self._early.append(number)
        elif number not in _BY_TERMINAL or not _in_foreground():
            self._process.send_signal(number)


def _in_foreground() -> bool:
    """Whether a terminal sends its signals to our process group, of which the command is one."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


@contextlib.contextmanager
def _passing_signals() -> Iterator[_Child]:
    """In the block signals go to the child. Handlers of Python's own, for a child inherits what is ignored."""
    child = _Child()
    if threading.current_thread() is not threading.main_thread():
        yield child
        return
    before = {number: signal.getsignal(number) for number in _PASSED}
    taken = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    try:
        for number in taken:
            signal.signal(number, child.pass_on)
        yield child
    finally:
        for number in taken:
            signal.signal(number, before[number])


# ---- how it ended ----------------------------------------------------------------------------------


def _end(session: Session, run_id: str, ending: _Ending) -> None:
    """Record the end, beside what the command itself has recorded of its run."""
    row = session.index.rows.get("run", run_id)
    details: dict[str, Any] = read_salted(session, row["details"], {}) if row else {}
    if ending.outputs:
        details = {**details, "outputs": [asdict(output) for output in ending.outputs]}
    runs.finish(session, run_id, ending.state, ending.code, details)


def _log_output(session: Session, run_id: str, what: tuple[str, str], errors: list[AvcError]) -> RunOutput:
    """Store one output; what is wrong with it is said in the answer, and added to *errors*."""
    name, path = what
    said = RunOutput(_text(name), _text(path), "missing")
    source = Path(os.path.abspath(path))
    if not os.path.lexists(source):
        error: AvcError = UnknownPath(
            f"there is no '{said.path}' to log as '{said.name}'",
            hint=f"write it, then run 'avc put {said.path} --name {said.name} --run {run_id}'",
        )
    else:
        said = replace(said, state="failed")
        try:
            made = _store(session, run_id, name, source)
            return replace(said, state="logged", version=f"{made.artifact}:{made.version}", digest=made.digest)
        except OSError as failed:
            error = StorageError(f"cannot log '{said.path}': {(failed.strerror or str(failed)).lower()}")
        except AvcError as failed:
            error = failed
    said = replace(said, error=error.message)
    error.args = (f"run '{run_id}' failed: {error.message}", *error.args[1:])
    errors.append(error)
    return said


def _summed_up(errors: list[AvcError]) -> AvcError:
    first = errors[0]
    if len(errors) > 1:
        first.args = (f"{first.message} (and {len(errors) - 1} more)", *first.args[1:])
    return first


def _store(session: Session, run_id: str, name: str, source: Path) -> Committed:
    """A file or directory as the next version of artifact *name*, produced by the run."""
    entity, project, plain = names.parse_artifact(name)
    project = resolve.project_of(session, entity, project)
    with session.avc.writing():  # the draft is this call's own: nobody else knows its id, so it needs no lock
        row = resolve.find_artifact(session, f"{project}/{plain}")
        with session.avc.writer() as writer:
            entries = list(put.entries_of(session, writer, source, put.Source(os.fspath(source))))
            root = build(entries, writer.put_node)
        named, kind, artifact = (row["name"], row["type"], row["id"]) if row else (plain, "dataset", _fresh())
        draft = Draft(
            f"p-{_fresh()}", project, named, kind, artifact, root.digest, None, None, put.owner(), session.clock()
        )
        session.avc.drafts.save(draft)
        done, _ = land(session, draft, CommitOptions(run=run_id, command="run"))
        session.avc.drafts.remove(draft.id)
    return done


def _fresh() -> str:
    return secrets.token_hex(16)
