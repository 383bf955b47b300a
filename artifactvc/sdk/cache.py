"""``Repository.cache``: the local store as a cache of remotes, and who shares it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from artifactvc.core import results
    from artifactvc.ops.session import Session


@dataclass(frozen=True)
class Cache:
    """What ``avc cache`` does; *grace* is the setting ``gc.grace``."""

    session: Session
    grace: str

    def info(self) -> results.CacheInfo:
        """What the local store takes, and how much of it remotes are known to hold; reads no remote's log."""
        from artifactvc.ops import cache

        return cache.info(self.session, self.grace)

    def cleanup(self, size: int, *, remove_temp: bool = False, dry_run: bool = False) -> results.CacheCleaned:
        """Evict least recently used objects that a remote holds, until the store takes at most *size* bytes."""
        from artifactvc.ops import cache

        return cache.cleanup(self.session, size, self.grace, remove_temporary=remove_temp, dry_run=dry_run)

    def forget(self, path: str) -> results.CacheForgotten:
        """Take a repository that is gone off the list of those that use the shared store."""
        from artifactvc.ops import sharing

        return sharing.forget(self.session, path)
