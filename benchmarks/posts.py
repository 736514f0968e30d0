"""Measure the list of posts, with 100 thousand posts and 32 readers."""

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Final

from benchmarks import contestants
from benchmarks.contestants import Process
from benchmarks.figures import Figures, Promise, Section, medians, percentile
from benchmarks.http import Connection
from benchmarks.scale import Scale
from benchmarks.stage import Stage, connect
from local.ports import free_port
from service_kit.http.pagination import cursor_after

_HOW: Final = """
{posts:,} posts of {characters:,} characters by {authors:,} authors with profiles; {readers}
kept-alive connections. Each sends its next request as soon as it has a response: half of the time
for the first page, otherwise from a random cursor. `blog-service api` is compared with a bare
FastAPI route that runs the same statement on an asyncpg pool of the same size and returns its rows,
without middleware, metrics and checks. That pool resets a connection after each use, by default,
which is unfair to it. The load generator shares the cores with both, so latencies are those of a
machine at its limit. PostgreSQL counts the transactions, each of one statement; the transactions of
a start without requests are subtracted.
"""

_POSTS: Final = 100_000
_AUTHORS: Final = 1_000
_CHARACTERS: Final = 1_000
_READERS: Final = 32
_CURSORS: Final = 1_000
_WARM_UP_SECONDS: Final = 1.0

_TRANSACTIONS: Final = """
    SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()
"""

_FILL: Final = (
    "TRUNCATE posts, comments, profiles, users RESTART IDENTITY",
    f"""
    INSERT INTO users (id, version, email, status, created_at, updated_at)
    SELECT gen_random_uuid(), 1, 'author-' || n || '@example.org', 'active', now(), now()
    FROM generate_series(1, {_AUTHORS}) AS n
    """,  # noqa: S608 - made of constants
    """
    INSERT INTO profiles (user_id, display_name, bio, avatar_url)
    SELECT id, 'Author ' || left(id::text, 8), 'Writes', 'https://img.example/' || id FROM users
    """,
    f"""
    INSERT INTO posts (author_id, title, body)
    SELECT ids[1 + n % {_AUTHORS}], 'Post ' || n, left(repeat(md5(n::text), 40), {_CHARACTERS})
    FROM generate_series(1, {_POSTS}) AS n, (SELECT array_agg(id) AS ids FROM users) AS authors
    """,  # noqa: S608 - likewise
    "VACUUM (ANALYZE) users, profiles, posts",
)


async def measure(stage: Stage, scale: Scale) -> Section:
    """Let the blog and the bare route take turns."""
    for statement in _FILL:
        await stage.run(stage.blog_url, statement)
    figures = medians([await _round(stage, scale.request_seconds) for _ in range(scale.rounds)])
    await stage.run(stage.blog_url, _FILL[0])
    return Section(
        title="Posts",
        how=_HOW.format(posts=_POSTS, authors=_AUTHORS, characters=_CHARACTERS, readers=_READERS),
        figures=figures,
        promises=[
            Promise(
                words=f"list of posts over {_READERS} connections, p99 (ms)",
                figure="posts_p99_ms",
                at_most=50,
            ),
            Promise(
                words="list of posts ÷ a bare route with the same query (rate)",
                figure="posts_to_bare_ratio",
                at_least=0.5,
            ),
            Promise(
                words="transactions of one statement for a list of posts",
                figure="posts_transactions_per_request",
                at_most=1.01,
            ),
        ],
    )


async def _round(stage: Stage, seconds: float) -> Figures:
    positions = _positions()
    port = free_port()
    pages = ["/v1/posts", *(f"/v1/posts?before={position}" for position in positions)]
    bare, _ = await _read(contestants.bare_posts(stage, port), port, pages, seconds)
    before = await _transactions(stage)
    async with contestants.blog_api(stage, free_port()):
        pass
    to_start = await _transactions(stage) - before
    port = free_port()
    pages = ["/v1/posts", *(f"/v1/posts?cursor={cursor_after(n)}" for n in positions)]
    ours, asked = await _read(contestants.blog_api(stage, port), port, pages, seconds)
    transactions = await _transactions(stage) - before - 2 * to_start
    return {
        "bare_posts_p50_ms": percentile(bare, 0.5),
        "bare_posts_p99_ms": percentile(bare, 0.99),
        "bare_posts_per_second": len(bare) / seconds,
        "posts_p50_ms": percentile(ours, 0.5),
        "posts_p99_ms": percentile(ours, 0.99),
        "posts_per_second": len(ours) / seconds,
        "posts_to_bare_ratio": len(ours) / len(bare),
        "posts_transactions_per_request": transactions / asked,
    }


def _positions() -> list[int]:
    chosen = random.Random(_POSTS)  # noqa: S311 - the same in each run, and no secret
    return [chosen.randint(1, _POSTS) for _ in range(_CURSORS)]


async def _read(
    serving: Process, port: int, pages: Sequence[str], seconds: float
) -> tuple[list[float], int]:
    """Return the milliseconds of responses after the warm-up, and the number of all."""
    took: list[float] = []
    answered = 0

    async def read(chosen: random.Random) -> None:
        nonlocal answered
        first, *others = pages
        async with Connection(port) as connection:
            while (sent := time.perf_counter()) < ends:
                await connection.get(first if chosen.random() < 0.5 else chosen.choice(others), 200)
                answered += 1
                if sent >= starts:
                    took.append(1000 * (time.perf_counter() - sent))

    async with serving:
        starts = time.perf_counter() + _WARM_UP_SECONDS
        ends = starts + seconds
        readers = [random.Random(number) for number in range(_READERS)]  # noqa: S311 - as above
        await asyncio.gather(*(read(chosen) for chosen in readers))
    return took, answered


async def _transactions(stage: Stage) -> float:
    """Return the blog database's transactions so far; ended sessions have reported theirs."""
    connection = await connect(stage.blog_url)
    try:
        return float(await connection.fetchval(_TRANSACTIONS))
    finally:
        await connection.close()
