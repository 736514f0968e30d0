"""The whole system: its four processes, on databases and a virtual host of the test."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from subprocess import CompletedProcess
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from auth_service.settings import KeySettings, RelaySettings
from local.broker import Broker
from local.limits import LIMITS
from local.ports import free_port
from local.shutdown import NO_DELAY
from service_kit.http import trusted
from tests.support.auth_api import a_service_account
from tests.support.broker_accounts import as_consumer, as_relay
from tests.support.builders import SOURCE
from tests.support.database_roles import acting_as
from tests.support.databases import Databases
from tests.support.processes import Process, run
from tests.support.proxy import Proxy, proxy_to
from tests.support.virtual_hosts import VirtualHosts

COMMANDS = ("auth-service api", "auth-service relay", "blog-service api", "blog-service consumer")
ACCOUNT_SCOPES = ("users:reconcile", "replays:write")
_PORTS = dict(
    zip(COMMANDS, ("AUTH_PORT", "AUTH_RELAY_PORT", "BLOG_PORT", "BLOG_CONSUMER_PORT"), strict=True)
)


@dataclass(frozen=True)
class System:
    """Addresses and keys of the parts; tests create processes from it as they need them."""

    auth_url: str
    blog_url: str
    amqp_url: str
    """An administrator's, for tests; the processes have accounts of their own."""
    private_pem: str
    public_pem: str
    folder: Path
    account: Mapping[str, str] = field(default_factory=dict)
    """The blog's settings for comparisons with the source; empty unless a test needs them."""
    installed: bool = False
    """Whether its processes are the installed programs, not forks."""

    async def with_account(self, auth_api_url: str) -> "System":
        """Return a system whose blog can compare itself, with a new service account.

        Parameters:
            auth_api_url: the URL of the auth API, whose process may start later.
        """
        settings = KeySettings(
            database_url=self.auth_url, private_key=SecretStr(self.private_pem), secret=None
        )
        issued = await a_service_account(settings, "blog", *ACCOUNT_SCOPES)
        account = {
            "BLOG_AUTH_URL": auth_api_url,
            "BLOG_SERVICE_ID": issued.id,
            "BLOG_API_KEY": issued.api_key,
        }
        return replace(self, account=account)

    @property
    def environment(self) -> dict[str, str]:
        """The settings of operators' commands; a process has a role of its own."""
        return {
            "AUTH_DATABASE_URL": acting_as("auth_operator", self.auth_url),
            "AUTH_AMQP_URL": as_relay(self.amqp_url),
            "AUTH_ISSUER": SOURCE,
            "AUTH_PRIVATE_KEY": self.private_pem,
            **LIMITS,
            **NO_DELAY,
            "BLOG_DATABASE_URL": acting_as("blog_operator", self.blog_url),
            "BLOG_AMQP_URL": as_consumer(self.amqp_url),
            "BLOG_ISSUER": SOURCE,
            "BLOG_PUBLIC_KEY": self.public_pem,
            **self.account,
        }

    def process(self, command: str, port: int | None = None, /, **settings: object) -> "Member":
        """Return one of the processes, not started, on ``port`` or a free one.

        ``None`` removes a setting.
        """
        environment = self.environment | self._role_of(command) | settings
        return _member(command, environment, self.folder, port, installed=self.installed)

    def _role_of(self, command: str) -> dict[str, str]:
        """The address of a process's own database, with its own role."""
        service, _, kind = command.partition("-service ")
        urls = {"auth": self.auth_url, "blog": self.blog_url}
        address = acting_as(f"{service}_{kind}", urls[service])
        return {f"{service.upper()}_DATABASE_URL": address}

    async def command(
        self, command: str, *, typed: str = "", code: int = 0, **settings: str
    ) -> CompletedProcess[str]:
        """Run an operator's command, which must end with this code."""
        environment = self.environment | settings
        ended = await asyncio.to_thread(
            run, command, environment, self.folder, typed=typed.encode()
        )
        assert ended.returncode == code, ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr, ended.stderr
        return ended

    def logs(self) -> dict[str, str]:
        return {log.name: log.read_text() for log in self.folder.glob("*.log")}


