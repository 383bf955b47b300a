"""Results as people read them. All text from elsewhere is escaped."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from artifactvc.cli.values import count
from artifactvc.core.identity import parse_identity
from artifactvc.util.text import escape, format_size

if TYPE_CHECKING:
    from artifactvc.core import results

_COLOURS: Final = {"added": "32", "modified": "33", "removed": "31", "untracked": "36", "head": "1"}
_MARKS: Final = {"added": "+", "modified": "~", "removed": "-", "untracked": "?"}
_LISTED: Final = 20


def colour(text: str, what: str) -> str:
    """*text* in colour on a terminal, plain in a pipe or with NO_COLOR."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{_COLOURS[what]}m{text}\x1b[0m"


def changes(found: Sequence[results.PathChange], *, every: bool = False) -> Iterator[str]:
    """One line a path; beyond twenty the rest is counted, unless *every* one is asked for."""
    shown = found if every else found[:_LISTED]
    for change in shown:
        yield "  " + colour(f"{_MARKS[change.status]} {escape(change.path)}", change.status)
    if len(found) > len(shown):
        yield f"  … and {len(found) - len(shown):,} more (-v lists them)"


def summary(found: Sequence[results.PathChange]) -> str:
    """``2 added, 1 removed``."""
    kinds = ("added", "modified", "removed", "untracked")
    numbers = {kind: sum(change.status == kind for change in found) for kind in kinds}
    return ", ".join(f"{number:,} {kind}" for kind, number in numbers.items() if number) or "nothing changed"


def staged(result: results.Staged) -> str:
    """What ``add`` or ``rm`` did to one artifact."""
    parts = [(result.added, "added"), (result.modified, "modified"), (result.removed, "removed")]
    text = ", ".join(f"{number:,} {kind}" for number, kind in parts if number) or "nothing changed"
    verb = "would stage" if result.dry_run else "staged"
    empty = " (empty directories are not kept)" if not result.entries and not result.removed else ""
    return f"{verb} {escape(result.artifact)} ({escape(result.type)}): {text}; {count(result.entries, 'entry')}{empty}"


def committed(result: results.Committed, *, dry_run: bool = False) -> str:
    """What ``commit`` or ``put`` made of one artifact."""
    name = escape(result.artifact)
    if result.outcome == "nothing":
        return f"{name}: nothing to commit"
    size = f"{count(result.entries, 'entry')}, {format_size(result.size)}"
    if dry_run:
        return f"would commit {name}: {size}"
    aliases = f" [{', '.join(map(escape, result.aliases))}]" if result.aliases else ""
    what = f"{name}:{result.version}{aliases} {str(result.digest)[:12]}  {size}"
    return f"committed {what}" if result.outcome == "created" else f"unchanged {what}"


def version_line(info: results.VersionInfo, *, shared: bool = True) -> str:
    """One line of ``log``; whether it is pushed is said where there is a remote (*shared*)."""
    aliases = f" [{', '.join(map(escape, info.aliases))}]" if info.aliases else ""
    tags = f" ({', '.join(map(escape, info.tags))})" if info.tags else ""
    text = escape(info.description.partition("\n")[0])
    where = " unpushed" if shared and not info.pushed else ""
    end = f"  {expiry(info.expires)}" if info.expires else ""
    who = parse_identity(info.author)
    by = escape(who.name or who.email)
    head = f"{info.version:<6} {info.digest[:12]}  {info.created[:16].replace('T', ' ')}  {by}"
    size = f"{count(info.entries, 'entry')}, {format_size(info.size)}"
    return f"{head}  {size}{aliases}{tags}{where}{end}" + (f"  {text}" if text else "")


