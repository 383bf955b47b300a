"""How long versions live: set, shown, refused; and who may set it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from artifactvc.core import names
from artifactvc.core.identity import parse_identity
from artifactvc.errors import BadName, BadValue, Conflict, NotAnEditor, NothingToUndo, UsageError
from artifactvc.ops import versions
from artifactvc.sdk.repository import Repository
from artifactvc.storage.database import discard
from artifactvc.util.text import format_time, parse_time
from tests.support import clone, inside, new, origin, reopen, tree, version, write


@pytest.fixture
def data(tmp_path):
    """A repository with data:v0 and data:v1, of somebody called `tester`."""
    with new(tmp_path / "ws") as repository:
        for n in range(2):
            version(repository, {"a": str(n)})
        yield repository


def entries(repository: Repository) -> int:
    return len(list((repository.avc_root / "log").glob("*.json")))


# ---- set and shown ---------------------------------------------------------------------------------------


def test_set_and_shown(data):
    """Its own time, when that is over, and which rule says so; what is set again makes no entry."""
    (told,) = data.ttl("data:v0").versions
    assert (told.ttl, told.expires, told.why, told.over) == (None, None, "it has no time to live", False)
    (told,) = data.set_ttl(["data:v0"], "30d").versions
    assert told.expires == format_time(parse_time(told.created) + timedelta(days=30))
    assert (told.ttl, told.why) == ("30d", "its time to live of 30d")
    assert data.show("data:v0").expires == told.expires
    assert [info.expires for info in data.log("data")] == [None, told.expires]
    before = entries(data)
    assert not data.set_ttl(["data:v0", "data:v0"], "30d").changed
    assert entries(data) == before
    assert data.set_ttl(["data:v0", "data:v1"], "none").changed
    assert entries(data) == before + 1
    assert [one.why for one in data.ttl("data:v0", "data:v1").versions] == ["it is kept for ever"] * 2
    assert data.set_ttl(["data:v0"], "inherit").versions[0].ttl is None


def test_the_default_is_shown_where_it_counts(data):
    """And why it does not where it does not."""
    data.set_default_ttl("90d")
    v0, v1 = data.ttl("data:v0", "data:v1").versions
    assert (v0.why, v0.ttl) == ("the default time to live of 90d", None)
    assert data.show("data:v0").expires == v0.expires == format_time(parse_time(v0.created) + timedelta(days=90))
    assert (v1.why, v1.expires) == ("the default of 90d spares the newest version", None)
    data.alias("data:v0", ["best"])
    assert data.ttl("data:v0").versions[0].why == "the default of 90d spares what has an alias ('best')"
    assert data.show("data:v0").expires is None
    data.set_default_ttl("none")
    assert data.ttl("data:v0").default is None


def test_over_at_once_is_said(data):
    """Nothing goes by it: that is for expire and gc."""
    created = parse_time(data.show("data:v0").created)
    data.session.clock = lambda: format_time(created + timedelta(days=40))
    (told,) = data.set_ttl(["data:v0"], "30d").versions
    assert told.over
    assert data.show("data:v0").state == "live"
    data.set_ttl(["data:v0"], "inherit")
    data.set_default_ttl("30d")
    assert any(note.startswith("1 version of project 'demo' is over already") for note in data.notices)
    assert [info.version for info in data.log("data")] == ["v1", "v0"]


def test_types_that_tools_make_have_none(data, monkeypatch):
    """To set one on such a version is an error that says so, wherever it is given (F86)."""
    write(data.root, {"table": "1"})
    monkeypatch.setattr(names, "check_type", lambda kind: kind)  # else nobody but a log from elsewhere has one
    data.put(str(data.root / "table"), name="table", type="run_table")
    before = entries(data)
    message = "an artifact of type 'run_table' has no time to live"
    with pytest.raises(BadValue, match=message):
        data.set_ttl(["data:v0", "table"], "30d")
    found = data.ttl("table").versions[0]
    assert found.why == "what tools make has none (type 'run_table')"
    artifact = next(one for one in data.artifacts() if one.name == "table")
    with pytest.raises(BadValue, match=message):
        versions.save(data.session, artifact.id, data.show("table").digest, versions.Changes(ttl="none"))
    write(data.root, {"table": "2"})
    with inside(data.root):
        data.add(["table", "data"], to=None)
        data.add(["table"], to="table")
        with pytest.raises(BadValue, match=message):
            data.commit(ttl="1d")
    assert entries(data) == before
    data.set_default_ttl("1s")
    assert data.show("table:v0").expires is None


def test_content_that_is_there_keeps_its_time(data):
    """A commit of it with another says so."""
    data.set_ttl(["data:v0"], "30d")
    write(data.root / "data", {"a": "0"})
    with inside(data.root):
        data.add(["data"])
        (done,) = data.commit(ttl="1d")
    assert (done.version, done.note) == ("v0", "content is already v0 (its time to live stays)")
    assert data.show("data:v0").ttl == "30d"


@pytest.mark.parametrize("text", ["", "30", "0d", "soon", "-1d", "1.5d", "NONE"])
def test_what_is_no_time(data, text):
    """An error, and nothing recorded."""
    before = entries(data)
    with pytest.raises(BadName):
        data.set_ttl(["data:v0"], text)
    assert entries(data) == before


@pytest.mark.parametrize("deed", ["own", "default", "editors"])
def test_undo(data, deed):
    """What was set is taken back and set again."""
    deeds: dict[str, Callable[[], object]] = {
        "own": lambda: data.set_ttl(["data:v0", "data:v1"], "5d"),
        "default": lambda: data.set_default_ttl("5d"),
        "editors": lambda: data.set_ttl_editors(["tester", "ben@x"]),
    }

    def state() -> object:
        told = data.ttl("data:v0", "data:v1")
        return [one.ttl for one in told.versions], told.default, told.editors

    before = state()
    deeds[deed]()
    after = state()
    assert after != before
    done = data.undo()
    assert state() == before
    data.undo(done.op)
    assert state() == after


# ---- with a remote ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("grace", ["0s", "14d"], ids=["removed", "condemned"])
def test_a_time_taken_back_after_somebody_expired_it(data, tmp_path, grace):
    """The deletion was first and holds; it is told, and a restore brings the bytes, condemned or not (P2, P3)."""
    origin(data, tmp_path / "remote")
    version(data, {"a": "large" * 40_000}, name="big")
    version(data, {"a": "1"}, name="big")
    data.set_ttl(["big:v0"], "1d")
    data.push()
    with clone(tmp_path / "remote", tmp_path / "ben") as ben:
        created = parse_time(ben.show("big:v0").created)
        ben.session.clock = lambda: format_time(created + timedelta(days=2))
        assert [one.version for one in ben.expire().versions] == ["v0"]
        ben.push()
        assert ben.gc_remote("origin", grace=grace, force=True).condemned
    data.set_ttl(["big:v0"], "none")
    data.push()
    assert any("a time to live of 'big' has no effect on 'origin': its version is" in note for note in data.notices)
    assert [info.version for info in data.log("big")] == ["v1"]
    data.restore("big:v0")
    data.set_ttl(["big:v0"], "none")
    assert data.push().objects > 0
    with clone(tmp_path / "remote", tmp_path / "late") as late:
        assert late.show("big:v0").ttl == "none"
        with inside(late.root):
            late.checkout("big:v0", "out")
        assert tree(late.root / "out") == {"a": b"large" * 40_000}
    assert data.fsck("origin", full=True).problems == ()


def test_what_is_kept_here_is_not_expired_there(data, tmp_path):
    """A gc of the remote does not overtake the own time to live that was taken back and not pushed yet."""
    origin(data, tmp_path / "remote")
    for ref in ("data:v0", "data:v1"):
        data.set_ttl([ref], "1s")
    data.push()
    created = parse_time(data.show("data:v1").created)
    data.session.clock = lambda: format_time(created + timedelta(minutes=30))
    data.set_ttl(["data:v0"], "none")
    import time

    time.sleep(max(0.0, 1.1 - (parse_time(_now()) - created).total_seconds()))  # the storage's clock decides
    assert [one.version for one in data.gc_remote("origin").expired] == ["v1"]
    assert "demo/data:v0 is over there, and kept by what is not pushed yet: run 'avc push'" in data.notices
    data.push()
    assert data.gc_remote("origin").expired == ()
    assert [info.version for info in data.log("data")] == ["v0"]


def _now() -> str:
    from artifactvc.util.text import now

    return now()


# ---- editors ----------------------------------------------------------------------------------------------


def test_only_editors(data):
    """Each way to set a time is refused to others, in one line that names who may; what is not about it goes on."""
    data.session.author = "Ada <ada@x.org>"
    told = data.set_ttl_editors(["Ada <ada@x.org>", "ben@x.org"])
    assert told.editors == ("Ada <ada@x.org>", "ben@x.org")
    data.session.author = "Eve"
    before = entries(data)
    who = "only 'Ada <ada@x.org>', 'ben@x.org' may change times to live (ttl.editors), and you are 'Eve'"
    artifact, digest = next(data.artifacts()).id, data.show("data:v0").digest
    write(data.root / "data", {"a": "2"})
    with inside(data.root):
        data.add(["data"])
        deeds: list[Callable[[], object]] = [
            lambda: data.set_ttl(["data:v0"], "30d"),
            lambda: data.set_ttl(["data:v0"], "none"),
            lambda: data.set_default_ttl("30d"),
            lambda: data.set_ttl_editors(None),
            lambda: data.set_ttl_editors(["Eve"]),
            lambda: data.commit(ttl="30d"),
            lambda: versions.save(data.session, artifact, digest, versions.Changes(ttl="1d")),
        ]
        for deed in deeds:
            with pytest.raises(NotAnEditor) as caught:
                deed()
            assert caught.value.message == who
            assert "user.email" in caught.value.hint
        with pytest.raises(Conflict, match="only 'Ada"):
            data.undo()
        assert entries(data) == before
        assert data.commit()[0].version == "v2"
    data.expire()
    data.session.author = "Somebody Else <BEN@x.org>"
    data.set_ttl(["data:v0"], "30d")
    data.set_ttl_editors(None)
    data.session.author = "Eve"
    data.set_default_ttl("10d")


def test_who_gives_it_away(data):
    """It is said to whoever makes a list without themselves; a list has somebody in it."""
    for bad in ([], ["x"] * 0):
        with pytest.raises(UsageError, match="give 1 to 100 editors"):
            data.set_ttl_editors(bad)
    with pytest.raises(BadName):
        data.set_ttl_editors(["tester", ""])
    assert data.ttl_editors() is None
    data.set_ttl_editors(["ben"])
    assert "you are 'tester' and not in the list: you cannot change times to live any more" in data.notices
    with pytest.raises(NotAnEditor):
        data.set_ttl_editors(["tester"])
    assert data.ttl_editors() == ["ben"]


def test_what_others_recorded_is_listed(data, tmp_path):
    """A record by somebody who is not in the list has no effect in any clone, and fsck says of each why."""
    origin(data, tmp_path / "remote")
    data.set_ttl_editors(["tester"])
    data.push()
    with clone(tmp_path / "remote", tmp_path / "eve") as eve:
        eve.session.author = "Eve"
        from artifactvc.ops import ttl

        honest, ttl.require_editor = ttl.require_editor, lambda session: None  # a client that does not care
        try:
            eve.set_ttl(["data:v0"], "1s")
            eve.set_ttl_editors(["Eve"])
        finally:
            ttl.require_editor = honest
        eve.push()
        assert eve.show("data:v0").ttl is None
        assert eve.ttl_editors() == ["tester"]
    data.fetch()
    assert data.show("data:v0").ttl is None
    assert data.ttl_editors() == ["tester"]
    notes = [note for note in data.fsck().notes if "has no effect" in note]
    assert len(notes) == 2
    assert all(note.endswith("only 'tester' may change times to live (ttl.editors)") for note in notes)


PEOPLE = ("Ada <ada@x>", "ben", "Eve <eve@x>")
LISTS = (None, ["ada@x"], ["ben", "Ada <ada@x>"], ["Eve"], ["eve@x", "ben"])


class Walk:
    """Three people in clones of one remote set times, defaults and lists as they like, and push as they can."""

    def __init__(self, place: Path, rng: random.Random) -> None:
        self.rng, self.refused = rng, 0
        first = new(place / "0")
        for n in range(2):
            version(first, {"a": str(n)})
        origin(first, place / "remote")
        first.push()
        self.all = [first, *(clone(place / "remote", place / str(n)) for n in (1, 2))]
        for one, who in zip(self.all, PEOPLE, strict=True):
            one.session.author = who

    def step(self) -> None:
        rng = self.rng
        one = rng.choice(self.all)
        deeds: list[Callable[[], object]] = [
            lambda: one.set_ttl([rng.choice(("data:v0", "data:v1"))], rng.choice(("1d", "2d", "none", "inherit"))),
            lambda: one.set_default_ttl(rng.choice(("10d", "20d", "none"))),
            lambda: one.set_ttl_editors(rng.choice(LISTS)),
            lambda: self.make_one(one),
            lambda: one.push(force=rng.random() < 0.3),
            lambda: one.push(force=rng.random() < 0.3),
            one.fetch,
            lambda: one.undo() if [op.command for op in one.operations(limit=1)] == ["ttl"] else None,
        ]
        try:
            rng.choice(deeds)()
        except NotAnEditor:
            self.refused += 1
        except (Conflict, NothingToUndo):
            return

    def make_one(self, one: Repository) -> None:
        write(one.root, {"x": str(self.rng.randrange(4))})
        with inside(one.root):
            one.add(["x"], to="data", prefix="x")
            one.commit(["data"], ttl="3d")

    def check(self) -> None:
        """Every clone, and its index made anew, agrees with a reading of the log that knows nothing of the program."""
        for one in self.all:
            one.push(force=True)
        for one in self.all:
            one.fetch()
        wanted = read_by_hand(self.all[0])
        for one in self.all:
            assert state(one) == wanted
            one.close()
            discard(one.avc_root / "index.sqlite")
            with reopen(one.root) as again:
                assert state(again) == wanted


def state(repository: Repository) -> object:
    """Editors, default, and every version's own time."""
    own = {info.digest: info.ttl for info in repository.log("data")}
    return repository.ttl_editors(), repository.default_ttl(), own


