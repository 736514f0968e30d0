"""Decide which events are urgent: they overtake others, at the relay and in the broker. Pure.

Overtaking is safe, because consumers merge a user's states by their version: an earlier event that
comes later is stale.
"""

from contracts.events import Data, RevokedKey, ServiceState, UserState, UserTombstone


def is_urgent(data: Data) -> bool:
    """Return whether someone may still use what they must not, until the event is applied.

    Urgent are deletions, disabled users, revoked keys, changes of service accounts, and changes
    that end sessions: these set ``tokens_valid_after`` to the next whole second, so it is later
    than the change itself. Another change within that second counts as urgent too.
    """
    if isinstance(data, UserState):
        ended = data.tokens_valid_after
        return data.status == "disabled" or (ended is not None and ended > data.updated_at)
    return isinstance(data, UserTombstone | RevokedKey | ServiceState)
