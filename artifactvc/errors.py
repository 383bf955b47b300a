"""Every error raised on purpose, in one tree.

::

    AvcError
    ├── UsageError                 wrong use of a command: exit code 2
    │   ├── BadName                a name, alias, reference, size … that breaks its rule
    │   └── BadValue  WrongType    an argument of a Python call that is none; a ValueError, a TypeError
    ├── NotFound                   something asked for by name is not there
    │   ├── NoRepository
    │   ├── UnknownArtifact  UnknownVersion  UnknownAlias  UnknownRemote  UnknownPath  UnknownRun
    │   │                          UnknownOperation
    │   │                          UnknownEntry, an UnknownPath, is also a KeyError and a FileNotFoundError
    │   ├── ReferenceMissing       what a reference leads to is gone; also a FileNotFoundError and a ValueError
    │   └── MissingObject          bytes that no reachable place holds
    │       └── Collected          an undo needs bytes that gc has removed
    ├── NothingToUndo              no operation of the log is left to take back
    ├── NotAnEditor                somebody else may change times to live, not who asks
    ├── Conflict                   the change would undo somebody's work
    │   ├── AliasConflict  NameTaken  TypeConflict  WouldOverwrite  PathConflict
    │   └── StaleVersion           a number that now means other content
    ├── WorkspaceError             a file that cannot be taken or written
    │   ├── OutsideWorkspace  UnsupportedFile  UnstableFile  UnreadableFile  UnsafeLink
    ├── Corrupt                    stored bytes are not what their name promises
    │   ├── DigestMismatch  BadManifest  BadPack  BadLogEntry  BrokenChain  BadIndex
    │   ├── ReferenceChanged       what a reference leads to is not what it was; also a ValueError
    │   └── HostilePath
    ├── StorageError               disk or remote refused: full, read-only, gone
    │   ├── NoSpace  ReadOnly  RemoteUnavailable  RemoteRefused  RemoteMissing  BucketMissing
    │   ├── UnsafeRemote           the storage cannot create a file once
    │   ├── ReferenceRefused       a reference from elsewhere leads where nobody here allowed it to
    │   ├── OutcomeUnknown         a write that may still land
    │   └── MissingExtra           an optional package is not installed
    ├── NewerFormat                written by a newer avc
    └── of the Python API, shaped as in W&B
        ├── CommError              any failure of ``Api`` and what it gives; the cause in ``exc``. Also a ValueError
        ├── UnsupportedError       W&B has it, avc has not; the hint says what to use
        ├── WaitTimeoutError
        └── ArtifactStatusError    also an AttributeError, so that ``hasattr`` works
            └── ArtifactNotLoggedError  ArtifactFinalizedError

Class names are stable: ``--json`` reports them. A message is lower case, names the
fault first and its subject in quotes; the next step stands apart, in ``hint``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar


class AvcError(Exception):
    """Base of every error raised on purpose; anything else that escapes is a bug."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint  # the one next step; a command where there is one
        if hint:
            self.add_note(f"hint: {hint}")  # a traceback shows it below the message

    def __reduce__(self) -> tuple[object, ...]:
        """Errors travel from a child process as they are; ``__init__`` would word them again."""
        return _rebuilt, (type(self), self.args, self.__dict__)

    @property
    def message(self) -> str:
        """The one line that says what is wrong."""
        return str(self.args[0])


def _rebuilt(kind: type[AvcError], args: tuple[object, ...], state: dict[str, object]) -> AvcError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class UsageError(AvcError):
    """A command or call that cannot mean anything."""

    exit_code: ClassVar[int] = 2


class BadName(UsageError, ValueError):
    """A name, alias, tag, reference, size or duration that breaks its rule."""


class BadValue(UsageError, ValueError):
    """An argument that breaks its rule; W&B raises a ValueError."""


class WrongType(UsageError, TypeError):
    """An argument of another type than it has to be; W&B raises a TypeError."""


class NotFound(AvcError):
    """Something asked for by name is not there."""


class NoRepository(NotFound):
    """There is no ``.artifacts`` directory here or above."""

    def __init__(self, start: str) -> None:
        super().__init__(
            f"no repository at '{start}' or in any directory above it",
            hint="run 'avc init' in the project's directory",
        )


def _near(names: Iterable[str]) -> str:
    near = list(names)
    return "did you mean " + " or ".join(f"'{n}'" for n in near) + "?" if near else ""


class UnknownArtifact(NotFound):
    """No artifact has this name."""

    def __init__(self, name: str, near: Iterable[str] = ()) -> None:
        super().__init__(f"no artifact '{name}'", hint=_near(near) or "run 'avc ls' to list artifacts")
        self.name = name


