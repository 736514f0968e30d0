"""Step 5 of 6: from the queue to the replica.

``topology`` declares the queues, ``subscription`` takes messages in batches, ``consumer`` decides
what happens to a batch, ``apply`` writes what it says in one transaction, ``parking`` keeps what
cannot be read or applied, and ``attempts`` counts tries of a message that may kill the process.
"""
