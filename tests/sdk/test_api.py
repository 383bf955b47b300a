"""What is recorded is looked up: names, listings, errors, and the names in the logs of remotes."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import artifactvc as avc
from artifactvc.errors import BadName, CommError, RemoteUnavailable, UnsupportedError, UsageError
from artifactvc.sdk.listing import Listing, Source
from artifactvc.sdk.opened import at
from artifactvc.sdk.repository import RemoteOptions, Repository
from tests.sdk.guide.conftest import place  # noqa: F401  every test is in a repository of its own
from tests.sdk.guide.helpers import ENTITY, LARGE, PROJECT, draft, log, names, object_files
from tests.support import inside

# ---- listings, apart from what is listed --------------------------------------------------------------


class Numbers(Source[int, str]):
    """The numbers below *end* as text; those that are *gone* turn out to be so when they are loaded."""

    title = "numbers"

    def __init__(self, end: int, gone: frozenset[int] = frozenset()) -> None:
        self.end, self.gone = end, gone
        self.loaded: list[Sequence[int]] = []

    def keys(self) -> Sequence[int]:
        return range(self.end)

    def load(self, keys: Sequence[int]) -> Sequence[str | None]:
        self.loaded.append(list(keys))
        return [None if key in self.gone else str(key) for key in keys]


ENDS = st.none() | st.integers(-9, 9)
PARTS = st.builds(slice, ENDS, ENDS, st.sampled_from([None, 1, 2, -1, -3])) | st.integers(-9, 9)


def same(listing: Sequence[str], expected: list[str], part: slice | int) -> None:
    """Both have the same at *part*, or neither has anything there."""
    if isinstance(part, slice) or -len(expected) <= part < len(expected):
        assert listing[part] == expected[part]
    else:
        with pytest.raises(IndexError, match=r"(?m)^a listing has no item there$"):
            listing[part]


@given(end=st.integers(0, 8), per_page=st.integers(1, 4), parts=st.lists(PARTS, max_size=4))
def test_a_listing_is_as_good_as_a_list(end, per_page, parts):
    """Indexed, cut, counted and reversed like the list of its items, whatever the pages and what was read before."""
    expected = [str(number) for number in range(end)]
    used = Listing(Numbers(end), per_page)
    for part in parts:
        same(Listing(Numbers(end), per_page), expected, part)
        same(used, expected, part)
    assert len(used) == end
    assert list(used) == expected
    assert list(reversed(used)) == expected[::-1]


@given(end=st.integers(1, 8), gone=st.frozensets(st.integers(0, 7)), per_page=st.integers(1, 4), parts=st.lists(PARTS))
def test_what_turns_out_gone_is_left_out(end, gone, per_page, parts):
    """It is not counted any more once that is known, and moves nothing that was given out."""
    expected = [str(number) for number in range(end) if number not in gone]
    listing = Listing(Numbers(end, gone), per_page)
    for position, item in enumerate(listing):
        assert listing[position] == item == expected[position]
    assert len(listing) == len(expected)
    for part in parts:
        same(listing, expected, part)


def test_pages_are_read_as_they_are_reached():
    """An index reads up to its page, iteration one page after another, and nothing is read twice."""
    source = Numbers(10)
    listing = Listing(source, per_page=3)
    assert (len(listing), source.loaded) == (10, [])
    assert (listing[1], source.loaded) == ("1", [[0, 1, 2]])
    assert (listing[2:4], source.loaded) == (["2", "3"], [[0, 1, 2], [3, 4, 5]])
    assert list(islice(listing, 6)) == list("012345")
    assert len(source.loaded) == 2
    assert listing[-1] == "9"
    assert [len(page) for page in source.loaded] == [3, 3, 3, 1]
    assert list(listing) == list(map(str, range(10)))
    assert len(source.loaded) == 4


def test_the_cursor_is_behind_what_was_given_out():
    """Not behind what was read: going on with it leaves nothing out and gives nothing twice."""
    listing = Listing(Numbers(10), per_page=4, start="7")
    assert listing.cursor == "7"
    assert len(listing) == 10
    assert listing.cursor == "7"
    next(iter(listing))
    assert listing.cursor == "0"
    assert listing[3:5] == ["3", "4"]
    assert listing[1] == "1"
    assert listing.cursor == "4"


def test_a_listing_can_be_taken_for_an_iterator():
    """`next` gives one item after another, as of W&B's, and iterating begins again all the same."""
    listing = Listing(Numbers(3), per_page=2)
    assert [next(listing), next(listing)] == ["0", "1"]
    assert list(listing) == ["0", "1", "2"]
    assert next(listing) == "2"
    with pytest.raises(StopIteration):
        next(listing)


