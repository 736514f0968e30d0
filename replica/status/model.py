"""Is the pipe quiet, or broken? Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from replica.inbox.activity import HEARTBEAT_SECONDS_MAX

DEPTH_MAX: Final = 1_000
"""Messages that may wait in a queue before it counts as behind: a busy moment is not."""


WHY_SET_ASIDE: Final = {
    "row_held": "for what another database session holds",
    "dead_lettered": "to be tried again, since the broker gave up on them",
}
"""Why messages wait by themselves, in words."""


def pipe(
    *,
    heartbeat_age_seconds: float | None,
    queue_depth: int | None,
    knows_queue: bool,
    consumers: int,
    consumers_stopped: int,
    consumer_age_seconds: float | None,
    heartbeat_seconds_max: float = HEARTBEAT_SECONDS_MAX,
    set_aside: int = 0,
    set_aside_reasons: Sequence[str] = (),
    set_aside_for: Sequence[str] = (),
) -> str:
    """One line about the pipe from the source to this replica: the first of what is the matter.

    A heartbeat comes every few seconds, whether or not anything else does: that tells a pipe in
    which nothing happens from one in which nothing arrives.

    Parameters:
        heartbeat_age_seconds: since the last one was recorded at the source; None before the first.
        queue_depth: messages that wait; None when there is no queue, or no broker.
        knows_queue: whether anybody asked the broker at all: the caller, or a consumer.
        consumers: how many are heard of, ...
        consumers_stopped: ... of which so many have given up.
        consumer_age_seconds: since one was heard of; None when none ever was.
        heartbeat_seconds_max: from which age of the last heartbeat on the source is silent.
        set_aside: messages that wait by themselves, ...
        set_aside_reasons: ... why, ...
        set_aside_for: ... and whose some of them are.
    """
    if knows_queue and queue_depth is None:
        return "broken: no broker, or no queue of this service on it"
    waiting = queue_depth or 0
    meanwhile = f"; {waiting:,} messages wait" if waiting else ""
    if not consumers:
        if consumer_age_seconds is None:
            return f"broken: no consumer has ever been at work{meanwhile}"
        return f"broken: no consumer for {consumer_age_seconds:,.0f} s{meanwhile}"
    if consumers_stopped == consumers:
        return f"broken: the consumer has stopped, for too many messages were parked{meanwhile}"
    if heartbeat_age_seconds is None:
        return "broken: no heartbeat of the source yet"
    is_silent = heartbeat_age_seconds > heartbeat_seconds_max
    if set_aside and (not is_silent or any(key.startswith("heartbeats") for key in set_aside_for)):
        why = " and ".join(WHY_SET_ASIDE.get(reason, reason) for reason in set_aside_reasons)
        return f"behind: {set_aside:,} messages wait {why} ({', '.join(set_aside_for)})"
    if not is_silent and waiting <= DEPTH_MAX:
        return "consuming" if waiting else "quiet"
    if not is_silent:
        return f"behind: {waiting:,} messages wait"
    if waiting:
        return (
            f"behind: {waiting:,} messages wait, and the last heartbeat is"
            f" {heartbeat_age_seconds:,.0f} s old"
        )
    return f"broken: no heartbeat for {heartbeat_age_seconds:,.0f} s"


def needs_attention(figures: Mapping[str, Any]) -> bool:
    """Whether something else than the pipe waits for an operator.

    Parameters:
        figures: as ``status`` reads them.
    """
    differ = (figures["last_reconcile_differing"] or 0) - (figures["last_reconcile_repaired"] or 0)
    return bool(
        figures["degraded"]
        or figures["reconcile_trouble"]
        or figures["parked_messages"]
        or figures["clock"]
        or differ
    )
