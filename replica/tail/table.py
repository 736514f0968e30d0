"""The tables of live tails; ``tail.write`` alone writes lines, ``tail.read`` alone the watch."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Integer,
    Table,
    Text,
    Uuid,
    text,
)

from replica.metadata import metadata

tail_lines = Table(
    "tail_lines",
    metadata,
    Column("position", BigInteger, Identity(always=True), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False, comment="the consumer's clock"),
    Column("stage", Text, nullable=False, comment="outcome of the message"),
    Column("lane", Text, nullable=False),
    Column("type", Text, comment="NULL if it cannot be read"),
    Column("user_id", Uuid),
    Column("version", BigInteger),
    Column("event_id", Uuid),
    Column("recorded_at", DateTime(timezone=True)),
    Column("left_out", Integer, nullable=False, comment="messages before it that have no line"),
    comment="What consumers settled lately, while a live tail watches; ids and times only",
)

tail_watch = Table(
    "tail_watch",
    metadata,
    Column("singleton", Boolean, primary_key=True, server_default=text("true")),
    Column("until", DateTime(timezone=True), nullable=False),
    CheckConstraint("singleton", name="singleton"),
    comment="Until when consumers note what they settle, because a live tail watches",
)