def test_a_listing_says_what_it_is_and_reads_nothing_for_it():
    """In one line, with the count once it is known."""
    listing = Listing(Numbers(3))
    assert repr(listing) == "<Listing of numbers>"
    assert len(listing) == 3
    assert repr(listing) == "<Listing of numbers (3)>"


@pytest.mark.parametrize("per_page", [0, -1, True, "5", None, 1.5])
def test_a_page_has_at_least_one_item(per_page):
    """Another size is refused at once."""
    with pytest.raises(BadName, match=f"(?m)^bad page size '{per_page}'$") as caught:
        Listing(Numbers(1), per_page)
    assert caught.value.hint == "give a number of items, 1 or more"
    log({"a": "1"})
    with pytest.raises(CommError, match=f"(?m)^bad page size '{per_page}'$"):
        avc.Api().artifacts("dataset", "data", per_page=per_page)


# ---- versions ----------------------------------------------------------------------------------------------


def refused(call: Callable[[], Any]) -> tuple[str, str]:
    """Message and hint of the CommError that *call* ends in."""
    with pytest.raises(CommError) as caught:
        call()
    assert isinstance(caught.value.exc, Exception)
    return str(caught.value), caught.value.hint


def test_what_a_name_cannot_mean():
    """Each failure is a CommError that says what is wrong, and the next step."""
    log({"a": "1"})
    api = avc.Api()
    assert refused(lambda: api.artifact(None)) == ("no artifact named", "write name, name:v3 or name:alias")
    assert refused(lambda: api.artifact("data", type="model")) == (
        "artifact 'data' has type 'dataset', not 'model'", "leave type out",
    )  # fmt: skip
    assert refused(lambda: api.artifact("dat")) == ("no artifact 'dat'", "did you mean 'data'?")
    assert refused(lambda: api.artifact("data:v5")) == (
        "artifact 'data' has no version 'v5'", "the newest version is 'v0'",
    )  # fmt: skip
    assert refused(lambda: api.artifact("ghost/p/data")) == (
        "no entity or remote 'ghost'",
        f"this repository's entity is '{ENTITY}': leave it out, or run 'avc config set entity ghost'",
    )  # fmt: skip
    assert refused(lambda: api.artifact_collection("dataset", f"ghost/{PROJECT}/data"))[0] == (
        "no entity or remote 'ghost'"
    )
    assert refused(lambda: api.artifact("a/b/c/d"))[0] == "too many parts in 'a/b/c/d'"


def test_only_what_is_missing_is_not_there():
    """An entity that is none, or a name that cannot be one, is an error: the answer is not known."""
    log({"a": "1"})
    api = avc.Api()
    assert api.artifact_exists("data", type="dataset")
    assert not api.artifact_exists("data", type="model")
    assert not api.artifact_exists("elsewhere/data")
    assert not api.artifact_collection_exists("data", "model")
    assert api.artifact_collection_exists("data")
    for call in (api.artifact_exists, api.artifact_collection_exists):
        assert refused(lambda call=call: call("ghost/p/data"))[0] == "no entity or remote 'ghost'"
        assert refused(lambda call=call: call("a b"))[0].startswith("bad artifact name")
        assert refused(lambda call=call: call(None))[0] == "no artifact named"


def test_overrides_say_what_names_leave_out():
    """Entity, project and run; another word is an error that names what is near."""
    log({"a": "1"}, project="other")
    api = avc.Api(overrides={"project": "other", "entity": ENTITY, "base_url": "x"}, timeout=5, api_key="none")
    assert api.artifact("data").project == "other"
    assert api.default_entity == ENTITY == avc.Api().default_entity
    assert [run.project for run in api.runs()] == ["other"]
    assert avc.Api(overrides={"run": api.runs()[0].id}).run().project == "other"
    with pytest.raises(UsageError, match=r"(?m)^no override 'projct'$") as caught:
        avc.Api(overrides={"projct": "other"})
    assert caught.value.hint == "did you mean 'project'?"
    with pytest.raises(ValueError, match=r"(?m)^bad project name 'a/b'$"):
        avc.Api(overrides={"project": "a/b"})
    api.flush()


def test_the_repository_is_the_one_that_was_found_first(tmp_path, monkeypatch):
    """An Api that was used keeps its repository, wherever the program goes; one without any says how to begin."""
    log({"a": "1"})
    api, fresh = avc.Api(), avc.Api()
    assert api.artifact_exists("data")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert api.artifact("data").version == "v0"
    message, hint = refused(lambda: fresh.artifact("data"))
    assert message.startswith("no repository at")
    assert "avc init" in hint


