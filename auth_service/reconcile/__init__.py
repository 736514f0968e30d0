"""The source's side of a comparison: digests of all users, users of some buckets, heartbeats.

Each response comes from one snapshot of the primary. Replicas compare (``replica.reconcile``).
"""
