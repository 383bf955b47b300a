"""The docs say what the program does: reference pages, links, and the README's session are held against the code."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest
from jsonschema.validators import validator_for

from artifactvc.cli import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
#: A fenced block: its language and its lines.
_BLOCK = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.M | re.S)
_LINK = re.compile(r"(?<!\\)\[[^\[\]]*\]\(([^()\s]+)\)")


def _generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = _generate()


# ---- generated pages ----------------------------------------------------------------------------


def test_generated_pages_are_current():
    """The reference pages are what the code of today would write; 'make docs' writes them."""
    old = [name for name, text in generate.pages().items() if (DOCS / name).read_text(encoding="utf-8") != text]
    assert old == [], "run 'make docs'"


def test_check_finds_an_old_page(tmp_path, monkeypatch, capsys):
    """``generate.py --check`` writes nothing and exits 1 where a page is old; without it the page is written."""
    monkeypatch.setattr(generate, "HERE", tmp_path)
    assert generate.main(["--check"]) == 1
    assert "docs/cli.md is old: run make docs" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    assert generate.main([]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"cli.md", "python.md", "errors.md"}
    assert generate.main(["--check"]) == 0


def test_every_command_and_option_is_in_the_page():
    """No command and no option is missing from docs/cli.md: each stands in its own command's section."""
    sections = dict(re.findall(r"^##+ (.*?)\n(.*?)(?=^##+ |\Z)", (DOCS / "cli.md").read_text(), re.M | re.S))
    everywhere = sections["Options of every command"]
    missing = []
    for path, command in generate.commands():
        name = f"avc {' '.join(path)}"
        text = sections.get(name)
        if text is None:
            missing.append(name)
            continue
        for param in command.params:
            spellings = param.opts if isinstance(param, click.Option) else []
            missing += [f"{name} {one}" for one in spellings if not _has_word(text + everywhere, one)]
    assert missing == []


def _has_word(text: str, word: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is not None


def test_every_method_and_result_is_in_the_page():
    """No public method of Repository and no result class is missing from docs/python.md."""
    from artifactvc.core import results
    from artifactvc.sdk.repository import Repository

    text = (DOCS / "python.md").read_text()
    headings = set(re.findall(r"^#+ (.*)$", text, re.M))
    classes = {name for name, value in vars(results).items() if hasattr(value, "__dataclass_fields__")}
    methods = {name for name in dir(Repository) if not name.startswith("_")}
    assert {"push", "expire"} < methods
    assert methods | classes <= headings
    fields = {f"- `{one}: " for name in classes for one in getattr(results, name).__dataclass_fields__}
    assert {field for field in fields if field not in text} == set()


def test_every_error_is_in_the_page():
    """No error class is missing from docs/errors.md, neither from the tree nor from the list."""
    text = (DOCS / "errors.md").read_text()
    tree = _BLOCK.findall(text)[0][1]
    names = [kind.__name__ for kind in generate.error_classes()]
    assert len(names) > 30
    assert [name for name in names if f"\n## {name}\n" not in text or not _has_word(tree, name)] == []


def test_schemas_are_json_schemas():
    """Every file of docs/json/ is a valid JSON Schema."""
    if not (DOCS / "json").is_dir():
        pytest.skip("there is no docs/json")
    for path in sorted((DOCS / "json").glob("*.json")):
        schema = json.loads(path.read_text(encoding="utf-8"))
        validator_for(schema).check_schema(schema)


# ---- links --------------------------------------------------------------------------------------


def _prose(page: Path) -> str:
    """A page without its code, in which nothing is a link."""
    return re.sub(r"`[^`\n]*`", "", _BLOCK.sub("", page.read_text(encoding="utf-8")))


def _anchors(page: Path) -> set[str]:
    """The anchors that a page's headings make."""
    headings = re.findall(r"^#+ (.*)$", _BLOCK.sub("", page.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    """Every relative link of a page leads to a file, and its anchor to a heading there."""
    dead = []
    for link in _LINK.findall(_prose(page)):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            dead.append(link)
    assert dead == []


def test_every_page_is_linked():
    """The README leads to every page of docs/, so that nobody has to guess what is there."""
    links = set(_LINK.findall(_prose(ROOT / "README.md")))
    assert {f"docs/{page.name}" for page in DOCS.glob("*.md")} - links == set()


# ---- the README's commands ----------------------------------------------------------------------


def _blocks() -> list[list[str]]:
    return [text.splitlines() for _, text in _BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))]


def _command_lines() -> Iterator[list[str]]:
    """The words of each ``avc`` call in the README's code, from lines with or without a prompt."""
    for block in _blocks():
        for line in block:
            call = line.removeprefix("$ ").strip()
            for part in re.split(r" (?:&&|\|) ", call):
                if part.startswith("avc "):
                    yield shlex.split(part, comments=True)[1:]


def parse(words: list[str]) -> None:
    """Raise click's error where ``avc`` would not take *words*; run nothing."""
    command: click.Command = app.avc
    context = click.Context(command, info_name="avc", obj=app.Shared())
    while isinstance(command, click.Group):
        _, words, _ = command.make_parser(context).parse_args(list(words))
        name, found, words = command.resolve_command(context, words)
        assert found is not None, f"no command '{name}'"
        command = found
        if isinstance(command, click.Group):
            context = click.Context(command, info_name=name, parent=context)
    command.make_context(command.name, words, parent=context)


def test_commands_of_the_readme_parse():
    """Every command line of the README names a command that exists, with options that exist."""
    lines = list(_command_lines())
    assert len(lines) > 15
    for words in lines:
        try:
            parse(words)
        except click.UsageError as error:
            pytest.fail(f"avc {shlex.join(words)}: {error.format_message()}")


def test_a_wrong_command_line_does_not_parse():
    """The check above would notice a command or an option that is not there."""
    for words in (["comit"], ["commit", "--mesage", "x"], ["remote", "ad", "a", "b"], ["cat", "images"]):
        with pytest.raises(click.UsageError):
            parse(words)


#: What differs from run to run, and what stands for it on both sides: times, sizes of what was compressed, and
#: the digest of references to files, which holds where these are.
_VARIES = [
    (re.compile(r"(committed birds/scans:\S+ \[latest\]) [0-9a-f]{12}"), r"\1 <digest>"),
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d\.\d+Z)?"), "<time>"),
    (re.compile(r"(took back|avc undo) [0-9a-f]{12}"), r"\1 <id>"),
    (re.compile(r"((?:checked|sent|fetched) (?:\d+ versions, )?\d+ objects?) \([0-9.]+ [KM]?i?B\)"), r"\1 (<size>)"),
]


