"""What is answered about how long versions live: part of ``core/results.py``."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Expired", "Expiry", "Lifetime", "Retained", "Retention", "TimesToLive"]


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
    """One version whose time is over, or that no rule of its policy keeps."""

    artifact: str  # project/name
    version: str
    why: str  # the rule that ends it
    created: str
    since: str | None  # when its time was over; None if a policy ends it
    aliases: tuple[str, ...]  # that go with it


@dataclass(frozen=True)
class Expiry:
    """``expire``: the versions that were deleted, or would be."""

    versions: tuple[Expired, ...]
    dry_run: bool = False


@dataclass(frozen=True)
class Retained:
    """What a policy decides of one version."""

    artifact: str  # project/name
    version: str
    keep: bool
    why: tuple[str, ...]  # every rule that keeps it; of one that goes, why none does
    aliases: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Retention:
    """``retention``: a policy, and what it decides today, before anything goes."""

    artifact: str | None  # project/name; None for the default of a project
    project: str
    policy: str | None  # "keep the last 5"; None without any
    inherited: bool  # the project's default counts
    versions: tuple[Retained, ...]
    changed: bool = False
    dry_run: bool = False
