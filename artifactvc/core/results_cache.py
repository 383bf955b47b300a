"""What operations on the local store as a cache answer; ``core/results.py`` gives these, too."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CacheCleaned", "CacheForgotten", "CacheInfo", "Held"]


@dataclass(frozen=True)
class Held:
    """Objects of the local store that stay, or could go, for one reason."""

    reason: str
    objects: int
    bytes: int  # as stored


@dataclass(frozen=True)
class CacheInfo:
    """``cache info``: what the local store takes, and how much of it remotes are known to hold."""

    path: str
    objects: int
    bytes: int  # of packs and larger objects on disk
    evictable: int  # bytes that a cleanup could free, as far as is known without asking a remote
    held: tuple[Held, ...]  # by reason
    oldest_use: str | None  # when the least recently used file was last used, to the hour
    trash: int  # bytes, not counted above
    temporary: int  # bytes of unfinished or killed commands, not counted above
    repositories: tuple[str, ...]  # that share the store


@dataclass(frozen=True)
class CacheCleaned:
    """``cache cleanup``: what left the local store, and why the rest stays."""

    target: int  # bytes
    before: int  # bytes that the store took
    after: int
    objects: int  # evicted
    bytes: int  # of them, as stored
    held: tuple[Held, ...]  # what stays, by reason
    temporary: int  # bytes of temporary files removed
    dry_run: bool = False


@dataclass(frozen=True)
class CacheForgotten:
    """``cache forget``: a repository that no longer counts as one that uses the shared store."""

    path: str  # its .artifacts, as it was listed
