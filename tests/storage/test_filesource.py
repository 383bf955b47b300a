"""Files of this machine as targets of references: what is no file, or not where it was."""

from __future__ import annotations

import os

import pytest

from artifactvc.core.references import BLAKE3, Target
from artifactvc.errors import ReferenceMissing, UnreadableFile, UnsupportedFile
from artifactvc.storage.filesource import FileSource
from artifactvc.storage.transport import RemoteOptions

DEEDS = {
    "check": lambda target: FileSource(RemoteOptions()).check(target),
    "read": lambda target: list(FileSource(RemoteOptions()).read(target)),
}


@pytest.fixture(params=DEEDS)
def deed(request):
    """What is done with a target."""
    return DEEDS[request.param]


@pytest.mark.parametrize("identity", [None, "0" * 64])
def test_what_is_no_file_is_not_waited_for(tmp_path, deed, identity):
    """A pipe has no writer, and a device no end."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", tmp_path):
        with pytest.raises(UnsupportedFile, match="is no file"):
            deed(Target(f"file://{path}", "x", None, BLAKE3 if identity else None, identity))


def test_a_file_where_its_directory_was_is_a_missing_one(tmp_path, deed):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ReferenceMissing):
        deed(Target(f"file://{tmp_path}/file/x", "x", 1, BLAKE3, "0" * 64))


def test_what_the_system_refuses_is_told(tmp_path, deed):
    with pytest.raises(UnreadableFile, match="File name too long"):
        deed(Target(f"file://{tmp_path}/{'x' * 300}", "x", 1, BLAKE3, "0" * 64))
