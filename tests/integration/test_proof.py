"""A proof with every heartbeat: what is equal costs a 304, what differs is repaired or named."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

import replica.proof.watch
from auth_service.reconcile import routes
from auth_service.settings import RelaySettings
from blog_service.replica_of_users import USERS
from blog_service.settings import ConsumerSettings
from contracts.sync.comparison import SCOPE, DigestsBody
from replica.proof.current import current, why_degraded
from replica.proof.model import DRIFT, NOT_PROVED, CurrentProof, Proved, State, state
from replica.proof.prove import Proof, prove
from replica.reconcile.source import Source
from replica.status import metrics
from tests.support.database_sessions import reading
from tests.support.eventually import eventually
from tests.support.inbox import execute, fetch
from tests.support.load import loaded
from tests.support.proxy import Proxy
from tests.support.reconciling import DAMAGE, Pair, prove_once, proving, watching
from tests.support.settings import having

INTERVAL_SECONDS = 0.2

EQUAL_BYTES_MAX = 500
"""Of a proof of equal tables, apart from the access token, which has some 740."""

UNDER_TRAFFIC_BYTES_MAX = 100_000
"""On a busy machine events take long, so a proof looks at more buckets more often."""

KNOWN_BYTES_MAX = 20_000
"""Of a proof that finds the users who were found before."""


@pytest.fixture
def relay_settings(relay_settings: RelaySettings) -> RelaySettings:
    return having(relay_settings, heartbeat_seconds=INTERVAL_SECONDS)


@pytest.fixture
def consumer_settings(consumer_settings: ConsumerSettings) -> ConsumerSettings:
    return having(consumer_settings, heartbeat_seconds_max=3 * INTERVAL_SECONDS)


@pytest.fixture
async def pair(pair: Pair) -> Pair:
    """Both services with five heartbeats a second; the replica was compared once."""
    await pair.reconcile()
    return pair


async def last(pair: Pair) -> CurrentProof:
    """Read what is stored about proofs."""
    return await reading(pair.blog, current)


async def proved(pair: Pair, expected: State, *, later_than: CurrentProof | None = None) -> Proved:
    """Wait for a proof with this result, and return it."""

    async def look() -> Proved:
        found = await last(pair)
        assert found.proved is not None
        # A loaded machine may be late with the next one.
        assert state(found, 1e6) is expected
        assert later_than is None or found.proved_at != later_than.proved_at
        return found.proved

    return await eventually(look)


async def degraded(pair: Pair) -> str | None:
    """Return what readiness reports because of proofs."""
    return await reading(pair.blog, why_degraded, heartbeat_seconds_max=1e6)


async def stored_runs(pair: Pair) -> list[Any]:
    """Return the runs that proofs have stored."""
    return await fetch(pair.blog, "SELECT * FROM reconcile_runs WHERE reason = 'proof'")


@asynccontextmanager
async def measured(pair: Pair) -> AsyncIterator[tuple[Proxy, Source]]:
    """Ask the source through a proxy that counts bytes."""
    async with pair.proxied() as (proxy, url), Source(having(pair.settings, auth_url=url)) as asked:
        yield proxy, asked


async def test_equal_tables_are_proved_by_a_few_hundred_bytes(pair: Pair) -> None:
    """The source confirms the root without a body."""
    async with measured(pair) as (proxy, source):
        first = await prove_once(pair, source)
        token = await source._account.token(SCOPE)
        before = proxy.forwarded
        again = await prove_once(pair, source)
        bytes_sent = proxy.forwarded - before

    assert first.proved == again.proved
    assert (again.proved.users, again.proved.tombstones) == (180, 20)
    assert (again.proved.differing, again.comparison) == ({}, None)
    assert 0 < bytes_sent - len(token) < EQUAL_BYTES_MAX


REPAIRED = {"missing": 1, "stale": 1, "undeleted": 1}
NAMED = dict.fromkeys(DAMAGE.keys() - REPAIRED.keys(), 1)


async def test_each_kind_of_difference_is_repaired_or_named(pair: Pair) -> None:
    """In one run, however many heartbeats follow; an operator's repair ends it."""
    async with proving(pair):
        await proved(pair, State.EQUAL)
        before = await degraded(pair)
        with capture_logs() as logs:
            await pair.damage(*DAMAGE.values())
            found = await proved(pair, State.DIFFERS)
            await proved(pair, State.DIFFERS, later_than=await last(pair))
        [run] = await stored_runs(pair)
        figures = await pair.status()
        await metrics.refresh(USERS, pair.blog)
        gauge = "usersync_reconcile_differing_users"
        shown = {kind: REGISTRY.get_sample_value(gauge, {"kind": kind}) for kind in NAMED}
        during = await degraded(pair)
        undone = "SELECT id FROM users WHERE email = 'user5@example.org'"
        [row] = await fetch(pair.auth, undone)
        await pair.reconcile(repair=True, ahead=True, orphans=True)
        await execute(pair.blog, f"DELETE FROM users WHERE id = '{row.id}'")
        await proved(pair, State.EQUAL)
        after = await degraded(pair)

    assert found.differing == NAMED
    assert {finding["kind"] for finding in found.findings} == NAMED.keys()
    assert (run.id, run.verdict, run.repaired) == (found.run_id, "drift", REPAIRED)
    assert shown == dict.fromkeys(NAMED, 1.0)
    assert (before, during, after) == (None, DRIFT, None)
    text = figures["proof"]["text"]
    assert text.startswith("proved 0 s ago: 200 users, 5 differ ("), text
    for remedy in ("--repair", "--ahead", "--orphans", "auth-service users erase ID"):
        assert remedy in text
    [told, *_] = [each for each in logs if each["event"] == "proof.compared"]
    assert (told["log_level"], told["differing"], told["repaired"]) == ("critical", NAMED, REPAIRED)
    assert len([each for each in logs if each["event"] == "proof.compared"]) == 1


