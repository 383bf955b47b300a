"""``upsert_artifact`` and ``finish_artifact``: what the guide does not show (protocol P10)."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import artifactvc as avc
from artifactvc.errors import ArtifactFinalizedError, ArtifactNotLoggedError, Conflict, PathConflict
from artifactvc.sdk.repository import RemoteOptions, Repository
from tests.sdk.guide import writers
from tests.sdk.guide.helpers import draft, fill, names, paths
from tests.support import tree, write


def repository(place: Path, remote: Path | None = None) -> Path:
    """A repository of project ``p`` in *place*, with *remote* as its origin."""
    place.mkdir(parents=True, exist_ok=True)
    with Repository.init(place, project="p")[0] as made:
        if remote is not None:
            made.remote_add("origin", str(remote), options=RemoteOptions())
    return place


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, with a repository; no run is left to the next test."""
    made = repository(tmp_path / "work")
    monkeypatch.chdir(made)
    yield made
    monkeypatch.chdir(made)
    while avc.run is not None:
        avc.finish()


def test_a_part_may_be_a_file_or_a_directory(place):
    """As with log_artifact, by its path, with a name and a type."""
    write(place, {"one.txt": "1", "many/a": "a", "many/b": "b"})
    with avc.init(group="g") as run:
        run.upsert_artifact("one.txt", name="data", type="dataset")
        run.upsert_artifact("many", "data", "dataset")
        done = run.finish_artifact("one.txt", "data", "dataset", aliases="best")
    assert (done.name, paths(done), sorted(done.aliases)) == ("data:v0", ["a", "b", "one.txt"], ["best", "latest"])


def test_one_run_may_do_it_all_and_begin_anew(place):
    """What it puts in after its own end is the next version."""
    with avc.init() as run:
        for n in range(3):
            run.upsert_artifact(draft({"a": str(n)}), distributed_id="x")
            done = run.finish_artifact(draft({"b": "b"}), distributed_id="x")
            assert (done.version, paths(done)) == (f"v{n}", ["a", "b"])
        assert names(run.logged_artifacts()) == ["data:v0", "data:v1", "data:v2"]


def test_the_id_goes_before_the_group(place):
    """The group is only its default."""
    with avc.init(group="g") as run:
        run.upsert_artifact(draft({"a": "1"}), distributed_id="x")
        with pytest.raises(Conflict, match="there is nothing to finish"):
            run.finish_artifact(draft({}))
        assert run.finish_artifact(draft({}), distributed_id="x").name == "data:v0"


def test_what_was_put_in_can_no_longer_be_changed(place):
    """The object is still no version: it becomes none, its content goes into one."""
    with avc.init(group="g") as run:
        part = run.upsert_artifact(draft({"a": "1"}))
        assert part.is_draft()
        assert part.distributed_id == "g"
        with pytest.raises(ArtifactNotLoggedError):
            part.wait()
        with pytest.raises(ArtifactFinalizedError):
            fill(part, {"b": "2"})
        run.upsert_artifact(part)
        done = run.finish_artifact(draft({}))
        assert paths(done) == ["a"]
        with pytest.raises(Conflict, match="is a version already"):
            run.upsert_artifact(done)


def test_time_to_live_description_and_metadata(place):
    """Those of the finishing call hold for the version; metadata of parts is merged below it."""
    with avc.init(group="g") as run:
        run.upsert_artifact(draft({"a": "1"}, metadata={"rows": 1, "by": "part"}))
        last = draft({}, description="whole", metadata={"rows": 2})
        last.ttl = timedelta(days=3)
        run.finish_artifact(last)
    found = avc.Api().artifact("p/data:v0")
    assert (found.ttl, found.description, found.metadata) == (timedelta(days=3), "whole", {"rows": 2, "by": "part"})


def test_a_run_that_is_told_is_told_on_stderr(place, capfd):
    """That its new part begins another version than its last one went into."""
    long = avc.init(group="g", reinit="create_new")
    long.upsert_artifact(draft({"a": "1"}))
    with avc.init(group="g", reinit="create_new") as run:
        run.finish_artifact(draft({}))
    long.upsert_artifact(draft({"a": "2"}))
    assert (
        f"avc: 'data' (g) was finished by run '{run.id}': this part begins its next version" in capfd.readouterr().err
    )
    long.finish_artifact(draft({}))
    long.finish()
    assert [v.version for v in avc.Api().artifacts("dataset", "p/data")] == ["v1", "v0"]


