"""Wrote ``v1/``: ``python -m tests.formats.make_v1``. Run once, when format 1 was fixed; never again for that format.

``v1/repository`` is a workspace with its ``.artifacts`` (stored as ``dot-artifacts``, without the
index, which can be made again), ``v1/remote`` the directory that it was pushed to, and
``v1/expected.json`` what its versions hold.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from unittest.mock import patch

from tests.support import inside, new, origin, tree, version, write

HERE = Path(__file__).parent / "v1"


def main() -> None:
    """Write the repository anew."""
    shutil.rmtree(HERE, ignore_errors=True)
    work = HERE / "repository"
    repository = new(work, {"tool/run.sh": "#!/bin/sh\necho run\n"}, project="demo")
    (work / "tool" / "run.sh").chmod(0o755)
    origin(repository, HERE / "remote")
    text = "".join(f"line {i} of a text that packs well\n" for i in range(300))
    version(repository, {"a.txt": "one\n", "deep/er/b.csv": "x,y\n1,2\n", "text.txt": text, "empty": ""}, "first")
    (work / "data" / "link").symlink_to("deep/er/b.csv")
    version(repository, {"a.txt": "two\n", "ünïcode ✓.txt": "three\n", "large.bin": bytes(range(256)) * 520}, "second")
    repository.alias("data:v0", ["start"])
    repository.tag("data:v1", ["good"])
    repository.edit("data:v1", metadata={"rows": 2, "nested": {"list": [1, None, True]}})
    repository.push()
    with patch("os.getcwd", return_value="/project"), patch("socket.gethostname", return_value="host"):
        sys.argv[:] = ["avc", "put"]
        repository.put(work / "tool", name="tool", type="model")
    version(repository, {f"many/f{i:03}": f"{i}\n" for i in range(200)}, "third, not pushed")
    repository.delete("data:v0", delete_aliases=True)
    write(work, {"data/draft.txt": "staged\n"})
    with inside(work):
        repository.add(["data"])
    expected = {}
    for ref in ("data:v1", "data:v2", "tool:v0"):
        repository.checkout(ref, HERE / "out")
        expected[ref] = {path: _shown(content) for path, content in tree(HERE / "out").items()}
        shutil.rmtree(HERE / "out")
    infos = {}
    for name in ("data", "tool"):
        infos[name] = [(i.version, i.digest, i.description, i.metadata) for i in repository.log(name)]
    repository.close()
    (HERE / "expected.json").write_text(json.dumps({"files": expected, "log": infos}, indent=1, sort_keys=True) + "\n")
    for name in ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm"):
        (work / ".artifacts" / name).unlink(missing_ok=True)
    for leftover in (work / ".artifacts" / "remotes").rglob("index.sqlite*"):
        leftover.unlink()
    (work / ".artifacts" / ".gitignore").unlink()
    for path in [*(work / ".artifacts" / "locks").iterdir(), *(work / ".artifacts").rglob("*.lock")]:
        path.unlink()
    (work / ".artifacts").rename(work / "dot-artifacts")
    for path in (work / "dot-artifacts" / "config.toml", work / "artifacts.toml"):
        path.write_text(path.read_text().replace(str(HERE / "remote"), "REMOTE"))


def _shown(content: bytes | str) -> str:
    return content if isinstance(content, str) else content.hex()


if __name__ == "__main__":
    main()
