"""What is said about an artifact: the other properties of ``Artifact``.

A draft has name, type, description, metadata and ttl; the others are a version's, and
raise ``ArtifactNotLoggedError`` before there is one. Lists and dictionaries may be edited
in place; ``save`` finds what changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from artifactvc.core import metadata as plain_metadata
from artifactvc.core import names
from artifactvc.core.retention import NONE, is_generated, time_to_live
from artifactvc.errors import ArtifactNotLoggedError, BadName, BadValue, WrongType
from artifactvc.ops.session import Session
from artifactvc.sdk.artifact_names import ArtifactNames
from artifactvc.sdk.ttl import ArtifactTTL, format_ttl, parse_ttl


class ArtifactFields(ArtifactNames):
    """The properties of ``Artifact``; mixed into it."""

    # ---- what is said about it ---------------------------------------------------------------------------

    @property
    def description(self) -> str | None:
        """Text for people; may be changed at any time, ``save`` records it."""
        return self._description

    @description.setter
    def description(self, text: str | None) -> None:
        if text is not None and not isinstance(text, str):
            raise WrongType(f"a description is text, not '{type(text).__name__}'")
        self._description = text

    @property
    def metadata(self) -> dict[str, Any]:
        """At most 100 keys with values that JSON has words for; may be edited in place."""
        return self._metadata

    @metadata.setter
    def metadata(self, value: Any) -> None:
        self._metadata = plain_metadata.normalize(value)

    @property
    def aliases(self) -> list[str]:
        """The aliases of the version, ``latest`` first; may be edited in place."""
        self._logged("aliases")
        return self._aliases

    @aliases.setter
    def aliases(self, value: Iterable[str]) -> None:
        self._logged("aliases")
        found = list(dict.fromkeys([value] if isinstance(value, str) else value))
        for alias in found:
            names.check_alias(alias)
        self._aliases = found

    @property
    def tags(self) -> list[str]:
        """Labels that many versions may share; may be edited in place."""
        self._logged("tags")
        return self._tags

    @tags.setter
    def tags(self, value: Iterable[str]) -> None:
        self._logged("tags")
        found = list(dict.fromkeys([value] if isinstance(value, str) else value))
        for tag in found:
            names.check_tag(tag)
        self._tags = found

    @property
    def ttl(self) -> timedelta | None:
        """How long the version lives, from its creation; None for ever.

        Where it has no time of its own, the project's default. ``save`` records a change.
        A draft with none of its own raises ArtifactNotLoggedError: what it inherits is not settled.
        """
        if isinstance(self._ttl, ArtifactTTL):
            if self._info is None:
                raise ArtifactNotLoggedError("Artifact.ttl", self)
            from artifactvc.ops.expire import default_ttl

            with self._session() as session:
                rows = session.index.rows if self._remote is None else session.remote(self._remote).rows
                return time_to_live(None, self._type, default_ttl(rows, self._info.project))
        return self._ttl

    @ttl.setter
    def ttl(self, value: timedelta | ArtifactTTL | None) -> None:
        if is_generated(self._type):
            raise BadValue(f"an artifact of type '{self._type}' has no time to live")
        if self.is_link:
            raise BadValue("a link has no time to live of its own: set that of its source")
        if value is not None and not isinstance(value, (timedelta, ArtifactTTL)):
            raise WrongType(f"a ttl is a timedelta, None or ArtifactTTL.INHERIT, not '{type(value).__name__}'")
        if isinstance(value, timedelta):
            if value <= timedelta(0):
                raise BadName("a ttl must be longer than nought", hint="give None for a version that never expires")
            value = parse_ttl(format_ttl(value))
        self._ttl, self._ttl_changed = value, True

    # ---- facts ----------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """PENDING for a draft, COMMITTED, PENDING_DELETION while it can be restored, then GARBAGE_COLLECTED."""
        if self._info is None:
            return "PENDING"
        with self._session() as session:
            version = self._version(session).version
            if version["live"]:
                return "COMMITTED"
            return "PENDING_DELETION" if session.avc.store.has([version["digest"]]) else "GARBAGE_COLLECTED"

    @property
    def commit_hash(self) -> str:
        """The digest, by W&B's name."""
        return self._logged("commit_hash").digest

    @property
    def file_count(self) -> int:
        """How many entries the version has."""
        return self._logged("file_count").entries

    @property
    def created_at(self) -> str:
        """When the version was made: ISO text, UTC."""
        return self._logged("created_at").created

    @property
    def updated_at(self) -> str:
        """When an alias of it was last moved here; else when it was made."""
        self._logged("updated_at")
        with self._session() as session:
            found = self._version(session)
            key = {"artifact": found.artifact["id"], "digest": found.version["digest"]}
            moved = [row["moved_at"] for row in session.index.rows.find("alias", **key)]
            return str(max([found.version["created"], *filter(None, moved)]))

    @property
    def history_step(self) -> int | None:
        """The last step that the producing run had logged when it logged this version, counted from the one before.

        None where no run produced it, or none had logged a metric by then (as W&B counts it).
        """
        from artifactvc.ops import runs
        from artifactvc.util.text import parse_time

        info = self._logged("history_step")
        if not info.produced_by or self._remote is not None:
            return None
        with self._session() as session:
            made = parse_time(info.created).timestamp()
            steps = [
                int(line.get("_step", 0))
                for line in runs.metrics(session, self._first_producer(session))
                if float(line.get("_timestamp", 0)) <= made
            ]
        return max(*steps, 0) if steps else None

    def _first_producer(self, session: Session) -> str:
        found = self._version(session)
        key = {"artifact": found.artifact["id"], "digest": found.version["digest"]}
        return str(min(session.index.rows.find("produced", **key), key=lambda row: row["at"])["run"])

    @property
    def url(self) -> str:
        """``avc://project/name:vN``: there is no web page behind it."""
        info = self._logged("url")
        return f"avc://{info.project}/{self.name}"

    @property
    def distributed_id(self) -> str | None:
        """By which id many writers build it, while it is a draft that was upserted."""
        return self._distributed_id

    @property
    def incremental(self) -> bool:
        """Whether logging it adds to the newest version instead of replacing it."""
        return self._incremental

    @property
    def use_as(self) -> str | None:
        """W&B has given it up; always None."""
        return None

    def _ttl_text(self) -> str | None:
        """The ttl as records have it."""
        if isinstance(self._ttl, ArtifactTTL):
            return None
        return NONE if self._ttl is None else format_ttl(self._ttl)

    def _repr_html_(self) -> str:
        from artifactvc.sdk.html import table

        rows: list[tuple[str, object]] = [("type", self._type), ("state", self.state)]
        if self._info is not None:
            rows += [("project", self.project), ("version", self.version), ("aliases", ", ".join(self._aliases))]
            rows += [("tags", ", ".join(self._tags))] if self._tags else []
            rows += [("made", self.created_at)]
        root = self._root()
        rows += [("entries", root.count), ("size", f"{root.size} B"), ("digest", root.digest[:12])]
        rows += [("description", self._description)] if self._description else []
        rows += [(f"metadata.{key}", value) for key, value in list(self._metadata.items())[:20]]
        return table(self.name, rows)
