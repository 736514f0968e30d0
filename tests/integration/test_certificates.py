"""Certificates: the source signs that the replica equals it, and the replica keeps the chain."""

import asyncio
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from auth_service.reconcile.certify import certify
from auth_service.settings import ApiSettings, KeySettings, RelaySettings
from auth_service.tokens.export import export_keys
from auth_service.tokens.lifecycle import Lifecycle
from blog_service.replica_of_users import USERS
from blog_service.settings import ConsumerSettings
from contracts.sync.certificate import CertificateRequest, Signed
from contracts.sync.comparison import entity_tag
from contracts.sync.digest import DigestKind
from replica.certificates.store import all_stored, append, newest
from replica.certificates.verify import Expected, Fault, Verification, verify
from replica.reconcile import runs
from replica.reconcile.model import CouldNotCompare
from replica.reconcile.source import Source
from replica.reconcile.staging import replica_digests
from replica.status import metrics
from tests.support.certificates import Issuer
from tests.support.database_sessions import reading
from tests.support.eventually import eventually
from tests.support.inbox import execute, fetch
from tests.support.reconciling import DAMAGE, Pair, proving
from tests.support.settings import having
from tests.support.settled import grows

INTERVAL_SECONDS = 0.2


@pytest.fixture
def relay_settings(relay_settings: RelaySettings) -> RelaySettings:
    return having(relay_settings, heartbeat_seconds=INTERVAL_SECONDS)


@pytest.fixture
def consumer_settings(consumer_settings: ConsumerSettings) -> ConsumerSettings:
    rare = 3 * INTERVAL_SECONDS
    return having(consumer_settings, heartbeat_seconds_max=rare, certificate_seconds=0.01)


@pytest.fixture
async def pair(pair: Pair) -> Pair:
    """Both services with five heartbeats a second, each of which leads to a certificate."""
    await pair.reconcile()
    return pair


async def count(pair: Pair) -> int:
    """Return how many certificates are stored."""
    [row] = await fetch(pair.blog, "SELECT count(*) AS stored FROM proofs")
    return int(row.stored)


async def more(pair: Pair, by: int = 2) -> None:
    """Wait for some more certificates."""
    await grows(lambda: count(pair), by)


async def verified(pair: Pair, keys: KeySettings) -> Verification:
    """Verify all certificates with the keys that the source exports."""
    stored, revoked = await reading(pair.blog, all_stored)
    exported = await export_keys(pair.auth, keys)
    return verify(stored, Expected(exported, revoked, pair.settings.service_id))


async def a_request(pair: Pair, kind: DigestKind = DigestKind.STATE, **said: Any) -> Any:
    """Return a request for a certificate of the replica as it is."""
    async with pair.blog.connect() as connection:
        follows = await runs.source_followed(connection)
        await connection.commit()
        ours = await replica_digests(connection, kind)
    assert follows is not None
    request = {"of": kind, "digests": entity_tag(follows, kind, ours), "heartbeat": 1}
    return CertificateRequest.model_validate({**request, "is_unbroken": True, **said})


async def test_equal_tables_are_certified_as_a_chain(pair: Pair, api_settings: ApiSettings) -> None:
    """By several consumers in turn, and after a restart; anybody verifies it with the keys."""
    with capture_logs() as logs:
        async with proving(pair), proving(pair):
            await more(pair)
        async with proving(pair):
            await more(pair)
    found = await verified(pair, api_settings)
    figures = (await pair.status())["agreement"]
    last = await reading(pair.blog, newest)
    await metrics.refresh(USERS, pair.blog)

    assert found.findings == []
    assert found.first is not None
    assert last is not None
    assert found.last == last.signed
    said = last.signed.certificate
    assert (said.consumer, said.users, said.tombstones) == (pair.settings.service_id, 180, 20)
    assert said.number == found.certificates == await count(pair)
    assert (figures["hour"]["ratio"], figures["certified_at"]) == (1.0, said.time)
    assert figures["text"].startswith("agreement: 100 % of the last hour, 100 % of the last day")
    assert REGISTRY.get_sample_value("usersync_agreement_ratio", {"window": "month"}) == 1.0
    logged = [each for each in logs if each["event"] == "certificate.issued"]
    assert {each["number"] for each in logged} >= {said.number}
    assert last.signed.hash in {each["sha256"] for each in logged}


async def test_time_in_which_users_differed_is_not_proved(
    pair: Pair, api_settings: ApiSettings
) -> None:
    """Even if a proof repaired them at once; while they differ nothing is certified."""
    async with proving(pair):
        await more(pair)
        await pair.damage(DAMAGE["missing"])
        await eventually(lambda: fetch(pair.blog, "SELECT 1 FROM reconcile_runs OFFSET 1"))
        await more(pair)
        await pair.damage(DAMAGE["corrupt"])
        differs = "SELECT 1 FROM current_proof WHERE run_id NOTNULL"
        await eventually(lambda: fetch(pair.blog, differs))
        during = await count(pair)
        await asyncio.sleep(3 * INTERVAL_SECONDS)
        still = await count(pair)
        await pair.reconcile(repair=True)
        await more(pair)

    found = await verified(pair, api_settings)
    assert during == still
    assert found.findings == []
    assert found.agreement is not None
    rows = await fetch(pair.blog, "SELECT proved_microseconds FROM proofs ORDER BY id")
    proved = [row.proved_microseconds for row in rows]
    assert sum(one == other for one, other in pairwise(proved)) == 2
    assert 0 < found.agreement.ratio < 1


