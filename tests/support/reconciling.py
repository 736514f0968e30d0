"""A source and a replica with the same users, both services running, and ways to cause damage."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.app import create_app
from auth_service.services.administer import create_service
from auth_service.settings import ApiSettings as AuthApiSettings
from auth_service.settings import RelaySettings
from blog_service.replica_of_users import USERS
from blog_service.settings import ApiSettings
from contracts.sync.comparison import SCOPE
from local.compare import compare
from replica.proof.prove import Known, Proof, prove
from replica.proof.watch import prove_continuously
from replica.reconcile import runs
from replica.reconcile.model import DELETIONS_MAX, Kind, Reason, repairable
from replica.reconcile.run import run
from replica.reconcile.runs import Run
from replica.reconcile.source import Source
from replica.reconcile.watch import watch
from replica.settings import ConsumerSettings
from replica.status.read import status
from replica.table import Replica
from tests.support.background import in_background
from tests.support.http_server import served
from tests.support.inbox import consuming, execute, fetch
from tests.support.proxy import Proxy, proxy_to
from tests.support.relaying import relaying
from tests.support.settings import having

MADE = """
    INSERT INTO users (id, version, email, email_verified, roles, status, tokens_valid_after,
                       created_at, updated_at, deleted_at{column})
    SELECT id, 1700000000000000 + n,
           CASE WHEN NOT is_dead THEN 'user' || n || '@example.org' END, NOT is_dead AND n % 3 = 0,
           CASE WHEN NOT is_dead AND n % 7 = 0 THEN '{{moderator,admin}}'::text[] ELSE '{{}}' END,
           CASE WHEN is_dead THEN 'deleted' WHEN n % 11 = 0 THEN 'disabled' ELSE 'active' END,
           CASE WHEN NOT is_dead AND n % 5 = 0 THEN timestamptz '2026-01-02 03:04:05Z' END,
           {kept}, {kept}, CASE WHEN is_dead THEN timestamptz '2026-02-03 04:05:06.789Z' END{value}
    FROM (
        SELECT n, md5(n::text)::uuid AS id, n % {one_in} = 0 AS is_dead
        FROM generate_series(1, {count}) AS n
    ) AS made