@pytest.fixture
def six() -> list[str]:
    """Six versions of data, of which the third was deleted."""
    for i in range(6):
        log({"a": str(i)}, tags=["even"] if i % 2 == 0 else ["odd"])
    avc.Api().artifact("data:v2").delete()
    return ["v5", "v4", "v3", "v1", "v0"]


def told(listing: Any) -> list[str]:
    return [artifact.version for artifact in listing]


@pytest.mark.parametrize("order", [None, "version_index", "+version_index", "-version_index"])
def test_a_listing_goes_on_where_another_stopped(six, order):
    """`start` is the cursor of a listing in the same order; the two are the whole."""
    api = avc.Api()
    expected = six if order in (None, "-version_index") else six[::-1]
    for stop in range(len(six)):
        first = api.artifacts("dataset", "data", order=order, per_page=2)
        seen = [next(first).version for _ in range(stop)]
        rest = api.artifacts("dataset", "data", order=order, per_page=2, start=first.cursor)
        assert len(rest) == len(six) - stop
        assert seen + told(rest) == expected
    assert api.artifacts("dataset", "data").cursor is None


def test_what_was_deleted_after_the_cursor_is_no_matter(six):
    """The version that the cursor names may be gone meanwhile."""
    api = avc.Api()
    listing = api.artifacts("dataset", "data")
    listing[1].delete()
    assert listing.cursor == "v4"
    assert told(api.artifacts("dataset", "data", start=listing.cursor)) == ["v3", "v1", "v0"]


def test_tags_choose_versions(six):
    """One tag or several that all must be there; deleted versions are left out, whatever tags they have."""
    api = avc.Api()
    assert told(api.artifacts("dataset", "data", tags="even")) == ["v4", "v0"]
    assert told(api.artifacts("dataset", "data", tags=["odd"], order="version_index")) == ["v1", "v3", "v5"]
    assert told(api.artifacts("dataset", "data", tags=["odd", "even"])) == []
    assert told(api.artifacts("dataset", "data", tags=[])) == six


def test_what_a_listing_cannot_be_asked(six):
    """A bad order, start or tag is a CommError when the listing is asked for."""
    api = avc.Api()
    assert refused(lambda: api.artifacts("dataset", "data", order="size")) == (
        "bad order 'size'", "use 'version_index' or '-version_index'",
    )  # fmt: skip
    for bad in ("x", "v", "v1.5", "v" + "9" * 16, "²"):
        assert refused(lambda bad=bad: api.artifacts("dataset", "data", start=bad)) == (
            f"bad start '{bad}'", "give the cursor of a listing of versions",
        )  # fmt: skip
    assert refused(lambda: api.artifacts("dataset", "data", tags="a/b"))[0] == "bad tag 'a/b'"
    assert refused(lambda: api.artifacts("model", "data")) == (
        f"artifact '{PROJECT}/data' has type 'dataset', not 'model'", "ask for that type",
    )  # fmt: skip
    assert refused(lambda: api.artifact_versions("dataset", "dato")) == (
        f"no artifact '{PROJECT}/dato'", "did you mean 'data'?",
    )  # fmt: skip


def test_an_artifact_of_another_project_is_hinted_at():
    """Its full name is told."""
    log({"a": "1"}, project="other")
    assert refused(lambda: avc.Api().artifacts("dataset", "data")) == (
        f"no artifact '{PROJECT}/data'", "did you mean 'other/data'?",
    )  # fmt: skip


def test_deleting_what_is_listed_is_safe(six):
    """What one deletes is still given out if it was read; what others delete before it is read is left out."""
    listing = avc.Api().artifacts("dataset", "data", per_page=2)
    seen = []
    for version in listing:
        seen.append(version.version)
        if version.version == "v5":
            avc.Api().artifact("data:v1").delete()
        version.delete(delete_aliases=True)
    assert seen == ["v5", "v4", "v3", "v0"]
    assert len(listing) == 4
    assert told(avc.Api().artifacts("dataset", "data")) == []


def test_an_item_is_the_same_one_when_it_is_asked_for_again():
    """So an edit of an item of a listing can be saved."""
    log({"a": "1"})
    listing = avc.Api().artifacts("dataset", "data")
    assert listing[0] is listing[0] is next(iter(listing))
    listing[0].description = "words"
    listing[0].save()
    assert avc.Api().artifact("data").description == "words"


# ---- what a listing costs -------------------------------------------------------------------------------------


@contextmanager
def statements(root: Path) -> Iterator[list[str]]:
    """What is asked of the index while the block runs."""
    seen: list[str] = []
    connection = at(root).repository.session.avc.connect()
    connection.set_trace_callback(seen.append)
    yield seen
    connection.set_trace_callback(None)


