"""``Settings``: what may be said once instead of in every call. Unknown names are an error, not ignored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from artifactvc.errors import UsageError
from artifactvc.util.text import near

#: Names of W&B's that mean something only with its server; accepted, and without effect.
_WITHOUT_EFFECT = frozenset(
    "anonymous base_url api_key console disable_git disable_code save_code start_method symlink login_timeout "
    "init_timeout sync_tensorboard x_disable_stats x_disable_meta quiet show_info show_warnings".split()
)


@dataclass(frozen=True)
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

    @staticmethod
    def of(value: Settings | Mapping[str, Any] | None) -> Settings:
        """*value* as settings; UsageError for a name that is none."""
        if value is None:
            return Settings()
        if isinstance(value, Settings):
            return value
        known = {field.name for field in fields(Settings)}
        for name in value:
            if name not in known and name not in _WITHOUT_EFFECT:
                close = near(name, known)
                raise UsageError(f"no setting '{name}'", hint=f"did you mean '{close[0]}'?" if close else "")
        return Settings(**{name: item for name, item in value.items() if name in known})
