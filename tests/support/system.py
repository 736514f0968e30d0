"""The whole system: its four processes on databases and a virtual host of a test."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from auth_service.services.administer import create_service
from auth_service.settings import KeySettings
from local.limits import LIMITS
from local.ports import free_port
from service_kit.database.engines import pooled
from tests.support.builders import SOURCE
from tests.support.processes import Process
from tests.support.proxy import Proxy, proxy_to

COMMANDS = ("auth-service api", "auth-service relay", "blog-service api", "blog-service consumer")
ACCOUNT_SCOPES = ("users:reconcile", "replays:write")
_PORTS = dict(
    zip(
        COMMANDS,
        ("AUTH_PORT", "AUTH_RELAY_PORT", "BLOG_PORT", "BLOG_CONSUMER_PORT"),
        strict=True,
    )
)


@dataclass(frozen=True)
class System:
    """Where the parts are; processes are made from it as often as a test needs them."""

    auth_url: str
    blog_url: str
    amqp_url: str
    private_pem: str
    public_pem: str
    folder: Path
    account: Mapping[str, str] = field(default_factory=dict)
    """The blog's settings for comparing itself with the source; none unless a test wants them."""

    async def with_account(self, auth_api_url: str) -> "System":
        """The same, in which the blog may compare itself, as an account that is made here.

        Parameters:
            auth_api_url: where the auth API will be: of a process that is made before.
        """
        settings = KeySettings(
            database_url=self.auth_url, private_key=SecretStr(self.private_pem), secret=None
        )
        engine = pooled(settings)
        try:
            issued = await create_service(
                engine,
                settings.secrets,
                name="blog",
                scopes=ACCOUNT_SCOPES,
                key_days=1,
                actor="operator:test",
            )
        finally:
            await engine.dispose()
        account = {
            "BLOG_AUTH_URL": auth_api_url,
            "BLOG_SERVICE_ID": issued.id,
            "BLOG_API_KEY": issued.api_key,
        }
        return replace(self, account=account)

    @property
    def environment(self) -> dict[str, str]:
        """The settings of both services."""
        return {
            "AUTH_DATABASE_URL": self.auth_url,
            "AUTH_AMQP_URL": self.amqp_url,
            "AUTH_ISSUER": SOURCE,
            "AUTH_PRIVATE_KEY": self.private_pem,
            **LIMITS,
            "BLOG_DATABASE_URL": self.blog_url,
            "BLOG_AMQP_URL": self.amqp_url,
            "BLOG_ISSUER": SOURCE,
            "BLOG_PUBLIC_KEY": self.public_pem,
            **self.account,
        }

    def process(self, command: str, port: int | None = None, /, **settings: object) -> "Member":
        """One of the processes on a port, else one of its own, with more settings; not started."""
        port = port or free_port()
        environment = {**self.environment, _PORTS[command]: str(port)}
        environment |= {name: str(value) for name, value in settings.items()}
        log = self.folder / f"{command.replace(' ', '-')}-{port}.log"
        return Member(command, environment, log, f"http://127.0.0.1:{port}")

    def logs(self) -> dict[str, str]:
        """What every process wrote, by file."""
        return {log.name: log.read_text() for log in self.folder.glob("*.log")}


class Member(Process):
    """A process with the address at which it answers."""

    def __init__(self, command: str, environment: dict[str, str], log: Path, url: str) -> None:
        super().__init__(command, environment, log)
        self.url = url

    async def ready(self) -> None:
        """Start it unless it runs, and wait until it is ready."""
        if not self.is_running:
            self.start()
        await self.is_ready(f"{self.url}/readyz", within=60)

    async def metric(self, line: str) -> float:
        """The value of a metric, named with its labels; 0 when it is not there."""
        async with httpx.AsyncClient(trust_env=False) as client:
            metrics = (await client.get(f"{self.url}/metrics")).text
        values = [text.split()[-1] for text in metrics.splitlines() if text.startswith(f"{line} ")]
        return float(values[0]) if values else 0.0


@contextmanager
def ended(*processes: Process) -> Iterator[None]:
    """Processes that are killed after the block, whatever happened in it."""
    try:
        yield
    finally:
        for process in processes:
            process.kill()


@asynccontextmanager
async def broker_behind_a_proxy(amqp_url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy to the broker, and the virtual host's address through it."""
    parts = urlsplit(amqp_url)
    async with proxy_to(parts.hostname or "127.0.0.1", parts.port or 5672) as proxy:
        yield proxy, through(proxy, amqp_url)


def through(proxy: Proxy, amqp_url: str) -> str:
    """The address of the same virtual host, through the proxy."""
    parts = urlsplit(amqp_url)
    place = f"{parts.username}:{parts.password}@127.0.0.1:{proxy.port}"
    return parts._replace(netloc=place).geturl()
