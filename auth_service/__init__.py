"""The auth service: steps 1 to 3 of an event's journey.

1. ``accounts``: a use case changes a user, whose row gets its next version (``users``).
2. ``outbox.record``: the same transaction records the event.
3. ``outbox.relay``: another process publishes recorded events, in order for each user.

Apart from the journey: ``sessions`` (from credentials or a token to a user), ``tokens`` (signing
keys), ``services`` and ``oauth`` (other back-ends and how they get tokens), ``throttle`` (rate
limits), ``mail`` (links sent to users) and ``audit`` (who did what).

Nothing here knows who consumes the events, and no request touches the broker.
"""
