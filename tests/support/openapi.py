"""Requests that Schemathesis makes up from a service's OpenAPI document, against a real server."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, strategies
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import CheckFunction
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.types import ASGIApp

from tests.support.http_server import served

EXAMPLES = 25
"""Requests of each kind for each operation: a service takes seconds."""


def assert_conforms(
    app: ASGIApp,
    *,
    callers: Sequence[Mapping[str, str]],
    examples: int = EXAMPLES,
    may_refuse: bool | Collection[str] = False,
) -> None:
    """Each answer of ``app`` is in its OpenAPI document, and none is a 500.

    Requests that are right and requests that are wrong, made up alike in each run, by each of
    ``callers``, which are headers: none, a user's token, a bad one. Checked are the status, its
    media type, its headers, its body against the schema, that wrong data is refused and right data
    is not, that an operation that wants a token refuses without, and that a method that is not
    documented is not offered. All operations are tried before the first failure is raised.

    With ``may_refuse``, data that the document allows may be refused with 400 or 422 all the same:
    a weak password, a link that nobody was sent. It may name the operations that do
    (``POST /v1/things``).
    """
    with served(app) as server:
        document = schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/openapi.json")
        operations = [
            found.ok() for found in document.get_all_operations() if isinstance(found, Ok)
        ]
        assert len(operations) == document.statistic.operations.total > 0
        failures = [
            f"{operation.label} ({mode.value}):\n{error}"
            for operation in operations
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
            if (
                error := _failure(
                    operation, mode, callers, examples, _excluded(operation, may_refuse)
                )
            )
        ]
    if failures:
        pytest.fail("\n\n".join(failures), pytrace=False)


def _excluded(
    operation: APIOperation[Any, Any, Any, Any], may_refuse: bool | Collection[str]
) -> list[CheckFunction]:
    refuses = may_refuse if isinstance(may_refuse, bool) else operation.label in may_refuse
    return [positive_data_acceptance] if refuses else []


def _failure(
    operation: APIOperation[Any, Any, Any, Any],
    mode: GenerationMode,
    callers: Sequence[Mapping[str, str]],
    examples: int,
    excluded: list[CheckFunction],
) -> BaseException | None:
    @hypothesis.settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @hypothesis.given(operation.as_strategy(mode), strategies.sampled_from(callers))
    def conforms(case: Case[Any], caller: Mapping[str, str]) -> None:
        # As part of the request, so that its checks know that no header is missing after all.
        case.headers.update(caller)
        case.call_and_validate(excluded_checks=excluded)

    try:
        conforms()
    except hypothesis.errors.Unsatisfiable:
        return None  # nothing can be wrong about a request without parameters
    except BaseException as error:
        return error
    return None