def test_a_listing_costs_the_same_however_many_there_are():
    """Counting and the first page ask as much of 40 versions as of 10, and no byte of a file is read."""
    root = Path.cwd() / ".artifacts"
    asked = []
    for count in (10, 30):
        with avc.init() as run:
            for i in range(count):
                run.log_artifact(draft({"a": bytes([count, i]) * LARGE}, metadata={"i": i}))
        api = avc.Api()
        api.artifact("data")
        with statements(root) as seen:
            listing = api.artifacts("dataset", "data", per_page=5)
            assert len(listing) == len(object_files(Path.cwd()))
            assert listing[4].metadata["i"] == count - 5
        asked.append(len(seen))
        with statements(root) as seen:
            assert len(api.artifacts("dataset", "data")) == len(listing)
        assert len(seen) < 25
    assert asked[0] == asked[1]
    shutil.rmtree(root / "objects")
    assert [version.file_count for version in avc.Api().artifacts("dataset", "data")] == [1] * 40


# ---- artifacts, types, projects ----------------------------------------------------------------------------------


def test_an_artifact_is_asked_for_in_either_spelling():
    """Both at once, or none, is an error."""
    log({"a": "1"})
    api = avc.Api()
    found = api.artifact_collection("dataset", "data")
    assert found == api.artifact_collection(type_name="dataset", name="data")
    assert found == api.artifact_collection(type="dataset", collection=f"{ENTITY}/{PROJECT}/data")
    said = "type_name and type, name and collection, are the same: give one of them"
    assert refused(lambda: api.artifact_collection("dataset", "data", type="dataset"))[0] == said
    assert refused(lambda: api.artifact_collection("dataset", "data", collection="data"))[0] == said
    assert refused(api.artifact_collection) == ("no artifact named", "write api.artifact_collection(type_name, name)")


def test_artifacts_of_a_type_are_listed():
    """By name, or by when they were made; deleted ones are left out, and a listing can go on behind one of them."""
    for name in ("cats", "ants", "dogs", "bees"):
        log({"a": name}, name)
    log({"a": "1"}, "cnn", "model")
    api = avc.Api()
    assert [found.name for found in api.artifact_collections(PROJECT, "dataset")] == ["ants", "bees", "cats", "dogs"]
    made = ["cats", "ants", "dogs", "bees"]
    for order, expected in {"created_at": made, "-created_at": made[::-1], "-name": sorted(made)[::-1]}.items():
        listing = api.artifact_collections(f"{ENTITY}/{PROJECT}", "dataset", order=order, per_page=1)
        assert [found.name for found in listing] == expected
    listing = api.artifact_collections(PROJECT, "dataset", per_page=2)
    assert (listing[1].name, listing.cursor) == ("bees", listing[1].id)
    rest = api.artifact_collections(PROJECT, "dataset", start=listing.cursor)
    assert [found.name for found in rest] == ["cats", "dogs"]
    api.artifact_collection("dataset", "dogs").delete()
    assert [found.name for found in listing] == ["ants", "bees", "cats"]
    assert len(api.artifact_collections(PROJECT, "dataset")) == 3
    gone = api.artifact_collections(PROJECT, "dataset", start="nowhere")
    assert refused(lambda: len(gone)) == (
        "no 'nowhere' in this listing to go on from", "begin it again without start",
    )  # fmt: skip
    assert refused(lambda: api.artifact_collections(PROJECT, "dataset", order="size"))[0] == "no field 'size'"


def test_artifacts_are_filtered():
    """By name, tags and when they were made, of one type or of all."""
    log({"a": "1"}, "cats")
    log({"a": "1"}, "dogs")
    log({"a": "1"}, "cat-model", "model")
    cats = avc.Api().artifact_collection("dataset", "cats")
    cats.tags = ["soft"]
    cats.save()
    kind = avc.Api().artifact_type("dataset")
    assert [found.name for found in kind.collections({"name": {"$regex": "^c"}})] == ["cats"]
    assert [found.name for found in kind.collections({"tags": "soft"})] == ["cats"]
    project = avc.Api().project(PROJECT)
    assert [found.name for found in project.collections({"name": {"$regex": "^c"}})] == ["cat-model", "cats"]
    assert [found.name for found in project.collections(order="-created_at")] == ["cat-model", "dogs", "cats"]
    assert refused(lambda: kind.collections({"state": "x"}))[0] == "no field 'state'"


