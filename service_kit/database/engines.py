"""Make engines: a pool for requests and workers, or one session with limits of its own.

Guarantees: every session sets what the code relies on (``sessions``), is refused unless the
database is suitable, and is checked when it is taken from the pool, without a round trip: one
that the server has ended, or that has been read-only for a second, is replaced. An error of a
server that is not a primary removes every session from the pool.
"""

import os
import select
import socket
import time
from typing import Any, Final, Protocol, cast

import asyncpg
import structlog
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from service_kit.database.address import TLS, Address, read
from service_kit.database.away import DatabaseRefused, sqlstate
from service_kit.database.pooler import (
    REFUSES_PARAMETER,
    WITHOUT_CACHE,
    PooledConnection,
    is_lent,
    opening,
)
from service_kit.database.sessions import (
    AT_LEAST_ON,
    ENCODING,
    NEEDS_OWN_SESSION,
    SINCE_17,
    Session,
    UnsuitableDatabase,
    is_server_gone,
    is_session_gone,
    is_spent,
    require_suitable,
)
from service_kit.process.tls import why_refused

log = structlog.get_logger()

CONNECT_TIMEOUT_SECONDS: Final = 5
"""A database that is there accepts in milliseconds."""

GRACE_SECONDS: Final = 2
"""How much longer than the server the client waits for a statement; then the server is silent."""

_KEEPALIVE: Final = {
    # A peer that vanished is noticed within a minute though nothing is sent, and a firewall that
    # forgets idle connections keeps seeing these.
    socket.TCP_KEEPIDLE: 30,
    socket.TCP_KEEPINTVL: 10,
    socket.TCP_KEEPCNT: 3,
}


class Database(Protocol):
    """The settings of a service's database."""

    @property
    def application_name(self) -> str:
        """What the sessions of a pool are called in ``pg_stat_activity``."""

    @property
    def database_url(self) -> str:
        """Its address, for SQLAlchemy."""

    @property
    def database_schema(self) -> str:
        """Where its tables are."""

    @property
    def needs_own_session(self) -> bool:
        """Whether the process cannot work through a pooler."""

    @property
    def database_connections_max(self) -> int:
        """How many connections a pool has."""

    @property
    def statement_timeout_ms(self) -> int:
        """The longest statement of a request."""

    @property
    def lock_timeout_ms(self) -> int:
        """The longest wait of a request for a lock."""


def aside(settings: Database) -> AsyncEngine:
    """Make an engine of one connection, for what must not wait behind requests, such as probes."""
    return pooled(settings, connections=1)


def pooled(settings: Database, *, connections: int | None = None) -> AsyncEngine:
    """Make an engine of bounded size, with the limits of requests; it connects on first use.

    ``connections`` is its size; by default, as the settings say.
    """
    session = Session(
        settings.application_name,
        settings.database_schema,
        statement_ms=settings.statement_timeout_ms,
        lock_ms=settings.lock_timeout_ms,
        idle_in_transaction_ms=2 * settings.statement_timeout_ms,
        is_own=settings.needs_own_session,
    )
    seconds = settings.statement_timeout_ms / 1000
    return _engine(
        settings.database_url,
        session,
        command_seconds=seconds + GRACE_SECONDS,
        pool_size=connections or settings.database_connections_max,
        max_overflow=0,
        pool_timeout=seconds,
    )


def unpooled(
    database_url: str,
    session: Session,
    *,
    command_seconds: float | None = None,
    isolation_level: str | None = None,
) -> AsyncEngine:
    """An engine whose every connection is a new session.

    Parameters:
        session: what it sets.
        command_seconds: when to give a statement up though the server is silent.
        isolation_level: as SQLAlchemy names it; None is read committed, in transactions.
    """
    options: dict[str, Any] = {"poolclass": NullPool}
    if isolation_level is not None:
        options["isolation_level"] = isolation_level
    return _engine(database_url, session, command_seconds=command_seconds, **options)


