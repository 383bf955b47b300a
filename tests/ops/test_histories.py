"""Any history of versions, names, times to live, policies and collections: nothing live is lost, all dead bytes go.

A machine does what people do, in any order, with a clock of its own. After each step every
live version is rebuilt byte by byte, and no number has ever meant two contents. In the end,
when all that was deleted is past the grace, no byte is left that nothing needs.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path

from blake3 import blake3
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from artifactvc.core.policy import Policy
from artifactvc.errors import Conflict, MissingObject, NotFound, NothingToUndo, UsageError
from artifactvc.sdk.repository import Repository
from tests.faults.helpers import scratch
from tests.support import forget_index, inside, new, reopen, write

#: Three that go into packs, and three that are files of their own.
CONTENTS = tuple(random.Random(n).randbytes(500 if n < 3 else 140_000) for n in range(6))
LARGE = {blake3(content).hexdigest() for content in CONTENTS[3:]}
NAMES = st.sampled_from(["one", "two"])
FILES = st.dictionaries(st.sampled_from(["a", "b", "d/c"]), st.integers(0, 5), min_size=1, max_size=3)
PICK = st.integers(0, 7)
#: What a command may say of a history in which it means nothing.
EXPECTED = (Conflict, MissingObject, NotFound, NothingToUndo, UsageError)


class Histories(RuleBasedStateMachine):
    """One repository and its whole life."""

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 1, 1)
        self.contents: dict[str, dict[str, int]] = {}  # of every version that there ever was, by its digest
        self.given: dict[tuple[str, str], str] = {}  # (name, number) -> digest, when it was given
        self.numbers: dict[tuple[str, int], str] = {}  # (artifact id, number) -> digest

    @initialize()
    def begin(self) -> None:
        self._stack = ExitStack()
        self.place: Path = self._stack.enter_context(scratch())
        self.work: Repository = new(self.place / "work")
        self._open()
        for number, name in enumerate(("one", "two", "one")):
            self.commit(name, {"a": number, "b": 3 + number}, None, ())

    def teardown(self) -> None:
        if not hasattr(self, "work"):
            return
        try:
            self.all_dead_bytes_go()
        finally:
            self.work.close()
            self._stack.close()

    def _open(self) -> None:
        self.work.session.clock = lambda: f"{self.now:%Y-%m-%dT%H:%M:%S.%f}Z"

    def _next(self) -> None:
        """The next command, a minute later."""
        self.now += timedelta(minutes=1)
        self.work.session.caught_up = False

    def _try(self, deed: Callable[[], object]) -> bool:
        self._next()
        try:
            deed()
        except EXPECTED:
            return False
        return True

    # ---- what people do -----------------------------------------------------------------------------

    @rule(name=NAMES, files=FILES, ttl=st.sampled_from([None, None, "2d"]), alias=st.sampled_from([(), ("best",)]))
    def commit(self, name: str, files: dict[str, int], ttl: str | None, alias: tuple[str, ...]) -> None:
        """Files of the workspace, staged and made a version."""
        path = self.work.root / name
        with inside(self.work.root):
            for old in sorted(path.rglob("*"), reverse=True) if path.is_dir() else ():
                old.rmdir() if old.is_dir() else old.unlink()
            write(path, {file: CONTENTS[n] for file, n in files.items()})

            def made() -> None:
                self.work.add([name], to=name)
                self.work.commit([name], ttl=ttl, aliases=alias)

            if self._try(made):
                self._note(name, files)

    @rule(name=NAMES, files=FILES)
    def stage(self, name: str, files: dict[str, int]) -> None:
        """Files that stay a draft."""
        with inside(self.work.root):
            write(self.work.root / name, {file: CONTENTS[n] for file, n in files.items()})
            self._try(lambda: self.work.add([name], to=name))

    @rule(name=NAMES)
    def reset(self, name: str) -> None:
        self._try(lambda: self.work.reset(name))

    def _note(self, name: str, files: dict[str, int]) -> None:
        info = self.work.show(f"{name}:latest")
        there = {entry.path: entry.digest for entry in self.work.entries(f"{name}:latest")}
        assert there == {file: blake3(CONTENTS[n]).hexdigest() for file, n in files.items()}
        self.contents.setdefault(info.digest, files)
        number = info.version.rstrip("~")
        assert self.given.setdefault((name, number), info.digest) == info.digest, "a number was given twice"

    def _versions(self, *, live: bool) -> list[str]:
        rows = self.work.session.index.rows
        names = {row["id"]: row["name"] for row in rows.find("artifact") if not row["deleted"]}
        found = [row for row in rows.find("version") if bool(row["live"]) is live and row["artifact"] in names]
        return [f"{names[row['artifact']]}@{row['digest']}" for row in found]

    def _with(self, pick: int, deed: Callable[[str], object], *, live: bool = True) -> None:
        found = self._versions(live=live)
        if found:
            self._try(lambda: deed(found[pick % len(found)]))

    @rule(pick=PICK, aliases=st.booleans())
    def delete(self, pick: int, aliases: bool) -> None:
        self._with(pick, lambda ref: self.work.delete(ref, delete_aliases=aliases))

    @rule(name=NAMES)
    def delete_all(self, name: str) -> None:
        refs = [ref for ref in self._versions(live=True) if ref.startswith(f"{name}@")]
        for ref in refs:
            assert self._try(lambda ref=ref: self.work.delete(ref, delete_aliases=True))

    @rule(pick=PICK)
    def restore(self, pick: int) -> None:
        self._with(pick, self.work.restore, live=False)

    @rule(pick=PICK)
    def alias(self, pick: int) -> None:
        self._with(pick, lambda ref: self.work.alias(ref, ["good"]))

    @rule(pick=PICK)
    def tag(self, pick: int) -> None:
        self._with(pick, lambda ref: self.work.tag(ref, ["seen"]))

    @rule(name=NAMES, other=st.sampled_from(["one", "two", "three"]))
    def rename(self, name: str, other: str) -> None:
        self._try(lambda: self.work.rename(name, other))

    @rule(pick=PICK, ttl=st.sampled_from(["1d", "5d", "none", "inherit"]))
    def ttl(self, pick: int, ttl: str) -> None:
        self._with(pick, lambda ref: self.work.set_ttl([ref], ttl))

    @rule(ttl=st.sampled_from(["3d", "none"]))
    def default_ttl(self, ttl: str) -> None:
        self._try(lambda: self.work.set_default_ttl(ttl))

    @rule(name=NAMES, last=st.integers(1, 2), aliased=st.booleans(), tagged=st.booleans())
    def retention(self, name: str, last: int, aliased: bool, tagged: bool) -> None:
        policy = Policy(keep_last=last, keep_aliased=aliased, keep_tagged=tagged)
        self._try(lambda: self.work.set_retention(name, policy))

    @rule()
    def expire(self) -> None:
        self._next()
        self.work.expire()

    @rule()
    def undo(self) -> None:
        self._try(self.work.undo)

    @rule(days=st.integers(1, 4))
    def time_passes(self, days: int) -> None:
        self.now += timedelta(days=days)

    @rule(grace=st.sampled_from(["0s", "2d"]))
    def gc(self, grace: str) -> None:
        self._next()
        self.work.gc(grace=grace)

    @rule(index=st.booleans())
    def another_process(self, index: bool) -> None:
        """Perhaps without an index."""
        self.work.close()
        if not index:
            forget_index(self.place / "work")
        self.work = reopen(self.place / "work")
        self._open()

    # ---- what must hold ---------------------------------------------------------------------------------

    @invariant()
    def every_live_version_is_whole(self) -> None:
        if not hasattr(self, "work"):
            return
        self.work.session.caught_up = False
        for ref in self._versions(live=True):
            files = self.contents[ref.partition("@")[2]]
            for entry in self.work.entries(ref):
                assert b"".join(self.work.read(ref, entry.path)) == CONTENTS[files[entry.path]]
        for row in self.work.session.index.rows.find("version"):
            known = self.numbers.setdefault((row["artifact"], row["number"]), row["digest"])
            assert known == row["digest"], "one number has had two contents"

    def all_dead_bytes_go(self) -> None:
        """Drafts dropped, everything past the grace: what no live version needs is in no file any more."""
        for name in ("one", "two", "three"):
            self._try(lambda name=name: self.work.reset(name))
        for _ in range(2):
            self.work.session.caught_up = False
            self.work.gc(grace="0s")
        self.every_live_version_is_whole()
        needed = {entry.digest for ref in self._versions(live=True) for entry in self.work.entries(ref)}
        top = self.work.avc_root
        there = {"".join(path.parts[-2:]) for path in (top / "objects").rglob("*") if path.is_file()}
        assert there & LARGE == needed & LARGE
        assert not [path for path in (top / "trash").rglob("*") if path.is_file()]
        assert self.work.fsck(full=True).problems == ()


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=max(12, settings().max_examples // 8), stateful_step_count=22)
