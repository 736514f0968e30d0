"""Test the operators' console in Chromium, and which hosts browsers reach from all pages."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.settings import DatabaseSettings as AuthDatabase
from blog_service.settings import DatabaseSettings as BlogDatabase
from local.compare import compare
from service_kit.database.engines import pooled
from service_kit.process.clock import described
from tests.browser.conftest import Visiting
from tests.support.auth_api import PASSWORD, bearer
from tests.support.builders import a_state, a_tombstone, an_event
from tests.support.console import console as console_of
from tests.support.console import sign_in
from tests.support.eventually import eventually
from tests.support.inbox import execute, fetch
from tests.support.parked_messages import park_events
from tests.support.reconciling import IN_AUTH, MADE
from tests.support.site import PATIENCE_MS, Site, visiting
from tests.support.source import source_on

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPERATOR = "grace@example.org"
READER = "ada@example.org"

SLOW_MS = 30_000
"""For steps that wait for a consumer, a heartbeat or a replay."""

MINUTE_MS = 75_000
"""For steps that wait until a late event no longer counts."""

WEIGHT_BYTES_MAX = 150_000


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def people(site: Site) -> dict[str, UUID]:
    roles = {OPERATOR: ("operator",), READER: ()}
    return {
        email: UUID((await site.signed_up(email, *held))["user"]["id"])
        for email, held in roles.items()
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def auth(site: Site) -> AsyncIterator[AsyncEngine]:
    engine = pooled(AuthDatabase(database_url=site.system.auth_url))
    yield engine
    await engine.dispose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def blog(site: Site) -> AsyncIterator[AsyncEngine]:
    engine = pooled(BlogDatabase(database_url=site.system.blog_url))
    yield engine
    await engine.dispose()


def console(
    visit: Visiting, email: str = OPERATOR, **options: Any
) -> AbstractAsyncContextManager[Page]:
    return console_of(visit, email, **options)


def headline(page: Page) -> Locator:
    return page.locator("#headline h1")


async def shows(page: Page, name: str, words: str = ", quiet: ", **options: Any) -> None:
    """Expect that a station of the diagram says this, by default that all is well."""
    station = page.get_by_role("listitem", name=re.compile(f"^{name}, "))
    await expect(station).to_have_accessible_name(re.compile(words), **options)


async def compared(page: Page, verdict: str) -> None:
    """Compare and expect this verdict."""
    await page.get_by_role("button", name="Compare").click()
    await expect(page.locator("#run-now")).to_contain_text("Comparing", timeout=PATIENCE_MS)
    await expect(page.locator("#run-now")).to_be_empty(timeout=SLOW_MS)
    await expect(page.locator("#run-shown .verdict")).to_have_text(verdict)


class TestWhoMay:
    """Access needs the role."""

    async def test_a_visitor_without_the_role_sees_a_message_and_nothing_else(
        self, visit: Visiting, site: Site
    ) -> None:
        """Nor does one without a password."""
        async with visit() as visitor:
            await sign_in(visitor.page, "nobody@example.org", "not the password at all")
            alert = visitor.page.get_by_role("alert")
            await expect(alert).to_have_text("E-mail or password is wrong.")
            await expect(visitor.page.locator("#headline")).to_have_count(0)
            await sign_in(visitor.page, READER)
            await expect(alert).to_contain_text("does not have the operator role")
            await expect(visitor.page.locator("main section")).to_have_count(1)
            await expect(visitor.page.locator("#sections")).to_be_hidden()
            assert not [url for url in visitor.requests if "/v1/sync" in url or "/admin" in url]
        assert await _refused(site, READER) == [403] * 5

    async def test_the_console_closes_when_the_role_is_revoked(
        self, visit: Visiting, site: Site
    ) -> None:
        """While it is open, with a message that says why."""
        email = f"{uuid4().hex}@example.org"
        demoted = UUID((await site.signed_up(email, "operator"))["user"]["id"])
        async with console(visit, email) as page:
            await expect(headline(page)).not_to_be_empty()
            await site.give_roles(demoted)
            await expect(page.get_by_role("alert")).to_contain_text("no longer have the operator")
            await expect(page.locator("#headline")).to_have_count(0)
            await expect(page.locator("#state")).to_be_hidden()

    async def test_the_way_to_other_pages_is_as_wide_as_the_roles(self, visit: Visiting) -> None:
        """And needs no second sign-in."""
        async with console(visit) as page:
            pages = page.get_by_role("navigation", name="Pages")
            await expect(pages.get_by_role("link", name="Pipe")).to_have_attribute(
                "aria-current", "page"
            )
            await pages.get_by_role("link", name="Users").press("Enter")
            await expect(page.get_by_role("heading", name="Users")).to_be_visible()
            await expect(page).to_have_title(re.compile("^Users .* console$"))
            await page.get_by_role("button", name="Sign out").click()
            # Opening a page at once would break off the request that ends the session.
            await expect(page.get_by_label("Password")).to_be_visible()
            await sign_in(page, READER)
            await expect(page.get_by_role("alert")).to_contain_text("operator role")
            await expect(page.get_by_role("navigation").get_by_role("link")).to_have_count(0)

    async def test_signing_out_removes_everything_shown(self, visit: Visiting) -> None:
        async with console(visit) as page:
            await expect(headline(page)).not_to_be_empty()
            await page.get_by_role("button", name="Sign out").click()
            await expect(page.get_by_label("Password")).to_be_visible()
            await page.reload()
            await expect(page.get_by_label("Password")).to_be_visible()
            await expect(page.locator("#headline")).to_have_count(0)


class TestTheDiagram:
    """The state of the system at a glance."""

    async def test_every_station_is_quiet_when_all_is_well(self, visit: Visiting) -> None:
        """Both services have as many users; lag and queue are drawn."""
        async with console(visit) as page:
            await expect(headline(page)).to_have_text(re.compile("^Quiet"), timeout=MINUTE_MS)
            for name, word in (
                *(("Source", "users"), ("Outbox", "empty"), ("Relay", "active")),
                *(("RabbitMQ", "empty"), ("Consumer", "alive"), ("Replica", "users")),
                ("Parked messages", "none parked"),
            ):
                await shows(page, name, f"^{name}, quiet: .*{word}")
            await expect(page.locator("#lag .readout")).to_contain_text("worst")
            await expect(page.locator("#depth .readout")).to_contain_text("now 0")
            await expect(page.locator("#applied .readout")).to_contain_text("most")
            await shows(page, "Relay", "/s published")
            await shows(page, "Consumer", "/s applied")

    async def test_the_charts_can_be_read_without_a_mouse_in_any_range(
        self, visit: Visiting
    ) -> None:
        """Arrow keys read single points, and a table has the same figures."""
        async with console(visit) as page:
            chart, readout = page.get_by_role("img", name="Lag"), page.locator("#lag .readout")
            await expect(chart).to_have_accessible_name(re.compile("^Lag.*worst"))
            await chart.focus()
            await chart.press("ArrowLeft")
            await expect(readout).to_contain_text("/s), 1 consumer")
            await chart.press("Escape")
            await expect(readout).to_contain_text("worst")

            await page.get_by_text("Show as a table").click()
            rows = page.locator("#samples-table tbody tr")
            state = rows.first.locator("td").last
            await expect(state).to_have_text(re.compile("alive|alive at times"))
            await expect(rows.filter(has_text="none")).to_have_count(0)

            await page.get_by_label("24 hours").check()
            await expect(page.locator("#lag .axes text").first).to_be_visible()
            # There is no gap before the system was started.
            await expect(page.locator(".chart .gap")).to_have_count(0)
            await page.get_by_label("Logarithmic lag").check()
            await expect(page.locator("#lag h3")).to_contain_text("logarithmic")

    async def test_a_service_that_is_down_is_named(self, visit: Visiting, site: Site) -> None:
        """The other service stays up to date; the old figures show their time until it is back."""
        async with console(visit) as page:
            await shows(page, "Replica")
            site.auth_api.kill()
            try:
                await expect(headline(page)).to_contain_text("auth service is not responding")
                await expect(page.locator("#state")).to_have_text("broken")
                await shows(page, "Source", "unknown: .*users")
                await expect(page.locator("#picture .when").first).to_contain_text("as of")
                await shows(page, "Replica")
            finally:
                await site.auth_api.ready()
            await shows(page, "Source", timeout=SLOW_MS)


STATIONS = """async ([near, far, apart]) => {
    const { stations, troubles } = await import("/console/health.js");
    const known = (figures) => ({ figures, at: Date.now(), error: null });
    const apartSince = apart && Date.now() - apart * 1000;
    const system = { near: known(near), far: known(far), runs: [], replays: [], apartSince };
    return { ...stations(system), headline: troubles(system)[0] };
}"""
"""Returns the stations and the headline for figures that have differed for so many seconds."""

BOTH = {"pipe": "quiet", "users": 642, "users_deleted": 3, "last_heartbeat_age_seconds": 1.0}
NEAR = {
    **(BOTH | {"unpublished": 0, "relay": "active", "queues": []}),
    **dict.fromkeys(("replay", "trouble", "clock")),
}
FAR = {
    **(BOTH | {"consumers": 1, "consumer_age_seconds": 1.0, "lag_seconds": 0.1}),
    **dict.fromkeys(("users_provisional", "consumers_stopped", "parked_messages"), 0),
    **dict.fromkeys(("queue_depth", "replay_queue_depth", "dead_queue_depth"), 0),
    **dict.fromkeys(("degraded", "reconcile_trouble", "last_reconcile", "clock")),
}

EQUAL = {
    "state": "equal",
    "text": "proved 9 s ago: 645 users, 0 differ",
    "age_seconds": 9.0,
    "users": 645,
    "differing": 0,
}
DIFFERS = EQUAL | {
    "state": "differs",
    "text": "proved 9 s ago: 645 users, 2 differ (2 orphan: blog-service reconcile --orphans)",
    "differing": 2,
}
TOO_OLD = DIFFERS | {"state": "unknown", "text": "not proved for 61 s: the source is away"}

DRAWN = """async (number) => {
    const { diagram } = await import("/console/diagram.js");
    const of = (what) => ({
        level: "behind",
        figure: `${number} ${what}`,
        lines: [`and ${number} tombstones`],
    });
    const names = ["source", "outbox", "relay", "broker", "consumer", "replica", "compared"];
    const stations = Object.fromEntries(names.map((name) => [name, of("users")]));
    stations.outbox = of("unsent");
    stations.broker = of("queued");
    stations.parked = of("parked");
    const end = { isAway: false, note: "" };
    document.body.innerHTML = '<main><div class="panel" id="drawn"></div></main>';
    const draw = diagram(document.getElementById("drawn"), new AbortController().signal);
    draw({ stations, near: end, far: end });
    const faults = [];
    for (const element of document.querySelectorAll(".pipe .station")) {
        const box = element.querySelector("rect").getBBox();
        for (const text of element.querySelectorAll("text")) {
            const { x, width } = text.getBBox();
            const isIn = x >= box.x && x + width <= box.x + box.width;
            if (text.textContent && !isIn) faults.push(text.textContent);
        }
    }
    return faults;
}"""
"""Returns the texts that leave their boxes when every figure is that large."""

CHARTED = """async ([items, since]) => {
    const { chart } = await import("/console/chart.js");
    document.body.innerHTML = '<div id="drawn"></div>';
    const place = document.getElementById("drawn");
    const before = (seconds) => new Date(Date.now() - seconds * 1000).toISOString();
    const about = { title: "Waiting", unit: "count", least: 5, empty: "unknown", fresh: 0 };
    const words = { value: (point) => point.depth, read: () => "" };
    chart(place, { ...about, ...words }, new AbortController().signal).show({
        minutes: 60,
        bucket_seconds: 10,
        since: since && before(since),
        items: items.map(([seconds, depth]) => ({ at: before(seconds + 5), depth })),
    });
    return {
        readout: place.querySelector(".readout").textContent,
        label: place.querySelector("svg").getAttribute("aria-label"),
        gaps: place.querySelectorAll(".gap").length,
        isCut: [...place.querySelectorAll(".axes text")].some((text) => text.getBBox().x < 0),
    };
}"""
"""Draws a chart of values from so many seconds ago, of a system that is ``since`` seconds old."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page(site: Site, chromium: Browser) -> AsyncIterator[Page]:
    """One page for all tests of figures: each has it draw what it looks at."""
    async with visiting(chromium, site) as visitor:
        await visitor.page.goto("/console")
        yield visitor.page


