"""``Repository``: every operation of the command line, typed and silent.

One method is one operation of ``ops``, with the same names and results
(``artifactvc.core.results``). What people should be told besides the result is left in
``notices``. Environment variables are read here and nowhere below (design, section 7).
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from artifactvc.core import names
from artifactvc.core.identity import parse_identity
from artifactvc.errors import BadName, NoRepository, UsageError
from artifactvc.ops.session import Session
from artifactvc.sdk.cache import Cache
from artifactvc.sdk.environment import (
    author,
    first,
    global_setting,
    login,
    project_for,
    project_from,
    set_global,
    variable,
)
from artifactvc.sdk.repository_references import References
from artifactvc.sdk.repository_remotes import Remotes
from artifactvc.sdk.repository_retention import Retention
from artifactvc.sdk.repository_runs import Runs
from artifactvc.storage import avcdir, bindings, settings
from artifactvc.storage.avcdir import AvcDir
from artifactvc.storage.transport import RemoteOptions, transfer_limits
from artifactvc.util.progress import NoProgress, Progress
from artifactvc.util.text import is_uri

if TYPE_CHECKING:
    from artifactvc.core import results

__all__ = ["RemoteOptions", "Repository", "global_setting", "set_global", "transfer_limits", "variable"]


class Repository(References, Remotes, Retention, Runs):
    """An open repository; use it as a context manager, or call ``close``."""

    def __init__(self, avc: AvcDir, environ: Mapping[str, str], progress: Progress | None = None) -> None:
        self._environ = environ
        self._global = settings.load_settings(settings.global_path(environ))
        config = avc.config
        name = login(environ)
        entity = first(variable(environ, "ENTITY"), config.get("entity"), self._global.get("entity"), name)
        project = first(
            variable(environ, "PROJECT"), config.get("project"), self._global.get("project"), "uncategorized"
        )
        self._session = Session(
            avc, self._who, names.check_project(project), entity, progress or NoProgress(),
            fetch_objects=_fetch_objects,
            allowed_globally=settings.get_dotted(self._global, "refs.allow") or "",
        )  # fmt: skip

    def _who(self) -> str:
        return author(self._environ, (self._session.avc.config, self._global), self.root)

    # ---- opening ---------------------------------------------------------------------------

    @classmethod
    def open(
        cls,
        start: str | Path = ".",
        *,
        environ: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> Repository:
        """Open the repository of ``AVC_DIR``, else the one in *start* or above it; NoRepository if there is none."""
        environ = os.environ if environ is None else environ
        named = environ.get("AVC_DIR")
        root = cls.named_root(named) if named else avcdir.find(Path(start))
        return cls.open_at(root, environ=environ, progress=progress)

    @staticmethod
    def named_root(named: str) -> Path:
        """The ``.artifacts`` directory that ``AVC_DIR`` names, itself or the directory around it; NoRepository."""
        root = Path(os.path.abspath(named))
        root = root if root.name == avcdir.NAME else root / avcdir.NAME
        if not (root / "config.toml").is_file():
            raise NoRepository(named)
        return root

    @classmethod
    def open_at(
        cls, root: Path, *, environ: Mapping[str, str] | None = None, progress: Progress | None = None
    ) -> Repository:
        """Open the repository whose ``.artifacts`` directory is *root*."""
        repository = cls(AvcDir(root), os.environ if environ is None else environ, progress)
        repository._recover()
        return repository

    @classmethod
    def init(
        cls,
        directory: str | Path = ".",
        *,
        project: str | None = None,
        environ: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> tuple[Repository, results.Initialized]:
        """Make a repository in *directory*, or open the one there.

        A remote that ``artifacts.toml`` names becomes origin.
        """
        from artifactvc.core.results import Initialized

        environ = os.environ if environ is None else environ
        workspace = Path(os.path.abspath(directory))
        if project is not None:
            names.check_project(project)
        root = workspace / avcdir.NAME
        there = (root / "config.toml").is_file()
        chosen = project or variable(environ, "PROJECT") or ("" if there else project_for(workspace))
        created = avcdir.create(root, chosen or project_from(workspace))
        repository = cls(AvcDir(root), environ, progress)
        if project is not None and not created and repository.project != project:
            repository.config_set("project", project)
            repository = cls(AvcDir(root), environ, progress)
        if created and (place := settings.get_dotted(repository._global, "store.path")):
            repository.config_set("store.path", place)
        repository._session.index  # noqa: B018  the index is made now, not at the first question
        url = repository._session.avc.bindings.origin
        if url is not None and not repository._session.avc.remotes:
            from artifactvc.ops import remotes

            url = remotes.adopt_origin(repository._session, url)
        return repository, Initialized(str(root), repository.project, created, url)

    @classmethod
    def clone(
        cls,
        url: str,
        directory: str | Path | None = None,
        *,
        options: RemoteOptions | None = None,
        mirror: bool = False,
        environ: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> tuple[Repository, results.Cloned]:
        """Make a repository in *directory* (else one named like the remote) with *url* as origin, and read its log.

        A *mirror* has all bytes too; one that was interrupted goes on.
        """
        from artifactvc.ops import mirror as mirrors
        from artifactvc.ops import remotes

        options = options or RemoteOptions()
        url, body = remotes.clone_description(url, options)
        target = Path(os.path.abspath(directory or url.rstrip("/").rpartition("/")[2] or "clone"))
        if mirror and mirrors.is_mirror_of(target, url):
            repository = cls.open_at(target / avcdir.NAME, environ=environ, progress=progress)
            repository._session.limit(options.limits)
            return repository, remotes.after_clone(repository._session, url, target)
        if target.is_dir() and any(target.iterdir()):
            raise UsageError(f"'{target}' is there and not empty", hint="name another directory")
        there = target.is_dir()
        target.mkdir(parents=True, exist_ok=True)
        try:
            project = body.get("project")
            repository, _ = cls.init(
                target, project=project if isinstance(project, str) else None, environ=environ, progress=progress
            )
            repository._session.limit(options.limits)
            remotes.add(repository._session, "origin", url, options, to="clone")
            if mirror:
                mirrors.mark(repository._session, "origin")
            else:
                return repository, remotes.after_clone(repository._session, url, target)
        except BaseException:
            # It was empty: what is there is ours, and would be in the way of the next try.
            shutil.rmtree(target / avcdir.NAME, ignore_errors=True)
            (target / bindings.FILE).unlink(missing_ok=True)
            if not there:
                target.rmdir()
            raise
        return repository, remotes.after_clone(repository._session, url, target)  # what came of it stays, to go on

    def _recover(self) -> None:
        """Finish or clean what a killed command left in ``tmp``."""
        avc = self._session.avc
        if any(tmp.is_dir() and os.listdir(tmp) for tmp in {avc.tmp, avc.staging}):
            from artifactvc.ops.recovery import recover

            recover(self._session)

    def close(self) -> None:
        """Close the index."""
        self._session.close()

    def __enter__(self) -> Repository:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def root(self) -> Path:
        """The workspace: the directory around ``.artifacts``."""
        return self._session.avc.workspace

    @property
    def avc_root(self) -> Path:
        """The ``.artifacts`` directory."""
        return self._session.avc.root

    @property
    def session(self) -> Session:
        """What the operations work with: for the Python API, which is made of them."""
        return self._session

    @property
    def project(self) -> str:
        """The project of names that are written without one."""
        return self._session.project

    @property
    def entity(self) -> str:
        """The first part of a three-part name that means this repository."""
        return self._session.entity

    @property
    def notices(self) -> list[str]:
        """Lines for people, beside the results; the caller shows and clears them."""
        return self._session.notices

    # ---- workspace ---------------------------------------------------------------------------

    def add(
        self,
        paths: Sequence[str | Path] = (),
        *,
        to: str | None = None,
        type: str | None = None,
        prefix: str | None = None,
        move: bool = False,
        follow: bool = False,
        force: bool = False,
        dry_run: bool = False,
        detail: bool = False,
    ) -> list[results.Staged]:
        """Stage files and directories, or every bound path where none is given; with *detail* every change is told."""
        from artifactvc.ops import stage

        options = stage.AddOptions(to, type, prefix, move, follow, force, dry_run, detail)
        return stage.add(self._session, [os.fspath(path) for path in paths], options)

    def add_import(
        self,
        uri: str,
        *,
        to: str,
        type: str | None = None,
        prefix: str | None = None,
        max_objects: int | None = None,
        dry_run: bool = False,
        detail: bool = False,
    ) -> results.Staged:
        """Stage what *uri* leads to, an object or all below a directory, as files whose bytes come into the store."""
        from artifactvc.ops import importing

        options = importing.ImportOptions(to, type, prefix, max_objects, dry_run, detail)
        return importing.add_import(self._session, uri, options)

    def remove(self, name: str, paths: Sequence[str], *, dry_run: bool = False) -> results.Staged:
        """Take entries, or all below a directory, out of an artifact's draft."""
        from artifactvc.ops import stage

        return stage.remove(self._session, name, paths, dry_run=dry_run)

    def status(self, names: Sequence[str] = ()) -> results.Status:
        """Compare workspace, drafts and base versions."""
        from artifactvc.ops import status

        return status.status(self._session, names)

    def commit(
        self,
        names: Sequence[str] = (),
        *,
        message: str | None = None,
        aliases: Sequence[str] = (),
        tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        ttl: str | None = None,
        run: str | None = None,
        dry_run: bool = False,
    ) -> list[results.Committed]:
        """Make versions of the drafts; an empty list where nothing is staged."""
        from artifactvc.ops import commit

        options = commit.CommitOptions(message, aliases, tags, metadata, ttl, run)
        return commit.commit(self._session, names, options, dry_run=dry_run)

    def reset(self, name: str) -> results.Named:
        """Drop an artifact's draft; files and versions stay."""
        from artifactvc.core.results import Named
        from artifactvc.ops import commit

        dropped = commit.reset(self._session, name)
        _, project, plain = names.parse_artifact(name)
        return Named(
            f"{project or self.project}/{plain}",
            None,
            f"dropped the draft of '{name}'" if dropped else f"'{name}' had no draft",
        )

    def checkout(
        self,
        ref: str,
        destination: str | Path | None = None,
        *,
        prefixes: Sequence[str] = (),
        link: str | None = None,
        force: bool = False,
        dry_run: bool = False,
        detail: bool = False,
        allow_missing_references: bool = False,
    ) -> results.CheckedOut:
        """Write the files of a version into a directory, its bound path where none is named."""
        from artifactvc.ops import checkout
        from artifactvc.ops.checkout_plan import CheckoutOptions

        options = CheckoutOptions(
            tuple(prefixes), link=link, force=force, dry_run=dry_run, detail=detail,
            allow_missing=allow_missing_references,
        )  # fmt: skip
        return checkout.checkout(self._session, ref, destination, options)

    def named_versions(self) -> list[str]:
        """What ``artifacts.toml`` names, as versions to check out: by digest. UsageError where it names none."""
        from artifactvc.ops.resolve import name_now

        bound = [one for one in self._session.avc.bindings.artifacts.values() if one.digest is not None]
        now = [name_now(self._session, one.project, one.name) or one.name for one in bound]
        named = [f"{one.project}/{name}@{one.digest}" for one, name in zip(bound, now, strict=True)]
        if not named:
            raise UsageError("artifacts.toml names no version", hint="name one: 'avc checkout NAME:v3'")
        return named

    def get(
        self,
        ref: str,
        *,
        root: str | Path | None = None,
        prefix: str | None = None,
        dry_run: bool = False,
        allow_missing_references: bool = False,
    ) -> results.CheckedOut:
        """Download a version, whole or below *prefix*, to *root* or ``artifacts/name:vN``; nothing is bound."""
        from artifactvc.ops import checkout
        from artifactvc.ops.checkout_plan import CheckoutOptions

        default = variable(self._environ, "ARTIFACT_DIR") or "artifacts"
        options = CheckoutOptions(
            () if prefix is None else (prefix,), dry_run=dry_run, allow_missing=allow_missing_references
        )
        return checkout.get(self._session, ref, root, Path(default), options)

    def put(
        self,
        path: str | Path,
        *,
        name: str,
        type: str | None = None,
        aliases: Sequence[str] = (),
        tags: Sequence[str] = (),
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        run_id: str | None = None,
        job_type: str = "cli_put",
        prefix: str | None = None,
        follow: bool = False,
        import_: bool = False,
        checksum: bool = True,
        max_objects: int | None = None,
    ) -> results.Committed:
        """Store a file or directory from anywhere as a version, with a run that produced it.

        Of a *path* that is an address references are kept, as ``add_references`` does;
        with *import_* what it leads to comes into the store.
        """
        from artifactvc.ops import commit, put

        options = commit.CommitOptions(
            description, aliases, tags, metadata, run=run_id or variable(self._environ, "RUN_ID"), command="put"
        )
        details = {"command": sys.argv[:50], "directory": os.getcwd()}
        if import_:
            from artifactvc.ops import importing

            wanted = importing.ImportOptions(name, type, prefix, max_objects)
            return importing.put_import(
                self._session, os.fspath(path), wanted, options, put.RunFields(job_type, details)
            )
        run = put.RunFields(job_type, details)
        if is_uri(os.fspath(path)):
            from artifactvc.ops import adopt

            wish = adopt.Wish(os.fspath(path), prefix=prefix or "", checksum=checksum, max_objects=max_objects)
            return adopt.put(self._session, wish, name, type, options, run)
        return put.put(self._session, put.Source(os.fspath(path), prefix or "", follow), name, type, options, run)

    def name_for(self, path: str | Path) -> str:
        """The artifact that a path, or an address, is named after where no name is given."""
        text = os.fspath(path)
        last = text.rstrip("/").rpartition("/")[2] if is_uri(text) else os.path.basename(os.path.abspath(text))
        return names.artifact_name_from(last)

    def require_type(self, ref: str, kind: str) -> None:
        """TypeConflict unless the artifact of *ref* has type *kind*."""
        from artifactvc.errors import TypeConflict

        info = self.show(ref)
        if info.type != kind:
            raise TypeConflict(
                f"artifact '{info.name}' has type '{info.type}', not '{kind}'",
                hint=f"leave --type out, or give '{info.type}'",
            )

    # ---- questions ---------------------------------------------------------------------------

    def log(self, name: str, *, limit: int | None = None) -> Iterator[results.VersionInfo]:
        """The live versions of an artifact, newest first."""
        from artifactvc.ops import query

        return query.log(self._session, name, limit)

    def versions(self, name: str) -> Iterator[results.VersionInfo]:
        """The same as ``log``, all of it."""
        return self.log(name)

    def show(self, ref: str) -> results.VersionInfo:
        """All about one version."""
        from artifactvc.ops import query

        return query.show(self._session, ref)

    def artifacts(self) -> Iterator[results.ArtifactInfo]:
        """Every artifact."""
        from artifactvc.ops import query

        return query.artifacts(self._session)

    def entries(self, ref: str, prefix: str = "", *, sources: bool = False) -> Iterator[results.EntryInfo]:
        """The entries of a version, at or below *prefix*; with *sources* those imported, and where from."""
        from artifactvc.ops import query

        if sources:
            return query.imported(self._session, ref, prefix)
        return query.entries(self._session, ref, prefix)

    def projects(self) -> list[str]:
        """Every project that has an artifact."""
        from artifactvc.ops import query

        return query.column(self._session, "project")

    def types(self) -> list[str]:
        """Every type that an artifact has."""
        from artifactvc.ops import query

        return query.column(self._session, "type")

    def read(self, ref: str, path: str) -> Iterator[bytes]:
        """The bytes of one file in a version, in pieces."""
        from artifactvc.ops import query

        return query.read(self._session, ref, path)

    def diff(self, a: str | None = None, b: str | None = None) -> list[results.Difference]:
        """Workspace and base; workspace and version *a*; or versions *a* and *b*."""
        from artifactvc.ops import query, status

        if a is not None and b is not None:
            return [query.diff_versions(self._session, a, b)]
        return status.diff(self._session, a)

    def du(self) -> results.Usage:
        """Bytes on disk."""
        from artifactvc.ops import query

        return query.usage(self._session)

    # ---- names -------------------------------------------------------------------------------

    def alias(self, ref: str, names: Sequence[str], *, remove: bool = False) -> results.Named:
        """Point aliases at a version, or take them off it."""
        from artifactvc.ops import change

        return change.alias(self._session, ref, names, remove=remove)

    def tag(self, ref: str, names: Sequence[str], *, remove: bool = False) -> results.Named:
        """Add tags to a version, or take them off."""
        from artifactvc.ops import change

        return change.tag(self._session, ref, names, remove=remove)

    def edit(
        self,
        ref: str | None = None,
        *,
        artifact: str | None = None,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> results.Named:
        """Change a description or metadata; metadata is merged, None removes a key."""
        from artifactvc.ops import change

        return change.edit(self._session, ref, artifact=artifact, description=description, metadata=metadata)

    def rename(self, name: str, new: str) -> results.Named:
        """Give an artifact another name."""
        from artifactvc.ops import change

        return change.rename(self._session, name, new)

    def delete(self, ref: str, *, delete_aliases: bool = False, dry_run: bool = False) -> results.Named:
        """Mark a version deleted."""
        from artifactvc.ops import change

        return change.delete(self._session, ref, delete_aliases=delete_aliases, dry_run=dry_run)

    def restore(self, ref: str) -> results.Named:
        """Take a deletion back."""
        from artifactvc.ops import change

        return change.restore(self._session, ref)

    def undo(self, op: str | None = None, *, dry_run: bool = False) -> results.Undone:
        """Take back operation *op* (7 or more digits of its id), or the last one that was not taken back yet."""
        from artifactvc.ops import undo

        return undo.undo(self._session, op, dry_run=dry_run)

    def operations(self, limit: int | None = None) -> Iterator[results.Operation]:
        """What was done here, newest first; *undoable* says what ``undo`` can take back."""
        from artifactvc.ops import operations

        return operations.listing(self._session, limit)

    # ---- upkeep ------------------------------------------------------------------------------

    def fsck(self, remote: str | None = None, *, full: bool = False, repair: bool = False) -> results.Checked:
        """Check everything here, or on *remote*; with *full* every byte, with *repair* mend what can be mended."""
        from artifactvc.ops import fetch, fsck, fsck_remote

        if remote is None:
            return fsck.fsck(self._session, full=full, repair=repair)
        name, grace = fetch.remote_name(self._session, remote), str(self.config_get("gc.grace").value)
        return fsck_remote.fsck_remote(self._session, name, grace, full=full, repair=repair)

    def fsck_refs(self, names: Sequence[str] = ()) -> results.Checked:
        """Ask their storage whether the references of all live versions, or of artifacts *names*, are what they were.

        Each distinct target counts as an object. ReferenceRefused for places that nobody here allowed.
        """
        from artifactvc.ops import fsck_refs

        return fsck_refs.fsck_refs(self._session, names)

    def gc(self, *, grace: str | None = None, dry_run: bool = False) -> results.Collected:
        """Move what nothing needs to the trash; remove what has been there for the grace."""
        from artifactvc.ops import gc

        chosen = grace if grace is not None else str(self.config_get("gc.grace").value)
        return gc.collect(self._session, chosen, dry_run=dry_run)

    def gc_remote(
        self, remote: str | None, *, grace: str | None = None, dry_run: bool = False, force: bool = False
    ) -> results.CollectedRemote:
        """Condemn what nothing needs on a remote; remove what was condemned longer than the grace ago."""
        from artifactvc.ops import fetch, gc_remote

        chosen = grace if grace is not None else str(self.config_get("gc.grace").value)
        name = fetch.remote_name(self._session, remote)
        return gc_remote.collect_remote(self._session, name, chosen, dry_run=dry_run, force=force)

    @property
    def cache(self) -> Cache:
        """The local store as a cache of remotes: ``info``, ``cleanup``, ``forget``."""
        return Cache(self._session, str(self.config_get("gc.grace").value))

    # ---- settings, completion ----------------------------------------------------------------

    def config_get(self, name: str) -> results.ConfigValue:
        """One setting, and which file says so."""
        from artifactvc.core.results import ConfigValue

        name = settings.setting_name(name)
        default = settings.default_of(name)
        for source, table in (("repository", self._session.avc.config), ("global", self._global)):
            value = settings.get_setting(table, name)
            if value is not None:
                return ConfigValue(name, value, source)
        if not default:
            default = {"entity": self.entity, "project": self.project}.get(name, "")
        if name in ("user.name", "user.email"):
            who = parse_identity(self._session.author)
            default = who.name if name == "user.name" else who.email
        return ConfigValue(name, default, "default")

    def config_set(self, name: str, value: str) -> results.ConfigValue:
        """Change one setting of this repository."""
        from artifactvc.core.results import ConfigValue

        name = settings.setting_name(name)
        settings.default_of(name)
        if name == "entity" and value in self._session.avc.remotes:
            raise BadName(f"the entity cannot be called '{value}', as a remote is", hint="choose another name")
        if name == "store.path":
            from artifactvc.ops import sharing

            return ConfigValue(name, sharing.move(self._session, value), "repository")
        config = self._session.avc.root / "config.toml"
        settings.set_dotted(config, name, value)
        self._session.avc.config = settings.load_toml(config)
        self._session.__dict__.pop("author", None)  # it may be another now
        return ConfigValue(name, value, "repository")

    def config_list(self) -> list[results.ConfigValue]:
        """Every setting with its value."""
        return [self.config_get(name) for name in sorted(settings.SETTINGS)]

    def complete(self, kind: str, prefix: str) -> list[str]:
        """Words that begin with *prefix*: kind ``artifact``, ``ref`` (also behind ``:``), ``alias`` or ``remote``."""
        from artifactvc.ops import completion

        return completion.complete(self._session, kind, prefix)


def _fetch_objects(session: Session, digests: Iterable[str]) -> set[str]:
    from artifactvc.ops.transfer import fetch_objects

    return fetch_objects(session, digests)
