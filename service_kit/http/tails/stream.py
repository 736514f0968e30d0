"""Send one live tail to its client, as server-sent events (WHATWG HTML, 9.2).

A line is a ``message``, whose data is a ``LineBody`` in JSON. ``left_out`` says how many lines were
not sent, because there were too many. The last event is ``end``, with the reason. An ``id`` comes
after the lines that it stands for: with it as ``Last-Event-ID``, another tail continues after them,
and may repeat some of them. Comments keep the connection open.

Guarantees: a tail ends within a second when the process is asked to stop, and within a few when its
user's token expires or no longer counts, or their role was taken back. It ends after a limited time
in any case. What a client does not read is not kept; the server cuts such a client off.

Not here: what is read (``hub``).
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import structlog
from fastapi import Header, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from contracts.events import DATA_OF
from service_kit.http import problems
from service_kit.http.head_method import is_head
from service_kit.http.metrics import LASTS
from service_kit.http.probes import ending_of
from service_kit.http.problems import Problem
from service_kit.http.tails.hub import RETRY_SECONDS, Tail, Tails
from service_kit.process.tail import Batch, Pace, Wanted

log = structlog.get_logger()

MEDIA_TYPE: Final = "text/event-stream"

TICK_SECONDS: Final = 1.0
"""How soon a tail notices that the process is to stop, or that its time is up."""

CHECK_EVERY_SECONDS: Final = 5.0
"""How often the caller is checked again: a query by key."""

KEEP_ALIVE_SECONDS: Final = 15.0
"""Between comments while nothing happens: proxies close what is silent, nginx after a minute."""

RECONNECT_MS: Final = 2_000
"""How long a browser's own client waits before it connects again."""

MARK_LENGTH_MAX: Final = 64
"""The longest id has 36 characters."""

A_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Server-sent events; the data of each message is a LineBody",
        "content": {MEDIA_TYPE: {}},  # OpenAPI 3.1 cannot say what the events of a stream are
    }
}
"""The ``responses`` of a route that sends one."""


def _known_type(text: str) -> str:
    if text not in DATA_OF:
        raise ValueError("no type of events has this name")
    return text


Types = Annotated[
    list[
        Annotated[
            str,
            AfterValidator(_known_type),
            WithJsonSchema({"type": "string", "enum": sorted(DATA_OF)}),
        ]
    ],
    Query(
        alias="type",
        max_length=len(DATA_OF),
        description="Only events of this type; repeat it for more.",
    ),
]
"""The query parameter that chooses types."""

LastEventId = Annotated[
    str | None,
    Header(max_length=MARK_LENGTH_MAX, description="Continue after this id of an earlier tail."),
]
"""The header with which a client continues; what is no id is ignored."""

MayStay = Callable[[], Awaitable[object]]
"""Checks the caller again; raises ``Problem`` if they may not watch any more."""


class LineBody(BaseModel):
    """What happened to one event; null where it is not known, or where no user is concerned."""

    model_config = ConfigDict(from_attributes=True)

    at: datetime
    stage: str = Field(examples=["recorded", "published", "applied", "parked"])
    type: str | None = Field(examples=["user.updated"])
    user_id: UUID | None
    version: int | None
    event_id: UUID | None
    recorded_at: datetime | None
    lag_seconds: float | None = Field(description="since the record at the source")
    lane: str | None = Field(description="at a replica: urgent, live, replays or waiting")


async def tail_response(
    tails: Tails,
    request: Request,
    *,
    after: str | None,
    user_id: UUID,
    wanted: Wanted,
    may_stay: MayStay,
) -> StreamingResponse:
    """Respond with a tail that begins now, or continues after an id of an earlier one.

    Parameters:
        after: the id.
        user_id: of the caller.
        wanted: which lines to send.
        may_stay: called every few seconds.

    Raises:
        Problem: too many tails are open, or the process is about to stop (503).
    """
    ending = ending_of(request)
    if ending.is_set():
        raise Problem(problems.UNAVAILABLE, headers={"Retry-After": RETRY_SECONDS})
    async with AsyncExitStack() as held:
        tail = await held.enter_async_context(tails.opened(user_id, wanted))
        missed = await _missed(tails, after)
        tail_of = _Stream(tail, tails, wanted, may_stay, ending)
        content = tail_of.nothing() if is_head(request.scope) else tail_of.events(missed)
        return _Response(content, held.pop_all())