def test_a_disabled_run_puts_nothing_in(place):
    """Nothing is recorded of it."""
    with avc.init(mode="disabled") as run:
        run.upsert_artifact(draft({"a": "1"}), distributed_id="x")
        run.finish_artifact(draft({}), distributed_id="x")
    with avc.init(mode="disabled", group="g") as run:
        run.upsert_artifact(draft({"a": "1"}))
        run.finish_artifact(draft({}))
    assert not avc.Api().artifact_exists("p/data:latest")


def test_parts_that_disagree_can_be_given_up(place):
    """The run that was wrong may be gone for ever; what the others built is begun anew."""
    for content in ("1", "2"):
        with avc.init(group="g") as run:
            run.upsert_artifact(draft({"a": content}))
    with avc.init(group="g") as run, pytest.raises(PathConflict) as caught:
        run.finish_artifact(draft({}))
    assert "Repository.abandon_draft gives up all parts" in caught.value.hint
    with Repository.open(place) as opened:
        assert opened.abandon_draft("data", "g") is True
        assert opened.abandon_draft("data", "g") is False
    with avc.init(group="g") as run:
        done = run.finish_artifact(draft({"b": "3"}))
    assert (done.version, paths(done)) == ("v0", ["b"])


# ---- machines that share only a remote --------------------------------------------------------------------


def on_machine(place: str, target: Any, arguments: tuple[Any, ...]) -> None:
    """Be a process on the machine whose repository is in *place*."""
    os.environ["AVC_USER"] = Path(place).name
    os.chdir(place)
    target(*arguments)


def machine(place: Path, target: Any, *arguments: Any) -> Any:
    """A fresh process there."""
    process = multiprocessing.get_context("spawn").Process(target=on_machine, args=(str(place), target, arguments))
    process.start()
    return process


def test_five_tasks_on_machines_that_share_only_a_remote(tmp_path, monkeypatch):
    """As in the guide's example of parallel writers, each in a clone of its own; a third clone sees the table (S15)."""
    remote = tmp_path / "remote"
    machines = [repository(tmp_path / f"m{n}", remote) for n in range(3)]
    answers = writers.channel()
    tasks = [machine(machines[i % 2], writers.train, i, "together", answers) for i in range(5)]
    for task in tasks:
        task.join(120)
    assert [task.exitcode for task in tasks] == [0] * 5
    written = sorted(answers.get() for _ in tasks)
    last = machine(machines[2], writers.finish, "together", None, answers)
    last.join(120)
    assert last.exitcode == 0
    finisher, version = answers.get()
    assert version == f"{writers.NAME}:v0"

    with Repository.clone(str(remote), tmp_path / "clone")[0] as clone:
        clone.pull()
        assert clone.fsck(full=True).problems == ()
    monkeypatch.chdir(tmp_path / "clone")
    artifact = avc.Api().artifact(f"p/{version}")
    parts = [f"{writers.PARTS}/table_{i}.table.json" for i in range(5)]
    assert paths(artifact) == sorted([f"{writers.WHOLE}.partitioned-table.json", *parts])
    assert [list(row) for _, row in artifact.get(writers.WHOLE).iterrows()] == [writers.rows(i)[0] for i in range(5)]
    everyone = sorted([*written, finisher])
    runs = [avc.Api().run(f"p/{run}") for run in everyone]
    assert {run.group for run in runs} == {"together"}
    assert [names(run.logged_artifacts()) for run in runs] == [[version]] * 6
    assert artifact.logged_by().id in everyone


def test_a_download_on_another_machine(tmp_path, monkeypatch):
    """Bytes come from where each writer has put them."""
    remote = tmp_path / "remote"
    one, other = (repository(tmp_path / name, remote) for name in ("one", "other"))
    files = {f"f{n}": f"{n}" * 1000 for n in range(40)} | {"large": "x" * 200_000}
    for place, half in ((one, list(files)[::2]), (other, list(files)[1::2])):
        monkeypatch.chdir(place)
        with avc.init() as run:
            run.upsert_artifact(draft({path: files[path] for path in half}), distributed_id="x")
    with avc.init() as run:
        done = run.finish_artifact(draft({}), distributed_id="x")
    assert tree(Path(done.download())) == {path: text.encode() for path, text in files.items()}
    monkeypatch.chdir(one)
    with Repository.open(one) as here:
        here.fetch()
    assert tree(Path(avc.Api().artifact("p/data:v0").download())) == {path: t.encode() for path, t in files.items()}
