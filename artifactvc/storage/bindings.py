"""``artifacts.toml`` in the workspace: which paths are which artifact, at which version.

It is meant for Git: after ``git clone``, it says what to pull. It may come from a
stranger, so names, digests and paths are checked before use (protocol H1, H3).
Comments in it live: it is rewritten with tomlkit, under a lock, in one step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from artifactvc.core import names
from artifactvc.core.manifest import check_path
from artifactvc.core.model import is_digest
from artifactvc.errors import AvcError, Corrupt
from artifactvc.storage.settings import edit_toml, load_toml
from artifactvc.util.files import locked

FILE: Final = "artifacts.toml"


@dataclass(frozen=True)
class Binding:
    """A path of the workspace (``/`` separated, ``.`` for all of it) and where it stands in the artifact."""

    path: str
    prefix: str = ""
    follow: bool = False  # links are followed, as ``add --follow`` asked


@dataclass(frozen=True)
class Bound:
    """One ``[[artifact]]``: the base version that the workspace's files were taken from or written as."""

    project: str
    name: str
    type: str
    version: str | None = None
    digest: str | None = None
    paths: tuple[Binding, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """What tells artifacts apart: project and name."""
        return self.project, self.name

    def with_path(self, binding: Binding) -> Bound:
        """The same with *binding* added, in place of an earlier one for its path."""
        kept = tuple(b for b in self.paths if b.path != binding.path)
        return replace(self, paths=tuple(sorted((*kept, binding), key=lambda b: b.path)))


class Bindings:
    """The file, read when made; ``update`` reads it again under the lock before it writes."""

    def __init__(self, workspace: Path, lock: Path) -> None:
        self._path, self._lock = workspace / FILE, lock
        self._read()

    def _read(self) -> None:
        document = load_toml(self._path)
        try:
            tables = document.get("artifact", [])
            if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
                raise Corrupt("'artifact' is no array of tables: write [[artifact]]")
            self.artifacts = {b.key: b for b in map(_bound, tables)}
            origin = document.get("origin", {})
            if not isinstance(origin, dict):
                raise Corrupt("'origin' is no table: write [origin]")
            origin = origin.get("url")
        except AvcError as error:
            raise Corrupt(
                f"'{self._path.name}' is not as avc writes it: {error.message}", hint="mend it by hand"
            ) from error
        self.origin: str | None = origin if origin and isinstance(origin, str) else None

    def find(self, project: str, name: str) -> Bound | None:
        """The artifact of this name, in any case, or None."""
        for bound in self.artifacts.values():
            if bound.project == project and bound.name.lower() == name.lower():
                return bound
        return None

    def of_path(self, path: str) -> tuple[Bound, Binding] | None:
        """The artifact and binding whose directory holds *path*, the deepest where there are several."""
        best: tuple[Bound, Binding] | None = None
        for bound in self.artifacts.values():
            for binding in bound.paths:
                inside = binding.path in (".", path) or path.startswith(binding.path + "/")
                if inside and (best is None or len(binding.path) > len(best[1].path)):
                    best = bound, binding
        return best

    def update(self, change: Callable[[dict[tuple[str, str], Bound]], None], *, origin: str | None = None) -> None:
        """Change the artifacts in place and write the file, durably, if that changed anything."""
        with locked(self._lock, exclusive=True):
            self._read()
            before = dict(self.artifacts)
            change(self.artifacts)
            if self.artifacts == before and origin in (None, self.origin):
                return
            edit_toml(
                self._path,
                lambda document: _write(document, self.artifacts, origin),
                via=self._lock.parent.parent / "tmp",
            )
            self.origin = origin or self.origin


def _text(table: dict[str, Any], key: str, default: str | None = None) -> str:
    """The text at *key*; Corrupt where there is none."""
    value = table.get(key, default)
    if not isinstance(value, str):
        raise Corrupt(f"'{key}' is missing" if value is None else f"'{key}' is no text")
    return value


def _bound(table: dict[str, Any]) -> Bound:
    digest, version = table.get("digest"), table.get("version")
    if digest is not None and not is_digest(digest):
        raise Corrupt(f"bad digest '{str(digest)[:80]}'")
    if version is not None and (not isinstance(version, str) or names.parse_ref(f"x:{version}").number is None):
        raise Corrupt(f"bad version '{str(version)[:80]}'")
    paths = []
    rows = table.get("paths", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Corrupt("'paths' is no array of tables: write paths = [{path = \"data\"}]")
    for row in rows:
        path, prefix = _text(row, "path"), _text(row, "as", "")
        follow = row.get("follow") is True
        paths.append(Binding(path if path == "." else check_path(path), prefix and check_path(prefix), follow))
    return Bound(
        names.check_project(_text(table, "project")),
        names.check_artifact_name(_text(table, "name")),
        _text(table, "type", "dataset"),
        version,
        digest,
        tuple(paths),
    )


def _write(document: Any, artifacts: dict[tuple[str, str], Bound], origin: str | None) -> None:
    import tomlkit

    rows = document.get("artifact")
    if not rows and artifacts:
        # An empty array of tables would be written as "artifact = []", which no table can follow.
        document.pop("artifact", None)
        if document:
            document.add(tomlkit.nl())
        rows = document["artifact"] = tomlkit.aot()
    wanted = dict(artifacts)
    for position in range(len(rows or ()) - 1, -1, -1):
        bound = wanted.pop((rows[position].get("project"), rows[position].get("name")), None)
        if bound is None:
            del rows[position]
        else:
            _fill(rows[position], bound)
    if rows is not None and not rows and not wanted:
        document.pop("artifact", None)
    for bound in wanted.values():
        table = tomlkit.table()
        _fill(table, bound)
        rows.append(table)
    if origin is not None:
        if "origin" not in document:
            document["origin"] = tomlkit.table()
        document["origin"]["url"] = origin


def _fill(table: Any, bound: Bound) -> None:
    import tomlkit

    paths = tomlkit.array()
    for binding in bound.paths:
        row = tomlkit.inline_table()
        row.update({"path": binding.path, **({"as": binding.prefix} if binding.prefix else {})})
        if binding.follow:
            row["follow"] = True
        paths.append(row)
    wanted = {"name": bound.name, "project": bound.project, "type": bound.type, "version": bound.version}
    for key, value in {**wanted, "digest": bound.digest}.items():
        if value is None:
            table.pop(key, None)
        elif table.get(key) != value:
            table[key] = value
    if [dict(row) for row in table.get("paths", [])] != [dict(row) for row in paths] or "paths" not in table:
        table["paths"] = paths
