"""Store the last proof, and read it.

Guarantees: an attempt that came to no verdict leaves the last verdict, which goes on ageing. Times
are those of the replica's database.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, null, select, text
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from replica.proof import model
from replica.proof.model import CurrentProof, Proved
from replica.proof.table import current_proof
from service_kit.process.clock import AHEAD_SECONDS_MAX

_NOW: Final = func.clock_timestamp()


def _seconds_since(column: Any) -> Any:
    return func.extract("epoch", _NOW - column)


_CURRENT: Final = select(
    current_proof,
    _seconds_since(func.coalesce(current_proof.c.proved_at, current_proof.c.on_since)).label("age"),
    _seconds_since(current_proof.c.tried_at).label("tried"),
)

_LAST_HEARTBEAT: Final = text("SELECT number FROM heartbeats ORDER BY applied_at DESC LIMIT 1")

_PROVED: Final = tuple(Proved.__dataclass_fields__)


async def turn(connection: AsyncConnection, *, on: bool) -> None:
    """Note whether a consumer makes proofs; the caller owns the transaction."""
    since = func.coalesce(current_proof.c.on_since, _NOW) if on else null()
    await _set(connection, on_since=_NOW if on else None, _update={"on_since": since})


async def note_attempt(connection: AsyncConnection) -> datetime:
    """Note that an attempt begins now, and return when; the caller owns the transaction."""
    noted = _setting({"tried_at": _NOW}).returning(current_proof.c.tried_at)
    began: datetime = (await connection.execute(noted)).scalar_one()
    return began


async def note_trouble(connection: AsyncConnection, why: str, *, covered: int) -> None:
    """Note why an attempt came to no verdict; the caller owns the transaction.

    Parameters:
        connection: to write with.
        why: a sentence for operators.
        covered: the heartbeat for which the attempt was made, and needs no other.
    """
    await _set(connection, trouble=why, covered=covered)


async def note_verdict(connection: AsyncConnection, proved: Proved, *, covered: int) -> None:
    """Store a verdict; the caller owns the transaction.

    Parameters:
        connection: to write with.
        proved: the verdict.
        covered: the last heartbeat that needs no other proof.
    """
    values = {name: getattr(proved, name) for name in _PROVED}
    await _set(connection, proved_at=_NOW, trouble=None, covered=covered, **values)


async def current(connection: AsyncConnection) -> CurrentProof:
    """Read the last proof."""
    row = (await connection.execute(_CURRENT)).one_or_none()
    if row is None:
        return CurrentProof(
            is_on=False,
            age_seconds=None,
            tried_seconds=None,
            covered=None,
            proved=None,
            proved_at=None,
            trouble=None,
        )
    has_verdict = row.proved_at is not None
    return CurrentProof(
        is_on=row.on_since is not None,
        age_seconds=None if row.age is None else _age(float(row.age)),
        tried_seconds=None if row.tried is None else float(row.tried),
        covered=row.covered,
        proved=Proved(**{name: getattr(row, name) for name in _PROVED}) if has_verdict else None,
        proved_at=row.proved_at,
        trouble=row.trouble,
    )


def _age(seconds: float) -> float:
    """Return the age of a verdict, in seconds.

    One in the future was made while the clock was ahead. How long ago is unknown, so it counts as
    too old; otherwise it would look new until the clock has caught up.
    """
    return -seconds if seconds < -AHEAD_SECONDS_MAX else max(0.0, seconds)


async def why_degraded(connection: AsyncConnection, *, heartbeat_seconds_max: float) -> str | None:
    """Why proofs call the replica degraded; None if they do not."""
    return model.why_degraded(await current(connection), heartbeat_seconds_max)


async def last_heartbeat(connection: AsyncConnection) -> int | None:
    """The number of the heartbeat that was applied last; None before the first."""
    number: int | None = await connection.scalar(_LAST_HEARTBEAT)
    return number


async def _set(
    connection: AsyncConnection, *, _update: dict[str, Any] | None = None, **values: Any
) -> None:
    await connection.execute(_setting(values, _update))


def _setting(values: Mapping[str, Any], update: Mapping[str, Any] | None = None) -> Insert:
    """Build the statement that sets ``values`` in the one row, or ``update`` if there is one."""
    return (
        insert(current_proof)
        .values(singleton=True, **values)
        .on_conflict_do_update(
            index_elements=[current_proof.c.singleton], set_=values if update is None else update
        )
    )
