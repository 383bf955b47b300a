"""Names that people write, and the values they stand for (design, section 1).

``[[entity/]project/]name:v3``, ``name:alias``, ``name@9f2c41d``, and files as
``avc://[project/]name:v3/path``. Every rule about what a name may look like is here.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final, NamedTuple

from artifactvc.errors import BadName, HostilePath, UsageError, WrongType

_ARTIFACT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}")
_PROJECT_BAD: Final = set("/\\#?%:")
_NUMBER: Final = re.compile(r"v(0|[1-9][0-9]{0,14})(~?)")
_HEX: Final = re.compile(r"[0-9a-f]{7,64}")
_TAG: Final = re.compile(r"[-\w]+( [-\w]+)*")
_RESERVED_TYPES: Final = ("run_table", "code", "job")


class Ref(NamedTuple):
    """A version as written: exactly one of *number*, *alias* and *digest* is set, or none for a bare name."""

    entity: str | None
    project: str | None
    name: str
    number: int | None = None
    alias: str | None = None
    digest: str | None = None  # a prefix, 7 to 64 digits

    @property
    def bare(self) -> bool:
        """Whether only the name was given, which means ``latest``."""
        return self.number is None and self.alias is None and self.digest is None

    def __str__(self) -> str:
        path = "/".join(part for part in (self.entity, self.project, self.name) if part)
        if self.number is not None:
            return f"{path}:v{self.number}"
        if self.digest is not None:
            return f"{path}@{self.digest}"
        return f"{path}:{self.alias or 'latest'}"


def check_given(text: str, what: str, hint: str) -> str:
    """Return *text*, a path or an address, unless it is empty: that names nothing, and never stands for all."""
    if text:
        return text
    raise UsageError(f"the {what} '' names nothing", hint=hint)


def check_prefix(text: str) -> str:
    """Return the directory inside an artifact that *text* names, empty for its root, else raise BadName."""
    from artifactvc.core.nodes import check_path

    path = text.rstrip("/") if text != "/" else text
    try:
        return path and check_path(path)
    except HostilePath as error:
        hint = "a prefix is a relative path inside the artifact, such as images/train"
        raise BadName(error.message, hint=hint) from error


def check_artifact_name(name: str) -> str:
    """Return *name* if an artifact may have it, else raise BadName."""
    if not isinstance(name, str):
        raise WrongType(f"the name of an artifact is text, not '{type(name).__name__}'")
    if _ARTIFACT.fullmatch(name) and not name.endswith("."):
        return name
    raise BadName(
        f"bad artifact name '{name[:140]}'",
        hint="use 1 to 128 ASCII letters, digits, '_', '-' or '.', not beginning with '.' or '-', not ending with '.'",
    )


def check_project(project: str) -> str:
    """Return *project* if a project may be called so, else raise BadName."""
    bad = (
        not isinstance(project, str)
        or not 1 <= len(project) <= 128
        or project in (".", "..")
        or _PROJECT_BAD & set(project)
    )
    if bad or any(unicodedata.category(c) in ("Cc", "Cs") for c in project):
        raise BadName(
            f"bad project name '{project[:140]}'",
            hint="use 1 to 128 characters without / \\ # ? % : and control characters",
        )
    return project


def check_alias(alias: str) -> str:
    """Return *alias* if a version may be called so, else raise BadName."""
    if not isinstance(alias, str):
        raise WrongType(f"an alias is text, not '{type(alias).__name__}'")
    if _NUMBER.fullmatch(alias) or re.fullmatch(r"v[0-9]+~?", alias):
        raise BadName(f"'{alias}' cannot be an alias: it looks like a version number", hint="choose another word")
    if re.fullmatch(r"[0-9a-f]{64}", alias):
        raise BadName(f"'{alias}' cannot be an alias: it looks like a digest", hint="choose another word")
    if not 1 <= len(alias) <= 128 or "/" in alias or ":" in alias or "@" in alias or not alias.strip():
        raise BadName(f"bad alias '{alias[:140]}'", hint="use 1 to 128 characters without '/', ':' and '@'")
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in alias):
        raise BadName(f"bad alias '{alias[:140]}'", hint="an alias has no control characters")
    return alias


def check_tag(tag: str) -> str:
    """Return *tag* if it is one, else raise BadName."""
    if not isinstance(tag, str):
        raise WrongType(f"a tag is text, not '{type(tag).__name__}'")
    if not _TAG.fullmatch(tag) or len(tag) > 128:
        raise BadName(f"bad tag '{tag[:140]}'", hint="use letters, digits, '_' and '-', words parted by single spaces")
    return tag


def check_type(kind: str) -> str:
    """Return *kind* if an artifact may have this type, else raise BadName."""
    if kind in _RESERVED_TYPES or kind.startswith(("wandb-", "avc-")):
        raise BadName(f"type '{kind}' is reserved", hint="choose another type, such as 'dataset' or 'model'")
    if not 1 <= len(kind) <= 128 or any(unicodedata.category(c) in ("Cc", "Cs") for c in kind):
        raise BadName(f"bad type '{kind[:140]}'", hint="use 1 to 128 characters without control characters")
    return kind


def check_type_of(kind: str, name: str) -> str:
    """Return *kind* if a program may give it to artifact *name*, else raise BadName.

    What tools make has reserved types under reserved names, as in W&B.
    """
    if not isinstance(kind, str):
        raise WrongType(f"a type is text, not '{type(kind).__name__}'")
    made = (kind == "run_table" and name.startswith("run-")) or (kind == "code" and name.startswith("source-"))
    if kind in ("run_table", "code") and not made:
        return kind
    if made:
        raise BadName(
            f"type '{kind}' is reserved for internal use under a name such as '{name}'", hint="choose another"
        )
    return check_type(kind)


def check_remote_name(name: str) -> str:
    """Return *name* if a remote may be called so, else raise BadName."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}", name) or name.endswith("."):
        raise BadName(f"bad remote name '{name[:80]}'", hint="use 1 to 64 letters, digits, '_', '-' or '.'")
    return name