def version(info: results.VersionInfo, *, shared: bool = True) -> Iterator[str]:
    """All of ``show``; whether it is pushed is said where there is a remote (*shared*)."""
    state = [info.state, "here" if info.here else "needs its remote"]
    state += [f"{'' if info.pushed else 'un'}pushed"] if shared else []
    rows: list[tuple[str, str]] = [
        ("type", info.type),
        ("digest", info.digest),
        ("aliases", ", ".join(info.aliases)),
        ("tags", ", ".join(info.tags)),
        ("created", f"{info.created} by {info.author}"),
        ("content", f"{count(info.entries, 'entry')}, {format_size(info.size)}"),
        ("base", info.base or ""),
        ("imported", "; ".join(_imported(found) for found in info.sources)),
        ("made by", ", ".join(info.produced_by)),
        ("used by", ", ".join(info.used_by)),
        ("ttl", info.ttl or ""),
        ("expires", expiry(info.expires).removeprefix("expires ")),
        ("state", ", ".join(state)),
    ]  # fmt: skip
    yield colour(f"{escape(info.project)}/{escape(info.name)}:{info.version}", "head")
    for name, value in rows:
        if value:
            yield f"  {name:<8} {escape(value)}"
    if info.metadata:
        import json

        for line in json.dumps(info.metadata, indent=2, ensure_ascii=False).splitlines():
            yield f"  {escape(line)}"
    if info.description:
        yield ""
        yield from (f"    {escape(line)}" for line in info.description.splitlines())


def expiry(moment: str | None) -> str:
    """When a version expires, and on a terminal how long it is until then; empty for never."""
    if moment is None:
        return ""
    left = ""
    if sys.stdout.isatty():
        from artifactvc.util.text import format_days, now, parse_time

        seconds = (parse_time(moment) - parse_time(now())).total_seconds()
        left = f" (in {format_days(seconds)})" if seconds > 0 else " (over: the next gc deletes it)"
    return f"expires {moment[:16].replace('T', ' ')} UTC{left}"


def expired(one: results.Expired, *, dry_run: bool) -> str:
    """One version that ends: what goes, why, and since when its time is over."""
    aliases = f" [{', '.join(map(escape, one.aliases))}]" if one.aliases else ""
    since = f", over since {one.since[:16].replace('T', ' ')} UTC" if one.since else ""
    verb = "would expire" if dry_run else "has expired"
    return f"{escape(one.artifact)}:{one.version}{aliases} {verb}: {escape(one.why)}{since}"


def retention(found: results.Retention) -> Iterator[str]:
    """A policy, every version with what is decided of it, and how many would go."""
    of = f"project '{escape(found.project)}'" if found.artifact is None else escape(found.artifact)
    if found.policy is None:
        yield f"{of} has no retention policy: nothing is ended by one"
        return
    verb = "would be" if found.dry_run else "is"
    inherited = " (the default of the project)" if found.inherited else ""
    yield f"the retention policy of {of} {verb}: {escape(found.policy)}{inherited}"
    for one in found.versions:
        names = f" [{', '.join(map(escape, one.aliases))}]" if one.aliases else ""
        tags = f" #{' #'.join(map(escape, one.tags))}" if one.tags else ""
        yield f"  {'keep' if one.keep else 'end '} {escape(one.artifact)}:{one.version}{names}{tags}: " + ", ".join(
            map(escape, one.why)
        )
    gone = sum(not one.keep for one in found.versions)
    them = f"{gone} of {len(found.versions)} version{'s' * (len(found.versions) != 1)}"
    deletes = "would then delete" if found.dry_run else "will delete"
    yield f"the next 'avc expire' or 'avc gc' {deletes} {them}" if gone else "nothing is ended by it today"


def _imported(found: results.ImportedFrom) -> str:
    return f"{count(found.entries, 'file')}, {format_size(found.size)}, from {found.place}"


def artifact_line(info: results.ArtifactInfo, project: str) -> str:
    """One line of ``ls``."""
    name = info.name if info.project == project else f"{info.project}/{info.name}"
    latest = info.latest or (f"{info.newest} (no latest)" if info.newest else "(no versions)")
    updated = (info.updated or "")[:16].replace("T", " ")
    others = [a for a in info.aliases if a != "latest"]
    aliases = f"  [{', '.join(map(escape, others))}]" if others else ""
    return f"{escape(info.type):<10} {updated:<16}  {format_size(info.size):>10}  {escape(name)}:{latest}{aliases}"


