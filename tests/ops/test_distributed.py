"""Versions built by many, one step at a time: what is in, what is not, and who is told (protocol P10)."""

from __future__ import annotations

import json
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from artifactvc.core.entries import LogEntry, encode_entry, entry_digest
from artifactvc.errors import (
    AvcError,
    BadName,
    Conflict,
    Corrupt,
    PathConflict,
    ReadOnly,
    RemoteUnavailable,
    TypeConflict,
    WaitTimeoutError,
)
from artifactvc.ops import draft_places, finishing, runs
from artifactvc.ops.distributed import Expect
from artifactvc.ops.runs import RunStart
from artifactvc.storage.directory import DirectoryTransport
from artifactvc.storage.log import entry_name
from artifactvc.storage.parts import Parts
from tests.faults.helpers import scratch
from tests.ops.distributed import (
    TARGET,
    Two,
    content,
    end,
    entries,
    give_up,
    in_one_repository,
    latest,
    live,
    part,
    producers,
    put,
    with_a_remote,
)
from tests.support import clone, origin, reopen, version


@pytest.fixture(params=["one repository", "a remote"])
def two(request, tmp_path):
    """Two who build together, in both ways in which they can meet."""
    return in_one_repository(tmp_path) if request.param == "one repository" else with_a_remote(tmp_path)


@pytest.fixture
def shared(tmp_path):
    """Two clones that share only a remote."""
    return with_a_remote(tmp_path)


def told(kind: type[AvcError], deed) -> str:
    """What *deed* says as it fails with *kind*, and its hint."""
    with pytest.raises(kind) as caught:
        deed()
    return f"{caught.value.message}; {caught.value.hint}"


# ---- a model: any steps in any order -------------------------------------------------------------------

RUNS = st.sampled_from(["r1", "r2", "R-3"])
FILES = st.dictionaries(st.sampled_from(["a", "b", "d/c", "d/e"]), st.sampled_from("01"), max_size=2)


class Building(RuleBasedStateMachine):
    """Against what dictionaries say: parts of each run, and the versions that came of them."""

    meet = staticmethod(in_one_repository)

    @initialize()
    def begin(self) -> None:
        self._scratch = scratch()
        self.two: Two = self.meet(self._scratch.__enter__())
        self.open: dict[str, dict[str, str]] | None = None
        self.last: tuple[str, dict[str, str]] | None = None  # who finished the last draft, and as what
        self.versions: list[dict[str, str]] = []

    def teardown(self) -> None:
        for repository in self.two.both:
            repository.close()
        self._scratch.__exit__(None, None, None)

    @rule(who=st.integers(0, 1), run=RUNS, files=FILES)
    def put_in(self, who: int, run: str, files: dict[str, str]) -> None:
        """A part is in; the log is written to only to open the draft (or where a finish has failed before)."""
        before = entries(self.two.log)
        put(self.two.both[who], run, files)
        closing = any(self.two.drafts.rglob("closing.json"))
        assert entries(self.two.log) == before + (self.open is None) or closing
        self.open = self.open or {}
        self.open[run] = {**self.open.get(run, {}), **files}

    @rule(who=st.integers(0, 1), run=RUNS, files=FILES)
    def finish(self, who: int, run: str, files: dict[str, str]) -> None:
        repository = self.two.both[who]
        expected = self._expected(run, files)
        if not isinstance(expected, dict):
            said = told(expected, lambda: end(repository, run, files))
            assert TARGET.name in said or expected is PathConflict
            return
        found = end(repository, run, files)
        assert content(repository, found) == expected
        if self.open is not None or not self.last or expected != self.last[1]:
            self.last = (run, expected)
        self.open = None
        if expected not in self.versions:
            self.versions.append(expected)

    def _expected(self, run: str, files: dict[str, str]) -> dict[str, str] | type[AvcError]:
        if self.open is None:
            if self.last is not None and files.items() <= self.last[1].items():
                return self.last[1]
            if not files or (self.last is not None and self.last[0] != run):
                return Conflict
            return files
        parts = {**self.open, run: {**self.open.get(run, {}), **files}}
        whole: dict[str, str] = {}
        for held in parts.values():
            if any(whole.get(path, text) != text for path, text in held.items()):
                return PathConflict
            whole |= held
        return whole

    @rule(who=st.integers(0, 1))
    def give_up(self, who: int) -> None:
        assert give_up(self.two.both[who]) == (self.open is not None)
        if self.open is not None:
            self.open = self.last = None

    @rule(who=st.integers(0, 1))
    def collect(self, who: int) -> None:
        """Whatever is in an open draft is kept."""
        for _ in range(2):
            self.two.both[who].gc(grace="0s")

    @invariant()
    def only_finished_ones_are_seen(self) -> None:
        if hasattr(self, "two"):
            for repository in self.two.both:
                if repository.session.avc.origin:
                    repository.fetch()
                assert live(repository) == [f"v{n}" for n in range(len(self.versions))]


class BuildingApart(Building):
    """The same for clones that share only a remote."""

    meet = staticmethod(with_a_remote)


