"""Insert many users of another system with one statement, each with an address that is free.

Not here: reading exports, and what becomes of each line (``imports``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Boolean,
    DateTime,
    Text,
    Uuid,
    bindparam,
    column,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.users.claim_address import claim_addresses
from auth_service.users.model import Status, User
from auth_service.users.table import FIRST_VERSION, to_user, users

_NO_ID: Final = UUID(int=0)

_NEW: Final = (
    func.unnest(
        bindparam("ids", type_=ARRAY(Uuid)),
        bindparam("emails", type_=ARRAY(Text)),
        bindparam("verified", type_=ARRAY(Boolean)),
        bindparam("hashes", type_=ARRAY(Text)),
        bindparam("statuses", type_=ARRAY(Text)),
        bindparam("created", type_=ARRAY(DateTime(timezone=True))),
    )
    .table_valued(
        column("id", Uuid),
        column("email", Text),
        column("email_verified", Boolean),
        column("password_hash", Text),
        column("status", Text),
        column("created_at", DateTime(timezone=True)),
    )
    .render_derived(name="new")
)

_ADD: Final = (
    insert(users)
    .from_select(
        ["id", "version", "email", "email_verified", "password_hash", "status", "created_at"],
        select(
            func.coalesce(_NEW.c.id, func.gen_random_uuid()),
            FIRST_VERSION,
            _NEW.c.email,
            _NEW.c.email_verified,
            _NEW.c.password_hash,
            _NEW.c.status,
            func.coalesce(_NEW.c.created_at, func.now()),
        ),
    )
    # Nothing is refused with an error: PostgreSQL would log it together with the row.
    .on_conflict_do_nothing()
    .returning(users)
)

# A plan from before the table grew would read all of it for each batch.
_BY_INDEX: Final = text(
    "SELECT set_config('plan_cache_mode', 'force_custom_plan', true),"
    " set_config('enable_seqscan', 'off', true)"
)

_PRESENT: Final = text(
    """
    SELECT id, email FROM users WHERE id = ANY(CAST(:ids AS uuid[]))
    UNION SELECT id, email FROM users WHERE email = ANY(CAST(:emails AS text[]))
    """
)

_RESERVED: Final = text(
    "SELECT email FROM former_emails WHERE email = ANY(CAST(:emails AS text[])) AND until > now()"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """A user to insert.

    ``id`` is given by the database if it is None, ``created_at`` is now. ``email`` is normalised.
    """

    id: UUID | None
    email: str
    email_verified: bool
    status: Status
    created_at: datetime | None
    password_hash: str


@dataclass(frozen=True, slots=True)
class Present:
    """The users who have one of some ids or addresses.

    ``emails`` are by id, None for a tombstone; ``ids`` are by address; ``reserved`` are addresses
    to which an account can still go back.
    """

    emails: Mapping[UUID, str | None]
    ids: Mapping[str, UUID]
    reserved: frozenset[str]


async def find_present(
    connection: AsyncConnection, *, ids: Sequence[UUID], emails: Sequence[str], claim: bool
) -> Present:
    """Read who has one of these ids or addresses.

    Parameters:
        claim: whether to claim the addresses until the transaction ends, before they are read.
    """
    await connection.execute(_BY_INDEX)
    if claim:
        await claim_addresses(connection, emails)
    rows = (await connection.execute(_PRESENT, {"ids": ids, "emails": emails})).all()
    reserved = await connection.scalars(_RESERVED, {"emails": emails})
    return Present(
        emails={row.id: row.email for row in rows},
        ids={row.email: row.id for row in rows if row.email is not None},
        reserved=frozenset(reserved),
    )


async def add_many(connection: AsyncConnection, new: Sequence[NewUser]) -> list[User]:
    """Insert users whose addresses are claimed; the caller records their events, and commits.

    Returns:
        The users. One is missing if another session has used its id at the same time.
    """
    # Two sessions with the same ids insert them in the same order, and never wait for each other.
    new = sorted(new, key=lambda user: user.id or _NO_ID)
    values = {
        "ids": [user.id for user in new],
        "emails": [user.email for user in new],
        "verified": [user.email_verified for user in new],
        "hashes": [user.password_hash for user in new],
        "statuses": [user.status for user in new],
        "created": [user.created_at for user in new],
    }
    return [to_user(row) for row in await connection.execute(_ADD, values)]
