"""Writes the reference pages ``cli.md``, ``python.md`` and ``errors.md`` beside this file: ``make docs``.

All that they say is taken from the code: commands from click, methods and result fields
from the source text, errors from the classes. The same code gives the same bytes on every
supported Python, so ``--check`` can tell whether a page is old (exit code 1).
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

import click

from artifactvc import errors
from artifactvc.cli import app
from artifactvc.core import results, results_cache, results_retention, results_sharing
from artifactvc.sdk import repository
from artifactvc.storage import settings, transport

HERE: Final = Path(__file__).resolve().parent
_WRITTEN: Final = "<!-- Written by docs/generate.py (make docs). Do not edit. -->"
#: Names that code written for W&B catches (wandb.errors and wandb.sdk.artifacts.exceptions).
_WANDB: Final = (
    "Error", "CommError", "UsageError", "UnsupportedError",
    "ArtifactStatusError", "ArtifactNotLoggedError", "ArtifactFinalizedError",
)  # fmt: skip


def pages() -> dict[str, str]:
    """Every generated page: its file name and its text."""
    made = {"cli.md": cli_page(), "python.md": python_page(), "errors.md": errors_page()}
    return {name: "\n".join(lines).rstrip("\n") + "\n" for name, lines in made.items()}


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` only say which would change."""
    parser = argparse.ArgumentParser(description="Write the generated pages.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a page is old")
    check: bool = parser.parse_args(arguments).check
    old = [name for name, text in pages().items() if not _is(HERE / name, text)]
    for name in old:
        if not check:
            (HERE / name).write_text(pages()[name], encoding="utf-8")
        sys.stdout.write(f"docs/{name} {'is old: run make docs' if check else 'written'}\n")
    return 1 if check and old else 0


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


# ---- the command line ---------------------------------------------------------------------------


def cli_page() -> list[str]:
    """``cli.md``: every command with usage, help and options."""
    lines = [
        "# Commands", "", _WRITTEN, "",
        *_help(app.avc), "",
        "Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. Errors go to stderr as",
        "`error: …` and `hint: …`; [errors.md](errors.md) lists them.", "",
        "## Options of every command", "",
        *_options(app.avc), "",
        "They stand before the first word of the command or behind the last one: `avc --json remote list` or",
        "`avc remote list --json`. `-V` stands alone.", "",
        'With `--json` a command prints `{"schema":1,"command":…,"result":…}`; `ls`, `log` and `runs` print one such',
        'document a line. A failure is `{"schema":1,"error":{"class":…,"message":…,"hint":…}}`. The fields',
        "of each result are those of its class in [python.md](python.md); [json/](json/) has a schema for each.",
        "Two commands refuse it, since what they print is no JSON: `cat` (a file's bytes) and `completion` (a script).",
        "",
        "## All commands", "",
    ]  # fmt: skip
    found = list(commands())
    for module, title in app.TITLES.items():
        names = [path for path, _ in found if app.COMMANDS[path[0]] == module and len(path) == 1]
        links = ", ".join(f"[{name}](#avc-{name})" for (name,) in names)
        lines.append(f"- {title}: {links}")
    shared = {tuple(param.opts) for param in app.avc.params}
    for path, command in found:
        lines += ["", "#" * (len(path) + 1) + " avc " + " ".join(path), ""]
        lines += _command(path, command, shared)
    return lines


