"""Runs are records: begun, changed, ended, in every clone the same; metrics survive a kill."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from artifactvc.core.results import RunInfo
from artifactvc.errors import BadName, Conflict, UnknownRun
from artifactvc.ops import runs
from artifactvc.sdk.repository import Repository
from tests.support import clone, forget_index, new, origin, reopen, version


def begun(repository: Repository, run_id: str = "run1", **fields: object) -> str:
    runs.start(repository.session, runs.RunStart(run_id, "demo", "train", "g", "first", fields))
    return run_id


def info(repository: Repository, run_id: str = "run1") -> RunInfo:
    repository.session.caught_up = False
    return runs.info(repository.session, run_id)


def test_a_run_from_beginning_to_end(tmp_path):
    """What it was begun with stays, what it ended with is added, and no file of it is left beside the log."""
    with new(tmp_path) as repository:
        begun(repository, config={"lr": 0.1}, command=["python", "x.py"], git={"commit": "abc", "dirty": False})
        one = info(repository)
        assert (one.state, one.project, one.job_type, one.group, one.name) == ("running", "demo", "train", "g", "first")
        assert (one.config, one.command, one.host) == ({"lr": 0.1}, ("python", "x.py"), socket.gethostname())
        assert one.git == {"commit": "abc", "dirty": False}
        runs.log_metrics(repository.session, "run1", [{"loss": 2.0, "_step": 0}, {"loss": 1.0, "_step": 1}])
        assert [m["loss"] for m in runs.metrics(repository.session, "run1")] == [2.0, 1.0]
        runs.finish(repository.session, "run1", "finished", 0, {**one.details, "summary": {"loss": 1.0}})
        two = info(repository)
        assert (two.state, two.exit_code, two.summary, two.config) == ("finished", 0, {"loss": 1.0}, {"lr": 0.1})
        assert two.ended is not None
        assert two.created == one.created < two.ended
        assert [m["loss"] for m in runs.metrics(repository.session, "run1")] == [2.0, 1.0]
        assert list((tmp_path / ".artifacts/runs").iterdir()) == []


def test_everything_comes_back_from_the_log(tmp_path):
    """Without its index the repository tells the same of its runs; so does a clone, metrics too."""
    place = tmp_path / "ws"
    with new(place) as repository:
        version(repository, {"a": "1"})
        key = runs.Key
        found = repository.show("data")
        artifact = next(repository.artifacts()).id
        begun(repository, "in", config={"x": 1})
        runs.use(repository.session, "in", [(artifact, found.digest)] * 2)
        begun(repository, "out")
        runs.produce(repository.session, "out", [(artifact, found.digest)])
        runs.log_metrics(repository.session, "out", [{"acc": 0.5}])
        runs.finish(repository.session, "out", "failed", 3, {})
        before = [info(repository, run_id) for run_id in ("in", "out")]
        assert [link.ref for link in before[0].used] == [link.ref for link in before[1].produced] == ["demo/data:v0"]
        origin(repository, tmp_path / "remote")
        repository.push()
        assert key is not None
    forget_index(place)
    with reopen(place) as again, clone(tmp_path / "remote", tmp_path / "clone") as other:
        assert [info(again, run_id) for run_id in ("in", "out")] == before
        assert [info(other, run_id) for run_id in ("in", "out")] == before
        assert list(runs.metrics(other.session, "out")) == [{"acc": 0.5}]
        assert other.gc(grace="0s").trashed_objects == 0
        assert again.fsck(full=True).problems == ()


def test_gc_keeps_what_runs_name(tmp_path):
    """Details and metrics of runs are roots; what was replaced is not."""
    with new(tmp_path) as repository:
        begun(repository, config={"n": 1})
        runs.log_metrics(repository.session, "run1", [{"x": 1}])
        runs.finish(repository.session, "run1", "finished", 0, {"config": {"n": 2}})
        repository.gc(grace="0s")
        repository.gc(grace="0s")
        assert info(repository).config == {"n": 2}
        assert list(runs.metrics(repository.session, "run1")) == [{"x": 1}]


def test_a_run_can_go_on(tmp_path):
    """Resumed, it is running again, and its metrics go on where they were."""
    with new(tmp_path) as repository:
        begun(repository)
        runs.log_metrics(repository.session, "run1", [{"x": 1}])
        runs.finish(repository.session, "run1", "failed", 1, {"config": {"a": 1}})
        assert runs.resume(repository.session, "run1").state == "running"
        runs.log_metrics(repository.session, "run1", [{"x": 2}])
        assert list(runs.metrics(repository.session, "run1")) == [{"x": 1}, {"x": 2}]
        runs.finish(repository.session, "run1", "finished", 0, info(repository).details)
        assert list(runs.metrics(repository.session, "run1")) == [{"x": 1}, {"x": 2}]
        assert (info(repository).exit_code, info(repository).config) == (0, {"a": 1})


def test_errors_are_said(tmp_path):
    """A taken id, a bad one, and one that is not there."""
    with new(tmp_path) as repository:
        begun(repository, "abcd1234")
        with pytest.raises(Conflict, match="run 'abcd1234' exists"):
            begun(repository, "abcd1234")
        with pytest.raises(BadName, match="bad run id 'a/b'"):
            begun(repository, "a/b")
        with pytest.raises(UnknownRun, match="no run 'abcd1235'") as caught:
            runs.info(repository.session, "abcd1235")
        assert caught.value.hint == "did you mean 'abcd1234'?"
        with pytest.raises(UnknownRun) as caught:
            runs.use(repository.session, "x", [("0" * 32, "0" * 64)])
        assert caught.value.hint == "run 'avc runs' to list them"


def test_a_deleted_run_leaves_listings_only(tmp_path):
    """It stays what it was for lineage."""
    with new(tmp_path) as repository:
        begun(repository, "one")
        begun(repository, "two")
        runs.delete(repository.session, "one")
        runs.delete(repository.session, "one")
        assert [row["id"] for row in runs.listing(repository.session, "demo")] == ["two"]
        assert (info(repository, "one").state, info(repository, "one").job_type) == ("deleted", "train")


def _log_for_ever(root: Path) -> None:
    with reopen(root) as repository:
        begun(repository, "killed")
        for n in range(100_000):
            runs.log_metrics(repository.session, "killed", [{"n": n, "pad": "x" * 200}])


def test_a_kill_loses_no_metric_that_was_logged(tmp_path):
    """After `kill -9` the metrics are those up to some step, in order, and the run shows as crashed; it can go on."""
    with new(tmp_path) as repository:
        child = multiprocessing.get_context("spawn").Process(target=_log_for_ever, args=(tmp_path,))
        child.start()
        path = tmp_path / ".artifacts/runs/killed" / runs.METRICS
        deadline = time.monotonic() + 60
        while not (path.exists() and path.stat().st_size > 5000):
            assert time.monotonic() < deadline
            assert child.is_alive()
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        path.open("ab").write(b'{"n": 999999, "cut sho')  # as if the kill had hit a write in two parts
        found = [m["n"] for m in (repository.session, runs.metrics(repository.session, "killed"))[1]]
        assert found == list(range(len(found)))
        assert len(found) > 10
        assert info(repository, "killed").state == "crashed"
        runs.resume(repository.session, "killed")
        assert info(repository, "killed").state == "running"
        runs.log_metrics(repository.session, "killed", [{"n": -1}])
        assert [m["n"] for m in runs.metrics(repository.session, "killed")] == [*found, -1]
        runs.finish(repository.session, "killed", "finished", 0, {})
        assert [m["n"] for m in runs.metrics(repository.session, "killed")] == [*found, -1]


def test_a_reused_process_id_is_no_running_run(tmp_path):
    """A process that began at another time under the same id is another one."""
    with new(tmp_path) as repository:
        begun(repository, pid=1)
        row = repository.session.index.rows.get("run", "run1")
        details = {**info(repository).details, "pid_started": "1"}
        runs.update(repository.session, "run1", details)
        assert row is not None
        assert info(repository).state == "crashed"
        runs.update(repository.session, "run1", {**details, "host": "another"})
        assert info(repository).state == "running"


def test_where_a_run_is_survives_an_update(tmp_path):
    """Host and process stay, so a crash is still told from a run that goes on."""
    with new(tmp_path) as repository:
        begun(repository, config={"a": 1})
        before = info(repository).details
        runs.update(repository.session, "run1", {"config": {"a": 2}})
        after = info(repository)
        assert after.config == {"a": 2}
        assert {after.details[name] for name in ("host", "pid", "pid_started")} == {
            before[name] for name in ("host", "pid", "pid_started")
        }
        runs.finish(repository.session, "run1", "finished", 0, {"config": {"a": 3}})
        assert info(repository).host == socket.gethostname()


def test_names_can_be_read_while_the_remote_is_away(tmp_path):
    """Descriptions that are not here are left out, with a word; nothing fails, and nobody waits twice."""
    with new(tmp_path / "ws") as repository:
        version(repository, {"a": "1"}, "said")
        origin(repository, tmp_path / "remote")
        repository.push()
    with clone(tmp_path / "remote", tmp_path / "clone") as other:
        (tmp_path / "remote").rename(tmp_path / "away")
        assert [v.description for v in other.log("data")] == [""]
        assert other.notices[0].startswith("some descriptions or metadata are not here: ")
        (tmp_path / "away").rename(tmp_path / "remote")
    with reopen(tmp_path / "clone") as again:
        assert [v.description for v in again.log("data")] == ["said"]
