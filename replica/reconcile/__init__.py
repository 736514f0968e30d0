"""Compare the replica with its source, and repair what differs.

``compare`` is the whole comparison in its order: ``source`` requests the source's state and
``staging`` copies it into a session's tables (``session``); ``classify_and_repair`` and ``orphans``
classify the differences and repair them through the replica's one writer, in SQL that does what
``kinds`` says. ``run`` makes a run of it, which ``runs`` stores; ``progress`` shows how far it is,
``run_locks`` whether its worker is alive; ``schedule`` says when a comparison is due, and ``watch``
starts it.
"""
