"""Test the search for words in posts."""

import asyncio
from urllib.parse import quote
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import text

from blog_service.app import SEARCHES_MAX
from blog_service.posts.read import page_sql
from blog_service.settings import ApiSettings
from tests.support.auth_api import assert_problem
from tests.support.builders import a_tombstone
from tests.support.content import People, people_of
from tests.support.inbox import execute
from tests.support.locks import lock_waits, until_waiting


async def test_posts_are_found_by_their_words(people: People) -> None:
    """In title and body, newest first, by stems of English words and by words of any language."""
    ada, eve = await people.user(), await people.user()
    await people.post(ada, "Analytical engines", "They weave algebraic patterns.")
    await people.post(eve, "Gärten im Frühling", "Tulpen; **Narzissen** und https://example.org.")
    await people.post(eve, "On weaving", "The engine is a loom. 花が咲く")

    for words, titles in (
        ("engine", ["On weaving", "Analytical engines"]),
        ("weave PATTERNS", ["Analytical engines"]),
        ('"engine is a loom"', ["On weaving"]),
        ('"loom engine"', []),
        ("engine -loom", ["Analytical engines"]),
        ("loom or tulpen", ["On weaving", "Gärten im Frühling"]),
        ("gärten narzissen", ["Gärten im Frühling"]),
        ("example.org", ["Gärten im Frühling"]),
        ("花が咲く", ["On weaving"]),
        ("nowhere", []),
        ("the", []),
        ("!! & | <-> ( ' \\ %_ :*", []),
    ):
        assert await people.titles(q=words) == titles, words
    assert await people.titles(q="engine", author=str(ada)) == ["Analytical engines"]
    assert await people.titles(q="engine", author=str(uuid4())) == []


async def test_a_changed_or_hidden_post_is_not_found_by_what_it_was(people: People) -> None:
    """Neither after a change, nor after a deletion, nor once its author is deleted."""
    ada, eve = await people.user(), await people.user()
    changed, deleted = await people.post(ada, body="zebra"), await people.post(ada, body="zebra")
    await people.post(eve, body="zebra")
    await people.done(ada, "PATCH", f"/v1/posts/{changed['id']}", {"body": "lion"})
    await people.done(ada, "DELETE", f"/v1/posts/{deleted['id']}")
    assert len(await people.titles(q="zebra")) == 1
    assert len(await people.titles(q="lion")) == 1
    await people.apply(a_tombstone(eve))
    assert await people.titles(q="zebra") == []


async def test_a_search_is_paged_and_refuses_what_it_cannot_read(people: People) -> None:
    ada = await people.user()
    for number in range(5):
        await people.post(ada, f"Zebra {number}")
        await people.post(ada, "Lion")
    pages = [page async for page in people.pages("/v1/posts", q="zebra", limit=2)]
    titles = [[post["title"] for post in page] for page in pages]
    assert titles == [["Zebra 4", "Zebra 3"], ["Zebra 2", "Zebra 1"], ["Zebra 0"]]
    for words in ("", " ", "x" * 201, "a\x00b", "a\nb", "\u202ea"):
        assert_problem(await people.ask(None, "GET", "/v1/posts", q=words), 422, "invalid_request")


async def test_a_search_reads_the_index_of_words(people: People) -> None:
    """With as many posts as make a difference."""
    author = await people.user()
    await execute(
        people.engine,
        "INSERT INTO posts (author_id, title, body)"
        f" SELECT '{author}', 'Post ' || n, 'Some words ' || n FROM generate_series(1, 5000) AS n",
    )
    plan = await people.plan(
        "bigint, text", page_sql("remove", 21, with_words=True), "9223372036854775807, 'post 77'"
    )
    assert "posts_words_idx" in plan
    assert await people.titles(q="4711") == ["Post 4711"]


@pytest.mark.parametrize("words", ["engine", '"engine" <b>&'])
async def test_a_search_has_a_page_that_search_engines_do_not_keep(
    people: People, words: str
) -> None:
    """Its address has the words, also that of the next page."""
    ada = await people.user()
    for number in range(21):
        await people.post(ada, f"Number {number:02}", "The engine b")
    answer = await people.client.get(f"/search?q={quote(words)}")
    assert answer.status_code == 200
    assert '<meta name="robots" content="noindex">' in answer.text
    assert "<b>" not in answer.text
    assert "Number 20" in answer.text
    rest = answer.text.split('rel="next" href="', 1)[1].split('"', 1)[0].replace("&amp;", "&")
    assert rest.startswith("/search?q=")
    html = (await people.client.get(rest)).text
    assert "Number 00" in html
    assert "Number 01" not in html
    for path in ("/search", "/search?q=", f"/search?q={'x' * 201}"):
        answer = await people.client.get(path)
        assert answer.status_code == 200, path
        assert "Number" not in answer.text


async def test_searches_leave_connections_to_all_else(
    blog_settings: ApiSettings, signing_key: rsa.RSAPrivateKey
) -> None:
    """However many there are at once, two of them are at the database."""
    patient = {"lock_timeout_ms": 30_000, "statement_timeout_ms": 60_000}
    async with people_of(blog_settings.model_copy(update=patient), signing_key) as people:
        ada = await people.user()
        async with people.engine.begin() as connection:
            await connection.execute(text("LOCK TABLE posts IN ACCESS EXCLUSIVE MODE"))
            searching = [
                asyncio.create_task(people.ask(None, "GET", "/v1/posts", q="zebra"))
                for _ in range(12)
            ]
            await until_waiting(people.engine, SEARCHES_MAX)
            for _ in range(12):
                assert (await people.done(ada, "GET", "/v1/me"))["id"] == str(ada)
            assert await lock_waits(people.engine) == SEARCHES_MAX
        assert {answer.status_code for answer in await asyncio.gather(*searching)} == {200}
