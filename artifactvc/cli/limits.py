"""The options of every command that transfers: --timeout, --retries, --bwlimit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

from artifactvc.cli.app import Shared
from artifactvc.util.text import parse_rate

_DAY: Final = 86_400.0


def _keep(name: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def callback(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
        if value is not None:
            shared = ctx.ensure_object(Shared)
            shared.limits[name] = parse_rate(value) if name == "bwlimit" else value
        return value

    return callback


_LIMITS: Final = (
    click.option(
        "--timeout", metavar="SECONDS", type=click.FloatRange(0.001, _DAY), expose_value=False,
        callback=_keep("timeout"), help="Give up a request after so long without a byte (default: 30).",
    ),
    click.option(
        "--retries", metavar="N", type=click.IntRange(0, 100), expose_value=False, callback=_keep("retries"),
        help="Send a request without an answer again so many times (default: 3).",
    ),
    click.option(
        "--bwlimit", metavar="RATE", expose_value=False, callback=_keep("bwlimit"),
        help="Move at most so many bytes a second: 500K, 10M, 1.5M.",
    ),
)  # fmt: skip


def transfer_options(function: Any) -> Any:
    """Declare the options of a command that transfers; what is given holds for all that it asks of remotes."""
    for option in reversed(_LIMITS):
        function = option(function)
    return function