class TestFigures:
    """Diagram and charts for figures that a running system would take too long to reach."""

    async def test_the_replica_is_compared_with_the_source(self, page: Page) -> None:
        """A replica behind is not quiet, and a short difference is not an alarm."""
        cases: list[tuple[dict[str, object], float | None, str, str]] = [
            ({}, None, "quiet", ""),
            ({"users": 461}, 0.1, "behind", "181 users behind"),
            ({"users": 461, "degraded": "gap"}, 0.1, "behind", "181 users behind"),
            ({"users": 641}, 0.1, "busy", "1 user behind"),
            ({"users": 641}, 60, "behind", "1 user behind"),
            ({"users": 700}, 60, "behind", "58 too many"),
            ({"users_deleted": 1}, 60, "behind", "2 tombstones behind"),
            ({"users_deleted": 4}, None, "quiet", ""),
        ]
        for far, apart, level, says in cases:
            shown = await page.evaluate(STATIONS, [NEAR, {**FAR, **far}, apart])
            assert shown["replica"]["level"] == level, far
            assert shown["replica"]["lines"][0].startswith(says), far
            assert (shown["headline"]["level"] == "behind") == (level == "behind"), far

    async def test_the_last_verdict_is_shown(self, page: Page) -> None:
        """A proof's, or a later comparison's; a proof that is too old is named."""
        before, since = "2026-01-01T00:00:00Z", "2999-01-01T00:00:00Z"
        cases: list[tuple[dict[str, object], str, str, str, str]] = [
            (EQUAL, before, "quiet", "in step: 0 of 645 differ, proved 9 s", "Quiet"),
            (DIFFERS, before, "wrong", "drift: 2 of 645 differ, proved 9 s", "Drift"),
            (DIFFERS, since, "quiet", "in step: 0 of 645 differ, comp", "Quiet: n"),
            (TOO_OLD, before, "look", "in step: 0 of 645 differ, comp", "Not proved"),
        ]
        for proof, compared_at, level, figure, says in cases:
            far = FAR | {
                "last_reconcile": "in_step",
                "last_reconcile_at": compared_at,
                "last_reconcile_users": 645,
                "last_reconcile_differing": 0,
                "last_reconcile_repaired": 0,
                "degraded": "not_proved" if proof is TOO_OLD else None,
                "proof": proof,
            }
            shown = await page.evaluate(STATIONS, [NEAR, far, None])
            headline = shown["headline"]
            assert shown["compared"]["figure"].startswith(figure)
            assert (headline["level"], headline["line"][: len(says)]) == (level, says)
            if level == "wrong":
                assert headline["remedy"] == "2 orphan: blog-service reconcile --orphans"

    async def test_without_a_consumer_the_relay_reports_the_depth_of_the_queue(
        self, page: Page
    ) -> None:
        """Unless its measurement is too old, or there is no queue."""
        gone = {"consumers": 0, "pipe": "broken: no consumer for 90 s", "queue_depth": None}
        for messages, age, figure, says in [
            (508, 4.0, "508 queued", "; 508 messages wait"),
            (0, 4.0, "empty", "no consumer for 90 s"),
            (None, 4.0, "?", "no consumer for 90 s"),
            (508, 60.0, "?", "no consumer for 90 s"),
        ]:
            queue = {"name": "blog.users", "messages": messages, "age_seconds": age}
            shown = await page.evaluate(STATIONS, [{**NEAR, "queues": [queue]}, FAR | gone, None])
            assert shown["broker"]["figure"] == figure
            assert shown["headline"]["line"].endswith(says)

    async def test_a_missing_relay_is_named(self, page: Page) -> None:
        """With a word, a remedy, and the place in the diagram."""
        near = NEAR | {"relay": "none is active", "pipe": "broken: no relay is active"}
        shown = await page.evaluate(STATIONS, [near, FAR, None])
        assert shown["headline"]["line"].startswith("Broken: no relay is active")
        assert "auth-service relay" in shown["headline"]["remedy"]
        assert (shown["relay"]["level"], shown["relay"]["figure"]) == ("broken", "none active")

    async def test_a_clock_that_was_set_back_is_named(self, page: Page) -> None:
        """With a pointer to the runbook, even if everything else is quiet."""
        for end, name in enumerate(("The auth service", "The blog service")):
            figures = [dict(NEAR), dict(FAR)]
            figures[end]["clock"] = described(86_400)
            headline = (await page.evaluate(STATIONS, [*figures, None]))["headline"]
            assert headline["level"] == "look"
            assert headline["line"].startswith(f"{name}'s database")
            assert headline["line"].endswith("ran 86,400 s ahead and was set back")
            assert "A clock ran ahead" in headline["remedy"]

    async def test_eight_digits_stay_in_their_boxes(self, page: Page) -> None:
        """In the wide and the narrow diagram, and at the axis of a chart."""
        for width in (1200, 400):
            await page.set_viewport_size({"width": width, "height": 900})
            assert await page.evaluate(DRAWN, "99,999,999") == [], width
            chart = await page.evaluate(CHARTED, [[[10, 99_999_999]], 3600])
            assert not chart["isCut"]

    async def test_an_unknown_value_is_not_replaced_by_the_last_known_one(self, page: Page) -> None:
        """Without a broker or a consumer, the current depth is unknown."""
        for items, now in (
            ([[30, 7], [10, 0]], "now 0"),
            ([[30, 7], [10, None]], "now unknown"),
            ([[600, 7], [590, 0]], "now unknown"),
        ):
            chart = await page.evaluate(CHARTED, [items, 3600])
            assert chart["readout"].startswith(f"{now}, worst 7")
            assert now in chart["label"]

    async def test_no_gap_is_shown_before_the_first_consumer(self, page: Page) -> None:
        """A gap counts only after the first sample."""
        points = [[ago, 0] for ago in range(120, 0, -10)]
        cases: list[tuple[object, int | None]] = [(points, 130), (points, 3 * 3600), ([], None)]
        charts = [await page.evaluate(CHARTED, [items, since]) for items, since in cases]
        assert [chart["gaps"] for chart in charts] == [0, 1, 0]


