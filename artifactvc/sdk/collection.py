"""Artifacts as lines of versions (W&B: collections), and the types they have.

Each may belong to this repository or to the log of a remote; what stands in a remote's log
only can be read here, and changed where it was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from artifactvc.core import names
from artifactvc.core.filters import COLLECTION, parse_filter, parse_order
from artifactvc.errors import BadName, Conflict, NotFound, UnsupportedError, WrongType
from artifactvc.ops import catalog, versions
from artifactvc.ops.catalog import Place
from artifactvc.ops.session import Session
from artifactvc.sdk.errors_as import as_comm_error
from artifactvc.sdk.listing import Listing, Source
from artifactvc.sdk.opened import at

if TYPE_CHECKING:
    from artifactvc import Artifact

#: Order of a listing of versions -> whether the oldest is first.
_ORDERS: Final = {None: False, "": False, "-version_index": False, "version_index": True, "+version_index": True}


@contextmanager
def looking(root: Path, remote: str | None) -> Iterator[tuple[Session, Place]]:
    """The repository at *root*, and the names there or in a remote's log as far as it was read."""
    with at(root).session() as session:
        yield session, catalog.place(session, remote)


class ArtifactCollection:
    """One artifact: a name, and the versions that it was given to.

    ``name``, ``description`` and ``tags`` may be changed; ``save`` records it.
    """

    def __init__(self, root: Path, artifact_id: str, remote: str | None = None) -> None:
        self._root, self._remote, self._id = root, remote, artifact_id
        with self._looking() as (_, where):
            self._adopt(catalog.artifact_by_id(where, artifact_id))

    def _looking(self) -> AbstractContextManager[tuple[Session, Place]]:
        return looking(self._root, self._remote)

    def _adopt(self, row: dict[str, Any]) -> None:
        """Be the artifact as it is recorded."""
        self._id, self._row = row["id"], row
        self._name: str = row["name"]
        self._saved_tags = tuple(catalog.artifact_tags(row))
        self._tags = list(self._saved_tags)
        self._saved_description: str | None = None  # not read yet
        self._description: str | None = None  # a new one

    # ---- what it is ------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """What names the artifact for ever."""
        return self._id

    @property
    def entity(self) -> str:
        """Whose it is: this repository's entity, or the remote's name."""
        if self._remote is not None:
            return self._remote
        with self._looking() as (session, _):
            return str(session.entity)

    @property
    def project(self) -> str:
        """The project that it is in."""
        return str(self._row["project"])

    @property
    def name(self) -> str:
        """Its name; BadName for a new one that breaks the rule, and the old one is kept."""
        return self._name

    @name.setter
    def name(self, value: str) -> None:
        if not isinstance(value, str):
            raise WrongType(f"a name is text, not '{type(value).__name__}'")
        self._name = names.check_artifact_name(value)

    @property
    def type(self) -> str:
        """One type for all its versions, from the first one on."""
        return str(self._row["type"])

    @type.setter  # noqa: A003
    def type(self, value: str) -> None:
        self.change_type(value)

    def change_type(self, new_type: str) -> None:
        """Not supported: an artifact keeps its type."""
        raise UnsupportedError(
            f"the type of '{self._name}' cannot be changed: an artifact has one type from its first version on",
            hint=f"log its files under another name: Artifact(name, type='{new_type}')",
        )

    @property
    def description(self) -> str:
        """Text for people."""
        return self._recorded_description() if self._description is None else self._description

    @description.setter
    def description(self, text: str | None) -> None:
        if text is not None and not isinstance(text, str):
            raise WrongType(f"a description is text, not '{text.__class__.__name__}'")
        self._description = text or ""

    def _recorded_description(self) -> str:
        if self._saved_description is None:
            with self._looking() as (session, _):
                self._saved_description = versions.artifact_description(session, self._row)
        return self._saved_description

    @property
    def tags(self) -> list[str]:
        """Labels of the artifact itself; may be edited in place."""
        return self._tags

    @tags.setter
    def tags(self, value: Iterable[str]) -> None:
        found = dict.fromkeys([value] if isinstance(value, str) else value)
        self._tags = [names.check_tag(tag) for tag in found]

    @property
    def aliases(self) -> list[str]:
        """The aliases of all its versions, ``latest`` first."""
        with self._looking() as (_, where):
            return catalog.artifact_aliases(where, self._id)

    @property
    def created_at(self) -> str:
        """When its first version was made: ISO text, UTC."""
        return str(self._row["created"])

    @property
    def updated_at(self) -> str:
        """When a version was last added, or an alias moved."""
        with self._looking() as (_, where):
            return catalog.artifact_updated(where, self._row)

    def is_sequence(self) -> bool:
        """Whether versions were logged to it; one that has only links is none."""
        with self._looking() as (_, where):
            return not catalog.is_portfolio(where, self._id)

    @as_comm_error
    def artifacts(self, per_page: int = 50, start: str | None = None) -> Listing[Artifact]:
        """Its live versions, newest first."""
        return versions_listing(self, per_page=per_page, start=start)

    # ---- changing it ---------------------------------------------------------------------------------------

    def _changeable(self, where: Place) -> None:
        row = catalog.artifact_by_id(where, self._id)
        full_name = f"{row['project']}/{row['name']}"
        if self._remote is not None:
            raise Conflict(
                f"artifact '{full_name}' is known from remote '{self._remote}' only, and cannot be changed here",
                hint=f"change it in a clone of '{self._remote}'",
            )
        if row["deleted"]:
            raise Conflict(f"artifact '{full_name}' is deleted", hint="'avc restore' brings its versions back")

    @as_comm_error
    def save(self) -> None:
        """Record what was changed. Where the new name is taken, that is a CommError and nothing is changed."""
        tags = [names.check_tag(tag) for tag in dict.fromkeys(self._tags)]
        added = [tag for tag in tags if tag not in self._saved_tags]
        removed = [tag for tag in self._saved_tags if tag not in tags]
        described = self._description not in (None, self._recorded_description())
        with self._looking() as (session, where):
            self._changeable(where)
            catalog.rename_and_edit(
                session, self._row, names.check_artifact_name(self._name),
                self._description if described else versions.KEEP,
                (added, removed) if added or removed else versions.KEEP,
            )  # fmt: skip
            self._adopt(catalog.artifact_by_id(where, self._id))

    @as_comm_error
    def delete(self) -> None:
        """Delete every version with its aliases, and the links to them; gc frees what no other version uses.

        Of an artifact that has only links, the links go and their sources stay.
        """
        with self._looking() as (session, where):
            self._changeable(where)
            versions.delete_artifact(session, self._id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArtifactCollection) and other._id == self._id

    def __hash__(self) -> int:
        return hash(self._id)

    def __repr__(self) -> str:
        return f"<ArtifactCollection {self.project}/{self._name} ({self.type})>"

    def _repr_html_(self) -> str:
        from artifactvc.sdk.html import table

        listed = self.artifacts(per_page=1)
        newest = listed[0].version if len(listed) else "none"
        rows: list[tuple[str, object]] = [("type", self.type), ("project", self.project)]
        rows += [("versions", len(listed)), ("newest", newest), ("aliases", ", ".join(self.aliases))]
        rows += [("tags", ", ".join(self._tags))] if self._tags else []
        rows += [("description", self.description)] if self.description else []
        return table(self._name, rows)