async def test_keys_rotate_and_revoking_ends_a_chain(pair: Pair, api_settings: ApiSettings) -> None:
    """What a retired key signed counts permanently, what a revoked one signed never again."""
    lifecycle = Lifecycle(pair.auth, api_settings, actor="operator:test")
    async with proving(pair):
        await more(pair)
        made = await lifecycle.generate(2048)
        await lifecycle.activate(made.kid, force=True)
        await eventually(lambda: _is_signed_by(pair, made.kid))
        await more(pair)
        rotated = await verified(pair, api_settings)
        with capture_logs() as logs:
            await lifecycle.revoke(made.kid)
            await execute(pair.blog, REVOKED.format(kid=made.kid))
            await eventually(lambda: _is_restarted(pair))
            await more(pair)
    found = await verified(pair, api_settings)
    hour = (await pair.status())["agreement"]["hour"]

    assert rotated.findings == []
    assert {finding.fault for finding in found.findings} == {Fault.REVOKED_KEY, Fault.RESTARTED}
    assert _logged(logs, "proof.chain_restarted")
    assert hour["ratio"] < 1
    assert found.agreement is not None
    assert hour["ratio"] == pytest.approx(found.agreement.ratio, abs=0.1)


REVOKED = "INSERT INTO revoked_keys VALUES ('{kid}', now())"
"""As the event does; no consumer runs here for others than proofs."""


async def _is_signed_by(pair: Pair, kid: str) -> bool:
    return bool(await fetch(pair.blog, f"SELECT 1 FROM proofs WHERE key_id = '{kid}'"))


async def _is_restarted(pair: Pair) -> bool:
    [row] = await fetch(pair.blog, "SELECT count(*) AS ones FROM proofs WHERE number = 1")
    return int(row.ones) >= 2  # a process may sign with its key for a second after the revocation


async def test_the_source_certifies_only_what_is_equal_and_follows(pair: Pair) -> None:
    """It has no memory: what it signed for this replica is all that a number follows from."""
    async with Source(pair.settings) as source:
        first = (await source.certificate(await a_request(pair))).certificate
        assert first is not None
        second = Signed.read(await _certified(source, await a_request(pair, previous=first)))
        forged = Issuer().issue(consumer=pair.settings.service_id, source=second.certificate.source)
        others = Issuer().issue()
        restarted = [
            Signed.read(await _certified(source, await a_request(pair, previous=previous)))
            for previous in (forged.text, others.text, "rubbish", f"{first}=")
        ]
        versions = await _certified(source, await a_request(pair, DigestKind.VERSIONS))
        await pair.damage(DAMAGE["corrupt"])
        damaged = await source.certificate(await a_request(pair))

    said = second.certificate
    assert (said.number, said.previous) == (2, Signed.read(first).hash)
    assert [each.certificate.number for each in restarted] == [1, 1, 1, 1]
    assert Signed.read(versions).certificate.kind is DigestKind.VERSIONS
    assert damaged.certificate is None


async def _certified(source: Source, asked: CertificateRequest) -> str:
    text = (await source.certificate(asked)).certificate
    assert text is not None
    return text


async def test_only_what_was_asked_is_stored(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a certificate about something else, nor one without its place in the chain."""
    changes: list[dict[str, Any]] = [{"heartbeat": 9**9}, {"consumer": "svc_x"}, {"previous": None}]
    for change in changes:
        with monkeypatch.context() as patch, capture_logs() as logs:
            async with proving(pair):
                await more(pair)
                before = await count(pair)
                certify_another = partial(certify_changed, change)
                patch.setattr("auth_service.reconcile.routes.certify", certify_another)
                if "previous" in change:  # an honest source does that after a revocation
                    await eventually(lambda: _logged(logs, "proof.chain_restarted"))
                    continue
                await eventually(lambda: _logged(logs, "proof.not_certified"))
                await asyncio.sleep(3 * INTERVAL_SECONDS)
        assert await count(pair) <= before + 1
        assert len(_logged(logs, "proof.not_certified")) == 1


async def certify_changed(change: Any, engine: Any, keys: Any, consumer: str, asked: Any) -> Any:
    """Certify something else than what was asked."""
    asked = asked.model_copy(update=change)
    return await certify(engine, keys, change.get("consumer", consumer), asked)


def _logged(logs: list[Any], event: str) -> list[Any]:
    return [each for each in logs if each["event"] == event]


async def test_proofs_need_no_certificates(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """They can be turned off; an older source does not know them, which the log says once."""

    async def refuse(*_: object) -> None:
        raise CouldNotCompare("the source refuses /v1/reconcile/certificates with status 404")

    async with proving(pair, certificate_seconds=0.0):
        await more_proofs(pair)
    monkeypatch.setattr(Source, "certificate", refuse)
    with capture_logs() as logs:
        async with proving(pair):
            await eventually(lambda: _logged(logs, "proof.not_certified"))
            await more_proofs(pair)

    assert await count(pair) == 0
    [told] = _logged(logs, "proof.not_certified")
    assert "status 404" in told["explanation"]


async def more_proofs(pair: Pair) -> None:
    """Wait for two verdicts."""
    query = "SELECT heartbeat FROM current_proof WHERE heartbeat > {} AND differing::text = '{{}}'"
    [first, *_] = await eventually(lambda: fetch(pair.blog, query.format(0)))
    await eventually(lambda: fetch(pair.blog, query.format(first.heartbeat)))


async def test_old_certificates_are_thinned_as_new_ones_come(blog_engine: AsyncEngine) -> None:
    issuer, before = Issuer(), None
    chain = [issuer.issue(900) for _ in range(200)]
    async with blog_engine.begin() as connection:
        for each in chain:
            await append(connection, each, before=before)
            before = each
    rows = await fetch(blog_engine, "SELECT number, time FROM proofs ORDER BY id")

    assert len(rows) == pytest.approx(25 * 4 + 25, abs=5)
    assert rows[-1].number == 200
