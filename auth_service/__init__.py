"""The auth service: steps 1 to 3 of an event's journey.

1. ``users``: a use case changes a user and gives him his next version.
2. ``outbox.record``: the same transaction records the event.
3. ``outbox.relay``: another process publishes what was recorded, in order per user.

Beside the journey stand ``sessions`` (from credentials or a token to a user), ``tokens`` (the keys
that sign), ``services`` and ``oauth`` (other back-ends, and how they get tokens), ``throttle`` (how
often something may be tried), ``mail`` (links to people) and ``audit`` (who did what).

Nothing here knows who consumes the events, and no request ever touches the broker.
"""
