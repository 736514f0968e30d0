"""The protocol as a program: a small model of both services that is explored step by step.

The model has both databases, the relay, the queue, the consumer and a comparison, for one or two
users. Each step is atomic, as its transaction or message is in production. All decisions, such as
the merge, the kinds of differences and what to repair, are made by the production's own code
(``product``), or by functions that tests compare with its SQL; the model only says in which order
things may happen.

Read ``state`` and ``rules`` first, then the steps in the order of the journey (``source``,
``relay``, ``consumer``, ``comparison``, ``faults``, ``operator``), which ``transitions`` joins.
``invariants`` has the promises, ``settle`` what must follow once all faults end. ``explore`` tries
every order of steps, or random ones, and ``words`` prints the shortest way to a broken promise.

Not modelled: sizes and time-outs, rows that other sessions lock, the setting aside of messages, and
folding changes into maintained digests (a sum does not depend on the order of its terms).
"""
