"""Check a running service with requests that Schemathesis generates from its OpenAPI document."""

import traceback
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, strategies
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import CheckFunction
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.types import ASGIApp

from tests.support.http_server import served

EXAMPLES = 25
"""Requests of each kind for each operation."""
FEW = 2
"""So many show that an operation and its document agree; more look for rare requests."""

SEED = 1
"""Schemathesis would draw one for each run."""

SECONDS_MAX = 600
"""Generating requests is work for the processor: 3 seconds with a core to itself, and from 42 to
over 180 beside eight busy processes."""


def assert_conforms(
    app: ASGIApp,
    *,
    callers: Sequence[Mapping[str, str]],
    examples: int,
    may_refuse: bool | Collection[str] = False,
) -> None:
    """Check that the OpenAPI document describes every response of ``app``, and that none is a 500.

    Valid and invalid requests, the same in each run, are sent with each of ``callers``, which are
    headers: none, a user's token, an invalid one. Checks the status, media type, headers and body,
    that invalid data is refused and valid data is not, that operations with a token refuse requests
    without, and that undocumented methods are refused. Tries all operations before it fails.

    Parameters:
        examples: the number of requests of each kind for each operation.
        may_refuse: whether valid data may get 400 or 422 all the same, such as a weak password or
            an unknown link; or the operations that may do so (``POST /v1/things``).
    """
    with served(app) as server:
        document = schemathesis.openapi.from_url(
            f"http://127.0.0.1:{server.port}/openapi.json", config=SchemathesisConfig(seed=SEED)
        )
        refusal = document.config.checks.negative_data_rejection
        # A text that is too long may be too large for any request.
        refusal.expected_statuses = [*refusal.expected_statuses, "413"]
        operations = [
            found.ok() for found in document.get_all_operations() if isinstance(found, Ok)
        ]
        assert len(operations) == document.statistic.operations.total > 0
        failures = [
            f"{operation.label} ({mode.value}):\n{''.join(traceback.format_exception(error))}"
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
        # In the request itself, so that Schemathesis does not report the header as missing; and
        # beside it: if it has generated no other header, it takes this one for its own, and a
        # token of its own is not to be accepted.
        case.headers.update(caller)
        case.call_and_validate(headers=dict(caller), excluded_checks=excluded)

    try:
        conforms()
    except hypothesis.errors.Unsatisfiable:
        return None  # a request without parameters cannot be invalid
    except BaseException as error:
        return error
    return None
