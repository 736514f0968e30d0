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
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from service_kit.database.away import sqlstate
from service_kit.database.sessions import (
    AT_LEAST_ON,
    ENCODING,
    SINCE_17,
    Session,
    is_server_gone,
    is_session_gone,
    is_spent,
    require_suitable,
)

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
    def database_connections_max(self) -> int:
        """How many connections a pool has."""

    @property
    def statement_timeout_ms(self) -> int:
        """The longest statement of a request."""

    @property
    def lock_timeout_ms(self) -> int:
        """The longest wait of a request for a lock."""


def pooled(settings: Database) -> AsyncEngine:
    """Make an engine of bounded size, with the limits of requests; it connects on first use."""
    session = Session(
        settings.application_name,
        settings.database_schema,
        statement_ms=settings.statement_timeout_ms,
        lock_ms=settings.lock_timeout_ms,
        idle_in_transaction_ms=2 * settings.statement_timeout_ms,
    )
    seconds = settings.statement_timeout_ms / 1000
    return _engine(
        settings.database_url,
        session,
        command_seconds=seconds + GRACE_SECONDS,
        pool_size=settings.database_connections_max,
        max_overflow=0,
        pool_timeout=seconds,
    )


def unpooled(
    database_url: str,
    session: Session,
    *,
    command_seconds: float | None = None,
    isolation_level: str | None = None,
    names_statements: bool = True,
) -> AsyncEngine:
    """An engine whose every connection is a new session.

    Parameters:
        session: what it sets.
        command_seconds: when to give a statement up though the server is silent.
        isolation_level: as SQLAlchemy names it; None is read committed, in transactions.
        names_statements: whether prepared statements stay in the session, by name. Behind a pooler
            the next one to get that session would meet them.
    """
    options: dict[str, Any] = {"poolclass": NullPool}
    if isolation_level is not None:
        options["isolation_level"] = isolation_level
    more = {} if names_statements else _WITHOUT_NAMES
    return _engine(database_url, session, more, command_seconds=command_seconds, **options)


def autocommitting(engine: AsyncEngine) -> AsyncEngine:
    """Return ``engine`` and its pool, with connections on which each statement is a transaction.

    For what is one statement anyway: BEGIN and ROLLBACK are two more round trips, and cost as much
    as the statement.
    """
    return engine.execution_options(isolation_level="AUTOCOMMIT")


_WITHOUT_NAMES: Final = {
    "statement_cache_size": 0,  # the driver's
    "prepared_statement_cache_size": 0,  # SQLAlchemy's
    "prepared_statement_name_func": lambda: "",
}


def _engine(
    database_url: str,
    session: Session,
    more: Mapping[str, Any] = MappingProxyType({}),
    *,
    command_seconds: float | None,
    **options: Any,
) -> AsyncEngine:
    arguments: dict[str, Any] = {
        "async_creator_fn": _Connector(session).connect,
        "timeout": CONNECT_TIMEOUT_SECONDS,
        "command_timeout": command_seconds,
        **more,
    }
    if _names_several_servers(database_url):
        arguments["target_session_attrs"] = "read-write"
    engine = create_async_engine(
        database_url, hide_parameters=True, connect_args=arguments, **options
    )
    event.listen(engine.sync_engine, "checkout", _look_at)
    event.listen(engine.sync_engine, "handle_error", _judge)
    return engine


def _names_several_servers(database_url: str) -> bool:
    """Whether the address leaves open which of several servers it is, and not how to choose."""
    query = make_url(database_url).query
    hosts = query.get("host", ())
    several = len(hosts) > 1 if isinstance(hosts, tuple) else "," in hosts
    return several and "target_session_attrs" not in query


class _Connector:
    """Connects, and makes of each connection the session that it has to be."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._added = SINCE_17

    async def connect(self, *args: Any, **options: Any) -> "asyncpg.Connection[Any]":
        """A session.

        Raises:
            UnsuitableDatabase: the database has another encoding.
        """
        try:
            driver = await self._connect(*args, **options)
        except asyncpg.UndefinedObjectError:
            if not self._added:
                raise
            self._added = {}  # an older server
            driver = await self._connect(*args, **options)
        try:
            require_suitable(
                server_encoding=getattr(driver.get_settings(), "server_encoding", ENCODING),
                database=options.get("database") or options["user"],
                owner=options["user"],
            )
            if self._session.is_durable:
                await driver.execute(AT_LEAST_ON)
            _keep_alive(driver)
        except BaseException:
            driver.terminate()
            raise
        return driver

    async def _connect(self, *args: Any, **options: Any) -> "asyncpg.Connection[Any]":
        settings = self._session.startup() | self._added
        driver: asyncpg.Connection[Any] = await asyncpg.connect(
            *args, server_settings=settings, **options
        )
        return driver


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
