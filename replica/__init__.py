"""A proven copy of the users, in a table of any service: steps 5 and 6 of an event's journey.

5. ``inbox``: the consumer takes messages in batches, parks what cannot be read or applied, and
   acknowledges what is done.
6. ``inbox.apply`` and ``table``: each event is merged into the table.

Beside the journey: ``reconcile`` compares with the source and repairs, ``parked`` shows and
redrives what was parked, ``life`` shows one user on both sides, ``samples`` and ``status`` show the
pipe's state, ``replays`` asks the source to send again, ``console`` shows it all, and ``caller``
finds the user of a request's token.

Nothing here knows what the service is for. It hands over its table (``table.Replica``), its
settings and what to do when a user is deleted (``service.Service``), and gets the commands
(``commands``) and routes (``api``). docs/add-a-service.md shows it step by step.
"""