class TestComparing:
    """Damage the replica, compare, repair."""

    async def test_damage_is_named_and_repaired(
        self, visit: Visiting, site: Site, blog: AsyncEngine, people: dict[str, UUID]
    ) -> None:
        """Repairs need a confirmation, and orphans need to be selected."""
        orphan = uuid4()
        await execute(
            blog,
            f"UPDATE users SET email = 'mallory@example.org' WHERE id = '{people[READER]}'",
            "INSERT INTO users (id, version, status, email, email_verified, created_at, updated_at)"
            f" VALUES ('{orphan}', 1, 'active', 'x@example.net', false, now(), now())",
        )
        async with console(visit) as page:
            await compared(page, "drift")
            findings = page.locator("#findings tbody tr")
            await expect(findings).to_have_count(2)
            corrupt = findings.filter(has_text=str(people[READER]))
            await expect(corrupt).to_contain_text("corrupt")
            link = corrupt.get_by_role("link", name=str(people[READER]))
            await expect(link).to_have_attribute("href", f"/console/users#{people[READER]}")
            await expect(findings.filter(has_text=str(orphan))).to_contain_text("orphan")
            await expect(headline(page)).to_contain_text("2 users differ")

            await page.get_by_role("button", name="Repair …").click()
            dialog = page.get_by_role("dialog")
            await expect(dialog).to_contain_text("1 user missing, stale, undeleted or corrupt")
            await dialog.get_by_role("button", name="Cancel").click()
            assert await _email(blog, people[READER]) == "mallory@example.org"

            await page.get_by_role("button", name="Repair …").click()
            await dialog.get_by_role("button", name="Repair 1 user").click()
            await expect(headline(page)).to_contain_text("1 user differs", timeout=SLOW_MS)
            assert await _email(blog, people[READER]) == READER

            await page.get_by_role("button", name="Repair …").click()
            await dialog.get_by_label("Delete 1 user unknown to the source").check()
            await dialog.get_by_role("button", name="Repair 1 user").click()
            verdict = page.locator("#run-shown .verdict")
            await expect(verdict).to_have_text("in step", timeout=SLOW_MS)
            await expect(page.locator("#repair-why")).to_have_text("Nothing differs.")
            await expect(headline(page)).not_to_contain_text("differ")

            await page.get_by_text("History").click()
            await expect(page.locator("#runs tr").first).to_contain_text("repair, orphans")
            await expect(page.locator("#runs tr").first).to_contain_text("requested by you")
        found = await compare(site.system.auth_url, site.system.blog_url)
        assert found.differences == []

    async def test_the_agreement_is_shown(self, visit: Visiting, blog: AsyncEngine) -> None:
        proof = (
            "INSERT INTO proofs (number, time, proved_microseconds, key_id, hash, certificate)"
            " VALUES ({n}, now() - interval '{ago} s', {n} * 60000000, 'k', '{n}', 'x')"
        )
        await execute(blog, proof.format(n=1, ago=61), proof.format(n=2, ago=1))
        async with console(visit) as page:
            shown = page.locator("#agreement")
            await expect(shown).to_contain_text("Agreement: 100 % of the last hour, 100 % of")
        await execute(blog, "DELETE FROM proofs")

    async def test_a_comparison_without_a_consumer_waits_visibly(
        self, visit: Visiting, site: Site
    ) -> None:
        site.consumer.kill()
        try:
            async with console(visit) as page:
                await expect(headline(page)).to_contain_text("no consumer", timeout=SLOW_MS)
                await page.get_by_role("button", name="Compare").click()
                await expect(page.locator("#run-now")).to_contain_text("No consumer is alive")
                await shows(page, "Consumer", "broken: none alive")
                await site.consumer.ready()
                await expect(page.locator("#run-now")).to_be_empty(timeout=SLOW_MS)
                await expect(page.locator("#run-shown .verdict")).to_have_text("in step")
        finally:
            await site.consumer.ready()