_EXAMPLES = settings(max_examples=max(12, settings().max_examples // 10), stateful_step_count=14)
TestBuilding = Building.TestCase
TestBuilding.settings = _EXAMPLES
TestBuildingApart = BuildingApart.TestCase
TestBuildingApart.settings = _EXAMPLES


# ---- parts -------------------------------------------------------------------------------------------------


def test_nothing_is_seen_before_the_end(two):
    """No version, no artifact, no alias; then one version with the files of all, in one entry."""
    put(two.one, "r1", {"a": "1"})
    put(two.other, "r2", {"b": "2"})
    for repository in two.both:
        assert live(repository) == []
        assert list(repository.artifacts()) == []
        with pytest.raises(AvcError, match="no artifact"):
            latest(repository)
    before = entries(two.log)
    found = end(two.other, "r3", {"c": "3"})
    assert entries(two.log) == before + 1
    assert (found.shown, content(two.other, found)) == ("v0", {"a": "1", "b": "2", "c": "3"})
    assert producers(two.other, found) == ["r1", "r2", "r3"]
    if two.one.session.avc.origin:
        two.one.pull()
    assert content(two.one, latest(two.one)) == {"a": "1", "b": "2", "c": "3"}
    assert two.one.fsck(full=True).problems == two.other.fsck(full=True).problems == ()


def test_a_part_lists_nothing_and_reads_nobody_elses(two, monkeypatch):
    """So it costs the same however many there are; and the log does not grow."""
    for n in range(5):
        put(two.one, f"r{n}", {f"f{n}": "x"})
    two.other.fetch() if two.other.session.avc.origin else None
    asked: list[str] = []
    read = DirectoryTransport.read

    def noted(self, name, *, limit):
        asked.append(name)
        return read(self, name, limit=limit)

    def no_listing(self, prefix):
        raise AssertionError(f"'{prefix}' was listed")

    monkeypatch.setattr(DirectoryTransport, "read", noted)
    monkeypatch.setattr(DirectoryTransport, "list_names", no_listing)
    before = entries(two.log)
    put(two.other, "mine", {"x": "y"})
    assert entries(two.log) == before
    below = [name.split("/")[2:] for name in asked if name.startswith("drafts/")]
    assert {names[0] for names in below} == {"mine", "closing.json"}
    assert len(asked) <= 6


def test_a_part_that_is_sent_again_changes_nothing(two):
    """From the same process or another one of the same run: no second attempt."""
    for repository in (two.one, two.one, two.other):
        put(repository, "r1", {"a": "1"}, description="mine", metadata={"n": [1, 2]})
    assert len(two.parts()) == 1
    assert content(two.one, end(two.one, "r2")) == {"a": "1"}


def test_what_a_run_puts_in_adds_up(two):
    """In one process or several; at one path what comes later stands."""
    put(two.one, "r1", {"a": "1", "b": "1"}, metadata={"n": 1})
    put(two.other, "r1", {"b": "2", "c": "2"}, metadata={"m": 2})
    put(two.one, "r1", {"d/e": "3"})
    assert [name.split("/", 2)[2] for name in two.parts()] == ["0/part.json", "1/part.json", "2/part.json"]
    found = end(two.other, "r1", {"c": "4"})
    assert content(two.other, found) == {"a": "1", "b": "2", "c": "4", "d/e": "3"}
    assert two.other.show("built:v0").metadata == {"n": 1, "m": 2}
    assert producers(two.other, found) == ["r1"]


def test_one_path_with_other_bytes_names_both_runs(two):
    """There is no version; the run that was wrong puts it right, and the next finish succeeds."""
    put(two.one, "r1", {"d/a": "1", "b": "same"})
    put(two.other, "r2", {"d/a": "2", "b": "same"})
    said = told(PathConflict, lambda: end(two.one, "r3", {"c": "3"}))
    assert said.startswith("'d/a' was put in with other content: run 'r1' and run 'r2' disagree; put the right one in")
    assert live(two.one) == []
    put(two.other, "r2", {"d/a": "1"})
    assert content(two.one, end(two.one, "r3", {"c": "3"})) == {"b": "same", "c": "3", "d/a": "1"}


def test_a_file_where_another_has_a_directory_names_both_runs(two):
    """It could not be written to disk."""
    put(two.one, "r1", {"d": "1"})
    put(two.other, "r2", {"d/a": "2"})
    said = told(PathConflict, lambda: end(two.one, "r2"))
    assert said.startswith("'d' is a file and would be a directory of 'd/a': run 'r1' and run 'r2' disagree")


def test_the_finisher_is_a_writer_like_others(two):
    """Its own files clash with others' like any."""
    put(two.one, "r1", {"a": "1"})
    said = told(PathConflict, lambda: end(two.other, "r2", {"a": "2"}))
    assert "run 'r1' and run 'r2' disagree" in said
    assert content(two.other, end(two.other, "r2", {"a": "1"})) == {"a": "1"}


def test_a_type_that_is_another_is_refused(two):
    """By the draft, and by the artifact that there is; before anything is put in."""
    put(two.one, "r1", {"a": "1"})
    other = replace(TARGET, type="model")
    for deed in (lambda: put(two.other, "r2", {"b": "2"}, other), lambda: end(two.other, "r2", {"b": "2"}, other)):
        assert "'built' already exists with type 'dataset'" in told(TypeConflict, deed)
    assert len(two.parts()) == 1
    end(two.one, "r1")
    assert "with type 'dataset'" in told(TypeConflict, lambda: put(two.other, "r2", {"b": "2"}, other))


def test_bad_names_are_refused(two):
    """Before anything is written."""
    for bad in (replace(TARGET, name=".x"), replace(TARGET, project="a/b"), replace(TARGET, distributed_id="")):
        told(BadName, lambda bad=bad: put(two.one, "r1", {}, bad))
        told(BadName, lambda bad=bad: end(two.one, "r1", {}, bad))
    told(BadName, lambda: put(two.one, "no/run", {}))
    told(BadName, lambda: end(two.one, "r1", {"a": "1"}, aliases=["v3"]))
    assert entries(two.log) == 0


# ---- the end -----------------------------------------------------------------------------------------------


def test_an_end_gives_description_metadata_aliases_and_ttl(two):
    """What the finisher says wins; the rest comes from the parts in the order of their runs."""
    put(two.one, "r2", {"a": "1"}, description="second", metadata={"x": 2, "y": 2})
    put(two.other, "r1", {"b": "2"}, description="first", metadata={"x": 1, "z": 1})
    end(two.one, "r3", metadata={"z": 3}, aliases=["best", "latest", "best"], ttl="30d")
    shown = two.one.show("built:best")
    assert (shown.description, shown.metadata) == ("first", {"x": 2, "z": 3, "y": 2})
    assert (shown.aliases, shown.ttl) == (("latest", "best"), "30d")


def test_a_second_finish_gives_the_same_version(two):
    """With nothing, or with files that are in it already; who asked is one more producer, its aliases are set."""
    put(two.one, "r1", {"a": "1"})
    first = end(two.one, "r2", {"b": "2"})
    runs.start(two.other.session, RunStart("r3", "demo"))
    for again in (end(two.one, "r2", {"b": "2"}), end(two.other, "r3", aliases=["best"])):
        assert (again.shown, again.version["digest"]) == ("v0", first.version["digest"])
    assert live(two.other) == ["v0"]
    assert producers(two.other, again) == ["r1", "r2", "r3"]
    assert two.other.show("built:best").version == "v0"


def test_a_second_finish_with_other_files_is_told(two):
    """It does not make a version of its files alone, unless its run itself was the one that finished before."""
    put(two.one, "r1", {"a": "1"})
    end(two.one, "r2")
    said = told(Conflict, lambda: end(two.other, "r3", {"c": "3"}))
    assert said == (
        "'built' (nightly) was finished as 'demo/built:v0' by run 'r2' without these files; "
        "put them in with upsert_artifact, which begins the next version, and finish that"
    )
    assert live(two.other) == ["v0"]
    assert content(two.one, end(two.one, "r2", {"c": "3"})) == {"c": "3"}
    assert live(two.one) == ["v0", "v1"]


def test_the_same_id_builds_the_next_version_after_an_end(two):
    """A part opens it; what there was stays. A run that took part before is told so."""
    put(two.one, "r1", {"a": "1"})
    end(two.other, "r2")
    put(two.one, "r1", {"a": "2"})
    assert two.one.notices == ["'built' (nightly) was finished by run 'r2': this part begins its next version"]
    put(two.one, "r9", {"b": "2"})
    assert len(two.one.notices) == 1
    second = end(two.other, "r2")
    assert (second.shown, content(two.other, second)) == ("v1", {"a": "2", "b": "2"})
    assert two.other.show("built:v0").digest != second.version["digest"]


def test_many_versions_of_one_id(two):
    """Each is built for itself."""
    for n in range(9):
        put(two.both[n % 2], f"r{n}", {"a": str(n)})
        assert end(two.both[n % 2], "last").shown == f"v{n}"


def test_content_that_is_a_version_already_gives_that_one(two):
    """With its producers; no second version (design, section 2)."""
    put(two.one, "r1", {"a": "1"})
    end(two.one, "r2", description="said once")
    put(two.other, "r3", {"a": "1"})
    found = end(two.other, "r4", description="said again")
    assert found.shown == "v0"
    assert "what 'built' became is a version already (its description and metadata stay)" in two.other.notices
    assert two.other.show("built:v0").description == "said once"
    assert producers(two.other, found) == ["r1", "r2", "r3", "r4"]


def test_there_must_be_something_to_finish(two):
    """A wrong id makes no empty version."""
    said = told(Conflict, lambda: end(two.one, "r1"))
    assert said.startswith("there is nothing to finish: no run has put a part into 'built' (nightly); check project")
    put(two.one, "r1", {"a": "1"})
    daily = replace(TARGET, distributed_id="daily")
    assert "into 'built' (daily)" in told(Conflict, lambda: end(two.one, "r1", target=daily))
    end(two.one, "r1")
    two.one.delete("built:v0", delete_aliases=True)
    if two.one.session.avc.origin is None:
        told(Conflict, lambda: end(two.one, "r2"))


def test_one_who_finishes_alone_may(two):
    """With files and no parts it is a version like any."""
    assert content(two.one, end(two.one, "r1", {"a": "1"})) == {"a": "1"}


def test_ids_and_names_do_not_mix(two):
    """Each artifact and id has parts of its own; names that differ in case are one name."""
    put(two.one, "r1", {"a": "1"})
    put(two.one, "r2", {"b": "2"}, replace(TARGET, distributed_id="daily"))
    put(two.one, "r3", {"c": "3"}, replace(TARGET, name="other"))
    put(two.other, "r4", {"d": "4"}, replace(TARGET, name="BUILT"))
    assert content(two.one, end(two.one, "r9")) == {"a": "1", "d": "4"}
    assert content(two.one, end(two.one, "r9", target=replace(TARGET, distributed_id="daily"))) == {"b": "2"}


def test_a_draft_that_is_given_up_becomes_nothing(two):
    """Who puts in a part afterwards begins anew."""
    assert not give_up(two.one)
    put(two.one, "r1", {"a": "1"})
    assert give_up(two.other)
    assert not give_up(two.one)
    told(Conflict, lambda: end(two.one, "r2"))
    put(two.other, "r3", {"b": "2"})
    assert content(two.one, end(two.one, "r2")) == {"b": "2"}


# ---- between two steps -----------------------------------------------------------------------------------------


def between(monkeypatch, where, name: str, deed, *, before: bool) -> list[int]:
    """Let *deed* happen once, just before or just after the next call of ``where.name``."""
    real, happened = getattr(where, name), []

    def wrapped(*arguments, **options):
        first = not happened
        happened.append(1)
        if first and before:
            deed()
        answer = real(*arguments, **options)
        if first and not before:
            deed()
        return answer

    monkeypatch.setattr(where, name, wrapped)
    return happened


def test_a_part_that_comes_too_late_is_told(two, monkeypatch):
    """The draft was finished while the part was on its way: it is in no version; sent again it begins the next."""
    put(two.one, "r1", {"a": "1"})
    happened = between(monkeypatch, Parts, "create", lambda: end(two.one, "r3"), before=True)
    said = told(Conflict, lambda: put(two.other, "r2", {"b": "2"}))
    assert happened
    assert said == (
        "'built' (nightly) was finished by run 'r3' before this part of run 'r2' was in; "
        "call upsert_artifact again: the part then begins the next version"
    )
    assert content(two.one, latest(two.one)) == {"a": "1"}
    put(two.other, "r2", {"b": "2"})
    assert content(two.one, end(two.one, "r3")) == {"b": "2"}


def test_a_part_given_up_meanwhile_is_told(two, monkeypatch):
    """If a finish was tried, so that there is a mark."""
    put(two.one, "r1", {"a": "1"})
    put(two.one, "r2", {"a": "2"})
    told(PathConflict, lambda: end(two.one, "r3"))
    between(monkeypatch, Parts, "create", lambda: give_up(two.one), before=True)
    said = told(Conflict, lambda: put(two.other, "r4", {"b": "2"}))
    assert said.startswith("'built' (nightly) was given up before this part of run 'r4' was in")


def test_a_part_that_is_there_just_in_time_is_taken(two, monkeypatch):
    """The finish comes between the part's creation and the writer's last look."""
    put(two.one, "r1", {"a": "1"})
    between(monkeypatch, Parts, "create", lambda: end(two.one, "r3"), before=False)
    put(two.other, "r2", {"b": "2"})
    assert content(two.one, latest(two.one)) == {"a": "1", "b": "2"}


def test_a_part_that_comes_while_others_are_merged_is_taken(two, monkeypatch):
    """Its writer was told that it is in: the finish lists once more before its entry."""
    put(two.one, "r1", {"a": "1"})
    happened = between(monkeypatch, finishing, "_merge", lambda: put(two.other, "r2", {"b": "2"}), before=False)
    found = end(two.one, "r3")
    assert len(happened) == 2
    assert content(two.one, found) == {"a": "1", "b": "2"}


def test_a_part_that_comes_after_the_last_listing_is_taken_or_told(two, monkeypatch):
    """The smallest gap: after the finish has listed for the last time, before its entry is there."""
    put(two.one, "r1", {"a": "1"})
    outcome: list[str] = []

    def late() -> None:
        def work() -> None:
            try:
                put(two.other, "r2", {"b": "2"})
                outcome.append("in")
            except Conflict:
                outcome.append("told")

        thread = threading.Thread(target=work)
        thread.start()
        thread.join(1.0)  # on one index the writer waits for the entry; on a remote it is faster
        threads.append(thread)

    threads: list[threading.Thread] = []
    between(monkeypatch, finishing, "finishing", late, before=True)
    found = end(two.one, "r3")
    threads[0].join(60)
    if "b" in content(two.one, found):
        assert outcome == ["in"]
    elif outcome == ["in"]:  # it began when the entry was there: the next version is its
        assert content(two.one, end(two.one, "r3")) == {"b": "2"}


def test_who_finishes_second_gets_the_version_of_the_first(two, monkeypatch):
    """Both were at it: one entry, and the other's files are in it or it is told."""
    put(two.one, "r1", {"a": "1"})
    between(monkeypatch, finishing, "_land", lambda: end(two.other, "r3", {"b": "2"}), before=True)
    found = end(two.one, "r2", {"b": "2"})
    assert (found.shown, live(two.one)) == ("v0", ["v0"])
    put(two.one, "r1", {"a": "2"})
    monkeypatch.undo()
    between(monkeypatch, finishing, "_land", lambda: end(two.other, "r3", {"b": "2"}), before=True)
    said = told(Conflict, lambda: end(two.one, "r2", {"c": "2"}))
    assert "was finished as 'demo/built:v1' by run 'r3' without these files" in said
    assert live(two.one) == ["v0", "v1"]


def test_two_parts_of_one_run_at_once(two, monkeypatch):
    """Two processes of one run take the same number: one of them takes the next, with both in it."""
    put(two.one, "r1", {"a": "1"})
    between(monkeypatch, Parts, "create", lambda: put(two.one, "r1", {"b": "2"}), before=True)
    put(two.other, "r1", {"c": "3"})
    assert content(two.one, end(two.one, "r2")) == {"a": "1", "b": "2", "c": "3"}


def test_two_who_open_at_once(two, monkeypatch):
    """One entry opens the draft; both parts are in it."""
    real = draft_places.Here.append if two.one.session.avc.origin is None else draft_places.Origin.append
    owner = draft_places.Here if real is draft_places.Here.append else draft_places.Origin
    between(monkeypatch, owner, "append", lambda: put(two.one, "r1", {"a": "1"}), before=True)
    put(two.other, "r2", {"b": "2"})
    assert entries(two.log) == 1
    assert content(two.one, end(two.one, "r3")) == {"a": "1", "b": "2"}


# ---- waiting ---------------------------------------------------------------------------------------------------


def test_a_finish_waits_for_as_many_as_it_expects(two):
    """It goes on when the last of them is in; runs count, not parts."""
    put(two.one, "r1", {"a": "1"})
    put(two.one, "r1", {"b": "1"})

    def later() -> None:
        time.sleep(0.3)
        put(two.other, "r2", {"c": "2"})

    thread = threading.Thread(target=later)
    thread.start()
    found = end(two.one, "r3", expect=Expect(2, 60))
    thread.join()
    assert content(two.one, found) == {"a": "1", "b": "1", "c": "2"}


def test_a_finish_that_waits_too_long_says_how_many_are_in(two):
    """And makes nothing."""
    put(two.one, "r1", {"a": "1"})
    said = told(WaitTimeoutError, lambda: end(two.one, "r3", expect=Expect(3, 0.2)))
    assert said.startswith("1 of 3 runs have put in a part of 'built' (nightly) after 0.2 seconds; wait longer")
    assert live(two.one) == []
    assert end(two.one, "r3").shown == "v0"


def test_a_finish_that_waits_sees_that_another_was_faster(two):
    """It gives that version."""
    put(two.one, "r1", {"a": "1"})
    thread = threading.Thread(target=lambda: (time.sleep(0.3), end(two.other, "r2")))
    thread.start()
    found = end(two.one, "r3", expect=Expect(5, 60))
    thread.join()
    assert (found.shown, content(two.one, found)) == ("v0", {"a": "1"})


# ---- collection, in one repository -------------------------------------------------------------------------------


@pytest.fixture
def alone(tmp_path):
    return in_one_repository(tmp_path)


def collect(repository) -> None:
    for _ in range(2):
        repository.gc(grace="0s")


def test_parts_are_kept_until_the_draft_ends(alone):
    """Also those of a run whose process is gone; then they go after the grace, and the version stays."""
    put(alone.one, "r1", {"a": "1" * 200_000, "b": "2"})
    alone.one.close()
    here = reopen(alone.other.root)
    collect(here)
    found = end(here, "r2", {"c": "3"})
    assert len(content(here, found)) == 3
    here.gc(grace="1d")
    assert len(alone.parts()) == 1
    collect(here)
    assert alone.parts() == []
    assert here.fsck(full=True).problems == ()
    assert len(content(here, found)) == 3


def test_parts_of_a_draft_that_was_given_up_are_collected(alone):
    """Bytes and documents."""
    put(alone.one, "r1", {"a": "1" * 200_000})
    give_up(alone.one)
    alone.one.close()
    here = reopen(alone.other.root)
    collect(here)
    assert alone.parts() == []
    assert not any(path.is_file() for path in (here.avc_root / "objects").rglob("*"))


def test_a_part_that_cannot_be_read_stops_gc(alone):
    """What it keeps cannot be told (protocol L4)."""
    put(alone.one, "r1", {"a": "1"})
    (alone.drafts / alone.parts()[0]).write_bytes(b"{}")
    said = told(Corrupt, lambda: alone.one.gc(grace="0s"))
    assert "part 'r1/0' of draft '" in said
    assert f"remove 'drafts/{alone.parts()[0].removesuffix('/part.json')}' and put the part in again" in said
    told(Corrupt, lambda: end(alone.one, "r2"))
    give_up(alone.one)
    collect(alone.one)


def test_an_index_that_was_lost_is_made_again(alone):
    """Who built what, and which drafts are open, stands in the log."""
    put(alone.one, "r1", {"a": "1"})
    end(alone.one, "r2")
    put(alone.one, "r3", {"b": "2"})
    for repository in alone.both:
        repository.close()
    (alone.one.avc_root / "index.sqlite").unlink()
    here = reopen(alone.one.root)
    assert producers(here, latest(here)) == ["r1", "r2"]
    assert content(here, end(here, "r4")) == {"b": "2"}


# ---- origin ----------------------------------------------------------------------------------------------------


def test_a_clone_has_it_all(shared, tmp_path):
    """Objects are where the entry's index says; runs that were never pushed are known by name and group."""
    for repository, run in ((shared.one, "r1"), (shared.other, "r2")):
        runs.start(repository.session, RunStart(run, "demo", job_type="train", group="g"))
    put(shared.one, "r1", {f"many/{n}": f"{n}" * 50 for n in range(300)} | {"large": "1" * 200_000})
    put(shared.other, "r2", {"b": "2", "many/0": "0" * 50})
    end(shared.other, "r2", {"c": "3"}, description="all")
    third = clone(tmp_path / "remote", tmp_path / "third")
    third.pull()
    assert len(content(third, latest(third))) == 303
    assert third.fsck(full=True).problems == ()
    shown = third.show("built")
    assert (shown.description, shown.produced_by) == ("all", ("r1", "r2"))
    assert {runs.info(third.session, run).group for run in ("r1", "r2")} == {"g"}
    for repository in shared.both:
        repository.push()
    third.pull()
    assert {runs.info(third.session, run).state for run in ("r1", "r2")} == {"running"}
    version(third, {"x": "y"})
    third.push()
    assert third.fsck(full=True).problems == ()


def test_what_is_on_origin_is_not_sent_again(shared, tmp_path):
    """Neither what a live version has, nor what parts have brought: a finish sends nodes only."""
    big = "1" * 300_000
    version(shared.one, {"big": big}, name="old")
    shared.one.push()
    packs = tmp_path / "remote" / "packs"

    def stored() -> int:
        return sum(path.stat().st_size for path in packs.rglob("*") if path.is_file())

    before = stored()
    put(shared.other, "r1", {"same": big})
    assert stored() - before < 10_000
    put(shared.one, "r2", {"fresh": "2" * 300_000})
    before = stored()
    end(shared.other, "r3")
    assert stored() - before < 10_000


def test_a_run_sends_what_it_adds_and_no_more(shared, tmp_path):
    """However much it has put in before, in whichever clone; and what is the same at another path not again."""
    packs = tmp_path / "remote" / "packs"
    for n in range(6):
        before = sum(path.stat().st_size for path in packs.rglob("*") if path.is_file())
        put(shared.both[n % 2], "r1", {f"f{n}": str(n) * 200_000, "empty": ""})
        assert sum(path.stat().st_size for path in packs.rglob("*") if path.is_file()) - before < 210_000
    found = end(shared.other, "r2")
    assert content(shared.other, found) == {"empty": "", **{f"f{n}": str(n) * 200_000 for n in range(6)}}


def test_unpushed_work_under_the_same_name_is_one_artifact(shared):
    """It keeps its id, and its versions move up behind the one that origin has."""
    version(shared.one, {"x": "y"}, name="built")
    put(shared.other, "r1", {"a": "1"})
    assert end(shared.one, "r2").shown == "v0"
    assert live(shared.one) == ["v0", "v1~"]
    shared.one.push()
    shared.other.pull()
    assert live(shared.other) == ["v0", "v1"]


def test_origin_that_is_gone_is_an_error(shared, tmp_path):
    """Never a version that is only here; the hint says how to have one."""
    put(shared.one, "r1", {"a": "1"})
    shutil.move(tmp_path / "remote", tmp_path / "away")
    for deed in (
        lambda: put(shared.one, "r1", {"b": "2"}),
        lambda: end(shared.one, "r1", {"b": "2"}),
        lambda: give_up(shared.one),
    ):
        assert told(RemoteUnavailable, deed).endswith(
            "to build it in this repository alone: 'avc config set distributed.origin false'"
        )
    assert live(shared.one) == []
    shutil.move(tmp_path / "away", tmp_path / "remote")
    assert content(shared.one, end(shared.one, "r1", {"b": "2"})) == {"a": "1", "b": "2"}


def test_origin_that_can_only_be_read(shared):
    """Is said with the same hint."""
    shared.one.session.avc.edit_config(lambda config: config["remotes"]["origin"].update(read_only=True))
    again = reopen(shared.one.root)
    assert "distributed.origin false" in told(ReadOnly, lambda: put(again, "r1", {"a": "1"}))


def test_the_setting_builds_here_alone(shared):
    """The version is provisional until it is pushed; drafts of two clones do not meet."""
    for repository in shared.both:
        repository.config_set("distributed.origin", "false")
    put(shared.one, "r1", {"a": "1"})
    put(shared.other, "r2", {"b": "2"})
    one, other = end(shared.one, "r3"), end(shared.other, "r4")
    assert (one.shown, content(shared.one, one)) == ("v0~", {"a": "1"})
    assert content(shared.other, other) == {"b": "2"}
    shared.one.push()
    shared.other.push(join=True)
    shared.one.pull()
    assert live(shared.one) == ["v0", "v1"]
    assert producers(shared.one, latest(shared.one)) == ["r2", "r4"]
    with pytest.raises(AvcError, match="'maybe' is neither true nor false"):
        shared.one.config_set("distributed.origin", "maybe")


def test_what_was_begun_before_there_was_an_origin_is_not_split(tmp_path):
    """Parts that lie here would be left out: it is said, and the setting finishes it."""
    here = in_one_repository(tmp_path)
    put(here.one, "r1", {"a": "1"})
    origin(here.one, tmp_path / "remote")
    here = reopen(here.one.root)
    for deed in (lambda: put(here, "r2", {"b": "2"}), lambda: end(here, "r2")):
        said = told(Conflict, deed)
        assert said.startswith("'built' (nightly) was begun in this repository alone; 'avc config set distributed")
    here.config_set("distributed.origin", "false")
    assert content(here, end(here, "r2")) == {"a": "1"}
    here.config_set("distributed.origin", "true")
    put(here, "r3", {"c": "3"})
    assert content(here, end(here, "r3")) == {"c": "3"}


def condemn(two: Two, files: list[str]) -> None:
    """An entry of somebody else's in origin's log that condemns stored files."""
    n = entries(two.log)
    before = entry_digest((two.log / entry_name(n - 1)).read_bytes())
    record = {"kind": "condemn", "files": files}
    entry = LogEntry(n, "ab" * 16, "cd" * 16, before, "x", "2026-01-01T00:00:00.000000Z", "gc", (record,))
    (two.log / entry_name(n)).write_bytes(encode_entry(entry))


def test_what_was_condemned_meanwhile_is_sent_again_or_missed(shared, tmp_path):
    """No version without its bytes (protocol P2, P3): who has them sends them anew, who has not is told."""
    put(shared.one, "r1", {"a": "1" * 200_000})
    packs = tmp_path / "remote" / "packs"
    files = [path for path in packs.rglob("*") if path.is_file()]
    condemn(shared, [path.relative_to(packs).as_posix() for path in files])
    for path in files:
        path.unlink()
    assert "nothing to finish" in told(Conflict, lambda: end(shared.other, "r2"))
    assert "the last part of run 'r1' is not taken" in " ".join(shared.other.notices)
    assert live(shared.other) == []
    found = end(shared.one, "r2")
    shared.other.pull()
    assert content(shared.other, latest(shared.other)) == content(shared.one, found) == {"a": "1" * 200_000}


def test_who_lacks_the_bytes_copies_them_from_a_condemned_file(shared, tmp_path):
    """While it is there (protocol P6); what was copied stands in files that are not condemned."""
    put(shared.one, "r1", {"a": "1" * 200_000, "b": "small"})
    packs = tmp_path / "remote" / "packs"
    files = [path for path in packs.rglob("*") if path.is_file()]
    condemn(shared, [path.relative_to(packs).as_posix() for path in files])
    found = end(shared.other, "r2")
    for path in files:
        path.unlink()
    third = clone(tmp_path / "remote", tmp_path / "third")
    third.pull()
    assert content(third, latest(third)) == content(shared.other, found) == {"a": "1" * 200_000, "b": "small"}


def test_a_condemnation_between_sending_and_the_part_is_seen(shared, tmp_path, monkeypatch):
    """A part whose files were condemned and removed before it named them is sent again (protocol P2)."""
    packs = tmp_path / "remote" / "packs"
    seen = []

    def lost() -> None:
        if not seen:
            seen.extend(path for path in packs.rglob("*") if path.is_file())
            condemn(shared, [path.relative_to(packs).as_posix() for path in seen])
            for path in seen:
                path.unlink()

    between(monkeypatch, Parts, "create", lost, before=True)
    put(shared.one, "r1", {"a": "1" * 200_000})
    assert seen
    end(shared.other, "r2")
    third = clone(tmp_path / "remote", tmp_path / "third")
    third.pull()
    assert content(third, latest(third)) == {"a": "1" * 200_000}


class Killed(BaseException):
    """A process that ends here."""


def broken_off(shared: Two, remote: Path, monkeypatch, run: str, files: dict[str, str]) -> None:
    """*run* puts a part in that relies on what origin had; that is collected, and the run killed, before it knows."""
    packs = remote / "packs"

    def collected() -> None:
        gone = [path for path in packs.rglob("*") if path.is_file()]
        condemn(shared, [path.relative_to(packs).as_posix() for path in gone])
        for path in gone:
            path.unlink()

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        between(patched, Parts, "create", collected, before=True)
        patched.setattr(draft_places.Origin, "holds", killed)
        with pytest.raises(Killed):
            put(shared.one, run, files)


def test_a_part_that_was_broken_off_is_sent_again(shared, tmp_path, monkeypatch):
    """Its writer calls again, and is told that the part is in only when all bytes of it are (protocol P2)."""
    broken_off(shared, tmp_path / "remote", monkeypatch, "r1", {"a": "1" * 200_000})
    put(shared.one, "r1", {"a": "1" * 200_000})
    assert content(shared.other, end(shared.other, "r2")) == {"a": "1" * 200_000}


def test_a_part_that_was_broken_off_does_not_stop_others(shared, tmp_path, monkeypatch):
    """It never was in: others are finished without it, and its writer is told so (protocol P10)."""
    broken_off(shared, tmp_path / "remote", monkeypatch, "r1", {"a": "1" * 200_000})
    assert "nothing to finish" in told(Conflict, lambda: end(shared.other, "r2"))  # there is no other
    put(shared.other, "r2", {"b": "2"})
    assert content(shared.other, end(shared.other, "r3")) == {"b": "2"}
    assert "the last part of run 'r1' is not taken" in " ".join(shared.other.notices)
    put(shared.one, "r1", {"a": "1" * 200_000})
    assert content(shared.one, end(shared.one, "r1")) == {"a": "1" * 200_000}


def test_a_condemnation_while_it_is_finished_is_seen(shared, tmp_path, monkeypatch):
    """The entry is planned again, and its objects are asked for again (protocol P2)."""
    put(shared.one, "r1", {"a": "1" * 200_000})
    packs = tmp_path / "remote" / "packs"

    def condemned() -> None:
        condemn(shared, [path.relative_to(packs).as_posix() for path in packs.rglob("*") if path.is_file()])

    between(monkeypatch, finishing, "finishing", condemned, before=True)
    end(shared.one, "r2")
    third = clone(tmp_path / "remote", tmp_path / "third")
    third.pull()
    assert content(third, latest(third)) == {"a": "1" * 200_000}


def test_a_part_from_elsewhere_is_checked(shared, tmp_path):
    """A manifest that would climb out of a directory makes no version (protocol H1)."""
    put(shared.one, "r1", {"a": "1"})
    prepared = part(shared.one, "r2", {}).prepared
    line = json.dumps(["../x", "f", 1, "0" * 64], separators=(",", ":")).encode() + b"\n"
    with shared.one.session.avc.writing(), shared.one.session.avc.writer() as writer:
        bad = writer.put_node(line)
    monkey = draft_places.Origin(shared.one.session, shared.one.session.remote("origin"))
    monkey.read()
    draft = shared.drafts.iterdir().__next__().name
    parts = monkey.parts(draft)
    place = monkey._upload({bad: len(line)})
    good = parts.last("r1")
    assert good is not None
    hostile = replace(good, writer="r2", root=bad, index=parts.store_index("r2/0", "0" * 16, place))
    assert parts.create(hostile)
    told(Corrupt, lambda: end(shared.other, "r3"))
    assert live(shared.other) == []
    assert prepared.root(shared.one.session).count == 0


def test_a_part_whose_nodes_are_not_what_they_say_is_refused(shared):
    """Bytes are checked against their digest before they are used (protocol H3)."""
    put(shared.one, "r1", {"a": "1"})
    [pack] = list((shared.drafts.parent / "packs").rglob("*.pack"))
    pack.chmod(0o644)
    pack.write_bytes(pack.read_bytes().replace(b'["a","f",1', b'["b","f",1'))
    told(Corrupt, lambda: end(shared.other, "r2"))
    assert live(shared.other) == []


@pytest.mark.servers
def test_two_clones_that_share_a_bucket(s3_server, tmp_path, monkeypatch):
    """The same over S3: parts, a late one, a conflict, the end, and a clone."""
    for name, value in s3_server.env.items():
        monkeypatch.setenv(name, value)
    url = f"s3://{s3_server.bucket()}/team"
    two = with_a_remote(tmp_path, url)
    put(two.one, "r1", {"a": "1", "large": "1" * 200_000})
    put(two.other, "r2", {"a": "2"})
    assert "run 'r1' and run 'r2' disagree" in told(PathConflict, lambda: end(two.one, "r3"))
    put(two.other, "r2", {"a": "1", "b": "2"})
    between(monkeypatch, Parts, "create", lambda: end(two.one, "r3", {"c": "3"}, expect=Expect(2, 60)), before=True)
    told(Conflict, lambda: put(two.other, "r4", {"d": "4"}))
    third = clone(url, tmp_path / "third")
    third.pull()
    assert content(third, latest(third)) == {"a": "1", "b": "2", "c": "3", "large": "1" * 200_000}
    assert end(third, "r9").shown == "v0"
    assert third.fsck(full=True).problems == ()


@pytest.mark.servers
@pytest.mark.parametrize("when", ["before", "after"])
def test_answers_that_are_lost_make_nothing_twice(moto, tmp_path, monkeypatch, when):
    """Whether it was done or not (protocol P8): one part of each run, one version, one entry that ends the draft."""
    for name, value in moto.env.items():
        monkeypatch.setenv(name, value)
    url = f"s3://{moto.bucket()}/team"
    two = with_a_remote(tmp_path, url)
    lost = [
        {"method": "PUT", "path": path, "abort": True, "when": when, "times": 1}
        for path in ("part\\.json", "closing\\.json", "log/", "index", "packs/")
    ]
    moto.faults(lost)
    put(two.one, "r1", {"a": "1"})
    moto.faults(lost)
    put(two.other, "r2", {"b": "2"})
    found = end(two.one, "r3", {"c": "3"})
    assert content(two.one, found) == {"a": "1", "b": "2", "c": "3"}
    two.other.pull()
    assert live(two.other) == ["v0"]
    kept = two.other.session.remote("origin").log
    records = [record["kind"] for entry, _ in kept.since(0, None) for record in entry.records]
    assert sorted(records) == ["artifact", "draft", "finish", "version"]
    assert end(two.other, "r4").shown == "v0"