def parse_ref(text: str) -> Ref:
    """Return the version that *text* names. A bare name leaves number, alias and digest empty.

    Raises BadName if a part breaks its rule.
    """
    path, colon, selector = text.partition(":")
    digest = None
    if not colon and "@" in text.rpartition("/")[2]:  # a project may have one, too
        path, _, digest_text = text.rpartition("@")
        if not _HEX.fullmatch(digest_text):
            raise BadName(
                f"bad digest '{digest_text[:80]}' in '{text[:200]}'", hint="give 7 to 64 lower-case hex digits"
            )
        digest = digest_text
    entity, project, name = _split_path(path, text)
    if not colon:
        return Ref(entity, project, name, digest=digest)
    number = _NUMBER.fullmatch(selector)
    if number:
        return Ref(entity, project, name, number=int(number[1]))
    if not selector or "/" in selector or ":" in selector:
        raise BadName(f"bad version '{text[:200]}'", hint="write NAME:v3, NAME:alias or NAME@digest")
    return Ref(entity, project, name, alias=selector)


def parse_artifact(text: str) -> tuple[str | None, str | None, str]:
    """Return (entity, project, name) of an artifact written ``[[entity/]project/]name``."""
    if ":" in text or "@" in text.rpartition("/")[2]:
        raise BadName(
            f"'{text[:200]}' names a version where an artifact is meant", hint="leave out what follows the name"
        )
    return _split_path(text, text)


def _split_path(path: str, text: str) -> tuple[str | None, str | None, str]:
    parts = path.split("/")
    if len(parts) > 3:
        raise BadName(f"too many parts in '{text[:200]}'", hint="write [[entity/]project/]name[:version]")
    name = check_artifact_name(parts[-1])
    if not parts[0]:
        raise BadName(f"bad name '{text[:200]}'", hint="write [[entity/]project/]name[:version]")
    project = check_project(parts[-2]) if len(parts) > 1 else None
    return (parts[0] if len(parts) == 3 else None), project, name


def parse_file_uri(uri: str) -> tuple[Ref, str]:
    """Return the version and the path inside it of ``avc://[project/]name:v3/path``.

    Parsed by hand: ``urlsplit`` takes ``:v3`` for a port and fails (design, section 1).
    """
    scheme, found, rest = uri.partition("://")
    if scheme != "avc" or not found:
        raise BadName(f"'{uri[:200]}' is not an avc:// reference")
    colon = rest.find(":")
    if colon >= 0:
        slash = rest.find("/", colon)
        if slash > 0 and rest[slash + 1 :]:
            return parse_ref(rest[:slash]), rest[slash + 1 :]
    raise BadName(f"'{uri[:200]}' names no file of a version", hint="write avc://[project/]name:v3/path")


def below(prefix: str, path: str) -> str:
    """A path inside an artifact, below a directory of it; either may be empty."""
    return f"{prefix}/{path}" if prefix and path else prefix or path


def artifact_name_from(text: str) -> str:
    """Return an artifact name made from *text*: other characters become ``-``."""
    name = re.sub(r"[^A-Za-z0-9_.\-]+", "-", text).strip("-").lstrip(".-")[:128].rstrip(".")
    return check_artifact_name(name) if name else check_artifact_name(text)


def shown_number(number: int, *, provisional: bool) -> str:
    """``v4``, or ``v4~`` until the log that gives numbers has given it (protocol N2)."""
    return f"v{number}~" if provisional else f"v{number}"
