"""The part of ``Repository`` that says how long versions live."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from artifactvc.core.policy import Policy
from artifactvc.ops.session import Session

if TYPE_CHECKING:
    from artifactvc.core import results


class Retention:
    """What ``Repository`` offers for times to live and retention policies."""

    _session: Session

    def expire(self, *, now: str | None = None, dry_run: bool = False) -> results.Expiry:
        """Delete the versions whose time is over, or that a policy does not keep, at *now* (ISO text) if given."""
        from artifactvc.ops import expire

        return expire.expire(self._session, now=now, dry_run=dry_run)

    def ttl(self, *refs: str) -> results.TimesToLive:
        """How long versions live, and the default of the project."""
        from artifactvc.ops import ttl

        return ttl.show(self._session, refs)

    def set_ttl(self, refs: Sequence[str], ttl: str) -> results.TimesToLive:
        """Let versions live "30d", counted from their creation, for ever ("none"), or by the default ("inherit")."""
        from artifactvc.ops import ttl as lifetimes

        return lifetimes.set_ttl(self._session, refs, ttl)

    def ttl_editors(self) -> list[str] | None:
        """Who may change times to live, as the log says: names, emails, or ``Name <email>``; None for anyone."""
        from artifactvc.core import editors

        listed = editors.editors(self._session.index.rows)
        return None if listed is None else list(listed)

    def set_ttl_editors(self, editors: Sequence[str] | None) -> results.TimesToLive:
        """Let only these change times to live and this list; None for anyone. NotAnEditor if that is not you.

        A courtesy between honest clients: only the permissions of the bucket can enforce it.
        """
        from artifactvc.ops import ttl as lifetimes

        return lifetimes.set_editors(self._session, editors)

    def default_ttl(self) -> str | None:
        """The time to live of the project's versions that have none of their own, such as "90d", or None."""
        from artifactvc.ops import expire

        return expire.default_ttl(self._session.index.rows, self._session.project)

    def set_default_ttl(self, ttl: str | None) -> results.TimesToLive:
        """Record that default in the log, so that every clone follows it; "none" or None for none."""
        from artifactvc.ops import ttl as lifetimes

        return lifetimes.set_default(self._session, ttl)

    def retention(self, name: str | None = None) -> results.Retention:
        """The retention policy of an artifact, or the project's default, and what it decides of each version today."""
        from artifactvc.ops import retention

        return retention.show(self._session, name)

    def set_retention(self, name: str | None, policy: Policy | None, *, dry_run: bool = False) -> results.Retention:
        """Record the policy of an artifact, or with None as its name the project's default; nothing is deleted yet.

        ``Policy()`` keeps everything; None lets the default count again. ``expire`` and ``gc`` delete what it ends.
        """
        from artifactvc.ops import retention

        return retention.set_policy(self._session, name, policy, dry_run=dry_run)