def autocommitting(engine: AsyncEngine) -> AsyncEngine:
    """Return ``engine`` and its pool, with connections on which each statement is a transaction.

    For what is one statement anyway: BEGIN and ROLLBACK are two more round trips, and cost as much
    as the statement.
    """
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def _engine(
    database_url: str,
    session: Session,
    *,
    command_seconds: float | None,
    **options: Any,
) -> AsyncEngine:
    address = read(database_url)
    arguments: dict[str, Any] = {
        "async_creator_fn": _Connector(session, address).connect,
        "timeout": CONNECT_TIMEOUT_SECONDS,
        "command_timeout": command_seconds,
    }
    engine = create_async_engine(
        address.url, hide_parameters=True, connect_args=arguments, **options
    )
    event.listen(engine.sync_engine, "checkout", _look_at)
    event.listen(engine.sync_engine, "handle_error", _judge)
    return engine


class _Connector:
    """Connects, and makes of each connection the session that it has to be."""

    def __init__(self, session: Session, address: Address) -> None:
        self._session = session
        self._address = address
        self._added = SINCE_17
        self._is_pooled = False
        self._logged: str | None = None

    async def connect(self, *args: Any, **options: Any) -> "asyncpg.Connection[Any]":
        """A session, or a connection to a pooler that lends one for each transaction.

        Raises:
            UnsuitableDatabase: the database has another encoding, or there is a pooler, and the
                session has to be one of PostgreSQL itself.
        """
        driver = None if self._is_pooled else await self._directly(*args, **options)
        if driver is None:
            if self._session.is_own:
                raise UnsuitableDatabase(NEEDS_OWN_SESSION)
            self._is_pooled = True
            driver = await self._through_pooler(*args, **options)
        try:
            require_suitable(
                server_encoding=getattr(driver.get_settings(), "server_encoding", ENCODING),
                database=options.get("database") or options["user"],
                owner=options["user"],
            )
            _keep_alive(driver)
        except BaseException:
            driver.terminate()
            raise
        return driver

    async def _directly(self, *args: Any, **options: Any) -> "asyncpg.Connection[Any] | None":
        """A session with its settings; None if there is a pooler."""
        try:
            driver = await self._connect(self._session.startup() | self._added, *args, **options)
        except asyncpg.UndefinedObjectError:
            if not self._added:
                raise
            self._added = {}  # an older server
            driver = await self._connect(self._session.startup(), *args, **options)
        except asyncpg.ProtocolViolationError as error:
            if REFUSES_PARAMETER in str(error):
                return None
            raise
        try:
            is_pooled = await is_lent(driver, f"{AT_LEAST_ON};" if self._session.is_durable else "")
        except BaseException:
            driver.terminate()
            raise
        if is_pooled:  # it ignores parameters
            driver.terminate()
            return None
        return driver

    async def _through_pooler(self, *args: Any, **options: Any) -> "asyncpg.Connection[Any]":
        name = {"application_name": self._session.application_name}
        driver = await self._connect(name, *args, **options, **WITHOUT_CACHE)
        cast(PooledConnection, driver).opening = opening(self._session)
        return driver

    async def _connect(
        self, settings: dict[str, str], *args: Any, **options: Any
    ) -> "asyncpg.Connection[Any]":
        """Connect to the first server that responds and will do.

        Each has its share of the time: one whose machine has vanished must not use up all of it.
        """
        servers = _servers(options.pop("host", None), options.pop("port", None))
        options["timeout"] /= len(servers)
        errors: list[Exception] = []
        for host, port in servers:
            try:
                driver = await self._connect_to(
                    host, *args, port=port, server_settings=settings, **options
                )
            except (OSError, asyncpg.CannotConnectNowError) as error:
                errors.insert(0, error)
            except asyncpg.TargetServerAttributeNotMatched as error:
                errors.append(error)  # says the least
            else:
                self._logged = None
                return driver
        raise errors[0]

    async def _connect_to(
        self, host: str | None, *args: Any, **options: Any
    ) -> "asyncpg.Connection[Any]":
        options["target_session_attrs"] = self._address.target
        try:
            options["ssl"] = self._address.context()
            driver: asyncpg.Connection[Any] = await asyncpg.connect(*args, host=host, **options)
        except OSError as error:
            why = _why_not_over_tls(error, host or "localhost")
            if why is None:
                raise
            if why != self._logged and structlog.is_configured():  # a command has no log
                log.warning("database.refused", reason=why)
                self._logged = why
            raise DatabaseRefused(why) from None
        except ValueError as error:  # a file was there at the start
            raise DatabaseRefused(f"{TLS.setting}: {error}") from None
        return driver


