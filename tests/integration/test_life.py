"""``blog-service users life``: a user here and at the source, and what a request of theirs gets."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from replica.life.bodies import LifeBody
from replica.life.model import AtSource, Here, life_of
from replica.life.read import PARKED_SHOWN_MAX
from replica.refusals import Refusal, refusal
from tests.support.builders import a_state, a_tombstone, an_event
from tests.support.commands import Command
from tests.support.content import People
from tests.support.inbox import apply_events, execute
from tests.support.parked_messages import a_delivery, park_deliveries, park_events
from tests.support.reconciling import DAMAGE, Pair


@pytest.fixture
def asking(command: Command, pair: Pair) -> Command:
    """The command, with the source that the replica follows."""
    return command.having(logs=False, **pair.account)


async def life(command: Command, user_id: object) -> dict[str, Any]:
    ended = await command(f"users life {user_id} --json")
    assert ended.returncode == 0, ended.stderr
    return ended.figures


def by_name(shown: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["field"]: each for each in shown["fields"]}


async def test_each_kind_of_difference_is_named(pair: Pair, asking: Command) -> None:
    """With the very fields that differ, and no other user of the bucket."""
    whose = {
        "missing": "email = 'user1@example.org'",
        "stale": "email = 'user2@example.org'",
        "undeleted": "id = md5('10')::uuid",
        "corrupt": "email = 'user3@example.org'",
        "ahead": "email = 'user4@example.org'",
        "undone_deletion": "email = 'user5@example.org'",
    }
    await pair.reconcile()
    ids = {kind: (await pair.ids(condition, 1))[0] for kind, condition in whose.items()}
    [untouched] = await pair.ids("email = 'user6@example.org'", 1)
    await pair.damage(*(DAMAGE[kind] for kind in (*ids, "orphan", "provisional_orphan")))
    (ids["orphan"],) = await pair.ids("email = 'ghost@example.org'", 1)
    (ids["provisional_orphan"],) = await pair.ids("status = 'provisional'", 1)

    found = {kind: await life(asking, user_id) for kind, user_id in ids.items()}
    equal = await life(asking, untouched)

    assert {kind: shown["differs"] for kind, shown in found.items()} == {kind: kind for kind in ids}
    unequal = [name for name, each in by_name(found["corrupt"]).items() if not each["is_equal"]]
    assert unequal == ["email"]
    assert by_name(found["corrupt"])["email"]["source"] == "user3@example.org"
    assert by_name(found["corrupt"])["email"]["replica"] == "x"
    assert {each["replica"] for each in found["missing"]["fields"]} == {None}
    assert {each["source"] for each in found["orphan"]["fields"]} == {None}
    assert all(each["is_equal"] for each in equal["fields"])
    assert (equal["differs"], equal["unpublished"], equal["source_error"]) == (None, False, None)
    assert equal["applied_at"] is not None
    assert equal["answer"] == {"status": 200, "code": None, "because": "served"}


async def test_a_deleted_user_has_nothing_personal(pair: Pair, asking: Command) -> None:
    """Not even while only one side has deleted them."""
    await pair.damage(DAMAGE["undeleted"], DAMAGE["undone_deletion"])
    for condition, answer in (
        ("id = md5('10')::uuid", 200),
        ("id = md5('5')::uuid", 401),
        ("id = md5('20')::uuid", 401),
    ):
        [user_id] = await pair.ids(condition, 1)
        ended = await asking(f"users life {user_id} --json")
        shown = ended.figures
        assert [*by_name(shown)] == ["id", "version", "status", "deleted_at"]
        assert "@" not in ended.stdout
        assert shown["answer"]["status"] == answer


async def test_it_is_readable_too(pair: Pair, asking: Command) -> None:
    [user_id] = await pair.ids("email = 'user3@example.org'", 1)
    await pair.damage(DAMAGE["corrupt"])

    ended = await asking(f"users life {user_id}")

    assert (ended.returncode, ended.stderr) == (0, "")
    figures = dict(line.split("  ", 1) for line in ended.stdout.splitlines() if "  " in line)
    assert figures["differs"].strip() == "corrupt"
    assert figures["a request gets"].strip() == "200: served"
    [email] = [line for line in ended.stdout.splitlines() if line.startswith("email ")]
    assert email.split() == ["email", "user3@example.org", "x", "differs"]
    [version] = [line for line in ended.stdout.splitlines() if line.startswith("version ")]
    assert version.split() == ["version", "1700000000000003", "1700000000000003"]


async def test_an_id_that_nobody_knows_is_refused(asking: Command) -> None:
    ended = await asking(f"users life {uuid4()}")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "no user has this id, neither here nor at the source\n"


async def test_an_event_that_is_not_published_is_shown(pair: Pair, asking: Command) -> None:
    """The user has changed at the source; that is no difference yet."""
    [user_id] = await pair.ids("email = 'user6@example.org'", 1)
    await execute(
        pair.auth,
        f"UPDATE users SET version = version + 1, status = 'disabled' WHERE id = '{user_id}'",
        "INSERT INTO outbox_events (type, user_id, version, set_aside)"
        f" VALUES ('user.updated', '{user_id}', 1700000000000007, 3)",
    )

    shown = await life(asking, user_id)

    assert (shown["unpublished"], shown["differs"]) == (True, "in_flight")
    assert by_name(shown)["status"] == {
        "field": "status",
        "source": "disabled",
        "replica": "active",
        "is_equal": False,
        "is_hidden": False,
    }


async def test_without_a_source_the_rest_is_shown(
    command: Command, blog_engine: AsyncEngine, pair: Pair
) -> None:
    """Whether none is set, it is away, or it is another one."""
    state = a_state(status="disabled")
    await apply_events(blog_engine, state)
    await pair.reconcile()
    await execute(blog_engine, f"UPDATE reconcile_runs SET source = '{uuid4()}'")
    away = {**pair.account, "BLOG_AUTH_URL": "http://127.0.0.1:9"}
    for settings, error in (
        ({}, "there is no source to ask"),
        (away, "the source does not respond"),
        (pair.account, "the source that answers is"),
    ):
        shown = await life(command.having(logs=False, **settings), state.id)
        assert error in shown["source_error"]
        assert (shown["differs"], shown["unpublished"]) == (None, None)
        assert {each["is_equal"] for each in shown["fields"]} == {None}
        assert by_name(shown)["email"]["replica"] == state.email
        assert shown["answer"]["code"] == "account_disabled"


async def test_what_is_parked_and_waits_is_theirs_alone(
    command: Command, blog_engine: AsyncEngine
) -> None:
    state, other = a_state(), a_state()
    await apply_events(blog_engine, state)
    mine = await park_deliveries(
        blog_engine,
        *(a_delivery(an_event(a_state(state.id, n))) for n in range(2, PARKED_SHOWN_MAX + 3)),
    )
    await park_events(blog_engine, an_event(other))

    shown = await life(command, state.id)
    as_text = await command(f"users life {state.id}")

    assert [each["id"] for each in shown["parked"]] == mine[::-1][:PARKED_SHOWN_MAX]
    assert shown["waiting"] == 0
    assert "user.updated" in as_text.stdout
    assert (await life(command, other.id))["fields"] == []


async def test_the_dry_run_says_what_a_request_gets(people: People, command: Command) -> None:
    """The same user, the same moment: what is said is what happens."""
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=60)
    tombstone = a_tombstone()
    await people.apply(tombstone)
    for user_id in (
        await people.user(),
        await people.user(status="disabled"),
        await people.user(tokens_valid_after=soon),
        tombstone.id,
    ):
        response = await people.client.get(
            "/v1/me", headers={"Authorization": f"Bearer {people.token(user_id)}"}
        )
        answer = (await life(command, user_id))["answer"]
        code = None if response.status_code == 200 else response.json()["code"]
        assert (answer["status"], answer["code"]) == (response.status_code, code)


def test_a_replica_without_a_status_does_not_decide() -> None:
    """Its service has to; fields that the table does not have are not compared."""
    state = a_state(email="ada@example.org", status="disabled")
    row = {"id": state.id, "version": state.version, "email": state.email, "deleted_at": None}
    here = Here(row=row, applied_at=None, parked=(), waiting=0)

    found = life_of(tuple(row), row, AtSource(state=state), here, now=datetime.now(UTC))

    assert [each.field for each in found.fields] == [*row]
    assert (found.differs, found.refused, found.decides) == (None, None, False)
    assert LifeBody.of(state.id, found, shows_addresses=True).answer is None


def test_deletion_outranks_disabling_and_that_revocation() -> None:
    """Disabling also moves ``tokens_valid_after``; 401 would only make the user sign in again."""
    cutoff = datetime(2026, 1, 31, 12, tzinfo=UTC)
    before, after = cutoff.timestamp() - 1, cutoff.timestamp()
    assert refusal("deleted", cutoff, issued_at=before) is Refusal.DELETED
    assert refusal("disabled", cutoff, issued_at=before) is Refusal.DISABLED
    assert refusal("active", cutoff, issued_at=before) is Refusal.REVOKED
    assert refusal("active", cutoff, issued_at=after) is None
    assert refusal("provisional", None, issued_at=before) is None