def test_types_tell_where_they_are():
    """Project and entity; a type that no artifact ever had is an error that says which there are."""
    log({"a": "1"}, "cnn", "model")
    log({"a": "1"}, "scores", "table")
    api = avc.Api()
    kind = api.artifact_type("model")
    assert (kind.name, kind.project, kind.entity, repr(kind)) == ("model", PROJECT, ENTITY, "<ArtifactType model>")
    assert [one.name for one in api.artifact_types(start="model")] == ["table"]
    assert api.artifact_types()[0] == kind
    assert refused(lambda: kind.collection("scores"))[0] == (
        f"artifact '{PROJECT}/scores' has type 'table', not 'model'"
    )
    said = f"no artifact in project '{PROJECT}' has type"
    assert refused(lambda: api.artifact_type("modle")) == (f"{said} 'modle'", "did you mean 'model'?")
    assert refused(lambda: api.artifact_collections(PROJECT, "x")) == (f"{said} 'x'", "its types are model, table")


def test_projects_are_those_where_something_is():
    """The repository's own from the start, others from their first run or artifact."""
    api = avc.Api()
    assert [project.name for project in api.projects()] == [PROJECT]
    with avc.init(project="runs-only"):
        pass
    log({"a": "1"}, "cnn", "model", project="models")
    assert [project.name for project in api.projects(ENTITY, per_page=1)] == ["models", "runs-only", PROJECT]
    project = api.project("models", ENTITY)
    assert (project.name, project.id, project.entity) == ("models", "models", ENTITY)
    assert (project.path, repr(project)) == ([ENTITY, "models"], "<Project models>")
    assert [kind.name for kind in project.artifacts_types()] == ["model"]
    assert project.artifact_type("model").collection("cnn").name == "cnn"
    assert "cnn" in project._repr_html_()


def test_a_project_that_is_none():
    """It is named, with what is near."""
    log({"a": "1"}, project="models")
    api = avc.Api()
    near = ("project 'modles' not found", "did you mean 'models'?")
    for call in (api.project, api.runs, api.artifact_types, lambda name: api.artifact_collections(name, "dataset")):
        assert refused(lambda call=call: call("modles")) == near
    assert refused(lambda: api.project("xyz")) == (
        "project 'xyz' not found", "a project begins with its first run or artifact",
    )  # fmt: skip
    assert refused(lambda: api.project("a/b/c")) == ("bad project 'a/b/c'", "write [entity/]project")
    assert refused(lambda: api.runs(7))[0] == "a path is text, not 'int'"


# ---- runs ------------------------------------------------------------------------------------------------------


def test_a_run_that_is_not_there():
    """Near ids are told, the project that it is in, and that it was deleted."""
    with avc.init(id="training-1", project="p"):
        pass
    api = avc.Api()
    assert api.run("training-1").project == "p"
    assert api.run([ENTITY, "p", "training-1"]).id == "training-1"
    assert refused(lambda: api.run("training-2")) == ("no run 'training-2'", "did you mean 'training-1'?")
    assert refused(lambda: api.run(f"{PROJECT}/training-1")) == (
        f"no run 'training-1' in project '{PROJECT}'", "it is in 'p'",
    )  # fmt: skip
    for bad in ("", "a/b/c/d", "a/b/c/d/e", "/"):
        assert refused(lambda bad=bad: api.run(bad)) == (f"bad run '{bad.strip('/')}'", "write [[entity/]project/]id")
    api.run("training-1").delete()
    assert refused(lambda: api.run("training-1"))[0] == "run 'training-1' was deleted"


@pytest.fixture
def runs() -> list[str]:
    """Five runs in order: three finished with a score or none, one failed, one going on until the test ends."""
    made = []
    for i, acc in enumerate((0.5, None, 0.9)):
        with avc.init(config={"lr": i, "net": {"depth": 10 * i}}, tags=["all", f"t{i}"], notes=f"try {i}") as run:
            if acc is not None:
                run.summary["acc"] = acc
        made.append(run.id)
    with pytest.raises(ZeroDivisionError), avc.init(name="the failure") as failed:
        1 / 0  # noqa: B018
    going = avc.init(job_type="long")
    return [*made, failed.id, going.id]


def test_runs_are_filtered_by_what_they_hold(runs):
    """Rows and details; `tags` are any of them, `name` is the id, `displayName` the name."""
    api = avc.Api()

    def found(filters: Any, **rest: Any) -> list[int]:
        return [runs.index(run.id) for run in api.runs(filters=filters, **rest)]

    assert found(None) == [0, 1, 2, 3, 4]
    assert found({"state": "running"}) == [4]
    assert found({"state": {"$in": ["failed", "crashed"]}}) == [3]
    assert found({"config.net.depth": {"$gte": 10}}) == [1, 2]
    assert found({"config.net.value.depth": 10}) == [1]
    assert found({"summary_metrics.acc": {"$exists": True}}) == [0, 2]
    assert found({"tags": "all"}) == [0, 1, 2]
    assert found({"tags": {"$in": ["t0", "t2"]}}) == [0, 2]
    assert found({"notes": {"$regex": "[12]$"}}) == [1, 2]
    assert found({"name": runs[1]}) == [1]
    assert found({"displayName": "the failure"}) == [3]
    assert found({"displayName": runs[0]}) == [0]
    assert found({"$or": [{"jobType": "long"}, {"config.lr": 0}]}) == [0, 4]
    assert found({"username": ENTITY, "group": ""}) == [0, 1, 2, 3, 4]
    moment = api.run(runs[2]).created_at
    assert found({"created_at": {"$lt": moment}}) == [0, 1]
    assert found({"createdAt": {"$gte": moment}}) == [2, 3, 4]


