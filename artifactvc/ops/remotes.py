"""Remotes configured, cloned from, pulled from."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from artifactvc.core import names
from artifactvc.core.records import holder
from artifactvc.core.results import Cloned, Pulled, RemoteInfo
from artifactvc.errors import (
    AvcError,
    BadName,
    Corrupt,
    NameTaken,
    NewerFormat,
    RemoteMissing,
    StaleVersion,
    StorageError,
    UsageError,
)
from artifactvc.ops import resolve
from artifactvc.ops.complete import missing_here
from artifactvc.ops.fetch import fetch, remote_name
from artifactvc.ops.look import taken_from
from artifactvc.ops.resolve import Found
from artifactvc.ops.session import Session, looking
from artifactvc.ops.transfer import plan_bringing, require_objects
from artifactvc.ops.trusted import bring_nodes, trusted
from artifactvc.storage.kept import keep_description
from artifactvc.storage.probe import KINDS, open_transport, probe
from artifactvc.storage.remote import Remote, describe, read_description, transport_of
from artifactvc.storage.transport import RemoteOptions


def add(
    session: Session,
    name: str,
    url: str,
    options: RemoteOptions,
    *,
    single_writer: bool = False,
    to: Literal["add", "adopt", "clone"] = "add",
) -> RemoteInfo:
    """Configure a remote after trying what its storage can do (protocol R1).

    To *adopt* one makes nothing: an address that came with somebody's ``artifacts.toml`` is read
    before anything is written there. To *add* one is to try listing, too, as no everyday command does.
    """
    names.check_remote_name(name)
    avc = session.avc
    if name in avc.remotes:
        raise NameTaken(f"remote '{name}' exists", hint="run 'avc remote set-url' to move it, or choose another name")
    if name == session.entity:
        raise BadName(f"a remote cannot be called '{name}', as this repository's entity is", hint="choose another name")
    url = absolute_url(url)
    _check_place(session, url)
    transport = open_transport(url, options)
    if to == "adopt" and read_description(transport) is None:
        raise RemoteMissing(
            f"there is no avc remote at '{url}', which artifacts.toml names as origin",
            hint="reach it (mount it, check the address), then run 'avc pull'; 'avc remote add origin URL' makes one",
        )
    found = probe(transport, single_writer=single_writer, listing=to == "add")
    body = read_description(transport) if found.read_only else describe(transport, session.project)
    if body is None:
        raise RemoteMissing(
            f"'{url}' can only be read and holds no avc remote", hint="push to it from a place that may write"
        )
    table: dict[str, Any] = {"url": url, "id": body["id"]}
    given = {"endpoint_url": options.endpoint_url, "profile": options.profile, "region": options.region}
    table |= {key: value for key, value in given.items() if value}
    table |= {"transport": options.client} if options.client != RemoteOptions.client else {}
    table |= {"read_only": True} if found.read_only else {}
    table |= {"single_writer": True} if single_writer else {}
    twin = next((other for other, held in avc.remotes.items() if held["id"] == body["id"]), None)
    if twin is not None:
        session.say(f"'{name}' is the same remote as '{twin}'")
    _configure(session, lambda remotes: remotes.__setitem__(name, table))
    keep_description(avc.remote_directory(body["id"]), body, avc.tmp)
    if avc.origin == name:
        avc.bindings.update(lambda artifacts: None, origin=url)
    notes = (found.found, *found.notes)
    return RemoteInfo(name, url, body["id"], avc.origin == name, found.read_only, single_writer, notes)


def _check_place(session: Session, url: str) -> None:
    """A directory in the repository itself, or in what an artifact is taken from, is no place to share."""
    if "://" in url:
        return
    place, root = os.path.realpath(url), os.path.realpath(session.avc.root)
    if place == root or place.startswith(root + "/") or root.startswith(place.rstrip("/") + "/"):
        raise UsageError(
            f"'{url}' is, or holds, this repository: a remote needs a place of its own",
            hint="name another directory, such as one beside the workspace",
        )
    for artifact in session.avc.bindings.artifacts.values():
        for binding in artifact.paths:
            bound = os.path.realpath(session.avc.workspace / binding.path)
            if place == bound or place.startswith(bound + "/"):
                raise UsageError(
                    f"'{url}' is in '{binding.path}', which '{artifact.name}' is taken from",
                    hint="name a directory outside it",
                )


def absolute_url(url: str) -> str:
    """*url* with a relative or local path made absolute, so that it means the same from everywhere."""
    names.check_given(url, "address", f"use {KINDS}")
    if any("\ud800" <= c <= "\udfff" for c in url):  # config.toml could not hold it
        raise BadName(f"the address '{url}' is not UTF-8", hint="give it another name, or a link with one")
    if "://" in url:
        parts = urlsplit(url)
        if parts.password or ("@" in parts.netloc and ":" in parts.netloc.rpartition("@")[0]):
            raise UsageError(
                "a remote's address cannot hold a password",
                hint="use the credentials file, a profile or the environment",
            )
        if parts.scheme == "file":
            return os.path.abspath(parts.path)
        if not (parts.netloc or parts.path.strip("/")):  # without its slashes it would be taken for a directory
            raise UsageError(f"'{url}' is not a whole address", hint=f"use {KINDS}")
        return url.rstrip("/")
    if re.match(r"(s3|gs|gcs|az|abfs|sftp|ssh|https?):/", url, re.IGNORECASE):
        scheme, _, rest = url.partition(":/")
        raise UsageError(
            f"'{url}' lacks a slash", hint=f"write '{scheme}://{rest}', or './{url}' if it is a directory here"
        )
    return os.path.abspath(os.path.expanduser(url))


def _configure(session: Session, change: Any) -> None:
    def edit(document: Any) -> None:
        import tomlkit

        if "remotes" not in document:
            document["remotes"] = tomlkit.table(is_super_table=True)
        change(document["remotes"])

    session.avc.edit_config(edit)
    session.caught_up = False


def info(session: Session, name: str) -> RemoteInfo:
    """One configured remote."""
    table = session.avc.remotes[name]
    return RemoteInfo(
        name,
        table["url"],
        table["id"],
        session.avc.origin == name,
        bool(table.get("read_only")),
        bool(table.get("single_writer")),
    )


def listing(session: Session) -> list[RemoteInfo]:
    """Every configured remote, in the order they were added."""
    return [info(session, name) for name in session.avc.remotes]


def remove(session: Session, name: str) -> RemoteInfo:
    """Forget a remote; nothing on it is touched."""
    held = info(session, remote_name(session, name))
    unpushed = held.origin and any(True for _ in session.index.pending())
    if unpushed:
        session.say("there is unpushed work: it stays here, numbered by the next origin, or by this repository alone")
    _configure(session, lambda remotes: remotes.pop(name))
    if not any(table["id"] == held.id for table in session.avc.remotes.values()):
        Remote.forget_id(session.avc, str(held.id))
    return held


def set_url(session: Session, name: str, url: str) -> RemoteInfo:
    """Say where a remote is now; it must be the same remote."""
    held = info(session, remote_name(session, name))
    url = absolute_url(url)
    table = dict(session.avc.remotes[name])
    body = read_description(transport_of(table | {"url": url}))
    if body is None or body["id"] != held.id:
        raise RemoteMissing(
            f"'{url}' is not the remote '{name}'",
            hint="to use another remote, run 'avc remote remove' and 'avc remote add'",
        )
    _configure(session, lambda remotes: remotes[name].__setitem__("url", url))
    if held.origin:
        session.avc.bindings.update(lambda artifacts: None, origin=url)
    return info(session, name)


def set_origin(session: Session, name: str) -> RemoteInfo:
    """Let another remote give the numbers (protocol N2)."""
    remote_name(session, name)

    def change(remotes: Any) -> None:
        for other in remotes:
            remotes[other].pop("origin", None)
        remotes[name]["origin"] = True

    _configure(session, change)
    session.avc.bindings.update(lambda artifacts: None, origin=session.avc.remotes[name]["url"])
    fetch(session, name)
    return info(session, name)


# ---- pull, clone -----------------------------------------------------------------------------


def pull(session: Session, name: str | None, refs: Sequence[str], *, dry_run: bool = False) -> Pulled:
    """Read the log, then bring the bytes of the versions asked for; the workspace is not touched."""
    if dry_run:
        with looking(session):
            return _pull(session, name, refs)
    return _pull(session, name, refs)


def _pull(session: Session, name: str | None, refs: Sequence[str]) -> Pulled:
    name = remote_name(session, name)
    fetched = fetch(session, name)
    session.remote(name).verify_identity(to_write=False)
    objects, size = session.brought_objects, session.brought_bytes
    wanted: list[Found] = []
    if session.avc.remotes[name].get("mirror") and not refs:
        from artifactvc.ops.mirror import mirror

        everything, planned = mirror(session, name)
        shown = list(everything)
    else:
        wanted = [resolve.version(session, ref) for ref in refs] if refs else _default_versions(session)
        planned, shown = set(), []
    for found in wanted:
        root = found.version["digest"]
        if trusted(session, root) and not session.only_looks:
            bring_nodes(session, root)  # checked long ago, and perhaps evicted since
        lacking = list(missing_here(session, root))
        shown.append(f"{found.full_name}:{found.shown}")
        if session.only_looks:
            planned.update(lacking)
        else:
            require_objects(session, lacking, shown[-1])
    bringing = plan_bringing(session, planned)
    objects = session.brought_objects - objects + sum(one.objects for one in bringing)
    size = session.brought_bytes - size + sum(one.bytes for one in bringing)
    checkouts = _checkouts(session, wanted)
    return Pulled(fetched, tuple(shown), objects, size, checkouts, session.only_looks, bringing)


def _default_versions(session: Session) -> list[Found]:
    """What ``artifacts.toml`` names, else the ``latest`` of each artifact."""
    rows = session.index.rows
    out: list[Found] = []
    for bound in session.avc.bindings.artifacts.values():
        artifact = holder(rows, bound.project, bound.name)
        if artifact is None or bound.digest is None:
            continue
        version = resolve.live_by_digest(session, artifact["id"], bound.digest)
        if version is None:
            number = names.parse_ref(f"x:{bound.version}").number if bound.version else None
            there = rows.get("version", artifact["id"], number)
            if there is not None and there["live"]:
                raise StaleVersion(
                    f"artifacts.toml names {bound.name}:{bound.version} with content {bound.digest:.12},"
                    f" but {bound.name}:{bound.version} is {there['digest']:.12}",
                    hint=f"run 'avc checkout {bound.name}:{bound.version}' to take that one, or restore artifacts.toml",
                )
            session.say(f"artifacts.toml names {bound.name}:{bound.version}, which no log has: is it pushed?")
            continue
        out.append(Found(artifact, version))
    if out or session.avc.bindings.artifacts:
        return out
    for artifact in rows.find("artifact"):
        latest = rows.get("alias", artifact["id"], "latest")
        version = resolve.live_by_digest(session, artifact["id"], latest["digest"]) if latest else None
        if version is not None and not artifact["deleted"]:
            out.append(Found(artifact, version))
    if not out and rows.find("version", live=1):
        session.say("no artifact has a 'latest': name the versions to bring, as in 'avc pull origin NAME:v0'")
    return out


def adopt_origin(session: Session, url: str) -> str | None:
    """Configure the origin that ``artifacts.toml`` names, if there is such a remote; else say so, and go on without."""
    try:
        add(session, "origin", url, RemoteOptions(), to="adopt")
    except (StorageError, Corrupt, NewerFormat) as error:
        session.say(f"{error.message}: this repository has no remote yet; run 'avc init' again when it can be reached")
        return None
    return url


def project_at(url: str) -> str | None:
    """The project that a remote names as its default, or None where it cannot be asked."""
    try:
        body = read_description(open_transport(absolute_url(url), RemoteOptions()))
    except AvcError:
        return None
    project = body.get("project") if body else None
    return project if isinstance(project, str) else None


def _checkouts(session: Session, wanted: Sequence[Found]) -> tuple[str, ...]:
    """Commands that would bring the workspace to the versions pulled."""
    out = []
    for found in wanted:
        bound = session.avc.bindings.find(found.artifact["project"], found.artifact["name"])
        there = bound is not None and any((session.avc.workspace / b.path).exists() for b in bound.paths)
        files = taken_from(session, bound.key, bound) if bound is not None else None
        if bound is None or not (bound.digest == files == found.version["digest"]) or not there:
            name = found.artifact["name"]
            full = name if found.artifact["project"] == session.project else found.full_name
            out.append(f"avc checkout {full}:{found.shown.rstrip('~')}")
    return tuple(out)


def clone_description(url: str, options: RemoteOptions) -> tuple[str, dict[str, Any]]:
    """The absolute address and ``avc.json`` of a remote to clone; RemoteMissing if there is none."""
    url = absolute_url(url)
    body = read_description(open_transport(url, options))
    if body is None:
        raise RemoteMissing(f"there is no avc remote at '{url}'", hint="check the address; 'avc remote add' makes one")
    return url, body


def after_clone(session: Session, url: str, path: Path) -> Cloned:
    """Read the log of a remote that was just added; bytes come when they are asked for, or all at once to a mirror."""
    name = remote_name(session, None)
    if not session.avc.remotes[name].get("mirror"):
        return Cloned(str(path), url, fetch(session, name))
    pulled = pull(session, name, ())
    return Cloned(str(path), url, pulled.fetched, pulled.objects, pulled.bytes)
