"""Service accounts that changed at the source. Written by ``keep`` alone.

An account that never changed has no row: its token's signature is enough. A few rows a year, and a
deleted account's stays, as its tombstone.
"""

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Table, Text

from replica.metadata import metadata

services = Table(
    "services",
    metadata,
    Column("client_id", Text, primary_key=True),
    Column("version", BigInteger, nullable=False, comment="the source's"),
    Column("status", Text, nullable=False),
    Column(
        "tokens_valid_after",
        DateTime(timezone=True),
        nullable=False,
        comment="access tokens issued before are refused",
    ),
    CheckConstraint("status IN ('active', 'disabled', 'deleted')", name="status"),
    comment="Service accounts whose earlier access tokens are rejected",
)