def read_by_hand(repository: Repository) -> object:
    """The same from the bytes of origin's log alone."""
    (log,) = repository.avc_root.glob("remotes/*/log")
    values: dict[str, object] = {}
    own: dict[str, str | None] = {}
    for path in sorted(log.glob("*.json")):
        body = json.loads(path.read_bytes())
        for record in body["records"]:
            author = record.get("author", body["author"])
            listed = values.get("ttl.editors")
            may = listed is None or any(parse_identity(author).is_named(who) for who in listed)  # type: ignore[attr-defined]
            if record["kind"] == "version" and "set" not in record:
                if record["digest"] not in own:
                    own[record["digest"]] = record.get("ttl") if may else None
            elif record["kind"] == "ttl" and may and record["digest"] in own:
                own[record["digest"]] = record["set"]["ttl"]
            elif record["kind"] == "setting" and may:
                values[record["name"]] = record["set"]["value"]
    default = values.get("ttl.default:demo")
    return values.get("ttl.editors"), None if default == "none" else default, own


def test_all_clones_agree_on_who_may(tmp_path, rng, soak):
    """Whatever order things land in, every clone, and its index made anew, says what the log says."""
    refused = without_effect = 0
    for n in range(3 * soak):
        (tmp_path / str(n)).mkdir()
        walk = Walk(tmp_path / str(n), rng)
        for _ in range(40):
            walk.step()
        lost = [one.index.rows.find("conflict") for one in (one.session for one in walk.all)]
        walk.check()
        refused += walk.refused
        without_effect += sum("may change times to live" in row["reason"] for rows in lost for row in rows)
    assert refused > 0
    assert without_effect > 0


def test_an_index_of_before_is_made_anew(data):
    """What an older avc applied without asking who recorded it is read again by this one."""
    import sqlite3

    from artifactvc.storage import schema

    data.set_ttl_editors(["tester"])
    digest = data.show("data:v0").digest
    data.close()
    with sqlite3.connect(data.avc_root / "index.sqlite") as old:
        old.execute("UPDATE version SET ttl = '1d' WHERE digest = ?", (digest,))  # as by somebody else's record
        old.execute("DELETE FROM _sqlite_migrations WHERE name = 'editors'")
        old.execute(f"PRAGMA user_version = {schema.VERSION - 1}")
    old.close()
    with reopen(data.root) as again:
        assert again.show("data:v0").ttl is None
        assert again.ttl_editors() == ["tester"]
