"""The example of a third back-end, run as its README says, against both services."""

import ast
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service_kit.http import trusted
from tests.support.auth_api import PASSWORD, bearer, signed_up
from tests.support.eventually import eventually
from tests.support.feeds import Item, as_feed, at_an_address, atom, rss
from tests.support.http_server import served
from tests.support.programs import python
from tests.support.settled import figure
from tests.support.system import Member, System, at_work

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
THREE: Final = tuple(
    Item(f"urn:entry:{day}", f"Day {day}", f"<p>It is {day} &amp; fine.</p>", day)
    for day in (1, 2, 3)
)

NOWHERE: Final = {
    "FEED_AUTH_URL": "http://127.0.0.1:1",
    "FEED_BLOG_URL": "http://127.0.0.1:1",
    "FEED_SERVICE_ID": "svc_nobody",
    "FEED_API_KEY": "usersync_none",
}
HOSTILE: Final = (
    "<title>Script</title><description>&lt;script&gt;alert(1)&lt;/script&gt;&lt;p onclick=x&gt;One"
    "&lt;br&gt;two&lt;p&gt;three &amp;amp;lt;b&amp;amp;gt;</description>",
    "<guid>2</guid><pubDate>yesterday at noon</pubDate><description><![CDATA[<h1>No title</h1>"
    "a < b && c]]></description>",
    "<link>http://example.org/3</link>",
    "<title>Turned \u202e round &#x9b;31m\t\n twice</title><description>\u2067x\x7f</description>",
    f"<guid>5</guid><title>{'long ' * 99}</title><description>{'é' * 30_000}</description>",
    "<guid>6</guid><title>Same key</title><pubDate>01 Jan 2026 00:00 GMT</pubDate>",
    "<guid>6</guid><title>Newer</title><pubDate>02 Jan 2026 00:00 GMT</pubDate>",
    f"<guid>7</guid><description><![CDATA[{'<a ' * 30_000}]]></description>",
    "<description>&lt;![CDATA[&lt;!-- nothing to see</description>",
    "",
)
SHOWN: Final = [
    ("Newer", "Newer\n\n2026-01-02"),
    ("Script", "One\ntwo\n\nthree &lt;b&gt;"),
    ("No title", "No title\n\na < b && c"),
    ("http://example.org/3", "http://example.org/3"),
    ("Turned round \u203a31m twice", "x"),
    ("long " * 39 + "long…", "é" * 19_999 + "…"),
    (("<a " * 67)[:199] + "…", ("<a " * 6_667)[:19_999] + "…"),
    ("<![CDATA[", "<![CDATA["),
]
"""Newest first: those without a date are the oldest, the last one of them the very oldest."""


@dataclass(frozen=True)
class Service:
    """The program's settings and service account, and both APIs."""

    system: System
    auth: Member
    blog: Member
    settings: dict[str, str]
    account: dict[str, str]


@dataclass
class Importer:
    """The program with its settings, clients of both APIs, and an author who has an account."""

    service: Service
    auth: httpx.AsyncClient
    blog: httpx.AsyncClient
    author: str
    author_headers: dict[str, str]
    feed: Path
    said: list[str] = field(default_factory=list)

    async def imports(self, feed: str | Path = "", **settings: str) -> tuple[int, str, str]:
        settings = self.service.settings | settings
        code, out, err = await imported(str(feed or self.feed), "--author", self.author, **settings)
        self.said += [out, err]
        return code, out.strip(), err.strip()

    async def posts(self) -> list[dict[str, Any]]:
        posts: list[dict[str, Any]]
        posts = (await self.blog.get("/v1/posts", params={"author": self.author})).json()["items"]
        return posts

    async def tokens_got(self) -> float:
        return await self.service.auth.metric(
            'http_requests_total{handler="/oauth/token",method="POST",status="200"}'
        )


async def imported(*arguments: str, **settings: str) -> tuple[int, str, str]:
    given = {"env": settings, "cwd": EXAMPLES, "timeout": 120}
    ended = await asyncio.to_thread(python, "-m", "feed_importer", *arguments, **given)
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended.returncode, ended.stdout, ended.stderr


def counts(**different: int) -> str:
    names = ("created", "changed", "unchanged", "gone", "refused")
    return ", ".join(f"{name} {different.get(name, 0)}" for name in names)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(shared_system: System) -> AsyncIterator[Service]:
    """Both APIs, and a service account from the command of the README.

    No relay and no consumer runs: the blog learns of an author from their first request.
    """
    system = shared_system
    auth, blog = (system.process(f"{name} api") for name in ("auth-service", "blog-service"))
    async with at_work(auth, blog):
        create = "auth-service services create feed-importer --scope posts:write --json"
        account = json.loads((await system.command(create)).stdout)
        (system.folder / "api-key").write_text(f"{account['api_key']}\n")
        settings = {
            "FEED_AUTH_URL": auth.url,
            "FEED_BLOG_URL": blog.url,
            "FEED_SERVICE_ID": account["id"],
            "FEED_API_KEY_FILE": str(system.folder / "api-key"),
        }
        yield Service(system, auth, blog, settings, account)


