"""The part of ``Repository`` for data that stays where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactvc.ops.session import Session

if TYPE_CHECKING:
    from artifactvc.core import results


class References:
    """What ``Repository`` offers for references."""

    _session: Session

    def add_references(
        self,
        uri: str,
        *,
        to: str,
        type: str | None = None,
        prefix: str | None = None,
        checksum: bool = True,
        max_objects: int | None = None,
        dry_run: bool = False,
        detail: bool = False,
    ) -> results.Staged:
        """Stage references to the object at *uri*, or to all below it; no bytes are read but those of ``file://``.

        Without *checksum* nothing is asked, and the URI alone is kept. BadValue past
        *max_objects* (10,000), before anything is recorded.
        """
        from artifactvc.ops import adopt, stage

        wish = adopt.Wish(uri, checksum=checksum, max_objects=max_objects)
        options = stage.AddOptions(to, type, prefix, dry_run=dry_run, detail=detail)
        return adopt.add(self._session, wish, options)
