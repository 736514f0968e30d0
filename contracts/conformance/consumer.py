"""The consumer under test: its queues, and the commands or addresses that show what it has.

Guarantees: messages go into this consumer's queues alone, past all exchanges, and each is confirmed
by the broker; a failure is one sentence (``CannotRun``).
"""

import asyncio
import json
import shlex
import urllib.request
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPException, ChannelNotFoundEntity

from contracts.conformance.messages import octets_of
from contracts.events.names import live_queue, replay_queue, urgent_queue

_QUEUES: Final = {"live": live_queue, "urgent": urgent_queue, "replay": replay_queue}

COMMAND_SECONDS_MAX: Final = 60.0
"""For one command, or one response of an address."""


class CannotRun(Exception):
    """The consumer could not be tried; the message says why, and what to do."""


class Lanes:
    """The queues of one service.

    Parameters:
        amqp: the address of the virtual host, with the right to publish to the default exchange.
        service: the prefix of the queues.
    """

    def __init__(self, amqp: str, service: str) -> None:
        self._amqp = amqp
        self._service = service

    async def present(self) -> dict[str, int]:
        """The number of ready messages by lane, of those lanes that have a queue.

        Raises:
            CannotRun: the broker cannot be reached.
        """
        async with self._connection() as connection:
            depths = {
                lane: await _depth(connection, name(self._service))
                for lane, name in _QUEUES.items()
            }
        return {lane: depth for lane, depth in depths.items() if depth is not None}

    async def send(self, messages: Collection[tuple[str, Mapping[str, Any]]]) -> None:
        """Publish each message to the queue of its lane, or to the live queue if that has none.

        Raises:
            CannotRun: the broker cannot be reached, or there is no live queue.
        """
        present = await self.present()
        if "live" not in present:
            raise CannotRun(f"there is no queue {live_queue(self._service)}: start the consumer")
        async with self._connection() as connection:
            channel = await connection.channel()
            for lane, message in messages:
                queue = _QUEUES[lane if lane in present else "live"](self._service)
                await channel.default_exchange.publish(_amqp_message(message), queue)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AbstractConnection]:
        try:
            async with await aio_pika.connect(self._amqp) as connection:
                yield connection
        except (AMQPException, OSError) as error:
            raise CannotRun(f"the broker refuses: {error or type(error).__name__}") from error


async def _depth(connection: AbstractConnection, queue: str) -> int | None:
    """The number of ready messages; None if there is no such queue."""
    channel = await connection.channel()
    try:
        found = await channel.declare_queue(queue, passive=True)
    except ChannelNotFoundEntity:  # it has closed the channel
        return None
    await channel.close()
    return found.declaration_result.message_count


def _amqp_message(message: Mapping[str, Any]) -> aio_pika.Message:
    headers = {name: _header(value) for name, value in message["headers"].items()}
    return aio_pika.Message(octets_of(message["body"]), headers=headers, **message["properties"])


def _header(value: Any) -> Any:
    return datetime.fromtimestamp(value["timestamp"], UTC) if isinstance(value, dict) else value


async def shown(where: str, given: object = None) -> list[Any]:
    """Return the JSON lines that a command prints, or an address responds with.

    Parameters:
        where: an http(s) address, or a command, split as a shell does and run without one.
        given: written to the command as JSON.

    Raises:
        CannotRun: it fails, or prints something else.
    """
    read = _fetch(where) if where.startswith(("http://", "https://")) else _run(where, given)
    try:
        async with asyncio.timeout(COMMAND_SECONDS_MAX):
            text = await read
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except TimeoutError:
        raise CannotRun(f"{where}: no end after {COMMAND_SECONDS_MAX:.0f} seconds") from None
    except (OSError, ValueError) as error:
        raise CannotRun(f"{where}: {error}") from error


async def _fetch(address: str) -> str:
    def fetch() -> bytes:
        with urllib.request.urlopen(address, timeout=COMMAND_SECONDS_MAX) as response:  # noqa: S310 - http(s) alone
            return bytes(response.read())

    return (await asyncio.to_thread(fetch)).decode()


async def _run(command: str, given: object) -> str:
    process = await asyncio.create_subprocess_exec(
        *shlex.split(command), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate(b"" if given is None else json.dumps(given).encode())
    if process.returncode:
        raise CannotRun(f"{command}: exit code {process.returncode}")
    return out.decode()