@pytest_asyncio.fixture(loop_scope="module")
async def importer(service: Service, tmp_path: Path) -> AsyncIterator[Importer]:
    """An importer for a new author, and a feed with three entries; it shows no secret."""
    async with service.auth.client() as auth, service.blog.client() as blog:
        signed_in = await signed_up(auth, f"{uuid4().hex}@example.org")
        me = await blog.get("/v1/me", headers=bearer(signed_in))
        feed = tmp_path / "feed.xml"
        feed.write_bytes(rss(*THREE))
        importer = Importer(service, auth, blog, me.json()["id"], bearer(signed_in), feed)
        yield importer
    for text in importer.said:
        assert service.account["api_key"] not in text
        assert "eyJ" not in text, "a token begins like this"


async def test_the_same_feed_twice_creates_nothing_twice(importer: Importer) -> None:
    """Once as RSS in a file, once as Atom at an address."""
    tokens = await importer.tokens_got()
    first = await importer.imports()
    posts = await importer.posts()
    with at_an_address(lambda _: as_feed(atom(*THREE))) as address:
        again = await importer.imports(address)

    assert first == (0, counts(created=3), "")
    assert again == (0, counts(unchanged=3), "")
    assert [(post["title"], post["body"]) for post in posts] == [
        (f"Day {day}", f"It is {day} & fine.\n\n2026-01-0{day}") for day in (3, 2, 1)
    ], "the oldest entry was written first"
    assert await importer.posts() == posts
    written = f"SELECT count(*) FROM posts WHERE author_id = '{importer.author}'"
    assert await figure(importer.service.system.blog_url, written) == 3
    assert await importer.tokens_got() == tokens + 2, "one for each run, however many entries"


async def test_what_changed_is_changed_and_what_was_deleted_stays_so(importer: Importer) -> None:
    """Of three entries one was rewritten since, and one deleted at the blog by its author."""
    await importer.imports()
    newest, _, oldest = await importer.posts()

    path = f"/v1/posts/{newest['id']}"
    deleted = await importer.blog.delete(path, headers=importer.author_headers)
    importer.feed.write_bytes(
        rss(Item(THREE[0].key, "Day one", "<p>Rewritten.</p>", 1), *THREE[1:])
    )
    ended = await importer.imports()

    assert deleted.status_code == 204
    assert ended == (0, counts(changed=1, unchanged=1, gone=1), "")
    first = (await importer.posts())[-1]
    assert (first["title"], first["body"]) == ("Day one", "Rewritten.\n\n2026-01-01")
    for kept in ("id", "created_at"):
        assert first[kept] == oldest[kept]
    assert len(await importer.posts()) == 2


async def test_nothing_is_written_for_a_deleted_author(importer: Importer) -> None:
    """Deleting the author's account deletes the posts, and the importer restores none."""
    await importer.imports()

    system = importer.service.system
    relay, consumer = system.process("auth-service relay"), system.process("blog-service consumer")
    async with at_work(relay, consumer):
        password, headers = {"password": PASSWORD}, importer.author_headers
        await importer.auth.request("DELETE", "/v1/me", json=password, headers=headers)
        await eventually(lambda: _is_deleted(importer))
    code, line, said = await importer.imports()

    assert (code, line) == (1, counts(refused=3))
    assert said.count("unknown_author") == 3
    assert await importer.posts() == []


async def test_a_token_is_renewed_when_it_expires_and_replaced_once_when_refused(
    importer: Importer,
) -> None:
    """Told that tokens are good for no time, it gets one for each request, and none is refused."""

    def shorter(answer: httpx.Response) -> Response:
        return Response(json.dumps({**answer.json(), "expires_in": 0}))

    tokens = await importer.tokens_got()
    with in_front_of(importer.service.auth.url, [shorter] * 6) as auth:
        expired = await importer.imports(FEED_AUTH_URL=auth)
    tokens_for_three = await importer.tokens_got()
    with in_front_of(importer.service.blog.url, [_refused]) as blog:
        once = await importer.imports(FEED_BLOG_URL=blog)
    with in_front_of(importer.service.blog.url, [_refused] * 9) as blog:
        always = await importer.imports(FEED_BLOG_URL=blog)

    assert expired == (0, counts(created=3), "")
    assert tokens_for_three == tokens + 6, "each entry is looked at and written"
    assert once == (0, counts(unchanged=3), "")
    assert always == (1, counts(), "feed_importer: the blog returns 401 invalid_token")
    assert await importer.tokens_got() == tokens_for_three + 4


