"""Tell a client which limit it met and when to try again.

The fields are those of the IETF draft "RateLimit header fields for HTTP" (September 2025), the
response is its problem type ``quota-exceeded``; RFC 9110 10.2.3 for ``Retry-After``.

Not here: counting, and the limits themselves (each service's ``settings``).
"""

import math
from collections.abc import Mapping, Sequence

from service_kit.http import problems
from service_kit.http.problems import Problem


def rate_limit_headers(
    name: str,
    *,
    quota: int,
    window_seconds: float,
    remaining: int,
    reset_seconds: float,
    retry_after_seconds: float | None = None,
) -> dict[str, str]:
    """Make the header fields that describe one limit and what is left of it.

    Parameters:
        name: of the limit; letters, digits and ``_-.``, since it stands in quotes.
        quota: requests that the limit allows ...
        window_seconds: ... in that time.
        remaining: requests that are left at the moment.
        reset_seconds: until more are left.
        retry_after_seconds: for a refusal. Never less than ``reset_seconds``: a client that trusts
            ``Retry-After`` must not be refused again.
    """
    reset = _whole(reset_seconds)
    headers = {
        "RateLimit-Policy": f'"{name}";q={quota};w={_whole(window_seconds)}',
        "RateLimit": f'"{name}";r={max(remaining, 0)};t={reset}',
    }
    if retry_after_seconds is not None:
        headers["Retry-After"] = str(max(_whole(retry_after_seconds), reset, 1))
    return headers


def too_many_requests(violated: Sequence[str], headers: Mapping[str, str]) -> Problem:
    """The refusal of a request beyond the limits named ``violated``."""
    return Problem(
        problems.TOO_MANY_REQUESTS,
        headers=dict(headers),
        extra={"violated-policies": list(violated)},
    )


def _whole(seconds: float) -> int:
    """Round up: a second too late is right, a second too early is a refusal."""
    return max(math.ceil(seconds), 0)
