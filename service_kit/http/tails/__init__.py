"""Live tails over HTTP: what happens to events, as server-sent events, for operators.

``hub`` reads for all tails of a process at once, ``stream`` sends one tail to its client, and
``settings`` has the limits. Both services have the same: each brings what reads its own tables.
"""