class UnknownVersion(NotFound):
    """The artifact has no such version, or it was deleted."""


class UnknownAlias(NotFound):
    """The artifact has no such alias."""

    def __init__(self, name: str, alias: str, near: Iterable[str] = (), *, newest: str = "", message: str = "") -> None:
        hint = _near(near)
        if newest:
            hint = f"the newest version is '{newest}'"
        super().__init__(message or f"artifact '{name}' has no alias '{alias}'", hint=hint)
        self.name, self.alias = name, alias


class UnknownRemote(NotFound):
    """No remote of this name is configured."""

    def __init__(self, name: str, near: Iterable[str] = ()) -> None:
        super().__init__(f"no remote '{name}'", hint=_near(near) or "run 'avc remote add NAME URL'")
        self.name = name


class UnknownPath(NotFound):
    """A path that is not in the version, or not on disk."""


class UnknownEntry(UnknownPath, KeyError, FileNotFoundError):
    """An artifact has no entry at this path.

    W&B raises a KeyError to who looks for one, and a FileNotFoundError to who removes one.
    """

    def __str__(self) -> str:
        """The message: a KeyError would show its ``repr``."""
        return self.message


class UnknownRun(NotFound):
    """No run has this id."""


class UnknownOperation(NotFound):
    """No operation of this repository's log has this id."""

    def __init__(self, text: str, *, elsewhere: bool = False) -> None:
        hint = "run 'avc op log' to list what was done here"
        if elsewhere:
            hint = "it is an entry of origin's log, made by a push: undo what was done, not the push; see 'avc op log'"
        super().__init__(f"no operation '{text}' was done here", hint=hint)


class MissingObject(NotFound):
    """Bytes that no reachable place holds."""

    def __init__(self, digest: str, where: str = "here", *, hint: str = "") -> None:
        super().__init__(
            f"object '{digest:.12}' is not {where}",
            hint=hint or "run 'avc pull' to fetch it from a remote, or 'avc fsck' to see what is missing",
        )
        self.digest = digest


class Collected(MissingObject):
    """An undo needs bytes that no place holds any more; *paths* are the files that they were."""

    def __init__(self, digest: str, what: str, paths: Iterable[str], size: int) -> None:
        gone = [f"'{path}'" for path in paths]
        listed = ", ".join(gone[:5]) + (f" and {len(gone) - 5:,} more" if len(gone) > 5 else "")
        message = f"cannot undo: gc has removed what {what} needs: {listed or 'its list of files'} ({size:,} bytes)"
        AvcError.__init__(
            self,
            message,
            hint="nothing was changed; if you have the files, store them again with 'avc add' or 'avc put'",
        )
        self.digest, self.paths, self.size = digest, tuple(gone), size


class NothingToUndo(AvcError):
    """Nothing was done here that can be taken back and was not yet."""


class ReferenceMissing(NotFound, FileNotFoundError, ValueError):
    """What a reference leads to is not there any more, or not in that version."""


class NotAnEditor(AvcError):
    """Times to live are changed by the editors that the log names, and who asks is none of them."""

    def __init__(self, who_may: str, author: str) -> None:
        super().__init__(
            f"{who_may}, and you are '{author}'",
            hint="ask one of them; if you are one, say so: 'avc config set user.email EMAIL'",
        )


class Conflict(AvcError):
    """The change would undo somebody else's work."""


class AliasConflict(Conflict):
    """An alias was moved elsewhere meanwhile (protocol N4)."""


class NameTaken(Conflict):
    """The name belongs, or belonged, to another artifact."""


class TypeConflict(Conflict, ValueError):
    """A name has one type."""


class WouldOverwrite(Conflict):
    """Uncommitted work stands where a file would be written."""


class PathConflict(Conflict, ValueError):
    """Two entries cannot stand in one manifest."""


class StaleVersion(Conflict):
    """A version number, recorded earlier, now names other content."""


class WorkspaceError(AvcError):
    """A file in the workspace that cannot be taken or written."""


class OutsideWorkspace(WorkspaceError):
    """A path that is not below the workspace."""

    def __init__(self, path: str, workspace: str) -> None:
        super().__init__(
            f"'{path}' is outside the workspace '{workspace}'",
            hint="move it inside, or store it in one step with 'avc put PATH --name NAME'",
        )


class UnsupportedFile(WorkspaceError):
    """A socket, device, pipe, or a name that is not UTF-8."""


