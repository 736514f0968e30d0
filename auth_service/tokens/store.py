"""Read and write ``signing_keys``; nothing else does.

Guarantees: changes happen one after another, under an advisory lock of the transaction, which also
writes the audit entry.

Not here: whether a change is allowed (``model``).
"""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, func, insert, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.audit.model import Action
from auth_service.audit.record import audit
from auth_service.tokens.model import Keys, Periods, SigningKey, State
from auth_service.tokens.table import signing_keys

LOCK_KEY: Final = 0x7369676E6B657973
""""signkeys" in ASCII: the key of the advisory lock for changing keys."""

_STEPS: Final = {
    State.ACTIVE: (signing_keys.c.activated_at, Action.KEY_ACTIVATED),
    State.RETIRED: (signing_keys.c.retired_at, Action.KEY_RETIRED),
    State.REVOKED: (signing_keys.c.revoked_at, Action.KEY_REVOKED),
}


async def read_keys(connection: AsyncConnection, periods: Periods) -> Keys:
    """All keys, including retired and revoked ones, oldest first."""
    return await _keys(connection, periods, true())


async def read_published_keys(
    connection: AsyncConnection, periods: Periods, *, also: str | None
) -> Keys:
    """The published keys, and the key with the id ``also`` in any state."""
    in_hold = signing_keys.c.retired_at > func.clock_timestamp() - periods.hold
    wanted = or_(
        signing_keys.c.state.in_((State.PENDING, State.ACTIVE)),
        and_(signing_keys.c.state == State.RETIRED, in_hold),
        signing_keys.c.kid == also,
    )
    return await _keys(connection, periods, wanted)


async def lock_keys(connection: AsyncConnection, periods: Periods) -> Keys:
    """Take the lock, which lasts until the transaction ends, and read all keys."""
    await connection.execute(select(func.pg_advisory_xact_lock(LOCK_KEY)))
    return await read_keys(connection, periods)


async def insert_key(
    connection: AsyncConnection,
    public_jwk: dict[str, Any],
    sealed_private_key: bytes | None,
    *,
    at: datetime,
    actor: str,
) -> SigningKey:
    """Insert a pending key; the caller holds the lock, and commits."""
    inserted = await connection.execute(
        insert(signing_keys)
        .values(
            kid=public_jwk["kid"],
            state=State.PENDING,
            public_jwk=public_jwk,
            sealed_private_key=sealed_private_key,
            created_at=at,
        )
        .returning(signing_keys)
    )
    key = _key(inserted.one())
    await audit(
        connection,
        Action.KEY_GENERATED,
        actor=actor,
        subject=key.kid,
        bits=key.bits,
        origin=key.origin,
    )
    return key


async def move_key(
    connection: AsyncConnection,
    key: SigningKey,
    state: State,
    *,
    at: datetime,
    actor: str,
    **details: Any,
) -> SigningKey:
    """Set the state of ``key``; the caller holds the lock, and commits."""
    instant, action = _STEPS[state]
    moved = await connection.execute(
        update(signing_keys)
        .where(signing_keys.c.kid == key.kid)
        .values({signing_keys.c.state: state, instant: at})
        .returning(signing_keys)
    )
    await audit(connection, action, actor=actor, subject=key.kid, was=key.state.value, **details)
    return _key(moved.one())


async def activate_key(
    connection: AsyncConnection, keys: Keys, key: SigningKey, *, actor: str, **details: Any
) -> tuple[SigningKey, SigningKey | None]:
    """Activate ``key`` and retire the active key; return both."""
    former = keys.active
    if former is not None:  # first: an index allows one active key at a time
        former = await move_key(
            connection, former, State.RETIRED, at=keys.now, actor=actor, successor=key.kid
        )
    active = await move_key(connection, key, State.ACTIVE, at=keys.now, actor=actor, **details)
    return active, former


async def _keys(connection: AsyncConnection, periods: Periods, wanted: ColumnElement[bool]) -> Keys:
    # The clock is a row of its own, so that it is read even if there is no key.
    clock = select(func.clock_timestamp().label("now")).subquery()
    found = await connection.execute(
        select(clock, signing_keys)
        .select_from(clock.outerjoin(signing_keys, wanted))
        .order_by(signing_keys.c.created_at, signing_keys.c.kid)
    )
    rows = found.all()
    return Keys(
        keys=tuple(_key(row) for row in rows if row.kid is not None),
        now=rows[0].now,
        periods=periods,
    )


def _key(row: Any) -> SigningKey:
    return SigningKey(
        kid=row.kid,
        state=State(row.state),
        public_jwk=row.public_jwk,
        sealed_private_key=row.sealed_private_key,
        created_at=row.created_at,
        activated_at=row.activated_at,
        retired_at=row.retired_at,
        revoked_at=row.revoked_at,
    )