# ---- its versions ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Versions(Source[tuple[int, str], "Artifact"]):
    collection: ArtifactCollection
    wanted: catalog.Wanted

    @property
    def title(self) -> str:
        return f"versions of '{self.collection.project}/{self.collection.name}'"

    def keys(self) -> Sequence[tuple[int, str]]:
        with self.collection._looking() as (_, where):
            return catalog.live_versions(where, self.collection.id, self.wanted)

    def load(self, keys: Sequence[tuple[int, str]]) -> Sequence[Artifact | None]:
        from artifactvc import Artifact

        with self.collection._looking() as (session, where):
            found = catalog.load(session, where, [(self.collection.id, digest) for _, digest in keys])
            live = [version if version is not None and version.version["live"] else None for version in found]
            return [version and Artifact._from(session, version, where.remote) for version in live]

    def cursor(self, key: tuple[int, str]) -> str:
        return f"v{key[0]}"


def versions_listing(
    collection: ArtifactCollection,
    order: str | None = None,
    per_page: int = 50,
    tags: str | Iterable[str] | None = None,
    start: str | None = None,
) -> Listing[Artifact]:
    """The live versions of an artifact that have all *tags*; newest first unless *order* is ``version_index``."""
    if order not in _ORDERS:
        raise BadName(f"bad order '{order}'", hint="use 'version_index' or '-version_index'")
    labels = [names.check_tag(tag) for tag in ([tags] if isinstance(tags, str) else tags or ())]
    after = None if start is None else _number(start)
    return Listing(_Versions(collection, catalog.Wanted(labels, _ORDERS[order], after)), per_page, start)


