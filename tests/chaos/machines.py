"""The servers under attack: one PostgreSQL for each service, and a RabbitMQ node.

They are kept from one schedule to the next; databases and the virtual host are new for each.
Services reach them through proxies, whose addresses survive a failover and every restart.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from sqlalchemy.engine import make_url

from local import node_configuration
from local.embedded_postgres import EmbeddedPostgres
from local.node_configuration import NodePorts
from local.private_rabbitmq import PrivateRabbitMQ
from tests.support.broker_accounts import as_consumer, as_relay, create_vhost
from tests.support.database_roles import admit_roles, create_roles
from tests.support.databases import migrate
from tests.support.eventually import eventually
from tests.support.proxy import Proxy, proxy_to
from tests.support.servers import folder_for_servers
from tests.support.standby import (
    PORT,
    copy_server,
    has_standby,
    leave_behind,
    sockets_of,
    url_through,
)
from tests.support.system import through

VHOST: Final = "chaos"

ELECTION_SECONDS: Final = 2.0
"""After a start of the broker until something is deleted there. RabbitMQ 3.10 breaks for good if a
quorum queue whose dead-lettering is at-least-once is deleted while it elects its leader."""

KEEPS_COMMIT_TIMES: Final = "ALTER SYSTEM SET track_commit_timestamp = on"
"""From the server's next start. Its copies do it too, and date a commit as it does."""


class DatabaseMachine:
    """The PostgreSQL server of one service, with a standby when a schedule needs one."""

    def __init__(self, service: str, folder: Path) -> None:
        self.service = service
        self._primary = EmbeddedPostgres(folder / f"{service}-1", durable=False)
        self._standby = EmbeddedPostgres(folder / f"{service}-2", durable=False)
        self.proxy = Proxy(sockets_of(self._primary.server), PORT)

    @property
    def url(self) -> str:
        """The address for the services, before a failover and after it."""
        return url_through(self.proxy, self._primary.server.url(self.service))

    @property
    def direct_url(self) -> str:
        return self._primary.server.url(self.service)

    @property
    def standby_url(self) -> str:
        return self._standby.server.url(self.service)

    async def open(self) -> None:
        await self.proxy.open()
        await asyncio.to_thread(self._start_first)

    def _start_first(self) -> None:
        self._primary.start().execute(KEEPS_COMMIT_TIMES)
        server = self._primary.restart()
        create_roles(server)
        server.create_database(self._template)
        migrate(self.service, server.url(self._template))

    @property
    def _template(self) -> str:
        return f"{self.service}_template"

    async def renew(self, *, standby: bool) -> None:
        """Make a new database; copy the server to a standby if it is going to fail over."""
        self.proxy.move(sockets_of(self._primary.server), PORT)
        await asyncio.to_thread(self._renew, standby)
        if standby:
            await eventually(lambda: has_standby(self._primary))

    def _renew(self, standby: bool) -> None:
        self._standby.kill()
        shutil.rmtree(self._standby.folder, ignore_errors=True)
        server = self._primary.start()
        server.drop_database(self.service)
        server.clone_database(self._template, self.service)
        admit_roles(server, self.service, self.service)
        if standby:
            copy_server(self._primary, self._standby.folder)
            self._standby.start()

    async def restart(self, *, crash: bool, away_seconds: float) -> None:
        """Stop or kill the server, and start it again after a while."""
        await asyncio.to_thread(self._primary.kill if crash else self._primary.stop)
        await asyncio.sleep(away_seconds)
        await asyncio.to_thread(self._primary.start)

    def fall_behind(self) -> None:
        """Send nothing more to the standby; commits on the primary continue."""
        leave_behind(self._primary)

    async def isolate(self) -> None:
        """Cut the services off from the primary, as a failing network does before a failover."""
        self.proxy.refuse()
        await eventually(lambda: asyncio.to_thread(self._is_idle), within=10)

    def _is_idle(self) -> bool:
        """Whether no session of the services is left that could still commit."""
        rows = self._primary.server.execute(
            "SELECT 1 FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'"
            " AND application_name NOT LIKE 'chaos%'",
            self.service,
        )
        return not rows

    async def fail_over(self) -> None:
        """Kill the primary, promote the standby, and move the address to it."""
        await asyncio.to_thread(self._primary.kill)
        await asyncio.to_thread(self._standby.server.execute, "SELECT pg_promote()")
        self._primary, self._standby = self._standby, self._primary
        self.proxy.move(sockets_of(self._primary.server), PORT)
        self.proxy.refuse(False)

    async def close(self) -> None:
        await self.proxy.close()
        for server in (self._primary, self._standby):
            await asyncio.to_thread(server.kill)


