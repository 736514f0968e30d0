"""Digests of a table of users, on either side of a comparison (``contracts.sync.digest``)."""