async def _missed(tails: Tails, mark: str | None) -> Batch | None:
    """What has happened since a mark; None without a mark that can be read."""
    if not mark:
        return None
    try:
        reader = await tails.start_reader(mark)
    except ValueError:  # anyone may send anything
        return None
    return await reader.read()


class _Response(StreamingResponse):
    """Sends a tail, and gives up its place, however that ends."""

    def __init__(self, content: AsyncIterator[bytes], held: AsyncExitStack) -> None:
        # The last header is for nginx, which would collect the response otherwise.
        super().__init__(content, media_type=MEDIA_TYPE, headers={"X-Accel-Buffering": "no"})
        # Server-sent events are always UTF-8, and have no parameter that says so.
        self.headers["Content-Type"] = MEDIA_TYPE
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        scope[LASTS] = True
        async with self._held:
            await super().__call__(scope, receive, send)


class _Stream:
    """The events of one tail."""

    def __init__(
        self, tail: Tail, tails: Tails, wanted: Wanted, may_stay: MayStay, ending: asyncio.Event
    ) -> None:
        now = time.monotonic()
        self._tail = tail
        self._wanted = wanted
        self._may_stay = may_stay
        self._ending = ending
        self._pace = Pace(tails.settings.tail_lines_per_second, now)
        self._ends_at = now + tails.settings.tail_seconds_max
        self._check_at = now + CHECK_EVERY_SECONDS
        self._sent_at = now
        self._mark = ""
        self._sent: frozenset[object] = frozenset()  # what came before the hub's first batch

    async def nothing(self) -> AsyncIterator[bytes]:
        """The body of a response to HEAD."""
        return
        yield b""

    async def events(self, missed: Batch | None) -> AsyncIterator[bytes]:
        """Yield what to send, until the tail ends."""
        yield f": a live tail\nretry: {RECONNECT_MS}\n\n".encode()
        if missed is not None:
            self._sent = frozenset(line.key for line in missed.lines)
            lines = self._wanted.of(missed.lines)
            yield self._text(Batch(lines, missed.mark, missed.left_out))
        while True:
            batch = await self._tail.take(TICK_SECONDS)
            if self._sent:
                lines = [line for line in batch.lines if line.key not in self._sent]
                batch = Batch(lines, batch.mark, batch.left_out)
            if text := self._text(batch):
                yield text
            if why := await self._why_over():
                yield _event("end", {"reason": why})
                return

    def _text(self, batch: Batch) -> bytes:
        """What to send of a batch, or to keep the connection open; empty for nothing."""
        now = time.monotonic()
        too_many = len(batch.lines) - self._pace.take(len(batch.lines), now)
        left_out = batch.left_out + too_many
        parts = [_event("left_out", {"lines": left_out})] if left_out else []
        parts += [
            _event(None, LineBody.model_validate(line).model_dump_json())
            for line in batch.lines[too_many:]
        ]
        if parts or now - self._sent_at >= KEEP_ALIVE_SECONDS:
            if batch.mark != self._mark:
                self._mark = batch.mark
                parts.append(f"id: {self._mark}\n\n".encode())
            else:
                parts.append(b":\n\n")
            self._sent_at = now
        return b"".join(parts)

    async def _why_over(self) -> str | None:
        now = time.monotonic()
        if self._ending.is_set():
            return "shutting_down"
        if self._tail.is_broken:
            return problems.UNAVAILABLE.name
        if now >= self._ends_at:
            return "time_is_up"
        if now < self._check_at:
            return None
        self._check_at = now + CHECK_EVERY_SECONDS
        try:
            await self._may_stay()
        except Problem as problem:
            return problem.code.name
        except Exception as error:
            log.warning("tail.broken", error=type(error).__name__)
            return problems.UNAVAILABLE.name
        return None


def _event(name: str | None, data: object) -> bytes:
    """An event without an id; JSON has no line break."""
    text = data if isinstance(data, str) else json.dumps(data)
    kind = "" if name is None else f"event: {name}\n"
    return f"{kind}data: {text}\n\n".encode()
