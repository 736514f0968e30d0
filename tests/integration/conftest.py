"""What the tests of one service against real servers share."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

import blog_service.settings
from auth_service.settings import ApiSettings, RelaySettings
from auth_service.users.passwords import Passwords
from local.ports import free_port
from local.shutdown import NO_DELAY
from tests.support.accounts import Accounts
from tests.support.auth_api import AuthApi, made_admin, serving, signed_up
from tests.support.builders import SOURCE
from tests.support.commands import Command, commands_on
from tests.support.content import People, people_of
from tests.support.database_roles import acting_as
from tests.support.inbox import Inbox
from tests.support.mail_server import MailServer, mail_server
from tests.support.mailboxes import Post, posting
from tests.support.processes import AuthCommand, run
from tests.support.reconciling import Pair, paired
from tests.support.relaying import Pipe
from tests.support.source import Source


@pytest.fixture
def inbox(
    consumer_settings: blog_service.settings.ConsumerSettings,
    blog_engine: AsyncEngine,
    source: Source,
) -> Inbox:
    """What a test of the consumer needs: its settings, its database and a source."""
    return Inbox(consumer_settings, blog_engine, source)


@pytest.fixture
def unbound(auth_engine: AsyncEngine, relay_settings: RelaySettings, source: Source) -> Pipe:
    """A relay's database, settings and broker, without a queue."""
    return Pipe(auth_engine, relay_settings, source)


@pytest.fixture
async def pipe(unbound: Pipe) -> Pipe:
    """A relay's database, settings and broker, with a queue bound as a consuming service does."""
    await unbound.bind()
    return unbound


@pytest.fixture
def unused_port() -> int:
    """A port that nobody listens on."""
    return free_port()


@pytest.fixture(autouse=True)
def hashing(cheap_hashing: None) -> None:
    """Cheap hashes, except in a file that overrides this fixture because it tests the real ones."""


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    """Hashing as the auth API does it."""
    passwords = Passwords(threads=2, waiting_max=100)
    yield passwords
    passwords.close()


@pytest.fixture
def accounts(auth_engine: AsyncEngine, passwords: Passwords) -> Accounts:
    """The use cases of users on the fresh auth database."""
    return Accounts(auth_engine, passwords)


@pytest.fixture
def api_settings(
    auth_url: str, private_pem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ApiSettings:
    """Settings of an auth API on the fresh database, out of reach of the checkout's ``.env``."""
    monkeypatch.chdir(tmp_path)
    return ApiSettings(
        database_url=acting_as("auth_api", auth_url),
        issuer=SOURCE,
        private_key=SecretStr(private_pem),
        hashing_threads=2,
    )


@pytest.fixture
def api_environment(auth_url: str, private_pem: str) -> dict[str, str]:
    """The environment of an auth API's process and of commands, on the fresh database."""
    return {
        "AUTH_DATABASE_URL": acting_as("auth_operator", auth_url),
        "AUTH_ISSUER": SOURCE,
        "AUTH_PRIVATE_KEY": private_pem,
        "AUTH_PORT": str(free_port()),
        **NO_DELAY,
    }


@pytest.fixture
async def api(api_settings: ApiSettings) -> AsyncIterator[AuthApi]:
    async with serving(api_settings) as client:
        yield client


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with mail_server() as server:
        yield server


@pytest.fixture
def mail_settings(api_settings: ApiSettings, server: MailServer) -> ApiSettings:
    """Settings of an auth API that sends mails."""
    return api_settings.model_copy(update={"smtp_url": SecretStr(server.url)})


@pytest.fixture
async def post(mail_settings: ApiSettings, server: MailServer) -> AsyncIterator[Post]:
    """A client of an auth API that sends mails."""
    async with posting(mail_settings, server) as client:
        yield client


@pytest.fixture
async def root(api: AuthApi) -> dict[str, Any]:
    """An administrator of the auth API, the only one."""
    signed_in = await signed_up(api, "root@example.org")
    await made_admin(api.engine, signed_in)
    return signed_in


@pytest.fixture
def blog_settings(blog_url: str, public_pem: str) -> blog_service.settings.ApiSettings:
    """Settings of a blog API on the fresh database."""
    return blog_service.settings.ApiSettings(
        _env_file=None,
        database_url=acting_as("blog_api", blog_url),
        public_key=public_pem,
        issuer=SOURCE,
    )


@pytest.fixture
def command(blog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """``blog-service`` on the fresh database, out of reach of the checkout's ``.env``."""
    monkeypatch.chdir(tmp_path)
    with commands_on(acting_as("blog_operator", blog_url)) as command:
        yield command


@pytest.fixture
def auth_command(auth_url: str, tmp_path: Path) -> AuthCommand:
    """``auth-service`` as a process on the fresh database."""

    async def run_to_its_end(
        arguments: str, typed: str = "", **settings: str
    ) -> CompletedProcess[str]:
        environment = {"AUTH_DATABASE_URL": acting_as("auth_operator", auth_url)} | settings
        command = f"auth-service {arguments}"
        return await asyncio.to_thread(run, command, environment, tmp_path, typed=typed.encode())

    return run_to_its_end


@pytest.fixture
async def people(
    blog_settings: blog_service.settings.ApiSettings, signing_key: rsa.RSAPrivateKey
) -> AsyncIterator[People]:
    async with people_of(blog_settings, signing_key) as people:
        yield people


@pytest.fixture
def blog(people: People) -> httpx.AsyncClient:
    return people.client


@pytest.fixture
async def empty_pair(
    api_settings: ApiSettings,
    relay_settings: RelaySettings,
    consumer_settings: blog_service.settings.ConsumerSettings,
    auth_engine: AsyncEngine,
    blog_engine: AsyncEngine,
) -> AsyncIterator[Pair]:
    """Both services at work, without users."""
    async with paired(
        api_settings, relay_settings, consumer_settings, auth_engine, blog_engine
    ) as pair:
        yield pair


@pytest.fixture
async def pair(empty_pair: Pair) -> Pair:
    """Two hundred users on both sides, twenty of them deleted, and both services at work."""
    await empty_pair.fill()
    return empty_pair
