"""``/v1/sync/users``: the life of a user over HTTP, and finding them by the start of their id."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from structlog.testing import capture_logs

from blog_service.settings import ApiSettings
from service_kit.process.id_prefixes import FOUND_MAX
from tests.support.auth_api import assert_problem
from tests.support.content import IMPORTER, People, people_of
from tests.support.inbox import execute
from tests.support.log_ids import IN_CONTEXT, assert_has_ids
from tests.support.reconciling import DAMAGE, Pair

USERS = "/v1/sync/users"

ADMIN = "md5('7')::uuid"
"""Of the users of a pair, one with the role ``admin`` and without ``operator``."""


class Viewers(People):
    """Those who look, at the API of a replica that has an account at its source."""

    operator: UUID
    admin: UUID
    pair: Pair

    async def life(self, who: UUID, user_id: object) -> dict[str, Any]:
        shown: dict[str, Any] = await self.done(who, "GET", f"{USERS}/{user_id}")
        return shown


@pytest.fixture
async def viewers(
    pair: Pair, blog_settings: ApiSettings, signing_key: rsa.RSAPrivateKey
) -> AsyncIterator[Viewers]:
    async with people_of(pair.of_the_api(blog_settings), signing_key) as people:
        viewers = Viewers(people.settings, people.client, people.engine, people.key)
        viewers.operator = await pair.make_operator()
        viewers.admin = UUID((await pair.ids(f"id = {ADMIN}", 1))[0])
        viewers.pair = pair
        yield viewers


def emails(shown: dict[str, Any]) -> dict[str, Any]:
    return next(each for each in shown["fields"] if each["field"] == "email")


async def test_only_operators_and_administrators_have_access(people: People) -> None:
    reader = await people.user(roles=("moderator",))
    for path in (f"{USERS}/{uuid4()}", f"{USERS}?id_prefix=0b6f"):
        assert_problem(await people.ask(None, "GET", path), 401, "authentication_required")
        assert_problem(await people.ask(reader, "GET", path), 403, "forbidden")
        assert_problem(await people.ask(IMPORTER, "GET", path), 403, "user_required")


async def test_an_operator_learns_that_addresses_differ_but_not_which(viewers: Viewers) -> None:
    """An administrator sees both. The log says who looked at which user."""
    await viewers.pair.damage(DAMAGE["corrupt"])
    [corrupt] = await viewers.pair.ids("email = 'x'", 1)

    with capture_logs(IN_CONTEXT) as lines:
        response = await viewers.ask(viewers.operator, "GET", f"{USERS}/{corrupt}")
    seen = await viewers.life(viewers.admin, corrupt)

    shown = response.json()
    assert "@" not in response.text
    assert emails(shown) == {
        "field": "email",
        "source": None,
        "replica": None,
        "is_equal": False,
        "is_hidden": True,
    }
    assert (shown["differs"], shown["unpublished"], shown["source_error"]) == (
        *("corrupt", False),
        None,
    )
    assert {each["field"] for each in shown["fields"] if not each["is_equal"]} == {"email"}
    assert shown["answer"]["status"] == 200
    assert emails(seen)["source"] == "user3@example.org"
    assert (emails(seen)["replica"], emails(seen)["is_hidden"]) == ("x", False)
    actor = f"user:{viewers.operator}"
    assert_has_ids(lines, "user.viewed", user_id=corrupt, actor=actor)


async def test_a_deleted_user_has_nothing_personal(viewers: Viewers) -> None:
    """Not for administrators either, and not while only one side has deleted them."""
    await viewers.pair.damage(DAMAGE["undeleted"], DAMAGE["undone_deletion"])
    for number in (5, 10, 20):
        [user_id] = await viewers.pair.ids(f"id = md5('{number}')::uuid", 1)
        response = await viewers.ask(viewers.admin, "GET", f"{USERS}/{user_id}")
        assert "@" not in response.text
        fields = [each["field"] for each in response.json()["fields"]]
        assert fields == ["id", "version", "status", "deleted_at"]


async def test_an_unknown_id_is_not_found(viewers: Viewers) -> None:
    unknown = await viewers.ask(viewers.operator, "GET", f"{USERS}/{uuid4()}")
    assert_problem(unknown, 404, "not_found")


async def test_without_a_source_its_side_is_missing(people: People) -> None:
    operator = await people.user(roles=("operator",))
    shown = await people.done(operator, "GET", f"{USERS}/{operator}")
    assert "there is no source to ask" in shown["source_error"]
    assert {each["is_equal"] for each in shown["fields"]} == {None}
    assert shown["answer"]["status"] == 200


async def test_users_are_found_by_the_beginning_of_their_id(people: People) -> None:
    """Also deleted ones; case and dashes do not count; a bounded number, without addresses."""
    operator = await people.user(roles=("operator",))
    await execute(
        people.engine,
        "INSERT INTO users (id, version, email, status, created_at, updated_at)"
        " SELECT ('abcdef00-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 1,"
        " 'many@example.org', 'active', now(), now()"
        f" FROM generate_series(1, {FOUND_MAX + 5}) AS n",
    )

    async def found(prefix: str) -> list[str]:
        response = await people.ask(operator, "GET", USERS, id_prefix=prefix)
        assert "@" not in response.text
        return [each["id"] for each in response.json()["items"]]

    first = "abcdef00-0000-4000-8000-000000000001"
    many = await found("ABCDEF")
    assert (len(many), many[0]) == (FOUND_MAX, first)
    assert await found(first) == await found(first.replace("-", "")) == [first]
    assert await found("nobody") == []
    for prefix in ("ab", "a" * 37, None):
        short = await people.ask(operator, "GET", USERS, id_prefix=prefix)
        assert_problem(short, 422, "invalid_request")
