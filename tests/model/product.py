"""Call the production's own pure functions on the model's small values.

The model's values are translated to the product's types once, and the results of pure functions are
remembered, because the explorer asks the same questions a million times.
"""

import hashlib
import struct
from datetime import datetime, timedelta
from functools import cache
from typing import Final
from uuid import UUID

from auth_service.outbox.backlog import RecordedEvent
from contracts.events import Heartbeat, UserDeleted, UserState, UserTombstone, UserUpdated
from contracts.sync.digest import DIGEST_BYTES, bucket_of, row_digest
from contracts.sync.merge import State, fold, rank
from replica.reconcile import kinds
from replica.reconcile.kinds import Difference
from replica.reconcile.model import Kind, Reason, reason_to_run, repairable, repaired_by_itself
from tests.model.rules import Rules
from tests.model.state import BEAT, Entry, Record
from tests.support.builders import NOON, a_state

IDS: Final = (UUID(int=0xA << 16), UUID(int=0xB << 16))
"""Both users are in the same bucket."""

assert bucket_of(IDS[0]) == bucket_of(IDS[1])

LANES: Final = struct.Struct(f">{DIGEST_BYTES // 4}I")


def at(time: int) -> datetime:
    """Return the time that the model calls ``time``."""
    return NOON + timedelta(seconds=time)


@cache
def data(user: int, record: Record) -> State:
    if record.is_deleted:
        deleted_at = at(-record.content)
        return UserTombstone(id=IDS[user], version=record.version, deleted_at=deleted_at)
    state = a_state(IDS[user], email=f"{record.content}@example.org")
    # A provisional row has version 0, which no event has.
    return state.model_copy(update={"version": record.version})


@cache
def folded(states: tuple[tuple[int, Record], ...]) -> tuple[tuple[int, Record], ...]:
    made = {id(data(*each)): each for each in states}
    return tuple(made[id(winner)] for winner in fold([data(*each) for each in states]))


@cache
def is_newer(coming: Record, present: Record | None) -> bool:
    """Whether the guard *newer* lets ``coming`` be written."""
    return present is None or rank(data(0, present)) < rank(data(0, coming))


@cache
def first_wave(
    entries: tuple[Entry, ...], urgent: frozenset[int] = frozenset()
) -> tuple[Entry, ...]:
    """Return what the relay publishes first: of each user, the first urgent event or the first.

    ``urgent`` are positions.

    Production claims them in SQL, which ``test_relay_claims`` compares with this function.
    """
    first: dict[int, Entry] = {}
    for entry in sorted(entries, key=lambda entry: entry.position not in urgent):
        first.setdefault(entry.user, entry)
    return tuple(sorted(first.values(), key=lambda entry: entry.position))


@cache
def _event(entry: Entry) -> RecordedEvent:
    is_beat = entry.user == BEAT
    deletes = entry.record.is_deleted
    return RecordedEvent(
        position=entry.position,
        event_id=UUID(int=entry.position),
        type=Heartbeat.type if is_beat else UserDeleted.type if deletes else UserUpdated.type,
        user_id=None if is_beat else IDS[entry.user],
        version=None if is_beat else entry.record.version,
        occurred_at=NOON,
        payload=None if entry.is_erased else "{}",
        traceparent=None,
    )


@cache
def is_sent(entry: Entry) -> bool:
    """Whether the relay sends an event: not if its payload was erased before."""
    return not _event(entry).is_erased


def _row(record: Record | None) -> kinds.Row | None:
    return None if record is None else kinds.Row(record.version, record.is_deleted)


@cache
def difference(
    source: Record | None, before: Record | None, now: Record | None, is_unpublished: bool
) -> Difference | None:
    """Classify a user by the three looks at them."""
    if source is None:
        return kinds.unknown(_row(before), _row(now))
    return kinds.difference(
        kinds.Row(source.version, source.is_deleted),
        _row(before),
        _row(now),
        is_equal=source == now,
        is_unpublished=is_unpublished,
    )


@cache
def is_as_compared(now: Record | None, compared: Record, coming: Record | None) -> bool:
    """Whether the guard *as compared* lets a repair be written."""
    compared_row, coming_row = _row(compared), _row(coming)
    assert compared_row is not None
    assert coming_row is not None
    return kinds.is_as_compared(_row(now), compared_row, coming_row)


@cache
def reason_due(suspicion: str | None) -> Reason:
    """Return why a comparison is made that nobody asked for; if for nothing else, as a proof."""
    reason = reason_to_run(
        is_empty=False, suspicion=suspicion, compared_last=1, seconds_since=0.0, every_seconds=0.0
    )
    return Reason.PROOF if reason is None else reason


@cache
def repairs(reason: Reason) -> frozenset[Kind]:
    """Return what a run repairs; an operator asks for everything."""
    if reason is Reason.OPERATOR:
        return repairable(repair=True, ahead=True, orphans=True)
    return repaired_by_itself(reason)


@cache
def row_lanes(user: int, record: Record | None) -> int:
    """Return the lanes of a row's digest as one number; zero for none."""
    if record is None:
        return 0
    if record.version == 0:
        digest = hashlib.sha256(b"X" + IDS[user].bytes).digest()[:DIGEST_BYTES]
    else:
        state = data(user, record)
        assert isinstance(state, UserState | UserTombstone)
        digest = row_digest(state)
    return int.from_bytes(digest, "big")


def _packed(lanes: tuple[int, ...]) -> int:
    return int.from_bytes(LANES.pack(*lanes), "big")


def _lanes(digest: int) -> tuple[int, ...]:
    return LANES.unpack(digest.to_bytes(DIGEST_BYTES, "big"))


@cache
def digest_after(
    rules: Rules, digest: int, user: int, old: Record | None, new: Record | None
) -> int:
    """Return a maintained digest after a row was written: lanes are added modulo 2^32."""
    minus, plus = row_lanes(user, old), row_lanes(user, new)
    if rules.digests_by_xor:
        return digest ^ minus ^ plus
    sums = zip(_lanes(digest), _lanes(minus), _lanes(plus), strict=True)
    return _packed(tuple((lane - less + more) % 2**32 for lane, less, more in sums))


@cache
def digest_of(rules: Rules, users: tuple[Record | None, ...]) -> int:
    """Compute the digest of a table from its rows."""
    digest = 0
    for user, record in enumerate(users):
        digest = digest_after(rules, digest, user, None, record)
    return digest
