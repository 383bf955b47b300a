"""Every example runs in a fresh directory with a repository, as one person on one machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import artifactvc as avc
from artifactvc.sdk.repository import Repository
from tests.sdk.guide.helpers import ENTITY, PROJECT


def _finish_what_runs() -> None:
    for _ in range(10):
        if avc.run is None:
            return
        avc.finish()


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory: a repository of project ``workshop``, asked by a person called ``ada``.

    No run of one test is left to the next.
    """
    for name in list(os.environ):
        if name.startswith(("AVC_", "WANDB_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("USER", ENTITY)
    monkeypatch.setenv("LOGNAME", ENTITY)
    place = tmp_path / PROJECT
    place.mkdir()
    repository, _ = Repository.init(place)
    repository.close()
    monkeypatch.chdir(place)
    yield place
    monkeypatch.chdir(place)
    _finish_what_runs()


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: an empty one, with no repository in it or above it."""
    bare = tmp_path / "bare"
    bare.mkdir()
    monkeypatch.chdir(bare)
    return bare


@pytest.fixture
def images(place: Path) -> Path:
    """Two pictures, and two models of one name: the tree that the chapter on creating speaks of."""
    from tests.support import write

    write(
        place,
        {
            "images/cat.png": "a cat",
            "images/dog.png": "a dog",
            "model.h5": "the model at the top",
            "checkpoints/model.h5": "the model of a checkpoint",
        },
    )
    return place
