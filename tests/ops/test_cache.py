"""Making room: whatever is evicted can be had again, and nothing goes that only this repository has."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactvc.core.results import CacheCleaned, CacheInfo
from artifactvc.errors import AvcError, StorageError
from artifactvc.ops import cache
from artifactvc.sdk.repository import RemoteOptions, Repository
from artifactvc.storage.evict import copies
from tests.conftest import SOAK
from tests.support import ENVIRON, clone, inside, new, origin, reopen, tree, version, write

RNG = random.Random(5)
OPTIONS = RemoteOptions()
LARGE, OTHER = RNG.randbytes(300_000), RNG.randbytes(200_000)
FILES: Mapping[str, bytes] = {"a": b"small", "sub/b": b"other", "large": LARGE}


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Repository]:
    """A repository whose one version is on its origin, ``remote``."""
    with new(tmp_path / "work") as made:
        version(made, FILES)
        origin(made, tmp_path / "remote")
        made.push()
        yield made


def files(repository: Repository) -> list[str]:
    """Every pack and larger object in the store."""
    root = repository.avc_root
    return sorted(p.name for name in ("packs", "objects") for p in (root / name).rglob("*") if p.is_file())


def content(repository: Repository, ref: str) -> dict[str, bytes]:
    """Every file of a version, as it is read."""
    return {e.path: b"".join(repository.read(ref, e.path)) for e in repository.entries(ref)}


def reasons(result: CacheCleaned | CacheInfo) -> dict[str, int]:
    """Why things stay -> how many objects."""
    return {held.reason: held.objects for held in result.held}


def bytes_of(result: CacheCleaned | CacheInfo, reason: str) -> int:
    return sum(held.bytes for held in result.held if held.reason == reason)


def age(repository: Repository, hours: int) -> None:
    """Let all that is here have been used last so long ago."""
    store = repository.session.avc.store
    for copy in copies(store):
        store.uses.hand_on(copy.file, copy.file, time.time() - 3600 * hours)


# ---- evict all, rebuild all ------------------------------------------------------------------------


def test_evict_all_then_rebuild_all(work):
    """With nothing left here every command goes on as in a clone that was not pulled: bytes come when needed."""
    done = work.cache.cleanup(0)
    assert (done.after, done.objects, done.held, files(work)) == (0, 4, (), [])
    with reopen(work.root) as again:
        assert again.status().clean
        checked = again.fsck()
        assert checked.problems == ()
        assert "only on a remote" in checked.notes[0]
        assert content(again, "data:v0") == FILES
        again.cache.cleanup(0)
        shutil.rmtree(work.root / "data")
        again.checkout("data:v0")
        assert tree(work.root / "data") == FILES
        assert again.fsck(full=True) == replace(again.fsck(full=True), problems=(), notes=())


def test_work_goes_on_after_everything_was_evicted(work, tmp_path):
    """add, commit, get, push to a second remote and gc need no step in between."""
    work.cache.cleanup(0)
    with inside(work.root):
        work.add()
        assert work.commit() == []
    work.cache.cleanup(0)
    assert version(work, {"a": "changed"}) == "v1~"
    assert content(work, "data:v1") == {**FILES, "a": b"changed"}
    work.push()
    work.cache.cleanup(0)
    assert work.gc(grace="0s").trashed_objects == 0
    work.remote_add("second", str(tmp_path / "second"), options=OPTIONS)
    work.push("second")
    with clone(tmp_path / "second", tmp_path / "other") as other:
        assert content(other, "data:v0") == FILES
        assert content(other, "data:v1") == {**FILES, "a": b"changed"}
    work.get("data:v0", root=tmp_path / "got")
    assert tree(tmp_path / "got") == FILES


# ---- what goes first ---------------------------------------------------------------------------------


def test_the_least_recently_used_go_first(work):
    """Of two larger objects the one that was read lately stays; manifests stay until nothing else is left."""
    version(work, {"other": OTHER})
    work.push()
    age(work, 5)
    with reopen(work.root) as reader:
        b"".join(reader.read("data:v1", "other"))
    with reopen(work.root) as again:
        done = again.cache.cleanup(210_000)
        assert done.after <= 210_000
        assert len([name for name in files(again) if not name.endswith(".pack")]) == 1
        shutil.move(work.root.parent / "remote", work.root.parent / "away")
        assert b"".join(again.read("data:v1", "other")) == OTHER
        assert [e.path for e in again.entries("data:v0")] == ["a", "large", "sub/b"], "manifests are here"
        with pytest.raises(StorageError):
            b"".join(again.read("data:v0", "large"))


def test_use_is_recorded_once_an_hour(work):
    """A command writes when things were used only where that is news: most commands write nothing."""
    age(work, 5)
    with reopen(work.root) as watch:
        for news in (True, False):
            before = watch.session.avc.connect().execute("PRAGMA data_version").fetchone()
            with reopen(work.root) as reader:
                b"".join(reader.read("data:v0", "large"))
            assert (watch.session.avc.connect().execute("PRAGMA data_version").fetchone() != before) is news


def test_a_target_that_holds_already_evicts_nothing(work):
    """Where the store takes less than the target nothing is done, and no more is taken than is needed."""
    done = work.cache.cleanup(10**9)
    assert (done.objects, done.before) == (0, done.after)
    done = work.cache.cleanup(done.before - 1)
    assert 0 < done.objects < 4


def test_packs_keep_what_must_stay(work):
    """A pack of which something must stay is written anew without the rest, which the remote has."""
    version(work, {"new": "unpushed"})
    done = work.cache.cleanup(0)
    assert done.objects == 1, "the manifest of v0: v1 needs all the rest of it"
    assert reasons(done) == {cache.UNPUSHED: 5, cache.TABLES: 0}
    assert bytes_of(done, cache.UNPUSHED) + bytes_of(done, cache.TABLES) == done.after
    work.delete("data:v1", delete_aliases=True)
    assert content(work, "data:v0") == FILES


# ---- what never goes -----------------------------------------------------------------------------------


def test_nothing_goes_without_a_remote(tmp_path):
    """What has never been pushed stays, and it is said why."""
    with new(tmp_path / "alone") as alone:
        version(alone, FILES)
        before = files(alone)
        done = alone.cache.cleanup(0)
        assert (done.objects, files(alone)) == (0, before)
        assert set(reasons(done)) == {cache.NO_REMOTE, cache.TABLES}


def test_drafts_and_unpushed_versions_stay(work):
    """What is staged or committed and not pushed can be had with the remote away, though it holds a part."""
    version(work, {"new": b"n" * 140_000})
    write(work.root, {"data/staged": OTHER})
    with inside(work.root):
        work.add()
    done = work.cache.cleanup(0)
    assert done.after > 600_000
    assert done.objects == 1
    (work.root.parent / "remote").rename(work.root.parent / "away")
    assert content(work, "data:v1") == {**FILES, "new": b"n" * 140_000}
    with inside(work.root):
        assert work.commit()[0].version == "v2~"
    assert content(work, "data:v2")["staged"] == OTHER


def test_a_remote_that_cannot_be_reached_keeps_what_only_it_holds(work):
    """Nobody knows whether it still holds them: they stay, the command succeeds and says which remote and why."""
    (work.root.parent / "remote").rename(work.root.parent / "away")
    before = files(work)
    done = work.cache.cleanup(0)
    assert (done.objects, files(work)) == (0, before)
    (why,) = reasons(done).keys() - {cache.TABLES}
    assert why.startswith("only remote 'origin' may hold them, which cannot be asked: ")


def test_a_second_remote_that_holds_them_is_enough(work, tmp_path):
    """With origin away, what another remote holds for a live version can go."""
    work.remote_add("second", str(tmp_path / "second"), options=OPTIONS)
    work.push("second")
    (tmp_path / "remote").rename(tmp_path / "away")
    assert work.cache.cleanup(0).after == 0
    assert content(work, "data:v0") == FILES


@pytest.mark.parametrize("how", ["wiped", "rewound", "another"])
def test_a_remote_that_is_another_one_holds_nothing(work, tmp_path, how):
    """A remote that lost its log, or was replaced, is not believed: everything stays."""
    version(work, {"a": "next"})
    work.push()
    remote = tmp_path / "remote"
    if how == "rewound":
        (remote / "log" / f"{1:020}.json").unlink()
    elif how == "wiped":
        shutil.rmtree(remote / "log")
    else:
        shutil.rmtree(remote)
        with new(tmp_path / "stranger") as stranger:
            origin(stranger, remote)
    done = work.cache.cleanup(0)
    assert done.objects == 0
    assert any("origin" in reason for reason in reasons(done))


def test_what_the_log_says_now_counts(work, tmp_path):
    """A version that somebody deleted and collected meanwhile is no reason to evict the last copies of its bytes."""
    with clone(tmp_path / "remote", tmp_path / "other") as other:
        other.delete("data:v0", delete_aliases=True)
        other.push()
        other.gc_remote("origin", grace="0s")
    done = work.cache.cleanup(0)
    assert done.objects == 0
    assert set(reasons(done)) & {cache.ALONE, cache.UNNEEDED}
    assert work.restore("data:v0")
    assert content(work, "data:v0") == FILES


def test_deleted_elsewhere_between_reading_and_locking(work, tmp_path, monkeypatch):
    """The log is looked at again under the lock, for which we may have waited long: with news, all is done again."""
    real, calls = cache._refresh, []

    def slow(session):
        found = real(session)
        if not calls:
            with clone(tmp_path / "remote", tmp_path / "other") as other:
                other.delete("data:v0", delete_aliases=True)
                other.push()
                other.gc_remote("origin", grace="0s")
        calls.append(1)
        return found

    monkeypatch.setattr(cache, "_refresh", slow)
    assert work.cache.cleanup(0).objects == 0
    assert len(calls) == 2


@pytest.mark.parametrize("mode", ["hardlink", "symlink"])
def test_linked_files_stay(work, mode):
    """An object that a file of the workspace is a link to stays: the link would break, or nothing would be freed."""
    shutil.rmtree(work.root / "data")
    work.checkout("data:v0", link=mode)
    done = work.cache.cleanup(0)
    assert reasons(done)[cache.LINKED] == 1
    assert tree(work.root / "data").keys() == FILES.keys()
    assert (work.root / "data" / "large").read_bytes() == LARGE


# ---- dry run, temporary files, info -----------------------------------------------------------------------


@pytest.mark.parametrize("target", [0, 100_000, 301_000, 10**9])
def test_a_dry_run_says_what_would_be_done(work, target):
    """Nothing moves, and the answer is that of the real one after it; info adds up to the same."""
    info, before = work.cache.info(), files(work)
    planned = work.cache.cleanup(target, dry_run=True)
    assert files(work) == before
    done = work.cache.cleanup(target)
    assert done == replace(planned, dry_run=False)
    assert info.bytes == info.evictable == done.before == sum(held.bytes for held in info.held)
    assert done.after == sum(held.bytes for held in done.held) == work.cache.info().bytes


def test_temporary_files_go_when_asked(work):
    """What a killed command left goes with ``remove_temp``, unless it is so young that somebody may be at it."""
    left = [work.avc_root / "tmp" / name for name in ("pack-dead", "own-dead", "checkout-x", "down-young")]
    for path in left:
        path.write_bytes(b"x" * 10)
    for path in left[:3]:
        os.utime(path, (1, 1))
    assert work.cache.cleanup(10**9).temporary == 0
    assert work.cache.info().temporary == 40
    assert work.cache.cleanup(10**9, remove_temp=True, dry_run=True).temporary == 20
    assert work.cache.cleanup(10**9, remove_temp=True).temporary == 20
    assert [path.exists() for path in left] == [False, False, True, True]


# ---- killed, and beside others ------------------------------------------------------------------------------


@pytest.mark.parametrize("step", range(1, 9))
def test_a_kill_between_two_steps_loses_nothing(work, tmp_path, step):
    """After a kill at any step of the eviction the repository is sound, and the next cleanup ends the work."""
    version(work, {"other": OTHER})
    work.push()
    work.remote_add("second", str(tmp_path / "second"), options=OPTIONS)
    script = f"""
