"""What clones and collectors do in a schedule."""

from __future__ import annotations

from artifactvc.core.compare import new_objects
from artifactvc.core.entries import LogEntry, encode_entry
from artifactvc.core.model import EMPTY, Digest
from artifactvc.errors import AliasConflict, Conflict
from artifactvc.ops.commit import CommitOptions
from artifactvc.ops.gc_remote import collect_remote
from artifactvc.ops.push import create_entry
from artifactvc.storage.remote import Remote
from artifactvc.util.hashing import digest_bytes
from tests.model.world import NAME, OBJECTS, Made, Player, World, commit, content


class Client(Player):
    """Somebody who makes versions, moves names, and shares all of it."""

    def round(self) -> None:
        rng = self.rng
        if rng.random() < 0.75:
            self.deed("commit", self.commit)
        for name, probability in (
            ("delete", 0.3),
            ("restore", 0.3),
            ("alias", 0.3),
            ("tag", 0.1),
            ("edit", 0.2),
            ("expire", 0.1),
        ):
            if rng.random() < probability:
                self.deed(name, getattr(self, name))
        with self.mortal(0.25):
            if rng.random() < 0.3:
                self.deed("fetch", self.repository.fetch)
            if rng.random() < 0.15:
                self.deed("pull", self.repository.pull)
            self.deed("push", self.push)
        if rng.random() < 0.15:
            self.deed("gc here", lambda: self.repository.gc(grace="0s"))

    # ---- deeds ---------------------------------------------------------------------------------------

    def commit(self) -> None:
        """New content, or a version over one that is live, whose bytes may be elsewhere."""
        rng, world = self.rng, self.world
        objects = set(rng.sample(range(OBJECTS), rng.choice((1, 2, 2, 3))))
        base = EMPTY
        live = self.versions(live=True)
        if live and rng.random() < 0.35:
            base = rng.choice(live)
            objects = set(rng.sample(sorted(objects), rng.randint(0, 1)))
        aliases = ["best"] if rng.random() < 0.3 else []
        metadata = {"by": self.name, "n": world.scheduler.steps} if rng.random() < 0.4 else None
        options = CommitOptions(metadata=metadata, aliases=aliases, tags=[self.name] if rng.random() < 0.2 else [])
        made = commit(self.repository, objects, options, base)
        stored = {digest_bytes(content(number)) for number in objects} | {made}
        world.commits[self.name, made] = Made(world.scheduler.steps, frozenset(stored))
        world.contents[made] = frozenset(objects) | (world.contents[base] if base != EMPTY else frozenset())

    def versions(self, *, live: bool) -> list[str]:
        """Digests of the versions that are live here, or of those that are deleted."""
        session = self.repository.session
        session.caught_up = False
        rows = session.index.rows.find("version")
        alive = {row["digest"] for row in rows if row["live"]}
        wanted = alive if live else {row["digest"] for row in rows} - alive
        return sorted(wanted)

    def _ref(self, *, live: bool = True) -> str:
        found = self.versions(live=live)
        if not found:
            raise Conflict("there is none")
        return f"{NAME}@{self.rng.choice(found)}"

    def delete(self) -> None:
        self.repository.delete(self._ref(), delete_aliases=True)

    def restore(self) -> None:
        self.repository.restore(self._ref(live=False))

    def alias(self) -> None:
        alias = self.rng.choice(("best", "good"))
        self.repository.alias(self._ref(), [alias])

    def tag(self) -> None:
        self.repository.tag(self._ref(), [self.rng.choice("tu")])

    def edit(self) -> None:
        self.repository.edit(self._ref(), metadata={self.name: self.world.scheduler.steps})

    def expire(self) -> None:
        self.repository.expire()

    def push(self) -> None:
        """All that is new; where a name conflicts, one of the ways that the error names."""
        try:
            self.repository.push()
        except AliasConflict:
            force = self.rng.random() < 0.5
            self.repository.push(force=force, except_aliases=not force)
        except Conflict:
            self.repository.push(force=True)
        self.pushed()

    def pushed(self) -> None:
        """After a push that was acknowledged no version is left that origin does not have."""
        session = self.repository.session
        session.caught_up = False
        left = [e.records[p] for e, p in session.index.pending() if e.records[p]["kind"] in ("version", "restore")]
        if left:
            self.world.fault("loss", f"{self.name} was told that all is pushed, but not {left[0]}")


class Collector(Player):
    """Somebody who collects the remote, with no grace or some."""

    def __init__(self, world: World, name: str, grace: str) -> None:
        super().__init__(world, name)
        self.grace = grace

    def round(self) -> None:
        for _ in range(self.rng.randint(0, 12)):
            self.actor.pause()
        with self.mortal(0.2):
            self.deed("gc", lambda: collect_remote(self.repository.session, "origin", self.grace))


class TinyCollector(Player):
    """The least gc there can be: it stands in where the schedule is not about ``avc gc`` itself."""

    def round(self) -> None:
        with self.mortal(0.2):
            self.deed("gc", self.collect)

    def needed(self, remote: Remote) -> set[Digest]:
        """Every object that a live version needs, as the log that *remote* has read says."""
        wanted: set[Digest] = set()
        for row in remote.rows.find("version"):
            if row["live"]:
                wanted.update(digest for digest, _ in new_objects(row["digest"], (), self.repository.session.node))
                wanted.update(row[name] for name in ("description", "metadata") if row[name])
        return wanted

    def collect(self) -> None:
        session = self.repository.session
        remote = session.remote("origin")
        while True:
            remote.fetch()
            n, before = remote.head()
            condemned = {row["file"] for row in remote.rows.find("condemned")}
            kept = {place.file for place in remote.locate(self.needed(remote)).values()}
            listed = [file.name.removeprefix("packs/") for file in remote.transport.list_files("packs")]
            files = [name for name in listed if name not in kept | condemned]
            if not files:
                return
            record = {"kind": "condemn", "files": files}
            entry = LogEntry(n + 1, f"{self.rng.getrandbits(128):032x}", session.avc.id, before, self.name,
                             session.clock(), "gc", (record,))  # fmt: skip
            data = encode_entry(entry)
            if create_entry(remote, entry.n, data):
                break
        for _ in range(self.rng.randint(0, 8)):
            self.actor.pause()
        for name in files:
            remote.transport.remove(f"packs/{name}")
