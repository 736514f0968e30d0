"""How the commands of both services speak to a terminal.

Guarantees: a failure that an operator can mend is one sentence on standard error and exit code 1 or
2 (bad settings), never a traceback; figures come one a line, or as one JSON object.
"""

import functools
import json
import os
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from sqlalchemy.exc import DBAPIError

from contracts.errors import OperatorError
from contracts.settings import BadSettings

P = ParamSpec("P")
R = TypeVar("R")

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for scripts.")]
"""The option of a command whose figures ``show`` prints."""

EXIT_FAILED = 1
EXIT_BAD_SETTINGS = 2
EXIT_INTERRUPTED = 130


def failing_with_a_sentence(command: Callable[P, R]) -> Callable[P, R]:
    """Turn errors that an operator can mend into a sentence and an exit code."""
    return failing_with(EXIT_FAILED)(command)


def failing_with(exit_code: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """The same with another exit code, for a command in which 1 means something else."""

    def decorated(command: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(command)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return command(*args, **kwargs)
            except KeyboardInterrupt:
                # The shell's own code for it: 1 may mean something else here.
                raise typer.Exit(EXIT_INTERRUPTED) from None
            except BadSettings as error:
                print(f"cannot start, bad settings:\n{error}", file=sys.stderr)
                raise typer.Exit(EXIT_BAD_SETTINGS) from None
            except OperatorError as error:
                print(error, file=sys.stderr)
                raise typer.Exit(exit_code) from None
            except BrokenPipeError:
                # Whoever reads has seen enough (``| head``): nothing more must be flushed to him.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                raise typer.Exit(exit_code) from None
            except (DBAPIError, OSError) as error:
                cause = error.orig if isinstance(error, DBAPIError) else error
                print(f"the database cannot be used: {cause}", file=sys.stderr)
                raise typer.Exit(exit_code) from None

        return wrapped

    return decorated


def show(figures: Mapping[str, Any], *, as_json: bool) -> None:
    """Print ``figures``, one a line with aligned names, or as JSON with RFC 3339 times."""
    if as_json:
        print(json.dumps(figures, default=_plain))
        return
    width = max(len(name) for name in figures)
    for name, value in figures.items():
        print(f"{name.replace('_', ' '):<{width}}  {_readable(value)}")


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _readable(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.1f}"
    return f"{value:,}" if type(value) is int else _plain(value)
