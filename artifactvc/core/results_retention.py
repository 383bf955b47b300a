"""What is answered about how long versions live: part of ``core/results.py``."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Expired", "Expiry", "Lifetime", "TimesToLive"]


@dataclass(frozen=True)
class Lifetime:
    """How long one version lives."""

    artifact: str  # project/name
    version: str
    ttl: str | None  # its own: "30d" or "none"; None if the project's default counts
    created: str
    expires: str | None  # the moment; None for never
    why: str  # the rule that decides
    over: bool  # its time is over: the next 'avc expire' or 'avc gc' deletes it


@dataclass(frozen=True)
class TimesToLive:
    """``ttl``: of the versions that were named, and what the log says of the project."""

    versions: tuple[Lifetime, ...]
    project: str
    default: str | None  # the project's: "90d", or None
    editors: tuple[str, ...] | None  # who may change times to live; None: anyone
    changed: bool = False


@dataclass(frozen=True)
class Expired:
    """One version whose time is over."""

    artifact: str  # project/name
    version: str
    why: str  # the rule that ends it
    created: str
    since: str  # when its time was over
    aliases: tuple[str, ...]  # that go with it


@dataclass(frozen=True)
class Expiry:
    """``expire``: the versions that were deleted, or would be."""

    versions: tuple[Expired, ...]
    dry_run: bool = False
