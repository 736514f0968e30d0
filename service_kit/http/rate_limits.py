"""Rates: how a setting names one, and how a limit is told to clients that meet it.

The fields are those of the IETF draft "RateLimit header fields for HTTP" (September 2025), the
answer is its problem type ``quota-exceeded``; RFC 9110 10.2.3 for ``Retry-After``.

Not here: counting, and what the limits are.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from service_kit.http import problems
from service_kit.http.problems import Problem

SECOND_US: Final = 1_000_000
"""Microseconds, which is what PostgreSQL counts time in."""


@dataclass(frozen=True, slots=True)
class Rate:
    """``quota`` in ``seconds``, at once or spread over them."""

    quota: int
    seconds: int

    def __str__(self) -> str:
        return f"{self.quota}/{self.seconds}"

    @property
    def unit_us(self) -> int:
        """Microseconds until one unit has come back; rounded down, so that the quota fits."""
        return max(self.window_us // self.quota, 1)

    @property
    def window_us(self) -> int:
        """Microseconds until the whole quota has come back."""
        return self.seconds * SECOND_US


def rate(value: object) -> Rate:
    """The rate that a setting such as ``30/60`` names; raises ``ValueError`` for any other text."""
    if isinstance(value, Rate):
        return value
    quota, separator, seconds = str(value).partition("/")
    numbers = (quota.strip(), seconds.strip())
    if not separator or not all(n.isascii() and n.isdigit() and 0 < len(n) < 10 for n in numbers):
        raise ValueError("must be QUOTA/SECONDS, such as 30/60")
    if not all(int(n) for n in numbers):
        raise ValueError("must be QUOTA/SECONDS, both above zero")
    return Rate(int(numbers[0]), int(numbers[1]))


def rate_limit_headers(
    name: str,
    *,
    quota: int,
    window_seconds: float,
    remaining: int,
    reset_seconds: float,
    retry_after_seconds: float | None = None,
) -> dict[str, str]:
    """The header fields that describe one limit and what is left of it.

    Parameters:
        name: of the limit; letters, digits and ``_-.``, since it stands in quotes.
        quota: requests that the limit allows ...
        window_seconds: ... in that time.
        remaining: requests that are left at the moment.
        reset_seconds: until more are left.
        retry_after_seconds: for a refusal. Never told as less than ``reset_seconds``: who trusts
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
    """Rounded up: a second too late is right, a second too early is a refusal."""
    return max(math.ceil(seconds), 0)