class TestReplaying:
    """Count first, then start, pause and resume."""

    async def test_a_replay_is_followed(
        self, visit: Visiting, auth: AsyncEngine, blog: AsyncEngine
    ) -> None:
        """It must be counted before it can start, stops while paused, and sends all in the end."""
        await execute(auth, MADE.format(count=40, one_in=10, **IN_AUTH))
        async with console(visit) as page:
            await page.get_by_text("Start a replay").click()
            start = page.get_by_role("button", name="Start", exact=True)
            await expect(start).to_be_disabled()
            await page.get_by_label("Maximum events per second").fill("10")
            await page.get_by_role("button", name="Count events").click()
            await expect(page.locator("#plan")).to_contain_text("events would be sent")
            assert await fetch(auth, "SELECT 1 FROM replays") == []
            await page.get_by_label("Maximum events per second").fill("8")
            await expect(start).to_be_disabled()
            await page.get_by_role("button", name="Count events").click()
            await start.click()

            replay = page.locator("#replays article").first
            await expect(replay).to_contain_text("running")
            await expect(replay).to_contain_text("by you, at most 8 per second")
            await expect(replay).to_contain_text(re.compile("[1-9][0-9]* of [0-9]+ sent.* left"))
            await replay.get_by_role("button", name="Pause").click()
            await expect(replay).to_contain_text("paused")
            [paused] = await fetch(auth, "SELECT state, published, expected FROM replays")
            assert paused.state == "paused"
            assert 0 < paused.published < paused.expected

            await replay.get_by_role("button", name="Resume").click()
            await expect(replay).to_contain_text("done", timeout=SLOW_MS)
            await expect(replay).to_contain_text(f"{paused.expected} of {paused.expected} sent")
            await expect(replay.get_by_role("button", name="Pause")).to_be_hidden()

        async def has_all() -> bool:
            [row] = await fetch(blog, "SELECT count(*) AS n FROM users WHERE email LIKE 'user%'")
            return bool(row.n == 36)

        await eventually(has_all)

    async def test_a_contradictory_replay_is_refused_with_a_reason(self, visit: Visiting) -> None:
        async with console(visit) as page:
            await page.get_by_text("Start a replay").click()
            await page.get_by_label("Recorded events").check()
            await page.get_by_label("Recorded since").fill("2026-01-02T00:00:00")
            await page.get_by_label("Recorded before").fill("2026-01-01T00:00:00")
            await page.get_by_role("button", name="Count events").click()
            await expect(page.locator("#replay-problem")).to_contain_text("until")
            await expect(page.get_by_role("button", name="Start", exact=True)).to_be_disabled()


