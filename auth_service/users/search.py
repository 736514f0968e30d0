"""Find users by the beginning of their id or address, for operators and administrators.

Guarantees: a bounded number, and each by an index. Deleted users are found by id alone, since
nothing else is left of them.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, collate, select
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.users.table import users
from service_kit.process.id_prefixes import FOUND_MAX, ids_between

_LAST: Final = "\U0010ffff"
"""No address has this character, and all that an address may have sort before it."""

_USERS: Final = select(users.c.id, users.c.email, users.c.status)

_BY_BYTES: Final = collate(users.c.email, "C")
"""Addresses in the order of their index, ``users_email_prefix_idx``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A user who was found; ``email`` is None of a deleted one."""

    id: UUID
    email: str | None
    status: str


async def search(connection: AsyncConnection, text: str, *, by_address: bool) -> Sequence[Found]:
    """The first ``FOUND_MAX`` users whose address, and then whose id begins with ``text``.

    In this order, because a few letters also begin many ids.

    Parameters:
        text: at least three characters of an id or an address, in any spelling, without spaces
            around them.
        by_address: whether addresses are looked at.
    """
    found: dict[UUID, Found] = {}
    for query in (_by_address(text) if by_address else None, _by_id(text)):
        if query is not None:
            rows = (await connection.execute(query.limit(FOUND_MAX))).mappings()
            found |= {row["id"]: Found(**row) for row in rows}
    return list(found.values())[:FOUND_MAX]


def _by_id(text: str) -> Select[Any] | None:
    between = ids_between(text)
    return between and _USERS.where(users.c.id.between(*between)).order_by(users.c.id)


def _by_address(text: str) -> Select[Any]:
    first = unicodedata.normalize("NFC", text.lower())
    begins = (first <= _BY_BYTES) & (first + _LAST > _BY_BYTES)
    return _USERS.where(begins).order_by(_BY_BYTES)
