"""Aliases: names that move from version to version of one artifact, and `latest`, which every log moves."""

from __future__ import annotations

from pathlib import Path

import pytest

import artifactvc as avc
from tests.sdk.guide.helpers import draft, log, names, said, script
from tests.support import tree, write

READ = """
import artifactvc as avc
with avc.init() as run:
    artifact = run.use_artifact("bike-dataset:latest")
    print(artifact.download())
"""


def test_one_script_gets_what_is_newest(place):
    """The same lines give the version that was logged last (S30, F40)."""
    log({"a.csv": "1"}, "bike-dataset")
    first = Path(script(place, READ).stdout.strip())
    log({"a.csv": "2"}, "bike-dataset")
    second = Path(script(place, READ).stdout.strip())
    assert (first.name, second.name) == ("bike-dataset:v0", "bike-dataset:v1")
    assert (tree(first), tree(second)) == ({"a.csv": b"1"}, {"a.csv": b"2"})


def test_aliases_are_given_at_logging(place):
    """The aliases asked for and `latest`, once, are on the version; a name may begin with `run-` (S31, F40, F42)."""
    write(place, {"model.h5": "weights"})
    with avc.init() as run:
        artifact = avc.Artifact("run-3nq3ctyy-bike-model", type="model")
        artifact.add_file("model.h5")
        run.log_artifact(artifact, aliases=["latest", "best-ap50"])
    assert sorted(artifact.wait().aliases) == ["best-ap50", "latest"]
    api = avc.Api()
    assert api.artifact("run-3nq3ctyy-bike-model:best-ap50").version == "v0"
    assert api.artifact("run-3nq3ctyy-bike-model:latest").version == "v0"


def test_an_alias_moves_to_the_version_logged_with_it():
    """An alias names one version: a later log takes it along (S31, F42)."""
    log({"a": "1"}, "bike-model", "model", aliases=["best-ap50"])
    log({"a": "2"}, "bike-model", "model")
    assert avc.Api().artifact("bike-model:best-ap50").version == "v0"
    log({"a": "3"}, "bike-model", "model", aliases=["best-ap50"])
    assert avc.Api().artifact("bike-model:best-ap50").version == "v2"
    assert avc.Api().artifact("bike-model:v0").aliases == []


@pytest.mark.parametrize("aliases", [None, [], ["latest"], ["best"], ["latest", "best", "latest"]])
def test_latest_is_always_added(aliases):
    """Whether or not it is asked for, the newest version has `latest`, exactly once (F40, F114)."""
    artifact = log({"a": "1"}, aliases=aliases)
    assert sorted(artifact.aliases) == sorted({"latest", *(aliases or [])})
    assert sorted(avc.Api().artifact("data:latest").aliases) == sorted({"latest", *(aliases or [])})


def test_latest_leaves_the_version_before():
    """Only one version has it (F40)."""
    log({"a": "1"})
    log({"a": "2"})
    assert avc.Api().artifact("data:v0").aliases == []
    assert avc.Api().artifact("data:v1").aliases == ["latest"]


def test_one_alias_may_be_written_as_a_string():
    """A string is one alias, not a list of letters."""
    assert sorted(log({"a": "1"}, aliases="best").aliases) == ["best", "latest"]


@pytest.mark.parametrize("alias", ["a/b", "a:b", "v1", "v01", "0" * 64, ""])
def test_what_cannot_be_an_alias(alias):
    """A path, a version number and a digest are not aliases; nothing is logged with one."""
    with avc.init() as run, pytest.raises(ValueError) as caught:
        run.log_artifact(draft({"a": "1"}), aliases=["fine", alias])
    assert alias in said(caught.value)
    assert not avc.Api().artifact_exists("data:fine")
    log({"a": "1"})
    artifact = avc.Api().artifact("data:latest")
    with pytest.raises(ValueError):
        artifact.aliases = [alias]
    assert artifact.aliases == ["latest"]


@pytest.mark.parametrize("alias", ["best-ap50", "with space", "größer", "2026.11", "V1", "v", "v1x", "latest-2"])
def test_what_can_be_an_alias(alias):
    """Words, dates and letters of any script name versions (F42)."""
    log({"a": "1"}, aliases=[alias])
    log({"a": "2"})
    assert avc.Api().artifact(f"data:{alias}").version == "v0"


def test_equal_content_brings_the_alias_back():
    """Logging what v0 holds makes no version, and puts `latest` and the aliases given onto v0 (F41)."""
    first = log({"a": "1"})
    log({"a": "2"}, aliases=["best"])
    again = log({"a": "1"}, aliases=["best"])
    assert (again.version, sorted(again.aliases)) == ("v0", ["best", "latest"])
    assert again.digest == first.digest
    assert avc.Api().artifact("data:latest").version == "v0"
    assert avc.Api().artifact("data:v1").aliases == []
    assert names(avc.Api().artifacts("dataset", "data")) == ["data:v1", "data:v0"]


def test_aliases_belong_to_one_artifact():
    """Two artifacts have each their own `best` (F42)."""
    log({"a": "1"}, "one", aliases=["best"])
    log({"a": "2"}, "other", aliases=["best"])
    assert avc.Api().artifact("one:best").name == "one:v0"
    assert avc.Api().artifact("other:best").name == "other:v0"


def test_a_tag_is_no_alias():
    """Tags label any number of versions, and name none."""
    log({"a": "1"}, tags=["raw"])
    log({"a": "2"}, tags=["raw", "raw", "new"])
    assert sorted(avc.Api().artifact("data:v1").tags) == ["new", "raw"]
    assert not avc.Api().artifact_exists("data:raw")
    assert names(avc.Api().artifacts("dataset", "data", tags="raw")) == ["data:v1", "data:v0"]
    assert names(avc.Api().artifacts("dataset", "data", tags=["raw", "new"])) == ["data:v1"]


@pytest.mark.parametrize("tag", ["a/b", "a:b", "", " a", "a ", "a!"])
def test_what_cannot_be_a_tag(tag):
    """Tags are words of letters, digits, `-` and `_`, parted by spaces."""
    with avc.init() as run, pytest.raises(ValueError):
        run.log_artifact(draft({"a": "1"}), tags=[tag])
    log({"a": "1"})
    artifact = avc.Api().artifact("data:latest")
    with pytest.raises(ValueError):
        artifact.tags = [tag]
        artifact.save()
    assert avc.Api().artifact("data:latest").tags == []


def test_tags_are_counted_once():
    """The same tag twice is one."""
    log({"a": "1"})
    artifact = avc.Api().artifact("data:latest")
    artifact.tags = ["one", "two words", "one"]
    assert sorted(artifact.tags) == ["one", "two words"]
    artifact.save()
    assert sorted(avc.Api().artifact("data:latest").tags) == ["one", "two words"]