def test_runs_are_put_in_order(runs):
    """By creation, or by a value, runs without it last."""
    api = avc.Api()

    def found(order: str | None) -> list[int]:
        return [runs.index(run.id) for run in api.runs(order=order)]

    assert found("-created_at") == [4, 3, 2, 1, 0]
    assert found("-summary_metrics.acc") == [2, 0, 1, 3, 4]
    assert found("+summary_metrics.acc") == [0, 2, 1, 3, 4]
    assert found("-config.lr") == [2, 1, 0, 3, 4]
    assert found(None) == found("created_at") == [0, 1, 2, 3, 4]
    assert found("state") == [3, 0, 1, 2, 4]


def test_a_run_whose_process_was_killed_is_found_as_crashed(runs):
    """It is said to go on, and its process is gone."""
    import subprocess
    import sys

    script = "import artifactvc as avc, os, signal\navc.init(id='killed')\nos.kill(os.getpid(), signal.SIGKILL)"
    subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=120)
    api = avc.Api()
    assert [run.id for run in api.runs(filters={"state": "crashed"})] == ["killed"]
    assert [run.id for run in api.runs(filters={"state": "running"})] == runs[4:]
    assert api.run("killed").state == "crashed"


def test_a_filter_that_is_none_is_refused_at_once():
    """When the listing is asked for, as a CommError, which is a ValueError."""
    api = avc.Api()
    assert refused(lambda: api.runs(filters={"config.lr": {"$grt": 1}})) == (
        "no operator '$grt'", "did you mean '$gt'?",
    )  # fmt: skip
    assert refused(lambda: api.runs(filters={"status": "failed"})) == ("no field 'status'", "did you mean 'state'?")
    assert refused(lambda: api.runs(order="accuracy"))[0] == "no field 'accuracy'"


def test_words_of_w_and_bs_that_mean_nothing_are_taken(runs):
    """`include_sweeps` and `lazy` are accepted."""
    assert len(avc.Api().runs(include_sweeps=True, lazy=False)) == 5


@pytest.mark.parametrize(
    "call",
    [
        lambda api: api.registries(),
        lambda api: api.registry("models"),
        lambda api: api.create_registry("models", "restricted"),
        lambda api: api.from_path("a/b/c"),
        lambda api: api.create_run(project="p"),
        lambda api: api.create_project("p", "e"),
        lambda api: api.sweep("a/b/c"),
        lambda api: api.reports("a/b"),
    ],
)
def test_what_needs_a_server_says_what_to_use(call):
    """An UnsupportedError, not a CommError, with the next step."""
    with pytest.raises(UnsupportedError, match=" not supported") as caught:
        call(avc.Api())
    assert caught.value.hint


def test_an_api_says_what_it_is():
    """And shows no secret that it was given."""
    assert repr(avc.Api(api_key="secret")) == "<Api>"


# ---- remotes -----------------------------------------------------------------------------------------------------


@pytest.fixture
def colleague(tmp_path: Path) -> Callable[..., None]:
    """Somebody else, who has pushed two versions of data to ``shared``; called, they log more and push it."""
    where, url = tmp_path / "colleague", tmp_path / "shared"
    where.mkdir()
    with Repository.init(where, project="theirs")[0] as repository:
        repository.remote_add("origin", str(url), options=RemoteOptions())

    def more(*texts: str, **rest: Any) -> None:
        with inside(where):
            for text in texts:
                made = avc.Artifact("data", "dataset", description=f"says {text}", metadata={"text": text})
                with made.new_file("a.txt") as file:
                    file.write(text)
                with avc.init(project="theirs", config={"text": text}, job_type="write") as run:
                    run.log({"length": len(text)})
                    run.log_artifact(made, **rest)
        with Repository.open(where) as repository:
            repository.push()

    more("one", "two", aliases=["best"], tags=["good"])
    return more


def add_remote(name: str, url: Path) -> None:
    with Repository.open() as repository:
        repository.remote_add(name, str(url), options=RemoteOptions())


