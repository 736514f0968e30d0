"""The source's side of comparing: digests of all users, users of some buckets, and a heartbeat.

Answers come from the primary, each of one snapshot; what is done with them is the replica's
business.
"""
