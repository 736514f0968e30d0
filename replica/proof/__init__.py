"""Prove, with every heartbeat, that the replica equals its source.

``watch`` makes a proof after each heartbeat that was applied, one at a time among all consumers.
``prove`` is one proof: ``narrow`` finds the buckets whose digests do not become equal within a
moment, and ``reconcile.compare`` compares the users of those. ``current`` stores the result, which
``model`` puts in words for the status, ``/readyz``, metrics and the console.
"""
