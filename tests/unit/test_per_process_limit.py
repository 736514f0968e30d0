"""The limit of one user at one process."""

from uuid import uuid4

import pytest

from blog_service.per_process_limit import PerProcessLimit
from service_kit.http.problems import Problem
from service_kit.process.rates import Rate


def test_each_user_has_the_quota_in_any_window() -> None:
    now = 1000.0
    limit = PerProcessLimit("exports", Rate(2, 60), clock=lambda: now)
    ada, bob = uuid4(), uuid4()
    limit.spend(ada)
    now += 20
    limit.spend(ada)

    for _ in range(2):
        with pytest.raises(Problem) as refused:
            limit.spend(ada)
        assert refused.value.headers["Retry-After"] == "40"
    limit.spend(bob)

    now += 40
    limit.spend(ada)
    with pytest.raises(Problem) as refused:
        limit.spend(ada)
    assert refused.value.headers["Retry-After"] == "20"
