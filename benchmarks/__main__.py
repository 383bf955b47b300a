"""Run the topics: ``python -m benchmarks [--only small,startup] [--runs 5] [--scale 1]``."""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import (
    api,
    distributed,
    large,
    lineage,
    local,
    log,
    million,
    references,
    remote,
    s3,
    startup,
    transports,
)
from benchmarks.harness import Bench, Report, format_report
from benchmarks.measure import CommandFailed

TOPICS: dict[str, Callable[[Bench], Report]] = {
    "startup": startup.run,
    "small": local.run,
    "remote": remote.run,
    "log": log.run,
    "s3": s3.run,
    "references": references.run,
    "transports": transports.run,
    "api": api.run,
    "lineage": lineage.run,
    "distributed": distributed.run,
    "large": large.run,
    "tree": partial(local.run, fixture="tree"),
    "million": million.run,
}


def main() -> int:
    """Run what the command line asks for; 0 when every command ran, whatever its speed."""
    options = _parser().parse_args()
    wanted = options.only.split(",")
    unknown = [name for name in wanted if name not in TOPICS]
    if unknown:
        print(f"error: no topic '{unknown[0]}'\nhint: the topics are {', '.join(TOPICS)}", file=sys.stderr)
        return 2
    bench = Bench(options.work, runs=options.runs, scale=options.scale, peers=not options.no_peers)
    print(f"{machine()}; {options.runs} alternating runs, scale {options.scale:g}\n", flush=True)
    failed = 0
    for name in wanted:
        print(f"{name}:", file=sys.stderr)
        try:
            report = TOPICS[name](bench)
            if options.scale != 1:
                report.notes.append(f"scale {options.scale:g}: the targets are meant for scale 1")
            text = format_report(report)
        except CommandFailed as error:
            print(f"error: {name}: {error}", file=sys.stderr)
            failed = 1
            continue
        print(text, flush=True)
        if options.write:
            record(options.write, name, text, f"{machine()}; {options.runs} runs, scale {options.scale:g}")
    bench.clear()
    if options.clean:
        shutil.rmtree(options.work)
    return failed


def record(page: Path, name: str, text: str, conditions: str) -> None:
    """Replace the part of *page* between topic *name*'s two markers."""
    begin, end = f"<!-- {name}: written by python -m benchmarks -->", f"<!-- end of {name} -->"
    part = f"{begin}\n{text.rstrip()}\n\n{conditions}\n{end}"
    old = page.read_text()
    if begin not in old:
        raise SystemExit(f"error: '{page}' has no marker for '{name}'")
    page.write_text(re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: part, old, flags=re.DOTALL))


def machine() -> str:
    """Return one line about this machine and the programs compared."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    parts = [f"{platform.system()}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}"]
    for program, argument in (("git", "--version"), ("restic", "version"), ("rclone", "version")):
        if shutil.which(program):
            line = subprocess.run([program, argument], capture_output=True, text=True, check=False).stdout
            parts.append(" ".join(line.split()[:3]).removesuffix(" compiled"))
    return ", ".join(parts)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure avc and its peers.")
    parser.add_argument("--only", default=",".join(TOPICS), help="topics, with commas between them")
    parser.add_argument("--runs", type=int, default=5, help="alternating runs of each command (5)")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the fixtures; 0.02 to try things out")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir(), "avc-benchmarks"))
    parser.add_argument("--write", type=Path, help="a page with markers to write the tables into")
    parser.add_argument("--no-peers", action="store_true", help="measure avc, cp and Python only")
    parser.add_argument("--clean", action="store_true", help="remove the working directory at the end")
    return parser


if __name__ == "__main__":
    sys.exit(main())
