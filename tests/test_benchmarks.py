"""The benchmarks run and say what they promise; no test here looks at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import TOPICS, record
from benchmarks.fixtures import ensure
from benchmarks.harness import MIB, Bench, Case, Report, Step, Target, format_report
from benchmarks.measure import CommandFailed, Measured, measure
from benchmarks.remote import remote_calls

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_runs_and_prints_its_table(topic, tmp_path):
    """Every topic runs to its end on a small scale and prints a table with the rows of `avc` in it."""
    argv = [sys.executable, "-m", "benchmarks", "--only", topic, "--runs", "1", "--scale", "0.002", "--no-peers"]
    done = subprocess.run(
        [*argv, "--work", str(tmp_path / "work"), "--clean"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "| command | best s |" in done.stdout
    assert "\n| avc " in done.stdout
    assert not (tmp_path / "work").exists()


def test_an_unknown_topic_is_refused(tmp_path):
    """A topic that is not there is named, with those that are, and nothing runs."""
    argv = [sys.executable, "-m", "benchmarks", "--only", "smal", "--work", str(tmp_path / "work")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "error: no topic 'smal'" in done.stderr
    assert "startup, small" in done.stderr
    assert not (tmp_path / "work").exists()


def report_of(**walls: list[float]) -> Report:
    report = Report("title", base="base")
    report.rows = {row: [Measured(wall, wall / 2, 10 * MIB) for wall in runs] for row, runs in walls.items()}
    return report


def test_the_best_run_counts_and_every_run_is_shown():
    """A ratio is of best to best; the runs stand beside it in their order."""
    report = report_of(base=[2.0, 4.0], avc=[3.0, 1.0, 9.0])
    assert "| avc | 1.000 | 0.50 | 0.50 | 10 | 3.00 1.00 9.00 |" in format_report(report)


def test_targets_are_judged_by_the_best_runs():
    """A target is met, missed, met without its goal, or not measured; never silently left out."""
    report = report_of(base=[1.0], avc=[5.0])
    report.targets = [
        Target("avc", "base", 4),
        Target("avc", "base", 5),
        Target("avc", "base", 6, goal=4),
        Target("avc", "base", 6, goal=5),
        Target("avc", "restic", 1),
    ]
    lines = [line for line in format_report(report).splitlines() if line.startswith("| avc, to")]
    verdicts = [line.split("|")[-2].strip() for line in lines]
    assert verdicts == ["missed", "met", "met, goal missed", "met, goal too", "not measured"]


def test_memory_of_every_avc_row_is_judged():
    """One run of one avc command above the limit is enough to miss it; peers do not count."""
    report = report_of(base=[1.0], avc=[1.0])
    report.rows["base"].append(Measured(1.0, 1.0, 999 * MIB))
    assert "| 300 | 10 | met |" in format_report(report)
    report.rows["avc"].append(Measured(1.0, 1.0, 301 * MIB))
    assert "| 300 | 301 | missed |" in format_report(report)


def test_peak_memory_counts_the_whole_tree(tmp_path):
    """Two processes that hold 60 MiB each at once count as more than either."""
    hold = "import time; held = bytearray(60 << 20); held[::4096] = b'x' * len(held[::4096]); time.sleep(0.6)"
    both = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"
    code = f"import threading, subprocess, sys\nt = [threading.Thread(target=lambda: exec({both!r})) for _ in 'ab']\n"
    code += "[one.start() for one in t]; [one.join() for one in t]"
    taken = measure([sys.executable, "-c", code], tmp_path, os.environ)
    if sys.platform == "linux":
        assert taken.peak > 120 * MIB
    assert taken.cpu > 0
    assert taken.wall > 0


def test_a_failing_command_stops_the_topic_with_its_words(tmp_path):
    """A command that fails is not a measurement: its error output is raised."""
    with pytest.raises(CommandFailed, match=r"exited with 3:\nno such thing"):
        measure(
            [sys.executable, "-c", "import sys; sys.exit(print('no such thing', file=sys.stderr) or 3)"], tmp_path, {}
        )


def test_runs_alternate(tmp_path):
    """Each round runs every case once, each after its own preparation."""
    order: list[str] = []

    def case(name: str) -> Case:
        def prepare(number: int) -> list[Step]:
            order.append(f"{name}{number}")
            return [Step(name, ["true"], tmp_path), Step(f"{name} more", ["true"], tmp_path)]

        return Case(prepare, total=f"{name} in all")

    report = Report("title", base="a")
    Bench(tmp_path / "work", runs=2).alternate(report, [case("a"), case("b")])
    assert order == ["a0", "b0", "a1", "b1"]
    assert {row: len(runs) for row, runs in report.rows.items()} == dict.fromkeys(
        ["a", "a more", "a in all", "b", "b more", "b in all"], 2
    )


def test_fixtures_are_the_same_bytes_everywhere(tmp_path):
    """The same fixture made twice is equal, and a half-made one is made again."""
    first, second = ensure(tmp_path / "1", "small", 0.002), ensure(tmp_path / "2", "small", 0.002)
    files = sorted(path.relative_to(first) for path in first.rglob("*.bin"))
    assert len(files) == 100
    assert all((first / path).read_bytes() == (second / path).read_bytes() for path in files)
    (first / files[0]).unlink()
    first.with_name(f"{first.name}.complete").unlink()
    assert (ensure(tmp_path / "1", "small", 0.002) / files[0]).exists()


def test_a_result_replaces_only_its_own_part_of_the_page(tmp_path):
    """Results are written between the two markers of their topic; the rest of the page stays."""
    page = tmp_path / "page.md"
    page.write_text(
        "before\n<!-- a: written by python -m benchmarks -->\nold\n<!-- end of a -->\nafter\n"
        "<!-- b: written by python -m benchmarks -->\n<!-- end of b -->\n"
    )
    record(page, "a", "new \\1", "machine")
    text = page.read_text()
    assert text.startswith(
        "before\n<!-- a: written by python -m benchmarks -->\nnew \\1\n\nmachine\n<!-- end of a -->\nafter\n"
    )
    assert "old" not in text
    with pytest.raises(SystemExit, match="no marker for 'c'"):
        record(page, "c", "", "")


def test_the_page_has_a_place_for_every_topic():
    """`--write docs/benchmarks.md` finds a marker for each topic."""
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    assert [topic for topic in TOPICS if f"<!-- {topic}: written by python -m benchmarks -->" not in text] == []


def test_calls_on_the_remote_are_found_in_a_trace():
    """Opens and listings below the remote are told from all others, also those relative to an open directory."""
    trace = "\n".join(
        [
            '11 openat(AT_FDCWD</w>, "/r/shared/avc.json", O_RDONLY|O_CLOEXEC) = 5</r/shared/avc.json>',
            '11 openat(7</r/shared>, "log/00000000000000000003.json", O_RDONLY) = -1 ENOENT (No such file)',
            "12 getdents64(5</r/shared/packs>, 0x55 /* 3 entries */, 32768) = 80",
            '12 newfstatat(AT_FDCWD</w>, "/r/shared-other/x", {st_mode=S_IFREG}, 0) = 0',
            '12 openat(AT_FDCWD</r/shared>, "/etc/passwd", O_RDONLY) = 3</etc/passwd>',
        ]
    )
    assert remote_calls(trace, "/r/shared") == [
        ("openat", "avc.json", 5),
        ("openat", "log/00000000000000000003.json", -1),
        ("getdents64", "packs", 80),
    ]