@contextmanager
def new_system(
    databases: Databases, broker: Broker, vhosts: VirtualHosts, keys: tuple[str, str], folder: Path
) -> Iterator[System]:
    """Yield a system on new databases and a new virtual host.

    Parameters:
        keys: the private and the public key, as PEM.
    """
    vhost = vhosts.take()
    auth_url, blog_url = databases.make("auth"), databases.make("blog")
    yield System(auth_url, blog_url, broker.amqp_url(vhost), *keys, folder)
    databases.drop(auth_url)
    databases.drop(blog_url)
    vhosts.give_back(vhost)


class Member(Process):
    """A process and the URL at which it responds."""

    def __init__(
        self, command: str, environment: dict[str, str], log: Path, url: str, *, installed: bool
    ) -> None:
        super().__init__(command, environment, log, installed=installed)
        self.url = url

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def ready(self) -> None:
        """Start the process unless it runs, and wait until it is ready."""
        if not self.is_running:
            self.start()
        await self.is_ready(f"{self.url}/readyz", within=60)

    def client(self) -> httpx.AsyncClient:
        """Return a client of its URL that ignores the proxies of the environment."""
        return httpx.AsyncClient(
            base_url=self.url, trust_env=False, verify=trusted.authorities(), timeout=20
        )

    async def metric(self, line: str) -> float:
        """Return the value of a metric, named with its labels, or 0 if it is absent."""
        async with self.client() as client:
            metrics = (await client.get("/metrics")).text
        values = [text.split()[-1] for text in metrics.splitlines() if text.startswith(f"{line} ")]
        return float(values[0]) if values else 0.0


@asynccontextmanager
async def consumer_process(
    blog_url: str, amqp_url: str, folder: Path, **settings: object
) -> AsyncIterator[Member]:
    """Yield a blog's consumer that a test may start, with these settings; kill it in the end."""
    role, account = acting_as("blog_consumer", blog_url), as_consumer(amqp_url)
    environment = {"BLOG_DATABASE_URL": role, "BLOG_AMQP_URL": account, **settings}
    with ended(consumer := _member("blog-service consumer", environment, folder)):
        yield consumer


@contextmanager
def relay_process(settings: RelaySettings, folder: Path) -> Iterator[Member]:
    """Yield a relay that a test may start, with these settings; kill it in the end."""
    names = ("database_url", "amqp_url", "issuer")
    environment = {f"AUTH_{name.upper()}": getattr(settings, name) for name in names}
    with ended(relay := _member("auth-service relay", environment, folder)):
        yield relay


def _member(
    command: str,
    environment: Mapping[str, object],
    folder: Path,
    port: int | None = None,
    *,
    installed: bool = False,
) -> Member:
    port = port or free_port()
    values = {name: str(value) for name, value in environment.items() if value is not None}
    log = folder / f"{command.replace(' ', '-')}-{port}.log"
    values[_PORTS[command]] = str(port)
    return Member(command, values, log, f"http://127.0.0.1:{port}", installed=installed)


@contextmanager
def ended(*processes: Process) -> Iterator[None]:
    try:
        yield
    finally:
        for process in processes:
            process.kill()


@asynccontextmanager
async def at_work(*members: Member) -> AsyncIterator[None]:
    """Start the processes, wait until all are ready, and kill them in the end."""
    with ended(*members):
        await asyncio.gather(*(member.ready() for member in members))
        yield


@asynccontextmanager
async def broker_behind_a_proxy(amqp_url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """Run a proxy to the broker; yield it with the virtual host's URL through it."""
    parts = urlsplit(amqp_url)
    async with proxy_to(parts.hostname or "127.0.0.1", parts.port or 5672) as proxy:
        yield proxy, through(proxy, amqp_url)


def through(proxy: Proxy, amqp_url: str) -> str:
    """Return the URL of the same virtual host through the proxy."""
    parts = urlsplit(amqp_url)
    place = f"{parts.username}:{parts.password}@127.0.0.1:{proxy.port}"
    return parts._replace(netloc=place).geturl()
