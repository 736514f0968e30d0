"""Measure how soon a visitor sees the blog's page, and how large it is."""

import re
import time
from statistics import median
from typing import Any, Final

from playwright.async_api import Browser, async_playwright

from benchmarks import contestants
from benchmarks.figures import Figures, Promise, Section, medians
from benchmarks.scale import Scale
from benchmarks.stage import Stage
from local.addresses import url
from local.chromium import find_chromium
from local.ports import free_port

_HOW: Final = """
`blog-service api` and a headless Chromium share the machine. {visits} visitors come one after
another, each with an empty cache. The first paint is the browser's own `first-contentful-paint`;
the first post counts when its title is in the page. The size is the sum of all bodies of the page
itself, uncompressed, without the posts: neither those that the server has put into it, nor the
response with which the scripts build the list again.
"""

_VISITS: Final = 10
_POSTS: Final = """
    WITH author AS (
        INSERT INTO users (id, version, email, status, created_at, updated_at)
        VALUES (gen_random_uuid(), 1, 'author@example.org', 'active', now(), now()) RETURNING id
    )
    INSERT INTO posts (author_id, title, body)
    SELECT id, 'Post ' || n, repeat('Some words. ', 100) FROM author, generate_series(1, 50) AS n
"""
_POSTS_IN_PAGE: Final = re.compile(rb'<ol class="posts">.*</ol>', re.DOTALL)
_FIRST_PAINT: Final = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


async def measure(stage: Stage, scale: Scale) -> Section:
    """Visit the page."""
    return Section(
        title="The page",
        how=_HOW.format(visits=_VISITS),
        figures=medians([await _round(stage) for _ in range(scale.rounds)]),
        promises=[
            Promise(
                words="first paint of the page (ms)", figure="page_first_paint_ms", at_most=1_000
            ),
            Promise(words="all of the page (KB)", figure="page_kilobytes", at_most=100),
        ],
    )


async def _round(stage: Stage) -> Figures:
    await stage.empty_replica()
    await stage.run(stage.blog_url, "TRUNCATE posts, comments, profiles")
    await stage.run(stage.blog_url, _POSTS)
    port = free_port()
    async with contestants.blog_api(stage, port), async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu"]
        )
        visits = [await _visit(browser, url(port)) for _ in range(_VISITS)]
        await browser.close()
    return {name: median(each[name] for each in visits) for name in visits[0]}


async def _visit(browser: Browser, address: str) -> Figures:
    context = await browser.new_context()
    page = await context.new_page()
    came: list[Any] = []
    page.on("response", lambda response: came.append(response))
    started = time.perf_counter()
    await page.goto(f"{address}/", wait_until="commit")
    await page.get_by_role("link", name="Post 50").wait_for()
    first_post = time.perf_counter() - started
    bodies = [
        _POSTS_IN_PAGE.sub(b"", await response.body())
        for response in came
        if "/v1/" not in response.url
    ]
    figures = {
        "page_first_paint_ms": float(await page.evaluate(_FIRST_PAINT)),
        "page_first_post_ms": 1e3 * first_post,
        "page_kilobytes": sum(map(len, bodies)) / 1e3,
    }
    await context.close()
    return figures
