"""The part of ``Repository`` that shares: remotes, and what goes to them and comes from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from artifactvc.ops.session import Session
from artifactvc.storage.transport import RemoteOptions, transfer_limits

if TYPE_CHECKING:
    from artifactvc.core import results


class Remotes:
    """What ``Repository`` offers for remotes."""

    _session: Session

    def limit(self, *, timeout: float | None = None, retries: int | None = None, bwlimit: int | None = None) -> None:
        """Bound what is asked of remotes from now on: seconds without a byte, tries after the first, bytes a second."""
        self._session.limit(transfer_limits(timeout=timeout, retries=retries, bwlimit=bwlimit))

    def remote_add(
        self, name: str, url: str, *, options: RemoteOptions, single_writer: bool = False
    ) -> results.RemoteInfo:
        """Configure a remote after probing it."""
        from artifactvc.ops import remotes

        return remotes.add(self._session, name, url, options, single_writer=single_writer)

    def remote_remove(self, name: str) -> results.RemoteInfo:
        """Forget a remote."""
        from artifactvc.ops import remotes

        return remotes.remove(self._session, name)

    def remotes(self) -> list[results.RemoteInfo]:
        """The configured remotes."""
        from artifactvc.ops import remotes

        return remotes.listing(self._session)

    def remote_set_url(self, name: str, url: str) -> results.RemoteInfo:
        """Say where a remote is now."""
        from artifactvc.ops import remotes

        return remotes.set_url(self._session, name, url)

    def remote_origin(self, name: str) -> results.RemoteInfo:
        """Let another remote give the numbers."""
        from artifactvc.ops import remotes

        return remotes.set_origin(self._session, name)

    def fetch(self, remote: str | None = None) -> results.Fetched:
        """Read a remote's log; no data."""
        from artifactvc.ops import fetch

        return fetch.fetch(self._session, remote)

    def push(
        self,
        remote: str | None = None,
        refs: Sequence[str] = (),
        *,
        force: bool = False,
        except_aliases: bool = False,
        join: bool = False,
        dry_run: bool = False,
    ) -> results.Pushed:
        """Send what a remote lacks."""
        from artifactvc.ops import push
        from artifactvc.ops.push_plan import PushOptions

        return push.push(self._session, remote, refs, PushOptions(force, except_aliases, join), dry_run=dry_run)

    def pull(self, remote: str | None = None, refs: Sequence[str] = (), *, dry_run: bool = False) -> results.Pulled:
        """Read a remote's log, then bring the bytes of versions."""
        from artifactvc.ops import remotes

        return remotes.pull(self._session, remote, refs, dry_run=dry_run)
