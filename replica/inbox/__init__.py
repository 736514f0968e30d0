"""Step 5 of 6: from the queue to the replica.

``topology`` declares the queues, ``subscription`` receives messages in batches, ``consumer``
settles and acknowledges each batch. ``settle`` decides what happens to a batch, ``apply`` writes it
in one transaction, ``heartbeats`` detects lost messages. ``parking`` stores messages that cannot be
read or applied: ``faults`` decides which, ``amqp_as_json`` and ``lenient_amqp`` preserve them as
received. ``waiting`` sets messages aside that need a locked row, and ``retry`` retries them.
``attempts`` counts tries of a message that may crash the process.
"""