def _servers(hosts: Any, ports: Any) -> list[tuple[str | None, int | None]]:
    """Each server that the dialect found in the address."""
    if isinstance(hosts, list):
        return list(zip(hosts, ports, strict=True))
    return [(hosts, ports)]


def _why_not_over_tls(error: OSError, host: str) -> str | None:
    place = f"TLS with the database on {host} fails"
    if "rejected SSL upgrade" in str(error):
        return (
            f"{place}: the server does not offer it; turn it on there (ssl = on), or write"
            f" sslmode=disable in {TLS.setting}"
        )
    why = why_refused(error, TLS, host)
    return None if why is None else f"{place}: {why}"


def _look_at(adapted: Any, entry: ConnectionPoolEntry, _: object) -> None:
    """Refuse a pooled connection that is over; the pool replaces it.

    Raises:
        DisconnectionError: how the pool learns of it.
    """
    driver = adapted.driver_connection
    if driver.is_closed() or _has_unread(driver):
        raise DisconnectionError("the server has ended this session")
    made = entry.info.setdefault("made", time.monotonic())
    if is_spent(is_read_only=_is_read_only(driver), age_seconds=time.monotonic() - made):
        raise DisconnectionError("this session has been read-only for a while")


def _is_read_only(driver: Any) -> bool:
    """What the server last reported of itself: a standby, or without permission to write."""
    reported = driver.get_settings()
    return "on" in (
        getattr(reported, "in_hot_standby", "off"),
        getattr(reported, "default_transaction_read_only", "off"),
    )


def _has_unread(driver: Any) -> bool:
    """Whether the server has said something that nobody has read yet.

    To an idle session that does not LISTEN it only ever says goodbye.
    """
    number = _descriptor(driver)
    if number is None:
        return False
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))


def _descriptor(driver: Any) -> int | None:
    """The descriptor of the connection's socket, for which the driver has no public name."""
    transport = getattr(driver, "_transport", None)
    own = None if transport is None else transport.get_extra_info("socket")
    return None if own is None or own.fileno() < 0 else own.fileno()


def _keep_alive(driver: Any) -> None:
    number = _descriptor(driver)
    if number is None:
        return
    with socket.socket(fileno=os.dup(number)) as own:
        if own.family in (socket.AF_INET, socket.AF_INET6):
            own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEEPALIVE.items():
                own.setsockopt(socket.IPPROTO_TCP, option, value)


def ends_session(error: BaseException) -> bool:
    """Whether an error of the driver says that its session is good for nothing more."""
    if isinstance(error, asyncpg.InterfaceError):
        return not isinstance(error, ValueError)  # a value that cannot be sent is the caller's
    # The driver lost its place in what the server says, or the connection broke, or is silent.
    lost = asyncpg.InternalClientError | ConnectionError | TimeoutError
    return isinstance(error, lost) or is_session_gone(sqlstate(error))


def _judge(context: ExceptionContext) -> None:
    """Have a session thrown away after an error that it, or its server, will not get over."""
    original = context.original_exception
    # SQLAlchemy's error stands around the driver's.
    errors = [error for error in (original, original.__cause__) if error is not None]
    if any(is_server_gone(sqlstate(error)) for error in errors):
        context.is_disconnect = True
    elif not context.is_disconnect and any(map(ends_session, errors)):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False