class TestParked:
    """Inspect, redrive and discard messages."""

    async def test_a_message_is_redriven(self, visit: Visiting, blog: AsyncEngine) -> None:
        state = a_state()
        [parked_id] = await park_events(blog, an_event(state))
        async with console(visit) as page:
            await expect(page.locator("#headline")).to_contain_text("1 message is parked")
            message = page.get_by_role("article", name=f"Message {parked_id}")
            await expect(message).to_contain_text("unknown schema until the upgrade")
            await message.get_by_role("button", name="Redrive").click()

            await expect(page.locator("#parked-outcome")).to_have_text(f"{parked_id}: applied.")
            await expect(message).to_have_count(0)
        assert await _email(blog, state.id) == state.email
        await execute(blog, f"DELETE FROM users WHERE id = '{state.id}'")

    async def test_messages_are_shown_by_reason_and_type(
        self, visit: Visiting, blog: AsyncEngine
    ) -> None:
        """All of them again once a group is empty, with the user of each as a link."""
        states = [a_state(), a_state()]
        await park_events(blog, *map(an_event, states))
        deleted = a_tombstone()
        await park_events(blog, an_event(deleted))
        async with console(visit) as page:
            messages = page.get_by_role("article", name=re.compile("^Message"))
            await expect(messages).to_have_count(3)
            groups = page.get_by_role("group", name="Groups, by reason and type")
            await expect(groups.get_by_role("button", name="user.updated 2")).to_be_visible()
            await groups.get_by_role("button", name="user.deleted 1").press("Enter")
            await expect(messages).to_have_count(1)
            link = messages.get_by_role("link", name=str(deleted.id))
            await expect(link).to_have_attribute("href", f"/console/users#{deleted.id}")
            await expect(page.get_by_role("button", name="Redrive all")).to_be_hidden()
            await messages.get_by_role("button", name="Redrive").click()
            await expect(messages).to_have_count(2)
            await page.get_by_role("button", name="Redrive all").click()
            await expect(page.locator("#parked-list")).to_have_text("No parked messages.")
            await expect(groups).to_be_hidden()
        ids = ", ".join(f"'{each.id}'" for each in (*states, deleted))
        await execute(blog, f"DELETE FROM users WHERE id IN ({ids})")

    async def test_garbage_is_shown_as_text_and_discarded(
        self, visit: Visiting, site: Site, blog: AsyncEngine, people: dict[str, UUID]
    ) -> None:
        """Its content never executes; it stays parked when redriven; discarding needs a reason."""
        body = b"<script>document.title = 'owned'</script><img src=x onerror=alert(1)>"
        async with source_on(site.system.amqp_url) as source:
            await source.publish_raw(body)
        async with console(visit) as page:
            message = page.get_by_role("article", name=re.compile("^Message"))
            await expect(message).to_contain_text("not a cloud event", timeout=SLOW_MS)
            await message.get_by_text("Headers and body").click()
            await expect(message.locator("pre")).to_have_text(body.decode())
            await expect(message.locator("pre *")).to_have_count(0)

            await page.get_by_role("button", name="Redrive all").click()
            await expect(page.locator("#parked-outcome")).to_contain_text("1 still parked")

            await message.get_by_role("button", name="Discard").click()
            dialog = page.get_by_role("dialog")
            await dialog.get_by_label("Reason").fill("sent by a test")
            await dialog.get_by_role("button", name="Discard").click()
            await expect(page.locator("#parked-list")).to_have_text("No parked messages.")
            assert "owned" not in await page.title()
        [note] = await fetch(blog, "SELECT because, discarded_by FROM discarded_messages")
        assert (note.because, note.discarded_by) == ("sent by a test", f"user:{people[OPERATOR]}")