def entry_line(entry: results.EntryInfo, *, long: bool) -> str:
    """One line of ``ls REF``."""
    target = f" -> {escape(entry.target)}" if entry.target else f" -> {escape(entry.uri)}" if entry.uri else ""
    if entry.source is not None:
        target = f" <- {escape(entry.source.uri)}"
    if not long:
        return escape(entry.path) + target
    mark = {"file": "-", "executable": "x", "link": "l", "reference": "r"}[entry.kind]
    size = "" if entry.size is None else f"{entry.size}"
    known = entry.digest or entry.identity or ""
    if " " not in known:  # the first characters of a date tell nothing
        known = known[:12]
    version = f" (version {escape(entry.version_id)})" if entry.version_id else ""
    return f"{mark} {size:>12} {escape(known):<12} {escape(entry.path)}{target}{version}"


def status(found: results.Status, *, every: bool) -> Iterator[str]:
    """All of ``status``."""
    if not found.artifacts:
        yield f"project {escape(found.project)}: no path is bound yet (run 'avc add PATH', or 'avc checkout NAME')"
    for artifact in found.artifacts:
        base = artifact.base or "no version yet"
        newer = f", newest is {artifact.newest}" if artifact.newest and artifact.newest != artifact.base else ""
        places = f" in {', '.join(map(escape, artifact.paths))}" if artifact.paths else ""
        yield colour(f"{escape(artifact.artifact)}", "head") + f" ({base}{newer}){places}"
        if artifact.staged:
            yield f"  staged: {summary(artifact.staged)} (run 'avc commit')"
            yield from ("  " + line for line in changes(artifact.staged, every=every))
        if artifact.unstaged:
            yield f"  not staged: {summary(artifact.unstaged)} (run 'avc add')"
            yield from ("  " + line for line in changes(artifact.unstaged, every=every))
        if not artifact.staged and not artifact.unstaged:
            yield f"  clean: {count(artifact.entries, 'entry')}"
    if found.unpushed and found.remote:
        yield f"{count(found.unpushed, 'record')} not pushed to '{escape(found.remote)}' (run 'avc push')"


def checked_out(result: results.CheckedOut, *, verb: str = "checked out") -> str:
    """What ``checkout`` or ``get`` did."""
    size = f" ({format_size(result.bytes)})" if result.dry_run else ""
    parts = [f"{count(result.written, 'file')}{size} {'to write' if result.dry_run else 'written'}"]
    parts += [f"{result.unchanged:,} already right"] if result.unchanged else []
    parts += [f"{result.removed:,} {'to remove' if result.dry_run else 'removed'}"] if result.removed else []
    parts += [f"{result.linked:,} linked"] if result.linked else []
    parts += [f"{result.copied_instead:,} copied instead"] if result.copied_instead else []
    parts += [f"{count(len(result.kept), 'file')} of yours kept"] if result.kept else []
    parts += [f"{count(len(result.missing), 'reference')} left out"] if result.missing else []
    verb = f"would have {verb}" if result.dry_run else verb
    return f"{verb} {escape(result.artifact)}:{result.version} to {escape(result.destination)}: {', '.join(parts)}"


def bringing(found: Sequence[results.Bringing]) -> Iterator[str]:
    """What a dry run says would be fetched, from where and why."""
    for one in found:
        size = f"{count(one.objects, 'object')} ({format_size(one.bytes)}) in {count(one.requests, 'request')}"
        yield f"would fetch {size} from '{escape(one.remote)}': missing here"


def usage(found: results.Usage) -> Iterator[str]:
    """All of ``du``."""
    rows = [("packs", found.packs), ("objects", found.objects), ("trash", found.trash), ("log", found.log)]
    for name, size in [*rows, ("index", found.index), ("total", found.total)]:
        yield f"{format_size(size):>12}  {name}"
    if found.artifacts:
        yield ""
        yield f"{'as files':>12}  {'stored':>12}  versions"
    for artifact in found.artifacts:
        sizes = f"{format_size(artifact.logical):>12}  {format_size(artifact.stored):>12}"
        yield f"{sizes}  {artifact.versions:>8}  {escape(artifact.artifact)}"


def lines(items: Iterable[str]) -> str:
    """Lines as one text."""
    return "\n".join(items)
