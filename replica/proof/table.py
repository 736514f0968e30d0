"""The last proof, in one row. Written by ``proof`` alone."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Table,
    Text,
    Uuid,
    true,
)

from replica.metadata import metadata

current_proof = Table(
    "current_proof",
    metadata,
    Column(
        "singleton", Boolean, primary_key=True, server_default=true(), comment="one row at most"
    ),
    Column("on_since", DateTime(timezone=True), comment="NULL while no consumer makes proofs"),
    Column("tried_at", DateTime(timezone=True), comment="when the last attempt began"),
    Column("covered", BigInteger, comment="the last heartbeat that needs no other attempt"),
    Column("trouble", Text, comment="why attempts since the last verdict came to none"),
    Column("proved_at", DateTime(timezone=True), comment="NULL before the first verdict"),
    Column("source", Uuid, comment="who was compared with"),
    Column("heartbeat", BigInteger, comment="the last one that was applied before"),
    Column("users", BigInteger, comment="living users of the source"),
    Column("tombstones", BigInteger, comment="deleted users of the source"),
    Column("in_flight", BigInteger, comment="users whose events were on their way"),
    Column("differing", JSON, comment="users who differ and were not repaired, by kind"),
    Column("findings", JSON, comment="some of them: ids, kinds and versions"),
    Column("run_id", Uuid, comment="the run that names more of them"),
    CheckConstraint("singleton", name="singleton"),
    comment="The last proof that the replica equals its source",
)
