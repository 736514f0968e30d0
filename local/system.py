"""Start and stop the whole system on this machine.

Guarantees: `up` is idempotent, even in parallel: running processes are left alone, stopped ones are
started. `down` stops only what was started here, and keeps all data.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from contracts.events.accounts import RELAY, consumer
from local import docker_rabbitmq, environment
from local.account import ensure_account
from local.addresses import Addresses, Ports, url
from local.broker import require_login
from local.broker_accounts import ensure_accounts
from local.databases import Database, ensure_databases
from local.errors import LocalError
from local.keys import ensure_keys
from local.lock import locked
from local.paths import LOCAL, LOGS, ROOT, program
from local.ports import free_port
from local.postgres import embedded
from local.processes import BackgroundProcess
from local.progress import say
from local.rabbitmq import find_broker, private_node
from service_kit.process.broker_addresses import split_addresses

_LOCK = LOCAL / "system.lock"

_PORT_PATIENCE_SECONDS = 2.0  # the port of a process that was just killed may still be in use
_MIGRATION_TIMEOUT_SECONDS = 300.0

_INJECTOR = "faults"


def up() -> Addresses:
    """Start what is not running, and wait until everything is ready.

    Raises:
        LocalError: a server or process is missing or does not start.
    """
    with locked(_LOCK):
        LOGS.mkdir(parents=True, exist_ok=True)
        ensure_keys()
        with ThreadPoolExecutor() as beside:
            # The broker takes longest to start; the databases are created meanwhile.
            brokers = beside.submit(_broker_urls)
            databases = ensure_databases()
            _migrate(databases)
            ensure_account(databases["AUTH"].operator)
            auth_amqp_url, blog_amqp_url = brokers.result()
        before = Addresses.load()
        ports = _choose_ports(before)
        addresses = Addresses(
            ports=ports,
            issuer=url(ports.auth) if before is None else before.issuer,
            auth_database_url=databases["AUTH"].operator,
            blog_database_url=databases["BLOG"].operator,
            auth_amqp_url=auth_amqp_url,
            blog_amqp_url=blog_amqp_url,
            owners={service: each.owner for service, each in databases.items()},
            roles={service: dict(each.roles) for service, each in databases.items()},
        )
        addresses.save()
        _start(processes(addresses))
        return addresses


def down() -> None:
    """Stop the processes and servers started here; data and settings stay."""
    with locked(_LOCK):
        known = _known_processes()
        # The injector first and alone: as it ends, it starts again what it has killed.
        _stop([each for each in known if each.name == _INJECTOR])
        _stop([each for each in known if each.name != _INJECTOR])
        if embedded().is_running():
            say("stopping PostgreSQL")
            embedded().stop()
        if private_node().is_running():
            say("stopping RabbitMQ")
        private_node().stop()
        docker_rabbitmq.stop()


def processes(addresses: Addresses) -> list[BackgroundProcess]:
    """Return the four processes and the fault injector, in the order in which they start."""
    ports = addresses.ports

    def settings(service: str, kind: str) -> dict[str, str]:
        # Each service gets only its own settings: a new key of the blog restarts the blog only.
        prefix = service.upper()
        return addresses.settings(f"{prefix}_") | addresses.role_of(prefix, kind)

    services = [
        BackgroundProcess(name, (f"{service}-service", kind), settings(service, kind), port)
        for name, service, kind, port in (
            ("auth-api", "auth", "api", ports.auth),
            ("relay", "auth", "relay", ports.relay),
            ("blog-api", "blog", "api", ports.blog),
            ("consumer", "blog", "consumer", ports.consumer),
        )
    ]
    return [*services, _fault_injector(addresses)]


def _fault_injector(addresses: Addresses) -> BackgroundProcess:
    """Return the process behind the console's page *Break it*; it reads the addresses itself."""
    told = json.dumps(asdict(addresses), sort_keys=True).encode()
    # So that it starts again with other addresses: they say which servers are ours to break.
    settings = {"LOCAL_ADDRESSES": hashlib.sha256(told).hexdigest()}
    command = ("python", "-m", "local", "faults")
    return BackgroundProcess(_INJECTOR, command, settings, addresses.ports.faults)


def process(name: str) -> BackgroundProcess:
    """Return one process by name: auth-api, relay, blog-api, consumer, faults.

    Raises:
        LocalError: there is no such process, or the system was never started.
    """
    for each in processes(Addresses.current()):
        if each.name == name:
            return each
    raise LocalError(f"There is no process {name}.")


