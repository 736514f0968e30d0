"""``GET /v1/admin/status``: the outbox and the relay, for operators."""

import pytest

from tests.support.auth_api import AuthApi, Signed, assert_problem

STATUS = "/v1/admin/status"


@pytest.fixture
async def ada(api: AuthApi) -> Signed:
    """A user who became an operator after their token was issued."""
    signed_in = await api.sign_up()
    await api.execute("UPDATE users SET roles = '{operator}'")
    return signed_in


async def test_the_figures_equal_the_commands(api: AuthApi, ada: Signed) -> None:
    await api.execute(
        "UPDATE outbox_events SET occurred_at = now() - interval '90 seconds'",
        "INSERT INTO users (version, status, deleted_at) VALUES (1, 'deleted', now())",
    )

    answer = await api.ask(ada, "GET", STATUS)

    shown = answer.json()
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert (shown["pipe"], shown["relay"]) == ("broken: no relay is active", "none is active")
    assert (shown["users"], shown["users_deleted"], shown["unpublished"]) == (1, 1, 1)
    assert 90 <= shown["oldest_unpublished_age_seconds"] < 120
    assert (shown["last_heartbeat"], shown["replay"], shown["trouble"]) == (0, None, None)


async def test_only_operators_have_access(api: AuthApi, ada: Signed) -> None:
    """Not strangers, administrators, or a user who was an operator when they signed in."""
    await api.execute("UPDATE users SET roles = '{admin}'")
    assert_problem(await api.get(STATUS), 401, "authentication_required")
    assert_problem(await api.ask(ada, "GET", STATUS), 403, "forbidden")
