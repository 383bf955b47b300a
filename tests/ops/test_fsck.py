"""Checking without ``full``: cheap, but what a look at the files shows is shown."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.support import forget_index, new, origin, reopen, version

LARGE = random.Random(2).randbytes(300_000)


def own_files(root: Path) -> list[Path]:
    """The files of larger objects."""
    return [path for path in (root / ".artifacts" / "objects").rglob("*") if path.is_file()]


@pytest.mark.parametrize("rebuilt", [False, True])
@pytest.mark.parametrize("size", [0, 299_999, 300_001])
def test_a_larger_object_of_another_size_is_found(tmp_path, size, rebuilt):
    """A larger object that was cut or grew is damaged, by what the manifest says too where the index was made anew."""
    made = new(tmp_path / "work")
    version(made, {"a": LARGE})
    assert made.fsck().problems == ()
    (path,) = own_files(made.root)
    path.chmod(0o600)
    os.truncate(path, size)
    if rebuilt:
        made.close()
        forget_index(made.root)
        made = reopen(made.root)
        made.session.avc.store.rescan()
    (problem,) = made.fsck().problems
    digest = path.parent.name + path.name
    assert (problem.kind, problem.subject, problem.repaired) == ("DigestMismatch", f"object '{digest[:12]}'", False)
    assert problem.message.startswith(f"damaged object '{digest[:12]}' in objects/")


def test_a_larger_object_of_another_size_is_mended(tmp_path):
    """``repair`` fetches it anew, without ``full``, too."""
    made = new(tmp_path / "work")
    version(made, {"a": LARGE})
    origin(made, tmp_path / "remote")
    made.push()
    (path,) = own_files(made.root)
    path.chmod(0o600)
    os.truncate(path, 17)
    found = made.fsck(repair=True)
    assert [problem.repaired for problem in found.problems] == [True]
    assert made.fsck(full=True).problems == ()
    assert b"".join(made.read("data", "a")) == LARGE
