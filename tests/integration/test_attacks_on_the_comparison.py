"""A campaign of seeded damages: each is named exactly, by a proof or by the whole comparison.

No verdict says "equal" of users who differ, and none names a user who does not. After each round
the rows are restored, and a proof has to end with equal digests again.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random
from uuid import UUID

import pytest

from contracts.sync.digest import DigestKind, Digests, bucket_of
from replica.proof.prove import Proof
from replica.reconcile.model import NEWER, Kind, Tally
from replica.reconcile.runs import Run
from replica.reconcile.source import Source
from service_kit.database.digests.fold import fold
from service_kit.database.digests.read import read_digests
from tests.support import damages
from tests.support.damages import Damage, Seen, Side
from tests.support.database_sessions import reading
from tests.support.inbox import execute
from tests.support.load import loaded
from tests.support.reconciling import Pair, prove_once

SEED = 12
ROUNDS_UNDER_TRAFFIC = 3


@pytest.fixture
async def pair(empty_pair: Pair) -> Pair:
    await empty_pair.fill(damages.USERS, damages.DEAD_ONE_IN)
    for engine in (empty_pair.auth, empty_pair.blog):
        await execute(engine, *damages.renumbered(), "CREATE TABLE kept AS TABLE users")
    await empty_pair.reconcile()
    return empty_pair


class Attack:
    """Apply damages, ask for verdicts, and restore the rows."""

    def __init__(self, pair: Pair, source: Source) -> None:
        self.pair = pair
        self._source = source
        self._engines = {Side.REPLICA: pair.blog, Side.SOURCE: pair.auth}

    async def apply(self, damage: Damage) -> None:
        await execute(self._engines[damage.side], *damage.statements)

    async def digests(self, side: Side) -> Digests:
        return await reading(self._engines[side], read_digests)

    async def prove(self) -> Proof:
        return await prove_once(self.pair, self._source)

    async def restore(self, done: Iterable[Damage]) -> None:
        """Give all touched users the rows that they had, on both sides."""
        ids = [f"'{each}'" for damage in done for each in damage.touched]
        if not ids:
            return
        where = f"WHERE id IN ({', '.join(ids)})"
        rows = (f"DELETE FROM users {where}", f"INSERT INTO users SELECT * FROM kept {where}")
        await execute(self.pair.auth, *rows)
        await execute(self.pair.blog, rows[0], f"DELETE FROM orphan_tombstones {where}", rows[1])


@pytest.fixture
async def attack(pair: Pair) -> AsyncIterator[Attack]:
    async with Source(pair.settings) as source:
        yield Attack(pair, source)


def expected(done: Iterable[Damage]) -> dict[UUID, Kind]:
    return {user_id: kind for damage in done for user_id, kind in damage.kinds.items()}


def named(tally: Tally) -> dict[UUID, Kind]:
    """Return how each user differed, and check that exactly the safe kinds were repaired."""
    found = [each for listed in tally.listed.values() for each in listed]
    assert all(each.repaired == (each.kind in NEWER) for each in found), found
    return {each.user_id: each.kind for each in found}


def named_by(run: Run) -> dict[UUID, Kind]:
    assert run.findings is not None, run.explanation
    return {UUID(each["user_id"]): Kind(each["kind"]) for each in run.findings}


def story(done: Iterable[Damage], **values: object) -> str:
    return "\n".join([f"{values}", *(str(each) for each in done)])


def is_equal(found: Proof) -> bool:
    differing = found.proved.differing or found.tally.differing or found.known is not None
    return not (differing or found.has_wrong_digests)


async def apply_all(attack: Attack, done: Iterable[Damage]) -> None:
    """Apply damages one by one; each that counts must change the digests of all its users."""
    for damage in done:
        before = await attack.digests(damage.side)
        await attack.apply(damage)
        after = await attack.digests(damage.side)
        changed = set(before.differing(after, DigestKind.STATE))
        if damage.seen is Seen.BY_A_PROOF:
            assert {bucket_of(each) for each in damage.kinds} <= changed, str(damage)
        elif damage.seen is Seen.BY_A_COMPARISON:
            assert not changed, str(damage)


async def make_round(
    attack: Attack, seen: Seen, done: Sequence[Damage], round_: object
) -> dict[UUID, Kind]:
    """Apply damages, check what is said of them, restore the rows; return who differed."""
    told = story(done, round=round_, seen=seen)
    await apply_all(attack, done)
    wanted = expected(done)
    found = await attack.prove()
    assert found.tally.in_flight == 0, told
    if seen is Seen.BY_A_PROOF:
        assert named(found.tally) == wanted, told
        assert not found.has_wrong_digests, told
    else:
        assert found.proved.differing == {}, told
        assert found.has_wrong_digests == (seen is Seen.AS_WRONG_DIGESTS), told
        run = await attack.pair.reconcile()
        assert named_by(run) == wanted, told
        assert run.explanation is not None, told
        assert "maintained digests were wrong" in run.explanation, told
        assert named((await attack.prove()).tally) == wanted, told
    await attack.restore(done)
    await fold(attack.pair.blog)
    assert is_equal(await attack.prove()), told
    return wanted


async def campaign(attack: Attack, seed: int, count: int, *, size: int) -> int:
    differed = 0
    for number, (seen, done) in enumerate(damages.rounds(seed, count, size=size)):
        differed += len(await make_round(attack, seen, done, f"{number} of seed {seed}"))
    return differed


async def test_a_seeded_campaign_is_named_exactly(attack: Attack) -> None:
    """Thirty damages, of rows and of digests, on both sides."""
    assert await campaign(attack, SEED, 30, size=6) > 20


async def test_what_a_proof_does_not_see_is_found_by_a_comparison(attack: Attack) -> None:
    """Each way past the triggers, and each edit of what a proof does not read."""
    await make_round(attack, Seen.BY_A_COMPARISON, damages.each(SEED, damages.UNSEEN), "unseen")


async def test_what_leaves_no_difference_is_not_reported(attack: Attack) -> None:
    """Equal states stay equal, however they came about."""
    done = damages.each(SEED, damages.WITHOUT_DIFFERENCE)
    assert expected(done) == {}
    await make_round(attack, Seen.BY_A_PROOF, done, "no difference")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEED + 1, SEED + 6))
async def test_a_thousand_damages_are_named_exactly(attack: Attack, seed: int) -> None:
    """Each is visible in the digests by itself, also next to nine others."""
    assert await campaign(attack, seed, 200, size=10) > 140
    assert await attack.pair.agrees()


@asynccontextmanager
async def damaged_during_proofs(
    attack: Attack, done: Iterable[Damage], random: Random
) -> AsyncIterator[None]:
    """Apply damages at random moments while the block runs."""

    async def apply() -> None:
        for damage in done:
            await asyncio.sleep(random.uniform(0, 0.06))
            await attack.apply(damage)

    applying = asyncio.create_task(apply())
    try:
        yield
    finally:
        await applying


@pytest.mark.slow
async def test_damages_under_traffic_and_during_proofs_are_named_exactly(attack: Attack) -> None:
    """By this proof or the next one; and nobody who changes by traffic is named."""
    random = Random(SEED)
    async with loaded(attack.pair.auth, per_second=80):
        for number in range(ROUNDS_UNDER_TRAFFIC):
            done = damages.damages(random, Seen.BY_A_PROOF, 6)
            wanted = expected(done)
            told = story(done, seed=SEED, round=number)
            async with damaged_during_proofs(attack, done, random):
                during = await attack.prove()
            after = await attack.prove()
            found: Mapping[UUID, Kind] = named(during.tally) | named(after.tally)
            assert found == wanted, told
            await attack.restore(done)
            restored = await attack.prove()
            assert restored.proved.differing == {}, told
            assert not restored.has_wrong_digests, told
