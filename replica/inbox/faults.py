"""Is the message at fault, or the world around it? Pure.

Only a message whose own data is refused is parked; while the database is away, read-only, full,
locked or not migrated yet, its messages wait.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy.exc import DBAPIError

from contracts.events.envelope import Undecodable
from service_kit.database.away import DATABASE_AWAY, sqlstate

DATA_FAULTS = ("22", "23")
"""SQLSTATE classes: data exception, integrity constraint violation."""


LOCK_NOT_AVAILABLE = "55P03"
"""SQLSTATE of a lock that did not become free in time."""

LIMITS = ("delivery_limit", "expired", "maxlen")
"""What the broker writes into ``x-death`` when a limit of the queue made it give up."""


class Wait(StrEnum):
    """Why a message waits by itself."""

    ROW_HELD = "row_held"
    DEAD_LETTERED = "dead_lettered"


class Reason(StrEnum):
    """Why a message is parked, beside the envelope's own faults."""

    NOT_APPLICABLE = "not_applicable"
    KILLS_THE_PROCESS = "kills_the_process"
    DEAD_LETTERED = "dead_lettered"


class DeadLettered(Exception):
    """The broker gave up on the message.

    ``by_limit``: a limit of the queue did it (deliveries, age, length), which says nothing about
    the message. Otherwise a person or a program rejected it, and an operator has to decide.
    """

    def __init__(self, *, by_limit: bool = False) -> None:
        super().__init__()
        self.by_limit = by_limit


class RowHeld(Exception):
    """Another session holds a lock that this message needs, and no other message does."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a message is parked: a stable reason, and words that quote none of its data."""

    reason: str
    error: str


def is_messages_fault(error: Exception) -> bool:
    """Whether ``error`` would come again for the same message in a healthy database.

    An error that is none of the database's comes from our own code, and for this message.
    """
    if isinstance(error, DBAPIError):
        return sqlstate(error)[:2] in DATA_FAULTS or isinstance(_cause(error), ValueError)
    return not isinstance(error, DATABASE_AWAY)


def is_lock_timeout(error: Exception) -> bool:
    """Whether a lock did not become free in time."""
    return sqlstate(error) == LOCK_NOT_AVAILABLE


def gave_up_by_limit(headers: Mapping[str, Any] | None) -> bool:
    """Whether the broker's own note on a dead letter names a limit as the reason."""
    deaths = (headers or {}).get("x-death")
    last = deaths[0] if isinstance(deaths, list) and deaths else None
    return isinstance(last, dict) and last.get("reason") in LIMITS


def verdict(error: Exception) -> Verdict:
    """What to note about a message that ``error`` is the fault of."""
    match error:
        case Undecodable():
            return Verdict(error.fault, str(error))
        case DeadLettered():
            return Verdict(Reason.DEAD_LETTERED, "the broker gave up on it")
        case _:
            return Verdict(Reason.NOT_APPLICABLE, describe(error))


def describe(error: Exception) -> str:
    """The kind of error; its own text may quote data, an e-mail address even."""
    if not isinstance(error, DBAPIError):
        return type(error).__name__
    cause = _cause(error)
    parts = (type(cause).__name__, sqlstate(error), getattr(cause, "constraint_name", None))
    return " ".join(part for part in parts if part)


def _cause(error: DBAPIError) -> BaseException:
    """The driver's own error, below SQLAlchemy's two layers.

    It is a ValueError when the driver could not even encode a value.
    """
    return (error.orig and error.orig.__cause__) or error.orig or error