def logs() -> None:
    """Show the end of every log; follow them on a terminal. Does not return."""
    files = [str(each.log) for each in _known_processes() if each.log.exists()]
    if not files:
        raise LocalError("There are no logs yet; run make up.")
    follow = ["-F"] if sys.stdout.isatty() else []
    os.execvp("tail", ["tail", "-n", "50", *follow, *files])


def _known_processes() -> list[BackgroundProcess]:
    found = Addresses.load()
    return [] if found is None else processes(found)


def _stop(some: list[BackgroundProcess]) -> None:
    """Stop those that run, all at once."""
    running = [each for each in some if each.is_running()]
    for each in running:
        say(f"stopping {each.name}")
    with ThreadPoolExecutor() as at_once:
        list(at_once.map(BackgroundProcess.stop, running))


def _start(all_processes: list[BackgroundProcess]) -> None:
    for each in all_processes:
        if each.start():
            say(f"starting {' '.join(each.command)}")
    for each in all_processes:
        each.wait_until_ready()


def _broker_urls() -> tuple[str, str]:
    auth, blog = (environment.amqp_url(service) for service in environment.SERVICES)
    if auth is not None and blog is not None:
        for each in dict.fromkeys((auth, blog)):
            require_login(each)
        return auth, blog
    found = ensure_accounts(find_broker())
    return found[RELAY], found[consumer("blog")]


def _migrate(databases: Mapping[str, Database]) -> None:
    """Migrate both databases to the newest schema, in parallel.

    Raises:
        LocalError: a migration fails; names the log.
    """

    def migrate(service: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(program("alembic")), "-n", service.lower(), "upgrade", "head"],
            cwd=ROOT,
            env=os.environ
            | {
                f"{service}_DATABASE_URL": databases[service].operator,
                f"{service}_MIGRATIONS_DATABASE_URL": databases[service].owner,
            },
            capture_output=True,
            text=True,
            timeout=_MIGRATION_TIMEOUT_SECONDS,
        )

    with ThreadPoolExecutor() as at_once:
        for service, done in zip(databases, at_once.map(migrate, databases), strict=True):
            if done.returncode != 0:
                log = LOGS / f"{service.lower()}-migrations.log"
                log.write_text(done.stdout + done.stderr)
                last = done.stderr.strip().rpartition("\n")[2]
                raise LocalError(
                    f"The {service.lower()} database cannot be migrated: {last} (see {log})."
                )


def _choose_ports(before: Addresses | None) -> Ports:
    """Return the ports of the last start, else the usual ones, unless they are in use."""
    if before is None:
        return Ports(**{name: free_port(port) for name, port in asdict(Ports()).items()})
    running = {each.port for each in processes(before) if each.is_running()}
    return Ports(
        **{
            name: port if port in running else free_port(port, _PORT_PATIENCE_SECONDS)
            for name, port in asdict(before.ports).items()
        }
    )


def servers(found: Addresses) -> dict[str, str]:
    """Describe the servers that the system uses and who owns them; without passwords."""
    return {"PostgreSQL": _postgres_state(), "RabbitMQ": _rabbitmq_state(found)}


def _postgres_state() -> str:
    server = embedded()
    names = [
        f"{s}_DATABASE_URL" for s in environment.SERVICES if environment.database_url(s) is not None
    ]
    states = [f"from the environment ({' and '.join(names)})"] if names else []
    if len(names) < len(environment.SERVICES):
        pid = f"pid {server.pid}" if server.pid else "not running"
        states.append(f"this checkout's own, {pid}, {server.folder}")
    return "; ".join(states)


def _rabbitmq_state(found: Addresses) -> str:
    both = split_addresses(f"{found.auth_amqp_url} {found.blog_amqp_url}")
    places = dict.fromkeys(address.rpartition("@")[2] for address in both)
    place = " and ".join(places)
    node = private_node()
    if environment.amqp_url("AUTH") is not None:
        return f"from the environment (AUTH_AMQP_URL, BLOG_AMQP_URL), {place}"
    if node.is_running():
        return f"this checkout's own, pid {node.pid}, {place}"
    if docker_rabbitmq.is_running():
        return f"this checkout's own container, {place}"
    return f"found on this machine, in a virtual host of this checkout's own, {place}"
