"""Artifacts as lines of versions (W&B: collections), the types they have, and the projects they are in.

Each may belong to this repository or to the log of a remote; what stands in a remote's log
only can be read here, and changed where it was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from artifactvc.core import names
from artifactvc.core.filters import COLLECTION, parse_filter, parse_order
from artifactvc.errors import BadName, Conflict, UnsupportedError
from artifactvc.ops import catalog, versions
from artifactvc.ops.catalog import Key, Place
from artifactvc.ops.session import Session
from artifactvc.sdk.errors_as import as_comm_error
from artifactvc.sdk.listing import Listing, Source
from artifactvc.sdk.opened import at

if TYPE_CHECKING:
    from artifactvc import Artifact

_ORDERS: Final = {None: False, "version_index": True, "created_at": True}


@contextmanager
def looking(root: Path, remote: str | None) -> Iterator[tuple[Session, Place]]:
    """The repository at *root*, and the names there or in a remote's log as far as it was read."""
    with at(root).session() as session:
        yield session, catalog.place(session, remote)


# ---- listings ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Versions(Source[tuple[int, str], "Artifact"]):
    root: Path
    remote: str | None
    artifact_id: str
    name: str
    wanted: catalog.Wanted

    @property
    def title(self) -> str:
        return f"versions of '{self.name}'"

    def keys(self) -> Sequence[tuple[int, str]]:
        with looking(self.root, self.remote) as (_, where):
            return catalog.live_versions(where, self.artifact_id, self.wanted)

    def load(self, keys: Sequence[tuple[int, str]]) -> Sequence[Artifact | None]:
        from artifactvc import Artifact

        with looking(self.root, self.remote) as (session, where):
            found = catalog.load(session, where, [(self.artifact_id, digest) for _, digest in keys])
            return [
                Artifact._from(session, version, self.remote) if version is not None and version.version["live"] else None
                for version in found
            ]

    def cursor(self, key: tuple[int, str]) -> str:
        return f"v{key[0]}"


def versions_listing(
    collection: ArtifactCollection,
    order: str | None = None,
    per_page: int = 50,
    tags: str | Iterable[str] | None = None,
    start: str | None = None,
) -> Listing[Artifact]:
    """The live versions of an artifact, newest first unless *order* is ``version_index``; those with all *tags*."""
    ascending = _ORDERS.get((order or "").lstrip("+-") or None)
    if ascending is None:
        raise BadName(f"bad order '{order}'", hint="use 'version_index' or '-version_index'")
    labels = [tags] if isinstance(tags, str) else list(tags or ())
    wanted = catalog.Wanted(
        tuple(names.check_tag(tag) for tag in labels),
        ascending and not (order or "").startswith("-"),
        None if start is None else _number(start),
    )
    source = _Versions(
        collection._root, collection._remote, collection.id, f"{collection.project}/{collection._saved}", wanted
    )
    return Listing(source, per_page, start)


def _number(cursor: str) -> int:
    number = cursor.removeprefix("v")
    if not number.isdecimal() or len(number) > 15:
        raise BadName(f"bad start '{cursor[:80]}'", hint="give the cursor of a listing of versions")
    return int(number)


@dataclass(frozen=True)
class _Versions2(Source[Key, "Artifact"]):
    """placeholder"""
