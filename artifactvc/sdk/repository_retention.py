"""The part of ``Repository`` that says how long versions live."""

from __future__ import annotations

from artifactvc.ops.session import Session


class Retention:
    """What ``Repository`` offers for times to live."""

    _session: Session

    def expire(self, *, now: str | None = None, dry_run: bool = False) -> list[str]:
        """Delete the versions whose time to live is over, at *now* (ISO text) if given; what went, or would go."""
        from artifactvc.ops import expire

        return expire.expire(self._session, now=now, dry_run=dry_run)

    def default_ttl(self) -> str | None:
        """The time to live of versions that have none of their own, such as "90d", or None."""
        from artifactvc.ops import expire

        return expire.default_ttl(self._session)

    def set_default_ttl(self, ttl: str | None) -> None:
        """Record that default in the log, so that every clone follows it."""
        from artifactvc.ops import expire

        expire.set_default_ttl(self._session, ttl)
