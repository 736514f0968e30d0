"""Print the results and failures of commands.

Guarantees: a failure that an operator can fix is one sentence on standard error and exit code 1, or
2 for bad settings, never a traceback. Figures are one per line, or one JSON object.
"""

import functools
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import IntEnum
from typing import Annotated, Any, Final, ParamSpec, TypeVar

import typer

from service_kit.process.errors import BadSettings, OperatorError
from service_kit.process.times import time_text

P = ParamSpec("P")
R = TypeVar("R")

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for scripts.")]
"""The option of a command whose figures ``show`` prints."""

Check = Annotated[
    bool,
    typer.Option("--check", help="Exit 0: well, 1: behind or degraded, 2: broken or unknown."),
]
"""The option by which ``status`` reports its health to a script, as an exit code."""


class Health(IntEnum):
    """Exit codes of a ``status`` with ``--check``."""

    WELL = 0
    DEGRADED = 1
    """It works, but is behind, or something waits for an operator."""
    BROKEN = 2
    """It does not work, or its state is unknown."""


_HEALTH: Final = {
    "quiet": Health.WELL,
    "consuming": Health.WELL,
    "publishing": Health.WELL,
    "behind": Health.DEGRADED,
    "broken": Health.BROKEN,
}
"""By the first word of the line about the pipe; an unknown word means broken."""

EXIT_FAILED = 1
EXIT_BAD_SETTINGS = 2
EXIT_INTERRUPTED = 130


def failing_with_a_sentence(command: Callable[P, R]) -> Callable[P, R]:
    """Turn errors that an operator can fix into a sentence and an exit code."""
    return failing_with(EXIT_FAILED)(command)


def failing_with(exit_code: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Like ``failing_with_a_sentence`` with another exit code, if 1 already has a meaning."""

    def decorated(command: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(command)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
            with sentences(exit_code):
                return command(*args, **kwargs)

        return wrapped

    return decorated


@contextmanager
def sentences(exit_code: int) -> Iterator[None]:
    """Inside the block, turn errors that an operator can fix into a sentence and an exit code."""
    try:
        yield
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
        # The reader has seen enough (``| head``): nothing more must be flushed to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(exit_code) from None
    except OSError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(exit_code) from None


@contextmanager
def checked(*, is_asked_for: bool) -> Iterator[None]:
    """Inside the block of a ``status`` with ``--check``, what cannot be read is ``BROKEN``."""
    with sentences(Health.BROKEN if is_asked_for else EXIT_FAILED):
        yield


def health(pipe: str, *, needs_attention: bool = False) -> Health:
    """How an end of the pipe is, by the first word of its line.

    Parameters:
        pipe: the line that ``status`` shows first.
        needs_attention: something else waits for an operator.
    """
    word = pipe.partition(":")[0]
    if word not in _HEALTH:
        return Health.BROKEN
    return max(_HEALTH[word], Health.DEGRADED if needs_attention else Health.WELL)


def show(figures: Mapping[str, Any], *, as_json: bool) -> None:
    """Print ``figures``, one a line with aligned names, or as JSON with RFC 3339 times."""
    if as_json:
        print(json.dumps(figures, default=plain))
        return
    width = max(len(name) for name in figures)
    for name, value in figures.items():
        print(f"{name.replace('_', ' '):<{width}}  {_readable(value)}")


def instant(text: str) -> datetime:
    """Read a time or a date that an operator typed, in UTC by default; a parser for options."""
    from contracts.events import read_rfc3339

    try:
        return read_rfc3339(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter("invalid time: write 2026-01-31T12:00:00Z, or a date") from None


def plain(value: object) -> str:
    """Return ``value`` as JSON shows what has no form of its own there."""
    from contracts.events import rfc3339

    return rfc3339(value) if isinstance(value, datetime) else str(value)


def _readable(value: object) -> str:
    if isinstance(value, list | tuple):
        return "; ".join(map(_readable, value)) or "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_readable(each)}" for name, each in value.items())
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, datetime):
        return time_text(value)
    return f"{value:,}" if type(value) is int else str(value)
