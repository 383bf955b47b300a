"""Commands about runs and what they made of what: run, runs, lineage."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from artifactvc.cli import render
from artifactvc.cli.app import Shared, command
from artifactvc.cli.values import REF, count
from artifactvc.core import lineage as graph
from artifactvc.errors import BadName, UsageError
from artifactvc.util.text import escape, format_duration, parse_time

if TYPE_CHECKING:
    from artifactvc.core import results

COMMANDS: Final[dict[str, click.Command]] = {}
_STDERR: Final = 2
_NAMED: Final = 3  # of inputs and outputs in a line
_WORDS: Final = 2000  # of one value in ``runs ID``, before it is cut short


# ---- run -------------------------------------------------------------------------------------------


@command(COMMANDS, "run")
@click.option("--name", metavar="N", default="", help="Name of the run (default: its id).")
@click.option("--job-type", metavar="J", default="", help="What kind of work it is, such as train.")
@click.option("--project", metavar="P", default="", help="Its project, and that of names written without one.")
@click.option("--group", metavar="G", default="", help="Group that it belongs to.")
@click.option("--use", "uses", metavar="REF", type=REF, multiple=True, help="A version that it uses: an input.")
@click.option("--log", "outputs", metavar="NAME=PATH", multiple=True, help="What it makes: PATH as a version of NAME.")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND...")
def run(
    shared: Shared, name: str, job_type: str, project: str, group: str, uses: tuple[str, ...],
    outputs: tuple[str, ...], words: tuple[str, ...],
) -> int:  # fmt: skip
    """Run a command and record what it used and made.

    All options stand before COMMAND, best with '--' between: avc run --use data --log
    model=out.pt -- python train.py. It inherits the terminal and finds its run in
    AVC_RUN_ID (and AVC_PROJECT, AVC_RUN_GROUP), so that artifactvc.init() in it is this run.

    When it has ended with 0, each --log is stored as 'avc put' would; otherwise the run is
    failed and nothing is logged. The exit code is the command's, 128 and the signal's number
    if one ended it. With --json the command's output goes to stderr. Ctrl-C reaches the
    command; avc waits for it and records how it ended.
    """
    logged = [_output(text) for text in outputs]
    sys.stdout.flush()
    result = shared.repository.execute(
        words, name=name, job_type=job_type, project=project, group=group, use=uses, log=logged,
        stdout=_STDERR if shared.json else None,
    )  # fmt: skip
    if not shared.answer("run", result):
        # Standard output is the command's own: what we have to say goes beside it.
        for line in _executed(result):
            shared.note(line)
    return result.exit_code


run.allow_interspersed_args = False  # what follows the command's name is the command's


def _output(text: str) -> tuple[str, str]:
    name, sign, path = text.partition("=")
    if not name or not sign or not path:
        raise BadName(f"bad output '{escape(text[:80])}'", hint="write --log NAME=PATH")
    return name, path


def _executed(result: results.Executed) -> Iterator[str]:
    took = format_duration(result.seconds)
    if result.exit_code:
        skipped = "; its outputs were not logged" if result.outputs else ""
        yield f"run {result.run} failed with exit code {result.exit_code} after {took}{skipped}"
        return
    made = ", ".join(escape(output.version or "") for output in result.outputs)
    yield f"run {result.run} finished in {took}" + (f"; logged {made}" if made else "")


# ---- runs ------------------------------------------------------------------------------------------


@command(COMMANDS, "runs")
@click.argument("run_id", required=False, metavar="[ID]")
@click.option("-n", "limit", metavar="N", type=click.IntRange(0), help="At most N runs.")
@click.option("--project", metavar="P", help="Only runs of this project.")
def runs(shared: Shared, run_id: str | None, limit: int | None, project: str | None) -> None:
    """List runs, newest first, or show one whole.

    A run whose process is gone, on this machine, without having said how it ended is
    shown as crashed.
    """
    repository = shared.repository
    if run_id is not None:
        if limit is not None or project is not None:
            raise UsageError("ID stands alone", hint="leave -n and --project out, or the id")
        result = repository.run_info(run_id)
        if not shared.answer("runs", result):
            shared.say(render.lines(_whole(result)))
        return
    found = repository.runs(project, limit=limit)
    if not shared.stream("runs", found, lambda info: _line(info, repository.project)) and limit != 0:
        shared.note("no run yet (run 'avc run -- COMMAND')")


def _line(info: results.RunInfo, project: str) -> str:
    """Id, state, job type, created, duration, inputs -> outputs."""
    created = info.created[:16].replace("T", " ")
    links = [_refs(some, project) for some in (info.used, info.produced)]
    arrow = f"  {links[0]} -> {links[1]}".replace("  ->", " ->") if any(links) else ""
    head = f"{escape(info.id):<8}  {info.state:<8}  {escape(info.job_type) or '-':<10}  {created}"
    return f"{head}  {_duration(info) or '-':>12}{arrow}".rstrip()


def _duration(info: results.RunInfo) -> str:
    """How long it took; empty where that is not known."""
    if not info.ended or not info.created:
        return ""
    try:
        return format_duration(max(0.0, (parse_time(info.ended) - parse_time(info.created)).total_seconds()))
    except BadName:
        return ""


def _refs(links: Sequence[results.RunLink], project: str) -> str:
    shown = ", ".join(_ref(link, project) for link in links[:_NAMED])
    return shown + (f" and {len(links) - _NAMED:,} more" if len(links) > _NAMED else "")


def _ref(link: results.RunLink, project: str = "") -> str:
    name = link.name if link.project in (project, "") else f"{link.project}/{link.name}"
    text = f"{name}:{link.version}" if link.version else f"{name}@{link.digest[:12]}"
    mark = "" if link.live else " (deleted)" if link.version else " (not known here)"
    return escape(text) + mark


def _whole(info: results.RunInfo) -> Iterator[str]:
    """All of ``runs ID``."""
    yield render.colour(f"run {escape(info.id)}", "head") + (f"  {escape(info.name)}" if info.name != info.id else "")
    duration = _duration(info)
    rows = [
        ("project", info.project),
        ("job type", info.job_type),
        ("group", info.group),
        ("state", info.state + (f", exit code {info.exit_code}" if info.exit_code is not None else "")),
        ("created", f"{info.created} by {info.author}" + (f" on {info.host}" if info.host else "")),
        ("ended", f"{info.ended or ''}" + (f", after {duration}" if duration else "")),
        ("tags", ", ".join(info.tags)),
        ("command", _shell(info.command)),
        ("directory", info.directory),
        ("python", info.python),
        ("git", _git(info.git)),
    ]
    for name, value in rows:
        if value:
            yield f"  {name:<9} {_cut(escape(value))}"
    for title, links in (("inputs", info.used), ("outputs", info.produced)):
        yield from _listed(title, links)
    for title, values in (("config", info.config), ("summary", info.summary)):
        if values:
            yield f"  {title}"
            yield from (f"    {escape(str(k))}: {_cut(escape(_value(v)))}" for k, v in values.items())
    yield from _unlogged(info.details.get("outputs"))
    if info.notes:
        yield ""
        yield from (f"    {escape(line)}" for line in info.notes.splitlines())


def _listed(title: str, links: Sequence[results.RunLink]) -> Iterator[str]:
    if links:
        yield f"  {title}"
        for link in links:
            yield f"    {_ref(link)}" + (f"  {escape(link.type)}" if link.type else "")


def _unlogged(outputs: Any) -> Iterator[str]:
    """What ``avc run`` was to log and has not, as it stands in the run's details."""
    lost = [one for one in outputs if isinstance(one, dict)] if isinstance(outputs, list) else []
    lost = [one for one in lost if one.get("state") != "logged"]
    if lost:
        yield "  not logged"
        for one in lost:
            why = str(one.get("error") or one.get("state"))
            yield f"    {escape(str(one.get('name')))}={escape(str(one.get('path')))}: {escape(why)}"


