"""The way in: ``avc``. Every error a user can cause leaves one line, a hint, and an exit code.

0 done, 1 failed, 2 wrong usage, 130 interrupted. Nothing heavy is imported here: the
version is answered without click, and each command loads its own module (design, section 8).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from artifactvc import __version__


def run(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _open_streams()
    try:
        if arguments in (["--version"], ["-V"]):
            print(f"avc {__version__}")
            code = 0
        else:
            code = _command(arguments)
        try:
            sys.stdout.flush()
        except OSError:
            if not code:
                raise
            _drop_output()  # what failed has been said
    except BrokenPipeError:
        # Whoever read our output has enough (``avc log | head``).
        _drop_output()
        return 1
    except OSError as error:
        _drop_output()
        print(f"error: cannot write the output: {(error.strerror or str(error)).lower()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return code


def _open_streams() -> None:
    """Standard streams that are closed lead nowhere: else the next file opened would take their place."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if hasattr(sys.stdout, "reconfigure"):  # a name that the terminal's encoding lacks is shown escaped
        sys.stdout.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """What could not be written is not tried again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _command(arguments: list[str]) -> int:
    import gc

    import click

    # What a command makes lives until it ends: collecting cycles while a hundred thousand entries are made only costs.
    gc.set_threshold(200_000, 50, 1000)
    if "_AVC_COMPLETE" in os.environ:
        import artifactvc.cli.completion  # noqa: F401  registers our bash
    from artifactvc.cli.app import avc
    from artifactvc.cli.report import report
    from artifactvc.errors import AvcError

    try:
        result = avc.main(args=arguments, prog_name="avc", standalone_mode=False)
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.Abort:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise
    except (AvcError, click.ClickException, OSError, MemoryError, RecursionError) as error:
        return report(error, arguments)
    except Exception as error:  # noqa: BLE001  a bug: said in one line, shown whole with -v
        return report(error, arguments)
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(run())
