"""How a limit is told to clients."""

import pytest

from service_kit.http.rate_limits import rate_limit_headers, too_many_requests


def test_a_limit_and_what_is_left_of_it() -> None:
    """The fields as the draft of September 2025 writes them, and none of the older triplet."""
    headers = rate_limit_headers(
        "signin", quota=10, window_seconds=60, remaining=3, reset_seconds=41
    )

    assert headers == {
        "RateLimit-Policy": '"signin";q=10;w=60',
        "RateLimit": '"signin";r=3;t=41',
    }


@pytest.mark.parametrize(
    ("reset", "retry_after", "told"),
    [(0.2, 0.1, "1"), (0, 0, "1"), (40.1, 3, "41"), (3, 900, "900"), (3, 12.5, "13")],
)
def test_who_waits_as_told_is_not_refused_again(
    reset: float, retry_after: float, told: str
) -> None:
    """Whole seconds, rounded up, and never earlier than the limit has something left."""
    headers = rate_limit_headers(
        "signin",
        quota=10,
        window_seconds=60,
        remaining=-1,
        reset_seconds=reset,
        retry_after_seconds=retry_after,
    )

    assert headers["Retry-After"] == told
    assert int(headers["RateLimit"].partition(";t=")[2]) <= int(told)
    assert headers["RateLimit"].startswith('"signin";r=0;')


def test_a_refusal_names_the_limits_that_it_is_for() -> None:
    """The registered problem type with its member, and the fields as headers."""
    problem = too_many_requests(["signin", "account"], {"Retry-After": "7"})

    document = problem.document()
    assert document["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert (document["status"], document["code"]) == (429, "too_many_requests")
    assert document["violated-policies"] == ["signin", "account"]
    assert problem.headers == {"Retry-After": "7"}
