"""The rules of the layout that a machine can check (docs/architecture.md).

Imports are read from the syntax tree, those inside functions and under
``TYPE_CHECKING`` included, so that a cycle cannot be hidden by importing late.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "artifactvc"
SOURCES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))

#: What each layer may import besides itself. `core` holds the values that results are made of.
MAY_IMPORT = {
    "cli": {"sdk", "core", "util", "errors"},
    "web": {"sdk", "core", "util", "errors"},
    "sdk": {"ops", "storage", "core", "util", "errors"},
    "ops": {"storage", "core", "util", "errors"},
    "storage": {"core", "util", "errors"},
    "core": {"util", "errors"},
    "util": {"errors"},
    "errors": set(),
}
ON_SCREEN = ("cli", "web")  # these print
MAX_FRONT_DOOR = 700
MAX_FILE, MAX_FUNCTION, MAX_FUNCTION_P95, MAX_FUNCTION_MEDIAN = 450, 60, 35, 8
MAX_CLASS, MAX_METHODS = 260, 15
FRONT_DOORS = {"Repository"}  # one call each, so it may have more methods
FRONT_DOOR_FILES = {"repository.py"}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


MODULES = {module_of(path): path for path in SOURCES}


def _only_for_types(path: Path) -> set[int]:
    """Lines of imports that never happen: under ``if TYPE_CHECKING``."""
    blocks = [
        node
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    return {line for block in blocks for item in block.body for line in range(item.lineno, (item.end_lineno or 0) + 1)}


def imports(path: Path, *, happening: bool = False) -> Iterator[tuple[int, str]]:
    """Yield (line, module of this package) of every import in *path*; with *happening*, of those that can happen."""
    skipped = _only_for_types(path) if happening else set()
    for node in ast.walk(parsed(path)):
        if getattr(node, "lineno", 0) in skipped:
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
            first = node.args[0]
            names = [first.value] if isinstance(first, ast.Constant) and isinstance(first.value, str) else []
        for name in names:
            if name.split(".")[0] == "artifactvc":
                yield node.lineno, name if name in MODULES else name.rpartition(".")[0] or name


def test_imports_point_downward():
    """A module imports only its own layer and those below it; where a late import hides makes no difference."""
    wrong = []
    for module, path in MODULES.items():
        layer = layer_of(module)
        if not layer or path.name == "__main__.py":
            continue
        for line, target in imports(path):
            below = layer_of(target)
            if below and below != layer and below not in MAY_IMPORT[layer]:
                wrong.append(f"{path.relative_to(ROOT)}:{line} ({layer}) imports {target}")
    assert not wrong, "\n".join(wrong)


def test_every_module_has_a_layer():
    """Each folder of the package is a layer that the map above knows."""
    outside = {m for m in MODULES if layer_of(m) and layer_of(m) not in MAY_IMPORT} - {"artifactvc.__main__"}
    assert not outside


def test_no_import_cycles():
    """No module reaches itself by imports, those inside functions counted, those for types only not."""
    # The package itself loads the Python API by name, late; for its version it may be imported anywhere.
    graph = {
        module: {target for _, target in imports(path, happening=True) if target not in ("artifactvc", module)}
        for module, path in MODULES.items()
        if module != "artifactvc"
    }
    done: set[str] = set()

    def visit(module: str, trail: list[str]) -> None:
        if module in trail:
            pytest.fail(" -> ".join([*trail[trail.index(module) :], module]))
        if module in done:
            return
        for target in sorted(graph.get(module, ())):
            visit(target, [*trail, module])
        done.add(module)

    for module in sorted(graph):
        visit(module, [])


def uses(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of every name called or attribute read in *path*."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.lineno, f"{node.func.id}()"
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.lineno, f"{node.value.id}.{node.attr}"


def test_only_the_command_line_talks():
    """Below `cli` nothing prints, asks or exits; below `sdk` nothing reads the environment or knows a terminal.

    But for `storage/credentials.py`: the environment is where the clouds' own tools keep credentials.
    """
    never = {"print()", "input()", "exit()", "sys.exit", "sys.stdout", "sys.stdin"}
    below_sdk = {"os.environ", "os.getenv", "os.environb", "sys.stderr", "sys.argv"}
    wrong = []
    for module, path in MODULES.items():
        layer = layer_of(module)
        if not layer or layer in ON_SCREEN or path.name == "__main__.py":
            continue
        banned = never if layer == "sdk" or path.name == "credentials.py" else never | below_sdk
        wrong += [f"{path.relative_to(ROOT)}:{line} uses {name}" for line, name in uses(path) if name in banned]
        text = path.read_text(encoding="utf-8")
        wrong += [f"{path.relative_to(ROOT)} imports click"] * bool(re.search(r"^\s*(import|from) click\b", text, re.M))
    assert not wrong, "\n".join(wrong)


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Yield (place, lines without decorators and docstring) of every function in *path*."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            said = ast.get_docstring(node, clean=False) is not None
            lines = (node.end_lineno or 0) - node.lineno + 1
            lines -= (first.end_lineno or 0) - first.lineno + 1 if said else 0
            yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", lines


def test_files_and_functions_stay_small():
    """A file can be held in mind (450 lines) and a function seen at once (60 lines; 19 of 20 within 35)."""
    lines = {path: len(path.read_text().splitlines()) for path in SOURCES}
    limits = {path: MAX_FRONT_DOOR if path.name in FRONT_DOOR_FILES else MAX_FILE for path in SOURCES}
    long_files = [f"{path.relative_to(ROOT)}: {n}" for path, n in lines.items() if n > limits[path]]
    lengths = [item for path in SOURCES for item in functions(path)]
    long_functions = [f"{place}: {n}" for place, n in lengths if n > MAX_FUNCTION]
    assert not long_files + long_functions, "\n".join(long_files + long_functions)
    counts = sorted(n for _, n in lengths)
    assert median(counts) <= MAX_FUNCTION_MEDIAN
    assert counts[int(len(counts) * 0.95)] <= MAX_FUNCTION_P95


def _is_public_method(item: ast.stmt) -> bool:
    if not isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) or item.name.startswith("_"):
        return False
    return not any("property" in ast.unparse(one) or "overload" in ast.unparse(one) for one in item.decorator_list)


def test_classes_stay_small():
    """A class has at most 15 public methods (the front door may have more) and 260 lines."""
    wrong = []
    for path in SOURCES:
        for node in ast.walk(parsed(path)):
            if not isinstance(node, ast.ClassDef) or node.name in FRONT_DOORS:
                continue
            methods = [item for item in node.body if _is_public_method(item)]
            lines = (node.end_lineno or 0) - node.lineno + 1
            if len(methods) > MAX_METHODS or lines > MAX_CLASS:
                wrong.append(
                    f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {len(methods)} methods, {lines} lines"
                )
    assert not wrong, "\n".join(wrong)


def test_every_test_says_what_it_promises():
    """Each test's promise stands in its docstring, or is its name: a sentence of four words or more."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in TESTS
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
        and len(node.name.split("_")) < 5
    ]
    assert not silent, "\n".join(silent)


