"""Act at the blog as users and services, and read the responses."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import Executable, TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.replica_of_users import USERS
from blog_service.settings import ApiSettings
from contracts.events import Data
from replica.inbox.apply import apply
from service_kit.database.engines import pooled
from tests.support.blog_api import a_token, blog_api
from tests.support.builders import a_state, a_tombstone, an_event
from tests.support.database_roles import as_owner
from tests.support.eventually import eventually
from tests.support.inbox import apply_events, execute
from tests.support.locks import until_waiting

IMPORTER = "svc_importer"


class People:
    """Users and services at the blog; each request carries the token of one of them."""

    def __init__(
        self,
        settings: ApiSettings,
        client: httpx.AsyncClient,
        engine: AsyncEngine,
        key: rsa.RSAPrivateKey,
    ) -> None:
        self.settings = settings
        self.client = client
        self.engine = engine
        self.key = key

    async def user(self, user_id: UUID | None = None, **state: Any) -> UUID:
        made = a_state(user_id, **state)
        await self.apply(made)
        return made.id

    async def apply(self, *data: Data) -> None:
        await apply_events(self.engine, *data)

    def token(self, who: UUID | str, **claims: Any) -> str:
        """Return a valid token; a service's has the scope for posts unless ``claims`` differ."""
        if isinstance(who, str):
            claims = {"scope": "posts:write", **claims}
        return a_token(self.key, who, **claims)

    def act_as(self, who: UUID | str) -> None:
        """Let the requests of ``client`` carry a token of this user or service."""
        self.client.headers["Authorization"] = f"Bearer {self.token(who)}"

    async def ask(
        self,
        who: UUID | str | None,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        **params: Any,
    ) -> httpx.Response:
        """Send a request; None stands for no token, and for an omitted parameter."""
        params = {name: value for name, value in params.items() if value is not None}
        headers = {} if who is None else {"Authorization": f"Bearer {self.token(who)}"}
        return await self.client.request(method, path, headers=headers, json=body, params=params)

    async def done(self, *asked: Any, **params: Any) -> Any:
        """Ask for what must succeed, and return the JSON of the response."""
        answer = await self.ask(*asked, **params)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def post(self, who: UUID, title: str = "A title", body: str = "A body") -> dict[str, Any]:
        written: dict[str, Any] = await self.done(
            who, "POST", "/v1/posts", {"title": title, "body": body}
        )
        return written

    async def keep(
        self, author_id: UUID, post_id: UUID | None = None, *, service: str = IMPORTER, **text: str
    ) -> httpx.Response:
        """Upsert a post as a service, and return the response."""
        body = {"author_id": str(author_id), "title": "Kept", "body": "By a service", **text}
        return await self.ask(service, "PUT", f"/v1/posts/{post_id or uuid4()}", body)

    async def comment(self, who: UUID, post: Mapping[str, Any], body: str = "Indeed") -> Any:
        return await self.done(who, "POST", f"/v1/posts/{post['id']}/comments", {"body": body})

    async def during_tombstone(
        self, who: UUID, *asked: Coroutine[Any, Any, httpx.Response]
    ) -> list[httpx.Response]:
        """Return the responses to requests that wait for the transaction of a user's tombstone."""
        async with self.engine.begin() as connection:
            await apply(USERS, connection, [an_event(a_tombstone(who))])
            waiting = [asyncio.create_task(each) for each in asked]
            await until_waiting(self.engine, len(waiting))
        return await asyncio.gather(*waiting)

    async def rows_changed(self, statement: Executable, values: Mapping[str, Any]) -> int:
        """Return how many rows a statement of a use case changes, past the API."""
        async with self.engine.begin() as connection:
            return (await connection.execute(statement, values)).rowcount

    async def plan(self, kinds: str, statement: str, values: str) -> str:
        """Return the generic plan of a prepared statement, for any values."""
        await execute(self.engine, "ANALYZE")
        async with self.engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            await driver.execute("SET plan_cache_mode = force_generic_plan")
            await driver.execute(f"PREPARE statement ({kinds}) AS {statement}")
            lines = await driver.fetch(f"EXPLAIN EXECUTE statement({values})")
            await driver.execute("DEALLOCATE statement; RESET plan_cache_mode")
        return "\n".join(line[0] for line in lines)

    async def pages(
        self, path: str, who: UUID | None = None, **params: Any
    ) -> AsyncIterator[list[Any]]:
        """Follow the cursors of a list to its end; yield the items of each page."""
        cursor: str | None = None
        while True:
            page = await self.done(who, "GET", path, cursor=cursor, **params)
            yield page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    async def titles(self, **params: Any) -> list[str]:
        """Return the titles on a page of posts, without a token."""
        page = await self.done(None, "GET", "/v1/posts", **params)
        return [item["title"] for item in page["items"]]

    async def comments(self, post: Mapping[str, Any]) -> list[str]:
        """Return the first comments on a post, without a token."""
        page = await self.done(None, "GET", f"/v1/posts/{post['id']}/comments")
        return [item["body"] for item in page["items"]]


def driver_sql(statement: TextClause, *names: str) -> str:
    """Return the statement with $1, $2 and so on for ``names``."""
    sql = str(statement)
    for number, name in enumerate(names, start=1):
        sql = sql.replace(f":{name}", f"${number}")
    return sql


@asynccontextmanager
async def disturbed(engine: AsyncEngine, insert: str, delete: str) -> AsyncIterator[set[str]]:
    """Insert and delete rows inside the block, in transactions that commit out of order.

    Parameters:
        delete: deletes a row whose position leaves the remainder ``:number`` divided by three, and
            returns its text; the texts are yielded as they come.
    """
    deleted: set[str] = set()
    ending = asyncio.Event()

    async def disturb(number: int) -> None:
        while not ending.is_set():
            async with engine.begin() as connection:
                await connection.execute(text(insert))
                await connection.execute(text("SELECT pg_sleep(random() * 0.01)"))
                gone = await connection.execute(text(delete), {"number": number})
            deleted.update(gone.scalars())

    async with asyncio.TaskGroup() as disturbing:
        for number in range(3):
            disturbing.create_task(disturb(number))
        await eventually(lambda: len(deleted) > 5)
        yield deleted
        ending.set()


@asynccontextmanager
async def people_of(settings: ApiSettings, key: rsa.RSAPrivateKey) -> AsyncIterator[People]:
    """Run a blog with these settings; ``key`` signs the tokens."""
    # The test's own connections: it may do what the API may not.
    engine = pooled(settings.model_copy(update={"database_url": as_owner(settings.database_url)}))
    async with blog_api(settings) as client:
        yield People(settings, client, engine, key)
    await engine.dispose()
