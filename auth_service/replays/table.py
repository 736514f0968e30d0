"""The table of replays; only this package writes it."""

from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    Row,
    Table,
    Text,
    Uuid,
    func,
    text,
)

from auth_service.db import metadata
from auth_service.replays.model import Replay, Selection, State
from service_kit.database.lease import Lease

REPLAY_LEASE: Final = Lease(0x7265706C61797300, "auth-service replayer", channel="replays")
"""One replayer is active at a time. The lock's key is "replays" in ASCII."""

LOG: Final = "log"
STATE: Final = "state"

replays = Table(
    "replays",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=func.gen_random_uuid()),
    Column("consumer", Text, nullable=False, comment="routing key of the replay queue"),
    Column("of", Text, nullable=False, comment="log: recorded events; state: users as they are"),
    Column("since", DateTime(timezone=True)),
    Column("until", DateTime(timezone=True)),
    Column("from_position", BigInteger),
    Column("user_ids", ARRAY(Uuid)),
    Column("types", ARRAY(Text)),
    Column("rate", Integer, nullable=False, comment="events a second, at most"),
    Column("state", Text, nullable=False, server_default=text("'running'")),
    Column("requested_by", Text, nullable=False, comment="user:…, operator:…, svc_…"),
    Column("last_position", BigInteger, comment="log: the last event, as of asking"),
    Column(
        "done_position",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="log: up to here all is confirmed",
    ),
    Column("done_user_id", Uuid, comment="state: up to here all is confirmed"),
    Column("expected", BigInteger, nullable=False, comment="events, as counted before"),
    Column("published", BigInteger, nullable=False, server_default=text("0")),
    Column("trouble", Text, comment="why it does not get on; NULL while it does"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("started_at", DateTime(timezone=True)),
    Column("updated_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    CheckConstraint("of IN ('log', 'state')", name="of"),
    CheckConstraint("state IN ('running', 'paused', 'cancelled', 'done')", name="state"),
    CheckConstraint("rate > 0", name="rate"),
    comment="Replays to one consumer, and how far each has come",
)

Index(
    "replays_unfinished_idx",
    replays.c.created_at,
    postgresql_where=text("state IN ('running', 'paused')"),
)

unfinished: Final = replays.c.state.in_(("running", "paused"))
"""Whether a replay is unfinished, and so protects its part of the log from pruning."""


def to_replay(row: Row[Any]) -> Replay:
    """Make the replay of ``row``, which has all columns of the table."""
    return Replay(
        id=row.id,
        consumer=row.consumer,
        selection=Selection(
            current_state=row.of == STATE,
            since=row.since,
            until=row.until,
            from_position=row.from_position,
            users=tuple(row.user_ids or ()),
            types=tuple(row.types or ()),
        ),
        rate=row.rate,
        state=State(row.state),
        requested_by=row.requested_by,
        expected=row.expected,
        published=row.published,
        trouble=row.trouble,
        last_position=row.last_position or 0,
        done_position=row.done_position,
        done_user_id=row.done_user_id,
        created_at=row.created_at,
        started_at=row.started_at,
        updated_at=row.updated_at,
        finished_at=row.finished_at,
    )
