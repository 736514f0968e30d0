"""Step 5 of 6: from the queue to the replica.

``topology`` declares the queues, ``subscription`` takes messages in batches, ``consumer`` has each
batch settled and acknowledges it. ``settle`` decides what happens to a batch, ``apply`` writes what
it says in one transaction, ``heartbeats`` notices what is missing. ``parking`` keeps what cannot be
read or applied (``faults`` tells, ``amqp_as_json`` and ``lenient_amqp`` keep it as it came), and
``attempts`` counts tries of a message that may kill the process.
"""
