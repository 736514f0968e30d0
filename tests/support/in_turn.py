"""Cases that share the set-up of one test, because none of them leaves a trace."""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import wraps
from typing import Any, TypeVar

import pytest

Test = TypeVar("Test", bound=Callable[..., Awaitable[None]])


def in_turn(
    names: str | Sequence[str], cases: Iterable[Any], ids: Callable[[Any], str] = ascii
) -> Callable[[Test], Test]:
    """Run an asynchronous test once with all ``cases``, each as a subtest.

    For refusals: ``pytest.mark.parametrize``, which it resembles, would make a database, an API and
    its users for each case.

    Parameters:
        names: the test's parameters that a case gives, or its only one.
        cases: a sequence of values each, or the value if there is one name.
        ids: what the report shows of a value.
    """
    own = (names,) if isinstance(names, str) else names

    def decorate(test: Test) -> Test:
        @wraps(test)
        async def run(*args: Any, subtests: pytest.Subtests, **fixtures: Any) -> None:
            for case in cases:
                values = dict(zip(own, (case,) if isinstance(names, str) else case, strict=True))
                with subtests.test(**{name: ids(value) for name, value in values.items()}):
                    await test(*args, **fixtures, **values)

        signature = inspect.signature(test)
        kept = [each for each in signature.parameters.values() if each.name not in own]
        kept.append(inspect.Parameter("subtests", inspect.Parameter.KEYWORD_ONLY))
        run.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
        return run  # type: ignore[return-value]

    return decorate
