"""A comparison of some users alone: they are compared and repaired, and nobody else is."""

from uuid import UUID

from replica.inbox.heartbeats import suspicion
from replica.reconcile.model import USERS_MAX, Verdict
from tests.support.auth_api import assert_problem
from tests.support.commands import Command
from tests.support.content import People
from tests.support.eventually import eventually
from tests.support.inbox import execute, fetch
from tests.support.reconciling import DAMAGE, ORPHANS, Pair, watching

RECONCILE = "/v1/sync/reconcile"

KINDS = ("missing", "stale", "undeleted", "corrupt", "ahead")
WHO = {"missing": 1, "stale": 2, "undeleted": 10, "corrupt": 3, "ahead": 4}
"""The users that ``DAMAGE`` lets differ, by the number that their id is made of."""


async def user(pair: Pair, number: int) -> UUID:
    [row] = await fetch(pair.auth, f"SELECT md5('{number}')::uuid AS id")
    return UUID(str(row.id))


async def test_nobody_else_is_compared_or_repaired(pair: Pair) -> None:
    """Of each kind one is named; another of the same kind, and its bucket, stay as they are."""
    named = [await user(pair, WHO[kind]) for kind in KINDS]
    equal = await user(pair, 6)
    await pair.damage(
        *(DAMAGE[kind] for kind in KINDS),
        "UPDATE users SET email = 'y' WHERE id = md5('8')::uuid",
        ORPHANS.format(2),
    )
    orphan, other_orphan = await pair.ids("email = 'ghost@example.org'", 2)

    looked = await pair.reconcile(users=[*named, equal, UUID(orphan)])
    repaired = await pair.reconcile(
        repair=True, ahead=True, orphans=True, users=[*named, equal, UUID(orphan)]
    )
    rest = await pair.reconcile()

    found = dict.fromkeys((*KINDS, "orphan"), 1)
    assert (looked.verdict, looked.differing, looked.repaired) == (Verdict.DRIFT, found, {})
    assert looked.compared == len(named) + 1  # the source does not have the orphan
    assert (repaired.verdict, repaired.repaired) == (Verdict.IN_STEP, found)
    assert rest.differing == {"corrupt": 1, "orphan": 1}
    left = {each["user_id"] for each in rest.findings or ()}
    assert left == {str(await user(pair, 8)), other_orphan}


async def test_it_says_nothing_about_the_others(pair: Pair) -> None:
    """It is no proof of the whole table, and clears no suspicion that messages were lost."""
    await pair.reconcile()
    [before] = await fetch(pair.blog, "SELECT id FROM reconcile_runs")
    await execute(pair.blog, "UPDATE heartbeats SET suspicion = 'gap', suspected_at = now()")

    run = await pair.reconcile(repair=True, users=[await user(pair, 1)])

    status = await pair.status()
    assert (run.verdict, run.users) == (Verdict.IN_STEP, [await user(pair, 1)])
    assert status["last_reconcile_users"] == 200
    async with pair.blog.connect() as connection:
        assert await suspicion(connection) is not None
    assert before.id != run.id


async def test_a_consumer_compares_them_on_request(people: People, pair: Pair) -> None:
    people.act_as(await pair.make_operator())
    await pair.reconcile()
    stale = str(await user(pair, 2))
    await pair.damage(DAMAGE["stale"], DAMAGE["corrupt"])

    too_many = await people.client.post(RECONCILE, json={"users": [stale] * (USERS_MAX + 1)})
    asked = (await people.client.post(RECONCILE, json={"repair": True, "users": [stale]})).json()
    async with watching(pair):

        async def ended() -> bool:
            shown = (await people.client.get(f"{RECONCILE}/{asked['id']}")).json()
            return bool(shown["finished_at"])

        await eventually(ended)
    done = (await people.client.get(f"{RECONCILE}/{asked['id']}")).json()

    assert_problem(too_many, 422, "invalid_request")
    assert (done["users"], done["compared"], done["verdict"]) == ([stale], 1, "in_step")
    assert done["repaired"] == {"stale": 1}


async def test_the_command_names_them_too(command: Command, pair: Pair) -> None:
    """As arguments or on standard input; more than a hundred are refused."""
    corrupt = await user(pair, 3)
    await pair.damage(DAMAGE["corrupt"], DAMAGE["stale"])
    asking = command.having(logs=False, **pair.account)

    looked = await asking(f"reconcile --user {corrupt}")
    too_many = await asking(f"reconcile {f'--user {corrupt} ' * (USERS_MAX + 1)}")

    assert looked.returncode == 1
    assert looked.stdout.startswith("drift: 1 of 1 named users, 1 differ, as of")
    assert too_many.returncode == 2
    assert "omit --user" in too_many.stderr