async def test_users_who_are_known_to_differ_are_not_read_again(pair: Pair) -> None:
    """Until their buckets differ in another way: then the proof looks at them again."""
    async with measured(pair) as (proxy, source):
        await pair.damage(DAMAGE["corrupt"], DAMAGE["orphan"])
        first = await prove_once(pair, source)
        before = proxy.forwarded
        again = await prove_once(pair, source, first.known)
        sent = proxy.forwarded - before
        await pair.damage(DAMAGE["ahead"])
        more = await prove_once(pair, source, again.known)

    assert first.proved.differing == {"corrupt": 1, "orphan": 1}
    assert again.proved == replace(first.proved, heartbeat=1)
    assert (first.comparison is None, again.comparison) == (False, None)
    assert sent < KNOWN_BYTES_MAX
    assert more.proved.differing == {"corrupt": 1, "ahead": 1, "orphan": 1}


async def test_digests_edited_by_hand_are_corrected(pair: Pair) -> None:
    """They differ although no user does: that is no drift, and the whole comparison repairs it."""
    await execute(pair.blog, "INSERT INTO digest_changes SELECT * FROM digest_changes LIMIT 1")
    async with proving(pair), watching(pair):
        found = await proved(pair, State.EQUAL)
        [run] = await eventually(lambda: fetch(pair.blog, ENDED_RUN))

        async with measured(pair) as (_, source):
            after = await prove_once(pair, source)

    assert found.differing == {}
    assert (run.verdict, run.differing) == ("in_step", {})
    assert "maintained digests were wrong" in run.explanation
    assert (after.comparison, after.proved.differing) == (None, {})


ENDED_RUN = "SELECT * FROM reconcile_runs WHERE reason = 'digests' AND finished_at IS NOT NULL"


async def test_live_traffic_is_never_reported_as_drift(pair: Pair) -> None:
    """Nor does a proof send much: events on their way are told apart by a few more digests."""
    sent = []
    async with measured(pair) as (proxy, source), proving(pair):
        await prove_once(pair, source)
        async with loaded(pair.auth, per_second=150) as load:
            await eventually(lambda: load.changes > 50)
            for _ in range(8):
                before, changes = proxy.forwarded, load.changes
                found = await prove_once(pair, source)
                sent.append(proxy.forwarded - before)
                assert (found.proved.differing, found.tally.repaired) == ({}, {})
                await eventually(lambda: load.changes > changes)  # noqa: B023 - awaited here
        await proved(pair, State.EQUAL, later_than=await last(pair))

    assert await stored_runs(pair) == []
    assert max(sent) < UNDER_TRAFFIC_BYTES_MAX, sent


