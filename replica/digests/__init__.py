"""The maintained digests of a replica: its tables, how they are installed, and what is not counted.

Reading, folding and checking are the same as at the source: ``service_kit.database.digests``.
"""
