"""The runs. Written by ``reconcile`` alone."""

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY  # the general one cannot be asked what is in it

from replica.metadata import metadata

reconcile_runs = Table(
    "reconcile_runs",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=func.gen_random_uuid()),
    Column("reason", Text, nullable=False, comment="why it runs"),
    Column("requested_by", Text, comment="NULL when it runs by itself"),
    Column("repairs", ARRAY(Text), nullable=False, comment="kinds that it may repair"),
    Column("deletions_max", Integer, nullable=False),
    Column("users", ARRAY(Uuid), comment="those to compare; NULL: all of them"),
    Column("requested_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("started_at", DateTime(timezone=True), comment="NULL while it is waited for"),
    Column("finished_at", DateTime(timezone=True)),
    Column("verdict", Text, comment="NULL until it has finished"),
    Column("explanation", Text, comment="why there is no verdict, or no repair"),
    Column("source", Uuid, comment="who was compared with"),
    Column("source_at", DateTime(timezone=True), comment="as of when, its clock"),
    Column("compared", BigInteger, comment="users at the source, tombstones too"),
    Column("in_flight", BigInteger),
    Column("differing", JSON, comment="users by kind"),
    Column("repaired", JSON, comment="users by kind"),
    Column("findings", JSON, comment="the first of the users that differed, ids only"),
    Column("phase", Text, comment="what it is at, while it runs"),
    Column("done", BigInteger, comment="users, of this phase"),
    Column("total", BigInteger, comment="users, about; NULL: nobody knows"),
    CheckConstraint("verdict IN ('in_step', 'drift', 'could_not_compare')", name="verdict"),
    comment="Every comparison with the source, and what came of it",
)

Index("reconcile_runs_started_at_idx", reconcile_runs.c.started_at)
