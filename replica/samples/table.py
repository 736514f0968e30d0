"""The table ``samples``. Written by ``samples.sampler`` alone."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    func,
)

from replica.metadata import metadata

samples = Table(
    "samples",
    metadata,
    Column(
        "taken_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()
    ),
    Column("process", Uuid, nullable=False, comment="whose: each consumer takes its own"),
    Column("state", Text, nullable=False, comment="what the consumer was at"),
    Column("latency_seconds", Double, comment="the worst since its last sample; NULL: none"),
    Column("applied", Integer, nullable=False, comment="messages since its last sample"),
    Column("queue_depth", BigInteger, comment="NULL: the broker did not answer"),
    Column("replay_queue_depth", BigInteger),
    Column("dead_queue_depth", BigInteger),
    Column("urgent_queue_depth", BigInteger),
    # Reads and deletes are by time; two consumers may take a sample at the same time.
    PrimaryKeyConstraint("taken_at", "process"),
    CheckConstraint("state IN ('consuming', 'waiting', 'stopped')", name="state"),
    comment="How the pipe did, for a day; a gap is a time when no consumer was alive",
)
