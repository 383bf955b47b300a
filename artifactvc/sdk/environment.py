"""What the environment and the user's own settings say: read in ``cli`` and ``sdk`` only (design, section 7)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifactvc.core import names
from artifactvc.core.identity import Identity, check_email, check_identity, check_name
from artifactvc.errors import BadName
from artifactvc.storage import avcdir, bindings, settings

if TYPE_CHECKING:
    from artifactvc.core import results


def variable(environ: Mapping[str, str], name: str) -> str | None:
    """The value of ``AVC_<name>``, else of the ``WANDB_`` variable of the same meaning; None if empty."""
    return environ.get(f"AVC_{name}") or environ.get(f"WANDB_{name}") or None


def first(*values: object) -> str:
    """The first of *values* that is not empty, as text."""
    return next((str(value) for value in values if value), "")


def project_from(workspace: Path) -> str:
    """A project named like the workspace's directory."""
    try:
        return names.check_project(workspace.name)
    except BadName:
        return "uncategorized"


def project_for(workspace: Path) -> str:
    """The project of a new repository: that of the origin in ``artifacts.toml``, else of its artifacts.

    So after ``git clone`` names mean the same as where they were written.
    """
    if not (workspace / bindings.FILE).is_file():
        return project_from(workspace)
    from artifactvc.ops import remotes

    written = bindings.Bindings(workspace, workspace / avcdir.NAME / "locks" / "bindings")
    found = remotes.project_at(written.origin) if written.origin else None
    projects = [key[0] for key in written.artifacts]
    return found or (projects[0] if projects else project_from(workspace))


def author(environ: Mapping[str, str], tables: Sequence[Mapping[str, Any]], workspace: Path) -> str:
    """Who is asking, as entries of the log have it: ``Name <email>``, or a name alone.

    ``AVC_USER`` says all of it, together with ``AVC_USER_EMAIL``. Else each of user.name and
    user.email is that of the first of *tables* (settings) that has it; where none has either, Git's
    own for *workspace*, as a pair; else the login name. BadName for an ``AVC_USER`` that is none.
    """
    named, email = variable(environ, "USER"), variable(environ, "USER_EMAIL")
    if named is not None:
        who = check_identity(named)
        return str(Identity(who.name, email or who.email))
    name, at = (
        first(*(settings.get_setting(table, setting) for table in tables)) for setting in ("user.name", "user.email")
    )
    if not name and not at:
        from artifactvc.util.git_identity import git_identity

        name, at = git_identity(workspace, environ)
    return str(Identity(_fit(check_name, name) or login(environ), _fit(check_email, email or at)))


def _fit(check: Callable[[str], str], text: str) -> str:
    """*text*, or nothing where it cannot stand in the log."""
    try:
        return check(text)
    except BadName:
        return ""


def login(environ: Mapping[str, str]) -> str:
    """The login name, from the environment or the user database."""
    named = environ.get("USER") or environ.get("LOGNAME")
    if named:
        return named
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return "unknown"


def global_setting(name: str, *, environ: Mapping[str, str] | None = None) -> results.ConfigValue:
    """One setting of the user's own file; no repository is needed."""
    from artifactvc.core.results import ConfigValue

    environ = os.environ if environ is None else environ
    name = settings.setting_name(name)
    default = settings.default_of(name)
    value = settings.get_setting(settings.load_settings(settings.global_path(environ)), name)
    return ConfigValue(name, default, "default") if value is None else ConfigValue(name, value, "global")


def global_settings(*, environ: Mapping[str, str] | None = None) -> list[results.ConfigValue]:
    """Every setting that the user's own file holds; no repository is needed."""
    found = [global_setting(name, environ=environ) for name in sorted(settings.SETTINGS)]
    return [value for value in found if value.source == "global"]


def set_global(name: str, value: str, *, environ: Mapping[str, str] | None = None) -> results.ConfigValue:
    """Change one setting of the user's own file; no repository is needed."""
    from artifactvc.core.results import ConfigValue

    environ = os.environ if environ is None else environ
    name = settings.setting_name(name)
    settings.default_of(name)
    settings.set_dotted(settings.global_path(environ), name, value)
    return ConfigValue(name, value, "global")