def commands(
    group: click.Group = app.avc, above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command below *group* with the words that call it, a group before what is in it."""
    context = click.Context(group, info_name="avc")
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*above, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*above, name))


def _command(path: tuple[str, ...], command: click.Command, shared: set[tuple[str, ...]]) -> Iterator[str]:
    words = [_argument(param) for param in command.params if isinstance(param, click.Argument)]
    if isinstance(command, click.Group):
        words = ["COMMAND", "[ARGS]..."]
    yield from ("```", " ".join(["avc", *path, "[OPTIONS]", *words]), "```", "")
    yield from _help(command)
    own = list(_options(command, without=shared))
    if own:
        yield ""
        yield from own
    if path == ("config",):
        yield from _settings()


def _help(command: click.Command) -> Iterator[str]:
    """The long help, a line for each paragraph."""
    paragraphs = re.split(r"\n\s*\n", (command.help or "").strip())
    for number, paragraph in enumerate(paragraphs):
        if number:
            yield ""
        yield _prose(" ".join(paragraph.split()))


def _options(command: click.Command, without: Collection[tuple[str, ...]] = ()) -> Iterator[str]:
    """The options of *command*, but for those of *without*."""
    for param in command.params:
        if isinstance(param, click.Option) and tuple(param.opts) not in without:
            value = "" if param.is_flag else f" {_metavar(param)}"
            needed = " Required." if param.required else ""
            yield f"- `{', '.join(sorted(param.opts, key=len))}{value}`: {_prose(param.help or '')}{needed}"


def _argument(param: click.Argument) -> str:
    if param.metavar:
        return param.metavar
    name = _metavar(param) if param.required else f"[{_metavar(param)}]"
    return f"{name}..." if param.nargs != 1 else name


def _metavar(param: click.Parameter) -> str:
    """How the value is written; made here, since click's own differs from version to version."""
    if isinstance(param.type, click.Choice):
        return f"[{'|'.join(map(str, param.type.choices))}]"
    return param.metavar or str(param.name).upper()


def _settings() -> Iterator[str]:
    yield from ("", "Settings:", "")
    for name in sorted(settings.SETTINGS):
        default = str(settings.default_of(name))
        yield f"- `{name}`" + (f" (default `{default}`)" if default else "")


def _prose(text: str) -> str:
    """Text of the program as Markdown that shows the same."""
    return re.sub(r"([\\*<\[])", r"\\\1", text)


# ---- Python -------------------------------------------------------------------------------------


#: What people write, the modules that hold its parts, and the classes there: the order of the page.
_API: Final[tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...]] = (
    ("Artifact", "artifact",
     (("artifact", "Artifact"), ("artifact_content", "ArtifactContent"), ("artifact_reading", "ArtifactReading"),
      ("artifact_relations", "ArtifactRelations"), ("artifact_names", "ArtifactNames"),
      ("artifact_fields", "ArtifactFields"))),
    ("ArtifactManifest", "manifest", (("manifest", "ArtifactManifest"),)),
    ("ArtifactManifestEntry", "entry", (("manifest", "ArtifactManifestEntry"),)),
    ("File", "file", (("files", "File"),)),
    ("Run", "run", (("run", "Run"), ("run_artifacts", "RunArtifacts"), ("run_base", "RunBase"))),
    ("Api", "api", (("api", "Api"),)),
    ("ArtifactCollection", "collection", (("collection", "ArtifactCollection"),)),
    ("ArtifactType", "type", (("collection", "ArtifactType"),)),
    ("Project", "project", (("project", "Project"),)),
    ("PublicRun", "run", (("public_run", "PublicRun"), ("public_run", "Recorded"))),
    ("Listing", "listing", (("listing", "Listing"),)),
    ("Table", "table", (("data_types", "Table"),)),
    ("PartitionedTable", "table", (("tables", "PartitionedTable"),)),
    ("JoinedTable", "table", (("tables", "JoinedTable"),)),
    ("ArtifactTTL", "ttl", (("ttl", "ArtifactTTL"),)),
    ("Settings", "settings", (("settings", "Settings"),)),
)  # fmt: skip
_FUNCTIONS: Final = (("active", ("init", "finish")), ("shortcuts", ()))


def python_page() -> list[str]:
    """``python.md``: the API in W&B's shape, then Repository and the classes that it answers with."""
    lines = [
        "# Python", "", _WRITTEN, "",
        "`import artifactvc as avc` gives W&B's artifact API, offline and in the process. Begin with the",
        "[tutorial](tutorial.md); who has code for W&B reads [Coming from W&B](coming-from-wandb.md). Below it stands",
        "[Repository](#repository): the operations of the command line, typed and silent.", "",
        "Errors are the classes of [errors.md](errors.md). Paths may be `str` or `pathlib.Path`.", "",
        *(f"- [{name}](#{name.lower()})" for name in ("Functions", *(n for n, _, _ in _API), "Repository")),
        "", "## Functions", "",
        "Of the package: `avc.init(…)`. Those that log or use act on the active run.",
    ]  # fmt: skip
    for module, wanted in _FUNCTIONS:
        lines += _functions(_sdk(module), wanted)
    for name, owner, parts in _API:
        lines += ["", f"## {name}", "", _docstring(_class(_sdk(parts[0][0]), parts[0][1]))]
        for module, part in parts:
            lines += _methods(_sdk(module), part, (name, owner), level="###", titles=False)
    return [*lines, *_repository_page()]


def _sdk(module: str) -> str:
    return (Path(str(repository.__file__)).with_name(f"{module}.py")).read_text(encoding="utf-8")


