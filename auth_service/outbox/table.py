"""The tables of the outbox: the log of events, and one row about this source.

Writers: ``record`` inserts into ``outbox_events`` and erases payloads, ``heartbeat`` inserts; the
relay sets ``published_at`` and ``set_aside``; ``prune`` deletes. Only the relay writes
``held_rows`` and ``queues``. Only this package writes ``source``; the first migration sets its
identity.
"""

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    select,
    text,
)

from auth_service.db import metadata
from service_kit.database.lease import Lease

outbox_events = Table(
    "outbox_events",
    metadata,
    Column("position", BigInteger, Identity(always=True), primary_key=True),
    Column("event_id", Uuid, nullable=False, server_default=func.gen_random_uuid()),
    Column("type", Text, nullable=False),
    Column("user_id", Uuid, comment="NULL for a heartbeat"),
    Column("version", BigInteger),
    Column(
        "occurred_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=func.clock_timestamp(),
    ),
    # json, not jsonb: a payload is published byte for byte as it was recorded.
    Column("payload", JSON(none_as_null=True), comment="NULL once erased with its user"),
    Column("traceparent", Text),
    Column("published_at", DateTime(timezone=True), comment="NULL until the broker confirmed"),
    Column(
        "set_aside",
        SmallInteger,
        nullable=False,
        server_default=text("0"),
        comment=(
            "1: no queue takes it, 2: an earlier one of its user waits, 3: cannot be sent; else 0"
        ),
    ),
    Column(
        "is_urgent",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="whether it overtakes others",
    ),
    CheckConstraint("(user_id IS NULL) = (version IS NULL)", name="user_version"),
    comment="Log of events in the order of recording",
    # Every row is updated once, when it is published. That update cannot be a HOT update, because
    # the predicate of the indexes of unpublished rows names the column. So free space on a page
    # gains nothing, and each event leaves a dead row and dead index entries behind. A claim passes
    # over those of its lanes, one millisecond for a hundred thousand. So vacuum starts when 1 % of
    # the log has changed, not at the default 20 %.
    postgresql_with={
        "autovacuum_vacuum_scale_factor": "0.01",
        "autovacuum_vacuum_insert_scale_factor": "0.05",
        "autovacuum_analyze_scale_factor": "0.05",
    },
)

LANE: Final = "coalesce(user_id::text, type)"
"""SQL of an event's lane: its user, or its type if it is about no user. A lane is in order."""

# A claim jumps from lane to lane, over any number of further events of each. The collation of both
# indexes is "C", which Alembic does not compare.
Index(
    "outbox_events_lanes_idx",
    text(f"({LANE})"),
    outbox_events.c.position,
    postgresql_where=text("published_at IS NULL AND set_aside = 0"),
)
Index(
    "outbox_events_urgent_idx",
    text(f"({LANE})"),
    outbox_events.c.position,
    postgresql_where=text("published_at IS NULL AND set_aside = 0 AND is_urgent"),
)
# For figures: how many events wait, and since when, by kind of waiting.
Index(
    "outbox_events_unpublished_idx",
    outbox_events.c.set_aside,
    outbox_events.c.position,
    postgresql_where=outbox_events.c.published_at.is_(None),
)
Index(
    "outbox_events_returned_idx",
    outbox_events.c.type,
    outbox_events.c.position,
    postgresql_where=text("published_at IS NULL AND set_aside = 1"),
)
Index(
    "outbox_events_set_aside_idx",
    outbox_events.c.user_id,
    outbox_events.c.position,
    postgresql_where=text("published_at IS NULL AND set_aside > 0"),
)
Index("outbox_events_user_id_idx", outbox_events.c.user_id, outbox_events.c.position)

# Times rise with positions, or nearly: a BRIN index finds a time in a few pages.
Index("outbox_events_occurred_at_idx", outbox_events.c.occurred_at, postgresql_using="brin")

source = Table(
    "source",
    metadata,
    Column("singleton", Boolean, primary_key=True, server_default=text("true")),
    Column("identity", Uuid, nullable=False, server_default=func.gen_random_uuid()),
    Column("heartbeat", BigInteger, nullable=False, server_default=text("0")),
    Column("heartbeat_at", DateTime(timezone=True)),
    Column("trouble", Text, comment="why the relay cannot publish; NULL while it can"),
    Column("trouble_since", DateTime(timezone=True)),
    Column(
        "pruned_position",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="events up to here may be gone from the log",
    ),
    CheckConstraint("singleton", name="singleton"),
    comment="This source: who it is, its last heartbeat, and the relay's trouble",
)

SOURCE_IS_FREE = source.c.singleton == (
    select(source.c.singleton).with_for_update(key_share=True, skip_locked=True).scalar_subquery()
)
"""Condition for updates of ``source``: skip its row while another session has it locked."""

queues = Table(
    "queues",
    metadata,
    Column("name", Text, primary_key=True),
    Column("messages", BigInteger, comment="ready ones; NULL while no queue or broker is there"),
    Column(
        "seen_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=func.clock_timestamp(),
    ),
    comment="Queues of consuming services, as a relay last saw them",
)

held_rows = Table(
    "held_rows",
    metadata,
    Column(
        "position", BigInteger, primary_key=True, autoincrement=False, comment="0: row of source"
    ),
    Column("type", Text, comment="of the event; NULL for the row of source"),
    Column("since", DateTime(timezone=True), nullable=False, server_default=func.now()),
    comment="Rows that the relay could not change, for another session holds them",
)

RELAY_LEASE: Final = Lease(
    0x7573657273796E63,
    "auth-service relay",
    channel="outbox",
    # A plan from before a backlog may sort all of it for each lane; without sorting, only the index
    # of lanes is left.
    settings={"enable_sort": "off"},
)
"""One relay is active at a time. The lock's key is "usersync" in ASCII."""
