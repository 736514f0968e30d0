"""Read parked messages: a list, newest first, or one with its content."""

import base64
import codecs
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, Select, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.events.envelope import legible_ids, legible_type
from replica.inbox.stored import Carrier
from replica.inbox.table import parked_messages
from replica.parked.model import NoSuchMessage, ParkedGroup, ParkedMessage, WholeMessage

BODY_SHOWN_BYTES_MAX: Final = 1024 * 1024
"""Sixteen times the limit of an event. A broker accepts larger messages than fit into memory."""

_IS_ERASED: Final = and_(
    parked_messages.c.body.is_(None), parked_messages.c.dropped_bytes.is_(None)
)
NEWEST_MAX: Final = 1_000
"""Newest messages of which the types are read: some 20 ms. A type is in the headers as they came,
where PostgreSQL cannot read every text."""

GROUPS_MAX: Final = 50
"""Groups of them that are shown; rubbish may name any number of types."""

_SUMMARY: Final = (
    parked_messages.c.id,
    parked_messages.c.reason,
    parked_messages.c.error,
    parked_messages.c.user_id,
    parked_messages.c.attempts,
    parked_messages.c.first_failed_at,
    parked_messages.c.last_failed_at,
    _IS_ERASED.label("erased"),
)
_SUMMARY_NAMES: Final = [column.name for column in _SUMMARY]
_LIST = select(*_SUMMARY, parked_messages.c.properties).order_by(parked_messages.c.id.desc())
_TYPES = (
    select(parked_messages.c.reason, parked_messages.c.properties)
    .order_by(parked_messages.c.id.desc())
    .limit(NEWEST_MAX)
)
_IDS = select(parked_messages.c.id).order_by(parked_messages.c.id.desc())
_WHOLE = select(
    *_SUMMARY,
    parked_messages.c.properties,
    parked_messages.c.exchange,
    parked_messages.c.routing_key,
    func.coalesce(func.octet_length(parked_messages.c.body), parked_messages.c.dropped_bytes).label(
        "body_bytes"
    ),
    func.substring(parked_messages.c.body, 1, BODY_SHOWN_BYTES_MAX).label("body"),
)


async def parked_list(
    connection: AsyncConnection,
    *,
    limit: int,
    before: int | None = None,
    reason: str | None = None,
    user_id: UUID | None = None,
    event_type: str | None = None,
) -> Sequence[ParkedMessage]:
    """Return the newest ``limit`` messages.

    Parameters:
        before: only messages with ids below this one.
        reason: only messages with this reason.
        user_id: only messages of this user.
        event_type: only messages that name this type, or none if empty, and of these only those
            among the newest ``NEWEST_MAX`` that meet the other conditions.
    """
    query = _matching(_LIST, before, reason)
    if user_id is not None:
        query = query.where(parked_messages.c.user_id == user_id)
    if event_type is None:
        rows = (await connection.execute(query.limit(limit))).mappings()
        return [ParkedMessage(**_summary(row)) for row in rows]
    found: list[ParkedMessage] = []
    newest = await connection.stream(query.limit(NEWEST_MAX))
    async for row in newest.mappings():
        if (_type(row["properties"]) or "") == event_type:
            found.append(ParkedMessage(**_summary(row)))
        if len(found) == limit:
            break
    await newest.close()
    return found


async def parked_groups(connection: AsyncConnection) -> Sequence[ParkedGroup]:
    """Count the newest ``NEWEST_MAX`` messages by reason and type; the largest groups first."""
    newest = await connection.stream(_TYPES)
    counts = Counter([(row.reason, _type(row.properties)) async for row in newest])
    return [
        ParkedGroup(reason=reason, event_type=event_type, messages=messages)
        for (reason, event_type), messages in counts.most_common(GROUPS_MAX)
    ]


def _type(properties: Mapping[str, Any]) -> str | None:
    return legible_type(Carrier.of(properties, None))


async def parked_ids(
    connection: AsyncConnection, *, before: int | None = None, reason: str | None = None
) -> AsyncIterator[int]:
    """Yield the ids of all such messages, newest first, in one snapshot and bounded memory."""
    found = await connection.stream(_matching(_IDS, before, reason))
    async for row in found:
        yield row.id


async def parked_message(connection: AsyncConnection, parked_id: int) -> WholeMessage:
    """Return a message as received.

    Raises:
        NoSuchMessage: no message with this id is parked.
    """
    query = _WHOLE.where(parked_messages.c.id == parked_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NoSuchMessage(parked_id)
    properties = dict(row["properties"])
    headers = properties.pop("headers", {})
    whole = {name: row[name] for name in ("exchange", "routing_key", "body_bytes")}
    stored = row["body"]
    body, encoding = (None, None) if stored is None else _shown(stored, of=row["body_bytes"])
    return WholeMessage(
        **_summary(row),
        **whole,
        properties=properties,
        headers=headers,
        body=body,
        body_encoding=encoding,
    )


def _matching(query: Select[Any], before: int | None, reason: str | None) -> Select[Any]:
    if before is not None:
        query = query.where(parked_messages.c.id < before)
    if reason is not None:
        query = query.where(parked_messages.c.reason == reason)
    return query


def _summary(row: RowMapping) -> dict[str, Any]:
    """Return the values of a ``ParkedMessage``."""
    summary = {name: row[name] for name in _SUMMARY_NAMES}
    carrier = Carrier.of(row["properties"], None)
    event_id = legible_ids(carrier).get("event_id")
    return {
        **summary,
        "event_type": legible_type(carrier),
        "event_id": None if event_id is None else UUID(event_id),
    }


def _shown(body: bytes, *, of: int) -> tuple[str, str]:
    """Return the first part of a body of ``of`` bytes as text, and its encoding."""
    try:
        # Not final: the cut may have split a character.
        text = codecs.getincrementaldecoder("utf-8")().decode(body, final=len(body) == of)
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), "base64"
    return text, "utf-8"
