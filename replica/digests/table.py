"""The tables of maintained digests, and the tombstones that count in none.

``digests`` and ``digest_changes`` are written by the triggers of the table of users and by
``service_kit.database.digests``; ``orphan_tombstones`` when an orphan is
buried (``replica.table``) and by comparisons (``replica.reconcile.orphan_tombstones``).
"""

from typing import Final

from sqlalchemy import BigInteger, Column, Table, Uuid

from replica.metadata import metadata
from service_kit.database.digests.tables import digest_tables

TABLES: Final = digest_tables(metadata)

ORPHAN_TOMBSTONES: Final = "orphan_tombstones"

orphan_tombstones = Table(
    ORPHAN_TOMBSTONES,
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("version", BigInteger, nullable=False, comment="another one is the source's tombstone"),
    comment="Tombstones that the source never had; they count in no digest",
)

ADD_ORPHAN_TOMBSTONES: Final = f"""
    INSERT INTO {ORPHAN_TOMBSTONES} (id, version) SELECT id, version FROM {{rows}}
    ON CONFLICT (id) DO UPDATE SET version = excluded.version
"""  # noqa: S608 - made of a constant
"""SQL that adds ``rows``, an item of FROM."""