#: Packages from elsewhere that a command may load, and modules of Python that cost too much for it.
LOADS = {
    "--version": ({"click"}, {"sqlite3", "asyncio", "ssl", "http.client", "multiprocessing", "importlib.metadata"}),
    "--help": ({"click"}, {"sqlite3", "asyncio", "ssl", "http.client", "multiprocessing", "importlib.metadata"}),
    "status": (
        {"click", "blake3", "zstandard", "_cffi_backend"},
        {"asyncio", "ssl", "http.client", "multiprocessing", "importlib.metadata"},
    ),
    # A new index is made without sqlite-utils, which brings pandas along where that is installed.
    "init elsewhere": (
        {"click", "blake3", "tomlkit"},
        {"asyncio", "ssl", "http.client", "multiprocessing", "importlib.metadata"},
    ),
}
#: Loaded by the environment's own start-up files, not by us; "org" is what the standard `copy` tries (Jython).
_SITE = re.compile(
    r"org|_distutils_hack|_virtualenv|__editable__.*|sitecustomize|usercustomize|site|_?a1_coverage|coverage"
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one committed file."""
    place = tmp_path_factory.mktemp("tiny")
    (place / "data").mkdir()
    (place / "data" / "a.txt").write_text("a\n")
    for argv in (["init"], ["add", "data"], ["commit", "-m", "first"]):
        done = subprocess.run([sys.executable, "-m", "artifactvc", *argv], cwd=place, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return place


@pytest.mark.parametrize("command", LOADS)
def test_a_command_loads_only_what_it_needs(command, tiny):
    """Starting is what the everyday commands cost: heavy modules are loaded by the commands that use them."""
    argv = [sys.executable, "-X", "importtime", "-m", "artifactvc", *command.split()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, cwd=tiny, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    loaded = set(re.findall(r"^import time: +\d+ \| +\d+ \| +(\S+)$", done.stderr, re.M))
    packages, heavy = LOADS[command]
    foreign = {name.split(".")[0] for name in loaded} - set(sys.stdlib_module_names) - {"artifactvc"}
    assert {name for name in foreign - packages if not _SITE.fullmatch(name)} == set()
    assert loaded & heavy == set()