def _number(cursor: str) -> int:
    number = str(cursor).removeprefix("v")
    if not (number.isascii() and number.isdecimal()) or len(number) > 15:
        raise BadName(f"bad start '{str(cursor)[:80]}'", hint="give the cursor of a listing of versions")
    return int(number)


# ---- types ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ArtifactType:
    """What artifacts of a project are, such as ``dataset`` or ``model``."""

    _root: Path
    project: str
    name: str
    _remote: str | None = None

    @property
    def entity(self) -> str:
        """Whose project it is: this repository's entity, or the remote's name."""
        return entity_of(self._root, self._remote)

    @as_comm_error
    def collection(self, name: str) -> ArtifactCollection:
        """The artifact of this type that has this name."""
        with looking(self._root, self._remote) as (_, where):
            row = catalog.artifact(where, self.project, names.check_artifact_name(name), self.name)
            return ArtifactCollection(self._root, row["id"], self._remote)

    @as_comm_error
    def collections(
        self,
        filters: Mapping[str, Any] | None = None,
        order: str | None = None,
        per_page: int = 50,
        start: str | None = None,
    ) -> Listing[ArtifactCollection]:
        """The artifacts of this type, by name unless *order* says otherwise (``-created_at``)."""
        chosen = parse_filter(filters, COLLECTION), parse_order(order, COLLECTION, "name")
        return Listing(Collections(self._root, self._remote, self.project, self.name, chosen, start), per_page, start)

    def __repr__(self) -> str:
        return f"<ArtifactType {self.name}>"


@dataclass(frozen=True)
class Collections(Source[str, ArtifactCollection]):
    """The artifacts of a project, of one type or of all, that a filter takes."""

    root: Path
    remote: str | None
    project: str
    kind: str | None
    chosen: tuple[Any, Any]  # filter and order
    start: str | None = None

    @property
    def title(self) -> str:
        """What is listed."""
        return f"artifacts in '{self.project}'"

    def keys(self) -> Sequence[str]:
        """Their ids."""
        with looking(self.root, self.remote) as (_, where):
            found = [row["id"] for row in catalog.artifacts(where, self.project, self.kind, *self.chosen)]
        return _behind(found, self.start)

    def load(self, keys: Sequence[str]) -> Sequence[ArtifactCollection | None]:
        """The artifacts of these ids, but those that were deleted meanwhile."""
        with looking(self.root, self.remote) as (_, where):
            gone = [catalog.artifact_by_id(where, key)["deleted"] for key in keys]
            return [
                None if deleted else ArtifactCollection(self.root, key, self.remote)
                for key, deleted in zip(keys, gone, strict=True)
            ]


def _behind(keys: Sequence[str], start: str | None) -> Sequence[str]:
    """What comes after *start*; NotFound if it is not among *keys*."""
    if start is None:
        return keys
    if start not in keys:
        raise NotFound(f"no '{str(start)[:80]}' in this listing to go on from", hint="begin it again without start")
    return keys[keys.index(start) + 1 :]


def entity_of(root: Path, remote: str | None) -> str:
    """Whose names these are: this repository's entity, or the remote's name."""
    if remote is not None:
        return remote
    with at(root).session() as session:
        return session.entity