def _shell(words: Sequence[str]) -> str:
    import shlex

    return shlex.join(words)


def _git(state: Any) -> str:
    if not isinstance(state, dict):
        return ""
    words = [str(state["commit"])[:12]] if state.get("commit") else ["no commit yet"]
    words += [f"on {state['branch']}"] if state.get("branch") else []
    words += ["with changes"] if state.get("dirty") else []
    words += [f"from {state['remote']}"] if state.get("remote") else []
    return " ".join(words)


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _cut(text: str) -> str:
    return text if len(text) <= _WORDS else f"{text[:_WORDS]}… ({count(len(text) - _WORDS, 'character')} more)"


# ---- lineage ---------------------------------------------------------------------------------------


@command(COMMANDS, "lineage")
@click.argument("ref", type=REF)
@click.option("--up", is_flag=True, help="What it was made from.")
@click.option("--down", is_flag=True, help="What was made of it.")
@click.option("--depth", metavar="N", type=click.IntRange(0), help="At most N steps each way (default: all).")
@click.option(
    "--format",
    "style",
    type=click.Choice(graph.FORMATS),
    help="How it is written (default: tree, or json with --json).",
)
def lineage(shared: Shared, ref: str, up: bool, down: bool, depth: int | None, style: str | None) -> None:
    """Show what a version was made from, and what was made of it.

    REF is a version, a deleted one too, or the id of a run; where an artifact is named like
    a run's id, the artifact is meant. Both ways are followed unless --up or --down is given.
    From a version to a run is one step, from there to a version the next. Deleted versions
    and runs, and those never seen here, stay in the graph and say so.

    openlineage prints OpenLineage run events, one JSON object a line, as its file transport
    writes them: for each run START and how it ended. Datasets are artifacts, and their
    version is the digest; namespaces are equal in all clones of one origin.
    """
    if shared.json and style not in (None, "json"):
        raise UsageError(f"--json and --format {style} are two formats", hint="leave one of them out")
    shared.json = shared.json or style == "json"
    found = shared.repository.lineage(ref, up=up or not down, down=down or not up, depth=depth)
    if not shared.answer("lineage", found):
        shared.say(render.lines(_drawn(shared, found, style or "tree")))


def _drawn(shared: Shared, found: results.Lineage, style: str) -> Iterator[str]:
    if style == "dot":
        return graph.dot(found)
    if style == "mermaid":
        return graph.mermaid(found)
    if style == "openlineage":
        if all(node.kind != "run" for node in found.nodes):
            shared.note("no run is recorded here, so there is no event")
        return (json.dumps(event, separators=(",", ":")) for event in graph.openlineage(found))
    narrow = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    return graph.tree(found, graph.ASCII if narrow else graph.LINES)