class TestEvents:
    """Events are shown as they happen."""

    async def test_what_happens_to_an_event_is_shown_at_both_services(
        self, visit: Visiting, site: Site
    ) -> None:
        """With a link to its user; not while the page is paused, but then what was missed."""
        async with console(visit) as page:
            await page.get_by_role("link", name="Events").click()
            await expect(page.locator("#events-state")).to_have_text(
                "Lines appear as things happen."
            )
            log = page.get_by_role("log", name="Live events")
            await expect(log).to_have_attribute("aria-live", "off")
            # Once the consumer has noticed that someone watches.
            beats = log.get_by_role("row").filter(has_text="sync.heartbeat")
            await expect(beats.filter(has_text="applied").first).to_be_visible(timeout=SLOW_MS)

            first = (await site.signed_up(f"{uuid4().hex}@example.org"))["user"]["id"]
            lines = log.get_by_role("row").filter(has_text=first)
            for service, stage in (
                ("auth", "recorded"),
                ("auth", "published"),
                ("blog", "applied"),
            ):
                line = lines.filter(has_text=stage)
                await expect(line).to_contain_text(f"{service}{stage}user.created")
            link = lines.first.get_by_role("link", name=first)
            await expect(link).to_have_attribute("href", f"/console/users#{first}")

            await page.get_by_role("button", name="Pause").click()
            await expect(page.locator("#events-state")).to_have_text("Paused.")
            second = (await site.signed_up(f"{uuid4().hex}@example.org"))["user"]["id"]
            assert second not in await log.inner_text()
            await page.get_by_role("button", name="Continue").click()
            await expect(log.get_by_role("row").filter(has_text=second)).to_have_count(3)
            await expect(lines).to_have_count(3)

            await page.get_by_label("Only this user").fill(first)
            await expect(log.get_by_role("row")).to_have_count(1)
            await site.signed_up(f"{uuid4().hex}@example.org")
            await page.get_by_label("Only this user").fill("rubbish")
            await expect(page.locator("#events-state")).to_have_text("Type the whole id of a user.")

            await page.goto(f"/console/users#{first}")
            await page.get_by_role("link", name="Watch events").click()
            await expect(page.get_by_label("Only this user")).to_have_value(first)
            await expect(page.locator("#events-state")).to_have_text(
                "Lines appear as things happen."
            )