"""
"""Creates ``count`` users, one in ``one_in`` of them deleted; the same on both sides."""

_WHEN = "timestamptz '2026-01-01 00:00:00.123456Z' + n * interval '1 second'"
IN_AUTH = {
    "column": ", password_hash",
    "value": ", CASE WHEN NOT is_dead THEN 'x' END",
    "kept": _WHEN,
}
IN_BLOG = {"column": "", "value": "", "kept": f"CASE WHEN NOT is_dead THEN {_WHEN} END"}


ORPHANS = (
    "INSERT INTO users (id, version, email, status, created_at, updated_at)"
    " SELECT gen_random_uuid(), 7, 'ghost@example.org', 'active', now(), now()"
    " FROM generate_series(1, {})"
)
"""Adds so many users to a replica that are unknown to its source."""

DELETED = (
    "UPDATE users SET status = 'deleted', deleted_at = now(), version = version + 1, email = NULL,"
    " email_verified = false, roles = '{}', tokens_valid_after = NULL, created_at = NULL,"
    " updated_at = NULL"
)
"""Deletes users of a replica who are alive at the source."""

UNDELETED = (
    "UPDATE users SET status = 'active', deleted_at = NULL, version = version - 1,"
    " email = 'back@example.org', created_at = now(), updated_at = now()"
)
"""Gives deleted users of a replica an older state, in which they are alive."""

DAMAGE = {
    "missing": "DELETE FROM users WHERE email = 'user1@example.org'",
    "stale": "UPDATE users SET version = version - 1 WHERE email = 'user2@example.org'",
    "undeleted": f"{UNDELETED} WHERE id = md5('10')::uuid",
    "corrupt": "UPDATE users SET email = 'x' WHERE email = 'user3@example.org'",
    "ahead": "UPDATE users SET version = version + 1 WHERE email = 'user4@example.org'",
    "orphan": ORPHANS.format(1),
    "undone_deletion": f"{DELETED} WHERE email = 'user5@example.org'",
    "provisional_orphan": "INSERT INTO users (id, version, status)"
    " VALUES (gen_random_uuid(), 0, 'provisional')",
}
"""Lets one user of a replica differ in the way that is the key."""


@dataclass(frozen=True)
class Pair:
    """Both databases, and methods that reconcile them."""

    settings: ConsumerSettings
    auth: AsyncEngine
    blog: AsyncEngine

    async def fill(self, count: int = 200, one_in: int = 10, *, replica: bool = True) -> None:
        """Create the same users on both sides, or only at the source."""
        await execute(self.auth, MADE.format(count=count, one_in=one_in, **IN_AUTH))
        if replica:
            await execute(self.blog, MADE.format(count=count, one_in=one_in, **IN_BLOG))

    async def damage(self, *statements: str) -> None:
        """Change the replica directly, behind the services' back."""
        await execute(self.blog, *statements)

    async def reconcile(
        self,
        *,
        repair: bool = False,
        ahead: bool = False,
        orphans: bool = False,
        deletions_max: int = DELETIONS_MAX,
        reason: Reason = Reason.OPERATOR,
        users: Collection[UUID] = (),
        settings: ConsumerSettings | None = None,
    ) -> Run:
        """Run a comparison as the command does, and return the ended run."""
        kinds: frozenset[Kind] = repairable(repair=repair, ahead=ahead, orphans=orphans)
        async with self.blog.begin() as connection:
            requested = await runs.request(
                connection,
                reason=reason,
                requested_by="operator:test" if reason is Reason.OPERATOR else None,
                repairs=kinds,
                deletions_max=deletions_max,
                users=users,
            )
            begun = await runs.start(connection, requested)
        return await run(USERS, settings or self.settings, self.blog, begun)

    async def agrees(self) -> bool:
        """Compare the tables directly, field by field; return whether they are equal."""
        found = await compare(
            self.auth.url.render_as_string(hide_password=False),
            self.blog.url.render_as_string(hide_password=False),
        )
        return not found.differences

    async def make_operator(self) -> UUID:
        """Make one user an operator on both sides, and return their id."""
        for engine in (self.auth, self.blog):
            await execute(
                engine, "UPDATE users SET roles = '{operator}' WHERE email = 'user1@example.org'"
            )
        [made] = await fetch(self.blog, "SELECT id FROM users WHERE roles = '{operator}'")
        return UUID(str(made.id))

    @asynccontextmanager
    async def proxied(self) -> AsyncIterator[tuple[Proxy, str]]:
        """Run a proxy to the source inside the block; yield it and the address through it."""
        port = urlsplit(str(self.settings.auth_url)).port
        assert port is not None
        async with proxy_to("127.0.0.1", port) as proxy:
            yield proxy, f"http://127.0.0.1:{proxy.port}"

    async def status(self) -> dict[str, Any]:
        """Return what ``blog-service status`` shows."""
        async with self.blog.connect() as connection:
            return await status(USERS, self.settings, connection)

    @property
    def account(self) -> dict[str, str]:
        """The settings with which a command reaches the source."""
        settings = self.settings
        assert settings.auth_url is not None
        assert settings.service_id is not None
        assert settings.api_key is not None
        return {
            "BLOG_AUTH_URL": settings.auth_url,
            "BLOG_SERVICE_ID": settings.service_id,
            "BLOG_API_KEY": settings.api_key.get_secret_value(),
        }

    def of_the_api(self, settings: ApiSettings) -> ApiSettings:
        """Return the API settings with the replica's service account at the source."""
        account = ("auth_url", "service_id", "api_key")
        return settings.model_copy(update={name: getattr(self.settings, name) for name in account})

    async def ids(self, condition: str, limit: int) -> list[str]:
        """Return the ids of some users of the replica."""
        query = f"SELECT id FROM users WHERE {condition} ORDER BY id LIMIT {limit}"
        return [str(row.id) for row in await fetch(self.blog, query)]


@asynccontextmanager
async def paired(
    api_settings: AuthApiSettings,
    relay_settings: RelaySettings,
    consumer_settings: ConsumerSettings,
    auth: AsyncEngine,
    blog: AsyncEngine,
    *,
    scopes: Sequence[str] = (SCOPE,),
) -> AsyncIterator[Pair]:
    """Run both services on empty tables; the replica has a service account at the source."""
    issued = await create_service(
        auth, api_settings.secrets, name="blog", scopes=scopes, key_days=1, actor="operator:test"
    )
    with served(create_app(api_settings)) as server:
        settings = having(
            consumer_settings,
            auth_url=f"http://127.0.0.1:{server.port}",
            service_id=issued.id,
            api_key=SecretStr(issued.api_key),
            reconcile_wait_seconds=20.0,
        )
        async with relaying(relay_settings), consuming(settings, blog):
            yield Pair(settings, auth, blog)


def watching(pair: Pair, **settings: Any) -> AbstractAsyncContextManager[None]:
    """Run the watch of one consumer inside the block."""
    return in_background(watch(USERS, having(pair.settings, **settings), pair.blog))


def proving(pair: Pair, **settings: Any) -> AbstractAsyncContextManager[None]:
    """Make proofs as one consumer does inside the block."""
    return in_background(prove_continuously(USERS, having(pair.settings, **settings), pair.blog))


async def prove_once(
    pair: Pair, source: Source, known: Known | None = None, replica: Replica = USERS
) -> Proof:
    async with pair.blog.connect() as connection:
        follows = await runs.source_followed(connection)
        assert follows is not None
        await connection.commit()
        return await prove(
            replica, pair.settings, connection, source, follows=follows, heartbeat=1, known=known
        )