async def test_a_busy_server_is_given_the_time_that_it_asks_for(importer: Importer) -> None:
    """429 and 503 are repeated after Retry-After; one that asks for an hour ends the run."""
    busy = [_later(429, "1"), _later(503, "0")]
    with (
        in_front_of(importer.service.auth.url, busy) as auth,
        in_front_of(importer.service.blog.url, busy) as blog,
    ):
        patient = await importer.imports(FEED_AUTH_URL=auth, FEED_BLOG_URL=blog)
    with in_front_of(importer.service.blog.url, [_later(503, "3600")]) as blog:
        ended = await importer.imports(FEED_BLOG_URL=blog)
    assert patient == (0, counts(created=3), "")
    assert ended == (1, counts(), "feed_importer: the blog returns 503 busy")


async def test_hostile_entries_become_plain_text(importer: Importer) -> None:
    """Scripts, entities, strange dates, missing and endless texts: what can be shown, is."""
    importer.feed.write_text(
        '<?xml version="1.0"?><rss version="2.0" xmlns:c="http://purl.org/rss/1.0/modules/content/">'
        "<channel><title>Hostile</title>"
        + "".join(f"<item>{item}</item>" for item in HOSTILE)
        + "</channel></rss>"
    )

    ended = await importer.imports()
    again = await importer.imports()

    posts = [(post["title"], post["body"]) for post in await importer.posts()]
    assert ended == (0, counts(created=len(SHOWN)), "")
    assert again == (0, counts(unchanged=len(SHOWN)), "")
    assert posts == SHOWN


async def test_a_revoked_key_gets_no_token(importer: Importer) -> None:
    """The last test with this account."""
    service = importer.service
    revoke = f"auth-service services revoke-key {service.account['key_id']}"
    await service.system.command(revoke)

    code, line, said = await importer.imports()

    assert (code, line) == (1, counts())
    assert said == "feed_importer: the auth service gives no token: 401 invalid_client"
    assert await importer.posts() == []


async def test_what_cannot_be_imported_is_one_sentence() -> None:
    """All other sentences are in ``unit/test_feed.py``."""
    for feed, without, sentence in [
        ("/nowhere/feed.xml", "", "cannot be read: No such file or directory"),
        ("feed.xml", "FEED_API_KEY", "FEED_API_KEY is not set"),
    ]:
        settings = {name: value for name, value in NOWHERE.items() if name != without}
        code, out, err = await imported(feed, "--author", str(uuid4()), **settings)
        assert (code, out) == (2, "")
        assert sentence in err
        assert err.count("\n") == 1


async def test_it_imports_nothing_of_ours() -> None:
    """Only the standard library, its own modules, and what its requirements.txt names."""
    folder = EXAMPLES / "feed_importer"
    trees = [ast.parse(file.read_text()) for file in folder.glob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {
        str(node.module) for node in nodes if isinstance(node, ast.ImportFrom) and not node.level
    }

    foreign = {name.partition(".")[0] for name in names} - sys.stdlib_module_names

    assert foreign == set((folder / "requirements.txt").read_text().split())


@contextmanager
def in_front_of(url: str, answers: list[Callable[[httpx.Response], Response]]) -> Iterator[str]:
    """The service at ``url``, except that the first answers are made into others on their way."""
    waiting = list(answers)

    async def forward(request: Request) -> Response:
        async with httpx.AsyncClient(trust_env=False, verify=trusted.authorities()) as client:
            answer = await client.request(
                request.method,
                f"{url}{request.url.path}",
                headers={
                    name: value
                    for name, value in request.headers.items()
                    if name in ("authorization", "content-type")
                },
                content=await request.body(),
            )
        if waiting:
            return waiting.pop(0)(answer)
        return Response(answer.content, answer.status_code, media_type="application/json")

    methods = ["GET", "POST", "PUT"]
    with served(Starlette(routes=[Route("/{path:path}", forward, methods=methods)])) as server:
        yield f"http://127.0.0.1:{server.port}"


def _refused(_: httpx.Response) -> Response:
    return Response('{"code": "invalid_token"}', 401)


def _later(status: int, seconds: str) -> Callable[[httpx.Response], Response]:
    return lambda _: Response('{"code": "busy"}', status, headers={"Retry-After": seconds})


async def _is_deleted(importer: Importer) -> bool:
    answer = await importer.blog.get(f"/v1/users/{importer.author}")
    return answer.status_code == 404
