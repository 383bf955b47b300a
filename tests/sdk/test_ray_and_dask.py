"""Versions built by the tasks of Ray and of Dask, as the guide's parallel writers are (S15).

Both are optional; where one is missing its tests are skipped and say so, and with
``AVC_REQUIRE_SERVERS=1`` they fail. Nothing is reached but this machine.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import artifactvc as avc
from artifactvc.sdk.repository import Repository
from tests.sdk.guide.helpers import names, paths
from tests.support import inside

TASKS = 5
NAME, PARTS, WHOLE = "distributed_artifact", "parts", "distributed_table"


def _needs(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        reason = f"{package} is not installed: pip install 'artifactvc[test]'"
        if os.environ.get("AVC_REQUIRE_SERVERS") == "1":
            pytest.fail(f"{reason} (AVC_REQUIRE_SERVERS=1)", pytrace=False)
        pytest.skip(reason)


def train(place: str, group: str, i: int) -> str:
    """One task: adds one table to the group's version; the run's id. Processes of a cluster are used again."""
    with inside(Path(place)), avc.init(group=group, reinit="create_new") as run:
        artifact = avc.Artifact(name=NAME, type="distributed")
        artifact.add(avc.Table(columns=["a", "b", "c"], data=[[i, i * 2, 2**i]]), f"{PARTS}/table_{i}")
        run.upsert_artifact(artifact)
    return run.id


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository, and the working directory in it."""
    with Repository.init(tmp_path / "work", project="p")[0] as made:
        monkeypatch.chdir(made.root)
        return made.root


@pytest.fixture(scope="module")
def dask_tasks() -> Iterator[Callable[..., list[str]]]:
    """A function that has its calls done by a Dask cluster of two processes."""
    _needs("distributed")
    import dask
    from distributed import Client, LocalCluster

    with (
        dask.config.set({"distributed.worker.daemon": True, "distributed.admin.tick.interval": "1s"}),
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):

        def submit(work: Callable[..., str], calls: list[tuple[Any, ...]]) -> list[str]:
            return list(client.gather([client.submit(work, *call, pure=False) for call in calls]))

        yield submit


@pytest.fixture(scope="module")
def ray_tasks() -> Iterator[Callable[..., list[str]]]:
    """The same by Ray, started on this machine alone."""
    _needs("ray")
    # The last one makes it stay on 127.0.0.1, as it does on macOS: else it listens on every address.
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0")
    import ray

    ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=100 << 20,
        _node_ip_address="127.0.0.1",
        log_to_driver=False,
        configure_logging=False,
    )
    try:

        def submit(work: Callable[..., str], calls: list[tuple[Any, ...]]) -> list[str]:
            remote = ray.remote(work)
            return list(ray.get([remote.remote(*call) for call in calls]))

        yield submit
    finally:
        ray.shutdown()


@pytest.mark.servers
@pytest.mark.parametrize("cluster", ["dask_tasks", "ray_tasks"])
def test_five_tasks_build_one_version(cluster: str, place: Path, request: pytest.FixtureRequest) -> None:
    """One version, a table of each task in it, all six runs of the group its producers; nothing before the end."""
    submit = request.getfixturevalue(cluster)
    written = submit(train, [(os.fspath(place), cluster, i) for i in range(TASKS)])
    assert len(set(written)) == TASKS
    assert not avc.Api().artifact_exists(f"p/{NAME}:latest")
    with avc.init(group=cluster) as run:
        artifact = avc.Artifact(NAME, type="distributed")
        artifact.add(avc.data_types.PartitionedTable(PARTS), WHOLE)
        run.finish_artifact(artifact)
    found = avc.Api().artifact(f"p/{NAME}:latest")
    parts = [f"{PARTS}/table_{i}.table.json" for i in range(TASKS)]
    assert paths(found) == sorted([f"{WHOLE}.partitioned-table.json", *parts])
    assert [list(row) for _, row in found.get(WHOLE).iterrows()] == [[i, i * 2, 2**i] for i in range(TASKS)]
    for producer in (*written, run.id):
        recorded = avc.Api().run(f"p/{producer}")
        assert (recorded.group, recorded.state) == (cluster, "finished")
        assert names(recorded.logged_artifacts()) == [f"{NAME}:v0"]
    # Again, as a cluster does when a worker is lost: other runs, the same version.
    submit(train, [(os.fspath(place), cluster, i) for i in range(TASKS)])
    with avc.init(group=cluster) as run:
        artifact = avc.Artifact(NAME, type="distributed")
        artifact.add(avc.data_types.PartitionedTable(PARTS), WHOLE)
        assert run.finish_artifact(artifact).version == "v0"
