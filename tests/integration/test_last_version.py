"""A user at the highest possible version: only deletion is left, and it works."""

import pytest

from contracts.events import VERSION_MAX
from tests.support.auth_api import AuthApi, Signed, assert_problem
from tests.support.relaying import outbox


@pytest.fixture
async def last(api: AuthApi) -> Signed:
    signed_in = await api.sign_up("last@example.org")
    await api.execute(f"UPDATE users SET version = {VERSION_MAX} WHERE email LIKE 'last@%'")
    return signed_in


def path_of(user: Signed) -> str:
    return f"/v1/admin/users/{user['user']['id']}"


async def test_any_other_change_is_refused(api: AuthApi, root: Signed, last: Signed) -> None:
    """409 with a code of its own, for the user and administrators; the session stays."""
    before = await api.fetch("SELECT * FROM users")
    for answer in (
        await api.change_address(last, "next@example.org"),
        await api.change_password(last, "another horse, another battery"),
        await api.ask(last, "POST", "/v1/signout", scope="global"),
        await api.ask(root, "PATCH", path_of(last), {"status": "disabled"}),
    ):
        assert_problem(answer, 409, "versions_exhausted")
    assert await api.fetch("SELECT * FROM users") == before
    assert (await api.me(last)).status_code == 200


async def test_a_reused_refresh_token_still_ends_its_session(api: AuthApi, last: Signed) -> None:
    """The session of a thief ends even though its event cannot be recorded."""
    for _ in range(3):
        answer = await api.refresh(last["refresh_token"])
        await api.execute("UPDATE sessions SET refreshed_at = now() - interval '1 hour'")
    [row] = await api.fetch("SELECT end_reason FROM sessions")
    assert answer.status_code == 400
    assert row.end_reason == "token_reused"


@pytest.mark.parametrize("by", ["the user", "an administrator"])
async def test_a_deletion_always_works(api: AuthApi, root: Signed, last: Signed, by: str) -> None:
    """A tombstone beats a living state of its own version, in the row and in the event."""
    by_administrator = by != "the user"
    request = api.ask(root, "DELETE", path_of(last)) if by_administrator else api.delete_me(last)
    answer = await request

    assert answer.status_code == 204, answer.text
    [row] = await api.fetch("SELECT version, status, email FROM users WHERE status = 'deleted'")
    *_, event = await outbox(api.engine)
    assert tuple(row) == (VERSION_MAX, "deleted", None)
    assert (event.type, event.version) == ("user.deleted", VERSION_MAX)
