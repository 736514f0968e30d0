"""Decide whether an error is the message's fault or the environment's. Pure.

Only a message whose own data is refused is parked. While the database is away, read-only, full,
locked or not migrated, messages wait.
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
"""SQLSTATE of a lock timeout."""

LIMITS = ("delivery_limit", "expired", "maxlen")
"""The reasons in ``x-death`` when a limit of the queue dead-lettered the message."""


class Wait(StrEnum):
    """Why a message was set aside."""

    ROW_HELD = "row_held"
    DEAD_LETTERED = "dead_lettered"


class Reason(StrEnum):
    """Why a message is parked, in addition to the envelope's faults."""

    NOT_APPLICABLE = "not_applicable"
    KILLS_THE_PROCESS = "kills_the_process"
    DEAD_LETTERED = "dead_lettered"


class DeadLettered(Exception):
    """The broker dead-lettered the message.

    ``by_limit``: because of a limit of the queue (deliveries, age, length), which says nothing
    about the message. Otherwise a person or program rejected it, and an operator must decide.
    """

    def __init__(self, *, by_limit: bool = False) -> None:
        super().__init__()
        self.by_limit = by_limit


class RowHeld(Exception):
    """Another session holds a lock that only this message needs."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a message is parked: a stable reason, and a text that quotes none of its data."""

    reason: str
    error: str


def is_messages_fault(error: Exception) -> bool:
    """Tell whether ``error`` would recur for the same message in a healthy database.

    An error that does not come from the database comes from our code, for this message.
    """
    if isinstance(error, DBAPIError):
        return sqlstate(error)[:2] in DATA_FAULTS or isinstance(_cause(error), ValueError)
    return not isinstance(error, DATABASE_AWAY)


def is_lock_timeout(error: Exception) -> bool:
    """Tell whether ``error`` is a lock timeout."""
    return sqlstate(error) == LOCK_NOT_AVAILABLE


def gave_up_by_limit(headers: Mapping[str, Any] | None) -> bool:
    """Tell whether the broker's header on a dead letter names a limit as the reason."""
    deaths = (headers or {}).get("x-death")
    last = deaths[0] if isinstance(deaths, list) and deaths else None
    return isinstance(last, dict) and last.get("reason") in LIMITS


def verdict(error: Exception) -> Verdict:
    """Return the reason and text to park a message with that failed with ``error``."""
    match error:
        case Undecodable():
            return Verdict(error.fault, str(error))
        case DeadLettered():
            return Verdict(Reason.DEAD_LETTERED, "rejected and dead-lettered by the broker")
        case _:
            return Verdict(Reason.NOT_APPLICABLE, describe(error))


def describe(error: Exception) -> str:
    """Name the kind of error. Its own text may quote data, even an e-mail address."""
    if not isinstance(error, DBAPIError):
        return type(error).__name__
    cause = _cause(error)
    parts = (type(cause).__name__, sqlstate(error), getattr(cause, "constraint_name", None))
    return " ".join(part for part in parts if part)


def _cause(error: DBAPIError) -> BaseException:
    """Return the driver's error, below SQLAlchemy's two layers.

    It is a ValueError if the driver could not encode a value.
    """
    return (error.orig and error.orig.__cause__) or error.orig or error
