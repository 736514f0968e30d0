"""The blog service: steps 5 and 6 of an event's journey.

5. ``inbox``: the consumer takes messages in batches, parks what cannot be read or applied, and
   acknowledges what is done.
6. ``inbox.apply`` and ``users.replica``: each event is merged into the service's own copy of the
   users it needs.

Requests are answered from that copy alone (``users.caller``); the auth service is never asked.
"""