class TestUsers:
    """Find a user, see both sides of them, and repair them: by keys alone."""

    async def test_a_user_is_found_and_repaired_without_a_mouse(
        self, visit: Visiting, site: Site, blog: AsyncEngine
    ) -> None:
        """On a phone. Their address is in no URL; an operator alone sees none at all."""
        support, ada = f"root{uuid4().hex[:8]}@example.org", f"lost{uuid4().hex[:8]}@example.org"
        await site.signed_up(support, "admin", "operator")
        lost = (await site.signed_up(ada))["user"]["id"]
        await execute(
            blog, f"UPDATE users SET status = 'disabled', version = 1 WHERE id = '{lost}'"
        )
        async with visit(viewport={"width": 360, "height": 740}) as visitor:
            page = visitor.page
            await sign_in(page, support)
            await page.get_by_role("link", name="Users").press("Enter")
            await page.get_by_label("E-mail address or id").press_sequentially(ada[:10])
            await page.keyboard.press("Enter")
            await expect(page).to_have_url(re.compile(f"/console/users#{lost}$"))
            life = page.locator("#user-life")
            await expect(life.get_by_role("heading", name=ada)).to_be_focused()
            await expect(life).to_contain_text("403 account_disabled")
            status = life.locator(".sides tr").filter(has_text="status")
            await expect(status).to_have_text("statusactivedisableddiffers")
            await expect(life).to_contain_text("user.created")
            await expect(life).to_contain_text("1 session has not ended")
            assert await page.evaluate("document.documentElement.scrollWidth") <= 360

            await life.get_by_role("button", name="Compare").press("Enter")
            outcome = life.locator("#life-outcome")
            await expect(outcome).to_have_text("Differs: stale.", timeout=SLOW_MS)
            await expect(outcome).to_be_focused()
            await life.get_by_role("button", name="Repair").press("Enter")
            await expect(outcome).to_have_text("Repaired: stale.", timeout=SLOW_MS)
            await expect(status).to_have_text("statusactiveactiveequal")
            await expect(life).to_contain_text("200")
            await life.get_by_role("button", name="Replay").press("Enter")
            await expect(outcome).to_contain_text("has sent the current state", timeout=SLOW_MS)
            assert not [url for url in visitor.requests if "lost" in url or "%40" in url]
        async with console(visit) as page:
            await page.goto(f"/console/users#{lost}")
            await expect(page.locator("#user-life")).to_contain_text("hidden")
            await expect(page.locator("main")).not_to_contain_text(ada)

    async def test_a_deleted_user_has_nothing_personal(self, visit: Visiting, site: Site) -> None:
        """And an id that nobody has is said to be unknown."""
        email = f"gone{uuid4().hex[:8]}@example.org"
        gone = await site.signed_up(email)
        async with site.auth_api.client() as auth:
            body = {"password": PASSWORD}
            await auth.request("DELETE", "/v1/me", json=body, headers=bearer(gone))
        async with console(visit) as page:
            await page.goto(f"/console/users#{gone['user']['id']}")
            life = page.locator("#user-life")
            await expect(life).to_contain_text("401 invalid_token")
            await expect(life.locator(".sides tbody tr")).to_have_count(4)
            await expect(life).to_contain_text("user.deleted")
            await expect(life).not_to_contain_text("@")
            await page.goto(f"/console/users#{uuid4()}")
            await expect(life).to_have_text("No user has this id, neither at the source nor here.")