def test_origin_is_asked_by_its_name(colleague, tmp_path):
    """What was pushed a moment ago is found with no fetch before, and is this repository's from then on."""
    add_remote("origin", tmp_path / "shared")
    api = avc.Api()
    assert not api.artifact_exists("theirs/data:v1")
    assert api.artifact("origin/theirs/data:v1").metadata == {"text": "two"}
    assert api.artifact("theirs/data:best").version == "v1"
    colleague("three", "four")
    assert not api.artifact_exists("theirs/data:v3")
    found = api.artifact("origin/theirs/data:latest")
    assert (found.version, found.description, found.entity) == ("v3", "says four", ENTITY)
    assert Path(found.download(root=tmp_path / "down"), "a.txt").read_text() == "four"
    assert len(api.artifacts("dataset", "theirs/data")) == 4


def test_a_second_remote_is_asked_by_its_name(colleague, tmp_path):
    """Its names are not this repository's; all of it can be looked up and downloaded all the same."""
    add_remote("origin", tmp_path / "origin")
    add_remote("shared", tmp_path / "shared")
    api = avc.Api()
    found = api.artifact("shared/theirs/data:best")
    assert (found.name, found.type, found.project) == ("data:v1", "dataset", "theirs")
    assert (found.description, found.metadata, found.aliases) == ("says two", {"text": "two"}, ["latest", "best"])
    assert Path(found.download(root=tmp_path / "down"), "a.txt").read_text() == "two"
    assert not api.artifact_exists("theirs/data:v1")
    colleague("three")
    assert api.artifact_exists("shared/theirs/data:v2")
    assert not api.artifact_exists("shared/theirs/data:v3")
    assert api.artifact_collection_exists("shared/theirs/data", "dataset")
    assert not api.artifact_collection_exists("shared/theirs/more", "dataset")
    assert names(api.artifacts("dataset", "shared/theirs/data", per_page=1)) == ["data:v2", "data:v1", "data:v0"]
    assert names(api.artifacts("dataset", "shared/theirs/data", tags="good")) == ["data:v1", "data:v0"]
    assert [project.name for project in api.projects("shared")] == ["theirs"]
    assert [kind.name for kind in api.artifact_types("shared/theirs")] == ["dataset"]
    [collection] = api.artifact_collections("shared/theirs", "dataset")
    assert (collection.name, collection.entity, collection.project) == ("data", "shared", "theirs")
    assert names(collection.artifacts()) == ["data:v2", "data:v1", "data:v0"]
    assert refused(lambda: api.artifact("shared/theirs/date")) == (
        "no artifact 'shared/theirs/date'", "did you mean 'data'?",
    )  # fmt: skip


def test_runs_of_a_second_remote(colleague, tmp_path):
    """They are listed, filtered and read; their ids are looked up there."""
    add_remote("origin", tmp_path / "origin")
    add_remote("shared", tmp_path / "shared")
    api = avc.Api()
    first, second = api.runs("shared/theirs")
    assert (first.entity, first.project, first.job_type, first.state) == ("shared", "theirs", "write", "finished")
    assert (first.config, first.summary) == ({"text": "one"}, {"length": 3})
    assert [row["length"] for row in first.history()] == [3]
    assert names(second.logged_artifacts()) == ["data:v1"]
    assert list(second.used_artifacts()) == []
    assert [run.id for run in api.runs("shared/theirs", {"config.text": "two"})] == [second.id]
    found = api.run(second.path)
    assert (found, found.entity, found.config) == (second, "shared", {"text": "two"})
    assert refused(lambda: api.run("shared/theirs/nothing")) == ("no run 'nothing' on remote 'shared'", "")
    assert refused(lambda: api.run(second.id))[0] == f"no run '{second.id}'"


def test_an_override_may_name_a_remote(colleague, tmp_path):
    """Then names without an entity are asked for there."""
    add_remote("origin", tmp_path / "origin")
    add_remote("shared", tmp_path / "shared")
    api = avc.Api(overrides={"entity": "shared", "project": "theirs"})
    assert api.default_entity == "shared"
    assert api.artifact("data:best").metadata == {"text": "two"}
    assert names(api.artifacts("dataset", "data")) == ["data:v1", "data:v0"]
    assert [run.config["text"] for run in api.runs()] == ["one", "two"]
    log({"a": "mine"})
    assert api.artifact(f"{ENTITY}/{PROJECT}/data").version == "v0"


