"""``Settings``: what may be said once instead of in every call. Unknown names are an error, not ignored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from artifactvc.errors import UsageError
from artifactvc.util.text import near

#: Names of W&B's that mean something only with its server; accepted, and without effect.
WITHOUT_EFFECT = frozenset(
    "save_code sync_tensorboard monitor_gym anonymous force allow_val_change config_exclude_keys config_include_keys "
    "magic tensorboard program base_url api_key console disable_git disable_code start_method symlink login_timeout "
    "init_timeout quiet show_info show_warnings".split()
)


@dataclass(frozen=True, init=False)
class Settings:
    """Defaults for ``init``."""

    project: str | None = None
    entity: str | None = None
    run_id: str | None = None
    run_name: str | None = None
    run_group: str | None = None
    job_type: str | None = None
    dir: str | None = None
    mode: str | None = None
    silent: bool = False

    def __init__(self, **values: Any) -> None:
        for field in fields(Settings):
            object.__setattr__(self, field.name, values.pop(field.name, field.default))
        _check_names(values)

    @staticmethod
    def of(value: Settings | Mapping[str, Any] | None) -> Settings:
        """*value* as settings; UsageError for a name that is none."""
        if value is None:
            return Settings()
        if isinstance(value, Settings):
            return value
        return Settings(**value)


def _check_names(names: Mapping[str, Any]) -> None:
    """UsageError for a name that neither we nor W&B's server have a use for."""
    known = {field.name for field in fields(Settings)}
    for name in names:
        if name not in WITHOUT_EFFECT and not name.startswith(("_", "x_")):
            close = near(name, known)
            raise UsageError(f"no setting '{name}'", hint=f"did you mean '{close[0]}'?" if close else "")
