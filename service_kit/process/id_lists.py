"""Let a command take any number of ids: as arguments, or from standard input for ``-``.

Standard input has ids separated by white space, as other commands print them (one a line).

Guarantees: every id is valid before the first one is returned, so that a typing error in a long
list does not do half of the work; standard input has ended by then. Memory stays small however many
ids there are: a long list is in a temporary file.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Final, Generic, TypeVar
from uuid import UUID

import typer

from service_kit.process.errors import OperatorError

T = TypeVar("T")

STDIN: Final = "-"
"""The argument that stands for the ids on standard input."""

_IN_MEMORY_BYTES: Final = 1024 * 1024
"""Some ten thousand ids; more are in a file."""

_CHUNK_BYTES: Final = 64 * 1024

_ID_LENGTH_MAX: Final = 100
"""No id is as long: what is longer is not read to its end."""


class Ids(Generic[T]):
    """Valid ids, in the order in which they were given."""

    def __init__(self, lines: IO[str], parse: Callable[[str], T], count: int) -> None:
        self._lines = lines
        self._parse = parse
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        self._lines.seek(0)
        for line in self._lines:
            yield self._parse(line.rstrip("\n"))


def user_id(text: str) -> UUID:
    """Read the id of a user, written in any of the usual forms.

    Raises:
        ValueError: it is none.
    """
    try:
        return UUID(text)
    except ValueError:
        raise ValueError(f"{shown(text)} is not a valid UUID") from None


def argument(parse: Callable[[str], object]) -> Callable[[str], str]:
    """Make the parser of a Typer argument that is an id, or ``-``."""

    def check(text: str) -> str:
        if text != STDIN:
            try:
                parse(text)
            except ValueError as error:
                raise typer.BadParameter(str(error)) from None
        return text

    return check


@contextmanager
def ids_of(given: Sequence[str], parse: Callable[[str], T]) -> Iterator[Ids[T]]:
    """Yield the given ids, or those on standard input if ``-`` is given.

    Parameters:
        given: arguments that ``argument`` has checked.
        parse: reads one id; raises ValueError with a sentence.

    Raises:
        BadParameter: ``-`` is given together with ids.
        OperatorError: standard input has something else than ids.
    """
    reads_stdin = STDIN in given
    if reads_stdin and len(given) > 1:
        raise typer.BadParameter("give either ids, or - to read them from standard input")
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, "w+", encoding="ascii") as lines:
        count = 0
        for text in _words_of_stdin() if reads_stdin else given:
            count += 1
            try:
                lines.write(f"{parse(text)}\n")
            except ValueError as error:
                raise OperatorError(
                    f"standard input, id {count:,}: {error}; nothing was done"
                ) from None
        yield Ids(lines, parse, count)


def _words_of_stdin() -> Iterator[str]:
    """Read standard input to its end, a chunk at a time."""
    rest = b""
    while chunk := sys.stdin.buffer.read(_CHUNK_BYTES):
        *words, rest = (rest + chunk + b".").split()
        for word in words:
            yield word.decode("ascii", "backslashreplace")
        rest = rest[:-1]
        if len(rest) > _ID_LENGTH_MAX:
            break
    if rest:
        yield rest.decode("ascii", "backslashreplace")


def shown(text: str) -> str:
    """Quote ``text`` for an error, so that it cannot control a terminal; shorten a long one."""
    return ascii(text if len(text) <= _ID_LENGTH_MAX else f"{text[:_ID_LENGTH_MAX]}…")