def test_what_is_on_a_second_remote_is_not_changed_from_here(colleague, tmp_path):
    """The error says whose it is, and where it can be changed."""
    add_remote("origin", tmp_path / "origin")
    add_remote("shared", tmp_path / "shared")
    api = avc.Api()
    collection = api.artifact_collection("dataset", "shared/theirs/data")
    collection.description = "mine"
    said = ("is known from remote 'shared' only, and cannot be changed here", "change it in a clone of 'shared'")
    for call in (collection.save, collection.delete):
        assert refused(call) == (f"artifact 'theirs/data' {said[0]}", said[1])
    run = api.runs("shared/theirs")[0]
    log({"a": "1"}, project="theirs")
    version = api.artifact("theirs/data")
    for call in (run.delete, lambda: run.log_artifact(version), lambda: run.use_artifact(version)):
        assert refused(call) == (f"run '{run.id}' {said[0]}", said[1])


def test_a_version_of_a_second_remote_is_an_input(colleague, tmp_path):
    """A run here that used it says so, with its name and project, though its names are not known here."""
    add_remote("origin", tmp_path / "origin")
    add_remote("shared", tmp_path / "shared")
    with avc.init() as run:
        run.use_artifact("shared/theirs/data:best")
    [used] = avc.Api().run(run.id).used_artifacts()
    assert (used.name, used.project, used.description) == ("data:v1", "theirs", "says two")


def test_a_remote_that_cannot_be_reached_is_an_error(colleague, tmp_path):
    """Nothing is answered from what was known before: it may be old. What is known here is still found."""
    add_remote("origin", tmp_path / "origin")
    add_remote("shared", tmp_path / "shared")
    log({"a": "1"})
    api = avc.Api()
    assert api.artifact_exists("shared/theirs/data:v1")
    (tmp_path / "shared").rename(tmp_path / "away")
    for call in (
        lambda: api.artifact("shared/theirs/data:v1"),
        lambda: api.artifact_exists("shared/theirs/data:v1"),
        lambda: api.runs("shared/theirs"),
        lambda: api.artifacts("dataset", "shared/theirs/data"),
    ):
        with pytest.raises(CommError, match="shared' is not there") as caught:
            call()
        assert isinstance(caught.value.exc, RemoteUnavailable)
    assert api.artifact("data").version == "v0"


def test_a_remote_that_was_removed_meanwhile(colleague, tmp_path):
    """What came from it says that it is gone."""
    add_remote("origin", tmp_path / "origin")
    add_remote("shared", tmp_path / "shared")
    listing = avc.Api().artifacts("dataset", "shared/theirs/data")
    run = avc.Api().runs("shared/theirs")[0]
    with Repository.open() as repository:
        repository.remote_remove("shared")
    assert refused(lambda: listing[0])[0] == "no remote 'shared'"
    assert refused(run.history)[0] == "no remote 'shared'"
    assert refused(lambda: avc.Api().runs("shared/theirs"))[0] == "no entity or remote 'shared'"


def test_details_of_many_runs_are_fetched_together_and_only_if_they_are_looked_at(colleague, tmp_path):
    """A clone lists runs without their configs; a filter over them, or reading one, brings those of all at once."""
    colleague("three", "four")
    with Repository.clone(str(tmp_path / "shared"), tmp_path / "clone")[0] as repository:
        root = repository.avc_root
    session = at(root).repository.session
    fetch, fetched = session.fetch_objects, []

    def counted(session: Any, digests: Any) -> Any:
        digests = set(digests)
        fetched.append(len(digests))
        return fetch(session, digests)

    session.fetch_objects = counted
    with inside(tmp_path / "clone"):
        api = avc.Api()
        assert [run.job_type for run in api.runs()] == ["write"] * 4
        assert len(api.runs(filters={"jobType": "write", "state": "finished"}, order="-created_at")) == 4
        assert fetched == []
        listing = api.runs(per_page=3)
        assert listing[0].config == {"text": "one"}
        assert fetched == [3]
        assert [run.config["text"] for run in listing[1:]] == ["two", "three", "four"]
        assert fetched == [3, 1]
        assert len(api.runs(filters={"config.text": {"$regex": "^t"}})) == 2
        assert fetched == [3, 1]
        assert [version.metadata["text"] for version in api.artifacts("dataset", "data", per_page=3)][-1] == "one"
        assert fetched[2:] == [6, 2]


def test_a_remote_with_a_damaged_log_is_a_comm_error(colleague, tmp_path):
    """What a remote sends is not trusted; the message says what is wrong with it."""
    add_remote("origin", tmp_path / "shared")
    entry = max((tmp_path / "shared" / "log").glob("*.json"))
    entry.write_bytes(entry.read_bytes()[:-20])
    message, _ = refused(lambda: avc.Api().artifact("origin/theirs/data"))
    assert re.search("remote 'origin'", message)
