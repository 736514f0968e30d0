"""The revoked signing keys. Written by ``revoke`` alone.

A few rows a year, never pruned: an old token must not become valid again.
"""

from sqlalchemy import Column, DateTime, Table, Text

from replica.metadata import metadata

revoked_keys = Table(
    "revoked_keys",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("revoked_at", DateTime(timezone=True), nullable=False, comment="the source's clock"),
    comment="Signing keys whose tokens are rejected, even if a cached key set has the key",
)
