"""Digests of a table of users, kept by its database, on either side of a comparison.

``tables`` has the tables, ``read`` reads or computes digests, ``fold`` runs in one process of each
service, and ``check`` compares maintained digests with computed ones. The SQL is
``contracts.sync.maintained_digests``.
"""
