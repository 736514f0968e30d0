"""The inbox's tables: parked and waiting messages, attempts, heartbeats.

Written by ``inbox`` alone, except ``discarded_messages``, which ``parked.discard`` writes.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    func,
    text,
)

from replica.metadata import metadata

parked_messages = Table(
    "parked_messages",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    # A message parked twice, after a crash between parking and acknowledging, has one row.
    Column("message_hash", LargeBinary, nullable=False, unique=True),
    Column(
        "user_id",
        Uuid,
        index=True,
        comment="NULL if no user can be identified; the message then expires",
    ),
    Column("reason", Text, nullable=False, comment="stable code"),
    Column("error", Text, nullable=False, comment="for people; quotes no data"),
    Column("exchange", Text, nullable=False),
    Column("routing_key", Text, nullable=False),
    # json, not jsonb, which cannot store text with NUL.
    Column("properties", JSON, nullable=False, comment="AMQP properties and headers, as they came"),
    Column("body", LargeBinary, comment="as it came; NULL once its user is deleted"),
    Column(
        "dropped_bytes",
        BigInteger,
        comment="size of a body that was too large to keep; NULL: it was kept",
    ),
    Column("attempts", Integer, nullable=False, server_default=text("1")),
    Column("first_failed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("last_failed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    comment="Messages that could not be read or applied, to be redriven or discarded",
)

waiting_messages = Table(
    "waiting_messages",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("message_hash", LargeBinary, nullable=False, unique=True),
    Column("key", Text, nullable=False, comment="messages of one key are tried in order"),
    Column("user_id", Uuid, index=True, comment="NULL if no user can be identified"),
    Column("version", BigInteger, comment="of the user's state; NULL without one"),
    Column("deletes", Boolean, nullable=False, comment="whether it is a tombstone"),
    Column("reason", Text, nullable=False, comment="stable code"),
    Column("exchange", Text, nullable=False),
    Column("routing_key", Text, nullable=False),
    Column("properties", JSON, nullable=False, comment="AMQP properties and headers, as received"),
    Column("body", LargeBinary, comment="as received; NULL once its user is deleted"),
    Column(
        "attempts",
        Integer,
        nullable=False,
        server_default=text("0"),
        comment="tries that no process has reported back from",
    ),
    Column(
        "set_aside_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=func.clock_timestamp(),
    ),
    Column(
        "next_try_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=func.clock_timestamp(),
    ),
    comment="Messages that wait by themselves, tried again every few seconds",
)

Index("waiting_messages_key_idx", waiting_messages.c.key, waiting_messages.c.id)

discarded_messages = Table(
    "discarded_messages",
    metadata,
    Column("id", BigInteger, primary_key=True, comment="as it was when parked"),
    Column("message_hash", LargeBinary, nullable=False),
    Column("user_id", Uuid),
    Column("parked_for", Text, nullable=False, comment="the reason of parking"),
    Column("because", Text, nullable=False, comment="the operator's words"),
    Column("discarded_by", Text, nullable=False),
    Column("discarded_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    comment="Discarded messages: by which operator and why, without their content",
)

attempts = Table(
    "attempts",
    metadata,
    Column("message_hash", LargeBinary, primary_key=True),
    Column("attempts", Integer, nullable=False),
    Column("process", Uuid, nullable=False, comment="the process that tried last"),
    Column("last_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    comment="Processes that tried a redelivered message, counted before, cleared on success",
)

heartbeats = Table(
    "heartbeats",
    metadata,
    Column("source", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False, comment="the source's clock"),
    Column("applied_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("suspicion", Text, comment="gap, backwards or queue_lost; NULL once compared"),
    Column("suspected_at", DateTime(timezone=True)),
    comment="The last heartbeat of each source",
)