async def test_the_console_is_small_and_requests_no_other_host(visit: Visiting, site: Site) -> None:
    """It weighs less than a photograph."""
    async with visit() as visitor:
        await visitor.page.goto("/console")
        await expect(visitor.page.get_by_label("Password")).to_be_visible()
        urls = set(visitor.requests)
    assert {url for url in urls if not url.startswith(site.url)} == set()
    async with site.blog_api.client() as client:
        weights = [len((await client.get(url)).content) for url in urls]
    assert sum(weights) < WEIGHT_BYTES_MAX


async def test_nothing_is_cut_off_on_a_phone(visit: Visiting) -> None:
    """The page is as wide as the screen, and the diagram goes from top to bottom."""
    phone = {"width": 375, "height": 800}
    async with console(visit, viewport=phone, color_scheme="dark") as page:
        await expect(headline(page)).not_to_be_empty()
        assert await page.evaluate("document.documentElement.scrollWidth") == 375
        await expect(page.locator("svg.pipe.narrow")).to_be_visible()


async def test_the_browser_reaches_both_services(site: Site, visit: Visiting) -> None:
    async with visit() as visitor:
        await visitor.page.goto("/livez")
        status = await visitor.page.evaluate(
            "async url => (await fetch(url, {credentials: 'include'})).status",
            f"{site.auth_api.url}/.well-known/jwks.json",
        )
    assert status == 200


async def test_the_interactive_documentation_needs_no_internet(site: Site, visit: Visiting) -> None:
    """Both APIs are shown and can be tried, without a request to another host."""
    async with visit() as visitor:
        for service, member in (("auth_service", site.auth_api), ("blog_service", site.blog_api)):
            await visitor.page.goto(f"{member.url}/docs")
            heading = visitor.page.get_by_role("heading", name=service)
            await expect(heading).to_be_visible()
            operation = visitor.page.locator(".opblock").first
            await expect(operation).to_be_visible()
            await operation.click()
            await expect(operation.get_by_role("button", name="Try it out")).to_be_visible()

    own = (site.auth_api.url, site.blog_api.url, "data:")
    assert [url for url in visitor.requests if not url.startswith(own)] == []


async def test_passwords_go_to_the_auth_service_and_not_to_its_former_address(
    site: Site, visit: Visiting
) -> None:
    """The issuer is only a name: no page sends anything to the program that took its port."""
    connected = 0

    def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connected
        connected += 1
        writer.close()

    stranger = urlsplit(site.former_auth_url)
    async with (
        await asyncio.start_server(note, stranger.hostname, stranger.port),
        visit() as visitor,
    ):
        page = visitor.page
        await page.goto("/#/sign-up")
        await page.get_by_role("main").get_by_label("E-mail address").fill("ada.moved@example.org")
        await page.get_by_role("main").get_by_label("Password", exact=True).fill(PASSWORD)
        await page.get_by_role("main").get_by_role("button", name="Create account").click()
        await expect(page.get_by_role("button", name="Sign out", exact=True)).to_be_visible()
        await page.goto("/console")
        await expect(page.get_by_role("heading", name="Not for this account")).to_be_visible()

    assert f"{site.auth_api.url}/v1/signup" in visitor.requests
    assert connected == 0


async def _refused(site: Site, email: str) -> list[int]:
    """Return the status codes of an operator's requests, sent by this user."""
    sync = [f"{site.url}/v1/sync/{name}" for name in ("status", "samples", "reconcile", "parked")]
    async with site.auth_api.client() as client:
        body = {"email": email, "password": PASSWORD}
        headers = bearer((await client.post("/v1/signin", json=body)).json())
        urls = ["/v1/admin/status", *sync]
        return [(await client.get(url, headers=headers)).status_code for url in urls]


async def _email(engine: AsyncEngine, user_id: UUID) -> str | None:
    [row] = await fetch(engine, f"SELECT email FROM users WHERE id = '{user_id}'")
    email: str | None = row.email
    return email
