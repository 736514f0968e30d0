"""Rate limits in response headers and problem documents."""

from functools import partial

from service_kit.http.rate_limits import rate_limit_headers, too_many_requests


def test_headers_show_a_limit_and_what_is_left() -> None:
    """The fields of the draft of September 2025, without the older X-RateLimit headers."""
    headers = rate_limit_headers(
        "signin", quota=10, window_seconds=60, remaining=3, reset_seconds=41
    )
    assert headers == {"RateLimit-Policy": '"signin";q=10;w=60', "RateLimit": '"signin";r=3;t=41'}


def test_a_client_that_waits_as_long_as_it_should_is_not_refused_again() -> None:
    """Retry-After is in whole seconds, rounded up, and never before the limit has quota again."""
    used_up = partial(rate_limit_headers, "signin", quota=10, window_seconds=60, remaining=-1)
    for reset, retry_after, expected in (
        *((0.2, 0.1, "1"), (0, 0, "1"), (40.1, 3, "41"), (3, 900, "900"), (3, 12.5, "13")),
    ):
        headers = used_up(reset_seconds=reset, retry_after_seconds=retry_after)
        assert headers["Retry-After"] == expected, reset
        assert int(headers["RateLimit"].partition(";t=")[2]) <= int(expected), reset
        assert headers["RateLimit"].startswith('"signin";r=0;'), reset


def test_a_refusal_names_the_exceeded_limits() -> None:
    """With the registered problem type and its member."""
    problem = too_many_requests(["signin", "account"], {"Retry-After": "7"})
    document = problem.document()
    assert document["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert (document["status"], document["code"]) == (429, "too_many_requests")
    assert document["violated-policies"] == ["signin", "account"]
    assert problem.headers == {"Retry-After": "7"}
