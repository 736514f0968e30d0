"""The console's page "Break it": real faults, and a stopwatch of what the services report."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from local.faults.api import Settings, create_app
from local.faults.inject import Injector
from local.faults.model import Fault, refusals
from service_kit.http.serving import serving
from tests.browser.conftest import Visiting
from tests.support.auth_api import PASSWORD, bearer
from tests.support.broker_accounts import as_consumer
from tests.support.eventually import eventually
from tests.support.killable import Killable
from tests.support.site import Site
from tests.support.system import System, at_work

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPERATOR = "grace@example.org"
READER = "ada@example.org"

PROOF_MS = 60_000
"""For steps that wait for a proof: two heartbeats on an idle machine."""


@dataclass(frozen=True)
class OnSite:
    """The test's own system, as the injector takes it; the broker is everybody's."""

    site: Site
    consumer: Killable
    broker = None

    @property
    def auth_url(self) -> str:
        return self.site.auth_api.url

    @property
    def blog_url(self) -> str:
        return self.site.blog_api.url

    @property
    def blog_database_url(self) -> str:
        return self.site.system.blog_url

    @property
    def blog_amqp_url(self) -> str:
        return as_consumer(self.site.system.amqp_url)

    def refused(self) -> Mapping[Fault, str]:
        return refusals(own_databases=True, own_queues=True, own_broker=False)


@pytest.fixture(scope="module")
def listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def address_of(listening: socket.socket) -> str:
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(shared_system: System, listening: socket.socket) -> AsyncIterator[Site]:
    """A site that proves its replica, with a fault injector beside it."""
    site = await Site.on(
        shared_system,
        BLOG_PROOF=True,
        AUTH_HEARTBEAT_SECONDS=1,
        BLOG_HEARTBEAT_SECONDS_MAX=3,
        BLOG_FAULTS_URL=address_of(listening),
    )
    injector = Injector(OnSite(site, Killable(site.consumer)))
    port = listening.getsockname()[1]
    app = create_app(injector, Settings(port=port, cors_origins=(site.url,)))
    async with at_work(*site.members), serving(app, listening):
        await site.signed_up(OPERATOR, "operator")
        await site.signed_up(READER)
        yield site


async def open_page(page: Page) -> None:
    await page.goto("/console/break")
    await page.get_by_label("E-mail").fill(OPERATOR)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()


async def reached(page: Page, stage: str, words: str) -> None:
    """Expect that the stopwatch shows a stage, with its time and these words."""
    shown = page.locator("#stages li").filter(has_text=re.compile(f"^{stage}"))
    await expect(shown).to_have_text(re.compile(rf"^{stage}after \d.*{words}"), timeout=PROOF_MS)


async def test_what_is_broken_is_noticed_named_repaired_and_proved(visit: Visiting) -> None:
    """By itself after a deleted row and a purged queue, on request after an edited row."""
    async with visit() as visitor:
        page = visitor.page
        await open_page(page)
        for button, kind, repairs_itself in (
            ("Delete a row", "1 missing", True),
            ("Edit a row", "1 corrupt", False),
            ("Purge the queue", "3 missing", True),
        ):
            await page.get_by_role("button", name=button).click()
            await expect(page.get_by_role("heading", name=button)).to_be_visible(timeout=PROOF_MS)
            await reached(page, "Noticed", "")
            await reached(page, "Named", kind)
            if not repairs_itself:
                await page.get_by_role("button", name="Repair now").click()
            await reached(page, "Repaired", "by itself" if repairs_itself else "as you asked")
            await reached(page, "Proved", "users, 0 differ")
            await expect(page.get_by_role("button", name="Repair now")).to_be_hidden()
            row = page.locator("#past-rows tr").first
            await expect(row).to_contain_text(button)

        shown = await page.locator("#stages").inner_text()
        await page.reload()
        await expect(page.locator("#stages")).to_have_text(shown, use_inner_text=True)

        await page.set_viewport_size({"width": 360, "height": 800})
        assert await page.evaluate("document.documentElement.scrollWidth") == 360
        stop = page.get_by_role("button", name="Stop the broker")
        await expect(stop).to_be_disabled()
        await expect(stop).to_have_accessible_description(re.compile("others may use it"))


STAGES_OF = """async ([broken, looks, runs]) => {
    const { stagesOf } = await import("/console/stopwatch.js");
    const stages = Object.entries(stagesOf(broken, looks, runs));
    return Object.fromEntries(stages.map(([name, stage]) => [name, stage && stage.at / 1000]));
}"""
"""Returns when each stage was reached, in seconds; null if it was not."""

USER, OTHER = "0b6f1c1e-4a3f-4e43-8a4a-8f0b8b3b4a52", "5e0c1f57-7c0e-4a0e-9d6f-1d1f0b6f1c1e"


def an_instant(second: float) -> str:
    return f"1970-01-01T00:00:{second:06.3f}Z"


def a_look(second: float, pipe: str = "quiet", consumers: int = 1, **proof: object) -> object:
    proof = {"state": "equal", "users": 3, "age_seconds": 30.0} | proof
    near = {"pipe": "quiet"}
    return {
        "at": second * 1000,
        "near": near,
        "far": {"pipe": pipe, "consumers": consumers, "proof": proof},
    }


def a_run(started: float, ended: float, reason: str, **findings: bool) -> object:
    found = [
        {"user_id": {"user": USER, "other": OTHER}[name], "kind": "corrupt", "repaired": repaired}
        for name, repaired in findings.items()
    ]
    times = {"started_at": an_instant(started), "finished_at": an_instant(ended)}
    return {"reason": reason, "findings": found, **times}


async def test_the_stopwatch_takes_its_times_from_what_the_services_report(visit: Visiting) -> None:
    """A proof from before the repair proves nothing, and other users do not count."""
    stopped = {"at": an_instant(10), "users": [], "is_over": False}
    looks = [a_look(9, "broken: earlier"), a_look(12), a_look(30, "broken: none", 0)]
    back = [*looks, a_look(46), a_look(47, age_seconds=2.0)]
    edited = {"at": an_instant(10), "users": [USER], "is_over": True}
    named = [a_run(5, 9, "proof", user=False), a_run(20, 21, "proof", user=False, other=True)]
    repaired = [*named, a_run(25, 26, "operator", user=True)]
    equal = [a_look(24, age_seconds=1.0), a_look(40, age_seconds=9.0)]
    async with visit() as visitor:
        await visitor.page.goto("/console/break")
        for broken, seen, runs, stages in (
            (stopped, looks[:2], [], (None, None, None, None)),
            (stopped, looks, [], (30, 30, None, None)),
            (stopped | {"is_over": True}, [*back[:-1]], [], (30, 30, 46, None)),
            (
                stopped | {"is_over": True},
                [*back, a_look(50, age_seconds=1.0)],
                [],
                (30, 30, 46, 49),
            ),
            (edited, equal, named, (20, 21, None, None)),
            (edited, equal[:1], repaired, (20, 21, 26, None)),
            (edited, equal, repaired, (20, 21, 26, 31)),
        ):
            found = await visitor.page.evaluate(STAGES_OF, [broken, seen, runs])
            assert tuple(found.values()) == stages


async def test_a_killed_consumer_starts_again_when_asked(visit: Visiting, site: Site) -> None:
    async with visit() as visitor:
        page = visitor.page
        await open_page(page)
        before = site.consumer.pid
        await page.get_by_role("button", name="Kill the consumer").click()
        await expect(page.locator("#done")).to_contain_text(f"kill -9 {before}")
        assert not site.consumer.is_running
        await page.get_by_role("button", name="Edit a row").click()
        await expect(page.get_by_role("alert")).to_contain_text("not over yet")
        await page.get_by_role("button", name="Start it again now").click()
        await expect(page.locator("#done")).to_contain_text("was started again", timeout=PROOF_MS)
        await asyncio.wait_for(site.consumer.ready(), 60)
        assert site.consumer.pid != before


async def test_only_operators_may_break_anything(site: Site, listening: socket.socket) -> None:
    """Each order shows a token, and the role counts as it is now; pages of others may not call."""
    faults = f"{address_of(listening)}/v1/faults"
    before = site.consumer.pid
    async with httpx.AsyncClient(trust_env=False) as client:

        async def order(headers: dict[str, str], body: object) -> int:
            return (await client.post(faults, headers=headers, json=body)).status_code

        async def headers_of(email: str) -> dict[str, str]:
            body = {"email": email, "password": PASSWORD}
            signed_in = await client.post(f"{site.auth_api.url}/v1/signin", json=body)
            return bearer(signed_in.json())

        demoted = (await site.signed_up("demoted@example.org", "operator"))["user"]["id"]
        held = await headers_of("demoted@example.org")
        assert (await client.get(faults, headers=held)).status_code == 200
        await site.give_roles(demoted)

        async def is_refused() -> bool:
            # By looking: until the blog knows, an order is obeyed, and kills what brings the news.
            return (await client.get(faults, headers=held)).status_code == 403

        await eventually(is_refused)
        kill = {"fault": "kill_consumer"}
        assert await order(held, kill) == 403
        assert await order({}, kill) == 401
        assert await order({"Authorization": "Bearer nonsense"}, kill) == 401
        assert await order(await headers_of(READER), kill) == 403
        operator = await headers_of(OPERATOR)
        assert await order(operator, {"fault": "stop_broker"}) == 403
        assert await order(operator, {"fault": "rm_rf"}) == 422
        preflight = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
        foreign = await client.options(faults, headers=preflight)
        assert "access-control-allow-origin" not in foreign.headers
    assert site.consumer.pid == before