def _same_everywhere(text: str) -> str:
    for pattern, name in _VARIES:
        text = pattern.sub(name, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def test_the_session_of_the_readme(tmp_path, monkeypatch):
    """The README shows what its commands print: all of its console blocks are run, one after the other."""
    monkeypatch.setenv("AVC_USER", "ada")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    home = tmp_path.resolve() / "ada"
    home.mkdir()
    shown = [text for kind, text in _BLOCK.findall((ROOT / "README.md").read_text()) if kind.strip() == "console"]
    assert shown
    script, wanted = ["exec 2>&1"], []
    for line in "".join(shown).splitlines():
        if line.startswith("$ "):
            script += [f"echo {shlex.quote(line)}", line[2:]]
        wanted.append(line)
    done = subprocess.run(["bash", "-e", "-c", "\n".join(script)], cwd=home, capture_output=True, text=True)
    printed = done.stdout.replace(str(home), "/home/ada")
    assert done.returncode == 0, printed
    assert _same_everywhere(printed) == _same_everywhere("\n".join(wanted))


# ---- nothing of one machine ---------------------------------------------------------------------

#: Written in pieces, so that this file does not name them.
_MACHINE = re.compile(r"(?<![\w.*}$-])/(?:" + "|".join(("wor" + "k", "roo" + "t")) + r")(?![\w-])")
_TEMPORARY = re.compile("/t" + "mp/")
_REGISTRY = re.compile("|".join(("py" + r"pi\.org", "files" + r"\.pythonhosted", "registry" + r"\.npmjs")))


def _committed() -> list[str]:
    try:
        done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("git is not installed")
    if done.returncode != 0:
        pytest.skip("this is no clone by Git")
    return [name for name in done.stdout.split("\0") if name]


def test_no_file_names_this_machine():
    """No committed file names a directory of one machine or a package registry; docs and README no temporary one."""
    found = []
    for name in _committed():
        path = ROOT / name
        if path.is_symlink() or not path.is_file():
            continue
        patterns = [_MACHINE, _REGISTRY]
        if name.startswith("docs/") or name == "README.md":
            patterns.append(_TEMPORARY)
        text = path.read_bytes().decode(errors="replace")
        found += [f"{name}: {match[0]}" for pattern in patterns if (match := pattern.search(text))]
    assert found == []
