"""Connect to the message broker, and describe its errors in words.

A setting may name several nodes of a cluster (``broker_addresses``). Each attempt tries all of
them, one after the other; only then does the caller wait before it tries again.

Guarantees: every connection sends and expects heartbeats, so a silent broker counts as away after
``SILENCE_SECONDS_MAX``. Connecting and closing end in limited time. An error of the broker or the
client library becomes one sentence that names the remedy and no password.

Not here: declarations on the broker, and retries.
"""

import asyncio
import re
import shlex
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from socket import gaierror
from typing import Final
from urllib.parse import unquote, urlsplit

import aio_pika
import structlog
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import (
    CONNECTION_EXCEPTIONS,
    AuthenticationError,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    IncompatibleProtocolError,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from aiormq.connection import Connection as Underlay
from aiormq.exceptions import ChannelAccessRefused, ConnectionNotAllowed
from pamqp.commands import Connection

from service_kit.broker.seam import SeamConnection
from service_kit.process.broker_addresses import TLS, split_addresses, tls_context
from service_kit.process.tls import why_refused

log = structlog.get_logger()

CONNECT_TIMEOUT_SECONDS: Final = 5.0
"""A broker that is up responds in milliseconds."""

CONNECT_TIMEOUT_SECONDS_IF_ANOTHER: Final = 1.0
"""The same while there is another address to try: a node whose machine has vanished would keep a
process from the others for seconds."""

CLOSE_TIMEOUT_SECONDS: Final = 3.0
"""After this time a silent broker is left without a close."""

HEARTBEAT_SECONDS: Final = 10
"""The longest: an address with a shorter one (``?heartbeat=5``) keeps it, for its owner knows the
network; one with a longer one, or with none (0), does not, for readiness relies on it."""

SILENCE_SECONDS_MAX: Final = 17
"""Each side sends a beat every half ``HEARTBEAT_SECONDS``. Eleven seconds without any are too long,
and are noticed with the next beat of our own."""

# The client library waits three times as long as the protocol says, and has no setting for it.
Underlay.HEARTBEAT_GRACE_MULTIPLIER = 1

BROKER_ERRORS: Final = (*CONNECTION_EXCEPTIONS, TimeoutError)
"""Errors of a broker that is away, refuses, or behaves unexpectedly."""

SILENT: Final = "the broker is away (it is silent)"

_REMEDY: Final = (
    "load the definitions of this release, which give each account its rights (rabbitmqctl"
    " import_definitions contracts/events/definitions.json)"
)

_PORTS: Final = {"amqp": 5672, "amqps": 5671}


class BrokerTrouble(ConnectionError):
    """The broker is away or refuses the connection; the message is for operators."""


async def connect(amqp_urls: str, *, name: str, bulk: bool = False) -> AbstractConnection:
    """Open a connection with heartbeats; it does not come back by itself when it is lost.

    Parameters:
        amqp_urls: addresses of the virtual host, separated by blanks; the first that accepts us is
            used.
        name: by which the broker's list of connections shows it, such as ``blog-service consumer``.
        bulk: whether its channels can be tapped: it is a ``SeamConnection`` then.

    Raises:
        BrokerTrouble: the broker is away or refuses; the message says which, and the remedy, for
            each address.
    """
    *others, last = split_addresses(amqp_urls)
    limits = [(address, CONNECT_TIMEOUT_SECONDS_IF_ANOTHER) for address in others]
    refusals: list[str] = []
    for address, seconds in (*limits, (last, CONNECT_TIMEOUT_SECONDS)):
        try:
            connection = await _connect(address, seconds, name=name, bulk=bulk)
        except BrokerTrouble as error:
            refusals.append(str(error))
            continue
        if refusals and structlog.is_configured():  # a command has no log
            log.warning("broker.address_skipped", connection=name, reason="; ".join(refusals))
        return connection
    raise BrokerTrouble("; ".join(refusals))


async def _connect(address: str, seconds: float, *, name: str, bulk: bool) -> AbstractConnection:
    try:
        context = tls_context(address)
    except ValueError as error:  # its files were there at the start
        raise BrokerTrouble(f"{TLS.setting}: {error}") from None
    try:
        return await aio_pika.connect(
            address,
            timeout=seconds,
            heartbeat=_heartbeat(address),
            name=name,
            ssl_context=context,
            connection_class=SeamConnection if bulk else aio_pika.Connection,
        )
    except BROKER_ERRORS as error:
        raise BrokerTrouble(_why_not_connected(error, address, seconds)) from None


async def close(connection: AbstractConnection) -> None:
    """Close ``connection`` in limited time, in any state."""
    with suppress(*BROKER_ERRORS), talking():
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
            await connection.close()


@asynccontextmanager
async def connected(
    amqp_urls: str, *, name: str, bulk: bool = False
) -> AsyncIterator[AbstractConnection]:
    """A connection inside the block, which counts as ``talking``; otherwise as ``connect``."""
    connection = await connect(amqp_urls, name=name, bulk=bulk)
    try:
        with talking():
            yield connection
    finally:
        await close(connection)


@contextmanager
def talking() -> Iterator[None]:
    """Have what waits on a broker inside the block end with a ``BrokerTrouble`` when it is lost.

    The client library ends it with the class ``Exception`` itself, or, when the broker was silent,
    with a ``CancelledError``, which would pass for the end of this task.
    """
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise BrokerTrouble(SILENT) from None
    except Exception as error:
        if type(error) is not Exception:
            raise
        raise BrokerTrouble("the broker is away (the connection was lost)") from error


def in_words(error: BaseException) -> str:
    """Describe an error of the broker to an operator, with the remedy."""
    said = str(error)
    if isinstance(error, BrokerTrouble):
        return said
    if isinstance(error, ChannelAccessRefused):
        return _no_rights(said)
    if isinstance(error, ChannelPreconditionFailed):
        return _other_than_declared(said)
    if isinstance(error, ChannelNotFoundEntity):
        return f"something is missing on the broker ({_told(said)})"
    if isinstance(error, TimeoutError):
        return "the broker is away (it does not answer in time)"
    detail = _told(said) if re.match(r"[A-Z_]+ - ", said) else type(error).__name__
    return f"the broker is away ({detail})"


def _heartbeat(address: str) -> int:
    """The seconds to ask for: those of the address where they are fewer than ours."""
    asked = re.search(r"[?&]heartbeat=([0-9]{1,5})(?:&|$)", address)
    return (
        min(int(asked[1]) or HEARTBEAT_SECONDS, HEARTBEAT_SECONDS) if asked else HEARTBEAT_SECONDS
    )


def _why_not_connected(error: Exception, address: str, seconds: float) -> str:
    parts = urlsplit(address)
    place = f"{parts.hostname or 'localhost'}:{parts.port or _PORTS.get(parts.scheme)}"
    user = unquote(parts.username or "guest")
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(error, ProbableAuthenticationError):
        local = (
            " (guest may come from the broker's own machine only, unless its configuration says"
            " otherwise)"
            if user == "guest"
            else ""
        )
        return (
            f"the broker at {place} does not accept the user {user!r} with this password:"
            f" correct the address in …_AMQP_URL, or set it (rabbitmqctl change_password)"
            f"{local}"
        )
    if isinstance(error, AuthenticationError):
        return f"the broker at {place} offers no way to sign in with a password: enable PLAIN there"
    if isinstance(error, InvalidFrameError | ConnectionNotAllowed):
        return _not_let_in(_last_word(error), user, _vhost(parts.path), place)
    if why := why_refused(error, TLS, parts.hostname or "localhost"):
        return f"TLS with the broker at {place} fails: {why}"
    ended = ConnectionResetError | BrokenPipeError | asyncio.IncompleteReadError
    if isinstance(error.__cause__, ended) and parts.scheme == "amqps":
        # With TLS 1.3 the client learns of it after the handshake, if its own words do not cross.
        return (
            f"TLS with the broker at {place} fails: it ends the connection; it may demand a"
            f" client's certificate ({TLS.certificate}=… and {TLS.key}=… in {TLS.setting})"
        )
    if isinstance(error.__cause__, ended):
        return (
            f"the broker is away ({place} ends the connection; if it expects TLS, write amqps://)"
        )
    if isinstance(cause, gaierror):
        return f"the broker is away (no machine is known as {parts.hostname})"
    if isinstance(cause, ConnectionRefusedError):
        return f"the broker is away (nothing listens at {place})"
    if isinstance(cause, TimeoutError):
        return f"the broker is away (no answer from {place} within {seconds:.0f} s)"
    if isinstance(error, IncompatibleProtocolError):
        return (
            f"what listens at {place} is no AMQP broker, or expects TLS (amqps://): correct the"
            " address in …_AMQP_URL"
        )
    return f"the broker is away ({place}: {type(cause).__name__})"


def _vhost(path: str) -> str:
    return unquote(path[1:]) or "/"


def _last_word(error: Exception) -> str:
    """What the broker said as it closed the connection.

    The client library drops it when the broker refuses a virtual host, and only says that it got
    another frame than it expected. That frame is still where the error comes from.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        said = frame.f_locals.get("frame")
        if isinstance(said, Connection.Close):
            return said.reply_text or ""
    return str(error)


def _not_let_in(said: str, user: str, vhost: str, place: str) -> str:
    where = f"the broker at {place}"
    if "not found" in said:
        return (
            f"there is no virtual host {vhost!r} on {where}: make it (rabbitmqctl add_vhost"
            f" {shlex.quote(vhost)}) and give the user {user!r} rights to it, or correct the"
            " address in …_AMQP_URL"
        )
    if "refused" in said:
        return (
            f"the user {user!r} has no rights to the virtual host {vhost!r} of {where}: {_REMEDY}"
        )
    return f"{where} does not let the user {user!r} into {vhost!r} ({_told(said)})"


def _no_rights(said: str) -> str:
    found = re.search(
        r"(exchange|queue|topic) '([^']*)' in vhost '([^']*)' refused for user '([^']*)'", said
    )
    if found is None:
        return f"the broker refuses something for want of rights ({_told(said)})"
    kind, entity, vhost, user = found.groups()
    return (
        f"the user {user!r} lacks rights to the {kind} {entity!r} in the virtual host {vhost!r}:"
        f" {_REMEDY}"
    )


def _other_than_declared(said: str) -> str:
    found = re.search(r"inequivalent arg '([^']*)' for (exchange|queue) '([^']*)'[^:]*: (.*)", said)
    if found is None:
        return f"something on the broker is not as it is declared here ({_told(said)})"
    argument, kind, entity, difference = found.groups()
    return (
        f"the {kind} {entity!r} exists with another {argument} ({difference}): delete it"
        f" (rabbitmqadmin delete {kind} name={entity}, or in the management page); it is"
        " declared again within seconds"
    )


def _told(said: str) -> str:
    """The broker's own words, without its word for the kind of error."""
    return re.sub(r"^[A-Z_]+ - ", "", said)