def _functions(source: str, wanted: Collection[str]) -> Iterator[str]:
    """Public functions of a module: those *wanted*, or all."""
    for node in ast.parse(source).body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith(("_", "active_")):
            continue
        if not wanted or node.name in wanted:
            yield from ("", f"### avc.{node.name}", "", "```python", *_called(node, f"avc.{node.name}"), "```", "")
            yield _docstring(node)


def _repository_page() -> list[str]:
    source = _source(repository)
    lines = [
        "", "## Repository", "",
        "```python",
        "from artifactvc import Repository",
        "",
        'with Repository.open(".") as repository:',
        '    print(repository.show("images:latest").digest)',
        "```", "",
        _docstring(ast.parse(source)), "",
        _docstring(_class(source, "Repository")),
    ]  # fmt: skip
    for part, name in (
        (source, "Repository"),
        (_sdk("repository_references"), "References"),
        (_sdk("repository_retention"), "Retention"),
        (_sdk("repository_runs"), "Runs"),
        (_sdk("repository_remotes"), "Remotes"),
    ):
        lines += _methods(part, name, ("Repository", "repository"), level="####", titles=True)
    lines += ["", "## RemoteOptions", ""]
    lines += _fields(_source(transport), "RemoteOptions")
    lines += ["", "## Results", "", _docstring(ast.parse(_source(results)))]
    text = _source(results) + _source(results_cache) + _source(results_retention) + _source(results_sharing)
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef):
            lines += ["", f"### {node.name}", "", *_fields(text, node.name)]
    return lines


def _source(module: ModuleType) -> str:
    return Path(str(module.__file__)).read_text(encoding="utf-8")


def _class(source: str, name: str) -> ast.ClassDef:
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node
    raise LookupError(name)


def _docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> str:
    """The docstring of *node* as Markdown."""
    return _said(ast.get_docstring(node) or "")


def _said(docstring: str) -> str:
    """A docstring as Markdown; rules of the protocol lead to the page that has them."""
    text = re.sub(r" \(design, [^)]*\)", "", re.sub(r"``(.+?)``", r"`\1`", docstring.strip()))
    return re.sub(r"\(protocol ([A-Z][0-9]+)\)", r"([rule \1](concurrency.md))", text)


_SECTION: Final = re.compile(r"    # ---- (.+?) -+")


def _methods(source: str, name: str, shown: tuple[str, str], *, level: str, titles: bool) -> Iterator[str]:
    """Each public method with its signature; with *titles* under the headings that the source has as comments.

    *shown* is the class as people know it, and what an object of it is called.
    """
    found = {
        number: match[1] for number, line in enumerate(source.splitlines(), 1) if (match := _SECTION.fullmatch(line))
    }
    for node in _class(source, name).body:
        if not isinstance(node, ast.FunctionDef) or (node.name.startswith("_") and node.name != "__init__"):
            continue
        marks = {ast.unparse(mark) for mark in node.decorator_list}
        said = ast.get_docstring(node)
        if any(mark.endswith(".setter") for mark in marks) or "overload" in marks:
            continue
        if node.name == "__init__" and (not node.args.args[1:] or name in ("Run", "File")):
            continue
        for number in [number for number in found if number < node.lineno]:
            title = found.pop(number)
            if titles and not [n for n in found if n < node.lineno]:
                yield from ("", f"### {shown[0]}: {title}")
        heading = shown[0] if node.name == "__init__" else node.name
        yield from ("", f"{level} {heading}", "", "```python", *_signature(node, marks, shown), "```")
        if said:
            yield from ("", _said(said))


def _signature(node: ast.FunctionDef, marks: set[str], shown: tuple[str, str]) -> Iterator[str]:
    returns = ast.unparse(node.returns) if node.returns else "None"
    if "property" in marks:
        yield f"{shown[1]}.{node.name}: {returns}"
        return
    if "staticmethod" not in marks:
        node.args.args = node.args.args[1:]  # self or cls
    if node.name == "__init__":
        yield from _called(node, shown[0], returns="")
        return
    owner = shown[0] if marks & {"classmethod", "staticmethod"} else shown[1]
    yield from _called(node, f"{owner}.{node.name}")


def _called(node: ast.FunctionDef, name: str, returns: str | None = None) -> Iterator[str]:
    """How a function is called: on one line where it fits."""
    given = (ast.unparse(node.returns) if node.returns else "None") if returns is None else returns
    arrow = f" -> {given}" if given else ""
    parts = list(_parts(node.args))
    line = f"{name}({', '.join(parts)}){arrow}"
    if len(line) <= 110:
        yield line
        return
    yield f"{name}("
    yield from (f"    {part}," for part in parts)
    yield f"){arrow}"


