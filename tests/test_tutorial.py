"""The tutorial runs as it stands, block after block, and prints what stands under each."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "tutorial.md"
_BLOCK = re.compile(r"^```(python|text|console)\n(.*?)^```$", re.M | re.S)


def test_the_tutorial(tmp_path, monkeypatch):
    """In one empty directory, in one process, in the order of the page."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("AVC_", "WANDB_"))]:
        monkeypatch.delenv(name)
    blocks = _BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert len([kind for kind, _ in blocks if kind == "python"]) > 6
    space: dict[str, object] = {"__name__": "tutorial"}
    printed = ""
    for kind, text in blocks:
        if kind == "python":
            assert printed == "", "a block's output is not shown"
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(text, str(PAGE), "exec"), space)
            printed = out.getvalue()
        elif kind == "text":
            assert printed == text
            printed = ""
        else:
            for line in text.splitlines():
                command = line.removeprefix("$ ").split()
                program = [str(Path(sys.executable).with_name(command[0])), *command[1:]]
                done = subprocess.run(program, capture_output=True, text=True)
                assert (done.returncode, done.stderr) == (0, ""), line
                assert done.stdout


@pytest.mark.parametrize("page", ["tutorial.md", "coming-from-wandb.md"])
def test_every_name_is_there(page):
    """What the pages call `avc.X`, the package has."""
    import artifactvc as avc

    text = (PAGE.parent / page).read_text(encoding="utf-8")
    for name in set(re.findall(r"\bavc\.([A-Za-z]\w*)", text)):
        assert hasattr(avc, name), name
