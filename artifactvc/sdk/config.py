"""A run's configuration and summary: dictionaries whose keys are attributes too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from artifactvc.util.text import near


class Config(MutableMapping[str, Any]):
    """The configuration of a run: a dictionary whose keys are attributes too.

    *take* says what a value becomes, *changed* is called after each change.
    """

    def __init__(
        self, values: Mapping[str, Any] | None, take: Callable[[Any], Any], changed: Callable[[], None]
    ) -> None:
        object.__setattr__(self, "_values", dict(values or {}))
        object.__setattr__(self, "_take", take)
        object.__setattr__(self, "_changed", changed)

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._values[str(key)] = self._take(value)
        self._changed()

    def __delitem__(self, key: str) -> None:
        del self._values[key]
        self._changed()

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        try:
            return object.__getattribute__(self, "_values")[name]
        except KeyError:
            close = near(name, self._values)
            hint = f": did you mean '{close[0]}'?" if close else ""
            raise AttributeError(f"no key '{name}' in '{type(self).__name__}'{hint}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def update(self, *args: Any, allow_val_change: bool | None = None, **kwargs: Any) -> None:
        """Set several keys; *allow_val_change* is accepted for W&B's sake."""
        given = [item if isinstance(item, Mapping) or not hasattr(item, "__dict__") else vars(item) for item in args]
        for key, value in dict(*given, **kwargs).items():  # a namespace of argparse, too
            self[key] = value

    setdefaults = update

    def keep(self, values: Mapping[str, Any]) -> None:
        """Take plain values over as they are: the last of each metric."""
        self._values.update(values)

    def as_dict(self) -> dict[str, Any]:
        """A copy, as a plain dictionary."""
        return dict(self._values)

    def __repr__(self) -> str:
        return repr(self._values)
