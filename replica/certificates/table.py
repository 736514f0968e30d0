"""The table ``proofs``: certificates in the order of their chain. Written by ``store`` alone."""

from sqlalchemy import BigInteger, Column, DateTime, Identity, Table, Text, func

from replica.metadata import metadata

proofs = Table(
    "proofs",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("number", BigInteger, nullable=False, comment="its place in the chain"),
    Column("time", DateTime(timezone=True), nullable=False, comment="the source's clock"),
    Column("proved_microseconds", BigInteger, nullable=False, comment="the sum up to its time"),
    Column("key_id", Text, nullable=False, comment="the source's key that signed it"),
    Column("hash", Text, nullable=False, unique=True, comment="what later ones name it by"),
    Column("certificate", Text, nullable=False, comment="the JWS, which says all of this"),
    Column(
        "stored_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()
    ),
    comment="Signed statements of the source that the replica equals it, thinned with age",
)