class BrokerMachine:
    """A RabbitMQ node, with a proxy for the relays and one for the consumers."""

    def __init__(self, folder: Path) -> None:
        self.node = PrivateRabbitMQ(folder / "mq")

    @property
    def url(self) -> str:
        """The virtual host's address, past the proxies."""
        return self.node.broker.amqp_url(VHOST)

    async def renew(self) -> None:
        """Make a new virtual host; start the node if a run has left it down."""
        await asyncio.to_thread(self.node.start)
        await self.delete_vhost()
        await self.create_vhost()

    async def delete_vhost(self) -> None:
        await asyncio.to_thread(self.node.broker.delete_vhost, VHOST)

    async def create_vhost(self) -> None:
        await asyncio.to_thread(create_vhost, self.node.broker, VHOST)

    async def trace(self) -> None:
        """Have the broker copy each publication to its exchange for traces."""
        call = self.node.broker._call
        await asyncio.to_thread(call, "PUT", f"vhosts/{VHOST}", {"tracing": True})

    async def restart(self, *, crash: bool, away_seconds: float) -> None:
        """Stop or kill the node, and start it again after a while."""
        await asyncio.to_thread(self.node.kill if crash else self.node.stop)
        await asyncio.sleep(away_seconds)
        await asyncio.to_thread(self.node.start)
        await asyncio.sleep(ELECTION_SECONDS)

    async def reset(self) -> None:
        """Start again from nothing: a broken queue breaks later ones of its name."""
        await asyncio.to_thread(self.node.kill)
        shutil.rmtree(self.node.folder / "data", ignore_errors=True)
        await asyncio.to_thread(self.node.start)

    async def alarm(self, resource: str, seconds: float) -> None:
        """Raise an alarm of the node, ``memory`` or ``disk``, which blocks publishers."""
        alarm = f"{{{{resource_limit, {resource}, node()}}, []}}"
        cleared = f"{{resource_limit, {resource}, node()}}"
        await self._evaluate(
            f"rabbit_alarm:set_alarm({alarm}),"
            f"timer:apply_after({seconds * 1000:.0f}, rabbit_alarm, clear_alarm, [{cleared}])."
        )
        await asyncio.sleep(seconds)

    async def _evaluate(self, expression: str) -> None:
        ports = self.node._ports()
        program = node_configuration.program()
        assert isinstance(ports, NodePorts)
        assert program is not None
        running = await asyncio.create_subprocess_exec(
            str(program.with_name("rabbitmqctl")),
            *("eval", expression),
            env=node_configuration.environment(self.node.folder, ports, os.environ),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await running.communicate()
        assert running.returncode == 0, printed.decode()


class Machines:
    """All servers, and the proxies by the names of ``schedule.LINKS``."""

    def __init__(self, folder: Path) -> None:
        self.databases = {name: DatabaseMachine(name, folder) for name in ("auth", "blog")}
        self.broker = BrokerMachine(folder)
        self.links: dict[str, Proxy] = {}

    def restore_links(self) -> None:
        """Let everything pass again, also after a run that failed."""
        for link in self.links.values():
            link.refuse(False)
            link.swallow_requests(False)
            link.swallow_answers(False)

    @property
    def relay_amqp_url(self) -> str:
        return as_relay(through(self.links["broker of the relays"], self.broker.url))

    @property
    def consumer_amqp_url(self) -> str:
        return as_consumer(through(self.links["broker of the consumers"], self.broker.url))


@asynccontextmanager
async def machines() -> AsyncIterator[Machines]:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(folder_for_servers())
        made = Machines(folder)
        stack.callback(made.broker.node.stop)
        stack.callback(made.broker.node.kill)
        for database in made.databases.values():
            stack.push_async_callback(database.close)
        await asyncio.gather(
            asyncio.to_thread(made.broker.node.start),
            *(database.open() for database in made.databases.values()),
        )
        made.links = {f"{name} database": each.proxy for name, each in made.databases.items()}
        parts = make_url(made.broker.url)
        for side in ("relays", "consumers"):
            proxy = await stack.enter_async_context(
                proxy_to(parts.host or "127.0.0.1", parts.port or 5672)
            )
            made.links[f"broker of the {side}"] = proxy
        yield made