import os, sys
from artifactvc.sdk.repository import Repository
from artifactvc.storage import evict, places
left = [{step}]
def killed(real):
    def call(*a, **k):
        left[0] -= 1
        if left[0] <= 0:
            os._exit(9)
        return real(*a, **k)
    return call
os.unlink = killed(os.unlink)
os.rename = killed(os.rename)
places.Places.drop = killed(places.Places.drop)
places.Places.drop_pack = killed(places.Places.drop_pack)
evict.sync_directory = killed(evict.sync_directory)
with Repository.open({str(work.root)!r}, environ={ENVIRON!r}) as repository:
    repository.cache.cleanup(0)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode in (0, 9), ended.stderr
    with reopen(work.root) as again:
        assert again.fsck().problems == ()
        assert content(again, "data:v0") == FILES
        assert again.cache.cleanup(0).after == 0
        assert content(again, "data:v1") == {**FILES, "other": OTHER}
        assert again.fsck(full=True).problems == ()


def test_cleanups_beside_other_commands_lose_nothing(work, tmp_path, soak):
    """add, commit, push and checkout in other processes go on while one process evicts all it can, again and again."""
    code = """
import random, sys
from pathlib import Path
from artifactvc.sdk.repository import Repository
what, root, rounds, environ = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), eval(sys.argv[4])
import os
os.chdir(root)
for i in range(rounds):
    with Repository.open(root, environ=environ) as repository:
        if what == "clean":
            repository.cache.cleanup(0)
        elif what == "write":
            Path(root, "mine", f"{i}").write_bytes(random.Random(i).randbytes(150_000 if i % 2 else 200))
            repository.add(["mine"])
            repository.commit(["mine"])
            if i % 2:
                repository.push()
        else:
            out = root.parent / "out" / str(i)
            repository.get("data:v0", root=out)
            assert (out / "large").read_bytes()[:9] == bytes.fromhex(sys.argv[5])
"""
    (work.root / "mine").mkdir()
    rounds = 6 * soak
    argv = [sys.executable, "-c", code]
    rest = [str(work.root), str(rounds), repr(ENVIRON), LARGE[:9].hex()]
    running = [
        subprocess.Popen([*argv, what, *rest], stderr=subprocess.PIPE, text=True)
        for what in ("clean", "write", "read", "clean")
    ]
    failed = [error for one in running if (error := one.communicate()[1]) or one.returncode]
    assert failed == []
    with reopen(work.root) as again:
        assert again.fsck(full=True).problems == ()
        newest = {f"{i}": random.Random(i).randbytes(150_000 if i % 2 else 200) for i in range(rounds)}
        assert content(again, "mine") == newest
        assert content(again, "data:v0") == FILES


