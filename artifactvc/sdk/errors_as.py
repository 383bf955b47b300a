"""Failures of the public API arrive as ``CommError``, as in W&B, with the cause in ``exc``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from artifactvc.errors import (
    ArtifactStatusError,
    AvcError,
    CommError,
    UnsupportedError,
    WaitTimeoutError,
)

P = ParamSpec("P")
T = TypeVar("T")

_AS_THEY_ARE = (CommError, ArtifactStatusError, UnsupportedError, WaitTimeoutError)


def as_comm_error(deed: Callable[P, T]) -> Callable[P, T]:
    """Let every error of *deed* that a user can cause be a CommError with the same words and hint."""

    @functools.wraps(deed)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return deed(*args, **kwargs)
        except _AS_THEY_ARE:
            raise
        except AvcError as error:
            raise CommError(error.message, error, hint=error.hint) from None  # it is in ``exc``
        except (ValueError, TypeError, KeyError) as error:
            raise CommError(str(error), error) from None

    return wrapped
