"""The error with which something is refused, and the case that was accepted instead."""

from collections.abc import Callable
from typing import Any, TypeVar

import pytest

Refused = TypeVar("Refused", bound=Exception)


def refusal(
    error: type[Refused], call: Callable[..., object], *given: Any, **named: Any
) -> Refused:
    """Return the error that the call must raise; fail with the values that it accepts instead."""
    try:
        accepted = call(*given, **named)
    except error as refused:
        return refused
    pytest.fail(f"{call} accepts {given!a:.500} {named!a:.500} as {accepted!a:.500}")
