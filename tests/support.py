"""What tests of operations share: workspaces made of dictionaries, and looking at them again."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from artifactvc.errors import AvcError
from artifactvc.sdk.repository import RemoteOptions, Repository
from artifactvc.storage.database import discard

Content = str | bytes | None  # None: the file is removed

#: Nothing of the tester's own: who asks and from where is the same everywhere.
ENVIRON = {"AVC_USER": "tester", "AVC_ENTITY": "team", "HOME": "/nonexistent"}


def write(root: Path, files: Mapping[str, Content]) -> None:
    """Write, replace or remove files below *root*."""
    for name, content in files.items():
        path = root / name
        if content is None:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def tree(root: Path) -> dict[str, bytes | str]:
    """Every file below *root*: its bytes, with ``x:`` before them if it is executable; of links ``-> target``."""
    found: dict[str, bytes | str] = {}
    for directory, names, files in os.walk(root):
        for name in [*files, *(n for n in names if os.path.islink(f"{directory}/{n}"))]:
            path = Path(directory, name)
            key = path.relative_to(root).as_posix()
            if path.is_symlink():
                found[key] = f"-> {os.readlink(path)}"
            else:
                mark = b"x:" if path.stat().st_mode & stat.S_IXUSR else b""
                found[key] = mark + path.read_bytes()
    return found


def new(path: Path, files: Mapping[str, Content] | None = None, project: str = "demo") -> Repository:
    """A repository in *path*, with *files* in its workspace."""
    path.mkdir(parents=True, exist_ok=True)
    repository, _ = Repository.init(path, project=project, environ=ENVIRON)
    write(path, files or {})
    return repository


def reopen(path: Path) -> Repository:
    """The repository in *path*, as the next command finds it."""
    return Repository.open(path, environ=ENVIRON)


@contextmanager
def inside(path: Path) -> Iterator[None]:
    """The block runs in directory *path*: what users write is relative to where they are."""
    before = os.getcwd()
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(before)


def version(repository: Repository, files: Mapping[str, Content], message: str = "", name: str = "data") -> str:
    """Change ``<name>/``, stage and commit it; the version's number as shown."""
    root = repository.root
    write(root / name, files)
    with inside(root):
        repository.add([name])
        done = repository.commit([name], message=message or None)
    assert done, "nothing was staged"
    assert done[0].version is not None
    return done[0].version


def origin(repository: Repository, url: Path | str, **options: str) -> None:
    """Add *url* as the repository's origin."""
    repository.remote_add("origin", str(url), options=RemoteOptions(**options))  # type: ignore[arg-type]


def clone(url: Path | str, path: Path, **options: str) -> Repository:
    """A clone of *url* in *path*."""
    made, _ = Repository.clone(str(url), path, options=RemoteOptions(**options), environ=ENVIRON)  # type: ignore[arg-type]
    return made


def forget_index(path: Path) -> None:
    """Delete the index of the repository in *path*: everything in it can be made again."""
    discard(path / ".artifacts" / "index.sqlite")


def within(seconds: float, deed: Callable[[], object]) -> AvcError:
    """The error with which *deed* ends; it must not take longer than *seconds*."""
    ended: list[BaseException | None] = []

    def run() -> None:
        try:
            deed()
        except AvcError as error:
            ended.append(error)

    thread = threading.Thread(target=run, daemon=True)  # left behind if it hangs
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), f"still waiting after {seconds:g} seconds"
    assert isinstance(ended[0], AvcError)
    return ended[0]


class Meeting:
    """Lets *count* threads go on only together, and notes how many were ever inside at once."""

    def __init__(self, count: int) -> None:
        self.now = self.most = 0
        self._lock, self._all = threading.Lock(), threading.Barrier(count, timeout=20)

    def attend(self) -> None:
        """Wait for the others, twice: when all are in, and when all have left."""
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self._all.wait()
        with self._lock:
            self.now -= 1
        self._all.wait()


def refused(kind: type[AvcError], deed: Callable[[], object]) -> AvcError:
    """The error of *kind* with which *deed* fails: one line, and a hint of one."""
    with pytest.raises(AvcError) as caught:
        deed()
    assert type(caught.value) is kind, repr(caught.value)
    assert "\n" not in caught.value.message + caught.value.hint
    return caught.value
