"""Ask an operator for a password: twice on a terminal, or as one line of standard input.

Guarantees: the password is not shown. On a terminal, one that is refused is asked for again, at
most twice, and the prompt says how long it must be.
"""

import sys
from collections.abc import Callable
from typing import Final, TypeVar

import typer

from service_kit.process.errors import OperatorError

R = TypeVar("R")

ASKED_AGAIN_MAX: Final = 2
"""Someone who is refused three times needs to think, and not another prompt."""


class _Refused(Exception):
    """What was typed cannot be a password; the message says why and does not repeat it."""


def with_password(use: Callable[[str], R], *, length_min: int) -> R:
    """Pass a typed password to ``use``, and return its result.

    Parameters:
        use: gets the password, or an empty string if none was typed; raises ``WeakPassword``.
        length_min: the required number of characters, for the prompt.

    Raises:
        OperatorError: the last password was refused; the message says why.
    """
    from auth_service.users.password_policy import WeakPassword

    is_on_terminal = sys.stdin.isatty()
    again = ASKED_AGAIN_MAX if is_on_terminal else 0
    while True:
        try:
            return use(_prompted(length_min) if is_on_terminal else _line())
        except (_Refused, WeakPassword) as error:
            sentence = f"password refused: {error}"
            if not again:
                raise OperatorError(sentence) from None
        print(sentence, file=sys.stderr)
        again -= 1


def _prompted(length_min: int) -> str:
    typed = _hidden(f"Password (at least {length_min} characters; leave empty to generate one)")
    if typed and _hidden("Repeat for confirmation") != typed:
        raise _Refused("the two entries differ")
    return _checked(typed)


def _hidden(question: str) -> str:
    try:
        typed: str = typer.prompt(
            question, default="", show_default=False, hide_input=True, err=True
        )
    except UnicodeError:
        raise _Refused("not valid Unicode") from None
    return typed


def _line() -> str:
    from auth_service.users.model import PASSWORD_LENGTH_MAX

    try:
        # One more than allowed, and the end of the line: enough to detect one that is too long.
        return _checked(sys.stdin.readline(PASSWORD_LENGTH_MAX + 2).rstrip("\r\n"))
    except UnicodeError:
        raise _Refused("not valid Unicode") from None


def _checked(typed: str) -> str:
    from auth_service.users.model import PASSWORD_LENGTH_MAX

    if len(typed) > PASSWORD_LENGTH_MAX:
        raise _Refused(f"use at most {PASSWORD_LENGTH_MAX} characters")
    try:
        typed.encode()
    except UnicodeError:
        raise _Refused("not valid Unicode") from None
    return typed