# ---- random histories -----------------------------------------------------------------------------------------

DEEDS = (
    "commit",
    "commit",
    "stage",
    "push",
    "push",
    "second",
    "delete",
    "gc",
    "gc remote",
    "away",
    "back",
    "read",
    "clean",
    "clean",
)


@settings(max_examples=12 * SOAK)
@given(deeds=st.lists(st.sampled_from(DEEDS), min_size=4, max_size=14), seed=st.integers(0, 1000))
def test_never_the_only_copy(deeds, seed):
    """Whatever was committed, pushed, deleted and collected, here or on two remotes of which one may be away:
    after a cleanup, what is not pushed and what is staged is here, and every live version can be had whole."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        history = History(Path(place), rng)
        for deed in [*deeds, "clean"]:
            history.do(deed)
        history.check()


class History:
    """A repository, its two remotes, and what each live version must be."""

    def __init__(self, place: Path, rng: random.Random) -> None:
        self.place, self.rng = place, rng
        self.repository = new(place / "work")
        self.live: dict[str, dict[str, bytes]] = {}  # digest -> files
        self.now: dict[str, bytes] = {}
        self.staged: dict[str, bytes] = {}
        origin(self.repository, place / "remote")
        self.repository.remote_add("second", str(place / "second"), options=OPTIONS)

    def do(self, deed: str) -> None:
        with reopen(self.place / "work") as self.repository:
            away = not (self.place / "remote").is_dir()
            with contextlib.suppress(*([AvcError] if away else [])):  # with a remote away a deed may be refused
                getattr(self, "do_" + deed.replace(" ", "_"))()
            if deed == "clean":
                self.here()

    def _change(self) -> None:
        for _ in range(self.rng.randint(1, 2)):
            path, size = self.rng.choice("abcd"), self.rng.choice((5, 400, 140_000))
            self.now[path] = self.rng.randbytes(size)
        write(self.place / "work" / "data", self.now)
        with inside(self.place / "work"):
            self.repository.add(["data"])

    def do_stage(self) -> None:
        self._change()
        self.staged = dict(self.now)

    def do_commit(self) -> None:
        self._change()
        self.staged = dict(self.now)
        with inside(self.place / "work"):
            for done in self.repository.commit(["data"]):
                self.live[done.digest] = dict(self.now)
        self.staged = {}

    def do_push(self) -> None:
        self.repository.push()

    def do_second(self) -> None:
        self.repository.push("second")

    def do_delete(self) -> None:
        if self.live:
            digest = self.rng.choice(sorted(self.live))
            self.repository.delete(f"data@{digest}", delete_aliases=True)
            del self.live[digest]

    def do_gc(self) -> None:
        self.repository.gc(grace=self.rng.choice(("0s", "14d")))

    def do_gc_remote(self) -> None:
        name = self.rng.choice(("origin", "second"))
        self.repository.gc_remote(name, grace="0s")

    def do_away(self) -> None:
        if (self.place / "remote").is_dir():
            (self.place / "remote").rename(self.place / "hidden")

    def do_back(self) -> None:
        if (self.place / "hidden").is_dir():
            (self.place / "hidden").rename(self.place / "remote")

    def do_read(self) -> None:
        if self.live:
            content(self.repository, f"data@{self.rng.choice(sorted(self.live))}")

    def do_clean(self) -> None:
        self.repository.cache.cleanup(self.rng.choice((0, 0, 1000, 150_000)))

    def here(self) -> None:
        """With both remotes out of reach, what is not pushed, and what is staged, is all here."""
        names = [name for name in ("remote", "second") if (self.place / name).is_dir()]
        for name in names:
            (self.place / name).rename(self.place / f"{name}-out")
        try:
            with reopen(self.place / "work") as cut_off:
                for info in cut_off.log("data") if self.live else ():
                    if not info.pushed and info.state == "live":
                        assert content(cut_off, f"data@{info.digest}") == self.live[info.digest]
                if self.staged:
                    draft = cut_off.session.avc.drafts.all()[0]
                    store = cut_off.session.avc.store
                    from artifactvc.core.manifest import walk

                    held = {e.path: b"".join(store.chunks(str(e.digest))) for e in walk(draft.root, store.read)}
                    assert held == self.staged
        finally:
            for name in names:
                (self.place / f"{name}-out").rename(self.place / name)

    def check(self) -> None:
        """With both remotes back, every live version is exactly what was committed."""
        self.do_back()
        with reopen(self.place / "work") as self.repository:
            for digest, wanted in self.live.items():
                assert content(self.repository, f"data@{digest}") == wanted
            assert self.repository.fsck(full=True).problems == ()