class UnstableFile(WorkspaceError):
    """A file that changed while it was read, twice."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"'{path}' keeps changing while it is read", hint="wait until its writer is done, then run again"
        )


class UnreadableFile(WorkspaceError):
    """The operating system refuses to read the file."""


class UnsafeLink(WorkspaceError):
    """A symbolic link that leaves the directory taken, or the destination."""


class Corrupt(AvcError):
    """Stored bytes are not what their name promises."""


class DigestMismatch(Corrupt, ValueError):
    """An object's bytes hash to something other than its name."""

    def __init__(self, digest: str, actual: str, place: str) -> None:
        super().__init__(
            f"damaged object '{digest:.12}' in {place}: its bytes hash to '{actual:.12}'",
            hint="run 'avc fsck --full --repair' to fetch a sound copy;"
            " a remote's is mended by 'avc fsck REMOTE --full --repair' in a clone that has one",
        )
        self.digest, self.actual, self.place = digest, actual, place


class ReferenceChanged(Corrupt, ValueError):
    """What a reference leads to is not what was recorded; the message names both identities."""


class BadManifest(Corrupt):
    """A manifest node that breaks the format."""


class BadPack(Corrupt):
    """A pack whose table or tail breaks the format."""


class BadLogEntry(Corrupt):
    """A log entry that breaks the format."""


class BrokenChain(Corrupt):
    """A log that does not continue what was read of it before (protocol R3)."""


class BadIndex(Corrupt):
    """A remote's index of stored objects that breaks the format."""


class HostilePath(Corrupt):
    """A path in a manifest that must never reach a file system (protocol H1)."""


class StorageError(AvcError):
    """The disk or the remote refused."""


class NoSpace(StorageError):
    """The disk is full; nothing was half-written."""

    def __init__(self, place: str) -> None:
        super().__init__(f"no space left on the disk of '{place}'", hint="free some space and run the command again")


class ReadOnly(StorageError):
    """The place cannot be written."""


class RemoteUnavailable(StorageError):
    """The remote does not answer."""


class RemoteRefused(StorageError):
    """The remote refuses these credentials."""


class RemoteMissing(StorageError):
    """A file or bucket that should be on the remote is not."""


class BucketMissing(RemoteMissing):
    """The bucket itself is not there."""


class UnsafeRemote(StorageError):
    """The storage cannot create a file only if it does not exist (protocol R1)."""


class ReferenceRefused(StorageError):
    """A reference that came from elsewhere leads to a place that ``refs.allow`` does not name (protocol H4)."""


class OutcomeUnknown(StorageError):
    """A write was sent and no answer came: it may still land (protocol P8)."""


class MissingExtra(StorageError):
    """An optional package is needed and not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra '{extra}'", hint=f"pip install 'artifactvc[{extra}]'")
        self.extra = extra


class NewerFormat(AvcError):
    """Written by a newer avc: not read, not touched."""

    def __init__(self, what: str, found: str) -> None:
        super().__init__(f"{what} was written by a newer avc (needs {found})", hint="upgrade artifactvc")


# ---- of the Python API ---------------------------------------------------------------------------

Error = AvcError
"""W&B's name for the base of all errors."""


class CommError(AvcError, ValueError):
    """A failure of ``Api`` and of what it gives; *exc* is the cause.

    W&B's code catches it as such, or as a ValueError.
    """

    def __init__(self, message: str, exc: BaseException | None = None, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.exc = exc


class UnsupportedError(AvcError):
    """W&B has it, and avc has not on purpose."""


class WaitTimeoutError(AvcError):
    """What was waited for did not happen in time."""


class ArtifactStatusError(AvcError, AttributeError):
    """A property or method that the artifact, as it stands, has not; *obj* is the artifact."""

    def __init__(self, message: str, *, name: str = "", obj: object = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.name, self.obj = name, obj


class ArtifactNotLoggedError(ArtifactStatusError):
    """What only a version has was asked of a draft."""

    def __init__(self, fullname: str, obj: object = None) -> None:
        super().__init__(
            f"'{fullname}' used prior to logging artifact",
            name=fullname.rpartition(".")[2],
            obj=obj,
            hint="log it first, with run.log_artifact() or save()",
        )


class ArtifactFinalizedError(ArtifactStatusError):
    """The content of a version was to be changed."""

    def __init__(self, fullname: str, obj: object = None) -> None:
        super().__init__(
            f"'{fullname}' used on logged artifact. Can't modify finalized artifact",
            name=fullname.rpartition(".")[2],
            obj=obj,
            hint="change a copy: draft = artifact.new_draft()",
        )
