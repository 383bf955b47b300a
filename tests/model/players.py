"""What clones and collectors do in a schedule."""

from __future__ import annotations

from artifactvc.core.model import EMPTY
from artifactvc.errors import AliasConflict, Conflict
from artifactvc.ops import distributed, resolve, versions
from artifactvc.ops.commit import CommitOptions
from artifactvc.ops.distributed import Part, Target
from artifactvc.ops.gc_remote import collect_remote
from artifactvc.ops.prepare import Prepared
from artifactvc.util.hashing import digest_bytes
from tests.model.world import NAME, OBJECTS, Made, Player, World, commit, content

BUILT = Target("demo", "built", "dataset", "nightly")


class Client(Player):
    """Somebody who makes versions, moves names, and shares all of it."""

    @property
    def far(self) -> bool:
        """In every fourth schedule clones keep few bytes, build on others' versions and push late."""
        return self.world.seed % 4 == 3

    def round(self) -> None:
        rng = self.rng
        if rng.random() < 0.75:
            self.deed("commit", self.commit)
        for name, probability in (
            ("delete", 0.45),
            ("restore", 0.4),
            ("alias", 0.25),
            ("tag", 0.1),
            ("edit", 0.2),
            ("keep", 0.1),
            ("expire", 0.1),
        ):
            if rng.random() < probability:
                self.deed(name, getattr(self, name))
        with self.mortal(0.2):
            if rng.random() < 0.2:
                self.deed("put in a part", self.put_in)
            if rng.random() < 0.2:
                self.deed("finish", self.finish)
        with self.mortal(0.25):
            if rng.random() < 0.3:
                self.deed("fetch", self.repository.fetch)
            if rng.random() < 0.15:
                self.deed("pull", self.repository.pull)
            if rng.random() < (0.5 if self.far else 0.8):
                self.deed("push", self.push)
            if rng.random() < (0.7 if self.far else 0.3):
                self.deed("evict", lambda: self.repository.cache.cleanup(0))
        if rng.random() < 0.15:
            self.deed("gc here", lambda: self.repository.gc(grace="0s"))

    # ---- deeds ---------------------------------------------------------------------------------------

    def commit(self) -> None:
        """New content, or a version over one that is live, whose bytes may be elsewhere."""
        rng, world = self.rng, self.world
        objects = set(rng.sample(range(OBJECTS), rng.choice((1, 2, 2, 3))))
        base = EMPTY
        dead = [world.contents[digest] for digest in self.versions(live=False)]
        if dead and rng.random() < 0.25:  # what was deleted is made again
            objects = set(rng.choice(dead))
        live = self.versions(live=True)
        if live and rng.random() < (0.7 if self.far else 0.35):
            base = rng.choice(live)
            objects = set(rng.sample(sorted(objects), rng.randint(0, 1)))
        aliases = ["best"] if rng.random() < 0.3 else []
        metadata = {"by": self.name, "n": world.scheduler.steps} if rng.random() < 0.4 else None
        ttl = rng.choice(("30m", "60m")) if rng.random() < 0.15 else None
        tags = [self.name] if rng.random() < 0.2 else []
        options = CommitOptions(metadata=metadata, aliases=aliases, tags=tags, ttl=ttl)
        made = commit(self.repository, objects, options, base)
        stored = {digest_bytes(content(number)) for number in objects} | ({made} - {base})
        world.commits[self.name, made] = Made(world.scheduler.steps, frozenset(stored))
        world.contents[made] = frozenset(objects) | (world.contents[base] if base != EMPTY else frozenset())

    def versions(self, *, live: bool) -> list[str]:
        """Digests of the versions that are live here, or of those that are deleted."""
        session = self.repository.session
        session.caught_up = False
        artifact = resolve.artifact(session, NAME)
        rows = session.index.rows.find("version", artifact=artifact["id"])
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
        alias = self.rng.choice(("best", "good", "latest"))
        self.repository.alias(self._ref(), [alias])

    def tag(self) -> None:
        self.repository.tag(self._ref(), [self.rng.choice("tu")])

    def edit(self) -> None:
        self.repository.edit(self._ref(), metadata={self.name: self.world.scheduler.steps})

    def expire(self) -> None:
        self.repository.expire()

    def _part(self, count: int) -> Part:
        """Some objects, below a directory of this writer's own."""
        prepared = Prepared(BUILT.name, BUILT.type)
        for number in self.rng.sample(range(OBJECTS), count):
            prepared.add_bytes(self.repository.session, content(number), f"{self.name}/o{number}")
        return Part(f"run-{self.name}", prepared, None, {})

    def put_in(self) -> None:
        """A part of a version that many build; once it is in, it is in whatever comes of the draft."""
        part = self._part(self.rng.choice((1, 2)))
        distributed.upsert(self.repository.session, BUILT, part)
        self.world.parts.update(entry.path for entry in part.prepared.entries(self.repository.session))

    def finish(self) -> None:
        distributed.finish(self.repository.session, BUILT, self._part(self.rng.choice((0, 1))), (), None)

    def keep(self) -> None:
        """Let a version that was to expire stay."""
        session = self.repository.session
        digest = self._ref().rpartition("@")[2]
        artifact = resolve.artifact(session, NAME)
        versions.save(session, artifact["id"], digest, versions.Changes(ttl="none"))

    def push(self) -> None:
        """All that is new; where a name conflicts, one of the ways that the error names."""
        self.repository.session.remote("origin").transport.sent = 0  # type: ignore[attr-defined]
        try:
            self.repository.push()
        except AliasConflict as error:
            if "'latest'" in error.message:
                self.world.fault("refused", f"{self.name}: {error.message}")
            force = self.rng.random() < 0.5
            self.repository.push(force=force, except_aliases=not force)
        except Conflict:
            self.repository.push(force=True)
        self.pushed()

    def pushed(self) -> None:
        """After a push that was acknowledged no version is left that origin does not have."""
        session = self.repository.session
        if session.remote("origin").transport.sent > 5:  # type: ignore[attr-defined]
            self.world.fault("livelock", f"{self.name} sent packs again and again in one push")
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
        for _ in range(self.rng.randint(0, 20)):
            self.actor.pause()
        with self.mortal(0.2):
            self.deed("gc", self.collect)

    def collect(self) -> None:
        done = collect_remote(self.repository.session, "origin", self.grace)
        for what in ("condemned", "rewritten_bytes", "removed", "spared", "expired"):
            self.world.met[f"gc {what}"] += bool(getattr(done, what))