def _parts(arguments: ast.arguments) -> Iterator[str]:
    """Each parameter as its declaration stands in the source, the lone star included."""
    plain = len(arguments.args) - len(arguments.defaults)
    for number, one in enumerate(arguments.args):
        default = arguments.defaults[number - plain] if number >= plain else None
        yield ast.unparse(one) + _default(one, default)
    if arguments.vararg:
        yield "*" + ast.unparse(arguments.vararg)
    elif arguments.kwonlyargs:
        yield "*"
    for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield ast.unparse(one) + _default(one, default)
    if arguments.kwarg:
        yield "**" + ast.unparse(arguments.kwarg)


def _default(argument: ast.arg, default: ast.expr | None) -> str:
    if default is None:
        return ""
    sign = " = " if argument.annotation else "="
    return f"{sign}{ast.unparse(default)}"


def _fields(source: str, name: str) -> Iterator[str]:
    """A dataclass: its docstring, its fields with what the source says beside them, its properties."""
    node = _class(source, name)
    text = source.splitlines()
    yield from (_docstring(node), "")
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            line = text[item.lineno - 1]
            comment = line.partition("  # ")[2].strip()
            default = f" = {_value(item.value)}" if item.value is not None else ""
            yield f"- `{item.target.id}: {ast.unparse(item.annotation)}{default}`" + (f": {comment}" if comment else "")
        elif isinstance(item, ast.FunctionDef) and not item.name.startswith("_"):
            returns = ast.unparse(item.returns) if item.returns else "None"
            said = _docstring(item)
            yield f"- `{item.name}: {returns}` (worked out): {said[:1].lower()}{said[1:].rstrip('.')}"


def _value(default: ast.expr) -> str:
    """A field's default; of ``field(default=…)`` what counts."""
    if isinstance(default, ast.Call):
        for keyword in default.keywords:
            if keyword.arg == "default":
                return ast.unparse(keyword.value)
    return ast.unparse(default)


# ---- errors -------------------------------------------------------------------------------------


def errors_page() -> list[str]:
    """``errors.md``: the tree of error classes, and each with what a program can rely on."""
    lines = [
        "# Errors", "", _WRITTEN, "",
        "Every error that `avc` raises on purpose is one of these classes of `artifactvc.errors`. The command",
        "line prints `error: <message>` and `hint: <the next step>` on stderr; with `--json` also",
        '`{"schema":1,"error":{"class":…,"message":…,"hint":…}}` on stdout. Class names are stable.', "",
        "```", "AvcError", *_tree(errors.AvcError), "```",
    ]  # fmt: skip
    for kind in error_classes():
        lines += ["", f"## {kind.__name__}", "", _said(kind.__doc__ or ""), ""]
        lines.append(f"- exit code: {kind.exit_code}")
        above = [base.__name__ for base in kind.__bases__ if issubclass(base, errors.AvcError)]
        outside = [base.__name__ for base in kind.__bases__ if not issubclass(base, errors.AvcError)]
        if above:
            lines.append(f"- is a: {', '.join(f'[{name}](#{name.lower()})' for name in above)}")
        if outside and kind is not errors.AvcError:
            lines.append(f"- also a: `{'`, `'.join(outside)}`")
        names = wandb_names(kind)
        if names:
            lines.append(f"- W&B's name: `{'`, `'.join(names)}`")
    missing = [name for name in _WANDB if not hasattr(errors, name)]
    lines += [
        "", "## W&B's names", "",
        "Names of W&B's errors that this version has: "
        + (", ".join(f"`{name}`" for name in _WANDB if hasattr(errors, name)) or "none") + ".",
    ]  # fmt: skip
    assert not missing, missing
    return lines


def error_classes() -> list[type[errors.AvcError]]:
    """Every error class, in the order of the source."""
    found = vars(errors).items()
    return [
        value
        for name, value in found
        if isinstance(value, type) and issubclass(value, errors.AvcError) and value.__name__ == name
    ]


def wandb_names(kind: type[errors.AvcError]) -> list[str]:
    """The names under which code written for W&B finds *kind*."""
    return [name for name in _WANDB if vars(errors).get(name) is kind]


def _tree(kind: type[errors.AvcError], indent: str = "") -> Iterator[str]:
    """All below a class, a line each; a class with two parents stands below the first."""
    below = [one for one in error_classes() if one.__bases__[0] is kind]
    for one in below:
        last = one is below[-1]
        yield f"{indent}{'└── ' if last else '├── '}{one.__name__}"
        yield from _tree(one, indent + ("    " if last else "│   "))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