async def test_proofs_can_be_turned_off(pair: Pair) -> None:
    """Then nothing is proved, nothing is overdue, and the status says why."""
    async with proving(pair):
        await proved(pair, State.EQUAL)
    async with proving(pair, proof=False):
        await eventually(lambda: _is_off(pair))
        figures = await pair.status()

    proof = figures["proof"]
    assert (proof["state"], proof["text"]) == (State.UNKNOWN, "not proved: proofs are off")
    assert figures["degraded"] is None


async def _is_off(pair: Pair) -> bool:
    return not (await last(pair)).is_on


async def test_without_the_source_the_last_proof_gets_too_old(pair: Pair, unused_port: int) -> None:
    """That is an alarm of its own, with the reason; it ends with the next proof."""
    away = {"auth_url": f"http://127.0.0.1:{unused_port}"}
    with capture_logs() as logs:
        async with proving(pair, **away):
            await eventually(lambda: _overdue(logs))
            found = await last(pair)
            figures = await pair.status()
        async with proving(pair):
            await proved(pair, State.EQUAL)

    assert found.proved is None
    assert figures["degraded"] == NOT_PROVED
    text = figures["proof"]["text"]
    assert re.fullmatch(r"not proved for \d+ s: the source does not respond .*", text)
    assert (await last(pair)).trouble is None
    assert [alarm["log_level"] for alarm in _overdue(logs)] == ["critical"]


def _overdue(logs: list[Any]) -> list[Any]:
    return [each for each in logs if each["event"] == "proof.overdue"]


async def test_what_a_source_says_of_something_else_proves_nothing(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Digests of another version, a 304 about another root, or another source with these users."""
    made = DigestsBody.of
    await pair.damage(DAMAGE["missing"])

    def older(*args: Any, **options: Any) -> DigestsBody:
        return made(*args, **options).model_copy(update={"version": 1})

    async def is_said(words: str) -> bool:
        return words in str((await last(pair)).trouble)

    with monkeypatch.context() as patch:
        patch.setattr(routes, "entity_tag", lambda *_: '"1"')
        patch.setattr(DigestsBody, "of", older)
        async with proving(pair):
            await eventually(lambda: is_said("upgrade the older one"))
    with monkeypatch.context() as patch:
        patch.setattr(routes, "is_named", lambda *_: True)
        async with proving(pair):
            await eventually(lambda: is_said("not as agreed"))
    await execute(pair.auth, "UPDATE source SET identity = gen_random_uuid()")
    async with proving(pair):
        await eventually(lambda: is_said("--accept-source"))

    assert (await last(pair)).proved is None
    assert not await pair.agrees()


async def test_two_consumers_make_one_proof_for_a_heartbeat(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that has the lock makes it, and the other sees that it is done."""
    made = []

    async def counted(*args: Any, heartbeat: int, **options: Any) -> Proof:
        made.append(heartbeat)
        return await prove(*args, heartbeat=heartbeat, **options)

    monkeypatch.setattr(replica.proof.watch, "prove", counted)
    async with proving(pair), proving(pair):
        await eventually(lambda: len(made) > 5)

    assert len(set(made)) == len(made)


async def test_while_messages_may_be_lost_the_whole_comparison_comes_first(pair: Pair) -> None:
    """A proof waits for it: numbers that ran backwards mean that nothing may be repaired."""
    suspected = "UPDATE heartbeats SET suspicion = 'backwards', suspected_at = now()"
    await pair.damage(suspected, DAMAGE["missing"])
    [before] = await fetch(pair.blog, "SELECT number FROM heartbeats")
    third = f"SELECT 1 FROM heartbeats WHERE number >= {before.number + 3}"
    async with proving(pair):
        await eventually(lambda: fetch(pair.blog, third))
        during = await last(pair)
        await pair.reconcile(repair=True)
        await proved(pair, State.EQUAL)

    assert (during.proved, during.tried_seconds) == (None, None)
